"""The logistic distribution: additive noise with exponential tails and a smooth, rounded peak."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from disthead.distributions.base import closed_under_affine, with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.univariate import in_double, ratio, sample_std
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special.fast import Positive

__all__ = ["Logistic", "LogisticFamily"]


class Logistic(Continuous):
    """Logistic distribution with density exp(-z) / (scale (1 + exp(-z))^2) for real y.

    Here z = (y - loc) / scale; the cdf is the sigmoid of z. Source: Johnson, Kotz and Balakrishnan
    1995, Continuous Univariate Distributions, volume 2, chapter 23.

    Args:
        loc: mean, median and mode, shape (...,).
        scale: shape (...,), positive, in the units of y; the standard deviation is pi / sqrt(3)
            times as large.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> Logistic(0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-1.3863)
    >>> Logistic(0.0, 1.0).cdf(torch.tensor(2.0))
    tensor(0.8808)
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
        odds = torch.exp(-distance)
        slope = torch.sign(z) * (1 - odds) / (1 + odds)  # tanh(z / 2)
        value = -distance - 2 * torch.log1p(odds) - scale.log
        return value, slope / scale.value, z * slope - 1

    @with_fused_loss
    def log_prob(self, y: Tensor) -> Tensor:
        return _symmetric(self._standardised(y)) - self.log_scale

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return torch.sigmoid(self._standardised(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return logsigmoid(self._standardised(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return logsigmoid(-self._standardised(y))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self.loc + self.scale * (below.log() - above.log())

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = median = mean

    @property
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(3) * self.scale

    def highest_density(self, level: float) -> Interval | Arc:
        return self.interval(level)  # symmetric about its peak

    def entropy(self) -> Tensor:
        return self.log_scale + 2

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score scale (z - 2 log(cdf(z)) - 1), in the units of y.

        Source: Jordan, Krueger and Lerch 2019.
        """
        return self.scale * (-_symmetric(self._standardised(y)) - 1)

    @closed_under_affine
    def affine(self, loc: Tensor, scale: Tensor) -> "Logistic":
        log_scale = scale.log() + self.log_scale
        return Logistic(loc + scale * self.loc, scale * self.scale, log_scale=log_scale)


def _symmetric(z: Tensor) -> Tensor:
    """The log-density at scale 1, log(cdf(z) (1 - cdf(z))) = 2 log(cdf(z)) - z."""
    return logsigmoid(z) + logsigmoid(-z)


class LogisticFamily(Family):
    """The logistic family: p(y) = exp(-z) / (scale (1 + exp(-z))^2), z = (y - loc) / scale, real y.

    Its parameters are `loc` and `scale`, shape (...,).
    """

    name = "logistic"
    parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"]}
    support = constraints.real
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = Logistic
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "robust regression"
    loss = "log-cosh error: 2 log cosh(z / 2)"
    noise = (
        "Symmetric, additive noise, smooth near its mean as a normal is, whose large deviations "
        "fall off exponentially."
    )
    density = "p(y) = exp(-z) / (scale (1 + exp(-z))^2), z = (y - loc) / scale"
    breaks = (
        "Gross outliers still count in proportion to their distance. Skewed or bounded targets get "
        "mass where none can be."
    )
    remedy = (
        "student_t when outliers are extreme, normal when the tails are light, log_normal or gamma "
        "for positive targets."
    )

    def make(self, **parameters: Tensor) -> Logistic:
        return Logistic(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return {"loc": y.median(0).values, "scale": sample_std(y) * math.sqrt(3) / math.pi}
