"""Loaders of one's own: statistics and start come from their first rows, and a row of weight 0 is
not there.
"""

import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import disthead as dh
from disthead.data.batches import Batch
from disthead.training import DistributionModule, NonFiniteLoss
from disthead.training import first_rows as first_rows_module

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:You defined a `validation_step` but have no `val_dataloader`"
    ),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]
MODEL = {
    "in_features": 2,
    "hidden_sizes": [8],
    "optimizer": {"class_path": "Adam", "init_args": {"lr": 0.01}},
}


@pytest.fixture
def rows(generator):
    """Inputs of 5 +- 100 and targets of 1e5 +- 3e4."""
    features = torch.randn(300, 2, generator=generator)
    y = 1e5 + 3e4 * (0.8 * features[:, 0] + 0.6 * torch.randn(300, generator=generator))
    return 5 + 100 * features, y


def loader(*tensors, batch_size=50, **options):
    return DataLoader(TensorDataset(*tensors), batch_size=batch_size, **options)


def fit(trainer, train, val=None, *, epochs=1, family="normal", options=None, **model):
    torch.manual_seed(0)
    module = DistributionModule(family, **MODEL | model)
    run = trainer(epochs, **options or {})
    run.fit(module, train, val)
    return module, run


def check_statistics(module, features, y):
    torch.testing.assert_close(module.target_loc, y.float().mean(0), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        module.target_scale, y.float().std(0, correction=0), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(module.feature_loc, features.float().mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        1 / module.feature_rate, features.float().std(0, correction=0), rtol=1e-4, atol=0
    )


def test_large_targets_are_learned_in_their_units(rows, trainer):
    module, run = fit(trainer, loader(*rows, shuffle=True), loader(*rows), epochs=20)
    check_statistics(module, *rows)
    noise = math.log(3e4 * 0.6) + 0.5 * math.log(2 * math.pi * math.e)
    assert float(run.callback_metrics["val/nll"]) == pytest.approx(noise, abs=0.15)
    own = torch.distributions.Normal(rows[1].mean(), rows[1].std(correction=0))
    assert float(run.callback_metrics["val/nll_marginal"]) == pytest.approx(
        -own.log_prob(rows[1]).mean().item(), rel=1e-4
    )
    dist = module(rows[0])
    logged = -torch.distributions.Normal(dist.loc, dist.scale).log_prob(rows[1]).mean()
    torch.testing.assert_close(dh.nll(dist, rows[1]), logged)


class Stream(IterableDataset):
    def __init__(self, *tensors):
        self.tensors = tensors

    def __iter__(self):
        yield from zip(*self.tensors, strict=True)


class Mappings(torch.utils.data.Dataset):
    def __init__(self, features, y):
        self.features, self.y = features, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return {
            "features": self.features[row],
            "y": self.y[row],
            "weight": torch.ones(()),
            "rows": row,
        }


class OwnData(lightning.LightningDataModule):
    def __init__(self, features, y):
        super().__init__()
        self.rows = features, y

    def setup(self, stage):
        self.train = TensorDataset(*self.rows)

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=50)


LOADERS = {
    "tensors": loader,
    "double precision": lambda x, y: loader(x.double(), y.double()),
    "stream": lambda x, y: DataLoader(Stream(x, y), batch_size=50),
    "mappings": lambda x, y: DataLoader(Mappings(x, y), batch_size=50),
    "a list of batches behind one's own class": lambda x, y: Again(
        [(x[:200], y[:200]), (x[200:], y[200:])]
    ),
    "data module": OwnData,
}


