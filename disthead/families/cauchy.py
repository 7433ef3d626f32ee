"""The Cauchy distribution: additive noise with outliers of any size, which has no mean."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.location_scale import Symmetric
from disthead.distributions.tails import Indices
from disthead.distributions.univariate import in_double, ratio, with_min_scale
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special.fast import Positive

__all__ = ["Cauchy", "CauchyFamily"]

_LOG_PI = math.log(math.pi)
_LARGE = 1e8  # beyond, 1 + z^2 = z^2 in double precision


class Cauchy(Symmetric):
    """Cauchy distribution with density 1 / (pi scale (1 + z^2)), z = (y - loc) / scale, for real y.

    It is Student's t with one degree of freedom. It has neither a mean nor a variance, since their
    integrals diverge: asking for them raises NotImplementedError. Source: Johnson, Kotz and
    Balakrishnan 1994, Continuous Univariate Distributions, volume 1, chapter 16.

    Args:
        loc: median and mode, shape (...,).
        scale: half the interquartile range, shape (...,), positive, in the units of y.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> Cauchy(0.0, 1.0).log_prob(torch.tensor(2e19))
    tensor(-90.0293)
    >>> Cauchy(0.0, 1.0).cdf(torch.tensor(1.0))
    tensor(0.7500)
    """

    def _tail_indices(self) -> Indices:
        return 1.0, 1.0

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Tensor, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = (y - loc) / scale.value
        square = z * z
        factor = 2 / (1 + square)
        value = -_LOG_PI - scale.log - torch.log1p(square)
        return value, factor * z / scale.value, square * factor - 1

    def _log_density(self, z: Tensor) -> Tensor:
        return -_LOG_PI - _log1p_square(z)

    def _log_tail(self, distance: Tensor) -> Tensor:
        far = distance > 1
        inverse = 1 / torch.where(far, distance, 1.0)
        angle = torch.where(
            far,
            torch.atan(inverse),
            0.5 * math.pi - torch.atan(torch.where(far, 1.0, distance)),
        )
        return torch.log(angle) - _LOG_PI

    def _tail_quantile(self, tail: Tensor) -> Tensor:
        far = tail < 0.25
        near = torch.tan(math.pi * (0.5 - torch.where(far, 0.5, tail)))
        return torch.where(far, 1 / torch.tan(math.pi * torch.where(far, tail, 0.25)), near)

    @property
    def median(self) -> Tensor:
        return self.loc

    mode = median

    @property
    def mean(self) -> Tensor:
        raise self._unanswered("mean", "its integral diverges; the median is loc.")

    @property
    def variance(self) -> Tensor:
        raise self._unanswered("variance", "its integral diverges; interval(level) has a width.")

    @property
    def stddev(self) -> Tensor:
        raise self._unanswered("stddev", "its integral diverges; interval(level) has a width.")

    def entropy(self) -> Tensor:
        return math.log(4) + _LOG_PI + self.log_scale

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        scale (2 z atan(z) - log(1 + z^2) + 2 log(2)) / pi, the integral of the squared distance of
        the distribution functions; it is finite, although the mean is not.
        """
        z = self._standardised(y)
        return self.scale / math.pi * (2 * z * torch.atan(z) - _log1p_square(z) + math.log(4))


def _log1p_square(z: Tensor) -> Tensor:
    """log(1 + z^2), also where z^2 overflows."""
    far = z.abs() > _LARGE
    return torch.where(
        far,
        2 * torch.where(far, z.abs(), 1.0).log(),
        torch.log1p(torch.where(far, 0.0, z).square()),
    )


@register_kl(Cauchy, Cauchy)
@in_double
def _kl_cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    """log(((p.scale + q.scale)^2 + (p.loc - q.loc)^2) / (4 p.scale q.scale)).

    Source: Chyzak and Nielsen 2019.
    """
    widths = (0.5 * (p.log_scale - q.log_scale)).cosh().log()
    return 2 * widths + _log1p_square(
        ratio(p.loc - q.loc, p.scale + q.scale, (p.scale + q.scale).log())
    )


class CauchyFamily(Family):
    """The Cauchy family: p(y) = 1 / (pi scale (1 + z^2)), z = (y - loc) / scale, for real y.

    Its parameters are `loc` and `scale`, shape (...,).
    """

    name = "cauchy"
    parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"]}
    support = constraints.real
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = Cauchy
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "robust regression"
    loss = "Lorentzian (Cauchy) loss: log(1 + z^2)"
    noise = (
        "Symmetric, additive noise with outliers of any size: half of the targets lie within one "
        "scale of loc, and averages of them do not settle."
    )
    density = "p(y) = 1 / (pi scale (1 + z^2)), z = (y - loc) / scale"
    breaks = (
        "There is no mean and no variance, so that predictions are medians. Lighter tails are "
        "overestimated, and the likelihood may have several peaks in loc."
    )
    remedy = (
        "student_t, which learns how heavy the tails are; logistic or laplace for exponential "
        "tails; normal for light ones."
    )

    def make(self, **parameters: Tensor) -> Cauchy:
        return Cauchy(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc = y.median(0).values
        # The median distance is the scale; where half of the targets have one value it is 0.
        distance = (y - loc).abs()
        scale = distance.median(0).values
        return {
            "loc": loc,
            "scale": with_min_scale(torch.where(scale > 0, scale, distance.mean(0)), y),
        }
