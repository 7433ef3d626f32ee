"""One bad number in a table: a clear error that names it, a warning that names it, or predictions
and scores that it does not spoil.
"""

import contextlib
import io
import logging
import math
import random
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch

from disthead import DistributionRegressor, marginal
from disthead.training import DistributionModule, TabularDataModule

from .attack import Attack, Outcome, run_command, said_by_command, said_by_error

ROWS = 40
BAD = {
    "infinite": math.inf,
    "missing": math.nan,
    "largest of double precision": 1.7e308,
    "beyond single precision": 1e39,
    "beyond single precision, negative": -1e39,
    "a square beyond single precision": 1e20,
    "a million spreads": 1e6,
    "a thousand spreads": 1e3,
    "next to zero": 1e-200,
    "denormal": 1e-40,
    "a count beyond single precision": 2.0**24 + 1,
    "zero": 0.0,
    "negative": -1.0,
}
FAMILIES = {
    "normal": {}, "student_t": {}, "laplace": {},
    "mixture": {"component": "student_t", "num_components": 2},
    "gamma": {}, "log_normal": {}, "weibull": {},
    "poisson": {}, "negative_binomial": {}, "exponential": {},
}  # fmt: skip
COUNTS = ("poisson", "negative_binomial")  # the first takes an exposure
REAL = ("normal", "student_t", "laplace", "mixture")
WAYS = ("estimator", "module", "command")
KINDS = ("feature", "target", "weight", "exposure")
PARTS = ("train", "val", "everywhere")


@dataclass(frozen=True)
class Trial:
    """A table with a bad number, or a column of such numbers, and how a model is trained on it."""

    family: str
    kind: str
    part: str
    value: float
    row: int
    way: str

    @classmethod
    def draw(cls, number: int) -> "Trial":
        source = random.Random(number)
        family, kind, part = (
            source.choice(list(FAMILIES)),
            source.choice(KINDS),
            source.choice(PARTS),
        )
        if kind == "exposure" and family != COUNTS[0]:
            kind = "feature"
        way = source.choice(WAYS if kind != "exposure" else WAYS[1:])
        row = source.randrange(0, 30) if part == "train" else source.randrange(30, ROWS)
        return cls(family, kind, part, source.choice(list(BAD.values())), row, way)

    @property
    def column(self) -> str:
        return {"feature": "x1", "target": "y", "weight": "w", "exposure": "e"}[self.kind]

    def frame(self) -> pd.DataFrame:
        """Rows of which the first 30 are for training, with the number in its place; everywhere:
        times ordinary numbers.
        """
        source = np.random.default_rng(0)
        x = source.normal(size=(ROWS, 2))
        if self.family in REAL:
            y = x[:, 0] + 0.5 * source.normal(size=ROWS)
        elif self.family in COUNTS:
            y = source.poisson(np.exp(1 + 0.3 * x[:, 0])).astype(float)
        else:
            y = np.exp(0.5 * x[:, 0] + 0.3 * source.normal(size=ROWS))
        frame = pd.DataFrame(
            {"x0": x[:, 0], "x1": x[:, 1], "y": y, "part": ["train"] * 30 + ["val"] * 10}
        )
        if self.kind in ("weight", "exposure"):
            frame[self.column] = source.uniform(0.5, 2, ROWS)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.part == "everywhere":
                frame[self.column] = self.value * (
                    frame[self.column] if self.value not in (0, -1) else 1.0
                )
                if self.family in COUNTS and self.kind == "target" and math.isfinite(self.value):
                    frame[self.column] = frame[self.column].round()
            else:
                frame.loc[self.row, self.column] = self.value
        return frame


def attack(number: int, folder: Path) -> Outcome:
    trial = Trial.draw(number)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = {"estimator": by_estimator, "module": by_module, "command": by_command}[
            trial.way
        ](trial, folder)
    said = " ".join(str(warning.message) for warning in caught)
    is_named = repr(trial.column) in said or f"{trial.column} has" in said
    return Outcome.HARMLESS if outcome is Outcome.SILENT and is_named else outcome


