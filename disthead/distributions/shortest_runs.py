"""The shortest runs of integers with a given probability, for concrete numbers.

What concrete numbers are is defined by `eager.are_concrete`.
"""

from typing import Any

import torch
from torch import Tensor

from disthead.distributions.mass_tables import MAX_TABLE_WIDTH, grouped_by_width

__all__ = ["SeveralPeaks", "shortest_runs", "shortest_runs_of"]

_ROUNDING = 1e-15  # by how much the probability of a run may miss the level
_STEPS = 60
_TABLE_ERROR = 1e-13  # of sums over a table


def shortest_runs(dist: Any, level: float) -> tuple[Tensor, Tensor]:
    """The first and the last integers (rows,) of the shortest runs, for counts with one peak.

    The run from each first integer ends where it reaches the level. The shortest run has about the
    same mass at both ends. A secant method, or halving, finds it approximately, and `_settled` the
    exact run next to it.

    Args:
        dist: counts in a batch of one dimension.
        level: the probability of the run.
    """
    first, last = (end.to(torch.float64) for end in dist.interval(level))
    mode, least = dist.mode.to(torch.float64), dist.support_limits()[0]
    # `low` is too early a first integer, `high` too late
    low = torch.maximum(mode - (last - first), least) - 1
    high = torch.maximum(torch.minimum(mode, last), low + 1) + 1
    start = torch.minimum(torch.maximum(first, low + 1), high - 1)
    # For a normal distribution the difference of the log-masses at both ends has this slope.
    slope = (
        4
        * torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)) ** 2
        / (last - first + 1)
    )
    before = before_gap = torch.full_like(low, torch.nan)
    rows = torch.arange(len(low))
    for step in range(_STEPS):
        part = dist if len(rows) == len(first) else dist[rows]
        target = part.cdf(start - 1) + level - _ROUNDING
        possible = target < 1 - _ROUNDING
        goal = torch.where(possible, target, level)
        stop = part._least_by_search(goal, goal, 1 - goal)
        gap = part._log_mass(start) - part._log_mass(stop)
        first[rows] = torch.where(possible, start, first[rows])
        last[rows] = torch.where(possible, stop, last[rows])
        is_late = (gap >= 0) | ~possible
        low, high = torch.where(is_late, low, start), torch.where(is_late, start, high)
        secant = (gap - before_gap) / (start - before)
        slope = torch.where((secant > 0) & (secant < torch.inf), secant, slope)
        before, before_gap = start, gap
        following = (start - gap / slope).round()
        following = torch.where(
            following == start, torch.where(is_late, start - 1, start + 1), following
        )
        middle, halve = ((low + high) / 2).floor(), torch.tensor(step % 3 == 2)
        start = torch.where(
            ~possible | following.isnan() | halve,
            middle,
            torch.minimum(torch.maximum(following, low + 1), high - 1),
        )
        still = (high - low > 1).nonzero().squeeze(-1)
        if not len(still):
            break
        state = (rows, low, high, start, before, before_gap, slope)
        rows, low, high, start, before, before_gap, slope = (value[still] for value in state)
    return _settled(dist, first, last, level)


