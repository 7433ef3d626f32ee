"""The least probable targets of a stream, with their rows."""

import math

import torch
from torch import Tensor

from disthead.diagnostics.outliers import Outliers, least_tail_log_prob, tail_log_prob
from disthead.distributions.base import CLASSES, Distribution
from disthead.report.chance import CHANCE

__all__ = ["KEPT_ROWS", "Extremes", "limit"]

KEPT_ROWS = 20


def limit(rows: int) -> float:
    """The log of the tail probability below which a target is an outlier, among so many rows.

    By chance there is one in a table of so many rows with a probability of at most `CHANCE`.
    """
    return float(torch.tensor(CHANCE / rows, dtype=torch.float64).log())


class Extremes:
    """The least probable targets of all batches.

    Attributes:
        kept: log of the tail probability, number and description of the least probable rows.
        possible: log of the smallest tail probability that any target could have had.
    """

    def __init__(self) -> None:
        self.kept: list[tuple[float, int, str]] = []
        self.possible = math.inf

    def update(self, dist: Distribution, y: Tensor, number: Tensor) -> None:
        """Adds the rows of a batch; `number` has their numbers, shape (N,)."""
        log_p = tail_log_prob(dist, y).cpu()
        self.possible = min(self.possible, least_tail_log_prob(dist))
        least = log_p.argsort(stable=True)[:KEPT_ROWS]
        words = _words(dist[least.to(dist.device)], y[least.to(y.device)])
        added = zip(log_p[least].tolist(), number[least].tolist(), words, strict=True)
        self.kept = sorted([*self.kept, *added])[:KEPT_ROWS]

    def outliers(self, rows: int) -> Outliers:
        """The outliers among so many rows, by `limit`."""
        beyond = tuple((row, words) for log_p, row, words in self.kept if log_p < limit(rows))
        return Outliers(beyond, len(beyond), self.kept[0][0], rows)


def _words(dist: Distribution, y: Tensor) -> list[str]:
    """A description of each target beside its forecast."""
    if dist.kind == "ranking":
        first = dist.top1.gather(-1, y[..., :1].long()).squeeze(-1)
        return [
            f"item {item} came first, predicted with {p:.2g}"
            for item, p in zip(y[:, 0].tolist(), first.tolist(), strict=True)
        ]
    values = y.tolist()
    if dist.kind in CLASSES:
        p = dist.log_prob(y).exp().tolist()
        return [
            f"y = {value:g}, predicted with {own:.2g}" for value, own in zip(values, p, strict=True)
        ]
    distance = ((y - dist.mean).abs() / dist.stddev).tolist()
    if dist.kind == "direction":
        distance = (
            torch.atan2((y - dist.mean).sin(), (y - dist.mean).cos()).abs() / dist.stddev
        ).tolist()
    return [
        f"y = {value:.4g}, {z:.3g} predicted spreads from the mean"
        if z < float("inf")
        else f"y = {value:.4g}"
        for value, z in zip(values, distance, strict=True)
    ]
