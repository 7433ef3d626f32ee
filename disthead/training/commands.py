"""The commands fit, validate, test and predict, which are built on LightningCLI."""

import contextlib
import inspect
import json
import logging
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from disthead.arguments import check_not_empty
from disthead.arrays import as_names
from disthead.calibration import ScaleCalibration, TemperatureScaling
from disthead.configurations import check_keys, configuration
from disthead.data.columns import Columns
from disthead.data.row_groups import find_files
from disthead.data.table import read_as_written
from disthead.errors import nearest, pick, raised_in
from disthead.families.family import Family, takes_classes, takes_pairs
from disthead.files import check_folder, disk_full, writing
from disthead.networks.backbone import completed, qualified
from disthead.networks.model_folder import is_model_folder
from disthead.networks.schedule import plan, steps_of, steps_per_epoch
from disthead.objectives import caveat
from disthead.prediction import check_options
from disthead.stopping import Stopped, kept_handlers
from disthead.texts import quoted, shown
from disthead.training.callbacks import BestAndLastCheckpoint, EarlyStopping
from disthead.training.data import PREDICTED, TabularDataModule
from disthead.training.module import DistributionModule, read_checkpoint
from disthead.training.options import (
    check_agreement,
    check_config,
    check_processes,
    check_validation,
    in_options,
)
from disthead.training.processes import claim_log_dir, process
from disthead.training.saved import comparable
from disthead.training.saving import MetricsLogger, local
from disthead.training.stopping import StopBetweenSteps, signal_of
from disthead.training.trust import check_classes, class_paths, trusted_names
from disthead.training.writing import PredictionFile, RowNames, check_out, is_folder, predict_files
from disthead.usage import PAGES

__all__ = ["run"]

_BACKBONE_OPTIONS = ("hidden_sizes", "activation", "dropout")  # of the default backbone
_ACCELERATORS = ("gpu", "cuda", "mps", "tpu")
# argument of `predictions` -> entry of the columns
_COLUMN_ENTRIES = {"targets": "target", "classes": "classes", "unit": "unit"}
_MAX_LETTERS = 300  # of a value in an error
_PART = {"validate": "val", "test": "test", "predict": "predict"}  # command -> part of the data

# warnings that are not shown: Lightning's advice for the machine, and deprecations in Lightning
_NOISE = [
    ("LightningCLI's args parameter", UserWarning),
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
    ("The number of training batches", UserWarning),
    ("Checkpoint directory .* exists and is not empty", UserWarning),
    ("The dirpath has changed", UserWarning),
    ("GPU available but not used", UserWarning),
    (r"\s*skip_none parameter was deprecated", DeprecationWarning),
]
_TIPS = re.compile(
    r"^(GPU|TPU|HPU) available|^\s*💡|^Loaded model weights|^Restor(ed all states|ing states)"
    r"|^Found current_model_state"
)


def run(arguments: Sequence[str]) -> None:
    """Run one of the commands `fit`, `validate`, `test` and `predict`.

    Training without a configuration, or with one that has no entry for the model, is that of the
    default recipe, `configs/regression.yaml`, without its recalibration. Validation, test and
    prediction take model and data from the checkpoint; `--data.path` with another table evaluates
    all of its rows.

    Args:
        arguments: those of the command line, of which the first is the command.

    Raises:
        ValueError: for wrong options, with what to do.
        Stopped: for a training that a signal ends.
    """
    check_not_empty(arguments)
    command, options = arguments[0], _normalised(arguments[1:])
    configurations = _configurations(options)
    _check_values(options)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for message, category in _NOISE:
            warnings.filterwarnings("ignore", message, category)
        if command in _PART:  # callbacks of training have no effect then
            warnings.filterwarnings(
                "ignore", "Be aware that when using `ckpt_path`, callbacks", UserWarning
            )
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module=r"lightning\.pytorch\.cli"
        )
        logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
        logger.addFilter(_is_no_tip)
        try:
            defaults: dict[str, Any] = {}
            checkpoint = _value(options, "--ckpt_path")
            if command in _PART and checkpoint is not None:
                options = _with_part_path(checkpoint, command, options)
            elif command == "fit" and not any("model" in contents for contents in configurations):
                defaults = _recipe()
                for name in ("backbone", "optimizer", "scheduler"):
                    # another class has other arguments
                    if _value(options, f"--model.{name}") is not None:
                        del defaults["model"][name]
            file = Path(folder, "defaults.yaml")
            with writing(file) as unfinished:
                unfinished.write_text(yaml.safe_dump(defaults, sort_keys=False))
            named = [
                name for name in _BACKBONE_OPTIONS if _value(options, f"--model.{name}") is not None
            ]
            twice = [
                name
                for name in named
                if _value(options, f"--model.backbone.init_args.{name}") is not None
            ]
            if twice:
                raise ValueError(
                    f"--model.{twice[0]} has no effect beside "
                    f"--model.backbone.init_args.{twice[0]}: give one."
                )
            _cli_of(command, named)([command, *options], [str(file)] if defaults else [])
        except Exception as error:
            reason = _message_of_option_error(error)
            if reason is None:
                raise
            raise ValueError(reason) from error
        except SystemExit as error:
            number = signal_of(error)
            if number is None or isinstance(error, Stopped):
                raise
            raise Stopped(number) from error
        finally:
            logger.removeFilter(_is_no_tip)


