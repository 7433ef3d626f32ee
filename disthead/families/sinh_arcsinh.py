"""The sinh-arcsinh distribution: a normal one with skewness and with light or heavy tails."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.distributions.location_scale import LocationScale
from disthead.distributions.univariate import in_double, product, sample_std
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import bracketed_newton, implicit, log_ndtr
from disthead.special.hyperbolic import log_cosh
from disthead.special.normal import ndtri_of_tails
from disthead.special.plain import ndtr

__all__ = ["SinhArcsinh", "SinhArcsinhFamily"]

_ARC_OF_TWO = math.asinh(2)
_FAR = 350.0  # the square of whose hyperbolic sine is a number


class SinhArcsinh(LocationScale):
    """Sinh-arcsinh distribution: sinh(asinh(x) / tailweight - skewness) is standard normal.

    Here x = (y - loc) sinh(tailweight asinh(2)) / (2 scale), for real y, so that without skewness
    Y = loc + 2 scale where the normal variable is 2. Without skewness and with tailweight 1 the
    distribution is normal. Source: Jones and Pewsey 2009, Sinh-arcsinh distributions; names and
    scale are those of TensorFlow Probability, whose tailweight is the inverse of theirs.

    Args:
        loc: shape (...,), in the units of y; the median where the skewness is 0.
        scale: shape (...,), positive, in the units of y.
        skewness: shape (...,), any real number; positive numbers give a heavier upper tail.
        tailweight: shape (...,), positive; above 1 the tails are heavier than normal, below 1
            lighter.
        log_scale: log(scale); the scale, its logarithm or both are given.
        log_tailweight: log(tailweight); the tailweight, its logarithm or both are given.

    >>> SinhArcsinh(0.0, 1.0, 0.0, 1.0).log_prob(torch.tensor(2.0))
    tensor(-2.9189)
    >>> SinhArcsinh(0.0, 1.0, 0.0, 3.0).cdf(torch.tensor(2.0))
    tensor(0.9772)
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

    def _log_factor(self) -> Tensor:
        """log(sinh(tailweight asinh(2)) / 2)."""
        arc = self.tailweight * _ARC_OF_TWO
        return arc + torch.log(-torch.expm1(-2 * arc)) - math.log(4)

    def _arcs(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """asinh(x) and asinh(w), where w is the normal variable."""
        log_factor = self._log_factor()
        arc = torch.asinh(product(z, log_factor.exp(), log_factor))
        return arc, arc / self.tailweight - self.skewness

    def _normal(self, z: Tensor) -> Tensor:
        normal = torch.sinh(self._arcs(z)[1].clamp(-_FAR, _FAR))
        return torch.where(z.isinf(), z, normal)

    def _log_density(self, z: Tensor) -> Tensor:
        arc, inner = self._arcs(z)
        square = torch.sinh(inner.clamp(-_FAR, _FAR)).square()
        log_slope = log_cosh(inner) - log_cosh(arc) - self.log_tailweight + self._log_factor()
        return log_slope - 0.5 * square - HALF_LOG_TWO_PI

    def _probability(self, z: Tensor) -> Tensor:
        return ndtr(self._normal(z))

    def _log_lower(self, z: Tensor) -> Tensor:
        return log_ndtr(self._normal(z))

    def _log_upper(self, z: Tensor) -> Tensor:
        return log_ndtr(-self._normal(z))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self._from_inner(torch.asinh(ndtri_of_tails(below, above)))

    def _from_inner(self, inner: Tensor) -> Tensor:
        """The y whose normal variable is sinh(inner)."""
        arc = self.tailweight * (inner + self.skewness)
        distance = torch.where(arc < 0, -arc, arc)
        # sinh(arc) / sinh(tailweight asinh(2)), whose parts may overflow
        width = self.tailweight * _ARC_OF_TWO
        size = torch.exp(distance - width) * torch.expm1(-2 * distance) / torch.expm1(-2 * width)
        return self.loc + 2 * self.scale * torch.where(arc < 0, -size, size)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The root of tanh(v) sinh(v)^2 + tailweight tanh(tailweight (v + skewness)).

        Here the normal variable is sinh(v).
        """
        skewness, tailweight = self.skewness, self.tailweight

        def slope_of(v: Tensor) -> tuple[Tensor, Tensor]:
            tanh, square = torch.tanh(v), torch.sinh(v.clamp(-_FAR, _FAR)).square()
            bent = torch.tanh(tailweight * (v + skewness))
            value = tanh * square + tailweight * bent
            slope = (1 - tanh.square()) * square + 2 * square
            return value, slope + tailweight.square() * (1 - bent.square())

        with torch.no_grad():
            ends = torch.stack([torch.zeros_like(skewness), -skewness])
            root = bracketed_newton(slope_of, ends.amin(0), ends.amax(0), steps=64)
        return self._from_inner(implicit(root, *slope_of(root)))


class SinhArcsinhFamily(Family):
    """The sinh-arcsinh family: sinh(asinh(x) / tailweight - skewness) is standard normal, real y.

    Here x = (y - loc) sinh(tailweight asinh(2)) / (2 scale). The parameters are `loc`, `scale`,
    `skewness` and `tailweight`, shape (...,).
    """

    name = "sinh_arcsinh"
    parameters = {
        "loc": LINKS["identity"],
        "scale": LINKS["softplus"],
        "skewness": LINKS["identity"],
        "tailweight": LINKS["softplus"],
    }
    support = constraints.real
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "skewed regression with light or heavy tails"
    loss = "squared error of the bent residual: w^2 / 2"
    noise = (
        "Additive noise with any skewness, and tails lighter or heavier than normal; the normal "
        "distribution lies in the middle of the family."
    )
    density = (
        "p(y) = phi(w) dw/dy, w = sinh(asinh(x) / tailweight - skewness), x = (y - loc) "
        "sinh(tailweight asinh(2)) / (2 scale)"
    )
    breaks = (
        "Four parameters need many targets. Tails that fall as a power of y are underestimated, "
        "and a target far in a light tail costs an exponential of its distance."
    )
    remedy = (
        "shared=('skewness', 'tailweight') on little data, normal without skewness, student_t or "
        "johnson_su for heavy tails, mixture for several peaks."
    )

    def make(self, **parameters: Tensor) -> SinhArcsinh:
        return SinhArcsinh(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc = y.mean(0)
        return {
            "loc": loc,
            "scale": sample_std(y),
            "skewness": torch.zeros_like(loc),
            "tailweight": torch.ones_like(loc),
        }
