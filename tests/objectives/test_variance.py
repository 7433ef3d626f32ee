"""Cures of the collapsing variance: their gradients, by the papers' formulas and by those of the
squared error and the likelihood.
"""

import numpy as np
import pytest
import torch

import disthead as dh
from disthead.objectives import get_objective, specification
from disthead.training import DistributionModule
from tests.cases import NAMED, SAMPLE
from tests.objectives.table import VARIANCE
from tests.objectives.test_objectives import draw

ROWS = {row.name: row for row in VARIANCE}


def gradients(values, *parameters):
    return torch.autograd.grad(values.sum(), parameters)


def normal(loc, scale):
    return dh.get_family("normal").distribution(loc=loc, scale=scale)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_nll_of_a_normal_is_that_of_the_paper(beta):
    loc = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([1.0, 1.5, 4.0], dtype=torch.float64)
    values = dh.objectives.beta_nll(beta)(normal(loc, scale), y)
    by_loc, by_scale = gradients(values, loc, scale)
    variance, error = scale.detach() ** 2, loc.detach() - y
    nll = 0.5 * (variance.log() + error**2 / variance + np.log(2 * np.pi))
    torch.testing.assert_close(values, variance**beta * nll)
    torch.testing.assert_close(by_loc, error * variance ** (beta - 1))
    # by the variance: (variance - error^2) / (2 variance^(2 - beta))
    by_variance = (variance - error**2) / (2 * variance ** (2 - beta))
    torch.testing.assert_close(by_scale, by_variance * 2 * scale.detach())


@pytest.mark.parametrize("name", [name for name in ROWS["beta_nll"].cases if name != "truncated"])
def test_the_gradient_of_beta_nll_is_a_multiple_of_that_of_the_likelihood(name):
    row, case = ROWS["beta_nll"], NAMED[name]
    raw, y = draw(row, case)
    if case.event_shape:
        pytest.skip("each output has a weight of its own")
    [ours] = gradients(row.make()(case.from_raw(raw), y), raw)
    [theirs] = gradients(dh.objectives.nll(case.from_raw(raw), y), raw)
    weight = (row.reference(case.from_raw(raw), y) / dh.objectives.nll(case.from_raw(raw), y)).abs()
    torch.testing.assert_close(ours, weight.detach().unsqueeze(1) * theirs)


def test_outputs_add_up_as_in_the_likelihood():
    loc, y = torch.zeros(2, 3), torch.tensor([[0.0, 1.0, 5.0], [2.0, 2.0, 2.0]])
    dist = normal(loc, torch.tensor([0.5, 1.0, 2.0]))
    for name in ("beta_nll", "faithful"):
        objective = get_objective(name)
        torch.testing.assert_close(objective(dist.to_event(1), y), objective(dist, y).sum(1))
    torch.testing.assert_close(
        dh.objectives.beta_nll(0)(dist.to_event(1), y), dh.objectives.nll(dist.to_event(1), y)
    )


@pytest.mark.parametrize("name", ROWS["faithful"].cases)
def test_faithful_learns_the_mean_by_the_squared_error_and_the_rest_by_the_likelihood(name):
    """Each raw output belongs to one parameter, so that the gradient has two parts."""
    row, case = ROWS["faithful"], NAMED[name]
    raw, y = draw(row, case)
    [ours] = gradients(dh.objectives.faithful(case.from_raw(raw), y), raw)
    dist = case.from_raw(raw)
    mean = dist.mean if "mean" in dist.parameters else dist.loc  # nan for df of 1 and below
    [of_error] = gradients(0.5 * (y - mean).square(), raw)
    [of_likelihood] = gradients(dh.objectives.nll(case.from_raw(raw), y), raw)
    belongs = of_error.ne(0).any(tuple(range(of_error.ndim - 1)))
    assert belongs.any()
    assert not belongs.all()
    expected = torch.where(belongs, of_error, of_likelihood)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)


