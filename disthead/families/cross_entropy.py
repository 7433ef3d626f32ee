"""Log-probabilities of one class out of many and their derivatives by the logits, in one pass over pieces of rows on the CPU.

Of few classes `Categorical.score` is quicker, along columns.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional

from disthead.families.pieces import all_inside, as_array, operations_are_followed, weighted

__all__ = ["FEW", "is_quick", "log_prob"]

FEW = 64
_FEW_NUMBERS = 1 << 18  # plain operations are quicker
_NUMBERS = 1 << 20  # of a piece, over which a softmax takes one pass of its own


def is_quick(logits: Tensor, y: Tensor) -> bool:
    """Whether `log_prob` applies: to one class index a row, none of them outside, and not in graphs and functional transforms."""
    return (
        not operations_are_followed()
        and logits.is_cpu
        and y.is_cpu
        and logits.dtype in (torch.float32, torch.float64)
        and logits.ndim > 1
        and logits.shape[-1] >= FEW
        and not y.requires_grad
        and y.shape == logits.shape[:-1]
        and all_inside(constraints.integer_interval(0, logits.shape[-1] - 1), as_array(y))
    )


def log_prob(logits: Tensor, y: Tensor) -> Tensor:
    """logits[y] - log sum_k exp(logits_k) of logits (..., K) and class indices y (...)."""
    index = y.long()
    if logits.numel() < _FEW_NUMBERS:
        loss = functional.cross_entropy(logits.flatten(0, -2), index.flatten(), reduction="none")
        return -loss.reshape(index.shape)
    return _LogProb.apply(logits, index)


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
    """The log-probabilities (...) and their derivatives 1{k = index} - p_k by the logits (..., K)."""
    rows, chosen = logits.reshape(-1, logits.shape[-1]), index.reshape(-1, 1)
    value, derivatives = torch.empty_like(rows[:, :1]), torch.empty_like(rows)
    size = max(_NUMBERS // rows.shape[-1], 1)
    for start in range(0, len(rows), size):
        piece = slice(start, start + size)
        probs = torch.softmax(rows[piece], -1, out=derivatives[piece])
        # the normaliser by the most probable class, whose probability is at least 1 / K
        value[piece] = rows[piece].gather(1, chosen[piece]) - rows[piece].amax(1, True) + probs.amax(1, True).log()
        probs.neg_().scatter_add_(1, chosen[piece], torch.ones_like(value[piece]))
    return value.reshape(index.shape), derivatives.reshape(logits.shape)
