"""Writing of predictions, batch by batch: into one file, or into a folder for large tables."""

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from disthead.data.parquet import damage_located, opened_parquet
from disthead.data.row_groups import RowGroup, find_files, find_row_groups, located, read_rows
from disthead.data.table import DataError
from disthead.distributions.base import Distribution
from disthead.files import check_file, check_folder, writing
from disthead.networks.model_folder import WEIGHTS, is_model_folder
from disthead.prediction import TableWriter, ending_of, left_out, predictions, seed_of
from disthead.progress import Progress
from disthead.training.predictor import Predictor

__all__ = [
    "PredictionFile",
    "RowNames",
    "check_id_columns",
    "check_out",
    "is_folder",
    "predict_files",
]

_PARQUET = (".parquet", ".pq")
_ROW = "row of the table"  # column of row numbers in the shares of several processes


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
    """Write the predictions for Parquet files into a folder of Parquet files.

    Its memory does not grow with the number of rows. Each row group with rows becomes one file,
    `part-<file>-<row group>.parquet`, in their order when sorted by name. It has its name only once
    it is complete, so that after a crash the folder holds complete parts. The same call again then
    makes those that are missing, and, with a warning, those that were truncated. The result is a
    folder, since a single Parquet file cannot be read before its end is written.

    Args:
        checkpoint: of a `DistributionModule` that was trained on a table.
        path: a folder, a pattern such as `rows/*.parquet` (`**` for folders within), a file, or a
            list of files.
        out: the folder to write to.
        batch_size: rows of a batch; fewer where a row has many classes or draws, so that memory
            does not grow with them.
        device: where the model runs.
        rank: the number of this process, where several share the row groups.
        world_size: the number of these processes.
        id_columns: columns that are copied into the predictions, to identify the rows.
        trust: names of packages, modules or classes of your own which the checkpoint may use
            (SECURITY.md).
        options: of `disthead.prediction.predictions`, such as `quantiles`, `level`, `samples`,
            `seed` and `top_k`.

    Returns:
        The number of parts that this call wrote.

    Raises:
        DataError: for rows or files that cannot be used, with file and row group; or a folder that
            holds other predictions.
        OSError: where the folder cannot be written, such as on a full disk.
    """
    if batch_size < 1 or not 0 <= rank < world_size:
        raise ValueError(
            "batch_size must be 1 or more and rank in 0 ... world_size - 1, got "
            f"batch_size={batch_size}, rank={rank}, world_size={world_size}."
        )
    predictor = Predictor(checkpoint, device=device, trust=trust, **options)
    files, folder = find_files(path), Path(out)
    names = RowNames(files, id_columns)
    groups = find_row_groups(
        files, list(dict.fromkeys([*predictor.columns.used(needs_target=False), *names.columns]))
    )
    check_folder(folder, "the parts of the predictions")
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        _check_same_run(folder, predictor, files, list(id_columns))
        groups = groups[rank::world_size]
        with Progress("predicting", sum(group.rows for group in groups)) as progress:
            for group in groups:
                part = folder / f"part-{group.file:05d}-{group.number:05d}.parquet"
                if _is_there(part, group.rows):
                    progress.advance(group.rows)
                    continue
                _write(
                    predictor, group, part, min(batch_size, predictor.rows_at_once), names, progress
                )
                written += 1
    except BaseException:
        if not written:
            _remove_if_empty(new_folders)
        raise
    return written


def _check_same_run(folder: Path, predictor: Predictor, files: list[Path], ids: list[str]) -> None:
    """Refuse a folder with parts of another model, other files or other options."""
    path = Path(predictor.checkpoint)
    # the weights of a folder hold its configuration, too
    with open(path / WEIGHTS if is_model_folder(path) else path, "rb") as model:
        digest = hashlib.file_digest(model, "sha256").hexdigest()
    rows = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    run = json.dumps(
        {"model": digest, "files": rows, "options": repr(predictor.options), "ids": ids}
    )
    note = folder / "_source.json"
    # looked up before the note, which other processes write before their parts
    has_parts = any(folder.glob("part-*.parquet"))
    if not note.exists():
        if has_parts:
            raise DataError(f"{folder} holds parts of unknown origin: choose an empty folder.")
        # of several processes that begin together one writes the note, and all compare with it
        with suppress(FileExistsError), writing(note, overwrite=False) as unfinished:
            unfinished.write_text(run, "utf-8")
    if note.read_text("utf-8") != run:
        raise DataError(
            f"{folder} holds predictions of another model, other files or other options: choose "
            "an empty folder."
        )


