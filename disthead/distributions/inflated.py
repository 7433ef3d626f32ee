"""Inflated distributions: stated values, such as 0, have probabilities of their own."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints, kl_divergence, register_kl
from torch.nn.functional import logsigmoid

from disthead.distributions.base import Distribution, Kind, root, tensors
from disthead.distributions.between import some_value_of
from disthead.distributions.discrete import Discrete
from disthead.distributions.highest_density import shortest_interval
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.shortest_runs import SeveralPeaks
from disthead.distributions.supports import (
    bounds_of,
    in_single,
    largest,
    set_bounds,
    smallest,
)
from disthead.distributions.tails import Indices, are_light
from disthead.distributions.univariate import Univariate, check_level, in_double
from disthead.distributions.wrapped import Wrapped
from disthead.special.probabilities import log_complement, log_probability, log_sum_exp

__all__ = [
    "Inflated",
    "InflatedDiscrete",
    "Mixed",
    "WithValues",
    "inflated",
    "is_value",
    "probability",
]

_ROUNDING = 1e-15  # of a probability in double precision
_TINY = 1e-300


def inflated(
    base: Distribution,
    gate: Tensor | None = None,
    *,
    value: float = 0.0,
    logits_gate: Tensor | None = None,
) -> "InflatedDiscrete | Mixed":
    """The distribution of `value` with probability `gate`, and otherwise of a draw from the base.

    Args:
        base: a distribution of one number, continuous or of counts.
        gate: the probability that the value has in addition to that of the base, shape (...,).
        value: the inflated value; for counts a whole number.
        logits_gate: log(gate / (1 - gate)), shape (...,). The gate, its logits or both are given.

    Raises:
        ValueError: for a base of another kind.

    >>> from disthead.families import Poisson
    >>> inflated(Poisson(3.0), 0.2).mean
    tensor(2.4000)
    """
    if isinstance(base, Discrete) and base.kind == "count":
        return InflatedDiscrete(base, gate, value=value, logits_gate=logits_gate)
    if base.kind == "continuous":
        return Mixed(base, gate, value=value, logits_gate=logits_gate)
    raise ValueError(
        f"an inflated distribution needs a base of one number, continuous or a count, got {base!r}."
    )


def is_value(y: Tensor, value: float) -> Tensor:
    """Whether numbers are the value, or what single precision made of it.

    >>> is_value(torch.tensor(0.2).double(), 0.2)
    tensor(True)
    """
    return (y == value) | (y == in_single(value))


def _at_values(method: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """The method, to which numbers that single precision made of a value are that value."""

    @functools.wraps(method)
    def at_values(self: Any, y: Tensor) -> Tensor:
        for value in self.values:
            if in_single(value) != value:
                y = torch.where(y == in_single(value), value, y)
        return method(self, y)

    return at_values


class WithValues(constraints.Constraint):
    """The values of a support, and some more.

    Args:
        support: of one number.
        values: the further values.
    """

    def __init__(self, support: constraints.Constraint, values: tuple[float, ...]):
        self.support, self.values, self.is_discrete = support, values, support.is_discrete
        lower, upper = bounds_of(support)
        set_bounds(self, smallest(lower, *values), largest(upper, *values))

    def check(self, value: Tensor) -> Tensor:
        inside = self.support.check(value)
        for one in self.values:
            inside = inside | is_value(value, one)
        return inside


class Inflated(Wrapped):
    """A mixture of a base distribution and of single values.

    Attributes:
        values: the inflated values, in increasing order.
    """

    values: tuple[float, ...]

    def __init__(
        self,
        base: Distribution,
        gate: Tensor | None = None,
        *,
        value: float = 0.0,
        logits_gate: Tensor | None = None,
    ):
        self.values = (float(value),)
        self._wrap(base, **probability("gate", gate, logits_gate))

    @property
    def own_parameters(self) -> dict[str, Tensor]:
        return {"gate": self.gate}

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        own = dict.fromkeys(self.own_parameters, constraints.unit_interval)
        return {**self.base.arg_constraints, **own}

    @property
    def gate(self) -> Tensor:
        """The probability that the value has in addition to that of the base, shape (...,)."""
        return self._share("gate")

    def _share(self, name: str) -> Tensor:
        logits = self.__dict__.get(f"logits_{name}")
        return self.__dict__[f"given_{name}"] if logits is None else logits.sigmoid()

    @property
    def support(self) -> constraints.Constraint:
        return WithValues(self.base.support, self.values)

    def _log_weights(self) -> tuple[Tensor, ...]:
        """The log-probabilities of the base and of each value, each of shape batch."""
        log_gate, log_rest = self._log_shares("gate")
        return log_rest, log_gate

    def _log_shares(self, name: str) -> tuple[Tensor, Tensor]:
        """The logarithms of an own probability and of its complement."""
        logits = self.__dict__.get(f"logits_{name}")
        if logits is not None:
            return logsigmoid(logits), logsigmoid(-logits)
        share = self._share(name)
        return log_probability(share), log_complement(share)

    def _weights(self) -> tuple[Tensor, ...]:
        return tuple(weight.exp() for weight in self._log_weights())

    def _log_sum(self, of_base: Tensor, holds: Callable[[float], Tensor]) -> Tensor:
        """The logarithm of a probability, from that of the base and the values that it holds."""
        log_rest, *log_weights = self._log_weights()
        terms = [log_rest + of_base]
        for value, log_weight in zip(self.values, log_weights, strict=True):
            terms.append(torch.where(holds(value), log_weight, -torch.inf))
        return log_sum_exp(torch.stack(torch.broadcast_tensors(*terms), -1))

    def _mixed(self, of_base: Tensor, of_value: Callable[[float], Any]) -> Tensor:
        """The weighted mean of a number of the base and of a number of each value."""
        rest, *weights = self._weights()
        total = rest * torch.where((rest == 0) & ~of_base.isfinite(), 0.0, of_base)
        for value, weight in zip(self.values, weights, strict=True):
            total = total + weight * of_value(value)
        return total

    def _tail_indices(self) -> Indices:
        indices = self.base._tail_indices()
        if are_light(indices):
            return indices
        lower, upper = (torch.where(self._weights()[0] > 0, one, math.inf) for one in indices)
        return lower, upper

    @property
    @in_double
    def mean(self) -> Tensor:
        return self._mixed(self.base.mean, lambda value: value)

    @property
    @in_double
    def variance(self) -> Tensor:
        """The mean of the variances plus the variance of the means."""
        of_base, spread = self.base.mean, self.base.variance
        infinite = of_base.isinf()
        of_base = torch.where(infinite, 0.0, of_base)
        mean = self._mixed(of_base, lambda value: value)
        between = (of_base - mean).square()
        spread = self._mixed(spread + between, lambda value: (value - mean).square())
        return torch.where(infinite & (self._weights()[0] > 0), torch.inf, spread)

    @property
    @in_double
    def stddev(self) -> Tensor:
        return root(self.variance)

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        of_base = self.base._expectation(function)
        one = torch.ones_like(of_base)
        return self._mixed(of_base, lambda value: function((value * one).unsqueeze(0)).squeeze(0))

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y.

        With weights w of the base and w_j of the values v_j it is w crps(y) + sum_j w_j |y - v_j| -
        w sum_j w_j crps(v_j) - sum_{i < j} w_i w_j |v_i - v_j|, where crps is that of the base.
        """
        rest, *weights = self._weights()
        of_base = self.base.crps(y)
        score = self._mixed(of_base, lambda value: (y - value).abs())
        for j, (value, weight) in enumerate(zip(self.values, weights, strict=True)):
            of_value = self.base.crps(self._constant(value))
            # an infinite score is infinite at all targets
            of_value = torch.where(of_value.isinf(), 0.0, of_value)
            score = score - rest * weight * of_value
            for other, other_weight in zip(self.values[:j], weights[:j], strict=True):
                score = score - weight * other_weight * abs(value - other)
        return score

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size(), generator: Any = None) -> Tensor:
        sample = self.base.sample(sample_shape, generator)
        u = torch.rand(sample.shape, generator=generator, dtype=torch.float64, device=self.device)
        for value, weight in zip(self.values, self._in_double()._weights()[1:], strict=True):
            sample = torch.where((u >= 0) & (u < weight), value, sample)
            u = u - weight
        return sample.to(self.dtype)


