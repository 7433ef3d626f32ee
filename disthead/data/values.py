"""`Values`: one column of any kind of table, with the kind of its values and its missing ones."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np

from disthead.arrays import as_array, is_null

__all__ = [
    "PARSERS",
    "REMEDY",
    "TARGET_REMEDY",
    "DataError",
    "Values",
    "as_kind",
    "as_quantities",
    "date_of",
    "is_code",
    "is_missing",
    "label",
    "parse_date",
    "parse_duration",
    "parse_number",
    "read_values",
    "rows_of",
]

_LARGEST = int(sys.float_info.max)
_MICROSECONDS = 86_400_000_000  # of a day
_EPOCH = datetime(1970, 1, 1)
_PLURAL = {
    "number": "numbers",
    "truth": "truth values",
    "date": "dates",
    "duration": "durations",
    "text": "texts",
    "category": "categories",
}
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_CODE = re.compile(r"\s*[-+]?0\d+\s*")  # 007 is a name, not a number
_DURATION = re.compile(
    r"\s*(?:([-+]?\d+) days?)?(?:,? ?\+?(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d+)?))?)?\s*"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?\s?(Z|[-+]\d\d:?\d\d)?)?")


class DataError(ValueError):
    """A table that cannot be used as it is; the message says why, with the column and the row."""


@dataclass(frozen=True)
class Values:
    """The N values of one column, all of one kind.

    Attributes:
        name: of the column.
        kind: "number", "truth", "date", "duration", "text", or "category", which the table itself
            declares.
        numbers: (N,) in double precision, NaN where missing: numbers, truth values as 0 and 1,
            dates as days since 1970-01-01 (UTC), durations as days. None for texts and categories.
        codes: (N,), for texts and categories the place of each value among the levels, -1 where
            missing.
        levels: the distinct texts or categories.
        is_whole: whether the numbers are integers by their type.
        rows: (N,), the number of each row in its table, where these are some of its rows.
    """

    name: str
    kind: str
    numbers: np.ndarray | None = None
    codes: np.ndarray | None = None
    levels: Sequence[Any] = ()
    is_whole: bool = False
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, chosen: Any) -> "Values":
        """Some rows: a slice, their numbers, or a mask."""
        rows = np.arange(len(self))[chosen] if self.rows is None else self.rows[chosen]
        if self.numbers is not None:
            return Values(self.name, self.kind, self.numbers[chosen], None, (), self.is_whole, rows)
        return Values(
            self.name, self.kind, None, self._entries[chosen], self.levels, self.is_whole, rows
        )

    def row(self, position: int) -> int:
        """The number of a row in its table."""
        return int(position if self.rows is None else self.rows[position])

    @property
    def _entries(self) -> np.ndarray:
        entries = self.codes if self.numbers is None else self.numbers
        assert entries is not None
        return entries

    @property
    def plural(self) -> str:
        """The kind in the plural, for messages."""
        return _PLURAL[self.kind]

    @property
    def is_named(self) -> bool:
        """Whether the values are texts or categories."""
        return self.numbers is None

    @property
    def missing(self) -> np.ndarray:
        """A mask of the missing values, (N,)."""
        return np.isnan(self.numbers) if self.numbers is not None else self._entries < 0

    @property
    def varies(self) -> bool:
        """Whether there are two values, or one value that is missing in some rows."""
        present = self._entries[~self.missing]
        return bool(len(present)) and (
            len(present) < len(self) or bool((present != present[0]).any())
        )

    def text(self, row: int) -> str:
        """The value of a row, for a message."""
        if self.numbers is None:
            level = int(self._entries[row])
            return "a missing value" if level < 0 else repr(self.levels[level])
        number = float(self.numbers[row])
        if self.kind == "truth" and number == number:
            return str(bool(number))
        return date_of(number) if self.kind == "date" else f"{number:g}"

    def counts(self) -> np.ndarray:
        """The number of rows of each level."""
        return np.bincount(self._entries[self._entries >= 0], minlength=len(self.levels))

    def as_category(self) -> "Values":
        """The same values as categories."""
        if self.numbers is None:
            return replace(self, kind="category")
        present = ~np.isnan(self.numbers)
        distinct, places = np.unique(self.numbers[present], return_inverse=True)
        codes = np.full(len(self), -1, dtype=np.int64)
        codes[present] = places
        makers: dict[str, Callable[[float], Any]] = {"truth": bool, "date": date_of}
        make = makers.get(self.kind, float)
        return replace(
            self,
            kind="category",
            numbers=None,
            codes=codes,
            levels=[make(v) for v in distinct.tolist()],
        )

    def first(self, bad: np.ndarray) -> str:
        """The marked values for a message: their number, and the first with its row."""
        row = int(np.argmax(bad))
        return f"{int(bad.sum())} of {len(bad)} rows: {self.text(row)} at row {self.row(row)}"


def label(value: Any) -> str:
    """A category as text; 1 and 1.0 are the same one.

    >>> label(1), label(1.0), label(1.5), label("1.0")
    ('1', '1', '1.5', '1.0')
    """
    number = not isinstance(value, (str, bytes, bool, np.bool_)) and isinstance(value, Real)
    return str(int(value)) if number and float(value).is_integer() else str(value)


def is_code(text: Any) -> bool:
    """Whether a text of digits begins with a zero, as 007 does: a name, not a number."""
    return isinstance(text, str) and bool(_CODE.fullmatch(text))


def parse_number(text: Any) -> float | None:
    """The number that a text stands for, or None.

    Texts of digits that begin with a zero, such as 007, do not stand for numbers.
    """
    if isinstance(text, str):
        return float(text) if _NUMBER.fullmatch(text) and not is_code(text) else None
    return float(text) if isinstance(text, Real) else None


def parse_date(text: Any) -> float | None:
    """Days since 1970-01-01 (UTC) of a date or a moment in the form of ISO 8601; None for others.

    >>> parse_date("1970-01-02"), parse_date("1970-01-01T06:00Z"), parse_date("yesterday")
    (1.0, 0.25, None)
    """
    if isinstance(text, (date, datetime)):
        return _days(text)
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        return None
    try:
        return _days(
            datetime.fromisoformat(
                re.sub(r"(\.\d{6})\d+", r"\1", text).replace(" +", "+").replace(" Z", "Z")
            )
        )
    except ValueError:  # such as the 30th of February
        return None


def parse_duration(text: Any) -> float | None:
    """Days of a duration as pandas and Python write it, or of a time of day; None for other texts.

    >>> parse_duration("2 days 06:00:00"), parse_duration("1 day, 12:00:00")
    (2.25, 1.5)
    >>> parse_duration("18:00"), parse_duration("soon")
    (0.75, None)
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text.strip() else None
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days + (hours * 60 + minutes + seconds / 60) / 1440


