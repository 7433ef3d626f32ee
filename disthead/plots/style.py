"""Colours that any eye tells apart, and a frame that stays out of the way."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "SKY", "VERMILION", "frame", "percent"]

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
