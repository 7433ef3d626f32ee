"""The configurations that come with disthead: one for each kind of target, as files that can be copied and edited."""

from pathlib import Path

from disthead.errors import nearest

__all__ = ["configuration", "configurations"]


def configurations() -> dict[str, Path]:
    """The name and the file of each: in the installed package, or in the `configs` folder of the repository.

    >>> sorted(configurations())[:3]
    ['binary', 'classes', 'counts']
    """
    package = Path(__file__).parent
    folder = next(path for path in (package / "configs", package.parent / "configs") if path.is_dir())
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
        raise ValueError(f"no configuration {name!r}, neither a file nor a known name{hint} Known: {', '.join(known)}.")
    return known[name]
