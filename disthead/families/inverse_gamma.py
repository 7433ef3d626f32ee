"""The inverse gamma distribution: positive values with a heavy tail, such as unknown variances."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.tails import Indices
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.families.gamma import Gamma, GammaFamily
from disthead.links import LINKS
from disthead.special import (
    gammaincc,
    gammaincinv,
    log_beta,
    log_gammainc,
    log_gammaincc,
    poisson_log_mass,
)
from disthead.special.eager import are_concrete
from disthead.special.fast import Positive

__all__ = ["InverseGamma", "InverseGammaFamily"]


class InverseGamma(Continuous):
    """Inverse gamma distribution with density rate^a y^(-a - 1) exp(-rate / y) / Gamma(a), y > 0.

    Here a = concentration; 1 / y has a gamma distribution with these parameters. Source: Johnson,
    Kotz and Balakrishnan 1994, Continuous Univariate Distributions, volume 1, chapter 17.

    Args:
        concentration: a, shape (...,), positive: the tail falls off as y^-a, so that the mean is
            infinite up to 1 and the variance up to 2.
        rate: shape (...,), positive, in the units of y, of which it is the scale; it is named as in
            torch.distributions and Pyro, since it is the rate of 1 / y.
        log_concentration: log(a); a, log(a) or both are given.
        log_rate: log(rate); the rate, its logarithm or both are given.

    >>> InverseGamma(3.0, 4.0).mean
    tensor(2.)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive

    def __init__(self, concentration=None, rate=None, *, log_concentration=None, log_rate=None):
        self._set_parameters(
            concentration=concentration,
            rate=rate,
            log_concentration=log_concentration,
            log_rate=log_rate,
        )

    def _tail_indices(self) -> Indices:
        return math.inf, self.concentration

    @property
    def _of_inverse(self) -> Gamma:
        """The gamma distribution of 1 / y."""
        return Gamma(
            self.concentration,
            self.rate,
            log_concentration=self.log_concentration,
            log_rate=self.log_rate,
        )

    def _standardised(self, y: Tensor) -> Tensor:
        """The value of rate / y, infinite for y <= 0."""
        return torch.where(y <= 0, torch.inf, self.rate / torch.where(y <= 0, 1.0, y))

    @staticmethod
    def log_prob_and_grad(y: Tensor, concentration: Positive, rate: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(concentration) and log(rate).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        value, *slopes = Gamma.log_prob_and_grad(1 / y, concentration, rate)
        return value - 2 * torch.log(y), *slopes

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = y > 0
        y = torch.where(inside, y, 1.0)
        value = poisson_log_mass(self.concentration, self.rate / y) + self.log_concentration
        return torch.where(inside, value - y.log(), -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return gammaincc(self.concentration, self._standardised(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return log_gammaincc(self.concentration, self._standardised(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return log_gammainc(self.concentration, self._standardised(y))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self.rate / gammaincinv(self.concentration, above, below)

    @property
    @in_double
    def mean(self) -> Tensor:
        """Rate / (a - 1), infinite for a <= 1."""
        finite = self.concentration > 1
        return torch.where(
            finite, self.rate / (torch.where(finite, self.concentration, 2.0) - 1), torch.inf
        )

    @property
    @in_double
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        """Rate / ((a - 1) sqrt(a - 2)), infinite for a <= 2."""
        finite = self.concentration > 2
        a = torch.where(finite, self.concentration, 3.0)
        return torch.where(finite, self.rate / (a - 1) * (a - 2).rsqrt(), torch.inf)

    @in_double
    def entropy(self) -> Tensor:
        """The entropy a + log(rate) + log Gamma(a) - (1 + a) psi(a), in nats."""
        gamma = self._of_inverse  # -2 E[log(1 / Y)] more, by the change of variable
        return gamma.entropy() + 2 * (self.log_rate - torch.digamma(self.concentration))

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        limits = torch.finfo(self.dtype)
        inverse = self._in_double()._of_inverse.rsample(sample_shape, generator)
        return (1 / inverse).to(self.dtype).clamp(limits.tiny, limits.max)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        y (2 F(y) - 1) + mean (1 - 2 Q(a - 1, rate / y) - B(1/2, a - 1/2) / pi) for a > 1, with the
        regularised incomplete gamma function Q, from E|Y - y| - E|Y - Y'| / 2; by quadrature up to
        a = 1, where the mean is infinite; infinite up to a = 1/2.
        """
        finite = self.concentration > 1.05  # closer to 1 terms cancel
        if are_concrete(finite) and bool(finite.all()):
            return self._crps_of_finite_mean(y)
        safe = InverseGamma(torch.where(finite, self.concentration, 2.0), self.rate)
        score = torch.where(finite, safe._crps_of_finite_mean(y), super().crps(y))
        return torch.where(self.concentration > 0.5, score, torch.inf)

    def _crps_of_finite_mean(self, y: Tensor) -> Tensor:
        a, inverse = self.concentration, self._standardised(y)
        below, taken = gammaincc(a, inverse), gammaincc(a - 1, inverse)
        half = torch.full_like(a, 0.5)
        difference = torch.exp(log_beta(half, a - 0.5)) / math.pi
        return y * (2 * below - 1) + self.mean * (1 - 2 * taken - difference)


@register_kl(InverseGamma, InverseGamma)
def _kl_inverse_gamma(p: InverseGamma, q: InverseGamma) -> Tensor:
    """The divergence of the gamma distributions of the inverses, which is the same."""
    return torch.distributions.kl_divergence(p._of_inverse, q._of_inverse)


class InverseGammaFamily(Family):
    """The inverse gamma family: p(y) = rate^a y^(-a - 1) exp(-rate / y) / Gamma(a), y > 0.

    Its parameters are `concentration` = a and `rate`, shape (...,).
    """

    name = "inverse_gamma"
    parameters = {"concentration": LINKS["softplus"], "rate": LINKS["softplus"]}
    support = constraints.positive
    fast_range = {"rate": (1e-6, 1e6)}
    distribution_class = InverseGamma
    least_log_std = 2e-3
    data_type = "univariate, continuous, bounded below"
    domain = "y > 0"
    use = "variances and waiting times with a heavy tail"
    loss = "gamma deviance of 1 / y"
    noise = (
        "Positive values whose inverse is a gamma variable, such as the variance of a normal "
        "sample of unknown precision: hardly any value near 0, and some far larger than the rest."
    )
    density = "p(y) = rate^a y^(-a - 1) exp(-rate / y) / Gamma(a), a = concentration"
    breaks = (
        "The tail is heavy: up to a concentration of 1 the mean is infinite, up to 2 the variance. "
        "Small values are nearly impossible, zeros are."
    )
    remedy = (
        "gamma or log_normal for lighter tails and smaller values, log_logistic for a heavy tail "
        "on the side of small values, too."
    )
    edge_remedy = GammaFamily.edge_remedy

    def make(self, **parameters: Tensor) -> InverseGamma:
        return InverseGamma(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return GammaFamily().initial_estimate(1 / y)
