"""Log-likelihoods and their derivatives by raw outputs in one pass over pieces of rows, by the `score` of a family.

On the CPU a piece is worked on in NumPy, in single precision where all its numbers are of ordinary size, else in double. On other
devices, where a look at numbers would have to be waited for, and in graphs all rows are worked on at once, in double precision.
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.families.pieces import NUMBERS, all_inside, as_array, lies_within
from disthead.links import Link
from disthead.special.fast import Direction, Positive

if TYPE_CHECKING:
    from disthead.families.family import Family
    from disthead.families.raw_outputs import RawOutputs

__all__ = ["one_pass", "quick"]


def one_pass(source: "RawOutputs", raw: Tensor, y: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The log-likelihoods (rows,) and, if `wanted`, their derivatives by the raw outputs (rows, P).

    Derivatives lie parameter after parameter, except for a leaf, whose gradient is kept in its own order.
    """
    if raw.device.type != "cpu" or torch.compiler.is_compiling():
        return _at_once(source, raw, y, wanted)
    rows, width = raw.shape
    value, slopes = np.empty(rows, np.float64 if raw.dtype == torch.float64 else np.float32), None
    if wanted:
        slopes = np.empty((rows, width), value.dtype).T if raw.is_leaf else np.empty((width, rows), value.dtype)
    columns, targets = as_array(raw).T, as_array(y)
    unit = [] if source.unit is None else [as_array(part) for part in source.unit_of_rows()]
    size = max(NUMBERS // width, 1 << 9 if source.family.event_dim else 1 << 12)
    if 0 < rows <= size:
        _piece(source, columns, targets, unit, value, slopes)
    else:
        _each(functools.partial(_part, source, size, columns, targets, unit, value, slopes), range(0, rows, size))
    return torch.from_numpy(value), None if slopes is None else torch.from_numpy(slopes.T)


def _part(source: "RawOutputs", size: int, columns, targets, unit, value, slopes, start: int) -> None:
    rows = slice(start, start + size)
    unit = [part if part.ndim == 0 else part[rows] for part in unit]
    slopes = None if slopes is None else slopes[:, rows]
    _piece(source, columns[:, rows], targets[rows], unit, value[rows], slopes)


@np.errstate(all="ignore")  # raw outputs that are not numbers have no likelihood either, and say so
def _piece(
    source: "RawOutputs", columns: np.ndarray, y: np.ndarray, unit: list, value: np.ndarray, slopes: np.ndarray | None
) -> None:
    """Write the log-likelihoods (n,) and derivatives (P, n) of rows that fit into the cache."""
    family = source.family
    outside = _outside(family, y, unit)
    if outside is not None or not _in_single(source, columns, y, unit, value, slopes):
        target = _standardised(y.astype(np.float64), unit)
        if outside is not None:
            target = np.where(outside, _harmless(family), target)
        _write(family, target, _parameters(source, _contiguous(columns, np.float64)), value, slopes)
    if unit:
        value -= np.log(unit[1])
    if outside is not None:
        value[outside] = -np.inf
        if slopes is not None:
            slopes[:, outside] = 0.0


def _in_single(
    source: "RawOutputs", columns: np.ndarray, y: np.ndarray, unit: list, value: np.ndarray, slopes: np.ndarray | None
) -> bool:
    """Write them in single precision, where all numbers are of ordinary size before and finite behind; whether that was so."""
    family = source.family
    if columns.dtype == np.float64 or family.event_dim:  # a solve magnifies rounding
        return False
    target = _standardised(y.astype(np.float32, copy=False), unit)
    parameters = _parameters(source, _contiguous(columns, np.float32))
    if not (_is_ordinary(family, target) and _are_ordinary(source, parameters)):
        return False
    _write(family, target, parameters, value, slopes)
    return bool(np.isfinite(value.sum()) and (slopes is None or np.isfinite(slopes.sum())))


def _write(
    family: "Family", y: np.ndarray, parameters: list[Any], value: np.ndarray, slopes: np.ndarray | None
) -> None:
    value[:], *by_parameter = family.score(y, *parameters)
    if slopes is not None:
        at = 0
        for parameter, slope in zip(parameters, by_parameter, strict=True):
            by_raw = _by_raw(parameter, slope).reshape(-1, len(value))
            slopes[at : at + len(by_raw)] = by_raw
            at += len(by_raw)


def _at_once(source: "RawOutputs", raw: Tensor, y: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The same in torch, without a look at any number."""
    family = source.family
    scored = family.scored or family.support
    target = y.double()
    unit = [part.double() for part in source.unit_of_rows()]
    if unit:
        target = (target - unit[0]) / unit[1]
    outside = None if scored in _EVERYTHING else ~scored.check(target)
    if outside is not None:
        target = torch.where(outside, _harmless(family), target)
    parameters = _parameters(source, raw.double().t())
    value, *by_parameters = family.score(target, *parameters)
    parts = [_by_raw(parameter, slope) for parameter, slope in zip(parameters, by_parameters, strict=True)]
    slopes = torch.cat([part.reshape(-1, len(raw)) for part in parts])
    if unit:
        value = value - unit[1].log()
    if outside is not None:
        value, slopes = value.masked_fill(outside, -torch.inf), slopes.masked_fill(outside, 0.0)
    return value.to(source.dtype), slopes.t().to(source.dtype) if wanted else None


_EVERYTHING = (constraints.real, constraints.real_vector)


def _outside(family: "Family", y: np.ndarray, unit: list) -> np.ndarray | None:
    """Which targets have no likelihood; None where all have."""
    scored = family.scored or family.support
    if scored in _EVERYTHING:
        return None
    if unit:
        y = _standardised(y.astype(np.float64), unit)
    return None if all_inside(scored, y) else (~scored.check(torch.from_numpy(y))).numpy()


def _harmless(family: "Family") -> float:
    """A target inside any support of that kind."""
    return 1.0 if family.is_discrete else 0.5


def _is_ordinary(family: "Family", y: np.ndarray) -> bool:
    """Whether the rounding of targets is not magnified in single precision, and none of them underflows times a parameter."""
    if family.is_discrete:
        return lies_within(y, 0.0, 64.0)
    everywhere = (family.scored or family.support) in _EVERYTHING
    return lies_within(y, -1e6 if everywhere else 1e-30, 1e6)


def _are_ordinary(source: "RawOutputs", parameters: list[Any]) -> bool:
    """Whether none of them is great or tiny, so that single precision does not magnify rounding."""
    for (name, link), parameter in zip(source.links.items(), parameters, strict=True):
        if isinstance(parameter, Positive):
            ordinary = lies_within(parameter.value, 1e-6, 16.0)
        elif isinstance(parameter, Direction):
            ordinary = lies_within(parameter.length, 1e-6, 1e6)
        else:
            largest = 15.0 if link.gives_logits(name) else 1e6
            ordinary = lies_within(parameter, -largest, largest)
        if not ordinary:
            return False
    return True


def _standardised(y: np.ndarray, unit: list) -> np.ndarray:
    if not unit:
        return y
    loc, scale = (part.astype(y.dtype) for part in unit)
    return (y - loc) / scale


def _parameters(source: "RawOutputs", columns: Any) -> list[Any]:
    """The parameters by the links' quick way from raw outputs (P, n): (n,) each, or (K, n)."""
    family, links = source.family, source.links
    if len(columns) == len(links) and not family.shapes:
        return [quick(link)(column) for link, column in zip(links.values(), columns, strict=True)]
    parameters, at = [], 0
    for name, link in links.items():
        shape = family.raw_shape(name, link)
        part = columns[at : at + math.prod(shape)]
        parameters.append(quick(link)(part.reshape(*shape, -1) if shape else part[0]))
        at += len(part)
    return parameters


def _contiguous(columns: np.ndarray, dtype: Any) -> np.ndarray:
    """Columns of that precision; of few rows a copy costs more than strides do."""
    few = columns.size <= 1 << 12
    return columns.astype(dtype, copy=False) if few else np.ascontiguousarray(columns, dtype)


def quick(link: Link) -> Callable[[Any], Any]:
    assert link.quick is not None
    return link.quick


def _by_raw(parameter: Any, slope: Any) -> Any:
    """The derivative by the raw outputs, from that by the parameter."""
    return parameter.by_raw(slope) if isinstance(parameter, (Positive, Direction)) else slope


def _each(work: Callable[[int], None], starts: Sequence[int]) -> None:
    """On as many threads as torch takes; NumPy lets others run while it computes."""
    threads = min(torch.get_num_threads(), len(starts))
    if threads > 1:
        with contextlib.suppress(RuntimeError):  # at the interpreter's exit there are no threads for it
            list(_workers(threads).map(work, starts))
            return
    for start in starts:
        work(start)


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "disthead")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # threads stay with the parent
