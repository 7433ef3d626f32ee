"""`Columns`: the meaning of the columns of a table, and their encoding as tensors."""

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
from disthead.data.entries import MAPPING, TEXT, TRUTH, Kind, check_entries, list_of, or_none
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
    "events",
    "exact_numbers",
    "number_targets",
    "others_filled",
    "values_of",
]


_SINGLE = torch.finfo(torch.float32)
# the largest number in a table; differences of such numbers do not overflow in single precision
_MAX_NUMBER = 1e37
# the largest range of a feature that single precision can standardise; the smallest is its inverse
_MAX_RANGE = 1e35
# the largest rounding error, as a share of the width of the limits, which is at most five times
# the range of the training rows
_MAX_ROUNDING = 1e-3


class Encoded(NamedTuple):
    """A table as tensors, with all rows in their order.

    Attributes:
        features: (N, P).
        y: targets, (N,) or (N, D), or pairs (N, 2) of censored ones; None where they were not read.
        weight: (N,), or None.
        known: the row constants by name, each (N,).
    """

    features: Tensor
    y: Tensor | None
    weight: Tensor | None
    known: dict[str, Tensor]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Encoded":
        """The table with a function applied to each tensor."""
        y, weight = (
            None if values is None else function(values) for values in (self.y, self.weight)
        )
        known = {name: function(values) for name, values in self.known.items()}
        return Encoded(function(self.features), y, weight, known)

    def at(self, rows: "Tensor | slice") -> "Encoded":
        """The table of some rows, by their positions."""
        if isinstance(rows, slice):
            return self.map(lambda values: values[rows])
        # several times as fast as values[rows]
        return self.map(lambda values: values.index_select(0, rows))

    def single(self) -> "Encoded":
        """The table in single precision.

        Class indices stay integers. Targets stay in double precision where all of them are whole
        numbers and one is above 2^24, beyond which single precision skips integers.
        """
        rounded = self.map(lambda values: values.float() if values.is_floating_point() else values)
        if self.y is None or not self.y.is_floating_point():
            return rounded
        if bool(((self.y.abs() <= 2**24) | self.y.isinf()).all()):
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
    """The meaning of each column, learned from the training data by `disthead.data.search`.

    It is plain data, which checkpoints hold.

    Attributes:
        features: column name -> its encoding.
        target: the names of the target columns.
        classes: target name -> class names, for targets given as text.
        known: row constant of the family -> column name, such as `{"exposure": "months"}`.
        weight: the name of the column of weights, or None.
        unit: "degrees" for targets that are angles in degrees; the tensors are in radians.
        event: the name of a column that says whether the target is observed (1) or right-censored
            (0), or None. Targets are pairs (lower, upper) then.
        has_ends: whether the two targets are the lower and the upper end of one number.
        has_order: whether the classes are in the order that the user named.
    """

    features: dict[str, Column]
    target: list[str]
    classes: dict[str, list[str]]
    known: dict[str, str]
    weight: str | None
    unit: str | None = None
    event: str | None = None
    has_ends: bool = False
    has_order: bool = False

    @property
    def has_pairs(self) -> bool:
        """Whether the targets are pairs (lower, upper), (N, 2)."""
        return self.event is not None or self.has_ends

    @property
    def outputs(self) -> list[str]:
        """The names of the numbers that are predicted: the targets, or one for both their ends."""
        return [" to ".join(self.target)] if self.has_ends else self.target

    @property
    def state(self) -> dict:
        """The columns as plain data."""
        return asdict(self) | {"features": state_of(list(self.features.values()))}

    @classmethod
    def from_state(cls, state: Mapping) -> Self:
        """The columns of a `state`.

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
        """The positions of the numbers in the feature vector; the other entries are indicators."""
        return numeric(list(self.features.values()))

    def used(self, needs_target: bool = True) -> list[str]:
        """The names of the columns that `encode` reads."""
        others = [name for name in (self.event, self.weight) if name]
        needed = [*self.target, *others] if needs_target else []
        return list(dict.fromkeys([*self.features, *self.known.values(), *needed]))

    def encode(
        self,
        frame: "DataFrame",
        needs_target: bool = True,
        unseen: Unseen | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Encoded:
        """The table as tensors in the precision of a model, arguments as for `encode_exactly`.

        Tensors are in double precision for a model in double precision, and in single precision for
        any other.
        """
        encoded = self.encode_exactly(frame, needs_target, unseen, dtype)
        return encoded if dtype == torch.float64 else encoded.single()

    def encode_exactly(
        self,
        frame: "DataFrame",
        needs_target: bool = True,
        unseen: Unseen | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Encoded:
        """The table as tensors in double precision.

        Targets and row constants of weight 0 may have any value.

        Args:
            frame: the rows, with their columns in any order; other columns are ignored.
            needs_target: whether the targets and the weights are read.
            unseen: gathers values that the training rows do not have.
            dtype: that of the model's weights. Features whose differences single precision loses
                are refused unless it is torch.float64.

        Raises:
            DataError: for columns that are missing or of another kind, infinite numbers, and
                targets that are missing or of an unknown class.
        """
        for name in self.used(needs_target):
            check_exists(frame, name)
        features = []
        for name, column in self.features.items():
            values = column.align(values_of(frame, name))
            if unseen is not None:
                unseen.add(column, values)
            encoded = column.encode(values)
            if dtype != torch.float64:
                check_range(column, values, encoded)
            features.append(torch.from_numpy(encoded))
        weight = self._weights(frame) if needs_target and self.weight is not None else None
        present = np.ones(len(frame), dtype=bool) if weight is None else (weight > 0).numpy()
        return Encoded(
            torch.cat(features, -1),
            self._numbers_or_pairs(frame, present) if needs_target else None,
            weight,
            {
                name: torch.from_numpy(single_numbers(frame, column, present))
                for name, column in self.known.items()
            },
        )

    def _numbers_or_pairs(self, frame: "DataFrame", present: np.ndarray) -> Tensor:
        if self.has_ends:
            return torch.stack(
                [
                    torch.from_numpy(end_numbers(frame, name, present, unbounded))
                    for name, unbounded in zip(self.target, (-np.inf, np.inf), strict=True)
                ],
                -1,
            )
        y = self._targets(frame, present)
        if self.event is None:
            return y
        is_event = torch.from_numpy(events(frame, self.event, present))
        return torch.stack([y, torch.where(is_event, y, torch.inf)], -1)

    def _targets(self, frame: "DataFrame", present: np.ndarray) -> Tensor:
        columns = []
        for name in self.target:
            values = values_of(frame, name)
            if name in self.classes:
                numbers = _class_indices(values, self.classes[name], present)
            else:
                numbers = number_targets(values, present)
                check_single(values, numbers, present)
            if present.any():  # a row of weight 0 is not there; it gets any valid target
                numbers = np.where(present, numbers, numbers[np.argmax(present)])
            columns.append(torch.from_numpy(numbers))
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
    "event?": or_none(TEXT),
    "has_ends?": TRUTH,
    "has_order?": TRUTH,
}


def _is_mapping_of(kind: Kind, value: Any) -> bool:
    return (
        MAPPING.holds(value)
        and all(map(TEXT.holds, value))
        and all(map(kind.holds, value.values()))
    )


def check_spread(std: Tensor, level: Tensor, names: Sequence[str]) -> None:
    """Refuse columns whose variation is lost in single precision.

    Args:
        std: the standard deviation of each column.
        level: the largest absolute value of each column.
        names: of the columns.

    Raises:
        DataError: with the column and both numbers.
    """
    lost = (std > 0) & (std < 1e-4 * level) & (level * _SINGLE.eps > 1e-3 * std)
    if lost.any():
        k = int(lost.nonzero()[0])
        raise DataError(
            f"column {names[k]!r} varies by {std[k]:.3g} about {level[k]:.7g}, too little for "
            "single precision. Subtract a constant from it first."
        )


def check_single(values: Values, numbers: np.ndarray, present: np.ndarray | None = None) -> None:
    """Refuse numbers that single precision, in which training computes, cannot represent.

    They are too large, or too small and not zero.

    Args:
        values: those of the column, for messages.
        numbers: (N,), in double precision.
        present: booleans (N,), false for rows that may have any value.

    Raises:
        DataError: with the column, the row and the number.
    """
    size = np.abs(numbers)
    lost = (size > _MAX_NUMBER) | ((size > 0) & (size < _SINGLE.tiny))
    if present is not None:
        lost &= present
    if lost.any():
        raise DataError(
            f"column {values.name!r} must hold numbers that single precision holds, in which "
            f"training computes: zero, or from {_SINGLE.tiny:.1e} to {_MAX_NUMBER:g} in size; got "
            f"{values.first(lost)}. Use other units, such as thousands or thousandths, or write "
            "zero where it is meant."
        )


def check_range(column: Column, values: Values, encoded: np.ndarray) -> None:
    """Refuse numbers of a feature whose differences are lost in single precision.

    Args:
        column: the encoding, with the limits of its numbers.
        values: those of the column, for messages.
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
        lost = np.abs(numbers.astype(np.float32) - numbers) > _MAX_ROUNDING * width
    if not 1 / _MAX_RANGE < width < _MAX_RANGE:
        lost[:] = True
    if lost.any():
        raise DataError(
            f"column {column.name!r} holds numbers that single precision, in which training "
            f"computes, does not tell apart: {values.first(lost)}. Use other units, in which "
            "numbers are neither tiny nor huge."
        )


