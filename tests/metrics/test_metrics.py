"""Metrics: the same alone, in batches and in two processes; right by other libraries, the formula
and simulation.
"""

import math
import pickle

import numpy as np
import pytest
import scipy.stats as st
import scoringrules as sr
import torch
import torchmetrics
from sklearn import metrics as sk

import disthead as dh
from disthead import metrics as m
from tests.metrics.tester import METRICS, ROWS, answers, dist_of, flat, process, run

every_metric = pytest.mark.parametrize("name", METRICS)
WHOLE = [slice(0, ROWS)]


def standard(rows: int) -> dh.Distribution:
    return normal(torch.zeros(rows), 1.0)


def normal(loc, scale) -> dh.Distribution:
    return dh.get_family("normal").distribution(loc=loc, scale=scale)


@every_metric
def test_batches_give_what_all_rows_give(name):
    batches = [slice(0, 7), slice(7, 7), slice(7, 8), slice(8, ROWS)]
    torch.testing.assert_close(
        answers(run(name, batches)), answers(run(name, WHOLE)), equal_nan=True
    )


@every_metric
def test_survives_reset_and_pickling(name):
    metric = run(name, WHOLE)
    expected = answers(metric)
    torch.testing.assert_close(
        answers(pickle.loads(pickle.dumps(metric))), expected, equal_nan=True
    )
    metric.reset()
    dist, y = dist_of(METRICS[name][1], **METRICS[name][2])
    metric.update(dist, y)
    torch.testing.assert_close(answers(metric), expected, equal_nan=True)


