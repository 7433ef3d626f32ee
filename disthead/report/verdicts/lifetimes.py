"""Verdicts on forecasts of censored numbers, such as lifetimes."""

import torch
from torch import Tensor

from disthead.report.chance import CHANCE, size
from disthead.report.verdict import Status, Verdict
from disthead.report.wording import p_value as say_p
from disthead.report.wording import percent

__all__ = ["d_calibration", "order", "over_time"]


def d_calibration(shares: Tensor, count: float) -> Verdict:
    """Whether equally wide bins of the forecast probabilities hold equally many rows.

    The test is Pearson's; a censored row is spread over the bins that its forecast leaves. Source:
    Haider, Hoehn, Davis and Greiner 2020, Effective ways to build and evaluate individual survival
    distributions.

    Args:
        shares: of the rows in each bin, (bins,).
        count: the effective number of rows.
    """
    expected = 1 / len(shares)
    statistic = count * ((shares - expected).square() / expected).sum()
    p_value = float(
        torch.special.gammaincc(0.5 * statistic.new_tensor(len(shares) - 1), 0.5 * statistic)
    )
    least, most = percent(float(shares.min())), percent(float(shares.max()))
    seen = (
        f"Each {percent(expected)} of the forecast probabilities holds {least} to {most} of the "
        f"rows (D-calibration, {say_p(p_value)})"
    )
    if p_value >= CHANCE:
        sentence = f"{seen}: no more than chance. Censored rows hide faults."
        return Verdict("D-calibration", "good", sentence, picture="pit")
    by = size(2 * float((shares - expected).cumsum(0).abs().max()))
    if not by:
        sentence = f"{seen}: more than chance, but too little to matter."
        return Verdict("D-calibration", "good", sentence, picture="pit")
    status: Status = "fair" if by == "slightly" else "poor"
    return Verdict("D-calibration", status, f"{seen}: {by} off.", picture="pit")


def order(concordance: float) -> Verdict:
    """The share of pairs of rows in the predicted order, as a note.

    Args:
        concordance: of the predicted medians (Harrell's C).
    """
    sentence = (
        f"Of the pairs of rows whose order is known, {percent(concordance)} are in the order of "
        "their predicted medians (Harrell's C; 50 % is chance)."
    )
    return Verdict("order of events", "note", sentence)


def over_time(horizon: float, crps: float, unit: str, events: int) -> Verdict:
    """The CRPS up to a horizon, as a note.

    Args:
        horizon: the last time that counts.
        crps: the mean up to it.
        unit: of the target.
        events: the number of events up to it.
    """
    unit = f" {unit}" if unit else ""
    sentence = (
        f"Up to {horizon:.4g}{unit}, by which {events:,} events were seen, the CRPS is "
        f"{crps:.4g}{unit}; rows count by one over the probability not to be censored, which must "
        "not depend on the features."
    )
    return Verdict("probabilities over time", "note", sentence)
