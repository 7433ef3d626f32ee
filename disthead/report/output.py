"""One output of a stream: means of scores, the PIT and the outliers of all rows, batch after batch."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.diagnostics.directions import circular_pit, is_direction
from disthead.families.distribution import Distribution
from disthead.metrics import (
    CRPS,
    Accuracy,
    BrierScore,
    CalibrationError,
    EnergyScore,
    KendallTau,
    MeanAbsoluteError,
    NegativeLogLikelihood,
    PITHistogram,
    RootMeanSquaredError,
    RowMean,
    Skill,
    TopKHitRate,
    Uniformity,
)
from disthead.metrics import Score as ScoreMetric
from disthead.report import verdicts
from disthead.report.chance import Clusters
from disthead.report.extremes import Extremes
from disthead.report.findings import Findings
from disthead.report.kinds import examine
from disthead.report.remedies import with_remedy
from disthead.report.rows import Rows
from disthead.report.verdict import Score, Verdict, not_examined

__all__ = ["Output"]

LEVELS = torch.arange(1, 20, dtype=torch.float64) / 20
CONFIDENCE = 0.99  # of the bands in pictures: the limit that verdicts have, all bars and levels together


class Output:
    """Collects what is said about one output, batch after batch."""

    def __init__(
        self, name: str, kind: str, unit: str, level: float, has_baseline: bool, classes: tuple[str, ...] = ()
    ):
        self.name, self.kind, self.unit, self.level, self.classes = name, kind, unit, level, classes
        self.rows, self.weight, self.square = 0, 0.0, 0.0
        self.outputs: tuple[str, ...] = ()  # names of the parts of a vector
        self.no_marginals = ""  # why it has none
        self.unanswered: dict[str, str] = {}
        self.means: dict[str, RowMean] = {}
        self.metrics: dict[str, ScoreMetric] = {}  # what one row scores
        self.units: dict[str, str] = {}
        for label, (make, units, kinds) in SCORES.items():
            if kind in kinds:
                self.metrics[label], self.means[label] = make(), RowMean()
                self.units[label] = unit if units == "y" else units
        self.pit = PIT() if kind in ("number", "count", "direction") else None
        self.extremes = None if kind == "vector" else Extremes()
        self.confidence = CalibrationError(norm=2, debiased=True) if kind in ("binary", "classes") else None
        self.has_baseline = has_baseline
        compared = [label for label in COMPARED if label in self.means] if has_baseline else []
        self.differences = {label: RowMean() for label in compared}
        self.skills = {label: Skill(self.metrics[label]) for label in compared if label != LOG_SCORE}
        self.clusters: dict[str, Clusters] = {}

    @torch.no_grad()
    def update(
        self,
        dist: Distribution,
        y: Tensor,
        weight: Tensor | None,
        cluster: Tensor | None,
        number: Tensor,
        baseline: Distribution | None,
    ) -> None:
        self.rows += len(y)
        self.weight += float(len(y) if weight is None else weight.double().sum())
        self.square += float(len(y) if weight is None else weight.double().square().sum())
        for label, metric in self.metrics.items():
            self._ask(label, self._mean, label, self.means[label], partial(metric.score, dist, y), weight, cluster)
        if self.pit is not None:
            self._ask("PIT", self._pit, dist, y, weight, cluster)
        if self.extremes is not None:
            self._ask("outliers", self.extremes.update, dist, y, number)
        if self.confidence is not None:
            self._ask("calibration error", self.confidence.update, dist, y, weight)
        if baseline is None:
            return
        for label, difference in self.differences.items():
            metric = self.metrics[label]

            def pairs(metric: ScoreMetric = metric) -> Tensor:
                return metric.score(dist, y) - metric.score(baseline, y)

            self._ask(label, self._mean, f"difference {label}", difference, pairs, weight, cluster)
        for label, skill in self.skills.items():
            self._ask(label, lambda skill=skill: skill.update(dist, y, weight, reference=baseline))

    def _ask(self, label: str, update: Callable, *arguments: Any) -> None:
        if label in self.unanswered:
            return
        try:
            update(*arguments)
        except NotImplementedError as error:
            self.unanswered[label] = str(error)

    def _mean(
        self, label: str, mean: RowMean, rows: Callable[[], Tensor], weight: Tensor | None, cluster: Tensor | None
    ) -> None:
        values = rows()
        mean.update(values, weight)
        self._of_clusters(label, values, weight, cluster)

    def _pit(self, dist: Distribution, y: Tensor, weight: Tensor | None, cluster: Tensor | None) -> None:
        assert self.pit is not None
        self.pit.update(dist, y, weight)
        if cluster is not None:
            below, upto = (end.reshape(-1, 1) for end in self.pit.last)
            # The share of each row's jump that is below the levels, whose mean is the level if the forecast is true.
            inside = ((QUARTERS - below) / (upto - below).clamp(min=1e-12)).clamp(0, 1)
            self._of_clusters("PIT", inside - QUARTERS, weight, cluster)

    def _of_clusters(self, label: str, values: Tensor, weight: Tensor | None, cluster: Tensor | None) -> None:
        if cluster is not None:
            finite = torch.where(values.isfinite(), values, 0.0).reshape(len(values), -1)
            self.clusters.setdefault(label, Clusters()).add(finite, weight, cluster)

    @property
    def count(self) -> float:
        """How many independent rows of equal weight are worth as much, for the PIT."""
        clusters = self.clusters.get("PIT")
        return self.weight**2 / self.square / (clusters.design_effect() if clusters else 1.0)

    @torch.no_grad()
    def findings(self, rows: Rows, baseline_name: str, generator: torch.Generator) -> Findings:
        """Everything, with a sample of the rows for what needs rows."""
        found = Findings(self.name, self.kind, self.unit, self.level, self.classes, unanswered=self.unanswered)
        for label, mean in self.means.items():
            if label not in self.unanswered:
                found.scores[label] = self._score(label, label, mean)
        self._comparisons(found, baseline_name)
        if self.kind == "number":
            for message in diagnostics.check_continuous_target(rows.y).messages:
                sentence = f"Log scores of densities say little about this target: it has {message}"
                found.verdicts.append(Verdict("repeated values", "note", sentence))
        nll = found.scores.get(LOG_SCORE)
        if nll and not nll.value < torch.inf:
            sentence = "Outcomes occurred that the model holds to be impossible: its log score is infinite."
            found.verdicts.append(Verdict("impossible outcomes", "poor", sentence))
        if self.extremes is not None:
            found.examine(("outliers",), self._outliers)
        if self.pit is not None:
            found.examine(self._aspects(), self._calibration)
        if self.confidence is not None and "calibration error" not in self.unanswered:
            found.scores["Calibration error of the predicted class (debiased)"] = Score(
                float(self.confidence.compute()), torch.nan
            )
        examine(found, rows, generator, self.outputs)
        if self.no_marginals:
            found.verdicts.append(not_examined("each output by itself", self.no_marginals))
        found.verdicts = [with_remedy(replace(verdict, output=self.name), self.kind) for verdict in found.verdicts]
        return found

    def _score(self, label: str, key: str, mean: RowMean) -> Score:
        value, error = float(mean.compute()), float(mean.standard_error())
        if key in self.clusters:
            error *= math.sqrt(self.clusters[key].variance_ratio())
        if key == ROOT_SCORE:
            value = math.sqrt(value)
            error = error / (2 * value) if value else 0.0
        return Score(value, error, self.units[label])

    def _comparisons(self, found: Findings, baseline_name: str) -> None:
        if not self.has_baseline:
            found.verdicts.append(not_examined("against a baseline", "no baseline was given"))
            return
        for label, paired in self.differences.items():
            if label in self.unanswered:
                aspect = f"against {baseline_name} by {_lower(label)}"
                found.verdicts.append(not_examined(aspect, self.unanswered[label]))
                continue
            difference = self._score(label, f"difference {label}", paired)
            found.scores[f"{label} minus that of {baseline_name}"] = difference
            share = float(self.skills[label].compute()) if label in self.skills else None
            found.verdicts.append(verdicts.comparison(_lower(label), difference, share, baseline_name))

    def _outliers(self, found: Findings) -> None:
        if "outliers" in self.unanswered:
            raise NotImplementedError(self.unanswered["outliers"])
        assert self.extremes is not None
        found.numbers["outliers"] = self.extremes.outliers(self.rows)
        found.verdicts.append(verdicts.outliers(found.numbers["outliers"]))

    def _aspects(self) -> list[str]:
        return [*(f"{100 * level:g} % intervals" for level in sorted({0.5, self.level})), "bias", "shape"]

    def _calibration(self, found: Findings) -> None:
        if "PIT" in self.unanswered:
            raise NotImplementedError(self.unanswered["PIT"])
        assert self.pit is not None
        count, pit = self.count, self.pit
        pit.rows = torch.tensor(count, dtype=torch.float64)  # of independent ones, for p-values
        uniformity = pit.uniformity()
        assert isinstance(uniformity, Uniformity)
        found.numbers["pit"] = diagnostics.pit_band(pit.compute(), count, CONFIDENCE)
        found.numbers["coverage"] = diagnostics.coverage_curve(LEVELS, pit.coverage(LEVELS), count, CONFIDENCE)
        for level in sorted({0.5, self.level}):
            observed = float(pit.coverage(torch.tensor([level], dtype=torch.float64)))
            found.verdicts.append(verdicts.coverage(level, observed, count))
        above = 1 - float(pit.cumulative()[1000])
        found.verdicts.append(verdicts.bias(above, count, self.kind == "direction"))
        found.verdicts.append(
            verdicts.shape(uniformity.ks_statistic, uniformity.ks_p_value, uniformity.dispersion, count)
        )
        found.numbers["uniformity"] = uniformity


class PIT(PITHistogram):
    """The histogram of the PIT, of directions of any kind too, that remembers the last batch."""

    last: tuple[Tensor, Tensor]

    def _jump(self, dist: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
        if is_direction(dist):
            u = circular_pit(dist, y)
            self.last = (u, u)
        else:
            self.last = super()._jump(dist, y)
        return self.last

    def coverage(self, levels: Tensor) -> Tensor:
        """Shares of the central intervals, exact for levels that are multiples of 0.001, else linear between those."""
        cumulative = self.cumulative().cpu()
        return _between(cumulative, 1000 * (1 + levels)) - _between(cumulative, 1000 * (1 - levels))


def _between(cumulative: Tensor, place: Tensor) -> Tensor:
    place = torch.where((place - place.round()).abs() < 1e-6, place.round(), place)
    lower = place.floor().long().clamp(max=len(cumulative) - 2)
    return torch.lerp(cumulative[lower], cumulative[lower + 1], place - lower)


def _lower(label: str) -> str:
    return label if label.startswith("CRPS") else label[0].lower() + label[1:]


QUARTERS = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
LOG_SCORE = "Negative log-likelihood"
ROOT_SCORE = "Root mean squared error of the mean"
COMPARED = (LOG_SCORE, "CRPS", "Energy score", "Brier score")
# label -> metric, unit ("y" for that of the target), the kinds of target it is for
SCORES: dict[str, tuple[Callable[[], ScoreMetric], str, tuple[str, ...]]] = {
    LOG_SCORE: (
        NegativeLogLikelihood,
        "nats",
        ("number", "count", "direction", "binary", "classes", "ranking", "vector"),
    ),
    "CRPS": (CRPS, "y", ("number", "count", "direction")),
    "Energy score": (EnergyScore, "y", ("vector",)),
    "Mean absolute error of the median": (MeanAbsoluteError, "y", ("number", "count", "direction")),
    ROOT_SCORE: (RootMeanSquaredError, "y", ("number", "count", "direction")),
    "Brier score": (BrierScore, "", ("binary", "classes")),
    "Accuracy": (Accuracy, "", ("binary", "classes")),
    "Kendall's tau": (KendallTau, "", ("ranking",)),
    "First place right": (lambda: TopKHitRate(1), "", ("ranking",)),
}
