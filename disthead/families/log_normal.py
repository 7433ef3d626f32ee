"""The log-normal distribution: the product of many small causes."""

import functools
import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import HALF_LOG_TWO_PI, stored, with_fused_loss
from disthead.distributions.closed_forms import closed_form, quantile
from disthead.distributions.continuous import Continuous
from disthead.distributions.standard import Standard
from disthead.distributions.univariate import in_double
from disthead.errors import unknown_name
from disthead.families.family import Family
from disthead.families.gamma import GammaFamily
from disthead.links import LINKS
from disthead.special import expm1mx, integrate, log_ndtr
from disthead.special.eager import are_plain_numbers
from disthead.special.fast import Positive
from disthead.special.inverse import newton_from_left
from disthead.special.normal import ndtri_of_tails
from disthead.special.numeric import by_rows, mend
from disthead.special.plain import erf, ndtr, ndtri

__all__ = ["LogNormal", "LogNormalFamily", "MeanLogNormal"]

# log(2) in two parts; the first ends in zeros, so that its product with a whole number is exact
_LOG_2_HIGH, _LOG_2_LOW = 0.6931471803691238, 1.9082149292705877e-10


class LogNormal(Continuous):
    """Log-normal distribution with density exp(-z^2 / 2) / (y scale sqrt(2 pi)) for y > 0.

    Here z = (log(y) - loc) / scale. Source: Johnson, Kotz and Balakrishnan 1994, Continuous
    Univariate Distributions, volume 1, chapter 14.

    Args:
        loc: mean of log(y), shape (...,); exp(loc) is the median of y.
        scale: standard deviation of log(y), shape (...,), positive, without a unit: 0.1 is a
            relative standard deviation of y of about 10 %.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> LogNormal(0.0, 1.0).median
    tensor(1.)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.positive

    def __init__(self, loc, scale=None, *, log_scale=None):
        self._set_parameters(loc=loc, scale=scale, log_scale=log_scale)

    def _standardised(self, y: Tensor) -> Tensor:
        """(log(y) - loc) / scale, and -inf where y is not positive."""
        # Both are in units of the power of two next to the median, so that log(y) - loc does not
        # cancel where loc is large.
        power = (self.loc.detach() / math.log(2)).round().clamp(-400, 400)
        loc, unit = self.loc - power * _LOG_2_HIGH - power * _LOG_2_LOW, torch.exp2(-power)
        inside = ~(y <= 0)
        z = (torch.log(torch.where(inside, y, 1.0) * unit) - loc) / self.scale
        return torch.where(inside, z, -torch.inf)

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Tensor, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        log_y = torch.log(y.double())  # a small scale would magnify its rounding
        z = (log_y - loc).to(loc.dtype) / scale.value
        square = z * z
        return (
            -HALF_LOG_TWO_PI - log_y.to(loc.dtype) - scale.log - 0.5 * square,
            z / scale.value,
            square - 1,
        )

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = y > 0
        y = torch.where(inside, y, 1.0)
        value = -0.5 * self._standardised(y).square() - y.log() - self.log_scale - HALF_LOG_TWO_PI
        return torch.where(inside, value, -torch.inf)

    @closed_form("log_normal_cdf", "loc", "scale")
    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return ndtr(self._standardised(y))

    @closed_form("log_normal_log_cdf", "loc", "scale")
    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return log_ndtr(self._standardised(y))

    @closed_form("log_normal_log_survival", "loc", "scale")
    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return log_ndtr(-self._standardised(y))

    @quantile("log_normal_icdf", "loc", "scale")
    def icdf(self, q: Tensor) -> Tensor:
        return super().icdf(q)

    def _standard(self) -> Standard:
        return Standard(
            self.log_scale,
            torch.zeros_like(self.loc),
            self.loc.exp(),
            lambda shape: LogNormal(0.0, log_scale=shape),
        )

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return torch.exp(self.loc + self.scale * ndtri_of_tails(below, above))

    @property
    @in_double
    def mean(self) -> Tensor:
        return torch.exp(self.loc + 0.5 * self.scale.square())

    @property
    @in_double
    def median(self) -> Tensor:
        return torch.exp(self.loc)

    @property
    @in_double
    def mode(self) -> Tensor:
        return torch.exp(self.loc - self.scale.square())

    @torch.no_grad()
    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        return by_rows(functools.partial(_shortest, level), self.loc, self.scale)

    @property
    @in_double
    def variance(self) -> Tensor:
        return torch.expm1(self.scale.square()) * torch.exp(2 * self.loc + self.scale.square())

    @property
    @in_double
    def stddev(self) -> Tensor:
        return torch.expm1(self.scale.square()).sqrt() * torch.exp(
            self.loc + 0.5 * self.scale.square()
        )

    @in_double
    def entropy(self) -> Tensor:
        return 0.5 + HALF_LOG_TWO_PI + self.log_scale + self.loc

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact = self._in_double()
        z = torch.randn(
            self._extended_shape(sample_shape),
            generator=generator,
            dtype=exact.dtype,
            device=self.device,
        )
        return torch.exp(exact.loc + exact.scale * z).to(self.dtype)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        y (2 Phi(z) - 1) - 2 mean (Phi(z - scale) - Phi(-scale / sqrt(2))), Baran and Lerch 2015.
        """
        z = self._standardised(y).clamp(min=-50)  # beyond, tails are 0
        arguments = torch.broadcast_tensors(y, z, self.loc, self.scale)
        if are_plain_numbers(*arguments):
            return mend(_crps_wide(*arguments), arguments[-1] < 0.5, _crps_narrow, *arguments)
        return torch.where(self.scale < 0.5, _crps_narrow(*arguments), _crps_wide(*arguments))


