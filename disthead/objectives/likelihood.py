"""The likelihood as an objective."""

from typing import Any

from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.losses import as_targets

__all__ = ["nll"]


def nll(dist: Distribution, y: Any) -> Tensor:
    """The negative log-likelihood -log p(y) of each row, in nats; of several outputs the joint one.

    `disthead.nll` is its mean over rows. It is strictly proper, and local: only the density at y
    counts. Source: Good 1952.

    Args:
        dist: batch_shape (...,), any event_shape.
        y: targets, batch_shape + event_shape, or class probabilities.

    Raises:
        TargetError, ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("poisson").distribution(rate=torch.tensor([1.0, 2.0]))
    >>> nll(dist, torch.tensor([0, 0]))
    tensor([1., 2.])
    """
    return -dist.log_prob(as_targets(dist, y))
