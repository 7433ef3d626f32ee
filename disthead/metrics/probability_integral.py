"""`PITHistogram` and `Coverage`, metrics of the probability integral transform (PIT).

Both keep the same state, a fine histogram of the PIT, so that a `MetricCollection` that holds both
updates one.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_integer
from disthead.distributions.base import Distribution
from disthead.distributions.scores import draw
from disthead.distributions.univariate import check_level
from disthead.metrics.checks import Rows, chunks
from disthead.metrics.state import OfRows, over_processes

__all__ = ["Coverage", "PITHistogram", "Uniformity"]

_FINE = 2000  # levels that are multiples of 0.001 have their quantiles on its edges


@dataclass(frozen=True)
class Uniformity:
    """How far PIT values are from the uniform distribution of a calibrated forecast.

    Attributes:
        ks_statistic: the largest distance of the distribution functions (Kolmogorov-Smirnov).
        ks_p_value: the probability of a larger one for a calibrated forecast (Stephens 1970).
        cvm_statistic: n times the mean squared distance (Cramer-von Mises).
        cvm_p_value: the probability of a larger one (Anderson and Darling 1952).
        mean: 1/2 if calibrated; more where targets tend to lie above the forecasts.
        dispersion: 12 times the variance, 1 if calibrated; more where forecasts are too narrow,
            less where too wide.
    """

    ks_statistic: float
    ks_p_value: float
    cvm_statistic: float
    cvm_p_value: float
    mean: float
    dispersion: float


class _PIT(OfRows):
    """The fine histogram of the PIT.

    Of counts, the unit of mass of y is uniform over the jump from F(y - 1) to F(y) (Czado, Gneiting
    and Held 2009).

    Args:
        num_outputs: None pools the outputs of a vector; D keeps a histogram for each of D outputs.
        randomised: for counts, one uniform number in the jump instead of a uniform mass over it, as
            p-values need.
        joint: the PIT of whole vectors, P(p(Y) <= p(y)) by samples, instead of that of their
            outputs. The density is the pre-rank; uniform values mean that regions of highest
            density are calibrated.
        samples: the number of samples for the joint PIT.
        seed: of all random numbers.
    """

    full_state_update = False
    fine: Tensor
    rows: Tensor
    squares: Tensor

    def __init__(
        self,
        *,
        num_outputs: int | None = None,
        randomised: bool = False,
        joint: bool = False,
        samples: int = 200,
        seed: int = 0,
        **options: Any,
    ):
        super().__init__(**options)
        if joint and num_outputs is not None:
            raise ValueError(
                "the joint PIT of a vector is one number: joint=True takes no num_outputs."
            )
        self.num_outputs, self.randomised, self.joint = num_outputs, randomised, joint
        self.takes_censored = not joint
        self.samples, self.seed, self._updates = samples, seed, 0
        shape = (_FINE,) if num_outputs is None else (num_outputs, _FINE)
        self.add_state("fine", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        # the number of rows, and the sum of their squared weights
        self.add_state("rows", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        # A MetricCollection merges metrics with equal states. This state never changes, so that
        # only metrics of equal options are merged.
        configuration = torch.tensor([randomised, joint, samples, seed], dtype=torch.float64)
        self.add_state("configuration", configuration, dist_reduce_fx="max")

    def _add_rows(self, rows: Rows) -> None:
        count, outputs = rows.count, self.num_outputs or 1
        if not count:
            return
        below, upto = self._jump(rows.dist, rows.y)
        is_jump = below is not upto
        rows.refuse_nan(below, "the probability integral transform")
        below = below.detach().to(self.fine).reshape(count, -1)
        upto = upto.detach().to(self.fine).reshape(count, -1) if is_jump else below
        if self.num_outputs is not None and below.shape[1] != outputs:
            raise ValueError(
                f"{type(self).__name__} was made for num_outputs={outputs}, the distribution has "
                f"{below.shape[1]}."
            )
        columns = below.shape[1]
        self.rows = self.rows + count
        if rows.weight is None:
            w, self.squares = None, self.squares + count
        else:
            w = rows.weight.detach().to(below).reshape(-1, 1)
            self.squares = self.squares + w.square().sum()
        if not is_jump and w is None and columns == 1:
            place = (below.reshape(-1).clamp(0, 1) * _FINE).long().clamp(max=_FINE - 1)
            self.fine = self.fine + torch.bincount(place, minlength=_FINE).reshape(self.fine.shape)
            return
        w = torch.ones_like(below) if w is None else w.expand_as(below)
        w = w / (columns if self.num_outputs is None else 1)
        place = torch.arange(columns, device=below.device) * (self.num_outputs is not None)
        place = place.expand_as(below).reshape(-1)
        counts = _histogram_of_jumps(
            below.reshape(-1), upto.reshape(-1), w.reshape(-1), place, outputs
        )
        self.fine = self.fine + counts.reshape(self.fine.shape)

    def _jump(self, dist: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
        # Not the seed itself, with which targets may have been simulated.
        generator = torch.Generator().manual_seed(
            zlib.crc32(f"pit {self.seed} {self._updates}".encode())
        )
        if self.joint:
            self._updates += 1
            ranks = [
                _pre_rank(part, target, self.samples, generator)
                for part, target in chunks(dist, y, self.samples)
            ]
            below, upto = (
                torch.cat(ends) if len(ends) > 1 else ends[0] for ends in zip(*ranks, strict=True)
            )
            u = torch.rand(below.shape, generator=generator, dtype=torch.float64).to(below.device)
            value = below + u * (upto - below)
            return value, value
        outputs = dist.marginals if dist.event_shape else dist
        below, upto = outputs.cdf_limits(y)
        if self.randomised and bool((below < upto).any()):
            self._updates += 1
            u = torch.rand(below.shape, generator=generator, dtype=torch.float64).to(below.device)
            below = upto = below + u * (upto - below)
        return below, upto

    @over_processes
    def count(self) -> float:
        """The number of rows."""
        return float(self.rows)

    @over_processes
    def effective_count(self) -> float:
        """The effective number of rows, (sum w)^2 / sum w^2 for weights w.

        Source: Kish 1965.
        """
        return float(self._effective_count())

    def _effective_count(self) -> Tensor:
        weight = self.fine.sum() / (self.num_outputs or 1)
        return torch.where(self.squares > 0, weight.square() / self.squares, 0.0)

    def cumulative(self) -> Tensor:
        """The cdf of the PIT at 0, 1/2000 ... 1, shape (2001,) or (num_outputs, 2001)."""
        total = self.fine.cumsum(-1) / self.fine.sum(-1, keepdim=True)
        return torch.cat([torch.zeros_like(total[..., :1]), total], -1)

    @over_processes
    def uniformity(self) -> "Uniformity | list[Uniformity]":
        """The distance of the PIT from the uniform distribution, one for each of `num_outputs`.

        The p-values hold for many independent rows with continuous or randomised PIT values
        (Stephens 1970). Rows with weights count with their `effective_count()`.
        """
        uniformities = self._uniformities()
        return uniformities[0] if self.num_outputs is None else uniformities

    def _uniformities(self) -> list[Uniformity]:
        rows = float(self._effective_count())
        return [_uniformity(row, rows) for row in self.cumulative().reshape(-1, _FINE + 1).cpu()]


class PITHistogram(_PIT):
    """The histogram of the probability integral transform (PIT) F(y).

    It is flat for calibrated forecasts, a U where they are too narrow and a hump where too wide.
    `compute()` gives the share of each bin, shape (bins,), or (num_outputs, bins); they sum to one.
    Of counts, the mass of y is uniform over the jump of the cdf (Czado, Gneiting and Held 2009). Of
    censored targets, it is uniform from F(lower) to F(upper), as where the forecast is right: with
    10 bins these are the shares of D-calibration (Haider, Hoehn, Davis and Greiner 2020). So
    miscalibration shows in the observed rows, and less the more are censored.

    Source: Dawid 1984; Gneiting, Balabdaoui and Raftery 2007.

    Args:
        bins: the number of bins, a divisor of 2000.
        **options: `num_outputs` keeps a histogram for each of so many outputs, where None pools
            them; `randomised` draws one uniform number in the jump of a count; `joint` takes the
            PIT of whole vectors, from `samples` samples; `seed` of all random numbers.

    Raises:
        ValueError: for other numbers of bins, and `joint` with `num_outputs`; see also
            `OfRows.update`.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(4), scale=1.0)
    >>> PITHistogram(bins=2)(dist, torch.tensor([-1.0, 0.5, 1.0, 2.0]))
    tensor([0.2500, 0.7500])
    """

    def __init__(self, bins: int = 20, **options: Any):
        super().__init__(**options)
        bins = as_integer(bins, "bins")
        if _FINE % bins:
            raise ValueError(f"bins must divide {_FINE}, such as 10, 16, 20 or 25, got {bins}.")
        self.bins = bins

    def compute(self) -> Tensor:
        """The share of rows in each bin, (bins,) or (num_outputs, bins)."""
        share = self.fine.reshape(*self.fine.shape[:-1], self.bins, -1).sum(-1)
        return (share / share.sum(-1, keepdim=True)).float()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draws the histogram with the band of a calibrated forecast; returns (figure, ax)."""
        import matplotlib.pyplot as plt

        from disthead.diagnostics import pit_band
        from disthead.plots import pit_histogram

        ax = plt.figure(figsize=(4, 3)).add_subplot() if ax is None else ax
        share = torch.as_tensor(self.compute() if val is None else val)
        if share.ndim > 1:
            raise ValueError(
                f"one picture shows one output, this histogram has {len(share)}: "
                "plot(histogram.compute()[0])."
            )
        return ax.figure, pit_histogram(ax, pit_band(share, self.effective_count()))


