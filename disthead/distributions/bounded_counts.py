"""`BoundedCount`: the number of successes in a known number of trials."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import MOST_OUTCOMES
from disthead.distributions.discrete import Discrete
from disthead.distributions.mass_tables import crps_of
from disthead.distributions.univariate import in_double
from disthead.special.eager import are_concrete, extent

__all__ = ["BoundedCount"]


class BoundedCount(Discrete):
    """A distribution on 0, 1, ..., total_count, where each row may have trials of its own.

    Subclasses store `total_count` and define `_flux(k)`, the sum of (j - mean) P(Y = j) over all
    j > k divided by P(Y = k).
    """

    total_count: Tensor
    _widest_of_scores = 1024  # integers of a table, up to which it costs less than sums of cdfs

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The integers from 0 to the number of trials."""
        return constraints.integer_interval(0, self.total_count)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        none = self._constant(0.0)
        return none, self.total_count.to(none.dtype)

    def _bounds(self) -> tuple[float, float]:
        """The ends of the support of the row with the fewest trials; NaN for what is traced."""
        total_count = self.total_count
        return 0.0, extent(total_count)[0] if are_concrete(total_count) else math.nan

    def _outcomes(self) -> Tensor | None:
        least, most = extent(self.total_count) if are_concrete(self.total_count) else (0.0, 1.0)
        if least != most or most >= MOST_OUTCOMES:
            return None
        return torch.arange(most + 1, dtype=self.dtype, device=self.device)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        if self._outcomes() is None and self.total_count.max() < MOST_OUTCOMES:
            raise self._unanswered("enumerate_support", "its rows differ in their trials.")
        return super().enumerate_support(expand)

    def _flux(self, k: Tensor) -> Tensor:
        raise NotImplementedError

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in counts.

        E|Y - y| = (y - mean) (2 F(y) - 1) + 2 S, where S is the sum of (j - mean) P(Y = j) over
        j > y, which the recurrence of the mass gives (de Moivre 1730 for the binomial). The second
        term is the sum of F (1 - F) over all counts.
        """
        if self._is_plain(y):
            return self._by_tables(
                lambda rows, masses, first, y: crps_of(masses, first, y),
                lambda rows, first, last, y: rows.map(lambda part: part.unsqueeze(1))._crps(y),
                y,
                widest=self._widest_of_scores,
            )
        return self._crps(y)

    def _crps(self, y: Tensor) -> Tensor:
        k = y.floor()
        inside = (k >= 0) & (k <= self.total_count)
        k = torch.where(inside, k, 0.0)
        flux = torch.where(inside, self._flux(k) * self._log_mass(k).exp(), 0.0)
        distance = (y - self.mean) * (2 * self.cdf(y) - 1) + 2 * flux
        return distance - self._half_mean_difference()

    def _half_mean_difference(self) -> Tensor:
        """E|Y - Y'| / 2, the sum of F (1 - F)."""
        return self._sum(lambda k: (self.log_cdf(k) + self.log_survival(k)).exp())
