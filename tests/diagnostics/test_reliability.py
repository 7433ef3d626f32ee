"""CORP against scikit-learn, brute force and simulation."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

import disthead as dh
from disthead.diagnostics import (
    exceedance_reliability,
    isotonic_mean,
    isotonic_quantile,
    quantile_reliability,
    reliability,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rows", [1, 2, 7, 400])
def test_isotonic_mean_is_that_of_sklearn(rows):
    y = torch.randn(rows, generator=generator(rows), dtype=torch.float64)
    weight = torch.rand(rows, generator=generator(1), dtype=torch.float64) + 0.1
    expected = IsotonicRegression().fit_transform(
        np.arange(rows), y.numpy(), sample_weight=weight.numpy()
    )
    np.testing.assert_allclose(isotonic_mean(y, weight).numpy(), expected, atol=1e-12)


def test_isotonic_mean_where_every_round_pools_one_block():
    y = torch.arange(500.0, dtype=torch.float64)
    y[-1] = -1e6
    expected = IsotonicRegression().fit_transform(np.arange(500), y.numpy())
    np.testing.assert_allclose(isotonic_mean(y).numpy(), expected, rtol=1e-12)


def test_leading_dimensions_are_problems_of_their_own():
    y = torch.randn(3, 50, generator=generator(), dtype=torch.float64)
    for fit in (isotonic_mean, lambda values: isotonic_quantile(values, 0.3)):
        torch.testing.assert_close(fit(y), torch.stack([fit(row) for row in y]))


@pytest.mark.parametrize("level", [0.1, 0.25, 0.5, 0.9])
def test_isotonic_quantile_has_the_least_pinball_loss_of_all_monotone_fits(level):
    def loss(fit, y):
        return float(torch.maximum(level * (y - fit), (level - 1) * (y - fit)).sum())

    for seed in range(20):
        y = torch.randint(0, 5, (5,), generator=generator(seed)).double()
        fit = isotonic_quantile(y, level)
        assert (fit.diff() >= 0).all()
        candidates = itertools.combinations_with_replacement(y.unique().tolist(), 5)
        best = min(loss(torch.tensor(values, dtype=torch.float64), y) for values in candidates)
        assert loss(fit, y) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("level", [None, 0.2, 0.9])
@pytest.mark.parametrize("ties", [False, True])
def test_the_parts_add_up_to_the_score_and_are_not_negative(level, ties):
    forecast = torch.rand(300, generator=generator(), dtype=torch.float64)
    forecast = (forecast * 10).round() / 10 if ties else forecast
    noise = torch.rand(300, generator=generator(1), dtype=torch.float64)
    outcome = (noise < forecast**2).double() if level is None else 2 * forecast + noise
    result = reliability(forecast, outcome, level=level, resamples=0)
    total = result.miscalibration - result.discrimination + result.uncertainty
    assert total == pytest.approx(result.score, abs=1e-12)
    assert result.miscalibration > 0
    assert result.discrimination > 0
    assert int(result.count.sum()) == 300
    if level is None:
        assert result.score == pytest.approx(float((outcome - forecast).square().mean()))
        assert result.uncertainty == pytest.approx(float(outcome.mean() * (1 - outcome.mean())))
    else:
        error = outcome - forecast
        assert result.score == pytest.approx(float((error * (level - (error < 0).double())).mean()))


def test_ties_have_one_value_which_is_the_best_for_them():
    forecast = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0])
    outcome = torch.tensor([3.0, 1.0, 2.0, 9.0, 5.0])
    result = reliability(forecast, outcome, level=0.5, resamples=0)
    assert result.recalibrated.tolist() == [2.0, 5.0]


def test_recalibrated_forecasts_are_calibrated():
    forecast = torch.rand(200, generator=generator(), dtype=torch.float64)
    outcome = (torch.rand(200, generator=generator(1)) < forecast**3).double()
    first = reliability(forecast, outcome, resamples=0)
    order = forecast.argsort()
    again = reliability(first.recalibrated, outcome[order], resamples=0)
    assert abs(again.miscalibration) < 1e-12
    assert again.discrimination == pytest.approx(first.discrimination)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["probability", "quantile", "quantile of a distribution"])
def test_p_value_of_true_forecasts_is_uniform(kind):
    p_values = [p_value(kind, seed) for seed in range(200)]
    share = np.mean(np.array(p_values) <= 0.2)
    assert abs(share - 0.2) < 3 * (0.2 * 0.8 / 200) ** 0.5, share


@pytest.mark.parametrize("kind", ["probability", "quantile of a distribution"])
def test_p_value_knows_true_forecasts_from_false_ones(kind):
    true = [p_value(kind, seed) for seed in range(10)]
    false = [p_value(kind, seed, wrong=True) for seed in range(10)]
    assert min(true) > 0.005
    assert sum(p > 0.05 for p in true) >= 7
    assert max(false) < 0.05


def p_value(kind: str, seed: int, wrong: bool = False) -> float:
    rows, g = 300, generator(seed)
    x = torch.rand(rows, generator=g, dtype=torch.float64)
    if kind == "probability":
        outcome = torch.bernoulli(x, generator=g)
        return reliability(x**3 if wrong else x, outcome, resamples=99, generator=g).p_value
    y = x + torch.randn(rows, generator=g, dtype=torch.float64)
    if kind == "quantile":
        return reliability(x, y, level=0.5, resamples=49, generator=g).p_value
    scale = 0.4 if wrong else 1.0
    dist = dh.get_family("normal").distribution(loc=x, scale=scale)
    return quantile_reliability(dist, y, 0.9, resamples=49, generator=g).p_value


def test_band_holds_the_fit_of_a_true_forecast_and_not_that_of_a_false_one():
    forecast = torch.rand(1000, generator=generator(), dtype=torch.float64)
    outcome = torch.bernoulli(forecast, generator=generator(1))
    for values, least, most in ((forecast, 0.7, 1.0), (forecast**4, 0.0, 0.6)):
        result = reliability(values, outcome, resamples=100)
        inside = (result.recalibrated >= result.lower - 1e-12) & (
            result.recalibrated <= result.upper + 1e-12
        )
        assert least <= float(inside.double().mean()) <= most
    assert (result.lower <= result.upper).all()


def test_exceedances_are_the_probabilities_of_the_distribution():
    y = torch.tensor([0.0, 3.0, 5.0])
    dist = dh.get_family("poisson").distribution(rate=torch.tensor([1.0, 2.0, 6.0]))
    result = exceedance_reliability(dist, y, 2.0, resamples=0)
    torch.testing.assert_close(
        result.forecast, 1 - dist.cdf(torch.full((3,), 2.0)).double(), atol=1e-6, rtol=0
    )
    assert result.recalibrated.tolist() == [0.0, 1.0, 1.0]


def test_results_repeat():
    forecast = torch.rand(50, generator=generator(), dtype=torch.float64)
    outcome = torch.bernoulli(forecast, generator=generator(1))
    first, second = (reliability(forecast, outcome) for _ in range(2))
    assert first.p_value == second.p_value
    torch.testing.assert_close(first.lower, second.lower)


@pytest.mark.parametrize(
    "forecast, outcome, message",
    [
        ([0.5, 1.2], [0, 1], "1.2 at row 1"),
        ([0.5, 0.2], [0, 2], "2 at row 1"),
        ([0.5, float("nan")], [0, 1], "finite, got 1 of 2"),
        ([0.5], [0, 1], "one shape"),
        ([], [], "N > 0"),
    ],
)
def test_errors_say_what_is_wrong(forecast, outcome, message):
    with pytest.raises(ValueError, match=message):
        reliability(torch.tensor(forecast), torch.tensor(outcome))