def test_two_processes_give_what_one_gives(tmp_path):
    half, rest = slice(0, ROWS // 2), [slice(ROWS // 2, 45), slice(45, ROWS)]
    splits = {"both have rows": [[half], rest], "one has none": [[], [half, *rest]]}
    torch.multiprocessing.start_processes(
        process, (str(tmp_path), splits), nprocs=2, start_method="spawn"
    )
    for rank in range(2):
        results = torch.load(tmp_path / str(rank))
        for split, name in results:
            torch.testing.assert_close(
                results[split, name],
                answers(run(name, WHOLE)),
                equal_nan=True,
                msg=f"{split}: {name} of process {rank}",
            )
    assert len(results) == len(splits) * len(METRICS)


@pytest.mark.parametrize(
    "metrics, family",
    [
        (
            [m.CRPS(), m.NegativeLogLikelihood(), m.RootMeanSquaredError(), m.PinballLoss(0.9)],
            "normal",
        ),
        (
            [m.CalibrationError(), m.CalibrationError("classwise", num_classes=2), m.Accuracy()],
            "bernoulli",
        ),
        ([m.PITHistogram(), m.PITHistogram(randomised=True), m.Coverage()], "poisson"),
        ([m.Grouped(m.CRPS(), bins=[0.0]), m.Grouped(m.MeanAbsoluteError(), bins=[0.0])], "normal"),
    ],
    ids=["scores", "classes", "pit", "groups"],
)
def test_a_collection_does_not_merge_metrics_whose_first_batch_agrees(metrics, family):
    """Torchmetrics merges metrics with equal states after the first batch, here an empty one."""
    dist, y = dist_of(family)
    grouping = [y] if isinstance(metrics[0], m.Grouped) else []
    collection = torchmetrics.MetricCollection(
        {str(place): metric.clone() for place, metric in enumerate(metrics)}
    )
    for rows in (slice(0, 0), slice(0, ROWS)):
        collection.update(dist[rows], y[rows], *(part[rows] for part in grouping))
    for place, metric in enumerate(metrics):
        metric.update(dist, y, *grouping)
        torch.testing.assert_close(flat(collection[str(place)].compute()), flat(metric.compute()))


def test_forward_of_groups_keeps_the_batches_before():
    dist, y = dist_of("normal")
    grouped, whole = (m.Grouped(m.CRPS(), bins=[0.0]) for _ in range(2))
    grouped(dist[:20], y[:20], y[:20])
    batch = grouped(dist[20:], y[20:], y[20:])
    torch.testing.assert_close(batch["< 0"], dist[20:].crps(y[20:])[y[20:] < 0].mean())
    whole.update(dist, y, y)
    torch.testing.assert_close(grouped.compute(), whole.compute())


def test_energy_score_in_batches_averages_out_the_error_of_its_samples():
    dist = dh.get_family("multivariate_normal", event_shape=(3,)).distribution(
        loc=torch.zeros(400, 3), scale_tril=torch.eye(3)
    )
    torch.manual_seed(0)
    y = dist.sample()
    exact, few = m.EnergyScore(samples=4000)(dist, y), m.EnergyScore(samples=16)
    for row in range(400):
        few.update(dist[row : row + 1], y[row : row + 1])
    # one row by 16 samples is wrong by about 0.25; the same samples for all 400 rows would leave
    # most of that
    assert float(few.compute()) == pytest.approx(float(exact), abs=0.05)


def test_forward_gives_the_value_of_the_batch():
    metric, (dist, y) = m.CRPS(), dist_of("normal")
    metric(dist[:10], y[:10])
    torch.testing.assert_close(metric(dist[10:], y[10:]), dist[10:].crps(y[10:]).mean())
    torch.testing.assert_close(metric.compute(), dist.crps(y).mean())


# Against other libraries and formulas


def test_scores_agree_with_scoringrules(generator):
    loc, y = torch.randn(2, 500, generator=generator, dtype=torch.float64)
    dist, mu, obs = normal(loc, 1.5), loc.numpy(), y.numpy()
    low, high = (st.norm.ppf(q, mu, 1.5) for q in (0.05, 0.95))
    pairs = [
        (m.NegativeLogLikelihood(), -st.norm.logpdf(obs, mu, 1.5).mean()),
        (m.CRPS(), sr.crps_normal(obs, mu, 1.5).mean()),
        (m.IntervalScore(0.9), sr.interval_score(obs, low, high, 0.1).mean()),
        (m.PinballLoss(0.95), sr.quantile_score(obs, high, 0.95).mean()),
        (m.Sharpness(0.9), (high - low).mean()),
        (m.MeanAbsoluteError(), sk.mean_absolute_error(obs, mu)),
        (m.RootMeanSquaredError(), sk.root_mean_squared_error(obs, mu)),
    ]
    for metric, expected in pairs:
        assert float(metric(dist, y)) == pytest.approx(expected, rel=1e-6), type(metric).__name__


def test_class_scores_agree_with_scikit_learn_and_torchmetrics(generator):
    dist, y = dist_of("categorical", rows=800, num_classes=4)
    one_hot = np.eye(4)[y.numpy()]
    assert float(m.BrierScore()(dist, y)) == pytest.approx(
        ((dist.probs.numpy() - one_hot) ** 2).sum(1).mean(), rel=1e-5
    )
    assert float(m.Accuracy()(dist, y)) == pytest.approx(sk.accuracy_score(y, dist.mode), rel=1e-6)
    top = sk.top_k_accuracy_score(y.numpy(), dist.probs.numpy(), k=2)
    assert float(m.TopKHitRate(2)(dist, y)) == pytest.approx(top, rel=1e-6)
    for norm, name in ((1, "l1"), (2, "l2"), ("max", "max")):
        theirs = torchmetrics.classification.MulticlassCalibrationError(4, n_bins=15, norm=name)(
            dist.probs, y
        )
        assert float(m.CalibrationError(norm=norm)(dist, y)) == pytest.approx(
            float(theirs), abs=1e-6
        )
    reached = dist.probs.cumsum(-1)[:, :-1].numpy()
    happened = y.numpy()[:, None] <= np.arange(3)
    assert float(m.RankedProbabilityScore()(dist, y)) == pytest.approx(
        ((reached - happened) ** 2).sum(1).mean(), rel=1e-5
    )


def test_kendall_tau_is_scipys_for_full_orders(generator):
    dist, y = dist_of("plackett_luce", rows=30, event_shape=(5,))
    expected = []
    for scores, order in zip(dist.logits.numpy(), y.numpy(), strict=True):
        place = np.empty(5)
        place[order] = np.arange(5)
        expected.append(st.kendalltau(-scores, place).statistic)
    assert float(m.KendallTau()(dist, y)) == pytest.approx(np.mean(expected), abs=1e-6)


def test_kendall_tau_of_a_partial_order_counts_the_pairs_it_decides():
    dist = dh.get_family("plackett_luce", event_shape=(4,)).distribution(
        logits=torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    )
    # 1 before all, the rest tied: right about items 2 and 3, wrong about item 0
    assert float(m.KendallTau()(dist, torch.tensor([[1, -1, -1, -1]]))) == pytest.approx(1 / 3)


def test_energy_score_of_one_number_is_the_crps_and_of_vectors_scoringrules():
    dist, y = dist_of("normal")
    torch.testing.assert_close(m.EnergyScore()(dist, y), m.CRPS()(dist, y))
    dist, y = dist_of("multivariate_normal", rows=20, event_shape=(2,))
    torch.manual_seed(0)
    ensemble = dist.sample((2000,)).movedim(0, 1).numpy()
    theirs = sr.es_ensemble(y.numpy(), ensemble).mean()
    assert float(m.EnergyScore(samples=4000)(dist, y)) == pytest.approx(theirs, rel=0.03)


def test_standard_errors_are_those_of_the_mean(generator):
    dist, y = dist_of("normal", rows=400)
    metric = m.CRPS()
    metric.update(dist, y)
    values = dist.crps(y).double().numpy()
    assert float(metric.standard_error()) == pytest.approx(st.sem(values), rel=1e-4)
    rmse = m.RootMeanSquaredError()
    rmse.update(dist, y)
    square = (y - dist.mean).square().double().numpy()
    assert float(rmse.standard_error()) == pytest.approx(
        st.sem(square) / (2 * square.mean() ** 0.5), rel=1e-4
    )


def test_weights_count_rows_as_often():
    dist, y = dist_of("normal", rows=10)
    weight = torch.tensor([1.0, 2.0, 0.0, 3.0, 1.0, 1.0, 0.0, 1.0, 2.0, 1.0])
    repeated = torch.repeat_interleave(torch.arange(10), weight.long())
    for metric in (m.CRPS(), m.PITHistogram(10), m.Coverage([0.5])):
        metric.update(dist, y, weight)
        other = metric.clone()
        other.reset()
        other.update(dist[repeated], y[repeated])
        torch.testing.assert_close(metric.compute(), other.compute())


def test_a_paired_difference_is_far_more_certain_than_the_two_means(generator):
    loc = 10 * torch.randn(500, generator=generator)
    y = (
        loc
        + torch.randn(500, generator=generator) * torch.rand(500, generator=generator).exp() ** 2
    )
    good, worse = normal(loc, 2.0), normal(loc + 0.2, 2.0)
    difference, alone = m.PairedDifference(m.CRPS()), m.CRPS()
    difference.update(good, worse, y)
    alone.update(good, y)
    rows = (good.crps(y) - worse.crps(y)).double().numpy()
    assert float(difference.compute()) == pytest.approx(rows.mean(), rel=1e-5)
    assert float(difference.standard_error()) == pytest.approx(st.sem(rows), rel=1e-4)
    assert difference.standard_error() < 0.3 * alone.standard_error()


def test_skill_is_one_minus_the_ratio_with_the_error_of_resampling(generator):
    y = torch.randn(2000, generator=generator)
    dist, reference = normal(0.8 * y, 0.6), normal(0.0, 1.0)
    skill = m.Skill(m.CRPS(), reference)
    skill.update(dist, y)
    ours, theirs = dist.crps(y), reference.expand((2000,)).crps(y)
    torch.testing.assert_close(skill.compute(), 1 - ours.mean() / theirs.mean())
    rows = torch.randint(2000, (2000, 400), generator=generator)
    resampled = 1 - ours[rows].mean(0) / theirs[rows].mean(0)
    assert float(skill.standard_error()) == pytest.approx(float(resampled.std()), rel=0.15)
    nats = m.Skill(m.NegativeLogLikelihood(), reference)
    torch.testing.assert_close(nats(dist, y), (dist.log_prob(y) - reference.log_prob(y)).mean())


# Calibration by simulation


def uniformity_p_values(sets: int, draw) -> tuple[np.ndarray, np.ndarray]:
    result = []
    for seed in range(sets):
        metric = m.PITHistogram(randomised=True, seed=seed)
        torch.manual_seed(seed)
        metric.update(*draw())
        result.append(metric.uniformity())
    return np.array([u.ks_p_value for u in result]), np.array([u.cvm_p_value for u in result])


def gammas():
    dist = dh.get_family("gamma").from_raw(torch.randn(500, 2))
    return dist, dist.sample()


def counts():
    dist = dh.get_family("poisson").from_raw(2 * torch.randn(500, 1))
    return dist, dist.sample()


@pytest.mark.parametrize("draw", [counts, pytest.param(gammas, marks=pytest.mark.slow)])
def test_p_values_of_a_calibrated_forecast_are_uniform(draw):
    """The test of the test."""
    for values in uniformity_p_values(200, draw):
        assert st.kstest(values, "uniform").pvalue > 1e-3
        assert 0.02 <= (values < 0.05).mean() <= 0.11


def test_uniformity_statistics_are_scipys(generator):
    u = torch.rand(3000, generator=generator, dtype=torch.float64) ** 1.05
    metric = m.PITHistogram()
    metric.update(normal(torch.zeros_like(u), 1.0), torch.special.ndtri(u))
    result = metric.uniformity()
    ks, cvm = st.kstest(u, "uniform"), st.cramervonmises(u, "uniform")
    assert result.ks_statistic == pytest.approx(ks.statistic, abs=1e-3)
    assert result.ks_p_value == pytest.approx(ks.pvalue, abs=0.02)
    assert result.cvm_statistic == pytest.approx(cvm.statistic, abs=0.02)
    assert result.cvm_p_value == pytest.approx(cvm.pvalue, abs=0.02)
    assert result.mean == pytest.approx(float(u.mean()), abs=1e-4)
    assert result.dispersion == pytest.approx(12 * float(u.var()), abs=1e-2)


@pytest.mark.parametrize("x", [0.05, 0.1, 0.3, 0.46136, 1.0, 2.0])
def test_the_tail_of_cramer_von_mises_is_scipys(x):
    from scipy.stats._hypotests import _cdf_cvm_inf

    from disthead.metrics.probability_integral import _cramer_von_mises_tail

    assert _cramer_von_mises_tail(x) == pytest.approx(1 - float(_cdf_cvm_inf(x)), abs=1e-9)


@pytest.mark.parametrize("scale, shape", [(0.5, "U"), (2.0, "hump")])
def test_too_narrow_is_a_u_and_too_wide_a_hump(scale, shape, generator):
    y = torch.randn(20_000, generator=generator)
    dist = normal(torch.zeros(20_000), scale)
    pit, coverage = m.PITHistogram(10), m.Coverage([0.5, 0.9])
    for metric in (pit, coverage):
        metric.update(dist, y)
    ends, middle, result = pit.compute()[[0, -1]], pit.compute()[4:6], pit.uniformity()
    exact = 2 * st.norm.cdf(scale * st.norm.ppf([0.75, 0.95])) - 1
    assert coverage.compute().numpy() == pytest.approx(exact, abs=4 * 0.5 / 20_000**0.5)
    if shape == "U":
        assert ends.min() > 1.5 * middle.max()
        assert result.dispersion > 1.5
    else:
        assert ends.max() < 0.5 * middle.min()
        assert result.dispersion < 0.6
    assert result.ks_p_value < 1e-6
    assert result.mean == pytest.approx(0.5, abs=0.01)


def test_the_histogram_of_counts_is_that_of_czado_and_others():
    dist, y = dist_of("poisson", rows=50)
    edges = torch.linspace(0, 1, 11, dtype=torch.float64)
    below, upto = (part.double().unsqueeze(-1) for part in dist.cdf_limits(y))
    cumulative = ((edges - below) / (upto - below)).clamp(0, 1).mean(0)
    torch.testing.assert_close(
        m.PITHistogram(10)(dist, y).double(), cumulative.diff(), rtol=1e-5, atol=1e-6
    )


def test_coverage_counts_rows_inside_the_interval():
    dist, y = dist_of("student_t", rows=500)
    levels = [0.05, 0.5, 0.683, 0.9, 0.99]
    result = m.Coverage(levels)(dist, y)
    for level, share in zip(levels, result, strict=True):
        lower, upper = dist.interval(level)
        assert float(share) == pytest.approx(
            float(((lower <= y) & (y <= upper)).float().mean()), abs=1e-6
        )


def test_ten_calibrated_outputs_read_as_calibrated(generator):
    covariance = torch.randn(10, 10, generator=generator)
    tril = torch.linalg.cholesky(covariance @ covariance.T / 10 + 0.1 * torch.eye(10))
    dist = dh.get_family("multivariate_normal", event_shape=(10,)).distribution(
        loc=torch.randn(4000, 10, generator=generator), scale_tril=tril
    )
    torch.manual_seed(0)
    y = dist.sample()
    margin = 4 * 0.5 / 4000**0.5
    each, joint = m.Coverage([0.5, 0.9], num_outputs=10), m.Coverage([0.5, 0.9], joint=True)
    pit = m.PITHistogram(joint=True)
    for metric in (each, joint, pit):
        metric.update(dist, y)
    assert each.compute().shape == (10, 2)
    for share in (*each.compute(), joint.compute()):
        assert share.numpy() == pytest.approx([0.5, 0.9], abs=margin)
    assert pit.uniformity().ks_p_value > 0.01
    independent = normal(dist.loc, dist.stddev).to_event(1)  # right margins, wrong jointly
    pit.reset()
    pit.update(independent, y)
    assert pit.uniformity().ks_p_value < 1e-4


def test_directions_across_pi():
    dist = dh.get_family("von_mises").distribution(loc=torch.tensor([3.1]), concentration=50.0)
    y = torch.tensor([-3.1])
    assert float(m.MeanAbsoluteError()(dist, y)) == pytest.approx(2 * math.pi - 6.2, abs=1e-5)
    lower, upper = dist.interval(0.9)
    width = float(upper - lower) % (2 * math.pi)
    assert float(m.Sharpness()(dist, y)) == pytest.approx(width, rel=1e-5)
    assert float(m.IntervalScore()(dist, y)) == pytest.approx(width, rel=1e-5)  # inside
    assert float(m.Coverage([0.9])(dist, y)) == 1


def test_true_distribution_has_the_best_expected_score(generator):
    """Propriety: paired differences to other forecasts are positive beyond chance."""
    y = 2 * torch.randn(20_000, generator=generator) + 1
    truth = normal(torch.ones(20_000), 2.0)
    for other in (
        normal(torch.ones(20_000), 1.5),
        normal(torch.ones(20_000), 2.7),
        normal(torch.full((20_000,), 1.3), 2.0),
    ):
        for metric in (
            m.CRPS(),
            m.NegativeLogLikelihood(),
            m.PinballLoss(0.8),
            m.IntervalScore(0.8),
        ):
            difference = m.PairedDifference(metric)
            difference.update(other, truth, y)
            assert difference.compute() > -2 * difference.standard_error()
        difference = m.PairedDifference(m.CRPS())
        difference.update(other, truth, y)
        assert difference.compute() > 3 * difference.standard_error()


def test_honest_spread_agrees_with_the_error_in_every_bin(generator):
    scale = torch.rand(50_000, generator=generator).exp() ** 3
    y = scale * torch.randn(50_000, generator=generator)
    result = m.SpreadSkill(bins=10)(normal(torch.zeros(50_000), scale), y)
    assert len(result["spread"]) == 10
    assert ((result["error"] - result["spread"]).abs() < 4 * result["standard_error"]).all()
    assert result["count"].min() > 3000
    assert result["count"].sum() == 50_000


def test_calibration_error_of_calibrated_classes_is_within_its_band_and_of_sharpened_ones_is_not():
    dist, y = dist_of("categorical", rows=4000, num_classes=3)
    sharpened = dh.get_family("categorical", num_classes=3).distribution(logits=2 * dist.logits)
    for kind in ("top", "classwise"):
        for adaptive in (False, True):
            right, wrong = (
                m.CalibrationError(kind, adaptive=adaptive, num_classes=3) for _ in range(2)
            )
            right.update(dist, y)
            wrong.update(sharpened, y)
            assert right.compute() < right.band(0.999, 200)
            assert wrong.compute() > wrong.band(0.999, 200)


def test_soft_labels_of_an_event_count_as_so_much_of_a_hit():
    dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([0.1, 0.3, 0.7]))
    for kind in ("top", "classwise"):
        honest = m.CalibrationError(kind, num_classes=2)(dist, torch.tensor([0.1, 0.3, 0.7]))
        wrong = m.CalibrationError(kind, num_classes=2)(dist, torch.tensor([0.3, 0.5, 0.5]))
        assert [float(honest), float(wrong)] == pytest.approx([0, 0.2], abs=1e-6)


