import math

import pytest
import torch

from disthead import special


def test_bracketed_inverse_over_all_magnitudes():
    target = torch.tensor([-1e300, -5.0, -1e-200, 0.0, 1e-300, 3.0, 1e200], dtype=torch.float64)
    result = special.bracketed_inverse(lambda x: x, target, -torch.inf, torch.inf)
    assert torch.allclose(result, target, rtol=1e-15, atol=1e-300)


def test_bracketed_inverse_in_a_finite_bracket():
    target = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    assert torch.allclose(
        special.bracketed_inverse(lambda x: x**2, target, 0.0, 1.0),
        target.sqrt(),
        rtol=1e-15,
        atol=1e-15,
    )


def test_integer_inverse_is_exact():
    rate = torch.tensor([[1e-3], [3.0], [1e6]], dtype=torch.float64)
    q = torch.tensor([1e-9, 0.1, 0.5, 0.999], dtype=torch.float64)
    cdf = lambda k: special.gammaincc(k + 1, rate)  # noqa: E731
    k = special.integer_inverse(cdf, q.expand(3, 4))
    assert (cdf(k) >= q).all()
    assert ((cdf(k - 1) < q) | (k == 0)).all()


def test_implicit_keeps_the_value():
    a = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    root = a.detach() ** (1 / 3)
    value = special.implicit(root, root**3 - a, 3 * root**2)
    assert torch.equal(value, root)
    assert torch.allclose(torch.autograd.grad(value.sum(), a)[0], a ** (-2 / 3) / 3, rtol=1e-14)


def test_rules_integrate():
    like = torch.tensor(0.0, dtype=torch.float64)
    for count in (12, 24, 40, 48, 64, 96, 128):
        nodes, weights = special.gauss_legendre(count, like)
        powers = torch.arange(0, 2 * count, dtype=torch.float64)
        assert torch.allclose(
            (weights * nodes ** powers[:, None]).sum(-1), 1 / (powers + 1), rtol=1e-13
        )
    t, complement, weights = special.tanh_sinh(81, like)
    assert abs((weights * -torch.log(t)).sum().item() - 1) < 1e-13
    assert (
        abs((weights * torch.sqrt(complement / t)).sum().item() - math.pi / 2) < 1e-7
    )  # the end nodes bound the singular part


def test_integrate_differentiates_in_limits_and_parameters():
    lower, upper, rate = (
        torch.tensor([0.0, x, y], dtype=torch.float64, requires_grad=True)
        for x, y in ((0.5, 1.0), (2.0, 3.0), (1.5, 0.3))
    )
    assert torch.autograd.gradcheck(
        lambda a, b, c: special.integrate(lambda t: torch.exp(-c * t), a, b), (lower, upper, rate)
    )


def test_bracketed_newton_over_all_magnitudes_and_flat_parts():
    root = torch.tensor([1e-250, 1e-9, 0.5, 3e7], dtype=torch.float64)
    result = special.bracketed_newton(
        lambda x: (torch.log(x / root), 1 / x),
        torch.full_like(root, 1e-300),
        torch.full_like(root, 1e9),
    )
    assert torch.allclose(result, root, rtol=1e-14, atol=0)

    def two_steps(x):  # rises at 0 and at 1, flat between
        z = torch.stack([x, x - 1]) / 1e-3
        return torch.special.ndtr(z).mean(0) - target, torch.exp(-0.5 * z * z).mean(0) / math.sqrt(
            2 * math.pi
        ) / 1e-3

    target = torch.tensor([1e-3, 0.49, 0.51, 0.999], dtype=torch.float64)
    result = special.bracketed_newton(
        two_steps, torch.full_like(target, -2.0), torch.full_like(target, 3.0)
    )
    assert (two_steps(result)[0].abs() < 1e-14).all()


def test_second_derivative_through_implicit_is_refused():
    a = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    root = a.detach() ** (1 / 3)
    (first,) = torch.autograd.grad(
        special.implicit(root, root**3 - a, 3 * root**2).square().sum(), a, create_graph=True
    )
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.autograd.grad(first.sum(), a)
