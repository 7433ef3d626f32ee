"""The sampled rows of one output, with the groups and ranges of features of its calibration."""

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

__all__ = ["CORP_ROWS", "LEAST_ROWS", "PICTURED", "Cells", "Rows"]

LEAST_ROWS = 30  # of a group; fewer are not examined
CORP_ROWS = 2000  # for which the resampling of quantile reliability takes a second or two
PICTURED = 5000  # the largest number of rows in a picture
BINS = 4  # the number of ranges of a feature


@dataclass(frozen=True)
class Cells:
    """Groups, or ranges of features, with their rows.

    Attributes:
        index: indices of their rows by label, for those with `LEAST_ROWS` or more.
        left_out: the number of those with fewer rows.
    """

    index: dict[str, Tensor]
    left_out: int

    @classmethod
    def of(cls, parts: Mapping[str, Tensor]) -> Self:
        """The cells with these rows, without those that have too few."""
        large = {label: rows for label, rows in parts.items() if len(rows) >= LEAST_ROWS}
        return cls(large, len(parts) - len(large))


@dataclass(frozen=True)
class Rows:
    """Rows of forecasts and targets, with their weights, clusters, groups and features.

    Attributes:
        dist: the forecasts, batch_shape (N,).
        y: targets, shape (N, *event_shape).
        weight: shape (N,), or None where all weights are equal.
        cluster: the index of each row's cluster, shape (N,), or None for independent rows.
        number: the number of each row in the stream, shape (N,).
        group: the index of each row's label in `labels`, shape (N,), or None without groups.
        labels: of the groups.
        features: columns, shape (N, F), or None; texts are the index of their value in `levels`.
        names: of the features.
        levels: the different texts of a feature, by its name.
        times: dtypes of the features that are dates or durations, by name; they are kept as
            numbers.
        seed: of the choice of rows for pictures.
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
        """The same rows with the forecasts and targets of one of several outputs."""
        return replace(self, dist=dist, y=y)

    def take(self, index: Tensor) -> "Rows":
        """The rows with these indices."""
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
        """At most `count` rows, drawn at random."""
        return self.take(torch.randperm(len(self.y), generator=generator)[:count])

    def pictured(self, index: Tensor | None = None, count: int = PICTURED) -> Tensor:
        """Indices of at most `count` rows for a picture, out of `index` or of all rows.

        They are drawn at random, by a generator of their own.
        """
        index = torch.arange(len(self.y)) if index is None else index
        if len(index) <= count:
            return index
        generator = torch.Generator().manual_seed(self.seed)
        return index[torch.randperm(len(index), generator=generator)[:count].sort().values]

    @cached_property
    def probs(self) -> Tensor:
        """Probabilities of the classes, shape (N, K); of binary targets, those of 0 and of 1."""
        return class_probs(self.dist, torch.float64)

    @property
    def w(self) -> Tensor:
        """Weights with the mean 1, shape (N,)."""
        if self.weight is None:
            return torch.ones(len(self.y), dtype=torch.float64)
        return self.weight.double() / self.weight.double().mean()

    def mean(self, values: Tensor, index: Tensor | None = None) -> float:
        """The weighted mean of values (N,), of the rows with these indices or of all."""
        w = self.w if index is None else self.w[index]
        values = values.double() if index is None else values.double()[index]
        return float((w * values).sum() / w.sum())

    def design_effect(self, values: Tensor) -> float:
        """The design effect of clusters on the means of values, 1 for independent rows.

        `values`, of shape (N,) or (N, K), have the expectation 0 if the forecast is true.
        """
        if self.cluster is None:
            return 1.0
        clusters = Clusters()
        clusters.add(values.reshape(len(values), -1), self.weight, self.cluster)
        return clusters.design_effect()

    def count(self, index: Tensor | None = None) -> float:
        """The effective number of the rows with these indices, or of all."""
        w = self.weight if self.weight is None or index is None else self.weight[index]
        return effective_rows(w, len(self.y) if index is None else len(index))

    def groups(self) -> Cells | None:
        """The groups with their rows, or None without groups."""
        if self.group is None:
            return None
        return Cells.of(
            {
                self.labels[k]: (self.group == k).nonzero().squeeze(-1)
                for k in self.group.unique().tolist()
            }
        )

    def ranges(self) -> dict[str, Cells] | None:
        """The ranges of values of each feature, by name, or None without features.

        These are four ranges of equal numbers of rows, or one for each text.
        """
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
        # Ranges with equal texts, as of 10000.1 and 10000.2, stay apart.
        labels = iter(distinct(label for ranges in parts.values() for label, _ in ranges))
        return {
            name: Cells.of({next(labels): rows for _, rows in ranges})
            for name, ranges in parts.items()
        }


def _writer(time: np.dtype | None) -> Callable[[float], str] | None:
    """The function that writes values of a feature, for dates by their day."""
    if time is None:
        return None
    day = "datetime64[D]" if time.kind == "M" else "timedelta64[D]"
    return lambda value: str(np.int64(value).astype(time).astype(day))
