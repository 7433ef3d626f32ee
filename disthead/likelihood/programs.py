"""The one pass as programs: a formula recorded once, to be run in one call (`likelihood/program.py`)."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.distributions import constraints

from disthead.likelihood.formula import Formula, is_unbounded
from disthead.likelihood.program import Program
from disthead.likelihood.recording import NotRecorded, Recorded, Recorder
from disthead.special.blocks import AVAILABLE
from disthead.special.elementary import Array, log, stack
from disthead.special.fast import Direction, Positive

__all__ = ["recorded"]

# of a row: more take longer to record, and NumPy's calls cost little beside its work
_MOST_OUTPUTS = 128


def recorded(
    formula: Formula, is_double: bool, has_loc_scale: bool, needs_grad: bool, is_rounded: bool
) -> tuple[Program, ...]:
    """Those to be tried one after the other, in single and in double precision; none where the formula cannot be recorded.

    They take the tensors of raw outputs, targets, loc and scale if there is a change of variable,
    log-likelihoods and, if `needs_grad`, derivatives, and answer False where somebody has to look
    closer: a target outside the support, numbers that are not finite. If `is_rounded` they take
    targets in double precision, and the first of them only those whose digits beyond single
    precision change nothing.
    """
    if not AVAILABLE or formula.width > _MOST_OUTPUTS:
        return ()
    # The rounding of single precision is magnified by a solve, by a sharp density that of a target
    # in its unit, and by a short exposure that of a mean.
    only_double = is_double or formula.event_shape or has_loc_scale or formula.has_row_constants
    programs = []
    for dtype in (np.float64,) if only_double else (np.float32, np.float64):
        try:
            programs.append(_record(formula, dtype, has_loc_scale, needs_grad, is_rounded))
        except (
            Exception
        ):  # whatever a formula of somebody else's does that cannot be recorded, NumPy may do
            continue
    return tuple(programs)


def _record(
    formula: Formula, dtype: type, has_loc_scale: bool, needs_grad: bool, is_rounded: bool
) -> Program:
    recorder = Recorder(dtype)
    raw = recorder.array(0, formula.width)
    target = recorder.array(1, *formula.event_shape)
    loc_scale = [recorder.array(2), recorder.array(3)] if has_loc_scale else []
    if loc_scale:
        target = (target - loc_scale[0]) / loc_scale[1]
    parameters = formula.parameters(raw)
    _check(recorder, formula, raw, target, parameters, is_rounded)
    log_prob, *slopes = formula.log_prob_and_grad(target, *parameters)
    if loc_scale:
        log_prob = log_prob - log(loc_scale[1])
    results = [log_prob]
    if needs_grad:
        parts = [part.reshape(-1, 1) for part in formula.chain_rule(parameters, slopes)]
        results.append(stack([row for part in parts for row in part], 0))
    stored = []
    for array, result in enumerate(results, 2 + len(loc_scale)):
        recorder.check(result, -math.inf, math.inf)
        stored += result.stored(array)
    return Program.of(recorder, stored)


def _check(
    recorder: Recorder,
    formula: Formula,
    raw: Recorded,
    target: Recorded,
    parameters: list[Any],
    is_rounded: bool,
) -> None:
    """Let the program end at numbers that are not for it."""
    support = formula.loss_support
    within = _limits(support)
    if within is None:
        raise NotRecorded(f"whether targets are in {support}")
    if support.is_discrete:
        recorder.check_whole(target)
    if recorder.in_double:
        recorder.check(target, *within)
        recorder.check(raw, -math.inf, math.inf)
        return
    ordinary = _ordinary_targets(formula, is_rounded)
    if ordinary is None:
        raise NotRecorded("what rounding the targets changes")
    recorder.check(target, max(within[0], ordinary[0]), min(within[1], ordinary[1]))
    for value, least, greatest in _ordinary_parameters(formula, parameters, is_rounded):
        recorder.check(value, least, greatest)


def _limits(constraint: constraints.Constraint) -> tuple[float, float] | None:
    """The least and the greatest number of an interval, in double precision; None of a constraint that is none."""
    if is_unbounded(constraint):
        return -math.inf, math.inf
    lower, upper = (getattr(constraint, name, None) for name in ("lower_bound", "upper_bound"))
    if lower is None or constraint.event_dim:
        return None
    least, greatest = float(lower), math.inf if upper is None else float(upper)
    if not constraint.check(least):
        least = math.nextafter(least, math.inf)
    if upper is not None and not constraint.check(greatest):
        greatest = math.nextafter(greatest, -math.inf)
    return least, greatest


def _ordinary_targets(formula: Formula, is_rounded: bool) -> tuple[float, float] | None:
    """Between these the rounding of targets is not magnified in single precision, and none of them underflows times a parameter.

    Targets that are rounded to single precision have fewer, and none where they are counts or have
    an upper end.
    """
    unbounded = is_unbounded(formula.loss_support)
    if is_rounded:
        if formula.is_discrete or math.isfinite(
            getattr(formula.loss_support, "upper_bound", math.inf)
        ):
            return None
        return (-4.0, 4.0) if unbounded else (1e-30, 1e6)
    if formula.is_discrete:
        return 0.0, 64.0
    return -1e6 if unbounded else 1e-30, 1e6


def _ordinary_parameters(
    formula: Formula, parameters: list[Any], is_rounded: bool
) -> Iterator[tuple[Array, float, float]]:
    """Between these a parameter is neither great nor tiny, so that single precision does not magnify rounding.

    A density on the line may not be so narrow that it sees how a target was rounded.
    """
    narrowest = 0.25 if is_rounded and is_unbounded(formula.loss_support) else 1e-6
    for (name, link), parameter in zip(formula.links.items(), parameters, strict=True):
        if isinstance(parameter, Positive):
            yield parameter.value, narrowest, 16.0
        elif isinstance(parameter, Direction):
            yield parameter.length, 1e-6, 1e6
        else:
            largest = 15.0 if link.gives_logits(name) else 1e6
            yield parameter, -largest, largest
