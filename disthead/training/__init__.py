"""Training with Lightning: tables in, a trained distribution head out."""

from disthead.training.data import TabularDataModule
from disthead.training.module import DistributionModule, NonFiniteLoss
from disthead.training.table import DataError

__all__ = ["DataError", "DistributionModule", "NonFiniteLoss", "TabularDataModule"]
