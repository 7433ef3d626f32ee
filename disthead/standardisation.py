"""Standardised targets: which families take them, their location and scale, and what changes in a head with the unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.errors import TargetError, warn
from disthead.families.family import Family
from disthead.links import Link
from disthead.weights import weighted_quantiles

__all__ = [
    "MIN_SCALE",
    "SCALES",
    "check_precision",
    "check_relative_spread",
    "in_other_units",
    "is_real",
    "location_and_scale",
    "mean_and_std",
    "robust_units",
    "target_units",
    "warn_of_dominant_rows",
    "why_not",
    "with_min_scale",
]

MIN_SCALE = 1e-4  # of a standardised target: far below any honest scale
_FAR = 30  # times the range of the middle nine tenths of the targets, beyond their median: outliers
# Cauchy targets, with the heaviest tails that data have, have the farthest of N rows about N / 20
# such ranges away.
_DOMINANT, _DOMINANT_BY_ROW = 1e4, 100.0
SCALES = {
    "scale": 1,
    "scale_tril": 1,
    "cov_diag": 2,
}  # parameters that can collapse -> power of the target's unit in them
_POWERS = SCALES | {"loc": 1, "cov_factor": 1, "df": 0, "logits": 0}


def why_not(family: Family, fixed: Mapping[str, Any]) -> str | None:
    """Why targets of this family cannot be standardised; None where they can.

    Only real numbers can be moved and stretched: counts, proportions, directions and classes have
    an origin or a unit of their own.
    """
    if not is_real(family.support):
        return (
            f"the targets of {family.name} ({family.domain}) have an origin or a unit of their own"
        )
    is_plain = family.event_dim == 0 and not family.shapes
    for name in fixed:
        if _POWERS.get(name, 1) and not (is_plain and name in ("loc", "scale")):
            return f"the fixed {name} of {family.name} cannot be put into other units"
    return None


def location_and_scale(
    y: Tensor, weight: Tensor | None, dtype: torch.dtype, family: Family
) -> tuple[Tensor, Tensor]:
    """What standardises targets (N, *event_shape), in this precision: the weighted `robust_units`.

    The scale of constant targets is 1.

    Raises:
        ValueError: for targets that vary by less than the precision can tell.
    """
    loc, scale = robust_units(*mean_and_std(y, weight), y, weight, family)
    check_precision(scale, _without_outliers(y, weight).abs().amax(0), dtype, "the target")
    return loc.to(dtype), torch.where(scale > 0, scale, 1.0).to(dtype)


def target_units(y: Tensor, weight: Tensor | None, family: Family) -> tuple[Tensor, Tensor]:
    """As `location_and_scale`, in double precision; the scale of constant targets is a millionth of their size."""
    loc, scale = robust_units(*mean_and_std(y, weight), y, weight, family)
    return loc, torch.where(scale > 0, scale, torch.where(loc == 0, 1.0, 1e-6 * loc.abs()))


def mean_and_std(values: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over rows (N, ...), in double precision; exactly 0 where all rows are equal."""
    values = values.double()
    least, most = values.amin(0), values.amax(0)
    size = torch.maximum(least.abs(), most.abs())
    unit = torch.where(
        (size > 1e150) | ((size > 0) & (size < 1e-150)), size, 1.0
    )  # their squares would overflow or be zero
    values = values / unit
    if weight is None:
        loc, scale = values.mean(0), values.std(0, correction=0)
    else:
        weight = weight.double()
        share = (weight / weight.sum()).reshape(-1, *(1,) * (values.ndim - 1))
        loc = (share * values).sum(0)
        scale = (share * (values - loc).square()).sum(0).sqrt()
    is_constant = least == most
    return torch.where(is_constant, least, loc * unit), torch.where(is_constant, 0.0, scale * unit)


