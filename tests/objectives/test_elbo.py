"""Bounds of the likelihood against the exact one of a linear-Gaussian model."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

import disthead as dh
from disthead.objectives import check_objective

ROWS, LATENTS, OUTPUTS, NOISE = 5, 2, 3, 0.7
NORMAL = dh.get_family("normal").distribution
GENERATOR = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(OUTPUTS, LATENTS, generator=GENERATOR, dtype=torch.float64)
Y = torch.randn(ROWS, OUTPUTS, generator=GENERATOR, dtype=torch.float64)
# z ~ N(0, I), y | z ~ N(WEIGHT z, NOISE^2 I)
PRIOR = NORMAL(loc=torch.zeros(LATENTS, dtype=torch.float64), scale=1.0).to_event(1)


def decode(z):
    return NORMAL(loc=z @ WEIGHT.T, scale=NOISE).to_event(1)


def exact_log_likelihood():
    covariance = WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(OUTPUTS, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(OUTPUTS, dtype=torch.float64), covariance).log_prob(Y)


def exact_posterior():
    precision = torch.eye(LATENTS, dtype=torch.float64) + WEIGHT.T @ WEIGHT / NOISE**2
    covariance = precision.inverse()
    return MultivariateNormal(Y @ WEIGHT @ covariance / NOISE**2, covariance.expand(ROWS, -1, -1))


def sigma_points(q):
    """Samples in whose place the mean of a quadratic function is its expectation, (2 D, N, D)."""
    steps = math.sqrt(LATENTS) * q.scale_tril.movedim(-1, 0)
    return torch.cat([q.loc + steps, q.loc - steps])


def some_posterior():
    q = exact_posterior()
    return MultivariateNormal(q.loc + 0.3, scale_tril=q.scale_tril * 1.5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_the_gap_is_the_divergence_from_the_exact_posterior(beta):
    q, p = some_posterior(), exact_posterior()
    z = sigma_points(q)
    standard = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    loss = dh.objectives.elbo(beta)(decode(z), Y, q, standard)
    gap = torch.distributions.kl_divergence(q, p)
    of_prior = torch.distributions.kl_divergence(q, standard)
    expected = -exact_log_likelihood() + gap + (beta - 1) * of_prior
    torch.testing.assert_close(loss, expected)
    if beta == 1:
        assert (loss >= -exact_log_likelihood()).all()


def test_it_is_exact_at_the_exact_posterior():
    q = exact_posterior()
    standard = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    loss = dh.objectives.elbo()(decode(sigma_points(q)), Y, q, standard)
    torch.testing.assert_close(loss, -exact_log_likelihood())
    z = q.sample((3,))
    loss = dh.objectives.iwae(decode(z), Y, q, PRIOR, z)
    torch.testing.assert_close(loss, -exact_log_likelihood())


def diagonal_posterior():
    q = some_posterior()
    return NORMAL(loc=q.loc, scale=q.stddev).to_event(1)


def test_importance_weights_tighten_the_bound():
    q = diagonal_posterior()
    z = q.rsample((4000,), generator=torch.Generator().manual_seed(0))
    exact = -exact_log_likelihood()
    loss = dh.objectives.iwae(decode(z), Y, q, PRIOR, z)
    torch.testing.assert_close(loss, exact, atol=0.03, rtol=0)
    elbo = dh.objectives.elbo()(decode(z), Y, q, PRIOR)
    few = torch.stack(
        [dh.objectives.iwae(decode(part), Y, q, PRIOR, part) for part in z.split(5)]
    ).mean(0)
    assert (elbo > few).all()
    assert (few > exact).all()
    one = torch.stack(
        [dh.objectives.iwae(decode(part), Y, q, PRIOR, part) for part in z[:200].split(1)]
    ).mean(0)
    by_hand = -(decode(z[:200]).log_prob(Y) + PRIOR.log_prob(z[:200]) - q.log_prob(z[:200])).mean(0)
    torch.testing.assert_close(one, by_hand)


def test_one_sample_needs_no_dimension_of_samples():
    q = diagonal_posterior()
    z = q.rsample()
    plain = dh.objectives.elbo()(decode(z), Y, q, PRIOR)
    torch.testing.assert_close(plain, dh.objectives.elbo()(decode(z[None]), Y, q, PRIOR))
    assert plain.shape == (ROWS,)


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "gamma"])
def test_a_decoder_may_be_of_any_family(family):
    noise = torch.randn(3, ROWS, LATENTS, generator=GENERATOR, dtype=torch.float64)
    torch.manual_seed(0)
    head = dh.DistributionHead(family, in_features=LATENTS).double()
    y = head(noise[0]).sample().double()

    def loss(loc, scale):
        q = NORMAL(loc=loc, scale=scale).to_event(1)
        z = loc + scale * noise
        return dh.objectives.elbo(2.0)(head(z), y, q, PRIOR), dh.objectives.iwae(
            head(z), y, q, PRIOR, z
        )

    loc = torch.zeros(ROWS, LATENTS, dtype=torch.float64, requires_grad=True)
    scale = torch.full((ROWS, LATENTS), 0.5, dtype=torch.float64, requires_grad=True)
    assert [value.shape for value in loss(loc, scale)] == [(ROWS,), (ROWS,)]
    assert torch.autograd.gradcheck(loss, (loc, scale), fast_mode=True)


def test_wrong_input_says_what_to_do():
    q, z = diagonal_posterior(), torch.zeros(ROWS, LATENTS, dtype=torch.float64)
    objective = dh.objectives.elbo()
    with pytest.raises(ValueError, match=r"batch_shape \(5, 2\) of the posterior.*to_event\(1\)"):
        objective(decode(z), Y, q.base, PRIOR.base)
    with pytest.raises(ValueError, match=r"dist, .*batch_shape \(5,\) of the posterior, got \(4,"):
        objective(decode(z[:4]), Y[:4], q, PRIOR)
    wrong = NORMAL(loc=torch.zeros(3, 1, 2, dtype=torch.float64), scale=1.0).to_event(1)
    with pytest.raises(ValueError, match=r"divergence of posterior and prior .*got \(3, 5\)"):
        objective(decode(z), Y, q, wrong)
    with pytest.raises(ValueError, match=r"y must have the shape \(5, 3\)"):
        objective(decode(z[None]), Y[:, :2], q, PRIOR)
    with pytest.raises(NotImplementedError, match=r"have no divergence .*or iwae, which needs"):
        objective(decode(z), Y, q, exact_posterior())
    for bound in (objective, lambda *args: dh.objectives.iwae(*args, z)):
        with pytest.raises(ValueError, match=r"event_shape, got \(2,\) and \(\).*to_event\(1\)"):
            bound(decode(z), Y, q, PRIOR.base)
        with pytest.raises(ValueError, match=r"dist must be a distribution.* got Tensor"):
            bound(z, Y, q, PRIOR)
        with pytest.raises(ValueError, match=r"prior must be a distribution.* got Tensor"):
            bound(decode(z), Y, q, z)
    with pytest.raises(ValueError, match=r"latents must have the shape \(5, 2\).*got \(4, 2\)"):
        dh.objectives.iwae(decode(z), Y, q, PRIOR, z[:4])
    with pytest.raises(NotImplementedError, match="Independent has no iwae without the samples"):
        dh.objectives.iwae(decode(z), Y, q, PRIOR)
    with pytest.raises(ValueError, match=r"beta must be a number of 0 or more, got -1"):
        dh.objectives.elbo(beta=-1)
    with pytest.raises(
        ValueError,
        match=r"'elbo' cannot train .*Normal has no elbo without a posterior and a prior",
    ):
        check_objective(objective, dh.get_family("normal"))


def test_a_batch_may_be_empty():
    q = NORMAL(loc=torch.zeros(0, LATENTS), scale=0.5).to_event(1)
    prior = NORMAL(loc=torch.zeros(LATENTS), scale=1.0).to_event(1)
    decoded, y = NORMAL(loc=torch.zeros(0), scale=1.0), torch.zeros(0)
    assert dh.objectives.elbo()(decoded, y, q, prior).shape == (0,)
    assert dh.objectives.iwae(decoded, y, q, prior, torch.zeros(0, LATENTS)).shape == (0,)
