"""Recalibration: maps of predicted distributions, learned on rows held out of training."""

from disthead.calibration.binary import BetaCalibration, IsotonicCalibration
from disthead.calibration.classes import TemperatureScaling, VectorScaling
from disthead.calibration.conformal import ConformalQuantiles
from disthead.calibration.predictive import ConformalPredictive
from disthead.calibration.recalibration import Recalibration, rebuild
from disthead.calibration.scale import QuantileRecalibration, ScaleCalibration

__all__ = [
    "BetaCalibration",
    "ConformalPredictive",
    "ConformalQuantiles",
    "IsotonicCalibration",
    "QuantileRecalibration",
    "Recalibration",
    "ScaleCalibration",
    "TemperatureScaling",
    "VectorScaling",
    "rebuild",
]