PARSERS: dict[str, Callable[[Any], float | None]] = {
    "number": parse_number,
    "date": parse_date,
    "duration": parse_duration,
}


def date_of(days: float) -> str:
    """The date, or the moment, that is so many days after 1970-01-01, as a text in ISO 8601."""
    if days != days:
        return "NaT"
    text = str(np.datetime64(round(days * _MICROSECONDS), "us"))
    return text.removesuffix("T00:00:00.000000").removesuffix(".000000")


def _days(value: Any) -> float:
    """Days since 1970-01-01 of a date or a moment; a moment in a time zone is taken in UTC."""
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return (value - _EPOCH) / timedelta(days=1)


# Containers.


def read_values(column: Any, name: str) -> Values:
    """A column of any type as `Values`.

    Args:
        column: N values: an array, a tensor, a list, or a column of a data frame (pandas, polars).
        name: of the column.

    Raises:
        DataError: for values of several kinds, or complex numbers.
        TypeError: for values that are neither number, text, truth value, date nor duration.
    """
    if hasattr(column, "detach"):
        column = column.detach().cpu().numpy()
    if hasattr(column, "factorize"):
        return _from_pandas(column, name)
    declared = str(getattr(column, "dtype", "")).startswith(("Categorical", "Enum"))  # of polars
    values = _from_array(as_array(column), name)
    return values.as_category() if declared else values


def rows_of(X: Any) -> np.ndarray:
    """A list of rows as an array (N, P), in which numbers beside texts stay numbers.

    NumPy alone would turn them into texts.

    Raises:
        ValueError: for rows of different lengths, with the first such row.
    """
    if not isinstance(X, (list, tuple)):
        return as_array(X)
    lengths = [len(row) if isinstance(row, (list, tuple)) else -1 for row in X]
    if lengths and lengths[0] >= 0 and len(set(lengths)) > 1:
        row = next(row for row, length in enumerate(lengths) if length != lengths[0])
        raise ValueError(
            f"all rows of X must have as many values as the first one, {lengths[0]}, got "
            f"{lengths[row]} at row {row}."
        )
    array = np.asarray(X)
    if array.dtype.kind in "biufc" or array.ndim != 2:
        return array
    array = np.empty((len(X), lengths[0]), dtype=object)
    for row, values in enumerate(X):
        array[row, :] = values
    return array


