"""The one pass of the multivariate normal from raw outputs: forward and backward substitution give
the formula's numbers.
"""

import pytest
import torch

import disthead as dh
from tests.one_pass import (
    check_backward_twice,
    check_shapes,
    check_target_gradients_transforms_and_units,
    gradient,
)

pytestmark = pytest.mark.usefixtures("engine")


def case(size, rows, generator):
    family = dh.get_family("multivariate_normal", event_shape=(size,))
    raw = 0.5 * torch.randn(rows, size * (size + 3) // 2, generator=generator)
    return family, raw.requires_grad_(), torch.randn(rows, size, generator=generator)


# the last two in several pieces
@pytest.mark.parametrize("size, rows", [(1, 5), (3, 7), (8, 5000), (40, 600)])
def test_values_and_gradients(size, rows, generator):
    family, raw, y = case(size, rows, generator)
    weight = torch.linspace(-1, 2, rows)
    dist = family.from_raw(raw)
    value = dist.log_prob(y)
    assert dist._is_lazy
    assert dist.event_shape == (size,)
    lower = torch.zeros(rows, size, size, dtype=torch.float64)
    row, column = torch.tril_indices(size, size)
    lower[:, row, column] = raw[:, size:].double()
    diagonal = torch.nn.functional.softplus(lower.diagonal(dim1=-2, dim2=-1), threshold=40)
    peer = torch.distributions.MultivariateNormal(
        raw[:, :size].double(),
        scale_tril=lower.tril(-1) + diagonal.diag_embed(),
        validate_args=False,
    )
    expected = peer.log_prob(y.double())
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
    found = gradient(weight * value, raw)
    torch.testing.assert_close(found, gradient(weight * expected, raw), rtol=1e-5, atol=1e-5)


def test_backward_twice_and_differentiated_twice(generator):
    check_backward_twice(*case(3, 7, generator))


def test_shapes(generator):
    check_shapes(*case(2, 6, generator))


def test_target_gradients_transforms_and_units(generator):
    check_target_gradients_transforms_and_units(*case(3, 4, generator))
