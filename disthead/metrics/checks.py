"""Checks of the rows that `update` of a metric takes, and the choice of those that count."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_tensor
from disthead.distributions.base import Distribution
from disthead.distributions.circular import wrapped
from disthead.distributions.independent import each_output
from disthead.errors import TargetError, locate
from disthead.targets import check_target, observed_numbers
from disthead.weights import as_weight, present

__all__ = ["Rows", "chunks", "rows_that_count", "weight_of_rows"]

_CHUNK_SAMPLES = 2**20  # numbers that are sampled in one chunk
_MOST_TURNS = 2.0  # angles farther from 0 are probably degrees, and are refused


@dataclass(frozen=True)
class Rows:
    """Forecasts and targets of the rows of an update that count, those with a weight above zero.

    Attributes:
        dist: the forecasts, batch_shape (...,).
        y: targets, batch_shape + event_shape, or pairs (lower, upper) in one more dimension.
        weight: of shape (...,), above zero, or None where every row is_kept the same.
        others: further forecasts of the same targets.
        all_targets: the targets of all rows of the update, for messages.
        places: a mask of the rows that count, of the shape of the update's batch; None for all.
    """

    dist: Distribution
    y: Tensor
    weight: Tensor | None
    others: tuple[Distribution, ...]
    all_targets: Tensor
    places: Tensor | None

    @property
    def count(self) -> int:
        """The number of rows."""
        return self.dist.batch_shape.numel()

    def of(self, chosen: Tensor) -> "Rows":
        """The rows for which `chosen`, a boolean tensor of shape (...,), is true."""
        places = chosen
        if self.places is not None:
            places = torch.zeros_like(self.places)
            places[self.places] = chosen
        weight = None if self.weight is None else self.weight[chosen]
        others = tuple(other[chosen] for other in self.others)
        return Rows(self.dist[chosen], self.y[chosen], weight, others, self.all_targets, places)

    def weights_like(self, values: Tensor) -> Tensor:
        """The weights expanded to values of shape (..., *anything), in double precision."""
        if self.weight is None:
            return torch.ones_like(values, dtype=torch.float64)
        weight = self.weight.detach().to(values.device, torch.float64)
        return weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim)).expand_as(values)

    def refuse_nan(self, values: Tensor, what: str) -> None:
        """Refuses NaN in values of shape (..., *anything), for which a histogram has no bin.

        Raises:
            TargetError: for NaN, with the rows.
        """
        bad = values.isnan()
        if not bool(bad.any()):
            return
        if values.shape != self.y.shape:
            bad = bad.reshape(*self.dist.batch_shape, -1).any(-1)
        if self.places is not None:
            everywhere = torch.zeros(
                self.places.shape + bad.shape[1:], dtype=torch.bool, device=bad.device
            )
            everywhere[self.places] = bad
            bad = everywhere
        raise TargetError(
            f"{what} must be a number, got NaN for y in {locate(bad, self.all_targets)}. Look for "
            "missing parameters."
        )


def rows_that_count(
    dist: Distribution,
    y: Any,
    weight: Any = None,
    *,
    others: Sequence[Distribution] = (),
    soft_labels: bool = False,
    ignore_index: int | None = None,
    needs_numbers: str = "",
) -> Rows:
    """The rows of an update that count, after a check of their targets.

    Rows with the weight 0 or the target `ignore_index` are left out before anything is computed.
    Rankings may be shorter than the number of items. Class probabilities are targets if
    `soft_labels` is true. Directions may be all_targets in [0, 2 pi) as well as in (-pi, pi].

    Censored targets are pairs; where all are observed, they become numbers if `needs_numbers` is
    the name of a metric.

    Raises:
        NotImplementedError: for censored targets, where `needs_numbers` is the name of a metric.
        ValueError: for other shapes ((N, 1) targets against N distributions would score N x N
            pairs), and weights that are negative, NaN or infinite.
        TargetError: for targets that a distribution cannot have produced, naming rows and values.
    """
    if not isinstance(dist, torch.distributions.Distribution):
        raise ValueError(
            f"metrics score predicted distributions, got {type(dist).__name__}. Parameters become "
            "one by disthead.get_family(name).distribution(...). Embeddings, margins and samples "
            "have no density; for embeddings there is torchmetrics.retrieval."
        )
    weight = weight_of_rows(weight, tuple(dist.batch_shape), dist.device)
    if ignore_index is not None and dist.kind == "vector":
        raise ValueError(
            "ignore_index leaves out rows of one class each, the distribution has several, of "
            f"shape {tuple(dist.event_shape)}. Try update(dist.marginals, y), where each class is "
            "a row."
        )
    if each_output(dist).kind == "direction":
        y = _within_a_turn(as_tensor(y, dtype=dist.dtype, device=dist.device))
    for one in (dist, *others):
        y = check_target(one, y, weight=weight, soft_labels=soft_labels, ignore_index=ignore_index)
    if ignore_index is not None:
        is_kept = y != ignore_index
        if not bool(is_kept.all()):
            weight = is_kept.to(dist.dtype) if weight is None else torch.where(is_kept, weight, 0.0)
    left, kept_dist, kept_y, *kept = present(weight, dist, y, *others)
    if needs_numbers:
        kept_y = observed_numbers(kept_dist, kept_y, needs_numbers)
    places = None if left is weight else weight > 0
    return Rows(kept_dist, kept_y, left, tuple(kept), y, places)


def weight_of_rows(
    weight: Any, shape: tuple[int, ...], device: torch.device | None = None
) -> Tensor | None:
    """The checked weights of rows, of that shape, or None without weights.

    All of them may be zero, since no row of a process may count.

    Raises:
        ValueError: for another shape, and weights that are negative, NaN or infinite.
    """
    if weight is None:
        return None
    # on the CPU, where values can be checked
    checked = as_weight(as_tensor(weight, "weight").cpu(), shape, may_be_empty=True)
    return checked if checked is None or device is None else checked.to(device)


def _within_a_turn(y: Tensor) -> Tensor:
    """Directions in (-pi, pi]; angles of many turns stay as they are, to be refused."""
    far = (y.abs() > math.pi) & (y.abs() <= 2 * math.pi * _MOST_TURNS)
    if not bool(far.any()):
        return y
    y = y if y.is_floating_point() else y.double()
    return torch.where(far, wrapped(y.double()).to(y.dtype), y)


def chunks(dist: Distribution, y: Tensor, samples: int) -> Iterator[tuple[Distribution, Tensor]]:
    """The rows in chunks, small enough for `samples` samples of each row in memory."""
    if not dist.batch_shape:
        yield dist, y
        return
    rows = dist.batch_shape[0]
    size = max(1, _CHUNK_SAMPLES // max(1, samples * (y.numel() // max(rows, 1))))
    for start in range(0, max(rows, 1), size):
        part = slice(start, start + size)
        yield (dist, y) if size >= rows else (dist[part], y[part])
