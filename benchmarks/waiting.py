"""How long predictions, intervals, evaluations and `disthead predict` take: seconds on one thread,
beside the goals of issue 19.

    python -m benchmarks.waiting [--scale 1.0]

A regressor (student_t, 9 columns) of one network and of eight: the estimators' intervals, medians
and 19 quantiles of 100,000 rows, `disthead.evaluate` of 10,000 rows without and with every picture,
and `disthead predict` of 200,000 rows with its default quantiles into CSV and Parquet, less what
the same command takes for 100 rows. `--scale 0.1` takes a tenth of the rows and of the goals; it
then misses the goals of calls whose time does not depend on the number of rows, as that of
pictures. Times are the process's own, since the clock of a shared machine also counts the work of
others.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import disthead as dh
from disthead import DistributionRegressor

LEVELS = [k / 20 for k in range(1, 20)]


def _table(rows: int) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(rows, 8)), columns=list("abcdefgh"))
    frame["kind"] = generator.choice(["u", "v", "w"], rows)
    frame["y"] = 2 * frame["a"] + generator.normal(size=rows)
    return frame


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _show(what: str, rows: int, seconds: float, goal: float | None) -> None:
    text = "" if goal is None else f"{goal:.3g}"
    mark = "**" if goal is not None and seconds > goal else ""
    print(f"| {what} | {rows:,} | {mark}{seconds:.2f}{mark} | {text} |", flush=True)


def in_process(members: int, scale: float, folder: Path) -> None:
    """The rows of the table of one estimator."""
    several = members > 1
    rows, evaluated = int(100_000 * scale), int(10_000 * scale)
    frame = _table(rows)
    X, y = frame.drop(columns="y"), frame["y"].to_numpy()
    model = DistributionRegressor(ensemble=members, max_steps=200, random_state=0).fit(
        X[:3000], y[:3000]
    )
    name = f"{members} members" if several else "one model"
    model.predict_interval(X[:100])  # what the first call imports
    _show(
        f"predict_interval, {name}",
        rows,
        _seconds(lambda: model.predict_interval(X)),
        (10 if several else 1) * scale,
    )
    _show(f"predict, median, {name}", rows, _seconds(lambda: model.predict(X, kind="median")), None)
    some = rows // 10 if several else rows
    _show(
        f"19 quantiles, {name}",
        some,
        _seconds(lambda: model.predict_quantiles(X[:some], LEVELS)),
        None,
    )
    dist, features, target = (
        model.predict_dist(X[:evaluated]),
        X[:evaluated],
        torch.from_numpy(y[:evaluated]),
    )
    dh.evaluate(dist[:100], target[:100], out=folder / "first")
    for out, goal in ((None, 10 if several else 2), (folder / name, 30 if several else 10)):
        seconds = _seconds(partial(dh.evaluate, dist, target, features=features, out=out))
        _show(
            f"evaluate{'' if out is None else ' with pictures'}, {name}",
            evaluated,
            seconds,
            goal * scale,
        )


def command(scale: float, folder: Path) -> None:
    """The rows of the table of `disthead predict`."""
    rows = int(200_000 * scale)
    run = _runner(folder)
    _table(3000).to_csv(folder / "train.csv", index=False)
    for count, name in ((100, "few"), (rows, "many")):
        frame = _table(count)
        frame.to_csv(folder / f"{name}.csv", index=False)
        frame.to_parquet(folder / f"{name}.parquet")
    run(
        "fit",
        "--data.path=train.csv",
        "--data.target=y",
        "--model.family=student_t",
        "--trainer.max_epochs=1",
    )
    checkpoint = str(next(folder.rglob("best.ckpt")))
    for ending in ("csv", "parquet"):
        taken = [
            run(
                "predict",
                "--ckpt",
                checkpoint,
                f"--data.path={name}.{ending}",
                f"--out={name}_predicted.{ending}",
            )
            for name in ("few", "many")
        ]
        _show(f"disthead predict, {ending} to {ending}", rows, taken[1] - taken[0], rows / 50_000)


def _runner(folder: Path) -> Callable[..., float]:
    """A function that runs the command line in that folder and returns the process's seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}

    def run(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "disthead", *arguments, "--trainer.accelerator=cpu"],
            cwd=folder, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("| what | rows | seconds | goal |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for members in (1, 8):
            in_process(members, given.scale, Path(folder))
        command(given.scale, Path(folder))


if __name__ == "__main__":
    main()
