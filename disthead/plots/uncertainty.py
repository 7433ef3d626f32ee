"""Pictures of predicted uncertainty: its size, whether it is right, and how useful it is."""

from typing import TYPE_CHECKING

import numpy as np

from disthead.diagnostics import Sharpness, Sparsification, SpreadSkill
from disthead.plots.style import BLUE, GREEN, GREY, VERMILION, chance, frame, percent, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["sharpness", "sparsification", "spread_skill"]


def spread_skill(
    ax: "Axes",
    numbers: SpreadSkill,
    title: str = "Error against spread",
    unit: str = "",
    confidence: float = 0.95,
    looks: int = 1,
) -> "Axes":
    """Root mean squared error against predicted standard deviation by bin.

    The points are on the diagonal if the errors are as large as predicted. Source: Fortin et al.
    2014.

    Args:
        ax: the axes to draw on.
        numbers: from `diagnostics.spread_skill`.
        title: the title of the plot.
        unit: the unit of the target.
        confidence: the probability that the bars of `looks` bins together hold the errors expected
            there.
        looks: how many bins were looked at; 1 for bars of each bin by itself.

    Raises:
        ValueError: if `confidence` is 1 or more.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead import diagnostics
    >>> error, std = torch.tensor([1.0, -2.0]), torch.tensor([1.0, 2.0])
    >>> numbers = diagnostics.spread_skill(error, std, bins=2)
    >>> spread_skill(plt.figure().add_subplot(), numbers, unit="km").get_xlabel()
    'predicted standard deviation (km)'
    """
    std, error = numbers.spread.cpu().numpy(), numbers.error.cpu().numpy()
    z, label = chance(confidence, looks, "bin")
    bars = z * numbers.standard_error.cpu().numpy()
    top = 1.12 * max(float((error + bars).max()), float(std.max()))
    bottom = min(float((error - bars).min()), float(std.min()))
    bottom = 0.0 if bottom < 0.35 * top else 0.9 * bottom
    ax.plot(
        [bottom, top],
        [bottom, top],
        color="black",
        linewidth=1,
        linestyle="--",
        label="as predicted",
    )
    ax.errorbar(
        std,
        error,
        yerr=bars,
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.2,
        elinewidth=1,
        capsize=2,
        label=f"observed, {label}",
    )
    ax.set_xlim(bottom, top)
    ax.set_ylim(bottom, top)
    frame(
        ax,
        title,
        with_unit("predicted standard deviation", unit),
        with_unit("root mean squared error", unit),
    )
    ax.legend(loc="best", frameon=False, fontsize="small")
    return ax


def sparsification(
    ax: "Axes",
    numbers: Sparsification,
    title: str = "Dropping the most uncertain rows",
    error: str = "mean absolute error",
) -> "Axes":
    """The mean error of the rows that remain when the most uncertain ones are dropped.

    Two more curves drop the rows with the largest errors, which is the best possible order, and any
    rows. Source: Ilg et al. 2018.

    Args:
        ax: the axes to draw on.
        numbers: from `diagnostics.sparsification`.
        title: the title of the plot.
        error: the name of the error, for the label of the axis.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead import diagnostics
    >>> error, uncertainty = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3])
    >>> numbers = diagnostics.sparsification(error, uncertainty)
    >>> len(sparsification(plt.figure().add_subplot(), numbers).lines)
    3
    """
    dropped = numbers.dropped.cpu().numpy()
    ax.axhline(numbers.random, color=GREY, linewidth=1.5, linestyle=":", label="any rows")
    ax.plot(
        dropped,
        numbers.error.cpu().numpy(),
        color=BLUE,
        linewidth=2,
        label="those the model is least sure of",
    )
    ax.plot(
        dropped,
        numbers.oracle.cpu().numpy(),
        color=GREEN,
        linewidth=1.5,
        linestyle="--",
        label="the worst (best possible)",
    )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.45 * max(numbers.random, float(numbers.error.max())))
    percent(ax.xaxis)
    frame(ax, title, "rows dropped", f"{error} of the rest")
    ax.legend(loc="upper right", frameon=False, fontsize="small")
    return ax


def sharpness(ax: "Axes", numbers: Sharpness, title: str = "Sharpness", unit: str = "") -> "Axes":
    """A histogram of the widths of the predicted intervals, in the unit of the target.

    Lines mark their mean and the width of the interval that the unconditional model (no features)
    needs for all rows. Source: Gneiting, Balabdaoui and Raftery 2007.

    Args:
        ax: the axes to draw on.
        numbers: from `diagnostics.sharpness`.
        title: the title of the plot.
        unit: the unit of the target.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead.diagnostics import Sharpness
    >>> ax = sharpness(plt.figure().add_subplot(), Sharpness(torch.tensor([1.0, 2.0]), 4.0, 0.9))
    >>> ax.get_xlabel()
    'width of the 90 % interval'
    """
    width = numbers.width.cpu().numpy()
    mean = numbers.mean
    weights = None if numbers.weight is None else numbers.weight.cpu().numpy()
    top = float(np.quantile(width, 0.995))
    reach = 1.05 * max(top, numbers.marginal)
    shown = width[width <= top]
    if float(shown.max() - shown.min()) <= 1e-6 * max(top, 1e-300):
        ax.bar([mean], [len(width)], width=0.02 * reach, color=BLUE, label="all rows alike")
    else:
        ax.hist(
            shown,
            bins=40,
            weights=None if weights is None else weights[width <= top],
            color=BLUE,
            edgecolor="white",
            linewidth=0.4,
            label="rows",
        )
    ax.axvline(mean, color="black", linewidth=1.5, label=f"mean {mean:.3g}")
    ax.axvline(
        numbers.marginal,
        color=VERMILION,
        linewidth=1.5,
        linestyle="--",
        label=f"one interval for all rows {numbers.marginal:.3g}",
    )
    ax.set_xlim(0, reach)
    ax.set_ylim(0, 1.5 * ax.get_ylim()[1])
    frame(ax, title, with_unit(f"width of the {100 * numbers.level:g} % interval", unit), "rows")
    ax.legend(loc="upper right", framealpha=1.0, edgecolor="none", fontsize="small")
    return ax
