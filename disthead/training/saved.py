"""Contents of checkpoints: options as plain data, and checks of files and weights."""

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
from disthead.networks.model_folder import CONFIG, WEIGHTS, is_model_folder, read_folder

__all__ = [
    "BUILD_ERRORS",
    "OBJECTIVE",
    "check_checkpoint",
    "check_path",
    "check_sizes",
    "check_weights",
    "class_path",
    "comparable",
    "is_double",
    "own_options",
    "plain",
    "read_checkpoint",
    "rebuilding",
    "shapes_of",
    "without_objective",
]

OBJECTIVE = "objective."  # the beginning of the names of what an objective learns

_REMEDY = "Take another copy of it, or the checkpoint of another epoch beside it."
_END_OF_ARCHIVE = 22  # bytes of the last record of a zip archive without a comment
_CHUNK_BYTES = 1 << 20
_EXCESS_NUMBERS = 10_000_000  # by which one weight of a model may exceed all weights in its file
_TABLES = (".csv", ".tsv", ".parquet", ".pq")  # endings
_FOLDER = 0x10  # the attribute of parts that are folders


@contextmanager
def _opened(path: Any) -> Iterator[IO[bytes]]:
    """A checkpoint, open for reading, after its checksums were compared.

    torch.save writes the CRC32 of each part of a checkpoint, and torch.load does not compare it.

    Raises:
        ValueError: for a missing or damaged file, with the damaged part, and for one that changes
            while it is read.
    """
    check_path(path)
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, not a checkpoint: it holds no checkpoint.")
    if not Path(path).is_file():
        raise ValueError(f"no such checkpoint: {path}.")
    with unchanged(path), open(path, "rb") as file:
        _check_parts(file, path)
        file.seek(0)
        yield file


def check_path(path: Any) -> None:
    """Refuse a path beside that of a checkpoint, or of the folder of a saved model.

    Raises:
        ValueError: with the path to give, or the file that is missing.
    """
    path = Path(path)
    if path.is_dir():
        missing = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
        if len(missing) == 1:
            raise ValueError(
                f"{path} must hold {CONFIG} and {WEIGHTS}, as `save` writes them; {missing[0]} is "
                "missing."
            )
        inside = [*sorted(path.rglob("best.ckpt")), *sorted(path.rglob("*.ckpt"))]
        if missing and inside:
            raise ValueError(
                f"{path} is a folder, not a checkpoint: give a checkpoint in it, such as "
                f"{inside[0]}."
            )
    elif path.name in (CONFIG, WEIGHTS) and is_model_folder(path.parent):
        raise ValueError(
            f"{path} is one of the two files of a saved model: give their folder, {path.parent}."
        )
    elif path.suffix in _TABLES:
        raise ValueError(f"{path} is a table, not a checkpoint of a model.")


def check_checkpoint(path: Any) -> None:
    """Refuse a damaged checkpoint, by its checksums.

    Raises:
        ValueError: for a missing or damaged file, with the damaged part, and for one that changes
            while it is read.
    """
    with _opened(path):
        pass


def read_checkpoint(path: Any) -> dict[str, Any]:
    """The contents of a checkpoint of a `DistributionModule`.

    A folder that an estimator saved is read in the same form.

    Raises:
        ValueError: for a missing or damaged file, with the damaged part, and for other files.
    """
    if is_model_folder(path):
        return _of_folder(Path(path))
    with _opened(path) as file:
        return _contents(file, path)


