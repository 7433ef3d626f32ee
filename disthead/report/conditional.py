"""Calibration within groups and along features, of intervals and of events."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.diagnostics import EventFrequency
from disthead.report import verdicts
from disthead.report.findings import Findings
from disthead.report.rows import LEAST, PICTURED, Cells, Rows
from disthead.report.verdict import Verdict, not_examined

__all__ = ["examine_events", "examine_intervals", "features_without_rows"]


def examine_intervals(found: Findings, rows: Rows, u: Tensor, *, has_bias: bool = True, side: str = "above") -> None:
    """Calibration and bias by group and by feature, from the PIT of the rows, shape (N,).

    Without a bias, u is the rank of a density, whose regions leave out the least ones.
    """
    level = found.level
    inside = ((2 * u - 1).abs() <= level).double() if has_bias else (u >= 1 - level).double()
    above = (u > 0.5).double()
    effect = rows.design_effect(torch.stack([inside - level, above - 0.5], -1))

    def rates(index: Mapping[str, Tensor], values: Tensor) -> dict[str, tuple[float, float]]:
        return {label: (rows.mean(values, k), rows.count(k) / effect) for label, k in index.items()}

    def groups(cells: Cells) -> None:
        found.numbers["groups"] = rates(cells.index, inside)
        found.verdicts.append(
            verdicts.by_group(found.numbers["groups"], level, "group", cells.left_out, picture="groups")
        )
        if has_bias:
            shares = rates(cells.index, above)
            found.verdicts.append(verdicts.bias_by_group(shares, "group", cells.left_out, "groups", side))

    def features(by_feature: dict[str, Cells]) -> None:
        every = {label: k for cells in by_feature.values() for label, k in cells.index.items()}
        left_out = sum(cells.left_out for cells in by_feature.values())
        found.verdicts.append(verdicts.by_group(rates(every, inside), level, "feature", left_out, picture="feature"))
        if has_bias:
            shares = rates(every, above)
            found.verdicts.append(verdicts.bias_by_group(shares, "feature", left_out, "worms", side))

        def distance(name: str) -> float:
            own = rates(by_feature[name].index, inside)
            return max((abs(rate - level) * count**0.5 for rate, count in own.values()), default=-1.0)

        worst = max(by_feature, key=distance)
        found.numbers["feature"] = (worst, rates(by_feature[worst].index, inside))
        if has_bias:
            ranges = dict(list(by_feature[worst].index.items())[:8])
            shown = {label: rows.pictured(k, PICTURED // len(ranges)) for label, k in ranges.items()}
            found.sampled["worms"] = len(rows.y) - sum(len(k) - len(shown[label]) for label, k in ranges.items())
            found.numbers["worms"] = [
                diagnostics.worm(
                    rows.dist[k], rows.y[k], None, label, None if rows.weight is None else rows.weight[k], 0.99
                )
                for label, k in shown.items()
            ]

    _each(found, rows, ("calibration", "bias") if has_bias else ("calibration",), groups, features)


def examine_events(found: Findings, rows: Rows, probs: Tensor, happened: Tensor, names: Sequence[str]) -> None:
    """Calibration by group and by feature of events: classes, the item that comes first.

    Args:
        found: where verdicts go.
        rows: that were sampled.
        probs: of each event, shape (N, K).
        happened: 0 or 1, shape (N, K).
        names: of the events.
    """
    effect = rows.design_effect(happened.double() - probs.double())

    def frequencies(index: Mapping[str, Tensor]) -> list[EventFrequency]:
        return [
            diagnostics.event_frequency(
                label, name, probs[k, j], happened[k, j], None if rows.weight is None else rows.weight[k], effect
            )
            for label, k in index.items()
            for j, name in enumerate(names)
        ]

    def groups(cells: Cells) -> None:
        found.numbers["group_frequencies"] = frequencies(cells.index)
        found.verdicts.append(
            verdicts.events_by_group(found.numbers["group_frequencies"], "group", cells.left_out, "group_frequencies")
        )

    def features(by_feature: dict[str, Cells]) -> None:
        every = {label: k for cells in by_feature.values() for label, k in cells.index.items()}
        found.numbers["feature_frequencies"] = frequencies(every)
        left_out = sum(cells.left_out for cells in by_feature.values())
        found.verdicts.append(
            verdicts.events_by_group(found.numbers["feature_frequencies"], "feature", left_out, "feature_frequencies")
        )

    _each(found, rows, ("calibration",), groups, features)


def features_without_rows(found: Findings, rows: Rows, reason: str) -> None:
    """Say of both that they could not be examined."""
    for name in ("group", "feature"):
        found.verdicts.append(not_examined(f"calibration by {name}", reason))


def _each(
    found: Findings,
    rows: Rows,
    aspects: Sequence[str],
    of_groups: Callable[[Cells], None],
    of_features: Callable[[dict[str, Cells]], None],
) -> None:
    """Groups and features where there are some, or why they were not examined."""
    cells = rows.groups()
    if cells is None:
        found.verdicts += [not_examined(f"{aspect} by group", "no group was given") for aspect in aspects]
    elif len(cells.index) + cells.left_out == 1:
        found.verdicts += [not_examined(f"{aspect} by group", "there is only one group") for aspect in aspects]
    elif not cells.index:
        found.verdicts += [_too_few(f"{aspect} by group", f"None of {cells.left_out} groups") for aspect in aspects]
    else:
        of_groups(cells)
    ranges = rows.ranges()
    if ranges is None:
        found.verdicts += [not_examined(f"{aspect} by feature", "no features were given") for aspect in aspects]
        return
    ranges = {name: part for name, part in ranges.items() if len(part.index) + part.left_out > 1}
    if not ranges:
        reason = "each feature has the same value, or one range of values, in all rows"
        found.verdicts += [not_examined(f"{aspect} by feature", reason) for aspect in aspects]
    elif not any(part.index for part in ranges.values()):
        few = f"None of {sum(part.left_out for part in ranges.values())} ranges of features"
        found.verdicts += [_too_few(f"{aspect} by feature", few) for aspect in aspects]
    else:
        of_features(ranges)


def _too_few(aspect: str, none: str) -> Verdict:
    return Verdict(aspect, "unclear", f"{none} has {LEAST} rows: too few to tell.")
