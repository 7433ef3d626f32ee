"""Slow and sure: mpmath versions of the special functions, and the comparison with them."""

import mpmath as mp
import torch


def columns(grid):
    """The grid's columns as float64 leaves."""
    return [
        torch.tensor([float(row[i]) for row in grid], dtype=torch.float64, requires_grad=True)
        for i in range(len(grid[0]))
    ]


def gap(got, want, relative=True):
    """Absolute or relative difference; two numbers below 1e-290 agree."""
    difference = abs(mp.mpf(got) - want)
    if relative and difference > mp.mpf("1e-290"):
        difference /= max(abs(want), mp.mpf("1e-300"))
    return float(difference)


def check_values(function, oracle, grid, tolerance, relative=True):
    """`function` on the grid against `oracle` on each row, whose numbers are mpf."""
    with torch.no_grad():
        values = function(*columns(grid)).tolist()
    for value, row in zip(values, grid, strict=True):
        assert gap(value, oracle(*map(mp.mpf, row)), relative) <= tolerance, (row, value)


def check_gradients(function, oracle, grid, tolerance, atol=0.0):
    """First derivatives by every argument against central differences with 30 spare digits."""
    arguments = columns(grid)
    gradients = torch.autograd.grad(function(*arguments).sum(), arguments)
    for i, row in enumerate(grid):
        point = [mp.mpf(float(value)) for value in row]
        for k, gradient in enumerate(gradients):
            with mp.workdps(mp.mp.dps + 30):
                step = abs(point[k]) * mp.mpf(10) ** -20
                moved = [[*point[:k], point[k] + sign * step, *point[k + 1 :]] for sign in (1, -1)]
                want = (oracle(*moved[0]) - oracle(*moved[1])) / (2 * step)
            assert abs(gradient[i].item() - want) <= tolerance * abs(want) + atol, (
                row,
                k,
                gradient[i].item(),
                float(want),
            )


def log_gammainc_pair(a, x):
    """(log P, log Q) by the power series below a + 1, by Legendre's continued fraction above."""
    if x < a + 1:
        total = term = mp.mpf(1)
        k = 0
        while term > total * mp.eps:
            k += 1
            term *= x / (a + k)
            total += term
        lower = a * mp.log(x) - x - mp.loggamma(a + 1) + mp.log(total)
        return lower, _complement(lower)
    fraction = mp.mpf(0)
    for i in range(2000 + int(3 * mp.sqrt(a)), 0, -1):
        fraction = i * (i - a) / (x + 2 * i + 1 - a - fraction)
    upper = a * mp.log(x) - x - mp.loggamma(a) - mp.log(x + 1 - a - fraction)
    return _complement(upper), upper


def log_betainc_pair(a, b, x):
    """(log I, log (1 - I)) by the series of positive terms in the smaller of x and 1 - x."""
    if x > 0.5:
        return log_betainc_pair(b, a, 1 - x)[::-1]
    total = term = mp.mpf(1)
    k, ratio = 0, mp.mpf(1)
    while term > total * mp.eps or ratio > 0.9:
        ratio = (a + b + k) / (a + 1 + k) * x
        term *= ratio
        total += term
        k += 1
    kernel = a * mp.log(x) + b * mp.log1p(-x) - mp.loggamma(a) - mp.loggamma(b) + mp.loggamma(a + b)
    lower = kernel - mp.log(a) + mp.log(total)
    return lower, _complement(lower)


def betainc_by_quadrature(a, b, x):
    """I_x(a, b) for a >= 1 and shapes too large for the series."""
    mean = a / (a + b)
    std = mp.sqrt(mean * (1 - mean) / (a + b + 1))
    knots = {mp.mpf(0), x} | {
        max(x - q * std, mp.mpf(0)) for q in (0.5, 1, 2, 4, 7, 10, 15, 25, 40)
    }

    def relative_density(t):
        return mp.exp((a - 1) * mp.log(t / x) + (b - 1) * mp.log((1 - t) / (1 - x)))

    log_density = (
        (a - 1) * mp.log(x)
        + (b - 1) * mp.log1p(-x)
        - mp.loggamma(a)
        - mp.loggamma(b)
        + mp.loggamma(a + b)
    )
    integral = mp.quad(lambda t: relative_density(t) if t > 0 else mp.mpf(0), sorted(knots))
    return integral * mp.exp(log_density)


def _complement(log_p):
    """log(1 - p), -inf where the digits of p do not tell it from 1."""
    rest = -mp.expm1(log_p)
    return mp.log(rest) if rest > 0 else -mp.inf


def von_mises_cdf(k, angle):
    """Quadrature on intervals of the peak's width."""
    std = 1 / mp.sqrt(k + 1)
    knots = {-mp.pi, angle} | {
        min(max(q * std, -mp.pi), angle) for q in (-12, -8, -6, -4, -2, -1, 0, 1, 2, 4, 6, 8, 12)
    }
    integral = mp.quad(lambda t: mp.exp(-2 * k * mp.sin(t / 2) ** 2), sorted(knots))
    return integral / (2 * mp.pi * mp.besseli(0, k) * mp.exp(-k))
