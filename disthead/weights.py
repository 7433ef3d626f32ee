"""What a row counts: weights, checked in one place, and the rows that are there.

A weight of 0 means that the row is not there, before anything is computed: its target may be
missing or outside the support.
"""

from typing import Any

import torch
from torch import Size, Tensor

from disthead.arrays import as_tensor
from disthead.errors import locate
from disthead.special.eager import are_concrete

__all__ = [
    "EXTREME_WEIGHTS",
    "as_weight",
    "check_share",
    "extreme_weights",
    "present",
    "weighted_quantiles",
]

_WHOLE = 0.999  # share of the sum of all weights that leaves nothing for other rows
EXTREME_WEIGHTS = (
    "weights must be neither so large nor all so small that their sums, or products with losses, "
    "overflow: only their ratios "
    "matter, so divide them by their mean"
)


def as_weight(
    weight: Any,
    shape: "tuple[int, ...] | Size",
    *,
    name: str = "weight",
    device: torch.device | None = None,
    may_be_empty: bool = False,
) -> Tensor | None:
    """The weights of rows as a tensor; None stays None.

    Args:
        weight: one number for each row, finite and zero or more: a tensor, an array, a column of a
            table or a list. Truth values say which rows are there.
        shape: of the rows.
        name: what it is called in errors.
        device: where the weights are to be.
        may_be_empty: whether all weights may be zero, as in a batch of which no row is there.

    Raises:
        ValueError: for another shape, for weights that are negative, NaN or infinite, with their
            rows, and where no row has a weight above zero. On devices other than the CPU values are
            not looked at, since that stops the device.

    >>> as_weight([1, 0, 2.5], (3,))
    tensor([1.0000, 0.0000, 2.5000])
    """
    if weight is None:
        return None
    given = as_tensor(weight, name)
    if given.shape != tuple(shape):
        hint = f" Try {name}.squeeze(-1)." if given.shape == (*shape, 1) else ""
        raise ValueError(
            f"{name} must have one value per row, shape {tuple(shape)}, got "
            f"{tuple(given.shape)}.{hint}"
        )
    if given.is_complex():
        raise ValueError(f"{name} must be zero or more, got complex numbers.")
    if not given.is_floating_point():
        given = given.to(torch.get_default_dtype())
    given = given if device is None else given.to(device)
    if are_concrete(given):
        _check(given.detach(), name, may_be_empty)
    return given


def present(weight: Tensor | None, *parts: Any) -> tuple:
    """The weights and parts at the rows that are there: `weight, dist, y = present(weight, dist, y)`.

    Where some weights are zero, rows come out as one dimension, those with a weight above zero.
    Without such, and without weights, everything is returned as it is.

    Args:
        weight: of shape (...,), as `as_weight` gives it, or None.
        parts: distributions of batch_shape (...,), tensors of shape (..., *event_shape), and None,
            which stays None.

    >>> present(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([5.0, torch.nan, 7.0]))
    (tensor([1., 2.]), tensor([5., 7.]))
    """
    if weight is None:
        return (None, *parts)
    is_there = weight > 0
    if bool(is_there.all()):
        return (weight, *parts)
    return (weight[is_there], *(None if part is None else part[is_there] for part in parts))


def weighted_quantiles(values: Tensor, levels: Tensor, weight: Tensor | None = None) -> Tensor:
    """For each level q the least of the values (N,) below or at which lie the share q of the weight; a row of weight 2 is two.

    Args:
        levels: (L,), from 0 to 1.
        weight: one per value, above zero; None weighs all alike.

    >>> weighted_quantiles(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.5, 1.0]), torch.tensor([1.0, 4.0, 1.0]))
    tensor([1., 3.])
    """
    ordered = values.sort()
    weight = torch.ones_like(values, dtype=torch.float64) if weight is None else weight.double()
    up_to = weight[ordered.indices].cumsum(0)
    place = torch.searchsorted(up_to, levels.to(up_to) * up_to[-1])
    return ordered.values[place.clamp(max=len(values) - 1)]


def check_share(
    weight: Tensor | None,
    rows: Any = None,
    reason: str = "nothing can be learned from a single row",
) -> None:
    """Refuse weights (N,) of which one row has nearly all: neither learning nor a mean is of more than a single row.

    Args:
        rows: their numbers in the table, for messages.
        reason: why not, for messages.

    Raises:
        ValueError: with the share and the row.
    """
    if weight is None or len(weight) < 2:
        return
    share = weight.double() / weight.double().sum()
    row = int(share.argmax())
    if share[row] > _WHOLE:
        raise ValueError(
            f"weights must be shared by several rows, got {100 * float(share[row]):.6g} % of "
            "their sum over "
            f"{len(weight)} rows at row {row if rows is None else int(rows[row])}: {reason}."
        )


def extreme_weights(weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Which weights are too large to be added up in this precision, or all of them that are not zero, where all are too small."""
    precision = torch.finfo(torch.promote_types(dtype or weight.dtype, torch.float32))
    least, most = 1e6 * precision.tiny, precision.max**0.75
    largest = float(weight.max()) if weight.numel() else 0.0
    if 0 < largest < least:  # their products with small losses have fewer digits
        return weight > 0
    return weight > most if largest > most else torch.zeros_like(weight, dtype=torch.bool)


def _check(weight: Tensor, name: str, may_be_empty: bool) -> None:
    if not weight.numel():
        return
    least, most = weight.aminmax()
    if not (least >= 0 and most < torch.inf):  # NaN is neither
        bad = ~((weight >= 0) & (weight < torch.inf))
        raise ValueError(f"{name} must be finite and zero or more, got {locate(bad, weight)}.")
    bad = extreme_weights(weight)
    if bool(bad.any()):
        raise ValueError(f"{EXTREME_WEIGHTS}, got {locate(bad, weight)} for {name}.")
    if most == 0 and not may_be_empty:
        raise ValueError(
            f"{name} must be above zero in some row, got zero in all {weight.numel()} rows: no "
            "row is there to count."
        )
