"""`Vector`: what distributions of several dependent numbers have in common."""

import torch
from torch import Tensor

from disthead.arrays import as_integer
from disthead.distributions.base import Distribution
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.scores import energy_score
from disthead.distributions.univariate import Univariate

__all__ = ["Vector", "dimension"]


class Vector(Distribution):
    """A distribution of several dependent numbers, with event_shape (D,).

    Subclasses define `log_prob`, the moments and `marginals`. Methods that need an order, such as
    `cdf`, raise NotImplementedError.
    """

    kind = "vector"
    _in_double = Univariate._in_double  # which `in_double` calls

    @property
    def marginals(self) -> Distribution:
        """The marginal distribution of each coordinate, with batch_shape batch + event."""
        raise self._unanswered("marginals", "its coordinates have no distribution of a known kind.")

    def interval(self, level: float) -> Interval | Arc:
        """The central interval of each coordinate, a pair of tensors of shape batch + event.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        return self.marginals.interval(level)

    def highest_density(self, level: float) -> Interval | Arc:
        """The shortest interval of each coordinate (not the joint region of highest density).

        Raises:
            ValueError: unless 0 < level < 1.
        """
        return self.marginals.highest_density(level)

    def energy_score(
        self, y: Tensor, samples: int = 512, generator: torch.Generator | None = None
    ) -> Tensor:
        """The energy score in the units of y, estimated by samples; see `scores.energy_score`."""
        return energy_score(self, y, samples, generator)

    def cdf(self, y: Tensor) -> Tensor:
        raise self._no_order("cdf")

    def log_cdf(self, y: Tensor) -> Tensor:
        raise self._no_order("log_cdf")

    def log_survival(self, y: Tensor) -> Tensor:
        raise self._no_order("log_survival")

    def icdf(self, q: Tensor) -> Tensor:
        raise self._no_order("icdf")

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raise self._no_order("pit")

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise self._no_order("cdf_limits")

    def crps(self, y: Tensor) -> Tensor:
        raise self._unanswered(
            "crps",
            "it scores one number; energy_score(y) scores vectors, marginals.crps(y) each "
            "coordinate.",
        )

    def _no_order(self, question: str) -> NotImplementedError:
        return self._unanswered(
            question,
            f"vectors have no order; marginals.{question}(...) answers for each coordinate.",
        )


def dimension(event_shape: tuple[int, ...], family: str, example: str) -> int:
    """The dimension D of targets of shape (D,).

    Args:
        event_shape: the shape of one target.
        family: the name of the family, for errors.
        example: what `event_shape` should be, for errors.

    Raises:
        ValueError: for a shape with other than one dimension.
    """
    if len(event_shape) != 1:
        got = f"got event_shape={tuple(event_shape)}" if event_shape else "none was given"
        raise ValueError(f"{family} needs event_shape={example}; {got}.")
    return as_integer(event_shape[0], "event_shape[0]")
