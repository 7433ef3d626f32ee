"""Quantities of each row, such as exposures and trials, as columns of X in estimators."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import disthead as dh
from disthead.cli import main
from disthead.errors import TargetError

SMALL = {"hidden_sizes": (8,), "max_steps": 100, "random_state": 0}
ROWS = 300


@pytest.fixture(scope="module")
def claims() -> tuple[pd.DataFrame, np.ndarray]:
    """A feature and months, and counts in proportion to the months."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=ROWS), "months": rng.uniform(1, 24, ROWS)})
    return table, rng.poisson(table.months * np.exp(0.5 * table.x - 1))


@pytest.fixture(scope="module")
def fitted(claims) -> dh.DistributionRegressor:
    model = dh.DistributionRegressor("poisson", row_constants={"exposure": "months"}, **SMALL)
    return model.fit(*claims)


def test_the_mean_is_in_proportion_to_the_exposure(fitted, claims):
    X, y = claims
    once, twice = fitted.predict(X), fitted.predict(X.assign(months=2 * X.months))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)
    rate = np.exp(0.5 * X.x - 1)
    assert np.corrcoef(once / X.months, rate)[0, 1] > 0.97
    assert fitted.n_features_in_ == 2
    assert list(fitted.feature_names_in_) == ["x", "months"]
    expected = torch.distributions.Poisson(torch.tensor(once)).log_prob(torch.tensor(y)).mean()
    assert fitted.score(X, y) == pytest.approx(float(expected))


def test_an_exposure_of_one_changes_nothing(claims):
    X, y = claims
    plain = dh.DistributionRegressor("poisson", **SMALL).fit(X[["x"]], y)
    named = dh.DistributionRegressor("poisson", row_constants={"exposure": "months"}, **SMALL)
    ones = X.assign(months=1.0)
    np.testing.assert_allclose(named.fit(ones, y).predict(ones), plain.predict(X[["x"]]), rtol=1e-4)


def test_offset_is_the_logarithm_of_the_exposure(fitted, claims):
    X, y = claims
    model = clone(fitted).set_params(row_constants={"offset": "months"})
    logs = X.assign(months=np.log(X.months))
    np.testing.assert_allclose(model.fit(logs, y).predict(logs), fitted.predict(X), rtol=1e-3)


def test_trials_of_arrays_are_a_column_by_its_number(claims):
    rng = np.random.default_rng(1)
    x, trials = rng.normal(size=ROWS), rng.integers(1, 30, ROWS)
    X = np.stack([trials, x], -1)
    y = rng.binomial(trials, 1 / (1 + np.exp(-x)))
    for ensemble in (1, 2):
        model = dh.DistributionRegressor(
            "binomial", row_constants={"total_count": 0}, ensemble=ensemble, **SMALL
        )
        dist = model.fit(X, y).predict_dist(X)
        assert (dist.icdf(torch.tensor(0.999, dtype=torch.float64)).numpy() <= trials).all()
        share = model.predict(X) / trials
        assert np.corrcoef(share, 1 / (1 + np.exp(-x)))[0, 1] > 0.97
    y[7] = trials[7] + 1
    with pytest.raises(TargetError, match="row 7"):
        model.fit(X, y)


def test_bounds_of_rows_hold(claims):
    rng = np.random.default_rng(2)
    lower = rng.uniform(-1, 0, ROWS)
    x = rng.normal(size=ROWS)
    y = np.maximum(lower, 0) + np.abs(rng.normal(size=ROWS)) + 0.1 * x**2
    model = dh.DistributionRegressor(
        "truncated", {"base": "normal"}, row_constants={"lower": "lower"}, **SMALL
    )
    X = pd.DataFrame({"x": x, "lower": lower})
    assert (model.fit(X, y).predict_quantiles(X, 1e-6) >= lower - 1e-9).all()


def test_rows_of_weight_zero_are_not_there(claims):
    X, y = claims
    weight = (np.arange(ROWS) % 4 > 0).astype(float)
    model = dh.DistributionRegressor("poisson", row_constants={"exposure": "months"}, **SMALL)
    by_weight = model.fit(X, y, sample_weight=weight).predict(X)
    spoiled = X.assign(months=np.where(weight > 0, X.months, -1.0))
    again = model.fit(spoiled, y, sample_weight=weight).predict(X)
    np.testing.assert_array_equal(again, by_weight)


def test_cross_validation_and_pipelines_take_the_column_along(fitted, claims):
    X, y = claims
    scores = cross_val_score(clone(fitted), X, y, cv=2)
    assert np.isfinite(scores).all()
    pipeline = make_pipeline(FunctionTransformer(lambda table: table), clone(fitted))
    np.testing.assert_allclose(pipeline.fit(X, y).predict(X), fitted.predict(X), rtol=1e-6)


def test_folders_keep_the_column_and_the_command_line_takes_it(
    fitted, claims, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    X, _ = claims
    fitted.save("model")
    loaded = dh.DistributionRegressor.load("model")
    assert loaded.row_constants == {"exposure": "months"}
    assert (loaded.n_features_in_, list(loaded.feature_names_in_)) == (2, ["x", "months"])
    np.testing.assert_allclose(loaded.predict(X), fitted.predict(X))
    X.to_csv("new.csv", index=False)
    command = ["predict", "--ckpt", "model", "--data.path=new.csv", "--out=p.csv"]
    assert main([*command, "--trainer.enable_progress_bar=false"]) == 0, capsys.readouterr().err
    np.testing.assert_allclose(pd.read_csv("p.csv")["mean"], fitted.predict(X), rtol=1e-5)


def test_checkpoints_with_row_constants_are_loaded(claims, tmp_path):
    from lightning import Trainer

    from disthead.training import DistributionModule, TabularDataModule

    X, y = claims
    data = TabularDataModule(X.assign(y=y), target="y", known={"exposure": "months"})
    module = DistributionModule("poisson", hidden_sizes=[8])
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    model = dh.DistributionRegressor.load(tmp_path / "last.ckpt")
    assert model.row_constants == {"exposure": "months"}
    once, twice = model.predict(X), model.predict(X.assign(months=2 * X.months))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)


@pytest.mark.parametrize(
    "constants, change, words",
    [
        ({"exposure": "years"}, {}, r"exposure is the column 'years' of X, which has the columns"),
        ({"exposures": "months"}, {}, "poisson cannot take 'exposures' for each row: it takes"),
        ({"exposure": "months"}, {"months": -1.0}, r"column 'months'.* positive.*row 3"),
        ({"exposure": "months"}, {"months": np.nan}, "months.*row 3"),
        ("months", {}, "row_constants must be a mapping"),
    ],
)
def test_errors_name_the_column(claims, constants, change, words):
    X, y = claims
    X = X.copy()
    for name, value in change.items():
        X.loc[3, name] = value
    model = dh.DistributionRegressor("poisson", row_constants=constants, **SMALL)
    with pytest.raises(ValueError, match=words):
        model.fit(X, y)


def test_predictions_need_the_column_too(fitted, claims):
    X, y = claims
    with pytest.raises(ValueError, match="exposure is the column 'months' of X"):
        fitted.predict(X[["x"]])
    with pytest.raises(ValueError, match=r"column 'months'.*positive.*row 2"):
        fitted.predict(X.assign(months=np.where(np.arange(ROWS) == 2, 0.0, X.months)))
    with pytest.raises(ValueError, match="columns to learn from"):
        dh.DistributionRegressor("poisson", row_constants={"exposure": "months"}).fit(
            X[["months"]], y
        )
