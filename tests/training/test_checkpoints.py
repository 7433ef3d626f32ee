"""Evaluation and recalibration of trained models: what a checkpoint keeps, and the commands on it."""

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
    columns = {"x": x, "y": 3 * x + generator.normal(size=2000), "site": generator.choice(["north", "south"], 2000)}
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def overconfident(table, tmp_path_factory):
    """The checkpoint of a model that knows the line, but is sure of half the spread."""
    import lightning

    data = TabularDataModule(table, target="y", features=["x"], batch_size=500)
    module = DistributionModule(
        "normal", hidden_sizes=[], fixed={"scale": 0.5}, optimizer={"class_path": "Adam", "init_args": {"lr": 0.1}}
    )
    trainer = lightning.Trainer(
        max_epochs=40, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    path = str(tmp_path_factory.mktemp("model") / "overconfident.ckpt")
    trainer.save_checkpoint(path)
    return path


def coverage(found, level="0.9"):
    return found.to_dict()["outputs"][""]["coverage"][level]


@pytest.mark.parametrize("method", ["ScaleCalibration", "QuantileRecalibration", "ConformalQuantiles"])
def test_a_recalibrated_checkpoint_covers_what_it_says_and_predicts_it(overconfident, tmp_path, method):
    assert coverage(evaluate_checkpoint(overconfident)) < 0.65
    path = str(tmp_path / "recalibrated.ckpt")
    recalibrate_checkpoint(overconfident, path, method)
    module = DistributionModule.load_from_checkpoint(path)
    features = torch.linspace(-1, 1, 50)[:, None]
    with torch.no_grad():
        lower, upper = module.predictive(features).interval(0.9)
    assert float((upper - lower).mean()) == pytest.approx(2 * 1.645, rel=0.15)
    assert coverage(evaluate_checkpoint(path)) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("recalibration", [ScaleCalibration(), QuantileRecalibration(), ConformalQuantiles([0.5, 0.9])])
def test_checkpoints_keep_the_recalibration(recalibration, tmp_path, generator):
    import lightning

    module = DistributionModule("normal", in_features=1, hidden_sizes=[])
    x = torch.randn(400, 1, generator=generator)
    y = torch.randn(400, generator=generator)
    module.recalibrate(recalibration, x, y)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = DistributionModule.load_from_checkpoint(tmp_path / "model.ckpt")
    for mine, theirs in zip(module.predictive(x).interval(0.9), loaded.predictive(x).interval(0.9), strict=True):
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
    assert main(["evaluate", "--ckpt", "honest.ckpt", "--data.path", "fresh.csv", "--out", "after"]) == 0
    assert "2,000 rows" in capsys.readouterr().out
    after = json.loads((tmp_path / "after" / "metrics.json").read_text())
    assert after["outputs"][""]["coverage"]["0.9"] == pytest.approx(0.9, abs=0.02)
    page = (tmp_path / "before" / "report.html").read_text()
    assert "north" in page
    assert main(["test", "--ckpt_path", "honest.ckpt", "--trainer.enable_progress_bar", "false"]) == 0
    assert main(["predict", "--ckpt_path", "honest.ckpt", "--trainer.enable_progress_bar", "false"]) == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["evaluate"], "--ckpt_path/--ckpt"),
        (["evaluate", "--ckpt", "none.ckpt"], "no such checkpoint: none.ckpt"),
        (["recalibrate", "--ckpt", "{}", "--method", "ScaleCalibraton"], "did you mean 'ScaleCalibration'"),
        (["evaluate", "--ckpt", "{}", "--group", "sites"], "did you mean 'site'"),
        (["evaluate", "--ckpt", "{}", "--part", "tset"], "did you mean 'test'"),
        (["evaluate", "--ckpt", "{}", "--data.path", "gone.csv"], "gone.csv"),
        (["recalibrate", "--ckpt", "{}", "--method", "TemperatureScaling"], "TemperatureScaling"),
    ],
)
def test_mistakes_are_named(overconfident, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([argument.replace("{}", overconfident) for argument in arguments]) == 2
    assert message in capsys.readouterr().err
