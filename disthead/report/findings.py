"""What is found out about one output: figures in one pass over all rows, numbers for pictures from a sample of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.diagnostics.worm import feature_bins
from disthead.families.distribution import Distribution
from disthead.families.vector import draw
from disthead.metrics import (
    CRPS,
    Accuracy,
    BrierScore,
    CalibrationError,
    EnergyScore,
    KendallTau,
    MeanAbsoluteError,
    NegativeLogLikelihood,
    PairedDifference,
    PITHistogram,
    RootMeanSquaredError,
    Skill,
    SpreadSkill,
    TopKHitRate,
    Uniformity,
)
from disthead.metrics import (
    Score as ScoreMetric,
)
from disthead.report import verdicts
from disthead.report.verdict import Score, Verdict

__all__ = ["Findings", "Output", "kind_of"]

LEVELS = torch.arange(1, 20, dtype=torch.float64) / 20
CORP_ROWS = 2000  # the resampling of quantile reliability takes a second or two for so many
GROUP_ROWS = 30  # fewer say nothing about a group


def kind_of(dist: Distribution) -> str:
    """What its target is: "ranking", "binary", "classes", "vector", "direction", "count" or "number"."""
    if hasattr(dist, "pairwise"):
        return "ranking"
    if dist.event_shape:
        return "vector"
    if hasattr(dist, "expected_cost"):
        return "classes" if hasattr(dist, "num_classes") else "binary"
    support: Any = dist.support
    if getattr(support, "is_circular", False):
        return "direction"
    return "count" if support.is_discrete else "number"


@dataclass
class Findings:
    """The figures, verdicts and numbers of one output."""

    name: str
    kind: str
    unit: str
    scores: dict[str, Score] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)


class Output:
    """Collects what is said about one output, batch after batch."""

    def __init__(self, name: str, kind: str, unit: str, level: float, has_baseline: bool):
        self.name, self.kind, self.unit, self.level = name, kind, unit, level
        self.count = 0
        self.outputs: tuple[str, ...] = ()  # names of the parts of a vector
        self.unanswered: dict[str, str] = {}
        self.means: dict[str, ScoreMetric] = {}
        self.units: dict[str, str] = {}
        for label, (make, units, kinds) in SCORES.items():
            if kind in kinds:
                self.means[label], self.units[label] = make(), unit if units == "y" else units
        is_number = kind in ("number", "count", "direction")
        self.pit = PITHistogram() if is_number else None
        self.spread = SpreadSkill() if is_number else None
        self.confidence = CalibrationError(norm=2, debiased=True) if kind in ("binary", "classes") else None
        compared = [label for label in COMPARED if label in self.means] if has_baseline else []
        self.differences = {label: PairedDifference(self.means[label]) for label in compared}
        self.skills = {label: Skill(self.means[label]) for label in compared if label != LOG_SCORE}

    @torch.no_grad()
    def update(self, dist: Distribution, y: Tensor, baseline: Distribution | None) -> None:
        self.count += len(y)
        metrics = self.means | {"PIT": self.pit, "spread": self.spread, "calibration error": self.confidence}
        for label, metric in metrics.items():
            if metric is not None:
                self._ask(label, metric.update, dist, y)
        if baseline is not None:
            for label, difference in self.differences.items():
                self._ask(label, difference.update, dist, baseline, y)
            for label, skill in self.skills.items():
                self._ask(label, lambda skill=skill: skill.update(dist, y, reference=baseline))

    def _ask(self, label: str, update: Callable, *arguments) -> None:
        if label in self.unanswered:
            return
        try:
            update(*arguments)
        except NotImplementedError as error:
            self.unanswered[label] = str(error)

    @torch.no_grad()
    def findings(
        self,
        dist: Distribution,
        y: Tensor,
        features: Mapping[str, Tensor],
        groups: Sequence[str] | None,
        baseline_name: str,
        generator: torch.Generator,
    ) -> Findings:
        """Everything, with a sample of the rows for what needs rows."""
        found = Findings(self.name, self.kind, self.unit, unanswered=self.unanswered)
        for label, mean in self.means.items():
            if label not in self.unanswered:
                found.scores[label] = self._score(label, mean)
        for label, paired in self.differences.items():
            if label not in self.unanswered:
                difference = found.scores[f"{label} minus that of {baseline_name}"] = self._score(label, paired)
                share = float(self.skills[label].compute()) if label in self.skills else None
                found.verdicts.append(verdicts.comparison(_lower(label), difference, share, baseline_name))
        if self.kind == "number":
            for message in diagnostics.check_continuous_target(y).messages:
                sentence = f"Log scores of densities say little about this target: {message}"
                found.verdicts.append(Verdict("repeated values", "note", sentence))
        nll = found.scores.get(LOG_SCORE)
        if nll and not nll.value < torch.inf:
            sentence = "Outcomes occurred that the model holds to be impossible: its log score is infinite."
            found.verdicts.append(Verdict("impossible outcomes", "poor", sentence))
        if self.pit is not None and "PIT" not in self.unanswered:
            self._calibration(found)
            self._rows_of_numbers(found, dist, y, features, groups, generator)
        elif self.kind in ("classes", "binary"):
            self._classes(found, dist, y, generator)
        elif self.kind == "ranking":
            self._ranking(found, dist, y, generator)
        elif self.kind == "vector":
            self._joint(found, dist, y, generator)
        found.verdicts = [Verdict(v.aspect, v.status, v.sentence, self.name) for v in found.verdicts]
        return found

    def _score(self, label: str, metric: Any) -> Score:
        return Score(float(metric.compute()), float(metric.standard_error()), self.units[label])

    def _calibration(self, found: Findings) -> None:
        assert self.pit is not None
        count, uniformity = self.count, _uniformity(self.pit)
        found.numbers["pit"] = diagnostics.pit_band(self.pit.compute(), count)
        found.numbers["coverage"] = diagnostics.coverage_curve(LEVELS, _coverage(self.pit, LEVELS), count)
        for level in sorted({0.5, self.level}):
            observed = float(_coverage(self.pit, torch.tensor([level], dtype=torch.float64)))
            found.verdicts.append(verdicts.coverage(level, observed, count))
        above = 1 - float(self.pit.cumulative()[1000])
        found.verdicts.append(verdicts.bias(above, count, self.kind == "direction"))
        found.verdicts.append(
            verdicts.shape(uniformity.ks_statistic, uniformity.ks_p_value, uniformity.dispersion, count)
        )
        found.numbers["uniformity"] = uniformity
        if self.spread is not None and "spread" not in self.unanswered:
            self.spread.bins = max(1, min(10, count // 50))  # fewer rows do not show how far their mean square strays
            # torchmetrics makes a number of a single bin
            bins = {name: values.reshape(-1) for name, values in self.spread.compute().items()}
            found.numbers["spread_skill"] = diagnostics.SpreadSkill(**bins)
            found.verdicts.append(verdicts.honest_spread(found.numbers["spread_skill"]))

    def _rows_of_numbers(
        self,
        found: Findings,
        dist: Distribution,
        y: Tensor,
        features: Mapping[str, Tensor],
        groups: Sequence[str] | None,
        generator: torch.Generator,
    ) -> None:
        is_direction = self.kind == "direction"

        def widths() -> None:
            found.numbers["sharpness"] = diagnostics.sharpness(dist, y, self.level)
            found.verdicts.append(verdicts.sharp(found.numbers["sharpness"], self.unit))

        def order() -> None:
            error = _angle(dist.mean - y) if is_direction else dist.mean - y
            found.numbers["sparsification"] = diagnostics.sparsification(error.abs(), dist.stddev)
            found.verdicts.append(verdicts.informative(found.numbers["sparsification"]))

        def rows() -> None:
            some = torch.randperm(len(y), generator=generator)[:60]
            found.numbers["rows"] = (dist[some], y[some])

        def corp() -> None:
            some = torch.randperm(len(y), generator=generator)[:CORP_ROWS]
            threshold = float(y.double().quantile(0.75))
            found.numbers["exceedance"] = diagnostics.exceedance_reliability(
                dist[some], y[some], threshold, generator, resamples=199
            )
            found.numbers["threshold"] = threshold
            found.verdicts.append(
                verdicts.probabilities(
                    found.numbers["exceedance"],
                    f"the probability to exceed {threshold:.4g}{self.unit and ' ' + self.unit}",
                )
            )
            if self.kind == "number":
                q = (1 + self.level) / 2
                found.numbers["quantile"] = diagnostics.quantile_reliability(dist[some], y[some], q, 120, generator)

        # A circle has neither an end to exceed nor a first and a last row.
        asked = [widths, order] if is_direction else [widths, order, rows, corp]
        for ask in asked:
            self._ask(ask.__name__, ask)
        if self.kind == "count":
            found.numbers["rootogram"] = diagnostics.rootogram(dist, y)
        if is_direction:
            found.numbers["rose"] = diagnostics.rose(dist, y)
        found.numbers["worm"] = diagnostics.worm(dist, y, generator)
        self._conditional(found, dist, y, features, groups, generator)

    def _conditional(
        self,
        found: Findings,
        dist: Distribution,
        y: Tensor,
        features: Mapping[str, Tensor],
        groups: Sequence[str] | None,
        generator: torch.Generator,
    ) -> None:
        u = dist.pit(y, generator=generator).double()
        inside, above = ((2 * u - 1).abs() <= self.level).double(), (u > 0.5).double()
        if groups is not None:
            labels = sorted(set(groups))
            index = {label: torch.tensor([k for k, g in enumerate(groups) if g == label]) for label in labels}
            rates = _rates(index, inside)
            if rates:
                found.numbers["groups"] = rates
                found.verdicts.append(verdicts.by_group(rates, self.level, "group"))
                found.verdicts.append(verdicts.bias_by_group(_rates(index, above), "group"))
        bins = {name: dict(feature_bins(x, 4, name)) for name, x in features.items()}
        by_feature = {name: rates for name, index in bins.items() if (rates := _rates(index, inside))}
        if by_feature:
            every = {label: rows for index in bins.values() for label, rows in index.items()}
            found.verdicts.append(verdicts.by_group(_rates(every, inside), self.level, "feature"))
            found.verdicts.append(verdicts.bias_by_group(_rates(every, above), "feature"))

            def distance(name: str) -> float:
                return max(abs(rate - self.level) * rows**0.5 for rate, rows in by_feature[name].values())

            worst = max(by_feature, key=distance)
            found.numbers["feature"] = (worst, by_feature[worst])
            found.numbers["worms"] = diagnostics.worms(dist, y, features[worst], name=worst)
            found.numbers["features"] = features

    def _classes(self, found: Findings, dist: Distribution, y: Tensor, generator: torch.Generator) -> None:
        probs = dist.probs
        if self.kind == "binary":
            found.numbers["reliability"] = diagnostics.reliability(probs, y, resamples=199, generator=generator)
            found.verdicts.append(verdicts.probabilities(found.numbers["reliability"], "the probability of a 1"))
            probs = torch.stack([1 - probs, probs], -1)
        top = probs.max(-1)
        hit = (top.indices == y).double()
        if self.kind == "classes":
            found.numbers["reliability"] = diagnostics.reliability(top.values, hit, resamples=199, generator=generator)
            found.verdicts.append(
                verdicts.probabilities(found.numbers["reliability"], "the probability of the predicted class")
            )
        gap = top.values.double() - hit
        error = float(gap.std(correction=0) / max(len(gap), 1) ** 0.5)
        found.verdicts.append(
            verdicts.confidence(float(top.values.mean()), float(hit.mean()), error, "The most probable class")
        )
        if self.confidence is not None and "calibration error" not in self.unanswered:
            found.scores["Calibration error of the predicted class (debiased)"] = Score(
                float(self.confidence.compute()), torch.nan
            )
        found.numbers["confusion"] = diagnostics.confusion(probs, y)

    def _ranking(self, found: Findings, dist: Distribution, y: Tensor, generator: torch.Generator) -> None:
        some = torch.randperm(len(y), generator=generator)[: max(1, CORP_ROWS // dist.event_shape[0])]
        dist, first = dist[some], y[some, 0].long()
        items = torch.arange(dist.event_shape[0])
        drawn = draw(dist, 199, generator)[..., :1]
        found.numbers["reliability"] = diagnostics.reliability(
            dist.top1.reshape(-1),
            (first.unsqueeze(-1) == items).double().reshape(-1),
            simulated=(drawn == items).double().flatten(1),
        )
        found.verdicts.append(verdicts.probabilities(found.numbers["reliability"], "the probability to come first"))
        top = dist.top1.max(-1)
        hit = (top.indices == first).double()
        gap = top.values.double() - hit
        error = float(gap.std(correction=0) / max(len(gap), 1) ** 0.5)
        found.verdicts.append(verdicts.confidence(float(top.values.mean()), float(hit.mean()), error, "The favourite"))

    def _joint(self, found: Findings, dist: Distribution, y: Tensor, generator: torch.Generator) -> None:
        self._ask("dependence", self._dependence, found, dist, y, generator)
        pit = PITHistogram(joint=True)
        some = torch.randperm(len(y), generator=generator)[:CORP_ROWS]
        self._ask("joint PIT", pit.update, dist[some], y[some])
        if "joint PIT" in self.unanswered:
            return
        uniformity = _uniformity(pit)
        found.numbers["joint"] = diagnostics.pit_band(pit.compute(), len(some))
        verdict = verdicts.shape(uniformity.ks_statistic, uniformity.ks_p_value, 1.0, len(some))
        sentence = verdict.sentence.replace("PIT histogram", "density ranks of all outputs together")
        sentence = sentence.replace(", dispersion 1.00 where 1 is right", "")
        if verdict.status in ("fair", "poor"):
            cause = "too many" if uniformity.mean < 0.5 else "too few"
            sentence = sentence.partition(";")[0] + f"; {cause} outcomes are where all outputs together are improbable."
        found.verdicts.append(Verdict("all outputs together", verdict.status, sentence))

    def _dependence(self, found: Findings, dist: Distribution, y: Tensor, generator: torch.Generator) -> None:
        observed, simulated = (
            _correlation(dist.marginals, values, generator) for values in (y, draw(dist, 1, generator)[0])
        )
        found.verdicts.append(verdicts.dependence(observed, simulated, len(y), self.outputs))


def _correlation(each: Distribution, y: Tensor, generator: torch.Generator) -> Tensor:
    """Correlations of the outputs' normal residuals, which have the same spread whatever the row."""
    u = each.pit(y, generator=generator).double().flatten(1)
    return torch.corrcoef(torch.special.ndtri(u.clamp(1e-15, 1 - 1e-15)).mT)


