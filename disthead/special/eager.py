"""Whether a function may look at the numbers of tensors, and SciPy's functions for such tensors."""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._C import (
    _are_functorch_transforms_active,
    _get_dispatch_mode,
    _get_tracing_state,
    _TorchDispatchModeKey,
)
from torch.autograd import forward_ad
from torch.compiler import is_compiling

__all__ = [
    "WITH_MEMORY",
    "are_concrete",
    "are_plain_numbers",
    "are_within",
    "by_numpy",
    "by_scipy",
    "extent",
    "is_on_host",
    "is_tracing",
    "materialise",
]

WITH_MEMORY = (Tensor, torch.nn.Parameter)  # other subclasses may have none to work on
_HALF = (torch.bfloat16, torch.float16)
_PROXY = _TorchDispatchModeKey.PROXY


def is_on_host(values: Tensor) -> bool:
    """Whether it is a tensor in the memory of the host."""
    return values.is_cpu and type(values) in WITH_MEMORY


def materialise(values: Tensor) -> Tensor:
    """The tensor, with its numbers in memory; half precision, which is slow, becomes single.

    >>> materialise(torch.tensor(0.5, dtype=torch.float16))
    tensor(0.5000)
    """
    if values.dtype in _HALF:
        return values.float()
    return values.resolve_neg() if values.is_neg() else values


def is_tracing() -> bool:
    """Whether operations are traced or transformed.

    A compiler, torch.func, a trace or forward-mode differentiation may do so. Then a function must
    be made of torch's own operations, and none may depend on the numbers in tensors.
    """
    return (
        is_compiling()
        or _are_functorch_transforms_active()
        or _get_tracing_state() is not None
        or _get_dispatch_mode(_PROXY) is not None
        or forward_ad._current_level >= 0
    )


def are_concrete(*values: Tensor) -> bool:
    """Whether a function may look at the numbers: they are on the host, and nothing is traced.

    Gradients may still be recorded: what is done to the numbers then has to be made of
    differentiable operations.
    """
    return not is_tracing() and all(map(is_on_host, values))


def are_plain_numbers(*values: Tensor) -> bool:
    """Whether the numbers are concrete, and no gradient is recorded."""
    return are_concrete(*values) and not (
        torch.is_grad_enabled() and any(value.requires_grad for value in values)
    )


def extent(values: Tensor) -> tuple[float, float]:
    """The least and the greatest of concrete numbers, nan if one of them is; (inf, -inf) of none.

    This takes a fraction of the time of a comparison of each number, and often replaces it.

    >>> extent(torch.tensor([2.0, -1.0, 0.5]))
    (-1.0, 2.0)
    """
    numbers = values.detach().numpy()
    return float(numbers.min(initial=np.inf)), float(numbers.max(initial=-np.inf))


def are_within(values: Tensor, least: float, most: float = math.inf) -> bool:
    """Whether plain numbers are all between the two, ends included.

    False if one of them is nan, or if there are none.

    >>> are_within(torch.tensor([0.0, 1.0]), 0.0), are_within(torch.tensor([0.0, torch.nan]), 0.0)
    (True, False)
    """
    lowest, highest = extent(values)
    return values.numel() > 0 and least <= lowest and highest <= most


def by_numpy(name: str, values: Tensor) -> Tensor:
    """The plain numbers of `values`, each overwritten by what NumPy's function of that name gives.

    Some of these functions take half of torch's time.

    >>> by_numpy("expm1", torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    numbers = values.detach().numpy()
    with np.errstate(all="ignore"):
        getattr(np, name)(numbers, out=numbers)
    return values


def by_scipy(name: str, *values: Tensor) -> Tensor:
    """The function of scipy.special with that name, of plain numbers that broadcast.

    SciPy reads the tensors' own memory.

    >>> by_scipy("betainc", torch.tensor(2.0), torch.tensor(2.0), torch.tensor([0.25, 0.5]))
    tensor([0.1562, 0.5000])
    """
    with np.errstate(all="ignore"):  # infinities and nan are answers
        result = getattr(_scipy_special(), name)(*(value.detach().numpy() for value in values))
    return torch.from_numpy(np.asarray(result))


@cache
def _scipy_special() -> Any:
    import scipy.special  # here, since it takes a third of a second

    return scipy.special
