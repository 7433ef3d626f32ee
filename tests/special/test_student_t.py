import math

import mpmath as mp
import pytest
import torch

from disthead import special

from .oracles import check_gradients, check_values, columns, log_betainc_pair

DFS = [0.01, 0.5, 1, 3, 30.0, 300]
GRID = [
    (df, z)
    for df in DFS
    for z in (-1e30, -1e5, -30, -3, -1, -0.1, -1e-6, 1e-6, 0.5, 2, 10)
    if abs(z) < 1e5 or df < 10
]


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(50):
        yield


def log_cdf(df, z):
    x = df / (df + z * z)
    log_outside, log_inside = (
        log_betainc_pair(df / 2, mp.mpf(1) / 2, x)
        if x > 0.5
        else log_betainc_pair(mp.mpf(1) / 2, df / 2, 1 - x)[::-1]
    )
    return log_outside - mp.log(2) if z < 0 else mp.log((1 + mp.exp(log_inside)) / 2)


def test_log_cdf():
    with mp.workdps(110):
        check_values(special.student_t_log_cdf, log_cdf, GRID, 1e-13)
        few = [row for row in GRID if abs(row[1]) <= 30][::2]
        check_gradients(special.student_t_log_cdf, log_cdf, few, 1e-9, 1e-14)


def test_log_density():
    def oracle(df, z):
        norm = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(df * mp.pi) / 2
        return norm - (df + 1) / 2 * mp.log1p(z * z / df)

    grid = [(df, z) for df in (0.01, 1, 30, 1e6, 1e8) for z in (1e-6, 0.5, 3, 2e19)]
    check_values(special.student_t_log_density, oracle, grid, 1e-14)


def test_centre_and_limits():
    df = torch.tensor([0.01, 1.0, 1e8, torch.inf], dtype=torch.float64)
    z = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    value = special.student_t_cdf(df, z)
    assert torch.allclose(value, torch.full_like(value, 0.5), rtol=1e-15)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    assert torch.allclose(gradient, special.student_t_log_density(df, z).exp(), rtol=1e-14)
    assert special.student_t_cdf(df, -torch.inf).tolist() == [0] * 4
    assert special.student_t_cdf(df, torch.inf).tolist() == [1] * 4
    z = torch.linspace(-8, 8, 33, dtype=torch.float64)
    assert torch.allclose(
        special.student_t_cdf(torch.tensor(1e14).double(), z),
        torch.special.ndtr(z),
        rtol=0,
        atol=1e-13,
    )


def test_icdf():
    generator = torch.Generator().manual_seed(0)
    df = 10 ** (torch.rand(200, generator=generator, dtype=torch.float64) * 10 - 2)
    p = torch.rand(200, generator=generator, dtype=torch.float64)
    z = special.student_t_icdf(df, p)
    finite = z.isfinite()
    assert finite.sum() > 190
    assert ((special.student_t_cdf(df, z) - p).abs() < 1e-13)[finite].all()
    assert torch.autograd.gradcheck(
        special.student_t_icdf, columns([(0.7, 0.2), (1.0, 0.5), (4.0, 0.9), (1e3, 0.1)])
    )
    assert special.student_t_icdf(df[:1], 0.0).item() == -torch.inf
    assert math.isclose(
        special.student_t_icdf(torch.tensor(torch.inf).double(), 0.975).item(),
        1.959963984540054,
        rel_tol=1e-14,
    )


def test_quantiles_of_next_to_no_degrees_of_freedom_are_not_small():
    """P(Z > z) is about z^-df / 2 there, so that z = (2 p)^(-1 / df) soon overflows."""
    df = torch.tensor([1e-8, 1e-20], dtype=torch.float64)
    assert torch.equal(special.student_t_icdf(df, 0.02), torch.full_like(df, -torch.inf))
    log_z = special.student_t_icdf(torch.tensor([9e-4, 2e-3], dtype=torch.float64), 0.75).log()
    assert (log_z > 100).all()
