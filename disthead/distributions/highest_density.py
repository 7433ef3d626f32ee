"""The shortest interval that holds a given probability: of densities with one peak, with none, or with one at each end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.special.eager import are_plain_numbers
from disthead.special.plain import ndtri

if TYPE_CHECKING:
    from disthead.distributions.univariate import Univariate

__all__ = ["shortest_interval"]

_FIXED_STEPS = 10  # where the numbers are not concrete
_MOST_STEPS = 60
_ROWS = 4096  # at once, so that their intermediate results stay in the cache
_LAST_STEP = 1e-6  # in log-odds: a last linear step of this length is off by its square
_NEXT_TO_ZERO = 1e-280
# log-odds beyond which the probability on one side is below the rounding of that on the other
_MAX_LOG_ODDS = 36.0


@torch.no_grad()
def shortest_interval(dist: "Univariate", level: float) -> tuple[Tensor, Tensor]:
    """The ends of the shortest interval with the probability `level`, of a distribution in double precision.

    Concrete numbers are searched until they converge, most of them after four or five pairs of
    quantiles; others, which may be traced, by a fixed number of steps.
    """
    number = dist._constant(0.0)
    if not are_plain_numbers(number):
        search = _Search.begun(dist, 1 - level)
        for _ in range(_FIXED_STEPS - 1):
            search = search.step()
        settled, *ends = _at_an_end(dist, 1 - level)
        lower, upper = (
            torch.where(settled, *pair) for pair in zip(ends, search.ends(), strict=True)
        )
        return lower, upper
    rows = dist._flat()
    lower, upper = number.flatten().clone(), number.flatten().clone()
    for start in range(0, len(lower), _ROWS):
        chunk = slice(start, start + _ROWS)
        _fill(rows[chunk], 1 - level, lower[chunk], upper[chunk])
    return lower.reshape(number.shape), upper.reshape(number.shape)


def _fill(dist: "Univariate", outside: float, lower: Tensor, upper: Tensor) -> None:
    """Write the ends of the intervals of all rows."""
    search, rows = _Search.begun(dist, outside), torch.arange(len(lower))
    settled = search.may_reach_an_end()
    if settled.any():
        [doubtful] = settled.nonzero(as_tuple=True)
        settled[doubtful], lower[doubtful], upper[doubtful] = _at_an_end(dist[doubtful], outside)
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


def _at_an_end(dist: "Univariate", outside: float) -> tuple[Tensor, Tensor, Tensor]:
    """Whether the interval begins or ends with the support, and the shorter one of those that do.

    The density at that end is as high as at the other end of the interval then: no other interval
    is denser.
    """
    limits, (first, last) = dist.support_limits(), _numbers_inside(dist)
    some = torch.full_like(first, outside)
    upper, lower = dist._inverse(1 - some, some), dist._inverse(some, 1 - some)
    falls = dist.log_prob(first) >= dist.log_prob(upper.clamp(first, last))
    rises = dist.log_prob(last) >= dist.log_prob(lower.clamp(first, last))
    at_first = falls & ~(rises & (limits[1] - lower < upper - limits[0]))
    return (
        falls | rises,
        torch.where(at_first, limits[0], lower),
        torch.where(at_first, upper, limits[1]),
    )


def _numbers_inside(dist: "Univariate") -> tuple[Tensor, Tensor]:
    """Numbers next to the ends of the support; next to 0 one of which families can still take a fraction."""
    first, last = dist.support_limits()
    after, before = torch.nextafter(first, last), torch.nextafter(last, first)
    return torch.where(first == 0, _NEXT_TO_ZERO, after), torch.where(
        last == 0, -_NEXT_TO_ZERO, before
    )


@dataclass(frozen=True)
class _Search:
    """A secant method for the interval whose ends are equally dense.

    Against the log-odds of the probability below to that above the interval the difference of the
    log-densities at its ends is nearly straight.

    Attributes:
        first, last: the numbers next to the ends of the support, for which quantiles that round to
            those ends are taken.
        odds: the log-odds in question; `least` and `most` enclose those in search.
        gap: log-density at the lower end less that at the upper one, negative where the interval
            must move up.
        slope: of the gap against the log-odds.
        lower, upper, at_lower, at_upper: the ends, and their log-densities.
        rests: whether the last step did not move the ends, as next to an end of the support, where
            numbers are far apart.
    """

    dist: "Univariate"
    outside: float
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
    def begun(cls, dist: "Univariate", outside: float) -> Self:
        """With as much probability below as above, and the slope that a normal distribution has there."""
        odds, (first, last) = dist._constant(0.0), _numbers_inside(dist)
        z = -ndtri(torch.full_like(odds, 0.5 * outside))
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
        """The search of these rows alone."""
        numbers = [part[rows] for part in vars(self).values() if isinstance(part, Tensor)]
        return type(self)(self.dist[rows], self.outside, *numbers)

    def may_reach_an_end(self) -> Tensor:
        """Not where the density at each end of the support is lower than at the ends in the middle: there it is lowest."""
        return (self.dist.log_prob(self.first) >= self.at_upper) | (
            self.dist.log_prob(self.last) >= self.at_lower
        )

    def is_done(self) -> Tensor:
        """Where the gap is next to nothing, or one of the probabilities does not matter any more."""
        beyond = (self.most <= -_MAX_LOG_ODDS) | (self.least >= _MAX_LOG_ODDS)
        return (self.gap.abs() <= _LAST_STEP * self.slope) | beyond | self.rests | self.gap.isnan()

    def ends(self) -> tuple[Tensor, Tensor]:
        """The ends, after a last linear step where that is short."""
        step = -self.gap / self.slope
        share = self.outside * self.odds.sigmoid() * (-self.odds).sigmoid() * step
        close = step.abs() <= _LAST_STEP
        lower = self.lower + torch.where(close, share * torch.exp(-self.at_lower), 0.0)
        upper = self.upper + torch.where(close, share * torch.exp(-self.at_upper), 0.0)
        first, last = self.dist.support_limits()
        lower = torch.where((self.most <= -_MAX_LOG_ODDS) & first.isfinite(), first, lower)
        return lower, torch.where((self.least >= _MAX_LOG_ODDS) & last.isfinite(), last, upper)


def _ends_and_heights(
    dist: "Univariate", outside: float, odds: Tensor, first: Tensor, last: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The interval's ends at these log-odds, and the log-densities there."""
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
    """The difference of the log-densities, and the log-odds that enclose those in search once it is known."""
    gap = (at_lower - at_upper).clamp(-700, 700)
    moves_up = gap < 0
    return gap, torch.where(moves_up, odds, least), torch.where(moves_up, most, odds)
