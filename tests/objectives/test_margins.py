"""Hinge losses: PyTorch's and the formula, batches of any shape, extreme logits, errors."""

import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead.calibration import VectorScaling
from disthead.errors import TargetError
from disthead.objectives import get_objective, hinge, multiclass_hinge


def bernoulli(logits):
    return dh.get_family("bernoulli").distribution(logits=logits)


def categorical(logits):
    classes = dh.get_family("categorical", num_classes=logits.shape[-1])
    return classes.distribution(logits=logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 1, 3)])
def test_batches_of_any_shape(generator, shape, dtype):
    logits = torch.randn(*shape, 3, generator=generator, dtype=dtype)
    y = torch.randint(3, shape, generator=generator)
    before = y.clone()
    for options in ({}, {"margin": 0.3, "power": 2}):
        values = multiclass_hinge(**options)(categorical(logits), y)
        own = {"p": options.get("power", 1), "margin": options.get("margin", 1.0)}
        rows = functional.multi_margin_loss(
            logits.reshape(-1, 3), y.reshape(-1), reduction="none", **own
        )
        torch.testing.assert_close(values, rows.reshape(shape))
    outcome = (y > 0).long()
    values = hinge(bernoulli(logits[..., 0]), outcome)
    torch.testing.assert_close(values, (1 - (2 * outcome - 1) * logits[..., 0]).clamp(min=0))
    torch.testing.assert_close(y, before)


def test_two_classes_have_half_the_hinge_of_their_difference(generator):
    """With K = 2 the one wrong class is z_k - z_y away, and the sum is divided by 2."""
    logits, y = torch.randn(20, 2, generator=generator), torch.randint(2, (20,))
    difference = bernoulli(logits[:, 1] - logits[:, 0])
    torch.testing.assert_close(
        multiclass_hinge()(categorical(logits), y), 0.5 * hinge(difference, y)
    )


def test_several_outputs_count_by_their_mean(generator):
    logits, y = torch.randn(4, 3, generator=generator), torch.randint(2, (4, 3))
    values = hinge(bernoulli(logits).to_event(1), y)
    torch.testing.assert_close(values, hinge(bernoulli(logits), y).mean(1))


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_have_finite_losses_and_gradients(size):
    logits = torch.tensor([[size, -size], [-size, size]], requires_grad=True)
    y = torch.tensor([0, 0])
    total = multiclass_hinge()(categorical(logits), y).sum()
    total = total + hinge(bernoulli(logits[:, 0]), y).sum()
    assert total.isfinite()
    assert torch.autograd.grad(total, logits)[0].isfinite().all()


def test_a_linear_head_trained_by_the_hinge_is_the_support_vector_machine():
    """With the squared norm of the weights it is the primal problem of scikit-learn's LinearSVC,
    which it solves with a bias that is also penalised.
    """
    svm = pytest.importorskip("sklearn.svm")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(80, 2, generator=generator, dtype=torch.float64)
    y = (x[:, 0] + 0.7 * torch.randn(80, generator=generator, dtype=torch.float64) > 0).long()
    other = svm.LinearSVC(loss="hinge", C=1.0, max_iter=200_000, tol=1e-8).fit(x, y)
    weight = torch.tensor([*other.coef_[0], *other.intercept_], requires_grad=True)
    objective = hinge(bernoulli(x @ weight[:2] + weight[2]), y).sum() + 0.5 * weight @ weight
    steps = torch.randn(200, 3, generator=generator, dtype=torch.float64) * 0.05
    for step in steps:
        moved = weight.detach() + step
        at = hinge(bernoulli(x @ moved[:2] + moved[2]), y).sum() + 0.5 * moved @ moved
        assert at >= objective.detach() - 1e-6


@pytest.mark.parametrize(
    "objective, dist, y, message",
    [
        (hinge, bernoulli(torch.zeros(3)), [1, -1, 1], r"must be 0 or 1, .*-1 at row 1.*\+ 1. / 2"),
        (hinge, bernoulli(torch.zeros(2)), [0.5, 1.0], r"must be 0 or 1, got 1 of 2"),
        (multiclass_hinge(), categorical(torch.zeros(2, 3)), [0, 3], "3 at row 1"),
        (multiclass_hinge(), categorical(torch.zeros(2, 3)), [0, -100], "-100 at row 1"),
    ],
)
def test_targets_that_are_no_outcomes(objective, dist, y, message):
    with pytest.raises(TargetError, match=message):
        objective(dist, torch.tensor(y))


def test_class_probabilities_are_no_targets():
    probs = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match=r"shape \(2,\) .*got \(2, 3\). Try y.argmax\(-1\)"):
        multiclass_hinge()(categorical(torch.zeros(2, 3)), probs)


@pytest.mark.parametrize("options", [{"margin": 0}, {"margin": "1"}, {"power": 3}, {"power": 1.5}])
def test_options_that_cannot_be(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name} must be .*got"):
        multiclass_hinge(**options)


def test_options_are_plain_data():
    assert get_objective({"name": "multiclass_hinge", "power": 2}) == multiclass_hinge(power=2)


def test_a_classifier_learns_by_the_hinge_and_probabilities_by_recalibration(generator):
    x = torch.randn(400, 2, generator=generator)
    y = (x[:, 0] + 0.5 * torch.randn(400, generator=generator) > 0).long()
    options = {"objective": "hinge", "hidden_sizes": [8], "max_steps": 200, "random_state": 0}
    model = dh.DistributionClassifier("bernoulli", **options)
    model.fit(x[:200].numpy(), y[:200].numpy())
    assert (model.predict(x[200:].numpy()) == y[200:].numpy()).mean() > 0.8
    dist = model.predict_dist(x[200:].numpy())
    recalibrated = VectorScaling().fit(dist, y[200:])(dist)
    assert dh.nll(recalibrated, y[200:]) < dh.nll(dist, y[200:])
