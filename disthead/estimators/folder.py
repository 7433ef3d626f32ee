"""An estimator as a folder: model.safetensors with the weights, config.json with everything else; a hub takes such folders."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from disthead.calibration.recalibration import rebuild
from disthead.estimators.encoder import TableEncoder
from disthead.training.recipe import TabularModel, tabular_model

if TYPE_CHECKING:
    from disthead.estimators.base import DistributionEstimator

__all__ = ["from_pretrained", "load", "push_to_hub", "save"]

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_FORMAT = 1


def save(estimator: "DistributionEstimator", folder: Path) -> Path:
    safetensors = _safetensors()
    model, recalibration = estimator.model_, estimator.model_.recalibration
    config: dict[str, Any] = {
        "library_name": "disthead",
        "format": _FORMAT,
        "estimator": type(estimator).__name__,
        "parameters": _plain_parameters(estimator),
        "table": estimator.encoder_.state,
        "target": {"shape": list(model.target_loc.shape), "count": estimator.n_outputs_},
        "classes": _plain_classes(estimator),
        "members": model.members.backbone.members,
        "recalibration": recalibration and {**recalibration.config, "fitted_on": recalibration.get_extra_state()},
        "report": estimator.report_,
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, ensure_ascii=False)
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items() if torch.is_tensor(value)
    }
    safetensors.torch.save_file(tensors, folder / _WEIGHTS)
    (folder / _CONFIG).write_text(text + "\n", "utf-8")
    return folder


def load(kind: "type[DistributionEstimator]", folder: Path) -> Any:
    safetensors = _safetensors()
    for name in (_CONFIG, _WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} must hold {_CONFIG} and {_WEIGHTS}, as `save` writes them; {name} is missing.")
    config = json.loads((folder / _CONFIG).read_text("utf-8"))
    if config.get("library_name") != "disthead" or config.get("format") != _FORMAT:
        raise ValueError(f"{folder / _CONFIG} is not of an estimator of disthead in format {_FORMAT}.")
    if config["estimator"] != kind.__name__:
        raise ValueError(f"{folder} holds a {config['estimator']}: use {config['estimator']}.load.")
    parameters = config["parameters"]
    estimator = kind(**parameters | {"hidden_sizes": tuple(parameters["hidden_sizes"])})
    encoder = estimator.encoder_ = TableEncoder.from_state(config["table"])
    if config["classes"] is not None:
        estimator.classes_ = np.array(config["classes"]["values"], dtype=config["classes"]["dtype"])
    estimator.n_outputs_ = config["target"]["count"]
    estimator.n_features_in_ = len(encoder.columns)
    if encoder.named:
        estimator.feature_names_in_ = np.array([column.name for column in encoder.columns], dtype=object)
    estimator.report_ = config["report"]
    model = tabular_model(
        torch.zeros(2, len(encoder.feature_names)),
        torch.zeros(2, *config["target"]["shape"]),
        members=config["members"],
        encoded=encoder.numeric,
        generator=torch.Generator(),  # of weights that those in the file replace
        **estimator._network(),
    ).double()
    if config["recalibration"] is not None:
        model.recalibration = rebuild(config["recalibration"])
        model.recalibration.set_extra_state(config["recalibration"]["fitted_on"])
    try:
        tensors = safetensors.torch.load_file(folder / _WEIGHTS)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{folder / _WEIGHTS} is not a file of safetensors: {error}.") from error
    _fill(model, tensors, folder)
    estimator.model_ = model.eval()
    return estimator


def push_to_hub(estimator: "DistributionEstimator", repo_id: str, **options: Any) -> str:
    hub = _hub()
    token = options.get("token")
    address = hub.create_repo(repo_id, exist_ok=True, **options)
    with tempfile.TemporaryDirectory() as folder:
        save(estimator, Path(folder))
        hub.upload_folder(repo_id=repo_id, folder_path=folder, token=token)
    return str(address)


def from_pretrained(kind: "type[DistributionEstimator]", name: "str | Path", **options: Any) -> Any:
    if Path(name).is_dir():
        return load(kind, Path(name))
    return load(kind, Path(_hub().snapshot_download(str(name), allow_patterns=[_CONFIG, _WEIGHTS], **options)))


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "save and load need safetensors: pip install safetensors. Pickles of an estimator need nothing."
        ) from error
    return safetensors


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "repositories of the Hugging Face hub need huggingface_hub: pip install huggingface_hub. "
            "Folders on this machine need nothing: save(folder), load(folder)."
        ) from error
    return huggingface_hub


def _fill(model: TabularModel, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Load the weights; extra state, which is no tensor, is there already."""
    try:
        found = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # sizes
        raise ValueError(f"{folder / _WEIGHTS} does not fit {_CONFIG}: {error}") from error
    missing = [name for name in found.missing_keys if not name.endswith("_extra_state")]
    if missing or found.unexpected_keys:
        raise ValueError(
            f"{folder / _WEIGHTS} does not fit {_CONFIG}: missing {missing[:3]}, unexpected {found.unexpected_keys[:3]}."
        )


def _plain_parameters(estimator: "DistributionEstimator") -> dict[str, Any]:
    parameters = estimator.get_params(deep=False)
    if not hasattr(parameters["random_state"], "__index__"):
        parameters["random_state"] = None  # a generator is no plain data, and predictions need none
    parameters["hidden_sizes"] = list(parameters["hidden_sizes"])
    try:
        return json.loads(json.dumps(parameters, default=_number))
    except TypeError as error:
        raise ValueError(f"parameters must be plain data to be saved, got {parameters}: {error}.") from error


def _plain_classes(estimator: "DistributionEstimator") -> dict[str, Any] | None:
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return None
    return {"values": classes.tolist(), "dtype": "object" if classes.dtype == object else classes.dtype.str}


def _number(value: Any) -> Any:
    if isinstance(value, (np.generic, torch.Tensor)) and not value.ndim:
        return value.item()
    raise TypeError(f"{value!r} is not plain data")
