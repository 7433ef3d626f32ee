"""Verdicts on the predicted standard deviation (the spread) and the widths of intervals."""

from torch import Tensor

from disthead.diagnostics import Outliers, Sharpness, Sparsification, SpreadSkill
from disthead.report.chance import CHANCE, SIZES, critical, gamma_tails, size
from disthead.report.verdict import Status, Verdict
from disthead.report.verdicts.outliers import named
from disthead.report.wording import percent, whole_percent

__all__ = ["error_against_spread", "informative", "sharp"]


def informative(
    numbers: Sparsification, design_effect: float = 1.0, error: str = "mean absolute error"
) -> Verdict:
    """Whether rows of large predicted standard deviation have large errors, by a rank test.

    Args:
        numbers: errors without the rows of largest predicted standard deviation, and their gain
            over a random order.
        design_effect: of clusters.
        error: the name of the error.
    """
    aspect = "does the spread inform?"
    half = int((numbers.dropped <= 0.5).sum()) - 1
    left, best = float(numbers.error[half]), float(numbers.oracle[half])
    seen = (
        f"Without the half of the rows that the model is least sure of, the {error} goes from "
        f"{numbers.random:.4g} to {left:.4g} (the best possible is {best:.4g})"
    )
    chance = critical() * numbers.standard_error * design_effect**0.5
    if numbers.gain > chance and numbers.gain > 0.1:
        sentence = f"{seen}: the predicted spread tells sure predictions from unsure ones."
        return Verdict(aspect, "good", sentence, picture="sparsification")
    if numbers.gain < -chance:
        sentence = f"{seen}: the model is least sure where it is most right."
        return Verdict(aspect, "poor", sentence, picture="sparsification")
    if chance > 0.1 and float(numbers.error.max() - numbers.error.min()) > 1e-9 * numbers.random:
        sentence = f"{seen}: there are too few rows to tell whether the predicted spread helps."
        return Verdict(aspect, "unclear", sentence, picture="sparsification")
    return Verdict(
        aspect,
        "note",
        f"{seen}: the predicted spread says little about the size of the errors. That is right if "
        "all rows are equally hard to predict.",
        picture="sparsification",
    )


def error_against_spread(
    numbers: SpreadSkill,
    design_effect: float = 1.0,
    left_out: int = 0,
    outliers: Outliers | None = None,
    rest: SpreadSkill | None = None,
) -> Verdict:
    """Whether errors are as large as predicted, in each bin of the predicted standard deviation.

    Args:
        numbers: errors and standard deviations by bins, with standard errors from the forecast.
        design_effect: of clusters.
        left_out: the number of rows without a finite variance.
        outliers: the rows that are outliers.
        rest: the numbers without outliers, if there are some.
    """
    aspect, looks = "error against spread", len(numbers.error)
    seen = _ratios(numbers) + (
        f" ({left_out:,} rows of infinite predicted variance are left out)" if left_out else ""
    )
    by, off = _faults(numbers, design_effect)
    if by and outliers and rest is not None and not _faults(rest, design_effect)[0]:
        verb = "makes" if outliers.total == 1 else "make"
        sentence = (
            f"{seen}. {named(outliers)} {verb} it {_overall(numbers):.2f} over all; "
            f"without, it is {_overall(rest):.2f}."
        )
        remedy = "See the verdict on outliers: without these rows errors are as large as predicted."
        return Verdict(
            aspect, _fault(by), sentence, picture="spread_skill", remedy=remedy, looks=looks
        )
    if by:
        count = f"in {off} of {looks} parts of the rows" if looks > 1 else "overall"
        sentence = f"{seen}: {by} off from what was predicted, {count}."
        return Verdict(aspect, _fault(by), sentence, picture="spread_skill", looks=looks)
    # the bound for all rows, and a larger one for a part, as for groups
    whole, parts = _detectable(numbers, design_effect)
    if whole > SIZES[1] or parts > SIZES[2]:
        hidden = whole if whole > SIZES[1] else parts
        sentence = (
            f"{seen}: no more than chance, but {float(numbers.count.sum()):,.0f} rows hide "
            "differences below "
            f"{whole_percent(hidden)}{'' if whole > SIZES[1] else ' in a part of the rows'}."
        )
        return Verdict(aspect, "unclear", sentence, picture="spread_skill", looks=looks)
    sentence = f"{seen}: as large as predicted, up to chance."
    return Verdict(aspect, "good", sentence, picture="spread_skill", looks=looks)


def _ratios(numbers: SpreadSkill) -> str:
    ratio = numbers.error / numbers.spread
    low, high = float(ratio[0]), float(ratio[-1])
    if len(ratio) == 1:
        return f"Errors are {high:.2f} times the predicted spread"
    return (
        f"Where the predicted spread is smallest errors are {low:.2f} times it, where largest "
        f"{high:.2f} times"
    )


def _variance(numbers: SpreadSkill, design_effect: float) -> Tensor:
    """The variance of each bin's mean squared error over its expectation."""
    return (2 * numbers.standard_error / numbers.spread.clamp(min=1e-300)).square() * design_effect


def _detectable(numbers: SpreadSkill, design_effect: float) -> tuple[float, float]:
    """The smallest relative differences that are more than chance, of all rows and of any bin."""
    variance, share = _variance(numbers, design_effect), numbers.count * numbers.spread.square()
    of_all = (share / share.sum().clamp(min=1e-300)).square() @ variance
    return critical() * float(of_all) ** 0.5 / 2, critical(len(variance)) * float(
        variance.max()
    ) ** 0.5 / 2


def _faults(numbers: SpreadSkill, design_effect: float) -> tuple[str, int]:
    """The size in words of the largest difference beyond chance, and the number of such bins."""
    ratio = (numbers.error / numbers.spread.clamp(min=1e-300)).clamp(min=1e-12)
    off = gamma_tails(ratio.square(), _variance(numbers, design_effect)) < CHANCE / len(ratio)
    return size(float((ratio.log().abs() * off).max())), int(off.sum())


def sharp(numbers: Sharpness, unit: str = "") -> Verdict:
    """The mean width of intervals relative to one interval for all rows, as a note."""
    return Verdict(
        "sharpness",
        "note",
        f"The {percent(numbers.level)} intervals are {numbers.mean:.4g}{unit and ' ' + unit} wide "
        f"on average, {whole_percent(numbers.relative)} of the width that holds "
        f"{percent(numbers.level)} of all outcomes.",
        picture="sharpness",
    )


def _overall(numbers: SpreadSkill) -> float:
    """The root mean squared error over the root mean variance, of all rows."""
    square, variance = (
        (numbers.count * part.square()).sum() for part in (numbers.error, numbers.spread)
    )
    return float((square / variance).sqrt())


def _fault(by: str) -> Status:
    return "fair" if by == "slightly" else "poor"