def _message_of_option_error(error: Exception) -> str | None:
    """The message of an error that a library raises because of an option; None for others.

    The module that raised it tells them apart.
    """
    module = raised_in(error)
    if isinstance(error, MisconfigurationException) or (
        isinstance(error, ValueError) and module.startswith("lightning.")
    ):
        return in_options(str(error))
    if isinstance(error, ValueError) and module.startswith("jsonargparse."):
        return _readable_type_error(str(error))
    if isinstance(
        error, (ArithmeticError, LookupError, TypeError, ValueError)
    ) and module.startswith("torch.optim."):
        return (
            "the arguments of --model.optimizer or --model.scheduler cannot be used: "
            f"{' '.join(str(error).split())}."
        )
    return None


_OTHER_NAMES = {
    "--ckpt": "--ckpt_path",
    "--id-columns": "--id_columns",
    "--top-k": "--top_k",
    "-c": "--config",
    "--help-all": "--help",
}


def _normalised(arguments: Sequence[str]) -> list[str]:
    """The arguments under the names of the parser.

    Configurations come first, as files, so that options override them.
    """
    pairs = [argument.partition("=") for argument in arguments]
    rest = [_OTHER_NAMES.get(name, name) + equals + value for name, equals, value in pairs]
    configurations, options = [], []
    while rest:
        argument = rest.pop(0)
        if argument == "--config" and rest and not rest[0].startswith("--"):
            argument = f"--config={rest.pop(0)}"
        if argument.startswith("--config="):
            configurations.append(f"--config={configuration(argument.removeprefix('--config='))}")
        else:
            options.append(argument)
    for name in ("backbone", "optimizer", "scheduler"):
        options = _class_first(f"--model.{name}", options)
    return configurations + options


def _class_first(option: str, arguments: list[str]) -> list[str]:
    """The arguments, in which the class that an option names comes first, as a mapping.

    Where the name of a class and arguments of the class are separate options, jsonargparse would
    lose one of them.
    """
    name = _value(arguments, option)
    if (
        name is None
        or name.lstrip().startswith("{")
        or not any(argument.startswith(f"{option}.") for argument in arguments)
    ):
        return arguments
    others, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == option and rest:
            rest.pop(0)
        elif not argument.startswith(f"{option}="):
            others.append(argument)
    return [f"{option}={json.dumps({'class_path': name})}", *others]


def _configurations(arguments: Sequence[str]) -> list[Mapping[str, Any]]:
    """The contents of the configurations among the arguments."""
    configurations = []
    for path in (
        argument.removeprefix("--config=")
        for argument in arguments
        if argument.startswith("--config=")
    ):
        try:
            text = Path(path).read_text("utf-8")
            check_keys(text, path, Path(path).parent)
            contents = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is not a configuration in YAML: {' '.join(str(error).split())}."
            ) from error
        if not isinstance(contents, Mapping):
            raise ValueError(
                f"{path} is not a configuration: it has no keys such as model, data and trainer."
            )
        configurations.append(contents)
    return configurations


def _check_values(arguments: Sequence[str]) -> None:
    """Refuse options whose value is a mapping, or the file of one, with a repeated key."""
    for name, value in _values(arguments):
        file = Path(value) if value.endswith((".yaml", ".yml")) else None
        # of other errors the parser has better messages
        with contextlib.suppress(yaml.YAMLError, UnicodeDecodeError):
            if value[:1] in ("{", "["):
                check_keys(value, name)
            elif file is not None and name != "--config" and file.is_file():
                check_keys(file.read_text("utf-8"), file, file.parent)


