"""Elementary functions of torch tensors and NumPy arrays alike, so that one formula serves both.

On a CPU NumPy's operations are the quicker ones, to call and to compute.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

__all__ = [
    "Array", "clamp", "cos", "counting", "dot", "double", "empty_like", "exp", "is_double", "like", "log", "log1p",
    "log_softmax", "log_sum_exp", "maximum", "minimum", "sigmoid", "sign", "sin", "sqrt", "stack", "where",
]  # fmt: skip

Array = Any  # a Tensor or a NumPy array


def _of_both(in_numpy: Callable, in_torch: Callable) -> Callable[..., Array]:
    def function(x: Array, *others: Array | float) -> Array:
        return in_numpy(x, *others) if isinstance(x, np.ndarray) else in_torch(x, *others)

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


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x)) if isinstance(x, np.ndarray) else torch.sigmoid(x)


def clamp(x: Array, lower: float, upper: float) -> Array:
    return np.minimum(np.maximum(x, lower), upper) if isinstance(x, np.ndarray) else torch.clamp(x, lower, upper)


def counting(x: Array) -> Array:
    """0, 1, 2 ... along the first of two dimensions."""
    count = np.arange(len(x)) if isinstance(x, np.ndarray) else torch.arange(len(x), device=x.device)
    return count[:, None]


def dot(x: Array, y: Array) -> Array:
    """The sum of products over the first dimension."""
    return np.einsum("i...,i...->...", x, y) if isinstance(x, np.ndarray) else (x * y).sum(0)


def stack(parts: list[Array], dim: int) -> Array:
    return np.stack(parts, dim) if isinstance(parts[0], np.ndarray) else torch.stack(parts, dim)


def log_softmax(x: Array) -> Array:
    """Over the first dimension."""
    if not isinstance(x, np.ndarray):
        return torch.log_softmax(x, 0)
    below = x - x.max(0)
    return below - np.log(np.exp(below).sum(0))


def log_sum_exp(x: Array) -> tuple[Array, Array]:
    """Over the first dimension, and its derivatives, which sum to one."""
    if not isinstance(x, np.ndarray):
        return torch.logsumexp(x, 0), torch.softmax(x, 0)
    largest = np.maximum(x.max(0), np.finfo(x.dtype).min)  # where all are -inf, so is the sum
    shares = np.exp(x - largest)
    total = shares.sum(0)
    shares /= total
    return np.log(total) + largest, shares


def is_double(x: Array) -> bool:
    return x.itemsize == 8


def double(x: Array) -> Array:
    return x.astype(np.float64) if isinstance(x, np.ndarray) else x.double()


def like(x: Array, other: Array) -> Array:
    """In the precision of the other."""
    return x.astype(other.dtype) if isinstance(x, np.ndarray) else x.to(other.dtype)
