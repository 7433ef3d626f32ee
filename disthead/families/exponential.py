"""The exponential distribution: waiting times of events with a constant hazard."""

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import positive, tensors, with_fused_loss
from disthead.distributions.closed_forms import closed_form, quantile
from disthead.distributions.continuous import Continuous
from disthead.distributions.standard import Standard
from disthead.distributions.univariate import in_double, product
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import deviance
from disthead.special.eager import are_plain_numbers, by_numpy
from disthead.special.fast import Positive
from disthead.special.incomplete_gamma import log1mexp
from disthead.special.numeric import mend

__all__ = ["Exponential", "ExponentialFamily"]


class Exponential(Continuous):
    """Exponential distribution with density rate exp(-rate y) for y >= 0.

    Source: Johnson, Kotz and Balakrishnan 1994, Continuous Univariate Distributions, volume 1,
    chapter 19.

    Args:
        rate: one over the mean, shape (...,), positive, in units of 1 / y.
        log_rate: log(rate); the rate, its logarithm or both are given.
        exposure: how much is at risk in each row, shape (...,), positive; it multiplies the rate.

    >>> Exponential(2.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"rate": constraints.positive, "exposure": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, rate=None, *, log_rate=None, exposure=None):
        rate, log_rate, exposure = tensors(rate, log_rate, exposure)
        rate, log_rate = positive(rate, log_rate)
        if exposure is not None:
            rate, log_rate = rate * exposure, log_rate + exposure.log()
        self._store(rate=rate, log_rate=log_rate)

    def _standardised(self, y: Tensor) -> Tensor:
        """The product rate * y, and 0 for negative y."""
        return product(y.clamp(min=0), self.rate, self.log_rate)

    @staticmethod
    def log_prob_and_grad(y: Tensor, rate: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivative by log(rate).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = rate.value * y
        return rate.log - z, 1 - z

    @with_fused_loss
    @in_double  # terms of the gradient, 1 / rate - y, cancel
    def log_prob(self, y: Tensor) -> Tensor:
        return torch.where(y >= 0, self.log_rate - self._standardised(y), -torch.inf)

    @closed_form("exponential_cdf", "rate")
    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return -torch.expm1(-self._standardised(y))

    @closed_form("exponential_log_cdf", "rate")
    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        z = self._standardised(y)
        inside = ~(z <= 0)
        return torch.where(inside, log1mexp(-torch.where(inside, z, 1.0)), -torch.inf)

    @closed_form("exponential_log_survival", "rate")
    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return -self._standardised(y)

    @quantile("exponential_icdf", "rate")
    def icdf(self, q: Tensor) -> Tensor:
        return super().icdf(q)

    def _standard(self) -> Standard:
        zero = torch.zeros_like(self.rate)
        return Standard(
            zero, zero, 1 / self.rate, lambda shape: Exponential(torch.ones_like(shape))
        )

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return minus_log(below, above) / self.rate

    @property
    @in_double
    def mean(self) -> Tensor:
        return 1 / self.rate

    stddev = mean

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.rate**-2

    @property
    def mode(self) -> Tensor:
        return torch.zeros_like(self.rate)

    @torch.no_grad()
    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        """The interval that starts at 0, where the density is highest."""
        outside = self._constant(1 - level)
        return torch.zeros_like(self.rate), self._inverse(1 - outside, outside)

    def entropy(self) -> Tensor:
        return 1 - self.log_rate

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score |y| - (2 F(y) - 1/2) / rate, in the units of y.

        Source: Jordan, Krueger and Lerch 2019.
        """
        return y.abs() + (2 * torch.expm1(-self._standardised(y)) + 0.5) / self.rate


def minus_log(below: Tensor, above: Tensor) -> Tensor:
    """The value of -log(above), also where above is next to 1.

    Args:
        below: a probability, shape (...); it is exact where it is small.
        above: 1 - below, which is exact where it is small.
    """
    if are_plain_numbers(below, above):
        return mend(
            by_numpy("log1p", -below).neg_(),
            below.detach().numpy() > 0.999,
            lambda above: -above.log(),
            above,
        )
    low = below < above
    return -torch.where(
        low, torch.log1p(-torch.where(low, below, 0.5)), torch.where(low, 0.5, above).log()
    )


@register_kl(Exponential, Exponential)
@in_double
def _kl_exponential(p: Exponential, q: Exponential) -> Tensor:
    """The divergence log(p.rate / q.rate) + q.rate / p.rate - 1."""
    return deviance(torch.ones_like(p.rate), q.rate / p.rate)


class ExponentialFamily(Family):
    """The family of exponential distributions: p(y) = rate exp(-rate y) for y >= 0.

    Its parameter is `rate`, shape (...,); each row may have an exposure, which multiplies it.
    """

    name = "exponential"
    figure_row = 4
    parameters = {"rate": LINKS["softplus"]}
    support = constraints.nonnegative
    fast_range = {"rate": (1e-6, 1e6)}
    row_constants = {"exposure": constraints.positive}
    distribution_class = Exponential
    data_type = "univariate, continuous, bounded below"
    domain = "y >= 0"
    use = "magnitudes"
    loss = "y / mean + log mean"
    noise = (
        "Waiting time for an event that is equally likely at every moment: the standard deviation "
        "equals the mean."
    )
    density = "p(y) = rate exp(-rate y)"
    breaks = (
        "One parameter sets both mean and standard deviation, so the intervals are wrong wherever "
        "these differ."
    )
    remedy = "gamma or weibull, which have a shape of their own; log_normal for heavy tails."

    def make(self, **parameters: Tensor) -> Exponential:
        return Exponential(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        limits = torch.finfo(y.dtype)
        mean = y.mean(0)
        return {"rate": 1 / torch.where(mean > 0, mean, 1.0).clamp(2 / limits.max, limits.max)}
