"""`Evaluation`: the result of `evaluate`, as numbers, verdicts and plain data."""

import math
from dataclasses import dataclass, field

from disthead.diagnostics import CoverageCurve
from disthead.report.numbers import Numbers
from disthead.report.verdict import Score, Verdict, summary
from disthead.texts import shown

__all__ = ["Evaluation"]

_WRITTEN = ("aspect", "status", "sentence", "remedy", "picture", "looks")  # of a verdict


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        title: of the report.
        rows: the number of rows that were evaluated.
        outputs: names of the outputs, ("",) where there is one; where there are several, "" is that
            of whole vectors.
        scores: means with their standard errors, `scores[output][name]`.
        verdicts: a sentence for each aspect of each output.
        numbers: the numbers that pictures show, such as `numbers[output].pit`.
        unanswered: reasons why distributions lack a method, `unanswered[output][name]`.
        about: entries of the report's head by name: checkpoint, part, date ...
    """

    title: str
    rows: int
    outputs: tuple[str, ...]
    scores: dict[str, dict[str, Score]]
    verdicts: tuple[Verdict, ...]
    numbers: dict[str, Numbers]
    unanswered: dict[str, dict[str, str]]
    about: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The faults by name, and the numbers of checks by their results, in words.

        >>> poor, good = Verdict("bias", "poor", "..."), Verdict("shape", "good", "...")
        >>> Evaluation("", 9, ("",), {}, (poor, good), {}, {}).summary
        'A clear fault: bias. 2 checks: 1 found nothing, 1 found a clear fault.'
        """
        return summary(self.verdicts)

    def to_dict(self) -> dict:
        """The evaluation as plain data, as in metrics.json, with None for infinity and NaN."""
        return {
            "title": self.title,
            "about": self.about,
            "rows": self.rows,
            "summary": self.summary,
            "outputs": {
                name: {
                    "scores": {label: _plain(score) for label, score in self.scores[name].items()},
                    "coverage": _coverage(self.numbers[name].coverage),
                    "pit": _pit(self.numbers[name]),
                    "verdicts": [
                        {key: getattr(verdict, key) for key in _WRITTEN}
                        for verdict in self.verdicts
                        if verdict.output == name
                    ],
                    "unanswered": self.unanswered[name],
                }
                for name in self.outputs
            },
        }

    def __str__(self) -> str:
        lines = [f"{self.title}: {self.rows:,} rows. {self.summary}"]
        for verdict in self.verdicts:
            subject = [verdict.output] * bool(verdict.output) + [verdict.aspect] * (
                verdict.status == "not examined"
            )
            lines.append("  " + ": ".join([*subject, verdict.sentence]))
            if verdict.remedy and verdict.status in ("fair", "poor"):
                lines.append(f"    Next: {verdict.remedy}")
        return "\n".join(map(shown, lines))


def _plain(score: Score) -> dict:
    return {
        "value": _finite(score.value),
        "standard_error": _finite(score.standard_error),
        "unit": score.unit,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _coverage(curve: CoverageCurve | None) -> dict | None:
    if curve is None:
        return None
    return {
        f"{level:g}": rate
        for level, rate in zip(curve.level.tolist(), curve.coverage.tolist(), strict=True)
    }


def _pit(numbers: Numbers) -> dict | None:
    pit, uniformity = numbers.pit, numbers.uniformity
    if pit is None or uniformity is None:
        return None
    return {
        "frequency": pit.frequency.tolist(),
        "mean": uniformity.mean,
        "dispersion": uniformity.dispersion,
        "ks_statistic": uniformity.ks_statistic,
        "ks_p_value": uniformity.ks_p_value,
    }
