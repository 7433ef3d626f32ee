"""Predictions against a position."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from disthead.families.distribution import Distribution
from disthead.plots.style import BLUE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["prediction_band"]


@torch.no_grad()
def prediction_band(
    ax: "Axes",
    x: Tensor,
    dist: Distribution,
    y: Tensor | None = None,
    x_of_y: Tensor | None = None,
    levels: Sequence[float] = (0.5, 0.9),
    color: str = BLUE,
) -> "Axes":
    """Median and central intervals of `dist` against `x`, wider levels paler, with the observations over them.

    Args:
        ax: where to draw.
        x: positions (N,), one for each distribution of the batch.
        dist: batch_shape (N,), of one ordered number.
        y: observations, drawn as points.
        x_of_y: their positions; `x` unless given.
        levels: probabilities of the intervals.
        color: of median and bands.

    >>> import matplotlib.pyplot as plt
    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    >>> ax = prediction_band(plt.figure().add_subplot(), torch.arange(3.0), dist)
    >>> [artist.get_label() for artist in ax.collections]
    ['90 % interval', '50 % interval']
    """
    order = x.argsort()
    position = x[order].cpu().numpy()
    for k, level in enumerate(sorted(levels, reverse=True)):
        lower, upper = (end[order].cpu().numpy() for end in dist.interval(level))
        shade = 0.18 + 0.22 * k / max(len(levels) - 1, 1)
        ax.fill_between(
            position, lower, upper, color=color, alpha=shade, linewidth=0, label=f"{100 * level:g} % interval"
        )
    ax.plot(position, dist.median[order].cpu().numpy(), color=color, linewidth=2, label="median")
    if y is not None:
        points = (x if x_of_y is None else x_of_y).cpu().numpy()
        ax.scatter(points, y.cpu().numpy(), s=14, color="#333333", alpha=0.6, linewidth=0, zorder=3, label="observed")
    return ax