def test_debiased_error_of_a_calibrated_forecast_is_smaller_than_the_plain_one():
    plain, debiased = [], []
    for seed in range(20):
        torch.manual_seed(seed)
        dist = dh.get_family("bernoulli").from_raw(torch.randn(300, 1))
        y = dist.sample()
        plain.append(float(m.CalibrationError(norm=2)(dist, y)) ** 2)
        debiased.append(float(m.CalibrationError(norm=2, debiased=True)(dist, y)) ** 2)
    assert np.mean(debiased) < 0.6 * np.mean(plain)


def test_groups_by_label_and_by_bins_of_a_feature():
    dist, y = dist_of("normal")
    labels = ["a" if k % 3 else "b" for k in range(ROWS)]
    grouped = m.Grouped(m.CRPS(), groups=["a", "b", "nobody"])
    grouped.update(dist[:10], y[:10], labels[:10])
    grouped.update(dist[10:], y[10:], labels[10:])
    result, score = grouped.compute(), dist.crps(y)
    chosen = torch.tensor([label == "b" for label in labels])
    assert set(result) == {"a", "b"}
    torch.testing.assert_close(result["b"], score[chosen].mean())
    assert grouped.worst() == max(result, key=lambda label: float(result[label]))
    feature = torch.linspace(-1, 1, ROWS)
    binned = m.Grouped(m.CRPS(), bins=[-0.5, 0.5])
    binned.update(dist, y, feature)
    inside = (feature >= -0.5) & (feature < 0.5)
    torch.testing.assert_close(binned.compute()["-0.5 to 0.5"], score[inside].mean())
    with pytest.raises(ValueError, match="unknown group 'A'"):
        grouped.update(dist[:1], y[:1], ["A"])
    with pytest.raises(ValueError, match="one entry for each of 2 rows, got 1"):
        grouped.update(dist[:2], y[:2], ["a"])


