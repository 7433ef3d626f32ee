"""Pictures of observed and expected frequencies of counts, directions and classes."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from disthead.diagnostics import Confusion, Rootogram, Rose
from disthead.plots.style import BLUE, GREY, VERMILION, chance, frame, ticks, titled, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.projections.polar import PolarAxes

__all__ = ["confusion_matrix", "hanging_rootogram", "rose_plot"]


def hanging_rootogram(
    ax: "Axes",
    numbers: Rootogram,
    title: str = "Hanging rootogram",
    unit: str = "",
    confidence: float = 0.95,
    looks: int = 1,
) -> "Axes":
    """Bars of the observed frequencies of counts, hung from the expected ones.

    Both are shown as square roots of the number of rows, so that a bar ends at zero if its count
    occurred as often as predicted, below zero if more often and above if less often. Source:
    Kleiber and Zeileis 2016.

    Args:
        ax: the axes to draw on.
        numbers: from `diagnostics.rootogram`.
        title: the title of the plot.
        unit: the unit of the counts.
        confidence: the probability that chance keeps the ends of `looks` bars together within the
            grey band.
        looks: how many bars were looked at; 1 for a band of each bar by itself.

    Raises:
        ValueError: if `confidence` is 1 or more.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead.diagnostics import Rootogram
    >>> one, count = torch.ones(2), torch.arange(2)
    >>> numbers = Rootogram(count, count, one, 4 * one, one)
    >>> ax = hanging_rootogram(plt.figure().add_subplot(), numbers)
    >>> [float(patch.get_y()) for patch in ax.patches]
    [1.0, 1.0]
    """
    first, last = numbers.first.cpu().numpy(), numbers.last.cpu().numpy()
    root = np.sqrt(numbers.expected.cpu().numpy())
    observed = np.sqrt(numbers.observed.cpu().numpy())
    z, label = chance(confidence, looks, "bar")
    half = z * numbers.standard_error.cpu().numpy()
    place, size = (first + last) / 2, float(last[0] - first[0] + 1)
    bottom = root - observed
    out = np.abs(bottom) > half
    colors = [VERMILION if flag else BLUE for flag in out]
    ax.bar(place, observed, bottom=bottom, width=0.86 * size, color=colors, alpha=0.75, linewidth=0)
    ax.fill_between(
        place, -half, half, color=GREY, alpha=0.45, linewidth=0, step="mid", label=label, zorder=2.5
    )
    ax.axhline(0.0, color="black", linewidth=1, linestyle="--", zorder=3)
    ax.plot(
        place,
        root,
        color="black",
        marker="o",
        markersize=3.5,
        linewidth=1.2,
        label="expected",
        zorder=3,
    )
    margin = 0.06 * float(root.max())
    ax.set_ylim(min(float(bottom.min()), float(-half.max())) - margin, 1.15 * float(root.max()))
    name = "count" if size == 1 else f"count, {size:g} to a bar"
    frame(ax, title, with_unit(name, unit), "square root of the number of rows")
    ax.legend(loc="upper right", frameon=False, fontsize="small")
    return ax


def rose_plot(
    ax: "PolarAxes",
    numbers: Rose,
    title: str = "Directions",
    confidence: float = 0.95,
    looks: int = 1,
) -> "PolarAxes":
    """A rose diagram of observed directions, with the expected ones as an outline.

    The area of a sector is its number of rows; angles are in radians. Source: Mardia and Jupp 2000.

    Args:
        ax: polar axes, made with `projection="polar"`.
        numbers: from `diagnostics.rose`.
        title: the title of the plot.
        confidence: the probability that chance keeps `looks` sectors together within the grey
            band.
        looks: how many sectors were looked at; 1 for a band of each sector by itself.

    Raises:
        AttributeError: for axes that are not polar.
        ValueError: if `confidence` is 1 or more.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead.diagnostics import rose
    >>> from disthead import get_family
    >>> dist = get_family("von_mises").distribution(loc=torch.zeros(8), concentration=1.0)
    >>> numbers = rose(dist, torch.linspace(-3.0, 3.0, 8), sectors=4)
    >>> len(rose_plot(plt.figure().add_subplot(projection="polar"), numbers).patches)
    4
    """
    from matplotlib.patches import Patch

    if ax.name != "polar":
        raise ValueError(
            f"ax must be polar, made with projection='polar', got one of kind {ax.name!r}."
        )
    edges = numbers.edges.cpu().numpy()
    observed, expected = numbers.observed.cpu().numpy(), numbers.expected.cpu().numpy()
    z, label = chance(confidence, looks, "sector")
    half = z * numbers.standard_error.cpu().numpy()
    out = np.abs(observed - expected) > half
    colors = [VERMILION if flag else BLUE for flag in out]
    ax.bar(
        edges[:-1],
        np.sqrt(observed),
        width=np.diff(edges),
        align="edge",
        color=colors,
        alpha=0.7,
        edgecolor="white",
        linewidth=0.6,
    )
    angle = np.concatenate([np.linspace(a, b, 12) for a, b in itertools.pairwise(edges)])
    low, middle, high = (
        np.repeat(np.sqrt(np.maximum(part, 0)), 12)
        for part in (expected - half, expected, expected + half)
    )
    ax.fill_between(angle, low, high, color=GREY, alpha=0.5, linewidth=0, label=label, zorder=2.5)
    ax.plot(angle, middle, color="black", linewidth=1.3, label="expected", zorder=3)
    top = float(max(np.sqrt(observed).max(), high.max()))
    rows = np.unique(np.array([0.25, 0.5, 1.0]) * top**2 // 1)
    rows = rows[rows > 0]
    ax.set_ylim(0, 1.05 * top)
    ax.set_yticks(np.sqrt(rows), [f"{k:g}" for k in rows], fontsize="small")
    emptiest = int(np.maximum(observed, expected).argmin())
    ax.set_rlabel_position(float(np.degrees(edges[emptiest : emptiest + 2].mean())))
    ax.set_xticks(
        np.arange(8) * np.pi / 4, ["0", "π/4", "π/2", "3π/4", "±π", "−3π/4", "−π/2", "−π/4"]
    )
    titled(ax, title)
    ax.set_xlabel("angle (radians); rings: rows in a sector")
    handles, _ = ax.get_legend_handles_labels()
    petals = [Patch(color=BLUE, alpha=0.7, linewidth=0, label="observed")]
    if out.any():
        petals.append(Patch(color=VERMILION, alpha=0.7, linewidth=0, label="beyond chance"))
    ax.legend(
        handles=[*handles, *petals],
        loc="upper left",
        bbox_to_anchor=(1.02, 1.05),
        frameon=False,
        fontsize="small",
    )
    return ax


def confusion_matrix(
    ax: "Axes", numbers: Confusion, names: Sequence[str] | None = None, title: str = "Confusion"
) -> "Axes":
    """The confusion matrix of true against predicted classes, with the numbers of rows.

    Its cells are shaded by their share of the true class; numbers are written for up to 12 classes.

    Args:
        ax: the axes to draw on.
        numbers: from `diagnostics.confusion`, of K classes.
        names: the names of the K classes, by default their indices.
        title: the title of the plot.

    Raises:
        IndexError: if there are fewer names than classes.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead.diagnostics import confusion
    >>> numbers = confusion(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 1]))
    >>> [text.get_text() for text in confusion_matrix(plt.figure().add_subplot(), numbers).texts]
    ['1', '0', '1', '0']
    """
    count = numbers.count.cpu().numpy()
    classes = len(count)
    names = [str(name) for name in (range(classes) if names is None else names)]
    share = count / np.maximum(count.sum(1, keepdims=True), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if classes <= 12:
        for i in range(classes):
            for j in range(classes):
                color = "white" if share[i, j] > 0.55 else "black"
                ax.text(
                    j,
                    i,
                    f"{count[i, j]:,.0f}",
                    ha="center",
                    va="center",
                    color=color,
                    fontsize="small",
                )
    step = max(1, classes // 20)
    place = np.arange(0, classes, step)
    turn = 45 if max(map(len, names)) > 4 else 0
    shown = [(names[k], "") for k in place]
    ticks(ax, "x", place, shown, rotation=turn, ha="right" if turn else "center")
    ticks(ax, "y", place, shown)
    frame(ax, title, "predicted class", "true class")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label("share of the true class")
    return ax
