"""disthead: the last layer of a model becomes a probability distribution.

features -> DistributionHead -> Distribution -> loss (nll), predictions, scores, decisions
"""

import importlib
from typing import TYPE_CHECKING

from disthead import objectives
from disthead.decision import decide
from disthead.divergences import divergence
from disthead.explanation import explain
from disthead.families import Distribution, Family, get_family
from disthead.head import DistributionHead, marginal
from disthead.links import LINKS, Link, get_link
from disthead.losses import nll

if TYPE_CHECKING:
    from disthead.estimators import DistributionClassifier, DistributionRegressor
    from disthead.families import families  # the package itself, which can be called
    from disthead.report import evaluate

__version__ = "0.1.0"

__all__ = [
    "LINKS",
    "Distribution",
    "DistributionClassifier",
    "DistributionHead",
    "DistributionRegressor",
    "Family",
    "Link",
    "decide",
    "divergence",
    "evaluate",
    "explain",
    "families",
    "get_family",
    "get_link",
    "marginal",
    "nll",
    "objectives",
]


# They need torchmetrics and Lightning, which `import disthead` does without.
_LATER = {
    "DistributionClassifier": "disthead.estimators",
    "DistributionRegressor": "disthead.estimators",
    "evaluate": "disthead.report",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
