"""The rational functions of the one-pass log-likelihoods, against mpmath."""

import mpmath
import pytest
import torch

from disthead.special import fast

X = [0.0, 1e-20, 1e-6, 0.01, 0.3, 0.5, 1.0, 1.7, 3.0, 7.5, 16.0, 32.0]
MORE = [1e3, 1e6, 1e9]


def half(x):
    return mpmath.mpf(1) / 2 + x


def gamma_remainder(x):
    return mpmath.loggamma(1 + x) - (half(x) * mpmath.log(half(x)) - half(x) + mpmath.log(2 * mpmath.pi) / 2)


def half_step(x):
    return (
        (mpmath.gamma(1 + x) / mpmath.gamma(half(x))) ** 2
        if x < 100
        else mpmath.exp(2 * (mpmath.loggamma(1 + x) - mpmath.loggamma(half(x))))
    )


def truths(function, points):
    with mpmath.workdps(40):
        return torch.tensor([float(function(mpmath.mpf(x))) for x in points], dtype=torch.float64)


@pytest.mark.parametrize("dtype, error, slope_error", [(torch.float32, 1e-7, 1e-6), (torch.float64, 1e-12, 2e-11)])
def test_remainders_of_the_gamma_function(dtype, error, slope_error):
    x = torch.tensor(X + MORE, dtype=dtype)
    exact = truths(gamma_remainder, x.tolist())
    assert (fast.gamma_remainder(x).double() - exact).abs().max() < error
    slope = truths(lambda v: mpmath.digamma(1 + v) - mpmath.log(half(v)), x.tolist())
    assert (fast.digamma_remainder(x).double() - slope).abs().max() < slope_error


@pytest.mark.parametrize("dtype, error", [(torch.float32, 5e-7), (torch.float64, 2e-11)])
def test_half_step(dtype, error):
    x = torch.tensor(X + MORE[:2], dtype=dtype)
    value, slope = fast.gamma_half_step(x)
    assert (value.double() / truths(half_step, x.tolist()) - 1).abs().max() < error
    by_digamma = truths(lambda v: 2 * half_step(v) * (mpmath.digamma(1 + v) - mpmath.digamma(half(v))), x.tolist())
    assert (slope.double() / by_digamma - 1).abs().max() < 30 * error


def test_softplus_in_both_precisions():
    raw = torch.linspace(-13, 15, 57)
    with mpmath.workdps(40):
        value = torch.tensor([float(mpmath.log1p(mpmath.exp(x))) for x in raw.tolist()], dtype=torch.float64)
        slope = torch.tensor([float(1 / (1 + mpmath.exp(-x))) for x in raw.tolist()], dtype=torch.float64) / value
    for given, error in ((raw, 1e-6), (raw.double(), 1e-11)):
        answer = fast.softplus(given)
        assert (answer.value.double() / value - 1).abs().max() < error
        assert (answer.log.double() - value.log()).abs().max() < 3 * error
        assert (answer.slope.double() / slope - 1).abs().max() < error
    far = fast.softplus(torch.tensor([-1000.0, 1000.0], dtype=torch.float64))
    assert far.log.tolist() == [-1000.0, pytest.approx(6.907755, rel=1e-6)]