def _values(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options among the arguments with their values.

    A value is the next argument, or follows an equals sign.
    """
    for k, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.startswith("--") and (equals or k + 1 < len(arguments)):
            yield name, value if equals else arguments[k + 1]


def _recipe() -> dict[str, Any]:
    """The configuration of the default recipe, without the data of its example."""
    recipe = yaml.safe_load(configuration("regression").read_text("utf-8"))
    del recipe["data"]["dataset"], recipe["data"]["target"]
    return recipe


def _is_no_tip(record: logging.LogRecord) -> bool:
    return not _TIPS.match(record.getMessage())


def _value(arguments: Sequence[str], name: str) -> str | None:
    """The last value of an option."""
    return dict(_values(arguments)).get(name)


def _with_part_path(path: str, command: str, arguments: list[str]) -> list[str]:
    """The arguments, with such as --data.test_path for --data.path of another table.

    That is another one than the table of the training that wrote the checkpoint.
    """
    data = read_checkpoint(path).get("datamodule_hyper_parameters", {})
    table = _value(arguments, "--data.path")
    if (
        table is not None
        and _value(arguments, "--config") is None
        and not _same_file(table, data.get("path"))
    ):
        new = f"--data.{_PART[command]}_path"
        return [re.sub(r"^--data\.path(?==|$)", new, argument) for argument in arguments]
    return arguments


def _same_file(one: str, other: Any) -> bool:
    return isinstance(other, str) and os.path.realpath(one) == os.path.realpath(other)


class _Parser(LightningArgumentParser):
    """A parser whose errors are one message, without the list of all options.

    What it prints and saves is the configuration that is used. `backbone_options` are those of the
    default backbone that the command line names as options of the model.
    """

    backbone_options: Sequence[str] = ()

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.allow_abbrev = False  # `--data.pat` is an error

    def parse_args(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().parse_args(*arguments, **options)
        except (AttributeError, KeyError, RecursionError, TypeError, yaml.YAMLError) as error:
            raise ValueError(
                f"an option has a value of another kind than it takes ({_short(str(error))}): "
                "look at those that are written with brackets or braces."
            ) from error

    def dump(self, namespace: Any, *arguments: Any, **options: Any) -> str:
        namespace = namespace.clone()
        model = namespace.get("model")
        if model is not None:
            model.backbone = _with_options(model, self.backbone_options)
            former = model.pop("spread_floor", None)  # its former name
            if former is not None:
                model.min_scale = former
        return super().dump(namespace, *arguments, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        unknown = re.search(
            r"nrecognized arguments: (\S+)|does not accept option '([\w.]+)'", message
        )
        if unknown and unknown[1] and not unknown[1].startswith("-"):
            raise ValueError(
                f"unknown argument {unknown[1]!r}; a table is given as --data.path {unknown[1]}."
            ) from ex
        if unknown:
            name = unknown[1].partition("=")[0] if unknown[1] else f"--{unknown[2]}"
            hint = nearest(name, self._known_options())
            raise ValueError(
                f"unknown option {name!r}{hint} All of them: {self._command} --help-all"
            ) from ex
        raise ValueError(_readable_type_error(message)) from ex

    @property
    def _subcommands(self) -> dict[str, Any]:
        return self._subcommands_action.choices if self._subcommands_action else {}

    @property
    def _command(self) -> str:
        return " ".join([self.prog.replace(" [options]", ""), *self._subcommands])

    def _known_options(self) -> list[str]:
        names = {
            name
            for parser in (self, *self._subcommands.values())
            for name in parser._option_string_actions
        }
        return sorted(name for name in names if not name.endswith("+"))


_KINDS = {
    "NoneType": "null",
    "bool": "true or false",
    **dict.fromkeys(("Sequence", "Iterable", "list", "tuple"), "a list"),
    **dict.fromkeys(("Mapping", "dict"), "a mapping"),
}


def _readable_type_error(message: str) -> str:
    """A message of jsonargparse on a value of another type than its option has, in one sentence."""
    key = re.search(r'Parser key "([\w.]+)"', message)
    value = re.search(r"Given value: (.*)", message) or re.search(r"Got value: (.*)", message)
    path = re.search(r"Problem with given class_path '([\w.]+)':\s+(.*)", message)
    if path:
        option = f"--{key[1]} " if key else ""
        return f"{option}{path[1]}: {path[2].rstrip('.')}."
    if not key or not value:
        return _short(message)
    got = re.sub(r"Namespace\(class_path='(.*?)', .*", r"\1", value[1].strip())
    missing = re.search(r"the following arguments are required: ([\w, ]+)", message)
    if missing:
        options = " and ".join(f"--{key[1]}.{name}" for name in missing[1].split(", "))
        return f"--{key[1]} {got} needs {options}."
    expected = re.findall(
        r"Expected an? (?!path|dot import)(.*?)(?:\. Got value.*)?$", message, re.MULTILINE
    )
    if not expected:
        return _short(message)
    kinds = [
        re.sub(r"<class '(?:\w+\.)*(\w+)'>|typing\.Literal", r"\1", kind).strip()
        for kind in expected
    ]
    kinds = [_KINDS.get(kind, re.sub(r"[\[\]']| but got .*", "", kind)) for kind in kinds]
    if "Expected a dot import path" in message:
        kinds.insert(0, "the path of a class")
    expected_text = " or ".join(dict.fromkeys(kinds))
    example = _example(f"--{key[1]}", kinds, got)
    return f"--{key[1]} must be {expected_text}{example}, got {_short(got)}."


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_LETTERS else f"{text[:_MAX_LETTERS]} ..."


def _example(option: str, kinds: Sequence[str], got: str) -> str:
    """An example of a list or a mapping: that of the page of help, or the value in brackets."""
    on_page = re.search(rf"{re.escape(option)} ('[\[{{].*?')", PAGES["fit"])
    if got[:1] in ("[", "{") or not {"a list", "a mapping"} & set(kinds):
        return ""
    otherwise = f"'[{got}]'" if "a list" in kinds else "'{name: value}'"
    return f", such as {option} {on_page[1] if on_page else otherwise}"


class _SaveOptions(SaveConfigCallback):
    """The callback that writes the options of a training as config.yaml into its log folder."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options | {"save_to_log_dir": False})
        self.config = self.config.clone()
        # it concerns this call alone, and other commands do not have it
        self.config.pop("overwrite", None)
        self.folder = ""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        # in all processes, since the folder is broadcast
        self.folder = trainer.log_dir or ""
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        folder = local(self.folder)
        if folder is None:
            path = f"{self.folder}/{self.config_filename}"
            self.parser.save(
                self.config,
                path,
                skip_none=False,
                overwrite=self.overwrite,
                multifile=self.multifile,
            )
            return
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / self.config_filename) as unfinished:
            unfinished.write_text(self.parser.dump(self.config, skip_none=False), "utf-8")


