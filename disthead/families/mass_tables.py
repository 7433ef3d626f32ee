"""Tables of the masses at all integers of a range, for rows whose ranges are short: sums over them take no special function."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["by_recurrence", "crps_of", "entropy_of", "entropy_of_bell", "groups_of_width"]

_NUMBERS = 1 << 14  # of a table, which stays in the cache
_TINY = 1e-300
_STEPS = 64  # across a bell, which is 13 to 20 standard deviations wide


def groups_of_width(width: Tensor, numbers: int = 1) -> Iterator[tuple[Tensor, int]]:
    """Rows of about the same width, and the width of their table, each of whose entries takes some numbers."""
    size = _NUMBERS // numbers
    width, order = width.sort()
    start = 0
    while start < len(order):
        most = max(1, size // max(1, int(width[start])))
        widest = int(width[min(start + most, len(order)) - 1])
        stop = min(start + max(1, size // max(1, widest)), len(order))
        yield order[start:stop], int(width[stop - 1])
        start = stop


def by_recurrence(dist: Any, first: Tensor, width: int, ratio: Callable[[Tensor], Tensor]) -> Tensor:
    """The masses (rows, width) at `first` and after it, from the `ratio` of the mass at k (rows, width) to the one before.

    What lies before the range that carries probability is 0: a recurrence that began there could begin with nothing.
    """
    begin = torch.maximum(first, dist._bulk()[0])
    k = first[:, None] + torch.arange(width, dtype=first.dtype)
    factors = ratio(k)
    if bool((begin == first).all()):
        factors[:, 0] = dist._log_mass(first).exp()
        return factors.cumprod(1)
    begin, start = begin[:, None], dist._log_mass(begin).exp()[:, None]
    return torch.where(k > begin, factors, torch.where(k == begin, start, 1.0)).cumprod(1).masked_fill(k < begin, 0.0)


def entropy_of(masses: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """-sum p log p of each row, of weighted terms."""
    return -(masses * masses.clamp(min=_TINY).log() * weights).sum(1)


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


def entropy_of_bell(dist: Any, first: Tensor, last: Tensor) -> Tensor:
    """The entropy of masses that rise from next to nothing and fall to it, smoothly: equal steps of any length are as good as all."""
    step = (last - first) / _STEPS
    masses = dist._log_mass(first + step * torch.arange(_STEPS + 1, dtype=first.dtype)[:, None]).exp()
    return entropy_of(masses.T, step[:, None])
