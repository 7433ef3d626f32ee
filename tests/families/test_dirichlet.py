"""Compositions: claims that outsiders check."""

import math

import numpy as np
import pytest
import scipy.stats as st
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.distributions.scores import draw
from disthead.errors import TargetError
from tests.cases import NAMED


def test_scipy_agrees():
    dist = NAMED["dirichlet"].dist()
    truth = st.dirichlet(dist.concentration.numpy())
    y = dist.sample((5,), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(dist.log_prob(y), truth.logpdf((y / y.sum(-1, True)).T), rtol=1e-11)
    np.testing.assert_allclose(dist.entropy(), truth.entropy(), rtol=1e-11)
    np.testing.assert_allclose(dist.mean, truth.mean())
    np.testing.assert_allclose(dist.variance, truth.var())
    np.testing.assert_allclose(dist.covariance, truth.cov(), rtol=1e-12)


def test_two_parts_are_a_beta():
    a = torch.tensor([1.7, 0.6], dtype=torch.float64)
    dist = dh.get_family("dirichlet", event_shape=(2,)).distribution(concentration=a)
    share = dh.get_family("beta").distribution(concentration1=a[0], concentration0=a[1])
    y = torch.tensor([0.01, 0.3, 0.9], dtype=torch.float64)
    pair = torch.stack([y, 1 - y], -1)
    torch.testing.assert_close(dist.log_prob(pair), share.log_prob(y))
    torch.testing.assert_close(dist.entropy(), share.entropy())
    torch.testing.assert_close(dist.marginals.cdf(pair)[:, 0], share.cdf(y))


def test_both_parametrizations_are_one_distribution():
    by_mean = NAMED["dirichlet by mean"].dist()
    dist = dh.get_family("dirichlet", event_shape=(3,)).distribution(
        concentration=by_mean.concentration
    )
    y = dist.sample((5,))
    torch.testing.assert_close(by_mean.log_prob(y), dist.log_prob(y))
    torch.testing.assert_close(by_mean.covariance, dist.covariance)
    torch.testing.assert_close(by_mean.mean, dist.mean)
    torch.testing.assert_close(
        kl_divergence(by_mean, dist), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("concentration", [[2.0, 0.7, 3.0], [1e-3, 2e-3, 5e-4]])
def test_samples_and_their_gradients_have_the_moments_of_the_formulas(concentration):
    torch.manual_seed(3)
    a = torch.tensor(concentration, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    family = dh.get_family("dirichlet", event_shape=(3,))
    copies = a.detach().expand(20_000, 3).clone().requires_grad_()
    y = family.distribution(concentration=copies).rsample()
    (single,) = torch.autograd.grad((y @ weights).sum(), copies)
    (exact,) = torch.autograd.grad(family.distribution(concentration=a).mean @ weights, a)
    for values, mean in ((single, exact), (y.detach(), a.detach() / a.detach().sum())):
        error = values.std(0) / math.sqrt(len(values))
        assert ((values.mean(0) - mean).abs() < 4.5 * error).all()


def test_entropy_and_divergence_are_those_of_samples():
    p, q = (NAMED["dirichlet"].dist(shift=shift) for shift in (0.0, 0.4))
    y = draw(p, 20_000, torch.Generator().manual_seed(1))
    for terms, exact in (
        (-p.log_prob(y), p.entropy()),
        (p.log_prob(y) - q.log_prob(y), kl_divergence(p, q)),
    ):
        assert abs(terms.mean() - exact) < 4.5 * terms.std() / math.sqrt(len(y))


def test_parts_of_zero_are_refused_with_what_to_do():
    family = dh.get_family("dirichlet", event_shape=(3,))
    with pytest.raises(TargetError, match="replace them by a stated small amount"):
        family.check_target(torch.tensor([[0.0, 0.5, 0.5]]))
    with pytest.raises(TargetError, match="sum_k y_k = 1"):
        family.check_target(torch.tensor([[0.1, 0.5, 0.5]]))
