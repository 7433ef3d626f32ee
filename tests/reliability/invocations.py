"""Odd invocations, mistakes in Python, and signals: an exit status that a scheduler can trust, and
one clear line.
"""

import contextlib
import functools
import math
import os
import pkgutil
import re
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import lightning
import numpy as np
import pandas as pd

from disthead import DistributionClassifier, DistributionHead, DistributionRegressor
from disthead.training import DistributionModule, TabularDataModule
from disthead.training.callbacks import EarlyStopping
from disthead.training.saved import read_checkpoint

from .attack import Attack, Outcome, run_command, said_by_command, said_by_error

QUIET = (
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)
TABLE = ("--data.path=table.csv", "--data.target=y")
SHORT = ("--trainer.max_epochs=2", "--model.hidden_sizes=[4]")
LOGGERS = "lightning.pytorch.loggers"

# Options of `fit`, and what the error must name; "" where nothing is wrong with them.
TRAININGS = [
    ("--data.val_size=0", "--data.val_size"),
    ("--data.val_size=-1", "val_size"),
    ("--data.val_size=nan", "val_size"),
    ("--data.val_size=0.9 --data.test_size=0.9", "test_size"),
    ("--data.batch_size=0", "batch_size"),
    ("--data.batch_size=-5", "batch_size"),
    ("--data.batch_size=1000000000", ""),
    ("--data.buffer_size=0", "buffer_size"),
    ("--data.num_workers=-1", "--data.num_workers"),
    ("--data.split_seed=99999999999999999999", "split_seed"),
    ("--data.split_seed=-1", ""),
    ("--data.path=folder", "folder"),
    ("--data.path=junk.csv", "junk.csv"),
    ("--data.path=junk.parquet", "junk.parquet"),
    ("--data.path=/dev/null", "/dev/null"),
    ("--data.path=", "--data.path"),
    ("--data.target=[]", "target"),
    ("--data.target=[y,y]", "'y' twice"),
    ("--data.target=", "--data.target"),
    ("--data.features=[]", "features"),
    ("--data.features=[x,x]", "'x' twice"),
    ("--data.features=[y]", "'y'"),
    ("--data.unit=metres", "degrees"),
    ("--data.known={a:", "--data.known"),
    ("--trainer.limit_val_batches=0", "--trainer.limit_val_batches 0"),
    ("--trainer.limit_val_batches=-1", "--trainer.limit_val_batches"),
    ("--trainer.limit_train_batches=0", "--trainer.limit_train_batches"),
    ("--trainer.limit_train_batches=1.5", "--trainer.limit_train_batches"),
    ("--trainer.limit_train_batches=0.0001", "--trainer.limit_train_batches"),
    ("--trainer.limit_train_batches=2", ""),
    ("--trainer.limit_test_batches=0", ""),
    ("--trainer.max_epochs=0", "--trainer.max_epochs"),
    ("--trainer.max_epochs=-5", "--trainer.max_epochs"),
    ("--trainer.max_epochs=1 --ckpt=model/last.ckpt", "--trainer.max_epochs"),
    ("--trainer.max_steps=0", "--trainer.max_steps"),
    ("--trainer.min_epochs=-1", "--trainer.min_epochs"),
    ("--trainer.max_time=nonsense", "--trainer.max_time"),
    ("--trainer.max_time=00:00:00:00", "--trainer.max_time"),
    ("--trainer.max_time={days: -1}", "--trainer.max_time"),
    ("--trainer.devices=0", "--trainer.devices"),
    ("--trainer.devices=[]", "--trainer.devices"),
    ("--trainer.devices=[0,0]", "--trainer.devices"),
    ("--trainer.devices=1.5", "--trainer.devices"),
    ("--trainer.devices=1000000", "--trainer.devices"),
    ("--trainer.num_nodes=0", "--trainer.num_nodes"),
    ("--trainer.accelerator=tpu", "--trainer.accelerator cpu"),
    ("--trainer.accelerator=nonsense", "nonsense"),
    ("--trainer.precision=nonsense", "--trainer.precision"),
    ("--trainer.precision=transformer-engine", "transformer_engine"),
    ("--trainer.strategy=nonsense", "nonsense"),
    ("--trainer.strategy=ddp_notebook", "--trainer.strategy"),
    ("--trainer.strategy=fsdp", "fsdp"),
    ("--trainer.profiler=nonsense", "--trainer.profiler"),
    (f"--trainer.logger={LOGGERS}.WandbLogger", "WandbLogger"),
    (f"--trainer.logger={LOGGERS}.TensorBoardLogger", "save_dir"),
    ("--trainer.logger=nonsense.Logger", "nonsense"),
    ("--trainer.callbacks=nonsense", "--trainer.callbacks"),
    ("--trainer.val_check_interval=0", "--trainer.val_check_interval"),
    ("--trainer.val_check_interval=1000000", "--trainer.val_check_interval"),
    ("--trainer.val_check_interval=00:00:00:01", "--trainer.val_check_interval"),
    ("--trainer.check_val_every_n_epoch=0", "--trainer.check_val_every_n_epoch"),
    ("--trainer.check_val_every_n_epoch=5", "--trainer.check_val_every_n_epoch"),
    ("--trainer.accumulate_grad_batches=0", "--trainer.accumulate_grad_batches"),
    ("--trainer.accumulate_grad_batches=-1", "--trainer.accumulate_grad_batches"),
    ("--trainer.gradient_clip_val=-1", "--trainer.gradient_clip_val"),
    ("--trainer.gradient_clip_algorithm=nonsense", "--trainer.gradient_clip_algorithm"),
    ("--trainer.log_every_n_steps=-1", "--trainer.log_every_n_steps"),
    ("--trainer.overfit_batches=-1", "--trainer.overfit_batches"),
    ("--trainer.overfit_batches=1", ""),
    ("--trainer.fast_dev_run=-1", "--trainer.fast_dev_run"),
    ("--trainer.fast_dev_run=true", ""),
    ("--trainer.barebones=true", "--trainer.barebones"),
    ("--trainer.enable_checkpointing=false", "--trainer.enable_checkpointing"),
    ("--trainer.default_root_dir=table.csv", "table.csv"),
    ("--trainer.default_root_dir=/proc/nowhere", "/proc/nowhere"),
    ("--seed_everything=-1", "--seed_everything"),
    ("--seed_everything=99999999999999", "--seed_everything"),
    ("--model.hidden_sizes=[-3]", "hidden_sizes"),
    ("--model.hidden_sizes=[0]", "hidden_sizes"),
    ("--model.hidden_sizes=[1000000000000]", "out of memory"),
    ("--model.hidden_sizes=[]", ""),
    ("--config=counts --model.family=normal --model.hidden_sizes=[-3]", "hidden_sizes"),
    ("--model.dropout=2", "dropout"),
    ("--model.ensemble=0", "ensemble"),
    ("--model.min_scale=-1", "min_scale"),
    ("--model.in_features=-1", "in_features"),
    ("--model.event_shape=[2]", "event_shape"),
    ("--model.fixed={scale: nan}", "scale"),
    ("--model.activation=Nonsense", "Nonsense"),
    ("--model.backbone=nonsense", "nonsense"),
    (
        "--model.backbone={class_path: torch.nn.Linear, init_args: {in_features: 7, out_features: "
        "3}}",
        "backbone",
    ),
    (
        "--model.backbone={class_path: torch.nn.Linear, init_args: {in_features: 1, out_features: "
        "3}}",
        "",
    ),
    ("--model.optimizer=nonsense", "nonsense"),
    ("--model.optimizer=torch.optim.Nonsense", "Nonsense"),
    ("--model.optimizer={class_path: torch.optim.SGD, init_args: {lr: 0.01}}", ""),
    ("--model.optimizer={class_path: 3}", "optimizer"),
    *(
        (f"--model.optimizer.init_args.lr={rate}", "learning rate")
        for rate in (0, -1, "nan", ".nan", ".inf", "fast")
    ),
    ("--model.optimizer.init_args.weight_decay=-1", "weight_decay"),
    ("--model.optimizer.init_args.nonsense=3", "nonsense"),
    ("--model.scheduler=StepLR", "step_size"),
    ("--model.scheduler={class_path: StepLR, init_args: {step_size: 0}}", "--model.scheduler"),
    (
        "--model.scheduler={class_path: StepLR, init_args: {step_size: 2}, interval: minute}",
        "interval",
    ),
    ("--model.scheduler={class_path: ReduceLROnPlateau}", "monitor"),
    ("--early_stopping.mode=sideways", "--early_stopping.mode"),
    ("--early_stopping.mode=max", "--early_stopping.mode"),
    ("--early_stopping.patience=-1", "--early_stopping.patience"),
    ("--early_stopping.monitor=nope", "nope"),
    ("--checkpoint.save_top_k=-2", "--checkpoint.save_top_k"),
    ("--checkpoint.save_top_k=0", "--checkpoint.save_top_k"),
    ("--checkpoint.monitor=nope", "--checkpoint.monitor"),
    ("--checkpoint.mode=max", "--checkpoint.mode"),
    ("--checkpoint.every_n_epochs=0", "--checkpoint.every_n_epochs"),
    ("--checkpoint.filename={nope", "--checkpoint.filename"),
    ("--checkpoint.dirpath=table.csv", "--checkpoint.dirpath"),
    ("--ckpt=folder", "folder"),
    ("--ckpt=best", "--ckpt"),
    ("--ckpt=hpc", "--ckpt"),
    ("--config=table.csv", "table.csv"),
    ("--config=folder", "folder"),
]
# Other commands; those of a checkpoint get model/best.ckpt.
COMMANDS = [
    ("validate --trainer.limit_val_batches=0", "--trainer.limit_val_batches"),
    ("test --trainer.limit_test_batches=0", "--trainer.limit_test_batches"),
    ("test --trainer.devices=0", "--trainer.devices"),
    ("test --data.batch_size=-1", "batch_size"),
    ("test --data.path=folder", "folder"),
    ("test", ""),
    ("validate", ""),
    ("predict --trainer.limit_predict_batches=0", "--trainer.limit_predict_batches"),
    ("predict --samples=100000000000", "out of memory"),
    ("predict --out=folder/sub/p.csv", "folder/sub"),
    ("predict --out=table.csv/p.csv", "table.csv"),
    ("predict --out=", "--out"),
    ("predict --quantiles=nan", "nan"),
    ("predict --level=0", "level"),
    ("predict --seed=-1", ""),
    ("predict --quantiles=0.5,0.5", ""),
    ("evaluate --level=nan", "level"),
    ("evaluate --out=table.csv/sub", "table.csv"),
    ("evaluate --part=nope", "nope"),
    ("evaluate --data.path=folder", "folder"),
    ("recalibrate --out=folder", "folder"),
    ("recalibrate --part=train --out=r.ckpt", "train"),
    ("recalibrate --method=IsotonicCalibration --out=r.ckpt", "IsotonicCalibration"),
    ("recalibrate --out=r.ckpt", ""),
    ("init counts --out=folder", "folder"),
    ("init counts --out=nowhere/my.yaml", "nowhere"),
    ("init nonsense", "nonsense"),
    ("explain nrmal", "normal"),
    ("families --surfaces", "--surface"),
    ("fti", "fit"),
]
INVOCATIONS = [(f"fit {options}", name) for options, name in TRAININGS] + COMMANDS