class Again:
    """An iterable without a length, which starts anew each time."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("kind", LOADERS)
def test_every_kind_of_loader_gives_the_statistics(rows, trainer, kind):
    module, _ = fit(trainer, LOADERS[kind](*rows))
    check_statistics(module, *rows)
    assert module(rows[0]).loc.mean().item() == pytest.approx(1e5, rel=0.2)


def test_an_iterator_that_reads_only_once_says_that_it_cannot_and_what_to_do(rows, trainer):
    batches = iter([(rows[0] / 100, rows[1] / 1e5)])
    with pytest.warns(UserWarning, match=r"rows come only once.*module\.start\(features, y\)"):
        module, _ = fit(trainer, batches)
    assert not module.head.is_standardised
    started = DistributionModule("normal", **MODEL).start(*rows)
    trainer(1).fit(started, iter([(rows[0], rows[1])]))  # warnings are errors
    check_statistics(started, *rows)


def test_a_start_takes_arrays_weights_and_known_quantities(rows):
    features, y = (part.numpy() for part in rows)
    weight = np.where(np.arange(300) < 100, 1.0, 0.0)
    y[100:] = np.nan
    module = DistributionModule("normal", **MODEL).start(features, y, weight)
    check_statistics(module, torch.from_numpy(features[:100]), torch.from_numpy(y[:100]))
    counts = DistributionModule("poisson", **MODEL).start(
        features, [2.0] * 300, exposure=[4.0] * 300
    )
    torch.testing.assert_close(counts.marginal(1, exposure=torch.ones(1)).rate, torch.tensor([0.5]))


def test_only_a_bounded_number_of_rows_is_read(rows, trainer, monkeypatch):
    monkeypatch.setattr(first_rows_module, "ROWS", 100)
    module, _ = fit(trainer, loader(*rows))
    check_statistics(module, rows[0][:100], rows[1][:100])


@pytest.mark.parametrize(
    "options, count",
    [
        ({"limit_train_batches": 2}, 100),
        ({"limit_train_batches": 0.5}, 150),
        ({"overfit_batches": 2}, 100),
        ({"fast_dev_run": True}, 50),
    ],
    ids=str,
)
def test_rows_that_are_not_trained_on_are_not_read(rows, trainer, options, count):
    module, _ = fit(trainer, loader(*rows), options=options)
    check_statistics(module, rows[0][:count], rows[1][:count])


def test_no_batches_are_no_start(rows, trainer):
    module, _ = fit(trainer, loader(*rows), options={"limit_train_batches": 0})
    assert not module.head.is_standardised


def test_reading_leaves_no_trace_in_the_order_of_training(rows, trainer):
    """The batches are those that come without a start, from the global generator and from one's
    own.
    """
    seen = {}
    for standardise in (True, False):
        for own in (True, False):

            class Records(DistributionModule):
                def training_step(self, batch, batch_index, key=(standardise, own)):
                    seen.setdefault(key, []).append(batch[1])
                    return super().training_step(batch, batch_index)

            torch.manual_seed(1)
            module = Records("normal", **MODEL | {"standardise": standardise})
            if not standardise:
                module._has_started = True
            torch.manual_seed(2)
            generator = torch.Generator().manual_seed(3) if own else None
            trainer(2).fit(
                module, loader(rows[0] / 100, rows[1] / 1e5, shuffle=True, generator=generator)
            )
    for own in (True, False):
        for one, other in zip(seen[True, own], seen[False, own], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.slow
def test_worker_processes_are_ended_and_kept_ones_come_back(rows, trainer):
    module, _ = fit(trainer, loader(*rows, num_workers=1, persistent_workers=True), epochs=2)
    check_statistics(module, *rows)


def test_standardise_false_only_starts_at_the_marginal_fit(rows, trainer):
    y = rows[1] / 1e4
    module, _ = fit(trainer, loader(rows[0], y), epochs=0, standardise=False)
    assert "feature_loc" not in module.state_dict()
    assert not module.head.is_standardised
    torch.testing.assert_close(module.marginal(1).loc, y.mean()[None], rtol=1e-3, atol=0)
    torch.testing.assert_close(module.head.linear.bias[0], y.mean(), rtol=1e-3, atol=0)


def test_counts_and_classes_keep_their_units_and_start_at_their_marginal_fit(rows, trainer):
    y = (rows[1] / 1e4).clamp(min=0).round()
    module, _ = fit(trainer, loader(rows[0], y), epochs=0, family="poisson")
    assert not module.head.is_standardised
    torch.testing.assert_close(module.marginal(1).rate, y.mean()[None], rtol=1e-4, atol=0)
    classes = (rows[1] > 1e5).long()
    module, _ = fit(
        trainer,
        loader(rows[0], classes),
        family="categorical",
        family_options={"num_classes": classes.max() + 1},
    )
    torch.testing.assert_close(
        module.marginal(1).probs[0, 1], classes.float().mean(), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("family, shape", [("normal", (2,)), ("multivariate_normal", (2,))])
def test_several_targets_have_a_unit_each(rows, trainer, family, shape):
    y = torch.stack([rows[1], rows[0][:, 1]], 1)
    module, _ = fit(trainer, loader(rows[0], y), family=family, event_shape=np.array(shape))
    check_statistics(module, rows[0], y)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, features):
        number, (pair,) = features["number"], features["others"]
        return self.layer(torch.cat([number[:, None], pair], 1))


class NestedRows(torch.utils.data.Dataset):
    def __init__(self, features, y, weight=None):
        self.features, self.y, self.weight = features, y, weight

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        number = self.features[row]
        batch = ({"number": number[0], "others": [number]}, self.y[row])
        return batch if self.weight is None else (*batch, self.weight[row])


def test_nested_inputs_are_left_alone_and_targets_are_standardised(rows, trainer):
    features, y = (rows[0] - 5) / 100, rows[1]
    weight = torch.where(torch.arange(300) < 200, 1.0, 0.0)
    spoiled = torch.where(weight > 0, y, math.nan)
    data = DataLoader(NestedRows(features, spoiled, weight), batch_size=50, shuffle=True)
    module = DistributionModule("normal", backbone=Nested(), backbone_features=4)
    run = trainer(2)
    run.fit(module, data, DataLoader(data.dataset, batch_size=50))
    torch.testing.assert_close(module.target_loc, y[:200].mean(), rtol=1e-5, atol=0)
    assert "feature_loc" not in module.state_dict()
    assert float(run.callback_metrics["val/nll"]) < 12


def test_sequences_have_a_mask(trainer, generator):
    """The loss of padded sequences is that of the entries that are there."""
    features = torch.randn(40, 7, 2, generator=generator)
    y = 1e3 + 50 * features.sum(-1)
    mask = torch.arange(7) < torch.randint(8, (40, 1), generator=generator)
    mask[:2] = False
    padded = torch.where(mask, y, math.nan)
    module, run = fit(
        trainer,
        loader(features, padded, mask, batch_size=8),
        loader(features, padded, mask, batch_size=8),
    )
    torch.testing.assert_close(module.target_loc, y[mask].mean(), rtol=1e-5, atol=0)
    with torch.no_grad():
        expected = dh.nll(module(features), padded, weight=mask)
    assert float(run.callback_metrics["val/nll"]) == pytest.approx(expected.item(), rel=1e-5)
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_checkpoints_keep_the_statistics(rows, trainer, tmp_path):
    module, run = fit(trainer, loader(*rows))
    run.save_checkpoint(tmp_path / "own.ckpt")
    loaded = DistributionModule.load_from_checkpoint(tmp_path / "own.ckpt").eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(rows[0]).loc, module(rows[0]).loc)
    [tested] = trainer().test(loaded, loader(*rows), verbose=False)
    assert tested["test/nll_marginal"] == pytest.approx(12, abs=1)

    other = rows[0] * 3, rows[1] * 2
    resumed = DistributionModule("normal", **MODEL)
    trainer(2).fit(resumed, loader(*other), ckpt_path=tmp_path / "own.ckpt")
    check_statistics(resumed, *rows)
    trainer(1).fit(loaded.train(), loader(*other))
    check_statistics(loaded, *rows)


def test_weights_that_were_loaded_are_not_started_anew(rows, trainer):
    module, _ = fit(trainer, loader(*rows), epochs=3)
    again = DistributionModule("normal", **MODEL)
    again.load_state_dict(module.state_dict())
    before = {name: value.clone() for name, value in again.state_dict().items()}
    trainer(0).fit(again, loader(*rows))
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_an_older_checkpoint_without_statistics_predicts_as_it_did(rows, trainer, tmp_path):
    module = DistributionModule("normal", **MODEL)
    run = trainer(0)
    run.strategy.connect(module)
    run.save_checkpoint(tmp_path / "old.ckpt")
    loaded = DistributionModule.load_from_checkpoint(tmp_path / "old.ckpt")
    torch.testing.assert_close(loaded(rows[0]).loc, module(rows[0]).loc)
    trainer(0).fit(loaded, loader(*rows))
    assert not loaded.head.is_standardised


def test_validation_before_fit_measures_the_model_as_it_is(rows, trainer):
    torch.manual_seed(0)
    module = DistributionModule("normal", **MODEL)
    [found] = trainer().validate(module, loader(*rows), verbose=False)
    with torch.no_grad():
        assert found["val/nll"] == pytest.approx(dh.nll(module(rows[0]), rows[1]).item(), rel=1e-5)
    assert "val/nll_marginal" not in found
    trainer(1).fit(module, loader(*rows))
    check_statistics(module, *rows)


def test_an_ensemble_starts_from_the_loader(rows, trainer):
    module, run = fit(trainer, loader(*rows), loader(*rows), ensemble=np.int64(3))
    check_statistics(module, *rows)
    assert float(run.callback_metrics["val/nll"]) < 12.5


def test_a_subclass_with_batches_of_its_own_trains_as_before(rows, trainer):
    class Own(DistributionModule):
        def training_step(self, batch, batch_index):
            first, second, _, y = batch
            return dh.nll(self(torch.stack([first, second], 1)), y)

    module = Own("normal", **MODEL)
    with pytest.warns(UserWarning, match=r"a batch must be .* module\.start"):
        trainer(1).fit(module, loader(rows[0][:, 0], rows[0][:, 1], rows[1], rows[1]))
    assert not module.head.is_standardised


def test_targets_that_vary_too_little_are_named(rows, trainer):
    with pytest.raises(ValueError, match="too little for"):
        fit(trainer, loader(rows[0], 1e9 + torch.randn(300, dtype=torch.float64)))


def test_batches_of_another_form_are_explained():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"got 4 parts\. Nest several features"):
        Batch.of((x, x, x, x))
    with pytest.raises(
        ValueError, match="unknown entry of a batch 'feature'; did you mean 'features'"
    ):
        Batch.of({"feature": x})
    with pytest.raises(ValueError, match="must have features"):
        Batch.of({"y": x})
    assert Batch.of([x]).features is x


def test_arrays_and_lists_of_a_batch_become_tensors():
    batch = Batch.of(
        (torch.zeros(3, 2), np.array([1.0, np.nan, 3.0]), [True, False, True])
    ).present()
    torch.testing.assert_close(batch.y, torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert batch.positions.tolist() == [0, 2]
    counts = Batch.of(
        {"features": torch.zeros(2, 2), "y": [1, 2], "known": {"exposure": [1.0, 2.0]}}
    )
    assert counts.known["exposure"].tolist() == [1.0, 2.0]


TWO_PROCESSES = """
import sys, lightning, torch
from torch.utils.data import DataLoader, TensorDataset
from disthead.training import DistributionModule
torch.set_num_threads(1)
folder, kind = sys.argv[1:]
generator = torch.Generator().manual_seed(0)
x = torch.randn(200, 2, generator=generator)
y, weight = 1e5 + 3e4 * x.sum(1), torch.ones(200)
if kind == "wrong":
    weight[7] = -1.0