class InflatedDiscrete(Inflated, SeveralPeaks, Discrete):
    """A distribution of counts in which a value, such as 0, has more probability than in its base.

    The mass is gate 1{y = value} + (1 - gate) p(y), with p that of the base; see `inflated`.
    Source: Lambert 1992, Zero-inflated Poisson regression.
    """

    def _bounds(self) -> tuple[float, float]:
        lower, upper = self.base._bounds()
        return min(lower, *self.values), max(upper, *self.values)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        lower, upper = self.base.support_limits()
        return lower.clamp(max=min(self.values)), upper.clamp(min=max(self.values))

    def _outcomes(self) -> Tensor | None:
        return None if self.base._outcomes() is None else super()._outcomes()

    def _log_mass(self, x: Tensor) -> Tensor:
        return self._log_sum(self._log_mass_of_base(x), lambda value: x == value)

    def _log_mass_of_base(self, x: Tensor) -> Tensor:
        """The log-mass of the base, continued to real x, -inf beyond its support."""
        lower, upper = self.base.support_limits()
        inside = (x >= lower) & (x <= upper)
        mass = self.base._log_mass(torch.where(inside, x, some_value_of(self.base).floor()))
        return torch.where(inside, mass, -torch.inf)

    def _log_cdf(self, k: Tensor) -> Tensor:
        lower, upper = self.base.support_limits()
        inside = (k >= lower) & (k < upper)
        tail = self.base._log_cdf(torch.where(inside, k, some_value_of(self.base).floor()))
        tail = torch.where(inside, tail, torch.where(k < lower, -torch.inf, 0.0).to(k.dtype))
        return self._log_sum(tail, lambda value: k >= value)

    def _log_survival(self, k: Tensor) -> Tensor:
        lower, upper = self.base.support_limits()
        inside = (k >= lower) & (k < upper)
        tail = self.base._log_survival(torch.where(inside, k, some_value_of(self.base).floor()))
        tail = torch.where(inside, tail, torch.where(k < lower, 0.0, -torch.inf).to(k.dtype))
        return self._log_sum(tail, lambda value: k < value)

    def _masses(self, first: Tensor, width: int) -> Tensor:
        k = first[:, None] + torch.arange(width, dtype=first.dtype)
        lower, upper = (end[:, None] for end in self.base.support_limits())
        start = torch.maximum(first, lower[:, 0])
        late = bool((start > first).any())
        if late:  # before the support of the base, where its table cannot start
            column = self.map(lambda part: part.unsqueeze(1))
            return column._log_mass(k).exp()
        masses = self.base._masses(first, width)
        rest, *weights = (weight[:, None] for weight in self._weights())
        total = rest * torch.where(k <= upper, masses, 0.0)
        for value, weight in zip(self.values, weights, strict=True):
            total = torch.where(k == value, total + weight, total)
        return total

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Limits of the quantile, which lies between the value and quantiles of the base."""
        rest, *weights = self._weights()
        some = sum(weights)

        def level(probability: Tensor) -> Tensor:
            return (probability / rest.clamp(min=_TINY)).clamp(_TINY, 1 - _ROUNDING)

        first = self.base._bracket(level(below - some), level(above))[0]
        last = self.base._bracket(level(below), level(above - some))[1]
        return first.clamp(max=min(self.values)), last.clamp(min=max(self.values))

    def _bulk(self) -> tuple[Tensor, Tensor]:
        first, last = self.base._bulk()
        return first.clamp(max=min(self.values)), last.clamp(min=max(self.values))

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        rest, *weights = self._weights()
        some = rest.clamp(min=_TINY)
        level = ((below - sum(weights)) / some).clamp(_TINY, 1 - _ROUNDING)
        return self.base._start(level, (above / some).clamp(_TINY, 1 - _ROUNDING))

    @property
    def _skewness(self) -> Tensor:
        mean, of_base = self.mean, self.base.mean
        between, std = of_base - mean, self.base.stddev
        third = self.base._skewness * std**3 + 3 * std.square() * between + between**3
        return self._mixed(third, lambda value: (value - mean) ** 3) / self.stddev**3

    @property
    @in_double
    def mode(self) -> Tensor:
        """The most probable integer: the mode of the base or the inflated value."""
        modes = torch.stack(
            [self.base.mode.to(self.dtype), *(self._constant(value) for value in self.values)]
        )
        return modes.gather(0, self._log_mass(modes).argmax(0, keepdim=True)).squeeze(0)

    @in_double
    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats, from the entropy of the base and the masses of the values."""
        log_rest, *_ = self._log_weights()
        rest, entropy = log_rest.exp(), self.base.entropy()
        left = torch.ones_like(rest)  # the probability of the base beside the values
        total = torch.zeros_like(rest)
        for value in self.values:
            at = self._constant(value)
            log_mass, log_total = self._log_mass_of_base(at), self._log_mass(at)
            mass = log_mass.exp()
            entropy = entropy + torch.where(mass > 0, mass * log_mass.clamp(min=-1e300), 0.0)
            left = left - mass
            total = total - torch.where(
                log_total > -torch.inf, log_total.exp() * log_total.clamp(min=-1e300), 0.0
            )
        rest_term = torch.where(rest > 0, rest * log_rest.clamp(min=-1e300), 0.0)
        return total + rest * entropy - left.clamp(min=0) * rest_term


