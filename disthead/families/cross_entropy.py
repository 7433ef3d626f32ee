"""Log-probabilities of class indices and their derivatives by the logits, in one pass over pieces of rows on the CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.families.pieces import NUMBERS, all_inside, as_array, transposed, weighted, write

__all__ = ["is_quick", "log_prob"]

_FEW = 64  # of fewer classes a softmax is quicker along columns
_MANY_NUMBERS = 1 << 20  # of many classes it takes one pass of its own over a piece


def is_quick(logits: Tensor, y: Tensor) -> bool:
    """Whether `log_prob` applies: to one class index a row, none of them outside, and not in graphs and functional transforms."""
    return (
        not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and logits.device.type == "cpu" == y.device.type
        and logits.dtype in (torch.float32, torch.float64)
        and logits.ndim > 1
        and not y.requires_grad
        and y.shape == logits.shape[:-1]
        and all_inside(constraints.integer_interval(0, logits.shape[-1] - 1), as_array(y))
    )


def log_prob(logits: Tensor, y: Tensor) -> Tensor:
    """logits[y] - log sum_k exp(logits_k) of logits (..., K) and class indices y (...)."""
    return _LogProb.apply(logits, y.long())


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor) -> Tensor:
        value, ctx.derivatives = _scored(logits, index)
        ctx.save_for_backward(logits, index)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        logits, index = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            value = logits.log_softmax(-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)
            return torch.autograd.grad(value, logits, gradient, create_graph=True)[0], None
        derivatives, ctx.derivatives = ctx.derivatives, None
        if derivatives is None:  # a second time: its memory was used for the first answer
            derivatives = _scored(logits, index)[1]
        return weighted(derivatives, gradient), None


def _scored(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probabilities (...) and their derivatives (..., K)."""
    rows, chosen = logits.reshape(-1, logits.shape[-1]), index.reshape(-1)
    few = rows.shape[-1] < _FEW
    size = max((NUMBERS if few else _MANY_NUMBERS) // rows.shape[-1], 1)
    if few and len(rows) <= size:
        value, slope = _score(transposed(rows, rows.dtype), chosen, 0)
        return value.reshape(index.shape), slope.t().reshape(logits.shape)
    value, derivatives = torch.empty_like(rows[:, 0]), torch.empty_like(rows)
    for start in range(0, len(rows), size):
        piece = slice(start, start + size)
        if few:
            value[piece], slope = _score(transposed(rows[piece], rows.dtype), chosen[piece], 0)
            write(slope, derivatives[piece].t())
        else:
            value[piece], _ = _score(rows[piece], chosen[piece], 1, out=derivatives[piece])
    return value.reshape(index.shape), derivatives.reshape(logits.shape)


def _score(logits: Tensor, index: Tensor, classes: int, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The log-probabilities, and their derivatives 1{k = index} - p_k, of logits whose dimension `classes` they are in."""
    index = index.unsqueeze(classes)
    probs = torch.softmax(logits, classes, out=out)
    # the normaliser by the most probable class, whose probability is at least 1 / K
    value = logits.gather(classes, index) - logits.amax(classes, True) + probs.amax(classes, True).log()
    return value.squeeze(classes), probs.neg_().scatter_add_(classes, index, torch.ones_like(value))
