"""Distributions whose cdf F is replaced by Phi(h(Phi^-1(F))), with their moments and scores."""

from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor

from disthead.calibration.integrals import entropy, expectation, mean_and_variance, scores
from disthead.calibration.mapped import FARTHEST_PROBIT, MappedContinuous, Recalibrated
from disthead.calibration.monotone_maps import MonotoneMap, probit
from disthead.calibration.shapes import Shapes
from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution
from disthead.distributions.censored import Censored
from disthead.distributions.continuous import Continuous
from disthead.distributions.discrete import OUTSIDE, Discrete
from disthead.distributions.mass_tables import crps_of
from disthead.distributions.tails import (
    with_infinite_crps,
    with_infinite_mean,
    with_infinite_variance,
)
from disthead.distributions.univariate import in_double
from disthead.special import log_ndtr, log_ndtr_difference
from disthead.special.plain import ndtr, ndtri

__all__ = ["Recalibrated", "RecalibratedContinuous", "RecalibratedDiscrete", "recalibrated"]


def recalibrated(dist: Distribution, *maps: MonotoneMap) -> Distribution:
    """The distribution with cdf Phi(h(Phi^-1(F(y)))), F being the cdf of `dist`.

    h is the composition of `maps`, the first one applied first. The shapes stay.

    Raises:
        ValueError: unless `dist` is of one ordered number.
    """
    if isinstance(dist, Affine):  # an increasing map of probabilities knows no units
        return Affine(recalibrated(dist.base, *maps), dist.loc, dist.scale)
    if isinstance(dist, Censored):
        return Censored(recalibrated(dist.base, *maps))
    if isinstance(dist, Recalibrated):
        return type(dist)(dist.base, (*dist.maps, *maps))
    if isinstance(dist, Continuous):
        return RecalibratedContinuous(dist, maps)
    if isinstance(dist, Discrete):
        return RecalibratedDiscrete(dist, maps)
    raise ValueError(f"dist must be a distribution of one ordered number, got {dist!r}.")


