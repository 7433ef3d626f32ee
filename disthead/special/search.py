"""Roots and peaks of functions that cost much more than arithmetic."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .inverse import halfway

__all__ = ["estimated_roots", "highest", "highest_of_each", "interpolated_roots"]

Array = np.ndarray[Any, Any]
Terms = list[tuple[Array, Array]]
# The error of an interpolated root is estimated by how much the last term changes it. The estimate
# is at least this part of the change by the term before, since a term may vanish by chance. A root
# is accepted if the estimate is at most that part of the bracket, since values say little where a
# function is flat.
_LEAST_CHANGE = 1e-3
_GREATEST_CHANGE = 1e-4
_FLAT = 1e-13  # a function may be flat where its value above the root is no more than this
_NOISE = 50.0  # a function may be off by this many times its stated rounding
_HALVINGS = 4  # of the bracket, before its exponent is halved instead, which reaches 0 sooner


@np.errstate(all="ignore")  # unknown points are nan
def interpolated_roots(
    function: Callable[[Array, Array], tuple[Array, Array]],
    known: Array,
    rounding: Array,
    trusted: float = 1e-14,
    reach: Array | None = None,
    steps: int = 250,
) -> Array:
    """The roots of increasing functions, one per element, to within the rounding of their values.

    Each step is inverse interpolation through three known points with their slopes, or halves the
    bracket where that makes no progress. Elements that have converged are not evaluated again.

    Args:
        function: takes x and the rising indices of elements, both of shape (n,), and returns the
            values of these elements' functions at x and the rates dx / dvalue, both of shape (n,).
        known: of shape (13, elements): x, value and rate of three points, the nearest to the root
            first, then x and value of a point below the root and of a point above it. Values may be
            infinite; unknown points are nan.
        rounding: a value of at most this size counts as 0, shape (elements,).
        trusted: the estimated value up to which a root is returned without an evaluation there.
        reach: the distance from a point within which the functions are surely smooth, shape
            (elements,). Within it a root is accepted that has points on one side only.
        steps: the greatest number of evaluations of one element; the default leaves room for jumps.

    Returns:
        The roots, of shape (elements,).

    >>> known = np.array([[1.0, -7.0, 1 / 3, *[math.nan] * 6, 1.0, -7.0, 4.0, 56.0]]).T
    >>> cubes = lambda x, element: (x**3 - 8, 1 / (3 * x**2))
    >>> interpolated_roots(cubes, known, np.array([1e-15])).round(12).tolist()
    [2.0]
    """
    state = np.concatenate(
        [known, rounding[None], (np.zeros_like(rounding) if reach is None else reach)[None]]
    )
    root, done = _following(state, trusted, None)
    element, y = np.arange(len(root)), root.copy()
    was_slow, halvings = np.zeros(len(root), bool), np.zeros(len(root), int)
    for _ in range(steps):
        remaining = np.flatnonzero(~done)
        if not len(remaining):
            break
        if len(remaining) < len(done):
            element, y, was_slow, halvings = (
                part[remaining] for part in (element, y, was_slow, halvings)
            )
            state = np.take(state, remaining, 1)
        reached, rate = function(y, element)
        distance = np.abs(reached)
        slow = distance > 0.5 * np.minimum(-state[10], state[12])
        _insert(state, y, reached, rate)
        halve = slow & was_slow
        was_slow = slow
        halvings += halve
        y_after, done = _following(
            state, trusted, (halve, halvings > _HALVINGS) if halve.any() else None
        )
        at_root = distance <= state[13]
        if slow.any():
            just_below = slow & (-state[10] <= _NOISE * state[13])
            y_after = np.where(just_below, state[9], y_after)
            done |= just_below
        y = np.where(at_root, y, y_after)
        done |= at_root
        root[element] = y
    return root


def _insert(state: Array, y: Array, value: Array, rate: Array) -> None:
    """Insert the new points among the known ones."""
    state[3:9] = state[0:6]
    state[0], state[1], state[2] = y, value, rate
    [farther] = np.nonzero(np.abs(value) > np.abs(state[4]))
    if len(farther):
        state[:6, farther] = np.concatenate([state[3:6, farther], state[0:3, farther]])
    below = value < 0
    for end, is_new in ((9, below), (11, ~below)):
        np.copyto(state[end], y, where=is_new)
        np.copyto(state[end + 1], value, where=is_new)


def estimated_roots(known: Array) -> Array:
    """The first points, of shape (...), that `interpolated_roots` would try.

    `known`, of shape (13, ...), is as for `interpolated_roots`.
    """
    with np.errstate(all="ignore"):
        return _following(known.reshape(13, -1), 0.0, None)[0].reshape(known.shape[1:])


def _following(
    state: Array, trusted: float, halve: tuple[Array, Array] | None
) -> tuple[Array, Array]:
    """The next points within the brackets, and whether they are accepted as roots.

    Args:
        state: of shape (15, elements): the known points as for `interpolated_roots`, the rounding
            and the reach.
        trusted: as for `interpolated_roots`.
        halve: two masks, of the elements whose bracket is halved without interpolation and of those
            whose bracket is halved in the exponent (`halfway`); None if there are no such elements.
    """
    lower, upper, at_upper = state[9], state[11], state[12]
    y, change, is_sure = _inverse_interpolation(state[:9], lower, upper)
    if halve is not None:
        y[halve[0]] = np.nan
    width = upper - lower
    # the smaller rate, since the value may change quickly between the two points
    rate = np.fmin(state[2], np.abs((state[3] - state[0]) / (state[4] - state[1])))
    is_root = is_sure & (change <= trusted * rate) & (change <= _GREATEST_CHANGE * width)
    is_root &= at_upper > _FLAT
    if is_root.any():
        is_root &= (state[1] * state[4] < 0) | (np.abs(y - state[0]) <= state[14])
    outside = np.flatnonzero(np.isnan(y))
    if len(outside):
        low, high = lower[outside], upper[outside]
        middle = low / 2 + high / 2
        if halve is not None and halve[1].any():
            middle = np.where(
                halve[1][outside], halfway(*map(torch.from_numpy, (low, high))).numpy(), middle
            )
        between = (middle > low) & (middle < high)
        y[outside] = np.where(between, middle, high)
        is_root[outside] = ~between
    return y, is_root


def _inverse_interpolation(points: Array, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
    """The x at value 0 of polynomials in the value that interpolate the points and their rates.

    They pass through three points, two or one, as many as lead between the limits. Where the rate
    of the nearest point is unknown, they pass through three points or two without rates. Returns x,
    nan where it is not between the limits, how much the last term changes it, and whether the
    polynomial is of second degree or higher.
    """
    answers = _highest_inside(*_with_rates(points), lower, upper)
    lacking = np.flatnonzero(~np.isfinite(points[2]))
    if len(lacking):
        instead = _highest_inside(
            *_without_rates(points[:, lacking]), lower[lacking], upper[lacking]
        )
        for answer, other in zip(answers, instead, strict=True):
            answer[lacking] = other
    return answers


def _with_rates(points: Array) -> tuple[Array, Terms]:
    """Newton's form of Hermite interpolation at 0: the linear value, and pairs of further terms.

    The first pair is that of two points, the second that of three.
    """
    (x1, x2, x3), (v1, v2, v3), rates = points[0::3], points[1::3], points[2::3]
    from_1_to_2, from_2_to_3, from_1_to_3 = v2 - v1, v3 - v2, v3 - v1
    slopes = rates[0], (x2 - x1) / from_1_to_2, rates[1], (x3 - x2) / from_2_to_3, rates[2]
    # divided differences of second and higher order
    second = [(slopes[1] - slopes[0]) / from_1_to_2, (slopes[2] - slopes[1]) / from_1_to_2]
    third = [(second[1] - second[0]) / from_1_to_2]
    square = v1 * v1
    terms = [(square * second[0], -square * v2 * third[0])]
    if np.isfinite(v3).any():
        second += [(slopes[3] - slopes[2]) / from_2_to_3, (slopes[4] - slopes[3]) / from_2_to_3]
        third += [(second[2] - second[1]) / from_1_to_3, (second[3] - second[2]) / from_2_to_3]
        fourth = [(third[1] - third[0]) / from_1_to_3, (third[2] - third[1]) / from_1_to_3]
        square *= v2 * v2
        terms.append((square * fourth[0], -square * v3 * ((fourth[1] - fourth[0]) / from_1_to_3)))
    return x1 - v1 * slopes[0], terms


def _without_rates(points: Array) -> tuple[Array, Terms]:
    (x1, x2, x3), (v1, v2, v3) = (
        points[0::3],
        np.where(np.isinf(points[1::3]), np.nan, points[1::3]),
    )
    slopes = (x2 - x1) / (v2 - v1), (x3 - x2) / (v3 - v2)
    return x1 - v1 * slopes[0], [
        (np.zeros_like(v1), v1 * v2 * ((slopes[1] - slopes[0]) / (v3 - v1)))
    ]


def _highest_inside(
    y: Array, terms: Terms, lower: Array, upper: Array
) -> tuple[Array, Array, Array]:
    """The sum with as many terms as stay within the limits, and the change by its last term.

    Returns also whether the sum has any of the terms.
    """
    best = np.where((y > lower) & (y < upper), y, np.nan)
    change, is_sure = np.full_like(y, np.inf), np.zeros(len(y), bool)
    for before, last in terms:
        y = y + (before + last)
        is_inside = (y > lower) & (y < upper)
        np.copyto(best, y, where=is_inside)
        np.copyto(change, np.maximum(np.abs(last), _LEAST_CHANGE * np.abs(before)), where=is_inside)
        is_sure |= is_inside
    return best, change, is_sure


# Peaks by the method of Brent (1973): a step to the vertex of the parabola through the three
# highest known points, or a golden section where that step does not converge quickly.

_GOLDEN_SECTION = (3 - math.sqrt(5)) / 2
_PEAK_STEPS = 40
# relative to the distance of the outer points: nearer points have equal heights within rounding
_LEAST_STEP = 1e-6


class _PeakSearch(NamedTuple):
    """The state of the search for peaks."""

    left: Tensor  # the bracket
    right: Tensor
    x: Tensor  # the three highest points
    second: Tensor
    third: Tensor
    height: Tensor  # their heights
    second_height: Tensor
    third_height: Tensor
    step: Tensor  # the last step and the one before
    before: Tensor
    least_step: Tensor

    @classmethod
    def begun(cls, points: Tensor, heights: Tensor) -> "_PeakSearch":
        (left, x, right), (left_height, height, right_height) = points, heights
        is_left = left_height >= right_height
        nearer, farther = torch.where(is_left, left, right), torch.where(is_left, right, left)
        second_height = torch.maximum(left_height, right_height)
        third_height = torch.minimum(left_height, right_height)
        width = right - left
        least_step = _LEAST_STEP * width + torch.finfo(x.dtype).eps * x.abs()
        places = left, right, x, nearer, farther
        return cls(*places, height, second_height, third_height, width, width, least_step)

    def vertex(self) -> Tensor:
        """The distance from the highest point to the vertex of the parabola."""
        to_second = (self.x - self.second) * (self.height - self.third_height)
        to_third = (self.x - self.third) * (self.height - self.second_height)
        return (
            -0.5
            * ((self.x - self.second) * to_second - (self.x - self.third) * to_third)
            / (to_second - to_third)
        )

    def following(self) -> tuple[Tensor, Tensor, Tensor]:
        """The next point, and the last two steps."""
        vertex = self.vertex()
        ahead, from_middle = self.x + vertex, self.x < 0.5 * (self.left + self.right)
        is_inside = (ahead > self.left) & (ahead < self.right)
        is_accepted = is_inside & (vertex.abs() < 0.5 * self.before.abs())
        longer = torch.where(from_middle, self.right, self.left) - self.x
        step = torch.where(is_accepted, vertex, _GOLDEN_SECTION * longer)
        least_step = torch.where(from_middle, self.least_step, -self.least_step)
        step = torch.where(step.abs() < self.least_step, least_step, step)
        return self.x + step, step, self.step

    def after(self, y: Tensor, height: Tensor, step: Tensor, before: Tensor) -> "_PeakSearch":
        higher, forward = height >= self.height, step > 0
        left = torch.where(higher & forward, self.x, torch.where(higher | forward, self.left, y))
        right = torch.where(
            higher & ~forward, self.x, torch.where(higher | ~forward, self.right, y)
        )
        is_second = ~higher & (height >= self.second_height)
        is_third = ~higher & ~is_second & (height >= self.third_height)
        moves = higher | is_second
        return _PeakSearch(
            left,
            right,
            torch.where(higher, y, self.x),
            torch.where(higher, self.x, torch.where(is_second, y, self.second)),
            torch.where(moves, self.second, torch.where(is_third, y, self.third)),
            torch.where(higher, height, self.height),
            torch.where(higher, self.height, torch.where(is_second, height, self.second_height)),
            torch.where(
                moves, self.second_height, torch.where(is_third, height, self.third_height)
            ),
            step,
            before,
            self.least_step,
        )

    def is_done(self) -> Tensor:
        middle, half = 0.5 * (self.left + self.right), 0.5 * (self.right - self.left)
        return ~((self.x - middle).abs() > 2 * self.least_step - half)


@torch.no_grad()
def highest(function: Callable[[Tensor], Tensor], points: Tensor, heights: Tensor) -> Tensor:
    """The x at which a function is highest, by a fixed number of steps.

    The function has one peak between the outer two of three points. Source: Brent (1973).

    Args:
        function: an elementwise function of x of shape (...).
        points: three rising x, shape (3, ...).
        heights: the function's values there, shape (3, ...); the middle one is the highest.

    Returns:
        The x, of shape (...).

    >>> points = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    >>> round(highest(lambda x: -((x - 2) ** 2), points, -((points - 2) ** 2)).item(), 6)
    2.0
    """
    search = _PeakSearch.begun(points, heights)
    for _ in range(_PEAK_STEPS):
        y, *steps = search.following()
        search = search.after(y, function(y), *steps)
    return search.x


@torch.no_grad()
def highest_of_each(
    function: Callable[[Tensor, Tensor], Tensor], points: Tensor, heights: Tensor, group: Tensor
) -> Tensor:
    """The x at which each of several functions is highest, as by `highest`, for concrete numbers.

    Elements that have converged, or whose peak will not be the highest one of their group, are not
    evaluated.

    Args:
        function: takes x and indices of elements, both of shape (n,), and returns the values of
            these elements' functions at x, of shape (n,).
        points: as for `highest`, shape (3, elements).
        heights: as for `highest`, shape (3, elements).
        group: the number of each element's group, from 0 on, shape (elements,). Only the highest
            peak of each group is exact.

    Returns:
        The x, of shape (elements,).
    """
    search = _PeakSearch.begun(points, heights)
    result = search.x.clone()
    rise = (search.height - torch.minimum(heights[0], heights[2])).clamp(max=1.0)
    best = torch.full(
        (int(group.max()) + 1 if group.numel() else 0,), -math.inf, dtype=points.dtype
    )
    best = best.scatter_reduce(0, group, search.height, "amax")
    may_be_highest = ~(search.height + rise < best[group])
    element = torch.arange(len(result))
    done = search.is_done() | ~may_be_highest
    for _ in range(_PEAK_STEPS):
        remaining = (~done).nonzero().squeeze(-1)
        if not remaining.numel():
            break
        element, search = element[remaining], _PeakSearch(*(part[remaining] for part in search))
        y, *steps = search.following()
        search = search.after(y, function(y, element), *steps)
        result[element] = search.x
        done = search.is_done()
    return result
