"""Roots by the implicit function theorem: derivatives of every order."""

import pytest
import torch

from disthead import special

INVERSES = {
    "gammaincinv": [(0.3, 2.0, 50.0), (0.2, 0.5, 0.9)],
    "gammainccinv": [(0.3, 2.0, 50.0), (0.2, 0.5, 0.9)],
    "betaincinv": [(0.3, 2.0, 50.0), (0.4, 3.0, 70.0), (0.2, 0.3, 0.9)],
    "student_t_icdf": [(0.5, 3.0, 50.0), (0.4, 0.2, 0.9)],
}


@pytest.mark.parametrize("name", INVERSES)
def test_first_and_second_derivatives(name):
    arguments = [
        torch.tensor(column, dtype=torch.float64, requires_grad=True) for column in INVERSES[name]
    ]
    assert torch.autograd.gradcheck(getattr(special, name), arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(getattr(special, name), arguments, fast_mode=True)


def test_second_derivative_of_a_quantile_is_that_of_its_formula():
    """Of the exponential distribution: -log(1 - p), with 1 / (1 - p) and 1 / (1 - p)^2."""
    p = torch.tensor([0.01, 0.3, 0.99], dtype=torch.float64, requires_grad=True)
    x = special.gammaincinv(torch.ones_like(p), p)
    (first,) = torch.autograd.grad(x.sum(), p, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), p)
    torch.testing.assert_close(first, 1 / (1 - p), rtol=1e-11, atol=0)
    torch.testing.assert_close(second, (1 - p) ** -2, rtol=1e-7, atol=0)
