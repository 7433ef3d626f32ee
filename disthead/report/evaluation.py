"""`evaluate`: how good a distribution's predictions are, in numbers, in sentences and in pictures."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disthead.diagnostics.rows import Reservoir, flatten
from disthead.errors import TargetError, locate
from disthead.families.distribution import Distribution
from disthead.report.findings import Findings, Output, kind_of
from disthead.report.verdict import Score, Verdict, summary

__all__ = ["Batch", "Evaluation", "evaluate"]

Features = Mapping[str, Tensor] | Tensor


class Batch(NamedTuple):
    """Some rows of a stream: a distribution, its targets, and what else is known of them; see `evaluate`."""

    dist: Distribution
    y: Tensor
    features: Features | None = None
    group: "Sequence | Tensor | None" = None
    baseline: Distribution | None = None


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        title: of the report.
        rows: how many were evaluated.
        outputs: names of the outputs, ("",) where there is one; "" is all of them together where there are several.
        scores: output -> name -> `Score`, a mean with its standard error.
        verdicts: a sentence for each aspect of each output.
        numbers: output -> name -> frozen dataclass of `disthead.diagnostics`, what the pictures show.
        unanswered: output -> question -> why the distribution has no answer to it.
        about: what a reader has to know of where it comes from, by name: checkpoint, part, date ...
    """

    title: str
    rows: int
    outputs: tuple[str, ...]
    scores: dict[str, dict[str, Score]]
    verdicts: tuple[Verdict, ...]
    numbers: dict[str, dict[str, Any]]
    unanswered: dict[str, dict[str, str]]
    about: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The faults by name, and how many checks found none, could not tell, and were not made, with the reasons.

        >>> poor, good = Verdict("bias", "poor", "..."), Verdict("shape", "good", "...")
        >>> Evaluation("", 9, ("",), {}, (poor, good), {}, {}).summary
        'A clear fault: bias. 2 checks: 1 found nothing, 1 found a clear fault.'
        """
        return summary(self.verdicts)

    def to_dict(self) -> dict:
        """Plain numbers and strings, as written to metrics.json; what is not finite is None."""
        return {
            "title": self.title,
            "about": self.about,
            "rows": self.rows,
            "summary": self.summary,
            "outputs": {
                name: {
                    "scores": {label: _plain(score) for label, score in self.scores[name].items()},
                    "coverage": _coverage(self.numbers[name].get("coverage")),
                    "pit": _pit(self.numbers[name]),
                    "verdicts": [
                        {
                            "aspect": v.aspect,
                            "status": v.status,
                            "sentence": v.sentence,
                            "remedy": v.remedy,
                            "picture": v.picture,
                            "looks": v.looks,
                        }
                        for v in self.verdicts
                        if v.output == name
                    ],
                    "unanswered": self.unanswered[name],
                }
                for name in self.outputs
            },
        }

    def __str__(self) -> str:
        lines = [f"{self.title}: {self.rows:,} rows. {self.summary}"]
        for verdict in self.verdicts:
            lines.append(f"  {verdict.output and verdict.output + ': '}{verdict.sentence}")
            if verdict.remedy and verdict.status in ("fair", "poor"):
                lines.append(f"    Next: {verdict.remedy}")
        return "\n".join(lines)


@torch.no_grad()
def evaluate(
    dist: "Distribution | Iterable[tuple | Batch]",
    y: Tensor | None = None,
    *,
    features: Features | None = None,
    group: "Sequence | Tensor | None" = None,
    baseline: Distribution | None = None,
    out: "str | Path | None" = None,
    title: str = "Evaluation",
    about: Mapping[str, str] | None = None,
    outputs: Sequence[str] = (),
    classes: Sequence[str] = (),
    unit: str = "",
    level: float = 0.9,
    baseline_name: str = "the baseline",
    rows: int = 20_000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate predictions of any family: scores with standard errors, verdicts in sentences, and a report.

    Scores, PIT and coverage use every row, in one pass and constant memory. What needs rows (reliability diagrams, groups,
    features, spread against error) uses a random sample of at most `rows` of them.

    Args:
        dist: a distribution with targets `y`; or an iterable of batches `(dist, y)` or `Batch`, then without `y`.
        y: targets of shape batch_shape + event_shape.
        features: name -> values (N,), or a tensor (N, F): calibration is examined along each of them.
        group: a label for each row: calibration is examined within each of them.
        baseline: another distribution of the same targets to compare with, such as the marginal fit or an older model;
            batch_shape () serves all rows.
        out: a folder for report.html, metrics.json and the pictures; needs matplotlib.
        title: of the report.
        about: what else its head says, by name, such as `{"checkpoint": "best.ckpt"}`; the date stands there anyway.
        outputs: names of several outputs.
        classes: names of the classes.
        unit: of y, for labels.
        level: of the intervals that verdicts are about.
        baseline_name: what to call it.
        rows: size of the sample.
        seed: of the sample and of everything that is simulated; the global random state is left alone.

    Raises:
        ValueError: for shapes that do not fit, or no rows.
        TargetError: for targets that are NaN or infinite.

    >>> from disthead import get_family
    >>> y = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    >>> dist = get_family("normal").distribution(loc=torch.zeros(4000), scale=1.0)
    >>> result = evaluate(dist, y)
    >>> print(result.verdicts[1].sentence)
    The 90 % intervals held 90.2 % of the outcomes (standard error 0.5 %): as promised.
    """
    if isinstance(dist, Distribution):
        if y is None:
            raise ValueError("y, the targets, must be given with a distribution; an iterable of batches holds its own.")
        batches: Iterator[Batch] = iter([Batch(dist, y, features, group, baseline)])
    else:
        if y is not None or features is not None or group is not None:
            raise ValueError("y, features and group belong into the batches: Batch(dist, y, features=..., group=...).")
        batches = (_batch(item, baseline) for item in dist)
    stream = _Stream(level, tuple(outputs), unit, rows, seed)
    for batch in batches:
        stream.update(batch)
    found = stream.findings(baseline_name)
    evaluation = Evaluation(
        title,
        stream.seen,
        tuple(part.name for part in found),
        {part.name: part.scores for part in found},
        tuple(verdict for part in found for verdict in part.verdicts),
        {part.name: part.numbers for part in found},
        {part.name: part.unanswered for part in found},
        {"date": f"{date.today()}"} | dict(about or {}),
    )
    if out is not None:
        _write(evaluation, found, Path(out), tuple(classes))
    return evaluation


