"""The statistics of the training rows that a model starts from: their moments, and a sample."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from disthead.data.columns import Encoded
from disthead.weights import present

__all__ = ["Moments", "Part", "Summary"]


class Part(NamedTuple):
    """The `rows` of a table that training, validation, test or prediction uses."""

    table: Encoded
    rows: Tensor | slice

    @property
    def features(self) -> Tensor:
        """The features of the rows, (N, P)."""
        return self.table.features[self.rows]

    @property
    def y(self) -> Tensor:
        """The targets of the rows, (N, ...)."""
        assert self.table.y is not None
        return self.table.y[self.rows]

    @property
    def weight(self) -> Tensor | None:
        """The weights of the rows, (N,), or None."""
        return None if self.table.weight is None else self.table.weight[self.rows]

    @property
    def known(self) -> dict[str, Tensor]:
        """The quantities per row by name, such as exposure, each (N,)."""
        return {name: values[self.rows] for name, values in self.table.known.items()}


class Moments:
    """Mean, standard deviation and largest absolute value over rows, (N, ...), that come in chunks.

    For n rows of mean m and sum of squared deviations s, and n', m', s' of a chunk, all rows have

        m + (m' - m) n' / (n + n'),    s + s' + (m' - m)^2 n n' / (n + n'),

    which keeps its digits where the mean is large (Chan, Golub and LeVeque 1983, Algorithms for
    computing the sample variance). With weights, n is their sum. Moments have the shape of a row
    and are in double precision.

    >>> moments = Moments().add(torch.tensor([1.0, 2.0])).add(torch.tensor([6.0]))
    >>> moments.mean, moments.spread
    (tensor(3., dtype=torch.float64), tensor(2.1602, dtype=torch.float64))
    """

    def __init__(self) -> None:
        self.rows: float | Tensor = 0
        self.mean = self._squares = torch.zeros((), dtype=torch.float64)
        self._low, self._high = self.mean + torch.inf, self.mean - torch.inf

    def add(self, values: Tensor, weight: Tensor | None = None) -> Self:
        """Add a chunk of rows, (N, ...), and return the moments.

        Args:
            values: the rows.
            weight: of the rows, (N,), zero or more; rows of weight 0 are left out.
        """
        weight, values = present(weight, values)
        values = values.double()
        if not len(values):
            return self
        rows: float | Tensor = len(values)
        if weight is None:
            mean, squares = values.mean(0), values.var(0, correction=0) * rows
        else:
            weight = weight.double().reshape(-1, *(1,) * (values.ndim - 1))
            rows = weight.sum()
            mean = (weight * values).sum(0) / rows
            squares = (weight * (values - mean).square()).sum(0)
        step, total = mean - self.mean, self.rows + rows
        squares = squares + step.square() * (self.rows * rows / total)
        self.mean, self._squares, self.rows = (
            self.mean + step * (rows / total),
            self._squares + squares,
            total,
        )
        self._low = torch.minimum(self._low, values.amin(0))
        self._high = torch.maximum(self._high, values.amax(0))
        return self

    @property
    def spread(self) -> Tensor:
        """The standard deviation; exactly zero where all values are the same."""
        return torch.where(self._low < self._high, (self._squares / self.rows).sqrt(), 0.0)

    @property
    def level(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self._low.abs(), self._high.abs())


class Summary(NamedTuple):
    """The statistics of training rows.

    Attributes:
        features: moments of the features; None where these are not a table (N, P).
        y: moments of the targets.
        sample: all rows, or a random sample of them.
    """

    features: Moments | None
    y: Moments
    sample: Part

    @classmethod
    def of(cls, part: Part) -> Self:
        """The summary of rows in memory."""
        return cls(
            Moments().add(part.features, part.weight), Moments().add(part.y, part.weight), part
        )
