"""`Summed`: counts whose cdf has no closed form, so that both tails are sums of masses."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from disthead.distributions.discrete import OUTSIDE, Discrete, search_start
from disthead.distributions.mass_tables import crps_of, grouped_by_width
from disthead.distributions.shortest_runs import shortest_runs, shortest_runs_of
from disthead.distributions.univariate import in_double
from disthead.special import gauss_legendre
from disthead.special.eager import are_concrete, extent

__all__ = ["DEPTH", "Summed", "log_sum_over_integers", "peak_between", "rule_over_integers"]

_TERMS = 160  # integers at either end of a sum that are taken one by one
_NODES = 128  # of the integral over the integers between
DEPTH = 46.0  # a mass of exp(-46) times the largest is negligible, and so is all beyond it
_DOUBLINGS = 60  # of the distance at which masses are negligible
_FARTHEST = 2.0**60
_LEAST = 1e-300  # a probability
_TABLE_ERROR = 2e-13  # of sums over a table
_PASSES = 12  # of a search by 32 parts
_WIDEST = 1 << 16  # integers of the table of a score; beyond, a sum over fewer takes a sum each
# sum_{k >= n} f(k) = integral from n - 1/2 + d f / 24 - 17 d^3 f / 5760, d the central differences
_CORRECTIONS = (17 / 5760, -(1 / 24 + 51 / 5760), 1 / 24 + 51 / 5760, -17 / 5760)


class Summed(Discrete):
    """A distribution on the integers whose mass is known up to a constant, and whose cdf is a sum.

    Subclasses define `_log_mass(x)`, and may define `_log_weight(x)`, the same up to a constant,
    where that costs less: searches for the range of a sum ask it. The mass rises up to `mode` and
    falls from there on.
    """

    def _log_weight(self, x: Tensor) -> Tensor:
        return self._log_mass(x)

    def _cdf(self, k: Tensor) -> Tensor:
        """The smaller tail or its complement, which do not depend on the order of the sums."""
        below, above = self._log_cdf(k).exp(), self._log_survival(k).exp()
        return torch.where(below < above, below, 1 - above)

    def _log_cdf(self, k: Tensor) -> Tensor:
        k = k + torch.zeros_like(self._like_batch())
        direct = self._is_below_the_peak(k) | (k - self.support_limits()[0] < 2 * _TERMS)
        least = torch.where(direct, self._lowest(k.detach()), k)
        most = torch.where(direct, k, self._highest(k + 1))
        return _or_complement(direct, self._log_sum(torch.where(direct, least, k + 1), most))

    def _log_survival(self, k: Tensor) -> Tensor:
        k = k + torch.zeros_like(self._like_batch())
        direct = ~self._is_below_the_peak(k) | (self.support_limits()[1] - k < 2 * _TERMS)
        most = torch.where(direct, self._highest(k + 1), k)
        least = torch.where(direct, k + 1, self._lowest(k))
        return _or_complement(direct, self._log_sum(least, most))

    def _log_sum(self, first: Tensor, last: Tensor) -> Tensor:
        return log_sum_over_integers(self._log_mass, first, last)

    def _is_below_the_peak(self, k: Tensor) -> Tensor:
        return k < self.mode.detach()

    def _lowest(self, k: Tensor, depth: Tensor | float = DEPTH) -> Tensor:
        """An integer up to k below which masses are negligible beside that of k, or the first."""
        return self._negligible(k, depth, -1.0, self.support_limits()[0])

    def _highest(self, k: Tensor, depth: Tensor | float = DEPTH) -> Tensor:
        """An integer from k on beyond which masses are negligible beside that of k, or the last."""
        return self._negligible(k, depth, 1.0, self.support_limits()[1].clamp(max=_FARTHEST))

    def _negligible(self, k: Tensor, depth: Tensor | float, side: float, limit: Tensor) -> Tensor:
        """The nearest at a distance of 1, 1.4, 2, ... where the mass is by `depth` nats smaller."""
        with torch.no_grad():
            limit = limit + torch.zeros_like(k + depth)
            if are_concrete(k, limit) and extent((limit - k).abs())[1] < 2 * _TERMS:
                return limit
            exponents = torch.arange(2 * _DOUBLINGS + 1, dtype=limit.dtype, device=limit.device) / 2
            away = torch.exp2(exponents).floor().reshape(-1, *(1,) * limit.ndim)
            room = ((limit - k) * side).clamp(min=0)
            k = torch.minimum(k * side, limit * side) * side
            reached = self._log_weight(k + side * torch.minimum(away, room)) <= (
                self._log_weight(k) - depth
            )
            nearest = torch.where(reached, away, room).amin(0)
            return k + side * torch.minimum(nearest, room)

    def _reach(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        peak = self.mode.detach() + torch.zeros_like(below + above)
        slack = 8.0  # the mass next to the peak may be spread over many integers
        return (
            self._lowest(peak, slack - below.clamp(min=_LEAST).log()),
            self._highest(peak, slack - above.clamp(min=_LEAST).log()),
        )

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        return self._reach(below, above)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        tail = torch.full_like(self._like_batch(), OUTSIDE)
        return self._reach(tail, tail)

    @property
    def _skewness(self) -> Tensor:
        """About that of a Poisson count with this ratio of spread and mean; for searches."""
        return self.stddev / self.mean.clamp(min=1e-150)

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        return search_start(self.mean, self.stddev, self._skewness, below, above)

    def _least_by_search(self, target: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """As in `Discrete`; where few integers have probability, from a table of their masses."""
        shape = torch.broadcast_shapes(target.shape, self.batch_shape)
        columns, flat = self._columns(shape, target, below, above)
        least, most = (part.amin(1) * OUTSIDE for part in columns[1:])
        first, last = flat._reach(least, most)
        result = torch.empty_like(columns[0])
        # a search takes some ten sums for each level
        widest = min(_WIDEST, max(self._widest_table, 10 * _TERMS * columns[0].shape[1]))
        groups, wide_rows = grouped_by_width(first, last, widest)
        for at, width in groups:
            cdf = flat[at]._masses(first[at], width).cumsum(1)
            levels = (columns[0][at] * (1 - _TABLE_ERROR)).contiguous()
            result[at] = torch.minimum(
                first[at, None] + torch.searchsorted(cdf, levels), last[at, None]
            )
        if len(wide_rows):
            rest = (column[wide_rows].T for column in columns)
            result[wide_rows] = Discrete._least_by_search(flat[wide_rows], *rest).T
        return result.T.reshape(shape)

    def _run_by_search(self, level: float) -> tuple[Tensor, Tensor]:
        flat = self._flat()
        first, last = flat._bulk()
        ends = torch.empty(2, len(first), dtype=first.dtype)
        groups, wide_rows = grouped_by_width(first, last, self._widest_table)
        for at, width in groups:
            masses = flat[at]._masses(first[at], width)
            ends[:, at] = torch.stack(shortest_runs_of(flat[at], masses, first[at], level))
        if len(wide_rows):
            ends[:, wide_rows] = torch.stack(shortest_runs(flat[wide_rows], level))
        return tuple(end.reshape(self.batch_shape) for end in ends)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in counts.

        Lower is better. Source: Gneiting and Raftery 2007.
        """
        if self._is_plain(y):
            return self._by_tables(
                lambda rows, masses, first, y: crps_of(masses, first, y),
                lambda rows, first, last, y: rows.map(lambda part: part.unsqueeze(1))._crps(y),
                y,
                widest=_WIDEST,
            )
        return self._crps(y)

    def _crps(self, y: Tensor) -> Tensor:
        excess = self._sum(lambda k: (k - y).clamp(min=0) * self._log_mass(k).exp(), start=y.ceil())
        return 2 * excess + (y - self.mean) - self._half_mean_difference()

    def _half_mean_difference(self) -> Tensor:
        """E|Y - Y'| / 2, the sum of F (1 - F), from all masses where that is possible."""
        first, last = self._bulk()
        if not are_concrete(first, last) or extent(last - first)[1] > _WIDEST:
            return self._sum(lambda k: (self.log_cdf(k) + self.log_survival(k)).exp())
        steps = torch.arange(extent(last - first)[1] + 1, dtype=first.dtype)
        k = first + steps.reshape(-1, *(1,) * first.ndim)
        masses = torch.where(k <= last, self._log_mass(torch.minimum(k, last)).exp(), 0.0)
        cdf = masses.cumsum(0)
        return (cdf * (1 - cdf)).sum(0)


