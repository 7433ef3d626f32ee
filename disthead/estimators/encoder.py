"""`TableEncoder`: a table with texts and missing values becomes numbers, in the way that was found in the training rows."""

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch

from disthead.estimators.conventions import warn

__all__ = ["Column", "Table", "TableEncoder"]


@dataclass(frozen=True)
class Table:
    """A table as columns: numbers in double precision with NaN for what is missing, or texts with None.

    Attributes:
        columns: one array of N values each.
        names: those of a data frame's columns, None for an array.
    """

    columns: list[np.ndarray]
    names: list[str] | None

    @classmethod
    def read(cls, X: Any) -> Self:
        """From a two-dimensional array or tensor, a list of rows, or a data frame (pandas, polars).

        Raises:
            ValueError: for another shape, no rows, no columns, infinite or complex numbers, or a column of numbers and texts.
            TypeError: for sparse matrices, and values that are neither number nor text.
        """
        if hasattr(X, "columns") and hasattr(X, "__getitem__"):
            given = list(X.columns)
            names = cls._frame_names(given)
            values = [np.asarray(X[name]) for name in given]
            cls._check_size(len(X), len(values))
        else:
            array = cls._array(X)
            names, values = None, list(array.T)
        labels = names or [f"x{position}" for position in range(len(values))]
        return cls([_values(column, label) for column, label in zip(values, labels, strict=True)], names)

    @property
    def labels(self) -> list[str]:
        return self.names or [f"x{position}" for position in range(len(self.columns))]

    def __len__(self) -> int:
        return len(self.columns[0])

    @classmethod
    def _array(cls, X: Any) -> np.ndarray:
        if hasattr(X, "toarray"):
            raise TypeError("X must be dense, got a sparse matrix. Try X.toarray().")
        array = X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else np.asarray(X)
        if array.ndim != 2:
            raise ValueError(
                f"Expected 2D array: X must have the shape (rows, columns), got {array.shape}. Reshape your data: "
                "X.reshape(-1, 1) if it is one column, X.reshape(1, -1) if it is one row."
            )
        cls._check_size(*array.shape)
        return array

    @staticmethod
    def _check_size(rows: int, columns: int) -> None:
        for count, what in ((rows, "sample(s)"), (columns, "feature(s)")):
            if not count:
                raise ValueError(
                    f"Found array with 0 {what} (shape=({rows}, {columns})) while a minimum of 1 is required."
                )

    @staticmethod
    def _frame_names(given: list[Any]) -> list[str] | None:
        twice = sorted({str(name) for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"columns must have a name of their own each, {', '.join(map(repr, twice))} occurs twice.")
        text = [isinstance(name, str) for name in given]
        if any(text) and not all(text):
            raise TypeError(
                f"column names must be all texts or all numbers, got {given[:5]}. Try X.columns.astype(str)."
            )
        return [str(name) for name in given] if all(text) else None


def _values(column: np.ndarray, label: str) -> np.ndarray:
    """Numbers in double precision, or texts in an object array."""
    if column.dtype.kind == "c":
        raise ValueError(f"Complex data not supported, got it in column {label!r}.")
    if column.dtype.kind in "mM":
        raise ValueError(f"column {label!r} holds dates; turn them into numbers, such as days since the first one.")
    if column.dtype.kind in "biuf":
        return _finite(column.astype(np.float64), label)
    values = column.tolist()
    present = [value for value in values if not _is_missing(value)]
    numeric = [isinstance(value, (int, float, np.number, np.bool_)) for value in present]
    if all(numeric):
        return _finite(np.array([np.nan if _is_missing(v) else float(v) for v in values], dtype=np.float64), label)
    if any(numeric):
        row = next(row for row, value in enumerate(values) if isinstance(value, str))
        raise ValueError(
            f"column {label!r} must hold numbers or texts, got both: {len(numeric) - sum(numeric)} of {len(values)} rows "
            f"are text, such as {values[row]!r} at row {row}. Make them missing (NaN), or make all of them text."
        )
    for row, value in enumerate(values):
        if isinstance(value, complex):
            raise ValueError(f"Complex data not supported, got it in column {label!r}.")
        if not (isinstance(value, (str, bytes)) or _is_missing(value)):
            raise TypeError(
                f"argument must be a string or a number, got {type(value).__name__} in column {label!r} at row {row}."
            )
    return np.array([None if _is_missing(value) else str(value) for value in values], dtype=object)


def _is_missing(value: Any) -> bool:
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _finite(values: np.ndarray, label: str) -> np.ndarray:
    infinite = np.isinf(values)
    if infinite.any():
        raise ValueError(
            f"X contains infinity or a value too large: {int(infinite.sum())} of {len(values)} in column {label!r}, the "
            f"first at row {int(infinite.argmax())}. Make it missing (NaN) or a finite number."
        )
    return values


@dataclass(frozen=True)
class Column:
    """What was found in one column of the training rows.

    Attributes:
        name: of the column.
        categories: the texts, in order; None for numbers.
        fill: for numbers, the median, which stands for missing ones.
        has_missing: whether values are missing, so that there is an indicator for it.
    """

    name: str
    categories: list[str] | None
    fill: float
    has_missing: bool

    @property
    def width(self) -> int:
        return (1 if self.categories is None else len(self.categories)) + self.has_missing

    @property
    def feature_names(self) -> list[str]:
        names = [self.name] if self.categories is None else [f"{self.name}={value}" for value in self.categories]
        return [*names, f"{self.name} is missing"] if self.has_missing else names

    @classmethod
    def find(cls, name: str, values: np.ndarray) -> Self:
        if values.dtype != object:
            missing = np.isnan(values)
            return cls(name, None, float(np.median(values[~missing])), bool(missing.any()))
        missing = np.array([value is None for value in values])
        categories = sorted(set(values[~missing]))
        if len(categories) > 50 and len(categories) > 0.5 * len(values):
            raise ValueError(
                f"column {name!r} has {len(categories)} different texts in {len(values)} rows: it seems to name the rows, "
                f"or to hold numbers as text, such as {categories[0]!r}. Leave it out, or turn it into numbers."
            )
        return cls(name, categories, 0.0, bool(missing.any()))

    def places(self, values: np.ndarray) -> np.ndarray:
        """For texts, which indicator each row sets: its category, the last one for missing, -1 for none."""
        assert self.categories is not None
        place: dict[str | None, int] = {category: k for k, category in enumerate(self.categories)}
        if self.has_missing:
            place[None] = len(self.categories)
        return np.array([place.get(value, -1) for value in values], dtype=np.int64)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """(N,) -> (N, width)."""
        if self.categories is not None:
            return (self.places(values)[:, None] == np.arange(self.width)).astype(np.float64)
        missing = np.isnan(values)
        filled = np.where(missing, self.fill, values)
        return np.stack([filled, missing.astype(np.float64)], 1) if self.has_missing else filled[:, None]

    def align(self, values: np.ndarray) -> np.ndarray:
        """The values, which must be of the kind that was found; missing ones are of every kind."""
        is_text, was_text = values.dtype == object, self.categories is not None
        if is_text == was_text:
            return values
        if was_text and np.isnan(values).all():
            return np.full(len(values), None)
        was, got = ("texts", "numbers") if was_text else ("numbers", "texts")
        raise ValueError(f"column {self.name!r} held {was} at fit, got {got}.")

    def strangers(self, values: np.ndarray) -> str:
        """What training has never seen in these rows, in words; nothing where there is nothing."""
        if self.categories is None:
            count = 0 if self.has_missing else int(np.isnan(values).sum())
            return f"column {self.name!r}: {count} missing numbers, read as the median {self.fill:g}" if count else ""
        unknown = [value for value, place in zip(values, self.places(values), strict=True) if place < 0]
        if not unknown:
            return ""
        named = sorted({"missing" if value is None else repr(value) for value in unknown})
        seen = f"{', '.join(named[:3])}{', ...' if len(named) > 3 else ''}"
        return f"column {self.name!r}: {len(unknown)} rows with {seen}, which set no indicator"


class TableEncoder:
    """Columns -> features: numbers as they are, texts as indicators, an indicator for what is missing.

    Missing numbers are read as the median of the training rows; missing texts are a category of their own. A text that
    training has not seen sets no indicator, and a warning says so.

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
        """Find categories and medians.

        Raises:
            ValueError: for columns in which all values are missing, by name.
        """
        named = list(zip(table.labels, table.columns, strict=True))
        empty = [name for name, values in named if values.dtype != object and np.isnan(values).all()]
        if empty:
            raise ValueError(
                f"all values are missing in {_list(empty)}: leave {'it' if len(empty) == 1 else 'them'} out."
            )
        return cls([Column.find(name, values) for name, values in named], table.names is not None)

    @property
    def feature_names(self) -> list[str]:
        return [name for column in self.columns for name in column.feature_names]

    @property
    def numeric(self) -> list[int]:
        """The positions of the numbers among the features; the others are indicators."""
        ends = np.cumsum([column.width for column in self.columns])
        return [int(end) - c.width for end, c in zip(ends, self.columns, strict=True) if c.categories is None]

    def align(self, table: Table, model: str) -> Table:
        """The table, once its columns are those of the fit; a warning names values that training has never seen.

        Raises:
            ValueError: naming the columns that are missing or new, and those that have nearly their names.
        """
        self._check_names(table, model)
        if len(table.columns) != len(self.columns):
            raise ValueError(
                f"X has {len(table.columns)} features, but {model} is expecting {len(self.columns)} features as input"
                + (f": {_list([column.name for column in self.columns], 20)}." if self.named else ".")
            )
        pairs = list(zip(self.columns, table.columns, strict=True))
        aligned = Table([column.align(values) for column, values in pairs], table.names)
        strange = [column.strangers(v) for column, v in zip(self.columns, aligned.columns, strict=True)]
        if any(strange):
            warn(f"{model} has not seen at fit: {'; '.join(filter(None, strange))}.")
        return aligned

    def encode(self, table: Table, rows: slice = slice(None)) -> np.ndarray:
        """The rows as features (N, P), in double precision."""
        parts = [column.encode(values[rows]) for column, values in zip(self.columns, table.columns, strict=True)]
        return np.concatenate(parts, 1)

    def report(self) -> Iterator[str]:
        """What was done to the columns, in sentences; nothing for plain numbers."""
        for column in self.columns:
            if column.categories is not None:
                missing = ", one of them for missing" if column.has_missing else ""
                yield f"{column.name}: text, {column.width} indicators{missing} ({_list(column.categories)})."
            elif column.has_missing:
                yield f"{column.name}: missing numbers are read as the median {column.fill:g}, with an indicator."

    @property
    def state(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {"columns": [asdict(column) for column in self.columns], "named": self.named}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls([Column(**column) for column in state["columns"]], state["named"])

    def _check_names(self, table: Table, model: str) -> None:
        if self.named != (table.names is not None):
            has, had = ("has", "without") if table.names else ("does not have valid", "with")
            warn(f"X {has} feature names, but {model} was fitted {had} feature names")
            return
        known = [column.name for column in self.columns]
        if table.names is None or table.names == known:
            return
        new = sorted(set(table.names) - set(known))
        missing = sorted(set(known) - set(table.names))
        lines = ["The feature names should match those that were passed during fit."]
        if new:
            lines += ["Feature names unseen at fit time:", *_items(new, {n: _near(n, missing) for n in new})]
        if missing:
            lines += ["Feature names seen at fit time, yet now missing:", *_items(missing, {})]
        if not new and not missing:
            lines.append("Feature names must be in the same order as they were in fit.")
            lines.append("Try X[list(model.feature_names_in_)].")
        raise ValueError("\n".join(lines) + "\n")


def _near(name: str, names: list[str]) -> list[str]:
    lower = {other.lower(): other for other in names}
    return [lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)]


def _items(names: list[str], near: dict[str, list[str]], limit: int = 10) -> list[str]:
    lines = [f"- {name}" for name in names[:limit]]
    hints = [f"{name!r} is like the missing {near[name][0]!r}" for name in names[:limit] if near.get(name)]
    rest = [f"- ... ({len(names) - limit} more)"] if len(names) > limit else []
    return [*lines, *rest, *([f"({'; '.join(hints)}.)"] if hints else [])]


def _list(names: list[str], limit: int = 5) -> str:
    return ", ".join(map(repr, names[:limit])) + (f" and {len(names) - limit} more" if len(names) > limit else "")
