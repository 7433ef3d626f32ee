"""Censored targets of tables: a time and an event, or both ends of an interval; from the command
line, from Parquet files and in estimators.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import disthead as dh
from disthead.cli import main
from disthead.errors import TargetError
from disthead.training import DataError, DistributionModule, TabularDataModule

INF = math.inf
OPTIONS = {"family_options": {"base": "weibull"}, "hidden_sizes": [8]}
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.fixture
def lifetimes() -> pd.DataFrame:
    """120 rows with a feature, times and whether they were observed."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=120)
    time, limit = np.exp(0.5 * x) * rng.weibull(1.5, 120), rng.exponential(2.0, 120)
    died = time <= limit
    return pd.DataFrame({"x": x, "time": np.minimum(time, limit), "died": died.astype(int)})


def with_ends(lifetimes: pd.DataFrame, unbounded: float) -> pd.DataFrame:
    upper = np.where(lifetimes.died == 1, lifetimes.time, unbounded)
    return pd.DataFrame({"x": lifetimes.x, "lower": lifetimes.time, "upper": upper})


def pairs_of(lifetimes: pd.DataFrame) -> np.ndarray:
    return with_ends(lifetimes, INF)[["lower", "upper"]].to_numpy(copy=True)


def of_module(frame, trainer, part: str = "train", **data_options) -> torch.Tensor:
    """The targets of a data module that a module of censored targets trains on."""
    data = TabularDataModule(frame, val_size=0, test_size=0, **data_options)
    module = DistributionModule("censored", **OPTIONS)
    trainer(1).fit(module, datamodule=data)
    assert module.head.event_shape == ()
    return data.part(part).y


def test_times_with_events_and_ends_are_the_same_pairs(lifetimes, trainer):
    expected = torch.from_numpy(pairs_of(lifetimes)).float()
    by_event = of_module(lifetimes, trainer, target="time", event="died")
    assert torch.equal(by_event, expected)
    truths = lifetimes.assign(died=lifetimes.died == 1)
    assert torch.equal(of_module(truths, trainer, target="time", event="died"), expected)
    for unbounded in (math.nan, INF):
        ends = with_ends(lifetimes, unbounded)
        assert torch.equal(of_module(ends, trainer, target=["lower", "upper"]), expected)
    left = with_ends(lifetimes, INF).assign(lower=math.nan, upper=lifetimes.time)
    left.loc[0, "lower"] = left.upper[0]
    y = of_module(left, trainer, target=["lower", "upper"])
    assert y[1:, 0].eq(-INF).all()
    assert y[0, 0] == y[0, 1]


def test_the_first_loss_is_that_of_the_fit_without_features(lifetimes, trainer):
    data = TabularDataModule(lifetimes, target="time", event="died", val_size=0, test_size=0)
    module = DistributionModule("censored", **OPTIONS)
    trainer(1).fit(module, datamodule=data)
    baseline = module.marginal(120)
    fitted = dh.marginal("censored", pairs_of(lifetimes), base="weibull")
    torch.testing.assert_close(baseline.scale[0], fitted.scale, rtol=1e-3, atol=0)
    (scores,) = trainer(1).validate(
        module, datamodule=TabularDataModule(lifetimes, target="time", event="died"), verbose=False
    )
    assert {"val/nll", "val/nll_marginal", "val/coverage_90"} <= set(scores)


def test_streamed_rows_are_those_of_the_table(lifetimes, trainer, tmp_path):
    (tmp_path / "rows").mkdir()
    for k in range(2):
        part = lifetimes.iloc[60 * k : 60 * (k + 1)]
        part.to_parquet(tmp_path / "rows" / f"{k}.parquet", row_group_size=20, index=False)
    options = {"target": "time", "event": "died", "val_size": 0, "test_size": 0}
    losses = []
    for source in (tmp_path / "rows", lifetimes):
        data = TabularDataModule(source, batch_size=120, **options)
        module = DistributionModule("censored", **OPTIONS)
        torch.manual_seed(0)
        trainer(1).fit(module, datamodule=data)
        losses.append(float(module.trainer.callback_metrics["train/nll"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"died": 2}, r"1 where they are and 0 where .*1 other values, .*row 3"),
        ({"died": math.nan}, "missing.*row 3"),
        ({"time": -1.0}, "support of weibull|numbers from 0"),
        ({"time": math.nan}, "missing.*row 3"),
    ],
)
def test_tables_that_cannot_be_are_refused_with_their_rows(lifetimes, trainer, change, words):
    table = lifetimes.astype(float)
    for name, value in change.items():
        table.loc[3, name] = value
    with pytest.raises((DataError, TargetError), match=words):
        of_module(table, trainer, target="time", event="died")


