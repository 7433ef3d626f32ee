"""Checks of options of the command line that Lightning and torch check late or never."""

import inspect
import os
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Timer

from disthead.objectives import get_objective, name_of, names
from disthead.texts import shown
from disthead.training.saved import comparable
from disthead.training.trust import GIVEN

__all__ = ["check_agreement", "check_config", "check_processes", "check_validation", "in_options"]

_ALLOWED_PROCESSES = 8  # on any machine, even with fewer cores


class _Rule(NamedTuple):
    """A rule for the values of an option.

    Attributes:
        option: its name.
        is_valid: whether a value is valid.
        expected: the valid values, in words.
        command: whose option it is; empty for all commands.
    """

    option: str
    is_valid: Callable[[Any], bool]
    expected: str
    command: str = ""


def _at_least(least: float) -> Callable[[Any], bool]:
    return lambda value: value >= least


def _is_part(value: Any) -> bool:
    """Whether a value is a number of batches, or a share of all of them."""
    return 0 < value <= 1 or (value > 1 and value == int(value))


def _is_time(value: Any) -> bool:
    try:
        return (Timer(duration=value).time_remaining() or 0) > 0
    except (MisconfigurationException, TypeError, ValueError):
        return False


def _is_devices(value: Any) -> bool:
    if isinstance(value, str):
        names = [name.strip() for name in value.split(",") if name.strip()]
        if value.strip() == "auto":
            return True
        if not names or not all(re.fullmatch(r"-?\d+", name) for name in names):
            return False
        value = int(names[0]) if len(names) == 1 else [int(name) for name in names]
    if isinstance(value, int):
        return value >= 1 or value == -1
    return len(value) > 0 and len(set(value)) == len(value)


def _is_strategy(value: Any) -> bool:
    # the command does not learn of the checkpoints of processes that are not commands themselves
    return not str(value).endswith(("_spawn", "_fork", "_notebook"))


def _is_filename(value: str) -> bool:
    try:
        list(string.Formatter().parse(value))
    except ValueError:
        return False
    return bool(value)


_PART = "a number of batches, 1 or more, or a share of them, above 0.0 and at most 1.0"
_ALL = (
    "1.0, since all rows of the table are predicted: give a table with fewer rows to predict fewer"
)
_RULES = [
    _Rule(
        "trainer.max_epochs",
        lambda value: value == -1 or value >= 1,
        "1 or more, or -1 for no end",
        "fit",
    ),
    _Rule(
        "trainer.max_steps",
        lambda value: value == -1 or value >= 1,
        "1 or more, or -1 for no end",
        "fit",
    ),
    _Rule("trainer.min_epochs", _at_least(0), "0 or more", "fit"),
    _Rule("trainer.min_steps", _at_least(0), "0 or more", "fit"),
    _Rule(
        "trainer.max_time",
        _is_time,
        "a time above zero, days:hours:minutes:seconds such as 00:01:30:00",
        "fit",
    ),
    _Rule("trainer.limit_train_batches", _is_part, _PART, "fit"),
    _Rule(
        "trainer.limit_val_batches",
        lambda value: value == 0 or _is_part(value),
        f"0 for none, {_PART}",
        "fit",
    ),
    _Rule("trainer.limit_val_batches", _is_part, _PART, "validate"),
    _Rule("trainer.limit_test_batches", _is_part, _PART, "test"),
    _Rule(
        "trainer.limit_predict_batches",
        lambda value: value == 1.0 and isinstance(value, float),
        _ALL,
        "predict",
    ),
    _Rule(
        "trainer.fast_dev_run",
        lambda value: not value,
        f"false, {_ALL.partition(', ')[2]}",
        "predict",
    ),
    _Rule(
        "trainer.overfit_batches",
        lambda value: value == 0 or _is_part(value),
        f"0 for all, {_PART}",
        "fit",
    ),
    _Rule(
        "trainer.val_check_interval",
        lambda value: isinstance(value, (int, float)) and _is_part(value),
        "a number of training batches, 1 or more, or a share of an epoch, above 0.0 and at most "
        "1.0",
        "fit",
    ),
    _Rule("trainer.check_val_every_n_epoch", _at_least(1), "1 or more", "fit"),
    _Rule("trainer.accumulate_grad_batches", _at_least(1), "1 or more", "fit"),
    _Rule("trainer.gradient_clip_val", _at_least(0), "0 for none, or more", "fit"),
    _Rule("trainer.log_every_n_steps", _at_least(0), "0 for never, or more", "fit"),
    _Rule("trainer.num_sanity_val_steps", _at_least(-1), "0 or more, or -1 for all", "fit"),
    _Rule("trainer.fast_dev_run", _at_least(0), "true, false, or a number of batches"),
    _Rule(
        "trainer.enable_checkpointing",
        bool,
        "true, since the result of a training is its checkpoints",
        "fit",
    ),
    _Rule(
        "trainer.barebones",
        lambda value: not value,
        "false, since a training logs and writes checkpoints",
        "fit",
    ),
    _Rule(
        "trainer.devices",
        _is_devices,
        "a number of devices, 1 or more, a list of their numbers, or auto",
    ),
    _Rule(
        "trainer.strategy",
        _is_strategy,
        "one whose processes are commands of their own, such as ddp",
    ),
    _Rule("trainer.num_nodes", _at_least(1), "1 or more"),
    _Rule("seed_everything", lambda value: 0 <= value < 2**32, "a number from 0 to 4294967295"),
    _Rule(
        "ckpt_path",
        lambda value: value not in ("best", "registry"),
        "the path of a checkpoint",
        "fit",
    ),
    _Rule("early_stopping.patience", _at_least(0), "0 or more, or null", "fit"),
    _Rule("early_stopping.mode", ("min", "max").__contains__, "min or max", "fit"),
    _Rule("checkpoint.mode", ("min", "max").__contains__, "min or max", "fit"),
    _Rule(
        "checkpoint.save_top_k",
        lambda value: value == -1 or value >= 1,
        "1 or more, or -1 for all",
        "fit",
    ),
    _Rule("checkpoint.every_n_epochs", _at_least(1), "1 or more", "fit"),
    _Rule("checkpoint.every_n_train_steps", _at_least(0), "0 or more", "fit"),
    _Rule(
        "checkpoint.filename",
        _is_filename,
        "a name, in which braces hold metrics, such as {epoch}",
        "fit",
    ),
]
# the mode of a metric, by the end of its name
_BETTER = {"objective": "min", "accuracy": "max"} | {
    f"{name}{end}": "min" for name in names() for end in ("", "_marginal")
}