class RecalibratedContinuous(MappedContinuous):
    """A continuous distribution whose probabilities were recalibrated; see `Recalibrated`."""

    @property
    @in_double
    def mean(self) -> Tensor:
        """The mean, by quadrature; infinite or NaN where a tail is too heavy."""
        return with_infinite_mean(self._mean_and_variance()[0], self._tail_indices())

    @property
    @in_double
    def variance(self) -> Tensor:
        """The variance, by quadrature; infinite or NaN where a tail is too heavy."""
        return with_infinite_variance(self._mean_and_variance()[1], self._tail_indices())

    def _mean_and_variance(self) -> Tensor:
        shapes = Shapes.of(self)
        return (
            mean_and_variance(self)
            if shapes is None
            else shapes.mean_and_variance(mean_and_variance)
        )

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, the integral of (cdf(t) - 1{t >= y})^2 dt."""
        shapes = Shapes.of(self) if y.shape == self.batch_shape and self._is_plain(y) else None
        score = scores(self, y) if shapes is None else shapes.scores(scores, y)
        return with_infinite_crps(score, self._tail_indices())

    @in_double
    def entropy(self) -> Tensor:
        """The differential entropy E[-log p(Y)] in nats, by quadrature over the quantiles."""
        return entropy(self)

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        return expectation(self, function)

    @property
    @in_double
    @torch.no_grad()
    def mode(self) -> Tensor:
        """The highest point of the density, to about 1e-8 of the distribution's width.

        It is an end of the support where the density is unbounded there.
        """
        tail = self._constant(1e-4)
        lower, upper = self._quantile(tail, 1 - tail), self._quantile(1 - tail, tail)
        first, last = self.support_limits()
        lower = torch.where(first.isfinite(), first, lower)
        return self._peak(
            self.log_prob, lower, torch.where(last.isfinite(), last, upper), refinements=11
        )


class RecalibratedDiscrete(Recalibrated, Discrete):
    """A distribution of counts whose probabilities were recalibrated; see `Recalibrated`."""

    kind = "count"
    has_rsample = False

    def __init__(self, base: Distribution, maps: Sequence[MonotoneMap]):
        super().__init__(base, maps)
        self._search_steps = base._search_steps

    def _on_lattice(self, y: Tensor) -> Tensor:
        return y.round()

    def _z(self, k: Tensor) -> Tensor:
        """h(Phi^-1(P(Y <= k))) under the base, also for real k within the support."""
        lower, upper = self.support_limits()
        inside = (k >= lower) & (k < upper)
        safe = torch.where(inside, k, lower)
        z = self._apply_maps(probit(self.base._log_cdf(safe), self.base._log_survival(safe)))
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
        z = self._base_probit(below, above).clamp(-FARTHEST_PROBIT, FARTHEST_PROBIT)
        return self.base._bracket(ndtr(z), ndtr(-z))

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        z = self._base_probit(below, above).clamp(-FARTHEST_PROBIT, FARTHEST_PROBIT)
        start, std = self.base._start(ndtr(z), ndtr(-z))
        return start, std * torch.exp(-self._log_slope(z))

    def _ends_of_bulk(self) -> tuple[Tensor, Tensor]:
        """The probits of the base beyond which this distribution has next to no probability."""
        ends = torch.tensor([OUTSIDE, 1 - OUTSIDE], dtype=self.dtype, device=self.device)
        # of which the maps that all rows share are computed once
        ends = ends.reshape(2, *(1,) * len(self.batch_shape))
        first, last = self._base_probit(ends, ends.flip(0))
        return first, last

    def _bulk(self) -> tuple[Tensor, Tensor]:
        return self._range(*self._ends_of_bulk())

    def _range(self, *ends: Tensor) -> tuple[Tensor, Tensor]:
        (first, _), (_, last) = (
            self.base._reach(ndtr(end), ndtr(-end))
            for end in (end.clamp(-FARTHEST_PROBIT, FARTHEST_PROBIT) for end in ends)
        )
        return first, last

    def _masses(self, first: Tensor, width: int) -> Tensor:
        """The masses, from those of the base.

        Their sums from either end are the probabilities that are mapped.
        """
        ends = self._ends_of_bulk()
        if any((end.abs() >= FARTHEST_PROBIT).any() for end in ends):
            # probabilities of the base underflow where those of this one count
            return super()._masses(first, width)
        masses = self.base._masses(first, width)
        least, most = self._range(*ends)
        if (first <= least).all() and (first + width > most).all():  # next to nothing is outside
            before = beyond = torch.zeros_like(first)
        else:
            before, beyond = (
                self.base.cdf(first - 1),
                self.base.log_survival(first + width - 1).exp(),
            )
        below = torch.cat([before[:, None], masses], 1).cumsum(1)
        above = torch.cat([masses, beyond[:, None]], 1).flip(1).cumsum(1).flip(1)
        left = below <= above
        z = ndtri(torch.where(left, below, above))
        x = self.map(lambda part: part.unsqueeze(1))._apply_maps(torch.where(left, z, -z))
        return torch.where(x[:, 1:] < 0, ndtr(x).diff(dim=1), -ndtr(-x).diff(dim=1))

    # E[g(Y)] is the sum of P(Y > k) (g(k + 1) - g(k)): half the work of a sum over masses, where
    # there is no table of them.

    @property
    @in_double
    def mean(self) -> Tensor:
        """The mean, in counts."""
        if self._is_plain():
            return self._by_tables(
                lambda rows, masses, first: first + _moments(masses)[0],
                lambda rows, first, last: rows._mean_by_sum(),
            )
        return self._mean_by_sum()

    def _mean_by_sum(self) -> Tensor:
        first = self._bulk()[0]
        return first + self._sum(lambda k: self._log_survival(k).exp(), start=first)

    @property
    @in_double
    def variance(self) -> Tensor:
        """The variance, in squared counts."""
        if self._is_plain():
            return self._by_tables(
                lambda rows, masses, first: _moments(masses)[1],
                lambda rows, first, last: rows._variance_by_sum(),
            )
        return self._variance_by_sum()

    def _variance_by_sum(self) -> Tensor:
        first = self._bulk()[0]
        excess = self._sum(lambda k: self._log_survival(k).exp(), start=first)
        return (
            self._sum(lambda k: (2 * (k - first) + 1) * self._log_survival(k).exp(), start=first)
            - excess.square()
        )

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
                lambda rows, masses, first: first + masses.argmax(1),
                lambda rows, first, last: rows._mode_by_grids(),
            )
        return self._mode_by_grids()

    def _mode_by_grids(self) -> Tensor:
        tail = self._constant(1e-4)
        return self._peak(self._log_mass, self.icdf(tail), self.icdf(1 - tail), refinements=26)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Quantiles of uniform numbers, of shape sample_shape + batch_shape."""
        uniform = torch.rand(
            self._extended_shape(sample_shape),
            generator=generator,
            dtype=torch.float64,
            device=self.device,
        )
        return self.icdf(uniform.clamp(min=1e-16))


def _moments(masses: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each row of a table, counted from its first integer."""
    k = torch.arange(masses.shape[1], dtype=masses.dtype)
    mean = masses @ k
    return mean, (masses * (k - mean[:, None]).square()).sum(1)
