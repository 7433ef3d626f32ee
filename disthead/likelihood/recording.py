"""Records what a formula does to NumPy arrays, so that `Program` can repeat it on blocks of rows in one call.

A formula that is written for NumPy meets `Recorded` arrays in place of numbers, which answer
NumPy's functions by noting them down (NEP 13 and NEP 18). A formula that looks at numbers, or needs
an operation that is not among them, raises `NotRecorded`.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["NotRecorded", "Recorded", "Recorder", "Value"]


class NotRecorded(AttributeError):
    """The formula does what cannot be recorded."""


@dataclass(frozen=True, eq=False)
class Value:
    """One number of a row: an operation on other values and on up to two constants."""

    operation: str
    values: tuple["Value", ...]
    numbers: tuple[float, ...]
    place: tuple[int, int] = (0, 0)  # the array and its column, where it is loaded


class Recorder:
    """Values, each of them noted once.

    Args:
        dtype: the precision of all of them.

    Attributes:
        checks: values with the least and the greatest that they may be, or with nothing where they
            must be whole.
    """

    def __init__(self, dtype: Any):
        self.dtype = np.dtype(dtype)
        self.checks: list[tuple[Value, tuple[float, ...]]] = []
        self._noted: dict[tuple, Value] = {}

    @property
    def in_double(self) -> bool:
        return self.dtype == np.float64

    def array(self, source: int, columns: int | None = None) -> "Recorded":
        """The array of that position: (n,), or (columns, n) with rows behind. Recorded for n = 1."""
        loaded = [self._load(source, column) for column in range(1 if columns is None else columns)]
        items = np.array(loaded, object)
        return Recorded(self, items if columns is None else items[:, None])

    def check(self, array: "Recorded", least: float, greatest: float) -> None:
        """Let the program end where a value is not finite or outside these limits."""
        ends = np.finfo(self.dtype)
        least, greatest = max(least, float(ends.min)), min(greatest, float(ends.max))
        inward = [float(self.dtype.type(end)) for end in (least, greatest)]
        if inward[0] < least:
            inward[0] = float(np.nextafter(self.dtype.type(least), np.inf, dtype=self.dtype))
        if inward[1] > greatest:
            inward[1] = float(np.nextafter(self.dtype.type(greatest), -np.inf, dtype=self.dtype))
        self._check(array, *inward)

    def check_whole(self, array: "Recorded") -> None:
        """Let the program end where a value is not a whole number."""
        self._check(array)

    def _check(self, array: "Recorded", *limits: float) -> None:
        for item in array.items.flat:
            if isinstance(item, Value):
                self.checks.append((item, limits))
            elif not (limits[0] <= item <= limits[1] if limits else float(item).is_integer()):
                raise NotRecorded(f"{item}, which is no number for it")

    def note(self, operation: str, *operands: Any) -> Any:
        """The result of an operation: a value, or a number if all operands are."""
        if not any(isinstance(operand, Value) for operand in operands):
            return _CONSTANT[operation](*operands)
        if operation != "SELECT" and all(_is_comparison(operand) for operand in operands):
            raise NotRecorded("arithmetic of truth values alone, which is logic in NumPy")
        return _SIMPLIFIED.get(operation, Recorder._plain)(self, operation, *operands)

    @property
    def noted(self) -> list[Value]:
        """All values, each behind those that it is made of."""
        return list(self._noted.values())

    def value(self, operation: str, values: tuple[Value, ...], *numbers: float) -> Value:
        key = (operation, tuple(id(value) for value in values), numbers)
        return self._noted.setdefault(key, Value(operation, values, numbers))

    def _load(self, source: int, column: int) -> Value:
        return self._noted.setdefault(
            ("LOAD", source, column), Value("LOAD", (), (), (source, column))
        )

    def filled(self, operand: Any) -> Value:
        return operand if isinstance(operand, Value) else self.value("FILL", (), float(operand))

    def _plain(self, operation: str, *operands: Any) -> Value:
        return self.value(operation, tuple(self.filled(operand) for operand in operands))

    def _commutative(self, operation: str, x: Any, y: Any) -> Value:
        if not isinstance(x, Value):
            x, y = y, x
        if isinstance(y, Value):
            return self.value(operation, (x, y))
        neutral = {"ADD": 0.0, "MULTIPLY": 1.0}.get(operation)
        return x if y == neutral else self.value(operation + "_NUMBER", (x,), float(y))

    def _subtract(self, operation: str, x: Any, y: Any) -> Value:
        if not isinstance(y, Value):
            return self._commutative("ADD", x, -y)
        return (
            self.value(operation, (x, y))
            if isinstance(x, Value)
            else self.value("SUBTRACT_FROM_NUMBER", (y,), x)
        )

    def _divide(self, operation: str, x: Any, y: Any) -> Value:
        if isinstance(x, Value):
            return self._plain(operation, x, y)
        return self.value("DIVIDE_NUMBER", (y,), float(x))

    def _power(self, operation: str, x: Any, exponent: Any) -> Value:
        if isinstance(exponent, Value) or exponent != 2:
            raise NotRecorded(f"a power with exponent {exponent}")
        return self.value("MULTIPLY", (x, x))

    def _turn(self, operation: str, x: Value) -> Value:
        self.checks.append((x, (-1e6, 1e6)))  # as far as turns are taken away
        return self.value(operation, (x,))


_SIMPLIFIED: dict[str, Callable[..., Value]] = {
    "ADD": Recorder._commutative,
    "MULTIPLY": Recorder._commutative,
    "MAXIMUM": Recorder._commutative,
    "MINIMUM": Recorder._commutative,
    "EQUAL": Recorder._commutative,
    "SUBTRACT": Recorder._subtract,
    "DIVIDE": Recorder._divide,
    "POWER": Recorder._power,
    "SIN": Recorder._turn,
    "COS": Recorder._turn,
}
_UFUNCS: dict[np.ufunc, str] = {
    np.add: "ADD",
    np.subtract: "SUBTRACT",
    np.multiply: "MULTIPLY",
    np.divide: "DIVIDE",
    np.power: "POWER",
    np.maximum: "MAXIMUM",
    np.minimum: "MINIMUM",
    np.equal: "EQUAL",
    np.negative: "NEGATIVE",
    np.absolute: "ABSOLUTE",
    np.sign: "SIGN",
    np.sqrt: "SQRT",
    np.exp: "EXP",
    np.log: "LOG",
    np.log1p: "LOG1P",
    np.sin: "SIN",
    np.cos: "COS",
}
_CONSTANT: dict[str, Callable[..., Any]] = {name: ufunc for ufunc, name in _UFUNCS.items()} | {
    "SELECT": np.where
}


def _is_comparison(operand: Any) -> bool:
    return isinstance(operand, Value) and operand.operation.startswith("EQUAL")


class Recorded(NDArrayOperatorsMixin):
    """An array of values and numbers, for formulas that are written for NumPy.

    Args:
        recorder: where operations are noted.
        items: the values and numbers, an array of objects.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, recorder: Recorder, items: np.ndarray):
        self.recorder, self.items = recorder, items

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple = (), **options: Any
    ) -> Any:
        if method != "__call__" or ufunc not in _UFUNCS or options:
            raise NotRecorded(f"numpy.{ufunc.__name__}, {method}")
        result = self._noted(_UFUNCS[ufunc], *inputs)
        if not out:
            return result
        if not isinstance(out[0], Recorded):
            raise NotRecorded("a result in an array of numbers")
        out[0].items[...] = result.items
        return out[0]

    def __array_function__(
        self, function: Callable, types: Any, arguments: tuple, options: dict
    ) -> "Recorded":
        if function is np.where and len(arguments) == 3:
            return self._noted("SELECT", *arguments)
        if function is np.stack:
            parts, *others = arguments
            return Recorded(
                self.recorder, np.stack([_items(part) for part in parts], *others, **options)
            )
        if function is np.empty_like and not options:
            return Recorded(self.recorder, np.empty_like(self.items))
        raise NotRecorded(f"numpy.{function.__name__}")

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        raise NotRecorded("a look at numbers")

    def __bool__(self) -> bool:
        raise NotRecorded("a look at numbers")

    def __getattr__(self, name: str) -> Any:
        raise NotRecorded(f"numpy.ndarray.{name}")

    def __getitem__(self, key: Any) -> "Recorded":
        return Recorded(self.recorder, self.items[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = _items(value)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.items.shape

    @property
    def ndim(self) -> int:
        return self.items.ndim

    @property
    def dtype(self) -> np.dtype:
        return self.recorder.dtype

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def T(self) -> "Recorded":
        return Recorded(self.recorder, self.items.T)

    def stored(self, array: int) -> list[tuple[Value, int, int]]:
        """For `Program`: each row in the column of that number of an array."""
        return [
            (self.recorder.filled(item), array, column)
            for column, item in enumerate(self.items.flat)
        ]

    def reshape(self, *shape: int) -> "Recorded":
        return Recorded(self.recorder, self.items.reshape(*shape))

    def astype(self, dtype: Any) -> "Recorded":
        if np.dtype(dtype) != self.dtype:
            raise NotRecorded(f"a cast of {self.dtype} to {dtype}")
        return Recorded(self.recorder, self.items.copy())

    def sum(self, axis: int) -> "Recorded":
        rows = self._rows(axis)
        return (
            functools.reduce(np.add, rows)
            if rows
            else Recorded(self.recorder, np.zeros(self.shape[1:], object))
        )

    def max(self, axis: int) -> "Recorded":
        return functools.reduce(np.maximum, self._rows(axis))

    def cumsum(self, axis: int) -> "Recorded":
        return Recorded(
            self.recorder, np.stack([one.items for one in itertools.accumulate(self._rows(axis))])
        )

    def _rows(self, axis: int) -> list[Any]:
        if axis != 0:
            raise NotRecorded(f"a sum over dimension {axis}")
        return [self[row] for row in range(len(self))]

    def _noted(self, operation: str, *inputs: Any) -> "Recorded":
        function = np.frompyfunc(functools.partial(self.recorder.note, operation), len(inputs), 1)
        return Recorded(self.recorder, function(*map(_items, inputs)))


def _items(array: Any) -> Any:
    if isinstance(array, Recorded):
        return array.items
    return array.astype(object) if isinstance(array, np.ndarray) else array
