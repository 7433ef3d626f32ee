"""The logarithm of the probability that a number lies between two others, exact in both tails."""

import math
from typing import Any

import torch
from torch import Tensor

from disthead.special import gauss_legendre
from disthead.special.eager import are_concrete
from disthead.special.incomplete_gamma import log1mexp

__all__ = ["log_between", "some_value_of"]

# Where an interval has less than this share of the smaller tail, the difference of both tails has
# lost ten digits, and the density is so smooth on it that a quadrature loses fewer.
_LOG_NARROW = math.log(1e-6)


def log_between(dist: Any, lower: "Tensor | float", upper: "Tensor | float") -> Tensor:
    """The logarithm of P(lower < Y <= upper), from the tail that is smaller, in double precision.

    The density of a continuous distribution is integrated where the interval is narrow. The result
    is -inf where the interval is empty, and its gradient is finite.

    Args:
        dist: a distribution of one ordered number, in double precision.
        lower: broadcasts against the batch; a number of Python may be infinite.
        upper: likewise.
    """
    if isinstance(upper, float) and upper == math.inf:
        lower = _as_tensor(dist, lower)
        below = lower == -math.inf
        tail = dist.log_survival(torch.where(below, some_value_of(dist), lower))
        return torch.where(below, 0.0, tail)
    if isinstance(lower, float) and lower == -math.inf:
        upper = _as_tensor(dist, upper)
        beyond = upper == math.inf
        tail = dist.log_cdf(torch.where(beyond, some_value_of(dist), upper))
        return torch.where(beyond, 0.0, tail)
    lower, upper = torch.broadcast_tensors(_as_tensor(dist, lower), _as_tensor(dist, upper))
    log_cdf, log_survival = _tails(dist, lower)
    log_cdf_upper, log_survival_upper = _tails(dist, upper)
    # (-inf, b] and (a, inf) are tails themselves
    is_right, is_left = log_survival < log_cdf, log_cdf_upper < log_survival_upper
    large = torch.where(is_right, log_survival, log_cdf_upper)
    small = torch.where(is_right, log_survival_upper, log_cdf)
    is_apart = (small < large) & (upper > lower)
    gap = torch.where(is_apart, small - torch.where(is_apart, large, 0.0), -1.0)
    has_small = is_apart & (gap > -math.inf)
    in_a_tail = torch.where(has_small, large + log1mexp(torch.where(has_small, gap, -1.0)), large)
    is_across = is_apart & ~is_right & ~is_left
    outside = torch.where(is_across, log_cdf, -1.0).exp()
    outside = outside + torch.where(is_across, log_survival_upper, -1.0).exp()
    value = torch.where(is_across, torch.log1p(-torch.where(is_across, outside, 0.0)), in_a_tail)
    value = torch.where(is_apart, value, -torch.inf)
    if dist.support.is_discrete:
        return value
    is_narrow = (upper > lower) & lower.isfinite() & upper.isfinite()
    is_narrow = is_narrow & (value - large < _LOG_NARROW) & (large > -math.inf)
    if are_concrete(is_narrow) and not is_narrow.any():
        return value
    inside = some_value_of(dist)
    start, stop = torch.where(is_narrow, lower, inside), torch.where(is_narrow, upper, inside + 1)
    nodes, weights = (part.reshape((-1,) + (1,) * start.ndim) for part in gauss_legendre(6, start))
    heights = dist.log_prob(start + (stop - start) * nodes)
    total = torch.logsumexp(heights + weights.log(), 0) + (stop - start).log()
    return torch.where(is_narrow, total, value)


def _as_tensor(dist: Any, value: "Tensor | float") -> Tensor:
    return value if isinstance(value, Tensor) else dist._constant(value)


def some_value_of(dist: Any) -> Tensor:
    """A finite number inside of the support, of shape batch, for rows whose answer is not used."""
    lower, upper = dist.support_limits()
    has_lower, has_upper = lower.isfinite(), upper.isfinite()
    one_sided = torch.where(has_lower, lower + 1, torch.where(has_upper, upper - 1, 0.0))
    return torch.where(has_lower & has_upper, lower / 2 + upper / 2, one_sided)


def _tails(dist: Any, y: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of P(Y <= y) and P(Y > y), also at infinite y."""
    finite = y.isfinite()
    some = torch.where(finite, y, some_value_of(dist))
    below, above = (y == -math.inf), (y == math.inf)
    log_cdf = torch.where(below, -torch.inf, torch.where(above, 0.0, dist.log_cdf(some)))
    log_survival = torch.where(below, 0.0, torch.where(above, -torch.inf, dist.log_survival(some)))
    return log_cdf, log_survival
