"""The least integer at which an increasing function reaches a target, for concrete numbers."""

from collections.abc import Callable

import torch
from torch import Tensor

from .plain import ndtri

# From this step on the bracket is halved where the last two steps have not halved it.
_FIRST_HALVING = 4


@torch.no_grad()
def integer_search(
    probability: Callable[[Tensor, Tensor], Tensor],
    target: Tensor,
    lower: Tensor,
    upper: Tensor,
    start: Tensor,
    scale: Tensor,
) -> Tensor:
    """The least integer k in [lower, upper] with probability(k) >= target, else `upper`.

    The numbers are concrete (`eager.are_concrete`). On the probit scale a cdf is close to a
    straight line. The first step uses the slope 1 / `scale`, each later one the line through the
    last two points. Where the steps make little progress, the bracket is halved, geometrically
    while its ends differ by a factor of more than four. Rows that have converged are not evaluated
    again.

    Args:
        probability: a function of integers k and row indices, both of shape (n,), that returns the
            cdf of each of these rows at its k, of shape (n,).
        target: probabilities between 0 and 1, of shape (rows,) and in float64, as are the following
            arguments.
        lower: the least integer of each row.
        upper: the greatest integer of each row.
        start: the first point of each row, any finite number.
        scale: about how many integers near `start` correspond to one unit of the probit scale,
            positive.

    Returns:
        The integers, of shape (rows,) in float64; nan where the cdf was nan.

    >>> q = torch.tensor([0.5, 0.51, 0.99], dtype=torch.float64)
    >>> zero, one = torch.zeros_like(q), torch.ones_like(q)
    >>> geometric_cdf = lambda k, rows: 1 - 0.5 ** (k + 1)
    >>> integer_search(geometric_cdf, q, zero, 2.0**53 * one, one, one).tolist()
    [0.0, 1.0, 6.0]
    """
    result = upper.clone()
    rows = torch.arange(len(target), device=target.device)
    goal, below = _probit(target), lower - 1
    k = torch.minimum(torch.maximum(start.ceil() + 0.0, lower), upper)  # no minus 0
    before = height = torch.full_like(k, torch.nan)  # the last point, and its probit
    stride = torch.zeros_like(k)
    # The width of the bracket one step ago, and two; infinite until the probability is reached.
    once = twice = torch.full_like(k, torch.inf)
    step = 0
    while len(rows):
        reached = probability(k, rows)
        last_height, height = height, _probit(reached)
        enough = reached >= target
        below = torch.where(enough, below, k)
        upper = torch.where(enough, k, torch.where(reached.isnan(), torch.nan, upper))
        first, last = _next(below, 1), _next(upper, -1)
        slope = (k - before) / (height - last_height)
        scale = torch.where((slope > 0) & (slope < torch.inf), slope, scale)
        # The bound on repeated steps to one side grows by a factor of four.
        stride = torch.where(
            enough,
            torch.minimum(4 * stride, last - upper),
            torch.maximum(4 * stride, first - below),
        )
        straight = (scale * (goal - height)).ceil()
        before = k
        k = k + torch.where(
            enough, torch.minimum(straight, stride), torch.maximum(straight, stride)
        )
        width = torch.where(enough | (once < torch.inf), upper - below, torch.inf)
        step += 1
        if step >= _FIRST_HALVING:
            k = torch.where(width > twice / 2, _middle(below, upper), k)
        once, twice = width, once
        k = torch.maximum(torch.minimum(k, last), first)
        is_open = first < upper
        if not is_open.all():
            result[rows] = upper
            remaining = is_open.nonzero().squeeze(-1)
            state = rows, goal, target, below, upper, k, before, height, scale, stride, once, twice
            rows, goal, target, below, upper, k, before, height, scale, stride, once, twice = (
                part[remaining] for part in state
            )
    return result


def _probit(probability: Tensor) -> Tensor:
    # beyond these, double precision has only 0 and 1
    return ndtri(probability.clamp(max=1)).clamp(-38.5, 8.3)


def _next(k: Tensor, direction: int) -> Tensor:
    """The next integer upwards or downwards in double precision, which lacks some beyond 2^53."""
    beside = torch.nextafter(k, torch.full_like(k, direction * torch.inf))
    return torch.maximum(beside, k + 1) if direction > 0 else torch.minimum(beside, k - 1)


def _middle(below: Tensor, upper: Tensor) -> Tensor:
    """The middle of the bracket, geometric where its ends differ by a factor of about four."""
    half = below + ((upper - below) / 2).floor()
    far = (below >= -1) & (upper > 4 * (below + 4))
    return torch.where(
        far, ((below + 2).clamp(min=1).sqrt() * (upper + 2).clamp(min=1).sqrt()).floor() - 2, half
    )
