"""`Columns`: which columns of a table mean what, and how they become tensors."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from disthead.data.encoder import (
    COLUMN,
    Column,
    Unseen,
    check_complete,
    check_finite,
    feature_names,
    listed,
    numeric,
    state_of,
)
from disthead.data.entries import MAPPING, TEXT, Kind, check_entries, list_of, or_none
from disthead.data.values import DataError, Values, as_quantities, label, read_values
from disthead.errors import locate, nearest, unknown_name
from disthead.weights import EXTREME_WEIGHTS, extreme_weights

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "Columns",
    "Encoded",
    "check_exists",
    "check_single",
    "check_spread",
    "exact_numbers",
    "number_targets",
    "others_filled",
    "values_of",
]


_SINGLE = torch.finfo(torch.float32)
# of numbers in a table; differences of such numbers do not overflow in single precision
_LARGEST = 1e37
# range of a feature that single precision can standardise; the narrowest is its inverse
_WIDEST = 1e35
# of the width of the limits, at most five times that of the training rows: what rounding may change
_LOST = 1e-3


class Encoded(NamedTuple):
    """A table as tensors, all rows in their order: features (N, P), y (N,) or (N, D), weight (N,), known by name (N,)."""

    features: Tensor
    y: Tensor | None
    weight: Tensor | None
    known: dict[str, Tensor]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Encoded":
        """The function of each tensor."""
        y, weight = (
            None if values is None else function(values) for values in (self.y, self.weight)
        )
        return Encoded(
            function(self.features),
            y,
            weight,
            {name: function(v) for name, v in self.known.items()},
        )

    def at(self, chosen: "Tensor | slice") -> "Encoded":
        """Some of its rows."""
        if isinstance(chosen, slice):
            return self.map(lambda values: values[chosen])
        # several times as fast as values[chosen]
        return self.map(lambda values: values.index_select(0, chosen))

    def single(self) -> "Encoded":
        """Numbers in single precision; class indices stay integers, and whole targets above 2^24 stay as they are."""
        rounded = self.map(lambda values: values.float() if values.is_floating_point() else values)
        if self.y is None or not self.y.is_floating_point() or bool((self.y.abs() <= 2**24).all()):
            return rounded
        return rounded._replace(y=self.y) if bool((self.y == self.y.floor()).all()) else rounded

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

    `disthead.data.search` finds it.

    Attributes:
        features: feature name -> how it is encoded.
        target: names of the target columns.
        classes: target name -> class names, for targets given as text.
        known: quantity of the family -> column, such as `{"exposure": "months"}`.
        weight: the column of the weights.
        unit: "degrees" for targets that are angles in degrees; the tensors are in radians.
    """

    features: dict[str, Column]
    target: list[str]
    classes: dict[str, list[str]]
    known: dict[str, str]
    weight: str | None
    unit: str | None = None

    @property
    def state(self) -> dict:
        """The columns as plain data."""
        return asdict(self) | {"features": state_of(list(self.features.values()))}

    @classmethod
    def from_state(cls, state: Mapping) -> Self:
        """The columns that have this state.

        Raises:
            ValueError: for entries that are missing, unknown or of another kind, with their place.
        """
        check_entries(state, _ENTRIES, "columns")
        names = [entry["name"] for entry in state["features"]]
        if len(set(names)) < len(names):
            raise ValueError(
                f"entry columns.features has two columns of one name: {listed(names)}."
            )
        return cls(
            **{**state, "features": {entry["name"]: Column(**entry) for entry in state["features"]}}
        )

    @property
    def feature_names(self) -> list[str]:
        """The names of the entries of the feature vector: `age`, `colour=red`, `colour=blue` ..."""
        return feature_names(list(self.features.values()))

    @property
    def numeric(self) -> list[int]:
        """The positions of the numbers among the entries of the feature vector; the others are indicators."""
        return numeric(list(self.features.values()))

    def used(self, needs_target: bool = True) -> list[str]:
        """The columns that `encode` reads."""
        needed = [*self.target, *([self.weight] if self.weight else [])] if needs_target else []
        return list(dict.fromkeys([*self.features, *self.known.values(), *needed]))

    def encode(
        self, frame: "DataFrame", needs_target: bool = True, unseen: Unseen | None = None
    ) -> Encoded:
        """The table as tensors, numbers in single precision; as `encode_exactly`."""
        return self.encode_exactly(frame, needs_target, unseen).single()

    def encode_exactly(
        self, frame: "DataFrame", needs_target: bool = True, unseen: Unseen | None = None
    ) -> Encoded:
        """Some rows of a table as tensors, numbers in double precision.

        Args:
            frame: the rows; their columns may come in any order, and there may be more of them.
            needs_target: whether the targets and the weights are read.
            unseen: gathers what training has not seen.

        Raises:
            DataError: for columns that are not there or of another kind, infinite numbers, targets
                that are missing or of an unknown class; targets and known quantities of weight 0
                may be anything.
        """
        for name in [*self.features, *self.known.values(), *(self.target if needs_target else ())]:
            check_exists(frame, name)
        parts = []
        for name, column in self.features.items():
            values = column.align(values_of(frame, name))
            if unseen is not None:
                unseen.add(column, values)
            encoded = column.encode(values)
            check_range(column, values, encoded)
            parts.append(torch.from_numpy(encoded))
        weight = self._weights(frame) if needs_target and self.weight is not None else None
        present = np.ones(len(frame), dtype=bool) if weight is None else (weight > 0).numpy()
        return Encoded(
            torch.cat(parts, -1),
            self._targets(frame, present) if needs_target else None,
            weight,
            {
                name: torch.from_numpy(single_numbers(frame, column, present))
                for name, column in self.known.items()
            },
        )

    def _targets(self, frame: "DataFrame", present: np.ndarray) -> Tensor:
        columns = []
        for name in self.target:
            values = values_of(frame, name)
            if name in self.classes:
                found = _class_indices(values, self.classes[name], present)
            else:
                found = number_targets(values, present)
                check_single(values, found, present)
            if present.any():  # a row of weight 0 is not there, so any target will do that can be
                found = np.where(present, found, found[np.argmax(present)])
            columns.append(torch.from_numpy(found))
        y = columns[0] if len(columns) == 1 else torch.stack(columns, -1)
        return (y + 180).remainder(360).sub(180).mul(math.pi / 180) if self.unit == "degrees" else y

    def _weights(self, frame: "DataFrame") -> Tensor:
        assert self.weight is not None
        check_exists(frame, self.weight)
        values = single_numbers(frame, self.weight)
        if (values < 0).any():
            row = int(np.argmax(values < 0))
            raise DataError(
                f"weights must be zero or more, column {self.weight!r} has "
                f"{values[row]:g} at row {row}."
            )
        weight = torch.from_numpy(values)
        bad = extreme_weights(weight, torch.float32)
        if bool(bad.any()):
            raise DataError(
                f"column {self.weight!r}: {EXTREME_WEIGHTS}, got {locate(bad, weight)}."
            )
        return weight


