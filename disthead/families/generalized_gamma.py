"""The generalised gamma distribution: powers of gamma variables, gamma and Weibull among them."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import HALF_LOG_TWO_PI, with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.families.gamma import Gamma, GammaFamily
from disthead.links import LINKS
from disthead.special import (
    betainc,
    gammainc,
    gammaincinv,
    log_gammainc,
    log_gammaincc,
    poisson_log_mass,
)
from disthead.special.digamma import digamma
from disthead.special.fast import Positive, digamma_remainder, gamma_remainder
from disthead.special.gamma_moments import log_gamma_second_difference
from disthead.special.stirling import lgamma

__all__ = ["GeneralizedGamma", "GeneralizedGammaFamily"]


class GeneralizedGamma(Continuous):
    """Generalised gamma distribution: Y = scale X^(1 / power) for a gamma variable X of rate 1.

    Its density is power x^a exp(-x) / (Gamma(a) y) for y > 0, where x = (y / scale)^power and a =
    concentration. It is the gamma distribution for power 1, the Weibull distribution for
    concentration 1, half-normal for concentration 1/2 and power 2, and tends to the log-normal
    distribution for large concentrations and small powers. Source: Stacy 1962, A generalization of
    the gamma distribution.

    Args:
        scale: shape (...,), positive, in the units of y.
        concentration: a, shape (...,), positive.
        power: shape (...,), positive, without a unit.
        log_scale, log_concentration, log_power: their logarithms; of each parameter the value, its
            logarithm or both are given.

    >>> GeneralizedGamma(2.0, 1.0, 3.0).cdf(torch.tensor(2.0))  # Weibull, 1 - 1 / e
    tensor(0.6321)
    """

    arg_constraints = dict.fromkeys(("scale", "concentration", "power"), constraints.positive)
    support = constraints.positive

    def __init__(
        self,
        scale=None,
        concentration=None,
        power=None,
        *,
        log_scale=None,
        log_concentration=None,
        log_power=None,
    ):
        self._set_parameters(
            scale=scale,
            concentration=concentration,
            power=power,
            log_scale=log_scale,
            log_concentration=log_concentration,
            log_power=log_power,
        )

    def _log_x(self, y: Tensor) -> Tensor:
        """The logarithm of x = (y / scale)^power, exact for y next to the scale."""
        near = (y - self.scale).abs() < 0.5 * self.scale
        close = torch.log1p((torch.where(near, y, self.scale) - self.scale) / self.scale)
        return self.power * torch.where(near, close, y.log() - self.log_scale)

    def _standardised(self, y: Tensor) -> Tensor:
        """The value of x, and 0 for y <= 0."""
        inside = ~(y <= 0)
        return torch.where(inside, self._log_x(torch.where(inside, y, self.scale)).exp(), 0.0)

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, scale: Positive, concentration: Positive, power: Positive
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(scale), log(concentration) and log(power).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        a, log_x = concentration.value, power.value * torch.log(y / scale.value)
        x, w = torch.exp(log_x), a + 0.5
        log_w = torch.log(w)
        value = (
            power.log
            + concentration.log
            + a * (log_x - log_w)
            + (w - x)
            - gamma_remainder(a)
            - (torch.log(y) + 0.5 * log_w + HALF_LOG_TWO_PI)
        )
        by_concentration = a * (log_x - log_w - digamma_remainder(a)) + 1
        return value, power.value * (x - a), by_concentration, 1 + log_x * (a - x)

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y > 0) & (y < torch.inf)
        y = torch.where(inside, y, self.scale)
        log_x = self._log_x(y)
        a, far = self.concentration, log_x.abs() > 690  # where x underflows or overflows
        near = poisson_log_mass(a, torch.where(far, 0.0, log_x).exp())
        beyond = a * log_x - lgamma(1 + a) - log_x.exp()
        density = torch.where(far, beyond, near)
        value = density + self.log_concentration + self.log_power - y.log()
        return torch.where(inside, value, -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return gammainc(self.concentration, self._standardised(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return log_gammainc(self.concentration, self._standardised(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return log_gammaincc(self.concentration, self._standardised(y))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        log_x = gammaincinv(self.concentration, below, above).log()
        return self.scale * torch.exp(log_x / self.power)

    def _log_relative_mean(self) -> Tensor:
        """log(mean / scale), lgamma(a + 1 / power) - lgamma(a)."""
        a, step = self.concentration, 1 / self.power
        return lgamma(a + step) - lgamma(a)

    @property
    @in_double
    def mean(self) -> Tensor:
        return torch.exp(self.log_scale + self._log_relative_mean())

    @property
    @in_double
    def mode(self) -> Tensor:
        peak = self.concentration - 1 / self.power
        peaked = peak > 0
        size = torch.where(peaked, peak, 1.0).log() / self.power
        return torch.where(peaked, self.scale * size.exp(), 0.0)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        excess = log_gamma_second_difference(self.concentration, 1 / self.power)
        return self.mean * torch.expm1(excess).sqrt()

    @in_double
    def entropy(self) -> Tensor:
        """That of a gamma variable, plus log(scale / power) + (1 / power - 1) psi(a), in nats."""
        gamma = Gamma(self.concentration, torch.ones_like(self.concentration))
        change = (1 / self.power - 1) * digamma(self.concentration)
        return gamma.entropy() + self.log_scale - self.log_power + change

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return super().rsample(sample_shape, generator).clamp(min=torch.finfo(self.dtype).tiny)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        y (2 F(y) - 1) + 2 mean (1 - P(b, x) - I(1/2; a, b)) for b = a + 1 / power, with the
        regularised incomplete gamma and beta functions P and I, from E|Y - y| - E|Y - Y'| / 2.
        """
        a, x = self.concentration, self._standardised(y)
        b = a + 1 / self.power
        half = torch.full_like(a, 0.5)
        larger = betainc(a, b, half)  # the probability that a gamma variable exceeds another
        mean = self.mean
        score = y * (2 * gammainc(a, x) - 1) + 2 * mean * (1 - gammainc(b, x) - larger)
        return torch.where(mean.isinf(), torch.inf, score)  # beyond all numbers


