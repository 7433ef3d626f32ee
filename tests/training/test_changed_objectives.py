"""Training by the cures of the collapsing variance, and by a prior on the weights."""

import pytest
import torch

import disthead as dh
from disthead import DistributionRegressor
from disthead.objectives import get_objective
from disthead.training import DistributionModule
from disthead.training.callbacks import BestAndLastCheckpoint, EarlyStopping
from tests.training.test_objective import FIT, fitted, run, table


@pytest.mark.parametrize("options", [{}, {"ensemble": 3}], ids=["one", "ensemble"])
@pytest.mark.parametrize("name", ["beta_nll", "faithful", "warm_up"])
def test_lightning_goes_by_the_likelihood(trainer, tmp_path, name, options):
    watch = [EarlyStopping(patience=50), BestAndLastCheckpoint(tmp_path)]
    objective = {"name": "warm_up", "steps": 20} if name == "warm_up" else name
    _, run = fitted(
        trainer, table("normal"), epochs=12, objective=objective, callbacks=watch, **options
    )
    assert [callback.monitor for callback in watch] == ["val/nll", "val/nll"]
    numbers = {name: float(value) for name, value in run.callback_metrics.items()}
    assert numbers["val/nll"] < numbers["val/nll_marginal"] - 0.5
    assert f"train/{name}" in numbers
    # a mixture has no mean beside other parameters
    assert (f"val/{name}" in numbers) == (name != "faithful" or not options)


@pytest.mark.parametrize("name", ["beta_nll", "faithful", {"name": "warm_up", "steps": 60}])
def test_estimators_go_by_the_likelihood(tmp_path, name):
    frame = table("normal", 120)
    X, y = frame[["x", "z"]], frame["y"]
    model = DistributionRegressor(
        "normal", hidden_sizes=(8,), max_steps=200, random_state=0, objective=name
    ).fit(X, y)
    assert model.training_.objective == "nll"
    assert any("by the likelihood of rows held out" in line for line in model.report_)
    assert model.predict_dist(X).mean.sub(torch.tensor(y.to_numpy())).std() < 0.5 * y.std()
    again = DistributionRegressor.load(model.save(tmp_path / "model"))
    assert get_objective(again.objective) == get_objective(name)


def test_patience_counts_from_the_end_of_the_first_steps():
    """The likelihood may rest while the mean is learned, which does not end the training."""
    frame = table("normal", 60)
    x = torch.tensor(frame[["x", "z"]].to_numpy()).float()
    options = {"family": "normal", "hidden_sizes": (4,), "check_every": 10, "patience": 30}
    _, course = dh.recipe.fit_tabular(
        x,
        torch.tensor(frame["y"].to_numpy()),
        objective={"name": "warm_up", "steps": 300},
        max_steps=340,
        learning_rate=1e-30,
        **options,
    )
    assert course.stopped >= 330


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table("normal").to_csv("table.csv", index=False)
    assert run(f"{FIT} --model.objective.name beta_nll --model.objective.beta 0.25") == 0
    assert "best val/nll" in capsys.readouterr().out
    folder = tmp_path / "lightning_logs" / "version_0"
    saved = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["objective"] == {"name": "beta_nll", "beta": 0.25}
    assert run(f"{FIT} --model.objective.name beta_nll --model.objective.beta 2") != 0
    assert "beta must be a number from 0 to 1, got 2" in capsys.readouterr().err


def test_training_by_map_is_training_with_weight_decay(trainer):
    """Steps of gradient descent by the prior are those of SGD's weight decay on all matrices."""
    frame = table("normal")
    rows, scale = 180, 0.05
    decay = 1 / (rows * scale**2)

    class Decayed(DistributionModule):
        def configure_optimizers(self):
            matrices = [value for value in self.parameters() if value.ndim > 1]
            others = [value for value in self.parameters() if value.ndim == 1]
            groups = [{"params": matrices, "weight_decay": decay}, {"params": others}]
            return torch.optim.SGD(groups, lr=0.01)

    sgd = {"class_path": "SGD", "init_args": {"lr": 0.01}}
    prior = {"name": "map", "scale": scale}
    ours, run = fitted(trainer, frame, epochs=2, objective=prior, optimizer=sgd)
    assert len(run.datamodule.part("train").rows) == rows
    torch.manual_seed(0)
    theirs = Decayed(hidden_sizes=[8])
    trainer(2).fit(theirs, dh.training.TabularDataModule(frame, target="y", batch_size=20))
    for name, value in ours.named_parameters():
        other = theirs.get_parameter(name)
        torch.testing.assert_close(value, other, rtol=1e-3, atol=1e-5)
    plain, _ = fitted(trainer, frame, epochs=2, optimizer=sgd)
    assert not torch.allclose(plain.head.linear.weight, ours.head.linear.weight, rtol=1e-2)
    assert float(run.callback_metrics["val/map"]) == float(run.callback_metrics["val/nll"])


@pytest.mark.parametrize("prior", ["laplace", "horseshoe"])
def test_the_recipe_learns_smaller_weights(prior):
    frame = table("normal", 60)
    x, y = torch.tensor(frame[["x", "z"]].to_numpy()).float(), torch.tensor(frame["y"].to_numpy())
    options = {"family": "normal", "hidden_sizes": (8,), "max_steps": 100}
    plain, _ = dh.recipe.fit_tabular(x, y, **options)
    small, _ = dh.recipe.fit_tabular(
        x, y, objective={"name": "map", "prior": prior, "scale": 0.05}, **options
    )
    sizes = [
        sum(value.abs().sum().item() for value in model.backbone.parameters())
        for model in (plain, small)
    ]
    assert sizes[1] < 0.9 * sizes[0]
