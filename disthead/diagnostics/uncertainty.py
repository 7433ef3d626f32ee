"""Does the predicted spread tell good predictions from bad ones, and how wide is it?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.families.distribution import Distribution

__all__ = ["Sharpness", "Sparsification", "SpreadSkill", "sharpness", "sparsification", "spread_skill"]


@dataclass(frozen=True)
class Sparsification:
    """The mean error of what is left when the most uncertain rows are dropped.

    Attributes:
        dropped: share of the rows, from 0 to below 1, shape (P,).
        error: when those with the largest predicted uncertainty go first, shape (P,).
        oracle: when those with the largest error go first: no order does better.
        random: when any go: the mean error.
        gain: area between random and error over area between random and oracle: 1 is perfect, 0 is a random order.
        standard_error: of the gain of a random order: what chance does.
    """

    dropped: Tensor
    error: Tensor
    oracle: Tensor
    random: float
    gain: float
    standard_error: float


@torch.no_grad()
def sparsification(error: Tensor, uncertainty: Tensor, points: int = 50) -> Sparsification:
    """The sparsification curve of errors (N,), zero or more, by a predicted uncertainty (N,).

    Rows of equal uncertainty share their mean error, so that a constant one drops rows at random. Source: Ilg et al. 2018.

    >>> result = sparsification(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3]))
    >>> result.gain
    1.0
    """
    error, uncertainty = error.double(), uncertainty.double()
    rows = len(error)
    _, place = uncertainty.unique(return_inverse=True)
    size = place.bincount()
    tied = error.new_zeros(len(size)).index_add(0, place, error) / size
    shared = tied[place][place.argsort(stable=True)]
    ideal = error.sort().values
    kept = torch.arange(1, rows + 1, dtype=torch.float64, device=error.device)
    remaining, best = shared.cumsum(0) / kept, ideal.cumsum(0) / kept
    mean = float(error.mean())
    worth = float((mean - best).sum())
    gain = float((mean - remaining).sum()) / worth if worth > 0 else 0.0
    # The gain is a linear rank statistic: the sum of a_r e_(r) with a_r = sum_{k >= r} 1 / k, less its mean, 1.
    score = (1 / kept).flip(0).cumsum(0).flip(0)
    chance = float((((score - 1).square().sum() / max(rows - 1, 1)) * (error - mean).square().sum()).sqrt())
    index = (torch.linspace(1, 0, points + 1, dtype=torch.float64, device=error.device)[:-1] * rows).ceil().long() - 1
    index = index.clamp(min=0).unique().flip(0)
    return Sparsification(
        1 - (index + 1) / rows, remaining[index], best[index], mean, gain, chance / worth if worth > 0 else 0.0
    )


@dataclass(frozen=True)
class SpreadSkill:
    """The error that was made against the spread that was predicted, by bins of the spread.

    Attributes:
        spread: root mean square of the predicted standard deviations in each bin, shape (B,).
        error: root mean square of mean - y, shape (B,).
        standard_error: of `error`.
        count: rows of each bin.
    """

    spread: Tensor
    error: Tensor
    standard_error: Tensor
    count: Tensor


@torch.no_grad()
def spread_skill(error: Tensor, stddev: Tensor, bins: int = 10) -> SpreadSkill:
    """Root mean squared error against predicted standard deviation, in bins of equal numbers of rows.

    Errors are as large as predicted where the two agree in every bin. Source: Fortin et al. 2014, and earlier.

    Args:
        error: mean - y, shape (N,).
        stddev: predicted, shape (N,).
        bins: how many; rows of equal stddev stay together.

    >>> result = spread_skill(torch.tensor([1.0, -1.0, 2.0, -2.0]), torch.tensor([1.0, 1.0, 2.0, 2.0]), bins=2)
    >>> result.error.tolist(), result.spread.tolist()
    ([1.0, 2.0], [1.0, 2.0])
    """
    error, stddev = error.double(), stddev.double().contiguous()
    edges = stddev.quantile(torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=error.device)[1:-1])
    _, index = torch.bucketize(stddev, edges.unique()).unique(return_inverse=True)
    count = index.bincount().double()

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros(len(count)).index_add(0, index, values) / count

    square = mean(error.square())
    variance = (mean(error.pow(4)) - square.square()).clamp(min=0) / (count - 1).clamp(min=1)
    skill = square.sqrt()
    return SpreadSkill(
        mean(stddev.square()).sqrt(), skill, torch.where(skill > 0, variance.sqrt() / (2 * skill), 0.0), count
    )


@dataclass(frozen=True)
class Sharpness:
    """How wide the predicted intervals are, and how wide one interval for all rows has to be.

    Attributes:
        width: of each row's central interval, rising, shape (N,), in the units of y.
        marginal: width of the interval between the same quantiles of the outcomes themselves; of directions the shortest
            arc that holds as many of them.
        level: probability of the intervals.
    """

    width: Tensor
    marginal: float
    level: float

    @property
    def relative(self) -> float:
        """Mean width as a share of the marginal one."""
        return float(self.width.mean()) / self.marginal if self.marginal > 0 else torch.nan


@torch.no_grad()
def sharpness(dist: Distribution, y: Tensor, level: float = 0.9) -> Sharpness:
    """Widths of the central intervals against the spread of all outcomes; small is good if coverage is right.

    Source: Gneiting, Balabdaoui and Raftery 2007.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.tensor([0.0, 10.0]), scale=torch.tensor([1.0, 2.0]))
    >>> sharpness(dist, torch.tensor([0.0, 10.0]), level=0.5).width
    tensor([1.3490, 2.6980], dtype=torch.float64)
    """
    lower, upper = dist.interval(level)
    width = (upper - lower).double()
    y = y.double()
    if getattr(dist.support, "is_circular", False):
        width = width % (2 * torch.pi)
        around = torch.cat([y.sort().values, y.sort().values + 2 * torch.pi])
        inside = math.ceil(level * len(y) - 1e-9)
        marginal = float((around[inside - 1 : inside - 1 + len(y)] - around[: len(y)]).min())
    else:
        ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=y.device)
        marginal = float(y.quantile(ends).diff())
    return Sharpness(width.sort().values, marginal, level)
