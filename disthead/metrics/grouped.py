"""`Grouped`: a metric within groups of rows, which shows whether calibration holds in each of them."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from disthead.errors import pick
from disthead.families.distribution import Distribution
from disthead.metrics.checks import check_rows
from disthead.metrics.state import keep_apart, over_processes

__all__ = ["Grouped"]


class Grouped(Metric):
    """A metric for each group of rows: by a column of labels, or by bins of a feature.

    `compute()` gives a dictionary label -> value; groups without rows are left out.

    Args:
        metric: any metric whose `update` takes (dist, y) and whose states are tensors of fixed size.
        groups: the labels that rows can have.
        bins: in place of groups, inner edges of the bins of a feature, rising: [0, 10] makes "< 0", "0 to 10" and ">= 10".

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
            raise ValueError("Grouped needs either groups, the labels, or bins, the edges of a feature's bins.")
        if bins is not None:
            self.edges: Tensor | None = torch.as_tensor(bins, dtype=torch.float64)
            if self.edges.ndim != 1 or not len(self.edges) or bool((self.edges.diff() <= 0).any()):
                raise ValueError(f"bins must be rising edges, such as [0.0, 10.0], got {list(bins)}.")
            numbers = [f"{edge:g}" for edge in self.edges.tolist()]
            inner = [f"{low} to {high}" for low, high in itertools.pairwise(numbers)]
            self.labels: list[Any] = [f"< {numbers[0]}", *inner, f">= {numbers[-1]}"]
        else:
            self.edges = None
            self.labels = list(groups or ())
            if len(set(self.labels)) != len(self.labels):
                raise ValueError(f"groups must be different labels, got {self.labels}.")
        self._places = {label: place for place, label in enumerate(self.labels)}
        # The metric keeps nothing: its states, one for each group, are stacked here, where processes add them up.
        self.metric = metric.clone()
        self.metric._to_sync = False
        for name, default in metric._defaults.items():
            if not isinstance(default, Tensor):
                raise ValueError(
                    f"{type(metric).__name__} keeps all rows; Grouped takes metrics with states of fixed size."
                )
            stacked = torch.stack([default] * len(self.labels))
            self.add_state(f"group_{name}", stacked, dist_reduce_fx=metric._reductions[name])
        self.add_state("rows", torch.zeros(len(self.labels), dtype=torch.float64), dist_reduce_fx="sum")
        keep_apart(self)

    def update(self, dist: Distribution, y: Tensor, group: "Sequence[Any] | Tensor", *arguments: Any) -> None:
        """Add rows; `group` holds a label for each, or the feature's value. Further arguments, as weights, go by row, too."""
        place = self._place(group)
        if len(place) != dist.batch_shape[0]:
            raise ValueError(f"group must have one entry for each of {dist.batch_shape[0]} rows, got {len(place)}.")
        check_rows(dist, y, soft_labels=True)
        self.rows = self.rows + place.bincount(minlength=len(self.labels)).to(self.rows)
        for k in place.unique().tolist():
            rows = (place == k).nonzero().squeeze(-1).to(y.device)
            metric = self._of(k)
            metric.update(dist[rows], y[rows], *(argument[rows] for argument in arguments))
            for name in metric._defaults:
                stacked = getattr(self, f"group_{name}").clone()
                stacked[k] = getattr(metric, name)
                setattr(self, f"group_{name}", stacked)

    def _of(self, k: int) -> Any:
        """The metric with the states of a group."""
        for name in self.metric._defaults:
            setattr(self.metric, name, getattr(self, f"group_{name}")[k])
        return self.metric

    def _place(self, group: "Sequence[Any] | Tensor") -> Tensor:
        if self.edges is not None:
            values = torch.as_tensor(group, dtype=torch.float64).cpu()
            if values.isnan().any():
                raise ValueError(f"the feature must not be NaN, got {int(values.isnan().sum())} such rows.")
            return torch.bucketize(values, self.edges, right=True)
        labels = group.tolist() if isinstance(group, Tensor) else list(group)
        for label in set(labels):
            if label not in self._places:
                pick("group", str(label), {str(known): None for known in self.labels})
                raise ValueError(f"the group {label!r} is a {type(label).__name__}, the groups are {self.labels}.")
        return torch.tensor([self._places[label] for label in labels], dtype=torch.long)

    def compute(self) -> dict[Any, Any]:
        # The class's own compute: that of the object caches, and asks for an update first.
        return {label: type(self.metric).compute(self._of(k)) for k, label in self._seen()}

    @over_processes
    def standard_error(self) -> dict[Any, Tensor]:
        """Of each group's value, where the metric has one."""
        return {label: self._of(k).standard_error() for k, label in self._seen()}

    def worst(self, target: float | None = None) -> Any:
        """The label of the group with the largest value, or of the one farthest from `target`, such as a nominal coverage."""
        values = {label: torch.as_tensor(value).double().mean() for label, value in self.compute().items()}
        if not values:
            raise ValueError("no group has any rows yet.")
        return max(values, key=lambda label: float(values[label] if target is None else (values[label] - target).abs()))

    def _seen(self) -> list[tuple[int, Any]]:
        return [(k, label) for k, label in enumerate(self.labels) if self.rows[k] > 0]

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """One point for each group, with a bar of two standard errors to each side where there is one; returns (figure, ax)."""
        import matplotlib.pyplot as plt

        ax = plt.figure(figsize=(4, 0.8 + 0.35 * len(self.labels))).add_subplot() if ax is None else ax
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
