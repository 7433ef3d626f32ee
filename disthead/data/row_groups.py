"""Row groups of Parquet files, which are listed once, read one at a time, and named in errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from disthead.data.parquet import damage_located, opened_parquet
from disthead.data.table import DataError, as_declared
from disthead.errors import nearest
from disthead.files import unchanged

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "CHUNK_ROWS",
    "RowGroup",
    "find_files",
    "find_row_groups",
    "is_folder_or_pattern",
    "located",
    "read_rows",
]

CHUNK_ROWS = 65_536  # rows that are decoded at once


class RowGroup(NamedTuple):
    """A row group of a Parquet file.

    Attributes:
        path: the file.
        file: the number of the file.
        number: the number of the row group in its file.
        rows: the number of its rows.
        start: the number of the rows before it, in all files.
    """

    path: Path
    file: int
    number: int
    rows: int
    start: int

    def __str__(self) -> str:
        return f"{self.path}, row group {self.number}"


def is_folder_or_pattern(source: Any) -> bool:
    """Whether a source is a folder of Parquet files, or a pattern of them with `*`, `?` or `[`.

    Such a source is read row group by row group.
    """
    if not isinstance(source, (str, Path)):
        return False
    return Path(source).is_dir() or (has_magic(str(source)) and not Path(source).exists())


def find_files(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """The Parquet files of a folder or a pattern, sorted by name, or of a list, in its order.

    Args:
        path: a folder, a pattern (`**` for folders within), a file, or a list of files.

    Raises:
        DataError: where there are none.
    """
    if not isinstance(path, (str, Path)):
        files = [Path(file) for file in path]
    elif Path(path).is_dir():
        files = sorted(Path(path).glob("*.parquet"))
    else:
        files = (
            [Path(path)]
            if Path(path).exists()
            else sorted(map(Path, glob(str(path), recursive=True)))
        )
    if not files:
        raise DataError(
            f"no Parquet files: {path} (a folder of .parquet files, a pattern, or a "
            "list is needed)."
        )
    return files


def find_row_groups(files: Sequence[Path], names: Sequence[str] | None = None) -> list[RowGroup]:
    """The row groups that have rows, in their order; only the footers of the files are read.

    Args:
        files: Parquet files.
        names: columns that every file must have, of one type in all of them; None is all columns,
            the same in all files.

    Raises:
        DataError: for a file that is not Parquet or lacks its footer, and for columns that differ,
            with the file; and for files without rows.
    """
    groups: list[RowGroup] = []
    types: dict[str, Any] = {}
    start = 0
    for k, file in enumerate(files):
        with damage_located(file), opened_parquet(file) as opened:
            schema, metadata = opened.schema_arrow, opened.metadata
        if names is None:
            types = types or dict(zip(schema.names, schema.types, strict=True))
            added = [name for name in schema.names if name not in types]
            if added:
                raise DataError(
                    f"{file} has a column {added[0]!r} that {files[0]} lacks. Say which `features` "
                    "to use."
                )
        for name in types if names is None else names:
            if name not in schema.names:
                near = nearest(name, schema.names)
                raise DataError(
                    f"{file} has no column {name!r}{near} Columns: {', '.join(schema.names)}."
                )
            kind = schema.field(name).type
            types[name] = kind if str(types.get(name, "null")) == "null" else types[name]
            if _sort(kind) not in ("null", _sort(types[name])):
                raise DataError(
                    f"column {name!r} is {kind} in {file}, but {types[name]} in {files[0]}."
                )
        for number in range(metadata.num_row_groups):
            rows = metadata.row_group(number).num_rows
            groups += [RowGroup(file, k, number, rows, start)] if rows else []
            start += rows
    if not groups:
        raise DataError(
            f"{files[0]} has column names but no rows"
            + ", as do all files after it." * (len(files) > 1)
        )
    return groups


def _sort(kind: Any) -> str:
    """The values that a type holds: files may differ in its width or unit."""
    import pyarrow.types as types

    text = (types.is_string, types.is_large_string, types.is_string_view)
    if types.is_dictionary(kind):
        return f"categories of {_sort(kind.value_type)}"
    if any(test(kind) for test in text):
        return "text"
    for name in ("integer", "floating", "decimal", "date", "timestamp", "duration", "time", "null"):
        if getattr(types, f"is_{name}")(kind):
            return {
                "integer": "number",
                "floating": "number",
                "decimal": "number",
                "timestamp": "date",
            }.get(name, name)
    return str(kind)


def read_rows(
    group: RowGroup, names: Sequence[str] | None, rows_at_once: int
) -> Iterator[tuple[int, "DataFrame"]]:
    """The rows of a row group in chunks, each with the number of its first row within the group.

    Args:
        group: the row group.
        names: columns; None for all.
        rows_at_once: the number of rows of a chunk.

    Raises:
        DataError: for a row group that is corrupt, truncated or gone, with the column where
            possible, and for a file that changes while it is read.
    """
    start = 0
    with (
        unchanged(group.path),
        damage_located(group.path, group.number, names),
        opened_parquet(group.path) as opened,
    ):
        for rows in opened.iter_batches(rows_at_once, row_groups=[group.number], columns=names):
            frame = as_declared(rows.to_pandas(), opened.schema_arrow.pandas_metadata)
            yield start, frame
            start += len(frame)
    if start != group.rows:
        raise DataError(f"{group} has {start} rows, its file announced {group.rows}.")


@contextmanager
def located(group: RowGroup, start: int) -> Iterator[None]:
    """A block whose errors name the row group, and its row `start` from which rows are counted."""
    try:
        yield
    except ValueError as error:
        raise type(error)(f"{group}, rows counted from its row {start}: {error}") from error