def _of_folder(path: Path) -> dict[str, Any]:
    """The model in a folder, without the state and the data of its training."""
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
    """The contents of an open checkpoint of a `DistributionModule`.

    Raises:
        ValueError: for other files.
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
                "would run as code, perhaps a stranger's."
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
    """The options of a model, with the present names of those that version 0.1 has others for."""
    options = dict(options)
    min_scale = options.pop("spread_floor", None)
    return options if min_scale is None else {"min_scale": min_scale} | options


# What options that do not belong together raise, beside ValueError.
BUILD_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
)


@contextmanager
def rebuilding(path: Any) -> Iterator[None]:
    """A context in which a model is made from a checkpoint, and errors name the checkpoint.

    Raises:
        ValueError: in place of any error of a model that cannot be made.
    """
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error
    except BUILD_ERRORS as error:
        raise ValueError(
            f"{path}: the options and weights in it are not those of one model: "
            f"{' '.join(str(error).split())} ({type(error).__name__}). It was changed after "
            "training, or a later version of disthead wrote it."
        ) from error


def check_sizes(make: Callable[[], nn.Module], state: Mapping[str, Any], path: Any) -> None:
    """Refuse options of a model that is much larger than the weights of its checkpoint.

    No memory is allocated for the model.

    Args:
        make: makes the model from its options.
        state: the weights in the checkpoint.
        path: of the checkpoint.

    Raises:
        ValueError: with the weights that are too large.
    """
    count = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    for name, shape in shapes_of(make).items():
        if shape.numel() > count + _EXCESS_NUMBERS:
            raise ValueError(
                f"{path}: by its options the weights {name!r} have the shape {list(shape)}, and "
                f"all of its weights are {count:,} numbers. It was changed after training."
            )


def check_weights(
    state: Mapping[str, Any], own: Mapping[str, Any], path: Any, remedy: str = _REMEDY
) -> None:
    """Refuse weights that are not finite, or of a type that the model cannot hold.

    Args:
        state: the weights in a file.
        own: the weights of a model that was made from its options. Where they are infinite, such
            as bounds among the options, those in the file may be, too.
        path: of the file.
        remedy: what to do, in a sentence.

    Raises:
        ValueError: with the weights.
    """
    for name, value in state.items():
        reference = own.get(name)
        if not isinstance(reference, Tensor) or not isinstance(value, Tensor):
            continue
        is_float = reference.is_floating_point() and value.is_floating_point()
        if not is_float and value.dtype != reference.dtype:
            raise ValueError(
                f"{path}: the weights {name!r} are {value.dtype}, and those of the model "
                f"{reference.dtype}, which cannot hold them unchanged. {remedy}"
            )
        bad = ~value.isfinite()
        if reference.shape == value.shape and not nn.parameter.is_lazy(reference):
            bad &= reference.isfinite().to(bad.device)
        if bad.any():
            raise ValueError(
                f"{path}: {int(bad.sum())} of the {bad.numel()} numbers of the weights {name!r} "
                f"are NaN or infinite, with which nothing can be predicted. {remedy}"
            )


def without_objective(state: Mapping[str, Any]) -> dict[str, Any]:
    """The weights in a file, but for what the objective learned, which predictions do not need."""
    return {name: value for name, value in state.items() if not name.startswith(OBJECTIVE)}


def is_double(state: Mapping[str, Any]) -> bool:
    """Whether the weights of the head in a file are in double precision."""
    return any(
        name.startswith(("head.linear.", "head.shared.")) and value.dtype == torch.float64
        for name, value in state.items()
        if isinstance(value, Tensor)
    )


def shapes_of(make: Callable[[], nn.Module]) -> dict[str, torch.Size]:
    """The shapes of the weights of a model, for which no memory is allocated.

    The result is empty where the making of the model reads values of its weights.
    """
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
    # zipfile raises much more than BadZipFile for invalid headers
    except Exception as error:
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
    # torch reads nothing of such a part, and leaves memory uninitialised
    if part.is_dir() or part.external_attr & _FOLDER:
        return False
    try:
        # this compares the name with that in the directory, and the CRC32 at its end
        with archive.open(part) as opened:
            size = sum(len(chunk) for chunk in iter(lambda: opened.read(_CHUNK_BYTES), b""))
    except Exception:  # a header may name any compression, whose library raises its own errors
        return False
    return size == part.file_size == part.compress_size


def _crc_of(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> int | None:
    """The CRC32 of the present bytes of a part; None where they cannot be read."""
    part.CRC = None  # type: ignore[assignment]  # so that zipfile compares nothing
    try:
        return zlib.crc32(archive.read(part))
    except Exception:
        return None


def _names_of(file: IO[bytes], crc: int) -> list[str]:
    """The names of the tensors whose bytes have this CRC32, such as that in a damaged part."""
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
    """The options in a checkpoint that a class takes.

    Those that only a subclass takes are left out.
    """
    known = inspect.signature(cls).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known)
    names = {parameter.name for parameter in known}
    return {
        name: value
        for name, value in saved.items()
        if name in names or (takes_any and not name.startswith("_"))
    }


def comparable(value: Any) -> Any:
    """Options in a form for comparison: tuples are lists, empty mappings are None."""
    if isinstance(value, (list, tuple)):
        return [comparable(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: comparable(entry) for key, entry in value.items()} or None
    return value


def plain(value: Any) -> Any:
    """Options as plain data, as checkpoints hold them; None for modules."""
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
    """The class path of a module, such as `torch.nn.modules.linear.Linear`."""
    return f"{type(module).__module__}.{type(module).__qualname__}"