@functools.cache
def _trained() -> Path:
    """A folder with a table, and the checkpoints of a model that has learned from it for two
    epochs.
    """
    folder = Path(tempfile.mkdtemp(prefix="disthead-invocations-"))
    random = np.random.default_rng(0)
    x = random.normal(size=200)
    pd.DataFrame({"x": x, "y": 2 * x + random.normal(size=200)}).to_csv(
        folder / "table.csv", index=False
    )
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("default")
        status, printed = run_command("fit", *TABLE, *SHORT, *QUIET, "--checkpoint.dirpath=model")
    assert status == 0, printed
    shutil.rmtree(folder / "lightning_logs")
    return folder


@contextlib.contextmanager
def _beside_a_model(folder: Path) -> Iterator[None]:
    """In a folder with a table, a checkpoint, an empty folder and files of noise."""
    shutil.copytree(_trained(), folder, dirs_exist_ok=True)
    (folder / "folder").mkdir()
    for name in ("junk.csv", "junk.parquet"):
        (folder / name).write_bytes(np.random.default_rng(0).bytes(500))
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def _invocation(number: int, folder: Path) -> Outcome:
    line, name = INVOCATIONS[number]
    command, *options = re.split(r" (?=--)", line)
    short = [
        option
        for option in SHORT
        if "--model.backbone=" not in line or "hidden_sizes" not in option
    ]
    given = (*TABLE, *short, *QUIET) if command == "fit" else ()
    if command in ("validate", "test", "predict", "evaluate", "recalibrate"):
        given = (
            "--ckpt=model/best.ckpt",
            *(QUIET if command in ("validate", "test", "predict") else ()),
        )
    with _beside_a_model(folder):
        status, printed = run_command(*command.split(), *given, *options)
        if name:
            return said_by_command(status, printed, name)
        if "Traceback" in printed or status not in (0, 2):
            return Outcome.TRACEBACK
        return Outcome.HARMLESS if status == 0 and _are_finite(folder, printed) else Outcome.SILENT


