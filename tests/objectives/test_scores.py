"""Proper scores: against exact expectations, with the metrics, and as what trains every family."""

import contextlib
import math
from itertools import pairwise

import pytest
import torch
from scipy.special import gamma as gamma_function
from scipy.special import hyp1f1

import disthead as dh
from disthead import metrics, objectives
from disthead.objectives import get_objective
from tests.cases import EVERYTHING, NAMED, SAMPLE, Case, rows
from tests.objectives.table import LIKELIHOOD, SCORES

GENERATOR = torch.Generator().manual_seed(0)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 2.0]], dtype=torch.float64)


def vector(loc, covariance):
    family = dh.get_family("multivariate_normal", event_shape=(len(covariance),))
    return family.distribution(loc=loc, scale_tril=torch.linalg.cholesky(covariance))


def normal(loc=0.0, scale=1.0):
    loc = torch.as_tensor(loc, dtype=torch.float64)
    return dh.get_family("normal").distribution(loc=loc, scale=scale)


UNIVARIATE = [
    *(case for case in EVERYTHING if "crps" in case.claims and not (case.units or case.outputs)),
    Case("tweedie", "tweedie", [0.3, -0.4], kind="mixed"),  # has tests of its own
]


@pytest.mark.parametrize(
    "case",
    rows(
        UNIVARIATE, slow=[case.name for case in UNIVARIATE if case.name not in SAMPLE - {"hurdle"}]
    ),
)
def test_the_crps_trains_every_family_of_one_number(case):
    """From the start of its training on, each step against the gradient lessens the mean crps."""
    y = case.dist(batch=(30,)).sample(generator=torch.Generator().manual_seed(1))
    family = case.make_family()
    links = family.resolve_links(None)
    start = family.unconstrain(family.initial_estimate(y), links)
    raw = torch.cat([start[name].reshape(-1) for name in links if name in start])
    losses = []
    for _ in range(4):
        raw = raw.detach().double().requires_grad_()
        loss = objectives.crps(family.from_raw(raw.expand(len(y), -1)), y).mean()
        (slope,) = torch.autograd.grad(loss, raw)
        losses.append(loss.item())
        step = 1.0
        while step > 1e-12:
            with torch.no_grad():
                moved = raw - step * slope
                if objectives.crps(family.from_raw(moved.expand(len(y), -1)), y).mean() < loss:
                    break
            step /= 4
        else:
            assert slope.norm() < 1e-4
            break
        raw = moved
    assert all(math.isfinite(loss) for loss in losses)
    assert all(after < before for before, after in pairwise(losses))
    assert len(losses) > 1 or slope.norm() < 1e-4


SCORED = [
    ("crps", normal, (0.3, 1.2), [(0.8, 1.2), (0.3, 0.7), (0.3, 2.0)]),
    ("pinball", normal, (0.3, 1.2), [(0.8, 1.2), (0.3, 0.7), (0.3, 2.0)]),
    ("interval", normal, (0.3, 1.2), [(0.8, 1.2), (0.3, 0.7), (0.3, 2.0)]),
    ("energy", vector, (torch.zeros(2), COVARIANCE), [(torch.ones(2), COVARIANCE)]),
    (
        "variogram",
        vector,
        (torch.zeros(2), COVARIANCE),
        [(torch.zeros(2), COVARIANCE.diag().diag()), (torch.zeros(2), 2 * COVARIANCE)],
    ),
]


@pytest.mark.parametrize("name, make, truth, others", SCORED, ids=lambda value: str(value)[:9])
def test_no_forecast_has_a_better_mean_score_than_the_truth(name, make, truth, others):
    score, count = get_objective(name), 4000
    y = make(*truth).sample((count,), generator=torch.Generator().manual_seed(2))
    best = score(make(*truth).expand((count,)), y)
    for other in others:
        gain = score(make(*other).expand((count,)), y) - best
        assert gain.mean() > 3 * gain.std() / math.sqrt(count)


@pytest.mark.parametrize("name", ["brier", "rps", "nll"])
def test_scores_of_classes_have_their_least_expectation_at_the_truth(name):
    probs = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    logits = probs.log().requires_grad_()
    grade = dh.get_family("ordinal", num_classes=3, form="adjacent")
    dist = {
        "rps": lambda: grade.distribution(loc=torch.zeros(3), cutpoints=-logits.diff().expand(3, 2))
    }.get(
        name,
        lambda: dh.get_family("categorical", num_classes=3).distribution(
            logits=logits.expand(3, 3)
        ),
    )()
    expected = (probs * get_objective(name)(dist, torch.arange(3))).sum()
    torch.testing.assert_close(dist.probs[0], probs)
    torch.testing.assert_close(torch.autograd.grad(expected, logits)[0], torch.zeros_like(probs))


