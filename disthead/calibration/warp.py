"""Increasing maps of the probit scale, by which a cdf F becomes Phi(h(Phi^-1(F))): one method of all recalibration."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Size, Tensor

from disthead.special import ndtri_exp

__all__ = ["KNOTS", "Bend", "Ranks", "Steps", "Stretch", "Warp", "at_index", "count_at_most", "probit"]

KNOTS = (-3.0, -2.25, -1.5, -0.75, 0.0, 0.75, 1.5, 2.25, 3.0)  # of Bend; beyond 3 there is hardly data to learn from


@dataclass(frozen=True)
class Warp(ABC):
    """An increasing map h of the line. Its tensors have the batch in front, and behind it as many dimensions as `dims` says."""

    dims: ClassVar[dict[str, int]] = {}

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """h(z)."""

    @abstractmethod
    def inverse(self, x: Tensor) -> Tensor:
        """The z with h(z) = x."""

    @abstractmethod
    def log_slope(self, z: Tensor) -> Tensor:
        """log h'(z)."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{part.name: function(getattr(self, part.name)) for part in fields(self)})

    def expand(self, batch_shape: Size) -> Self:
        """With tensors expanded to the batch: views, which take no memory."""
        expanded = {}
        for part in fields(self):
            value = getattr(self, part.name)
            expanded[part.name] = value.expand(batch_shape + value.shape[value.ndim - self.dims.get(part.name, 0) :])
        return replace(self, **expanded)


@dataclass(frozen=True)
class Stretch(Warp):
    """h(z) = (z - centre) / scale + scale * centre: a normal distribution with `scale` times its spread where centre is 0.

    The median stays where centre is 0. With centre = Phi^-1(F(mean)) the mean stays: exactly for a log-normal
    distribution, and for a gamma distribution as far as its cube root is normal (Wilson and Hilferty 1931).
    """

    scale: Tensor
    centre: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        return (z - self.centre) / self.scale + self.scale * self.centre

    def inverse(self, x: Tensor) -> Tensor:
        return (x - self.scale * self.centre) * self.scale + self.centre

    def log_slope(self, z: Tensor) -> Tensor:
        return -self.scale.log() + torch.zeros_like(z)


@dataclass(frozen=True)
class Bend(Warp):
    """The h whose log-slope is linear between `KNOTS` and zero from the outermost ones on, with h(0) = offset.

    Its density is continuous and positive, its inverse has a closed form, and the tails stay those of the model: they
    are shifted, and no moment that was finite becomes infinite.

    Attributes:
        offset: h(0), shape (...,).
        log_slopes: at the inner knots, shape (..., len(KNOTS) - 2).
    """

    dims = {"log_slopes": 1}
    offset: Tensor
    log_slopes: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        starts = self._heights()
        x = starts[0] + _beyond(z, None, KNOTS[0]) + _beyond(z, KNOTS[-1], None)
        for first, width, low, high in self._pieces():
            part = _beyond(z, first, first + width)
            x = x + low.exp() * part * _expm1_ratio((high - low) * part / width)
        return x

    def inverse(self, x: Tensor) -> Tensor:
        starts = self._heights()
        z = KNOTS[0] + _beyond(x, None, starts[0]) + _beyond(x, starts[-1], None)
        for (_, width, low, high), begin, end in zip(self._pieces(), starts[:-1], starts[1:], strict=True):
            part = _beyond(x, begin, end) * torch.exp(-low)
            z = z + part * _log1p_ratio((high - low) * part / width)
        return z

    def log_slope(self, z: Tensor) -> Tensor:
        value = torch.zeros_like(z)
        for first, width, low, high in self._pieces():
            value = value + (high - low) * _beyond(z, first, first + width) / width
        return value

    def _pieces(self) -> Iterator[tuple[float, float, Tensor, Tensor]]:
        """Between neighbouring knots: the left one, the distance, and the log-slopes at both."""
        end = torch.zeros_like(self.offset)
        slopes = [end, *self.log_slopes.unbind(-1), end]
        for first, last, low, high in zip(KNOTS[:-1], KNOTS[1:], slopes[:-1], slopes[1:], strict=True):
            yield first, last - first, low, high

    def _heights(self) -> list[Tensor]:
        """h at the knots."""
        heights = [torch.zeros_like(self.offset)]
        for _, width, low, high in self._pieces():
            heights.append(heights[-1] + low.exp() * width * _expm1_ratio(high - low))
        shift = self.offset - heights[KNOTS.index(0.0)]
        return [height + shift for height in heights]


