"""Log-likelihoods and their derivatives by raw outputs in torch, where there is no kernel for them.

Chunks of rows are worked on in single precision, and the rows whose numbers are not of ordinary
size again in double precision. Where nobody may look at numbers, in graphs and on other devices,
all rows are worked on at once, in double precision.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disthead.likelihood.formula import Formula
from disthead.likelihood.ranges import fast_ranges, harmless, is_unbounded, ranged

__all__ = ["of_chunk", "whole_batch"]

# For vectors of a CPU compilers want columns that each lie in one piece; of more than these the
# copies take them longer.
_FEW_COLUMNS = 8


def of_chunk(
    formula: Formula,
    rows: slice,
    raw: Tensor,
    y: Tensor,
    loc_scale: Sequence[Tensor],
    value: Tensor,
    slopes: Tensor | None,
) -> None:
    """Write log-likelihoods of rows into value (N,) and their derivatives into slopes (N, P).

    Args:
        formula: of the family through its links.
        rows: those of the chunk.
        raw: raw outputs, shape (N, P).
        y: targets of shape (N, *event_shape).
        loc_scale: both parts of the change of variable loc + scale * y, numbers or (N,), or
            nothing.
        value: where the log-likelihoods go.
        slopes: where their derivatives go; None where these are not asked for.
    """
    raw, y = raw.detach()[rows], y.detach()[rows]
    loc_scale = [part.detach() if part.ndim == 0 else part.detach()[rows] for part in loc_scale]
    result, columns = value[rows], None if slopes is None else slopes[rows]
    # a solve, the unit of targets and short exposures magnify rounding
    needs_double = formula.event_shape or loc_scale or formula.has_row_constants
    may_be_single = raw.dtype != torch.float64 and not needs_double
    again = _in_single(formula, raw, y, result, columns) if may_be_single else None
    if again is None:
        exact, by_raw = _in_double(formula, raw, y, loc_scale)
        result.copy_(exact)
        if columns is not None:
            columns.copy_(by_raw.t())
    elif len(again):
        exact, by_raw = _in_double(formula, raw[again], y[again], loc_scale)
        result[again] = exact.to(result.dtype)
        if columns is not None:
            columns[again] = by_raw.t().to(columns.dtype)


def _in_single(
    formula: Formula, raw: Tensor, y: Tensor, value: Tensor, slopes: Tensor | None
) -> Tensor | None:
    """Write what single precision can compute, and return the indices of the other rows.

    None where these are most of the rows, and nothing was written.
    """
    ranges = fast_ranges(formula.component or formula)
    target = y.to(torch.float32)
    parameters = formula.parameters(raw.t().contiguous())
    least, greatest = ranges["y"]
    fine = (target == y) & (target >= least) & (target <= greatest)
    if not is_unbounded(formula.loss_support):
        fine &= formula.loss_support.check(target)
    names = ["logits", *formula.component.links] if formula.component else formula.links
    for name, parameter in zip(names, parameters, strict=True):
        size = ranged(parameter)
        least, greatest = ranges.get(name, (-15.0, 15.0))
        inside = (size >= least) & (size <= greatest)
        fine &= inside if inside.ndim == 1 else inside.all(0)
    if 2 * int(fine.sum()) < len(fine):
        return None
    target = torch.where(fine, target, harmless(formula))
    result, *by_parameter = formula.log_prob_and_grad(target, *parameters)
    fine &= result.isfinite()
    value.copy_(result)
    if slopes is not None:
        by_raw = _columns(formula, parameters, by_parameter)
        fine &= by_raw.isfinite().all(0)
        slopes.copy_(by_raw.t())
    return (~fine).nonzero().squeeze(-1)


def _in_double(
    formula: Formula, raw: Tensor, y: Tensor, loc_scale: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Log-likelihoods (rows,) and their derivatives (P, rows), of any numbers."""
    target, loc_scale = y.double(), [part.double() for part in loc_scale]
    if loc_scale:
        target = (target - loc_scale[0]) / loc_scale[1]
    outside = None if is_unbounded(formula.loss_support) else ~formula.loss_support.check(target)
    if outside is not None:
        target = torch.where(outside, harmless(formula), target)
    columns = raw.double().t()
    if raw.is_cpu and len(columns) <= _FEW_COLUMNS:
        columns = torch.cat([column.double() for column in raw.unbind(-1)]).view(columns.shape)
    parameters = formula.parameters(columns)
    value, *slopes = formula.log_prob_and_grad(target.t(), *parameters)
    by_raw = _columns(formula, parameters, slopes)
    if loc_scale:
        value = value - loc_scale[1].log()
    if outside is not None:
        value, by_raw = value.masked_fill(outside, -torch.inf), by_raw.masked_fill(outside, 0.0)
    return value, by_raw


def whole_batch(
    formula: Formula, raw: Tensor, y: Tensor, loc_scale: Sequence[Tensor], needs_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """The log-likelihoods (rows,) and their derivatives (rows, P), or None.

    All is computed in double precision, without a look at any number.
    """
    dtype = torch.float64 if raw.dtype == torch.float64 else torch.float32
    value, by_raw = _in_double(formula, raw, y, loc_scale)
    value = value.to(torch.promote_types(dtype, y.dtype))
    return value, by_raw.t().to(dtype) if needs_grad else None


def _columns(formula: Formula, parameters: Sequence[Any], slopes: Sequence[Tensor]) -> Tensor:
    """The derivatives by the raw outputs (P, rows)."""
    by_raw = formula.chain_rule(parameters, slopes)
    return torch.cat([slope.unsqueeze(0).flatten(0, -2) for slope in by_raw])
