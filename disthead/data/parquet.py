"""Reading Parquet files with checksums, and errors that name the damaged row group and column."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from disthead.data.values import DataError
from disthead.errors import first_line

__all__ = ["damage_located", "opened_parquet"]

# A damaged footer makes Arrow raise all of these besides its own errors.
_ERRORS = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


def opened_parquet(path: str | Path) -> Any:
    """A `pyarrow.parquet.ParquetFile` that compares the checksums of pages, if there are any."""
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path, page_checksum_verification=True)


@contextmanager
def damage_located(
    path: str | Path, group: int | None = None, names: Sequence[str] | None = None
) -> Iterator[None]:
    """A block in which a Parquet file is read, and errors say where it is damaged.

    Args:
        path: the file.
        group: the row group that is read; None for the whole file.
        names: the columns that are read; None for all.

    Raises:
        DataError: with the file, and the row group and column where they can be found.
    """
    try:
        yield
    except DataError:
        raise
    except _ERRORS as error:
        number, place = _place(path, group, names)
        if number is None:
            raise DataError(
                f"{path} is not a readable Parquet file: {first_line(error)}"
            ) from error
        raise DataError(
            f"{path}: row group {number} is corrupt or truncated{place}: {first_line(error)}"
        ) from error


def _place(
    path: str | Path, group: int | None, names: Sequence[str] | None
) -> tuple[int | None, str]:
    """The first row group that cannot be read, or None, and its damaged column, in words."""
    try:
        with opened_parquet(path) as opened:
            groups = range(opened.num_row_groups) if group is None else (group,)
            for number in groups:
                for name in opened.schema_arrow.names if names is None else names:
                    try:
                        opened.read_row_group(number, columns=[name])
                    except _ERRORS:
                        return number, f" in column {name!r}"
    except _ERRORS:
        pass
    return group, ""
