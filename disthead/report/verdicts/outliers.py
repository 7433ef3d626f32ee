"""The verdict on single rows whose target is next to impossible by the forecast."""

import math

from disthead.diagnostics.outliers import Outliers
from disthead.report.chance import CHANCE
from disthead.report.verdict import Status, Verdict
from disthead.report.wording import enumerated, plural

__all__ = ["named", "outliers"]

_CLEAR = 1e-4  # the probability of such a row in the table, below which the fault is clear


def outliers(numbers: Outliers) -> Verdict:
    """Whether some targets are further out than chance allows, with a limit for all rows."""
    picture = "worm"
    if not numbers.rows:
        log_p = numbers.least
        seen = (
            f"The outcome furthest out of {plural(numbers.count, 'row')} has the tail probability "
            f"{_probability(log_p)}"
        )
        sentence = (
            f"{seen}: an outcome as far out, or farther, is no more than chance in so many rows."
        )
        if numbers.count < 20:
            sentence = f"{seen}: no outlier, but so few rows seldom have one."
            return Verdict("outliers", "unclear", sentence, picture=picture, looks=numbers.count)
        return Verdict("outliers", "good", sentence, picture=picture, looks=numbers.count)
    status: Status = (
        "poor"
        if numbers.least < math.log(_CLEAR / numbers.count) or len(numbers.rows) > 1
        else "fair"
    )
    sentence = (
        f"{named(numbers)}: an outcome as far out as the worst, or farther, has the probability "
        f"{_probability(numbers.least)}, and there are {numbers.count:,} rows (the limit is "
        f"{CHANCE / numbers.count:.1g})."
    )
    return Verdict("outliers", status, sentence, picture=picture, looks=numbers.count)


def named(numbers: Outliers, limit: int = 3) -> str:
    """The rows in words, as in "Row 17 (y = 60, 60 predicted spreads from the mean) and 2 more"."""
    shown = [f"row {row} ({words})" for row, words in numbers.rows[:limit]]
    more = numbers.total - len(shown)
    if more > 0:
        shown.append(f"{more} more")
    text = enumerated(shown)
    return text[:1].upper() + text[1:]


def _probability(log_p: float) -> str:
    if log_p == -math.inf:
        return "0"
    if log_p > math.log(1e-300):
        return f"{math.exp(log_p):.2g}"
    return f"10^{log_p / math.log(10):.0f}"
