"""Johnson's SU distribution: skewed noise with heavy tails, a normal one bent by a sinh."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.distributions.location_scale import LocationScale
from disthead.distributions.univariate import in_double, sample_std
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import bracketed_newton, implicit, log_ndtr
from disthead.special.fast import Positive
from disthead.special.hyperbolic import log_cosh
from disthead.special.normal import ndtri_of_tails
from disthead.special.plain import erf, ndtr

__all__ = ["JohnsonSU", "JohnsonSUFamily"]

_LARGE = 1e300


class JohnsonSU(LocationScale):
    """Johnson's SU distribution: skewness + tailweight asinh(z) is standard normal, for real y.

    Here z = (y - loc) / scale. The density is tailweight phi(w) / (scale sqrt(1 + z^2)) for
    w = skewness + tailweight asinh(z). Source: Johnson 1949, Systems of frequency curves generated
    by methods of translation; the names are those of TensorFlow Probability.

    Args:
        loc: shape (...,), in the units of y; the median where the skewness is 0.
        scale: shape (...,), positive, in the units of y.
        skewness: shape (...,), any real number; positive numbers give a heavier lower tail.
        tailweight: shape (...,), positive; small values give heavy tails. For large values the
            distribution is normal with the standard deviation scale / tailweight.
        log_scale: log(scale); the scale, its logarithm or both are given.
        log_tailweight: log(tailweight); the tailweight, its logarithm or both are given.

    >>> JohnsonSU(0.0, 1.0, 0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-0.9189)
    >>> JohnsonSU(0.0, 1.0, 0.5, 1.0).cdf(torch.tensor(0.0))
    tensor(0.6915)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "skewness": constraints.real,
        "tailweight": constraints.positive,
    }

    def __init__(
        self,
        loc,
        scale=None,
        skewness=None,
        tailweight=None,
        *,
        log_scale=None,
        log_tailweight=None,
    ):
        self._set_parameters(
            loc=loc,
            scale=scale,
            skewness=skewness,
            tailweight=tailweight,
            log_scale=log_scale,
            log_tailweight=log_tailweight,
        )

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, loc: Tensor, scale: Positive, skewness: Tensor, tailweight: Positive
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc, log(scale), the skewness and log(tailweight).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = (y - loc) / scale.value
        square, distance = z * z, abs(z)
        root = torch.sqrt(1 + square)
        bent = torch.sign(z) * torch.log1p(distance + square / (1 + root))  # asinh(z)
        w = skewness + tailweight.value * bent
        value = tailweight.log - HALF_LOG_TWO_PI - 0.5 * w * w - torch.log(root) - scale.log
        slope = z / (1 + square) + tailweight.value * w / root
        return value, slope / scale.value, z * slope - 1, -w, 1 - w * tailweight.value * bent

    def _normal(self, z: Tensor) -> Tensor:
        return self.skewness + self.tailweight * torch.asinh(z)

    def _log_density(self, z: Tensor) -> Tensor:
        bent = torch.asinh(z.clamp(-_LARGE, _LARGE))
        square = (self.skewness + self.tailweight * bent).square()
        return self.log_tailweight - HALF_LOG_TWO_PI - 0.5 * square - log_cosh(bent)

    def _probability(self, z: Tensor) -> Tensor:
        return ndtr(self._normal(z))

    def _log_lower(self, z: Tensor) -> Tensor:
        return log_ndtr(self._normal(z))

    def _log_upper(self, z: Tensor) -> Tensor:
        return log_ndtr(-self._normal(z))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        bent = (ndtri_of_tails(below, above) - self.skewness) / self.tailweight
        return self.loc + self.scale * torch.sinh(bent)

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.loc + self.scale * self._standard_mean()

    def _standard_mean(self) -> Tensor:
        """-exp(1 / (2 tailweight^2)) sinh(skewness / tailweight)."""
        # a number, so that its product with 0 is 0
        growth = self._growth().clamp(max=_LARGE)
        return -growth * torch.sinh(self.skewness / self.tailweight)

    def _growth(self) -> Tensor:
        return torch.exp(0.5 / self.tailweight.square())

    @property
    @in_double
    def variance(self) -> Tensor:
        """The variance (e - 1) (e cosh(2 skewness / tailweight) + 1) scale^2 / 2.

        Here e = exp(1 / tailweight^2).
        """
        power = 1 / self.tailweight.square()
        tilt = torch.cosh(2 * self.skewness / self.tailweight)
        return 0.5 * self.scale.square() * torch.expm1(power) * (power.exp() * tilt + 1)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The root of tanh(u) + tailweight (skewness + tailweight u), at z = sinh(u)."""
        skewness, tailweight = self.skewness, self.tailweight

        def slope_of(u: Tensor) -> tuple[Tensor, Tensor]:
            tanh = torch.tanh(u)
            return tanh + tailweight * (skewness + tailweight * u), (
                1 - tanh.square() + tailweight.square()
            )

        with torch.no_grad():
            ends = torch.stack([torch.zeros_like(skewness), -skewness / tailweight])
            root = bracketed_newton(slope_of, ends.amin(0), ends.amax(0), steps=64)
        return self.loc + self.scale * torch.sinh(implicit(root, *slope_of(root)))

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y.

        Expectations of exponentials of a normal variable above w are shifted tails. E|Y - Y'| / 2
        is scale exp(1 / (2 tailweight^2)) cosh(skewness / tailweight) erf(1 / (2 tailweight)),
        since sinh(a) - sinh(b) = 2 cosh((a + b) / 2) sinh((a - b) / 2), a product of independent
        factors.
        """
        z = self._standardised(y)
        w, rate, growth = self._normal(z), 1 / self.tailweight, self._growth()
        tilt = self.skewness * rate
        above = growth * (
            torch.exp(-tilt) * ndtr(rate - w) - torch.exp(tilt) * ndtr(-rate - w)
        )  # twice the integral of z p(z) above z
        half_mean_difference = growth * torch.cosh(tilt) * erf(0.5 * rate)
        score = z * erf(w / math.sqrt(2)) + above - self._standard_mean() - half_mean_difference
        return self.scale * torch.where(growth.isfinite() & score.isfinite(), score, math.inf)


