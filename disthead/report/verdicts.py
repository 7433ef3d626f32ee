"""Numbers into sentences: is a difference more than chance, and is it large enough to matter?"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from disthead.diagnostics import Reliability, Sharpness, Sparsification, SpreadSkill
from disthead.report.verdict import Score, Status, Verdict

__all__ = ["Score", "Verdict"]

CHANCE = 0.01  # a difference that chance exceeds more often than this is not held against a model
# Effects in units of the predicted spread, or as a relative width: negligible, slight, clear, and beyond.
SIZES = (0.03, 0.15, 0.5)


def coverage(level: float, observed: float, count: float) -> Verdict:
    """Whether the central intervals of one level hold what they promise.

    Chance: the binomial standard error at the level. Effect: how much wider the intervals have to be, for a normal shape.
    """
    aspect = f"{100 * level:g} % intervals"
    spread = math.sqrt(level * (1 - level) / count)
    error = math.sqrt(max(observed * (1 - observed), 0.25 / count) / count)
    seen = f"The {_percent(level)} intervals held {_percent(observed, error)} of the outcomes (standard error {_se(error)})"
    factor = _widening(level, observed, count)
    if abs(observed - level) > _critical() * spread:
        kind = "narrow" if observed < level else "wide"
        size = _size(abs(math.log(factor)))
        if not size:
            return Verdict(aspect, "good", f"{seen}: too {kind} by a hair, which does not matter.")
        change = f"{abs(factor - 1):.0%} {'wider' if factor > 1 else 'narrower'}"
        return Verdict(
            aspect,
            "fair" if size == "slightly" else "poor",
            f"{seen}: {size} too {kind}. They would have to be about {change}.",
        )
    if math.log(_widening(level, level - _critical() * spread, count)) > SIZES[1]:
        return Verdict(
            aspect,
            "unclear",
            f"{seen}: in agreement with {_percent(level)}, but {count:,.0f} rows would not show a difference below "
            f"{_critical() * spread:.1%}.",
        )
    return Verdict(aspect, "good", f"{seen}: as promised.")


def bias(above: float, count: float, is_circular: bool = False) -> Verdict:
    """Whether outcomes lie above the predicted median as often as below; effect in units of the predicted spread."""
    error = math.sqrt(max(above * (1 - above), 0.25 / count) / count)
    side = "anticlockwise of" if is_circular else "above"
    seen = f"{_percent(above, error)} of the outcomes were {side} the predicted median (standard error {_se(error)})"
    shift = _ndtri(min(max(above, 0.5 / count), 1 - 0.5 / count))
    if abs(above - 0.5) > _critical() * 0.5 / math.sqrt(count):
        kind = "low" if above > 0.5 else "high"
        if is_circular:
            kind = "far clockwise" if above > 0.5 else "far anticlockwise"
        size = _size(abs(shift))
        if not size:
            return Verdict("bias", "good", f"{seen}: no bias that matters.")
        return Verdict(
            "bias",
            "fair" if size == "slightly" else "poor",
            f"{seen}: predictions are {size} too {kind}, by about {abs(shift):.2f} of the predicted spread.",
        )
    if _critical() * _ndtri(0.5 + 0.5 / math.sqrt(count) if count > 4 else 0.9) > SIZES[1]:
        return Verdict("bias", "unclear", f"{seen}: no sign of a bias, but {count:,.0f} rows show only a large one.")
    return Verdict("bias", "good", f"{seen}: no bias.")


def shape(distance: float, p_value: float, dispersion: float, count: float) -> Verdict:
    """Whether the PIT is uniform: Kolmogorov and Smirnov's distance is the largest error of any predicted probability."""
    seen = (
        f"Predicted probabilities are off by at most {_percent(distance)} (PIT histogram, p = {_p(p_value)}, "
        f"dispersion {dispersion:.2f} where 1 is right)"
    )
    size = _size(2 * distance)
    if p_value >= CHANCE:
        hidden = 1.63 / math.sqrt(count)  # the distance that has a p-value of 0.01
        if _size(2 * hidden) in ("clearly", "far"):
            return Verdict(
                "shape",
                "unclear",
                f"{seen}: no more than chance, but {count:,.0f} rows hide errors up to {hidden:.0%}.",
            )
        return Verdict("shape", "good", f"{seen}: no more than chance.")
    if not size:
        return Verdict("shape", "good", f"{seen}: more than chance, but too little to matter.")
    if dispersion > 1.05:
        cause = "too many outcomes are surprises at both ends, the spread is too small"
    elif dispersion < 0.95:
        cause = "too many outcomes are near the middle, the spread is too large"
    else:
        cause = "the spread is right on the whole, a bias or the shape is not"
    return Verdict("shape", "fair" if size == "slightly" else "poor", f"{seen}: {size} off; {cause}.")


