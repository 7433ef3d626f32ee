"""The PIT of a stream of numbers, directions or whole vectors."""

import torch
from torch import Tensor

from disthead.diagnostics.directions import circular_pit
from disthead.distributions.base import Distribution
from disthead.metrics import PITHistogram

__all__ = ["PIT"]


class PIT(PITHistogram):
    """The histogram of the PIT, also of all directions, which keeps the PIT of the last batch.

    Attributes:
        last: where the jump of each row of the last batch begins and ends, each (N,).
        design_effect: of clusters, by which the effective number of rows is divided.
    """

    last: tuple[Tensor, Tensor]
    design_effect = 1.0

    def _jump(self, dist: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
        if not self.joint and dist.kind == "direction":
            u = circular_pit(dist, y)
            self.last = (u, u)
        else:
            self.last = super()._jump(dist, y)
        return self.last

    def _effective_count(self) -> Tensor:
        return super()._effective_count() / self.design_effect

    def coverage(self, levels: Tensor) -> Tensor:
        """The share of targets inside the central intervals of these levels, of their shape.

        Exact for levels that are multiples of 0.001, else linear between those.
        """
        cumulative = self.cumulative().cpu()
        return _between(cumulative, 1000 * (1 + levels)) - _between(cumulative, 1000 * (1 - levels))


def _between(cumulative: Tensor, place: Tensor) -> Tensor:
    place = torch.where((place - place.round()).abs() < 1e-6, place.round(), place)
    lower = place.floor().long().clamp(max=len(cumulative) - 2)
    return torch.lerp(cumulative[lower], cumulative[lower + 1], place - lower)
