"""The shortest interval with a given probability, for densities on the line.

Densities have one peak, none, or one at each end of the support.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.special.eager import are_plain_numbers
from disthead.special.plain import ndtri

if TYPE_CHECKING:
    from disthead.distributions.univariate import Univariate

__all__ = ["shortest_interval", "shortest_on_grid"]

_FIXED_STEPS = 10  # where the numbers are not concrete
_MOST_STEPS = 60
_ROWS = 4096  # of one chunk, whose intermediate results fit the cache
_LAST_STEP = 1e-6  # in log-odds: the error of a last linear step of this length is its square
_NEXT_TO_ZERO = 1e-280
# beyond these log-odds the probability on one side is below the rounding of that on the other
_MAX_LOG_ODDS = 36.0


@torch.no_grad()
def shortest_interval(dist: "Univariate", level: "float | Tensor") -> tuple[Tensor, Tensor]:
    """The ends of the shortest interval with the probability `level`, both of shape batch.

    The search ends on convergence for concrete numbers, mostly after four or five pairs of
    quantiles, and after a fixed number of steps otherwise.

    Args:
        dist: a distribution in double precision.
        level: the probability of the interval, a number or a tensor of shape batch.
    """
    number = dist._constant(0.0)
    outside = (1 - level) + number
    if not are_plain_numbers(number):
        search = _Search.begun(dist, outside)
        for _ in range(_FIXED_STEPS - 1):
            search = search.step()
        settled, *ends = _at_an_end(dist, outside)
        lower, upper = (
            torch.where(settled, *pair) for pair in zip(ends, search.ends(), strict=True)
        )
        return lower, upper
    rows = dist._flat()
    lower, upper, outside = number.flatten().clone(), number.flatten().clone(), outside.flatten()
    for start in range(0, len(lower), _ROWS):
        chunk = slice(start, start + _ROWS)
        _fill(rows[chunk], outside[chunk], lower[chunk], upper[chunk])
    return lower.reshape(number.shape), upper.reshape(number.shape)


@torch.no_grad()
def shortest_on_grid(dist: "Univariate", level: float) -> tuple[Tensor, Tensor]:
    """The ends of the shortest interval with the probability `level` where there may be peaks.

    A grid is refined around its best point, by a fixed number of steps.

    Args:
        dist: a distribution in double precision.
        level: the probability of the interval.
    """

    def ends(below: Tensor) -> tuple[Tensor, Tensor]:
        above = (1 - level - below).clamp(min=0)
        lower, upper = dist._quantile(
            torch.stack([below, 1 - above]), torch.stack([1 - below, above])
        ).unbind(0)
        return lower, upper

    left, right = dist._constant(0.0), dist._constant(1 - level)
    for points in (65, 17, 17, 17, 17, 17, 17):
        share = torch.linspace(0, 1, points, dtype=dist.dtype, device=dist.device)
        below = left + (right - left) * share.reshape((-1,) + (1,) * len(dist.batch_shape))
        lower, upper = ends(below)
        best = (upper - lower).argmin(0, keepdim=True)
        left, right = (
            below.gather(0, (best + step).clamp(0, points - 1)).squeeze(0) for step in (-1, 1)
        )
    return lower.gather(0, best).squeeze(0), upper.gather(0, best).squeeze(0)


def _fill(dist: "Univariate", outside: Tensor, lower: Tensor, upper: Tensor) -> None:
    """Write the ends of the intervals of all rows."""
    search, rows = _Search.begun(dist, outside), torch.arange(len(lower))
    settled = search.may_reach_an_end()
    if settled.any():
        [doubtful] = settled.nonzero(as_tuple=True)
        settled[doubtful], lower[doubtful], upper[doubtful] = _at_an_end(
            dist[doubtful], outside[doubtful]
        )
        [left] = (~settled).nonzero(as_tuple=True)
        rows, search = rows[left], search.take(left)
    for _ in range(_MOST_STEPS):
        done = search.is_done()
        if done.any():
            lower[rows], upper[rows] = search.ends()
            [left] = (~done).nonzero(as_tuple=True)
            rows, search = rows[left], search.take(left)
        if len(rows) == 0:
            return
        search = search.step()
    lower[rows], upper[rows] = search.ends()


def _at_an_end(dist: "Univariate", outside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether the interval lies at an end of the support, and the shorter interval that does.

    It does where the density at that end is at least as high as at the other end of the interval.
    """
    limits, (first, last) = dist.support_limits(), _numbers_inside(dist)
    upper, lower = dist._inverse(1 - outside, outside), dist._inverse(outside, 1 - outside)
    falls = dist.log_prob(first) >= dist.log_prob(upper.clamp(first, last))
    rises = dist.log_prob(last) >= dist.log_prob(lower.clamp(first, last))
    at_first = falls & ~(rises & (limits[1] - lower < upper - limits[0]))
    return (
        falls | rises,
        torch.where(at_first, limits[0], lower),
        torch.where(at_first, upper, limits[1]),
    )


def _numbers_inside(dist: "Univariate") -> tuple[Tensor, Tensor]:
    """The numbers next to the ends of the support; next to 0 one that can still be divided."""
    first, last = dist.support_limits()
    after, before = torch.nextafter(first, last), torch.nextafter(last, first)
    return torch.where(first == 0, _NEXT_TO_ZERO, after), torch.where(
        last == 0, -_NEXT_TO_ZERO, before
    )


