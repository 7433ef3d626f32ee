"""Objectives of a posterior: a power of the likelihood is a weight of rows; `map` has the optimum
of ridge regression, and the priors' densities.
"""

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn

import disthead as dh
from disthead import DistributionHead
from disthead.losses import loss
from disthead.objectives import get_objective


def test_a_power_is_a_weight_of_rows():
    dist, y = dh.get_family("poisson").distribution(rate=torch.tensor([1.0, 2.0])), [0, 3]
    tempered = loss(dh.objectives.tempered(power=3.0), dist, y, reduction="sum")
    torch.testing.assert_close(tempered, dh.nll(dist, y, weight=[3.0, 3.0], reduction="sum"))
    assert dh.objectives.tempered()(dist, torch.tensor(y)).equal(-dist.log_prob(torch.tensor(y)))


def linear_rows():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    y = 2 + x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    return x, y + torch.randn(40, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("power", [1.0, 4.0])
def test_the_optimum_of_a_linear_head_is_ridge_regression(power):
    """In closed form, with an intercept that has no prior; a power counts rows several times."""
    x, y = linear_rows()
    noise, scale = 0.7, 0.3
    head = DistributionHead("normal", 3, fixed={"scale": noise}).double()
    objective, prior = dh.objectives.tempered(power), dh.objectives.map(scale=scale)
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=1e-18,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        value = loss(objective, head(x), y) + prior.penalty(head.named_parameters(), len(y))
        value.backward()
        return value

    optimizer.step(closure)
    centred = x - x.mean(0)
    precision = power * centred.T @ centred / noise**2 + torch.eye(3) / scale**2
    weights = torch.linalg.solve(precision, power * centred.T @ (y - y.mean()) / noise**2)
    torch.testing.assert_close(head.linear.weight[0], weights, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(head.linear.bias[0], y.mean() - x.mean(0) @ weights)


WEIGHTS = torch.tensor([[-3.0, -0.2, 0.1], [0.5, 1.0, 40.0]], dtype=torch.float64)


def penalty(prior, scale=1.0, weights=WEIGHTS, rows=1):
    return dh.objectives.map(prior, scale).penalty([("linear.weight", weights)], rows)


@pytest.mark.parametrize(
    "prior, other",
    [("normal", torch.distributions.Normal), ("laplace", torch.distributions.Laplace)],
)
def test_priors_are_those_of_torch(prior, other):
    for scale in (0.3, 2.0):
        expected = -other(torch.zeros((), dtype=torch.float64), scale).log_prob(WEIGHTS).sum() / 7
        torch.testing.assert_close(penalty(prior, scale, rows=7), expected)


def test_the_horseshoe_is_between_the_bounds_of_its_density():
    """The density is exp(u^2 / 2) E1(u^2 / 2) / ((2 pi^3)^(1/2) scale), from its integral."""
    scale = 0.3
    w = np.concatenate([np.logspace(-4, 2, 13), -np.logspace(-2, 1, 4)])
    u = w / scale
    x = u**2 / 2
    # scaled for great x, where exp(x) overflows and E1 vanishes
    exact = np.where(
        x < 500,
        np.exp(np.minimum(x, 500)) * scipy.special.exp1(np.minimum(x, 500)),
        1 / x - 1 / x**2 + 2 / x**3,
    ) / (np.sqrt(2 * np.pi**3) * scale)
    ours = np.exp([-penalty("horseshoe", scale, torch.tensor([[value]])).item() for value in w])
    assert (ours <= exact * (1 + 1e-6)).all()
    assert (exact <= 2 * ours).all()
    assert ours[np.abs(u) > 30] == pytest.approx(exact[np.abs(u) > 30], rel=0.01)
    value = torch.tensor([[0.3, -2.0, 10.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: penalty("horseshoe", 0.5, value), value)
    at_zero = torch.zeros(1, 1, requires_grad=True)
    penalty("horseshoe", weights=at_zero).backward()
    assert at_zero.grad.item() == 0


@pytest.mark.parametrize("prior", ["normal", "laplace", "horseshoe"])
def test_only_matrices_have_a_prior(prior):
    head = DistributionHead("normal", 3, event_shape=(2,), shared=["scale"])
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), head)
    objective = dh.objectives.map(prior)
    matrices = [model[0].weight, head.linear.weight]
    expected = objective.penalty([(f"{k}.weight", value) for k, value in enumerate(matrices)], 10)
    torch.testing.assert_close(objective.penalty(model.named_parameters(), 10), expected)
    assert len(list(model.parameters())) == 7
    with pytest.raises(ValueError, match="map needs a model with weights"):
        objective.penalty([("bias", torch.zeros(3))], 10)


@pytest.mark.parametrize(
    "name, options, message",
    [
        (
            "map",
            {"prior": "gaussian"},
            "unknown prior 'gaussian'.*Known: normal, laplace, horseshoe",
        ),
        ("map", {"scale": 0}, "scale must be a finite number above 0, got 0"),
        ("tempered", {"power": -1}, "power must be a finite number above 0, got -1"),
        ("tempered", {"power": float("inf")}, "power must be a finite number above 0, got inf"),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(ValueError, match=message):
        get_objective(name, **options)
