"""Observed against expected frequencies: of counts, of directions and of classes."""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.diagnostics.directions import arc_probability
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
    """How often each count occurred, and how often the distributions expected it.

    Attributes:
        first, last: the integers of each bar, both included, shape (B,).
        observed, expected: rows with such counts, shape (B,).
        standard_error: of the difference of the square roots, if the distributions are true.
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
    """Observed and expected frequencies of counts, for a hanging rootogram; large counts share a bar.

    The expected frequency of k is sum_i P(Y_i = k). On the square-root scale every bar strays
    equally far by chance. Source: Kleiber and Zeileis 2016.

    Args:
        dist: of a count, batch_shape (N,).
        y: counts, shape (N,).
        bars: at most so many; the largest count decides how many integers each holds.
        weight: of each row, shape (N,), 1 unless given.

    >>> from disthead import get_family
    >>> dist = get_family("poisson").distribution(rate=torch.full((4,), 1.0))
    >>> rootogram(dist, torch.tensor([0.0, 1.0, 1.0, 2.0])).observed.tolist()
    [1.0, 2.0, 1.0]
    """
    y = y.double()
    least, most = int(y.min()), int(y.max())
    width = -(-(most - least + 1) // bars)
    first = torch.arange(least, most + 1, width, dtype=torch.float64, device=y.device)
    last = first + width - 1
    w = torch.ones_like(y) if weight is None else weight.to(y)
    observed = y.new_zeros(len(first)).index_add(0, ((y - least) // width).long(), w)
    column = (-1,) + (1,) * len(dist.batch_shape)
    mass = (
        dist.cdf(last.reshape(column)).double() - dist.cdf((first - 1).reshape(column)).double()
    ).clamp(0, 1)
    expected = (w * mass).sum(1)
    # var(sqrt(n)) is near var(n) / (4 E n); at small expectations sqrt(n) strays no further than
    # half the root of a row.
    error = 0.5 * ((w.square() * mass * (1 - mass)).sum(1) / expected.clamp(min=1e-300)).sqrt()
    return Rootogram(first, last, observed, expected, error.clamp(max=0.5 * float(w.max()) ** 0.5))


@dataclass(frozen=True)
class Rose:
    """How often each sector of the circle was hit, and how often the distributions expected it.

    Attributes:
        edges: of the sectors in radians, from -pi to pi, shape (S + 1,).
        observed, expected: rows in each sector, shape (S,).
        standard_error: of the observed ones, if the distributions are true.
    """

    edges: Tensor
    observed: Tensor
    expected: Tensor
    standard_error: Tensor


@torch.no_grad()
def rose(dist: Distribution, y: Tensor, sectors: int = 16, weight: Tensor | None = None) -> Rose:
    """Observed and expected frequencies of directions by sector; angles in radians from -pi to pi, weights (N,).

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
    """Which class was predicted where which was true.

    Attributes:
        count: rows by true class and predicted class, shape (K, K).
        expected: rows by true class as the probabilities expect them, by predicted class, shape (K,
            K).
    """

    count: Tensor
    expected: Tensor

    @property
    def accuracy(self) -> float:
        """The share of the rows on the diagonal."""
        return float(self.count.diagonal().sum() / self.count.sum())


@torch.no_grad()
def confusion(probs: Tensor, y: Tensor, weight: Tensor | None = None) -> Confusion:
    """The confusion matrix of the most probable classes, and the one that the probabilities themselves expect.

    Args:
        probs: class probabilities, shape (N, K).
        y: class indices, shape (N,).
        weight: of each row, shape (N,), 1 unless given.

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
    """How often an event happened in some of the rows, and how often it was predicted there.

    Attributes:
        label: of the rows.
        event: what happened.
        predicted: mean probability.
        observed: share of the rows.
        variance: of `observed`, if the probabilities are true.
        largest: how far one row can be from its probability, in units of `observed`.
        count: of independent rows of equal weight.
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
    """The frequency of an event, 0 or 1 (N,), beside its probabilities (N,); weights (N,), and the design effect of clusters.

    >>> found = event_frequency("all", "rain", torch.tensor([0.5, 0.5]), torch.tensor([1.0, 1.0]))
    >>> found.predicted, found.observed, found.variance
    (0.5, 1.0, 0.125)
    """
    probs, happened = probs.double(), happened.double()
    w = torch.ones_like(probs) if weight is None else weight.to(probs)
    w = w / w.sum()
    variance = float((w.square() * probs * (1 - probs)).sum()) * design_effect
    # What one row may add, from the probability of what it lacks.
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