def _are_finite(folder: Path, printed: str) -> bool:
    """Whether all numbers that a command has printed or written are finite."""
    tables = [pd.read_csv(path).select_dtypes("number") for path in folder.glob("predictions.csv")]
    return not re.search(r"\b(nan|inf)\b", printed) and all(
        np.isfinite(table).all(axis=None) for table in tables
    )


def _module(**options: Any) -> Callable[[], Any]:
    def make() -> None:
        DistributionModule(
            **{"family": "normal", "in_features": 2} | options
        ).configure_optimizers()

    return make


def _head(**options: Any) -> Callable[[], Any]:
    return lambda: DistributionHead("normal", 2, **options)


def _find(**source: Any) -> None:
    TabularDataModule(target="y", **source).find_columns()


def _arrays() -> tuple[np.ndarray, np.ndarray]:
    features = np.random.default_rng(0).normal(size=(60, 2))
    return features, features[:, 0]


def _data(**options: Any) -> Callable[[], Any]:
    def make() -> None:
        features, y = _arrays()
        table = {"x0": features[:, 0], "x1": features[:, 1], "y": y}
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            callbacks=[EarlyStopping("val/nll")],
        )
        trainer.fit(
            DistributionModule("normal", hidden_sizes=[4]),
            TabularDataModule(table, **{"target": "y"} | options),
        )

    return make


