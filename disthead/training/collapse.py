"""A spread that has come down to its floor: how often, and a warning of it."""

import warnings

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.standardisation import SCALES

__all__ = ["CollapsedRows"]


class CollapsedRows:
    """Counts the validation rows whose spread lies within a factor of two of its floor, and warns of them once.

    Args:
        floor: in units of the standardised target.
    """

    def __init__(self, floor: float):
        self.floor = floor
        self.count: Tensor | None = None
        self.has_warned = False

    @torch.no_grad()
    def add(self, dist: Distribution, unit: Tensor) -> None:
        """Count those of `dist`, whose target has the standard deviation `unit`."""
        name = next(name for name in SCALES if name in dist.parameters)
        scale = dist.parameters[name] ** (1 / SCALES[name])
        scale = scale.diagonal(dim1=-2, dim2=-1) if name == "scale_tril" else scale
        unit = unit.reshape(unit.shape + (1,) * (scale.ndim - 1 - unit.ndim))
        near = (scale <= 2 * self.floor * unit).reshape(len(scale), -1).any(-1).sum()
        self.count = near if self.count is None else self.count + near

    def warn(self) -> None:
        """Warn where rows were counted since the last call, the first time that there are any."""
        count, self.count = 0 if self.count is None or self.has_warned else int(self.count), None
        if not count:
            return
        self.has_warned = True
        warnings.warn(
            f"the predicted scale of {count} validation rows has come down to its floor, "
            f"{self.floor:g} standard deviations of the targets: their likelihood would grow "
            "without bound. Look for duplicates and for a target that is really discrete; share "
            "the scale (shared=['scale']), regularise, or choose a family for classes or counts.",
            stacklevel=3,
        )
