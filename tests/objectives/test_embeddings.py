"""Losses of embeddings: PyTorch's own, or the papers' formulas pair by pair; gradients; errors."""

import math

import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead.errors import TargetError
from disthead.metrics import CRPS, NegativeLogLikelihood
from disthead.objectives import (
    check_objective,
    circle,
    contrastive,
    cosine_embedding,
    get_objective,
    triplet,
)

PAIRS = [contrastive(), contrastive(margin=2.0), cosine_embedding(), cosine_embedding(margin=0.4)]
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3])


@pytest.fixture
def embeddings(generator):
    return torch.randn(3, 7, 4, generator=generator, dtype=torch.float64)


@pytest.fixture
def y(generator):
    return 2 * torch.randint(2, (7,), generator=generator) - 1


def by_formula(objective, first, second, y):
    """Pair by pair, with Python's own numbers."""
    values = []
    for a, b, label in zip(first.tolist(), second.tolist(), y.tolist(), strict=True):
        if isinstance(objective, contrastive):
            distance = math.dist(a, b)
            apart = max(0.0, objective.margin - distance)
            values.append(0.5 * (distance**2 if label == 1 else apart**2))
        else:
            dot = sum(p * q for p, q in zip(a, b, strict=True))
            cosine = dot / math.hypot(*a) / math.hypot(*b)
            values.append(1 - cosine if label == 1 else max(0.0, cosine - objective.margin))
    return torch.tensor(values, dtype=first.dtype)


@pytest.mark.parametrize("objective", PAIRS, ids=str)
def test_pairs_are_scored_by_the_formula(objective, embeddings, y):
    first, second, _ = embeddings
    torch.testing.assert_close(objective(first, second, y), by_formula(objective, first, second, y))
    single = objective(first.float(), second.float(), y)
    torch.testing.assert_close(single.double(), objective(first, second, y), rtol=1e-4, atol=1e-6)
    assert single.dtype == torch.float32


