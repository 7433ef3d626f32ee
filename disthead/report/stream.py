"""All outputs of a stream of batches, with statistics of every row and a sample of the rows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from disthead.diagnostics.rows import Reservoir
from disthead.distributions.base import Distribution
from disthead.distributions.censored import is_pair
from disthead.progress import Progress
from disthead.report.findings import CENSORED, Findings
from disthead.report.inputs import Batch, aligned, feature_columns, row_labels, times
from disthead.report.output import Output
from disthead.report.rows import Rows
from disthead.texts import distinct

__all__ = ["Stream"]

_CHUNK_ROWS = 4096


class Stream:
    """An evaluation that is updated with one batch after another.

    Args:
        level: the probability of the intervals that verdicts are about.
        names: of several outputs.
        classes: names of the classes.
        unit: of the targets.
        ignore_index: a class index whose rows are left out.
        rows: the size of the sample.
        seed: of the sample and of all simulations.
        progress: which is advanced with the rows.
    """

    def __init__(
        self,
        level: float,
        names: tuple[str, ...],
        classes: tuple[Any, ...],
        unit: str,
        ignore_index: int | None,
        rows: int,
        seed: int,
        progress: Progress | None = None,
    ):
        self.level, self.classes, self.unit = level, classes, unit
        self.names = tuple(distinct(["", *names])[1:])  # "" is the whole vector
        self.ignore_index, self.seed = ignore_index, seed
        self.parts: list[Output] = []
        self.largest = 0.0  # weight of the first batch
        self.total_rows = 0  # also those of weight 0
        self.group_labels: dict[Any, int] = {}
        self.cluster_labels: dict[Any, int] = {}
        self.levels: dict[str, dict[Any, int]] = {}
        self.times: dict[str, Any] = {}
        self.feature_names: tuple[str, ...] = ()
        self.columns: frozenset[str] | None = None
        self.no_marginals = ""
        self.sample = Reservoir(rows, seed)
        self.progress = progress

    @property
    def seen(self) -> int:
        """The number of rows that count."""
        return self.sample.seen

    def update(self, batch: Batch) -> None:
        """Adds the rows of a batch.

        Raises:
            ValueError: for shapes that do not fit, and for columns that other batches lack.
            TargetError: for targets that the distribution cannot have produced.
        """
        rows = aligned(batch, self.classes, self.ignore_index)
        dist, y, weight, is_there = rows.dist, rows.y, rows.weight, rows.is_there
        if weight is not None and len(weight):
            # Relative to the largest of the first batch, so that squares neither underflow nor
            # overflow.
            self.largest = self.largest or float(weight.max())
            weight = weight.double() / self.largest
        total = len(is_there)
        columns = {"y": y, "number": (self.total_rows + torch.arange(total))[is_there]}
        self.total_rows += total
        if weight is not None:
            columns["weight"] = weight
        if batch.features is not None:
            columns["features"] = self._features(batch.features, total)[is_there]
        if batch.group is not None:
            labels = row_labels(batch.group, total, "group")
            columns["group"] = _codes(labels, self.group_labels)[is_there]
        cluster = None
        if batch.groups is not None:
            labels = row_labels(batch.groups, total, "groups")
            cluster = columns["cluster"] = _codes(labels, self.cluster_labels)[is_there]
        self._check_columns(frozenset(columns))
        if not len(y):
            return
        if not self.parts:
            if not self.classes and dist.class_labels is not None:
                self.classes = tuple(dist.class_labels)
            self._start(dist, rows.baseline is not None, is_pair(y.shape, dist.batch_shape))
        for start in range(0, len(y), _CHUNK_ROWS):  # so that memory does not grow with the batch
            some = slice(start, start + _CHUNK_ROWS)
            baseline = None if rows.baseline is None else rows.baseline[some]
            own = [
                None if column is None else column[some]
                for column in (weight, cluster, columns["number"])
            ]
            for part, own_dist, own_y, own_baseline in self._outputs(dist[some], y[some], baseline):
                part.update(own_dist, own_y, *own, own_baseline)
            if self.progress is not None:
                self.progress.advance(len(y[some]))
        self.sample.add(dist, **columns)

    def _check_columns(self, columns: frozenset[str]) -> None:
        if self.columns is not None and columns != self.columns:
            names = sorted(
                "groups" if name == "cluster" else name for name in columns ^ self.columns
            )
            raise ValueError(
                f"{', '.join(names)} must be given with every batch or with none, "
                "got them with some."
            )
        self.columns = columns

    def _start(self, dist: Distribution, has_baseline: bool, are_pairs: bool) -> None:
        unit = "rad" if dist.kind == "direction" and not self.unit else self.unit
        kind = CENSORED if dist.is_censored and are_pairs else dist.kind
        whole = Output("", kind, unit, self.level, has_baseline, _names(self.classes))
        self.parts.append(whole)
        if dist.kind != "vector":
            return
        size = dist.event_shape.numel()
        names = self.names if len(self.names) == size else tuple(f"output {k}" for k in range(size))
        whole.outputs = names
        try:
            marginals = [_marginal(dist, index) for index in range(size)]
        except NotImplementedError as error:
            whole.no_marginals = str(error)
            return
        for name, one in zip(names, marginals, strict=True):
            own_unit = "rad" if one.kind == "direction" and not self.unit else self.unit
            self.parts.append(
                Output(name, one.kind, own_unit, self.level, has_baseline, _names(self.classes))
            )

    def _outputs(
        self, dist: Distribution, y: Tensor, baseline: Distribution | None
    ) -> Iterator[tuple]:
        yield self.parts[0], dist, y, baseline
        for index, part in enumerate(self.parts[1:]):
            other = None if baseline is None else _marginal(baseline, index)
            yield part, _marginal(dist, index), y.reshape(len(y), -1)[:, index], other

    def _features(self, features: Any, rows: int) -> Tensor:
        """The features as columns (rows, F), texts as the index of their value."""
        columns = feature_columns(features, rows)
        self.times |= times(features)
        if self.feature_names and tuple(columns) != self.feature_names:
            raise ValueError(
                f"features must be the same in every batch, {', '.join(self.feature_names)}, got "
                f"{', '.join(columns)}."
            )
        is_first, self.feature_names = not self.feature_names, tuple(columns)
        encoded = []
        for name, values in columns.items():
            if isinstance(values, Tensor) and name not in self.levels:
                encoded.append(values)
                continue
            if not is_first and name not in self.levels:
                raise ValueError(
                    f"the feature {name!r} must be numbers or texts in all batches, got both."
                )
            labels = values.tolist() if isinstance(values, Tensor) else values
            encoded.append(_codes(labels, self.levels.setdefault(name, {})).double())
        return torch.stack(encoded, -1)

    def findings(self, baseline_name: str) -> list[Findings]:
        """The findings about each output, the whole vector first.

        Raises:
            ValueError: without rows, and for a single cluster.
        """
        if not self.seen:
            raise ValueError(
                "evaluate needs at least one row, got "
                f"{'none' if not self.total_rows else 'only rows of weight 0'}."
            )
        if self.cluster_labels and len(self.cluster_labels) < 2:
            raise ValueError(
                "groups must hold at least two different labels: one cluster does not show how "
                "clusters differ."
            )
        generator = torch.Generator().manual_seed(self.seed)
        columns = {name: self.sample.column(name) for name in self.columns or ()}
        rows = Rows(
            self.sample.dist(),
            columns["y"],
            columns.get("weight"),
            columns.get("cluster"),
            columns["number"],
            columns.get("group"),
            _names(self.group_labels),
            columns.get("features"),
            self.feature_names,
            {name: _names(labels) for name, labels in self.levels.items()},
            self.times,
            self.seed,
        )
        return [
            part.findings(rows.of(dist, y), baseline_name, generator)
            for part, dist, y, _ in self._outputs(rows.dist, rows.y, None)
        ]


def _names(labels: Iterable[Any]) -> tuple[str, ...]:
    """The labels as texts, which are made distinct, as for 1 and "1"."""
    return tuple(distinct(map(str, labels)))


def _codes(labels: Sequence[Any], known: dict[Any, int]) -> Tensor:
    return torch.tensor([known.setdefault(label, len(known)) for label in labels], dtype=torch.long)


def _marginal(dist: Distribution, index: int) -> Distribution:
    marginals = dist.marginals
    shape = marginals.batch_shape[1:]
    return marginals[
        (slice(None), *(int(k) for k in torch.unravel_index(torch.tensor(index), shape)))
    ]
