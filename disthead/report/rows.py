"""The sampled rows of one output, and the groups and ranges of features in which calibration is examined."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from disthead.diagnostics.worm import feature_bins
from disthead.distributions.base import Distribution
from disthead.distributions.independent import class_probs
from disthead.report.chance import Clusters, effective_rows
from disthead.texts import distinct

__all__ = ["CORP_ROWS", "LEAST", "PICTURED", "Cells", "Rows"]

LEAST = 30  # fewer rows say nothing about a group
CORP_ROWS = 2000  # the resampling of quantile reliability takes a second or two for so many
PICTURED = 5000  # more rows than that nobody sees in a picture
BINS = 4  # of a feature


@dataclass(frozen=True)
class Cells:
    """Groups, or ranges of features: label -> indices of their rows.

    Attributes:
        index: of those that have enough rows to say something.
        left_out: how many have not.
    """

    index: dict[str, Tensor]
    left_out: int

    @classmethod
    def of(cls, parts: Mapping[str, Tensor]) -> Self:
        large = {label: rows for label, rows in parts.items() if len(rows) >= LEAST}
        return cls(large, len(parts) - len(large))


@dataclass(frozen=True)
class Rows:
    """Rows with everything that is known of them.

    Attributes:
        dist, y: batch_shape (N,).
        weight: (N,), None where all count the same.
        cluster: index of the cluster of each row, (N,), None where rows are independent.
        number: of each row among those that were given, (N,).
        group: index of the label in `labels`, (N,), None where no group was given.
        labels: of the groups.
        features: columns (N, F), None where none were given; texts as the index of their value in
            `levels`.
        names: of the features.
        levels: name -> the different texts of a feature.
        times: name -> dtype of the features that are dates or durations, kept as numbers.
        seed: of the rows that pictures are made of.
    """

    dist: Distribution
    y: Tensor
    weight: Tensor | None
    cluster: Tensor | None
    number: Tensor
    group: Tensor | None = None
    labels: tuple[str, ...] = ()
    features: Tensor | None = None
    names: tuple[str, ...] = ()
    levels: Mapping[str, tuple[str, ...]] | None = None
    times: Mapping[str, np.dtype] | None = None
    seed: int = 0

    def of(self, dist: Distribution, y: Tensor) -> "Rows":
        """The same rows of one of several outputs."""
        return replace(self, dist=dist, y=y)

    def take(self, index: Tensor) -> "Rows":
        columns = (self.weight, self.cluster, self.group, self.features)
        weight, cluster, group, features = (
            None if column is None else column[index] for column in columns
        )
        return replace(
            self,
            dist=self.dist[index],
            y=self.y[index],
            number=self.number[index],
            weight=weight,
            cluster=cluster,
            group=group,
            features=features,
        )

    def some(self, count: int, generator: torch.Generator) -> "Rows":
        """At most so many of the rows, by chance."""
        return self.take(torch.randperm(len(self.y), generator=generator)[:count])

    def pictured(self, index: Tensor | None = None, count: int = PICTURED) -> Tensor:
        """Which rows a picture is made of: at most so many of those given, by chance that nothing else depends on."""
        index = torch.arange(len(self.y)) if index is None else index
        if len(index) <= count:
            return index
        generator = torch.Generator().manual_seed(self.seed)
        return index[torch.randperm(len(index), generator=generator)[:count].sort().values]

    @cached_property
    def probs(self) -> Tensor:
        """Probabilities of the classes, (N, K); of two outcomes, those of 0 and of 1."""
        return class_probs(self.dist, torch.float64)

    @property
    def w(self) -> Tensor:
        """Weights with the mean 1."""
        if self.weight is None:
            return torch.ones(len(self.y), dtype=torch.float64)
        return self.weight.double() / self.weight.double().mean()

    def mean(self, values: Tensor, index: Tensor | None = None) -> float:
        w = self.w if index is None else self.w[index]
        values = values.double() if index is None else values.double()[index]
        return float((w * values).sum() / w.sum())

    def design_effect(self, values: Tensor) -> float:
        """Of clusters, on the means of values (N,) or (N, K) that have the expectation 0 if the forecast is true."""
        if self.cluster is None:
            return 1.0
        clusters = Clusters()
        clusters.add(values.reshape(len(values), -1), self.weight, self.cluster)
        return clusters.design_effect()

    def count(self, index: Tensor | None = None) -> float:
        """How many rows of equal weight are worth as much."""
        w = self.weight if self.weight is None or index is None else self.weight[index]
        return effective_rows(w, len(self.y) if index is None else len(index))

    def groups(self) -> Cells | None:
        if self.group is None:
            return None
        return Cells.of(
            {
                self.labels[k]: (self.group == k).nonzero().squeeze(-1)
                for k in self.group.unique().tolist()
            }
        )

    def ranges(self) -> dict[str, Cells] | None:
        """For each feature, the ranges of its values: four with as many rows each, or one for each text."""
        if self.features is None:
            return None
        parts: dict[str, list[tuple[str, Tensor]]] = {}
        for column, name in enumerate(self.names):
            values = self.features[:, column]
            texts = (self.levels or {}).get(name)
            if texts is None:
                parts[name] = feature_bins(
                    values, BINS, name, _writer((self.times or {}).get(name))
                )
            else:
                codes = values.unique().tolist()
                parts[name] = [
                    (f"{name} {texts[int(k)]}", (values == k).nonzero().squeeze(-1)) for k in codes
                ]
        # Ranges that are written alike, as are 10000.1 and 10000.2, stay apart.
        labels = iter(distinct(label for ranges in parts.values() for label, _ in ranges))
        return {
            name: Cells.of({next(labels): rows for _, rows in ranges})
            for name, ranges in parts.items()
        }


def _writer(time: np.dtype | None) -> Callable[[float], str] | None:
    """How a value of a feature is written: dates by their day."""
    if time is None:
        return None
    day = "datetime64[D]" if time.kind == "M" else "timedelta64[D]"
    return lambda value: str(np.int64(value).astype(time).astype(day))
