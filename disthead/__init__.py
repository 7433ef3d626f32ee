"""disthead: the last layer of a model becomes a probability distribution.

features -> DistributionHead -> Distribution -> loss (nll), predictions, scores, decisions
"""

from typing import TYPE_CHECKING

from disthead.decision import decide
from disthead.explanation import explain
from disthead.families import Distribution, Family, families, get_family
from disthead.head import DistributionHead, marginal
from disthead.links import LINKS, Link, get_link
from disthead.losses import nll

if TYPE_CHECKING:
    from disthead.report import evaluate

__version__ = "0.1.0"

__all__ = [
    "LINKS",
    "Distribution",
    "DistributionHead",
    "Family",
    "Link",
    "decide",
    "evaluate",
    "explain",
    "families",
    "get_family",
    "get_link",
    "marginal",
    "nll",
]


def __getattr__(name: str) -> object:
    if name == "evaluate":  # it needs torchmetrics, which `import disthead` does without
        from disthead.report import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
