"""Verdicts on probabilities of events: reliability, confidence, and whether the model knows more than the majority."""

from disthead.diagnostics import Reliability
from disthead.report.chance import CHANCE, critical, z_of_sum
from disthead.report.verdict import Score, Verdict
from disthead.report.wording import p_value as say_p
from disthead.report.wording import percent, standard_error, whole_percent

__all__ = ["POINTS", "classes", "confidence", "majority", "probabilities"]

# Differences of frequencies: below the first they do not matter, up to the second they are slight;
# chance that hides more than the third leaves a verdict open.
POINTS = (0.005, 0.03, 0.2)
# Of the uncertainty, the share that is miscalibration: negligible, slight, and what chance may
# hide.
_SHARES = (0.01, 0.05, 0.1)
_FEW = 30  # rows, with which nothing is said of probabilities


def probabilities(numbers: Reliability, what: str, picture: str = "reliability") -> Verdict:
    """Whether events happen as often as predicted: CORP's miscalibration by its p-value and beside the uncertainty.

    Args:
        numbers: the reliability.
        what: "the probability of a 1".
        picture: that shows it.
    """
    aspect = f"reliability of {what}"
    seen = _miscalibration(numbers, what)
    return _reliability(aspect, seen, numbers, numbers.p_value, picture, 1)


def classes(numbers: "dict[str, Reliability]", p_value: float, left_out: int = 0) -> Verdict:
    """Whether each class happens as often as predicted; the p-value is that of the worst, and allows for all of them."""
    worst = max(numbers, key=lambda name: _share(numbers[name]))
    part = numbers[worst]
    others = f"; the {left_out} rarest classes were not looked at one by one" if left_out else ""
    seen = f"Of {len(numbers)} classes, {worst} is the worst{others}. " + _miscalibration(
        part, f"its probability, {worst!r} against the rest"
    )
    return _reliability("reliability of each class", seen, part, p_value, "classes", len(numbers))


def confidence(
    claimed: float, right: float, error: float, what: str, largest: float = 0.0
) -> Verdict:
    """Whether the most probable answer is right as often as the model says, in percentage points.

    Args:
        claimed, right: means over rows.
        error: standard error of their difference, as the forecast knows it.
        what: "The most probable class".
        largest: how far one row can move the difference.
    """
    difference = claimed - right
    claim = (
        f"{percent(claimed, error)} was claimed (standard error of the difference "
        f"{standard_error(error)})"
    )
    seen = f"{what} was right in {percent(right, error)} of the rows, {claim}"
    is_chance = abs(z_of_sum(difference, error**2, largest)) <= critical()
    if is_chance and critical() * error > POINTS[2] / 2:
        sentence = (
            f"{seen}: no more than chance, but these rows hide differences below "
            f"{whole_percent(critical() * error)}."
        )
        return Verdict("confidence", "unclear", sentence, picture="reliability")
    if is_chance or abs(difference) < POINTS[0]:
        return Verdict(
            "confidence",
            "good",
            f"{seen}: neither over- nor underconfident.",
            picture="reliability",
        )
    kind = "overconfident" if difference > 0 else "underconfident"
    if abs(difference) < POINTS[1]:
        return Verdict("confidence", "fair", f"{seen}: slightly {kind}.", picture="reliability")
    return Verdict("confidence", "poor", f"{seen}: clearly {kind}.", picture="reliability")


def majority(accuracy: float, of_majority: float, difference: Score, name: str) -> Verdict:
    """Whether the most probable class is right more often than always naming the most frequent one."""
    aspect = "against the majority"
    seen = (
        f"The most probable class is right in {percent(accuracy, difference.standard_error)} of "
        "the rows; always naming "
        f"{name}, the most frequent one, is right in "
        f"{percent(of_majority, difference.standard_error)}"
    )
    if difference.value > critical() * difference.standard_error and difference.value > 0:
        return Verdict(aspect, "good", f"{seen}: the model knows more.", picture="confusion")
    if difference.value < -critical() * difference.standard_error and difference.value < -POINTS[0]:
        return Verdict(
            aspect, "poor", f"{seen}: the model is worse than no model.", picture="confusion"
        )
    if critical() * difference.standard_error > POINTS[2]:
        return Verdict(
            aspect,
            "unclear",
            f"{seen}: these rows are too few to tell which is better.",
            picture="confusion",
        )
    return Verdict(
        aspect,
        "note",
        f"{seen}: no more than chance apart. Where one class is always the most probable, "
        "probabilities may still inform: "
        "see the log score against a baseline and the AUC.",
        picture="confusion",
    )


def _reliability(
    aspect: str, seen: str, numbers: Reliability, p_value: float, picture: str, looks: int
) -> Verdict:
    seen = f"{seen} ({say_p(p_value)}); a constant forecast has {numbers.uncertainty:.4g}"
    share = _share(numbers)
    if p_value >= CHANCE:
        if numbers.chance > _SHARES[2] * _scale(numbers) or int(numbers.count.sum()) < _FEW:
            sentence = (
                f"{seen}: no more than chance, but these rows hide a miscalibration below "
                f"{numbers.chance:.2g}."
            )
            return Verdict(aspect, "unclear", sentence, picture=picture, looks=looks)
        return Verdict(
            aspect, "good", f"{seen}: no more than chance.", picture=picture, looks=looks
        )
    if share < _SHARES[0]:
        sentence = f"{seen}: more than chance, but too little to matter."
        return Verdict(aspect, "good", sentence, picture=picture, looks=looks)
    if share < _SHARES[1]:
        return Verdict(
            aspect, "fair", f"{seen}: slightly miscalibrated.", picture=picture, looks=looks
        )
    return Verdict(aspect, "poor", f"{seen}: clearly miscalibrated.", picture=picture, looks=looks)


def _share(numbers: Reliability) -> float:
    return numbers.miscalibration / _scale(numbers) if numbers.miscalibration > 0 else 0.0


def _scale(numbers: Reliability) -> float:
    """What a miscalibration is large beside: the uncertainty, or the score where all outcomes are the same."""
    return numbers.uncertainty if numbers.uncertainty > 0 else numbers.score


def _miscalibration(numbers: Reliability, what: str) -> str:
    name = "Brier score" if numbers.level is None else "pinball loss"
    return (
        f"Of the {name} {numbers.score:.4g} of {what}, {numbers.miscalibration:.2g} is "
        "miscalibration"
    )
