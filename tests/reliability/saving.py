"""Attacks on what a training writes: kills at any moment and at each call of the system, and disks
that are full.
"""

import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from disthead import files
from disthead.training import callbacks
from disthead.training.saved import read_checkpoint
from disthead.training.saving import AtomicCheckpointIO

from .attack import Attack, Outcome, no_file_larger_than, run_command, said_by_command

__all__ = ["ATTACKS"]

QUIET = [
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.accelerator=cpu",
]
RUN = "checkpoints"


def fit(folder: Path, epochs: int, *options: str) -> tuple[int, str]:
    """A training in the folder, that goes on where there is one already."""
    last = folder / RUN / "last.ckpt"
    resumed = [f"--ckpt={last}"] if last.exists() else []
    return run_command(
        "fit", f"--data.path={folder / 'table.csv'}", "--data.target=y",
        f"--trainer.max_epochs={epochs}", f"--trainer.default_root_dir={folder}",
        f"--checkpoint.dirpath={folder / RUN}", *QUIET, *resumed, *options,
    )  # fmt: skip


def write_table(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=generator)
    y = x[:, 0] + torch.randn(300, generator=generator)
    rows = torch.column_stack([x, y]).tolist()
    (folder / "table.csv").write_text(
        "x,z,y\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows)
    )


