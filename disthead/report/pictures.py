"""The pictures of a report: which ones there are, with what a reader should look for."""

import io
from collections.abc import Callable
from dataclasses import dataclass

from disthead import plots
from disthead.report.findings import Findings
from disthead.report.line import BAND
from disthead.texts import shown

__all__ = ["Picture", "pictures"]


@dataclass(frozen=True)
class Picture:
    """A picture as a PNG, with a sentence on how to read it; verdicts name it by its key."""

    key: str
    name: str
    caption: str
    png: bytes


CAPTIONS = {
    "rows": "Each bar is one row: what was predicted, and what happened. As many points should lie on the bars as their levels say.",
    "band": "Prediction bands along the feature, with what happened.",
    "pit": "Flat if calibrated. A U shape means a spread predicted too small, a hump one too large, a slope a bias.",
    "coverage": "How much more or less the intervals held than they promised. Inside the grey band is what chance does.",
    "exceedance": "If 30 % was predicted it should happen in 30 % of the rows: on the diagonal, up to the grey band.",
    "quantile": "The level that outcomes stay below as often as promised, against the one predicted: on the diagonal if right.",
    "spread_skill": "Errors should be as large as predicted: on the diagonal.",
    "sharpness": "How wide the intervals are. Narrow is good as long as coverage is right.",
    "sparsification": "If the model knows where it is unsure, the error falls when those rows are left out.",
    "rootogram": "Bars hang from the expected frequency and should end at zero, up to the grey band.",
    "rose": "Directions that occurred, and the outline of those that were expected.",
    "worm": "Points in the band around zero are as predicted. A slope is a wrong spread, a bend a skewness, an S wrong tails.",
    "worms": "The worm plot for each range of the feature along which calibration is worst.",
    "groups": "Do the intervals hold in every group? The grey bar is what chance does.",
    "feature": "Do the intervals hold along the feature where they do worst?",
    "reliability": "What was predicted with 30 % should happen in 30 % of the cases: on the diagonal, up to the grey band.",
    "classes": "The same for each class against the rest: on the diagonal, up to the grey band.",
    "group_frequencies": "Does every class happen in every group as often as predicted? The grey bar is what chance does.",
    "feature_frequencies": "Does every class happen along every feature as often as predicted? The grey bar is what chance does.",
    "confusion": "Which class was predicted where which was true; right answers are on the diagonal.",
    "joint": "All outputs together. Flat if calibrated; high on the left: outcomes in improbable places too often.",
}


