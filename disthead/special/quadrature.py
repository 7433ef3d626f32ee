"""Quadrature with fixed nodes.

Every element of a batch takes the same work, so that the rules can be compiled, exported and used
under vmap.
"""

import functools
import math

import numpy as np
import torch


def _legendre_rule(count):
    """Nodes and weights on (0, 1) by Newton's method on the Legendre recurrence."""
    # by NumPy, whose operations take a tenth of torch's time at this size, since this runs when the
    # library is imported
    x = np.cos(math.pi * (np.arange(count) + 0.75) / (count + 0.5))
    # the last steps in extended precision, where the machine has it, so that nodes and weights are
    # rounded correctly
    for precision in (np.float64, np.float64, np.float64, np.longdouble, np.longdouble):
        x = x.astype(precision)
        previous, current = np.ones_like(x), x
        for degree in range(2, count + 1):
            previous, current = (
                current,
                ((2 * degree - 1) * x * current - (degree - 1) * previous) / degree,
            )
        slope = count * (x * current - previous) / (x * x - 1)
        x = x - current / slope
    weight = 2 / ((1 - x * x) * slope * slope)
    return tuple(torch.from_numpy(part.astype(np.float64)) for part in ((1 - x) / 2, weight / 2))


def _tanh_sinh_rule(count, reach=3.6):
    s = torch.linspace(-reach, reach, count, dtype=torch.float64)
    step = 2 * reach / (count - 1)
    angle = math.pi * torch.sinh(s)
    return (
        torch.sigmoid(angle),
        torch.sigmoid(-angle),
        step * math.pi * torch.cosh(s) * torch.sigmoid(angle) * torch.sigmoid(-angle),
    )


def _beyond_rule(count, reach=3.6, terms=160):
    """The next nodes of the same rule: log t, that of the first node, and weight / t."""
    step = 2 * reach / (count - 1)
    s = -reach - step * torch.arange(1, terms + 1, dtype=torch.float64)
    first = math.pi * math.sinh(-reach)
    return math.pi * torch.sinh(s), first, step * math.pi * torch.cosh(s)


_RULES = {}
_LEGENDRE_COUNTS = (6, 12, 24, 28, 40, 48, 64, 96, 128)
for _count in _LEGENDRE_COUNTS:
    _RULES[_count] = _legendre_rule(_count)
_TANH_SINH = {_count: _tanh_sinh_rule(_count) for _count in (41, 81, 161)}


def _like(tensor, reference):
    return tensor.to(device=reference.device, dtype=reference.dtype, non_blocking=True)


def gauss_legendre(count, like):
    """Nodes and weights of the Gauss-Legendre rule on (0, 1), each of shape (count,).

    They have the dtype and the device of the tensor `like`. The rule is exact for polynomials of
    degree up to 2 count - 1, and its nodes are accurate to 1e-16. Raises KeyError unless `count` is
    one of 6, 12, 24, 28, 40, 48, 64, 96 and 128. Source: DLMF 3.5(v).

    >>> nodes, weights = gauss_legendre(12, torch.tensor(0.0, dtype=torch.float64))
    >>> round(float((weights * nodes**3).sum()), 14)
    0.25
    """
    nodes, weights = _RULES[count]
    return _like(nodes, like), _like(weights, like)


def gauss_legendre_antiderivative(count, like):
    """The matrix that integrates a function from 0 to each node of `gauss_legendre`.

    Its entries a_ij, of shape (count, count), give sum_j a_ij f(x_j) = integral of f from 0 to x_i,
    exactly for polynomials of degree below `count`. Dtype, device and the numbers allowed for
    `count` are those of `gauss_legendre`, and so is the KeyError. Source: Butcher (1964), where the
    matrix defines the Gauss methods of Runge and Kutta.

    >>> nodes, _ = gauss_legendre(12, torch.tensor(0.0, dtype=torch.float64))
    >>> integrals = gauss_legendre_antiderivative(12, nodes) @ nodes**2
    >>> bool(torch.allclose(integrals, nodes**3 / 3, atol=1e-15))
    True
    """
    return _like(_antiderivative(count), like)


@functools.cache
def _antiderivative(count):
    """By Legendre polynomials on (0, 1), whose antiderivatives are differences of neighbours."""
    x, weight = (part.numpy() for part in _RULES[count])
    values = np.polynomial.legendre.legvander(2 * x - 1, count)  # (node, degree)
    degree = np.arange(1, count)
    integrals = np.column_stack([x, (values[:, 2:] - values[:, :-2]) / (2 * (2 * degree + 1))])
    coefficients = (2 * np.arange(count) + 1)[:, None] * values[:, :-1].T * weight
    return torch.from_numpy(integrals @ coefficients)


def tanh_sinh(count, like):
    """Nodes t, complements 1 - t and weights of the double-exponential rule on (0, 1).

    Each has shape (count,), with the dtype and the device of the tensor `like`. The nodes are
    t = sigmoid(pi sinh s) at equidistant s. The rule tolerates algebraic and logarithmic
    singularities at either end, and 1 - t keeps all its digits near 1. Raises KeyError unless
    `count` is one of 41, 81 and 161. Source: Takahasi and Mori (1974).

    >>> t, complement, weights = tanh_sinh(81, torch.tensor(0.0, dtype=torch.float64))
    >>> round(float((weights * (t * complement) ** -0.5).sum()), 7) == round(math.pi, 7)
    True
    """
    return tuple(_like(part, like) for part in _TANH_SINH[count])


def tanh_sinh_beyond(count, exponent):
    """The sum of weight * (t / t_0)^-exponent over the nodes t before the first one of `tanh_sinh`.

    It is what the rule leaves out of the integral of t^-exponent, in units of its value at the
    first node t_0.

    Args:
        count: 41, 81 or 161.
        exponent: shape (...), below 1. The rule is exact up to 1 - 1e-6.

    >>> t, _, weights = tanh_sinh(81, torch.tensor(0.0, dtype=torch.float64))
    >>> rest = tanh_sinh_beyond(81, torch.tensor(0.95, dtype=torch.float64))
    >>> round(float((weights * t**-0.95).sum() + t[0] ** -0.95 * rest), 9)  # 1 / (1 - 0.95)
    20.0
    """
    column = (-1,) + (1,) * exponent.dim()
    log_t, first, slope = _beyond_rule(count)
    log_t, slope = (_like(part, exponent).reshape(column) for part in (log_t, slope))
    return (slope * torch.exp(log_t - exponent * (log_t - first))).sum(0)


def integrate(function, lower, upper, nodes=64):
    """The integral of `function` from `lower` to `upper` by `gauss_legendre`, element by element.

    The tensors `lower` and `upper` broadcast to the batch shape, which is that of the result.
    `function` takes points of shape (nodes, *batch) and returns values of that shape, so that
    parameters of the batch shape broadcast inside it. The integral is differentiable in the limits
    and in everything that `function` closes over. Raises KeyError if `gauss_legendre` has no rule
    of `nodes` points.

    >>> upper = torch.tensor([1.0, 2.0], dtype=torch.float64)
    >>> integrate(torch.exp, torch.zeros_like(upper), upper)  # e - 1, e^2 - 1
    tensor([1.7183, 6.3891], dtype=torch.float64)
    """
    width = upper - lower
    t, weights = gauss_legendre(nodes, width)
    shape = (nodes,) + (1,) * width.dim()
    return width * (weights.reshape(shape) * function(lower + width * t.reshape(shape))).sum(0)
