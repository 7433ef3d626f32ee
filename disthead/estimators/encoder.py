"""`Table` and `TableEncoder`: a table for scikit-learn's estimators, whose columns are encoded as everywhere (`disthead.data`)."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from disthead.data.encoder import (
    Column,
    Finder,
    Unseen,
    feature_names,
    index_warning,
    is_index,
    is_index_name,
    listed,
    numeric,
    report,
    text_warning,
)
from disthead.data.values import DataError, Values, read_values, rows_of
from disthead.estimators.conventions import warn

__all__ = ["Table", "TableEncoder"]


@dataclass(frozen=True)
class Table:
    """A table as columns.

    Attributes:
        columns: the values of each.
        names: those of a data frame's columns if they are texts, None otherwise.
        is_aligned: whether the columns went through `TableEncoder.align`.
    """

    columns: list[Values]
    names: list[str] | None
    is_aligned: bool = False

    @classmethod
    def read(cls, X: Any) -> Self:
        """From a two-dimensional array or tensor, a list of rows, or a data frame (pandas, polars, Arrow).

        Raises:
            ValueError: for another shape, no rows, no columns, complex numbers, or a column of
                numbers and texts.
            TypeError: for sparse matrices, and values that are neither number, text, truth value,
                date nor duration.
        """
        if hasattr(X, "to_pandas") and hasattr(X, "column_names"):
            X = X.to_pandas()
        if hasattr(X, "columns") and hasattr(X, "__getitem__"):
            given = list(X.columns)
            names = cls._frame_names(given)
            cls._check_size(len(X), len(given))
            return cls([read_values(X[name], str(name)) for name in given], names)
        array = cls._array(X)
        return cls(
            [read_values(column, f"x{position}") for position, column in enumerate(array.T)], None
        )

    @property
    def labels(self) -> list[str]:
        return [values.name for values in self.columns]

    def __len__(self) -> int:
        return len(self.columns[0])

    @classmethod
    def _array(cls, X: Any) -> np.ndarray:
        if hasattr(X, "toarray"):
            raise TypeError("X must be dense, got a sparse matrix. Try X.toarray().")
        array = X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else rows_of(X)
        if array.ndim != 2:
            raise ValueError(
                f"Expected 2D array: X must have the shape (rows, columns), got {array.shape}. "
                "Reshape your data: "
                "X.reshape(-1, 1) if it is one column, X.reshape(1, -1) if it is one row."
            )
        cls._check_size(*array.shape)
        return array

    @staticmethod
    def _check_size(rows: int, columns: int) -> None:
        for count, what in ((rows, "sample(s)"), (columns, "feature(s)")):
            if not count:
                raise ValueError(
                    f"Found array with 0 {what} (shape=({rows}, {columns})) while a minimum of 1 "
                    "is required."
                )

    @staticmethod
    def _frame_names(given: list[Any]) -> list[str] | None:
        twice = sorted({str(name) for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(
                "columns must have a name of their own each, "
                f"{', '.join(map(repr, twice))} occurs twice."
            )
        text = [isinstance(name, str) for name in given]
        if any(text) and not all(text):
            raise TypeError(
                f"column names must be all texts or all numbers, got {given[:5]}. Try "
                "X.columns.astype(str)."
            )
        return [str(name) for name in given] if all(text) else None


class TableEncoder:
    """Columns -> features, as `disthead.data.encoder.Column` says.

    Missing numbers are read as the median of the training rows; missing texts are a category of
    their own. A text that training has not seen sets no indicator, and a warning says so.

    >>> encoder = TableEncoder.fit(Table.read([[1.0, "red"], [None, "blue"], [3.0, "red"]]))
    >>> encoder.feature_names
    ['x0', 'x0 is missing', 'x1=blue', 'x1=red']
    >>> encoder.encode(Table.read([[None, "red"]]))
    array([[2., 1., 0., 1.]])
    """

    def __init__(self, columns: list[Column], named: bool):
        self.columns, self.named = columns, named

    @classmethod
    def fit(cls, table: Table) -> Self:
        """Find categories and medians; a warning names columns that are left out, since they number the rows.

        Raises:
            ValueError: for columns in which all values are missing, by name.
        """
        index = cls._index(table)
        finders = [Finder(v.name).add(v) for v in table.columns if v.name not in index]
        empty = [finder.name for finder in finders if finder.is_empty]
        if empty:
            raise DataError(
                f"all values are missing in {listed(empty)}: leave "
                f"{'it' if len(empty) == 1 else 'them'} out."
            )
        if not finders:
            raise DataError(f"there is nothing to learn from: {index_warning(index)}")
        found = {finder.name: finder.found() for finder in finders}
        texts = [name for name, own in found.items() if own.was_text]
        if texts:
            warn(text_warning(texts))
        if index:
            warn(
                f"{index_warning(index)} Drop it from X, or make it a number with a decimal point "
                "to learn from it all the "
                "same (astype(float))."
            )
        columns = [
            found[name].column if name in found else Column(name, [], 0.0) for name in table.labels
        ]
        unseen = Unseen()
        for column, values in zip(columns, table.columns, strict=True):
            unseen.add(column, column.align(values))
        if unseen:
            warn(unseen.message())
        return cls(columns, table.names is not None)

    @staticmethod
    def _index(table: Table) -> list[str]:
        """Columns of a data frame that number its rows; where nothing else is left, only those that pandas names so."""
        if table.names is None:
            return []
        found = [values.name for values in table.columns if is_index(values)]
        return found if len(found) < len(table.columns) else list(filter(is_index_name, found))

    @property
    def feature_names(self) -> list[str]:
        return feature_names(self.columns)

    @property
    def numeric(self) -> list[int]:
        """The positions of the numbers among the features; the others are indicators."""
        return numeric(self.columns)

    def align(self, table: Table, model: str) -> Table:
        """The table, once its columns are those of the fit; a warning names values that training has never seen.

        Raises:
            ValueError: naming the columns that are missing or new, and those that have nearly their
                names.
        """
        self._check_names(table, model)
        if len(table.columns) != len(self.columns):
            raise ValueError(
                f"X has {len(table.columns)} features, but {model} is expecting "
                f"{len(self.columns)} features as input"
                + (
                    f": {listed([column.name for column in self.columns], 20)}."
                    if self.named
                    else "."
                )
            )
        aligned, unseen = self._aligned(table), Unseen()
        for column, values in zip(self.columns, aligned.columns, strict=True):
            unseen.add(column, values)
        if unseen:
            warn(unseen.message(f"{model} has not seen at fit:"))
        return aligned

    def _aligned(self, table: Table) -> Table:
        pairs = zip(self.columns, table.columns, strict=True)
        return Table(
            [column.align(values) for column, values in pairs], table.names, is_aligned=True
        )

    def encode(self, table: Table, rows: slice = slice(None)) -> np.ndarray:
        """The rows as features (N, P), in double precision."""
        table = table if table.is_aligned else self._aligned(table)
        pairs = zip(self.columns, table.columns, strict=True)
        whole = rows == slice(None) or rows == slice(0, len(table))
        return np.concatenate(
            [column.encode(values if whole else values[rows]) for column, values in pairs], 1
        )

    def report(self) -> Iterator[str]:
        """What was done to the columns, in sentences; nothing for plain numbers."""
        return report(self.columns)

    def _check_names(self, table: Table, model: str) -> None:
        if self.named != (table.names is not None):
            has, had = ("has", "without") if table.names else ("does not have valid", "with")
            warn(f"X {has} feature names, but {model} was fitted {had} feature names")
            return
        known = [column.name for column in self.columns]
        if table.labels == known or (table.names is None and set(table.labels) != set(known)):
            return
        new = sorted(set(table.labels) - set(known))
        missing = sorted(set(known) - set(table.labels))
        lines = ["The feature names should match those that were passed during fit."]
        if new:
            lines += [
                "Feature names unseen at fit time:",
                *_items(new, {n: _near(n, missing) for n in new}),
            ]
        if missing:
            lines += ["Feature names seen at fit time, yet now missing:", *_items(missing, {})]
        if not new and not missing:
            lines.append("Feature names must be in the same order as they were in fit.")
            lines.append("Try X[list(model.feature_names_in_)].")
        raise ValueError("\n".join(lines) + "\n")


def _near(name: str, names: list[str]) -> list[str]:
    lower = {other.lower(): other for other in names}
    return [
        lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    ]


def _items(names: list[str], near: dict[str, list[str]], limit: int = 10) -> list[str]:
    lines = [f"- {name}" for name in names[:limit]]
    hints = [
        f"{name!r} is like the missing {near[name][0]!r}"
        for name in names[:limit]
        if near.get(name)
    ]
    rest = [f"- ... ({len(names) - limit} more)"] if len(names) > limit else []
    return [*lines, *rest, *([f"({'; '.join(hints)}.)"] if hints else [])]
