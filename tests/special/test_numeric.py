"""Numbers by SciPy and their derivatives against the differentiable operations."""

import math

import mpmath as mp
import pytest
import torch

from disthead import special
from disthead.families import Beta, StudentT
from disthead.special import incomplete_beta_numbers, incomplete_beta_operations, student_t

ROWS = 1500


@pytest.fixture
def numbers():
    generator = torch.Generator().manual_seed(3)

    def uniform(lower, upper):
        return lower + (upper - lower) * torch.rand(ROWS, generator=generator, dtype=torch.float64)

    def normal():
        return torch.randn(ROWS, generator=generator, dtype=torch.float64)

    return uniform, normal


def either(first, second):
    """Every other row of each."""
    return torch.where(torch.arange(ROWS) % 2 == 0, first, second)


def shapes_and_points(uniform, normal):
    """Shapes of ten orders of magnitude; points around the mean, and next to either end."""
    a, b = 10 ** uniform(-4, 6), 10 ** uniform(-4, 6)
    mean, logits = a / (a + b), uniform(-60, 60)
    near = mean + 4 * normal() * (mean * (b / (a + b)) / (a + b + 1)).sqrt()
    x = either(torch.where((near > 1e-300) & (near < 1), near, 0.5), logits.sigmoid())
    y = either(1 - x, (-logits).sigmoid())
    return a, b, x, y


def degrees_and_points(uniform, normal):
    df = either(10 ** uniform(-3, 6), uniform(0.5, 12).round())
    z = torch.where(uniform(0, 1) < 0.7, 5 * normal(), torch.sign(normal()) * 10 ** uniform(-14, 9))
    z[:8] = torch.tensor(
        [0.0, -0.0, 1e-12, -1e-12, 1e-3, -1e-3, math.inf, -math.inf], dtype=torch.float64
    )
    return df, z


def probabilities(uniform):
    p = either(uniform(0, 1), 10 ** uniform(-200, 0))
    p[:12] = 0.5 - torch.tensor(
        [0.0, 1e-15, -1e-15, 1e-12, 1e-9, -1e-9, 1e-6, 1e-4, -1e-4, 1e-2, 0.499, 0.4990001]
    )
    return p


def by_numbers(function, *arguments):
    """The value without and with a gradient, which must be the same number, and the gradients."""
    leaves = [argument.clone().requires_grad_() for argument in arguments]
    value = function(*leaves)
    assert torch.equal(value.detach(), function(*arguments))
    return value.detach(), *torch.autograd.grad(value.sum(), leaves)


def by_operations(function, *arguments):
    """The same by the differentiable operations, as everywhere where numbers will not do."""
    value, pull = torch.func.vjp(function, *arguments)
    return value, *pull(torch.ones_like(value))


def agree(function, *arguments, tolerance, gradients=1e-9):
    value, *slopes = by_numbers(function, *arguments)
    want, *exact_slopes = by_operations(function, *arguments)
    torch.testing.assert_close(value, want, rtol=tolerance, atol=1e-290, equal_nan=True)
    for slope, exact in zip(slopes, exact_slopes, strict=True):
        known = exact.isfinite()  # the operations lose the derivative of the farthest quantiles
        torch.testing.assert_close(slope[known], exact[known], rtol=gradients, atol=gradients)
        assert not slope.isnan().any()


@pytest.mark.parametrize("name", ["log_betainc", "log_betaincc", "betainc", "betaincc"])
def test_tails_of_the_beta_distribution(name, numbers):
    agree(getattr(special, name), *shapes_and_points(*numbers), tolerance=4e-12)


@pytest.mark.parametrize("name", ["student_t_cdf", "student_t_log_cdf"])
def test_tails_of_student_t(name, numbers):
    agree(getattr(special, name), *degrees_and_points(*numbers), tolerance=1e-12)


def test_quantiles_of_the_beta_distribution(numbers):
    a, b, _, _ = shapes_and_points(*numbers)
    p = probabilities(numbers[0])
    agree(special.betaincinv, a, b, p, 1 - p, tolerance=2e-11)


def test_quantiles_of_student_t(numbers):
    df, _ = degrees_and_points(*numbers)
    p = probabilities(numbers[0])
    z, *_ = by_numbers(special.student_t_icdf, df, p)
    want, *_ = by_operations(special.student_t_icdf, df, p)
    far = want.abs() > 1e140  # what lies beyond cannot be written by the operations
    # of p next to 1/2
    rounding = 1e-15 / special.student_t_log_density(df, torch.zeros_like(df)).exp()
    assert ((z - want).abs() <= 1e-12 * want.abs() + rounding)[~far].all()
    agree(special.student_t_icdf, df[~far & (p != 0.5)], p[~far & (p != 0.5)], tolerance=math.inf)


