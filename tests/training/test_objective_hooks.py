"""Objectives with values to learn, with a change during training, and with a penalty of weights: in
`DistributionModule` and its checkpoints, in the recipe, estimators and on the command line.
"""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import disthead as dh
from disthead import DistributionRegressor
from disthead.objectives import get_objective, specification
from disthead.recipe import fit_tabular
from disthead.training import DistributionModule, TabularDataModule
from tests.training.test_objective import FIT, OneByOne, fitted, run, table


@dataclass(eq=False)
class LearnedPower(nn.Module):
    """exp(s) * nll - s, with a learned s whose best value is -log(mean nll)."""

    start: float = 0.5

    def __post_init__(self):
        super().__init__()
        self.s = nn.Parameter(torch.tensor(self.start))

    def forward(self, dist, y):
        return self.s.exp() * -dist.log_prob(y) - self.s


@dataclass(frozen=True)
class Later:
    """The squared error of the mean in the first steps, then the likelihood."""

    steps: int = 10

    def __call__(self, dist, y):
        return dh.objectives.nll(dist, y)

    def at_step(self, step):
        return squared_error if step < self.steps else dh.objectives.nll


def squared_error(dist, y):
    return (dist.mean - y).square() / 2


@dataclass(frozen=True)
class Decayed:
    """The likelihood and half the squared weights, divided by the rows."""

    factor: float = 1.0

    def __call__(self, dist, y):
        return dh.objectives.nll(dist, y)

    def penalty(self, weights, rows):
        return self.factor * sum(weight.square().sum() for _, weight in weights) / (2 * rows)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The objectives above by their names, as a file of the folder would have them."""
    for name, kind in (("power", LearnedPower), ("later", Later), ("decayed", Decayed)):
        monkeypatch.setitem(dh.objectives._objectives(), name, kind)


def test_a_module_with_options_is_plain_data():
    power = get_objective("power", start=0.25)
    assert power.s.item() == 0.25
    assert specification(power) == {"name": "power", "start": 0.25}


@pytest.mark.parametrize("options", [{}, {"ensemble": 3}], ids=["one", "ensemble"])
def test_what_an_objective_learns_is_trained_saved_and_read(trainer, tmp_path, options):
    frame = table("normal")
    module, first = fitted(trainer, frame, epochs=2, objective="power", **options)
    learned = module.objective.s.item()
    assert learned != 0.5
    assert "train/power" in first.callback_metrics
    path = tmp_path / "learned.ckpt"
    first.save_checkpoint(path)
    again = DistributionModule.load_from_checkpoint(path)
    assert again.objective.s.item() == learned
    again, _ = fitted(  # goes on
        trainer, frame, epochs=4, objective="power", ckpt_path=path, **options
    )
    assert again.objective.s.item() != learned
    estimator = DistributionRegressor.load(path)
    X = frame[["x", "z"]]
    part = torch.tensor(X.to_numpy())
    expected = DistributionModule.load_from_checkpoint(path).double().eval()
    with torch.no_grad():
        expected = expected.predictive(part).mean.numpy()
    assert estimator.predict(X) == pytest.approx(expected, rel=1e-5)


def test_an_own_module_is_given_again_to_go_on(trainer, tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.power = LearnedPower()

        def forward(self, dist, y):
            return self.power(dist, y)

    frame = table("normal")
    module, first = fitted(trainer, frame, epochs=1, objective=Own())
    path = tmp_path / "own.ckpt"
    first.save_checkpoint(path)
    without = DistributionModule.load_from_checkpoint(path)
    assert without.objective is None
    again = DistributionModule.load_from_checkpoint(path, objective=Own())
    assert again.objective.power.s == module.objective.power.s
    assert DistributionRegressor.load(path).predict(frame[["x", "z"]]).shape == (300,)


@pytest.mark.parametrize("objective", ["power", {"name": "later", "steps": 17}, "decayed"])
@pytest.mark.parametrize("options", [{}, {"ensemble": 3}], ids=["one", "ensemble"])
def test_several_steps_are_the_steps_one_by_one(trainer, objective, options):
    options = {"objective": objective, "epochs": 2, **options}
    fast, fast_run = fitted(trainer, table("normal"), **options)
    slow, slow_run = fitted(trainer, table("normal"), callbacks=[OneByOne()], **options)
    assert len(fast_run.train_dataloader) < len(slow_run.train_dataloader)
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-6, atol=1e-6)


def scales(module):
    with torch.no_grad():
        return module(torch.tensor([[0.0, 0.0], [1.0, 1.0]])).scale


def test_the_objective_is_asked_at_each_step(trainer):
    """The squared error leaves the scale's bias alone; what is logged is the likelihood."""
    frame = table("normal")
    with pytest.warns(UserWarning, match="before the objective later came to its last part"):
        never, run = fitted(trainer, frame, epochs=2, objective={"name": "later", "steps": 1000})
    soon, _ = fitted(trainer, frame, epochs=2, objective={"name": "later", "steps": 0})
    plain, _ = fitted(trainer, frame, epochs=2)
    start, _ = fitted(
        trainer, frame, epochs=1, optimizer={"class_path": "SGD", "init_args": {"lr": 1e-30}}
    )
    bias = start.head.linear.bias[1].item()
    decay = {"class_path": "AdamW", "init_args": {"lr": 0.02}}["init_args"]["lr"] * 0.01
    steps = run.global_step
    assert never.head.linear.bias[1].item() == pytest.approx(bias * (1 - decay) ** steps, rel=1e-4)
    assert plain.head.linear.bias[1].item() != pytest.approx(bias, rel=1e-2)
    torch.testing.assert_close(scales(soon), scales(plain), rtol=1e-3, atol=1e-3)
    assert float(run.callback_metrics["val/later"]) == float(run.callback_metrics["val/nll"])
    assert float(run.callback_metrics["train/later"]) < 10  # in nats, not squared units


