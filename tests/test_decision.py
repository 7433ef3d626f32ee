"""Decisions and columns of predictions."""

import numpy as np
import pandas as pd
import pytest
import torch

import disthead as dh
from disthead.decision import decide
from disthead.prediction import predictions, write_predictions


def test_equal_costs_give_the_mode(generator):
    logits = torch.randn(1000, 5, generator=generator)
    dist = dh.get_family("categorical", num_classes=5).distribution(logits=logits)
    for unit in (1.0, 3.7):
        torch.testing.assert_close(decide(dist, unit * (1 - torch.eye(5))), dist.mode)
    odds = dh.get_family("bernoulli").distribution(logits=torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(decide(odds, [[0, 1], [1, 0]]), odds.mode.long())


def test_the_action_has_the_least_expected_cost(generator):
    cost = torch.rand(4, 3, generator=generator)
    probs = torch.rand(200, 3, generator=generator).softmax(-1)
    dist = dh.get_family("categorical", num_classes=3).distribution(probs=probs)
    torch.testing.assert_close(decide(dist, cost), (probs @ cost.T).argmin(-1))
    binary = dh.get_family("bernoulli").distribution(probs=probs[:, 0])
    pair = torch.stack([1 - probs[:, 0], probs[:, 0]], -1)
    torch.testing.assert_close(decide(binary, cost[:, :2]), (pair @ cost[:, :2].T).argmin(-1))


def test_asymmetric_costs_give_a_quantile(generator):
    """The decision costs less on average than the ones beside it."""
    dist = dh.get_family("gamma").distribution(concentration=3.0, rate=0.5)
    under, over = 3.0, 1.0
    action = decide(dist, (under, over))
    torch.testing.assert_close(dist.cdf(action), torch.tensor(0.75))
    y = dist.icdf((torch.arange(2_000) + 0.5) / 2_000)

    def mean_cost(a):
        return (under * (y - a).clamp(min=0) + over * (a - y).clamp(min=0)).mean()

    assert mean_cost(action) < min(mean_cost(0.95 * action), mean_cost(1.05 * action))
    torch.testing.assert_close(decide(dist, (2, 2)), dist.median)
    torch.testing.assert_close(decide(dist), dist.mode)


@pytest.mark.parametrize(
    "family, cost",
    [("bernoulli", [[0.0, 10.0], [1.0, 0.0]]), ("normal", (3, 1)), ("poisson", (1, 3))],
)
def test_costs_are_taken_from_arrays_tables_and_lists(family, cost, generator):
    dist = dh.DistributionHead(family, 2)(torch.randn(20, 2, generator=generator))
    expected = decide(dist, torch.tensor(cost))
    table = pd.DataFrame(cost) if family == "bernoulli" else pd.Series(cost)
    for given in (
        np.array(cost),
        np.array(cost, dtype=np.int32),
        cost,
        table,
        [torch.tensor(part) for part in cost],
    ):
        torch.testing.assert_close(decide(dist, given), expected)


@pytest.mark.parametrize(
    "family, cost, message",
    [
        ("bernoulli", (1, 3), "matrix"),
        ("bernoulli", [[0, 1, 2]], "one column per class"),
        ("normal", [[0, 1], [1, 0]], "pair"),
        ("normal", (0, 1), "positive"),
        ("normal", (1, float("inf")), "finite, got 1 of 2 values: inf at row 1"),
        ("bernoulli", [[0, 1], [float("nan"), 0]], "nan at row 1, column 0"),
        ("bernoulli", [[0, 1], [1]], "equal length"),
        ("normal", "high", "numbers"),
    ],
)
def test_bad_costs_are_explained(family, cost, message):
    head = dh.DistributionHead(family, 1)
    with pytest.raises(ValueError, match=message):
        decide(head(torch.zeros(2, 1)), cost)


@pytest.mark.parametrize(
    "family, options, has, has_not",
    [
        (
            "normal",
            {},
            {"loc", "scale", "mean", "median", "mode", "stddev", "quantile_0.1", "lower_90"},
            {"log_scale"},
        ),
        (
            "normal",
            {"event_shape": (2,)},
            {"loc_a", "scale_b", "quantile_0.9_b", "upper_90_a"},
            {"loc"},
        ),
        (
            "normal_mixture",
            {"num_components": 3},
            {"logits_2", "loc_0", "mean", "upper_90"},
            {"loc"},
        ),
        ("poisson", {}, {"rate", "mean", "median", "lower_90"}, set()),
        (
            "multivariate_normal",
            {"event_shape": (2,)},
            {"loc_a", "mean_b", "mode_a", "scale_tril_1_a"},
            {"quantile_0.1"},
        ),
        ("plackett_luce", {"event_shape": (3,)}, {"logits_0", "mode_a", "mode_c"}, {"lower_90_a"}),
        ("bernoulli", {}, {"probability_0", "probability_1", "mode"}, {"mean"}),
        ("beta", {}, {"concentration1", "mean", "lower_90"}, set()),
    ],
)
def test_columns_of_predictions(family, options, has, has_not, generator):
    head = dh.DistributionHead(family, 2, **options)
    columns = predictions(head(torch.randn(6, 2, generator=generator)), ["a", "b", "c"])
    assert has <= set(columns)
    assert not has_not & set(columns)
    assert {len(values) for values in columns.values()} == {6}
    assert {values.ndim for values in columns.values()} == {1}


def test_classes_go_by_their_names(tmp_path):
    probs = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    dist = dh.get_family("categorical", num_classes=3).distribution(probs=probs)
    columns = predictions(dist, ["wine"], {"wine": ["red", "rose", "white"]})
    assert columns["mode"].tolist() == ["rose", "red"]
    assert columns["probability_white"] == pytest.approx([0.3, 0.3])
    for name in ("p.csv", "p.parquet"):
        write_predictions(columns, str(tmp_path / name))
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "p.parquet"), pd.DataFrame(columns), check_dtype=False
    )
    with pytest.raises(ValueError, match="csv and"):
        write_predictions(columns, str(tmp_path / "p.xls"))


def test_the_interval_holds_its_level():
    dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=2.0)
    columns = predictions(dist, level=0.8, quantiles=[0.1])
    assert columns["lower_80"] == pytest.approx(columns["quantile_0.1"])
    assert columns["upper_80"] == pytest.approx(-columns["quantile_0.1"])
