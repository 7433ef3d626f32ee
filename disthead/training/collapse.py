"""`CollapsedRows`: the warning about predicted scales at their minimum."""

import warnings

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.standardisation import SCALES

__all__ = ["CollapsedRows"]


class CollapsedRows:
    """Counts the validation rows whose scale is at most twice its minimum, and warns of them once.

    Args:
        min_scale: the minimum, in standard deviations of the target.
    """

    def __init__(self, min_scale: float):
        self.min_scale = min_scale
        self.count: Tensor | None = None
        self.has_warned = False

    @torch.no_grad()
    def add(self, dist: Distribution, unit: Tensor) -> None:
        """Count the rows of a distribution.

        Args:
            dist: with a scale among its parameters.
            unit: the standard deviation of its target, a number or one for each output.
        """
        name = next(name for name in SCALES if name in dist.parameters)
        scale = dist.parameters[name] ** (1 / SCALES[name])
        scale = scale.diagonal(dim1=-2, dim2=-1) if name == "scale_tril" else scale
        unit = unit.reshape(unit.shape + (1,) * (scale.ndim - 1 - unit.ndim))
        count = (scale <= 2 * self.min_scale * unit).reshape(len(scale), -1).any(-1).sum()
        self.count = count if self.count is None else self.count + count

    def warn(self) -> None:
        """Warn of the rows that were counted since the last call; later calls do not warn again."""
        count, self.count = 0 if self.count is None or self.has_warned else int(self.count), None
        if not count:
            return
        self.has_warned = True
        warnings.warn(
            f"the predicted scale of {count} validation rows has come down to its minimum, "
            f"{self.min_scale:g} standard deviations of the targets: their likelihood would grow "
            "without bound. Look for duplicates and for a target that is really discrete; share "
            "the scale (shared=['scale']), regularise, or choose a family for classes or counts.",
            stacklevel=3,
        )
