"""Bands of chance for histograms of the PIT and for coverage curves."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CoverageCurve", "PITBand", "chance_limit", "coverage_curve", "pit_band"]


@dataclass(frozen=True)
class PITBand:
    """A histogram of the probability integral transform (PIT) with a simultaneous band.

    Attributes:
        frequency: the share of the rows in each bin, shape (bins,).
        lower: the lower end of the band, the same for all bins. If the forecast is calibrated, all
            bins lie inside the band together with the probability `confidence`.
        upper: the upper end of the band.
        count: the number of rows.
        confidence: the probability of the band.
    """

    frequency: Tensor
    lower: float
    upper: float
    count: float
    confidence: float

    @property
    def outside(self) -> int:
        """The number of bins outside the band."""
        return int(((self.frequency < self.lower) | (self.frequency > self.upper)).sum())


def pit_band(frequency: Tensor, count: float, confidence: float = 0.95) -> PITBand:
    """A histogram of PIT values with its simultaneous band.

    Each bin's count is binomial; the band is 1 / bins +- z sqrt((1 - 1 / bins) / (bins count)),
    with z the normal quantile for which all bins stay inside (Šidák 1967). It is too wide for the
    non-randomised PIT of counts, which varies less than a uniform sample.

    Args:
        frequency: the share of the rows in each bin, shape (bins,), with the sum 1.
        count: the number of rows.
        confidence: the probability of the band.

    Raises:
        ValueError: unless `count` is positive.

    >>> band = pit_band(torch.tensor([0.1, 0.1, 0.2, 0.6]), count=1000)
    >>> band.outside
    4
    """
    _check_count(count)
    bins = len(frequency)
    factor = _normal_quantile(0.5 + 0.5 * confidence ** (1 / bins))
    half = factor * math.sqrt((1 - 1 / bins) / (bins * count))
    return PITBand(frequency, max(0.0, 1 / bins - half), 1 / bins + half, count, confidence)


@dataclass(frozen=True)
class CoverageCurve:
    """The coverage of central intervals by their level, with a simultaneous band.

    Attributes:
        level: nominal levels, shape (L,).
        coverage: observed shares of the rows inside the intervals, shape (L,).
        standard_error: of the observed coverages, shape (L,).
        lower: the lower end of the band, shape (L,). If the forecast is calibrated, all coverages
            lie inside the band together with the probability `confidence`.
        upper: the upper end of the band, shape (L,).
        count: the number of rows.
        confidence: the probability of the band.
    """

    level: Tensor
    coverage: Tensor
    standard_error: Tensor
    lower: Tensor
    upper: Tensor
    count: float
    confidence: float


def coverage_curve(
    level: Tensor, coverage: Tensor, count: float, confidence: float = 0.95
) -> CoverageCurve:
    """The coverages of central intervals with their simultaneous band.

    Coverages of one sample vary together like a Brownian bridge. The band is
    level +- z sqrt(level (1 - level) / count), with z the quantile of the bridge's largest
    standardised distance at these levels, by simulation.

    Args:
        level: nominal levels between 0 and 1, rising, shape (L,).
        coverage: observed coverages, shape (L,).
        count: the number of rows.
        confidence: the probability of the band.

    Raises:
        ValueError: unless `count` is positive.

    >>> curve = coverage_curve(torch.tensor([0.5, 0.9]), torch.tensor([0.4, 0.8]), count=100)
    >>> (curve.coverage < curve.lower).tolist()
    [False, True]
    """
    _check_count(count)
    level, coverage = level.double().cpu(), coverage.double().cpu()
    std = (level * (1 - level) / count).sqrt()
    half = _bridge_quantile(level, confidence) * std
    error = (coverage * (1 - coverage) / count).clamp(min=0).sqrt()
    return CoverageCurve(
        level,
        coverage,
        error,
        (level - half).clamp(min=0),
        (level + half).clamp(max=1),
        count,
        confidence,
    )


def chance_limit(
    variance: float, largest: float, confidence: float = 0.95, looks: int = 1
) -> float:
    """The distance from its expectation that a mean of bounded terms exceeds by chance.

    It is the solution d of d = z sqrt(variance + largest d / 3), with z the normal quantile for all
    looks by Bonferroni's inequality: a normal limit that is wider where few or rare terms
    contribute, after Bernstein's inequality.

    Args:
        variance: the variance of the mean.
        largest: the largest change of the mean by one term.
        confidence: the probability that none of `looks` means exceeds the limit.
        looks: the number of means.

    >>> round(chance_limit(0.09 / 10_000, 0.9 / 10_000), 4)  # of 10,000 rows nine in ten are inside
    0.0059
    """
    z2 = _normal_quantile(1 - (1 - confidence) / (2 * looks)) ** 2
    return z2 * largest / 6 + math.sqrt((z2 * largest / 6) ** 2 + z2 * variance)


def _bridge_quantile(level: Tensor, confidence: float, samples: int = 20_000) -> float:
    """The quantile of max_k |B(t_k)| / sqrt(t_k (1 - t_k)) for a Brownian bridge B."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.cat([level.new_zeros(1), level, level.new_ones(1)])
    steps = (
        torch.randn(samples, len(ends) - 1, generator=generator, dtype=level.dtype)
        * ends.diff().sqrt()
    )
    walk = steps.cumsum(-1)
    bridge = walk[:, :-1] - level * walk[:, -1:]
    return float((bridge.abs() / (level * (1 - level)).sqrt()).amax(-1).quantile(confidence))


def _normal_quantile(q: float) -> float:
    return float(torch.special.ndtri(torch.tensor(q, dtype=torch.float64)))


def _check_count(count: float) -> None:
    if not count > 0:
        raise ValueError(f"count must be the number of rows, more than 0, got {count}.")
