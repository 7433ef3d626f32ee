"""Checks of sampled rows of numbers, counts and directions."""

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.diagnostics.directions import circular_pit
from disthead.diagnostics.outliers import tail_log_prob
from disthead.distributions.scores import draw
from disthead.report import verdicts
from disthead.report.chance import BAND
from disthead.report.conditional import examine_intervals
from disthead.report.extremes import limit
from disthead.report.findings import LINE, ORDERED, Check, Findings
from disthead.report.rows import CORP_ROWS, LEAST_ROWS, Rows
from disthead.report.verdict import Verdict, not_examined
from disthead.report.wording import plural

__all__ = ["CHECKS"]

_DRAWS = 2**16  # random numbers, for the moments of squared errors
_NO_VARIANCE = (
    "Rely on the intervals, the shape and the reliability of quantiles, which need no variance."
)
_PREDICT_SCALE = (
    "If some rows are harder to predict than others, predict the scale from the features, "
    "without `fixed=` or `shared=`."
)
_LARGEST_ERROR = 5.0  # in predicted standard deviations; larger ones are cut there, except outliers


def _error(findings: Findings, difference: Tensor) -> Tensor:
    """The signed distance from the mean; of directions, along the circle."""
    difference = difference.double()
    return (
        torch.atan2(difference.sin(), difference.cos())
        if findings.kind == "direction"
        else difference
    )


