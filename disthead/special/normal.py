"""Logarithms of the normal distribution function and of its differences, and their inverse."""

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
        # Literals, since torch's compiler makes an input of a graph of each computed number, and
        # fails where the function occurs twice: sqrt(1 / 2), sqrt(2 / pi), sqrt(1 / (2 pi)).
        left = z < 0
        lower, upper = torch.where(left, z, -1), torch.where(left, 1, z)
        tail = 0.7978845608028654 / erfcx(-lower * 0.7071067811865476)
        density = torch.exp(-upper * upper / 2) * 0.3989422804014327
        return torch.where(left, tail, density / (1 - erfc(upper * 0.7071067811865476) / 2))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx, grad):
        z, ratio = ctx.saved_tensors
        return -grad * ratio * (z + _Mills.evaluate(z))


def mills(z):
    """The derivative density(z) / ndtr(z) of log_ndtr, elementwise; float64 in and out."""
    return _Mills.evaluate(z)


@in_float64
def log_ndtr(z):
    """Logarithm of the standard normal distribution function, elementwise.

    It and its gradient are accurate in both tails. The lower tail is
    log(erfcx(-z / sqrt(2)) / 2) - z^2 / 2 (DLMF 7.20.1). Raises TypeError if z is not a tensor.

    >>> round(log_ndtr(torch.tensor(-1e3, dtype=torch.float64)).item(), 6)
    -500007.826695
    """
    if not are_plain_numbers(z):
        return _LogNdtr.evaluate(z)
    numbers = np.asarray(z.detach().numpy())  # compared in a tenth of torch's time
    value = mend(torch.log(ndtr(z)), numbers > 2, lambda z: torch.log1p(-ndtr(-z)), z)
    return mend(value, numbers < -35, torch.special.log_ndtr, z)


def ndtri_of_tails(below, above):
    """The z with ndtr(z) = below = 1 - above, computed from the smaller one of the two.

    `below` and `above` are tensors of one shape and dtype, which are those of the result.

    >>> below, above = torch.tensor([1.0, 1e-30], dtype=torch.float64)
    >>> round(ndtri_of_tails(below, above).item(), 6)
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
def log_ndtr_difference(lower, upper, width=None):
    """The log probability log(ndtr(upper) - ndtr(lower)) of an interval, elementwise.

    The relative error is below 1e-13, also in either tail and for narrow intervals. `lower` and
    `upper`, in standard deviations, broadcast and may be infinite; the result is -inf where the
    interval is empty. `width` is upper - lower where that is known to more digits than the
    difference has, or None. Raises TypeError if none is a tensor.

    >>> round(log_ndtr_difference(torch.tensor(40.0, dtype=torch.float64), 41.0).item(), 9)
    -804.608442014
    """
    width = upper - lower if width is None else width
    lower, upper, width = torch.broadcast_tensors(lower, upper, width)
    flip = lower > 0  # to the left tail, where the logarithms differ
    lower, upper = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    empty, open_left, open_right = ~(width > 0), torch.isinf(lower), torch.isinf(upper)
    narrow = width * (1 + torch.abs(lower)) < 2
    broad = ~(narrow | empty)
    has_lower = broad & ~open_left
    below = _LogNdtr.evaluate(torch.where(has_lower, lower, -1))
    above = torch.where(
        open_right, 0, _LogNdtr.evaluate(torch.where(broad & ~open_right, upper, 1))
    )
    difference = above + log1mexp(torch.where(has_lower, below - above, -1))
    value = torch.where(open_left, above, difference)
    value = torch.where(narrow, _log_narrow(lower, width, narrow & ~empty), value)
    return torch.where(empty, -torch.inf, value)


def _log_narrow(lower, width, narrow):
    """The same for narrow intervals, by quadrature of the density relative to that at `lower`."""
    start, width = torch.where(narrow, lower, 0), torch.where(narrow, width, 1)
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
    """The standard normal quantile of exp(log_p), elementwise: the z with log_ndtr(z) = log_p < 0.

    It serves probabilities that underflow, by Newton's method on the logarithm. log_p = -inf and
    log_p >= 0 give -inf and inf. The first derivative follows from the implicit function theorem;
    there is no second one (see `implicit`). Raises TypeError if log_p is not a tensor.

    >>> round(ndtri_exp(log_ndtr(torch.tensor(-100.0, dtype=torch.float64))).item(), 9)
    -100.0
    """
    edge = torch.isinf(log_p) | (log_p >= 0)
    inner = torch.where(edge, -1, log_p)
    z = _ndtri_exp(inner)
    z = implicit(z, _LogNdtr.evaluate(z) - inner, mills(z))
    return torch.where(edge, torch.where(log_p < 0, -torch.inf, torch.inf), z)
