"""Mixtures of mixed distributions: numbers with a density and, at some values, a probability."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution
from disthead.distributions.components import Components
from disthead.distributions.inflated import Mixed
from disthead.distributions.univariate import Univariate, in_double
from disthead.families.mixture import Mixture
from disthead.special.probabilities import log_sum_exp

__all__ = ["MixedMixture"]


class MixedMixture(Components, Mixed):
    """Mixture of K mixed distributions that have probabilities at the same values.

    It is again a mixed distribution: each value has the weighted mean of the components'
    probabilities, and the density is a mixture of the densities of their bases.

    Args:
        logits: unnormalised log-weights, shape (..., K).
        components: a mixed distribution with batch_shape (..., K).
        probs: weights, shape (..., K). Exactly one of logits and probs is given.

    >>> from disthead import get_family
    >>> rain = get_family("hurdle", base="gamma")
    >>> models = rain.distribution(concentration=2.0, rate=1.0, gate=torch.tensor([0.2, 0.6]))
    >>> MixedMixture(torch.zeros(2), models).cdf(torch.tensor(0.0))
    tensor(0.4000)
    """

    def __init__(
        self, logits: Tensor | None, components: Distribution, *, probs: Tensor | None = None
    ):
        Components.__init__(self, logits, components, probs=probs)
        self.values = self.components.values

    @property
    def base(self) -> Mixture:
        """The distribution of y where it is none of the values."""
        log_rest = self.components._log_weights()[0]
        return Mixture(self.log_weights + log_rest, self.components.base)

    def _log_weights(self) -> tuple[Tensor, ...]:
        return tuple(
            log_sum_exp(self.log_weights + log_weight)
            for log_weight in self.components._log_weights()
        )

    @property
    def dtype(self) -> torch.dtype:
        return self.logits.dtype if self._linked is None else self._linked.dtype

    @property
    def device(self) -> torch.device:
        return self.logits.device

    @property
    def support(self) -> constraints.Constraint:
        return self.components.support

    def _constant(self, value: float) -> Tensor:
        return Univariate._constant(self, value)

    def affine(self, loc: Tensor, scale: Tensor) -> Any:
        return Distribution.affine(self, loc, scale)

    mode = Mixed.mode

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y; see `Mixed`."""
        return Mixed.crps(self, y)
