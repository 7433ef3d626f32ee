"""The commands fit, validate, test and predict, by LightningCLI."""

import difflib
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from disthead.prediction import predictions, write_predictions
from disthead.training.data import TabularDataModule
from disthead.training.module import DistributionModule, read_checkpoint
from disthead.training.writing import predict_files

__all__ = ["run"]

_PART = {"validate": "val", "test": "test", "predict": "predict"}

# Lightning's advice for the machine at hand, and what newer versions of its dependencies say about it.
_NOISE = [
    ("LightningCLI's args parameter", UserWarning),
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
    ("The number of training batches", UserWarning),
    ("Checkpoint directory .* exists and is not empty", UserWarning),
    ("The dirpath has changed", UserWarning),
    ("GPU available but not used", UserWarning),
]
_TIPS = re.compile(r"^(GPU|TPU|HPU) available|^\s*💡|^Loaded model weights|^Restor(ed all states|ing states)")


def run(arguments: Sequence[str]) -> None:
    """`fit`, `validate`, `test` or `predict`, with the arguments of the command line.

    Validation, test and prediction take model and data from the checkpoint; `--data.path` with a new table evaluates all
    of its rows.
    """
    command, given = arguments[0], list(arguments[1:])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for message, category in _NOISE:
            warnings.filterwarnings("ignore", message, category)
        if command in _PART:  # callbacks of training have nothing to do any more
            warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks", UserWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch\.cli")
        logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
        logger.addFilter(_is_no_tip)
        try:
            defaults: dict[str, Any] = {}
            checkpoint = _value(given, "--ckpt_path")
            if command in _PART and checkpoint is not None:
                defaults, given = _from_checkpoint(checkpoint, command, given)
            file = Path(folder, "checkpoint.yaml")
            file.write_text(yaml.safe_dump(defaults, sort_keys=False))
            _cli_of(command)([command, *given], [str(file)] if defaults else [])
        finally:
            logger.removeFilter(_is_no_tip)


def unknown_option(name: str, known: Sequence[str]) -> ValueError:
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return ValueError(f"unknown option {name!r}{hint} All of them: disthead fit --help")


def _is_no_tip(record: logging.LogRecord) -> bool:
    return not _TIPS.match(record.getMessage())


def _value(arguments: Sequence[str], name: str) -> str | None:
    """The last value of `--name value` or `--name=value`."""
    found = None
    for k, argument in enumerate(arguments):
        if argument == name and k + 1 < len(arguments):
            found = arguments[k + 1]
        elif argument.startswith(f"{name}="):
            found = argument.removeprefix(f"{name}=")
    return found


def _from_checkpoint(path: str, command: str, given: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Model and data as they were in training, and the arguments, where a new table is the part that is asked for."""
    checkpoint = read_checkpoint(path)
    data = dict(checkpoint.get("datamodule_hyper_parameters", {}))
    table = _value(given, "--data.path")
    if table is not None and "--config" not in given and not _same_file(table, data.get("path")):
        new = f"--data.{_PART[command]}_path"
        given = [re.sub(r"^--data\.path(?==|$)", new, argument) for argument in given]
    return {"model": dict(checkpoint["hyper_parameters"]), "data": data}, given


def _same_file(one: str, other: Any) -> bool:
    return isinstance(other, str) and os.path.realpath(one) == os.path.realpath(other)


class _Parser(LightningArgumentParser):
    """A parser whose errors are one message, without the list of all options."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        unknown = re.search(r"nrecognized arguments: (--[\w.]+)", message)
        if unknown:
            raise unknown_option(unknown[1], self._known_options()) from ex
        raise ValueError(message.strip()) from ex

    def _known_options(self) -> list[str]:
        parsers = [self, *(self._subcommands_action.choices.values() if self._subcommands_action else ())]
        return [name for parser in parsers for name in parser._option_string_actions]


class _CLI(LightningCLI):
    """Lightning's command line for the distribution module and tables, with early stopping and the best checkpoint."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/nll",
                "checkpoint.filename": "best",
                "checkpoint.save_last": "link",  # of the same moment as the best: Lightning writes none in between
                "early_stopping.monitor": "val/nll",
                "early_stopping.patience": 20,
            }
        )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            help = "a .csv or .parquet file; or a folder, for Parquet files larger than memory"
            parser.add_argument("--out", type=str, default="predictions.csv", help=help)
        return parser

    def _parse_ckpt_path(self) -> None:
        """Nothing: validation, test and prediction have read the checkpoint, and fit is to find out a wrong one."""

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list) -> Any:
        if config.get("logger") in (None, True):
            folder = config.get("default_root_dir") or "."
            config["logger"] = CSVLogger(folder, name="lightning_logs") if self.subcommand == "fit" else False
        return super()._instantiate_trainer(config, callbacks)

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        if config.ckpt_path not in (None, "best", "last", "hpc", "registry"):
            read_checkpoint(config.ckpt_path)
        if self.subcommand != "fit" and config.ckpt_path is None:
            raise ValueError(f"disthead {self.subcommand} needs --ckpt_path, the checkpoint of a trained model.")

    @rank_zero_only
    def after_fit(self) -> None:
        best = self.trainer.checkpoint_callback
        if best is not None and best.best_model_path:
            print(f"best val/nll {float(best.best_model_score):.4f}: {best.best_model_path}")
            print(f"next: disthead test --ckpt_path {best.best_model_path}")

    def predict(self, **options: Any) -> None:
        """Predict all rows and write their columns to `--out`."""
        import pandas as pd

        out = self.config[self.subcommand].out
        if not Path(out).suffix:
            return self._predict_files(out)
        if not out.endswith((".csv", ".parquet", ".pq")):
            raise ValueError(f"--out must end in .csv or .parquet, or be a folder, got {out!r}.")
        options.pop("return_predictions", None)
        distributions = self.trainer.predict(**options)
        columns = self.model.columns or {}
        frames = [
            pd.DataFrame(predictions(d, columns.get("target", ()), columns.get("classes"), unit=columns.get("unit")))
            for d in distributions
        ]
        frame = pd.concat(frames, ignore_index=True)
        write_predictions(frame, out)
        print(f"{len(frame)} predictions in {out}")

    def _predict_files(self, out: str) -> None:
        """Row group by row group, without Lightning: nothing is kept, and parts that are there are not made again."""
        config = self.config[self.subcommand]
        rank, world_size = _process()
        written = predict_files(
            config.ckpt_path,
            config.data.predict_path or config.data.path,
            out,
            device=self.trainer.strategy.root_device,
            rank=rank,
            world_size=world_size,
        )
        print(f"{written} parts written to {out}")


def _process() -> tuple[int, int]:
    """Rank and number of processes, where torchrun or SLURM started several."""
    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect():
            return environment().global_rank(), environment().world_size()
    return 0, 1


def _cli_of(command: str) -> Any:
    """The command line with this one subcommand, whose parser takes a moment to make."""
    evaluates = command != "fit"

    class CLI(_CLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {command: LightningCLI.subcommands()[command]}

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
            save_config_callback=None if evaluates else SaveConfigCallback,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
            parser_class=_Parser,
            parser_kwargs={"prog": "disthead", command: {"default_config_files": default_files}},
        )

    return start
