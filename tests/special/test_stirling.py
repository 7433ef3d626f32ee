import itertools

import mpmath as mp
import pytest
import torch

from disthead import special

from .oracles import check_gradients, check_values, columns

SIZES = [
    1e-300,
    1e-30,
    1e-10,
    1e-5,
    0.01,
    0.3,
    0.499,
    0.51,
    0.9,
    1,
    1.1,
    2.7,
    7,
    9.9,
    10,
    10.1,
    20,
    100,
    1e4,
    1e6,
    1e15,
]
COUNTS = [1e-30, 1e-3, 0.5, 1, 5, 9.5, 11, 100, 1e4, 1e6]
CHANCES = [1e-300, 1e-48, 1e-6, 0.1, 0.5, 0.7, 1 - 1e-6, 1 - 2**-40]


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(60):
        yield


def log_gamma_fraction(above, *below):
    return mp.loggamma(above) - sum(mp.loggamma(value) for value in below)


def test_log1pmx():
    grid = [(sign * x,) for sign in (1, -1) for x in SIZES if x > 1e-160 and sign * x > -1]
    with mp.workdps(110):
        check_values(special.log1pmx, lambda x: mp.log1p(x) - x, grid, 1e-15)
    check_gradients(
        special.log1pmx,
        lambda x: mp.log1p(x) - x,
        [row for row in grid if abs(row[0]) > 1e-9],
        1e-14,
    )


def test_expm1mx():
    grid = [(sign * x,) for sign in (1, -1) for x in SIZES if 1e-160 < x < 700]
    with mp.workdps(110):
        check_values(special.expm1mx, lambda x: mp.exp(x) - 1 - x, grid, 1e-15)


def test_deviance():
    sizes = [1e-300, 1e-48, 1e-5, 0.1, 1, 1.3, 10, 1e3, 1e6 - 1, 1e6, 1e6 + 0.3, 1e6 + 1000]
    grid = [*itertools.product(sizes, repeat=2), (1e-48, 1.0001e-48)]
    oracle = lambda x, mean: x * mp.log(x / mean) - x + mean  # noqa: E731
    check_values(special.deviance, oracle, grid, 1e-15)
    check_gradients(
        special.deviance, oracle, [row for row in grid if min(row) > 1e-40], 1e-12, 1e-16
    )


def test_deviance_of_nothing_is_the_mean():
    mean = torch.tensor([0.0, 1e-48, 2.0, 1e6], dtype=torch.float64, requires_grad=True)
    value = special.deviance(torch.zeros(4, dtype=torch.float64), mean)
    value.sum().backward()
    assert value.tolist() == mean.tolist()
    assert mean.grad.tolist() == [1, 1, 1, 1]


def test_stirling_error_and_two_derivatives():
    def oracle(x):
        return mp.loggamma(x) - (x - mp.mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2

    def slope(x):
        (gradient,) = torch.autograd.grad(special.stirling_error(x).sum(), x, create_graph=True)
        return gradient

    grid = [(x,) for x in SIZES]
    check_values(special.stirling_error, oracle, grid, 3e-15)
    check_gradients(special.stirling_error, oracle, grid, 1e-14)
    check_gradients(
        slope,
        lambda x: mp.psi(0, x) - mp.log(x) + 1 / (2 * x),
        [(x,) for x in SIZES if x > 1e-100],
        1e-13,
    )


def test_log_beta():
    oracle = lambda a, b: -log_gamma_fraction(a + b, a, b)  # noqa: E731
    grid = [row for row in itertools.product(COUNTS, repeat=2) if row != (1, 1)]
    check_values(special.log_beta, oracle, grid, 1e-13)
    check_gradients(special.log_beta, oracle, grid, 1e-12)


def test_log_gamma_ratio_is_relative_to_the_step():
    grid = [
        (x, step)
        for x, step in itertools.product(COUNTS, repeat=2)
        if step <= x and (x, step) != (1, 1)
    ]
    check_values(
        special.log_gamma_ratio, lambda x, step: mp.loggamma(x + step) - mp.loggamma(x), grid, 1e-14
    )


def test_poisson_log_mass():
    oracle = lambda x, rate: x * mp.log(rate) - rate - mp.loggamma(x + 1)  # noqa: E731
    grid = [
        *itertools.product(
            [1e-30, 1e-5, 0.1, 1, 9.9, 10, 100, 1e6], [1e-48, 1e-5, 1, 9.9, 10, 100, 1e6, 1e6 + 700]
        )
    ]
    check_values(special.poisson_log_mass, oracle, grid, 1e-15)
    check_gradients(special.poisson_log_mass, oracle, grid, 1e-12, 1e-15)


def test_beta_log_kernel():
    grid = [*itertools.product(COUNTS, COUNTS, CHANCES)]

    def oracle(a, b, x):
        return a * mp.log(x) + b * mp.log1p(-x) + log_gamma_fraction(a + b, a, b)

    check_values(lambda a, b, x: special.beta_log_kernel(a, b, x, 1 - x), oracle, grid, 1e-12)
    few = [*itertools.product([1e-3, 1, 11, 1e6], [0.5, 9.5, 1e4], [1e-6, 0.3, 0.9])]
    check_gradients(
        lambda a, b, x: special.beta_log_kernel(a, b, x, 1 - x), oracle, few, 1e-9, 1e-12
    )


def test_negative_binomial_log_mass():
    grid = [*itertools.product(COUNTS, COUNTS, CHANCES)]

    def oracle(x, r, p):
        return r * mp.log(p) + x * mp.log1p(-p) + log_gamma_fraction(x + r, r, x + 1)

    check_values(
        lambda x, r, p: special.negative_binomial_log_mass(x, r, p, 1 - p), oracle, grid, 1e-13
    )


def test_masses_at_their_edges():
    zero, one = (
        torch.zeros((), dtype=torch.float64, requires_grad=True),
        torch.ones((), dtype=torch.float64),
    )
    assert special.poisson_log_mass(0 * one, zero).item() == 0
    assert special.binomial_log_mass(0 * one, 5 * one, zero, 1 - zero).item() == 0
    assert special.binomial_log_mass(5 * one, 5 * one, one, 0 * one).item() == 0
    assert special.negative_binomial_log_mass(0 * one, 3 * one, one, 0 * one).item() == 0
    (gradient,) = torch.autograd.grad(special.poisson_log_mass(0 * one, zero), zero)
    assert gradient.item() == -1


def test_binomial_masses_sum_to_one():
    x = torch.arange(1001, dtype=torch.float64)
    assert abs(special.binomial_log_mass(x, 1000.0, 0.3, 0.7).exp().sum().item() - 1) < 1e-13


def test_second_derivatives():
    arguments = columns([(3.0, 4.0), (30.0, 25.0), (0.5, 2.0)])
    assert torch.autograd.gradgradcheck(special.log_beta, arguments)
    assert torch.autograd.gradgradcheck(special.poisson_log_mass, arguments)
    assert torch.autograd.gradgradcheck(special.deviance, arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_goes_through_float64(dtype):
    x = torch.tensor([0.5, 3.0, 100.0], dtype=dtype)
    value = special.stirling_error(x)
    assert value.dtype == torch.float32
    assert torch.equal(value, special.stirling_error(x.double()).float())
