"""Checkpoints and folders that version 0.1 wrote go on loading, and predict the numbers that they
predicted then.

`tests/data` was written by 0.1, before estimators and tables had one encoding of columns.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from disthead import DistributionClassifier, DistributionRegressor
from disthead.cli import main
from disthead.data.columns import Columns
from disthead.training import DistributionModule, TabularDataModule
from disthead.training.predictor import Predictor

DATA = Path(__file__).parents[1] / "data"
CHECKPOINT = DATA / "module_of_version_0_1.checkpoint"


def expected(name: str) -> np.ndarray:
    return np.array(json.loads((DATA / name).read_text()))


def test_a_folder_of_a_regressor():
    model = DistributionRegressor.load(DATA / "regressor_of_version_0_1")
    rows = pd.read_csv(DATA / "table_with_missing_values.csv").drop(columns="y")
    np.testing.assert_allclose(
        model.predict(rows), expected("regressor_of_version_0_1/expected.json"), rtol=1e-5
    )
    with pytest.warns(UserWarning, match="1 rows with 'Paris', which set no indicator"):
        assert np.isfinite(model.predict(rows[:1].assign(city="Paris"))).all()


def test_a_folder_of_a_classifier():
    model = DistributionClassifier.load(DATA / "classifier_of_version_0_1")
    rows = pd.read_csv(DATA / "table_with_missing_values.csv").drop(columns="y")
    np.testing.assert_allclose(
        model.predict_proba(rows)[:, 0],
        expected("classifier_of_version_0_1/expected.json"),
        rtol=1e-5,
    )


def test_folders_of_format_2():
    """Before the estimators and the command line had one model: the same numbers, to rounding."""
    rows = pd.read_csv(DATA / "table_with_missing_values.csv").drop(columns="y")[:8]
    regressor = DistributionRegressor.load(DATA / "regressor_of_format_2")
    np.testing.assert_allclose(
        regressor.predict_quantiles(rows, [0.1, 0.5, 0.9]),
        expected("regressor_of_format_2/expected.json"),
        rtol=1e-12,
    )
    classifier = DistributionClassifier.load(DATA / "classifier_of_format_2")
    np.testing.assert_allclose(
        classifier.predict_proba(rows),
        expected("classifier_of_format_2/expected.json"),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    "name",
    [
        "regressor_of_version_0_1",
        "regressor_of_format_2",
        "ensemble_regressor_of_version_0_1",
        "classifier_of_version_0_1",
        "classifier_of_format_2",
    ],
)
def test_former_folders_open_in_lightning_and_the_command_line(name, tmp_path):
    """They have no baseline, and predict there what they predict as estimators."""
    kind = DistributionClassifier if "classifier" in name else DistributionRegressor
    estimator = kind.load(DATA / name)
    module = DistributionModule.load_from_checkpoint(DATA / name).eval()
    assert not module.has_baseline
    table = tmp_path / "table.csv"
    rows = pd.read_csv(DATA / "table.csv").drop(columns="y")[:8]
    features = list(Columns.from_state(module.columns).features)
    if not estimator.encoder_.named:
        rows = rows.select_dtypes("number").iloc[:, : len(features)]
    rows.set_axis(features, axis=1).to_csv(table, index=False)
    X = rows if estimator.encoder_.named else rows.to_numpy()
    dist = estimator.predict_dist(X)
    encoded = Columns.from_state(module.columns).encode_exactly(
        pd.read_csv(table), needs_target=False
    )
    with torch.no_grad():
        torch.testing.assert_close(module.predictive(encoded.features).mode, dist.mode)
    out = tmp_path / "out.csv"
    assert not main(
        ["predict", "--ckpt", str(DATA / name), "--data.path", str(table), "--out", str(out)]
    )
    assert len(pd.read_csv(out)) == len(rows)


def test_a_checkpoint():
    module = DistributionModule.load_from_checkpoint(CHECKPOINT).eval()
    data = TabularDataModule(DATA / "table.csv", target="y")
    data.columns = Columns.from_state(module.columns)
    with torch.no_grad():
        means = module.predictive(data.part("predict").features).mean
    np.testing.assert_allclose(means.numpy(), expected("module_of_version_0_1.json"), rtol=1e-5)


def test_a_checkpoint_refuses_the_missing_numbers_that_nothing_stands_for():
    """It has no median of its training rows; texts that it has not seen set no indicator, as they
    do in new ones.
    """
    rows = pd.read_csv(DATA / "table.csv").drop(columns="y")
    predict = Predictor(CHECKPOINT)
    with pytest.raises(ValueError, match=r"column 'age' has 1 missing .* row 2"):
        predict(rows.assign(age=rows["age"].where(rows.index != 2)))
    with pytest.warns(UserWarning, match="column 'city': 60 rows with 'Paris'"):
        assert np.isfinite(predict(rows.assign(city="Paris"))["mean"]).all()


@pytest.mark.filterwarnings(
    "ignore:values are missing", "ignore:training has not seen", "ignore:the model is no better"
)
def test_a_recalibrated_ensemble_predicts_the_same_table(tmp_path, monkeypatch):
    """Its backbone and its scheduler are named by the modules in which they were."""
    monkeypatch.chdir(tmp_path)
    table = DATA / "table_with_missing_values.csv"
    command = [
        "predict",
        "--ckpt",
        str(DATA / "ensemble_of_version_0_1.checkpoint"),
        "--data.path",
        str(table),
    ]
    assert (
        main([*command, "--out", "predictions.csv", "--trainer.enable_progress_bar", "false"]) == 0
    )
    found, known = pd.read_csv("predictions.csv"), pd.read_csv(DATA / "ensemble_of_version_0_1.csv")
    pd.testing.assert_frame_equal(found, known, check_dtype=False, rtol=1e-5)


@pytest.mark.filterwarnings(
    "ignore:values are missing", "ignore:training has not seen", "ignore:the model is no better"
)
def test_a_configuration_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(DATA / "table_with_missing_values.csv", "t.csv")
    command = [
        "fit",
        "--config",
        str(DATA / "ensemble_of_version_0_1.yaml"),
        "--trainer.max_epochs",
        "1",
    ]
    assert main([*command, "--trainer.enable_progress_bar", "false"]) == 0
    assert list(tmp_path.rglob("best.ckpt"))


def test_a_folder_of_an_ensemble():
    folder = DATA / "ensemble_regressor_of_version_0_1"
    model = DistributionRegressor.load(folder)
    rows = pd.read_csv(DATA / "table_with_missing_values.csv").drop(columns="y")
    found = np.array([model.predict(rows), *model.predict_interval(rows, 0.9)])
    np.testing.assert_allclose(
        found, np.array(json.loads((folder / "expected.json").read_text())), rtol=1e-5
    )
