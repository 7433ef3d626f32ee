"""How well predicted uncertainty separates good predictions from bad ones, and how large it is."""

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
    """The mean error of the remaining rows when the most uncertain ones are dropped.

    Attributes:
        dropped: the share of dropped rows, from 0 to below 1, shape (P,).
        error: the error when rows with the largest predicted uncertainty are dropped first, shape
            (P,).
        oracle: the error when rows with the largest error are dropped first, which is the best
            order, shape (P,).
        random: the error when any rows are dropped, which is the mean error.
        gain: the area between `random` and `error` divided by that between `random` and `oracle`;
            1 is the best order, 0 a random one.
        standard_error: of the gain of a random order.
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
    """The sparsification curve of errors by a predicted uncertainty.

    Rows of equal uncertainty share their mean error, so that a constant uncertainty drops rows at
    random. Source: Ilg et al. 2018.

    Args:
        error: errors of at least 0, shape (N,).
        uncertainty: in any unit, since only its order matters, shape (N,).
        points: the greatest number of points of the curve.
        weight: of each row, shape (N,), by default 1.

    >>> error, uncertainty = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3])
    >>> sparsification(error, uncertainty).gain
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
    # up to a factor the gain is a linear rank statistic, the sum over r of (1 - a_r) w_r e_r, where
    # a_r = sum_{k >= r} w_k / kept_k has the mean 1
    score = (w[order] / kept).flip(0).cumsum(0).flip(0)
    squares = (w.square() * (error - mean).square()).sum()
    chance = float((((score - 1).square().sum() / max(rows - 1, 1)) * squares).sqrt())
    share = torch.linspace(1, 0, points + 1, dtype=torch.float64, device=error.device)[:-1] * rows
    index = torch.searchsorted(kept, share - 1e-9 * rows).clamp(max=rows - 1).unique().flip(0)
    same = torch.searchsorted(kept_best, kept[index] - 1e-9 * rows).clamp(max=rows - 1)
    standard_error = chance / worth if worth > 0 else 0.0
    return Sparsification(
        1 - kept[index] / rows, remaining[index], best[same], mean, gain, standard_error
    )


@dataclass(frozen=True)
class SpreadSkill:
    """Root mean squared errors and predicted standard deviations by bins of the latter.

    Attributes:
        spread: the root mean square of the predicted standard deviations in each bin, shape (B,).
        error: the root mean squared error in each bin, shape (B,).
        standard_error: of `error`, shape (B,); under the forecast if its variances were given.
        count: the number of rows in each bin, shape (B,).
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
    """Root mean squared errors and predicted standard deviations in bins of equally many rows.

    Errors are as large as predicted if the two agree in every bin. Source: Fortin et al. 2014.

    Args:
        error: mean - y, shape (N,).
        stddev: predicted standard deviations in the units of y, shape (N,).
        bins: the greatest number of bins; rows of equal `order` share a bin.
        weight: of each row, shape (N,), by default 1.
        variance: the variance of each row's squared error under its forecast, shape (N,). Standard
            errors are computed from it, by default from the squared errors themselves.
        order: what the bins are made by, shape (N,), by default `stddev`.

    >>> error, std = torch.tensor([1.0, -1.0, 2.0, -2.0]), torch.tensor([1.0, 1.0, 2.0, 2.0])
    >>> result = spread_skill(error, std, bins=2)
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
    root, std = square.sqrt(), (total(w * stddev.square()) / weights).sqrt()
    at = root if variance is None else std
    standard_error = torch.where(at > 0, noise.sqrt() / weights / (2 * at), 0.0)
    return SpreadSkill(std, root, standard_error, count)


@dataclass(frozen=True)
class Sharpness:
    """The widths of the predicted intervals, and the width of one interval for all rows.

    Attributes:
        width: the width of each row's central interval, rising, shape (N,), in the units of y.
        marginal: the width under the unconditional model (no features): of the interval between the
            same quantiles of the outcomes, or of the shortest arc that holds this share of them.
        level: the probability of the intervals.
        weight: of each width, shape (N,); None for equal weights.
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
        """The mean width divided by the marginal one; nan if that is 0."""
        return self.mean / self.marginal if self.marginal > 0 else torch.nan


@torch.no_grad()
def sharpness(
    dist: Distribution, y: Tensor, level: float = 0.9, weight: Tensor | None = None
) -> Sharpness:
    """The widths of the predicted intervals; small widths are good if the coverage is right.

    Of directions without central intervals (mixtures) it is the size of the smallest set with the
    probability `level`. Source: Gneiting, Balabdaoui and Raftery 2007.

    Args:
        dist: distributions of one ordered number or direction, batch_shape (N,).
        y: targets, shape (N,), directions in radians.
        level: the probability of the intervals, between 0 and 1.
        weight: of each row, shape (N,), by default 1.

    Raises:
        NotImplementedError: for distributions without intervals, such as unordered classes.

    >>> from disthead import get_family
    >>> loc, scale = torch.tensor([0.0, 10.0]), torch.tensor([1.0, 2.0])
    >>> dist = get_family("normal").distribution(loc=loc, scale=scale)
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
    """The length of the shortest arc that holds `level` of the weight."""
    values, order = y.sort()
    around = torch.cat([values, values + 2 * math.pi])
    reached = torch.cat([weight[order]] * 2).cumsum(0)
    before = reached[: len(y)] - weight[order]
    last = torch.searchsorted(reached, before + level * weight.sum() * (1 - 1e-12)).clamp(
        max=len(around) - 1
    )
    return float((around[last] - values).min())
