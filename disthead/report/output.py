"""One output of a stream: means of scores, the PIT and outliers of all rows, in one pass."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.distributions.base import CLASSES, Distribution
from disthead.metrics import CalibrationError, RowMean, Uniformity
from disthead.metrics import Score as ScoreMetric
from disthead.report import verdicts
from disthead.report.chance import BAND, Clusters
from disthead.report.checks import examine
from disthead.report.extremes import KEPT_ROWS, Extremes, limit
from disthead.report.findings import CENSORED, LINE, Findings, families_of
from disthead.report.pictures import PICTURES
from disthead.report.pit import PIT
from disthead.report.rows import Rows
from disthead.report.scores import COMPARED, LOG_SCORE, ROOT_SCORE, SCORES
from disthead.report.verdict import Score, Verdict, not_examined

__all__ = ["Output"]

LEVELS = torch.arange(1, 20, dtype=torch.float64) / 20
QUARTERS = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)

_GIVE_BASELINE = (
    "Give another forecast of the same rows, such as the fit without features: "
    "`evaluate(..., baseline=dist)`; `disthead evaluate` does so by itself."
)


class Output:
    """The statistics of one output, which are updated with one batch after another.

    Args:
        name: of the output; "" for whole vectors, and where there is one output.
        kind: of its target, as of `Findings`.
        unit: of the target.
        level: the probability of the intervals that verdicts are about.
        has_baseline: whether `update` gets a baseline.
        classes: names of the classes.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        unit: str,
        level: float,
        has_baseline: bool,
        classes: tuple[str, ...] = (),
    ):
        self.name, self.kind, self.unit, self.level, self.classes = name, kind, unit, level, classes
        self.rows = 0
        self.outputs: tuple[str, ...] = ()  # names of the coordinates of a vector
        self.no_marginals = ""  # the reason if a vector has none
        self.unanswered: dict[str, str] = {}
        self.means: dict[str, RowMean] = {}
        self.metrics: dict[str, ScoreMetric] = {}  # the score of one row
        self.units: dict[str, str] = {}
        for label, (metric, units, kinds) in SCORES.items():
            if kind in kinds:
                self.metrics[label], self.means[label] = metric(), RowMean()
                self.units[label] = unit if units == "y" else units
        self.pit = PIT() if kind in (*LINE, CENSORED) else None
        self.extremes = None if kind in ("vector", CENSORED) else Extremes()
        self.confidence = CalibrationError(norm=2, debiased=True) if kind in CLASSES else None
        self.has_baseline = has_baseline
        compared = [label for label in COMPARED if label in self.means] if has_baseline else []
        self.differences = {label: RowMean() for label in compared}
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
        """Adds the rows of a batch, with their clusters and numbers, each (N,)."""
        self.rows += len(y)
        for label in self.metrics:
            self._unless_unanswered(
                label, self._score_rows, label, dist, y, weight, cluster, baseline
            )
        if self.pit is not None:
            self._unless_unanswered("PIT", self._pit, dist, y, weight, cluster)
        if self.extremes is not None:
            self._unless_unanswered("outliers", self._extremes, dist, y, number)
        if self.confidence is not None:
            self._unless_unanswered("calibration error", self.confidence.update, dist, y, weight)

    def _unless_unanswered(self, label: str, update: Callable, *arguments: Any) -> None:
        if label in self.unanswered:
            return
        try:
            update(*arguments)
        except NotImplementedError as error:
            self.unanswered[label] = str(error)

    def _score_rows(
        self,
        label: str,
        dist: Distribution,
        y: Tensor,
        weight: Tensor | None,
        cluster: Tensor | None,
        baseline: Distribution | None,
    ) -> None:
        values = self.metrics[label].score(dist, y)
        self._mean(label, self.means[label], values, weight, cluster)
        if baseline is not None and label in self.differences:
            difference = values - self.metrics[label].score(baseline, y)
            self._mean(f"difference {label}", self.differences[label], difference, weight, cluster)

    def _mean(
        self,
        label: str,
        mean: RowMean,
        values: Tensor,
        weight: Tensor | None,
        cluster: Tensor | None,
    ) -> None:
        mean.update(values, weight)
        self._of_clusters(label, values, weight, cluster)

    def _pit(
        self, dist: Distribution, y: Tensor, weight: Tensor | None, cluster: Tensor | None
    ) -> None:
        assert self.pit is not None
        self.pit.update(dist, y, weight)
        if cluster is not None:
            below, upto = (end.reshape(-1, 1) for end in self.pit.last)
            # If the forecast is true, the share of each row's jump below a level has the level as
            # its mean.
            inside = ((QUARTERS - below) / (upto - below).clamp(min=1e-12)).clamp(0, 1)
            self._of_clusters("PIT", inside - QUARTERS, weight, cluster)

    def _extremes(self, dist: Distribution, y: Tensor, number: Tensor) -> None:
        assert self.extremes is not None
        if self.pit is not None and "PIT" not in self.unanswered:
            # Exact tails only of rows near either end, by the PIT that was just computed.
            below, upto = (end.reshape(-1) for end in self.pit.last)
            tail = torch.minimum(upto, 1 - below)
            near = tail.argsort(stable=True)[: max(KEPT_ROWS, int((tail < 1e-6).sum()))]
            dist, y, number = dist[near], y[near], number[near.cpu()]
        self.extremes.update(dist, y, number)

    def _of_clusters(
        self, label: str, values: Tensor, weight: Tensor | None, cluster: Tensor | None
    ) -> None:
        if cluster is not None:
            finite = torch.where(values.isfinite(), values, 0.0).reshape(len(values), -1)
            self.clusters.setdefault(label, Clusters()).add(finite, weight, cluster)

    @torch.no_grad()
    def findings(self, rows: Rows, baseline_name: str, generator: torch.Generator) -> Findings:
        """All findings, with a sample of the rows for those that need rows."""
        findings = Findings(
            self.name,
            self.kind,
            self.unit,
            self.level,
            self.classes,
            self.outputs,
            families_of(rows.dist),
            unanswered=self.unanswered,
            rows=self.rows,
        )
        for label, mean in self.means.items():
            if label not in self.unanswered:
                findings.scores[label] = self._score(label, label, mean)
        self._comparisons(findings, baseline_name)
        if self.kind == "continuous":
            for message in diagnostics.check_continuous_target(rows.y).messages:
                sentence = f"Log scores of densities say little about this target: it has {message}"
                findings.verdicts.append(Verdict("repeated values", "note", sentence))
        nll = findings.scores.get(LOG_SCORE)
        if nll and not nll.value < torch.inf:
            sentence = (
                "Outcomes occurred that the model holds to be impossible: its log score is "
                "infinite."
            )
            findings.verdicts.append(Verdict("impossible outcomes", "poor", sentence))
        if self.extremes is not None:
            findings.examine(("outliers",), self._outliers)
        if self.pit is not None:
            findings.examine(self._aspects(), self._calibration)
        if self.confidence is not None and "calibration error" not in self.unanswered:
            findings.scores["Calibration error of the predicted class (debiased)"] = Score(
                float(self.confidence.compute()), torch.nan
            )
        examine(findings, rows, generator)
        if self.no_marginals:
            findings.verdicts.append(not_examined("each output by itself", self.no_marginals))
        drawn = {picture.key for picture in PICTURES if picture.is_of(findings)}
        for place, verdict in enumerate(findings.verdicts):
            picture = verdict.picture if verdict.picture in drawn else ""
            findings.verdicts[place] = replace(verdict, output=self.name, picture=picture)
        return findings

    def _score(self, label: str, key: str, mean: RowMean) -> Score:
        value, error = float(mean.compute()), float(mean.standard_error())
        if key in self.clusters:
            error *= math.sqrt(self.clusters[key].variance_ratio())
        if key == ROOT_SCORE:
            value = math.sqrt(value)
            error = error / (2 * value) if value else 0.0
        return Score(value, error, self.units[label])

    def _comparisons(self, findings: Findings, baseline_name: str) -> None:
        if not self.has_baseline:
            findings.verdicts.append(
                not_examined("against a baseline", "no baseline was given", _GIVE_BASELINE)
            )
            return
        for label, paired in self.differences.items():
            if label in self.unanswered:
                aspect = f"against {baseline_name} by {_lower(label)}"
                findings.verdicts.append(not_examined(aspect, self.unanswered[label]))
                continue
            difference = self._score(label, f"difference {label}", paired)
            findings.scores[f"{label} minus that of {baseline_name}"] = difference
            own = self.means[label].compute().double()
            share = None if label == LOG_SCORE else float(1 - own / (own - paired.compute()))
            findings.verdicts.append(
                verdicts.comparison(
                    _lower(label), difference, share, baseline_name, findings.scores[label].value
                )
            )

    def _outliers(self, findings: Findings) -> None:
        if "outliers" in self.unanswered:
            raise NotImplementedError(self.unanswered["outliers"])
        assert self.extremes is not None
        if self.extremes.possible >= limit(self.rows):
            findings.verdicts.append(
                not_examined("outliers", "no outcome is so improbable that it would be one")
            )
            return
        outliers = self.extremes.outliers(self.rows)
        findings.show(self.rows, outliers=outliers)
        findings.verdicts.append(verdicts.outliers(outliers))

    def _aspects(self) -> list[str]:
        return [
            *(f"{100 * level:g} % intervals" for level in sorted({0.5, self.level})),
            "bias",
            "shape",
        ]

    def _calibration(self, findings: Findings) -> None:
        if "PIT" in self.unanswered:
            raise NotImplementedError(self.unanswered["PIT"])
        assert self.pit is not None
        pit, clusters = self.pit, self.clusters.get("PIT")
        pit.design_effect = clusters.design_effect() if clusters else 1.0
        count, uniformity = pit.effective_count(), pit.uniformity()
        assert isinstance(uniformity, Uniformity)
        findings.show(
            self.rows,
            pit=diagnostics.pit_band(pit.compute(), count, BAND),
            coverage=diagnostics.coverage_curve(LEVELS, pit.coverage(LEVELS), count, BAND),
            uniformity=uniformity,
        )
        for level in sorted({0.5, self.level}):
            observed = float(pit.coverage(torch.tensor([level], dtype=torch.float64)))
            findings.verdicts.append(verdicts.coverage(level, observed, count))
        above = 1 - float(pit.cumulative()[1000])
        findings.verdicts.append(verdicts.bias(above, count, self.kind == "direction"))
        findings.verdicts.append(
            verdicts.shape(
                uniformity.ks_statistic, uniformity.ks_p_value, uniformity.dispersion, count
            )
        )


def _lower(label: str) -> str:
    return label if label.startswith(("CRPS", "Brier")) else label[0].lower() + label[1:]
