"""Pieces of rows: how much is worked on at once, and looks at numbers.

With what is made of them, the `NUMBERS` of a piece stay in a core's cache. Looks are for memory of the host: of any other
device they would have to wait.
"""

import contextlib

import numpy as np
import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _get_dispatch_mode, _get_tracing_state, _TorchDispatchModeKey
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.distributions import constraints

from disthead.special.program import multiply_rows

__all__ = ["NUMBERS", "all_inside", "as_array", "operations_are_followed", "plain", "weighted"]

NUMBERS = 1 << 17
_HALF = (torch.bfloat16, torch.float16)
_PROXY = _TorchDispatchModeKey.PROXY


def as_array(values: Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU."""
    return plain(values).detach().numpy()


def plain(values: Tensor) -> Tensor:
    """A tensor whose memory holds its numbers; half precision, for which there is no quick way, becomes single."""
    if values.dtype in _HALF:
        return values.float()
    return values.resolve_neg() if values.is_neg() else values


def operations_are_followed() -> bool:
    """Whether somebody follows tensors from operation to operation: a compiler, a functional transform, a trace, forward mode.

    Then only plain operations of torch will do, and none that looks at numbers.
    """
    return (
        is_compiling()
        or _are_functorch_transforms_active()
        or _get_tracing_state() is not None
        or _get_dispatch_mode(_PROXY) is not None
        or forward_ad._current_level >= 0
    )


def weighted(derivatives: Tensor, gradient: Tensor) -> Tensor:
    """Each row of the derivatives (..., P) times its incoming gradient (...), where possible in their own memory."""
    if not operations_are_followed():
        if multiply_rows(derivatives, plain(gradient)):
            return derivatives
        with contextlib.suppress(RuntimeError):  # a batch of gradients does not fit into their memory
            return derivatives.mul_(gradient.unsqueeze(-1))
    return derivatives * gradient.unsqueeze(-1)


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The least and the largest, both nan where one of them is; of no values 0."""
    if not values.size:
        return 0.0, 0.0
    return float(np.minimum.reduce(values, None)), float(np.maximum.reduce(values, None))


def all_inside(constraint: constraints.Constraint, y: np.ndarray) -> bool:
    """Whether all of them are: the ends tell, of an interval."""
    if constraint.is_discrete and y.dtype.kind == "f" and not (y == np.floor(y)).all():
        return False
    least, largest = _ends(y)
    return bool(constraint.check(least) and constraint.check(largest))
