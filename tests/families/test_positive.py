"""Claims about the families of positive numbers that anybody can check with other formulas."""

import numpy as np
import pytest
import scipy.stats as st
import torch

import disthead as dh
from disthead.families import (
    Exponential,
    Gamma,
    HalfNormal,
    InverseGamma,
    InverseGaussian,
    Logistic,
    LogNormal,
    Normal,
    Weibull,
)
from disthead.families.generalized_gamma import GeneralizedGamma
from disthead.families.log_logistic import LogLogistic
from disthead.families.log_normal import MeanLogNormal
from disthead.families.pareto import Pareto

Y = torch.tensor([0.02, 0.4, 1.0, 2.5, 30.0], dtype=torch.float64)
ANSWERS = ("log_prob", "cdf", "log_survival", "crps")


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


SPECIAL_CASES = {
    "gamma": (GeneralizedGamma(number(0.5), 1.7, 1.0), Gamma(number(1.7), 2.0)),
    "Weibull": (GeneralizedGamma(number(2.0), 1.0, 1.7), Weibull(number(2.0), 1.7)),
    "half-normal": (GeneralizedGamma(number(2**0.5), 0.5, 2.0), HalfNormal(number(1.0))),
    "mean": (MeanLogNormal(number(2.0), 0.6), LogNormal(number(2.0).log() - 0.18, 0.6)),
}


@pytest.mark.parametrize("name", SPECIAL_CASES)
def test_special_cases(name):
    dist, other = SPECIAL_CASES[name]
    for answer in ANSWERS:
        torch.testing.assert_close(
            getattr(dist, answer)(Y), getattr(other, answer)(Y), rtol=1e-9, atol=1e-12
        )
    for answer in ("mean", "stddev", "median", "mode"):
        torch.testing.assert_close(getattr(dist, answer), getattr(other, answer))
    torch.testing.assert_close(dist.entropy(), other.entropy())


def test_transformed_variables():
    """Absolute values, logarithms and inverses."""
    normal = Normal(number(0.0), 2.0)
    torch.testing.assert_close(HalfNormal(number(2.0)).cdf(Y), normal.cdf(Y) - normal.cdf(-Y))
    logistic = Logistic(number(2.0).log(), 1 / 3)
    torch.testing.assert_close(LogLogistic(number(2.0), 3.0).cdf(Y), logistic.cdf(Y.log()))
    inverse = Gamma(number(2.0), 3.0)
    torch.testing.assert_close(InverseGamma(number(2.0), 3.0).cdf(Y), 1 - inverse.cdf(1 / Y))
    hazard = Exponential(number(3.0))
    torch.testing.assert_close(Pareto(number(0.01), 3.0).cdf(Y), hazard.cdf((Y / 0.01).log()))


def test_the_score_of_the_mean_is_that_of_an_exponential_dispersion_model():
    """The loss of an inverse Gaussian with known concentration is the deviance with mean^3."""
    mean = number(1.7).requires_grad_()
    log_prob = InverseGaussian(mean, 4.0).log_prob(Y)
    slopes = [torch.autograd.grad(one, mean, retain_graph=True)[0] for one in log_prob]
    expected = 4 * (Y - 1.7) / 1.7**3
    torch.testing.assert_close(torch.stack(slopes), expected)


def test_the_mean_of_log_normals_is_their_parameter():
    dist = MeanLogNormal(torch.tensor([0.5, 20.0], dtype=torch.float64), 0.7)
    torch.testing.assert_close(torch.exp(dist.loc + 0.245), dist.mean)


FITTED = {
    "half_normal": (st.halfnorm(scale=2.0), {"floc": 0}),
    "inverse_gaussian": (st.invgauss(0.7, scale=3.0), {"floc": 0}),
    "log_logistic": (st.fisk(2.5, scale=3.0), {"floc": 0}),
    "inverse_gamma": (st.invgamma(2.5, scale=3.0), {"floc": 0}),
    "generalized_gamma": (st.gengamma(1.3, 1.6, scale=3.0), {"floc": 0}),
    "generalized_pareto": (st.genpareto(0.2, scale=3.0), {"floc": 0}),
    "generalized_extreme_value": (st.genextreme(-0.2, 1.0, 3.0), {}),
    "pareto": (st.pareto(2.5), {"floc": 0, "fscale": 1}),
}


@pytest.mark.parametrize("name", FITTED)
def test_the_unconditional_fit_has_the_maximum_likelihood(name):
    frozen, fixed = FITTED[name]
    y = frozen.rvs(300, random_state=np.random.default_rng(0))
    parameters = frozen.dist.fit(y, **fixed)
    best = frozen.dist.logpdf(y, *parameters).sum()
    dist = dh.marginal(name, torch.from_numpy(y))
    assert float(dist.log_prob(torch.from_numpy(y)).sum()) > best - 1e-3
