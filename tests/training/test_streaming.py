"""Tables larger than memory: the rows, the statistics and the results of the table in memory, read
row group by row group.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from disthead.cli import main
from disthead.data import scan, stream
from disthead.data.batches import Batches, Steps
from disthead.data.stream import StreamedBatches
from disthead.data.summary import Moments
from disthead.errors import TargetError
from disthead.training import DataError, DistributionModule, TabularDataModule


def write(frame: pd.DataFrame, folder: Path, rows: int = 70, row_group_size: int = 20) -> Path:
    """Files of `rows` rows each, in row groups of 20, 20, 20 and 10 unless told otherwise."""
    folder.mkdir(exist_ok=True)
    for k, start in enumerate(range(0, len(frame), rows)):
        piece = arrow.Table.from_pandas(frame.iloc[start : start + rows], preserve_index=False)
        parquet.write_table(piece, folder / f"{k}.parquet", row_group_size=row_group_size)
    return folder


def both(frame, tmp_path, **options):
    """The data module of the files and that of the table, all rows for training."""
    options = {"target": "y", "val_size": 0, "test_size": 0} | options
    return TabularDataModule(write(frame, tmp_path / "rows"), **options), TabularDataModule(
        frame, **options
    )


@pytest.fixture
def table(frame) -> pd.DataFrame:
    return frame.assign(w=np.linspace(0.5, 2, 200), months=np.roll(np.arange(1, 201), 7))


def batches_of(
    files: TabularDataModule, batch_size=9, buffer_size=50, seed=0, **options
) -> StreamedBatches:
    columns = files.find_columns()
    options |= {"buffer_size": buffer_size, "seed": seed}
    return StreamedBatches(files.row_groups("train"), columns, batch_size, **options)


@pytest.fixture
def reads(monkeypatch) -> list:
    """The row groups that batches are read from."""
    found, read = [], stream.read_rows
    monkeypatch.setattr(
        stream, "read_rows", lambda group, *rest: found.append(group) or read(group, *rest)
    )
    return found


SHAPES = [(1, 9, 50), (2, 9, 50), (3, 10, 1), (2, 64, 1000), (6, 5, 30), (4, 1, 20), (2, 300, 50)]


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("world_size, batch_size, buffer_size", SHAPES)
def test_every_row_comes_once_and_all_processes_take_the_same_steps(
    table, tmp_path, seed, world_size, batch_size, buffer_size
):
    files, memory = both(table, tmp_path, weight="w", known={"exposure": "months"})
    whole = memory.part("train").table
    shards = [
        list(batches_of(files, batch_size, buffer_size, seed, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    expected = list(Batches(whole, torch.arange(200), batch_size))
    assert {len(shard) for shard in shards} == {len(expected)}
    batches = [batch for shard in shards for batch in shard]
    assert torch.cat([batch["rows"] for batch in batches]).sort().values.tolist() == list(
        range(200)
    )
    for batch in batches:
        own = whole.at(batch["rows"])
        assert torch.equal(batch["features"], own.features)
        assert torch.equal(batch["y"], own.y)
        assert torch.equal(batch["weight"], own.weight)
        assert torch.equal(batch["known"]["exposure"], own.known["exposure"])
    for position, batch in enumerate(expected):
        assert sum(len(shard[position]["rows"]) for shard in shards) == len(batch["rows"])


def test_without_a_shuffle_the_rows_come_in_their_order(table, tmp_path):
    files, _ = both(table, tmp_path)
    assert torch.cat([batch["rows"] for batch in batches_of(files, seed=None)]).tolist() == list(
        range(200)
    )


def test_the_weight_of_a_batch_is_that_over_all_processes(table, tmp_path):
    files, _ = both(table, tmp_path)
    for rank in range(2):  # 200 rows in 23 batches
        batches = batches_of(files, rank=rank, world_size=2)
        assert [batch["total"] for batch in batches] == [9.0] * 16 + [8.0] * 7
    weighted, _ = both(table, tmp_path, weight="w")
    for batch in batches_of(weighted, rank=1, world_size=2, add_up=lambda own: own + 100):
        assert batch["total"] == 100 + batch["weight"].sum()


def test_each_epoch_mixes_the_rows_anew_and_depends_on_nothing_else(table, tmp_path):
    files, _ = both(table, tmp_path)
    epoch = 0
    batches = batches_of(files, 50, epoch=lambda: epoch)
    first = torch.cat([batch["rows"] for batch in batches])
    torch.rand(3)
    assert torch.cat([batch["rows"] for batch in batches]).equal(first)
    starts = torch.tensor([group.start for group in files.row_groups("train")])
    groups = [torch.searchsorted(starts, batch["rows"], right=True) for batch in batches]
    assert all(len(group[:15].unique()) >= 2 for group in groups)  # a row group has 10 or 20 rows
    assert all(len(group.unique()) <= 7 for group in groups)  # of several, not of all 11
    epoch = 1
    assert not torch.cat([batch["rows"] for batch in batches]).equal(first)


def test_a_process_reads_its_share_of_the_row_groups(table, tmp_path, reads):
    files, _ = both(table, tmp_path)
    batches = [batches_of(files, rank=rank, world_size=3) for rank in range(3)]
    reads.clear()
    counts = []
    for own in batches:
        list(own)
        counts.append(len(reads))
        reads.clear()
    total = len(files.row_groups("train"))
    assert sum(counts) <= total + 2  # where two spans meet, both read
    assert max(counts) <= total / 3 + 2


@pytest.mark.parametrize("rank, world_size, steps", [(0, 1, 1), (1, 2, 1), (5, 6, 1), (0, 1, 4)])
def test_an_epoch_goes_on_after_any_batch(table, tmp_path, rank, world_size, steps):
    files, _ = both(table, tmp_path)
    options = {"batch_size": 5, "rank": rank, "world_size": world_size}
    whole = [batch["rows"].tolist() for batch in batches_of(files, **options)]
    for stop in range(1, 40, 3):
        first = batches_of(files, **options)
        iterator = iter(first)
        for _ in range(stop):
            next(iterator)
        again = batches_of(files, steps=steps, **options)
        again.load_state_dict(first.state_dict())
        rest = [
            batch.rows if steps > 1 else batch["rows"] for given in again for batch in single(given)
        ]
        assert [rows.tolist() for rows in rest] == whole[stop:]


def single(given) -> list:
    return list(given.batches()) if isinstance(given, Steps) else [given]


def test_resuming_reads_no_row_group_that_is_done(table, tmp_path, reads):
    files, _ = both(table, tmp_path)
    batches = batches_of(files, 10, buffer_size=1)
    batches.load_state_dict({"position": 15, "rows": 200, "world_size": 1})
    reads.clear()
    rows = torch.cat([batch["rows"] for batch in batches])
    assert len(rows) == 50
    assert sum(group.rows for group in reads) <= 50 + 20


@pytest.mark.parametrize("state", [{"rows": 190, "world_size": 1}, {"rows": 200, "world_size": 2}])
def test_an_epoch_does_not_go_on_with_other_rows_or_processes(table, tmp_path, state):
    files, _ = both(table, tmp_path)
    with pytest.raises(DataError, match="rows would come twice"):
        batches_of(files).load_state_dict({"position": 4} | state)
    batches_of(files, 10).load_state_dict({"position": 20} | state)  # the end of an epoch


@pytest.mark.parametrize("steps", [2, 5, 64])
def test_the_batches_of_several_steps_are_the_batches(table, tmp_path, steps):
    files, _ = both(table, tmp_path, weight="w")
    expected, chunks = list(batches_of(files)), list(batches_of(files, steps=steps))
    assert len(chunks) == len(batches_of(files, steps=steps)) == -(-23 // steps)
    for batch, other in zip(
        (b for chunk in chunks for b in chunk.batches()), expected, strict=True
    ):
        assert torch.equal(batch.rows, other["rows"])
        torch.testing.assert_close(batch.total, other["total"])


# Statistics.


def test_moments_of_pieces_are_those_of_the_whole_where_the_mean_is_large(generator):
    values = 1e9 + torch.randn(1000, 3, generator=generator, dtype=torch.float64).cumsum(0)
    moments = Moments()
    for piece in values.split([1, 400, 599]):
        moments.add(piece)
    torch.testing.assert_close(moments.mean, values.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(moments.spread, values.std(0, correction=0), rtol=1e-6, atol=0)
    torch.testing.assert_close(moments.level, values.abs().amax(0))
    assert not Moments().add(torch.full((7, 2), 0.1)).add(torch.full((3, 2), 0.1)).spread.any()


BINNED = {
    "class_path": "disthead.networks.tabular.TabularBackbone",
    "init_args": {"hidden_sizes": [4], "members": 3},
}


@pytest.mark.parametrize(
    "target, family, options",
    [
        ("y", "normal", {}),
        (["y", "z"], "normal", {}),
        ("colour", "categorical", {}),
        ("months", "poisson", {"backbone": BINNED, "ensemble": 3}),
    ],
)
def test_a_stream_and_a_table_start_the_same_model(
    table, trainer, tmp_path, target, family, options
):
    models, states = [], []
    for data in both(table.assign(flag=np.arange(200) % 3 == 0), tmp_path, target=target):
        torch.manual_seed(0)
        models.append(DistributionModule(family, hidden_sizes=[4], **options))
        trainer(0).fit(models[-1], data)
        states.append(data.columns)
    assert states[0] == states[1]
    for name, value in models[1].state_dict().items():
        torch.testing.assert_close(models[0].state_dict()[name], value, msg=name)


def test_the_sample_is_drawn_from_all_rows_whatever_the_row_groups_are(
    table, tmp_path, monkeypatch
):
    monkeypatch.setattr(scan, "_SAMPLE_ROWS", 60)
    samples = []
    for size in (20, 33):
        files = TabularDataModule(
            write(table, tmp_path / str(size), 70, size), target="y", val_size=0, test_size=0
        )
        samples.append(files.summary("train").sample.features)
        assert files.summary("train").features.rows == 200
    assert torch.equal(*samples)
    assert len(samples[0].unique(dim=0)) == 60
    months = samples[0][:, files.columns.feature_names.index("months")]
    assert months.min() < 20
    assert months.max() > 180


def test_categories_are_those_of_the_training_rows_and_classes_those_of_all(frame, tmp_path):
    frame["grade"] = "common"
    frame.loc[:9, "grade"] = "rare"
    files = TabularDataModule(
        write(frame, tmp_path / "rows", 50, 10), target="colour", val_size=1, test_size=0
    )
    [held_out] = files.row_groups("val")
    assert files.find_columns().classes == {"colour": ["blue", "green", "red"]}
    assert ("grade=rare" in files.columns.feature_names) == (held_out.start != 0)
    assert sum(group.rows for group in files.row_groups("train")) == 190


# Training.

SMALL = {"hidden_sizes": [8], "optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.01}}}


@pytest.fixture
def line(generator):
    """3000 rows in the order of `x`: row groups alone would not do."""
    x = torch.randn(3000, generator=generator).sort().values
    y = 3 * x.sin() + (0.2 + 0.3 * x.abs()) * torch.randn(3000, generator=generator)
    return pd.DataFrame({"x": x.numpy(), "y": y.numpy()})


def test_streaming_reaches_the_likelihood_of_the_table(line, trainer, tmp_path):
    rows = np.random.default_rng(0).random(3000) < 0.7
    train, val = line[rows], line[~rows]
    found = []
    for path, val_path in (
        (train, val),
        (write(train, tmp_path / "train", 700, 30), write(val, tmp_path / "val", 200, 90)),
    ):
        torch.manual_seed(0)
        data = TabularDataModule(
            path, val_path=val_path, target="y", test_size=0, batch_size=50, buffer_size=500
        )
        run = trainer(15)
        run.fit(DistributionModule(**SMALL), data)
        found.append({name: float(value) for name, value in run.callback_metrics.items()})
    memory, files = found
    assert files["val/nll_marginal"] == pytest.approx(memory["val/nll_marginal"], rel=1e-5)
    assert memory["val/nll"] < memory["val/nll_marginal"] - 0.5
    assert files["val/nll"] == pytest.approx(memory["val/nll"], abs=0.03)


class Stops(Callback):
    """Calls a function before a step."""

    def __init__(self, at: int, function):
        self.at, self.function = at, function

    def on_train_batch_start(self, run, *rest):
        if run.global_step == self.at:
            self.function()


def train(trainer, folder, *, callbacks=(), ckpt_path=None, batch_size=50):
    torch.manual_seed(0)
    module = DistributionModule(**SMALL, dropout=0.2)
    data = TabularDataModule(
        folder, target="y", batch_size=batch_size, buffer_size=400, val_size=0.1, test_size=0
    )
    options = {"callbacks": list(callbacks)} if callbacks else {}
    trainer(3, **options).fit(module, data, ckpt_path=ckpt_path)
    return module


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks")
@pytest.mark.parametrize("at", [3, 60, 108])
def test_a_corrupt_row_group_is_named_and_training_goes_on_once_it_is_repaired(
    line, trainer, tmp_path, at
):
    folder = write(line, tmp_path / "rows", 700, 150)
    whole = train(trainer, folder)
    sound = {file: file.read_bytes() for file in folder.iterdir()}

    def corrupt():
        for file in folder.iterdir():
            spoil_row_group(file, 1)

    saved = ModelCheckpoint(dirpath=tmp_path / "saved", filename="cut", save_on_exception=True)
    with pytest.raises(DataError, match=r"\d\.parquet: row group 1 is corrupt"):
        train(trainer, folder, callbacks=[saved, Stops(at, corrupt)])
    for file, contents in sound.items():
        file.write_bytes(contents)
    [path] = (tmp_path / "saved").glob("*.ckpt")
    again = train(trainer, folder, ckpt_path=path)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks")
@pytest.mark.parametrize("part", [0.5, 0.95])
def test_after_several_steps_at_once_training_goes_on_as_well(line, trainer, tmp_path, reads, part):
    folder = write(line, tmp_path / "rows", 700, 150)
    whole = train(trainer, folder, batch_size=10)
    last = round(part * len(reads))
    reads.clear()

    def breaks(group, *rest):
        if len(reads) == last:
            raise DataError(f"{group} is gone")
        return read(group, *rest)

    saved, read = (
        ModelCheckpoint(dirpath=tmp_path / "saved", filename="cut", save_on_exception=True),
        stream.read_rows,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "read_rows", breaks)
        with pytest.raises(DataError, match="is gone"):
            train(trainer, folder, callbacks=[saved], batch_size=10)
    [path] = (tmp_path / "saved").glob("*.ckpt")
    steps = torch.load(path, weights_only=True)["global_step"]
    # in the middle of an epoch of 275, which come 64 at once
    assert steps % 275 in (64, 128, 192, 256)
    again = train(trainer, folder, ckpt_path=path, batch_size=10)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0, msg=name)


def spoil_row_group(file: Path, number: int) -> None:
    column = parquet.ParquetFile(file).metadata.row_group(number).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    contents = bytearray(file.read_bytes())
    contents[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    file.write_bytes(contents)


def test_the_command_line_trains_tests_and_predicts_a_pattern_of_files(
    frame, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    rows = write(frame, tmp_path / "rows")
    command = ["fit", f"--data.path={rows}/*.parquet", "--data.target=y", "--trainer.max_epochs=2"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    assert main([*command, *quiet, "--trainer.log_every_n_steps=1"]) == 0
    [checkpoint] = tmp_path.rglob("best.ckpt")
    assert main(["test", f"--ckpt_path={checkpoint}", *quiet]) == 0
    assert "test/nll" in capsys.readouterr().out
    assert main(["predict", f"--ckpt_path={checkpoint}", "--out=p.csv", *quiet]) == 0
    assert main(["predict", f"--ckpt_path={checkpoint}", "--out=parts", *quiet]) == 0
    one, other = pd.read_csv("p.csv"), pd.read_parquet("parts")
    pd.testing.assert_frame_equal(one, other, rtol=1e-4, check_dtype=False)
    assert len(one) == 200


# What is wrong with files.


def second(change):
    """A change of the second file alone, rows 70 to 139."""

    def apply(frame, folder):
        write(frame, folder)
        change(frame.iloc[70:140].copy()).to_parquet(
            folder / "1.parquet", index=False, row_group_size=20
        )

    return apply


def with_value(column, value):
    """At row 45 of the second file: row 5 of its row group 2."""

    def change(frame):
        frame = frame.astype({column: object}) if isinstance(value, str) else frame
        frame.iloc[45, frame.columns.get_loc(column)] = value
        return frame

    return second(change)


def zero_bytes(frame, folder):
    write(frame, folder)
    (folder / "1.parquet").write_bytes(b"")


def truncated(frame, folder):
    write(frame, folder)
    (folder / "1.parquet").write_bytes((folder / "1.parquet").read_bytes()[:-20])


def corrupt(frame, folder):
    write(frame, folder)
    spoil_row_group(folder / "1.parquet", 3)


def no_rows(frame, folder):
    folder.mkdir()
    frame[:0].to_parquet(folder / "0.parquet")


BAD_FILES = {
    "zero bytes": (zero_bytes, {}, r"1\.parquet is not a readable Parquet file"),
    "truncated": (truncated, {}, r"1\.parquet is not a readable Parquet file"),
    "corrupt": (corrupt, {}, r"1\.parquet: row group 3 is corrupt or truncated"),
    "no rows": (no_rows, {}, r"0\.parquet has column names but no rows"),
    "no files": (lambda frame, folder: folder.mkdir(), {}, "no Parquet files"),
    "type": (
        second(lambda f: f.assign(z=f["z"].astype(str))), {},
        r"'z' is .*string in .*1\.parquet, but double in",
    ),
    "column lost": (second(lambda f: f.drop(columns="z")), {}, r"1\.parquet has no column 'z'"),
    "column added": (
        second(lambda f: f.assign(extra=1.0)), {},
        r"1\.parquet has a column 'extra' that .*0\.parquet lacks",
    ),
    "missing target": (
        with_value("y", np.nan), {},
        r"1\.parquet, row group 2, .* row 0: column 'y' has 1 missing .* at row 5",
    ),
    "infinite target": (
        with_value("y", np.inf), {},
        r"1\.parquet, row group 2, .*'y' has 1 .*infinite .* row 5",
    ),
    "infinite": (
        with_value("x", np.inf), {},
        r"1\.parquet, row group 2, .*'x' has 1 .*infinite .* row 5",
    ),
    "missing class": (
        with_value("colour", None), {"target": "colour"},
        r"1\.parquet, row group 2, .*'colour' has 1 missing .* row 5",
    ),
    "constant target": (
        lambda f, folder: write(f.assign(y=2.0), folder), {},
        "column 'y' is constant",
    ),
    "single precision": (
        lambda f, folder: write(f.assign(y=1e12 + f["x"]), folder), {},
        "'y' varies by .* single precision",
    ),
    "identifier": (
        lambda f, folder: write(f.assign(n=[f"row {k}" for k in f.index]), folder), {},
        "name the rows",
    ),
    "split column": (write, {"split_column": "colour"}, "a stream has no split_column"),
    "few row groups": (
        lambda f, folder: write(f, folder, 200, 200), {"test_size": 0.2},
        "1 row groups are too few .* val_path",
    ),
    "unknown target": (write, {"target": "yy"}, "unknown column 'yy'; did you mean 'y'"),
    "unknown feature": (write, {"features": ["x", "color"]}, r"0\.parquet has no column 'color'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_wrong_with_a_file_is_said_with_its_row_group(frame, trainer, tmp_path, name):
    make, options, message = BAD_FILES[name]
    make(frame, tmp_path / "rows")
    data = TabularDataModule(
        tmp_path / "rows", **{"target": "y", "val_size": 0, "test_size": 0} | options
    )
    with pytest.raises(DataError, match=message):
        trainer(1).fit(DistributionModule(**SMALL), data)


def test_targets_outside_the_support_and_unknown_categories_are_found_before_training(
    frame, trainer, tmp_path
):
    frame["y"] = frame["y"].rank() + 1
    frame.loc[115, "y"] = 0.0
    data, _ = both(frame, tmp_path)
    with pytest.raises(TargetError, match=r"1\.parquet, row group 2, .*gamma.* 0 at row 5"):
        trainer(1).fit(DistributionModule("gamma"), data)
    counts = write(frame.assign(y=np.arange(200) % 4, x=frame["y"]), tmp_path / "counts")
    data = TabularDataModule(counts, target="y", val_size=0, test_size=0, known={"exposure": "x"})
    with pytest.raises(
        ValueError,
        match=r"1\.parquet, row group 2, .*exposure \(column 'x'\) of poisson .* 0 at row 5",
    ):
        trainer(1).fit(DistributionModule("poisson"), data)
    val = write(
        frame.assign(colour=["mauve" if k == 45 else "red" for k in range(200)]), tmp_path / "val"
    )
    data = TabularDataModule(write(frame, tmp_path / "sound"), target="y", val_path=val)
    with pytest.warns(
        UserWarning, match="not seen column 'colour': 1 rows with 'mauve', which set no indicator"
    ):
        trainer(1).fit(DistributionModule("normal"), data)


def test_files_without_rows_among_others_are_nothing_to_complain_about(frame, tmp_path):
    write(frame, tmp_path / "rows")
    frame[:0].to_parquet(tmp_path / "rows" / "00.parquet", index=False)
    data = TabularDataModule(tmp_path / "rows", target="y", val_size=0, test_size=0)
    assert data.summary("train").features.rows == 200


def test_what_needs_the_table_in_memory_says_so(frame, tmp_path):
    data, _ = both(frame, tmp_path)
    for ask in (data.part, data.frame):
        with pytest.raises(DataError, match="rows are streamed and never in memory"):
            ask("train")


def test_files_without_targets_are_predicted(frame, trainer, tmp_path):
    data, _ = both(frame, tmp_path)
    module, run = DistributionModule(**SMALL), trainer(1)
    run.fit(module, data)
    bare = write(frame.drop(columns="y"), tmp_path / "bare")
    found = [
        dist.mean
        for dist in run.predict(module, TabularDataModule(bare, target="y", batch_size=90))
    ]
    expected = module.predictive(TabularDataModule(frame, target="y").part("predict").features).mean
    torch.testing.assert_close(torch.cat(found), expected)


def test_an_index_that_pandas_wrote_is_no_feature(frame, tmp_path):
    (tmp_path / "rows").mkdir()
    frame.sample(frac=1, random_state=0).to_parquet(
        tmp_path / "rows" / "0.parquet", row_group_size=50
    )
    data = TabularDataModule(tmp_path / "rows", target="y", val_size=0, test_size=0)
    assert list(data.find_columns().features) == ["x", "z", "colour"]


# Several processes.

SCRIPT = """
import json, sys, lightning, torch
from disthead.training import DistributionModule, TabularDataModule
torch.set_num_threads(1)
path, rows, devices, batch_size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.manual_seed(0)
data = TabularDataModule(
    rows, target="y", weight="w", batch_size=batch_size, buffer_size=60, val_size=0.2, test_size=0.2
)
optimizer = {"class_path": "SGD", "init_args": {"lr": 0.1}}
module = DistributionModule("student_t", hidden_sizes=[8], optimizer=optimizer)
trainer = lightning.Trainer(
    max_epochs=3, accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto",
    enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    log_every_n_steps=1, logger=False,
)
trainer.fit(module, data)
numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
tested = trainer.test(module, data, verbose=False)[0]
numbers |= {name: float(value) for name, value in tested.items()}
squares = [parameter.double().square().sum() for parameter in module.parameters()]
numbers["weights"] = float(sum(squares))
numbers["steps"] = trainer.global_step
if trainer.is_global_zero:
    open(path, "w").write(json.dumps(numbers))
