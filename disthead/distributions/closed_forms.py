"""Short formulas for ordinary numbers: one look at all of them takes the place of a condition in each row.

A family's methods answer for any target, parameter and tensor. Nearly always nobody asks for more than numbers, no parameter has
underflowed and no target is outside the support. Then the formula of the textbook will do, whose time is that of its operations.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disthead.special.eager import are_plain_numbers, are_within

__all__ = ["for_levels", "for_targets"]

_PRECISIONS = (torch.float32, torch.float64)
_BETWEEN_0_AND_1 = math.nextafter(0.0, 1.0), math.nextafter(1.0, 0.0)
Formula = Callable[..., Tensor]
Method = Callable[[Any, Tensor], Tensor]


def for_targets(
    formula: Formula, least: float = -math.inf, *, most: dict[str, float] | None = None, in_single: bool = False
) -> Callable[[Method], Method]:
    """A method of a `Univariate` answered by a formula where all is ordinary, and by itself otherwise.

    Ordinary are plain numbers: targets from `least` on, positive parameters that did not underflow.

    Args:
        formula: of the targets and of the parameters that its arguments name (`log_scale` is the logarithm of `scale`), in double
            precision. It may not write on them.
        least: the smallest target for it.
        most: the greatest value of parameters for it.
        in_single: whether the formula keeps its digits in single precision, so that numbers of single precision stay in it.
    """
    return _by_formula(formula, (least, math.inf), most or {}, in_single, torch.promote_types)


def for_levels(formula: Formula, *, in_single: bool = False) -> Callable[[Method], Method]:
    """As `for_targets`, for a quantile: of levels other than 0 and 1. Of a level in double precision 1 - q is exact in its place."""
    return _by_formula(formula, _BETWEEN_0_AND_1, {}, in_single, lambda own, levels: own)


def _by_formula(
    formula: Formula,
    limits: tuple[float, float],
    most: dict[str, float],
    in_single: bool,
    precision: Callable[[torch.dtype, torch.dtype], torch.dtype],
) -> Callable[[Method], Method]:
    names = tuple(inspect.signature(formula).parameters)[1:]

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def answer(self: Any, values: Tensor) -> Tensor:
            numbers = _numbers(self, values, names, limits, most, in_single)
            return (
                method(self, values) if numbers is None else formula(*numbers).to(precision(self.dtype, values.dtype))
            )

        return answer

    return decorate


def _numbers(
    dist: Any,
    values: Tensor,
    names: tuple[str, ...],
    limits: tuple[float, float],
    most: dict[str, float],
    in_single: bool,
) -> list[Tensor] | None:
    """The values and the parameters as the formula takes them, None where any of them is not ordinary."""
    own = dist.dtype
    if own not in _PRECISIONS or values.dtype not in _PRECISIONS or not are_plain_numbers(values):
        return None
    stays = own == torch.float64 or (in_single and values.dtype == own)
    source = dist._linked
    if source is not None and not stays:  # whose raw outputs are more exact than the parameters
        if source.requires_grad and torch.is_grad_enabled():
            return None
        dist, stays = source.in_double(), True
    parameters = []
    for name in names:
        value = name.removeprefix("log_")
        if value not in dist._names:  # probabilities instead of logits
            return None
        is_positive, has_log = f"log_{value}" in dist._names, value != name
        parameter = getattr(dist, name if stays else value)
        if not are_plain_numbers(parameter):
            return None
        if (is_positive and not (has_log and stays)) or value in most:
            given = getattr(dist, value)
            # Up to twice the least normal number a positive parameter counts as underflowed (`wide`, `ratio`).
            least = 3 * torch.finfo(given.dtype).tiny if is_positive else -math.inf
            if not are_within(given, least, most.get(value, math.inf)):
                return None
        if not stays:
            parameter = parameter.double().log_() if has_log else parameter.double()
        parameters.append(parameter)
    if not are_within(values, *limits):
        return None
    keeps = (stays and in_single) or values.dtype == torch.float64
    return [values if keeps else values.double(), *parameters]
