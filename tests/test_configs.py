"""Every configuration runs end to end: fit, test and predict."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from disthead.cli import main

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
