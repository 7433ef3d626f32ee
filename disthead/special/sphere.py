"""Unit vectors: the directions of vectors in any dimension."""

import torch
from torch import Tensor
from torch.distributions import constraints

__all__ = ["UNIT_VECTOR", "normalised"]

_ROUNDING = 1e-6  # of the length of a unit vector in single precision


class _UnitVectors(constraints.Constraint):
    """Vectors (..., D) of length one, to six decimals."""

    is_discrete = False
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(value, dim=-1) - 1).abs() < _ROUNDING

    def __repr__(self) -> str:
        return "a vector of length one"


UNIT_VECTOR = _UnitVectors()


def normalised(vector: Tensor) -> Tensor:
    """The vector divided by its length; the first axis for a vector of length zero.

    Args:
        vector: shape (..., D).

    >>> normalised(torch.tensor([3.0, 4.0]))
    tensor([0.6000, 0.8000])
    """
    largest = vector.detach().abs().amax(-1, keepdim=True)  # its square may overflow
    is_zero = largest == 0
    scaled = vector / torch.where(is_zero, 1.0, largest)
    first = torch.zeros_like(scaled)
    first[..., 0] = 1
    scaled = torch.where(is_zero, first, scaled)
    return scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
