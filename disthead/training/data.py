"""`TabularDataModule`: batches of a table for training, validation, test and prediction."""

import inspect
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import lightning
import numpy as np
import torch
from torch import Tensor

from disthead.arrays import as_integer, as_mapping, as_names, check_type
from disthead.data.batches import Batches
from disthead.data.columns import Columns, Encoded
from disthead.data.datasets import load_dataset
from disthead.data.encoder import Unseen
from disthead.data.row_groups import RowGroup, find_files, find_row_groups, is_folder_or_pattern
from disthead.data.scan import check_varies, scan_columns, summarise
from disthead.data.search import find_columns
from disthead.data.split import (
    PARTS,
    equal_rows,
    numbered,
    split_at_random,
    split_by_column,
    warn_of_copies,
)
from disthead.data.stream import StreamedBatches
from disthead.data.summary import Part, Summary
from disthead.data.table import DataError, read_table
from disthead.distributions.censored import warn_of_none
from disthead.errors import pick
from disthead.networks.schedule import plan
from disthead.training.saved import own_options, read_checkpoint, rebuilding
from disthead.training.trust import check_classes, check_sources

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["PARTS", "PREDICTED", "TabularDataModule"]

_LEAST_GROUPS = 30  # number of groups of rows from which parts can be drawn
_SEEDS = 1 << 32
_EVALUATED_ROWS = 1024  # least number of rows of a batch without an optimizer step
PREDICTED = 16_384  # rows of a batch of predictions that are written


