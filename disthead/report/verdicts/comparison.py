"""The verdict on a model beside another one, on the same rows."""

import math

from disthead.report.chance import critical
from disthead.report.verdict import Score, Verdict

__all__ = ["comparison"]


def comparison(name: str, difference: Score, skill: float | None, baseline: str) -> Verdict:
    """Whether the model scores better than the other on the same rows: the paired difference by its standard error."""
    amount = f"{abs(difference.value):.3g} ± {difference.standard_error:.2g}{difference.unit and ' ' + difference.unit}"
    part = f", {abs(skill):.0%} of its score" if skill is not None and math.isfinite(skill) else ""
    aspect = f"against {baseline} by {name}"
    if not math.isfinite(difference.value):
        sentence = f"By {name} the model and {baseline} cannot be compared: one of the two is infinite."
        return Verdict(aspect, "unclear", sentence)
    if abs(difference.value) <= critical() * difference.standard_error:
        return Verdict(
            aspect, "fair", f"By {name} the model and {baseline} differ by {amount} a row: no more than chance."
        )
    if difference.value < 0:
        return Verdict(aspect, "good", f"By {name} the model is better than {baseline} by {amount} a row{part}.")
    return Verdict(aspect, "poor", f"By {name} the model is worse than {baseline} by {amount} a row{part}.")
