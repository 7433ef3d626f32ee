"""Links are invertible, and their logarithms and logits are those of their values where values do
not round.
"""

import math

import mpmath as mp
import pytest
import torch
from torch.distributions import constraints

from disthead.links import LINKS, get_link

every_link = pytest.mark.parametrize("link", LINKS.values(), ids=str)


def raw(link, generator, rows=50):
    matrices = ("scale_tril", "correlation_tril")
    vectors = ("softmax", "unit_vector", "ordered")
    shape = (3, 3) if link.name in matrices else (4,) if link.name in vectors else ()
    size = link.raw_shape(shape) if shape else link.raw_shape(())
    return 2 * torch.randn((rows, *size), generator=generator, dtype=torch.float64)


@every_link
def test_values_are_in_the_codomain_and_come_back(link, generator):
    values = link.forward(raw(link, generator))
    assert link.codomain.check(values).all()
    torch.testing.assert_close(link.forward(link.inverse(values)), values, rtol=1e-10, atol=1e-12)


@every_link
def test_logarithm_and_logits_are_those_of_the_values(link, generator):
    x = raw(link, generator).clamp(-4, 4)
    if link.name == "reciprocal":
        x = x.abs()
    if link.is_positive:
        torch.testing.assert_close(link.log(x), link.forward(x).log(), rtol=1e-12, atol=1e-12)
    if link.codomain is constraints.unit_interval:
        x = x[(link.forward(x) - 0.5).abs() < 0.499]
        assert len(x) > 10
        torch.testing.assert_close(link.logits(x), link.forward(x).logit(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["softplus", "exp", "scale_tril"])
def test_a_shifted_link_adds_to_the_least_value_and_comes_back(name, generator):
    link, lowest = get_link(name).shifted(0.5), -200.0
    values = link.forward(raw(link, generator))
    torch.testing.assert_close(link.forward(link.inverse(values)), values, rtol=1e-10, atol=1e-12)
    least = link.forward(torch.full(link.raw_shape((3, 3)), lowest, dtype=torch.float64))
    least = least.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(least, torch.full_like(least, 0.5))


PROBABILITIES = {  # the probability and its complement
    "cloglog": (lambda x: -mp.expm1(-mp.exp(x)), lambda x: mp.exp(-mp.exp(x))),
    "loglog": (lambda x: mp.exp(-mp.exp(-x)), lambda x: -mp.expm1(-mp.exp(-x))),
    "cauchit": (lambda x: mp.atan2(1, -x) / mp.pi, lambda x: mp.atan2(1, x) / mp.pi),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBABILITIES)
def test_logarithms_and_logits_keep_their_digits_far_out(name, dtype):
    link, (p, q) = get_link(name), PROBABILITIES[name]
    x = torch.tensor([-6.5, -4.5, -3.5, -1, 0, 1e-3, 2, 3.5, 4.5, 6.5], dtype=dtype)
    x.requires_grad_()
    with mp.workdps(400):
        log_p = [mp.log(p(mp.mpf(one))) for one in x.tolist()]
        logits = [a - mp.log(q(mp.mpf(one))) for a, one in zip(log_p, x.tolist(), strict=True)]
    rounding = 4 * torch.finfo(dtype).eps
    for answer, truth in ((link.log(x), log_p), (link.logits(x), logits)):
        for ours, true in zip(answer.tolist(), truth, strict=True):
            assert math.isclose(ours, true, rel_tol=rounding, abs_tol=rounding)
    far = torch.tensor([-1e4, -300.0, -50.0, 50.0, 300.0, 1e4], dtype=dtype, requires_grad=True)
    link.logits(far).sum().backward()
    assert far.grad.isfinite().all()


def test_any_raw_output_has_a_reciprocal_and_a_slope():
    link = get_link("reciprocal")
    x = torch.tensor([-5.0, 0.0, 1e-7, 1e-6, 2.0], dtype=torch.float64, requires_grad=True)
    log = link.log(x)
    log.sum().backward()
    assert (log[:-1] > log[1:]).all()
    assert (x.grad < 0).all()
    assert link.forward(x)[-1] == 0.5
