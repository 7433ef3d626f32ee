"""Increasing maps of the probit scale, by which a cdf F becomes Phi(h(Phi^-1(F))): one method of all recalibration."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import ClassVar, Self

import torch
from torch import Size, Tensor

from disthead.distributions.base import Distribution
from disthead.special import ndtri_exp
from disthead.special.eager import are_plain_numbers, by_numpy
from disthead.special.numeric import mend

__all__ = [
    "KNOTS",
    "Bend",
    "Ranks",
    "Steps",
    "Stretch",
    "StretchAboutMean",
    "Warp",
    "at_index",
    "count_at_most",
    "place_of_mean",
    "probit",
    "probit_of_tail",
]

# of Bend; beyond 3 there is hardly data to learn from
KNOTS = (-3.0, -2.25, -1.5, -0.75, 0.0, 0.75, 1.5, 2.25, 3.0)
_WIDTH = 0.75  # between neighbours
_STRAIGHT = 1e-18  # a bend that is as good as none


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
        return replace(
            self,
            **{
                part.name: self._mapped(part.name, getattr(self, part.name), function)
                for part in fields(self)
            },
        )

    def _mapped(self, name: str, value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """function(value), again as an expanded view if `value` was one: picking rows by an index has copied what they share."""
        new, dims = function(value), self.dims.get(name, 0)
        is_one = all(stride == 0 for stride in value.stride()[: value.ndim - dims])
        if (
            value.ndim == dims
            or not is_one
            or not are_plain_numbers(new)
            or new.requires_grad
            or new.numel() == 0
        ):
            return new
        first = new[(slice(1),) * (new.ndim - dims)]
        return first.expand(new.shape) if bool((new == first).all()) else new

    def expand(self, batch_shape: Size) -> Self:
        """With tensors expanded to the batch: views, which take no memory."""
        expanded = {}
        for part in fields(self):
            value = getattr(self, part.name)
            expanded[part.name] = value.expand(
                batch_shape + value.shape[value.ndim - self.dims.get(part.name, 0) :]
            )
        return replace(self, **expanded)

    def compact(self) -> Self:
        """The same with dimensions of the batch that are expanded views narrowed to one entry, so that it is computed once."""
        short = {}
        for part in fields(self):
            value = getattr(self, part.name)
            for dim in range(value.ndim - self.dims.get(part.name, 0)):
                if value.stride(dim) == 0 and value.shape[dim]:
                    value = value.narrow(dim, 0, 1)
            short[part.name] = value
        return replace(self, **short)

    def of(self, base: Distribution) -> Self | None:
        """The same map for other distributions, of a batch of one dimension; None where it is not known, or not smooth between knots."""
        compact = self.compact()
        if any(getattr(compact, part.name).shape[:1] != (1,) for part in fields(self)):
            return None
        return compact.map(lambda part: part[0]).expand(base.batch_shape)

    def knots(self) -> Tensor | None:
        """Points at which h is not smooth, (count,), which quadrature has to know; None where there are none, or very many."""
        return None


@dataclass(frozen=True)
class Stretch(Warp):
    """h(z) = (z - centre) / scale + scale * centre: a normal distribution with `scale` times its spread where centre is 0.

    The median stays where centre is 0. With centre = Phi^-1(F(mean)) the mean stays: exactly for a
    log-normal distribution, and for a gamma distribution as far as its cube root is normal (Wilson
    and Hilferty 1931).
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
class StretchAboutMean(Stretch):
    """A stretch about the place of the mean of a continuous distribution; or `share` of it, so that 0 keeps the median.

    Attributes:
        share: of the place of the mean that `centre` is, shape (...,).
    """

    share: Tensor

    def of(self, base: Distribution) -> Self | None:
        shared = Stretch.of(
            replace(self, centre=self.scale), base
        )  # the centre differs from one distribution to the next
        return (
            None if shared is None else replace(shared, centre=place_of_mean(base) * shared.share)
        )


