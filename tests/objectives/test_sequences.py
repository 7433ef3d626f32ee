"""The cross-entropy of sequences with padding, and perplexity."""

import math

import pytest
import torch
from torch.nn import functional
from torchmetrics.text import Perplexity

import disthead as dh
from disthead.errors import TargetError
from disthead.losses import loss
from disthead.objectives.sequences import bits_per_token, perplexity

CLASSES = dh.get_family("categorical", num_classes=5)


def example(padding=-100):
    """Four rows of up to seven positions, as logits and labels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randint(5, (4, 7), generator=generator)
    lengths = torch.tensor([7, 3, 0, 5])
    return logits, torch.where(torch.arange(7) < lengths.unsqueeze(-1), y, padding)


@pytest.mark.parametrize("padding", [-100, 2])
def test_it_is_the_sum_of_pytorchs_cross_entropies_without_the_padding(padding):
    logits, y = example(padding)
    objective = dh.objectives.sequence_cross_entropy(ignore_index=padding)
    ours = objective(CLASSES.from_raw(logits).to_event(1), y)
    theirs = functional.cross_entropy(
        logits.transpose(1, 2), y, ignore_index=padding, reduction="none"
    ).sum(-1)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), logits), torch.autograd.grad(theirs.sum(), logits)
    )


def test_without_padding_it_is_the_joint_likelihood():
    logits, y = example()
    dist, y = CLASSES.from_raw(logits).to_event(1), y.clamp(min=0)
    expected = dh.objectives.nll(dist, y)
    for ignored in (None, -100):
        objective = dh.objectives.sequence_cross_entropy(ignore_index=ignored)
        torch.testing.assert_close(objective(dist, y), expected)


def test_the_mean_over_tokens_is_that_of_pytorch():
    logits, y = example()
    dist = CLASSES.from_raw(logits).to_event(1)
    total = loss(dh.objectives.sequence_cross_entropy(), dist, y, reduction="sum")
    expected = functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    torch.testing.assert_close(total / (y != -100).sum(), expected)


def test_perplexity_is_that_of_torchmetrics():
    logits, y = example()
    dist = CLASSES.from_raw(logits).to_event(1)
    expected = Perplexity(ignore_index=-100)(logits.detach().float(), y)
    torch.testing.assert_close(perplexity(dist, y), expected, check_dtype=False)
    torch.testing.assert_close(bits_per_token(dist, y), perplexity(dist, y).log2())
    uniform = CLASSES.from_raw(torch.zeros(4, 7, 5)).to_event(1)
    assert perplexity(uniform, y).item() == pytest.approx(5)
    assert bits_per_token(uniform, y.clamp(min=0), None).item() == pytest.approx(math.log2(5))


def test_a_model_of_sequences_of_one_length_is_trained_by_name():
    family = dh.get_family("categorical", num_classes=5, event_shape=(7,))
    objective = dh.objectives.get_objective("sequence_cross_entropy", ignore_index=-1)
    dh.objectives.check_objective(objective, family, (7,))
    with pytest.raises(ValueError, match=r"Categorical has no sequence_cross_entropy: .*to_event"):
        dh.objectives.check_objective(objective, CLASSES)


def test_wrong_input_says_what_to_do():
    logits, y = example()
    dist, objective = CLASSES.from_raw(logits).to_event(1), dh.objectives.sequence_cross_entropy()
    with pytest.raises(TargetError, match=r"5 classes.*9 at row 0, column 1.*ignore_index=-100"):
        objective(dist, y.index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(9)))
    with pytest.raises(ValueError, match=r"y must have the shape \(4, 7\)"):
        objective(dist, y[:, :3])
    with pytest.raises(ValueError, match=r"ignore_index must be an integer such as -100.*'pad'"):
        dh.objectives.sequence_cross_entropy(ignore_index="pad")
    with pytest.raises(ValueError, match="ignore_index needs class indices"):
        objective(dist, logits.detach().softmax(-1))
    with pytest.raises(ValueError, match=r"perplexity needs at least one position"):
        perplexity(dist, torch.full((4, 7), -100))
    with pytest.raises(NotImplementedError, match=r"Normal has no bits_per_token: "):
        bits_per_token(dh.get_family("normal").distribution(loc=0.0, scale=1.0), 0.0)
