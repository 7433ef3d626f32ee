"""`Recalibrated`: a distribution whose cdf F is replaced by Phi(h(Phi^-1(F))), with every answer that follows."""

from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.calibration.integrals import entropy, expectation, mean_and_variance, scores
from disthead.calibration.shapes import Shapes
from disthead.calibration.warp import Warp, probit
from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution, Wrapper
from disthead.distributions.continuous import Continuous
from disthead.distributions.discrete import OUTSIDE, Discrete
from disthead.distributions.mass_tables import crps_of
from disthead.distributions.univariate import in_double
from disthead.special import bracketed_inverse, log_ndtr, log_ndtr_difference
from disthead.special.plain import ndtr, ndtri

__all__ = ["Recalibrated", "RecalibratedContinuous", "RecalibratedDiscrete", "recalibrated"]

_FAR = 37.0  # beyond, the normal cdf nears the smallest number in double precision


def recalibrated(dist: Distribution, *warps: Warp) -> Distribution:
    """The distribution with cdf Phi(h(Phi^-1(F(y)))), F the cdf of `dist` and h the warps one after the other.

    Raises:
        ValueError: unless `dist` is of one ordered number.
    """
    if isinstance(dist, Affine):  # an increasing map of probabilities knows no units
        return Affine(recalibrated(dist.base, *warps), dist.loc, dist.scale)
    if isinstance(dist, Recalibrated):
        return type(dist)(dist.base, (*dist.warps, *warps))
    if isinstance(dist, Continuous):
        return RecalibratedContinuous(dist, warps)
    if isinstance(dist, Discrete):
        return RecalibratedDiscrete(dist, warps)
    raise ValueError(f"dist must be a distribution of one ordered number, got {dist!r}.")


