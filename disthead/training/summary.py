"""What a model has to know of its training rows before it starts: their moments, and rows for the marginal fit."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from disthead.training.columns import Encoded

__all__ = ["Moments", "Part", "Summary"]


class Part(NamedTuple):
    """The `rows` of a table that training, validation, test or prediction uses."""

    table: Encoded
    rows: Tensor

    @property
    def features(self) -> Tensor:
        return self.table.features[self.rows]

    @property
    def y(self) -> Tensor:
        assert self.table.y is not None
        return self.table.y[self.rows]

    @property
    def known(self) -> dict[str, Tensor]:
        return {name: values[self.rows] for name, values in self.table.known.items()}


class Moments:
    """Mean, `spread` (standard deviation) and `level` (largest absolute value) over rows (N, ...) that come in pieces.

    With n rows of mean m and sum of squared deviations s, and n', m', s' of a piece, the sum is that of Chan, Golub and
    LeVeque 1983, which loses no digits where the mean is large:

        m + (m' - m) n' / (n + n'),    s + s' + (m' - m)^2 n n' / (n + n')

    >>> moments = Moments().add(torch.tensor([1.0, 2.0])).add(torch.tensor([6.0]))
    >>> moments.mean, moments.spread
    (tensor(3., dtype=torch.float64), tensor(2.1602, dtype=torch.float64))
    """

    def __init__(self) -> None:
        self.rows = 0
        self.mean = self._squares = torch.zeros((), dtype=torch.float64)
        self._low, self._high = self.mean + torch.inf, self.mean - torch.inf

    def add(self, values: Tensor) -> Self:
        values, rows = values.double(), len(values)
        if not rows:
            return self
        step, total = values.mean(0) - self.mean, self.rows + rows
        squares = values.var(0, correction=0) * rows + step.square() * (self.rows * rows / total)
        self.mean, self._squares, self.rows = self.mean + step * (rows / total), self._squares + squares, total
        self._low = torch.minimum(self._low, values.amin(0))
        self._high = torch.maximum(self._high, values.amax(0))
        return self

    @property
    def spread(self) -> Tensor:
        """The standard deviation; exactly zero where all values are the same."""
        return torch.where(self._low < self._high, (self._squares / self.rows).sqrt(), 0.0)

    @property
    def level(self) -> Tensor:
        return torch.maximum(self._low.abs(), self._high.abs())


class Summary(NamedTuple):
    """Moments of the encoded features and of the targets, and a part of the rows that stands for them, or all of them."""

    features: Moments
    y: Moments
    sample: Part

    @classmethod
    def of(cls, part: Part) -> Self:
        weight = part.table.weight
        present = part if weight is None else Part(part.table, part.rows[weight[part.rows] > 0])
        return cls(Moments().add(present.features), Moments().add(present.y), present)
