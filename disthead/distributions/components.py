"""`Components`: the base of mixtures, of continuous distributions and of counts."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.arrays import exactly_one
from disthead.distributions.base import Distribution, closed_under_affine, with_fused_loss
from disthead.distributions.supports import AnyComponent, has_rows
from disthead.distributions.tails import Indices, are_light, with_infinite_crps
from disthead.distributions.univariate import in_double
from disthead.special.probabilities import expected, log_probability, log_sum_exp

__all__ = [
    "Components",
    "LogDensity",
    "component_name",
    "few_rows_at_once",
    "information_gain",
    "rows_of",
]

# Levels of the components' quantiles. They cut the line into panels on which the mixture is smooth.
_TAILS = [10.0**-k for k in range(13, 1, -1)]
_BODY = [0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97]
_BELOW = _TAILS + _BODY + [1 - tail for tail in reversed(_TAILS)]
_ABOVE = [1 - tail for tail in _TAILS] + [1 - level for level in _BODY] + _TAILS[::-1]
_CHUNK_ELEMENTS = 1 << 18  # of one intermediate result, which then fits the cache
LogDensity = Callable[[Tensor, Tensor | None], Tensor]
_MOST_RATIO = 80.0  # its exponential is finite in single precision, too


def few_rows_at_once(nodes: int) -> Callable[[Callable[[Any], Tensor]], Callable[[Any], Tensor]]:
    """A decorator that computes a method of a mixture in chunks of rows that fit the cache.

    Args:
        nodes: the number of points for each row and component; every component is evaluated at
            each of them.
    """

    def decorate(answer: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
        @functools.wraps(answer)
        def answered(self: Any) -> Tensor:
            rows = self.batch_shape[0] if self.batch_shape else 0
            numbers = nodes * self.logits.shape[-1] * self.logits.numel() // max(rows, 1)
            size = max(1, _CHUNK_ELEMENTS // max(numbers, 1))
            if rows <= size:
                return answer(self)
            return torch.cat([answer(self[start : start + size]) for start in range(0, rows, size)])

        return answered

    return decorate


def rows_of(components: Distribution, rows: "Tensor | slice") -> Distribution:
    """The components of some of n rows, from components of batch_shape (n, K)."""
    return components.map(lambda parameter: parameter[rows])


def component_name(name: str) -> str:
    """The name of a component's parameter in the mixture, which has logits and probs of its own."""
    return f"component_{name}" if name in ("logits", "probs") else name


def information_gain(joint: Tensor, log_weights: Tensor) -> Tensor:
    """The information that an outcome gives about its component, in nats, shape (...).

    It is the divergence of the component's probabilities given the outcome from the weights.

    Args:
        joint: log(weight_k p_k(y)), shape (..., K).
        log_weights: shape (..., K).
    """
    shares = joint.log_softmax(-1)
    return expected(shares.exp(), shares - log_weights)


