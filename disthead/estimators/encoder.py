"""`Table` and `TableEncoder`: tables of scikit-learn's estimators, encoded by `disthead.data`."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch

from disthead.data.columns import check_single, number_targets
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

__all__ = ["Table", "TableEncoder", "check_names_differ"]


@dataclass(frozen=True)
class Table:
    """A table as columns.

    Attributes:
        columns: the values of each column.
        names: the names of a data frame's columns where they are texts, None otherwise.
        is_aligned: whether the table is a result of `TableEncoder.align`.
        row_constants: quantities of each row by name, (N,), whose columns are not among these.
    """

    columns: list[Values]
    names: list[str] | None
    is_aligned: bool = False
    row_constants: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def read(cls, X: Any) -> Self:
        """Read a table.

        Args:
            X: a two-dimensional array or tensor, a list of rows, or a data frame (pandas, polars,
                Arrow).

        Raises:
            ValueError: for another shape, no rows, no columns, complex numbers, or a column of
                numbers and texts.
            TypeError: for sparse matrices, and values that are neither number, text, truth value,
                date nor duration.
        """
        if hasattr(X, "to_pandas") and hasattr(X, "column_names"):
            X = X.to_pandas()
        if hasattr(X, "columns") and hasattr(X, "__getitem__"):
            labels = list(X.columns)
            names = cls._frame_names(labels)
            cls._check_size(len(X), len(labels))
            return cls([read_values(X[label], str(label)) for label in labels], names)
        array = cls._array(X)
        return cls(
            [read_values(column, f"x{position}") for position, column in enumerate(array.T)], None
        )

    @property
    def labels(self) -> list[str]:
        """The names of the columns; those of an array are x0, x1 ..."""
        return [values.name for values in self.columns]

    def __len__(self) -> int:
        return len(self.columns[0])

    def with_row_constants(self, columns: Mapping[str, "str | int"]) -> "Table":
        """The table in which some columns are quantities of each row, and no features.

        Args:
            columns: name of the quantity -> name of its column, or its number where columns have no
                names.

        Raises:
            ValueError: for columns that are not there, and where no other is left.
            DataError: for values that are missing or no numbers, with the row.
        """
        if not columns:
            return self
        by_label = {values.name: values for values in self.columns}
        constants, taken = {}, set()
        for quantity, column in columns.items():
            label = f"x{column}" if isinstance(column, int) else column
            if label not in by_label:
                raise ValueError(
                    f"row_constants says that {quantity} is the column {column!r} of X, which has "
                    f"the columns {listed(list(by_label), 20)}. Give X with this column to fit and "
                    "to predict."
                )
            numbers = number_targets(by_label[label])
            check_single(by_label[label], numbers)
            constants[quantity] = torch.from_numpy(numbers)
            taken.add(label)
        kept = [values for values in self.columns if values.name not in taken]
        if not kept:
            raise ValueError(
                f"X must have columns to learn from beside those of row_constants, got only "
                f"{listed(list(by_label))}."
            )
        names = None if self.names is None else [values.name for values in kept]
        return replace(self, columns=kept, names=names, row_constants=constants)

    @classmethod
    def _array(cls, X: Any) -> np.ndarray:
        if hasattr(X, "toarray"):
            raise TypeError("X must be dense, got a sparse matrix. Try X.toarray().")
        array = X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else rows_of(X)
        if array.ndim != 2:
            raise ValueError(
                f"Expected 2D array: X must have the shape (rows, columns), got {array.shape}. "
                "Reshape your data: X.reshape(-1, 1) if it is one column, X.reshape(1, -1) if it "
                "is one row."
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
    def _frame_names(labels: list[Any]) -> list[str] | None:
        check_names_differ(labels)
        is_text = [isinstance(label, str) for label in labels]
        if any(is_text) and not all(is_text):
            raise TypeError(
                f"column names must be all texts or all numbers, got {labels[:5]}. Try "
                "X.columns.astype(str)."
            )
        return [str(label) for label in labels] if all(is_text) else None


def check_names_differ(labels: list[Any], what: str = "columns") -> None:
    """Refuse a data frame with two columns of one name.

    Args:
        labels: the names of its columns.
        what: the columns, in errors.

    Raises:
        ValueError: with the names that occur more than once.
    """
    twice = sorted({str(label) for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(
            f"{what} must have a name of their own each, "
            f"{', '.join(map(repr, twice))} occurs twice."
        )


class TableEncoder:
    """The encoding of the columns of a table as features, by `disthead.data.encoder.Column`.

    Missing numbers are read as the median of the training rows; missing texts are a category of
    their own. A text that the training rows do not have sets no indicator, and a warning says so.

    Args:
        columns: the encoding of each column.
        named: whether the table has names of columns.

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
        """Learn categories and medians from the training rows.

        Columns that number the rows are left out, and a warning names them.

        Raises:
            DataError: for columns in which all values are missing, by name, and where no columns
                are left.
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
        learned = {finder.name: finder.found() for finder in finders}
        texts = [name for name, column in learned.items() if column.was_text]
        if texts:
            warn(text_warning(texts))
        if index:
            warn(
                f"{index_warning(index)} Drop it from X, or make it a number with a decimal point "
                "to learn from it all the same (astype(float))."
            )
        columns = [
            learned[name].column if name in learned else Column(name, [], 0.0)
            for name in table.labels
        ]
        unseen = Unseen()
        for column, values in zip(columns, table.columns, strict=True):
            unseen.add(column, column.align(values))
        if unseen:
            warn(unseen.message())
        return cls(columns, table.names is not None)

    @staticmethod
    def _index(table: Table) -> list[str]:
        # the columns of a data frame that number its rows; where all do, those named as an index
        if table.names is None:
            return []
        names = [values.name for values in table.columns if is_index(values)]
        return names if len(names) < len(table.columns) else list(filter(is_index_name, names))

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, such as `x1=red`."""
        return feature_names(self.columns)

    @property
    def numeric(self) -> list[int]:
        """The positions of the numbers in the feature vector; the other features are indicators."""
        return numeric(self.columns)

    def align(self, table: Table, model: str) -> Table:
        """The table with its columns checked and read as those of the fit.

        A warning names values that the training rows do not have.

        Args:
            table: the rows of a prediction.
            model: the name of the estimator, for messages.

        Raises:
            ValueError: for other columns, with those that are missing or new, and similar names.
            DataError: for columns of another kind.
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
            [column.align(values) for column, values in pairs],
            table.names,
            is_aligned=True,
            row_constants=table.row_constants,
        )

    def encode(self, table: Table, rows: slice = slice(None)) -> np.ndarray:
        """The features of these rows, (N, P), in double precision."""
        table = table if table.is_aligned else self._aligned(table)
        pairs = zip(self.columns, table.columns, strict=True)
        takes_all = rows == slice(None) or rows == slice(0, len(table))
        return np.concatenate(
            [column.encode(values if takes_all else values[rows]) for column, values in pairs], 1
        )

    def report(self) -> Iterator[str]:
        """Sentences on how the columns are encoded; none for plain numbers."""
        return report(self.columns)

    def _check_names(self, table: Table, model: str) -> None:
        if self.named != (table.names is not None):
            has, had = ("has", "without") if table.names else ("does not have valid", "with")
            warn(f"X {has} feature names, but {model} was fitted {had} feature names")
            return
        names = [column.name for column in self.columns]
        if table.labels == names or (table.names is None and set(table.labels) != set(names)):
            return
        new = sorted(set(table.labels) - set(names))
        missing = sorted(set(names) - set(table.labels))
        lines = ["The feature names should match those that were passed during fit."]
        if new:
            lines += [
                "Feature names unseen at fit time:",
                *_items(new, {name: _near(name, missing) for name in new}),
            ]
        if missing:
            lines += ["Feature names seen at fit time, yet now missing:", *_items(missing, {})]
        if not new and not missing:
            lines.append("Feature names must be in the same order as they were in fit.")
            lines.append("Try X[list(model.feature_names_in_)].")
        raise ValueError("\n".join(lines) + "\n")


def _near(name: str, names: list[str]) -> list[str]:
    lower = {other.lower(): other for other in names}
    matches = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return [lower[match] for match in matches]


def _items(names: list[str], near: dict[str, list[str]], limit: int = 10) -> list[str]:
    lines = [f"- {name}" for name in names[:limit]]
    hints = [
        f"{name!r} is like the missing {near[name][0]!r}"
        for name in names[:limit]
        if near.get(name)
    ]
    rest = [f"- ... ({len(names) - limit} more)"] if len(names) > limit else []
    return [*lines, *rest, *([f"({'; '.join(hints)}.)"] if hints else [])]
