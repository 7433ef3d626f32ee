"""Colours that any eye tells apart, and a frame that stays out of the way."""

from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "SKY", "VERMILION", "chance", "frame", "percent"]

# Okabe and Ito 2008: told apart with any colour vision
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREY = "#999999"


def frame(ax: "Axes", title: str, xlabel: str, ylabel: str) -> "Axes":
    """Title and labels, and no box around them."""
    ax.set_title(title, loc="left", fontweight="bold", fontsize="medium")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def percent(axis) -> None:
    """Numbers from 0 to 1 written as percentages."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def with_unit(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def chance(confidence: float, looks: int = 1, what: str = "point") -> tuple[float, str]:
    """How many standard errors a band reaches that holds all of `looks` points together, and what to call it.

    >>> chance(0.95)[1], chance(0.99, 4, "group")[1]
    ('chance (95 %)', 'chance, all 4 groups (99 %)')
    """
    z = NormalDist().inv_cdf(1 - (1 - confidence) / (2 * looks))
    return (
        z,
        f"chance, all {looks} {what}s ({100 * confidence:g} %)" if looks > 1 else f"chance ({100 * confidence:g} %)",
    )
