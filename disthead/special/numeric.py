"""Values and first derivatives by algorithms that look at numbers, with plain operations of torch for all else.

Where nobody follows the operations, a library beside torch may give the value, and rows that need another way can be picked
out. Graphs, functional transforms, other devices and derivatives of derivatives go by the plain operations.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .eager import are_plain_numbers, is_on_host, operations_are_followed

__all__ = ["Numeric", "by_rows", "in_chunks", "mend"]

_CHUNK = 1 << 15  # numbers: what a formula with a few intermediate results keeps in the cache


class Numeric(torch.autograd.Function):
    """A function of tensors of one shape that is computed by `numbers` where these are on the host and nobody follows operations.

    Subclasses give

    - `operations(*arguments)`: the function by plain operations of torch, differentiable to any order;
    - `numbers(*arguments)`: the same without a gradient;
    - `slopes(output, *arguments)`, each of shape (rows,): its derivative by each argument (None for none).

    Second derivatives, and everything that is followed, go by the operations.
    """

    generate_vmap_rule = True
    operations: Callable[..., Tensor]
    numbers: Callable[..., Tensor]
    slopes: Callable[..., tuple[Tensor | None, ...]]

    @classmethod
    def of(cls, *arguments: Tensor) -> Tensor:
        """The value at these arguments, which broadcast."""
        arguments = torch.broadcast_tensors(*arguments)
        if operations_are_followed() or not all(is_on_host(argument) for argument in arguments):
            return cls.operations(*arguments)
        if torch.is_grad_enabled() and any(argument.requires_grad for argument in arguments):
            return cls.apply(*arguments)
        return cls.numbers(*arguments)

    @classmethod
    def forward(cls, *arguments):
        return cls.numbers(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output, *inputs)

    @classmethod
    def backward(cls, ctx, grad):
        output, *arguments = ctx.saved_tensors
        if torch.is_grad_enabled() or operations_are_followed():
            return torch.func.vjp(cls.operations, *arguments)[1](grad)
        slopes = cls.slopes(*(part.reshape(-1) for part in (output, *arguments)))
        return tuple(None if slope is None else grad * slope.reshape(grad.shape) for slope in slopes)

    @classmethod
    def with_operations(cls, slopes: Sequence[Tensor], rows: Tensor, *arguments: Tensor) -> list[Tensor]:
        """The derivatives, but at `rows`, if there are any, those of the operations."""
        index = rows.nonzero()[:, 0]
        if not len(index):
            return list(slopes)
        chosen = [argument[index] for argument in arguments]
        exact = torch.func.vjp(cls.operations, *chosen)[1](torch.ones_like(chosen[0]))
        return [slope.index_copy(0, index, one) for slope, one in zip(slopes, exact, strict=True)]


def mend(
    answer: Tensor, rows: Tensor | np.ndarray | np.bool_, function: Callable[..., Tensor], *arguments: Tensor
) -> Tensor:
    """The answer, replaced by `function` of the arguments where `rows`, if there are any; in place where it lies in one piece."""
    found = np.flatnonzero(rows.numpy() if isinstance(rows, Tensor) else rows)  # in less than half of torch's time
    if len(found):
        index = torch.from_numpy(found)
        chosen = (argument.expand(answer.shape).reshape(-1).index_select(0, index) for argument in arguments)
        answer = answer.contiguous()
        answer.view(-1).index_copy_(0, index, function(*chosen))
    return answer


def by_rows(function: Callable[..., tuple[Tensor, ...]], *arguments: Tensor) -> tuple[Tensor, ...]:
    """The results of an elementwise function with several intermediate ones: in chunks where these are plain numbers."""
    is_plain = are_plain_numbers(*arguments) and arguments[0].numel() > 0
    return in_chunks(function, 8, *arguments) if is_plain else function(*arguments)


def in_chunks(function: Callable[..., tuple[Tensor, ...]], nodes: int, *arguments: Tensor) -> tuple[Tensor, ...]:
    """The results of an elementwise `function`, which takes `nodes` numbers for each of a row, so many rows at a time that
    they stay in the cache.
    """
    shape, rows = arguments[0].shape, max(1, _CHUNK // nodes)
    parts = zip(*(argument.reshape(-1).split(rows) for argument in arguments), strict=True)
    results = [function(*part) for part in parts]
    return tuple(torch.cat(column).reshape(shape) for column in zip(*results, strict=True))
