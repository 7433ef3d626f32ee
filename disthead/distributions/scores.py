"""Scores of any distribution that are estimated by its samples."""

import torch
from torch import Tensor

from disthead.distributions.base import Distribution

__all__ = ["draw", "energy_score"]

# How many other samples each one is compared with. E||Y - Y'|| then has a smaller error than
# E||Y - y||.
PAIRS = 8


def energy_score(
    dist: Distribution, y: Tensor, samples: int = 512, generator: torch.Generator | None = None
) -> Tensor:
    """The energy score E||Y - y|| - E||Y - Y'|| / 2, an unbiased estimate by samples, shape (...).

    It has the units of y; lower is better. In one dimension it is the crps, which is computed
    exactly. Source: Gneiting and Raftery 2007.

    Args:
        dist: a distribution of vectors with batch_shape (...); the norm is over the whole event.
        y: targets, batch + event.
        samples: the number of samples; the error falls with its square root.
        generator: the source of random numbers; None takes torch's global one.

    Raises:
        NotImplementedError: for a distribution of classes.
    """
    dims = tuple(range(-len(dist.event_shape), 0))
    if dist.event_shape.numel() == 1:
        return dist.marginals.crps(y).sum(dims)
    x = draw(dist, samples, generator)
    if not x.is_floating_point():
        raise dist._unanswered(
            "energy_score", "class indices are names, which have no distance; brier(y) scores them."
        )
    distance = torch.linalg.vector_norm(x - y, dim=dims).mean(0)
    lags = range(1, min(PAIRS, samples - 1) + 1)
    between = sum(
        torch.linalg.vector_norm(x - x.roll(lag, 0), dim=dims).mean(0) for lag in lags
    ) / len(lags)
    return distance - 0.5 * between


def draw(dist: Distribution, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Samples of shape (count, ...), with gradients where the distribution has them.

    Args:
        dist: any distribution.
        count: the number of samples.
        generator: the source of random numbers, on any device; None takes torch's global one.
    """
    sample = dist.rsample if dist.has_rsample else dist.sample
    if generator is not None and generator.device.type != dist.device.type:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        generator = torch.Generator(dist.device).manual_seed(seed)
    return sample((count,), generator)