@dataclass(frozen=True)
class Steps(Warp):
    """The h through the points (z, x), straight between them and with slope 1 beyond.

    Attributes:
        z, x: increasing, shape (..., K).
    """

    dims = {"z": 1, "x": 1}
    z: Tensor
    x: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        return _interpolated(z, self.z, self.x)[0]

    def inverse(self, x: Tensor) -> Tensor:
        return _interpolated(x, self.x, self.z)[0]

    def log_slope(self, z: Tensor) -> Tensor:
        return _interpolated(z, self.z, self.x)[1].log()


@dataclass(frozen=True)
class Ranks(Steps):
    """Steps through the ranks z of held-out rows, with what is sure of a new row that is exchangeable with them.

    Attributes:
        below: the most probability that lies below each rank, shape (..., K).
        through: the least probability up to it.
        new: the probability that the new row brings, shape (..., 1).
    """

    dims = {"z": 1, "x": 1, "below": 1, "through": 1, "new": 1}
    below: Tensor
    through: Tensor
    new: Tensor


def _interpolated(values: Tensor, across: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Heights and slopes at `values` of the broken line through the points (across, up)."""
    count = across.shape[-1]
    shape = torch.broadcast_shapes(values.shape, across.shape[:-1])
    values = values.expand(shape)
    across, up = across.expand(*shape, count), up.expand(*shape, count)

    low = count_at_most(across, values)
    inside = (low > 0) & (low < count)
    left, right = at_index(across, low - 1), at_index(across, low)
    gap = torch.where(inside, right - left, 1.0)
    slope = torch.where(inside, (at_index(up, low) - at_index(up, low - 1)) / gap, 1.0)
    start = torch.where(low > 0, left, right)
    height = torch.where(low > 0, at_index(up, low - 1), at_index(up, low))
    return height + slope * (values - start), slope


def at_index(knots: Tensor, index: Tensor) -> Tensor:
    """The knots (..., K) at an index (...), the first or last one beyond their ends."""
    return knots.gather(-1, index.clamp(0, knots.shape[-1] - 1).unsqueeze(-1)).squeeze(-1)


def count_at_most(knots: Tensor, values: Tensor) -> Tensor:
    """How many of the increasing knots (..., K) are at most `values` (...)."""
    # By bisection and not torch.searchsorted, which would copy the knots to every row.
    low = torch.zeros(values.shape, dtype=torch.long, device=values.device)
    high = torch.full_like(low, knots.shape[-1])
    for _ in range(knots.shape[-1].bit_length()):
        middle = (low + high) // 2
        right = (low < high) & (at_index(knots, middle) <= values)
        low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
    return low


def _beyond(z: Tensor, first: Any, last: Any) -> Tensor:
    """How far z is into the piece from `first` to `last`; into an open piece, how far beyond its end, signed.

    On a knot only one of its two pieces has a gradient, as `clamp` would not.
    """
    if last is None:
        return torch.where(z < first, 0.0, z - first)
    if first is None:
        return torch.where(z < last, z - last, 0.0)
    return torch.where(z < first, 0.0, torch.where(z < last, z - first, last - first))


def _expm1_ratio(r: Tensor) -> Tensor:
    """expm1(r) / r."""
    small = r.abs() < 1e-5
    safe = torch.where(small, 1.0, r)
    return torch.where(small, 1 + r / 2 + r.square() / 6, torch.expm1(safe) / safe)


def _log1p_ratio(r: Tensor) -> Tensor:
    """log1p(r) / r."""
    small = r.abs() < 1e-5
    safe = torch.where(small, 1.0, r)
    return torch.where(small, 1 - r / 2 + r.square() / 3, torch.log1p(safe) / safe)


def probit(log_below: Tensor, log_above: Tensor) -> Tensor:
    """Phi^-1 of a probability, from its logarithm and that of its complement: the smaller one carries the digits."""
    left = log_below <= log_above
    z = ndtri_exp(torch.where(left, log_below, log_above))
    return torch.where(left, z, -z)
