"""`DistributionRegressor` with every family for single numbers, alone and in an ensemble."""

import numpy as np
import pytest
import torch

import disthead as dh
from disthead import DistributionRegressor
from disthead.estimators import base
from tests.cases import ONE_EACH
from tests.estimators.test_regressor import table

# A support that moves with the parameters loses rows of a network's training without warning.
LEARNED = [case for case in ONE_EACH if case.kind != "binary" and not case.moving_support]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if case.name == "skew_t" else ())
        for case in LEARNED
    ],
    ids=str,
)
@pytest.mark.parametrize("ensemble", [1, 2])
@pytest.mark.filterwarnings("ignore:none of the 120 targets is censored")
def test_every_family_learns_and_predicts(case, ensemble, monkeypatch):
    """The model is better on the training rows than the unconditional one. Predictions in several
    batches are those in one batch.
    """
    family, options = case.family, case.options
    X, y = table()
    y = case.targets(y)
    model = DistributionRegressor(
        family, options, ensemble, hidden_sizes=(16,), max_steps=60, random_state=0
    ).fit(X, y)
    baseline = dh.marginal(family, torch.from_numpy(y), **options)
    assert model.score(X, y) > baseline.log_prob(torch.from_numpy(y)).mean()
    at_once = model.predict_dist(X)
    monkeypatch.setattr(base, "_BATCH_ROWS", 50)
    in_batches = model.predict_dist(X)
    assert in_batches.batch_shape == (120,)
    assert type(in_batches) is type(at_once)
    y = torch.from_numpy(y)
    assert torch.allclose(in_batches.log_prob(y), at_once.log_prob(y), rtol=1e-9)
    assert model.score(X, y) == pytest.approx(at_once.log_prob(y).mean().item(), rel=1e-9)
    try:
        expected = at_once.mean
    except NotImplementedError:  # cauchy
        expected = at_once.median
    assert np.allclose(model.predict(X), expected, rtol=1e-9)
    assert model.sample(X, 2).shape == (2, 120)
