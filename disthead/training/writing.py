"""`predict_files`: predictions for Parquet files larger than memory, written as they are made."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from disthead.training.predictor import Predictor
from disthead.training.row_groups import RowGroup, find_files, find_row_groups, located, read_rows
from disthead.training.table import DataError

__all__ = ["check_id_columns", "check_out", "predict_files"]


def predict_files(
    checkpoint: str | Path,
    path: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    batch_size: int = 65536,
    device: str | torch.device = "cpu",
    rank: int = 0,
    world_size: int = 1,
    id_columns: Sequence[str] = (),
    trust: str | Iterable[str] = (),
    **options: Any,
) -> int:
    """Write the predictions for Parquet files into a folder of Parquet files, in memory that does not grow with the rows.

    Each row group with rows becomes one file, `part-<file>-<row group>.parquet`, in their order when sorted by name. It
    has its name only once it is complete, so after a crash the folder holds whole parts, and the same call again
    makes those that are missing. A folder, not one file: a Parquet file cannot be read before its end is written.

    Args:
        checkpoint: of a `DistributionModule` that was trained on a table.
        path: a folder, a pattern such as `rows/*.parquet` (`**` for folders within), a file, or a list of files.
        out: the folder to write to.
        batch_size: rows at once.
        device: where the model runs.
        rank, world_size: this process and their number, where several share the row groups.
        id_columns: columns that are copied into the predictions, to say which row is which.
        trust: names of packages, modules or classes of your own which the checkpoint may use (SECURITY.md).
        options: of `disthead.prediction.predictions`, such as `quantiles`, `level`, `samples` and `seed`.

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
    predictor, files, folder = Predictor(checkpoint, device=device, trust=trust, **options), find_files(path), Path(out)
    ids = list(id_columns)
    groups = find_row_groups(files, list(dict.fromkeys([*predictor.columns.used(needs_target=False), *ids])))
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file, where a folder for the parts of the predictions is to be.")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _check_same_run(folder, predictor, files, ids, rank)
    written = 0
    try:
        for group in groups[rank::world_size]:
            part = folder / f"part-{group.file:05d}-{group.number:05d}.parquet"
            if not part.exists():
                _write(predictor, group, part, batch_size, ids)
                written += 1
    except BaseException:
        if world_size == 1 and made and not written:
            shutil.rmtree(folder)
            for parent in made[1:]:
                parent.rmdir()
        raise
    return written


def _check_same_run(folder: Path, predictor: Predictor, files: list[Path], ids: list[str], rank: int) -> None:
    """Parts that are there are kept, so they must be of this model, these files and these options."""
    with open(predictor.checkpoint, "rb") as model:
        digest = hashlib.file_digest(model, "sha256").hexdigest()
    rows = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    run = json.dumps({"model": digest, "files": rows, "options": repr(predictor.options), "ids": ids})
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


def _write(predictor: Predictor, group: RowGroup, part: Path, batch_size: int, ids: list[str]) -> None:
    """One row group, under another name until it is complete."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    unfinished, writer = part.with_name(f".{part.name}.unfinished"), None
    try:
        names = list(dict.fromkeys([*predictor.columns.used(needs_target=False), *ids]))
        for start, rows in read_rows(group, names, batch_size):
            with located(group, start):
                predicted = predictor(rows, place=(group.file, group.number, start))
                check_id_columns(ids, predicted)
                identity = {name: arrow.Array.from_pandas(rows[name]) for name in ids}
                table = arrow.table(identity | predicted)
            writer = writer or parquet.ParquetWriter(unfinished, table.schema)
            writer.write_table(table)
        assert writer is not None  # the row group has rows
        writer.close()
        with open(unfinished, "rb+") as written:
            os.fsync(written.fileno())  # the name must not reach the disk before the rows
        os.replace(unfinished, part)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {part}, the predictions for {group}: {error}. "
            "Parts that are there are complete; the same call again continues after them",
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def check_out(out: str, source: Any = None) -> None:
    """Refuse a place for predictions where something else is, or that cannot be written, before anything is computed.

    Args:
        out: a .csv or .parquet file, or a folder.
        source: the table that is predicted.

    Raises:
        ValueError: for a checkpoint, the table itself, another ending or a folder that does not exist.
    """
    path = Path(out)
    if path.is_dir() or not path.suffix:
        return
    if not out.endswith((".csv", ".parquet", ".pq")):
        raise ValueError(f"--out must end in .csv or .parquet, or be a folder, got {out!r}.")
    if isinstance(source, (str, os.PathLike)) and path.resolve() == Path(source).resolve():
        raise ValueError(f"--out {out} is the table that is predicted, which it would write over: choose another name.")
    if not path.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {path.parent}.")


def check_id_columns(ids: Sequence[str], predicted: Iterable[str]) -> None:
    """Refuse columns of the table that have the name of a prediction."""
    taken = sorted(set(ids) & set(predicted))
    if taken:
        raise ValueError(
            f"column {taken[0]!r} cannot be copied into the predictions, which have a column of that name."
        )
