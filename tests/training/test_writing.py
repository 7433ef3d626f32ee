"""Predictions of files larger than memory, and the model as a function that other processes run."""

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from disthead.cli import main
from disthead.training import DataError, DistributionModule, TabularDataModule, writing
from disthead.training.predictor import Predictor
from disthead.training.writing import predict_files


@pytest.fixture
def checkpoint(frame, trainer, tmp_path):
    run = trainer(1)
    run.fit(DistributionModule("normal", hidden_sizes=[4]), TabularDataModule(frame, target="y"))
    run.save_checkpoint(tmp_path / "model.ckpt")
    return str(tmp_path / "model.ckpt")


@pytest.fixture
def files(frame, tmp_path):
    """Two files of 100 rows, in row groups of 40, 40 and 20."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for k in range(2):
        table = arrow.Table.from_pandas(frame.iloc[100 * k : 100 * k + 100], preserve_index=False)
        parquet.write_table(table, folder / f"{k}.parquet", row_group_size=40)
    return folder


def close(one, other):
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other), rtol=1e-5)


def test_files_get_the_predictions_of_the_table_in_its_order(checkpoint, files, frame, tmp_path):
    assert predict_files(checkpoint, files, tmp_path / "out", batch_size=16) == 6
    close(pd.read_parquet(tmp_path / "out"), Predictor(checkpoint)(frame))


def test_several_processes_share_the_row_groups(checkpoint, files, frame, tmp_path):
    counts = [
        predict_files(checkpoint, files, tmp_path / "out", rank=k, world_size=4) for k in range(4)
    ]
    assert counts == [2, 2, 1, 1]
    close(pd.read_parquet(tmp_path / "out"), Predictor(checkpoint)(frame))


def test_a_full_disk_leaves_whole_parts_and_the_next_run_goes_on(
    checkpoint, files, frame, tmp_path, monkeypatch
):
    write, calls = parquet.ParquetWriter.write_table, []

    def full(self, table):
        calls.append(table)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, table)

    with monkeypatch.context() as patch:
        patch.setattr(parquet.ParquetWriter, "write_table", full)
        with pytest.raises(OSError, match=r"0\.parquet, row group 2: .*No space left") as found:
            predict_files(checkpoint, files, tmp_path / "out")
    assert found.value.errno == errno.ENOSPC
    assert len(pd.read_parquet(tmp_path / "out")) == 80
    assert predict_files(checkpoint, files, tmp_path / "out") == 4
    close(pd.read_parquet(tmp_path / "out"), Predictor(checkpoint)(frame))


def test_a_corrupt_row_group_is_named_and_the_parts_before_it_stay(checkpoint, files, tmp_path):
    file = files / "1.parquet"
    column = parquet.ParquetFile(file).metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    contents = bytearray(file.read_bytes())
    contents[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    file.write_bytes(contents)
    with pytest.raises(DataError, match=r"1\.parquet: row group 1 is corrupt"):
        predict_files(checkpoint, files, tmp_path / "out")
    assert len(pd.read_parquet(tmp_path / "out")) == 140


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda frame: frame.assign(z=frame["z"].astype(str)),
            r"column 'z' is .*string in .*1\.parquet, but double in",
        ),
        (lambda frame: frame.drop(columns="z"), r"1\.parquet has no column 'z'"),
        (
            lambda frame: frame.assign(z=np.inf),
            r"1\.parquet, row group 0, .*'z' has 100 infinite .* row 0",
        ),
    ],
)
def test_files_that_differ_are_named(checkpoint, files, frame, tmp_path, change, message):
    change(frame.iloc[100:]).to_parquet(files / "1.parquet", index=False)
    with pytest.raises(DataError, match=message):
        predict_files(checkpoint, files, tmp_path / "out")


def test_a_category_that_training_has_not_seen_is_said_once_for_all_row_groups(
    checkpoint, files, frame, tmp_path
):
    frame.iloc[100:].assign(colour="mauve").to_parquet(
        files / "1.parquet", index=False, row_group_size=20
    )
    with pytest.warns(
        UserWarning, match="'colour': 20 rows with 'mauve', which set no indicator"
    ) as said:
        predict_files(checkpoint, files, tmp_path / "out")
    assert len(said) == 1
    assert len(pd.read_parquet(tmp_path / "out")) == len(frame)


def test_predictions_that_fail_at_once_leave_no_folder(checkpoint, files, frame, tmp_path):
    frame.assign(z=np.inf).to_parquet(files / "0.parquet", index=False)
    with pytest.raises(DataError, match="'z'"):
        predict_files(checkpoint, files, tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_columns_of_the_table_and_draws_come_with_the_predictions(
    checkpoint, files, frame, tmp_path
):
    options = {"id_columns": ["colour"], "samples": 2, "seed": 3}
    assert predict_files(checkpoint, files, tmp_path / "out", **options) == 6
    found = pd.read_parquet(tmp_path / "out")
    assert found["colour"].tolist() == frame["colour"].tolist()
    assert len(np.unique(found["sample_0"])) == len(frame)
    assert predict_files(checkpoint, files, tmp_path / "again", **options) == 6
    close(pd.read_parquet(tmp_path / "again"), found)
    with pytest.raises(DataError, match="other options"):
        predict_files(checkpoint, files, tmp_path / "out", **options | {"seed": 4})
    with pytest.raises(DataError, match="other options"):
        predict_files(checkpoint, files, tmp_path / "out", **options | {"id_columns": []})
    with pytest.raises(ValueError, match="'z' cannot be copied"):
        writing.check_id_columns(["z"], ["z", "mean"])


def test_a_stream_can_be_predicted_into_one_file(checkpoint, files, frame, tmp_path, capsys):
    command = [
        "predict",
        f"--ckpt={checkpoint}",
        f"--data.path={files}",
        f"--out={tmp_path / 'p.parquet'}",
    ]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    assert main([*command, "--id-columns=colour", *quiet]) == 0
    found = pd.read_parquet(tmp_path / "p.parquet")
    assert found.pop("colour").tolist() == frame["colour"].tolist()
    close(found, Predictor(checkpoint)(frame))
    assert main([*command, "--id-columns=color", "--overwrite", *quiet]) == 2
    assert "no column 'color'" in capsys.readouterr().err


def test_draws_of_a_predictor_are_those_of_its_batch_and_seed(checkpoint, frame):
    one, other = Predictor(checkpoint, samples=1, seed=0), Predictor(checkpoint, samples=1, seed=1)
    first, second = one(frame[:50])["sample_0"], one(frame[50:100])["sample_0"]
    assert (one(frame[:50])["sample_0"] == first).all()
    assert not np.isin(second, first).any()
    assert not np.isin(other(frame[:50])["sample_0"], first).any()


def test_truncated_files_missing_files_and_other_runs_are_refused(checkpoint, files, tmp_path):
    predict_files(checkpoint, files, tmp_path / "out")
    with pytest.raises(DataError, match="another model, other files or other options"):
        predict_files(checkpoint, files, tmp_path / "out", level=0.5)
    with pytest.raises(DataError, match="no Parquet files"):
        predict_files(checkpoint, tmp_path / "none*", tmp_path / "other")
    (files / "1.parquet").write_bytes((files / "1.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"1\.parquet is not a readable"):
        predict_files(checkpoint, files, tmp_path / "other")


def test_a_predictor_pickles_small_and_its_copy_predicts_the_same(checkpoint, frame):
    predictor = Predictor(checkpoint, quantiles=[0.5])
    expected = predictor(frame)
    pickled = pickle.dumps(predictor)
    assert len(pickled) < 1000
    close(pickle.loads(pickled)({name: frame[name].to_numpy() for name in frame}), expected)


def test_the_command_line_writes_into_a_folder_and_several_processes_share_it(
    checkpoint, files, frame, tmp_path, monkeypatch, capsys
):
    command = [
        "predict",
        f"--ckpt_path={checkpoint}",
        f"--data.path={files}",
        f"--out={tmp_path / 'out'}",
    ]
    for rank in ("1", "0"):
        for name, value in {"RANK": rank, "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "1"}.items():
            monkeypatch.setenv(name, value)
        assert main([*command, "--trainer.accelerator=cpu"]) == 0
        assert "3 parts written" in capsys.readouterr().out
    close(pd.read_parquet(tmp_path / "out"), Predictor(checkpoint)(frame))


def test_row_groups_without_rows_have_no_part_and_are_not_looked_at_again(
    checkpoint, files, frame, tmp_path
):
    schema = parquet.read_schema(files / "0.parquet")
    with parquet.ParquetWriter(files / "0.parquet", schema) as writer:
        for rows in (frame[:30], frame[:0], frame[30:100]):
            writer.write_table(arrow.Table.from_pandas(rows, schema, preserve_index=False))
    assert parquet.ParquetFile(files / "0.parquet").num_row_groups == 3
    assert predict_files(checkpoint, files, tmp_path / "out") == 5
    assert predict_files(checkpoint, files, tmp_path / "out") == 0
    close(pd.read_parquet(tmp_path / "out"), Predictor(checkpoint)(frame))


def test_rows_that_are_nearly_the_same_are_predicted_all_the_same(checkpoint, frame):
    """Whether a column varies too little is a question to the training rows, not to the rows of a
    batch.
    """
    end = frame["z"].max()
    near = pd.concat([frame[:1]] * 2, ignore_index=True).assign(z=[end, end + 1e-7 * abs(end)])
    assert len(Predictor(checkpoint)(near)["mean"]) == 2


DYING = """
import os, sys
import pyarrow.parquet as parquet
from disthead.training.writing import predict_files
write, calls = parquet.ParquetWriter.write_table, []
def dies(self, table):
    calls.append(table)
    write(self, table)
    if len(calls) == 5:
        os._exit(9)
