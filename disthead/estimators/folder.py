"""An estimator as a folder: model.safetensors with the weights, config.json with everything else; a hub takes such folders."""

import hashlib
import inspect
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from disthead.calibration.recalibration import rebuild
from disthead.data.entries import (
    COUNT,
    MAPPING,
    TEXT,
    WHOLE,
    Kind,
    check_entries,
    difference,
    list_of,
    or_none,
)
from disthead.errors import first_line, warn
from disthead.estimators.encoder import TableEncoder
from disthead.files import unchanged, writing_folder
from disthead.objectives import get_objective, name_of, specification
from disthead.recipe import TabularModel, tabular_members, tabular_model
from disthead.training.saved import check_weights, shapes_of

__all__ = ["from_pretrained", "load", "push_to_hub", "save"]

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_FORMAT = 2  # 1 had no digests
_CHANGED = (
    "Take another copy of the folder. To change a model, load it, use set_params, and save it."
)


class FittedEstimator(Protocol):
    """What a folder keeps of an estimator."""

    model_: TabularModel
    encoder_: TableEncoder
    n_outputs_: int
    n_features_in_: int
    feature_names_in_: np.ndarray
    classes_: np.ndarray
    report_: list[str]

    def __init__(self, **parameters: Any) -> None: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

    def _network(self) -> dict[str, Any]: ...


def save(estimator: FittedEstimator, folder: Path) -> Path:
    """Write the weights, with the configuration and digests in their file, and the configuration once more, for people.

    So each of the two files shows whether it is what was written, and whether both are of one save.
    """
    safetensors = _safetensors()
    model, recalibration = estimator.model_, estimator.model_.recalibration
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
        if torch.is_tensor(value)
    }
    # of which none is infinite
    nothing = {name: value.new_empty(0) for name, value in tensors.items()}
    check_weights(tensors, nothing, folder, "It is not saved. Train the model again.")
    digests = {name: _digest_of(value) for name, value in tensors.items()}
    config: dict[str, Any] = {
        "library_name": "disthead",
        "format": _FORMAT,
        "estimator": type(estimator).__name__,
        "parameters": _plain_parameters(estimator),
        "table": estimator.encoder_.state,
        "target": {"shape": list(model.target_loc.shape), "count": estimator.n_outputs_},
        "classes": _plain_classes(estimator),
        "members": model.members.backbone.members,
        "recalibration": recalibration
        and {**recalibration.config, "fitted_on": recalibration.get_extra_state()},
        "report": estimator.report_,
        "weights_sha256": _digest(digests),
    }
    text = json.dumps(config | {"sha256": _digest(config)}, indent=2, ensure_ascii=False) + "\n"
    metadata = {"config": text, "sha256": json.dumps(digests)}
    with writing_folder(folder, last=_CONFIG) as unfinished:
        safetensors.torch.save_file(tensors, unfinished / _WEIGHTS, metadata)
        (unfinished / _CONFIG).write_text(text, "utf-8")
    return folder


def load(kind: type[FittedEstimator], folder: Path) -> Any:
    for name in (_CONFIG, _WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} must hold {_CONFIG} and {_WEIGHTS}, as `save` writes "
                f"them; {name} is missing."
            )
    weights, config = folder / _WEIGHTS, _read_config(folder / _CONFIG)
    if config.get("library_name") != "disthead" or config.get("format") not in (1, _FORMAT):
        raise ValueError(
            f"{folder / _CONFIG} is not of an estimator of disthead in the format {_FORMAT} or 1: "
            "its entries library_name "
            f"and format are {config.get('library_name')!r} and {config.get('format')!r}."
        )
    tensors, metadata = _read_weights(weights)
    if metadata:
        config = _checked_config(kind, config, folder, tensors, metadata)
    elif config["format"] == _FORMAT:
        raise ValueError(
            f"{weights} is not what was written beside {_CONFIG}: it has no metadata. {_CHANGED}"
        )
    with _naming(folder / _CONFIG):
        _check_config(config, kind, folder)
        return _rebuilt(kind, config, tensors, folder)