def informative(numbers: Sparsification, error: str = "mean absolute error") -> Verdict:
    """Whether rows of large predicted spread have large errors: the gain against a random order, by its rank test."""
    aspect = "does the spread inform?"
    half = int((numbers.dropped <= 0.5).sum()) - 1
    left, best = float(numbers.error[half]), float(numbers.oracle[half])
    seen = (
        f"Without the half of the rows that the model is least sure of, the {error} goes from {numbers.random:.4g} to "
        f"{left:.4g} (the best possible is {best:.4g})"
    )
    if numbers.gain > _critical() * numbers.standard_error and numbers.gain > 0.1:
        return Verdict(aspect, "good", f"{seen}: the predicted spread tells sure predictions from unsure ones.")
    if numbers.gain < -_critical() * numbers.standard_error:
        return Verdict(aspect, "poor", f"{seen}: the model is least sure where it is most right.")
    if numbers.gain > 0.1 and _critical() * numbers.standard_error > 0.1:
        return Verdict(aspect, "unclear", f"{seen}: it seems to help, but there are too few rows to be sure.")
    return Verdict(
        aspect,
        "note",
        f"{seen}: the predicted spread says little about the size of the errors. That is right if all rows are equally "
        "hard to predict.",
    )


def honest_spread(numbers: SpreadSkill, unit: str = "") -> Verdict:
    """Whether errors are as large as predicted for small and for large spreads: each bin against its standard error."""
    aspect = "error against spread"
    ratio = numbers.error / numbers.spread
    z = (numbers.error - numbers.spread) / numbers.standard_error.clamp(min=1e-300)
    low, high = float(ratio[0]), float(ratio[-1])
    where = (
        "Errors are" if len(ratio) == 1 else f"Where the predicted spread is smallest errors are {low:.2f} times it,"
    )
    seen = f"{where} {high:.2f} times the predicted spread" if len(ratio) == 1 else f"{where} where largest {high:.2f}"
    off = z.abs() > _critical(len(ratio))
    worst = float((ratio.log().abs() * off).max())
    size = _size(worst)
    if not bool(off.any()) or not size:
        return Verdict(aspect, "good", f"{seen}: as large as predicted, up to chance.")
    count = f"in {int(off.sum())} of {len(ratio)} parts of the rows" if len(ratio) > 1 else "overall"
    return Verdict(
        aspect, "fair" if size == "slightly" else "poor", f"{seen}: {size} different from the prediction {count}."
    )


