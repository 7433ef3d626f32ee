"""Pieces of rows: how much is worked on at once, and looks at numbers.

With what is made of them, the `NUMBERS` of a piece stay in a core's cache. Looks are for memory of the host: of any other
device they would have to wait.
"""

import contextlib

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.distributions import constraints

from disthead.special.program import multiply_rows

__all__ = ["NUMBERS", "all_inside", "as_array", "operations_are_followed", "weighted"]

NUMBERS = 1 << 17
_HALF = (torch.bfloat16, torch.float16)


def as_array(values: Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU; half precision, for which there is no quick way, becomes single."""
    values = values.detach()
    return (values.float() if values.dtype in _HALF else values).numpy()


def operations_are_followed() -> bool:
    """Whether somebody follows tensors from operation to operation: a compiler, a functional transform, a trace, forward mode.

    Then only plain operations of torch will do, and none that looks at numbers.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None
        or forward_ad._current_level >= 0
    )


def weighted(derivatives: Tensor, gradient: Tensor) -> Tensor:
    """Each row of the derivatives (..., P) times its incoming gradient (...), where possible in their own memory."""
    if not operations_are_followed():
        # A batch of gradients has no memory to look at, and does not fit into theirs.
        with contextlib.suppress(RuntimeError):
            return _weighted_in_place(derivatives, gradient)
    return derivatives * gradient.unsqueeze(-1)


def _weighted_in_place(derivatives: Tensor, gradient: Tensor) -> Tensor:
    is_host_memory = derivatives.ndim == 2 and derivatives.is_cpu and derivatives.dtype not in _HALF
    if is_host_memory and multiply_rows(as_array(derivatives), as_array(gradient)):
        return derivatives
    return derivatives.mul_(gradient.unsqueeze(-1))


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
