"""Integrals of the projected normal distribution: angles of normal vectors with a mean of length r.

Angles count from the direction of the mean. Source: Presnell, Morrison and Littell 1998.
"""

import math

import torch

from .inverse import bracketed_newton
from .normal import log_ndtr
from .plain import erf, erfc, erfcx
from .quadrature import integrate, tanh_sinh

_FAR = 20.0  # from here on the series below has all digits, and the difference none
_NEGLIGIBLE = 9.0  # erfc(9 / sqrt(2)) is 2e-19


def _slope_of_mills(x):
    """1 - x M(x) for x >= 0, where M is Mills' ratio."""
    near = x.clamp(max=_FAR)
    direct = 1 - near * math.sqrt(math.pi / 2) * erfcx(near * math.sqrt(0.5))
    z, series = x.clamp(min=_FAR).square().reciprocal(), torch.zeros_like(x)
    for factor in range(21, 1, -2):
        series = 1 - factor * z * series if factor < 21 else 1 - factor * z
    return torch.where(x < _FAR, direct, z * series)


def log_mean_length(u):
    """The logarithm of exp(-u^2 / 2) + u sqrt(2 pi) Phi(u), for any u.

    It is that of the density of the angle up to constants, where u is the mean's part along the
    target.
    """
    negative = (-u).clamp(min=0)
    positive = u.clamp(min=0)
    weight = math.sqrt(math.pi / 2) * erfc(-positive * math.sqrt(0.5))
    ahead = torch.exp(-0.5 * positive.square()) + positive * weight
    log_behind = _slope_of_mills(negative).log() - 0.5 * negative.square()
    return torch.where(u > 0, ahead.log(), log_behind)


def projected_normal_log_tail(r, behind):
    """The logarithm of P(pi - behind < Y < pi), for 0 <= behind <= pi, exact where it is small."""
    is_ahead = behind > math.pi / 2
    rest = torch.where(is_ahead, math.pi - behind, behind)
    _, complement, weights = (part.reshape(-1, *(1,) * rest.ndim) for part in tanh_sinh(81, rest))
    x = r * torch.sin(math.pi / 2 - rest + rest * complement)
    integral = rest * (weights * _slope_of_mills(x)).sum(0)
    log_factor = -0.5 * r.square() - math.log(2 * math.pi)
    log_half_plane = log_ndtr(-r * torch.sin(rest))
    log_ahead = log_half_plane + torch.log1p(-integral * torch.exp(log_factor - log_half_plane))
    log_behind = torch.where(is_ahead, 1.0, integral).log() + log_factor
    return torch.where(is_ahead, log_ahead, log_behind)


def _log_density(r, along, across):
    """The logarithm of the density of an angle, by its cosine and sine."""
    return log_mean_length(r * along) - 0.5 * (r * across).square() - math.log(2 * math.pi)


def projected_normal_quantile(r, tail):
    """The angle `behind` with P(pi - behind < Y < pi) = tail, at most 1/2; without a gradient."""
    r, log_tail = torch.broadcast_tensors(r, tail.log())
    # the density rises from its least value behind to its largest ahead
    one, zero = torch.ones_like(r), torch.zeros_like(r)
    lower, upper = (torch.exp(log_tail - _log_density(r, side, zero)) for side in (one, -one))

    def residual(behind):
        value = projected_normal_log_tail(r, behind)
        log_p = _log_density(r, -torch.cos(behind), torch.sin(behind))
        return value - log_tail, torch.exp(log_p - value)

    return bracketed_newton(residual, lower, upper.clamp(max=math.pi), steps=24)


def projected_normal_entropy(r):
    """The entropy -E log p(Y), in nats."""

    def surprise(angle):
        log_p = _log_density(r, torch.cos(angle), torch.sin(angle))
        return -log_p.exp() * log_p

    # beyond the reach of a narrow peak there is no probability
    reach = torch.where(r.detach() > _NEGLIGIBLE, _reach(r), math.pi)
    return 2 * integrate(surprise, torch.zeros_like(reach), reach, nodes=128)


def _integral_over_sine(function, r, lower, upper):
    """The integral of function(r sin(s) / sqrt(2)) over the angle s from lower to upper."""
    return integrate(lambda s: function(r * torch.sin(s) * math.sqrt(0.5)), lower, upper)


def _reach(r):
    """The angle up to which erfc(r sin(s) / sqrt(2)) counts, at most a quarter turn."""
    return torch.asin(_NEGLIGIBLE / r.detach().clamp(min=_NEGLIGIBLE))


def projected_normal_complement(r):
    """One less the mean resultant length: the integral of sin(s) erfc(r sin(s) / sqrt(2))."""
    reach = _reach(r)
    return integrate(
        lambda s: torch.sin(s) * erfc(r * torch.sin(s) * math.sqrt(0.5)),
        torch.zeros_like(reach),
        reach,
    )


def projected_normal_crps(r, angle):
    """The circular CRPS E d(Y, y) - E d(Y, Y') / 2 for a target at `angle`, from 0 to pi.

    The derivative of E d(Y, y) by y is the probability of the half turn behind y less that of the
    half turn before it, two half planes: erf(r sin(y) / sqrt(2)).
    """
    reach = _reach(r)
    zero = torch.zeros_like(reach)

    def distance(to):
        """The integral of the erf from 0 to an angle of at most a quarter turn."""
        near = torch.minimum(to, reach)
        return _integral_over_sine(erf, r, torch.zeros_like(near), near) + (to - near)

    quarter = distance(torch.full_like(angle, math.pi / 2))
    fold = torch.where(angle > math.pi / 2, math.pi - angle, angle)
    near = distance(fold)
    # the score at angle 0, its least value
    least = 0.5 * _integral_over_sine(lambda z: erfc(z).square(), r, zero, reach)
    return torch.where(angle > math.pi / 2, 2 * quarter - near, near) + least