@dataclass(frozen=True)
class _Search:
    """A secant method for the interval with equal densities at both ends.

    The variable is the log-odds of the probability below the interval to that above it. The
    difference of the log-densities at the ends is nearly linear in it.

    Attributes:
        first, last: the numbers next to the ends of the support, which stand for quantiles that
            were rounded to the ends.
        odds: the current log-odds; `least` and `most` bracket the solution.
        gap: the log-density at the lower end minus that at the upper end; negative where the
            interval must move up.
        slope: the derivative of the gap by the log-odds.
        lower, upper: the ends of the interval; `at_lower` and `at_upper` are their log-densities.
        rests: whether the last step did not move the ends.
    """

    dist: "Univariate"
    outside: Tensor
    first: Tensor
    last: Tensor
    odds: Tensor
    least: Tensor
    most: Tensor
    gap: Tensor
    slope: Tensor
    lower: Tensor
    upper: Tensor
    at_lower: Tensor
    at_upper: Tensor
    rests: Tensor

    @classmethod
    def begun(cls, dist: "Univariate", outside: Tensor) -> Self:
        """A search from the central interval, with the slope that a normal distribution has."""
        odds, (first, last) = dist._constant(0.0), _numbers_inside(dist)
        z = -ndtri(0.5 * outside)
        slope = 0.5 * outside * z * torch.exp(0.5 * z.square() + HALF_LOG_TWO_PI)
        lower, upper, at_lower, at_upper = _ends_and_heights(dist, outside, odds, first, last)
        gap, least, most = _gap(
            at_lower, at_upper, odds, odds - _MAX_LOG_ODDS - 1, odds + _MAX_LOG_ODDS + 1
        )
        return cls(
            dist,
            outside,
            first,
            last,
            odds,
            least,
            most,
            gap,
            slope,
            lower,
            upper,
            at_lower,
            at_upper,
            odds.isnan(),
        )

    def step(self) -> Self:
        after = (self.odds - self.gap / self.slope).clamp(-_MAX_LOG_ODDS, _MAX_LOG_ODDS)
        stays = (after >= self.least) & (after <= self.most)
        odds = torch.where(stays, after, 0.5 * (self.least + self.most))
        lower, upper, at_lower, at_upper = _ends_and_heights(
            self.dist, self.outside, odds, self.first, self.last
        )
        gap, least, most = _gap(at_lower, at_upper, odds, self.least, self.most)
        secant = (gap - self.gap) / (odds - self.odds)
        slope = torch.where(secant > 0, secant, self.slope)
        moved = (lower - self.lower).abs() + (upper - self.upper).abs()
        rests = moved <= 1e-14 * (upper - lower)
        fixed = self.dist, self.outside, self.first, self.last
        return type(self)(
            *fixed, odds, least, most, gap, slope, lower, upper, at_lower, at_upper, rests
        )

    def take(self, rows: Tensor) -> Self:
        """The search restricted to some rows."""
        numbers = [part[rows] for part in vars(self).values() if isinstance(part, Tensor)]
        return type(self)(self.dist[rows], *numbers)

    def may_reach_an_end(self) -> Tensor:
        """Whether the density at an end of the support is at least that at the opposite end."""
        return (self.dist.log_prob(self.first) >= self.at_upper) | (
            self.dist.log_prob(self.last) >= self.at_lower
        )

    def is_done(self) -> Tensor:
        """Whether the gap is small enough, or one of the tail probabilities is negligible."""
        beyond = (self.most <= -_MAX_LOG_ODDS) | (self.least >= _MAX_LOG_ODDS)
        return (self.gap.abs() <= _LAST_STEP * self.slope) | beyond | self.rests | self.gap.isnan()

    def ends(self) -> tuple[Tensor, Tensor]:
        """The ends, after a last linear step if it is short."""
        step = -self.gap / self.slope
        share = self.outside * self.odds.sigmoid() * (-self.odds).sigmoid() * step
        close = step.abs() <= _LAST_STEP
        lower = self.lower + torch.where(close, share * torch.exp(-self.at_lower), 0.0)
        upper = self.upper + torch.where(close, share * torch.exp(-self.at_upper), 0.0)
        first, last = self.dist.support_limits()
        lower = torch.where((self.most <= -_MAX_LOG_ODDS) & first.isfinite(), first, lower)
        return lower, torch.where((self.least >= _MAX_LOG_ODDS) & last.isfinite(), last, upper)


def _ends_and_heights(
    dist: "Univariate", outside: Tensor, odds: Tensor, first: Tensor, last: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The ends of the interval at these log-odds, and their log-densities."""
    below, above = outside * odds.sigmoid(), outside * (-odds).sigmoid()
    lower, upper = dist._inverse(below, 1 - below), dist._inverse(1 - above, above)
    return (
        lower,
        upper,
        dist.log_prob(lower.clamp(first, last)),
        dist.log_prob(upper.clamp(first, last)),
    )


def _gap(
    at_lower: Tensor, at_upper: Tensor, odds: Tensor, least: Tensor, most: Tensor
) -> tuple[Tensor, ...]:
    """The difference of the log-densities, and the bracket of the log-odds that follows from it."""
    gap = (at_lower - at_upper).clamp(-700, 700)
    moves_up = gap < 0
    return gap, torch.where(moves_up, odds, least), torch.where(moves_up, most, odds)