def test_ends_in_the_wrong_order_are_refused(lifetimes, trainer):
    ends = with_ends(lifetimes, math.nan)
    ends.loc[5, "upper"] = 0.5 * ends.lower[5]
    with pytest.raises(TargetError, match=r"column 'lower', 'upper' must be pairs .*row 5"):
        of_module(ends, trainer, target=["lower", "upper"])


def test_events_need_the_family_and_one_target(lifetimes, trainer):
    data = TabularDataModule(lifetimes, target="time", event="died")
    with pytest.raises(DataError, match="try the family censored with base=weibull"):
        trainer(1).fit(DistributionModule("weibull", hidden_sizes=[8]), datamodule=data)
    with pytest.raises(DataError, match="says whether one target is observed"):
        of_module(lifetimes, trainer, target=["time", "x"], event="died")


def test_the_command_line_trains_and_predicts(lifetimes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lifetimes.to_csv("lives.csv", index=False)
    fit = ["fit", "--data.path=lives.csv", "--data.target=time", "--data.event=died"]
    family = ["--model.family=censored", "--model.family_options={base: log_normal}"]
    assert main([*fit, *family, "--trainer.max_epochs=2", *QUIET]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "disthead evaluate --ckpt" in printed
    assert "recalibrate" not in printed  # which learns from observed targets alone
    (best,) = tmp_path.glob("**/best*.ckpt")
    predict = ["predict", "--ckpt_path", str(best), "--data.path=lives.csv", "--out=p.csv", *QUIET]
    assert main(predict) == 0, capsys.readouterr().err
    predicted = pd.read_csv("p.csv")
    assert {"loc", "scale", "mean", "median", "lower_90"} <= set(predicted.columns)
    assert len(predicted) == 120


def test_estimators_take_pairs_and_structured_arrays(lifetimes):
    X, pairs = lifetimes[["x"]].to_numpy(), pairs_of(lifetimes)
    kind = [("died", bool), ("time", float)]
    structured = np.array(list(zip(lifetimes.died == 1, lifetimes.time, strict=True)), dtype=kind)
    predicted = []
    for y in (pairs, structured):
        model = dh.DistributionRegressor(
            "censored", {"base": "weibull"}, hidden_sizes=(8,), max_steps=50, random_state=0
        )
        model.fit(X, y)
        assert model.predict_dist(X).batch_shape == (120,)
        assert model.predict_quantiles(X, [0.5]).shape == (120, 1)
        assert model.score(X, y) == pytest.approx(model.score(X, pairs))
        predicted.append(model.predict(X))
    np.testing.assert_array_equal(*predicted)
    wrong = np.zeros(120, dtype=[("time", float), ("other", float)])
    with pytest.raises(ValueError, match="one of truth values"):
        model.fit(X, wrong)
    with pytest.raises(TargetError, match="lower end"):
        model.fit(X, pairs[:, ::-1])


def test_rows_that_are_all_observed_or_all_censored_are_named(lifetimes, trainer):
    with pytest.warns(UserWarning, match="none of the 120 targets is censored"):
        of_module(lifetimes.assign(died=1), trainer, target="time", event="died")
    same = lifetimes.assign(upper=lifetimes.time)
    with pytest.warns(UserWarning, match="none of the 120 targets is censored"):
        of_module(same[["x", "time", "upper"]], trainer, target=["time", "upper"])
    model = dh.DistributionRegressor("censored", hidden_sizes=(8,), max_steps=5, random_state=0)
    with pytest.warns(UserWarning, match="120 targets is censored: the base .* alone is the same"):
        model.fit(lifetimes[["x"]], lifetimes.time)
    with pytest.raises(TargetError, match="all 120 targets are right-censored"):
        of_module(lifetimes.assign(died=0), trainer, target="time", event="died")


def test_the_units_of_an_estimator_are_those_of_observed_targets(lifetimes):
    X, pairs = lifetimes[["x"]].to_numpy(), pairs_of(lifetimes)
    model = dh.DistributionRegressor(
        "censored", {"base": "normal"}, hidden_sizes=(8,), max_steps=50, random_state=0
    ).fit(X, 1000 * pairs)
    assert model.model_.target_loc == pytest.approx(
        1000 * lifetimes.time[lifetimes.died == 1].mean()
    )