def one_step(trainer, objective, **options):
    """The change of the weights by one step of plain gradient descent on all rows, and the rows."""
    frame = table("normal")
    data = TabularDataModule(frame, target="y", batch_size=1000)
    torch.manual_seed(0)
    module = DistributionModule(
        hidden_sizes=[4],
        objective=objective,
        optimizer={"class_path": "SGD", "init_args": {"lr": 1.0}},
        **options,
    )
    trainer(1).fit(module, data)
    return module, data.count("train")


@pytest.mark.parametrize("options", [{}, {"ensemble": 3}], ids=["one", "ensemble"])
def test_the_penalty_is_added_once_to_the_mean(trainer, options):
    plain, rows = one_step(trainer, "nll", **options)
    decayed, _ = one_step(trainer, "decayed", **options)
    torch.manual_seed(0)
    start = DistributionModule(hidden_sizes=[4], in_features=2, **options)
    for name in ("backbone.0.weight", "backbone.layers.0.weight"):
        weights = [dict(one.named_parameters()).get(name) for one in (start, plain, decayed)]
        if weights[0] is not None:
            torch.testing.assert_close(
                weights[2] - weights[1], -weights[0] / rows, rtol=1e-3, atol=1e-6
            )
            return
    pytest.fail("no first layer")


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_loaders_of_ones_own_say_how_many_rows_they_have(trainer):
    x, y = torch.randn(40, 2), torch.randn(40)
    module = DistributionModule(in_features=2, hidden_sizes=[4], objective="decayed")
    trainer(1).fit(module, DataLoader(TensorDataset(x, y), batch_size=10))
    assert module._training_rows == 40

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(TensorDataset(x, y))

    module = DistributionModule(in_features=2, hidden_sizes=[4], objective="decayed")
    with pytest.raises(ValueError, match=r"decayed needs the number of training rows, .*__len__"):
        trainer(1).fit(module, DataLoader(Stream(), batch_size=10))


@pytest.mark.parametrize("ensemble", [1, 3])
def test_the_recipe(ensemble):
    frame = table("normal", 120)
    x = torch.tensor(frame[["x", "z"]].to_numpy()).float()
    y = torch.tensor(frame["y"].to_numpy())
    options = {"family": "normal", "ensemble": ensemble, "hidden_sizes": (8,), "max_steps": 100}
    mine = LearnedPower()
    model, course = fit_tabular(x, y, objective=mine, **options)
    assert mine.s.item() == 0.5  # a copy is trained
    assert course.learned.s.item() != 0.5
    assert not any("objective" in name for name in model.state_dict())
    plain, _ = fit_tabular(x, y, **options)
    decayed, course = fit_tabular(x, y, objective=Decayed(100.0), **options)
    assert course.learned is None

    def size(model):
        return sum(value.square().sum().item() for value in model.backbone.parameters())

    assert size(decayed) < 0.5 * size(plain)
    with pytest.warns(UserWarning, match="ended after 100 steps, before the objective later"):
        later, _ = fit_tabular(x, y, objective=Later(100), **options)
    fit_tabular(x, y, objective=Later(99), **options)
    ours, theirs = (one.by_member(x).scale.mean() for one in (later, plain))
    assert ours > 1.4 * theirs  # it has not been learned


def test_estimators_learn_and_are_saved(tmp_path):
    frame = table("normal", 60)
    X, y = frame[["x", "z"]], frame["y"]
    model = DistributionRegressor("normal", hidden_sizes=(4,), max_steps=50, objective="power")
    model.fit(X, y)
    assert math.isfinite(model.training_.learned.s.item())
    folder = model.save(tmp_path / "model")
    again = DistributionRegressor.load(folder)
    assert again.predict(X) == pytest.approx(model.predict(X))
    module = DistributionModule.load_from_checkpoint(folder)
    assert module.objective.s.item() == 0.5  # it begins anew


def test_the_command_line_takes_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table("normal").to_csv("table.csv", index=False)
    assert run(f"{FIT} --model.objective.name power --model.objective.start 0.3") == 0
    assert "best val/power" in capsys.readouterr().out
    folder = tmp_path / "lightning_logs" / "version_0"
    saved = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["objective"] == {"name": "power", "start": 0.3}
    assert saved["state_dict"]["objective.s"].item() != 0.3
    assert run(f"fit --config {folder}/config.yaml --overwrite") == 0
    assert run(f"test --ckpt {folder}/checkpoints/best.ckpt --trainer.accelerator cpu") == 0
    assert "test/power" in capsys.readouterr().out
    assert run(f"{FIT} --model.objective.name power --model.objective.begin 0.3") != 0
    assert "unknown option of the objective power 'begin'" in capsys.readouterr().err
