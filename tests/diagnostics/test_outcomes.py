"""Directions, outliers, discrimination, dependence against scipy, scikit-learn and simulation."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import roc_auc_score

import disthead as dh
from disthead import diagnostics
from disthead.calibration import ScaleCalibration
from disthead.distributions.scores import draw
from disthead.families import ensemble


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def family(name, **options):
    return dh.get_family(name, **options).distribution


def directions():
    """Directions of each kind, batch_shape (5,)."""
    loc = torch.linspace(-3.1, 3.1, 5, dtype=torch.float64)
    von_mises = family("von_mises")(loc=loc, concentration=2.0)
    raw = torch.tensor([0.4, 0, 0.8, 0.5, -0.9, -0.1, 2, 1], dtype=torch.float64)
    mixture = dh.get_family("mixture", component="von_mises", num_components=2).from_raw(
        raw.expand(5, 8)
    )
    members = family("von_mises")(loc=torch.stack([loc, loc.flip(0)]), concentration=2.0)
    y = draw(von_mises.expand((400, 5)).map(lambda p: p.reshape(-1)), 1, generator())[0]
    rows = von_mises.expand((400, 5)).map(lambda p: p.reshape(-1))
    recalibrated = ScaleCalibration().fit(rows, y)(von_mises)
    return {
        "von_mises": von_mises,
        "mixture": mixture,
        "ensemble": ensemble(members),
        "recalibrated": recalibrated,
    }


@pytest.mark.parametrize("kind", ["von_mises", "mixture", "ensemble", "recalibrated"])
def test_probabilities_of_arcs_are_integrals_of_the_density(kind):
    dist = directions()[kind]
    angle = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)
    density = dist.log_prob(angle.unsqueeze(-1)).exp()
    start, end = (
        torch.full((5,), -2.0, dtype=torch.float64),
        torch.full((5,), 1.5, dtype=torch.float64),
    )
    inside = ((angle >= -2.0) & (angle <= 1.5)).unsqueeze(-1)
    expected = (density * inside)[:-1].sum(0) * (angle[1] - angle[0])
    torch.testing.assert_close(
        diagnostics.arc_probability(dist, start, end), expected, atol=2e-4, rtol=0
    )
    across = diagnostics.arc_probability(dist, end, start)
    torch.testing.assert_close(across, 1 - expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("kind", ["von_mises", "mixture", "ensemble", "recalibrated"])
def test_the_circular_pit_of_draws_is_uniform(kind):
    dist = directions()[kind]
    u = diagnostics.circular_pit(dist.expand((400, 5)), draw(dist, 400, generator())).flatten()
    assert scipy.stats.kstest(u.numpy(), "uniform").pvalue > 0.001


def test_tails_are_those_of_scipy():
    y = torch.tensor([-3.0, 0.5, 40.0], dtype=torch.float64)
    normal = family("normal")(loc=torch.zeros(3, dtype=torch.float64), scale=1.0)
    expected = np.log(2) + np.minimum(scipy.stats.norm.logcdf(y), scipy.stats.norm.logsf(y))
    np.testing.assert_allclose(
        diagnostics.tail_log_prob(normal, y), np.minimum(expected, 0), rtol=1e-9
    )
    counts = torch.tensor([0.0, 2.0, 12.0])
    poisson = family("poisson")(rate=torch.full((3,), 2.0))
    tails = 2 * np.minimum(
        scipy.stats.poisson.cdf(counts, 2.0), scipy.stats.poisson.sf(counts - 1, 2.0)
    )
    np.testing.assert_allclose(
        diagnostics.tail_log_prob(poisson, counts), np.log(np.minimum(tails, 1)), rtol=1e-5
    )
    classes = family("categorical", num_classes=3)(probs=torch.tensor([[0.7, 0.2, 0.1]] * 3))
    tails = diagnostics.tail_log_prob(classes, torch.arange(3)).exp()
    torch.testing.assert_close(tails.float(), torch.tensor([1.0, 0.3, 0.1]))


def test_outliers_occur_by_chance_once_in_a_hundred_tables():
    dist, outliers = family("normal")(loc=torch.zeros(100, dtype=torch.float64), scale=1.0), 0
    for seed in range(400):
        y = torch.randn(100, generator=generator(seed), dtype=torch.float64)
        outliers += bool((diagnostics.tail_log_prob(dist, y) < math.log(0.01 / 100)).any())
    assert outliers <= 12


@pytest.mark.parametrize("ties", [False, True])
def test_discrimination_is_the_area_of_sklearn(ties):
    forecast = torch.rand(300, generator=generator())
    forecast = (5 * forecast).round() / 5 if ties else forecast
    outcome = (torch.rand(300, generator=generator(1)) < forecast).long()
    weight = torch.rand(300, generator=generator(2)) + 0.1
    result = diagnostics.discrimination(forecast, outcome, weight)
    assert result.auc == pytest.approx(
        roc_auc_score(outcome, forecast, sample_weight=weight.double()), abs=1e-9
    )
    assert math.isnan(diagnostics.discrimination(forecast, torch.ones(300)).auc)


def test_the_standard_error_of_discrimination_is_how_far_it_strays():
    areas, errors = [], []
    for seed in range(300):
        forecast = torch.rand(150, generator=generator(seed), dtype=torch.float64)
        outcome = (torch.rand(150, generator=generator(1000 + seed)) < forecast).long()
        result = diagnostics.discrimination(forecast, outcome)
        areas.append(result.auc)
        errors.append(result.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.15)


def test_predicted_correlations_are_exact_where_they_are_known():
    scale = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    joint = family("multivariate_normal", event_shape=(2,))(
        loc=torch.zeros(50, 2), scale_tril=scale
    )
    assert float(diagnostics.predicted_correlation(joint, generator())[0, 1]) == pytest.approx(
        0.6, abs=1e-6
    )
    apart = family("gamma")(concentration=torch.ones(50, 2), rate=1.0).to_event(1)
    torch.testing.assert_close(
        diagnostics.predicted_correlation(apart, generator()), torch.eye(2, dtype=torch.float64)
    )
    # An ensemble of distributions whose outputs are independent within each member: its outputs are
    # not.
    members = family("normal")(
        loc=torch.tensor([-1.0, 1.0]).reshape(2, 1, 1).expand(2, 200, 2), scale=1.0
    ).to_event(1)
    both = ensemble(members)
    drawn = draw(both.expand((200,)), 500, generator(1))
    observed = diagnostics.error_correlation(
        both.expand((500, 200)).map(lambda p: p.reshape(-1, *p.shape[2:])),
        drawn.reshape(-1, 2),
        generator(),
    )
    predicted = diagnostics.predicted_correlation(both, generator())
    assert float(predicted[0, 1]) > 0.3
    assert float(predicted[0, 1]) == pytest.approx(float(observed[0, 1]), abs=0.01)


def test_the_p_value_of_the_worst_class_allows_for_all_of_them():
    p_values = []
    for seed in range(100):
        probs = torch.rand(80, 4, generator=generator(seed)).softmax(-1)
        y = torch.multinomial(probs, 1, generator=generator(500 + seed))[:, 0]
        p_values.append(
            diagnostics.class_reliability(probs, y, resamples=39, generator=generator(seed))[1]
        )
    assert scipy.stats.kstest(np.array(p_values) - 0.0125, "uniform").pvalue > 0.001