class TabularDataModule(lightning.LightningDataModule):
    """Reads, checks, splits and batches tables for Lightning.

    Numbers stay in the user's units; the model standardises them. Columns of text become one
    indicator per category that occurs in the training rows, dates become days since the first of
    them, missing numbers the training median with an indicator, as in the estimators
    (docs/tables.md); targets of text become class indices. A missing target is refused. Errors name
    the column, the row (counted from 0, without the header) and the value; a warning says how
    unusual columns are encoded.

    A folder of Parquet files, or a pattern such as `rows/*.parquet`, is streamed: training reads it
    row group by row group, in memory that does not grow with the rows (docs/big_data.md).

    Args:
        path: a CSV or Parquet file, a data frame, a mapping of columns, or a pair of arrays
            (features, y), whose columns are called x0, x1 ... and y (or y0, y1 ...); or a folder or
            a pattern of Parquet files.
        dataset: where no path is given, a data set that ships with scikit-learn or statsmodels, or
            a generated one: `sklearn.diabetes`, `statsmodels.engel`, `generated.direction`.
        target: name of the target column, or several names. A ranking is several columns of item
            indices, best first.
        features: names of the feature columns; all other columns unless given.
        categorical: columns of numbers that are categories; a target that is one holds classes.
        known: quantities that the family takes per row, with their columns:
            `{"exposure": "months"}`.
        order: the classes of the target from the lowest to the highest, for the family ordinal:
            `["low", "middle", "high"]`. Without it numbers have their order, and texts have none.
        event: column that is 1 where the target is observed, and 0 where it is right-censored, for
            the family censored. Without it two targets of that family are the lower and the upper
            end of one number, where an empty cell is unbounded.
        weight: column of the weights of the rows; a row of weight 0 is not there, except in
            predictions.
        val_size, test_size: the part of the rows (below 1) or their number, drawn at random with
            `split_seed`. Of a stream, row groups are counted and drawn, not rows.
        split_seed: seed of the split and of the order of the rows in training.
        groups: column of what rows belong to, such as a person, a site or a panel: the rows of a
            group are all in one part of the random split. It is no feature. Without it rows with
            equal features are in one part, with a warning where one row in a hundred repeats
            another.
        split_column: a column with "train", "val" or "test" in each row, in place of a random
            split.
        val_path, test_path, predict_path: separate tables, of which all rows are used.
        batch_size: rows for one step, over all processes together; None leaves their number to the
            default recipe.
        buffer_size: rows of a stream that each process holds and shuffles together, at least.
        unit: "degrees" where the targets are angles in degrees; the model and its scores are in
            radians, the predictions that are written are in degrees, between -180 and 180.

    Prediction takes `predict_path`, or else all rows of the table, in their order.

    Raises:
        DataError: for a table that cannot be used, when Lightning calls `setup`.
    """

    def __init__(
        self,
        path: Any = None,
        dataset: str | None = None,
        target: str | list[str] = "target",
        features: list[str] | None = None,
        categorical: list[str] | None = None,
        known: dict[str, str] | None = None,
        weight: str | None = None,
        val_size: float | int = 0.2,
        test_size: float | int = 0.2,
        split_seed: int = 0,
        groups: str | None = None,
        split_column: str | None = None,
        val_path: Any = None,
        test_path: Any = None,
        predict_path: Any = None,
        batch_size: int | None = 64,
        buffer_size: int = 262_144,
        unit: str | None = None,
        event: str | None = None,
        order: list[str | int | float] | None = None,
    ):
        super().__init__()
        options = dict(locals())
        for name in ("self", "__class__"):
            options.pop(name)
        self._sources = {"main": path, "val": val_path, "test": test_path, "predict": predict_path}
        for name, size in {"batch_size": batch_size, "buffer_size": buffer_size}.items():
            if size is not None:
                as_integer(size, name)
        for name, names in {
            "target": target,
            "features": features,
            "categorical": categorical,
            "order": order,
        }.items():
            _check_names(name, names)
        for name, column in {
            "weight": weight,
            "groups": groups,
            "split_column": split_column,
            "event": event,
        }.items():
            check_type(column, name, Hashable, "the name of a column")
        as_mapping(known, "known", "{'total_count': 'trials'}")
        check_type(
            dataset, "dataset", (str, type(None)), "the name of a data set, such as 'diabetes'"
        )
        if as_integer(split_seed, "split_seed", 1 - _SEEDS) >= _SEEDS:
            raise ValueError(f"split_seed must be an integer below {_SEEDS}, got {split_seed}.")
        self._set_hparams({name: _plain(value) for name, value in options.items()})
        self._hparams_initial = dict(self.hparams)
        self._log_hyperparams = True
        if unit is not None:
            pick("unit of the target", unit, dict.fromkeys(("degrees", "radians")))
        self.target = list(as_names(target, "target", "['y']"))
        self.columns: Columns | None = None
        self.is_censored = False  # whether the family of the model takes pairs
        self.dtype = torch.float32  # of the model's weights, which batches for it have
        self._encoded: dict[tuple[str, bool, torch.dtype], Encoded] = {}
        self._frames: dict[str, DataFrame] = {}
        self._row_groups: dict[str, list[RowGroup]] = {}
        self._summaries: dict[str, Summary] = {}
        self._split: dict[str, Tensor] = {}
        self._warned: set[str] = set()  # sources whose unseen values were named in a warning

    def __repr__(self) -> str:
        """The options that are not the defaults; no table is read."""
        defaults = inspect.signature(TabularDataModule).parameters
        given = {
            name: self._sources.get("main" if name == "path" else name.removesuffix("_path"), value)
            if name.endswith("path")
            else value
            for name, value in self.hparams.items()
        }
        texts = (
            f"{name}={value!r}" if _plain(value) is not None else f"{name}=<{type(value).__name__}>"
            for name, value in given.items()
            if value is not None
            and (name not in defaults or _differs(value, defaults[name].default))
        )
        return f"{type(self).__name__}({', '.join(texts)})"

    __str__ = __repr__  # Lightning's would make all loaders

    @classmethod
    def from_arrays(cls, features: Any, y: Any, **options: Any) -> Self:
        """The data module of arrays or tensors.

        Args:
            features: (N, P); the columns are called x0, x1 ...
            y: (N,), called y, or (N, D), called y0, y1 ...
            options: of the data module.
        """
        targets = "y" if np.ndim(y) == 1 else [f"y{k}" for k in range(np.shape(y)[1])]
        return cls((features, y), **{"target": targets} | options)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: "str | PathLike[str]", **options: Any) -> Self:
        """The data module of a training, from its checkpoint; no table is read yet.

        Args:
            checkpoint_path: a file on this machine.
            options: in place of those in the checkpoint, such as `test_path`.

        Raises:
            ValueError: for a missing or corrupt file, or tables in it that are not files or folders
                of this machine.
        """
        saved = own_options(
            cls, read_checkpoint(checkpoint_path).get("datamodule_hyper_parameters", {})
        )
        saved = {name: value for name, value in saved.items() if name not in options}
        check_classes(saved, checkpoint_path)
        check_sources(saved, checkpoint_path)
        with rebuilding(checkpoint_path):
            return cls(**saved | options)

    def setup(self, stage: str) -> None:
        """Read the tables that a stage needs, and learn the columns unless the model has them.

        Lightning calls it.

        Args:
            stage: "fit", "validate", "test" or "predict".

        Raises:
            DataError: for a table that cannot be used.
        """
        module = getattr(self.trainer, "lightning_module", None)
        self.dtype = getattr(module, "dtype", self.dtype)
        self.is_censored = getattr(module, "is_censored", self.is_censored)
        state = getattr(module, "columns", None)
        if state is not None:
            self.columns = Columns.from_state(state)
        if self.columns is None or stage == "fit":
            self.find_columns()
        if stage == "fit" and not self.has("val"):
            self.trainer.limit_val_batches = 0  # Lightning would warn of a loader without batches

    def find_columns(self) -> Columns:
        """The columns of the table, which are learned from its training rows at the first call."""
        if not self._split:
            self._split = self._split_rows()
        if self.columns is None:
            roles = {
                "target": self.target,
                "features": self.hparams.features,
                "categorical": self.hparams.categorical or (),
                "known": self.hparams.known,
                "weight": self.hparams.weight,
                "unit": self.hparams.unit,
                "event": self.hparams.event,
                "is_censored": self.is_censored,
                "order": self.hparams.order,
                "ignore": [
                    name for name in (self.hparams.split_column, self.hparams.groups) if name
                ],
            }
            if self.streams("train"):
                seed = self.hparams.split_seed
                self.columns = scan_columns(
                    self._groups("main"), self.row_groups("train"), seed, **roles
                )
            else:
                with self._named("main"):
                    self.columns = find_columns(
                        self._frame("main"), self._split["train"].numpy(), **roles
                    )
        return self.columns

    def streams(self, name: str) -> bool:
        """Whether the rows of a part are read from files in each epoch, and not held in memory."""
        return is_folder_or_pattern(self._sources[self._source(name)])

    def part(self, name: str) -> Part:
        """The rows of "train", "val", "test" or "predict" as tensors.

        Raises:
            DataError: for a part that has no rows, or one that is streamed.
        """
        pick("part of the table", name, dict.fromkeys(PARTS))
        self._check_in_memory(name)
        source = self._source(name)
        table = self._table(source, name)
        is_whole = source != "main" or name == "predict"
        rows = torch.arange(len(table.features)) if is_whole else self._split_of(name)
        return Part(table, self._present(name, table, rows))

    def row_groups(self, name: str) -> list[RowGroup]:
        """The row groups of a part that is streamed.

        Raises:
            DataError: for a part that has none, or files that cannot be used.
        """
        source = self._source(name)
        if source != "main" or name == "predict":
            return self._groups(source, needs_target=name != "predict")
        return [self._groups(source)[k] for k in self._split_of(name).tolist()]

    def frame(self, name: str) -> "DataFrame":
        """The rows of a part with all columns of the table, in the order of `part`.

        Raises:
            DataError: for a part that has no rows, or one that is streamed.
        """
        self._check_in_memory(name)
        return self._frame(self._source(name)).iloc[self.part(name).rows.numpy()]

    def column_names(self, name: str) -> list[str]:
        """The names of all columns of the table of a part."""
        self._check_in_memory(name)
        return [str(column) for column in self._frame(self._source(name)).columns]

    def has(self, name: str) -> bool:
        """Whether a part has rows."""
        if self._source(name) != "main" or name == "predict":
            return True
        if not self._split:
            self._split = self._split_rows()
        return len(self._split[name]) > 0

    def count(self, name: str) -> int:
        """The number of rows of a part."""
        if self.streams(name):
            return sum(group.rows for group in self.row_groups(name))
        return len(self.part(name).rows)

    @property
    def batch_size(self) -> int:
        """The number of rows for one step: the option, or that of the default recipe."""
        return self.hparams.batch_size or plan(self.count("train")).batch_size

    def check_rows(self, name: str, check: Callable[[Encoded], None]) -> None:
        """Check all rows of a part; of a table in memory, those of its other parts, too.

        Args:
            name: of the part.
            check: a function of encoded rows that raises an error for rows that cannot be used.
        """
        if self.streams(name):
            self._summaries[name] = self._summarise(name, check)
        else:
            check(self.part(name).table)

    def summary(self, name: str) -> Summary:
        """The moments of a part, and a sample of its rows.

        The sample has all rows, or 100,000 of a stream, drawn with `split_seed`.
        """
        if name not in self._summaries:
            self._summaries[name] = (
                self._summarise(name) if self.streams(name) else Summary.of(self.part(name))
            )
            if name == "train" and not self.streams(name):
                self._warn_of_targets(self._summaries[name])
        return self._summaries[name]

    def _summarise(self, name: str, check: Callable[[Encoded], None] | None = None) -> Summary:
        columns = self.columns or self.find_columns()
        summary = summarise(self.row_groups(name), columns, check, self.hparams.split_seed)
        if name == "train":
            check_varies(summary, columns)
            self._warn_of_targets(summary)
        return summary

    def _warn_of_targets(self, train: Summary) -> None:
        """Warn of pairs none of which is censored."""
        if self.columns is not None and self.columns.has_pairs:
            warn_of_none(train.sample.y)

    def train_dataloader(self) -> Batches:
        """The batches of training, in an order of its own in each epoch."""
        return self._batches("train", seed=self.hparams.split_seed)

    def val_dataloader(self) -> Batches:
        """The batches of validation."""
        return self._batches("val")

    def test_dataloader(self) -> Batches:
        """The batches of the test."""
        return self._batches("test")

    def predict_dataloader(self) -> Batches:
        """The batches of prediction, without targets, in the order of the table."""
        return self._batches("predict")

    def _batches(self, name: str, seed: int | None = None) -> Batches | StreamedBatches:
        trainer = self.trainer
        size = self.batch_size if name == "train" else self.hparams.batch_size or _EVALUATED_ROWS
        options: dict[str, Any] = {"seed": seed}
        if name in ("val", "test"):
            size = max(size, _EVALUATED_ROWS)
        if trainer is not None:
            if name == "val":
                size = max(size, getattr(trainer.lightning_module, "validated_at_once", size))
            options |= {
                "rank": trainer.global_rank,
                "world_size": trainer.world_size,
                "epoch": lambda: trainer.current_epoch,
                "steps": getattr(trainer.lightning_module, "steps_at_once", 1)
                if name == "train"
                else 1,
                "device": trainer.strategy.root_device,
            }
        if not self.streams(name):
            return Batches(*self.part(name), size, **options)
        if trainer is not None and trainer.world_size > 1:
            options["add_up"] = lambda values: trainer.strategy.reduce(values, reduce_op="sum")
        columns = self.columns or self.find_columns()
        options |= {
            "needs_target": name != "predict",
            "dtype": self.dtype,
            "buffer_size": self.hparams.buffer_size if seed is not None else 1,
        }
        if name == "predict":  # the rows of other parts were read before
            options["check"] = getattr(
                getattr(trainer, "lightning_module", None), "check_known", None
            )
        return StreamedBatches(self.row_groups(name), columns, size, **options)

    def _source(self, name: str) -> str:
        """The table that has the rows of a part: "main", or one of its own."""
        return name if self._sources.get(name) is not None else "main"

    def _check_in_memory(self, name: str) -> None:
        if self.streams(name):
            source = self._sources[self._source(name)]
            raise DataError(
                f"the rows of {source} are streamed and never in memory all at once, which this "
                "needs. Give one file."
            )

    def _split_of(self, name: str) -> Tensor:
        if not self._split:
            self._split = self._split_rows()
        if not len(self._split[name]):
            raise DataError(
                f"there are no rows for {name}: raise {name}_size, or give {name}_path."
            )
        return self._split[name]

    def _present(self, name: str, table: Encoded, rows: Tensor) -> Tensor:
        """The rows with a weight above zero."""
        if table.weight is None:
            return rows
        present = rows[table.weight[rows] > 0]
        if not len(present):
            raise DataError(
                f"weights must be above zero in some row, column {self.hparams.weight!r} has zero "
                f"in all {len(rows)} rows for {name}: no row is there."
            )
        return present

    def _groups(self, source: str, needs_target: bool = True) -> list[RowGroup]:
        if source not in self._row_groups:
            names, options = None, self.hparams
            if self.columns is not None:
                names = self.columns.used(needs_target)
            elif options.features:
                known = (options.known or {}).values()
                others = [name for name in (options.weight, options.event) if name]
                names = list(dict.fromkeys([*options.features, *self.target, *known, *others]))
            self._row_groups[source] = find_row_groups(find_files(self._sources[source]), names)
        return self._row_groups[source]

    def _frame(self, source: str) -> "DataFrame":
        if source not in self._frames:
            table, dataset = self._sources[source], self.hparams.dataset
            if table is not None:
                self._frames[source] = read_table(table)
            elif dataset is None:
                raise DataError(
                    "no data: give `path` (a CSV or Parquet file, a data frame, arrays) or "
                    "`dataset`."
                )
            else:
                self._frames[source] = read_table(load_dataset(dataset))
        return self._frames[source]

    def _table(self, source: str, part: str) -> Encoded:
        """The table as tensors; prediction does not need its targets."""
        key = (source, part != "predict", self.dtype)
        if key not in self._encoded:
            columns, unseen = self.columns or self.find_columns(), Unseen()
            with self._named(source):
                self._encoded[key] = columns.encode(
                    self._frame(source), part != "predict", unseen, self.dtype
                )
            if unseen and source not in self._warned:
                self._warned.add(source)
                warnings.warn(unseen.message(), UserWarning, stacklevel=2)
        return self._encoded[key]

    @contextmanager
    def _named(self, source: str) -> Iterator[None]:
        """A block in which errors about the rows of a file name it."""
        try:
            yield
        except DataError as error:
            path = self._sources[source]
            if not isinstance(path, (str, PathLike)) or str(path) in str(error):
                raise
            raise DataError(f"{path}: {error}") from error

    def _split_rows(self) -> dict[str, Tensor]:
        """Numbers of the rows of each part; of a stream, numbers of its row groups."""
        if self.streams("train"):
            if self.hparams.split_column is not None:
                raise DataError(
                    "a stream has no split_column: give val_path and test_path, or "
                    "val_size and test_size."
                )
            if self.hparams.groups is not None:
                raise DataError(
                    "a stream is split by row groups and has no groups: give val_path "
                    "and test_path."
                )
            count, unit = len(self._groups("main")), "row groups"
        elif self.hparams.split_column is not None:
            return split_by_column(self._frame("main"), self.hparams.split_column)
        else:
            count, unit = len(self._frame("main")), "rows"
        shares = {
            name: 0 if self._sources[name] is not None else self.hparams[f"{name}_size"]
            for name in PARTS[1:3]
        }
        groups = (
            None if unit == "row groups" or not any(shares.values()) else self._groups_of_rows()
        )
        return split_at_random(count, unit, shares, self.hparams.split_seed, groups)

    def _groups_of_rows(self) -> Tensor:
        """The group of each row, (N,); the rows of a group stay together in a random split."""
        frame, options = self._frame("main"), self.hparams
        if options.groups is not None:
            values = pick(
                "column", options.groups, {column: frame[column] for column in frame.columns}
            )
            missing = values.isna().to_numpy()
            if missing.any():
                raise DataError(
                    f"the column of the groups {options.groups!r} must have no missing values, got "
                    f"one at row {missing.argmax()}."
                )
            return numbered(_row_hash(values.to_frame()))
        known = (options.known or {}).values()
        others = {*self.target, *known, options.weight, options.event}
        features = options.features or [column for column in frame.columns if column not in others]
        row = numbered(_row_hash(frame[[column for column in features if column in frame.columns]]))
        weight = [options.weight] if options.weight in frame.columns else []
        copy = numbered(_row_hash(frame.drop(columns=weight)))
        groups = equal_rows(row, copy, _LEAST_GROUPS)
        warn_of_copies(groups, copy, "give their column as `groups`")
        return groups


