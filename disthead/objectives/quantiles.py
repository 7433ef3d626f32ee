"""Scores of quantiles and of intervals as objectives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_number
from disthead.distributions.base import Distribution, quantiles
from disthead.distributions.circular import wrapped
from disthead.distributions.independent import each_output
from disthead.distributions.outputs import interval_width, marginals_of, mean_over_outputs
from disthead.losses import as_numbers

__all__ = ["interval", "pinball", "quantile"]


@dataclass(frozen=True)
class quantile:
    """The quantile loss of the distribution's own quantile at one level, for each row.

    It is max(q (y - x), (q - 1) (y - x)) for the quantile x of level q, in the units of y, and the
    mean over outputs if there are several independent ones. It is the likelihood of the family
    asymmetric_laplace with a fixed quantile and scale. At level 1/2 it is half the absolute error.
    Source: Koenker and Bassett 1978.

    Args:
        level: q, between 0 and 1.

    Raises:
        NotImplementedError: when it is called, for counts and classes, whose quantiles are steps
            without a gradient, and for rankings and vectors with a joint density.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`, and for a level that is not between 0 and 1.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> quantile(level=0.5)(dist, torch.tensor([1.0, -3.0]))
    tensor([0.5000, 1.5000])
    """

    level: float = 0.5

    def __post_init__(self) -> None:
        _check_level(self.level, "quantile")

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The loss of each row, shape (...,); `y` has the shape batch_shape + event_shape."""
        y = as_numbers(dist, y, "quantile")
        _check_quantiles(dist, "quantile")
        return mean_over_outputs(dist, pinball_losses(dist, y, (self.level,)))


@dataclass(frozen=True)
class pinball:
    """The mean of the quantile loss over several levels, for each row.

    With more and more levels that fill (0, 1) evenly it becomes half the crps. It is in the units
    of y, and the mean over outputs if there are several independent ones. Of directions, y and the
    quantiles are angles from the median. Source: Koenker and Bassett 1978; of several levels,
    Gneiting and Raftery 2007.

    Args:
        levels: numbers between 0 and 1.

    Raises:
        NotImplementedError: as `quantile`.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`, and for levels that are not between 0 and 1, or none.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> pinball(levels=(0.25, 0.75))(dist, torch.tensor([0.0, 4.0]))
    tensor([0.1686, 1.8314])
    """

    levels: Sequence[float] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        levels: Any = self.levels
        if isinstance(levels, str) or not isinstance(levels, Sequence) or not len(levels):
            raise ValueError(
                "levels of pinball must be numbers between 0 and 1, such as (0.1, 0.5, 0.9), got "
                f"{levels!r}. For one level there is quantile(level=0.9)."
            )
        for level in levels:
            _check_level(level, "pinball")
        object.__setattr__(self, "levels", tuple(levels))

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The loss of each row, shape (...,); `y` has the shape batch_shape + event_shape."""
        y = as_numbers(dist, y, "pinball")
        _check_quantiles(dist, "pinball")
        return mean_over_outputs(dist, pinball_losses(dist, y, self.levels))


@dataclass(frozen=True)
class interval:
    """The interval score of the central interval, for each row.

    It is the width of the interval plus 2 / (1 - level) times the distance of y from it, in the
    units of y, and the mean over outputs if there are several independent ones. It is the quantile
    loss of both ends, times 2 / (1 - level). Of directions, the width is the length of the arc.
    Source: Winkler 1972; Gneiting and Raftery 2007.

    Args:
        level: the probability of the interval, between 0 and 1.

    Raises:
        NotImplementedError: as `quantile`.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`, and for a level that is not between 0 and 1.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> interval(level=0.5)(dist, torch.tensor([0.0, 2.0]))
    tensor([1.3490, 6.6510])
    """

    level: float = 0.9

    def __post_init__(self) -> None:
        _check_level(self.level, "interval")

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The score of each row, shape (...,); `y` has the shape batch_shape + event_shape."""
        y = as_numbers(dist, y, "interval")
        _check_quantiles(dist, "interval")
        return mean_over_outputs(dist, interval_scores(dist, y, self.level))


def pinball_losses(dist: Distribution, y: Tensor, levels: Sequence[float]) -> Tensor:
    """The quantile loss of each output at each level, batch_shape + event_shape + (levels,).

    Of directions, y and the quantiles are angles from the median, in (-pi, pi].

    Args:
        dist: a distribution of numbers; of vectors, each coordinate is scored.
        y: targets, batch_shape + event_shape.
        levels: numbers between 0 and 1.
    """
    outputs, losses = marginals_of(dist), []
    median = outputs.median if outputs.kind == "direction" else None
    y = y if median is None else wrapped(y - median)
    values = quantiles(outputs, torch.tensor(levels, dtype=torch.float64))
    for level, value in zip(levels, values, strict=True):
        # on the side of the median that belongs to the level, also near the point opposite
        if median is not None:
            value = wrapped(value - median).abs() * (1 if level > 0.5 else -1)
        miss = y - value
        losses.append(torch.maximum(level * miss, (level - 1) * miss))
    return torch.stack(losses, -1)


def interval_scores(dist: Distribution, y: Tensor, level: float) -> Tensor:
    """The interval score of each output, batch_shape + event_shape.

    Args:
        dist: a distribution of numbers; of vectors, each coordinate is scored.
        y: targets, batch_shape + event_shape.
        level: the probability of the interval.
    """
    outputs = marginals_of(dist)
    if outputs.kind == "direction":
        width = interval_width(outputs, level)
        outside = (wrapped(y - outputs.median).abs() - width / 2).clamp(min=0)
    else:
        lower, upper = outputs.interval(level)
        width, outside = upper - lower, (lower - y).clamp(min=0) + (y - upper).clamp(min=0)
    return width + 2 / (1 - level) * outside


def _check_level(level: float, objective: str) -> None:
    expected = "a number between 0 and 1, such as 0.9"
    as_number(level, f"level of {objective}", expected, lambda x: 0 < x < 1 and math.isfinite(x))


def _check_quantiles(dist: Distribution, objective: str) -> None:
    """Refuse distributions whose quantiles do not move with the parameters, or that have none."""
    output = each_output(dist)
    support: Any = output.support
    if output.kind == "vector":
        reason = "it scores one number, and a vector has no order; energy scores vectors."
    elif output.kind in ("classes", "ranking"):
        instead = "brier" if output.kind == "classes" else "nll"
        reason = f"indices have no order, and so no quantiles; {instead} scores them."
    elif support.is_discrete:
        reason = "quantiles of counts and classes are steps, which have no gradient; rps has one."
    else:
        return
    raise output._unanswered(objective, reason)
