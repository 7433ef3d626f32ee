"""The classes that a loaded file may name.

These are those of torch.nn, torch.optim, disthead, and of the packages that the caller trusts. The
options of a checkpoint name classes; a malicious file could name `os.system`, or a module that runs
code when it is imported. So each name is checked before anything is imported or called.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from disthead.networks.backbone import KINDS, find, is_subclass

__all__ = [
    "GIVEN",
    "check_callbacks",
    "check_classes",
    "check_sources",
    "class_paths",
    "trusted_names",
]

# how a checkpoint describes a backbone without a class path, which it cannot rebuild
GIVEN = "given as an object: "
_ALWAYS = ("torch.nn", "torch.optim", "disthead")
_DEPTH = 64  # of nested lists and mappings
_SOURCES = ("path", "val_path", "test_path", "predict_path")


def trusted_names(trust: "str | Iterable[str] | None") -> tuple[str, ...]:
    """The names of the packages, modules and classes that a caller trusts.

    Args:
        trust: names, or one text with commas between them.

    Raises:
        ValueError: for a text that cannot be the name of a package, a module or a class.

    >>> trusted_names("my_package, other.nets.Net")
    ('my_package', 'other.nets.Net')
    """
    if trust is None:
        return ()
    entries = (
        trust.strip().removeprefix("[").removesuffix("]").split(",")
        if isinstance(trust, str)
        else list(trust)
    )
    names = tuple(entry.strip() if isinstance(entry, str) else entry for entry in entries)
    for name in names:
        if not isinstance(name, str) or not _is_path(name):
            raise ValueError(
                "trust must be names of packages, modules or classes, such as my_package or "
                f"my_package.nets.Net, got {name!r}."
            )
    return names


def check_classes(options: Any, source: object, trust: "str | Iterable[str] | None" = ()) -> None:
    """Refuse options, read from a file, that name a class which the file may not use.

    A class is allowed if it is a subclass of the expected one, such as `torch.nn.Module` for a
    backbone, and both the path that names it and the module that defines it are in torch.nn,
    torch.optim, disthead, or among the trusted names. This holds for class paths
    within `init_args`, too. Nothing is imported that is not allowed.

    Args:
        options: plain data.
        source: the file, for the message.
        trust: names of further packages, modules or classes.

    Raises:
        ValueError: for a class that is not allowed, or for options that are not plain data.
    """
    allowed = _ALWAYS + trusted_names(trust)
    waiting: list[tuple[str, Any, int]] = [("", options, 0)]  # each with the names that lead to it
    while waiting:
        where, value, depth = waiting.pop()
        if depth > _DEPTH:
            raise ValueError(f"{source}: {where[:60]}... is nested more than {_DEPTH} levels deep.")
        if callable(value):
            raise ValueError(
                f"{source}: {where} must be plain data, got {value!r}, which can be called."
            )
        kind = where.rpartition(".")[2]
        if isinstance(value, Mapping):
            if "class_path" in value:
                _check_specification(kind, value, where, source, allowed)
            waiting += [
                (f"{where}.{name}".removeprefix("."), entry, depth + 1)
                for name, entry in value.items()
            ]
        elif isinstance(value, (list, tuple)):
            waiting += [(f"{where}[{k}]", entry, depth + 1) for k, entry in enumerate(value)]
        elif (
            kind in KINDS
            and isinstance(value, str)
            and "." in value
            and not value.startswith(GIVEN)
        ):
            _check_class(kind, value, where, source, allowed)


def _check_specification(
    kind: str, spec: Mapping, where: str, source: object, allowed: Sequence[str]
) -> None:
    path, arguments = spec["class_path"], spec.get("init_args")
    if isinstance(path, str) and (kind not in KINDS or "." in path):
        _check_class(kind, path, where, source, allowed)
    elif kind in KINDS and not isinstance(path, str):  # elsewhere it may be the name of a column
        raise ValueError(
            f"{source}: {where}.class_path must be the path of a class, such as torch.nn.Linear, "
            f"got {path!r}."
        )
    if kind in KINDS and not isinstance(arguments, (Mapping, type(None))):
        raise ValueError(
            f"{source}: {where}.init_args must be a mapping of arguments, got {arguments!r}."
        )


def _check_class(kind: str, path: str, where: str, source: object, allowed: Sequence[str]) -> None:
    named = f"{source} names the class {path!r} ({where})"
    if not _is_path(path):
        raise ValueError(f"{named}, which is not the path of a class, such as torch.nn.Linear.")
    _check_allowed(path, named, allowed)
    try:
        cls = find(kind, path)
    except ValueError as error:
        raise ValueError(f"{named}: {error}") from error
    bases = [KINDS[kind]] if kind in KINDS else list(dict.fromkeys(KINDS.values()))
    if not is_subclass(cls, *bases):
        raise ValueError(
            f"{named}, which is not a subclass of {' or '.join(base.__name__ for base in bases)}, "
            "and so is not loaded. In Python it can be given again: "
            f"DistributionModule.load_from_checkpoint(path, {where.partition('.')[0]}=...)."
        )
    if path not in allowed:
        defined = f"{cls.__module__}.{cls.__qualname__}"
        _check_allowed(defined, f"{named}, which is {defined!r}", allowed)


def _check_allowed(path: str, named: str, allowed: Sequence[str]) -> None:
    if not any(path == name or path.startswith(f"{name}.") for name in allowed):
        raise ValueError(
            f"{named}. A file that is loaded may use classes of torch.nn, torch.optim and disthead "
            "alone, since any other would be code that runs. If you know the file and that code, "
            f"say so: trust=({path!r},), or --trust {path} on the command line; the name of its "
            "package does, too."
        )


def _is_path(name: str) -> bool:
    """Whether a name is one such as `package.module.Class`, without names that Python reserves."""
    parts = name.split(".")
    return all(
        part.isidentifier() and not (part.startswith("__") and part.endswith("__"))
        for part in parts
    )


def class_paths(options: Any) -> list[str]:
    """All class paths within options of the caller, at any depth."""
    if isinstance(options, Mapping):
        paths = [options["class_path"]] if isinstance(options.get("class_path"), str) else []
        return paths + [path for entry in options.values() for path in class_paths(entry)]
    return (
        [path for entry in options for path in class_paths(entry)]
        if isinstance(options, (list, tuple))
        else []
    )


def check_sources(options: Mapping[str, Any], source: object) -> None:
    """Refuse tables, named in a file, that are not files or folders of this machine.

    Pipes and addresses are refused, for example.

    Args:
        options: plain data from the file.
        source: the file, for the message.

    Raises:
        ValueError: for such a table, with the file that names it.
    """
    for name in _SOURCES:
        table = options.get(name)
        if table is None:
            continue
        is_local = (
            isinstance(table, str) and "://" not in table and not table.startswith(("//", "\\\\"))
        )
        if not is_local or (
            os.path.exists(table) and not (os.path.isfile(table) or os.path.isdir(table))
        ):
            raise ValueError(
                f"{source} names the table {table!r} ({name}), which is not a file or folder of "
                "this machine: give a table of your own, --data.path on the command line."
            )


def check_callbacks(states: Any) -> None:
    """Refuse states of callbacks that name files outside the folder of the checkpoints.

    A training that goes on might remove such files for a better checkpoint.

    Args:
        states: of the callbacks, by name, from a checkpoint.

    Raises:
        ValueError: for such a state, with the path.
    """
    for state in states.values() if isinstance(states, Mapping) else ():
        if not isinstance(state, Mapping):
            continue
        several, folder = state.get("best_k_models"), f"{state.get('dirpath')}/"
        paths = [
            value
            for name, value in state.items()
            if str(name).endswith("_path") and isinstance(value, str)
        ]
        for path in [*paths, *(map(str, several) if isinstance(several, Mapping) else ())]:
            if ".." in Path(path).parts or ("://" in path and not path.startswith(folder)):
                raise ValueError(
                    f"the checkpoint names {path!r} as a checkpoint of its training, which may be "
                    "removed for a better one: it must be a file in the folder of the checkpoints. "
                    "Go on from another checkpoint."
                )
