"""Training with Lightning: tables in, a trained distribution head out."""

import importlib
from typing import TYPE_CHECKING

from disthead.data.table import DataError
from disthead.errors import NonFiniteLoss

if TYPE_CHECKING:
    from disthead.training.data import TabularDataModule
    from disthead.training.module import DistributionModule
    from disthead.training.multitask import MultitaskModule

__all__ = [
    "DataError",
    "DistributionModule",
    "MultitaskModule",
    "NonFiniteLoss",
    "TabularDataModule",
]

# They need Lightning, which the recipe of the estimators does without.
_LATER = {
    "DistributionModule": "disthead.training.module",
    "MultitaskModule": "disthead.training.multitask",
    "TabularDataModule": "disthead.training.data",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
