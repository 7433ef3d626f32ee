"""Verdicts on the predicted spread: is it as large as the errors, does it tell them apart, how wide are the intervals?"""

import torch
from torch import Tensor

from disthead.diagnostics import Sharpness, Sparsification, SpreadSkill
from disthead.report.chance import CHANCE, SIZES, critical, gamma_tails, size
from disthead.report.verdict import Verdict
from disthead.report.wording import percent

__all__ = ["honest_spread", "informative", "sharp"]


def informative(numbers: Sparsification, design_effect: float = 1.0, error: str = "mean absolute error") -> Verdict:
    """Whether rows of large predicted spread have large errors: the gain against a random order, by its rank test."""
    aspect = "does the spread inform?"
    half = int((numbers.dropped <= 0.5).sum()) - 1
    left, best = float(numbers.error[half]), float(numbers.oracle[half])
    seen = (
        f"Without the half of the rows that the model is least sure of, the {error} goes from {numbers.random:.4g} to "
        f"{left:.4g} (the best possible is {best:.4g})"
    )
    chance = critical() * numbers.standard_error * design_effect**0.5
    if numbers.gain > chance and numbers.gain > 0.1:
        sentence = f"{seen}: the predicted spread tells sure predictions from unsure ones."
        return Verdict(aspect, "good", sentence, picture="sparsification")
    if numbers.gain < -chance:
        sentence = f"{seen}: the model is least sure where it is most right."
        return Verdict(aspect, "poor", sentence, picture="sparsification")
    if chance > 0.1 and float(numbers.error.max() - numbers.error.min()) > 0:
        sentence = f"{seen}: there are too few rows to tell whether the predicted spread helps."
        return Verdict(aspect, "unclear", sentence, picture="sparsification")
    return Verdict(
        aspect,
        "note",
        f"{seen}: the predicted spread says little about the size of the errors. That is right if all rows are equally "
        "hard to predict.",
        picture="sparsification",
    )


def honest_spread(
    numbers: SpreadSkill, design_effect: float = 1.0, left_out: int = 0, because_of: str = "", without: float = 1.0
) -> Verdict:
    """Whether errors are as large as predicted for small and for large spreads: each bin against its standard error.

    Args:
        numbers: by bins, with standard errors from the forecast.
        design_effect: of clusters.
        left_out: how many rows have no finite variance.
        because_of: the outliers in words, where there are any; they decide what the ratio is.
        without: the ratio of all other rows together.
    """
    aspect, looks = "error against spread", len(numbers.error)
    ratio = numbers.error / numbers.spread
    low, high = float(ratio[0]), float(ratio[-1])
    seen = f"Errors are {high:.2f} times the predicted spread"
    if looks > 1:
        seen = f"Where the predicted spread is smallest errors are {low:.2f} times it, where largest {high:.2f} times"
    if left_out:
        seen = f"{seen} ({left_out:,} rows whose predicted variance is infinite are left out)"
    # The variance of the squared ratio: twice the ratio's relative standard error, squared.
    variance = (2 * numbers.standard_error / numbers.spread).square() * design_effect
    off = gamma_tails(ratio.square(), variance) < CHANCE / looks
    by = size(float((ratio.log().abs() * off).max()))
    if because_of and by:
        total = float(_pooled(numbers, numbers.error) / _pooled(numbers, numbers.spread))
        sentence = f"{seen}. {because_of} make{'s' * because_of.startswith('Row')} it {total:.2f} over all; without {without:.2f}."
        return Verdict(aspect, _fault(by), sentence, picture="spread_skill", looks=looks)
    if bool(off.any()) and by:
        count = f"in {int(off.sum())} of {looks} parts of the rows" if looks > 1 else "overall"
        sentence = f"{seen}: {by} different from the prediction {count}."
        return Verdict(aspect, _fault(by), sentence, picture="spread_skill", looks=looks)
    hidden = critical(looks) * float(variance.max()) ** 0.5 / 2
    if hidden > SIZES[2]:
        sentence = f"{seen}: no more than chance, but these rows hide differences below {hidden:.0%}."
        return Verdict(aspect, "unclear", sentence, picture="spread_skill", looks=looks)
    return Verdict(
        aspect, "good", f"{seen}: as large as predicted, up to chance.", picture="spread_skill", looks=looks
    )


def sharp(numbers: Sharpness, unit: str = "") -> Verdict:
    """How wide the intervals are, beside one interval for all rows. No fault and no merit by itself."""
    return Verdict(
        "sharpness",
        "note",
        f"The {percent(numbers.level)} intervals are {numbers.mean:.4g}{unit and ' ' + unit} wide on average, "
        f"{numbers.relative:.0%} of the width that holds {percent(numbers.level)} of all outcomes.",
        picture="sharpness",
    )


def _pooled(numbers: SpreadSkill, values: Tensor) -> Tensor:
    return torch.sqrt((numbers.count * values.square()).sum() / numbers.count.sum())


def _fault(by: str) -> str:
    return "fair" if by == "slightly" else "poor"
