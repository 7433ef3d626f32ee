"""Recorded formulas: the same numbers as NumPy's, on blocks of rows."""

import shutil

import numpy as np
import pytest
import torch

from disthead.likelihood.program import Program
from disthead.likelihood.recording import NotRecorded, Recorder
from disthead.special.blocks import AVAILABLE

pytestmark = pytest.mark.skipif(
    not AVAILABLE and shutil.which("cc") is None, reason="needs a C compiler"
)
PRECISIONS = [np.float32, np.float64]
in_both_precisions = pytest.mark.parametrize("dtype", PRECISIONS)


def program_of(formula, dtype, *columns: int | None) -> Program:
    """The program of a formula of arrays with so many columns, and of one number where that is
    None.
    """
    recorder = Recorder(dtype)
    arrays = [recorder.array(index, count) for index, count in enumerate(columns)]
    return Program.of(recorder, formula(*arrays).stored(len(columns)))


def ran(formula, dtype, *arrays: np.ndarray) -> np.ndarray:
    """What a formula with one result makes of arrays (n,)."""
    result = np.empty(len(arrays[0]), dtype)
    assert run(program_of(formula, dtype, *[None] * len(arrays)), *arrays, result)
    return result


def run(program: Program, *arrays: np.ndarray) -> bool:
    """Whether the program went through, on tensors in the memory of these arrays."""
    return program.run(*map(torch.from_numpy, arrays))


def numbers(
    dtype, rows: int, least: float = -3.0, greatest: float = 3.0, seed: int = 0
) -> np.ndarray:
    return np.random.default_rng(seed).uniform(least, greatest, rows).astype(dtype)


def units_in_last_place(ours: np.ndarray, exact: np.ndarray) -> float:
    return float(
        (
            np.abs(ours.astype(np.longdouble) - exact)
            / np.spacing(np.abs(exact).astype(ours.dtype))
        ).max()
    )


FUNCTIONS = {
    "exp": (np.exp, lambda dtype: numbers(dtype, 20_000, -86.0, 87.0)),
    "exp, small": (np.exp, lambda dtype: numbers(dtype, 20_000, -1e-3, 1e-3)),
    "log": (np.log, lambda dtype: np.exp(numbers(dtype, 20_000, -80.0, 80.0))),
    "log, near one": (np.log, lambda dtype: numbers(dtype, 20_000, 0.9, 1.1)),
    "log, subnormal": (
        np.log,
        lambda dtype: np.finfo(dtype).tiny * numbers(dtype, 20_000, 0.001, 1.0),
    ),
    "log1p": (np.log1p, lambda dtype: np.exp(numbers(dtype, 20_000, -80.0, 80.0))),
    "log1p, below zero": (np.log1p, lambda dtype: numbers(dtype, 20_000, -0.999, 0.0)),
    "sqrt": (np.sqrt, lambda dtype: np.exp(numbers(dtype, 20_000, -80.0, 80.0))),
}


@in_both_precisions
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_round_in_the_last_place_or_two(name, dtype):
    function, inputs = FUNCTIONS[name]
    x = inputs(dtype)
    assert units_in_last_place(ran(function, dtype, x), function(x.astype(np.longdouble))) < 2.5


@in_both_precisions
@pytest.mark.parametrize("function", [np.sin, np.cos])
@pytest.mark.parametrize("size", [1.0, 100.0, 1e6])
def test_sine_and_cosine_up_to_a_million(function, size, dtype):
    x = numbers(dtype, 20_000, -size, size)
    error = np.abs(
        ran(function, dtype, x).astype(np.longdouble) - function(x.astype(np.longdouble))
    ).max()
    assert error < 1.5 * np.finfo(dtype).eps


@in_both_precisions
def test_functions_at_the_ends(dtype):
    given = np.array([0.0, -0.0, -1.0, np.inf, -np.inf, np.nan, 1e5, -1e5], dtype)
    for function in (np.exp, np.log, np.log1p, np.sqrt, abs):
        with np.errstate(all="ignore"):
            exact = function(given.astype(np.float64))
        exact[exact > np.finfo(dtype).max] = np.inf
        np.testing.assert_allclose(ran(function, dtype, given), exact, rtol=1e-6)


