"""`evaluate`: the quality of predicted distributions, in numbers, sentences and pictures."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from disthead.distributions.base import Distribution
from disthead.distributions.univariate import check_level
from disthead.files import check_folder, writing_folder
from disthead.progress import Progress
from disthead.report.findings import Findings
from disthead.report.inputs import Batch
from disthead.report.page import page
from disthead.report.pictures import drawn
from disthead.report.remedies import with_remedy
from disthead.report.result import Evaluation
from disthead.report.stream import Stream
from disthead.texts import file_names

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(
    dist: "Distribution | Iterable[tuple | Batch]",
    y: Any = None,
    *,
    weight: Any = None,
    features: Any = None,
    group: Any = None,
    groups: Any = None,
    baseline: Distribution | None = None,
    out: "str | Path | None" = None,
    title: str = "Evaluation",
    about: Mapping[str, str] | None = None,
    outputs: Sequence[str] = (),
    classes: Sequence[Any] = (),
    ignore_index: int | None = None,
    unit: str = "",
    level: float = 0.9,
    baseline_name: str = "the baseline",
    rows: int = 20_000,
    seed: int = 0,
) -> Evaluation:
    """Evaluates predicted distributions of any family.

    The result has scores with standard errors and verdicts in sentences, and may be written as a
    report.

    Scores, PIT and coverage use every row, in one pass and constant memory. What needs rows
    (reliability diagrams, groups, features, spread against error) uses a random sample of at most
    `rows` of them, and a picture at most 5,000. Targets, weights, groups and features may be
    tensors, arrays, columns of a table or lists.

    `group` and `groups` are different things. `group` examines whether the forecast is calibrated
    within each label (sex, region, machine). `groups`, scikit-learn's word, says that rows with the
    same label (a patient, a panel, copies of one row) are not independent. Every standard error,
    band and verdict then comes from whole clusters.

    Args:
        dist: a distribution with targets `y`; or an iterable of batches `(dist, y)` or `Batch`,
            then without `y`.
        y: targets of shape batch_shape + event_shape; of classes also their names, with `classes`.
        weight: the weight of each row, in everything; rows of weight 0 are left out, whatever their
            targets.
        features: a data frame, a mapping from names to values (N,), or a matrix (N, F); calibration
            is examined along each of them.
        group: a label for each row; calibration is examined within each of them.
        groups: a label for each row; rows that share one are a cluster, and standard errors allow
            for clusters.
        baseline: another distribution of the same targets to compare with, such as the
            unconditional model (no features) or an older model; with batch_shape () it serves all
            rows.
        out: a folder for report.html, metrics.json and the pictures; needs matplotlib.
        title: of the report.
        about: further entries of its head by name, such as `{"checkpoint": "best.ckpt"}`, beside
            the date. The next steps name this checkpoint, and advise other methods than this
            `"recalibration"`.
        outputs: names of several outputs.
        classes: names of the classes in their order, as `classes_` of a classifier.
        ignore_index: a class index, such as -100, whose rows are left out.
        unit: of y, for labels.
        level: the probability of the intervals that verdicts are about.
        baseline_name: the name of the baseline in sentences.
        rows: the size of the sample.
        seed: of the sample and of all simulations; the global random state does not change.

    Raises:
        ValueError: for shapes that do not fit, weights that are negative, infinite or NaN, no rows,
            or a folder that cannot be written.
        OSError: for a full disk; what was in the folder before is unchanged.
        TargetError: for targets that are NaN, infinite or outside the support.

    >>> from disthead import get_family
    >>> y = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    >>> dist = get_family("normal").distribution(loc=torch.zeros(4000), scale=1.0)
    >>> result = evaluate(dist, y)
    >>> sentences = {verdict.aspect: verdict.sentence for verdict in result.verdicts}
    >>> print(sentences["50 % intervals"])
    The 50 % intervals held 50.5 % of the outcomes (standard error 0.8 %): as promised.
    """
    if isinstance(dist, Distribution):
        if y is None:
            raise ValueError(
                "y, the targets, must be given with a distribution; an iterable of "
                "batches holds its own."
            )
        batches: Iterator[Batch] = iter([Batch(dist, y, features, group, baseline, weight, groups)])
    else:
        arguments = {
            "y": y,
            "features": features,
            "group": group,
            "weight": weight,
            "groups": groups,
        }
        wrong = [name for name, value in arguments.items() if value is not None]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)} belong into the batches: Batch(dist, y, {wrong[-1]}=...)."
            )
        batches = (_batch(item, baseline) for item in dist)
    check_level(level)
    if out is not None:
        check_folder(out, "the report")
    total = dist.batch_shape.numel() if isinstance(dist, Distribution) else None
    with Progress("evaluating", total) as progress:
        stream = Stream(
            level, tuple(outputs), tuple(classes), unit, ignore_index, rows, seed, progress
        )
        for batch in batches:
            stream.update(batch)
        progress.begin("examining a sample of the rows")
        findings = stream.findings(baseline_name)
        facts = {name: str(value) for name, value in (about or {}).items()}
        evaluation = Evaluation(
            title,
            stream.seen,
            tuple(part.name for part in findings),
            {part.name: part.scores for part in findings},
            tuple(
                with_remedy(verdict, part, facts) for part in findings for verdict in part.verdicts
            ),
            {part.name: part.numbers for part in findings},
            {part.name: part.unanswered for part in findings},
            {"date": f"{date.today()}"} | facts,
        )
        if out is not None:
            progress.begin("drawing the pictures")
            _write(evaluation, findings, Path(out))
    return evaluation


def _batch(item: "tuple | Batch", baseline: Distribution | None) -> Batch:
    batch = item if isinstance(item, Batch) else Batch(*item)
    return batch if batch.baseline is not None else batch._replace(baseline=baseline)


def _write(evaluation: Evaluation, findings: list[Findings], folder: Path) -> None:
    pictures = {part.name: drawn(part) for part in findings}
    every = [picture for own in pictures.values() for picture in own]
    names = file_names([picture.name for picture in every])
    files = {f"{name}.png": picture for name, picture in zip(names, every, strict=True)}
    contents = evaluation.to_dict() | {"pictures": list(files)}
    # A path may hold bytes that are not text; they are written as they are shown.
    options: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace"}
    before = _pictures_in(folder)
    with writing_folder(folder) as unfinished:  # from here on only a full disk is an error
        for name, picture in files.items():
            (unfinished / name).write_bytes(picture.png)
        (unfinished / "report.html").write_text(page(evaluation, pictures), **options)
        text = json.dumps(contents, indent=2, allow_nan=False, ensure_ascii=False)
        (unfinished / "metrics.json").write_text(f"{text}\n", **options)
    for name in before - set(files):  # pictures of the earlier report
        (folder / name).unlink(missing_ok=True)


def _pictures_in(folder: Path) -> set[str]:
    """The pictures of the report that a folder holds."""
    try:
        names = json.loads((folder / "metrics.json").read_text("utf-8"))["pictures"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {
        name
        for name in names
        if isinstance(name, str) and name == Path(name).name and name.endswith(".png")
    }
