"""The Gaussian copula: claims that outsiders check."""

import math

import pytest
import scipy.stats as st
import torch

import disthead as dh
from disthead.families.gaussian_copula import GaussianCopula, normal_scores
from disthead.families.multivariate_normal import MultivariateNormal
from disthead.families.normal import Normal
from tests.cases import NAMED


def correlated(size: int) -> torch.Tensor:
    raw = torch.linspace(-0.5, 0.9, size * (size - 1) // 2, dtype=torch.float64)
    return dh.get_link("correlation_tril").forward(raw)


def test_normal_marginals_make_a_multivariate_normal():
    factor = correlated(3)
    loc, scale = torch.tensor([[0.3, -1.0, 2.0], [0.5, 2.0, 3.0]], dtype=torch.float64)
    copula = GaussianCopula(Normal(loc, scale), factor)
    normal = MultivariateNormal(loc, scale.unsqueeze(-1) * factor)
    y = normal.sample((5,), torch.Generator().manual_seed(0))
    torch.testing.assert_close(copula.log_prob(y), normal.log_prob(y))
    torch.testing.assert_close(copula.entropy(), normal.entropy())
    far = 1e3 * y  # normal scores of probabilities that underflow
    torch.testing.assert_close(copula.log_prob(far), normal.log_prob(far))


def test_without_correlation_the_numbers_are_independent():
    dist = NAMED["gaussian_copula"].dist()
    alone = GaussianCopula(dist.marginals, torch.eye(3, dtype=torch.float64))
    y = dist.sample((5,), torch.Generator().manual_seed(0))
    torch.testing.assert_close(alone.log_prob(y), dist.marginals.to_event(1).log_prob(y))


def test_samples_have_the_marginals_and_the_correlation_and_the_entropy():
    torch.manual_seed(3)
    case = NAMED["gaussian_copula"]
    dist = case.dist()
    y = dist.sample((20_000,))
    for k in range(3):
        assert st.kstest(dist.marginals.cdf(y)[:, k].numpy(), "uniform").pvalue > 1e-4
    z = normal_scores(dist.marginals, y)
    products = z.unsqueeze(-1) * z.unsqueeze(-2)
    error = products.std(0) / math.sqrt(len(y))
    assert ((products.mean(0) - dist.correlation).abs() < 4.5 * error).all()
    terms = -dist.log_prob(y)
    assert abs(terms.mean() - dist.entropy()) < 4.5 * terms.std() / math.sqrt(len(y))


def test_gradients_of_samples_are_those_of_the_mean():
    torch.manual_seed(4)
    case = NAMED["gaussian_copula"]
    raw = torch.tensor(case.raw, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(case.from_raw(raw).mean.sum(), raw)
    copies = raw.detach().repeat(5_000, 1).requires_grad_()
    (single,) = torch.autograd.grad(case.from_raw(copies).rsample().sum(), copies)
    error = single.std(0) / math.sqrt(len(single))
    assert ((single.mean(0) - exact).abs() < 4.5 * error + 1e-12).all()


@pytest.mark.parametrize("marginal", ["poisson", "von_mises", "mixture"])
def test_marginals_are_numbers_on_the_line(marginal):
    with pytest.raises(ValueError, match="marginal of gaussian_copula must be a family of one"):
        dh.get_family("gaussian_copula", event_shape=(2,), marginal=marginal)


def test_other_units_are_those_of_the_marginals():
    dist = NAMED["gaussian_copula"].dist(torch.float32)
    loc, scale = torch.tensor([1.0, 2.0, 3.0]), torch.tensor(2.0)
    moved, y = dist.affine(loc, scale), dist.sample((4,), torch.Generator().manual_seed(0))
    expected = dist.log_prob(y) - 3 * math.log(2)
    torch.testing.assert_close(moved.log_prob(loc + scale * y), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved.mean, loc + scale * dist.mean)
    assert moved.sample((2,)).shape == (2, 3)
