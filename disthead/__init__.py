"""disthead: the last layer of a model becomes a probability distribution.

features -> DistributionHead -> Distribution -> loss (nll), predictions, scores, decisions
"""

from disthead.decision import decide
from disthead.explanation import explain
from disthead.families import Distribution, Family, families, get_family
from disthead.head import DistributionHead, marginal
from disthead.links import LINKS, Link, get_link
from disthead.losses import nll

__version__ = "0.1.0"

__all__ = [
    "LINKS",
    "Distribution",
    "DistributionHead",
    "Family",
    "Link",
    "decide",
    "explain",
    "families",
    "get_family",
    "get_link",
    "marginal",
    "nll",
]
