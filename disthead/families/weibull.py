"""The Weibull distribution: lifetimes whose hazard grows or falls as a power of age."""

import functools
import math

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import with_fused_loss
from disthead.distributions.closed_forms import closed_form, quantile
from disthead.distributions.continuous import Continuous
from disthead.distributions.standard import Standard
from disthead.distributions.univariate import in_double
from disthead.families.exponential import minus_log
from disthead.families.family import Family
from disthead.families.gamma import GammaFamily
from disthead.links import LINKS
from disthead.special import expm1mx, log_gammainc
from disthead.special.fast import Positive
from disthead.special.gamma_moments import lgamma_convexity
from disthead.special.incomplete_gamma import log1mexp
from disthead.special.inverse import newton_from_left
from disthead.special.numeric import by_rows
from disthead.special.stirling import EULER

__all__ = ["Weibull", "WeibullFamily"]


class Weibull(Continuous):
    """Weibull distribution with density (k / scale) (y / scale)^(k - 1) exp(-(y / scale)^k), y > 0.

    Here k = concentration; the survival function is exp(-(y / scale)^k). Source: Johnson, Kotz and
    Balakrishnan 1994, Continuous Univariate Distributions, volume 1, chapter 21.

    Args:
        scale: the 63 % quantile, shape (...,), positive, in the units of y.
        concentration: k, shape (...,), positive: 1 is the exponential distribution, above 1 the
            hazard increases with y.
        log_scale: log(scale); the scale, its logarithm or both are given.
        log_concentration: log(k); k, log(k) or both are given.

    >>> Weibull(2.0, 1.0).mean
    tensor(2.)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale=None, concentration=None, *, log_scale=None, log_concentration=None):
        self._set_parameters(
            scale=scale,
            concentration=concentration,
            log_scale=log_scale,
            log_concentration=log_concentration,
        )

    def _log_hazard(self, y: Tensor) -> Tensor:
        """The log of the cumulative hazard, exact for y next to the scale; -inf for y <= 0."""
        inside = ~(y <= 0)
        y = torch.where(inside, y, self.scale)
        near = (y - self.scale).abs() < 0.5 * self.scale
        close = _log_of_near(torch.where(near, y, self.scale), self.scale)
        log_ratio = torch.where(near, close, y.log() - self.log_scale)
        return torch.where(inside, self.concentration * log_ratio, -torch.inf)

    def _hazard(self, y: Tensor) -> Tensor:
        return self._log_hazard(y).clamp(max=60).exp()  # exp(-exp(60)) is zero

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, scale: Positive, concentration: Positive
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(scale) and log(concentration).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        log_hazard = concentration.value * torch.log(y / scale.value)
        hazard = torch.exp(log_hazard)
        value = concentration.log + log_hazard - torch.log(y) - hazard
        return value, concentration.value * (hazard - 1), 1 + log_hazard * (1 - hazard)

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y > 0) & (y < torch.inf)
        y = torch.where(inside, y, self.scale)
        log_hazard = self._log_hazard(y)
        value = self.log_concentration + log_hazard - y.log() - log_hazard.exp()
        return torch.where(inside, value, -torch.inf)

    @closed_form("weibull_cdf", "scale", "concentration")
    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return -torch.expm1(-self._hazard(y))

    @closed_form("weibull_log_cdf", "scale", "concentration")
    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        log_hazard = self._log_hazard(y)
        early = log_hazard < -30  # exp(-30) is the relative error of 1 - exp(-h) = h
        hazard = torch.where(early, 0.0, log_hazard).clamp(max=60).exp()
        return torch.where(
            early, log_hazard - 0.5 * log_hazard.clamp(max=0).exp(), log1mexp(-hazard)
        )

    @closed_form("weibull_log_survival", "scale", "concentration")
    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return -self._log_hazard(y).exp()

    @quantile("weibull_icdf", "scale", "concentration")
    def icdf(self, q: Tensor) -> Tensor:
        return super().icdf(q)

    def _standard(self) -> Standard:
        return Standard(
            self.log_concentration,
            torch.zeros_like(self.scale),
            self.scale,
            lambda shape: Weibull(1.0, log_concentration=shape),
        )

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self.scale * torch.exp(minus_log(below, above).log() / self.concentration)

    @property
    @in_double
    def mean(self) -> Tensor:
        return torch.exp(self.log_scale + torch.lgamma(1 + 1 / self.concentration))

    @property
    @in_double
    def mode(self) -> Tensor:
        peaked = self.concentration > 1
        shape = torch.where(peaked, self.concentration, 2.0)
        return torch.where(peaked, self.scale * torch.exp(torch.log1p(-1 / shape) / shape), 0.0)

    @torch.no_grad()
    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        return by_rows(functools.partial(_shortest, level), self.scale, self.concentration)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self._log_variance().exp()

    @property
    @in_double
    def stddev(self) -> Tensor:
        return (0.5 * self._log_variance()).exp()

    def _log_variance(self) -> Tensor:
        """2 log(scale) + log(Gamma(1 + 2 / k) - Gamma(1 + 1 / k)^2), k = concentration."""
        power = 1 / self.concentration
        log_square = 2 * torch.lgamma(1 + power)
        # the square of a larger number may overflow, and so does the variance
        power = power.clamp(max=1e100)
        log_ratio = power.square() * lgamma_convexity(power)
        return 2 * self.log_scale + log_square + torch.log(torch.expm1(log_ratio))

    @in_double
    def entropy(self) -> Tensor:
        return EULER * (1 - 1 / self.concentration) + self.log_scale - self.log_concentration + 1

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y.

        y (1 - 2 exp(-h)) + mean (2^(-1 / k) - 2 P(1 + 1 / k, h)), where h = (y / scale)^k, k =
        concentration, and P is the regularised incomplete gamma function; min(Y, Y') is Weibull,
        too.
        """
        hazard = self._hazard(y)
        power = 1 / self.concentration
        log_mean = self.log_scale + torch.lgamma(1 + power)
        taken = torch.exp(log_mean + log_gammainc(1 + power, hazard))
        return (
            y * (1 - 2 * torch.exp(-hazard)) + torch.exp(log_mean - power * math.log(2)) - 2 * taken
        )


