"""scikit-learn's conventions: `DistributionRegressor` and `DistributionClassifier`."""

from disthead.estimators.classifier import DistributionClassifier
from disthead.estimators.regressor import DistributionRegressor

__all__ = ["DistributionClassifier", "DistributionRegressor"]
