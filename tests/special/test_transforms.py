"""Every function under torch.compile(fullgraph=True), torch.export, vmap and func.grad."""

import warnings

import pytest
import torch

from disthead import special

CASES = {
    "stirling_error": [(0.1, 3.0, 50.0)],
    "deviance": [(0.5, 2.0, 3.0), (1.0, 2.0, 3.1)],
    "log_beta": [(0.1, 3.0, 50.0), (2.0, 3.0, 4.0)],
    "poisson_log_mass": [(0.0, 3.0, 50.0), (1.0, 2.0, 40.0)],
    "negative_binomial_log_mass": [
        (0.5, 3.0, 50.0),
        (1.0, 2.0, 40.0),
        (0.3, 0.4, 0.5),
        (0.7, 0.6, 0.5),
    ],
    "log_gammainc": [(0.3, 2.0, 50.0), (0.2, 3.0, 40.0)],
    "gammaincinv": [(0.3, 2.0, 50.0), (0.2, 0.5, 0.9)],
    "betainc": [(0.3, 2.0, 50.0), (0.4, 3.0, 70.0), (0.2, 0.3, 0.4)],
    "betaincinv": [(0.3, 2.0, 50.0), (0.4, 3.0, 70.0), (0.2, 0.3, 0.4)],
    "student_t_cdf": [(0.5, 3.0, 1e6), (0.0, 1.0, -2.0)],
    "student_t_icdf": [(0.5, 3.0, 1e6), (0.5, 0.2, 0.9)],
    "von_mises_log_normalizer": [(0.0, 1.0, 1e5)],
    "bessel_ratio": [(0.0, 1.0, 1e5)],
    "von_mises_cdf": [(0.0, 1.0, 1e5), (0.0, 1.0, -0.001)],
    "von_mises_icdf": [(0.0, 1.0, 1e5), (0.5, 0.2, 0.9)],
    "log_ndtr": [(-40.0, 0.0, 3.0)],
    "log_ndtr_difference": [(-40.0, 0.0, 3.0), (-39.0, 0.1, torch.inf)],
    "ndtri_exp": [(-40.0, -1.0, -0.1)],
}
QUICK = ["deviance", "log_gammainc", "betaincinv"]


def arguments(name):
    return [torch.tensor(column, dtype=torch.float64, requires_grad=True) for column in CASES[name]]


def with_gradients(function, inputs):
    value = function(*inputs)
    return value, *torch.autograd.grad(value.sum(), inputs)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_compile(name):
    function, inputs = getattr(special, name), arguments(name)
    want = with_gradients(function, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        got = with_gradients(torch.compile(function, fullgraph=True), inputs)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_vmap_and_func_grad(name):
    function, inputs = getattr(special, name), arguments(name)
    value, *gradients = with_gradients(function, inputs)
    numbers = [part.detach() for part in inputs]
    torch.testing.assert_close(torch.func.vmap(function)(*numbers), value.detach())
    gradient = torch.func.grad(function, argnums=tuple(range(len(numbers))))
    mapped = torch.func.vmap(gradient)(*numbers)
    for one, other in zip(mapped, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_export(name):
    class Module(torch.nn.Module):
        def forward(self, *inputs):
            return getattr(special, name)(*inputs)

    inputs = [part.detach() for part in arguments(name)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(Module(), tuple(inputs))
    torch.testing.assert_close(program.module()(*inputs), getattr(special, name)(*inputs))


@pytest.mark.slow
def test_generic_inverse_compiles_to_a_loop():
    def quantile(q, scale):
        return special.bracketed_inverse(
            lambda x: torch.special.ndtr(x / scale), q, -torch.inf, torch.inf
        )

    q, scale = torch.tensor([0.1, 0.5, 0.9]).double(), torch.tensor([1.0, 2.0, 1e-200]).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = torch.compile(quantile, fullgraph=True)(q, scale)
    torch.testing.assert_close(got, quantile(q, scale), rtol=1e-14, atol=1e-15)
