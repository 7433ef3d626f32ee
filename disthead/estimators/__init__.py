"""Estimators with scikit-learn's conventions: `DistributionRegressor`, `DistributionClassifier`."""

from disthead.estimators.classifier import DistributionClassifier
from disthead.estimators.regressor import DistributionRegressor

__all__ = ["DistributionClassifier", "DistributionRegressor"]
