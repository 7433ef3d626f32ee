"""`Circular`: what distributions of a direction with one mean direction have in common."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.continuous import Continuous
from disthead.distributions.interval import Arc, Interval
from disthead.errors import TargetError, locate
from disthead.special.eager import are_plain_numbers
from disthead.special.numeric import mend

__all__ = ["Circular", "Directions", "check_directions", "wrapped"]

# pi in single precision is slightly larger than pi
_PI_ROUNDED = float(torch.tensor(math.pi, dtype=torch.float32))


class Directions(constraints.Constraint):
    """Angles in radians from -pi to pi, both ends included."""

    is_discrete = False
    event_dim = 0
    lower_bound, upper_bound = -math.pi, math.pi

    def check(self, value: Tensor) -> Tensor:
        return abs(value) <= _PI_ROUNDED


class Circular(Continuous):
    """A distribution of directions that is symmetric about its mean direction `loc`, in radians.

    The cdf starts opposite the mean direction, at loc - pi, so that the median is the mean
    direction; quantiles are wrapped to (-pi, pi]. `mean` is the mean direction, `variance` the
    circular variance 1 - R with the mean resultant length R, and `stddev` the circular standard
    deviation sqrt(-2 log R), in radians, which is not the square root of the variance.
    Source: Mardia and Jupp 2000.
    """

    kind = "direction"
    support = Directions()
    loc: Tensor

    def _angle(self, y: Tensor) -> Tensor:
        """The angle from the mean direction, in [-pi, pi]."""
        if not are_plain_numbers(y, self.loc):
            return self._angle_of(y, self.loc)
        angle = y - self.loc
        return mend(
            angle, (y.abs() > math.pi) | (angle.abs() > math.pi), self._angle_of, y, self.loc
        )

    @staticmethod
    def _angle_of(y: Tensor, loc: Tensor) -> Tensor:
        y = torch.where(y.abs() <= _PI_ROUNDED, y.clamp(-math.pi, math.pi), y)
        angle = y - loc
        return torch.where(angle.abs() <= math.pi, angle, wrapped(angle)).clamp(-math.pi, math.pi)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        """The start and the end of the cdf, half a turn on either side of the mean direction."""
        return self.loc - math.pi, self.loc + math.pi

    def icdf(self, q: Tensor) -> Tensor:
        return self._inside(super().icdf(q))

    def interval(self, level: float) -> Interval | Arc:
        """The arc around the mean direction with the probability `level`, as ends in (-pi, pi].

        It goes anticlockwise from the first end to the second, which is the smaller number where
        the arc crosses pi; `contains(y)` says which directions it holds.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        lower, upper = super().interval(level)
        return Arc(self._inside(lower), self._inside(upper))

    def highest_density(self, level: float) -> Interval | Arc:
        return self.interval(level)  # symmetric about its peak

    def _inside(self, y: Tensor) -> Tensor:
        outside = (y > _PI_ROUNDED) | (y <= -math.pi)
        return torch.where(outside, wrapped(y.double()).to(y.dtype), y)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self._inside(super().rsample(sample_shape, generator))

    def widened(self, scale: Tensor) -> "Circular":
        """The distribution whose standard deviation is `scale` times as large, or nearly so.

        Args:
            scale: positive, shape (...,).
        """
        raise self._unanswered("widened", "nobody has said which parameter is its width.")

    @property
    def mean(self) -> Tensor:
        """The mean direction."""
        return self.loc

    mode = median = mean

    def affine(self, loc: Tensor, scale: Tensor) -> Continuous:
        raise self._unanswered(
            "affine",
            "a direction has neither an origin nor a unit to change, do not standardise it",
        )


def wrapped(angle: Tensor) -> Tensor:
    """The same direction in (-pi, pi].

    Args:
        angle: radians, shape (...).
    """
    return angle - 2 * math.pi * torch.ceil(angle / (2 * math.pi) - 0.5)


def check_directions(y: Tensor, column: str) -> None:
    """Check that targets are directions in radians.

    Args:
        y: targets, shape (N, ...).
        column: what errors call them.

    Raises:
        TargetError: for angles beyond pi, naming rows.
    """
    outside = y.isfinite() & ~Circular.support.check(y)
    if outside.any():
        raise TargetError(
            f"{column} must be a direction in radians, from -pi to pi, got "
            f"{locate(outside, y)}. Turn degrees into radians (for a table: --data.unit "
            "degrees), and wrap with torch.atan2(y.sin(), y.cos())."
        )
