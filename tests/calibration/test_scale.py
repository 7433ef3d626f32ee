"""Scale and quantile recalibration mend what is wrong, leave alone what is right, and answer as
distributions.
"""

import math

import numpy as np
import pytest
import torch

from disthead import get_family
from disthead.calibration import QuantileRecalibration, ScaleCalibration
from disthead.errors import TargetError
from disthead.families import (
    Gamma,
    Independent,
    Laplace,
    LogNormal,
    MultivariateNormal,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    VonMises,
)
from disthead.families.mixture import Mixture

N = 6000


def pairs(name: str):
    """The truth and a model with half its spread, for N rows."""
    torch.manual_seed(1)
    loc = torch.randn(N, dtype=torch.float64)
    rate = loc.exp()
    if name == "normal":
        return Normal(loc, 1.0), Normal(loc, 0.5)
    if name == "student_t":
        return StudentT(4.0, loc, 1.0), StudentT(4.0, loc, 0.5)
    if name == "gamma":
        return Gamma(3.0, rate), Gamma(12.0, 4 * rate)
    if name == "log_normal":
        return LogNormal(loc, 0.8), LogNormal(loc, 0.4)
    if name == "mixture":
        truth = Mixture(
            torch.zeros(N, 2).double(), Normal(torch.stack([loc - 1, loc + 1], -1), 0.6)
        )
        return truth, truth.affine(0.5 * truth.mean, loc.new_tensor(0.5))
    if name == "affine":
        units = loc.new_tensor(2.0), loc.new_tensor(3.0)
        return Gamma(3.0, rate).affine(*units), Gamma(12.0, 4 * rate).affine(*units)
    # Four times the variance of a Poisson distribution, which is the model's.
    mean = 40 * (0.3 * loc).exp()
    return NegativeBinomial(mean / 3, loc.new_tensor(3.0).log().expand(N)), Poisson(mean)


def score(dist, y):
    return -dist.log_prob(y).mean().item()


@pytest.mark.parametrize("recalibration", [ScaleCalibration, QuantileRecalibration])
@pytest.mark.parametrize(
    "name", ["normal", "student_t", "gamma", "log_normal", "mixture", "affine", "poisson"]
)
def test_a_model_with_half_the_spread_becomes_honest(name, recalibration):
    truth, model = pairs(name)
    held_out, fresh = truth.sample(), truth.sample()
    first = 2000
    r = recalibration().fit(model[:first], held_out[:first])
    recalibrated_dist = r(model)
    assert score(model, fresh) > score(truth, fresh) + 0.2
    assert score(recalibrated_dist, fresh) < score(truth, fresh) + 0.01
    if truth.support.is_discrete:
        below, through = recalibrated_dist[:first].cdf_limits(fresh[:first])
        u = below + torch.rand(first, dtype=below.dtype) * (through - below)
    else:
        u = recalibrated_dist.cdf(fresh)
    for level in (0.5, 0.9):
        covered = ((u > (1 - level) / 2) & (u < (1 + level) / 2)).double().mean().item()
        # Sampling error of the rows that it was fitted on and of the fresh ones.
        error = math.sqrt(level * (1 - level) * (1 / len(u) + 1 / first))
        assert abs(covered - level) < 4 * error


@pytest.mark.parametrize("recalibration", [ScaleCalibration, QuantileRecalibration])
@pytest.mark.parametrize("name", ["normal", "student_t", "gamma", "mixture", "poisson"])
def test_an_honest_model_is_left_alone(name, recalibration):
    truth, model = pairs(name)
    truth = model if name == "poisson" else truth
    y, fresh = truth.sample(), truth.sample()
    r = recalibration().fit(truth[:2000], y[:2000])
    assert abs(score(r(truth), fresh) - score(truth, fresh)) < 0.005


def test_quantile_recalibration_mends_shift_and_skew():
    """Targets with skewed noise around a shifted centre, and a model that thinks them normal."""
    torch.manual_seed(0)
    x = torch.randn(20000, dtype=torch.float64)
    noise = Gamma(4.0, torch.full_like(x, 2.0))
    y = x + noise.sample() - 1
    model = Normal(x, 1.0)
    r = QuantileRecalibration().fit(model[:4000], y[:4000])
    recalibrated_dist = r(model[4000:])
    truth = noise[4000:].log_prob(y[4000:] - x[4000:] + 1)
    assert score(recalibrated_dist, y[4000:]) < -truth.mean().item() + 0.02
    only_spread = ScaleCalibration().fit(model[:4000], y[:4000])(model[4000:])
    assert score(only_spread, y[4000:]) > score(recalibrated_dist, y[4000:]) + 0.2
    assert (
        np.abs(
            np.sort(recalibrated_dist.cdf(y[4000:]).numpy()) - (np.arange(16000) + 0.5) / 16000
        ).max()
        < 0.03
    )


