"""Metrics of `(dist, y)`: scores, calibration and sharpness of predicted distributions.

They are metrics of torchmetrics, which take batches in one pass, over any number of processes.
"""

from .calibration_error import CalibrationError
from .comparison import PairedDifference, Skill
from .defaults import default_metrics
from .grouped import Grouped
from .mean import RowMean, Score
from .probability_integral import Coverage, PITHistogram, Uniformity
from .scores import (
    CRPS,
    Accuracy,
    BrierScore,
    EnergyScore,
    IntervalScore,
    KendallTau,
    MeanAbsoluteError,
    NegativeLogLikelihood,
    PinballLoss,
    RankedProbabilityScore,
    RootMeanSquaredError,
    Sharpness,
    TopKHitRate,
)
from .spread_skill import SpreadSkill
from .survival import CensoredBrierScore, CensoredCRPS, Concordance, KaplanMeier

__all__ = [
    "CRPS",
    "Accuracy",
    "BrierScore",
    "CalibrationError",
    "CensoredBrierScore",
    "CensoredCRPS",
    "Concordance",
    "Coverage",
    "EnergyScore",
    "Grouped",
    "IntervalScore",
    "KaplanMeier",
    "KendallTau",
    "MeanAbsoluteError",
    "NegativeLogLikelihood",
    "PITHistogram",
    "PairedDifference",
    "PinballLoss",
    "RankedProbabilityScore",
    "RootMeanSquaredError",
    "RowMean",
    "Score",
    "Sharpness",
    "Skill",
    "SpreadSkill",
    "TopKHitRate",
    "Uniformity",
    "default_metrics",
]