class GeneralizedGammaFamily(Family):
    """The generalised gamma family: p(y) = power x^a exp(-x) / (Gamma(a) y), x = (y / scale)^power.

    Its parameters are `scale`, `concentration` = a and `power`, shape (...,); y > 0.
    """

    name = "generalized_gamma"
    parameters = dict.fromkeys(("scale", "concentration", "power"), LINKS["softplus"])
    support = constraints.positive
    fast_range = {"scale": (1e-6, 1e6), "power": (1e-6, 8.0)}
    distribution_class = GeneralizedGamma
    least_log_std = 2e-3
    data_type = "univariate, continuous, bounded below"
    domain = "y > 0"
    use = "lifetimes and magnitudes of unknown shape"
    loss = "(y / scale)^power - concentration power log(y / scale)"
    noise = (
        "Lifetimes or magnitudes whose shape is not known: with two shapes it holds exponential, "
        "gamma, Weibull and half-normal noise, and log-normal noise as a limit."
    )
    density = "p(y) = power x^a exp(-x) / (Gamma(a) y), x = (y / scale)^power, a = concentration"
    breaks = (
        "Scale and shapes can make up for each other, so that hundreds of rows are needed, and "
        "the likelihood may rise towards the log-normal limit, where scale and power vanish. Tails "
        "heavier than log-normal ones, and zeros."
    )
    remedy = (
        "Share the shapes between rows (shared=('concentration', 'power')), or take the special "
        "case that fits: gamma, weibull or log_normal. log_logistic for heavier tails."
    )
    edge_remedy = GammaFamily.edge_remedy

    def make(self, **parameters: Tensor) -> GeneralizedGamma:
        return GeneralizedGamma(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        gamma = GammaFamily().initial_estimate(y)
        shape = gamma["concentration"]
        return {
            "scale": 1 / gamma["rate"],
            "concentration": shape,
            "power": torch.ones_like(shape),
        }