@in_both_precisions
@pytest.mark.parametrize("end", [np.inf, -np.inf, np.nan, 0.0, -0.5, 1e-320, 1e5])
def test_numbers_beside_one_at_the_end_are_what_they_are_without_it(end, dtype):
    """A block with a number that needs care takes another way, to the same bits."""
    for name, (function, inputs) in FUNCTIONS.items():
        x = inputs(dtype)[:500]
        beside = np.append(x, dtype(end))
        with np.errstate(all="ignore"):
            exact = function(beside[-1:].astype(np.float64))[0]
        found = ran(function, dtype, beside)
        np.testing.assert_array_equal(found[:-1], ran(function, dtype, x), err_msg=name)
        assert found[-1] == pytest.approx(exact, rel=1e-6, nan_ok=True) or (
            exact > np.finfo(dtype).max and found[-1] == np.inf
        )


# Each operation, with numbers on either side, and sums of products, which become one step.
FORMULAS = [
    lambda x, y, z: x + y - z,
    lambda x, y, z: 2 + x - (y - 3) - (4 - z),
    lambda x, y, z: x * y * z,
    lambda x, y, z: 2 * x * (y * 0.5),
    lambda x, y, z: x / y + z / 3 + 2 / x,
    lambda x, y, z: x * y + z,
    lambda x, y, z: z + x * y,
    lambda x, y, z: z - x * y,
    lambda x, y, z: x * y - z,
    lambda x, y, z: 3 * x + y,
    lambda x, y, z: y - 3 * x,
    lambda x, y, z: 3 * x + 2,
    lambda x, y, z: x * y + 2,
    lambda x, y, z: x * y + x * z,
    lambda x, y, z: (x * y + z) * (x * y),  # a product that is needed twice
    lambda x, y, z: x * x + x,
    lambda x, y, z: x + x + (y - y),
    lambda x, y, z: x**2 - abs(y) * np.sign(z),
    lambda x, y, z: np.maximum(x, y) + np.minimum(y, z),
    lambda x, y, z: np.maximum(x, 0.5) + np.minimum(0.5, z),
    lambda x, y, z: np.where(x == y, 1.0, z) + np.where(x == 0.0, y, 2.0),
    lambda x, y, z: -x + 0 * y + 1 * z,
    lambda x, y, z: np.sqrt(abs(x)) + np.exp(y) * np.log1p(z * z) - np.cos(x) * np.sin(y),
]


@in_both_precisions
@pytest.mark.parametrize("index", range(len(FORMULAS)))
def test_operations(index, dtype):
    x, y, z = (numbers(dtype, 1000, seed=seed) for seed in range(3))
    x[::7], x[1::7] = y[::7], 0.25
    formula = FORMULAS[index]
    exact = formula(*(part.astype(np.longdouble) for part in (x, y, z)))
    np.testing.assert_allclose(
        ran(formula, dtype, x, y, z), exact.astype(dtype), rtol=1e-5, atol=1e-5
    )


@in_both_precisions
@pytest.mark.parametrize("seed", range(20))
def test_formulas_at_random(seed, dtype):
    """Many values that live at the same time, in an order that nobody thought of."""
    given = [numbers(dtype, 700, seed=index) for index in range(4)]

    def formula(*arrays):
        choice, values = np.random.default_rng(seed), list(arrays)
        for _ in range(60):
            x, y = (
                values[choice.integers(max(0, len(values) - 20), len(values))] for _ in range(2)
            )
            values.append(
                [x + y, x - y, 0.5 * x * y, x / (1 + y * y), np.maximum(x, y), 0.1 * x - 1][
                    choice.integers(6)
                ]
            )
            values[-1] = values[-1] / (1 + abs(values[-1]))
        return sum(values[-10:])

    exact = formula(*(part.astype(np.longdouble) for part in given))
    np.testing.assert_allclose(
        ran(formula, dtype, *given), exact.astype(dtype), rtol=1e-4, atol=1e-4
    )


@in_both_precisions
@pytest.mark.parametrize("rows", [0, 1, 31, 1023, 1024, 1025, 10_000])
def test_any_number_of_rows(rows, dtype):
    x = numbers(dtype, rows)
    np.testing.assert_allclose(ran(lambda x: 2 * x + 1, dtype, x), 2 * x + 1, rtol=1e-6)


