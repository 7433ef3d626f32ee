"""`SpreadSkill`: is the error as large as the spread that was predicted?"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from disthead.families.distribution import Distribution
from disthead.metrics.checks import check_number, check_rows
from disthead.metrics.state import keep_apart

__all__ = ["SpreadSkill"]

_PER_OCTAVE, _OCTAVES = 16, 64  # stddevs from 2^-64 to 2^64, told apart by 4 %


class SpreadSkill(Metric):
    """Root mean squared error of the mean against the predicted standard deviation, in bins of about equal numbers of rows.

    `compute()` gives a dictionary: spread, error, standard_error and count of each bin. Spread and error agree in every bin
    of an honest forecast. Source: Fortin et al. 2014, and earlier.

    Args:
        bins: how many at most; rows whose stddevs differ by less than 4 % stay together.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, bins: int = 10, **options: Any):
        super().__init__(**options)
        if bins < 1:
            raise ValueError(f"bins must be 1 or more, got {bins}.")
        self.bins = bins
        # rows, and sums over them of the weight w, w variance, w error^2, w error^4
        state = torch.zeros(2 * _OCTAVES * _PER_OCTAVE + 1, 5, dtype=torch.float64)
        self.add_state("sums", state, dist_reduce_fx="sum")
        keep_apart(self)

    def update(self, dist: Distribution, y: Tensor, weight: Tensor | None = None) -> None:
        """Add rows; several outputs are pooled."""
        from disthead.metrics.scores import _error

        check_rows(dist, y, weight)
        error, stddev = _error(dist, y, "mean").detach().double(), dist.stddev.detach().double()
        check_number(error, y, "the error of the mean")
        check_number(stddev, y, "the standard deviation")
        w = torch.ones_like(error)
        if weight is not None:
            w = weight.detach().to(w).reshape(weight.shape + (1,) * len(dist.event_shape)).expand_as(w)
        place = (stddev.log2().clamp(-_OCTAVES, _OCTAVES) * _PER_OCTAVE).round().long() + _OCTAVES * _PER_OCTAVE
        square, some = error.square(), (w > 0).to(w)
        rows = torch.stack([some, w, w * stddev.square(), w * square, w * square.square()], -1)
        self.sums = self.sums.index_add(0, place.reshape(-1), rows.reshape(-1, 5))

    def compute(self) -> dict[str, Tensor]:
        sums = self.sums[self.sums[:, 0] > 0]
        share = (sums[:, 0].cumsum(0) - sums[:, 0] / 2) / sums[:, 0].sum()
        bin_ = (share * self.bins).long().clamp(max=self.bins - 1)
        _, bin_ = bin_.unique(return_inverse=True)
        size = int(bin_.max()) + 1 if len(bin_) else 0
        count, weight, variance, square, fourth = sums.new_zeros(size, 5).index_add(0, bin_, sums).unbind(-1)
        error = (square / weight).sqrt()
        noise = ((fourth / weight - (square / weight).square()).clamp(min=0) / (count - 1).clamp(min=1)).sqrt()
        return {
            "spread": (variance / weight).sqrt().float(),
            "error": error.float(),
            "standard_error": torch.where(error > 0, noise / (2 * error), 0.0).float(),
            "count": count.float(),
        }

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Error against spread with the line on which they agree; returns (figure, ax)."""
        import matplotlib.pyplot as plt

        from disthead import diagnostics, plots

        ax = plt.figure(figsize=(4, 4)).add_subplot() if ax is None else ax
        return ax.figure, plots.spread_skill(ax, diagnostics.SpreadSkill(**(self.compute() if val is None else val)))