"""


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(table, tmp_path):
    """Exactly, where a batch holds all rows, whose order does not matter then; else in the number
    of steps.
    """
    rows = write(table, tmp_path / "rows")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    numbers = {}
    for devices, batch_size in ((1, 1000), (2, 1000), (2, 7)):
        path = tmp_path / "numbers.json"
        command = [sys.executable, str(script), str(path), str(rows), str(devices), str(batch_size)]
        subprocess.run(
            command, check=True, cwd=tmp_path, env=environment, capture_output=True, timeout=200
        )
        numbers[devices, batch_size] = json.loads(path.read_text())
    assert numbers[2, 1000] == pytest.approx(numbers[1, 1000], rel=1e-5)
    assert {"train/nll", "val/nll", "test/nll"} <= set(numbers[1, 1000])
    assert numbers[2, 7]["steps"] > 3 * 15
    assert numbers[2, 7]["val/nll"] < numbers[2, 7]["val/nll_marginal"]


def test_exposures_that_are_not_positive_are_found_as_files_are_predicted(table, trainer, tmp_path):
    table["y"] = np.arange(200) % 4
    files, _ = both(table, tmp_path, known={"exposure": "months"})
    module, run = DistributionModule("poisson"), trainer(1)
    run.fit(module, files)
    table.loc[115, "months"] = 0
    wrong = write(table.drop(columns="y"), tmp_path / "wrong")
    with pytest.raises(
        ValueError, match=r"1\.parquet, row group 2, .*\(column 'months'\) of poisson .* 0 at row 5"
    ):
        run.predict(module, TabularDataModule(wrong, target="y", known={"exposure": "months"}))
