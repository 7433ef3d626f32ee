"""What predict, evaluate and recalibrate write: of many classes, with texts of any kind, from
several processes, on full disks.
"""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch

import disthead as dh
from disthead.cli import main
from disthead.files import writing_folder
from disthead.prediction import TableWriter, left_out, predictions, write_predictions
from disthead.report import evaluate
from disthead.training import DistributionModule, TabularDataModule, writing
from disthead.training.predictor import Predictor
from disthead.training.processes import claim_log_dir, process
from disthead.training.saving import MetricsLogger
from disthead.training.writing import predict_files

ROOT = Path(__file__).parents[2]
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
TEXTS = [
    "plain",
    "a,b",
    'a "b"',
    "a\nb",
    "a\rb",
    "\r\n",
    "=1+1",
    "'",
    "",
    "ä€",
    " a ",
    "a\tb",
    "-5",
    "NA",
]


def categorical(rows: int, classes: int, seed: int = 0):
    logits = torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))
    return dh.get_family("categorical", num_classes=classes).distribution(logits=logits)


# Many classes.


def test_of_many_classes_the_mode_its_probability_and_the_ten_most_probable_are_written():
    dist = categorical(4, 100_000)
    columns = predictions(dist)
    probs, classes = dist.probs.topk(10)
    assert list(columns)[:4] == ["mode", "mode_probability", "top_1", "top_1_probability"]
    assert len(columns) == 22
    assert columns["mode"].tolist() == classes[:, 0].tolist() == columns["top_1"].tolist()
    for k in range(10):
        assert columns[f"top_{k + 1}"].tolist() == classes[:, k].tolist()
        np.testing.assert_array_equal(columns[f"top_{k + 1}_probability"], probs[:, k])
    np.testing.assert_array_equal(columns["mode_probability"], probs[:, 0])
    assert "10 most probable of 100,000 classes" in left_out(dist)
    assert "--top_k 100000 writes all" in left_out(dist)


def test_a_number_of_classes_can_be_chosen_and_a_large_number_gives_all_by_name():
    dist, names = categorical(3, 5), {"wine": ["a", "b", "c", "d", "e"]}
    few = predictions(dist, ["wine"], names, top_k=2)
    assert list(few) == [
        "mode",
        "mode_probability",
        "top_1",
        "top_1_probability",
        "top_2",
        "top_2_probability",
    ]
    assert few["top_2"].tolist() == [names["wine"][k] for k in dist.probs.topk(2).indices[:, 1]]
    for enough in (None, 5, 1000):
        every = predictions(dist, ["wine"], names, top_k=enough)
        assert list(every) == [*(f"probability_{name}" for name in "abcde"), "mode"]
        assert not left_out(dist, enough)
    with pytest.raises(ValueError, match="top_k must be a number of classes"):
        predictions(dist, top_k=0)


def test_the_most_probable_class_is_the_mode_where_others_are_as_probable():
    dist = dh.get_family("categorical", num_classes=200).distribution(logits=torch.zeros(3, 200))
    columns = predictions(dist)
    assert columns["mode"].tolist() == columns["top_1"].tolist()
    assert len({columns[f"top_{k}"][0] for k in range(1, 11)}) == 10


def test_of_a_ranking_of_many_items_the_first_places_are_written():
    logits = torch.randn(3, 500, generator=torch.Generator().manual_seed(0))
    dist = dh.get_family("plackett_luce", event_shape=(500,)).distribution(logits=logits)
    columns = predictions(dist, samples=2)
    assert {name for name in columns if name.startswith("mode")} == {f"mode_{k}" for k in range(10)}
    assert [columns[f"mode_{k}"][0] for k in range(10)] == logits[0].topk(10).indices.tolist()
    assert len([name for name in columns if name.startswith("sample_1")]) == 10
    assert "logits" not in " ".join(columns)
    assert "the first 10 of 500 places" in left_out(dist)


