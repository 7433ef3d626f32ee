"""The Gumbel distribution: maxima of many values, whose upper tail is the heavier one."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.location_scale import LocationScale
from disthead.distributions.univariate import in_double, sample_std
from disthead.families.exponential import minus_log
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import integrate
from disthead.special.fast import Positive
from disthead.special.incomplete_gamma import log1mexp
from disthead.special.stirling import EULER

__all__ = ["Gumbel", "GumbelFamily"]

_FAR = 40.0  # exp(-_FAR) is below the rounding of one


class Gumbel(LocationScale):
    """Gumbel distribution with density exp(-z - exp(-z)) / scale, z = (y - loc) / scale, real y.

    The cdf is exp(-exp(-z)); this is the distribution of maxima. Source: Johnson, Kotz and
    Balakrishnan 1995, Continuous Univariate Distributions, volume 2, chapter 22.

    Args:
        loc: mode, shape (...,).
        scale: shape (...,), positive, in the units of y; the standard deviation is pi / sqrt(6)
            times as large.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    >>> Gumbel(0.0, 1.0).cdf(torch.tensor(1.0))
    tensor(0.6922)
    """

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Tensor, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = (y - loc) / scale.value
        odds = torch.exp(-z)
        slope = 1 - odds
        return -z - odds - scale.log, slope / scale.value, z * slope - 1

    def _log_density(self, z: Tensor) -> Tensor:
        return -z - torch.exp(-z)

    def _log_lower(self, z: Tensor) -> Tensor:
        return -torch.exp(-z)

    def _log_upper(self, z: Tensor) -> Tensor:
        far = z > _FAR
        return torch.where(far, -z, log1mexp(-torch.exp(-torch.where(far, 0.0, z))))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self.loc - self.scale * minus_log(above, below).log()

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.loc + EULER * self.scale

    @property
    @in_double
    def median(self) -> Tensor:
        return self.loc - math.log(math.log(2)) * self.scale

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    @in_double
    def variance(self) -> Tensor:
        return math.pi**2 / 6 * self.scale.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(6) * self.scale

    @in_double
    def entropy(self) -> Tensor:
        return self.log_scale + (1 + EULER)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        scale (z - gamma - log(2) + 2 Ein(exp(-z))), where gamma is Euler's constant and Ein(x) the
        integral of (1 - exp(-t)) / t from 0 to x. Source: Friederichs and Thorarinsdottir 2012.
        """
        z = self._standardised(y)
        far = z < -math.log(_FAR)  # where Ein(x) = log(x) + gamma
        x = torch.exp(-torch.where(far, 0.0, z))
        entire = integrate(lambda t: -torch.expm1(-x * t) / t, torch.zeros_like(x), 1.0, 48)
        value = torch.where(far, EULER - z, z - EULER + 2 * entire)
        return self.scale * (value - math.log(2))


class GumbelFamily(Family):
    """The Gumbel family: p(y) = exp(-z - exp(-z)) / scale, z = (y - loc) / scale, for real y.

    Its parameters are `loc` and `scale`, shape (...,).
    """

    name = "gumbel"
    parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"]}
    support = constraints.real
    fast_range = {"scale": (0.3, 1e6)}  # exp(-z) magnifies the rounding of z
    distribution_class = Gumbel
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "maxima"
    loss = "z + exp(-z)"
    noise = (
        "Maxima of many values with exponential tails, such as the highest water level of a year: "
        "skewed to the right."
    )
    density = "p(y) = exp(-z - exp(-z)) / scale, z = (y - loc) / scale"
    breaks = (
        "The skewness is fixed. A target far below loc costs an exponential of its distance. "
        "Maxima of heavy-tailed values exceed its upper tail."
    )
    remedy = (
        "weibull for minima and lifetimes, log_normal or gamma for skewed positive targets, "
        "logistic or student_t where both tails are alike; minima after a change of sign."
    )

    def make(self, **parameters: Tensor) -> Gumbel:
        return Gumbel(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        scale = sample_std(y) * math.sqrt(6) / math.pi
        return {"loc": y.mean(0) - EULER * scale, "scale": scale}
