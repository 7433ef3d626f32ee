"""Decisions: the action with the least expected cost."""

from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_tensor
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import class_count, each_output
from disthead.errors import locate

__all__ = ["decide"]


@torch.no_grad()
def decide(dist: Distribution, cost: Any = None) -> Tensor:
    """The action with the least expected cost under the distribution.

    The decision has the shape batch_shape + event_shape. For classes it is the index of an action;
    with one cost for all mistakes it is the mode. For ordered targets it is the quantile at
    cost_under / (cost_under + cost_over), in the unit of the target; with equal costs it is the
    median. Without costs it is the mode.

    Args:
        dist: the distribution that a head returned.
        cost: a tensor, an array, a table or lists of numbers. For classes a matrix (actions,
            classes), the cost of each action where that class is true. For ordered targets a pair
            (cost_under, cost_over), the costs per unit of an action below and above the outcome.

    Raises:
        ValueError: for costs that are not finite, not positive where they must be, or of the wrong
            shape.

    >>> from disthead import get_family
    >>> dist = get_family("bernoulli").distribution(probs=torch.tensor([0.05, 0.2, 0.9]))
    >>> decide(dist, cost=[[0, 10], [1, 0]])  # a missed positive costs ten false alarms
    tensor([0, 1, 1])
    """
    if cost is None:
        return dist.mode.detach()
    try:
        table = as_tensor(cost, "cost").to("cpu", torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(str(error)) from error
    if not table.isfinite().all():
        raise ValueError(f"costs must be finite, got {locate(~table.isfinite(), table)}.")
    return _cheapest(dist, table) if each_output(dist).kind in CLASSES else _quantile(dist, table)


def _cheapest(dist: Distribution, cost: Tensor) -> Tensor:
    classes = class_count(dist)
    if cost.ndim != 2 or cost.shape[1] != classes:
        raise ValueError(
            f"cost must be a matrix (actions, {classes}), one column per class, got the shape "
            f"{tuple(cost.shape)}."
        )
    # A cost that all actions share in a class changes no decision. After it is subtracted, rounding
    # of the expected costs keeps their differences, and equal costs give the probabilities.
    regret = cost - cost.amax(0)
    expected = dist.expected_cost(regret)
    best = expected.argmin(-1)
    if len(cost) != classes:
        return best
    mode = dist.mode.long()
    ties = expected.gather(-1, mode.unsqueeze(-1)).squeeze(-1) <= expected.amin(-1)
    return torch.where(ties, mode, best)


def _quantile(dist: Distribution, cost: Tensor) -> Tensor:
    if cost.shape != (2,) or not (cost > 0).all():
        raise ValueError(
            "cost for ordered targets must be a pair (cost_under, cost_over) of positive numbers, "
            f"such as (3, 1), got {cost.tolist()}."
        )
    under, over = cost
    level = under / (under + over)
    return dist.icdf(level.to(dist.device).expand(dist.batch_shape + dist.event_shape))