@functools.cache
def trained() -> Path:
    """A folder with a training of three epochs."""
    folder = Path(tempfile.mkdtemp(prefix="disthead-saving-"))
    write_table(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        status, printed = fit(folder, 3)
    assert status == 0, printed
    return folder


def is_whole(folder: Path) -> bool:
    """Whether the best and the last checkpoint are files of their own that can be read to the last
    byte.
    """
    for name in ("best.ckpt", "last.ckpt"):
        path = folder / RUN / name
        try:
            read_checkpoint(path)
            if path.is_symlink() or zipfile.ZipFile(path).testzip() is not None:
                return False
        except (ValueError, OSError):
            return False
    return True


# Kills.


def forked(work: Callable[[], object]) -> int:
    """The number of a new process that does the work, silently and on one core, and ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the child has one
        child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        warnings.simplefilter("ignore")
        work()
    finally:
        os._exit(0)


def killed_training(k: int, folder: Path) -> Outcome:
    """Kills it some milliseconds after the first checkpoint, where all epochs write both."""
    draw = random.Random(k)
    write_table(folder)
    if k % 2:  # a training that goes on
        shutil.copytree(trained() / RUN, folder / RUN)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob(f"{RUN}/*.ckpt")}

    def work() -> None:
        callbacks._INTERVAL = 0
        fit(folder, 100_000, "--early_stopping.patience=100000")

    child, delay = forked(work), draw.uniform(0, 0.4)
    patience = time.monotonic() + 120
    while time.monotonic() < patience:  # until the first one has been written
        with suppress(OSError):
            if any(
                path.stat().st_mtime_ns != before.get(path.name)
                for path in folder.glob(f"{RUN}/*.ckpt")
            ):
                break
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not (folder / RUN / "best.ckpt").exists():  # killed before there was a best one
        return (
            Outcome.HARMLESS
            if not before and read_checkpoint(folder / RUN / "last.ckpt")
            else Outcome.SILENT
        )
    if not is_whole(folder):
        return Outcome.SILENT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        epochs = read_checkpoint(folder / RUN / "last.ckpt")["epoch"]
        status, _ = fit(folder, epochs + 2)  # goes on, and clears up
    left = sorted(os.listdir(folder / RUN))
    return (
        Outcome.HARMLESS
        if status == 0 and is_whole(folder) and left == ["best.ckpt", "last.ckpt"]
        else Outcome.SILENT
    )


def calls_of(work: Callable[[], object]) -> int:
    """How many built-in functions are called in the work."""
    count = 0

    def add(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "c_call"

    sys.setprofile(add)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


KILLS = 60


def killed_replacement(k: int, folder: Path) -> Outcome:
    """kill -9 before one of the calls that replace a checkpoint by another one: trials are spread
    over all of them.
    """
    path, (old, new) = (
        folder / "best.ckpt",
        (trained() / RUN / name for name in ("best.ckpt", "last.ckpt")),
    )
    shutil.copy(old, path)
    contents = torch.load(new, weights_only=True)
    AtomicCheckpointIO().save_checkpoint(contents, folder / "new.ckpt")
    last = calls_of(lambda: AtomicCheckpointIO().save_checkpoint(contents, folder / "new.ckpt"))

    def work() -> None:
        count, at = 0, 1 + k * last // KILLS

        def kill(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event == "c_call"
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(kill)
        AtomicCheckpointIO().save_checkpoint(contents, path)

    os.waitpid(forked(work), 0)
    found = path.read_bytes()
    whole = found in (old.read_bytes(), (folder / "new.ckpt").read_bytes())
    AtomicCheckpointIO().save_checkpoint(contents, path)
    cleared = sorted(os.listdir(folder)) == ["best.ckpt", "new.ckpt"]
    return Outcome.HARMLESS if whole and cleared else Outcome.SILENT


SCRIPT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("files", sys.argv[1])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
path, block = sys.argv[2], b"new" * 50_000
try:
    open("/start of the replacement")
except OSError:
    pass
with files.writing(path) as unfinished, open(unfinished, "wb", buffering=0) as opened:
    for _ in range(3):
        opened.write(block)
"""
OLD, NEW = b"old" * 1000, b"new" * 150_000


@functools.cache
def system_calls() -> list[tuple[str, int]]:
    """The calls of the system that a replacement makes: their name, and which of this name in the
    life of the process.
    """
    if shutil.which("strace") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(OLD)
        log = Path(folder, "log")
        command = [
            "strace",
            "-o",
            str(log),
            sys.executable,
            "-S",
            "-c",
            SCRIPT,
            files.__file__,
            str(path),
        ]
        if subprocess.run(command, capture_output=True).returncode != 0:
            return []  # not allowed here
        lines = log.read_text().splitlines()
    counts: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    has_begun = False
    for line in lines:
        name = line.partition("(")[0]
        counts[name] = counts.get(name, 0) + 1
        if has_begun and name.isidentifier() and name != "exit_group":
            found.append((name, counts[name]))
        has_begun |= "start of the replacement" in line
    return found


def killed_system_call(k: int, folder: Path) -> Outcome:
    """kill -9 at each call of the system in turn."""
    path, calls = folder / "file", system_calls()
    path.write_bytes(OLD)
    name, number = calls[k % len(calls)]
    command = [
        "strace", "-o", os.devnull, "-e", f"inject={name}:signal=KILL:when={number}",
        sys.executable, "-S", "-c", SCRIPT, files.__file__, str(path),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True)
    whole = path.read_bytes() in (OLD, NEW)
    with files.writing(path) as unfinished:
        unfinished.write_bytes(OLD)
    return Outcome.HARMLESS if whole and os.listdir(folder) == ["file"] else Outcome.SILENT


# Full disks.


@contextmanager
def disk(folder: Path, size: int) -> Iterator[bool]:
    """A disk of so many bytes at the folder; False where mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and subprocess.run(command, capture_output=True).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(k: int, folder: Path) -> Outcome:
    """A training, new or going on, on a disk that has room for its files, or for some of them, or
    for parts of one.
    """
    draw, place = random.Random(k), folder / "disk"
    size = (trained() / RUN / "best.ckpt").stat().st_size
    goes_on = k % 2 == 1
    room = draw.choice([draw.uniform(0, 20_000), draw.uniform(0, 3.5 * size)])
    used = 2 * size + 100_000 if goes_on else 60_000
    with disk(place, int(used + room)) as mounted:
        shutil.copy(trained() / "table.csv", place)
        if goes_on:
            shutil.copytree(trained() / RUN, place / RUN)
        before = {path.name: path.read_bytes() for path in place.glob(f"{RUN}/*")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if mounted:
                status, printed = fit(place, 6)
            else:
                with no_file_larger_than(int(min(room, size - 1))):
                    status, printed = fit(place, 6)
        hidden = [
            path
            for path in place.rglob(".*")
            if path.name.endswith((".unfinished", ".unfinished.d"))
        ]
        there = {path.name for path in place.glob(f"{RUN}/*")}
        if hidden or (before and not is_whole(place)):
            return Outcome.SILENT
        for name in there:
            read_checkpoint(place / RUN / name)
        if status == 0:
            return Outcome.HARMLESS if is_whole(place) else Outcome.SILENT
        return said_by_command(status, printed, "folder", "MB free")


ATTACKS = [
    Attack("kill -9 in a training", 30, 1, killed_training),
    Attack("kill -9 while a checkpoint is replaced", KILLS, 4, killed_replacement),
    Attack("full disk in a training", 24, 2, full_disk),
]
if system_calls():
    ATTACKS.append(
        Attack(
            "kill -9 at each system call of a replacement",
            len(system_calls()),
            3,
            killed_system_call,
        )
    )
