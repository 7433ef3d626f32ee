import mpmath as mp
import pytest
import torch

from disthead import special

from .oracles import check_gradients, check_values, columns


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(50):
        yield


def log_ndtr(z):
    return mp.log1p(-mp.ncdf(-z)) if z > 0 else mp.log(mp.ncdf(z))


def test_log_ndtr():
    grid = [(z,) for z in (-1e4, -100, -38, -8, -1, -1e-10, 1e-10, 0.5, 3, 8, 20)]
    check_values(special.log_ndtr, log_ndtr, grid, 1e-13)
    check_gradients(special.log_ndtr, log_ndtr, grid[:-1], 1e-14)
    assert torch.autograd.gradgradcheck(
        special.log_ndtr, columns([(-3.0,), (-0.1,), (0.0,), (2.0,)])
    )


def test_log_ndtr_difference():
    def oracle(lower, upper):
        with mp.workdps(120):
            return (
                mp.log(mp.ncdf(-lower) - mp.ncdf(-upper))
                if lower > 0
                else mp.log(mp.ncdf(upper) - mp.ncdf(lower))
            )

    grid = [
        (-40, -39),
        (40, 41),
        (1, 1 + 2**-30),
        (-1, 2),
        (-1e-12, 1e-12),
        (-0.5, 0.5),
        (5, 5.0001),
        (30, 30.0001),
        (-3, 30),
    ]
    check_values(special.log_ndtr_difference, oracle, grid, 1e-13)
    check_gradients(
        special.log_ndtr_difference, oracle, [row for row in grid if row[1] < 20], 1e-11
    )


def test_open_and_empty_intervals():
    lower = torch.tensor([-torch.inf, 0.0, -torch.inf, 1.0], dtype=torch.float64)
    upper = torch.tensor([0.0, torch.inf, torch.inf, 1.0], dtype=torch.float64)
    assert torch.allclose(
        special.log_ndtr_difference(lower, upper).exp(),
        torch.tensor([0.5, 0.5, 1.0, 0.0]).double(),
        rtol=1e-15,
    )


def test_ndtri_exp():
    log_p = torch.tensor(
        [-1e-20, -0.1, -0.6931, -2.0, -2.1, -700.0, -1e6, -1e15],
        dtype=torch.float64,
        requires_grad=True,
    )
    z = special.ndtri_exp(log_p)
    assert torch.allclose(special.log_ndtr(z), log_p, rtol=1e-13)
    (gradient,) = torch.autograd.grad(z.sum(), log_p)
    inner = z.detach().requires_grad_()
    assert torch.allclose(
        gradient * torch.autograd.grad(special.log_ndtr(inner).sum(), inner)[0],
        torch.ones_like(z),
        rtol=1e-13,
    )
    assert special.ndtri_exp(torch.tensor([-torch.inf, 0.0])).tolist() == [-torch.inf, torch.inf]
