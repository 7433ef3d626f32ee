"""Atomic writing of files and folders.

A file is written beside its place, brought to the disk, and only then gets its name: it is whole,
or not there.
"""

import errno
import glob
import importlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "DiskFull",
    "appending",
    "check_file",
    "check_folder",
    "disk_full",
    "unchanged",
    "writing",
    "writing_folder",
]

# Windows lacks these locks, so that unfinished files of killed processes stay
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ENDING = ".unfinished"
_PROBE = 1 << 20  # bytes that a full disk has no room for


class DiskFull(OSError):
    """A file did not fit on its disk, into its quota or below the limit of the size of files."""

    def __str__(self) -> str:
        return f"{self.strerror}"


@contextmanager
def writing(path: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """A block with a file to write into, which replaces `path` at the end of the block.

    After an error, a full disk or the end of the process the file at `path` is the old one, or
    none. The new file keeps the permissions of the old one. Several processes may write the same
    file; the last one to end wins. A symbolic link at `path` is replaced, not followed. Unfinished
    files of killed processes beside it are removed.

    Args:
        path: the file.
        overwrite: whether it may replace a file; if not, the first of several processes to end
            wins.

    Raises:
        FileExistsError: where a file is there at the end and may not be overwritten.
        OSError: where the folder cannot be written or has no space left, with the file, the folder
            and what is kept; and where `path` is a folder, a device or a pipe.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "notes.txt")
    >>> with writing(path) as unfinished:
    ...     _ = unfinished.write_text("all of it")
    >>> path.read_text()
    'all of it'
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"cannot write {path}: it is a folder")
    if path.exists() and not path.is_file():  # such as a device, which the new file would replace
        raise OSError(errno.EINVAL, f"cannot write {path}: it is not an ordinary file")
    with _reserved(path, path.parent) as unfinished, _explained(path, unfinished):
        yield unfinished
        _bring_to_disk(unfinished)
        is_new = not path.is_file() or path.is_symlink()
        if not is_new:
            _copy_permissions(path, unfinished)
        if overwrite:
            os.replace(unfinished, path)
        else:
            _name_first(unfinished, path)
        # of an existing file, a power cut before its new name is on the disk leaves the old version
        if is_new:
            _bring_names_to_disk(path.parent)


def _name_first(unfinished: Path, path: Path) -> None:
    """Give a file its name, unless another one has it."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without links
        with _locked(path.parent):
            if path.exists():
                raise FileExistsError(
                    errno.EEXIST, f"cannot write {path}: it is there already"
                ) from None
            os.replace(unfinished, path)


@contextmanager
def writing_folder(folder: str | Path, last: str = "") -> Iterator[Path]:
    """A block with a folder to write into, whose files move to `folder` at the end of the block.

    After an error nothing moves. A folder that does not exist appears with all of its files. One
    that exists gets them one after the other, in the order of their names, and `last` after the
    others, once all are on the disk; its other files stay. Of several processes each moves its
    files while the others wait.

    Args:
        folder: where the files are to be.
        last: the name of the file that is moved after all others.

    Raises:
        OSError: where the folder cannot be written or has no space left, with the folder and what
            is kept; and where there is a file in its place.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"cannot write {folder}: it is a file")
    # an existing folder may be a disk of its own, or in a read-only folder: so unfinished files are
    # inside of it
    is_there = folder.is_dir()
    if is_there:
        # of a process that has made the folder meanwhile
        _remove_leftovers(folder.parent, f".{folder.name[:50]}.")
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        _reserved(folder, folder if is_there else folder.parent) as marker,
        _explained(folder, marker),
    ):
        unfinished = marker.with_name(f"{marker.name}.d")
        try:
            unfinished.mkdir()
            yield unfinished
            files = sorted(file for file in unfinished.rglob("*") if file.is_file())
            files.sort(key=lambda file: file.name == last)
            folders = sorted(file for file in unfinished.rglob("*") if file.is_dir())
            for file in files:
                _bring_to_disk(file)
            for inner in (*folders, unfinished):
                _bring_names_to_disk(inner)
            if is_there or not _renamed(unfinished, folder):
                with _locked(folder):  # so that in the end all files are those of one process
                    for inner in folders:
                        (folder / inner.relative_to(unfinished)).mkdir(parents=True, exist_ok=True)
                    for file in files:
                        place = folder / file.relative_to(unfinished)
                        if place.is_file() and not place.is_symlink():
                            _copy_permissions(place, file)
                        os.replace(file, place)
                    for inner in folders:
                        _bring_names_to_disk(folder / inner.relative_to(unfinished))
                    _bring_names_to_disk(folder)
            _bring_names_to_disk(folder.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _renamed(unfinished: Path, folder: Path) -> bool:
    """Whether the folder got its name, which another process may have taken."""
    try:
        os.replace(unfinished, folder)
    except OSError:
        if not folder.is_dir():
            raise
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A block that one process at a time enters for this folder, if its file system has locks."""
    descriptor = None
    with suppress(OSError):  # a folder that may not be read
        if fcntl is not None:
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def appending(path: str | Path) -> Iterator[Path]:
    """A block in which a file is appended to; after an error it gets its former length back.

    Raises:
        DiskFull: where there is no space left.
    """
    path = Path(path)
    length = path.stat().st_size if path.exists() else None
    try:
        yield path
    except Exception as error:
        with suppress(OSError):
            if length is None:
                path.unlink(missing_ok=True)
            elif path.stat().st_size > length:
                os.truncate(path, length)
        full = disk_full(path, error)
        if full is None or full is error:
            raise
        raise full from error


@contextmanager
def unchanged(path: str | Path) -> Iterator[None]:
    """A block in which a file is read; refuses a file that changes meanwhile.

    What was read of such a file may belong to two versions of it.

    Raises:
        ValueError: where its size, or the time when it was last written to, has changed by the end
            of the block.
    """
    before = _version(path)
    try:
        yield
    except (ValueError, OSError) as error:
        if _version(path) != before:
            raise _changed(path) from error
        raise
    if _version(path) != before:
        raise _changed(path)


def _changed(path: str | Path) -> ValueError:
    return ValueError(
        f"{path} has changed while it was read. Read it again once nothing writes to it."
    )


def _version(path: str | Path) -> tuple[int, int] | None:
    """The size of a file, and when it was written to, in nanoseconds; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def check_file(path: str | Path, what: str = "the file", option: str = "") -> None:
    """Refuse a place where a file cannot be written, before anything is computed.

    Args:
        path: the file, which may be there already.
        what: what is to be written.
        option: the option of the command line that gave the path, such as `--out`.

    Raises:
        ValueError: for a folder, a device or a pipe at that place, and where its folder does not
            exist or cannot be written.
    """
    path = Path(path)
    shown = f"{option} {path}".strip()
    if path.is_dir():
        raise ValueError(
            f"{shown} is a folder, so {what} cannot be written there: give the name of a file."
        )
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{shown} is not an ordinary file, so {what} cannot be written there: "
            "give another name."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"{shown}: there is no folder {path.parent}. Make it, or give another name."
        )
    _check_writable(path.parent, shown)


def check_folder(folder: str | Path, what: str = "the folder", option: str = "") -> None:
    """Refuse a place where a folder cannot be written, before anything is computed.

    Args:
        folder: the folder, which may be there already.
        what: what is to be written.
        option: the option of the command line that gave the path, such as `--out`.

    Raises:
        ValueError: for a file, or a folder that cannot be written.
    """
    folder = Path(folder)
    shown = f"{option} {folder}".strip()
    nearest = next(
        place
        for place in (folder, *folder.absolute().parents)
        if place.exists() or place.is_symlink()
    )
    if not nearest.is_dir():
        what = what if nearest == folder else "a folder"
        raise ValueError(
            f"{shown}: {nearest} is a file, so {what} cannot be written there. Give another name."
        )
    _check_writable(nearest, shown)


def _check_writable(folder: Path, shown: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(
            f"{shown}: the folder {folder} cannot be written. Change its permissions, or give "
            "another name."
        )
    try:
        # for the superuser `os.access` is true even in /proc
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise ValueError(
            f"{shown}: the folder {folder} cannot be written: {reason}. Give another name."
        ) from error


@contextmanager
def _reserved(path: Path, folder: Path) -> Iterator[Path]:
    """A block with an empty file for this process alone, locked and removed at the end."""
    start = f".{path.name[:50]}."
    _remove_leftovers(folder, start)
    lock = None
    while lock is None:
        unfinished = folder / f"{start}{secrets.token_hex(4)}{_ENDING}"
        try:
            descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise disk_full(path, error) or _unwritable(path, error) from error
        lock = _lock(descriptor, unfinished)
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)
        if fcntl is not None:
            os.close(lock)


def _lock(descriptor: int, unfinished: Path) -> int | None:
    """Lock a file, so that no other process takes it for a leftover; None where one has done so."""
    if fcntl is None:  # Windows does not rename files that are open
        os.close(descriptor)
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks
        return descriptor
    if unfinished.exists():
        return descriptor
    os.close(descriptor)
    return None


def _remove_leftovers(folder: Path, start: str) -> None:
    """Remove unfinished files of processes that have ended, which are those without a lock."""
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


def disk_full(path: Path, error: BaseException | None) -> DiskFull | None:
    """The error to raise where a file did not fit on its disk; None for other errors.

    Args:
        path: the file.
        error: what was raised by writing it.
    """
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return None
    return error if isinstance(error, DiskFull) else _full(path, error.errno)


@contextmanager
def _explained(path: Path, unfinished: Path) -> Iterator[None]:
    """A block in which errors that a full disk causes become `DiskFull`, whatever their class."""
    try:
        yield
    except Exception as error:
        full = disk_full(path, error) or disk_full(path, _no_space(unfinished))
        if full is None or full is error:
            raise
        raise full from error


def _no_space(unfinished: Path) -> OSError | None:
    """The system's error where nothing more can be written to a file; None where there is room."""
    try:
        with open(unfinished, "ab") as file:
            file.write(bytes(_PROBE))
    except OSError as error:
        return error
    return None


def _full(path: Path, number: int) -> DiskFull:
    folder = (path if path.is_dir() else path.parent).absolute()
    what = (
        "is too large for this disk or this user"
        if number == errno.EFBIG
        else "has no space left on its disk"
    )
    kept = "what was there before is unchanged" if path.exists() else "nothing is left of it"
    free = f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB free"
    return DiskFull(
        number,
        f"{path} {what}: folder {folder}, {free}; {kept}. Make room, or give another folder.",
    )


def _unwritable(path: Path, error: OSError) -> OSError:
    return type(error)(
        error.errno,
        f"cannot write {path}: {os.strerror(error.errno or 0)} (folder {path.parent.absolute()})",
    )


def _bring_to_disk(file: Path) -> None:
    """Bring the contents of a file to the disk, which must happen before its name gets there."""
    descriptor = os.open(file, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bring_names_to_disk(folder: Path) -> None:
    """Bring the names in a folder to the disk, if the file system can and it is readable."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy_permissions(file: Path, new: Path) -> None:
    if hasattr(os, "chown"):
        # only the superuser may change the owner; a user may give another of their groups
        with suppress(OSError):
            os.chown(new, -1, file.stat().st_gid)
            os.chown(new, file.stat().st_uid, -1)
    shutil.copymode(file, new)