_NAMES = list_of(TEXT)
_ENTRIES = {
    "features": [COLUMN],
    "target": _NAMES,
    "classes": Kind(
        "names of classes for names of targets", lambda value: _is_mapping_of(_NAMES, value)
    ),
    "known": Kind(
        "names of columns for names of quantities", lambda value: _is_mapping_of(TEXT, value)
    ),
    "weight": or_none(TEXT),
    "unit?": Kind("degrees or null", lambda value: value in (None, "degrees")),
}


def _is_mapping_of(kind: Kind, value: Any) -> bool:
    return (
        MAPPING.holds(value)
        and all(map(TEXT.holds, value))
        and all(map(kind.holds, value.values()))
    )


def check_spread(spread: Tensor, level: Tensor, names: Sequence[str]) -> None:
    """Refuse columns that vary about their level (their largest absolute value) by less than single precision can tell."""
    lost = (
        (spread > 0)
        & (spread < 1e-4 * level)
        & (level * torch.finfo(torch.float32).eps > 1e-3 * spread)
    )
    if lost.any():
        k = int(lost.nonzero()[0])
        raise DataError(
            f"column {names[k]!r} varies by {spread[k]:.3g} about {level[k]:.7g}, too little for "
            "single precision. "
            "Subtract a constant from it first."
        )


