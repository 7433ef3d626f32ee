"""The wrapped Cauchy distribution: claims that outsiders check."""

import math

import numpy as np
import scipy.stats as st
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.calibration import ScaleCalibration
from disthead.families.wrapped_cauchy import WrappedCauchy


def test_it_is_a_cauchy_number_wound_around_the_circle():
    loc, scale = 0.7, 0.4
    turns = 2 * math.pi * np.arange(-200_000, 200_001)
    dist = WrappedCauchy(loc, torch.tensor(math.exp(-scale), dtype=torch.float64))
    for y in (-2.0, 0.5, 3.0):
        summed = st.cauchy(loc, scale).pdf(y + turns).sum()
        np.testing.assert_allclose(dist.log_prob(torch.tensor(y)).exp(), summed, rtol=1e-6)


def test_scipy_agrees():
    c, y = 0.6, torch.linspace(0.01, math.pi, 9, dtype=torch.float64)
    dist, truth = WrappedCauchy(0.0, torch.tensor(c, dtype=torch.float64)), st.wrapcauchy(c)
    np.testing.assert_allclose(dist.log_prob(y), truth.logpdf(y.numpy()), rtol=1e-12)
    np.testing.assert_allclose(dist.entropy(), truth.entropy(), rtol=1e-12)
    # SciPy's cdf starts at the mean direction
    np.testing.assert_allclose(dist.cdf(y) - 0.5, truth.cdf(y.numpy()), rtol=1e-10)


def test_divergence_is_the_mean_log_ratio():
    p, q = (
        WrappedCauchy(loc, torch.tensor(c, dtype=torch.float64))
        for loc, c in ((0.3, 0.6), (-1.0, 0.2))
    )
    y = torch.linspace(-math.pi, math.pi, 4097, dtype=torch.float64)[1:]
    mean = (p.log_prob(y).exp() * (p.log_prob(y) - q.log_prob(y))).mean() * 2 * math.pi
    torch.testing.assert_close(kl_divergence(p, q), mean)


def test_scale_calibration_stays_in_the_family():
    """The concentration goes from c to c^scale, which the samples show."""
    c = torch.full((4000,), 0.8, dtype=torch.float64)
    y = WrappedCauchy(0.0, c**2).sample(generator=torch.Generator().manual_seed(0))
    narrow = WrappedCauchy(0.0, c)
    fitted = ScaleCalibration().fit(narrow, y)
    assert abs(fitted.scale - 2) < 0.2
    assert isinstance(fitted(narrow), WrappedCauchy)


def test_outliers_pull_the_fit_less_than_that_of_von_mises():
    generator = torch.Generator().manual_seed(1)
    near = 0.1 * torch.randn(190, generator=generator, dtype=torch.float64)
    y = torch.cat([near, torch.full((10,), 2.0, dtype=torch.float64)])
    locs = {}
    for name in ("wrapped_cauchy", "von_mises"):
        head = dh.DistributionHead(name, 1, shared="all").double()
        head.initialize(y)
        locs[name] = head(torch.zeros(1, 1, dtype=torch.float64)).loc.abs().item()
    assert locs["wrapped_cauchy"] < 0.3 * locs["von_mises"]
