"""Saving of estimators as folders, which the command line opens too, and their loading.

Checkpoints of Lightning are loaded as estimators, too.
"""

import inspect
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from disthead.calibration.recalibration import rebuild
from disthead.data.columns import Columns
from disthead.data.entries import (
    ANYTHING,
    COUNT,
    MAPPING,
    TEXT,
    WHOLE,
    Kind,
    check_entries,
    list_of,
    or_none,
)
from disthead.data.values import label
from disthead.distributions.independent import class_count
from disthead.errors import first_line
from disthead.estimators.encoder import TableEncoder
from disthead.families.family import takes_classes
from disthead.networks.model_folder import (
    CHANGED,
    CONFIG,
    WEIGHTS,
    ModelFolder,
    read_folder,
    write_folder,
)
from disthead.networks.predictive_model import PredictiveModel
from disthead.objectives import get_objective, name_of, specification
from disthead.training.saved import (
    BUILD_ERRORS,
    check_path,
    check_weights,
    read_checkpoint,
    rebuilding,
    shapes_of,
    without_objective,
)
from disthead.training.trust import GIVEN, check_classes

__all__ = ["from_pretrained", "load", "push_to_hub", "save"]


class FittedEstimator(Protocol):
    """The attributes of a fitted estimator that a folder keeps."""

    model_: PredictiveModel
    encoder_: TableEncoder
    target_names_: list[str]
    n_outputs_: int
    n_features_in_: int
    feature_names_in_: np.ndarray
    classes_: np.ndarray
    report_: list[str]
    row_constants: Mapping[str, str | int] | None

    def __init__(self, **parameters: Any) -> None: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        ...


def save(estimator: FittedEstimator, folder: Path) -> Path:
    """Write the weights, and the configuration of model and estimator, into a folder.

    Returns:
        The path of the folder.

    Raises:
        ImportError: where safetensors is not installed.
        ValueError: for weights that are not finite, and parameters that are not plain data.
    """
    model, recalibration = estimator.model_, estimator.model_.recalibration
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
        if torch.is_tensor(value)
    }
    # no tensor may have infinite entries: all references are finite
    references = {name: value.new_empty(0) for name, value in tensors.items()}
    check_weights(tensors, references, folder, "It is not saved. Train the model again.")
    config: dict[str, Any] = {
        "estimator": type(estimator).__name__,
        "parameters": _plain_parameters(estimator),
        "model": {**model.options, "columns": _columns(estimator).state},
        "named": estimator.encoder_.named,
        "classes": _plain_classes(estimator),
        "recalibration": recalibration
        and {**recalibration.config, "fitted_on": recalibration.get_extra_state()},
        "report": estimator.report_,
    }
    write_folder(folder, config, tensors)
    return folder


def _columns(estimator: FittedEstimator) -> Columns:
    """The columns of the table, as for the command line."""
    if estimator.model_.columns is not None:  # where the model is that of a checkpoint
        return Columns.from_state(estimator.model_.columns)
    names, classes = estimator.target_names_, getattr(estimator, "classes_", None)
    labels = {} if classes is None else {names[0]: [label(value) for value in classes.tolist()]}
    features = {column.name: column for column in estimator.encoder_.columns}
    known = {
        quantity: f"x{column}" if isinstance(column, int) else column
        for quantity, column in (estimator.row_constants or {}).items()
    }
    return Columns(features, names, labels, known, None)


def load(kind: type[FittedEstimator], path: Path, trust: "str | Iterable[str]" = ()) -> Any:
    """Read an estimator from a folder, or from a checkpoint of a model of a table.

    Args:
        kind: the class of the estimator.
        path: a folder, or a checkpoint.
        trust: names of your own packages, modules or classes that the model may use.

    Raises:
        ImportError: where safetensors is not installed.
        ValueError: for files that hold no such estimator, and for damaged or changed ones.
    """
    if not path.exists():
        raise ValueError(f"no such file or folder: {path}.")
    if path.is_file():
        return _of_checkpoint(kind, path, trust)
    check_path(path)
    saved = read_folder(path, kind.__name__)
    with _naming(path / CONFIG):
        _check_config(saved.config, kind)
        check_classes(saved.config["model"], path / CONFIG, trust)
        return _rebuilt(kind, saved)