def _is_there(part: Path, rows: int) -> bool:
    """Whether a part has all of its rows, by its footer; a warning names a damaged one."""
    if not part.exists():
        return False
    try:
        with damage_located(part), opened_parquet(part) as opened:
            damage = f"has {opened.metadata.num_rows} rows, not {rows}"
            is_whole = opened.metadata.num_rows == rows
    except DataError:
        damage, is_whole = "is not a readable Parquet file", False
    if not is_whole:
        warnings.warn(f"{part} was damaged: it {damage}. It is made again.", stacklevel=3)
    return is_whole


def _remove_if_empty(new_folders: Sequence[Path]) -> None:
    """Remove the folders that a run has made, the innermost first, if only its note is in them."""
    for folder in new_folders:
        with suppress(OSError):  # another process has written there, or removed it
            if {path.name for path in folder.iterdir()} <= {"_source.json"}:
                (folder / "_source.json").unlink(missing_ok=True)
                folder.rmdir()


def _write(
    predictor: Predictor,
    group: RowGroup,
    part: Path,
    batch_size: int,
    names: "RowNames",
    progress: Progress,
) -> None:
    """Write the predictions for a row group into a part."""
    columns, identity = predictor.columns.used(needs_target=False), names.of_group(group)
    try:
        with (
            writing(part) as unfinished,
            TableWriter(unfinished, ".parquet", rows_together=batch_size) as table,
        ):
            for start, rows in read_rows(group, columns, batch_size):
                with located(group, start):
                    predicted = predictor(rows, place=(group.file, group.number, start))
                check_id_columns(identity, predicted)
                table.write(
                    {name: values[start : start + len(rows)] for name, values in identity.items()}
                    | predicted
                )
                progress.advance(len(rows))
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write the predictions for {group}: {os.strerror(error.errno or errno.EIO)}: "
            f"{error.strerror or error}. "
            "Parts that are there are complete; the same call again continues after them",
        ) from error


