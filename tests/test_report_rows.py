"""What counts as a row of a report: weights, clusters, arrays, columns of tables, labels of
classes.
"""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

import disthead as dh
from disthead.diagnostics import circular_pit
from disthead.distributions.scores import draw
from disthead.errors import TargetError
from disthead.report import Batch, evaluate
from tests.cases import BEYOND_THE_SAMPLE, CIRCULAR_MIXTURES, EVERYTHING, NAMED, Case, rows

ROWS = 80
SLOW = [
    "mixture of poissons",
    "mixture of normals",
    "independent poissons",
    "independent gammas",
    "negative_binomial",
    "independent von_mises",
    "independent mixtures",
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def family(name, **options):
    return dh.get_family(name, **options).distribution


def predictions(case: Case, count: int = ROWS):
    """Forecasts that differ from row to row, with outcomes drawn from them."""
    g = generator()
    dist = case.from_raw(
        torch.tensor(case.raw) + 0.3 * torch.randn(count, len(case.raw), generator=g)
    )
    return dist, draw(dist, 1, g)[0]


def said(result) -> list:
    """All verdicts but those that name rows by their number."""
    named = ("outliers", "error against spread")
    return [
        (v.output, v.aspect, v.status, v.sentence) for v in result.verdicts if v.aspect not in named
    ]


@pytest.mark.parametrize(
    "case",
    rows(
        [case for case in EVERYTHING if not case.moving_support], slow=(*SLOW, *BEYOND_THE_SAMPLE)
    ),
)
def test_a_row_of_weight_zero_is_not_there(case):
    dist, y = predictions(case)
    there = torch.rand(ROWS, generator=generator(1)) > 0.3
    weight = there * (1 + torch.rand(ROWS, generator=generator(2)))
    x, group = (
        torch.randn(ROWS, generator=generator(3)),
        torch.randint(0, 2, (ROWS,), generator=generator(4)),
    )
    bad = y.clone()
    bad[~there] = math.nan if y.is_floating_point() else -77
    whole = evaluate(dist, bad, weight=weight, features={"x": x}, group=group)
    part = evaluate(
        dist[there], y[there], weight=weight[there], features={"x": x[there]}, group=group[there]
    )
    assert whole.rows == int(there.sum())
    assert whole.scores == part.scores
    assert said(whole) == said(part)


@pytest.mark.parametrize(
    "kind", ["normal", "poisson", "von_mises", "bernoulli", "categorical", "plackett_luce"]
)
def test_whole_weights_give_the_values_of_repeated_rows(kind):
    dist, y = predictions(NAMED[kind], 200)
    weight = torch.randint(1, 4, (200,), generator=generator(5))
    index = torch.arange(200).repeat_interleave(weight)
    weighted, repeated = evaluate(dist, y, weight=weight), evaluate(dist[index], y[index])
    for name, score in repeated.scores[""].items():
        if "Calibration error" not in name:  # removes a bias that depends on the number of rows
            assert weighted.scores[""][name].value == pytest.approx(score.value, rel=1e-5), name
    for key, numbers in repeated.numbers[""].items():
        if key in ("reliability", "exceedance"):
            own = weighted.numbers[""][key]
            assert own.miscalibration == pytest.approx(numbers.miscalibration, abs=1e-9)
            torch.testing.assert_close(own.recalibrated, numbers.recalibrated)
    if "pit" in repeated.numbers[""]:
        torch.testing.assert_close(
            weighted.numbers[""]["pit"].frequency, repeated.numbers[""]["pit"].frequency
        )
        torch.testing.assert_close(
            weighted.numbers[""]["coverage"].coverage, repeated.numbers[""]["coverage"].coverage
        )


def test_rows_written_twice_in_clusters_have_the_standard_errors_of_rows_written_once():
    x = torch.randn(500, generator=generator())
    y = x + torch.randn(500, generator=generator(1))
    dist, twice = family("normal")(loc=x, scale=1.0), torch.arange(500).repeat(2)
    once = evaluate(dist, y, features={"x": x})
    clustered = evaluate(dist[twice], y[twice], features={"x": x[twice]}, groups=twice)
    naive = evaluate(dist[twice], y[twice])
    for name, score in once.scores[""].items():
        assert clustered.scores[""][name].value == pytest.approx(score.value, rel=1e-5)
        assert clustered.scores[""][name].standard_error == pytest.approx(
            score.standard_error, rel=2e-3
        )
        assert naive.scores[""][name].standard_error < 0.75 * score.standard_error
    assert clustered.numbers[""]["coverage"].count == pytest.approx(500, rel=0.01)
    aspects = {
        "50 % intervals",
        "90 % intervals",
        "bias",
        "calibration by feature",
        "bias by feature",
    }
    assert [v for v in said(clustered) if v[1] in aspects] == [
        v for v in said(once) if v[1] in aspects
    ]


@pytest.mark.parametrize("unit", [1e-300, 1e30])
def test_the_unit_of_weights_does_not_matter(unit):
    dist, y = (
        family("normal")(loc=torch.zeros(200), scale=1.0),
        torch.randn(200, generator=generator()),
    )
    weight = torch.rand(200, generator=generator(1), dtype=torch.float64) + 0.1
    expected, result = evaluate(dist, y, weight=weight), evaluate(dist, y, weight=weight * unit)
    assert said(result) == said(expected)
    for name, score in expected.scores[""].items():
        assert result.scores[""][name].standard_error == pytest.approx(
            score.standard_error, rel=1e-6
        )


def test_clustered_standard_errors_are_those_of_the_formula():
    cluster = np.repeat(np.arange(40), 5)
    shared = torch.randn(40, generator=generator()).repeat_interleave(5)
    y = shared + torch.randn(200, generator=generator(1))
    dist = family("normal")(loc=torch.zeros(200), scale=1.5)
    crps = dist.crps(y).double().numpy()
    sums = np.bincount(cluster, crps - crps.mean())
    expected = math.sqrt((sums**2).sum() * 40 / 39) / 200
    result = evaluate(dist, y, groups=cluster)
    assert result.scores[""]["CRPS"].standard_error == pytest.approx(expected, rel=1e-4)
    baseline = family("normal")(loc=torch.ones(()), scale=1.0)
    pairs = crps - baseline.expand((200,)).crps(y).double().numpy()
    sums = np.bincount(cluster, pairs - pairs.mean())
    difference = evaluate(dist, y, groups=cluster, baseline=baseline).scores[""][
        "CRPS minus that of the baseline"
    ]
    assert difference.standard_error == pytest.approx(
        math.sqrt((sums**2).sum() * 40 / 39) / 200, rel=1e-4
    )


def test_panels_that_share_their_errors_are_not_called_miscalibrated():
    """A shared error moves all rows of a panel. Of independent rows such a coverage is a fault."""
    wrong = naive = 0
    for seed in range(6):
        shared = torch.randn(20, generator=generator(seed)).repeat_interleave(20)
        y = 0.8 * shared + 0.6 * torch.randn(400, generator=generator(100 + seed))
        dist, panel = family("normal")(loc=torch.zeros(400), scale=1.0), torch.arange(400) // 20
        aspects = ("bias", "shape", "90 % intervals")
        for result, has_groups in (
            (evaluate(dist, y, groups=panel), True),
            (evaluate(dist, y), False),
        ):
            faults = sum(
                v.status in ("fair", "poor") for v in result.verdicts if v.aspect in aspects
            )
            wrong, naive = wrong + faults * has_groups, naive + faults * (not has_groups)
    assert naive >= 5
    assert wrong <= 1


def test_arrays_columns_and_lists_are_tensors():
    x = torch.randn(200, generator=generator())
    y = x + torch.randn(200, generator=generator(1))
    dist, labels = family("normal")(loc=x, scale=1.0), ["a", "b"] * 100
    weight = torch.rand(200, generator=generator(2)) + 0.5
    expected = said(
        evaluate(dist, y, weight=weight, features={"x": x}, group=labels, groups=labels * 1)
    )
    frame = pd.DataFrame({"x": x.numpy()})
    for target, w, features, group in (
        (y.numpy(), weight.numpy(), frame, pd.Series(labels)),
        (
            pd.Series(y.numpy(), index=range(7, 207)),
            pd.Series(weight.numpy()),
            {"x": x.tolist()},
            np.array(labels),
        ),
        (y.tolist(), weight.tolist(), frame["x"], tuple(labels)),
    ):
        assert (
            said(evaluate(dist, target, weight=w, features=features, group=group, groups=group))
            == expected
        )


def test_features_may_be_texts_truth_values_dates_and_missing():
    y = torch.randn(400, generator=generator())
    late = np.arange(400) >= 300
    frame = pd.DataFrame(
        {
            "color": np.where(late, "red", "blue"),
            "is_late": late,
            "day": pd.date_range("2024-01-01", periods=400, tz="Europe/Berlin"),
            "size": pd.array([1.5, None] * 200, dtype="Float64"),
            "kind": pd.Categorical(["u", None] * 200),
        }
    )
    shifted = family("normal")(loc=torch.from_numpy(2.0 * late), scale=1.0)
    result = evaluate(shifted, y, features=frame)
    sentence = next(v.sentence for v in result.verdicts if v.aspect == "bias by feature")
    assert "Of 12 ranges" in sentence  # four of days, two of each of the others
    assert "color red" in sentence


def test_labels_of_classes_are_their_indices():
    dist = family("categorical", num_classes=3)(logits=torch.randn(300, 3, generator=generator()))
    y = draw(dist, 1, generator(1))[0]
    names = np.array(["cat", "dog", "owl"])
    expected = evaluate(dist, y, classes=names)
    assert said(evaluate(dist, names[y], classes=names)) == said(expected)
    assert said(evaluate(dist, pd.Series(names[y]), classes=list(names))) == said(expected)
    assert said(evaluate(dist.with_class_labels(list(names)), list(names[y]))) == said(expected)
    numbers = np.array([10, 20, 30])
    assert (
        evaluate(dist, numbers[y], classes=numbers).scores[""]["Accuracy"]
        == expected.scores[""]["Accuracy"]
    )
    coin = family("bernoulli")(logits=torch.randn(300, generator=generator()))
    hit = draw(coin, 1, generator(1))[0].bool().tolist()
    answers = ["yes" if one else "no" for one in hit]
    assert (
        evaluate(coin, answers, classes=["no", "yes"]).scores
        == evaluate(coin, hit, classes=["no", "yes"]).scores
    )


def test_a_class_to_ignore_is_no_row():
    dist = family("categorical", num_classes=3)(logits=torch.randn(300, 3, generator=generator()))
    y = draw(dist, 1, generator(1))[0]
    ignored = torch.where(torch.arange(300) < 60, -100, y)
    result = evaluate(dist, ignored, ignore_index=-100)
    assert result.rows == 240
    assert result.scores == evaluate(dist[60:], y[60:]).scores
    with pytest.raises(TargetError, match="-100 at row 0"):
        evaluate(dist, ignored)


def test_batches_may_have_weights_and_clusters():
    dist, y = (
        family("normal")(loc=torch.zeros(300), scale=1.0),
        torch.randn(300, generator=generator()),
    )
    weight, cluster = torch.rand(300, generator=generator(1)), np.arange(300) % 30
    weight[:100] = 0  # a whole batch that is not there
    whole = evaluate(dist, y, weight=weight, groups=cluster)
    parts = [torch.arange(300)[k : k + 100] for k in range(0, 300, 100)]
    batches = [Batch(dist[k], y[k], weight=weight[k], groups=cluster[k]) for k in parts]
    assert said(evaluate(batches)) == said(whole)
    assert evaluate(batches).scores[""]["CRPS"].value == pytest.approx(
        whole.scores[""]["CRPS"].value, rel=1e-6
    )
    with pytest.raises(ValueError, match="weight must be given with every batch or with none"):
        evaluate([batches[1], batches[2]._replace(weight=None)])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"weight": [1.0, -1.0, 1.0]}, "-1 at row 1"),
        ({"weight": [1.0, math.nan, 1.0]}, "nan at row 1"),
        ({"weight": [0.0, 0.0, 0.0]}, "only rows of weight 0"),
        ({"weight": [1.0, 1.0]}, r"shape \(3,\), got \(2,\)"),
        ({"groups": ["a", "a", "a"]}, "at least two different labels"),
        ({"group": ["a"]}, "one label per row, 3, got 1"),
        ({"features": torch.zeros(4, 2)}, "one value per row, 3, got 4"),
        ({"ignore_index": -100}, "ignore_index"),
        ({"level": 90}, "between 0 and 1"),
    ],
)
def test_errors_of_rows_say_what_is_wrong(options, message):
    dist = family("normal")(loc=torch.zeros(3), scale=1.0)
    with pytest.raises(ValueError, match=message):
        evaluate(dist, torch.zeros(3), **options)


def test_errors_of_labels_say_what_is_wrong():
    dist = family("categorical", num_classes=2)(logits=torch.zeros(2, 2))
    with pytest.raises(TypeError, match=r"classes=classifier\.classes_"):
        evaluate(dist, ["cat", "dog"])
    with pytest.raises(TargetError, match="'dgo' at row 1"):
        evaluate(dist, ["cat", "dgo"], classes=["cat", "dog"])


def test_directions_of_any_kind_have_a_circular_pit():
    [case] = CIRCULAR_MIXTURES
    dist, y = predictions(case, 800)
    result = evaluate(dist, y)
    uniformity = result.numbers[""]["uniformity"]
    assert uniformity.ks_p_value > 0.001
    exact = scipy.stats.kstest(circular_pit(dist, y).numpy(), "uniform")
    assert uniformity.ks_statistic == pytest.approx(exact.statistic, abs=1 / 2000)
    turned = torch.atan2((y + 0.7).sin(), (y + 0.7).cos())
    assert next(v for v in evaluate(dist, turned).verdicts if v.aspect == "bias").status == "poor"
