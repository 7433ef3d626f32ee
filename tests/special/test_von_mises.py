import math

import mpmath as mp
import pytest
import torch

from disthead import special

from .oracles import check_gradients, check_values, columns, von_mises_cdf

SIZES = [1e-30, 1e-10, 1e-3, 0.7, 3, 20, 29.9, 30.1, 300, 1e6]
GRID = [(k, t) for k in (1e-10, 0.5, 4, 100, 1e3) for t in (-3.1415926, -2, -1, -0.01, 0.2, 1.3, 2.5)]
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
        check_gradients(slope, lambda k: 1 - ratio(k) / k - ratio(k) ** 2, [(k,) for k in SIZES if k > 1e-4], 1e-9)
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(special.bessel_ratio(zero), zero)[0].item() == 0.5


def test_cdf():
    check_values(special.von_mises_cdf, von_mises_cdf, GRID, 1e-15, relative=False)


def test_cdf_gradients():
    assert torch.autograd.gradcheck(special.von_mises_cdf, columns([(0.1, -2.0), (1.0, 0.5), (10.0, 0.0), (50.0, 0.1)]))
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
    assert torch.autograd.gradcheck(special.von_mises_icdf, columns([(0.1, 0.2), (1.0, 0.5), (10.0, 0.9)]))
    assert special.von_mises_icdf(k[:1], torch.tensor([0.0, 1.0])).tolist() == [-math.pi, math.pi]
