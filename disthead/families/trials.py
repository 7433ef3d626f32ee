"""`TrialsFamily`: families of successes among trials, whose number each row may bring with it."""

import copy
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.arrays import as_integer, as_tensor
from disthead.distributions.base import Distribution, Kind
from disthead.distributions.vector import dimension
from disthead.errors import TargetError, locate, warn
from disthead.families.family import Family
from disthead.links import Link

__all__ = ["TrialsFamily", "VectorTrialsFamily"]


class TrialsFamily(Family):
    """A family whose targets are counts of successes, and whose `total_count` is known.

    Args:
        total_count: the trials of every row; None where each row has its own, which the head takes
            as `head(features, total_count=n)`.
    """

    kind: Kind = "count"
    support: constraints.Constraint = constraints.nonnegative_integer
    row_constants = {"total_count": constraints.nonnegative_integer}

    def __init__(self, total_count: int | None = None):
        self.total_count = (
            None if total_count is None else as_integer(total_count, "total_count", least=0)
        )
        if self.total_count is not None:
            self.support = constraints.integer_interval(0, self.total_count)

    def with_trials(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters with the trials of every row, unless they hold those of each row.

        Raises:
            ValueError: where nobody has said how many trials there are.
        """
        if "total_count" in parameters:
            return parameters
        if self.total_count is None:
            raise ValueError(
                f"{self.name} needs the number of trials: total_count for each row, as in "
                "head(features, total_count=n) or known={'total_count': 'trials'} for a table, or "
                f"one for all rows, as in DistributionHead({self.name!r}, ..., total_count=10)."
            )
        return parameters | {"total_count": self.total_count}

    def from_raw(self, raw: Tensor, links: Mapping[str, Link] | None = None) -> Distribution:
        """As in `Family`; of one trial where each row brings its own, which only a head takes."""
        if self.total_count is not None:
            return super().from_raw(raw, links)
        return self._of_one_trial.from_raw(raw, links)

    @functools.cached_property
    def _of_one_trial(self) -> "TrialsFamily":
        family = copy.copy(self)
        family.total_count = 1
        return family

    def check_target(self, y: Any, column: str = "the target") -> None:
        if self.total_count is not None:
            self._check_trials(as_tensor(y, column), torch.tensor(self.total_count), column)
        super().check_target(y, column)

    def check_beside(
        self, y: Tensor, constants: Mapping[str, Tensor], column: str = "the target"
    ) -> None:
        if "total_count" in constants:
            self._check_trials(y, constants["total_count"], column)

    def _check_trials(self, y: Tensor, total_count: Tensor, target: str) -> None:
        """Refuse counts above the trials of their row.

        Raises:
            TargetError: with rows and values.
        """
        trials = total_count.reshape(total_count.shape + (1,) * (y.ndim - total_count.ndim))
        above = y > trials
        if above.any():
            trials = trials.expand(y.shape)
            raise TargetError(
                f"{target} must be at most total_count, the trials of its row, got "
                f"{locate(above, y)}, where total_count is {_first(trials[above])}. Correct these "
                "rows. If the counts have no such limit, take poisson or negative_binomial."
            )

    def with_default_constants(
        self, constants: Mapping[str, Tensor], y: Tensor
    ) -> Mapping[str, Tensor]:
        if "total_count" in constants or self.total_count is not None:
            return constants
        warn(
            f"{self.name} was started without total_count: each row is taken to have had as many "
            "trials as the largest target. Give the trials, initialize(y, total_count=n)."
        )
        return {**constants, "total_count": self._trials_from(y)}

    def typical_trials(self, y: Tensor) -> Tensor:
        """The trials, shape (...): those of all rows, or as many as the largest target."""
        largest = y.double().amax(0)
        if self.total_count is not None:
            largest = torch.full_like(largest, self.total_count)
        return largest.clamp(min=1)

    def typical_constants(self, y: Tensor) -> dict[str, Tensor]:
        return {} if self.total_count is not None else {"total_count": self.typical_trials(y)}

    def typical_share(self, y: Tensor) -> Tensor:
        """The share of successes in these trials, shape (...).

        None or all of them count as half a success or half a failure.
        """
        trials = self.typical_trials(y)
        half = 0.5 / (len(y) * trials)
        return torch.minimum(torch.maximum(y.double().mean(0) / trials, half), 1 - half)

    def _trials_from(self, y: Tensor) -> Tensor:
        """The trials (N,) of rows that did not bring theirs."""
        return y.max().clamp(min=1).to(torch.float64).expand(len(y))


class VectorTrialsFamily(TrialsFamily):
    """A family whose targets are vectors of K counts, which add up to `total_count`.

    Args:
        event_shape: (K,), the number of classes.
        total_count: the trials of every row; None where each row has its own.
    """

    kind: Kind = "vector"
    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(self, event_shape: tuple[int, ...] = (), total_count: int | None = None):
        super().__init__(total_count)
        self.support = type(self).support
        size = dimension(event_shape, self.name, "(K,), the number of classes, such as (3,)")
        self.event_shape = (size,)

    def _check_trials(self, y: Tensor, total_count: Tensor, target: str) -> None:
        """Refuse counts that do not add up to the trials of their row.

        Raises:
            TargetError: with rows and values.
        """
        total = y.sum(-1)
        trials = total_count.expand(total.shape)
        wrong = total != trials
        if wrong.any():
            raise TargetError(
                f"{target} must add up to total_count, the trials of its row, got "
                f"{locate(wrong, y)}, where total_count is {_first(trials[wrong])}. Correct these "
                "rows, or give their sum, total_count=y.sum(-1)."
            )

    def with_default_constants(
        self, constants: Mapping[str, Tensor], y: Tensor
    ) -> Mapping[str, Tensor]:
        if "total_count" in constants or self.total_count is not None:
            return constants
        return {**constants, "total_count": y.sum(-1)}

    def typical_shares(self, y: Tensor) -> Tensor:
        """The shares of the classes in all trials, shape (K,); half a trial more for each class."""
        total = y.double().sum(0) + 0.5
        return total / total.sum(-1, keepdim=True)


def _first(values: Tensor) -> str:
    return ", ".join(f"{value:g}" for value in values[:3].tolist()) + (
        ", ..." if len(values) > 3 else ""
    )