def _estimator(kind: Any = DistributionRegressor, **options: Any) -> Callable[[], Any]:
    return lambda: kind(**{"max_steps": 3, "random_state": 0} | options).fit(*_arrays())


CALLS: list[tuple[Callable[[], Any], str]] = [
    *((_module(hidden_sizes=sizes), "hidden_sizes") for sizes in ([-3], [0], [2.5], 32, "a", None)),
    *((_module(dropout=share), "dropout") for share in (2, -1, math.nan, "a")),
    *((_module(in_features=number), "in_features") for number in (0, -1, 2.0, "a")),
    *((_module(ensemble=number), "ensemble") for number in (0, -2, 1.5)),
    *((_module(min_scale=least), "min_scale") for least in (-1, math.nan, "a")),
    *((_module(event_shape=shape), "event_shape") for shape in ([-1], [0], 2)),
    *((_module(fixed={"scale": value}), "scale") for value in (-1, math.nan, "a")),
    *(
        (_module(optimizer={"class_path": "AdamW", "init_args": {"lr": rate}}), "learning rate")
        for rate in (0, -1, math.nan, math.inf, "fast")
    ),
    (_module(optimizer={"class_path": "AdamW", "init_args": {"weight_decay": -1}}), "weight_decay"),
    (_module(optimizer={"class_path": 3}), "optimizer"),
    (_module(optimizer="Nonsense"), "Nonsense"),
    (_module(scheduler={"class_path": "StepLR"}), "step_size"),
    *((_head(shared=names), "shared") for names in (3, None, {"scale": 1}, b"scale")),
    *((_head(fixed=values), "fixed") for values in (3, ["scale"], "scale", {3: 1.0})),
    *((_head(links=links), "links") for links in (["exp"], "exp", 3, {3: "exp"})),
    *((_head(feature_dim=dim), "feature_dim") for dim in ("a", 1.5, None, True)),
    *((_module(shared=names), "shared") for names in (3, {"scale": 1})),
    *((_module(fixed=values), "fixed") for values in (3, ["scale"])),
    *((_module(links=links), "links") for links in (["exp"], "exp", 3)),
    *((_module(family_options=options), "family_options") for options in (3, ["a"], "a")),
    *(
        (_module(scheduler=spec), "scheduler")
        for spec in (3, ["StepLR"], {"class_path": "StepLR", "init_args": 3})
    ),
    *(
        (_module(optimizer=spec), "optimizer")
        for spec in (3, {"class_path": "AdamW", "init_args": 3})
    ),
    *((_module(standardise=choice), "standardise") for choice in ("no", None, 0)),
    (_module(family=["normal"]), "family"),
    *((_data(known=columns), "known") for columns in (3, "x1", ["x1"], {3: "x1"})),
    *((_data(**{role: ["x0"]}), role) for role in ("weight", "groups", "split_column")),
    *((_data(target=names), "target") for names in (3, None, {"y": 1})),
    *(
        (_data(**{role: names}), role)
        for role in ("features", "categorical")
        for names in (3, "x0", {"x0": 1})
    ),
    *((_data(unit=unit), "unit") for unit in (3, ["degrees"])),
    *((lambda source=source: _find(path=source), "path") for source in (3, [3])),
    *((lambda source=source: _find(dataset=source), "data set") for source in (3, ["diabetes"])),
    (_module(activation="Nonsense"), "Nonsense"),
    (_module(family="nrmal"), "normal"),
    *((_data(val_size=size), "val_size") for size in (0, -1, math.nan, math.inf, 1.5, "a", 0.99)),
    *((_data(batch_size=size), "batch_size") for size in (0, -1, 2.5, "a")),
    *((_data(split_seed=seed), "split_seed") for seed in (2**70, "a", 1.5)),
    *((_data(target=names), "target") for names in ([], ["y", "y"])),
    *((_data(features=names), "features") for names in ([], ["x0", "x0"])),
    *((_estimator(hidden_sizes=sizes), "hidden_sizes") for sizes in ((-3,), (0,), 3, None, "ab")),
    *((_estimator(max_steps=steps), "max_steps") for steps in (0, -1, 1.5)),
    *((_estimator(device=device), "device") for device in ("gpuu", "cuda:99", 3.5)),
    *((_estimator(random_state=seed), "random_state") for seed in (-1, 2**70, "a")),
    (_estimator(family="nonsense"), "nonsense"),
    *((_estimator(family=family), "family") for family in (3, None, ["normal"])),
    *(
        (_estimator(family_options=options), "family_options")
        for options in (3, ["a"], "a", {3: 1})
    ),
    *((_estimator(verbose=number), "verbose") for number in ("a", None, [1])),
    *((lambda path=path: DistributionRegressor.load(path), "folder_path") for path in (3, None)),
    (_estimator(DistributionClassifier), "classes"),
]


