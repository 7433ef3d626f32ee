"""The generalised Poisson distribution: counts that scatter more, or less, than their mean."""

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.arrays import as_number
from disthead.distributions.base import positive, root, tensors
from disthead.distributions.summed import Summed, peak_between
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.families.poisson import positive_mean
from disthead.links import LINKS
from disthead.special import poisson_log_mass
from disthead.special.eager import are_concrete, extent

__all__ = ["GeneralizedPoisson", "GeneralizedPoissonFamily"]

_LEAST_DISPERSION = 0.25  # below, Consul and Jain's lambda would be less than -1
_MOST_TERMS = 320  # of the sum of a mass that ends: beyond, it is 1 to all digits


class GeneralizedPoisson(Summed):
    """Generalised Poisson distribution with mass theta t^(y - 1) exp(-t) / y!.

    Here t = theta + lambda y, theta = mean / sqrt(dispersion), lambda = 1 - 1 / sqrt(dispersion)
    and y = 0, 1, 2, ... The variance is dispersion * mean; a dispersion of 1 gives the Poisson
    distribution. Below 1 the support ends where t reaches zero, at mean / (1 - sqrt(dispersion)).
    The masses up to there are divided by their sum, which differs from 1 where few counts are
    possible; mean and variance are then sums over these masses, and near the given ones. Source:
    Consul and Jain 1973; Consul and Shoukri 1985 on the truncation.

    Args:
        mean: expected count, shape (...,), positive.
        dispersion: variance / mean, shape (...,), above 1/4.
        log_mean: log(mean); the mean, its logarithm or both are given.
        log_dispersion: log(dispersion); the dispersion, its logarithm or both are given.

    >>> GeneralizedPoisson(4.0, 2.25).log_prob(torch.tensor(3)).exp()
    tensor(0.1527)
    """

    arg_constraints = {
        "mean": constraints.positive,
        "dispersion": constraints.greater_than(_LEAST_DISPERSION),
    }
    support = constraints.nonnegative_integer

    def __init__(self, mean=None, dispersion=None, *, log_mean=None, log_dispersion=None):
        inputs = tensors(mean, dispersion, log_mean, log_dispersion)
        mean, dispersion, log_mean, log_dispersion = inputs
        mean, log_mean = positive(mean, log_mean)
        dispersion, log_dispersion = positive(dispersion, log_dispersion)
        self._store(
            expected=mean,
            dispersion=dispersion,
            log_expected=log_mean,
            log_dispersion=log_dispersion,
        )

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"mean": self.expected, "dispersion": self.dispersion}

    def support_limits(self) -> tuple[Tensor, Tensor]:
        """Zero, and the last integer where t is positive."""
        none = self._constant(0.0)
        with torch.no_grad():
            exact = self._in_double()
            share = -torch.expm1(0.5 * exact.log_dispersion)  # 1 - sqrt(dispersion)
            last = (exact.expected / share.clamp(min=1e-300)).ceil() - 1
            return none, torch.where(share > 0, last.clamp(min=0), torch.inf)

    def _bounds(self) -> tuple[float, float]:
        if not are_concrete(self.dispersion):
            return 0.0, float("nan")
        return 0.0, extent(self.support_limits()[1])[0]

    def _log_weight(self, x: Tensor) -> Tensor:
        half = 0.5 * self.log_dispersion
        theta = self.expected * torch.exp(-half)
        t = theta - torch.expm1(-half) * x
        return (self.log_expected - half) - t.log() + poisson_log_mass(x, t)

    def _log_mass(self, x: Tensor) -> Tensor:
        # in mixtures, whose other components may have more counts
        inside = x <= self.support_limits()[1]
        weight = self._log_weight(torch.where(inside, x, 0.0))
        return torch.where(inside, weight - self._log_sum_of_weights(), -torch.inf)

    def _ends_early(self) -> tuple[Tensor, int]:
        """The rows whose support has few integers, and how many the longest of these has."""
        last = self.support_limits()[1]
        few = last < _MOST_TERMS
        if are_concrete(last):
            return few, 1 + int(max(-1.0, extent(torch.where(few, last, -1.0))[1]))
        return few, _MOST_TERMS

    def _log_sum_of_weights(self) -> Tensor:
        few, count = self._ends_early()
        if count == 0:
            return torch.zeros_like(self.expected)
        _, weights = self._few_weights(few, count)
        return torch.where(few, weights.logsumexp(0), 0.0)

    def _few_weights(self, few: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The integers (count, ...) of the support, and the logarithms of their weights."""
        last = torch.where(few, self.support_limits()[1], 0.0)
        k = torch.arange(count, dtype=last.dtype, device=last.device)
        k = k.reshape(-1, *(1,) * last.ndim)
        inside = k <= last
        return k, torch.where(inside, self._log_weight(torch.where(inside, k, 0.0)), -torch.inf)

    def _moment(self, untruncated: Tensor, function) -> Tensor:
        few, count = self._ends_early()
        if count == 0:
            return untruncated
        k, weights = self._few_weights(few, count)
        return torch.where(few, (weights.softmax(0) * function(k)).sum(0), untruncated)

    @property
    @in_double
    def mean(self) -> Tensor:
        return self._moment(self.expected, lambda k: k)

    @property
    @in_double
    def variance(self) -> Tensor:
        mean = self.mean
        return self._moment(self.dispersion * self.expected, lambda k: (k - mean).square())

    @property
    @in_double
    def stddev(self) -> Tensor:
        return root(self.variance)

    @property
    @torch.no_grad()
    @in_double
    def mode(self) -> Tensor:
        """The most probable count, at most 1.5 dispersion + 3 below the mean."""
        last = self.support_limits()[1]
        least = (self.expected - 1.5 * self.dispersion - 3).floor().clamp(min=0)
        most = torch.minimum(self.expected.ceil() + 2, last)
        return peak_between(self._log_weight, torch.minimum(least, most), most)


class GeneralizedPoissonFamily(Family):
    """The generalised Poisson family: p(y) = theta t^(y - 1) exp(-t) / y!, t = theta + lambda y.

    Its parameters are `mean` = theta / (1 - lambda) and `dispersion` = variance / mean =
    1 / (1 - lambda)^2, shape (...,); y = 0, 1, 2, ...

    Args:
        min_dispersion: the least dispersion that a layer gives, at least 1/4. With 1, that of a
            Poisson distribution, no count is impossible, so that every loss is finite in training.
    """

    name = "generalized_poisson"
    support = constraints.nonnegative_integer
    data_type = "univariate, discrete, bounded below"
    domain = "y in {0, 1, 2, ...}"
    use = "event counts with more or less scatter than their mean"
    loss = "generalised Poisson log-likelihood, the Poisson deviance at dispersion 1"
    noise = (
        "Events that trigger further ones (dispersion above 1), or that hinder each other (below "
        "1); the variance is dispersion * mean."
    )
    density = (
        "p(y) = theta t^(y - 1) exp(-t) / y!, t = theta + lambda y, theta = mean / "
        "sqrt(dispersion), lambda = 1 - 1 / sqrt(dispersion)"
    )
    breaks = (
        "Below dispersion 1 counts from mean / (1 - sqrt(dispersion)) on are impossible, and a row "
        "with such a target has no finite loss."
    )
    remedy = (
        "conway_maxwell_poisson for less scatter than a Poisson distribution, or min_dispersion "
        "below 1, where counts have an end; negative_binomial for a variance that grows with the "
        "square of the mean."
    )

    def __init__(self, min_dispersion: float = 1.0):
        self.min_dispersion = as_number(
            min_dispersion, "min_dispersion", "at least 1/4", lambda x: x >= _LEAST_DISPERSION
        )
        self.parameters = {
            "mean": LINKS["softplus"],
            "dispersion": LINKS["softplus"].shifted(self.min_dispersion),
        }

    def make(self, **parameters: Tensor) -> GeneralizedPoisson:
        return GeneralizedPoisson(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        mean = positive_mean(y)
        dispersion = y.double().var(0, correction=0) / mean
        # all targets lie in the support, with room
        share = 1 - mean / (1.5 * y.double().amax(0) + 1)
        least = share.clamp(min=0.55).square()
        return {"mean": mean, "dispersion": torch.maximum(dispersion, least)}
