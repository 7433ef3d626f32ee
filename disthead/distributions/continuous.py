"""`Continuous`: what every continuous distribution on the line derives from density and cdf."""

import math
from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import register_kl

from disthead.distributions.base import Kind, root
from disthead.distributions.component_curves import ComponentCurves
from disthead.distributions.highest_density import shortest_interval
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.standard import Standard
from disthead.distributions.supports import bounds_of
from disthead.distributions.tails import (
    are_light,
    beyond_nodes,
    with_infinite_crps,
    with_infinite_mean,
    with_infinite_variance,
)
from disthead.distributions.univariate import Univariate, check_level, in_double
from disthead.special import bracketed_inverse, implicit, tanh_sinh, tanh_sinh_beyond
from disthead.special.eager import are_plain_numbers, are_within

__all__ = ["Continuous"]

_NODES, _MOST_NODES = 81, 161  # of quadratures over the quantiles
# Powers of a tail by which an integrand grows: those below the first leave next to nothing beyond
# the nodes, and those this close to 1 make the integral infinite. They are those between two tails.
_LEAST_POWER, _LEAST_GAP, _FAR = 0.3, 1e-6, (1e-30, 1e-40)
_LEAST_PROBABILITY = math.nextafter(0.0, 1.0)  # the smallest above 0


