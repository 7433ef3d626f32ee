"""The edit distance of torchmetrics, and its expectation and gradient over all sequences."""

import itertools

import pytest
import torch
from torchmetrics.functional.text import edit_distance as of_texts

import disthead as dh
from disthead.distributions.ctc import CTC
from disthead.errors import TargetError
from disthead.objectives import check_objective, edit_distance_risk
from disthead.objectives.edit_distance import edit_distance


def sequences(generator, rows, length, labels=4):
    """Label sequences of different lengths, padded with -1."""
    y = torch.randint(labels, (rows, length), generator=generator)
    lengths = torch.randint(length + 1, (rows, 1), generator=generator)
    return torch.where(torch.arange(length) < lengths, y, -1)


def independent(logits):
    classes = dh.get_family("categorical", num_classes=logits.shape[-1])
    return classes.distribution(logits=logits).to_event(1)


def as_text(labels):
    return "".join(chr(97 + label) for label in labels.tolist() if label >= 0)


def test_the_edit_distance_is_that_of_torchmetrics(generator):
    first, second = sequences(generator, 200, 6), sequences(generator, 200, 4)
    expected = of_texts(
        [as_text(row) for row in first], [as_text(row) for row in second], reduction="none"
    )
    torch.testing.assert_close(edit_distance(first, second), expected.long())
    torch.testing.assert_close(
        edit_distance(second.reshape(2, 100, 4), first.reshape(2, 100, 6)),
        expected.long().reshape(2, 100),
    )


def exact_risk(logits, y):
    """The sum of p(sequence) d(sequence, y) over all sequences, for one row."""
    labels, length = logits.shape[-1], logits.shape[-2]
    every = torch.tensor(list(itertools.product(range(labels), repeat=length)))
    probability = logits.log_softmax(-1)[torch.arange(length), every].sum(-1).exp()
    return (probability * edit_distance(every, y.expand(len(every), -1))).sum()


def test_value_and_gradient_are_those_of_the_expectation(generator):
    """Within four standard errors of the mean over 20,000 copies of the row."""
    logits = torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.tensor([1, 2, -1])
    risk = exact_risk(logits, y)
    expected = torch.autograd.grad(risk, logits)[0]
    copies = logits.detach().expand(20_000, 2, 3).clone().requires_grad_()
    torch.manual_seed(0)
    values = edit_distance_risk(samples=4)(independent(copies), y.expand(20_000, 3))
    gradients = torch.autograd.grad(values.sum(), copies)[0]
    for rows, truth in ((values.detach(), risk.detach()), (gradients, expected)):
        error = rows.std(0) / len(rows) ** 0.5
        assert ((rows.mean(0) - truth).abs() < 4 * error).all()


def test_the_gradient_is_that_of_the_score_function(generator):
    """With the others' mean as the baseline of each sample, by its formula."""
    logits = torch.randn(5, 3, 4, generator=generator).requires_grad_()
    y, dist = sequences(generator, 5, 3), independent(logits)
    torch.manual_seed(1)
    values = edit_distance_risk(samples=6)(dist, y)
    torch.manual_seed(1)
    drawn = dist.sample((6,))
    distance = edit_distance(drawn, y.expand(6, 5, 3)).float()
    others = (distance.sum(0) - distance) / 5
    score = ((distance - others) * dist.log_prob(drawn)).mean(0)
    torch.testing.assert_close(values, distance.mean(0))
    torch.testing.assert_close(
        torch.autograd.grad(values.sum(), logits)[0], torch.autograd.grad(score.sum(), logits)[0]
    )


def test_sequences_of_different_length_are_sampled_and_scored(generator):
    """Of CTC, over all label sequences that fit, within four standard errors."""
    logits = torch.randn(3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.tensor([1, 2, -1])
    every = [part for n in range(4) for part in itertools.product((1, 2), repeat=n)]
    every = torch.tensor([[*part, *[-1] * (3 - len(part))] for part in every])
    probability = CTC(logits).log_prob(every).exp()
    risk = (probability * edit_distance(every, y.expand(len(every), -1))).sum()
    expected = torch.autograd.grad(risk, logits)[0]
    copies = logits.detach().expand(5_000, 3, 3).clone().requires_grad_()
    torch.manual_seed(0)
    values = edit_distance_risk(samples=4)(CTC(copies), y.expand(5_000, 3))
    gradients = torch.autograd.grad(values.sum(), copies)[0]
    for rows, truth in ((values.detach(), risk.detach()), (gradients, expected)):
        error = rows.std(0) / len(rows) ** 0.5
        assert ((rows.mean(0) - truth).abs() < 4 * error).all()


def test_training_by_it_lowers_the_expected_distance(generator):
    logits = torch.zeros(3, 4, requires_grad=True)
    y = torch.tensor([2, 0, 1])
    optimizer = torch.optim.Adam([logits], lr=0.1)
    torch.manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        edit_distance_risk(samples=16)(independent(logits), y).backward()
        optimizer.step()
    assert exact_risk(logits, y) < 0.2 < 1.5 < exact_risk(torch.zeros(3, 4), y)


def test_families_of_sequences_and_others():
    classes = dh.get_family("categorical", num_classes=3)
    check_objective(edit_distance_risk(), classes, (4,))
    check_objective(edit_distance_risk(), dh.get_family("bernoulli"), (4,))
    for family, shape in ((classes, ()), (classes, (2, 2)), (dh.get_family("normal"), (3,))):
        with pytest.raises(ValueError, match=r"has no edit_distance_risk: .*Try 'nll'"):
            check_objective(edit_distance_risk(), family, shape)


@pytest.mark.parametrize(
    "y, error, message",
    [
        ([[0, -1, 1]] * 2, TargetError, "padded with -1 at the end .*1 at row 0, column 2"),
        ([[0, 1, -2]] * 2, TargetError, "-2 at row 0, column 2"),
        ([[0.5, 1, 2]] * 2, TargetError, "0.5 at row 0"),
        ([[0, 1, 2]], ValueError, r"shape \(2, 'S'\), got \(1, 3\)"),
        ([0, 1], ValueError, r"got \(2,\)"),
    ],
)
def test_targets_that_cannot_be(y, error, message):
    with pytest.raises(error, match=message):
        edit_distance_risk()(independent(torch.zeros(2, 3, 4)), torch.tensor(y))


def test_options_that_cannot_be():
    with pytest.raises(ValueError, match="samples must be an integer of at least 2, got 1"):
        edit_distance_risk(samples=1)
