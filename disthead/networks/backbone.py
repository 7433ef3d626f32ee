"""Backbones, optimizers and schedulers from plain data, so that a configuration or a checkpoint can name them."""

import difflib
import importlib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn, optim

from disthead.arrays import as_integer, as_integers, as_mapping

__all__ = [
    "KINDS",
    "build",
    "completed",
    "find",
    "fused",
    "is_subclass",
    "multilayer_perceptron",
    "qualified",
]

# What a specification makes, by the name of its option.
KINDS: dict[str, type] = {
    "backbone": nn.Module,
    "activation": nn.Module,
    "optimizer": optim.Optimizer,
    "scheduler": optim.lr_scheduler.LRScheduler,
}

TIMING = ("interval", "frequency", "monitor")  # what Lightning wants to know about a scheduler
_SHORT = {"activation": nn, "optimizer": optim, "scheduler": optim.lr_scheduler}
# Where classes were that checkpoints and configurations of version 0.1 name.
_MOVED = {
    f"disthead.training.{name}": f"disthead.networks.{name}"
    for name in ("averaging", "backbone", "encoding", "schedule", "tabular")
}


def multilayer_perceptron(
    in_features: int, hidden_sizes: Sequence[int], activation: str = "SiLU", dropout: float = 0.0
) -> nn.Sequential:
    """Linear layers of the given sizes, each followed by the activation; with none of them the features pass through.

    >>> multilayer_perceptron(3, [8])
    Sequential(
      (0): Linear(in_features=3, out_features=8, bias=True)
      (1): SiLU()
    )
    """
    in_features = as_integer(in_features, "in_features")
    layers: list[nn.Module] = []
    for size in as_integers(hidden_sizes, "hidden_sizes"):
        layers += [nn.Linear(in_features, size), build("activation", activation)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        in_features = size
    return nn.Sequential(*layers)


def build(kind: str, spec: "str | Mapping[str, Any]", *arguments: Any) -> Any:
    """The object that `spec` names: a class path, or `{"class_path": ..., "init_args": {...}}`.

    Classes of torch need no path: `SiLU`, `AdamW`, `CosineAnnealingLR`. `arguments` come before
    those of the spec.

    Raises:
        ValueError: for a class that does not exist, or arguments that it does not take.
    """
    if isinstance(spec, str):
        spec = {"class_path": spec}
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_path"), str):
        raise ValueError(
            f"{kind} must be a class path or have the keys class_path and init_args, got {spec!r}."
        )
    found, options = find(kind, spec["class_path"]), dict(spec.get("init_args") or {})
    try:
        inspect.signature(found).bind(*arguments, **options)
    except TypeError as error:
        raise ValueError(
            f"{kind} {spec['class_path']}: {error}; its arguments are "
            f"{', '.join(inspect.signature(found).parameters)}."
        ) from error
    rate = options.get("lr")
    if (
        kind == "optimizer"
        and rate is not None
        and not isinstance(rate, Tensor)
        and not _is_positive(rate)
    ):
        raise ValueError(
            f"lr, the learning rate, must be a number above zero, such as 0.005, got {rate!r}."
        )
    try:
        return found(*arguments, **options)
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        # an error of the user's class, or too little memory
        if kind not in _SHORT or type(error) is RuntimeError:
            raise
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ValueError(
            f"{kind} {spec['class_path']} cannot be made of {given}: {error}."
        ) from error


def _is_positive(value: Any) -> bool:
    try:
        return 0 < value < math.inf
    except TypeError:
        return False


def completed(spec: "str | Mapping[str, Any]", kind: str = "backbone", **known: Any) -> Any:
    """The spec with arguments that it does not give and its class takes; those that are None are left out."""
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    if not isinstance(spec, Mapping) or "class_path" not in spec:
        return spec
    takes = inspect.signature(find(kind, spec["class_path"])).parameters
    found = {name: value for name, value in known.items() if name in takes and value is not None}
    return {**spec, "init_args": found | dict(spec.get("init_args") or {})}


def qualified(kind: str, spec: Any) -> Any:
    """The spec with the full path of its class and all arguments in `init_args`, as jsonargparse writes and reads it.

    On the command line `--model.optimizer.init_args.lr 0.1` arrives beside the `init_args` of the
    configuration.
    """
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_path"), str):
        return spec
    path = spec["class_path"]
    options = as_mapping(spec.get("init_args"), f"init_args of {kind}", "{'lr': 0.01}")
    beside = {
        name: value
        for name, value in spec.items()
        if name not in ("class_path", "init_args", *TIMING)
    }
    timing = {name: spec[name] for name in TIMING if name in spec}
    path = path if "." in path or kind not in _SHORT else f"{_SHORT[kind].__name__}.{path}"
    return {"class_path": path, "init_args": options | beside} | timing


def fused(spec: Any, parameters: Sequence[nn.Parameter], scales_gradients: bool) -> Any:
    """The optimizer's spec with its fused implementation, where there is one and the spec asks for no other.

    Parameters that are sharded are left alone, since not every optimizer has one for them; and
    gradients that are scaled for half precision, which Lightning could not clip.
    """
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    if (
        scales_gradients
        or not isinstance(spec, Mapping)
        or not isinstance(spec.get("class_path"), str)
    ):
        return spec
    options = dict(spec.get("init_args") or {})
    takes = inspect.signature(find("optimizer", spec["class_path"])).parameters
    chosen = {"fused", "foreach", "capturable", "differentiable"} & set(options)
    fits = all(
        type(entry) is nn.Parameter and entry.device.type in ("cpu", "cuda") for entry in parameters
    )
    if "fused" not in takes or chosen or not fits:
        return spec
    return {**spec, "init_args": options | {"fused": True}}


def find(kind: str, path: str) -> Any:
    """The class, or function, that a class path names; a name without a module is that of a class of torch.

    Raises:
        ValueError: for what does not exist, with the nearest names.
    """
    module_name, _, name = path.rpartition(".")
    module_name = _MOVED.get(module_name, module_name)
    if not module_name and kind not in _SHORT:
        raise ValueError(
            f"{kind} {path!r} needs the path of its module, such as my_package.my_module.{path}."
        )
    try:
        module = importlib.import_module(module_name) if module_name else _SHORT[kind]
    except ImportError as error:
        raise ValueError(f"{kind} {path!r} cannot be imported: {error}.") from error
    known = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and (module_name or is_subclass(value, KINDS[kind]))
    ]
    if name not in known and not (module_name and hasattr(module, name)):
        by_lower = {entry.lower(): entry for entry in known}
        near = [by_lower[entry] for entry in difflib.get_close_matches(name.lower(), by_lower, n=3)]
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
        raise ValueError(f"unknown {kind} {name!r} in {module.__name__}{hint}")
    return getattr(module, name)


def is_subclass(found: Any, *kinds: type) -> bool:
    """Whether something is a class, and a subclass of one of these."""
    return inspect.isclass(found) and issubclass(found, kinds)
