"""Links are invertible, and their logarithms and logits are those of their values where values do
not round.
"""

import pytest
import torch

from disthead.links import LINKS, get_link

every_link = pytest.mark.parametrize("link", LINKS.values(), ids=str)


def raw(link, generator, rows=50):
    shape = (3, 3) if link.name == "scale_tril" else (4,) if link.name == "softmax" else ()
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
    if link.is_positive:
        torch.testing.assert_close(link.log(x), link.forward(x).log(), rtol=1e-12, atol=1e-12)
    if link.has_logits and link.name in ("sigmoid", "probit"):
        torch.testing.assert_close(link.logits(x), link.forward(x).logit(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["softplus", "exp", "scale_tril"])
def test_a_shifted_link_adds_to_the_least_value_and_comes_back(name, generator):
    link, lowest = get_link(name).shifted(0.5), -200.0
    values = link.forward(raw(link, generator))
    torch.testing.assert_close(link.forward(link.inverse(values)), values, rtol=1e-10, atol=1e-12)
    least = link.forward(torch.full(link.raw_shape((3, 3)), lowest, dtype=torch.float64))
    least = least.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(least, torch.full_like(least, 0.5))
