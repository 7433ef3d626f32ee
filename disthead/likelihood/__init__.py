"""The fused log-likelihood of a head's raw outputs: its value and its gradient in one pass.

A family hands down a `Formula` for its links; `Formula.from_raw` and `Formula.from_features` give
distributions whose parameters are lazy (`LinkedParameters`, or `Projection` where the classes are
very many) and whose `log_prob` is computed here. This is the only door: nothing outside of this
folder imports one of its files.
"""

from disthead.likelihood.classes import FEW_CLASSES, Logits, ManyLogits, class_log_prob
from disthead.likelihood.formula import Formula
from disthead.likelihood.kernels import prepare
from disthead.likelihood.linked import LinkedParameters
from disthead.likelihood.low_rank import LowRankParameters
from disthead.likelihood.projection import Projection
from disthead.likelihood.rankings import (
    ABSENT_GAP,
    finite_scores,
    ranking_log_prob,
    ranking_log_prob_by_worth,
)

__all__ = [
    "ABSENT_GAP",
    "FEW_CLASSES",
    "Formula",
    "LinkedParameters",
    "Logits",
    "LowRankParameters",
    "ManyLogits",
    "Projection",
    "class_log_prob",
    "finite_scores",
    "prepare",
    "ranking_log_prob",
    "ranking_log_prob_by_worth",
]