def _rebuilt(kind: type[FittedEstimator], saved: ModelFolder) -> Any:
    config, tensors, folder = saved
    parameters, options = config["parameters"], config["model"]
    estimator = kind(**parameters | {"hidden_sizes": tuple(parameters["hidden_sizes"])})
    columns = Columns.from_state(options["columns"])
    _take_columns(estimator, columns, config["named"])
    if config["classes"] is not None:
        estimator.classes_ = _classes(config["classes"])
    estimator.report_ = config["report"]
    # Shapes are compared before the model takes memory, of which a damaged folder could ask much.
    width, event_shape = len(columns.feature_names), tuple(options["event_shape"])
    for name, shape in shapes_of(lambda: PredictiveModel.from_options(options)).items():
        if not name.startswith("baseline."):  # which folders of earlier versions do not have
            _check_shape(name, shape, tensors, folder)
    if max(math.prod(event_shape), width) > sum(value.numel() for value in tensors.values()):
        raise ValueError(
            f"{folder / WEIGHTS} does not fit {CONFIG}: it is too small for the target shape "
            f"{event_shape}."
        )
    with torch.random.fork_rng(devices=[]):  # for random weights, which those of the file replace
        model = PredictiveModel.from_options(options).double()
    if config["recalibration"] is not None:
        with _naming(folder / CONFIG, "recalibration"):
            model.recalibration = rebuild(config["recalibration"])
            model.recalibration.set_extra_state(config["recalibration"]["fitted_on"])
    _fill(model, tensors, folder)
    estimator.model_ = model.eval()
    with torch.no_grad():  # options that contradict each other raise an error here
        _ = model.predictive(torch.zeros(1, width, dtype=torch.float64)).batch_shape
    return estimator


def _take_columns(estimator: FittedEstimator, columns: Columns, named: bool) -> None:
    encoder = estimator.encoder_ = TableEncoder(list(columns.features.values()), named)
    estimator.target_names_ = columns.outputs
    names = [column.name for column in encoder.columns]
    names += [name for name in columns.known.values() if name not in names]
    estimator.n_outputs_, estimator.n_features_in_ = len(columns.outputs), len(names)
    if named:
        estimator.feature_names_in_ = np.array(names, dtype=object)


def _of_checkpoint(kind: type[FittedEstimator], path: Path, trust: "str | Iterable[str]") -> Any:
    """The estimator of a model that Lightning trained on a table."""
    contents = read_checkpoint(path)
    options = contents["hyper_parameters"]
    check_classes(options, path, trust)
    backbone = options.get("backbone")
    if isinstance(backbone, str) and backbone.startswith(GIVEN):
        raise ValueError(
            f"{path} has a backbone {backbone}, which an estimator cannot make: use "
            "DistributionModule.load_from_checkpoint(path, backbone=...)."
        )
    if not isinstance(options.get("columns"), Mapping):
        raise ValueError(
            f"{path} does not know the columns of its table: it was trained by loaders of its own."
        )
    with rebuilding(path):
        columns = Columns.from_state(options["columns"])
        is_classifier = hasattr(kind, "predict_proba")
        has_classes = bool(columns.classes) or takes_classes(options["family"])
        if has_classes != is_classifier:
            other = "DistributionClassifier" if has_classes else "DistributionRegressor"
            raise ValueError(f"{path} holds a model of {options['family']}: use {other}.load.")
        several = is_classifier and len(columns.target) > 1
        for what, name in (
            ("known quantities", is_classifier and columns.known),
            ("a unit", columns.unit),
            ("several targets of classes", several and ", ".join(columns.target)),
        ):
            if name:
                raise ValueError(
                    f"{path} was trained with {what}, {name}, which estimators do not take: use "
                    "`disthead predict`, or DistributionModule.load_from_checkpoint."
                )
        with torch.random.fork_rng(devices=[]):
            model = PredictiveModel.from_options(options).double()
        if contents.get("recalibration") is not None:
            model.recalibration = rebuild(contents["recalibration"])
        state = without_objective(contents["state_dict"])
        check_weights(state, model.state_dict(), path)
        model.load_state_dict(state)
        known = {"row_constants": dict(columns.known)} if columns.known else {}
        estimator = kind(
            **known,
            family=options["family"],
            family_options=options.get("family_options"),
            ensemble=options.get("ensemble", 1),
            objective=_known_objective(options.get("objective", "nll")),
        )
        _take_columns(estimator, columns, True)
        if is_classifier:
            estimator.classes_ = _class_labels(columns, model)
        estimator.model_ = model.eval()
        estimator.report_ = [f"trained as the checkpoint {path.name}."]
    return estimator