def _error_against_spread(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    variance = rows.dist.variance.double()
    known = variance.isfinite().nonzero().squeeze(-1)
    left_out = len(variance) - len(known)
    if not len(known):
        reason = "the predicted variance is infinite in every row"
        findings.verdicts.append(not_examined("error against spread", reason, _NO_VARIANCE))
        return
    rows = rows if not left_out else rows.take(known)
    dist, mean, stddev = rows.dist, rows.dist.mean.double(), rows.dist.stddev.double()
    error = _error(findings, rows.y - mean)
    largest = (_LARGEST_ERROR * stddev).square()
    # Mean and variance of the squared error if the forecasts are true, by draws. Errors beyond
    # five standard deviations count as five, in the draws and in the rows, since the squared error
    # of a heavy tail has no variance.
    draws = max(8, _DRAWS // len(error))
    total, square = torch.zeros_like(error), torch.zeros_like(error)
    for _ in range(-(-draws // 64)):
        some = (
            _error(findings, draw(dist, min(64, draws), generator) - mean).square().minimum(largest)
        )
        total, square = total + some.sum(0), square + some.square().sum(0)
    draws = -(-draws // 64) * min(64, draws)
    second = total / draws
    fourth = (square / draws - second.square()).clamp(min=0) * (1 + 1 / draws)
    outliers = findings.numbers.outliers
    outside = torch.zeros_like(known, dtype=torch.bool)
    if outliers and outliers.total:
        outside = tail_log_prob(dist, rows.y) < limit(outliers.count)
    squared = torch.where(outside, error.square(), error.square().minimum(largest))
    # the mean square of fewer rows is too uncertain
    bins = max(1, min(10, int(rows.count()) // 50))

    def numbers(k: Tensor | slice) -> diagnostics.SpreadSkill:
        w = None if rows.weight is None else rows.weight[k]
        return diagnostics.spread_skill(
            squared[k].sqrt(), second[k].sqrt(), bins, weight=w, variance=fourth[k], order=stddev[k]
        )

    whole = numbers(slice(None))
    findings.show(len(rows.y), spread_skill=whole)
    effect = rows.design_effect(squared - second)
    rest = numbers(~outside) if bool(outside.any()) and not bool(outside.all()) else None
    findings.verdicts.append(verdicts.error_against_spread(whole, effect, left_out, outliers, rest))


def _informative(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    error, stddev = _error(findings, rows.dist.mean - rows.y).abs(), rows.dist.stddev.double()
    if bool(error.isnan().any() | stddev.isnan().any()):
        count = int((error.isnan() | stddev.isnan()).sum())
        reason = f"mean or standard deviation of the forecast do not exist in {count:,} rows"
        findings.verdicts.append(not_examined("does the spread inform?", reason, _NO_VARIANCE))
        return
    if float(stddev.max() - stddev.min()) <= 1e-6 * float(stddev.max()):
        reason = (
            f"the predicted spread is {float(stddev[0]):.4g} in every row, so that there is "
            "nothing to sort by"
        )
        remedy = _PREDICT_SCALE if findings.kind in ("continuous", "mixed") else ""
        findings.verdicts.append(not_examined("does the spread inform?", reason, remedy))
        return
    if rows.count() < LEAST_ROWS:
        sentence = f"{plural(len(stddev), 'row')}, too few to sort by their predicted spread."
        findings.verdicts.append(Verdict("does the spread inform?", "unclear", sentence))
        return
    numbers = diagnostics.sparsification(error, stddev, weight=rows.weight)
    findings.show(len(rows.y), sparsification=numbers)
    effect = rows.design_effect(error - error.mean())
    findings.verdicts.append(verdicts.informative(numbers, effect))


def _sharp(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    some = rows.take(rows.pictured())
    numbers = diagnostics.sharpness(some.dist, some.y, findings.level, some.weight)
    findings.show(len(some.y), sharpness=numbers)
    findings.verdicts.append(verdicts.sharp(numbers, findings.unit))


def _few_rows(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    some = rows.some(60, generator)
    findings.show(len(some.y), rows=(some.dist, some.y))


def _exceedance(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    threshold = _threshold(rows)
    if threshold is None:
        findings.verdicts.append(
            not_examined("reliability of a probability", "all outcomes are equal")
        )
        return
    some = rows.some(CORP_ROWS, generator)
    at = torch.full(some.dist.batch_shape, threshold, dtype=torch.float64)
    effect = some.design_effect(
        (some.y > threshold).double() - some.dist.log_survival(at).double().exp()
    )
    numbers = diagnostics.exceedance_reliability(
        some.dist,
        some.y,
        threshold,
        generator,
        resamples=199,
        confidence=BAND,
        weight=some.weight,
        design_effect=effect,
    )
    findings.show(len(some.y), exceedance=numbers, threshold=threshold)
    what = f"the probability to exceed {threshold:.4g}{findings.unit and ' ' + findings.unit}"
    findings.verdicts.append(verdicts.probabilities(numbers, what, "exceedance"))


def _threshold(rows: Rows) -> float | None:
    """A value between two targets near their upper quartile, which itself has no probability."""
    values, order = rows.y.double().sort()
    reached = rows.w[order].cumsum(0) / rows.w.sum()
    gaps = (values.diff() > 0).nonzero().squeeze(-1)
    if not len(gaps):
        return None
    best = int(gaps[(reached[gaps] - 0.75).abs().argmin()])
    return float((values[best] + values[best + 1]) / 2)


def _quantile(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    q = (1 + findings.level) / 2
    some = rows.some(CORP_ROWS, generator)
    at = torch.full(some.dist.batch_shape, q, dtype=torch.float64)
    effect = some.design_effect((some.y <= some.dist.icdf(at)).double() - q)
    numbers = diagnostics.quantile_reliability(
        some.dist,
        some.y,
        q,
        120,
        generator,
        confidence=BAND,
        weight=some.weight,
        design_effect=effect,
    )
    findings.show(len(some.y), quantile=numbers)
    what = f"the {100 * q:g} % quantile"
    findings.verdicts.append(verdicts.probabilities(numbers, what, "quantile"))


def _rootogram(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    some = rows.take(rows.pictured())
    findings.show(
        len(some.y), rootogram=diagnostics.rootogram(some.dist, some.y, weight=some.weight)
    )


def _rose(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    some = rows.take(rows.pictured())
    findings.show(len(some.y), rose=diagnostics.rose(some.dist, some.y, weight=some.weight))


def _worm(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    some = rows.take(rows.pictured())
    worm = diagnostics.worm(some.dist, some.y, generator, weight=some.weight, confidence=BAND)
    findings.show(len(some.y), worm=worm)


def _conditional(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    if rows.features is not None:
        columns = {name: rows.features[:, k] for k, name in enumerate(rows.names)}
        findings.show(len(rows.y), features=columns)
    is_direction = findings.kind == "direction"
    u = (
        circular_pit(rows.dist, rows.y)
        if is_direction
        else rows.dist.pit(rows.y, generator=generator).double()
    )
    examine_intervals(findings, rows, u, side="anticlockwise of" if is_direction else "above")


_BY = tuple(
    f"{what} by {name}" for name in ("group", "feature") for what in ("calibration", "bias")
)
# Directions have no order: none exceeds another, and their forecasts are no bars on a line.
CHECKS = (
    Check(("error against spread",), _error_against_spread, LINE),
    Check(("does the spread inform?",), _informative, LINE),
    Check(("sharpness",), _sharp, LINE),
    Check((), _few_rows, ORDERED),
    Check(("reliability of a probability",), _exceedance, ORDERED),
    Check(("reliability of the {quantile:g} % quantile",), _quantile, ("continuous", "mixed")),
    Check((), _rootogram, ("count",)),
    Check((), _rose, ("direction",)),
    Check((), _worm, LINE),
    Check(_BY, _conditional, LINE),
)
