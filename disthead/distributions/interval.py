"""`Interval` and `Arc`: the pairs of ends that `interval` and `highest_density` return."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from disthead.arrays import as_tensor

__all__ = ["Arc", "Interval"]


class Interval(NamedTuple):
    """The numbers from `lower` to `upper`, both ends included, one interval for each distribution.

    It is a pair (lower, upper) of tensors of shape batch + event, in the units of y.

    >>> Interval(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 2.0])).contains([1.0, 3.0])
    tensor([ True, False])
    """

    lower: Any
    upper: Any

    def contains(self, y: Any) -> Any:
        """Whether each target lies in its interval.

        Args:
            y: targets of the shape of the ends, or (..., *that shape), or one number for all.

        Returns:
            booleans in a tensor, or in an array where the ends are arrays.

        Raises:
            ValueError: for another shape of y.
        """
        y, lower, upper = _tensors(y, *self)
        return _as_the_ends((lower <= y) & (y <= upper), *self)


class Arc(NamedTuple):
    """The directions from `lower` anticlockwise to `upper`, both ends included.

    It is a pair (lower, upper) of tensors of shape batch + event, in radians. Where the arc crosses
    the seam at -pi = pi, `lower` is the larger number. Angles that differ by a full turn are the
    same direction.

    >>> across = Arc(torch.tensor(3.0), torch.tensor(-3.0))
    >>> across.contains([3.1, -3.1, 0.0, 3.1 + 2 * math.pi])
    tensor([ True,  True, False,  True])
    """

    lower: Any
    upper: Any

    def contains(self, y: Any, period: float = 2 * math.pi) -> Any:
        """Whether each direction lies in its arc, up to the rounding of angles.

        Args:
            y: directions of the shape of the ends, or (..., *that shape), or one number for all.
            period: a full turn in the units of the ends and of y: 360 for degrees.

        Returns:
            booleans in a tensor, or in an array where the ends are arrays.

        Raises:
            ValueError: for another shape of y.
        """
        parts = _tensors(y, *self)
        floating = [part.dtype for part in parts if part.is_floating_point()]
        rounding = 4 * period * max(torch.finfo(dtype).eps for dtype in floating or [torch.float64])
        y, lower, upper = (part.double() for part in parts)
        beyond, length = (torch.remainder(end - lower, period) for end in (y, upper))
        return _as_the_ends((beyond <= length + rounding) | (beyond >= period - rounding), *self)


def _tensors(y: Any, lower: Any, upper: Any) -> list[Tensor]:
    """The targets and the ends as tensors, whose shapes agree without silent broadcasting."""
    lower, upper = as_tensor(lower, "lower"), as_tensor(upper, "upper")
    shape = torch.broadcast_shapes(lower.shape, upper.shape)
    y = as_tensor(y, dtype=lower.dtype, device=lower.device)
    if y.ndim and y.shape[y.ndim - len(shape) :] != shape:
        hint = " Try y.squeeze(-1)." if y.shape == (*shape, 1) else ""
        raise ValueError(
            f"y must have the shape {tuple(shape)} of the interval's ends, got "
            f"{tuple(y.shape)}.{hint}"
        )
    return [y, lower, upper]


def _as_the_ends(inside: Tensor, lower: Any, upper: Any) -> Any:
    return (
        inside.numpy() if isinstance(lower, np.ndarray) or isinstance(upper, np.ndarray) else inside
    )
