"""Truncated distributions: Y given that it lies between two known bounds."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution
from disthead.distributions.between import log_between, some_value_of
from disthead.distributions.continuous import Continuous
from disthead.distributions.discrete import OUTSIDE, Discrete
from disthead.distributions.supports import (
    bounds_of,
    in_single,
    largest,
    set_bounds,
    smallest,
)
from disthead.distributions.tails import (
    Indices,
    index_within,
    with_infinite_mean,
    with_infinite_variance,
)
from disthead.distributions.univariate import in_double
from disthead.distributions.wrapped import Wrapped
from disthead.special import integer_inverse
from disthead.special.eager import are_concrete, are_plain_numbers, extent
from disthead.special.incomplete_gamma import log1mexp

__all__ = ["Between", "Truncated", "TruncatedContinuous", "TruncatedDiscrete", "truncated"]

_LOG_MOST = math.log(0.01)  # of the base's probability, from which its own range of sums suffices
_FEW = 1024  # integers that are all terms of a sum
_UNDERFLOW = 1e-280  # smaller probabilities have lost digits, and quantiles are searched


def truncated(
    base: Distribution, lower: "Tensor | float | None" = None, upper: "Tensor | float | None" = None
) -> "TruncatedContinuous | TruncatedDiscrete":
    """The distribution of Y given lower <= Y <= upper, for a base of one ordered number.

    Args:
        base: the distribution of Y without bounds, continuous or of counts.
        lower: the lower bound, a number or a tensor of shape batch; None is -inf.
        upper: the upper bound, likewise; None is inf.

    Raises:
        ValueError: for a base that is neither continuous nor of counts.

    >>> from disthead.families import Poisson
    >>> truncated(Poisson(1.0), lower=1).log_prob(torch.tensor(1.0)).exp()
    tensor(0.5820)
    """
    lower, upper = _bound(lower, -math.inf), _bound(upper, math.inf)
    if isinstance(base, Discrete) and base.kind == "count":
        return TruncatedDiscrete(base, lower, upper)
    if base.kind == "continuous":
        return TruncatedContinuous(base, lower, upper)
    raise ValueError(
        f"a truncated distribution needs a base of one number, continuous or a count, got {base!r}."
    )


def _bound(value: "Tensor | float | None", default: float) -> "Tensor | float":
    if value is None:
        return default
    return value if isinstance(value, Tensor) else float(value)


def _is_between(y: Tensor, lower: "Tensor | float", upper: "Tensor | float") -> Tensor:
    """Whether numbers lie between two bounds, or are what single precision made of one."""
    if not isinstance(lower, Tensor):
        lower = min(lower, in_single(lower))
    if not isinstance(upper, Tensor):
        upper = max(upper, in_single(upper))
    return (y >= lower) & (y <= upper)


class Between(constraints.Constraint):
    """The values of a support between two bounds, both included.

    Args:
        support: of one number.
        lower: the lower bound, a number or a tensor.
        upper: the upper bound, likewise.
    """

    def __init__(
        self, support: constraints.Constraint, lower: "Tensor | float", upper: "Tensor | float"
    ):
        self.support, self.lower, self.upper = support, lower, upper
        self.is_discrete = support.is_discrete
        least, most = bounds_of(support)
        set_bounds(self, largest(lower, least), smallest(upper, most))

    def check(self, value: Tensor) -> Tensor:
        return self.support.check(value) & _is_between(value, self.lower, self.upper)


class Truncated(Wrapped):
    """A base distribution given lower <= Y <= upper, whose probability divides the density.

    The probability between the bounds is computed from the tail that is smaller, so that bounds far
    from the bulk of the base cost no digits. Source: Johnson, Kotz and Balakrishnan 1994,
    Continuous Univariate Distributions, section 10.1 for the normal one.

    Attributes:
        lower: the lower bound, included, a number or a tensor of shape batch.
        upper: the upper bound, included, likewise.
    """

    lower: Any
    upper: Any

    def __init__(self, base: Distribution, lower: "Tensor | float", upper: "Tensor | float"):
        self._wrap(base, lower=lower, upper=upper)

    def _remade(self, function: Callable[[Tensor], Tensor], base: Distribution) -> Any:
        ends = (
            function(end) if isinstance(end, Tensor) else end for end in (self.lower, self.upper)
        )
        return type(self)(base, *ends)

    @property
    def support(self) -> constraints.Constraint:
        return Between(self.base.support, self.lower, self.upper)

    def _before(self) -> "Tensor | float":
        """The number below which, itself included, values are cut off on the left."""
        return self.lower

    def _log_total(self) -> Tensor:
        """The logarithm of P(lower <= Y <= upper) of the base."""
        return log_between(self.base, self._before(), self._last())

    def _last(self) -> "Tensor | float":
        return self.upper

    def support_limits(self) -> tuple[Tensor, Tensor]:
        lower, upper = self.base.support_limits()
        first, last = (
            end if isinstance(end, Tensor) else lower.new_tensor(end)
            for end in (self.lower, self.upper)
        )
        return torch.maximum(lower, first.to(lower)), torch.minimum(upper, last.to(upper))

    def _tail_indices(self) -> Indices:
        lower, upper = self.base._tail_indices()
        return index_within(lower, self.lower), index_within(upper, self.upper)

    def _clamped(self, y: Tensor) -> Tensor:
        """The numbers, moved to the nearest bound where they are outside."""
        lower, upper = self.support_limits()
        return torch.minimum(torch.maximum(y, lower), upper)


class TruncatedContinuous(Truncated, Continuous):
    """A continuous base distribution given lower <= Y <= upper; see `truncated`.

    Moments, entropy and crps are integrals over the quantiles, in double precision.
    """

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        """The logarithm of the density: that of the base less log P(lower <= Y <= upper)."""
        inside = _is_between(y, self.lower, self.upper)
        density = self.base.log_prob(torch.where(inside, y, self._clamped(y)))
        return torch.where(inside, density - self._log_total(), -torch.inf)

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        """The logarithm of P(Y <= y)."""
        below = log_between(self.base, self.lower, self._clamped(y)) - self._log_total()
        return torch.where(y >= self.upper, 0.0, torch.where(y < self.lower, -torch.inf, below))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        """The logarithm of P(Y > y)."""
        above = log_between(self.base, self._clamped(y), self.upper) - self._log_total()
        return torch.where(y >= self.upper, -torch.inf, torch.where(y < self.lower, 0.0, above))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        """The quantile, from that of the base at the levels between those of the bounds."""
        with torch.no_grad():
            before, behind = (tail.exp() for tail in self._tails_outside())
            total = self._log_total().exp()
            of_base = before + below * total, behind + above * total
            if not are_plain_numbers(*of_base) or bool(
                (torch.minimum(*of_base) < _UNDERFLOW).any()
            ):
                return super()._inverse(below, above)
            y = self._polished(self._clamped(self.base._quantile(*of_base)), below, above)
            first, last = self.support_limits()
            at_end = (y <= first) | (y >= last)
        # not where the quantile rounds to a bound, at which the logarithm of a tail is infinite
        inner = self._with_gradient(
            torch.where(at_end, some_value_of(self), y), below.log(), above.log()
        )
        return torch.where(at_end, y, inner)

    def _tails_outside(self) -> tuple[Tensor, Tensor]:
        """The logarithms of P(Y < lower) and P(Y > upper) of the base."""
        return (
            log_between(self.base, -math.inf, self.lower),
            log_between(self.base, self.upper, math.inf),
        )

    def _polished(self, y: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """The quantile after a step of Newton's method: next to a bound y itself is not exact."""
        first, last = self.support_limits()
        by_density = first + below * torch.exp(-self.log_prob(first))
        y = torch.where((y == first) & (by_density < last), by_density, y)
        log_cdf, log_survival = self.log_cdf(y), self.log_survival(y)
        left = log_cdf <= log_survival
        residual = torch.where(left, log_cdf - below.log(), above.log() - log_survival)
        slope = torch.exp(self.log_prob(y) - torch.where(left, log_cdf, log_survival))
        better = self._clamped(y - residual / slope)
        return torch.where(better.isfinite() & (residual.abs() < 0.5), better, y)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The highest of the base's mode, moved between the bounds, and the bounds themselves."""
        peak = self._clamped(self.base.mode)
        ends = (torch.where(end.isfinite(), end, peak) for end in self.support_limits())
        candidates = torch.stack([peak, *ends])
        heights = self.base.log_prob(candidates).nan_to_num(-torch.inf, torch.inf)
        return candidates.gather(0, heights.argmax(0, keepdim=True)).squeeze(0)


