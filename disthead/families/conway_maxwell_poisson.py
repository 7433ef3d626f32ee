"""The Conway-Maxwell-Poisson distribution: counts with any scatter, from geometric to Bernoulli."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import HALF_LOG_TWO_PI, positive, tensors, to_double
from disthead.distributions.summed import Summed, rule_over_integers
from disthead.distributions.univariate import in_double
from disthead.errors import unknown_name
from disthead.families.family import Family
from disthead.families.poisson import positive_mean
from disthead.links import LINKS
from disthead.special import poisson_log_mass
from disthead.special.eager import are_concrete, extent

__all__ = [
    "ConwayMaxwellPoisson",
    "ConwayMaxwellPoissonFamily",
    "MeanConwayMaxwellPoisson",
]

_LEAST_NU = 0.05  # of a layer's outputs: below, the mean rate^(1 / nu) has any magnitude
_MOST_LOG_CENTRE = 690.0  # exp of it is still a number
_SMALL_LOG_CENTRE = 4.0
_FAR_CENTRE = 1e9  # from which on the normaliser is its asymptotic series
_LOG_FAR_CENTRE = math.log(_FAR_CENTRE)
_STEPS = 60  # of Newton's method at most, and in graphs
_STEPS_OF_GRAPHS = 16


class ConwayMaxwellPoisson(Summed):
    """Conway-Maxwell-Poisson distribution with mass rate^y / (y!)^nu / Z on y = 0, 1, 2, ...

    The normalising constant Z is the sum of rate^j / (j!)^nu over all j. With nu = 1 it is the
    Poisson distribution; below 1 counts scatter more, down to the geometric distribution at nu = 0
    and rate < 1, above 1 they scatter less, up to 0 or 1 for nu without end. Z is a sum over as
    many integers as have probability; where these are many, an integral stands for most of them.
    Source: Conway and Maxwell 1962; Shmueli et al. 2005; Gaunt et al. 2019 on Z.

    Args:
        rate: shape (...,), positive; about mean^nu, not the mean.
        nu: the rate of decay, shape (...,), positive.
        log_rate: log(rate); the rate, its logarithm or both are given.
        log_nu: log(nu); nu, its logarithm or both are given.

    >>> ConwayMaxwellPoisson(3.0, 1.0).log_prob(torch.tensor(2)).exp()
    tensor(0.2240)
    """

    arg_constraints = {"rate": constraints.positive, "nu": constraints.positive}
    support = constraints.nonnegative_integer

    def __init__(self, rate=None, nu=None, *, log_rate=None, log_nu=None):
        self._set_parameters(rate=rate, nu=nu, log_rate=log_rate, log_nu=log_nu)

    @property
    def _log_centre(self) -> Tensor:
        """The logarithm of rate^(1 / nu), next to which the masses have their peak."""
        return (self.log_rate / self.nu).clamp(max=_MOST_LOG_CENTRE)

    def _log_weight(self, x: Tensor) -> Tensor:
        return self.log_rate * x - self.nu * torch.lgamma(x + 1)

    def _exact_weight(self, x: Tensor) -> Tensor:
        """As `_log_weight` but for a constant; its terms do not cancel at large centres.

        It is nu times the log mass of a Poisson distribution around the centre. A centre below 1
        may underflow, and small ones lose nothing.
        """
        log_centre = self._log_centre
        if are_concrete(log_centre) and extent(log_centre)[1] < _SMALL_LOG_CENTRE:
            return self._log_weight(x)
        rises = self.log_rate > 0
        centre = torch.where(rises, log_centre, 0.0).exp()
        falling = torch.where(rises, 0.0, self.log_rate) * x - self.nu * torch.lgamma(x + 1)
        return torch.where(rises, self.nu * poisson_log_mass(x, centre), falling)

    def _log_mass(self, x: Tensor) -> Tensor:
        return self._exact_weight(x) - self._log_normaliser()

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Integers (terms, ...), and the share of each in the sum of all weights."""
        k, log_terms, sign = self._terms()
        top = log_terms.detach().amax(0)
        share = sign * (log_terms - top).exp()
        return k, share / share.sum(0)

    def _terms(self) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            peak = self.mode.clamp(max=_FAR_CENTRE)
            parts = [
                rule_over_integers(self._lowest(peak), peak),
                rule_over_integers(peak + 1, self._highest(peak + 1)),
            ]
            k, log_weight, sign = (torch.cat(pair) for pair in zip(*parts, strict=True))
        return k, self._exact_weight(k) + log_weight, sign

    def _log_normaliser(self) -> Tensor:
        """The logarithm of the sum of all weights."""
        _, log_terms, sign = self._terms()
        top = log_terms.detach().amax(0)
        by_sum = (sign * (log_terms - top).exp()).sum(0).log() + top
        far = self._log_centre > _LOG_FAR_CENTRE
        # Gaunt et al. 2019, to the first order in 1 / (nu centre)
        log_centre, nu = torch.where(far, self._log_centre, 0.0), self.nu
        flat = (1 - nu) * (HALF_LOG_TWO_PI + 0.5 * log_centre) - 0.5 * nu.log()
        correction = (nu.square() - 1) / (24 * nu) * torch.exp(-log_centre)
        return torch.where(far, flat + torch.where(far, correction, 0.0), by_sum)

    def _moments(self) -> tuple[Tensor, Tensor]:
        k, share = self._nodes()
        mean = (share * k).sum(0)
        return mean, (share * (k - mean).square()).sum(0)

    @property
    @in_double
    def mean(self) -> Tensor:
        far = self._log_centre > _LOG_FAR_CENTRE
        inner = torch.where(far, self._log_centre, 0.0).exp()
        return torch.where(far, inner + (1 - self.nu) / (2 * self.nu), self._moments()[0])

    @property
    @in_double
    def variance(self) -> Tensor:
        far = self._log_centre > _LOG_FAR_CENTRE
        inner = torch.where(far, self._log_centre, 0.0).exp()
        return torch.where(far, inner / self.nu, self._moments()[1])

    @property
    @in_double
    def mode(self) -> Tensor:
        """The largest integer up to rate^(1 / nu)."""
        return self._log_centre.exp().floor()