def by_estimator(trial: Trial, folder: Path) -> Outcome:
    frame = trial.frame()
    x, y = frame[["x0", "x1"]], frame["y"]
    weight = frame["w"] if trial.kind == "weight" else None
    try:
        model = DistributionRegressor(
            trial.family, FAMILIES[trial.family], hidden_sizes=(16,), max_steps=50, random_state=0
        ).fit(x, y, weight)
        dist = model.predict_dist(x)
        score = model.score(x, y, weight)
    except Exception as error:
        return said_by_error(error, *_place(error))
    return judged(dist, -score, unconditional(trial, y, weight))


def by_module(trial: Trial, folder: Path) -> Outcome:
    known = {"e": "exposure"} if trial.kind == "exposure" else {}
    data = TabularDataModule(
        trial.frame(), target="y", split_column="part", batch_size=16, features=["x0", "x1"],
        known={"exposure": "e"} if known else None, weight="w" if trial.kind == "weight" else None,
    )  # fmt: skip
    module = DistributionModule(trial.family, FAMILIES[trial.family], hidden_sizes=[16])
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, num_sanity_val_steps=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            torch.manual_seed(0)
            trainer.fit(module, data)
        part = data.part("val")
        with torch.no_grad():
            dist = module.eval()(part.features, **part.known)
    except Exception as error:
        return said_by_error(error, trial.column, *_place(error))
    metrics = trainer.callback_metrics
    return judged(dist, float(metrics["val/nll"]), float(metrics["val/nll_marginal"]))


def by_command(trial: Trial, folder: Path) -> Outcome:
    table = folder / "table.csv"
    trial.frame().to_csv(table, index=False)
    options = [
        f"--model.family={trial.family}",
        f"--data.path={table}",
        "--data.target=y",
        "--data.split_column=part",
    ]
    for name, value in FAMILIES[trial.family].items():
        options.append(f"--model.family_options.{name}={value}")
    options += [
        "--data.features=[x0, x1]",
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--data.batch_size=16",
    ]
    options += [
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        "--model.hidden_sizes=[16]",
    ]
    options += [
        f"--trainer.default_root_dir={folder}",
        "--data.weight=w" * (trial.kind == "weight"),
    ]
    options += ["--data.known.exposure=e"] * (trial.kind == "exposure")
    status, printed = run_command("fit", *filter(None, options))
    if status:
        return said_by_command(status, printed, trial.column, *_place(printed))
    numbers = [
        word
        for line in printed.splitlines()
        if "best" in line and "val/nll" in line
        for word in line.split()
    ]
    scores = [float(word.strip(",.;:")) for word in numbers if _is_number(word.strip(",.;:"))]
    if f"{trial.column!r}" in printed:
        return Outcome.HARMLESS
    return Outcome.HARMLESS if scores and all(map(math.isfinite, scores)) else Outcome.SILENT


def _place(error: object) -> list[str]:
    """What an error has to name: the row, unless it says that it is all of them."""
    return [] if " all " in str(error) else ["row"]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def unconditional(trial: Trial, y: Any, weight: Any) -> float:
    target, w = (
        torch.as_tensor(y.to_numpy(float)),
        None if weight is None else torch.as_tensor(weight.to_numpy(float)),
    )
    dist = marginal(trial.family, target, weight=w, **FAMILIES[trial.family])
    values = -dist.log_prob(target)
    return float(values.mean() if w is None else (values * w).sum() / w.sum())


def judged(dist: Any, nll: float, baseline: float) -> Outcome:
    """Harmless are predictions that are finite, with a score at most a nat worse than without
    features.
    """
    parameters = [getattr(dist, name) for name in ("median",)] if hasattr(dist, "median") else []
    finite = all(bool(values.isfinite().all()) for values in parameters)
    return (
        Outcome.HARMLESS if finite and math.isfinite(nll) and nll < baseline + 1 else Outcome.SILENT
    )


ATTACKS = [Attack("one bad number in a table", 240, 6, attack)]