class TruncatedDiscrete(Truncated, Discrete):
    """A base distribution of counts given lower <= Y <= upper, such as y > 0; see `truncated`.

    The mean and the variance are sums over the masses.
    """

    def _before(self) -> "Tensor | float":
        return _ceil(self.lower) - 1

    def _last(self) -> "Tensor | float":
        return _floor(self.upper)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        lower, upper = super().support_limits()
        return lower.ceil(), upper.floor()

    def _bounds(self) -> tuple[float, float]:
        """The least and the greatest integer that all distributions of the batch can have."""
        lower, upper = self.base._bounds()
        first, last = _ceil(self.lower), _floor(self.upper)
        if isinstance(first, Tensor):
            first = float(first.max())
        if isinstance(last, Tensor):
            last = float(last.min())
        return max(lower, first), min(upper, last)

    def _outcomes(self) -> Tensor | None:
        for end in bounds_of(self.support):
            if isinstance(end, Tensor) and (not are_concrete(end) or len(set(extent(end))) > 1):
                return None  # rows differ in their outcomes
        return super()._outcomes()

    def _log_total(self) -> Tensor:
        least, before = self.base._bounds()[0], self._before()
        if self.upper == math.inf and isinstance(before, float) and before == least:
            # all but the least count, such as the zero
            return log1mexp(self.base._log_mass(self._constant(least)))
        return super()._log_total()

    def _log_mass(self, x: Tensor) -> Tensor:
        return self.base._log_mass(x) - self._log_total()

    def _log_cdf(self, k: Tensor) -> Tensor:
        return log_between(self.base, self._before(), k) - self._log_total()

    def _log_survival(self, k: Tensor) -> Tensor:
        return log_between(self.base, k, self._last()) - self._log_total()

    def _masses(self, first: Tensor, width: int) -> Tensor:
        least, most = (end[:, None] for end in self.support_limits())
        k = first[:, None] + torch.arange(width, dtype=first.dtype)
        masses = self.base._masses(first, width) * torch.exp(-self._log_total())[:, None]
        return torch.where((k >= least) & (k <= most), masses, 0.0)

    def _bracket(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        total = self._log_total().exp()
        before = log_between(self.base, -math.inf, self._before()).exp()
        behind = log_between(self.base, self._last(), math.inf).exp()
        levels = (before + below * total, behind + above * total)
        lower, upper = self.support_limits()
        lower, upper = lower.clamp(min=-(2.0**53)), upper.clamp(max=2.0**53)
        # levels that underflow have brackets without meaning
        fine = (torch.minimum(*levels) > _UNDERFLOW) & (torch.maximum(*levels) < 1)
        possible = (torch.where(fine, level, 0.5) for level in levels)
        first, last = (self._clamped(end) for end in self.base._bracket(*possible))
        return torch.where(fine, first, lower), torch.where(fine, last, upper)

    def _bulk(self) -> tuple[Tensor, Tensor]:
        lower, upper = self.support_limits()
        if are_plain_numbers(lower) and bool((upper - lower < _FEW).all()):
            return lower, upper
        total = self._log_total()
        if are_plain_numbers(total) and bool((total > _LOG_MOST).all()):
            first, last = self.base._bulk()
            return self._clamped(first), self._clamped(last)
        tail, before, last = total + math.log(OUTSIDE), self._before(), self._last()
        lower, upper = lower.clamp(min=-(2.0**53)), upper.clamp(max=2.0**53)
        steps = 54
        if are_plain_numbers(tail):  # the bulk is next to the bound that is in the tail of the base
            width = float(_FEW)
            while width < 2.0**53 and bool(
                (log_between(self.base, (lower + width).clamp(max=upper), last) > tail).any()
            ):
                width *= _FEW
            upper = torch.minimum(upper, lower + width)
            steps = 1 + max(1, math.ceil(math.log2(float((upper - lower).max()) + 1)))
        return integer_inverse(
            lambda k: log_between(self.base, before, k), tail, lower, upper, steps
        ), integer_inverse(lambda k: -log_between(self.base, k, last), -tail, lower, upper, steps)

    def _start(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        start, per_probit = self.base._start(below, above)
        return self._clamped(start), per_probit

    @property
    def _skewness(self) -> Tensor:
        mean = self.mean
        return self._expectation(lambda k: (k - mean) ** 3) / self.stddev**3

    @property
    @in_double
    def mean(self) -> Tensor:
        value = self._moment(lambda k, _: k) + self._beyond_bulk(1)
        return with_infinite_mean(value, self._tail_indices())

    @property
    @in_double
    def variance(self) -> Tensor:
        mean = self.mean
        mean = torch.where(mean.isfinite(), mean, 0.0)
        value = self._moment(lambda k, mean: (k - mean).square(), mean) + self._beyond_bulk(2, mean)
        return with_infinite_variance(value, self._tail_indices())

    def _moment(self, function: Callable[..., Tensor], mean: Tensor | None = None) -> Tensor:
        """The sum of p(k) function(k, mean) over the counts."""
        if not self._is_plain():
            return self._expectation(lambda k: function(k, mean))
        centre = self._constant(0.0) if mean is None else mean

        def of_table(rows: Any, masses: Tensor, first: Tensor, mean: Tensor) -> Tensor:
            k = first[:, None] + torch.arange(masses.shape[1], dtype=first.dtype)
            return (masses * function(k, mean)).sum(1, keepdim=True)

        def of_wide(rows: Any, first: Tensor, last: Tensor, mean: Tensor) -> Tensor:
            return rows._expectation(lambda k: function(k, mean[:, 0])).unsqueeze(1)

        return self._by_tables(of_table, of_wide, centre)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The mode of the base, moved between the bounds."""
        return self._clamped(self.base.mode)

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size(), generator: Any = None) -> Tensor:
        exact = self._in_double()
        shape = self._extended_shape(sample_shape)
        uniform = torch.rand(shape, generator=generator, dtype=exact.dtype, device=self.device)
        return exact.icdf(uniform.clamp(min=1e-300)).to(self.dtype)


def _ceil(value: "Tensor | float") -> "Tensor | float":
    if isinstance(value, Tensor):
        return value.ceil()
    return float(math.ceil(value)) if math.isfinite(value) else value


def _floor(value: "Tensor | float") -> "Tensor | float":
    if isinstance(value, Tensor):
        return value.floor()
    return float(math.floor(value)) if math.isfinite(value) else value