class MeanConwayMaxwellPoisson(ConwayMaxwellPoisson):
    """Conway-Maxwell-Poisson distribution by its mean and nu, on y = 0, 1, 2, ...

    The mass is that of `ConwayMaxwellPoisson` with the rate that gives the mean, found by Newton's
    method. Source: Huang 2017.

    Args:
        mean: expected count, shape (...,), positive.
        nu: shape (...,), positive: 1 is the Poisson distribution, below it counts scatter more.
        log_mean: log(mean); the mean, its logarithm or both are given.
        log_nu: log(nu); nu, its logarithm or both are given.

    >>> MeanConwayMaxwellPoisson(3.0, 1.0).rate
    tensor(3.)
    """

    arg_constraints = {"mean": constraints.positive, "nu": constraints.positive}

    def __init__(self, mean=None, nu=None, *, log_mean=None, log_nu=None):
        mean, nu, log_mean, log_nu = tensors(mean, nu, log_mean, log_nu)
        mean, log_mean = positive(mean, log_mean)
        nu, log_nu = positive(nu, log_nu)
        log_rate = _log_rate(to_double(log_mean), to_double(nu, log_nu))
        self._store(expected=mean, nu=nu, log_expected=log_mean, log_nu=log_nu, log_rate=log_rate)

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "nu": self.nu}

    @property
    def rate(self) -> Tensor:
        """The rate, about mean^nu."""
        return self.log_rate.exp().to(self.dtype)

    @property
    def mean(self) -> Tensor:
        return self.expected


