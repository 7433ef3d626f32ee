import math

import mpmath as mp
import pytest
import torch

from disthead import special
from disthead.special import incomplete_gamma

from .oracles import check_gradients, check_values, columns, log_gammainc_pair

SHAPES = [1e-30, 1e-5, 0.03, 0.5, 0.999, 1, 1.5, 10, 300, 3000]
POINTS = [1e-300, 1e-10, 1e-3, 0.3, 0.999, 1, 1.7, 8, 100, 1e4]
GRID = [(a, x) for a in SHAPES for x in POINTS]
GRID += [
    (a, a * (1 + z / math.sqrt(a)))
    for a in SHAPES
    if a >= 1
    for z in (-0.9, -0.1, 0, 1e-3, 0.5, 2, 6)
]


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(50):
        yield


def representable(i, grid):
    """Rows where log P (or Q) is not 0 to all digits of the oracle."""
    return [row for row in grid if log_gammainc_pair(*map(mp.mpf, row))[1 - i] > -80]


@pytest.mark.parametrize("i", [0, 1])
def test_logarithms(i):
    function = (special.log_gammainc, special.log_gammaincc)[i]
    oracle = lambda a, x: log_gammainc_pair(a, x)[i]  # noqa: E731
    check_values(function, oracle, representable(i, GRID), 3e-13)
    few = [row for row in representable(i, GRID) if row[0] <= 10 and row[1] > 1e-20][::4]
    check_gradients(function, oracle, few, 1e-10, 1e-290)


@pytest.mark.parametrize("i", [0, 1])
def test_probabilities(i):
    function = (special.gammainc, special.gammaincc)[i]
    check_values(
        function, lambda a, x: mp.exp(log_gammainc_pair(a, x)[i]), GRID, 6e-15, relative=False
    )


@pytest.mark.slow
def test_large_shapes():
    grid = [(a, a * (1 + z / math.sqrt(a))) for a in (1e5, 1e6) for z in (-6, -1, 0, 0.1, 1, 6)]
    check_values(
        special.gammainc,
        lambda a, x: mp.exp(log_gammainc_pair(a, x)[0]),
        grid,
        1e-14,
        relative=False,
    )


def test_far_below_underflow():
    assert math.isclose(
        special.log_gammaincc(torch.tensor(1.0).double(), 1e5).item(), -1e5, rel_tol=1e-15
    )
    assert math.isclose(
        special.log_gammainc(torch.tensor(1e3).double(), 1e-50).item(),
        float(log_gammainc_pair(mp.mpf(1000), mp.mpf(1e-50))[0]),
        rel_tol=1e-14,
    )


def test_ends():
    a = torch.tensor([1e-30, 0.5, 1.0, 1e6], dtype=torch.float64, requires_grad=True)
    for x, lower in ((0.0, 0), (torch.inf, 1)):
        value = special.gammainc(a, x)
        assert value.tolist() == [lower] * 4
        assert special.gammaincc(a, x).tolist() == [1 - lower] * 4
        assert torch.autograd.grad(value.sum(), a)[0].tolist() == [0] * 4


def test_second_derivatives():
    arguments = columns([(0.3, 0.2), (2.0, 3.0), (30.0, 25.0)])
    assert torch.autograd.gradgradcheck(special.log_gammainc, arguments)


def test_inverse_round_trip():
    generator = torch.Generator().manual_seed(0)
    a = 10 ** (torch.rand(300, generator=generator, dtype=torch.float64) * 8 - 2)
    p = torch.rand(300, generator=generator, dtype=torch.float64)
    p[:100] = 10 ** (-200 * p[:100])
    for inverse, function in (
        (special.gammaincinv, special.gammainc),
        (special.gammainccinv, special.gammaincc),
    ):
        x = inverse(a, p)
        back = function(a, x)
        positive = x > 0  # some quantiles are below the smallest number
        assert positive.sum() > 240
        assert ((back - p).abs() <= 1e-10 * p)[positive].all()


def test_inverse_ends_and_gradients():
    a = torch.tensor([1e-30, 0.5, 1.0, 1e6], dtype=torch.float64, requires_grad=True)
    p = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert special.gammaincinv(a, 0.0).tolist() == [0] * 4
    assert special.gammaincinv(a, 1.0).tolist() == [torch.inf] * 4
    x = special.gammaincinv(a, p)
    assert all(part.isfinite().all() for part in torch.autograd.grad(x.sum(), (a, p)))
    assert torch.autograd.gradcheck(
        special.gammaincinv, columns([(0.3, 0.2), (2.0, 0.9), (30.0, 0.5)])
    )
    assert torch.autograd.gradcheck(
        special.gammainccinv, columns([(0.3, 0.2), (2.0, 0.9), (30.0, 0.5)])
    )


