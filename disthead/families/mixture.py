"""Mixtures: several distributions at once, for targets with more than one peak."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.families.continuous import Continuous
from disthead.families.discrete import Discrete, _distances
from disthead.families.distribution import HALF_LOG_TWO_PI, Distribution, from_score, same_kind
from disthead.families.family import Family, get_family
from disthead.families.normal import Normal
from disthead.families.pieces import operations_are_followed
from disthead.families.univariate import check_level, in_double
from disthead.links import LINKS
from disthead.special import bracketed_newton, gauss_legendre, gauss_legendre_antiderivative
from disthead.special.elementary import is_double, log_sum_exp, softmax, where

__all__ = ["DiscreteMixture", "Mixture", "MixtureFamily", "NormalMixtureFamily", "mixture"]

# The quantiles of the components that divide the line into pieces on which everything about the mixture is smooth.
_TAILS = [10.0**-k for k in range(13, 1, -1)]
_BODY = [0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97]
_BELOW = _TAILS + _BODY + [1 - tail for tail in reversed(_TAILS)]
_ABOVE = [1 - tail for tail in _TAILS] + [1 - level for level in _BODY] + _TAILS[::-1]
_NODES = 12  # in each piece
_NUMBERS = 1 << 21  # held at once
_GOLDEN = (math.sqrt(5) - 1) / 2


def _few_rows_at_once(answer: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """An answer by quadrature, piece by piece of the batch: each row has 400 nodes for every component."""

    @functools.wraps(answer)
    def answered(self: Any) -> Tensor:
        rows = self.batch_shape[0] if self.batch_shape else 0
        numbers = 400 * self.logits.shape[-1] * self.logits.numel() // max(rows, 1)
        size = max(1, _NUMBERS // max(numbers, 1))
        if rows <= size:
            return answer(self)
        return torch.cat([answer(self[start : start + size]) for start in range(0, rows, size)])

    return answered


def mixture(logits: Tensor, components: Distribution) -> "Mixture | DiscreteMixture":
    """The mixture of `components`, of the kind that they are: a `Mixture`, a `DiscreteMixture` of counts, or a `CircularMixture`."""
    return _kind(components.support)(logits, components)


def _kind(support: constraints.Constraint) -> "type[Mixture] | type[DiscreteMixture]":
    from disthead.families.circular_mixture import CircularMixture

    if getattr(support, "is_circular", False):
        return CircularMixture
    return DiscreteMixture if support.is_discrete else Mixture


class _Components:
    """What mixtures of continuous distributions and of counts have in common."""

    def __init__(self, logits: Tensor, components: Distribution):
        logits = torch.as_tensor(logits, dtype=components.dtype, device=components.device)
        shape = torch.broadcast_shapes(logits.shape, components.batch_shape)
        self.logits = logits.expand(shape)
        self.components = components if components.batch_shape == shape else components.expand(shape)
        self._names: tuple[str, ...] = ("logits",)
        Distribution.__init__(self, shape[:-1], validate_args=False)

    @property
    def log_weights(self) -> Tensor:
        return self.logits.log_softmax(-1)

    @property
    def probs(self) -> Tensor:
        """The weights of the components, which sum to one."""
        return self.logits.softmax(-1)

    @property
    def support(self) -> constraints.Constraint:
        return self.components.support

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        of_components = {_own_name(name): constraint for name, constraint in self.components.arg_constraints.items()}
        return of_components | {"logits": constraints.real_vector, "probs": constraints.simplex}

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"logits": self.logits} | {_own_name(name): value for name, value in self.components.parameters.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(logits: {list(self.logits.shape)}, {self.components!r})"

    def map(self, function):
        if self._source is not None and self._is_waiting:
            return self._source.map(function).distribution()
        mapped = type(self)(function(self.logits), self.components.map(function))
        return mapped._made_of(self._source and self._source.map(function))

    @same_kind
    def affine(self, loc: Tensor, scale: Tensor):
        return type(self)(self.logits, self.components.affine(loc.unsqueeze(-1), scale.unsqueeze(-1)))

    def _in_double(self):
        if self._source is not None and self.dtype != torch.float64 and self.device.type != "mps":
            return self._source.in_double()
        components = self.components._in_double()
        return type(self)(self.logits.to(components.dtype), components)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        lower, upper = self.components.support_limits()
        return lower.amin(-1), upper.amax(-1)

    # Probabilities. Double precision also keeps the gradient of a component alive that is far away: its weight is zero there,
    # and what it is multiplied with must not overflow.

    def _log_mean(self, values: Tensor) -> Tensor:
        """log of the weighted mean of exp(values) over the components, with gradient zero where all of them vanish."""
        terms = self.log_weights + values
        top = terms.detach().amax(-1)
        finite = top.isfinite()
        shift = torch.where(finite, top, 0.0)
        total = torch.exp(torch.where(finite.unsqueeze(-1), terms - shift.unsqueeze(-1), 0.0)).sum(-1)
        return torch.where(finite, total.log() + shift, top)

    @from_score
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        return self._log_mean(self.components.log_prob(y.unsqueeze(-1)))

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return (self.probs * self.components.cdf(y.unsqueeze(-1))).sum(-1)

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return self._log_mean(self.components.log_cdf(y.unsqueeze(-1)))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return self._log_mean(self.components.log_survival(y.unsqueeze(-1)))

    def responsibilities(self, y: Tensor) -> Tensor:
        """The probability of each component once y is known, shape (..., K)."""
        return (self.log_weights + self.components.log_prob(y.unsqueeze(-1))).softmax(-1)

    @property
    def mean(self) -> Tensor:
        return (self.probs * self.components.mean).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Law of total variance: the mean of the variances plus the variance of the means."""
        between = self.components.mean - self.mean.unsqueeze(-1)
        return (self.probs * (self.components.variance + between.square())).sum(-1)

    @property
    @in_double
    def aleatoric(self) -> Tensor:
        """The mean of the components' variances: of an ensemble, the noise in the data."""
        return (self.probs * self.components.variance).sum(-1)

    @property
    @in_double
    def epistemic(self) -> Tensor:
        """The variance of the components' means: of an ensemble, where its members disagree. With `aleatoric` it is `variance`."""
        return (self.probs * (self.components.mean - self.mean.unsqueeze(-1)).square()).sum(-1)

    @property
    @in_double
    def expected_entropy(self) -> Tensor:
        """The mean of the components' entropies, in nats."""
        return (self.probs * self.components.entropy()).sum(-1)

    @property
    @in_double
    @_few_rows_at_once
    def mutual_information(self) -> Tensor:
        """What y would tell about its component, in nats: the rest of `entropy()` beside `expected_entropy`."""

        def gained(y: Tensor) -> Tensor:
            shares = (self.log_weights + self._log_densities(y)).log_softmax(-1)
            gain = shares.exp() * (shares - self.log_weights)
            return torch.where(shares > -torch.inf, gain, 0.0).sum(-1)

        return self._expectation(gained)

    def _log_densities(self, y: Tensor) -> Tensor:
        """Of the components at y."""
        return self.components.log_prob(y.unsqueeze(-1))

    @torch.no_grad()
    def sample(self, sample_shape=Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        race = torch.empty(shape + self.logits.shape[-1:], dtype=self.dtype, device=self.device).exponential_()
        chosen = (self.logits - race.log()).argmax(-1, keepdim=True)  # Gumbel's trick
        return self.components.sample(sample_shape).gather(-1, chosen).squeeze(-1)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, the integral of (cdf(t) - 1{t >= y})^2 dt, in the units of y; lower is better.

        The weighted mean of the components' own scores, less the integral of the variance of their cdfs about the mixture's.
        """
        return (self.probs * self.components.crps(y.unsqueeze(-1))).sum(-1) - self._disagreement()

    def _variance_over_components(self, cdfs: Tensor) -> Tensor:
        mean = (self.probs * cdfs).sum(-1, keepdim=True)
        return (self.probs * (cdfs - mean).square()).sum(-1)

    # Peaks.

    def _breakpoints(self) -> Tensor:
        """Quantiles of all components from tail to tail, sorted, of shape (points, ...)."""
        if isinstance(self.components, _Components):  # an ensemble of mixtures: the pieces of all of them
            return self._by_component(self.components._breakpoints()).sort(0).values
        column = (-1,) + (1,) * self.logits.ndim
        like = {"dtype": self.dtype, "device": self.device}
        below, above = (torch.tensor(levels, **like).reshape(column) for levels in (_BELOW, _ABOVE))
        return self._by_component(self._component_quantiles(below, above)).sort(0).values

    @staticmethod
    def _by_component(points: Tensor) -> Tensor:
        return points.movedim(-1, 0).flatten(0, 1)

    @property
    @in_double
    @torch.no_grad()
    def mode(self) -> Tensor:
        """The highest peak: local searches around the highest points of a grid of the components' quantiles, modes and means."""
        size = self.logits.shape[-1]
        special = torch.stack([self.components.mode, self.components.mean]).to(self.dtype).nan_to_num(0.0)
        lower, upper = self.support_limits()
        grid = torch.cat([self._breakpoints(), self._by_component(special)])
        grid = torch.minimum(torch.maximum(self._on_grid(grid), lower), upper).sort(0).values
        height = self.log_prob(grid).nan_to_num(-torch.inf, torch.inf, -torch.inf)
        wall = torch.full_like(height[:1], -torch.inf)
        peak = (height >= torch.cat([wall, height[:-1]])) & (height >= torch.cat([height[1:], wall]))
        best = torch.where(peak, height, -torch.inf).topk(size, 0).indices
        left = grid.gather(0, (best - 1).clamp(min=0))
        right = grid.gather(0, (best + 1).clamp(max=grid.shape[0] - 1))
        found = torch.cat([self._climb(left, right), grid.gather(0, best)])
        found = found.gather(0, self.log_prob(found).nan_to_num(-torch.inf).argmax(0, keepdim=True)).squeeze(0)
        # A density without bound is highest at the end of the support itself.
        near = 1e-12 * (grid[-1] - grid[0])
        found = torch.where(found - lower < near, lower, found)
        return torch.where(upper - found < near, upper, found)


class Mixture(_Components, Continuous):
    """Mixture of K continuous distributions, with density sum_k weight_k p_k(y).

    Args:
        logits: unnormalised log-weights of the components, shape (..., K).
        components: a distribution of one number with batch_shape (..., K), of any family (`Normal`, `Gamma`, an affine one ...).

    The entropy and the divergences are integrals over pieces between the components' quantiles, in double precision.
    See `DiscreteMixture` for counts.

    >>> peaks = Mixture(torch.zeros(2), Normal(torch.tensor([-1.0, 1.0]), 0.1))
    >>> peaks.mean, peaks.log_prob(torch.tensor(1.0))
    (tensor(0.), tensor(0.6905))
    """

    def _component_quantiles(self, below: Tensor, above: Tensor) -> Tensor:
        return self.components._quantile(below, above)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        """The quantile lies between the smallest and the largest of the components' own."""
        below, above, _ = torch.broadcast_tensors(below, above, self._constant(0.0))
        log_below, log_above, left = below.log(), above.log(), below <= above

        def residual(y: Tensor) -> tuple[Tensor, Tensor]:
            log_cdf, log_survival = self.log_cdf(y), self.log_survival(y)
            difference = torch.where(left, log_cdf - log_below, log_above - log_survival)
            return difference, torch.exp(self.log_prob(y) - torch.where(left, log_cdf, log_survival))

        with torch.no_grad():
            y = bracketed_newton(residual, *self._bracket(below, above))
            dense = self.log_prob(y).isfinite()  # not where the quantile rounds to an end of the support
            inside = torch.where(dense, y, self.mean)
        return torch.where(dense, self._with_gradient(inside, log_below, log_above), y)

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Limits of the quantile, at most as far apart as the quantiles of one or two components.

        First the components' own quantiles next to it; then, since what the others hold below the lower limit leaves a
        component no more than the rest, its quantile at the rest; and the same from above.
        """
        below, above = below.unsqueeze(-1), above.unsqueeze(-1)
        own = self._component_quantiles(below, above).sort(-1).values
        points = own.movedim(-1, 0)
        # Sums that round must not cut the root off.
        reached = (self.log_cdf(points).exp() >= below.squeeze(-1) * (1 + 1e-12)).movedim(0, -1)
        short = (self.log_survival(points).exp() >= above.squeeze(-1) * (1 + 1e-12)).movedim(0, -1)
        upper = torch.where(reached, own, own.amax(-1, keepdim=True)).amin(-1, keepdim=True)
        lower = torch.where(short, own, own.amin(-1, keepdim=True)).amax(-1, keepdim=True)
        least = self._rest(below, self.probs * self.components.log_cdf(lower).exp())
        most = self._rest(above, self.probs * self.components.log_survival(upper).exp())
        highest = torch.where(
            least < 1, self._component_quantiles(least.clamp(max=1), (1 - least).clamp(min=0)), math.inf
        )
        lowest = torch.where(most < 1, self._component_quantiles((1 - most).clamp(min=0), most.clamp(max=1)), -math.inf)
        lower, upper = lower.squeeze(-1), upper.squeeze(-1)
        return torch.maximum(lower, lowest.amax(-1)), torch.minimum(upper, highest.amin(-1))

    def _rest(self, total: Tensor, held: Tensor) -> Tensor:
        """The most that each component can hold of `total`, where the others hold at least this; 1 where that is too much."""
        total, sum_held = total * (1 + 1e-12), held.sum(-1, keepdim=True)
        rest = (total - (sum_held - held)).clamp(min=0) / self.probs
        return torch.where(sum_held <= total, rest, 1.0)  # a limit that was rounded past the root says nothing

    def rsample(self, sample_shape=Size()) -> Tensor:
        """Samples with gradients in the weights too: implicitly, through the cdf of the mixture (Figurnov et al. 2018)."""
        exact = self._in_double()
        return exact._with_gradient(exact.sample(sample_shape)).to(self.dtype)

    @torch.no_grad()
    def highest_density(self, level: float) -> tuple[Tensor, Tensor]:
        """The shortest single interval that holds `level` of the probability; not differentiable.

        With several peaks the region of highest density can fall into several intervals, of a smaller total length.
        """
        check_level(level)
        exact = self._in_double()

        def ends(below: Tensor) -> tuple[Tensor, Tensor]:
            above = (1 - level - below).clamp(min=0)
            return exact._quantile(torch.stack([below, 1 - above]), torch.stack([1 - below, above])).unbind(0)

        # A grid of the probability below the interval, refined around its best point: each round is one batch of quantiles.
        left, right = exact._constant(0.0), exact._constant(1 - level)
        for points in (65, 17, 17, 17, 17, 17, 17):
            share = torch.linspace(0, 1, points, dtype=exact.dtype, device=self.device)
            below = left + (right - left) * share.reshape((-1,) + (1,) * len(self.batch_shape))
            lower, upper = ends(below)
            best = (upper - lower).argmin(0, keepdim=True)
            left, right = (below.gather(0, (best + step).clamp(0, points - 1)).squeeze(0) for step in (-1, 1))
        return lower.gather(0, best).squeeze(0).to(self.dtype), upper.gather(0, best).squeeze(0).to(self.dtype)

    def _on_grid(self, y: Tensor) -> Tensor:
        return y

    def _climb(self, left: Tensor, right: Tensor) -> Tensor:
        return _golden_section(self.log_prob, left, right, 80)

    def _power_ends(self) -> tuple[Tensor, Tensor]:
        """The ends of the line at which the density may be a power of the distance to them."""
        return self.support_limits()

    @torch.no_grad()
    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Points (nodes, ...) and weights of Gauss-Legendre rules between neighbouring breakpoints.

        Where the support has an end, the rule is taken in the logarithm of the distance to it, since a density may be a power there.
        """
        points = self._breakpoints()
        lower, upper = self._power_ends()
        start, end = points[:-1], points[1:]
        near_lower = lower.isfinite() & (start - lower <= upper - end)
        near_upper = upper.isfinite() & ~near_lower
        edge = torch.where(near_lower, lower, torch.where(near_upper, upper, 0.0))
        first, last = ((point - edge).abs().clamp(min=1e-300) for point in (start, end))
        t, weights = (part.reshape((-1,) + (1,) * points.ndim) for part in gauss_legendre(_NODES, points))
        distance = first * (last / first) ** t
        logarithmic = near_lower | near_upper
        y = torch.where(logarithmic, edge + torch.where(near_upper, -distance, distance), start + t * (end - start))
        slope = torch.where(logarithmic, distance * (last / first).log().abs(), end - start)
        return y.flatten(0, 1), (weights * slope).flatten(0, 1)

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        y, weights = self._nodes()
        density = self.log_prob(y).exp()
        return torch.where(density > 0, weights * density * function(y), 0.0).sum(0)

    @in_double
    @_few_rows_at_once
    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats, by quadrature between the components' quantiles."""
        return self._expectation(lambda y: -self.log_prob(y))

    def _disagreement(self) -> Tensor:
        return (
            self._disagreement_of_normals() if isinstance(self.components, Normal) else self._integrated_disagreement()
        )

    @_few_rows_at_once
    def _integrated_disagreement(self) -> Tensor:
        t, weights = self._nodes()
        smooth = self.components.support is constraints.real
        cdfs = self._integrated(t, weights) if smooth else self.components.cdf(t.unsqueeze(-1))
        return (weights * self._variance_over_components(cdfs)).sum(0)

    def _integrated(self, y: Tensor, weights: Tensor) -> Tensor:
        """The components' cdfs at the nodes (nodes, ..., K), from densities, which cost far less: their polynomials, piece by piece.

        Below the first piece no component has more than 1e-13. A component too narrow for the numbers around it shows by a total
        that is not 1.
        """
        density = self._log_densities(y).exp().unflatten(0, (_NODES, -1))  # (nodes of a piece, pieces, ..., K)
        weights = weights.unflatten(0, (_NODES, -1)).unsqueeze(-1)
        mass = (weights * density).sum(0)
        if not operations_are_followed() and bool(((mass.sum(0) - 1).abs() > 1e-6).any()):
            return self.components.cdf(y.unsqueeze(-1))
        within = torch.tensordot(gauss_legendre_antiderivative(_NODES, y), density, 1) * weights.sum(0)
        return (mass.cumsum(0) - mass + within).flatten(0, 1)

    def _disagreement_of_normals(self) -> Tensor:
        """In closed form: half the mean distance of two samples, less that within components (Grimit et al. 2006)."""
        loc, variance = self.components.loc, self.components.variance
        difference = loc.unsqueeze(-1) - loc.unsqueeze(-2)
        sd = (variance.unsqueeze(-1) + variance.unsqueeze(-2)).sqrt()
        z = difference / sd
        distance = difference * torch.erf(z / math.sqrt(2)) + 2 * sd * torch.exp(-0.5 * z.square() - HALF_LOG_TWO_PI)
        within = distance.diagonal(dim1=-2, dim2=-1)
        excess = distance - 0.5 * (within.unsqueeze(-1) + within.unsqueeze(-2))
        return 0.5 * (self.probs.unsqueeze(-1) * self.probs.unsqueeze(-2) * excess).sum((-2, -1))


class DiscreteMixture(_Components, Discrete):
    """Mixture of K distributions of counts, with mass sum_k weight_k p_k(y).

    Args:
        logits: unnormalised log-weights of the components, shape (..., K).
        components: a distribution of counts with batch_shape (..., K).

    >>> from disthead.families.poisson import Poisson
    >>> DiscreteMixture(torch.zeros(2), Poisson(torch.tensor([1.0, 9.0]))).mean
    tensor(5.)
    """

    def _log_mass(self, x: Tensor) -> Tensor:
        return self._log_mean(self._log_densities(x))

    def _log_densities(self, y: Tensor) -> Tensor:
        return self.components._log_mass(y.unsqueeze(-1))  # also between integers, where the sum asks too

    def _log_cdf(self, k: Tensor) -> Tensor:
        return self._log_mean(self.components._log_cdf(k.unsqueeze(-1)))

    def _log_survival(self, k: Tensor) -> Tensor:
        return self._log_mean(self.components._log_survival(k.unsqueeze(-1)))

    def _component_quantiles(self, below: Tensor, above: Tensor) -> Tensor:
        return self.components.icdf(below)

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        first, last = self.components._bracket(below.unsqueeze(-1), above.unsqueeze(-1))
        return first.amin(-1), last.amax(-1)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        first, last = self.components._bulk()
        return first.amin(-1), last.amax(-1)

    def _ranges(self) -> tuple[Tensor, Tensor]:
        """Where each component carries probability, and each component's own where it is a mixture."""
        if not isinstance(self.components, DiscreteMixture):
            return self.components._bulk()
        first, last = self.components._ranges()
        return first.flatten(-2), last.flatten(-2)

    def _sum(self, function: Callable[[Tensor], Tensor], start: Tensor | None = None) -> Tensor:
        """The sum over all integers that carry probability, begun afresh where each component does: there it needs every term."""
        with torch.no_grad():
            first, last = (part.movedim(-1, 0) for part in self._ranges())
            first, last = first.sort(0).values, last.amax(0)
            following = torch.cat([first[1:], last.unsqueeze(0) + 1])
            distance, weight = _distances(torch.log(((following - first - 0.5) / 191.5).clamp(min=1)))
            k = first + distance
            weight = torch.where(k < following - 0.25, weight, 0.0).flatten(0, 1)
            k = torch.minimum(k, last).flatten(0, 1)
        return (weight * function(k)).sum(0)

    def _disagreement(self) -> Tensor:
        # Not `cdf`, which is a step function: the sum asks between integers too.
        return self._sum(lambda k: self._variance_over_components(self.components._log_cdf(k.unsqueeze(-1)).exp()))

    @torch.no_grad()
    def highest_density(self, level: float) -> tuple[Tensor, Tensor]:
        """The shortest run of integers that holds at least `level` of the probability, of those that start at one of 257 quantiles.

        Every integer with a probability above (1 - level) / 256 is such a start. With several peaks the most probable integers
        can fall into several runs.
        """
        check_level(level)
        exact = self._in_double()
        below = torch.linspace(0, 1 - level, 257, dtype=exact.dtype, device=self.device)
        lower = exact.icdf(below.clamp(min=1e-15).reshape((-1,) + (1,) * len(self.batch_shape)) + exact._constant(0.0))
        upper = exact.icdf((exact.cdf(lower - 1) + level).clamp(max=1 - 1e-15))
        enough = exact.cdf(upper) - exact.cdf(lower - 1) >= level - 1e-12
        shortest = torch.where(enough, upper - lower, torch.inf).argmin(0, keepdim=True)
        return tuple(end.gather(0, shortest).squeeze(0).to(self.dtype) for end in (lower, upper))

    def _on_grid(self, y: Tensor) -> Tensor:
        return y.round()

    def _climb(self, left: Tensor, right: Tensor) -> Tensor:
        """Bisection of the integers on whether the mass still rises."""
        for _ in range(54):
            middle = ((left + right) / 2).floor()
            rises = (self.log_prob(middle + 1) > self.log_prob(middle)) & (left < right)
            left, right = torch.where(rises, middle + 1, left), torch.where(rises, right, torch.minimum(middle, right))
        return left


def _golden_section(function: Callable[[Tensor], Tensor], left: Tensor, right: Tensor, steps: int) -> Tensor:
    """Where a function with one peak between `left` and `right` is highest, by a fixed number of steps."""
    for _ in range(steps):
        width = _GOLDEN * (right - left)
        low, high = right - width, left + width
        rises = function(low) < function(high)
        left, right = torch.where(rises, low, left), torch.where(rises, right, high)
    return 0.5 * (left + right)


def _own_name(name: str) -> str:
    """A parameter of the components beside the mixture's own logits."""
    return f"component_{name}" if name in ("logits", "probs") else name


class MixtureFamily(Family):
    """Mixture of any family of one number.

    Args:
        component: the family of the components, a name or a `Family`.
        num_components: how many.
        component_options: what the component family takes.
    """

    name = "mixture"
    data_type = "univariate, continuous, unbounded"
    domain = "that of its components, y in R for normal ones"
    use = "multimodal regression"
    loss = "log-sum-exp of the components, of Gaussians for normal ones"
    noise = "Each observation comes from one of several sources, which the features alone do not tell apart."
    density = "p(y) = sum_k weight_k p_k(y), weight = softmax(logits)"
    breaks = (
        "A component can shrink onto a single point, with a likelihood without bound. The likelihood has several optima,"
        " and components that start equal stay equal."
    )
    remedy = "Fewer components, a shared or floored scale, initialize(y) before training; one component if the data have one peak."

    def __init__(self, component: "str | Family" = "normal", num_components: int = 2, **component_options):
        self.component = get_family(component, **component_options)
        if self.component.event_dim:
            raise ValueError(f"component must be a family of one number, got {self.component.name}.")
        if not isinstance(num_components, int) or num_components < 1:
            raise ValueError(f"num_components must be a whole number of at least 1, got {num_components!r}.")
        self.num_components = num_components
        self.parameters = {"logits": LINKS["softmax"]} | {
            _own_name(name): link for name, link in self.component.parameters.items()
        }
        self.shapes = {"logits": (num_components,)} | {
            _own_name(name): (num_components, *self.component.shapes.get(name, ()))
            for name in self.component.parameters
        }
        self.support = self.component.support
        self.scored = self.component.scored
        self.known = self.component.known
        if self.component.quick and not self.component.shapes:
            self.quick = _kind(self.support)

    def make(self, logits: Tensor | None = None, probs: Tensor | None = None, **parameters: Tensor) -> Distribution:
        if (logits is None) == (probs is None):
            raise TypeError("give the weights as one of logits and probs.")
        logits = probs.log() if logits is None else logits
        if logits.shape[-1:] != (self.num_components,):
            raise ValueError(
                f"logits must end in {self.num_components}, one for each component, got the shape {tuple(logits.shape)}."
            )
        own = {_without_prefix(name): value for name, value in parameters.items()}
        own |= {name: own[name].unsqueeze(-1) for name in self.known if name in own}
        return mixture(logits, self.component.make(**own))

    def score(self, y, logits, *parameters):
        """By Bayes' rule: the derivatives of the components, each weighted by the probability that y came from it."""
        values, *slopes = self.component.score(y, *parameters)
        probs, log_probs = softmax(logits)
        total, shares = log_sum_exp(values + log_probs)
        if is_double(total):  # a component out of the question may have an infinite slope
            slopes = [where(shares == 0, 0.0, slope) for slope in slopes]
        return total, shares - probs, *(shares * slope for slope in slopes)

    def constrain(self, raw, links):
        of_mixture = super().constrain({name: part for name, part in raw.items() if name == "logits"}, links)
        of_components = self.component.constrain(*self._for_component(raw, links))
        return of_mixture | {_with_prefix(name): value for name, value in of_components.items()}

    def unconstrain(self, values, links):
        of_mixture = super().unconstrain({name: part for name, part in values.items() if name == "logits"}, links)
        of_components = self.component.unconstrain(*self._for_component(values, links))
        return of_mixture | {_own_name(name): value for name, value in of_components.items()}

    def _for_component(self, values, links):
        return tuple(
            {_without_prefix(name): part for name, part in table.items() if name != "logits"}
            for table in (values, links)
        )

    def start(self, y: Tensor) -> dict[str, Tensor]:
        """Each component starts from its slice of the sorted targets."""
        slices = [part if len(part) else y for part in y.sort(0).values.tensor_split(self.num_components)]
        starts = [self.component.start(part) for part in slices]
        values = {
            _own_name(name): torch.stack(
                [start[name].expand(y.shape[1:] + start[name].shape[y.ndim - 1 :]) for start in starts], y.ndim - 1
            )
            for name in starts[0]
        }
        return {"logits": torch.zeros((*y.shape[1:], self.num_components), dtype=y.dtype, device=y.device)} | values


def _with_prefix(name: str) -> str:
    bare = name.removeprefix("log_")
    return name if bare not in ("logits", "probs") else name.replace(bare, _own_name(bare))


def _without_prefix(name: str) -> str:
    return name.replace("component_", "")


class NormalMixtureFamily(MixtureFamily):
    """Mixture of normal distributions: `mixture` by a short name."""

    name = "normal_mixture"
    domain = "y in R"
    loss = "log-sum-exp of Gaussians"

    def __init__(self, num_components: int = 2):
        super().__init__("normal", num_components)
