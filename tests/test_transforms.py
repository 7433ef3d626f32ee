"""The loss of every family under torch.compile(fullgraph=True), torch.export, vmap, func.grad, and
differentiated twice.
"""

import warnings

import pytest
import torch

from tests.cases import BEYOND_THE_SAMPLE, CASES, Case, rows

every_case = pytest.mark.parametrize("case", rows(CASES, slow=BEYOND_THE_SAMPLE))


def example(case: Case, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Raw outputs of a few rows, and targets that they produce."""
    torch.manual_seed(0)
    raw = torch.tensor(case.raw, dtype=dtype) + 0.3 * torch.randn(3, len(case.raw), dtype=dtype)
    return raw, case.from_raw(raw).sample()


def log_prob_of(case: Case):
    def log_prob(raw, y):
        return case.from_raw(raw).log_prob(y)

    return log_prob


def gradient(function, raw, y):
    raw = raw.detach().requires_grad_()
    return torch.autograd.grad(function(raw, y).sum(), raw)[0]


class Loss(torch.nn.Module):
    """A head and its log-likelihood."""

    def __init__(self, case: Case):
        super().__init__()
        torch.manual_seed(0)
        self.head = case.head(in_features=3)

    def forward(self, features, y):
        return self.head(features).log_prob(y)


@every_case
def test_compiles_without_a_break(case):
    loss, (_, y), features = Loss(case), example(case), torch.linspace(-1, 1, 9).reshape(3, 3)
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # dynamo's own
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(features, y), loss(features, y), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            gradient(compiled, features, y), gradient(loss, features, y), rtol=1e-4, atol=1e-5
        )


@every_case
def test_exports(case):
    loss, (_, y), features = Loss(case), example(case), torch.linspace(-1, 1, 9).reshape(3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        exported = torch.export.export(loss, (features, y)).module()
    torch.testing.assert_close(exported(features, y), loss(features, y), rtol=1e-5, atol=1e-5)


@every_case
def test_one_row_at_a_time_by_vmap_and_func_grad(case):
    log_prob, (raw, y) = log_prob_of(case), example(case)
    torch.testing.assert_close(torch.func.vmap(log_prob)(raw, y), log_prob(raw, y))
    by_row = torch.func.vmap(torch.func.grad(log_prob))(raw, y)
    torch.testing.assert_close(by_row, gradient(log_prob, raw, y), rtol=1e-4, atol=1e-5)


@every_case
def test_second_derivatives_are_those_of_the_gradient(case):
    """For Hessians and natural gradients."""
    log_prob, (raw, y) = log_prob_of(case), example(case, torch.float64)
    hessian = torch.autograd.functional.hessian(lambda row: log_prob(row, y[0]), raw[0])
    step = 1e-5
    columns = []
    for direction in torch.eye(len(case.raw), dtype=raw.dtype):
        ahead, behind = (
            gradient(log_prob, raw[0] + sign * step * direction, y[0]) for sign in (1, -1)
        )
        columns.append((ahead - behind) / (2 * step))
    torch.testing.assert_close(hessian, torch.stack(columns, -1), rtol=1e-5, atol=1e-5)
