"""Backbones, optimizers and schedulers from plain data, for configurations and checkpoints."""

import difflib
import importlib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn, optim

from disthead.arrays import as_integer, as_integers, as_mapping
from disthead.families.family import Family

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

# option of a model -> base class of what its specification makes
KINDS: dict[str, type] = {
    "backbone": nn.Module,
    "family": Family,
    "activation": nn.Module,
    "optimizer": optim.Optimizer,
    "scheduler": optim.lr_scheduler.LRScheduler,
}

TIMING = ("interval", "frequency", "monitor")  # entries of a scheduler that Lightning reads
_SHORT = {"activation": nn, "optimizer": optim, "scheduler": optim.lr_scheduler}
# former module -> present one, for classes that checkpoints and configurations of version 0.1 name
_MOVED = {
    f"disthead.training.{name}": f"disthead.networks.{name}"
    for name in ("averaging", "backbone", "encoding", "schedule", "tabular")
}


def multilayer_perceptron(
    in_features: int, hidden_sizes: Sequence[int], activation: str = "SiLU", dropout: float = 0.0
) -> nn.Sequential:
    """Linear layers of the given sizes, each followed by the activation and dropout.

    Shapes: (..., in_features) -> (..., hidden_sizes[-1]). Without any sizes the features come back
    as they are.

    Args:
        in_features: the number of features.
        hidden_sizes: the sizes of the layers.
        activation: the name of a class of `torch.nn`, or a class path.
        dropout: the probability of a zero; 0 for no dropout.

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
    """The object that a specification describes.

    Args:
        kind: the option of the specification, one of `KINDS`.
        spec: a class path, or `{"class_path": ..., "init_args": {...}}`. Classes of torch need no
            path: `SiLU`, `AdamW`, `CosineAnnealingLR`.
        arguments: positional arguments that come before those of the specification.

    Raises:
        ValueError: for a class that does not exist, or arguments that it does not take.
    """
    if isinstance(spec, str):
        spec = {"class_path": spec}
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_path"), str):
        raise ValueError(
            f"{kind} must be a class path or have the keys class_path and init_args, got {spec!r}."
        )
    made_by, options = find(kind, spec["class_path"]), dict(spec.get("init_args") or {})
    try:
        inspect.signature(made_by).bind(*arguments, **options)
    except TypeError as error:
        raise ValueError(
            f"{kind} {spec['class_path']}: {error}; its arguments are "
            f"{', '.join(inspect.signature(made_by).parameters)}."
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
        return made_by(*arguments, **options)
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        # an error of the user's class, or too little memory
        if kind not in _SHORT or type(error) is RuntimeError:
            raise
        assignments = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ValueError(
            f"{kind} {spec['class_path']} cannot be made of {assignments}: {error}."
        ) from error


def _is_positive(value: Any) -> bool:
    try:
        return 0 < value < math.inf
    except TypeError:
        return False


def completed(spec: "str | Mapping[str, Any]", kind: str = "backbone", **defaults: Any) -> Any:
    """The specification, completed by arguments that its class takes and it does not have.

    Args:
        spec: as for `build`.
        kind: as for `build`.
        defaults: arguments by name; those that are None are left out.
    """
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    if not isinstance(spec, Mapping) or "class_path" not in spec:
        return spec
    takes = inspect.signature(find(kind, spec["class_path"])).parameters
    defaults = {
        name: value for name, value in defaults.items() if name in takes and value is not None
    }
    return {**spec, "init_args": defaults | dict(spec.get("init_args") or {})}


def qualified(kind: str, spec: Any) -> Any:
    """The specification in the form of jsonargparse.

    The class has its full path, and all arguments are in `init_args`. (From the command line, that
    of `--model.optimizer.init_args.lr 0.1` comes beside the `init_args` of the configuration.)

    Args:
        kind: as for `build`.
        spec: as for `build`; anything else comes back as it is.
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
    """The specification of an optimizer with `fused=True`, where that implementation applies.

    It applies where the optimizer has it and the specification chooses no other one. Excepted are
    sharded parameters, for which not every optimizer has it, and scaled gradients, which Lightning
    could not clip.

    Args:
        spec: as for `build`.
        parameters: the parameters that are optimized.
        scales_gradients: whether gradients are scaled for half precision.
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
    """The class, or function, that a class path names.

    Args:
        kind: as for `build`.
        path: a module and a name in it, or the name of a class of torch alone.

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


def is_subclass(value: Any, *kinds: type) -> bool:
    """Whether a value is a class, and a subclass of one of these."""
    return inspect.isclass(value) and issubclass(value, kinds)