def pictures(found: Findings, names: tuple[str, ...]) -> list[Picture]:
    """Every picture for which there are numbers."""
    numbers, unit = found.numbers, found.unit
    drawn = []

    def add(key: str, draw: Callable, size: tuple[float, float] = (5.6, 4.2), polar: bool = False) -> None:
        if key in numbers:
            name = f"{found.name}_{key}" if found.name else key
            png = _png(lambda figure: draw(figure, polar), size)
            drawn.append(Picture(key, name, CAPTIONS[key] + _sample(found, key), png))

    def on_axis(draw: Callable) -> Callable:
        return lambda figure, polar: draw(figure.add_subplot(projection="polar" if polar else None))

    add(
        "rows",
        on_axis(
            lambda ax: plots.interval_chart(ax, numbers["rows"][0], numbers["rows"][1], _levels(found.level), unit=unit)
        ),
        (9, 4.2),
    )
    add("pit", on_axis(lambda ax: plots.pit_histogram(ax, numbers["pit"])))
    add(
        "joint",
        on_axis(
            lambda ax: plots.pit_histogram(
                ax, numbers["joint"], "All outputs together", "predicted probability of a less probable outcome"
            )
        ),
    )
    add("coverage", on_axis(lambda ax: plots.coverage_curve(ax, numbers["coverage"])))
    event = f"more than {numbers.get('threshold', 0):.4g}{unit and ' ' + unit}"
    if found.kind in ("classes", "binary", "ranking"):
        event = {"classes": "the predicted class", "binary": names[1] if len(names) > 1 else "a 1"}.get(
            found.kind, "first place"
        )
    add(
        "exceedance",
        on_axis(lambda ax: plots.reliability_diagram(ax, numbers["exceedance"], "Reliability of a probability", event)),
    )
    add(
        "reliability",
        on_axis(
            lambda ax: plots.reliability_diagram(ax, numbers["reliability"], "Reliability of a probability", event)
        ),
    )
    add(
        "quantile",
        on_axis(lambda ax: plots.reliability_diagram(ax, numbers["quantile"], "Reliability of a quantile", unit=unit)),
    )
    add(
        "rootogram",
        on_axis(
            lambda ax: plots.hanging_rootogram(
                ax, numbers["rootogram"], unit=unit, confidence=BAND, looks=len(numbers["rootogram"].first)
            )
        ),
    )
    add(
        "rose",
        on_axis(lambda ax: plots.rose_plot(ax, numbers["rose"], confidence=BAND, looks=len(numbers["rose"].observed))),
        (6.4, 4.6),
        polar=True,
    )
    add("classes", lambda figure, polar: _classes(figure, numbers["classes"]), (9, 6))
    add("confusion", on_axis(lambda ax: plots.confusion_matrix(ax, numbers["confusion"], names or None)))
    add(
        "spread_skill",
        on_axis(
            lambda ax: plots.spread_skill(
                ax, numbers["spread_skill"], unit=unit, confidence=BAND, looks=len(numbers["spread_skill"].error)
            )
        ),
    )
    add("sharpness", on_axis(lambda ax: plots.sharpness(ax, numbers["sharpness"], unit=unit)))
    add("sparsification", on_axis(lambda ax: plots.sparsification(ax, numbers["sparsification"])))
    add("worm", on_axis(lambda ax: plots.worm_plot(ax, numbers["worm"], "Worm plot")))
    if "feature" in numbers:
        name, rates = numbers["feature"]
        title = f"Coverage by {shown(name)}"
        add(
            "feature",
            on_axis(lambda ax: plots.coverage_by_group(ax, rates, found.level, title, BAND, _looks(found, "feature"))),
            (7, 3.6),
        )
    add("worms", lambda figure, polar: _worms(figure, numbers["worms"]), (9, 6))
    for key, name in (("groups", "group"), ("group_frequencies", "group"), ("feature_frequencies", "feature")):
        height = max(3.0, 1.4 + 0.35 * min(len(numbers.get(key, ())), 24))
        looks = _looks(found, name)
        if key == "groups":
            draw = on_axis(
                lambda ax, looks=looks: plots.coverage_by_group(
                    ax, numbers["groups"], found.level, confidence=BAND, looks=looks
                )
            )
        else:
            draw = on_axis(
                lambda ax, key=key, name=name, looks=looks: plots.frequency_by_group(
                    ax, numbers[key], f"Frequency by {name}", BAND, looks
                )
            )
        add(key, draw, (7, height))
    return drawn


def _sample(found: Findings, key: str) -> str:
    """Of which rows a picture is, in a sentence, where it is not of all."""
    if key not in found.sampled:
        return ""
    return f" Of {found.sampled[key]:,} of the {found.rows:,} rows, drawn at random."


def _levels(level: float) -> tuple[float, float]:
    """Of the thick and the thin bars."""
    return (min(0.5, level), level if level > 0.5 else 0.9)


def _looks(found: Findings, name: str) -> int:
    """At how many groups or ranges of features the verdict looked, which is what its limit of chance allows for."""
    return max((verdict.looks for verdict in found.verdicts if verdict.aspect == f"calibration by {name}"), default=1)


def _classes(figure, classes: dict) -> None:
    columns = min(3, len(classes))
    axes = figure.subplots(-(-len(classes) // columns), columns, sharex=True, sharey=True, squeeze=False).reshape(-1)
    for ax, (name, numbers) in zip(axes, classes.items(), strict=False):
        plots.reliability_diagram(ax, numbers, shown(name), name)
        ax.label_outer()
        legend = ax.get_legend()
        if legend is not None and ax is not axes[0]:
            legend.remove()
    for ax in axes[len(classes) :]:
        ax.set_visible(False)


def _worms(figure, worms: list) -> None:
    columns = 2
    axes = figure.subplots(-(-len(worms) // columns), columns, sharex=True, sharey=True, squeeze=False).reshape(-1)
    reach = plots.worm_reach(worms)
    for ax, numbers in zip(axes, worms, strict=False):
        plots.worm_plot(ax, numbers, reach=reach)
        ax.label_outer()
    for ax in axes[len(worms) :]:
        ax.set_visible(False)


def _png(draw: Callable, size: tuple[float, float]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
