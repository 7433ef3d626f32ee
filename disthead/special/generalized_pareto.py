"""The cumulative hazard of the generalised Pareto distribution and its inverse, smooth at shape 0.

They are the logarithm and the exponential of the Box-Cox transformation. With the same hazard the
generalised extreme value distribution has the cdf exp(-exp(-hazard)).
"""

import torch
from torch import Tensor

from .precision import horner

__all__ = ["from_pareto_hazard", "pareto_hazard", "penalty"]

_NEAR = 0.02  # where the series with the terms below are exact to rounding
_LOG1P = [(-1) ** k / (k + 1) for k in range(10)]  # log(1 + x) / x
_EXPM1 = [1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320]  # (exp(x) - 1) / x


def pareto_hazard(z: Tensor, shape: Tensor) -> Tensor:
    """The function log(1 + shape z) / shape, elementwise, which is z at shape 0.

    Where 1 + shape z <= 0 it is the limit, inf for a negative shape and -inf for a positive one,
    with the gradient 0. The tensors broadcast and have one dtype. Source: Pickands 1975,
    Statistical inference using extreme order statistics.

    >>> pareto_hazard(torch.tensor([2.0, 2.0, 2.0]), torch.tensor([0.0, 1.0, -1.0]))
    tensor([2.0000, 1.0986,    inf])
    """
    x = shape * z
    inside, near = x > -1, x.abs() < _NEAR
    small = z * horner(torch.where(near, x, 0.0), _LOG1P)
    far = inside & ~near
    large = torch.log1p(torch.where(far, x, 1.0)) / torch.where(far, shape, 1.0)
    limit = torch.where(x <= -1, -torch.inf * torch.sign(shape.detach()), x.detach())
    return torch.where(near, small, torch.where(far, large, limit))


def from_pareto_hazard(hazard: Tensor, shape: Tensor) -> Tensor:
    """The inverse (exp(shape hazard) - 1) / shape of `pareto_hazard`, elementwise.

    >>> from_pareto_hazard(torch.tensor([2.0, 2.0]), torch.tensor([0.0, 1.0]))
    tensor([2.0000, 6.3891])
    """
    x = shape * hazard
    near = x.abs() < _NEAR
    small = hazard * horner(torch.where(near, x, 0.0), _EXPM1)
    large = torch.expm1(torch.where(near, 1.0, x)) / torch.where(near, 1.0, shape)
    return torch.where(near, small, large)


def penalty(z: Tensor, shape: Tensor, outside: Tensor) -> Tensor:
    """The finite value -10^6 - 100 log(-shape z) in place of -inf where the density is 0.

    Its gradient moves `shape` and `z` back to where 1 + shape z > 0. Elsewhere it is -10^6.

    Args:
        z: targets in units of the scale, shape (...).
        shape: of the distribution, shape (...).
        outside: where 1 + shape z <= 0, shape (...).
    """
    beyond = torch.where(outside, -shape * z, 1.0).clamp(1.0, torch.finfo(z.dtype).max)
    return -1e6 - 100 * torch.log(beyond)
