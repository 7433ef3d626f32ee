"""Weights in diagnostics: integers are repeated rows, clusters enlarge the bands of chance."""

import pytest
import torch

import disthead as dh
from disthead import diagnostics
from disthead.diagnostics.worm import feature_bins


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ROWS = 60
WEIGHT = torch.randint(1, 4, (ROWS,), generator=generator())
REPEAT = torch.arange(ROWS).repeat_interleave(WEIGHT)
X = torch.rand(ROWS, generator=generator(1), dtype=torch.float64)
Y = torch.randn(ROWS, generator=generator(2), dtype=torch.float64)


@pytest.mark.parametrize("level", [None, 0.3, 0.9])
def test_reliability_of_whole_weights_is_that_of_repeated_rows(level):
    outcome = (Y > 0).double() if level is None else 3 * X + Y
    own = diagnostics.reliability(X, outcome, level=level, resamples=0, weight=WEIGHT)
    repeated = diagnostics.reliability(X[REPEAT], outcome[REPEAT], level=level, resamples=0)
    torch.testing.assert_close(own.recalibrated, repeated.recalibrated)
    for part in ("score", "miscalibration", "discrimination", "uncertainty"):
        assert getattr(own, part) == pytest.approx(getattr(repeated, part), abs=1e-12)


def test_frequencies_of_whole_weights_are_those_of_repeated_rows():
    family = dh.get_family
    poisson, y = family("poisson").distribution(rate=4 * X), (5 * X).round()
    von_mises, angle = (
        family("von_mises").distribution(loc=6 * X - 3, concentration=2.0),
        (Y / 2).clamp(-3, 3),
    )
    probs, label = torch.rand(ROWS, 3, generator=generator(3)).softmax(-1), torch.arange(ROWS) % 3
    for own, repeated in (
        (
            diagnostics.rootogram(poisson, y, weight=WEIGHT),
            diagnostics.rootogram(poisson[REPEAT], y[REPEAT]),
        ),
        (
            diagnostics.rose(von_mises, angle, weight=WEIGHT),
            diagnostics.rose(von_mises[REPEAT], angle[REPEAT]),
        ),
    ):
        torch.testing.assert_close(own.observed, repeated.observed)
        torch.testing.assert_close(own.expected, repeated.expected)
    own, repeated = (
        diagnostics.confusion(probs, label, WEIGHT),
        diagnostics.confusion(probs[REPEAT], label[REPEAT]),
    )
    torch.testing.assert_close(own.count, repeated.count)
    torch.testing.assert_close(own.expected, repeated.expected)


def test_spreads_of_whole_weights_are_those_of_repeated_rows():
    own = diagnostics.sparsification(Y.abs(), X, weight=WEIGHT)
    repeated = diagnostics.sparsification(Y.abs()[REPEAT], X[REPEAT])
    assert own.random == pytest.approx(repeated.random)
    # the area between the steps of repeated rows is left out
    assert own.gain == pytest.approx(repeated.gain, abs=0.05)
    one = diagnostics.spread_skill(Y, 1 + X, bins=1, weight=WEIGHT)
    other = diagnostics.spread_skill(Y[REPEAT], 1 + X[REPEAT], bins=1)
    torch.testing.assert_close(one.error, other.error)
    torch.testing.assert_close(one.spread, other.spread)
    dist = dh.get_family("normal").distribution(loc=X, scale=1 + X)
    assert diagnostics.sharpness(dist, Y, weight=WEIGHT).mean == pytest.approx(
        diagnostics.sharpness(dist[REPEAT], Y[REPEAT]).mean
    )


def test_chance_grows_by_the_design_effect():
    alone = diagnostics.reliability(X, (Y > 0).double())
    clustered = diagnostics.reliability(X, (Y > 0).double(), design_effect=4.0)
    assert clustered.chance == pytest.approx(4 * alone.chance)
    assert clustered.p_value >= alone.p_value
    assert ((clustered.upper - clustered.lower) >= (alone.upper - alone.lower) - 1e-12).all()


def test_missing_values_of_a_feature_are_a_range_of_their_own():
    feature = torch.tensor([0.0, 1.0, float("nan"), 2.0, float("inf")])
    labels = dict(feature_bins(feature, 2, "x"))
    assert labels["x missing"].tolist() == [2, 4]
    assert sum(len(rows) for rows in labels.values()) == 5
