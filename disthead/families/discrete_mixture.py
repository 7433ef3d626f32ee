"""Mixtures of counts."""

from collections.abc import Callable

import torch
from torch import Tensor

from disthead.distributions.affine import AffineMixture
from disthead.distributions.components import Components, LogDensity
from disthead.distributions.discrete import Discrete, search_start, sum_rule
from disthead.distributions.mass_tables import MAX_TABLE_WIDTH, crps_of, grouped_by_width
from disthead.distributions.shortest_runs import SeveralPeaks
from disthead.distributions.univariate import in_double
from disthead.special.integer_search import integer_search

__all__ = ["DiscreteMixture"]

_MIN_LEVELS_OF_TABLE = 5  # of a row: from here on one table costs less than single searches
_TABLE_ERROR = 1e-13  # bound on the relative error of sums over a table


class DiscreteMixture(Components, SeveralPeaks, Discrete):
    """Mixture of K distributions of counts, with mass sum_k weight_k p_k(y).

    The support is that of the components, such as 0, 1, 2, ...

    Args:
        logits: unnormalised log-weights of the components, shape (..., K).
        components: a distribution of counts with batch_shape (..., K).
        probs: weights, shape (..., K). Exactly one of logits and probs is given.

    >>> from disthead.families.poisson import Poisson
    >>> DiscreteMixture(torch.zeros(2), Poisson(torch.tensor([1.0, 9.0]))).mean
    tensor(5.)
    """

    def affine(self, loc: Tensor, scale: Tensor) -> AffineMixture:
        # not of components in other units: quantiles and sums need the integers
        return AffineMixture(self, loc, scale)

    def _log_mass(self, x: Tensor) -> Tensor:
        return self._log_mean(self._log_densities(x))

    def _log_densities(self, y: Tensor) -> Tensor:
        # `_log_mass` also answers between integers, where sums have nodes
        return self.components._log_mass(y.unsqueeze(-1))

    def _log_cdf(self, k: Tensor) -> Tensor:
        return self._log_mean(self.components._log_cdf(k.unsqueeze(-1)))

    def _log_survival(self, k: Tensor) -> Tensor:
        return self._log_mean(self.components._log_survival(k.unsqueeze(-1)))

    def _bounds(self) -> tuple[float, float]:
        return self.components._bounds()

    def _component_quantiles(self, below: Tensor, above: Tensor) -> Tensor:
        return self.components.icdf(below)

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        first, last = self.components._bracket(below.unsqueeze(-1), above.unsqueeze(-1))
        return first.amin(-1), last.amax(-1)

    def _reach(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        first, last = self.components._reach(below.unsqueeze(-1), above.unsqueeze(-1))
        return first.amin(-1), last.amax(-1)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        first, last = self.components._bulk()
        return first.amin(-1), last.amax(-1)

    # Concrete numbers: tables of masses where ranges are short.

    _widest_table = 1 << 15

    def _numbers_of_a_mass(self) -> int:
        return self.logits.shape[-1] * self.components._numbers_of_a_mass()

    def _masses(self, first: Tensor, width: int) -> Tensor:
        count = self.logits.shape[-1]
        masses = self.components._flat()._masses(first.repeat_interleave(count), width)
        return (self.probs.unsqueeze(1) @ masses.reshape(-1, count, width)).squeeze(1)

    def _entropy_of_wide(self, first: Tensor, last: Tensor) -> Tensor:
        return self._expectation(lambda k: -self._log_mass(k))

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in counts.

        It is the integral of (cdf(t) - 1{t >= y})^2 dt, from a table of masses; or the weighted
        mean of the components' scores minus the sum of the variance of their cdfs.
        """
        if not self._is_plain(y):
            return super().crps(y)
        return self._by_tables(
            lambda rows, masses, first, y: crps_of(masses, first, y),
            lambda rows, first, last, y: Components.crps(
                rows.map(lambda part: part.unsqueeze(1)), y
            ),
            y,
        )

    def _least_by_search(self, target: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """As in `Discrete`; several levels of a row come from one narrow table of its masses."""
        shape = torch.broadcast_shapes(target.shape, self.batch_shape)
        columns, flat = self._columns(shape, target, below, above)
        if columns[0].shape[1] < _MIN_LEVELS_OF_TABLE:
            return super()._least_by_search(target, below, above)
        levels = [part.T for part in columns[1:]]
        # components without narrower limits give those of their support, one number for all
        first, last = (end.expand(levels[0].shape) for end in flat._reach(*levels))
        first, last = first.amin(0), last.amax(0)
        result = torch.empty_like(columns[0])
        groups, wide_rows = grouped_by_width(
            first, last, MAX_TABLE_WIDTH, flat._numbers_of_a_mass()
        )
        for at, width in groups:
            result[at] = flat[at]._least_in_table(columns[0][at].contiguous(), first[at], width)
        if len(wide_rows):
            result[wide_rows] = (
                super(DiscreteMixture, flat[wide_rows])
                ._least_by_search(*(column[wide_rows].T for column in columns))
                .T
            )
        return result.T.reshape(shape)

    def _least_in_table(self, target: Tensor, first: Tensor, width: int) -> Tensor:
        cdf = self.cdf(first - 1).unsqueeze(1) + self._masses(first, width).cumsum(1)
        lower, upper = (
            first[:, None] + torch.searchsorted(cdf, target * (1 + by))
            for by in (-_TABLE_ERROR, _TABLE_ERROR)
        )
        rows, levels = (lower != upper).nonzero(as_tuple=True)
        if len(rows):
            least, most = lower[rows, levels], upper[rows, levels]
            part = self[rows]
            lower[rows, levels] = integer_search(
                lambda k, some: part[some].cdf(k),
                target[rows, levels],
                least,
                most,
                least,
                torch.ones_like(least),
            )
        return lower

    def _search_limits(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        return self._reach(below, above)

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        return search_start(self.mean, self.stddev, self._skewness, below, above)

    @property
    def _skewness(self) -> Tensor:
        """The skewness, from the components' third moments about the mean of the mixture."""
        std, between = self.components.stddev, self.components.mean - self.mean.unsqueeze(-1)
        thirds = self.components._skewness * std**3 + 3 * std.square() * between + between**3
        return (self.probs * thirds).sum(-1) / self.stddev**3

    @property
    def mode(self) -> Tensor:
        """The most probable integer."""
        exact = self._in_double()
        if not exact._is_plain():
            return super().mode
        flat = exact._flat()
        peaks = flat._peaks()
        first, last = peaks.amin(-1), peaks.amax(-1)
        groups, wide_rows = grouped_by_width(
            first, last, MAX_TABLE_WIDTH, flat._numbers_of_a_mass()
        )
        if len(wide_rows):
            return super().mode
        result = torch.empty_like(first)
        for rows, width in groups:
            result[rows] = first[rows] + flat[rows]._masses(first[rows], width).argmax(1)
        return result.reshape(self.batch_shape).to(self.dtype)

    def _peaks(self) -> Tensor:
        """The modes of all components, (..., K), with mixtures of mixtures flattened."""
        if isinstance(self.components, DiscreteMixture):
            return self.components._peaks().flatten(-2)
        return self.components.mode

    def _ranges(self) -> tuple[Tensor, Tensor]:
        """The ranges of all components, (..., K), with mixtures of mixtures flattened."""
        if not isinstance(self.components, DiscreteMixture):
            return self.components._bulk()
        first, last = self.components._ranges()
        return first.flatten(-2), last.flatten(-2)

    def _sum(self, function: Callable[[Tensor], Tensor], start: Tensor | None = None) -> Tensor:
        """The sum over all integers that carry probability.

        The rule takes single integers at the start of each component, where masses rise steeply.
        """
        with torch.no_grad():
            first, last = (part.movedim(-1, 0) for part in self._ranges())
            first, last = first.sort(0).values, last.amax(0)
            following = torch.cat([first[1:], last.unsqueeze(0) + 1])
            distance, weight = sum_rule(following - first - 0.5)
            k = first + distance
            weight = torch.where(k < following - 0.25, weight, 0.0).flatten(0, 1)
            k = torch.minimum(k, last).flatten(0, 1)
        return (weight * function(k)).sum(0)

    def _disagreement(self) -> Tensor:
        # not `cdf`, a step function: sums have nodes between integers
        return self._sum(
            lambda k: self._variance_over_components(
                self.components._log_cdf(k.unsqueeze(-1)).exp()
            )
        )

    def _on_grid(self, y: Tensor) -> Tensor:
        return y.round()

    def _climb(self, points: Tensor, heights: Tensor, log_density: LogDensity) -> Tensor:
        """Bisection of the integers on whether the mass still rises."""
        left, _, right = points
        for _ in range(54):
            middle = ((left + right) / 2).floor()
            rises = (log_density(middle + 1, None) > log_density(middle, None)) & (left < right)
            left, right = (
                torch.where(rises, middle + 1, left),
                torch.where(rises, right, torch.minimum(middle, right)),
            )
        return left
