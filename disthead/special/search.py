"""Roots and peaks of functions that cost much more than arithmetic."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .inverse import halfway

__all__ = ["following", "highest", "highest_of_each", "interpolated_roots"]

# How far a root by interpolation is trusted, from how much the fourth point changes it: at least this part of the third one's change,
# since a fourth point may change nothing by chance; at most this part of the bracket, since values say little where a function is flat.
_SMOOTH = 1e-3
_CERTAIN = 1e-4
_NOISE = 50.0  # times its stated rounding, by which a function may be off
_HALVINGS = 4  # of the bracket, before its exponent is halved instead, which reaches 0 sooner


@torch.no_grad()
def interpolated_roots(
    function: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    value: Tensor,
    rounding: Tensor,
    trusted: float = 1e-14,
    steps: int = 250,
) -> Tensor:
    """The roots of increasing functions, one for each element, to within the rounding of their values.

    Each step is inverse interpolation through two known points on each side of the root, or halves the bracket where the last
    one was no progress. Elements that have converged are not evaluated again.

    Args:
        function: the values at x (n,) of the functions with the given indices (n,), which are in order.
        x, value: two points below each root and two above, in order, with their values, (4, elements). A point that is not known
            repeats its neighbour. Values may be infinite.
        rounding: a value of at most this size counts as 0, (elements,).
        trusted: the change of value by the fourth point up to which a root is returned without an evaluation there.
        steps: the greatest number of evaluations of one element; the default leaves room for jumps.

    Returns:
        The roots, (elements,).

    >>> x = torch.tensor([[0.0], [0.0], [4.0], [4.0]], dtype=torch.float64)
    >>> interpolated_roots(lambda x, element: x**3 - 8, x, x**3 - 8, torch.tensor([1e-15])).tolist()
    [2.0]
    """
    root, done = following(x, value, trusted)
    element, y = torch.arange(x.shape[1]), root
    halved, halvings = torch.zeros_like(done), torch.zeros_like(element)
    for _ in range(steps):
        remaining = (~done).nonzero().squeeze(-1)
        if not remaining.numel():
            break
        element, y, halved, halvings = (part[remaining] for part in (element, y, halved, halvings))
        x, value, allowed = x[:, remaining], value[:, remaining], rounding[element]
        reached, nearest = function(y, element), torch.minimum(-value[1], value[2])
        x, value = _inserted(x, value, y, reached)
        slow = reached.abs() > 0.5 * nearest
        halved = slow & ~halved
        halvings = halvings + halved
        estimate, done = following(x, value, trusted, halved, halvings > _HALVINGS)
        at_root, just_below = reached.abs() <= allowed, slow & (-value[1] <= _NOISE * allowed)
        y = torch.where(at_root, y, torch.where(just_below, x[1], estimate))
        done = done | at_root | just_below
        root[element] = y
    return root


def _inserted(x: Tensor, value: Tensor, new: Tensor, reached: Tensor) -> tuple[Tensor, Tensor]:
    """The window of four with the new point in the place of the farthest on its side."""
    below = reached < 0
    points = []
    for old, added in ((x, new), (value, reached)):
        low = torch.where(below, old[1], old[0]), torch.where(below, added, old[1])
        high = torch.where(below, old[2], added), torch.where(below, old[3], old[2])
        points.append(torch.stack([*low, *high]))
    return points[0], points[1]


def following(
    x: Tensor, value: Tensor, trusted: float, halve: Tensor | None = None, by_magnitude: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The next point between two points below a root and two above, (4, ...), and whether it is the root already.

    Args:
        x, value, trusted: as for `interpolated_roots`.
        halve: where the bracket is halved without interpolation.
        by_magnitude: where it is halved in the exponent (`halfway`).
    """
    lower, upper = x[1], x[2]
    y, change = _inverse_interpolation(x, value)
    inside = (y > lower) & (y < upper)
    if halve is not None:
        inside = inside & ~halve
    width = upper - lower
    found = inside & (change * (value[2] - value[1]) <= trusted * width) & (change <= _CERTAIN * width)
    found = found & (value[2] > 10 * trusted)  # else it may be flat up to there
    middle = lower / 2 + upper / 2
    if by_magnitude is not None and bool(by_magnitude.any()):
        middle = torch.where(by_magnitude, halfway(lower, upper), middle)
    between = (middle > lower) & (middle < upper)
    return torch.where(inside, y, torch.where(between, middle, upper)), found | ~(inside | between)