def _known_objective(objective: Any) -> Any:
    """The objective of a checkpoint; "nll" for a function, which predictions do not need."""
    return "nll" if isinstance(objective, str) and objective.startswith(GIVEN) else objective


def _class_labels(columns: Columns, model: PredictiveModel) -> np.ndarray:
    """The classes of the table; integers from 0 where the table had class indices.

    Truth values and whole numbers, of which a checkpoint has the texts, are what they were.
    """
    with torch.no_grad():
        count = class_count(model(torch.zeros(1, len(columns.feature_names))))
    names = next(iter(columns.classes.values()), None)
    if names is None:
        return np.arange(count)
    if len(names) != count:
        raise ValueError(
            f"the model has {count} classes, of which {len(names)} have names: use `disthead "
            "predict`, or DistributionModule.load_from_checkpoint."
        )
    if set(names) <= {"True", "False"}:
        return np.array([name == "True" for name in names])
    with suppress(ValueError, OverflowError):
        numbers = np.array([int(name) for name in names], dtype=np.int64)
        if [str(number) for number in numbers.tolist()] == names:
            return numbers
    return np.array(names)


@contextmanager
def _naming(path: Path, entry: str = "") -> Iterator[None]:
    """A context in which errors of a configuration name the file, and the entry if known."""
    try:
        yield
    except (*BUILD_ERRORS, ValueError) as error:
        if str(path.parent) in str(error):
            raise
        what = f"entry {entry}: " * bool(entry)
        raise ValueError(f"{path}: {what}{' '.join(str(error).split())} {CHANGED}") from error


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
    "ordered": or_none(Kind("true or false", lambda value: isinstance(value, bool))),
    "row_constants": or_none(MAPPING),
}
_LATER = ("objective", "ordered", "row_constants")  # parameters that older folders do not have


def _check_config(config: dict[str, Any], kind: type[FittedEstimator]) -> None:
    """Refuse entries that are unknown to the estimator, or contradict each other."""
    names = [name for name in inspect.signature(kind).parameters if name not in ("args", "kwargs")]
    parameters = {
        f"{name}?" * (name in _LATER) or name: _PARAMETERS.get(name, ANYTHING) for name in names
    }
    check_entries(config["parameters"], parameters, "parameters")
    is_classifier = kind.__name__ == "DistributionClassifier" or hasattr(kind, "predict_proba")
    if (config["classes"] is not None) != is_classifier:
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


def _classes(state: dict[str, Any]) -> np.ndarray:
    try:
        classes = np.array(state["values"], dtype=state["dtype"])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"entry classes: {first_line(error)}.") from error
    if classes.ndim != 1 or repr(classes.tolist()) != repr(state["values"]):
        raise ValueError(f"entry classes.values does not fit classes.dtype, {state['dtype']!r}.")
    return classes


