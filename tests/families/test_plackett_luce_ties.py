"""Plackett-Luce with ties, beside the definition, by brute force."""

import itertools
import math

import pytest
import torch

import disthead as dh
from disthead.calibration import TemperatureScaling
from disthead.distributions.rankings import rankings_of_ranks, ranks
from disthead.errors import TargetError
from disthead.families.bradley_terry import BradleyTerry
from disthead.families.ensembles import ensemble
from disthead.families.plackett_luce import PlackettLuce
from disthead.families.plackett_luce_ties import PlackettLuceTies
from disthead.metrics import Accuracy, KendallTau


def make(items: int = 4, largest_tie: int = 3, seed: int = 0) -> PlackettLuceTies:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(items, generator=generator, dtype=torch.float64)
    ties = torch.rand(largest_tie - 1, generator=generator, dtype=torch.float64) + 0.2
    return PlackettLuceTies(scores, ties)


def weak_orders(items: int, largest_tie: int) -> list[tuple[int, ...]]:
    """The places of all items, in all ways in which no place is left out."""
    return [
        places
        for places in itertools.product(range(items), repeat=items)
        if set(places) == set(range(max(places) + 1))
        and max(places.count(place) for place in places) <= largest_tie
    ]


def by_definition(dist: PlackettLuceTies, places: tuple[int, ...]) -> float:
    """The probability of these places, choice by choice."""
    ties = [1.0, *dist.ties.tolist()]

    def worth(items) -> float:
        mean = sum(dist.logits[item].item() for item in items) / len(items)
        return ties[len(items) - 1] * math.exp(mean)

    left, p = set(range(len(places))), 1.0
    for place in range(max(places) + 1):
        chosen = [item for item in left if places[item] == place]
        sets = [
            items
            for n in range(1, min(len(left), dist.largest_tie) + 1)
            for items in itertools.combinations(sorted(left), n)
        ]
        p *= worth(chosen) / sum(map(worth, sets))
        left -= set(chosen)
    return p


@pytest.mark.parametrize("items, largest_tie", [(2, 2), (3, 2), (4, 2), (4, 3), (4, 4)])
def test_the_definition(items, largest_tie):
    dist, orders = make(items, largest_tie), weak_orders(items, largest_tie)
    y = rankings_of_ranks(torch.tensor(orders))
    expected = torch.tensor([by_definition(dist, places) for places in orders]).double()
    torch.testing.assert_close(dist.log_prob(y).exp(), expected)
    torch.testing.assert_close(expected.sum(), torch.tensor(1.0).double())
    assert dist.support.check(y).all()
    torch.testing.assert_close(ranks(y, items), torch.tensor(orders))
    outcomes = dist.enumerate_support()
    assert sorted(map(tuple, ranks(outcomes, items).tolist())) == sorted(orders)


def test_for_two_items_it_is_the_model_of_davidson():
    scores = torch.tensor([0.8, -0.4], dtype=torch.float64)
    dist = PlackettLuceTies(scores, torch.tensor([0.7]).double())
    outcomes = torch.tensor([[1, 0], [0, 1], [0, 3]])  # the first loses, wins, a tie
    torch.testing.assert_close(
        dist.log_prob(outcomes), BradleyTerry(scores, 0.7).log_prob(torch.arange(3))
    )


def test_without_ties_it_is_plackett_luce_partial_rankings_and_absent_items_too():
    scores = torch.tensor([0.3, -0.2, 1.0, 0.1], dtype=torch.float64)
    y = torch.tensor([[2, 0, 3, 1], [1, -1, -1, -1], [3, 0, -1, -1], [2, 0, -3, -5]])
    dist = PlackettLuceTies(scores, torch.tensor([1e-30]).double())
    torch.testing.assert_close(dist.log_prob(y), PlackettLuce(scores).log_prob(y))


def test_a_partial_ranking_has_the_probability_of_all_that_begin_with_it():
    dist = make()
    outcomes = dist.enumerate_support()
    place = ranks(outcomes, 4)
    begins = (place[:, 1] == 0) & (place[:, 3] == 0) & (place == 0).sum(-1).eq(2)
    partial = dist.log_prob(torch.tensor([3, 1 + 4, -1, -1])).exp()
    torch.testing.assert_close(dist.log_prob(outcomes[begins]).exp().sum(), partial)


def test_absent_items_are_as_if_they_did_not_exist():
    dist = make()
    there = torch.tensor([0, 2, 3])
    small = PlackettLuceTies(dist.logits[there], dist.ties)
    for y, inner in (((2, 0, 3, -3), (1, 0, 2)), ((2, 0 + 4, 3, -3), (1, 0 + 3, 2))):
        expected = small.log_prob(torch.tensor(inner))
        torch.testing.assert_close(dist.log_prob(torch.tensor(y)), expected)


def test_gradients_and_extreme_scores():
    dist, y = make(), torch.tensor([[2, 0 + 4, 3, 1], [1, -1, -1, -1], [2, 0, -3, -5]])
    scores, ties = dist.logits.clone().requires_grad_(), dist.ties.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: PlackettLuceTies(s, t).log_prob(y), (scores, ties))
    far = torch.tensor([1e3, -1e3, 0.0, 5.0], requires_grad=True)
    value = PlackettLuceTies(far, torch.ones(2)).log_prob(y)
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), far)[0].isfinite().all()


def test_samples_have_the_probabilities():
    dist, count = make(3, 3), 20_000
    y = dist.sample((count,), generator=torch.Generator().manual_seed(0))
    outcomes = dist.enumerate_support()
    p = dist.log_prob(outcomes).exp()
    same = (ranks(y, 3).unsqueeze(1) == ranks(outcomes, 3)).all(-1).double().mean(0)
    assert ((same - p).abs() < 4 * (p * (1 - p) / count).sqrt()).all()
    first = torch.nn.functional.one_hot(y[:, 0] % 3, 3).double().mean(0)
    torch.testing.assert_close(first, dist.top1, atol=0.015, rtol=0)


