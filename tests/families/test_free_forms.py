"""Families of any shape: the histogram, and the spline as a quantile function."""

import pytest
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.families.histogram import Histogram
from disthead.families.logistic import Logistic
from disthead.families.quantile_function import QuantileFunction
from disthead.special.rational_quadratic import RationalQuadratic
from tests.brute_force import panels, quantile_grid


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_equal_bins_of_equal_probability_are_uniform():
    edges = torch.linspace(-1, 3, 9).tolist()
    logits = torch.cat([double(-800.0), torch.zeros(8).double(), double(-800.0)])
    dist = Histogram(logits, double(1.0, 1.0), edges=edges)
    levels = double(0.01, 0.3, 0.5, 0.99)
    y = -1 + 4 * levels
    torch.testing.assert_close(dist.log_prob(y), -torch.log(double(4.0)).expand(4))
    torch.testing.assert_close(dist.cdf(y), levels)
    torch.testing.assert_close(dist.icdf(levels), y)
    torch.testing.assert_close(dist.variance, double(16 / 12)[0])
    # the score of the uniform distribution on (0, 1) is q^2 - q + 1/3
    torch.testing.assert_close(dist.crps(y), 4 * (levels.square() - levels + 1 / 3))
    lower, upper = dist.highest_density(0.8)
    assert upper - lower == pytest.approx(3.2)


def test_a_histogram_without_bins_has_exponential_tails():
    dist = Histogram(double(-800.0, -800.0, 0.0), double(1.0, 0.5), edges=(-1.0, 0.0))
    y = double(0.01, 0.7, 30.0)
    exponential = torch.distributions.Exponential(double(2.0))
    torch.testing.assert_close(dist.log_prob(y), exponential.log_prob(y))
    torch.testing.assert_close(dist.log_survival(y), -2 * y)
    torch.testing.assert_close(dist.entropy(), exponential.entropy()[0])


def test_each_bin_contains_its_upper_edge():
    dist = Histogram(double(0.0, 1.0, 2.0, 3.0), double(1.0, 1.0), edges=(0.0, 1.0, 3.0))
    heights = dist.probs / double(1.0, 1.0, 2.0, 1.0)
    torch.testing.assert_close(dist.log_prob(double(0.0, 1.0, 3.0)).exp(), heights[:3])
    torch.testing.assert_close(dist.cdf(dist.breakpoints), dist.probs.cumsum(-1)[:3])


def test_the_shortest_interval_of_a_histogram_beats_a_fine_search():
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(50, 9, generator=generator, dtype=torch.float64)
    dist = Histogram(raw[:, :7], raw[:, 7:].exp(), edges=(-2.0, -1.0, -0.5, 0.0, 1.5, 2.0))
    for level in (0.05, 0.5, 0.9):
        lower, upper = dist.highest_density(level)
        torch.testing.assert_close(
            dist.cdf(upper) - dist.cdf(lower), torch.full((50,), level).double()
        )
        below = (1 - level) * torch.linspace(0, 1, 2001, dtype=torch.float64).unsqueeze(-1)
        searched = (dist.icdf(below + level) - dist.icdf(below)).amin(0)
        assert (upper - lower <= searched * (1 + 1e-12)).all()


def test_the_divergence_of_histograms_with_other_edges():
    p = Histogram(double(0.0, 1.0, 0.0), double(1.0, 1.0), edges=(0.0, 1.0))
    same = Histogram(double(0.0, 1.0, 0.3, 0.0), double(1.0, 1.0), edges=(0.0, 0.25, 1.0))
    assert kl_divergence(p, p) == 0
    assert kl_divergence(p, same) > 0


def test_no_bin_without_training_rows_is_impossible():
    head = dh.DistributionHead("histogram", 1, num_bins=5).initialize(torch.linspace(-0.5, 0.5, 50))
    probs = head(torch.zeros(1)).probs.detach()
    assert probs.min() == pytest.approx(0.01 / 7, rel=1e-3)


@pytest.mark.parametrize("edges", [(), (1.0,), (0.0, 0.0), (1.0, 0.0), (0.0, float("inf"))])
def test_edges_that_do_not_rise_are_refused(edges):
    with pytest.raises(ValueError, match="rise strictly"):
        dh.get_family("histogram", edges=edges)


