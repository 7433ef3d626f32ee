"""Probabilities on the circle: of arcs, and the PIT of directions of any kind, mixtures and ensembles among them."""

import math
from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution

__all__ = ["arc_probability", "arc_widths", "circular_pit"]

_GRID = 720  # directions at which a density is looked at: every half degree


@torch.no_grad()
def arc_probability(dist: Distribution, start: Tensor, end: Tensor) -> Tensor:
    """P(Y on the arc that goes anticlockwise from `start` to `end`), of any distribution of directions, shape (N,).

    A cdf on a circle starts where it likes; its differences, whole turns apart, do not depend on
    that. The probability of a mixture is the weighted sum over its components.

    >>> from disthead import get_family
    >>> dist = get_family("von_mises").distribution(loc=torch.zeros(1), concentration=1.0)
    >>> arc_probability(dist, torch.tensor([-torch.pi / 2]), torch.tensor([torch.pi / 2])).round(decimals=4)
    tensor([0.7805], dtype=torch.float64)
    """
    components: Any = getattr(dist, "components", None)
    if components is not None:
        weight = dist.probs.double()
        return (weight * arc_probability(components, start.unsqueeze(-1), end.unsqueeze(-1))).sum(
            -1
        )
    return (dist.cdf(end.double()).double() - dist.cdf(start.double()).double()) % 1.0


@torch.no_grad()
def circular_pit(dist: Distribution, y: Tensor) -> Tensor:
    """The probability of the arc from opposite the mean direction anticlockwise to y: uniform where the forecast is true.

    1/2 is where as much probability lies on the one side as on the other.
    """
    start = (dist.mean + 2 * math.pi) % (2 * math.pi) - math.pi  # opposite the mean direction
    return arc_probability(dist, start, y)


@torch.no_grad()
def arc_widths(dist: Distribution, level: float) -> Tensor:
    """The length of what holds `level` of the directions: the central arc, or the set of highest density, shape (N,)."""
    if getattr(dist, "components", None) is None:
        lower, upper = dist.interval(level)
        return (upper - lower).double() % (2 * math.pi)
    angle = (torch.arange(_GRID, dtype=torch.float64, device=dist.device) + 0.5) * (
        2 * math.pi / _GRID
    ) - math.pi
    parts = []
    for part in torch.arange(dist.batch_shape[0], device=dist.device).split(4096):
        mass = (
            dist[part]
            .log_prob(angle.unsqueeze(-1))
            .double()
            .softmax(0)
            .sort(dim=0, descending=True)
            .values
        )
        parts.append((mass.cumsum(0) < level).double().sum(0) + 1)
    return torch.cat(parts).clamp(max=_GRID) * (2 * math.pi / _GRID)
