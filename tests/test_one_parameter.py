"""A parameter that is asked for alone is the one of the distribution with all parameters."""

import pytest
import torch

from tests.cases import EVERYTHING, rows


@pytest.mark.parametrize("case", rows([case for case in EVERYTHING if not case.event_shape]))
def test_one_parameter_is_that_of_all(case):
    raw = torch.tensor(case.raw).expand(3, -1).clone().requires_grad_()
    family = case.make_family()
    for name in family.parameters:
        alone, made = case.from_raw(raw), case.from_raw(raw)
        _ = made.parameters  # makes all
        one, other = getattr(alone, name, None), getattr(made, name, None)
        if other is None:  # which the class keeps in another form
            assert one is None
            continue
        assert torch.equal(one, other)
        assert one.requires_grad == other.requires_grad
        if other.requires_grad:
            gradients = [torch.autograd.grad(value.sum(), raw)[0] for value in (one, other)]
            torch.testing.assert_close(*gradients)
        assert repr(alone) == repr(made)
