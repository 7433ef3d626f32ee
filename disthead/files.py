"""Files that are whole or not there: written beside their place, brought to the disk, and only then given their name."""

import errno
import glob
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where files that killed processes left behind stay
    fcntl = None  # type: ignore[assignment]

__all__ = ["check_file", "check_folder", "unchanged", "version_of", "writing", "writing_folder"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ENDING = ".unfinished"
_PROBE = 1 << 20  # bytes, of which a full disk has no room


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """A file to write into, which takes the place of `path` once the block has ended without an error.

    Until then what was at `path` stays as it was: after an error, a full disk or the end of the process the file there is
    the old one, or none. Several processes may write the same file; the last one to end wins. A symbolic link at `path`
    is replaced, not followed. What killed processes have left beside it is removed.

    Raises:
        OSError: where the folder cannot be written or has no space left, with the file, the folder and what is kept.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "notes.txt")
    >>> with writing(path) as unfinished:
    ...     _ = unfinished.write_text("all of it")
    >>> path.read_text()
    'all of it'
    """
    path = Path(path)
    unfinished, lock = _reserve(path)
    try:
        with _explained(path, unfinished):
            yield unfinished
            if path.is_file() and not path.is_symlink():
                shutil.copymode(path, unfinished)
            _bring_to_disk(unfinished)
            os.replace(unfinished, path)
            _bring_to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def writing_folder(folder: str | Path) -> Iterator[Path]:
    """A folder to write files into, which are moved to `folder` once the block has ended without an error.

    A folder that is not there yet appears with all of its files. One that is there gets them one after the other, in the order
    of their names, when all are safe on the disk; its other files stay.

    Raises:
        OSError: where the folder cannot be written or has no space left, with the folder and what is kept.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    marker, lock = _reserve(folder)
    unfinished = marker.with_name(f"{marker.name}.d")
    try:
        with _explained(folder, marker):
            unfinished.mkdir()
            yield unfinished
            files = sorted(file for file in unfinished.rglob("*") if file.is_file())
            for file in files:
                _bring_to_disk(file)
            if folder.exists():
                for file in files:
                    place = folder / file.relative_to(unfinished)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, place)
                _bring_to_disk(folder)
            else:
                os.replace(unfinished, folder)
            _bring_to_disk(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        marker.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def unchanged(path: str | Path) -> Iterator[None]:
    """Refuse a file that is written to, or replaced, while it is read: what was read may be of both.

    Raises:
        ValueError: where its size or its time is another one at the end of the block.
    """
    before = version_of(path)
    yield
    if version_of(path) != before:
        raise ValueError(f"{path} has changed while it was read. Read it again once nothing writes to it.")


def version_of(path: str | Path) -> tuple[int, int]:
    """The size of a file, and when it was written to, in nanoseconds."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def check_file(path: str | Path, what: str = "the file", option: str = "") -> None:
    """Refuse a place where a file cannot be written, before anything is computed.

    Args:
        path: the file, which may be there already.
        what: what is to be written.
        option: the option of the command line that gave the path, such as `--out`.

    Raises:
        ValueError: for a folder, something that is no ordinary file, a folder that does not exist or cannot be written.
    """
    path = Path(path)
    shown = f"{option} {path}".strip()
    if path.is_dir():
        raise ValueError(f"{shown} is a folder, where {what} is to be: give the name of a file.")
    if path.exists() and not path.is_file():
        raise ValueError(f"{shown} is no ordinary file, where {what} is to be: give another name.")
    if not path.parent.is_dir():
        raise ValueError(f"{shown}: there is no folder {path.parent}. Make it, or give another name.")
    _check_writable(path.parent, shown)


def check_folder(folder: str | Path, what: str = "the folder", option: str = "") -> None:
    """Refuse a place where a folder cannot be written, before anything is computed; it may be there, or be made.

    Raises:
        ValueError: for a file, or a folder that cannot be written.
    """
    folder = Path(folder)
    shown = f"{option} {folder}".strip()
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists() or place.is_symlink())
    if not nearest.is_dir():
        what = f"{what} is to be" if nearest == folder else f"the folder of {what} is to be"
        raise ValueError(f"{shown}: {nearest} is a file, where {what}. Give another name.")
    _check_writable(nearest, shown)


def _check_writable(folder: Path, shown: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(
            f"{shown}: the folder {folder} cannot be written. Change its permissions, or give another name."
        )


def _reserve(path: Path) -> tuple[Path, int]:
    """An empty file beside `path` for this process alone, locked while it is in use, and the lock's descriptor."""
    start = f".{path.name[:50]}."
    _remove_leftovers(path.parent, start)
    while True:
        unfinished = path.with_name(f"{start}{secrets.token_hex(4)}{_ENDING}")
        try:
            lock = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise _full(path, error) if error.errno in _FULL else _unwritable(path, error) from error
        if fcntl is not None:
            with suppress(OSError):  # file systems without locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if unfinished.exists():
            return unfinished, lock
        os.close(lock)  # another process took it for a leftover before it was locked


def _remove_leftovers(folder: Path, start: str) -> None:
    """Remove what processes that are no more have left: their locks went with them."""
    if fcntl is None:
        return
    for name in glob.glob(f"{glob.escape(start)}*{_ENDING}", root_dir=folder):
        leftover = folder / name
        with suppress(OSError):
            lock = os.open(leftover, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(f"{leftover}.d", ignore_errors=True)
                leftover.unlink(missing_ok=True)
            finally:
                os.close(lock)


@contextmanager
def _explained(path: Path, unfinished: Path) -> Iterator[None]:
    """Errors that a full disk causes say so, whatever the library that was writing makes of them."""
    try:
        yield
    except Exception as error:
        if (isinstance(error, OSError) and error.errno in _FULL) or _has_no_space(unfinished):
            raise _full(path, error) from error
        raise


def _has_no_space(unfinished: Path) -> bool:
    """Whether nothing more can be written to a file."""
    try:
        with open(unfinished, "ab") as file:
            file.write(bytes(_PROBE))
    except OSError as error:
        return error.errno in _FULL
    return False


def _full(path: Path, error: Exception) -> OSError:
    number = error.errno if isinstance(error, OSError) and error.errno in _FULL else errno.ENOSPC
    what = "is too large for this disk or this user" if number == errno.EFBIG else "has no space left on its disk"
    kept = "what was there before is unchanged" if path.exists() else "nothing is left of it"
    free = f"{shutil.disk_usage(path.parent).free / 1e6:,.1f} MB free"
    return OSError(
        number, f"{path} {what}: folder {path.parent.absolute()}, {free}; {kept}. Make room, or give another folder"
    )


def _unwritable(path: Path, error: OSError) -> OSError:
    return type(error)(
        error.errno, f"cannot write {path}: {os.strerror(error.errno or 0)} (folder {path.parent.absolute()})"
    )


def _bring_to_disk(path: Path) -> None:
    """A name must not reach the disk before what it names."""
    is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    descriptor = os.open(path, os.O_RDONLY if is_folder or os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not is_folder:  # some file systems cannot bring the names of a folder to the disk
            raise
    finally:
        os.close(descriptor)
