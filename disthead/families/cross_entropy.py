"""Log-probabilities of one class out of many and their derivatives by the logits, in one pass along rows on the CPU.

Of few classes `Categorical.score` is quicker, along columns.
"""

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.families.gradients import with_derivatives
from disthead.families.pieces import NUMBERS, all_inside, each, operations_are_followed, plain
from disthead.special.blocks import choose

__all__ = ["FEW", "log_prob"]

FEW = 12
_NUMBERS = 1 << 20  # of a piece in torch, over which a softmax takes one pass of its own


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
        value = log_prob(logits.flatten(0, -2), y.flatten())
        return None if value is None else value.reshape(y.shape)
    if y.is_floating_point() and not (y == y.floor()).all():
        return None
    index = (y.clone() if y.is_inference() else y).long()
    wanted = logits.requires_grad and torch.is_grad_enabled()
    found = _scored(logits, index, wanted)
    if found is None or not wanted:
        return None if found is None else found[0]
    return with_derivatives(logits, index, found, _scored, _formula)


def _formula(logits: Tensor, index: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


def _scored(logits: Tensor, index: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None] | None:
    """The log-probabilities (n,) and, if `wanted`, their derivatives 1{k = index} - p_k by the logits (n, K); None of no class."""
    rows = plain(logits.detach()).contiguous()
    value, slopes = rows.new_empty(len(rows)), torch.empty_like(rows) if wanted else None
    answers = (value,) if slopes is None else (value, slopes)
    size = max(NUMBERS // rows.shape[-1], 1)
    found = each(
        lambda start: choose(start, min(start + size, len(rows)), rows, index.contiguous(), *answers),
        range(0, len(rows), size),
    )
    if all(found):
        return value, slopes
    if not all_inside(constraints.integer_interval(0, rows.shape[-1] - 1), index.numpy()):
        return None
    return _in_torch(rows, index.unsqueeze(-1), value.unsqueeze(-1), slopes)


def _in_torch(rows: Tensor, index: Tensor, value: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The same for any numbers, into values (n, 1) and perhaps slopes (n, K)."""
    size = max(_NUMBERS // rows.shape[-1], 1)
    for start in range(0, len(rows), size):
        piece = slice(start, start + size)
        probs = torch.softmax(rows[piece], -1)
        # the normaliser by the most probable class, whose probability is at least 1 / K
        value[piece] = rows[piece].gather(1, index[piece]) - rows[piece].amax(1, True) + probs.amax(1, True).log()
        if slopes is not None:
            slopes[piece] = probs.neg_().scatter_add_(1, index[piece], torch.ones_like(value[piece]))
    return value.squeeze(-1), slopes