class RowNames:
    """The columns of Parquet files that identify rows, with one type in all files.

    Args:
        files: the files.
        columns: the names of the columns.

    Raises:
        DataError: for a file that lacks one of them, or has it with another type.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]):
        self.columns = list(dict.fromkeys(columns))
        self.groups = find_row_groups(files, self.columns) if self.columns else []
        self._types = _common_types(files, self.columns)
        self._place, self._values = -1, dict[str, Any]()  # the row group in memory, and its columns

    def of_group(self, group: RowGroup) -> dict[str, Any]:
        """The columns of a row group, as arrays of Arrow.

        Raises:
            DataError: for a row group that is corrupt or truncated.
        """
        if not self.columns:
            return {}
        with (
            damage_located(group.path, group.number, self.columns),
            opened_parquet(group.path) as opened,
        ):
            rows = opened.read_row_group(group.number, columns=self.columns)
            return {name: rows[name].cast(kind) for name, kind in self._types.items()}

    def at(self, rows: Sequence[int]) -> dict[str, Any]:
        """The columns of some rows, as arrays of Arrow; one row group is in memory.

        Args:
            rows: row numbers through all files, in ascending order.
        """
        import pyarrow as arrow

        tables, start = [], 0
        while start < len(rows):
            place = next(
                k for k, group in enumerate(self.groups) if rows[start] < group.start + group.rows
            )
            group = self.groups[place]
            if place != self._place:
                self._place, self._values = place, self.of_group(group)
            end = next(
                (k for k in range(start, len(rows)) if rows[k] >= group.start + group.rows),
                len(rows),
            )
            chosen = [row - group.start for row in rows[start:end]]
            tables.append(
                arrow.table({name: values.take(chosen) for name, values in self._values.items()})
            )
            start = end
        table = arrow.concat_tables(tables)
        return {name: table[name] for name in self.columns}


def _common_types(files: Sequence[Path], columns: Sequence[str]) -> dict[str, Any]:
    """The type of each column that holds its values in all files; categories become values."""
    if not columns:
        return {}
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    schemas = []
    for file in files:
        fields = [parquet.read_schema(file).field(name) for name in columns]
        values = [
            field.type.value_type if arrow.types.is_dictionary(field.type) else field.type
            for field in fields
        ]
        schemas.append(arrow.schema(list(zip(columns, values, strict=True))))
    common = arrow.unify_schemas(schemas, promote_options="permissive")
    return dict(zip(common.names, common.types, strict=True))


class PredictionFile(Callback):
    """Writes the predictions of `Trainer.predict` into one .csv or .parquet file.

    They are written batch by batch, in the order of the table. Several processes write their shares
    into a folder beside the file, which all of them must be able to read; the first one joins them.

    Args:
        out: the file.
        options: of `disthead.prediction.predictions`.
        identity: a function from row numbers of the table to the columns that are copied into the
            predictions.
        escape_formulas: of a CSV file, whether an apostrophe is put before texts that spreadsheets
            take for formulas.
    """

    def __init__(
        self,
        out: str | Path,
        options: Mapping[str, Any],
        identity: Callable[[list[int]], Mapping[str, Any]] | None = None,
        escape_formulas: bool = False,
    ):
        self.out, self.options, self.identity = Path(out), dict(options), identity
        self.escape_formulas, self.ending = escape_formulas, ending_of(out, escape_formulas)
        self.rows, self.left_out = 0, ""
        self.unfinished: Path | None = None  # in the first process
        self._table: TableWriter | None = None
        self._folder: Path | None = None  # that holds the shares of several processes
        self._error: OSError | None = None

    @contextmanager
    def written(self) -> Iterator[None]:
        """A block in which the predictions are made; at its end the file appears.

        Raises:
            ValueError: where no rows were predicted.
            OSError: for a full disk, in this process or another one; a file that was there before
                is unchanged.
        """
        with writing(self.out) as self.unfinished:
            try:
                yield
                if not self.rows:
                    raise ValueError(f"no rows were predicted: {self.out} is not written.")
            finally:
                shutil.rmtree(f"{self.unfinished}.d", ignore_errors=True)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file, or the share of this process."""
        self.rows, self.left_out, self._error = 0, "", None
        if trainer.world_size == 1:
            assert self.unfinished is not None
            self._table = TableWriter(self.unfinished, self.ending, self.escape_formulas)
            return
        self._folder = Path(f"{trainer.strategy.broadcast(str(self.unfinished))}.d")
        if trainer.is_global_zero:
            with self._remembered():
                self._folder.mkdir()
        trainer.strategy.barrier()
        self._table = TableWriter(_share(self._folder, trainer.global_rank), ".parquet")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the predictions of a batch."""
        rows = batch["rows"].tolist()
        if not rows or self._error is not None:
            return
        columns = self._columns(outputs, rows, batch_idx, trainer)
        with self._remembered(may_raise=trainer.world_size == 1):
            assert self._table is not None
            self._table.write(columns)
            self.rows += len(rows)

    def _columns(
        self, dist: Distribution, rows: list[int], batch: int, trainer: Trainer
    ) -> dict[str, Any]:
        place = batch if trainer.world_size == 1 else (batch, trainer.global_rank)
        options = self.options | {"seed": seed_of(self.options.get("seed", 0), place), "rows": rows}
        predicted = predictions(dist, **options)
        self.left_out = self.left_out or left_out(dist, self.options.get("top_k"))
        identity = {} if self.identity is None else dict(self.identity(rows))
        check_id_columns(identity, predicted)
        return identity | predicted | ({} if trainer.world_size == 1 else {_ROW: rows})

    @contextmanager
    def _remembered(self, may_raise: bool = False) -> Iterator[None]:
        """A block whose error is raised later, by the first of several processes at their end."""
        try:
            yield
        except OSError as error:
            if may_raise:
                raise
            self._error = error

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the file; the first of several processes joins their shares.

        Raises:
            OSError: where a process could not write its share.
        """
        table, self._table = self._table, None
        assert table is not None
        with self._remembered(may_raise=trainer.world_size == 1):
            table.__exit__(type(self._error) if self._error else None, self._error, None)
        if trainer.world_size == 1:
            return
        number = 0 if self._error is None else self._error.errno or errno.EIO
        states = torch.zeros(trainer.world_size, 2, dtype=torch.long, device=pl_module.device)
        states[trainer.global_rank] = torch.tensor([self.rows, number])
        states = trainer.strategy.reduce(states, reduce_op="sum")  # one row for each process
        if trainer.is_global_zero:  # the others need not wait
            self._join(states.tolist())

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the file after an error."""
        table, self._table = self._table, None
        if table is not None:
            table.__exit__(type(exception), exception, exception.__traceback__)

    def _join(self, states: list[list[int]]) -> None:
        assert self._folder is not None
        assert self.unfinished is not None
        for rank, (rows, number) in enumerate(states):
            share = _share(self._folder, rank)
            if number or (rows and not share.exists()):
                number = number or errno.ENOENT
                raise OSError(
                    number,
                    f"process {rank} of {len(states)} cannot write {share}: {os.strerror(number)}. "
                    "The folder of --out must be one that all processes see",
                )
        shares = [_share(self._folder, rank) for rank, (rows, _) in enumerate(states) if rows]
        with TableWriter(self.unfinished, self.ending, self.escape_formulas) as table:
            for rows_in_order in _in_order(shares):
                names = [name for name in rows_in_order.column_names if name != _ROW]
                table.write({name: rows_in_order[name] for name in names})
        self.rows = sum(rows for rows, _ in states)


def _share(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.parquet"


def _in_order(shares: Sequence[Path]) -> Iterator[Any]:
    """The rows of several files in the order of their numbers, in chunks; each file is sorted."""
    import pyarrow as arrow
    import pyarrow.compute as compute

    def chunks(share: Path) -> Iterator[Any]:
        with opened_parquet(share) as opened:
            for group in range(opened.num_row_groups):
                yield opened.read_row_group(group)

    readers = [chunks(share) for share in shares]
    current = [next(reader) for reader in readers]
    while current:
        # All rows up to this number are in memory.
        end = min(compute.max(chunk[_ROW]).as_py() for chunk in current)
        ready = [chunk.filter(compute.less_equal(chunk[_ROW], end)) for chunk in current]
        yield arrow.concat_tables(ready).sort_by(_ROW)
        rest = [chunk.slice(len(taken)) for chunk, taken in zip(current, ready, strict=True)]
        remaining = [
            (reader, chunk if len(chunk) else next(reader, None))
            for reader, chunk in zip(readers, rest, strict=True)
        ]
        readers = [reader for reader, chunk in remaining if chunk is not None]
        current = [chunk for _, chunk in remaining if chunk is not None]


def is_folder(out: str) -> bool:
    """Whether predictions go into a folder of parts, and not into one file."""
    return Path(out).is_dir() or not Path(out).suffix


def check_out(
    out: str,
    source: Any = None,
    escape_formulas: bool = False,
    tables: Iterable[Any] = (),
    overwrite: bool = False,
) -> None:
    """Refuse a place where predictions cannot be written, before anything is computed.

    Args:
        out: a .csv or .parquet file, or a folder.
        source: the table that is predicted.
        escape_formulas: whether texts that spreadsheets take for formulas are to be escaped.
        tables: those of training, validation and test, which are never replaced.
        overwrite: whether another existing file may be replaced.

    Raises:
        ValueError: for one of these tables, an existing file unless `overwrite`, another ending or
            a folder that does not exist.
    """
    path = Path(out)
    if is_folder(out):
        if overwrite:
            raise ValueError(
                "--overwrite is for one file: parts that are whole stay in the folder --out "
                f"{out}, and others are made."
            )
        other = next(
            (file for file in _files(source) if file.is_file() and not _may_be_parquet(file)), None
        )
        if other is not None:
            raise ValueError(
                f"--out {out} is a folder, for which --data.path must be Parquet, got {other}: "
                f"give the name of a file, such as --out {path.name or 'predictions'}.csv."
            )
        if escape_formulas:
            raise ValueError(
                f"--escape_formulas is for CSV files: texts in the Parquet files in {out} are "
                "never formulas."
            )
        return check_folder(path, "the parts of the predictions", "--out")
    if not out.endswith((".csv", ".parquet", ".pq")):
        raise ValueError(f"--out must end in .csv or .parquet, or be a folder, got {out!r}.")
    ending_of(out, escape_formulas)
    for what, files in {
        "predicted": _files(source),
        "the model was trained with": map(Path, _texts(tables)),
    }.items():
        if any(_is_same(path, file) for file in files):
            which = f"the table that is {what}" if what == "predicted" else f"a table that {what}"
            raise ValueError(
                f"--out {out} is {which}, which it would write over: choose another name."
            )
    check_file(path, "the file of the predictions", "--out")
    if path.exists() and not overwrite:
        raise ValueError(
            f"--out {out} is there already: choose another name with --out, or write over it with "
            "--overwrite."
        )
    return None


def _texts(tables: Iterable[Any]) -> list[str]:
    return [os.fspath(table) for table in tables if isinstance(table, (str, os.PathLike))]


def _files(source: Any) -> list[Path]:
    """The paths of a table, or of several."""
    return [
        Path(entry) for entry in _texts(source if isinstance(source, (list, tuple)) else [source])
    ]


def _may_be_parquet(file: Path) -> bool:
    """Whether a file is Parquet by its name or by its first bytes."""
    with open(file, "rb") as opened:
        return file.suffix.lower() in _PARQUET or opened.read(4) == b"PAR1"


def _is_same(file: Path, other: Path) -> bool:
    """Whether a file is another one, also by a link, or belongs to a folder or pattern."""
    if file.exists() and other.exists() and file.samefile(other):
        return True
    file, other = file.resolve(), other.resolve()
    is_part = file.exists() and file.suffix.lower() in _PARQUET
    return file == other or (is_part and (other in file.parents or file.match(str(other))))


def check_id_columns(ids: Iterable[str], predicted: Iterable[str]) -> None:
    """Refuse columns of the table that have the name of a prediction.

    Args:
        ids: names of the columns that are copied into the predictions.
        predicted: names of the columns of the predictions.

    Raises:
        ValueError: with the first such name.
    """
    taken = sorted(set(ids) & {*predicted, _ROW})
    if taken:
        raise ValueError(
            f"column {taken[0]!r} cannot be copied into the predictions, which have a column of "
            "that name."
        )
