"""Quantiles of mixtures of concrete numbers, by few evaluations of the mixture's cdf for each; several levels share them."""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.components import Components, rows_of
from disthead.special.search import following, interpolated_roots

__all__ = ["flat", "mixture_quantiles", "one_mixture"]

_NUMBERS = 1 << 17  # of all components at the levels of the rows that are searched at once
_FAR = 0.04  # a smaller tail is computed itself: 1 less the other one has lost digits
_WIDER = 1e-3  # of the range of the components' quantiles, by which it is widened, so that rounding does not exclude the root
_MAX = torch.finfo(torch.float64).max


def one_mixture(mixture: Components) -> tuple[Tensor, Distribution]:
    """Log-weights (*batch, K) and components of a mixture; those of a mixture of mixtures are the components of all of them."""
    log_weights, components, dims = mixture.log_weights, mixture.components, len(mixture.batch_shape)
    while isinstance(components, Components):
        log_weights = (log_weights.unsqueeze(-1) + components.log_weights).flatten(-2)
        components = components.components.map(lambda parameter: parameter.flatten(dims, dims + 1))
    return log_weights, components


def flat(mixture: Components) -> tuple[Tensor, Distribution]:
    """As `one_mixture`, with all dimensions of the batch in one: log-weights (rows, K), and components of that batch_shape."""
    (log_weights, components), dims = one_mixture(mixture), len(mixture.batch_shape)
    if dims == 1:
        return log_weights, components
    one_row = components.map(lambda parameter: parameter.unsqueeze(0))
    components = one_row.map(lambda parameter: parameter.flatten(0, dims))
    return log_weights.reshape(-1, log_weights.shape[-1]), components