def _log_rate(log_mean: Tensor, nu: Tensor) -> Tensor:
    """The logarithm of the rate with this mean.

    At one mean the rate rises with nu, from the geometric distribution at 0 past the Poisson
    distribution at 1, and it is the mean of Y^nu: both give bounds.
    """
    log_mean, nu = torch.broadcast_tensors(log_mean, nu)
    mean = log_mean.exp()
    with torch.no_grad():
        geometric, power = log_mean - torch.log1p(mean), nu * log_mean
        wide = nu < 1
        lower = torch.where(wide, geometric, torch.maximum(log_mean, power))
        upper = torch.where(wide, torch.minimum(log_mean, power), nu * torch.log(mean + 2))
        upper = torch.maximum(lower, upper)
        x = torch.where(wide, geometric + nu * (log_mean - geometric), lower)
        x = torch.minimum(torch.maximum(x, lower), upper)
        concrete = are_concrete(x)
        for _ in range(_STEPS if concrete else _STEPS_OF_GRAPHS):
            at, variance = ConwayMaxwellPoisson(log_rate=x, nu=nu)._moments()
            lower = torch.where(at <= mean, torch.maximum(lower, x), lower)
            upper = torch.where(at >= mean, torch.minimum(upper, x), upper)
            following = x + (log_mean - at.log()) * at / variance
            inside = (following >= lower) & (following <= upper)
            following = torch.where(inside, following, (lower + upper) / 2)
            settled = (following - x).abs() <= 1e-15 * (1 + x.abs())
            x = following
            if concrete and bool(settled.all()):
                break
    # one more step, whose gradients are those of the implicit function
    at, variance = ConwayMaxwellPoisson(log_rate=x.detach(), nu=nu)._moments()
    return x + (mean - at) / variance.detach()


class ConwayMaxwellPoissonFamily(Family):
    """The Conway-Maxwell-Poisson family: p(y) = rate^y / (y!)^nu / Z for y = 0, 1, 2, ...

    All parameters have shape (...,).

    Args:
        parametrization: "rate" for the parameters rate and nu, "mean" for the mean and nu.

    Raises:
        ValueError: for another parametrization.
    """

    name = "conway_maxwell_poisson"
    support = constraints.nonnegative_integer
    data_type = "univariate, discrete, bounded below"
    domain = "y in {0, 1, 2, ...}"
    use = "event counts with more or less scatter than their mean"
    loss = "Conway-Maxwell-Poisson log-likelihood, the Poisson deviance at nu = 1"
    noise = (
        "Events whose rate of occurrence falls (nu above 1) or rises with the number that there "
        "are already; the variance is about mean / nu."
    )
    density = "p(y) = rate^y / (y!)^nu / Z, where Z is the sum of rate^j / (j!)^nu over all j"
    breaks = (
        "The rate is not the mean, and for small nu a small change of it multiplies the mean. With "
        "small means the scatter can hardly be told from the mean."
    )
    remedy = (
        "parametrization='mean' for coefficients that act on the mean; poisson where nu is near 1, "
        "negative_binomial for more scatter, which is computed faster."
    )

    def __init__(self, parametrization: str = "rate"):
        if parametrization not in ("rate", "mean"):
            raise unknown_name("parametrization", parametrization, ["rate", "mean"])
        self.parametrization = parametrization
        softplus = LINKS["softplus"]
        self.parameters = (
            {"mean": softplus, "nu": softplus}
            if parametrization == "mean"
            else {"rate": softplus, "nu": softplus.shifted(_LEAST_NU)}
        )

    def make(self, **parameters: Tensor) -> ConwayMaxwellPoisson:
        return (
            MeanConwayMaxwellPoisson(**parameters)
            if self.parametrization == "mean"
            else ConwayMaxwellPoisson(**parameters)
        )

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        mean = positive_mean(y)
        nu = (mean / y.double().var(0, correction=0).clamp(min=1e-2)).clamp(0.1, 10.0)
        if self.parametrization == "mean":
            return {"mean": mean, "nu": nu}
        return {"rate": _log_rate(mean.log(), nu).exp(), "nu": nu}
