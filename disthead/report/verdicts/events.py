"""Verdicts on probabilities of events: reliability, confidence, and accuracy."""

from disthead.diagnostics import Reliability
from disthead.report.chance import CHANCE, critical, z_of_sum
from disthead.report.verdict import Score, Verdict
from disthead.report.wording import p_value as say_p
from disthead.report.wording import percent, standard_error, whole_percent

__all__ = ["POINTS", "classes", "confidence", "majority", "probabilities"]

# Bounds of negligible and of slight differences of frequencies, and of what chance may hide.
POINTS = (0.005, 0.03, 0.2)
# The same bounds of the miscalibration as a share of the uncertainty.
_SHARES = (0.01, 0.05, 0.1)
_LEAST_ROWS = 30  # with fewer, no verdict is "good"


def probabilities(numbers: Reliability, what: str, picture: str = "reliability") -> Verdict:
    """Whether events happen as often as predicted, by the miscalibration of the CORP approach.

    The miscalibration counts by its p-value and relative to the uncertainty. Source: Dimitriadis,
    Gneiting and Jordan 2021.

    Args:
        numbers: the reliability.
        what: the forecast in words, such as "the probability of a 1".
        picture: the key of the picture that shows it.
    """
    aspect = f"reliability of {what}"
    seen = _miscalibration(numbers, what)
    return _reliability(aspect, seen, numbers, numbers.p_value, picture, 1)


def classes(numbers: "dict[str, Reliability]", p_value: float, left_out: int = 0) -> Verdict:
    """Whether each class happens as often as predicted.

    Args:
        numbers: the reliability of each class, by its name.
        p_value: of the worst class, which allows for the number of classes.
        left_out: the number of rare classes that were not examined one by one.
    """
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
    """Whether predictions are right as often as the model says.

    Args:
        claimed: the mean probability of the predictions.
        right: the share of rows where they are right.
        error: the standard error of the difference, according to the forecast.
        what: the prediction in words, such as "The most probable class".
        largest: the largest possible contribution of one row to the difference.
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
    """Whether the most probable class is right more often than the most frequent one.

    Args:
        accuracy: of the most probable class.
        of_majority: the accuracy of always naming the most frequent class.
        difference: of the two, with its standard error.
        name: of the most frequent class.
    """
    aspect = "against the majority"
    seen = (
        f"The most probable class is right in {percent(accuracy, difference.standard_error)} of "
        f"the rows; always naming {name}, the most frequent one, is right in "
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
        "probabilities may still inform: see the log score against a baseline and the AUC.",
        picture="confusion",
    )


def _reliability(
    aspect: str, seen: str, numbers: Reliability, p_value: float, picture: str, looks: int
) -> Verdict:
    seen = f"{seen} ({say_p(p_value)}); a constant forecast has {numbers.uncertainty:.4g}"
    share = _share(numbers)
    if p_value >= CHANCE:
        if numbers.chance > _SHARES[2] * _scale(numbers) or int(numbers.count.sum()) < _LEAST_ROWS:
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
    """The unit of a miscalibration: the uncertainty, or the score where all targets are equal."""
    return numbers.uncertainty if numbers.uncertainty > 0 else numbers.score


def _miscalibration(numbers: Reliability, what: str) -> str:
    name = "Brier score" if numbers.level is None else "pinball loss"
    return (
        f"Of the {name} {numbers.score:.4g} of {what}, {numbers.miscalibration:.2g} is "
        "miscalibration"
    )
