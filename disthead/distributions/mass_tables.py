"""Tables of masses, (rows, width), at consecutive integers, and sums over them.

Tables hold concrete numbers (`eager.are_concrete`), of rows whose probability lies on few integers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "MAX_TABLE_WIDTH",
    "by_recurrence",
    "crps_of",
    "entropy_of",
    "entropy_of_bell",
    "grouped_by_width",
]

MAX_TABLE_WIDTH = 2048  # integers that a table of distributions with several peaks may have

_CHUNK_ELEMENTS = 1 << 16  # of the tables of one group of rows, which then fit the cache
_TINY = 1e-300
_STEPS = 64  # across the range of a wide distribution, of 13 to 20 standard deviations


def grouped_by_width(
    first: Tensor, last: Tensor, widest: float, numbers: int = 1
) -> tuple[list[tuple[Tensor, int]], Tensor]:
    """Groups of rows whose tables have about the same width and fit the cache together.

    Args:
        first: the least integer of each row's table, shape (rows,).
        last: the greatest integer of each row's table, shape (rows,).
        widest: rows with last - first of this size or more belong to no group.
        numbers: how many numbers one entry of a table takes.

    Returns:
        the groups, pairs of the indices of their rows and the width of their tables; and the
        indices of the rows in no group, by increasing width.
    """
    is_narrow = last - first < widest
    narrow, wide_rows = is_narrow.nonzero().squeeze(-1), (~is_narrow).nonzero().squeeze(-1)
    wide_rows = wide_rows[(last - first)[wide_rows].argsort()]
    width, order = (last[narrow] - first[narrow] + 1).sort()
    size, start, groups = _CHUNK_ELEMENTS // numbers, 0, []
    while start < len(order):
        most = max(1, size // max(1, int(width[start])))
        largest = int(width[min(start + most, len(order)) - 1])
        stop = min(start + max(1, size // max(1, largest)), len(order))
        groups.append((narrow[order[start:stop]], int(width[stop - 1])))
        start = stop
    return groups, wide_rows


def by_recurrence(
    dist: Any, first: Tensor, width: int, ratio: Callable[[Tensor], Tensor]
) -> Tensor:
    """The masses (rows, width) at the integers from `first` on, by a recurrence.

    Masses before the range `_bulk` count as 0: a recurrence that starts at 0 would stay there.

    Args:
        dist: counts in a batch of one dimension.
        first: the first integer of each row, shape (rows,).
        width: the number of integers.
        ratio: a function that takes 1 / k, of shape (rows, width), and returns the mass at k
            divided by the mass at k - 1. It may overwrite its argument.
    """
    begin = torch.maximum(first, dist._bulk()[0])
    steps = torch.arange(width, dtype=first.dtype)
    factors = ratio((first[:, None] + steps).reciprocal_())
    start = dist._log_mass(begin).exp()
    factors[:, 0] = start
    late = (begin > first).nonzero()
    if len(late):
        offset = (begin - first)[late]
        some = factors[late.squeeze(1)].masked_fill_(steps < offset, 1.0)
        some = (
            torch.where(steps == offset, start[late], some)
            .cumprod(1)
            .masked_fill_(steps < offset, 0.0)
        )
    factors = factors.cumprod(1)
    if len(late):
        factors[late.squeeze(1)] = some
    return factors


def entropy_of(masses: Tensor, weights: Tensor | None = None) -> Tensor:
    """The sum of -p log p over each row, in nats, shape (rows,).

    Args:
        masses: shape (rows, width).
        weights: how many integers each entry stands for; None is one each.
    """
    result = _minus_p_log_p(masses, weights)
    most, at = masses.max(1)
    sure = (most > 0.9).nonzero().squeeze(1)
    # the logarithm of a mass near 1 is exact as log1p of minus the sum of all others
    if len(sure):
        others = masses[sure].scatter_(1, at[sure].unsqueeze(1), 0.0)
        shares = None if weights is None else weights.expand_as(masses)[sure]
        rest = (others if shares is None else others * shares).sum(1)
        result[sure] = _minus_p_log_p(others, shares) - (1 - rest) * torch.log1p(-rest)
    return result


def _minus_p_log_p(masses: Tensor, weights: Tensor | None) -> Tensor:
    terms = masses.clamp(min=_TINY).log_().mul_(masses)
    return -(terms if weights is None else terms.mul_(weights)).sum(1)


def crps_of(masses: Tensor, first: Tensor, y: Tensor) -> Tensor:
    """The integral of (cdf(t) - 1{t >= y})^2 dt, of shape (rows, columns), from a table of masses.

    Args:
        masses: shape (rows, width).
        first: the integer at which each row of the table starts, shape (rows,).
        y: targets, shape (rows, columns).
    """
    width = masses.shape[1]
    cdf = masses.cumsum(1)
    left = cdf.square().cumsum_(1)  # the integral of the cdf's square up to the next integer
    survival = masses.flip(1).cumsum_(1)  # P(Y >= k), from the last integer k to the first
    right = survival.square().cumsum_(1)
    place = (y.floor() - first[:, None]).clamp(-1, width - 1)  # of y in the table, -1 before it
    beyond = y - (first[:, None] + place)
    at = place.nan_to_num(0.0).long()

    def backwards(values: Tensor) -> Tensor:
        """The entries of a reversed table at the integers after `at`; 0 after the last integer."""
        return torch.where(at < width - 1, values.gather(1, (width - 2 - at).clamp(min=0)), 0.0)

    inside, here = at >= 0, at.clamp(min=0)
    below = torch.where(inside, cdf.gather(1, here), 0.0).square()
    above = torch.where(inside, backwards(survival), 1.0).square()
    before = torch.where(inside, left.gather(1, here), 0.0) - below
    after = backwards(right) - above
    return before + below * beyond.clamp(min=0) + above * (1 - beyond).clamp(min=0) + after


def entropy_of_bell(dist: Any, first: Tensor, last: Tensor) -> Tensor:
    """The entropy (rows,) of smooth masses that vanish at both ends, by the trapezoidal rule.

    The rule has 64 steps. For such functions it is as exact as the sum over all integers.

    Args:
        dist: counts in a batch of one dimension.
        first: the least integer with probability, shape (rows,).
        last: the greatest integer with probability, shape (rows,).
    """
    step = (last - first) / _STEPS
    masses = dist._log_mass(
        first + step * torch.arange(_STEPS + 1, dtype=first.dtype)[:, None]
    ).exp()
    return entropy_of(masses.T, step[:, None])