if kind == "absent":
    weight[::4], y[::4] = 0.0, torch.nan
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", logger=False, log_every_n_steps=1,
    enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
)
torch.manual_seed(trainer.global_rank)  # another order and other weights in each process
module = DistributionModule("normal", in_features=2, hidden_sizes=[8])
loader = DataLoader(TensorDataset(x, y, weight), batch_size=16, shuffle=True)
trainer.fit(module, loader, loader)
numbers = module.state_dict() | {"nll": trainer.callback_metrics["val/nll"]}
torch.save(numbers, f"{folder}/{trainer.global_rank}.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["right", "absent", "wrong"])
def test_two_processes_have_the_statistics_of_the_first(tmp_path, kind):
    (tmp_path / "train.py").write_text(TWO_PROCESSES)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "train.py", str(tmp_path), kind]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    if kind == "wrong":
        assert done.returncode != 0
        assert "weight must be finite and zero or more" in done.stderr
        return
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first["head.target_loc"].item() == pytest.approx(1e5, rel=0.1)
    assert first["nll"] < 13
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, msg=name)


# Rows of weight 0.


def spoil(family, y):
    """A target that the family cannot have produced."""
    return torch.where(
        torch.arange(len(y)) % 3 == 0, -7 if not y.is_floating_point() else math.nan, y
    )


