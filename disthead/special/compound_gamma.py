"""Sums of a Poisson number of gamma variables: density, tails and mean difference.

N is Poisson with the mean `rate`, and given N = n the sum has a gamma distribution with the
concentration n shape and rate 1. All tensors are in double precision and broadcast. Series over n
take a fixed number of terms around the largest one. Where that window is too narrow for all
integers the terms are a smooth function of n: the sum over every h-th number, times h, is then the
same to rounding (by Poisson's summation formula). Source: Dunn and Smyth 2005, Series evaluation of
Tweedie exponential dispersion model densities.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .eager import are_concrete, are_plain_numbers, extent
from .incomplete_gamma import gammainc, gammaincc, log_gammainc, log_gammaincc
from .numeric import in_chunks, mend
from .probabilities import log_sum_exp
from .quadrature import tanh_sinh
from .stirling import poisson_log_mass

__all__ = [
    "compound_log_density",
    "compound_log_tails",
    "compound_mean_difference",
    "compound_sums",
]

_MOST_TERMS = 128
_REACH = 9.0  # standard deviations on each side of the largest term
_MORE = 15.0  # terms on each side, for those of few


def _window(center: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers n of the terms, shape (..., terms), and log(h), shape (..., 1)."""
    center, spread = center.detach().unsqueeze(-1), spread.detach().unsqueeze(-1)
    reach = _REACH * spread + _MORE
    count = _MOST_TERMS
    if are_concrete(reach) and math.isfinite(greatest := extent(reach)[1]):
        count = min(count, math.ceil(2 * greatest) + 1)
    j = torch.arange(count, dtype=center.dtype, device=center.device)
    step = 2 * reach / (count - 1)
    each = (center.floor() - count // 2).clamp(min=1) + j
    some = center + (j - 0.5 * (count - 1)) * step
    dense = step <= 1
    return torch.where(dense, each, some), torch.where(dense, 1.0, step).log()


def _sum(terms: Tensor, n: Tensor, log_step: Tensor) -> Tensor:
    terms = torch.where(n > 0, terms, -torch.inf)
    return log_sum_exp(terms) + log_step.squeeze(-1)


def _typical(x: Tensor, rate: Tensor, shape: Tensor) -> Tensor:
    """The real n of about the largest term of the density at x."""
    return rate * (x / (rate * shape)) ** (shape / (1 + shape))


def compound_log_density(x: Tensor, rate: Tensor, shape: Tensor) -> Tensor:
    """The logarithm of x times the density at x > 0, whose integral is 1 - exp(-rate)."""
    return _of_rows(_log_density, *torch.broadcast_tensors(x, rate, shape))


def _of_rows(function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """The results of an elementwise function, in chunks where the arguments are plain numbers."""
    if not are_plain_numbers(*arguments) or not arguments[0].numel():
        return function(*arguments)
    return in_chunks(lambda *chunk: (function(*chunk),), _MOST_TERMS, *arguments)[0]


def _log_density(x: Tensor, rate: Tensor, shape: Tensor) -> Tensor:
    center = _typical(x, rate, shape)
    n, log_step = _window(center, (center / (1 + shape)).sqrt())
    rate, shape, x = rate.unsqueeze(-1), shape.unsqueeze(-1), x.unsqueeze(-1)
    positive = torch.where(n > 0, n, 1.0)
    a = positive * shape
    terms = poisson_log_mass(positive, rate) + poisson_log_mass(a, x) + a.log()
    return _sum(terms, n, log_step)


def compound_log_tails(x: Tensor, rate: Tensor, shape: Tensor, upper: Tensor) -> Tensor:
    """The logarithm of P(0 < sum <= x), or of P(sum > x) where `upper` is true, for x > 0."""
    x, rate, shape, upper = torch.broadcast_tensors(x, rate, shape, upper)
    if not are_plain_numbers(x, rate, shape):
        return _log_tails_by_logarithms(x, rate, shape, upper)
    return _of_rows(_log_tails_of_numbers, x, rate, shape, upper)


def _log_tails_of_numbers(x: Tensor, rate: Tensor, shape: Tensor, upper: Tensor) -> Tensor:
    value = mend(_log_lower_tails(x, rate, shape), upper, _log_upper_tails, x, rate, shape)
    # terms that underflow
    return mend(value, ~(value > -640), _log_tails_by_logarithms, x, rate, shape, upper)


def _log_tails_by_logarithms(x: Tensor, rate: Tensor, shape: Tensor, upper: Tensor) -> Tensor:
    n, log_step, a, log_mass = _numbers(x, rate, shape)
    x = x.unsqueeze(-1)
    tail = torch.where(upper.unsqueeze(-1), log_gammaincc(a, x), log_gammainc(a, x))
    return _sum(log_mass + tail, n, log_step)


def _log_lower_tails(x: Tensor, rate: Tensor, shape: Tensor) -> Tensor:
    n, log_step, a, log_mass = _numbers(x, rate, shape)
    mass = torch.where(n > 0, log_mass.exp(), 0.0)
    return (mass * gammainc(a, x.unsqueeze(-1))).sum(-1).log() + log_step.squeeze(-1)


def _log_upper_tails(x: Tensor, rate: Tensor, shape: Tensor) -> Tensor:
    n, log_step, a, log_mass = _numbers(x, rate, shape)
    mass = torch.where(n > 0, log_mass.exp(), 0.0)
    return (mass * gammaincc(a, x.unsqueeze(-1))).sum(-1).log() + log_step.squeeze(-1)


def _numbers(x: Tensor, rate: Tensor, shape: Tensor) -> tuple[Tensor, ...]:
    """N and log(h) of the tails at x, the concentrations n shape, and log P(N = n)."""
    center = _typical(x, rate, shape)
    n, log_step = _window(center, center.sqrt())
    positive = torch.where(n > 0, n, 1.0)
    log_mass = poisson_log_mass(positive, rate.unsqueeze(-1))
    return n, log_step, positive * shape.unsqueeze(-1), log_mass


def compound_sums(x: Tensor, rate: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """P(0 < sum <= x) and E[sum; sum <= x] for x > 0, each to an absolute error of rounding."""
    n, log_step = _window(rate, rate.sqrt())
    step = torch.where(n > 0, log_step.exp(), 0.0)
    rate, shape, x = rate.unsqueeze(-1), shape.unsqueeze(-1), x.unsqueeze(-1)
    positive = torch.where(n > 0, n, 1.0)
    a = positive * shape
    weight = step * poisson_log_mass(positive, rate).exp()
    below = gammainc(a, x)
    return (weight * below).sum(-1), (weight * a * (below - poisson_log_mass(a, x).exp())).sum(-1)


def compound_mean_difference(rate: Tensor, shape: Tensor) -> Tensor:
    """E|S - S'| of two independent sums, by an integral over their characteristic function.

    E|D| = (2 / pi) int_0^inf (1 - E cos(t D)) / t^2 dt, with t = tan(angle).
    """
    rate, shape = torch.broadcast_tensors(rate, shape)
    t, complement, weights = tanh_sinh(161, rate)
    half_pi = 0.5 * math.pi
    sine, cosine = torch.sin(half_pi * t), torch.sin(half_pi * complement)
    log_cosine = torch.where(t < 0.5, 0.5 * torch.log1p(-sine.square()), cosine.log())
    power = shape.unsqueeze(-1)
    size, turn = power * log_cosine, 0.5 * power * half_pi * t
    loss = 2 * size.exp() * torch.sin(turn).square() - torch.expm1(size)  # 1 - Re E exp(i t X)
    values = -torch.expm1(-2 * rate.unsqueeze(-1) * loss) / sine.square()
    return (weights * values).sum(-1)
