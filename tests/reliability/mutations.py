"""Damaged files: each is read as what was written, or refused with its name; never as other
numbers.
"""

import bz2
import contextlib
import functools
import gzip
import json
import lzma
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch

from disthead import DistributionRegressor
from disthead.data.row_groups import find_row_groups, read_rows
from disthead.data.table import read_table
from disthead.training import DistributionModule, TabularDataModule
from disthead.training.predictor import Predictor

from .attack import Attack, Outcome, run_command, said_by_command, said_by_error

__all__ = ["ATTACKS", "mutate", "mutate_entries"]


def mutate(contents: bytes, generator: np.random.Generator) -> bytes:
    """Contents with one damage of many kinds; never the same as they were."""
    while True:
        kind, size = int(generator.integers(9)), len(contents)
        here, there = (int(place) for place in generator.integers(size, size=2))
        count = int(generator.integers(1, max(2, min(400, size // 3))))
        changed = bytearray(contents)
        if kind == 0:
            changed[here] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            changed[here] = int(generator.integers(256))
        elif kind == 2:
            del changed[here:]
        elif kind == 3:
            changed[here:here] = generator.integers(0, 256, count, dtype=np.uint8).tobytes()
        elif kind == 4:
            del changed[here : here + count]
        elif kind == 5:
            changed[here : here + count] = bytes(len(changed[here : here + count]))
        elif kind == 6:
            count = min(count, abs(here - there), size - max(here, there))
            one, two = contents[here : here + count], contents[there : there + count]
            changed[here : here + count], changed[there : there + count] = two, one
        elif kind == 7:
            changed[here:here] = contents[there : there + count]
        else:
            changed += generator.integers(0, 256, count, dtype=np.uint8).tobytes()
        if bytes(changed) != contents:
            return bytes(changed)


_OTHERS: tuple[Any, ...] = (
    None, True, False,
    0, -1, 1, 2, 0.5, -3.5, 10**9, 10**30, float("nan"), float("inf"),
    "", "0", "normal", "NaN", "laplace",
    [], [1], [None], [[1]], {}, {"a": 1}, {"class_path": "os.system"},
)  # fmt: skip


def mutate_entries(config: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """Plain data in which one entry is deleted, renamed, added, or of another type or value; never
    the same as they were.
    """
    while True:
        changed = json.loads(json.dumps(config))
        holder, key = _places(changed)[int(generator.integers(len(_places(changed))))]
        kind, value = int(generator.integers(6)), holder[key]
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[f"{key}s"] = holder.pop(key)
        elif kind == 2 and isinstance(holder, dict):
            holder["further"] = 1
        elif kind == 3 and isinstance(value, (int, float)) and not isinstance(value, bool):
            holder[key] = value + int(generator.integers(1, 4))
        elif kind == 3 and isinstance(value, str):
            holder[key] = value[1:] or "x"
        elif kind == 4 and isinstance(value, (dict, list)):
            holder[key] = [value, value]
        else:
            holder[key] = _OTHERS[int(generator.integers(len(_OTHERS)))]
        if json.dumps(changed) != json.dumps(config):
            return changed


def _places(value: Any) -> list[tuple[Any, Any]]:
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [place for key, inner in entries for place in ((value, key), *_places(inner))]


def _outcome(path: Path, same: Callable[[], bool], *names: str) -> Outcome:
    """What reading came to: whether the numbers are the same, or an error that names the file, and
    `names`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Outcome.HARMLESS if same() else Outcome.SILENT
    except Exception as error:
        return said_by_error(error, path.name, *names)


@functools.cache
def _frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 2))
    columns = {
        "x": x[:, 0],
        "z": x[:, 1].round(3),
        "city": generator.choice(["Lima", "Oslo", "Århus"], 200),
    }
    frame = pd.DataFrame(
        columns | {"n": generator.integers(5, size=200), "y": x[:, 0] + generator.normal(size=200)}
    )
    frame.loc[3, "z"] = np.nan
    return frame


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="damaged"))


# Checkpoints.


@functools.cache
def _checkpoint() -> tuple[bytes, np.ndarray]:
    """A trained model, and the means that it predicts for its table."""
    path = _folder() / "model.ckpt"
    table = _folder() / "table.csv"
    _frame().to_csv(table, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = DistributionModule(family="student_t", hidden_sizes=[8])
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(module, TabularDataModule(table, target="y"))
        trainer.save_checkpoint(path)
        return path.read_bytes(), Predictor(path)(_frame())["mean"]


def _try_checkpoint(k: int, folder: Path) -> Outcome:
    contents, means = _checkpoint()
    path = folder / "model.ckpt"
    path.write_bytes(mutate(contents, np.random.default_rng(k)))
    if k % 30 == 7:
        return _by_command(path, folder / "predictions.csv", means)
    return _outcome(path, lambda: np.array_equal(Predictor(path)(_frame())["mean"], means))


def mutate_contents(contents: dict[str, Any], generator: np.random.Generator) -> str:
    """Drop, rename or replace one entry of a checkpoint, in place; returns the part in which it is.

    Tensors are replaced by those of another shape, length or type as well.
    """
    part = list(contents)[int(generator.integers(len(contents)))]
    places = [(contents, part), *_places(contents[part])]
    holder, key = places[int(generator.integers(len(places)))]
    value, kind = holder[key], int(generator.integers(5))
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{key}s"] = holder.pop(key)
    elif kind < 4 and isinstance(value, torch.Tensor):
        others = (
            value.reshape(1, -1),
            value.reshape(-1)[:-1],
            torch.cat([value.reshape(-1)] * 2),
            value.double(),
        )
        others += (value.int(), value != 0, value.to(torch.complex64), value.tolist())
        holder[key] = others[int(generator.integers(len(others)))]
    elif kind == 2 and isinstance(value, (dict, list)) and value:
        holder[key] = [value, value]
    else:
        holder[key] = _OTHERS[int(generator.integers(len(_OTHERS)))]
    return str(part)


def _try_entries(k: int, folder: Path) -> Outcome:
    """Parts that a prediction does not need may be anything there; training further needs all of
    them.
    """
    contents, means = _checkpoint()
    path, generator = folder / "model.ckpt", np.random.default_rng(k)
    changed = torch.load(BytesIO(contents), weights_only=True)
    mutate_contents(changed, generator)
    torch.save(changed, path)
    if k % 30 == 7:
        return _by_command(path, folder / "predictions.csv", means)
    if k % 3 == 1:
        return _trained_further(path)
    return _outcome(path, lambda: np.array_equal(Predictor(path)(_frame())["mean"], means))


def _trained_further(path: Path) -> Outcome:
    """A fit that goes on from a checkpoint ends well, or with an error that names it."""
    table = str(_folder() / "table.csv")
    options = [
        "--data.path",
        table,
        "--data.target=y",
        "--model.family=student_t",
        "--model.hidden_sizes=[8]",
    ]
    options += ["--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--trainer.logger=false"]
    options += [
        "--trainer.enable_progress_bar=false",
        f"--checkpoint.dirpath={path.parent / 'further'}",
    ]
    with contextlib.chdir(path.parent):  # where fit writes its config.yaml
        status, printed = run_command("fit", *options, "--ckpt", str(path))
    return said_by_command(status, printed, path.name) if status else Outcome.HARMLESS


def _by_command(path: Path, out: Path, means: np.ndarray) -> Outcome:
    table = str(_folder() / "table.csv")
    status, printed = run_command(
        "predict", "--ckpt", str(path), "--data.path", table, "--out", str(out), "--overwrite"
    )
    if status:
        return said_by_command(status, printed, path.name)
    return (
        Outcome.HARMLESS
        if np.allclose(pd.read_csv(out)["mean"], means, rtol=1e-6)
        else Outcome.SILENT
    )


# Folders of models.


@functools.cache
def _model() -> tuple[Path, np.ndarray]:
    features = _frame().drop(columns="y")
    model = DistributionRegressor(hidden_sizes=(8,), max_steps=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(features, _frame()["y"]).save(_folder() / "model"), model.predict(features)


def _try_folder(k: int, folder: Path, name: str) -> Outcome:
    source, means = _model()
    copy = Path(shutil.copytree(source, folder / "model"))
    generator, contents = np.random.default_rng(k), (source / name).read_bytes()
    is_entry = name == "config.json" and k % 2 == 1
    if is_entry:
        text = json.dumps(
            mutate_entries(json.loads(contents), generator), indent=2, ensure_ascii=False
        )
        (copy / name).write_text(text, "utf-8")
    else:
        (copy / name).write_bytes(mutate(contents, generator))
    features = _frame().drop(columns="y")

    def same() -> bool:
        return np.array_equal(DistributionRegressor.load(copy).predict(features), means)

    return _outcome(copy / name, same, *["entr"] * is_entry)


# Tables.


@functools.cache
def _parquet() -> bytes:
    written = BytesIO()
    _frame().to_parquet(written, index=False, row_group_size=70, write_page_checksum=True)
    return written.getvalue()


def _try_parquet(k: int, folder: Path) -> Outcome:
    path = folder / "rows.parquet"
    path.write_bytes(mutate(_parquet(), np.random.default_rng(k)))

    def by_row_groups() -> bool:
        pieces = [
            piece for group in find_row_groups([path]) for _, piece in read_rows(group, None, 50)
        ]
        return pd.concat(pieces, ignore_index=True).equals(_frame())

    return _outcome(path, by_row_groups if k % 2 else lambda: read_table(path).equals(_frame()))


@functools.cache
def _compressed() -> dict[str, bytes]:
    text = _frame().to_csv(index=False).encode()
    half = text.index(b"\n", len(text) // 2) + 1
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("rows.csv", text)
    return {
        "gz": gzip.compress(text, mtime=0),
        # as parallel programs write it
        "bz2": bz2.compress(text[:half]) + bz2.compress(text[half:]),
        "xz": lzma.compress(text[:half]) + lzma.compress(text[half:]),
        "zip": archive.getvalue(),
    }


def _try_compressed(k: int, folder: Path) -> Outcome:
    ending, contents = list(_compressed().items())[k % 4]
    path = folder / f"rows.csv.{ending}"
    path.write_bytes(mutate(contents, np.random.default_rng(k)))
    return _outcome(path, lambda: read_table(path).equals(_frame()))


ATTACKS = [
    Attack("checkpoint, damaged", 300, 30, _try_checkpoint),
    Attack("checkpoint, entries dropped or replaced", 300, 20, _try_entries),
    Attack(
        "model.safetensors, damaged",
        300,
        40,
        functools.partial(_try_folder, name="model.safetensors"),
    ),
    Attack(
        "config.json, damaged or changed",
        300,
        40,
        functools.partial(_try_folder, name="config.json"),
    ),
    Attack("Parquet with page checksums, damaged", 300, 60, _try_parquet),
    Attack("compressed CSV, damaged", 300, 60, _try_compressed),
]