def _rebuilt(
    kind: type[FittedEstimator],
    config: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    folder: Path,
) -> Any:
    parameters = config["parameters"]
    estimator = kind(**parameters | {"hidden_sizes": tuple(parameters["hidden_sizes"])})
    encoder = estimator.encoder_ = TableEncoder.from_state(config["table"])
    if config["classes"] is not None:
        estimator.classes_ = _classes(config["classes"])
    estimator.n_outputs_ = config["target"]["count"]
    estimator.n_features_in_ = len(encoder.columns)
    if encoder.named:
        estimator.feature_names_in_ = np.array(
            [column.name for column in encoder.columns], dtype=object
        )
    estimator.report_ = config["report"]
    options = {"members": config["members"], "encoded": encoder.numeric, **estimator._network()}
    width, shape = len(encoder.feature_names), tuple(config["target"]["shape"])
    for name, wanted in shapes_of(lambda: tabular_members(width, shape, **options)).items():
        _check_shape(f"members.{name}", wanted, tensors, folder)
    if max(math.prod(shape), width) > sum(value.numel() for value in tensors.values()):
        raise ValueError(
            f"{folder / _WEIGHTS} does not fit {_CONFIG}: it is too small for the "
            f"target shape {shape}."
        )
    model = tabular_model(
        torch.zeros(2, width),
        torch.zeros(2, *shape),
        generator=torch.Generator(),  # of weights that those in the file replace
        **options,
    ).double()
    if config["recalibration"] is not None:
        with _naming(folder / _CONFIG, "recalibration"):
            model.recalibration = rebuild(config["recalibration"])
            model.recalibration.set_extra_state(config["recalibration"]["fitted_on"])
    _fill(model, tensors, folder)
    estimator.model_ = model.eval()
    with torch.no_grad():  # what does not fit together shows here, and not once there are rows
        _ = model(torch.zeros(1, width, dtype=torch.float64)).batch_shape
    return estimator


def _read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors of a file and its metadata, which format 1 does not have."""
    safetensors = _safetensors()
    with unchanged(path):
        # A memory-mapped file that is truncated while it is read would end the process.
        contents = path.read_bytes()
    try:
        tensors = safetensors.torch.load(contents)
        header = json.loads(contents[8 : 8 + int.from_bytes(contents[:8], "little")])
    except (
        Exception
    ) as error:  # safetensors raises a KeyError for types that it does not know, and others
        raise ValueError(
            f"{path} is not a file of safetensors, or it is damaged: {first_line(error)}. "
            f"{_CHANGED}"
        ) from error
    metadata = header.get("__metadata__", {})
    return tensors, {name: value for name, value in metadata.items() if name != "format"}


def _checked_config(
    kind: type[FittedEstimator],
    beside: dict[str, Any],
    folder: Path,
    tensors: dict[str, torch.Tensor],
    metadata: dict[str, str],
) -> dict[str, Any]:
    """The configuration in the file of the weights, once all digests fit; config.json beside it must be the same.

    Raises:
        ValueError: for damage, with the file and the tensor or entry.
    """
    weights, path = folder / _WEIGHTS, folder / _CONFIG
    try:
        config, digests = _parsed(metadata["config"]), _parsed(metadata["sha256"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{weights} is damaged: its metadata cannot be read: {error}. {_CHANGED}"
        ) from error
    if not _is_sealed(config) or config.get("weights_sha256") != _digest(digests):
        raise ValueError(
            f"{weights} is damaged: its metadata are not what was written, by their "
            f"digest. {_CHANGED}"
        )
    for name in dict.fromkeys([*digests, *tensors]):
        if name not in tensors or _digest_of(tensors[name]) != digests.get(name):
            what = "is not what was written, by its digest" if name in tensors else "is missing"
            raise ValueError(f"{weights} is damaged: the tensor {name!r} {what}. {_CHANGED}")
    changed = difference(beside, config)
    if not changed:
        return config
    if (
        _is_sealed(beside) and beside["weights_sha256"] != config["weights_sha256"]
    ) or _is_of_format_1(beside):
        if config["estimator"] != kind.__name__:
            raise ValueError(
                f"{weights} does not fit {_CONFIG}: it holds a {config['estimator']}, use "
                f"{config['estimator']}.load."
            )
        warn(
            f"{path} is of another model than {weights}, which a save that was interrupted "
            "leaves: the configuration inside of "
            f"{_WEIGHTS} is used. Save the model once more."
        )
        return config
    raise ValueError(
        f"{path} is damaged, or was changed: {changed}, as {_WEIGHTS} says. {_CHANGED}"
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return _parsed(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {first_line(error)}. {_CHANGED}") from error


def _parsed(text: str) -> dict[str, Any]:
    """A mapping in JSON, in which no name comes twice."""

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
    """Whether a configuration is what was written, by its own digest."""
    rest = {name: value for name, value in config.items() if name != "sha256"}
    return "weights_sha256" in config and config.get("sha256") == _digest(rest)


def _is_of_format_1(config: dict[str, Any]) -> bool:
    return config.get("format") == 1 and "sha256" not in config


def _digest(values: Any) -> str:
    """The SHA-256 of plain data, whatever the order of names and the space between them."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _digest_of(tensor: torch.Tensor) -> str:
    found = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)} ".encode())
    found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


