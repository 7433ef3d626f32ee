"""Rows whose outcome is more extreme than chance allows under the forecast."""

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
    """The rows that are more extreme than any of `count` rows should be.

    Attributes:
        rows: pairs of index and description of the worst of them, the most extreme first.
        total: the number of such rows.
        least: the least `tail_log_prob` of all rows.
        count: the number of all rows.
    """

    rows: tuple[tuple[int, str], ...]
    total: int
    least: float
    count: int


@torch.no_grad()
def tail_log_prob(dist: Distribution, y: Tensor) -> Tensor:
    """The log probability of an outcome at least as extreme as y under the forecast, shape (N,).

    For one ordered number the probability is twice the smaller of P(Y <= y) and P(Y >= y); for
    directions the same with the circular PIT. For classes it is the probability of all classes that
    are no more probable than y, and for rankings the same for the item ranked first.

    Args:
        dist: distributions with batch_shape (N,).
        y: targets of shape (N,), rankings of shape (N, items).

    Raises:
        NotImplementedError: for distributions without a cdf or class probabilities.

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
    """The least `tail_log_prob` that any outcome of any row can have.

    It is -inf unless the outcomes are classes or rankings.

    >>> from disthead import get_family
    >>> least_tail_log_prob(get_family("bernoulli").distribution(probs=torch.full((3,), 0.5)))
    0.0
    """
    probs = _event_probs(dist)
    return -math.inf if probs is None else float(_no_more_probable(probs, probs.argmin(-1)).min())


def _event_probs(dist: Distribution) -> Tensor | None:
    """Probabilities of the classes, or of the item ranked first, (N, K); None for other kinds."""
    if dist.kind == "ranking":
        return dist.top1.double()
    return class_probs(dist, torch.float64) if dist.kind in CLASSES else None


def _no_more_probable(probs: Tensor, y: Tensor) -> Tensor:
    own = probs.gather(-1, y.unsqueeze(-1))
    return torch.where(probs <= own * (1 + 1e-9), probs, 0.0).sum(-1).log().clamp(max=0)