@pytest.mark.parametrize(
    "family, options",
    [("normal", {}), ("gamma", {}), ("poisson", {}), ("categorical", {"num_classes": 3})],
)
def test_a_row_of_weight_0_is_not_there_in_training_validation_and_tests(
    rows, trainer, family, options
):
    """The model, and every number that is logged, are those of a loader without these rows."""
    features = rows[0].clone()
    y = {
        "normal": rows[1],
        "gamma": rows[1].abs() + 1,
        "poisson": (rows[1].abs() / 1e4).round(),
        "categorical": torch.arange(300) % 3,
    }
    weight = torch.where(torch.arange(300) % 3 == 0, 0.0, 1.0 + torch.arange(300) % 2)
    there = weight > 0
    features[~there] = math.nan
    whole = loader(features, spoil(family, y[family]), weight, batch_size=60)
    alone = loader(features[there], y[family][there], weight[there], batch_size=40)
    found = []
    for data in (whole, alone):
        module, run = fit(trainer, data, data, epochs=2, family=family, family_options=options)
        numbers = dict(run.callback_metrics) | trainer().test(module, data, verbose=False)[0]
        found.append({name: float(value) for name, value in numbers.items()})
        found[-1] |= {
            "weights": sum(float(p.detach().double().square().sum()) for p in module.parameters())
        }
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert all(map(math.isfinite, found[0].values()))


