"""The Laplace distribution: additive noise with exponential tails, and the mean absolute error."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import closed_under_affine, with_fused_loss
from disthead.distributions.closed_forms import closed_form, quantile
from disthead.distributions.continuous import Continuous
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.standard import Standard
from disthead.distributions.univariate import in_double, ratio, with_min_scale
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import deviance, expm1mx
from disthead.special.fast import Positive

__all__ = ["Laplace", "LaplaceFamily"]


class Laplace(Continuous):
    """Laplace distribution with density exp(-|z|) / (2 scale), z = (y - loc) / scale, for real y.

    Source: Johnson, Kotz and Balakrishnan 1995, Continuous Univariate Distributions, volume 2,
    chapter 24.

    Args:
        loc: mean, median and mode, shape (...,).
        scale: mean absolute deviation, shape (...,), positive, in the units of y.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> Laplace(0.0, 1.0).log_prob(torch.tensor(-2.0))
    tensor(-2.6931)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc, scale=None, *, log_scale=None):
        self._set_parameters(loc=loc, scale=scale, log_scale=log_scale)

    def _standardised(self, y: Tensor) -> Tensor:
        return ratio(y - self.loc, self.scale, self.log_scale)

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Tensor, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = (y - loc) / scale.value
        distance = abs(z)
        return -math.log(2) - scale.log - distance, torch.sign(z) / scale.value, distance - 1

    @with_fused_loss
    def log_prob(self, y: Tensor) -> Tensor:
        return -self._standardised(y).abs() - self.log_scale - math.log(2)

    @closed_form("laplace_cdf", "loc", "scale")
    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        z = self._standardised(y)
        tail = 0.5 * torch.exp(torch.where(z < 0, z, -z))  # abs has no slope at 0, the cdf does
        return torch.where(z < 0, tail, 1 - tail)

    @closed_form("laplace_log_cdf", "loc", "scale")
    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return _log_cdf(self._standardised(y))

    @closed_form("laplace_log_survival", "loc", "scale")
    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return _log_cdf(-self._standardised(y))

    @quantile("laplace_icdf", "loc", "scale")
    def icdf(self, q: Tensor) -> Tensor:
        return super().icdf(q)

    def _standard(self) -> Standard:
        return Standard(
            torch.zeros_like(self.loc),
            self.loc,
            self.scale,
            lambda shape: Laplace(torch.zeros_like(shape), 1.0),
        )

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        left = below <= above  # minimum has no slope where both are alike
        z = torch.log(2 * torch.where(left, below, above))
        return self.loc + self.scale * torch.where(left, z, -z)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = median = mean

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.square()

    @property
    def stddev(self) -> Tensor:
        return math.sqrt(2) * self.scale

    def highest_density(self, level: float) -> Interval | Arc:
        return self.interval(level)  # symmetric about its peak

    def entropy(self) -> Tensor:
        return 1 + math.log(2) + self.log_scale

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score scale (|z| + exp(-|z|) - 3/4), in the units of y.

        Source: Jordan, Krueger and Lerch 2019.
        """
        distance = self._standardised(y).abs()
        return self.scale * (distance + torch.exp(-distance) - 0.75)

    @closed_under_affine
    def affine(self, loc: Tensor, scale: Tensor) -> "Laplace":
        return Laplace(
            loc + scale * self.loc, scale * self.scale, log_scale=scale.log() + self.log_scale
        )


def _log_cdf(z: Tensor) -> Tensor:
    left = z < 0
    return torch.where(
        left, z - math.log(2), torch.log1p(-0.5 * torch.exp(-torch.where(left, 0.0, z)))
    )


@register_kl(Laplace, Laplace)
@in_double
def _kl_laplace(p: Laplace, q: Laplace) -> Tensor:
    """log(q.scale / p.scale) + (p.scale exp(-d / p.scale) + d) / q.scale - 1.

    Here d = |p.loc - q.loc|.
    """
    distance = (p.loc - q.loc).abs()
    shift = expm1mx(-ratio(distance, p.scale, p.log_scale)) * p.scale / q.scale
    return shift + deviance(torch.ones_like(p.scale), p.scale / q.scale)


class LaplaceFamily(Family):
    """The Laplace family: p(y) = exp(-|y - loc| / scale) / (2 scale) for real y.

    Its parameters are `loc` and `scale`, shape (...,).
    """

    name = "laplace"
    figure_row = 2
    parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"]}
    support = constraints.real
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = Laplace
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "robust regression"
    loss = "mean absolute error"
    noise = (
        "Symmetric, additive noise where large deviations are more common than the normal has "
        "them: exponential tails."
    )
    density = "p(y) = exp(-|y - loc| / scale) / (2 scale)"
    breaks = (
        "Gross outliers still count in proportion to their distance. The sharp peak at loc fits "
        "smooth bulk poorly."
    )
    remedy = (
        "student_t when outliers are extreme, normal when the bulk is smooth and the tails are "
        "light."
    )

    def make(self, **parameters: Tensor) -> Laplace:
        return Laplace(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc = y.median(0).values
        return {"loc": loc, "scale": with_min_scale((y - loc).abs().mean(0), y)}