def _batch(item: "tuple | Batch", baseline: Distribution | None) -> Batch:
    batch = item if isinstance(item, Batch) else Batch(*item)
    return batch if batch.baseline is not None else batch._replace(baseline=baseline)


class _Stream:
    """All outputs of a stream of batches."""

    def __init__(self, level: float, names: tuple[str, ...], unit: str, rows: int, seed: int):
        self.level, self.names, self.unit, self.seed = level, names, unit, seed
        self.parts: list[Output] = []
        self.labels: dict[Any, int] = {}
        self.feature_names: tuple[str, ...] = ()
        self.sample = Reservoir(rows, seed)

    @property
    def seen(self) -> int:
        return self.sample.seen

    def update(self, batch: Batch) -> None:
        dist, y = _aligned(batch.dist, batch.y)
        baseline = batch.baseline
        if baseline is not None:
            if baseline.event_shape != dist.event_shape:
                raise ValueError(
                    f"baseline must have the event shape {tuple(dist.event_shape)} of the distribution, "
                    f"got {tuple(baseline.event_shape)}."
                )
            if baseline.batch_shape != batch.dist.batch_shape:
                baseline = baseline.expand(batch.dist.batch_shape)
            baseline = flatten(baseline)
        columns = {"y": y}
        if batch.features is not None:
            columns["features"] = self._features(batch.features, len(y))
        if batch.group is not None:
            columns["group"] = self._groups(batch.group, len(y))
        if not self.parts:
            self._start(dist, baseline is not None)
        for part, own_dist, own_y, own_baseline in self._outputs(dist, y, baseline):
            part.update(own_dist, own_y, own_baseline)
        self.sample.add(dist, **columns)

    def _start(self, dist: Distribution, has_baseline: bool) -> None:
        kind = kind_of(dist)
        unit = "rad" if kind == "direction" and not self.unit else self.unit
        self.parts.append(Output("", kind, unit, self.level, has_baseline))
        if kind == "vector":
            size = dist.event_shape.numel()
            names = self.names if len(self.names) == size else tuple(f"output {k}" for k in range(size))
            self.parts[0].outputs = names
            for index, name in enumerate(names):
                one = _marginal(dist, index)
                self.parts.append(Output(name, kind_of(one), self.unit, self.level, has_baseline))

    def _outputs(self, dist: Distribution, y: Tensor, baseline: Distribution | None) -> Iterator[tuple]:
        yield self.parts[0], dist, y, baseline
        for index, part in enumerate(self.parts[1:]):
            other = None if baseline is None else _marginal(baseline, index)
            yield part, _marginal(dist, index), y.reshape(len(y), -1)[:, index], other

    def _features(self, features: Features, rows: int) -> Tensor:
        if isinstance(features, Tensor):
            table = features.reshape(rows, -1)
            names = tuple(f"feature {k}" for k in range(table.shape[1]))
        else:
            names = tuple(features)
            table = torch.stack([torch.as_tensor(values).reshape(-1).double() for values in features.values()], -1)
        if len(table) != rows:
            raise ValueError(f"features must have one value per row, {rows}, got {len(table)}.")
        self.feature_names = names
        return table

    def _groups(self, group: "Sequence | Tensor", rows: int) -> Tensor:
        values = group.reshape(-1).tolist() if isinstance(group, Tensor) else list(group)
        if len(values) != rows:
            raise ValueError(f"group must have one label per row, {rows}, got {len(values)}.")
        return torch.tensor([self.labels.setdefault(value, len(self.labels)) for value in values])

    def findings(self, baseline_name: str) -> list[Findings]:
        if not self.seen:
            raise ValueError("evaluate needs at least one row, got none.")
        generator = torch.Generator().manual_seed(self.seed)
        dist, y = self.sample.dist(), self.sample.column("y")
        features: dict[str, Tensor] = {}
        if self.feature_names:
            columns = self.sample.column("features")
            features = {name: columns[:, k] for k, name in enumerate(self.feature_names)}
        groups = None
        if self.labels:
            names = [str(label) for label in self.labels]
            groups = [names[k] for k in self.sample.column("group").tolist()]
        return [
            part.findings(own_dist, own_y, features, groups, baseline_name, generator)
            for part, own_dist, own_y, _ in self._outputs(dist, y, None)
        ]