@dataclass(frozen=True)
class Bend(Warp):
    """The h whose log-slope is linear between `KNOTS` and zero from the outermost ones on, with h(0) = offset.

    Its density is continuous and positive, its inverse has a closed form, and the tails stay those
    of the model: they are shifted, and no moment that was finite becomes infinite.

    Attributes:
        offset: h(0), shape (...,).
        log_slopes: at the inner knots, shape (..., len(KNOTS) - 2).
    """

    dims = {"log_slopes": 1}
    offset: Tensor
    log_slopes: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        if self._is_shared_by(z):
            first, size, bend, height = self._pieces_at(self._piece(z))
            part = by_numpy("expm1", bend.mul_(z - first)).mul_(size).add_(height)
            return torch.where(z.isinf(), z, part)
        first, low, bend, height = self._pieces(self._piece(z))
        part = z - first
        return height + low.exp() * part * _expm1_ratio(_risen(bend, part))

    def inverse(self, x: Tensor) -> Tensor:
        if self._is_shared_by(x):
            piece = torch.zeros_like(x, dtype=torch.long)
            for knot in self._shared()[3][1:].tolist():
                piece += x >= knot
            first, size, bend, height = self._pieces_at(piece)
            part = by_numpy("log1p", (x - height).div_(size)).div_(bend)
            return torch.where(x.isinf(), x, part.add_(first))
        heights = self._heights()
        shape = torch.broadcast_shapes(x.shape, heights.shape[:-1])
        first, low, bend, height = self._pieces(
            count_at_most(heights.expand(*shape, -1), x.expand(shape))
        )
        part = (x - height) * torch.exp(-low)
        return first + part * _log1p_ratio(_risen(bend, part))

    def log_slope(self, z: Tensor) -> Tensor:
        first, low, bend, _ = self._pieces(self._piece(z))
        return low + _risen(bend, z - first)

    def knots(self) -> Tensor | None:
        return torch.tensor(KNOTS, dtype=self.offset.dtype, device=self.offset.device)

    def _is_shared_by(self, points: Tensor) -> bool:
        """Whether one map is asked for the plain numbers of all points: its pieces are computed once."""
        return self.offset.numel() == 1 and are_plain_numbers(points, self.offset, self.log_slopes)

    def _shared(self) -> tuple[Tensor, ...]:
        """Of a shared map, all pieces as `_pieces` gives them, with `size` for the log-slope: h = height + size expm1(bend (z - first))."""
        return _shared_pieces(*self.offset.flatten().tolist(), *self.log_slopes.flatten().tolist())

    def _pieces_at(self, piece: Tensor) -> list[Tensor]:
        index = piece.flatten()
        return [column.index_select(0, index).reshape(piece.shape) for column in self._shared()]

    @staticmethod
    def _piece(z: Tensor) -> Tensor:
        """How many knots are at most z."""
        return (
            (torch.floor((z - KNOTS[0]) / _WIDTH) + 1).nan_to_num(0.0).clamp(0, len(KNOTS)).long()
        )

    def _pieces(self, piece: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The pieces with these numbers: the knot at which each begins, the log-slope there, its slope along the piece, and h there.

        The open piece on the left counts as beginning at the first knot.
        """
        low, heights = self._knot_slopes(), self._heights()
        flat = torch.zeros_like(low[..., :1])
        bend = torch.cat([flat, low.diff(dim=-1) / _WIDTH, flat], -1)
        begin = (piece - 1).clamp(min=0)
        low, bend, height = _entry(low, begin), _entry(bend, piece), _entry(heights, begin)
        return KNOTS[0] + _WIDTH * begin, low, bend, height

    def _knot_slopes(self) -> Tensor:
        """The log-slopes at the knots, (..., len(KNOTS))."""
        return torch.nn.functional.pad(self.log_slopes, (1, 1))

    def _heights(self) -> Tensor:
        """h at the knots, (..., len(KNOTS))."""
        slopes = self._knot_slopes()
        rises = _WIDTH * slopes[..., :-1].exp() * _expm1_ratio(slopes.diff(dim=-1))
        heights = torch.nn.functional.pad(rises.cumsum(-1), (1, 0))
        middle = KNOTS.index(0.0)
        return heights - heights[..., middle : middle + 1] + self.offset.unsqueeze(-1)


@lru_cache
def _shared_pieces(offset: float, *log_slopes: float) -> tuple[Tensor, ...]:
    """`Bend._shared` of the map with these numbers: remembered, since it is asked for again and again."""
    numbers = torch.tensor([offset, *log_slopes], dtype=torch.float64)
    first, low, bend, height = Bend(numbers[0], numbers[1:])._pieces(torch.arange(len(KNOTS) + 1))
    bend = torch.where(bend.abs() < _STRAIGHT, _STRAIGHT, bend)
    return first.double(), low.exp() / bend, bend, height


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

    def of(self, base: Distribution) -> None:
        return None

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
    shape = torch.broadcast_shapes(values.shape, across.shape[:-1], up.shape[:-1])
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


def _entry(row: Tensor, index: Tensor) -> Tensor:
    """The entries at an index (...) of rows (..., K) that broadcast to it."""
    shape = torch.broadcast_shapes(row.shape[:-1], index.shape)
    return (
        row.expand(*shape, row.shape[-1]).gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)
    )


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


def _risen(bend: Tensor, part: Tensor) -> Tensor:
    """bend * part; 0 where the part is infinite, as in an open piece, which does not bend."""
    return bend * torch.where(part.isinf(), 0.0, part)


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


def place_of_mean(dist: Distribution) -> Tensor:
    """Where on the probit scale the mean of a continuous distribution lies."""
    mean = dist.mean
    return probit(dist.log_cdf(mean), dist.log_survival(mean))


def probit(log_below: Tensor, log_above: Tensor) -> Tensor:
    """Phi^-1 of a probability, from its logarithm and that of its complement: the smaller one carries the digits."""
    left = log_below <= log_above
    z = probit_of_tail(torch.where(left, log_below, log_above))
    return torch.where(left, z, -z)


def probit_of_tail(log_tail: Tensor) -> Tensor:
    """Phi^-1 of a probability of at most about a half, from its logarithm."""
    if not are_plain_numbers(log_tail):
        return ndtri_exp(log_tail)
    z = torch.special.ndtri(log_tail.double().exp()).to(log_tail.dtype)
    return mend(z, log_tail < -700, ndtri_exp, log_tail)  # where the probability underflows