def test_where_scipy_alone_is_wrong():
    """Near the centre at df = 1 (3e-9), 4 and 6 (3e-8), and in three more places.

    These are: far from the centre at few degrees of freedom, at integer shapes, and where 1 - x has
    no digits.
    """
    double = {"dtype": torch.float64}
    with mp.workdps(40):
        z = torch.tensor([-1e-8, -1e-6, 1e-5], **double)
        cauchy = [float(mp.atan(value) / mp.pi + mp.mpf(1) / 2) for value in z.tolist()]
        assert torch.allclose(
            special.student_t_cdf(torch.ones(3, **double), z), torch.tensor(cauchy, **double), 1e-15
        )
        q = torch.tensor([0.5 - 1e-5, 0.5 - 1e-9], **double)
        for df in (4.0, 6.0):
            height = mp.gamma((df + 1) / 2) / mp.gamma(df / 2) / mp.sqrt(df * mp.pi)
            for value, got in zip(
                q.tolist(),
                special.student_t_icdf(torch.tensor(df, **double), q).tolist(),
                strict=True,
            ):
                w = (mp.mpf(value) - 0.5) / height
                assert abs(got - (w + (df + 1) / (6 * df) * w**3)) < 1e-15
        far = special.student_t_icdf(torch.tensor(2.0, **double), 1e-125)  # p = 1 / (2 z^2) far out
        assert math.isclose(far.item(), -math.sqrt(0.5e125), rel_tol=1e-13)
        x = special.betaincinv(torch.tensor(2.0, **double), 873246.0, 0.6960002247595216)
        rest = 1 - mp.mpf(x.item())  # 1 - I_x(2, b) = (1 - x)^b (1 + b x)
        assert abs(1 - rest**873246 * (1 + 873246 * mp.mpf(x.item())) - 0.6960002247595216) < 1e-15
        tail = special.log_betaincc(torch.tensor(2.0, **double), 1e6, 1e-5)
        exact = 1e6 * mp.log1p(-mp.mpf(1e-5)) + mp.log1p(1e6 * mp.mpf(1e-5))
        assert math.isclose(tail.item(), float(exact), rel_tol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("question", ["cdf", "log_cdf", "log_survival", "icdf"])
def test_distributions_answer_the_same_with_and_without_a_gradient(question, dtype):
    generator = torch.Generator().manual_seed(0)
    first, second, target = torch.rand(3, 50, generator=generator, dtype=dtype) * 0.98 + 0.01
    for kind, parameters in (
        (StudentT, (8 * first, second - 0.5, first + second)),
        (Beta, (5 * first, 9 * second)),
    ):
        leaves = [parameter.clone().requires_grad_() for parameter in parameters]
        got = getattr(kind(*leaves), question)(target)
        assert got.requires_grad
        assert torch.equal(got.detach(), getattr(kind(*parameters), question)(target))


def test_second_derivatives():
    generator = torch.Generator().manual_seed(0)
    a, b, x = (
        torch.rand(4, generator=generator, dtype=torch.float64).add(0.2).requires_grad_()
        for _ in range(3)
    )
    x = (0.7 * x).detach().requires_grad_()
    assert torch.autograd.gradgradcheck(special.betainc, (a, 5 * b, x))
    assert torch.autograd.gradgradcheck(special.student_t_cdf, (3 * a, 4 * b - 2))
    assert torch.autograd.gradgradcheck(special.student_t_icdf, (3 * a, x))


def test_one_gradient_of_one_argument_and_batches_of_gradients():
    df = torch.tensor([0.7, 3.0, 40.0], dtype=torch.float64, requires_grad=True)
    z = torch.tensor([-1.0, 0.3, 5.0], dtype=torch.float64)
    (alone,) = torch.autograd.grad(special.student_t_cdf(df, z).sum(), df)
    values = special.student_t_cdf(df, z)
    (several,) = torch.autograd.grad(
        values, df, torch.eye(3, dtype=torch.float64), is_grads_batched=True
    )
    torch.testing.assert_close(several, alone.diag(), rtol=1e-9, atol=1e-15)


def test_tensors_of_every_form():
    df, z = (
        torch.tensor([[1.0], [3.0]], dtype=torch.float64),
        torch.linspace(-2, 2, 8, dtype=torch.float64)[::2],
    )
    assert special.student_t_cdf(df, z).shape == (2, 4)
    assert torch.equal(
        special.student_t_cdf(df.expand(2, 4), z), special.student_t_cdf(df, z.contiguous())
    )
    for function, inputs in (
        (special.student_t_icdf, 2),
        (special.betainc, 3),
        (special.betaincinv, 3),
    ):
        empty = [torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)] * inputs
        assert function(*empty).shape == (0, 3)
        function(*empty).sum().backward()
        half = [torch.tensor(0.5, requires_grad=True) for _ in range(inputs)]
        value = function(*half)
        assert value.shape == ()
        assert value.dtype == torch.float32
        value.backward()
        assert half[0].grad.dtype == torch.float32
        nothing = torch.full((2,), math.nan)
        assert function(*[nothing] * inputs).isnan().all()


@pytest.mark.parametrize("question", ["cdf", "log_cdf", "log_survival", "icdf"])
def test_a_batch_takes_one_call_of_scipy(question, monkeypatch):
    """Without gradients a row takes one evaluation and no quadrature."""
    rows = []

    def counting(by_scipy):
        def count(name, *arguments):
            rows.append(arguments[0].numel())
            return by_scipy(name, *arguments)

        return count

    def refuse(*arguments):
        raise AssertionError("the quadrature was used")

    for module in (incomplete_beta_numbers, student_t):
        monkeypatch.setattr(module, "by_scipy", counting(module.by_scipy))
    monkeypatch.setattr(incomplete_beta_operations, "_tails", refuse)
    generator = torch.Generator().manual_seed(0)
    first, second, target = (
        torch.rand(3, 1000, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    )
    for dist in (StudentT(2 + 8 * first, 0.0, 0.1 + second), Beta(1 + 5 * first, 1 + 9 * second)):
        rows.clear()
        getattr(dist, question)(target)
        assert sum(rows) < 1.1 * 1000
