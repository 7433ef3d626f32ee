"""The exponential distribution cut to (0, 1), whose density is proportional to exp(-s d).

Its functions are exact for every slope s >= 0, also where the density is nearly flat.
"""

import torch
from torch import Tensor

from .precision import horner

_FLAT = 1e-8  # a slope below which the density is uniform but for a linear term
_SMALL = 0.1  # below which a series is exact
_LARGE = 600.0  # whose exponential is a number
# The series of the variance in s^2, from Bernoulli numbers.
_VARIANCE = [
    1 / 12,
    -1 / 240,
    1 / 6048,
    -1 / 172800,
    1 / 5322240,
    -691 / 118879488000,
    1 / 5748019200,
    -3617 / 711374856192000,
    1.4596305495672336e-13,
]


def log_mass(slope: Tensor) -> Tensor:
    """log((1 - exp(-s)) / s), the mass of exp(-s d) between 0 and 1."""
    small = slope < _SMALL
    s = torch.where(small, slope, 0.0)
    square = s.square()
    series = -0.5 * s + square * (1 / 24 - square * (1 / 2880 - square / 181440))
    wide = torch.where(small, 1.0, slope)
    return torch.where(small, series, torch.log(-torch.expm1(-wide) / wide))


def share(slope: Tensor, distance: Tensor) -> Tensor:
    """(1 - exp(-s d)) / (1 - exp(-s)), the probability within a distance of the higher end."""
    flat = slope < _FLAT
    s = torch.where(flat, 1.0, slope)
    linear = distance * (1 + 0.5 * slope * (1 - distance))
    return torch.where(flat, linear, torch.expm1(-s * distance) / torch.expm1(-s))


def lower_quantile(logits: Tensor, below: Tensor) -> Tensor:
    """log(1 + q (exp(t) - 1)) / t, with all digits of small quantiles."""
    flat, steep = logits.abs() < _FLAT, logits > _LARGE
    t = torch.where(flat | steep, 1.0, logits)
    bulk = torch.log1p(below * torch.expm1(t)) / t
    linear = below * (1 + 0.5 * logits * (1 - below))
    far = 1 + below.log() / torch.where(steep, logits, 1.0)
    return torch.where(flat, linear, torch.where(steep, far.clamp(min=0), bulk))


def mean_distance(slope: Tensor) -> Tensor:
    """1 / s - 1 / (exp(s) - 1), the mean distance from the higher end."""
    small = slope < _SMALL
    s = torch.where(small, slope, 0.0)
    square = s.square()
    series = 0.5 - s * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)))
    wide = torch.where(small, 1.0, slope)
    return torch.where(small, series, 1 / wide + torch.exp(-wide) / torch.expm1(-wide))


def variance(slope: Tensor) -> Tensor:
    """1 / s^2 - 1 / (4 sinh(s / 2)^2), the variance of the distance.

    Args:
        slope: s, shape (...), zero or more.
    """
    small = slope < 1
    square = torch.where(small, slope, 1.0).square()
    wide = torch.where(small, 1.0, slope)
    # 4 sinh(s / 2)^2 = exp(s) (1 - exp(-s))^2
    far = 1 / wide.square() - torch.exp(-wide) / torch.expm1(-wide).square()
    return torch.where(small, horner(square, _VARIANCE), far)