def _or_complement(direct: Tensor, log_sum: Tensor) -> Tensor:
    """The logarithm of the sum where it is the answer, else that of 1 - sum."""
    log_sum = log_sum.clamp(max=-1e-300)
    near = log_sum > -math.log(2)
    complement = torch.where(
        near,
        (-torch.expm1(torch.where(near, log_sum, -1.0))).log(),
        torch.log1p(-torch.where(near, -1.0, log_sum).exp()),
    )
    return torch.where(direct, log_sum, complement)


def log_sum_over_integers(
    log_term: Callable[[Tensor], Tensor], first: Tensor, last: Tensor
) -> Tensor:
    """The logarithm of the sum of exp(log_term(k)) over the integers first <= k <= last.

    Integers next to either end are taken one by one. Between them the terms are smooth, and an
    integral stands for their sum, by Gauss-Legendre nodes in log((k - first) / (last - k)) with the
    Euler-Maclaurin correction at both ends. The gradients are those of the terms.

    Args:
        log_term: a function of points (terms, ...) that returns their values; it is continued to
            real numbers between the integers.
        first: the first integer, shape (...).
        last: the last integer, shape (...); a sum with last < first is empty.
    """
    k, log_weight, sign = rule_over_integers(first.detach(), last.detach())
    terms = log_term(k) + log_weight
    top = terms.detach().amax(0)
    top = torch.where(top.isfinite(), top, 0.0)
    total = (sign * (terms - top).exp()).sum(0)
    empty = last < first
    return torch.where(empty, -torch.inf, torch.where(empty, 1.0, total).log() + top)


