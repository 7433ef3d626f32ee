"""Ranges of values: no number that a program meets lies outside."""

import math

import numpy as np
import pytest

from disthead.likelihood.ranges import Ranges
from disthead.likelihood.recording import Recorder

ROWS = 500
OPERATIONS = [
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: 3 - x,
    lambda x, y: x * y,
    lambda x, y: x * x,
    lambda x, y: -2 * x,
    lambda x, y: x / y,
    lambda x, y: 1 / (2 + abs(y)),
    lambda x, y: abs(x) - y,
    lambda x, y: np.maximum(x, y),
    lambda x, y: np.minimum(x, 0.25),
    lambda x, y: np.exp(-abs(x)),
    lambda x, y: np.log(1 + y * y),
    lambda x, y: np.log1p(abs(x)),
    lambda x, y: np.sqrt(abs(x)) - np.sign(y),
    lambda x, y: np.where(x == abs(x), x, y),
    lambda x, y: np.sin(x) + np.cos(y),
]


def formula(seed, arrays) -> list:
    """Some values, each made of two before it."""
    choice, values = np.random.default_rng(seed), list(arrays)
    for _ in range(25):
        x, y = (values[choice.integers(len(values))] for _ in range(2))
        values.append(OPERATIONS[choice.integers(len(OPERATIONS))](x, y))
    return values


def ranges_of(dtype, seed, limits) -> tuple[Ranges, list]:
    recorder = Recorder(dtype)
    arrays = [recorder.array(index) for index in range(len(limits))]
    values = [result.items.item() for result in formula(seed, arrays)]
    ranges = Ranges(dtype)
    for value in recorder.noted:
        ranges.find(value)
        for array, ends in zip(arrays, limits, strict=True):
            if value is array.items.item():
                ranges.narrow(value, *ends)
    return ranges, values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(40))
def test_numbers_lie_in_their_range(seed, dtype):
    limits = [(-3.0, 2.0), (0.0, 1.0), (0.5, 40.0)]
    ranges, values = ranges_of(dtype, seed, limits)
    generator = np.random.default_rng(seed)
    arrays = [generator.uniform(*ends, ROWS).astype(dtype) for ends in limits]
    for array, ends in zip(arrays, limits, strict=True):
        array[:2] = ends
    with np.errstate(all="ignore"):
        results = formula(seed, arrays)
    bounded = 0
    for value, numbers in zip(values, results, strict=True):
        least, greatest = ranges._known[id(value)]
        if math.isinf(least):
            continue
        bounded += 1
        assert np.isfinite(numbers).all()
        assert least <= numbers.min()
        assert numbers.max() <= greatest
    assert bounded > 5


def test_ranges_that_can_be_told():
    """Ends that follow from the operands' ends, and none where an operation may fail."""
    recorder = Recorder(np.float32)
    x, y, unknown = (recorder.array(index) for index in range(3))
    expected = [
        (x + y, (-2.0, 7.0)),
        (x - y, (-7.0, 2.0)),
        (x * y, (-10.0, 10.0)),
        (x * x, (0.0, 4.0)),
        (abs(x), (0.0, 2.0)),
        (x / (y + 1), (-2.0, 2.0)),
        (1 / (y + 1), (1 / 6, 1.0)),
        (np.exp(x), (math.exp(-2), math.exp(2))),
        (np.log1p(y), (0.0, math.log(6))),
        (np.maximum(x, 1.0), (1.0, 2.0)),
        (np.where(x == y, x, y), (-2.0, 5.0)),
        (1e-30 * (y + 1) * 1e-20, (0.0, 1e-37)),  # underflow
        # a product with a reciprocal, which underflows
        ((y + 1) / (4e37 * (y + 1)), (0.0, 1.5e-37)),
        (np.exp(-43.6 * abs(x)), (0.0, 1.0)),  # which in C is 0 below -87
    ]
    infinite = [
        unknown,
        unknown + x,
        1 / x,
        y / x,
        np.log(y),
        np.log(x),
        np.exp(100 * y),
        np.exp(y * 17.6),
        1e-30 * y * 1e300,
        1e300 * (y * 1e-30),
        1e-50 * (y * 1e30 + 1e30),
        np.sqrt(x),
        1e38 * y,
        unknown * 0.5,
    ]
    ranges = Ranges(np.float32)
    for value in recorder.noted:
        ranges.find(value)
        if value is x.items.item():
            ranges.narrow(value, -2.0, 2.0)
        if value is y.items.item():
            ranges.narrow(value, 0.0, 5.0)
    for array, ends in expected:
        assert ranges._known[id(array.items.item())] == pytest.approx(ends, rel=1e-3, abs=1e-37)
        assert ranges.is_within(array.items.item(), ends[0] - 0.01, ends[1] + 0.01)
        assert not ranges.is_within(array.items.item(), ends[0] + 0.01, ends[1] + 0.01)
    for array in infinite:
        assert not ranges.is_within(
            array.items.item(), -float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_range_that_begins_below_the_normal_numbers_begins_at_zero(dtype):
    """Which is what they are where they are flushed to zero: their logarithms and quotients have to
    be looked at.
    """
    recorder, ranges = Recorder(dtype), Ranges(dtype)
    x = recorder.array(0)
    results = [np.log(x), 1 / x, 1e-300 / x]
    for value in recorder.noted:
        ranges.find(value)
        if value is x.items.item():
            ranges.narrow(value, float(np.nextafter(dtype(0), dtype(1))), 1.0)
    for result in results:
        assert not ranges.is_within(
            result.items.item(), -float(np.finfo(dtype).max), float(np.finfo(dtype).max)
        )
