"""The commands evaluate and recalibrate: a checkpoint and held-out rows in, a report or a better checkpoint out."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from disthead.errors import pick
from disthead.report import Batch, Evaluation, evaluate
from disthead.training.columns import Columns
from disthead.training.data import TabularDataModule
from disthead.training.module import DistributionModule, read_checkpoint

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["evaluate_checkpoint", "recalibrate_checkpoint", "run_evaluate", "run_recalibrate"]


def evaluate_checkpoint(
    checkpoint: str,
    out: str | None = None,
    path: Any = None,
    *,
    part: str = "test",
    group: str | None = None,
    **options: Any,
) -> Evaluation:
    """Evaluate a trained model on rows that it has not seen; with the marginal fit as the baseline.

    Args:
        checkpoint: of a `DistributionModule`.
        out: folder of the report; None writes none.
        path: a table, of which all rows are used; else the `part` of the training table.
        part: "test", "val" or "train".
        group: a column whose values are groups, in each of which calibration is examined.
        options: of `disthead.evaluate`, such as `unit` and `level`.
    """
    module, data, part = _load(checkpoint, path, part)
    frame = data.frame(part)
    if group is not None:
        pick("column", group, dict.fromkeys(frame.columns))
    columns = module.columns or {}
    targets = list(columns.get("target", ()))
    options = {
        "title": f"{module.hparams['family']} model of {', '.join(targets)}",
        "outputs": targets if len(targets) > 1 else (),
        "classes": tuple(next(iter((columns.get("classes") or {}).values()), ())),
        "baseline_name": "the fit without features",
    } | options
    if columns.get("unit") == "degrees":
        options["unit"] = options.get("unit") or "radians"  # of the model, in which all scores are
    return evaluate(_batches(module, data, part, frame, group), out=out, **options)


def _batches(
    module: DistributionModule, data: TabularDataModule, part: str, frame: "DataFrame", group: str | None
) -> Iterator[Batch]:
    numbers = _numbers(module)
    start = 0
    with torch.no_grad():
        for batch in getattr(data, f"{part}_dataloader")():
            known, y = batch["known"], batch["y"]
            rows = slice(start, start + len(y))
            start += len(y)
            yield Batch(
                module.predictive(batch["features"], **known),
                y,
                {name: batch["features"][:, k].double() + origin for name, (k, origin) in numbers.items()} or None,
                None if group is None else frame[group].iloc[rows].tolist(),
                module.marginal(len(y), **known) if module.has_baseline else None,
            )


def _numbers(module: DistributionModule) -> dict[str, tuple[int, float]]:
    """The numbers among the features: where they are, and what is subtracted from them; dates and durations are in days."""
    if not module.columns:
        return {}
    columns = Columns.from_state(module.columns)
    found = [column for column in columns.features.values() if column.categories is None]
    return {
        column.name: (place, column.origin if column.kind == "number" else 0.0)
        for column, place in zip(found, columns.numeric, strict=True)
    }


def recalibrate_checkpoint(
    checkpoint: str, out: str, method: str = "ScaleCalibration", path: Any = None, *, part: str = "val", **options: Any
) -> DistributionModule:
    """Learn a recalibration from rows that the weights were not trained on, and write a checkpoint that has it.

    Args:
        checkpoint: of a `DistributionModule`.
        out: the new checkpoint.
        method: a class of `disthead.calibration`.
        path: a table, of which all rows are used; else the `part` of the training table.
        part: "val" (early stopping has seen it, weights have not), or "test".
        options: of the method, such as `levels`.
    """
    from disthead import calibration

    methods = {name: getattr(calibration, name) for name in calibration.__all__ if name[0].isupper()}
    del methods["Recalibration"]
    recalibration = pick("recalibration", method, methods)(**options)
    module, data, part = _load(checkpoint, path, part)
    rows = data.part(part)
    module.recalibrate(recalibration, rows.features, rows.y, **rows.known)
    contents = read_checkpoint(checkpoint)
    module.on_save_checkpoint(contents)
    contents["state_dict"] = module.state_dict()
    torch.save(contents, out)
    return module


def _load(checkpoint: str, path: Any, part: str) -> tuple[DistributionModule, TabularDataModule, str]:
    """The model and its data, with `path` as the part where it is another table."""
    pick("part of the table", part, dict.fromkeys(("test", "val", "train")))
    module = DistributionModule.load_from_checkpoint(checkpoint).eval()
    options = dict(read_checkpoint(checkpoint).get("datamodule_hyper_parameters", {}))
    if path is not None and path != options.get("path"):
        part = "test" if part == "train" else part
        options[f"{part}_path"] = path
    data = TabularDataModule(**options)
    if module.columns is not None:
        data.columns = Columns.from_state(module.columns)
    return module, data, part


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. See: {self.prog} --help")


def _parser(command: str, description: str) -> _Parser:
    parser = _Parser(f"disthead {command}", description=description)
    parser.add_argument("--ckpt_path", "--ckpt", required=True, metavar="FILE", help="checkpoint of a trained model")
    parser.add_argument("--data.path", dest="path", metavar="FILE", help="a table of held-out rows, CSV or Parquet")
    return parser


def run_evaluate(arguments: Sequence[str]) -> None:
    """Print the verdicts on a trained model, and write its report."""
    parser = _parser("evaluate", "Is the model honest? Verdicts, scores and pictures from held-out rows.")
    parser.add_argument("--out", default="report", metavar="FOLDER", help="for report.html, metrics.json and PNGs")
    parser.add_argument("--part", default="test", help="part of the training table, without --data.path: test, val")
    parser.add_argument("--group", metavar="COLUMN", help="examine calibration within each of its values")
    parser.add_argument("--unit", default="", help="of the target, for labels")
    parser.add_argument("--level", type=float, default=0.9, help="of the intervals that verdicts are about")
    given = parser.parse_args(arguments[1:])
    found = evaluate_checkpoint(
        given.ckpt_path, given.out, given.path, part=given.part, group=given.group, unit=given.unit, level=given.level
    )
    print(found)
    print(f"written: {Path(given.out, 'report.html')}")


def run_recalibrate(arguments: Sequence[str]) -> None:
    """Write a checkpoint whose predictions are recalibrated on held-out rows."""
    parser = _parser("recalibrate", "Correct a trained model's uncertainty on rows that it was not trained on.")
    parser.add_argument("--method", default="ScaleCalibration", help="a class of disthead.calibration")
    parser.add_argument("--out", default="recalibrated.ckpt", metavar="FILE", help="the new checkpoint")
    parser.add_argument("--part", default="val", help="part of the training table, without --data.path: val, test")
    given = parser.parse_args(arguments[1:])
    module = recalibrate_checkpoint(given.ckpt_path, given.out, given.method, given.path, part=given.part)
    print(f"recalibrated by {module.recalibration} on the rows of {given.path or given.part!r}: {given.out}")
    print(f"next: disthead evaluate --ckpt {given.out}")