def by_group(coverages: dict[str, tuple[float, float]], level: float, name: str) -> Verdict:
    """Whether the intervals hold what they promise in every group; the limit of chance allows for looking at all of them."""
    aspect = f"calibration by {name}"
    sizes = {label: (rate - level) / math.sqrt(level * (1 - level) / rows) for label, (rate, rows) in coverages.items()}
    worst = max(sizes, key=lambda label: abs(sizes[label]))
    rate, rows = coverages[worst]
    error = math.sqrt(max(rate * (1 - rate), 0.25 / rows) / rows)
    seen = (
        f"Of {len(coverages)} {_groups(name)}, {worst} is the worst: its {_percent(level)} intervals held "
        f"{_percent(rate, error)} of {rows:,.0f} outcomes"
    )
    size = _size(abs(math.log(_widening(level, rate, rows))))
    if abs(sizes[worst]) <= _critical(len(coverages)) or not size:
        return Verdict(aspect, "good", f"{seen}, which chance explains.")
    kind = "narrow" if rate < level else "wide"
    return Verdict(aspect, "fair" if size == "slightly" else "poor", f"{seen}: {size} too {kind} there.")


def bias_by_group(shares: dict[str, tuple[float, float]], name: str) -> Verdict:
    """Whether outcomes lie above the predicted median as often as below in every group, shares by label with their rows."""
    aspect = f"bias by {name}"
    sizes = {label: (share - 0.5) * 2 * math.sqrt(rows) for label, (share, rows) in shares.items()}
    worst = max(sizes, key=lambda label: abs(sizes[label]))
    share, rows = shares[worst]
    seen = (
        f"Of {len(shares)} {_groups(name)}, {worst} is the worst: {_percent(share, 0.5 / math.sqrt(rows))} of "
        f"{rows:,.0f} outcomes were above the predicted median"
    )
    shift = _ndtri(min(max(share, 0.5 / rows), 1 - 0.5 / rows))
    size = _size(abs(shift))
    if abs(sizes[worst]) <= _critical(len(shares)) or not size:
        return Verdict(aspect, "good", f"{seen}, which chance explains.")
    kind = "low" if share > 0.5 else "high"
    sentence = f"{seen}: predictions are {size} too {kind} there, by about {abs(shift):.2f} of the predicted spread."
    return Verdict(aspect, "fair" if size == "slightly" else "poor", sentence)


def sharp(numbers: Sharpness, unit: str = "") -> Verdict:
    """How wide the intervals are, beside one interval for all rows. No fault and no merit by itself."""
    width = float(numbers.width.mean())
    return Verdict(
        "sharpness",
        "note",
        f"The {_percent(numbers.level)} intervals are {width:.4g}{unit and ' ' + unit} wide on average, "
        f"{numbers.relative:.0%} of the width that holds {_percent(numbers.level)} of all outcomes.",
    )


def probabilities(numbers: Reliability, what: str) -> Verdict:
    """Whether events happen as often as predicted: CORP's miscalibration by its p-value and beside the uncertainty."""
    share = numbers.miscalibration / numbers.uncertainty if numbers.uncertainty > 0 else 0.0
    name = "Brier score" if numbers.level is None else "pinball loss"
    seen = (
        f"Of the {name} {numbers.score:.4g} of {what}, {numbers.miscalibration:.2g} is miscalibration "
        f"(p = {_p(numbers.p_value)}); a constant forecast has {numbers.uncertainty:.4g}"
    )
    aspect = f"reliability of {what}"
    if numbers.p_value >= CHANCE:
        return Verdict(aspect, "good", f"{seen}: no more than chance.")
    if share < 0.01:
        return Verdict(aspect, "good", f"{seen}: more than chance, but too little to matter.")
    if share < 0.05:
        return Verdict(aspect, "fair", f"{seen}: slightly miscalibrated.")
    return Verdict(aspect, "poor", f"{seen}: clearly miscalibrated.")


def confidence(claimed: float, right: float, standard_error: float, what: str) -> Verdict:
    """Whether the most probable answer is right as often as the model says: paired difference, in percentage points."""
    difference = claimed - right
    claim = f"{_percent(claimed, standard_error)} was claimed (standard error of the difference {_se(standard_error)})"
    seen = f"{what} was right in {_percent(right, standard_error)} of the rows, {claim}"
    if abs(difference) <= _critical() * standard_error or abs(difference) < 0.005:
        return Verdict("confidence", "good", f"{seen}: neither over- nor underconfident.")
    kind = "overconfident" if difference > 0 else "underconfident"
    if abs(difference) < 0.03:
        return Verdict("confidence", "fair", f"{seen}: slightly {kind}.")
    return Verdict("confidence", "poor", f"{seen}: clearly {kind}.")