def borders():
    """Shapes and points on both sides of every border between algorithms."""
    small = [
        1e-30,
        1e-10,
        0.99e-5,
        1e-5,
        1e-3,
        0.03,
        0.3,
        0.5,
        0.999,
        1,
        1.1,
        2,
        5,
        19,
        21,
        99,
        101,
        199,
        201,
    ]
    shapes = torch.tensor([*small, 1e3, 1e4, 0.99e5, 1.01e5, 1e6, 1e8, 1e12], dtype=torch.float64)
    steps = torch.tensor(
        [-100, -10, -4.6, -4.4, -2, -0.5, -1e-3, 0, 0.1, 1, 4.4, 4.6, 10, 100], dtype=torch.float64
    )
    points = torch.tensor(
        [1e-300, 1e-10, 1e-3, 0.3, 0.499, 0.501, 0.999, 1, 1.099, 1.101, 2, 700, 1e4]
    ).double()
    near = shapes.unsqueeze(-1) + shapes.sqrt().unsqueeze(-1) * steps
    a = torch.cat([shapes.repeat_interleave(len(steps)), shapes.repeat_interleave(len(points))])
    x = torch.cat([near.reshape(-1), points.repeat(len(shapes))])
    return a[x > 0], x[x > 0]


def sizes(values, least):
    return values.abs().clamp(min=least)


@pytest.mark.parametrize("name", ["log_gammainc", "log_gammaincc", "gammainc", "gammaincc"])
def test_numbers_are_those_of_the_operations_that_vmap_follows(name):
    function = getattr(special, name)
    a, x = borders()
    numbers, operations = function(a, x), torch.func.vmap(function)(a, x)
    assert ((numbers - operations).abs() <= 1e-12 * sizes(operations, 1e-100)).all()
    assert (numbers <= (0 if name.startswith("log") else 1)).all()


@pytest.mark.parametrize("name", ["log_gammainc", "log_gammaincc"])
def test_gradients_are_those_of_the_operations_that_vmap_follows(name):
    function = getattr(special, name)
    a, x = (part.requires_grad_() for part in borders())
    quick = torch.autograd.grad(function(a, x).sum(), (a, x))
    operations = torch.func.vmap(torch.func.grad(function, (0, 1)))(a.detach(), x.detach())
    for one, other in zip(quick, operations, strict=True):
        assert ((one - other).abs() <= 5e-9 * sizes(other, 1e-100)).all()


def test_few_rows_are_computed_twice(monkeypatch):
    """SciPy's functions of the other tail take twice the time; they run where digits need them."""
    rows, by_scipy = {}, incomplete_gamma.by_scipy

    def counting(name, *arguments):
        rows[name] = rows.get(name, 0) + arguments[0].numel()
        return by_scipy(name, *arguments)

    monkeypatch.setattr(incomplete_gamma, "by_scipy", counting)
    generator = torch.Generator().manual_seed(1)
    a = 10 ** (torch.rand(2000, generator=generator, dtype=torch.float64) * 6 - 1.5)
    p = torch.rand(2000, generator=generator, dtype=torch.float64)
    x = special.gammaincinv(a, p)
    special.log_gammainc(a, x)
    special.log_gammaincc(a, x)
    special.gammainc(a, x)
    assert rows["gammaincinv"] == 2000
    assert rows["gammainc"] == 3 * 2000
    assert sum(rows.get(name, 0) for name in ("gammainccinv", "gammaincc")) < 0.1 * 2000


@pytest.mark.parametrize("name", ["gammaincinv", "gammainccinv"])
def test_quantiles_and_their_gradients_are_those_of_the_operations_that_vmap_follows(name):
    function = getattr(special, name)
    shapes = borders()[0].unique()
    tails = [
        1e-300,
        1e-292,
        1e-100,
        1e-12,
        0.9e-5,
        1.1e-5,
        0.9e-3,
        1.1e-3,
        0.1,
        0.499,
        0.501,
        0.9,
        0.999,
    ]
    a, tail = torch.meshgrid(shapes, torch.tensor(tails, dtype=torch.float64), indexing="ij")
    a, tail = (part.reshape(-1).clone().requires_grad_() for part in (a, tail))
    x = function(a, tail)
    quick = torch.autograd.grad(x.sum(), (a, tail))
    slopes, operations = torch.func.vmap(torch.func.grad_and_value(function, (0, 1)))(
        a.detach(), tail.detach()
    )
    assert ((x - operations).abs() <= 1e-11 * operations).all()
    for one, other in zip(quick, slopes, strict=True):
        assert ((one - other).abs() <= 5e-9 * sizes(other, 1e-290)).all()
