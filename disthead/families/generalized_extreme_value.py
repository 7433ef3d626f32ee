"""The generalised extreme value distribution: maxima of many values, such as annual floods."""

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
from disthead.special import expm1mx
from disthead.special.gamma_moments import lgamma1p_slope, lgamma_convexity
from disthead.special.generalized_pareto import from_pareto_hazard, pareto_hazard, penalty
from disthead.special.incomplete_gamma import log1mexp
from disthead.special.stirling import EULER

__all__ = ["GeneralizedExtremeValue", "GeneralizedExtremeValueFamily"]

_FARTHEST = 1e300  # standardised targets beyond it, infinity among them, count as that far


class GeneralizedExtremeValue(Continuous):
    """Generalised extreme value distribution with the cdf exp(-t), t = (1 + c z)^(-1 / c).

    Here z = (y - loc) / scale and c = concentration, with the sign of TensorFlow Probability (minus
    SciPy's shape): c > 0 is Frechet's distribution with a heavy upper tail and a lower limit, c = 0
    Gumbel's with t = exp(-z), c < 0 the reversed Weibull distribution with an upper limit. The
    limit is loc - scale / c. The density t^(1 + c) exp(-t) / scale is 0 beyond it. While
    gradients are recorded, `log_prob` beyond the limit is a finite penalty below -10^6, whose
    gradient moves the limit towards the target, so that training and line searches can return
    there; otherwise it is -inf. Source: Coles 2001, An introduction to statistical modeling of
    extreme values, chapter 3.

    Args:
        loc: the 37 % quantile, shape (...,), in the units of y.
        scale: shape (...,), positive, in the units of y.
        concentration: c, shape (...,), any real number without a unit; the mean is infinite from 1
            on, the variance from 1/2 on.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> GeneralizedExtremeValue(0.0, 1.0, 0.0).cdf(torch.tensor(0.0))  # exp(-1)
    tensor(0.3679)
    >>> GeneralizedExtremeValue(0.0, 1.0, -0.5).log_prob(torch.tensor(2.5))  # beyond the limit 2
    tensor(-inf)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    support = constraints.real

    def __init__(self, loc, scale=None, concentration=None, *, log_scale=None):
        self._set_parameters(loc=loc, scale=scale, concentration=concentration, log_scale=log_scale)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        c = self.concentration.to(self._constant(0.0).dtype)
        limit = self.loc - self.scale / torch.where(c == 0, 1.0, c)
        return torch.where(c > 0, limit, -torch.inf), torch.where(c < 0, limit, torch.inf)

    def _tail_indices(self) -> Indices:
        return math.inf, index_of_concentration(self.concentration)

    def _standardised(self, y: Tensor) -> Tensor:
        return ratio(y - self.loc, self.scale, self.log_scale).clamp(-_FARTHEST, _FARTHEST)

    def _reduced(self, y: Tensor) -> Tensor:
        """The value of -log(t), whose distribution is Gumbel's."""
        return pareto_hazard(self._standardised(y), self.concentration)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        z, c = self._standardised(y), self.concentration
        reduced = pareto_hazard(z, c)
        outside = reduced.isinf() | y.isinf()
        inner = torch.where(outside, 0.0, reduced)
        value = -self.log_scale - c * inner - 1 - expm1mx(-inner)
        beyond = penalty(z, c, outside) if self._is_differentiated(y) else -torch.inf
        return torch.where(outside, beyond, value)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return torch.exp(-torch.exp(-self._reduced(y)))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return -torch.exp(-self._reduced(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        reduced = self._reduced(y)
        late = reduced > 40  # where 1 - exp(-t) is t to rounding
        t = torch.exp(-torch.where(late, 0.0, reduced))
        value = torch.where(late, -reduced, log1mexp(-t.clamp(min=1e-300)))
        return torch.where(y == torch.inf, -torch.inf, value)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        reduced = -minus_log(above, below).log()
        return self.loc + self.scale * from_pareto_hazard(reduced, self.concentration)

    @property
    @in_double
    def mean(self) -> Tensor:
        """Loc + scale (Gamma(1 - c) - 1) / c, infinite for c >= 1."""
        finite = self.concentration < 1
        c = torch.where(finite, self.concentration, 0.0)
        distance = from_pareto_hazard(-lgamma1p_slope(-c), c)
        return torch.where(finite, self.loc + self.scale * distance, torch.inf)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        """Scale sqrt(Gamma(1 - 2 c) - Gamma(1 - c)^2) / |c|, infinite for c >= 1/2."""
        finite = self.concentration < 0.5
        c = torch.where(finite, self.concentration, 0.0)
        relative = from_pareto_hazard(lgamma_convexity(-c), c.square()).sqrt()
        return torch.where(
            finite, self.scale * torch.exp(-c * lgamma1p_slope(-c)) * relative, torch.inf
        )

    @property
    @in_double
    def mode(self) -> Tensor:
        """Loc + scale ((1 + c)^(-c) - 1) / c, and the upper limit for c <= -1."""
        peaked = self.concentration > -1
        c = torch.where(peaked, self.concentration, 0.0)
        peak = from_pareto_hazard(-torch.log1p(c), c)
        return torch.where(peaked, self.loc + self.scale * peak, self.support_limits()[1])

    @in_double
    def entropy(self) -> Tensor:
        return self.log_scale + EULER * (1 + self.concentration) + 1


class GeneralizedExtremeValueFamily(Family):
    """The generalised extreme value family: P(Y <= y) = exp(-(1 + c z)^(-1 / c)), real y.

    Here z = (y - loc) / scale and c = concentration. Its parameters are `loc`, `scale` and
    `concentration`, shape (...,).
    """

    name = "generalized_extreme_value"
    parameters = {
        "loc": LINKS["identity"],
        "scale": LINKS["softplus"],
        "concentration": LINKS["identity"],
    }
    support = constraints.real
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "maxima of blocks"
    loss = "negative log-likelihood of block maxima"
    noise = (
        "The largest of many values, such as the highest flood of a year: whatever the values are, "
        "their maxima tend to this distribution."
    )
    density = (
        "p(y) = t^(1 + c) exp(-t) / scale, t = (1 + c (y - loc) / scale)^(-1 / c), "
        "c = concentration"
    )
    breaks = (
        "The concentration decides how far extremes reach, and a few dozen maxima hardly determine "
        "it. Targets beyond the limit loc - scale / c have no density. Below c = -1 the likelihood "
        "has no maximum. Minima have to be negated."
    )
    remedy = (
        "Share the concentration between rows (shared=('concentration',)), or fix it at 0 for "
        "Gumbel's distribution. generalized_pareto for all exceedances of a threshold."
    )

    def make(self, **parameters: Tensor) -> GeneralizedExtremeValue:
        return GeneralizedExtremeValue(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # by L-moments (Hosking, Wallis and Wood 1985), of Gumbel's distribution where a target
        # would lie beyond the limit
        mean, spread, skewness = l_moments(y)
        spread = with_min_scale(spread, y)
        excess = 2 / (3 + skewness / spread) - math.log(2) / math.log(3)
        c = -(7.8590 * excess + 2.9554 * excess.square()).clamp(-0.5, 0.4)
        loc, scale = _with_l_moments(mean, spread, c)
        inside = (1 + c * (y - loc) / scale > 0.01).all(0)
        c = torch.where(inside, c, 0.0)
        loc, scale = _with_l_moments(mean, spread, c)
        return {"loc": loc, "scale": scale, "concentration": c}


def _with_l_moments(mean: Tensor, spread: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The location and scale of the distribution with these first two L-moments."""
    half_mean_difference = from_pareto_hazard(torch.full_like(c, math.log(2)), c)
    scale = spread * torch.exp(c * lgamma1p_slope(-c)) / half_mean_difference
    return mean - scale * from_pareto_hazard(-lgamma1p_slope(-c), c), scale
