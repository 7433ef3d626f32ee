"""`Standard`: a distribution as the units of another one that depends on a single shape."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from disthead.distributions.univariate import Univariate

__all__ = ["Standard"]


@dataclass(frozen=True)
class Standard:
    """Y = loc + scale Z, where the distribution of Z depends on one positive number, its shape, smoothly.

    Attributes:
        log_shape: the logarithm of the shape, of the shape of the batch; any constant where all Z
            are alike.
        loc, scale: of the same shape.
        make: the distributions of Z, from logarithms of shapes (...).
    """

    log_shape: Tensor
    loc: Tensor
    scale: Tensor
    make: Callable[[Tensor], Univariate]
