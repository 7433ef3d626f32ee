"""Standardised targets: their location and scale, the families that take them, and their heads.

Features are standardised by `mean_and_std` as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.censored import as_pairs
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
    "standardised",
    "target_units",
    "warn_of_dominant_rows",
    "why_not",
    "with_min_scale",
]

MIN_SCALE = 1e-4  # of a standardised target: far below any plausible scale
# Distances from the median, in ranges of the middle nine tenths of the targets. Farther targets
# are outliers; those beyond both dominant ones are worth more than all others together. Of N
# Cauchy targets, whose tails are as heavy as those of data get, the farthest is about N / 20 such
# ranges away.
_OUTLIER_DISTANCE = 30
_DOMINANT_DISTANCE, _DOMINANT_DISTANCE_PER_ROW = 1e4, 100.0
# parameters that can collapse -> power of the target's unit in them
SCALES = {"scale": 1, "scale_tril": 1, "cov_diag": 2, "tail_scale": 1}
_POWERS = SCALES | {"loc": 1, "cov_factor": 1, "df": 0, "logits": 0, "correlation_tril": 0}
_POWERS |= {"width_logits": 0, "height_logits": 0, "slope": 0}


def why_not(family: Family, fixed: Mapping[str, Any]) -> str | None:
    """The reason why targets of this family cannot be standardised; None where they can be.

    Only real numbers can be shifted and scaled: counts, proportions, directions and classes have
    an origin or a unit of their own.

    Args:
        family: of the targets.
        fixed: the fixed parameters, by name.
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
    """Location and scale that standardise targets: `robust_units` in a given precision.

    The scale of constant targets is 1.

    Args:
        y: targets (N, *event_shape).
        weight: (N,), or None where all rows count the same.
        dtype: the precision of the result.
        family: of the targets.

    Returns:
        Location and scale, each of shape event_shape.

    Raises:
        ValueError: for targets whose variation is lost in this precision.
    """
    y, weight = family.observed_rows(y, weight)
    loc, scale = robust_units(*mean_and_std(y, weight), y, weight, family)
    check_precision(scale, _without_outliers(y, weight).abs().amax(0), dtype, "the target")
    return loc.to(dtype), torch.where(scale > 0, scale, 1.0).to(dtype)


def target_units(y: Tensor, weight: Tensor | None, family: Family) -> tuple[Tensor, Tensor]:
    """Location and scale that standardise targets, in double precision.

    Arguments and shapes are those of `location_and_scale`. The scale of constant targets is a
    millionth of their size, and 1 where they are zero.
    """
    y, weight = family.observed_rows(y, weight)
    loc, scale = robust_units(*mean_and_std(y, weight), y, weight, family)
    return loc, torch.where(scale > 0, scale, torch.where(loc == 0, 1.0, 1e-6 * loc.abs()))


