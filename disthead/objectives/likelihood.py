"""The likelihood as an objective."""

from typing import Any

from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.losses import as_targets

__all__ = ["nll"]


def nll(dist: Distribution, y: Any) -> Tensor:
    """The negative log-likelihood -log p(y) of each row, in nats.

    Of several outputs it is that of the joint density. `disthead.nll` is its mean over rows. The
    score is strictly proper and local: it depends on the density at y alone. Source: Good 1952.

    Args:
        dist: a distribution of batch_shape (...,) and any event_shape.
        y: targets, batch_shape + event_shape, or class probabilities.

    Raises:
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("poisson").distribution(rate=torch.tensor([1.0, 2.0]))
    >>> nll(dist, torch.tensor([0, 0]))
    tensor([1., 2.])
    """
    y = as_targets(dist, y)
    return -dist.log_prob(y)
