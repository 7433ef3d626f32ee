"""Between which numbers the values of a program lie, as far as its checks tell: where nobody need look again."""

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from disthead.likelihood.recording import Value

__all__ = ["ORDINARY", "Ranges"]

# Between these the functions of the library in C need not look at ends; beyond those of EXP it
# gives 0 and infinity.
ORDINARY = {"EXP": (-87.0, 87.0), "LOG": (1e-37, 1e38), "LOG1P": (0.0, 1e38)}
_ANYTHING = (-math.inf, math.inf)  # and also what is no number
_ROUNDING = 1e-4  # of a number: far more than single precision and the functions in C do
# These rise or fall in each of their operands, whose ends so lead to their own.
_BY_ENDS: dict[str, Callable[..., float]] = {
    "FILL": float,
    "NEGATIVE": operator.neg,
    "SQRT": math.sqrt,
    "EXP": math.exp,
    "LOG": math.log,
    "LOG1P": math.log1p,
    "ADD": operator.add,
    "ADD_NUMBER": operator.add,
    "SUBTRACT": operator.sub,
    "SUBTRACT_FROM_NUMBER": lambda x, number: number - x,
    "MULTIPLY": operator.mul,
    "MULTIPLY_NUMBER": operator.mul,
    "DIVIDE": operator.truediv,
    "DIVIDE_NUMBER": lambda x, number: number / x,
    "MAXIMUM": max,
    "MAXIMUM_NUMBER": max,
    "MINIMUM": min,
    "MINIMUM_NUMBER": min,
}
_ALWAYS = {
    "SIN": (-1.0, 1.0),
    "COS": (-1.0, 1.0),
    "SIGN": (-1.0, 1.0),
    "EQUAL": (0.0, 1.0),
    "EQUAL_NUMBER": (0.0, 1.0),
}


class Ranges:
    """The least and the greatest number that each value may be.

    Args:
        dtype: the precision of the values.
    """

    def __init__(self, dtype: Any):
        self._smallest, self._largest = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
        self._known: dict[int, tuple[float, float]] = {}

    def find(self, value: Value) -> None:
        """Find the range of a value from those of its operands, which are found already."""
        try:
            low, high = self._found(value)
        except (ValueError, OverflowError):  # no logarithm, or more than there is
            low, high = _ANYTHING
        # as far as rounding may go
        low, high = low - _ROUNDING * abs(low), high + _ROUNDING * abs(high)
        if not -self._largest <= low <= high <= self._largest or not all(
            map(self._is_ordinary, value.numbers)
        ):
            low, high = _ANYTHING
        self._know(value, low, high)

    def _is_ordinary(self, number: float) -> bool:
        """Whether the precision has it, and not 0 or infinity in its place."""
        return number == 0 or self._smallest <= abs(number) <= self._largest

    def is_within(self, value: Value, least: float, greatest: float) -> bool:
        """Whether the value is surely a number between these two, which are finite."""
        low, high = self._known[id(value)]
        return least <= low and high <= greatest

    def narrow(self, value: Value, least: float, greatest: float) -> None:
        """From here on the value is known to be a number between these."""
        low, high = self._known[id(value)]
        self._know(value, max(low, least), min(high, greatest))

    def _know(self, value: Value, low: float, high: float) -> None:
        """Numbers smaller than the normal ones may be 0 in their place."""
        low, high = (
            0.0 if 0 < low < self._smallest else low,
            0.0 if -self._smallest < high < 0 else high,
        )
        self._known[id(value)] = low, high

    def _found(self, value: Value) -> tuple[float, float]:
        operation, operands = (
            value.operation,
            [self._known[id(operand)] for operand in value.values],
        )
        if _ANYTHING in operands:
            return _ANYTHING
        if operation in _ALWAYS:
            return _ALWAYS[operation]
        if operation == "SELECT":
            (least, greatest), other = operands[1:]
            return min(least, other[0]), max(greatest, other[1])
        if operation == "ABSOLUTE" or (
            operation == "MULTIPLY" and value.values[0] is value.values[1]
        ):
            low, high = operands[0]
            least, greatest = max(low, -high, 0.0), max(high, -low)
            return (
                (least, greatest)
                if operation == "ABSOLUTE"
                else (least * least, greatest * greatest)
            )
        if operation not in _BY_ENDS or (
            operation.startswith("DIVIDE") and operands[-1][0] <= 0 <= operands[-1][1]
        ):
            return _ANYTHING
        ends = [_BY_ENDS[operation](*ends, *value.numbers) for ends in itertools.product(*operands)]
        # whose reciprocal may be 0
        if operation == "DIVIDE" and max(map(abs, operands[1])) * self._smallest > 1:
            ends.append(0.0)
        if operation == "EXP":
            low, high = operands[0]
            ends += [0.0] * (low < ORDINARY["EXP"][0]) + [math.inf] * (high > ORDINARY["EXP"][1])
        return min(ends), max(ends)