class _CLI(LightningCLI):
    """Lightning's command line for `DistributionModule` and `TabularDataModule`.

    It adds early stopping and the best checkpoint. `backbone_options` are those of the default
    backbone that the command line names as options of the model.
    """

    backbone_options: Sequence[str] = ()

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.backbone_options = self.backbone_options
        parser.add_lightning_class_args(BestAndLastCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults({"early_stopping.patience": 20})

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            parser.add_argument(
                "--overwrite", action="store_true", help="write over checkpoints in the same folder"
            )
        help = (
            "packages, modules or classes of your own that the checkpoint may use, such as "
            "my_package"
        )
        parser.add_argument("--trust", type=str | list[str] | None, default=None, help=help)
        if subcommand == "predict":
            help = "a .csv or .parquet file; or a folder, for Parquet files larger than memory"
            parser.add_argument("--out", type=str, default="predictions.csv", help=help)
            parser.add_argument(
                "--overwrite", action="store_true", help="write over a file that is there"
            )
            parser.add_argument(
                "--quantiles",
                type=str | list[float] | None,
                default=None,
                help="such as 0.1,0.5,0.9",
            )
            parser.add_argument(
                "--level",
                type=float | None,
                default=None,
                help="of the central interval, such as 0.9",
            )
            parser.add_argument("--samples", type=int, default=0, help="draws for each row")
            parser.add_argument("--seed", type=int, default=0, help="of the draws")
            help = "columns of the table that are copied into the predictions, such as name,date"
            parser.add_argument(
                "--id_columns", type=str | list[str] | None, default=None, help=help
            )
            help = (
                "how many of the most probable classes are written; unless given, all of up to "
                "100, else 10"
            )
            parser.add_argument("--top_k", type=int | None, default=None, help=help)
            help = (
                "put an apostrophe before texts of a CSV file that spreadsheets take for formulas"
            )
            parser.add_argument("--escape_formulas", action="store_true", help=help)
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        check_config(self.config.subcommand, self.config[self.config.subcommand])
        if self.config.subcommand != "fit":  # all other options are those of the checkpoint
            parsed = parser.parse_args(args, defaults=False)
            self.explicit_options = parsed[self.config.subcommand]

    def _parse_ckpt_path(self) -> None:
        # Lightning would read the options in a checkpoint as a configuration, which may run code
        pass

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list) -> Any:
        if config.get("logger") in (None, True):
            folder = config.get("default_root_dir") or "."
            config["logger"] = (
                MetricsLogger(folder, name="lightning_logs") if self.subcommand == "fit" else False
            )
        try:
            trainer = super()._instantiate_trainer(config, [*callbacks, StopBetweenSteps()])
        # such as values that Lightning checks late
        except (TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(f"--trainer: {in_options(str(error))}") from error
        except (MisconfigurationException, ModuleNotFoundError) as error:
            accelerator = config.get("accelerator")
            if accelerator in _ACCELERATORS and re.search(
                r"backend found|not available|torch_xla", str(error)
            ):
                reason = " ".join(str(error).split()).rstrip(".!")
                raise ValueError(
                    f"--trainer.accelerator {accelerator}: {reason}. Try --trainer.accelerator "
                    "cpu, or leave it out, which takes the best that there is."
                ) from error
            raise
        check_processes(trainer)
        return trainer

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        if config.ckpt_path not in (None, "best", "last", "hpc", "registry"):
            saved = read_checkpoint(config.ckpt_path)["hyper_parameters"]
            named = class_paths(config.model.as_dict()) if self.subcommand == "fit" else []
            check_classes(saved, config.ckpt_path, [*trusted_names(config.trust), *named])
            if self.subcommand != "fit":
                contents = read_checkpoint(config.ckpt_path)
                check_agreement(self.explicit_options, contents, config.ckpt_path)
        if self.subcommand != "fit" and config.ckpt_path is None:
            raise ValueError(
                f"disthead {self.subcommand} needs --ckpt, the checkpoint of a trained model."
            )
        if self.subcommand == "fit":
            if config.data.path is None and config.data.dataset is None:
                raise ValueError(
                    "disthead fit needs --data.path, a table, and --data.target, the column to be "
                    "predicted."
                )
            config.model.backbone = _with_options(config.model, self.backbone_options)
            config.data.categorical = _with_classes(config)
            writes_over = config.overwrite or _resumes_in(config, config.checkpoint.dirpath)
            config.checkpoint.enable_version_counter &= not writes_over

    def instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        if self.subcommand != "fit":
            explicit = {
                section: self.explicit_options[section].as_dict()
                if section in self.explicit_options
                else {}
                for section in ("model", "data")
            }
            # for null the checkpoint has the values that `fit` determined
            options = {
                section: {name: value for name, value in values.items() if value is not None}
                for section, values in explicit.items()
            }
            model = DistributionModule.load_from_checkpoint(
                config.ckpt_path, trust=config.trust, **options["model"]
            )
            data = TabularDataModule.load_from_checkpoint(config.ckpt_path, **options["data"])
            if all(
                data.hparams[name] is None
                for name in ("path", "dataset", f"{_PART[self.subcommand]}_path")
            ):
                raise ValueError(
                    "this model was trained on rows that are in no file: give --data.path, a table."
                )
            super().instantiate_classes()
            self.model, self.datamodule = model, data
            return
        # wrong options raise their errors before any data are read
        DistributionModule(**config.model.as_dict())
        data = TabularDataModule(**config.data.as_dict())
        data.is_censored = takes_pairs(config.model.family)
        # wrong tables raise their errors before the folder of the training is made
        data.find_columns()
        _plan(config, data.count("train"))
        check_validation(config, data.has("val"))
        data.hparams["batch_size"] = data.hparams_initial["batch_size"] = config.data.batch_size
        super().instantiate_classes()
        self.datamodule = data  # it has read the table already

    def fit(self, **options: Any) -> None:
        """Train; where an error comes before anything is saved, no folder is left."""
        if self.trainer.is_global_zero:
            _check_nothing_is_lost(self.config[self.subcommand], Path(self.trainer.log_dir or "."))
        path = options.get("ckpt_path")
        if path is not None and (Path(path).is_file() or is_model_folder(path)):
            with _resuming(path):
                _check_resumable(read_checkpoint(path), self.trainer, path)
        made = claim_log_dir(self.trainer)
        log_dir = Path(self.trainer.log_dir or ".")
        try:
            with kept_handlers(), _resuming(path):
                self.trainer.fit(**options)
        except BaseException as error:
            if self.trainer.is_global_zero:
                _remove_empty(made)
            number = signal_of(error)
            if number is not None:
                raise Stopped(
                    number, self._how_to_go_on() if self.trainer.is_global_zero else ""
                ) from error
            if isinstance(error, RuntimeError) and "in loading state_dict" in str(error):
                raise ValueError(
                    f"--ckpt {options.get('ckpt_path')} holds another model than this training "
                    "has: give the options of the training that wrote it, and the checkpoint from "
                    "before the recalibration if it was recalibrated."
                ) from error
            full = disk_full(log_dir, error) if isinstance(error, Exception) else None
            if full is not None:
                best = self._checkpoints.best_model_path
                kept = (
                    f" The best checkpoint so far is {best}."
                    if best and Path(best).is_file()
                    else ""
                )
                raise type(full)(full.errno, f"{full}{kept}") from error
            raise
        if (
            self.trainer.global_step == self._checkpoints.resumed_step
            and self.trainer.is_global_zero
        ):
            _remove_empty(made)
            print(
                f"nothing was left to train: {shown(options['ckpt_path'])} has all of "
                f"{_length(self.trainer)}."
            )

    def validate(self, **options: Any) -> None:
        self.trainer.validate(**options | {"ckpt_path": None})  # the model is loaded

    def test(self, **options: Any) -> None:
        self.trainer.test(**options | {"ckpt_path": None})

    @property
    def _checkpoints(self) -> BestAndLastCheckpoint:
        return next(
            callback
            for callback in self.trainer.checkpoint_callbacks
            if isinstance(callback, BestAndLastCheckpoint)
        )

    def _how_to_go_on(self) -> str:
        paths = [
            getattr(callback, "last_model_path", "")
            for callback in self.trainer.checkpoint_callbacks
        ]
        present = [path for path in paths if path and Path(path).is_file()]
        if not present:
            return "There is no checkpoint of it to go on from."
        return (
            f"What it has learned is in {shown(present[0])}. To go on, give the same command "
            f"with --ckpt {quoted(present[0])}"
        )

    @rank_zero_only
    def after_fit(self) -> None:
        best, baseline = self._checkpoints, None
        if best.best_model_score is None:
            return
        score = float(best.best_model_score)
        if not math.isfinite(score):
            raise ValueError(
                f"the best {best.monitor} of this training is {score}: it has learned nothing "
                "that can be used. Look for extreme values in the target and in the features of "
                "the rows that are held out."
            )
        changed = caveat(self.model.objective)
        # which the fit without features does not minimise, so that it says nothing there
        is_unfair = bool(changed) and best.monitor == f"val/{self.model.objective_name}"
        if not is_unfair and f"{best.monitor}_marginal" in self.trainer.callback_metrics:
            baseline = float(self.trainer.callback_metrics[f"{best.monitor}_marginal"])
        comparison = (
            ""
            if baseline is None
            else f", without features {baseline:.4f} ({best.monitor}_marginal)"
        )
        print(f"best {best.monitor} {score:.4f}{comparison}: {shown(best.best_model_path)}")
        if baseline is not None and score >= baseline:
            warnings.warn(
                f"the model is no better than the one without features: {best.monitor} "
                f"{score:.4f}, {best.monitor}_marginal {baseline:.4f}. Train for longer, or look "
                "for features that tell something of the target.",
                stacklevel=2,
            )
        if changed:
            print(changed)
        path = quoted(best.best_model_path)
        print(f"next: disthead test --ckpt {path}")
        if self.datamodule.has("val"):
            method = _recalibration_of(self.model.head.family)
            if method is None:
                print(f"or, for verdicts on its uncertainty: disthead evaluate --ckpt {path}")
            else:
                print(f"or, to correct its uncertainty: disthead recalibrate --ckpt {path}{method}")

    def predict(self, **options: Any) -> None:
        """Predict all rows, and write the predictions to `--out`."""
        # so that a missing package is an error before any row is predicted
        import pandas  # noqa: F401

        config = self.config[self.subcommand]
        out = config.out
        source = self.datamodule.hparams.predict_path or self.datamodule.hparams.path
        tables = [self.datamodule.hparams[name] for name in ("path", "val_path", "test_path")]
        tables.append(
            read_checkpoint(config.ckpt_path).get("datamodule_hyper_parameters", {}).get("path")
        )
        # the first process checks whether the file exists
        overwrite = config.overwrite or (process()[0] > 0 and not is_folder(out))
        check_out(out, source, config.escape_formulas, tables, overwrite)
        predicted = {
            "quantiles": _numbers("--quantiles", config.quantiles),
            "level": config.level,
            "samples": config.samples,
            "seed": config.seed,
            "top_k": config.top_k,
        }
        # before any row is predicted
        check_options(predicted["quantiles"], config.level, config.samples, config.top_k)
        names = _listed(config.id_columns)
        launcher = self.trainer.strategy.launcher
        if launcher is not None and not hasattr(launcher, "cluster_environment"):
            raise ValueError(
                f"--trainer.strategy {config.trainer.strategy}: processes that are spawned or "
                "forked cannot share predictions out. Try --trainer.strategy ddp, or "
                "--trainer.devices 1."
            )
        if is_folder(out):
            return self._predict_files(source, out, id_columns=names, **predicted)
        if self.trainer.world_size == 1 and process()[0]:
            print(f"the first process writes {shown(out)}; --trainer.devices shares the rows out.")
            return None
        columns, data = self.model.columns or {}, self.datamodule
        predicted |= {
            name: columns[entry] for name, entry in _COLUMN_ENTRIES.items() if entry in columns
        }
        # that of the training may be small
        is_explicit = "batch_size" in self.explicit_options.get("data", {})
        batch_size = (data.hparams.batch_size if is_explicit else None) or PREDICTED
        data.hparams["batch_size"] = min(self.model.predicted_at_once(config.samples), batch_size)
        identity = self._identity(source, names) if names else None
        file = PredictionFile(out, predicted, identity, config.escape_formulas)
        self.trainer.callbacks.append(file)
        options |= {"return_predictions": False, "ckpt_path": None}  # the model is loaded
        if not self.trainer.is_global_zero:
            self.trainer.predict(**options)
            return None
        with file.written():
            self.trainer.predict(**options)
        print(
            f"{file.rows} predictions in {shown(out)}"
            + f", with {file.left_out}" * bool(file.left_out)
        )
        return None

    def _identity(self, source: Any, names: list[str]) -> Callable[[list[int]], Mapping[str, Any]]:
        """A function from row numbers of the table to the columns that identify these rows."""
        data = self.datamodule
        if not data.streams("predict"):
            for name in names:
                pick("column", name, dict.fromkeys(data.column_names("predict")))
        if isinstance(source, str) and (
            data.streams("predict") or source.lower().endswith((".parquet", ".pq"))
        ):
            return RowNames(find_files(source), names).at
        if source is None:
            data.columns = Columns.from_state(self.model.columns)
        frame = data.frame("predict")[names] if source is None else read_as_written(source, names)
        return lambda rows: dict(frame.iloc[rows].reset_index(drop=True).items())

    def _predict_files(self, source: Any, out: str, **options: Any) -> None:
        """Predict row group by row group without Lightning, for tables larger than memory.

        Parts that were written before are kept.
        """
        trainer, launcher = self.trainer, self.trainer.strategy.launcher
        rank, world_size = (
            (trainer.global_rank, trainer.world_size) if trainer.world_size > 1 else process()
        )

        def run() -> None:
            written = predict_files(
                self.config[self.subcommand].ckpt_path,
                source,
                out,
                device=trainer.strategy.root_device,
                rank=rank,
                world_size=world_size,
                trust=self.config[self.subcommand].trust,
                **options,
            )
            others = f" by process {rank} of {world_size}, the others write the rest" * (
                world_size > 1
            )
            print(f"{written} part{'s' * (written != 1)} written to {shown(out)}{others}")

        if launcher is None:
            return run()
        try:
            # starts the other processes, unless torchrun or SLURM did
            launcher.launch(run, trainer=trainer)
            statuses = [child.wait() for child in launcher.procs]
        except BaseException:
            launcher.kill(signal.SIGTERM)
            raise
        failed = next((status for status in statuses if status), 0)
        if failed:  # that process has printed its error
            sys.exit(failed if failed > 0 else 128 - failed)
        return None


def _recalibration_of(family: Family) -> str | None:
    """The option that names a recalibration for a family; empty for the default, None for none."""
    if family.is_censored:  # no recalibration learns from censored targets
        return None
    example = family.from_raw(torch.zeros(family.width()))
    if ScaleCalibration().suits(example):
        return ""
    return " --method TemperatureScaling" if TemperatureScaling().suits(example) else None


def _with_options(model: Any, named: Sequence[str]) -> Any:
    """The specification of the backbone, with the options that are named for the model."""
    if model.backbone is None:
        return None
    spec = qualified("backbone", model.backbone)
    defaults = inspect.signature(DistributionModule).parameters
    if isinstance(spec, dict) and "class_path" not in spec:
        raise ValueError(
            f"the backbone has arguments, {', '.join(spec)}, and no class: give --model.backbone, "
            "such as my_package.my_module.MyNet."
        )
    if isinstance(spec, dict):
        kept = {key: value for key, value in spec["init_args"].items() if key not in named}
        spec = completed(spec | {"init_args": kept}, **{name: model[name] for name in named})
    arguments = spec["init_args"] if isinstance(spec, dict) else {}
    for name in _BACKBONE_OPTIONS:
        is_lost = name in named and name not in arguments
        if is_lost or comparable(model[name]) not in (
            comparable(defaults[name].default),
            comparable(arguments.get(name)),
        ):
            raise ValueError(
                f"--model.{name} {model[name]} has no effect beside the backbone {spec}"
                + (f": give --model.backbone.init_args.{name}." if name in arguments else ".")
            )
    return spec


def _with_classes(config: Any) -> list[str] | None:
    """The columns of categories: also targets of a family of classes, unless they are numbered."""
    named, targets = config.data.categorical, as_names(config.data.target, "target", "['x']")
    if not takes_classes(config.model.family) or "num_classes" in (
        config.model.family_options or {}
    ):
        return named
    return list(dict.fromkeys([*(named or ()), *targets]))


def _plan(config: Any, rows: int) -> None:
    """Replace null in a configuration by the default recipe's value for so many training rows."""
    trainer, model = config.trainer, config.model
    batch_size, _, learning_rate = plan(rows, config.data.batch_size)
    config.data.batch_size = config.data.batch_size or batch_size
    steps = steps_of(trainer, rows, batch_size)
    if trainer.max_epochs is None:
        has_steps = trainer.max_steps != -1
        trainer.max_epochs = (
            -1 if has_steps else math.ceil(steps / steps_per_epoch(trainer, rows, batch_size))
        )
    for kind, name, value in (("optimizer", "lr", learning_rate), ("scheduler", "steps", steps)):
        model[kind] = qualified(kind, model[kind])
        arguments = model[kind].get("init_args", {}) if isinstance(model[kind], dict) else {}
        if name in arguments and arguments[name] is None:
            arguments[name] = value


def _check_nothing_is_lost(config: Any, log_dir: Path) -> None:
    """Refuse to write over checkpoints of another training, or over the configuration in use."""
    folder = Path(config.checkpoint.dirpath or log_dir / "checkpoints")
    checkpoints = sorted(folder.glob("*.ckpt"))
    if checkpoints and not config.overwrite and not _resumes_in(config, folder):
        raise ValueError(
            f"{folder} holds the checkpoints of another training, such as {checkpoints[0].name}: "
            "choose another --checkpoint.dirpath, go on from it with --ckpt "
            f"{quoted(checkpoints[-1])}, or write over it with --overwrite."
        )
    if local(log_dir) is not None:
        check_folder(log_dir, "the folder of the training", "--trainer.default_root_dir")
    if config.checkpoint.dirpath is not None and local(folder) is not None:
        check_folder(folder, "the folder of the checkpoints", "--checkpoint.dirpath")
    written = log_dir / "config.yaml"
    if any(Path(str(path)).resolve() == written.resolve() for path in config.config or ()):
        raise ValueError(
            f"the configuration of this run would be written over {written}: rename "
            "that file first."
        )


@contextlib.contextmanager
def _resuming(path: "str | None") -> Iterator[None]:
    """A context in which errors of Lightning in reading the state of a training name its file."""
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        modules = [
            frame.f_globals.get("__name__", "")
            for frame, _ in traceback.walk_tb(error.__traceback__)
        ]
        reads = any(
            name.endswith((".checkpoint_connector", ".migration.utils")) for name in modules
        )
        is_clear = isinstance(error, ValueError) and modules[-1].startswith("disthead.")
        if (
            path is None
            or is_clear
            or "in loading state_dict" in str(error)
            or not (reads or modules[-1] == __name__)
        ):
            raise
        raise ValueError(
            f"--ckpt {path}: the state of its training cannot be read: "
            f"{' '.join(str(error).split())} ({type(error).__name__}). It was changed after "
            "training: go on from another checkpoint."
        ) from error


_STATE = {
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "loops": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
}


def _check_resumable(contents: Mapping[str, Any], trainer: Any, path: str) -> None:
    """Refuse a checkpoint without the state of its training, or with more than max_epochs epochs.

    With more epochs Lightning would do nothing, without a message.
    """
    if contents.get("loops") is None:
        raise ValueError(
            f"--ckpt {path} holds the model alone, without the state of its "
            "training, which cannot go on."
        )
    for name, kind in _STATE.items():
        if not isinstance(contents.get(name), kind):
            got = f"is {contents[name]!r:.60}" if name in contents else "is missing"
            raise ValueError(
                f"--ckpt {path}: {name}, of the state of its training, {got}, and should be a "
                f"{kind.__name__.lower()}: go on from another checkpoint."
            )
    if not isinstance(contents.get("callbacks", {}), Mapping):
        raise ValueError(
            f"--ckpt {path}: callbacks, of the state of its training, should be a mapping."
        )
    if trainer.max_epochs in (None, -1):
        return
    loops = contents["loops"]
    epochs = loops["fit_loop"]["epoch_progress"]["current"]["processed"]
    if trainer.max_epochs < epochs:
        raise ValueError(
            f"--trainer.max_epochs must be at least {epochs + 1} to go on from {path}, which has "
            f"had {epochs} epochs, got {trainer.max_epochs}."
        )


def _length(trainer: Any) -> str:
    """The length of a training, by its options."""
    steps = f"its {trainer.max_steps} steps (--trainer.max_steps)"
    return (
        steps
        if trainer.max_steps != -1
        else f"its {trainer.max_epochs} epochs (--trainer.max_epochs)"
    )


def _resumes_in(config: Any, folder: "str | Path | None") -> bool:
    """Whether a training goes on from a checkpoint in the folder for its checkpoints."""
    if config.ckpt_path is None or folder is None:
        return False
    return Path(config.ckpt_path).absolute().parent.resolve() == Path(folder).resolve()


def _remove_empty(made: Sequence[Path]) -> None:
    """Remove new folders, the innermost first, that hold nothing but the configuration."""
    for folder in made:
        if not folder.exists():
            continue
        if {path.name for path in folder.rglob("*")} - {"config.yaml", "hparams.yaml"}:
            return
        shutil.rmtree(folder)


def _listed(value: "str | Sequence | None") -> list[str]:
    """The entries of a list that is written `a,b` or `[a, b]`."""
    if value is None:
        return []
    entries = (
        value.strip().removeprefix("[").removesuffix("]").split(",")
        if isinstance(value, str)
        else value
    )
    return [str(entry).strip() for entry in entries if str(entry).strip()]


def _numbers(name: str, value: "str | Sequence | None") -> list[float] | None:
    if value is None:
        return None
    try:
        return [float(entry) for entry in _listed(value)]
    except ValueError as error:
        raise ValueError(
            f"{name} must be numbers between 0 and 1, such as 0.1,0.5,0.9, got {value!r}."
        ) from error


def _cli_of(command: str, named: Sequence[str] = ()) -> Any:
    """The command line with this subcommand alone, since the parser of each takes time to make.

    Args:
        command: the subcommand.
        named: options of the default backbone that the command line names.
    """
    evaluates = command != "fit"

    class CLI(_CLI):
        backbone_options = named

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            # without weights_only, since all checkpoints hold plain data
            return {command: LightningCLI.subcommands()[command] | {"weights_only"}}

    def start(arguments: list[str], default_files: list[str]) -> LightningCLI:
        trainer_defaults: dict[str, Any] = {"max_epochs": 200}
        if evaluates:
            trainer_defaults |= {"devices": 1, "enable_model_summary": False}
        return CLI(
            DistributionModule,
            TabularDataModule,
            args=arguments,
            seed_everything_default=0,
            trainer_defaults=trainer_defaults,
            save_config_callback=None if evaluates else _SaveOptions,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
            parser_class=_Parser,
            parser_kwargs={"prog": "disthead", command: {"default_config_files": default_files}},
        )

    return start
