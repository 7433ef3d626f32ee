"""The geometric distribution: failures before the first success."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import exactly_one
from disthead.distributions.base import tensors
from disthead.distributions.discrete import OUTSIDE
from disthead.distributions.interval import Interval
from disthead.distributions.success import Success
from disthead.distributions.univariate import check_level, in_double
from disthead.families.family import Family
from disthead.families.poisson import positive_mean
from disthead.links import LINKS
from disthead.special.probabilities import divergence

__all__ = ["Geometric", "GeometricFamily"]


class Geometric(Success):
    """Geometric distribution with mass probs (1 - probs)^y on y = 0, 1, 2, ...

    It is the number of failures before the first success, and the only count without a memory. The
    mean is exp(-logits) = (1 - probs) / probs, the variance mean + mean^2. Source: Johnson, Kemp
    and Kotz 2005, Univariate Discrete Distributions, section 5.2.

    Args:
        logits: log(probs / (1 - probs)), shape (...,).
        probs: the probability of success in one trial, shape (...,), positive and at most 1.
            Exactly one of logits and probs is given.

    Raises:
        ValueError: unless exactly one of logits and probs is given.

    >>> Geometric(probs=torch.tensor(0.25)).log_prob(torch.tensor(2)).exp()
    tensor(0.1406)
    """

    arg_constraints = {"logits": constraints.real, "probs": constraints.interval(0.0, 1.0)}
    support = constraints.nonnegative_integer

    def __init__(self, logits=None, *, probs=None):
        exactly_one("geometric", logits=logits, probs=probs)
        logits, probs = tensors(logits, probs)
        self._store(**({"given_probs": probs} if logits is None else {"logits": logits}))

    @staticmethod
    def log_prob_and_grad(y: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        """log_prob and its derivative by the logits.

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        if logits.dtype == torch.float64:  # infinite ones times 0 are not a number
            logits = torch.clamp(logits, -1e300, 1e300)
        size = abs(logits)
        odds = torch.exp(-size)
        likely = 1 / (1 + odds)
        probs = torch.where(logits < 0, odds * likely, likely)
        rest = torch.where(logits < 0, likely, odds * likely)
        # log(1 - probs) is -(logits + |logits|) / 2 - log1p(odds)
        failure = -0.5 * (logits + size) - torch.log1p(odds)
        return y * failure + (0.5 * (logits - size) - torch.log1p(odds)), rest - y * probs

    def _log_mass(self, x: Tensor) -> Tensor:
        return self._log_success + self._log_failures(x)

    def _log_failures(self, count: Tensor) -> Tensor:
        """The log-probability of that many failures; none are sure, also where probs is 1."""
        return torch.where(count == 0, 0.0, count * self._log_failure)

    def _cdf(self, k: Tensor) -> Tensor:
        return -torch.expm1(self._log_failures(k + 1))

    def _log_cdf(self, k: Tensor) -> Tensor:
        return self._cdf(k).log()

    def _log_survival(self, k: Tensor) -> Tensor:
        return self._log_failures(k + 1)

    def _least_by_halving(self, target: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """The least k with 1 - (1 - probs)^(k + 1) >= target, in closed form."""
        low = target < 0.5
        rest = torch.where(low, 0.5, above + (below - target)).log()
        log_rest = torch.where(low, torch.log1p(-torch.where(low, target, 0.5)), rest)
        k = ((log_rest / self._log_failure).ceil() - 1).clamp(min=0)
        k = torch.where(self.cdf(k) < target, k + 1, k)  # where the quotient was rounded
        return torch.where((k > 0) & (self.cdf(k - 1) >= target), k - 1, k)

    _least_by_search = _least_by_halving

    def _bulk(self) -> tuple[Tensor, Tensor]:
        tail = torch.full_like(self._failure, OUTSIDE)
        last = (tail.log() / self._log_failure).ceil()
        return torch.zeros_like(last), last.detach()

    @property
    @in_double
    def mean(self) -> Tensor:
        return (-self.logits).exp() if self.given_probs is None else self._failure / self.probs

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.mean * (1 + self.mean)

    @property
    def mode(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.probs)

    @property
    def _skewness(self) -> Tensor:
        return (1 + self._failure) / self._failure.sqrt()

    def highest_density(self, level: float) -> Interval:
        """The integers from 0 up to the quantile at `level`."""
        check_level(level)
        return Interval(self.mode, self.icdf(self._constant(level)))

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        log_failure = self._in_double()._log_failure.expand(self._extended_shape(sample_shape))
        waiting = torch.empty_like(log_failure).exponential_(generator=generator)
        return (waiting / -log_failure).floor().to(self.dtype)

    @in_double
    def entropy(self) -> Tensor:
        """The entropy -log(probs) - mean log(1 - probs), in nats."""
        log_failure = torch.where(self._failure == 0, 0.0, self._log_failure)
        return -self._log_success - self.mean * log_failure

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in counts.

        With q = 1 - probs and k = floor(y) it is (y - mean) (2 F(y) - 1) + 2 (k + 1) q^(k + 1) -
        mean / (1 + q), by the sums of geometric series.
        """
        k = y.floor().clamp(min=0)
        flux = torch.where(y >= 0, (k + 1) * self._log_failures(k + 1).exp(), 0.0)
        distance = (y - self.mean) * (2 * self.cdf(y) - 1) + 2 * flux
        return distance - self.mean / (1 + self._failure)


@register_kl(Geometric, Geometric)
@in_double
def _kl_geometric(p: Geometric, q: Geometric) -> Tensor:
    """The divergence of one trial times the mean number of trials, 1 / probs."""
    return divergence(*p._both(), q._both()[1]) / p.probs


class GeometricFamily(Family):
    """The geometric family: p(y) = probs (1 - probs)^y for y = 0, 1, 2, ...

    Its parameter is `logits` = log(probs / (1 - probs)), shape (...,).
    """

    name = "geometric"
    parameters = {"logits": LINKS["sigmoid"]}
    support = constraints.nonnegative_integer
    fast_range = {"y": (0.0, 1e5)}
    distribution_class = Geometric
    data_type = "univariate, discrete, bounded below"
    domain = "y in {0, 1, 2, ...}"
    use = "failures before the first success"
    loss = "binary cross-entropy of y failures and one success"
    noise = (
        "Independent trials with the same probability of success, repeated until the first "
        "success; y counts the failures before it. The variance is mean + mean^2."
    )
    density = "p(y) = probs (1 - probs)^y, probs = 1 / (1 + exp(-logits))"
    breaks = (
        "Where the chance of success changes from trial to trial, the number of failures scatters "
        "more, or less, than the mean says; zero is always the most probable count."
    )
    remedy = "negative_binomial, which has a total_count of its own (1 here), or poisson."

    def make(self, **parameters: Tensor) -> Geometric:
        return Geometric(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return {"logits": -positive_mean(y).log()}
