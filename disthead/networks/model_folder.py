"""A trained model as a folder: model.safetensors with its weights, config.json with all else.

Both are plain data. The contents of config.json are also inside of model.safetensors, with digests
of all tensors, so that damage of either file is detected, and files of two saves.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disthead.data.columns import Columns
from disthead.data.encoder import COLUMN, Column, feature_names, listed, numeric
from disthead.data.entries import (
    ANYTHING,
    COUNT,
    MAPPING,
    NUMBER,
    TEXT,
    TRUTH,
    Kind,
    check_entries,
    difference,
    list_of,
    or_none,
)
from disthead.data.values import label
from disthead.errors import first_line, warn
from disthead.families.family import get_family, takes_classes
from disthead.files import unchanged, writing_folder
from disthead.networks.tabular import backbone_options
from disthead.objectives import get_objective
from disthead.standardisation import MIN_SCALE, why_not

__all__ = [
    "CHANGED",
    "CONFIG",
    "WEIGHTS",
    "ModelFolder",
    "is_model_folder",
    "read_folder",
    "target_names",
    "write_folder",
]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# Format 1 had no digests. In formats 1 and 2 a folder held the options of the recipe instead of
# those of the model, a single network had a dimension of members, and there was no baseline.
_FORMAT = 3
CHANGED = (
    "Take another copy of the folder. To change a model, load it, use set_params, and save it."
)


class ModelFolder(NamedTuple):
    """The contents of a folder.

    Attributes:
        config: the configuration, in the present format.
        tensors: the weights by name.
        path: of the folder.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    path: Path


def is_model_folder(path: Any) -> bool:
    """Whether a path is a folder with the files of a saved model; their contents are not read."""
    folder = Path(path)
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def write_folder(folder: Path, config: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write both files, or none of them where an error occurs.

    Args:
        folder: the path; files of a former save in it are replaced.
        config: plain data, without the entries that this function adds: library_name, format and
            digests.
        tensors: the weights by name.

    Raises:
        ImportError: where safetensors is not installed.
    """
    safetensors = _safetensors()
    digests = {name: _digest_of(value) for name, value in tensors.items()}
    config = {"library_name": "disthead", "format": _FORMAT} | config
    config |= {"weights_sha256": _digest(digests)}
    text = json.dumps(config | {"sha256": _digest(config)}, indent=2, ensure_ascii=False) + "\n"
    metadata = {"config": text, "sha256": json.dumps(digests)}
    with writing_folder(folder, last=CONFIG) as unfinished:
        # `save_file` would make a file that nobody else may read, whatever the umask
        contents = safetensors.torch.save(dict(tensors), metadata)
        (unfinished / WEIGHTS).write_bytes(contents)
        (unfinished / CONFIG).write_text(text, "utf-8")


def read_folder(folder: Path, estimator: str | None = None) -> ModelFolder:
    """Read a folder of `write_folder`, or of an earlier version, into the present format.

    Args:
        folder: the path.
        estimator: the name of the class that the folder must be of; any class unless given.

    Raises:
        ImportError: where safetensors is not installed.
        ValueError: for a folder that holds no such model, and for damaged or changed files, with
            the tensor or the entry.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} must hold {CONFIG} and {WEIGHTS}, as `save` writes them; {name} is "
                "missing."
            )
    config = _read_config(folder / CONFIG)
    if config.get("library_name") != "disthead" or config.get("format") not in range(
        1, _FORMAT + 1
    ):
        raise ValueError(
            f"{folder / CONFIG} is not of an estimator of disthead in a format up to {_FORMAT}: "
            f"its entries library_name and format are {config.get('library_name')!r} and "
            f"{config.get('format')!r}."
        )
    tensors, metadata = _read_weights(folder / WEIGHTS)
    if metadata:
        config = _checked_config(config, folder, tensors, metadata, estimator)
    elif config["format"] > 1:
        raise ValueError(
            f"{folder / WEIGHTS} is not what was written beside {CONFIG}: it has no metadata. "
            f"{CHANGED}"
        )
    name_of_class = config.get("estimator")
    if estimator not in (None, name_of_class) and isinstance(name_of_class, str):
        raise ValueError(f"{folder} holds a {name_of_class}: use {name_of_class}.load.")
    try:
        check_entries(config, _ENTRIES if config["format"] == _FORMAT else _FORMER_ENTRIES)
        if config["format"] < _FORMAT:
            config, tensors = _upgraded(config, tensors)
        check_entries(config["model"], _MODEL, "model")
        if config["classes"] is not None:
            check_entries(config["classes"], _CLASSES, "classes")
        if config["recalibration"] is not None:
            check_entries(config["recalibration"], _RECALIBRATION, "recalibration")
        _check_agreement(config)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG}: {' '.join(str(error).split())} {CHANGED}") from error
    return ModelFolder(config, tensors, folder)


