"""Verdicts on forecasts of one number: central intervals, the median, the shape."""

import math

from disthead.report.chance import CHANCE, SIZES, critical, detectable, ndtri, size, z_of_sum
from disthead.report.verdict import Status, Verdict
from disthead.report.wording import p_value as say_p
from disthead.report.wording import percent, standard_error, whole_percent

__all__ = ["bias", "coverage", "rate_error", "shape", "widening"]


def coverage(level: float, observed: float, count: float) -> Verdict:
    """Whether the central intervals of one level cover as often as they should.

    Chance is the binomial standard error at the level. The effect is the factor by which normal
    intervals would have to be wider.

    Args:
        level: the nominal coverage.
        observed: the share of targets inside.
        count: the effective number of rows.
    """
    aspect = f"{100 * level:g} % intervals"
    variance, largest = level * (1 - level) / count, max(level, 1 - level) / count
    error = rate_error(observed, count)
    seen = (
        f"The {percent(level)} intervals held {percent(observed, error)} of the outcomes "
        f"(standard error {standard_error(error)})"
    )
    factor = widening(level, observed, count)
    if abs(z_of_sum(observed - level, variance, largest)) > critical():
        kind = "narrow" if observed < level else "wide"
        by = size(abs(math.log(factor)))
        if not by:
            return Verdict(
                aspect,
                "good",
                f"{seen}: too {kind} by a hair, which does not matter.",
                picture="coverage",
            )
        change = f"{whole_percent(abs(factor - 1))} {'wider' if factor > 1 else 'narrower'}"
        return Verdict(
            aspect,
            "fair" if by == "slightly" else "poor",
            f"{seen}: {by} too {kind}. They would have to be about {change}.",
            picture="coverage",
        )
    hidden = detectable(variance, largest)
    if math.log(widening(level, level - hidden, count)) > SIZES[1]:
        return Verdict(
            aspect,
            "unclear",
            f"{seen}: in agreement with {percent(level)}, but {count:,.0f} rows would not show a "
            f"difference below {percent(hidden)}.",
            picture="coverage",
        )
    return Verdict(aspect, "good", f"{seen}: as promised.", picture="coverage")


def bias(above: float, count: float, is_circular: bool = False) -> Verdict:
    """Whether targets lie above the predicted median as often as below.

    The effect is in units of the predicted standard deviation.

    Args:
        above: the share of targets above the median.
        count: the effective number of rows.
        is_circular: whether targets are directions.
    """
    error = rate_error(above, count)
    side = "anticlockwise of" if is_circular else "above"
    seen = (
        f"{percent(above, error)} of the outcomes were {side} the predicted median (standard "
        f"error {standard_error(error)})"
    )
    shift = ndtri(min(max(above, 0.5 / count), 1 - 0.5 / count))
    if abs(z_of_sum(above - 0.5, 0.25 / count, 0.5 / count)) > critical():
        kind = "low" if above > 0.5 else "high"
        if is_circular:
            kind = "far clockwise" if above > 0.5 else "far anticlockwise"
        by = size(abs(shift))
        if not by:
            return Verdict("bias", "good", f"{seen}: no bias that matters.", picture="pit")
        return Verdict(
            "bias",
            "fair" if by == "slightly" else "poor",
            f"{seen}: predictions are {by} too {kind}, by about {abs(shift):.2f} of the predicted "
            "spread.",
            picture="pit",
        )
    hidden = detectable(0.25 / count, 0.5 / count)
    if hidden >= 0.5 or ndtri(0.5 + hidden) > SIZES[1]:
        only = (
            f"{count:,.0f} rows show only a bias above {ndtri(0.5 + min(hidden, 0.49)):.2f} of "
            "the predicted spread"
        )
        return Verdict("bias", "unclear", f"{seen}: no sign of a bias, but {only}.", picture="pit")
    return Verdict("bias", "good", f"{seen}: no bias.", picture="pit")


def shape(distance: float, p_value: float, dispersion: float, count: float) -> Verdict:
    """Whether the PIT is uniform.

    Args:
        distance: of Kolmogorov and Smirnov, the largest error of any predicted probability.
        p_value: of the distance.
        dispersion: 12 times the variance of the PIT.
        count: the effective number of rows.
    """
    seen = (
        f"Predicted probabilities are off by at most {percent(distance)} (PIT histogram, "
        f"{say_p(p_value)}, dispersion {dispersion:.2f} where 1 is right)"
    )
    by = size(2 * distance)
    if p_value >= CHANCE:
        hidden = 1.63 / math.sqrt(count)  # the distance that has a p-value of 0.01
        if size(2 * hidden) in ("clearly", "far"):
            sentence = (
                f"{seen}: no more than chance, but {count:,.0f} rows hide errors up to "
                f"{whole_percent(min(hidden, 1))}."
            )
            return Verdict("shape", "unclear", sentence, picture="pit")
        return Verdict("shape", "good", f"{seen}: no more than chance.", picture="pit")
    if not by:
        return Verdict(
            "shape", "good", f"{seen}: more than chance, but too little to matter.", picture="pit"
        )
    if dispersion > 1.05:
        cause = "too many outcomes are surprises at both ends, the spread is too small"
    elif dispersion < 0.95:
        cause = "too many outcomes are near the middle, the spread is too large"
    else:
        cause = "the spread is right on the whole, a bias or the shape is not"
    status: Status = "fair" if by == "slightly" else "poor"
    return Verdict("shape", status, f"{seen}: {by} off; {cause}.", picture="pit")


def rate_error(rate: float, count: float) -> float:
    """The standard error of a share of `count` rows, which is never zero."""
    return math.sqrt(max(rate * (1 - rate), 0.25 / count) / count)


def widening(level: float, observed: float, count: float) -> float:
    """The factor by which normal intervals with coverage `observed` must widen to have `level`."""
    observed = min(max(observed, 0.5 / count), 1 - 0.5 / count)
    return ndtri((1 + level) / 2) / ndtri((1 + observed) / 2)
