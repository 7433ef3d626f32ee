"""Functions with a numeric path: quick algorithms that look at numbers, and know no gradient but their own."""

from collections.abc import Callable

import torch
from torch import Tensor

from .eager import is_on_host, operations_are_followed

__all__ = ["Numeric", "in_chunks", "mend"]

_CHUNK = 1 << 15  # numbers: what a formula with a few intermediate results keeps in the cache


class Numeric(torch.autograd.Function):
    """A function of tensors of one shape that is computed by `numbers` where these are on the host and nobody follows operations.

    Subclasses give

    - `operations(*arguments)`: the function by plain operations of torch, differentiable to any order;
    - `numbers(*arguments)`: the same without a gradient;
    - `slopes(output, *arguments)`: its derivative by each argument (None for none).

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
        return tuple(None if slope is None else grad * slope for slope in cls.slopes(output, *arguments))


def mend(answer: Tensor, rows: Tensor, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """The answer, replaced in place by `function` of the arguments where `rows`, if there are any; all of one shape."""
    index = rows.reshape(-1).nonzero().squeeze(-1)
    if len(index):
        answer.view(-1)[index] = function(*(argument.reshape(-1)[index] for argument in arguments))
    return answer


def in_chunks(function: Callable[..., tuple[Tensor, ...]], nodes: int, *arguments: Tensor) -> tuple[Tensor, ...]:
    """The results of an elementwise `function`, which takes `nodes` numbers for each of a row, so many rows at a time that
    they stay in the cache.
    """
    shape, rows = arguments[0].shape, max(1, _CHUNK // nodes)
    parts = zip(*(argument.reshape(-1).split(rows) for argument in arguments), strict=True)
    results = [function(*part) for part in parts]
    return tuple(torch.cat(column).reshape(shape) for column in zip(*results, strict=True))
