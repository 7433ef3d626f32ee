"""How far frequencies stray by chance: bands for a histogram of the PIT and for a curve of coverages."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CoverageCurve", "PITBand", "chance_limit", "coverage_curve", "pit_band"]


@dataclass(frozen=True)
class PITBand:
    """A histogram of the PIT with the band in which a calibrated forecast stays.

    Attributes:
        frequency: share of the rows in each bin, shape (bins,).
        lower, upper: the same for all bins; all bins lie inside together with the probability
            `confidence`.
        count: rows.
        confidence: of the band.
    """

    frequency: Tensor
    lower: float
    upper: float
    count: float
    confidence: float

    @property
    def outside(self) -> int:
        """How many bins are outside the band."""
        return int(((self.frequency < self.lower) | (self.frequency > self.upper)).sum())


def pit_band(frequency: Tensor, count: float, confidence: float = 0.95) -> PITBand:
    """The simultaneous band of a histogram of `count` PIT values, shares that sum to one in `frequency`, shape (bins,).

    Each bin's count is binomial, 1 / bins +- z sqrt((1 - 1 / bins) / (bins count)), with z the
    normal quantile for which all bins stay inside (Šidák 1967). Too wide for the non-randomised PIT
    of counts, which strays less than a uniform sample.

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
    """How much of the data the central intervals of each level held.

    Attributes:
        level: nominal, shape (L,).
        coverage: observed, shape (L,).
        standard_error: of the observed ones.
        lower, upper: where all of a calibrated forecast's coverages lie together with the
            probability `confidence`.
        count: rows.
        confidence: of the band.
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
    """The coverages (L,) of central intervals at rising levels (L,) with their simultaneous band.

    Coverages of one sample rise and fall together like a Brownian bridge; the band is level +- z
    sqrt(level (1 - level) / count), with z the quantile, found by simulation, of the bridge's
    largest standardised distance at these levels.

    >>> curve = coverage_curve(torch.tensor([0.5, 0.9]), torch.tensor([0.4, 0.8]), count=100)
    >>> (curve.coverage < curve.lower).tolist()
    [False, True]
    """
    _check_count(count)
    level, coverage = level.double().cpu(), coverage.double().cpu()
    spread = (level * (1 - level) / count).sqrt()
    half = _bridge_quantile(level, confidence) * spread
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
    """How far the largest of `looks` means of bounded terms strays from its expectation by chance.

    The solution d of d = z sqrt(variance + largest d / 3), with z the normal quantile for all looks
    (Bonferroni): a normal limit that is cautious where few or rare terms count, after Bernstein's
    inequality.

    Args:
        variance: of the mean.
        largest: how far one term can move it.
        confidence: that none of the looks goes beyond.
        looks: how many means there are.

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
