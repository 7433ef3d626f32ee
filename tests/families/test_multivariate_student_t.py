"""The multivariate t distribution: claims that outsiders check."""

import math

import numpy as np
import scipy.stats as st
import torch

import disthead as dh
from disthead.families.multivariate_normal import MultivariateNormal
from disthead.families.multivariate_student_t import MultivariateStudentT
from disthead.families.student_t import StudentT
from tests.cases import NAMED


def test_scipy_agrees():
    dist = NAMED["multivariate_student_t"].dist()
    shape = (dist.scale_tril @ dist.scale_tril.mT).numpy()
    truth = st.multivariate_t(dist.loc.numpy(), shape, float(dist.df))
    y = dist.sample((5,), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(dist.log_prob(y), truth.logpdf(y.numpy()), rtol=1e-11)
    np.testing.assert_allclose(dist.entropy(), truth.entropy(), rtol=1e-10)


def test_one_output_is_student_t_and_many_degrees_of_freedom_are_normal():
    y = torch.tensor([-3.0, 0.2, 7.0], dtype=torch.float64)
    scale = torch.tensor([[2.0]], dtype=torch.float64)
    one = MultivariateStudentT(3.5, torch.tensor([0.5], dtype=torch.float64), scale)
    alone = StudentT(3.5, 0.5, scale[0, 0])
    torch.testing.assert_close(one.log_prob(y.unsqueeze(-1)), alone.log_prob(y))
    torch.testing.assert_close(one.entropy(), alone.entropy())
    case = NAMED["multivariate_student_t"].dist()
    heavy = MultivariateStudentT(1e12, case.loc, case.scale_tril)
    normal = MultivariateNormal(case.loc, case.scale_tril)
    torch.testing.assert_close(heavy.log_prob(y), normal.log_prob(y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(heavy.entropy(), normal.entropy(), rtol=1e-9, atol=1e-9)


def test_samples_have_the_distances_marginals_and_gradients_of_the_formulas():
    torch.manual_seed(4)
    case = NAMED["multivariate_student_t"]
    dist = case.dist()
    y = dist.sample((20_000,))
    squared = dist.mahalanobis(y).square() / 3
    assert st.kstest(squared.numpy(), st.f(3, float(dist.df)).cdf).pvalue > 1e-4
    pit = dist.marginals.cdf(y)
    for k in range(3):
        assert st.kstest(pit[:, k].numpy(), "uniform").pvalue > 1e-4
    raw = torch.tensor(case.raw, dtype=torch.float64)

    def bounded(y):
        return torch.tanh(y[..., 0] * y[..., 1]) + torch.cos(y[..., 2])

    copies = raw.repeat(20_000, 1).requires_grad_()
    (single,) = torch.autograd.grad(bounded(case.from_raw(copies).rsample()).sum(), copies)
    # the same derivative by the score function, of other samples
    copies = raw.repeat(20_000, 1).requires_grad_()
    scores = bounded(y) * case.from_raw(copies).log_prob(y)
    (other,) = torch.autograd.grad(scores.sum(), copies)
    error = (single.var(0) + other.var(0)).sqrt() / math.sqrt(20_000)
    assert ((single.mean(0) - other.mean(0)).abs() < 4.5 * error).all()


def test_covariance_is_that_of_the_definition():
    dist = NAMED["multivariate_student_t"].dist()
    factor = dist.df / (dist.df - 2)
    torch.testing.assert_close(dist.covariance, factor * (dist.scale_tril @ dist.scale_tril.mT))
    torch.testing.assert_close(dist.covariance.diagonal(), dist.variance)
    torch.testing.assert_close(dist.marginals.variance, dist.variance)


def test_the_fit_finds_the_parameters_among_outliers():
    generator = torch.Generator().manual_seed(1)
    scale = torch.tensor([[1.0, 0.0], [1.5, 0.5]], dtype=torch.float64)
    truth = MultivariateStudentT(3.0, torch.tensor([1.0, -2.0], dtype=torch.float64), scale)
    y = truth.sample((4000,), generator)
    head = dh.DistributionHead("multivariate_student_t", 1, event_shape=(2,), shared="all")
    head = head.double()
    head.initialize(y)
    dist = head(torch.zeros(1, 1, dtype=torch.float64)).map(torch.detach)
    assert abs(float(dist.df) - 3) < 0.4
    torch.testing.assert_close(dist.loc[0], truth.loc, rtol=0, atol=0.15)
    torch.testing.assert_close(dist.scale_tril[0], scale, rtol=0, atol=0.1)
