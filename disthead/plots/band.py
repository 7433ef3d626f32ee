"""Predicted medians and intervals with the observations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.plots.style import BLUE, VERMILION, frame, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["interval_chart", "prediction_band"]


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
    """Median and central intervals of `dist` against `x`, with the observations as points.

    Intervals of higher levels are paler.

    Args:
        ax: the axes to draw on.
        x: positions of shape (N,), one for each distribution of the batch, in any order and unit.
        dist: distributions of one ordered number with batch_shape (N,), in the units of y.
        y: observations of shape (M,), drawn as points; None for none.
        x_of_y: their positions of shape (M,), by default `x`.
        levels: probabilities of the intervals, between 0 and 1.
        color: the colour of median and bands.

    Raises:
        NotImplementedError: for distributions without a median or intervals, such as unordered
            classes.

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
            position,
            lower,
            upper,
            color=color,
            alpha=shade,
            linewidth=0,
            label=f"{100 * level:g} % interval",
        )
    ax.plot(position, dist.median[order].cpu().numpy(), color=color, linewidth=2, label="median")
    if y is not None:
        points = (x if x_of_y is None else x_of_y).cpu().numpy()
        ax.scatter(
            points,
            y.cpu().numpy(),
            s=14,
            color="#333333",
            alpha=0.6,
            linewidth=0,
            zorder=3,
            label="observed",
        )
    return ax


@torch.no_grad()
def interval_chart(
    ax: "Axes",
    dist: Distribution,
    y: Tensor,
    levels: tuple[float, float] = (0.5, 0.9),
    title: str = "Predictions and outcomes",
    unit: str = "",
) -> "Axes":
    """Intervals of a few rows side by side, in the order of their medians, with the outcomes.

    Args:
        ax: the axes to draw on.
        dist: distributions of one ordered number with batch_shape (N,), in the units of y; up to
            about 60 rows are distinguishable.
        y: outcomes of shape (N,).
        levels: probabilities of the two bars, between 0 and 1; the thick one has the lower level.
        title: the title of the plot.
        unit: the unit of y.

    Raises:
        NotImplementedError: for distributions without a median or intervals, such as unordered
            classes.
        ValueError: unless there are two levels.

    >>> import matplotlib.pyplot as plt
    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.tensor([1.0, 0.0]), scale=1.0)
    >>> ax = interval_chart(plt.figure().add_subplot(), dist, torch.zeros(2))
    >>> ax.get_legend_handles_labels()[1]
    ['50 % interval', '90 % interval', 'median', 'outcome inside']
    """
    order = dist.median.argsort()
    place = torch.arange(len(order)).numpy()
    for level, width, alpha in zip(sorted(levels), (5.0, 2.0), (0.45, 0.45), strict=True):
        lower, upper = (end[order].cpu().numpy() for end in dist.interval(level))
        ax.vlines(
            place,
            lower,
            upper,
            color=BLUE,
            linewidth=width,
            alpha=alpha,
            label=f"{100 * level:g} % interval",
        )
    ax.plot(
        place,
        dist.median[order].cpu().numpy(),
        "_",
        color="white",
        markersize=5,
        markeredgewidth=1.5,
    )
    # an entry of the legend with the median white on blue, as in the plot
    legend = ax.plot([], [], "_", color=BLUE, linestyle="-", linewidth=8, label="median")[0]
    legend.set(markeredgecolor="white", markersize=5, markeredgewidth=1.5)
    observed = y[order].cpu().numpy()
    inside = (observed >= lower) & (observed <= upper)
    ax.scatter(
        place[inside],
        observed[inside],
        s=14,
        color="black",
        zorder=3,
        linewidth=0,
        label="outcome inside",
    )
    if not inside.all():
        ax.scatter(
            place[~inside],
            observed[~inside],
            s=26,
            color=VERMILION,
            marker="D",
            zorder=3,
            linewidth=0,
            label=f"outside the {100 * max(levels):g} %",
        )
    frame(ax, title, "rows, in the order of their predicted median", with_unit("outcome", unit))
    ax.set_xticks([])
    ax.legend(loc="upper left", frameon=False, fontsize="small", ncols=2)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.25 * (top - bottom))
    return ax
