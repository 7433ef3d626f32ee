"""`Grouped`: a metric within groups of rows, such as calibration in each of them."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from disthead.arrays import as_tensor
from disthead.distributions.base import Distribution
from disthead.errors import locate, pick
from disthead.metrics.checks import rows_that_count
from disthead.metrics.state import OfRows, keep_apart, over_processes

__all__ = ["Grouped"]


class Grouped(Metric):
    """A metric for each group of rows, by a column of labels or by bins of a feature.

    `compute()` gives a dictionary from labels to values, without groups that have no rows.

    Args:
        metric: any metric whose `update` takes (dist, y) and whose states are tensors of fixed
            size.
        groups: the labels that rows can have, texts, numbers or truth values, as a list, an array
            or a column of a table.
        bins: instead of groups, the inner edges of the bins of a feature, increasing: [0, 10] makes
            "< 0", "0 to 10" and ">= 10".

    Raises:
        ValueError: without groups and without bins, with both, for labels that repeat, and for
            metrics that keep all rows.

    >>> from disthead import get_family
    >>> from disthead.metrics import CRPS
    >>> by_sex = Grouped(CRPS(), groups=["f", "m"])
    >>> dist = get_family("normal").distribution(loc=torch.zeros(4), scale=1.0)
    >>> by_sex.update(dist, torch.tensor([0.0, 0.0, 3.0, 3.0]), ["f", "f", "m", "m"])
    >>> {label: round(value.item(), 2) for label, value in by_sex.compute().items()}
    {'f': 0.23, 'm': 2.44}
    >>> by_sex.worst()
    'm'
    """

    full_state_update = False
    rows: Tensor

    def __init__(
        self,
        metric: Metric,
        groups: Sequence[Any] | None = None,
        *,
        bins: "Sequence[float] | Tensor | None" = None,
        **options: Any,
    ):
        super().__init__(**options)
        if (groups is None) == (bins is None):
            raise ValueError(
                "Grouped needs either groups, the labels, or bins, the edges of a feature's bins."
            )
        if bins is not None:
            self.edges: Tensor | None = as_tensor(bins, "bins").double().cpu()
            if self.edges.ndim != 1 or not len(self.edges) or bool((self.edges.diff() <= 0).any()):
                raise ValueError(
                    f"bins must be rising edges, such as [0.0, 10.0], got {list(bins)}."
                )
            numbers = [f"{edge:g}" for edge in self.edges.tolist()]
            inner = [f"{low} to {high}" for low, high in itertools.pairwise(numbers)]
            self.labels: list[Any] = [f"< {numbers[0]}", *inner, f">= {numbers[-1]}"]
        else:
            self.edges = None
            self.labels = _labels(groups)
            if len(set(self.labels)) != len(self.labels):
                raise ValueError(f"groups must be different labels, each once, got {self.labels}.")
        self._places = {label: place for place, label in enumerate(self.labels)}
        # The states of the metric, one for each group, are stacked here, where processes add them
        # up.
        self.metric = metric.clone()
        self.metric._to_sync = False
        for name, default in metric._defaults.items():
            if not isinstance(default, Tensor):
                raise ValueError(
                    f"{type(metric).__name__} keeps all rows; Grouped takes metrics with states "
                    "of fixed size."
                )
            stacked = torch.stack([default] * len(self.labels))
            self.add_state(f"group_{name}", stacked, dist_reduce_fx=metric._reductions[name])
        self.add_state(
            "rows", torch.zeros(len(self.labels), dtype=torch.float64), dist_reduce_fx="sum"
        )
        keep_apart(self)

    def update(
        self, dist: Distribution, y: Any, group: Any, weight: Any = None, *arguments: Any
    ) -> None:
        """Adds rows with their groups.

        Args:
            dist: a distribution of batch_shape (N,), or (N, T) for steps of sequences.
            y: targets, of shape batch_shape + event_shape.
            group: the label or the feature of each row: a list, an array, a tensor or a column of a
                table, of shape (N,) or (N, T).
            weight: of shape batch_shape; rows of weight 0 are left out.
            *arguments: further arguments of the metric's `update`, one entry for each row.

        Raises:
            TargetError: for targets that the distribution cannot have produced.
            ValueError: for unknown labels, features that are NaN, and other shapes.
        """
        if isinstance(self.metric, OfRows):
            rows = self.metric.rows_that_count(dist, y, weight)
        else:
            rows = rows_that_count(dist, y, weight, soft_labels=True)
        place = self._place(group, tuple(dist.batch_shape), rows.places)
        self.rows = self.rows + place.flatten().bincount(minlength=len(self.labels)).to(self.rows)
        for k in place.unique().tolist():
            some = rows.of((place == k).to(rows.y.device))
            metric = self._of(k)
            if isinstance(metric, OfRows) and not arguments:
                metric._add_rows(some)  # they have been checked
            else:
                by_row = (
                    arguments
                    if rows.places is None
                    else [argument[rows.places] for argument in arguments]
                )
                by_row = [argument[place == k] for argument in by_row]
                metric.update(
                    some.dist,
                    some.y,
                    *([some.weight] if by_row or some.weight is not None else []),
                    *by_row,
                )
            for name in metric._defaults:
                stacked = getattr(self, f"group_{name}").clone()
                stacked[k] = getattr(metric, name)
                setattr(self, f"group_{name}", stacked)

    def _of(self, k: int) -> Any:
        """The metric with the states of a group."""
        for name in self.metric._defaults:
            setattr(self.metric, name, getattr(self, f"group_{name}")[k])
        return self.metric

    def _place(self, group: Any, shape: tuple[int, ...], places: Tensor | None) -> Tensor:
        """The group of each row that counts, as its index among the labels."""
        values = _objects(group, len(shape)) if self.edges is None else _numbers(group)
        if values.shape not in (shape, shape[:1]):
            raise ValueError(
                f"group must have one entry for each of {_rows(shape)}, got {_rows(values.shape)}."
            )
        if values.shape != shape:
            values = np.broadcast_to(values.reshape(values.shape + (1,) * (len(shape) - 1)), shape)
        if self.edges is not None:
            feature = torch.from_numpy(np.array(values))
            bad = feature.isnan() if places is None else feature.isnan() & places.cpu()
            if bool(bad.any()):
                raise ValueError(f"the feature must be a number, got {locate(bad, feature)}.")
            return torch.bucketize(
                feature if places is None else feature[places.cpu()], self.edges.cpu(), right=True
            )
        if places is not None:
            values = values[places.cpu().numpy()]
        for label in set(values.flat):
            if label not in self._places:
                pick("group", str(label), {str(label): None for label in self.labels})
                raise ValueError(
                    f"the group {label!r} is a {type(label).__name__}, the groups "
                    f"are {self.labels}."
                )
        indices = [self._places[label] for label in values.flat]
        return torch.tensor(indices, dtype=torch.long).reshape(values.shape)

    def compute(self) -> dict[Any, Any]:
        """The value of the metric in each group that has rows, by label."""
        # the class's own compute, since that of the object caches and warns without an update
        return {label: type(self.metric).compute(self._of(k)) for k, label in self._seen()}

    @over_processes
    def standard_error(self) -> dict[Any, Tensor]:
        """The standard error of each group's value, by label, where the metric has one."""
        return {label: self._of(k).standard_error() for k, label in self._seen()}

    def worst(self, target: float | None = None) -> Any:
        """The label of the group with the largest value.

        Args:
            target: the ideal value, such as a nominal coverage, from which the farthest value is
                the worst.

        Raises:
            ValueError: before any row.
        """
        values = {
            label: torch.as_tensor(value).double().mean() for label, value in self.compute().items()
        }
        if not values:
            raise ValueError("no group has any rows yet.")
        return max(
            values,
            key=lambda label: float(
                values[label] if target is None else (values[label] - target).abs()
            ),
        )

    def _seen(self) -> list[tuple[int, Any]]:
        return [(k, label) for k, label in enumerate(self.labels) if self.rows[k] > 0]

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draws one point for each group and returns (figure, ax).

        A bar shows two standard errors to each side where the metric has one.
        """
        import matplotlib.pyplot as plt

        ax = (
            plt.figure(figsize=(4, 0.8 + 0.35 * len(self.labels))).add_subplot()
            if ax is None
            else ax
        )
        values = self.compute() if val is None else val
        places = range(len(values))
        bars = None
        if val is None and hasattr(self.metric, "standard_error"):
            bars = [2 * float(error) for error in self.standard_error().values()]
        points = [float(value) for value in values.values()]
        ax.errorbar(points, places, xerr=bars, fmt="o", color="#0072B2", capsize=4)
        ax.set_yticks(places, [str(label) for label in values])
        ax.set_xlabel(type(self.metric).__name__)
        return ax.figure, ax


def _numbers(feature: Any) -> np.ndarray:
    return as_tensor(feature, "group").detach().cpu().double().numpy()


def _labels(labels: Any) -> list[Any]:
    return _objects(labels, 1).tolist()


def _objects(labels: Any, dims: int) -> np.ndarray:
    """Labels as Python's own texts and numbers, in an array of `dims` dimensions or their own."""
    if isinstance(labels, Tensor):
        labels = labels.cpu().numpy()
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if isinstance(labels, np.ndarray) or (
        dims > 1 and values and isinstance(values[0], (list, tuple))
    ):
        return np.array(values, dtype=object)
    return np.fromiter(values, dtype=object, count=len(values))


def _rows(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} rows" if len(shape) == 1 else f"rows of shape {shape}"
