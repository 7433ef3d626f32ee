"""What went wrong, where, and what to try: the wording of errors, in one place."""

import difflib
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

__all__ = ["NonFiniteLoss", "TargetError", "first_line", "locate", "nearest", "pick", "unknown_name", "warn"]


class TargetError(ValueError):
    """A target that the distribution cannot have produced: outside the support, missing or infinite."""


class NonFiniteLoss(ValueError):
    """Training stopped because the loss became NaN or infinite."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning that points at the line which called this library."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(f"{__package__}."):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that does not exist, with the nearest names that do.

    >>> print(unknown_name("link", "softplsu", ["identity", "softplus"]))
    unknown link 'softplsu'; did you mean 'softplus'? Known: identity, softplus.
    """
    names = list(known)
    return ValueError(f"unknown {kind} {name!r}{nearest(name, names)} Known: {', '.join(names) or 'none'}.")


def first_line(error: BaseException) -> str:
    """What an error says first, or of what class it is."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def nearest(name: object, known: Iterable[str]) -> str:
    """The end of a sentence on an unknown name: which known ones it is like, if any.

    >>> nearest("softplsu", ["identity", "softplus"])
    "; did you mean 'softplus'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else "."


def pick(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """`table[name]`, or the error that names the nearest entries."""
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


def locate(bad: Tensor, values: Tensor, limit: int = 3) -> str:
    """Where the marked values are, for a message: how many, and the first few with their rows.

    `bad` is a boolean tensor with the shape of `values`; the first dimension counts rows, the rest are columns.

    >>> import torch
    >>> y = torch.tensor([1.0, -2.0, 3.0, -4.0])
    >>> locate(y < 0, y)
    '2 of 4 values: -2 at row 1, -4 at row 3'
    """
    positions = bad.nonzero()[:limit].tolist()
    found = [f"{_number(values[tuple(position)])} at {_place(position)}" for position in positions]
    count = int(bad.sum())
    rest = ", ..." if count > limit else ""
    return f"{count} of {bad.numel()} values: {', '.join(found)}{rest}"


def _place(position: Sequence[int]) -> str:
    if not position:
        return "the only entry"
    row, *columns = position
    return f"row {row}" + "".join(f", column {column}" for column in columns)


def _number(value: Tensor) -> str:
    return f"{value.item():.7g}" if value.ndim == 0 else f"[{', '.join(f'{part:.7g}' for part in value.tolist())}]"