def _row_hash(frame: "DataFrame") -> Tensor:
    """A hash of 64 bits for each row, (N,), equal where rows are."""
    from pandas.util import hash_pandas_object

    try:
        return torch.from_numpy(
            hash_pandas_object(frame, index=False).to_numpy(copy=True).view(np.int64)
        )
    except TypeError:  # lists and the like, which reading the columns refuses
        return torch.arange(len(frame))


def _plain(value: Any) -> Any:
    """The value of an option for a checkpoint; None for data that are not in a file."""
    if isinstance(value, PathLike):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    return (
        value
        if isinstance(value, (str, int, float, bool, list, dict, type(None)))
        and not _has_arrays(value)
        else None
    )


def _differs(value: Any, default: Any) -> bool:
    """Whether the value of an option is not its default; data are not."""
    return _plain(value) is None or value != default


def _has_arrays(value: Any) -> bool:
    entries = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    return any(not isinstance(entry, (str, int, float, bool, type(None))) for entry in entries)


def _check_names(role: str, names: Any) -> None:
    """Refuse lists of columns that name none, or one of them twice."""
    if names is None and role != "target":
        return
    if isinstance(names, str) and role != "target":
        raise ValueError(f"{role} must be a list of names, got {names!r}. Try [{names!r}].")
    names = as_names(names, role, "['x']")
    what = "class" if role == "order" else "column"
    if not names and role != "categorical":
        raise ValueError(f"{role} must name at least one {what}, got none.")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ValueError(f"{role} must name each {what} once, got {twice!r} twice.")
