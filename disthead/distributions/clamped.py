"""`Clamped`: the distribution of a number that is recorded only between two limits."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution, Kind, root
from disthead.distributions.tails import (
    Indices,
    beyond_nodes,
    index_within,
    with_infinite_crps,
    with_infinite_mean,
    with_infinite_variance,
)
from disthead.distributions.univariate import in_double
from disthead.distributions.wrapped import Wrapped
from disthead.special import tanh_sinh

__all__ = ["Clamped"]

_NODES = 161  # of a quadrature between the limits


class Clamped(Wrapped):
    """The distribution of min(max(Y, lower), upper), of a number Y with a continuous base.

    A number below `lower` is recorded as `lower`, one above `upper` as `upper`. So both limits have
    a probability, P(Y <= lower) and P(Y >= upper), and between them lies the density of Y. log_prob
    is the logarithm of the probability at a limit, and of the density elsewhere. Source: Tobin
    1958, Estimation of relationships for limited dependent variables.

    Args:
        base: the distribution of Y, continuous, batch_shape (...,).
        lower: shape (...,), in the units of y, or -inf for none.
        upper: likewise, at least `lower`, or inf for none.

    Raises:
        ValueError: for a base that is not continuous.

    >>> from disthead.families.normal import Normal
    >>> Clamped(Normal(0.0, 1.0), 0.0).cdf(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([0.0000, 0.5000, 0.8413])
    """

    kind: Kind = "mixed"

    def __init__(self, base: Distribution, lower: Any = -torch.inf, upper: Any = torch.inf):
        if base.kind != "continuous":
            raise ValueError(
                f"the base of limits must be a continuous distribution, got {base!r}. Of counts, "
                "take dist.sample().clamp(lower, upper)."
            )
        lower, upper = (
            torch.as_tensor(limit, dtype=base.dtype, device=base.device) for limit in (lower, upper)
        )
        self._wrap(base, lower=lower, upper=upper)

    @property
    def own_parameters(self) -> dict[str, Tensor]:
        return {"lower": self.lower, "upper": self.upper}

    @property
    def support(self) -> constraints.Constraint:
        return _Between(self)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        between = (y > self.lower) & (y < self.upper)
        density = self.base.log_prob(torch.where(between, y, self._inside))
        at_lower, at_upper = self.base.log_cdf(self.lower), self._log_from(self.upper)
        value = torch.where(between, density, -torch.inf)
        value = torch.where(y == self.lower, at_lower, value)
        return torch.where(y == self.upper, at_upper, value)

    @property
    def _inside(self) -> Tensor:
        """A number between the limits, at which the density has a gradient."""
        return self.base.median.detach().clamp(self.lower, self.upper)

    def _log_from(self, y: Tensor) -> Tensor:
        """The logarithm of P(Y >= y), which is P(Y > y)."""
        return self.base.log_survival(y)

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        within = torch.where(y < self.lower, -torch.inf, self.base.log_cdf(y))
        return torch.where(y >= self.upper, 0.0, within)

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        within = torch.where(y < self.lower, 0.0, self.base.log_survival(y))
        return torch.where(y >= self.upper, -torch.inf, within)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        within = torch.where(y < self.lower, 0.0, self.base.cdf(y))
        return torch.where(y >= self.upper, 1.0, within)

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """P(Y < y) and P(Y <= y), which differ at the limits."""
        value = self.cdf(y)
        below = torch.where(y <= self.lower, 0.0, value)
        return torch.where(y == self.upper, self.base.cdf(y), below), value

    def icdf(self, q: Tensor) -> Tensor:
        return self._recorded(self.base.icdf(q))

    def _recorded(self, y: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(y, self.lower), self.upper)

    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self._recorded(self.base.sample(sample_shape, generator))

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self._recorded(self.base.rsample(sample_shape, generator))

    def _tail_indices(self) -> Indices:
        lower, upper = self.base._tail_indices()
        return index_within(lower, self.lower), index_within(upper, self.upper)

    @property
    @in_double
    def mean(self) -> Tensor:
        return with_infinite_mean(self._expectation(lambda y: y, order=1), self._tail_indices())

    @property
    @in_double
    def variance(self) -> Tensor:
        mean = self._expectation(lambda y: y, order=1)
        variance = self._expectation(lambda y: (y - mean).square(), order=2)
        return with_infinite_variance(variance, self._tail_indices())

    @property
    def stddev(self) -> Tensor:
        return root(self.variance)

    def _expectation(self, function: Callable[[Tensor], Tensor], order: int = 0) -> Tensor:
        """E[function(y)] of the recorded number, of a function that grows as y^order."""
        below, above = self._tails(self.lower)[0], self._tails(self.upper)[1]
        y, _, _, weights = self._between(self.lower, self.upper)
        values = function(y)
        result = (weights * values).sum(0)
        if order:  # without limits, the nodes hold the whole probability of the base
            lower, upper = self._tail_indices()
            result = result + beyond_nodes(lower, values[0], _NODES, order=order) * (1 - above)
            result = result + beyond_nodes(upper, values[-1], _NODES, order=order) * (1 - below)
        for limit, mass in ((self.lower, below), (self.upper, above)):
            held = torch.where(mass > 0, limit, 0.0)  # no limit, and no mass there
            result = result + torch.where(mass > 0, mass * function(held), 0.0)
        return result

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score of a recorded y, the integral between the limits.

        It is computed by quadrature over the quantiles on both sides of y.
        """
        y = self._recorded(y)
        low, below, _, left = self._between(self.lower, y)
        high, _, above, right = self._between(y, self.upper)
        before, behind = 2 * below * (y - low), 2 * above * (high - y)
        value = (left * before).sum(0) + (right * behind).sum(0)
        lower, upper = indices = self._tail_indices()
        (upto, beyond), nodes = self._tails(y), _NODES
        value = value + upto * beyond_nodes(lower, before[0], nodes, power=1)
        value = value + beyond * beyond_nodes(upper, behind[-1], nodes, power=1)
        for limit, mass in (
            (self.lower, self._tails(self.lower)[0]),
            (self.upper, self._tails(self.upper)[1]),
        ):
            distance = (y - torch.where(mass > 0, limit, y)).abs()
            value = value + mass.square() * distance
        return with_infinite_crps(value, indices)

    def _tails(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """P(Y <= y) and P(Y > y) of the base, at limits that may be infinite."""
        finite = torch.where(y.isfinite(), y, self._inside)
        below, above = self.base.log_cdf(finite).exp(), self.base.log_survival(finite).exp()
        below = torch.where(y == -torch.inf, 0.0, torch.where(y == torch.inf, 1.0, below))
        return below, torch.where(y == torch.inf, 0.0, torch.where(y == -torch.inf, 1.0, above))

    def _between(self, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Nodes of a quadrature over the base between two numbers.

        Returns:
            the nodes, P(Y <= node), P(Y > node) and the weights of an expectation, each of shape
            (nodes, ...).
        """
        (first_below, first_above), (last_below, last_above) = map(self._tails, (first, last))
        left = last_below <= first_above
        share = torch.where(left, last_below - first_below, first_above - last_above).clamp(min=0)
        t, complement, weights = (
            part.reshape(-1, *(1,) * share.ndim) for part in tanh_sinh(_NODES, share)
        )
        below, above = first_below + share * t, last_above + share * complement
        some = share > 0
        inner = self.base._quantile(torch.where(some, below, 0.5), torch.where(some, above, 0.5))
        y = torch.where(some, inner, first.clamp(min=-torch.finfo(inner.dtype).max))
        return y, below, above, torch.where(some, weights * share, 0.0)

    @property
    def mode(self) -> Tensor:
        raise self._unanswered(
            "mode", "a density between the limits cannot be compared with a probability at one."
        )

    def entropy(self) -> Tensor:
        raise self._unanswered(
            "entropy", "it has a density between the limits and a probability at them."
        )

    def highest_density(self, level: float) -> Any:
        raise self._unanswered(
            "highest_density", "its limits have no density; interval(level) is the central one."
        )


class _Between(constraints.Constraint):
    """Numbers of the base's support, between limits that belong to it."""

    def __init__(self, dist: Clamped):
        self.dist = dist

    def check(self, value: Tensor) -> Tensor:
        inside = (value >= self.dist.lower) & (value <= self.dist.upper)
        is_limit = (value == self.dist.lower) | (value == self.dist.upper)
        return inside & (is_limit | self.dist.base.support.check(value))
