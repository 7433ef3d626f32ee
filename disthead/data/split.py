"""The split of rows into training, validation and test; the rows of a group stay together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from disthead.arrays import as_number
from disthead.data.table import DataError
from disthead.errors import pick, warn

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "PARTS",
    "RepeatedRowsWarning",
    "draw_folds",
    "equal_rows",
    "numbered",
    "row_numbers",
    "split_at_random",
    "split_by_column",
    "warn_of_copies",
]

PARTS = ("train", "val", "test", "predict")
_LEAST = {"rows": 2, "row groups": 1}
_REMEDY = {
    "rows": "add rows",
    "row groups": "give val_path and test_path, or write smaller row groups",
}

_SHARING_ROWS = 20  # so many rows with the same features show that these do not identify a row


class RepeatedRowsWarning(UserWarning):
    """Rows that repeat others, so that rows held out at random would not be independent."""


def numbered(groups: Tensor) -> Tensor:
    """Group numbers, (N,), renumbered from 0 in the order in which the groups occur.

    >>> numbered(torch.tensor([7, 7, 3, 7, 5]))
    tensor([0, 0, 1, 0, 2])
    """
    values, groups = groups.unique(return_inverse=True)
    rows = torch.arange(len(groups), device=groups.device)
    first = torch.full((len(values),), len(groups), device=groups.device).scatter_reduce(
        0, groups, rows, "amin"
    )
    return first.argsort().argsort()[groups]


def equal_rows(row: Tensor, copy: Tensor, least: int) -> Tensor:
    """The group of each row, (N,): rows with equal features belong to one group.

    Features that 20 rows or more share, with different targets, do not identify a row (a table of a
    few categories): each of these rows is a group of its own. Where that leaves fewer than `least`
    groups, so is each row whose features two or more rows share.

    Args:
        row: a number for each row, (N,), equal where features are (`row_numbers`).
        copy: a number for each row, (N,), equal where features and targets are.
        least: the number of groups that there should be.
    """
    size = row.bincount()
    if len(size) == len(row):
        return row
    targets = _different(row, copy)
    groups = row
    for sharing_rows in (_SHARING_ROWS, 2):
        is_shared = ((size >= sharing_rows) & (targets > 1))[row]
        groups = numbered(
            torch.where(is_shared, len(size) + torch.arange(len(row), device=row.device), row)
        )
        if int(groups.max()) + 1 >= least:
            break
    return groups


def _different(groups: Tensor, values: Tensor) -> Tensor:
    """The number of different values of each group."""
    return torch.stack([groups, values], 1).unique(dim=0)[:, 0].bincount()


def warn_of_copies(groups: Tensor, copy: Tensor, remedy: str) -> None:
    """Warn where one row in a hundred, or more, repeats features and target of another row.

    Args:
        groups: the group of each row, (N,), from `equal_rows`.
        copy: a number for each row, (N,), as for `equal_rows`.
        remedy: how to say which rows belong together, for the message.
    """
    rows, size = len(groups), groups.bincount()
    copies = int((size - 1)[_different(groups, copy) == 1].sum())
    if copies >= 0.01 * rows:
        warn(
            f"{copies} of {rows} rows repeat the features and the target of another row. Rows with "
            "equal features are held out together, since copies of a row in training would tell "
            "its target. If oversampling made them, weights say the same in less time; if they "
            f"belong to one person, site or panel, {remedy}.",
            RepeatedRowsWarning,
        )


def row_numbers(rows: Tensor) -> Tensor:
    """A number from 0 for each row of (N, P), the same for equal rows, in the order of occurrence.

    >>> row_numbers(torch.tensor([[2.0, 0.0], [1.0, 5.0], [2.0, -0.0]]))
    tensor([0, 1, 0])
    """
    return numbered(_hash(rows))


def _hash(rows: Tensor) -> Tensor:
    """A hash of 64 bits for each row of (N, P), equal where rows are."""
    bits = (rows.double() + 0.0).contiguous().view(torch.int64)  # -0.0 becomes 0.0
    result = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    for column in bits.unbind(1):  # the finaliser of MurmurHash3, by Austin Appleby
        for factor in (-49064778989728563, -4265267296055464877):
            column = (column ^ (column >> 33)) * factor
        result = (result ^ column ^ (column >> 33)) * 31 + 1
    return result


def draw_folds(groups: Tensor, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """The fold of each row, (N,), drawn at random in whole groups.

    The folds come as near to their sizes as whole groups allow; groups of one row each give exactly
    these sizes. The other rows have the number `len(sizes)`, and so do those of a group with more
    than half of all rows. Where no group would be in any fold, the smallest one is in the first.

    Args:
        groups: the group of each row, (N,), numbered from 0.
        sizes: of the folds, in rows.
        generator: of the draw.
    """
    groups = groups.cpu()
    size = groups.bincount()
    order = torch.randperm(len(size), generator=generator)
    # groups that fit into no fold are last
    order = order[(size[order] > max(sizes)).to(torch.uint8).argsort(stable=True)]
    middle = size[order].cumsum(0) - 0.5 * size[order]
    fold = torch.searchsorted(torch.tensor(sizes).cumsum(0).double(), middle, right=True)
    fold[size[order] > 0.5 * len(groups)] = len(sizes)
    if bool((fold == len(sizes)).all()) and max(sizes):
        fold[size[order].argmin()] = 0
    return torch.empty_like(fold).scatter(0, order, fold)[groups]


def split_at_random(
    count: int,
    unit: str,
    shares: Mapping[str, float | int],
    seed: int,
    groups: Tensor | None = None,
) -> dict[str, Tensor]:
    """A random split of `count` rows: their numbers for "train", "val" and "test", each sorted.

    Args:
        count: the number of rows, or of row groups.
        unit: "rows" or "row groups".
        shares: of "val" and "test": a share (below 1), or a number of rows.
        seed: of the draw.
        groups: the group of each row, (count,), numbered from 0: whole groups are drawn, and parts
            are as large as these allow. None takes each row by itself.

    Raises:
        DataError: where too few rows are left for training, or a part would be empty.
    """
    sizes = {name: _size(f"{name}_size", share, count) for name, share in shares.items()}
    train, least = count - sum(sizes.values()), _LEAST[unit]
    if train < least or any(not sizes[name] and share > 0 for name, share in shares.items()):
        raise DataError(
            f"{count} {unit} are too few for this split: {train} for training ({least} or more are "
            f"needed), {sizes['val']} for validation, {sizes['test']} for test. Change val_size "
            f"and test_size, or {_REMEDY[unit]}."
        )
    groups = torch.arange(count) if groups is None else groups
    fold = draw_folds(groups, [sizes["test"], sizes["val"]], torch.Generator().manual_seed(seed))
    parts = {
        name: (fold == place).nonzero().flatten()
        for place, name in enumerate(("test", "val", "train"))
    }
    empty = [
        name for name in PARTS[:3] if not len(parts[name]) and (name == "train" or sizes[name])
    ]
    if empty:
        raise DataError(
            f"{int(groups.max()) + 1} groups of rows are too few for this split, none is left for "
            f"{' and '.join(empty)}. "
            "Give a split_column, or val_path and test_path."
        )
    return {name: parts[name] for name in PARTS[:3]}


def _size(name: str, size: float | int, rows: int) -> int:
    as_number(
        size,
        name,
        "a part of the rows, such as 0.2, or their number, such as 100",
        lambda share: 0 <= share < 1 or (share >= 1 and share.is_integer()),
    )
    return int(size) if size >= 1 else round(size * rows)


def split_by_column(frame: "DataFrame", name: str) -> dict[str, Tensor]:
    """The numbers of the rows that hold "train", "val" and "test" in a column.

    Args:
        frame: the table.
        name: of the column.

    Raises:
        DataError: for other values, and for fewer than two rows for training.
    """
    values = (
        pick("column", name, {column: frame[column] for column in frame.columns})
        .astype(str)
        .to_numpy()
    )
    unknown = ~np.isin(values, PARTS[:3])
    if unknown.any():
        row = int(np.argmax(unknown))
        raise DataError(
            f"the split column {name!r} must hold train, val or test, got {values[row]!r} at row "
            f"{row}."
        )
    split = {part: torch.from_numpy(np.flatnonzero(values == part)) for part in PARTS[:3]}
    if len(split["train"]) < 2:
        raise DataError(
            f"the split column {name!r} leaves {len(split['train'])} rows for training, 2 or more "
            "are needed."
        )
    return split
