"""Which rows are for training, for validation and for test: drawn at random, or said by a column."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from disthead.errors import pick
from disthead.training.table import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["PARTS", "split_at_random", "split_by_column"]

PARTS = ("train", "val", "test", "predict")
_LEAST = {"rows": 2, "row groups": 1}
_REMEDY = {"rows": "add rows", "row groups": "give val_path and test_path, or write smaller row groups"}


def split_at_random(count: int, unit: str, shares: Mapping[str, float | int], seed: int) -> dict[str, Tensor]:
    """Numbers below `count` for "val" and "test", drawn at random, and those that are left for "train"; each in order.

    Args:
        count: how many there are.
        unit: of what, "rows" or "row groups".
        shares: of "val" and "test": a part (below 1), or a number.
        seed: of the draw.

    Raises:
        DataError: where too few are left, or a part that is wanted would be empty.
    """
    sizes = {name: _size(f"{name}_size", share, count) for name, share in shares.items()}
    train, least = count - sum(sizes.values()), _LEAST[unit]
    if train < least or any(not sizes[name] and share > 0 for name, share in shares.items()):
        raise DataError(
            f"{count} {unit} are too few for this split: {train} for training ({least} or more are needed), "
            f"{sizes['val']} for validation, {sizes['test']} for test. Change val_size and test_size, or {_REMEDY[unit]}."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    parts = dict(zip(("test", "val", "train"), order.split([sizes["test"], sizes["val"], train]), strict=True))
    return {name: parts[name].sort().values for name in PARTS[:3]}


def _size(name: str, size: float | int, rows: int) -> int:
    if size < 0 or (size >= 1 and size != int(size)):
        raise ValueError(f"{name} must be a part of the rows, such as 0.2, or their number, such as 100, got {size}.")
    return int(size) if size >= 1 else round(size * rows)


def split_by_column(frame: "DataFrame", name: str) -> dict[str, Tensor]:
    """Numbers of the rows that hold "train", "val" and "test" in this column."""
    values = pick("column", name, {column: frame[column] for column in frame.columns}).astype(str).to_numpy()
    unknown = ~np.isin(values, PARTS[:3])
    if unknown.any():
        row = int(np.argmax(unknown))
        raise DataError(f"the split column {name!r} must hold train, val or test, got {values[row]!r} at row {row}.")
    split = {part: torch.from_numpy(np.flatnonzero(values == part)) for part in PARTS[:3]}
    if len(split["train"]) < 2:
        raise DataError(
            f"the split column {name!r} leaves {len(split['train'])} rows for training, 2 or more are needed."
        )
    return split
