"""The negative binomial distribution: counts with a variance above their mean."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.arrays import exactly_one
from disthead.distributions.base import HALF_LOG_TWO_PI, positive, root, tensors, to_double
from disthead.distributions.discrete import OUTSIDE, Discrete, bernstein_bounds, search_start
from disthead.distributions.mass_tables import by_recurrence, crps_of, entropy_of_bell
from disthead.distributions.success import Success
from disthead.distributions.univariate import in_double
from disthead.errors import unknown_name
from disthead.families.family import Family
from disthead.families.gamma import log_standard_gamma
from disthead.families.poisson import positive_mean
from disthead.links import LINKS
from disthead.special import (
    betainc,
    integer_inverse,
    log_betainc,
    log_betaincc,
    negative_binomial_log_mass,
    tanh_sinh,
)
from disthead.special.eager import are_plain_numbers, extent
from disthead.special.fast import (
    Positive,
    digamma_remainder,
    gamma_remainder,
    log_ratio_less,
    sigmoids,
)
from disthead.special.plain import softplus
from disthead.special.probabilities import log_odds

__all__ = ["MeanNegativeBinomial", "NegativeBinomial", "NegativeBinomialFamily"]

_WIDEST = 256  # integers of a table, up to which it costs less than an integral
_MIN_BELL_COUNT = 30.0  # total count from which wide distributions have no probability next to 0


class NegativeBinomial(Success):
    """Negative binomial distribution: a Poisson distribution with a gamma-distributed rate.

    Its mass is Gamma(y + r) / (Gamma(r) y!) (1 - probs)^r probs^y on y = 0, 1, 2, ..., where r =
    total_count. The mean is r exp(logits), the variance mean + mean^2 / r. Source: Johnson, Kemp
    and Kotz 2005, Univariate Discrete Distributions, chapter 5.

    Args:
        total_count: r, shape (...,), positive, not necessarily whole; large values give the Poisson
            distribution.
        logits: log(probs / (1 - probs)) = log(mean / total_count), shape (...,).
        probs: shape (...,), between 0 and 1. Exactly one of probs and logits is given.
        log_total_count: log(r); r, log(r) or both are given.
        exposure: the duration or size over which each row was counted, shape (...,), positive; it
            multiplies the mean, so that its logarithm is added to the logits.

    Raises:
        ValueError: unless exactly one of logits and probs is given.

    >>> NegativeBinomial(1e6, logits=torch.tensor(0.0)).log_prob(torch.tensor(1_000_000))
    tensor(-8.1733)
    """

    arg_constraints = {
        "total_count": constraints.positive,
        "logits": constraints.real,
        "probs": constraints.half_open_interval(0.0, 1.0),
        "exposure": constraints.positive,
    }
    support = constraints.nonnegative_integer
    _search_steps = 30
    _widest_table = 512  # integers; beyond, the integral over most of them takes less time

    def __init__(
        self, total_count=None, logits=None, *, probs=None, log_total_count=None, exposure=None
    ):
        exactly_one("negative_binomial", logits=logits, probs=probs)
        total_count, logits, probs, log_total_count, exposure = tensors(
            total_count, logits, probs, log_total_count, exposure
        )
        if exposure is not None:
            odds = log_odds(probs) if logits is None else logits
            logits, probs = odds + exposure.log(), None
        total_count, log_total_count = positive(total_count, log_total_count)
        success = {"given_probs": probs} if logits is None else {"logits": logits}
        self._store(total_count=total_count, **success, log_total_count=log_total_count)

    @property
    def _odds(self) -> Tensor:
        """The odds probs / (1 - probs)."""
        return (
            self.logits.exp()
            if self.given_probs is None
            else self.given_probs / (1 - self.given_probs)
        )

    @property
    @in_double
    def mean(self) -> Tensor:
        if self.given_probs is not None:
            return self.total_count * self._odds
        return torch.exp(self.log_total_count + self.logits)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.mean / self._failure

    @property
    @in_double
    def stddev(self) -> Tensor:
        return root(self.variance)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The largest integer up to (r - 1) exp(logits); 0 for r < 1."""
        return ((self.total_count - 1).clamp(min=0) * self._odds).floor()

    @staticmethod
    def log_prob_and_grad(y: Tensor, total_count: Positive, logits: Tensor) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(total_count) and the logits.

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        r, (probs, ends) = total_count.value, sigmoids(logits)
        n = y + r
        u, v, w = y + 0.5, r + 0.5, n + 0.5
        rest = r - w * ends  # w probs - u
        of_y = log_ratio_less(w * probs / u, rest / u)
        excess = -(rest + 0.5) / v
        of_r = log_ratio_less(w * ends / v, excess)
        value = u * of_y + v * of_r - torch.log(n * torch.sqrt(w * probs * ends)) + total_count.log
        value += gamma_remainder(n) - gamma_remainder(r) - gamma_remainder(y) - HALF_LOG_TWO_PI
        by_step = digamma_remainder(n) - 1 / n - digamma_remainder(r)
        return value, r * (of_r + excess + by_step) + 1, y * ends - r * probs

    def _log_mass(self, x: Tensor) -> Tensor:
        impossible = (self.probs == 0) & (x > 0)
        possible = torch.where(impossible, 0.0, x)
        value = negative_binomial_log_mass(possible, self.total_count, self._failure, self.probs)
        return torch.where(impossible, -torch.inf, value)

    @property
    def _log_none(self) -> Tensor:
        """The logarithm of P(Y = 0)."""
        return self.total_count * self._log_failure

    def _cdf(self, k: Tensor) -> Tensor:
        ends = self._failure
        cdf = betainc(self.total_count, k + 1, ends, self.probs)
        return cdf if self._has_digits(ends) else torch.where(k == 0, self._log_none.exp(), cdf)

    def _log_cdf(self, k: Tensor) -> Tensor:
        ends = self._failure
        log_cdf = log_betainc(self.total_count, k + 1, ends, self.probs)
        return log_cdf if self._has_digits(ends) else torch.where(k == 0, self._log_none, log_cdf)

    def _has_digits(self, ends: Tensor) -> bool:
        """Whether 1 - probs has not underflowed; otherwise only its logarithm is exact."""
        return are_plain_numbers(ends) and extent(ends)[0] > torch.finfo(ends.dtype).tiny

    def _log_survival(self, k: Tensor) -> Tensor:
        return log_betaincc(self.total_count, k + 1, self._failure, self.probs)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        tail = torch.full_like(self.mean, OUTSIDE)
        return self._reach(tail, tail)

    def _reach(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        return bernstein_bounds(
            self.mean, self.variance, 1 / 3 + 1 / softplus(-self.logits), below, above
        )

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """A bracket by powers of 2^(1/4), since for small r quantiles may have any magnitude."""
        lower, upper = self._reach(below, above)
        steps = integer_inverse(lambda e: self.cdf(torch.exp2(e / 4) - 1), below, 0, 4096, 12)
        most = torch.exp2(steps / 4).ceil() - 1
        least = torch.where(steps > 0, torch.exp2((steps - 1) / 4).floor() - 1, 0.0)
        return torch.maximum(lower, least), torch.minimum(upper, most)

    def _masses(self, first: Tensor, width: int) -> Tensor:
        probs = self.probs[:, None]
        slope = (self.total_count - 1)[:, None] * probs
        return by_recurrence(self, first, width, lambda inverse: inverse.mul_(slope).add_(probs))

    def _entropy_of_wide(self, first: Tensor, last: Tensor) -> Tensor:
        is_bell = self.total_count >= _MIN_BELL_COUNT
        result = torch.empty_like(first)
        for way, rows in ((entropy_of_bell, is_bell), (Discrete._entropy_of_wide, ~is_bell)):
            if rows.any():
                result[rows] = way(self[rows], first[rows], last[rows])
        return result

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        return search_start(self.mean, self.stddev, self._skewness, below, above)

    @property
    def _skewness(self) -> Tensor:
        probs = self.probs
        return (1 + probs) / (self.total_count * probs).sqrt()

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact, shape = self._in_double(), self._extended_shape(sample_shape)
        r = exact.total_count.expand(shape)
        log_gamma = log_standard_gamma(r, generator)
        return torch.poisson(torch.exp(log_gamma + exact.logits), generator).to(self.dtype)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in counts.

        E|Y - y| = (y - mean) (2 F(y) - 1) + 2 (k + r) exp(logits) p(k) with k = floor(y), a partial
        expectation by the recurrence of the mass. The second term is an integral over the squared
        characteristic function; compare Wei and Held 2014.
        """
        if self._is_plain(y):
            return self._by_tables(
                lambda rows, masses, first, y: crps_of(masses, first, y),
                lambda rows, first, last, y: rows.map(
                    lambda part: part.unsqueeze(1)
                )._crps_in_closed_form(y),
                y,
                widest=_WIDEST,
            )
        return self._crps_in_closed_form(y)

    def _crps_in_closed_form(self, y: Tensor) -> Tensor:
        k = y.floor().clamp(min=0)
        flux = torch.exp(self._log_mass(k) + torch.log(k + self.total_count)) * self._odds
        distance = (y - self.mean) * (2 * self.cdf(y) - 1) + torch.where(y >= 0, 2 * flux, 0.0)
        return distance - self._half_mean_difference()

    def _half_mean_difference(self) -> Tensor:
        """E|Y - Y'| / 2 = (2 / pi) r s integral_0^V cos(t) cosh(v)^-(2 r + 1) dv.

        Here sin(t) = sinh(v) / (2 s), s = sqrt(probs) / (1 - probs) and sinh(V) = 2 s. It is
        Euler's integral for the hypergeometric function of the closed form. In this variable the
        peak at t = 0 has a width of about 1 / sqrt(r), or of one unit.
        """
        certain = self.probs == 0  # a point mass at 0, next to which the difference is r probs
        probs, ends = (
            torch.where(certain, 0.5, self.probs),
            torch.where(certain, 0.5, self._failure),
        )
        r, s = self.total_count, probs.sqrt() / ends
        whole = torch.asinh(2 * s)
        depth = 45 / (2 * r + 1)  # log cosh(v) beyond which the integrand is negligible
        end = torch.minimum(whole, depth + torch.log1p((-torch.expm1(-2 * depth)).sqrt()))
        t, complement, weights = (part.reshape((-1,) + (1,) * r.ndim) for part in tanh_sinh(161, r))
        v, rest = end * t, (whole - end) + end * complement
        cosine = (torch.sinh(rest) * torch.sinh(v + whole)).sqrt() / (2 * s)
        peak = torch.exp(-(2 * r + 1) * torch.log1p(2 * torch.sinh(v / 2).square()))
        value = 2 / math.pi * r * s * end * (weights * cosine * peak).sum(0)
        return torch.where(certain, r * self.probs, value)


class MeanNegativeBinomial(NegativeBinomial):
    """Negative binomial distribution by its mean and its total count, on y = 0, 1, 2, ...

    The mass is that of `NegativeBinomial` with logits = log(mean / total_count); the variance is
    mean + mean^2 / total_count.

    Args:
        mean: expected count per unit of exposure, shape (...,), positive.
        total_count: shape (...,), positive; its inverse is the overdispersion.
        log_mean: log(mean); the mean, its logarithm or both are given.
        log_total_count: log(total_count); the count, its logarithm or both are given.
        exposure: the duration or size over which each row was counted, shape (...,), positive; it
            multiplies the mean.

    >>> MeanNegativeBinomial(4.0, 2.0).variance
    tensor(12.)
    """

    arg_constraints = {
        "mean": constraints.positive,
        "total_count": constraints.positive,
        "exposure": constraints.positive,
    }

    def __init__(
        self, mean=None, total_count=None, *, log_mean=None, log_total_count=None, exposure=None
    ):
        inputs = tensors(mean, total_count, log_mean, log_total_count, exposure)
        mean, total_count, log_mean, log_total_count, exposure = inputs
        mean, log_mean = positive(mean, log_mean)
        total_count, log_total_count = positive(total_count, log_total_count)
        if exposure is not None:  # in double precision, which keeps the digits of the product
            mean = to_double(mean, log_mean) * to_double(exposure)
            log_mean = to_double(log_mean) + to_double(exposure).log()
        self._store(
            total_count=total_count,
            log_total_count=log_total_count,
            expected=mean,
            log_expected=log_mean,
        )

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "total_count": self.total_count}

    @property
    def mean(self) -> Tensor:
        return self.expected.to(self.dtype)

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, mean: Positive, total_count: Positive, exposure: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(mean) and log(total_count), and by any exposure.

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        mean = mean if exposure is None else mean.times(exposure)
        value, by_total_count, by_logits = NegativeBinomial.log_prob_and_grad(
            y, total_count, mean.over(total_count).log
        )
        slopes = value, by_logits, by_total_count - by_logits
        return slopes if exposure is None else (*slopes, by_logits / exposure)

    @property
    def logits(self) -> Tensor:
        """The log-odds log(mean / total_count)."""
        return self.log_expected - self.log_total_count

    @property
    def probs(self) -> Tensor:
        return self.expected / (self.expected + self.total_count)

    @property
    def _failure(self) -> Tensor:
        return self.total_count / (self.expected + self.total_count)


class NegativeBinomialFamily(Family):
    """The negative binomial family: p(y) = Gamma(y + r) / (Gamma(r) y!) (1 - probs)^r probs^y.

    The support is y = 0, 1, 2, ... All parameters have shape (...,).

    Args:
        parametrization: "logits" for the parameters total_count = r and logits, "mean" for
            mean = r exp(logits) and total_count. Rows may have an exposure by either.

    Raises:
        ValueError: for another parametrization.
    """

    name = "negative_binomial"
    support = constraints.nonnegative_integer
    fast_range = {"y": (0.0, 1e5), "mean": (1e-6, 1e6)}
    row_constants = {"exposure": constraints.positive}
    data_type = "univariate, discrete, bounded below"
    domain = "y in {0, 1, 2, ...}"
    use = "event counts with extra scatter"
    loss = "negative binomial deviance, the Poisson deviance for large total_count"
    noise = (
        "Counts at a rate that differs from row to row in ways the features do not show; the "
        "variance is mean + mean^2 / total_count."
    )
    density = (
        "p(y) = Gamma(y + r) / (Gamma(r) y!) (1 - probs)^r probs^y, r = total_count, probs = "
        "1 / (1 + exp(-logits)), mean = r exp(logits)"
    )
    breaks = (
        "Counts that scatter less than their mean cannot be had: total_count grows without end. "
        "Extra zeros bend the fit."
    )
    remedy = (
        "poisson for less scatter; name unequal observation times as exposure. Extra zeros "
        "of another origin take zero_inflated, and zeros of one origin hurdle."
    )

    def __init__(self, parametrization: str = "logits"):
        if parametrization not in ("logits", "mean"):
            raise unknown_name("parametrization", parametrization, ["logits", "mean"])
        self.parametrization = parametrization
        self.distribution_class = (
            MeanNegativeBinomial if parametrization == "mean" else NegativeBinomial
        )
        if parametrization == "mean":
            self.parameters = {"mean": LINKS["softplus"], "total_count": LINKS["softplus"]}
            self.grad_takes_exposure = True
        else:
            self.parameters = {"total_count": LINKS["softplus"], "logits": LINKS["identity"]}

    def make(self, **parameters: Tensor) -> NegativeBinomial:
        return (
            MeanNegativeBinomial(**parameters)
            if self.parametrization == "mean"
            else NegativeBinomial(**parameters)
        )

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        mean = positive_mean(y)
        excess = y.double().var(0, correction=0) - mean
        total_count = mean.square() / excess.clamp(min=1e-6 * mean.square())
        total_count = torch.where(excess > 0, total_count, 1e6)
        if self.parametrization == "mean":
            return {"mean": mean, "total_count": total_count}
        return {"total_count": total_count, "logits": (mean / total_count).log()}
