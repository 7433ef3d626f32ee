"""What `DistributionRegressor` predicts, against the distribution's own answers and against
formulas.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from disthead import DistributionClassifier, DistributionRegressor
from disthead.diagnostics.targets import TargetWarning
from disthead.errors import TargetError
from disthead.families import StudentT

SMALL = {"family": "normal", "hidden_sizes": (16,), "max_steps": 50, "random_state": 0}


def table(rows=120, seed=0):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, 3))
    return X, np.sin(X[:, 0]) + (0.2 + 0.2 * (X[:, 1] > 0)) * generator.normal(size=rows)


@pytest.fixture(scope="module")
def model():
    X, y = table()
    return DistributionRegressor(**SMALL | {"family": "student_t"}).fit(X, 100 + 10 * y)


@pytest.fixture(scope="module")
def rows():
    return table(7, seed=1)[0]


class TestAnswers:
    """Each method agrees with the distribution."""

    def test_the_default_is_a_student_t_in_the_units_of_y(self, model, rows):
        dist = model.predict_dist(rows)
        assert isinstance(dist, StudentT)
        assert dist.batch_shape == (7,)
        assert dist.dtype == torch.float64
        assert ((dist.mean > 50) & (dist.mean < 150)).all()

    @pytest.mark.parametrize("kind", ["mean", "median", "mode"])
    def test_predict(self, model, rows, kind):
        assert np.array_equal(
            model.predict(rows, kind=kind), getattr(model.predict_dist(rows), kind).numpy()
        )

    def test_predict_at_a_cost_is_the_quantile(self, model, rows):
        """Costs of 3 (too low) to 1 (too high) give the quantile 3 / (3 + 1)."""
        assert np.allclose(
            model.predict(rows, cost=(3, 1)), model.predict_quantiles(rows, 0.75), rtol=1e-12
        )

    def test_quantiles_are_where_the_cdf_has_their_level(self, model, rows):
        levels = [0.1, 0.5, 0.95]
        quantiles = model.predict_quantiles(rows, levels)
        assert quantiles.shape == (7, 3)
        assert np.allclose(
            model.predict_dist(rows)[:, None].cdf(torch.from_numpy(quantiles)), levels, atol=1e-9
        )

    def test_interval_holds_its_probability(self, model, rows):
        lower, upper = map(torch.from_numpy, model.predict_interval(rows, level=0.8))
        dist = model.predict_dist(rows)
        assert torch.allclose(
            dist.cdf(upper) - dist.cdf(lower), torch.tensor(0.8, dtype=torch.float64), atol=1e-9
        )
        assert torch.allclose(dist.cdf(lower), torch.tensor(0.1, dtype=torch.float64), atol=1e-9)

    def test_variance(self, model, rows):
        assert np.array_equal(model.predict_var(rows), model.predict_dist(rows).variance.numpy())

    def test_score_is_the_mean_log_likelihood(self, model):
        X, y = table(50, seed=2)
        y = 100 + 10 * y
        log_prob = model.predict_dist(X).log_prob(torch.from_numpy(y)).numpy()
        assert model.score(X, y) == pytest.approx(log_prob.mean(), rel=1e-12)
        weight = np.arange(50.0)
        assert model.score(X, y, sample_weight=weight) == pytest.approx(
            np.average(log_prob, weights=weight), rel=1e-12
        )

    def test_samples_have_the_mean_and_repeat(self, model, rows):
        draws = model.sample(rows, 4000, random_state=0)
        dist = model.predict_dist(rows)
        error = dist.stddev.numpy() / np.sqrt(4000)
        assert draws.shape == (4000, 7)
        assert (np.abs(draws.mean(0) - dist.mean.numpy()) < 5 * error).all()
        assert np.array_equal(draws, model.sample(rows, 4000, random_state=0))


class TestSeveralTargets:
    @pytest.fixture(scope="class")
    @classmethod
    def data(cls):
        X, y = table(200)
        return X, np.stack([y, 50 * (y + X[:, 2])], 1)

    @pytest.mark.parametrize("family", ["normal", "multivariate_normal"])
    def test_shapes_and_likelihood(self, data, family):
        X, Y = data
        model = DistributionRegressor(**SMALL | {"family": family, "max_steps": 100}).fit(X, Y)
        assert model.predict(X).shape == (200, 2)
        assert model.predict_quantiles(X, [0.1, 0.5, 0.9]).shape == (200, 2, 3)
        assert [end.shape for end in model.predict_interval(X)] == [(200, 2)] * 2
        assert model.sample(X, 3).shape == (3, 200, 2)
        dist = model.predict_dist(X)
        assert dist.event_shape == (2,)
        assert model.score(X, Y) == pytest.approx(dist.log_prob(torch.from_numpy(Y)).mean().item())
        assert np.corrcoef(model.predict(X)[:, 1], Y[:, 1])[0, 1] > 0.8

    def test_only_the_vector_family_sees_that_errors_go_together(self, data):
        X, Y = data
        dist = (
            DistributionRegressor(**SMALL | {"family": "multivariate_normal", "max_steps": 100})
            .fit(X, Y)
            .predict_dist(X)
        )
        covariance = dist.covariance
        assert (
            covariance[:, 0, 1] / (covariance[:, 0, 0] * covariance[:, 1, 1]).sqrt()
        ).mean() > 0.5

    def test_another_number_of_targets_is_refused(self, data):
        X, Y = data
        model = DistributionRegressor(**SMALL).fit(X, Y)
        with pytest.raises(ValueError, match="2 targets for each row"):
            model.score(X, Y[:, 0])
        with pytest.raises(ValueError, match="needs y of shape"):
            DistributionRegressor("multivariate_normal").fit(X, Y[:, 0])


class TestWeights:
    def test_a_row_without_weight_is_as_if_it_were_not_there(self):
        X, y = table()
        wrong = np.where(np.arange(120) < 40, y + 1000, y)
        weighted = DistributionRegressor(**SMALL).fit(
            X, wrong, sample_weight=(np.arange(120) >= 40).astype(float)
        )
        without = DistributionRegressor(**SMALL).fit(X[40:], y[40:])
        assert np.array_equal(weighted.predict(X), without.predict(X))

    @pytest.mark.filterwarnings("ignore::disthead.diagnostics.targets.TargetWarning")
    def test_weights_pull_the_prediction(self):
        X = np.zeros((100, 1))
        y = np.tile([0.0, 1.0], 50)
        weight = np.where(y == 1, 3.0, 1.0)
        mean = DistributionRegressor(**SMALL | {"max_steps": 300}).fit(X, y, weight).predict(X[:1])
        assert mean[0] == pytest.approx(0.75, abs=0.1)

    @pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
    def test_bad_weights_are_refused_with_the_row(self, weight):
        X, y = table()
        weights = np.ones(120)
        weights[7] = weight
        with pytest.raises(ValueError, match="at row 7"):
            DistributionRegressor(**SMALL).fit(X, y, weights)


class TestBadTargets:
    def test_outside_the_support_with_rows_values_and_families_that_fit(self):
        X, y = table()
        with pytest.raises(
            TargetError,
            match=r"support of gamma .* at row .* Families that take such targets: normal",
        ):
            DistributionRegressor("gamma").fit(X, y)

    def test_missing(self):
        X, y = table()
        y[5] = np.nan
        with pytest.raises(TargetError, match=r"Input y contains NaN.* at row 5"):
            DistributionRegressor().fit(X, y)

    def test_text(self):
        with pytest.raises(
            ValueError, match=r"'a' at row 0\. For classes use DistributionClassifier"
        ):
            DistributionRegressor().fit([[1.0], [2.0]], ["a", "b"])

    def test_classes(self):
        with pytest.raises(ValueError, match="use DistributionClassifier"):
            DistributionRegressor("categorical").fit([[1.0], [2.0]], [0, 1])

    def test_length(self):
        with pytest.raises(ValueError, match="as many rows"):
            DistributionRegressor().fit([[1.0], [2.0]], [0.0])

    def test_few_rows_train_without_a_hold_out_and_say_so(self):
        X, y = table(20)
        with pytest.warns(UserWarning, match="20 rows are too few to hold some of them out"):
            model = DistributionRegressor(**SMALL).fit(X, y)
        assert "none held out" in model.report_[-1]
        assert np.isfinite(model.predict(X)).all()

    @pytest.mark.filterwarnings("ignore::disthead.diagnostics.targets.TargetWarning")
    def test_a_constant_target_is_learned(self):
        X, _ = table()
        assert np.allclose(
            DistributionRegressor(**SMALL).fit(X, np.full(120, 7.0)).predict(X), 7, atol=0.1
        )


class TestTargetsThatFoolADensity:
    """Errors come before training, with counts and families that fit."""

    def test_few_values(self):
        X, _ = table(300)
        with pytest.warns(
            TargetWarning, match=r"y has only 5 different values \(3, 4, 5, 6, 7\) in 300 rows"
        ):
            DistributionRegressor(**SMALL).fit(X, 3 + np.arange(300) % 5)

    def test_families_of_counts_have_none_to_be_fooled(self):
        X, _ = table(300)
        DistributionRegressor(**SMALL | {"family": "poisson"}).fit(X, np.arange(300) % 5)


class TestBadQuestions:
    @pytest.mark.parametrize(
        "ask, message",
        [
            (
                lambda model, X: model.predict(X, kind="average"),
                "'mean', 'median' or 'mode', got 'average'",
            ),
            (lambda model, X: model.predict_quantiles(X, [0.5, 1.0]), "between 0 and 1"),
            (lambda model, X: model.predict_interval(X, level=90), "between 0 and 1, got 90"),
            (lambda model, X: model.predict(X, cost=(1, -1)), "positive numbers"),
        ],
    )
    def test_are_refused(self, model, rows, ask, message):
        with pytest.raises(ValueError, match=message):
            ask(model, rows)

    @pytest.mark.parametrize("ensemble", [0, -1, 2.5])
    def test_ensembles_of_no_networks(self, ensemble):
        X, y = table()
        with pytest.raises(ValueError, match="ensemble must be"):
            DistributionRegressor(ensemble=ensemble).fit(X, y)


def test_a_network_without_layers_is_a_linear_model():
    X, y = table()
    assert DistributionRegressor(**SMALL | {"hidden_sizes": ()}).fit(X, y).predict(X).shape == (
        120,
    )


def test_verbose_shows_progress_and_the_report(capsys):
    X, y = table()
    model = DistributionRegressor(**SMALL, verbose=1).fit(X, y)
    shown = capsys.readouterr().err
    assert "step 50 of at most 50" in shown
    assert model.report_[-1] in shown
    DistributionRegressor(**SMALL).fit(X, y)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_intervals_of_the_default_cover_new_rows():
    X, y = table(1000)
    new_X, new_y = table(4000, seed=3)
    lower, upper = DistributionRegressor(random_state=0).fit(X, y).predict_interval(new_X, 0.9)
    assert 0.86 < ((lower <= new_y) & (new_y <= upper)).mean() < 0.94


def test_intervals_of_directions_cross_the_seam_and_say_what_they_hold():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(300, 2))
    y = np.angle(np.exp(1j * generator.normal(np.pi, 0.3, size=300)))  # around the seam
    model = DistributionRegressor("von_mises", hidden_sizes=(8,), max_steps=40, random_state=0).fit(
        X, y
    )
    interval = model.predict_interval(X, level=0.9)
    lower, upper = interval
    assert (lower > upper).mean() > 0.9
    assert 0.8 < interval.contains(y).mean() < 1
    assert not interval.contains(np.zeros(300)).any()
    across = np.where(y < 0, y + 2 * np.pi, y)
    assert np.array_equal(interval.contains(across), interval.contains(y))


def test_two_targets_of_one_name_are_refused():
    y = pd.DataFrame(np.zeros((5, 2)), columns=["u", "u"])
    with pytest.raises(
        ValueError, match="the columns of y must have a name of their own each, 'u'"
    ):
        DistributionRegressor().fit(np.zeros((5, 1)), y)


@pytest.mark.parametrize("kind", [DistributionRegressor, DistributionClassifier])
def test_an_unknown_parameter_names_the_class_and_the_nearest_one(kind):
    message = f"{kind.__name__} has no parameter 'hidden'; did you mean 'hidden_sizes'"
    with pytest.raises(TypeError, match=message):
        kind(hidden=3)


def test_the_warning_of_repeated_targets_names_their_column():
    X = np.linspace(0, 1, 200)[:, None]
    y = pd.DataFrame({"length": np.sin(7 * X[:, 0]), "grade": np.arange(200) % 4})
    model = DistributionRegressor("normal", hidden_sizes=(4,), max_steps=5, random_state=0)
    with pytest.warns(TargetWarning, match="column 'grade' of y has only 4 different values"):
        model.fit(X, y)
