"""Checks of sampled rows of censored targets: D-calibration, order of events, Brier score, CRPS."""

import math

import torch
from torch import Tensor

from disthead.distributions.censored import Ends
from disthead.metrics import (
    CensoredBrierScore,
    CensoredCRPS,
    Concordance,
    KaplanMeier,
    PITHistogram,
    RowMean,
)
from disthead.report import verdicts
from disthead.report.findings import CENSORED, Check, Findings
from disthead.report.rows import PICTURED, Rows
from disthead.report.verdict import Score, not_examined

__all__ = ["CHECKS"]

_BINS = 10  # of D-calibration, as in its source
_LEAST_OBSERVED = 0.1  # probability not to be censored by the horizon; its inverse bounds weights
_SHARES = (0.25, 0.5, 0.75)  # of the events up to the horizon, at whose times Brier scores are


def _d_calibration(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    histogram = PITHistogram(_BINS)
    histogram.update(rows.dist, rows.y, rows.weight)
    below, upto = rows.dist.cdf_limits(rows.y)
    effect = rows.design_effect(0.5 * (below + upto).double() - 0.5)
    findings.verdicts.append(
        verdicts.d_calibration(histogram.compute().double(), rows.count() / effect)
    )


def _order(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    some = rows.some(PICTURED, generator)  # the number of pairs grows with the square
    concordance = Concordance()
    concordance.update(some.dist, some.y, some.weight)
    value = float(concordance.compute())
    if math.isnan(value):
        findings.verdicts.append(not_examined("order of events", "no event is before another row"))
        return
    findings.scores["Concordance (Harrell's C)"] = Score(value, math.nan)
    findings.verdicts.append(verdicts.order(value))


def _over_time(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    censoring = KaplanMeier.of_censoring(rows.y, rows.weight)
    ends = Ends.of(rows.y.double())
    events = ends.lower[ends.is_observed].sort().values
    events = events[censoring.before(events) >= _LEAST_OBSERVED]
    if not len(events) or float(events[0]) == float(events[-1]):
        reason = "there are no two events at times that one row in ten reaches uncensored"
        findings.verdicts.append(not_examined("probabilities over time", reason))
        return
    horizon = float(events[-1])
    start = min(0.0, float(ends.lower.min()))
    places = [min(len(events) - 1, int(share * len(events))) for share in _SHARES]
    for t in sorted({float(events[place]) for place in places}):
        score = CensoredBrierScore(t, censoring).score(rows.dist, rows.y)
        findings.scores[f"Brier score at {t:.4g}"] = _mean(rows, score)
    crps = CensoredCRPS(horizon, censoring, start).score(rows.dist, rows.y)
    findings.scores[f"CRPS up to {horizon:.4g}"] = _mean(rows, crps, findings.unit)
    findings.verdicts.append(
        verdicts.over_time(horizon, float(crps.mean()), findings.unit, len(events))
    )


def _mean(rows: Rows, score: Tensor, unit: str = "") -> Score:
    """The mean of a score over rows, with the standard error that clusters allow for."""
    mean = RowMean()
    mean.update(score, rows.weight)
    value, error = mean.compute(), float(mean.standard_error())
    return Score(float(value), error * rows.design_effect(score - value) ** 0.5, unit)


CHECKS = (
    Check(("D-calibration",), _d_calibration, (CENSORED,)),
    Check(("order of events",), _order, (CENSORED,)),
    Check(("probabilities over time",), _over_time, (CENSORED,)),
)
