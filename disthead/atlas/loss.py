"""One entry of the atlas."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

__all__ = ["Kind", "Loss"]

Kind = Literal["likelihood", "changed likelihood", "proper score", "divergence", "not a likelihood"]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss in words: whole sentences in plain text, formulas as in Python's or torch's docs.

    Args:
        name: of the objective in `disthead.objectives`, or of the divergence.
        kind: "likelihood" under a classical name, "changed likelihood", "proper score",
            "divergence" between two predicted distributions, or "not a likelihood".
        synonyms: other names of the field for the same, by which people look for it.
        assumption: what it assumes about the noise, or about the data. Its first sentence,
            or what comes before a semicolon, stands in the table of all losses.
        formula: of one row.
        family: the family whose likelihood it is, with the parameters that are held fixed.
        estimated: what a model trained by it predicts, such as the mean, a quantile or a margin.
        gradient: the shape of the gradient over the residual or the margin, in words.
        robustness: what outliers or wrong labels do.
        calibration: what happens to calibration, and whether there is any.
        breaks: when it breaks.
        remedy: what to try then. Words with an underscore, and names in backticks, are names of
            families, losses, parameters or options that exist.
        pytorch: the call of PyTorch that computes the same, if there is one.
        source: the paper and its year.
        axis: what the picture is drawn over: the "residual" y - mean of a number, the "margin" of
            two classes (the logit of the right one), or "" for none.
        drawn_with: the options of the objective in the picture, where its defaults do not show
            what is special about it.
    """

    name: str
    kind: Kind
    synonyms: tuple[str, ...] = ()
    assumption: str
    formula: str
    family: str = ""
    estimated: str
    gradient: str
    robustness: str
    calibration: str
    breaks: str
    remedy: str
    pytorch: str = ""
    source: str = ""
    axis: Literal["residual", "margin", ""] = ""
    drawn_with: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> int:
        """The place of its kind in tables."""
        return get_args(Kind).index(self.kind)

    @property
    def assumes(self) -> str:
        """The first sentence of the assumption."""
        return _first_sentence(self.assumption)

    @property
    def estimates(self) -> str:
        """The first sentence of what is estimated."""
        return _first_sentence(self.estimated)

    def texts(self) -> dict[str, str]:
        """What its page says, by labels, without what is empty."""
        parts = {
            "kind": self.kind,
            "also called": ", ".join(self.synonyms),
            "assumption": self.assumption,
            "formula": self.formula,
            "family": self.family,
            "estimated": self.estimated,
            "gradient": self.gradient,
            "robustness": self.robustness,
            "calibration": self.calibration,
            "breaks": self.breaks,
            "then try": self.remedy,
            "PyTorch": self.pytorch,
            "source": self.source,
        }
        return {label: text for label, text in parts.items() if text}


def _first_sentence(text: str) -> str:
    """The text up to its first full stop or semicolon."""
    return re.split(r"[.;] ", text)[0].rstrip(".") + "."
