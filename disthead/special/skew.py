"""Tails of skew-normal and skew-t distributions, exact far out, and the rule that integrates them.

Both are distributions of X given U < shape V, for a pair of normal or t variables. Their lower tail
at -h, for a positive shape a, is the probability of a wedge,

    J = integral of k(h^2 (1 + x^2)) / (1 + x^2) dx / pi from a to infinity,

with k(r) = exp(-r / 2), or (1 + r / df)^(-df / 2) for df degrees of freedom. For the normal
distribution this is Owen's T function, and for t its counterpart by Dunnett and Sobel 1954.
"""

import math

import torch

from .eager import are_plain_numbers, by_scipy
from .normal import log_ndtr
from .numeric import mend
from .quadrature import gauss_legendre
from .student_t import student_t_log_cdf

_NODES, _REACH = 121, 3.7
_NEAR = 1.0  # h sqrt(1 + a^2), below which the complement of the wedge is integrated


def half_line_rule(like):
    """Nodes and weights of the double-exponential rule on (0, infinity), each of shape (121,).

    They have the dtype and the device of the tensor `like`. The rule serves functions that are
    smooth in log x, and fall off as a power of x or faster. Source: Takahasi and Mori 1974.

    >>> x, weights = half_line_rule(torch.tensor(0.0, dtype=torch.float64))
    >>> round(float((weights / (1 + x)**2).sum()), 10)
    1.0
    """
    t = torch.linspace(-_REACH, _REACH, _NODES, dtype=torch.float64, device=like.device)
    x = torch.exp(0.5 * math.pi * torch.sinh(t))
    weights = (2 * _REACH / (_NODES - 1)) * 0.5 * math.pi * torch.cosh(t) * x
    return x.to(like.dtype), weights.to(like.dtype)


def skew_log_tails(z, shape, df=None):
    """Log P(Z <= z) and log P(Z > z) of the standard skew-normal or skew-t distribution.

    The tensors, float64, have one shape. Source: Azzalini 1985, Azzalini and Capitanio 2003.

    Args:
        z: where the tails begin.
        shape: the slant alpha, any real number.
        df: degrees of freedom of skew-t, positive; None for the skew-normal distribution.

    >>> z, shape = torch.tensor([-1.0, 0.0], dtype=torch.float64), torch.ones(2).double()
    >>> skew_log_tails(z, shape)[0].exp()  # ndtr(z)^2
    tensor([0.0252, 0.2500], dtype=torch.float64)
    """
    flipped = shape < 0
    a, x = torch.where(flipped, -shape, shape), torch.where(flipped, -z, z)
    outside = x <= 0
    h = torch.where(outside, -x, x)
    log_half = log_ndtr(-h) if df is None else student_t_log_cdf(df, -h)
    wedge = _log_wedge(h, a, df, log_half)
    # on the other side of 0 the upper tail is twice that of the symmetric distribution, less J
    beyond = math.log(2) + log_half
    upper = beyond + torch.log1p(-torch.exp(torch.where(outside, beyond - 1, wedge) - beyond))
    small = torch.log(-torch.expm1(torch.where(outside, -1.0, beyond)) + torch.exp(wedge))
    tail = torch.exp(torch.where(outside, -1.0, upper))
    lower = torch.where(tail < 0.5, torch.log1p(-torch.where(tail < 0.5, tail, 0.5)), small)
    lower = torch.where(outside, wedge, lower)
    upper = torch.where(outside, torch.log1p(-torch.exp(wedge)), upper)
    return torch.where(flipped, upper, lower), torch.where(flipped, lower, upper)


def _log_wedge(h, a, df, log_half):
    """Log J, where log_half is log P(X < -h) of the symmetric distribution."""
    if are_plain_numbers(h, a, log_half):
        return _log_wedge_number(h, a, df, log_half)
    near = h * torch.sqrt(1 + a * a) < _NEAR
    close = _close_wedge(torch.where(near, h, 0.5), torch.where(near, a, 0.0), df, log_half)
    far = _far_wedge(torch.where(near, 1.0, h), torch.where(near, 1.0, a), df)
    return torch.where(near, torch.where(near, close, 1.0).log(), far)


def _log_wedge_number(h, a, df, log_half):
    """The same of plain numbers, each row by one formula."""
    more = () if df is None else (df,)

    def close(h, a, log_half, df=None):
        return _close_wedge(h, a, df, log_half).log()

    def far(h, a, log_half, df=None):
        return _far_wedge(h, a, df)

    if df is None:
        half = log_half.exp()
        wedge = half - 2 * by_scipy("owens_t", h, a)
        value, left = wedge.log(), wedge < 1e-3 * half  # where the difference loses digits
    else:
        value, left = torch.empty_like(log_half), torch.ones_like(log_half, dtype=torch.bool)
    near = h * torch.sqrt(1 + a * a) < _NEAR
    value = mend(value, left & near, close, h, a, log_half, *more)
    return mend(value, left & ~near, far, h, a, log_half, *more)


def _kernel(square, df):
    return torch.exp(-0.5 * square if df is None else -0.5 * df * torch.log1p(square / df))


def _close_wedge(h, a, df, log_half):
    """J from its complement, where x = sinh(u) runs from 0 to a."""
    nodes, weights = (part.reshape(-1, *(1,) * h.ndim) for part in gauss_legendre(64, h))
    end = torch.asinh(a)
    cosh = torch.cosh(end * nodes)
    rest = end * (weights * _kernel((h * cosh).square(), df) / cosh).sum(0)
    return log_half.exp() - rest / math.pi


def _far_wedge(h, a, df):
    """Log J from its integrand relative to that at x = a, for x = a + s."""
    radius = 1 + a * a
    square = h.square()
    if df is None:
        rate, edge = square, -0.5 * square * radius
    else:
        rate = df / (df / square + radius)
        ratio = h * torch.sqrt(radius / df)
        far = ratio > 1e8  # whose square may overflow
        square = torch.where(far, 0.0, ratio).square()
        growth = torch.where(far, 2 * torch.where(far, ratio, 1.0).log(), torch.log1p(square))
        edge = -0.5 * df * growth
    s, weights = (part.reshape(-1, *(1,) * h.ndim) for part in half_line_rule(h))
    scale = (1 / (torch.rsqrt(radius) + rate * a + rate.sqrt())).detach()
    s = s * scale
    kernel = _kernel(rate * s * (s + 2 * a), df)
    return edge + torch.log((weights * kernel / (1 + (a + s).square())).sum(0) * scale / math.pi)


def mean_binary_entropy(log_density, log_share, scale):
    """The integral from 0 to infinity of density(x) times the entropy of share(x), in nats.

    The entropy is -p log p - q log q, where p = share(x) and q = share(-x) = 1 - p.

    Args:
        log_density: a function of x of shape (121, ...).
        log_share: a function of x of shape (121, ...), negative x, too.
        scale: where both begin to change, shape (...), positive.
    """
    x, weights = (part.reshape(-1, *(1,) * scale.ndim) for part in half_line_rule(scale))
    scale = scale.detach()
    x = x * scale
    log_p, log_q = log_share(x), log_share(-x)
    surprise = -(_weighted(log_p) + _weighted(log_q))
    return (weights * log_density(x).exp() * surprise).sum(0) * scale


def _weighted(log_p):
    """The product p log p, 0 where p underflows."""
    log_p = log_p.clamp(min=-700)
    return log_p.exp() * log_p
