"""What exported programs have instead of torch's own functions gives the same numbers."""

import pytest
import torch

from disthead.special import digamma, plain, stirling

POSITIVE = torch.cat(
    [torch.logspace(-300, 300, 601, dtype=torch.float64), torch.linspace(0.01, 30, 3001, dtype=torch.float64)]
)


def same(ours: torch.Tensor, theirs: torch.Tensor, absolute: float = 0.0) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=absolute)


def test_normal_quantiles_are_those_of_torch_up_to_the_smallest_probabilities():
    p = torch.cat([torch.logspace(-300, -0.4, 2000, dtype=torch.float64), torch.linspace(0.001, 0.999, 1997)]).double()
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
    torch.testing.assert_close(plain._softplus(x), torch.nn.functional.softplus(x, threshold=50), rtol=rtol, atol=0)