def dependence(observed: Tensor, simulated: Tensor, count: float, names: Sequence[str]) -> Verdict:
    """Whether outputs go together as predicted: correlations of their normal residuals against those of one simulated set.

    Both stray by 1 / sqrt(count) in Fisher's transform; the limit of chance allows for looking at all pairs.
    """
    rows, columns = torch.triu_indices(len(observed), len(observed), 1)
    seen, expected = observed[rows, columns], simulated[rows, columns]
    z = (seen.clamp(-0.999999, 0.999999).atanh() - expected.clamp(-0.999999, 0.999999).atanh()) * math.sqrt(count / 2)
    worst = int(z.abs().argmax())
    pair = f"{names[int(rows[worst])]} and {names[int(columns[worst])]}"
    sentence = (
        f"The errors of {pair} have a correlation of {float(seen[worst]):.2f} where the model predicts "
        f"{float(expected[worst]):.2f}"
    )
    size = _size(abs(float(seen[worst] - expected[worst])))
    aspect = "dependence between outputs"
    if abs(float(z[worst])) <= _critical(len(z)) or not size:
        return Verdict(aspect, "good", f"{sentence}, the largest difference of all pairs: no more than chance.")
    status: Status = "fair" if size == "slightly" else "poor"
    return Verdict(aspect, status, f"{sentence}: {size} different. A joint family can learn it.")


def comparison(name: str, difference: Score, skill: float | None, baseline: str) -> Verdict:
    """Whether the model scores better than the other on the same rows: the paired difference by its standard error."""
    amount = f"{abs(difference.value):.3g} ± {difference.standard_error:.2g}{difference.unit and ' ' + difference.unit}"
    part = f", {abs(skill):.0%} of its score" if skill is not None and math.isfinite(skill) else ""
    aspect = f"against {baseline} by {name}"
    if abs(difference.value) <= _critical() * difference.standard_error:
        return Verdict(
            aspect, "fair", f"By {name} the model and {baseline} differ by {amount} a row: no more than chance."
        )
    if difference.value < 0:
        return Verdict(aspect, "good", f"By {name} the model is better than {baseline} by {amount} a row{part}.")
    return Verdict(aspect, "poor", f"By {name} the model is worse than {baseline} by {amount} a row{part}.")


def _critical(looks: int = 1) -> float:
    return _ndtri(1 - CHANCE / (2 * looks))


def _size(effect: float) -> str:
    """ "" for a negligible effect, else an adverb."""
    negligible, slight, clear = SIZES
    if effect < negligible:
        return ""
    return "slightly" if effect < slight else "clearly" if effect < clear else "far"


def _widening(level: float, observed: float, count: float) -> float:
    """The factor by which normal intervals that hold `observed` have to widen to hold `level`."""
    observed = min(max(observed, 0.5 / count), 1 - 0.5 / count)
    return _ndtri((1 + level) / 2) / _ndtri((1 + observed) / 2)


def _ndtri(q: float) -> float:
    return float(torch.special.ndtri(torch.tensor(q, dtype=torch.float64)))


def _percent(value: float, error: float | None = None) -> str:
    if error is None:
        return f"{100 * value:.3g} %"
    digits = 1 if error >= 1e-3 else 2
    return f"{100 * value:.{digits}f} %"


def _se(error: float) -> str:
    return f"{100 * error:.{1 if error >= 1e-3 else 2}f} %"


def _p(p_value: float) -> str:
    return f"{p_value:.2g}" if p_value >= 1e-4 else "below 0.0001"


def _groups(name: str) -> str:
    return "groups" if name == "group" else f"ranges of a {name}"