class Mixed(Inflated, Univariate):
    """A number with a density and, at stated values, probabilities: rain, claims, expenditure.

    P(Y = value) = gate, and otherwise Y is drawn from a continuous base. `log_prob` is the
    log-probability at a value and the log-density elsewhere: the density with respect to the sum of
    the Lebesgue measure and of a unit mass at each value. See `inflated`.
    """

    kind: Kind = "mixed"
    has_rsample = False

    @in_double
    @_at_values
    def log_prob(self, y: Tensor) -> Tensor:
        """The log-probability of a value, the log-density of the base times 1 - gate elsewhere."""
        log_rest, *log_weights = self._log_weights()
        is_value = self._is_value(y)
        density = self.base.log_prob(torch.where(is_value, some_value_of(self.base), y))
        result = log_rest + density
        for value, log_weight in zip(self.values, log_weights, strict=True):
            result = torch.where(y == value, log_weight, result)
        return result

    def _is_value(self, y: Tensor) -> Tensor:
        result = y == self.values[0]
        for value in self.values[1:]:
            result = result | (y == value)
        return result

    @in_double
    @_at_values
    def cdf(self, y: Tensor) -> Tensor:
        below = self._mixed(self.base.cdf(y), lambda value: (y >= value).to(y.dtype))
        # the weights are rounded, and so is their sum
        return torch.where(y >= self.support_limits()[1], 1.0, below)

    @in_double
    @_at_values
    def log_cdf(self, y: Tensor) -> Tensor:
        below = self._log_sum(self.base.log_cdf(y), lambda value: y >= value)
        return torch.where(y >= self.support_limits()[1], 0.0, below)

    @in_double
    @_at_values
    def log_survival(self, y: Tensor) -> Tensor:
        """The logarithm of P(Y > y)."""
        return self._log_sum(self.base.log_survival(y), lambda value: y < value)

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """P(Y < y) and P(Y <= y), which differ at the values."""
        return self._cdf_before(y), self.cdf(y)

    @in_double
    @_at_values
    def _cdf_before(self, y: Tensor) -> Tensor:
        return self._mixed(self.base.cdf(y), lambda value: (y > value).to(y.dtype))

    def support_limits(self) -> tuple[Tensor, Tensor]:
        lower, upper = self.base.support_limits()
        return lower.clamp(max=min(self.values)), upper.clamp(min=max(self.values))

    def icdf(self, q: Tensor) -> Tensor:
        """The quantile: the least y with cdf(y) >= q, which is a value for q within its jump.

        It is differentiable in q and in the parameters between the jumps.
        """
        exact = self._in_double()
        dtype = q.dtype if isinstance(q, Tensor) else torch.float64
        precision = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
        q = torch.as_tensor(q, device=self.device).to(exact.dtype)
        return exact._quantile(q, 1 - q, 0.5 * precision).to(self.dtype)

    def _quantile(self, below: Tensor, above: Tensor, precision: float = 0.0) -> Tensor:
        """The y with P(Y <= y) = below and P(Y > y) = above, or the value whose jump holds both."""
        rest, *weights = self._weights()
        zero = torch.zeros_like(below + above + rest)
        passed, left, at = zero, zero + sum(weights), zero
        is_value = torch.zeros_like(zero, dtype=torch.bool)
        before, after = zero, left
        for value, weight in zip(self.values, weights, strict=True):
            point = self._constant(value)
            after = after - weight
            least = rest * self.base.cdf(point) + before
            behind = rest * self.base.log_survival(point).exp() + after
            is_passed = above + 8 * precision * below < behind
            is_here = ~is_passed & (below > least)
            is_value, at = is_value | is_here, torch.where(is_here, value, at)
            passed = torch.where(is_passed, passed + weight, passed)
            left = torch.where(is_passed, left - weight, left)
            before = before + weight
        in_base = ~is_value & (rest > 0)
        some = torch.where(rest > 0, rest, 1.0)
        level = torch.where(in_base, (below - passed) / some, 0.5).clamp(0, 1)
        complement = torch.where(in_base, (above - left) / some, 0.5).clamp(0, 1)
        lower, upper = self.support_limits()
        result = torch.where(is_value, at, self.base._quantile(level, complement))
        return torch.where(below == 0, lower, torch.where(above == 0, upper, result))

    def interval(self, level: float) -> Interval | Arc:
        check_level(level)
        tail = self._constant((1 - level) / 2)
        below, above = torch.stack([tail, 1 - tail]), torch.stack([1 - tail, tail])
        return Interval(*self._in_double()._quantile(below, above).to(self.dtype).unbind())

    @torch.no_grad()
    def highest_density(self, level: float) -> Interval:
        """The shortest interval with at least the probability `level`; not differentiable.

        It is a single value where that has the probability `level`. The base is taken to have one
        peak, or its peaks at the ends of its support.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        check_level(level)
        lower, upper = self._in_double()._shortest(level)
        return Interval(lower.to(self.dtype), upper.to(self.dtype))

    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        """The shortest of the intervals that hold no value, or some neighbouring values."""
        rest, *weights = self._weights()
        count = len(self.values)
        best = self._held(level / rest, None, None)
        for i in range(count):
            for j in range(i, count):
                share = (level - sum(weights[i : j + 1])) / rest
                ends = self._held(share, self.values[i], self.values[j])
                shorter = ~(ends[1] - ends[0] >= best[1] - best[0])
                best = tuple(
                    torch.where(shorter, new, old) for new, old in zip(ends, best, strict=True)
                )
        return best

    def _held(self, share: Tensor, first: float | None, last: float | None) -> tuple[Tensor, ...]:
        """The shortest interval with a share of the base that holds the values from first to last.

        The whole line where there is no such interval.
        """
        base = self.base
        possible = (share < 1) & (share > 0)
        lower, upper = shortest_interval(base, torch.where(possible, share, 0.5))
        nowhere = torch.full_like(lower, math.inf)
        if first is None or last is None:
            lower = torch.where(possible, lower, -nowhere)
            return lower, torch.where(possible, upper, nowhere)
        start, stop = self._constant(first), self._constant(last)
        below, above = base.cdf(start), base.log_survival(stop).exp()
        between = 1 - below - above
        enough = share <= between
        # Where the shortest one does not hold the values, it starts or ends at one of them.
        from_start = torch.where(possible & (below + share < 1), below + share, 0.5)
        to_stop = torch.where(possible & (above + share < 1), above + share, 0.5)
        right = torch.where(below + share < 1, base._quantile(from_start, 1 - from_start), nowhere)
        left = torch.where(above + share < 1, base._quantile(1 - to_stop, to_stop), -nowhere)
        holds = (lower <= start) & (upper >= stop)
        by_left = stop - left < right - start
        lower = torch.where(holds, lower, torch.where(by_left, left, start))
        upper = torch.where(holds, upper, torch.where(by_left, stop, right))
        lower, upper = torch.where(possible, lower, -nowhere), torch.where(possible, upper, nowhere)
        return torch.where(enough, start, lower), torch.where(enough, stop, upper)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The most probable value: every number beside the inflated values has probability 0."""
        weights = torch.stack(torch.broadcast_tensors(*self._log_weights()[1:]))
        values = torch.stack([self._constant(value) for value in self.values])
        return values.gather(0, weights.argmax(0, keepdim=True)).squeeze(0)

    @in_double
    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats, of the probabilities of the values and the density of the base."""
        log_rest, *log_weights = self._log_weights()
        rest = log_rest.exp()
        total = rest * (self.base.entropy() - log_rest.clamp(min=-1e300))
        for log_weight in log_weights:
            total = total - log_weight.exp() * log_weight.clamp(min=-1e300)
        return total

    def rsample(self, sample_shape: Any = Size(), generator: Any = None) -> Tensor:
        reason = (
            "a sample at one of the values does not move with the parameters. Use sample(), and "
            "log_prob for a score-function gradient"
        )
        raise self._unanswered("rsample", reason)


def probability(name: str, value: Tensor | None, logits: Tensor | None) -> dict[str, Tensor | None]:
    """An own probability as `_wrap` takes it: by its logits where they are known, else itself."""
    if logits is not None:
        return {f"logits_{name}": _as_tensor(logits)}
    if value is None:
        raise TypeError(f"an inflated distribution needs {name} or logits_{name}, got neither.")
    return {f"given_{name}": _as_tensor(value)}


def _as_tensor(value: "Tensor | float") -> Tensor:
    [tensor] = tensors(value)
    return tensor


@register_kl(Mixed, Mixed)
def _kl_mixed_mixed(p: Mixed, q: Mixed) -> Tensor:
    """The divergence of the weights plus that of the bases, times the weight of the base."""
    if p.values != q.values:
        raise NotImplementedError(
            f"the divergence of {p!r} from {q!r} is infinite: they have probability at different "
            "values."
        )
    dtype = torch.promote_types(p.dtype, q.dtype)
    p, q = p._in_double(), q._in_double()
    total: Any = 0.0
    for own, other in zip(p._log_weights(), q._log_weights(), strict=True):
        surprise = own.exp() * (own.clamp(min=-1e300) - other)
        total = total + torch.where(own == -torch.inf, 0.0, surprise)
    rest = p._log_weights()[0].exp()
    of_base = torch.where(rest > 0, rest * kl_divergence(p.base, q.base), 0.0)
    return (total + of_base).to(dtype)
