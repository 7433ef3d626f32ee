"""Every configuration runs end to end: fit, test and predict."""

import csv
import inspect
import math
from pathlib import Path
from types import SimpleNamespace

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch.utils.data import DataLoader, TensorDataset

from disthead import DistributionRegressor, recipe
from disthead.cli import main
from disthead.networks.schedule import PATIENCE, WarmupConstantDecay
from disthead.networks.tabular import TabularBackbone
from disthead.training import DistributionModule, TabularDataModule, commands
from disthead.training.callbacks import EarlyStopping

CONFIGS = sorted(Path(__file__).parents[1].joinpath("configs").glob("*.yaml"))
QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
TASKS = (
    "regression robust multimodal magnitudes proportions multivariate direction binary "
    "classes counts ranking"
)
EXPECTED = {
    "binary": "probability_malignant",
    "classes": "probability_class_2",
    "ranking": "mode_first",
    "multivariate": "mean_petal length (cm)",
}


def test_there_is_one_for_each_task():
    assert {path.stem for path in CONFIGS} == set(TASKS.split())


def defaults(function) -> dict:
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
    }


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


@pytest.mark.parametrize("rows", [267, 5000, 30_000])
def test_regression_is_the_estimators_recipe_planned_for_the_rows(rows, tmp_path, monkeypatch):
    """What its configuration leaves open becomes, before training, what `fit_tabular` takes for so
    many rows.
    """
    x = np.random.default_rng(0).normal(size=rows)
    part = np.where(np.arange(rows) < rows - 9, "train", "val")
    pd.DataFrame({"x": x, "target": x, "part": part}).to_parquet(tmp_path / "table.parquet")
    found = []
    monkeypatch.setattr(commands._CLI, "fit", lambda cli, **options: found.append(cli))
    assert (
        main(
            ["fit", f"--data.path={tmp_path / 'table.parquet'}", "--data.split_column=part", *QUIET]
        )
        == 0
    )
    [cli] = found
    config, planned = cli.config.fit, plan(rows - 9, monkeypatch)
    model, estimator, network = (
        config.model,
        defaults(DistributionRegressor),
        defaults(TabularBackbone),
    )
    backbone = model.backbone["init_args"]
    assert model.family == estimator["family"]
    assert model.ensemble == estimator["ensemble"]
    assert tuple(backbone["hidden_sizes"]) == estimator["hidden_sizes"] == network["hidden_sizes"]
    assert (backbone["activation"], backbone["bins"]) == (network["activation"], network["bins"])
    assert model.min_scale == defaults(recipe.fit_tabular)["min_scale"]
    [average] = config.trainer.callbacks
    assert average.init_args.decay == defaults(recipe.train)["average_decay"]
    schedule = model.scheduler["init_args"]
    assert config.data.batch_size == cli.datamodule.batch_size == planned["batch_size"]
    assert model.optimizer["init_args"] == planned["optimizer"]
    assert schedule == {name: planned["schedule"][name] for name in ("steps", "warmup", "decay")}
    assert config.trainer.max_epochs == math.ceil(
        schedule["steps"] / math.ceil((rows - 9) / planned["batch_size"])
    )
    assert config.early_stopping.patience is None
    assert defaults(recipe.train)["patience"] == PATIENCE


@pytest.mark.parametrize(
    "options, steps, epochs",
    [
        (["--trainer.max_epochs=5"], 5 * 9, 5),
        (["--trainer.max_steps=100"], 100, -1),
        (["--trainer.max_steps=100", "--trainer.max_epochs=2"], 18, 2),
        (["--data.batch_size=267"], 2400, 2400),
        (["--trainer.limit_train_batches=3"], 2400, 800),
        (["--trainer.accumulate_grad_batches=9"], 2400, 2400),
        (["--model.scheduler.init_args.steps=7"], 7, 267),
    ],
)
def test_the_learning_rate_is_planned_for_the_steps_there_are(options, steps, epochs, monkeypatch):
    """267 rows are 9 batches of at most 32."""
    found = []
    monkeypatch.setattr(commands._CLI, "fit", lambda cli, **options: found.append(cli.config.fit))
    assert main(["fit", "--data.dataset=sklearn.diabetes", *QUIET, *options]) == 0
    assert found[0].model.scheduler["init_args"]["steps"] == steps
    assert found[0].trainer.max_epochs == epochs


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_python_plans_what_a_configuration_leaves_open_too():
    """267 rows in 9 batches: two epochs are 18 steps."""
    options = yaml.safe_load((CONFIGS[0].parent / "regression.yaml").read_text())
    module, data = DistributionModule(**options["model"]), TabularDataModule(**options["data"])
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet)
    trainer.fit(module, data)
    [scheduler] = trainer.lr_scheduler_configs
    assert (scheduler.scheduler.steps, scheduler.scheduler.warmup) == (18, 3)
    assert trainer.optimizers[0].defaults["lr"] == 0.005
    loader = DataLoader(TensorDataset(torch.randn(40, 1), torch.randn(40)), batch_size=10)
    module = DistributionModule(**options["model"], in_features=1)
    with pytest.raises(ValueError, match="lr=None is planned for the rows of a TabularDataModule"):
        lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(module, loader, loader)


def test_training_waits_as_many_steps_as_the_best_took_and_at_least_so_many():
    """Validated every 100 steps, with the best at step 300, or at step 2000."""
    for best, end in ((300, 300 + PATIENCE), (2000, 4000)):
        stopping = EarlyStopping("val/nll")
        trainer = SimpleNamespace(fast_dev_run=False, should_stop=False, current_epoch=0)
        trainer.strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
        for step in range(100, 10_000, 100):
            trainer.global_step, trainer.callback_metrics = (
                step,
                {"val/nll": torch.tensor(abs(step - best) / 100)},
            )
            stopping._run_early_stopping_check(trainer)
            if trainer.should_stop:
                break
        assert step == end


def test_a_patience_that_is_given_counts_validations_and_outlives_a_checkpoint():
    stopping = EarlyStopping(patience=3)
    stopping.load_state_dict(EarlyStopping(patience=9).state_dict())
    assert stopping.patience == 3
    assert not stopping.counts_steps


# The counts of health care are of persons in several years, some of whom have the same features in
# each.
@pytest.mark.filterwarnings("ignore::disthead.data.split.RepeatedRowsWarning")
# randhie has persons without a number
@pytest.mark.filterwarnings("ignore::disthead.data.split.RepeatedRowsWarning")
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_fit_test_predict(config, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = [
        "--trainer.max_epochs=2",
        "--trainer.limit_train_batches=8",
        "--trainer.limit_val_batches=2",
    ]
    assert main(["fit", "--config", str(config), *QUIET, *short]) == 0
    best = str(next(tmp_path.rglob("best.ckpt")))
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        assert {"train/nll", "val/nll", "val/nll_marginal"} <= set(next(csv.reader(file)))
    capsys.readouterr()
    assert main(["test", "--ckpt_path", best, *QUIET, "--trainer.limit_test_batches=2"]) == 0
    assert "test/nll_marginal" in capsys.readouterr().out
    assert main(["predict", "--ckpt_path", best, "--out=p.parquet", *QUIET]) == 0
    frame = pd.read_parquet("p.parquet")
    assert EXPECTED.get(config.stem, "lower_90") in frame.columns
    assert frame.notna().all(axis=None)