def _shortest(level: float, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the shortest interval, whose densities are equal.

    The density of y at exp(loc + scale z) is proportional to exp(-(z + scale)^2 / 2), so that the
    ends have the same distance from z = -scale. The upper end u solves log(Phi(u) -
    Phi(-2 scale - u)) = log(level), whose left side is increasing and concave.
    """
    probability = torch.full_like(scale, level)

    def step(u: Tensor) -> Tensor:
        lower = -2 * scale - u
        held = ndtr(u) - ndtr(lower)
        return u + (math.log(level) - held.log()) * held / (_density(u) + _density(lower))

    u = newton_from_left(
        step, torch.maximum(ndtri(probability), ndtri(0.5 + 0.5 * probability) - scale)
    )
    return torch.exp(loc - scale * (2 * scale + u)), torch.exp(loc + scale * u)


def _crps_wide(y: Tensor, z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    log_mean = math.log(2) + loc + 0.5 * scale.square()
    taken = torch.exp(log_mean + log_ndtr(z - scale))
    mean_difference = torch.exp(log_mean + log_ndtr(-scale / math.sqrt(2)))
    return y * erf(z / math.sqrt(2)) - taken + mean_difference


def _crps_narrow(y: Tensor, z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """As `_crps_wide`, arranged so that nothing cancels where the scale is small."""
    scale = torch.where(scale < 0.5, scale, 0.25)
    z, mean = z.clamp(-50, 50), torch.exp(loc + 0.5 * scale.square())
    step = integrate(_density, z - scale, z, nodes=24)
    difference = 2 * step - erf(0.5 * scale)
    return (y - mean) * erf(z / math.sqrt(2)) + mean * difference


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square() - HALF_LOG_TWO_PI)


class MeanLogNormal(LogNormal):
    """Log-normal distribution by its mean and the standard deviation of its logarithm, for y > 0.

    The density is that of `LogNormal` with loc = log(mean) - scale^2 / 2, so that E[Y] = mean.

    Args:
        mean: shape (...,), positive, in the units of y.
        scale: standard deviation of log(y), shape (...,), positive, without a unit.
        log_mean: log(mean); the mean, its logarithm or both are given.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> MeanLogNormal(3.0, 0.5).median  # 3 exp(-1 / 8)
    tensor(2.6475)
    """

    arg_constraints = {"mean": constraints.positive, "scale": constraints.positive}
    mean = stored()

    def __init__(self, mean=None, scale=None, *, log_mean=None, log_scale=None):
        self._set_parameters(mean=mean, scale=scale, log_mean=log_mean, log_scale=log_scale)

    @staticmethod
    def log_prob_and_grad(y: Tensor, mean: Positive, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(mean) and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        square = scale.value * scale.value
        value, by_loc, by_scale = LogNormal.log_prob_and_grad(y, mean.log - 0.5 * square, scale)
        return value, by_loc, by_scale - square * by_loc

    @property
    def loc(self) -> Tensor:
        """The mean of log(y)."""
        return self.log_mean - 0.5 * self.scale.square()


@register_kl(LogNormal, LogNormal)
@in_double
def _kl_log_normal(p: LogNormal, q: LogNormal) -> Tensor:
    """The divergence of the normal distributions of log(y)."""
    return 0.5 * (expm1mx(2 * (p.log_scale - q.log_scale)) + ((p.loc - q.loc) / q.scale).square())


class LogNormalFamily(Family):
    """The log-normal family: log(y) is normal with mean loc and standard deviation scale, y > 0.

    All parameters have shape (...,).

    Args:
        parametrization: "loc" for the parameters loc and scale, "mean" for mean = E[Y] =
            exp(loc + scale^2 / 2) and scale.

    Raises:
        ValueError: for another parametrization.
    """

    name = "log_normal"
    support = constraints.positive
    fast_range = {"y": (1e-4, 1e5), "scale": (1e-6, 1e6)}
    least_log_std = 2e-3
    data_type = "univariate, continuous, bounded below"
    domain = "y > 0"
    use = "magnitudes"
    loss = "mean squared error of log y"
    noise = (
        "Multiplicative noise of many small independent causes: errors in per cent rather than in "
        "units."
    )
    density = "p(y) = exp(-(log y - loc)^2 / (2 scale^2)) / (y scale sqrt(2 pi))"
    breaks = (
        "Values near zero are outliers on the logarithmic scale. The mean, exp(loc + scale^2 / 2), "
        "reacts strongly to the scale."
    )
    remedy = (
        "gamma or weibull when small values are common; where there are zeros, hurdle: see at the "
        "edge."
    )
    edge_remedy = GammaFamily.edge_remedy

    def __init__(self, parametrization: str = "loc"):
        if parametrization not in ("loc", "mean"):
            raise unknown_name("parametrization", parametrization, ["loc", "mean"])
        self.parametrization = parametrization
        self.distribution_class = MeanLogNormal if parametrization == "mean" else LogNormal
        if parametrization == "mean":
            self.parameters = {"mean": LINKS["softplus"], "scale": LINKS["softplus"]}
            # the scale squared stands in loc, whose rounding a small scale would magnify
            self.fast_range = {"y": (1e-4, 1e5), "mean": (1e-4, 1e5), "scale": (0.05, 4.0)}
        else:
            self.parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"]}

    def make(self, **parameters: Tensor) -> LogNormal:
        if self.parametrization == "mean":
            return MeanLogNormal(**parameters)
        return LogNormal(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        logs = y.log()
        # Constant targets start with a scale of one per cent: logarithms have no unit to compare
        # with.
        std = logs.std(0, correction=0)
        scale = torch.where(y.amin(0) < y.amax(0), std.clamp(min=1e-6), 0.01)
        loc = logs.mean(0)
        if self.parametrization == "mean":
            return {"mean": torch.exp(loc + 0.5 * scale.square()), "scale": scale}
        return {"loc": loc, "scale": scale}
