"""Logarithms of hyperbolic functions."""

import math

import torch
from torch import Tensor


def log_cosh(x: Tensor) -> Tensor:
    """The logarithm of cosh(x), also where cosh(x) overflows.

    >>> log_cosh(torch.tensor(1000.0, dtype=torch.float64))
    tensor(999.3069, dtype=torch.float64)
    """
    distance = torch.where(x < 0, -x, x)  # abs has no slope at 0, log cosh does
    return distance + torch.log1p(torch.exp(-2 * distance)) - math.log(2)
