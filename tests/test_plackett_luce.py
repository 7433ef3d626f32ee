"""The one pass of Plackett-Luce: the numbers of a chain of softmaxes, and when it gives way to the
formula for all cases.
"""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import disthead as dh
from disthead.likelihood.rankings import _in_one_pass


def log_prob(scores, y):
    return (
        dh.get_family("plackett_luce", event_shape=scores.shape[-1:]).from_raw(scores).log_prob(y)
    )


def chain(scores, y):
    """One softmax over the items that are left for each place, in double precision."""
    chosen = scores.double().gather(-1, y)
    return sum(chosen[..., place:].log_softmax(-1)[..., 0] for place in range(y.shape[-1]))


def orders(*shape, generator):
    return torch.rand(*shape, generator=generator).argsort(-1)


# of ordinary size, far apart, too far for the one pass
@pytest.mark.parametrize("spread", [1.0, 60.0, 500.0])
@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 40), (3000, 30)])  # the last in several pieces
def test_values_and_gradients_are_those_of_a_chain_of_softmaxes(shape, spread, generator):
    scores = (spread * torch.randn(*shape, generator=generator)).requires_grad_()
    y = orders(*shape, generator=generator)
    weight = torch.linspace(-1, 2, len(y)).reshape(-1, *(1,) * (len(shape) - 2))
    found, expected = log_prob(scores, y), chain(scores, y)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    gradients = [
        torch.autograd.grad((weight * value).sum(), scores)[0] for value in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_which_cases_take_the_one_pass(generator):
    scores, y = torch.randn(4, 6, generator=generator), orders(4, 6, generator=generator)
    partial = torch.where(torch.arange(6) < torch.tensor([6, 6, 2, 6])[:, None], y, -1)
    for given, order, quick in (
        (scores, y, True),
        (100 * scores, y, True),
        (scores, partial, False),
        (scores, y[:, :3], False),
        (scores + torch.tensor([1e3, 0, 0, 0, 0, 0]), y, False),
        (scores * torch.nan, y, False),
    ):
        for wanted in (True, False):
            assert (_in_one_pass(given, order, wanted) is not None) == quick
    whole = [0, 1, 3]
    torch.testing.assert_close(log_prob(scores, partial)[whole], log_prob(scores, y)[whole])


def test_one_distribution_for_many_orders(generator):
    scores, y = (
        torch.randn(6, generator=generator).requires_grad_(),
        orders(3, 4, 6, generator=generator),
    )
    torch.testing.assert_close(log_prob(scores, y).double(), chain(scores.expand(3, 4, 6), y))
    found, expected = (
        torch.autograd.grad(f.sum(), scores)[0]
        for f in (log_prob(scores, y), chain(scores.expand(3, 4, 6), y))
    )
    torch.testing.assert_close(found, expected)


def test_differentiated_twice_and_more_than_once(generator):
    scores = torch.randn(3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    y = orders(3, 5, generator=generator)
    assert gradcheck(lambda scores: log_prob(scores, y), scores)
    assert gradgradcheck(lambda scores: log_prob(scores, y), scores)
    value = log_prob(scores, y).sum()
    first = torch.autograd.grad(value, scores, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(value, scores)[0], first)


def test_functional_transforms(generator):
    scores, y = torch.randn(4, 5, generator=generator), orders(4, 5, generator=generator)
    rows = torch.func.vmap(torch.func.grad(log_prob))(scores, y)
    scores.requires_grad_()
    torch.testing.assert_close(rows, torch.autograd.grad(log_prob(scores, y).sum(), scores)[0])
