"""Mixtures of directions, for targets that point several ways."""

import math

import torch
from torch import Size, Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.circular import wrapped
from disthead.distributions.components import Components
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.univariate import in_double
from disthead.families.mixture import Mixture

__all__ = ["CircularMixture"]


class CircularMixture(Mixture):
    """Mixture of K distributions on the circle, with density sum_k weight_k p_k(y).

    The support is -pi <= y <= pi, in radians. Mean and variance are those of directions: the angle
    of the mean unit vector, and one minus its length (Mardia and Jupp 2000). A density with several
    peaks on the circle has no natural start for a cdf, so that quantiles and what derives from them
    are not defined.

    Args:
        logits: unnormalised log-weights of the components, shape (..., K).
        components: a `VonMises` with batch_shape (..., K).
        probs: weights, shape (..., K). Exactly one of logits and probs is given.

    >>> from disthead.families.von_mises import VonMises
    >>> CircularMixture(torch.zeros(2), VonMises(torch.tensor([0.0, 1.0]), 4.0)).mean
    tensor(0.5000)
    """

    kind = "direction"
    has_rsample = False

    def support_limits(self) -> tuple[Tensor, Tensor]:
        return self._constant(-math.pi), self._constant(math.pi)

    def _resultant(self) -> tuple[Tensor, Tensor]:
        """The mean unit vector."""
        length = self.probs * (1 - self.components.variance)
        direction = self.components.mean
        return (length * direction.cos()).sum(-1), (length * direction.sin()).sum(-1)

    @property
    @in_double
    def mean(self) -> Tensor:
        """The mean direction, in (-pi, pi]."""
        cosine, sine = self._resultant()
        return torch.atan2(sine, cosine)

    @property
    @in_double
    def variance(self) -> Tensor:
        """The circular variance, from 0 for a single direction to 1 where directions cancel."""
        cosine, sine = self._resultant()
        return 1 - torch.hypot(cosine, sine)

    @property
    @in_double
    def epistemic(self) -> Tensor:
        """The variance that is due to different directions of the components.

        It is the mean length of the components' mean vectors minus the length of their mean:
        variance - aleatoric, never negative.
        """
        cosine, sine = self._resultant()
        return (self.probs * (1 - self.components.variance)).sum(-1) - torch.hypot(cosine, sine)

    @property
    @in_double
    def stddev(self) -> Tensor:
        """The circular standard deviation sqrt(-2 log(1 - variance)), in radians."""
        return (-2 * torch.log1p(-self.variance)).sqrt()

    def _breakpoints(self) -> Tensor:
        points = wrapped(super()._breakpoints())
        ends = torch.stack(self.support_limits())
        return torch.cat([points, ends]).sort(0).values

    def _places(self) -> Tensor:
        # more points, and the seam: quantiles of components may lie across it
        return Components._places(self)

    def _most_peaks(self) -> int:
        return Components._most_peaks(self)

    def _power_ends(self) -> tuple[Tensor, Tensor]:
        return self._constant(-math.inf), self._constant(math.inf)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        raise self._no_start("rsample")

    def cdf(self, y: Tensor) -> Tensor:
        raise self._no_start("cdf")

    def log_cdf(self, y: Tensor) -> Tensor:
        raise self._no_start("log_cdf")

    def log_survival(self, y: Tensor) -> Tensor:
        raise self._no_start("log_survival")

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise self._no_start("cdf_limits")

    def icdf(self, q: Tensor) -> Tensor:
        raise self._no_start("icdf")

    @property
    def median(self) -> Tensor:
        raise self._no_start("median")

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raise self._no_start("pit")

    def crps(self, y: Tensor) -> Tensor:
        raise self._no_start("crps")

    def interval(self, level: float) -> Interval | Arc:
        raise self._no_start("interval")

    def highest_density(self, level: float) -> Interval | Arc:
        raise self._no_start("highest_density")

    def affine(self, loc: Tensor, scale: Tensor) -> Distribution:
        raise self._unanswered(
            "affine", "a scaled circle is no circle; rotate the targets instead."
        )

    def _no_start(self, question: str) -> NotImplementedError:
        return self._unanswered(
            question,
            f"a circle with several peaks has no place where a cdf starts; components.{question} "
            "is defined for each component.",
        )
