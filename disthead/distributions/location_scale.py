"""`LocationScale`: distributions of loc + scale Z for a standard variable Z; symmetric ones."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import closed_under_affine, with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.standard import Standard
from disthead.distributions.univariate import in_double, ratio
from disthead.special import tanh_sinh

__all__ = ["LocationScale", "Symmetric", "divergence_between_kinks"]

_LARGE = 1e300
_UNITS = ("loc", "scale", "log_scale")


class LocationScale(Continuous):
    """The distribution of Y = loc + scale Z for real y, where Z has a standard distribution.

    Subclasses define the logarithms of the density and of both tails of Z, and the mode. They may
    define `_inverse`. Those whose Z has shape parameters take and store these, too.

    Args:
        loc: shape (...,), in the units of y.
        scale: shape (...,), positive, in the units of y.
        log_scale: log(scale); the scale, its logarithm or both are given.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc, scale=None, *, log_scale=None):
        self._set_parameters(loc=loc, scale=scale, log_scale=log_scale)

    @abstractmethod
    def _log_density(self, z: Tensor) -> Tensor:
        """The logarithm of the density of Z."""

    @abstractmethod
    def _log_lower(self, z: Tensor) -> Tensor:
        """The logarithm of P(Z <= z)."""

    @abstractmethod
    def _log_upper(self, z: Tensor) -> Tensor:
        """The logarithm of P(Z > z)."""

    def _probability(self, z: Tensor) -> Tensor:
        """P(Z <= z)."""
        return self._log_lower(z).exp()

    def _standardised(self, y: Tensor) -> Tensor:
        return ratio(y - self.loc, self.scale, self.log_scale)

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        z, most = self._standardised(y), torch.finfo(y.dtype).max
        beyond = y.isinf()
        density = self._log_density(torch.where(beyond, 0.0, z.clamp(-most, most)))
        return torch.where(beyond, -torch.inf, density) - self.log_scale

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return self._probability(self._standardised(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return self._log_lower(self._standardised(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return self._log_upper(self._standardised(y))

    def _standard(self) -> Standard | None:
        shapes = [name for name in self._names if name not in _UNITS]
        if not shapes:
            zero = torch.zeros_like(self.loc)
            return Standard(
                zero, self.loc, self.scale, lambda shape: type(self)(torch.zeros_like(shape), 1.0)
            )
        if len(shapes) != 2 or shapes[1] != f"log_{shapes[0]}":
            return None
        return Standard(
            getattr(self, shapes[1]),
            self.loc,
            self.scale,
            lambda shape: type(self)(0.0, 1.0, **{shapes[1]: shape}),
        )

    @closed_under_affine
    def affine(self, loc: Tensor, scale: Tensor) -> "LocationScale":
        parameters = {name: getattr(self, name) for name in self._names}
        parameters["loc"] = loc + scale * self.loc
        parameters["scale"] = scale * self.scale
        parameters["log_scale"] = scale.log() + self.log_scale
        return type(self)(**parameters)


class Symmetric(LocationScale):
    """A `LocationScale` that is symmetric about its only peak, loc.

    Subclasses define `_log_density`, `_log_tail` and, where it has a closed form, `_tail_quantile`.
    """

    @abstractmethod
    def _log_tail(self, distance: Tensor) -> Tensor:
        """The logarithm of P(Z > distance), for distance >= 0."""

    @abstractmethod
    def _tail_quantile(self, tail: Tensor) -> Tensor:
        """The distance with P(Z > distance) = tail, for 0 < tail <= 1/2."""

    def _log_lower(self, z: Tensor) -> Tensor:
        left = z < 0
        tail = self._log_tail(torch.where(left, -z, z))  # abs has no slope at 0
        return torch.where(left, tail, torch.log1p(-torch.exp(tail)))

    def _log_upper(self, z: Tensor) -> Tensor:
        return self._log_lower(-z)

    def _probability(self, z: Tensor) -> Tensor:
        left = z < 0
        tail = self._log_tail(torch.where(left, -z, z)).exp()
        return torch.where(left, tail, 1 - tail)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        left = below <= above  # minimum has no slope where both are alike
        distance = self._tail_quantile(torch.where(left, below, above))
        return self.loc + self.scale * torch.where(left, -distance, distance)

    @property
    def median(self) -> Tensor:
        return self.loc

    mode = mean = median

    def highest_density(self, level: float) -> Interval | Arc:
        return self.interval(level)


def divergence_between_kinks(p: Continuous, q: Continuous, kinks: Tensor) -> Tensor:
    """E_p[log p(Y) - log q(Y)] in nats, by quadrature over the quantiles of p between the kinks.

    Args:
        p: a distribution in double precision.
        q: another one.
        kinks: where a log-density is not smooth, shape (K, ...).
    """
    kinks = kinks.sort(0).values
    below, above = p.cdf(kinks), p.log_survival(kinks).exp()
    none, all_of_it = torch.zeros_like(below[:1]), torch.ones_like(below[:1])
    start, start_above = torch.cat([none, below]), torch.cat([all_of_it, above])
    end, end_above = torch.cat([below, all_of_it]), torch.cat([above, none])
    # differences of the smaller probabilities keep their digits
    width = torch.where(start < 0.5, end - start, start_above - end_above).clamp(min=0)
    t, complement, weights = (part.reshape(-1, *(1,) * start.ndim) for part in tanh_sinh(81, start))
    y = p._quantile(
        (start + width * t).clamp(1e-300, 1.0), (end_above + width * complement).clamp(1e-300, 1.0)
    )
    y = y.clamp(-_LARGE, _LARGE)  # quantiles of heavy tails may be infinite
    surprise = p.log_prob(y) - q.log_prob(y)
    return (weights * width * torch.where(width > 0, surprise, 0.0)).sum((0, 1))
