"""The configurations that come with disthead: one for each kind of target, as files that can be copied and edited."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disthead.errors import nearest

__all__ = ["check_keys", "configuration", "configurations"]


def configurations() -> dict[str, Path]:
    """The name and the file of each: in the installed package, or in the `configs` folder of the repository.

    >>> sorted(configurations())[:3]
    ['binary', 'classes', 'counts']
    """
    package = Path(__file__).parent
    folder = next(
        path for path in (package / "configs", package.parent / "configs") if path.is_dir()
    )
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def configuration(name: str) -> Path:
    """The file of a configuration: `name` is a path, or the name of one that comes with disthead.

    Raises:
        ValueError: for neither, with the nearest names.
    """
    if Path(name).is_file():
        return Path(name)
    known = configurations()
    if name not in known:
        hint = nearest(Path(name).stem, known)
        raise ValueError(
            f"no configuration {name!r}, neither a file nor a known name{hint} "
            f"Known: {', '.join(known)}."
        )
    return known[name]


def check_keys(text: str, source: object, folder: Path | None = None) -> None:
    r"""Refuse YAML in which a key comes twice in one mapping, of which YAML's readers would take the last in silence.

    Args:
        text: the YAML.
        source: what it is called in errors: the file, or the option that has it as its value.
        folder: of the file; files of YAML in it that are named in the text are looked at, too.

    Raises:
        ValueError: with the key and both of its lines.
        yaml.YAMLError: for a text that is not YAML.

    >>> check_keys("trainer:\n  max_epochs: 3\n  max_epochs: 4", "my.yaml")
    Traceback (most recent call last):
    ...
    ValueError: my.yaml: the key trainer.max_epochs comes twice, in lines 2 and 3: remove one of them.
    """
    import yaml

    root = yaml.compose(text, yaml.SafeLoader)
    for place, one, two in _twice(root, "", set()):
        first, second = one.start_mark.line + 1, two.start_mark.line + 1
        where = f"in lines {first} and {second}" if first != second else f"in line {first}"
        raise ValueError(f"{source}: the key {place} comes twice, {where}: remove one of them.")
    for node in _scalars(root, set()) if folder is not None else ():
        if node.value.endswith((".yaml", ".yml")) and (folder / node.value).is_file():
            file = folder / node.value
            check_keys(file.read_text("utf-8"), file)


def _entries(node: Any, seen: set[int]) -> Iterator[tuple[str, Any, Any]]:
    """The name, the key (None in a list) and the value of each entry of a node of YAML, once for each node."""
    if id(node) in seen or node is None or isinstance(node.value, str):
        return
    seen.add(id(node))
    for k, entry in enumerate(node.value):
        key, value = entry if isinstance(entry, tuple) else (None, entry)
        yield str(k if key is None else key.value), key, value


def _twice(node: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Any, Any]]:
    """Keys that come twice: where they are, and their two nodes."""
    found: dict[tuple[str, str], Any] = {}
    for name, key, value in _entries(node, seen):
        inner = f"{place}.{name}" if place else name
        if key is not None and isinstance(key.value, str) and key.tag != "tag:yaml.org,2002:merge":
            if (key.tag, key.value) in found:
                yield inner, found[key.tag, key.value], key
            found[key.tag, key.value] = key
        yield from _twice(value, inner, seen)


def _scalars(node: Any, seen: set[int]) -> Iterator[Any]:
    if node is not None and isinstance(node.value, str):
        yield node
    for _, _, value in _entries(node, seen):
        yield from _scalars(value, seen)
