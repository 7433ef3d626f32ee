"""Probabilities on the circle: of arcs, and the PIT of directions.

They serve every distribution of directions, mixtures and ensembles included. Angles are in radians.
"""

import math
from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution

__all__ = ["arc_probability", "arc_widths", "circular_pit"]

_GRID = 720  # directions at which a density is evaluated: every half degree


@torch.no_grad()
def arc_probability(dist: Distribution, start: Tensor, end: Tensor) -> Tensor:
    """The probability of the arc that goes anticlockwise from `start` to `end`, in float64.

    The cdf of a direction starts at an arbitrary angle; its differences modulo 1 do not depend on
    that. The probability of a mixture is the weighted sum over its components.

    Args:
        dist: distributions of directions, batch_shape (N,).
        start: where the arcs begin, shape (N,).
        end: where the arcs end, shape (N,).

    Returns:
        Probabilities of shape (N,).

    >>> from disthead import get_family
    >>> dist = get_family("von_mises").distribution(loc=torch.zeros(1), concentration=1.0)
    >>> quarter = torch.tensor([torch.pi / 2])
    >>> arc_probability(dist, -quarter, quarter).round(decimals=4)
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
    """The PIT of directions y, shape (N,), counted anticlockwise from opposite the mean direction.

    It is uniform on (0, 1) if the forecast is true; 1/2 is the direction with half the probability
    on either side.
    """
    start = (dist.mean + 2 * math.pi) % (2 * math.pi) - math.pi  # opposite the mean direction
    return arc_probability(dist, start, y)


@torch.no_grad()
def arc_widths(dist: Distribution, level: float) -> Tensor:
    """The lengths of the sets of directions that have the probability `level`, shape (N,).

    Of a mixture it is the set of highest density, to half a degree; of other distributions the
    central arc.
    """
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
