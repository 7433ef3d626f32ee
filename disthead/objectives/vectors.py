"""Scores of the dependence between the coordinates of a vector, as objectives."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_integer, as_number
from disthead.distributions.base import Distribution
from disthead.distributions.independent import each_output
from disthead.distributions.scores import draw
from disthead.losses import as_numbers
from disthead.objectives.scores import generator_of

__all__ = ["variogram"]


@dataclass(frozen=True)
class variogram:
    """The variogram score of a vector, for each row.

    It is the sum over all pairs i, j of coordinates, each pair in both orders, of
    (|y_i - y_j|^power - E|Y_i - Y_j|^power)^2. It sees wrong correlations, to which `energy` is
    nearly blind, but not a shift of all coordinates: it is proper, not strictly so, and is meant to
    be added to a score of each coordinate. The expectation is estimated by samples, through which
    gradients go to the parameters, and the square without bias, so that it may be a little below 0.
    Source: Scheuerer and Hamill 2015.

    Args:
        power: a positive number; 1/2 is less moved by outliers than 1 or 2.
        samples: the number of samples of each row, at least 2.
        seed: of the samples, from 0 on. Equal targets have equal samples.

    Raises:
        NotImplementedError: when it is called, for anything but vectors of two or more real
            numbers whose samples move with the parameters.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`, and for options that are not such numbers.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(1, 2), scale=1e-6).to_event(1)
    >>> variogram(power=1.0, samples=8)(dist, torch.tensor([[1.0, 4.0]]))
    tensor([18.0000])
    """

    power: float = 0.5
    samples: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        expected = "a positive number, such as 0.5"
        as_number(self.power, "power of variogram", expected, lambda x: 0 < x < math.inf)
        as_integer(self.samples, "samples", 2)
        as_integer(self.seed, "seed", 0)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The score of each row, shape (...,); `y` has the shape batch_shape + event_shape."""
        output = each_output(dist)
        if dist.kind != "vector" or dist.event_shape.numel() < 2:
            reason = "it compares the coordinates of a vector; crps scores one number."
        elif output.kind == "direction":
            reason = "directions have no straight differences; crps scores each of them."
        elif not dist.has_rsample:
            reason = "its samples do not move with the parameters; nll has a gradient."
        else:
            reason = ""
        if reason:
            raise output._unanswered("variogram", reason)
        y = as_numbers(dist, y, "variogram")
        batch = len(dist.batch_shape)
        x = draw(dist, self.samples, generator_of(y, self.seed)).flatten(batch + 1)
        y = y.flatten(batch)
        first, second = torch.triu_indices(y.shape[-1], y.shape[-1], 1, device=y.device)
        observed = self._distance(y[..., first] - y[..., second])
        drawn = self._distance(x[..., first] - x[..., second])
        # the square of the mean is too large by its variance
        error = (observed - drawn.mean(0)).square() - drawn.var(0) / self.samples
        return 2 * error.sum(-1)

    def _distance(self, difference: Tensor) -> Tensor:
        """|difference|^power, whose slope at 0 is taken as 0."""
        is_zero = difference == 0
        return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, difference).abs() ** self.power)
