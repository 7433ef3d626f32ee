"""Roots and peaks of functions that cost much more than arithmetic."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .inverse import halfway

__all__ = ["following", "highest", "highest_of_each", "interpolated_roots"]

_SMOOTH = 1e-3  # of what a third point changes counts as what a fourth one does, which may change nothing by chance

_CERTAIN = (
    1e-4  # of the bracket, what a fourth point may change likewise: where the function is flat, values say little
)
_NOISE = 50.0  # more than its stated rounding a function may waver
_HALVINGS = 4  # of the bracket itself, before that of its exponent, which next to 0 takes long


@torch.no_grad()
def interpolated_roots(
    function: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    value: Tensor,
    rounding: Tensor,
    trusted: float = 1e-14,
    steps: int = 250,
) -> Tensor:
    """The root of each element's increasing function, whose values are near enough to 0 within its rounding.

    An element looks next where the inverse polynomial through two known points on each side of its root is 0; where that does
    not bring it much nearer, it halves the bracket. An element that is done is not evaluated again.

    Args:
        function: its values at given x of given elements, indices (n,) in order.
        x, value: (4, n), two points below the root and two above, in order, with their values; what is not known repeats
            its neighbour. Values may be infinite.
        rounding: (n,).
        trusted: what a fourth point may change, in values, of a root that is not looked at; its own error is smaller.
        steps: how often an element is evaluated at most; the default leaves room for jumps.

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
    """Where to look next between two points below a root and two above (4, ...), and whether that is the root already.

    Args:
        halve: where only the middle is considered.
        by_magnitude: where that is the middle of the exponents.
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
    """Where the polynomial through four points (4, ...), x as a function of its value, is at 0; and what the last points change.

    Points that are not known repeat their neighbours; then it is the polynomial through the others.
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


# Peaks, by the parabola through the three highest points that are known, where that leads on quickly, and by golden sections else
# (Brent 1973).

_GOLDEN_REST = (3 - math.sqrt(5)) / 2
_CLIMBS = 40
_NEAR = 1e-6  # of the distance of the outer points: heights tell no more


class _Climb(NamedTuple):
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
    """Where a function is highest that has one peak between the outer of three points (3, ...), by a fixed number of steps.

    Args:
        heights: the function's values at the points, highest in the middle.

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
    """The same for numbers that may be looked at: an element that is done, or has no hope, is not evaluated again.

    Args:
        function: its values at given points of given elements, indices (n,).
        group: elements of one group (n,), from 0 on, of which the highest peak is wanted.
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