def test_the_energy_score_of_a_standard_normal_vector():
    """At its mean, E||Y - y|| is sqrt(pi / 2) in two dimensions, and E||Y - Y'|| is sqrt(pi)."""
    dist = vector(torch.zeros(2), torch.eye(2, dtype=torch.float64))
    score = objectives.energy(samples=40_000)(dist, torch.zeros(2, dtype=torch.float64))
    expected = math.sqrt(math.pi / 2) - math.sqrt(math.pi) / 2
    assert float(score) == pytest.approx(expected, abs=0.01)


def expected_power(loc, scale, power):
    """E|X|^power of a normal number, by Winkelbauer 2012, Moments and absolute moments."""
    factor = scale**power * 2 ** (power / 2) * gamma_function((power + 1) / 2) / math.sqrt(math.pi)
    return factor * hyp1f1(-power / 2, 0.5, -0.5 * (loc / scale) ** 2)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_variogram_score_of_a_normal_vector(power):
    """Its mean over many draws of a few samples is the exact one: the estimate is unbiased."""
    loc, y = torch.tensor([0.5, -0.3]), torch.tensor([0.2, 1.0], dtype=torch.float64)
    variance = COVARIANCE[0, 0] + COVARIANCE[1, 1] - 2 * COVARIANCE[0, 1]
    expectation = expected_power(0.8, math.sqrt(variance), power)
    exact = 2 * (0.8**power - expectation) ** 2
    count = 20_000
    score = objectives.variogram(power=power, samples=4)
    scores = score(vector(loc, COVARIANCE).expand((count,)), y.expand(count, 2))
    error = 4 * float(scores.std()) / math.sqrt(count)
    assert float(scores.mean()) == pytest.approx(exact, abs=error)
    assert error < 0.1 * max(1.0, expectation**2)


@pytest.mark.parametrize("name", ["energy", "variogram"])
@pytest.mark.parametrize(
    "case", ["multivariate_normal", "multivariate_normal low rank", "independent normals"]
)
def test_gradients_go_through_the_samples_of_vectors(name, case):
    case = NAMED[case]
    raw = torch.tensor(case.raw, dtype=torch.float64).expand(2, -1).clone().requires_grad_()
    y = case.from_raw(raw.detach()).sample(generator=torch.Generator().manual_seed(3))
    score = get_objective(name, samples=8)
    assert torch.autograd.gradcheck(
        lambda raw: score(case.from_raw(raw), y), raw, eps=1e-5, atol=1e-5, rtol=1e-4
    )
    score(case.from_raw(raw), y)
    assert torch.equal(score(case.from_raw(raw), y), score(case.from_raw(raw), y))


def test_the_seed_and_the_targets_choose_the_samples():
    dist, y = vector(torch.zeros(2), COVARIANCE), torch.zeros(2, dtype=torch.float64)
    one, other = objectives.energy(), objectives.energy(seed=1)
    assert one(dist, y) != other(dist, y)
    torch.testing.assert_close(one(dist, y), other(dist, y), rtol=0.5, atol=0.1)


def test_the_pinball_loss_of_many_levels_is_half_the_crps():
    dist, y = normal(torch.tensor([0.0, 1.0]), 2.0), torch.tensor([0.5, -3.0], dtype=torch.float64)
    levels = [(step + 0.5) / 400 for step in range(400)]
    torch.testing.assert_close(
        2 * objectives.pinball(levels=levels)(dist, y),
        objectives.crps(dist, y),
        rtol=2e-3,
        atol=0,
    )


def test_the_score_of_an_interval_is_that_of_its_ends():
    dist, y = normal(torch.zeros(3), 2.0), torch.tensor([0.5, -9.0, 9.0], dtype=torch.float64)
    both = objectives.pinball(levels=(0.05, 0.95))(dist, y)
    torch.testing.assert_close(objectives.interval(level=0.9)(dist, y), both * 2 * 20)


