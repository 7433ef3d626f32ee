"""How commands end: with a status that a scheduler can trust, and errors in one sentence."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from disthead import cli
from disthead.cli import main
from disthead.errors import in_a_sentence
from disthead.stopping import Stopped, signal_behind, stop_at_signals
from disthead.training.options import in_options
from disthead.training.saved import read_checkpoint

ROOT = Path(__file__).parents[1]


def ends(monkeypatch, what) -> int:
    """The exit status of a command that does this."""

    def run(arguments):
        if isinstance(what, BaseException):
            raise what
        what()

    monkeypatch.setitem(cli.COMMANDS, "fit", run)
    return main(["fit"])


@pytest.mark.parametrize("name, status", [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_a_command_with_128_and_its_number(name, status, monkeypatch, capsys):
    number = getattr(signal, name)
    given = signal.signal(
        number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    )  # nohup ignores some
    try:
        before = signal.getsignal(number)
        assert ends(monkeypatch, lambda: os.kill(os.getpid(), number)) == status
        assert capsys.readouterr().err.startswith(f"disthead: stopped by {name}")
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, given)


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), Stopped(signal.SIGTERM)])
def test_an_error_of_a_library_that_is_interrupted_is_the_signal(cause, monkeypatch, capsys):
    """As torch's, where it is stopped while it writes a file."""

    def work():
        try:
            raise cause
        finally:
            raise RuntimeError("unexpected pos 90048 vs 89940")

    assert ends(monkeypatch, work) == (130 if isinstance(cause, KeyboardInterrupt) else 143)
    assert "unexpected" not in capsys.readouterr().err
    assert signal_behind(RuntimeError()) is None


def test_signals_that_the_program_around_handles_are_left_to_it(monkeypatch):
    heard = []
    monkeypatch.setattr(signal, "getsignal", signal.getsignal)
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        assert ends(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM)) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [1]


def test_commands_run_in_a_thread_too(capsys):
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(main(["explain", "normal"])))
    thread.start()
    thread.join()
    assert statuses == [0]
    with stop_at_signals():
        pass


@pytest.mark.parametrize(
    "error, words",
    [
        (MemoryError("Unable to allocate 7.28 TiB for an array"),
            ["out of memory: 7.28 TiB", "--data.batch_size"]),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate "
                      "memory: you tried to allocate 68000000000 bytes."),
            ["out of memory: 68.0 GB", "--model.hidden_sizes"]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
            ["out of memory: 20.00 GiB"]),
        (RuntimeError("Found no NVIDIA driver on your system."),
            ["--trainer.accelerator cpu"]),
        (RuntimeError("The server socket has failed: EADDRINUSE, address already in use"),
            ["MASTER_PORT"]),
        (OSError(errno.EADDRINUSE, "Address already in use"),
            ["MASTER_PORT"]),
        (PermissionError(errno.EACCES, "Permission denied", "my.csv"),
            ["my.csv: permission denied", "permissions"]),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "rows"),
            ["rows: is a directory", "name of a file"]),
        (OSError(errno.EIO, "Input/output error"),
            ["Input/output error."]),
        (ModuleNotFoundError("No module named 'pandas'", name="pandas"),
            ["pip install 'disthead[data]'"]),
        (ModuleNotFoundError("No module named 'comet'", name="comet.sub"),
            ["pip install comet"]),
        (ValueError("several\n lines of an error.."),
            ["error: several lines of an error.\n"]),
    ],
)  # fmt: skip
def test_errors_that_a_user_can_mend_are_one_line_with_a_remedy(error, words, monkeypatch, capsys):
    assert ends(monkeypatch, error) == 2
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1
    assert printed.startswith("disthead: error: ")
    assert "Errno" not in printed
    for word in words:
        assert word in printed


@pytest.mark.parametrize(
    "error",
    [
        KeyError("loc"),
        AttributeError("no x"),
        RuntimeError("shape mismatch"),
        TypeError("no"),
        AssertionError(),
        ModuleNotFoundError("No module named 'disthead.x'", name="disthead.x"),
        ZeroDivisionError(),
    ],
)
def test_an_error_of_the_program_keeps_its_traceback_and_asks_for_a_report(error, monkeypatch):
    with pytest.raises(type(error)) as caught:
        ends(monkeypatch, error)
    assert "report it" in "".join(caught.value.__notes__)
    assert in_a_sentence(error) is None


def test_a_message_of_a_library_that_gives_up_is_printed(monkeypatch, capsys):
    assert ends(monkeypatch, SystemExit("no licence")) == 2
    assert capsys.readouterr().err == "disthead: error: no licence\n"
    assert ends(monkeypatch, SystemExit(3)) == 3
    assert ends(monkeypatch, SystemExit()) == 0


@pytest.mark.parametrize(
    "message, words",
    [
        ("`max_epochs` must be positive.", "--trainer.max_epochs must be positive."),
        ("`Trainer(devices='0')` value is not valid.", "--trainer.devices 0 value is not valid."),
        (
            '`.fit(ckpt_path="hpc")` is set but no HPC checkpoint was found.',
            "--ckpt hpc is given but no HPC checkpoint was found.",
        ),
        ("set `check_val_every_n_epoch=None`.", "set --trainer.check_val_every_n_epoch null."),
        (
            "`ModelCheckpoint(monitor='nl')` could not find the monitored key in the returned "
            "metrics: ['val/nll', 'epoch']. HINT:"
            " Did you call `log('nl', value)` in the `LightningModule`?",
            "--checkpoint.monitor must be a metric of this training, val/nll, got nl.",
        ),
    ],
)  # fmt: skip
def test_what_lightning_says_to_programmers_is_said_in_options(message, words):
    assert in_options(message) == words


