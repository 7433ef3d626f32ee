"""Chunks of rows, which stay in a core's cache with what is computed of them."""

import contextlib
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["CHUNK_ELEMENTS", "map_chunks"]

CHUNK_ELEMENTS = 1 << 17
Result = TypeVar("Result")


def map_chunks(work: Callable[[int, int], Result], rows: int, size: int) -> list[Result]:
    """The results of `work(start, stop)` for all chunks of `size` rows.

    The chunks are shared among as many threads as torch uses; the library in C and NumPy let other
    threads run while they compute.
    """
    starts = range(0, rows, size)
    stops = [min(start + size, rows) for start in starts]
    threads = min(torch.get_num_threads(), len(starts))
    if threads > 1:
        # at the interpreter's exit there are no threads for it
        with contextlib.suppress(RuntimeError):
            return list(_workers(threads).map(work, starts, stops))
    return list(map(work, starts, stops))


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "disthead")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # threads stay with the parent
