"""Calibration of intervals and of events, within groups and along features."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.diagnostics import EventFrequency
from disthead.report import verdicts
from disthead.report.chance import BAND
from disthead.report.findings import Findings
from disthead.report.numbers import FeatureCoverage
from disthead.report.rows import LEAST_ROWS, PICTURED, Cells, Rows
from disthead.report.verdict import Verdict, not_examined

__all__ = ["examine_events", "examine_intervals"]

_MOST_WORMS = 8  # more plots would be too small to be read
_GIVE_GROUPS = (
    "Give a label for each row: `evaluate(..., group=labels)`, or `disthead evaluate "
    "--group COLUMN`."
)
_GIVE_FEATURES = "Give the columns to look along: `evaluate(..., features=data_frame)`."


def examine_intervals(
    findings: Findings, rows: Rows, u: Tensor, *, has_bias: bool = True, side: str = "above"
) -> None:
    """Examines the calibration and the bias of intervals by group and by feature.

    Args:
        findings: to which verdicts and numbers are added.
        rows: the sampled rows.
        u: the PIT of the rows, shape (N,); without a bias, the rank of their density, whose regions
            of highest density leave out the lowest ranks.
        has_bias: whether there is a median, above which or below which targets can lie.
        side: the side of larger values, in words.
    """
    level = findings.level
    inside = ((2 * u - 1).abs() <= level).double() if has_bias else (u >= 1 - level).double()
    above = (u > 0.5).double()
    effect = rows.design_effect(torch.stack([inside - level, above - 0.5], -1))

    def rates(index: Mapping[str, Tensor], values: Tensor) -> dict[str, tuple[float, float]]:
        return {label: (rows.mean(values, k), rows.count(k) / effect) for label, k in index.items()}

    def groups(cells: Cells) -> None:
        coverages = rates(cells.index, inside)
        findings.show(len(rows.y), groups=coverages)
        findings.verdicts.append(
            verdicts.by_group(coverages, level, "group", cells.left_out, "groups")
        )
        if has_bias:
            shares = rates(cells.index, above)
            findings.verdicts.append(
                verdicts.bias_by_group(shares, "group", cells.left_out, "groups", side)
            )

    def features(by_feature: dict[str, Cells]) -> None:
        every, left_out = _all_ranges(by_feature)
        coverages = rates(every, inside)
        findings.verdicts.append(
            verdicts.by_group(coverages, level, "feature", left_out, "feature")
        )
        name = _worst_feature(by_feature, verdicts.distances(coverages, level))
        coverage = {label: coverages[label] for label in by_feature[name].index}
        findings.show(len(rows.y), feature=FeatureCoverage(name, coverage))
        if has_bias:
            shares = rates(every, above)
            findings.verdicts.append(
                verdicts.bias_by_group(shares, "feature", left_out, "worms", side)
            )
            distances = verdicts.distances(shares, 0.5)
            name = _worst_feature(by_feature, distances)
            _worms(findings, rows, by_feature[name].index, distances)

    _by_group_and_feature(
        findings, rows, ("calibration", "bias") if has_bias else ("calibration",), groups, features
    )


def examine_events(
    findings: Findings, rows: Rows, probs: Tensor, happened: Tensor, names: Sequence[str]
) -> None:
    """Examines the calibration of events by group and by feature: classes, or the best item.

    Args:
        findings: to which verdicts and numbers are added.
        rows: the sampled rows.
        probs: the probability of each event, shape (N, K).
        happened: 0 or 1 for each event, shape (N, K).
        names: the names of the K events.
    """
    effect = rows.design_effect(happened.double() - probs.double())

    def frequencies(index: Mapping[str, Tensor]) -> list[EventFrequency]:
        return [
            diagnostics.event_frequency(
                label,
                name,
                probs[k, j],
                happened[k, j],
                None if rows.weight is None else rows.weight[k],
                effect,
            )
            for label, k in index.items()
            for j, name in enumerate(names)
        ]

    def groups(cells: Cells) -> None:
        numbers = frequencies(cells.index)
        findings.show(len(rows.y), group_frequencies=numbers)
        findings.verdicts.append(
            verdicts.events_by_group(numbers, "group", cells.left_out, "group_frequencies")
        )

    def features(by_feature: dict[str, Cells]) -> None:
        every, left_out = _all_ranges(by_feature)
        numbers = frequencies(every)
        findings.show(len(rows.y), feature_frequencies=numbers)
        findings.verdicts.append(
            verdicts.events_by_group(numbers, "feature", left_out, "feature_frequencies")
        )

    _by_group_and_feature(findings, rows, ("calibration",), groups, features)


def _all_ranges(by_feature: Mapping[str, Cells]) -> tuple[dict[str, Tensor], int]:
    """The rows of the ranges of all features, and the number of ranges with too few rows."""
    every = {label: k for cells in by_feature.values() for label, k in cells.index.items()}
    return every, sum(cells.left_out for cells in by_feature.values())


def _worst_feature(by_feature: Mapping[str, Cells], distances: Mapping[str, float]) -> str:
    """The feature of the range that a verdict names."""
    worst = max(distances, key=lambda label: abs(distances[label]))
    return next(name for name, cells in by_feature.items() if worst in cells.index)


def _worms(
    findings: Findings, rows: Rows, index: Mapping[str, Tensor], distances: Mapping[str, float]
) -> None:
    """Worm plots of the ranges of one feature, of the eight that are furthest off."""
    furthest = sorted(index, key=lambda label: -abs(distances[label]))[:_MOST_WORMS]
    parts = {label: k for label, k in index.items() if label in furthest}
    shown = {label: rows.pictured(k, PICTURED // len(parts)) for label, k in parts.items()}
    w = rows.weight
    worms = [
        diagnostics.worm(rows.dist[k], rows.y[k], None, label, None if w is None else w[k], BAND)
        for label, k in shown.items()
    ]
    cut = sum(len(k) - len(shown[label]) for label, k in parts.items())
    findings.show(len(rows.y) - cut, worms=worms)


def _by_group_and_feature(
    findings: Findings,
    rows: Rows,
    aspects: Sequence[str],
    of_groups: Callable[[Cells], None],
    of_features: Callable[[dict[str, Cells]], None],
) -> None:
    """Examines groups and features, or says why they are not examined."""
    cells = rows.groups()
    if cells is None:
        findings.verdicts += [
            not_examined(f"{aspect} by group", "no group was given", _GIVE_GROUPS)
            for aspect in aspects
        ]
    elif len(cells.index) + cells.left_out == 1:
        findings.verdicts += [
            not_examined(f"{aspect} by group", "there is only one group") for aspect in aspects
        ]
    elif not cells.index:
        findings.verdicts += [
            _too_few(f"{aspect} by group", f"None of {cells.left_out} groups") for aspect in aspects
        ]
    else:
        of_groups(cells)
    ranges = rows.ranges()
    if ranges is None:
        findings.verdicts += [
            not_examined(f"{aspect} by feature", "no features were given", _GIVE_FEATURES)
            for aspect in aspects
        ]
        return
    ranges = {name: part for name, part in ranges.items() if len(part.index) + part.left_out > 1}
    if not ranges:
        reason = "each feature has the same value, or one range of values, in all rows"
        findings.verdicts += [not_examined(f"{aspect} by feature", reason) for aspect in aspects]
    elif not any(part.index for part in ranges.values()):
        few = f"None of {sum(part.left_out for part in ranges.values())} ranges of features"
        findings.verdicts += [_too_few(f"{aspect} by feature", few) for aspect in aspects]
    else:
        of_features(ranges)


def _too_few(aspect: str, none: str) -> Verdict:
    return Verdict(aspect, "unclear", f"{none} has {LEAST_ROWS} rows: too few to tell.")
