"""Recalibration: what a model says about its own errors, corrected on rows that it was not trained on."""

from disthead.calibration.recalibration import Recalibration, rebuild
from disthead.calibration.scale import QuantileRecalibration, ScaleCalibration

__all__ = [
    "QuantileRecalibration",
    "Recalibration",
    "ScaleCalibration",
    "rebuild",
]