def _from_pandas(column: Any, name: str) -> Values:
    dtype = column.dtype
    if hasattr(dtype, "categories") and hasattr(column, "cat"):
        return Values(
            name,
            "category",
            None,
            column.cat.codes.to_numpy(np.int64),
            column.cat.categories.tolist(),
        )
    if isinstance(dtype, np.dtype):
        return _from_array(column.to_numpy(), name)
    if str(dtype).startswith("dictionary"):
        codes, levels = column.factorize()
        return Values(name, "category", None, codes.astype(np.int64), levels.tolist())
    if str(dtype).startswith("period"):
        return _from_array(column.dt.to_timestamp().to_numpy(), name)
    if dtype.kind == "M" and not str(dtype).startswith("date32"):
        naive = column if column.dt.tz is None else column.dt.tz_convert("UTC").dt.tz_localize(None)
        return _from_array(naive.to_numpy("datetime64[us]", na_value=np.datetime64("NaT")), name)
    if dtype.kind == "m":
        return _from_array(column.to_numpy("timedelta64[us]", na_value=np.timedelta64("NaT")), name)
    if dtype.kind in "biuf" and "decimal" not in str(dtype):
        numbers = column.to_numpy(np.float64, na_value=np.nan)
        return Values(
            name, "truth" if dtype.kind == "b" else "number", numbers, is_whole=dtype.kind in "iu"
        )
    if column.dtype.type is str:
        codes, levels = column.factorize()
        return Values(name, "text", None, codes.astype(np.int64), levels.tolist())
    return _from_objects(column.to_numpy(object).tolist(), name)


def _from_array(array: np.ndarray, name: str) -> Values:
    if array.ndim != 1:
        raise DataError(
            f"column {name!r} must have one value for each row, got the shape {array.shape}."
        )
    kind = array.dtype.kind
    if kind == "c":
        raise DataError(f"Complex data not supported, got it in column {name!r}.")
    if kind in "mM":
        return _from_moments(array, name)
    if kind in "biuf":
        return Values(
            name,
            "truth" if kind == "b" else "number",
            array.astype(np.float64),
            is_whole=kind in "iu",
        )
    return _from_objects(array.tolist(), name)


def _from_moments(array: np.ndarray, name: str) -> Values:
    """Dates and durations of NumPy, in any unit."""
    kind = "date" if array.dtype.kind == "M" else "duration"
    try:
        micro = array.astype("datetime64[us]" if kind == "date" else "timedelta64[us]")
    except TypeError as error:
        raise DataError(
            f"column {name!r} holds {array.dtype}, which has no length in days: turn it into days."
        ) from error
    days = micro.astype(np.int64) / _MICROSECONDS
    days[np.isnat(micro)] = np.nan
    return Values(name, kind, days)


def _from_objects(values: list[Any], name: str) -> Values:
    """Values of Python objects; the kind of each type is looked up once."""
    kind_of = {kind: _kind(kind) for kind in set(map(type, values))}
    if set(kind_of.values()) <= {"text", "missing"}:
        return _from_texts(values, name)
    kinds = ["missing" if is_missing(value) else kind_of[type(value)] for value in values]
    present = set(kinds) - {"missing"}
    for wrong in ("complex", "other"):
        if wrong in present:
            row = kinds.index(wrong)
            if wrong == "complex":
                raise DataError(
                    f"Complex data not supported, got it in column {name!r} at row {row}."
                )
            raise TypeError(
                f"argument must be a string or a number, got {type(values[row]).__name__} in "
                f"column {name!r} at row {row}. "
                "Dates, durations and truth values are taken, too."
            )
    if present <= {"text"}:
        return _from_texts(
            [None if kind == "missing" else v for v, kind in zip(values, kinds, strict=True)], name
        )
    if present == {"number", "truth"}:
        present = {"number"}
    if len(present) > 1:
        raise _of_several_kinds(values, kinds, name)
    [kind] = present or {"number"}
    readers: dict[str, Callable[[Any], float]] = {"date": _read_date, "duration": _read_duration}
    read = readers.get(kind, float)
    try:
        numbers = [
            np.nan if kind_of_value == "missing" else read(value)
            for value, kind_of_value in zip(values, kinds, strict=True)
        ]
    except OverflowError as error:
        row = next(
            row
            for row, value in enumerate(values)
            if isinstance(value, (int, Fraction)) and not -_LARGEST < value < _LARGEST
        )
        raise DataError(
            f"column {name!r} holds a number too large for double precision at row {row}."
        ) from error
    is_whole = all(
        issubclass(cls, (int, np.integer)) for cls in kind_of if kind_of[cls] != "missing"
    )
    return Values(
        name, kind, np.array(numbers, dtype=np.float64), is_whole=is_whole and kind == "number"
    )


