"""Training by another objective than the likelihood, in every path, and what is logged, watched and
saved.
"""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback

import disthead as dh
from disthead import DistributionClassifier, DistributionRegressor
from disthead.cli import main
from disthead.errors import NonFiniteLoss
from disthead.families.ensembles import ensemble
from disthead.metrics import CRPS
from disthead.recipe import fit_tabular
from disthead.training import DistributionModule, TabularDataModule
from disthead.training.callbacks import BestAndLastCheckpoint, EarlyStopping

SMALL = {"hidden_sizes": [8], "optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.02}}}


class OneByOne(Callback):
    def on_train_batch_end(self, *arguments):
        pass


def table(family: str, rows: int = 300) -> pd.DataFrame:
    """Numbers x, and targets of the family that depend on them."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 2, generator=generator)
    signal = 1.2 * x[:, 0] + 0.6 * x[:, 1]
    if family == "poisson":
        y = torch.poisson(signal.exp(), generator=generator)
    else:
        y = signal + 0.3 * torch.randn(rows, generator=generator)
        y = y.exp() if family == "gamma" else 500 + 100 * y
    return pd.DataFrame({"x": x[:, 0].numpy(), "z": x[:, 1].numpy(), "y": y.numpy()})


def fitted(trainer, frame, *, epochs=12, callbacks=(), target="y", ckpt_path=None, **model):
    torch.manual_seed(0)
    module, run = DistributionModule(**SMALL | model), trainer(epochs, callbacks=list(callbacks))
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Checkpoint directory|Be aware that when using `ckpt_path`, callbacks"
        )
        run.fit(module, TabularDataModule(frame, target=target, batch_size=20), ckpt_path=ckpt_path)
    return module.eval(), run


def mean_crps(dist, y):
    return float(CRPS()(dist, y))


@pytest.mark.parametrize(
    "family, options",
    [
        ("normal", {}),
        ("student_t", {"min_df": 1.0}),
        ("gamma", {}),
        ("mixture", {"num_components": 2}),
        ("poisson", {}),
    ],
)
def test_the_crps_trains(trainer, family, options):
    """It gets well below the fit without features, and about as far as the likelihood does in as
    many steps.
    """
    frame = table(family)
    module, run = fitted(trainer, frame, family=family, family_options=options, objective="crps")
    numbers = {name: float(value) for name, value in run.callback_metrics.items()}
    assert numbers["val/crps"] < 0.6 * numbers["val/crps_marginal"]
    assert numbers["val/nll"] < numbers["val/nll_marginal"]
    part = TabularDataModule(frame, target="y", batch_size=20).part("val")
    with torch.no_grad():
        assert numbers["val/crps"] == pytest.approx(
            mean_crps(module(part.features), part.y), rel=1e-4
        )
    _, by_likelihood = fitted(trainer, frame, family=family, family_options=options)
    with torch.no_grad():
        other = mean_crps(by_likelihood.lightning_module.eval()(part.features), part.y)
    assert numbers["val/crps"] < 1.4 * other


def test_what_is_logged_and_what_is_watched(trainer, tmp_path):
    watch = [EarlyStopping(patience=50), BestAndLastCheckpoint(tmp_path)]
    _, run = fitted(trainer, table("normal"), epochs=3, callbacks=watch, objective="crps")
    expected = {
        "train/crps",
        *(
            f"val/{name}"
            for name in ("nll", "nll_marginal", "crps", "crps_marginal", "coverage_90")
        ),
    }
    assert set(run.callback_metrics) == expected
    assert [callback.monitor for callback in watch] == ["val/crps", "val/crps"]
    assert float(watch[1].best_model_score) == pytest.approx(
        float(run.callback_metrics["val/crps"]), rel=0.5
    )


def test_the_likelihood_is_watched_unless_told_otherwise(trainer, tmp_path):
    watch = [EarlyStopping(patience=50), BestAndLastCheckpoint(tmp_path, monitor="train/nll")]
    _, run = fitted(trainer, table("normal"), epochs=1, callbacks=watch)
    assert [callback.monitor for callback in watch] == ["val/nll", "train/nll"]
    assert set(run.callback_metrics) == {
        "train/nll",
        "val/nll",
        "val/nll_marginal",
        "val/coverage_90",
    }


def test_train_crps_is_in_the_units_of_the_target(trainer):
    """With a learning rate of zero it is the crps of the training rows."""
    frame = table("normal")
    still = {"class_path": "SGD", "init_args": {"lr": 1e-30}}
    module, run = fitted(trainer, frame, epochs=1, objective="crps", optimizer=still)
    part = TabularDataModule(frame, target="y", batch_size=20).part("train")
    with torch.no_grad():
        expected = mean_crps(module(part.features), part.y)
    assert float(run.callback_metrics["train/crps"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"ensemble": 3}], ids=["one", "ensemble"])
def test_several_steps_are_the_steps_one_by_one(trainer, options):
    fast, fast_run = fitted(trainer, table("normal"), epochs=2, objective="crps", **options)
    slow, slow_run = fitted(
        trainer, table("normal"), epochs=2, objective="crps", callbacks=[OneByOne()], **options
    )
    assert len(fast_run.train_dataloader) < len(slow_run.train_dataloader)
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-6, atol=1e-6)


def test_an_ensemble_is_judged_by_the_crps_of_its_mixture(trainer):
    frame = table("normal")
    module, run = fitted(trainer, frame, epochs=2, objective="crps", ensemble=3)
    part = TabularDataModule(frame, target="y", batch_size=20).part("val")
    with torch.no_grad():
        expected = mean_crps(ensemble(module.by_member(part.features)), part.y)
    assert float(run.callback_metrics["val/crps"]) == pytest.approx(expected, rel=1e-4)


def test_neither_units_nor_the_sizes_of_several_targets_matter(trainer):
    frame = table("normal").assign(w=lambda rows: rows["x"] - rows["z"])
    large = frame.assign(y=1000 * frame["y"], w=frame["w"] / 1024)
    one, _ = fitted(trainer, frame, epochs=3, objective="crps", target=["y", "w"])
    other, _ = fitted(trainer, large, epochs=3, objective="crps", target=["y", "w"])
    for name, value in one.backbone.state_dict().items():
        torch.testing.assert_close(other.backbone.state_dict()[name], value, rtol=1e-3, atol=1e-3)
    part = TabularDataModule(frame, target=["y", "w"], batch_size=20).part("val")
    with torch.no_grad():
        errors = (one(part.features).mean - part.y).std(0) / part.y.std(0)
    assert (errors < 0.6).all()


def test_the_start_is_the_fit_of_maximum_likelihood():
    y = torch.tensor(table("gamma")["y"].to_numpy())
    starts = []
    for objective in ("nll", "crps"):
        torch.manual_seed(0)
        module = DistributionModule("gamma", in_features=1, hidden_sizes=[], objective=objective)
        starts.append(module.start(torch.zeros(len(y), 1), y).marginal(1).parameters)
    for name, value in starts[0].items():
        assert torch.equal(starts[1][name], value)


def test_a_family_without_the_score_is_refused_before_any_data_are_read():
    with pytest.raises(
        ValueError,
        match=r"'crps' cannot train the family plackett_luce: .* use log_prob\(y\)\. Try 'nll'",
    ):
        DistributionModule("plackett_luce", event_shape=[4], objective="crps")
    with pytest.raises(ValueError, match="a circle with several peaks"):
        DistributionModule("von_mises", ensemble=2, objective="crps")
    with pytest.raises(ValueError, match=r"unknown objective 'crsp'; did you mean 'crps'"):
        DistributionModule("normal", objective="crsp")


def test_vectors_are_refused_once_their_size_is_known(trainer):
    frame = table("normal").assign(w=0.0)
    frame["w"] = frame["x"] + frame["y"]
    with pytest.raises(
        ValueError, match=r"cannot train the family multivariate_normal: .*energy_score"
    ):
        fitted(trainer, frame, family="multivariate_normal", objective="crps", target=["y", "w"])


def absolute_error(dist, y):
    return (dist.mean - y).abs()


def test_checkpoints_hold_the_objective_as_plain_data(trainer, tmp_path):
    _, run = fitted(trainer, table("normal"), epochs=1, objective={"name": "crps"})
    run.save_checkpoint(tmp_path / "one.ckpt")
    again = DistributionModule.load_from_checkpoint(tmp_path / "one.ckpt")
    assert again.hparams.objective == again.objective_name == "crps"
    assert (
        torch.load(tmp_path / "one.ckpt", weights_only=True)["hyper_parameters"]["objective"]
        == "crps"
    )


@pytest.mark.filterwarnings("ignore:objective 'absolute_error' does not train scale")
def test_a_function_of_ones_own_has_to_be_given_again(trainer, tmp_path):
    frame = table("normal")
    _, run = fitted(trainer, frame, epochs=2, objective=absolute_error)
    assert {"val/nll", "val/absolute_error", "train/absolute_error"} <= set(run.callback_metrics)
    path = tmp_path / "own.ckpt"
    run.save_checkpoint(path)
    data = TabularDataModule(frame, target="y", batch_size=20)
    module = DistributionModule.load_from_checkpoint(path)
    [measured] = trainer(1).validate(module, data, verbose=False)
    assert set(measured) == {"val/nll", "val/nll_marginal", "val/coverage_90"}
    with pytest.raises(
        ValueError,
        match=r"trained by an objective given as an object: .*absolute_error. Give it again",
    ):
        trainer(1).fit(module, data)
    again = DistributionModule.load_from_checkpoint(path, objective=absolute_error)
    trainer(1).fit(again, data)


def test_a_function_must_not_have_the_name_of_another_number():
    def accuracy(dist, y):
        return dist.log_prob(y)

    with pytest.raises(ValueError, match="accuracy is logged already: rename it"):
        DistributionModule("normal", objective=accuracy)


def test_a_score_that_is_infinite_in_validation_is_refused(trainer):
    def infinite(dist, y):
        return torch.where(torch.is_grad_enabled() | (y < y.mean()), dist.crps(y), torch.inf)

    with pytest.raises(
        NonFiniteLoss, match=r"the infinite of \d+ validation rows is infinite or not a number"
    ):
        fitted(trainer, table("normal"), epochs=1, objective=infinite, standardise=False)


# The recipe and the estimators.


@pytest.mark.parametrize("ensemble", [1, 3])
def test_the_recipe_judges_by_its_objective(ensemble):
    frame = table("normal", 120)
    features, y = (
        torch.tensor(frame[["x", "z"]].to_numpy()).float(),
        torch.tensor(frame["y"].to_numpy()),
    )
    options = {"family": "normal", "ensemble": ensemble, "hidden_sizes": (8,), "max_steps": 200}
    model, course = fit_tabular(features, y, objective="crps", **options)
    assert course.objective == "crps"
    # in standard deviations
    assert ((course.loss > 0) & (course.loss < 0.5) | course.loss.isnan()).all()
    dist = model(features)
    baseline = dh.marginal("normal", y).expand(y.shape)
    assert mean_crps(dist, y.to(dist.dtype)) < 0.5 * mean_crps(baseline, y)
    with pytest.warns(DeprecationWarning, match="is called loss"):
        assert course.nll is course.loss


def test_a_regressor_trained_by_the_crps(tmp_path):
    sklearn = pytest.importorskip("sklearn.base")
    frame = table("normal", 120)
    X, y = frame[["x", "z"]], frame["y"]
    model = DistributionRegressor(
        "normal", hidden_sizes=(8,), max_steps=100, random_state=0, objective="crps"
    )
    assert sklearn.clone(model).get_params()["objective"] == "crps"
    model.fit(X, y)
    assert any("by the crps of rows held out" in line for line in model.report_)
    other = sklearn.clone(model).set_params(objective="nll").fit(X, y)
    assert not np.array_equal(model.predict(X), other.predict(X))
    again = DistributionRegressor.load(model.save(tmp_path / "model"))
    assert again.objective == "crps"
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert (
        json.loads((tmp_path / "model" / "config.json").read_text())["parameters"]["objective"]
        == "crps"
    )


@pytest.mark.filterwarnings("ignore:objective 'absolute_error' does not train scale")
def test_estimators_refuse_what_cannot_be(tmp_path):
    X, y = np.arange(40.0)[:, None], np.arange(40.0)
    with pytest.raises(
        ValueError, match=r"'crps' cannot train the family categorical: .*classes are unordered"
    ):
        DistributionClassifier(max_steps=5, objective="crps").fit(X, y > 20)
    with pytest.raises(ValueError, match="unknown objective 'crp'; did you mean 'crps'"):
        DistributionRegressor(objective="crp").fit(X, y)
    model = DistributionRegressor(
        "normal", max_steps=5, hidden_sizes=(4,), objective=absolute_error
    ).fit(X, y)
    with pytest.raises(
        ValueError,
        match="objective must be plain data to be saved, got the function absolute_error",
    ):
        model.save(tmp_path / "model")


# The command line.


def run(arguments: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return main(arguments.split())


FIT = (
    "fit --data.path table.csv --data.target y --model.family normal --model.hidden_sizes [8] "
    "--data.batch_size 50 "
    "--trainer.max_epochs 2 --trainer.accelerator cpu --trainer.enable_progress_bar false"
)


def test_the_command_line_watches_the_objective(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table("normal").to_csv("table.csv", index=False)
    assert run(f"{FIT} --model.objective crps") == 0
    printed = capsys.readouterr().out
    assert "best val/crps" in printed
    assert "(val/crps_marginal)" in printed
    folder = tmp_path / "lightning_logs" / "version_0"
    assert run(f"fit --config {folder}/config.yaml --overwrite") == 0
    assert "best val/crps" in capsys.readouterr().out
    assert run(f"test --ckpt {folder}/checkpoints/best.ckpt --trainer.accelerator cpu") == 0
    assert "test/crps" in capsys.readouterr().out


def test_the_command_line_refuses_the_worst_checkpoint_for_the_best(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table("normal").to_csv("table.csv", index=False)
    assert (
        run(f"{FIT} --model.objective crps --checkpoint.monitor val/crps --checkpoint.mode max")
        != 0
    )
    assert "would take the worst val/crps" in capsys.readouterr().err
    assert run(f"{FIT} --model.objective crps --checkpoint.mode max") != 0
    assert "would take the worst val/objective" in capsys.readouterr().err
    assert run(f"{FIT} --model.objective crsp") != 0
    assert "did you mean 'crps'" in capsys.readouterr().err
