"""`Skewed`: symmetric distributions of which one side is suppressed, skew-normal and skew-t."""

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Size, Tensor

from disthead.distributions.location_scale import LocationScale
from disthead.distributions.univariate import sample_std
from disthead.special import bracketed_newton
from disthead.special.eager import are_plain_numbers

__all__ = ["Skewed", "moment_estimate", "skew_normal_sample"]

_ROOT_TWO_OVER_PI = math.sqrt(2 / math.pi)
_MOST_STEPS = 60
_SHORT_STEP = 1e-8


class Skewed(LocationScale):
    """The distribution of X given U < slant V, for two variables U and V of which X is made.

    The distribution of |X| is the same for every slant. Subclasses store `slant` and
    define both tails of the standard distribution, samples of it, and quantiles of X for slant 0.
    """

    slant: Tensor

    @abstractmethod
    def _tails(self, z: Tensor) -> tuple[Tensor, ...]:
        """Log P(Z <= z) and log P(Z > z)."""

    @abstractmethod
    def _symmetric_quantile(self, below: Tensor, above: Tensor) -> Tensor:
        """The quantile with these tails, for slant 0."""

    @abstractmethod
    def _standard_sample(self, shape: Size, generator: torch.Generator | None) -> Tensor:
        """Samples of Z, without gradients."""

    def _log_lower(self, z: Tensor) -> Tensor:
        return self._tail(0, z, -z)

    def _log_upper(self, z: Tensor) -> Tensor:
        return self._tail(1, z, z)

    def _tail(self, side: int, z: Tensor, distance: Tensor) -> Tensor:
        """One of the tails, also at infinity, where nothing or everything is left of it."""
        beyond = z.isinf()
        tail = self._tails(torch.where(beyond, 0.0, z))[side]
        return torch.where(beyond, -torch.relu(distance), tail)

    def _of_unit(self) -> "Skewed":
        """The distribution of Z."""
        parameters = {name: getattr(self, name) for name in self._names}
        zero = torch.zeros_like(self.loc)
        parameters |= {"loc": zero, "scale": torch.ones_like(zero), "log_scale": zero}
        return type(self)(**parameters)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        below, above, _ = torch.broadcast_tensors(below, above, self.loc)
        standard = self._of_unit()
        with torch.no_grad():
            # Skewed upwards, Z lies between X and |X|.
            upwards = self.slant >= 0
            low, high = torch.where(upwards, below, above), torch.where(upwards, above, below)
            inner = self._symmetric_quantile(low, high)
            outer = self._symmetric_quantile(0.5 + 0.5 * low, 0.5 * high)
            start = torch.where(low < high, inner * torch.rsqrt(1 + self.slant.square()), outer)
            inner, outer, start = (torch.where(upwards, one, -one) for one in (inner, outer, start))
            slack = 1e-12 * (1 + torch.maximum(inner.abs(), outer.abs()))
            lower, upper = torch.minimum(inner, outer) - slack, torch.maximum(inner, outer) + slack
            if are_plain_numbers(below, above) and self._is_plain():
                rows = standard._flat(below.shape)
                parts = (one.flatten() for one in (below, above, lower, upper, start))
                z = _root(rows, *parts).reshape(below.shape)
            else:
                z = bracketed_newton(_residual(standard, below, above), lower, upper, steps=32)
        log_below, log_above = (
            part.log() if part.requires_grad else None for part in (below, above)
        )
        return self.loc + self.scale * standard._with_gradient(z, log_below, log_above)

    @property
    def _delta(self) -> Tensor:
        """The correlation of X with V - U / slant, slant / sqrt(1 + slant^2)."""
        return self.slant / torch.sqrt(1 + self.slant.square())

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients by implicit reparametrisation (Figurnov et al. 2018)."""
        exact = self._in_double()
        with torch.no_grad():
            z = exact._standard_sample(self._extended_shape(sample_shape), generator)
        z = exact._of_unit()._with_gradient(z)
        return (exact.loc + exact.scale * z).to(self.dtype)


def _residual(
    dist: Skewed, below: Tensor, above: Tensor
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The error of the logarithm of the smaller tail at z, which rises in z, and its derivative."""
    left = below <= above
    log_tail = torch.where(left, below, above).log()

    def residual(z: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = dist._tails(z)
        value = torch.where(left, lower - log_tail, log_tail - upper)
        return value, torch.exp(dist._log_density(z) - torch.where(left, lower, upper))

    return residual


def _root(
    dist: Skewed, below: Tensor, above: Tensor, lower: Tensor, upper: Tensor, start: Tensor
) -> Tensor:
    """The root of `_residual` of plain numbers, each until it settles; all have shape (rows,)."""
    root, rows = start.clamp(lower, upper), torch.arange(len(start))
    z = root.clone()
    for _ in range(_MOST_STEPS):
        value, slope = _residual(dist, below, above)(z)
        lower, upper = torch.where(value < 0, z, lower), torch.where(value < 0, upper, z)
        newton = z - value / slope
        inside = (newton > lower) & (newton < upper)
        z, before = torch.where(inside, newton, 0.5 * (lower + upper)), z
        root[rows] = z
        # Newton's method squares the error, bisection halves it
        short = torch.where(inside, _SHORT_STEP, _SHORT_STEP**2) * (1e-3 + z.abs())
        left = ((z - before).abs() > short).nonzero()[:, 0]
        if not len(left):
            break
        rows, z, below, above, lower, upper = (
            one[left] for one in (rows, z, below, above, lower, upper)
        )
        dist = dist[left]
    return root


def skew_normal_sample(slant: Tensor, generator: torch.Generator | None) -> Tensor:
    """Samples of the standard distribution: (slant |U| + V) / sqrt(1 + slant^2), both normal."""
    first, second = (
        torch.randn(slant.shape, generator=generator, dtype=slant.dtype, device=slant.device)
        for _ in range(2)
    )
    return (slant * first.abs() + second) / torch.sqrt(1 + slant.square())


def moment_estimate(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """loc, scale and slant by three moments, with a skewness inside of what is possible.

    Args:
        y: targets, shape (N, ...).
    """
    mean, std = y.mean(0), sample_std(y)
    skewness = ((y - mean) / std).pow(3).mean(0).clamp(-0.9, 0.9)
    # skewness = (4 - pi) / 2 (m / sqrt(1 - m^2))^3 for the mean m = sqrt(2 / pi) delta of Z
    cube = torch.sign(skewness) * (2 * skewness.abs() / (4 - math.pi)) ** (1 / 3)
    standard_mean = cube / torch.sqrt(1 + cube.square())
    delta = standard_mean / _ROOT_TWO_OVER_PI
    scale = std / torch.sqrt(1 - standard_mean.square())
    return mean - scale * standard_mean, scale, delta / torch.sqrt(1 - delta.square())
