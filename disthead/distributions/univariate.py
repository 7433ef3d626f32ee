"""`Univariate`: what every distribution of a single ordered number derives from its quantiles."""

import functools
from collections.abc import Callable
from typing import Self

import torch
from torch import Size, Tensor

from disthead.distributions.base import Distribution, to_double
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.tails import LIGHT, Indices
from disthead.special.eager import are_plain_numbers, is_tracing
from disthead.special.numeric import mend

__all__ = [
    "Univariate",
    "check_level",
    "in_double",
    "product",
    "ratio",
    "sample_std",
    "with_grad_through_log",
    "with_min_scale",
]


class Univariate(Distribution):
    """A distribution of one ordered number; the base of `Continuous` and `Discrete`."""

    @property
    def median(self) -> Tensor:
        return self.icdf(self._constant(0.5))

    def _tail_indices(self) -> Indices:
        """The indices of the lower and the upper tail (`disthead.distributions.tails`).

        Families whose tails fall as a power say so here; no moments tell it.
        """
        return LIGHT

    def log_cdf(self, y: Tensor) -> Tensor:
        """The logarithm of P(Y <= y)."""
        return self.cdf(y).log()

    def log_survival(self, y: Tensor) -> Tensor:
        """The logarithm of P(Y > y)."""
        return torch.log1p(-self.cdf(y))

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The randomised probability integral transform P(Y < y) + v P(Y = y), where v is uniform.

        It is uniform on (0, 1) if y has this distribution.
        """
        below, through = self.cdf_limits(y)
        v = torch.rand(below.shape, generator=generator, dtype=below.dtype, device=below.device)
        return below + v * (through - below)

    def interval(self, level: float) -> Interval | Arc:
        """The central interval: the quantiles at (1 - level) / 2 and (1 + level) / 2.

        It is a pair (lower, upper), both of shape batch; `contains(y)` says which targets it holds.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        check_level(level)
        probabilities = torch.stack(
            [self._constant((1 - level) / 2), self._constant((1 + level) / 2)]
        )
        return Interval(*self.icdf(probabilities).unbind())

    def _is_plain(self, *values: Tensor) -> bool:
        """Whether the parameters and these values are concrete numbers without gradients."""
        if is_tracing():
            return False
        parts = list(values)

        def noted(parameter: Tensor) -> Tensor:
            parts.append(parameter)
            return parameter

        self.map(noted)
        return are_plain_numbers(*parts)

    def _flat(self, shape: Size | None = None) -> Self:
        """The distributions, expanded to `shape` unless None, in a batch of one dimension."""
        expanded = self if shape in (None, self.batch_shape) else self.expand(shape)
        dims = len(expanded.batch_shape)
        return expanded.map(lambda parameter: parameter.reshape(-1, *parameter.shape[dims:]))

    def _is_differentiated(self, *levels: Tensor | None) -> bool:
        """Whether a parameter or level needs a gradient, or may need one where it is traced."""
        if not torch.is_grad_enabled() or is_tracing():
            return torch.is_grad_enabled()
        needs_grad = [level is not None and level.requires_grad for level in levels]

        def noted(parameter: Tensor) -> Tensor:
            needs_grad.append(parameter.requires_grad)
            return parameter

        self.map(noted)
        return any(needs_grad)

    def _constant(self, value: float) -> Tensor:
        """The number for each distribution of the batch, in double precision where available."""
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        if not torch.compiler.is_compiling():
            return torch.full(self.batch_shape, value, dtype=dtype, device=self.device)
        # sizes are symbolic within loops of graphs
        return torch.full_like(self._like_batch(), value, dtype=dtype)

    def _like_batch(self) -> Tensor:
        """A tensor of the shape of the batch."""
        name = self._names[0]
        parameter = getattr(self, name)
        return parameter[(..., *(0,) * self.parameter_dims.get(name, 0))]

    def _in_double(self) -> Self:
        """The same distribution with parameters in double precision (except on mps).

        A head's distribution recomputes them from its raw outputs, which are exact: an angle or a
        scale rounded to single precision would misplace a sharp peak. Other distributions recover a
        parameter that underflowed from its logarithm.
        """
        if self.dtype == torch.float64 or self.device.type == "mps":
            return self
        if self._linked is not None:
            return self._linked.in_double()
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        parameters = {}
        for name in self._names:
            log_name = "log_" + name
            if log_name in self._names:
                value, log_value = getattr(self, name), getattr(self, log_name)
                parameters[name], parameters[log_name] = _pair_in_double(value, log_value)
            elif name not in parameters:
                parameters[name] = getattr(self, name).double()
        new._store(tuple(self.event_shape), **parameters)
        return new