def test_the_mode_is_the_most_probable_ranking_and_pairs_add_up_to_one():
    dist = make()
    outcomes = dist.enumerate_support()
    assert dist.log_prob(dist.mode) == dist.log_prob(outcomes).max()
    pairs = dist.pairwise
    torch.testing.assert_close(pairs + pairs.mT, torch.ones(4, 4).double())
    place = ranks(outcomes, 4)
    before = (place[:, 0] < place[:, 2]).double() + 0.5 * (place[:, 0] == place[:, 2]).double()
    expected = (dist.log_prob(outcomes).exp() * before).sum()
    torch.testing.assert_close(pairs[0, 2], expected)


def test_metrics_compare_places():
    dist = make()
    y = dist.mode.unsqueeze(0)
    accuracy, tau = Accuracy(), KendallTau()
    accuracy.update(dist.expand((1,)), y)
    tau.update(dist.expand((1,)), y)
    assert accuracy.compute() == 1
    assert -1 <= tau.compute() <= 1
    listed_otherwise = torch.tensor([[1, 0 + 3, 2]])
    torch.testing.assert_close(ranks(listed_otherwise, 3), ranks(torch.tensor([[0, 1 + 3, 2]]), 3))


def test_ensembles_average_probabilities():
    dist = make()
    members = PlackettLuceTies(torch.stack([dist.logits, -dist.logits]), dist.ties.expand(2, -1))
    mixed, y = ensemble(members), torch.tensor([2, 0 + 4, 3, 1])
    torch.testing.assert_close(mixed.log_prob(y).exp(), members.log_prob(y).exp().mean())
    assert mixed.support.check(mixed.mode)


def test_a_temperature_leaves_the_ties():
    """Scores divided by it, so that a model that is sure of the wrong order says less."""
    truth = PlackettLuceTies(torch.tensor([1.0, 0.0, -1.0]).double(), torch.tensor([0.8]).double())
    y = truth.sample((2000,), generator=torch.Generator().manual_seed(1))
    sure = PlackettLuceTies(3 * truth.logits, truth.ties).expand((2000,))
    calibrated = TemperatureScaling().fit(sure, y)
    assert abs(calibrated.temperature - 3) < 0.3
    torch.testing.assert_close(calibrated(sure).ties, sure.ties)


def test_a_head_finds_scores_and_ties():
    truth = PlackettLuceTies(torch.tensor([1.0, 0.0, -1.0]).double(), torch.tensor([0.8]).double())
    y = truth.sample((3000,), generator=torch.Generator().manual_seed(1))
    head = dh.DistributionHead("plackett_luce_ties", 1, event_shape=(3,), shared="all").double()
    head.initialize(y)
    dist = head(torch.zeros(1, 1, dtype=torch.float64))
    torch.testing.assert_close(dist.top1[0], truth.top1, atol=0.03, rtol=0)
    torch.testing.assert_close(dist.ties[0], truth.ties, atol=0.1, rtol=0)


def test_what_is_no_ranking_with_ties_is_refused_with_rows_and_the_remedy():
    family = dh.get_family("plackett_luce_ties", event_shape=(4,))
    good = torch.tensor([[2, 0 + 4, 3, 1], [2, 0, -3, -5]])
    family.check_target(good)
    for wrong in ([4, 1, 2, 3], [0, 1 + 4, 2 + 4, 3], [0, 0 + 4, 1, 2], [0, 1, 2, 3 + 8]):
        with pytest.raises(TargetError, match=r"row 1.*rankings_of_ranks.*largest_tie"):
            family.check_target(torch.tensor([good[0].tolist(), wrong]))
        assert (
            family.distribution(logits=torch.zeros(4), ties=torch.ones(1)).log_prob(
                torch.tensor(wrong)
            )
            == -math.inf
        )
    with pytest.raises(ValueError, match="largest_tie must be from 2"):
        dh.get_family("plackett_luce_ties", event_shape=(4,), largest_tie=1)


def test_ranks_of_tables_with_absent_items():
    table = torch.tensor([[1.0, 3.0, math.nan, 1.0]])
    y = rankings_of_ranks(table, absent=table.isnan())
    assert y.tolist() == [[0, 3 + 4, 1, -4]]
    with pytest.raises(TargetError, match=r"absent=ranks\.isnan"):
        rankings_of_ranks(table)
    for absent in ([[False, True]], [[0, 0, 1, 0]]):
        with pytest.raises(ValueError, match=r"shape of ranks, \(1, 4\).*isnan"):
            rankings_of_ranks(table, absent=absent)
    with pytest.raises(TargetError, match=r"all absent in 1 of 2 values: .*row 1.*Leave"):
        rankings_of_ranks(torch.zeros(2, 2), absent=[[False, True], [True, True]])


@pytest.mark.parametrize("offset", [-1e6, 3e4, 1e6])
def test_only_differences_of_scores_matter_however_large_they_are(offset):
    dist = make()
    moved = PlackettLuceTies(dist.logits + offset, dist.ties)
    y = dist.sample((20,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved.log_prob(y), dist.log_prob(y))


def test_what_too_many_items_leave_unanswered_is_refused_by_its_name():
    dist = PlackettLuceTies(torch.zeros(40), torch.ones(4))
    for question, ask in {
        "sample": dist.sample,
        "top1": lambda: dist.top1,
        "mode": lambda: dist.mode,
        "pairwise": lambda: dist.pairwise,
        "entropy": dist.entropy,
    }.items():
        with pytest.raises(NotImplementedError, match=f"has no {question}: "):
            ask()
