"""`SpreadSkill`: the error of the mean beside the predicted standard deviation."""

from typing import Any

import torch
from torch import Tensor

from disthead.distributions.independent import each_output
from disthead.distributions.outputs import error_of
from disthead.metrics.checks import Rows
from disthead.metrics.state import OfRows, keep_apart, over_processes

__all__ = ["SpreadSkill"]

_PER_OCTAVE, _OCTAVES = 16, 64  # standard deviations from 2^-64 to 2^64, in steps of 4 %


class SpreadSkill(OfRows):
    """The root mean squared error of the mean beside the predicted standard deviation, in bins.

    Bins are of the predicted standard deviation, the spread, and have about equal weight.
    `compute()` gives a dictionary with the spread, error, standard_error and count of each bin,
    each of shape (bins,), the first three in the units of y. Spread and error agree in every bin of
    a calibrated forecast. Of directions, both are chords of the unit circle: the error is 2
    sin(angle / 2), the spread sqrt(2 (1 - R)) with the mean resultant length R.

    Source: Fortin et al. 2014.

    Args:
        bins: the largest number of bins; rows whose spreads differ by less than 4 % are not
            separated.

    Raises:
        ValueError: for fewer than one bin; see also `OfRows.update`.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, bins: int = 10, **options: Any):
        super().__init__(**options)
        if bins < 1:
            raise ValueError(f"bins must be 1 or more, got {bins}.")
        self.bins = bins
        # rows, and sums over them of w, w variance, w error^2, w^2, w^2 error^2, w^2 error^4 for
        # the weight w
        state = torch.zeros(2 * _OCTAVES * _PER_OCTAVE + 1, 7, dtype=torch.float64)
        self.add_state("sums", state, dist_reduce_fx="sum")
        keep_apart(self)

    def _add_rows(self, rows: Rows) -> None:
        if not rows.count:
            return
        square, variance = _squares(rows)
        rows.refuse_nan(square, "the error of the mean")
        rows.refuse_nan(variance, "the standard deviation")
        w = rows.weights_like(square)
        place = (variance.log2() / 2).clamp(-_OCTAVES, _OCTAVES) * _PER_OCTAVE
        place = place.round().long() + _OCTAVES * _PER_OCTAVE
        w2 = w.square()
        parts = [
            torch.ones_like(w),
            w,
            w * variance,
            w * square,
            w2,
            w2 * square,
            w2 * square.square(),
        ]
        self.sums = self.sums.index_add(
            0, place.reshape(-1), torch.stack(parts, -1).reshape(-1, len(parts))
        )

    def compute(self) -> dict[str, Tensor]:
        """The spread, error, standard_error and count of each bin, each of shape (bins,)."""
        sums = self.sums[self.sums[:, 0] > 0]
        share = (sums[:, 1].cumsum(0) - sums[:, 1] / 2) / sums[:, 1].sum()
        bin_ = (share * self.bins).long().clamp(max=self.bins - 1)
        _, bin_ = bin_.unique(return_inverse=True)
        size = int(bin_.max()) + 1 if len(bin_) else 0
        binned = sums.new_zeros(size, sums.shape[-1]).index_add(0, bin_, sums)
        count, weight, variance, square, w2, w2_square, w2_fourth = binned.unbind(-1)
        mean = square / weight
        scatter = (w2_fourth - 2 * mean * w2_square + mean.square() * w2).clamp(min=0)
        noise = (scatter * count / (count - 1).clamp(min=1)).sqrt() / weight  # of the mean square
        error = mean.sqrt()
        return {
            "spread": (variance / weight).sqrt().float(),
            "error": error.float(),
            "standard_error": torch.where(error > 0, noise / (2 * error), 0.0).float(),
            "count": count.float(),
        }

    @over_processes
    def ratio(self) -> Tensor:
        """The root mean variance over the root mean squared error of all rows, of shape ().

        It is 1 for a calibrated forecast, more where forecasts are too wide, less where too narrow.
        """
        return self._ratio()

    def _ratio(self) -> Tensor:
        _, _, variance, square, *_ = self.sums.sum(0)
        return (variance / square).sqrt().float()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draws error against spread with the line on which they agree; returns (figure, ax)."""
        import matplotlib.pyplot as plt

        from disthead import diagnostics, plots

        ax = plt.figure(figsize=(4, 4)).add_subplot() if ax is None else ax
        return ax.figure, plots.spread_skill(
            ax, diagnostics.SpreadSkill(**(self.compute() if val is None else val))
        )


def _squares(rows: Rows) -> tuple[Tensor, Tensor]:
    """The squared error of the mean and its expectation, in double precision."""
    error = error_of(rows.dist, rows.y, "mean").detach().double()
    if each_output(rows.dist).kind == "direction":
        return (2 * (error / 2).sin()).square(), 2 * rows.dist.variance.detach().double()
    return error.square(), rows.dist.stddev.detach().double().square()
