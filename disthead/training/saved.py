"""What a checkpoint holds: options as plain data, how they are read back, and checks of the file."""

import inspect
import pickle
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from disthead.errors import first_line
from disthead.files import unchanged
from disthead.networks.model_folder import is_model_folder, read_folder

__all__ = [
    "check_checkpoint",
    "check_sizes",
    "check_weights",
    "class_path",
    "comparable",
    "own_options",
    "plain",
    "read_checkpoint",
    "rebuilding",
    "shapes_of",
]

_REMEDY = "Take another copy of it, or the checkpoint of another epoch beside it."
_END_OF_ARCHIVE = 22  # bytes of the last record of a zip archive without a comment
_PIECE = 1 << 20  # bytes
_FURTHER = 10_000_000  # numbers by which one weight of a model may exceed all weights in its file
_FOLDER = 0x10  # the attribute of a part by which it is a folder


@contextmanager
def _opened(path: Any) -> Iterator[IO[bytes]]:
    """A checkpoint, open for reading, once its checksums have been compared.

    torch.save writes the CRC32 of each part of a checkpoint, and torch.load does not compare it.

    Raises:
        ValueError: for a missing or damaged file, with the part that is damaged, and for one that
            changes while it is read.
    """
    if Path(path).is_dir():
        inside = next(
            iter([*sorted(Path(path).rglob("best.ckpt")), *sorted(Path(path).rglob("*.ckpt"))]),
            None,
        )
        hint = (
            "it holds no checkpoint"
            if inside is None
            else f"give a checkpoint in it, such as {inside}"
        )
        raise ValueError(f"{path} is a folder, not a checkpoint: {hint}.")
    if not Path(path).is_file():
        raise ValueError(f"no such checkpoint: {path}.")
    with unchanged(path), open(path, "rb") as file:
        _check_parts(file, path)
        file.seek(0)
        yield file


def check_checkpoint(path: Any) -> None:
    """Refuse a checkpoint that is not what was written, by its checksums.

    Raises:
        ValueError: for a missing or damaged file, with the part that is damaged, and for one that
            changes while it is read.
    """
    with _opened(path):
        pass


def read_checkpoint(path: Any) -> dict[str, Any]:
    """The contents of a checkpoint of a `DistributionModule`, or of a folder that an estimator saved, in the same form.

    Raises:
        ValueError: for a missing or damaged file, with the part that is damaged, or one that
            something else wrote.
    """
    if is_model_folder(path):
        return _of_folder(Path(path))
    with _opened(path) as file:
        return _contents(file, path)


def _of_folder(path: Path) -> dict[str, Any]:
    """The model alone, without a training that could go on, and without the data of its training."""
    config, tensors, _ = read_folder(path)
    recalibration, state = config["recalibration"], dict[str, Any](tensors)
    if recalibration is not None:
        recalibration = dict(recalibration)
        state["recalibration._extra_state"] = recalibration.pop("fitted_on")
    objective = config["parameters"].get("objective", "nll")
    return {
        "hyper_parameters": config["model"] | {"objective": objective},
        "state_dict": state,
        "recalibration": recalibration,
    }


def _contents(file: IO[bytes], path: Any) -> dict[str, Any]:
    """The contents of a checkpoint of a `DistributionModule` that is open.

    Raises:
        ValueError: for a file that something else wrote.
    """
    try:
        contents = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler and the archive raise
        code = (
            re.search(r"GLOBAL ([\w.]+)", str(error))
            if isinstance(error, pickle.UnpicklingError)
            else None
        )
        if code:
            raise ValueError(
                f"{path} is not loaded: besides plain data and tensors it holds {code[1]}, which "
                "would run as code, perhaps a "
                "stranger's."
            ) from error
        raise ValueError(
            f"{path} is not a checkpoint, or it is corrupt: {first_line(error)}"
        ) from error
    options = contents.get("hyper_parameters") if isinstance(contents, dict) else None
    if not isinstance(options, Mapping) or not isinstance(options.get("family"), str):
        raise ValueError(f"{path} is not a checkpoint of a DistributionModule.")
    if not isinstance(contents.get("datamodule_hyper_parameters", {}), Mapping):
        raise ValueError(
            f"{path}: datamodule_hyper_parameters, the options of the data, must be a mapping."
        )
    contents["hyper_parameters"] = _by_present_names(options)
    state = contents.get("state_dict")
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{path} is a checkpoint without state_dict, the weights of its model.")
    return contents


