"""Quantiles of mixtures of concrete numbers, by few evaluations of the mixture's cdf.

Several levels share the evaluations.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.component_curves import (
    ABOVE,
    BELOW,
    FAR_BELOW,
    Array,
    ComponentCurves,
    component_curves,
)
from disthead.distributions.components import Components
from disthead.special.eager import extent
from disthead.special.search import estimated_roots, interpolated_roots

__all__ = ["flat", "mixture_quantiles", "one_mixture"]

_CHUNK_ELEMENTS = 1 << 16  # values of all components at the levels of one chunk of rows
_SMALL_TAIL = 0.04  # a smaller tail is computed directly: 1 minus the other one has lost digits
_ROUGH_TOLERANCE = 1e-3  # in log-odds
_LEVELS_BETWEEN = 3  # levels between two others that rough quantiles interpolate
# by which part the range of the components' quantiles is widened, against rounding
_BRACKET_MARGIN = 1e-3
_MAX = torch.finfo(torch.float64).max


def one_mixture(mixture: Components) -> tuple[Tensor, Distribution]:
    """Log-weights (*batch, K) and components of a mixture, with mixtures of mixtures flattened."""
    log_weights, components, dims = (
        mixture.log_weights,
        mixture.components,
        len(mixture.batch_shape),
    )
    while isinstance(components, Components):
        log_weights = (log_weights.unsqueeze(-1) + components.log_weights).flatten(-2)
        components = components.components.map(lambda parameter: parameter.flatten(dims, dims + 1))
    return log_weights, components


def flat(mixture: Components) -> tuple[Tensor, Distribution]:
    """As `one_mixture`, with one batch dimension: log-weights (rows, K), and their components."""
    (log_weights, components), dims = one_mixture(mixture), len(mixture.batch_shape)
    if dims == 1:
        return log_weights, components
    one_row = components.map(lambda parameter: parameter.unsqueeze(0))
    components = one_row.map(lambda parameter: parameter.flatten(0, dims))
    return log_weights.reshape(-1, log_weights.shape[-1]), components


@torch.no_grad()
def mixture_quantiles(
    mixture: Components, below: Tensor, above: Tensor, is_rough: bool = False
) -> Tensor:
    """The least y with P(Y <= y) = below and P(Y > y) = above, of shape (..., *batch).

    Args:
        mixture: a mixture in double precision.
        below: levels, which broadcast with the batch in their last dimensions.
        above: 1 - below.
        is_rough: whether an error of 1e-3 in the log-odds is allowed.
    """
    shape = torch.broadcast_shapes(below.shape, above.shape, mixture.batch_shape)
    log_weights, components = flat(mixture)
    rows, size = log_weights.shape
    if 0 in shape:
        return log_weights.new_empty(shape)
    below, above = (part.expand(shape).reshape(-1, rows) for part in (below, above))
    levels = len(below)
    first = sorted({0, levels // 2, levels - 1})
    is_sorted = levels == 1 or bool((below[1:] >= below[:-1]).all())
    if not is_sorted:
        below, order = below.sort(0)
        above = above.gather(0, order)
    own = components._quantile(below[first].unsqueeze(-1), above[first].unsqueeze(-1)).movedim(
        -1, 1
    )
    limits = [
        limit.expand(mixture.batch_shape).reshape(-1).clamp(-_MAX, _MAX).numpy()
        for limit in mixture.support_limits()
    ]
    curves = component_curves(log_weights, components, min(extent(below)[0], extent(above)[0]))
    arrays = below.numpy(), above.numpy(), own.clamp(-_MAX, _MAX).numpy(), *limits
    length = max(1, _CHUNK_ELEMENTS // max(1, size * levels))
    values = np.empty((levels, rows))
    with np.errstate(all="ignore"):
        for start in range(0, rows, length):
            part = slice(start, start + length)
            values[:, part] = _quantiles(
                curves.chunk(part), first, is_rough, *(array[..., part] for array in arrays)
            )
    result = torch.from_numpy(values)
    if not is_sorted:
        result = torch.empty_like(result).scatter_(0, order, result)
    return result.reshape(shape)


def _quantiles(
    curves: ComponentCurves,
    first: list[int],
    is_rough: bool,
    below: Array,
    above: Array,
    own: Array,
    lower: Array,
    upper: Array,
) -> Array:
    """The quantiles of n mixtures at sorted levels (L, n).

    Levels are compared by their log-odds, which are computed from the smaller tail.

    Args:
        curves: the components.
        first: the indices of the levels to start from.
        is_rough: as in `mixture_quantiles`.
        below: levels, shape (L, n).
        above: 1 - below.
        own: the components' quantiles at the `first` levels, shape (first, K, n).
        lower: the lower end of the support, shape (n,).
        upper: the upper end of the support, shape (n,).
    """
    tail = np.minimum(below, above)
    odds = np.log(tail) - np.log1p(-tail)
    np.negative(odds, out=odds, where=above < below)
    side = np.where(tail > _SMALL_TAIL, BELOW, np.where(below <= above, FAR_BELOW, ABOVE))
    rounding = 4e-15 + 1e-15 * np.abs(odds) + np.where(side == BELOW, 4e-16 / above, 0.0)
    odds -= 2 * rounding  # for the least quantile where the cdf is flat
    start, end = own[0].min(0), own[-1].max(0)
    margin = _BRACKET_MARGIN * (end / 2 - start / 2)
    start = np.maximum(start - (margin + 1e-12 * np.abs(start)), lower)
    end = np.minimum(end + (margin + 1e-12 * np.abs(end)), upper)
    middle = np.clip(np.einsum("kn,lkn->ln", curves.weights, own), start, end)
    table = _Table(curves, start, end)
    table.add(middle, side[first])
    for stage in _stages(first, _LEVELS_BETWEEN if is_rough else 0):
        table.add(estimated_roots(table.around(odds[stage])), side[stage])
    if is_rough:
        return _roots(table, odds, side, np.full_like(odds, _ROUGH_TOLERANCE), _ROUGH_TOLERANCE)
    roots = _roots(table, odds, side, rounding)
    beyond = ((roots <= start) & (start > lower)) | ((roots >= end) & (end < upper))
    [rows] = beyond.any(0).nonzero()
    if len(rows):  # the components' own quantiles are not exact
        table = _Table(curves.take(rows), lower[rows], upper[rows])
        table.add(roots[:, rows], side[:, rows])
        others = _roots(table, odds[:, rows], side[:, rows], rounding[:, rows])
        roots[:, rows] = np.where(beyond[:, rows], others, roots[:, rows])
    return roots


def _roots(
    table: "_Table", odds: Array, side: Array, rounding: Array, trusted: float = 1e-14
) -> Array:
    """The points (L, n) at which the log-odds (L, n) are reached."""
    (levels, rows), target, side = odds.shape, odds.ravel(), side.ravel()

    def log_odds(y: Array, element: Array) -> tuple[Array, Array]:
        whole = levels == 1 and len(element) == rows
        curves = table.curves if whole else table.curves.take(element % rows)
        value, rate = _log_odds(curves, y, side[element])
        return value - target[element], rate

    neighbours = table.around(odds).reshape(13, -1)
    reach = table.curves.reach
    reach = None if reach is None else np.tile(reach, levels)
    roots = interpolated_roots(log_odds, neighbours, rounding.ravel(), trusted, reach)
    return roots.reshape(odds.shape)


def _log_odds(curves: ComponentCurves, y: Array, side: Array) -> tuple[Array, Array]:
    """Log-odds of P(Y <= y) at points (..., n), and their rates: how much y changes with them."""
    tail, density = curves.tail_and_density(y, side if side.any() else None)
    np.minimum(tail, 1.0, out=tail)
    value = np.log(tail) - np.log1p(-tail)
    np.negative(value, out=value, where=side == ABOVE)
    return value, tail * (1 - tail) / density


class _Table:
    """Sorted points (m, n) around all roots, with their log-odds and dx / d(log-odds).

    The first two and the last two points are the limits of the search, where the log-odds count as
    infinite.
    """

    def __init__(self, curves: ComponentCurves, start: Array, end: Array):
        self.curves = curves
        self.x = np.stack([start, start, end, end])
        self.value = np.where(np.arange(4)[:, None] < 2, -np.inf, np.full_like(self.x, np.inf))
        self.rate = np.full_like(self.x, np.nan)

    def add(self, y: Array, side: Array) -> None:
        """Evaluate the log-odds at points (l, n), by the tails on the given sides."""
        value, rate = _log_odds(self.curves, y, side)
        parts = [
            np.concatenate([old[:-2], new, old[-2:]])
            for old, new in ((self.x, y), (self.value, value), (self.rate, rate))
        ]
        if len(parts[0]) > 5:
            order = parts[0].argsort(0, kind="stable")
            parts = [np.take_along_axis(part, order, 0) for part in parts]
        self.x, value, self.rate = parts
        # a value that rounding has put out of order repeats its neighbour
        self.value = np.maximum.accumulate(value, 0)

    def around(self, target: Array) -> Array:
        """The neighbours of each target (l, n), as `interpolated_roots` takes them, (13, l, n).

        Their values are differences from the target.
        """
        rows = target.shape[1]
        place = np.arange(rows) + np.zeros(target.shape, int)  # of the last point below, by halving
        for step in (rows << k for k in range((len(self.value) - 1).bit_length() - 1, -1, -1)):
            place += step * (self.value.take(place + step, mode="clip") < target)
        place += rows
        (x_below, x_above), (below, beyond) = (
            [part.take(place - rows), part.take(place)] for part in (self.x, self.value)
        )
        below -= target
        beyond -= target
        is_farther = -below > beyond  # whether the point below is farther than the one above
        nearest = place - rows
        nearest += rows * is_farther
        next_to = place - rows * is_farther
        third = place - 2 * rows
        third += (
            3 * rows * (target - self.value.take(third) > self.value.take(place + rows) - target)
        )
        points = []
        for chosen in (nearest, next_to, third):
            points += [
                self.x.take(chosen),
                self.value.take(chosen) - target,
                self.rate.take(chosen),
            ]
        return np.stack([*points, x_below, below, x_above, beyond])


def _stages(indices: list[int], between: int) -> Iterator[list[int]]:
    """The indices between the given ones, in stages: the middle of every gap above `between`."""
    while any(after - before > 1 + between for before, after in pairwise(indices)):
        stage = [
            (before + after) // 2
            for before, after in pairwise(indices)
            if after - before > 1 + between
        ]
        yield stage
        indices = sorted(indices + stage)