def push_to_hub(estimator: FittedEstimator, repo_id: str, **options: Any) -> str:
    """Upload the files of `save` to a repository of the Hugging Face hub; returns its address."""
    hub = _hub()
    token = options.get("token")
    address = hub.create_repo(repo_id, exist_ok=True, **options)
    with tempfile.TemporaryDirectory() as folder:
        save(estimator, Path(folder))
        hub.upload_folder(repo_id=repo_id, folder_path=folder, token=token)
    return str(address)


def from_pretrained(
    kind: type[FittedEstimator],
    name: "str | Path",
    trust: "str | Iterable[str]" = (),
    **options: Any,
) -> Any:
    """Read an estimator from a local folder, or else from the Hugging Face hub."""
    path = Path(name)
    if not path.exists():
        path = Path(
            _hub().snapshot_download(str(name), allow_patterns=[CONFIG, WEIGHTS], **options)
        )
    elif options:
        raise TypeError(
            f"{name} is on this machine, and takes no options of a repository, got "
            f"{', '.join(options)}: leave them out."
        )
    return load(kind, path, trust)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "repositories of the Hugging Face hub need huggingface_hub: pip install "
            "huggingface_hub. Folders on this machine need nothing: save(folder), load(folder)."
        ) from error
    return huggingface_hub


def _check_shape(
    name: str, shape: torch.Size, tensors: dict[str, torch.Tensor], folder: Path
) -> None:
    tensor = tensors.get(name)
    if tensor is None or tensor.shape != shape:
        got = "is missing" if tensor is None else f"has the shape {list(tensor.shape)}"
        raise ValueError(
            f"{folder / WEIGHTS} does not fit {CONFIG}: tensor {name!r} {got}, and should have "
            f"{list(shape)}."
        )


def _fill(model: PredictiveModel, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Load the weights into a model that has its extra state already."""
    assert model.head is not None
    model.adapt_to(tensors)
    for name in ("target_loc", "target_scale"):
        if f"head.{name}" in tensors:
            _check_shape(f"head.{name}", torch.Size(model.head.event_shape), tensors, folder)
            for head in (model.head, *((model.baseline,) if model.has_baseline else ())):
                if not head.is_standardised:  # with any units, which those of the file replace
                    ones = torch.ones(head.event_shape, dtype=torch.float64)
                    head.change_units(ones, ones)
    state = {
        name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)
    }
    for name, value in state.items():
        if not name.startswith("recalibration."):  # which takes any shape
            _check_shape(name, value.shape, tensors, folder)
        if name in tensors and tensors[name].dtype != value.dtype:
            raise ValueError(
                f"{folder / WEIGHTS}: tensor {name!r} holds {tensors[name].dtype}, and should "
                f"hold {value.dtype}."
            )
    check_weights(tensors, state, folder / WEIGHTS, f"Train the model again. {CHANGED}")
    unexpected = [name for name in tensors if name not in state]
    missing = [name for name in state if name not in tensors]
    if missing or unexpected:
        raise ValueError(
            f"{folder / WEIGHTS} does not fit {CONFIG}: missing {missing[:3]}, unexpected "
            f"{unexpected[:3]}."
        )
    model.load_state_dict(tensors, strict=False)


def _plain_parameters(estimator: FittedEstimator) -> dict[str, Any]:
    parameters = estimator.get_params(deep=False)
    if not hasattr(parameters["random_state"], "__index__"):
        # a generator is not plain data, and predictions need none
        parameters["random_state"] = None
    parameters["hidden_sizes"] = list(parameters["hidden_sizes"])
    if "objective" in parameters:  # a user's subclass may have none
        parameters["objective"] = _plain_objective(parameters["objective"])
    try:
        return json.loads(json.dumps(parameters, default=_number))
    except TypeError as error:
        raise ValueError(
            f"parameters must be plain data to be saved, got {parameters}: {error}."
        ) from error


def _plain_objective(objective: Any) -> Any:
    plain = specification(get_objective(objective))
    if plain is None:
        raise ValueError(
            f"objective must be plain data to be saved, got the function {name_of(objective)}. "
            "Predictions need none: set_params(objective='nll') before save; or pickle the "
            "estimator."
        )
    return plain


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
