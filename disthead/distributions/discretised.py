"""Discretised distributions: a continuous number that is recorded in whole units."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution, Kind
from disthead.distributions.between import log_between
from disthead.distributions.discrete import OUTSIDE, Discrete, sum_rule
from disthead.distributions.mass_tables import crps_of
from disthead.distributions.supports import End, bounds_of, set_bounds
from disthead.distributions.univariate import in_double
from disthead.distributions.wrapped import Wrapped
from disthead.special.eager import are_concrete, extent

__all__ = ["Discretised", "Grid", "limits"]

_FARTHEST = 2.0**53
_AHEAD = {"nearest": 0.5, "floor": 1.0}  # how far numbers reach above their record


class Grid(constraints.Constraint):
    """The multiples of a step between two bounds.

    Args:
        step: the distance of neighbours, positive.
        lower: the least one; -inf for none.
        upper: the greatest one; inf for none.
    """

    is_discrete = True

    def __init__(self, step: float = 1.0, lower: End = -math.inf, upper: End = math.inf):
        self.step, self.lower, self.upper = step, lower, upper
        set_bounds(self, lower, upper)

    def check(self, value: Tensor) -> Tensor:
        count = torch.as_tensor(value) / self.step
        rounding = 4 * torch.finfo(count.dtype).eps * count.abs()
        on_grid = (count - count.round()).abs() <= rounding
        slack = 1e-6 * self.step
        return on_grid & (value >= self.lower - slack) & (value <= self.upper + slack)


class Discretised(Wrapped, Discrete):
    """A continuous base distribution that is rounded to whole numbers.

    The mass is P(Y = k) = F(k + b) - F(k - a), with F the cdf of the base. Rounding to the nearest
    has a = b = 1/2, rounding down (floor) a = 0 and b = 1. The difference is that of the smaller
    tail, and an integral of the density where it would lose digits. Source: Chakraborty 2015,
    Generating discrete analogues of continuous probability distributions.

    Args:
        base: a continuous distribution on the line.
        rounding: "nearest" or "floor".
    """

    _search_steps = 3  # `_bracket` leaves few integers

    def __init__(self, base: Distribution, rounding: str = "nearest"):
        self.rounding = rounding
        self._wrap(base)

    @property
    def kind(self) -> Kind:
        return "count"

    has_rsample = False

    @property
    def _ahead(self) -> float:
        """How far the numbers that are recorded as k reach above k."""
        return _AHEAD[self.rounding]

    def _recorded(self, x: Tensor) -> Tensor:
        return (x + (1 - self._ahead)).floor()

    @property
    def support(self) -> constraints.Constraint:
        return Grid(1.0, *self._ends())

    def _ends(self) -> tuple[End, End]:
        return limits(*bounds_of(self.base.support), self.rounding)

    def _bounds(self) -> tuple[float, float]:
        """The least and the greatest integer that all distributions have; NaN for traced ones."""
        lower, upper = self._ends()
        if isinstance(lower, Tensor):
            lower = extent(lower)[1] if are_concrete(lower) else math.nan
        if isinstance(upper, Tensor):
            upper = extent(upper)[0] if are_concrete(upper) else math.nan
        return lower, upper

    def support_limits(self) -> tuple[Tensor, Tensor]:
        zero = self._constant(0.0)
        lower, upper = (zero + end for end in self._ends())
        return lower, upper

    def _log_mass(self, x: Tensor) -> Tensor:
        x = torch.where(x.isfinite(), x, 0.0)
        return log_between(self.base, x + (self._ahead - 1), x + self._ahead)

    def _log_cdf(self, k: Tensor) -> Tensor:
        return self.base.log_cdf(torch.where(k.isfinite(), k, 0.0) + self._ahead)

    def _log_survival(self, k: Tensor) -> Tensor:
        return self.base.log_survival(torch.where(k.isfinite(), k, 0.0) + self._ahead)

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        quantile = self._recorded(self.base._quantile(below, above).detach())
        quantile = quantile.clamp(-_FARTHEST, _FARTHEST)
        lower, upper = self.support_limits()
        slack = 1 + 1e-12 * quantile.abs()
        first, last = (quantile - slack).floor(), (quantile + slack).ceil()
        return torch.maximum(first, lower), torch.minimum(last, upper)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        tail = self._constant(OUTSIDE)
        rest = 1 - tail
        first, last = self._bracket(tail, rest)[0], self._bracket(rest, tail)[1]
        return first, torch.maximum(first, last)

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        start = self._recorded(self.base._quantile(below, above))
        return start, torch.ones_like(start)

    @property
    def _skewness(self) -> Tensor:
        mean = self.mean
        return self._expectation(lambda k: (k - mean) ** 3) / self.stddev**3

    @property
    @in_double
    def mean(self) -> Tensor:
        of_base = self.base.mean  # which may diverge, as sums over a range never do
        return torch.where(of_base.isfinite(), self._first_moment(), of_base)

    @property
    @in_double
    def variance(self) -> Tensor:
        of_base, mean = self.base.variance, self._first_moment()
        value = self._expectation(lambda k: (k - mean).square()) + self._beyond_bulk(2, mean)
        return torch.where(of_base.isfinite(), value, of_base)

    def _first_moment(self) -> Tensor:
        return self._expectation(lambda k: k) + self._beyond_bulk(1)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The most probable of the whole numbers next to the mode of the base."""
        peak = self._recorded(self.base.mode)
        lower, upper = self.support_limits()
        candidates = torch.stack([peak, peak - 1, peak + 1])
        candidates = torch.minimum(torch.maximum(candidates, lower), upper)
        best = self._log_mass(candidates).argmax(0, keepdim=True)
        return candidates.gather(0, best).squeeze(0)

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size(), generator: Any = None) -> Tensor:
        exact = self._in_double()
        return exact._recorded(exact.base.sample(sample_shape, generator)).to(self.dtype)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in counts."""
        if not self._is_plain(y):
            return self._crps_of_tails(y)
        return self._by_tables(
            lambda rows, masses, first, y: crps_of(masses, first, y),
            lambda rows, first, last, y: rows.map(lambda part: part.unsqueeze(1))._crps_of_tails(y),
            y,
        )

    def _crps_of_tails(self, y: Tensor) -> Tensor:
        """The integral of (cdf(t) - 1{t >= y})^2 dt, which may exist where the mean does not."""
        (first, last), (lower, upper) = self._bulk(), self.support_limits()
        # where a tail holds everything, its square is 1
        target = torch.minimum(torch.maximum(y, first), last)
        k = target.floor()
        away, weight = sum_rule(last - k + 0.5)
        after = k + 1 + away
        tail = self._log_survival(torch.minimum(after, upper))
        above = (weight * torch.where(after < upper, (2 * tail).exp(), 0.0)).sum(0)
        away, weight = sum_rule(k - first + 0.5)
        before = k - 1 - away
        tail = self._log_cdf(torch.maximum(before, lower))
        below = (weight * torch.where(before >= lower, (2 * tail).exp(), 0.0)).sum(0)
        passed = target - k
        here = passed * self.cdf(k).square() + (1 - passed) * (2 * self.log_survival(k)).exp()
        score = below + here + above + (y - target).abs()
        return torch.where(self.base.crps(y).isfinite(), score, torch.inf)


def limits(lower: End, upper: End, rounding: str) -> tuple[End, End]:
    """The least and the greatest whole number that are recorded for numbers between two bounds.

    Args:
        lower: of the numbers, which lie above it; a number or a tensor.
        upper: of the numbers, which lie below it; likewise.
        rounding: "nearest" or "floor".
    """
    ahead = _AHEAD[rounding]
    return _rounded(math.floor, lower + (1 - ahead)), _rounded(math.ceil, upper - ahead)


def _rounded(rounding: Callable[[float], int], end: End) -> End:
    if isinstance(end, Tensor):
        return end.floor() if rounding is math.floor else end.ceil()
    return float(rounding(end)) if math.isfinite(end) else end
