"""Plain numbers in the memory of the host, for which a library beside torch may do the work."""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _get_dispatch_mode, _get_tracing_state, _TorchDispatchModeKey
from torch.autograd import forward_ad
from torch.compiler import is_compiling

__all__ = [
    "WITH_MEMORY",
    "are_plain_numbers",
    "are_within",
    "by_numpy",
    "by_scipy",
    "is_on_host",
    "operations_are_followed",
]

WITH_MEMORY = (Tensor, torch.nn.Parameter)  # other subclasses may have none to work on
_PROXY = _TorchDispatchModeKey.PROXY


def is_on_host(values: Tensor) -> bool:
    """Whether it is a tensor in the memory of the host."""
    return values.is_cpu and type(values) in WITH_MEMORY


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


def are_plain_numbers(*values: Tensor) -> bool:
    """Whether nobody asks for more than the numbers: no gradient, no graph, no other device."""
    if operations_are_followed() or not all(is_on_host(value) for value in values):
        return False
    return not (torch.is_grad_enabled() and any(value.requires_grad for value in values))


def are_within(values: Tensor, least: float, most: float = math.inf) -> bool:
    """Whether plain numbers are all between the two, ends included; not where one is nan, nor where there are none.

    >>> are_within(torch.tensor([0.0, 1.0]), 0.0), are_within(torch.tensor([0.0, torch.nan]), 0.0)
    (True, False)
    """
    if values.numel() == 0:
        return False
    numbers = values.detach().numpy()  # one look at all of them takes less than a comparison
    return float(numbers.min()) >= least and (most == math.inf or float(numbers.max()) <= most)


def by_numpy(name: str, values: Tensor) -> Tensor:
    """NumPy's function of that name of each number, in the place of the numbers: some take half of torch's time.

    >>> by_numpy("expm1", torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    numbers = values.detach().numpy()
    with np.errstate(all="ignore"):
        getattr(np, name)(numbers, out=numbers)
    return values


def by_scipy(name: str, *values: Tensor) -> Tensor:
    """scipy.special's function of that name, on the tensors' own memory; they broadcast.

    >>> by_scipy("betainc", torch.tensor(2.0), torch.tensor(2.0), torch.tensor([0.25, 0.5]))
    tensor([0.1562, 0.5000])
    """
    with np.errstate(all="ignore"):  # infinities and nan are answers
        result = getattr(_scipy_special(), name)(*(value.detach().numpy() for value in values))
    return torch.from_numpy(np.asarray(result))


@cache
def _scipy_special() -> Any:
    import scipy.special  # which takes a third of a second

    return scipy.special
