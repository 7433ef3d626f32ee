"""Metrics of censored targets against their formulas, written out row by row, and simulations."""

import math

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

import disthead as dh
from disthead import metrics as m

INF = math.inf


@pytest.fixture
def lifetimes() -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Times with ties, events, and the rates of the true exponential distributions, 60 rows."""
    rng = np.random.default_rng(0)
    rate = rng.uniform(0.2, 1.0, 60)
    life, limit = rng.exponential(1 / rate), rng.exponential(2.0, 60)
    time, event = np.round(np.minimum(life, limit), 1) + 0.1, life <= limit
    return time, event, torch.from_numpy(rate)


def pairs(time: np.ndarray, event: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([time, np.where(event, time, INF)], -1))


def forecast(rate: torch.Tensor) -> dh.Distribution:
    return dh.get_family("censored", base="exponential").distribution(rate=rate)


def written_out(time, event, t, of_censoring=False, left=False) -> float:
    """Kaplan and Meier's product; at one time, events come before censoring."""
    value = 1.0
    for u in np.unique(time):
        if u > t or (left and u == t):
            break
        at_risk, events = (time >= u).sum(), ((time == u) & event).sum()
        if of_censoring:
            at_risk, events = at_risk - events, ((time == u) & ~event).sum()
        value *= 1 - events / at_risk if at_risk else 1.0
    return value


def test_kaplan_meier_is_the_product_over_times(lifetimes):
    time, event, _ = lifetimes
    points = np.concatenate([time, time + 0.05, [0.0]])
    for of_censoring, estimate in (
        (False, m.KaplanMeier.of(pairs(time, event))),
        (True, m.KaplanMeier.of_censoring(pairs(time, event))),
    ):
        for left, value in (
            (False, estimate.at(torch.from_numpy(points))),
            (True, estimate.before(torch.from_numpy(points))),
        ):
            expected = [written_out(time, event, t, of_censoring, left) for t in points]
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    weight = torch.arange(60) % 3
    repeated = np.repeat(np.arange(60), weight)
    by_weight = m.KaplanMeier.of(pairs(time, event), weight.double())
    by_rows = m.KaplanMeier.of(pairs(time[repeated], event[repeated]))
    torch.testing.assert_close(by_weight.survival, by_rows.survival)


def brier(time, event, rate, t) -> float:
    """Graf et al. 1999, equation 6."""
    total = 0.0
    for T, died, r in zip(time, event, rate.numpy(), strict=True):
        survival, lives_on = math.exp(-r * t), t < T
        if died and not lives_on:
            total += survival**2 / written_out(time, event, T, True, left=True)
        elif lives_on:
            total += (1 - survival) ** 2 / written_out(time, event, t, True)
    return total / len(time)


def test_brier_score_is_weighted_by_the_chance_not_to_be_censored(lifetimes):
    time, event, rate = lifetimes
    y, dist = pairs(time, event), forecast(rate)
    censoring = m.KaplanMeier.of_censoring(y)
    several = m.CensoredBrierScore([0.5, 1.0, 1.55], censoring)
    expected = [brier(time, event, rate, t) for t in (0.5, 1.0, 1.55)]
    np.testing.assert_allclose(several(dist, y), expected, rtol=1e-6)
    one = m.CensoredBrierScore(1.0, censoring)
    one.update(dist[:20], y[:20])
    one.update(dist[20:], y[20:])
    assert one.compute().item() == pytest.approx(expected[1], rel=1e-6)
    assert one.standard_error() > 0
    by_group = m.Grouped(m.CensoredBrierScore(1.0, censoring), groups=[0, 1])
    by_group.update(dist, y, (torch.arange(60) % 2).tolist())
    means = [float(value) for value in by_group.compute().values()]
    assert np.mean(means) == pytest.approx(expected[1], rel=1e-5)


def test_crps_is_the_integral_of_the_brier_score(lifetimes):
    time, event, rate = lifetimes
    y, dist = pairs(time, event), forecast(rate)
    grid = np.linspace(0, 2, 101)[:-1] + 0.01
    expected = np.mean([brier(time, event, rate, t) for t in grid]) * 2
    score = m.CensoredCRPS(2.0, m.KaplanMeier.of_censoring(y))(dist, y)
    assert score.item() == pytest.approx(expected, rel=3e-3)


def test_crps_without_censoring_is_that_of_what_happens_before_the_horizon(lifetimes):
    time, _, rate = lifetimes
    y, dist = torch.from_numpy(time), forecast(rate)
    score = m.CensoredCRPS(3.0, m.KaplanMeier.of_censoring(y))(dist, y)
    crps = dist.observed(upper=3.0).crps(y.clamp(max=3.0)).mean()
    assert score.item() == pytest.approx(crps.item(), rel=1e-6)


def concordance(time, event, predicted, weight=None, horizon=INF) -> float:
    right = total = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            later = time[j] > time[i] or (time[j] == time[i] and not event[j])
            if event[i] and later and time[i] <= horizon:
                w = 1.0 if weight is None else weight[i]
                total += w
                agrees = (predicted[j] > predicted[i]) + 0.5 * (predicted[j] == predicted[i])
                right += w * agrees
    return right / total


