"""Whether a difference is more than chance.

Limits of standard errors that allow for several comparisons, and effective numbers of rows with
weights and clusters.
"""

import math

import torch
from torch import Tensor

from disthead.diagnostics.bands import chance_limit

__all__ = [
    "BAND",
    "CHANCE",
    "Clusters",
    "critical",
    "detectable",
    "effective_rows",
    "gamma_tails",
    "ndtri",
    "size",
    "z_of_sum",
]

BAND = 0.99  # the probability of the bands in pictures, which agrees with the limit of verdicts
CHANCE = 0.01  # the significance level: more probable differences are no faults
# Bounds of negligible, slight and clear effects, in predicted standard deviations or as a share of
# a width.
SIZES = (0.03, 0.15, 0.5)


def ndtri(q: float) -> float:
    """The quantile of level q of the standard normal distribution."""
    return float(torch.special.ndtri(torch.tensor(q, dtype=torch.float64)))


def critical(looks: int = 1) -> float:
    """The number of standard errors that counts as more than chance.

    The largest of `looks` differences exceeds it by chance with a probability of at most `CHANCE`,
    by Bonferroni's inequality.
    """
    return ndtri(1 - CHANCE / (2 * looks))


def size(effect: float) -> str:
    """The adverb for the size of an effect: "slightly", "clearly" or "far"; "" if negligible."""
    negligible, slight, clear = SIZES
    if effect < negligible:
        return ""
    return "slightly" if effect < slight else "clearly" if effect < clear else "far"


def z_of_sum(difference: float, variance: float, largest: float) -> float:
    """The distance of a sum (or mean) of bounded terms from its expectation, in standard errors.

    After Bernstein's inequality, sqrt(variance + largest |difference| / 3) takes the place of the
    standard error. By a normal limit, one event more than expected would be a fault where events
    are few or rare.

    Args:
        difference: of the sum from its expectation.
        variance: of the sum, according to the forecast.
        largest: the largest possible distance of one term from its expectation.
    """
    error = math.sqrt(variance + largest * abs(difference) / 3)
    return difference / error if error > 0 else 0.0


def detectable(variance: float, largest: float, looks: int = 1) -> float:
    """The smallest difference that is more than chance by `z_of_sum`; see there."""
    return chance_limit(variance, largest, 1 - CHANCE, looks)


def gamma_tails(ratio: Tensor, variance: Tensor) -> Tensor:
    """Twice the smaller tail probability of `ratio`, under the gamma distribution with mean 1.

    Mean squares of normal errors, divided by their expectation, have this distribution exactly,
    other mean squares nearly.

    Args:
        ratio: of a mean square and its expectation, shape (...).
        variance: of the ratio, shape (...).
    """
    shape = 1 / variance.clamp(min=1e-12)
    ratio = ratio.double().clamp(min=0)
    lower, upper = (
        torch.special.gammainc(shape, shape * ratio),
        torch.special.gammaincc(shape, shape * ratio),
    )
    return (2 * torch.minimum(lower, upper)).clamp(max=1)


def effective_rows(weight: Tensor | None, rows: int) -> float:
    """The effective number of rows, (sum w)^2 / sum w^2 (Kish 1965); `rows` without weights."""
    return (
        float(rows)
        if weight is None
        else float(weight.double().sum().square() / weight.double().square().sum())
    )


class Clusters:
    """The design effect of rows that come in clusters, from one batch after another.

    It is the variance of a weighted mean m from the sums of w (v - m) within clusters, divided by
    that from single rows. Source: Liang and Zeger 1986.

    >>> clusters = Clusters()
    >>> v = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    >>> clusters.add(v.repeat(2, 1), None, torch.arange(50).repeat(2))  # every row twice
    >>> round(clusters.variance_ratio(), 1)
    2.0
    """

    def __init__(self) -> None:
        self.own = torch.zeros(0, 0, dtype=torch.float64)  # by cluster: w, then w v of each column
        self.squares = torch.zeros(3, 0, dtype=torch.float64)  # sums of w^2, w^2 v, w^2 v^2
        self.rows = 0

    def add(self, values: Tensor, weight: Tensor | None, cluster: Tensor) -> None:
        """Adds rows of values (N, K), with weights (N,) and the indices of their clusters (N,)."""
        values = values.detach().double().cpu()
        w = (
            torch.ones(len(values), 1, dtype=torch.float64)
            if weight is None
            else weight.double().cpu().unsqueeze(-1)
        )
        terms = torch.cat([w, w * values], 1)
        grown = self.own.new_zeros(max(len(self.own), int(cluster.max()) + 1), terms.shape[1])
        if len(self.own):
            grown[: len(self.own)] = self.own
        self.own = grown.index_add(0, cluster.cpu(), terms)
        parts = [
            (w.square() * power).sum(0)
            for power in (torch.ones_like(values), values, values.square())
        ]
        self.squares = torch.stack(parts) + (self.squares if self.rows else 0)
        self.rows += len(values)

    def variance_ratio(self) -> float:
        """The variance of means with clusters over that of independent rows, summed over columns.

        NaN for fewer than two clusters or rows, and for values that do not vary.
        """
        total = self.own.sum(0)
        mean = total[1:] / total[0]
        seen = int((self.own[:, 0] > 0).sum())
        of_clusters = (self.own[:, 1:] - mean * self.own[:, :1]).square().sum(0)
        w2, w2v, w2v2 = self.squares
        of_rows = (w2v2 - 2 * mean * w2v + mean.square() * w2).sum()
        if of_rows <= 0 or seen < 2 or self.rows < 2:
            return math.nan
        return float(
            of_clusters.sum() * seen / (seen - 1) / (of_rows * self.rows / (self.rows - 1))
        )

    def design_effect(self) -> float:
        """The `variance_ratio`, but at least 1, since smaller ratios are chance."""
        ratio = self.variance_ratio()
        return max(1.0, ratio) if math.isfinite(ratio) else 1.0
