"""Observed and expected frequencies of counts, of directions and of classes."""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.diagnostics.directions import arc_probability
from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution

__all__ = [
    "Confusion",
    "EventFrequency",
    "Rootogram",
    "Rose",
    "confusion",
    "event_frequency",
    "rootogram",
    "rose",
]


@dataclass(frozen=True)
class Rootogram:
    """Observed and expected frequencies of counts.

    Attributes:
        first: the least count of each bar, shape (B,).
        last: the greatest count of each bar, shape (B,).
        observed: the number, or the total weight, of rows with such counts, shape (B,).
        expected: that number as the distributions expect it, shape (B,).
        standard_error: of the difference of the square roots, if the distributions are true, shape
            (B,).
    """

    first: Tensor
    last: Tensor
    observed: Tensor
    expected: Tensor
    standard_error: Tensor


@torch.no_grad()
def rootogram(
    dist: Distribution, y: Tensor, bars: int = 40, weight: Tensor | None = None
) -> Rootogram:
    """Observed and expected frequencies of counts, for a hanging rootogram.

    The expected frequency of k is sum_i P(Y_i = k). On the square-root scale all bars vary by
    chance by about the same amount. Source: Kleiber and Zeileis 2016.

    Args:
        dist: distributions of a count, batch_shape (N,).
        y: counts, shape (N,).
        bars: the greatest number of bars. The range of the counts decides how many neighbouring
            counts share one.
        weight: of each row, shape (N,), by default 1.

    Raises:
        NotImplementedError: for distributions without a cdf.

    >>> from disthead import get_family
    >>> dist = get_family("poisson").distribution(rate=torch.full((4,), 1.0))
    >>> rootogram(dist, torch.tensor([0.0, 1.0, 1.0, 2.0])).observed.tolist()
    [1.0, 2.0, 1.0]
    """
    y, step = y.double(), _step(dist)
    place = ((y - y.min()) / step).round()  # among the counts from the least one on
    most = int(place.max())
    width = -(-(most + 1) // bars)
    first = y.min() + step * torch.arange(0, most + 1, width, dtype=y.dtype, device=y.device)
    last = first + step * (width - 1)
    w = torch.ones_like(y) if weight is None else weight.to(y)
    observed = y.new_zeros(len(first)).index_add(0, (place // width).long(), w)
    column = (-1,) + (1,) * len(dist.batch_shape)
    mass = (
        dist.cdf((last + 0.5 * step).reshape(column)).double()
        - dist.cdf((first - 0.5 * step).reshape(column)).double()
    ).clamp(0, 1)
    expected = (w * mass).sum(1)
    # var(sqrt(n)) is near var(n) / (4 E n); at small expectations the deviation of sqrt(n) is at
    # most half the root of the largest weight
    error = 0.5 * ((w.square() * mass * (1 - mass)).sum(1) / expected.clamp(min=1e-300)).sqrt()
    return Rootogram(first, last, observed, expected, error.clamp(max=0.5 * float(w.max()) ** 0.5))


def _step(dist: Distribution) -> float:
    """The distance of neighbouring counts: 1, or the unit in which they are recorded."""
    return float(dist.scale.min()) if isinstance(dist, Affine) else 1.0


@dataclass(frozen=True)
class Rose:
    """Observed and expected frequencies of directions by sector.

    Attributes:
        edges: of the sectors in radians, from -pi to pi, shape (S + 1,).
        observed: the number, or the total weight, of rows in each sector, shape (S,).
        expected: that number as the distributions expect it, shape (S,).
        standard_error: of the observed numbers, if the distributions are true, shape (S,).
    """

    edges: Tensor
    observed: Tensor
    expected: Tensor
    standard_error: Tensor


@torch.no_grad()
def rose(dist: Distribution, y: Tensor, sectors: int = 16, weight: Tensor | None = None) -> Rose:
    """Observed and expected frequencies of directions by sector.

    Args:
        dist: distributions of directions, batch_shape (N,).
        y: directions in radians from -pi to pi, shape (N,).
        sectors: the number of sectors of equal size.
        weight: of each row, shape (N,), by default 1.

    >>> from disthead import get_family
    >>> dist = get_family("von_mises").distribution(loc=torch.zeros(8), concentration=1.0)
    >>> result = rose(dist, torch.linspace(-3.0, 3.0, 8), sectors=4)
    >>> result.observed.tolist(), round(float(result.expected.sum()), 6)
    ([2.0, 2.0, 2.0, 2.0], 8.0)
    """
    edges = torch.linspace(-math.pi, math.pi, sectors + 1, dtype=torch.float64, device=y.device)
    index = ((y.double() + math.pi) / (2 * math.pi) * sectors).long().clamp(0, sectors - 1)
    w = torch.ones_like(edges[0]).expand(len(y)) if weight is None else weight.to(edges)
    observed = edges.new_zeros(sectors).index_add(0, index, w)
    ends = torch.cat([edges[:-1], edges[:1]]).unsqueeze(-1).expand(-1, len(y))
    mass = torch.stack([arc_probability(dist, a, b) for a, b in itertools.pairwise(ends)])
    error = (w.square() * mass * (1 - mass)).sum(1).clamp(min=0).sqrt()
    return Rose(edges, observed, (w * mass).sum(1), error)


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes:
        count: the number, or the total weight, of rows by true class and predicted class, shape
            (K, K).
        expected: that number as the probabilities expect it, shape (K, K).
    """

    count: Tensor
    expected: Tensor

    @property
    def accuracy(self) -> float:
        """The share of the rows whose predicted class is true."""
        return float(self.count.diagonal().sum() / self.count.sum())


@torch.no_grad()
def confusion(probs: Tensor, y: Tensor, weight: Tensor | None = None) -> Confusion:
    """The confusion matrix of the most probable classes, observed and expected.

    Args:
        probs: class probabilities, shape (N, K).
        y: class indices, shape (N,).
        weight: of each row, shape (N,), by default 1.

    >>> confusion(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 1])).count.tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    classes = probs.shape[-1]
    predicted = probs.argmax(-1)
    w = (
        torch.ones(len(y), dtype=torch.float64, device=probs.device)
        if weight is None
        else weight.double()
    )
    count = (
        w.new_zeros(classes**2)
        .index_add(0, y.long() * classes + predicted, w)
        .reshape(classes, classes)
    )
    expected = (
        w.new_zeros(classes, classes).index_add(0, predicted, w.unsqueeze(-1) * probs.double()).mT
    )
    return Confusion(count, expected)


@dataclass(frozen=True)
class EventFrequency:
    """The observed and the predicted frequency of an event in a group of rows.

    Attributes:
        label: the name of the group.
        event: the name of the event.
        predicted: the mean probability.
        observed: the share of the rows with the event.
        variance: of `observed`, if the probabilities are true.
        largest: the largest change of `observed` by one row.
        count: the equivalent number of independent rows of equal weight.
    """

    label: str
    event: str
    predicted: float
    observed: float
    variance: float
    largest: float
    count: float


@torch.no_grad()
def event_frequency(
    label: str,
    event: str,
    probs: Tensor,
    happened: Tensor,
    weight: Tensor | None = None,
    design_effect: float = 1.0,
) -> EventFrequency:
    """The observed and the predicted frequency of an event.

    Args:
        label: the name of the group of rows.
        event: the name of the event.
        probs: predicted probabilities, shape (N,).
        happened: 0 or 1, shape (N,).
        weight: of each row, shape (N,), by default 1.
        design_effect: the factor by which clusters of rows enlarge the variance of means.

    >>> result = event_frequency("all", "rain", torch.full((2,), 0.5), torch.ones(2))
    >>> result.predicted, result.observed, result.variance
    (0.5, 1.0, 0.125)
    """
    probs, happened = probs.double(), happened.double()
    w = torch.ones_like(probs) if weight is None else weight.to(probs)
    w = w / w.sum()
    variance = float((w.square() * probs * (1 - probs)).sum()) * design_effect
    # the largest change by one row: its weight times the larger distance of 0 or 1 from its
    # probability
    largest = float((w * torch.maximum(probs, 1 - probs)).max()) * design_effect
    count = float(1 / w.square().sum()) / design_effect
    return EventFrequency(
        label,
        event,
        float((w * probs).sum()),
        float((w * happened).sum()),
        variance,
        largest,
        count,
    )
