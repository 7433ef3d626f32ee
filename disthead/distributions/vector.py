"""`Vector`: answers that distributions of several numbers share."""

import torch
from torch import Tensor

from disthead.arrays import as_integer
from disthead.distributions.base import Distribution
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.scores import energy_score

__all__ = ["Vector", "dimension"]


class Vector(Distribution):
    """A distribution of several dependent numbers: subclasses give `log_prob`, the moments and `marginals`."""

    kind = "vector"

    @property
    def marginals(self) -> Distribution:
        """The distribution of each coordinate by itself, with batch_shape batch + event."""
        raise self._unanswered("marginals", "its coordinates have no distribution of a known kind.")

    def interval(self, level: float) -> Interval | Arc:
        """The central interval of each coordinate by itself, (lower, upper) of shape batch + event."""
        return self.marginals.interval(level)

    def highest_density(self, level: float) -> Interval | Arc:
        """The shortest interval of each coordinate by itself; the region of highest density is no box."""
        return self.marginals.highest_density(level)

    def energy_score(
        self, y: Tensor, samples: int = 512, generator: torch.Generator | None = None
    ) -> Tensor:
        """E||Y - y|| - E||Y - Y'|| / 2, in the units of y, by samples; see `energy_score`."""
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
    """How many numbers a target of that shape has, which is to be one row of them."""
    if len(event_shape) != 1:
        got = f"got event_shape={tuple(event_shape)}" if event_shape else "none was given"
        raise ValueError(f"{family} needs event_shape={example}; {got}.")
    return as_integer(event_shape[0], "event_shape[0]")
