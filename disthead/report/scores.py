"""The scores of a report for each kind of target."""

from collections.abc import Callable

from disthead.distributions.base import CLASSES
from disthead.metrics import (
    CRPS,
    Accuracy,
    BrierScore,
    EnergyScore,
    KendallTau,
    MeanAbsoluteError,
    NegativeLogLikelihood,
    RankedProbabilityScore,
    RootMeanSquaredError,
    TopKHitRate,
)
from disthead.metrics import Score as ScoreMetric
from disthead.report.findings import CENSORED, EVENTS, LINE

__all__ = ["COMPARED", "LOG_SCORE", "ROOT_SCORE", "SCORES"]

LOG_SCORE = "Negative log-likelihood"
ROOT_SCORE = "Root mean squared error of the mean"
COMPARED = (LOG_SCORE, "CRPS", "Energy score", "Ranked probability score", "Brier score")
# for each label: the metric, its unit ("y" for that of the target), its kinds of target
SCORES: dict[str, tuple[Callable[[], ScoreMetric], str, tuple[str, ...]]] = {
    LOG_SCORE: (NegativeLogLikelihood, "nats", (*LINE, *EVENTS, "vector", CENSORED)),
    "CRPS": (CRPS, "y", LINE),
    "Energy score": (EnergyScore, "y", ("vector",)),
    "Mean absolute error of the median": (MeanAbsoluteError, "y", LINE),
    ROOT_SCORE: (RootMeanSquaredError, "y", LINE),
    "Brier score": (BrierScore, "", CLASSES),
    "Accuracy": (Accuracy, "", CLASSES),
    "Ranked probability score": (RankedProbabilityScore, "", ("ordinal",)),
    "Mean absolute error of the median class": (MeanAbsoluteError, "", ("ordinal",)),
    "Kendall's tau": (KendallTau, "", ("ranking",)),
    "First place right": (lambda: TopKHitRate(1), "", ("ranking",)),
}
