"""The Poisson distribution: counts of independent events at a rate."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import HALF_LOG_TWO_PI, positive, tensors
from disthead.distributions.discrete import OUTSIDE, Discrete, bernstein_bounds, search_start
from disthead.distributions.mass_tables import by_recurrence, entropy_of_bell
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import (
    deviance,
    gammaincc,
    integer_inverse,
    log_gammainc,
    log_gammaincc,
    poisson_log_mass,
)
from disthead.special.fast import Positive, gamma_remainder, log_ratio_less
from disthead.special.plain import ndtri
from disthead.special.stirling import lgamma

__all__ = ["Poisson", "PoissonFamily", "positive_mean"]


class Poisson(Discrete):
    """Poisson distribution with mass m^y exp(-m) / y! on y = 0, 1, 2, ..., m = rate * exposure.

    The mass is computed from Stirling errors and deviances (Loader 2000), so that nothing cancels
    at large counts.

    Args:
        rate: expected count per unit of exposure, shape (...,), positive.
        log_rate: log(rate); the rate, its logarithm or both are given.
        exposure: the duration or size over which each row was counted, shape (...,), positive;
            None is 1.

    >>> Poisson(1e6).log_prob(torch.tensor(1_000_000))
    tensor(-7.8267)
    """

    arg_constraints = {"rate": constraints.positive, "exposure": constraints.positive}
    support = constraints.nonnegative_integer
    _search_steps = 3  # `_bracket` leaves few integers
    exposure = None

    def __init__(self, rate=None, *, log_rate=None, exposure=None):
        rate, log_rate, exposure = tensors(rate, log_rate, exposure)
        rate, log_rate = positive(rate, log_rate)
        row_constants = {} if exposure is None else {"exposure": exposure}
        self._store(rate=rate, log_rate=log_rate, **row_constants)

    @property
    def _expected(self) -> Tensor:
        rate = self.rate  # first: a head's distribution then has its exposure, too
        return rate if self.exposure is None else rate * self.exposure

    @property
    def _log_expected(self) -> Tensor:
        log_rate = self.log_rate
        return log_rate if self.exposure is None else log_rate + self.exposure.log()

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, rate: Positive, exposure: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(rate), and by any exposure.

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        mean = rate if exposure is None else rate.times(exposure)
        w, by_mean = y + 0.5, y - mean.value
        excess = log_ratio_less(mean.value / w, (mean.value - w) / w)
        value = w * excess - 0.5 * mean.log - gamma_remainder(y) - HALF_LOG_TWO_PI
        return (value, by_mean) if exposure is None else (value, by_mean, by_mean / exposure)

    def _log_mass(self, x: Tensor) -> Tensor:
        mean = self._expected
        lost = mean <= 2 * torch.finfo(mean.dtype).tiny  # only its logarithm is exact
        alone = x * torch.where(lost, self._log_expected, 0.0) - lgamma(x + 1)
        return torch.where(lost, alone, poisson_log_mass(x, torch.where(lost, 1.0, mean)))

    def _cdf(self, k: Tensor) -> Tensor:
        return gammaincc(k + 1, self._expected)

    def _log_cdf(self, k: Tensor) -> Tensor:
        return log_gammaincc(k + 1, self._expected)

    def _log_survival(self, k: Tensor) -> Tensor:
        return log_gammainc(k + 1, self._expected)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        tail = torch.full_like(self._expected, OUTSIDE)
        return self._reach(tail, tail)

    def _reach(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        return bernstein_bounds(self._expected, self._expected, 1 / 3, below, above)

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """The quantiles to within one, by bounds on the signed root deviance (Short 2013)."""
        mean = self._expected
        lower, upper = self._reach(below, above)
        left = below <= above
        z = ndtri(torch.where(left, below, above))

        def signed_root(k: Tensor) -> Tensor:
            return torch.sign(k - mean) * (2 * deviance(k, mean)).sqrt()

        with torch.no_grad():
            k = integer_inverse(signed_root, torch.where(left, z, -z), lower, upper, 32)
        slack = 1 + 1e-12 * k
        return torch.maximum(k - 1 - slack, lower).floor(), (k + slack).ceil()

    def _masses(self, first: Tensor, width: int) -> Tensor:
        return by_recurrence(
            self, first, width, lambda inverse: inverse.mul_(self._expected[:, None])
        )

    def _entropy_of_wide(self, first: Tensor, last: Tensor) -> Tensor:
        return entropy_of_bell(self, first, last)

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        return search_start(self._expected, self._expected.sqrt(), self._skewness, below, above)

    @property
    def _skewness(self) -> Tensor:
        return self._expected.rsqrt()

    @property
    def mean(self) -> Tensor:
        return self._expected

    variance = mean

    @property
    @in_double
    def mode(self) -> Tensor:
        """The largest integer up to the mean; mean - 1 is as probable where the mean is whole."""
        return self._expected.floor()

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        mean = self._in_double()._expected
        return torch.poisson(mean.expand(self._extended_shape(sample_shape)), generator).to(
            self.dtype
        )

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in counts.

        (y - m) (2 F(y) - 1) + 2 m p(floor(y)) - m exp(-2 m) (I0(2 m) + I1(2 m)), after Wei and Held
        2014.
        """
        m = self._expected
        half_mean_difference = m * (torch.special.i0e(2 * m) + torch.special.i1e(2 * m))
        return (
            (y - m) * (2 * self.cdf(y) - 1)
            + 2 * m * self.log_prob(y.floor()).exp()
            - half_mean_difference
        )


@register_kl(Poisson, Poisson)
@in_double
def _kl_poisson(p: Poisson, q: Poisson) -> Tensor:
    """The divergence m log(m / n) - m + n, for the means m of p and n of q."""
    return deviance(p._expected, q._expected)


class PoissonFamily(Family):
    """The Poisson family: p(y) = m^y exp(-m) / y!, m = rate * exposure, for y = 0, 1, 2, ...

    Its parameter is `rate`, shape (...,); each row may have an exposure.
    """

    name = "poisson"
    figure_row = 10
    parameters = {"rate": LINKS["softplus"]}
    support = constraints.nonnegative_integer
    fast_range = {"y": (0.0, 1e5), "rate": (1e-6, 1e5)}
    row_constants = {"exposure": constraints.positive}
    grad_takes_exposure = True
    distribution_class = Poisson
    data_type = "univariate, discrete, bounded below"
    domain = "y in {0, 1, 2, ...}"
    use = "event counts"
    loss = "Poisson deviance"
    noise = (
        "Counts of events that happen independently of each other at a rate set by the features; "
        "the variance is the mean."
    )
    density = "p(y) = m^y exp(-m) / y!, m = rate * exposure"
    breaks = (
        "Real counts often scatter more than their mean: unseen differences between rows, events "
        "in clusters, too many zeros."
    )
    remedy = (
        "negative_binomial for extra scatter and many zeros; name unequal observation times as "
        "exposure. Extra zeros of another origin take zero_inflated, and zeros of one origin "
        "hurdle."
    )

    def make(self, **parameters: Tensor) -> Poisson:
        return Poisson(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return {"rate": positive_mean(y)}


def positive_mean(y: Tensor) -> Tensor:
    """The mean count, shape (...), where no event in any row counts as half an event.

    Args:
        y: counts, shape (N, ...).
    """
    return y.double().mean(0).clamp(min=0.5 / len(y))