_MAPPING_OR_NULL = Kind("a mapping or null", lambda value: value is None or isinstance(value, dict))
_ENTRIES = {
    "library_name": TEXT,
    "format": COUNT,
    "estimator": TEXT,
    "parameters": MAPPING,  # checked by the estimator
    "model": MAPPING,
    "named": TRUTH,
    "classes": _MAPPING_OR_NULL,
    "recalibration": _MAPPING_OR_NULL,
    "report": list_of(TEXT),
    "weights_sha256": TEXT,
    "sha256": TEXT,
}
_FORMER_ENTRIES = {
    "library_name": TEXT,
    "format": COUNT,
    "estimator": TEXT,
    "parameters": MAPPING,
    "table": {"columns": [COLUMN], "named": TRUTH},
    "target": {"shape": list_of(COUNT), "count": COUNT},
    "classes": _MAPPING_OR_NULL,
    "members": COUNT,
    "recalibration": _MAPPING_OR_NULL,
    "report": list_of(TEXT),
    "weights_sha256?": TEXT,
    "sha256?": TEXT,
}
# those of `PredictiveModel.from_options`
_MODEL = {
    "family": TEXT,
    "family_options": or_none(MAPPING),
    "event_shape": list_of(COUNT),
    "in_features": or_none(COUNT),
    "backbone": Kind(
        "a mapping, a text or null", lambda value: value is None or isinstance(value, (dict, str))
    ),
    "min_scale": Kind(
        "a number, 0 or more and below 1", lambda value: NUMBER.holds(value) and 0 <= value < 1
    ),
    "ensemble": COUNT,
    "columns": MAPPING,  # checked by `Columns.from_state`
    "links?": ANYTHING,
    "fixed?": ANYTHING,
    "shared?": ANYTHING,
    "hidden_sizes?": list_of(COUNT),
    "activation?": TEXT,
    "dropout?": NUMBER,
    "backbone_features?": or_none(COUNT),
    "standardise?": TRUTH,
}
_CLASSES = {"values": Kind("a list", lambda value: isinstance(value, list)), "dtype": TEXT}
# their values are checked by `rebuild`
_RECALIBRATION = {"name": TEXT, "arguments": MAPPING, "fitted_on": MAPPING}


def _check_agreement(config: dict[str, Any]) -> None:
    """Refuse an objective that does not exist, and classes that are not those of the model."""
    get_objective(config["parameters"].get("objective", "nll"))
    model, classes = config["model"], config["classes"]
    columns = Columns.from_state(model["columns"])
    if classes is None:
        if columns.classes:
            raise ValueError("entry classes is null, and model.columns.classes is not.")
        return
    names = [label(value) for value in classes["values"]]
    # a table of class indices has no names of them
    expected = columns.classes or {columns.target[0]: list(map(str, range(len(names))))}
    if len(columns.target) != 1 or expected != {columns.target[0]: names}:
        raise ValueError(
            f"entry classes has {', '.join(names[:5])} for one target, and model.columns has "
            f"{expected} for the targets {', '.join(columns.target)}."
        )
    if takes_classes(model["family"]):
        count = (model["family_options"] or {}).get("num_classes", len(names))
    else:
        count = 2
    if len(names) != count:
        raise ValueError(f"entry classes has {len(names)} classes, and the model {count}.")


def target_names(count: int, features: Collection[str]) -> list[str]:
    """Names for targets without names, different from those of the features: y, or y0, y1 ...

    Args:
        count: the number of targets.
        features: the names of the features.

    >>> target_names(1, ["x0", "y"]), target_names(2, ["x0"])
    (['y_'], ['y0', 'y1'])
    """
    name = "y"
    while True:
        names = [name] if count == 1 else [f"{name}{position}" for position in range(count)]
        if not set(names) & set(features):
            return names
        name += "_"


