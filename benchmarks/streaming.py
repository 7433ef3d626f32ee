"""Does memory grow with the rows? Training and prediction on Parquet files, from a million rows to
ten.

    python -m benchmarks.streaming [--rows 1000000 2000000 5000000 10000000]

Rows with ten features are simulated into Parquet files of half a million rows, in row groups of
100,000, in a temporary folder (some 65 MB for a million rows). For each number of rows a process of
its own reads their statistics and trains a network (MLP 1x50, normal head, batches of 4096) for one
epoch, with one row group for validation; another writes the predictions of all rows. Memory is the
high-water mark of its resident set (VmHWM, which Linux alone has) over what it held with the
libraries loaded and a table of a few rows trained. Rows a second are by the clock, statistics and
validation included, with one thread of torch. Prints Markdown.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import torch

from benchmarks.scale import _resident
from disthead.training import DistributionModule, TabularDataModule
from disthead.training.writing import predict_files

FEATURES, FILE, ROW_GROUP = 10, 500_000, 100_000


def simulate(rows: int, seed: int) -> arrow.Table:
    """Ten features and a target whose mean and spread depend on them."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, FEATURES), dtype=np.float32)
    noise = generator.standard_normal(rows, dtype=np.float32)
    y = x[:, 0] + np.sin(2 * x[:, 1]) + 0.3 * np.exp(0.5 * x[:, 2]) * noise
    return arrow.table({f"x{k}": x[:, k] for k in range(FEATURES)} | {"y": y})


def write(folder: Path, rows: int) -> None:
    """The files of so many rows; those that are there already stay."""
    folder.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, rows, FILE)):
        file, size = folder / f"{number:05d}.parquet", min(FILE, rows - start)
        if not file.exists() or parquet.read_metadata(file).num_rows != size:
            parquet.write_table(simulate(size, number), file, row_group_size=ROW_GROUP)


def fit(path: Path, checkpoint: Path) -> None:
    """Train for one epoch."""
    data = TabularDataModule(path, target="y", batch_size=4096, val_size=1, test_size=0)
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.003}}
    module = DistributionModule("normal", hidden_sizes=[50], optimizer=optimizer)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, default_root_dir=checkpoint.parent,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, data)
    trainer.save_checkpoint(checkpoint)


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """MiB at the high-water mark, over what was there before, and seconds."""
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    start = time.perf_counter()
    work()
    return _resident("VmHWM") - before, time.perf_counter() - start


def report(task: str, folder: Path) -> tuple[float, float]:
    """Memory and seconds of a task, "fit" or "predict", for a process that does nothing else."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        few, checkpoint = Path(scratch, "few"), Path(scratch, "model.ckpt")
        few.mkdir()
        parquet.write_table(simulate(2000, 0), few / "0.parquet", row_group_size=100)
        fit(few, checkpoint)
        predict_files(checkpoint, few, Path(scratch, "warm"))
        if task == "fit":
            return measure(lambda: fit(folder, checkpoint))
        return measure(lambda: predict_files(checkpoint, folder, Path(scratch, "out")))


def of_process(task: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.streaming", "--measure", task, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    memory, seconds = json.loads(done.stdout)
    return memory, seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = [1_000_000, 2_000_000, 5_000_000, 10_000_000]
    parser.add_argument("--rows", type=int, nargs="+", default=sizes, help="numbers of rows")
    # what the processes are called with
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(report(arguments.measure[0], Path(arguments.measure[1]))))
        return
    print(
        "| rows | MiB of files | fit: MiB | fit: rows a second | predict: MiB | predict: rows a "
        "second |"
    )
    print("|---" * 6 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in sorted(arguments.rows):
            files = Path(folder, "rows")
            write(files, rows)
            size = sum(file.stat().st_size for file in files.iterdir()) / 2**20
            line = [f"{rows:,}", f"{size:.0f}"]
            for task in ("fit", "predict"):
                memory, seconds = of_process(task, files)
                line += [f"{memory:.0f}", f"{rows / seconds:,.0f}"]
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
