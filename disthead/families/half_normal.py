"""The half-normal distribution: the size of a normal error, whatever its sign."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double, ratio
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import log_ndtr
from disthead.special.fast import Positive
from disthead.special.plain import erf, ndtri

__all__ = ["HalfNormal", "HalfNormalFamily"]

_LOG_HEIGHT = 0.5 * math.log(2 / math.pi)  # of the density at 0, at scale 1


class HalfNormal(Continuous):
    """Half-normal distribution with density sqrt(2 / pi) exp(-z^2 / 2) / scale for y >= 0.

    Here z = y / scale; |X| has this distribution for a normal X with mean 0 and standard deviation
    scale. Source: Johnson, Kotz and Balakrishnan 1994, Continuous Univariate Distributions, volume
    1, chapter 13.

    Args:
        scale: shape (...,), positive, in the units of y; the mean is sqrt(2 / pi) times as large.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> HalfNormal(2.0).mean
    tensor(1.5958)
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, scale=None, *, log_scale=None):
        self._set_parameters(scale=scale, log_scale=log_scale)

    def _standardised(self, y: Tensor) -> Tensor:
        return ratio(y.clamp(min=0), self.scale, self.log_scale)

    @staticmethod
    def log_prob_and_grad(y: Tensor, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivative by log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = y / scale.value
        square = z * z
        return _LOG_HEIGHT - scale.log - 0.5 * square, square - 1

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        value = _LOG_HEIGHT - self.log_scale - 0.5 * self._standardised(y).square()
        return torch.where(y >= 0, value, -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return erf(self._standardised(y) / math.sqrt(2))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        z = self._standardised(y)
        inside, far = ~(z <= 0), z > 1
        near = torch.where(inside & ~far, z, 1.0)
        beyond = 2 * torch.exp(log_ndtr(-torch.where(far, z, 1.0)))
        value = torch.where(far, torch.log1p(-beyond), erf(near / math.sqrt(2)).log())
        return torch.where(inside, value, -torch.inf)

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return torch.where(y > 0, math.log(2) + log_ndtr(-self._standardised(y)), 0.0)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        low = below < 0.5
        near = math.sqrt(2) * torch.erfinv(torch.where(low, below, 0.5))
        return self.scale * torch.where(low, near, -ndtri(0.5 * torch.where(low, 0.5, above)))

    @property
    @in_double
    def mean(self) -> Tensor:
        return math.sqrt(2 / math.pi) * self.scale

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        return math.sqrt(1 - 2 / math.pi) * self.scale

    @property
    def mode(self) -> Tensor:
        return torch.zeros_like(self.scale)

    @torch.no_grad()
    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        """The interval that starts at 0, where the density is highest."""
        outside = self._constant(1 - level)
        return torch.zeros_like(self.scale), self._inverse(1 - outside, outside)

    @in_double
    def entropy(self) -> Tensor:
        return self.log_scale + 0.5 - _LOG_HEIGHT

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        y (2 F(y) - 1) + 2 mean exp(-z^2 / 2) - 2 scale / sqrt(pi), from E|Y - y| - E|Y - Y'| / 2.
        """
        z = self._standardised(y)
        height = 2 * math.sqrt(2 / math.pi) * torch.exp(-0.5 * z.square())
        return y * (2 * erf(z / math.sqrt(2)) - 1) + self.scale * (height - 2 / math.sqrt(math.pi))


class HalfNormalFamily(Family):
    """The half-normal family: p(y) = sqrt(2 / pi) exp(-(y / scale)^2 / 2) / scale for y >= 0.

    Its parameter is `scale`, shape (...,).
    """

    name = "half_normal"
    parameters = {"scale": LINKS["softplus"]}
    support = constraints.nonnegative
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = HalfNormal
    data_type = "univariate, continuous, bounded below"
    domain = "y >= 0"
    use = "sizes of errors"
    loss = "(y / scale)^2 / 2 + log scale"
    noise = (
        "The size of a normal error around 0, such as a distance or a residual without its sign: "
        "small values are the most likely ones."
    )
    density = "p(y) = sqrt(2 / pi) exp(-(y / scale)^2 / 2) / scale"
    breaks = (
        "One parameter sets both mean and standard deviation. Large values are taken for nearly "
        "impossible, and the most likely value is always 0."
    )
    remedy = (
        "exponential for tails that fall off more slowly, gamma or weibull for a spread of its own "
        "and a peak above 0."
    )

    def make(self, **parameters: Tensor) -> HalfNormal:
        return HalfNormal(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        size = y.square().mean(0).sqrt()
        return {"scale": torch.where(size > 0, size, 1.0)}
