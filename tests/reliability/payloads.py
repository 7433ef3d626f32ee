"""Checkpoints and folders of a stranger, made to run code when they are opened: nothing runs, and
the error says what is wrong.
"""

import copy
import functools
import json
import os
import sys
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from disthead import DistributionRegressor
from disthead.training import DistributionModule
from disthead.training.predictor import Predictor
from disthead.training.saved import read_checkpoint

from .attack import Attack, Outcome, run_command, said_by_command, said_by_error

QUIET = [
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--trainer.logger=false",
]
FIT = [
    "--data.target=y",
    "--model.backbone.init_args.hidden_sizes=[4]",
    "--trainer.enable_model_summary=false",
    *QUIET,
]
NAME = "stranger.ckpt"

Contents = dict[str, Any]


class Runs:
    """What a pickle runs when it is opened."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


class Stranger:
    """A folder with what an attack may use: a module that leaves a mark when it is imported, and a
    command that does.
    """

    def __init__(self, number: int, folder: Path):
        self.folder, self.mark, self.keep = folder, folder / "PWNED", folder / "mine" / "thesis.txt"
        self.keep.parent.mkdir()
        self.keep.write_text("mine")
        self.command = f"touch {self.mark}"
        self.modules = [f"stranger_{number}", f"disthead_{number}", f"torchvision_{number}"]
        code = f"open({str(self.mark)!r}, 'w').close()\nimport torch\n"
        code += "class Net(torch.nn.Linear): pass\nclass Adam(torch.optim.Adam): pass\n"
        for module in self.modules:
            (folder / f"{module}.py").write_text(code)
        self.module = self.modules[0]
        (folder / "backbone.yaml").write_text(
            f"class_path: {self.module}.Net\ninit_args: {{in_features: 2, out_features: 2}}\n"
        )
        os.mkfifo(folder / "pipe.csv")

    @property
    def has_run(self) -> bool:
        return (
            self.mark.exists()
            or not self.keep.exists()
            or any(module in sys.modules for module in self.modules)
        )

    @contextmanager
    def on_path(self):
        """With the folder where Python looks for modules."""
        before = Path.cwd()
        sys.path.insert(0, str(self.folder))
        os.chdir(self.folder)
        try:
            yield
        finally:
            os.chdir(before)
            sys.path.remove(str(self.folder))
            for module in self.modules:
                sys.modules.pop(module, None)


def system(stranger: Stranger) -> dict[str, Any]:
    return {"class_path": "os.system", "init_args": {"command": stranger.command}}


def options(**values: Callable[[Stranger], Any] | Any) -> Callable[[Contents, Stranger], None]:
    """A payload in the options of the model."""

    def put(contents: Contents, stranger: Stranger) -> None:
        for name, value in values.items():
            contents["hyper_parameters"][name] = value(stranger) if callable(value) else value

    return put


def data(**values: Callable[[Stranger], Any] | Any) -> Callable[[Contents, Stranger], None]:
    """A payload in the options of the data."""

    def put(contents: Contents, stranger: Stranger) -> None:
        found = contents["datamodule_hyper_parameters"]
        found |= {
            name: value(stranger) if callable(value) else value for name, value in values.items()
        }

    return put


def at(*path: Any, value: Callable[[Stranger], Any]) -> Callable[[Contents, Stranger], None]:
    """A payload somewhere in the checkpoint."""

    def put(contents: Contents, stranger: Stranger) -> None:
        place: Any = contents
        for key in path[:-1]:
            place = place.setdefault(key, {}) if isinstance(place, Mapping) else place[key]
        place[path[-1]] = value(stranger)

    return put


def spec(path: str, **arguments: Any) -> Callable[[Stranger], dict[str, Any]]:
    """The options that name a class, in which {command}, {module}, {mark} and {pickle} are the
    stranger's.
    """

    def fill(value: Any, stranger: Stranger) -> Any:
        if isinstance(value, str):
            pairs = {
                "{command}": stranger.command,
                "{module}": stranger.module,
                "{mark}": str(stranger.mark),
            }
            return functools.reduce(lambda text, pair: text.replace(*pair), pairs.items(), value)
        if isinstance(value, dict):
            return {key: fill(entry, stranger) for key, entry in value.items()}
        return [fill(entry, stranger) for entry in value] if isinstance(value, list) else value

    return lambda stranger: fill({"class_path": path, "init_args": arguments}, stranger)


def text(value: str) -> Callable[[Stranger], str]:
    return lambda stranger: spec("", value=value)(stranger)["init_args"]["value"]


SYSTEM = {"class_path": "os.system", "init_args": {"command": "{command}"}}
YAML = '{"class_path": "os.system", "init_args": {"command": "{command}"}}'
IMPORT = "{module}.Net"

PAYLOADS: dict[str, Callable[[Contents, Stranger], None]] = {
    "a command as the backbone": options(backbone=spec("os.system", command="{command}")),
    "a process": options(backbone=spec("subprocess.Popen", args=["touch", "{mark}"])),
    "eval": options(backbone=spec("builtins.eval", source="open('{mark}', 'w')")),
    "exec": options(backbone=spec("builtins.exec", source="open('{mark}', 'w')")),
    "import by a function": options(backbone=spec("importlib.import_module", name="{module}")),
    "__import__": options(backbone=spec("builtins.__import__", name="{module}")),
    "a path alone": options(backbone="os.getcwd"),
    "a module that runs when imported": options(
        backbone=spec(IMPORT.replace("{module}", "stranger.Net"))
    ),
    "a module of the stranger": options(
        backbone=lambda s: {"class_path": f"{s.module}.Net", "init_args": {}}
    ),
    "a module of the stranger by its path alone": options(backbone=text(IMPORT)),
    "a module whose name begins as one that is trusted": options(
        backbone=lambda s: f"{s.modules[1]}.Net"
    ),
    "a folder of options": options(backbone="backbone.yaml"),
    "nested in Sequential": options(backbone=spec("torch.nn.Sequential", args=[SYSTEM])),
    "nested deep": options(backbone=spec("torch.nn.Sequential", a={"b": [{"c": [[SYSTEM]]}]})),
    "beside init_args": options(backbone={"class_path": "torch.nn.Linear", "activation": SYSTEM}),
    "in a trusted class's activation": options(
        backbone=spec("disthead.networks.tabular.TabularBackbone", in_features=2, activation=IMPORT)
    ),
    "in a trusted class's own backbone": options(
        backbone=spec(
            "disthead.training.DistributionModule",
            in_features=2,
            backbone=IMPORT,
            backbone_features=2,
        )
    ),
    "in a trusted class's optimizer": options(
        backbone=spec(
            "disthead.training.module.DistributionModule", in_features=2, optimizer=IMPORT
        )
    ),
    "activation": options(backbone=None, activation=spec("os.system", command="{command}")),
    "activation by its path alone": options(backbone=None, activation=text(IMPORT)),
    "optimizer": options(optimizer=spec("os.system", command="{command}")),
    "optimizer of the stranger": options(optimizer=lambda s: f"{s.module}.Adam"),
    "scheduler": options(scheduler=spec("subprocess.run", args=["touch", "{mark}"])),
    "a module as the optimizer": options(
        optimizer=spec("torch.nn.Linear", in_features=2, out_features=2)
    ),
    "torch.load": options(backbone=spec("torch.load", f="pickle.pt", weights_only=False)),
    "torch.hub": options(
        backbone=spec("torch.hub.load", repo_or_dir=".", model="a", source="local")
    ),
    "through the modules that a module imports": options(
        backbone=spec("torch.nn.modules.module.os.system", command="{command}")
    ),
    "through a package of torch": options(
        backbone=spec("torch.nn.utils.parametrize.copyreg.pickle", ob_type=1)
    ),
    "through names of Python's own": options(
        backbone=spec("torch.nn.Module.__init__.__globals__", key=1)
    ),
    "through a class to all classes": options(backbone="torch.nn.Module.__subclasses__"),
    "a function of torch": options(backbone=spec("torch.nn.functional.relu", input=1)),
    "a class that is no module": options(backbone=spec("torch.nn.Parameter", data=None)),
    "a class that a trusted module imports": options(
        backbone=spec("torch.nn.modules.module.OrderedDict")
    ),
    "a module of torch that is none of torch.nn": options(backbone=spec("torch.jit.ScriptModule")),
    "a module of another package": options(backbone=spec("lightning.LightningModule")),
    "another package's class through a trusted module": options(
        backbone=spec("disthead.metrics.mean.Metric")
    ),
    "spaces about the path": options(backbone=" os.system "),
    "a path in other letters": options(backbone=spec("\uff4f\uff53.system", command="{command}")),
    "a path that is a list": options(backbone={"class_path": ["os", "system"], "init_args": {}}),
    "arguments that are a text": options(
        backbone={"class_path": "torch.nn.Linear", "init_args": "os.system"}
    ),
    "in columns": at("hyper_parameters", "columns", "features", value=lambda s: [system(s)]),
    "as columns": options(columns=system),
    "in columns as a text": at("hyper_parameters", "columns", "weight", value=text(YAML)),
    "in links": options(links=lambda s: {"loc": system(s)}),
    "in fixed": options(fixed=lambda s: {"scale": system(s)}),
    "in the family's options": options(family_options=lambda s: {"base": system(s)}),
    "the family": options(family="os.system"),
    "sizes": options(hidden_sizes=lambda s: [system(s)]),
    "a class in place of data": options(
        backbone={"class_path": "torch.nn.Linear", "init_args": {"bias": OrderedDict}}
    ),
    "lists within lists within lists": options(
        links=lambda s: functools.reduce(lambda inner, _: [inner], range(100), [])
    ),
    "the table": data(path=system),
    "the table as a text": data(path=text(YAML)),
    "the table of a part": data(test_path=system, val_path=system, predict_path=system),
    "the table is a pipe": data(path="pipe.csv"),
    "the table is an address": data(path="http://localhost:1/table.csv"),
    "the data set": data(path=None, dataset="os.system"),
    "the data set of a package": data(path=None, dataset="sklearn.fetch_openml"),
    "known quantities": data(known=system),
    "a recalibration": at(
        "recalibration", value=lambda s: {"name": "os.system", "arguments": {"command": s.command}}
    ),
    "arguments of a recalibration": at(
        "recalibration",
        value=lambda s: {"name": "ScaleCalibration", "arguments": {"levels": system(s)}},
    ),
    "a pickle among the options": options(backbone=lambda s: Runs(s.command)),
    "a pickle of the optimizer's state": at(
        "optimizer_states", value=lambda s: [{"state": Runs(s.command)}]
    ),
    "a pickle among the weights": at(
        "state_dict", "head.linear.bias", value=lambda s: Runs(s.command)
    ),
    "a pickle of a callback": at("callbacks", "EarlyStopping", value=lambda s: Runs(s.command)),
    "a pickle beside everything": at("more", value=lambda s: Runs(s.command)),
    "Lightning's own keys": options(
        _instantiator=text("{module}.Net"), _class_path=text("{module}.Net")
    ),
    "Lightning's keys of before": at("hparams", value=lambda s: {"backbone": system(s)}),
    "Lightning's first keys": at("module_arguments", value=lambda s: {"backbone": system(s)}),
    "the type of the options": at("hparams_type", value=lambda s: OrderedDict),
    "the name of the options": at("hparams_name", value=lambda s: "backbone"),
    "a file to be removed": at(
        "callbacks",
        "ModelCheckpoint{}",
        value=lambda s: {
            "best_model_path": "",
            "best_k_models": {f"{s.folder}/runs/../mine/thesis.txt": torch.tensor(9.0)},
        },
    ),
    "a remote file to be removed": at(
        "callbacks",
        "ModelCheckpoint{}",
        value=lambda s: {"dirpath": "", "last_model_path": f"file://{s.keep}"},
    ),
}
_HARMLESS = {  # what nothing reads
    "Lightning's own keys", "Lightning's keys of before", "Lightning's first keys",
    "the type of the options", "the name of the options", "in columns as a text",
}  # fmt: skip
_OF_DATA = {name for name in PAYLOADS if name.startswith(("the table", "the data set", "known"))}


@functools.cache
def trained() -> tuple[tempfile.TemporaryDirectory, Path, Path]:
    """A model, and the table that it has learned from."""
    folder = tempfile.TemporaryDirectory()
    table = Path(folder.name, "table.csv")
    x = np.random.default_rng(0).normal(size=(90, 2))
    rows = "\n".join(f"{a},{b},{a + 0.3 * b}" for a, b in x)
    table.write_text(f"a,b,y\n{rows}\n")
    runs = Path(folder.name, "runs")
    status, printed = run_command(
        "fit",
        f"--data.path={table}",
        *FIT,
        "--trainer.max_epochs=1",
        f"--checkpoint.dirpath={runs}",
        f"--trainer.default_root_dir={folder.name}",
    )
    assert status == 0, printed
    return folder, runs / "best.ckpt", table


@functools.cache
def contents() -> Contents:
    return read_checkpoint(trained()[1])


def sabotaged(number: int, folder: Path) -> tuple[str, Stranger]:
    """The name of a payload, and the folder in which the checkpoint has it."""
    name, put = list(PAYLOADS.items())[number]
    stranger, changed = Stranger(number, folder), copy.deepcopy(contents())
    put(changed, stranger)
    torch.save({"a": Runs(stranger.command)}, folder / "pickle.pt")
    torch.save(changed, folder / NAME)
    return name, stranger


def outcome(name: str, stranger: Stranger, opened: Callable[[], Outcome]) -> Outcome:
    """Of opening it, with a defect where anything ran, or where a payload is taken that something
    reads.
    """
    with stranger.on_path(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = opened()
    return Outcome.SILENT if stranger.has_run else found


def load(number: int, folder: Path) -> Outcome:
    name, stranger = sabotaged(number, folder)

    def opened() -> Outcome:
        for open_it in (
            DistributionModule.load_from_checkpoint,
            lambda path: Predictor(path).module,
        ):
            try:
                module = open_it(folder / NAME)
            except Exception as error:
                found = said_by_error(error, NAME)
            else:
                same = DistributionModule.load_from_checkpoint(trained()[1])
                x = torch.ones(2, 2)
                is_same = torch.equal(module.predictive(x).mean, same.predictive(x).mean)
                is_read = name not in _HARMLESS | _OF_DATA
                found = Outcome.HARMLESS if is_same and not is_read else Outcome.SILENT
            if found in (Outcome.SILENT, Outcome.TRACEBACK):
                break
        return found

    return outcome(name, stranger, opened)


WAYS = {
    "predict": ["--out=p.csv", *QUIET],
    "test": QUIET,
    "evaluate": ["--out=report"],
    "recalibrate": ["--out=new.ckpt"],
    "validate": QUIET,
}


def command(number: int, folder: Path) -> Outcome:
    way = list(WAYS)[number // len(PAYLOADS)]
    name, stranger = sabotaged(number % len(PAYLOADS), folder)

    def opened() -> Outcome:
        status, printed = run_command(way, "--ckpt", NAME, *WAYS[way])
        if status == 0:
            return (
                Outcome.HARMLESS if name in _HARMLESS | {"the table of a part"} else Outcome.SILENT
            )
        return said_by_command(status, printed)

    return outcome(name, stranger, opened)


def resume(number: int, folder: Path) -> Outcome:
    name, stranger = sabotaged(number, folder)

    def opened() -> Outcome:
        status, printed = run_command(
            "fit",
            f"--data.path={trained()[2]}",
            *FIT,
            "--trainer.max_epochs=2",
            "--checkpoint.dirpath=runs",
            "--ckpt",
            NAME,
        )
        # nothing is built from a checkpoint by which a training goes on
        return Outcome.HARMLESS if status == 0 else said_by_command(status, printed)

    return outcome(name, stranger, opened)


ENTRIES: list[tuple[str, Callable[[Stranger], Any]]] = [
    ("estimator", lambda s: "os.system"),
    ("estimator", system),
    ("parameters.hidden_sizes", lambda s: [system(s)]),
    ("parameters.family", lambda s: "os.system"),
    ("parameters.family", system),
    ("parameters.random_state", system),
    ("parameters.activation", lambda s: f"{s.module}.Net"),
    ("table.columns", lambda s: [system(s)]),
    ("table", system),
    ("target.shape", system),
    ("classes", lambda s: {"values": ["a"], "dtype": f"{s.module}.Net"}),
    ("classes", lambda s: {"values": [system(s)], "dtype": "object"}),
    ("members", system),
    ("recalibration", lambda s: {"name": f"{s.module}.Net", "arguments": {}, "fitted_on": {}}),
    (
        "recalibration",
        lambda s: {"name": "ScaleCalibration", "arguments": system(s), "fitted_on": {}},
    ),
    ("class_path", lambda s: f"{s.module}.Net"),
    ("format", system),
]


@functools.cache
def estimator() -> tuple[tempfile.TemporaryDirectory, Path]:
    folder = tempfile.TemporaryDirectory()
    x = np.random.default_rng(0).normal(size=(60, 2))
    model = DistributionRegressor(hidden_sizes=(4,), max_steps=5, random_state=0).fit(x, x[:, 0])
    return folder, model.save(Path(folder.name, "model"))


def folder_of_an_estimator(number: int, folder: Path) -> Outcome:
    """config.json is changed, and in the format of before, which has no digests, as a stranger
    would leave it.
    """
    (path, value), stranger = ENTRIES[number], Stranger(number, folder)
    place = folder / "model"
    place.mkdir()
    config = json.loads((estimator()[1] / "config.json").read_text("utf-8"))
    *outer, last = path.split(".")
    inner = functools.reduce(lambda entry, key: entry[key], outer, config)
    inner[last] = value(stranger)
    for entry in ("sha256", "weights_sha256"):
        config.pop(entry)
    config["format"] = 1 if path != "format" else config["format"]
    (place / "config.json").write_text(json.dumps(config), "utf-8")
    save_file(load_file(estimator()[1] / "model.safetensors"), place / "model.safetensors")

    def opened() -> Outcome:
        try:
            DistributionRegressor.load(place)
        except Exception as error:
            return said_by_error(error)
        return Outcome.SILENT

    return outcome("", stranger, opened)


ATTACKS = [
    Attack("a stranger's checkpoint, loaded in Python", len(PAYLOADS), 24, load),
    Attack("a stranger's checkpoint, opened by a command", len(PAYLOADS) * len(WAYS), 3, command),
    Attack("a stranger's checkpoint, trained further", len(PAYLOADS), 1, resume),
    Attack("a stranger's folder of an estimator", len(ENTRIES), 6, folder_of_an_estimator),
]
