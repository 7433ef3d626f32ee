"""Log-likelihoods of rankings (Plackett 1975), each a list of item indices, the best first.

Each item is chosen by its share, exp(score), among the items that are left. Sums over the items
that are left are built up from the last place to the first.
"""

import torch
from torch import Tensor

from disthead.distributions.base import to_double
from disthead.likelihood.chunks import CHUNK_ELEMENTS, map_chunks
from disthead.likelihood.linked import with_derivatives
from disthead.special.blocks import rank
from disthead.special.eager import is_on_host, is_tracing, materialise
from disthead.special.probabilities import log_probability

__all__ = ["ABSENT_GAP", "finite_scores", "ranking_log_prob", "ranking_log_prob_by_worth"]

# By how much the scores of absent items lie below all others: exp(-200) is nothing beside them, and
# still a number.
ABSENT_GAP = 200.0


def ranking_log_prob(logits: Tensor, y: Tensor) -> Tensor:
    """The log-probabilities (...) of rankings y (..., K) by scores (..., K), in O(K) for each row.

    The score of an absent item is -inf.
    """
    needs_grad = logits.requires_grad and torch.is_grad_enabled()
    result = None if is_tracing() else _in_one_pass(logits, y, needs_grad)
    if result is None:
        return _log_prob(logits, y)
    if not needs_grad:
        return result[0]
    return with_derivatives(logits, y, *result, _in_one_pass, _log_prob)


def finite_scores(logits: Tensor) -> Tensor:
    """Finite scores, in which absent items (-inf) are too far below the others to count."""
    absent = logits == -torch.inf
    least = torch.where(absent, torch.inf, logits).detach().amin(-1, keepdim=True)
    return torch.where(absent, least - ABSENT_GAP, logits)


def ranking_log_prob_by_worth(worth: Tensor, y: Tensor) -> Tensor:
    """The log-probabilities (...) of rankings by the worths (..., K) of the items, zero or more.

    Their gradients by the worths are exact.
    """
    exact, size = to_double(worth), worth.shape[-1]
    ranked = y >= 0
    chosen = torch.where(ranked, exact.gather(-1, y.clamp(min=0)), 0.0)
    others = torch.where(_is_ranked(y, ranked, size), 0.0, exact).sum(-1, keepdim=True)
    left = others + chosen.flip(-1).cumsum(-1).flip(-1)
    # Of items without worth, which come last, each is as probable as the others.
    among_absent = -torch.arange(
        size, size - y.shape[-1], -1, dtype=exact.dtype, device=y.device
    ).log()
    stage = torch.where(left == 0, among_absent, log_probability(chosen) - log_probability(left))
    return torch.where(ranked, stage, 0.0).sum(-1).to(worth.dtype)


def _log_prob(logits: Tensor, y: Tensor) -> Tensor:
    """For partial rankings and far scores too, by operations that can be differentiated again."""
    scores, size = to_double(finite_scores(logits)), logits.shape[-1]
    ranked = y >= 0
    # in place of -inf, whose gradient would be nan
    nothing = scores.detach().amin(-1, keepdim=True) - ABSENT_GAP
    chosen = torch.where(ranked, scores.gather(-1, y.clamp(min=0)), nothing)
    others = torch.where(_is_ranked(y, ranked, size), nothing, scores).logsumexp(-1, keepdim=True)
    left = torch.cat([others, chosen.flip(-1)], -1).logcumsumexp(-1)[..., 1:].flip(-1)
    value = torch.where(ranked, chosen - left, 0.0).sum(-1).to(logits.dtype)
    present = logits > -torch.inf
    is_present = present.gather(-1, y.clamp(min=0)) & ranked
    # An item that is not there comes only after all that are.
    early = ranked & ~is_present & (is_present.cumsum(-1) < present.sum(-1, keepdim=True))
    return torch.where(early.any(-1), -torch.inf, value)


def _is_ranked(y: Tensor, ranked: Tensor, size: int) -> Tensor:
    """Which items (..., K) have a place."""
    places = torch.where(ranked, y, size)
    items = torch.zeros((*y.shape[:-1], size + 1), dtype=torch.bool, device=y.device)
    return items.scatter(-1, places, torch.ones_like(places, dtype=torch.bool))[..., :-1]


def _in_one_pass(
    logits: Tensor, y: Tensor, needs_grad: bool
) -> tuple[Tensor, Tensor | None] | None:
    """The values (...) and their derivatives (..., K), in one pass over chunks of rows.

    None where plain sums of exp(score) do not do: for partial rankings and scores that are far
    apart.
    """
    if not (is_on_host(logits) and is_on_host(y)) or y.shape != logits.shape or not y.numel():
        return None
    scores = materialise(logits.detach()).reshape(-1, logits.shape[-1])
    rankings = materialise(y).reshape(-1, y.shape[-1])
    value, slopes = scores.new_empty(len(scores)), torch.empty_like(scores) if needs_grad else None

    def chunk(start: int, stop: int) -> bool:
        return rank(start, stop, scores, rankings, value, slopes)

    size = max(CHUNK_ELEMENTS // scores.shape[-1], 1)
    if not all(map_chunks(chunk, len(scores), size)):
        return None
    value = value.reshape(logits.shape[:-1])
    return value, None if slopes is None else slopes.reshape(logits.shape)
