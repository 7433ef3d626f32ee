"""What all recalibrations have in common: they are saved, rebuilt, refuse what they cannot do, and
do not touch the model.
"""

import pickle

import pytest
import torch

from disthead import get_family
from disthead.calibration import (
    BetaCalibration,
    ConformalPredictive,
    ConformalQuantiles,
    IsotonicCalibration,
    QuantileRecalibration,
    ScaleCalibration,
    TemperatureScaling,
    VectorScaling,
    rebuild,
)
from disthead.calibration.monotone_maps import probit_of_tail
from disthead.errors import TargetError
from disthead.families import Bernoulli, Categorical, Gamma, Normal
from disthead.special import ndtri_exp

NUMBERS = [
    ScaleCalibration(),
    QuantileRecalibration(),
    ConformalQuantiles([0.5, 0.9], normalised=True),
    ConformalPredictive(seed=3),
]
TWO = [TemperatureScaling(), VectorScaling(), BetaCalibration(), IsotonicCalibration()]


def example(recalibration):
    """A distribution of 60 rows from raw outputs that require gradients, and targets."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(60, 2, generator=generator).requires_grad_()
    if type(recalibration) in {type(one) for one in TWO}:
        dist = get_family("bernoulli").from_raw(raw[:, :1])
        return raw, dist, (torch.rand(60, generator=generator) < raw[:, 0].sigmoid()).float()
    return raw, get_family("gamma").from_raw(raw), torch.rand(60, generator=generator) + 0.1


def answer(dist):
    return dist.probs if isinstance(dist, Bernoulli) else torch.stack(dist.interval(0.9))


@pytest.mark.parametrize("recalibration", NUMBERS + TWO, ids=lambda r: type(r).__name__)
class TestEveryOne:
    def test_checkpoint(self, recalibration, tmp_path):
        _, dist, y = example(recalibration)
        r = rebuild(recalibration.config).fit(dist, y)
        torch.save({"config": r.config, "state": r.state_dict()}, tmp_path / "r.ckpt")
        loaded = torch.load(tmp_path / "r.ckpt", weights_only=True)
        again = rebuild(loaded["config"])
        assert not again.is_fitted
        again.load_state_dict(loaded["state"])
        assert again.is_fitted
        torch.testing.assert_close(answer(again(dist)), answer(r(dist)), rtol=0, atol=0)
        other_size = rebuild(r.config).fit(dist[:50], y[:50])
        other_size.load_state_dict(loaded["state"])
        torch.testing.assert_close(answer(other_size(dist)), answer(r(dist)), rtol=0, atol=0)
        torch.testing.assert_close(
            answer(pickle.loads(pickle.dumps(r))(dist)), answer(r(dist)), rtol=0, atol=0
        )

    def test_inside_another_module(self, recalibration):
        _, dist, y = example(recalibration)
        r = rebuild(recalibration.config).fit(dist, y)
        outer = torch.nn.Sequential(torch.nn.Linear(1, 1), r)
        fresh = torch.nn.Sequential(torch.nn.Linear(1, 1), rebuild(r.config))
        fresh.load_state_dict(outer.state_dict())
        torch.testing.assert_close(answer(fresh[1](dist)), answer(r(dist)), rtol=0, atol=0)
        assert not list(r.parameters())
        answer(fresh.double()[1](dist))

    def test_fit_leaves_no_gradient_and_forward_passes_it_on(self, recalibration):
        raw, dist, y = example(recalibration)
        r = rebuild(recalibration.config).fit(dist, y)
        assert raw.grad is None
        assert not any(buffer.requires_grad for buffer in r.buffers())
        if not isinstance(r, IsotonicCalibration):  # it has flat pieces
            answer(r(dist)).sum().backward()
            assert raw.grad.isfinite().all()
            assert (raw.grad != 0).any()

    def test_in_inference_mode_and_in_a_batch_of_another_shape(self, recalibration):
        _, dist, y = example(recalibration)
        plain = answer(rebuild(recalibration.config).fit(dist, y)(dist))
        with torch.inference_mode():
            _, inside, y = example(recalibration)
            shaped = inside.map(lambda part: part.reshape(6, 10, *part.shape[1:]))
            r = rebuild(recalibration.config).fit(shaped, y.reshape(6, 10))
            torch.testing.assert_close(answer(r(shaped)).flatten(-2), plain, rtol=1e-5, atol=1e-6)
        assert answer(r(dist.map(lambda part: part[0]))).shape == plain.shape[:-1]

    def test_errors(self, recalibration):
        _, dist, y = example(recalibration)
        r = rebuild(recalibration.config)
        with pytest.raises(ValueError, match=r"call fit\(dist, y\)"):
            r(dist)
        holed = y.clone()
        holed[7] = torch.nan
        with pytest.raises(TargetError, match="row 7"):
            r.fit(dist, holed)
        with pytest.raises(TargetError, match="-3 at row 2"):
            r.fit(dist, y.index_fill(0, torch.tensor(2), -3.0))
        with pytest.raises(ValueError, match=r"squeeze"):
            r.fit(dist, y.unsqueeze(-1))
        with pytest.raises(ValueError, match="at least"):
            r.fit(dist[:1], y[:1])
        r.fit(dist, y)
        with pytest.raises(ValueError, match="was fitted on"):
            r(Normal(torch.zeros(3), 1.0))
        with pytest.raises(ValueError, match="event_shape"):
            r(dist.map(lambda part: part.reshape(30, 2, *part.shape[1:])).to_event(1))


def test_rebuild_knows_its_names():
    with pytest.raises(ValueError, match="did you mean 'ScaleCalibration'"):
        rebuild({"name": "ScalCalibration", "arguments": {}})


@pytest.mark.parametrize("recalibration", NUMBERS, ids=lambda r: type(r).__name__)
def test_classes_are_refused(recalibration):
    for dist in (Bernoulli(logits=torch.zeros(20)), Categorical(logits=torch.zeros(20, 3))):
        with pytest.raises(ValueError, match="numbers"):
            rebuild(recalibration.config).fit(dist, torch.zeros(20))


def test_a_model_that_says_nan_is_refused():
    with pytest.raises(ValueError, match="row 1"):
        ScaleCalibration().fit(Normal(torch.tensor([0.0, torch.nan]), 1.0), torch.zeros(2))


def test_single_precision_is_kept():
    model = Gamma(torch.full((50,), 3.0), 1.0)
    torch.manual_seed(0)
    y = model.sample()
    for recalibration in NUMBERS[:3]:
        dist = rebuild(recalibration.config).fit(model, y)(model)
        assert (
            dist.dtype
            == dist.log_prob(y).dtype
            == dist.mean.dtype
            == dist.median.dtype
            == torch.float32
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probits_of_tails_that_underflow_are_finite_in_both_precisions(dtype):
    log_tail = torch.tensor([-0.7, -5.0, -90.0, -150.0, -699.0, -701.0, -1e5], dtype=dtype)
    z = probit_of_tail(log_tail)
    assert z.dtype == dtype
    assert torch.allclose(z.double(), ndtri_exp(log_tail.double()), rtol=1e-6)
