"""The Gaussian copula: claims that outsiders check."""

import math

import pytest
import scipy.stats as st
import torch

import disthead as dh
from disthead.calibration import ScaleCalibration
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


@pytest.mark.parametrize("marginal", ["poisson", "von_mises"])
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


@pytest.mark.parametrize("marginal", ["quantile_function", "mixture", "histogram"])
def test_marginals_of_free_form(marginal):
    family = dh.get_family("gaussian_copula", event_shape=(2,), marginal=marginal)
    generator = torch.Generator().manual_seed(0)
    raw = 0.3 * torch.randn(5, family.width(), generator=generator, dtype=torch.float64)
    dist = family.from_raw(raw.requires_grad_())
    y = dist.sample(generator=generator)
    # the formula of Song 2000, from the marginals' own answers
    z = normal_scores(dist.marginals, y)
    normal = MultivariateNormal(torch.zeros(2).double(), scale_tril=dist.correlation_tril)
    alone = Normal(torch.zeros(2).double(), 1.0).log_prob(z).sum(-1)
    expected = dist.marginals.log_prob(y).sum(-1) + normal.log_prob(z) - alone
    torch.testing.assert_close(dist.log_prob(y), expected)
    assert torch.autograd.grad(dist.log_prob(y).sum(), raw)[0].isfinite().all()
    assert dist[1:3].mean.shape == (2, 2)
    assert dist.support is torch.distributions.constraints.real_vector


@pytest.mark.parametrize("marginal", ["normal", "quantile_function"])
def test_scales_of_the_whole_line_are_recalibrated(marginal):
    family = dh.get_family("gaussian_copula", event_shape=(2,), marginal=marginal)
    generator = torch.Generator().manual_seed(0)
    base = family.from_raw(torch.zeros(300, family.width(), dtype=torch.float64))
    for dist in (base, base.affine(torch.ones(2).double(), torch.tensor(2.0).double())):
        median = dist.median
        wide = median + 1.5 * (dist.sample(generator=generator) - median)
        fitted = ScaleCalibration().fit(dist, wide)
        torch.testing.assert_close(
            fitted.scale, torch.full_like(fitted.scale, 1.5), rtol=0.15, atol=0
        )
        assert fitted(dist).log_prob(wide).mean() > dist.log_prob(wide).mean()
