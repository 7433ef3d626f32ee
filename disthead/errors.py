"""The wording of errors: what went wrong, where, and what to try."""

import difflib
import errno
import os
import re
import sys
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

__all__ = [
    "NonFiniteLoss",
    "TargetError",
    "first_line",
    "in_a_sentence",
    "locate",
    "nearest",
    "pick",
    "raised_in",
    "unknown_name",
    "warn",
]


class TargetError(ValueError):
    """A target outside the support of the distribution, or one that is missing or infinite."""


class NonFiniteLoss(ValueError):
    """Training stopped because the loss became NaN or infinite."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that points at the line which called this library."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(
        f"{__package__}."
    ):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that does not exist, with the nearest names that do.

    >>> print(unknown_name("link", "softplsu", ["identity", "softplus"]))
    unknown link 'softplsu'; did you mean 'softplus'? Known: identity, softplus.
    """
    names = list(known)
    return ValueError(
        f"unknown {kind} {name!r}{nearest(name, names)} Known: {', '.join(names) or 'none'}."
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class where it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def nearest(name: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name, with the known names that are like it, if any.

    >>> nearest("softplsu", ["identity", "softplus"])
    "; did you mean 'softplus'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else "."


def pick(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """The entry `table[name]`.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    if not isinstance(name, Hashable) or name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


def locate(bad: Tensor, values: Tensor, limit: int = 3) -> str:
    """Where the marked values are, for a message: their number, and the first few with their rows.

    The mask `bad` has the shape of `values`, or its first dimensions; the first dimension counts
    rows, the others are columns.

    >>> import torch
    >>> y = torch.tensor([1.0, -2.0, 3.0, -4.0])
    >>> locate(y < 0, y)
    '2 of 4 values: -2 at row 1, -4 at row 3'
    """
    positions = bad.nonzero()[:limit].tolist()
    first = [f"{_number(values[tuple(position)])} at {_place(position)}" for position in positions]
    count = int(bad.sum())
    rest = ", ..." if count > limit else ""
    return f"{count} of {bad.numel()} values: {', '.join(first)}{rest}"


def _place(position: Sequence[int]) -> str:
    if not position:
        return "the only entry"
    row, *columns = position
    return f"row {row}" + "".join(f", column {column}" for column in columns)


def _number(value: Tensor) -> str:
    return (
        f"{value.item():.7g}"
        if value.ndim == 0
        else f"[{', '.join(f'{part:.7g}' for part in value.tolist())}]"
    )


# What to do where the operating system refuses something.
_REMEDIES = {
    errno.EACCES: "change the permissions, or give another place",
    errno.EPERM: "change the permissions, or give another place",
    errno.EROFS: "give another place",
    errno.ENOENT: "look for a slip in the name",
    errno.ENOTDIR: "a part of this path is a file, where a folder is needed",
    errno.EISDIR: "give the name of a file",
    errno.EEXIST: "give another name",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "allow more of them by `ulimit -n`",
}
_EXTRAS = {
    "pandas": "data",
    "pyarrow": "data",
    "matplotlib": "plots",
    "sklearn": "demo",
    "statsmodels": "demo",
}
_NO_MEMORY = re.compile(
    r"can't allocate memory|out of memory|ALLOC_FAILED|unable to mmap|cannot allocate memory", re.I
)
_PORT_IN_USE = re.compile(r"EADDRINUSE|address (is )?already in use", re.I)
_NO_DEVICE = re.compile(
    r"no CUDA-capable device|no kernel image|devices?\b.* busy or unavailable|"
    r"invalid device ordinal|NVIDIA driver|not compiled with CUDA|"
    r"driver version is insufficient|no CUDA GPUs are available",
    re.I,
)


def in_a_sentence(error: BaseException) -> str | None:
    """The message of an error that a user can mend, in one line; None for an error of the program.

    A user can mend a ValueError, an OSError and an ImportError of this library and of those below
    it, and memory, devices and ports that are not available.

    >>> in_a_sentence(FileNotFoundError(2, "No such file or directory", "my.csv"))
    'my.csv: no such file or directory; look for a slip in the name.'
    >>> in_a_sentence(KeyError("loc")) is None
    True
    """
    message = _one_line(str(error))
    if isinstance(error, (MemoryError, RuntimeError)) and (
        isinstance(error, MemoryError) or _NO_MEMORY.search(message)
    ):
        return f"out of memory{_size(message)}."
    if isinstance(error, (OSError, RuntimeError)) and _PORT_IN_USE.search(message):
        return (
            "another program has the port by which processes find each other: set MASTER_PORT "
            "to a free one, such as 29501."
        )
    if isinstance(error, (RuntimeError, AssertionError)) and _NO_DEVICE.search(message):
        return (
            f"{_one_line(str(error).splitlines()[0]).rstrip('.')}. Try the device cpu "
            "(--trainer.accelerator cpu)."
        )
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        if package == __package__:
            return None
        if package in _EXTRAS:
            return f"{message}. Try: pip install 'disthead[{_EXTRAS[package]}]'"
        return (
            message
            if not package or "pip install" in message
            else f"{message}. Try: pip install {package}"
        )
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        reason = error.strerror if not place else error.strerror[:1].lower() + error.strerror[1:]
        remedy = _REMEDIES.get(error.errno or 0, "") if place else ""
        return _one_line(f"{place}{reason}{'; ' * bool(remedy)}{remedy}.")
    if isinstance(error, (ValueError, OSError)):
        return message
    if isinstance(error, NotImplementedError) and message:  # a method that a distribution lacks
        return message
    return None


def raised_in(error: BaseException) -> str:
    """The name of the module in which an error was raised."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else frame.tb_frame.f_globals.get("__name__", "")


def _one_line(message: str) -> str:
    return re.sub(r"(?<!\.)\.\.$", ".", " ".join(message.split()))


def _size(message: str) -> str:
    """How much memory was asked for, if the message says so."""
    size = re.search(r"allocate ([\d.,]+) ?(bytes|[KMGTP]i?B)", message, re.I)
    if size is None:
        return ""
    if size[2].lower() == "bytes":
        return f": {int(size[1]) / 1e9:,.1f} GB were asked for at once"
    return f": {size[1]} {size[2]} were asked for at once"