def _by_present_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model, of which version 0.1 called one otherwise."""
    options = dict(options)
    min_scale = options.pop("spread_floor", None)
    return options if min_scale is None else {"min_scale": min_scale} | options


@contextmanager
def rebuilding(path: Any) -> Iterator[None]:
    """A block in which errors of a model that cannot be made from what a checkpoint holds name the checkpoint."""
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
    ) as error:
        raise ValueError(
            f"{path}: the options and weights in it are not those of one model: "
            f"{' '.join(str(error).split())} "
            f"({type(error).__name__}). It was changed after training, or a later version of "
            "disthead wrote it."
        ) from error


def check_sizes(make: Callable[[], nn.Module], state: Mapping[str, Any], path: Any) -> None:
    """Refuse options of a model that is larger than the weights beside them, before anything is allocated for it.

    Args:
        make: makes the model from these options.
        state: the weights.
        path: of the checkpoint.

    Raises:
        ValueError: with the weights that would not fit.
    """
    held = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    for name, shape in shapes_of(make).items():
        if shape.numel() > held + _FURTHER:
            raise ValueError(
                f"{path}: by its options the weights {name!r} have the shape {list(shape)}, and "
                f"all of its weights are {held:,} "
                "numbers. It was changed after training."
            )


def check_weights(
    state: Mapping[str, Any], own: Mapping[str, Any], path: Any, remedy: str = _REMEDY
) -> None:
    """Refuse weights that are NaN or infinite, or of a kind that a model cannot take without changing them.

    Args:
        state: the weights in a file.
        own: those of the model that is made from its options.
        path: of the file.
        remedy: what to do, in words.

    Raises:
        ValueError: with the weights.
    """
    for name, value in state.items():
        mine = own.get(name)
        if not isinstance(mine, Tensor) or not isinstance(value, Tensor):
            continue
        is_float = mine.is_floating_point() and value.is_floating_point()
        if not is_float and value.dtype != mine.dtype:
            raise ValueError(
                f"{path}: the weights {name!r} are {value.dtype}, and those of the model "
                f"{mine.dtype}, which cannot hold them "
                f"unchanged. {remedy}"
            )
        bad = ~value.isfinite()
        if mine.shape == value.shape and not nn.parameter.is_lazy(mine):
            bad &= mine.isfinite().to(bad.device)  # an option may be infinite, such as a bound
        if bad.any():
            raise ValueError(
                f"{path}: {int(bad.sum())} of the {bad.numel()} numbers of the weights {name!r} "
                "are NaN or infinite, with which "
                f"nothing can be predicted. {remedy}"
            )


def shapes_of(make: Callable[[], nn.Module]) -> dict[str, torch.Size]:
    """The shapes of the weights of a model, found without memory for them; none where making it needs their values."""
    try:
        with torch.device("meta"):
            state = make().state_dict()
    except (NotImplementedError, RuntimeError) as error:
        if "meta" in str(error):
            return {}
        raise
    return {name: value.shape for name, value in state.items() if isinstance(value, Tensor)}


def _check_parts(file: IO[bytes], path: Any) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            names = [part.filename for part in parts]
            starts = [part.header_offset for part in parts]
            damaged = [part for part in parts if not _is_whole(archive, part)]
            size = file.seek(0, 2)
            file.seek(max(size - _END_OF_ARCHIVE, 0))
            if not damaged and (archive.comment or file.read(4) != b"PK\x05\x06"):
                raise zipfile.BadZipFile(
                    f"{len(archive.comment) or 'several'} bytes follow its end"
                )
            if not damaged and (not parts or min(starts)):
                raise zipfile.BadZipFile("its first part is not at its start")
            if len(set(names)) < len(names):
                raise zipfile.BadZipFile("two parts have one name")
            if damaged:
                computed = (
                    None
                    if damaged[0].filename.endswith("/data.pkl")
                    else _crc_of(archive, damaged[0])
                )
    except (
        Exception
    ) as error:  # zipfile raises much more than BadZipFile for headers that cannot be
        raise ValueError(
            f"{path} is not a checkpoint, or it is corrupt: {first_line(error)} (as an archive "
            f"that torch.save writes). {_REMEDY}"
        ) from error
    if damaged:
        part = damaged[0].filename.partition("/")[2]
        weights = _names_of(file, computed) if computed is not None else ()
        what = f"{part}, {weights[0]!r}," if weights else part
        others = f" ({len(damaged)} parts are damaged)" if len(damaged) > 1 else ""
        raise ValueError(
            f"{path} is damaged: {what} is not what was written, by its CRC32{others}. {_REMEDY}"
        )


def _is_whole(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    # of which torch reads nothing, and leaves memory as it is
    if part.is_dir() or part.external_attr & _FOLDER:
        return False
    try:
        # compares the name with that in the directory, and the CRC32 at its end
        with archive.open(part) as opened:
            size = sum(len(piece) for piece in iter(lambda: opened.read(_PIECE), b""))
    except Exception:  # a header may name any compression, and its library raises errors of its own
        return False
    return size == part.file_size == part.compress_size


def _crc_of(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> int | None:
    """The CRC32 of the bytes that a part has now; None where they cannot be read."""
    part.CRC = None  # type: ignore[assignment]  # so that it is not compared
    try:
        return zlib.crc32(archive.read(part))
    except Exception:
        return None


def _names_of(file: IO[bytes], crc: int) -> list[str]:
    """The names of the tensors of a checkpoint whose bytes have that CRC32, which finds the one that a damaged part holds."""
    try:
        file.seek(0)
        contents = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:
        return []
    return [name for name, tensor in _tensors(contents, ()) if zlib.crc32(_bytes_of(tensor)) == crc]


def _tensors(contents: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(contents, Tensor):
        yield ".".join(path[1:] if path[:1] == ("state_dict",) else path), contents
    elif isinstance(contents, (Mapping, list, tuple)):
        entries = contents.items() if isinstance(contents, Mapping) else enumerate(contents)
        for key, value in entries:
            yield from _tensors(value, (*path, str(key)))


def _bytes_of(tensor: Tensor) -> Any:
    storage = tensor.untyped_storage()
    return torch.tensor([], dtype=torch.uint8).set_(storage).numpy()


def own_options(cls: type, saved: Mapping[str, Any]) -> dict[str, Any]:
    """The options in a checkpoint that a class takes; those that only a subclass takes are left out."""
    known = inspect.signature(cls).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known)
    names = {parameter.name for parameter in known}
    return {
        name: value
        for name, value in saved.items()
        if name in names or (takes_any and not name.startswith("_"))
    }


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
