"""The pictures of a report: one row each, with what a reader should look for."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from disthead.distributions.base import CLASSES
from disthead.report import figures
from disthead.report.findings import EVENTS, LINE, ORDERED, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "Drawn", "Picture", "drawn"]


@dataclass(frozen=True)
class Picture:
    """A row of the table of pictures.

    Attributes:
        key: of its file and of the verdicts that it shows, and the field of `Numbers` it is made
            of.
        caption: what a reader should look for.
        draw: puts it into a figure of matplotlib, from these numbers and all findings.
        kinds: of targets that it is for.
        size: width and height in inches.
        is_overview: whether it may open the page; the first one that was drawn does.
        field: of `Numbers`, where that has another name than the key.
    """

    key: str
    caption: str
    draw: Callable[["Figure", Any, Findings], Any]
    kinds: tuple[str, ...]
    size: tuple[float, float] = (5.6, 4.2)
    is_overview: bool = False
    field: str = ""

    @property
    def is_wide(self) -> bool:
        return self.size[0] >= _LINES[0]

    def is_of(self, found: Findings) -> bool:
        """Whether it is for this kind of target, and there are numbers to show."""
        return found.kind in self.kinds and (self.field or self.key) in found.numbers


@dataclass(frozen=True)
class Drawn:
    """A picture as a PNG, with the name of its file and a sentence on how to read it."""

    picture: Picture
    name: str
    caption: str
    png: bytes


def drawn(found: Findings) -> list[Drawn]:
    """Every picture for which there are numbers."""
    return [_drawn(picture, found) for picture in PICTURES if picture.is_of(found)]


def _drawn(picture: Picture, found: Findings) -> Drawn:
    field = picture.field or picture.key
    count = found.counted[field]
    sample = f" Of {count:,} of the {found.rows:,} rows, drawn at random."
    png = _png(lambda figure: picture.draw(figure, found.numbers[field], found), picture.size)
    name = f"{found.name}_{picture.key}" if found.name else picture.key
    return Drawn(picture, name, picture.caption + sample * (count < found.rows), png)


def _png(draw: Callable, size: tuple[float, float]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


_LINES, _PANELS = (7.0, 3.0), (9.0, 6.0)

PICTURES = (
    Picture(
        "rows",
        "Each bar is one row: what was predicted, and what happened. As many points should lie on "
        "the bars as their "
        "levels say.",
        figures.rows,
        ORDERED,
        size=(9.0, 4.2),
        is_overview=True,
    ),
    Picture(
        "pit",
        "Flat if calibrated. A U shape means a spread predicted too small, a hump one too large, "
        "a slope a bias.",
        figures.pit,
        LINE,
    ),
    Picture(
        "joint",
        "All outputs together. Flat if calibrated; high on the left: outcomes in improbable "
        "places too often.",
        figures.joint,
        ("vector",),
    ),
    Picture(
        "coverage",
        "How much more or less the intervals held than they promised. Inside the grey band is "
        "what chance does.",
        figures.coverage,
        LINE,
    ),
    Picture(
        "exceedance",
        "If 30 % was predicted it should happen in 30 % of the rows: on the diagonal, up to the "
        "grey band.",
        figures.reliability,
        ORDERED,
    ),
    Picture(
        "reliability",
        "What was predicted with 30 % should happen in 30 % of the cases: on the diagonal, up to "
        "the grey band.",
        figures.reliability,
        EVENTS,
    ),
    Picture(
        "quantile",
        "The level that outcomes stay below as often as promised, against the one predicted: on "
        "the diagonal if right.",
        figures.quantile,
        ("continuous", "mixed"),
    ),
    Picture(
        "rootogram",
        "Bars hang from the expected frequency and should end at zero, up to the grey band.",
        figures.counts,
        ("count",),
    ),
    Picture(
        "rose",
        "Directions that occurred, and the outline of those that were expected.",
        figures.directions,
        ("direction",),
        size=(6.4, 4.6),
        is_overview=True,
    ),
    Picture(
        "classes",
        "The same for each class against the rest: on the diagonal, up to the grey band.",
        figures.classes,
        ("classes", "ordinal"),
        size=_PANELS,
    ),
    Picture(
        "confusion",
        "Which class was predicted where which was true; right answers are on the diagonal.",
        figures.confusion,
        CLASSES,
        is_overview=True,
    ),
    Picture(
        "spread_skill",
        "Errors should be as large as predicted: on the diagonal.",
        figures.spread,
        LINE,
    ),
    Picture(
        "sharpness",
        "How wide the intervals are. Narrow is good as long as coverage is right.",
        figures.sharpness,
        LINE,
    ),
    Picture(
        "sparsification",
        "If the model knows where it is unsure, the error falls when those rows are left out.",
        figures.sparsification,
        LINE,
    ),
    Picture(
        "worm",
        "Points in the band around zero are as predicted. A slope is a wrong spread, a bend a "
        "skewness, an S wrong tails.",
        figures.worm,
        LINE,
    ),
    Picture(
        "feature",
        "Do the intervals hold along the feature where they do worst?",
        figures.coverage_by_range,
        (*LINE, "vector"),
        size=(7.0, 3.6),
    ),
    Picture(
        "worms",
        "The worm plot for each range of the feature along which the bias is worst.",
        figures.worms,
        LINE,
        size=_PANELS,
    ),
    Picture(
        "groups",
        "Do the intervals hold in every group? The grey bar is what chance does.",
        figures.coverage_by_group,
        (*LINE, "vector"),
        size=_LINES,
    ),
    Picture(
        "group_frequencies",
        "Does every class happen in every group as often as predicted? The grey bar is what "
        "chance does.",
        figures.frequency_by,
        EVENTS,
        size=_LINES,
    ),
    Picture(
        "feature_frequencies",
        "Does every class happen along every feature as often as predicted? The grey bar is what "
        "chance does.",
        figures.frequency_by,
        EVENTS,
        size=_LINES,
    ),
)