@pytest.mark.parametrize("options", [{}, {"margin": 0.3}, {"margin": 2.0, "swap": True}])
def test_triplets_are_scored_as_by_pytorch(options, embeddings):
    values = triplet(**options)(*embeddings)
    expected = functional.triplet_margin_loss(*embeddings, reduction="none", **options)
    torch.testing.assert_close(values, expected)
    anchor, positive, negative = embeddings
    near, far = (anchor - positive).norm(dim=-1), (anchor - negative).norm(dim=-1)
    if options.get("swap"):
        far = torch.minimum(far, (positive - negative).norm(dim=-1))
    by_hand = (near - far + options.get("margin", 1.0)).clamp(min=0)
    torch.testing.assert_close(values, by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("margin, gamma", [(0.25, 256.0), (0.4, 2.0), (0.0, 1.0)])
def test_the_circle_loss_is_that_of_the_paper(margin, gamma, embeddings):
    """Equation 6 of Sun and others (2020) with the weights of equation 5, anchor by anchor."""
    x = functional.normalize(embeddings[0], dim=-1)
    values = circle(margin, gamma)(embeddings[0], LABELS)
    for row, value in enumerate(values.tolist()):
        others = [k for k in range(7) if k != row]
        near = [float(x[row] @ x[k]) for k in others if LABELS[k] == LABELS[row]]
        far = [float(x[row] @ x[k]) for k in others if LABELS[k] != LABELS[row]]
        of_near = sum(math.exp(-gamma * max(0.0, 1 + margin - s) * (s - 1 + margin)) for s in near)
        of_far = sum(math.exp(gamma * max(0.0, s + margin) * (s - margin)) for s in far)
        assert value == pytest.approx(math.log1p(of_near * of_far), rel=1e-9, abs=1e-12)
    assert values[[3, 6]].eq(0).all()  # the only rows of their classes


def test_the_gradient_of_the_circle_loss_is_that_of_the_paper():
    """For one pair of each kind: gamma (s_n + m) and gamma (s_p - 1 - m), times 1 - exp(-loss),
    which is equation 10 of the paper.
    """
    margin, gamma = 0.25, 4.0
    angles = torch.tensor([0.0, 0.7, 1.2], dtype=torch.float64, requires_grad=True)
    values = circle(margin, gamma)(
        torch.stack([angles.cos(), angles.sin()], -1), torch.tensor([0, 0, 1])
    )
    gradient = torch.autograd.grad(values[0], angles)[0]
    near, far = angles.detach()[1:].cos().tolist()
    share = 1 - math.exp(-values[0].item())
    by_cosine = torch.tensor([gamma * share * (near - 1 - margin), gamma * share * (far + margin)])
    torch.testing.assert_close(gradient[1:], (by_cosine * -angles.detach()[1:].sin()).double())


@pytest.mark.parametrize("objective", PAIRS, ids=str)
def test_gradients_of_pairs(objective, embeddings, y):
    first, second = (part.requires_grad_() for part in embeddings[:2].clone())
    assert torch.autograd.gradcheck(lambda a, b: objective(a, b, y), (first, second))


def test_gradients_of_triplets(embeddings):
    parts = tuple(part.clone().requires_grad_() for part in embeddings)
    assert torch.autograd.gradcheck(triplet(margin=3.0), parts)


def test_equal_embeddings_have_finite_gradients():
    same = torch.ones(4, 3)
    for label in (1, -1):
        y = torch.full((4,), label)
        for objective in (contrastive(), cosine_embedding()):
            first = same.clone().requires_grad_()
            gradient = torch.autograd.grad(objective(first, same, y).sum(), first)[0]
            assert gradient.isfinite().all()
    first = same.clone().requires_grad_()
    total = triplet()(first, same, same).sum() + circle()(first, torch.tensor([0, 0, 1, 1])).sum()
    assert torch.autograd.grad(total, first)[0].isfinite().all()


@pytest.mark.parametrize("size", [1e-12, 1e15])
def test_extreme_embeddings_have_finite_losses(embeddings, y, size):
    first, second, third = size * embeddings.float()
    values = [objective(first, second, y) for objective in PAIRS]
    values += [triplet()(first, second, third), circle()(first, LABELS)]
    assert all(value.isfinite().all() for value in values)


def test_batches_of_more_dimensions(embeddings, y):
    first, second = embeddings[0].reshape(7, 1, 4), embeddings[1].reshape(7, 1, 4)
    for objective in PAIRS:
        values = objective(first, second, y.reshape(7, 1))
        torch.testing.assert_close(values[:, 0], objective(first[:, 0], second[:, 0], y))
    assert triplet()(*embeddings.reshape(3, 7, 1, 4)).shape == (7, 1)


@pytest.mark.parametrize("objective", PAIRS[::2], ids=str)
def test_pairs_that_cannot_be(objective, embeddings, y):
    first, second, _ = embeddings
    with pytest.raises(TargetError, match=r"1 for pairs .* -1 for others, got .*Try 2 \* y - 1"):
        objective(first, second, (y > 0).long())
    with pytest.raises(TargetError, match=r"got 1 of 7 values: 3 at row 2\.$"):
        objective(first, second, torch.cat([y[:2], torch.tensor([3]), y[3:]]))
    with pytest.raises(ValueError, match=r"same shape, .*first \(7, 4\), second \(7, 3\)"):
        objective(first, second[:, :3], y)
    with pytest.raises(ValueError, match=r"shape \(7,\), got \(7, 1\). Try y.squeeze"):
        objective(first, second, y.unsqueeze(1))
    with pytest.raises(ValueError, match="at least one row, got an empty batch"):
        objective(first[:0], second[:0], y[:0])
    with pytest.raises(ValueError, match=r"first must be embeddings, floating-point .*int64"):
        objective(first.long(), second.long(), y)


def test_triplets_and_batches_that_cannot_be(embeddings):
    with pytest.raises(ValueError, match=r"anchor \(7, 4\), positive \(7, 4\), negative \(6, 4\)"):
        triplet()(embeddings[0], embeddings[1], embeddings[2][:6])
    with pytest.raises(ValueError, match=r"anchor must be a tensor of embeddings"):
        triplet()([[1.0]], embeddings[0], embeddings[1])
    with pytest.raises(
        ValueError, match=r"two rows of one class .*got the labels \[0, 1, 2\] in 3"
    ):
        circle()(embeddings[0][:3], torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"two rows of one class .*got the labels \[1.0\] in 7"):
        circle()(embeddings[0], torch.ones(7))
    with pytest.raises(ValueError, match=r"one label per row, \(N,\), got \(7, 4\) and \(6,\)"):
        circle()(embeddings[0], LABELS[:6])


@pytest.mark.parametrize(
    "kind, options",
    [
        (contrastive, {"margin": 0.0}),
        (contrastive, {"margin": "1"}),
        (triplet, {"margin": -1.0}),
        (triplet, {"swap": 1}),
        (cosine_embedding, {"margin": 1.5}),
        (circle, {"margin": 1.0}),
        (circle, {"gamma": 0.0}),
        (circle, {"gamma": math.inf}),
    ],
)
def test_options_that_cannot_be(kind, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be .*got"):
        kind(**options)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("contrastive", "first, second, y"),
        ("triplet", "anchor, positive, negative"),
        ("cosine_embedding", "first, second, y"),
        ("circle", "embeddings, labels"),
        ("wasserstein_gan", "real, fake"),
    ],
)
def test_a_family_is_not_trained_by_them(name, arguments):
    objective = get_objective(name)
    with pytest.raises(
        ValueError, match=rf"'{name}' cannot train a family: it takes \({arguments}\), not \(dist"
    ):
        check_objective(objective, dh.get_family("normal"))


@pytest.mark.parametrize("metric", [NegativeLogLikelihood(), CRPS()], ids=repr)
def test_metrics_refuse_embeddings(metric, embeddings):
    with pytest.raises(
        ValueError, match=r"metrics score predicted distributions, got Tensor\. .*get_family"
    ):
        metric.update(embeddings[0], LABELS)