# What follows starts processes, each of which takes seconds to load torch.

SLOW = ["--trainer.max_epochs=100000", "--early_stopping.patience=100000", "--checkpoint.dirpath=c"]
FIT = [
    "fit",
    "--data.path=table.csv",
    "--data.target=y",
    "--model.hidden_sizes=[4]",
    "--trainer.accelerator=cpu",
    *SLOW,
]


@pytest.fixture
def folder(tmp_path) -> Path:
    random = np.random.default_rng(0)
    x = random.normal(size=100)
    pd.DataFrame({"x": x, "y": x + random.normal(size=100)}).to_csv(
        tmp_path / "table.csv", index=False
    )
    return tmp_path


def start(folder: Path, *command: str, **environment: str) -> subprocess.Popen:
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=notice_signals,
    )


def notice_signals() -> None:
    """Whatever started this process may ignore some, as nohup does."""
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def wait_for(process: subprocess.Popen, path: Path) -> None:
    deadline = time.monotonic() + 200
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert path.exists(), process.communicate()


def end_of(process: subprocess.Popen) -> tuple[int, str]:
    try:
        _, said = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, times, status",
    [("SIGTERM", 1, 143), ("SIGINT", 1, 130), ("SIGINT", 2, 130), ("SIGHUP", 1, 129)],
)
def test_training_that_a_signal_ends_says_so_and_can_go_on(name, times, status, folder):
    process = start(folder, sys.executable, "-m", "disthead", *FIT)
    wait_for(process, folder / "c" / "last.ckpt")
    for _ in range(times):
        process.send_signal(getattr(signal, name))
        time.sleep(0.2)
    found, said = end_of(process)
    assert found == status
    assert "Traceback" not in said
    assert f"stopped by {name}" in said
    assert not list(folder.rglob("*.unfinished*"))
    epochs = read_checkpoint(folder / "c" / "last.ckpt")["epoch"] + 2
    again = [*FIT, "--ckpt=c/last.ckpt", f"--trainer.max_epochs={epochs}"]
    found, said = end_of(start(folder, sys.executable, "-m", "disthead", *again))
    assert found == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [False, True])
@pytest.mark.parametrize("name, status", [("SIGTERM", 143), ("SIGINT", 130)])
def test_two_processes_end_together(name, status, to_all, folder):
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    process = start(folder, sys.executable, "-m", "disthead", *FIT, *two)
    wait_for(process, folder / "c" / "last.ckpt")
    if to_all:
        os.killpg(process.pid, getattr(signal, name))
    else:
        process.send_signal(getattr(signal, name))
    found, said = end_of(process)
    assert found == status, said
    read_checkpoint(folder / "c" / "last.ckpt")


@pytest.mark.slow
def test_a_job_of_slurm_is_put_into_the_queue_again(folder):
    """By Lightning's handler of SIGUSR1, with a checkpoint; SIGTERM, which follows, ends it."""
    (folder / "bin").mkdir()
    (folder / "bin" / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {folder}/scontrol.txt\n')
    (folder / "bin" / "scontrol").chmod(0o755)
    job = {
        "NTASKS": "1",
        "JOB_ID": "77",
        "JOB_NAME": "train",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
        "NNODES": "1",
    }
    environment = {f"SLURM_{name}": value for name, value in job.items()} | {
        "SLURM_NTASKS_PER_NODE": "1"
    }
    path = f"{folder}/bin:{os.environ['PATH']}"
    process = start(folder, sys.executable, "-m", "disthead", *FIT, PATH=path, **environment)
    wait_for(process, folder / "c" / "last.ckpt")
    process.send_signal(signal.SIGUSR1)
    wait_for(process, folder / "scontrol.txt")
    process.send_signal(signal.SIGTERM)
    found, said = end_of(process)
    assert found == 143, said
    assert (folder / "scontrol.txt").read_text() == "requeue 77\n"
    read_checkpoint(folder / "hpc_ckpt_1.ckpt")


def test_output_that_is_not_buffered_and_that_nobody_reads_ends_a_command_with_141(
    monkeypatch, capsys
):
    reading, output = os.pipe()
    stream = io.TextIOWrapper(os.fdopen(output, "wb", 0), write_through=True)
    with stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        # another pipe than the output
        assert ends(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe")) == 2
        capsys.readouterr()
        os.close(reading)
        assert main(["families"]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_output_that_nobody_reads_or_that_has_no_room_is_no_success(folder):
    module = f"{sys.executable} -m disthead"

    def status(line: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=folder, timeout=200,
            capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return done.returncode, done.stderr

    found, said = status(f"{module} {' '.join(map(repr, FIT))} | head -c 100 > /dev/null")
    assert found == 141
    assert "Traceback" not in said
    found, said = status(f"{module} families | true")
    assert (found, said) == (141, "")
    found, said = status(f"PYTHONUNBUFFERED=1 {module} families | true")
    assert (found, said) == (141, "")
    found, said = status(f"{module} families > /dev/full")
    assert found == 2
    assert said.startswith("disthead: error: No space left on device")
    assert len(said.splitlines()) == 1
    assert status(f"{module} families >&- 2>&-")[0] == 0


def test_after_a_fork_one_thread_is_safe():
    """As docs/many_machines.md says of serving: with two threads the child of a process that has
    computed hangs.
    """
    if not hasattr(os, "fork"):
        return
    code = (
        "import os, torch; torch.set_num_threads(1); x = torch.randn(300, 300); x @ x; child = "
        "os.fork();"
        "child or (x @ x, os._exit(7)); print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "7"
