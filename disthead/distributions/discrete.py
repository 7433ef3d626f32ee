"""`Discrete`: what every distribution on the integers derives from its mass and its cdf."""

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Size, Tensor
from torch.distributions import register_kl

from disthead.distributions.base import MOST_OUTCOMES, Kind, with_fused_loss
from disthead.distributions.interval import Interval
from disthead.distributions.mass_tables import entropy_of, grouped_by_width
from disthead.distributions.shortest_runs import shortest_runs
from disthead.distributions.supports import bounds_of
from disthead.distributions.tails import are_light
from disthead.distributions.univariate import Univariate, check_level, in_double
from disthead.special import gauss_legendre, integer_inverse
from disthead.special.eager import are_concrete, are_plain_numbers, are_within, by_scipy, extent
from disthead.special.integer_search import integer_search
from disthead.special.plain import ndtri

__all__ = ["OUTSIDE", "Discrete", "bernstein_bounds", "kl_by_sum", "search_start", "sum_rule"]

_TERMS = 192  # integers that a sum takes one by one
_NODES = 128  # of the integral over the rest
_FEW_NODES = {1e4: 40, 1e5: 64}  # enough nodes where the integral ends before that integer
_FARTHEST = 2.0**1000  # the largest integer of a search
_LEAST_WIDTH = 16  # integers of a table, also where all of them are improbable
_ROWS = 128  # of one chunk of such sums, which then fits the cache
_RUN_STEPS = 26  # halvings of the length of a run
_LEAST_PROBABILITY = math.nextafter(0.0, 1.0)  # the smallest above 0
OUTSIDE = 1e-18  # the probability that a sum leaves out on either side


