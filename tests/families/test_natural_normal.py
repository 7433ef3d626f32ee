"""The normal family by its natural parameter: the same densities, and the gradients of an
exponential family.
"""

import pickle

import pytest
import torch

import disthead as dh
from disthead import DistributionHead, DistributionRegressor
from disthead.training import DistributionModule
from tests.training.test_objective import table

LINKS = ["softplus", "exp"]
NATURAL = {"parametrization": "natural"}


def family(link):
    natural = dh.get_family("normal", **NATURAL)
    return natural, natural.resolve_links({"scale": link})


@pytest.mark.parametrize("link", LINKS)
def test_the_density_is_that_of_the_normal(link):
    natural, links = family(link)
    raw = torch.tensor([[0.5, -1.0], [-2.0, 0.3], [3.0, 2.0]], dtype=torch.float64)
    dist = natural.from_raw(raw, links)
    scale = links["scale"].forward(raw[:, 1])
    expected = torch.distributions.Normal(raw[:, 0] * scale**2, scale)
    y = torch.tensor([0.0, 1.0, 30.0], dtype=torch.float64)
    torch.testing.assert_close(dist.log_prob(y), expected.log_prob(y))
    torch.testing.assert_close(dist.mean, expected.mean)
    # back to the raw outputs
    back = natural.unconstrain(dist.parameters, links)
    torch.testing.assert_close(torch.stack([back["loc"], back["scale"]], -1), raw)


@pytest.mark.parametrize("link", LINKS)
def test_gradients_are_those_of_an_exponential_family(link):
    """By the natural parameters: y - E[Y] and y^2 - E[Y^2]."""
    natural, links = family(link)
    raw = torch.tensor([[0.5, -1.0], [-2.0, 0.3]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.0, 1.0], dtype=torch.float64)
    dist = natural.from_raw(raw, links)
    [gradient] = torch.autograd.grad(dist.log_prob(y).sum(), raw)
    mean, variance = dist.mean.detach(), dist.variance.detach()
    torch.testing.assert_close(gradient[:, 0], y - mean)
    second = y**2 - (mean**2 + variance)
    if link == "exp":  # the second parameter is -exp(-2 raw) / 2
        torch.testing.assert_close(gradient[:, 1], second * (-2 * raw[:, 1]).exp().detach())
    assert torch.autograd.gradcheck(lambda raw: natural.from_raw(raw, links).log_prob(y), raw)


def test_heads_start_at_the_unconditional_fit_in_the_units_of_the_target():
    y = torch.tensor([90_000.0, 100_000.0, 125_000.0])
    for standardise in (True, False):
        head, plain = (
            DistributionHead("normal", 3, **options).initialize(y, standardise=standardise)
            for options in (NATURAL, {})
        )
        zeros = torch.zeros(2, 3)
        torch.testing.assert_close(head(zeros).loc, plain(zeros).loc, rtol=1e-3, atol=0.0)
        torch.testing.assert_close(head(zeros).scale, plain(zeros).scale, rtol=1e-3, atol=0.0)
        params = head.params(zeros)
        torch.testing.assert_close(params["loc"], head(zeros).loc)
    again = pickle.loads(pickle.dumps(head))
    assert torch.equal(again(zeros).loc, head(zeros).loc)


def test_a_fixed_location_is_a_location():
    head = DistributionHead("normal", 3, fixed={"loc": 2.0}, **NATURAL)
    torch.testing.assert_close(head(torch.randn(4, 3)).loc, torch.full((4,), 2.0))
    head = DistributionHead("normal", 3, fixed={"scale": 2.0}, **NATURAL)
    features = torch.randn(4, 3)
    torch.testing.assert_close(head(features).loc, 4 * head.linear(features)[:, 0])


def test_it_trains(tmp_path):
    frame = table("normal", 120)
    X, y = frame[["x", "z"]], frame["y"]
    model = DistributionRegressor(
        "normal", NATURAL, hidden_sizes=(8,), max_steps=200, random_state=0
    ).fit(X, y)
    error = model.predict_dist(X).mean.sub(torch.tensor(y.to_numpy())).std()
    assert error < 0.5 * y.std()
    again = DistributionRegressor.load(model.save(tmp_path / "model"))
    assert again.predict(X) == pytest.approx(model.predict(X))
    module = DistributionModule("normal", NATURAL, in_features=2, objective="beta_nll")
    assert module(torch.zeros(5, 2)).batch_shape == (5,)


def test_another_parametrization_is_refused():
    with pytest.raises(
        ValueError, match="unknown parametrization 'naturel'; did you mean 'natural'"
    ):
        dh.get_family("normal", parametrization="naturel")
