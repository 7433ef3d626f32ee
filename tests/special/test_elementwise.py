"""Nested derivatives of autograd functions: right, or refused."""

import pytest
import torch
from torch.func import hessian, jacfwd, jacrev, vmap

from disthead import special

X = torch.tensor(0.3, dtype=torch.float64)
FUNCTIONS = {
    "log_ndtr": special.log_ndtr,
    "log_beta": lambda x: special.log_beta(x, 2 * x),
    "von_mises_log_normalizer": special.von_mises_log_normalizer,
    "stirling_error": special.stirling_error,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives_by_all_modes_agree_or_are_refused(name):
    function = FUNCTIONS[name]
    expected = jacrev(jacrev(function))(X)
    step = 1e-4
    difference = (jacrev(function)(X + step) - jacrev(function)(X - step)) / (2 * step)
    torch.testing.assert_close(expected, difference, rtol=1e-6, atol=1e-8)
    for other in (hessian(function)(X), jacrev(jacfwd(function))(X)):
        torch.testing.assert_close(other, expected, rtol=1e-12, atol=1e-12)
    try:
        nested = jacfwd(jacfwd(function))(X)
    except RuntimeError as error:
        if "forward mode within forward mode" not in str(error):
            raise
    else:
        torch.testing.assert_close(nested, expected, rtol=1e-12, atol=1e-12)


def test_first_derivatives_in_forward_mode_go_through_vmap():
    points = torch.stack([X, 2 * X])
    torch.testing.assert_close(
        vmap(jacfwd(special.log_ndtr))(points), vmap(jacrev(special.log_ndtr))(points)
    )
