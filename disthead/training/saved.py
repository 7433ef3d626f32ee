"""What a checkpoint holds: options as plain data, and how they are read back."""

import inspect
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["class_path", "comparable", "own_options", "plain", "read_checkpoint"]


def read_checkpoint(path: Any) -> dict[str, Any]:
    """The contents of a checkpoint of a `DistributionModule`.

    Raises:
        ValueError: for a missing or corrupt file, or one that something else wrote.
    """
    if not Path(path).is_file():
        raise ValueError(f"no such checkpoint: {path}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a checkpoint, or it is corrupt: it is not the archive that torch.save writes.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler and the archive raise
        raise ValueError(f"{path} is not a checkpoint, or it is corrupt: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or "family" not in checkpoint.get("hyper_parameters", {}):
        raise ValueError(f"{path} is not a checkpoint of a DistributionModule.")
    return checkpoint


def own_options(cls: type, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options in a checkpoint that a class takes; those of a subclass of it are left out."""
    known = inspect.signature(cls).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known)
    names = {parameter.name for parameter in known}
    return {name: value for name, value in saved.items() if name in names or (takes_any and not name.startswith("_"))}


def comparable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [comparable(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: comparable(entry) for key, entry in value.items()} or None
    return value


def plain(value: Any) -> Any:
    """Options as plain data, which checkpoints can hold."""
    if isinstance(value, nn.Module):
        return None
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def class_path(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
