"""Groups of rows that depend on each other, such as those of one panel, person or site."""

from typing import Any

import torch
from torch import Size, Tensor

from disthead.arrays import as_array
from disthead.data.values import is_missing

__all__ = ["as_groups"]


def as_groups(
    groups: Any,
    shape: "tuple[int, ...] | Size",
    *,
    weight: Tensor | None = None,
    name: str = "groups",
) -> Tensor | None:
    """The number of each row's group, as int64 of the shape of the rows; None stays None.

    Groups are numbered from 0 in the order in which they occur.

    Args:
        groups: a label for each row, numbers or texts: a tensor, an array, a column of a table or a
            list.
        shape: of the rows.
        weight: of that shape; rows of weight 0 are not there, and their labels may be missing.
        name: what the groups are called in errors.

    Raises:
        ValueError: for another number of labels, and for missing ones, with the first such row.

    >>> as_groups(["anna", "ben", "anna"], (3,))
    tensor([0, 1, 0])
    """
    if groups is None:
        return None
    labels = groups.detach().cpu().numpy() if isinstance(groups, Tensor) else as_array(groups)
    if labels.shape != tuple(shape):
        raise ValueError(
            f"{name} must have one value per row, shape {tuple(shape)}, got {labels.shape}."
        )
    number: dict[Any, int] = {}
    of_rows = [number.setdefault(label, len(number)) for label in labels.reshape(-1).tolist()]
    indices = torch.tensor(of_rows, dtype=torch.long).reshape(shape)
    missing = torch.tensor([is_missing(label) for label in number] or [False])[indices]
    if weight is not None:
        missing = missing & (weight > 0).cpu()
    if bool(missing.any()):
        first = missing.nonzero()[0].tolist()
        raise ValueError(
            f"{name} must not be missing, got {int(missing.sum())} rows without one, the first at "
            f"row {first[0]}."
        )
    return indices