def robust_units(
    loc: Tensor, scale: Tensor, y: Tensor, weight: Tensor | None, family: Family
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of targets, as if outliers were nearer where the family expects them.

    Outliers lie farther from the median than 30 times the range of the middle nine tenths. They
    would squeeze all other targets together. A family expects them where its own start has a
    smaller scale: it is robust, as student_t is, or a mixture has a component for them.

    Args:
        loc, scale: mean and standard deviation of all targets.
        y, weight: targets (N, *event_shape), or a sample of them, and their weights.
    """
    if "scale" not in family.parameters:
        return loc, scale
    near = _without_outliers(y, weight)
    has_outliers = (near != y).any(0)
    if not bool(has_outliers.any()):
        return loc, scale
    near_loc, near_scale = mean_and_std(near, weight)
    # of all components
    own = family.initial_estimate(y.double())["scale"].reshape(*scale.shape, -1).amin(-1)
    unit = torch.maximum(near_scale, own)
    is_smaller = has_outliers & (unit < scale)
    return torch.where(is_smaller, near_loc, loc), torch.where(is_smaller, unit, scale)


def _without_outliers(y: Tensor, weight: Tensor | None) -> Tensor:
    """The targets (N, ...), outliers of a column moved to where these begin."""
    y = y.double()
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64, device=y.device)
    columns = []
    for column in y.reshape(len(y), -1).unbind(1):
        lower, middle, upper = weighted_quantiles(column, levels, weight)
        reach = _FAR * (upper - lower) if upper > lower else torch.inf
        columns.append(column.clamp(middle - reach, middle + reach))
    return torch.stack(columns, 1).reshape(y.shape)


def check_precision(scale: Tensor, level: Tensor, dtype: torch.dtype, what: str) -> None:
    """Refuse numbers that vary about their level (their largest absolute value) by less than the precision can tell."""
    lost = (scale > 0) & (scale < 1e-4 * level) & (level * torch.finfo(dtype).eps > 1e-3 * scale)
    if lost.any():
        column = f" in column {int(lost.reshape(-1).nonzero()[0])}" if lost.ndim else ""
        raise ValueError(
            f"{what} varies by {scale[lost][0]:.3g} about {level[lost][0]:.7g}{column}, too "
            f"little for {dtype} to tell. "
            "Subtract a constant from it first."
        )


def check_relative_spread(
    family: Family, y: Tensor, weight: Tensor | None, what: str = "y"
) -> None:
    """Refuse targets (N, *event_shape) that vary too little beside their size for a family that cannot be standardised.

    Raises:
        TargetError: with the spread, the size, and what to do.
    """
    if not family.least_log_std:
        return
    std = mean_and_std(y.double().log(), weight)[1]
    if bool((std < family.least_log_std).any()):
        raise TargetError(
            f"{what} varies by {float(std.min()):.3g} of its size in all rows "
            f"({float(y[0].flatten()[0]):.7g} at row 0), too little "
            f"for {family.name} to learn, which needs {family.least_log_std:g}. Take a family of "
            "real numbers, such as normal or "
            "student_t, which are standardised; or subtract a constant from the targets."
        )


def warn_of_dominant_rows(
    family: Family,
    y: Tensor,
    weight: Tensor | None,
    known: Mapping[str, Tensor],
    names: Sequence[str],
    rows: Tensor | None,
    part: str = "",
) -> None:
    """One warning of targets and known quantities so far from all others that the mean loss is that of their rows.

    A number is so far where its distance from the median of the others is more than 10,000 times
    the range of their middle nine tenths, and more than 100 times their number. Heavy tails do not
    reach there: it happens to one table of Cauchy targets in some thousands. Targets of bounded
    families and of families that expect outliers (`robust_units`) are not looked at.

    Args:
        y, weight, known: targets (N, *event_shape), weights (N,) and quantities (N,) of the rows
            that are there.
        names: of the targets.
        rows: their numbers in the table, for messages.
        part: of the table, for messages.
    """
    columns = dict(known)
    if _can_be_dominated(family):
        columns |= dict(zip(names, y.reshape(len(y), -1).unbind(1), strict=True))
    found = []
    for name, values in columns.items():
        far = _dominant(values.double(), weight).nonzero().flatten().tolist()
        if far:
            place = "" if rows is None else f" at row {int(rows[far[0]])}"
            more = f" and {len(far) - 1} more" if len(far) > 1 else ""
            found.append(f"{name} has {float(values[far[0]]):.7g}{place}{more}")
    if found:
        robust = (
            ", or take a family that expects outliers, such as student_t"
            if is_real(family.support)
            else ""
        )
        warn(
            f"{', '.join(found)}{f' in the {part} rows' * bool(part)}: so far from all others "
            f"that the mean loss of {family.name} is that "
            f"of this row alone. Correct the number or leave its row out{robust}."
        )


def _can_be_dominated(family: Family) -> bool:
    """Whether one target can be worth more than all others: the support has no end, and no parameter expects outliers."""
    expects_outliers = "df" in family.parameters or {"logits", "scale"} <= set(family.parameters)
    is_half_line = hasattr(family.support, "lower_bound") and not hasattr(
        family.support, "upper_bound"
    )
    return not expects_outliers and (is_half_line or is_real(family.support))


def is_real(support: constraints.Constraint) -> bool:
    """Whether targets, or each of several independent ones, are any real number."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real


def _dominant(values: Tensor, weight: Tensor | None) -> Tensor:
    """Which of the numbers (N,) dominate all others, booleans (N,)."""
    if len(values) < 3:
        return torch.zeros_like(values, dtype=torch.bool)
    farthest = (values - values.median()).abs().argmax()
    is_other = torch.arange(len(values), device=values.device) != farthest
    others = values[is_other]
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64, device=values.device)
    lower, middle, upper = weighted_quantiles(
        others, levels, None if weight is None else weight[is_other]
    )
    # Where nearly all are one number, their range says nothing.
    units = (upper - lower, (others - middle).abs().max(), middle.abs(), torch.ones_like(middle))
    unit = next(unit for unit in units if unit > 0)
    return (values - middle).abs() > max(_DOMINANT, _DOMINANT_BY_ROW * len(values)) * unit


def with_min_scale(
    links: Mapping[str, Link], fixed: Mapping[str, Any], min_scale: float
) -> dict[str, Link]:
    """The links, that of the scale with a minimum below it, unless it has one already or is fixed."""
    links = dict(links)
    name = next((name for name in SCALES if name in links), None)
    if min_scale and name is not None and name not in fixed and not links[name].lower:
        links[name] = links[name].shifted(min_scale ** SCALES[name])
    return links


def in_other_units(name: str, value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """The parameter `name` of loc + scale * y, from that of y; `loc` and `scale` broadcast against it."""
    power = _POWERS[name]
    value = value * scale**power if power else value
    return value + loc if name == "loc" else value
