"""The checks and tools of scikit-learn on the estimators, and the estimators without it."""

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from disthead import DistributionClassifier, DistributionRegressor

SMALL = {"hidden_sizes": (16,), "max_steps": 100, "random_state": 0}

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "Rows are held out and batches drawn by chance: a row of weight 2 is not two rows, one of "
        "which may be held out."
    ),
}


@pytest.mark.filterwarnings("ignore:.*rows are too few")
@pytest.mark.filterwarnings("ignore::disthead.diagnostics.targets.TargetWarning")
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@parametrize_with_checks(
    [
        DistributionRegressor(hidden_sizes=(16,), max_steps=60),
        DistributionClassifier(hidden_sizes=(16,), max_steps=60),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learns_checks(estimator, check):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        check(estimator)


def table(rows=80):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(rows, 2))
    return X, X[:, 0] + 0.1 * generator.normal(size=rows)


def test_scikit_learn_knows_what_they_are():
    assert is_regressor(DistributionRegressor())
    assert is_classifier(DistributionClassifier())


def test_pipeline_cross_validation_and_grid_search():
    X, y = table()
    pipeline = make_pipeline(StandardScaler(), DistributionRegressor(**SMALL))
    scores = cross_val_score(pipeline, X, y, cv=2)
    assert np.isfinite(scores).all()
    search = GridSearchCV(
        DistributionRegressor(**SMALL), {"family": ["normal", "laplace"]}, cv=2
    ).fit(X, y)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert search.predict(X).shape == (80,)


def test_clone_copies_parameters_and_forgets_what_was_learned():
    X, y = table()
    model = DistributionRegressor("laplace", **SMALL).fit(X, y)
    new = clone(model)
    assert new.get_params() == model.get_params()
    with pytest.raises(NotFittedError, match="Call fit"):
        new.predict(X)


def test_pickles_and_copies_predict_the_same():
    X, y = table()
    model = DistributionRegressor("normal", **SMALL).fit(X, y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert np.array_equal(other.predict(X), model.predict(X))


@pytest.mark.parametrize(
    "random_state", [3, lambda: np.random.RandomState(3), lambda: np.random.default_rng(3)]
)
def test_random_state_makes_results_repeat(random_state):
    X, y = table()
    make = random_state if callable(random_state) else lambda: random_state
    first, second = (
        DistributionRegressor(**SMALL | {"random_state": make()}).fit(X, y) for _ in range(2)
    )
    assert np.array_equal(first.predict(X), second.predict(X))
    other = DistributionRegressor(**SMALL | {"random_state": 4}).fit(X, y)
    assert not np.array_equal(first.predict(X), other.predict(X))


def test_without_random_state_torch_draws_the_seed():
    X, y = table()
    predictions = []
    with torch.random.fork_rng():
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            predictions.append(
                DistributionRegressor(**SMALL | {"random_state": None}).fit(X, y).predict(X)
            )
    assert np.array_equal(predictions[0], predictions[1])
    assert not np.array_equal(predictions[0], predictions[2])


def test_fit_leaves_torchs_generator_alone():
    X, y = table()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        DistributionRegressor(**SMALL).fit(X, y).sample(X, random_state=1)
        assert torch.equal(torch.rand(1), expected)


WITHOUT_SCIKIT_LEARN = """
import sys, warnings
sys.modules["sklearn"] = None
import numpy as np
from disthead import DistributionRegressor
model = DistributionRegressor("normal", max_steps=20, random_state=0)
print(model)
print(model.set_params(ensemble=2).get_params()["ensemble"])
try:
    model.predict([[1.0]])
except ValueError as error:
    print(type(error).__name__)
try:
    model.set_params(famly="gamma")
except ValueError as error:
    print("Invalid" in str(error))
X = np.arange(60.0)[:, None]
print(model.fit(X, X[:, 0]).predict(X).shape)
"""


def test_works_where_scikit_learn_is_not_installed():
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_SCIKIT_LEARN], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [
        "DistributionRegressor(family='normal', max_steps=20, random_state=0)",
        "2",
        "NotFittedError",
        "True",
        "(60,)",
    ]


def test_warnings_point_at_the_caller():
    X, y = table()
    import pandas as pd

    model = DistributionRegressor(**SMALL).fit(pd.DataFrame(X, columns=["a", "b"]), y)
    for ask in (model.predict, model.predict_dist, model.predict_interval):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ask(X)
        assert [warning.filename for warning in caught] == [__file__]
