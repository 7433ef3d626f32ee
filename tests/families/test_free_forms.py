"""Families of any shape: the histogram, and the spline as a quantile function."""

import pytest
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.families.histogram import Histogram


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