def _call(number: int, folder: Path) -> Outcome:
    call, name = CALLS[number]
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except Exception as error:
            return said_by_error(error, name)
    return Outcome.SILENT


def _paths(*names: str) -> list[str]:
    return [f"disthead.training.{name}" for name in names]


# What a command calls, in which a signal reaches it; at the first call, or a later one.
MOMENTS = {
    "fit": [
        *_paths(
            "data.TabularDataModule.find_columns",
            "module.DistributionModule.setup",
            "data.Batches.__iter__",
        ),
        *_paths("module.DistributionModule._values", "module.DistributionModule._values"),
        *_paths(
            "module.DistributionModule.validation_step",
            "module.DistributionModule.on_save_checkpoint",
        ),
        *_paths("module.DistributionModule.on_train_epoch_end"),
        "torch.serialization._save",
    ],
    "predict": [
        *_paths("module.DistributionModule.predict_step", "module.DistributionModule.setup"),
        "disthead.prediction.predictions",
    ],
    "test": _paths(
        "module.DistributionModule.test_step", "module.DistributionModule.on_test_epoch_end"
    ),
    "evaluate": ["disthead.report.evaluate", "disthead.training.checkpoints._load"],
    "recalibrate": [
        "disthead.networks.predictive_model.PredictiveModel.recalibrate",
        "torch.serialization._save",
    ],
}
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
STOPS = [
    (command, moment, number)
    for command, moments in MOMENTS.items()
    for moment in moments
    for number in SIGNALS
]
OUTPUTS = {"predict": "p.csv", "evaluate": "report", "recalibrate": "r.ckpt"}


