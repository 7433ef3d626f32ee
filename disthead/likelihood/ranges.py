"""The numbers for which single precision does, and the targets that have a likelihood at all."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.likelihood.formula import Formula
from disthead.links import Link
from disthead.special.fast import Direction, Positive

__all__ = [
    "Range",
    "example",
    "fast_ranges",
    "fast_targets",
    "harmless",
    "inward",
    "is_unbounded",
    "ranged",
    "support_limits",
]

Range = tuple[float, float]
_NEAR_AN_END = 1e-6  # of a support, where logarithms of the target cancel other terms


def is_unbounded(constraint: constraints.Constraint) -> bool:
    """Whether targets may be any numbers."""
    return constraint in (constraints.real, constraints.real_vector)


def harmless(formula: Formula) -> float:
    """A target inside any support of that kind."""
    return 1.0 if formula.is_discrete else 0.5


def support_limits(constraint: constraints.Constraint) -> Range | None:
    """The least and the greatest number of an interval in double precision; None of no interval."""
    if is_unbounded(constraint):
        return -math.inf, math.inf
    lower, upper = (getattr(constraint, name, None) for name in ("lower_bound", "upper_bound"))
    if constraint is constraints.boolean:
        lower, upper = 0.0, 1.0
    if lower is None or constraint.event_dim:
        return None
    least, greatest = float(lower), math.inf if upper is None else float(upper)
    if not constraint.check(least):
        least = math.nextafter(least, math.inf)
    if upper is not None and not constraint.check(greatest):
        greatest = math.nextafter(greatest, -math.inf)
    return least, greatest


def fast_ranges(formula: Formula) -> dict[str, Range]:
    """The ranges of targets ("y") and parameters in which single precision keeps six digits.

    They are the usual ones, but for those that the family declares. A range that begins below 0
    ends as far above it.
    """
    unbounded = is_unbounded(formula.loss_support)
    if formula.is_discrete:
        ranges = {"y": (0.0, 64.0)}
    else:
        ranges = {"y": (-1e6, 1e6) if unbounded else (_NEAR_AN_END, 1e6)}
        if getattr(formula.loss_support, "upper_bound", None) == 1:
            ranges = {"y": (_NEAR_AN_END, 1 - 1e-6)}
    for name, link in formula.links.items() if not formula.event_shape else ():
        parameter = example(link)
        if isinstance(parameter, Positive):
            ranges[name] = 1e-6, 16.0
        elif isinstance(parameter, Direction):
            ranges[name] = 1e-6, 1e6
        else:
            ranges[name] = (-15.0, 15.0) if link.gives_logits(name) else (-1e6, 1e6)
    return ranges | dict(formula.fast_range)


def fast_targets(formula: Formula, support: Range) -> Range:
    """The range of targets in which single precision does, within the limits of the support."""
    least, greatest = fast_ranges(formula.component or formula)["y"]
    return inward(max(least, support[0]), min(greatest, support[1]))


def inward(least: float, greatest: float) -> Range:
    """Both ends as numbers of single precision that are not outside of the range."""
    low, high = np.float32(least), np.float32(greatest)
    if low < least:
        low = np.nextafter(low, np.float32(np.inf))
    if high > greatest:
        high = np.nextafter(high, np.float32(-np.inf))
    return float(low), float(high)


def ranged(parameter: Any) -> Tensor:
    """The number whose range counts: a parameter, or the length of a direction's raw vector."""
    if isinstance(parameter, Positive):
        return parameter.value
    return parameter.length if isinstance(parameter, Direction) else parameter


def example(link: Link) -> Any:
    """The parameter that the link makes of one row of ones."""
    function: Any = link.value_and_slope
    return function(torch.ones(*link.raw_shape(()), 1, dtype=torch.float64))
