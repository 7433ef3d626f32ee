"""Training without waste: several steps in one call of Lightning are the steps, and nothing waits
for the device.
"""

import math
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode

import disthead as dh
import disthead.training
from disthead.data.batches import Batches, Steps
from disthead.data.columns import Encoded
from disthead.training import DistributionModule, NonFiniteLoss, TabularDataModule
from disthead.training.callbacks import AverageWeights
from disthead.training.steps import RowMeans, StepLosses
from tests.cases import CASES

SMALL = {"hidden_sizes": [8], "optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.01}}}
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "equal.default")


class OneByOne(Callback):
    """A callback that takes part in single steps, so that Lightning makes each of them."""

    def on_train_batch_end(self, *arguments):
        pass


class CountsWaits(TorchDispatchMode):
    """Counts the calls for which the host would wait for the device."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(name in str(function) for name in WAITS):
            self.found[str(function)] += 1
        return function(*args, **(kwargs or {}))


def train(
    trainer, frame, *, callbacks=(), epochs=3, ckpt_path=None, data=None, options=None, **model
):
    torch.manual_seed(0)
    module = DistributionModule(**SMALL | model)
    data = data or {}
    run = trainer(
        epochs, **{"callbacks": list(callbacks), "enable_checkpointing": False} | (options or {})
    )
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Checkpoint directory|Be aware that when using `ckpt_path`, callbacks"
        )
        run.fit(
            module,
            TabularDataModule(frame, **{"target": "y", "batch_size": 10} | data),
            ckpt_path=ckpt_path,
        )
    return module, run


def assert_same(one, other):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0, msg=name)


def numbers(run):
    return {name: float(value) for name, value in run.callback_metrics.items()}


STEPWISE = {"class_path": "CosineAnnealingLR", "init_args": {"T_max": 40}, "interval": "step"}
PLATEAU = {
    "class_path": "ReduceLROnPlateau",
    "init_args": {"patience": 0, "factor": 0.5},
    "monitor": "val/nll",
}
MODES = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "weights": {"data": {"weight": "w"}},
    "known": {"family": "poisson", "data": {"target": "n", "known": {"exposure": "w"}}},
    "schedule by step": {"scheduler": STEPWISE},
    "schedule by epoch": {
        "scheduler": {"class_path": "ExponentialLR", "init_args": {"gamma": 0.5}}
    },
    "plateau": {"scheduler": PLATEAU},
    "clipped": {"options": {"gradient_clip_val": 0.01}},
    "clipped by value": {
        "options": {"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"}
    },
    "LBFGS": {"optimizer": {"class_path": "LBFGS", "init_args": {"lr": 0.1, "max_iter": 3}}},
    "SGD": {"optimizer": {"class_path": "SGD", "init_args": {"lr": 0.1, "momentum": 0.9}}},
    "no validation": {"data": {"val_size": 0}},
}


@pytest.fixture
def table(frame) -> pd.DataFrame:
    return frame.assign(w=np.linspace(0.5, 2, 200), n=np.arange(200) % 5)


@pytest.mark.parametrize("name", MODES)
def test_several_steps_are_the_steps_one_by_one(table, trainer, name):
    fast, fast_run = train(trainer, table, **MODES[name])
    slow, slow_run = train(trainer, table, callbacks=[OneByOne()], **MODES[name])
    batches = len(slow_run.train_dataloader)
    assert len(fast_run.train_dataloader) == 1 < batches  # the two did go their own ways
    assert fast_run.global_step == slow_run.global_step >= 3 * batches
    assert numbers(fast_run) == pytest.approx(numbers(slow_run), rel=1e-6)
    assert {"train/nll"} <= set(numbers(fast_run))
    assert_same(slow, fast)


def test_train_nll_is_the_mean_over_the_rows_of_the_epoch(table, trainer):
    """With a learning rate of zero it is the nll of the training rows."""
    module, run = train(
        trainer,
        table,
        optimizer={"class_path": "SGD", "init_args": {"lr": 1e-30}},
        data={"weight": "w"},
        epochs=1,
    )
    data = TabularDataModule(table, target="y", weight="w")
    part = data.part("train")
    with torch.no_grad():
        expected = dh.nll(module(part.features), part.y, weight=part.table.weight[part.rows])
    assert run.callback_metrics["train/nll"].item() == pytest.approx(expected.item(), rel=1e-5)


COUNTING = {
    "max_steps": {"max_steps": 17},
    "limit_train_batches": {"limit_train_batches": 5},
    "val_check_interval": {"val_check_interval": 0.25},
    "accumulation": {"accumulate_grad_batches": 3},
    "bf16": {"precision": "bf16-mixed"},
}


@pytest.mark.parametrize("name", COUNTING)
def test_where_lightning_counts_batches_each_step_is_its_own(table, trainer, name):
    _, run = train(trainer, table, options=COUNTING[name])
    assert len(run.train_dataloader) == 12
    expected = {"max_steps": 17, "limit_train_batches": 15, "accumulation": 12}
    assert run.global_step == expected.get(name, 36)


@pytest.mark.parametrize("callback", [OneByOne, lambda: ModelCheckpoint(every_n_train_steps=5)])
def test_callbacks_of_single_steps_see_each(table, trainer, callback):
    _, run = train(trainer, table, callbacks=[callback()], options={"enable_checkpointing": True})
    assert len(run.train_dataloader) == 12


def test_a_module_with_hooks_of_its_own_gets_single_steps(table, trainer):
    class Mine(DistributionModule):
        seen = 0

        def on_before_optimizer_step(self, optimizer):
            self.seen += 1

    module = Mine(**SMALL)
    trainer(2).fit(module, TabularDataModule(table, target="y", batch_size=10))
    assert module.seen == 24


def test_the_log_counts_optimizer_steps(table, trainer, tmp_path):
    frames = []
    for callbacks in ([], [OneByOne()]):
        logger = CSVLogger(tmp_path, name=str(len(callbacks)))
        train(trainer, table, callbacks=callbacks, options={"logger": logger})
        frames.append(pd.read_csv(f"{logger.log_dir}/metrics.csv"))
    pd.testing.assert_frame_equal(*frames)
    assert frames[0]["step"].max() == 35


class LogsItsOwn(Callback):
    def on_validation_epoch_end(self, trainer, module):
        module.log("val/own", 1.0)

    def on_train_epoch_end(self, trainer, module):
        module.log_dict({"own": 2.0})


def test_what_others_log_has_the_step_too(table, trainer, tmp_path):
    logger = CSVLogger(tmp_path)
    _, run = train(trainer, table, callbacks=[LogsItsOwn()], options={"logger": logger})
    assert len(run.train_dataloader) == 1
    frame = pd.read_csv(f"{logger.log_dir}/metrics.csv")
    for name in ("val/own", "own", "val/nll", "train/nll"):
        there = frame[frame[name].notna()]
        assert there["step"].tolist() == [11, 23, 35], name
        assert there["epoch"].tolist() == [0, 1, 2], name


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_a_monitor_of_learning_rates_logs_the_steps(table, trainer, tmp_path, interval):
    frames = []
    for callbacks in ([], [OneByOne()]):
        logger, monitor = (
            CSVLogger(tmp_path, name=str(len(callbacks))),
            LearningRateMonitor(interval),
        )
        scheduler = STEPWISE if interval == "step" else MODES["schedule by epoch"]["scheduler"]
        train(
            trainer,
            table,
            callbacks=[monitor, *callbacks],
            options={"logger": logger},
            scheduler=scheduler,
        )
        frames.append(pd.read_csv(f"{logger.log_dir}/metrics.csv"))
    pd.testing.assert_frame_equal(*frames)


def test_a_module_is_trained_again_by_a_trainer_that_makes_single_steps(table, trainer):
    """Lightning refuses clipping and accumulation where a module makes its own steps, and looks
    before `fit` begins.
    """
    module, _ = train(trainer, table, epochs=1)
    data = TabularDataModule(table, target="y", batch_size=10)
    run = trainer(2, accumulate_grad_batches=3, gradient_clip_val=1.0)
    run.fit(module, data)
    assert run.global_step == 8
    run = trainer(2, gradient_clip_val=1.0)
    run.fit(module, data)
    assert len(run.train_dataloader) == 1
    assert run.global_step == 24


def test_a_run_that_is_fitted_further_counts_on(table, trainer):
    module, run = train(trainer, table, epochs=1)
    run.fit_loop.max_epochs = 3
    run.fit(module, run.datamodule)
    assert run.global_step == 36


def test_a_loader_that_is_made_anew_gives_single_steps(table, trainer):
    whole, _ = train(trainer, table)
    again, run = train(trainer, table, options={"reload_dataloaders_every_n_epochs": 1})
    assert run.global_step == 36
    assert_same(whole, again)


def test_a_metric_that_a_scheduler_misses_is_named(table, trainer):
    with pytest.raises(
        ValueError,
        match=r"unknown metric that the scheduler monitors 'val/nil'; did you mean 'val/nll'",
    ):
        train(trainer, table, scheduler=PLATEAU | {"monitor": "val/nil"})


def test_no_counter_of_lightnings_loops_is_touched():
    """Their names may change with any version."""
    for path in Path(disthead.training.__file__).parent.glob("*.py"):
        assert not re.search(
            r"fit_loop\.\w*loop|optim_progress\.|_batches_that_stepped", path.read_text()
        ), path


def test_learning_rates_of_single_steps_can_be_watched(table, trainer, tmp_path):
    logger = CSVLogger(tmp_path)
    train(
        trainer,
        table,
        callbacks=[LearningRateMonitor("step")],
        options={"logger": logger},
        scheduler=STEPWISE,
    )
    assert pd.read_csv(f"{logger.log_dir}/metrics.csv")["lr-AdamW"].nunique() == 36


@pytest.mark.parametrize("first, second", [(True, False), (False, True), (True, True)])
def test_a_run_is_resumed_in_either_way(table, trainer, tmp_path, first, second):
    """`True` is one by one: from an epoch's end it does not matter which way the checkpoint came
    about.
    """
    one_by_one = {True: [OneByOne()], False: []}
    whole, whole_run = train(trainer, table, epochs=4, dropout=0.2, scheduler=STEPWISE)
    saved = ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)
    options = {"options": {"enable_checkpointing": True}, "dropout": 0.2, "scheduler": STEPWISE}
    train(trainer, table, epochs=2, callbacks=[saved, *one_by_one[first]], **options)
    again, run = train(
        trainer, table, epochs=4, callbacks=one_by_one[second], ckpt_path=tmp_path / "epoch=1.ckpt",
        dropout=0.2, scheduler=STEPWISE,
    )  # fmt: skip
    assert run.global_step == whole_run.global_step == 48
    assert len(run.train_dataloader) == (12 if second else 1)
    assert_same(whole, again)


class Stops(nn.Module):
    """A backbone that fails once, at the call `at`."""

    def __init__(self, at: float):
        super().__init__()
        self.at, self.calls = at, 0
        torch.manual_seed(1)
        self.layer = nn.Linear(7, 4)

    def forward(self, features):
        self.calls += self.training and torch.is_grad_enabled()
        if self.calls == self.at:
            raise RuntimeError("power cut")
        return self.layer(features)


@pytest.mark.parametrize("at", [2, 5, 12, 14, 24, 30])
def test_an_exception_among_several_steps_leaves_a_checkpoint_that_goes_on_where_they_were(
    table, trainer, tmp_path, at
):
    whole, whole_run = train(trainer, table, backbone=Stops(math.inf), backbone_features=4)
    saved = ModelCheckpoint(dirpath=tmp_path, filename="cut", save_on_exception=True)
    with pytest.raises(RuntimeError, match="power cut"):
        train(
            trainer, table, backbone=Stops(at), backbone_features=4, callbacks=[saved],
            options={"enable_checkpointing": True},
        )  # fmt: skip
    [path] = tmp_path.glob("*.ckpt")
    again, run = train(
        trainer, table, backbone=Stops(math.inf), backbone_features=4, ckpt_path=path
    )
    assert run.global_step == whole_run.global_step == 36
    assert_same(whole, again)
    assert numbers(run) == pytest.approx(numbers(whole_run), rel=1e-6)


class Breaks(nn.Module):
    def forward(self, features):
        return torch.where(features.abs() > 9, math.nan, features)


@pytest.mark.filterwarnings("ignore:Checkpoint directory", "ignore:Numbers that lie far")
@pytest.mark.parametrize("callbacks", [[], [OneByOne()]], ids=["several", "one by one"])
def test_a_loss_that_is_not_finite_names_its_rows_and_spares_the_checkpoint(
    table, trainer, tmp_path, callbacks
):
    part = np.array(["train"] * 160 + ["val"] * 40)
    table = table[["x", "z", "colour", "y"]].assign(part=part)
    data = {"split_column": "part"}
    saved = ModelCheckpoint(dirpath=tmp_path, monitor="val/nll", filename="best", save_last=True)
    options = {"options": {"enable_checkpointing": True}}
    module, _ = train(trainer, table, backbone=Breaks(), callbacks=[saved], data=data, **options)
    table.loc[[37, 90], "x"] = 1e6
    saved = ModelCheckpoint(dirpath=tmp_path, monitor="val/nll", filename="best", save_last=True)
    run = trainer(4, callbacks=[saved, EarlyStopping("val/nll"), *callbacks])
    broken = TabularDataModule(table, target="y", batch_size=10, **data)
    first = next(
        row
        for batch in Batches(*broken.part("train"), 10, seed=0)
        for row in batch["rows"].tolist()
        if row in (37, 90)
    )
    message = rf"in epoch 0, at rows .*{first}.* \([12] of 10 in the batch\)"
    with pytest.raises(NonFiniteLoss, match=message):
        run.fit(module, broken)
    assert len(list(tmp_path.glob("*.ckpt"))) == 2
    for path in tmp_path.glob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(bool(value.isfinite().all()) for value in state.values())
    with pytest.raises(NonFiniteLoss):
        run.save_checkpoint(tmp_path / "by_hand.ckpt")
    assert not (tmp_path / "by_hand.ckpt").exists()


def test_training_steps_wait_for_nothing(table, trainer, monkeypatch):
    """The host looks at losses twice an epoch, and never within a step."""
    waits = CountsWaits()
    inside = DistributionModule._several_steps

    def counted(self, steps):
        with waits:
            inside(self, steps)

    monkeypatch.setattr(DistributionModule, "_several_steps", counted)
    options = {"gradient_clip_val": 1.0, "enable_checkpointing": True}
    train(
        trainer,
        table,
        callbacks=[AverageWeights()],
        data={"weight": "w"},
        options=options,
        scheduler=STEPWISE,
    )
    assert not waits.found
    with waits:
        assert torch.ones(1).item() == 1  # the counter counts
    assert waits.found


# The losses of these look at numbers in the memory of the host (`special/eager.py: are_concrete`).
LOOK_AT_NUMBERS = (
    *("skew_t", "gaussian_copula", "zero_one_inflated", "zero_inflated", "binomial"),
    *("beta_binomial", "dirichlet_multinomial", "conway_maxwell_poisson", "discretised"),
    "truncated",
)
WITHOUT_WAITS = [case for case in CASES if case.family not in LOOK_AT_NUMBERS]


@pytest.mark.parametrize("case", WITHOUT_WAITS, ids=str)
def test_no_family_waits_in_a_loss(case):
    head = case.head()
    torch.manual_seed(0)
    features = torch.randn(6, 3)
    y = head(features).sample()
    with CountsWaits() as waits:
        dist = head(features)
        dist = dist.affine(*map(torch.tensor, case.units)) if case.units else dist
        dh.nll(dist, y if not case.units else dist.sample()).backward()
    assert not waits.found


def test_the_batches_of_several_steps_are_the_batches():
    table = Encoded(
        torch.randn(103, 2), torch.randn(103), torch.rand(103), {"n": torch.arange(103)}
    )
    index = torch.arange(100)
    single = list(Batches(table, index, 9, seed=3))
    several = Batches(table, index, 9, seed=3, steps=5)
    chunks = list(several)
    assert len(several) == len(chunks) == 3
    assert all(isinstance(chunk, Steps) for chunk in chunks)
    batches = [batch for chunk in chunks for batch in chunk.batches()]
    assert len(batches) == len(single) == 12
    for batch, expected in zip(batches, single, strict=True):
        for name in ("features", "y", "weight", "rows"):
            torch.testing.assert_close(getattr(batch, name), expected[name], rtol=0, atol=0)
        torch.testing.assert_close(batch.known["n"], expected["known"]["n"])
        torch.testing.assert_close(batch.total, expected["total"])


def test_rows_of_several_steps_are_gathered_when_they_are_asked_for(monkeypatch):
    gathered, gather = [], Batches._rows
    monkeypatch.setattr(
        Batches, "_rows", lambda self, rows: gathered.append(len(rows)) or gather(self, rows)
    )
    table = Encoded(torch.randn(30_000, 2), torch.randn(30_000), None, {})
    [steps] = Batches(table, torch.arange(30_000), 2000, steps=64)
    batches = steps.batches()
    assert not gathered
    next(batches)
    assert 0 < sum(gathered) < 10_000
    assert steps.count == 1 + len(list(batches)) == 15
    assert sum(gathered) == 30_000


@pytest.mark.parametrize(
    "family, options, is_large",
    [
        ("normal", {}, False),
        ("laplace", {"event_shape": [4], "ensemble": 8}, False),
        ("categorical", {"family_options": {"num_classes": 5000}}, True),
        ("multivariate_normal", {"event_shape": [100]}, True),
        ("student_t", {"event_shape": [100], "ensemble": 8}, True),
    ],
)
def test_validation_takes_many_rows_at_once_unless_each_is_large(family, options, is_large):
    module = DistributionModule(family, in_features=2, **options)
    rows, outputs = module.validated_at_once, module.head.linear.bias.numel()
    assert (rows < 1 << 14) == is_large
    assert rows * outputs <= 1 << 23
    assert rows == 1 << 14 or (rows + 1) * outputs > 1 << 23


def test_losses_of_steps_of_any_size_are_added_up():
    means = RowMeans()
    losses = StepLosses(means)
    parts = [torch.randn(size) for size in (3, 10, 1, 40, 7)]
    for _ in range(2):
        for values in parts:
            losses.add(values)
        losses.look(None)
    total, weight = means.sums["nll"]
    torch.testing.assert_close(total, 2 * torch.cat(parts).double().sum())
    assert weight == 2 * 61


def test_fused_unless_asked_otherwise(table, trainer):
    def optimizer(spec, **options):
        _, run = train(trainer, table, epochs=1, optimizer=spec, options=options)
        return run.optimizers[0].param_groups[0].get("fused")

    assert optimizer("AdamW")
    assert optimizer({"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}})
    assert not optimizer({"class_path": "AdamW", "init_args": {"fused": False}})
    assert not optimizer({"class_path": "AdamW", "init_args": {"foreach": True}})
    assert not optimizer({"class_path": "RMSprop", "init_args": {"lr": 0.1}})


class CountsItsSteps(torch.optim.SGD):
    steps = zeroed = 0

    def step(self, closure=None):
        self.steps += 1
        return super().step(closure)

    def zero_grad(self, set_to_none=True):
        self.zeroed += 1
        super().zero_grad(set_to_none)


def with_optimizer(make):
    class Made(DistributionModule):
        def configure_optimizers(self):
            return make([parameter for parameter in self.parameters() if parameter.requires_grad])

    return Made(hidden_sizes=[8])


def test_an_optimizer_of_ones_own_takes_its_own_steps(table, trainer):
    module, run = with_optimizer(lambda parameters: CountsItsSteps(parameters, lr=0.01)), trainer(3)
    run.fit(module, TabularDataModule(table, target="y", batch_size=10))
    assert len(run.train_dataloader) == 1
    assert run.optimizers[0].steps == run.optimizers[0].zeroed == 36


@pytest.mark.parametrize("of_all", [False, True])
def test_hooks_of_optimizers_see_each_step(table, trainer, of_all):
    seen, handles = [], []

    def make(parameters):
        optimizer = torch.optim.AdamW(parameters)
        register = (
            register_optimizer_step_post_hook if of_all else optimizer.register_step_post_hook
        )
        handles.append(register(lambda *arguments: seen.append(1)))
        return optimizer

    run = trainer(3)
    run.fit(with_optimizer(make), TabularDataModule(table, target="y", batch_size=10))
    handles[0].remove()
    assert len(run.train_dataloader) == 1
    assert len(seen) == 36


def test_a_profiler_sees_each_step(table, trainer):
    with torch.profiler.profile() as profile:
        train(trainer, table, epochs=1)
    counts = {event.key: event.count for event in profile.key_averages()}
    assert (
        counts["Optimizer.step#AdamW.step"] == counts["Optimizer.zero_grad#AdamW.zero_grad"] == 12
    )
