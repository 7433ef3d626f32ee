"""The von Mises-Fisher distribution of unit vectors in D dimensions: normaliser and mean length.

With nu = D / 2 - 1 the integral of exp(k cos t) over the unit sphere is
(2 pi)^(D/2) I_nu(k) k^-nu (Mardia and Jupp 2000, section 9.3.2). The Bessel function I_nu is its
power series for k <= 30. Beyond that it is Debye's expansion (DLMF 10.41.3), which is uniform in
nu: its terms fall like those of a series in 1 / sqrt(nu^2 + k^2). Both are plain operations without
cancellation, and so are their derivatives.
"""

import math
from fractions import Fraction

import torch

from .precision import horner

_LARGE = 30.0
_SERIES_TERMS = 70
_DEBYE_TERMS = 17


def _debye_coefficients():
    """For each k the coefficients of U_k(p) / p^k in p^2, by DLMF 10.41.9."""
    polynomials = [{0: Fraction(1)}]  # power -> coefficient
    for _ in range(_DEBYE_TERMS - 1):
        following: dict[int, Fraction] = {}
        for power, c in polynomials[-1].items():
            for shift, factor in (
                (1, Fraction(power, 2) + Fraction(1, 8 * (power + 1))),
                (3, -Fraction(power, 2) - Fraction(5, 8 * (power + 3))),
            ):
                following[power + shift] = following.get(power + shift, Fraction(0)) + factor * c
        polynomials.append(following)
    return [
        [float(polynomial[k + 2 * j]) for j in range(k + 1)]
        for k, polynomial in enumerate(polynomials)
    ]


_DEBYE = _debye_coefficients()


def _slopes(coefficients):
    """The coefficients of the derivative of a polynomial."""
    return [n * c for n, c in enumerate(coefficients)][1:]


def _power_series(k, order):
    """The sum of (k^2 / 4)^n / (n! (order + 1)_n), which is I_order(k) without its first term."""
    x, total = k * k / 4, torch.ones_like(k)
    for n in range(_SERIES_TERMS, 0, -1):
        total = 1 + total * x / (n * (order + n))
    return total


def _debye(k, order):
    """W = sqrt(order^2 + k^2), Debye's sum, and the derivative of its logarithm by k."""
    w = torch.hypot(k, torch.full_like(k, order))
    step, q = 1 / w, (order / w) ** 2
    terms = [horner(q, part) for part in _DEBYE]
    by_q = [torch.zeros_like(q), *(horner(q, _slopes(part)) for part in _DEBYE[1:])]
    total, total_by_q, total_by_step = terms[-1], by_q[-1], (len(terms) - 1) * terms[-1]
    for n in range(len(terms) - 2, -1, -1):
        total, total_by_q = terms[n] + step * total, by_q[n] + step * total_by_q
        if n:
            total_by_step = n * terms[n] + step * total_by_step
    slope = -k * step**2 * (step * total_by_step + 2 * q * total_by_q) / total
    return w, total, slope


def _split(k):
    """Whether k is large, and the numbers for both formulas."""
    large = k > _LARGE
    return large, torch.where(large, _LARGE, k), torch.where(large, k, _LARGE)


def vmf_log_normalizer(concentration, dimension):
    """The logarithm of the integral of exp(k (cos t - 1)) over the unit sphere in D dimensions.

    It is elementwise in the concentration k >= 0, a float64 tensor, for an integer D >= 2; t is the
    angle from the mean direction.

    >>> log_normalizer = vmf_log_normalizer(torch.tensor(0.0, dtype=torch.float64), 3)
    >>> round(log_normalizer.exp().item(), 12)  # the area 4 pi
    12.566370614359
    """
    order = dimension / 2 - 1
    large, small_k, large_k = _split(concentration)
    constant = 0.5 * dimension * math.log(2 * math.pi)
    start = constant - order * math.log(2) - math.lgamma(order + 1)
    small = start - small_k + torch.log(_power_series(small_k, order))
    w, total, _ = _debye(large_k, order)
    excess = order * order / (w + large_k) - order * torch.log(order + w)
    far = constant + excess - 0.5 * torch.log(2 * math.pi * w) + torch.log(total)
    return torch.where(large, far, small)


def vmf_mean_length(concentration, dimension):
    """The mean resultant length A = I_(D/2)(k) / I_(D/2 - 1)(k), elementwise, with all its digits.

    Arguments are those of `vmf_log_normalizer`.

    >>> round(vmf_mean_length(torch.tensor(2.0, dtype=torch.float64), 3).item(), 12)
    0.537314720728
    """
    order = dimension / 2 - 1
    large, small_k, large_k = _split(concentration)
    return torch.where(large, 1 - _complement(large_k, order), _small_length(small_k, order))


def vmf_mean_length_complement(concentration, dimension):
    """The complement 1 - A of the mean resultant length, elementwise, with all its digits.

    It falls like (D - 1) / (2 k). Arguments are those of `vmf_log_normalizer`.

    >>> round(vmf_mean_length_complement(torch.tensor(1e6, dtype=torch.float64), 3).item() * 1e6, 9)
    1.0
    """
    order = dimension / 2 - 1
    large, small_k, large_k = _split(concentration)
    return torch.where(large, _complement(large_k, order), 1 - _small_length(small_k, order))


def _small_length(k, order):
    ratio = _power_series(k, order + 1) / _power_series(k, order)
    return k / (2 * (order + 1)) * ratio


def _complement(k, order):
    w, _, slope = _debye(k, order)
    smooth = order * order / (w + k) + order * k / (order + w) + 0.5 * k / w
    return smooth / w - slope
