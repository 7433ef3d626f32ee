"""Log-likelihoods whose derivatives were computed with them, for autograd."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disthead.likelihood.chunks import plain
from disthead.special.blocks import multiply_rows
from disthead.special.eager import is_tracing

__all__ = ["with_derivatives"]


def with_derivatives(
    raw: Tensor,
    y: Tensor,
    found: tuple[Tensor, Tensor],
    scored: Callable[[Tensor, Tensor, bool], tuple | None],
    formula: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Log-likelihoods (...), differentiable by the raw outputs (..., P), where nobody follows operations.

    Args:
        found: the log-likelihoods and their derivatives (..., P), whose memory the gradient may take.
        scored: finds them again from `raw` and `y`, for a second gradient; its last argument says that derivatives are wanted.
        formula: log-likelihoods by operations that can be differentiated again.
    """
    # What `Function.apply` asks for functional transforms would be asked in vain. Each argument of it takes time.
    return super(torch.autograd.Function, _WithDerivatives).apply(raw, (y, *found, (scored, formula)))


class _WithDerivatives(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor, given: tuple) -> Tensor:
        y, value, ctx.derivatives, ctx.ways = given
        ctx.save_for_backward(raw, y.clone() if y.is_inference() else y)
        return value.clone() if value._is_view() else value  # which nobody could change in place

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        scored, formula = ctx.ways
        again = torch.is_grad_enabled()  # to be differentiated again
        if again or (ctx.derivatives is None and is_tracing()):
            raw, y = ctx.saved_tensors
            with torch.enable_grad():
                value = formula(raw, y)
            return torch.autograd.grad(value, raw, gradient, create_graph=again)[0], None
        derivatives, ctx.derivatives = ctx.derivatives, None
        if derivatives is None:  # a second time: its memory was used for the first answer
            derivatives = scored(*ctx.saved_tensors, True)[1]
        return _weighted(derivatives, gradient), None  # which autograd casts, if raw outputs are in half precision


def _weighted(derivatives: Tensor, gradient: Tensor) -> Tensor:
    """Each row of the derivatives (..., P) times its incoming gradient (...), where possible in their own memory."""
    if type(gradient) is Tensor and not is_tracing():  # subclasses have numbers of their own
        if gradient.dtype != derivatives.dtype:  # of targets in double precision
            gradient = gradient.to(derivatives.dtype)
        if multiply_rows(derivatives, plain(gradient)):
            return derivatives
        with contextlib.suppress(RuntimeError):  # a batch of gradients does not fit into their memory
            return derivatives.mul_(gradient.unsqueeze(-1))
    return derivatives * gradient.unsqueeze(-1)
