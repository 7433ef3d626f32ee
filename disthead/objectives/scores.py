"""Proper scores as objectives, which have their least expectation at the true distribution."""

from typing import Any

from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.losses import as_targets
from disthead.targets import observed_numbers

__all__ = ["crps"]


def crps(dist: Distribution, y: Any) -> Tensor:
    """The continuous ranked probability score, the integral of (F(x) - 1{y <= x})^2, for each row.

    It is in the units of y, and the mean over outputs if there are several independent ones. It
    grows with the distance of an outlier only linearly, so that a few outliers move the fit less
    than by the likelihood of a normal distribution. Every family of one number has it, in closed
    form or by quadrature; directions have the score on the circle, in radians. Source: Gneiting and
    Raftery 2007.

    Args:
        dist: a distribution of batch_shape (...,), of one number or of independent ones.
        y: targets, batch_shape + event_shape.

    Raises:
        NotImplementedError: for targets that are censored, and where there is no such score, that
            is for classes, rankings, vectors with a joint density, and mixtures on a circle. It is
            infinite for student_t with a df of 1/2 or less.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> crps(dist, torch.tensor([0.0, 10.0]))
    tensor([0.2337, 9.4358])
    """
    y = observed_numbers(dist, as_targets(dist, y), "the objective 'crps'", "Train by 'nll'.")
    values = dist.crps(y)
    return values.flatten(len(dist.batch_shape)).mean(-1) if dist.event_shape else values
