"""Weights of rows: their checks, and the rows that are present.

A row of weight 0 is absent from all that is computed: its target may be missing or outside the
support.
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

_DOMINANT = 0.999  # share of the sum of all weights beyond which other rows do not matter
EXTREME_WEIGHTS = (
    "weights must be neither so large nor all so small that their sums, or products with losses, "
    "overflow: only their ratios matter, so divide them by their mean"
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
            table or a list. Truth values say which rows are present.
        shape: of the rows.
        name: what it is called in errors.
        device: of the result.
        may_be_empty: whether all weights may be zero, as in a batch without present rows.

    Raises:
        ValueError: for another shape, for weights that are negative, NaN or infinite, with their
            rows, and where no row has a weight above zero. Only weights on the CPU are checked,
            since reading those of another device makes the host wait.

    >>> as_weight([1, 0, 2.5], (3,))
    tensor([1.0000, 0.0000, 2.5000])
    """
    if weight is None:
        return None
    values = as_tensor(weight, name)
    if values.shape != tuple(shape):
        hint = f" Try {name}.squeeze(-1)." if values.shape == (*shape, 1) else ""
        raise ValueError(
            f"{name} must have one value per row, shape {tuple(shape)}, got "
            f"{tuple(values.shape)}.{hint}"
        )
    if values.is_complex():
        raise ValueError(f"{name} must be zero or more, got complex numbers.")
    if not values.is_floating_point():
        values = values.to(torch.get_default_dtype())
    values = values if device is None else values.to(device)
    if are_concrete(values):
        _check(values.detach(), name, may_be_empty)
    return values


def present(weight: Tensor | None, *parts: Any) -> tuple:
    """The weights, and the parts of each of `parts`, at the rows with a weight above zero.

    It is used as in `weight, dist, y = present(weight, dist, y)`. Where some weights are zero, the
    rows of the result are one dimension. Otherwise, and without weights, everything is returned as
    it is.

    Args:
        weight: of shape (...,), as `as_weight` returns it, or None.
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
    """The weighted quantiles of a sample, (L,).

    For each level q it is the least of the values at or below which lies the share q of the weight.
    A row of weight 2 counts as two rows.

    Args:
        values: the sample, (N,).
        levels: (L,), from 0 to 1.
        weight: one per value, (N,), above zero; None weighs all alike.

    >>> values, weight = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 4.0, 1.0])
    >>> weighted_quantiles(values, torch.tensor([0.5, 1.0]), weight)
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
    """Refuse weights of which one row has nearly all.

    Learning from them, or a mean over them, would rest on a single row.

    Args:
        weight: of the rows, (N,), or None.
        rows: their numbers in the table, for messages.
        reason: why such weights are refused, for messages.

    Raises:
        ValueError: with the share and the row.
    """
    if weight is None or len(weight) < 2:
        return
    share = weight.double() / weight.double().sum()
    row = int(share.argmax())
    if share[row] > _DOMINANT:
        raise ValueError(
            f"weights must be shared by several rows, got {100 * float(share[row]):.6g} % of their "
            f"sum over {len(weight)} rows at row {row if rows is None else int(rows[row])}: "
            f"{reason}."
        )


def extreme_weights(weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A mask of the weights, of their shape, that are too large or too small for this precision.

    Weights are too large where sums of them may overflow. Where the largest one is so small that
    products with losses lose digits, all weights above zero are marked.

    Args:
        weight: finite weights, zero or more.
        dtype: in which they are used; at least single precision.
    """
    precision = torch.finfo(torch.promote_types(dtype or weight.dtype, torch.float32))
    least, most = 1e6 * precision.tiny, precision.max**0.75
    largest = float(weight.max()) if weight.numel() else 0.0
    if 0 < largest < least:  # products with small losses would be subnormal
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
