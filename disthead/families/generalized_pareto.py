"""The generalised Pareto distribution: how far values exceed a high threshold."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.continuous import Continuous
from disthead.distributions.l_moments import l_moments
from disthead.distributions.tails import Indices, index_of_concentration
from disthead.distributions.univariate import in_double, ratio, with_min_scale
from disthead.families.exponential import minus_log
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special.generalized_pareto import from_pareto_hazard, pareto_hazard, penalty
from disthead.special.incomplete_gamma import log1mexp

__all__ = ["GeneralizedPareto", "GeneralizedParetoFamily"]

_FARTHEST = 1e300  # standardised targets beyond it, infinity among them, count as that far


class GeneralizedPareto(Continuous):
    """Generalised Pareto distribution: P(Y > y) = (1 + c y / scale)^(-1 / c) for y >= 0.

    Here c = concentration, with the sign of TensorFlow Probability and SciPy: c > 0 gives a heavy
    tail, c = 0 the exponential distribution, c < 0 the upper limit -scale / c. The density is
    (1 + c y / scale)^(-1 / c - 1) / scale, and 0 beyond the limit. While gradients are recorded,
    `log_prob` beyond the limit is a finite penalty below -10^6, whose gradient moves the limit
    towards the target, so that training and line searches can return there; otherwise it is -inf.
    Source: Pickands 1975, Statistical inference using extreme order statistics.

    Args:
        scale: shape (...,), positive, in the units of y.
        concentration: c, shape (...,), any real number without a unit; the mean is infinite from 1
            on, the variance from 1/2 on.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> GeneralizedPareto(1.0, 0.5).cdf(torch.tensor(2.0))  # 1 - 2^-2
    tensor(0.7500)
    >>> GeneralizedPareto(1.0, -0.5).log_prob(torch.tensor(2.5))  # beyond the limit 2
    tensor(-inf)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.real}
    support = constraints.nonnegative

    def __init__(self, scale=None, concentration=None, *, log_scale=None):
        self._set_parameters(scale=scale, concentration=concentration, log_scale=log_scale)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        c = self.concentration.to(self._constant(0.0).dtype)
        limit = -self.scale / torch.where(c < 0, c, -1.0)
        return torch.zeros_like(limit), torch.where(c < 0, limit, torch.inf)

    def _tail_indices(self) -> Indices:
        return math.inf, index_of_concentration(self.concentration)

    def _standardised(self, y: Tensor) -> Tensor:
        return ratio(y.clamp(min=0), self.scale, self.log_scale).clamp(max=_FARTHEST)

    def _hazard(self, y: Tensor) -> Tensor:
        """The value of -log P(Y > y)."""
        return pareto_hazard(self._standardised(y), self.concentration)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        z, c = self._standardised(y), self.concentration
        hazard = pareto_hazard(z, c)
        outside = hazard.isinf() | y.isinf()
        value = -self.log_scale - (1 + c) * torch.where(outside, 0.0, hazard)
        beyond = penalty(z, c, outside) if self._is_differentiated(y) else -torch.inf
        return torch.where(y < 0, -torch.inf, torch.where(outside, beyond, value))

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return -torch.expm1(-self._hazard(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        hazard = self._hazard(y)
        inside = ~(hazard <= 0)
        return torch.where(inside, log1mexp(-torch.where(inside, hazard, 1.0)), -torch.inf)

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return torch.where(y == torch.inf, -torch.inf, -self._hazard(y))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self.scale * from_pareto_hazard(minus_log(below, above), self.concentration)

    @property
    @in_double
    def mean(self) -> Tensor:
        """Scale / (1 - c), infinite for c >= 1."""
        finite = self.concentration < 1
        return torch.where(
            finite, self.scale / (1 - torch.where(finite, self.concentration, 0.0)), torch.inf
        )

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        """Scale / ((1 - c) sqrt(1 - 2 c)), infinite for c >= 1/2."""
        finite = self.concentration < 0.5
        c = torch.where(finite, self.concentration, 0.0)
        return torch.where(finite, self.scale / (1 - c) * (1 - 2 * c).rsqrt(), torch.inf)

    @property
    @in_double
    def mode(self) -> Tensor:
        """0, and the upper limit for c < -1, where the density rises."""
        return torch.where(self.concentration < -1, self.support_limits()[1], 0.0)

    @in_double
    def entropy(self) -> Tensor:
        return self.log_scale + self.concentration + 1

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y; infinite for c >= 2.

        |y| - 2 scale (1 - P(Y > y)^(1 - c)) / (1 - c) + scale / (2 - c), after Friederichs and
        Thorarinsdottir 2012.
        """
        finite = self.concentration < 2
        c = torch.where(finite, self.concentration, 0.0)
        taken = from_pareto_hazard(self._hazard(y).clamp(max=1e300), c - 1)
        return torch.where(finite, y.abs() + self.scale * (1 / (2 - c) - 2 * taken), torch.inf)


class GeneralizedParetoFamily(Family):
    """The generalised Pareto family: P(Y > y) = (1 + c y / scale)^(-1 / c) for y >= 0.

    Its parameters are `scale` and `concentration` = c, shape (...,).
    """

    name = "generalized_pareto"
    parameters = {"scale": LINKS["softplus"], "concentration": LINKS["identity"]}
    support = constraints.nonnegative
    data_type = "univariate, continuous, bounded below"
    domain = "y >= 0"
    use = "exceedances of a high threshold"
    loss = "(1 + 1 / c) log(1 + c y / scale)"
    noise = (
        "By how much values exceed a high threshold: whatever the values are, their exceedances "
        "tend to this distribution as the threshold rises. The target is the exceedance, the value "
        "minus the threshold."
    )
    density = "p(y) = (1 + c y / scale)^(-1 / c - 1) / scale, c = concentration"
    breaks = (
        "A low threshold, where the tail has not yet this form; a high one leaves few rows. "
        "Targets beyond the limit -scale / c of a negative concentration have no density."
    )
    remedy = (
        "Share the concentration between rows (shared=('concentration',)), or fix it at 0 for the "
        "exponential distribution. generalized_extreme_value for the maxima of blocks, gamma or "
        "log_normal for all values."
    )

    def make(self, **parameters: Tensor) -> GeneralizedPareto:
        return GeneralizedPareto(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # by L-moments (Hosking and Wallis 1987), of the exponential distribution where a target
        # would lie beyond the limit
        mean, spread, _ = l_moments(y)
        mean = with_min_scale(mean, y)
        c = (2 - mean / with_min_scale(spread, y)).clamp(-0.4, 0.5)
        scale = (1 - c) * mean
        c = torch.where((1 + c * y / scale > 0.01).all(0), c, 0.0)
        return {"scale": (1 - c) * mean, "concentration": c}
