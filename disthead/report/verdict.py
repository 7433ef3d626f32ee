"""The elements of a report: scores with standard errors, verdicts, and their summary."""

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
    """The judgement of one aspect of a forecast, in a sentence.

    Attributes:
        aspect: the name of the aspect.
        status: "good" (no fault found), "fair" (a slight fault), "poor" (a clear one), "unclear"
            (too few rows to tell), "not examined" (the check could not run, or was not asked for)
            or "note" (for information).
        sentence: the verdict in words, with figures, or the reason why it was not examined.
        output: the name of the output; "" for whole vectors, and where there is one output.
        picture: the key of the picture that shows it, or "".
        remedy: the next step, with the command or call, or "".
        looks: the number of comparisons (groups, bins, pairs), for all of which the limit of chance
            allows.
    """

    aspect: str
    status: Status
    sentence: str
    output: str = ""
    picture: str = ""
    remedy: str = ""
    looks: int = 1


def not_examined(aspect: str, reason: str, remedy: str = "") -> Verdict:
    """The verdict on a check that was not made.

    The reason begins in lower case and ends without a full stop.

    >>> not_examined("calibration by group", "no group was given").sentence
    'Not examined: no group was given.'
    """
    return Verdict(aspect, "not examined", f"{_PREFIX}{reason.rstrip('.')}.", remedy=remedy)


def summary(verdicts: Sequence[Verdict]) -> str:
    """The faults by name, and the numbers of checks by their results, in words.

    Notes are no checks.

    >>> by_group = not_examined("calibration by group", "no group was given")
    >>> summary([Verdict("bias", "good", "..."), by_group])
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
    counts = [_counted(status, group) for status, group in by_status.items() if group]
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


def _counted(status: str, verdicts: Sequence[Verdict]) -> str:
    count = len(verdicts)
    if status != "not examined":
        return f"{count} {_COUNTED[status]}"
    reasons = dict.fromkeys(
        verdict.sentence.removeprefix(_PREFIX).rstrip(".") for verdict in verdicts
    )
    return f"{count} {'was' if count == 1 else 'were'} not examined ({'; '.join(reasons)})"


def _names(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(
        verdict.aspect + (f" ({verdict.output})" if verdict.output else "") for verdict in verdicts
    )
