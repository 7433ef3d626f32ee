"""How well a probability separates events from non-events: the area under the ROC curve."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Discrimination", "discrimination"]


@dataclass(frozen=True)
class Discrimination:
    """The area under the ROC curve of a probability.

    Attributes:
        auc: the probability that a row with the event has a higher forecast than one without it;
            1/2 for a random order.
        standard_error: of `auc` (DeLong, DeLong and Clarke-Pearson 1988); nan with fewer than two
            rows of either kind.
        events: the number of rows with the event.
        count: the number of rows.
    """

    auc: float
    standard_error: float
    events: int
    count: int


@torch.no_grad()
def discrimination(
    forecast: Tensor, outcome: Tensor, weight: Tensor | None = None
) -> Discrimination:
    """The area under the ROC curve of a probability; ties count half.

    It is nan if all rows had the event, or none. Source: Hanley and McNeil 1982; of the standard
    error: DeLong, DeLong and Clarke-Pearson 1988.

    Args:
        forecast: probabilities of the event, shape (N,); only their order matters.
        outcome: 0 or 1, shape (N,).
        weight: of each row, shape (N,), by default 1.

    >>> discrimination(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1])).auc
    0.75
    """
    w = (
        torch.ones(len(forecast), dtype=torch.float64, device=forecast.device)
        if weight is None
        else weight.double()
    )
    happened = outcome > 0.5
    values, place = forecast.unique(return_inverse=True)
    with_event, without = (
        w.new_zeros(len(values)).index_add(0, place, w * part) for part in (happened, ~happened)
    )
    positive, negative = with_event.sum(), without.sum()
    # for each value, the share of the rows of the other kind that are ordered correctly
    below = (without.cumsum(0) - 0.5 * without) / negative
    above = 1 - (with_event.cumsum(0) - 0.5 * with_event) / positive
    auc = (with_event * below).sum() / positive
    variance = _variance(below[place][happened], w[happened], auc)
    variance = variance + _variance(above[place][~happened], w[~happened], auc)
    return Discrimination(float(auc), float(variance.sqrt()), int(happened.sum()), len(forecast))


def _variance(share: Tensor, weight: Tensor, mean: Tensor) -> Tensor:
    rows = len(share)
    total = (
        (weight * (share - mean)).square().sum() * rows / (rows - 1)
        if rows > 1
        else mean * torch.nan
    )
    return total / weight.sum().square()
