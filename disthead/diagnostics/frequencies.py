"""Observed against expected frequencies: of counts, of directions and of classes."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.families.distribution import Distribution

__all__ = ["Confusion", "Rootogram", "Rose", "confusion", "rootogram", "rose"]


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
def rootogram(dist: Distribution, y: Tensor, bars: int = 40) -> Rootogram:
    """Observed and expected frequencies of counts, for a hanging rootogram; large counts share a bar.

    The expected frequency of k is sum_i P(Y_i = k). On the square-root scale every bar strays equally far by chance.
    Source: Kleiber and Zeileis 2016.

    Args:
        dist: of a count, batch_shape (N,).
        y: counts, shape (N,).
        bars: at most so many; the largest count decides how many integers each holds.

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
    observed = torch.bincount(((y - least) // width).long(), minlength=len(first)).double()
    column = (-1,) + (1,) * len(dist.batch_shape)
    mass = (dist.cdf(last.reshape(column)).double() - dist.cdf((first - 1).reshape(column)).double()).clamp(0, 1)
    expected = mass.sum(1)
    # var(sqrt(n)) is near var(n) / (4 E n); at small expectations sqrt(n) strays no further than 1/2.
    error = 0.5 * ((mass * (1 - mass)).sum(1) / expected.clamp(min=1e-300)).sqrt()
    return Rootogram(first, last, observed, expected, error.clamp(max=0.5))


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
def rose(dist: Distribution, y: Tensor, sectors: int = 16) -> Rose:
    """Observed and expected frequencies of directions by sector; angles in radians from -pi to pi.

    >>> from disthead import get_family
    >>> dist = get_family("von_mises").distribution(loc=torch.zeros(8), concentration=1.0)
    >>> result = rose(dist, torch.linspace(-3.0, 3.0, 8), sectors=4)
    >>> result.observed.tolist(), round(float(result.expected.sum()), 6)
    ([2.0, 2.0, 2.0, 2.0], 8.0)
    """
    edges = torch.linspace(-math.pi, math.pi, sectors + 1, dtype=torch.float64, device=y.device)
    index = ((y.double() + math.pi) / (2 * math.pi) * sectors).long().clamp(0, sectors - 1)
    observed = torch.bincount(index, minlength=sectors).double()
    inside = edges.unsqueeze(-1).clone()
    inside[0], inside[-1] = math.pi, math.pi  # one direction, and one number of its cdf
    # A cdf starts opposite the mean direction, so that one sector's ends lie on both sides of its start.
    mass = dist.cdf(inside).double().diff(dim=0) % 1.0
    return Rose(edges, observed, mass.sum(1), (mass * (1 - mass)).sum(1).sqrt())


@dataclass(frozen=True)
class Confusion:
    """Which class was predicted where which was true.

    Attributes:
        count: rows by true class and predicted class, shape (K, K).
        expected: rows by true class as the probabilities expect them, by predicted class, shape (K, K).
    """

    count: Tensor
    expected: Tensor

    @property
    def accuracy(self) -> float:
        """The share of the rows on the diagonal."""
        return float(self.count.diagonal().sum() / self.count.sum())


@torch.no_grad()
def confusion(probs: Tensor, y: Tensor) -> Confusion:
    """The confusion matrix of the most probable classes, and the one that the probabilities themselves expect.

    Args:
        probs: class probabilities, shape (N, K).
        y: class indices, shape (N,).

    >>> confusion(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 1])).count.tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    classes = probs.shape[-1]
    predicted = probs.argmax(-1)
    count = torch.bincount(y.long() * classes + predicted, minlength=classes**2).double().reshape(classes, classes)
    expected = probs.new_zeros(classes, classes, dtype=torch.float64).index_add(0, predicted, probs.double()).mT
    return Confusion(count, expected)