class Coverage(_PIT):
    """The share of targets inside the central intervals of each level.

    For a calibrated forecast it is the level itself. `compute()` gives a tensor of shape (levels,),
    or (num_outputs, levels), from the PIT: exact where a level is a multiple of 0.001, else linear
    between those. Of counts, whose intervals cannot have any probability, it is the expected share
    of a randomised interval.

    Args:
        levels: probabilities of the intervals.
        **options: as for `PITHistogram`; with `joint`, regions of highest density take the place of
            intervals.

    Raises:
        ValueError: for levels outside (0, 1), and `joint` with `num_outputs`; see also
            `OfRows.update`.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(4), scale=1.0)
    >>> Coverage(levels=[0.5, 0.9])(dist, torch.tensor([-1.0, 0.5, 1.0, 2.0]))
    tensor([0.2500, 0.7500])
    """

    def __init__(self, levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95), **options: Any):
        super().__init__(**options)
        levels = [levels] if isinstance(levels, (int, float)) else levels
        for level in levels:
            check_level(level)
        self.levels = [float(level) for level in levels]

    def compute(self) -> Tensor:
        """The share of targets inside the intervals, (levels,) or (num_outputs, levels)."""
        level = torch.tensor(self.levels, dtype=self.fine.dtype, device=self.fine.device)
        if self.joint:  # regions of highest density leave out only the lowest densities
            return (1 - self._at(1 - level)).float()
        return (self._at((1 + level) / 2) - self._at((1 - level) / 2)).float()

    def _at(self, q: Tensor) -> Tensor:
        place = (q * _FINE).clamp(0, _FINE)
        place = torch.where((place - place.round()).abs() < 1e-6, place.round(), place)
        lower = place.floor().long().clamp(max=_FINE - 1)
        cumulative = self.cumulative()
        return torch.lerp(cumulative[..., lower], cumulative[..., lower + 1], place - lower)

    @over_processes
    def standard_error(self) -> Tensor:
        """The standard error sqrt(c (1 - c) / rows) of each coverage c, for independent rows.

        Rows with weights count with their `effective_count()`.
        """
        share = Coverage.compute(self)
        return (share * (1 - share) / self._effective_count()).sqrt().float()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draws observed against nominal coverage with a band; returns (figure, ax)."""
        import matplotlib.pyplot as plt

        from disthead import plots
        from disthead.diagnostics import coverage_curve

        ax = plt.figure(figsize=(4, 4)).add_subplot() if ax is None else ax
        share = torch.as_tensor(self.compute() if val is None else val)
        order = torch.tensor(self.levels).argsort()
        level = torch.tensor(self.levels)[order]
        return ax.figure, plots.coverage_curve(
            ax, coverage_curve(level, share[..., order.to(share.device)], self.effective_count())
        )


def _histogram_of_jumps(
    below: Tensor, upto: Tensor, weight: Tensor, place: Tensor, outputs: int
) -> Tensor:
    """Histograms (outputs, _FINE) of weights, each uniform over its interval [below, upto]."""
    below, upto = below.clamp(0, 1), upto.clamp(0, 1)
    first = (below * _FINE).long().clamp(max=_FINE - 1)
    last = (upto * _FINE).long().clamp(max=_FINE - 1)
    # A jump inside one bin is added to that bin, and so is a very narrow one, whose slope would
    # lose digits. The others are slopes, summed twice: the mass below an edge e is the sum of
    # w (e - below) / (upto - below) while e is inside the jump, and w after it.
    inside = (first == last) | (upto - below < 1e-6)
    size = outputs * _FINE
    counts = torch.zeros(size, dtype=below.dtype, device=below.device)
    counts.index_add_(0, place * _FINE + first, torch.where(inside, weight, 0.0))
    rate = torch.where(inside, 0.0, weight / torch.where(inside, 1.0, upto - below))
    edges = torch.arange(1, _FINE + 1, dtype=below.dtype, device=below.device) / _FINE
    rise, offset = torch.zeros(2, outputs, _FINE, dtype=below.dtype, device=below.device)
    for end, bin_, sign in ((below, first, 1), (upto, last, -1)):
        # from the right edge of the bin in which the jump starts (ends) on
        rise.view(-1).index_add_(0, place * _FINE + bin_, sign * rate)
        offset.view(-1).index_add_(0, place * _FINE + bin_, sign * rate * end)
    mass = rise.cumsum(-1) * edges - offset.cumsum(-1)
    return counts.reshape(outputs, _FINE) + mass.diff(dim=-1, prepend=torch.zeros_like(mass[:, :1]))


def _pre_rank(
    dist: Distribution, y: Tensor, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The limits of the rank of log p(y) among those of samples, as shares.

    y is one of samples + 1 exchangeable draws.
    """
    with torch.no_grad():
        own = dist.log_prob(y)
        others = dist.log_prob(draw(dist, samples, generator))
    lower = torch.where(own.isnan(), math.nan, (others < own).sum(0).double())
    tied = (others == own).sum(0).double()
    return lower / (samples + 1), (lower + tied + 1) / (samples + 1)


