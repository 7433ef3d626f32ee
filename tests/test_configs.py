"""Every configuration runs end to end: fit, test and predict."""

import csv
import inspect
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from disthead import DistributionRegressor
from disthead.cli import main
from disthead.training import TabularDataModule, recipe
from disthead.training.schedule import WarmupConstantDecay
from disthead.training.tabular import TabularBackbone

CONFIGS = sorted(Path(__file__).parents[1].joinpath("configs").glob("*.yaml"))
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
TASKS = "regression robust multimodal magnitudes proportions multivariate direction binary classes counts ranking"
EXPECTED = {
    "binary": "probability_malignant",
    "classes": "probability_class_2",
    "ranking": "mode_first",
    "multivariate": "mean_petal length (cm)",
}


def test_there_is_one_for_each_task():
    assert {path.stem for path in CONFIGS} == set(TASKS.split())


def defaults(function) -> dict:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


class Planned(Exception):
    """What the recipe is about to do."""


def plan(rows: int, monkeypatch) -> dict:
    """Batch size, steps and rates that the recipe takes for so many rows."""
    found = {}

    def schedule(optimizer, steps, **options):
        found["optimizer"] = {name: optimizer.defaults[name] for name in ("lr", "weight_decay")}
        found["schedule"] = defaults(WarmupConstantDecay) | {"steps": steps} | options
        return WarmupConstantDecay(optimizer, steps, **options)

    def batches(rows, size, *arguments):
        raise Planned(found | {"batch_size": size})

    monkeypatch.setattr(recipe, "WarmupConstantDecay", schedule)
    monkeypatch.setattr(recipe, "_batches", batches)
    with pytest.raises(Planned) as planned:
        recipe.fit_tabular(torch.randn(rows, 2), torch.randn(rows))
    return planned.value.args[0]


def test_regression_is_the_estimators_recipe_spelled_out(monkeypatch):
    config = yaml.safe_load(next(path for path in CONFIGS if path.stem == "regression").read_text())
    model, data, estimator = config["model"], config["data"], defaults(DistributionRegressor)
    backbone, network = model["backbone"]["init_args"], defaults(TabularBackbone)
    assert model["family"] == estimator["family"]
    assert model["ensemble"] == estimator["ensemble"]
    assert tuple(backbone["hidden_sizes"]) == estimator["hidden_sizes"] == network["hidden_sizes"]
    assert (backbone["activation"], backbone["bins"]) == (network["activation"], network["bins"])
    assert model["spread_floor"] == defaults(recipe.fit_tabular)["spread_floor"]
    [average] = config["trainer"]["callbacks"]
    assert average["init_args"] == {"decay": defaults(recipe.train)["average_decay"]}

    table = TabularDataModule(**data)
    table.find_columns()
    rows = len(table.part("train").rows)
    planned, per_epoch = plan(rows, monkeypatch), math.ceil(rows / data["batch_size"])
    schedule = model["scheduler"]["init_args"]
    assert data["batch_size"] == planned["batch_size"]
    assert model["optimizer"]["init_args"] == planned["optimizer"]
    assert schedule == {name: planned["schedule"][name] for name in ("steps", "warmup", "decay")}
    assert config["trainer"]["max_epochs"] == math.ceil(schedule["steps"] / per_epoch)
    assert config["early_stopping"]["patience"] == math.ceil(defaults(recipe.train)["patience"] / per_epoch)


# The counts of health care are of persons in several years, some of whom have the same features in each.
@pytest.mark.filterwarnings("ignore::disthead.training.split.RepeatedRowsWarning")
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_fit_test_predict(config, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=8", "--trainer.limit_val_batches=2"]
    assert main(["fit", "--config", str(config), *QUIET, *short]) == 0
    best = str(next(tmp_path.rglob("best.ckpt")))
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        assert {"train/nll", "val/nll", "val/nll_marginal"} <= set(next(csv.reader(file)))
    capsys.readouterr()
    assert main(["test", "--ckpt_path", best, *QUIET, "--trainer.limit_test_batches=2"]) == 0
    assert "test/nll_marginal" in capsys.readouterr().out
    assert main(["predict", "--ckpt_path", best, "--out=p.parquet", *QUIET, "--trainer.limit_predict_batches=2"]) == 0
    frame = pd.read_parquet("p.parquet")
    assert EXPECTED.get(config.stem, "lower_90") in frame.columns
    assert frame.notna().all(axis=None)
