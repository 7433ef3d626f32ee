"""Training: units, checkpoints, resuming, and what happens when it goes wrong."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

import disthead as dh
from disthead.data.batches import Batch
from disthead.data.datasets import load_dataset
from disthead.metrics import RowMean
from disthead.training import DistributionModule, NonFiniteLoss, TabularDataModule

SMALL = {"hidden_sizes": [8], "optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.01}}}


def fit(trainer, data, *, epochs=2, callbacks=None, ckpt_path=None, **model):
    torch.manual_seed(0)
    module = DistributionModule(**SMALL | model)
    options = {"callbacks": callbacks} if callbacks else {}
    trainer(epochs, **options).fit(module, data, ckpt_path=ckpt_path)
    return module


def checkpoints(folder, **options):
    return ModelCheckpoint(
        dirpath=folder, monitor="val/nll", filename="{epoch}-{step}", save_top_k=-1, **options
    )


def test_the_loss_is_in_the_units_of_the_target(frame, trainer):
    data = TabularDataModule(frame, target="y")
    module = fit(trainer, data)
    part = data.part("test")
    with torch.no_grad():
        dist = module(part.features)
        own = torch.distributions.Normal(dist.loc, dist.scale).log_prob(part.y)
    [logged] = trainer().test(module, data, verbose=False)
    assert logged["test/nll"] == pytest.approx(-own.mean().item(), rel=1e-5)
    train = frame["y"].to_numpy()[data.part("train").rows]
    marginal = torch.distributions.Normal(train.mean(), train.std())
    assert logged["test/nll_marginal"] == pytest.approx(
        -marginal.log_prob(part.y.double()).mean().item(), rel=1e-4
    )
    assert 0.6 < logged["test/coverage_90"] <= 1


def test_training_starts_at_the_marginal_fit(frame, trainer):
    module = fit(trainer, TabularDataModule(frame, target="y"), epochs=0)
    dist, marginal = module(torch.zeros(1, 5)), module.marginal(1)
    assert not dist.loc.isnan()
    torch.testing.assert_close(
        module.head.linear.bias, torch.stack(list(module.baseline.shared.values()))
    )
    assert marginal.loc.item() == pytest.approx(100, abs=20)


def test_units_do_not_matter(frame, trainer):
    """With inputs and targets in other units the model is the same one, and its nll differs by the
    logarithm of the unit.
    """
    scores = []
    for unit in (1.0, 1e4):
        data = TabularDataModule(
            frame.assign(x=frame["x"] / unit, y=7 + unit * frame["y"]), target="y"
        )
        module = fit(trainer, data)
        scores.append(trainer().test(module, data, verbose=False)[0]["test/nll"] - math.log(unit))
    assert scores[0] == pytest.approx(scores[1], abs=2e-3)


def test_fixed_values_are_in_the_units_of_the_target(frame, trainer):
    data = TabularDataModule(frame, target="y")
    module = fit(trainer, data, fixed={"scale": 25.0})
    torch.testing.assert_close(module(data.part("test").features).scale, torch.full((40,), 25.0))
    torch.testing.assert_close(module.marginal(1).scale, torch.tensor([25.0]))


def test_constant_inputs_become_zero(frame, trainer):
    part = np.resize(["train", "val"], 200)
    data = TabularDataModule(
        frame.assign(c=(part == "val").astype(float), part=part), target="y", split_column="part"
    )
    module = fit(trainer, data)
    features = data.part("val").features[:1]
    other = features.clone()
    other[:, -1] += 5
    torch.testing.assert_close(module(features).loc, module(other).loc)


@pytest.mark.parametrize(
    "family, options, dataset, target, logged",
    [
        ("categorical", {}, "sklearn.iris", "target", "accuracy"),
        ("bernoulli", {}, "sklearn.breast_cancer", "target", "accuracy"),
        (
            "multivariate_normal",
            {},
            "sklearn.linnerud",
            ["Weight", "Waist", "Pulse"],
            "coverage_90",
        ),
        (
            "laplace",
            {"shared": ["scale"]},
            "sklearn.linnerud",
            ["Weight", "Waist", "Pulse"],
            "coverage_90",
        ),
        ("student_t", {"fixed": {"df": 4.0}}, "statsmodels.stackloss", "STACKLOSS", "coverage_90"),
        (
            "plackett_luce",
            {},
            "generated.ranking",
            ["first", "second", "third", "fourth"],
            "nll_marginal",
        ),
        ("von_mises", {}, "generated.direction", "heading", "coverage_90"),
    ],
)
def test_checkpoints_rebuild_the_model_from_plain_data(
    trainer, tmp_path, family, options, dataset, target, logged
):
    data = TabularDataModule(dataset=dataset, target=target)
    saved = checkpoints(tmp_path)
    module = fit(trainer, data, family=family, callbacks=[saved], **options)
    torch.load(saved.best_model_path, weights_only=True)
    loaded = DistributionModule.load_from_checkpoint(saved.best_model_path)
    best = trainer().test(loaded, TabularDataModule(dataset=dataset, target=target), verbose=False)[
        0
    ]
    assert best[f"test/{logged}"] == best[f"test/{logged}"]
    last = checkpoints(tmp_path / "last")
    run = trainer(2, callbacks=[last])
    run.strategy.connect(module)
    run.save_checkpoint(tmp_path / "last.ckpt")
    again = DistributionModule.load_from_checkpoint(tmp_path / "last.ckpt").eval()
    features = data.part("test").features
    for name, value in module.eval()(features).parameters.items():
        torch.testing.assert_close(again(features).parameters[name], value)


class Net(nn.Module):
    def __init__(self, in_features: int, width: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, width), nn.Tanh())

    def forward(self, features):
        return self.layers(features)


def test_backbones_by_class_path(frame, trainer, tmp_path):
    saved = checkpoints(tmp_path)
    spec = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 5, "out_features": 7}}
    fit(trainer, TabularDataModule(frame, target="y"), backbone=spec, callbacks=[saved])
    loaded = DistributionModule.load_from_checkpoint(saved.best_model_path)
    assert isinstance(loaded.backbone, nn.Linear)
    assert loaded.head.in_features == 7


def test_a_backbone_given_as_an_object_is_asked_for_again(frame, trainer, tmp_path):
    saved = checkpoints(tmp_path)
    data = TabularDataModule(frame, target="y")
    fit(trainer, data, backbone=Net(5, 6), callbacks=[saved])
    with pytest.raises(
        ValueError, match=r"trained with a backbone given as an object: .*Net\. Give it again"
    ):
        DistributionModule.load_from_checkpoint(saved.best_model_path)
    loaded = DistributionModule.load_from_checkpoint(saved.best_model_path, backbone=Net(5, 6))
    expected = torch.load(saved.best_model_path, weights_only=True)["state_dict"][
        "backbone.layers.0.weight"
    ]
    torch.testing.assert_close(loaded.backbone.layers[0].weight.data, expected)


def test_loaders_of_ones_own(trainer):
    x, y = torch.randn(64, 3), torch.randn(64)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y, torch.ones(64)), batch_size=16
    )
    module = DistributionModule("normal", in_features=3, **SMALL)
    trainer(1).fit(module, loader, loader)
    [result] = trainer().test(module, loader, verbose=False)
    assert result["test/nll"] == pytest.approx(dh.nll(module(x), y).item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize(
    "stop",
    [{"every_n_epochs": 1}, {"every_n_train_steps": 3}],
    ids=["between epochs", "within an epoch"],
)
def test_resuming_gives_the_weights_of_an_uninterrupted_run(frame, trainer, tmp_path, stop):
    model = {
        "dropout": 0.3,
        "scheduler": {"class_path": "CosineAnnealingLR", "init_args": {"T_max": 4}},
    }
    whole = fit(trainer, TabularDataModule(frame, target="y", batch_size=32), epochs=4, **model)
    saved = ModelCheckpoint(dirpath=tmp_path, filename="{step}", save_top_k=-1, **stop)
    fit(
        trainer,
        TabularDataModule(frame, target="y", batch_size=32),
        epochs=4,
        callbacks=[saved],
        **model,
    )
    killed = sorted(tmp_path.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)[1]
    torch.manual_seed(99)
    resumed = DistributionModule(**SMALL | model)
    again = ModelCheckpoint(dirpath=tmp_path, filename="again {step}", save_top_k=-1, **stop)
    trainer(4, callbacks=[again]).fit(
        resumed, TabularDataModule(frame, target="y", batch_size=32), ckpt_path=killed
    )
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_a_checkpoint_of_another_family_is_refused(frame, trainer, tmp_path):
    saved = checkpoints(tmp_path)
    data = TabularDataModule(frame, target="y")
    fit(trainer, data, callbacks=[saved])
    with pytest.raises(ValueError, match="family is 'normal' there and 'laplace' here"):
        fit(trainer, data, family="laplace", ckpt_path=saved.best_model_path, epochs=3)
    with pytest.raises(ValueError, match="checkpoint of normal, not of laplace"):
        DistributionModule.load_from_checkpoint(saved.best_model_path, family="laplace")


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no such checkpoint"),
        (b"", "corrupt"),
        (b"PK\x03\x04 half", "corrupt"),
        ("other", "not a checkpoint of a"),
    ],
)
def test_bad_checkpoints_are_named(tmp_path, content, message):
    path = tmp_path / "model.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match=message):
        DistributionModule.load_from_checkpoint(path)


def test_a_loss_that_is_not_finite_stops_training_and_names_the_rows(frame, trainer, tmp_path):
    class Breaks(nn.Module):
        def forward(self, features):
            return torch.where(features.abs() > 9, math.nan, features)

    saved = checkpoints(tmp_path)
    part = np.array(["train"] * 160 + ["val"] * 40)
    data = TabularDataModule(
        frame.assign(part=part), target="y", split_column="part", batch_size=32
    )
    module = fit(trainer, data, backbone=Breaks(), callbacks=[saved])
    frame.loc[37, "x"] = 12.0
    data = TabularDataModule(
        frame.assign(part=part), target="y", split_column="part", batch_size=32
    )
    with pytest.raises(NonFiniteLoss, match=r"at rows 37 \(1 of 32 in the batch\)"):
        trainer(4).fit(module, data)
    assert DistributionModule.load_from_checkpoint(saved.best_model_path, backbone=Breaks())


BAD_OPTIONS = {
    "family": ({"family": "norml"}, "did you mean 'normal'"),
    "link": ({"links": {"scale": "softplsu"}}, "did you mean 'softplus'"),
    "parameter": ({"links": {"scal": "exp"}}, "did you mean 'scale'"),
    "event_shape": ({"family": "multivariate_normal", "in_features": 3}, "event_shape"),
    "optimizer": ({"optimizer": {"class_path": "AdamWW"}, "in_features": 3}, "did you mean"),
    "optimizer argument": (
        {"optimizer": {"class_path": "AdamW", "init_args": {"rate": 1}}, "in_features": 3},
        "rate",
    ),
    "activation": ({"activation": "relu", "in_features": 3, "hidden_sizes": [3]}, "did you mean"),
    "backbone": ({"backbone": "no_such_package.Net", "in_features": 3}, "cannot be imported"),
    "backbone shape": (
        {"backbone": {"class_path": "torch.nn.Linear",
                      "init_args": {"in_features": 2, "out_features": 1}}, "in_features": 3},
        "does not take features",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_explained(name):
    options, message = BAD_OPTIONS[name]
    with pytest.raises(ValueError, match=message):
        DistributionModule(**options).configure_optimizers()


def test_weights_count_rows(frame, trainer):
    """A row with weight two is that row twice."""
    doubled = pd.concat([frame, frame[:50]], ignore_index=True).assign(part="train")
    weighted = frame.assign(part="train", w=np.where(np.arange(200) < 50, 2.0, 1.0))
    nlls = []
    for table, options in ((doubled, {}), (weighted, {"weight": "w"})):
        data = TabularDataModule(table, target="y", split_column="part", batch_size=1000, **options)
        module = DistributionModule("normal", **SMALL)
        torch.manual_seed(0)
        run = trainer(0)
        run.fit(module, data)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.full_like(parameter, 0.1))
            for buffer, value in (
                ("feature_loc", 0.0),
                ("feature_rate", 1.0),
                ("target_loc", 100.0),
                ("target_scale", 20.0),
            ):
                getattr(module, buffer).fill_(value)
        nlls.append(module._loss(Batch.of(next(iter(data.train_dataloader())))).item())
    assert nlls[0] == pytest.approx(nlls[1], rel=1e-5)


def test_row_mean_of_uneven_batches_and_none():
    metric = RowMean()
    for size in (3, 0, 5):
        metric.update(torch.arange(size, dtype=torch.float32))
    assert metric.compute().item() == pytest.approx((3 + 10) / 8)


def test_the_fitted_spread_is_the_true_one(trainer):
    """Heteroscedastic recovery: within 5 % of the known standard deviation for 90 % of the rows,
    and on average.
    """
    frame = load_dataset("generated.heteroscedastic")
    data = TabularDataModule(frame, target="y", features=["x"], batch_size=500, test_size=0)
    torch.manual_seed(0)
    schedule = {"class_path": "CosineAnnealingLR", "init_args": {"T_max": 120}}
    optimizer = {"class_path": "AdamW", "init_args": {"lr": 0.02}}
    module = DistributionModule(
        "normal", hidden_sizes=[16], optimizer=optimizer, scheduler=schedule
    )
    with warnings.catch_warnings():
        trainer(120).fit(module, data)
    bulk = torch.linspace(-1.6, 1.6, 200).unsqueeze(-1)
    ratio = module.eval()(bulk).scale.detach() / torch.exp(0.5 * bulk[:, 0] - 1)
    assert (ratio.log().abs() < math.log(1.05)).float().mean() >= 0.9
    assert ratio.mean().item() == pytest.approx(1, abs=0.03)


def test_whole_numbers_of_numpy_are_whole_numbers(trainer, tmp_path):
    labels = np.arange(60) % 3
    module = DistributionModule(
        "categorical",
        family_options={"num_classes": labels.max() + 1},
        hidden_sizes=np.array([4]),
        in_features=np.int64(2),
        ensemble=np.int64(2),
    )
    data = TabularDataModule.from_arrays(
        np.random.default_rng(0).normal(size=(60, 2)),
        labels,
        batch_size=np.int64(20),
        val_size=np.int64(10),
    )
    run = trainer(1)
    run.fit(module, data)
    run.save_checkpoint(tmp_path / "whole.ckpt")
    loaded = DistributionModule.load_from_checkpoint(tmp_path / "whole.ckpt")
    assert loaded.hparams["ensemble"] == 2
    assert len(data.part("val").rows) == 10


def test_a_row_of_weight_0_is_not_in_the_table(frame, trainer):
    """Statistics, losses and metrics are those of the table without it."""
    part = np.resize(["train", "train", "val", "test"], 200)
    absent = np.arange(200) % 5 == 0
    weighted = frame.assign(w=np.where(absent, 0.0, 1.0 + np.arange(200) % 2), part=part)
    weighted.loc[absent, "y"] = np.resize([1e9, np.nan, np.inf], absent.sum())
    found = []
    for table in (weighted, weighted[~absent].reset_index(drop=True)):
        data = TabularDataModule(
            table, target="y", weight="w", split_column="part", batch_size=1000
        )
        module = fit(trainer, data)
        numbers = trainer().test(module, data, verbose=False)[0]
        numbers["loc"], numbers["weights"] = (
            module.target_loc.item(),
            module.head.linear.weight.detach().sum().item(),
        )
        found.append(numbers)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_absent_rows_of_a_table_may_have_targets_and_exposures_that_cannot_be(frame, trainer):
    absent = np.arange(200) % 5 == 0
    table = frame.assign(
        w=np.where(absent, 0.0, 1.0),
        y=np.where(absent, -1.0, np.arange(200) % 4),
        months=np.where(absent, np.resize([np.nan, -2.0], 200), 3.0),
    )
    data = TabularDataModule(table, target="y", weight="w", known={"exposure": "months"})
    module = fit(trainer, data, family="poisson")
    assert all(parameter.isfinite().all() for parameter in module.parameters())
    assert not set(data.part("train").rows.tolist()) & set(np.flatnonzero(absent).tolist())


def test_a_row_of_weight_0_is_not_in_a_stream(frame, trainer, tmp_path):
    absent = np.arange(200) % 4 == 0
    table = frame.assign(w=np.where(absent, 0.0, 1.0 + np.arange(200) % 2))
    table.loc[absent, "y"] = np.resize([1e9, np.nan], absent.sum())
    found = []
    for name, rows in (("whole", table), ("alone", table[~absent])):
        (tmp_path / name).mkdir()
        rows.to_parquet(tmp_path / name / "0.parquet", index=False, row_group_size=50)
        data = TabularDataModule(
            tmp_path / name,
            target="y",
            weight="w",
            val_path=tmp_path / name,
            test_size=0,
            batch_size=1000,
        )
        module = fit(trainer, data, epochs=1)
        [numbers] = trainer().validate(module, data, verbose=False)
        found.append(
            numbers | {"loc": module.target_loc.item(), "scale": module.target_scale.item()}
        )
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_weights_count_rows_of_the_statistics(frame, trainer):
    weight = np.arange(200) % 3
    part = np.resize(["train", "train", "val"], 200)
    weighted = TabularDataModule(
        frame.assign(w=weight, part=part), target="y", weight="w", split_column="part"
    )
    repeated = (
        frame.assign(part=part).iloc[np.repeat(np.arange(200), weight)].reset_index(drop=True)
    )
    one = fit(trainer, weighted, epochs=0)
    other = fit(trainer, TabularDataModule(repeated, target="y", split_column="part"), epochs=0)
    for name in ("target_loc", "target_scale", "feature_loc", "feature_rate"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(one.marginal(1).scale, other.marginal(1).scale, rtol=1e-4, atol=0)


def test_a_table_without_weight_is_refused(frame, trainer):
    data = TabularDataModule(frame.assign(w=0.0), target="y", weight="w")
    with pytest.raises(ValueError, match="column 'w' has zero in all rows of training"):
        fit(trainer, data)


def test_checkpoints_that_had_their_units_in_the_module_are_read(frame, trainer, tmp_path):
    """Versions before 0.2 kept the location and scale of the target beside the head."""
    data = TabularDataModule(frame, target="y")
    module = fit(trainer, data, fixed={"scale": 25.0})
    state = module.state_dict()
    old = {name: value for name, value in state.items() if "target_" not in name}
    old |= {name: state[f"head.{name}"] for name in ("target_loc", "target_scale")}
    again = DistributionModule(**SMALL | {"fixed": {"scale": 25.0}, "columns": module.columns})
    again.load_state_dict(old)
    features = data.part("test").features
    with torch.no_grad():
        torch.testing.assert_close(again(features).loc, module(features).loc, rtol=0, atol=0)
        torch.testing.assert_close(
            again.marginal(3).scale, module.marginal(3).scale, rtol=0, atol=0
        )
