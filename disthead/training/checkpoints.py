"""The commands evaluate and recalibrate, which take a checkpoint and rows held out."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from disthead.arguments import Parser
from disthead.data.columns import Columns
from disthead.data.table import DataError
from disthead.errors import pick, unknown_name
from disthead.files import check_file, check_folder, writing
from disthead.objectives import caveat
from disthead.report import Batch, Evaluation, evaluate
from disthead.texts import quoted, shown
from disthead.training.data import TabularDataModule
from disthead.training.module import DistributionModule, read_checkpoint
from disthead.training.processes import process

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "TRAINED",
    "evaluate_checkpoint",
    "recalibrate_checkpoint",
    "run_evaluate",
    "run_recalibrate",
]

TRAINED = "as in training"  # stands for the column of weights, or of groups, of training


def evaluate_checkpoint(
    checkpoint: str,
    out: str | None = None,
    path: Any = None,
    *,
    part: str = "test",
    group: str | None = None,
    groups: str | None = TRAINED,
    weight: str | None = TRAINED,
    trust: str | Iterable[str] = (),
    **options: Any,
) -> Evaluation:
    """Evaluate a trained model on rows that it has not seen.

    The baseline is the unconditional model (no features), where the checkpoint has it.

    Args:
        checkpoint: of a `DistributionModule`.
        out: folder of the report; None writes none.
        path: a table, of which all rows are used; the `part` of the training table unless given.
        part: "test", "val" or "train"; the title of the report says where it is "train".
        group: a column whose values are groups, in each of which calibration is examined.
        groups: a column whose equal values mark rows that belong together, such as those of one
            patient: standard errors are clustered by them. The `groups` of training unless given;
            None takes all rows as independent.
        weight: the column of the weights of the rows; that of training unless given; None counts
            each row once.
        trust: names of packages, modules or classes of your own which the checkpoint may use
            (SECURITY.md).
        options: of `disthead.evaluate`, such as `unit` and `level`.

    Raises:
        ValueError: for a checkpoint or options that cannot be used.
        DataError: for a table that cannot be used.
    """
    level = options.get("level", 0.9)
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.9, got {level!r}.")
    if out is not None:
        check_folder(out, "the report", "--out")
    module, data, part = _load(checkpoint, path, part, weight, trust)
    is_new = path is not None and path != data.hparams.get("path")
    frame, groups = data.frame(part), _groups_column(data, part, groups)
    if group is not None:
        pick("column", group, frame)
    columns = module.columns or {}
    targets = Columns.from_state(columns).outputs if columns else []
    is_seen, about_objective = part == "train", caveat(module.objective)
    options = {
        "title": f"{module.hparams['family']} model of {', '.join(targets)}"
        + ", on rows that it has learned from" * is_seen,
        "outputs": targets if len(targets) > 1 else (),
        "classes": tuple(next(iter((columns.get("classes") or {}).values()), ())),
        "baseline_name": "the fit without features",
        "about": {"checkpoint": f"{checkpoint}", "table": f"{path or data.hparams['path']}"}
        | (
            {}
            if is_new
            else {"part": "train, which the model has learned from" if is_seen else part}
        )
        | (
            {}
            if module.recalibration is None
            else {"recalibration": type(module.recalibration).__name__}
        )
        | ({"objective": about_objective} if about_objective else {}),
    } | options
    if columns.get("unit") == "degrees":
        options["unit"] = (
            options.get("unit") or "radians"
        )  # the unit of the model and of all scores
    return evaluate(_batches(module, data, part, frame, group, groups), out=out, **options)


def _batches(
    module: DistributionModule,
    data: TabularDataModule,
    part: str,
    frame: "DataFrame",
    group: str | None,
    groups: str | None,
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
                {
                    name: batch["features"][:, k].double() + origin
                    for name, (k, origin) in numbers.items()
                }
                or None,
                None if group is None else frame[group].iloc[rows].tolist(),
                module.marginal(len(y), **known) if module.has_baseline else None,
                batch.get("weight"),
                None if groups is None else frame[groups].iloc[rows].tolist(),
            )


def _numbers(module: DistributionModule) -> dict[str, tuple[int, float]]:
    """The place and the origin of each feature that is a number; dates are in days."""
    if not module.columns:
        return {}
    columns = Columns.from_state(module.columns)
    numbers = [column for column in columns.features.values() if column.categories is None]
    return {
        column.name: (place, column.origin if column.kind == "number" else 0.0)
        for column, place in zip(numbers, columns.numeric, strict=True)
    }


def recalibrate_checkpoint(
    checkpoint: str,
    out: str,
    method: str = "ScaleCalibration",
    path: Any = None,
    *,
    part: str = "val",
    groups: str | None = TRAINED,
    weight: str | None = TRAINED,
    overwrite: bool = False,
    trust: str | Iterable[str] = (),
    **options: Any,
) -> DistributionModule:
    """Write a checkpoint with a recalibration that is learned from rows held out.

    Args:
        checkpoint: of a `DistributionModule`.
        out: the new checkpoint.
        method: a class of `disthead.calibration`.
        path: a table, of which all rows are used; the `part` of the training table unless given.
        part: "val" (early stopping has seen it, weights have not), or "test".
        groups: a column whose equal values mark rows that belong together, for conformal
            recalibrations; the `groups` of training unless given.
        weight: the column of the weights of the rows; that of training unless given; None counts
            each row once.
        overwrite: whether an existing file may be replaced.
        trust: names of packages, modules or classes of your own which the checkpoint may use
            (SECURITY.md).
        options: of the method, such as `levels`.

    Returns:
        The recalibrated module.

    Raises:
        ValueError: for an existing file, unless `overwrite`, and for a checkpoint or options that
            cannot be used.
        DataError: for a table that cannot be used.
    """
    from disthead import calibration

    methods = {
        name: getattr(calibration, name) for name in calibration.__all__ if name[0].isupper()
    }
    del methods["Recalibration"]
    recalibration = pick("recalibration", method, methods)(**options)
    _check_new(out, checkpoint, overwrite)
    if part not in ("val", "test"):
        raise ValueError(
            f"part must be val or test, got {part!r}: a recalibration learned from the rows of "
            "training would trust the model as much as it trusts itself."
        )
    module, data, part = _load(checkpoint, path, part, weight, trust)
    if "groups" not in inspect.signature(recalibration.fit).parameters:
        if groups not in (TRAINED, None):
            raise ValueError(
                f"{method} does not ask which rows belong together: leave out groups, {groups!r}."
            )
        groups = None
    rows, groups = data.part(part), _groups_column(data, part, groups)
    labels = None if groups is None else data.frame(part)[groups].tolist()
    module.recalibrate(
        recalibration, rows.features, rows.y, weight=rows.weight, groups=labels, **rows.known
    )
    contents = read_checkpoint(checkpoint)
    module.on_save_checkpoint(contents)
    contents["state_dict"] = module.state_dict()
    with writing(out) as unfinished:
        torch.save(contents, unfinished)
    return module


def _check_new(out: str, checkpoint: str, overwrite: bool) -> None:
    """Refuse to write over a file, or where none can be written, before anything is computed."""
    check_file(out, "the recalibrated checkpoint", "--out")
    path = Path(out)
    if path.suffix != ".ckpt":
        raise ValueError(f"--out must end in .ckpt, the ending of checkpoints, got {out!r}.")
    if path.exists() and not overwrite:
        what = (
            "the checkpoint that is recalibrated" if path.samefile(checkpoint) else "there already"
        )
        raise ValueError(
            f"--out {out} is {what}: choose another name, or write over it with --overwrite."
        )


def _load(
    checkpoint: str, path: Any, part: str, weight: str | None, trust: str | Iterable[str]
) -> tuple[DistributionModule, TabularDataModule, str]:
    """The model and its data, in which `path` is the part where it is another table."""
    pick("part of the table", part, dict.fromkeys(("test", "val", "train")))
    module = DistributionModule.load_from_checkpoint(checkpoint, trust=trust).eval()
    saved, options = read_checkpoint(checkpoint).get("datamodule_hyper_parameters", {}), {}
    if path is not None:
        is_new = path != saved.get("path")
        part = "test" if part == "train" and is_new else part
        options[f"{part}_path" if is_new else "path"] = path
    data = TabularDataModule.load_from_checkpoint(checkpoint, **options)
    data.dtype = next(module.parameters()).dtype
    if not options and all(
        data.hparams[name] is None for name in ("path", "dataset", f"{part}_path")
    ):
        raise ValueError(
            "this model was trained on rows that are in no file: give a table of your own "
            "(--data.path)."
        )
    if module.columns is not None:
        data.columns = Columns.from_state(module.columns)
        if weight != TRAINED:
            data.columns = replace(data.columns, weight=weight)
        _check_weight(data, part)
    return module, data, part


def _check_weight(data: TabularDataModule, part: str) -> None:
    assert data.columns is not None
    _check_column(data, part, data.columns.weight, "weight", "count each row once")


def _groups_column(data: TabularDataModule, part: str, groups: str | None) -> str | None:
    """The column of the rows that belong together."""
    groups = data.hparams.groups if groups == TRAINED else groups
    _check_column(data, part, groups, "groups", "take all rows for independent")
    return groups


def _check_column(
    data: TabularDataModule, part: str, name: str | None, option: str, otherwise: str
) -> None:
    if name is not None and name not in (known := data.column_names(part)):
        raise DataError(
            f"{unknown_name(f'column of the {option}', name, known)} Name another with --{option}, "
            f"or give --no-{option} to {otherwise}."
        )


def evaluate_parser() -> Parser:
    """The options of `disthead evaluate`."""
    parser = _parser("evaluate")
    parser.add_argument("--out", default="report")
    parser.add_argument("--part", default="test")
    parser.add_argument("--group")
    parser.add_argument("--unit", default="")
    parser.add_argument("--level", type=float, default=0.9)
    return parser


def recalibrate_parser() -> Parser:
    """The options of `disthead recalibrate`."""
    parser = _parser("recalibrate")
    parser.add_argument("--method", default="ScaleCalibration")
    parser.add_argument("--out", default="recalibrated.ckpt")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--part", default="val")
    return parser


def _parser(command: str) -> Parser:
    """The options of both commands; their pages of help are in `disthead.usage`."""
    parser = Parser(command)
    parser.add_argument("--ckpt_path", "--ckpt", dest="ckpt", required=True)
    parser.add_argument("--data.path", dest="path")
    parser.add_argument("--trust", default=())
    for name in ("weight", "groups"):
        column = parser.add_mutually_exclusive_group()
        column.add_argument(f"--{name}", default=TRAINED)
        column.add_argument(f"--no-{name}", dest=name, action="store_const", const=None)
    return parser


def _is_left_to_the_first(what: str) -> bool:
    """Whether another process does the work, the first one of several; then says so."""
    rank, world_size = process()
    if rank:
        print(f"process {rank} of {world_size}: the first one writes {shown(what)}")
    return rank > 0


def run_evaluate(arguments: Sequence[str]) -> None:
    """Print the verdicts on a trained model, and write its report."""
    options = evaluate_parser().parse_args(arguments[1:])
    if _is_left_to_the_first(f"the report in {options.out}"):
        return
    evaluation = evaluate_checkpoint(
        options.ckpt,
        options.out,
        options.path,
        part=options.part,
        group=options.group,
        groups=options.groups,
        weight=options.weight,
        trust=options.trust,
        unit=options.unit,
        level=options.level,
    )
    print(evaluation)
    if "objective" in evaluation.about:
        print(evaluation.about["objective"])
    print(f"written: {shown(Path(options.out, 'report.html'))}")


def run_recalibrate(arguments: Sequence[str]) -> None:
    """Write a checkpoint whose predictions are recalibrated on held-out rows."""
    options = recalibrate_parser().parse_args(arguments[1:])
    if _is_left_to_the_first(options.out):
        return
    module = recalibrate_checkpoint(
        options.ckpt,
        options.out,
        options.method,
        options.path,
        part=options.part,
        groups=options.groups,
        weight=options.weight,
        trust=options.trust,
        overwrite=options.overwrite,
    )
    print(
        f"recalibrated by {type(module.recalibration).__name__} on the rows of "
        f"{options.path or options.part!r}: {shown(options.out)}"
    )
    if caveat(module.objective):
        print(caveat(module.objective))
    print(f"next: disthead evaluate --ckpt {quoted(options.out)}")
