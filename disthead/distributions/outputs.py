"""What scores ask of each output of a distribution: its own distribution, errors, widths, means."""

from typing import Literal

from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.circular import wrapped
from disthead.distributions.independent import each_output

__all__ = ["Point", "error_of", "interval_width", "marginals_of", "mean_over_outputs"]

Point = Literal["mean", "median", "mode"]
_UNORDERED = ("classes", "ranking")  # kinds whose numbers are classes or items, without distances


def marginals_of(dist: Distribution) -> Distribution:
    """The distribution of each single number, with batch_shape batch + event."""
    return dist.marginals if dist.event_shape else dist


def mean_over_outputs(dist: Distribution, values: Tensor) -> Tensor:
    """The mean over the outputs of each row.

    Args:
        dist: a distribution of batch_shape (...,) and any event_shape.
        values: one for each output, batch_shape + any shape.

    >>> import torch
    >>> from disthead.families.normal import Normal
    >>> mean_over_outputs(Normal(torch.zeros(1, 2), 1.0).to_event(1), torch.tensor([[1.0, 3.0]]))
    tensor([2.])
    """
    dims = len(dist.batch_shape)
    return values.flatten(dims).mean(-1) if values.ndim > dims else values


def error_of(dist: Distribution, y: Tensor, point: Point) -> Tensor:
    """The error y - point, batch_shape + event_shape; of directions, the angle between them.

    Raises:
        NotImplementedError: for classes and rankings, which have no distances. Ordered classes have
            no mean, but a median and a mode, from which the error is a number of classes.
    """
    kind = each_output(dist).kind
    if kind in _UNORDERED:
        raise NotImplementedError(
            f"{type(dist).__name__} is of items or classes, between which there is no distance. "
            "Accuracy counts hits, NegativeLogLikelihood scores probabilities."
        )
    error = y - getattr(dist, point)
    return wrapped(error) if kind == "direction" else error


def interval_width(outputs: Distribution, level: float) -> Tensor:
    """The width of the central interval; of directions, the length of the arc.

    Args:
        outputs: a distribution of one number, as `marginals_of` returns it.
        level: the probability of the interval.
    """
    lower, upper = outputs.interval(level)
    if outputs.kind != "direction":
        return upper - lower
    middle = outputs.median  # both halves are below a turn, so that no rounding adds one
    return wrapped(middle - lower).abs() + wrapped(upper - middle).abs()