@contextmanager
def _naming(path: Path, entry: str = "") -> Iterator[None]:
    """A block in which errors of what cannot be made from a configuration name the file, and the entry where it is known."""
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        if str(path.parent) in str(error):
            raise
        what = f"entry {entry}: " * bool(entry)
        raise ValueError(f"{path}: {what}{' '.join(str(error).split())} {_CHANGED}") from error


_PARAMETERS = {
    "family": TEXT,
    "family_options": or_none(MAPPING),
    "ensemble": COUNT,
    "hidden_sizes": list_of(COUNT),
    "max_steps": or_none(COUNT),
    "random_state": or_none(WHOLE),
    "device": TEXT,
    "verbose": Kind("a whole number, or true or false", lambda value: isinstance(value, int)),
    "objective": Kind("a text or a mapping", lambda value: isinstance(value, (str, dict))),
}
_ENTRIES = {
    "library_name": TEXT,
    "format": COUNT,
    "estimator": TEXT,
    "table": MAPPING,  # `TableEncoder.from_state` looks at its entries
    "target": {"shape": list_of(COUNT), "count": COUNT},
    "classes": Kind("a mapping or null", lambda value: value is None or isinstance(value, dict)),
    "members": COUNT,
    "recalibration": Kind(
        "a mapping or null", lambda value: value is None or isinstance(value, dict)
    ),
    "report": list_of(TEXT),
    "weights_sha256?": TEXT,
    "sha256?": TEXT,
}
_LATER = ("objective",)  # parameters that folders of version 0.1 do not have
_ANYTHING = Kind("plain data", lambda value: True)


def _check_config(config: dict[str, Any], kind: type[FittedEstimator], folder: Path) -> None:
    """Refuse entries that are missing, unknown, of another kind, or that contradict each other."""
    if config.get("estimator") != kind.__name__ and isinstance(config.get("estimator"), str):
        raise ValueError(f"{folder} holds a {config['estimator']}: use {config['estimator']}.load.")
    names = [name for name in inspect.signature(kind).parameters if name not in ("args", "kwargs")]
    parameters = {
        f"{name}?" * (name in _LATER) or name: _PARAMETERS.get(name, _ANYTHING) for name in names
    }
    check_entries(config, {**_ENTRIES, "parameters": parameters})
    for name, entries in (("classes", _CLASSES), ("recalibration", _RECALIBRATION)):
        if config[name] is not None:
            check_entries(config[name], entries, name)
    shape, count = config["target"]["shape"], config["target"]["count"]
    if count != (shape[0] if shape else 1):
        raise ValueError(
            f"entry target.count is {count}, which does not fit target.shape, {shape}."
        )
    if (config["classes"] is not None) != (
        kind.__name__ == "DistributionClassifier" or hasattr(kind, "predict_proba")
    ):
        raise ValueError(
            f"entry classes must be {'a mapping' if config['classes'] is None else 'null'}."
        )
    if config["classes"] is not None:
        _classes(config["classes"])
    device = config["parameters"].get("device", "cpu")
    if device != "auto":
        try:
            torch.device(device)
        except RuntimeError as error:
            raise ValueError(
                f"entry parameters.device is {device!r}: {first_line(error)}"
            ) from error


_CLASSES = {"values": Kind("a list", lambda value: isinstance(value, list)), "dtype": TEXT}
_RECALIBRATION = {
    "name": TEXT,
    "arguments": MAPPING,
    "fitted_on": MAPPING,
}  # `rebuild` checks them; here all three must be there


