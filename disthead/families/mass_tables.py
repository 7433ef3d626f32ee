"""Tables of the masses at all integers of a range, for rows whose ranges are short: sums over them take no special function."""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["by_recurrence", "crps_of", "entropy_of", "groups_of_width"]

_NUMBERS = 1 << 14  # of a table, which stays in the cache
_TINY = 1e-300


def groups_of_width(width: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Rows of about the same width, and the width of their table."""
    width, order = width.sort()
    start = 0
    while start < len(order):
        most = max(1, _NUMBERS // max(1, int(width[start])))
        widest = int(width[min(start + most, len(order)) - 1])
        stop = min(start + max(1, _NUMBERS // max(1, widest)), len(order))
        yield order[start:stop], int(width[stop - 1])
        start = stop


def by_recurrence(first_mass: Tensor, ratios: Tensor) -> Tensor:
    """Masses (rows, width) from the first ones and from the ratio of each to the one before it, whose first column is not used."""
    ratios[:, 0] = first_mass
    return ratios.cumprod(1)


def entropy_of(masses: Tensor) -> Tensor:
    """-sum p log p of each row."""
    return -(masses * masses.clamp(min=_TINY).log()).sum(1)


def crps_of(masses: Tensor, first: Tensor, y: Tensor) -> Tensor:
    """The integral of (cdf(t) - 1{t >= y})^2 dt, for `y` (rows, ...) and a table that begins at the integers `first` (rows,)."""
    none = torch.zeros_like(masses[:, :1])
    below = torch.cat([none, masses.cumsum(1)], 1)  # the cdf at first - 1, first, ...
    above = torch.cat([masses.flip(1).cumsum(1).flip(1), none], 1)
    left = torch.cat([none, below[:, :-1].square().cumsum(1)], 1)  # the integral of the cdf's square up to there
    right = above.square().flip(1).cumsum(1).flip(1) - above.square()
    place = torch.minimum((y.floor() - first[:, None] + 1).clamp(min=0), none + masses.shape[1])
    index = place.nan_to_num(0.0).long()
    beyond = y - (first[:, None] - 1 + place)
    cdf, survival, before, after = (part.gather(1, index) for part in (below, above, left, right))
    return before + cdf.square() * beyond.clamp(min=0) + survival.square() * (1 - beyond).clamp(min=0) + after
