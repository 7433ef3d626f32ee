"""Functions with two implementations: one for concrete numbers, and one of differentiable operations for everything else.

For concrete numbers (`eager.are_concrete`) SciPy may give the value, only the rows that need
another formula are computed by it (`mend`), and intermediate results stay in the cache
(`in_chunks`). Graphs, functional transforms, other devices and second derivatives take torch's
operations.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .eager import are_concrete, are_plain_numbers, is_tracing
from .elementwise import Elementwise

__all__ = ["Numeric", "by_rows", "in_chunks", "mend"]

_CHUNK = 1 << 15  # numbers of one intermediate result, of which a cache holds a few


class Numeric(Elementwise):
    """An elementwise function that is computed by `numbers` where its arguments are concrete, and by `operations` elsewhere.

    Subclasses give, for float64 arguments of one shape,

    - `operations(*arguments)`: the function in torch's operations, as often differentiable as they
      are;
    - `numbers(*arguments)`: the same values, without a gradient;
    - `slopes(output, *arguments)`: its derivatives by each argument (None for none); all of shape
      (rows,).

    The first derivatives of concrete numbers are the slopes; higher ones, and those that are
    traced, are those of the operations.
    """

    operations: Callable[..., Tensor]
    numbers: Callable[..., Tensor]
    slopes: Callable[..., tuple[Tensor | None, ...]]

    @classmethod
    def of(cls, *arguments: Tensor) -> Tensor:
        """The value at these arguments, which broadcast, by the implementation that fits them."""
        arguments = torch.broadcast_tensors(*arguments)
        if are_plain_numbers(*arguments):
            return cls.numbers(*arguments)
        return cls.apply(*arguments) if are_concrete(*arguments) else cls.operations(*arguments)

    @classmethod
    def forward(cls, *arguments):
        return cls.numbers(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output, *inputs)
        ctx.save_for_forward(output, *inputs)

    @classmethod
    def backward(cls, ctx, grad):
        output, *arguments = ctx.saved_tensors
        if torch.is_grad_enabled() or is_tracing():
            return torch.func.vjp(cls.operations, *arguments)[1](grad)
        slopes = cls.slopes(*(part.reshape(-1) for part in (output, *arguments)))
        return tuple(
            None if slope is None else grad * slope.reshape(grad.shape) for slope in slopes
        )

    @classmethod
    def with_operations(
        cls, slopes: Sequence[Tensor], rows: Tensor, *arguments: Tensor
    ) -> list[Tensor]:
        """The slopes, at `rows` (a mask) replaced by the derivatives of the operations."""
        index = rows.nonzero()[:, 0]
        if not len(index):
            return list(slopes)
        chosen = [argument[index] for argument in arguments]
        exact = torch.func.vjp(cls.operations, *chosen)[1](torch.ones_like(chosen[0]))
        return [slope.index_copy(0, index, one) for slope, one in zip(slopes, exact, strict=True)]


def mend(
    answer: Tensor,
    rows: Tensor | np.ndarray | np.bool_,
    function: Callable[..., Tensor],
    *arguments: Tensor,
) -> Tensor:
    """The answer, with the values of `function` in its place at `rows` (a mask), for which alone that is computed.

    The arguments, plain numbers, broadcast with the answer; `function` takes their chosen entries,
    each of shape (chosen,). Use the result: a contiguous answer is changed in place, another one is
    copied.
    """
    chosen_rows = np.flatnonzero(
        rows.numpy() if isinstance(rows, Tensor) else rows
    )  # in less than half of torch's time
    if len(chosen_rows):
        index = torch.from_numpy(chosen_rows)
        chosen = (
            argument.expand(answer.shape).reshape(-1).index_select(0, index)
            for argument in arguments
        )
        answer = answer.contiguous()
        answer.view(-1).index_copy_(0, index, function(*chosen))
    return answer


def by_rows(function: Callable[..., tuple[Tensor, ...]], *arguments: Tensor) -> tuple[Tensor, ...]:
    """The results of an elementwise function with several intermediate ones: in chunks where these are plain numbers."""
    is_plain = are_plain_numbers(*arguments) and arguments[0].numel() > 0
    return in_chunks(function, 8, *arguments) if is_plain else function(*arguments)


def in_chunks(
    function: Callable[..., tuple[Tensor, ...]], nodes: int, *arguments: Tensor
) -> tuple[Tensor, ...]:
    """The results of an elementwise `function`, computed for so many elements at a time that its work stays in the cache.

    Args:
        function: of chunks of the arguments, each of shape (chunk,); its results have that shape.
        nodes: how many numbers an intermediate result holds for each element.
        arguments: of one shape, which is that of the results.
    """
    shape, rows = arguments[0].shape, max(1, _CHUNK // nodes)
    parts = zip(*(argument.reshape(-1).split(rows) for argument in arguments), strict=True)
    results = [function(*part) for part in parts]
    return tuple(torch.cat(column).reshape(shape) for column in zip(*results, strict=True))