class Discrete(Univariate):
    """A distribution on the integers, or on part of them.

    Subclasses define `_log_mass(x)`, the logarithm of the mass, continued to real x within the
    support; `_log_cdf(k)` and `_log_survival(k)` at integers of the support, exact in the tails;
    and the mean, variance, mode and `sample`. This class derives all other methods from these, in
    double precision; subclasses override those that have a closed form. Every answer has the shape
    that target, level and batch broadcast to.

    Each answer is computed in one of two ways. Where the numbers are concrete (`_is_plain`),
    searches end when they have converged, and sums are over tables of masses (`mass_tables`).
    Otherwise both take a fixed amount of work. Subclasses that know more about their tails narrow
    the ranges of searches (`_bracket`, `_reach`) and of sums (`_bulk`), define where a search
    starts (`_start`), and compute tables of masses without special functions (`_masses`).
    """

    kind: Kind = "count"
    has_rsample = False
    _search_steps = 54  # halvings, from 2^53 integers to one

    def support_limits(self) -> tuple[Tensor, Tensor]:
        """The least and the largest integer of the support, of shape batch; infinite where none."""
        lower, upper = self._bounds()
        return self._constant(lower), self._constant(upper)

    def _bounds(self) -> tuple[float, float]:
        """`support_limits` as numbers."""
        return bounds_of(self.support)

    def _outcomes(self) -> Tensor | None:
        lower, upper = self._bounds()
        if upper - lower >= MOST_OUTCOMES or not math.isfinite(lower):
            return None
        return torch.arange(lower, upper + 1, dtype=self.dtype, device=self.device)

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        lower, upper = self.support_limits()
        inside = (y >= lower) & (y <= upper) & (y == y.floor()) & y.isfinite()
        return torch.where(inside, self._log_mass(torch.where(inside, y, lower)), -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        """P(Y <= y), a step function of real y."""
        return self._tail(self._cdf, y, 0.0, 1.0)

    def _cdf(self, k: Tensor) -> Tensor:
        return self._log_cdf(k).exp()

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return self._tail(self._log_cdf, y, -torch.inf, 0.0)

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        """The logarithm of P(Y > y)."""
        return self._tail(self._log_survival, y, 0.0, -torch.inf)

    def _tail(
        self, tail: Callable[[Tensor], Tensor], y: Tensor, before: float, beyond: float
    ) -> Tensor:
        k = y.floor()
        if are_concrete(k):
            (least, greatest), (first, last) = extent(k), self._bounds()
            if first <= least and -math.inf < least and greatest < last:
                return tail(k).expand(torch.broadcast_shapes(k.shape, self.batch_shape))
        lower, upper = self.support_limits()
        under = (k < lower) | (k == -torch.inf)
        inside = ~under & (k < upper)
        value = tail(torch.where(inside, k, lower))
        # Cast to the dtype of k: `where` of two numbers is single precision.
        outside = torch.where(under, before, torch.where(k >= upper, beyond, math.nan)).to(k.dtype)
        return torch.where(inside, value, outside)

    @torch.no_grad()
    def icdf(self, q: Tensor) -> Tensor:
        """The quantile: the smallest integer k with cdf(k) >= q; not differentiable.

        It is the end of the support at q = 0 and 1. The comparison allows for the rounding of q in
        its own precision, so that icdf(cdf(k)) is k.
        """
        exact = self._in_double()
        dtype = q.dtype if isinstance(q, Tensor) else torch.float64
        precision = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
        q = torch.as_tensor(q, dtype=exact.dtype, device=self.device)
        above = 1 - q
        rounding = torch.minimum(q * (0.5 * precision + 1e-15), 0.25 * precision + 1e-15 * above)
        least = exact._least_by_search if exact._is_plain(q) else exact._least_by_halving
        if (
            are_plain_numbers(q)
            and are_within(q, _LEAST_PROBABILITY)
            and are_within(above, _LEAST_PROBABILITY)
        ):
            return least(q - rounding, q, above).to(self.dtype)
        interior = (q > 0) & (q < 1)
        lower, upper = exact.support_limits()
        below, above = torch.where(interior, q, 0.5), torch.where(interior, above, 0.5)
        k = least(below - torch.where(interior, rounding, 0.0), below, above)
        edge = torch.where(q == 0, lower, torch.where(q == 1, upper, math.nan))
        return torch.where(interior, k, edge).to(self.dtype)

    def _least_by_halving(self, target: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """The least k with cdf(k) >= target, by a fixed number of steps.

        The target is next to the level `below` = 1 - `above`, which brackets the search.
        """
        upper = self.support_limits()[1]
        first, last = self._bracket(below, above)
        return integer_inverse(
            self.cdf, target, first, torch.where(upper < torch.inf, upper, last), self._search_steps
        )

    def _least_by_search(self, target: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """As `_least_by_halving`, for concrete numbers, by a search that ends on convergence."""
        shape = torch.broadcast_shapes(target.shape, self.batch_shape)
        flat = self._flat(shape)
        target, below, above = (part.expand(shape).reshape(-1) for part in (target, below, above))
        lower, upper = flat._search_limits(below, above)
        start, per_probit = flat._start(below, above)

        def probability(k: Tensor, rows: Tensor) -> Tensor:
            return (flat if len(rows) == len(target) else flat[rows]).cdf(k)

        k = integer_search(probability, target, lower, upper, start, per_probit).reshape(shape)
        return torch.where(k < _FARTHEST, k, torch.nan)

    def _search_limits(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Integers between which the quantile of `below` = 1 - `above` lies."""
        lower, upper = self.support_limits()
        return lower.clamp(-_FARTHEST, _FARTHEST), upper.clamp(-_FARTHEST, _FARTHEST)

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Where the search for a quantile starts, and the number of integers in a probit unit."""
        first, _ = self._bracket(below, above)
        return first, torch.ones_like(first)

    def _columns(self, shape: Size, *values: Tensor) -> tuple[list[Tensor], Self]:
        """The values, expanded to the shape, as (rows, columns); and the distributions (rows,).

        The columns of a row belong to one distribution.
        """
        batch = shape[len(shape) - len(self.batch_shape) :]
        size = shape[: len(shape) - len(self.batch_shape)].numel(), batch.numel()
        return [value.expand(shape).reshape(size).T for value in values], self._flat(batch)

    @torch.no_grad()
    def highest_density(self, level: float) -> Interval:
        """The shortest run of integers with at least the probability `level`; not differentiable.

        The interval holds its first and its last integer. For a mass with one peak it consists of
        the most probable integers. With several peaks, in a mixture, the most probable integers may
        form several runs, and the interval is the shortest single run. Where many integers carry
        probability, it is the shortest of the runs that start at one of 257 quantiles.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        check_level(level)
        exact = self._in_double()
        run = exact._run_by_search if exact._is_plain() else exact._run_by_halving
        return Interval(*(end.to(self.dtype) for end in run(level)))

    def _run_by_search(self, level: float) -> tuple[Tensor, Tensor]:
        """The first and the last integer of the run, for concrete numbers."""
        flat = self._flat()
        return tuple(end.reshape(self.batch_shape) for end in shortest_runs(flat, level))

    def _run_by_halving(self, level: float) -> tuple[Tensor, Tensor]:
        """The first and the last integer of the run, by a fixed number of steps."""
        least, most = self.support_limits()

        def first(size: Tensor, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
            """The first of the `size` most probable integers."""
            below = lower - 1
            # seven candidates at a time, since a call costs more than its arithmetic
            for _ in range(0, bits, 3):
                k = below + ((upper - below) * eighths).floor()
                last = torch.minimum(k + size, most)
                left, right = self._log_mass(torch.stack([torch.maximum(k, lower), last]))
                settled = (k >= lower) & ((left >= right) | (k + size > most))
                below = torch.maximum(below, torch.where(settled, below, k).amax(0))
                upper = torch.minimum(upper, torch.where(settled, k, upper).amin(0))
            return upper

        eighths = (
            torch.arange(1, 8, dtype=least.dtype, device=least.device).reshape(
                (7,) + (1,) * least.ndim
            )
            / 8
        )
        # Runs of increasing size are nested, so the bracket of the size also brackets the start.
        short, long = torch.ones_like(least), self._width(level)
        short_start = self.mode.to(self.dtype)
        long_start = first(
            long, torch.maximum(short_start - long + 1, least), short_start, _RUN_STEPS
        )
        for bits in range(_RUN_STEPS, 0, -1):
            size = short + ((long - short) / 2).floor()
            lower = torch.maximum(long_start, short_start - (size - short))
            start = first(size, lower, torch.minimum(short_start, long_start + (long - size)), bits)
            enough = self.cdf(start + size - 1) - self.cdf(start - 1) >= level - 1e-15
            short, short_start = (
                torch.where(enough, short, size),
                torch.where(enough, short_start, start),
            )
            long, long_start = (
                torch.where(enough, size, long),
                torch.where(enough, start, long_start),
            )
        return long_start, long_start + long - 1

    def _width(self, level: float) -> Tensor:
        """The number of integers in the central interval, which bounds the length of the run."""
        lower, upper = self.interval(level)
        return upper - lower + 1

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        reason = (
            "integers do not move continuously with the parameters. Use sample(), and log_prob "
            "for a score-function gradient"
        )
        raise self._unanswered("rsample", reason)

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """P(Y < y) and P(Y <= y), for the non-randomised probability integral transform.

        Source: Czado, Gneiting and Held 2009.
        """
        return self.cdf(y.ceil() - 1), self.cdf(y)

    @property
    @in_double
    def mean(self) -> Tensor:
        return self._expectation(lambda k: k)

    @property
    @in_double
    def variance(self) -> Tensor:
        mean = self.mean
        return self._expectation(lambda k: (k - mean).square())

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact, shape = self._in_double(), self._extended_shape(sample_shape)
        uniform = torch.rand(shape, generator=generator, dtype=exact.dtype, device=self.device)
        return exact.icdf(uniform).to(self.dtype)

    @in_double
    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats."""
        if self._is_plain():
            return self._by_tables(
                lambda rows, masses, first: entropy_of(masses),
                lambda rows, first, last: rows._entropy_of_wide(first, last),
            )
        return self._expectation(lambda k: -self._log_mass(k))

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in counts.

        Lower is better. Source: Gneiting and Raftery 2007.
        """
        excess = self._sum(lambda k: (k - y).clamp(min=0) * self._log_mass(k).exp(), start=y.ceil())
        half_mean_difference = self._sum(
            lambda k: self._log_cdf(k).exp() * self._log_survival(k).exp()
        )
        return 2 * excess + (y - self.mean) - half_mean_difference

    def _by_tables(
        self,
        of_table: Callable[..., Tensor],
        of_wide: Callable[..., Tensor],
        *values: Tensor,
        widest: int | None = None,
    ) -> Tensor:
        """A result for each row, from a table of its masses unless that would be wide.

        Args:
            of_table: a function of the distributions of some rows, their masses (rows, width), the
                integers (rows,) at which the tables start, and the values (rows, columns); it
                returns results (rows, columns), or (rows,) without values.
            of_wide: a function of the distributions of other rows, the least and the greatest
                integer of their tables (rows,), and the values; it returns the same.
            values: tensors that broadcast with the batch; those that belong to one distribution are
                the columns of its row.
            widest: a table of this many integers is wide; None takes the limit of the class.
        """
        shape = torch.broadcast_shapes(self.batch_shape, *(value.shape for value in values))
        columns, flat = self._columns(shape, *values)
        first, last = flat._bulk()
        result = torch.empty_like(columns[0] if values else first)
        last = torch.maximum(last, first + _LEAST_WIDTH)
        widest = self._widest_table if widest is None else widest
        groups, wide_rows = grouped_by_width(first, last, widest, self._numbers_of_a_mass())
        for at, width in groups:
            part = flat[at]
            result[at] = of_table(
                part, part._masses(first[at], width), first[at], *(column[at] for column in columns)
            )
        for at in wide_rows.split(_ROWS) if len(wide_rows) else ():
            result[at] = of_wide(flat[at], first[at], last[at], *(column[at] for column in columns))
        return (result.T if values else result).reshape(shape)

    _widest_table = 2048  # integers; wider sums skip terms

    def _numbers_of_a_mass(self) -> int:
        """How many numbers the computation of each mass of a table holds in memory."""
        return 1

    def _masses(self, first: Tensor, width: int) -> Tensor:
        """P(Y = first), P(Y = first + 1), ..., (rows, width), of a batch with one dimension."""
        k = first[:, None] + torch.arange(width, dtype=first.dtype)
        column = self.map(lambda part: part.unsqueeze(1))
        most = column.support_limits()[1]
        return torch.where(k <= most, column._log_mass(torch.minimum(k, most)).exp(), 0.0)

    def _entropy_of_wide(self, first: Tensor, last: Tensor) -> Tensor:
        """The entropy (rows,) where tables are too wide, from masses at the nodes of `sum_rule`."""
        widest = (last - first).max()
        nodes = next((nodes for limit, nodes in _FEW_NODES.items() if widest < limit), _NODES)
        distance, weight = sum_rule(last - first + 0.5, nodes)
        most = self.support_limits()[1]
        k = first + distance
        masses = torch.cat(
            [
                self._masses(first, _TERMS + 2),
                self._log_mass(torch.minimum(k[_TERMS + 2 :], most)).exp().T,
            ],
            1,
        )
        return entropy_of(masses, torch.where(k <= most, weight, 0.0).T)

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """A bracket of the smallest k with cdf(k) >= below = 1 - above; by default the support."""
        lower, upper = self.support_limits()
        return lower.clamp(min=-(2.0**53)), upper.clamp(max=2.0**53)

    def _reach(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """A bracket that is wider than `_bracket` and costs less."""
        return self._bracket(below, above)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        """The range of a sum, outside of which the probability is negligible (`OUTSIDE`)."""
        tail = self._constant(OUTSIDE)
        lower, upper = self._bracket(tail, tail)
        first = integer_inverse(self.log_cdf, tail.log(), lower, upper, self._search_steps)
        return first, integer_inverse(
            lambda k: -self.log_survival(k), -tail.log(), lower, upper, self._search_steps
        )

    def _beyond_bulk(self, order: int, centre: "Tensor | float" = 0.0) -> Tensor:
        """What `_expectation` of (k - centre)^order leaves out of tails that fall as a power."""
        total, indices = self._constant(0.0), self._tail_indices()
        if are_light(indices):
            return total
        first, last = self._bulk()
        ends = (first, self._log_cdf(first - 1)), (last, self._log_survival(last))
        for (end, log_tail), index in zip(ends, indices, strict=True):
            share = order / torch.as_tensor(index).to(total)
            some = (log_tail > -torch.inf) & (share < 1)
            rest = log_tail.exp() * (torch.where(some, end, 0.0) - centre) ** order / (1 - share)
            total = total + torch.where(some, rest, 0.0)
        return total

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """E[function(Y)]; `function` takes points of shape (nodes, ...)."""

        def term(k: Tensor) -> Tensor:
            mass = self._log_mass(k).exp()
            return mass * torch.where(mass > 0, function(k), 0.0)

        return self._sum(term)

    def _sum(self, function: Callable[[Tensor], Tensor], start: Tensor | None = None) -> Tensor:
        """The sum of function(k) over k >= start in the range `_bulk`, by a fixed number of terms.

        The first integers are taken one by one. The rest, where the function is smooth from one
        integer to the next, is an integral by Gauss-Legendre quadrature in the logarithm of the
        distance, with the Euler-Maclaurin correction where both meet.
        """
        with torch.no_grad():
            first, last = self._bulk()
            limit = self.support_limits()[1]
            if start is not None:
                first = torch.minimum(torch.maximum(start, first), last)
            k, weight = sum_rule(last - first + 0.5)
            k = first + k
            weight = torch.where(k <= limit, weight, 0.0)
            k = torch.minimum(k, limit)
        return (weight * function(k)).sum(0)


def sum_rule(distance: Tensor, count: int = _NODES) -> tuple[Tensor, Tensor]:
    """Nodes and weights, (terms, ...), for the sum of a function over the integers 0 ... distance.

    The first integers are nodes of weight 1 each. Gauss-Legendre nodes stand for the rest.

    Args:
        distance: shape (...).
        count: the number of Gauss-Legendre nodes.
    """
    # The integral after the single terms is over the logarithm of the distance and has this length.
    length = torch.log((distance / (_TERMS - 0.5)).clamp(min=1))
    singles = torch.arange(_TERMS + 2, dtype=length.dtype, device=length.device)
    weights = (singles < _TERMS).to(length.dtype)
    # sum_{k >= n} f(k) = integral from n - 1/2 + d f / 24 - 17 d^3 f / 5760 + ..., d the central
    # differences at n - 1/2
    for away, coefficient in ((0, 1 / 24 + 51 / 5760), (1, -17 / 5760)):
        weights = weights + coefficient * ((singles == _TERMS + away).to(length.dtype))
        weights = weights - coefficient * ((singles == _TERMS - 1 - away).to(length.dtype))
    nodes, gauss = gauss_legendre(count, length)
    column = (-1,) + (1,) * length.ndim
    far = (_TERMS - 0.5) * torch.exp(length * nodes.reshape(column))
    ones = torch.ones_like(length)
    distances = torch.cat([singles.reshape(column) * ones, far])
    return distances, torch.cat(
        [weights.reshape(column) * ones, length * gauss.reshape(column) * far]
    )


def search_start(
    mean: Tensor, stddev: Tensor, skewness: Tensor, below: Tensor, above: Tensor
) -> tuple[Tensor, Tensor]:
    """Approximate quantiles of counts, and how many integers one probit unit spans there.

    Both are those of the gamma distribution with the same mean, variance and skewness. It is
    shifted by one half, because its cdf meets that of the counts in the middle of the steps. Its
    quantiles come from the approximation of Wilson and Hilferty (1931), or from SciPy where the
    concentration is small.

    Args:
        mean: shape (rows,), as all other arguments.
        stddev: the standard deviation.
        skewness: the third standardised moment.
        below: levels of the quantiles.
        above: 1 - below.
    """
    skewness = skewness.clamp(min=1e-6)  # practically none
    concentration, scale = 4 / skewness.square(), stddev * skewness / 2
    shift = mean - 0.5 - concentration * scale
    left = below <= above
    z = ndtri(torch.where(left, below, above))
    z = torch.where(left, z, -z)
    root = (1 - 1 / (9 * concentration) + z / (3 * concentration.sqrt())).clamp(min=0)
    quantile, slope = concentration * root**3, concentration.sqrt() * root.square()
    rows = (((concentration < 0.5) | (root < 0.3)) & (scale > 1)).nonzero().squeeze(-1)
    if len(rows):
        few = concentration[rows]
        x = torch.where(
            left[rows],
            by_scipy("gammaincinv", few, below[rows]),
            by_scipy("gammainccinv", few, above[rows]),
        )
        log_density = (few - 1) * x.log() - x - torch.lgamma(few)
        quantile[rows], slope[rows] = (
            x,
            (-0.5 * z[rows].square() - 0.5 * math.log(2 * math.pi) - log_density).exp(),
        )
    return (shift + scale * quantile).nan_to_num(0.0), (scale * slope).nan_to_num(1.0).clamp(
        0.3, 1e300
    )


def bernstein_bounds(
    mean: Tensor, variance: Tensor, tail: Tensor | float, below: Tensor, above: Tensor
) -> tuple[Tensor, Tensor]:
    """Integers with at most the probability `below` to their left and `above` to their right.

    They are Bernstein's bounds, for counts. All arguments broadcast.

    Args:
        mean: the mean of the count.
        variance: its variance.
        tail: a length with log E exp(s (Y - mean)) <= s^2 variance / (2 (1 - s tail)).
        below: a probability.
        above: a probability.
    """
    depth = -above.log()
    lower = mean - (-2 * variance * below.log()).sqrt()
    upper = mean + (2 * variance * depth).sqrt() + tail * depth
    return lower.floor().clamp(min=0).detach(), upper.ceil().detach()


def log_mass(dist: Discrete, k: Tensor) -> Tensor:
    """The log-probability at nodes of `sum_rule`, which need not be whole; -inf outside."""
    lower, upper = dist.support_limits()
    inside = (k >= lower) & (k <= upper)
    nearest = torch.minimum(torch.maximum(k, lower), upper)
    return torch.where(inside, dist._log_mass(nearest), -torch.inf)


@register_kl(Discrete, Discrete)
@in_double
def kl_by_sum(p: Discrete, q: Discrete) -> Tensor:
    """E_p[log p(Y) - log q(Y)] in nats; infinite where the support of q ends before that of p."""
    (least, most), (lower, upper) = p.support_limits(), q.support_limits()

    def difference(k: Tensor) -> Tensor:
        return p._log_mass(k) - q._log_mass(torch.minimum(torch.maximum(k, lower), upper))

    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    value = p.expand(shape)._expectation(difference)
    return torch.where((least < lower) | (most > upper), torch.inf, value)
