"""Evaluation and recalibration of trained models: what checkpoints keep, and their commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from disthead.calibration import ConformalQuantiles, QuantileRecalibration, ScaleCalibration
from disthead.cli import main
from disthead.training import DistributionModule, TabularDataModule
from disthead.training.checkpoints import evaluate_checkpoint, recalibrate_checkpoint


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A straight line with noise of spread 1, and a column of groups."""
    import pandas as pd

    generator = np.random.default_rng(0)
    x = generator.uniform(-1, 1, 2000)
    path = tmp_path_factory.mktemp("table") / "line.csv"
    columns = {
        "x": x,
        "y": 3 * x + generator.normal(size=2000),
        "site": generator.choice(["north", "south"], 2000),
    }
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def overconfident(table, tmp_path_factory):
    """The checkpoint of a model that knows the line, but is sure of half the spread."""
    import lightning

    data = TabularDataModule(table, target="y", features=["x"], batch_size=500)
    module = DistributionModule(
        "normal",
        hidden_sizes=[],
        fixed={"scale": 0.5},
        optimizer={"class_path": "Adam", "init_args": {"lr": 0.1}},
    )
    trainer = lightning.Trainer(
        max_epochs=40, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    path = str(tmp_path_factory.mktemp("model") / "overconfident.ckpt")
    trainer.save_checkpoint(path)
    return path


def coverage(found, level="0.9"):
    return found.to_dict()["outputs"][""]["coverage"][level]


@pytest.mark.parametrize(
    "method", ["ScaleCalibration", "QuantileRecalibration", "ConformalQuantiles"]
)
def test_a_recalibrated_checkpoint_covers_what_it_says_and_predicts_it(
    overconfident, tmp_path, method
):
    assert coverage(evaluate_checkpoint(overconfident)) < 0.65
    path = str(tmp_path / "recalibrated.ckpt")
    recalibrate_checkpoint(overconfident, path, method)
    module = DistributionModule.load_from_checkpoint(path)
    features = torch.linspace(-1, 1, 50)[:, None]
    with torch.no_grad():
        lower, upper = module.predictive(features).interval(0.9)
    assert float((upper - lower).mean()) == pytest.approx(2 * 1.645, rel=0.15)
    assert coverage(evaluate_checkpoint(path)) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize(
    "recalibration", [ScaleCalibration(), QuantileRecalibration(), ConformalQuantiles([0.5, 0.9])]
)
def test_checkpoints_keep_the_recalibration(recalibration, tmp_path, generator):
    import lightning

    module = DistributionModule("normal", in_features=1, hidden_sizes=[])
    x = torch.randn(400, 1, generator=generator)
    y = torch.randn(400, generator=generator)
    module.recalibrate(recalibration, x, y)
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = DistributionModule.load_from_checkpoint(tmp_path / "model.ckpt")
    for mine, theirs in zip(
        module.predictive(x).interval(0.9), loaded.predictive(x).interval(0.9), strict=True
    ):
        torch.testing.assert_close(mine, theirs)
    plain = DistributionModule("normal", in_features=1, hidden_sizes=[])
    trainer.strategy.connect(plain)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    assert DistributionModule.load_from_checkpoint(tmp_path / "plain.ckpt").recalibration is None


def test_commands_evaluate_and_recalibrate(overconfident, table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--ckpt", overconfident, "--out", "before", "--group", "site"]) == 0
    printed = capsys.readouterr().out
    assert "too narrow" in printed
    assert "written: before/report.html" in printed
    assert main(["recalibrate", "--ckpt_path", overconfident, "--out", "honest.ckpt"]) == 0
    (tmp_path / "fresh.csv").write_bytes(Path(table).read_bytes())
    assert (
        main(["evaluate", "--ckpt", "honest.ckpt", "--data.path", "fresh.csv", "--out", "after"])
        == 0
    )
    assert "2,000 rows" in capsys.readouterr().out
    after = json.loads((tmp_path / "after" / "metrics.json").read_text())
    assert after["outputs"][""]["coverage"]["0.9"] == pytest.approx(0.9, abs=0.02)
    page = (tmp_path / "before" / "report.html").read_text()
    assert "north" in page
    for name, value in {
        "checkpoint": overconfident,
        "table": table,
        "part": "test",
        "rows": "400",
    }.items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
    assert (
        main(["test", "--ckpt_path", "honest.ckpt", "--trainer.enable_progress_bar", "false"]) == 0
    )
    assert (
        main(["predict", "--ckpt_path", "honest.ckpt", "--trainer.enable_progress_bar", "false"])
        == 0
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["evaluate"], "--ckpt_path/--ckpt"),
        (["evaluate", "--ckpt", "none.ckpt"], "no such checkpoint: none.ckpt"),
        (
            ["recalibrate", "--ckpt", "{}", "--method", "ScaleCalibraton"],
            "did you mean 'ScaleCalibration'",
        ),
        (["evaluate", "--ckpt", "{}", "--group", "sites"], "did you mean 'site'"),
        (
            ["recalibrate", "--ckpt", "{}", "--part", "train"],
            "part must be val or test, got 'train'",
        ),
        (["evaluate", "--ckpt", "{}", "--part", "tset"], "did you mean 'test'"),
        (["evaluate", "--ckpt", "{}", "--data.path", "gone.csv"], "gone.csv"),
        (["recalibrate", "--ckpt", "{}", "--method", "TemperatureScaling"], "TemperatureScaling"),
    ],
)
def test_mistakes_are_named(overconfident, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([argument.replace("{}", overconfident) for argument in arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """A checkpoint that was trained with the weights w of a table, whose rows without weight have
    another noise.
    """
    import lightning
    import pandas as pd

    generator = np.random.default_rng(0)
    x, counts = generator.uniform(-1, 1, 1200), generator.integers(0, 3, 1200)
    noise = np.where(counts > 0, 1.0, 30.0) * generator.normal(size=1200)
    folder = tmp_path_factory.mktemp("weighted")
    columns = {"x": x, "y": 3 * x + noise, "w": counts, "one": 1.0, "patient": np.arange(1200) // 4}
    pd.DataFrame(columns).to_csv(folder / "rows.csv", index=False)
    data = TabularDataModule(
        str(folder / "rows.csv"), target="y", features=["x"], weight="w", batch_size=500
    )
    module = DistributionModule("normal", hidden_sizes=[], fixed={"scale": 0.5})
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder


def written_out(weighted, tmp_path) -> str:
    """The table with each row as many times as its weight says, and a weight of 1."""
    import pandas as pd

    frame = pd.read_csv(weighted / "rows.csv")
    frame.loc[frame.index.repeat(frame["w"])].assign(w=1.0).to_csv(
        tmp_path / "rows.csv", index=False
    )
    return str(tmp_path / "rows.csv")


def test_recalibration_takes_the_weights_of_the_table_unless_told_otherwise(weighted, tmp_path):
    """A weight is a number of copies; without weights the rows that are not there would make the
    spread much too large.
    """
    model, out = str(weighted / "model.ckpt"), str(tmp_path / "new.ckpt")

    def scale(path, **options):
        found = recalibrate_checkpoint(
            model, out, "ScaleCalibration", path, overwrite=True, **options
        )
        return found.recalibration.scale.item()

    rows, copies = str(weighted / "rows.csv"), written_out(weighted, tmp_path)
    other = tmp_path / "other.csv"
    other.write_text(Path(rows).read_text())
    assert scale(str(other)) == pytest.approx(scale(copies), rel=1e-4)
    assert scale(str(other), weight="w") == scale(str(other))
    assert scale(str(other), weight=None) == scale(str(other), weight="one") > 3 * scale(copies)


def test_evaluation_takes_the_weights_of_the_table_unless_told_otherwise(weighted, tmp_path):
    model, copies = str(weighted / "model.ckpt"), written_out(weighted, tmp_path)
    other = tmp_path / "other.csv"
    other.write_text((weighted / "rows.csv").read_text())

    def nll(path, **options):
        return (
            evaluate_checkpoint(model, path=path, **options)
            .scores[""]["Negative log-likelihood"]
            .value
        )

    assert nll(str(other)) == pytest.approx(nll(copies), rel=1e-5)
    assert nll(str(other), weight=None) == nll(str(other), weight="one") > 3 * nll(copies)


def test_rows_that_belong_together_widen_the_standard_errors(weighted, tmp_path):
    """Each patient four times over has half the information that four rows each had."""
    import pandas as pd

    model, frame = str(weighted / "model.ckpt"), pd.read_csv(weighted / "rows.csv")
    frame = frame[frame["w"] > 0].loc[lambda rows: rows.index.repeat(4)].assign(w=1.0)
    frame.assign(row=frame.index).to_csv(tmp_path / "copies.csv", index=False)

    def error(**options):
        return (
            evaluate_checkpoint(model, path=str(tmp_path / "copies.csv"), **options)
            .scores[""]["Negative log-likelihood"]
            .standard_error
        )

    assert error(groups="row") == pytest.approx(2 * error(), rel=0.01)


def test_the_groups_of_the_training_are_those_of_the_evaluation(weighted, tmp_path):
    contents = torch.load(weighted / "model.ckpt", weights_only=True)
    contents["datamodule_hyper_parameters"]["groups"] = "patient"
    torch.save(contents, tmp_path / "grouped.ckpt")
    rows = tmp_path / "rows.csv"
    rows.write_text((weighted / "rows.csv").read_text())

    def error(model, **options):
        found = evaluate_checkpoint(str(model), path=str(rows), **options)
        return found.scores[""]["Negative log-likelihood"].standard_error

    by_patient = error(weighted / "model.ckpt", groups="patient")
    assert error(tmp_path / "grouped.ckpt") == by_patient
    assert (
        error(tmp_path / "grouped.ckpt", groups=None)
        == error(weighted / "model.ckpt")
        != by_patient
    )


def test_a_table_without_the_weights_of_the_training_says_so(weighted, tmp_path, capsys):
    import pandas as pd

    table = str(tmp_path / "new.csv")
    pd.read_csv(weighted / "rows.csv").drop(columns="w").to_csv(table, index=False)
    command = [
        "recalibrate",
        "--ckpt",
        str(weighted / "model.ckpt"),
        "--data.path",
        table,
        "--out",
        str(tmp_path / "r.ckpt"),
    ]
    assert main(command) == 2
    assert "give --no-weight to count each row once" in capsys.readouterr().err
    assert main([*command, "--no-weight"]) == 0
    assert main([*command, "--no-weight", "--overwrite", "--groups=patient"]) == 2
    assert "ScaleCalibration does not ask which rows belong together" in capsys.readouterr().err
    assert (
        main(
            [
                *command,
                "--no-weight",
                "--overwrite",
                "--groups=patient",
                "--method=ConformalQuantiles",
            ]
        )
        == 0
    )


@pytest.mark.filterwarnings("ignore:column 'y' has 1e.25 at row 1")
@pytest.mark.parametrize("command", ["test", "validate"])
def test_a_loss_that_is_not_finite_is_an_error_that_names_the_row(
    overconfident, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.chdir(tmp_path)
    Path("extreme.csv").write_text("x,y\n0.1,0.2\n0.3,1e25\n0.5,1.2\n")
    assert main([command, "--ckpt", overconfident, "--data.path", "extreme.csv"]) == 2
    said = capsys.readouterr()
    assert "row is zero or not a number, at row 1" in said.err
    assert "inf" not in said.out


@pytest.mark.parametrize(
    "entry, value",
    [
        ("global_step", None), ("pytorch-lightning_version", None),
        ("pytorch-lightning_version", 3), ("pytorch-lightning_version", "x"), ("callbacks", [1]),
        ("loops", {}), ("optimizer_states", None), ("lr_schedulers", None),
    ],
)  # fmt: skip
def test_a_training_does_not_go_on_from_a_state_with_entries_dropped_or_replaced(
    overconfident, table, tmp_path, monkeypatch, capsys, entry, value
):
    monkeypatch.chdir(tmp_path)
    contents = torch.load(overconfident, weights_only=True)
    contents.pop(entry)
    torch.save(contents if value is None else contents | {entry: value}, "changed.ckpt")
    training = [
        "--data.path",
        table,
        "--data.target=y",
        "--data.features=[x]",
        "--trainer.max_epochs=60",
    ]
    model = [
        "--model.family=normal",
        "--model.hidden_sizes=[]",
        "--model.fixed={scale: 0.5}",
        "--model.optimizer=Adam",
    ]
    assert main(["fit", *training, *model, "--ckpt", "changed.ckpt"]) == 2
    said = capsys.readouterr().err
    assert "changed.ckpt" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "entry", ["global_step", "pytorch-lightning_version", "loops", "epoch", "optimizer_states"]
)
def test_a_model_is_tested_without_the_state_of_its_training(
    overconfident, tmp_path, monkeypatch, capsys, entry
):
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("x,y\n0.1,0.2\n0.3,1.1\n")
    contents = torch.load(overconfident, weights_only=True)
    contents.pop(entry)
    torch.save(contents, "changed.ckpt")
    assert main(["test", "--ckpt", "changed.ckpt", "--data.path", "rows.csv"]) == 0
