"""Distributions whose probabilities are mapped by increasing functions of the probit scale.

Here is what needs no integral: density, cdf and quantiles. `recalibrated.py` has the rest.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.calibration.monotone_maps import MonotoneMap, probit
from disthead.distributions.base import Distribution, Wrapper
from disthead.distributions.continuous import Continuous
from disthead.distributions.tails import Indices, are_light
from disthead.distributions.univariate import in_double
from disthead.special import bracketed_inverse, log_ndtr
from disthead.special.plain import ndtr, ndtri

__all__ = ["FARTHEST_PROBIT", "MappedContinuous", "Recalibrated"]

FARTHEST_PROBIT = 37.0  # beyond, the normal cdf nears the smallest number in double precision


class Recalibrated(Wrapper):
    """A distribution of one number whose cdf F was replaced by Phi(h(Phi^-1(F))).

    The base for continuous distributions and for counts. h is the composition of all `maps`. Where
    the density of the base is f, the recalibrated one is f(y) h'(z) phi(h(z)) / phi(z) with z =
    Phi^-1(F(y)), and its quantile is F^-1(Phi(h^-1(Phi^-1(q)))). The support and the shapes stay.
    `parameters` are those of the base.

    Args:
        base: a `Continuous` or `Discrete` distribution.
        maps: increasing maps of the probit scale, applied in this order.
    """

    arg_constraints = {}

    def __init__(self, base: Distribution, maps: Sequence[MonotoneMap]):
        self.base = base
        self.maps = tuple(h.expand(base.batch_shape) for h in maps)
        self._compact = tuple(h.compact() for h in self.maps)
        Distribution.__init__(self, base.batch_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The support of the base."""
        return self.base.support  # type: ignore[return-value]  # torch's may be None

    def support_limits(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of the base, each of shape batch_shape."""
        return self.base.support_limits()

    def _tail_indices(self) -> Indices:
        """Those of the base, times the squared slope of the maps far out.

        A tail Phi(-z) of the base becomes Phi(-h(z)), whose logarithm falls as h(z)^2 / 2.
        """
        indices = self.base._tail_indices()
        if are_light(indices):
            return indices
        far = self._log_slope(self.base._constant(FARTHEST_PROBIT))
        near = self._log_slope(self.base._constant(-FARTHEST_PROBIT))
        lower, upper = (
            index * (2 * slope).exp() for index, slope in zip(indices, (near, far), strict=True)
        )
        return lower, upper

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r})"

    def map(self, function: Callable[[Tensor], Tensor]):
        """The distribution whose parameters and maps are `function` of these tensors."""
        return type(self)(self.base.map(function), [h.map(function) for h in self.maps])

    def expand(self, batch_shape, _instance=None):
        """The same distribution with a batch_shape to which its own broadcasts."""
        return type(self)(
            self.base.expand(batch_shape), [h.expand(Size(batch_shape)) for h in self.maps]
        )

    def _in_double(self):
        base = self.base._in_double()
        return type(self)(base, [h.map(lambda part: part.to(base.dtype)) for h in self.maps])

    def _apply_maps(self, z: Tensor) -> Tensor:
        for h in self._compact:
            z = h(z)
        return z

    def _invert_maps(self, x: Tensor) -> Tensor:
        for h in reversed(self._compact):
            x = h.inverse(x)
        return x

    def _log_slope(self, z: Tensor) -> Tensor:
        total = torch.zeros_like(z)
        for h in self._compact:
            total, z = total + h.log_slope(z), h(z)
        return total

    def _base_probit(self, below: Tensor, above: Tensor) -> Tensor:
        """The probit of the base at which this distribution's cdf is `below` = 1 - `above`."""
        left = below <= above
        x = ndtri(torch.where(left, below, above))
        return self._invert_maps(torch.where(left, x, -x))

    def _peak(
        self,
        log_density: Callable[[Tensor], Tensor],
        lower: Tensor,
        upper: Tensor,
        refinements: int,
    ) -> Tensor:
        """The highest point of the density between the ends, by finer and finer grids."""
        least, most = lower, upper
        best = self.base.mode.to(lower.dtype)
        for points in (65, *(9,) * refinements):
            share = torch.linspace(0, 1, points, dtype=lower.dtype, device=lower.device)
            share = share.reshape((-1,) + (1,) * lower.ndim)
            grid = torch.cat([self._on_lattice(least + share * (most - least)), best.unsqueeze(0)])
            height = log_density(grid).nan_to_num(-torch.inf, torch.inf, -torch.inf)
            best = grid.gather(0, height.argmax(0, keepdim=True)).squeeze(0)
            reach = (most - least) / (points - 1)
            least, most = torch.maximum(best - reach, lower), torch.minimum(best + reach, upper)
        return best

    def _on_lattice(self, y: Tensor) -> Tensor:
        return y


class MappedContinuous(Recalibrated, Continuous):  # type: ignore[override]
    """A continuous distribution with mapped probabilities: its density, cdf and quantiles."""

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        """The log-density log f(y) + log h'(z) + (z^2 - h(z)^2) / 2, with z = Phi^-1(F(y)).

        At an end of the support, where z is infinite, it is that of the number next to it.
        """
        lower, upper = self.support_limits()
        y = torch.where((y == lower) | (y == upper), self._inside(y), y)
        base, z = self.base.log_prob(y), self._z(y)
        inside = z.isfinite()
        z = torch.where(inside, z, 0.0)
        x = self._apply_maps(z)
        return torch.where(inside, base + self._log_slope(z) + 0.5 * (z - x) * (z + x), base)

    def _of_base(self, base: Continuous) -> "Continuous | None":
        """The same maps of other distributions; None where the maps of other rows are not known."""
        dist, maps = base, []
        for h in self.maps:
            of_base = h.of(dist)
            if of_base is None:
                return None
            maps.append(of_base)
            dist = type(self)(base, maps)
        return dist

    def _z(self, y: Tensor) -> Tensor:
        return probit(self.base.log_cdf(y), self.base.log_survival(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        """The log-probability of values up to y, log Phi(h(z))."""
        return log_ndtr(self._apply_maps(self._z(y)))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        """The log-probability of values above y, log Phi(-h(z))."""
        return log_ndtr(-self._apply_maps(self._z(y)))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        z = self._base_probit(below, above)
        near = z.clamp(-FARTHEST_PROBIT, FARTHEST_PROBIT)
        y = self.base._quantile(ndtr(near), ndtr(-near))
        far = z.abs() > FARTHEST_PROBIT
        if not far.any():
            return y
        # There the probability itself would underflow: searched by its logarithm.
        with torch.no_grad():
            target, left = log_ndtr(-z.abs()), z < 0

            def residual(y: Tensor) -> Tensor:
                return torch.where(
                    left, self.base.log_cdf(y) - target, target - self.base.log_survival(y)
                )

            return torch.where(
                far, bracketed_inverse(residual, torch.zeros_like(z), *self.support_limits()), y
            )

    def _quantile_of_probit(self, x: Tensor) -> Tensor:
        """The y with P(Y <= y) = Phi(x), for x of shape (..., *batch).

        Probabilities of the base stay about 1e-300 away from 0 and 1.
        """
        z = self._invert_maps(x).clamp(-FARTHEST_PROBIT, FARTHEST_PROBIT)
        z = z.expand(torch.broadcast_shapes(z.shape, self.batch_shape))
        return self.base._inverse(ndtr(z), ndtr(-z))