@torch.no_grad()
def rule_over_integers(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points (terms, ...), the logarithms of their absolute weights, and the signs of these."""
    length = last - first
    column = (-1, *(1,) * length.ndim)
    terms, is_narrow = _TERMS, False
    if are_concrete(first, last):
        longest = max(0.0, extent(length)[1])
        is_narrow = longest < 2 * _TERMS
        if is_narrow:
            terms = max(1, math.ceil((longest + 1) / 2))
    one_by_one = torch.arange(terms, dtype=length.dtype, device=length.device).reshape(column)
    middle = ((length + 1) / 2).floor()  # of a narrow sum, its integers from the left end
    narrow = length < 2 * terms
    left = torch.where(narrow, one_by_one < length + 1 - middle, True)
    right = torch.where(narrow, one_by_one < middle, True)
    points = [first + one_by_one, last - one_by_one]
    weights = [left.to(length.dtype), right.to(length.dtype)]
    if not is_narrow:
        reach = torch.where(narrow, 2.0 * terms, length)
        end = torch.log((reach - terms + 0.5) / (terms - 0.5))
        nodes, gauss = gauss_legendre(_NODES, length)
        u = end * (2 * nodes - 1).reshape(column)
        share, rest = u.sigmoid(), (-u).sigmoid()
        points.append(first + torch.where(u < 0, reach * share, reach - reach * rest))
        weights.append(2 * end * gauss.reshape(column) * reach * share * rest)
        offsets = torch.arange(-2.0, 2.0, dtype=length.dtype, device=length.device) + terms
        for points_of in (first + offsets.reshape(column), last - offsets.reshape(column)):
            points.append(points_of)
            correction = length.new_tensor(_CORRECTIONS).reshape(column)
            weights.append(correction + torch.zeros_like(points_of))
        wide = torch.cat(weights[2:])
        weights[2:] = [torch.where(narrow, 0.0, wide)]
    k, weight = torch.cat(points), torch.cat(weights)
    k = torch.minimum(torch.maximum(k, first), torch.maximum(last, first))
    return k, weight.abs().log(), weight.sign()


@torch.no_grad()
def peak_between(log_term: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor) -> Tensor:
    """The first integer from `lower` to `upper` at which the terms do not rise to the next one.

    Args:
        log_term: a function of integers (candidates, ...) whose terms rise to one peak and fall
            from there on.
        lower: shape (...).
        upper: shape (...); the peak where all terms up to it rise.
    """
    below, shares = lower - 1, torch.arange(1, 32, dtype=lower.dtype, device=lower.device) / 32
    shares = shares.reshape(-1, *(1,) * lower.ndim)
    concrete = are_concrete(lower, upper)
    for _ in range(_PASSES):
        if concrete and extent(upper - below)[1] <= 1:
            break
        k = torch.maximum(below + ((upper - below) * shares).floor(), lower)
        following = torch.minimum(k + 1, torch.maximum(upper, lower))
        rises = (log_term(following) > log_term(k)) & (k < upper)
        below = torch.maximum(below, torch.where(rises, k, below).amax(0))
        upper = torch.minimum(upper, torch.where(rises, upper, k).amin(0))
    return upper
