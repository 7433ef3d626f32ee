"""The hyperbolic secant distribution: additive noise whose loss is the log-cosh error."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.location_scale import Symmetric
from disthead.distributions.univariate import in_double, sample_std
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import integrate
from disthead.special.fast import Positive
from disthead.special.hyperbolic import log_cosh

__all__ = ["HyperbolicSecant", "HyperbolicSecantFamily"]

_HALF_MEAN_DIFFERENCE = 7 * 1.2020569031595942 / math.pi**2  # 7 zeta(3) / pi^2


class HyperbolicSecant(Symmetric):
    """Hyperbolic secant distribution with density 1 / (pi scale cosh(z)) for real y.

    Here z = (y - loc) / scale; the cdf is 2 atan(exp(z)) / pi. At scale 1, -log_prob(y) is
    log cosh(y - loc) + log(pi). Source: Johnson, Kotz and Balakrishnan 1995, Continuous Univariate
    Distributions, volume 2, chapter 23.

    Args:
        loc: mean, median and mode, shape (...,).
        scale: shape (...,), positive, in the units of y; the standard deviation is pi / 2 times as
            large.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> HyperbolicSecant(0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-1.1447)
    >>> HyperbolicSecant(0.0, 1.0).cdf(torch.tensor(1.0))
    tensor(0.7756)
    """

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Tensor, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = (y - loc) / scale.value
        distance = abs(z)
        odds = torch.exp(-2 * distance)
        slope = torch.sign(z) * (1 - odds) / (1 + odds)  # tanh(z)
        value = math.log(2 / math.pi) - distance - torch.log1p(odds) - scale.log
        return value, slope / scale.value, z * slope - 1

    def _log_density(self, z: Tensor) -> Tensor:
        return -math.log(math.pi) - log_cosh(z)

    def _log_tail(self, distance: Tensor) -> Tensor:
        far = distance > 20
        near = torch.log(torch.atan(torch.exp(-torch.where(far, 0.0, distance))))
        # atan(x) = x within rounding
        return math.log(2 / math.pi) + torch.where(far, -distance, near)

    def _tail_quantile(self, tail: Tensor) -> Tensor:
        return -torch.log(torch.tan(0.5 * math.pi * tail))

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        return 0.5 * math.pi * self.scale

    @in_double
    def entropy(self) -> Tensor:
        return self.log_scale + math.log(2 * math.pi)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y.

        scale (|z| + 4 Ti(exp(-|z|)) / pi - 7 zeta(3) / pi^2), where Ti(x) is the integral of
        atan(t) / t from 0 to x, the inverse tangent integral of Lewin 1981.
        """
        distance = self._standardised(y).abs()
        x = torch.exp(-distance)
        inverse_tangent = integrate(
            lambda t: torch.atan(x * t) / t, torch.zeros_like(x), 1.0, nodes=24
        )
        return self.scale * (distance + 4 / math.pi * inverse_tangent - _HALF_MEAN_DIFFERENCE)


class HyperbolicSecantFamily(Family):
    """The hyperbolic secant family: p(y) = 1 / (pi scale cosh(z)), z = (y - loc) / scale, real y.

    Its parameters are `loc` and `scale`, shape (...,).
    """

    name = "hyperbolic_secant"
    parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"]}
    support = constraints.real
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = HyperbolicSecant
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "robust regression"
    loss = "log-cosh error: log cosh(z)"
    noise = (
        "Symmetric, additive noise, smooth near its mean, whose large deviations fall off "
        "exponentially; its tails are a little heavier than those of the logistic distribution."
    )
    density = "p(y) = 1 / (pi scale cosh(z)), z = (y - loc) / scale"
    breaks = (
        "Gross outliers still count in proportion to their distance. Skewed or bounded targets get "
        "mass where none can be."
    )
    remedy = (
        "student_t or cauchy when outliers are extreme, normal when the tails are light, "
        "log_normal or gamma for positive targets."
    )

    def make(self, **parameters: Tensor) -> HyperbolicSecant:
        return HyperbolicSecant(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return {"loc": y.median(0).values, "scale": sample_std(y) * 2 / math.pi}
