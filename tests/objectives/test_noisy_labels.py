"""Objectives for wrong labels: smoothing, bounded losses, known and learned transitions."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import disthead as dh
from disthead.losses import cross_entropy
from tests.objectives.of_classes import get_objective, minimiser, of_logits

label_smoothing = dh.objectives.label_smoothing
forward_corrected = dh.objectives.forward_corrected
learned_transition = dh.objectives.learned_transition
TRUTH = torch.tensor([0.6, 0.3, 0.1]).double()
CONFUSED = torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.6, 0.3], [0.0, 0.1, 0.9]]).double()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# Label smoothing.


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_is_torchs_and_the_likelihood_of_mixed_labels(smoothing):
    logits, y = 2 * draw(12, 4), torch.arange(12) % 4
    dist = of_logits(logits)
    values = label_smoothing(smoothing)(dist, y)
    torchs = functional.cross_entropy(logits, y, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(values, torchs)
    mixed = (1 - smoothing) * functional.one_hot(y, 4).double() + smoothing / 4
    torch.testing.assert_close(values, dh.objectives.nll(dist, mixed))
    torch.testing.assert_close(
        values, cross_entropy(dist, y, label_smoothing=smoothing, reduction="none")
    )
    z, y = 2 * draw(12), (torch.arange(12) % 2).double()
    bernoulli = dh.get_family("bernoulli").distribution(logits=z)
    torch.testing.assert_close(
        label_smoothing(smoothing)(bernoulli, y),
        functional.binary_cross_entropy_with_logits(
            z, (1 - smoothing) * y + smoothing / 2, reduction="none"
        ),
    )


def test_smoothing_averages_the_loss_over_labels_and_the_mixture_likelihood_their_probability():
    """By Jensen's inequality the likelihood of the mixture is the greater one."""
    logits, y, e = 2 * draw(12, 4), torch.arange(12) % 4, 0.2
    dist = of_logits(logits)
    mixture = forward_corrected(e)(dist, y)
    p = dist.probs.gather(-1, y[:, None]).squeeze(-1)
    torch.testing.assert_close(mixture, -torch.log((1 - e) * p + e / 4))
    assert (mixture < label_smoothing(e)(dist, y)).all()
    # trained on labels of which a share e was redrawn, one predicts these labels, one the classes
    seen = (1 - e) * TRUTH + e / 3
    torch.testing.assert_close(minimiser(label_smoothing(e), TRUTH).probs, seen, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        minimiser(forward_corrected(e), seen).probs, TRUTH, rtol=0, atol=1e-5
    )


# Bounded losses.


def test_the_generalised_cross_entropy_lies_between_the_likelihood_and_the_error():
    logits, y = 2 * draw(12, 4), torch.arange(12) % 4
    dist = of_logits(logits)
    p = dist.probs.gather(-1, y[:, None]).squeeze(-1)
    torch.testing.assert_close(get_objective("generalized_cross_entropy", power=1)(dist, y), 1 - p)
    torch.testing.assert_close(
        get_objective("generalized_cross_entropy", power=1e-9)(dist, y), -p.log()
    )


def test_the_symmetric_cross_entropy_is_the_sum_of_both_directions():
    logits, y = 2 * draw(12, 4), torch.arange(12) % 4
    dist, label = of_logits(logits), functional.one_hot(y, 4)
    log_label = torch.where(label == 1, 0.0, -5.0)
    both = -0.3 * (label * dist.probs.log()).sum(-1) - 2 * (dist.probs * log_label).sum(-1)
    objective = get_objective("symmetric_cross_entropy", alpha=0.3, beta=2, log_zero=-5)
    torch.testing.assert_close(objective(dist, y), both)


def test_symmetric_noise_does_not_move_the_minimiser_of_the_error():
    """Half of the wrong labels, spread over all classes, leave the most probable class."""
    noisy = 0.5 * TRUTH + 0.5 / 3
    for name in ("generalized_cross_entropy", "symmetric_cross_entropy"):
        best = minimiser(get_objective(name), noisy)
        assert best.probs.argmax() == TRUTH.argmax()
        assert best.probs.max() > noisy.max()


def test_no_class_posterior_where_the_error_alone_is_minimised():
    with pytest.raises(ValueError, match="needs a power below 1, got 1: all predictions tend to"):
        get_objective("generalized_cross_entropy", power=1).class_posterior(of_logits(draw(3)))


# Transitions.


def test_a_known_transition_gives_the_true_classes_back():
    best = minimiser(forward_corrected(CONFUSED), TRUTH @ CONFUSED)
    torch.testing.assert_close(best.probs, TRUTH, rtol=0, atol=1e-5)


def test_a_transition_without_confusion_is_the_likelihood():
    logits, y = 2 * draw(12, 3), torch.arange(12) % 3
    for transition in (0, torch.eye(3)):
        torch.testing.assert_close(
            forward_corrected(transition)(of_logits(logits), y),
            functional.cross_entropy(logits, y, reduction="none"),
        )
    ordered = of_logits(logits, "ordinal")
    expected = -(ordered.probs @ CONFUSED).log()[torch.arange(12), y]
    torch.testing.assert_close(forward_corrected(CONFUSED)(ordered, y), expected)


