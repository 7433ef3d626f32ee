"""Does the predicted spread tell good predictions from bad ones, and how wide is it?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.diagnostics.directions import arc_widths
from disthead.distributions.base import Distribution

__all__ = [
    "Sharpness",
    "Sparsification",
    "SpreadSkill",
    "sharpness",
    "sparsification",
    "spread_skill",
]


@dataclass(frozen=True)
class Sparsification:
    """The mean error of what is left when the most uncertain rows are dropped.

    Attributes:
        dropped: share of the rows, from 0 to below 1, shape (P,).
        error: when those with the largest predicted uncertainty go first, shape (P,).
        oracle: when those with the largest error go first: no order does better.
        random: when any go: the mean error.
        gain: area between random and error over area between random and oracle: 1 is perfect, 0 is
            a random order.
        standard_error: of the gain of a random order: what chance does.
    """

    dropped: Tensor
    error: Tensor
    oracle: Tensor
    random: float
    gain: float
    standard_error: float


@torch.no_grad()
def sparsification(
    error: Tensor, uncertainty: Tensor, points: int = 50, weight: Tensor | None = None
) -> Sparsification:
    """The sparsification curve of errors (N,), zero or more, by a predicted uncertainty (N,), with weights (N,).

    Rows of equal uncertainty share their mean error, so that a constant one drops rows at random.
    Source: Ilg et al. 2018.

    >>> result = sparsification(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3]))
    >>> result.gain
    1.0
    """
    error, uncertainty = error.double(), uncertainty.double()
    w = torch.ones_like(error) if weight is None else weight.to(error)
    w = w / w.mean()
    rows = len(error)
    _, place = uncertainty.unique(return_inverse=True)
    tied, size = error.new_zeros(2, int(place.max()) + 1)
    tied = tied.index_add(0, place, w * error) / size.index_add(0, place, w)
    order, ideal = place.argsort(stable=True), error.argsort(stable=True)
    kept, kept_best = w[order].cumsum(0), w[ideal].cumsum(0)
    remaining = (w[order] * tied[place][order]).cumsum(0) / kept
    best = (w[ideal] * error[ideal]).cumsum(0) / kept_best
    mean = float((w * error).mean())
    worth = float((w[ideal] * (mean - best)).sum())
    gain = float((w[order] * (mean - remaining)).sum()) / worth if worth > 0 else 0.0
    # The gain is a linear rank statistic: the sum of a_r w_(r) e_(r) with a_r = sum_{k >= r} w_k /
    # kept_k, less its mean, 1.
    score = (w[order] / kept).flip(0).cumsum(0).flip(0)
    spread = (w.square() * (error - mean).square()).sum()
    chance = float((((score - 1).square().sum() / max(rows - 1, 1)) * spread).sqrt())
    share = torch.linspace(1, 0, points + 1, dtype=torch.float64, device=error.device)[:-1] * rows
    index = torch.searchsorted(kept, share - 1e-9 * rows).clamp(max=rows - 1).unique().flip(0)
    same = torch.searchsorted(kept_best, kept[index] - 1e-9 * rows).clamp(max=rows - 1)
    standard_error = chance / worth if worth > 0 else 0.0
    return Sparsification(
        1 - kept[index] / rows, remaining[index], best[same], mean, gain, standard_error
    )


@dataclass(frozen=True)
class SpreadSkill:
    """The error that was made against the spread that was predicted, by bins of the spread.

    Attributes:
        spread: root mean square of the predicted standard deviations in each bin, shape (B,).
        error: root mean square of mean - y, shape (B,).
        standard_error: of `error`; of what the forecast expects where its variances were given.
        count: rows of each bin.
    """

    spread: Tensor
    error: Tensor
    standard_error: Tensor
    count: Tensor


@torch.no_grad()
def spread_skill(
    error: Tensor,
    stddev: Tensor,
    bins: int = 10,
    *,
    weight: Tensor | None = None,
    variance: Tensor | None = None,
    order: Tensor | None = None,
) -> SpreadSkill:
    """Root mean squared error against predicted standard deviation, in bins of equal numbers of rows.

    Errors are as large as predicted where the two agree in every bin. Source: Fortin et al. 2014,
    and earlier.

    Args:
        error: mean - y, shape (N,).
        stddev: predicted, shape (N,).
        bins: how many; rows of equal stddev stay together.
        weight: of each row, shape (N,), 1 unless given.
        variance: of the squared error of each row under its forecast, shape (N,), from which
            standard errors come then; else they come from the spread of the squared errors.
        order: by what the bins are made, shape (N,); `stddev` unless given.

    >>> result = spread_skill(torch.tensor([1.0, -1.0, 2.0, -2.0]), torch.tensor([1.0, 1.0, 2.0, 2.0]), bins=2)
    >>> result.error.tolist(), result.spread.tolist()
    ([1.0, 2.0], [1.0, 2.0])
    """
    error, stddev = error.double(), stddev.double()
    order = (stddev if order is None else order.double()).contiguous()
    edges = order.quantile(
        torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=error.device)[1:-1]
    )
    _, index = torch.bucketize(order, edges.unique()).unique(return_inverse=True)
    w = torch.ones_like(error) if weight is None else weight.to(error)
    count = index.bincount().double()

    def total(values: Tensor) -> Tensor:
        return values.new_zeros(len(count)).index_add(0, index, values)

    weights = total(w)
    square = total(w * error.square()) / weights
    if variance is None:
        deviation = (w * (error.square() - square[index])).square()
        noise = total(deviation) * count / (count - 1).clamp(min=1)
    else:
        noise = total(w.square() * variance.double())
    skill, spread = square.sqrt(), (total(w * stddev.square()) / weights).sqrt()
    at = skill if variance is None else spread
    return SpreadSkill(
        spread, skill, torch.where(at > 0, noise.sqrt() / weights / (2 * at), 0.0), count
    )


@dataclass(frozen=True)
class Sharpness:
    """How wide the predicted intervals are, and how wide one interval for all rows has to be.

    Attributes:
        width: of each row's central interval, rising, shape (N,), in the units of y.
        marginal: width of the interval between the same quantiles of the outcomes themselves; of
            directions the shortest arc that holds as many of them.
        level: probability of the intervals.
        weight: of each width, shape (N,); None for equal ones.
    """

    width: Tensor
    marginal: float
    level: float
    weight: Tensor | None = None

    @property
    def mean(self) -> float:
        """The mean width."""
        return float(
            self.width.mean()
            if self.weight is None
            else (self.weight * self.width).sum() / self.weight.sum()
        )

    @property
    def relative(self) -> float:
        """Mean width as a share of the marginal one."""
        return self.mean / self.marginal if self.marginal > 0 else torch.nan


@torch.no_grad()
def sharpness(
    dist: Distribution, y: Tensor, level: float = 0.9, weight: Tensor | None = None
) -> Sharpness:
    """Widths of the central intervals against the spread of all outcomes; small is good if coverage is right.

    Of directions without central intervals (mixtures), the smallest set of directions that holds
    the level. Source: Gneiting, Balabdaoui and Raftery 2007.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.tensor([0.0, 10.0]), scale=torch.tensor([1.0, 2.0]))
    >>> sharpness(dist, torch.tensor([0.0, 10.0]), level=0.5).width
    tensor([1.3490, 2.6980], dtype=torch.float64)
    """
    y = y.double()
    w = torch.ones_like(y) if weight is None else weight.to(y)
    if dist.kind == "direction":
        width, marginal = arc_widths(dist, level), _shortest_arc(y, w, level)
    else:
        lower, upper = dist.interval(level)
        width = (upper - lower).double()
        marginal = (
            _width_of_middle(y, level)
            if weight is None
            else _width_of_middle_by_weight(y, w, level)
        )
    width, order = width.sort()
    return Sharpness(width, marginal, level, None if weight is None else w[order])


def _width_of_middle(y: Tensor, level: float) -> float:
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=y.device)
    return float(y.quantile(ends).diff())


def _width_of_middle_by_weight(y: Tensor, weight: Tensor, level: float) -> float:
    values, order = y.sort()
    reached = weight[order].cumsum(0) / weight.sum()
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=y.device)
    return float(values[torch.searchsorted(reached, ends - 1e-12).clamp(max=len(y) - 1)].diff())


def _shortest_arc(y: Tensor, weight: Tensor, level: float) -> float:
    """Of all arcs that hold `level` of the weight, the length of the shortest."""
    values, order = y.sort()
    around = torch.cat([values, values + 2 * math.pi])
    reached = torch.cat([weight[order]] * 2).cumsum(0)
    before = reached[: len(y)] - weight[order]
    last = torch.searchsorted(reached, before + level * weight.sum() * (1 - 1e-12)).clamp(
        max=len(around) - 1
    )
    return float((around[last] - values).min())
