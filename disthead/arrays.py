"""Checked conversion of arguments: `as_tensor`, `as_integer`, `as_mapping`, `class_indices` ..."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.errors import TargetError

__all__ = [
    "as_array",
    "as_integer",
    "as_integers",
    "as_mapping",
    "as_names",
    "as_number",
    "as_tensor",
    "check_kind",
    "check_type",
    "class_indices",
    "exactly_one",
    "is_null",
]

_LARGEST = np.iinfo(np.int64).max


def as_array(values: Any) -> np.ndarray:
    """`numpy.asarray`, where the masked values of a masked array are missing (NaN, NaT or None).

    NumPy itself returns the values below the mask.

    >>> as_array(np.ma.array([1.0, -999.0], mask=[False, True]))
    array([ 1., nan])
    """
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    mask = np.ma.getmaskarray(values)
    if not mask.any():
        return values.data
    array = values.data.copy() if values.dtype.kind in "fmM" else values.data.astype(object)
    array[mask] = {"f": np.nan, "m": "NaT", "M": "NaT"}.get(array.dtype.kind)
    return array


def as_tensor(
    values: Any,
    name: str = "y",
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """The values as a tensor; a tensor is returned as it is.

    Values with a dtype keep it, double precision too; unsigned integers become int64. Python's
    numbers, which have none, become integers or floating numbers of `dtype`. Missing values (None,
    pandas' NA, masked entries) become NaN.

    Args:
        values: a tensor, a NumPy array or scalar, a pandas or polars column, a list or a number.
        name: what it is called in errors.
        dtype: of Python's floating numbers and lists of them; torch's default one unless given.
        device: where the tensor is made; a tensor stays where it is.

    Raises:
        TypeError: for texts, dates and other values that are not numbers, with the first one and
            its row.
        ValueError: for lists whose rows have different lengths.

    >>> as_tensor(np.array([1.5, 2.5])).dtype, as_tensor([1.5, 2.5]).dtype, as_tensor(3).dtype
    (torch.float64, torch.float32, torch.int64)
    """
    if isinstance(values, Tensor):
        return values
    has_dtype = hasattr(values, "dtype") or hasattr(values, "__array__")
    if isinstance(values, (list, tuple)) and any(isinstance(value, Tensor) for value in values):
        return torch.stack([as_tensor(value, name, dtype=dtype, device=device) for value in values])
    try:
        array = as_array(values)
    except ValueError as error:
        raise ValueError(f"{name} must have rows of equal length, got {_say(values)}.") from error
    if array.dtype == object:
        array, has_dtype = _numbers(array, name), True
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(
            np.int64 if not array.size or array.max() <= np.iinfo(np.int64).max else np.float64
        )
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} must hold numbers, got {_say(values)}{_hint(array, name)}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    # A copy: memory of others may be read-only, run backwards, or change later.
    tensor = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    if not has_dtype and tensor.is_floating_point():
        tensor = tensor.to(dtype or torch.get_default_dtype())
    return tensor if device is None else tensor.to(device)


def check_kind(y: Tensor, support: Any, name: str = "y") -> None:
    """Refuse complex targets, and truth values of a support of real numbers or unbounded counts.

    Only the dtype is checked, not the values.

    Args:
        y: the targets.
        support: of the distribution or the family; two outcomes, classes and bounded counts admit
            truth values.
        name: what the targets are called in errors.

    Raises:
        TargetError: for such targets.
    """
    if y.is_complex():
        raise TargetError(
            f"{name} must hold real numbers, got complex ones ({y.dtype}). Try {name}.real or "
            f"{name}.abs()."
        )
    constraint = getattr(support, "base_constraint", support)
    has_truth = constraint is constraints.boolean or (
        constraint.is_discrete and hasattr(constraint, "upper_bound")
    )
    if y.dtype == torch.bool and not has_truth:
        raise TargetError(
            f"{name} must hold numbers, got truth values ({y.dtype}). They are for bernoulli and "
            f"for classes; where they mean the numbers 0 and 1, try {name}.float() of a tensor or "
            f"{name}.astype(float) of an array."
        )


def as_integer(value: Any, name: str, least: int = 1) -> int:
    """An integer of Python, NumPy or torch as a Python integer.

    Args:
        value: the integer.
        name: what it is called in errors.
        least: the smallest integer that is allowed.

    Raises:
        ValueError: for anything else, floating numbers too, and for integers below `least`.

    >>> as_integer(np.int64(3), "num_classes")
    3
    """
    try:
        number = operator.index(value)
    except (TypeError, ValueError):
        number = None
    if number is None or number < least or isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return number


def as_integers(values: Any, name: str, least: int = 1) -> tuple[int, ...]:
    """A list of integers, such as the sizes of layers, as a tuple of Python integers.

    Raises:
        ValueError: for anything else, with the first entry that is not an integer or below `least`.

    >>> as_integers([128, np.int64(64)], "hidden_sizes")
    (128, 64)
    """
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise ValueError(f"{name} must be a list of integers, such as (128, 128), got {values!r}.")
    return tuple(as_integer(value, f"{name}[{place}]", least) for place, value in enumerate(values))


def as_number(value: Any, name: str, expected: str, is_valid: Callable[[float], bool]) -> float:
    """A number of Python or NumPy as a float.

    Args:
        value: the number.
        name: what it is called in errors.
        expected: which numbers are valid, in words.
        is_valid: whether a number is valid.

    Raises:
        ValueError: for anything else, with what was expected.

    >>> as_number(0.5, "dropout", "a probability below 1", lambda p: 0 <= p < 1)
    0.5
    """
    if not isinstance(value, Real) or not is_valid(float(value)):
        raise ValueError(f"{name} must be {expected}, got {value!r}.")
    return float(value)


def check_type(value: Any, name: str, kind: type | tuple[type, ...], expected: str) -> None:
    """Refuse an option of a wrong type; a truth value does not count as a number.

    Args:
        value: the option.
        name: what it is called in errors.
        kind: the types that are allowed.
        expected: what is allowed, in words, with an example that a user can try.

    Raises:
        ValueError: with what was expected and what was got.

    >>> check_type(1, "feature_dim", int, "an integer, such as 1 for images (N, C, H, W)")
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{name} must be {expected}, got {value!r}.")


def as_mapping(value: "Mapping[str, Any] | None", name: str, example: str) -> dict[str, Any]:
    """A copy of a mapping from names, as a dictionary; None becomes an empty one.

    Raises:
        ValueError: for anything else, with the example.

    >>> as_mapping({"scale": 1.0}, "fixed", "{'scale': 1.0}")
    {'scale': 1.0}
    """
    expected = f"a mapping from names, such as {example}"
    check_type(value, name, (Mapping, type(None)), expected)
    for key in value or ():
        check_type(key, f"a name in {name}", str, f"a text: {name} is {expected}")
    return dict(value or {})


def as_names(value: "Iterable[Any] | str", name: str, example: str) -> tuple[Any, ...]:
    """One name, or several, as a tuple.

    Raises:
        ValueError: for anything else, with the example.

    >>> as_names("scale", "shared", "['scale']")
    ('scale',)
    """
    kind = str if isinstance(value, (bytes, Mapping)) else (str, Iterable)
    check_type(value, name, kind, f"a name or a list of names, such as {example}")
    return (value,) if isinstance(value, str) else tuple(value)


def class_indices(
    values: Any,
    labels: Sequence,
    name: str = "y",
    *,
    left_out: np.ndarray | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The index of each label among the labels of the classes, as int64 in the shape of `values`.

    Args:
        values: labels.
        labels: the labels of the classes, in their order.
        name: what the values are called in errors.
        left_out: a mask of rows, in the first dimensions of `values`, whose labels may be missing
            or unknown; they become 0.
        ignore_index: a number that stands for no class, and stays itself.

    Raises:
        TargetError: for values that are not among the labels, with the row of the first one.

    >>> class_indices(["dog", "cat", "dog"], ["cat", "dog"])
    tensor([1, 0, 1])
    """
    # An array of objects, so that a list of labels of several kinds keeps them as they are.
    array = np.asarray(values, dtype=object)
    if left_out is not None and array.shape[: left_out.ndim] == left_out.shape:
        array = array.copy()
        array[left_out] = next(iter(labels))
    places: dict[Any, int | None] = {label: place for place, label in enumerate(list(labels))}
    known = places if ignore_index is None else {ignore_index: ignore_index} | places
    indices = [known.get(value) for value in array.reshape(-1).tolist()]
    if None in indices:
        row = indices.index(None)
        raise TargetError(
            f"{name} must hold labels of the classes, {', '.join(map(repr, places))}, got "
            f"{array.reshape(-1).tolist()[row]!r} at row {row} ({indices.count(None)} of "
            f"{len(indices)} values). A tensor holds the numbers of the classes instead."
        )
    return torch.tensor(indices, dtype=torch.int64).reshape(array.shape)


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    """An array of Python objects, such as decimals, as numbers; missing ones become NaN."""
    numbers = [np.nan if is_null(value) else value for value in array.reshape(-1)]
    for row, value in enumerate(numbers):
        if isinstance(value, (str, bytes)) or not hasattr(type(value), "__float__"):
            raise TypeError(
                f"{name} must hold numbers, got {value!r} at row "
                f"{row}{_hint(np.array([value]), name)}"
            )
    kind: type = np.float64
    if numbers and all(isinstance(value, (bool, np.bool_)) for value in numbers):
        kind = np.bool_
    elif all(
        isinstance(value, (int, np.integer)) and abs(int(value)) <= _LARGEST for value in numbers
    ):
        kind = np.int64
    try:
        return np.array(numbers, dtype=kind).reshape(array.shape)
    except OverflowError as error:
        row = next(
            row for row, value in enumerate(numbers) if abs(value) > int(np.finfo(np.float64).max)
        )
        raise ValueError(
            f"{name} must hold numbers of double precision, got one too large for it at row {row}."
        ) from error


def is_null(value: Any) -> bool:
    """Whether a value is None, or pandas' NA or NaT."""
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _hint(array: np.ndarray, name: str) -> str:
    if array.dtype.kind in "US" and name == "y":
        return ". Number the classes from 0, in the order of the model's classes."
    if array.dtype.kind in "mM":
        return ". Turn dates into numbers, such as days since the first one."
    return "."


def _say(values: Any) -> str:
    text = repr(values)
    return text if len(text) <= 60 else f"{text[:57]}..."


def exactly_one(family: str, **parameters: object) -> None:
    """Refuse none, or several, of parameters that stand for one another, such as logits and probs.

    Raises:
        ValueError: with the names of those that are not None.
    """
    names = [name for name, value in parameters.items() if value is not None]
    if len(names) != 1:
        raise ValueError(
            f"{family} takes exactly one of {' and '.join(parameters)}, got "
            f"{' and '.join(names) or 'neither'}."
        )
