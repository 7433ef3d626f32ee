"""The least probable outcomes of a stream, with their rows."""

import math

import torch
from torch import Tensor

from disthead.diagnostics.outliers import Outliers, least_tail_log_prob, tail_log_prob
from disthead.distributions.base import CLASSES, Distribution
from disthead.report.chance import CHANCE

__all__ = ["KEPT", "Extremes", "limit"]

KEPT = 20  # rows


def limit(rows: int) -> float:
    """The log-probability below which an outcome of so many rows is an outlier: chance makes one in a hundred such tables."""
    return float(torch.tensor(CHANCE / rows, dtype=torch.float64).log())


class Extremes:
    """Keeps the least probable outcomes of all batches."""

    def __init__(self) -> None:
        self.kept: list[tuple[float, int, str]] = []  # log-probability, row, words
        self.possible = math.inf  # the least log-probability that any outcome could have had

    def update(self, dist: Distribution, y: Tensor, number: Tensor) -> None:
        log_p = tail_log_prob(dist, y).cpu()
        self.possible = min(self.possible, least_tail_log_prob(dist))
        least = log_p.argsort(stable=True)[:KEPT]
        words = _words(dist[least.to(dist.device)], y[least.to(y.device)])
        found = zip(log_p[least].tolist(), number[least].tolist(), words, strict=True)
        self.kept = sorted([*self.kept, *found])[:KEPT]

    def outliers(self, rows: int) -> Outliers:
        beyond = tuple((row, words) for log_p, row, words in self.kept if log_p < limit(rows))
        return Outliers(beyond, len(beyond), self.kept[0][0], rows)


def _words(dist: Distribution, y: Tensor) -> list[str]:
    """What is remarkable about each outcome."""
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
