"""Changed likelihoods of classes: equivalences, extremes, soft labels, and what minimises them."""

import math

import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead.errors import TargetError
from disthead.losses import cross_entropy
from tests.objectives.of_classes import (
    EACH_OF_THREE,
    get_objective,
    minimiser,
    of_logits,
)

focal, asymmetric = dh.objectives.focal, dh.objectives.asymmetric
weighted, logit_adjusted = dh.objectives.weighted, dh.objectives.logit_adjusted
TRUTH = torch.tensor([0.6, 0.3, 0.1]).double()


def draw(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


# Equivalences.


def test_focal_without_gamma_is_the_cross_entropy():
    logits, y = 3 * draw(20, 3), torch.arange(20) % 3
    expected = functional.cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(focal(gamma=0)(of_logits(logits), y), expected)
    z, y = 3 * draw(20), (torch.arange(20) % 2).double()
    expected = functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    dist = dh.get_family("bernoulli").distribution(logits=z)
    torch.testing.assert_close(focal(gamma=0)(dist, y), expected)
    torch.testing.assert_close(asymmetric(0, 0, 0)(dist, y), expected)


@pytest.mark.parametrize("gamma", [0.3, 1, 2.5])
def test_focal_of_two_classes_is_focal_of_two_outcomes(gamma):
    z, y = 4 * draw(20), torch.arange(20) % 2
    logits = torch.stack([torch.zeros_like(z), z], -1)
    two = dh.get_family("categorical", num_classes=2).distribution(logits=logits)
    one = dh.get_family("bernoulli").distribution(logits=z)
    torch.testing.assert_close(focal(gamma)(two, y), focal(gamma)(one, y))
    alpha = focal(gamma, alpha=0.25)(one, y)
    torch.testing.assert_close(focal(gamma, alpha=(0.75, 0.25))(two, y), alpha)


def test_asymmetric_of_several_labels_is_the_mean_of_the_papers_formula():
    z, y = 3 * draw(6, 5), (draw(6, 5) > 0.5).double()
    p = z.sigmoid()
    shifted = (p - 0.1).clamp(min=0)
    paper = -y * (1 - p) ** 0.5 * p.log() - (1 - y) * shifted**3 * (1 - shifted).log()
    dist = dh.get_family("bernoulli").distribution(logits=z).to_event(1)
    torch.testing.assert_close(asymmetric(3, 0.5, 0.1)(dist, y), paper.mean(-1))


def test_class_weights_are_those_of_the_cross_entropy_and_count_like_repeated_rows():
    logits, y = draw(6, 3), torch.tensor([0, 1, 2, 2, 0, 1])
    dist, weights = of_logits(logits), (1.0, 2.0, 3.0)
    values = weighted(weights)(dist, y)
    torch.testing.assert_close(
        values, cross_entropy(dist, y, class_weight=weights, reduction="none")
    )
    torch.testing.assert_close(
        values.sum() / torch.tensor(weights)[y].sum(),
        functional.cross_entropy(logits, y, weight=torch.tensor(weights).double()),
    )
    z, label = draw(6), torch.tensor([0.0, 1, 1, 0, 1, 0]).double()
    torch.testing.assert_close(
        weighted((1, 3))(dh.get_family("bernoulli").distribution(logits=z), label),
        functional.binary_cross_entropy_with_logits(
            z, label, pos_weight=torch.tensor(3.0), reduction="none"
        ),
    )
    repeats = torch.tensor([1, 2, 3])[y]
    repeated = dh.objectives.nll(
        of_logits(logits.repeat_interleave(repeats, 0)), y.repeat_interleave(repeats)
    )
    torch.testing.assert_close(values.sum(), repeated.sum())
    soft = draw(6, 3).softmax(-1)
    torch.testing.assert_close(
        weighted(weights)(dist, soft),
        cross_entropy(dist, soft, class_weight=weights, reduction="none"),
    )


def test_logit_adjustment_adds_the_logarithm_of_the_prior():
    logits, y = draw(6, 3), torch.tensor([0, 1, 2, 2, 0, 1])
    prior = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    for strength in (0.0, 1.0, 1.5):
        expected = functional.cross_entropy(logits + strength * prior.log(), y, reduction="none")
        objective = logit_adjusted(prior, strength)
        torch.testing.assert_close(objective(of_logits(logits), y), expected)
        torch.testing.assert_close(objective(of_logits(logits, "ordinal"), y), expected)


# What minimises them.


def test_minimisers_in_closed_form():
    truth = TRUTH

    def best(name, **options):
        return minimiser(get_objective(name, **options), truth).probs

    def near(probs, expected):
        torch.testing.assert_close(probs, expected / expected.sum(), rtol=0, atol=1e-5)

    near(best("weighted", class_weight=(1, 2, 4)), truth * torch.tensor([1, 2, 4]))
    near(best("generalized_cross_entropy", power=0.5), truth**2)
    prior = torch.tensor([0.5, 0.3, 0.2]).double()
    near(best("logit_adjusted", prior=prior), truth / prior)
    near(best("label_smoothing", smoothing=0.3), 0.7 * truth + 0.1)
    # less sure for focal, surer for the symmetric cross-entropy, the same most probable class
    assert best("focal").max() < truth.max() < best("symmetric_cross_entropy").max()


def test_logit_adjustment_gives_the_distribution_at_any_prior():
    truth, prior = TRUTH, (0.5, 0.3, 0.2)
    other = torch.tensor([0.2, 0.2, 0.6]).double()
    expected = truth / torch.tensor(prior) * other
    for strength in (0.5, 1.0):
        objective = logit_adjusted(prior, strength)
        best = minimiser(objective, truth)
        there = objective.at_prior(best, other).probs
        torch.testing.assert_close(there, expected / expected.sum(), rtol=0, atol=1e-5)
        here = objective.at_prior(best, prior).probs
        torch.testing.assert_close(here, truth, rtol=0, atol=1e-5)


def test_shares_and_balanced_weights_come_from_labels():
    y = torch.tensor([0, 0, 0, 1, 2, 2])
    assert logit_adjusted.from_labels(y, 3, strength=2).strength == 2
    torch.testing.assert_close(
        torch.tensor(logit_adjusted.from_labels(y, 3).prior), torch.tensor([3, 1, 2]) / 6
    )
    weights = torch.tensor(weighted.balanced(y.numpy(), 3).class_weight)
    torch.testing.assert_close(weights, torch.tensor([6 / 9, 2, 1]))
    for make in (weighted.balanced, logit_adjusted.from_labels):
        with pytest.raises(TargetError, match=r"none of \[1, 3\] in 4 rows.*Leave these classes"):
            make([0, 2, 2, 0], 4)
        with pytest.raises(
            TargetError, match=r"a class index 0, ..., 2 \(3 classes\), got .*3 at row 1"
        ):
            make([0, 3, 1], 3)


# Options.


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: focal(gamma=-1), "gamma of focal must be a number, zero or more, got -1"),
        (lambda: focal(gamma=math.nan), "gamma of focal must be a number, zero or more, got nan"),
        (lambda: focal(alpha=2), "alpha of focal must be one number from 0 to 1 for two outcomes"),
        (lambda: focal(alpha=(1, -1)), "alpha of focal must be finite and zero or more"),
        (lambda: focal(alpha="balanced"), "alpha of focal must be one number .* got 'balanced'"),
        (lambda: asymmetric(margin=1), "margin of asymmetric must be a probability .* got 1"),
        (lambda: asymmetric(gamma_negative=-4), "gamma_negative of asymmetric must be"),
        (lambda: weighted(), "class_weight of weighted must be one weight per class.* got None"),
        (lambda: weighted((0, 0)), "must be finite and zero or more, with one above zero"),
        (lambda: weighted([[1, 2]]), r"must be one weight per class.* got shape \(1, 2\)"),
        (lambda: logit_adjusted(), "prior of logit_adjusted must be one share per class"),
        (lambda: logit_adjusted((90, 10)), "the sum 100. Divide counts by their sum, or take"),
        (lambda: logit_adjusted((1, 0)), "prior of logit_adjusted must be .* above zero"),
        (lambda: logit_adjusted((0.5, 0.5), -1), "strength of logit_adjusted must be"),
    ],
)
def test_options_that_are_not_valid(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "objective, message",
    [
        (focal(alpha=(1, 2)), "alpha of focal must have one number per class, 3 for .*, got 2"),
        (focal(alpha=0.25), r"must have one weight per class, 3, got the number 0.25.*\(1, 1, 1\)"),
        (weighted((1, 2, 3, 4)), "class_weight of weighted must have one number per class, 3"),
        (logit_adjusted((0.5, 0.5)), "prior of logit_adjusted must have one number per class, 3"),
    ],
)
def test_options_for_another_number_of_classes(objective, message):
    with pytest.raises(ValueError, match=message):
        objective(of_logits(torch.zeros(4, 3)), torch.zeros(4))
    family = dh.get_family("categorical", num_classes=3)
    with pytest.raises(ValueError, match=message):
        dh.objectives.check_objective(objective, family)