class JohnsonSUFamily(Family):
    """Johnson's SU family: skewness + tailweight asinh(z) is standard normal, for real y.

    Here z = (y - loc) / scale. The parameters are `loc`, `scale`, `skewness` and `tailweight`,
    shape (...,).
    """

    name = "johnson_su"
    parameters = {
        "loc": LINKS["identity"],
        "scale": LINKS["softplus"],
        "skewness": LINKS["identity"],
        "tailweight": LINKS["softplus"],
    }
    support = constraints.real
    fast_range = {"scale": (1e-6, 1e6), "skewness": (-100.0, 100.0)}
    distribution_class = JohnsonSU
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "skewed, heavy-tailed regression"
    loss = "squared error of the bent residual: (skewness + tailweight asinh(z))^2 / 2"
    noise = (
        "Additive noise with any skewness and tails heavier than normal, such as returns, prices "
        "and errors of forecasts."
    )
    density = (
        "p(y) = tailweight phi(w) / (scale sqrt(1 + z^2)), w = skewness + tailweight asinh(z), "
        "z = (y - loc) / scale"
    )
    breaks = (
        "Four parameters need many targets: on nearly normal ones scale and tailweight grow "
        "together without end. Tails lighter than normal cannot be fitted."
    )
    remedy = (
        "shared=('skewness', 'tailweight') on little data, normal or student_t without skewness, "
        "sinh_arcsinh for light tails, mixture for several peaks."
    )

    def make(self, **parameters: Tensor) -> JohnsonSU:
        return JohnsonSU(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # tailweight 1.5 and no skewness: the standard deviation is 0.87 scale
        loc = y.median(0).values
        return {
            "loc": loc,
            "scale": sample_std(y) / 0.87,
            "skewness": torch.zeros_like(loc),
            "tailweight": torch.full_like(loc, 1.5),
        }
