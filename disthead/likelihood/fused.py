"""Log-likelihoods and their derivatives by raw outputs in one pass over chunks of rows.

On the CPU a compiled program works on a chunk (`programs.py`): in single precision where all its
numbers are of ordinary size, else in double. Where there is none, or a number needs a closer look,
NumPy does, in double precision. On other devices, where a look at numbers would have to be waited
for, and in graphs all rows are worked on at once, in double precision.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.likelihood.chunks import CHUNK_ELEMENTS, map_chunks
from disthead.likelihood.formula import Formula, is_unbounded
from disthead.likelihood.program import Program
from disthead.likelihood.programs import recorded
from disthead.special import blocks
from disthead.special.eager import materialise

__all__ = ["fused_log_prob", "programs"]

Arrays = list[np.ndarray]
# For vectors of a CPU compilers want columns that each lie in one piece; of more than these the
# copies take them longer.
_FEW_COLUMNS = 8


def fused_log_prob(
    formula: Formula,
    raw: Tensor,
    y: Tensor,
    loc_scale: list[Tensor],
    needs_grad: bool,
    is_leaf: bool,
) -> tuple[Tensor, Tensor | None]:
    """The log-likelihoods (rows,) and, if `needs_grad`, their derivatives by the raw outputs (rows, P).

    Where NumPy computes them, derivatives lie parameter after parameter, except for a leaf, whose
    gradient is kept in its own order.

    Args:
        raw: shape (rows, P).
        y: targets of shape (rows, *event_shape).
        loc_scale: both parts of the change of variable loc + scale * y, numbers or (rows,), or
            nothing.
        is_leaf: whether the raw outputs are a leaf of autograd's graph.
    """
    if not raw.is_cpu or torch.compiler.is_compiling():
        return _whole_batch(formula, raw.detach(), y, loc_scale, needs_grad)
    is_double = raw.dtype == torch.float64
    single = _as_single(y) if y.dtype == torch.float64 else y
    compiled = programs(formula, is_double, bool(loc_scale), needs_grad, single is None)
    inputs = [materialise(part) for part in (raw, y if single is None else single, *loc_scale)]
    # Memory from torch: what NumPy asks for in huge pages may have to wait until the system has put
    # some together.
    rows, width = raw.shape
    dtype = torch.float64 if is_double else torch.float32
    value = raw.new_empty(rows, dtype=torch.float64 if single is None else dtype)
    derivatives = None
    if needs_grad:
        by_row = bool(compiled) or is_leaf
        derivatives = (
            torch.empty_like(raw, dtype=dtype)
            if by_row
            else raw.new_empty((width, rows), dtype=dtype).t()
        )
    results = [value] if derivatives is None else [value, derivatives]
    if 0 < rows * width <= CHUNK_ELEMENTS:
        _chunk(formula, compiled, inputs, results, 0, rows)
    else:
        size = max(CHUNK_ELEMENTS // width, 1 << 9 if formula.event_shape else 1 << 12)
        map_chunks(functools.partial(_chunk, formula, compiled, inputs, results), rows, size)
    return value if single is y or single is None else value.double(), derivatives


def programs(
    formula: Formula, is_double: bool, has_loc_scale: bool, needs_grad: bool, is_rounded: bool
) -> tuple[Program, ...]:
    """Those to be tried one after the other, recorded when they are first asked for (`programs.recorded`)."""
    key = is_double, has_loc_scale, needs_grad, is_rounded
    compiled = formula.programs.get(key)
    if compiled is None:
        compiled = formula.programs[key] = recorded(formula, *key)
    return compiled


def _as_single(y: Tensor) -> Tensor | None:
    """Targets in double precision as single, where nothing is lost; the first ones tell most that would lose."""
    for some in (y[:32], y):
        single = some.float()
        if not torch.equal(single.double(), some):
            return None
    return single


def _chunk(
    formula: Formula,
    compiled: Sequence[Program],
    inputs: list[Tensor],
    results: list[Tensor],
    start: int,
    stop: int,
) -> None:
    """Write log-likelihoods (N,) and perhaps derivatives (N, P) of these rows with raw outputs (N, P), targets, loc and scale."""
    # at once, not through `Program.run`: every step of training comes here
    for program in compiled:
        if blocks.run(
            program.in_double,
            program.steps,
            program.places,
            program.block,
            start,
            stop,
            *inputs,
            *results,
        ):
            return
    rows = slice(start, stop)
    _in_numpy(
        formula,
        [_as_array(part[rows] if part.ndim else part) for part in inputs],
        [_as_array(part[rows]) for part in results],
    )


@np.errstate(all="ignore")  # raw outputs that are not numbers have no likelihood either, and say so
def _in_numpy(formula: Formula, inputs: Arrays, results: Arrays) -> None:
    """The same for any numbers, into the results (n,) and perhaps (n, P)."""
    raw, y, *loc_scale = inputs
    target = y.astype(np.float64)
    if loc_scale:
        target = (target - loc_scale[0]) / loc_scale[1].astype(np.float64)
    outside = _outside(formula, target)
    if outside is not None:
        target = np.where(outside, _harmless(formula), target)
    parameters = formula.parameters(np.ascontiguousarray(raw.T, np.float64))
    log_prob, *slopes = formula.log_prob_and_grad(target.T, *parameters)
    results[0][:] = log_prob - np.log(loc_scale[1], dtype=np.float64) if loc_scale else log_prob
    if len(results) > 1:
        by_raw = [slope.reshape(-1, len(raw)) for slope in formula.chain_rule(parameters, slopes)]
        np.concatenate(by_raw, out=results[1].T, casting="same_kind")
    if outside is not None:
        for result, instead in zip(results, (-np.inf, 0.0), strict=False):
            result[outside] = instead


def _whole_batch(
    formula: Formula, raw: Tensor, y: Tensor, loc_scale: list[Tensor], needs_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """The same in torch, without a look at any number."""
    target = y.double()
    dtype = torch.float64 if raw.dtype == torch.float64 else torch.float32
    loc_scale = [part.double() for part in loc_scale]
    if loc_scale:
        target = (target - loc_scale[0]) / loc_scale[1]
    outside = None if is_unbounded(formula.loss_support) else ~formula.loss_support.check(target)
    if outside is not None:
        target = torch.where(outside, _harmless(formula), target)
    columns = raw.double().t()
    if raw.is_cpu and len(columns) <= _FEW_COLUMNS:
        columns = torch.cat([column.double() for column in raw.unbind(-1)]).view(columns.shape)
    parameters = formula.parameters(columns)
    value, *slopes = formula.log_prob_and_grad(target.t(), *parameters)
    derivatives = torch.cat(
        [slope.unsqueeze(0).flatten(0, -2) for slope in formula.chain_rule(parameters, slopes)]
    )
    if loc_scale:
        value = value - loc_scale[1].log()
    if outside is not None:
        value, derivatives = (
            value.masked_fill(outside, -torch.inf),
            derivatives.masked_fill(outside, 0.0),
        )
    return value.to(torch.promote_types(dtype, y.dtype)), derivatives.t().to(
        dtype
    ) if needs_grad else None


def _as_array(values: Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU."""
    return materialise(values).detach().numpy()


def _outside(formula: Formula, y: np.ndarray) -> np.ndarray | None:
    """Which targets have no likelihood; None where all have."""
    support = formula.loss_support
    if is_unbounded(support) or _all_inside(support, y):
        return None
    return (~support.check(torch.from_numpy(y))).numpy()


def _all_inside(support: constraints.Constraint, y: np.ndarray) -> bool:
    """Whether all of them are: the ends tell, of an interval."""
    if not y.size:
        return bool(support.check(0.0))
    if support.is_discrete and y.dtype.kind == "f" and not (y == np.floor(y)).all():
        return False
    return bool(
        support.check(float(np.minimum.reduce(y, None)))
        and support.check(float(np.maximum.reduce(y, None)))
    )


def _harmless(formula: Formula) -> float:
    """A target inside any support of that kind."""
    return 1.0 if formula.is_discrete else 0.5
