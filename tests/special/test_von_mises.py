import math

import mpmath as mp
import pytest
import torch

from disthead import special
from disthead.special import von_mises

from .oracles import check_gradients, check_values, columns, von_mises_cdf

SIZES = [1e-30, 1e-10, 1e-3, 0.7, 3, 20, 29.9, 30.1, 300, 1e6]
GRID = [
    (k, t) for k in (1e-10, 0.5, 4, 100, 1e3) for t in (-3.1415926, -2, -1, -0.01, 0.2, 1.3, 2.5)
]
GRID += [(k, z / math.sqrt(k)) for k in (1e4, 1e6) for z in (-8, -1, -0.1, 0, 2, 6)]


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(30):
        yield


def ratio(k):
    return mp.besseli(1, k) / mp.besseli(0, k)


def test_log_normalizer():
    oracle = lambda k: mp.log(2 * mp.pi * mp.besseli(0, k)) - k  # noqa: E731
    grid = [(k,) for k in SIZES]
    check_values(special.von_mises_log_normalizer, oracle, grid, 1e-14)
    with mp.workdps(60):
        check_gradients(special.von_mises_log_normalizer, oracle, grid, 2e-14)


def test_bessel_ratio_and_two_derivatives():
    def slope(k):
        return torch.autograd.grad(special.bessel_ratio(k).sum(), k, create_graph=True)[0]

    grid = [(k,) for k in SIZES]
    with mp.workdps(60):
        check_values(special.bessel_ratio, ratio, grid, 1e-15)
        check_gradients(special.bessel_ratio, ratio, grid, 1e-11)
        check_gradients(
            slope,
            lambda k: 1 - ratio(k) / k - ratio(k) ** 2,
            [(k,) for k in SIZES if k > 1e-4],
            1e-9,
        )
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(special.bessel_ratio(zero), zero)[0].item() == 0.5


def test_cdf():
    check_values(special.von_mises_cdf, von_mises_cdf, GRID, 1e-14, relative=False)


def test_cdf_gradients():
    assert torch.autograd.gradcheck(
        special.von_mises_cdf, columns([(0.1, -2.0), (1.0, 0.5), (10.0, 0.0), (50.0, 0.1)])
    )
    assert torch.autograd.gradgradcheck(
        special.von_mises_cdf, columns([(0.1, -2.0), (1.0, 0.5), (10.0, 0.3), (50.0, 0.1)])
    )
    k, angle = columns(GRID)
    (gradient,) = torch.autograd.grad(special.von_mises_cdf(k, angle).sum(), angle)
    density = torch.exp(-2 * k * torch.sin(angle / 2) ** 2 - special.von_mises_log_normalizer(k))
    assert torch.allclose(gradient, density, rtol=1e-11, atol=1e-290)


def test_ends():
    k = torch.tensor([0.0, 1e-30, 1.0, 1e6], dtype=torch.float64, requires_grad=True)
    assert special.von_mises_cdf(k, -math.pi).tolist() == [0] * 4
    assert special.von_mises_cdf(k, math.pi).tolist() == [1] * 4
    assert torch.autograd.grad(special.von_mises_cdf(k, -math.pi).sum(), k)[0].tolist() == [0] * 4


def test_icdf():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(400, generator=generator, dtype=torch.float64)
    k = 10 ** (torch.rand(400, generator=generator, dtype=torch.float64) * 16 - 8)
    k[:3] = 0
    assert (special.von_mises_cdf(k, special.von_mises_icdf(k, p)) - p).abs().max() < 1e-13
    assert torch.autograd.gradcheck(
        special.von_mises_icdf, columns([(0.1, 0.2), (1.0, 0.5), (10.0, 0.9)])
    )
    assert special.von_mises_icdf(k[:1], torch.tensor([0.0, 1.0])).tolist() == [-math.pi, math.pi]


