"""What `update` accepts: one target for each distribution, one weight for each row."""

from collections.abc import Iterator

from torch import Tensor

from disthead.errors import TargetError, locate
from disthead.families.distribution import Distribution

__all__ = ["check_number", "check_rows", "check_weight", "chunks", "is_ranking"]

_NUMBERS = 2**20  # sampled at once


def check_rows(dist: Distribution, y: Tensor, weight: Tensor | None = None, soft_labels: bool = False) -> None:
    """Refuse targets and weights that do not fit the distribution: broadcasting (N, 1) against (N,) would score N x N pairs.

    Orders may be shorter than the number of items; class probabilities pass where a score takes `soft_labels`.

    Raises:
        ValueError: for other shapes, and for weights that are negative or NaN.
    """
    expected = (*dist.batch_shape, *dist.event_shape)
    shape = tuple(y.shape)
    partial = is_ranking(dist) and y.ndim == len(expected) and shape[:-1] == expected[:-1] and shape[-1] <= expected[-1]
    soft = soft_labels and y.is_floating_point() and shape == (*expected, getattr(dist, "num_classes", -1))
    if shape != expected and not partial and not soft:
        hint = " Try y.squeeze(-1)." if shape == (*expected, 1) else ""
        raise ValueError(f"y must have the shape {expected} of the distribution, got {shape}.{hint}")
    if weight is not None:
        check_weight(weight, tuple(dist.batch_shape))


def check_weight(weight: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(weight.shape) != shape:
        raise ValueError(f"weight must have one value per row, shape {shape}, got {tuple(weight.shape)}.")
    bad = ~(weight >= 0)
    if bad.any():
        raise ValueError(f"weight must be zero or more, got {locate(bad, weight)}.")


def check_number(values: Tensor, y: Tensor, what: str) -> None:
    """Refuse NaN, which has no place in a histogram.

    Raises:
        TargetError: naming the rows of y.
    """
    bad = values.isnan()
    if bad.any():
        where = locate(bad.expand_as(y), y) if bad.ndim == y.ndim else f"{int(bad.sum())} rows"
        raise TargetError(
            f"{what} must be a number, got NaN for y in {where}. Look for missing targets and parameters."
        )


def is_ranking(dist: Distribution) -> bool:
    """Whether targets are orders of items."""
    return hasattr(dist, "num_items")


def chunks(dist: Distribution, y: Tensor, samples: int) -> Iterator[tuple[Distribution, Tensor]]:
    """The rows in parts of which `samples` samples each do not take much memory."""
    if not dist.batch_shape:
        yield dist, y
        return
    rows = dist.batch_shape[0]
    size = max(1, _NUMBERS // max(1, samples * (y.numel() // max(rows, 1))))
    for start in range(0, max(rows, 1), size):
        part = slice(start, start + size)
        yield (dist, y) if size >= rows else (dist[part], y[part])