class Components:
    """A mixture p(y) = sum_k weight_k p_k(y); its classes derive from this and from the kind of y.

    Args:
        logits: unnormalised log-weights, shape (..., K).
        components: a distribution of batch_shape (..., K).
        probs: weights, shape (..., K). Exactly one of logits and probs is given.
    """

    # normalised weights, kept since a logit of -inf has no gradient
    given_probs: Tensor | None = None

    def __init__(
        self, logits: Tensor | None, components: Distribution, *, probs: Tensor | None = None
    ):
        exactly_one("a mixture", logits=logits, probs=probs)
        weights = torch.as_tensor(
            probs if logits is None else logits, dtype=components.dtype, device=components.device
        )
        shape = torch.broadcast_shapes(weights.shape, components.batch_shape)
        if logits is None:
            self.given_probs = (weights / weights.sum(-1, keepdim=True)).expand(shape)
            weights = log_probability(self.given_probs)
        self.logits = weights.expand(shape)
        self.components = (
            components if components.batch_shape == shape else components.expand(shape)
        )
        self._names: tuple[str, ...] = ("logits",)
        Distribution.__init__(self, shape[:-1], validate_args=False)

    def _like_batch(self) -> Tensor:
        return self.logits[..., 0]

    @property
    def log_weights(self) -> Tensor:
        """The logarithms of the weights, shape (..., K)."""
        return self.logits.log_softmax(-1) if self.given_probs is None else self.logits

    @property
    def probs(self) -> Tensor:
        """The weights of the components, which sum to one."""
        return self.logits.softmax(-1) if self.given_probs is None else self.given_probs

    def _remade(self, function: Callable[[Tensor], Tensor], components: Distribution):
        """The mixture of the components given, with `function` applied to the weights."""
        if self.given_probs is not None:
            return type(self)(None, components, probs=function(self.given_probs))
        return type(self)(function(self.logits), components)

    @property
    def support(self) -> constraints.Constraint:
        support = self.components.support
        return AnyComponent(support) if has_rows(support) else support

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        of_components = {
            component_name(name): constraint
            for name, constraint in self.components.arg_constraints.items()
        }
        return of_components | {"logits": constraints.real_vector, "probs": constraints.simplex}

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"logits": self.logits} | {
            component_name(name): value for name, value in self.components.parameters.items()
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}(logits: {list(self.logits.shape)}, {self.components!r})"

    def map(self, function):
        if self._linked is not None and self._is_lazy:
            return self._linked.map(function).distribution()
        mapped = self._remade(function, self.components.map(function))
        return mapped._linked_to(self._linked and self._linked.map(function))

    @closed_under_affine
    def affine(self, loc: Tensor, scale: Tensor):
        components = self.components.affine(loc.unsqueeze(-1), scale.unsqueeze(-1))
        return self._remade(lambda weights: weights, components)

    def _in_double(self):
        if self._linked is not None and self.dtype != torch.float64 and self.device.type != "mps":
            return self._linked.in_double()
        components = self.components._in_double()
        if components is self.components and components.dtype == self.logits.dtype:
            return self
        return self._remade(lambda weights: weights.to(components.dtype), components)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest end of the components' supports, of shape batch."""
        lower, upper = self.components.support_limits()
        return lower.amin(-1), upper.amax(-1)

    # Probabilities. Double precision also keeps the gradient of a distant component: its share is
    # zero there, and the factor must not overflow.

    def _log_mean(self, values: Tensor) -> Tensor:
        """The logarithm of the weighted mean of exp(values) over the components.

        Its gradient is zero where exp(values) is zero for all components.
        """
        total, weights = log_sum_exp(self.log_weights + values), self.given_probs
        if weights is None or not torch.is_grad_enabled():
            return total
        # A component of weight 0 adds nothing, but its weight has a gradient: the ratio of its
        # density to that of the mixture.
        finite = total.isfinite().unsqueeze(-1)
        ratio = torch.where(finite, values - total.unsqueeze(-1), 0.0).clamp(max=_MOST_RATIO).exp()
        return total + (torch.where((weights == 0) & finite, weights, 0.0) * ratio).sum(-1)

    @with_fused_loss
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
        """The probability of each component given y, shape (..., K)."""
        return (self.log_weights + self.components.log_prob(y.unsqueeze(-1))).softmax(-1)

    def _tail_indices(self) -> Indices:
        """The least indices of the components that have a weight."""
        indices = self.components._tail_indices()
        if are_light(indices):
            return indices
        lower, upper = (torch.where(self.probs > 0, one, math.inf).amin(-1) for one in indices)
        return lower, upper

    @property
    def mean(self) -> Tensor:
        return expected(self.probs, self.components.mean)

    @property
    def variance(self) -> Tensor:
        """The mean of the components' variances plus the variance of their means."""
        mean = self.components.mean
        between = self._distance_from_mean(mean)
        return expected(self.probs, self.components.variance + between.square())

    def _distance_from_mean(self, mean: Tensor) -> Tensor:
        """The components' means less that of the mixture; infinite where they are."""
        infinite = mean.isinf()
        finite = torch.where(infinite, 0.0, mean)
        distance = finite - (self.probs * finite).sum(-1, keepdim=True)
        return torch.where(infinite, mean, distance)

    @property
    @in_double
    def aleatoric(self) -> Tensor:
        """The mean of the components' variances: in an ensemble, the noise in the data."""
        return expected(self.probs, self.components.variance)

    @property
    @in_double
    def epistemic(self) -> Tensor:
        """The variance of the components' means: in an ensemble, the disagreement of its members.

        The sum of `aleatoric` and `epistemic` is `variance`.
        """
        return expected(self.probs, self._distance_from_mean(self.components.mean).square())

    @property
    @in_double
    def expected_entropy(self) -> Tensor:
        """The mean of the components' entropies, in nats."""
        return (self.probs * self.components.entropy()).sum(-1)

    @property
    @in_double
    def mutual_information(self) -> Tensor:
        """The mutual information of y and its component, in nats: entropy() - expected_entropy."""
        return self._mutual_information()

    @few_rows_at_once(400)
    def _mutual_information(self) -> Tensor:
        return self._expectation(
            lambda y: information_gain(self.log_weights + self._log_densities(y), self.log_weights)
        )

    def _log_densities(self, y: Tensor) -> Tensor:
        """The components' log-densities at y, shape (..., K)."""
        return self.components.log_prob(y.unsqueeze(-1))

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        shape = self._extended_shape(sample_shape)
        race = torch.empty(shape + self.logits.shape[-1:], dtype=self.dtype, device=self.device)
        race.exponential_(generator=generator)
        chosen = (self.logits - race.log()).argmax(-1, keepdim=True)  # Gumbel's trick
        return self.components.sample(sample_shape, generator).gather(-1, chosen).squeeze(-1)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, the integral of (cdf(t) - 1{t >= y})^2 dt.

        It has the units of y; lower is better. It is the weighted mean of the components' scores
        minus the integral of the variance of their cdfs about that of the mixture.
        """
        score = expected(self.probs, self.components.crps(y.unsqueeze(-1))) - self._disagreement()
        return with_infinite_crps(score, self._tail_indices())

    def _variance_over_components(self, cdfs: Tensor) -> Tensor:
        mean = (self.probs * cdfs).sum(-1, keepdim=True)
        return (self.probs * (cdfs - mean).square()).sum(-1)

    # Modes.

    def _breakpoints(self) -> Tensor:
        """Quantiles of all components from tail to tail, sorted, of shape (points, ...)."""
        # an ensemble of mixtures: the breakpoints of all of them
        if isinstance(self.components, Components):
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
    @few_rows_at_once(2)
    def mode(self) -> Tensor:
        """The highest peak, found by local searches from the highest points of a grid.

        The grid consists of the components' quantiles, modes and means.
        """
        lower, upper = self.support_limits()
        grid = self._places()
        grid = torch.minimum(torch.maximum(self._on_grid(grid), lower), upper).sort(0).values
        log_density = self._log_density()
        height = log_density(grid, None).nan_to_num(-torch.inf, torch.inf, -torch.inf)
        before, behind = _neighbours(grid)
        # The first of points that coincide, as a component's mode and mean may, stands for all.
        first = torch.cat([torch.ones_like(before[:1], dtype=torch.bool), _rises(grid)])
        peak = first & (height >= height.gather(0, before)) & (height >= height.gather(0, behind))
        peaks, best = torch.where(peak, height, -torch.inf).topk(
            min(self._most_peaks(), len(grid)), 0
        )
        around = torch.stack([before.gather(0, best), best, behind.gather(0, best)])
        points, heights = (
            part.gather(0, around.flatten(0, 1)).unflatten(0, (3, -1)) for part in (grid, height)
        )
        summit = self._climb(points, torch.stack([heights[0], peaks, heights[2]]), log_density)
        summit = torch.cat([summit, points[1]])
        summit = summit.gather(
            0, log_density(summit, None).nan_to_num(-torch.inf).argmax(0, keepdim=True)
        ).squeeze(0)
        # An unbounded density is highest at the end of the support itself.
        near = 1e-12 * (grid[-1] - grid[0])
        summit = torch.where(summit - lower < near, lower, summit)
        return torch.where(upper - summit < near, upper, summit)

    def _log_density(self) -> LogDensity:
        """A function of points (points, ...), or of points (m,) and the indices of their rows."""
        return lambda y, rows: self.log_prob(y) if rows is None else self[rows].log_prob(y)

    def _places(self) -> Tensor:
        """The grid (points, ...) of the search: at most one peak between neighbouring points."""
        special = (
            torch.stack([self.components.mode, self.components.mean]).to(self.dtype).nan_to_num(0.0)
        )
        return torch.cat([self._breakpoints(), self._by_component(special)])

    def _most_peaks(self) -> int:
        """From how many of the highest points of the grid a local search starts."""
        return 4 * self.logits.shape[-1]


def _rises(grid: Tensor) -> Tensor:
    """Whether each point exceeds the one before it by more than rounding."""
    return grid[1:] - grid[:-1] > 8 * torch.finfo(grid.dtype).eps * grid[1:].abs()


def _neighbours(grid: Tensor) -> tuple[Tensor, Tensor]:
    """The indices of the next smaller and the next larger point, for sorted points (points, ...).

    A point has its own index where there is none.
    """
    index = (
        torch.arange(len(grid), device=grid.device)
        .reshape((-1,) + (1,) * (grid.ndim - 1))
        .expand(grid.shape)
    )
    rises = _rises(grid)
    before = torch.cat([index[:1], torch.where(rises, index[:-1], 0)]).cummax(0).values
    behind = (
        torch.cat([torch.where(rises, index[1:], len(grid) - 1), index[-1:]])
        .flip(0)
        .cummin(0)
        .values.flip(0)
    )
    return before, behind
