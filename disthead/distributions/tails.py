"""Tails that fall as a power: which moments are infinite, and what lies beyond the last node.

P(Y > y) falls as y^-a with the tail index a. E[Y^p] is finite for p < a, and the integral of the
squared tail, which crps takes, for a > 1/2. Where it falls faster than any power the index is
infinite. Source: Embrechts, Klueppelberg and Mikosch 1997, Modelling Extremal Events, appendix A3.
"""

import math

import torch
from torch import Tensor

from disthead.distributions.supports import End
from disthead.special import tanh_sinh_beyond

__all__ = [
    "LIGHT",
    "Indices",
    "are_light",
    "beyond_nodes",
    "index_of_concentration",
    "index_within",
    "with_infinite_crps",
    "with_infinite_mean",
    "with_infinite_variance",
]

Indices = tuple[End, End]  # of the lower and of the upper tail
LIGHT: Indices = (math.inf, math.inf)


def index_within(index: End, end: End) -> End:
    """The index of a tail that is cut off at `end`, unless that is infinite."""
    if not isinstance(end, Tensor):
        return math.inf if math.isfinite(end) else index
    return torch.where(end.isfinite(), math.inf, end.new_tensor(0.0) + index)


def are_light(indices: Indices) -> bool:
    """Whether no row can have a tail that falls as a power."""
    return not any(isinstance(index, Tensor) or index < math.inf for index in indices)


def index_of_concentration(concentration: Tensor) -> Tensor:
    """The index of a tail of extreme values, 1 / c where the concentration c is positive."""
    heavy = concentration > 0
    return torch.where(heavy, 1 / torch.where(heavy, concentration, 1.0), math.inf)


def beyond_nodes(
    index: End, value: Tensor, count: int, *, order: int = 1, power: int = 0
) -> Tensor | float:
    """What a sum over the nodes of `tanh_sinh(count)` leaves out of an integral over quantiles.

    Args:
        index: of the tail, shape batch.
        value: the integrand at the outermost node, shape (..., *batch).
        count: of the rule.
        order: the power of the quantile in the integrand.
        power: that of the probability beyond the quantile.
    """
    if not isinstance(index, Tensor):
        if index == math.inf:
            return 0.0
        index = value.new_tensor(index)
    exponent = (order / index - power).to(value.dtype)
    some = (exponent < 1) & index.isfinite()
    rest = value * tanh_sinh_beyond(count, torch.where(some, exponent, 0.0))
    return torch.where(some, rest, 0.0)


def with_infinite_mean(mean: Tensor, indices: Indices) -> Tensor:
    """The mean, infinite where one tail has an index up to 1, and nan where both have."""
    if are_light(indices):
        return mean
    lower, upper = _as_tensors(indices, mean)
    mean = torch.where(upper <= 1, math.inf, mean)
    return torch.where(lower <= 1, torch.where(upper <= 1, math.nan, -math.inf), mean)


def with_infinite_variance(variance: Tensor, indices: Indices) -> Tensor:
    """The variance, infinite where a tail has an index up to 2, and nan where the mean is."""
    if are_light(indices):
        return variance
    lower, upper = _as_tensors(indices, variance)
    variance = torch.where(torch.minimum(lower, upper) <= 2, math.inf, variance)
    return torch.where(torch.maximum(lower, upper) <= 1, math.nan, variance)


def with_infinite_crps(score: Tensor, indices: Indices) -> Tensor:
    """The continuous ranked probability score, infinite where a tail has an index up to 1/2."""
    if are_light(indices):
        return score
    return torch.where(torch.minimum(*_as_tensors(indices, score)) <= 0.5, math.inf, score)


def _as_tensors(indices: Indices, like: Tensor) -> tuple[Tensor, Tensor]:
    lower, upper = (torch.as_tensor(index).to(like) for index in indices)
    return lower, upper
