"""Standardised targets: which families take them, their location and scale, and what changes in a head with the unit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.families.family import Family
from disthead.links import Link

__all__ = [
    "MIN_SCALE",
    "SCALES",
    "check_precision",
    "in_other_units",
    "location_and_scale",
    "why_not",
    "with_min_scale",
]

MIN_SCALE = 1e-4  # of a standardised target: far below any honest scale
SCALES = {
    "scale": 1,
    "scale_tril": 1,
    "cov_diag": 2,
}  # parameters that can collapse -> power of the target's unit in them
_POWERS = SCALES | {"loc": 1, "cov_factor": 1, "df": 0, "logits": 0}


def why_not(family: Family, fixed: Mapping[str, Any]) -> str | None:
    """Why targets of this family cannot be standardised; None where they can.

    Only real numbers can be moved and stretched: counts, proportions, directions and classes have an origin or a unit of
    their own.
    """
    support = family.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is not constraints.real:
        return f"the targets of {family.name} ({family.domain}) have an origin or a unit of their own"
    is_plain = family.event_dim == 0 and not family.shapes
    for name in fixed:
        if _POWERS.get(name, 1) and not (is_plain and name in ("loc", "scale")):
            return f"the fixed {name} of {family.name} cannot be put into other units"
    return None


def location_and_scale(y: Tensor, weight: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of targets (N, *event_shape), weighted, in this precision; the scale of constant ones is 1.

    Raises:
        ValueError: for targets that vary by less than the precision can tell.
    """
    y = y.double()
    if weight is None:
        loc, scale = y.mean(0), y.std(0, correction=0)
    else:
        share = (weight.double() / weight.double().sum()).reshape(-1, *(1,) * (y.ndim - 1))
        loc = (share * y).sum(0)
        scale = (share * (y - loc).square()).sum(0).sqrt()
    scale = torch.where(y.amin(0) < y.amax(0), scale, 0.0)
    check_precision(scale, y.abs().amax(0), dtype, "the target")
    return loc.to(dtype), torch.where(scale > 0, scale, 1.0).to(dtype)


def check_precision(scale: Tensor, level: Tensor, dtype: torch.dtype, what: str) -> None:
    """Refuse numbers that vary about their level (their largest absolute value) by less than the precision can tell."""
    lost = (scale > 0) & (scale < 1e-4 * level) & (level * torch.finfo(dtype).eps > 1e-3 * scale)
    if lost.any():
        column = f" in column {int(lost.reshape(-1).nonzero()[0])}" if lost.ndim else ""
        raise ValueError(
            f"{what} varies by {scale[lost][0]:.3g} about {level[lost][0]:.7g}{column}, too little for {dtype} to tell. "
            "Subtract a constant from it first."
        )


def with_min_scale(links: Mapping[str, Link], fixed: Mapping[str, Any], min_scale: float) -> dict[str, Link]:
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
