"""Functions of single numbers for kernels in Triton; this file needs it.

On a GPU `tl.exp` rounds x / log(2) to single precision, which costs as many units in the last place
as x is large; `exp` here takes whole powers of two off first. Triton has no `log1p`.
"""

import triton
import triton.language as tl

__all__ = ["FUNCTIONS", "copy_one"]


@triton.jit
def exp(x):
    if x.dtype == tl.float32:
        power = tl.floor(x * 1.4426950408889634 + 0.5)
        # log(2) in two parts, the first of which has so few digits that the product is exact
        rest = (x - power * 0.693359375) + power * 2.12194440054690583e-4
        result = tl.exp2(power) * tl.exp(rest)
    else:
        result = tl.exp(x)
    return result


@triton.jit
def log1p(x):
    above = 1 + x
    there = above - 1  # what the sum kept of x
    quotient = tl.log(above) * (x / there)
    return tl.where(there == 0, x, tl.where(there == x, tl.log(above), quotient))


@triton.jit
def sigmoid(x):
    return 1 / (1 + exp(-x))


@triton.jit
def sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x))


@triton.jit
def is_finite(x):
    return tl.abs(x) < float("inf")


@triton.jit
def copy_one(at):
    """The least that a kernel can do, which tells whether there can be any."""
    tl.store(at, tl.load(at))


FUNCTIONS = {"exp": exp, "log1p": log1p, "sigmoid": sigmoid, "sign": sign, "is_finite": is_finite}
