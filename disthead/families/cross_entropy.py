"""Log-probabilities of one class out of many and their derivatives by the logits, in one pass over pieces of rows on the CPU.

Of few classes `Categorical.score` is quicker, along columns.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional

from disthead.families.pieces import all_inside, as_array, operations_are_followed, weighted

__all__ = ["FEW", "log_prob"]

FEW = 16
_SHORT = 80  # rows for which torch's own passes are quicker, each along all rows
_FEW_NUMBERS = 1 << 18  # and so they are for a few rows
_NUMBERS = 1 << 20  # of a piece, over which a softmax takes one pass of its own
_NO_INDEX = 2**62 + 1  # `cross_entropy` leaves out rows of one index, which is none of theirs by default


def log_prob(logits: Tensor, y: Tensor) -> Tensor | None:
    """logits[y] - log sum_k exp(logits_k) of logits (..., K) and class indices y (...).

    None where plain operations have to answer: for few classes, for graphs and functional transforms, and where one index is not that
    of a class, or there is not one index a row.
    """
    if (
        logits.shape[-1] < FEW
        or logits.ndim < 2
        or y.shape != logits.shape[:-1]
        or operations_are_followed()
        or not (logits.is_cpu and y.is_cpu)
        or logits.dtype not in (torch.float32, torch.float64)
        or y.requires_grad
    ):
        return None
    if logits.ndim > 2:
        found = log_prob(logits.flatten(0, -2), y.flatten())
        return None if found is None else found.reshape(y.shape)
    is_short = logits.shape[-1] < _SHORT or logits.numel() < _FEW_NUMBERS
    if y.is_floating_point() or not is_short:
        indices = constraints.integer_interval(0, logits.shape[-1] - 1)
        if not all_inside(indices, as_array(y)):
            return None
    index = (y.clone() if y.is_inference() else y).long()
    if not is_short:
        return _LogProb.apply(logits, index)
    with contextlib.suppress(IndexError):  # of an index that is not that of a class
        return -functional.cross_entropy(logits, index, reduction="none", ignore_index=_NO_INDEX)
    return None


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