def check_exists(frame: "DataFrame", name: str) -> None:
    """Refuse a table without a column of the training.

    Raises:
        DataError: with similar names.
    """
    if name not in frame.columns:
        known = [str(column) for column in frame.columns]
        raise DataError(
            f"no column {name!r}, which the model was trained on{nearest(name, known)} Columns: "
            f"{', '.join(known)}."
        )


def values_of(frame: "DataFrame", name: str) -> Values:
    """The values of a column.

    Raises:
        DataError: for values of several kinds, or of an unsupported one.
    """
    try:
        return read_values(frame[name], name)
    except TypeError as error:
        raise DataError(str(error)) from error


def exact_numbers(frame: "DataFrame", name: str, present: np.ndarray | None = None) -> np.ndarray:
    """The numbers of a column, (N,), in double precision.

    Args:
        frame: the table.
        name: of the column.
        present: booleans (N,), false for rows that get the number of one of the others.

    Raises:
        DataError: for values of another kind, and missing and infinite ones, with the row.
    """
    numbers = number_targets(values_of(frame, name), present)
    if present is None or not present.any():
        return numbers
    return np.where(present, numbers, numbers[np.argmax(present)])


def single_numbers(frame: "DataFrame", name: str, present: np.ndarray | None = None) -> np.ndarray:
    """The numbers of a column, (N,), in double precision, which single precision can represent.

    Arguments are those of `exact_numbers`.

    Raises:
        DataError: as `exact_numbers` and `check_single`.
    """
    numbers = exact_numbers(frame, name, present)
    check_single(values_of(frame, name), numbers, present)
    return numbers


