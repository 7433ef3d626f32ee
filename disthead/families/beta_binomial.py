"""The beta-binomial distribution: successes among trials that resemble each other."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from disthead.distributions.base import logits_of, positive, tensors
from disthead.distributions.bounded_counts import BoundedCount
from disthead.distributions.summed import DEPTH, Summed
from disthead.distributions.univariate import in_double, with_grad_through_log
from disthead.errors import unknown_name
from disthead.families.gamma import log_standard_gamma
from disthead.families.trials import TrialsFamily
from disthead.links import LINKS
from disthead.special import negative_binomial_log_mass

__all__ = ["BetaBinomial", "BetaBinomialFamily", "MeanBetaBinomial"]


class BetaBinomial(BoundedCount, Summed):
    """Beta-binomial distribution: a binomial one whose probability has a beta distribution.

    Its mass is n! / (y! (n - y)!) B(y + a, n - y + b) / B(a, b) on y = 0, 1, ..., n, where n =
    total_count, a = concentration1 and b = concentration0. The variance is that of a binomial times
    1 + (n - 1) / (a + b + 1). Source: Skellam 1948; Johnson, Kemp and Kotz 2005, Univariate
    Discrete Distributions, section 6.2.2.

    Args:
        concentration1: a, shape (...,), positive.
        concentration0: b, shape (...,), positive.
        total_count: the number of trials, shape (...,), a whole number, zero or more.
        log_concentration1: log(a); a, log(a) or both are given.
        log_concentration0: log(b); b, log(b) or both are given.

    >>> BetaBinomial(1.0, 1.0, 4).log_prob(torch.tensor(3)).exp()
    tensor(0.2000)
    """

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
        "total_count": constraints.nonnegative_integer,
    }
    _widest_of_scores = 1 << 16
    _half_mean_difference = Summed._half_mean_difference

    def __init__(
        self,
        concentration1=None,
        concentration0=None,
        total_count=1,
        *,
        log_concentration1=None,
        log_concentration0=None,
    ):
        self._set_parameters(
            concentration1=concentration1,
            concentration0=concentration0,
            total_count=total_count,
            log_concentration1=log_concentration1,
            log_concentration0=log_concentration0,
        )

    @property
    def _total(self) -> Tensor:
        return self.concentration1 + self.concentration0

    @property
    def _share(self) -> Tensor:
        """The mean share of successes, a / (a + b)."""
        return self.concentration1 / self._total

    def _log_mass(self, x: Tensor) -> Tensor:
        # Of two negative binomial counts with one probability, given their sum. Any probability
        # gives the same; with this one the sum equals its mean, so that nothing large cancels.
        n, total = self.total_count, self._total
        ends, probs = (total / (n + total)).detach(), (n / (n + total)).detach()
        return (
            negative_binomial_log_mass(x, self.concentration1, ends, probs)
            + negative_binomial_log_mass(n - x, self.concentration0, ends, probs)
            - negative_binomial_log_mass(n, total, ends, probs)
        )

    def _log_weight(self, x: Tensor) -> Tensor:
        n, a, b = self.total_count, self.concentration1, self.concentration0
        rest = n - x
        return (
            torch.lgamma(x + a) - torch.lgamma(x + 1)
            + torch.lgamma(rest + b) - torch.lgamma(rest + 1)
        )  # fmt: skip

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.total_count * self._share

    @property
    @in_double
    def variance(self) -> Tensor:
        n, total = self.total_count, self._total
        room = self._share * (self.concentration0 / total)
        return n * room * ((n + total) / (1 + total))

    @property
    @in_double
    def mode(self) -> Tensor:
        """The most probable count; of the two ends where both are peaks, the more probable one."""
        n, a, b = self.total_count, self.concentration1, self.concentration0
        above = self._total - 2
        has_peak = above > 0
        inner = ((n + 1) * (a - 1) / torch.where(has_peak, above, 1.0)).floor()
        return torch.where(
            has_peak, torch.minimum(inner.clamp(min=0), n), torch.where(a >= b, n, 0.0)
        )

    @property
    def _has_two_peaks(self) -> Tensor:
        return (self.concentration1 < 1) & (self.concentration0 < 1)

    def _lowest(self, k: Tensor, depth: Tensor | float = DEPTH) -> Tensor:
        return torch.where(self._has_two_peaks, 0.0, super()._lowest(k, depth))

    def _highest(self, k: Tensor, depth: Tensor | float = DEPTH) -> Tensor:
        return torch.where(self._has_two_peaks, self.total_count, super()._highest(k, depth))

    def _flux(self, k: Tensor) -> Tensor:
        return (self.total_count - k) * ((k + self.concentration1) / self._total)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact, shape = self._in_double(), self._extended_shape(sample_shape)
        first, second = (
            log_standard_gamma(concentration.expand(shape), generator)
            for concentration in (exact.concentration1, exact.concentration0)
        )
        total_count = exact.total_count.expand(shape)
        y = torch.binomial(total_count, torch.sigmoid(first - second), generator=generator)
        return y.to(self.dtype)


class MeanBetaBinomial(BetaBinomial):
    """Beta-binomial distribution by the mean share of successes and its precision.

    The mass is that of `BetaBinomial` with a = mean * precision and b = (1 - mean) * precision; the
    correlation of two trials of one row is 1 / (1 + precision).

    Args:
        mean: expected share of successes, shape (...,), between 0 and 1; the expected count
            (`BetaBinomial.mean`) is total_count times as large.
        precision: a + b, shape (...,), positive; large values give the binomial distribution.
        total_count: the number of trials, shape (...,), a whole number, zero or more.
        logits_mean: log(mean / (1 - mean)); the mean, its logits or both are given.
        log_precision: log(precision); the precision, its logarithm or both are given.

    >>> MeanBetaBinomial(0.5, 2.0, 4).log_prob(torch.tensor(3)).exp()
    tensor(0.2000)
    """

    arg_constraints = {
        "mean": constraints.unit_interval,
        "precision": constraints.positive,
        "total_count": constraints.nonnegative_integer,
    }

    def __init__(
        self, mean=None, precision=None, total_count=1, *, logits_mean=None, log_precision=None
    ):
        inputs = tensors(mean, precision, total_count, logits_mean, log_precision)
        mean, precision, total_count, logits_mean, log_precision = inputs
        precision, log_precision = positive(precision, log_precision)
        logits_mean = logits_of(mean, logits_mean)
        self._store(
            precision=precision,
            logits_mean=logits_mean,
            total_count=total_count,
            log_precision=log_precision,
        )

    @property
    def parameters(self) -> dict[str, Tensor]:
        mean = self._share.to(self.dtype)
        return {"mean": mean, "precision": self.precision, "total_count": self.total_count}

    @property
    def _share(self) -> Tensor:
        return self.logits_mean.sigmoid()

    @property
    def _total(self) -> Tensor:
        return self.precision

    @property
    def concentration1(self) -> Tensor:
        """The product mean * precision."""
        return self._part(self.logits_mean)

    @property
    def concentration0(self) -> Tensor:
        """The product (1 - mean) * precision."""
        return self._part(-self.logits_mean)

    def _part(self, logits: Tensor) -> Tensor:
        # the gradient of sigmoid, p (1 - p), has lost the digits of 1 - p where p is close to 1
        share = with_grad_through_log(logits.sigmoid(), logsigmoid(logits))
        return self.precision * share.to(self.dtype)


class BetaBinomialFamily(TrialsFamily):
    """The beta-binomial family: p(y) = n! / (y! (n - y)!) B(y + a, n - y + b) / B(a, b).

    The support is y = 0, 1, ..., n, where the trials n = total_count are known: those of each row
    are given to the head, or one number for all rows is an option. Parameters have shape (...,).

    Args:
        parametrization: "concentration" for the parameters concentration1 = a and concentration0 =
            b, "mean" for mean = a / (a + b), the expected share of successes, and precision =
            a + b.
        total_count: the trials of every row; None where each row brings its own.

    Raises:
        ValueError: for another parametrization.

    >>> from disthead import DistributionHead
    >>> head = DistributionHead("beta_binomial", 3, parametrization="mean")
    >>> head(torch.zeros(2, 3), total_count=torch.tensor([5, 8])).total_count
    tensor([5., 8.])
    """

    name = "beta_binomial"
    data_type = "univariate, discrete, bounded"
    domain = "y in {0, 1, ..., total_count}"
    use = "successes among trials that resemble each other"
    loss = "beta-binomial log-likelihood, the binomial deviance for a large precision"
    noise = (
        "Successes in a known number of trials, whose probability differs from row to row in ways "
        "the features do not show; the variance is that of a binomial times 1 + (n - 1) / (a + b + "
        "1)."
    )
    density = (
        "p(y) = n! / (y! (n - y)!) B(y + a, n - y + b) / B(a, b), n = total_count, a = "
        "concentration1 = mean * precision, b = concentration0"
    )
    breaks = (
        "Counts that scatter less than a binomial cannot be had: the precision grows without end. "
        "With one trial a row, the precision has no effect."
    )
    remedy = "binomial for less scatter, bernoulli for single trials."

    def __init__(self, parametrization: str = "concentration", total_count: int | None = None):
        if parametrization not in ("concentration", "mean"):
            raise unknown_name("parametrization", parametrization, ["concentration", "mean"])
        super().__init__(total_count)
        self.parametrization = parametrization
        softplus = LINKS["softplus"]
        self.parameters = (
            {"mean": LINKS["sigmoid"], "precision": softplus}
            if parametrization == "mean"
            else {"concentration1": softplus, "concentration0": softplus}
        )

    def make(self, **parameters: Tensor) -> BetaBinomial:
        parameters = self.with_trials(parameters)
        if self.parametrization == "mean":
            return MeanBetaBinomial(**parameters)
        return BetaBinomial(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        mean = self.typical_share(y)
        # var(y) = n mean (1 - mean) (1 + (n - 1) rho) for the correlation rho of two trials
        trials = self.typical_trials(y)
        inflation = y.double().var(0, correction=0) / (trials * mean * (1 - mean))
        correlation = ((inflation - 1) / (trials - 1).clamp(min=1)).clamp(1e-3, 0.9)
        precision = 1 / correlation - 1
        if self.parametrization == "mean":
            return {"mean": mean, "precision": precision}
        return {"concentration1": mean * precision, "concentration0": (1 - mean) * precision}