def test_the_scale_of_a_normal_is_the_root_mean_square_residual():
    torch.manual_seed(0)
    y = torch.randn(500, dtype=torch.float64)
    model = Normal(torch.linspace(-1, 1, 500).double(), torch.linspace(0.1, 2, 500).double())
    z = (y - model.loc) / model.scale
    r = ScaleCalibration().fit(model, y)
    torch.testing.assert_close(r.scale, z.square().mean().sqrt(), rtol=1e-6, atol=0)
    recalibrated_dist = r(model)
    assert isinstance(recalibrated_dist, Normal)
    torch.testing.assert_close(recalibrated_dist.scale, r.scale * model.scale)
    torch.testing.assert_close(recalibrated_dist.loc, model.loc)


@pytest.mark.parametrize(
    "dist",
    [StudentT(3.0, 0.0, 1.0), Laplace(0.0, 1.0), MultivariateNormal(torch.zeros(2), torch.eye(2))],
)
def test_location_scale_families_stay_what_they_are(dist):
    torch.manual_seed(0)
    dist = dist.expand((300,))
    assert type(ScaleCalibration().fit(dist, dist.sample())(dist)) is type(dist)


def test_each_coordinate_of_a_vector_has_its_scale():
    torch.manual_seed(0)
    tril = torch.tensor([[1.0, 0.0], [0.8, 0.6]]).double()
    truth = MultivariateNormal(torch.zeros(4000, 2).double(), tril)
    wrong = torch.tensor([0.5, 2.0]).double()
    model = truth.affine(torch.zeros(2).double(), wrong)
    r = ScaleCalibration().fit(model, truth.sample())
    torch.testing.assert_close(r.scale, 1 / wrong, rtol=0.05, atol=0)
    torch.testing.assert_close(r(model).covariance[0], truth.covariance[0], rtol=0.08, atol=0.02)


def test_several_outputs_have_a_map_each_and_any_batch_shape():
    torch.manual_seed(0)
    loc = torch.zeros(40, 50, 3).double()
    truth, model = Normal(loc, 1.0), Normal(loc, torch.tensor([0.5, 1.0, 2.0]).double())
    y = truth.sample()
    for recalibration in (ScaleCalibration, QuantileRecalibration):
        r = recalibration().fit(Independent(model, 1), y)
        recalibrated_dist = r(Independent(model, 1))
        assert recalibrated_dist.batch_shape == (40, 50)
        assert recalibrated_dist.event_shape == (3,)
        assert recalibrated_dist.log_prob(y).shape == (40, 50)
        for output in range(3):
            alone = recalibration().fit(model[..., output], y[..., output])
            joint = recalibrated_dist.marginals[:, :, output]
            torch.testing.assert_close(
                joint.log_prob(y[..., output]),
                alone(model[..., output]).log_prob(y[..., output]),
                rtol=0,
                atol=1e-3,
            )


def test_directions_get_another_concentration():
    torch.manual_seed(0)
    truth, model = VonMises(torch.zeros(3000), 2.0), VonMises(torch.zeros(3000), 8.0)
    r = ScaleCalibration().fit(model, truth.sample())
    assert abs(r(model).concentration[0].item() - 2.0) < 0.15
    with pytest.raises(ValueError, match="Try ScaleCalibration"):
        QuantileRecalibration().fit(model, truth.sample())


def test_targets_at_the_end_of_the_support_have_no_shape(generator):
    dist = get_family("exponential").distribution(rate=torch.ones(200))
    y = torch.empty(200).exponential_(generator=generator)
    y[::5] = 0.0
    with pytest.raises(
        TargetError, match=r"end of the support.*40 of 200 values: 0 at row 0, 0 at row 5"
    ):
        QuantileRecalibration().fit(dist, y)
    weight = (y > 0).float()
    result, expected = (
        QuantileRecalibration().fit(*rows) for rows in ((dist, y, weight), (dist[y > 0], y[y > 0]))
    )
    assert torch.equal(result.offset, expected.offset)