def _aligned(dist: Distribution, y: Tensor) -> tuple[Distribution, Tensor]:
    """The rows of a batch as one dimension, checked."""
    expected = dist.batch_shape + dist.event_shape
    partial = hasattr(dist, "pairwise") and y.shape[:-1] == dist.batch_shape
    if y.shape != expected and not partial:
        hint = " Try y.squeeze(-1)." if y.shape == (*expected, 1) else ""
        raise ValueError(f"y must have the shape {tuple(expected)} of the distribution, got {tuple(y.shape)}.{hint}")
    if not dist.batch_shape:
        dist, y = dist.expand((1,)), y.unsqueeze(0)
    dims = len(dist.batch_shape)
    y = y.reshape(-1, *y.shape[dims:])
    if y.is_floating_point() and not y.isfinite().all():
        raise TargetError(
            f"y must be finite, got NaN or infinity in {locate(~y.isfinite(), y)}. Drop or impute these rows; "
            "nothing is dropped silently."
        )
    return flatten(dist), y


def _marginal(dist: Distribution, index: int) -> Distribution:
    each = dist.marginals
    shape = each.batch_shape[1:]
    return each[(slice(None), *(int(k) for k in torch.unravel_index(torch.tensor(index), shape)))]


def _write(evaluation: Evaluation, found: list[Findings], folder: Path, classes: tuple[str, ...]) -> None:
    from disthead.report.page import page
    from disthead.report.pictures import pictures

    folder.mkdir(parents=True, exist_ok=True)
    drawn = {part.name: pictures(part, classes) for part in found}
    for each in drawn.values():
        for picture in each:
            name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in picture.name)
            (folder / f"{name}.png").write_bytes(picture.png)
    (folder / "report.html").write_text(page(evaluation, drawn), "utf-8")
    text = json.dumps(evaluation.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)
    (folder / "metrics.json").write_text(text + "\n", "utf-8")


def _plain(score: Score) -> dict:
    return {"value": _finite(score.value), "standard_error": _finite(score.standard_error), "unit": score.unit}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _coverage(curve: Any) -> dict | None:
    if curve is None:
        return None
    return {f"{level:g}": rate for level, rate in zip(curve.level.tolist(), curve.coverage.tolist(), strict=True)}


def _pit(numbers: Mapping[str, Any]) -> dict | None:
    if "pit" not in numbers:
        return None
    uniformity = numbers["uniformity"]
    return {
        "frequency": numbers["pit"].frequency.tolist(),
        "mean": uniformity.mean,
        "dispersion": uniformity.dispersion,
        "ks_statistic": uniformity.ks_statistic,
        "ks_p_value": uniformity.ks_p_value,
    }
