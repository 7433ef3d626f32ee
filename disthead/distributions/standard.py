"""`Standard`: a distribution as an affine map of a standard form with one shape parameter."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from disthead.distributions.univariate import Univariate

__all__ = ["Standard"]


@dataclass(frozen=True)
class Standard:
    """Y = loc + scale Z, where the distribution of Z depends smoothly on one positive shape.

    Attributes:
        log_shape: the logarithm of the shape parameter, of shape batch; any constant where Z has no
            parameter.
        loc: the shift, of shape batch.
        scale: the factor, of shape batch.
        make: a function that takes log_shape (...) and returns the distributions of Z.
    """

    log_shape: Tensor
    loc: Tensor
    scale: Tensor
    make: Callable[[Tensor], Univariate]
