"""Closed forms computed by the C library, for concrete numbers within the usual range.

The methods of a family hold for every target, parameter and tensor. Nearly always all values are
concrete numbers, no parameter has underflowed and no target is outside the support. The textbook
formula suffices then (`special/answers.h`): it takes one pass in double precision, without
conditions for single rows. The first derivatives of quantiles by the parameters are such formulas,
too.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disthead.special.blocks import ANSWERS, answer
from disthead.special.eager import is_on_host, is_tracing

__all__ = ["closed_form", "quantile"]

_PRECISIONS = frozenset({torch.float32, torch.float64})
Method = Callable[[Any, Tensor], Tensor]


def closed_form(name: str, *parameters: str) -> Callable[[Method], Method]:
    """A decorator: the method is computed by the C library where that can, else by its own body.

    It decorates methods of a `Univariate` that take targets. The body is used where gradients are
    needed, in graphs, on other devices, and outside of the range given in `answers.h`.

    Args:
        name: the function in `answers.h`.
        parameters: the names of the parameters that it takes, in its order.
    """
    return _answered(name, parameters, False)


def quantile(name: str, *parameters: str) -> Callable[[Method], Method]:
    """A decorator like `closed_form`, for quantiles, with gradients by the parameters.

    The derivative by a parameter is the function `<name>_by_<parameter>` in `answers.h`, by the
    logarithm of a positive parameter. Where there is no such function the derivative is 1. Levels
    0 and 1 are left to the body of the method.

    Args:
        name: the function in `answers.h`.
        parameters: the names of the parameters that it takes, in its order.
    """
    return _answered(name, parameters, True)


def _answered(
    name: str, parameters: tuple[str, ...], is_quantile: bool
) -> Callable[[Method], Method]:
    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def answered(self: Any, values: Tensor) -> Tensor:
            own, other = self.dtype, values.dtype
            dist = (
                _in_memory(self, values, parameters)
                if own in _PRECISIONS and other in _PRECISIONS
                else None
            )
            if dist is None:
                return method(self, values)
            inputs = [getattr(dist, parameter) for parameter in parameters]
            needs_grad = torch.is_grad_enabled() and any(
                parameter.requires_grad for parameter in inputs
            )
            if needs_grad and not is_quantile:
                return method(self, values)
            result = _answer(
                name, own if own == other or is_quantile else torch.float64, values, *inputs
            )
            if needs_grad and result is not None:
                result = _with_gradient(name, parameters, method, dist, values, result)
            return method(self, values) if result is None else result

        return answered if name in ANSWERS else method

    return decorate


def _in_memory(dist: Any, values: Tensor, parameters: tuple[str, ...]) -> Any | None:
    """The distribution with parameters that the library can read; None where it cannot."""
    if is_tracing() or not is_on_host(values) or (values.requires_grad and torch.is_grad_enabled()):
        return None
    # raw outputs are more exact than the parameters
    if dist._linked is not None and dist.dtype != torch.float64:
        dist = dist._linked.in_double()
    names = dist._names
    for name in parameters:  # logits are not there where probabilities are stored
        if name not in names or not is_on_host(getattr(dist, name)):
            return None
    return dist


def _answer(name: str, dtype: torch.dtype, values: Tensor, *others: Tensor) -> Tensor | None:
    """The result of the library; None where a number is out of its range."""
    shape = values.shape
    for other in others:
        if other.shape != shape:
            shape = torch.broadcast_shapes(shape, other.shape)
    result = torch.empty(shape, dtype=dtype)
    return result if answer(ANSWERS[name], result, values, *others) else None


def _with_gradient(
    name: str, parameters: tuple[str, ...], method: Method, dist: Any, q: Tensor, result: Tensor
) -> Tensor | None:
    """The quantile with its gradient; None where a parameter has none through its logarithm."""
    own = [getattr(dist, parameter) for parameter in parameters]
    logs = [
        f"log_{parameter}" if f"log_{parameter}" in dist._names else parameter
        for parameter in parameters
    ]
    # By the logarithm in single precision, where the derivative by a small number may overflow.
    names = logs if dist.dtype == torch.float32 else parameters
    differentiated = [getattr(dist, parameter) for parameter in names]
    if any(
        value.requires_grad and not other.requires_grad
        for value, other in zip(own, differentiated, strict=True)
    ):
        return None

    def operations(*parts: Tensor) -> Tensor:
        return method(type(dist)(**dict(zip(names, parts, strict=True))), q).to(result.dtype)

    def slope(place: int, grad: Tensor) -> Tensor | None:
        by_log = f"{name}_by_{logs[place]}"
        if by_log not in ANSWERS:
            return grad
        derivative = _answer(by_log, differentiated[place].dtype, q, *own, grad)
        is_by_log = names[place] == logs[place]
        return derivative if derivative is None or is_by_log else derivative.div_(own[place])

    return _Quantile.apply(result, operations, slope, *differentiated)


class _Quantile(torch.autograd.Function):
    """A quantile: the library gives its first derivative, the method's operations the others."""

    @staticmethod
    def forward(ctx, result, operations, slope, *parameters):
        ctx.operations, ctx.slope = operations, slope
        ctx.save_for_backward(*parameters)
        return result.view_as(result)

    @staticmethod
    def backward(ctx, grad):
        needs_grad = ctx.needs_input_grad[3:]
        slopes = [None] * len(needs_grad)
        if not torch.is_grad_enabled() and not is_tracing():
            slopes = [
                ctx.slope(place, grad) if one else None for place, one in enumerate(needs_grad)
            ]
        if any(one and slope is None for one, slope in zip(needs_grad, slopes, strict=True)):
            slopes = torch.func.vjp(ctx.operations, *ctx.saved_tensors)[1](grad)
        return None, None, None, *slopes