def test_concordance_counts_pairs(lifetimes):
    time, event, rate = lifetimes
    rate = (rate * 5).round() / 5  # some predictions are equal
    y, dist = pairs(time, event), forecast(rate)
    harrell = concordance(time, event, dist.median.numpy())
    metric = m.Concordance()
    metric.update(dist[:7], y[:7])
    metric.update(dist[7:], y[7:])
    assert metric.compute().item() == pytest.approx(harrell, rel=1e-6)
    censoring = m.KaplanMeier.of_censoring(y)
    chance = [written_out(time, event, T, True, left=True) for T in time]
    uno = concordance(time, event, dist.mean.numpy(), 1 / np.square(chance), horizon=1.5)
    metric = m.Concordance("mean", censoring, horizon=1.5)
    assert metric(dist, y).item() == pytest.approx(uno, rel=1e-6)
    weight = torch.arange(60) % 2
    kept = weight.bool()
    weighted = m.Concordance()
    weighted.update(dist, y, weight.double())
    assert weighted.compute() == m.Concordance()(dist[kept], y[kept])
    nothing = m.Concordance()
    nothing.update(dist[:0], y[:0])
    assert nothing.compute().isnan()


def test_censored_rows_spread_over_the_rest_of_the_pit(lifetimes):
    """D-calibration of Haider et al. 2020, equations 12 to 15."""
    time, event, rate = lifetimes
    expected = np.zeros(10)
    for T, died, r in zip(time, event, rate.numpy(), strict=True):
        survival = math.exp(-r * T)
        bin_ = min(9, int((1 - survival) * 10))
        if died:
            expected[bin_] += 1
            continue
        expected[bin_] += (1 - (9 - bin_) / 10 / survival) if bin_ < 9 else 1.0
        expected[bin_ + 1 :] += 0.1 / survival
    share = m.PITHistogram(10)(forecast(rate), pairs(time, event))
    np.testing.assert_allclose(share, expected / 60, atol=2e-6)


def simulated(rows: int = 4000):
    generator = torch.Generator().manual_seed(0)
    rate = torch.rand(rows, generator=generator, dtype=torch.float64) + 0.2
    life = -torch.rand(rows, generator=generator, dtype=torch.float64).log() / rate
    limit = -2 * torch.rand(rows, generator=generator, dtype=torch.float64).log()
    y = torch.stack([life.minimum(limit), torch.where(life <= limit, life, INF)], -1)
    return rate, life, y


def test_scores_of_censored_rows_are_those_of_all_lives():
    rate, life, y = simulated()
    dist = forecast(rate)
    censoring = m.KaplanMeier.of_censoring(y)
    complete = m.KaplanMeier.of_censoring(life)
    for make in (
        lambda censoring: m.CensoredBrierScore(1.0, censoring),
        lambda censoring: m.CensoredCRPS(2.0, censoring),
    ):
        metric = make(censoring)
        value, truth = metric(dist, y), make(complete)(dist, life)
        assert abs(value - truth) < 4 * metric.standard_error()
    coverage = m.Coverage([0.5, 0.9])(dist, y)
    np.testing.assert_allclose(coverage, [0.5, 0.9], atol=0.02)
    uno = m.Concordance(censoring=censoring, horizon=2.0)(dist, y)
    assert abs(uno - m.Concordance(horizon=2.0)(dist, life)) < 0.03
    wrong = forecast(0.5 * rate)
    assert m.CensoredBrierScore(1.0, censoring)(wrong, y) > m.CensoredBrierScore(1.0, censoring)(
        dist, y
    )
    assert m.NegativeLogLikelihood()(wrong, y) > m.NegativeLogLikelihood()(dist, y)


@pytest.mark.parametrize("make", [m.CRPS, m.MeanAbsoluteError, m.SpreadSkill, m.PinballLoss])
def test_metrics_of_numbers_refuse_censored_targets_by_name(make, lifetimes):
    time, event, rate = lifetimes
    dist, y = forecast(rate), pairs(time, event)
    name = make.__name__
    words = rf"{name} needs observed targets, got \d+ censored ones of 60. .*CensoredBrierScore"
    with pytest.raises(NotImplementedError, match=words):
        make().update(dist, y)
    observed = make()
    observed.update(dist, torch.stack([y[:, 0], y[:, 0]], -1))
    plain = make()
    plain.update(dist, y[:, 0])
    assert str(observed.compute()) == str(plain.compute())


def test_other_intervals_and_late_times_are_refused(lifetimes):
    time, event, rate = lifetimes
    y, dist = pairs(time, event), forecast(rate)
    left = y.clone()
    left[3] = torch.tensor([-INF, 2.0])
    with pytest.raises(NotImplementedError, match=r"right-censored targets, got 1 of 60 .*row 3"):
        m.Concordance().update(dist, left)
    assert m.PITHistogram(10)(dist, left).sum() == pytest.approx(1)
    assert m.NegativeLogLikelihood()(dist, left).isfinite()
    late = y.clone()
    late[0] = torch.tensor([100.0, INF])
    with pytest.raises(ValueError, match="got 200, where all are censored"):
        m.CensoredBrierScore(200.0, m.KaplanMeier.of_censoring(late))
    with pytest.raises(ValueError, match="later than the start"):
        m.CensoredCRPS(-1.0, m.KaplanMeier.of_censoring(y))


def test_defaults_of_the_family_take_censored_targets(lifetimes):
    time, event, rate = lifetimes
    metrics = m.default_metrics("censored", base="exponential")
    assert isinstance(metrics, MetricCollection)
    metrics.update(forecast(rate), pairs(time, event))
    values = metrics.compute()
    assert {"nll", "concordance", "coverage_0.9", "sharpness_0.9", "pit_ks"} <= set(values)
    assert "crps" not in values
    assert all(value.isfinite() for value in values.values())