def test_a_batch_that_is_not_there_costs_nothing_and_has_no_gradient(rows, trainer):
    module, _ = fit(
        trainer,
        loader(*rows),
        backbone=nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)),
        hidden_sizes=[],
    )
    batch = (torch.full((5, 2), math.nan), torch.full((5,), math.nan), torch.zeros(5))
    state = {name: value.clone() for name, value in module.state_dict().items()}
    module.zero_grad()
    loss = module.training_step(batch, 0)
    loss.backward()
    assert loss.item() == 0
    assert all(bool((p.grad == 0).all()) for p in module.parameters() if p.requires_grad)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)
    weight = torch.where(torch.arange(300) < 50, 0.0, 1.0)
    fit(trainer, loader(*rows, weight), loader(*rows, weight))


def test_exposures_of_rows_that_are_not_there_may_be_missing(rows, trainer):
    class Counts(Mappings):
        def __getitem__(self, row):
            there = row % 4 > 0
            return {
                "features": self.features[row],
                "y": torch.tensor(float(row % 5)) if there else torch.tensor(-1.0),
                "weight": float(there),
                "known": {"exposure": torch.tensor(2.0 if there else math.nan)},
            }

    data = DataLoader(Counts(*rows), batch_size=50)
    module, run = fit(trainer, data, data, family="poisson")
    assert math.isfinite(float(run.callback_metrics["val/nll"]))
    assert all(parameter.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize(
    "value, message",
    [(-1.0, r"-1 at row 3"), (math.nan, r"nan at row 3"), (math.inf, r"inf at row 3")],
)
def test_weights_that_cannot_be_are_refused_with_their_rows(rows, trainer, value, message):
    weight = torch.ones(300)
    weight[3] = value
    with pytest.raises(
        ValueError, match=f"weight must be finite and zero or more, got 1 of 50 values: {message}"
    ):
        fit(trainer, loader(*rows, weight))
    good = loader(*rows, torch.ones(300))
    with pytest.raises(ValueError, match=message):
        fit(trainer, good, loader(*rows, weight))


def test_weights_of_another_shape_are_refused(rows, trainer):
    with pytest.raises(
        ValueError, match=r"weight must have one value per row, shape \(50,\), got \(50, 1\)"
    ):
        fit(trainer, loader(*rows, torch.ones(300, 1)))


def test_an_epoch_without_weight_is_refused(rows, trainer):
    nothing = loader(*rows, torch.zeros(300))
    with pytest.raises(ValueError, match="got zero in the first 300 rows of training"):
        fit(trainer, nothing)
    with pytest.raises(ValueError, match="got zero in all rows of epoch 0"):
        fit(trainer, loader(*rows, torch.ones(300)), nothing)
    started = DistributionModule("normal", **MODEL).start(*rows)
    with pytest.raises(ValueError, match="got zero in all rows of epoch 0"):
        trainer(1).fit(started, nothing)
    with pytest.raises(ValueError, match="got zero in all rows of epoch"):
        trainer().test(started, nothing)


def test_a_loss_that_is_not_finite_is_still_found_and_counts_rows_as_they_came(rows, trainer):
    module = DistributionModule("normal", **MODEL).start(*rows)
    y, weight = rows[1].clone(), torch.ones(300)
    y[:5], weight[:5] = math.nan, 0.0
    y[7] = math.nan
    with pytest.raises(NonFiniteLoss, match=r"at rows 7 \(1 of 45 in the batch\)"):
        trainer(1).fit(module, loader(rows[0], y, weight))


def test_double_targets_cost_no_double_loss(rows, trainer):
    module, _ = fit(trainer, loader(rows[0], rows[1].double()))
    assert module(rows[0]).dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())


def test_nothing_of_it_warns(rows, trainer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DistributionModule("normal", **MODEL).start(*rows)
