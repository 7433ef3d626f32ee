"""The names of version 0.1 work, with a warning of each: of families, links and modules."""

import copy
import math
import pickle

import pytest
import torch
from torch.distributions import constraints

import disthead as dh
from disthead import capabilities, surface
from disthead.families.normal import Normal
from disthead.special import fast

NORMAL = type(dh.get_family("normal"))


def declared() -> type[dh.Family]:
    """A family as it was declared, with a formula and a start of its own."""

    class Former(NORMAL):
        quick = Normal
        scored = constraints.real
        known = {"exposure": constraints.positive}

        def score(self, y, loc, scale):
            value, *slopes = Normal.log_prob_and_grad(y, loc, scale)
            return (value + 1, *slopes)

        def start(self, y):
            return {"loc": y.mean(0) + 1, "scale": y.std(0)}

    return Former


def test_a_family_that_is_declared_by_former_names():
    with pytest.warns(DeprecationWarning, match="the former name goes") as warnings:
        family = declared()()
    told = " ".join(str(warning.message) for warning in warnings)
    for name in (
        "log_prob_and_grad",
        "distribution_class",
        "loss_support",
        "row_constants",
        "initial_estimate",
    ):
        assert name in told
    raw, y = torch.zeros(3, 2), torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(
        family.from_raw(raw).log_prob(y), dh.get_family("normal").from_raw(raw).log_prob(y) + 1
    )
    assert family.initial_estimate(y)["loc"] == 2
    with pytest.warns(DeprecationWarning, match="start is called initial_estimate"):
        assert family.start(y)["loc"] == 2
    with pytest.warns(DeprecationWarning, match="known is called row_constants"):
        assert family.known is family.row_constants
    with pytest.warns(DeprecationWarning, match="linked is called from_raw"):
        torch.testing.assert_close(family.linked(raw, family.parameters).loc, torch.zeros(3))
    with pytest.warns(DeprecationWarning, match="quick is called distribution_class"):
        family.quick = None
    assert family.distribution_class is None
    with pytest.raises(AttributeError, match="no attribute 'quik'"):
        _ = family.quik


def test_a_link_that_is_declared_by_a_former_name():
    with pytest.warns(DeprecationWarning, match="value_and_slope"):
        link = dh.Link(
            "mine",
            "exp(x)",
            constraints.positive,
            torch.exp,
            torch.log,
            log=lambda x: x,
            quick=fast.exponential,
        )
    head, features, y = (
        dh.DistributionHead("normal", 2, links={"scale": link}),
        torch.randn(5, 2),
        torch.zeros(5),
    )
    loc, log_scale = head.linear(features).unbind(-1)
    expected = -0.5 * (loc / log_scale.exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(head(features).log_prob(y), expected)


def test_the_module_of_capabilities_by_its_former_names():
    for former, name in (
        ("surface", "capabilities"),
        ("QUESTIONS", "METHODS"),
        ("matrix", "capabilities_table"),
    ):
        with pytest.warns(DeprecationWarning, match=f"disthead.capabilities.{name} now"):
            assert getattr(surface, former) is getattr(capabilities, name)
    with pytest.raises(AttributeError, match="no attribute 'question'"):
        _ = surface.question


def test_formulas_are_made_once_and_copied_whole():
    family = dh.get_family("normal")
    assert family is dh.get_family("normal")
    assert family.formula() is family.formula(dict(family.parameters))
    links = family.resolve_links({"scale": "exp"})
    assert family.formula(links) is family.formula(dict(links)) is not family.formula()
    head = dh.DistributionHead("normal", 2)
    dh.nll(head(torch.zeros(3, 2)), torch.zeros(3)).backward()
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        torch.testing.assert_close(other(torch.ones(1, 2)).loc, head(torch.ones(1, 2)).loc)
        dh.nll(other(torch.zeros(3, 2)), torch.zeros(3)).backward()
