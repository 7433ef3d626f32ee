"""`Interval` and `Arc`: what `interval` and `highest_density` return, two ends that say whether a target lies between them."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disthead.arrays import as_tensor

__all__ = ["Arc", "Interval"]


class Interval(NamedTuple):
    """The numbers from `lower` to `upper`, both ends included, for each distribution: a pair of tensors of shape batch + event.

    >>> Interval(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 2.0])).contains([1.0, 3.0])
    tensor([ True, False])
    """

    lower: Tensor
    upper: Tensor

    def contains(self, y: Any) -> Tensor:
        """Whether each target lies in its interval.

        Args:
            y: of the shape of the ends, or (..., *that shape), or one number for all.

        Raises:
            ValueError: for another shape.
        """
        y = _fitting(y, *self)
        return (self.lower <= y) & (y <= self.upper)


class Arc(NamedTuple):
    """The directions from `lower` to `upper`, anticlockwise, both ends included: a pair of tensors of shape batch + event.

    Where the arc crosses the seam at -pi = pi, `lower` is the larger number. Angles that differ by a turn are the same.

    >>> across = Arc(torch.tensor(3.0), torch.tensor(-3.0))
    >>> across.contains([3.1, -3.1, 0.0, 3.1 + 2 * math.pi])
    tensor([ True,  True, False,  True])
    """

    lower: Tensor
    upper: Tensor

    def contains(self, y: Any, period: float = 2 * math.pi) -> Tensor:
        """Whether each direction lies in its arc, up to the rounding of angles at its ends.

        Args:
            y: of the shape of the ends, or (..., *that shape), or one number for all.
            period: a turn, in the units of the ends and of y: 360 for degrees.

        Raises:
            ValueError: for another shape.
        """
        y = _fitting(y, *self)
        floating = [part.dtype for part in (y, *self) if part.is_floating_point()]
        rounding = 4 * period * max(torch.finfo(dtype).eps for dtype in floating)
        beyond, length = (torch.remainder(end.double() - self.lower.double(), period) for end in (y, self.upper))
        return (beyond <= length + rounding) | (beyond >= period - rounding)


def _fitting(y: Any, lower: Tensor, upper: Tensor) -> Tensor:
    """The targets as a tensor, of a shape that nothing is broadcast to in silence."""
    shape = torch.broadcast_shapes(lower.shape, upper.shape)
    y = as_tensor(y, dtype=lower.dtype, device=lower.device)
    if y.ndim and y.shape[y.ndim - len(shape) :] != shape:
        hint = " Try y.squeeze(-1)." if y.shape == (*shape, 1) else ""
        raise ValueError(f"y must have the shape {tuple(shape)} of the interval's ends, got {tuple(y.shape)}.{hint}")
    return y
