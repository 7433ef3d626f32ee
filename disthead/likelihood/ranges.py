"""Between which numbers a likelihood is computed in single precision, and which targets have one at all."""

import math
from typing import Any

import torch
from torch.distributions import constraints

from disthead.likelihood.formula import Formula
from disthead.links import Link
from disthead.special.fast import Direction, Positive

__all__ = ["Range", "example", "fast_ranges", "harmless", "is_unbounded", "support_limits"]

Range = tuple[float, float]
_NEAR_AN_END = 1e-6  # of a support, where logarithms of the target cancel other terms


def is_unbounded(constraint: constraints.Constraint) -> bool:
    return constraint in (constraints.real, constraints.real_vector)


def harmless(formula: Formula) -> float:
    """A target inside any support of that kind."""
    return 1.0 if formula.is_discrete else 0.5


def support_limits(constraint: constraints.Constraint) -> Range | None:
    """The least and the greatest number of an interval, in double precision; None of a constraint that is none."""
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
    """Between which targets ("y") and parameters single precision keeps six digits: usual ones, and those that the family declares.

    Of a direction it is the length of the raw vector. Those that begin below 0 end as far above it.
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


def example(link: Link) -> Any:
    """What the link makes of ones, one row of them."""
    function: Any = link.value_and_slope
    return function(torch.ones(*link.raw_shape(()), 1, dtype=torch.float64))