def check_config(command: str, config: Any) -> None:
    """Refuse invalid values of options, before anything is read or made.

    Args:
        command: "fit", "validate", "test" or "predict".
        config: the options, as a namespace of jsonargparse.

    Raises:
        ValueError: with the option, its valid values, and its value.
    """
    for option, is_valid, expected, of in _RULES:
        value = config.get(option)
        if value is not None and of in ("", command) and not is_valid(value):
            option = option.replace("ckpt_path", "ckpt")
            raise ValueError(f"--{option} must be {expected}, got {_shown(value)}.")
    if command != "fit":
        return
    for callback in ("early_stopping", "checkpoint"):
        monitor, mode = f"{config[callback].monitor}", config[callback].mode
        better = _BETTER.get(monitor.rpartition("/")[2], mode)
        if mode != better:
            role = "the best checkpoint" if callback == "checkpoint" else "better"
            raise ValueError(
                f"--{callback}.mode {mode} would take the worst {monitor} for {role}: give "
                f"{better}."
            )


_DECIDED = {  # options of the data that a trained model fixes
    "target", "features", "categorical", "known", "weight", "unit", "event", "order",
    "val_size", "test_size", "split_seed", "groups", "split_column",
}  # fmt: skip
_FREE = {"min_scale", "spread_floor"}  # options of the model that a trained one may change


def check_agreement(given: Mapping[str, Any], checkpoint: Mapping[str, Any], path: object) -> None:
    """Refuse options of the model and its data that contradict its checkpoint.

    Args:
        given: the options of the user, without defaults: `model` and `data`, each a mapping or a
            namespace.
        checkpoint: the contents of the checkpoint.
        path: of the checkpoint.

    Raises:
        ValueError: with the option, and its value in the checkpoint.
    """
    model = checkpoint["hyper_parameters"]
    data = dict(checkpoint.get("datamodule_hyper_parameters", {}))
    columns = model.get("columns")
    if isinstance(columns, Mapping) and data.get("features") is None:  # all other columns
        data["features"] = [column["name"] for column in columns["features"]]
    for section, saved in (("model", model), ("data", data)):
        options = given.get(section) or {}
        options = options if isinstance(options, Mapping) else options.as_dict()
        for name, value in options.items():
            if name not in saved or (name in _FREE if section == "model" else name not in _DECIDED):
                continue
            for option, new, old in _contradictions(f"--{section}.{name}", value, saved[name]):
                raise ValueError(
                    f"{option} {shown(_shown(new))} contradicts {path}, which decides it: there "
                    f"it is {'not given' if old is None else shown(_shown(old))}. Leave it "
                    "out, or train another model with it (disthead fit)."
                )


