"""The numbers behind the pictures: known cases, identities and simulation."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

import disthead as dh
from disthead import diagnostics
from disthead.diagnostics.rows import Reservoir, concatenate, flatten


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(loc, scale):
    return dh.get_family("normal").distribution(loc=loc, scale=scale)


def test_bands_hold_all_bins_and_levels_as_often_as_they_say():
    rng, sets, rows = np.random.default_rng(0), 1000, 2000
    levels = torch.arange(1, 20, dtype=torch.float64) / 20
    curve = diagnostics.coverage_curve(levels, levels, rows)
    outside_pit = outside_curve = 0
    for u in rng.random((sets, rows)):
        frequency = torch.as_tensor(np.histogram(u, 20, (0, 1))[0] / rows)
        outside_pit += diagnostics.pit_band(frequency, rows).outside > 0
        held = torch.as_tensor(np.searchsorted(np.sort(np.abs(2 * u - 1)), levels.numpy()) / rows)
        outside_curve += bool(((held < curve.lower) | (held > curve.upper)).any())
    assert abs(outside_pit / sets - 0.05) < 0.025
    assert abs(outside_curve / sets - 0.05) < 0.025


def test_rootogram_expects_the_mass_of_each_count():
    rate = torch.tensor([0.5, 2.0, 7.0])
    y = torch.tensor([0.0, 2.0, 9.0])
    result = diagnostics.rootogram(dh.get_family("poisson").distribution(rate=rate), y)
    expected = scipy.stats.poisson.pmf(np.arange(10)[:, None], rate.numpy()).sum(1)
    np.testing.assert_allclose(result.expected.numpy(), expected, rtol=1e-5)
    assert result.observed.tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_rootogram_of_large_counts_shares_bars_and_loses_no_row():
    y = torch.poisson(torch.full((500,), 300.0), generator=generator())
    result = diagnostics.rootogram(
        dh.get_family("poisson").distribution(rate=torch.full((500,), 300.0)), y, bars=10
    )
    assert len(result.first) <= 10
    assert float(result.observed.sum()) == 500
    z = (result.observed.sqrt() - result.expected.sqrt()) / result.standard_error
    assert float(z.abs().max()) < 4


def test_rose_expects_what_samples_do():
    loc = torch.linspace(-3, 3, 7)
    dist = dh.get_family("von_mises").distribution(loc=loc.repeat(3000), concentration=2.0)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        y = dist.sample()
    result = diagnostics.rose(dist, y)
    assert float(result.observed.sum()) == len(y)
    assert float(result.expected.sum()) == pytest.approx(len(y), rel=1e-6)
    assert float(((result.observed - result.expected) / result.standard_error).abs().max()) < 4


def test_confusion_counts_rows_and_expects_the_probabilities():
    logits = torch.randn(200, 3, generator=generator())
    y = torch.randint(0, 3, (200,), generator=generator(1))
    result = diagnostics.confusion(logits.softmax(-1), y)
    from sklearn.metrics import confusion_matrix

    np.testing.assert_array_equal(result.count.numpy(), confusion_matrix(y, logits.argmax(-1)))
    torch.testing.assert_close(result.expected.sum(0), result.count.sum(0))
    assert result.accuracy == pytest.approx(float((logits.argmax(-1) == y).double().mean()))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_worm_rises_where_the_spread_is_too_small(scale):
    y = torch.randn(2000, generator=generator(), dtype=torch.float64)
    result = diagnostics.worm(normal(torch.zeros(2000, dtype=torch.float64), scale), y)
    slope = np.polyfit(result.normal, result.deviation, 1)[0]
    assert slope == pytest.approx(1 / scale - 1, abs=0.05)
    assert (result.outside < 0.3) == (scale == 1.0)


def test_worm_band_holds_each_point_as_often_as_it_says():
    dist = normal(torch.zeros(200, dtype=torch.float64), 1.0)
    outside = [
        diagnostics.worm(
            dist, torch.randn(200, generator=generator(seed), dtype=torch.float64)
        ).outside
        for seed in range(300)
    ]
    assert abs(np.mean(outside) - 0.05) < 0.015


def test_worms_split_the_rows_by_feature():
    feature = torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 3.0])
    parts = diagnostics.worms(
        normal(torch.zeros(6), 1.0), torch.zeros(6), feature, bins=2, name="x"
    )
    assert sum(len(part.normal) for part in parts) == 6


def test_sparsification_of_perfect_constant_and_reversed_orders():
    error = torch.rand(400, generator=generator())
    assert diagnostics.sparsification(error, error).gain == pytest.approx(1.0)
    constant = diagnostics.sparsification(error, torch.ones(400))
    assert constant.gain == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(constant.error, torch.full_like(constant.error, constant.random))
    reverse = diagnostics.sparsification(error, -error)
    assert reverse.gain < -0.5
    assert (reverse.error >= reverse.oracle - 1e-12).all()


def test_gain_of_a_random_order_strays_by_its_standard_error():
    error = torch.rand(100, generator=generator())
    results = [
        diagnostics.sparsification(error, torch.rand(100, generator=generator(k)))
        for k in range(1, 600)
    ]
    gains = np.array([result.gain for result in results])
    assert abs(gains.mean()) < 4 * gains.std() / len(gains) ** 0.5
    assert gains.std() == pytest.approx(results[0].standard_error, rel=0.1)


def test_error_matches_spread_bin_by_bin_where_the_spread_is_true():
    stddev = torch.rand(20_000, generator=generator(), dtype=torch.float64) + 0.5
    error = stddev * torch.randn(20_000, generator=generator(1), dtype=torch.float64)
    result = diagnostics.spread_skill(error, stddev)
    assert float(result.count.sum()) == 20_000
    assert float(((result.error - result.spread) / result.standard_error).abs().max()) < 4
    twice = diagnostics.spread_skill(2 * error, stddev)
    torch.testing.assert_close(twice.error, 2 * result.error)


def test_sharpness_is_the_width_of_the_intervals():
    scale = torch.tensor([1.0, 2.0, 4.0])
    result = diagnostics.sharpness(
        normal(torch.zeros(3), scale), torch.linspace(-1, 1, 101), level=0.8
    )
    np.testing.assert_allclose(
        result.width, 2 * scipy.stats.norm.ppf(0.9) * scale.double(), rtol=1e-6
    )
    assert result.marginal == pytest.approx(1.6, rel=1e-6)


def test_sharpness_of_directions_goes_around_the_circle():
    y = torch.tensor([math.pi - 0.1, math.pi - 0.05, -math.pi + 0.1, -math.pi + 0.05])
    dist = dh.get_family("von_mises").distribution(loc=torch.full((4,), 3.1), concentration=50.0)
    result = diagnostics.sharpness(dist, y)
    assert result.marginal == pytest.approx(0.2, abs=1e-6)
    assert float(result.width.max()) < 1


CASES = {
    "normal": lambda n: normal(torch.arange(float(n)), 1.0),
    "affine": lambda n: (
        dh.get_family("gamma")
        .distribution(concentration=torch.ones(n), rate=1.0)
        .affine(torch.arange(float(n)), torch.ones(n))
    ),
    "independent": lambda n: normal(torch.arange(2.0 * n).reshape(n, 2), 1.0).to_event(1),
    "categorical": lambda n: dh.get_family("categorical", num_classes=3).distribution(
        logits=torch.rand(n, 3)
    ),
    "from a head": lambda n: dh.get_family("gamma").from_raw(
        torch.randn(n, 2, generator=generator())
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_parts_of_a_distribution_join_to_the_whole(case):
    dist = CASES[case](6)
    joined = concatenate([dist[:2], dist[2:3], dist[3:]])
    assert joined.batch_shape == dist.batch_shape
    for name, value in dist.parameters.items():
        torch.testing.assert_close(joined.parameters[name], value)
    with torch.random.fork_rng([]):
        y = dist.sample()
    torch.testing.assert_close(joined.log_prob(y), dist.log_prob(y))


def test_flatten_keeps_the_order_of_rows():
    dist = normal(torch.arange(6.0).reshape(2, 3), 1.0)
    assert flatten(dist).mean.tolist() == [0, 1, 2, 3, 4, 5]


def test_reservoir_keeps_every_row_with_the_same_chance_and_with_its_distribution():
    kept = torch.zeros(100)
    for seed in range(80):
        sample = Reservoir(20, seed)
        for rows in torch.arange(100.0).split(7):
            sample.add(normal(rows, 1.0), y=rows)
        y = sample.column("y")
        assert len(y) == 20
        assert sample.dist().mean.equal(y)
        assert (y.diff() > 0).all()
        kept[y.long()] += 1
    assert float(((kept - 16) / (80 * 0.2 * 0.8) ** 0.5).abs().max()) < 4.5


def test_reservoir_does_not_grow():
    sample = Reservoir(50)
    for k in range(200):
        sample.add(normal(torch.full((64,), float(k)), 1.0), y=torch.full((64,), float(k)))
    assert sum(len(keys) for _, _, keys in sample._parts) == 50
    assert sample.seen == 12_800
