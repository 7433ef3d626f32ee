"""Log-probabilities of one class out of many and their derivatives by the logits, in one pass along rows on the CPU.

Of few classes `Categorical.score` is quicker, along columns.
"""

import torch
from torch import Tensor

from disthead.likelihood.autograd import with_derivatives
from disthead.likelihood.chunks import NUMBERS, each, plain
from disthead.special.blocks import choose
from disthead.special.eager import is_on_host, is_tracing

__all__ = ["FEW", "log_prob"]

FEW = 12


def log_prob(logits: Tensor, y: Tensor) -> Tensor | None:
    """logits[y] - log sum_k exp(logits_k) of logits (..., K) and class indices y (...).

    None where plain operations have to answer: for few classes, for graphs and functional transforms, and where one index is not that
    of a class, or there is not one index a row.
    """
    if (
        logits.shape[-1] < FEW
        or logits.ndim < 2
        or y.shape != logits.shape[:-1]
        or is_tracing()
        or not (is_on_host(logits) and is_on_host(y))
        or logits.dtype not in (torch.float32, torch.float64)
        or y.requires_grad
    ):
        return None
    if logits.ndim > 2:
        value = log_prob(logits.flatten(0, -2), y.flatten())
        return None if value is None else value.reshape(y.shape)
    if y.is_floating_point() and not (y == y.floor()).all():
        return None
    index = plain(y).long()
    wanted = logits.requires_grad and torch.is_grad_enabled()
    found = _scored(logits, index, wanted)
    if found is None or not wanted:
        return None if found is None else found[0]
    return with_derivatives(logits, index, found, _scored, _formula)


def _formula(logits: Tensor, index: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


def _scored(logits: Tensor, index: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None] | None:
    """The log-probabilities (n,) and, if `wanted`, their derivatives 1{k = index} - p_k by the logits (n, K); None of no class."""
    rows, index = plain(logits.detach()).contiguous(), index.contiguous()
    value, slopes = rows.new_empty(len(rows)), torch.empty_like(rows) if wanted else None
    answers = [value] if slopes is None else [value, slopes]

    def piece(start: int, stop: int) -> bool:
        if choose(start, stop, rows, index, *answers):
            return True
        part = slice(start, stop)
        return _in_torch(rows[part], index[part], *[answer[part] for answer in answers])

    return (value, slopes) if all(each(piece, len(rows), max(NUMBERS // rows.shape[-1], 1))) else None


def _in_torch(logits: Tensor, index: Tensor, value: Tensor, *slopes: Tensor) -> bool:
    """Write values (n,) and perhaps slopes (n, K) of any numbers; False where an index is not that of a class."""
    if ((index < 0) | (index >= logits.shape[-1])).any():
        return False
    chosen, probs, (top, place) = index.unsqueeze(-1), torch.softmax(logits, -1), logits.max(1)
    # What the most probable class leaves to the others has more digits than its own probability, if that is almost 1.
    others = probs.scatter(1, place.unsqueeze(-1), 0.0).sum(1)
    normalizer = torch.where(others < 0.5, torch.log1p(-others), probs.amax(1).log())
    value[:] = logits.gather(1, chosen).squeeze(-1) - top + normalizer
    for slope in slopes:
        own = torch.where(index == place, others, 1 - probs.gather(1, chosen).squeeze(-1))
        slope[:] = probs.neg_().scatter_(1, chosen, own.unsqueeze(-1))
    return True