def test_a_prior_at_prediction_has_a_share_for_each_class():
    dist = of_logits(torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"prior of at_prior must have .* per class, 2, got 3"):
        logit_adjusted((0.5, 0.5)).at_prior(dist, (0.2, 0.3, 0.5))


def test_asymmetric_is_for_two_outcomes_or_two_classes():
    logits, y = draw(4, 2), torch.tensor([0, 1, 1, 0])
    pair = dh.get_family("categorical", num_classes=2).distribution(logits=logits)
    torch.testing.assert_close(asymmetric()(pair, y), asymmetric()(of_logits(logits), y))
    with pytest.raises(
        NotImplementedError,
        match=r"Categorical of 3 classes has no asymmetric: it is for two outcomes, .*use focal",
    ):
        asymmetric()(of_logits(torch.zeros(4, 3)), torch.zeros(4))


@pytest.mark.parametrize("objective", [one for _, one in EACH_OF_THREE[:-1]], ids=str)
def test_options_are_plain_data_that_make_the_same_objective(objective):
    plain = dh.objectives.specification(objective)
    assert get_objective(plain) == objective
    assert hash(get_objective(plain)) == hash(objective)


@pytest.mark.parametrize("name", ["focal", "generalized_cross_entropy"])
def test_an_ensemble_is_scored_by_its_mixture(name):
    for family in ("bernoulli", "categorical"):
        options = {"num_classes": 3} if family == "categorical" else {}
        dh.objectives.check_objective(
            get_objective(name), dh.get_family(family, **options), members=3
        )


def test_focal_is_surer_where_all_of_many_classes_are_improbable():
    truth = torch.full((40,), 0.95 / 39, dtype=torch.float64)
    truth[0] = 0.05
    objective = focal(gamma=2)
    best = minimiser(objective, truth)
    assert best.probs[0] > 1.01 * truth[0]
    torch.testing.assert_close(objective.class_posterior(best).probs, truth, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["focal", "brier", "generalized_cross_entropy", "cross_entropy"])
def test_a_softmax_too_many_is_refused(name):
    raw = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    dist, y = dh.get_family("categorical", num_classes=3).from_raw(raw), torch.arange(9) % 3
    with pytest.raises(ValueError, match="a softmax was applied, and the distribution applies one"):
        get_objective(name)(dist, y)