def _contradictions(option: str, given: Any, saved: Any) -> Iterator[tuple[str, Any, Any]]:
    """The options whose value differs from the saved one, with both values; null never differs."""
    if given is None or (isinstance(saved, str) and saved.startswith(GIVEN)):
        return
    if isinstance(given, Mapping) and isinstance(saved, Mapping):
        for name, value in given.items():
            yield from _contradictions(f"{option}.{name}", value, saved.get(name))
        return
    if isinstance(given, Mapping) and "class_path" in given:
        yield from _contradictions(f"{option}.class_path", given["class_path"], saved)
        yield from _contradictions(f"{option}.init_args", given.get("init_args") or {}, {})
        return
    if isinstance(saved, Mapping) and "class_path" in saved:
        saved = saved["class_path"]
    is_class = option.endswith((".class_path", ".backbone", ".optimizer", ".scheduler"))
    if is_class and isinstance(given, str) and isinstance(saved, str):  # AdamW is torch.optim.AdamW
        short, long = sorted((given, saved), key=len)
        if long == short or long.endswith(f".{short}"):
            return
    if option in ("--data.target", "--data.features"):
        given, saved = ([value] if isinstance(value, str) else value for value in (given, saved))
    if comparable(given) != comparable(saved):
        yield option, given, saved


def check_validation(config: Any, has_rows: bool) -> None:
    """Refuse a training that monitors a metric of validation and has no validation.

    Args:
        config: the options, as a namespace of jsonargparse, after the number of epochs is planned.
        has_rows: whether there are rows for validation.

    Raises:
        ValueError: with the reason, and what to do.
    """
    trainer, epochs = config.trainer, config.trainer.max_epochs
    if "val/" not in f"{config.checkpoint.monitor} {config.early_stopping.monitor}":
        return
    trained = f"train/{name_of(get_objective(config.model.objective))}"
    other = f"or --checkpoint.monitor {trained} --early_stopping.monitor {trained}"
    if not has_rows:
        raise ValueError(
            "no rows are held out, by which to stop and to choose the best checkpoint: give "
            f"--data.val_size, such as 0.2, or --data.val_path; {other}."
        )
    if trainer.limit_val_batches == 0:
        raise ValueError(
            "--trainer.limit_val_batches 0 leaves no rows by which to stop and to choose the best "
            f"checkpoint: leave it out, {other}."
        )
    interval = trainer.check_val_every_n_epoch
    if (
        interval is not None
        and epochs is not None
        and 0 < epochs < interval
        and not trainer.fast_dev_run
    ):
        raise ValueError(
            f"--trainer.check_val_every_n_epoch must be at most --trainer.max_epochs, {epochs}, so "
            f"that a validation says which checkpoint is best, got {interval}; {other}."
        )


def check_processes(trainer: lightning.Trainer) -> None:
    """Refuse many more processes than the machine has cores.

    Raises:
        ValueError: with both numbers.
    """
    most = max(_ALLOWED_PROCESSES, os.cpu_count() or 1)
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise ValueError(
            f"--trainer.devices is the number of processes, at most {most} on the {os.cpu_count()} "
            f"cores of this machine, got {trainer.num_devices}."
        )


def in_options(message: str) -> str:
    """A message of Lightning with the options of the command line in place of arguments."""
    message = re.sub(r" ?HINT: Did you call `.*", "", " ".join(message.split()))
    metric = re.match(
        r"`ModelCheckpoint\(monitor='(.*?)'\)` could not find .*? metrics: \[(.*)\]\.?$", message
    )
    if metric:
        names = ", ".join(re.findall(r"'(\w+/\w+)'", metric[2]))
        return f"--checkpoint.monitor must be a metric of this training, {names}, got {metric[1]}."
    message = re.sub(r"`?\.fit\(ckpt_path=\"?(\w+)\"?\)`? is set", r"--ckpt \1 is given", message)
    message = re.sub(
        r"Please pass an exact checkpoint path to `.*", "Give the path of a checkpoint.", message
    )
    message = re.sub(r"`?Trainer\((\w+)='?(.*?)'?\)`?", r"--trainer.\1 \2", message)
    trainer = inspect.signature(lightning.Trainer).parameters
    message = message.replace("=None`", "=null`")
    return re.sub(
        r"`(\w+)(?:=(.*?))?`",
        lambda match: (
            f"--trainer.{match[1]}{' ' * bool(match[2])}{match[2] or ''}"
            if match[1] in trainer
            else match[0]
        ),
        message,
    )


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
