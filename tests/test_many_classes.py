"""Categorical heads of many classes: the loss of Linear + cross_entropy, without its logits."""

import gc
import math

import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead.errors import TargetError
from disthead.losses import cross_entropy
from disthead.report import evaluate

CLASSES, ROWS = 3000, 400  # enough for a distribution that waits for its logits


@pytest.fixture
def case(generator):
    head = dh.DistributionHead("categorical", 5, num_classes=CLASSES).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(generator=generator)
    features = torch.randn(ROWS, 5, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.randint(CLASSES, (ROWS,), generator=generator)
    return head, features, y


def logits(head, features):
    return functional.linear(features, head.linear.weight, head.linear.bias)


def gradients(loss, head, features, **options):
    return torch.autograd.grad(loss, [features, *head.parameters()], **options)


def is_lazy(dist):
    return "logits" not in dist.__dict__


def test_loss_and_gradients_are_those_of_cross_entropy(case, generator):
    head, features, y = case
    dist, upstream = head(features), torch.randn(ROWS, generator=generator, dtype=torch.float64)
    expected = functional.cross_entropy(logits(head, features), y, reduction="none")
    torch.testing.assert_close(-dist.log_prob(y), expected)
    found = gradients((-dist.log_prob(y) * upstream).sum(), head, features)
    torch.testing.assert_close(found, gradients((expected * upstream).sum(), head, features))
    assert is_lazy(dist)


def test_far_logits_in_single_precision(case):
    head, features, y = case
    head, features = head.float(), (200 * features.detach()).float().requires_grad_()
    exact = functional.cross_entropy(logits(head.double(), features.double()), y, reduction="none")
    head = head.float()
    torch.testing.assert_close(-head(features).log_prob(y).double(), exact, rtol=1e-5, atol=1e-3)
    assert all(
        part.isfinite().all() for part in gradients(dh.nll(head(features), y), head, features)
    )


def test_rows_in_several_pieces(case, monkeypatch):
    from disthead.likelihood import projection

    monkeypatch.setattr(projection, "_CHUNK_ROWS", {"cpu": 150})
    monkeypatch.setattr(projection, "_CHUNK_LOGITS", {"cpu": 100 * 150})
    head, features, y = case
    shaped = features.reshape(20, 20, 5)
    found = dh.nll(head(shaped), y.reshape(20, 20))
    expected = functional.cross_entropy(logits(head, features), y)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        gradients(found, head, features), gradients(expected, head, features)
    )


