"""Mixtures of distributions of counts."""

from collections.abc import Callable

import torch
from torch import Tensor

from disthead.families.components import Components
from disthead.families.discrete import Discrete, sum_rule
from disthead.families.interval import Interval
from disthead.families.univariate import check_level

__all__ = ["DiscreteMixture"]


class DiscreteMixture(Components, Discrete):
    """Mixture of K distributions of counts, with mass sum_k weight_k p_k(y).

    Args:
        logits: unnormalised log-weights of the components, shape (..., K).
        components: a distribution of counts with batch_shape (..., K).

    >>> from disthead.families.poisson import Poisson
    >>> DiscreteMixture(torch.zeros(2), Poisson(torch.tensor([1.0, 9.0]))).mean
    tensor(5.)
    """

    def _log_mass(self, x: Tensor) -> Tensor:
        return self._log_mean(self._log_densities(x))

    def _log_densities(self, y: Tensor) -> Tensor:
        return self.components._log_mass(y.unsqueeze(-1))  # also between integers, where the sum asks too

    def _log_cdf(self, k: Tensor) -> Tensor:
        return self._log_mean(self.components._log_cdf(k.unsqueeze(-1)))

    def _log_survival(self, k: Tensor) -> Tensor:
        return self._log_mean(self.components._log_survival(k.unsqueeze(-1)))

    def _component_quantiles(self, below: Tensor, above: Tensor) -> Tensor:
        return self.components.icdf(below)

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        first, last = self.components._bracket(below.unsqueeze(-1), above.unsqueeze(-1))
        return first.amin(-1), last.amax(-1)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        first, last = self.components._bulk()
        return first.amin(-1), last.amax(-1)

    def _ranges(self) -> tuple[Tensor, Tensor]:
        """Where each component carries probability, and each component's own where it is a mixture."""
        if not isinstance(self.components, DiscreteMixture):
            return self.components._bulk()
        first, last = self.components._ranges()
        return first.flatten(-2), last.flatten(-2)

    def _sum(self, function: Callable[[Tensor], Tensor], start: Tensor | None = None) -> Tensor:
        """The sum over all integers that carry probability, begun afresh where each component does: there it needs every term."""
        with torch.no_grad():
            first, last = (part.movedim(-1, 0) for part in self._ranges())
            first, last = first.sort(0).values, last.amax(0)
            following = torch.cat([first[1:], last.unsqueeze(0) + 1])
            distance, weight = sum_rule(following - first - 0.5)
            k = first + distance
            weight = torch.where(k < following - 0.25, weight, 0.0).flatten(0, 1)
            k = torch.minimum(k, last).flatten(0, 1)
        return (weight * function(k)).sum(0)

    def _disagreement(self) -> Tensor:
        # Not `cdf`, which is a step function: the sum asks between integers too.
        return self._sum(lambda k: self._variance_over_components(self.components._log_cdf(k.unsqueeze(-1)).exp()))

    @torch.no_grad()
    def highest_density(self, level: float) -> Interval:
        """The shortest run of integers that holds at least `level` of the probability, of those that start at one of 257 quantiles.

        Every integer with a probability above (1 - level) / 256 is such a start. With several peaks the most probable integers
        can fall into several runs.
        """
        check_level(level)
        exact = self._in_double()
        below = torch.linspace(0, 1 - level, 257, dtype=exact.dtype, device=self.device)
        lower = exact.icdf(below.clamp(min=1e-15).reshape((-1,) + (1,) * len(self.batch_shape)) + exact._constant(0.0))
        upper = exact.icdf((exact.cdf(lower - 1) + level).clamp(max=1 - 1e-15))
        enough = exact.cdf(upper) - exact.cdf(lower - 1) >= level - 1e-12
        shortest = torch.where(enough, upper - lower, torch.inf).argmin(0, keepdim=True)
        return Interval(*(end.gather(0, shortest).squeeze(0).to(self.dtype) for end in (lower, upper)))

    def _on_grid(self, y: Tensor) -> Tensor:
        return y.round()

    def _climb(self, points: Tensor, heights: Tensor) -> Tensor:
        """Bisection of the integers on whether the mass still rises."""
        left, _, right = points
        for _ in range(54):
            middle = ((left + right) / 2).floor()
            rises = (self.log_prob(middle + 1) > self.log_prob(middle)) & (left < right)
            left, right = torch.where(rises, middle + 1, left), torch.where(rises, right, torch.minimum(middle, right))
        return left
