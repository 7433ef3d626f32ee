"""The binomial distribution: successes among independent trials."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import exactly_one
from disthead.distributions.base import root, tensors
from disthead.distributions.bounded_counts import BoundedCount
from disthead.distributions.discrete import OUTSIDE, Discrete, kl_by_sum, search_start
from disthead.distributions.mass_tables import entropy_of_bell
from disthead.distributions.success import Success
from disthead.distributions.univariate import in_double
from disthead.families.trials import TrialsFamily
from disthead.links import LINKS
from disthead.special import betainc, binomial_log_mass, log_betainc, log_betaincc
from disthead.special.eager import are_concrete
from disthead.special.probabilities import (
    divergence,
)

__all__ = ["Binomial", "BinomialFamily"]

_MIN_BELL_VARIANCE = 100.0  # from which no probability is next to an end of the support


class Binomial(Success, BoundedCount):
    """Binomial distribution with mass n! / (y! (n - y)!) probs^y (1 - probs)^(n - y).

    Here n = total_count and y = 0, 1, ..., n. Masses are computed from Stirling errors and
    deviances (Loader 2000), so that nothing cancels at large counts; the cdf is the incomplete beta
    function. Source: Johnson, Kemp and Kotz 2005, Univariate Discrete Distributions, chapter 3.

    Args:
        total_count: the number of trials, shape (...,), a whole number, zero or more.
        logits: log(probs / (1 - probs)), shape (...,).
        probs: the probability of success in one trial, shape (...,). Exactly one of logits and
            probs is given.

    Raises:
        ValueError: unless exactly one of logits and probs is given.

    >>> Binomial(10, probs=0.3).log_prob(torch.tensor(3)).exp()
    tensor(0.2668)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "logits": constraints.real,
        "probs": constraints.unit_interval,
    }

    def __init__(self, total_count=1, logits=None, *, probs=None):
        exactly_one("binomial", logits=logits, probs=probs)
        total_count, logits, probs = tensors(total_count, logits, probs)
        success = {"given_probs": probs} if logits is None else {"logits": logits}
        self._store(total_count=total_count, **success)

    def _log_mass(self, x: Tensor) -> Tensor:
        probs, failure = self.probs, self._failure
        impossible = ((probs == 0) & (x > 0)) | ((failure == 0) & (x < self.total_count))
        possible = torch.where(
            impossible, torch.where(probs == 0, torch.zeros_like(x), self.total_count), x
        )
        value = binomial_log_mass(possible, self.total_count, probs, failure)
        return torch.where(impossible, -torch.inf, value)

    def _cdf(self, k: Tensor) -> Tensor:
        return betainc(*self._arguments(k))

    def _log_cdf(self, k: Tensor) -> Tensor:
        return log_betainc(*self._arguments(k))

    def _log_survival(self, k: Tensor) -> Tensor:
        return log_betaincc(*self._arguments(k))

    def _arguments(self, k: Tensor) -> tuple[Tensor, ...]:
        """Those of the incomplete beta function; without trials there is no tail."""
        return (self.total_count - k).clamp(min=1), k + 1, self._failure, self.probs

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.total_count * self.probs * self._failure

    @property
    @in_double
    def stddev(self) -> Tensor:
        return root(self.variance)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The largest integer up to (n + 1) probs, and at most n."""
        return torch.minimum(((self.total_count + 1) * self.probs).floor(), self.total_count)

    def _flux(self, k: Tensor) -> Tensor:
        return (self.total_count - k) * self.probs

    def _bulk(self) -> tuple[Tensor, Tensor]:
        tail = torch.full_like(self.mean, OUTSIDE)
        return self._reach(tail, tail)

    def _reach(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Bernstein's bounds, on both sides, since either tail may be the longer one."""
        mean, variance = self.mean, self.variance
        lower, upper = (
            (2 * variance * depth).sqrt() + depth / 3 for depth in (-below.log(), -above.log())
        )
        least = (mean - lower).floor().clamp(min=0).detach()
        return least, torch.minimum((mean + upper).ceil(), self.total_count).detach()

    _bracket = _reach

    def _entropy_of_wide(self, first: Tensor, last: Tensor) -> Tensor:
        is_bell = self.variance >= _MIN_BELL_VARIANCE
        result = torch.empty_like(first)
        for way, rows in ((entropy_of_bell, is_bell), (Discrete._entropy_of_wide, ~is_bell)):
            if rows.any():
                result[rows] = way(self[rows], first[rows], last[rows])
        return result

    @property
    def _skewness(self) -> Tensor:
        return (self._failure - self.probs) / self.stddev.clamp(min=1e-150)

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """By the successes where they are the rarer outcome, else by the failures."""
        few = self.probs <= 0.5
        rest = self.total_count * self._failure
        start, slope = search_start(
            torch.where(few, self.mean, rest),
            self.stddev,
            self._skewness.abs(),
            torch.where(few, below, above),
            torch.where(few, above, below),
        )
        return torch.where(few, start, self.total_count - start), slope

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact, shape = self._in_double(), self._extended_shape(sample_shape)
        total_count, probs = exact.total_count.expand(shape), exact.probs.expand(shape)
        return torch.binomial(total_count, probs, generator=generator).to(self.dtype)


@register_kl(Binomial, Binomial)
@in_double
def _kl_binomial(p: Binomial, q: Binomial) -> Tensor:
    """The trials times the divergence of one trial, where both have the same trials."""
    if are_concrete(p.total_count, q.total_count) and (p.total_count != q.total_count).any():
        return kl_by_sum(p, q)
    return p.total_count * divergence(*p._both(), q._both()[1])


class BinomialFamily(TrialsFamily):
    """The binomial family: p(y) = n! / (y! (n - y)!) probs^y (1 - probs)^(n - y), y = 0, ..., n.

    Its parameter is `logits` = log(probs / (1 - probs)), shape (...,). The trials n = total_count
    are known: those of each row are given to the head, or one number for all rows is an option.

    Args:
        total_count: the trials of every row; None where each row brings its own.

    >>> from disthead import DistributionHead
    >>> head = DistributionHead("binomial", 3)
    >>> head(torch.zeros(2, 3), total_count=torch.tensor([5, 8])).total_count
    tensor([5., 8.])
    """

    name = "binomial"
    parameters = {"logits": LINKS["sigmoid"]}
    data_type = "univariate, discrete, bounded"
    domain = "y in {0, 1, ..., total_count}"
    use = "successes among trials"
    loss = "binomial deviance, the cross-entropy of all trials of a row"
    noise = (
        "Successes in a known number of trials, which are independent and have the same "
        "probability within a row."
    )
    density = (
        "p(y) = n! / (y! (n - y)!) probs^y (1 - probs)^(n - y), n = total_count, probs = "
        "1 / (1 + exp(-logits))"
    )
    breaks = (
        "Trials of one row that resemble each other (patients of a hospital, seeds of a plant) "
        "scatter more than a binomial: its intervals are then too narrow."
    )
    remedy = "beta_binomial for trials that resemble each other; bernoulli for single trials."

    def make(self, **parameters: Tensor) -> Binomial:
        return Binomial(**self.with_trials(parameters))

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return {"logits": self.typical_share(y).logit()}