def check_single(values: Values, numbers: np.ndarray, present: np.ndarray | None = None) -> None:
    """Refuse numbers that single precision, in which training computes, does not hold: too large, or not zero and too near to it.

    Args:
        values: of the column, for messages.
        numbers: in double precision, one for each value.
        present: the rows that count; others may hold anything.

    Raises:
        DataError: with the column, the row and the number.
    """
    size = np.abs(numbers)
    lost = (size > _LARGEST) | ((size > 0) & (size < _SINGLE.tiny))
    if present is not None:
        lost &= present
    if lost.any():
        raise DataError(
            f"column {values.name!r} must hold numbers that single precision holds, in which "
            "training computes: zero, or from "
            f"{_SINGLE.tiny:.1e} to {_LARGEST:g} in size; got {values.first(lost)}. Use other "
            "units, such as thousands or "
            "thousandths, or write zero where it is meant."
        )


def check_range(column: Column, values: Values, encoded: np.ndarray) -> None:
    """Refuse numbers of a feature that are no longer told apart once they are in single precision.

    Args:
        column: its limits say how far apart its numbers are.
        values: that are encoded, for messages.
        encoded: (N, width), in double precision.

    Raises:
        DataError: with the column, the row and the number.
    """
    if column.limits is None:
        return
    low, high = column.limits
    width = high - low
    numbers = encoded[:, 0]
    with np.errstate(over="ignore"):
        lost = np.abs(numbers.astype(np.float32) - numbers) > _LOST * width
    if not 1 / _WIDEST < width < _WIDEST:
        lost[:] = True
    if lost.any():
        raise DataError(
            f"column {column.name!r} holds numbers that single precision, in which training "
            "computes, does not tell apart: "
            f"{values.first(lost)}. Use other units, in which numbers are neither tiny nor huge."
        )


def check_exists(frame: "DataFrame", name: str) -> None:
    """Refuse a table without a column of the training."""
    if name not in frame.columns:
        known = [str(column) for column in frame.columns]
        raise DataError(
            f"no column {name!r}, which the model was trained on{nearest(name, known)} Columns: "
            f"{', '.join(known)}."
        )


def values_of(frame: "DataFrame", name: str) -> Values:
    """The values of a column.

    Raises:
        DataError: for values of several kinds, or of none that is taken.
    """
    try:
        return read_values(frame[name], name)
    except TypeError as error:
        raise DataError(str(error)) from error


def exact_numbers(frame: "DataFrame", name: str, present: np.ndarray | None = None) -> np.ndarray:
    """The numbers of a column, (N,), in double precision.

    Args:
        present: the rows that count; others get the number of one of these.

    Raises:
        DataError: for values of another kind, and missing and infinite ones, with the row.
    """
    found = number_targets(values_of(frame, name), present)
    return (
        found
        if present is None or not present.any()
        else np.where(present, found, found[np.argmax(present)])
    )


def single_numbers(frame: "DataFrame", name: str, present: np.ndarray | None = None) -> np.ndarray:
    """As `exact_numbers`; numbers that single precision does not hold are refused."""
    numbers = exact_numbers(frame, name, present)
    check_single(values_of(frame, name), numbers, present)
    return numbers


def number_targets(values: Values, present: np.ndarray | None = None) -> np.ndarray:
    """Targets, or other numbers that must all be there, (N,), in double precision.

    Args:
        values: of the column.
        present: the rows that count; what others hold does not matter.

    Raises:
        DataError: for dates and durations, texts, and missing and infinite values, with the row.
    """
    values = as_quantities(values if present is None else others_filled(values, present))
    check_complete(values)
    assert values.numbers is not None
    return values.numbers if values.numbers.flags.writeable else values.numbers.copy()


def others_filled(values: Values, present: np.ndarray) -> Values:
    """With a value of a row that counts in those that do not, so that rows keep their numbers in messages."""
    if present.all() or not present.any():
        return values
    rows = np.arange(len(values))
    good = present & ~values.missing
    return values[np.where(present, rows, int(np.argmax(good if good.any() else present)))]


def _class_indices(values: Values, classes: list[str], present: np.ndarray) -> np.ndarray:
    values = others_filled(values, present)
    check_complete(values)
    check_finite(values)
    named = values.as_category()
    places = Column(values.name, classes).places(named)
    if (places < 0).any():
        row = int(np.argmax(places < 0))
        assert named.codes is not None
        value = label(named.levels[int(named.codes[row])])
        error = unknown_name(f"class of column {values.name!r} at row {row},", value, classes)
        raise DataError(f"{error} The model has never seen it.")
    return places