def _upgraded(
    config: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The contents of a folder of format 1 or 2 in the present format."""
    parameters, shape = config["parameters"], config["target"]["shape"]
    check_entries(
        {name: parameters[name] for name in _FORMER_PARAMETERS if name in parameters},
        _FORMER_PARAMETERS,
        "parameters",
    )
    if config["target"]["count"] != (shape[0] if shape else 1):
        raise ValueError(
            f"entry target.count is {config['target']['count']}, which does not fit target.shape, "
            f"{shape}."
        )
    family, options = parameters["family"], dict(parameters["family_options"] or {})
    classes = config["classes"]
    if classes is not None and takes_classes(family):
        options = {"num_classes": len(classes["values"])} | options
    features = [Column(**column) for column in config["table"]["columns"]]
    used = [column.name for column in features]
    if len(set(used)) < len(used):
        raise ValueError(f"entry table.columns has two columns of one name: {listed(used)}.")
    names = target_names(config["target"]["count"], used)
    labels = {} if classes is None else {names[0]: [label(value) for value in classes["values"]]}
    columns = Columns({column.name: column for column in features}, names, labels, {}, None)
    model = {
        "family": family,
        "family_options": options,
        "event_shape": shape,
        "in_features": len(feature_names(features)),
        "backbone": backbone_options(parameters["hidden_sizes"], 16, numeric(features)),
        "min_scale": MIN_SCALE,
        "ensemble": config["members"],
        "columns": columns.state,
    }
    former = ("table", "target", "members")
    upgraded = {name: value for name, value in config.items() if name not in former}
    upgraded |= {"format": _FORMAT, "model": model, "named": config["table"]["named"]}
    is_real = why_not(get_family(family, event_shape=tuple(shape), **options), {}) is None
    return upgraded, dict(_renamed(tensors, is_real, config["members"] == 1))


_FORMER_PARAMETERS = {
    "family": TEXT,
    "family_options": or_none(MAPPING),
    "hidden_sizes": list_of(COUNT),
}


def _renamed(tensors: Mapping[str, Tensor], is_real: bool, is_single: bool) -> Any:
    for name, value in tensors.items():
        if name in ("target_loc", "target_scale"):
            if is_real:
                yield f"head.{name}", value
            continue
        new = name.removeprefix("members.")
        is_layer = new.startswith(("backbone.layers.", "head.linear."))
        if is_layer and is_single and value.ndim == 3 and len(value) == 1:
            value = value[0, 0] if new.endswith("bias") else value[0].T.contiguous()
        yield new, value


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file and its metadata, which format 1 does not have."""
    safetensors = _safetensors()
    with unchanged(path):
        # not memory-mapped: a mapped file that is truncated while it is read ends the process
        contents = path.read_bytes()
    try:
        tensors = safetensors.torch.load(contents)
        header = json.loads(contents[8 : 8 + int.from_bytes(contents[:8], "little")])
    # safetensors raises a KeyError for types that it does not know, and others
    except Exception as error:
        raise ValueError(
            f"{path} is not a file of safetensors, or it is damaged: {first_line(error)}. {CHANGED}"
        ) from error
    metadata = header.get("__metadata__", {})
    return tensors, {name: value for name, value in metadata.items() if name != "format"}


def _checked_config(
    beside: dict[str, Any],
    folder: Path,
    tensors: dict[str, Tensor],
    metadata: dict[str, str],
    estimator: str | None,
) -> dict[str, Any]:
    """The configuration inside the file of the weights, after all digests were compared.

    That in config.json must be the same, unless the folder was left by an interrupted save.

    Raises:
        ValueError: for damage, with the file and the tensor or entry.
    """
    weights, path = folder / WEIGHTS, folder / CONFIG
    try:
        config, digests = _parsed(metadata["config"]), _parsed(metadata["sha256"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{weights} is damaged: its metadata cannot be read: {error}. {CHANGED}"
        ) from error
    if not _is_sealed(config) or config.get("weights_sha256") != _digest(digests):
        raise ValueError(
            f"{weights} is damaged: its metadata are not what was written, by their digest. "
            f"{CHANGED}"
        )
    for name in dict.fromkeys([*digests, *tensors]):
        if name not in tensors or _digest_of(tensors[name]) != digests.get(name):
            what = "is not what was written, by its digest" if name in tensors else "is missing"
            raise ValueError(f"{weights} is damaged: the tensor {name!r} {what}. {CHANGED}")
    changed = difference(beside, config)
    if not changed:
        return config
    is_other = _is_sealed(beside) and beside["weights_sha256"] != config["weights_sha256"]
    if is_other or _is_of_format_1(beside):
        if estimator is not None and config["estimator"] != estimator:
            raise ValueError(
                f"{weights} does not fit {CONFIG}: it holds a {config['estimator']}, use "
                f"{config['estimator']}.load."
            )
        warn(
            f"{path} is of another model than {weights}, which a save that was interrupted leaves: "
            f"the configuration inside of {WEIGHTS} is used. Save the model once more."
        )
        return config
    raise ValueError(f"{path} is damaged, or was changed: {changed}, as {WEIGHTS} says. {CHANGED}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return _parsed(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {first_line(error)}. {CHANGED}") from error


def _parsed(text: str) -> dict[str, Any]:
    """The mapping that a text in JSON holds; names must not be repeated."""

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"entry {twice} comes twice")
        return dict(pairs)

    try:
        config = json.loads(text, object_pairs_hook=mapping)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(config, dict):
        raise ValueError(f"a mapping is needed, got a {type(config).__name__}")
    return config


def _is_sealed(config: dict[str, Any]) -> bool:
    """Whether a configuration is unchanged, by its own digest."""
    rest = {name: value for name, value in config.items() if name != "sha256"}
    return "weights_sha256" in config and config.get("sha256") == _digest(rest)


def _is_of_format_1(config: dict[str, Any]) -> bool:
    return config.get("format") == 1 and "sha256" not in config


def _digest(values: Any) -> str:
    """The SHA-256 of plain data; it does not depend on the order of names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _digest_of(tensor: Tensor) -> str:
    digest = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)} ".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "save and load need safetensors: pip install safetensors. Pickles of an estimator need "
            "nothing."
        ) from error
    return safetensors