parquet.ParquetWriter.write_table = dies
predict_files(*sys.argv[1:], batch_size=25)
"""


def test_a_process_that_dies_leaves_whole_parts_and_the_next_run_goes_on(
    checkpoint, files, frame, tmp_path
):
    """In the third row group, whose part has no name yet."""
    script = tmp_path / "dies.py"
    script.write_text(DYING)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(script), checkpoint, str(files), str(tmp_path / "out")]
    assert subprocess.run(command, cwd=tmp_path, env=environment, timeout=100).returncode == 9
    assert len(list((tmp_path / "out").glob(".part*"))) == 1
    assert len(pd.read_parquet(tmp_path / "out")) == 80
    assert predict_files(checkpoint, files, tmp_path / "out") == 4
    close(pd.read_parquet(tmp_path / "out"), Predictor(checkpoint)(frame))
    assert not list((tmp_path / "out").glob(".part*"))


def test_runs_that_begin_at_once_with_other_options_do_not_mix(
    checkpoint, files, tmp_path, monkeypatch
):
    """The second run begins when the first has found no note and has not written its own."""
    write = writing.writing

    def late(path, **options):
        monkeypatch.setattr(writing, "writing", write)
        predict_files(checkpoint, files, tmp_path / "out", level=0.5)
        return write(path, **options)

    monkeypatch.setattr(writing, "writing", late)
    with pytest.raises(DataError, match="other options"):
        predict_files(checkpoint, files, tmp_path / "out", level=0.9)
    predict_files(checkpoint, files, tmp_path / "alone", level=0.5)
    close(pd.read_parquet(tmp_path / "out"), pd.read_parquet(tmp_path / "alone"))


@pytest.mark.parametrize("has_rows", [True, False])
def test_a_part_that_was_damaged_is_made_again(checkpoint, files, frame, tmp_path, has_rows):
    predict_files(checkpoint, files, tmp_path / "out")
    part, whole = tmp_path / "out" / "part-00000-00000.parquet", pd.read_parquet(tmp_path / "out")
    if has_rows:
        parquet.write_table(parquet.read_table(part)[:-1], part)
    else:
        part.write_bytes(part.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=f"{part} was damaged: .* made again"):
        assert predict_files(checkpoint, files, tmp_path / "out") == 1
    close(pd.read_parquet(tmp_path / "out"), whole)
    assert predict_files(checkpoint, files, tmp_path / "out") == 0
