"""The verdict on the comparison of a model with another one, on the same rows."""

import math

from disthead.report.chance import critical
from disthead.report.verdict import Score, Verdict
from disthead.report.wording import whole_percent

__all__ = ["comparison"]

_NATS, _SHARE = (
    0.05,
    0.05,
)  # differences that matter: of log scores, and relative ones of other scores


def comparison(
    name: str, difference: Score, skill: float | None, baseline: str, score: float = math.nan
) -> Verdict:
    """Whether the model scores better than another one, by the paired difference of scores.

    Args:
        name: of the score.
        difference: the mean score of the model minus that of the other one.
        skill: the difference as a share of the other one's score, if that has a meaning.
        baseline: the name of the other one.
        score: the mean score of the model.
    """
    amount = (
        f"{abs(difference.value):.3g} ± "
        f"{difference.standard_error:.2g}{difference.unit and ' ' + difference.unit}"
    )
    part = (
        f", {whole_percent(abs(skill))} of its score"
        if skill is not None and math.isfinite(skill)
        else ""
    )
    aspect = f"against {baseline} by {name}"
    if not math.isfinite(difference.value):
        sentence = (
            f"By {name} the model and {baseline} cannot be compared: one of the two is infinite."
        )
        return Verdict(aspect, "unclear", sentence)
    hidden = critical() * difference.standard_error
    matters = _NATS if difference.unit == "nats" else _SHARE * abs(score - difference.value)
    if abs(difference.value) <= hidden and hidden > matters:
        sentence = (
            f"By {name} the model and {baseline} differ by {amount} a row: these rows are "
            "too few to tell which is better."
        )
        return Verdict(aspect, "unclear", sentence)
    if abs(difference.value) <= hidden:
        return Verdict(
            aspect,
            "fair",
            f"By {name} the model and {baseline} differ by {amount} a row: no more than chance.",
        )
    if difference.value < 0:
        return Verdict(
            aspect,
            "good",
            f"By {name} the model is better than {baseline} by {amount} a row{part}.",
        )
    return Verdict(
        aspect, "poor", f"By {name} the model is worse than {baseline} by {amount} a row{part}."
    )
