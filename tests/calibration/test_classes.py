"""Classes and two outcomes, against scipy's and scikit-learn's optima."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from disthead.calibration import (
    BetaCalibration,
    IsotonicCalibration,
    TemperatureScaling,
    VectorScaling,
)
from disthead.families import Bernoulli, Categorical, PlackettLuce


@pytest.fixture
def classes(generator):
    """Logits that are 2.5 times too sure, and classes drawn from the right ones."""
    right = torch.randn(3000, 4, generator=generator, dtype=torch.float64)
    y = torch.multinomial(right.softmax(-1), 1, generator=generator).squeeze(-1)
    return Categorical(logits=2.5 * right), y


@pytest.fixture
def outcomes(generator):
    logits = 2 * torch.randn(2000, generator=generator, dtype=torch.float64)
    y = torch.bernoulli((0.5 * logits + 0.3).sigmoid(), generator=generator)
    return Bernoulli(logits=logits), y


def test_temperature_is_scipys_optimum(classes):
    dist, y = classes
    result = TemperatureScaling().fit(dist, y).temperature.item()

    def loss(temperature):
        return -Categorical(logits=dist.logits / temperature).log_prob(y).mean().item()

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9}).x
    assert result == pytest.approx(best, rel=1e-5)
    assert result == pytest.approx(2.5, rel=0.1)


def test_temperature_leaves_the_best_class_and_mends_two_outcomes_and_rankings(
    classes, outcomes, generator
):
    dist, y = classes
    r = TemperatureScaling().fit(dist, y)
    assert (r(dist).mode == dist.mode).all()
    torch.testing.assert_close(r(dist).logits, dist.logits / r.temperature)
    two, hits = outcomes
    assert (
        TemperatureScaling().fit(two, hits)(two).log_prob(hits).mean() > two.log_prob(hits).mean()
    )
    torch.manual_seed(1)
    right = torch.randn(2000, 5, generator=generator, dtype=torch.float64)
    orders = PlackettLuce(right).sample()
    ranking = TemperatureScaling().fit(PlackettLuce(3 * right), orders)
    assert ranking.temperature.item() == pytest.approx(3, rel=0.1)


def test_each_output_has_its_temperature(generator):
    right = torch.randn(4000, 2, 3, generator=generator, dtype=torch.float64)
    torch.manual_seed(1)
    y = Categorical(logits=right).sample()
    factor = torch.tensor([0.5, 3.0], dtype=torch.float64)
    model = Categorical(logits=right * factor.unsqueeze(-1)).to_event(1)
    r = TemperatureScaling().fit(model, y)
    torch.testing.assert_close(r.temperature, factor, rtol=0.1, atol=0)
    assert r(model).event_shape == (2,)


def test_vector_scaling_is_a_logistic_regression_with_a_diagonal_matrix(classes):
    """At the optimum the residuals of a class are uncorrelated with its logit and sum to zero."""
    dist, y = classes
    r = VectorScaling().fit(dist, y)
    residual = r(dist).probs - torch.nn.functional.one_hot(y, 4)
    torch.testing.assert_close(residual.mean(0), torch.zeros(4).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        (residual * dist.logits).mean(0), torch.zeros(4).double(), rtol=0, atol=1e-6
    )
    assert r(dist).log_prob(y).mean() >= TemperatureScaling().fit(dist, y)(dist).log_prob(y).mean()


def test_vector_scaling_wants_every_class(classes):
    dist, y = classes
    with pytest.raises(ValueError, match="none has class 3"):
        VectorScaling().fit(dist, y.clamp(max=2))


def test_beta_calibration_is_a_logistic_regression_on_both_logarithms(outcomes):
    dist, y = outcomes
    a, b, c = BetaCalibration().fit(dist, y).coefficients.tolist()
    p = dist.probs.numpy()
    features = np.stack([np.log(p), -np.log1p(-p)], -1)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(features, y.numpy())
    assert [a, b, c] == pytest.approx([*oracle.coef_[0], *oracle.intercept_], rel=1e-4, abs=1e-5)


def test_beta_calibration_never_falls(generator):
    logits = 2 * torch.randn(2000, generator=generator, dtype=torch.float64)
    # high at both ends
    wrong_way = torch.bernoulli((logits.abs() - 1).sigmoid(), generator=generator)
    r = BetaCalibration().fit(Bernoulli(logits=logits), wrong_way)
    a, b, _ = r.coefficients.tolist()
    assert a >= 0
    assert b >= 0
    assert min(a, b) == 0
    order = logits.sort().values
    assert (r(Bernoulli(logits=order)).logits.diff() >= 0).all()


def test_isotonic_calibration_is_sklearns(outcomes, generator):
    dist, y = outcomes
    rounded = Bernoulli(probs=(dist.probs * 50).round().clamp(1, 49) / 50)  # with many ties
    for model in (dist, rounded):
        r = IsotonicCalibration().fit(model, y)
        oracle = IsotonicRegression(out_of_bounds="clip").fit(model.probs.numpy(), y.numpy())
        fresh = torch.rand(500, generator=generator, dtype=torch.float64)
        expected = torch.from_numpy(oracle.predict(fresh.numpy()))
        torch.testing.assert_close(r(Bernoulli(probs=fresh)).probs, expected, rtol=0, atol=1e-9)


def test_isotonic_calibration_of_several_outputs_and_batches(outcomes):
    dist, y = outcomes
    both = Bernoulli(logits=torch.stack([dist.logits, -dist.logits], -1)).to_event(1)
    r = IsotonicCalibration().fit(both, torch.stack([y, 1 - y], -1))
    alone = IsotonicCalibration().fit(dist, y)
    torch.testing.assert_close(r(both).probs[:, 0], alone(dist).probs)
    cube = Bernoulli(logits=dist.logits.reshape(20, 100))
    torch.testing.assert_close(alone(cube).probs.flatten(), alone(dist).probs)


@pytest.mark.parametrize(
    "recalibration", [BetaCalibration, IsotonicCalibration, VectorScaling, TemperatureScaling]
)
def test_numbers_are_refused(recalibration):
    from disthead.families import Normal

    with pytest.raises(ValueError, match="ScaleCalibration"):
        recalibration().fit(Normal(torch.zeros(5), 1.0), torch.zeros(5))


def test_one_outcome_alone_teaches_nothing():
    with pytest.raises(ValueError, match="both outcomes"):
        BetaCalibration().fit(Bernoulli(logits=torch.zeros(5)), torch.ones(5))
