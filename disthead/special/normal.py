"""The logarithm of the normal distribution function, of its differences, and its inverse in log space."""

import math

import numpy as np
import torch

from .eager import are_plain_numbers
from .elementwise import Elementwise
from .incomplete_gamma import log1mexp
from .inverse import implicit
from .numeric import mend
from .operators import elementwise_operator
from .plain import erfc, erfcx, ndtr, ndtri
from .precision import in_float64
from .quadrature import gauss_legendre


class _LogNdtr(Elementwise):
    """torch.special.log_ndtr, but with a batching rule under vmap."""

    @staticmethod
    def forward(z):
        left = z < 0
        lower, upper = torch.where(left, z, -1), torch.where(left, 1, z)
        tail = torch.log(erfcx(-lower / math.sqrt(2)) / 2) - lower * lower / 2
        return torch.where(left, tail, torch.log1p(-erfc(upper / math.sqrt(2)) / 2))

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * mills(z)


class _Mills(Elementwise):
    @staticmethod
    def forward(z):
        left = z < 0
        lower, upper = torch.where(left, z, -1), torch.where(left, 1, z)
        tail = math.sqrt(2 / math.pi) / erfcx(-lower / math.sqrt(2))
        density = torch.exp(-upper * upper / 2) / math.sqrt(2 * math.pi)
        return torch.where(left, tail, density / (1 - erfc(upper / math.sqrt(2)) / 2))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx, grad):
        z, ratio = ctx.saved_tensors
        return -grad * ratio * (z + _Mills.apply(z))


def mills(z):
    """density(z) / ndtr(z) of the standard normal, the derivative of log_ndtr; float64 in and out."""
    return _Mills.apply(z)


@in_float64
def log_ndtr(z):
    """Logarithm of the standard normal distribution function, elementwise, accurate in both tails with its gradient.

    >>> round(log_ndtr(torch.tensor(-1e3, dtype=torch.float64)).item(), 6)
    -500007.826695
    """
    if not are_plain_numbers(z):
        return _LogNdtr.apply(z)
    numbers = np.asarray(z.detach().numpy())  # which compares in a tenth of torch's time
    value = mend(torch.log(ndtr(z)), numbers > 2, lambda z: torch.log1p(-ndtr(-z)), z)
    return mend(value, numbers < -35, torch.special.log_ndtr, z)


def ndtri_of_tails(below, above):
    """The z with ndtr(z) = below = 1 - above: of the two probabilities the smaller one carries the digits.

    >>> round(ndtri_of_tails(torch.tensor(1.0, dtype=torch.float64), torch.tensor(1e-30, dtype=torch.float64)).item(), 6)
    11.464025
    """
    if are_plain_numbers(below, above):
        return mend(
            ndtri(below), below.detach().numpy() > 0.999, lambda above: -ndtri(above), above
        )
    left = below <= above
    z = ndtri(torch.where(left, below, above))
    return torch.where(left, z, -z)


@in_float64
def log_ndtr_difference(lower, upper):
    """log(ndtr(upper) - ndtr(lower)) for lower < upper: the log probability of an interval.

    Nothing cancels, in either tail or for narrow intervals: relative error below 1e-13. lower and
    upper broadcast and may be infinite; -inf where the interval is empty.

    >>> round(log_ndtr_difference(torch.tensor(40.0, dtype=torch.float64), 41.0).item(), 9)
    -804.608442014
    """
    lower, upper = torch.broadcast_tensors(lower, upper)
    flip = lower > 0  # work in the left tail, where the logarithms differ
    lower, upper = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    empty, open_left, open_right = upper <= lower, torch.isinf(lower), torch.isinf(upper)
    narrow = (upper - lower) * (1 + torch.abs(lower)) < 2
    wide = ~(narrow | empty)
    below = _LogNdtr.apply(torch.where(wide & ~open_left, lower, -1))
    above = torch.where(open_right, 0, _LogNdtr.apply(torch.where(wide & ~open_right, upper, 1)))
    far = torch.where(
        open_left, above, above + log1mexp(torch.where(wide & ~open_left, below - above, -1))
    )
    return torch.where(
        empty, -torch.inf, torch.where(narrow, _log_narrow(lower, upper, narrow & ~empty), far)
    )


def _log_narrow(lower, upper, narrow):
    """The same by quadrature of the density relative to its value at `lower`, where two logarithms would cancel."""
    start, width = (
        torch.where(narrow, lower, 0),
        torch.where(narrow, upper - torch.where(narrow, lower, 0), 1),
    )
    nodes, weights = gauss_legendre(24, width)
    step = width.unsqueeze(-1) * nodes
    relative = (weights * torch.exp(-step * (start.unsqueeze(-1) + step / 2))).sum(-1)
    return torch.log(relative) + torch.log(width) - start * start / 2 - 0.5 * math.log(2 * math.pi)


@elementwise_operator("ndtri_exp")
def _ndtri_exp(log_p):
    tail = torch.minimum(log_p, torch.log(-torch.expm1(log_p)))
    far = tail < -2
    z = torch.where(far, -torch.sqrt(-2 * torch.where(far, tail, -2)), 0.0)
    for _ in range(8):
        z = z - (_LogNdtr.forward(z) - tail) / _Mills.forward(z)
    return torch.where(log_p > -math.log(2), -z, z)


@in_float64
def ndtri_exp(log_p):
    """The z with log_ndtr(z) = log_p < 0: the standard normal quantile where p itself would underflow; elementwise.

    >>> round(ndtri_exp(log_ndtr(torch.tensor(-100.0, dtype=torch.float64))).item(), 9)
    -100.0
    """
    edge = torch.isinf(log_p) | (log_p >= 0)
    inner = torch.where(edge, -1, log_p)
    z = _ndtri_exp(inner)
    z = implicit(z, _LogNdtr.apply(z) - inner, mills(z))
    return torch.where(edge, torch.where(log_p < 0, -torch.inf, torch.inf), z)
