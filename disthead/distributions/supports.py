"""Ends of supports: numbers, or tensors where each distribution of a batch has its own."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

__all__ = [
    "AnyComponent",
    "End",
    "bounds_of",
    "has_rows",
    "in_single",
    "in_words",
    "largest",
    "set_bounds",
    "smallest",
]

End = Tensor | float


def in_single(value: float) -> float:
    """The number that single precision makes of a number, in operations that compilers know.

    >>> in_single(0.7) == torch.tensor(0.7).item()
    True
    """
    if value == 0 or not math.isfinite(value):
        return value
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**24), exponent - 24)


def bounds_of(support: constraints.Constraint) -> tuple[End, End]:
    """The least and the greatest value of a support of numbers; infinite where it has none.

    Each is a number, or a tensor that broadcasts against the batch where each distribution has its
    own, as the number of trials of a binomial one.

    >>> bounds_of(constraints.positive)
    (0.0, inf)
    """
    if support is constraints.boolean:
        return 0.0, 1.0
    return getattr(support, "lower_bound", -math.inf), getattr(support, "upper_bound", math.inf)


def in_words(end: End) -> str:
    """The end of a support for an error: its number, unless rows differ in it."""
    if not isinstance(end, Tensor):
        return f"{end:g}"
    least, most = float(end.min()), float(end.max())
    return f"{least:g}" if least == most else f"the end of its row, of {least:g} to {most:g},"


def set_bounds(support: Any, lower: End, upper: End) -> None:
    """Set `lower_bound` and `upper_bound` of a constraint, as torch does, where it has them."""
    if isinstance(lower, Tensor) or lower > -math.inf:
        support.lower_bound = lower
    if isinstance(upper, Tensor) or upper < math.inf:
        support.upper_bound = upper


def largest(*ends: End) -> End:
    """The largest of some ends, for each distribution; a number where all are numbers."""
    return _extreme(torch.maximum, max, ends)


def smallest(*ends: End) -> End:
    """The smallest of some ends, for each distribution; a number where all are numbers."""
    return _extreme(torch.minimum, min, ends)


def _extreme(of_tensors: Any, of_numbers: Any, ends: tuple[End, ...]) -> End:
    numbers = [end for end in ends if not isinstance(end, Tensor)]
    tensors = [end for end in ends if isinstance(end, Tensor)]
    if not tensors:
        return of_numbers(numbers)
    result = tensors[0]
    for end in tensors[1:]:
        result = of_tensors(result, end)
    # an infinite number is no integer, and it changes nothing unless it is the answer
    finite = [number for number in numbers if math.isfinite(number)]
    if finite:
        like = result if result.is_floating_point() else result.double()
        result = of_tensors(like, like.new_tensor(of_numbers(finite)))
    return result


def has_rows(support: constraints.Constraint) -> bool:
    """Whether a support differs among the distributions of a batch, as its check then does."""
    return any(
        isinstance(part, Tensor)
        or hasattr(part, "batch_shape")
        or (isinstance(part, constraints.Constraint) and has_rows(part))
        for part in vars(support).values()
    )


class AnyComponent(constraints.Constraint):
    """The values in the support of at least one of several components.

    Args:
        support: of numbers, for a batch (..., components).
    """

    def __init__(self, support: constraints.Constraint):
        self.support, self.is_discrete = support, support.is_discrete
        lower, upper = bounds_of(support)
        set_bounds(
            self,
            lower.amin(-1) if isinstance(lower, Tensor) else lower,
            upper.amax(-1) if isinstance(upper, Tensor) else upper,
        )

    def check(self, value: Tensor) -> Tensor:
        return self.support.check(torch.as_tensor(value).unsqueeze(-1)).any(-1)