def _inverse_interpolation(x: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The x at the value 0 of the polynomial in the value through four points, (4, ...), and how much the last point changes it.

    Points that are not known repeat their neighbours and are left out.
    """
    is_new = [(x[far] != x[near]) & (value[far] != value[near]) for far, near in ((0, 1), (3, 2))]
    swap = torch.where(is_new[0], -value[0], math.inf) > torch.where(is_new[1], value[3], math.inf)
    x0, x1, f0, f1 = x[1], x[2], value[1], value[2]
    x2, x3 = torch.where(swap, x[3], x[0]), torch.where(swap, x[0], x[3])
    f2, f3 = torch.where(swap, value[3], value[0]), torch.where(swap, value[0], value[3])
    first, second, third = (x1 - x0) / (f1 - f0), (x2 - x1) / (f2 - f1), (x3 - x2) / (f3 - f2)
    bend, next_bend = (second - first) / (f2 - f0), (third - second) / (f3 - f1)
    by_three, by_four = f0 * f1 * bend, f0 * f1 * f2 * (next_bend - bend) / (f3 - f0)
    y, change = x0 - f0 * first, torch.full_like(x0, math.inf)
    known = by_three.isfinite() & f2.isfinite() & (is_new[0] | is_new[1])
    y, change = torch.where(known, y + by_three, y), torch.where(known, by_three.abs(), change)
    known = known & by_four.isfinite() & f3.isfinite() & is_new[0] & is_new[1]
    y = torch.where(known, y - by_four, y)
    return y, torch.where(known, torch.maximum(by_four.abs(), _SMOOTH * change), change)


# Peaks by the method of Brent (1973): a step to the vertex of the parabola through the three highest points that are known, or a
# golden section where that step does not converge quickly.

_GOLDEN_REST = (3 - math.sqrt(5)) / 2
_CLIMBS = 40
_NEAR = 1e-6  # of the distance of the outer points: nearer ones have the same height within rounding


class _Climb(NamedTuple):
    """The state of the search: a bracket, the three highest points with their heights, the last two steps, and the least step."""

    left: Tensor
    right: Tensor
    x: Tensor  # the highest point, and the two next
    second: Tensor
    third: Tensor
    height: Tensor
    second_height: Tensor
    third_height: Tensor
    step: Tensor
    before: Tensor
    near: Tensor

    @classmethod
    def begun(cls, points: Tensor, heights: Tensor) -> "_Climb":
        (left, x, right), (left_height, height, right_height) = points, heights
        is_left = left_height >= right_height
        nearer, farther = torch.where(is_left, left, right), torch.where(is_left, right, left)
        lower = torch.minimum(left_height, right_height), torch.maximum(left_height, right_height)
        width = right - left
        near = _NEAR * width + torch.finfo(x.dtype).eps * x.abs()
        return cls(left, right, x, nearer, farther, height, lower[1], lower[0], width, width, near)

    def vertex(self) -> Tensor:
        """How far from the highest point that of the parabola is."""
        to_second = (self.x - self.second) * (self.height - self.third_height)
        to_third = (self.x - self.third) * (self.height - self.second_height)
        return -0.5 * ((self.x - self.second) * to_second - (self.x - self.third) * to_third) / (to_second - to_third)

    def following(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where to look next, and the last two steps."""
        vertex = self.vertex()
        ahead, from_middle = self.x + vertex, self.x < 0.5 * (self.left + self.right)
        follow = (ahead > self.left) & (ahead < self.right) & (vertex.abs() < 0.5 * self.before.abs())
        longer = torch.where(from_middle, self.right, self.left) - self.x
        step = torch.where(follow, vertex, _GOLDEN_REST * longer)
        step = torch.where(step.abs() < self.near, torch.where(from_middle, self.near, -self.near), step)
        return self.x + step, step, self.step

    def after(self, y: Tensor, height: Tensor, step: Tensor, before: Tensor) -> "_Climb":
        higher, forward = height >= self.height, step > 0
        left = torch.where(higher & forward, self.x, torch.where(higher | forward, self.left, y))
        right = torch.where(higher & ~forward, self.x, torch.where(higher | ~forward, self.right, y))
        is_second = ~higher & (height >= self.second_height)
        is_third = ~higher & ~is_second & (height >= self.third_height)
        moves = higher | is_second
        return _Climb(
            left,
            right,
            torch.where(higher, y, self.x),
            torch.where(higher, self.x, torch.where(is_second, y, self.second)),
            torch.where(moves, self.second, torch.where(is_third, y, self.third)),
            torch.where(higher, height, self.height),
            torch.where(higher, self.height, torch.where(is_second, height, self.second_height)),
            torch.where(moves, self.second_height, torch.where(is_third, height, self.third_height)),
            step,
            before,
            self.near,
        )

    def is_done(self) -> Tensor:
        middle, half = 0.5 * (self.left + self.right), 0.5 * (self.right - self.left)
        return ~((self.x - middle).abs() > 2 * self.near - half)


@torch.no_grad()
def highest(function: Callable[[Tensor], Tensor], points: Tensor, heights: Tensor) -> Tensor:
    """The x at which a function with one peak between the outer two of three points is highest, by a fixed number of steps.

    Args:
        function: elementwise, of x of shape (...).
        points, heights: x in order and the function's values, (3, ...), of which the middle one is highest.

    >>> points = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    >>> round(highest(lambda x: -((x - 2) ** 2), points, -((points - 2) ** 2)).item(), 6)
    2.0
    """
    climb = _Climb.begun(points, heights)
    for _ in range(_CLIMBS):
        y, *steps = climb.following()
        climb = climb.after(y, function(y), *steps)
    return climb.x


@torch.no_grad()
def highest_of_each(
    function: Callable[[Tensor, Tensor], Tensor], points: Tensor, heights: Tensor, group: Tensor
) -> Tensor:
    """As `highest`, for concrete numbers: elements that have converged, or will not be highest in their group, are not evaluated.

    Args:
        function: the values at x (n,) of the functions with the given indices (n,).
        points, heights: as for `highest`, (3, elements).
        group: the number of each element's group, from 0 on, (elements,); of a group only the highest peak is wanted.
    """
    climb = _Climb.begun(points, heights)
    found = climb.x.clone()
    flat = (climb.height - torch.minimum(heights[0], heights[2])).clamp(max=1.0)
    best = torch.full((int(group.max()) + 1 if group.numel() else 0,), -math.inf, dtype=points.dtype)
    best = best.scatter_reduce(0, group, climb.height, "amax")
    hopeful = ~(climb.height + flat < best[group])
    element = torch.arange(len(found))
    done = climb.is_done() | ~hopeful
    for _ in range(_CLIMBS):
        remaining = (~done).nonzero().squeeze(-1)
        if not remaining.numel():
            break
        element, climb = element[remaining], _Climb(*(part[remaining] for part in climb))
        y, *steps = climb.following()
        climb = climb.after(y, function(y, element), *steps)
        found[element] = climb.x
        done = climb.is_done()
    return found