def test_metrics_are_the_means_of_objectives():
    y = torch.randn(20, generator=GENERATOR, dtype=torch.float64)
    dist = normal(torch.linspace(-1, 1, 20), 0.7)
    pairs = [
        (metrics.CRPS(), objectives.crps, dist, y),
        (metrics.PinballLoss(0.3), objectives.quantile(level=0.3), dist, y),
        (metrics.IntervalScore(0.8), objectives.interval(level=0.8), dist, y),
        (metrics.MeanAbsoluteError(), objectives.mae, dist, y),
    ]
    several = vector(torch.zeros(2), COVARIANCE).expand((20,))
    drawn = several.sample(generator=GENERATOR)
    pairs.append((metrics.EnergyScore(64, seed=5), objectives.energy(64, 5), several, drawn))
    classes = dh.get_family("categorical", num_classes=3).from_raw(
        torch.randn(20, 3, generator=GENERATOR)
    )
    index = classes.sample(generator=GENERATOR)
    pairs.append((metrics.BrierScore(), objectives.brier, classes, index))
    counts = dh.get_family("poisson").distribution(rate=y.exp())
    pairs.append((metrics.RankedProbabilityScore(), objectives.rps, counts, counts.sample()))
    for metric, objective, forecast, target in pairs:
        expected = objective(forecast, target).mean().float()
        torch.testing.assert_close(metric(forecast, target), expected)


def test_scores_of_several_outputs_are_their_mean():
    y = torch.randn(4, 3, generator=GENERATOR, dtype=torch.float64)
    dist = normal(torch.zeros(4, 3), 0.7)
    for name in ("mse", "mae", "huber", "log_cosh", "quantile", "pinball", "interval", "crps"):
        objective = get_objective(name)
        torch.testing.assert_close(objective(dist.to_event(1), y), objective(dist, y).mean(1))
    grid = normal(torch.zeros(2, 2, 3), 0.7)
    torch.testing.assert_close(
        objectives.mse(grid.to_event(2), y.reshape(2, 2, 3)), y.square().reshape(2, 6).mean(1)
    )


def test_directions_are_scored_by_angles():
    dist = dh.get_family("von_mises").distribution(
        loc=torch.tensor([3.0], dtype=torch.float64), concentration=4.0
    )
    y = torch.tensor([-3.0], dtype=torch.float64)
    angle = 2 * math.pi - 6
    torch.testing.assert_close(objectives.mse(dist, y), torch.tensor([angle**2], dtype=y.dtype))
    torch.testing.assert_close(objectives.mae(dist, y), torch.tensor([angle], dtype=y.dtype))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({row.name for row in (*LIKELIHOOD, *SCORES)}))
def test_every_distribution_has_a_score_for_each_row_or_none(name):
    objective = get_objective(name)
    for case in EVERYTHING:
        dist = case.dist(batch=(2,))
        y = dist.sample(generator=torch.Generator().manual_seed(0))
        if name.endswith("deviance") and y.min() <= 0:  # which have positive targets
            continue
        with contextlib.suppress(NotImplementedError):
            values = objective(dist, y)
            assert values.shape == (2,), case
            assert not values.isnan().any() or "mean" in case.infinite, case


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("energy", {"samples": 1}, "samples must be an integer of at least 2, got 1"),
        ("variogram", {"power": 0}, "power of variogram must be a positive number.*got 0"),
        ("variogram", {"samples": 2.5}, "samples must be an integer of at least 2, got 2.5"),
        ("pinball", {"levels": 0.5}, r"levels of pinball must be numbers.*quantile\(level=0\.9\)"),
        ("pinball", {"levels": ()}, "levels of pinball must be numbers between 0 and 1"),
        ("pinball", {"levels": (0.1, 1.0)}, "level of pinball must be a number between 0 and 1"),
        ("interval", {"level": 90}, "level of interval must be a number between 0 and 1.*got 90"),
    ],
)
def test_options_that_make_no_sense(name, options, message):
    with pytest.raises(ValueError, match=message):
        get_objective(name, **options)


def test_censored_targets_are_refused_with_what_trains():
    dist = dh.get_family("censored").distribution(scale=torch.ones(2), concentration=1.0)
    y = torch.tensor([[1.0, 2.0], [1.0, 1.0]])
    for name in ("mse", "quantile", "energy", "interval"):
        with pytest.raises(NotImplementedError, match=f"the objective '{name}'.*Train by 'nll'"):
            get_objective(name)(dist, y)
