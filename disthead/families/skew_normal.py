"""The skew-normal distribution: a normal one of which one side is suppressed."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.distributions.skewed import Skewed, moment_estimate, skew_normal_sample
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import bracketed_newton, implicit, log_ndtr
from disthead.special.normal import mills, ndtri_of_tails
from disthead.special.numeric import by_rows
from disthead.special.plain import ndtr
from disthead.special.skew import mean_binary_entropy, skew_log_tails

__all__ = ["SkewNormal", "SkewNormalFamily"]

_ROOT_TWO_OVER_PI = math.sqrt(2 / math.pi)


class SkewNormal(Skewed):
    """Skew-normal distribution with density 2 phi(z) Phi(slant z) / scale for real y.

    Here z = (y - loc) / scale. Source: Azzalini 1985, A class of distributions which includes the
    normal ones.

    Args:
        loc: shape (...,), in the units of y; not the mean, unless the slant is 0.
        scale: shape (...,), positive, in the units of y; the standard deviation is at most as
            large.
        slant: alpha, shape (...,), any real number; 0 is the normal distribution, and
            large numbers approach one half of it, above loc where they are positive.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> SkewNormal(0.0, 1.0, 1.0).cdf(torch.tensor(0.0))
    tensor(0.2500)
    >>> SkewNormal(0.0, 1.0, 0.0).log_prob(torch.tensor(0.0))
    tensor(-0.9189)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "slant": constraints.real,
    }

    def __init__(self, loc, scale=None, slant=None, *, log_scale=None):
        self._set_parameters(loc=loc, scale=scale, slant=slant, log_scale=log_scale)

    def _log_density(self, z: Tensor) -> Tensor:
        symmetric = -0.5 * z.square() - HALF_LOG_TWO_PI
        return math.log(2) + symmetric + log_ndtr(self.slant * z)

    def _tails(self, z: Tensor) -> tuple[Tensor, ...]:
        return by_rows(skew_log_tails, *torch.broadcast_tensors(z, self.slant))

    def _symmetric_quantile(self, below: Tensor, above: Tensor) -> Tensor:
        return ndtri_of_tails(below, above)

    def _standard_sample(self, shape: Size, generator: torch.Generator | None) -> Tensor:
        return skew_normal_sample(self.slant.expand(shape), generator)

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.loc + self.scale * (_ROOT_TWO_OVER_PI * self._delta)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.scale.square() * (1 - 2 / math.pi * self._delta.square())

    @property
    @in_double
    def mode(self) -> Tensor:
        """The root of z - slant phi(slant z) / Phi(slant z)."""
        side = torch.where(self.slant < 0, -1.0, 1.0).to(self.slant.dtype)
        steepness = side * self.slant

        def slope_of(z: Tensor) -> tuple[Tensor, Tensor]:
            ratio = mills(steepness * z)
            return z - steepness * ratio, 1 + steepness.square() * ratio * (steepness * z + ratio)

        with torch.no_grad():
            root = bracketed_newton(
                slope_of, torch.zeros_like(steepness), torch.ones_like(steepness), 64
            )
        return self.loc + self.scale * side * implicit(root, *slope_of(root))

    @in_double
    def entropy(self) -> Tensor:
        """The entropy in nats: the normal one, less log(2), plus E h(Phi(slant |X|)).

        Here h is the entropy of two outcomes, and X is standard normal.
        """
        steepness = self.slant.abs()
        gain = mean_binary_entropy(
            lambda x: -0.5 * x.square() - HALF_LOG_TWO_PI,
            lambda x: log_ndtr(steepness * x),
            1 / (1 + steepness),
        )
        return 0.5 + HALF_LOG_TWO_PI - math.log(2) + self.log_scale + 2 * gain

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y.

        E[Z; Z > z] = 2 phi(z) Phi(a z) + m Phi(-z sqrt(1 + a^2)) for a = slant and the mean m of Z;
        E|Z - Z'| / 2 is a sum of orthant probabilities.
        """
        z, a = self._standardised(y), self.slant
        mean, radius = _ROOT_TWO_OVER_PI * self._delta, torch.sqrt(1 + a.square())
        above = 2 * torch.exp(-0.5 * z.square() - HALF_LOG_TWO_PI) * ndtr(a * z) + mean * ndtr(
            -z * radius
        )
        wide = 2 + a.square()
        tilt = torch.asin(a.square() / wide) / math.sqrt(math.pi) - mean * torch.asin(
            a / wide.sqrt()
        )
        half_mean_difference = 1 / math.sqrt(math.pi) + 2 / math.pi * tilt
        balance = 1 - 2 * self._log_upper(z).exp()
        return self.scale * (z * balance + 2 * above - mean - half_mean_difference)


class SkewNormalFamily(Family):
    """The skew-normal family: p(y) = 2 phi(z) Phi(slant z) / scale, z = (y - loc) / scale, real y.

    Its parameters are `loc`, `scale` and `slant`, shape (...,).
    """

    name = "skew_normal"
    parameters = {
        "loc": LINKS["identity"],
        "scale": LINKS["softplus"],
        "slant": LINKS["identity"],
    }
    support = constraints.real
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "skewed regression"
    loss = "squared error with a penalty on one side: z^2 / 2 - log Phi(slant z)"
    noise = (
        "Additive noise with one normal tail and one that is lighter: the sum of a normal error "
        "and of one that has only one sign, such as the inefficiency of a firm."
    )
    density = "p(y) = 2 phi(z) Phi(slant z) / scale, z = (y - loc) / scale"
    breaks = (
        "The skewness is below 1, and neither tail is heavier than normal. Near slant 0 the "
        "likelihood is flat, so that little data cannot tell slant from loc."
    )
    remedy = (
        "skew_t or johnson_su for heavy tails, normal or shared=('slant',) on little data, gumbel "
        "for maxima, log_normal or gamma for skewed positive targets."
    )

    def make(self, **parameters: Tensor) -> SkewNormal:
        return SkewNormal(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc, scale, slant = moment_estimate(y)
        return {"loc": loc, "scale": scale, "slant": slant}
