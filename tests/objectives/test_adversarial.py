"""Losses of GANs: PyTorch's cross-entropy, the papers' formulas, the gradient penalty, errors."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from disthead.objectives import get_objective, name_of, specification
from disthead.objectives.adversarial import hinge_gan, minimax, non_saturating, wasserstein_gan

ALL = [minimax(), non_saturating(), hinge_gan(), wasserstein_gan()]


@pytest.fixture
def outputs(generator):
    """The discriminator's outputs of real and of generated rows."""
    return 3 * torch.randn(2, 20, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("loss", [minimax(), non_saturating()], ids=str)
def test_the_discriminator_minimises_the_binary_cross_entropy(loss, outputs):
    real, fake = outputs
    both, labels = torch.cat([real, fake]), torch.cat([torch.ones(20), torch.zeros(20)]).double()
    rows = functional.binary_cross_entropy_with_logits(both, labels, reduction="none")
    torch.testing.assert_close(loss.discriminator(real, fake), rows[:20] + rows[20:])
    torch.testing.assert_close(loss(real, fake), loss.discriminator(real, fake))


def test_the_generators_of_both(outputs):
    probability = outputs[1].sigmoid()
    torch.testing.assert_close(minimax().generator(outputs[1]), (1 - probability).log())
    torch.testing.assert_close(non_saturating().generator(outputs[1]), -probability.log())


def test_of_the_best_discriminator_it_is_the_jensen_shannon_divergence():
    """Goodfellow and others (2014), theorem 1, over three outcomes."""
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.3, 0.6])
    best = (p / q).log()  # the logit of p / (p + q)
    values = -minimax().discriminator(best, best)
    expectation = (p * functional.logsigmoid(best) + q * functional.logsigmoid(-best)).sum()
    assert values.shape == (3,)
    m = (p + q) / 2
    divergence = 0.5 * ((p * (p / m).log()).sum() + (q * (q / m).log()).sum())
    torch.testing.assert_close(expectation, 2 * divergence - math.log(4))


def test_hinge_and_wasserstein_are_their_formulas(outputs):
    real, fake = outputs
    hinge = (1 - real).clamp(min=0) + (1 + fake).clamp(min=0)
    torch.testing.assert_close(hinge_gan().discriminator(real, fake), hinge)
    torch.testing.assert_close(wasserstein_gan().discriminator(real, fake), fake - real)
    for loss in (hinge_gan(), wasserstein_gan()):
        torch.testing.assert_close(loss.generator(fake), -fake)


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_gradients_and_extreme_outputs(loss, outputs):
    real, fake = (part.clone().requires_grad_() for part in outputs)
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake,))
    extreme = torch.tensor([1e30, -1e30], requires_grad=True)
    total = loss.discriminator(extreme, -extreme).sum() + loss.generator(extreme).sum()
    assert total.isfinite()
    assert torch.autograd.grad(total, extreme)[0].isfinite().all()


def test_the_penalty_of_a_linear_critic_is_that_of_its_weights(generator):
    real, fake = torch.randn(2, 5, 2, 3, generator=generator)
    weight = torch.randn(2, 3, generator=generator)
    penalties = wasserstein_gan(penalty=4.0).gradient_penalty(
        lambda inputs: (inputs * weight).sum((1, 2)), real, fake
    )
    torch.testing.assert_close(penalties, (4 * (weight.norm() - 1) ** 2).expand(5))


def test_the_penalty_is_taken_between_the_rows_and_has_a_gradient_for_the_critic(generator):
    """Of critic(x) = c x^2 / 2 the gradient is c x, at fake + share (real - fake)."""
    real, fake = torch.randn(2, 6, 1, generator=generator, dtype=torch.float64)
    c = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    loss, seed = wasserstein_gan(penalty=10.0), torch.Generator()

    def penalty(c):
        seed.manual_seed(3)
        return loss.gradient_penalty(lambda x: c * x.square() / 2, real, fake, generator=seed)

    share = torch.rand((6, 1), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    point = (fake + share * (real - fake)).abs().squeeze(1)
    torch.testing.assert_close(penalty(c), 10 * (2 * point - 1).square())
    assert torch.autograd.gradcheck(penalty, (c,))


def test_a_critic_that_is_trained_estimates_the_distance_of_two_points():
    """Between the points 0 and 2 the distance is 2; a critic of slope 1 finds it."""
    torch.manual_seed(0)
    critic = nn.Linear(1, 1)
    nn.init.constant_(critic.weight, 0.5)  # at slopes below 0 the penalty has another minimum
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.05)
    real, fake, loss = torch.full((32, 1), 2.0), torch.zeros(32, 1), wasserstein_gan()
    for _ in range(200):
        optimizer.zero_grad()
        rows = loss.discriminator(critic(real), critic(fake)).squeeze(1)
        (rows + loss.gradient_penalty(critic, real, fake)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        distance = -loss.discriminator(critic(real), critic(fake)).mean()
    # the least value of -2 s + 10 (s - 1)^2 is at the slope s = 1.1
    assert distance.item() == pytest.approx(2.2, abs=0.02)


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_outputs_that_cannot_be(loss):
    with pytest.raises(ValueError, match=r"same shape, .*got \(3, 1\) and \(3,\)"):
        loss.discriminator(torch.zeros(3, 1), torch.zeros(3))
    with pytest.raises(ValueError, match="at least one row, got an empty batch"):
        loss.discriminator(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match="at least one row, got an empty batch"):
        loss.generator(torch.zeros(0))


def test_penalties_that_cannot_be():
    loss, rows = wasserstein_gan(), torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"penalty must be a finite number, zero or more, got -1"):
        wasserstein_gan(penalty=-1)
    with pytest.raises(ValueError, match=r"one number for each row, 3 in all, got .*\(3, 2\)"):
        loss.gradient_penalty(lambda inputs: inputs, rows, rows)
    with pytest.raises(ValueError, match=r"same shape"):
        loss.gradient_penalty(lambda inputs: inputs, rows, rows[:2])


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_options_are_plain_data(loss):
    name = type(loss).__name__
    assert name_of(loss) == name
    assert get_objective(specification(loss)) == loss
