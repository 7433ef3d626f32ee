"""Increasing maps h of the probit scale, by which a cdf F becomes Phi(h(Phi^-1(F))).

All recalibrations of numbers are such maps; they differ in the form of h.
"""

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
    "AffineMap",
    "AffineMapAboutMean",
    "LogSlopeSpline",
    "MonotoneMap",
    "PiecewiseLinearMap",
    "RankMap",
    "at_index",
    "count_at_most",
    "place_of_mean",
    "probit",
    "probit_of_tail",
]

# The knots of `LogSlopeSpline`. Beyond 3 there is hardly data to learn from.
KNOTS = (-3.0, -2.25, -1.5, -0.75, 0.0, 0.75, 1.5, 2.25, 3.0)
_KNOT_SPACING = 0.75
_SMALLEST_RATE = 1e-18  # stands for a rate of zero, by which nothing can be divided


@dataclass(frozen=True)
class MonotoneMap(ABC):
    """An increasing map h of the real line, one for each element of a batch.

    Its fields are tensors of shape (..., *own), where ... is the batch. `dims` says how many own
    dimensions a field has; a field that is not in it has none.
    """

    dims: ClassVar[dict[str, int]] = {}

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """The value h(z), of the shape to which z and the batch broadcast."""

    @abstractmethod
    def inverse(self, x: Tensor) -> Tensor:
        """The z with h(z) = x."""

    @abstractmethod
    def log_slope(self, z: Tensor) -> Tensor:
        """The logarithm of the derivative, log h'(z)."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The map whose fields are `function` of these."""
        return replace(
            self,
            **{
                part.name: self._mapped(part.name, getattr(self, part.name), function)
                for part in fields(self)
            },
        )

    def _mapped(self, name: str, value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """function(value), again as an expanded view if `value` was one.

        Picking rows by an index has copied what they share.
        """
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
        """The same map with its tensors expanded to the batch, as views that take no memory."""
        expanded = {}
        for part in fields(self):
            value = getattr(self, part.name)
            expanded[part.name] = value.expand(
                batch_shape + value.shape[value.ndim - self.dims.get(part.name, 0) :]
            )
        return replace(self, **expanded)

    def compact(self) -> Self:
        """The same map, computed once for all elements of the batch that share its numbers.

        Dimensions of the batch that are expanded views are narrowed to one entry.
        """
        narrowed = {}
        for part in fields(self):
            value = getattr(self, part.name)
            for dim in range(value.ndim - self.dims.get(part.name, 0)):
                if value.stride(dim) == 0 and value.shape[dim]:
                    value = value.narrow(dim, 0, 1)
            narrowed[part.name] = value
        return replace(self, **narrowed)

    def of(self, base: Distribution) -> Self | None:
        """The same map for the distributions of another batch, which has one dimension.

        None where the map differs between rows, or is not smooth between its knots.
        """
        compact = self.compact()
        if any(getattr(compact, part.name).shape[:1] != (1,) for part in fields(self)):
            return None
        return compact.map(lambda part: part[0]).expand(base.batch_shape)

    def knots(self) -> Tensor | None:
        """The points at which h is not smooth, shape (count,), where quadrature has to be split.

        None where there are none, or very many.
        """
        return None


@dataclass(frozen=True)
class AffineMap(MonotoneMap):
    """The affine map h(z) = (z - centre) / scale + scale * centre.

    With centre 0 it turns a normal distribution into one with `scale` times its standard deviation.

    The median stays where centre is 0. With centre = Phi^-1(F(mean)) the mean stays: exactly for a
    log-normal distribution, and for a gamma distribution as far as its cube root is normal (Wilson
    and Hilferty 1931).

    Attributes:
        scale: shape (...,), positive.
        centre: on the probit scale, shape (...,).
    """

    scale: Tensor
    centre: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """The value h(z)."""
        return (z - self.centre) / self.scale + self.scale * self.centre

    def inverse(self, x: Tensor) -> Tensor:
        """The z with h(z) = x."""
        return (x - self.scale * self.centre) * self.scale + self.centre

    def log_slope(self, z: Tensor) -> Tensor:
        """The logarithm of the derivative, log h'(z)."""
        return -self.scale.log() + torch.zeros_like(z)


@dataclass(frozen=True)
class AffineMapAboutMean(AffineMap):
    """An affine map whose centre is `share` times the probit of a continuous distribution's mean.

    A share of 1 keeps the mean, a share of 0 keeps the median.

    Attributes:
        share: `centre` over the probit of the mean, shape (...,).
    """

    share: Tensor

    def of(self, base: Distribution) -> Self | None:
        """The same map for the distributions of another batch; see `MonotoneMap.of`."""
        # the centre differs from one distribution to the next
        shared = AffineMap.of(replace(self, centre=self.scale), base)
        return (
            None if shared is None else replace(shared, centre=place_of_mean(base) * shared.share)
        )


@dataclass(frozen=True)
class LogSlopeSpline(MonotoneMap):
    """The map h whose log-slope is a linear spline, with h(0) = offset.

    The logarithm of h' is linear between the `KNOTS`, and zero from the outermost ones on.

    The recalibrated density is continuous and positive, and the inverse of h has a closed form. The
    tails stay those of the model: they are shifted, and no moment that was finite becomes infinite.

    Attributes:
        offset: h(0), shape (...,).
        log_slopes: log h' at the inner knots, shape (..., len(KNOTS) - 2).
    """

    dims = {"log_slopes": 1}
    offset: Tensor
    log_slopes: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """The value h(z)."""
        if self._is_shared_by(z):
            first, size, rate, height = self._pieces_at(self._piece(z))
            part = by_numpy("expm1", rate.mul_(z - first)).mul_(size).add_(height)
            return torch.where(z.isinf(), z, part)
        first, low, rate, height = self._pieces(self._piece(z))
        part = z - first
        return height + low.exp() * part * _expm1_ratio(_increase(rate, part))

    def inverse(self, x: Tensor) -> Tensor:
        """The z with h(z) = x."""
        if self._is_shared_by(x):
            piece = torch.zeros_like(x, dtype=torch.long)
            for knot in self._shared()[3][1:].tolist():
                piece += x >= knot
            first, size, rate, height = self._pieces_at(piece)
            part = by_numpy("log1p", (x - height).div_(size)).div_(rate)
            return torch.where(x.isinf(), x, part.add_(first))
        heights = self._heights()
        shape = torch.broadcast_shapes(x.shape, heights.shape[:-1])
        first, low, rate, height = self._pieces(
            count_at_most(heights.expand(*shape, -1), x.expand(shape))
        )
        part = (x - height) * torch.exp(-low)
        return first + part * _log1p_ratio(_increase(rate, part))

    def log_slope(self, z: Tensor) -> Tensor:
        """The logarithm of the derivative, log h'(z)."""
        first, low, rate, _ = self._pieces(self._piece(z))
        return low + _increase(rate, z - first)

    def knots(self) -> Tensor | None:
        """The `KNOTS`."""
        return torch.tensor(KNOTS, dtype=self.offset.dtype, device=self.offset.device)

    def _is_shared_by(self, points: Tensor) -> bool:
        """Whether one map serves all points, so that its pieces are computed once."""
        return self.offset.numel() == 1 and are_plain_numbers(points, self.offset, self.log_slopes)

    def _shared(self) -> tuple[Tensor, ...]:
        """All pieces of a shared map: h = height + size expm1(rate (z - first)).

        As `_pieces` gives them, with `size` in place of the log-slope.
        """
        return _shared_pieces(*self.offset.flatten().tolist(), *self.log_slopes.flatten().tolist())

    def _pieces_at(self, piece: Tensor) -> list[Tensor]:
        index = piece.flatten()
        return [column.index_select(0, index).reshape(piece.shape) for column in self._shared()]

    @staticmethod
    def _piece(z: Tensor) -> Tensor:
        """How many knots are at most z."""
        return (
            (torch.floor((z - KNOTS[0]) / _KNOT_SPACING) + 1)
            .nan_to_num(0.0)
            .clamp(0, len(KNOTS))
            .long()
        )

    def _pieces(self, piece: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """First knots, log-slopes there, rates, and h at the first knots, of these pieces.

        A rate is the derivative of the log-slope along a piece.

        The open piece on the left counts as beginning at the first knot.
        """
        low, heights = self._knot_slopes(), self._heights()
        flat = torch.zeros_like(low[..., :1])
        rate = torch.cat([flat, low.diff(dim=-1) / _KNOT_SPACING, flat], -1)
        begin = (piece - 1).clamp(min=0)
        low, rate, height = _entry(low, begin), _entry(rate, piece), _entry(heights, begin)
        return KNOTS[0] + _KNOT_SPACING * begin, low, rate, height

    def _knot_slopes(self) -> Tensor:
        """The log-slopes at the knots, (..., len(KNOTS))."""
        return torch.nn.functional.pad(self.log_slopes, (1, 1))

    def _heights(self) -> Tensor:
        """The values of h at the knots, (..., len(KNOTS))."""
        slopes = self._knot_slopes()
        rises = _KNOT_SPACING * slopes[..., :-1].exp() * _expm1_ratio(slopes.diff(dim=-1))
        heights = torch.nn.functional.pad(rises.cumsum(-1), (1, 0))
        middle = KNOTS.index(0.0)
        return heights - heights[..., middle : middle + 1] + self.offset.unsqueeze(-1)


@lru_cache
def _shared_pieces(offset: float, *log_slopes: float) -> tuple[Tensor, ...]:
    """`LogSlopeSpline._shared` of the map with these numbers, which is needed again and again."""
    numbers = torch.tensor([offset, *log_slopes], dtype=torch.float64)
    first, low, rate, height = LogSlopeSpline(numbers[0], numbers[1:])._pieces(
        torch.arange(len(KNOTS) + 1)
    )
    rate = torch.where(rate.abs() < _SMALLEST_RATE, _SMALLEST_RATE, rate)
    return first.double(), low.exp() / rate, rate, height


@dataclass(frozen=True)
class PiecewiseLinearMap(MonotoneMap):
    """The piecewise linear map through the points (z, x), with slope 1 beyond them.

    Attributes:
        z: abscissas, increasing, shape (..., K).
        x: h(z), increasing, shape (..., K).
    """

    dims = {"z": 1, "x": 1}
    z: Tensor
    x: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """The value h(z)."""
        return _interpolated(z, self.z, self.x)[0]

    def of(self, base: Distribution) -> None:
        """None: the map is not smooth between its points."""
        return None

    def inverse(self, x: Tensor) -> Tensor:
        """The z with h(z) = x."""
        return _interpolated(x, self.x, self.z)[0]

    def log_slope(self, z: Tensor) -> Tensor:
        """The logarithm of the derivative, log h'(z)."""
        return _interpolated(z, self.z, self.x)[1].log()


@dataclass(frozen=True)
class RankMap(PiecewiseLinearMap):
    """The piecewise linear map through the ranks z of held-out rows, with bounds of probabilities.

    The bounds hold for a new row that is exchangeable with the held-out ones.

    Attributes:
        below: the largest probability that can lie below each rank, shape (..., K).
        through: the smallest probability that can lie up to and including it, shape (..., K).
        new: the probability of the new row itself, shape (..., 1).
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
    """The knots (..., K) at an index (...); the first or the last one for an index beyond them."""
    return knots.gather(-1, index.clamp(0, knots.shape[-1] - 1).unsqueeze(-1)).squeeze(-1)


def _entry(row: Tensor, index: Tensor) -> Tensor:
    """The entries at an index (...) of rows (..., K) that broadcast to it."""
    shape = torch.broadcast_shapes(row.shape[:-1], index.shape)
    return (
        row.expand(*shape, row.shape[-1]).gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)
    )


def count_at_most(knots: Tensor, values: Tensor) -> Tensor:
    """The number of the increasing knots (..., K) that are at most `values` (...)."""
    # By bisection and not torch.searchsorted, which would copy the knots to every row.
    low = torch.zeros(values.shape, dtype=torch.long, device=values.device)
    high = torch.full_like(low, knots.shape[-1])
    for _ in range(knots.shape[-1].bit_length()):
        middle = (low + high) // 2
        right = (low < high) & (at_index(knots, middle) <= values)
        low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
    return low


def _increase(rate: Tensor, part: Tensor) -> Tensor:
    """The increase of the log-slope; 0 in an open piece, where the part may be infinite."""
    return rate * torch.where(part.isinf(), 0.0, part)


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
    """The probit of the mean of a continuous distribution, Phi^-1(F(mean)), of its batch_shape.

    It is that of the median, 0, where the mean is infinite or does not exist.
    """
    mean = dist.mean
    exists = mean.isfinite()
    mean = torch.where(exists, mean, dist.median.to(mean.dtype))
    return torch.where(exists, probit(dist.log_cdf(mean), dist.log_survival(mean)), 0.0)


def probit(log_below: Tensor, log_above: Tensor) -> Tensor:
    """Phi^-1 of a probability, from its logarithm and that of its complement.

    The smaller one of the two carries the digits.
    """
    left = log_below <= log_above
    z = probit_of_tail(torch.where(left, log_below, log_above))
    return torch.where(left, z, -z)


def probit_of_tail(log_tail: Tensor) -> Tensor:
    """Phi^-1 of a probability that is at most about 1/2, from its logarithm."""
    if not are_plain_numbers(log_tail):
        return ndtri_exp(log_tail)
    z = torch.special.ndtri(log_tail.double().exp()).to(log_tail.dtype)
    return mend(z, log_tail < -700, ndtri_exp, log_tail)  # where the probability underflows
