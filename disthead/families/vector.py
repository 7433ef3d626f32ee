"""`Vector`: answers that distributions of several numbers share, and the energy score of any of them."""

import torch
from torch import Tensor

from disthead.arrays import as_integer
from disthead.families.distribution import Distribution
from disthead.families.interval import Arc, Interval

__all__ = ["Vector", "dimension", "draw", "energy_score"]

PAIRS = 8  # how many other samples each one is compared with: enough that the spread costs less error than the distance to y


class Vector(Distribution):
    """A distribution of several dependent numbers: subclasses give `log_prob`, the moments and `marginals`."""

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

    def energy_score(self, y: Tensor, samples: int = 512, generator: torch.Generator | None = None) -> Tensor:
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
            "crps", "it scores one number; energy_score(y) scores vectors, marginals.crps(y) each coordinate."
        )

    def _no_order(self, question: str) -> NotImplementedError:
        return self._unanswered(
            question, f"vectors have no order; marginals.{question}(...) answers for each coordinate."
        )


def energy_score(dist: Distribution, y: Tensor, samples: int = 512, generator: torch.Generator | None = None) -> Tensor:
    """The energy score E||Y - y|| - E||Y - Y'|| / 2 of a distribution of vectors, estimated without bias by samples.

    Lower is better. In one dimension it is the crps, and computed exactly. Source: Gneiting and Raftery 2007.

    Args:
        dist: batch_shape (...,) and any event_shape; the norm is over the whole event.
        y: targets, batch + event.
        samples: how many; the error falls with their square root.
        generator: makes the answer deterministic; without one the global random state is used.
    """
    dims = tuple(range(-len(dist.event_shape), 0))
    if dist.event_shape.numel() == 1:
        return dist.marginals.crps(y).sum(dims)
    x = draw(dist, samples, generator)
    if not x.is_floating_point():
        raise dist._unanswered("energy_score", "class indices are names, which have no distance; brier(y) scores them.")
    distance = torch.linalg.vector_norm(x - y, dim=dims).mean(0)
    lags = range(1, min(PAIRS, samples - 1) + 1)
    spread = sum(torch.linalg.vector_norm(x - x.roll(lag, 0), dim=dims).mean(0) for lag in lags) / len(lags)
    return distance - 0.5 * spread


def dimension(event_shape: tuple[int, ...], family: str, example: str) -> int:
    """How many numbers a target of that shape has, which is to be one row of them."""
    if len(event_shape) != 1:
        got = f"got event_shape={tuple(event_shape)}" if event_shape else "none was given"
        raise ValueError(f"{family} needs event_shape={example}; {got}.")
    return as_integer(event_shape[0], "event_shape[0]")


def draw(dist: Distribution, count: int, generator: torch.Generator | None = None) -> Tensor:
    """`count` samples, (count, ...), with gradients where the distribution has them, reproducible with a generator."""
    sample = dist.rsample if dist.has_rsample else dist.sample
    if generator is not None and generator.device.type != dist.device.type:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        generator = torch.Generator(dist.device).manual_seed(seed)
    return sample((count,), generator)
