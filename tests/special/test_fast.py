"""The rational functions of the one-pass log-likelihoods, against mpmath."""

import mpmath
import numpy as np
import pytest
import torch

from disthead.special import elementary, fast

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


FUNCTIONS = {
    "gamma_remainder": fast.gamma_remainder,
    "digamma_remainder": fast.digamma_remainder,
    "gamma_half_step": fast.gamma_half_step,
    "von_mises_terms": fast.von_mises_terms,
    "softplus": lambda x: (fast.softplus(x).value, fast.softplus(x).slope, fast.softplus(x).log),
    "exponential": lambda x: (fast.exponential(x).value, fast.exponential(x).log),
    "direction": lambda x: (
        *(of_vectors := fast.direction(x.reshape(2, -1))),
        of_vectors.by_raw(x[: x.shape[0] // 2]),
    ),
    "log_sum_exp": lambda x: elementary.log_sum_exp(x.reshape(4, -1)),
    "softmax": lambda x: elementary.softmax(x.reshape(4, -1)),
    "sigmoids": lambda x: elementary.sigmoids(x - 1),
    "sign": lambda x: elementary.sign(x - 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arrays_are_computed_as_tensors_are(name, dtype):
    x = torch.linspace(0.01, 20, 64, dtype=dtype)
    of_tensors, of_arrays = FUNCTIONS[name](x), FUNCTIONS[name](x.numpy())
    if not isinstance(of_tensors, tuple):
        of_tensors, of_arrays = (of_tensors,), (of_arrays,)
    for ours, theirs in zip(of_tensors, of_arrays, strict=True):
        if isinstance(ours, torch.Tensor):
            assert isinstance(theirs, np.ndarray)
            error = 1e-6 if dtype == torch.float32 else 1e-14
            torch.testing.assert_close(torch.from_numpy(theirs), ours, rtol=error, atol=error)
        else:
            assert ours == theirs
