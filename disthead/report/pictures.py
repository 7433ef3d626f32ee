"""The table of the pictures of a report, with captions that say how to read them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from disthead.distributions.base import CLASSES
from disthead.report import figures
from disthead.report.findings import CENSORED, EVENTS, LINE, ORDERED, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "Drawn", "Picture", "drawn"]


@dataclass(frozen=True)
class Picture:
    """A row of the table of pictures.

    Attributes:
        key: the name of its file, the `picture` of its verdicts, and the field of `Numbers` that it
            shows.
        caption: how to read it.
        draw: the function that draws these numbers, with all findings, into a figure of matplotlib.
        kinds: the kinds of target that it is for.
        size: width and height in inches.
        is_overview: whether it may open the page; the first one that was drawn does.
        field: the field of `Numbers`, where that has another name than the key.
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
        """Whether it takes the whole width of the page."""
        return self.size[0] >= _LINES[0]

    def is_of(self, findings: Findings) -> bool:
        """Whether it is for this kind of target and there are numbers for it."""
        return findings.kind in self.kinds and (self.field or self.key) in findings.numbers


@dataclass(frozen=True)
class Drawn:
    """A picture that was drawn.

    Attributes:
        picture: the row of the table.
        name: of its file, without the ending.
        caption: how to read it, and the number of rows if they are a sample.
        png: the image as the bytes of a PNG file.
    """

    picture: Picture
    name: str
    caption: str
    png: bytes


def drawn(findings: Findings) -> list[Drawn]:
    """All pictures for which there are numbers."""
    return [_drawn(picture, findings) for picture in PICTURES if picture.is_of(findings)]


def _drawn(picture: Picture, findings: Findings) -> Drawn:
    field = picture.field or picture.key
    count = findings.counted[field]
    sample = f" Of {count:,} of the {findings.rows:,} rows, drawn at random."
    png = _png(lambda figure: picture.draw(figure, findings.numbers[field], findings), picture.size)
    name = f"{findings.name}_{picture.key}" if findings.name else picture.key
    return Drawn(picture, name, picture.caption + sample * (count < findings.rows), png)


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
        "the bars as their levels say.",
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
        (*LINE, CENSORED),
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
        (*LINE, CENSORED),
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
