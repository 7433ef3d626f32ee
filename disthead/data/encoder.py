"""`Column`: how the values of a column become features, learned from the training rows."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from disthead.data.entries import NUMBER, TEXT, TRUTH, Kind, list_of, one_of, or_none
from disthead.data.values import (
    PARSERS,
    REMEDY,
    TARGET_REMEDY,
    DataError,
    Values,
    as_kind,
    date_of,
    is_code,
    label,
    parse_number,
)

__all__ = [
    "COLUMN",
    "FEW_ROWS",
    "Column",
    "Finder",
    "Found",
    "Levels",
    "Unseen",
    "check_complete",
    "check_finite",
    "counts_rows",
    "feature_names",
    "index_warning",
    "is_index",
    "is_index_name",
    "listed",
    "numeric",
    "report",
    "state_of",
    "text_warning",
]

_MOST_CATEGORIES = 50  # that any column may have
_SINGLE = float(np.finfo(np.float32).eps)
_CONSTANT_LIMIT = 1e30  # of a column with one value
# The limits of a column lie beyond the training rows by at most this many times their range,
_RANGES_BEYOND = 2
# and from the median by at most this many times the range of their middle nine tenths.
_MIDDLE_RANGES = 30
FEW_ROWS = 20  # fewer do not show whether a column numbers them
_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")
# 12.5%, $1,200: numbers with a sign.
# 1,234 and 1.234,5 and 1'234: thousands with separators; 1,5: a decimal comma.
_WITH_SIGN = re.compile(r"\s*([$€£]\s?[-+]?[\d.,]*\d|[-+]?\d[\d.,]*\s?[%$€£])\s*")
_SEPARATED = re.compile(r"\s*[-+]?(\d{1,3}([,.' \u00a0\u202f]\d{3})+([.,]\d+)?|\d+,\d+)\s*")


@dataclass(frozen=True)
class Column:
    """The encoding of one column, learned from the training rows; plain data.

    Numbers are features as they are, with the median for those that are missing. Dates are days
    since the first one of the training rows, durations are days. Categories (texts, and numbers
    that are declared so) are one indicator each; a category that training has not seen sets none.
    Where values are missing in training, there is one more indicator.

    Attributes:
        name: of the column.
        categories: as texts, in order; an empty list for a column that is left out; None for
            numbers.
        fill: of numbers, the median, which replaces missing ones. None where a missing value is
            refused.
        has_missing: whether training rows have missing values, so that there is an indicator for
            them.
        kind: of the numbers: "number", "date" or "duration".
        origin: the number that is subtracted: the first date, in days since 1970-01-01; or the
            median of numbers that vary too little about it for single precision.
        limits: the least and the greatest number that a feature may have. They lie beyond the
            training rows by twice their range, or 30 times the range of their middle nine tenths
            from the median, whichever is nearer. A number beyond a limit is read as the limit. None
            in models of version 0.1.
    """

    name: str
    categories: list[str] | None = None
    fill: float | None = None
    has_missing: bool = False
    kind: Literal["number", "date", "duration"] = "number"
    origin: float = 0.0
    limits: Sequence[float] | None = None

    @property
    def is_left_out(self) -> bool:
        """Whether the column gives no feature."""
        return self.categories == [] and not self.has_missing

    @property
    def width(self) -> int:
        """The number of features of the column."""
        return (1 if self.categories is None else len(self.categories)) + self.has_missing

    @property
    def feature_names(self) -> list[str]:
        """The names of its features, such as `colour=red`."""
        names = (
            [self.name]
            if self.categories is None
            else [f"{self.name}={value}" for value in self.categories]
        )
        return [*names, f"{self.name} is missing"] if self.has_missing else names

    def align(self, values: Values) -> Values:
        """The values as the kind of the training rows, for `encode`.

        Raises:
            DataError: for values of another kind, infinite numbers, and missing ones where the
                column has no `fill`.
        """
        if self.is_left_out:
            return values
        missing = values.missing
        if missing.all():
            values = Values(self.name, "number", np.full(len(values), np.nan))
            return self._checked(values if self.categories is None else values.as_category())
        if self.categories is not None:
            if not values.is_named and not all(map(_is_label_of[values.kind], self.categories)):
                raise self._other_kind("texts", values)
            return values.as_category()
        if values.is_named:
            try:
                values = as_kind(values, self.kind)
            except DataError as error:
                raise self._other_kind(_PLURAL[self.kind], values, f" ({error})") from error
        if {"truth": "number"}.get(values.kind, values.kind) != self.kind:
            raise self._other_kind(_PLURAL[self.kind], values)
        return self._checked(values)

    def _checked(self, values: Values) -> Values:
        if self.categories is None:
            check_finite(values)
            if self.fill is None:
                check_complete(values)
        return values

    def _other_kind(self, was: str, values: Values, why: str = "") -> DataError:
        if why:  # it names the offending row, which need not be the first one
            return DataError(f"column {self.name!r} held {was} at fit, got {values.plural}{why}.")
        row = int(np.argmax(~values.missing))
        return DataError(
            f"column {self.name!r} held {was} at fit, got {values.plural}, such as "
            f"{values.text(row)} at row {values.row(row)}."
        )

    def places(self, values: Values) -> np.ndarray:
        """The indicator that each row sets, (N,): the last one for a missing value, -1 for none.

        It is defined for columns of categories.
        """
        assert self.categories is not None
        assert values.codes is not None
        place = {category: k for k, category in enumerate(self.categories)}
        of_level = [place.get(name, -1) for name in map(label, values.levels)]
        if -1 in of_level:  # 1.0 is read as 1, unless it is a category itself
            read = [
                parse_number(level) if k < 0 else None
                for k, level in zip(of_level, values.levels, strict=True)
            ]
            of_level = [
                k if n is None else place.get(label(n), -1)
                for k, n in zip(of_level, read, strict=True)
            ]
        return np.array(
            [*of_level, len(self.categories) if self.has_missing else -1], dtype=np.int64
        )[values.codes]

    def encode(self, values: Values) -> np.ndarray:
        """The features (N, width) of values that went through `align`."""
        if self.categories is not None:
            if self.is_left_out:
                return np.empty((len(values), 0))
            return (self.places(values)[:, None] == np.arange(self.width)).astype(np.float64)
        assert values.numbers is not None
        missing = np.isnan(values.numbers)
        numbers = (
            values.numbers
            if self.limits is None
            else values.numbers.clip(self.limits[0], self.limits[1])
        )
        filled = np.where(missing, self.fill or 0.0, numbers - self.origin)
        return (
            np.stack([filled, missing.astype(np.float64)], 1)
            if self.has_missing
            else filled[:, None]
        )

    def is_far(self, values: Values) -> np.ndarray:
        """A mask (N,) of the values beyond the limits, after `align`."""
        if self.limits is None or values.numbers is None:
            return np.zeros(len(values), dtype=bool)
        least, most = self.limits
        return (values.numbers < least) | (values.numbers > most)

    def report(self) -> str:
        """How the column is encoded, in a sentence; an empty text for plain numbers."""
        if self.is_left_out:
            return f"{self.name}: left out, it numbers or names the rows."
        if self.categories is not None:
            missing = ", one of them for missing" if self.has_missing else ""
            return (
                f"{self.name}: text, {self.width} indicators{missing} ({listed(self.categories)})."
            )
        parts = []
        if self.kind == "date":
            parts.append(f"dates, as days since {date_of(self.origin)}")
        elif self.kind == "duration":
            parts.append("durations, in days")
        elif self.origin:
            parts.append(f"numbers, less {self.origin:.17g}, about which they vary little")
        if self.has_missing:
            assert self.fill is not None
            fill = (
                date_of(self.origin + self.fill)
                if self.kind == "date"
                else f"{self.origin + self.fill:g}"
            )
            what = "missing numbers" if self.kind == "number" else f"missing {self.kind}s"
            parts.append(f"{what} are read as the median {fill}, with an indicator")
        return f"{self.name}: {'; '.join(parts)}." if parts else ""


def _is_range(value: Any) -> bool:
    is_pair = (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(bound) in (int, float) for bound in value)
    )
    return is_pair and value[0] <= value[1]


# The entries of a column as plain data; older files have fewer of them.
COLUMN = {
    "name": TEXT,
    "categories": or_none(list_of(TEXT)),
    "fill?": or_none(NUMBER),
    "has_missing?": TRUTH,
    "kind?": one_of("number", "date", "duration"),
    "origin?": NUMBER,
    "limits?": Kind("null or two numbers", lambda value: value is None or _is_range(value)),
}
_PLURAL = {
    "number": "numbers",
    "date": "dates",
    "duration": "durations",
    "text": "texts",
    "category": "categories",
}
_is_label_of: dict[str, Callable[[str], bool]] = {
    "number": lambda text: _number_of(text) is not None,
    "truth": lambda text: text in ("True", "False"),
    "date": lambda text: PARSERS["date"](text) is not None,
    "duration": lambda text: _number_of(text) is not None,
}


def _number_of(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def feature_names(columns: Sequence[Column]) -> list[str]:
    """The names of the entries of the feature vector: `age`, `colour=red`, `colour=blue` ..."""
    return [name for column in columns for name in column.feature_names]


def numeric(columns: Sequence[Column]) -> list[int]:
    """The positions of the numbers in the feature vector; the other features are indicators."""
    ends = np.cumsum([column.width for column in columns])
    return [
        int(end) - c.width for end, c in zip(ends, columns, strict=True) if c.categories is None
    ]


def report(columns: Sequence[Column]) -> Iterator[str]:
    """How the columns are encoded, in sentences; none for plain numbers."""
    yield from filter(None, (column.report() for column in columns))


# Learning columns.


class Levels:
    """The distinct texts or categories of a column, with their numbers of rows and first rows.

    Args:
        name: of the column.
    """

    def __init__(self, name: str):
        self.name = name
        self.counts: dict[Any, int] = {}
        self._places: dict[Any, str] = {}

    def add(self, values: Values, where: str = "") -> None:
        """Add rows of the column; `where` says where they are, for messages."""
        assert values.codes is not None
        codes, first, counts = np.unique(values.codes, return_index=True, return_counts=True)
        for code, position, count in zip(
            codes.tolist(), first.tolist(), counts.tolist(), strict=True
        ):
            if code >= 0:
                level = values.levels[code]
                self.counts[level] = self.counts.get(level, 0) + count
                self._places.setdefault(level, f"{level!r} at {where}row {values.row(position)}")

    def judge(self, is_target: bool = False) -> str:
        """The kind of the texts: "category", "number", "date" or "duration".

        Texts that are all dates in the form of ISO 8601, or all durations, are of that kind. Texts
        that are all numbers are categories where they recur (so codes become categories by
        `astype(str)`), and numbers where more than half of the rows have a text of their own, and
        in a target.

        Raises:
            DataError: for numbers or dates with a few other texts among them, which are a mistake.
        """
        total, levels = sum(self.counts.values()), list(self.counts)
        few = len(levels) <= min(_MOST_CATEGORIES, total // 2)
        if any(map(is_code, levels)):
            return "category"
        for kind, parse in PARSERS.items():
            bad = [level for level in levels if parse(level) is None]
            if not bad:
                return (
                    "category"
                    if kind == "number" and not is_target and len(levels) <= total / 2
                    else kind
                )
            wrong = sum(self.counts[level] for level in bad)
            if wrong < 0.5 * total and not few:
                remedy = " Write numbers with a decimal point and without separators." * all(
                    map(_is_separated, bad)
                )
                raise DataError(
                    f"column {self.name!r} must hold {_PLURAL[kind]}, got text in {wrong} of "
                    f"{total} rows: {self._places[bad[0]]}.{remedy} "
                    f"{TARGET_REMEDY if is_target else REMEDY}"
                )
        separated = [
            level for level in levels if _is_separated(level) or (not few and _has_sign(level))
        ]
        whole = [level for level in levels if parse_number(level) is not None]
        if separated and sum(self.counts[level] for level in [*separated, *whole]) > 0.5 * total:
            raise DataError(
                f"column {self.name!r} holds numbers with commas, separators of thousands or "
                f"signs, such as {self._places[separated[0]]}. Write them as numbers, with a "
                "decimal point and without separators, such as 1234.5 (in pandas: read_csv(..., "
                "decimal=',') or thousands=','); or say that the column holds categories "
                "(`categorical`, or the type category of a data frame)."
            )
        return "category"

    def numbers(self, kind: str) -> np.ndarray:
        """The values of all rows as numbers, dates and durations in days."""
        parse = PARSERS[kind]
        return np.repeat(
            np.array([parse(level) for level in self.counts], dtype=np.float64),
            list(self.counts.values()),
        )

    def names(self) -> list[str]:
        """The categories as texts: first numbers, then texts, both sorted."""
        levels: list[Any] = list(self.counts)
        try:
            levels.sort(key=lambda level: (isinstance(level, str), level))
        except TypeError:  # intervals and the like
            levels.sort(key=str)
        return list(dict.fromkeys(map(label, levels)))

    def check_recurrence(self, rows: int) -> None:
        """Refuse a feature of texts of which more than half are different.

        Args:
            rows: the number of rows.

        Raises:
            DataError: where the texts seem to name the rows.
        """
        if len(self.counts) > _MOST_CATEGORIES and len(self.counts) > 0.5 * rows:
            raise DataError(
                f"column {self.name!r} has {len(self.counts)} different texts in {rows} rows: it "
                "seems to name the rows, or to hold numbers or dates in a form of their own, such "
                f"as {min(self.counts, key=str)!r}. Leave it out, or turn it into numbers, or into "
                "dates such as 2020-12-31; or say that the column holds categories (`categorical`, "
                "or the type category of a data frame)."
            )


def _is_separated(text: Any) -> bool:
    return isinstance(text, str) and bool(_SEPARATED.fullmatch(text))


def _has_sign(text: Any) -> bool:
    return isinstance(text, str) and bool(_WITH_SIGN.fullmatch(text))


def is_index_name(name: str) -> bool:
    """Whether this is a name that pandas writes for an index without a name."""
    return bool(_INDEX.fullmatch(name))


def is_index(values: Values) -> bool:
    """Whether a column is the index of a data frame, by its name or since it counts the rows."""
    if is_index_name(values.name):
        return True
    return len(values) >= FEW_ROWS and counts_rows(values) is not None


def counts_rows(values: Values, start: int = 0) -> int | None:
    """The difference of the values and the row numbers; None where it is not constant.

    Args:
        values: of consecutive rows.
        start: the number of the first row.
    """
    numbers = values.numbers
    if not values.is_whole or numbers is None or not len(numbers) or not np.isfinite(numbers).all():
        return None
    if not (np.diff(numbers) == 1).all():
        return None
    return int(numbers[0]) - start


def check_finite(values: Values) -> None:
    """Refuse infinite numbers.

    Raises:
        DataError: with their number and the first row.
    """
    if values.numbers is None:
        return
    infinite = np.isinf(values.numbers)
    if infinite.any():
        first = int(infinite.argmax())
        raise DataError(
            f"column {values.name!r} has {int(infinite.sum())} infinite values in {len(values)} "
            f"rows, the first at row {values.row(first)}: {values.text(first)}. Make them missing "
            "(NaN) or finite numbers."
        )


def check_complete(values: Values) -> None:
    """Refuse missing and infinite values.

    Raises:
        DataError: with their number and the first row of each kind.
    """
    infinite = (
        np.zeros(len(values), dtype=bool) if values.numbers is None else np.isinf(values.numbers)
    )
    if (values.missing | infinite).all():
        raise DataError(
            f"column {values.name!r} is empty: all {len(values)} values are missing or infinite."
        )
    parts = []
    for kind, bad in {"missing (NaN)": values.missing, "infinite": infinite}.items():
        if bad.any():
            count, first = int(bad.sum()), int(np.argmax(bad))
            value = f": {values.text(first)}" if kind == "infinite" else ""
            where = "at" if count == 1 else "the first at"
            parts.append(
                f"{count} {kind} value{'s' * (count > 1)}, {where} row {values.row(first)}{value}"
            )
    if parts:
        raise DataError(
            f"column {values.name!r} has {', and '.join(parts)}. Correct these values, or drop "
            "their rows; nothing is dropped silently."
        )


class Finder:
    """Learns a `Column` from the training rows, which may come in chunks.

    Args:
        name: of the column.
        categorical: whether its values are declared to be categories.
    """

    def __init__(self, name: str, categorical: bool = False):
        self.name, self.categorical = name, categorical
        self.levels = Levels(name)
        self._kind: str | None = None
        self._numbers: list[np.ndarray] = []
        self._rows, self._low, self._high, self._has_missing = 0, np.inf, -np.inf, False

    def add(self, values: Values, sample: Any = slice(None), where: str = "") -> Self:
        """Add rows.

        Args:
            values: of the rows.
            sample: which of these rows count for the median.
            where: where they are, for messages.

        Raises:
            DataError: for infinite numbers, and for values of another kind than before.
        """
        self._rows += len(values)
        missing = values.missing
        self._has_missing |= bool(missing.any())
        if missing.all():
            return self
        if self.categorical:
            values = values.as_category()
        kind = "number" if values.kind == "truth" else values.kind
        if self._kind not in (None, kind):
            raise DataError(
                f"column {self.name!r} holds {values.plural}, but {_PLURAL[str(self._kind)]} in "
                "the rows before."
            )
        self._kind = kind
        if values.numbers is None:
            self.levels.add(values, where)
        else:
            check_finite(values)
            self._low = min(self._low, float(np.nanmin(values.numbers)))
            self._high = max(self._high, float(np.nanmax(values.numbers)))
            self._numbers.append(values.numbers[sample])
        return self

    @property
    def is_empty(self) -> bool:
        """Whether all values so far are missing."""
        return self._kind is None

    def found(self) -> "Found":
        """The column, after all rows were added.

        Raises:
            DataError: for texts that name the rows, and for numbers with a few texts in them.
        """
        assert self._kind is not None
        kind, low, high = self._kind, self._low, self._high
        if kind in ("text", "category"):
            kind = "category" if kind == "category" else self.levels.judge()
            if kind == "category":
                only = (
                    repr(next(iter(self.levels.counts)))
                    if len(self.levels.counts) == 1 and not self._has_missing
                    else None
                )
                if self._kind == "text":  # declared categories are not checked
                    self.levels.check_recurrence(self._rows)
                column = Column(self.name, self.levels.names(), 0.0, self._has_missing)
                return Found(column, only, False)
            numbers = self.levels.numbers(kind)
            low, high = float(numbers.min()), float(numbers.max())
        else:
            numbers = np.concatenate(self._numbers)
            numbers = numbers[~np.isnan(numbers)]
        median = float(np.median(numbers)) if len(numbers) else low
        limits = _limits(numbers, low, high)
        little = kind == "number" and _varies_little(numbers.clip(limits[0], limits[1]))
        origin = max(low, limits[0]) if kind == "date" else median if little else 0.0
        column = Column(self.name, None, median - origin, self._has_missing, kind, origin, limits)  # type: ignore[arg-type]
        only = (
            (date_of(low) if kind == "date" else f"{low:g}")
            if low == high and not self._has_missing
            else None
        )
        return Found(column, only, self._kind == "text" and kind == "number")


class Found(NamedTuple):
    """A column that was learned from the training rows.

    Attributes:
        column: its encoding.
        only: the value that all training rows have, in words; None where they differ.
        was_text: whether its numbers are written as texts.
    """

    column: Column
    only: str | None
    was_text: bool


def _limits(numbers: np.ndarray, low: float, high: float) -> list[float]:
    """The `limits` of a column, from a sample of its numbers and the extremes of all of them."""
    if low == high:  # a constant feature has no effect, so other numbers need only be finite
        return [min(low, -_CONSTANT_LIMIT), max(high, _CONSTANT_LIMIT)]
    lower, middle, upper = (
        np.quantile(numbers, [0.05, 0.5, 0.95]).tolist() if len(numbers) else (low, low, high)
    )
    # Where most rows have one number, their middle nine tenths have no range.
    reach = _MIDDLE_RANGES * (upper - lower) if lower < upper else np.inf
    beyond = _RANGES_BEYOND * (high - low)
    least, most = max(low - beyond, middle - reach), min(high + beyond, middle + reach)
    return [max(least, -sys.float_info.max), min(most, sys.float_info.max)]


def _varies_little(numbers: np.ndarray) -> bool:
    """Whether numbers vary by less than single precision resolves at the largest of them."""
    if not len(numbers):
        return False
    level = float(np.abs(numbers).max())
    # relative to the largest number, whose square may overflow
    std = float((numbers / (level or 1.0)).std())
    return bool(numbers.min() < numbers.max()) and std < 1e-4 and 1e-3 * std < _SINGLE


class Unseen:
    """Values that the training rows do not have, and numbers far from theirs, for one warning."""

    def __init__(self) -> None:
        self._far: dict[str, tuple[int, str]] = {}
        self._rows: dict[str, int] = {}
        self._values: dict[str, set[str]] = {}
        self._fills: dict[str, str] = {}

    def add(self, column: Column, values: Values) -> None:
        """Add the values of a column, after `Column.align`."""
        if column.is_left_out:
            return
        if column.categories is None:
            self._add_far(column, values)
            count = 0 if column.has_missing else int(values.missing.sum())
            if count:
                assert column.fill is not None
                fill = column.origin + column.fill
                self._fills[column.name] = date_of(fill) if column.kind == "date" else f"{fill:g}"
                self._rows[column.name] = self._rows.get(column.name, 0) + count
            return
        bad = column.places(values) < 0
        if bad.any():
            assert values.codes is not None
            names = {
                "missing" if k < 0 else repr(label(values.levels[k]))
                for k in np.unique(values.codes[bad])
            }
            self._values.setdefault(column.name, set()).update(names)
            self._rows[column.name] = self._rows.get(column.name, 0) + int(bad.sum())

    def _add_far(self, column: Column, values: Values) -> None:
        far = column.is_far(values)
        if not far.any():
            return
        assert column.limits is not None
        row = int(np.argmax(far))
        assert values.numbers is not None
        limit = column.limits[int(values.numbers[row] > column.limits[0])]
        read = date_of(limit) if column.kind == "date" else f"{limit:g}"
        count, first = self._far.get(
            column.name, (0, f"{values.text(row)} at row {values.row(row)} as {read}")
        )
        self._far[column.name] = (count + int(far.sum()), first)

    def __len__(self) -> int:
        """The number of different values; all missing numbers of a column count as one value.

        So do all its far numbers.
        """
        return len(self._fills) + len(self._far) + sum(map(len, self._values.values()))

    def message(self, beginning: str = "training has not seen") -> str:
        """The warning, in sentences, of which the first begins as given; empty without values."""
        sentences = [f"{beginning} {self._not_seen()}."] if self._rows else []
        if self._far:
            parts = [
                f"column {name!r}: {count} rows, {first}"
                for name, (count, first) in self._far.items()
            ]
            sentences.append(
                "Numbers that lie far from nearly all others of training are read as where that "
                f"begins: {'; '.join(parts)}."
            )
        return " ".join(sentences)

    def _not_seen(self) -> str:
        parts = []
        for name, count in self._rows.items():
            if name in self._fills:
                parts.append(
                    f"column {name!r}: {count} missing numbers, read as the median "
                    f"{self._fills[name]}"
                )
            else:
                known = sorted(self._values[name])
                seen = f"{', '.join(known[:3])}{', ...' if len(known) > 3 else ''}"
                parts.append(f"column {name!r}: {count} rows with {seen}, which set no indicator")
        return "; ".join(parts)


def index_warning(names: Sequence[str]) -> str:
    """The sentence about columns that are left out since they number or name the rows."""
    if len(names) == 1:
        return f"column {names[0]!r} is left out, since it numbers or names the rows."
    return f"columns {listed(names)} are left out, since they number or name the rows."


def text_warning(names: Sequence[str]) -> str:
    """The warning about columns whose numbers are written as texts."""
    return (
        f"numbers are written as texts in {listed(names)}, and are read as numbers. Where they are "
        "names, say that the column holds categories."
    )


def listed(names: Sequence[str], limit: int = 5) -> str:
    """The first names, in quotation marks, and the number of the others."""
    return ", ".join(map(repr, names[:limit])) + (
        f" and {len(names) - limit} more" if len(names) > limit else ""
    )


def state_of(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The columns as plain data, for files.

    It is a list, since not every format keeps the order of a mapping.
    """
    return [asdict(column) for column in columns]
