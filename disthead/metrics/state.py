"""The base of metrics of rows, and helpers for states in collections and over processes."""

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
    """A metric of forecasts and their targets, the base of those that take rows."""

    takes_soft_labels = False
    takes_censored = False
    ignore_index: int | None = None

    def update(self, dist: Distribution, y: Any, weight: Any = None) -> None:
        """Adds rows of forecasts and their targets.

        Args:
            dist: a distribution of batch_shape (N,).
            y: targets, of shape (N, *event_shape): a tensor, an array, a column of a table or a
                list. Metrics that have `takes_censored` take pairs (N, *event_shape, 2), too.
            weight: of shape (N,). Rows of weight 0 are left out: neither their targets nor their
                forecasts matter. All weights of a batch may be zero.

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
        """The rows of an update that count, checked.

        `others` are further forecasts of the same targets. Raises as `update`.
        """
        return rows_that_count(
            dist,
            y,
            weight,
            others=others,
            soft_labels=self.takes_soft_labels,
            ignore_index=self.ignore_index,
            needs_numbers="" if self.takes_censored else type(self).__name__,
        )

    def _add_rows(self, rows: Rows) -> None:
        """Adds rows that have been checked, all of them with a weight above zero."""
        raise NotImplementedError(f"{type(self).__name__} must say what it does with rows.")


def keep_apart(metric: Metric) -> None:
    """Gives the metric a state that equals no other.

    A `MetricCollection` merges metrics whose states are equal after a first batch, and updates only
    one of them from then on. A first batch without rows, or one in which all predictions are right,
    would merge any two scores.
    """
    metric.add_state("apart", torch.tensor(math.nan), dist_reduce_fx="sum")


def over_processes(method: Callable) -> Callable:
    """The method, with the states of all processes together, as `compute` sees them."""

    @functools.wraps(method)
    def answer(self, *arguments, **options):
        should_sync = self._to_sync and not self._is_synced
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            process_group=self.process_group,
            should_sync=should_sync,
        ):
            return method(self, *arguments, **options)

    return answer