def _shortest(level: float, scale: Tensor, concentration: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the shortest interval, which starts at 0 for a concentration up to 1.

    Otherwise the densities at the ends are equal. With cumulative hazards g < h there,
    c log(h / g) = h - g for c = 1 - 1 / concentration, so that g = c t / (exp(t) - 1) for
    t = log(h / g), and h = g + c t. The logarithm of exp(-g) - exp(-h) is increasing and concave in
    t.
    """
    is_peaked = concentration > 1
    c = torch.where(is_peaked, 1 - 1 / concentration, 0.5)

    def step(t: Tensor) -> Tensor:
        g, most = c * t / torch.expm1(t), -torch.expm1(-c * t)
        slope = g / t * (g / c + t - 1) + c * (1 - most) / most
        return t + (math.log(level) + g - most.log()) / slope

    t = newton_from_left(step, -math.log1p(-level) / c)
    log_g = (c * t).log() - t - torch.log(-torch.expm1(-t))
    log_h = torch.where(is_peaked, (log_g.exp() + c * t).log(), math.log(-math.log1p(-level)))
    lower = torch.where(is_peaked, scale * torch.exp(log_g / concentration), 0.0)
    return lower, scale * torch.exp(log_h / concentration)


def _log_of_near(y: Tensor, scale: Tensor) -> Tensor:
    """log(y / scale) for y next to the scale, where the quotient loses digits."""
    return torch.log1p((y - scale) / scale)


@register_kl(Weibull, Weibull)
@in_double
def _kl_weibull(p: Weibull, q: Weibull) -> Tensor:
    """M - 1 - log(M) + log Gamma(1 + r) + gamma (r - 1) - log(r), with Euler's constant gamma.

    Here r = q.concentration / p.concentration and M = E_p[(Y / q.scale)^q.concentration].
    """
    power = q.concentration / p.concentration
    moment = torch.lgamma(1 + power)
    log_moment = q.concentration * (p.log_scale - q.log_scale) + moment
    return expm1mx(log_moment) + moment + EULER * (power - 1) - torch.log(power)


class WeibullFamily(Family):
    """The Weibull family: p(y) = (k / scale) (y / scale)^(k - 1) exp(-(y / scale)^k), y > 0.

    Its parameters are `scale` and `concentration` = k, shape (...,).
    """

    name = "weibull"
    parameters = {"scale": LINKS["softplus"], "concentration": LINKS["softplus"]}
    support = constraints.positive
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = Weibull
    least_log_std = 2e-3
    data_type = "univariate, continuous, bounded below"
    domain = "y > 0"
    use = "lifetimes and magnitudes"
    loss = "(y / scale)^k - k log(y / scale)"
    noise = (
        "Lifetimes whose hazard grows (concentration > 1) or falls (< 1) as a power of age; minima "
        "of many causes."
    )
    density = "p(y) = (k / scale) (y / scale)^(k - 1) exp(-(y / scale)^k), k = concentration"
    breaks = (
        "Tails heavier than a power of y in the exponent, and hazards that rise first and fall "
        "later."
    )
    remedy = (
        "log_normal for heavy tails or a hazard with a peak, gamma for sums of waiting times. "
        "Lives that still run are censored: the family censored takes them."
    )
    edge_remedy = GammaFamily.edge_remedy

    def make(self, **parameters: Tensor) -> Weibull:
        return Weibull(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # log y has a Gumbel distribution, with the standard deviation pi / (sqrt(6) concentration).
        # Constant targets start with a standard deviation of 0.1: logarithms have no unit to
        # compare with.
        logs = y.log()
        std = logs.std(0, correction=0)
        std = torch.where(y.amin(0) < y.amax(0), std.clamp(min=1e-6), 0.1)
        concentration = (math.pi / math.sqrt(6) / std).clamp(min=1e-3)
        return {
            "scale": torch.exp(logs.mean(0) + EULER / concentration),
            "concentration": concentration,
        }
