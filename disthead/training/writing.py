"""`predict_files`: predictions for Parquet files larger than memory, written as they are made."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import torch

from disthead.training.predictor import Predictor
from disthead.training.table import DataError

__all__ = ["predict_files"]


def predict_files(
    checkpoint: str | Path,
    path: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    batch_size: int = 65536,
    device: str | torch.device = "cpu",
    rank: int = 0,
    world_size: int = 1,
    **options: Any,
) -> int:
    """Write the predictions for Parquet files into a folder of Parquet files, in memory that does not grow with the rows.

    Each row group becomes one file, `part-<file>-<row group>.parquet`, in the order of the rows when sorted by name. It
    has its name only once it is complete, so after a crash the folder holds whole parts, and the same call again
    makes those that are missing. A folder, not one file: a Parquet file cannot be read before its end is written.

    Args:
        checkpoint: of a `DistributionModule` that was trained on a table.
        path: a folder, a pattern such as `rows/*.parquet`, a file, or a list of files.
        out: the folder to write to.
        batch_size: rows at once.
        device: where the model runs.
        rank, world_size: this process and their number, where several share the row groups.
        options: of `disthead.prediction.predictions`, such as `quantiles` and `level`.

    Returns:
        The number of parts that this call wrote.

    Raises:
        DataError: for rows or files that cannot be used, with file and row group; or a folder that holds other predictions.
        OSError: where the folder cannot be written, such as on a full disk.
    """
    if batch_size < 1 or not 0 <= rank < world_size:
        raise ValueError(
            f"batch_size must be 1 or more and rank in 0 ... world_size - 1, got batch_size={batch_size}, "
            f"rank={rank}, world_size={world_size}."
        )
    predictor, files, folder = Predictor(checkpoint, device=device, **options), _files(path), Path(out)
    groups = _groups(files, [*predictor.columns.features, *predictor.columns.known.values()])
    folder.mkdir(parents=True, exist_ok=True)
    _check_same_run(folder, predictor, files, rank)
    written = 0
    for file, group in groups[rank::world_size]:
        part = folder / f"part-{file:05d}-{group:05d}.parquet"
        if not part.exists():
            _write(predictor, files[file], group, part, batch_size)
            written += 1
    return written


def _files(path: str | Path | Sequence[str | Path]) -> list[Path]:
    if not isinstance(path, (str, Path)):
        files = [Path(file) for file in path]
    elif Path(path).is_dir():
        files = sorted(Path(path).glob("*.parquet"))
    else:
        files = [Path(path)] if Path(path).exists() else sorted(map(Path, glob(str(path))))
    if not files:
        raise DataError(f"no Parquet files: {path} (a folder of .parquet files, a pattern, or a list is needed).")
    return files


def _groups(files: list[Path], names: list[str]) -> list[tuple[int, int]]:
    """File and number of each row group; the columns `names` must have the same types in all files."""
    import pyarrow.parquet as parquet

    groups: list[tuple[int, int]] = []
    types: dict[str, Any] = {}
    for k, file in enumerate(files):
        try:
            with parquet.ParquetFile(file) as opened:
                schema, count = opened.schema_arrow, opened.num_row_groups
        except (ValueError, OSError) as error:
            raise DataError(f"{file} is not a readable Parquet file: {error}") from error
        for name in names:
            if name not in schema.names:
                raise DataError(f"{file} has no column {name!r}; it has {', '.join(schema.names)}.")
            kind = schema.field(name).type
            if types.setdefault(name, kind) != kind:
                raise DataError(f"column {name!r} is {kind} in {file}, but {types[name]} in {files[0]}.")
        groups += [(k, group) for group in range(count)]
    return groups


def _check_same_run(folder: Path, predictor: Predictor, files: list[Path], rank: int) -> None:
    """Parts that are there are kept, so they must be of this model, these files and these options."""
    with open(predictor.checkpoint, "rb") as model:
        digest = hashlib.file_digest(model, "sha256").hexdigest()
    rows = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    run = json.dumps({"model": digest, "files": rows, "options": repr(predictor.options)})
    note = folder / "_source.json"
    has_parts = any(folder.glob("part-*.parquet"))  # before the note is looked for: others write it before their parts
    if not note.exists():
        if has_parts:
            raise DataError(f"{folder} holds parts of unknown origin: choose an empty folder.")
        unfinished = folder / f"._source-{rank}.json"
        unfinished.write_text(run)
        os.replace(unfinished, note)
    elif note.read_text() != run:
        raise DataError(
            f"{folder} holds predictions of another model, other files or other options: choose an empty folder."
        )


def _write(predictor: Predictor, file: Path, group: int, part: Path, batch_size: int) -> None:
    """One row group, under another name until it is complete."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    unfinished, writer = part.with_name(f".{part.name}.unfinished"), None
    try:
        for rows in _batches(predictor, file, group, batch_size):
            table = arrow.table(rows)
            writer = writer or parquet.ParquetWriter(unfinished, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
            with open(unfinished, "rb+") as written:
                os.fsync(written.fileno())  # the name must not reach the disk before the rows
            os.replace(unfinished, part)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {part}, the predictions for row group {group} of {file}: {error}. "
            "Parts that are there are complete; the same call again continues after them",
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _batches(predictor: Predictor, file: Path, group: int, batch_size: int) -> Iterator[dict]:
    import pyarrow.parquet as parquet

    names = [*predictor.columns.features, *predictor.columns.known.values()]
    start = 0
    with parquet.ParquetFile(file) as opened:
        batches = opened.iter_batches(batch_size, row_groups=[group], columns=names)
        while True:
            try:
                rows = next(batches, None)
            except (ValueError, OSError) as error:
                raise DataError(f"{file}: row group {group} is corrupt or truncated: {error}") from error
            if rows is None:
                return
            try:
                yield predictor(rows.to_pandas())
            except DataError as error:
                raise DataError(f"{file}, row group {group}, rows counted from its row {start}: {error}") from error
            start += rows.num_rows
