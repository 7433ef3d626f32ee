"""The mean angular distance of a wrapped Cauchy distribution, by Legendre's chi function.

The n-th trigonometric moment of an angle with the mean resultant length rho is rho^n (Mardia and
Jupp 2000, section 3.5.7), and the distance on the circle is |t| = pi / 2 - (4 / pi) sum of
cos(n t) / n^2 over odd n. So the mean distance from a point at the angle d is
pi / 2 - (4 / pi) Re chi_2(rho exp(i d)).
"""

import math

import torch

from .precision import in_float64

_TERMS = 40
# of s^(2 m + 1) in pi^2 / 8 - chi_2(exp(-s)) (Lewin 1981, Polylogarithms and associated functions)
_NEAR = [
    (-1) ** (m + 1)
    * (2 ** (2 * m) - 2)
    * float(torch.special.zeta(torch.tensor(2.0 * m, dtype=torch.float64), 1.0))
    / ((2 * math.pi) ** (2 * m) * 2 * m * (2 * m + 1))
    for m in range(1, _TERMS)
]
_FAR_TERMS = 19  # of the power series in rho <= 1 / e


@in_float64
def wrapped_cauchy_distance(log_length, distance):
    """The mean angular distance E d(T, distance) for T around 0, elementwise, in radians.

    T is from the wrapped Cauchy distribution with log_length = log(rho) <= 0, and
    0 <= distance <= pi. Nothing cancels where both are small. Raises TypeError if neither is a
    tensor.

    >>> round(wrapped_cauchy_distance(torch.tensor(-50.0, dtype=torch.float64), 1.0).item(), 9)
    1.570796327
    """
    log_length, distance = torch.broadcast_tensors(log_length, distance)
    is_narrow = log_length > -1
    opposite = distance > math.pi / 2
    near = torch.where(opposite, math.pi - distance, distance)
    fall = 4 / math.pi * _fall(-torch.where(is_narrow, log_length, -1.0), near)
    wide = _wide(torch.where(is_narrow, -1.0, log_length), distance)
    return torch.where(is_narrow, torch.where(opposite, math.pi - fall, fall), wide)


def _fall(real, imaginary):
    """The real part of pi^2 / 8 - chi_2(exp(-s)) for s = real - i imaginary, |s| < pi."""
    squared = (real * real + imaginary * imaginary).clamp(min=1e-300)
    turn = torch.atan2(imaginary, real)
    value = 0.5 * (real * (1 + math.log(2) - 0.5 * torch.log(squared)) + imaginary * turn)
    # Horner's scheme for the odd series, by real and imaginary parts
    over, across = real * real - imaginary * imaginary, -2 * real * imaginary
    x, y = torch.zeros_like(real), torch.zeros_like(real)
    for coefficient in reversed(_NEAR):
        x, y = coefficient + x * over - y * across, x * across + y * over
    x, y = x * over - y * across, x * across + y * over
    return value + real * x + imaginary * y


def _wide(log_length, distance):
    """By the power series, which is short."""
    total = torch.zeros_like(distance)
    for n in range(2 * _FAR_TERMS - 1, 0, -2):
        total = total + torch.exp(n * log_length) * torch.cos(n * distance) / n**2
    return math.pi / 2 - 4 / math.pi * total