@pytest.mark.parametrize("class_weight", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_option_of_cross_entropy(
    case, generator, class_weight, label_smoothing, ignored, reduction
):
    head, features, y = case
    weight = torch.rand(CLASSES, generator=generator, dtype=torch.float64) if class_weight else None
    if ignored:
        y = torch.where(torch.arange(ROWS) % 3 == 0, -100, y)
    options = {"label_smoothing": label_smoothing, "reduction": reduction}
    expected = functional.cross_entropy(logits(head, features), y, weight, **options)
    dist = head(features)
    few = dh.get_family("categorical", num_classes=CLASSES).distribution(
        logits=logits(head, features)
    )
    for each in (dist, few):
        found = cross_entropy(
            each, y, class_weight=weight, ignore_index=-100 if ignored else None, **options
        )
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(
            gradients(found.sum(), head, features, retain_graph=True),
            gradients(expected.sum(), head, features, retain_graph=True),
        )
    assert is_lazy(dist)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_soft_labels(case, generator, reduction):
    head, features, _ = case
    soft = torch.rand(ROWS, CLASSES, generator=generator, dtype=torch.float64).softmax(-1)
    weight = torch.rand(CLASSES, generator=generator, dtype=torch.float64)
    options = {"label_smoothing": 0.1, "reduction": reduction}
    expected = functional.cross_entropy(logits(head, features), soft, weight, **options)
    torch.testing.assert_close(
        cross_entropy(head(features), soft, class_weight=weight, **options), expected
    )


def test_row_weights_count_rows(case):
    """A row of weight 2 is two rows."""
    head, features, y = case
    weight = 1.0 + (torch.arange(ROWS) < 100).double()
    twice = torch.cat([torch.arange(ROWS), torch.arange(100)])
    options = {"class_weight": torch.linspace(1, 2, CLASSES).double(), "label_smoothing": 0.1}
    found = cross_entropy(head(features), y, weight=weight, **options)
    torch.testing.assert_close(found, cross_entropy(head(features[twice]), y[twice], **options))


def test_everything_else_answers_as_with_logits(case):
    head, features, y = case
    dist, few = (
        head(features),
        dh.get_family("categorical", num_classes=CLASSES).from_raw(logits(head, features)),
    )
    torch.testing.assert_close(dist.mode, few.mode)
    torch.testing.assert_close(dist.entropy(), few.entropy())
    cost = torch.linspace(0, 1, 2 * CLASSES).reshape(2, CLASSES)
    torch.testing.assert_close(dist.expected_cost(cost), few.expected_cost(cost))
    assert dist.sample((2,)).shape == (2, ROWS)
    assert dist.num_classes == CLASSES
    assert dist.batch_shape == (ROWS,)
    assert "3000" in repr(dist)
    torch.testing.assert_close(dist[5:390].log_prob(y[5:390]), few.log_prob(y)[5:390])
    assert is_lazy(dist)
    torch.testing.assert_close(dist.probs, few.probs)
    torch.testing.assert_close(
        head(features).expand((2, ROWS)).log_prob(y), few.log_prob(y).expand(2, ROWS)
    )
    torch.testing.assert_close(
        head(features).map(lambda value: value / 2).probs, few.map(lambda value: value / 2).probs
    )


def test_detached_and_without_gradients(case):
    head, features, y = case
    detached = head(features).map(torch.detach)
    assert is_lazy(detached)
    assert not detached.log_prob(y).requires_grad
    assert not detached.probs.requires_grad
    with torch.no_grad():
        dist = head(features)
    assert not dist.log_prob(y).requires_grad
    assert not dist.probs.requires_grad
    dist = head(features)
    with torch.no_grad():
        dist.probs  # noqa: B018  makes the logits, which keep their gradient
    assert dist.probs.requires_grad
    assert dist.log_prob(y).requires_grad
    with torch.inference_mode():
        assert head(features).log_prob(y).shape == (ROWS,)


def test_second_derivatives(generator):
    head = dh.DistributionHead("categorical", 1, num_classes=1 << 17).double()
    features = torch.randn(8, 1, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.randint(1 << 17, (8,), generator=generator)

    def curvature(values):
        slope = torch.autograd.grad(values.sum(), features, create_graph=True)[0]
        return torch.autograd.grad(slope.sum(), features)[0]

    dist = head(features)
    assert is_lazy(dist)
    expected = functional.cross_entropy(logits(head, features), y, reduction="none")
    torch.testing.assert_close(curvature(-dist.log_prob(y)), curvature(expected))


def test_functional_transforms(case):
    head, features, y = case
    parameters = {name: value.detach() for name, value in head.named_parameters()}

    def loss(values):
        return dh.nll(torch.func.functional_call(head, values, (features,)), y)

    found = torch.func.grad(loss)(parameters)
    expected = gradients(dh.nll(head(features), y), head, features)[1:]
    for name, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(found[name], gradient)


def test_weights_that_changed_are_refused(case):
    """The distribution holds the head's weights, not its logits: after a step of the optimizer they
    are others.
    """
    head, features, y = case
    dist = head(features)
    dh.nll(dist, y).backward()
    torch.optim.SGD(head.parameters(), lr=0.1).step()
    for question in (lambda: dist.log_prob(y), lambda: dist.probs, lambda: dist.mode):
        with pytest.raises(RuntimeError, match=r"before optimizer\.step"):
            question()


def test_index_outside(case):
    head, features, y = case
    y[7], y[9] = CLASSES, -1
    values = head(features).log_prob(y)
    assert (values == -math.inf).nonzero().flatten().tolist() == [7, 9]
    with pytest.raises(TargetError, match=r"3000 classes.*3000 at row 7, -1 at row 9"):
        cross_entropy(head(features), y)
    with pytest.raises(TargetError, match=r"1 of 400 values: 3000 at row 7"):
        cross_entropy(head(features), y, ignore_index=-1)


def test_options_that_do_not_fit(case):
    head, features, y = case
    with pytest.raises(ValueError, match=r"shape \(3000,\), got \(2,\)"):
        cross_entropy(head(features), y, class_weight=torch.ones(2))
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        cross_entropy(head(features), y, label_smoothing=1.5)
    with pytest.raises(ValueError, match="needs class indices"):
        cross_entropy(head(features), torch.ones(ROWS, CLASSES), ignore_index=-100)
    with pytest.raises(ValueError, match="needs a categorical"):
        cross_entropy(dh.get_family("normal").distribution(loc=0.0, scale=1.0), torch.tensor(0.0))
    with pytest.raises(ValueError, match=r"y must have the shape \(400,\)"):
        dh.nll(head(features), y[:5])


def test_start_at_the_frequencies(generator):
    y = torch.cat([torch.arange(2000), torch.arange(100)])
    head = dh.DistributionHead("categorical", 2, num_classes=2000).initialize(y)
    expected = torch.where(torch.arange(2000) < 100, 2.0, 1.0) / 2100
    torch.testing.assert_close(head(torch.zeros(2)).probs, expected)


def test_training_never_holds_the_logits():
    """Allocated bytes, which do not depend on the machine: the largest tensor is the block that is
    worked on.
    """
    head = dh.DistributionHead("categorical", 4, num_classes=20_000)
    features, y = torch.randn(1024, 4), torch.zeros(1024, dtype=torch.long)
    gc.collect()
    with torch.profiler.profile(profile_memory=True) as profile:
        cross_entropy(
            head(features), y, class_weight=torch.ones(20_000), label_smoothing=0.1
        ).backward()
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert 0 < largest < 1024 * 20_000 * 4 / 4


def test_a_report_of_more_classes_than_a_matrix_has_room_for_says_so(generator):
    """The square of 100,000 classes takes 80 GB."""
    classes = 100_000
    dist = dh.get_family("categorical", num_classes=classes).distribution(
        logits=torch.zeros(20, classes)
    )
    y = torch.randint(classes, (20,), generator=generator)
    result = evaluate(dist, y, features={"x": torch.randn(20, generator=generator)})
    [verdict] = [v for v in result.verdicts if v.aspect == "confusion of classes"]
    assert verdict.status == "not examined"
    assert "100,000 classes are too many" in verdict.sentence
    assert "Accuracy of always naming" in " ".join(result.scores[""])
