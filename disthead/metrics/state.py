"""What the states of all metrics need: to be kept apart in a collection, and to be read over all processes."""

import functools
import math
from collections.abc import Callable

import torch
from torchmetrics import Metric

__all__ = ["keep_apart", "over_processes"]


def keep_apart(metric: Metric) -> None:
    """Give the metric a state that equals no other.

    A `MetricCollection` takes metrics whose states are equal after a first batch for one and the same, and updates only one
    of them from then on. A first batch without rows, or one in which every guess is right, would merge any two scores.
    """
    metric.add_state("apart", torch.tensor(math.nan), dist_reduce_fx="sum")


def over_processes(method: Callable) -> Callable:
    """A method that reads the states as `compute` does: those of all processes together."""

    @functools.wraps(method)
    def answer(self, *arguments, **options):
        together = self._to_sync and not self._is_synced
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, process_group=self.process_group, should_sync=together):
            return method(self, *arguments, **options)

    return answer
