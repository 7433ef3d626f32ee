"""Checks of plain data from files; the error names the entry that is missing or of another kind."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "ANYTHING",
    "COUNT",
    "MAPPING",
    "NUMBER",
    "TEXT",
    "TRUTH",
    "WHOLE",
    "Kind",
    "check_entries",
    "difference",
    "list_of",
    "one_of",
    "or_none",
]

_MOST = 2**53  # not every reader of JSON keeps larger integers exact


class Kind(NamedTuple):
    """What an entry must be.

    Attributes:
        words: what it must be, in words.
        holds: whether a value is valid.
    """

    words: str
    holds: Callable[[Any], bool]


TEXT = Kind("a text", lambda value: isinstance(value, str))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
WHOLE = Kind("a whole number", lambda value: type(value) is int and abs(value) < _MOST)
COUNT = Kind("a whole number of 1 or more", lambda value: type(value) is int and 1 <= value < _MOST)
NUMBER = Kind("a finite number", lambda value: type(value) in (int, float) and math.isfinite(value))
MAPPING = Kind("a mapping", lambda value: isinstance(value, Mapping))
ANYTHING = Kind("plain data", lambda value: True)


def or_none(kind: Kind) -> Kind:
    """The kind of an entry that may also be null.

    >>> or_none(TEXT).words
    'a text or null'
    """
    return Kind(f"{kind.words} or null", lambda value: value is None or kind.holds(value))


def list_of(kind: Kind) -> Kind:
    """The kind of a list whose entries are all of one kind.

    >>> list_of(COUNT).holds([1, 2.0])
    False
    """
    return Kind(
        f"a list, each entry {kind.words}",
        lambda value: isinstance(value, (list, tuple)) and all(map(kind.holds, value)),
    )


def one_of(*values: str) -> Kind:
    """The kind of an entry that is one of these texts.

    >>> one_of("val", "test").words
    'one of val, test'
    """
    return Kind(
        f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values
    )


def check_entries(
    value: Any, expected: "Mapping[str, Any] | Sequence[Any] | Kind", place: str = ""
) -> None:
    """Refuse plain data with missing or unknown entries, or with entries of another kind.

    Args:
        value: the data.
        expected: a kind; or a mapping of kinds, where a name with a question mark may be absent; or
            a list with the one kind of all entries of a list.
        place: where the value is, such as `table.columns`.

    Raises:
        ValueError: with the place of the entry, what it must be and what it is.

    >>> check_entries({"sizes": [4, 0]}, {"sizes": list_of(COUNT)})
    Traceback (most recent call last):
    ...
    ValueError: entry sizes must be a list, each entry a whole number of 1 or more, got [4, 0].
    """
    if isinstance(expected, Kind):
        if not expected.holds(value):
            raise _wrong(place, expected.words, value)
    elif isinstance(expected, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(place, "a mapping", value)
        names = {name.rstrip("?"): name for name in expected}
        for name, full in names.items():
            if name in value:
                check_entries(value[name], expected[full], _within(place, name))
            elif full == name:
                raise ValueError(f"entry {_within(place, name)} is missing.")
        unknown = [name for name in value if name not in names]
        if unknown:
            raise ValueError(
                f"entry {_within(place, unknown[0])} is unknown; there are: {', '.join(names)}."
            )
    else:
        if not isinstance(value, (list, tuple)):
            raise _wrong(place, "a list", value)
        for k, entry in enumerate(value):
            check_entries(entry, expected[0], f"{place}[{k}]")


def difference(value: Any, other: Any, place: str = "") -> str:
    """The first difference of two values of plain data, in words; an empty text if they are equal.

    >>> difference({"sizes": [4, 1]}, {"sizes": [4, 2]})
    'entry sizes[1] is 1 instead of 2'
    """
    return next(_differences(value, other, place), "")


def _differences(value: Any, other: Any, place: str) -> Iterator[str]:
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        for name in [*value, *(name for name in other if name not in value)]:
            if name not in value or name not in other:
                yield f"entry {_within(place, name)} is {'unknown' if name in value else 'missing'}"
            else:
                yield from _differences(value[name], other[name], _within(place, name))
    elif isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        for k, (first, second) in enumerate(zip(value, other, strict=True)):
            yield from _differences(first, second, f"{place}[{k}]")
    elif repr(value) != repr(other):
        yield f"entry {place} is {_shown(value)} instead of {_shown(other)}"


def _wrong(place: str, words: str, value: Any) -> ValueError:
    return ValueError(f"entry {place} must be {words}, got {_shown(value)}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _within(place: str, name: Any) -> str:
    return f"{place}.{name}" if place else str(name)
