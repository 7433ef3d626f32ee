"""Mixtures of continuous distributions, for targets with more than one peak."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.distributions.component_curves import component_curves
from disthead.distributions.components import (
    Components,
    LogDensity,
    few_rows_at_once,
    information_gain,
    rows_of,
)
from disthead.distributions.continuous import Continuous
from disthead.distributions.highest_density import shortest_on_grid
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.mixture_quadrature import TAIL, disagreement, expectation
from disthead.distributions.mixture_quantiles import flat, mixture_quantiles, one_mixture
from disthead.distributions.tails import are_light
from disthead.distributions.univariate import check_level, in_double
from disthead.families.normal import Normal
from disthead.special import bracketed_newton, gauss_legendre, gauss_legendre_antiderivative
from disthead.special.eager import are_concrete, are_plain_numbers, is_tracing
from disthead.special.plain import erf
from disthead.special.probabilities import expected, log_sum_exp
from disthead.special.search import highest, highest_of_each, interpolated_roots

__all__ = ["Mixture"]

_PANEL_NODES = 12  # of a Gauss-Legendre rule
_GRID_INTERVALS = 49  # candidates for the shortest interval
_MAX_LOG_ODDS = 36.0  # of a probability that is practically 1
_GAP_TOLERANCE = 1e-6  # of the log-densities at both ends of the shortest interval
# levels of the components' quantiles on the grid of the search for a mode
_END_LEVELS = [1e-13, 1e-8, 1e-4]
_SHAPE_LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


class Mixture(Components, Continuous):
    """Mixture of K continuous distributions, with density sum_k weight_k p_k(y).

    The support is that of the components. Quantiles are searched between those of the components.
    The entropy, `crps` and divergences are integrals over panels of the line, in double precision.
    For concrete numbers (on the CPU, outside of graphs), both take few evaluations. See
    `DiscreteMixture` for counts.

    Args:
        logits: unnormalised log-weights of the components, shape (..., K).
        components: a distribution of one number with batch_shape (..., K), of any family (`Normal`,
            `Gamma`, an affine one ...).
        probs: weights, shape (..., K). Exactly one of logits and probs is given.

    >>> peaks = Mixture(torch.zeros(2), Normal(torch.tensor([-1.0, 1.0]), 0.1))
    >>> peaks.mean, peaks.log_prob(torch.tensor(1.0))
    (tensor(0.), tensor(0.6905))
    """

    def _component_quantiles(self, below: Tensor, above: Tensor) -> Tensor:
        return self.components._quantile(below, above)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        """The quantile, which lies between the smallest and the largest of the components'."""
        with torch.no_grad():
            plain = are_plain_numbers(below, above, self.logits)
            y = mixture_quantiles(self, below, above) if plain else self._search(below, above)
        if not self._is_differentiated(below, above):
            return y
        # not where the quantile rounds to an end of the support
        dense = self.log_prob(y.detach()).isfinite()
        inside = torch.where(dense, y, self.mean.detach())
        return torch.where(dense, self._with_gradient(inside, below.log(), above.log()), y)

    def _search(self, below: Tensor, above: Tensor) -> Tensor:
        """The same by a fixed number of steps, for numbers that are not concrete."""
        below, above, _ = torch.broadcast_tensors(below, above, self._constant(0.0))
        log_below, log_above, left = below.log(), above.log(), below <= above

        def residual(y: Tensor) -> tuple[Tensor, Tensor]:
            log_cdf, log_survival = self.log_cdf(y), self.log_survival(y)
            difference = torch.where(left, log_cdf - log_below, log_above - log_survival)
            return difference, torch.exp(
                self.log_prob(y) - torch.where(left, log_cdf, log_survival)
            )

        return bracketed_newton(residual, *self._bracket(below, above))

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Limits of the quantile, at most as far apart as the quantiles of one or two components.

        The first limits are the components' quantiles next to it. The other components have some
        probability below the lower limit, which bounds what a single component can have, and its
        quantile at that bound is a second limit; and the same from above.
        """
        below, above = below.unsqueeze(-1), above.unsqueeze(-1)
        own = self._component_quantiles(below, above).sort(-1).values
        points = own.movedim(-1, 0)
        # The margin keeps the root inside where sums are rounded.
        reached = (self.log_cdf(points).exp() >= below.squeeze(-1) * (1 + 1e-12)).movedim(0, -1)
        short = (self.log_survival(points).exp() >= above.squeeze(-1) * (1 + 1e-12)).movedim(0, -1)
        upper = torch.where(reached, own, own.amax(-1, keepdim=True)).amin(-1, keepdim=True)
        lower = torch.where(short, own, own.amin(-1, keepdim=True)).amax(-1, keepdim=True)
        least = self._rest(below, self.probs * self.components.log_cdf(lower).exp())
        most = self._rest(above, self.probs * self.components.log_survival(upper).exp())
        highest = torch.where(
            least < 1,
            self._component_quantiles(least.clamp(max=1), (1 - least).clamp(min=0)),
            math.inf,
        )
        lowest = torch.where(
            most < 1,
            self._component_quantiles((1 - most).clamp(min=0), most.clamp(max=1)),
            -math.inf,
        )
        lower, upper = lower.squeeze(-1), upper.squeeze(-1)
        return torch.maximum(lower, lowest.amax(-1)), torch.minimum(upper, highest.amin(-1))

    def _rest(self, total: Tensor, held: Tensor) -> Tensor:
        """The largest level of each component, where the others have at least `held` of `total`.

        It is 1 where `held` exceeds `total`.
        """
        total, sum_held = total * (1 + 1e-12), held.sum(-1, keepdim=True)
        rest = (total - (sum_held - held)).clamp(min=0) / self.probs
        # a limit that was rounded past the root is no bound
        return torch.where(sum_held <= total, rest, 1.0)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients, also by the weights: implicitly, through the mixture's cdf.

        Source: Figurnov, Mohamed and Mnih 2018.
        """
        exact = self._in_double()
        return exact._with_gradient(exact.sample(sample_shape, generator)).to(self.dtype)

    @torch.no_grad()
    def highest_density(self, level: float) -> Interval | Arc:
        """The shortest single interval with the probability `level`; not differentiable.

        With several peaks the region of highest density can consist of several intervals, with a
        smaller total length.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        check_level(level)
        exact = self._in_double()
        if not are_plain_numbers(exact.logits):
            return Interval(*(end.to(self.dtype) for end in exact._shortest(level)))
        rows = exact._flat()
        odds = rows._shortest_odds(level)
        return Interval(
            *(end.reshape(self.batch_shape).to(self.dtype) for end in rows._ends_at(odds, level))
        )

    def _ends_at(self, odds: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """The ends of the interval, from the log-odds of lying below, given lying outside."""
        below, above = (1 - level) * odds.sigmoid(), (1 - level) * (-odds).sigmoid()
        return self._quantile(
            torch.stack([below, 1 - above]), torch.stack([1 - below, above])
        ).unbind(0)

    def _shortest_odds(self, level: float) -> Tensor:
        """The log-odds of the shortest interval: the best of a grid, then equal densities."""
        share = torch.arange(0.5, _GRID_INTERVALS, dtype=self.dtype).unsqueeze(-1) / _GRID_INTERVALS
        below = ((1 - level) * share).expand(-1, *self.batch_shape)
        above = below.flip(0)
        ends = torch.cat([below, 1 - above]), torch.cat([1 - below, above])
        lower, upper = mixture_quantiles(self, *ends, is_rough=True).unflatten(0, (2, -1)).unbind(0)
        around = (upper - lower).argmin(0, keepdim=True) + torch.tensor([[0], [1], [2]])
        odds = torch.cat(
            [
                share.new_full((1, 1), -_MAX_LOG_ODDS),
                share.logit(),
                share.new_full((1, 1), _MAX_LOG_ODDS),
            ]
        )[:, 0][around]

        def gap(lower: Tensor, upper: Tensor, rows: Mixture) -> Tensor:
            return (rows.log_prob(lower) - rows.log_prob(upper)).nan_to_num(0.0).clamp(-700, 700)

        lower, upper = self._ends_at(odds, level)
        gaps, shortest = gap(lower, upper, self), (upper - lower).argmin(0, keepdim=True)
        (row,) = ((gaps[0] < 0) & (gaps[2] > 0)).nonzero(as_tuple=True)
        x, value = (part[:, row].numpy() for part in (odds, gaps))
        unknown = np.full(len(row), np.nan)
        points = [part for place in (1, 0, 2) for part in (x[place], value[place], unknown)]
        low = value[1] < 0
        bracket = np.where(low, [x[1], value[1], x[2], value[2]], [x[0], value[0], x[1], value[1]])

        def gap_at(x: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            rows = self[row[torch.from_numpy(chosen)]]
            return gap(*rows._ends_at(torch.from_numpy(x), level), rows).numpy(), np.full_like(
                x, np.nan
            )

        equal = interpolated_roots(
            gap_at,
            np.stack([*points, *bracket]),
            np.full(len(row), _GAP_TOLERANCE),
            trusted=_GAP_TOLERANCE,
            steps=8,
        )
        return odds.gather(0, shortest).squeeze(0).index_put((row,), torch.from_numpy(equal))

    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        """The same by a fixed number of steps."""
        return shortest_on_grid(self, level)

    def _on_grid(self, y: Tensor) -> Tensor:
        return y

    def _places(self) -> Tensor:
        if isinstance(self.components, Mixture):
            return self._by_component(self.components._places())
        # Towards an end of the support a density may be unbounded.
        ends = [] if self.components.support is constraints.real else _END_LEVELS
        column, like = (-1,) + (1,) * self.logits.ndim, {"dtype": self.dtype, "device": self.device}
        below = torch.tensor(
            ends + _SHAPE_LEVELS + [1 - level for level in reversed(ends)], **like
        ).reshape(column)
        above = torch.tensor(
            [1 - level for level in ends] + _SHAPE_LEVELS[::-1] + ends[::-1], **like
        ).reshape(column)
        points = [
            self._component_quantiles(below, above),
            self.components.mode.to(self.dtype).unsqueeze(0),
        ]
        return self._by_component(torch.cat(points))

    def _most_peaks(self) -> int:
        return 3

    def _log_density(self) -> LogDensity:
        if not are_plain_numbers(self.logits):
            return lambda y, _: self.log_prob(y)
        log_weights, components = flat(self)
        curves = component_curves(log_weights, components)

        def log_density(y: Tensor, rows: Tensor | None) -> Tensor:
            if curves.reach is not None:
                chosen = curves if rows is None else curves.take(rows.numpy())
                return torch.from_numpy(
                    chosen.log_density(y.reshape(-1, chosen.size).numpy())
                ).reshape(y.shape)
            if rows is None:
                return self.log_prob(y)
            return log_sum_exp(
                log_weights[rows] + rows_of(components, rows).log_prob(y.unsqueeze(-1))
            )

        return log_density

    def _climb(self, points: Tensor, heights: Tensor, log_density: LogDensity) -> Tensor:
        if not are_plain_numbers(points, self.logits):
            return highest(lambda y: log_density(y, None), points, heights)
        shape = points.shape[1:]
        row = torch.arange(points[0, 0].numel()).expand(shape[0], -1).flatten()
        return highest_of_each(
            lambda y, element: log_density(y, row[element]),
            points.reshape(3, -1),
            heights.reshape(3, -1),
            row,
        ).reshape(shape)

    def _power_ends(self) -> tuple[Tensor, Tensor]:
        """The ends of the line at which the density may be a power of the distance."""
        return self.support_limits()

    @torch.no_grad()
    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Points (nodes, ...) and weights of Gauss-Legendre rules between neighbouring breakpoints.

        Where the support has an end, the variable is the logarithm of the distance to it, since a
        density may be a power there.
        """
        points = self._breakpoints()
        lower, upper = self._power_ends()
        start, end = points[:-1], points[1:]
        near_lower = lower.isfinite() & (start - lower <= upper - end)
        near_upper = upper.isfinite() & ~near_lower
        edge = torch.where(near_lower, lower, torch.where(near_upper, upper, 0.0))
        first, last = ((point - edge).abs().clamp(min=1e-300) for point in (start, end))
        t, weights = (
            part.reshape((-1,) + (1,) * points.ndim)
            for part in gauss_legendre(_PANEL_NODES, points)
        )
        distance = first * (last / first) ** t
        logarithmic = near_lower | near_upper
        y = torch.where(
            logarithmic,
            edge + torch.where(near_upper, -distance, distance),
            start + t * (end - start),
        )
        slope = torch.where(logarithmic, distance * (last / first).log().abs(), end - start)
        return y.flatten(0, 1), (weights * slope).flatten(0, 1)

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        y, weights = self._nodes()
        density = self.log_prob(y).exp()
        return (weights * density * torch.where(density > 0, function(y), 0.0)).sum(0)

    def _by_quadrature(
        self,
        fast: Callable[["Mixture", bool], tuple[Tensor, Tensor]],
        thorough: Callable[["Mixture"], Tensor],
    ) -> Tensor:
        """An integral over few panels of the line.

        Rows in which that misses a component are integrated again with more panels, and if that
        fails, with all of them.
        """
        if not are_concrete(self.logits):
            return thorough(self)
        value, whole = (part.reshape(self.batch_shape) for part in fast(self, False))
        for again in (
            lambda rows: fast(rows, True),
            lambda rows: (thorough(rows), rows._constant(1.0) > 0),
        ):
            if whole.all():
                break
            missed = (~whole).nonzero(as_tuple=True) if self.batch_shape else ()
            rows_value, rows_whole = again(self[missed] if missed else self)
            value = value.index_put(missed, rows_value) if missed else rows_value.reshape(())
            whole = whole.index_put(missed, rows_whole) if missed else rows_whole.reshape(())
        return value

    @in_double
    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats, by quadrature."""

        @few_rows_at_once(400)
        def thorough(rows: Mixture) -> Tensor:
            return rows._expectation(lambda y: -rows.log_prob(y))

        return self._by_quadrature(
            lambda rows, has_kinks: expectation(rows, lambda total, *_: -total, has_kinks), thorough
        )

    @property
    @in_double
    def mutual_information(self) -> Tensor:
        """The mutual information of y and its component, in nats: entropy() - expected_entropy."""
        if isinstance(self.components, Components):  # of the outer components alone
            return self._mutual_information()
        return self._by_quadrature(
            lambda rows, has_kinks: expectation(
                rows, lambda _, *logs: information_gain(*logs), has_kinks
            ),
            Mixture._mutual_information,
        )

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, the integral of (cdf(t) - 1{t >= y})^2 dt.

        It has the units of y; lower is better. It is the weighted mean of the components' scores
        minus the integral of the variance of their cdfs about that of the mixture.
        """
        if isinstance(self.components, Mixture):  # flattened
            return Mixture(*one_mixture(self)).crps(y)
        return super().crps(y)

    def _disagreement(self) -> Tensor:
        if isinstance(self.components, Normal):
            return self._disagreement_of_normals()
        within = self._by_quadrature(disagreement, Mixture._integrated_disagreement)
        return within + self._disagreement_beyond()

    def _disagreement_beyond(self) -> Tensor:
        """The integral beyond the outermost quantiles of the components, of tails that are powers.

        There the tail of a component is s (y / end)^-a, with the tail s at the end and the index a.
        """
        total, indices = self._constant(0.0), self.components._tail_indices()
        if are_light(indices):
            return total
        tail = self.components._constant(TAIL)
        ends = (
            self.components._quantile(tail, 1 - tail).amin(-1, keepdim=True),
            self.components._quantile(1 - tail, tail).amax(-1, keepdim=True),
        )
        tails = self.components.log_cdf(ends[0]).exp(), self.components.log_survival(ends[1]).exp()
        for end, held, index in zip(ends, tails, indices, strict=True):
            a = torch.as_tensor(index).to(held).expand_as(held).clamp(max=1e9)
            joint = held.unsqueeze(-1) * held.unsqueeze(-2)
            joint = joint / (a.unsqueeze(-1) + a.unsqueeze(-2) - 1).clamp(min=1e-9)
            own = expected(self.probs, joint.diagonal(dim1=-2, dim2=-1))
            both = expected(self.probs, expected(self.probs.unsqueeze(-2), joint))
            distance = torch.where(end.isfinite(), end.abs(), 0.0).squeeze(-1)
            total = total + distance * (own - both)
        return total

    @few_rows_at_once(400)
    def _integrated_disagreement(self) -> Tensor:
        t, weights = self._nodes()
        smooth = self.components.support is constraints.real
        cdfs = self._integrated(t, weights) if smooth else self.components.cdf(t.unsqueeze(-1))
        return (weights * self._variance_over_components(cdfs)).sum(0)

    def _integrated(self, y: Tensor, weights: Tensor) -> Tensor:
        """The components' cdfs at the nodes (nodes, ..., K), from their densities, which cost less.

        In each panel they are integrals of the polynomial through the densities. Before the first
        panel no component has more than 1e-13. For a component that is too narrow for the rule, the
        total differs from 1.
        """
        # (nodes of a panel, panels, ..., K)
        density = self._log_densities(y).exp().unflatten(0, (_PANEL_NODES, -1))
        weights = weights.unflatten(0, (_PANEL_NODES, -1)).unsqueeze(-1)
        mass = (weights * density).sum(0)
        if not is_tracing() and bool(((mass.sum(0) - 1).abs() > 1e-6).any()):
            return self.components.cdf(y.unsqueeze(-1))
        within = torch.tensordot(
            gauss_legendre_antiderivative(_PANEL_NODES, y), density, 1
        ) * weights.sum(0)
        return (mass.cumsum(0) - mass + within).flatten(0, 1)

    def _disagreement_of_normals(self) -> Tensor:
        """Half the mean distance of two samples minus that within components, in closed form.

        Source: Grimit, Gneiting, Berrocal and Johnson 2006.
        """
        loc, variance = self.components.loc, self.components.variance
        difference = loc.unsqueeze(-1) - loc.unsqueeze(-2)
        std = (variance.unsqueeze(-1) + variance.unsqueeze(-2)).sqrt()
        z = difference / std
        distance = difference * erf(z / math.sqrt(2)) + 2 * std * torch.exp(
            -0.5 * z.square() - HALF_LOG_TWO_PI
        )
        within = distance.diagonal(dim1=-2, dim2=-1)
        excess = distance - 0.5 * (within.unsqueeze(-1) + within.unsqueeze(-2))
        return 0.5 * (self.probs.unsqueeze(-1) * self.probs.unsqueeze(-2) * excess).sum((-2, -1))