def _stop(number: int, folder: Path) -> Outcome:
    """The signal comes while the command works: its status says so, and its files are whole or not
    there.
    """
    command, moment, which = STOPS[number]
    later = int(np.random.default_rng(number).integers(0, 3))  # calls that go well
    with _beside_a_model(folder), _sent_within(moment, which, later) as sent:
        given: tuple[str, ...] = ("--ckpt=model/best.ckpt",)
        if command in ("fit", "predict", "test"):
            given += QUIET
        if command == "fit":  # without an end
            given = (
                *TABLE,
                *QUIET,
                "--model.hidden_sizes=[4]",
                "--trainer.max_epochs=1000",
                "--checkpoint.dirpath=c",
            )
        if command in OUTPUTS:
            given += (f"--out={OUTPUTS[command]}",)
        status, printed = run_command(command, *given)
        if "Traceback" in printed:
            return Outcome.TRACEBACK
        if not sent:  # it was called less often
            return Outcome.HARMLESS if status == 0 else Outcome.SILENT
        out = OUTPUTS.get(command)
        is_half = out is not None and Path(out).exists()
        leftovers = list(folder.rglob("*.unfinished*"))
        for path in folder.rglob("*.ckpt"):
            read_checkpoint(path)
        is_said = printed.count(f"stopped by {which.name}") == 1 and "error" not in printed
        goes_on = "--ckpt" in printed or not Path("c/last.ckpt").exists()
        is_right = status == 128 + which and is_said and goes_on and not is_half and not leftovers
        return Outcome.HARMLESS if is_right else Outcome.SILENT


@contextlib.contextmanager
def _sent_within(path: str, number: int, later: int) -> Iterator[list[int]]:
    """Send a signal to this process within a call of a function, after as many that go well; a list
    that is empty until then.
    """
    sent: list[int] = []
    owner, _, name = path.rpartition(".")
    target = pkgutil.resolve_name(owner)
    original = getattr(target, name)
    calls = iter(range(1 << 30))

    @functools.wraps(original)
    def call(*arguments: Any, **options: Any) -> Any:
        if next(calls) == later:
            sent.append(number)
            os.kill(os.getpid(), number)
        return original(*arguments, **options)

    given = signal.signal(
        number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    )
    try:  # whatever started this process may ignore some, as nohup does
        with mock.patch.object(target, name, call):
            yield sent
    finally:
        signal.signal(number, given)


ATTACKS = [
    Attack("odd invocations", len(INVOCATIONS), 10, _invocation),
    Attack("mistakes in Python", len(CALLS), 20, _call),
    Attack("signals", len(STOPS), 6, _stop),
]
