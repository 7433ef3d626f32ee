"""Log-likelihoods of orders: each item is chosen by its share, exp(score), of the items that are left.

Sums over the items that are left are built up from the last place to the first.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from disthead.distributions.base import to_double
from disthead.likelihood.linked import with_derivatives
from disthead.likelihood.program import Program
from disthead.likelihood.recording import Recorder
from disthead.special.blocks import AVAILABLE
from disthead.special.eager import is_on_host, is_tracing
from disthead.special.probabilities import log_probability

__all__ = ["FAINT", "finite_scores", "ranking_log_prob", "ranking_log_prob_by_worth"]

FAINT = 200.0  # exp(-200) beside the least item is nothing, and still a number
# scores below have exponentials that double, and single, precision adds up without loss
_FAR, _NEAR = 300.0, 15.0
_MANY = 1 << 15  # scores up to which calls cost more than numbers do: double precision
_FEW = 32  # items up to which a recorded program is quicker
_PIECE = 1 << 16  # scores worked on at once: with what is made of them they stay in a core's cache


def ranking_log_prob(logits: Tensor, y: Tensor) -> Tensor:
    """log P(y) (...) of orders (..., K) by scores (..., K), in O(K) for each row; -inf stands for an item that is not there."""
    needs_grad = logits.requires_grad and torch.is_grad_enabled()
    result = None if is_tracing() else _in_one_pass(logits, y, needs_grad)
    if result is None:
        return _log_prob(logits, y)
    return (
        with_derivatives(logits, y, *result, _in_one_pass, _log_prob) if needs_grad else result[0]
    )


def finite_scores(logits: Tensor) -> Tensor:
    """Scores in which items that are not there (-inf) come so far behind the others that these do not see them."""
    absent = logits == -torch.inf
    least = torch.where(absent, torch.inf, logits).detach().amin(-1, keepdim=True)
    return torch.where(absent, least - FAINT, logits)


def ranking_log_prob_by_worth(worth: Tensor, y: Tensor) -> Tensor:
    """log P(y) (...) of orders by the worths (..., K) of the items, zero or more, with exact gradients by them."""
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
    nothing = scores.detach().amin(-1, keepdim=True) - FAINT
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
    """log_prob (...) and, if `needs_grad`, its derivatives (..., K), in one pass over pieces of rows.

    None where plain sums of exp(score) do not do: for partial rankings and scores that are far
    apart. To find out takes a look.
    """
    if not (is_on_host(logits) and is_on_host(y)) or y.shape != logits.shape or not y.numel():
        return None
    scores, orders = logits.detach().reshape(-1, logits.shape[-1]), y.reshape(-1, y.shape[-1])
    if orders.numpy()[:, -1].min() < 0:
        return None
    programs = _programs(scores.shape[-1], needs_grad)
    largest = 0.0 if programs else _largest(scores)  # programs look for themselves
    if not largest < _FAR:
        return None
    is_single = scores.numel() > _MANY and scores.dtype == torch.float32 and largest < _NEAR
    # Zeros, for targets that are no orders and leave out an item.
    given = [
        scores,
        orders,
        scores.new_empty(len(scores)),
        torch.zeros_like(scores) if needs_grad else None,
    ]
    size = max(_PIECE // scores.shape[-1], 1)
    pieces = [slice(start, start + size) for start in range(0, len(scores), size)]
    for rows in pieces:
        piece = (
            given if len(pieces) == 1 else [None if part is None else part[rows] for part in given]
        )
        scored = _run(programs, *piece) if programs else _score(is_single, *piece)
        if not scored:
            return None
    value, slopes = given[2:]
    return value.resize_(logits.shape[:-1]), None if slopes is None else slopes.reshape(
        logits.shape
    )


def _run(
    programs: tuple[Program, ...],
    scores: Tensor,
    orders: Tensor,
    value: Tensor,
    slopes: Tensor | None,
) -> bool:
    """Write log_prob (n,) and derivatives (n, K) of scores and orders (n, K); False where scores are too far apart."""
    chosen = scores.gather(-1, orders)
    tensors = [chosen, value]
    if slopes is not None:
        slope = torch.empty_like(chosen)
        tensors.append(slope)
    fine = any(program.run(*tensors) for program in programs[scores.dtype == torch.float64 :])
    if fine and slopes is not None:
        slopes.scatter_(-1, orders, slope)
    return fine


def _score(
    is_single: bool, scores: Tensor, orders: Tensor, value: Tensor, slopes: Tensor | None
) -> bool:
    """The same for many items."""
    chosen = scores.gather(-1, orders).to(torch.float32 if is_single else torch.float64)
    worth = chosen.exp()
    left = worth.flip(-1).cumsum(-1).flip(-1)
    value[:] = chosen.sub_(left.log()).sum(-1)
    if slopes is not None:
        slope = 1 - left.reciprocal_().cumsum(-1).mul_(worth)
        slopes.scatter_(-1, orders, slope.to(slopes.dtype))
    return True


def _largest(scores: Tensor) -> float:
    """The greatest magnitude; nan where one of them is."""
    least, most = torch.aminmax(scores)
    return max(-float(least.numpy()), float(most.numpy()))


@functools.cache
def _programs(items: int, needs_grad: bool) -> tuple[Program, ...]:
    """The same for a few items, in single and in double precision."""
    if items > _FEW or not AVAILABLE:
        return ()
    return _recorded(items, needs_grad, np.float32, _NEAR), _recorded(
        items, needs_grad, np.float64, _FAR
    )


def _recorded(items: int, needs_grad: bool, dtype: type, bound: float) -> Program:
    recorder = Recorder(dtype)
    chosen = recorder.array(0, items)
    recorder.check(chosen, -bound, bound)
    worth = np.exp(chosen)
    left = worth[::-1].cumsum(0)[::-1]
    # a choice that is almost certain keeps its digits
    value = -np.log1p(left[1:] / worth[:-1]).sum(0)
    results = value.stored(1)
    if needs_grad:
        results += (1 - (1 / left).cumsum(0) * worth).stored(2)
    return Program.of(recorder, results)
