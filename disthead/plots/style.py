"""Colours for any colour vision, and titles, labels and ticks with users' texts."""

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from disthead.texts import shortened, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "LITERAL",
    "ORANGE",
    "SKY",
    "VERMILION",
    "chance",
    "frame",
    "literal",
    "percent",
    "ticks",
    "titled",
    "with_unit",
]

# Okabe and Ito 2008: distinguishable with any colour vision
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREY = "#999999"


# Properties of a matplotlib text that comes from a user: nothing in it is mathematics or TeX.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}

_MOST_CHARACTERS = 1000  # of a text; the middle of longer ones is cut out


def literal(text: object, weight: str = "normal") -> str:
    r"""A user's text as matplotlib can draw it with the properties `LITERAL`.

    Characters that the font of this weight lacks are escaped, and the middle of texts of more than
    1,000 characters is cut out.

    >>> print(literal("a_$b$"), literal("\N{grinning face}"))
    a_$b$ \U0001f600
    """
    known = _characters(weight)
    letters = shown(shortened(str(text), _MOST_CHARACTERS))
    return "".join(
        letter if ord(letter) in known else shown(letter, all_of_it=True) for letter in letters
    )


def titled(ax: "Axes", title: str) -> None:
    """Set the title, with its line breaks, in at most four lines."""
    lines = [
        part for line in str(title).split("\n") for part in _wrapped(line, _room(ax)[0], "bold")
    ]
    ax.set_title("\n".join(lines[:4]), loc="left", fontweight="bold", fontsize="medium", **LITERAL)


def frame(ax: "Axes", title: str, xlabel: str, ylabel: str) -> "Axes":
    """Set title and labels and hide the upper and right edges; returns `ax`."""
    width, height = _room(ax)
    titled(ax, title)
    ax.set_xlabel("\n".join(_wrapped(xlabel, width)), **LITERAL)
    ax.set_ylabel("\n".join(_wrapped(ylabel, height)), **LITERAL)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def ticks(
    ax: "Axes", axis: str, place: Any, names: Iterable[tuple[object, str]], **properties: Any
) -> None:
    """Set a user's names as the ticks of an axis.

    Args:
        ax: the axes.
        axis: "x" or "y".
        place: positions of the ticks, shape (K,).
        names: K pairs of a name, which is shortened to fit, and a text that follows it in full,
            such as a number of rows.
        properties: further properties of the texts.
    """
    room = 0.45 * _room(ax)[axis == "x"]
    labels = [_fitted(literal(name), room - _width(end)) + end for name, end in names]
    getattr(ax, f"{axis}axis").set_ticks(place, labels, **properties, **LITERAL)


def percent(axis) -> None:
    """Write the numbers of an axis, from 0 to 1, as percentages."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def with_unit(name: str, unit: str) -> str:
    """The name followed by its unit in parentheses, or the name alone if the unit is empty."""
    return f"{name} ({unit})" if unit else name


def chance(confidence: float, looks: int = 1, what: str = "point") -> tuple[float, str]:
    """The half-width of a band of chance in standard errors, and the band's label.

    The band holds all of `looks` normal deviations together with at least the probability
    `confidence` (Bonferroni's inequality). `what` names one of them. Raises ValueError if
    `confidence` is 1 or more.

    >>> chance(0.95)[1], chance(0.99, 4, "group")[1]
    ('chance (95 %)', 'chance, all 4 groups (99 %)')
    """
    z = NormalDist().inv_cdf(1 - (1 - confidence) / (2 * looks))
    return (
        z,
        f"chance, all {looks} {what}s ({100 * confidence:g} %)"
        if looks > 1
        else f"chance ({100 * confidence:g} %)",
    )


def _room(ax: "Axes") -> tuple[float, float]:
    """The approximate width and height of the axes in points, without labels."""
    spec, figure = ax.get_subplotspec(), ax.figure
    rows, columns = (1, 1) if spec is None else spec.get_gridspec().get_geometry()
    points = 0.78 * 72 / figure.dpi
    return points * figure.bbox.width / columns, points * figure.bbox.height / rows


def _wrapped(text: object, points: float, weight: str = "normal") -> list[str]:
    """A user's text in at most three lines."""
    rest, lines = literal(text, weight), list[str]()
    while len(lines) < 2 and _width(rest, weight) > points:
        fit = len(rest)
        while fit > 1 and (width := _width(rest[:fit], weight)) > points:
            fit = min(fit - 1, int(fit * points / width) + 1)
        cut = rest.rfind(" ", 1, fit + 1)
        cut = fit if cut < 0 else cut
        lines.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*lines, _fitted(rest, points, weight)]


def _fitted(letters: str, points: float, weight: str = "normal") -> str:
    """The text, without its middle where it is too wide."""
    result, keep = letters, len(letters)
    while keep > 5 and (width := _width(result, weight)) > points:
        keep = max(5, min(keep - 1, int(keep * points / width) + 1))
        result = shortened(letters, keep)
    return result


def _width(letters: str, weight: str = "normal") -> float:
    """The width of a text in points, at the default size."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(weight=weight)))
    font.set_size(rcParams["font.size"], 72)
    font.set_text(letters)
    return font.get_width_height()[0] / 64


def _characters(weight: str) -> frozenset[int]:
    """The code points that the fonts in use can draw."""
    from matplotlib.font_manager import FontProperties

    return _of_families(tuple(FontProperties().get_family()), weight)


@cache
def _of_families(families: tuple[str, ...], weight: str) -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont

    characters: list[frozenset[int]] = []
    for family in families:
        with suppress(ValueError):  # fonts that are not installed matplotlib leaves out, too
            font = FontProperties(family=[family], weight=weight)
            characters.append(_of_font(findfont(font, fallback_to_default=False)))
    default = FontProperties(weight=weight)
    return frozenset().union(*characters or [_of_font(findfont(default))])


def _of_font(path: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    return frozenset(get_font(path).get_charmap())
