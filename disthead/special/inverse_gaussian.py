"""Tails and quantiles of the inverse Gaussian distribution, and the scaled exponential integral.

For y = mean exp(u) and k = concentration / mean, the logarithm u has the density
sqrt(k / (2 pi)) exp(-u / 2 - k (cosh(u) - 1)), which is log-concave, and with
a = 2 sqrt(k) sinh(u / 2), b = 2 sqrt(k) cosh(u / 2) the cdf is ndtr(a) + exp(2 k) ndtr(-b)
(Shuster 1968), where 2 k = (b^2 - a^2) / 2.
"""

import math

import torch
from torch import Tensor

from .elementwise import Elementwise
from .incomplete_gamma import log1mexp
from .inverse import newton_from_left
from .plain import erfcx
from .quadrature import gauss_legendre
from .stirling import EULER

__all__ = ["exp1_scaled", "inverse_gaussian_log_tails", "inverse_gaussian_quantile"]

_ROOT_HALF = math.sqrt(0.5)
_FAR = 40.0  # where exp(-u^2 - 2 a u) is 0 to rounding


def inverse_gaussian_log_tails(a: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of P(Y <= y) and P(Y > y), elementwise in double precision.

    Args:
        a: root (y - mean) / mean, shape (...).
        root: sqrt(concentration / y), shape (...), half the difference of b and a.
    """
    left = a <= 0
    below, above = torch.where(left, a, -1.0), torch.where(left, 1.0, a)
    other = erfcx((a + 2 * root) * _ROOT_HALF)
    log_low = torch.log(erfcx(-below * _ROOT_HALF) + other) - 0.5 * below.square() - math.log(2)
    log_high = torch.log(_difference(above, 2 * root, other)) - 0.5 * above.square() - math.log(2)
    log_cdf = torch.where(left, log_low, log1mexp(torch.where(left, -1.0, log_high)))
    log_survival = torch.where(left, log1mexp(torch.where(left, log_low, -1.0)), log_high)
    return log_cdf, log_survival


def _difference(a: Tensor, step: Tensor, other: Tensor) -> Tensor:
    """erfcx(a / sqrt(2)) - erfcx((a + step) / sqrt(2)) for a > 0, where `other` is the latter.

    Where they are nearly equal it is an integral, from that of exp(-u^2 - 2 a u) for erfcx(a).
    """
    close = step < 0.5 * a
    direct = erfcx(torch.where(close, 1.0, a) * _ROOT_HALF) - torch.where(close, 0.0, other)
    start = torch.where(close, a, 1.0) * _ROOT_HALF
    step = torch.where(close, step, 1.0) * _ROOT_HALF
    end = _FAR / (start + torch.sqrt(start.square() + _FAR))
    nodes, weights = gauss_legendre(48, a)
    u = nodes * end.unsqueeze(-1)
    decay = torch.exp(-u * (u + 2 * start.unsqueeze(-1)))
    values = decay * -torch.expm1(-2 * step.unsqueeze(-1) * u)
    integral = 2 / math.sqrt(math.pi) * end * (weights * values).sum(-1)
    return torch.where(close, integral, direct)


@torch.no_grad()
def inverse_gaussian_quantile(k: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """The u = log(y / mean) with P(Y <= y) = below = 1 - above, elementwise in double precision.

    There is no gradient. Both tails are log-concave in u, and Chernoff's bound starts the search.

    Args:
        k: concentration / mean, shape (...).
        below: shape (...), inside (0, 1); it is exact where it is the smaller one.
        above: shape (...).
    """
    k, below, above = torch.broadcast_tensors(k, below, above)
    left = below <= above
    log_target = torch.where(left, below, above).log()
    sign, size = torch.where(left, 1.0, -1.0).to(k.dtype), 2 * k.sqrt()

    def step(v: Tensor) -> Tensor:
        u = sign * v
        a, root = size * torch.sinh(0.5 * u), 0.5 * size * torch.exp(-0.5 * u)
        log_tail = torch.where(left, *inverse_gaussian_log_tails(a, root))
        log_density = 0.5 * (k / (2 * math.pi)).log() - 0.5 * u - 0.5 * a.square()
        return v + (log_target - log_tail) * torch.exp(log_tail - log_density)

    bound = -log_target / k
    start = -torch.log1p(bound + torch.sqrt(bound * (bound + 2)))
    return sign * newton_from_left(step, start)


class _Exp1Scaled(Elementwise):
    @staticmethod
    def forward(x):
        small = x < 2
        near, far = torch.where(small, x, 1.0), torch.where(small, 2.0, x)
        term, total = torch.ones_like(near), torch.zeros_like(near)
        for n in range(1, 32):
            term = -term * near / n
            total = total - term / n
        series = torch.exp(near) * (total - EULER - torch.log(near))
        fraction = far + 121
        for n in range(60, 0, -1):
            fraction = far + (2 * n - 1) - n * n / fraction
        return torch.where(small, series, 1 / fraction)

    @classmethod
    def backward(cls, ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (cls.evaluate(x) - 1 / x)


def exp1_scaled(x: Tensor) -> Tensor:
    """exp(x) E1(x) for x > 0, elementwise in double precision, with E1 the exponential integral.

    By its series below 2, by its continued fraction above (DLMF 6.6.2 and 6.9.1).

    >>> round(exp1_scaled(torch.tensor(1.0, dtype=torch.float64)).item(), 12)
    0.596347362323
    """
    return _Exp1Scaled.evaluate(x)