def _has_finite_variance(dist) -> bool:
    try:
        return bool(dist.variance.isfinite().all())
    except NotImplementedError:
        return False


@pytest.mark.parametrize("family", dh.families())
def test_default_metrics_of_every_family_answer(family):
    collection = m.default_metrics(family)
    made = dh.explanation.example(family)
    dist = made.from_raw(torch.randn(40, made.width(), generator=torch.Generator().manual_seed(0)))
    torch.manual_seed(0)
    collection.update(dist, dist.sample())
    heavy = made.kind == "continuous" and not _has_finite_variance(dist)
    for name, value in collection.compute().items():
        assert heavy or torch.as_tensor(value).isfinite().all(), name


def test_histogram_and_coverage_share_one_state():
    collection, (dist, y) = (
        torchmetrics.MetricCollection([m.PITHistogram(), m.Coverage()]),
        dist_of("normal"),
    )
    collection.update(dist, y)
    collection.update(dist, y)
    assert list(collection.compute_groups.values()) == [["PITHistogram", "Coverage"]]
    torch.testing.assert_close(collection.compute()["PITHistogram"], m.PITHistogram()(dist, y))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: m.Coverage([90]), "level must be between 0 and 1"),
        (lambda: m.PITHistogram(bins=7), "bins must divide 2000"),
        (lambda: m.CRPS(2)(*dist_of("normal", outputs=3)), "num_outputs=2, the distribution has 3"),
        (lambda: m.CRPS().update(standard(5), torch.zeros(5, 1)), r"Try y.squeeze\(-1\)"),
        (
            lambda: m.PITHistogram().update(standard(5), torch.zeros(1)),
            r"shape \(5,\) of the distribution, got \(1,\)",
        ),
        (lambda: m.SpreadSkill().update(standard(5), torch.zeros(5, 5)), r"got \(5, 5\)"),
        (lambda: m.CRPS().update(standard(5), torch.zeros(5), torch.ones(1)), "one value per row"),
        (
            lambda: m.CRPS().update(standard(2), torch.zeros(2), torch.tensor([1.0, -1.0])),
            "-1 at row 1",
        ),
        (
            lambda: m.PITHistogram().update(standard(2), torch.tensor([0.0, math.nan])),
            "nan at row 1",
        ),
        (
            lambda: m.CalibrationError("classwise", num_classes=3).plot(),
            "one curve shows one class",
        ),
        (lambda: m.CalibrationError("classwise"), "needs num_classes"),
        (lambda: m.CalibrationError(debiased=True), "debiased takes norm=2"),
        (lambda: m.MeanAbsoluteError("average"), "point must be"),
        (lambda: m.Grouped(m.CRPS()), "either groups"),
        (lambda: m.Skill(m.CRPS()).update(*dist_of("normal")), "needs a reference"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "metric, family",
    [
        (m.CRPS(), "categorical"),
        (m.PITHistogram(), "categorical"),
        (m.CalibrationError(), "normal"),
        (m.KendallTau(), "normal"),
        (m.TopKHitRate(1), "bernoulli"),
        (m.TopKHitRate(1), "mixture"),
    ],
)
def test_what_mathematics_does_not_offer_is_refused_with_a_reason(metric, family):
    with pytest.raises(NotImplementedError, match=r"\w{3,}"):
        metric.update(*dist_of(family, **({"num_classes": 3} if family == "categorical" else {})))


@pytest.mark.parametrize(
    "metric",
    [
        m.CRPS(),
        m.PITHistogram(),
        m.Coverage([0.5, 0.9]),
        m.SpreadSkill(),
        m.Grouped(m.CRPS(), bins=[0.0]),
    ],
)
def test_pictures_are_drawn(metric):
    import matplotlib.pyplot as plt

    dist, y = dist_of("normal")
    metric.update(dist, y, *([dist.loc] if isinstance(metric, m.Grouped) else []))
    figure, ax = metric.plot()
    assert ax.has_data()
    plt.close(figure)
