"""Elementary functions of torch tensors and NumPy arrays alike, so that one formula serves both.

On a CPU NumPy's operations are the quicker ones, to call and to compute.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Array", "clamp", "cos", "counting", "dot", "double", "empty_like", "exp", "is_double", "like", "log", "log1p",
    "log_sum_exp", "maximum", "minimum", "sigmoids", "sign", "sin", "softmax", "sqrt", "stack", "where",
]  # fmt: skip

Array = Any  # a Tensor or a NumPy array


def _of_both(in_numpy: Callable, in_torch: Callable) -> Callable[..., Array]:
    def function(x: Array, *others: Array | float) -> Array:
        return in_torch(x, *others) if isinstance(x, Tensor) else in_numpy(x, *others)

    return function


cos = _of_both(np.cos, torch.cos)
empty_like = _of_both(np.empty_like, torch.empty_like)
exp = _of_both(np.exp, torch.exp)
log = _of_both(np.log, torch.log)
log1p = _of_both(np.log1p, torch.log1p)
maximum = _of_both(np.maximum, torch.maximum)
minimum = _of_both(np.minimum, torch.minimum)
sign = _of_both(np.sign, torch.sign)
sin = _of_both(np.sin, torch.sin)
sqrt = _of_both(np.sqrt, torch.sqrt)
where = _of_both(np.where, torch.where)


def sigmoids(x: Array) -> tuple[Array, Array]:
    """The probability 1 / (1 + exp(-x)) and that of the opposite, with one exponential; neither underflows before its time."""
    odds = exp(-abs(x))
    likely = 1 / (1 + odds)
    rest = odds * likely
    return where(x < 0, rest, likely), where(x < 0, likely, rest)


def clamp(x: Array, lower: float, upper: float) -> Array:
    return (
        torch.clamp(x, lower, upper)
        if isinstance(x, Tensor)
        else np.minimum(np.maximum(x, lower), upper)
    )


def counting(x: Array) -> Array:
    """0, 1, 2 ... along the first of two dimensions."""
    count = torch.arange(len(x), device=x.device) if isinstance(x, Tensor) else np.arange(len(x))
    return count[:, None]


def dot(x: Array, y: Array) -> Array:
    """The sum of products over the first dimension."""
    return np.einsum("i...,i...->...", x, y) if isinstance(x, np.ndarray) else (x * y).sum(0)


def stack(parts: list[Array], dim: int) -> Array:
    return torch.stack(parts, dim) if isinstance(parts[0], Tensor) else np.stack(parts, dim)


def softmax(x: Array) -> tuple[Array, Array]:
    """Probabilities over the first dimension, and their logarithms."""
    if isinstance(x, Tensor):
        return torch.softmax(x, 0), torch.log_softmax(x, 0)
    below = x - x.max(0)
    shares = exp(below)
    total = shares.sum(0)
    return shares / total, below - log(total)


def log_sum_exp(x: Array) -> tuple[Array, Array]:
    """Over the first dimension, and its derivatives, which sum to one."""
    if isinstance(x, Tensor):
        return torch.logsumexp(x, 0), torch.softmax(x, 0)
    largest = np.maximum(x.max(0), np.finfo(x.dtype).min)  # where all are -inf, so is the sum
    shares = np.exp(x - largest)
    total = shares.sum(0)
    shares /= total
    return np.log(total) + largest, shares


def is_double(x: Array) -> bool:
    return x.itemsize == 8


def double(x: Array) -> Array:
    return x.double() if isinstance(x, Tensor) else x.astype(np.float64)


def like(x: Array, other: Array) -> Array:
    """In the precision of the other."""
    return x.to(other.dtype) if isinstance(x, Tensor) else x.astype(other.dtype)
