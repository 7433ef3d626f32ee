"""What exported programs have instead of torch's own functions gives the same numbers."""

import mpmath
import pytest
import torch

from disthead.special import digamma, plain, stirling

POSITIVE = torch.cat(
    [
        torch.logspace(-300, 300, 601, dtype=torch.float64),
        torch.linspace(0.01, 30, 3001, dtype=torch.float64),
    ]
)


def same(ours: torch.Tensor, theirs: torch.Tensor, absolute: float = 0.0) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=absolute)


def test_normal_quantiles_are_those_of_torch_up_to_the_smallest_probabilities():
    p = torch.cat(
        [torch.logspace(-300, -0.4, 2000, dtype=torch.float64), torch.linspace(0.001, 0.999, 1997)]
    ).double()
    same(plain._ndtri(p), torch.special.ndtri(p), 1e-15)
    same(plain._ndtri(1 - p), torch.special.ndtri(1 - p), 1e-15)


def test_normal_quantiles_of_the_edges_are_infinite_and_of_no_probability_nan():
    p = torch.tensor([0.0, 1.0, -0.1, 1.1, torch.nan], dtype=torch.float64)
    torch.testing.assert_close(plain._ndtri(p), torch.special.ndtri(p), equal_nan=True)


def test_log_gamma_is_that_of_torch_also_next_to_its_zeros():
    same(stirling._lgamma(POSITIVE), torch.lgamma(POSITIVE), 2e-15)


def test_digamma_is_that_of_torch(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    same(digamma.digamma(POSITIVE), torch.digamma(POSITIVE), 1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_is_that_of_torch(dtype):
    x = torch.linspace(-80, 80, 3201, dtype=dtype)
    rtol = 1e-13 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(
        plain._softplus(x), torch.nn.functional.softplus(x, threshold=50), rtol=rtol, atol=0
    )


def truths(function, x: torch.Tensor) -> torch.Tensor:
    with mpmath.workdps(40):
        return torch.tensor(
            [float(function(mpmath.mpf(point))) for point in x.tolist()], dtype=torch.float64
        )


def both_signs(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([-x, x])


SIZES = torch.cat(
    [
        torch.logspace(-300, 0, 61, dtype=torch.float64),
        torch.linspace(0.01, 6, 301, dtype=torch.float64),
    ]
)
NAMES = ("erf", "erfc", "erfcx")


def test_the_error_function_is_exact_relative_to_itself_also_next_to_zero():
    x = both_signs(SIZES)
    torch.testing.assert_close(plain._erf(x), truths(mpmath.erf, x), rtol=1e-15, atol=0)


def test_its_complement_is_exact_relative_to_itself_as_far_as_it_can_be_written():
    x = torch.cat([both_signs(SIZES), torch.linspace(6, 26.5, 206, dtype=torch.float64)])
    torch.testing.assert_close(plain._erfc(x), truths(mpmath.erfc, x), rtol=2e-15, atol=0)


def test_the_scaled_complement_is_exact_relative_to_itself_for_any_size():
    x = torch.cat([both_signs(SIZES), torch.linspace(-26.6, 26, 527, dtype=torch.float64)])
    exact = truths(lambda point: mpmath.exp(point * point) * mpmath.erfc(point), x)
    torch.testing.assert_close(plain._erfcx(x), exact, rtol=2e-15, atol=0)
    large = torch.logspace(9, 300, 292, dtype=torch.float64)
    torch.testing.assert_close(plain._erfcx(large), torch.pi**-0.5 / large, rtol=2e-15, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_error_functions_are_those_of_torch_in_either_precision_to_infinity(name, dtype):
    x = torch.cat(
        [
            torch.linspace(-9, 9, 1801),
            torch.tensor([0.0, 1e30, -1e30, torch.inf, -torch.inf, torch.nan]),
        ]
    )
    ours, theirs = (
        getattr(plain, f"_{name}")(x.to(dtype)),
        getattr(torch.special, name)(x.to(dtype)),
    )
    rtol = 1e-13 if dtype == torch.float64 else 3e-5  # that of torch's own in single precision
    torch.testing.assert_close(
        ours, theirs, rtol=rtol, atol=torch.finfo(dtype).tiny, equal_nan=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_error_functions_have_their_derivatives(name):
    x = torch.linspace(-3, 3, 61, dtype=torch.float64, requires_grad=True)
    ours, theirs = (
        torch.autograd.grad(function(x).sum(), x)[0]
        for function in (getattr(plain, f"_{name}"), getattr(torch.special, name))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


def test_the_normal_distribution_function_keeps_its_lower_tail():
    z = torch.tensor([-37.0, -20.0, -8.0, 0.0, 8.0], dtype=torch.float64)
    torch.testing.assert_close(plain.ndtr(z), truths(mpmath.ncdf, z), rtol=1e-12, atol=0)
