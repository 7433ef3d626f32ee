"""One predictive model: what an estimator saved opens in Lightning and the command line, and what
Lightning trained opens as an estimator, with the same predictions.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from disthead import DistributionClassifier, DistributionRegressor
from disthead.calibration import ScaleCalibration
from disthead.cli import main
from disthead.data.columns import Columns
from disthead.networks.predictive_model import PredictiveModel
from disthead.recipe import fit_tabular
from disthead.training import DistributionModule, TabularDataModule
from disthead.training.checkpoints import evaluate_checkpoint, recalibrate_checkpoint
from disthead.training.predictor import Predictor

SMALL = {"hidden_sizes": (8,), "max_steps": 30, "random_state": 0}


def table(rows: int = 80) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    data = pd.DataFrame(
        {"size": generator.normal(size=rows), "city": generator.choice(["Århus", "Rome"], rows)}
    )
    data["y"] = 1e4 + 300 * data["size"] + 100 * generator.normal(size=rows)
    data["label"] = np.where(data["size"] + generator.normal(size=rows) > 0, "big", "small")
    data.loc[1, "size"] = np.nan
    return data


FEATURES = ["size", "city"]
REGRESSORS = [
    ("student_t", {}, lambda y: y),
    ("normal", {"ensemble": 3}, lambda y: y),
    ("mixture", {"family_options": {"num_components": 2}}, lambda y: y),
    ("gamma", {}, lambda y: y),
    ("poisson", {"ensemble": 2}, lambda y: (y / 1000).round()),
    ("multivariate_normal", {}, lambda y: pd.DataFrame({"y": y, "z": y**2 / 1e4})),
    ("laplace", {}, lambda y: pd.DataFrame({"y": y, "z": y**2 / 1e4})),
]


@pytest.mark.parametrize("family, options, target", REGRESSORS)
def test_a_folder_opens_as_a_module(tmp_path, family, options, target):
    data = table()
    y = target(data["y"])
    model = DistributionRegressor(family, **SMALL | options).fit(data[FEATURES], y)
    folder = model.save(tmp_path / "model")
    module = DistributionModule.load_from_checkpoint(folder).eval()
    columns = Columns.from_state(module.columns)
    rows = columns.encode_exactly(data[FEATURES], needs_target=False).features
    with torch.no_grad():
        dist = module.predictive(rows)
    y = torch.from_numpy(y.to_numpy(np.float64, copy=True))
    expected = model.predict_dist(data[FEATURES]).log_prob(y)
    torch.testing.assert_close(dist.log_prob(y), expected, rtol=1e-9, atol=1e-9)
    assert module.has_baseline
    assert columns.target == (["y"] if y.ndim == 1 else ["y", "z"])


def test_the_command_line_takes_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = table().fillna(0.0)
    data.to_csv("table.csv", index=False)
    model = DistributionRegressor(**SMALL).fit(data[FEATURES], data["y"])
    model.save("model")
    main(["predict", "--ckpt", "model", "--data.path", "table.csv", "--out", "predictions.csv"])
    predicted = pd.read_csv("predictions.csv")
    np.testing.assert_allclose(predicted["mean"], model.predict(data[FEATURES]), rtol=1e-6)
    data.to_parquet("table.parquet")
    for _ in range(2):  # the second call finds that the parts are of the same model
        arguments = ["--ckpt", "model", "--data.path", "table.parquet", "--out", "parts/"]
        assert not main(["predict", *arguments])
    (part,) = Path("parts").glob("*.parquet")
    np.testing.assert_allclose(pd.read_parquet(part)["mean"], predicted["mean"], rtol=1e-9)
    capsys.readouterr()
    main(["test", "--ckpt", "model", "--data.path", "table.csv"])
    printed = capsys.readouterr().out
    assert "test/nll_marginal" in printed
    nll = float(printed.partition("test/nll ")[2].split()[0])
    assert nll == pytest.approx(-model.score(data[FEATURES], data["y"]), rel=1e-5)
    main(["recalibrate", "--ckpt", "model", "--data.path", "table.csv", "--out", "again.ckpt"])
    assert main(["fit", "--ckpt", "model", "--data.path", "table.csv", "--data.target", "y"])
    assert "holds the model alone" in capsys.readouterr().err


@pytest.mark.parametrize("is_streamed", [False, True])
def test_targets_of_a_model_in_double_precision_are_not_rounded(tmp_path, trainer, is_streamed):
    """Single precision knows numbers of 1e9 to 64; a score of rounded targets would be wrong."""
    data = table().fillna(0.0)
    data["y"] = 1e9 + data["size"]
    model = DistributionRegressor("normal", **SMALL).fit(data[FEATURES], data["y"])
    model.save(tmp_path / "model")
    rows = tmp_path / ("rows" if is_streamed else "rows.parquet")
    if is_streamed:
        rows.mkdir()
    data.to_parquet(rows / "0.parquet" if is_streamed else rows)
    module = DistributionModule.load_from_checkpoint(tmp_path / "model")
    part = TabularDataModule.load_from_checkpoint(tmp_path / "model", test_path=str(rows))
    (scores,) = trainer().test(module, part, verbose=False)
    score = model.score(data[FEATURES], data["y"])
    assert scores["test/nll"] == pytest.approx(-score, rel=1e-6)
    if is_streamed:
        return
    again = tmp_path / "again.ckpt"
    recalibrate_checkpoint(str(tmp_path / "model"), str(again), path=str(rows))
    recalibrated = DistributionRegressor.load(again)
    np.testing.assert_allclose(
        recalibrated.predict(data[FEATURES]), model.predict(data[FEATURES]), rtol=1e-14
    )
    assert recalibrated.score(data[FEATURES], data["y"]) >= score - 1e-9
    report = evaluate_checkpoint(str(again), path=str(rows))
    nll = -recalibrated.score(data[FEATURES], data["y"])
    assert report.scores[""]["Negative log-likelihood"].value == pytest.approx(nll, rel=1e-6)


@pytest.mark.parametrize("column, classes", [("label", ["big", "small"]), ("code", [3, 7])])
def test_the_command_line_takes_a_folder_of_a_classifier(tmp_path, monkeypatch, column, classes):
    monkeypatch.chdir(tmp_path)
    data = table()
    data["code"] = np.where(data["label"] == "big", 3, 7)
    data.to_csv("table.csv", index=False)
    model = DistributionClassifier(**SMALL).fit(data[FEATURES], data[column])
    model.save("model")
    main(["predict", "--ckpt", "model", "--data.path", "table.csv", "--out", "predictions.csv"])
    predicted = pd.read_csv("predictions.csv")
    expected = model.predict_proba(data[FEATURES])
    for position, name in enumerate(classes):
        np.testing.assert_allclose(
            predicted[f"probability_{name}"], expected[:, position], rtol=1e-5
        )
    module = DistributionModule.load_from_checkpoint("model").eval()
    part = Columns.from_state(module.columns).encode_exactly(data)
    nll = -module.predictive(part.features).log_prob(part.y).mean()
    assert nll.item() == pytest.approx(-model.score(data[FEATURES], data[column]), rel=1e-9)


@pytest.mark.parametrize("ensemble", [1, 3])
def test_a_checkpoint_opens_as_an_estimator(tmp_path, trainer, ensemble):
    data = table().fillna(0.0)
    table_data = TabularDataModule(data, target="y", features=FEATURES)
    module = DistributionModule("student_t", hidden_sizes=[8], ensemble=ensemble)
    fitting = trainer()
    fitting.fit(module, datamodule=table_data)
    part = table_data.part("val")
    module.recalibrate(ScaleCalibration(), part.features, part.y)
    fitting.save_checkpoint(tmp_path / "model.ckpt")
    predictor = Predictor(tmp_path / "model.ckpt")
    model = DistributionRegressor.load(tmp_path / "model.ckpt")
    expected = predictor(data)["mean"]
    np.testing.assert_allclose(model.predict(data[FEATURES]), expected, rtol=1e-6)
    again = DistributionRegressor.load(model.save(tmp_path / "folder"))
    assert np.array_equal(again.predict(data[FEATURES]), model.predict(data[FEATURES]))
    folder = Predictor(tmp_path / "folder")
    np.testing.assert_allclose(folder(data)["mean"], expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"student_t: use DistributionRegressor\.load"):
        DistributionClassifier.load(tmp_path / "model.ckpt")


def test_a_checkpoint_of_classes_opens_as_a_classifier(tmp_path, trainer):
    data = table().fillna(0.0)
    module = DistributionModule("categorical", hidden_sizes=[8])
    fitting = trainer()
    fitting.fit(module, datamodule=TabularDataModule(data, target="label", features=FEATURES))
    fitting.save_checkpoint(tmp_path / "model.ckpt")
    model = DistributionClassifier.load(tmp_path / "model.ckpt")
    assert model.classes_.tolist() == ["big", "small"]
    assert set(model.predict(data[FEATURES])) <= {"big", "small"}
    expected = Predictor(tmp_path / "model.ckpt")(data)
    np.testing.assert_allclose(
        model.predict_proba(data[FEATURES])[:, 0], expected["probability_big"], rtol=1e-5
    )


@pytest.mark.parametrize(
    "labels, classes, family",
    [
        (
            pd.Categorical(["low", "mid", "high"], ["low", "mid", "high"]),
            ["low", "mid", "high"],
            "",
        ),
        (pd.Categorical([1, 2, 10]), [1, 2, 10], ""),
        (pd.Categorical(["9", "10", "11"]), [9, 10, 11], ""),
        (pd.Categorical(["01", "02", "10"]), ["01", "02", "10"], ""),
        (np.array([False, True]), [False, True], ""),
        (np.array([False, True]), [False, True], "bernoulli"),
    ],
)
def test_classes_of_a_checkpoint_are_those_of_its_table(tmp_path, trainer, labels, classes, family):
    """In whatever order the network has them, and with the values that the table has."""
    data = table().fillna(0.0)[FEATURES]
    data["kind"] = labels[np.arange(80) % len(classes)]
    module = DistributionModule(family or "categorical", hidden_sizes=[8])
    fitting = trainer()
    rows = TabularDataModule(data, target="kind", features=FEATURES)
    fitting.fit(module, datamodule=rows)
    fitting.save_checkpoint(tmp_path / "model.ckpt")
    model = DistributionClassifier.load(tmp_path / "model.ckpt")
    assert sorted(map(str, model.classes_.tolist())) == sorted(map(str, classes))
    assert {type(value) for value in model.classes_.tolist()} == {type(classes[0])}
    encoded = Columns.from_state(module.columns).encode(data)
    with torch.no_grad():
        expected = module.eval().predictive(encoded.features).log_prob(encoded.y).mean().item()
    assert model.score(data[FEATURES], data["kind"]) == pytest.approx(expected, rel=1e-5)
    again = DistributionClassifier.load(model.save(tmp_path / "folder"))
    assert again.classes_.tolist() == model.classes_.tolist()
    assert again.score(data[FEATURES], data["kind"]) == model.score(data[FEATURES], data["kind"])


def test_a_checkpoint_of_several_targets_of_classes_is_refused(tmp_path, trainer):
    data = table().fillna(0.0).assign(other=np.where(np.arange(80) % 3, "A", "B"))
    fitting = trainer()
    module = DistributionModule("categorical", hidden_sizes=[8])
    rows = TabularDataModule(data, target=["label", "other"], features=FEATURES)
    fitting.fit(module, datamodule=rows)
    fitting.save_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match="several targets of classes, label, other"):
        DistributionClassifier.load(tmp_path / "model.ckpt")


def test_a_checkpoint_of_known_quantities_takes_them_as_columns(tmp_path, trainer):
    data = table().fillna(0.0).assign(months=2.0, count=np.arange(80) % 4)
    module = DistributionModule("poisson", hidden_sizes=[8])
    fitting = trainer()
    known = {"exposure": "months"}
    fitting.fit(
        module,
        datamodule=TabularDataModule(data, target="count", features=FEATURES, known=known),
    )
    fitting.save_checkpoint(tmp_path / "model.ckpt")
    model = DistributionRegressor.load(tmp_path / "model.ckpt")
    assert model.row_constants == known
    X = data[[*FEATURES, "months"]]
    twice = model.predict_dist(X.assign(months=4.0)).mean
    torch.testing.assert_close(twice, 2 * model.predict_dist(X).mean)


def test_a_stranger_s_folder_runs_no_code(tmp_path):
    """The backbone of a folder is trusted as that of a checkpoint is: not unless it is named."""
    from disthead.networks.model_folder import read_folder, write_folder

    data = table()
    model = DistributionRegressor(**SMALL).fit(data[FEATURES], data["y"])
    config, tensors, _ = read_folder(model.save(tmp_path / "model"))
    config["model"]["backbone"] = {"class_path": "antigravity.Fly", "init_args": {}}
    config = {name: value for name, value in config.items() if not name.endswith("sha256")}
    write_folder(tmp_path / "strange", config, tensors)
    for open_ in (DistributionRegressor.load, DistributionModule.load_from_checkpoint):
        with pytest.raises(ValueError, match=r"antigravity.*trust"):
            open_(tmp_path / "strange")


def test_a_backbone_that_was_an_object_stays_with_lightning(tmp_path, trainer):
    fitting = trainer()
    module = DistributionModule(backbone=torch.nn.Linear(1, 4))
    data = table().fillna(0.0)
    fitting.fit(module, datamodule=TabularDataModule(data, target="y", features=["size"]))
    fitting.save_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=r"load_from_checkpoint\(path, backbone=\.\.\.\)"):
        DistributionRegressor.load(tmp_path / "model.ckpt")


def test_questions_that_a_model_cannot_answer_say_why():
    model = PredictiveModel()
    for ask in (lambda: model.target_loc, lambda: model(torch.zeros(1, 2)), model.add_baseline):
        with pytest.raises(RuntimeError, match="does not know its inputs yet"):
            ask()
    assert not model.has_min_scale
    model = DistributionModule("normal", in_features=2)
    with pytest.raises(RuntimeError, match="needs the unconditional model"):
        model.marginal(3)
    with pytest.raises(ValueError, match="got a single network"):
        model.only(0)
    trained, _ = fit_tabular(torch.randn(40, 2), torch.randn(40), max_steps=5)
    assert trained.has_min_scale
    assert trained.can_standardise_target
