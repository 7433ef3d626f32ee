"""Values and first derivatives by algorithms that look at numbers, with plain operations of torch for all else.

Where nobody follows the operations, a library beside torch may give the value, and rows that need another way can be picked
out. Graphs, functional transforms, other devices and derivatives of derivatives go by the plain operations.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .eager import are_plain_numbers, is_on_host, operations_are_followed

__all__ = ["in_pieces", "numerically", "with_rows"]

_PIECE = 1 << 15  # numbers that stay in the cache, a few times


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
