"""The gamma distribution: magnitudes with a standard deviation proportional to their mean."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import HALF_LOG_TWO_PI, stored, with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.standard import Standard
from disthead.distributions.univariate import in_double
from disthead.errors import unknown_name
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import (
    deviance,
    gammainc,
    gammaincinv,
    log_beta,
    log_gammainc,
    log_gammaincc,
    poisson_log_mass,
    stirling_error,
)
from disthead.special.digamma import digamma_error
from disthead.special.eager import are_plain_numbers
from disthead.special.fast import Positive, digamma_remainder, gamma_remainder
from disthead.special.numeric import mend

__all__ = ["Gamma", "GammaFamily", "MeanGamma"]


class Gamma(Continuous):
    """Gamma distribution with density rate^a y^(a - 1) exp(-rate y) / Gamma(a) for y > 0.

    Here a = concentration. Densities are computed from Stirling errors and deviances (Loader 2000),
    so that nothing cancels at large concentrations.

    Args:
        concentration: a, shape (...,), positive: 1 is the exponential distribution; below 1 the
            density has a pole at 0.
        rate: concentration / mean, shape (...,), positive, in units of 1 / y.
        log_concentration: log(a); a, log(a) or both are given.
        log_rate: log(rate); the rate, its logarithm or both are given.

    >>> Gamma(1e6, 1e3).log_prob(torch.tensor(1e3))
    tensor(-0.9189)
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

    @staticmethod
    def log_prob_and_grad(y: Tensor, concentration: Positive, rate: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(concentration) and log(rate).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        a, x = concentration.value, rate.value * y
        w = a + 0.5
        log_x = torch.log(x / w)
        value = (
            concentration.log
            + a * log_x
            + (w - x)
            - gamma_remainder(a)
            - (torch.log(y) + 0.5 * torch.log(w) + HALF_LOG_TWO_PI)
        )
        return value, a * (log_x - digamma_remainder(a)) + 1, a - x

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y > 0) & (y < torch.inf)
        y = torch.where(inside, y, 1.0)
        value = (
            poisson_log_mass(self.concentration, self.rate * y) + self.log_concentration - y.log()
        )
        return torch.where(inside, value, -torch.inf)

    def _standardised(self, y: Tensor) -> Tensor:
        return self.rate * y.clamp(min=0)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return gammainc(self.concentration, self._standardised(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return log_gammainc(self.concentration, self._standardised(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return log_gammaincc(self.concentration, self._standardised(y))

    def _standard(self) -> Standard:
        loc, scale = torch.zeros_like(self.rate), 1 / self.rate
        return Standard(
            self.log_concentration,
            loc,
            scale,
            lambda shape: Gamma(shape.exp(), 1.0, log_concentration=shape),
        )

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return gammaincinv(self.concentration, below, above) / self.rate

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    @in_double
    def mode(self) -> Tensor:
        return (self.concentration - 1).clamp(min=0) / self.rate

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.concentration / self.rate / self.rate

    @property
    @in_double
    def stddev(self) -> Tensor:
        return self.concentration.sqrt() / self.rate

    @in_double
    def entropy(self) -> Tensor:
        """The entropy a - log(rate) + log Gamma(a) + (1 - a) psi(a), in nats."""
        a = self.concentration
        if not are_plain_numbers(a):
            return _entropy(a) - self.log_rate
        return (
            mend(a + torch.lgamma(a) + (1 - a) * torch.digamma(a), a > 10, _entropy, a)
            - self.log_rate
        )

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients by implicit reparametrisation (Figurnov et al. 2018)."""
        exact = self._in_double()
        a = exact.concentration.expand(self._extended_shape(sample_shape))
        with torch.no_grad():
            log_sample = log_standard_gamma(a, generator)
            smallest = torch.finfo(self.dtype).tiny
            y = torch.exp(log_sample).clamp(min=smallest)
        standard = Gamma(exact.concentration, torch.ones_like(exact.concentration))
        return (standard._with_gradient(y) / exact.rate).to(self.dtype).clamp(min=smallest)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        (y - mean) (2 F(y) - 1) + (2 y p(y) - 1 / B(1/2, a)) / rate, after Jordan, Krueger and Lerch
        2019.
        """
        a, inside = self.concentration, y > 0
        z = torch.where(inside, self.rate * y, 1.0)
        balance = torch.where(inside, 2 * gammainc(a, z) - 1, -1.0)
        mass, half_mean_difference = _mass_and_half_mean_difference(*torch.broadcast_tensors(a, z))
        mass = torch.where(inside, mass, 0.0)
        return ((self.rate * y - a) * balance + 2 * mass - half_mean_difference) / self.rate


def _entropy(a: Tensor) -> Tensor:
    """The entropy at rate 1, from Stirling errors, so that nothing cancels where a is large."""
    return HALF_LOG_TWO_PI + 0.5 * a.log() + stirling_error(a) + (a - 1) * digamma_error(a)


def _mass_and_half_mean_difference(a: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The terms z p(z) and E|Z - Z'| / 2, for Z and Z' from a gamma distribution of rate 1."""
    if not are_plain_numbers(a, z):
        return _mass(a, z), _half_mean_difference(a)
    log_gamma, large = torch.lgamma(a), a > 100  # where terms begin to cancel
    mass = (torch.xlogy(a, z) - z - log_gamma).exp()
    half_difference = (torch.lgamma(a + 0.5) - log_gamma).exp() / math.sqrt(math.pi)
    return mend(mass, large, _mass, a, z), mend(half_difference, large, _half_mean_difference, a)


def _mass(a: Tensor, z: Tensor) -> Tensor:
    return a * poisson_log_mass(a, z).exp()


def _half_mean_difference(a: Tensor) -> Tensor:
    return torch.exp(-log_beta(torch.full_like(a, 0.5), a))


def log_standard_gamma(concentration: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The logarithm of a sample of each gamma distribution of rate 1.

    It does not underflow at small concentrations.

    Args:
        concentration: shape (...), positive.
        generator: the source of random numbers; None takes torch's global one.
    """
    boost = torch.empty_like(concentration).exponential_(generator=generator) / concentration
    # Gamma(a) is Gamma(a + 1) U^(1 / a)
    return torch._standard_gamma(concentration + 1, generator).log() - boost


class MeanGamma(Gamma):
    """Gamma distribution by its mean and its concentration, for y > 0.

    The density is that of `Gamma` with rate = concentration / mean; the variance is
    mean^2 / concentration.

    Args:
        mean: shape (...,), positive, in the units of y.
        concentration: shape (...,), positive; its inverse is the dispersion of a generalised linear
            model.
        log_mean: log(mean); the mean, its logarithm or both are given.
        log_concentration: log(concentration); the concentration, its logarithm or both are given.

    >>> MeanGamma(3.0, 2.0).variance
    tensor(4.5000)
    """

    arg_constraints = {"mean": constraints.positive, "concentration": constraints.positive}
    mean = stored()

    def __init__(self, mean=None, concentration=None, *, log_mean=None, log_concentration=None):
        self._set_parameters(
            mean=mean,
            concentration=concentration,
            log_mean=log_mean,
            log_concentration=log_concentration,
        )

    @staticmethod
    def log_prob_and_grad(y: Tensor, mean: Positive, concentration: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(mean) and log(concentration).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        value, by_concentration, by_rate = Gamma.log_prob_and_grad(
            y, concentration, concentration.over(mean)
        )
        return value, -by_rate, by_concentration + by_rate

    @property
    def rate(self) -> Tensor:
        """The ratio concentration / mean."""
        return self.concentration / self.mean

    @property
    def log_rate(self) -> Tensor:
        """The logarithm of the rate."""
        return self.log_concentration - self.log_mean


@register_kl(Gamma, Gamma)
@in_double
def _kl_gamma(p: Gamma, q: Gamma) -> Tensor:
    """A Poisson deviance of q's concentration from p's mean, plus a Stirling remainder."""
    a, b = p.concentration, q.concentration
    return deviance(b, a * (q.rate / p.rate)) + concentration_divergence(a, b)


def concentration_divergence(a: Tensor, b: Tensor) -> Tensor:
    """The difference of log Gamma(b) - log Gamma(a) - (b - a) psi(a) and b log(b / a) - b + a.

    Args:
        a: shape (...), positive.
        b: shape (...), positive.
    """
    return (
        0.5 * (a.log() - b.log())
        + stirling_error(b)
        - stirling_error(a)
        + (b - a) * digamma_error(a)
    )


class GammaFamily(Family):
    """The gamma family: p(y) = rate^a y^(a - 1) exp(-rate y) / Gamma(a) for y > 0.

    All parameters have shape (...,).

    Args:
        parametrization: "rate" for the parameters concentration = a and rate, "mean" for
            mean = a / rate and concentration.

    Raises:
        ValueError: for another parametrization.
    """

    name = "gamma"
    figure_row = 4
    support = constraints.positive
    fast_range = {"rate": (1e-6, 1e6), "mean": (1e-6, 1e6)}
    data_type = "univariate, continuous, bounded below"
    domain = "y > 0"
    use = "magnitudes"
    loss = "gamma deviance"
    noise = (
        "Positive, right-skewed magnitudes whose standard deviation is proportional to their mean, "
        "such as costs, rain or waiting times."
    )
    density = "p(y) = rate^a y^(a - 1) exp(-rate y) / Gamma(a), a = concentration = mean * rate"
    breaks = "Zeros are impossible. Tails heavier than exponential are underestimated."
    remedy = (
        "log_normal for heavy tails, weibull for lifetimes; where there are zeros, hurdle: see at "
        "the edge."
    )
    edge_remedy = (
        "A target of exactly 0 has the density zero or infinity. Where zero is an outcome of its "
        "own (no claim, no rain), take hurdle with this base. Where it stands for 'too small to "
        "measure', add a stated amount, such as half the smallest positive value."
    )

    def __init__(self, parametrization: str = "rate"):
        if parametrization not in ("rate", "mean"):
            raise unknown_name("parametrization", parametrization, ["rate", "mean"])
        self.parametrization = parametrization
        self.distribution_class = MeanGamma if parametrization == "mean" else Gamma
        names = (
            ("mean", "concentration") if parametrization == "mean" else ("concentration", "rate")
        )
        self.parameters = dict.fromkeys(names, LINKS["softplus"])

    def make(self, **parameters: Tensor) -> Gamma:
        return MeanGamma(**parameters) if self.parametrization == "mean" else Gamma(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # log(mean) - mean of logs is about 1 / (2 a); the rational form is within 2 % (Minka 2002)
        mean = y.mean(0)
        gap = (mean.log() - y.log().mean(0)).clamp(min=1e-10)
        concentration = (3 - gap + ((gap - 3).square() + 24 * gap).sqrt()) / (12 * gap)
        if self.parametrization == "mean":
            return {"mean": mean, "concentration": concentration}
        return {"concentration": concentration, "rate": concentration / mean}
