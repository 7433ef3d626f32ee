"""Verdicts on whole vectors and on rankings, by dependence and by probability."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from disthead.metrics import Uniformity
from disthead.report.chance import CHANCE, SIZES, critical, size
from disthead.report.verdict import Status, Verdict
from disthead.report.wording import p_value as say_p
from disthead.report.wording import percent, plural, whole_percent

__all__ = ["dependence", "joint_density", "surprise"]


def dependence(observed: Tensor, predicted: Tensor, count: float, names: Sequence[str]) -> Verdict:
    """Whether outputs are dependent as predicted, by correlations of their normal residuals.

    The observed correlations have the standard error 1 / sqrt(count - 3) in Fisher's transform. The
    limit of chance allows for all pairs.

    Args:
        observed: correlations of the residuals, shape (D, D).
        predicted: those of the forecast, shape (D, D).
        count: the effective number of rows.
        names: of the D outputs.
    """
    aspect = "dependence between outputs"
    rows, columns = torch.triu_indices(len(observed), len(observed), 1)
    seen, expected = observed[rows, columns].nan_to_num(), predicted[rows, columns].nan_to_num()
    z = (
        seen.clamp(-0.999999, 0.999999).atanh() - expected.clamp(-0.999999, 0.999999).atanh()
    ) * math.sqrt(max(count - 3, 0))
    looks, worst = len(z), int(z.abs().argmax())
    pair = f"{names[int(rows[worst])]} and {names[int(columns[worst])]}"
    sentence = (
        f"The errors of {pair} have a correlation of {float(seen[worst]):.2f} where the model "
        f"predicts {float(expected[worst]):.2f}"
    )
    if looks > 1:
        sentence += f", the largest difference of {plural(looks, 'pair')}"
    by = size(abs(float(seen[worst] - expected[worst])))
    if abs(float(z[worst])) > critical(looks) and by:
        status: Status = "fair" if by == "slightly" else "poor"
        return Verdict(aspect, status, f"{sentence}: {by} different.", looks=looks)
    hidden = critical(looks) / math.sqrt(max(count - 3, 1))
    if hidden > SIZES[2] / 2:
        text = (
            f"{sentence}: no more than chance, but {count:,.0f} rows hide differences below "
            f"{min(hidden, 1):.2f}."
        )
        return Verdict(aspect, "unclear", text, looks=looks)
    return Verdict(aspect, "good", f"{sentence}: no more than chance.", looks=looks)


def joint_density(numbers: Uniformity, count: float, p_value: float | None = None) -> Verdict:
    """Whether whole vectors are as probable as predicted.

    Args:
        numbers: the uniformity of the ranks of their joint density.
        count: the effective number of rows.
        p_value: in place of that of Kolmogorov and Smirnov.
    """
    aspect = "all outputs together"
    p = numbers.ks_p_value if p_value is None else p_value
    seen = (
        "Probabilities of regions of highest density are off by at most "
        f"{percent(numbers.ks_statistic)} (density ranks of all outputs together, {say_p(p)})"
    )
    by = size(2 * numbers.ks_statistic)
    if p >= CHANCE:
        hidden = 1.63 / math.sqrt(count)
        if size(2 * hidden) in ("clearly", "far"):
            text = (
                f"{seen}: no more than chance, but {count:,.0f} rows hide errors up to "
                f"{whole_percent(min(hidden, 1))}."
            )
            return Verdict(aspect, "unclear", text, picture="joint")
        return Verdict(aspect, "good", f"{seen}: no more than chance.", picture="joint")
    if not by:
        return Verdict(
            aspect, "good", f"{seen}: more than chance, but too little to matter.", picture="joint"
        )
    cause = "too many" if numbers.mean < 0.5 else "too few"
    text = f"{seen}: {by} off; {cause} outcomes are where all outputs together are improbable."
    return Verdict(aspect, "fair" if by == "slightly" else "poor", text, picture="joint")


def surprise(observed: float, expected: float, error: float, count: float) -> Verdict:
    """Whether targets are as improbable as draws from the forecasts, by log score and entropy.

    Args:
        observed: the mean -log p of the targets, in nats.
        expected: the mean -log p of draws from the forecasts, in nats.
        error: the standard error of the observed mean if the forecasts are true.
        count: the effective number of rows.
    """
    aspect = "surprise"
    seen = (
        f"The mean log score is {observed:.4g} nats where the forecasts expect {expected:.4g} of "
        f"their own draws (standard error {error:.2g})"
    )
    difference = observed - expected
    share = abs(difference) / max(expected, 1e-12)
    if not math.isfinite(difference) or (abs(difference) > critical() * error and share >= 0.01):
        kind = "surer than it should be" if difference > 0 else "less sure than it could be"
        status: Status = "fair" if share < 0.05 else "poor"
        return Verdict(aspect, status, f"{seen}: the model is {kind}.")
    if critical() * error > 0.15 * max(expected, 1e-12):
        text = (
            f"{seen}: no more than chance, but {count:,.0f} rows hide differences below "
            f"{critical() * error:.2g} nats."
        )
        return Verdict(aspect, "unclear", text)
    return Verdict(aspect, "good", f"{seen}: as improbable as expected, up to chance.")