def in_double(method: Callable) -> Callable:
    """A decorator that computes a method in double precision and returns the caller's dtype.

    Within the method, the parameters of `self` and the arguments (tensors or distributions) are in
    double precision. The result has the dtype that those of `self` and the arguments promote to.
    """

    @functools.wraps(method)
    def answer(self, *arguments: "Tensor | Univariate") -> Tensor:
        exact, dtype = self._in_double(), self.dtype
        inputs = []
        for argument in arguments:
            dtype = torch.promote_types(dtype, argument.dtype)
            is_tensor = isinstance(argument, Tensor)
            inputs.append(argument.to(exact.dtype) if is_tensor else argument._in_double())
        return method(exact, *inputs).to(dtype)

    return answer


def in_double_for_gradients(method: Callable) -> Callable:
    """As `in_double`, except for concrete numbers in single precision, whose formula is exact."""
    exact = in_double(method)

    @functools.wraps(method)
    def answer(self, *arguments: Tensor) -> Tensor:
        single = all(question.dtype == torch.float32 for question in (self, *arguments))
        suffices = single and are_plain_numbers(
            *arguments, *(getattr(self, name) for name in self._names)
        )
        return (method if suffices else exact)(self, *arguments)

    return answer


def _pair_in_double(value: Tensor, log_value: Tensor) -> tuple[Tensor, Tensor]:
    """A positive parameter and its logarithm in double precision, from the more exact of both.

    Both have their gradients through the logarithm, since a gradient through a tiny value may
    overflow.
    """
    if are_plain_numbers(value, log_value):
        tiny = value <= 2 * torch.finfo(value.dtype).tiny
        exact = mend(value.double(), tiny, lambda log_value: log_value.double().exp(), log_value)
        return exact, exact.log()
    exact, log_double = to_double(value, log_value).detach(), log_value.double()
    log_exact = log_double + (exact.log() - log_double).detach()
    return with_grad_through_log(exact, log_exact), log_exact


def with_grad_through_log(value: Tensor, log_value: Tensor) -> Tensor:
    """The value, with a gradient that goes through its logarithm."""
    return value.detach() * torch.exp(log_value - log_value.detach())


def ratio(value: Tensor, scale: Tensor, log_scale: Tensor) -> Tensor:
    """The quotient value / scale, also where the scale underflowed.

    Args:
        value: shape (...).
        scale: positive, shape (...).
        log_scale: its logarithm, which is exact where the scale underflowed.
    """
    tiny = scale <= 2 * torch.finfo(scale.dtype).tiny
    if are_plain_numbers(value, scale, log_scale) and not tiny.any():
        return value / scale
    # in two steps: exp(-log_scale) would overflow
    half = torch.exp(-0.5 * torch.where(tiny, log_scale, 0.0)).detach()
    quotient = torch.where(
        tiny,
        torch.where(tiny, value, 0.0) * half * half,
        value / torch.where(tiny, 1.0, scale.detach()),
    )
    return quotient * torch.exp(log_scale.detach() - log_scale)


def product(value: Tensor, rate: Tensor, log_rate: Tensor) -> Tensor:
    """The product value * rate, also where the rate underflowed.

    Args:
        value: shape (...).
        rate: positive, shape (...).
        log_rate: its logarithm, which is exact where the rate underflowed.
    """
    tiny = rate <= 2 * torch.finfo(rate.dtype).tiny
    if are_plain_numbers(value, rate, log_rate) and not tiny.any():
        return value * rate
    half = torch.exp(0.5 * torch.where(tiny, log_rate, 0.0)).detach()
    return torch.where(tiny, value * half * half, value * rate.detach()) * torch.exp(
        log_rate - log_rate.detach()
    )


def sample_std(y: Tensor) -> Tensor:
    """The standard deviation over rows, bounded below by `with_min_scale`.

    Args:
        y: targets, shape (N, ...).
    """
    return with_min_scale(y.std(0, correction=0), y)


def with_min_scale(scale: Tensor, y: Tensor) -> Tensor:
    """The scale, but at least a millionth of the targets' magnitude, also for constant targets.

    Args:
        scale: shape (...).
        y: targets, shape (N, ...).
    """
    size = y.abs()
    typical = size.median(0).values  # robust against outliers
    magnitude = torch.where(typical > 0, typical, size.mean(0))
    min_scale = torch.where(magnitude > 0, 1e-6 * magnitude, 1.0).clamp(
        min=torch.finfo(y.dtype).tiny
    )
    return torch.maximum(scale, min_scale)


def check_level(level: float) -> None:
    """Check the probability of an interval.

    Raises:
        ValueError: unless 0 < level < 1.
    """
    if not 0 < level < 1:
        raise ValueError(
            f"level must be between 0 and 1, such as 0.9 for a 90 % interval, got {level}."
        )
