"""Attacks on what predict, recalibrate and evaluate write: full disks, a death at each step of
writing, several processes.
"""

import functools
import io
import json
import os
import signal
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import torch

from disthead.prediction import TableWriter
from disthead.report import pictures as drawing
from disthead.training import DistributionModule, TabularDataModule

from .attack import Attack, Outcome, no_file_larger_than, run_command, said_by_command

ATTACKS: list[Attack] = []

_QUIET = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")
_COMMANDS = (
    "predict to CSV",
    "predict to Parquet",
    "predict to a folder",
    "recalibrate",
    "evaluate",
)
_OLD = "what was there before"


@functools.cache
def _place() -> Path:
    """A folder with model.ckpt, table.csv and table.parquet of 300 rows in row groups of 100, made
    once for all trials.
    """
    import lightning

    folder = Path(tempfile.mkdtemp(prefix="outputs"))
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    frame = pd.DataFrame(
        {
            "x": x,
            "y": 2 * x + random.normal(size=300),
            "name": [f"row {k}, =1+1" for k in range(300)],
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    frame.to_parquet(folder / "table.parquet", row_group_size=100, index=False)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        data = TabularDataModule(str(folder / "table.csv"), target="y", features=["x"])
        trainer.fit(DistributionModule("normal", hidden_sizes=[4]), data)
        trainer.save_checkpoint(folder / "model.ckpt")
    return folder


def _arguments(command: str, out: Path, seed: int = 0) -> list[str]:
    """A command that writes to `out`; `seed` is of its draws, so that two of them write different
    things.
    """
    place = _place()
    model = f"--ckpt={place / 'model.ckpt'}"
    if command.startswith("predict"):
        table = place / ("table.csv" if command == "predict to CSV" else "table.parquet")
        options = [
            f"--data.path={table}",
            "--samples=20",
            f"--seed={seed}",
            "--id-columns=name",
            *_QUIET,
        ]
        options += ["--overwrite"] * bool(out.suffix)  # of the file that is there
        return ["predict", model, f"--out={out}", *options]
    if command == "recalibrate":
        method = ("ScaleCalibration", "QuantileRecalibration", "ConformalQuantiles")[seed % 3]
        return ["recalibrate", model, f"--out={out}", "--overwrite", f"--method={method}"]
    return ["evaluate", model, f"--out={out}", f"--level={0.9 - 0.1 * (seed % 3):.1f}"]


def _out(command: str, folder: Path) -> Path:
    endings = {
        "predict to CSV": "p.csv",
        "predict to Parquet": "p.parquet",
        "recalibrate": "m.ckpt",
    }
    return folder / endings.get(command, "out")


def _contents(command: str, out: Path) -> Any:
    """What a place holds, in a form that can be compared; an error where it is not whole."""
    if not out.exists():
        return None
    if out.is_file() and out.read_bytes() == _OLD.encode():
        return _OLD
    if command.startswith("predict"):
        if command == "predict to CSV":
            frame = pd.read_csv(out)
            lines = out.read_text().splitlines()
            assert len({line.count(",") for line in lines[1:]}) == 1
        else:
            files = [out] if out.is_file() else sorted(out.glob("part-*.parquet"))
            pieces = [
                parquet.read_table(file, page_checksum_verification=True).to_pandas()
                for file in files
            ]
            assert all(len(piece) == 100 for piece in pieces) or out.is_file()
            frame = pd.concat(pieces) if pieces else pd.DataFrame()
        return frame.to_csv(index=False)
    if command == "recalibrate":
        module = DistributionModule.load_from_checkpoint(out)
        assert module.recalibration is not None
        return str(module.recalibration.config)
    assert (out / "report.html").read_text().rstrip().endswith("</html>")
    metrics = json.loads((out / "metrics.json").read_text())
    pictures = {file.name for file in out.glob("*.png")}
    assert pictures == set(metrics["pictures"])
    assert all((out / name).read_bytes()[-8:] == b"IEND\xaeB`\x82" for name in pictures)
    page = (out / "report.html").read_text()
    aspects = [verdict["aspect"] for verdict in metrics["outputs"][""]["verdicts"]]
    # the page and the figures are of one evaluation
    assert all(str(aspect)[1:] in page for aspect in aspects)
    return json.dumps(metrics["outputs"], sort_keys=True)


@functools.cache
def _picture() -> bytes:
    """A picture that stands for all, since drawing takes most of the time of an evaluation."""
    return drawing._png(lambda figure: figure.add_subplot().plot([1, 2]), (5.6, 4.2))


def _run(command: str, out: Path, seed: int = 0) -> tuple[int, str]:
    picture = _picture()
    with patch.object(drawing, "_png", lambda draw, size: picture):
        return run_command(*_arguments(command, out, seed))


@functools.cache
def _whole_and_size(command: str, seed: int = 0) -> tuple[Any, int]:
    with tempfile.TemporaryDirectory() as folder:
        out = _out(command, Path(folder))
        status, printed = _run(command, out, seed)
        assert status == 0, printed
        files = [out] if out.is_file() else list(out.iterdir())
        return _contents(command, out), sum(
            -(-file.stat().st_size // 4096) * 4096 for file in files
        )


def _whole(command: str, seed: int = 0) -> Any:
    """What a command writes where nothing disturbs it."""
    return _whole_and_size(command, seed)[0]


def _goes_on(command: str, out: Path) -> bool:
    """Whether the same command then does what it should and leaves nothing unfinished beside it."""
    status, _ = _run(command, out)
    beside = [
        *out.parent.glob(".*unfinished*"),
        *(out.glob(".*unfinished*") if out.is_dir() else ()),
    ]
    return status == 0 and _contents(command, out) == _whole(command) and not beside


def _has_old(command: str, out: Path, number: int) -> bool:
    """In every second trial there is something in the place, which a folder of predictions never
    is.
    """
    if number % 2 or command in ("predict to a folder", "evaluate"):
        return False
    out.write_text(_OLD)
    return True


def _is_part_of(command: str, found: Any, whole: Any) -> bool:
    """Whether a folder of parts holds some of the rows, each part whole; of another place, all or
    nothing.
    """
    if found is None or found == whole:
        return True
    return command == "predict to a folder" and set(found.split("\n")) <= {
        *whole.split("\n"),
        '""',
        "",
    }


def _after_a_failure(command: str, out: Path, had_old: bool, failed: Outcome) -> Outcome:
    """The outcome of a trial that failed, by what is there: the old file or nothing half, and the
    same command goes on.
    """
    try:
        found = _contents(command, out)
    except Exception:
        return Outcome.SILENT
    is_kept = found == _OLD if had_old else _is_part_of(command, found, _whole(command))
    return failed if is_kept and _goes_on(command, out) else Outcome.SILENT


def _child(work: Callable[[], int]) -> int:
    """The exit status of a function in a process of its own, negative if a signal ended it."""
    pid = os.fork()
    if not pid:
        status = 70
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _one_thread() -> None:
    torch.set_num_threads(1)  # with more, torch hangs after a fork


def _full_disk(number: int, folder: Path) -> Outcome:
    """A disk, or where none can be mounted a limit of the size of files, that is too small by a
    random part.
    """
    command = _COMMANDS[number % len(_COMMANDS)]
    random = np.random.default_rng(number)
    whole = _whole(command)
    disk = folder / "disk"
    disk.mkdir()
    size = max(4096, int(random.uniform(0, 1.2) * _whole_and_size(command)[1]))
    is_mounted = os.system(f"mount -t tmpfs -o size={size} tmpfs {disk} 2> /dev/null") == 0
    try:
        out = _out(command, disk)
        had_old = _has_old(command, out, number // len(_COMMANDS))
        if is_mounted:
            status, printed = _run(command, out)
        else:
            status, printed = _with_limited_files(size // 4, command, out, folder / "printed")
        if status == 0:
            return Outcome.HARMLESS if _contents(command, out) == whole else Outcome.SILENT
        failed = said_by_command(status, printed, out.name)
        if is_mounted:
            os.system(f"mount -o remount,size=20m {disk}")
        return _after_a_failure(command, out, had_old, failed)
    finally:
        if is_mounted:
            os.system(f"umount {disk}")


def _with_limited_files(size: int, command: str, out: Path, log: Path) -> tuple[int, str]:
    def work() -> int:
        _one_thread()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with no_file_larger_than(size):
            status, printed = _run(command, out)
        log.write_text(printed)
        return status

    return _child(work), log.read_text() if log.exists() else ""


def _death(number: int, folder: Path) -> Outcome:
    """A process that ends, as by kill -9, at a random one of its calls that write, bring to the
    disk, rename or remove.
    """
    command = _COMMANDS[number % len(_COMMANDS)]
    step = number // len(_COMMANDS) * (2 if command == "evaluate" else 1)  # which has twice as many
    out = _out(command, folder)
    had_old = _has_old(command, out, number // len(_COMMANDS))
    whole = _whole(command)

    def work() -> int:
        _one_thread()
        count = 0

        def dies(function: Callable) -> Callable:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                if count == step:
                    os._exit(9)
                count += 1
                return function(*arguments, **options)

            return call

        for name in ("replace", "fsync", "unlink"):
            setattr(os, name, dies(getattr(os, name)))
        for owner, name in (
            (TableWriter, "write"),
            (parquet.ParquetWriter, "write_table"),
            (torch, "save"),
            (Path, "write_bytes"),
            (Path, "write_text"),
        ):
            setattr(owner, name, dies(getattr(owner, name)))
        return _run(command, out)[0]

    status = _child(work)
    found = _contents(command, out)
    if status == 0:
        return Outcome.HARMLESS if found == whole else Outcome.SILENT
    if status != 9:
        return Outcome.TRACEBACK
    is_kept = (had_old and found == _OLD) or _is_part_of(command, found, whole)
    return Outcome.HARMLESS if is_kept and _goes_on(command, out) else Outcome.SILENT


def _together(number: int, folder: Path) -> Outcome:
    """Three processes that start at once and write different things to one place."""
    command = _COMMANDS[number % len(_COMMANDS)]
    seeds = [0, 0, 0] if command == "predict to a folder" else [0, 1, 2]
    out = _out(command, folder)
    wholes = [_whole(command, seed) for seed in seeds]
    gate, start = os.pipe()
    pids = []
    for seed in seeds:
        pid = os.fork()
        if not pid:
            status = 70
            try:
                os.close(start)
                _one_thread()
                os.read(gate, 1)  # until all are there
                status, printed = _run(command, out, seed)
                (folder / f"{seed}.log").write_text(printed)
            finally:
                os._exit(status)
        pids.append(pid)
    os.close(gate)
    os.close(start)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(statuses):
        return Outcome.TRACEBACK
    is_whole = _contents(command, out) in wholes
    beside = [*folder.glob(".*unfinished*"), *(out.glob(".*unfinished*") if out.is_dir() else ())]
    return Outcome.HARMLESS if is_whole and not beside else Outcome.SILENT


ATTACKS += [
    Attack("predict, recalibrate, evaluate: full disk", 60, 5, _full_disk),
    Attack("predict, recalibrate, evaluate: killed at a step of writing", 96, 5, _death),
    Attack("predict, recalibrate, evaluate: three processes, one place", 15, 2, _together),
]
