"""Moments of powers of an exponential variable, which are values of the gamma function.

They are those of Weibull and generalised extreme value distributions.
"""

import torch
from torch import Tensor

from .precision import horner
from .quadrature import gauss_legendre
from .stirling import EULER, lgamma, lgamma1p, trigamma

__all__ = ["lgamma1p_slope", "lgamma_convexity", "log_gamma_second_difference"]

_NEAR = 0.02  # where the series below are exact to rounding
_ZETA = {
    k: float(torch.special.zeta(torch.tensor(float(k), dtype=torch.float64), 1.0))
    for k in range(2, 14)
}
_SLOPE = [-EULER] + [(-1) ** k * _ZETA[k] / k for k in range(2, 12)]
_CONVEXITY = [(-1) ** k * _ZETA[k] * (2**k - 2) / k for k in range(2, 14)]


def lgamma1p_slope(x: Tensor) -> Tensor:
    """The function log Gamma(1 + x) / x, elementwise for x > -1, without cancellation near 0.

    >>> lgamma1p_slope(torch.tensor([0.0, 3.0]))  # minus Euler's constant, log(6) / 3
    tensor([-0.5772,  0.5973])
    """
    near = x.abs() < _NEAR
    far = torch.where(near, 1.0, x)
    return torch.where(near, horner(torch.where(near, x, 0.0), _SLOPE), lgamma1p(far) / far)


def lgamma_convexity(x: Tensor) -> Tensor:
    """The function (log Gamma(1 + 2 x) - 2 log Gamma(1 + x)) / x^2, elementwise for x > -1/2.

    Nothing cancels near 0. Its product with x^2 is the logarithm of E[E^(2 x)] / E[E^x]^2 for an
    exponential variable E.

    >>> lgamma_convexity(torch.tensor([0.0, 1.0]))  # pi^2 / 6, log(2)
    tensor([1.6449, 0.6931])
    """
    near = x.abs() < _NEAR
    far = torch.where(near, 1.0, x)
    direct = (lgamma1p(2 * far) - 2 * lgamma1p(far)) / far.square()
    return torch.where(near, horner(torch.where(near, x, 0.0), _CONVEXITY), direct)


def log_gamma_second_difference(x: Tensor, step: Tensor) -> Tensor:
    """The second difference lgamma(x + 2 s) - 2 lgamma(x + s) + lgamma(x) >= 0, elementwise.

    Nothing cancels for steps s below x: there it is an integral of the trigamma function. The
    tensors x > 0 and s > 0 have one shape.

    >>> double = torch.tensor([3.0, 1.0], dtype=torch.float64)
    >>> log_gamma_second_difference(double[:1], double[1:])  # log(4! 2! / 3!^2)
    tensor([0.2877], dtype=torch.float64)
    """
    small = step < x
    near, wide = torch.where(small, step, 0.5 * x), torch.where(small, x, step)
    nodes, weights = gauss_legendre(24, x)
    up, down = near.unsqueeze(-1) * nodes, near.unsqueeze(-1) * (2 - nodes)
    start = x.unsqueeze(-1)
    curvature = trigamma(start + up) + trigamma(start + down)
    integral = near.square() * (weights * nodes * curvature).sum(-1)
    direct = lgamma(x + 2 * wide) - 2 * lgamma(x + wide) + lgamma(x)
    return torch.where(small, integral, direct)
