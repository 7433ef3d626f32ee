"""The functions that draw the pictures of a report.

Each draws numbers, with all findings for labels, into a figure of matplotlib.
"""

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


def pit(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The histogram of the PIT."""
    plots.pit_histogram(figure.add_subplot(), numbers)


def coverage(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """Observed against nominal coverage."""
    plots.coverage_curve(figure.add_subplot(), numbers)


def sharpness(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The widths of intervals."""
    plots.sharpness(figure.add_subplot(), numbers, unit=findings.unit)


def sparsification(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The error without the rows of largest predicted standard deviation."""
    plots.sparsification(figure.add_subplot(), numbers)


def worm(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The worm plot of all rows."""
    plots.worm_plot(figure.add_subplot(), numbers, "Worm plot")


def confusion(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The confusion matrix."""
    plots.confusion_matrix(figure.add_subplot(), numbers, findings.classes or None)


def rows(figure: "Figure", numbers: tuple, findings: Findings) -> None:
    """Forecasts and targets of a few rows."""
    dist, y = numbers
    levels = (min(0.5, findings.level), findings.level if findings.level > 0.5 else 0.9)
    plots.interval_chart(figure.add_subplot(), dist, y, levels, unit=findings.unit)


def reliability(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The reliability diagram of a probability."""
    event = "first place" if findings.kind == "ranking" else "the predicted class"
    if findings.kind == "binary":
        event = findings.classes[1] if len(findings.classes) > 1 else "a 1"
    if findings.kind in ORDERED:
        event = f"more than {findings.numbers.threshold:.4g}{findings.unit and ' ' + findings.unit}"
    plots.reliability_diagram(figure.add_subplot(), numbers, "Reliability of a probability", event)


def quantile(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The reliability diagram of a quantile."""
    title = "Reliability of a quantile"
    plots.reliability_diagram(figure.add_subplot(), numbers, title, unit=findings.unit)


def counts(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The hanging rootogram of counts."""
    looks = len(numbers.first)
    plots.hanging_rootogram(
        figure.add_subplot(), numbers, unit=findings.unit, confidence=BAND, looks=looks
    )


def directions(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The rose plot of directions."""
    ax: Any = figure.add_subplot(projection="polar")
    plots.rose_plot(ax, numbers, confidence=BAND, looks=len(numbers.observed))


def spread(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The error of the mean against the predicted standard deviation."""
    looks = len(numbers.error)
    plots.spread_skill(
        figure.add_subplot(), numbers, unit=findings.unit, confidence=BAND, looks=looks
    )


def joint(figure: "Figure", numbers: Any, findings: Findings) -> None:
    """The histogram of the density ranks of whole vectors."""
    label = "predicted probability of a less probable outcome"
    plots.pit_histogram(figure.add_subplot(), numbers, "All outputs together", label)


def coverage_by_group(figure: "Figure", numbers: Mapping[str, Any], findings: Findings) -> None:
    """The coverage of intervals in each group."""
    ax = _lines(figure, len(numbers))
    plots.coverage_by_group(ax, numbers, findings.level, confidence=BAND, looks=len(numbers))


def coverage_by_range(figure: "Figure", numbers: FeatureCoverage, findings: Findings) -> None:
    """The coverage of intervals along one feature."""
    ax, title = _lines(figure, len(numbers.coverage)), f"Coverage by {shown(numbers.name)}"
    # The limit of chance is that of the verdict, which is about the ranges of all features.
    looks = next(verdict.looks for verdict in findings.verdicts if verdict.picture == "feature")
    plots.coverage_by_group(ax, numbers.coverage, findings.level, title, BAND, looks)


def frequency_by(figure: "Figure", numbers: Sequence, findings: Findings) -> None:
    """Observed and predicted frequencies of events by group or by feature."""
    name = "group" if numbers is findings.numbers.group_frequencies else "feature"
    ax = _lines(figure, len(numbers))
    plots.frequency_by_group(ax, numbers, f"Frequency by {name}", BAND, len(numbers))


def _lines(figure: "Figure", count: int) -> "Axes":
    """Axes with a line for each group, in a figure that is high enough for them."""
    figure.set_figheight(max(figure.get_figheight(), 1.4 + 0.35 * min(count, 24)))
    return figure.add_subplot()


def classes(figure: "Figure", numbers: Mapping[str, Any], findings: Findings) -> None:
    """A reliability diagram for each class."""
    axes = _panels(figure, len(numbers), 3)
    for ax, (name, part) in zip(axes, numbers.items(), strict=True):
        plots.reliability_diagram(ax, part, shown(name))
        ax.set_xlabel("predicted probability")
    _share_labels(figure, axes, 3)


def worms(figure: "Figure", numbers: Sequence, findings: Findings) -> None:
    """A worm plot for each range of one feature."""
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
