"""Verdicts on calibration within groups and along features, with limits that allow for all."""

import math
from collections.abc import Mapping, Sequence

from disthead.diagnostics.frequencies import EventFrequency
from disthead.report.chance import SIZES, critical, detectable, ndtri, size, z_of_sum
from disthead.report.verdict import Status, Verdict
from disthead.report.verdicts.events import POINTS
from disthead.report.verdicts.intervals import rate_error, widening
from disthead.report.wording import percent, whole_percent

__all__ = ["bias_by_group", "by_group", "distances", "events_by_group"]


def distances(shares: Mapping[str, tuple[float, float]], expected: float) -> dict[str, float]:
    """The distance of each label's share from its expectation, in standard errors.

    Args:
        shares: by label, (share, number of independent rows).
        expected: the share that was predicted for all labels.
    """
    variance, largest = expected * (1 - expected), max(expected, 1 - expected)
    return {
        label: z_of_sum(share - expected, variance / rows, largest / rows)
        for label, (share, rows) in shares.items()
    }


def by_group(
    coverages: Mapping[str, tuple[float, float]],
    level: float,
    name: str,
    left_out: int = 0,
    picture: str = "",
) -> Verdict:
    """Whether the intervals cover as often as they should in every group.

    Args:
        coverages: by label, (share of targets inside, number of independent rows).
        level: the nominal coverage.
        name: "group" or "feature".
        left_out: the number of groups with too few rows.
        picture: the key of the picture that shows it.
    """
    aspect, looks = f"calibration by {name}", len(coverages)
    z = distances(coverages, level)
    worst = max(z, key=lambda label: abs(z[label]))
    rate, rows = coverages[worst]
    seen = (
        f"{_worst(looks, name, worst)}: its {percent(level)} intervals held "
        f"{percent(rate, rate_error(rate, rows))} of {rows:,.0f} outcomes"
    )
    by = size(abs(math.log(widening(level, rate, rows))))
    if abs(z[worst]) > critical(looks) and by:
        kind = "narrow" if rate < level else "wide"
        sentence = f"{seen}: {by} too {kind} there.{_left_out(left_out)}"
        return Verdict(aspect, _fault(by), sentence, picture=picture, looks=looks)
    least = min(rows for _, rows in coverages.values())
    hidden = detectable(level * (1 - level) / least, max(level, 1 - level) / least, looks)
    is_hidden = hidden >= level or math.log(widening(level, level - hidden, least)) > SIZES[2]
    return _nothing(
        aspect, seen, least, f"below {whole_percent(hidden)}", is_hidden, left_out, picture, looks
    )


def bias_by_group(
    shares: Mapping[str, tuple[float, float]],
    name: str,
    left_out: int = 0,
    picture: str = "",
    side: str = "above",
) -> Verdict:
    """Whether targets lie above the predicted median as often as below in every group.

    Args:
        shares: by label, (share of targets above, number of independent rows).
        name: "group" or "feature".
        left_out: the number of groups with too few rows.
        picture: the key of the picture that shows it.
        side: the side of larger values, in words.
    """
    aspect, looks = f"bias by {name}", len(shares)
    z = distances(shares, 0.5)
    worst = max(z, key=lambda label: abs(z[label]))
    share, rows = shares[worst]
    seen = (
        f"{_worst(looks, name, worst)}: {percent(share, 0.5 / math.sqrt(rows))} of "
        f"{rows:,.0f} outcomes were {side} the predicted median"
    )
    shift = ndtri(min(max(share, 0.5 / rows), 1 - 0.5 / rows))
    by = size(abs(shift))
    if abs(z[worst]) > critical(looks) and by:
        kind = "low" if share > 0.5 else "high"
        if side != "above":
            kind = "far clockwise" if share > 0.5 else "far anticlockwise"
        sentence = (
            f"{seen}: predictions are {by} too {kind} there, by about {abs(shift):.2f} of "
            "the predicted spread."
        )
        return Verdict(
            aspect, _fault(by), sentence + _left_out(left_out), picture=picture, looks=looks
        )
    least = min(rows for _, rows in shares.values())
    hidden = detectable(0.25 / least, 0.5 / least, looks)
    shift = ndtri(0.5 + min(hidden, 0.499))
    return _nothing(
        aspect,
        seen,
        least,
        f"below {shift:.2f} of the predicted spread",
        shift > SIZES[2],
        left_out,
        picture,
        looks,
    )


def events_by_group(
    frequencies: Sequence[EventFrequency], name: str, left_out: int = 0, picture: str = ""
) -> Verdict:
    """Whether events (classes, the best item) happen in every group as often as predicted.

    Args:
        frequencies: of each event in each group.
        name: "group" or "feature".
        left_out: the number of groups with too few rows.
        picture: the key of the picture that shows it.
    """
    aspect, looks = f"calibration by {name}", len(frequencies)
    groups = len({part.label for part in frequencies})

    def z(part: EventFrequency) -> float:
        return z_of_sum(part.observed - part.predicted, part.variance, part.largest)

    worst = max(frequencies, key=lambda part: abs(z(part)))
    difference = worst.observed - worst.predicted
    error = math.sqrt(worst.variance)
    seen = (
        f"{_worst(groups, name, worst.label, looks // groups)}: {worst.event} was predicted with "
        f"{percent(worst.predicted, error)} and happened in {percent(worst.observed, error)} of "
        f"{worst.count:,.0f} rows"
    )
    if abs(z(worst)) > critical(looks) and abs(difference) >= POINTS[0]:
        by = "slightly" if abs(difference) < POINTS[1] else "clearly"
        word = "rarely" if difference > 0 else "often"
        sentence = f"{seen}: predicted {by} too {word} there.{_left_out(left_out)}"
        return Verdict(aspect, _fault(by), sentence, picture=picture, looks=looks)
    hidden = max(detectable(part.variance, part.largest, looks) for part in frequencies)
    least = min(part.count for part in frequencies)
    return _nothing(
        aspect,
        seen,
        least,
        f"below {100 * hidden:.0f} percentage points",
        hidden > POINTS[2],
        left_out,
        picture,
        looks,
    )


def _nothing(
    aspect: str,
    seen: str,
    least: float,
    hidden: str,
    is_hidden: bool,
    left_out: int,
    picture: str,
    looks: int,
) -> Verdict:
    """The verdict without a fault, "unclear" if the smallest group could hide one."""
    if is_hidden:
        sentence = (
            f"{seen}, which chance explains; but {least:,.0f} rows of the smallest hide "
            f"differences {hidden}."
        )
        return Verdict(
            aspect, "unclear", sentence + _left_out(left_out), picture=picture, looks=looks
        )
    sentence = f"{seen}, which chance explains.{_left_out(left_out)}"
    return Verdict(aspect, "good", sentence, picture=picture, looks=looks)


def _fault(by: str) -> Status:
    return "fair" if by == "slightly" else "poor"


def _worst(count: int, name: str, worst: str, events: int = 1) -> str:
    """The beginning of the sentence, such as "Of 3 groups, north is the worst"."""
    if count == 1:
        return f"Only {worst} has rows enough to be looked at" + (
            f", for each of {events} events" if events > 1 else ""
        )
    in_each = f" and {events} events in each" if events > 1 else ""
    return (
        f"Of {count} {'groups' if name == 'group' else 'ranges of features'}{in_each}, {worst} is "
        "the worst"
    )


def _left_out(count: int) -> str:
    if not count:
        return ""
    return f" {count} other{'s' * (count > 1)} had too few rows to be looked at."