@in_both_precisions
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 7])
def test_results_in_any_order_of_memory(columns, dtype):
    """A few columns are written row by row."""
    table = numbers(np.float32, 700 * columns).reshape(700, columns)
    program = program_of(lambda x: x * x - 1, dtype, columns)
    for precision in PRECISIONS:
        for result in (
            np.zeros((700, columns), precision),
            np.zeros((columns, 700), precision).T,
            np.zeros((700, columns + 1), precision)[:, 1:],
            np.zeros((700, 2 * columns), precision)[:, ::2],
        ):
            assert run(program, table, result)
            np.testing.assert_allclose(result, table**2 - 1, rtol=1e-5, atol=1e-6)


@in_both_precisions
def test_columns_slices_and_integers(dtype):
    table = numbers(np.float32, 999).reshape(333, 3)
    counts = np.arange(333)
    program = program_of(lambda x, n, scale: (x * n) / scale, dtype, 3, None, None)
    for result in (
        np.empty((333, 3), np.float32),
        np.empty((3, 333), np.float64).T,
        np.empty((333, 6), dtype)[:, ::2],
    ):
        assert run(program, table, counts, np.array(4.0), result)
        np.testing.assert_allclose(result, table * counts[:, None] / 4, rtol=1e-6)
    half = np.empty((111, 3), dtype)
    assert run(program, table[::3], counts[::3], np.array(4.0), half)
    np.testing.assert_allclose(half, table[::3] * counts[::3, None] / 4, rtol=1e-6)


def test_some_of_the_rows():
    program, x = program_of(lambda x: x + 1, np.float64, None), torch.arange(10.0)
    result = torch.zeros(10)
    assert program.run(x, result, start=3, stop=7)
    assert result.tolist() == [0, 0, 0, 4, 5, 6, 7, 0, 0, 0]
    assert program.run(x, result, start=7, stop=7)
    for start, stop in ((-1, 5), (0, 11)):
        with pytest.raises(ValueError, match="rows or columns"):
            program.run(x, result, start=start, stop=stop)


class Masked(torch.Tensor):
    """A tensor that holds no numbers of its own."""

    def __new__(cls, shape):
        return torch.Tensor._make_wrapper_subclass(cls, shape)

    __torch_dispatch__ = None


def test_tensors_that_are_not_known():
    program, result = program_of(lambda x: x + 1, np.float64, None), torch.empty(3)
    for dtype in (
        torch.float16,
        torch.bfloat16,
        torch.int32,
        torch.uint8,
        torch.uint64,
        torch.bool,
        torch.complex64,
    ):
        assert not program.run(torch.ones(3, dtype=dtype), result)
    others = [
        torch.ones(3, device="meta"),
        torch.ones(3).to_sparse(),
        torch._efficientzerotensor(3),
        Masked((3,)),
        torch.ones(1, 3, 1),
    ]
    for other in others:
        assert not program.run(other, result, stop=1)
        assert not program.run(torch.ones(3), other, stop=1)
    seen: list[bool] = []
    torch.func.vmap(lambda x: (seen.append(program.run(x, result, stop=1)), x)[1])(torch.ones(2, 3))
    assert seen == [False]
    assert program.run(torch.ones(3, dtype=torch.int64), result)
    assert program.run(torch.nn.Parameter(torch.ones(3)) * 1, result)


def test_tensors_that_do_not_fit():
    program, x = program_of(lambda x: x + 1, np.float64, 2), torch.ones(5, 2)
    assert program.run(x, torch.empty(5, 2))
    for tensors in (
        (x,),
        (x[:, :1], torch.empty(5, 2)),
        (x, torch.empty(5, 1)),
        (x, torch.empty(4, 2)),
        (x, torch.tensor(1.0)),
        (torch.tensor(1.0), x),
    ):
        with pytest.raises(ValueError, match="rows or columns"):
            program.run(*tensors, stop=5)
    for count in (0, 9):
        with pytest.raises(TypeError, match="1 to 8 tensors"):
            program.run(*[x] * count, stop=5)


