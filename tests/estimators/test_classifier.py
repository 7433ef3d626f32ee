"""The predictions of `DistributionClassifier`."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss

from disthead import DistributionClassifier, evaluate, nll
from disthead.calibration import TemperatureScaling
from disthead.errors import TargetError

SMALL = {"hidden_sizes": (16,), "max_steps": 60, "random_state": 0}
NAMES = np.array(["cold", "hot", "mild"])


def table(rows=150, seed=0):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, 2))
    return X, NAMES[np.digitize(X[:, 0] + 0.3 * generator.normal(size=rows), [-0.5, 0.5])]


@pytest.fixture(scope="module")
def model():
    return DistributionClassifier(**SMALL).fit(*table())


def test_classes_and_probabilities(model):
    X, y = table(seed=1)
    proba = model.predict_proba(X)
    assert model.classes_.tolist() == ["cold", "hot", "mild"]
    assert proba.shape == (150, 3)
    assert np.allclose(proba.sum(1), 1)
    assert np.array_equal(model.predict(X), model.classes_[proba.argmax(1)])
    assert (model.predict(X) == y).mean() > 0.7


@pytest.mark.parametrize("ensemble", [1, 2])
@pytest.mark.parametrize(
    "family, labels",
    [
        ("categorical", ["cold", "hot", "mild"]),
        ("categorical", [1, 2, 3]),
        ("categorical", [-1, 1, 5]),
        ("bernoulli", [1, 2]),
    ],
)
def test_its_distribution_takes_the_classes_as_fit_does(family, labels, ensemble):
    X = np.random.default_rng(0).normal(size=(120, 2))
    place = torch.arange(120) % len(labels)
    y = np.array(labels)[place]
    dist = (
        DistributionClassifier(family, ensemble=ensemble, max_steps=5, random_state=0)
        .fit(X, y)
        .predict_dist(X)
    )
    recalibration = TemperatureScaling().fit(dist, y)
    assert recalibration.temperature == TemperatureScaling().fit(dist, place).temperature
    for one in (dist, recalibration(dist), dist.expand((120,))):
        want = one.log_prob(place)
        for same in (y, y.tolist(), pd.Series(y, index=range(120, 0, -1)), y.astype(object)):
            assert torch.equal(one.log_prob(same), want)
        assert torch.equal(one[:7].log_prob(y[:7]), want[:7])
        assert evaluate(one, y).scores == evaluate(one, place).scores
        loss = nll(one, [None, *y[1:].tolist()], weight=np.arange(120) > 0)
        torch.testing.assert_close(loss, -want[1:].mean())
    with pytest.raises(TargetError, match="'none' at row 0"):
        dist.log_prob(["none"] * 120)


def test_score_is_minus_the_log_loss(model):
    X, y = table(seed=1)
    assert model.score(X, y) == pytest.approx(-log_loss(y, model.predict_proba(X)))
    weight = np.arange(150.0)
    expected = -log_loss(y, model.predict_proba(X), sample_weight=weight)
    assert model.score(X, y, sample_weight=weight) == pytest.approx(expected)


def test_the_distribution_counts_the_classes_in_their_order(model):
    X, _ = table(5, seed=1)
    assert np.allclose(model.predict_dist(X).probs.numpy(), model.predict_proba(X))


def test_cost_chooses_the_cheapest_class(model):
    X, _ = table(seed=1)
    cost = np.array([[0.0, 9.0, 9.0], [1.0, 0.0, 1.0], [5.0, 5.0, 0.0]])
    expected = model.classes_[(model.predict_proba(X) @ cost.T).argmin(1)]
    assert np.array_equal(model.predict(X, cost=cost), expected)
    assert not np.array_equal(model.predict(X, cost=cost), model.predict(X))
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        model.predict(X, cost=cost[:2])


def test_samples_are_classes_as_often_as_their_probability(model):
    X, _ = table(3, seed=1)
    draws = model.sample(X, 4000, random_state=0)
    assert draws.shape == (4000, 3)
    shares = np.stack([(draws == name).mean(0) for name in model.classes_], 1)
    assert np.allclose(shares, model.predict_proba(X), atol=0.04)


@pytest.mark.parametrize("labels", [[0, 1], [False, True], [-3, 7], ["no", "yes"], [1.0, 2.0]])
@pytest.mark.parametrize("family", ["categorical", "bernoulli"])
def test_two_classes_of_any_type(labels, family):
    X, y = table()
    y = np.array(labels)[(y == "hot").astype(int)]
    model = DistributionClassifier(family, **SMALL).fit(X, y)
    assert model.classes_.tolist() == labels
    assert model.predict(X).dtype == y.dtype
    assert model.predict_proba(X).shape == (150, 2)
    assert (model.predict(X) == y).mean() > 0.8
    assert model.score(X, y) == pytest.approx(-log_loss(y, model.predict_proba(X)))


def test_an_ensemble_averages_probabilities():
    X, y = table()
    model = DistributionClassifier(ensemble=3, **SMALL).fit(X, y)
    with torch.no_grad():
        members = model.model_.by_member(torch.from_numpy(X))
    assert members.batch_shape == (3, 150)
    assert np.allclose(model.predict_proba(X), members.probs.mean(0).numpy())


class TestBadTargets:
    @pytest.mark.parametrize(
        "y, message",
        [
            (np.linspace(0, 1, 60), "continuous.* DistributionRegressor"),
            (np.full(60, "a"), "got one class: "),
            (np.array([np.nan] + [0, 1] * 29 + [1]), "Input y contains NaN"),
            (
                np.array([None] + ["a", "b"] * 29 + ["a"], dtype=object),
                "missing values: 1 of 60, row 0",
            ),
            (np.zeros((60, 2)), "should be a 1d array"),
        ],
    )
    def test_are_refused(self, y, message):
        with pytest.raises(ValueError, match=message):
            DistributionClassifier().fit(np.zeros((60, 1)), y)

    def test_families_of_numbers(self):
        with pytest.raises(ValueError, match="normal is for numbers: use DistributionRegressor"):
            DistributionClassifier("normal").fit(*table())

    def test_three_classes_are_too_many_for_bernoulli(self):
        with pytest.raises(ValueError, match="two classes, got 3: use family='categorical'"):
            DistributionClassifier("bernoulli").fit(*table())

    def test_one_class_left_by_the_weights(self):
        X, y = table()
        with pytest.raises(ValueError, match="only one class is left"):
            DistributionClassifier().fit(X, y, sample_weight=(y == "hot").astype(float))

    def test_a_class_that_was_not_there_at_fit(self, model):
        X, _ = table(2)
        with pytest.raises(TargetError, match=r"got \['boiling'\]"):
            model.score(X, ["hot", "boiling"])

    @pytest.mark.parametrize("count", [2, 5])
    def test_another_number_of_classes_than_y_has(self, count):
        y = np.resize(["a", "b", "c"], 60)
        model = DistributionClassifier(family_options={"num_classes": count})
        with pytest.raises(ValueError, match=rf"num_classes .* is {count}, and y has 3 classes"):
            model.fit(np.zeros((60, 1)), y)
