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
    return mpmath.loggamma(1 + x) - (
        half(x) * mpmath.log(half(x)) - half(x) + mpmath.log(2 * mpmath.pi) / 2
    )


def half_step(x):
    return (
        (mpmath.gamma(1 + x) / mpmath.gamma(half(x))) ** 2
        if x < 100
        else mpmath.exp(2 * (mpmath.loggamma(1 + x) - mpmath.loggamma(half(x))))
    )


def truths(function, points):
    with mpmath.workdps(40):
        return torch.tensor([float(function(mpmath.mpf(x))) for x in points], dtype=torch.float64)


@pytest.mark.parametrize(
    "dtype, error, slope_error", [(torch.float32, 1e-7, 1e-6), (torch.float64, 1e-12, 2e-11)]
)
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
    by_digamma = truths(
        lambda v: 2 * half_step(v) * (mpmath.digamma(1 + v) - mpmath.digamma(half(v))), x.tolist()
    )
    assert (slope.double() / by_digamma - 1).abs().max() < 30 * error


CONCENTRATIONS = [0.0, 1e-20, 1e-6, 0.01, 0.3, 1.0, 2.4, 5.0, 9.3, 16.0, 30.0, 100.0, 1e4, 1e8]


@pytest.mark.parametrize("dtype, error", [(torch.float32, 3e-7), (torch.float64, 5e-12)])
def test_von_mises_terms(dtype, error):
    k = torch.tensor(CONCENTRATIONS, dtype=dtype)
    normalizer, complement = fast.von_mises_terms(k)
    exact = truths(lambda x: mpmath.log(2 * mpmath.pi * mpmath.besseli(0, x)) - x, k.tolist())
    assert ((normalizer.double() - exact).abs() / exact.abs().clamp(min=1)).max() < error
    shortness = truths(lambda x: 1 - mpmath.besseli(1, x) / mpmath.besseli(0, x), k.tolist())
    assert (complement.double() / shortness - 1).abs().max() < 20 * error


@pytest.mark.parametrize("dtype, error", [(torch.float32, 5e-7), (torch.float64, 1e-15)])
def test_direction_is_that_of_atan2(dtype, error):
    raw = torch.tensor(
        [[1.0, -2.0, 0.0, 1e-3, -5e3, 1e-6], [0.0, 3.0, -1.5, -1e-3, 1e3, 2e3]], dtype=dtype
    )
    found = fast.direction(raw)
    angle = torch.atan2(raw[1].double(), raw[0].double())
    assert (found.cosine - angle.cos()).abs().max() < error
    assert (found.sine - angle.sin()).abs().max() < error
    leaf = raw.double().requires_grad_()
    (slope,) = torch.autograd.grad(torch.atan2(leaf[1], leaf[0]).sum(), leaf)
    ours = found.by_raw(torch.ones_like(angle))
    assert ours.shape == (2, 6)
    torch.testing.assert_close(ours, slope, rtol=10 * error, atol=10 * error)


def test_a_logarithm_is_taken_when_it_is_asked_for():
    parameter = fast.softplus(torch.tensor([1.0]))
    assert parameter._log is None
    torch.testing.assert_close(parameter.log, parameter.value.log())
    assert parameter.log is parameter.log


def test_softplus_in_both_precisions():
    raw = torch.linspace(-13, 15, 57)
    with mpmath.workdps(40):
        value = torch.tensor(
            [float(mpmath.log1p(mpmath.exp(x))) for x in raw.tolist()], dtype=torch.float64
        )
        slope = (
            torch.tensor(
                [float(1 / (1 + mpmath.exp(-x))) for x in raw.tolist()], dtype=torch.float64
            )
            / value
        )
    for given, error in ((raw, 1e-6), (raw.double(), 1e-11)):
        answer = fast.softplus(given)
        assert (answer.value.double() / value - 1).abs().max() < error
        assert (answer.log.double() - value.log()).abs().max() < 3 * error
        assert (answer.slope.double() / slope - 1).abs().max() < error
    far = fast.softplus(torch.tensor([-1000.0, 1000.0], dtype=torch.float64))
    assert far.log.tolist() == [-1000.0, pytest.approx(6.907755, rel=1e-6)]


@pytest.mark.parametrize("dtype, error", [(torch.float32, 3e-7), (torch.float64, 2e-15)])
def test_logarithms_of_ratios_less_their_excess(dtype, error):
    """Near 1 the difference keeps the digits that both of its terms lose."""
    excess = torch.tensor(
        [-0.999, -0.3, -0.2, -1e-4, -1e-9, 0, 1e-12, 1e-3, 0.24, 0.26, 9], dtype=dtype
    )
    exact = truths(lambda e: mpmath.log1p(e) - e, excess.tolist())
    ours = fast.log_ratio_less(1 + excess, excess).double()
    far = excess.abs() > 0.25  # where the ratio itself was rounded
    bound = torch.where(far, 40 * error, 4 * error * exact.abs())
    assert ((ours - exact).abs() <= bound).all()


def test_sigmoids_keep_the_digits_of_small_probabilities():
    x = torch.tensor([-500.0, -30.0, -1.0, 0.0, 2.0, 40.0], dtype=torch.float64)
    likely, rest = fast.sigmoids(x)
    torch.testing.assert_close(likely, torch.sigmoid(x), rtol=1e-14, atol=0)
    torch.testing.assert_close(rest, torch.sigmoid(-x), rtol=1e-14, atol=0)
