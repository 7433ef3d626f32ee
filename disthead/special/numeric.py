"""Values and first derivatives by algorithms that look at numbers, with plain operations of torch for all else.

Where nobody follows the operations, a library beside torch may give the value, and rows that need another way can be picked
out. Graphs, functional transforms, other devices and derivatives of derivatives go by the plain operations.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .eager import are_plain_numbers, is_on_host, operations_are_followed

__all__ = ["Numeric", "in_chunks", "in_pieces", "mend", "numerically", "with_rows"]

_PIECE = 1 << 15  # numbers that stay in the cache, a few times
_CHUNK = 1 << 15  # numbers: what a formula with a few intermediate results keeps in the cache


def in_pieces(function: Callable, width: int, *arguments: Tensor) -> list[Tensor]:
    """The results of function(*arguments), several tensors, computed on as many rows at once as can have `width` numbers each."""
    pieces = zip(*(argument.split(_PIECE // width) for argument in arguments), strict=True)
    return [torch.cat(parts) for parts in zip(*(function(*piece) for piece in pieces), strict=True)]


def with_rows(values: Tensor, rows: Tensor, function: Callable, *arguments: Tensor) -> Tensor:
    """The values, in place, with those at `rows` taken from function(*arguments) at these rows, where there are any."""
    if rows.any():
        values[rows] = function(*(argument.expand(rows.shape)[rows] for argument in arguments))
    return values


def numerically(values: Callable, slopes: Callable, plain: Callable, *arguments: Tensor) -> Tensor:
    """plain(*arguments), elementwise, whose value and first derivatives come from `values` and `slopes` where numbers will do.

    Args:
        values: of the arguments, to a tensor of their own.
        slopes: of the result and the arguments, each of shape (rows,): the derivatives by each argument, and the rows, a bool
            tensor, whose derivatives shall come from `plain` after all.
        plain: the same function in differentiable operations.

    The arguments broadcast.
    """
    arguments = torch.broadcast_tensors(*arguments)
    if operations_are_followed() or not all(map(is_on_host, arguments)):
        return plain(*arguments)
    if are_plain_numbers(*arguments):
        return values(*arguments)
    return _Numeric.apply(values, slopes, plain, *arguments)


class _Numeric(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, slopes, plain, *arguments):
        result = values(*arguments)
        ctx.slopes, ctx.plain = slopes, plain
        ctx.save_for_backward(result, *arguments)
        return result

    @staticmethod
    def backward(ctx, grad):
        result, *arguments = ctx.saved_tensors
        if torch.is_grad_enabled() or operations_are_followed():  # by whoever asks for derivatives of the derivatives
            return None, None, None, *torch.func.vjp(ctx.plain, *arguments)[1](grad)
        flat = (part.reshape(-1) for part in (result, *arguments))
        wanted = ctx.needs_input_grad[3:]
        slopes = zip(_derivatives(ctx.slopes, ctx.plain, *flat), wanted, strict=True)
        return None, None, None, *(grad * slope.reshape(grad.shape) if one else None for slope, one in slopes)


def _derivatives(slopes: Callable, plain: Callable, result: Tensor, *arguments: Tensor) -> list[Tensor]:
    *found, rows = slopes(result, *arguments)
    if rows.any():
        chosen = [argument[rows] for argument in arguments]
        for slope, exact in zip(found, torch.func.vjp(plain, *chosen)[1](torch.ones_like(chosen[0])), strict=True):
            slope[rows] = exact
    return found


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
    """The answer, replaced by `function` of the arguments where `rows`, if there are any; in place where it lies in one piece."""
    found = np.flatnonzero(rows.numpy())  # in less than half of torch's time
    if len(found):
        index = torch.from_numpy(found)
        chosen = (argument.expand(answer.shape).reshape(-1).index_select(0, index) for argument in arguments)
        answer = answer.contiguous()
        answer.view(-1).index_copy_(0, index, function(*chosen))
    return answer


def in_chunks(function: Callable[..., tuple[Tensor, ...]], nodes: int, *arguments: Tensor) -> tuple[Tensor, ...]:
    """The results of an elementwise `function`, which takes `nodes` numbers for each of a row, so many rows at a time that
    they stay in the cache.
    """
    shape, rows = arguments[0].shape, max(1, _CHUNK // nodes)
    parts = zip(*(argument.reshape(-1).split(rows) for argument in arguments), strict=True)
    results = [function(*part) for part in parts]
    return tuple(torch.cat(column).reshape(shape) for column in zip(*results, strict=True))
