"""Distributions whose probabilities are mapped by increasing functions of the probit scale: what does not need an integral."""

from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.calibration.warp import Warp, probit
from disthead.distributions.base import Distribution, Wrapper
from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double
from disthead.special import bracketed_inverse, log_ndtr
from disthead.special.plain import ndtr, ndtri

__all__ = ["FARTHEST_PROBIT", "MappedContinuous", "Recalibrated"]

FARTHEST_PROBIT = 37.0  # beyond, the normal cdf nears the smallest number in double precision


class Recalibrated(Wrapper):
    """What continuous distributions and counts have in common once their probabilities are mapped.

    Where the density of the base is f, the recalibrated one is f(y) h'(z) phi(h(z)) / phi(z) with z
    = Phi^-1(F(y)), and its quantile is F^-1(Phi(h^-1(Phi^-1(q)))). The support stays. `parameters`
    are those of the base.

    Args:
        base: a `Continuous` or `Discrete` distribution.
        warps: increasing maps of the probit scale, applied in this order.
    """

    arg_constraints = {}

    def __init__(self, base: Distribution, warps: Sequence[Warp]):
        self.base = base
        self.warps = tuple(warp.expand(base.batch_shape) for warp in warps)
        self._compact = tuple(warp.compact() for warp in self.warps)
        Distribution.__init__(self, base.batch_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return self.base.support  # type: ignore[return-value]  # torch's may be None

    def support_limits(self) -> tuple[Tensor, Tensor]:
        return self.base.support_limits()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r})"

    def map(self, function: Callable[[Tensor], Tensor]):
        return type(self)(self.base.map(function), [warp.map(function) for warp in self.warps])

    def expand(self, batch_shape, _instance=None):
        return type(self)(
            self.base.expand(batch_shape), [warp.expand(Size(batch_shape)) for warp in self.warps]
        )

    def _in_double(self):
        base = self.base._in_double()
        return type(self)(base, [warp.map(lambda part: part.to(base.dtype)) for warp in self.warps])

    def _warped(self, z: Tensor) -> Tensor:
        for warp in self._compact:
            z = warp(z)
        return z

    def _unwarped(self, x: Tensor) -> Tensor:
        for warp in reversed(self._compact):
            x = warp.inverse(x)
        return x

    def _log_slope(self, z: Tensor) -> Tensor:
        total = torch.zeros_like(z)
        for warp in self._compact:
            total, z = total + warp.log_slope(z), warp(z)
        return total

    def _base_probit(self, below: Tensor, above: Tensor) -> Tensor:
        """Where on the probit scale of the base the probability `below` = 1 - `above` of this distribution lies."""
        left = below <= above
        x = ndtri(torch.where(left, below, above))
        return self._unwarped(torch.where(left, x, -x))

    def _peak(
        self, log_density: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor, rounds: int
    ) -> Tensor:
        """Where the density is highest between the ends: by a grid, and smaller ones that close in on its best point."""
        least, most = lower, upper
        best = self.base.mode.to(lower.dtype)
        for points in (65, *(9,) * rounds):
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
    """The density, the cdf and the quantiles of a continuous distribution whose probabilities were mapped."""

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        """log f(y) + log h'(z) + (z^2 - h(z)^2) / 2; on an end of the support, where z is infinite, that of the number next to it."""
        lower, upper = self.support_limits()
        y = torch.where((y == lower) | (y == upper), self._inside(y), y)
        base, z = self.base.log_prob(y), self._z(y)
        inside = z.isfinite()
        z = torch.where(inside, z, 0.0)
        x = self._warped(z)
        return torch.where(inside, base + self._log_slope(z) + 0.5 * (z - x) * (z + x), base)

    def _of_base(self, base: Continuous) -> "Continuous | None":
        """The same maps of other distributions, where that says what they are."""
        dist, maps = base, []
        for warp in self.warps:
            of_base = warp.of(dist)
            if of_base is None:
                return None
            maps.append(of_base)
            dist = type(self)(base, maps)
        return dist

    def _z(self, y: Tensor) -> Tensor:
        return probit(self.base.log_cdf(y), self.base.log_survival(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return log_ndtr(self._warped(self._z(y)))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return log_ndtr(-self._warped(self._z(y)))

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
        """The y with P(Y <= y) = Phi(x), for x of shape (..., *batch); about 0 or 1 of the base count as 1e-300 of it."""
        z = self._unwarped(x).clamp(-FARTHEST_PROBIT, FARTHEST_PROBIT)
        z = z.expand(torch.broadcast_shapes(z.shape, self.batch_shape))
        return self.base._inverse(ndtr(z), ndtr(-z))
