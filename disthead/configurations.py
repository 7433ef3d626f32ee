"""The configurations that come with disthead, one YAML file for each kind of target."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disthead.errors import nearest

__all__ = ["check_keys", "configuration", "configurations"]


def configurations() -> dict[str, Path]:
    """The configurations that come with disthead, by name.

    They are in the installed package, or in the `configs` folder of the repository.

    >>> sorted(configurations())[:3]
    ['binary', 'classes', 'counts']
    """
    package = Path(__file__).parent
    folder = next(
        path for path in (package / "configs", package.parent / "configs") if path.is_dir()
    )
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def configuration(name: str) -> Path:
    """The file of a configuration.

    Args:
        name: a path, or the name of a configuration that comes with disthead.

    Raises:
        ValueError: for a name that is neither, with the nearest names.
    """
    if Path(name).is_file():
        return Path(name)
    known = configurations()
    if name not in known:
        hint = nearest(Path(name).stem, known)
        raise ValueError(
            f"no configuration {name!r}, neither a file nor a known name{hint} Known: "
            f"{', '.join(known)}."
        )
    return known[name]


def check_keys(text: str, source: object, folder: Path | None = None) -> None:
    r"""Refuse YAML in which a key comes twice in one mapping.

    YAML's readers would silently take the last value of such a key.

    Args:
        text: the YAML.
        source: what it is called in errors: the file, or the option that has it as its value.
        folder: of the file; files of YAML in it that are named in the text are checked, too.

    Raises:
        ValueError: with the key and both of its lines.
        yaml.YAMLError: for a text that is not YAML.

    >>> check_keys("trainer:\n  devices: 3\n  devices: 4", "my.yaml")
    Traceback (most recent call last):
    ...
    ValueError: my.yaml: the key trainer.devices comes twice, in lines 2 and 3: remove one of them.
    """
    import yaml

    root = yaml.compose(text, yaml.SafeLoader)
    for place, first_key, second_key in _repeated_keys(root, "", set()):
        first, second = first_key.start_mark.line + 1, second_key.start_mark.line + 1
        where = f"in lines {first} and {second}" if first != second else f"in line {first}"
        raise ValueError(f"{source}: the key {place} comes twice, {where}: remove one of them.")
    for node in _scalars(root, set()) if folder is not None else ():
        if node.value.endswith((".yaml", ".yml")) and (folder / node.value).is_file():
            file = folder / node.value
            check_keys(file.read_text("utf-8"), file)


def _entries(node: Any, seen: set[int]) -> Iterator[tuple[str, Any, Any]]:
    """The name, the key (None in a list) and the value of each entry of a node that is new."""
    if id(node) in seen or node is None or isinstance(node.value, str):
        return
    seen.add(id(node))
    for k, entry in enumerate(node.value):
        key, value = entry if isinstance(entry, tuple) else (None, entry)
        yield str(k if key is None else key.value), key, value


def _repeated_keys(node: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Any, Any]]:
    """Keys that come twice: where they are, and their two nodes."""
    keys: dict[tuple[str, str], Any] = {}
    for name, key, value in _entries(node, seen):
        inner = f"{place}.{name}" if place else name
        if key is not None and isinstance(key.value, str) and key.tag != "tag:yaml.org,2002:merge":
            if (key.tag, key.value) in keys:
                yield inner, keys[key.tag, key.value], key
            keys[key.tag, key.value] = key
        yield from _repeated_keys(value, inner, seen)


def _scalars(node: Any, seen: set[int]) -> Iterator[Any]:
    if node is not None and isinstance(node.value, str):
        yield node
    for _, _, value in _entries(node, seen):
        yield from _scalars(value, seen)
