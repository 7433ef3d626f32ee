"""Several heads on one backbone: missing targets, weights, logs, checkpoints, errors."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import disthead as dh
from disthead.errors import TargetError
from disthead.objectives import sum_of
from disthead.training import DistributionModule, MultitaskModule, NonFiniteLoss
from disthead.training.callbacks import BestAndLastCheckpoint, EarlyStopping

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:You defined a `validation_step` but have no `val_dataloader`"
    ),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]
NAN = math.nan
HEADS = {"price": "normal", "class": {"family": "categorical", "num_classes": 3}}
SMALL = {
    "in_features": 2,
    "hidden_sizes": [8],
    "optimizer": {"class_path": "Adam", "init_args": {"lr": 0.02}},
}


@pytest.fixture
def table(generator):
    """Features of 5 +- 100, a price of 1e5 +- 3e4 and three classes, both of the first feature."""
    x = torch.randn(300, 2, generator=generator)
    price = 1e5 + 3e4 * (0.8 * x[:, 0] + 0.6 * torch.randn(300, generator=generator))
    label = (x[:, 0] > -0.5).float() + (x[:, 0] > 0.5).float()
    return 5 + 100 * x, {"price": price, "class": label}


class Table(torch.utils.data.Dataset):
    def __init__(self, features, targets, *weight):
        self.parts = features, targets, *weight

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, row):
        return tuple(
            {name: values[row] for name, values in part.items()}
            if isinstance(part, dict)
            else part[row]
            for part in self.parts
        )


def loader(*parts, **options):
    return DataLoader(Table(*parts), batch_size=100, **options)


def fit(trainer, data, *, epochs=1, heads=HEADS, callbacks=None, **options):
    torch.manual_seed(0)
    module = MultitaskModule(heads, **SMALL | options)
    run = trainer(epochs, **({"callbacks": callbacks} if callbacks else {}))
    run.fit(module, data, data)
    return module, run


def cut(table, rows=60):
    """The table in which both targets are missing in some rows of their own."""
    features, targets = table
    price, label = targets["price"].clone(), targets["class"].clone()
    price[:rows], label[-rows:] = NAN, NAN
    return features, {"price": price, "class": label}


def test_both_heads_learn_in_the_units_of_their_targets(table, trainer):
    module, run = fit(trainer, loader(*cut(table)), epochs=30)
    logged = {name: float(value) for name, value in run.callback_metrics.items()}
    noise = math.log(3e4 * 0.6) + 0.5 * math.log(2 * math.pi * math.e)
    assert logged["val/price/nll"] == pytest.approx(noise, abs=0.15)
    assert logged["val/class/nll"] < 0.3 < logged["val/class/nll_marginal"]
    features, targets = cut(table)
    dists = module(features)
    there = ~targets["price"].isnan()
    torch.testing.assert_close(
        dh.nll(dists["price"][there], targets["price"][there]).item(),
        logged["val/price/nll"],
        rtol=1e-5,
        atol=0,
    )
    own = torch.distributions.Normal(
        targets["price"][there].mean(), targets["price"][there].std(correction=0)
    )
    marginal = -own.log_prob(targets["price"][there]).mean().item()
    assert logged["val/price/nll_marginal"] == pytest.approx(marginal, rel=1e-4)
    [predicted] = run.predict(module, DataLoader(TensorDataset(features), batch_size=300))
    torch.testing.assert_close(predicted["class"].probs, dists["class"].probs)


def test_one_head_is_the_model_of_a_distribution_module(table, trainer):
    """The same start, the same steps, the same weights."""
    features, targets = table
    module, _ = fit(
        trainer, loader(features, {"price": targets["price"]}), heads={"price": "normal"}
    )
    torch.manual_seed(0)
    single = DistributionModule("normal", **SMALL)
    trainer(1).fit(single, DataLoader(TensorDataset(features, targets["price"]), batch_size=100))
    torch.testing.assert_close(module(features)["price"].loc, single(features).loc)
    torch.testing.assert_close(module(features)["price"].scale, single(features).scale)


def test_a_missing_target_counts_for_nothing_and_a_mask_says_the_same(table, trainer):
    features, targets = cut(table)
    filled = {name: values.nan_to_num(1.0) for name, values in targets.items()}
    masks = {name: ~values.isnan() for name, values in targets.items()}
    missing, _ = fit(trainer, loader(features, targets))
    masked, _ = fit(trainer, loader(features, filled, masks))
    a, b = missing(features), masked(features)
    torch.testing.assert_close(a["price"].loc, b["price"].loc)
    torch.testing.assert_close(a["class"].logits, b["class"].logits)


def test_the_loss_of_a_batch_is_the_weighted_mean_of_the_sums(table):
    features, targets = cut(table)
    module = MultitaskModule(HEADS, sum_of({"price": "crps", "class": "nll"}), **SMALL)
    module.start(features, targets)
    weight = torch.linspace(0.0, 2.0, 300)
    got = module.training_step((features, targets, weight), 0)
    dists, y = module(features, standardised=True), dict(targets)
    head = module.heads[0]
    y["price"] = (y["price"] - head.target_loc) / head.target_scale
    rows = module.objective(dists, y)
    torch.testing.assert_close(got, (weight * rows).sum() / weight.sum())


def test_what_the_objective_of_a_head_does_not_train_is_the_same_for_all_rows(table, trainer):
    with pytest.warns(UserWarning, match="objective 'mse' does not train scale of normal"):
        module, _ = fit(trainer, loader(*table), objective={"price": "mse", "class": "nll"})
    scale = module(table[0])["price"].scale
    torch.testing.assert_close(scale, scale[:1].expand(300))


class Later:
    """The objective of a training of four steps, whose first step has another one."""

    steps: list

    def __init__(self):
        self.steps = []

    def __call__(self, dist, y):
        return dh.objectives.nll(dist, y)

    validated_by = staticmethod(dh.objectives.crps)

    def at_step(self, step):
        self.steps.append(step)
        return self


def test_objectives_are_asked_at_each_step_and_validated_by_their_own_choice(table, trainer):
    later = Later()
    objective = sum_of({"price": later, "class": "nll"})
    module, run = fit(trainer, loader(*table), epochs=2, objective=objective)
    assert later.steps[-6:] == [0, 1, 2, 3, 4, 5]
    logged, head = run.callback_metrics, module.heads[0]
    crps = dh.objectives.crps(module(table[0])["price"], table[1]["price"]).mean().item()
    expected = crps / head.target_scale.item() + float(logged["val/class/nll"])
    assert float(logged["val/objective"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [None, {"price": 2.0, "class": 0.5}, "learned"])
def test_a_checkpoint_holds_the_model_and_its_objective(table, trainer, tmp_path, weights):
    objective = sum_of({"price": "crps", "class": "nll"}, weights=weights)
    module, run = fit(trainer, loader(*table), objective=objective)
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = MultitaskModule.load_from_checkpoint(tmp_path / "model.ckpt")
    assert loaded.objective.factors == module.objective.factors
    assert loaded.has_started
    for name, dist in loaded(table[0]).items():
        for parameter in dist.arg_constraints:
            torch.testing.assert_close(
                getattr(dist, parameter),
                getattr(module(table[0])[name], parameter),
                rtol=0,
                atol=0,
            )
    if weights == "learned":
        assert module.objective.factors != {"price": 1.0, "class": 1.0}
        assert float(run.callback_metrics["train/price/factor"]) == pytest.approx(
            module.objective.factors["price"]
        )


def test_training_that_goes_on_ends_where_one_without_a_break_does(table, trainer, tmp_path):
    whole, _ = fit(trainer, loader(*table), epochs=2)
    _, run = fit(trainer, loader(*table), epochs=1)
    run.save_checkpoint(tmp_path / "half.ckpt")
    module = MultitaskModule(HEADS, **SMALL)
    trainer(2).fit(module, loader(*table), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    torch.testing.assert_close(module(table[0])["price"].loc, whole(table[0])["price"].loc)


def test_the_callbacks_of_the_library_watch_the_objective(table, trainer, tmp_path):
    best = BestAndLastCheckpoint(tmp_path)
    _, run = fit(trainer, loader(*table), epochs=2, callbacks=[best, EarlyStopping()])
    score = float(run.callback_metrics["val/objective"])
    assert float(best.best_model_score) <= score
    MultitaskModule.load_from_checkpoint(best.best_model_path)


def test_functions_and_modules_of_ones_own_are_given_again(table, trainer, tmp_path):
    def own_score(dist, y):
        return dist.crps(y)

    objective = sum_of({"price": own_score, "class": "nll"})
    backbone = nn.Sequential(nn.Linear(2, 8), nn.Tanh())
    module, run = fit(trainer, loader(*table), objective=objective, backbone=backbone)
    assert "val/price/own_score" in run.callback_metrics
    path = tmp_path / "model.ckpt"
    run.save_checkpoint(path)
    with pytest.raises(ValueError, match=r"objective of price was given as an object: .*again"):
        MultitaskModule.load_from_checkpoint(path)
    with pytest.raises(ValueError, match=r"trained with a backbone given as .*again"):
        MultitaskModule.load_from_checkpoint(path, objective=objective)
    loaded = MultitaskModule.load_from_checkpoint(
        path, objective=objective, backbone=nn.Sequential(nn.Linear(2, 8), nn.Tanh())
    )
    torch.testing.assert_close(loaded(table[0])["price"].loc, module(table[0])["price"].loc)


def test_checkpoints_of_other_models_and_strangers_are_refused(table, trainer, tmp_path):
    path = tmp_path / "other.ckpt"
    single = DistributionModule("normal", **SMALL)
    run = trainer(1)
    run.fit(single, DataLoader(TensorDataset(table[0], table[1]["price"]), batch_size=100))
    run.save_checkpoint(path)
    with pytest.raises(ValueError, match="not a checkpoint of a MultitaskModule"):
        MultitaskModule.load_from_checkpoint(path)
    with pytest.raises(ValueError, match="no such checkpoint"):
        MultitaskModule.load_from_checkpoint(tmp_path / "none.ckpt")
    contents = torch.load(path, weights_only=True)
    contents["hyper_parameters"] = {"heads": {"price": {"family": "os.system"}}}
    torch.save(contents, path)
    with pytest.raises(ValueError, match=r"names the class 'os.system' .heads.price.family."):
        MultitaskModule.load_from_checkpoint(path)


def test_a_head_without_any_target_in_a_batch_gets_no_gradient(table):
    features, targets = cut(table, 100)
    module = MultitaskModule(HEADS, **SMALL).start(features, targets)
    few = features[:50], {name: values[:50] for name, values in targets.items()}
    module.training_step(few, 0).backward()
    assert module.heads[0].head.linear.weight.grad.eq(0).all()
    assert module.heads[1].head.linear.weight.grad.ne(0).any()
    none = features[:50], {"price": torch.full((50,), NAN), "class": torch.full((50,), NAN)}
    assert module.training_step(none, 0) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"heads": {}}, "heads must name at least one head"),
        ({"heads": ["normal"]}, "heads must be a mapping from names"),
        ({"heads": {"price": {"num_classes": 3}}}, "head 'price' needs a family by its name"),
        ({"heads": {"price": "norml"}}, "head 'price': unknown family 'norml'; did you mean"),
        ({"heads": {"price": {"family": "normal", "num": 3}}}, "head 'price': unknown option"),
        ({"objective": {"price": "nll"}}, "names of objectives must be those of the heads"),
        ({"objective": "crps"}, "objective must be disthead.objectives.sum_of, or a mapping"),
        (
            {"objective": {"price": "nll", "class": "crps"}},
            "head 'class': objective 'crps' cannot train the family categorical",
        ),
        ({"in_features": None}, "in_features must be an integer"),
        ({"backbone": nn.Linear(5, 2)}, r"backbone does not take features of shape \(2, 2\)"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        MultitaskModule(**{"heads": HEADS, **SMALL} | options)


def test_the_likelihood_of_all_heads_is_the_default_and_has_a_name():
    by_name, by_default = (MultitaskModule(HEADS, **SMALL | o) for o in ({"objective": "nll"}, {}))
    assert by_name.hparams["objective"] == by_default.hparams["objective"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"class": None}, "names of targets must be those of the heads, 'price', 'class', got"),
        ({"size": torch.zeros(300)}, "got 'price', 'class', 'size'"),
        ({"price": torch.zeros(299)}, "same rows, got {'price': 299, 'class': 300} rows"),
        ({"price": torch.full((300,), math.inf)}, "head 'price': .*finite"),
        ({"class": torch.full((300,), 3.0)}, r"head 'class': .*class index 0, \.\.\., 2"),
        ({"class": torch.full((300,), NAN)}, "head 'class': weights must be above zero"),
    ],
)
def test_targets_that_cannot_be(table, change, message):
    targets = {name: y for name, y in (table[1] | change).items() if y is not None}
    with pytest.raises(ValueError, match=message):
        MultitaskModule(HEADS, **SMALL).start(table[0], targets)


def test_batches_that_cannot_be(table, trainer):
    module = MultitaskModule(HEADS, **SMALL).start(*table)
    with pytest.raises(ValueError, match=r"targets must be a mapping .*got Tensor"):
        trainer(1).fit(module, DataLoader(TensorDataset(table[0], table[1]["price"])))
    with pytest.raises(ValueError, match="unknown entry of a batch 'label'"):
        module.training_step({"features": table[0], "label": table[1]}, 0)
    with pytest.raises(ValueError, match="unknown head of a weight 'prize'; did you mean 'price'"):
        module.training_step((*table, {"prize": torch.ones(300)}), 0)
    with pytest.raises(ValueError, match=r"or \(features, targets, weight\), got 4 parts"):
        module.training_step((*table, None, None), 0)
    with pytest.raises(ValueError, match="a batch must have features"):
        module.training_step({"y": table[1]}, 0)
    with pytest.raises(ValueError, match="at least one row, got an empty batch"):
        module.training_step((table[0][:0], {name: y[:0] for name, y in table[1].items()}), 0)
    for features in (table[0][:, :1], table[0].repeat(1, 2), table[0].long()):
        with pytest.raises(ValueError, match=r"table \(N, 2\) of floating-point numbers, .*got"):
            module.training_step((features, table[1]), 0)
    missing = table[0].clone()
    missing[7, 1] = NAN
    with pytest.raises(ValueError, match=r"features must be finite, .*nan at row 7, column 1"):
        module.start(missing, table[1])
    wrong = table[1] | {"class": torch.full((300,), 7.0)}
    with pytest.raises(TargetError, match="target 'class' must be a class index"):
        module.training_step((table[0], wrong), 0)


def test_a_loss_that_is_not_finite_ends_training(table, trainer):
    module = MultitaskModule(HEADS, **SMALL).start(*table)
    with torch.no_grad():
        module.heads[0].head.linear.bias.fill_(NAN)
    with pytest.raises(NonFiniteLoss, match="the loss became NaN or infinite in epoch 0, at rows"):
        trainer(1).fit(module, loader(*table))


def test_images_take_a_backbone_of_ones_own(trainer, generator):
    images = torch.randn(40, 1, 4, 4, generator=generator)
    targets = {"size": images.mean((1, 2, 3)), "side": (images[:, 0, 0, 0] > 0).long()}
    module = MultitaskModule(
        {"size": "normal", "side": "bernoulli"},
        backbone=nn.Sequential(nn.Flatten(), nn.Linear(16, 4)),
        backbone_features=4,
    )
    trainer(1).fit(module, loader(images, targets))
    assert module(images)["side"].probs.shape == (40,)
