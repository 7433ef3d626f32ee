"""The command line: what it prints, what can be overridden, and how errors look."""

import ast
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from sklearn.datasets import load_diabetes

import disthead
from disthead import DistributionRegressor, configurations, explanation, families
from disthead.cli import COMMANDS, main
from disthead.training import DistributionModule, TabularDataModule, checkpoints, commands
from disthead.usage import OVERVIEW, PAGES

ROOT = Path(__file__).parents[1]
QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
COUNTS = str(ROOT / "configs" / "counts.yaml")


@pytest.fixture
def visits(tmp_path, monkeypatch) -> pd.DataFrame:
    """my.csv: counts that depend on a number and a text."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    age, town = random.normal(50, 10, 150), random.choice(["north", "south"], 150)
    frame = pd.DataFrame(
        {
            "age": age,
            "town": town,
            "visits": random.poisson(np.exp((age - 50) / 20 + (town == "north"))),
        }
    )
    frame.to_csv("my.csv", index=False)
    return frame


FIT = ["fit", "--config", COUNTS, "--data.path=my.csv", "--data.target=visits"]


def fit(*options: str) -> str:
    """Train for a moment; the path of the best checkpoint."""
    assert main([*FIT, "--trainer.max_epochs=2", *QUIET, *options]) == 0
    return str(sorted(Path.cwd().rglob("best.ckpt"))[-1])


def test_families_prints_the_table(capsys):
    assert main(["families"]) == 0
    printed = capsys.readouterr().out
    for name in families():
        assert re.search(rf"^{name}\s", printed, re.MULTILINE)


@pytest.mark.parametrize("name", families())
def test_explain_is_for_people(name, capsys):
    assert main(["explain", name]) == 0
    printed = capsys.readouterr().out
    for label in ("noise", "density", "parameters", "loss", "breaks", "then try"):
        assert re.search(rf"^  {label}\s+\S", printed, re.MULTILINE), label


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["explain", "studnt"], "did you mean 'student_t'"),
        (["explain"], "name of one family or loss"),
        (["losses", "crsp"], "unknown loss 'crsp'; did you mean 'crps'"),
        (["familes"], "did you mean 'families'"),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["fit", "--config", COUNTS, "--model.familly=normal"], "did you mean '--model.family'"),
        (["fit", "--config", COUNTS, "--model.family=poison"], "did you mean 'poisson'"),
        (["fit", "--config", COUNTS, "--trainer.max_epochs=many"], "max_epochs"),
        ([*FIT[:-1], "--data.target=visit"], "did you mean 'visits'"),
        ([*FIT, "--data.path=your.csv"], "no such file: your.csv"),
        ([*FIT, "--model.family=beta"], "column 'visits' must be in the support of beta"),
        (["test"], "needs --ckpt,"),
        (["test", "--ckpt_path=my.csv"], "my.csv is a table, not a checkpoint"),
        (["predict", "--ckpt_path=gone.ckpt"], "no such checkpoint: gone.ckpt"),
    ],
)
def test_errors_are_one_message(visits, capsys, arguments, message):
    quiet = QUIET if arguments[0] == "fit" else []
    assert main([*arguments, *quiet]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert printed.count("disthead: error:") == 1


def test_everything_can_be_overridden_and_a_new_file_is_enough_afterwards(visits, capsys):
    best = fit(
        "--model.family=negative_binomial",
        "--model.optimizer.init_args.lr=0.02",
        "--model.hidden_sizes=[4]",
    )
    visits.drop(columns="visits")[:30].to_csv("new.csv", index=False)
    assert main(["predict", "--ckpt_path", best, "--data.path=new.csv", "--out=p.csv", *QUIET]) == 0
    frame = pd.read_csv("p.csv")
    assert len(frame) == 30
    assert {"total_count", "mean", "quantile_0.9"} <= set(frame.columns)
    assert not visits.equals(frame)


def score(best: str, capsys, *options: str) -> float:
    capsys.readouterr()
    assert main(["test", "--ckpt_path", best, *QUIET, *options]) == 0
    found = re.search(r"test/nll\D+([\d.]+)", capsys.readouterr().out)
    assert found
    return float(found[1])


def test_the_order_of_columns_does_not_matter(visits, capsys):
    best = fit()
    visits.to_csv("same.csv", index=False)
    visits[["visits", "town", "age"]].to_csv("turned.csv", index=False)
    assert score(best, capsys, "--data.path=same.csv") == score(
        best, capsys, "--data.path=turned.csv"
    )


def test_the_table_of_the_training_is_tested_on_its_test_rows(visits, capsys):
    best = fit()
    visits.to_csv("all.csv", index=False)
    assert score(best, capsys) == score(best, capsys, "--data.path=my.csv")
    assert score(best, capsys) != score(best, capsys, "--data.path=all.csv")


def test_training_resumes(visits):
    fit()
    last = str(next(Path.cwd().rglob("last.ckpt")))
    assert main([*FIT, "--trainer.max_epochs=3", *QUIET, "--ckpt_path", last]) == 0


def test_training_without_a_configuration_is_as_good_as_the_estimator(
    tmp_path, monkeypatch, capsys
):
    """The same rows to learn from, to stop by and to be tested on."""
    monkeypatch.chdir(tmp_path)
    frame = load_diabetes(as_frame=True).frame
    part = np.array(["train"] * len(frame), dtype=object)
    order = np.random.default_rng(1).permutation(len(frame))
    part[order[:88]], part[order[88:176]] = "test", "val"
    frame.assign(part=part).to_csv("patients.csv", index=False)
    assert main(["fit", "--data.path=patients.csv", "--data.split_column=part", *QUIET]) == 0
    best = next(Path.cwd().rglob("best.ckpt"))
    x, y, is_test = frame.drop(columns="target"), frame["target"], part == "test"
    model = DistributionRegressor(random_state=0).fit(x[~is_test], y[~is_test])
    assert score(str(best), capsys) == pytest.approx(-model.score(x[is_test], y[is_test]), abs=0.12)


def started(arguments: list[str], monkeypatch) -> commands._CLI:
    """The command line when training would begin."""
    found = []
    monkeypatch.setattr(commands._CLI, "fit", lambda cli, **options: found.append(cli))
    assert main([*arguments, *QUIET]) == 0
    return found[0]


TABLE = ["--data.path=my.csv", "--data.target=visits"]


def test_no_configuration_a_named_one_a_written_one_and_one_of_data_alone_are_the_recipe(
    visits, monkeypatch
):
    assert main(["init", "regression"]) == 0
    Path("data.yaml").write_text("data: {path: my.csv, target: visits}")
    ways = [
        TABLE,
        ["--config", "regression", *TABLE],
        [*TABLE, "-c=regression.yaml"],
        ["--config=data.yaml"],
    ]
    found = [
        started(["fit", "--model.family=poisson", *way], monkeypatch).config.fit for way in ways
    ]
    for config in found:
        assert config.model == found[0].model
        assert config.trainer == found[0].trainer
        assert config.early_stopping == found[0].early_stopping
        assert (config.data.path, config.data.target, config.data.batch_size) == (
            "my.csv",
            "visits",
            32,
        )
    assert found[0].model.family == "poisson"
    assert found[0].model.backbone["class_path"].endswith("TabularBackbone")


def test_a_configuration_that_names_a_model_is_taken_at_its_word(visits, monkeypatch):
    config = started(["fit", "--config=counts", *TABLE], monkeypatch).config.fit
    assert config.model.family == "poisson"
    assert config.model.backbone is None
    assert config.model.hidden_sizes == [32]


@pytest.mark.parametrize(
    "option, value, other",
    [
        ("--model.hidden_sizes", "[64, 64]", "[5]"),
        ("--model.hidden_sizes", "[4]", "[5]"),
        ("--model.activation", "ReLU", "GELU"),
        ("--model.dropout", "0.5", "0.25"),
    ],
)
def test_sizes_reach_the_network_of_the_recipe_or_are_refused(
    visits, monkeypatch, capsys, option, value, other
):
    spec = started(["fit", *TABLE, f"{option}={value}"], monkeypatch).model.hparams.backbone
    assert str(spec["init_args"][option.removeprefix("--model.")]) == value
    both = f"--model.backbone.init_args.{option.removeprefix('--model.')}={other}"
    assert main(["fit", *TABLE, f"{option}={value}", both, *QUIET]) == 2
    assert "has no effect" in capsys.readouterr().err
    assert (
        main(["fit", *TABLE, f"{option}={value}", "--model.backbone=torch.nn.Identity", *QUIET])
        == 2
    )
    assert "has no effect" in capsys.readouterr().err


def test_the_printed_configuration_is_the_one_that_is_used(visits, monkeypatch, capsys):
    options = [*TABLE, "--model.hidden_sizes=[4]", "--model.dropout=0.5"]
    printed = shown(capsys, "fit", *options, "--print_config")
    assert yaml.safe_load(printed)["model"]["backbone"]["init_args"]["hidden_sizes"] == [4]
    Path("printed.yaml").write_text(printed)
    ways = [["fit", *options], ["fit", "--config=printed.yaml"]]
    direct, again = (started(way, monkeypatch).config.fit.as_dict() for way in ways)
    for section in ("model", "data", "trainer", "early_stopping", "checkpoint"):
        # a list and a tuple are the same option
        assert json.dumps(again[section], sort_keys=True) == json.dumps(
            direct[section], sort_keys=True
        )


def test_the_printed_configuration_has_no_former_names(visits, capsys):
    printed = shown(capsys, "fit", *TABLE, "--model.spread_floor=0.01", "--print_config")
    model = yaml.safe_load(printed)["model"]
    assert "spread_floor" not in model
    assert model["min_scale"] == 0.01


@pytest.mark.parametrize("written", ["--ckpt {}", "--ckpt={}", "--ckpt_path {}", "--ckpt_path={}"])
@pytest.mark.parametrize(
    "command", ["validate", "test", "predict", "evaluate", "recalibrate", "fit"]
)
def test_the_checkpoint_is_one_option_everywhere(visits, command, written, capsys):
    arguments = written.format("gone.ckpt").split()
    assert main([command, *(FIT[1:] if command == "fit" else ()), *arguments]) == 2
    assert "no such checkpoint: gone.ckpt" in capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with model.ckpt, a normal model of y in table.csv that has a name, a town, a weight
    and a patient.
    """
    folder = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    frame = pd.DataFrame(
        {
            "x": x,
            "y": 2 * x + random.normal(size=300),
            "name": [f"row {k}" for k in range(300)],
            "day": pd.date_range("2026-01-01", periods=300),
            "w": random.integers(1, 4, 300),
            "patient": np.arange(300) // 3,
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    frame.to_parquet(folder / "table.parquet", row_group_size=100)
    data = TabularDataModule(str(folder / "table.csv"), target="y", features=["x"], weight="w")
    module = DistributionModule("normal", hidden_sizes=[4])
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder


@pytest.fixture
def model(trained, tmp_path, monkeypatch) -> str:
    """A copy of the checkpoint in the current folder, beside its table."""
    monkeypatch.chdir(tmp_path)
    for name in ("model.ckpt", "table.csv", "table.parquet"):
        shutil.copy(trained / name, tmp_path)
    return "model.ckpt"


def predicted(model: str, *options: str) -> pd.DataFrame:
    """What is written into one file; into a folder it is the same, but for the draws."""
    assert (
        main(
            [
                "predict",
                "--ckpt",
                model,
                "--data.path=table.parquet",
                "--out=p.parquet",
                "--overwrite",
                *QUIET,
                *options,
            ]
        )
        == 0
    )
    assert (
        main(
            [
                "predict",
                "--ckpt",
                model,
                "--data.path=table.parquet",
                "--out=parts",
                *QUIET,
                *options,
            ]
        )
        == 0
    )
    frame, parts = pd.read_parquet("p.parquet"), pd.read_parquet("parts")
    drawn = [name for name in frame if name.startswith("sample_")]
    assert list(frame) == list(parts)
    pd.testing.assert_frame_equal(frame.drop(columns=drawn), parts.drop(columns=drawn), rtol=1e-5)
    return frame


def test_predictions_have_the_quantiles_interval_samples_and_columns_that_were_asked_for(model):
    options = (
        "--quantiles=0.05,0.5",
        "--level=0.8",
        "--samples=400",
        "--id-columns=name,day",
        "--data.batch_size=70",
    )
    frame, table = predicted(model, *options), pd.read_parquet("table.parquet")
    assert list(frame)[:2] == ["name", "day"]
    pd.testing.assert_frame_equal(frame[["name", "day"]], table[["name", "day"]], check_dtype=False)
    assert [name for name in frame if name.startswith("quantile_")] == [
        "quantile_0.05",
        "quantile_0.5",
    ]
    normal = torch.distributions.Normal(torch.tensor(frame["loc"]), torch.tensor(frame["scale"]))
    for name, level in {"quantile_0.05": 0.05, "lower_80": 0.1, "upper_80": 0.9}.items():
        np.testing.assert_allclose(
            frame[name], normal.icdf(torch.tensor(level)), rtol=1e-4, atol=1e-4
        )
    draws = frame[[f"sample_{k}" for k in range(400)]].to_numpy()
    standardised = (draws - frame[["loc"]].to_numpy()) / frame[["scale"]].to_numpy()
    assert abs(standardised.mean()) < 0.02
    assert standardised.std() == pytest.approx(1, abs=0.02)
    assert len(np.unique(standardised.round(3), axis=0)) == 300  # no batch has the draws of another


@pytest.mark.parametrize("separator", [",", ";"])
def test_columns_of_a_text_file_are_copied_as_they_are_written(model, separator):
    """Numbers that are names keep their zeros, and what looks like a missing value its letters."""
    Path("new.csv").write_text("code;x;day\n007;0.5;1/2\n0100;1.5;NA\n".replace(";", separator))
    command = [
        "predict",
        "--ckpt",
        model,
        "--data.path=new.csv",
        "--id-columns=day,code",
        "--out=p.csv",
    ]
    assert main([*command, *QUIET]) == 0
    assert [line.split(",")[:2] for line in Path("p.csv").read_text().splitlines()] == [
        ["day", "code"], ["1/2", "007"], ["NA", "0100"],
    ]  # fmt: skip


def test_draws_are_those_of_the_seed(model):
    command = ["predict", "--ckpt", model, "--samples=2", *QUIET]
    drawn = {}
    for name, options in {"one": [], "again": [], "other": ["--seed=1"]}.items():
        torch.manual_seed(len(drawn))
        assert main([*command, f"--out={name}.csv", *options]) == 0
        drawn[name] = pd.read_csv(f"{name}.csv")[["sample_0", "sample_1"]]
    assert drawn["one"].equals(drawn["again"])
    assert not np.isclose(drawn["one"], drawn["other"]).any()


def test_classes_are_drawn_by_name(visits, capsys):
    best = fit("--data.target=town", "--model.family=categorical")
    assert main(["predict", "--ckpt", best, "--samples=30", "--out=p.csv", *QUIET]) == 0
    frame = pd.read_csv("p.csv")
    draws = frame[[f"sample_{k}" for k in range(30)]]
    assert set(np.unique(draws)) == {"north", "south"}
    assert (draws == "north").to_numpy().mean() == pytest.approx(
        frame["probability_north"].mean(), abs=0.05
    )
    assert main(["predict", "--ckpt", best, "--quantiles=0.5", *QUIET]) == 2
    assert "classes have no quantiles" in capsys.readouterr().err


def test_parameters_are_those_after_recalibration(model):
    before = predicted(model)
    for method in ("ScaleCalibration", "QuantileRecalibration", "ConformalQuantiles"):
        assert (
            main(["recalibrate", "--ckpt", model, "--method", method, "--out", f"{method}.ckpt"])
            == 0
        )
        shutil.rmtree("parts")
        after = predicted(f"{method}.ckpt")
        assert not np.allclose(after["upper_90"], before["upper_90"], rtol=1e-3)
        if method == "ScaleCalibration":
            np.testing.assert_allclose(
                after["upper_90"], after["loc"] + 1.6448536 * after["scale"], rtol=1e-4
            )
        else:  # a distribution of no family has no parameters of one
            assert not {"loc", "scale"} & set(after)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["predict", "--out=model.ckpt"], "must end in .csv or .parquet"),
        (["predict", "--data.path=table.csv", "--out=table.csv"], "is the table that is predicted"),
        (["predict", "--out=nowhere/p.csv"], "no folder nowhere"),
        (["predict", "--quantiles=0.1,half"], "--quantiles must be numbers"),
        (["predict", "--quantiles=10"], "quantiles must be between 0 and 1"),
        (["predict", "--level=90"], "level must be between 0 and 1"),
        (["predict", "--samples=-1"], "samples must be a number of draws"),
        (["predict", "--id-columns=nme"], "did you mean 'name'"),
        (["predict", "--id-column=name"], "unknown option '--id-column'"),
        (
            ["predict", "--data.path=table.parquet", "--out=parts", "--id-columns=nme"],
            "no column 'nme'",
        ),
        (["recalibrate", "--out=model.ckpt"], "--overwrite"),
        (["recalibrate", "--out=table.csv"], "--out must end in .ckpt"),
        (["recalibrate", "--out=honest.txt", "--overwrite"], "--out must end in .ckpt"),
        (["recalibrate", "--out=nowhere/r.ckpt"], "no folder nowhere"),
        (["recalibrate", "--metod=ScaleCalibration"], "did you mean '--method'"),
        (["recalibrate", "--weight=ww"], "did you mean 'w'"),
        (
            ["predict", "--data.path=other.csv"],
            "other.csv: no column 'x', which the model was trained on",
        ),
        (
            ["predict", "--data.path=others", "--out=parts"],
            "0.parquet has no column 'x'; did you mean 'xs'? Columns: xs, y",
        ),
        (
            ["evaluate", "--data.path=other.csv"],
            "other.csv: no column 'x', which the model was trained on; did you mean 'xs'",
        ),
        (["evaluate", "--out=table.csv"], "is a file"),
        (["evaluate", "--groups=patients"], "did you mean 'patient'"),
        (["evaluate", "--level=90"], "level must be between 0 and 1"),
        (["evaluate", "--no-weight", "--weight=w"], "not allowed with"),
        (["test", "--data.pat=table.csv"], "did you mean '--data.path'"),
        (["validate", "--trainer.devices=many"], "--trainer.devices must be a number of devices"),
    ],
)
def test_mistakes_with_a_checkpoint_are_one_sentence_and_leave_everything_as_it_was(
    model, arguments, message, capsys
):
    other = pd.read_csv("table.csv")[["x", "y", "w"]].rename(columns={"x": "xs"})
    other.to_csv("other.csv", index=False)
    Path("others").mkdir()
    other.to_parquet("others/0.parquet")
    before = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*")}
    command, *options = arguments
    quiet = QUIET if command in ("predict", "test", "validate") else []
    assert main([command, "--ckpt=model.ckpt", *options, *quiet]) == 2
    assert message in (printed := capsys.readouterr().err)
    assert "Traceback" not in printed
    assert len(printed.replace("Seed set to 0", "").strip().splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*")} == before


@pytest.mark.parametrize("command", ["test", "predict", "evaluate", "recalibrate"])
def test_a_model_of_rows_in_no_file_needs_a_table(trained, tmp_path, monkeypatch, command, capsys):
    monkeypatch.chdir(tmp_path)
    contents = torch.load(trained / "model.ckpt", weights_only=True)
    contents["datamodule_hyper_parameters"]["path"] = None  # as after training on a data frame
    torch.save(contents, "model.ckpt")
    assert main([command, "--ckpt=model.ckpt"]) == 2
    assert "--data.path" in capsys.readouterr().err
    shutil.copy(trained / "table.csv", "table.csv")
    assert main([command, "--ckpt=model.ckpt", "--data.path=table.csv"]) == 0


def test_a_package_that_is_missing_is_named_with_what_installs_it(model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert main(["predict", "--ckpt", model, *QUIET]) == 2
    assert "pip install 'disthead[data]'" in capsys.readouterr().err


def test_a_name_that_predictions_have_cannot_be_copied(model, capsys):
    pd.read_csv("table.csv").rename(columns={"name": "mean"}).to_csv("new.csv", index=False)
    command = ["predict", "--ckpt", model, "--data.path=new.csv", "--id-columns=mean"]
    assert main([*command, *QUIET]) == 2
    assert "column 'mean' cannot be copied" in capsys.readouterr().err


def test_recalibration_writes_over_a_checkpoint_only_where_that_is_said(model):
    before = Path(model).read_bytes()
    assert main(["recalibrate", "--ckpt", model, "--out", model]) == 2
    assert Path(model).read_bytes() == before
    assert main(["recalibrate", "--ckpt", model, "--out", model, "--overwrite"]) == 0
    assert DistributionModule.load_from_checkpoint(model).recalibration is not None
    assert sorted(path.name for path in Path.cwd().iterdir()) == [
        "model.ckpt",
        "table.csv",
        "table.parquet",
    ]


def test_training_does_not_write_beside_other_checkpoints_unless_that_is_said(visits, capsys):
    fit("--checkpoint.dirpath=models")
    before = Path("models/best.ckpt").read_bytes()
    command = [*FIT, "--checkpoint.dirpath=models", "--trainer.max_epochs=1", *QUIET]
    assert main([*command, "--seed_everything=1"]) == 2
    assert "models holds the checkpoints of another training" in capsys.readouterr().err
    assert Path("models/best.ckpt").read_bytes() == before
    assert len(list(Path("lightning_logs").iterdir())) == 1
    assert main([*command, "--seed_everything=1", "--overwrite"]) == 0
    assert Path("models/best.ckpt").read_bytes() != before
    assert main([*command, "--ckpt=models/last.ckpt", "--trainer.max_epochs=3"]) == 0
    assert sorted(path.name for path in Path("models").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_configuration_is_not_written_over_by_that_of_its_run(visits, capsys):
    assert main(["init", "counts", "--out=config.yaml"]) == 0
    before = Path("config.yaml").read_bytes()
    assert main(["fit", "--config=config.yaml", *TABLE, "--trainer.logger=false", *QUIET]) == 2
    assert "rename that file first" in capsys.readouterr().err
    assert Path("config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "options, message",
    [
        (["--model.family=beta"], "must be in the support of beta"),
        (["--model.optimizer=Adamm"], "did you mean 'Adam'"),
        (["--data.path=gone.csv"], "no such file"),
        (
            ["--data.target=town"],
            "holds classes (north, south), poisson takes numbers: try the family bernoulli",
        ),
        (["--data.val_size=0"], "no rows are held out"),
        (["--trainer.accelerator=gpuu"], "accelerator"),
        (["--trainer.max_epochs=many"], "--trainer.max_epochs must be int"),
        (["--trainer.logger=wandb"], "--trainer.logger must be"),
        (
            ["--model.hidden_sizes=32"],
            "must be a list, such as --model.hidden_sizes '[64, 64]', got 32",
        ),
        (
            ["--data.features=age"],
            "must be a list or null, such as --data.features '[a, b]', got age",
        ),
        (["--data.known=months"], "such as --data.known '{exposure: months}', got months"),
        (["--trainer.max_epochs='5'"], "--trainer.max_epochs must be int or null, got '5'"),
        (["--trainer.enable_progress_bar=maybe"], "must be true or false or null, got maybe"),
        (
            ["--data.target=target"],
            "where --data.target (`target` in Python) was not given. Columns: age, town, visits.",
        ),
        (["--trainer.max_epoch=3"], "did you mean '--trainer.max_epochs'"),
        (["my.csv"], "--data.path my.csv"),
        (["--config=broken.yaml"], "broken.yaml is not a configuration in YAML"),
        (["--config=wrong.yaml"], "did you mean '--model.family'"),
        (["--config=regresion"], "did you mean 'regression'"),
        (["--config"], "expected one argument"),
        (
            ["--trainer.default_root_dir=runs/first", "--model.family=beta"],
            "must be in the support of beta",
        ),
    ],
)
def test_trainings_that_fail_say_why_in_a_sentence_and_leave_nothing(
    visits, options, message, capsys
):
    Path("broken.yaml").write_text("model: [")
    Path("wrong.yaml").write_text("model: {familly: normal}")
    before = sorted(Path.cwd().rglob("*"))
    assert main(["fit", *TABLE, "--model.family=poisson", *QUIET, *options]) == 2
    printed = capsys.readouterr().err.replace("Seed set to 0", "").strip()
    assert message in printed
    assert len(printed.splitlines()) == 1
    assert sorted(Path.cwd().rglob("*")) == before


def test_what_is_monitored_must_be_there(visits, capsys):
    assert main([*FIT, "--early_stopping.monitor=val/nl", "--trainer.max_epochs=1", *QUIET]) == 2
    assert "unknown metric to monitor 'val/nl'; did you mean 'val/nll'?" in capsys.readouterr().err


def test_a_trial_run_leaves_nothing(visits):
    before = sorted(Path.cwd().rglob("*"))
    assert main(["fit", *TABLE, "--model.family=poisson", "--trainer.fast_dev_run=1", *QUIET]) == 0
    assert sorted(Path.cwd().rglob("*")) == before


def test_init_writes_a_configuration_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "counts"]) == 0
    assert Path("counts.yaml").read_text() == Path(COUNTS).read_text()
    Path("counts.yaml").write_text("mine")
    assert main(["init", "counts"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert Path("counts.yaml").read_text() == "mine"
    assert main(["init", "counts", "--overwrite"]) == 0
    assert Path("counts.yaml").read_text() != "mine"
    for arguments, message in {
        ("cuonts",): "did you mean 'counts'",
        (): "required: name",
        ("counts", "--ot=x"): "--out",
    }.items():
        assert main(["init", *arguments]) == 2
        assert message in capsys.readouterr().err


# Help.


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"disthead {disthead.__version__}\n"


def shown(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_help_is_to_be_had_in_every_way(capsys):
    assert shown(capsys) == shown(capsys, "--help") == shown(capsys, "-h") == shown(capsys, "help")
    assert all(
        re.search(rf"^  disthead .*\b{command}\b", OVERVIEW, re.MULTILINE) for command in COMMANDS
    )
    for command in COMMANDS:
        page = shown(capsys, command, "--help")
        assert page == shown(capsys, command, "-h") == shown(capsys, "help", command)
        assert re.search(rf"^  disthead {command}\b", page, re.MULTILINE), "an example"
        assert len(page.splitlines()) <= 50
        assert max(map(len, page.splitlines())) <= 100


def options_of(command: str, monkeypatch) -> set[str]:
    """All that the parser of a command takes."""
    if command in ("evaluate", "recalibrate"):
        parser = getattr(checkpoints, f"{command}_parser")()
        return {name for action in parser._actions for name in action.option_strings}
    if command in ("families", "losses", "explain", "init"):
        return (
            {"--capabilities", "--surface"}
            if command == "families"
            else {"--out", "--overwrite"}
            if command == "init"
            else set()
        )

    class Found(Exception):
        pass

    def stop(cli, parser, arguments):
        raise Found(parser._known_options())

    with monkeypatch.context() as patch:
        patch.setattr(commands._CLI, "parse_arguments", stop)
        with pytest.raises(Found) as found:
            main([command])
    return {*found.value.args[0], *commands._OTHER_NAMES}


OPTION = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")


@pytest.mark.parametrize("command", COMMANDS)
def test_pages_of_help_name_options_that_exist(command, monkeypatch):
    known = (
        options_of(command, monkeypatch)
        | {"--help", "--help-all"}
        | ({"--config"} if command == "init" else set())
    )
    for option in OPTION.findall(PAGES[command]):
        assert re.sub(r"\.init_args\..*", "", option) in known, option


def test_help_all_shows_everything(capsys):
    assert "--trainer.gradient_clip_val" in shown(capsys, "fit", "--help-all")


def texts() -> list[tuple[str, str]]:
    """All strings of the package and all pages of the docs, with where they are."""
    found = [
        (str(page), page.read_text("utf-8"))
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    ]
    for path in Path(disthead.__file__).parent.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        found += [
            (str(path), n.value)
            for n in nodes
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
    return found


def test_advice_names_commands_and_options_that_exist(monkeypatch):
    """Sentences in which `disthead` is the subject of a verb, or comes after `from` or `import`,
    are none of advice.
    """
    all_options = set().union(*(options_of(command, monkeypatch) for command in COMMANDS)) | {
        "--help",
        "--help-all",
        "--version",
    }
    for path, text in texts():
        for command in re.findall(
            r"(?:`|: |^ *\$? *|next: |try )disthead ([a-z]\w*)", text, re.MULTILINE
        ):
            assert command in {*COMMANDS, "help", "into", "import"}, f"{path}: disthead {command}"
        for option in OPTION.findall(text) if "disthead" in path.rpartition("/")[0] else ():
            name = re.sub(r"\.init_args.*", "", option)
            assert name in all_options or any(
                known.startswith((f"{name}.", f"{name}-")) for known in all_options
            ), f"{path}: {option}"


@pytest.mark.parametrize("name", families())
def test_advice_names_families_that_exist(name):
    family = explanation.example(name)
    parameters = {
        parameter for other in families() for parameter in explanation.example(other).parameters
    }
    words = set(
        re.findall(r"\b[a-z]+_[a-z_]+\b", f"{family.breaks} {family.remedy} {family.edge_remedy}")
    )
    assert words <= {*families(), *parameters, "event_shape", "min_dispersion"}


def test_looking_things_up_does_not_load_lightning():
    code = (
        "import sys; from disthead.cli import main; main(['families']); main(['explain', 'normal'])"
    )
    code += (
        "; print([m for m in ('lightning', 'pandas', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip().endswith("[]")


def test_it_is_a_module_too():
    done = subprocess.run(
        [sys.executable, "-m", "disthead", "explain", "nrmal"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        "disthead: error: unknown family or loss 'nrmal'; did you mean 'normal'"
    )


def built(command: list[str], tmp_path: Path) -> Path:
    """A copy of what a build needs, after the build."""
    source = tmp_path / "source"
    for name in ("disthead", "configs"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "_blocks*.so")
        )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, *command], cwd=source, check=True, capture_output=True, timeout=300
    )
    return source


def test_an_installed_package_finds_its_configurations(tmp_path, monkeypatch):
    package = (
        built(["setup.py", "-q", "build_py", "--build-lib=built"], tmp_path) / "built" / "disthead"
    )
    monkeypatch.setattr(configurations, "__file__", str(package / "configurations.py"))
    assert configurations.configuration("counts") == package / "configs" / "counts.yaml"
    assert set(configurations.configurations()) == {
        path.stem for path in (ROOT / "configs").glob("*.yaml")
    }


@pytest.mark.slow
def test_wheel_and_source_distribution_have_the_configurations(tmp_path):
    source = built(["setup.py", "-q", "sdist", "bdist_wheel"], tmp_path)
    [wheel], [archive] = source.glob("dist/*.whl"), source.glob("dist/*.tar.gz")
    names = {f"{path.stem}.yaml" for path in (ROOT / "configs").glob("*.yaml")}
    in_wheel = {
        Path(name).name
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith("disthead/configs/")
    }
    with tarfile.open(archive) as opened:
        in_archive = {Path(name).name for name in opened.getnames() if "/configs/" in name}
    assert in_wheel == in_archive == names


def test_training_does_not_go_on_from_a_recalibrated_checkpoint(model, capsys):
    """Whose recalibration the training has no place for: that is said, without a traceback and
    without empty folders.
    """
    options = [
        "--data.path=table.csv",
        "--data.target=y",
        "--data.features=[x]",
        "--trainer.max_epochs=1",
        *QUIET,
    ]
    assert main(["fit", "--checkpoint.dirpath=first", *options]) == 0
    shutil.rmtree("lightning_logs")
    assert main(["recalibrate", "--ckpt=first/best.ckpt", "--out=honest.ckpt"]) == 0
    assert main(["fit", "--ckpt=honest.ckpt", *options]) == 2
    assert (
        "--ckpt honest.ckpt holds another model than this training has" in capsys.readouterr().err
    )
    assert not [
        folder for folder in Path.cwd().rglob("*") if folder.is_dir() and not any(folder.iterdir())
    ]
    assert not Path("lightning_logs").exists()


def test_report_says_of_which_checkpoint_and_part_it_is(model):
    assert main(["evaluate", "--ckpt", model, "--out=report"]) == 0
    page = Path("report/report.html").read_text("utf-8")
    assert f"<dt>checkpoint</dt><dd>{model}</dd>" in page
    assert "<dt>part</dt><dd>test</dd>" in page
    assert "?.</b>" not in page


@pytest.mark.parametrize(
    "option, message",
    [("--quantiles=10,90", "got 10.0"), ("--level=90", "got 90.0"), ("--samples=-1", "got -1")],
)
def test_wrong_levels_are_refused_before_any_row_is_predicted(
    model, option, message, monkeypatch, capsys
):
    monkeypatch.setattr(
        DistributionModule, "predict_step", lambda *_: pytest.fail("rows were predicted")
    )
    assert main(["predict", "--ckpt", model, "--out=p.csv", option, *QUIET]) == 2
    assert message in capsys.readouterr().err


def test_warnings_are_one_line_without_the_place_in_the_code(monkeypatch, capsys):
    before = warnings.formatwarning
    for module, run in (
        (commands, "run"),
        (checkpoints, "run_evaluate"),
        (checkpoints, "run_recalibrate"),
    ):
        monkeypatch.setattr(
            module,
            run,
            lambda _: print(
                warnings.formatwarning(UserWarning("few\n rows"), UserWarning, "search.py", 174)
            ),
        )
    for command in ("fit", "predict", "evaluate", "recalibrate"):
        assert shown(capsys, command).strip() == "disthead: warning: few rows"
        assert warnings.formatwarning is before


def test_an_evaluation_of_the_training_rows_says_that_the_model_has_learned_from_them(
    model, capsys
):
    assert "learned from" not in shown(capsys, "evaluate", "--ckpt", model, "--part=val")
    assert "normal model of y, on rows that it has learned from: " in shown(
        capsys, "evaluate", "--ckpt", model, "--part=train"
    )
    page = Path("report/report.html").read_text("utf-8")
    assert "<h1>normal model of y, on rows that it has learned from</h1>" in page
    assert "<dt>part</dt><dd>train, which the model has learned from</dd>" in page


@pytest.mark.parametrize("name", ["gpu", "cuda", "mps"])
def test_an_accelerator_that_is_not_there_is_answered_with_one_that_is(
    model, name, monkeypatch, capsys
):
    for accelerator in (CUDAAccelerator, MPSAccelerator):
        monkeypatch.setattr(accelerator, "is_available", staticmethod(lambda: False))
    assert main(["test", "--ckpt", model, "--trainer.accelerator", name]) == 2
    printed = capsys.readouterr().err
    assert f"--trainer.accelerator {name}: " in printed
    assert "Try --trainer.accelerator cpu" in printed


@pytest.mark.parametrize("epochs", ["-1", "null"])
def test_a_training_that_ends_before_its_first_validation_is_told_so(visits, capsys, epochs):
    """Rows are held out, so that holding some out is no advice."""
    options = [
        "--data.batch_size=15",
        "--trainer.max_steps=3",
        f"--trainer.max_epochs={epochs}",
        *QUIET,
    ]
    assert main([*FIT, *options]) == 2
    said = capsys.readouterr().err.strip().split("\n")[-1]
    assert (
        "after 3 steps, before the first validation: give a larger max_steps (--trainer.max_steps)"
        in said
    )
    assert "hold rows out" not in said
    assert main([*FIT, *options, "--trainer.val_check_interval=1"]) == 0  # as advised


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory) -> tuple[Path, str]:
    """A folder with my.csv, and the path of a checkpoint in it, of counts trained on it."""
    folder = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.normal(size=90), "visits": random.poisson(2, 90)})
    frame.to_csv(folder / "my.csv", index=False)
    with contextlib.chdir(folder):
        return folder, str(Path(fit()).relative_to(folder))


@pytest.fixture
def trained_once(trained_folder, monkeypatch) -> str:
    monkeypatch.chdir(trained_folder[0])
    return trained_folder[1]


@pytest.mark.parametrize("command", ["test", "predict"])
@pytest.mark.parametrize(
    "option, kept",
    [
        ("--data.target=nope", "there it is ['visits']"),
        ("--data.weight=age", "there it is not given"),
        ("--data.features=[visits]", "there it is ['age']"),
        ("--data.test_size=0.9", "there it is 0.2"),
        ("--data.split_seed=7", "there it is 0"),
        ("--model.family=normal", "there it is poisson"),
        ("--model.optimizer=SGD", "contradicts"),
        ("--model.backbone.class_path=torch.nn.Identity", "contradicts"),
        ("--model.standardise=false", "there it is True"),
        ("--model.fixed={rate: 1.0}", "there it is not given"),
    ],
)
def test_options_that_the_checkpoint_decides_are_refused_where_they_contradict_it(
    trained_once, capsys, command, option, kept
):
    best = trained_once
    assert main([command, "--ckpt", best, option, *QUIET]) == 2
    said = capsys.readouterr().err
    name = option.partition("=")[0]
    assert said.startswith(f"disthead: error: {name}")
    assert f"contradicts {best}, which decides it" in said
    assert kept in said


def test_options_that_agree_with_the_checkpoint_change_nothing(trained_once, capsys):
    best = trained_once
    assert main(["test", "--ckpt", best, *QUIET]) == 0
    plain = capsys.readouterr().out
    agreeing = [
        "--data.path=my.csv",
        "--data.target=visits",
        "--data.test_size=0.2",
        "--model.family=poisson",
    ]
    assert main(["test", "--ckpt", best, *agreeing, *QUIET]) == 0
    assert capsys.readouterr().out == plain
    written = yaml.safe_load((Path(best).parents[1] / "config.yaml").read_text())
    Path("my.yaml").write_text(yaml.safe_dump({name: written[name] for name in ("model", "data")}))
    assert main(["test", "--config", "my.yaml", "--ckpt", best, *QUIET]) == 0
    assert capsys.readouterr().out == plain


@pytest.mark.parametrize(
    "option",
    ["limit_predict_batches=2", "limit_predict_batches=0.5", "fast_dev_run=true", "fast_dev_run=3"],
)
@pytest.mark.parametrize("out", ["p.csv", "parts"])
def test_predictions_are_those_of_all_rows(trained_once, capsys, option, out):
    assert (
        main(["predict", "--ckpt", trained_once, f"--out={out}", f"--trainer.{option}", *QUIET])
        == 2
    )
    said = capsys.readouterr().err
    assert f"--trainer.{option.partition('=')[0]} must be" in said
    assert "all rows of the table are predicted" in said
    assert not Path(out).exists()


@pytest.mark.parametrize(
    "text, key, lines",
    [
        ("trainer:\n  max_epochs: 3\n  max_epochs: 4\n", "trainer.max_epochs", "lines 2 and 3"),
        (
            "model:\n  family: normal\ndata:\n  target: y\nmodel:\n  family: poisson\n",
            "model",
            "lines 1 and 5",
        ),
        (
            "trainer:\n  callbacks:\n  - class_path: a\n    class_path: b\n",
            "trainer.callbacks.0.class_path",
            "lines 3 and 4",
        ),
        ("model: {fixed: {rate: 1, rate: 2}}\n", "model.fixed.rate", "line 1"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_key_that_comes_twice_in_a_configuration_is_refused(
    tmp_path, monkeypatch, capsys, text, key, lines, command
):
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(text)
    assert main([command, "--config", "my.yaml"]) == 2
    said = capsys.readouterr().err
    assert f"my.yaml: the key {key} comes twice, in {lines}: remove one of them." in said


def test_a_key_that_comes_twice_is_refused_in_files_of_a_part_and_in_options(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("part.yaml").write_text("target: y\ntarget: z\n")
    Path("my.yaml").write_text("data: part.yaml\n")
    for options in (["--config", "my.yaml"], ["--data", "part.yaml"], ["--data=part.yaml"]):
        assert main(["fit", *options]) == 2
        assert "part.yaml: the key target comes twice, in lines 1 and 2" in capsys.readouterr().err
    assert main(["fit", "--data.known", "{a: b, a: c}"]) == 2
    assert "--data.known: the key a comes twice, in line 1" in capsys.readouterr().err


def test_aliases_and_merges_are_no_keys_that_come_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(
        "a: &one {x: 1}\nb: &two {y: 1}\nc: {<<: *one, <<: *two, x: 2}\nd: *one\n"
    )
    assert main(["fit", "--config", "my.yaml"]) == 2
    assert "twice" not in capsys.readouterr().err


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features=8, width=8):
        super().__init__()
        self.layer, self.out_features = nn.Linear(in_features, width), width

    def forward(self, features):
        return self.layer(features)
"""


@pytest.mark.filterwarnings("ignore:the model is no better")  # after one epoch
@pytest.mark.parametrize(
    "options, section, expected",
    [
        (
            "--model.backbone my_net.Net --model.backbone.width 5",
            "backbone",
            ("my_net.Net", {"width": 5}),
        ),
        (
            "--model.backbone.init_args.width 5 --model.backbone=my_net.Net",
            "backbone",
            ("my_net.Net", {"width": 5}),
        ),
        (
            "--model.optimizer SGD --model.optimizer.lr 0.1",
            "optimizer",
            ("torch.optim.SGD", {"lr": 0.1}),
        ),
        (
            "--model.optimizer.lr=0.1 --model.optimizer SGD",
            "optimizer",
            ("torch.optim.SGD", {"lr": 0.1}),
        ),
        (
            "--model.optimizer.lr 0.1",
            "optimizer",
            ("torch.optim.AdamW", {"lr": 0.1, "weight_decay": 1e-4}),
        ),
        (
            "--model.scheduler StepLR --model.scheduler.step_size 3 --model.scheduler.interval "
            "epoch",
            "scheduler",
            ("torch.optim.lr_scheduler.StepLR", {"step_size": 3}),
        ),
    ],
)
@pytest.mark.slow
def test_a_class_and_its_arguments_are_given_in_any_order_and_in_the_short_spelling(
    visits, monkeypatch, options, section, expected
):
    Path("my_net.py").write_text(OWN)
    monkeypatch.syspath_prepend(".")
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    assert (
        main(
            [
                "fit",
                "--data.path=my.csv",
                "--data.target=visits",
                "--trainer.max_epochs=1",
                *options.split(),
                *QUIET,
            ]
        )
        == 0
    )
    found = yaml.safe_load(next(Path().rglob("config.yaml")).read_text())["model"][section]
    assert found["class_path"] == expected[0]
    assert expected[1].items() <= found["init_args"].items()
    assert section != "optimizer" or set(found["init_args"]) == set(expected[1])


def test_arguments_of_a_backbone_without_its_class_are_an_error(visits, capsys):
    assert main([*FIT, "--model.backbone.width=5", *QUIET]) == 2
    assert "has arguments, width, and no class: give --model.backbone" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--out=mine.csv"], []])
def test_predictions_write_over_a_file_only_where_that_is_said(model, capsys, options):
    file = Path(options[0].removeprefix("--out=") if options else "predictions.csv")
    file.write_text("mine\n")
    command = ["predict", "--ckpt", model, "--data.path=table.csv", *options, *QUIET]
    assert main(command) == 2
    assert (
        f"--out {file} is there already: choose another name with --out, or write over it with "
        "--overwrite." in (capsys.readouterr().err)
    )
    assert file.read_text() == "mine\n"
    assert main([*command, "--overwrite"]) == 0
    assert len(pd.read_csv(file)) == len(pd.read_csv("table.csv"))


@pytest.mark.parametrize("by", ["name", "link"])
def test_predictions_never_write_over_a_table_of_the_training(model, trained, capsys, by):
    contents = torch.load(model, weights_only=True)
    contents["datamodule_hyper_parameters"]["path"] = "training.csv"
    torch.save(contents, model)
    shutil.copy("table.csv", "training.csv")
    before, out = Path("training.csv").read_bytes(), "training.csv"
    if by == "link":
        out = "link.csv"
        Path(out).symlink_to("training.csv")
    assert (
        main(
            [
                "predict",
                "--ckpt",
                model,
                "--data.path=table.csv",
                f"--out={out}",
                "--overwrite",
                *QUIET,
            ]
        )
        == 2
    )
    assert f"--out {out} is a table that the model was trained with" in capsys.readouterr().err
    assert Path("training.csv").read_bytes() == before


def test_a_folder_of_predictions_of_a_table_that_is_not_parquet_is_refused_by_its_name(
    model, capsys
):
    Path("here").mkdir()
    for out in ("here", "parts"):
        assert (
            main(["predict", "--ckpt", model, "--data.path=table.csv", f"--out={out}", *QUIET]) == 2
        )
        said = capsys.readouterr().err
        assert (
            f"--out {out} is a folder, for which --data.path must be Parquet, got table.csv" in said
        )
        assert f"--out {out}.csv" in said
    assert (
        main(
            [
                "predict",
                "--ckpt",
                model,
                "--data.path=table.parquet",
                "--out=parts",
                "--overwrite",
                *QUIET,
            ]
        )
        == 2
    )
    assert "--overwrite is for one file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["test", "predict", "evaluate", "recalibrate"])
def test_a_folder_given_as_a_checkpoint_is_called_a_folder(tmp_path, capsys, command):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    assert main([command, f"--ckpt={folder}"]) == 2
    assert (
        f"{folder} is a folder, not a checkpoint: it holds no checkpoint."
        in capsys.readouterr().err
    )
    for name in ("aaa.ckpt", "best.ckpt"):
        (folder / name).touch()
    assert main([command, f"--ckpt={folder}"]) == 2
    assert f"give a checkpoint in it, such as {folder / 'best.ckpt'}." in capsys.readouterr().err


@pytest.mark.parametrize(
    "values, expected",
    [
        ({5: ""}, "has 1 missing (NaN) value, at row 5. Correct"),
        ({9: "-inf"}, "has 1 infinite value, at row 9: -inf. Correct"),
        ({5: "n/a!"}, "'n/a!' at row 5. Correct these values, or drop their rows."),
    ],
)
def test_a_target_that_is_wrong_is_named_with_its_kind_row_and_value(
    visits, capsys, values, expected
):
    target = visits["age"].astype(str)
    for row, value in values.items():
        target[row] = value
    visits.assign(age=target).to_csv("my.csv", index=False)
    assert main(["fit", "--data.path=my.csv", "--data.target=age", *QUIET]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "categories" not in said
