"""How each picture of a report is drawn: its numbers, and all findings, into a figure of matplotlib."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from disthead import plots
from disthead.report.chance import BAND
from disthead.report.findings import ORDERED, Findings
from disthead.report.numbers import FeatureCoverage
from disthead.texts import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def pit(figure: "Figure", numbers: Any, found: Findings) -> None:
    plots.pit_histogram(figure.add_subplot(), numbers)


def coverage(figure: "Figure", numbers: Any, found: Findings) -> None:
    plots.coverage_curve(figure.add_subplot(), numbers)


def sharpness(figure: "Figure", numbers: Any, found: Findings) -> None:
    plots.sharpness(figure.add_subplot(), numbers, unit=found.unit)


def sparsification(figure: "Figure", numbers: Any, found: Findings) -> None:
    plots.sparsification(figure.add_subplot(), numbers)


def worm(figure: "Figure", numbers: Any, found: Findings) -> None:
    plots.worm_plot(figure.add_subplot(), numbers, "Worm plot")


def confusion(figure: "Figure", numbers: Any, found: Findings) -> None:
    plots.confusion_matrix(figure.add_subplot(), numbers, found.classes or None)


def rows(figure: "Figure", numbers: tuple, found: Findings) -> None:
    dist, y = numbers
    levels = (min(0.5, found.level), found.level if found.level > 0.5 else 0.9)
    plots.interval_chart(figure.add_subplot(), dist, y, levels, unit=found.unit)


def reliability(figure: "Figure", numbers: Any, found: Findings) -> None:
    event = "first place" if found.kind == "ranking" else "the predicted class"
    if found.kind == "binary":
        event = found.classes[1] if len(found.classes) > 1 else "a 1"
    if found.kind in ORDERED:
        event = f"more than {found.numbers.threshold:.4g}{found.unit and ' ' + found.unit}"
    plots.reliability_diagram(figure.add_subplot(), numbers, "Reliability of a probability", event)


def quantile(figure: "Figure", numbers: Any, found: Findings) -> None:
    title = "Reliability of a quantile"
    plots.reliability_diagram(figure.add_subplot(), numbers, title, unit=found.unit)


def counts(figure: "Figure", numbers: Any, found: Findings) -> None:
    looks = len(numbers.first)
    plots.hanging_rootogram(
        figure.add_subplot(), numbers, unit=found.unit, confidence=BAND, looks=looks
    )


def directions(figure: "Figure", numbers: Any, found: Findings) -> None:
    ax: Any = figure.add_subplot(projection="polar")
    plots.rose_plot(ax, numbers, confidence=BAND, looks=len(numbers.observed))


def spread(figure: "Figure", numbers: Any, found: Findings) -> None:
    looks = len(numbers.error)
    plots.spread_skill(figure.add_subplot(), numbers, unit=found.unit, confidence=BAND, looks=looks)


def joint(figure: "Figure", numbers: Any, found: Findings) -> None:
    label = "predicted probability of a less probable outcome"
    plots.pit_histogram(figure.add_subplot(), numbers, "All outputs together", label)


def coverage_by_group(figure: "Figure", numbers: Mapping[str, Any], found: Findings) -> None:
    ax = _lines(figure, len(numbers))
    plots.coverage_by_group(ax, numbers, found.level, confidence=BAND, looks=len(numbers))


def coverage_by_range(figure: "Figure", numbers: FeatureCoverage, found: Findings) -> None:
    ax, title = _lines(figure, len(numbers.coverage)), f"Coverage by {shown(numbers.name)}"
    # The limit of chance is that of the verdict, which looked at the ranges of all features.
    looks = next(verdict.looks for verdict in found.verdicts if verdict.picture == "feature")
    plots.coverage_by_group(ax, numbers.coverage, found.level, title, BAND, looks)


def frequency_by(figure: "Figure", numbers: Sequence, found: Findings) -> None:
    name = "group" if numbers is found.numbers.group_frequencies else "feature"
    ax = _lines(figure, len(numbers))
    plots.frequency_by_group(ax, numbers, f"Frequency by {name}", BAND, len(numbers))


def _lines(figure: "Figure", count: int) -> "Axes":
    """Axes with a line for each group, in a figure that is high enough for them."""
    figure.set_figheight(max(figure.get_figheight(), 1.4 + 0.35 * min(count, 24)))
    return figure.add_subplot()


def classes(figure: "Figure", numbers: Mapping[str, Any], found: Findings) -> None:
    axes = _panels(figure, len(numbers), 3)
    for ax, (name, part) in zip(axes, numbers.items(), strict=True):
        plots.reliability_diagram(ax, part, shown(name))
        ax.set_xlabel("predicted probability")
    _share_labels(figure, axes, 3)


def worms(figure: "Figure", numbers: Sequence, found: Findings) -> None:
    axes, reach = _panels(figure, len(numbers), 2), plots.worm_reach(numbers)
    for ax, part in zip(axes, numbers, strict=True):
        plots.worm_plot(ax, part, reach=reach)
    _share_labels(figure, axes, 2)


def _panels(figure: "Figure", count: int, columns: int) -> list["Axes"]:
    """Axes of one scale side by side, three inches high."""
    lines = -(-count // columns)
    figure.set_figheight(3 * lines + 0.3)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).reshape(-1)
    for ax in axes[count:]:
        ax.remove()
    return list(axes[:count])


def _share_labels(figure: "Figure", axes: Sequence["Axes"], columns: int) -> None:
    """Labels at the left and below only, and one legend for all panels."""
    handles: dict[Any, Any] = {}
    for place, ax in enumerate(axes):
        handles |= {
            label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        if (own := ax.get_legend()) is not None:
            own.remove()
        if place + columns < len(axes):
            ax.set_xlabel("")
        else:
            ax.tick_params(labelbottom=True)
        if place % columns:
            ax.set_ylabel("")
    legend: dict[str, Any] = {"loc": "outside lower center", "frameon": False, "fontsize": "small"}
    figure.legend(handles.values(), handles, ncols=len(handles), **legend)
