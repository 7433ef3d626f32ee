"""Rows whose outcome is further out than chance allows: how improbable the forecast holds anything as extreme."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.diagnostics.directions import circular_pit
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import class_probs

__all__ = ["Outliers", "least_tail_log_prob", "tail_log_prob"]


@dataclass(frozen=True)
class Outliers:
    """The rows that are further out than any of `count` rows should be.

    Attributes:
        rows: (row, words) of those that are named, the worst first; rows count from 0.
        total: how many there are.
        least: the logarithm of the least probability of all rows.
        count: how many rows were looked at.
    """

    rows: tuple[tuple[int, str], ...]
    total: int
    least: float
    count: int


@torch.no_grad()
def tail_log_prob(dist: Distribution, y: Tensor) -> Tensor:
    """log of the probability of an outcome as far out as y, or further, if the forecast is true, shape (N,).

    Of one ordered number twice the smaller of P(Y <= y) and P(Y >= y), of directions the same on
    either way round from opposite the mean; of classes the probability of all classes that are no
    more probable than y, and of rankings the same for the item that came first.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> tail_log_prob(dist, torch.tensor([1.96, 60.0]))
    tensor([   -2.9958, -1804.3204], dtype=torch.float64)
    """
    probs = _event_probs(dist)
    if probs is not None:
        return _no_more_probable(probs, (y[..., 0] if dist.kind == "ranking" else y).long())
    if dist.kind == "direction":
        u = circular_pit(dist, y)
        return (2 * torch.minimum(u, 1 - u)).log().clamp(max=0)
    if dist.kind in ("count", "mixed"):
        below, upto = dist.cdf_limits(y.double())
        return (2 * torch.minimum(upto, 1 - below)).double().log().clamp(max=0)
    tail = torch.minimum(dist.log_cdf(y.double()), dist.log_survival(y.double()))
    return (tail.double() + torch.log(torch.tensor(2.0, dtype=torch.float64))).clamp(max=0)


@torch.no_grad()
def least_tail_log_prob(dist: Distribution) -> float:
    """The least `tail_log_prob` that any outcome of any row can have: of numbers, counts and directions as good as none.

    >>> from disthead import get_family
    >>> least_tail_log_prob(get_family("bernoulli").distribution(probs=torch.full((3,), 0.5)))
    0.0
    """
    probs = _event_probs(dist)
    return -math.inf if probs is None else float(_no_more_probable(probs, probs.argmin(-1)).min())


def _event_probs(dist: Distribution) -> Tensor | None:
    """Of the classes, or of the items to come first, (N, K); None of what is no event."""
    if dist.kind == "ranking":
        return dist.top1.double()
    return class_probs(dist, torch.float64) if dist.kind in CLASSES else None


def _no_more_probable(probs: Tensor, y: Tensor) -> Tensor:
    own = probs.gather(-1, y.unsqueeze(-1))
    return torch.where(probs <= own * (1 + 1e-9), probs, 0.0).sum(-1).log().clamp(max=0)