def _uniformity(cumulative: Tensor, rows: float) -> Uniformity:
    edges = torch.linspace(0, 1, _FINE + 1, dtype=torch.float64)
    distance = cumulative - edges
    ks, square = float(distance.abs().max()), distance.square()
    cvm = rows * float((square[1:] + square[:-1] + distance[1:] * distance[:-1]).mean()) / 3
    share, middle = cumulative.diff(), (edges[1:] + edges[:-1]) / 2
    mean = float((share * middle).sum())
    variance = float((share * (middle - mean).square()).sum())
    return Uniformity(
        ks, _kolmogorov_tail(ks, rows), cvm, _cramer_von_mises_tail(cvm), mean, 12 * variance
    )


def _kolmogorov_tail(distance: float, rows: float) -> float:
    """P(sup |B| > x) of a Brownian bridge, with Stephens' correction of 1970 for finite samples."""
    root = math.sqrt(rows)
    x = (root + 0.12 + 0.11 / root) * distance if rows else math.nan
    if not x > 0.2:
        return 1.0 if x <= 0.2 else math.nan
    return min(1.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101)))


def _cramer_von_mises_tail(x: float) -> float:
    """P(integral of B^2 > x) of a Brownian bridge B (Anderson and Darling 1952, equation 4.35)."""
    if not x > 0:
        return 1.0 if x == 0 else math.nan
    j, t = torch.arange(40, dtype=torch.float64), torch.linspace(0, 14, 1401, dtype=torch.float64)
    q = (4 * j + 1).square() / (16 * x)
    # exp(-q) K_1/4(q), by the integral of exp(-q cosh t) cosh(t / 4), which the trapezoidal rule
    # gives to rounding
    kernel = torch.exp(-q.unsqueeze(-1) * (1 + t.cosh())) * (t / 4).cosh()
    bessel = 0.01 * (kernel.sum(-1) - kernel[:, 0] / 2)
    factor = torch.exp(torch.lgamma(j + 0.5) - torch.lgamma(j + 1)) / math.sqrt(math.pi)
    below = float((factor * (4 * j + 1).sqrt() * bessel).sum()) / (math.pi * math.sqrt(x))
    return min(1.0, max(0.0, 1 - below))
