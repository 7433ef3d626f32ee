"""Pieces of rows: how much is worked on at once, and looks at numbers.

With what is made of them, the `NUMBERS` of a piece stay in a core's cache. Looks are for memory of the host: of any other
device they would have to wait.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

__all__ = ["NUMBERS", "all_inside", "as_array", "each", "plain"]

NUMBERS = 1 << 17
Result = TypeVar("Result")
_HALF = (torch.bfloat16, torch.float16)


def as_array(values: Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU."""
    return plain(values).detach().numpy()


def plain(values: Tensor) -> Tensor:
    """A tensor whose memory holds its numbers; half precision, for which there is no quick way, becomes single."""
    if values.dtype in _HALF:
        return values.float()
    return values.resolve_neg() if values.is_neg() else values


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


def each(work: Callable[[int, int], Result], rows: int, size: int) -> list[Result]:
    """Work on pieces of so many rows, each from its start to its stop.

    On as many threads as torch takes; NumPy and the library in C let others run while they compute.
    """
    starts = range(0, rows, size)
    stops = [min(start + size, rows) for start in starts]
    threads = min(torch.get_num_threads(), len(starts))
    if threads > 1:
        with contextlib.suppress(RuntimeError):  # at the interpreter's exit there are no threads for it
            return list(_workers(threads).map(work, starts, stops))
    return list(map(work, starts, stops))


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "disthead")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # threads stay with the parent
