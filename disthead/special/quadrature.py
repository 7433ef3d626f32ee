"""Quadrature with fixed nodes: the same work for every element of a batch, so it compiles, exports and vmaps."""

import functools
import math

import numpy as np
import torch


def _legendre_rule(count):
    """Nodes and weights on (0, 1) by Newton's method on the Legendre recurrence."""
    # NumPy: at this size its operations cost a tenth of torch's, and importing the library pays for
    # them.
    x = np.cos(math.pi * (np.arange(count) + 0.75) / (count + 0.5))
    # Last in extended precision, where the machine has it, so that nodes and weights round
    # correctly.
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


_RULES = {}
_LEGENDRE_COUNTS = (6, 12, 24, 28, 40, 48, 64, 96, 128)
for _count in _LEGENDRE_COUNTS:
    _RULES[_count] = _legendre_rule(_count)
_TANH_SINH = {_count: _tanh_sinh_rule(_count) for _count in (41, 81, 161)}


def _like(tensor, reference):
    return tensor.to(device=reference.device, dtype=reference.dtype, non_blocking=True)


def gauss_legendre(count, like):
    """Nodes and weights of the Gauss-Legendre rule on (0, 1), each of shape (count,), on the device of `like`.

    `count` is one of 6, 12, 24, 28, 40, 48, 64, 96, 128; the rule is exact for polynomials of
    degree 2 count - 1. Nodes are accurate to 1e-16.

    >>> nodes, weights = gauss_legendre(12, torch.tensor(0.0, dtype=torch.float64))
    >>> round(float((weights * nodes**3).sum()), 14)
    0.25
    """
    nodes, weights = _RULES[count]
    return _like(nodes, like), _like(weights, like)


def gauss_legendre_antiderivative(count, like):
    """Weights (count, count) that take values at the nodes of `gauss_legendre` to their integrals from 0 to each node.

    The polynomial through the values is integrated: sum_j a_ij f(x_j) = integral of f from 0 to
    x_i, exact for degrees below `count`.

    >>> nodes, _ = gauss_legendre(12, torch.tensor(0.0, dtype=torch.float64))
    >>> bool(torch.allclose(gauss_legendre_antiderivative(12, nodes) @ nodes**2, nodes**3 / 3, atol=1e-15))
    True
    """
    return _like(_antiderivative(count), like)


@functools.cache
def _antiderivative(count):
    """By the Legendre polynomials on (0, 1), whose antiderivatives are differences of their neighbours."""
    x, weight = (part.numpy() for part in _RULES[count])
    values = np.polynomial.legendre.legvander(2 * x - 1, count)  # (node, degree)
    degree = np.arange(1, count)
    integrals = np.column_stack([x, (values[:, 2:] - values[:, :-2]) / (2 * (2 * degree + 1))])
    coefficients = (2 * np.arange(count) + 1)[:, None] * values[:, :-1].T * weight
    return torch.from_numpy(integrals @ coefficients)


def tanh_sinh(count, like):
    """Nodes t, complements 1 - t and weights of the double-exponential rule on (0, 1), each of shape (count,).

    t = sigmoid(pi sinh s) at equidistant s: algebraic and logarithmic singularities at either end
    do no harm, and 1 - t keeps all its digits near 1. `count` is one of 41, 81, 161. Source:
    Takahasi and Mori (1974).

    >>> t, complement, weights = tanh_sinh(81, torch.tensor(0.0, dtype=torch.float64))
    >>> round(float((weights * (t * complement) ** -0.5).sum()), 7) == round(math.pi, 7)
    True
    """
    return tuple(_like(part, like) for part in _TANH_SINH[count])


def integrate(function, lower, upper, nodes=64):
    """Integral of `function` from `lower` to `upper` by Gauss-Legendre, element by element.

    `lower` and `upper` broadcast to a batch shape; `function` gets points of shape (nodes, *batch)
    and returns values of that shape, so parameters of the batch shape broadcast inside it.
    Differentiable in the limits and in everything `function` closes over.

    >>> upper = torch.tensor([1.0, 2.0], dtype=torch.float64)
    >>> [round(value, 12) for value in integrate(torch.exp, torch.zeros_like(upper), upper).tolist()]  # e - 1, e^2 - 1
    [1.718281828459, 6.389056098931]
    """
    width = upper - lower
    t, weights = gauss_legendre(nodes, width)
    shape = (nodes,) + (1,) * width.dim()
    return width * (weights.reshape(shape) * function(lower + width * t.reshape(shape))).sum(0)
