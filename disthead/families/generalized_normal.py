"""The generalised normal distribution: symmetric noise from Laplace over normal to uniform."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.distributions.location_scale import Symmetric, divergence_between_kinks
from disthead.distributions.univariate import in_double, with_min_scale
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import betainc, gammainc, gammaincc, gammaincinv, log_gammaincc
from disthead.special.fast import Positive, digamma_remainder, gamma_remainder
from disthead.special.stirling import lgamma1p

__all__ = ["GeneralizedNormal", "GeneralizedNormalFamily"]

_LARGE = 1e300
_LOG_LARGE = 690.0  # of a number whose square root can still be squared


class GeneralizedNormal(Symmetric):
    """Generalised normal distribution with density b exp(-|z|^b) / (2 scale Gamma(1 / b)), real y.

    Here z = (y - loc) / scale and b = power. Power 1 is the Laplace distribution, power 2 the
    normal one with the standard deviation scale / sqrt(2), and large powers approach the uniform
    distribution on loc +- scale. Source: Nadarajah 2005, A generalized normal distribution.

    Args:
        loc: mean, median and mode, shape (...,).
        scale: shape (...,), positive, in the units of y.
        power: b, shape (...,), positive.
        log_scale: log(scale); the scale, its logarithm or both are given.
        log_power: log(b); b, its logarithm or both are given.

    >>> GeneralizedNormal(0.0, 2**0.5, 2.0).log_prob(torch.tensor(1.0))
    tensor(-1.4189)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "power": constraints.positive,
    }

    def __init__(self, loc, scale=None, power=None, *, log_scale=None, log_power=None):
        self._set_parameters(
            loc=loc, scale=scale, power=power, log_scale=log_scale, log_power=log_power
        )

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, loc: Tensor, scale: Positive, power: Positive
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc, log(scale) and log(power).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z, a = (y - loc) / scale.value, 1 / power.value
        distance = abs(z)
        at_loc = distance == 0
        distance = torch.where(at_loc, 1.0, distance)
        log_raised = power.value * torch.log(distance)
        raised = torch.where(at_loc, 0.0, torch.exp(log_raised))
        w = a + 0.5
        log_w = torch.log(w)
        value = -raised - scale.log - (math.log(2) + HALF_LOG_TWO_PI)
        value -= gamma_remainder(a) + w * (log_w - 1)
        slope = power.value * raised
        by_power = a * (digamma_remainder(a) + log_w) - raised * log_raised
        return value, slope * torch.sign(z) / (distance * scale.value), slope - 1, by_power

    def _power(self, distance: Tensor) -> Tensor:
        """The power |z|^b, bounded by exp(_LOG_LARGE)."""
        at_loc = distance == 0
        log_raised = self.power * torch.where(at_loc, 1.0, distance).log()
        return torch.where(at_loc, 0.0, log_raised.clamp(max=_LOG_LARGE).exp())

    def _log_density(self, z: Tensor) -> Tensor:
        distance = torch.where(z < 0, -z, z)
        at_loc = distance == 0
        raised = (self.power * torch.where(at_loc, 1.0, distance).log()).exp()
        return -torch.where(at_loc, 0.0, raised) - lgamma1p(1 / self.power) - math.log(2)

    def _log_tail(self, distance: Tensor) -> Tensor:
        a, at_loc = 1 / self.power, distance == 0
        tail = log_gammaincc(a, self._power(torch.where(at_loc, 1.0, distance)))
        # at loc the power may have no slope, where the tail has one
        near = torch.log1p(-torch.where(at_loc, distance, 0.0) * torch.exp(-lgamma1p(a)))
        tail = torch.where(at_loc, near, tail) - math.log(2)
        return torch.where(distance == torch.inf, -torch.inf, tail)

    def _tail_quantile(self, tail: Tensor) -> Tensor:
        a, p = 1 / self.power, 1 - 2 * tail
        # For small x = |z|^b, P(a, x) = x^a / Gamma(1 + a); they underflow where a is small.
        at_loc = p <= 0
        p = torch.where(at_loc, 0.5, p)
        log_small = p.log() + lgamma1p(a)
        small = log_small < -_LOG_LARGE * a
        raised = gammaincinv(a, torch.where(small, 0.5, p), torch.where(small, 0.5, 2 * tail))
        distance = torch.exp(torch.where(small, log_small, a * raised.log()))
        return torch.where(at_loc, 0.0, distance)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self._moment(2.0)

    @property
    @in_double
    def stddev(self) -> Tensor:
        return self._moment(2.0).sqrt()

    def _moment(self, order: float) -> Tensor:
        """E|Y - loc|^order = scale^order Gamma((order + 1) / b) / Gamma(1 / b)."""
        a = 1 / self.power
        log_ratio = lgamma1p((order + 1) * a) - lgamma1p(a) - math.log(order + 1)
        return torch.exp(order * self.log_scale + log_ratio)

    @in_double
    def entropy(self) -> Tensor:
        """The entropy 1 / b + log(2 scale Gamma(1 + 1 / b)), in nats."""
        a = 1 / self.power
        return a + math.log(2) + self.log_scale + lgamma1p(a)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        scale |z| P(a, x) + m (Q(2 a, x) - I(a, 2 a)) for a = 1 / b, x = |z|^b and m = E|Y - loc|,
        where P and Q are the regularised incomplete gamma functions and I the regularised
        incomplete beta function at 1/2: E min(|Z|, |Z'|) is that of a gamma variable times a power
        of a beta variable.
        """
        a, distance = 1 / self.power, self._standardised(y).abs()
        raised = self._power(distance)
        near = self.scale * distance * gammainc(a, raised)
        half = betainc(a, 2 * a, torch.full_like(a, 0.5))
        mean_distance = self._moment(1.0).clamp(max=_LARGE)  # finite for powers near 0, too
        return near + mean_distance * (gammaincc(2 * a, raised) - half)


@register_kl(GeneralizedNormal, GeneralizedNormal)
@in_double
def _kl_generalized_normal(p: GeneralizedNormal, q: GeneralizedNormal) -> Tensor:
    """By quadrature on each side of both locations, where the densities may have a spike."""
    return divergence_between_kinks(p, q, torch.stack(torch.broadcast_tensors(p.loc, q.loc)))


class GeneralizedNormalFamily(Family):
    """The generalised normal family: p(y) = b exp(-|z|^b) / (2 scale Gamma(1 / b)) for real y.

    Here z = (y - loc) / scale and b = power. The parameters are `loc`, `scale` and `power`, shape
    (...,).
    """

    name = "generalized_normal"
    parameters = {
        "loc": LINKS["identity"],
        "scale": LINKS["softplus"],
        "power": LINKS["softplus"],
    }
    support = constraints.real
    fast_range = {"scale": (1e-6, 1e6), "power": (0.05, 8.0)}
    distribution_class = GeneralizedNormal
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "regression"
    loss = "power of the absolute error: |z|^power"
    noise = (
        "Symmetric, additive noise; power says how fast its tails fall: 1 as Laplace's, 2 as the "
        "normal distribution's, faster for rounding errors and other bounded noise."
    )
    density = "p(y) = b exp(-|z|^b) / (2 scale Gamma(1 / b)), z = (y - loc) / scale, b = power"
    breaks = (
        "Below power 1 the density has a spike at loc, where gradients have no bound. Tails that "
        "fall as a power of y are underestimated."
    )
    remedy = (
        "student_t or cauchy for heavy tails, normal or laplace where the power is known, mixture "
        "for several peaks."
    )

    def make(self, **parameters: Tensor) -> GeneralizedNormal:
        return GeneralizedNormal(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc = y.median(0).values
        distance = (y - loc).abs()
        # E|Z|^2 / (E|Z|)^2 of Laplace is 2, of the normal distribution pi / 2: a rough inverse.
        mean = distance.mean(0)
        square = (distance / with_min_scale(mean, y)).square().mean(0)
        power = (2 / (square - 0.57).clamp(min=0.25)).clamp(0.7, 6.0)
        scale = mean * torch.exp(lgamma1p(1 / power) - lgamma1p(2 / power) + math.log(2))
        return {"loc": loc, "scale": with_min_scale(scale, y), "power": power}