def _from_texts(values: list[Any], name: str) -> Values:
    levels: dict[Any, int] = {}
    codes = [
        -1 if value is None or value != value else levels.setdefault(value, len(levels))
        for value in map(_text, values)
    ]
    return Values(name, "text", None, np.array(codes, dtype=np.int64), list(levels))


def _text(value: Any) -> str | None:
    return value if type(value) is str else None if is_missing(value) else str(value)


def _kind(kind: type) -> str:
    if kind is type(None) or kind.__name__ in ("NAType", "NaTType"):
        return "missing"
    if issubclass(kind, (bool, np.bool_)):
        return "truth"
    if issubclass(kind, (np.timedelta64, timedelta, time)):  # NumPy's durations are integers, too
        return "duration"
    if issubclass(kind, Real) or kind.__name__ == "Decimal":
        return "number"
    if issubclass(kind, (str, bytes)):
        return "text"
    if issubclass(kind, (np.datetime64, date)) or hasattr(kind, "to_timestamp"):
        return "date"
    return "complex" if issubclass(kind, (complex, np.complexfloating)) else "other"


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN, NaT, pandas' NA."""
    if is_null(value):
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    if type(value).__name__ == "Decimal":
        return value.is_nan()
    return isinstance(value, Real) and bool(value != value)


def _read_date(value: Any) -> float:
    if isinstance(value, np.datetime64):
        return float(value.astype("datetime64[us]").astype(np.int64)) / _MICROSECONDS
    return _days(value.to_timestamp() if hasattr(value, "to_timestamp") else value)


def _read_duration(value: Any) -> float:
    if isinstance(value, np.timedelta64):
        return float(value.astype("timedelta64[us]").astype(np.int64)) / _MICROSECONDS
    if isinstance(value, time):  # of day
        value = timedelta(
            hours=value.hour,
            minutes=value.minute,
            seconds=value.second,
            microseconds=value.microsecond,
        )
    return value / timedelta(days=1)


def _of_several_kinds(values: list[Any], kinds: list[str], name: str) -> DataError:
    """The error for values of several kinds: the kind of most of them is the expected one."""
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds) - {"missing"})}
    most = max(counts, key=lambda kind: (counts[kind], kind == "number"))
    row = next(row for row, kind in enumerate(kinds) if kind not in (most, "missing"))
    kind = kinds[row]
    return DataError(
        f"column {name!r} must hold {_PLURAL[most]}, got "
        f"{'text' if kind == 'text' else _PLURAL[kind]} in {counts[kind]} of {len(values)} rows: "
        f"{values[row]!r} at row {row}. Make these values missing (None), or turn all of them into "
        f"{'texts' if 'text' in (kind, most) else _PLURAL[most]}."
    )


# Texts that stand for numbers, dates and durations.


REMEDY = (
    "Make these values missing, or say that the column holds categories (`categorical`, or the "
    "type category of a data frame)."
)
TARGET_REMEDY = "Correct these values, or drop their rows."  # targets cannot be missing


def as_kind(values: Values, kind: str, remedy: str = REMEDY) -> Values:
    """Texts or categories that all stand for numbers, dates or durations, as values of this kind.

    Args:
        values: texts or categories.
        kind: "number", "date" or "duration".
        remedy: what to try, for the message.

    Raises:
        DataError: for a text that does not, with its row.
    """
    parsed = [PARSERS[kind](level) for level in values.levels]
    bad = np.array([number is None for number in parsed] + [False])[values._entries]
    if bad.any():
        raise DataError(
            f"column {values.name!r} must hold {_PLURAL[kind]}, got text in {values.first(bad)}. "
            f"{remedy}"
        )
    numbers = np.array([np.nan if number is None else number for number in parsed] + [np.nan])
    return replace(values, kind=kind, numbers=numbers[values._entries], codes=None, levels=())


def as_quantities(values: Values) -> Values:
    """Values of a target, or of another quantity that must be a number, as numbers; NaN if missing.

    Raises:
        DataError: for dates, durations and texts, with rows, and what to do.
    """
    if values.kind in ("date", "duration"):
        missing = values.missing
        also = (
            f", and {int(missing.sum())} missing values (NaT), the first at row "
            f"{values.row(int(np.argmax(missing)))}"
        )
        shown = int(np.argmax(~missing))
        since = " - column.min()" if values.kind == "date" else ""
        raise DataError(
            f"column {values.name!r} holds {values.plural}, such as {values.text(shown)} at row "
            f"{values.row(shown)}{also if missing.any() else ''}; a target or a known quantity "
            f"must be a number. Turn it into days or another unit: (column{since}) / "
            "pandas.Timedelta(days=1)."
        )
    return as_kind(values, "number", TARGET_REMEDY) if values.is_named else values