def everywhere(others):
    sizes = torch.tensor(
        [1e-30, 1e-3, 0.5, 0.99, 1.01, 3, 5.99, 6.01, 16.9, 17.1, 50, 1e3, 1e6, 1e10],
        dtype=torch.float64,
    )
    k, other = torch.meshgrid(sizes, torch.as_tensor(others, dtype=torch.float64), indexing="ij")
    return k.reshape(-1), other.reshape(-1)


def assert_near(one, other, tolerance, least=1e-290):
    assert ((one - other).abs() <= tolerance * other.abs().clamp(min=least)).all() or (
        one == other
    ).all()


ANGLES = [
    -math.pi,
    -3.1415926,
    -2.5,
    -1,
    -0.1,
    -1e-4,
    -1e-9,
    0,
    1e-4,
    0.3,
    2,
    3,
    3.1415926,
    math.pi,
]


@pytest.mark.parametrize("name", ["von_mises_cdf", "von_mises_log_cdf"])
def test_numbers_are_those_of_the_operations_that_vmap_follows(name):
    function = getattr(special, name)
    k, angle = everywhere(ANGLES)
    numbers, operations = function(k, angle), torch.func.vmap(function)(k, angle)
    finite = operations.isfinite()
    assert (numbers == operations)[~finite].all()
    assert_near(numbers[finite], operations[finite], 1e-12)


def test_gradients_are_those_of_the_operations_that_vmap_follows():
    k, angle = everywhere(ANGLES)
    quick = torch.autograd.grad(
        special.von_mises_log_cdf(k.requires_grad_(), angle.requires_grad_()).sum(), (k, angle)
    )
    operations = torch.func.vmap(torch.func.grad(special.von_mises_log_cdf, (0, 1)))(
        k.detach(), angle.detach()
    )
    by_rounding = angle.detach().abs() < 1e-8  # where the derivative by k cancels
    assert (quick[0] - operations[0])[by_rounding].abs().max() < 1e-12
    assert_near(quick[0][~by_rounding], operations[0][~by_rounding], 1e-9)
    assert_near(quick[1], operations[1], 1e-9)


def test_quantiles_and_their_gradients_are_those_of_the_operations_that_vmap_follows():
    k, p = everywhere(
        [1e-300, 1e-30, 1e-12, 1e-6, 0.01, 0.1, 0.3, 0.499, 0.5, 0.501, 0.9, 1 - 1e-9]
    )
    angle = special.von_mises_icdf(k.requires_grad_(), p.requires_grad_())
    quick = torch.autograd.grad(angle.sum(), (k, p))
    function = torch.func.grad_and_value(special.von_mises_icdf, (0, 1))
    slopes, operations = torch.func.vmap(function)(k.detach(), p.detach())
    assert ((angle - operations).abs() <= 1e-12 * operations.abs() + 1e-15).all()
    # next to pi the angle has no digits for a derivative
    inside = operations.abs() < math.pi - 1e-9
    for one, other in zip(quick, slopes, strict=True):
        assert ((one - other).abs() <= 1e-9 * other.abs() + 1e-14)[inside].all()


def test_quantiles_take_few_evaluations(monkeypatch):
    rows, evaluate = [], von_mises._tail_and_moments
    monkeypatch.setattr(
        von_mises,
        "_tail_and_moments",
        lambda k, *rest: (rows.append(k.numel()), evaluate(k, *rest))[1],
    )
    k, p = everywhere(torch.linspace(0.001, 0.999, 50))
    special.von_mises_icdf(k, p)
    assert sum(rows) < 3 * len(k)
    rows.clear()
    special.von_mises_icdf(k, p**30)
    assert sum(rows) < 8 * len(k)


def test_mean_distance_and_excess_are_those_of_the_operations_that_vmap_follows():
    k, distance = everywhere(torch.linspace(0, math.pi, 20))
    for function, arguments in (
        (special.von_mises_mean_distance, (k,)),
        (special.von_mises_excess, (k, distance)),
    ):
        assert_near(function(*arguments), torch.func.vmap(function)(*arguments), 1e-12)
