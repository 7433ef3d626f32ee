"""The continuous Bernoulli distribution, whose loss is the cross-entropy of a proportion."""

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import logits_of, tensors
from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import integrate
from disthead.special.truncated_exponential import (
    log_mass,
    lower_quantile,
    mean_distance,
    share,
    variance,
)

__all__ = ["ContinuousBernoulli", "ContinuousBernoulliFamily"]


class ContinuousBernoulli(Continuous):
    """Continuous Bernoulli distribution with density C p^y (1 - p)^(1 - y) for 0 <= y <= 1.

    Here p = probs, and the constant C = t / (exp(t) - 1) / (1 - p) for t = logits makes the
    integral 1: the density is that of an exponential distribution between 0 and 1. Source:
    Loaiza-Ganem and Cunningham 2019, The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders.

    Args:
        probs: p, shape (...,), between 0 and 1; not the mean, which is nearer to 1/2.
        logits: log(p / (1 - p)), shape (...,); the probability, its logits or both are given.

    >>> ContinuousBernoulli(0.8).log_prob(torch.tensor(1.0))
    tensor(0.6143)
    >>> ContinuousBernoulli(0.8).mean
    tensor(0.6120)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval

    def __init__(self, probs=None, *, logits=None):
        probs, logits = tensors(probs, logits)
        logits = logits_of(probs, logits)
        self._store(logits=logits if probs is None else logits.to(probs.dtype))

    @property
    def probs(self) -> Tensor:
        """The probability p."""
        return self.logits.sigmoid()

    def _slope(self) -> Tensor:
        """The rate at which the density falls off from its higher end, |logits|."""
        return torch.where(self.logits < 0, -self.logits, self.logits)  # abs has no slope at 0

    def _distance(self, y: Tensor) -> Tensor:
        """The distance from the higher end."""
        return torch.where(self.logits < 0, y, 1 - y)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y >= 0) & (y <= 1)
        slope = self._slope()
        value = -slope * self._distance(torch.where(inside, y, 0.5)) - log_mass(slope)
        return torch.where(inside, value, -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        y = y.clamp(0, 1)
        slope = self._slope()
        # the share up to a distance from the higher end
        rising = torch.exp(-slope * (1 - y)) * share(slope, y)
        return torch.where(self.logits < 0, share(slope, y), rising)

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return _log_cdf(self.logits, y)

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return _log_cdf(-self.logits, 1 - y)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        left = below <= above
        lower = lower_quantile(self.logits, torch.where(left, below, 0.5))
        upper = 1 - lower_quantile(-self.logits, torch.where(left, 0.5, above))
        return torch.where(left, lower, upper)

    @property
    @in_double
    def mean(self) -> Tensor:
        """The mean 1 / (1 - exp(-t)) - 1 / t for t = logits."""
        distance = mean_distance(self._slope())
        return torch.where(self.logits < 0, distance, 1 - distance)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The end with the higher density; 1/2 for the uniform distribution."""
        sign = torch.sign(self.logits)
        return 0.5 + 0.5 * sign

    @property
    @in_double
    def variance(self) -> Tensor:
        """The variance 1 / t^2 - 1 / (4 sinh(t / 2)^2) for t = logits."""
        return variance(self._slope())

    @in_double
    def entropy(self) -> Tensor:
        slope = self._slope()
        return slope * mean_distance(slope) + log_mass(slope)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        The integral of the squared cdf below y and of the squared survival function above it, in
        closed form for steep densities and by quadrature for flat ones, where terms cancel.
        """
        target = y.clamp(0, 1)
        slope, distance = torch.broadcast_tensors(self._slope(), self._distance(target))
        flat = slope < 1
        score = torch.where(flat, _score_of_flat(slope, distance), _score(slope, distance))
        return score + (y - target).abs()


def _log_cdf(logits: Tensor, y: Tensor) -> Tensor:
    inside, above = (y > 0) & (y < 1), y >= 1
    y = torch.where(inside, y, 0.5)
    slope = torch.where(logits < 0, -logits, logits)
    rest = torch.where(logits < 0, 0.0, -slope * (1 - y))
    within = share(slope, y)
    close = within > 0.5
    # next to one, from the other side
    beyond = share(slope, 1 - y) * torch.where(logits < 0, torch.exp(-slope * y), 1.0)
    near = (logits < 0) & close
    value = torch.where(
        near, torch.log1p(-torch.where(near, beyond, 0.5)), rest + torch.log(within)
    )
    return torch.where(inside, value, torch.where(above, 0.0, -torch.inf))


def _score(slope: Tensor, distance: Tensor) -> Tensor:
    """The score by the distance d of the target from the higher end, for slopes above 1."""
    s = slope.clamp(min=1)
    here, end = torch.exp(-s * distance), torch.exp(-s)
    below = distance + (2 * torch.expm1(-s * distance) - 0.5 * torch.expm1(-2 * s * distance)) / s
    above = (0.5 * (here.square() - end.square()) - 2 * end * (here - end)) / s + end.square() * (
        1 - distance
    )
    return (below + above) / torch.expm1(-s).square()


def _score_of_flat(slope: Tensor, distance: Tensor) -> Tensor:
    s = slope.clamp(max=1)

    def squared_tail(d: Tensor) -> Tensor:
        return (1 - share(s, d)).square()

    below = integrate(lambda d: share(s, d).square(), torch.zeros_like(distance), distance, 24)
    return below + integrate(squared_tail, distance, torch.ones_like(distance), 24)


class ContinuousBernoulliFamily(Family):
    """The continuous Bernoulli family: p(y) = C p^y (1 - p)^(1 - y) for 0 <= y <= 1.

    Its parameter is `logits` = log(p / (1 - p)), shape (...,).
    """

    name = "continuous_bernoulli"
    parameters = {"logits": LINKS["sigmoid"]}
    support = constraints.unit_interval
    data_type = "univariate, continuous, bounded"
    domain = "0 <= y <= 1"
    use = "intensities of pixels"
    loss = "binary cross-entropy of a proportion, with its constant"
    noise = (
        "Numbers between 0 and 1, ends included, whose density rises or falls exponentially from "
        "one end to the other, such as intensities of pixels."
    )
    density = "p(y) = C p^y (1 - p)^(1 - y), C = t / (exp(t) - 1) / (1 - p), p = probs, t = logits"
    breaks = (
        "One parameter sets both mean and variance, which is that of a nearly uniform distribution "
        "unless the mean is next to an end. There is no peak between the ends."
    )
    remedy = (
        "beta, kumaraswamy or logit_normal for proportions with a peak; bernoulli where the target "
        "is 0 or 1."
    )

    def make(self, **parameters: Tensor) -> ContinuousBernoulli:
        return ContinuousBernoulli(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # The mean is 1/2 + t / 12 near 1/2, and 1 / t away from an end far from it.
        distance = torch.minimum(y.mean(0), 1 - y.mean(0)).clamp(1e-4, 0.5)
        slope = (1 / distance - 2) * (1 + 2 * distance)
        return {"logits": torch.where(y.mean(0) < 0.5, -slope, slope)}