def standardised(y: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """The targets (y - loc) / scale; of pairs (lower, upper), both ends.

    Args:
        y: targets (N, *event_shape), or pairs (N, *event_shape, 2).
        loc: of shape event_shape.
        scale: likewise, positive.
    """
    if y.ndim > loc.ndim + 1:
        loc, scale = loc.unsqueeze(-1), scale.unsqueeze(-1)
    return (y - loc) / scale


def mean_and_std(values: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (population, without Bessel's correction) over the rows.

    The standard deviation is exactly 0 where all rows are equal.

    Args:
        values: (N, ...).
        weight: (N,), or None where all rows count the same.

    Returns:
        Both of shape (...), in double precision.
    """
    values = values.double()
    least, most = values.amin(0), values.amax(0)
    size = torch.maximum(least.abs(), most.abs())
    # numbers whose squares would overflow or become zero are scaled
    unit = torch.where((size > 1e150) | ((size > 0) & (size < 1e-150)), size, 1.0)
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
    """Mean and standard deviation of targets, with outliers clamped where the family expects them.

    Outliers lie farther from the median than 30 times the range of the middle nine tenths, and are
    moved to that distance, since they would squeeze all other targets together. A family expects
    them where the scale of its initial estimate is smaller than the standard deviation: it is
    robust, as student_t is, or it is a mixture with a component for them.

    Args:
        loc: the mean of all targets, of shape event_shape.
        scale: their standard deviation.
        y: targets (N, *event_shape), or a sample of them.
        weight: (N,), the weights of `y`, or None where all rows count the same.
        family: of the targets.

    Returns:
        Location and scale, each of shape event_shape.
    """
    if "scale" not in family.parameters:
        return loc, scale
    near = _without_outliers(y, weight)
    has_outliers = (near != y).any(0)
    if not bool(has_outliers.any()):
        return loc, scale
    near_loc, near_scale = mean_and_std(near, weight)
    # the least scale of all components
    targets = as_pairs(y, y.shape[1:]) if family.is_censored else y
    initial = family.initial_estimate(targets.double())["scale"].reshape(*scale.shape, -1).amin(-1)
    unit = torch.maximum(near_scale, initial)
    is_smaller = has_outliers & (unit < scale)
    return torch.where(is_smaller, near_loc, loc), torch.where(is_smaller, unit, scale)


def _without_outliers(y: Tensor, weight: Tensor | None) -> Tensor:
    """The targets (N, ...), with the outliers of each column clamped."""
    y = y.double()
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64, device=y.device)
    columns = []
    for column in y.reshape(len(y), -1).unbind(1):
        lower, middle, upper = weighted_quantiles(column, levels, weight)
        reach = _OUTLIER_DISTANCE * (upper - lower) if upper > lower else torch.inf
        columns.append(column.clamp(middle - reach, middle + reach))
    return torch.stack(columns, 1).reshape(y.shape)


def check_precision(scale: Tensor, level: Tensor, dtype: torch.dtype, what: str) -> None:
    """Refuse numbers whose variation is lost in a precision.

    Args:
        scale: their standard deviation, of any shape.
        level: their largest absolute value, of the same shape.
        dtype: the precision.
        what: the numbers are, for the message.

    Raises:
        ValueError: with both numbers.
    """
    lost = (scale > 0) & (scale < 1e-4 * level) & (level * torch.finfo(dtype).eps > 1e-3 * scale)
    if lost.any():
        column = f" in column {int(lost.reshape(-1).nonzero()[0])}" if lost.ndim else ""
        raise ValueError(
            f"{what} varies by {scale[lost][0]:.3g} about {level[lost][0]:.7g}{column}, too "
            f"little for {dtype} to tell. Subtract a constant from it first."
        )


def check_relative_spread(
    family: Family, y: Tensor, weight: Tensor | None, what: str = "y"
) -> None:
    """Refuse targets that vary too little beside their size for a family.

    The limit is the family's `least_log_std`; families that can be standardised have none.

    Args:
        family: of the targets.
        y: targets (N, *event_shape).
        weight: (N,), or None where all rows count the same.
        what: the name of the targets, for the message.

    Raises:
        TargetError: with the standard deviation, the size, and what to do.
    """
    if not family.least_log_std:
        return
    y, weight = family.observed_rows(y, weight)
    std = mean_and_std(y.double().log(), weight)[1]
    if bool((std < family.least_log_std).any()):
        raise TargetError(
            f"{what} varies by {float(std.min()):.3g} of its size in all rows "
            f"({float(y[0].flatten()[0]):.7g} at row 0), too little for {family.name} to learn, "
            f"which needs {family.least_log_std:g}. Take a family of real numbers, such as normal "
            "or student_t, which are standardised; or subtract a constant from the targets."
        )


def warn_of_dominant_rows(
    family: Family,
    y: Tensor,
    weight: Tensor | None,
    row_constants: Mapping[str, Tensor],
    names: Sequence[str],
    rows: Tensor | None,
    part: str = "",
) -> None:
    """Warn once of numbers so far from all others that their rows determine the mean loss.

    The numbers are targets and row constants. One is so far where its distance from the median of
    the others is more than 10,000 and more than 100 N times the range of their middle nine tenths.
    Heavy tails do not reach there: it happens to one table of Cauchy targets in some thousands.
    Targets of bounded families and of families that expect outliers (`robust_units`) are excepted.

    Args:
        family: of the targets.
        y: targets (N, *event_shape), without rows of weight 0.
        weight: (N,), or None where all rows count the same.
        row_constants: quantities of each row by name, (N,).
        names: of the targets.
        rows: (N,), the numbers of the rows in the table, for the message.
        part: the part of the table, such as training, for the message.
    """
    columns = dict(row_constants)
    if _can_be_dominated(family):
        y = family.points_of(y)
        columns |= dict(zip(names, y.reshape(len(y), -1).unbind(1), strict=True))
    descriptions = []
    for name, values in columns.items():
        far = _dominant(values.double(), weight).nonzero().flatten().tolist()
        if far:
            place = "" if rows is None else f" at row {int(rows[far[0]])}"
            more = f" and {len(far) - 1} more" if len(far) > 1 else ""
            descriptions.append(f"{name} has {float(values[far[0]]):.7g}{place}{more}")
    if descriptions:
        robust = (
            ", or take a family that expects outliers, such as student_t"
            if is_real(family.support)
            else ""
        )
        warn(
            f"{', '.join(descriptions)}{f' in the {part} rows' * bool(part)}: so far from all "
            f"others that the mean loss of {family.name} is that of this row alone. Correct the "
            f"number or leave its row out{robust}."
        )


def _can_be_dominated(family: Family) -> bool:
    """Whether one target can have nearly all of the loss: it is unbounded, outliers unexpected."""
    expects_outliers = "df" in family.parameters or {"logits", "scale"} <= set(family.parameters)
    is_half_line = hasattr(family.support, "lower_bound") and not hasattr(
        family.support, "upper_bound"
    )
    return not expects_outliers and (is_half_line or is_real(family.support))


def is_real(support: constraints.Constraint) -> bool:
    """Whether targets can be any real number, or each entry of independent ones can."""
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
    # where nearly all are one number, their range is zero
    units = (upper - lower, (others - middle).abs().max(), middle.abs(), torch.ones_like(middle))
    unit = next(unit for unit in units if unit > 0)
    distance = max(_DOMINANT_DISTANCE, _DOMINANT_DISTANCE_PER_ROW * len(values))
    return (values - middle).abs() > distance * unit


def with_min_scale(
    links: Mapping[str, Link], fixed: Mapping[str, Any], min_scale: float
) -> dict[str, Link]:
    """The links, of which that of the scale has a minimum.

    A scale that is fixed, or whose link has a minimum already, stays as it is.

    Args:
        links: parameter name -> link.
        fixed: the fixed parameters, by name.
        min_scale: in standard deviations of the target; 0 for none.
    """
    links = dict(links)
    name = next((name for name in SCALES if name in links), None)
    if min_scale and name is not None and name not in fixed and not links[name].lower:
        links[name] = links[name].shifted(min_scale ** SCALES[name])
    return links


def in_other_units(name: str, value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """The parameter `name` of the distribution of loc + scale * y, from that of y.

    Args:
        name: of a parameter of a family of real numbers.
        value: of the parameter, (...).
        loc: broadcast against `value`.
        scale: likewise, positive.
    """
    power = _POWERS[name]
    value = value * scale**power if power else value
    return value + loc if name == "loc" else value
