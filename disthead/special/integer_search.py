"""The least integer at which an increasing function reaches a target, for concrete numbers (`eager.are_concrete`)."""

from collections.abc import Callable

import torch
from torch import Tensor

from .plain import ndtri

# steps that follow the slope; later ones halve the bracket where the last two steps have not halved
# it
_FREE = 4


@torch.no_grad()
def integer_search(
    probability: Callable[[Tensor, Tensor], Tensor],
    target: Tensor,
    lower: Tensor,
    upper: Tensor,
    start: Tensor,
    spread: Tensor,
) -> Tensor:
    """The least integer k in [lower, upper] with probability(k) >= target; `upper` where there is none below it.

    On the probit scale a cdf is close to a straight line: each step goes to where the line through
    the last two points reaches the target, the first one along a line of the slope 1 / `spread`.
    Where the steps make little progress the bracket is halved, geometrically while its ends differ
    by a factor of more than four. Rows that have converged are not evaluated again.

    Args:
        probability: the cdf at integers k (n,) of the rows with the given indices (n,).
        target: probabilities between 0 and 1, of shape (rows,) as all that follows, in float64.
        lower, upper: the ends of the search.
        start: where to look first; any finite number.
        spread: about how many integers correspond to one unit of the probit scale there, positive.

    Returns:
        The integers, of shape (rows,); nan where the cdf was nan.

    >>> q = torch.tensor([0.5, 0.51, 0.99], dtype=torch.float64)
    >>> zero, one = torch.zeros_like(q), torch.ones_like(q)
    >>> integer_search(lambda k, rows: 1 - 0.5 ** (k + 1), q, zero, 2.0**53 * one, one, one).tolist()
    [0.0, 1.0, 6.0]
    """
    found = upper.clone()
    rows = torch.arange(len(target), device=target.device)
    goal, below = _probit(target), lower - 1
    k = torch.minimum(torch.maximum(start.ceil(), lower), upper)
    before = before_height = torch.full_like(k, torch.nan)
    stride = torch.zeros_like(k)
    once = twice = torch.full_like(k, torch.inf)  # the width of the bracket one step ago, and two
    has_upper = torch.zeros_like(k, dtype=torch.bool)
    step = 0
    while len(rows):
        reached = probability(k, rows)
        height = _probit(reached)
        enough = reached >= target
        below = torch.where(enough, below, k)
        upper = torch.where(enough, k, torch.where(reached.isnan(), torch.nan, upper))
        first, last = _next(below, 1), _next(upper, -1)
        slope = (k - before) / (height - before_height)
        spread = torch.where((slope > 0) & (slope < torch.inf), slope, spread)
        # Repeated steps to one side grow by at least a factor of four, since a flat stretch has no
        # slope.
        stride = torch.where(
            enough,
            torch.minimum(4 * stride, last - upper),
            torch.maximum(4 * stride, first - below),
        )
        straight = (spread * (goal - height)).ceil()
        before, before_height = k, height
        k = k + torch.where(
            enough, torch.minimum(straight, stride), torch.maximum(straight, stride)
        )
        has_upper = has_upper | enough
        width = torch.where(has_upper, upper - below, torch.inf)
        step += 1
        if step >= _FREE:
            k = torch.where(width > twice / 2, _middle(below, upper), k)
        once, twice = width, once
        k = torch.maximum(torch.minimum(k, last), first)
        is_open = first < upper
        if not is_open.all():
            found[rows] = upper
            remaining = is_open.nonzero().squeeze(-1)
            state = (
                rows,
                goal,
                target,
                below,
                upper,
                k,
                before,
                before_height,
                spread,
                stride,
                has_upper,
                once,
                twice,
            )
            (
                rows,
                goal,
                target,
                below,
                upper,
                k,
                before,
                before_height,
                spread,
                stride,
                has_upper,
                once,
                twice,
            ) = (part[remaining] for part in state)
    return found


def _probit(probability: Tensor) -> Tensor:
    # beyond these, double precision has only 0 and 1
    return ndtri(probability.clamp(max=1)).clamp(-38.5, 8.3)


def _next(k: Tensor, direction: int) -> Tensor:
    """The next integer upwards or downwards; beyond 2^53 double precision leaves some out."""
    beside = torch.nextafter(k, torch.full_like(k, direction * torch.inf))
    return torch.maximum(beside, k + 1) if direction > 0 else torch.minimum(beside, k - 1)


def _middle(below: Tensor, upper: Tensor) -> Tensor:
    """The middle of the bracket, in the logarithm where its ends differ by a factor of more than about four."""
    half = below + ((upper - below) / 2).floor()
    far = (below >= -1) & (upper > 4 * (below + 4))
    return torch.where(
        far, ((below + 2).clamp(min=1).sqrt() * (upper + 2).clamp(min=1).sqrt()).floor() - 2, half
    )
