"""Log-likelihoods and their derivatives by raw outputs in one pass over pieces of rows, by the `score` of a family.

On the CPU a recorded program works on a piece (`programs.py`): in single precision where all its numbers are of ordinary size, else
in double. Where there is none, or a number needs a closer look, NumPy does, in double precision. On other devices, where a look at
numbers would have to be waited for, and in graphs all rows are worked on at once, in double precision.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from disthead.likelihood.chunks import NUMBERS, all_inside, as_array, each, plain
from disthead.likelihood.formula import by_raw, is_everything, parameters, scored
from disthead.likelihood.program import Program
from disthead.likelihood.programs import programs

if TYPE_CHECKING:
    from disthead.families.family import Family
    from disthead.likelihood.linked import RawOutputs

__all__ = ["one_pass"]

Arrays = list[np.ndarray]
# For vectors of a CPU compilers want columns that each lie in one piece; of more than these the copies take them longer.
_FEW_COLUMNS = 8


def one_pass(source: "RawOutputs", raw: Tensor, y: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The log-likelihoods (rows,) and, if `wanted`, their derivatives by the raw outputs (rows, P).

    Where NumPy computes them, derivatives lie parameter after parameter, except for a leaf, whose gradient is kept in its own order.
    """
    if not raw.is_cpu or torch.compiler.is_compiling():
        return _at_once(source, raw.detach(), y, wanted)
    if y.dtype != torch.float64:
        return _in_pieces(source, raw, y, wanted, programs(source, wanted), source.dtype)
    single = _as_single(y)
    if single is not None:
        value, derivatives = _in_pieces(source, raw, single, wanted, programs(source, wanted), source.dtype)
        return value.double(), derivatives
    return _in_pieces(source, raw, y, wanted, programs(source, wanted, True), torch.float64)


def _in_pieces(
    source: "RawOutputs", raw: Tensor, y: Tensor, wanted: bool, found: Sequence[Program], value_dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The same piece by piece, by programs where these can."""
    rows, width = raw.shape
    dtype = source.dtype
    # Memory from torch: what NumPy asks for in huge pages may have to wait until the system has put some together.
    answers = [raw.new_empty(rows, dtype=value_dtype)]
    if wanted:
        by_row = bool(found) or source.raw.is_leaf
        memory = torch.empty_like(raw, dtype=dtype) if by_row else raw.new_empty((width, rows), dtype=dtype).t()
        answers.append(memory)
    given = [plain(raw), plain(y)]
    if source.unit is not None:
        given += map(plain, source.unit_of_rows())
    if 0 < rows * width <= NUMBERS:
        _piece(source, found, given, answers, 0, rows)
    else:
        size = max(NUMBERS // width, 1 << 9 if source.family.event_dim else 1 << 12)
        each(functools.partial(_piece, source, found, given, answers), rows, size)
    return answers[0], answers[1] if wanted else None


def _as_single(y: Tensor) -> Tensor | None:
    """Targets in double precision as single, where nothing is lost; the first ones tell most that would lose."""
    for some in (y[:32], y):
        single = some.float()
        if not torch.equal(single.double(), some):
            return None
    return single


def _piece(
    source: "RawOutputs", found: Sequence[Program], given: list[Tensor], answers: list[Tensor], start: int, stop: int
) -> None:
    """Write log-likelihoods (N,) and perhaps derivatives (N, P) of these rows with raw outputs (N, P), targets and unit."""
    for program in found:
        if program.run(*given, *answers, start=start, stop=stop):
            return
    rows = slice(start, stop)
    _in_numpy(
        source,
        [as_array(part[rows] if part.ndim else part) for part in given],
        [as_array(part[rows]) for part in answers],
    )


@np.errstate(all="ignore")  # raw outputs that are not numbers have no likelihood either, and say so
def _in_numpy(source: "RawOutputs", given: Arrays, results: Arrays) -> None:
    """The same for any numbers, into the results (n,) and perhaps (n, P)."""
    raw, y, *unit = given
    family, target = source.family, y.astype(np.float64)
    if unit:
        target = (target - unit[0]) / unit[1].astype(np.float64)
    outside = _outside(family, target)
    if outside is not None:
        target = np.where(outside, _harmless(family), target)
    values = parameters(source, np.ascontiguousarray(raw.T, np.float64))
    log_prob, *by_parameter = family.score(target, *values)
    results[0][:] = log_prob - np.log(unit[1], dtype=np.float64) if unit else log_prob
    if len(results) > 1:
        slopes = [slope.reshape(-1, len(raw)) for slope in by_raw(source, values, by_parameter)]
        np.concatenate(slopes, out=results[1].T, casting="same_kind")
    if outside is not None:
        for result, instead in zip(results, (-np.inf, 0.0), strict=False):
            result[outside] = instead


def _at_once(source: "RawOutputs", raw: Tensor, y: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The same in torch, without a look at any number."""
    family = source.family
    support = scored(family)
    target = y.double()
    unit = [part.double() for part in source.unit_of_rows()]
    if unit:
        target = (target - unit[0]) / unit[1]
    outside = None if is_everything(support) else ~support.check(target)
    if outside is not None:
        target = torch.where(outside, _harmless(family), target)
    columns = raw.double().t()
    if raw.is_cpu and len(columns) <= _FEW_COLUMNS:
        columns = torch.cat([column.double() for column in raw.unbind(-1)]).view(columns.shape)
    values = parameters(source, columns)
    value, *by_parameters = family.score(target, *values)
    slopes = torch.cat([slope.unsqueeze(0).flatten(0, -2) for slope in by_raw(source, values, by_parameters)])
    if unit:
        value = value - unit[1].log()
    if outside is not None:
        value, slopes = value.masked_fill(outside, -torch.inf), slopes.masked_fill(outside, 0.0)
    return value.to(torch.promote_types(source.dtype, y.dtype)), slopes.t().to(source.dtype) if wanted else None


def _outside(family: "Family", y: np.ndarray) -> np.ndarray | None:
    """Which targets have no likelihood; None where all have."""
    support = scored(family)
    if is_everything(support) or all_inside(support, y):
        return None
    return (~support.check(torch.from_numpy(y))).numpy()


def _harmless(family: "Family") -> float:
    """A target inside any support of that kind."""
    return 1.0 if family.is_discrete else 0.5