class Continuous(Univariate):
    """A continuous distribution on the line, or on part of it.

    Subclasses define `log_prob`, `log_cdf` and `log_survival` (exact in the tails) and the mode.
    This class derives all other methods from these, in double precision; subclasses override those
    that have a closed form. Every answer has the shape that target, level and batch broadcast to.
    """

    kind: Kind = "continuous"
    has_rsample = True
    # the faster way to compute mixtures of this class; None where there is none
    curves: type[ComponentCurves] | None = None

    def support_limits(self) -> tuple[Tensor, Tensor]:
        """The lower and upper end of the support, of shape batch, infinite where unbounded."""
        lower, upper = bounds_of(self.support)
        return self._constant(lower), self._constant(upper)

    @in_double  # a logarithm of -70 rounded to single precision would be wrong by 4e-6 after exp
    def cdf(self, y: Tensor) -> Tensor:
        return self.log_cdf(y).exp()

    def icdf(self, q: Tensor) -> Tensor:
        """The quantile: the y with cdf(y) = q, the ends of the support at q = 0 and 1.

        It is differentiable in q and in the parameters, once (by the implicit function theorem).
        """
        exact = self._in_double()
        q = torch.as_tensor(q, device=self.device).to(exact.dtype)
        return exact._quantile(q, 1 - q).to(self.dtype)

    def interval(self, level: float) -> Interval | Arc:
        check_level(level)
        tail = self._constant((1 - level) / 2)
        below, above = torch.stack([tail, 1 - tail]), torch.stack([1 - tail, tail])
        return Interval(*self._in_double()._quantile(below, above).to(self.dtype).unbind())

    def highest_density(self, level: float) -> Interval | Arc:
        """The shortest interval with the probability `level`; not differentiable.

        For a density with one peak it is the region of highest density: the density is equal at
        both ends, or the interval starts at the end of the support from which the density falls.
        Where the density is highest at both ends of the support, as it may be for a beta
        distribution, the interval lies at one of them.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        check_level(level)
        lower, upper = self._in_double()._shortest(level)
        return Interval(lower.to(self.dtype), upper.to(self.dtype))

    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        """The ends of `highest_density` in double precision, found by a search."""
        return shortest_interval(self, level)

    def _standard(self) -> Standard | None:
        """The standard form, which depends on one shape parameter; None where there is none."""
        return None

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients: quantiles of uniform numbers, differentiated implicitly.

        Source: Figurnov, Mohamed and Mnih 2018.
        """
        exact = self._in_double()
        uniform = torch.rand(
            self._extended_shape(sample_shape),
            generator=generator,
            dtype=exact.dtype,
            device=self.device,
        )
        uniform = uniform.clamp(min=0.5 * torch.finfo(exact.dtype).eps)
        return exact._quantile(uniform, 1 - uniform).to(self.dtype)

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The probability integral transform cdf(y), uniform if y has this distribution."""
        return self.cdf(y)

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """P(Y < y) and P(Y <= y), which are equal for a continuous distribution."""
        value = self.cdf(y)
        return value, value

    @property
    @in_double
    def mean(self) -> Tensor:
        return with_infinite_mean(self._power_moment(1), self._tail_indices())

    @property
    @in_double
    def variance(self) -> Tensor:
        mean = self.mean
        mean = torch.where(mean.isfinite(), mean, 0.0)
        return with_infinite_variance(self._power_moment(2, mean), self._tail_indices())

    @property
    @in_double
    def stddev(self) -> Tensor:
        return root(self.variance)

    @in_double
    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats, by quadrature over the quantiles."""
        return self._expectation(lambda y: -self.log_prob(y))

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, the integral of (cdf(t) - 1{t >= y})^2 dt.

        It has the units of y; lower is better. It is computed by quadrature over the quantiles on
        each side of y. Source: Gneiting and Raftery 2007.
        """
        below, above = self.log_cdf(y).exp(), self.log_survival(y).exp()
        rule = tanh_sinh(_MOST_NODES, below)
        t, complement, weights = (_column(part, below.ndim) for part in rule)
        # A side without probability adds nothing, and its quantiles would be infinite.
        some_below, some_above = (
            torch.where(below > 0, below, 0.5),
            torch.where(above > 0, above, 0.5),
        )
        low = self._quantile(some_below * t, (1 - some_below) + some_below * complement)
        high = self._quantile((1 - some_above) + some_above * t, some_above * complement)
        before, behind = 2 * t * (y - low), 2 * complement * (high - y)
        lower, upper = indices = self._tail_indices()
        left = (weights * before).sum(0) + beyond_nodes(lower, before[0], _MOST_NODES, power=1)
        right = (weights * behind).sum(0) + beyond_nodes(upper, behind[-1], _MOST_NODES, power=1)
        score = torch.where(below > 0, left, 0.0) * below.square()
        score = score + torch.where(above > 0, right, 0.0) * above.square()
        return with_infinite_crps(score, indices)

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """E[function(Y)] by double-exponential quadrature over the quantiles.

        The rule is split at the median, where the integrand may have a kink. `function` takes
        points of shape (nodes, ...).
        """
        t, complement, weights = (
            _column(part, len(self.batch_shape)) for part in tanh_sinh(_NODES, self._constant(0.0))
        )
        near, far, weights = 0.5 * t, 0.5 * (1 + complement), 0.5 * weights
        low = (weights * function(self._inside(self._quantile(near, far)))).sum(0)
        return low + (weights * function(self._inside(self._quantile(far, near)))).sum(0)

    def _power_moment(self, order: int, centre: "Tensor | float" = 0.0) -> Tensor:
        """E[(Y - centre)^order], with what heavy tails hold beyond the nodes of the quadrature."""
        total = self._expectation(lambda y: (y - centre) ** order)
        indices = self._tail_indices()
        if are_light(indices):
            return total
        outermost = 0.5 * tanh_sinh(_NODES, total)[0][0].expand(self.batch_shape)
        for tails, index in zip(
            ((outermost, 1 - outermost), (1 - outermost, outermost)), indices, strict=True
        ):
            value = (self._inside(self._quantile(*tails)) - centre) ** order
            total = total + 0.5 * beyond_nodes(index, value, _NODES, order=order)
        return total

    def _inside(self, y: Tensor) -> Tensor:
        """The values y, moved to the next number inside where they were rounded to an end."""
        lower, upper = self.support_limits()
        return torch.minimum(
            torch.maximum(y, torch.nextafter(lower, upper)), torch.nextafter(upper, lower)
        )

    def _quantile(self, below: Tensor, above: Tensor) -> Tensor:
        """The y with P(Y <= y) = below and P(Y > y) = above; the smaller of both is exact."""
        if are_plain_numbers(below, above) and all(
            are_within(tail, _LEAST_PROBABILITY) for tail in (below, above)
        ):
            return self._inverse(below, above)
        interior = (below > 0) & (above > 0)
        y = self._inverse(torch.where(interior, below, 0.5), torch.where(interior, above, 0.5))
        lower, upper = self.support_limits()
        edge = torch.where(below == 0, lower, torch.where(above == 0, upper, math.nan))
        return torch.where(interior, y, edge)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        """`_quantile` for probabilities other than 0 and 1, by a bracketed search."""
        below, above, _ = torch.broadcast_tensors(below, above, self._constant(0.0))
        log_below, log_above = below.log(), above.log()
        left = below <= above

        def residual(y: Tensor) -> Tensor:
            return torch.where(left, self.log_cdf(y) - log_below, log_above - self.log_survival(y))

        with torch.no_grad():
            y = bracketed_inverse(residual, torch.zeros_like(below), *self.support_limits())
        return self._with_gradient(y, log_below, log_above)

    def _with_gradient(
        self, y: Tensor, log_below: Tensor | None = None, log_above: Tensor | None = None
    ) -> Tensor:
        """The quantile y with its gradient, by the implicit function theorem.

        The equation is that of the logarithm of the smaller tail, which does not underflow.

        Args:
            y: the quantile, without a gradient.
            log_below: log P(Y <= y); None where it is constant.
            log_above: log P(Y > y); None where it is constant.
        """
        y = y.detach()
        if not self._is_differentiated(log_below, log_above):
            return y
        log_cdf, log_survival = self.log_cdf(y), self.log_survival(y)
        left = (log_cdf <= log_survival).detach()
        residual = torch.where(
            left,
            log_cdf - (log_cdf.detach() if log_below is None else log_below),
            (log_survival.detach() if log_above is None else log_above) - log_survival,
        )
        slope = torch.exp(self.log_prob(y) - torch.where(left, log_cdf, log_survival))
        return implicit(y, residual, slope)


@register_kl(Continuous, Continuous)
def _kl_by_quadrature(p: Continuous, q: Continuous) -> Tensor:
    """E_p[log p(Y) - log q(Y)] in nats, by quadrature over the quantiles of p.

    It is infinite where the support of p reaches beyond that of q, and where log q falls too fast
    towards an end of the support for the expectation to exist.
    """
    dtype = torch.promote_types(p.dtype, q.dtype)
    p = p._in_double().expand(torch.broadcast_shapes(p.batch_shape, q.batch_shape))
    q = q._in_double()

    def integrand(y: Tensor) -> Tensor:
        log_p = p.log_prob(y)
        # a quantile may lie beyond all numbers, or be rounded to one outside the support
        return torch.where(log_p.isneginf(), 0.0, log_p - q.log_prob(y))

    value = p._expectation(integrand)
    if p.kind == q.kind == "direction":  # the ends of a cdf are those of no support
        return value.to(dtype)
    if p.kind == "continuous":
        value = value + _kl_in_far_tails(p, integrand)
    return torch.where(_reaches_beyond(p, q), torch.inf, value).to(dtype)


def _reaches_beyond(p: Continuous, q: Continuous) -> Tensor:
    """Whether p has numbers below or above all of q, by more than the rounding of an end."""
    (least, most), (lower, upper) = p.support_limits(), q.support_limits()
    slack = 4 * torch.finfo(lower.dtype).eps
    below = least < lower - torch.where(lower.isfinite(), slack * lower.abs(), 0.0)
    return below | (most > upper + torch.where(upper.isfinite(), slack * upper.abs(), 0.0))


def _kl_in_far_tails(p: Continuous, integrand: Callable[[Tensor], Tensor]) -> Tensor:
    """What the integral over the quantiles of p holds beyond the nodes of its quadrature.

    The integrand grows as a power of the probability beyond a quantile. From the power -1 on the
    integral is infinite.
    """
    first = 0.5 * float(tanh_sinh(_NODES, torch.zeros((), dtype=torch.float64))[0][0])
    tails = _column(p._constant(0.0).new_tensor([first, *_FAR]), len(p.batch_shape))
    tails = tails.expand(-1, *p.batch_shape)
    total = p._constant(0.0)
    for ends in ((tails, 1 - tails), (1 - tails, tails)):
        outermost, near, far = integrand(p._inside(p._quantile(*ends))).unbind(0)
        some = (near != 0) & (far != 0)  # the logarithm of 0 has no gradient
        near, far = torch.where(some, near, 1.0), torch.where(some, far, 1.0)
        power = (far.abs().log() - near.abs().log()) / math.log(_FAR[0] / _FAR[1])
        finite, grows = power < 1 - _LEAST_GAP, power > _LEAST_POWER
        rest = 0.5 * outermost * tanh_sinh_beyond(_NODES, torch.where(finite, power, 0.0))
        rest = torch.where(finite, rest, math.inf)
        total = total + torch.where(grows, rest, 0.0)
    return total


def _column(values: Tensor, dims: int) -> Tensor:
    return values.reshape((-1,) + (1,) * dims)
