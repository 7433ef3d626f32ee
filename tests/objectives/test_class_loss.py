"""What all objectives of classes have in common: labels, shapes, extremes, class posteriors."""

import math

import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead.errors import TargetError
from tests.objectives.of_classes import (
    EACH,
    EACH_OF_THREE,
    minimiser,
    of_labels,
    of_logits,
    probs_of,
)

focal, asymmetric, weighted = dh.objectives.focal, dh.objectives.asymmetric, dh.objectives.weighted
each = pytest.mark.parametrize(
    "objective, classes", [pytest.param(one, count, id=name) for name, one, count in EACH]
)


def draw(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


# All of them: soft labels, shapes, precision, extremes.


@each
def test_a_soft_label_is_the_expectation_over_labels(objective, classes):
    logits, soft = 2 * draw(5, classes), draw(5, classes).softmax(-1)
    soft[0] = functional.one_hot(torch.tensor(1), classes)
    dist = of_logits(logits)
    values = objective(dist, soft[:, 1] if classes == 2 else soft)
    expected = torch.stack(
        [row @ of_labels(objective, z) for row, z in zip(soft, logits, strict=True)]
    )
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(values[0], of_labels(objective, logits[0])[1])


@each
def test_any_number_of_dimensions_and_either_precision(objective, classes):
    logits, y = draw(2, 3, 4, classes), torch.arange(24).reshape(2, 3, 4) % classes
    values = objective(of_logits(logits), y)
    flat = objective(of_logits(logits.reshape(24, classes)), y.flatten())
    torch.testing.assert_close(values.flatten(), flat)
    torch.testing.assert_close(objective(of_logits(logits[0, 0, 0]), y[0, 0, 0]), values[0, 0, 0])
    single, before = of_logits(logits.float()), y.clone()
    torch.testing.assert_close(objective(single, y), values.float())
    assert torch.equal(y, before)
    several = objective(of_logits(logits).to_event(1), y)
    torch.testing.assert_close(several, values.mean(-1))


@each
def test_values_and_gradients_at_extreme_logits_in_single_precision(objective, classes):
    """They are finite, and those of double precision."""
    ends = torch.tensor([-1e4, 0.0, 1e4])
    corners = torch.cartesian_prod(*[ends] * classes)
    logits = corners.repeat_interleave(classes, 0)
    y = torch.arange(classes).repeat(len(corners))
    soft = torch.full((len(logits), classes), 0.1 / (classes - 1))
    soft[torch.arange(len(y)), y] = 0.9
    # sums of logarithms of 1e4 and more, which have a spacing of 1e-3
    sums = (dh.objectives.forward_corrected, dh.objectives.learned_transition)
    near = 1e-3 if isinstance(objective, sums) else 1e-6
    for target in (y, soft[:, 1] if classes == 2 else soft):
        results = []
        for dtype in (torch.float32, torch.float64):
            raw = logits.to(dtype).requires_grad_()
            values = objective(of_logits(raw), target)
            (slopes,) = torch.autograd.grad(values.sum(), raw)
            assert values.isfinite().all()
            assert slopes.isfinite().all()
            results.append((values.double(), slopes.double()))
        for single, double in zip(*results, strict=True):
            torch.testing.assert_close(single, double, rtol=1e-5, atol=near)


def test_a_sure_error_costs_what_the_formula_says():
    z = torch.tensor([-1e4], requires_grad=True)
    dist = dh.get_family("bernoulli").distribution(logits=z)
    one = torch.ones(1)
    for objective, value, slope in (
        (focal(), 1e4, -1.0),
        (asymmetric(), 1e4, -1.0),
        (weighted((1, 3)), 3e4, -3.0),
        (dh.objectives.generalized_cross_entropy(0.5), 2.0, 0.0),
        (dh.objectives.symmetric_cross_entropy(), 1004.0, -0.1),
        (dh.objectives.label_smoothing(0.2), 0.9e4, -0.9),
        (dh.objectives.forward_corrected(0.2), math.log(10), 0.0),
    ):
        result = objective(dist, one)
        torch.testing.assert_close(result, torch.tensor([value]))
        (found,) = torch.autograd.grad(result, z)
        torch.testing.assert_close(found, torch.tensor([slope]))


@each
def test_probabilities_of_zero_and_one_have_finite_gradients(objective, classes):
    p = torch.tensor([0.0, 1.0]) if classes == 2 else torch.tensor([0.0, 0.25, 0.75])
    p = p.requires_grad_()
    soft = torch.tensor([0.0, 0.4, 0.6])
    for y in (torch.tensor([1, 1]), torch.tensor([0, 1]), torch.tensor([0.0, 1.0])):
        if classes == 2:
            dist = dh.get_family("bernoulli").distribution(probs=p)
        else:
            dist = dh.get_family("categorical", num_classes=3).distribution(probs=p.expand(2, 3))
            y = soft.expand(2, 3) if y.is_floating_point() else y
        values = objective(dist, y)
        assert not values.isnan().any()
        assert torch.autograd.grad(values.sum(), p)[0].isfinite().all()
    if hasattr(objective, "class_posterior"):
        assert not objective.class_posterior(dist).probs.isnan().any()


@each
def test_gradients_of_soft_labels_are_those_of_finite_differences(objective, classes):
    logits, soft = draw(3, classes).requires_grad_(), draw(3, classes).softmax(-1)
    target = soft[:, 1] if classes == 2 else soft
    assert torch.autograd.gradcheck(lambda z: objective(of_logits(z), target), logits)


@each
def test_numbers_that_are_no_label_have_an_infinite_loss_or_are_named(objective, classes):
    dist = of_logits(torch.zeros(4, classes))
    for y in (torch.tensor([0.0, 1.0, classes, -1.0]), torch.tensor([0, 1, classes, -1])):
        if isinstance(objective, dh.objectives.label_smoothing) and classes > 2:
            with pytest.raises(TargetError, match=r"0, ..., 2 \(3 classes\), got .* at row 2"):
                objective(dist, y)
        else:
            assert objective(dist, y).isinf().tolist() == [False, False, True, True]


# The way back: what minimises the expected loss, and the truth from it.

TRUTHS = {2: torch.tensor([0.7, 0.3]).double(), 3: torch.tensor([0.6, 0.3, 0.1]).double()}


@pytest.mark.parametrize(
    "objective, classes",
    [
        pytest.param(one, count, id=name)
        for name, one, count in EACH
        if hasattr(one, "class_posterior")
    ],
)
def test_the_class_posterior_of_the_minimiser_is_the_truth(objective, classes):
    best = minimiser(objective, TRUTHS[classes])
    posterior = probs_of(objective.class_posterior(best))
    torch.testing.assert_close(posterior, TRUTHS[classes], rtol=0, atol=1e-5)
    # these are the losses that are not proper
    assert not torch.allclose(probs_of(best), TRUTHS[classes], rtol=0, atol=0.01)


def test_the_class_posterior_keeps_kind_outputs_precision_and_labels():
    objective = focal(gamma=1.5)
    logits = draw(4, 2, 3, dtype=torch.float32)
    ordered = of_logits(logits, "ordinal").to_event(1)
    posterior = objective.class_posterior(ordered)
    assert (posterior.batch_shape, posterior.event_shape) == ((4,), (2,))
    assert posterior.base.kind == "ordinal"
    assert posterior.probs.dtype == torch.float32
    dist = of_logits(draw(3))
    dist.class_labels = ["a", "b", "c"]
    with torch.inference_mode():
        assert objective.class_posterior(dist).class_labels == ["a", "b", "c"]
    # of predictions that are sure, too
    extreme = objective.class_posterior(of_logits(torch.tensor([[1e4, 0.0, -1e4], [40, 0, 0]])))
    torch.testing.assert_close(extreme.probs[:, 0], torch.ones(2))


def test_the_class_posterior_needs_weights_above_zero_and_classes():
    with pytest.raises(ValueError, match=r"weighted needs weights of classes above 0, got \[0.*1"):
        weighted((0, 1)).class_posterior(of_logits(torch.zeros(2)))
    with pytest.raises(NotImplementedError, match="Normal has no focal"):
        focal().class_posterior(dh.get_family("normal").distribution(loc=0.0, scale=1.0))


@each
def test_truth_values_and_half_precision_are_labels(objective, classes):
    dist, y = of_logits(draw(4, classes)), torch.tensor([0, 1, 1, 0])
    expected = objective(dist, y)
    for dtype in (torch.bfloat16, torch.float32) + (torch.bool,) * (classes == 2):
        torch.testing.assert_close(objective(dist, y.to(dtype)), expected)


@pytest.mark.parametrize("name, objective", EACH_OF_THREE)
@pytest.mark.parametrize("wrong", [[0.5, 0.5, 0.5], [-1.0, 1.0, 1.0], [2.0, 1.0, -3.0], [0, 0, 0]])
def test_soft_labels_that_are_no_probabilities_are_refused(name, objective, wrong):
    """Such as logits, whose loss would be finite."""
    soft = torch.tensor([[1.0, 0.0, 0.0], wrong])
    with pytest.raises(TargetError, match=r"y must be class probabilities.* row 1"):
        objective(of_logits(draw(2, 3)), soft)
    several = of_logits(draw(2, 1, 3)).to_event(1)
    with pytest.raises(TargetError, match=r"y must be class probabilities.* row 1"):
        objective(several, soft.unsqueeze(1))
