"""Pictures of calibration: whether events happen as often as predicted."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from disthead.diagnostics import (
    CoverageCurve,
    EventFrequency,
    PITBand,
    Reliability,
    Worm,
    chance_limit,
)
from disthead.plots.style import BLUE, GREY, VERMILION, chance, frame, percent, ticks, with_unit
from disthead.texts import shortened, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "coverage_by_group",
    "coverage_curve",
    "frequency_by_group",
    "pit_histogram",
    "reliability_diagram",
    "worm_plot",
    "worm_reach",
]


def pit_histogram(
    ax: "Axes",
    numbers: PITBand,
    title: str = "PIT histogram",
    label: str = "PIT: predicted probability of a smaller outcome",
) -> "Axes":
    """The histogram of the probability integral transform (PIT), with its band of chance.

    The bars, densities on (0, 1), are flat if the forecast is calibrated. `numbers` comes from
    `diagnostics.pit_band`. Source: Gneiting, Balabdaoui and Raftery 2007.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead.diagnostics import pit_band
    >>> numbers = pit_band(torch.tensor([0.2, 0.3, 0.3, 0.2]), count=500)
    >>> ax = pit_histogram(plt.figure().add_subplot(), numbers)
    >>> len(ax.patches)
    5
    """
    frequency = numbers.frequency.cpu().double().numpy()
    bins = len(frequency)
    outside = (frequency < numbers.lower) | (frequency > numbers.upper)
    colors = [VERMILION if flag else BLUE for flag in outside]
    left = np.arange(bins) / bins
    ax.bar(
        left,
        frequency * bins,
        width=1 / bins,
        align="edge",
        color=colors,
        edgecolor="white",
        linewidth=0.6,
    )
    ax.axhspan(
        numbers.lower * bins, numbers.upper * bins, color=GREY, alpha=0.35, linewidth=0, zorder=2
    )
    ax.axhline(1.0, color="black", linewidth=1, linestyle="--", zorder=3)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.22 * max(float(frequency.max()), numbers.upper) * bins)
    frame(ax, title, label, "density (1 = as predicted)")
    key = [
        ("inside", BLUE, 1.0),
        (f"chance, all bars ({100 * numbers.confidence:g} %)", GREY, 0.35),
    ]
    _key(ax, [*key, ("outside", VERMILION, 1.0)] if outside.any() else key)
    return ax


def coverage_curve(
    ax: "Axes", numbers: CoverageCurve, title: str = "Coverage of central intervals"
) -> "Axes":
    """Observed minus nominal coverage of the central intervals against their level.

    The grey band is simultaneous for all levels. Above zero the intervals are too wide, below zero
    too narrow. `numbers` comes from `diagnostics.coverage_curve`.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead import diagnostics
    >>> level, coverage = torch.tensor([0.5, 0.9]), torch.tensor([0.4, 0.8])
    >>> numbers = diagnostics.coverage_curve(level, coverage, count=100)
    >>> ax = coverage_curve(plt.figure().add_subplot(), numbers)
    >>> ax.lines[-1].get_ydata().round(3).tolist()
    [-0.1, -0.1]
    """
    level = numbers.level.numpy()
    off = numbers.coverage.numpy() - level
    ends = np.concatenate([[0.0], level, [1.0]])
    lower = np.concatenate([[0.0], numbers.lower.numpy() - level, [0.0]])
    upper = np.concatenate([[0.0], numbers.upper.numpy() - level, [0.0]])
    label = f"chance, all levels ({100 * numbers.confidence:g} %)"
    ax.fill_between(ends, lower, upper, color=GREY, alpha=0.35, linewidth=0, label=label)
    ax.axhline(0.0, color="black", linewidth=1, linestyle="--")
    ax.plot(level, off, color=BLUE, marker="o", markersize=4, linewidth=1.5, label="observed")
    reach = 1.45 * max(float(np.abs(off).max()), float(np.abs([lower, upper]).max()), 1e-3)
    ax.set_ylim(-reach, reach)
    ax.set_xlim(0, 1)
    percent(ax.xaxis)
    percent(ax.yaxis)
    frame(ax, title, "nominal level", "observed minus nominal")
    ax.text(0.02, 0.97, "too wide", transform=ax.transAxes, ha="left", va="top", color="#555555")
    ax.text(
        0.02, 0.03, "too narrow", transform=ax.transAxes, ha="left", va="bottom", color="#555555"
    )
    ax.legend(loc="upper right", frameon=False, fontsize="small")
    return ax


def reliability_diagram(
    ax: "Axes",
    numbers: Reliability,
    title: str = "Reliability",
    event: str = "the event",
    unit: str = "",
) -> "Axes":
    """The CORP reliability diagram: recalibrated against original forecasts.

    The curve is on the diagonal if the forecast is calibrated. The grey band is that of chance for
    each forecast by itself, the bars at the bottom show how often each forecast was made, and the
    text gives the decomposition of the score. Source: Dimitriadis, Gneiting and Jordan 2021.

    Args:
        ax: the axes to draw on.
        numbers: from `diagnostics.reliability`, of probabilities or of quantiles.
        title: the title of the plot.
        event: the event whose probability was predicted, for the label of the axis.
        unit: the unit of predicted quantiles.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead.diagnostics import reliability
    >>> numbers = reliability(torch.tensor([0.2, 0.2, 0.8, 0.8]), torch.tensor([0, 1, 1, 1]))
    >>> reliability_diagram(plt.figure().add_subplot(), numbers).get_xlabel()
    'predicted probability of the event'
    """
    forecast, fit = numbers.forecast.cpu().numpy(), numbers.recalibrated.cpu().numpy()
    lower, upper = numbers.lower.cpu().numpy(), numbers.upper.cpu().numpy()
    if numbers.level is None:
        low, high = 0.0, 1.0
    else:
        low, high = (float(end) for end in (forecast.min(), forecast.max()))
        low, high = low - 0.03 * (high - low or 1.0), high + 0.03 * (high - low or 1.0)
    if np.isfinite(lower).all():
        label = f"chance, each forecast ({100 * numbers.confidence:g} %)"
        ax.fill_between(forecast, lower, upper, color=GREY, alpha=0.35, linewidth=0, label=label)
    ax.plot([low, high], [low, high], color="black", linewidth=1, linestyle="--")
    ax.plot(
        forecast, fit, color=VERMILION, linewidth=2, label="what happened", marker=".", markersize=3
    )
    # without the extremes of the fit, which would flatten the rest
    bulk = np.repeat(fit, numbers.count.cpu().numpy().astype(int))
    bottom, top = (
        min(low, float(np.quantile(bulk, 0.01))),
        max(high, float(np.quantile(bulk, 0.99))),
    )
    reach = top - bottom
    # how often each forecast was made, along the bottom
    weights = numbers.count.cpu().double().numpy()
    height, edges = np.histogram(forecast, bins=40, range=(low, high), weights=weights)
    base = bottom - 0.14 * reach
    ax.bar(
        edges[:-1],
        0.12 * reach * height / height.max(),
        width=np.diff(edges),
        bottom=base,
        align="edge",
        color=BLUE,
        alpha=0.5,
        linewidth=0,
        label="how often predicted",
    )
    ax.set_xlim(low, high)
    ax.set_ylim(base, top + 0.03 * reach)
    if numbers.level is None:
        ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
        ax.set_xticks(ticks)
        ax.set_yticks(ticks)
        percent(ax.xaxis)
        percent(ax.yaxis)
        frame(ax, title, f"predicted probability of {event}", "observed frequency")
    else:
        name = f"{100 * numbers.level:g} % quantile"
        frame(ax, title, with_unit(f"predicted {name}", unit), with_unit(f"observed {name}", unit))
    score = "Brier score" if numbers.level is None else "pinball loss"
    parts = (
        f"{score} {numbers.score:.3g}\n= miscalibration {numbers.miscalibration:.2g}\n"
        f"− discrimination {numbers.discrimination:.3g}\n+ uncertainty {numbers.uncertainty:.3g}"
    )
    ax.text(0.03, 0.97, parts, transform=ax.transAxes, va="top", ha="left", fontsize="small")
    ax.legend(loc="lower right", frameon=False, fontsize="small", bbox_to_anchor=(1.0, 0.12))
    return ax


def worm_plot(
    ax: "Axes", numbers: Worm, title: str | None = None, reach: float | None = None
) -> "Axes":
    """A worm plot: normal residuals minus their expectation, in standard deviations.

    The grey band is that of chance for each point by itself. Outcomes larger than predicted make a
    high worm, a scale predicted too small a rising one, skewness a bent one and tails an S. Source:
    van Buuren and Fredriks 2001.

    Args:
        ax: the axes to draw on.
        numbers: from `diagnostics.worm`.
        title: the title of the plot, by default the label of the rows and their number.
        reach: the largest deviation shown, by default that of `worm_reach`.

    >>> import matplotlib.pyplot as plt, torch
    >>> from disthead.diagnostics import worm
    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    >>> ax = worm_plot(plt.figure().add_subplot(), worm(dist, torch.tensor([1.0, 0.0, 2.0])))
    >>> ax.get_title(loc="left")
    'all rows (3 rows)'
    """
    normal, deviation, half = (
        part.cpu().numpy() for part in (numbers.normal, numbers.deviation, numbers.half_width)
    )
    ax.fill_between(
        normal,
        -half,
        half,
        color=GREY,
        alpha=0.35,
        linewidth=0,
        label=f"chance, each point ({100 * numbers.confidence:g} %)",
    )
    ax.axhline(0.0, color="black", linewidth=1, linestyle="--")
    out = np.abs(deviation) > half
    ax.scatter(normal[~out], deviation[~out], s=7, color=BLUE, linewidth=0, label="inside")
    if out.any():
        ax.scatter(
            normal[out],
            deviation[out],
            s=9,
            color=VERMILION,
            linewidth=0,
            marker="s",
            label="outside",
        )
    reach = worm_reach([numbers]) if reach is None else reach
    ax.set_ylim(-reach, reach)
    frame(
        ax,
        title or f"{shown(numbers.label)} ({len(normal):,} rows)",
        "expected residual (stddev.)",
        "observed minus expected",
    )
    # below the plot, since the worm is inside
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
    ax.legend(
        **place, frameon=False, fontsize="small", ncols=3, handletextpad=0.4, columnspacing=1.2
    )
    return ax


def worm_reach(numbers: Sequence[Worm]) -> float:
    """The largest deviation to show in worm plots side by side, in standard deviations.

    It is at least 0.4, and ignores the 2 % of the points that are farthest out. Raises ValueError
    for an empty sequence.
    """
    sizes = [float(part.deviation.abs().double().quantile(0.98)) for part in numbers]
    return max(0.4, 1.5 * max(sizes))


def coverage_by_group(
    ax: "Axes",
    coverage: Mapping[str, tuple[float, float]],
    level: float,
    title: str = "Coverage by group",
    confidence: float = 0.95,
    looks: int = 1,
) -> "Axes":
    """The coverage of the intervals at one level by group, with bars of chance.

    Args:
        ax: the axes to draw on.
        coverage: the share of the outcomes inside the intervals and the number of rows, by the name
            of the group.
        level: the nominal level, between 0 and 1.
        title: the title of the plot.
        confidence: the probability that chance keeps `looks` groups together within their bars.
        looks: how many groups were looked at; 1 for bars of each group by itself.

    Raises:
        ValueError: if `confidence` is 1 or more.

    >>> import matplotlib.pyplot as plt
    >>> coverage = {"poor": (0.8, 100), "rich": (0.9, 80)}
    >>> ax = coverage_by_group(plt.figure().add_subplot(), coverage, level=0.9)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['poor (100)', 'rich (80)']
    """
    from matplotlib.ticker import MaxNLocator

    labels = list(coverage)
    place = np.arange(len(labels))
    observed = np.array([coverage[label][0] for label in labels])
    rows = np.array([coverage[label][1] for label in labels])
    _, label = chance(confidence, looks, "group")
    variance, largest = level * (1 - level), max(level, 1 - level)
    half = np.array(
        [chance_limit(variance / count, largest / count, confidence, looks) for count in rows]
    )
    ax.axvline(level, color="black", linewidth=1, linestyle="--")
    lower, upper = np.maximum(level - half, 0), np.minimum(level + half, 1)
    ax.barh(
        place,
        upper - lower,
        left=lower,
        height=0.62,
        color=GREY,
        alpha=0.35,
        linewidth=0,
        label=label,
    )
    out = np.abs(observed - level) > half
    ax.scatter(observed[~out], place[~out], color=BLUE, zorder=3)
    if out.any():
        ax.scatter(observed[out], place[out], color=VERMILION, marker="s", zorder=3)
    ticks(ax, "y", place, [(label, f" ({rows[k]:,.0f})") for k, label in enumerate(labels)])
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    percent(ax.xaxis)
    ax.use_sticky_edges = False  # a bar that ends at the frame would seem to go on
    ax.margins(x=0.08)
    frame(ax, title, "", "")
    # aligned to the right, since long names of groups leave little room
    ax.set_xlabel(f"share inside the {100 * level:g} % interval (grey: {label})", loc="right")
    return ax


def frequency_by_group(
    ax: "Axes",
    frequencies: Sequence[EventFrequency],
    title: str = "Frequency by group",
    confidence: float = 0.95,
    looks: int = 1,
    shown: int = 24,
) -> "Axes":
    """Observed minus predicted frequencies of events by group, with bars of chance.

    Args:
        ax: the axes to draw on.
        frequencies: one for each group and event, from `diagnostics.event_frequency`.
        title: the title of the plot.
        confidence: the probability that chance keeps `looks` frequencies together within their
            bars.
        looks: how many frequencies were looked at; 1 for bars of each by itself.
        shown: the greatest number of frequencies to show, the worst ones first.

    Raises:
        ValueError: if `confidence` is 1 or more.

    >>> import matplotlib.pyplot as plt
    >>> from disthead.diagnostics import EventFrequency
    >>> numbers = [EventFrequency("poor", "a 1", 0.5, 0.6, 0.0025, 0.01, 100.0)]
    >>> ax = frequency_by_group(plt.figure().add_subplot(), numbers)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['poor: a 1 (100)']
    """
    _, label = chance(confidence, looks, "group")
    reach = np.array(
        [chance_limit(part.variance, part.largest, confidence, looks) for part in frequencies]
    )
    off = np.array([part.observed - part.predicted for part in frequencies])
    worst = np.argsort(-np.abs(off) / np.maximum(reach, 1e-300), kind="stable")[:shown]
    off, half = off[worst], reach[worst]
    place = np.arange(len(off))
    ax.axvline(0.0, color="black", linewidth=1, linestyle="--")
    ax.barh(
        place, 2 * half, left=-half, height=0.62, color=GREY, alpha=0.35, linewidth=0, label=label
    )
    out = np.abs(off) > half
    ax.scatter(off[~out], place[~out], color=BLUE, zorder=3)
    if out.any():
        ax.scatter(off[out], place[out], color=VERMILION, marker="s", zorder=3)
    chosen = [frequencies[k] for k in worst]
    ticks(
        ax,
        "y",
        place,
        [(f"{shortened(k.label, 30)}: {k.event}", f" ({k.count:,.0f})") for k in chosen],
    )
    ax.set_ylim(len(off) - 0.4, -0.6)
    percent(ax.xaxis)
    ax.use_sticky_edges = False  # a bar that ends at the frame would seem to go on
    ax.margins(x=0.08)
    frame(ax, title, "", "")
    ax.set_xlabel(f"observed minus predicted frequency (grey: {label})", loc="right")
    return ax


def _key(ax: "Axes", entries: list[tuple[str, str, float]]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=color, alpha=alpha, linewidth=0, label=label) for label, color, alpha in entries
    ]
    ax.legend(handles=handles, loc="upper center", ncols=3, frameon=False, fontsize="small")
