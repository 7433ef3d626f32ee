"""What a report says: a score with its standard error, a verdict on one aspect, and one sentence on all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Score", "Status", "Verdict", "not_examined", "summary"]

Status = Literal["good", "fair", "poor", "unclear", "note", "not examined"]


@dataclass(frozen=True)
class Score:
    """A mean over rows: `value` with its `standard_error`, in `unit`."""

    value: float
    standard_error: float
    unit: str = ""

    def __str__(self) -> str:
        if not math.isfinite(self.standard_error) or self.standard_error <= 0:
            return f"{self.value:.4g}{self.unit and ' ' + self.unit}"
        digits = max(0, 1 - math.floor(math.log10(self.standard_error)))
        return (
            f"{self.value:.{digits}f} ± "
            f"{self.standard_error:.{digits}f}{self.unit and ' ' + self.unit}"
        )


@dataclass(frozen=True)
class Verdict:
    """What a person should know about one aspect of a forecast.

    Attributes:
        aspect: what it is about.
        status: "good" (no fault found), "fair" (a slight fault), "poor" (a clear one), "unclear"
            (too few rows to tell), "not examined" (the check could not run, or was not asked for)
            or "note" (for information).
        sentence: the verdict in words, with the figures; of what was not examined, the reason.
        output: which output it is about, "" where there is one, or where it is about all of them
            together.
        picture: the key of the picture that shows it, "" where none does.
        remedy: the next step, with the command or call, "" where nothing needs to be done.
        looks: how many places were looked at (groups, bins, pairs): the limit of chance allows for
            all of them.
    """

    aspect: str
    status: Status
    sentence: str
    output: str = ""
    picture: str = ""
    remedy: str = ""
    looks: int = 1


def not_examined(aspect: str, reason: str, remedy: str = "") -> Verdict:
    """The verdict on a check that was not made; the reason begins in lower case and ends without a full stop.

    >>> not_examined("calibration by group", "no group was given").sentence
    'Not examined: no group was given.'
    """
    return Verdict(aspect, "not examined", f"{_PREFIX}{reason.rstrip('.')}.", remedy=remedy)


def summary(verdicts: Sequence[Verdict]) -> str:
    """The faults by name, and how many checks found none, could not tell, and were not made.

    Notes are no checks.

    >>> summary([Verdict("bias", "good", "..."), not_examined("calibration by group", "no group was given")])
    'No fault was found. 2 checks: 1 found nothing, 1 was not examined (no group was given).'
    """
    checks = [verdict for verdict in verdicts if verdict.status != "note"]
    by_status = {status: [v for v in checks if v.status == status] for status in _COUNTED}
    poor, fair = by_status["poor"], by_status["fair"]
    if poor:
        head = f"{'A clear fault' if len(poor) == 1 else 'Clear faults'}: {_names(poor)}."
    elif fair:
        head = f"No clear fault; slight ones: {_names(fair)}."
    elif by_status["good"]:
        head = "No fault was found."
    else:
        head = "Nothing can be said."
    counts = [_counted(status, found) for status, found in by_status.items() if found]
    if not counts:
        return f"{head} No check was made."
    return f"{head} {len(checks)} check{'s' * (len(checks) > 1)}: {', '.join(counts)}."


_PREFIX = "Not examined: "
_COUNTED: dict[str, str] = {
    "good": "found nothing",
    "unclear": "could not tell",
    "fair": "found a slight fault",
    "poor": "found a clear fault",
    "not examined": "examined",
}


def _counted(status: str, found: Sequence[Verdict]) -> str:
    if status != "not examined":
        return f"{len(found)} {_COUNTED[status]}"
    reasons = dict.fromkeys(verdict.sentence.removeprefix(_PREFIX).rstrip(".") for verdict in found)
    return (
        f"{len(found)} {'was' if len(found) == 1 else 'were'} not examined ({'; '.join(reasons)})"
    )


def _names(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(
        verdict.aspect + (f" ({verdict.output})" if verdict.output else "") for verdict in verdicts
    )
