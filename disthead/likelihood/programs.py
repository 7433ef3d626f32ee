"""The one pass as programs: a family's formula recorded once for its links, to be run in one call (`likelihood/program.py`)."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from disthead.likelihood.formula import by_raw, limits, ordinary_parameters, ordinary_targets, parameters, scored
from disthead.likelihood.program import Program
from disthead.likelihood.recording import NotRecorded, Recorded, Recorder
from disthead.special.blocks import AVAILABLE
from disthead.special.elementary import log, stack

if TYPE_CHECKING:
    from disthead.likelihood.linked import RawOutputs

__all__ = ["programs"]

_MOST_OUTPUTS = 128  # of a row: more take longer to record, and NumPy's calls cost little beside its work
_MOST_KNOWN = 1024
_known: dict[tuple, tuple[tuple[Program, ...], Any]] = {}  # by the identity of objects, which are kept


def programs(source: "RawOutputs", wanted: bool, rounded: bool = False) -> tuple[Program, ...]:
    """Those to be tried one after the other, in single and in double precision; none where the formula cannot be recorded.

    They take the tensors of raw outputs, targets, both parts of the unit if there is one, log-likelihoods and, if `wanted`,
    derivatives, and answer False where somebody has to look closer: a target outside the support, numbers that are not finite.
    With `rounded` they take targets in double precision, and the first of them only those whose digits beyond single precision
    change nothing.
    """
    family: Any = source.family
    if not family.__dict__:  # families of one class are alike where they have nothing of their own
        family = type(family)
    key = (id(family), source.unit is None, source.raw.dtype, wanted, rounded, *map(id, source.links.values()))
    known = _known.get(key)
    if known is None:
        if len(_known) >= _MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
        known = _known[key] = (_programs(source, wanted, rounded), (family, *source.links.values()))
    return known[0]


def _programs(source: "RawOutputs", wanted: bool, rounded: bool) -> tuple[Program, ...]:
    if not AVAILABLE or source.raw.shape[-1] > _MOST_OUTPUTS:
        return ()
    # The rounding of single precision is magnified by a solve, by a sharp density that of a target in its unit, and by a short
    # exposure that of a mean.
    has_known = len(source.links) > len(source.family.parameters)
    only_double = source.family.event_dim or source.unit is not None or has_known or source.dtype == torch.float64
    found = []
    for dtype in (np.float64,) if only_double else (np.float32, np.float64):
        try:
            found.append(_record(source, dtype, wanted, rounded))
        except Exception:  # whatever a formula of somebody else's does that cannot be recorded, NumPy may do
            continue
    return tuple(found)


def _record(source: "RawOutputs", dtype: type, wanted: bool, rounded: bool) -> Program:
    family, recorder = source.family, Recorder(dtype)
    raw = recorder.array(0, source.raw.shape[-1])
    target = recorder.array(1, *family.event_shape)
    unit = [recorder.array(2), recorder.array(3)] if source.unit is not None else []
    if unit:
        target = (target - unit[0]) / unit[1]
    values = parameters(source, raw)
    _check(recorder, source, raw, target, values, rounded)
    log_prob, *slopes = family.score(target.T if family.event_dim else target, *values)
    if unit:
        log_prob = log_prob - log(unit[1])
    results = [log_prob]
    if wanted:
        parts = [part.reshape(-1, 1) for part in by_raw(source, values, slopes)]
        results.append(stack([row for part in parts for row in part], 0))
    stored = []
    for array, result in enumerate(results, 2 + len(unit)):
        recorder.check(result, -math.inf, math.inf)
        stored += result.stored(array)
    return Program.of(recorder, stored)


def _check(
    recorder: Recorder, source: "RawOutputs", raw: Recorded, target: Recorded, values: list[Any], rounded: bool
) -> None:
    """Let the program end at numbers that are not for it."""
    support = scored(source.family)
    within = limits(support)
    if within is None:
        raise NotRecorded(f"whether targets are in {support}")
    if support.is_discrete:
        recorder.check_whole(target)
    if recorder.in_double:
        recorder.check(target, *within)
        recorder.check(raw, -math.inf, math.inf)
        return
    ordinary = ordinary_targets(source.family, rounded)
    if ordinary is None:
        raise NotRecorded("what rounding the targets changes")
    recorder.check(target, max(within[0], ordinary[0]), min(within[1], ordinary[1]))
    for value, least, greatest in ordinary_parameters(source, values, rounded):
        recorder.check(value, least, greatest)