def test_rows_with_many_classes_or_draws_are_predicted_few_at_once_with_the_same_numbers(
    tmp_path, trainer, monkeypatch
):
    frame = pd.DataFrame({"x": np.linspace(-1, 1, 60), "y": np.arange(60) % 3})
    run = trainer(1)
    run.fit(
        DistributionModule("categorical", {"num_classes": 100_000}, hidden_sizes=[2]),
        TabularDataModule(frame, target="y"),
    )
    run.save_checkpoint(tmp_path / "model.ckpt")
    predictor = Predictor(tmp_path / "model.ckpt")
    assert predictor.rows_at_once * 100_000 * 4 < 1 << 26
    assert Predictor(tmp_path / "model.ckpt", samples=10**6).rows_at_once == 8
    whole = predictor(frame)
    monkeypatch.setattr(DistributionModule, "predicted_at_once", lambda self, samples=0: 7)
    pieces = predictor(frame)
    assert list(whole) == list(pieces)
    for name in whole:
        np.testing.assert_allclose(whole[name], pieces[name], rtol=1e-5)


# Texts.


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_texts_of_any_kind_come_back(name, tmp_path):
    texts = [*TEXTS, "a\0b", "\0"]
    columns = {"id": np.array(texts, dtype=object), 'x,"y"\r': np.arange(len(texts)) / 3}
    write_predictions(columns, tmp_path / name)
    if name.endswith("csv"):
        with open(tmp_path / name, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert header == list(columns)
        assert [row[0] for row in rows] == texts
        assert [float(row[1]) for row in rows] == columns['x,"y"\r'].tolist()
    else:
        table = parquet.read_table(tmp_path / name)
        assert table["id"].to_pylist() == texts


def test_names_of_classes_come_back_as_columns_and_as_modes(tmp_path):
    names = ["red, dry", 'the "rose"', "white\r\nsweet", "nul\0"]
    columns = predictions(categorical(20, 4), ["wine"], {"wine": names})
    assert set(columns["mode"]) <= set(names)
    assert "nul\0" in columns["mode"].tolist()
    write_predictions(columns, tmp_path / "p.csv")
    with open(tmp_path / "p.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["mode"] for row in rows] == columns["mode"].tolist()
    assert [float(row["probability_white\r\nsweet"]) for row in rows] == pytest.approx(
        columns["probability_white\r\nsweet"]
    )


def test_formulas_are_escaped_where_that_is_asked_for_and_numbers_are_none(tmp_path):
    cells = [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\uff1d1",
        "-5",
        "+1.5e3",
        "-.5",
        "a=b",
        "",
    ]
    columns = {"=head": np.array(cells, dtype=object), "x": -np.arange(12.0)}
    write_predictions(columns, tmp_path / "plain.csv")
    write_predictions(columns, tmp_path / "p.csv", escape_formulas=True)
    for name, escaped in {"plain.csv": False, "p.csv": True}.items():
        with open(tmp_path / name, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert header == ["'=head" if escaped else "=head", "x"]
        assert [row[0] for row in rows] == [
            f"'{cell}" if escaped else cell for cell in cells[:7]
        ] + cells[7:]
        assert [float(row[1]) for row in rows] == columns["x"].tolist()
    with pytest.raises(ValueError, match="escape_formulas is for CSV files"):
        write_predictions(columns, tmp_path / "p.parquet", escape_formulas=True)


# Files.


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_written_in_pieces_is_that_written_at_once(ending, tmp_path):
    frame = pd.DataFrame(
        {"a": np.arange(100) / 7, "b": [f"row {k}" for k in range(100)], "c": np.arange(100)}
    )
    write_predictions(frame, tmp_path / f"whole{ending}")
    with TableWriter(tmp_path / "pieces", ending, rows_together=25) as table:
        for start in range(0, 100, 10):
            table.write(frame[start : start + 10].reset_index(drop=True))
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet}[ending]
    pd.testing.assert_frame_equal(read(tmp_path / "pieces"), read(tmp_path / f"whole{ending}"))
    assert table.rows == 100


def test_damage_of_a_page_is_noticed_by_its_checksum(tmp_path):
    write_predictions({"a": np.random.default_rng(0).normal(size=5000)}, tmp_path / "p.parquet")
    contents = bytearray((tmp_path / "p.parquet").read_bytes())
    contents[len(contents) // 2] ^= 1
    (tmp_path / "p.parquet").write_bytes(contents)
    with pytest.raises(OSError, match="CRC"):
        parquet.read_table(tmp_path / "p.parquet", page_checksum_verification=True)


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(name, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / name).write_text("old")
    monkeypatch.setattr(parquet.ParquetWriter, "write_table", full)
    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(
        OSError,
        match=rf"{name}.* no space left on its disk: folder .*; what was there before is unchanged",
    ):
        write_predictions({"a": np.arange(3)}, tmp_path / name)
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """model.ckpt of y, of which x is the feature, in a table of 300 rows, as CSV and as two Parquet
    files with row groups.
    """
    folder = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    frame = pd.DataFrame(
        {"x": x, "y": 2 * x + random.normal(size=300), "name": [TEXTS[k % 14] for k in range(300)]}
    )
    write_predictions(frame, folder / "table.csv")  # to_csv would end a row at a carriage return
    (folder / "rows").mkdir()
    number = [None if k % 7 == 0 else 2**60 + k for k in range(300)]
    for k in range(2):
        rows = slice(150 * k, 150 * k + 150)
        table = arrow.Table.from_pandas(frame[rows], preserve_index=False)
        numbers = arrow.array(number[rows], arrow.int64()) if k else arrow.array([None] * 150)
        parquet.write_table(
            table.append_column("number", numbers),
            folder / "rows" / f"{k}.parquet",
            row_group_size=40,
        )
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(
        DistributionModule("normal", hidden_sizes=[4]),
        TabularDataModule(str(folder / "table.csv"), target="y", features=["x"]),
    )
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_parameters_and_quantiles_that_are_no_numbers_are_named_with_column_and_row():
    normal = dh.get_family("normal").from_raw(
        torch.tensor([[0.0, 0.0], [torch.nan, 0.0], [torch.inf, 0.0]])
    )
    with pytest.raises(
        ValueError, match=r"column 'loc' of the predictions is nan at row 1 \(2 of 3 values\)"
    ):
        predictions(normal)
    with pytest.raises(ValueError, match="is nan at row 70 "):
        predictions(normal, rows=[60, 70, 80])
    classes = dh.get_family("categorical", num_classes=3).from_raw(
        torch.tensor([[0.0, 0.0, 0.0], [0.0, torch.nan, 0.0]])
    )
    with pytest.raises(
        ValueError, match="column 'probability_0' of the predictions is nan at row 1 "
    ):
        predictions(classes)


def test_a_moment_that_a_distribution_does_not_have_is_written():
    columns = predictions(
        dh.get_family("student_t").distribution(df=0.5, loc=torch.zeros(2), scale=1.0)
    )
    assert np.isnan(columns["mean"]).all()
    assert not np.isfinite(columns["stddev"]).any()


@pytest.mark.parametrize("out, row", [("p.csv", "row 71"), ("parts", "1.parquet")])
def test_predictions_that_are_no_numbers_are_not_written(place, out, row, monkeypatch, capsys):
    original = DistributionModule.predictive
    far = pd.read_csv("table.csv")["x"].astype("float32")[71 if out == "p.csv" else 151]

    def predictive(self, features, **known):
        return original(self, torch.where(features == far, torch.nan, features), **known)

    monkeypatch.setattr(DistributionModule, "predictive", predictive)
    source = "table.csv" if out == "p.csv" else "rows"
    assert (
        main(["predict", "--ckpt=model.ckpt", f"--data.path={source}", f"--out={out}", *QUIET]) == 2
    )
    printed = capsys.readouterr().err
    assert "column 'loc' of the predictions is nan at row" in printed
    assert row in printed
    assert not Path("p.csv").exists()


@pytest.mark.parametrize("out", ["p.parquet", "parts"])
def test_numbers_that_are_names_stay_whole_beside_missing_ones_in_any_file(place, out):
    """Whole numbers beyond 2^53 are no floats, and a file without a value has the type of the
    others.
    """
    assert (
        main(
            [
                "predict",
                "--ckpt=model.ckpt",
                "--data.path=rows",
                "--id-columns=number,name",
                f"--out={out}",
                *QUIET,
            ]
        )
        == 0
    )
    found = parquet.read_table(out)
    expected = arrow.concat_tables(
        [parquet.read_table(file) for file in sorted(Path("rows").iterdir())],
        promote_options="default",
    )
    assert found["number"].to_pylist() == expected["number"].to_pylist()
    assert found["name"].to_pylist() == expected["name"].to_pylist()
    assert (
        main(
            [
                "predict",
                "--ckpt=model.ckpt",
                "--data.path=rows",
                "--id-columns=number",
                "--out=p.csv",
                *QUIET,
            ]
        )
        == 0
    )
    shown = ["" if number is None else str(number) for number in expected["number"].to_pylist()]
    assert pd.read_csv("p.csv", dtype=str, keep_default_na=False)["number"].tolist() == shown


def test_the_command_says_what_it_leaves_out_and_escapes_formulas(place, capsys, trainer):
    frame = pd.DataFrame(
        {"x": np.linspace(-1, 1, 40), "y": np.arange(40) % 3, "name": ["=1+1"] * 40}
    )
    frame.to_csv("classes.csv", index=False)
    run = trainer(1)
    data = TabularDataModule("classes.csv", target="y", features=["x"])
    run.fit(DistributionModule("categorical", {"num_classes": 150}, hidden_sizes=[2]), data)
    run.save_checkpoint("classes.ckpt")
    command = [
        "predict",
        "--ckpt=classes.ckpt",
        "--data.path=classes.csv",
        "--id-columns=name",
        "--out=p.csv",
        *QUIET,
    ]
    assert main([*command, "--escape_formulas"]) == 0
    assert (
        "the 10 most probable of 150 classes in each row (--top_k 150 writes all)"
        in capsys.readouterr().out
    )
    frame = pd.read_csv("p.csv")
    assert frame.shape == (40, 23)
    assert set(frame["name"]) == {"'=1+1"}
    assert main([*command, "--top_k=150", "--overwrite"]) == 0
    assert pd.read_csv("p.csv").shape == (40, 152)
    pd.DataFrame({"x": [0.0], "name": ["=1+1"]}).to_parquet("new.parquet")
    folder = [
        "predict",
        "--ckpt=classes.ckpt",
        "--data.path=new.parquet",
        "--id-columns=name",
        "--out=parts",
        *QUIET,
    ]
    assert main([*folder, "--escape_formulas"]) == 2
    assert "--escape_formulas is for CSV files" in capsys.readouterr().err
    assert main([*command, "--top_k=0", "--overwrite"]) == 2
    assert "top_k must be" in capsys.readouterr().err


# Several processes.


@pytest.mark.parametrize("shared", ["row by row", "span by span"])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_shares_are_joined_in_the_order_of_the_table(shared, processes, tmp_path):
    rows = np.arange(100)
    shares = [rows[rank::processes] for rank in range(processes)]
    if shared == "span by span":
        shares = np.array_split(rows, processes)
    for rank, share in enumerate(shares):
        with TableWriter(tmp_path / f"{rank}.parquet", ".parquet", rows_together=7) as table:
            for start in range(0, len(share), 5):
                piece = share[start : start + 5]
                table.write({"value": piece * 3, writing._ROW: piece})
    pieces = list(writing._in_order([tmp_path / f"{rank}.parquet" for rank in range(processes)]))
    assert [value for piece in pieces for value in piece["value"].to_pylist()] == (
        rows * 3
    ).tolist()
    assert max(map(len, pieces)) < 50 or processes == 1


def two_processes(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "disthead",
        *arguments,
        *QUIET,
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


@pytest.mark.slow
@pytest.mark.parametrize("out", ["p.csv", "p.parquet", "parts"])
@pytest.mark.parametrize("source", ["table.csv", "rows"])
def test_two_processes_write_the_rows_of_one_in_their_order(place, out, source):
    if out == "parts" and source == "table.csv":
        source = "rows/0.parquet"
    command = ["predict", "--ckpt=model.ckpt", f"--data.path={source}", "--id-columns=name"]
    assert main([*command, "--out=one.parquet", *QUIET]) == 0
    run = two_processes(*command, "--samples=1", f"--out={out}")
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr
    one, two = (
        pd.read_parquet("one.parquet"),
        pd.read_csv(out, keep_default_na=False) if out == "p.csv" else pd.read_parquet(out),
    )
    draws = (two.pop("sample_0") - two["loc"]) / two["scale"]
    assert draws.round(4).nunique() > 0.9 * len(two)  # no process has the draws of the other
    pd.testing.assert_frame_equal(one, two, rtol=1e-5, check_dtype=False)
    assert not list(Path.cwd().glob(".*"))


@pytest.mark.slow
def test_two_processes_on_a_full_disk_say_so_once_and_leave_the_old_file(place, monkeypatch):
    """The folder of the shares cannot be made, as on a full disk."""
    Path("sitecustomize.py").write_text(
        "import pathlib, errno\nmkdir = pathlib.Path.mkdir\n"
        "def full(self, *a, **k):\n    if self.name.endswith('.unfinished.d'): raise "
        "OSError(errno.ENOSPC, 'full')\n"
        "    return mkdir(self, *a, **k)\npathlib.Path.mkdir = full\n"
    )
    monkeypatch.syspath_prepend(str(place))
    Path("p.csv").write_text("old")
    environment = os.environ | {"PYTHONPATH": f"{place}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [
        "predict",
        "--ckpt=model.ckpt",
        "--data.path=table.csv",
        "--out=p.csv",
        "--overwrite",
        *QUIET,
    ]
    run = subprocess.run(
        [sys.executable, "-m", "disthead", *command, "--trainer.devices=2",
         "--trainer.strategy=ddp"],
        env=environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.count("disthead: error:") == 1
    assert "no space left" in run.stderr
    assert "Traceback" not in run.stderr
    assert Path("p.csv").read_text() == "old"


@pytest.mark.slow
def test_two_processes_test_with_the_numbers_of_one(place, capsys):
    assert main(["test", "--ckpt=model.ckpt", *QUIET]) == 0
    one = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if "test/" in line]
    run = two_processes("test", "--ckpt=model.ckpt")
    two = [line.split()[-1] for line in run.stdout.splitlines() if "test/" in line]
    assert run.returncode == 0
    assert list(map(float, one)) == pytest.approx(list(map(float, two)), rel=1e-5)
    assert len(one) == 3


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork"])
def test_processes_that_cannot_share_predictions_out_are_refused(place, capsys, strategy):
    command = ["predict", "--ckpt=model.ckpt", "--data.path=table.csv", "--out=p.csv", *QUIET]
    assert main([*command, "--trainer.devices=2", f"--trainer.strategy={strategy}"]) == 2
    assert "--trainer.strategy must be" in (said := capsys.readouterr().err)
    assert f"such as ddp, got {strategy}." in said
    assert not Path("p.csv").exists()


@pytest.mark.parametrize("launcher", ["torchrun", "SLURM"])
@pytest.mark.parametrize(
    "command, out", [("evaluate", "report"), ("recalibrate", "r.ckpt"), ("predict", "p.csv")]
)
def test_only_the_first_of_several_processes_does_what_needs_one(
    place, monkeypatch, capsys, launcher, command, out
):
    variables = {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "1"}
    if launcher == "SLURM":
        variables = {
            "SLURM_PROCID": "1",
            "SLURM_NTASKS": "2",
            "SLURM_JOB_NAME": "job",
            "SLURM_NTASKS_PER_NODE": "1",
        }
        variables |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert process() == (1, 2)
    quiet = QUIET if command == "predict" else []
    assert main([command, "--ckpt=model.ckpt", f"--out={out}", *quiet]) == 0
    assert "the first" in capsys.readouterr().out
    assert not Path(out).exists()


def test_trainings_that_start_at_once_take_versions_of_their_own(tmp_path):
    def started() -> lightning.Trainer:
        trainer = lightning.Trainer(
            logger=MetricsLogger(tmp_path, "runs"), accelerator="cpu", barebones=False
        )
        assert trainer.log_dir  # by which a version is chosen
        return trainer

    trainers = [started() for _ in range(3)]
    assert len({trainer.log_dir for trainer in trainers}) == 1
    made = [claim_log_dir(trainer) for trainer in trainers]
    assert {trainer.log_dir for trainer in trainers} == {
        f"{tmp_path}/runs/version_{k}" for k in range(3)
    }
    assert [folders[0] for folders in made] == [Path(trainer.log_dir) for trainer in trainers]
    assert made[0][1] == tmp_path / "runs"


def test_a_call_that_fails_does_not_remove_the_folder_into_which_another_one_writes(place):
    predict_files("model.ckpt", "rows", "parts")
    pd.read_csv("table.csv").to_parquet("bad.parquet")
    before = sorted(path.name for path in Path("parts").iterdir())
    with pytest.raises(ValueError, match="other files"):
        predict_files("model.ckpt", "bad.parquet", "parts")
    assert sorted(path.name for path in Path("parts").iterdir()) == before


# Reports.


def test_a_folder_that_another_process_has_made_meanwhile_gets_the_files_of_the_last(tmp_path):
    with writing_folder(tmp_path / "out") as late:
        with writing_folder(tmp_path / "out") as early:
            for name in ("a", "b"):
                (early / name).write_text("early")
        (late / "a").write_text("late")
    assert (tmp_path / "out" / "a").read_text() == "late"
    assert (tmp_path / "out" / "b").read_text() == "early"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_process_has_left_that_died_once_the_folder_had_its_name_goes(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / ".out.0a1b2c3d.unfinished").touch()
    with writing_folder(tmp_path / "out") as unfinished:
        (unfinished / "a").write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_pictures_of_the_report_before_go_and_other_files_stay(tmp_path):
    generator = torch.Generator().manual_seed(0)
    normal = dh.get_family("normal").distribution(loc=torch.zeros(300), scale=1.0)
    evaluate(normal, torch.randn(300, generator=generator), out=tmp_path)
    assert (tmp_path / "pit.png").exists()
    (tmp_path / "mine.png").write_text("mine")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    (tmp_path / "metrics.json").write_text(
        json.dumps(metrics | {"pictures": [*metrics["pictures"], "../outside.png", 3]})
    )
    dist = categorical(300, 3)
    evaluate(dist, torch.randint(3, (300,), generator=generator), out=tmp_path)
    pictures = set(json.loads((tmp_path / "metrics.json").read_text())["pictures"])
    assert {path.name for path in tmp_path.glob("*.png")} == pictures | {"mine.png"}
    assert "confusion.png" in pictures


def test_outputs_whose_names_are_the_same_in_a_file_have_pictures_of_their_own(tmp_path):
    generator = torch.Generator().manual_seed(0)
    head = dh.DistributionHead("normal", 2, event_shape=(4,))
    dist = head(torch.randn(100, 2, generator=generator))
    names = ["a/b", "a b", "A_B", "x" * 300]
    evaluate(dist, torch.randn(100, 4, generator=generator), out=tmp_path, outputs=names)
    pictures = [path.name for path in tmp_path.glob("*pit*.png")]
    assert len(pictures) == 4
    assert len({name.casefold() for name in pictures}) == 4


def test_a_path_that_is_no_text_stands_in_the_report_as_it_is_shown(tmp_path):
    dist = dh.get_family("normal").distribution(loc=torch.zeros(100), scale=1.0)
    y = torch.randn(100, generator=torch.Generator().manual_seed(0))
    evaluate(dist, y, out=tmp_path / "out", about={"checkpoint": os.fsdecode(b"m\xff.ckpt")})
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["about"][
        "checkpoint"
    ] == os.fsdecode(b"m\xff.ckpt")


# Numbers.


def test_numbers_are_written_alike_with_and_without_texts_beside_them_and_are_read_as_they_were(
    tmp_path,
):
    numbers = [
        0.1,
        1e-5,
        3.0,
        np.nan,
        np.inf,
        -np.inf,
        -0.0,
        1.7976931348623157e308,
        5e-324,
        123456789.125,
    ]
    columns = {
        "double": np.array(numbers),
        "single": np.array(
            [0.1, 1e-5, 3.0, np.nan, np.inf, -np.inf, -0.0, 3.4028235e38, 1e-45, 123456789],
            np.float32,
        ),
        "whole": np.arange(10) - 2**62,
    }
    texts = {
        "text": np.array(["a", "b,c", 'd"', "e"] * 2 + ["f", "g"], dtype=object),
        "truth": np.arange(10) > 4,
    }
    write_predictions(columns, tmp_path / "numbers.csv")
    write_predictions(columns | texts, tmp_path / "texts.csv")
    both = [
        (tmp_path / f"{name}.csv").read_text("utf-8").splitlines() for name in ("numbers", "texts")
    ]
    lines, beside = (list(csv.reader(text)) for text in both)
    assert lines == [line[:3] for line in beside]
    for name, written in zip(columns, zip(*lines[1:], strict=True), strict=True):
        read = np.array([value or "nan" for value in written]).astype(columns[name].dtype)
        np.testing.assert_array_equal(read, columns[name])
    read = pd.read_csv(tmp_path / "texts.csv")
    for name, values in texts.items():
        assert read[name].tolist() == values.tolist()


def test_a_missing_number_that_is_alone_in_its_row_is_a_row(tmp_path):
    write_predictions({"mean": np.array([1.5, np.nan, 2.5])}, tmp_path / "p.csv")
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "p.csv")["mean"], [1.5, np.nan, 2.5])
