"""Errors of a predicted point as objectives: likelihoods with a fixed scale by classical names."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from disthead.arrays import as_number
from disthead.distributions.base import Distribution
from disthead.distributions.independent import each_output
from disthead.distributions.outputs import Point, error_of, mean_over_outputs
from disthead.losses import as_numbers
from disthead.special.hyperbolic import log_cosh as log_cosh_of

__all__ = ["huber", "log_cosh", "mae", "mse"]


def mse(dist: Distribution, y: Any) -> Tensor:
    """The squared error (y - mean)^2 of each row, in squared units of y.

    Of several outputs, and of the coordinates of a vector, it is the mean; of directions, the error
    is the angle between them. It is twice the negative log-likelihood of the family normal with the
    scale fixed at 1, up to a constant. Source: Gauss 1809.

    Args:
        dist: a distribution of batch_shape (...,) that has a mean.
        y: targets, batch_shape + event_shape.

    Raises:
        NotImplementedError: for classes and rankings, and for distributions without a mean.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=5.0)
    >>> mse(dist, torch.tensor([1.0, -3.0]))
    tensor([1., 9.])
    """
    error = _error(dist, y, "mean", "mse")
    return mean_over_outputs(dist, functional.mse_loss(error, _zeros(error), reduction="none"))


def mae(dist: Distribution, y: Any) -> Tensor:
    """The absolute error |y - median| of each row, in the units of y.

    Of several outputs, and of the coordinates of a vector, it is the mean; of directions, the error
    is the angle between them. It is the negative log-likelihood of the family laplace with the
    scale fixed at 1, up to a constant. Source: Laplace 1774.

    Args:
        dist: a distribution of batch_shape (...,) that has a median.
        y: targets, batch_shape + event_shape.

    Raises:
        NotImplementedError: for counts and classes, whose median is a step without a gradient, and
            for rankings and distributions without a median.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=5.0)
    >>> mae(dist, torch.tensor([1.0, -3.0]))
    tensor([1., 3.])
    """
    return mean_over_outputs(dist, _error(dist, y, "median", "mae").abs())


@dataclass(frozen=True)
class huber:
    """Huber's loss of the error e = y - mean: e^2 / 2 up to delta, delta |e| - delta^2 / 2 beyond.

    Of several outputs, and of the coordinates of a vector, it is the mean. It is the negative
    log-likelihood of the family huber with a fixed delta and the scale fixed at 1, up to a
    constant. The mean is the median where the distribution is symmetric; of a skewed one it is
    pulled towards the median of the data. Source: Huber 1964.

    Args:
        delta: the error at which the loss turns from square to absolute, positive, in the units of
            y; where training standardises the target, in its standard deviations.

    Raises:
        NotImplementedError: when it is called, for classes and rankings, and for distributions
            without a mean.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`, and for a delta that is not positive.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=5.0)
    >>> huber(delta=1.0)(dist, torch.tensor([1.0, -3.0]))
    tensor([0.5000, 2.5000])
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        expected = "a positive number, such as 1.0"
        as_number(self.delta, "delta of huber", expected, lambda x: 0 < x < math.inf)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The loss of each row, shape (...,); `y` has the shape batch_shape + event_shape."""
        error = _error(dist, y, "mean", "huber")
        losses = functional.huber_loss(error, _zeros(error), reduction="none", delta=self.delta)
        return mean_over_outputs(dist, losses)


def log_cosh(dist: Distribution, y: Any) -> Tensor:
    """The logarithm of the hyperbolic cosine of y - mean, for each row.

    Of several outputs, and of the coordinates of a vector, it is the mean. It is near e^2 / 2 for
    small errors e and near |e| - log 2 for large ones, and the negative log-likelihood of the
    family hyperbolic_secant with the scale fixed at 1, up to a constant. The mean is the median
    where the distribution is symmetric. Source: Saleh and Saleh 2022, Statistical properties of the
    log-cosh loss function.

    Args:
        dist: a distribution of batch_shape (...,) that has a mean.
        y: targets, batch_shape + event_shape.

    Raises:
        NotImplementedError: as `mse`.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=5.0)
    >>> log_cosh(dist, torch.tensor([1.0, -3.0]))
    tensor([0.4338, 2.3093])
    """
    return mean_over_outputs(dist, log_cosh_of(_error(dist, y, "mean", "log_cosh")))


def _error(dist: Distribution, y: Any, point: Point, objective: str) -> Tensor:
    """The error of each output, batch_shape + event_shape.

    Raises:
        NotImplementedError: where there is no such point, or none with a gradient.
    """
    output = each_output(dist)
    support: Any = output.support
    if output.kind in ("classes", "ordinal", "ranking"):
        instead = {"classes": "brier", "ordinal": "rps", "ranking": "list_mle"}[output.kind]
        reason = f"indices of classes and items have no distances; {instead} scores them."
        raise output._unanswered(objective, reason)
    if point == "median" and support.is_discrete:
        reason = "the median of counts is a step, which has no gradient; crps has one, and mse."
        raise output._unanswered(objective, reason)
    y = as_numbers(dist, y, objective)
    try:
        return error_of(dist, y, point)
    except NotImplementedError as error:
        reason = f"it needs a {point}. {error}"
        raise output._unanswered(objective, reason) from None


def _zeros(error: Tensor) -> Tensor:
    """Zeros of the shape of the error, in the memory of one: PyTorch's losses take two tensors."""
    return error.new_zeros(()).expand_as(error)