@in_both_precisions
def test_limits(dtype):
    def with_limits(check) -> Program:
        recorder = Recorder(dtype)
        x = recorder.array(0)
        check(recorder, x)
        return Program.of(recorder, (x + 1).stored(1))

    def passes(program: Program, number: float, others: float = 0.0) -> bool:
        x = np.full(700, others, dtype)
        x[600] = number
        return run(program, x, np.empty(700, dtype))

    # Those of both signs, of one, and others are looked at in ways of their own.
    for least, greatest in (
        (-2.0, 2.0),
        (0.0, 2.0),
        (-0.0, 2.0),
        (0.0, -0.0),
        (0.5, 2.0),
        (-1.0, 2.0),
        (-3.0, -0.5),
        (-np.inf, np.inf),
    ):
        program = with_limits(lambda recorder, x, ends=(least, greatest): recorder.check(x, *ends))
        for number in (
            -0.0,
            0.0,
            0.5,
            2.0,
            -2.0,
            -1.0,
            -3.0,
            -0.5,
            0.49,
            2.01,
            -2.01,
            1e-40,
            -1e-40,
            1e30,
            -1e30,
        ):
            assert passes(program, number, min(greatest, 2.0)) == (least <= number <= greatest), (
                least,
                number,
                greatest,
            )
        for number in (np.nan, -np.nan, np.inf, -np.inf):
            assert not passes(program, number, min(greatest, 2.0))
    bounded = with_limits(lambda recorder, x: recorder.check(x, 0.0, np.nextafter(1.0, 0.0)))
    assert passes(bounded, 0.5)
    assert passes(bounded, np.nextafter(dtype(1), dtype(0)))
    for outside in (1.0, -1e-9, np.nan, np.inf):
        assert not passes(bounded, outside)
    positive = with_limits(
        lambda recorder, x: recorder.check(x + 1, np.nextafter(1.0, 2.0), np.inf)
    )
    assert not passes(positive, 0.0)  # and so do all others
    whole = with_limits(lambda recorder, x: recorder.check_whole(x))
    assert passes(whole, 1e5)
    assert passes(whole, -3.0)
    for broken in (0.5, 1e5 + 0.25, np.nan):
        assert not passes(whole, broken)
    turning = program_of(np.cos, dtype, None)
    assert not run(turning, np.full(3, 1e7, dtype), np.empty(3, dtype))


def test_what_cannot_be_recorded():
    x = Recorder(np.float32).array(0)
    for formula in (
        lambda: bool(x > 0),
        lambda: x if x else -x,
        lambda: np.tanh(x),
        lambda: np.add.reduce(x),
        lambda: np.asarray(x),
        lambda: x.astype(np.float64),
        lambda: np.concatenate([x, x]),
        lambda: x**3,
        lambda: x.cumprod(0),
        lambda: x.sum(1),
        lambda: (x == 1) + (x == 2),  # logic in NumPy
        lambda: np.add(x, 1, out=np.empty(1)),
        lambda: np.empty_like(x, shape=(2,)),
    ):
        with pytest.raises(NotRecorded):
            formula()


@in_both_precisions
def test_what_is_no_number_stays_so(dtype):
    x, nan = np.array([np.nan, 1.0], dtype), np.array([1.0, np.nan], dtype)
    for formula in (np.maximum, np.minimum):
        assert np.isnan(ran(formula, dtype, x, nan)).all()
        assert np.isnan(ran(lambda x, formula=formula: formula(x, 0.5), dtype, x))[0]
    assert np.isnan(ran(np.sign, dtype, x))[0]


@in_both_precisions
def test_a_cast_copies(dtype):
    def formula(x):
        other = x.astype(dtype)
        other -= 1
        return x * other

    x = numbers(dtype, 10)
    np.testing.assert_allclose(ran(formula, dtype, x), x * (x - 1), rtol=1e-6)


def test_rows_of_columns():
    """Sums, slices and assignments as the formula of a normal vector has them."""

    def formula(x):
        y = 1 * x
        y[0] += y[1] * y[2]
        y[1:] *= 2.0
        y[[0, 2]] = y[[2, 0]] + np.empty_like(y)[:0].sum(0)
        return np.stack([y.sum(0), y.max(0), *y.T.T.reshape(3, -1), *y[::-1].cumsum(0)], 0)

    x, result = numbers(np.float64, 300).reshape(100, 3), np.empty((100, 8))
    assert run(program_of(formula, np.float64, 3), x, result)
    columns = x.T.copy()
    np.testing.assert_allclose(result.T, formula(columns), rtol=1e-12, atol=1e-12)
