"""`Columns`: which columns of a table mean what, and how they become tensors."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from disthead.errors import unknown_name
from disthead.training.table import DataError, check_complete, is_text, numbers

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Columns", "Encoded", "check_spread", "distinct"]


class Encoded(NamedTuple):
    """A table as tensors, all rows in their order: features (N, P), y (N,) or (N, D), weight (N,), known by name (N,)."""

    features: Tensor
    y: Tensor | None
    weight: Tensor | None
    known: dict[str, Tensor]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Encoded":
        """The function of each tensor."""
        y, weight = (None if values is None else function(values) for values in (self.y, self.weight))
        return Encoded(function(self.features), y, weight, {name: function(v) for name, v in self.known.items()})

    def at(self, chosen: "Tensor | slice") -> "Encoded":
        """Some of its rows."""
        if isinstance(chosen, slice):
            return self.map(lambda values: values[chosen])
        return self.map(lambda values: values.index_select(0, chosen))  # several times as fast as values[chosen]

    def single(self) -> "Encoded":
        """Numbers in single precision; class indices stay integers."""
        return self.map(lambda values: values.float() if values.is_floating_point() else values)

    @classmethod
    def joined(cls, tables: Sequence["Encoded"]) -> "Encoded":
        """The rows of several tables with the same columns, one after the other."""
        if len(tables) == 1:
            return tables[0]
        features, y, weight, known = zip(*tables, strict=True)
        return cls(
            torch.cat(features),
            None if y[0] is None else torch.cat(y),
            None if weight[0] is None else torch.cat(weight),
            {name: torch.cat([values[name] for values in known]) for name in known[0]},
        )


@dataclass(frozen=True)
class Columns:
    """The part of each column, found in the training data; plain data, so that it travels in a checkpoint.

    Attributes:
        features: feature name -> its categories in their order, or None for a number.
        target: names of the target columns.
        classes: target name -> class names, for targets given as text.
        known: quantity of the family -> column, such as `{"exposure": "months"}`.
        weight: the column of the weights.
    """

    features: dict[str, list[str] | None]
    target: list[str]
    classes: dict[str, list[str]]
    known: dict[str, str]
    weight: str | None

    @classmethod
    def find(cls, frame: "DataFrame", train: np.ndarray, **roles: Any) -> Self:
        """The columns of `frame`, with the categories that occur in the rows `train`.

        Args:
            frame: all rows.
            train: the rows of training, by number.
            roles: of `Columns.roles`.

        Raises:
            DataError: for unknown, constant or empty columns.
        """
        columns = cls.roles(frame, **roles)
        for name in [*columns.features, *columns.target]:
            _check_varies(frame[name])
        found = {name: distinct(frame[name], train) for name, texts in columns.features.items() if texts is not None}
        found |= {name: distinct(frame[name]) for name in columns.classes}
        return columns.with_categories(found, len(frame))

    @classmethod
    def roles(
        cls,
        frame: "DataFrame",
        target: Sequence[str],
        features: Sequence[str] | None = None,
        categorical: Sequence[str] = (),
        known: Mapping[str, str] | None = None,
        weight: str | None = None,
        ignore: Sequence[str] = (),
    ) -> Self:
        """Which columns are what, judged by the rows of `frame`; without the categories and classes that they hold."""
        known = dict(known or {})
        taken = [*target, *known.values(), *([weight] if weight else []), *ignore]
        for name in [*taken, *(features or ()), *categorical]:
            _check_exists(frame, name)
        names = list(features) if features else [name for name in frame.columns if name not in taken]
        overlap = [name for name in names if name in target]
        if overlap:
            raise DataError(f"{', '.join(map(repr, overlap))} cannot be both feature and target.")
        if not names:
            raise DataError(f"no feature columns are left beside {', '.join(map(repr, taken))}.")
        encodings: dict[str, list[str] | None] = {
            name: [] if name in categorical or is_text(frame[name]) else None for name in names
        }
        classes: dict[str, list[str]] = {n: [] for n in target if is_text(frame[n]) or _is_bool(frame[n])}
        return cls(encodings, list(target), classes, known, weight)

    def with_categories(self, found: Mapping[str, Collection], rows: int) -> Self:
        """With the distinct values `found` in each column of categories or classes, among so many rows."""
        features = {n: texts if texts is None else _categories(n, found[n], rows) for n, texts in self.features.items()}
        return replace(self, features=features, classes={n: _categories(n, found[n], rows) for n in self.classes})

    @property
    def state(self) -> dict:
        """The columns as plain data. Features are a list, since their order matters and not every format keeps that of a mapping."""
        features = [{"name": name, "categories": categories} for name, categories in self.features.items()]
        return asdict(self) | {"features": features}

    @classmethod
    def from_state(cls, state: Mapping) -> Self:
        return cls(**{**state, "features": {entry["name"]: entry["categories"] for entry in state["features"]}})

    @property
    def feature_names(self) -> list[str]:
        """The names of the entries of the feature vector: `age`, `colour=red`, `colour=blue` ..."""
        names = []
        for name, categories in self.features.items():
            names += [name] if categories is None else [f"{name}={category}" for category in categories]
        return names

    def used(self, needs_target: bool = True) -> list[str]:
        """The columns that `encode` reads."""
        needed = [*self.target, *([self.weight] if self.weight else [])] if needs_target else []
        return list(dict.fromkeys([*self.features, *self.known.values(), *needed]))

    def encode(self, frame: "DataFrame", needs_target: bool = True) -> Encoded:
        """The table as tensors, numbers in single precision.

        Raises:
            DataError: for columns that are missing, incomplete, hold text where numbers are needed or unknown categories,
                or vary by less than single precision can tell.
        """
        exact = self.encode_exactly(frame, needs_target)
        _check_precision(exact.features, self.feature_names)
        if exact.y is not None and exact.y.is_floating_point():
            _check_precision(exact.y, self.target)
        return exact.single()

    def encode_exactly(self, frame: "DataFrame", needs_target: bool = True) -> Encoded:
        """Some rows of a table as tensors, numbers in double precision; how much they vary is not looked at."""
        for name in [*self.features, *self.known.values(), *(self.target if needs_target else ())]:
            _check_exists(frame, name)
        parts = [
            torch.from_numpy(numbers(frame[name])).unsqueeze(-1)
            if categories is None
            else _one_hot(frame[name], categories)
            for name, categories in self.features.items()
        ]
        return Encoded(
            torch.cat(parts, -1),
            self._targets(frame) if needs_target else None,
            self._weights(frame) if needs_target and self.weight is not None else None,
            {name: torch.from_numpy(numbers(frame[column])) for name, column in self.known.items()},
        )

    def _targets(self, frame: "DataFrame") -> Tensor:
        columns = []
        for name in self.target:
            if name in self.classes:
                columns.append(torch.from_numpy(_indices(frame[name], self.classes[name], "class")))
            else:
                columns.append(torch.from_numpy(numbers(frame[name])))
        return columns[0] if len(columns) == 1 else torch.stack(columns, -1)

    def _weights(self, frame: "DataFrame") -> Tensor:
        assert self.weight is not None
        _check_exists(frame, self.weight)
        values = numbers(frame[self.weight])
        if (values < 0).any():
            row = int(np.argmax(values < 0))
            raise DataError(f"weights must be zero or more, column {self.weight!r} has {values[row]:g} at row {row}.")
        return torch.from_numpy(values)


def _check_precision(values: Tensor, names: Sequence[str]) -> None:
    table = values.reshape(len(values), -1)
    check_spread(table.std(0, correction=0), table.abs().amax(0), names)


def check_spread(spread: Tensor, level: Tensor, names: Sequence[str]) -> None:
    """Refuse columns that vary about their level (their largest absolute value) by less than single precision can tell."""
    lost = (spread > 0) & (spread < 1e-4 * level) & (level * torch.finfo(torch.float32).eps > 1e-3 * spread)
    if lost.any():
        k = int(lost.nonzero()[0])
        raise DataError(
            f"column {names[k]!r} varies by {spread[k]:.3g} about {level[k]:.7g}, too little for single precision. "
            "Subtract a constant from it first."
        )


def _check_exists(frame: "DataFrame", name: str) -> None:
    if name not in frame.columns:
        raise DataError(str(unknown_name("column", name, list(frame.columns))))


def _check_varies(column: "Series") -> None:
    check_complete(str(column.name), column.isna().to_numpy())
    if len(column) > 1 and column.nunique() == 1:
        raise DataError(f"column {column.name!r} is constant, {column.iloc[0]!r} in all rows: leave it out.")


def _is_bool(column: "Series") -> bool:
    from pandas.api.types import is_bool_dtype

    return bool(is_bool_dtype(column.dtype))


def _label(value: object) -> str:
    """A category as text; 1 and 1.0 are the same one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def distinct(column: "Series", rows: "np.ndarray | slice" = slice(None)) -> list:
    """The different values in some rows of a column that has a value in each."""
    check_complete(str(column.name), column.isna().to_numpy())
    return column.iloc[rows].unique().tolist()


def _categories(name: str, found: Collection, rows: int) -> list[str]:
    if len(found) > 50 and len(found) > 0.5 * rows:
        raise DataError(
            f"column {name!r} has {len(found)} different texts in {rows} rows: it seems to name the rows. "
            "Leave it out of the features."
        )
    return [_label(value) for value in sorted(found, key=lambda value: (isinstance(value, str), value))]


def _indices(column: "Series", categories: list[str], kind: str = "category") -> np.ndarray:
    check_complete(str(column.name), column.isna().to_numpy())
    position = {category: k for k, category in enumerate(categories)}
    codes, values = column.factorize()
    indices = np.array([position.get(_label(value), -1) for value in values.tolist()], dtype=np.int64)[codes]
    if (indices < 0).any():
        row = int(np.argmax(indices < 0))
        error = unknown_name(f"{kind} of column {column.name!r} at row {row},", _label(column.iloc[row]), categories)
        raise DataError(f"{error} The model has never seen it.")
    return indices


def _one_hot(column: "Series", categories: list[str]) -> Tensor:
    indices = torch.from_numpy(_indices(column, categories))
    return torch.nn.functional.one_hot(indices, len(categories)).double()