class Recalibrated(Wrapper):
    """What continuous distributions and counts have in common once their probabilities are mapped.

    Where the density of the base is f, the recalibrated one is f(y) h'(z) phi(h(z)) / phi(z) with z = Phi^-1(F(y)), and its
    quantile is F^-1(Phi(h^-1(Phi^-1(q)))). The support stays. `parameters` are those of the base.

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
        return type(self)(self.base.expand(batch_shape), [warp.expand(Size(batch_shape)) for warp in self.warps])

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

    def _peak(self, log_density: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor, rounds: int) -> Tensor:
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


class RecalibratedContinuous(Recalibrated, Continuous):  # type: ignore[override]
    """A continuous distribution whose probabilities were recalibrated; see `Recalibrated`."""

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

    def _of_base(self, base: Continuous) -> Distribution | None:
        """The same maps of other distributions, where that says what they are."""
        dist: Distribution = base
        for warp in self.warps:
            of_base = warp.of(dist)
            if of_base is None:
                return None
            dist = recalibrated(dist, of_base)
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
        near = z.clamp(-_FAR, _FAR)
        y = self.base._quantile(ndtr(near), ndtr(-near))
        far = z.abs() > _FAR
        if not far.any():
            return y
        # There the probability itself would underflow: searched by its logarithm.
        with torch.no_grad():
            target, left = log_ndtr(-z.abs()), z < 0

            def residual(y: Tensor) -> Tensor:
                return torch.where(left, self.base.log_cdf(y) - target, target - self.base.log_survival(y))

            return torch.where(far, bracketed_inverse(residual, torch.zeros_like(z), *self.support_limits()), y)

    def _quantile_of_probit(self, x: Tensor) -> Tensor:
        """The y with P(Y <= y) = Phi(x), for x of shape (..., *batch); about 0 or 1 of the base count as 1e-300 of it."""
        z = self._unwarped(x).clamp(-_FAR, _FAR)
        z = z.expand(torch.broadcast_shapes(z.shape, self.batch_shape))
        return self.base._inverse(ndtr(z), ndtr(-z))

    @property
    @in_double
    def mean(self) -> Tensor:
        """By quadrature; infinite or nan where that of the base is, since the tails keep their shape."""
        return self._as_of_base(self._mean_and_variance()[0], self.base.mean)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self._as_of_base(self._mean_and_variance()[1], self.base.variance)

    def _mean_and_variance(self) -> Tensor:
        shapes = Shapes.of(self)
        return mean_and_variance(self) if shapes is None else shapes.mean_and_variance(mean_and_variance)

    @staticmethod
    def _as_of_base(value: Tensor, of_base: Tensor) -> Tensor:
        return torch.where(of_base.isfinite(), value, of_base)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, the integral of (cdf(t) - 1{t >= y})^2 dt, in the units of y."""
        shapes = Shapes.of(self) if y.shape == self.batch_shape and self._is_plain(y) else None
        return scores(self, y) if shapes is None else shapes.scores(scores, y)

    @in_double
    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats, by quadrature over the quantiles."""
        return entropy(self)

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        return expectation(self, function)

    @property
    @in_double
    @torch.no_grad()
    def mode(self) -> Tensor:
        """The highest point of the density, to about 1e-8 of the spread; the end of the support where it is unbounded."""
        tail = self._constant(1e-4)
        lower, upper = self._quantile(tail, 1 - tail), self._quantile(1 - tail, tail)
        first, last = self.support_limits()
        lower = torch.where(first.isfinite(), first, lower)
        return self._peak(self.log_prob, lower, torch.where(last.isfinite(), last, upper), rounds=11)


class RecalibratedDiscrete(Recalibrated, Discrete):
    """A distribution of counts whose probabilities were recalibrated; see `Recalibrated`."""

    has_rsample = False

    def __init__(self, base: Distribution, warps: Sequence[Warp]):
        super().__init__(base, warps)
        self._search_steps = base._search_steps

    def _on_lattice(self, y: Tensor) -> Tensor:
        return y.round()

    def _z(self, k: Tensor) -> Tensor:
        """h(Phi^-1(P(Y <= k))) under the base, also for real k within the support."""
        lower, upper = self.support_limits()
        inside = (k >= lower) & (k < upper)
        safe = torch.where(inside, k, lower)
        z = self._warped(probit(self.base._log_cdf(safe), self.base._log_survival(safe)))
        return torch.where(inside, z, torch.where(k < lower, -torch.inf, torch.inf).to(z.dtype))

    def _log_mass(self, x: Tensor) -> Tensor:
        return log_ndtr_difference(self._z(x - 1), self._z(x))

    def _log_cdf(self, k: Tensor) -> Tensor:
        return log_ndtr(self._z(k))

    def _log_survival(self, k: Tensor) -> Tensor:
        return log_ndtr(-self._z(k))

    def _cdf(self, k: Tensor) -> Tensor:
        return ndtr(self._z(k))

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        z = self._base_probit(below, above).clamp(-_FAR, _FAR)
        return self.base._bracket(ndtr(z), ndtr(-z))

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        z = self._base_probit(below, above).clamp(-_FAR, _FAR)
        start, spread = self.base._start(ndtr(z), ndtr(-z))
        return start, spread * torch.exp(-self._log_slope(z))

    def _ends_of_bulk(self) -> tuple[Tensor, Tensor]:
        """On the probit scale of the base, where next to no probability of this distribution is left."""
        ends = torch.tensor([OUTSIDE, 1 - OUTSIDE], dtype=self.dtype, device=self.device)
        ends = ends.reshape(2, *(1,) * len(self.batch_shape))  # of which the maps that all rows share are computed once
        first, last = self._base_probit(ends, ends.flip(0))
        return first, last

    def _bulk(self) -> tuple[Tensor, Tensor]:
        return self._range(*self._ends_of_bulk())

    def _range(self, *ends: Tensor) -> tuple[Tensor, Tensor]:
        (first, _), (_, last) = (
            self.base._reach(ndtr(end), ndtr(-end)) for end in (end.clamp(-_FAR, _FAR) for end in ends)
        )
        return first, last

    def _masses(self, first: Tensor, width: int) -> Tensor:
        """From the masses of the base, whose sums from either end are the probabilities to be mapped."""
        ends = self._ends_of_bulk()
        if any((end.abs() >= _FAR).any() for end in ends):
            return super()._masses(first, width)  # probabilities of the base underflow where those of this one count
        masses = self.base._masses(first, width)
        least, most = self._range(*ends)
        if (first <= least).all() and (first + width > most).all():  # next to nothing is outside
            before = beyond = torch.zeros_like(first)
        else:
            before, beyond = self.base.cdf(first - 1), self.base.log_survival(first + width - 1).exp()
        below = torch.cat([before[:, None], masses], 1).cumsum(1)
        above = torch.cat([masses, beyond[:, None]], 1).flip(1).cumsum(1).flip(1)
        left = below <= above
        z = ndtri(torch.where(left, below, above))
        x = self.map(lambda part: part.unsqueeze(1))._warped(torch.where(left, z, -z))
        return torch.where(x[:, 1:] < 0, ndtr(x).diff(dim=1), -ndtr(-x).diff(dim=1))

    # E[g(Y)] is the sum of P(Y > k) (g(k + 1) - g(k)): half the work of a sum over masses, where there is no table of them.

    @property
    @in_double
    def mean(self) -> Tensor:
        if self._is_plain():
            return self._by_tables(
                lambda rows, masses, first: first + _moments(masses)[0], lambda rows, first, last: rows._mean_by_sum()
            )
        return self._mean_by_sum()

    def _mean_by_sum(self) -> Tensor:
        first = self._bulk()[0]
        return first + self._sum(lambda k: self._log_survival(k).exp(), start=first)

    @property
    @in_double
    def variance(self) -> Tensor:
        if self._is_plain():
            return self._by_tables(
                lambda rows, masses, first: _moments(masses)[1], lambda rows, first, last: rows._variance_by_sum()
            )
        return self._variance_by_sum()

    def _variance_by_sum(self) -> Tensor:
        first = self._bulk()[0]
        excess = self._sum(lambda k: self._log_survival(k).exp(), start=first)
        return self._sum(lambda k: (2 * (k - first) + 1) * self._log_survival(k).exp(), start=first) - excess.square()

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in counts."""
        if self._is_plain(y):
            return self._by_tables(
                lambda rows, masses, first, y: crps_of(masses, first, y),
                lambda rows, first, last, y: Discrete.crps(rows, y.T).T,
                y,
            )
        return super().crps(y)

    @property
    @in_double
    @torch.no_grad()
    def mode(self) -> Tensor:
        """The most probable integer."""
        if self._is_plain():
            return self._by_tables(
                lambda rows, masses, first: first + masses.argmax(1), lambda rows, first, last: rows._mode_by_grids()
            )
        return self._mode_by_grids()

    def _mode_by_grids(self) -> Tensor:
        tail = self._constant(1e-4)
        return self._peak(self._log_mass, self.icdf(tail), self.icdf(1 - tail), rounds=26)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.rand(
            self._extended_shape(sample_shape), generator=generator, dtype=torch.float64, device=self.device
        )
        return self.icdf(uniform.clamp(min=1e-16))


def _moments(masses: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each row of a table, counted from its first integer."""
    k = torch.arange(masses.shape[1], dtype=masses.dtype)
    mean = masses @ k
    return mean, (masses * (k - mean[:, None]).square()).sum(1)
