"""Targets that a density was not made for: something sensible is predicted, or the reason is said."""

import numpy as np
import pytest
import torch

import disthead as dh
from disthead import DistributionRegressor, recipe
from disthead.errors import NonFiniteLoss, TargetError
from disthead.recipe import fit_tabular

pytestmark = pytest.mark.filterwarnings("ignore::disthead.diagnostics.targets.TargetWarning")

SMALL = {"hidden_sizes": (8,), "max_steps": 60, "random_state": 0}
LINE = ["normal", "laplace", "student_t", "normal_mixture"]
POSITIVE = ["exponential", "gamma", "weibull", "log_normal"]


def table(count=80):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(count, 3))
    return X, X[:, 0] + 0.1 * generator.normal(size=count)


ON_THE_LINE = {
    "mostly zero": lambda X, y: np.where(np.arange(len(y)) % 5, 0.0, 1 + X[:, 0] ** 2),
    "constant": lambda X, y: np.full(len(y), 0.1),
    "zero": lambda X, y: np.zeros(len(y)),
    "half at one value": lambda X, y: np.where(np.arange(len(y)) % 2, 3.0, y),
    "two values": lambda X, y: np.where(X[:, 0] > 0, 1.0, 2.0),
    "tiny": lambda X, y: 1e-9 * y,
    "huge": lambda X, y: 1e9 * y,
    "far from zero": lambda X, y: 1e9 + 1e-3 * y,
    "an outlier": lambda X, y: np.where(np.arange(len(y)) == 5, 1e6, y),
    "nearly the largest": lambda X, y: 1e300 * y,
    "nearly the smallest": lambda X, y: 1e-300 * y,
}
ABOVE_ZERO = {
    "constant": lambda X, y: np.full(len(y), 0.3),
    "half at one value": lambda X, y: np.where(np.arange(len(y)) % 2, 0.5, np.exp(y)),
    "two values": lambda X, y: np.where(X[:, 0] > 0, 1.0, 2.0),
    "tiny": lambda X, y: 1e-9 * np.exp(y),
    "huge": lambda X, y: 1e9 * np.exp(y),
    "an outlier": lambda X, y: np.where(np.arange(len(y)) == 5, 1e6, np.exp(y)),
    "an outlier near zero": lambda X, y: np.where(np.arange(len(y)) == 5, 1e-9, np.exp(y)),
}
PAIRS = [(family, kind, make) for family in LINE for kind, make in ON_THE_LINE.items()]
PAIRS += [(family, kind, make) for family in POSITIVE for kind, make in ABOVE_ZERO.items()]
REFUSED = [("log_normal", "constant"), ("weibull", "constant")]  # tests/test_numbers.py
PAIRS = [(family, kind, make) for family, kind, make in PAIRS if (family, kind) not in REFUSED]


@pytest.mark.filterwarnings("ignore:y has 1000000 at row 5. so far from all others")
@pytest.mark.parametrize("ensemble", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "family, kind, make", PAIRS, ids=[f"{family} {kind}" for family, kind, _ in PAIRS]
)
def test_medians_and_likelihoods_are_finite_and_medians_are_near_the_targets(
    family, kind, make, ensemble
):
    X, y = table()
    y = make(X, y)
    model = DistributionRegressor(family, ensemble=ensemble, **SMALL).fit(X, y)
    median = model.predict(X, kind="median")
    assert np.isfinite(median).all()
    assert np.isfinite(model.score(X, y))
    room = np.ptp(y) if np.ptp(y) else 0.5 * abs(y[0]) or 0.5
    assert (median >= y.min() - room).all()
    assert (median <= y.max() + room).all()


