"""Double-precision building blocks that are quick rather than exact to the last digit: relative errors below 1e-11.

That is far below single precision, for which they are meant: the one-pass log-likelihoods of heads (`families/score.py`).
Each is a short run of vectorised operations, without a comparison, on float64 tensors.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Positive", "exponential", "log_gamma", "softplus"]


class Positive(NamedTuple):
    """A positive parameter, its logarithm, and the derivative of that logarithm by the raw output."""

    value: Tensor
    log: Tensor
    slope: Tensor


def softplus(raw: Tensor) -> Positive:
    """log(1 + exp(raw)), for any raw: the value bounded below by exp(-700), the logarithm not."""
    power = raw.clamp(-700.0, 40.0).exp()
    above = 1 + power
    value = torch.maximum(above.log() + (power - (above - 1)), raw)  # what rounding took from `power` is added again
    return Positive(value, torch.minimum(value.log(), raw), power / (above * value))


def exponential(raw: Tensor) -> Positive:
    """exp(raw), the value bounded to what double precision holds, the logarithm not."""
    return Positive(raw.clamp(-700.0, 700.0).exp(), raw, torch.ones_like(raw))


def log_gamma(x: Tensor) -> tuple[Tensor, Tensor]:
    """log Gamma(x) and its derivative, the digamma function, for x > 0.

    Stirling's series (Abramowitz and Stegun 6.1.41) at x + 8, brought back by Gamma(x + 8) = x (x + 1) ... (x + 7) Gamma(x).
    The error is below 1e-11 of max(1, |log Gamma|).
    """
    z = x + 8
    log_z, inverse = z.log(), z.reciprocal()
    square = inverse * inverse
    series = ((square * (-1 / 1680) + 1 / 1260) * square - 1 / 360) * square + 1 / 12
    slope = (((square * (-1 / 132) + 1 / 240) * square - 1 / 252) * square + 1 / 120) * square - 1 / 12
    # x (x + 7); 6, 10 and 12 more are (x + 1) (x + 6), (x + 2) (x + 5) and (x + 3) (x + 4)
    first = x * x + 7 * x
    second, third, fourth = first + 6, first + 10, first + 12
    outer, inner = first * second, third * fourth
    product = outer * inner
    change = (2 * x + 7) * ((2 * first + 6) * inner + (2 * first + 22) * outer) / product
    value = (z - 0.5) * log_z - z + (series * inverse + 0.5 * math.log(2 * math.pi)) - product.log()
    return value, log_z - 0.5 * inverse + slope * square - change