def test_the_first_steps_of_warm_up_learn_the_mean():
    objective = get_objective("warm_up", steps=5, objective={"name": "beta_nll", "beta": 1})
    loc = torch.zeros(2, requires_grad=True)
    scale = torch.full((2,), 3.0, requires_grad=True)
    y = torch.tensor([1.0, -2.0])
    first = objective.at_step(4)(normal(loc, scale), y)
    by_loc, by_scale = torch.autograd.grad(first.sum(), (loc, scale), allow_unused=True)
    torch.testing.assert_close(by_loc, -y)
    assert by_scale is None or not by_scale.any()
    assert objective.at_step(5) == dh.objectives.beta_nll(1)
    torch.testing.assert_close(
        objective(normal(loc, scale), y), dh.objectives.beta_nll(1)(normal(loc, scale), y)
    )
    assert get_objective(specification(objective)) == objective
    for heavy in ("student_t", "student_t heavy"):
        raw, y = draw(ROWS["warm_up"], NAMED[heavy])
        dist = NAMED[heavy].from_raw(raw)
        torch.testing.assert_close(objective.at_step(0)(dist, y), 0.5 * (y - dist.loc) ** 2)


@pytest.mark.parametrize(
    "family, message",
    [
        ("cauchy", "Cauchy has no warm_up: it has no mean .*Take nll"),
        ("categorical", "Categorical has no warm_up: it has no mean"),
        ("von_mises", "VonMises has no warm_up: the distance of directions is not squared"),
    ],
)
def test_warm_up_needs_a_mean(family, message):
    with pytest.raises(ValueError, match=rf"'warm_up' cannot train .*{message}.*Try 'nll'"):
        DistributionModule(family, objective="warm_up")


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("beta_nll", {"beta": 1.5}, "beta must be a number from 0 to 1, got 1.5"),
        ("beta_nll", {"beta": "half"}, "beta must be a number from 0 to 1, got 'half'"),
        ("warm_up", {"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ("warm_up", {"objective": "nlll"}, "unknown objective 'nlll'; did you mean 'nll'"),
        ("warm_up", {"objective": abs}, "objective of warm_up must be a name, such as 'nll'"),
        ("warm_up", {"objective": "warm_up"}, "must neither learn values nor change"),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(ValueError, match=message):
        get_objective(name, **options)


def test_truth_values_are_outcomes_in_the_first_steps():
    dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([0.25, 0.25]))
    values = get_objective("warm_up").at_step(0)(dist, torch.tensor([True, False]))
    torch.testing.assert_close(values, torch.tensor([0.75, 0.25]) ** 2 / 2)


def test_any_number_of_dimensions():
    loc = torch.zeros(2, 3, 4, dtype=torch.float64)
    y = torch.randn(loc.shape, dtype=torch.float64)
    for name in ("beta_nll", "faithful"):
        objective = get_objective(name)
        values = objective(normal(loc, 2.0), y)
        assert values.dtype == torch.float64
        torch.testing.assert_close(
            values, objective(normal(loc.flatten(), 2.0), y.flatten()).view(2, 3, 4)
        )
        assert objective(normal(loc[0, 0, 0], 2.0), y[0, 0, 0]).shape == ()


def test_a_censored_target_has_no_squared_error():
    family = dh.get_family("censored", base="normal")
    dist = family.distribution(loc=torch.zeros(1), scale=1.0)
    pair = torch.tensor([[0.0, torch.inf]])
    with pytest.raises(NotImplementedError, match=r"'warm_up' needs observed targets.*Train by"):
        get_objective("warm_up").at_step(0)(dist, pair)
    assert dh.objectives.beta_nll()(dist, pair).isfinite().all()


@pytest.mark.parametrize("name", ["beta_nll", "faithful"])
@pytest.mark.parametrize("family", ["normal", "student_t", "laplace"])
def test_extreme_raw_outputs_and_single_precision(name, family):
    family = dh.get_family(family)
    raw = torch.tensor([-30.0, 30.0]).repeat(family.width(), 1).T.contiguous().requires_grad_()
    y = torch.tensor([0.0, 1e3])
    values = get_objective(name)(family.from_raw(raw), y)
    assert values.dtype == torch.float32
    [gradient] = gradients(values, raw)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert y.tolist() == [0.0, 1e3]


def test_every_family_with_a_variance_takes_beta_nll():
    """All families of the sample either take it or say why they do not."""
    objective = get_objective("beta_nll")
    taken = set()
    for case in NAMED.values():
        if case.family not in SAMPLE or case.event_shape or case.units is not None:
            continue
        raw, y = draw(ROWS["beta_nll"], case)
        has_variance = "variance" in case.claims or case.family == "cauchy"
        if has_variance:
            assert objective(case.from_raw(raw), y).shape == (2,)
            taken.add(case.family)
        else:
            with pytest.raises(NotImplementedError, match="has no beta_nll: it has no variance"):
                objective(case.from_raw(raw), y)
    assert {"normal", "gamma", "poisson", "mixture", "von_mises", "hurdle"} <= taken