def test_a_label_that_no_class_has_is_impossible_with_a_finite_gradient():
    logits = torch.zeros(2, 3, requires_grad=True)
    never = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
    values = forward_corrected(never)(of_logits(logits), torch.tensor([2, 0]))
    assert values.isinf().tolist() == [True, False]
    assert torch.autograd.grad(values[1], logits)[0].isfinite().all()


def test_the_learned_transition_of_sure_predictions_is_the_table_of_labels():
    """The maximum likelihood of a row of T is the share of each label among rows of the class."""
    classes = torch.tensor([0] * 10 + [1] * 20)
    labels = torch.tensor([0] * 7 + [1] * 3 + [0] * 4 + [1] * 16)
    objective = learned_transition(num_classes=2)
    torch.testing.assert_close(objective.transition, torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    dist = of_logits(100.0 * functional.one_hot(classes, 2))
    optimizer = torch.optim.LBFGS(objective.parameters(), line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = objective(dist, labels).mean()
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(loss)
    expected = torch.tensor([[0.7, 0.3], [0.2, 0.8]])
    torch.testing.assert_close(objective.transition, expected, rtol=0, atol=1e-4)


def test_a_network_and_its_transition_are_learned_together():
    """Of labels that are wrong in a third of the rows of one class, in a plain loop."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([[0.95, 0.05, 0.0], [0.0, 1.0, 0.0], [0.35, 0.0, 0.65]])
    centres = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 5.0]])
    classes = torch.randint(3, (3000,), generator=generator)
    x = centres[classes] + torch.randn(3000, 2, generator=generator)
    labels = torch.multinomial(truth[classes], 1, generator=generator).squeeze(-1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = dh.DistributionHead("categorical", 2, num_classes=3)
    objective = learned_transition(num_classes=3, start=0.8)
    optimizer = torch.optim.Adam([*head.parameters(), *objective.parameters()], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        objective(head(x), labels).mean().backward()
        optimizer.step()
    torch.testing.assert_close(objective.transition, truth, rtol=0, atol=0.05)
    assert (head(x).mode == classes).float().mean() > 0.98


def test_a_learned_transition_is_a_module_with_a_name_and_plain_options():
    objective = get_objective({"name": "learned_transition", "num_classes": 3, "start": 0.7})
    assert isinstance(objective, nn.Module)
    assert dh.objectives.name_of(objective) == "learned_transition"
    plain = dh.objectives.specification(objective)
    assert plain == {"name": "learned_transition", "num_classes": 3, "start": 0.7}
    objective.logits.data += 1.5 * torch.eye(3)
    copy = get_objective(plain)
    copy.load_state_dict(objective.state_dict())
    torch.testing.assert_close(copy.transition, objective.transition)
    values = copy(of_logits(draw(4, 3).float()), torch.tensor([0, 1, 2, 2]))
    values.sum().backward()
    assert copy.logits.grad.isfinite().all()
    assert values.dtype == torch.float32


# Options.


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: label_smoothing(1), "smoothing of label_smoothing must be a probability .* got 1"),
        (lambda: label_smoothing(-0.1), "smoothing of label_smoothing must be .* got -0.1"),
        (
            lambda: get_objective("generalized_cross_entropy", power=0),
            r"power of generalized_cross_entropy must be .* \(nll is the limit at 0\), got 0",
        ),
        (lambda: get_objective("symmetric_cross_entropy", alpha=0), "alpha of symmetric_cross_ent"),
        (lambda: get_objective("symmetric_cross_entropy", log_zero=4), "log_zero of symmetric"),
        (lambda: forward_corrected(), "transition of forward_corrected must be .* got None"),
        (lambda: forward_corrected(1.5), "one number from 0 to below 1, got 1.5"),
        (lambda: forward_corrected("high"), "transition of forward_corrected .* got 'high'"),
        (lambda: forward_corrected([0.9, 0.1]), r"must be a matrix .* got shape \(2,\)"),
        (
            lambda: forward_corrected([[0.9, 0.1], [0.4, 0.7]]),
            r"rows sum to 1.*got the sums 1 of 2 values: 1.1 at row 1. Divide each row by its sum",
        ),
        (
            lambda: forward_corrected(CONFUSED.mT),
            "got the sums .*, or transpose it: its columns sum to 1",
        ),
        (
            lambda: forward_corrected([[1.2, -0.2], [0, 1]]),
            "zero or more, got the sums .* at row 0",
        ),
        (lambda: forward_corrected([[math.nan, 1], [0, 1]]), "got the sums .*nan at row 0"),
        (lambda: learned_transition(), "num_classes of learned_transition must be an integer"),
        (
            lambda: learned_transition(4, start=0.25),
            "start of learned_transition must be a probability above 1 / num_classes = 0.25",
        ),
    ],
)
def test_options_that_are_not_valid(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "objective, message",
    [
        (forward_corrected(CONFUSED), "transition of forward_corrected must be for 2 classes of B"),
        (learned_transition(3), "num_classes of learned_transition must be for 2 classes of B"),
    ],
)
def test_options_for_another_number_of_classes(objective, message):
    with pytest.raises(ValueError, match=message):
        objective(dh.get_family("bernoulli").distribution(logits=torch.zeros(3)), torch.zeros(3))