def _classes(state: dict[str, Any]) -> np.ndarray:
    try:
        classes = np.array(state["values"], dtype=state["dtype"])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"entry classes: {first_line(error)}.") from error
    if classes.ndim != 1 or repr(classes.tolist()) != repr(state["values"]):
        raise ValueError(f"entry classes.values does not fit classes.dtype, {state['dtype']!r}.")
    return classes


def push_to_hub(estimator: FittedEstimator, repo_id: str, **options: Any) -> str:
    hub = _hub()
    token = options.get("token")
    address = hub.create_repo(repo_id, exist_ok=True, **options)
    with tempfile.TemporaryDirectory() as folder:
        save(estimator, Path(folder))
        hub.upload_folder(repo_id=repo_id, folder_path=folder, token=token)
    return str(address)


def from_pretrained(kind: type[FittedEstimator], name: "str | Path", **options: Any) -> Any:
    if Path(name).is_dir():
        return load(kind, Path(name))
    return load(
        kind,
        Path(_hub().snapshot_download(str(name), allow_patterns=[_CONFIG, _WEIGHTS], **options)),
    )


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "save and load need safetensors: pip install safetensors. Pickles of an estimator "
            "need nothing."
        ) from error
    return safetensors


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "repositories of the Hugging Face hub need huggingface_hub: pip install "
            "huggingface_hub. "
            "Folders on this machine need nothing: save(folder), load(folder)."
        ) from error
    return huggingface_hub


def _check_shape(
    name: str, wanted: torch.Size, tensors: dict[str, torch.Tensor], folder: Path
) -> None:
    found = tensors.get(name)
    if found is None or found.shape != wanted:
        got = "is missing" if found is None else f"has the shape {list(found.shape)}"
        raise ValueError(
            f"{folder / _WEIGHTS} does not fit {_CONFIG}: tensor {name!r} {got}, and should have "
            f"{list(wanted)}."
        )


def _fill(model: TabularModel, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Load the weights; extra state, which is no tensor, is there already."""
    wanted = {
        name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)
    }
    for name, value in wanted.items():
        if not name.startswith("recalibration."):  # which takes any shape
            _check_shape(name, value.shape, tensors, folder)
        if name in tensors and tensors[name].dtype != value.dtype:
            raise ValueError(
                f"{folder / _WEIGHTS}: tensor {name!r} holds {tensors[name].dtype}, and should "
                f"hold {value.dtype}."
            )
    check_weights(tensors, wanted, folder / _WEIGHTS, f"Train the model again. {_CHANGED}")
    missing, unexpected = (
        [name for name in wanted if name not in tensors],
        [n for n in tensors if n not in wanted],
    )
    if missing or unexpected:
        raise ValueError(
            f"{folder / _WEIGHTS} does not fit {_CONFIG}: missing {missing[:3]}, unexpected "
            f"{unexpected[:3]}."
        )
    model.load_state_dict(tensors, strict=False)


def _plain_parameters(estimator: FittedEstimator) -> dict[str, Any]:
    parameters = estimator.get_params(deep=False)
    if not hasattr(parameters["random_state"], "__index__"):
        # a generator is not plain data, and predictions need none
        parameters["random_state"] = None
    parameters["hidden_sizes"] = list(parameters["hidden_sizes"])
    if "objective" in parameters:  # which a class of one's own may not have
        parameters["objective"] = _plain_objective(parameters["objective"])
    try:
        return json.loads(json.dumps(parameters, default=_number))
    except TypeError as error:
        raise ValueError(
            f"parameters must be plain data to be saved, got {parameters}: {error}."
        ) from error


def _plain_objective(objective: Any) -> Any:
    found = specification(get_objective(objective))
    if found is None:
        raise ValueError(
            f"objective must be plain data to be saved, got the function {name_of(objective)}. "
            "Predictions need none: "
            "set_params(objective='nll') before save; or pickle the estimator."
        )
    return found


def _plain_classes(estimator: FittedEstimator) -> dict[str, Any] | None:
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return None
    return {
        "values": classes.tolist(),
        "dtype": "object" if classes.dtype == object else classes.dtype.str,
    }


def _number(value: Any) -> Any:
    if isinstance(value, (np.generic, torch.Tensor)) and not value.ndim:
        return value.item()
    raise TypeError(f"{value!r} is not plain data")
