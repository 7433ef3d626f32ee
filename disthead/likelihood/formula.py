"""The formula of a head's likelihood: raw outputs -> parameters -> `score` -> derivatives by raw outputs.

For tensors, NumPy arrays and recorded arrays alike, whose last dimension counts rows.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.distributions import constraints

from disthead.links import Link
from disthead.special.elementary import Array
from disthead.special.fast import Direction, Positive

if TYPE_CHECKING:
    from disthead.families.family import Family
    from disthead.likelihood.linked import RawOutputs

__all__ = [
    "by_raw",
    "is_everything",
    "limits",
    "ordinary_parameters",
    "ordinary_targets",
    "parameters",
    "quick",
    "scored",
    "takes_one_each",
]


def parameters(source: "RawOutputs", columns: Array) -> list[Any]:
    """The parameters by the links' quick way from raw outputs (P, n): (n,) each, or (K, n)."""
    family, links = source.family, source.links
    if takes_one_each(family, links):
        return [quick(link)(column) for link, column in zip(links.values(), columns, strict=True)]
    found, at = [], 0
    for name, link in links.items():
        shape = family.raw_shape(name, link)
        part = columns[at : at + math.prod(shape)]
        found.append(quick(link)(part.reshape(*shape, part.shape[-1]) if shape else part[0]))
        at += len(part)
    return found


def takes_one_each(family: "Family", links: Mapping[str, Link]) -> bool:
    """Whether each parameter is a number that has one raw output."""
    for link in links.values():  # every loss asks
        if link.raw_shape is not tuple:
            return False
    return not family.shapes


def quick(link: Link) -> Callable[[Any], Any]:
    assert link.quick is not None
    return link.quick


def by_raw(source: "RawOutputs", values: list[Any], slopes: Sequence[Array]) -> list[Array]:
    """The derivatives by the raw outputs, from those by the parameters, of each that has raw outputs."""
    return [
        value.by_raw(slope) if isinstance(value, (Positive, Direction)) else slope
        for link, value, slope in zip(source.links.values(), values, slopes, strict=True)
        if not link.is_constant
    ]


def scored(family: "Family") -> constraints.Constraint:
    return family.scored or family.support


def is_everything(constraint: constraints.Constraint) -> bool:
    return constraint in (constraints.real, constraints.real_vector)


def limits(constraint: constraints.Constraint) -> tuple[float, float] | None:
    """The least and the greatest number of an interval, in double precision; None of a constraint that is none."""
    if is_everything(constraint):
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


def ordinary_targets(family: "Family", rounded: bool = False) -> tuple[float, float] | None:
    """Between these the rounding of targets is not magnified in single precision, and none of them underflows times a parameter.

    Targets that are `rounded` to single precision have fewer, and none where they are counts or have an upper end.
    """
    if rounded:
        if family.is_discrete or math.isfinite(getattr(scored(family), "upper_bound", math.inf)):
            return None
        return (-4.0, 4.0) if is_everything(scored(family)) else (1e-30, 1e6)
    if family.is_discrete:
        return 0.0, 64.0
    return -1e6 if is_everything(scored(family)) else 1e-30, 1e6


def ordinary_parameters(
    source: "RawOutputs", values: list[Any], rounded: bool = False
) -> Iterator[tuple[Array, float, float]]:
    """Between these a parameter is neither great nor tiny, so that single precision does not magnify rounding.

    A density on the line may not be so narrow that it sees how a target was `rounded`.
    """
    narrowest = 0.25 if rounded and is_everything(scored(source.family)) else 1e-6
    for (name, link), parameter in zip(source.links.items(), values, strict=True):
        if isinstance(parameter, Positive):
            yield parameter.value, narrowest, 16.0
        elif isinstance(parameter, Direction):
            yield parameter.length, 1e-6, 1e6
        else:
            largest = 15.0 if link.gives_logits(name) else 1e6
            yield parameter, -largest, largest
