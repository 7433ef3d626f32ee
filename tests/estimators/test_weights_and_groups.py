"""What a row counts for the estimators: weights everywhere, 0 means not there; rows that belong
together are held out together.
"""

import threading

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.model_selection import GroupKFold, cross_val_score

from disthead import DistributionClassifier, DistributionRegressor
from disthead.data.split import RepeatedRowsWarning
from disthead.recipe import fit_tabular, tabular_model
from tests.cases import CASES, rows
from tests.test_starts import targets

SMALL = {"hidden_sizes": (8,), "max_steps": 20, "random_state": 0}


def table(count=120, seed=0):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(count, 3))
    return X, X[:, 0] + 0.3 * generator.normal(size=count)


@pytest.mark.parametrize("case", rows(CASES))
def test_a_row_of_weight_0_is_not_there_for_the_recipe(case):
    """Whatever its features and its target are; the model is the same, bit for bit."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 2, generator=generator).double(), targets(case, 60)
    weight = torch.tensor([0.0, 1.0, 3.0]).repeat(20)
    there = weight > 0
    options = {
        "family": case.family,
        "family_options": case.options,
        "hidden_sizes": (4,),
        "max_steps": 4,
    }
    absurd_x, absurd_y = x.clone(), y.clone()
    absurd_x[~there] = torch.nan
    absurd_y[~there] = torch.nan if y.is_floating_point() else -100
    weighted, _ = fit_tabular(absurd_x, absurd_y, weight=weight, **options)
    without, _ = fit_tabular(x[there], y[there], weight=weight[there], **options)
    known = y[there].float() if y.is_floating_point() else y[there]
    with torch.no_grad():
        assert torch.equal(weighted(x[there]).log_prob(known), without(x[there]).log_prob(known))


@pytest.mark.parametrize("model", [DistributionRegressor, DistributionClassifier])
def test_a_row_of_weight_0_is_not_there_for_fit_and_score(model):
    X, y = table()
    y = y if model is DistributionRegressor else np.where(y > 0, "up", "down").astype(object)
    weight = np.tile([0.0, 1.0, 2.0], 40)
    there = weight > 0
    absurd_X, absurd_y = X.copy(), y.copy()
    absurd_X[~there] = np.inf
    absurd_y[~there] = np.nan if model is DistributionRegressor else None
    weighted = model(**SMALL).fit(absurd_X, absurd_y, sample_weight=weight)
    without = model(**SMALL).fit(X[there], y[there], sample_weight=weight[there])
    assert np.array_equal(weighted.predict(X), without.predict(X))
    assert weighted.score(absurd_X, absurd_y, sample_weight=weight) == without.score(
        X[there], y[there], weight[there]
    )


def test_equal_weights_are_no_weights():
    X, y = table()
    models = [
        DistributionRegressor(**SMALL).fit(X, y, weight)
        for weight in (None, np.ones(120), np.full(120, 0.25))
    ]
    assert all(np.array_equal(models[0].predict(X), model.predict(X)) for model in models)


def test_row_numbers_in_errors_are_those_of_the_table():
    X, y = table()
    weight = np.where(np.arange(120) < 10, 0.0, 1.0)
    y[17] = np.nan
    with pytest.raises(ValueError, match="nan at row 17"):
        DistributionRegressor(**SMALL).fit(X, y, sample_weight=weight)
    y[17] = -1.0
    with pytest.raises(ValueError, match=r"support of gamma.*-1 at row 17"):
        DistributionRegressor("gamma", **SMALL).fit(
            X, np.where(np.arange(120) == 17, -1.0, np.exp(y)), sample_weight=weight
        )


@pytest.mark.parametrize(
    "wrong, message", [(-1.0, "-1 at row 3"), (np.nan, "nan at row 3"), (np.inf, "inf at row 3")]
)
def test_weights_that_cannot_be_are_named(wrong, message):
    X, y = table()
    weight = np.where(np.arange(120) == 3, wrong, 1.0)
    model = DistributionRegressor(**SMALL)
    with pytest.raises(
        ValueError, match=f"sample_weight must be finite and zero or more, got .*{message}"
    ):
        model.fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="zero in all 120 rows"):
        model.fit(X, y, sample_weight=np.zeros(120))


def test_a_row_of_weight_2_counts_as_two_rows_in_all_statistics():
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(60, 2, generator=generator).double(),
        torch.randn(60, generator=generator).double(),
    )
    weight = 1.0 + torch.arange(60) % 2
    twice = torch.arange(60).repeat_interleave(weight.long())
    weighted, repeated = (
        tabular_model(x, y, weight=weight),
        tabular_model(x[twice], y[twice], weight=torch.ones(90)),
    )
    weighted.backbone.fit(weighted.standardise(x), weight)
    repeated.backbone.fit(repeated.standardise(x[twice]), torch.ones(90))
    for (name, first), second in zip(weighted.named_buffers(), repeated.buffers(), strict=True):
        assert torch.allclose(first, second, atol=1e-5), name


@pytest.mark.parametrize("seed", [0, 1])
def test_the_factor_for_the_scale_is_of_the_weights(seed):
    """Weight 9 on the half with the standard deviation 0.2, which x1 names, and 1 on that with 2: a
    factor of 1 is right.
    """
    generator = np.random.default_rng(seed)

    def made(count):
        X = generator.normal(size=(count, 2))
        scale = np.where(np.arange(count) % 2, 0.2, 2.0)
        X[:, 1] = generator.normal(size=count)
        return X, X[:, 0] + scale * generator.normal(size=count), np.where(scale < 1, 9.0, 1.0)

    X, y, weight = made(400)
    model = DistributionRegressor(
        "normal", hidden_sizes=(16,), max_steps=500, random_state=seed
    ).fit(X, y, weight)
    assert 0.7 < model.model_.recalibration.scale < 1.5


@pytest.mark.filterwarnings("ignore::disthead.diagnostics.targets.TargetWarning")
class TestCopies:
    """The usual ways to write rows several times do no harm to the score on new rows."""

    @pytest.mark.parametrize("times", [2, pytest.param(5, marks=pytest.mark.slow)])
    def test_every_row_several_times(self, times):
        X, y = table(150)
        new_X, new_y = table(500, seed=1)
        options = {"hidden_sizes": (32,), "max_steps": 800, "random_state": 0}
        once = DistributionRegressor(**options).fit(X, y).score(new_X, new_y)
        with pytest.warns(
            RepeatedRowsWarning, match=f"{150 * (times - 1)} of {150 * times} rows .* give `groups`"
        ):
            model = DistributionRegressor(**options).fit(np.tile(X, (times, 1)), np.tile(y, times))
        assert model.score(new_X, new_y) > once - 0.3

    def test_an_oversampled_rare_class(self):
        """Other frequencies of the classes cost something, as weights do; copies no more than that."""
        generator = np.random.default_rng(0)

        def made(count):
            X = generator.normal(size=(count, 4))
            return X, (X[:, 0] + X[:, 1] + generator.normal(size=count) > 2).astype(int)

        (X, y), (new_X, new_y) = made(300), made(1000)
        weight = np.where(y == 1, 8.0, 1.0)
        model = DistributionClassifier(hidden_sizes=(32,), max_steps=800, random_state=0)
        weighted = model.fit(X, y, weight).score(new_X, new_y)
        copies = np.repeat(np.arange(300), weight.astype(int))
        with pytest.warns(RepeatedRowsWarning):
            oversampled = model.fit(X[copies], y[copies]).score(new_X, new_y)
        assert oversampled > weighted - 0.3

    def test_few_different_rows_are_all_learned_from(self):
        X, y = table(12)
        with pytest.warns(UserWarning, match=r"240 rows are too few .*only 12 of them differ"):
            DistributionRegressor(**SMALL).fit(np.tile(X, (20, 1)), np.tile(y, 20))

    def test_the_warning_points_at_the_caller(self):
        X, y = table(60)
        with pytest.warns(RepeatedRowsWarning) as caught:
            DistributionRegressor(**SMALL).fit(np.tile(X, (2, 1)), np.tile(y, 2))
        assert [warning.filename for warning in caught] == [__file__]

    def test_a_table_of_categories_is_learned_without_a_warning(self):
        generator = np.random.default_rng(0)
        X = generator.integers(0, 3, size=(400, 1)).astype(float)
        y = X[:, 0] + 0.3 * generator.normal(size=400)
        model = DistributionRegressor(
            "normal", hidden_sizes=(16,), max_steps=300, random_state=0
        ).fit(X, y)
        assert np.allclose(model.predict([[0.0], [1.0], [2.0]]), [0, 1, 2], atol=0.2)


class TestGroups:
    def panel(self, seed=0):
        """30 persons with a level each that no feature tells, five rows of each, whose features
        name the person.
        """
        generator = np.random.default_rng(seed)
        person = np.repeat(np.arange(30), 5)
        X = generator.normal(size=(30, 3))[person] + 1e-3 * generator.normal(size=(150, 3))
        return (
            X,
            X[:, 0] + generator.normal(size=30)[person] + 0.05 * generator.normal(size=150),
            person,
        )

    def test_persons_are_held_out_whole(self):
        """Without groups the rows held out are foretold by the others of their person, and the
        spread is far too small.
        """
        X, y, person = self.panel()
        new_X, new_y, _ = self.panel(seed=1)
        options = {"hidden_sizes": (32,), "max_steps": 600, "random_state": 0}
        grouped = DistributionRegressor("normal", **options).fit(X, y, groups=person)
        alone = DistributionRegressor("normal", **options).fit(X, y)
        assert grouped.score(new_X, new_y) > max(-3, alone.score(new_X, new_y) + 1)

    @pytest.mark.parametrize("ensemble", [1, 3])
    def test_what_groups_are_called_does_not_matter(self, ensemble):
        X, y, person = self.panel()
        models = [
            DistributionRegressor(**SMALL, ensemble=ensemble).fit(X, y, groups=groups)
            for groups in (
                person,
                (7 - person).tolist(),
                torch.as_tensor(person),
                [f"p{number}" for number in person],
            )
        ]
        assert all(np.array_equal(models[0].predict(X), model.predict(X)) for model in models)

    @pytest.mark.parametrize(
        "groups, message",
        [
            (np.zeros(150), "be two or more, got 0"),
            (np.zeros(149), r"have one value for each row, shape \(150,\), got \(149,\)"),
            (np.zeros((150, 2)), r"have one value .* got \(150, 2\)"),
            (
                np.where(np.arange(150) == 9, np.nan, 1.0),
                "not be missing, got 1 rows without one, the first at row 9",
            ),
        ],
    )
    def test_groups_that_cannot_be_are_named(self, groups, message):
        X, y, _ = self.panel()
        with pytest.raises(ValueError, match=f"groups must {message}"):
            DistributionRegressor(**SMALL).fit(X, y, groups=groups)

    def test_scikit_learn_routes_them(self):
        X, y, person = self.panel()
        with config_context(enable_metadata_routing=True):
            model = DistributionRegressor(**SMALL).set_fit_request(groups=True)
            scores = cross_val_score(model, X, y, cv=GroupKFold(3), params={"groups": person})
        assert np.isfinite(scores).all()


class TestGenerator:
    def test_nothing_touches_the_global_generator(self, monkeypatch):
        def refuse(*arguments, **options):
            raise AssertionError("the global generator")

        X, y = table()
        state = torch.get_rng_state()
        with monkeypatch.context() as patch:
            for name in ("fork_rng", "manual_seed", "set_rng_state"):
                patch.setattr(torch.random, name, refuse)
            patch.setattr(torch, "manual_seed", refuse)
            for ensemble in (1, 2):
                DistributionRegressor(**SMALL, ensemble=ensemble).fit(X, y).sample(
                    X, 3, random_state=1
                )
        assert torch.equal(torch.get_rng_state(), state)

    def test_four_threads_fit_and_draw_as_one_does(self):
        X, y = table()
        expected = DistributionRegressor(**SMALL).fit(X, y)
        draws = expected.sample(X, 20, random_state=5)
        found = [None] * 4

        def work(place):
            model = DistributionRegressor(**SMALL).fit(X, y)
            found[place] = (
                model.predict(X),
                model.sample(X, 20, random_state=5),
                expected.sample(X, 20, random_state=5),
            )

        threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for predicted, own, shared in found:
            assert np.array_equal(predicted, expected.predict(X))
            assert np.array_equal(own, draws)
            assert np.array_equal(shared, draws)