@pytest.mark.parametrize("ensemble", [1, 2])
def test_rain_on_one_day_in_five(ensemble):
    """The issue's example: 80 % zeros; a crash with one network and nan with two."""
    X = np.random.default_rng(0).normal(size=(200, 3))
    y = np.where(np.arange(200) % 5, 0.0, 1 + X[:, 0] ** 2)
    model = DistributionRegressor(ensemble=ensemble, max_steps=200, random_state=0).fit(X, y)
    baseline = dh.marginal("normal", torch.from_numpy(y)).log_prob(torch.from_numpy(y)).mean()
    assert model.score(X, y) > baseline
    assert np.abs(np.median(model.predict(X, kind="median"))) < 0.3
    lower, upper = model.predict_interval(X)
    assert np.isfinite(upper).all()
    assert ((lower <= y) & (y <= upper)).mean() > 0.7


@pytest.mark.parametrize("value", [0.1, -3.0, 1e9, 1e-9])
def test_constant_targets_are_predicted_within_a_millionth(value):
    X, _ = table()
    model = DistributionRegressor("normal", **SMALL).fit(X, np.full(80, value))
    assert np.allclose(model.predict(X), value, rtol=1e-5)
    assert (np.sqrt(model.predict_var(X)) < 1e-4 * abs(value)).all()


@pytest.mark.parametrize("family", ["student_t", "normal_mixture"])
def test_an_outlier_does_not_squeeze_the_others_together(family):
    X, y = table(150)
    wild = np.where(np.arange(150) == 5, 1e6, y)
    model = DistributionRegressor(family, hidden_sizes=(16,), max_steps=400, random_state=0).fit(
        X, wild
    )
    assert np.median(np.abs(model.predict(X, kind="median") - y)) < 0.2


def test_constant_features_that_rounding_moves_teach_nothing():
    X, y = table()
    X[:, 1] = 0.1  # whose standard deviation is 1e-17 as it is computed
    model = DistributionRegressor("normal", **SMALL).fit(X, y)
    other = X.copy()
    other[:, 1] = 5.0
    assert np.array_equal(model.predict(X), model.predict(other))


def test_several_targets_one_of_them_constant():
    X, y = table()
    for family in ("normal", "multivariate_normal"):
        model = DistributionRegressor(family, **SMALL).fit(X, np.stack([y, np.full(80, 7.0)], 1))
        assert np.isfinite(model.score(X, np.stack([y, np.full(80, 7.0)], 1)))
        assert np.allclose(model.predict(X)[:, 1], 7.0, atol=1e-3)


def test_targets_beyond_single_precision_are_named():
    X, y = table()
    with pytest.raises(TargetError, match=r"single precision.*80 of 80 values.*other units"):
        DistributionRegressor("gamma", **SMALL).fit(X, 1e40 * np.exp(y))


def test_features_that_are_no_numbers_are_named():
    X, y = (torch.from_numpy(part) for part in table())
    X[7, 1] = torch.nan
    with pytest.raises(ValueError, match="features must be finite, got nan at row 7, column 1"):
        fit_tabular(X, y)


class TestNonFiniteLosses:
    @pytest.fixture
    def broken(self, monkeypatch):
        """Likelihoods that are NaN for one target, by its standardised value."""

        def make(is_held_out):
            forward = recipe.from_encoded

            def from_encoded(members, encoded, **known):
                dist = forward(members, encoded, **known)
                log_prob = dist.log_prob
                if torch.is_grad_enabled() != is_held_out:
                    dist.log_prob = lambda y: torch.where(y > 50, torch.nan, log_prob(y))
                return dist

            monkeypatch.setattr(recipe, "from_encoded", from_encoded)

        return make

    @pytest.mark.parametrize("is_held_out", [False, True])
    def test_rows_and_targets_are_named(self, broken, is_held_out):
        broken(is_held_out)
        X, y = (torch.from_numpy(part) for part in table(60))
        y[3] = 1000.0
        weight = torch.ones(60)
        weight[1] = 0  # rows are those of the table all the same
        with pytest.raises(
            NonFiniteLoss,
            match=r"NaN or infinite at step .*1 of 60 values: 1000 at row 3.*heavier tails",
        ):
            fit_tabular(
                X, y, family="student_t", weight=weight, hidden_sizes=(4,), ensemble=2, max_steps=60
            )