@torch.no_grad()
def mixture_quantiles(mixture: Components, below: Tensor, above: Tensor) -> Tensor:
    """The least y with P(Y <= y) = below and P(Y > y) = above, of shape (..., *batch), of a mixture in double precision.

    Args:
        below, above: the levels and 1 less them, which broadcast with the batch in their last dimensions.
    """
    shape = torch.broadcast_shapes(below.shape, above.shape, mixture.batch_shape)
    log_weights, components = flat(mixture)
    lower, upper = (limit.expand(mixture.batch_shape).reshape(-1) for limit in mixture.support_limits())
    rows, size = log_weights.shape
    if not rows:
        return log_weights.new_empty(shape)
    below, above = (part.expand(shape).reshape(-1, rows) for part in (below, above))
    length = max(1, _NUMBERS // max(1, size * len(below)))
    answers = []
    for start in range(0, rows, length):
        part = slice(start, start + length)
        search = _Search(log_weights[part], rows_of(components, part), lower[part], upper[part])
        answers.append(search.quantiles(below[:, part], above[:, part]))
    return torch.cat(answers, 1).reshape(shape)


class _Search:
    """A search for quantiles of n mixtures, log-weights (n, K). Probabilities are compared by their log-odds, from the smaller tail."""

    def __init__(self, log_weights: Tensor, components: Distribution, lower: Tensor, upper: Tensor):
        self.weights, self.components = log_weights.exp(), components
        self.lower, self.upper = lower.clamp(min=-_MAX), upper.clamp(max=_MAX)

    def quantiles(self, below: Tensor, above: Tensor) -> Tensor:
        """The quantiles (L, n) at levels (L, n), in any order."""
        levels = len(below)
        left = below <= above
        tail = torch.where(left, below, above)
        odds = torch.where(left, 1.0, -1.0) * (tail.log() - torch.log1p(-tail))
        kind = torch.where(tail > _FAR, 0, torch.where(left, 1, 2))
        if levels > 1:
            odds, order = odds.sort(0)
            kind, below, above = (part.gather(0, order) for part in (kind, below, above))
        rounding = 4e-15 + 1e-15 * odds.abs() + torch.where(kind == 0, 4e-16 / above, 0.0)
        odds = odds - 2 * rounding  # where the cdf is flat, the least of all quantiles
        x, value = self._points(below, above, odds, kind)
        window = _window(x, value, odds)
        kind, element = kind.flatten().sort()
        row, target = element % below.shape[1], odds.flatten()[element]
        x, value = (part.flatten(1)[:, element] for part in window)
        found = interpolated_roots(
            lambda y, chosen: self._log_odds(y, row[chosen], kind[chosen]) - target[chosen],
            x,
            value,
            rounding.flatten()[element],
        )
        answer = torch.empty_like(found)
        answer[element] = found
        answer = answer.reshape(odds.shape)
        return torch.empty_like(answer).scatter_(0, order, answer) if levels > 1 else answer

    def _log_odds(self, y: Tensor, row: Tensor, kind: Tensor) -> Tensor:
        """Log-odds of P(Y <= y) at points (m,) of the given rows.

        The kinds, in order, say from what: 0 from the cdf, 1 from the lower tail, 2 from the upper one.
        """
        count = kind.bincount(minlength=3).tolist()
        parts = []
        for question, sign, *each in zip(
            ("cdf", "log_cdf", "log_survival"), (1, 1, -1), y.split(count), row.split(count), strict=True
        ):
            y, row = each
            if not len(y):
                continue
            components = rows_of(self.components, row)
            tail = getattr(components, question)(y.unsqueeze(-1))
            tail = (tail if question == "cdf" else tail.exp_()).mul_(self.weights[row]).sum(-1)
            parts.append(sign * (tail.log() - torch.log1p(-tail.clamp(max=1))))
        return torch.cat(parts)

    def _at(self, y: Tensor, kind: Tensor) -> Tensor:
        """Log-odds at points (m, n) of all rows."""
        kind, element = kind.flatten().sort()
        value = torch.empty(y.numel(), dtype=y.dtype)
        value[element] = self._log_odds(y.flatten()[element], element % y.shape[1], kind)
        return value.reshape(y.shape)

    def _points(self, below: Tensor, above: Tensor, odds: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Points (m, n) around all roots, in order, with their log-odds: near the quantiles of each level at least one."""
        levels = len(below)
        first = sorted({0, levels // 2, levels - 1})
        own = self.components._quantile(below[first].unsqueeze(-1), above[first].unsqueeze(-1)).clamp(-_MAX, _MAX)
        start, end = own[0].amin(-1), own[-1].amax(-1)
        margin = _WIDER * (end / 2 - start / 2)
        start = torch.maximum(start - (margin + 1e-12 * start.abs()), self.lower)
        end = torch.minimum(end + (margin + 1e-12 * end.abs()), self.upper)
        middle = torch.minimum(torch.maximum((self.weights * own).sum(-1), start), end)
        x = torch.cat([start.unsqueeze(0), middle, end.unsqueeze(0)])
        value = self._at(x, kind[[0, *first, -1]])
        limits = torch.stack([self.lower, self.upper])
        infinite = torch.full_like(self.lower, math.inf)
        x, value = torch.cat([x, limits]), torch.cat([value, torch.stack([-infinite, infinite])])
        for stage in _stages(first):
            x, value = _in_order(x, value)
            y, _ = following(*_window(x, value, odds[stage]), 0.0)
            x, value = torch.cat([x, y]), torch.cat([value, self._at(y, kind[stage])])
        return _in_order(x, value)


def _in_order(x: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Points in order, with values that rise: what rounding has brought out of order repeats its neighbour."""
    x, order = x.sort(0)
    return x, value.gather(0, order).cummax(0).values


def _window(x: Tensor, value: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Of points (m, n) two below and two above each target (L, n), (4, L, n), with how far their values are above it."""
    above = (value.unsqueeze(1) < target).sum(0).clamp(1, len(x) - 1)
    chosen = torch.stack([above - 2, above - 1, above, above + 1]).clamp(0, len(x) - 1)
    shape = chosen.shape
    chosen = chosen.movedim(0, 1).reshape(-1, shape[-1])
    x, value = (part.gather(0, chosen).reshape(shape[1], 4, shape[2]).movedim(1, 0) for part in (x, value))
    return x, value - target


def _stages(known: list[int]) -> Iterator[list[int]]:
    """The other indices between the known ones: in the middle of every gap, and so on."""
    while any(after - before > 1 for before, after in pairwise(known)):
        stage = [(before + after) // 2 for before, after in pairwise(known) if after - before > 1]
        yield stage
        known = sorted(known + stage)
