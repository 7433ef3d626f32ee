"""Recalibrations where means are infinite, and of maps that make tails heavier or lighter."""

import math

import pytest
import torch

import disthead as dh
from disthead.calibration import QuantileRecalibration, ScaleCalibration
from disthead.calibration.monotone_maps import AffineMap
from disthead.calibration.recalibrated import recalibrated


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


HEAVY = {
    "pareto": {"scale": 1.0, "alpha": 0.8},
    "log_logistic": {"scale": 1.0, "concentration": 0.8},
    "inverse_gamma": {"concentration": 0.8, "rate": 1.0},
    "generalized_pareto": {"scale": 1.0, "concentration": 1.25},
    "truncated": {"loc": 0.0, "scale": 1.0},
    "discretised": {"scale": 1.0, "alpha": 0.8},
}
OPTIONS = {"truncated": {"base": "cauchy", "lower": 0.0}, "discretised": {"base": "pareto"}}


@pytest.mark.parametrize("name", HEAVY)
def test_forecasts_of_infinite_mean_are_recalibrated(name):
    family = dh.get_family(name, **OPTIONS.get(name, {}))
    generator = torch.Generator().manual_seed(3)
    parameters = {key: torch.full((300,), value).double() for key, value in HEAVY[name].items()}
    dist = family.distribution(**parameters)
    y = dist.sample(generator=generator)
    z = torch.special.ndtri(dist.pit(y, generator).clamp(1e-9, 1 - 1e-9))
    wide = dist.icdf(torch.special.ndtr(1.5 * z))  # whose probits are half as wide again
    fitted = ScaleCalibration().fit(dist, wide)
    assert fitted.scale.item() == pytest.approx(1.5, rel=0.15)
    assert fitted(dist).log_prob(wide).mean() > dist.log_prob(wide).mean() + 0.02
    quantiles = QuantileRecalibration().fit(dist, wide)
    assert quantiles(dist).log_prob(wide).mean() > dist.log_prob(wide).mean() + 0.02


@pytest.mark.parametrize("alpha, scale", [(3.0, 1.8), (3.0, 1.6), (0.8, 0.5), (1.5, 1.21)])
def test_a_map_of_probits_changes_the_tail(alpha, scale):
    base = dh.get_family("pareto").distribution(scale=tensor(1.0), alpha=tensor(alpha))
    dist = recalibrated(base, AffineMap(tensor(scale), tensor(0.0)))
    index = alpha / scale**2
    assert dist._tail_indices()[1].item() == pytest.approx(index)
    assert dist.mean.isposinf().item() == (index <= 1)
    assert dist.variance.isposinf().item() == (index <= 2)
    if index > 1:  # E[Y] is the integral over quantiles exp(hazard / alpha)
        z = torch.linspace(-12, 150, 400_001, dtype=torch.float64)
        log_quantile = -torch.special.log_ndtr(-scale * z) / alpha
        integrand = torch.exp(log_quantile - 0.5 * z.square()) / math.sqrt(2 * math.pi)
        expected = torch.trapezoid(integrand, z).item()
        assert dist.mean.item() == pytest.approx(expected, rel=1e-5)