def _settled(dist: Any, first: Tensor, last: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """The shortest runs near the given ones.

    Runs move towards higher masses, then shrink or grow by one integer at a time.
    """
    least, most = dist.support_limits()
    rows = torch.arange(len(first))
    left, right = first.clone(), last.clone()
    while len(rows):
        part = dist if len(rows) == len(first) else dist[rows]
        ends = torch.stack([left - 1, left, right, right + 1])
        inside = (ends >= least[rows]) & (ends <= most[rows])
        mass = torch.where(inside, part._log_mass(torch.where(inside, ends, left)), -torch.inf)
        to_left = (mass[0] >= mass[2]) & inside[0]
        to_right = (mass[3] > mass[1]) & ~to_left
        move = to_right.double() - to_left.double()
        left, right = left + move, right + move
        settled = move == 0
        enough = part.cdf(right) - part.cdf(left - 1) >= level - _ROUNDING
        # A run that is too short gets its more probable neighbour. Another one loses its less
        # probable end, if it still reaches the level.
        cut_left = mass[1] < mass[2]
        shorter = torch.where(cut_left, left + 1, left), torch.where(cut_left, right, right - 1)
        still_enough = part.cdf(shorter[1]) - part.cdf(shorter[0] - 1) >= level - _ROUNDING
        shrink = settled & enough & still_enough & (right > left)
        grow = settled & ~enough
        by_left = mass[0] >= mass[3]
        left = torch.where(shrink, shorter[0], torch.where(grow & by_left, left - 1, left))
        right = torch.where(shrink, shorter[1], torch.where(grow & ~by_left, right + 1, right))
        first[rows], last[rows] = left, right
        still = (~settled | shrink | grow).nonzero().squeeze(-1)
        rows, left, right = rows[still], left[still], right[still]
    return first, last


def shortest_runs_of(
    dist: Any, masses: Tensor, first: Tensor, level: float
) -> tuple[Tensor, Tensor]:
    """The shortest runs (rows,) of counts with any number of peaks, from a table of their masses.

    Of several runs of the same length, it is the most probable one.

    Args:
        dist: counts in a batch of one dimension.
        masses: shape (rows, width).
        first: the integer at which each row of the table starts, shape (rows,).
        level: the probability of the run.
    """
    ends = _shortest_in_table(masses, first, level - _TABLE_ERROR)
    enough = dist.cdf(ends[1]) - dist.cdf(ends[0] - 1) >= level - _ROUNDING
    if bool(enough.all()):
        return ends
    sure = _shortest_in_table(masses, first, level + _TABLE_ERROR)
    return tuple(torch.where(enough, end, other) for end, other in zip(ends, sure, strict=True))


def _shortest_in_table(masses: Tensor, first: Tensor, level: float) -> tuple[Tensor, Tensor]:
    through = masses.cumsum(1)
    before = through - masses
    stop = torch.searchsorted(through, before + level)  # `width` where the level is not reached
    width = masses.shape[1]
    length = torch.where(stop < width, stop - torch.arange(width), width)
    least = length.amin(1, keepdim=True)
    held = through.gather(1, stop.clamp(max=width - 1)) - before
    start = torch.where(length == least, held, -1.0).argmax(1)
    return first + start, first + start + least.squeeze(1)


class SeveralPeaks:
    """The shortest runs of counts with any number of peaks, instead of those of `Discrete`."""

    batch_shape: Any
    dtype: Any
    device: Any
    _flat: Any
    _constant: Any
    icdf: Any
    cdf: Any

    def _run_by_search(self, level: float) -> tuple[Tensor, Tensor]:
        """The shortest run, from a table of masses where that is narrow, else from quantiles."""
        flat: Any = self._flat()
        first, last = flat._bulk()
        ends = torch.empty(2, len(first), dtype=first.dtype)
        groups, wide_rows = grouped_by_width(
            first, last, MAX_TABLE_WIDTH, flat._numbers_of_a_mass()
        )
        for at, width in groups:
            part = flat[at]
            ends[:, at] = torch.stack(
                shortest_runs_of(part, part._masses(first[at], width), first[at], level)
            )
        if len(wide_rows):
            ends[:, wide_rows] = torch.stack(flat[wide_rows]._run_by_halving(level))
        return tuple(end.reshape(self.batch_shape) for end in ends)

    def _run_by_halving(self, level: float) -> tuple[Tensor, Tensor]:
        """The shortest of the runs that start at one of 257 quantiles.

        Every integer with a probability above (1 - level) / 256 is among them.
        """
        below = torch.linspace(0, 1 - level, 257, dtype=self.dtype, device=self.device)
        lower = self.icdf(
            below.clamp(min=1e-15).reshape((-1,) + (1,) * len(self.batch_shape))
            + self._constant(0.0)
        )
        upper = self.icdf((self.cdf(lower - 1) + level).clamp(max=1 - 1e-15))
        enough = self.cdf(upper) - self.cdf(lower - 1) >= level - 1e-12
        shortest = torch.where(enough, upper - lower, torch.inf).argmin(0, keepdim=True)
        return tuple(end.gather(0, shortest).squeeze(0) for end in (lower, upper))
