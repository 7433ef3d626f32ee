"""Means over rows and the fine histogram of the PIT, in one pass and constant memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.families.distribution import Distribution

_FINE = 2000


class Mean:
    def __init__(self, score: Callable[..., Tensor], square_root: bool = False):
        self._score, self._square_root = score, square_root
        self._sums = torch.zeros(3, dtype=torch.float64)

    def update(self, *arguments) -> None:
        values = self._score(*arguments).detach().double().reshape(-1).cpu()
        self._sums += torch.stack([torch.tensor(float(len(values))), values.sum(), values.square().sum()])

    def compute(self) -> Tensor:
        mean = self._sums[1] / self._sums[0]
        return mean.sqrt() if self._square_root else mean

    def standard_error(self) -> Tensor:
        count, total, square = self._sums
        error = ((square / count - (total / count).square()).clamp(min=0) / (count - 1).clamp(min=1)).sqrt()
        return error / (2 * self.compute()) if self._square_root else error


@dataclass(frozen=True)
class Uniformity:
    ks_statistic: float
    ks_p_value: float
    mean: float
    dispersion: float


class PITHistogram:
    def __init__(self, bins: int = 20, limits: Callable | None = None):
        self.bins = bins
        self._limits = limits or (lambda dist, y: dist.cdf_limits(y))
        self.fine = torch.zeros(_FINE, dtype=torch.float64)

    def update(self, dist: Distribution, y: Tensor) -> None:
        below, upto = (part.detach().double().reshape(-1).cpu().clamp(0, 1) for part in self._limits(dist, y))
        first, last = ((part * _FINE).long().clamp(max=_FINE - 1) for part in (below, upto))
        point = (first == last) | (upto - below < 1e-6)
        self.fine += torch.bincount(((first + last) // 2)[point], minlength=_FINE).double()
        low, high = below[~point], upto[~point]
        slope = 1 / (high - low)
        rise, offset = torch.zeros(2, _FINE + 1, dtype=torch.float64)
        for end, sign, place in ((low, 1, first[~point]), (high, -1, last[~point])):
            rise.index_add_(0, place + 1, sign * slope)
            offset.index_add_(0, place + 1, sign * slope * end)
        edges = torch.linspace(0, 1, _FINE + 1, dtype=torch.float64)
        self.fine += (edges * rise.cumsum(0) - offset.cumsum(0)).diff()

    def cumulative(self) -> Tensor:
        total = self.fine.cumsum(0) / self.fine.sum()
        return torch.cat([total.new_zeros(1), total])

    def compute(self) -> Tensor:
        return self.cumulative()[torch.linspace(0, _FINE, self.bins + 1).round().long()].diff()

    def uniformity(self) -> Uniformity:
        edges = torch.linspace(0, 1, _FINE + 1, dtype=torch.float64)
        count, share = float(self.fine.sum()), self.fine / self.fine.sum()
        distance = float((self.cumulative() - edges).abs().max())
        middle = (edges[1:] + edges[:-1]) / 2
        mean = float((share * middle).sum())
        variance = float((share * (middle - mean).square()).sum())
        root = math.sqrt(count)
        x = (root + 0.12 + 0.11 / root) * distance
        p_value = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101)) if x > 0.2 else 1.0
        return Uniformity(distance, min(1.0, max(0.0, p_value)), mean, 12 * variance)


def coverage(pit: PITHistogram, levels: Tensor) -> Tensor:
    cumulative = pit.cumulative()
    low, high = (((1 - levels) / 2 * _FINE).round().long(), ((1 + levels) / 2 * _FINE).round().long())
    return cumulative[high] - cumulative[low]