def end_numbers(frame: "DataFrame", name: str, present: np.ndarray, unbounded: float) -> np.ndarray:
    """The lower or the upper ends of censored targets, (N,), in double precision.

    Args:
        frame: the table.
        name: of the column.
        present: booleans (N,), false for rows that get the end of one of the others.
        unbounded: what missing values stand for: -inf for lower ends, inf for upper ones.

    Raises:
        DataError: for values that are no numbers, and those that single precision does not hold.
    """
    values = as_quantities(others_filled(values_of(frame, name), present))
    numbers = values.numbers
    assert numbers is not None
    numbers = np.where(np.isnan(numbers), unbounded, numbers.astype(np.float64))
    check_single(values, np.where(np.isinf(numbers), 0.0, numbers), present)
    return numbers


def events(frame: "DataFrame", name: str, present: np.ndarray) -> np.ndarray:
    """Which targets are observed, booleans (N,): 1 or true; 0 or false is right-censored.

    Arguments are those of `end_numbers`.

    Raises:
        DataError: for missing values, texts, and numbers other than 0 and 1, with the row.
    """
    values = values_of(frame, name)
    numbers = exact_numbers(frame, name, present)
    bad = present & (numbers != 0) & (numbers != 1)
    if bad.any():
        raise DataError(
            f"column {name!r} must say which targets are observed, 1 where they are and 0 where "
            f"they are right-censored, got {int(bad.sum())} other values, {values.first(bad)}. "
            "Write other events as 0, or as 1, before training."
        )
    return numbers == 1


def number_targets(values: Values, present: np.ndarray | None = None) -> np.ndarray:
    """Targets, or other numbers of which none may be missing, (N,), in double precision.

    Args:
        values: those of the column.
        present: booleans (N,), false for rows that may have any value.

    Raises:
        DataError: for dates and durations, texts, and missing and infinite values, with the row.
    """
    values = as_quantities(values if present is None else others_filled(values, present))
    check_complete(values)
    assert values.numbers is not None
    return values.numbers if values.numbers.flags.writeable else values.numbers.copy()


def others_filled(values: Values, present: np.ndarray) -> Values:
    """The values, in which rows that are not present get the value of one that is.

    Messages have the right numbers of rows then.

    Args:
        values: those of a column.
        present: booleans (N,).
    """
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
    indices = Column(values.name, classes).places(named)
    if (indices < 0).any():
        row = int(np.argmax(indices < 0))
        assert named.codes is not None
        value = label(named.levels[int(named.codes[row])])
        error = unknown_name(f"class of column {values.name!r} at row {row},", value, classes)
        raise DataError(f"{error} The model has never seen it.")
    return indices