def _coverage(pit: PITHistogram, levels: Tensor) -> Tensor:
    """Shares of the central intervals, of levels that are multiples of 0.001."""
    cumulative = pit.cumulative().cpu()
    low, high = ((1000 * (1 - levels)).round().long(), (1000 * (1 + levels)).round().long())
    return cumulative[high] - cumulative[low]


def _uniformity(pit: PITHistogram) -> Uniformity:
    found = pit.uniformity()
    return found[0] if isinstance(found, list) else found


def _rates(index: Mapping[str, Tensor], inside: Tensor) -> dict[str, tuple[float, float]]:
    """label -> (share, rows), of groups that are large enough to say something."""
    return {
        label: (float(inside[rows].mean()), float(len(rows)))
        for label, rows in index.items()
        if len(rows) >= GROUP_ROWS
    }


def _angle(difference: Tensor) -> Tensor:
    return torch.atan2(difference.sin(), difference.cos())


def _lower(label: str) -> str:
    return label if label.startswith("CRPS") else label[0].lower() + label[1:]


LOG_SCORE = "Negative log-likelihood"
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
    "Root mean squared error of the mean": (RootMeanSquaredError, "y", ("number", "count", "direction")),
    "Brier score": (BrierScore, "", ("binary", "classes")),
    "Accuracy": (Accuracy, "", ("binary", "classes")),
    "Kendall's tau": (KendallTau, "", ("ranking",)),
    "First place right": (lambda: TopKHitRate(1), "", ("ranking",)),
}
