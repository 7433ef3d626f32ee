"""Huber's density: a normal core with Laplace tails, whose loss is Huber's."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import as_number
from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.distributions.location_scale import Symmetric, divergence_between_kinks
from disthead.distributions.univariate import in_double, with_min_scale
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import log_ndtr_difference
from disthead.special.plain import erf, ndtr, ndtri
from disthead.special.probabilities import log_sum_exp

__all__ = ["Huber", "HuberFamily"]

_ROOT_HALF_PI = math.sqrt(math.pi / 2)
_DELTA = 1.345  # 95 % efficiency at the normal distribution


class Huber(Symmetric):
    """Distribution with density exp(-rho(z)) / (scale N), z = (y - loc) / scale, for real y.

    Here rho(z) is Huber's loss: z^2 / 2 for |z| <= delta, delta |z| - delta^2 / 2 beyond. The
    constant is N = sqrt(2 pi) (2 Phi(delta) - 1) + 2 exp(-delta^2 / 2) / delta. It is the least
    informative of all contaminated normal distributions. Source: Huber 1964, Robust estimation of a
    location parameter.

    Args:
        loc: mean, median and mode, shape (...,).
        scale: standard deviation of the normal core, shape (...,), positive, in the units of y.
        delta: where the core ends and the tails begin, shape (...,), positive, in units of the
            scale; for large values the distribution is normal, for small ones Laplace's with the
            scale scale / delta.
        log_scale: log(scale); the scale, its logarithm or both are given.
        log_delta: log(delta); delta, its logarithm or both are given.

    >>> dist = Huber(0.0, 1.0, 1.345)
    >>> dist.log_prob(torch.tensor(0.0)) - dist.log_prob(torch.tensor(1.0))
    tensor(0.5000)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "delta": constraints.positive,
    }

    def __init__(self, loc, scale=None, delta=None, *, log_scale=None, log_delta=None):
        self._set_parameters(
            loc=loc, scale=scale, delta=delta, log_scale=log_scale, log_delta=log_delta
        )

    def _parts(self) -> tuple[Tensor, Tensor]:
        """The shares of the tails and of the core in N, times delta / 2."""
        delta = self.delta
        return torch.exp(-0.5 * delta.square()), _ROOT_HALF_PI * delta * erf(delta / math.sqrt(2))

    def _log_constant(self) -> Tensor:
        tails, core = self._parts()
        return math.log(2) - self.log_delta + torch.log(tails + core)

    def _log_density(self, z: Tensor) -> Tensor:
        distance = z.abs()
        inner = torch.minimum(distance, self.delta)
        loss = inner * (distance - 0.5 * inner)
        return -loss - self._log_constant()

    def _log_tail(self, distance: Tensor) -> Tensor:
        delta, log_constant = self.delta, self._log_constant()
        beyond = torch.maximum(distance - delta, torch.zeros_like(delta))
        far = -delta * beyond - 0.5 * delta.square() - self.log_delta
        within = torch.minimum(distance, delta)
        # The probability of an empty interval is 0, whose logarithm has no slope.
        is_core = distance < delta
        core = log_ndtr_difference(
            torch.where(is_core, within, 0.0), torch.where(is_core, delta, 1.0)
        )
        core = torch.where(is_core, core + HALF_LOG_TWO_PI, -torch.inf)
        return log_sum_exp(torch.stack([far, core], -1)) - log_constant

    def _tail_quantile(self, tail: Tensor) -> Tensor:
        delta = self.delta
        tails, core = self._parts()
        outside = 0.5 * tails / (tails + core)
        is_far = tail < outside
        log_ratio = torch.log(torch.where(is_far, outside / tail, 1.0))
        beyond = delta + log_ratio / delta
        # Phi(-distance), from the far end for broad cores, and from the middle for narrow ones.
        share = (tails + core) / (_ROOT_HALF_PI * delta)  # N / sqrt(2 pi)
        excess = tails / (delta * 2 * _ROOT_HALF_PI) - ndtr(-delta)
        inner = torch.where(is_far, 0.25, tail)
        probability = torch.where(delta > 1, inner * share - excess, 0.5 - (0.5 - inner) * share)
        within = -ndtri(torch.where(is_far, 0.25, probability.clamp(0.0, 0.5)))
        return torch.where(is_far, beyond, torch.minimum(within, delta))

    @property
    @in_double
    def variance(self) -> Tensor:
        tails, core = self._parts()
        relative = (core + tails * (2 + 2 / self.delta.square())) / (tails + core)
        return self.scale.square() * relative

    @in_double
    def entropy(self) -> Tensor:
        """The entropy log(scale N) + E rho(Z), in nats."""
        tails, core = self._parts()
        return self.log_scale + self._log_constant() + (0.5 * core + tails) / (tails + core)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y.

        Both expectations are integrals of the normal density in the core and of exponentials in the
        tails, in closed form.
        """
        delta, distance = self.delta, self._standardised(y).abs()
        tails, core = self._parts()
        total = tails + core
        outside, share = 0.5 * tails / total, _ROOT_HALF_PI * delta / total
        is_core = distance < delta
        inner = torch.where(is_core, distance, 0.0)
        beyond = torch.where(is_core, 0.0, distance - delta)
        # the integral of t p(t) from the distance on
        moment = torch.where(
            is_core,
            torch.exp(-0.5 * inner.square()) + tails / delta.square(),
            tails * torch.exp(-delta * beyond) * (delta + beyond + 1 / delta) / delta,
        ) * (0.5 * delta / total)
        left = 1 - 2 * self._log_tail(distance).exp()
        density = tails * math.exp(-HALF_LOG_TWO_PI)
        half, wide = 0.5 * erf(delta / math.sqrt(2)), 0.5 * erf(delta)
        half_mean_difference = 2 * outside * (
            (1 - outside) * delta + (1 - 0.5 * outside) / delta
        ) - 2 * share.square() * (2 * density * half - wide / math.sqrt(math.pi))
        return self.scale * (distance * left + 2 * moment - half_mean_difference)


@register_kl(Huber, Huber)
@in_double
def _kl_huber(p: Huber, q: Huber) -> Tensor:
    """By quadrature between the ends of both cores, where the densities have a seam."""
    ends = [p.loc - p.delta * p.scale, p.loc + p.delta * p.scale]
    ends += [q.loc - q.delta * q.scale, q.loc + q.delta * q.scale]
    return divergence_between_kinks(p, q, torch.stack(torch.broadcast_tensors(*ends)))


class HuberFamily(Family):
    """Huber's family: p(y) = exp(-rho(z)) / (scale N(delta)), z = (y - loc) / scale, for real y.

    Here rho is Huber's loss with the threshold delta. The parameters are `loc`, `scale` and
    `delta`, shape (...,).

    Args:
        delta: the threshold, in units of the scale; None learns it.

    Raises:
        ValueError: for a delta that is not positive.
    """

    name = "huber"
    support = constraints.real
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "robust regression"
    loss = "Huber's loss: z^2 / 2 for |z| <= delta, delta |z| - delta^2 / 2 beyond"
    noise = (
        "Symmetric, additive noise that is normal up to delta standard deviations, with "
        "exponential tails beyond: a few outliers of moderate size."
    )
    density = (
        "p(y) = exp(-rho(z)) / (scale N), z = (y - loc) / scale, rho(z) = z^2 / 2 for "
        "|z| <= delta and delta |z| - delta^2 / 2 beyond, N the integral of exp(-rho(z))"
    )
    breaks = (
        "Gross outliers still count in proportion to their distance. Skewed or bounded targets get "
        "mass where none can be."
    )
    remedy = (
        "student_t or cauchy when outliers are extreme, normal when the tails are light, logistic "
        "for a density without a seam."
    )

    def __init__(self, delta: float | None = _DELTA):
        if delta is not None:
            expected = f"a positive number, such as {_DELTA}, or None to learn it"
            delta = as_number(delta, "delta of huber", expected, lambda x: 0 < x < math.inf)
        self.delta = delta
        link = LINKS["softplus"] if delta is None else LINKS["softplus"].constant(delta)
        self.parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"], "delta": link}

    def make(self, **parameters: Tensor) -> Huber:
        return Huber(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc = y.median(0).values
        # The median distance of a normal distribution is 0.6745 standard deviations; where half of
        # the targets have one value it is 0.
        distance = (y - loc).abs()
        typical = distance.median(0).values
        scale = torch.where(typical > 0, typical / 0.6745, distance.mean(0))
        delta = torch.full_like(loc, _DELTA if self.delta is None else self.delta)
        return {"loc": loc, "scale": with_min_scale(scale, y), "delta": delta}