def test_a_spline_with_equal_bins_is_its_logistic_base():
    zeros, loc, scale = torch.zeros(5).double(), double(0.7)[0], double(2.0)[0]
    dist = QuantileFunction(loc, scale, zeros, zeros, torch.ones(6).double())
    base = Logistic(loc, scale)
    y = double(-40.0, -7.3, 0.7, 1.0, 5.0, 60.0)
    for question in ("log_prob", "cdf", "log_cdf", "log_survival", "crps"):
        torch.testing.assert_close(getattr(dist, question)(y), getattr(base, question)(y))
    for question in ("mean", "variance", "mode", "median"):
        torch.testing.assert_close(
            getattr(dist, question), getattr(base, question), rtol=1e-9, atol=1e-7
        )
    torch.testing.assert_close(dist.entropy(), base.entropy())
    torch.testing.assert_close(
        kl_divergence(dist, QuantileFunction(loc, 2 * scale, zeros, zeros, dist.slope)),
        kl_divergence(base, Logistic(loc, 2 * scale)),
    )


def splines(rows=200):
    generator = torch.Generator().manual_seed(1)
    family = dh.get_family("quantile_function")
    return family.from_raw(
        2 * torch.randn(rows, family.width(), generator=generator, dtype=torch.float64)
    )


def test_cdf_and_quantile_are_inverse_to_rounding():
    dist = splines()
    z = torch.linspace(-12, 12, 241, dtype=torch.float64).unsqueeze(-1)
    returned, log_slope = dist._spline.inverse(dist._spline.forward(z)[0])
    # rounding y moves z by the inverse of the slope
    assert ((returned - z).abs() <= 1e-13 * (1 + torch.exp(-log_slope))).all()
    torch.testing.assert_close(log_slope, dist._spline.forward(z)[1], rtol=1e-8, atol=1e-8)


def test_densities_of_splines_integrate_to_one_and_moments_are_expectations():
    for dist in (splines()[row] for row in range(3)):
        y, weights = panels(quantile_grid(dist, 200))
        mass = weights * dist.log_prob(y).exp()
        assert mass.sum() == pytest.approx(1, abs=1e-9)
        for function in (torch.sin, torch.square):
            torch.testing.assert_close(
                dist._expectation(function), (mass * function(y)).sum(), rtol=1e-8, atol=1e-8
            )


def test_a_straight_spline_is_a_line():
    line = RationalQuadratic(double(-1.0, 0.0, 2.0), double(1.0, 3.0, 7.0), double(2.0, 2.0, 2.0))
    x = double(-5.0, -1.0, -0.3, 0.0, 1.9, 2.0, 4.0)
    y, log_slope = line.forward(x)
    torch.testing.assert_close(y, 3 + 2 * x)
    torch.testing.assert_close(log_slope, torch.full_like(x, 2.0).log())
    torch.testing.assert_close(line.inverse(y)[0], x)


def test_a_fitted_spline_is_no_worse_than_the_truth():
    torch.manual_seed(3)
    family = dh.get_family("quantile_function", num_bins=3)
    truth = family.from_raw(torch.linspace(-0.5, 0.5, 12).double())
    y = truth.sample((400,))
    fitted = dh.marginal("quantile_function", y, num_bins=3)
    assert fitted.log_prob(y).mean() > truth.log_prob(y).mean()


def test_the_mode_is_that_of_the_higher_of_two_peaks():
    logits, slope = torch.zeros(4).double(), double(1.0, 0.2, 3.0, 0.1, 1.0)
    dist = QuantileFunction(double(0.0)[0], 1.0, logits, logits, slope)
    y = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    assert dist.mode == pytest.approx(float(y[dist.log_prob(y).argmax()]), abs=1e-3)


@pytest.mark.parametrize("num_bins", [0, 51, 2.5])
def test_numbers_of_bins_that_cannot_be_are_refused(num_bins):
    with pytest.raises(ValueError, match="num_bins"):
        dh.get_family("quantile_function", num_bins=num_bins)
