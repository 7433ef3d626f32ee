"""What all metrics need: rows that were checked, and states that are kept apart in a collection and read over all processes."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torchmetrics import Metric

from disthead.distributions.base import Distribution
from disthead.metrics.checks import Rows, rows_that_count

__all__ = ["OfRows", "keep_apart", "over_processes"]


class OfRows(Metric):
    """A metric of forecasts and their targets, row by row."""

    takes_soft_labels = False
    ignore_index: int | None = None

    def update(self, dist: Distribution, y: Any, weight: Any = None) -> None:
        """Add rows: a distribution of batch_shape (N,), targets y (N, *event_shape), weights (N,).

        Targets and weights are tensors, arrays, columns of a table or lists. A row with the weight
        0 is not there: neither its target nor its forecast is looked at. All weights of a batch may
        be zero, which is then a batch without rows.

        Raises:
            TargetError: for targets that the distribution cannot have produced, naming rows and
                values.
            ValueError: for other shapes, and weights that are negative, NaN or infinite.
            NotImplementedError: for a distribution that the metric cannot score, with the reason.
        """
        self._add_rows(self.rows_that_count(dist, y, weight))

    def rows_that_count(
        self, dist: Distribution, y: Any, weight: Any = None, others: Sequence[Distribution] = ()
    ) -> Rows:
        """The rows of an update that are there, checked; `others` are further forecasts of the same targets."""
        return rows_that_count(
            dist,
            y,
            weight,
            others=others,
            soft_labels=self.takes_soft_labels,
            ignore_index=self.ignore_index,
        )

    def _add_rows(self, rows: Rows) -> None:
        """Add rows that have been checked, all of them with a weight above zero."""
        raise NotImplementedError(f"{type(self).__name__} must say what it does with rows.")


def keep_apart(metric: Metric) -> None:
    """Give the metric a state that equals no other.

    A `MetricCollection` takes metrics whose states are equal after a first batch for one and the
    same, and updates only one of them from then on. A first batch without rows, or one in which
    every guess is right, would merge any two scores.
    """
    metric.add_state("apart", torch.tensor(math.nan), dist_reduce_fx="sum")


def over_processes(method: Callable) -> Callable:
    """A method that reads the states as `compute` does: those of all processes together."""

    @functools.wraps(method)
    def answer(self, *arguments, **options):
        together = self._to_sync and not self._is_synced
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, process_group=self.process_group, should_sync=together
        ):
            return method(self, *arguments, **options)

    return answer
