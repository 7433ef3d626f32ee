"""Plackett-Luce where the sets of items differ from row to row."""

import itertools

import pytest
import torch

import disthead as dh
from disthead.families.plackett_luce import PlackettLuce
from tests.cases import RANKINGS


def scores(count: int = 4) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("by_worth", [False, True], ids=["logits", "probs"])
def test_absent_items_are_as_if_they_did_not_exist(by_worth):
    s = scores()

    def dist(s):
        return PlackettLuce(probs=s.exp()) if by_worth else PlackettLuce(s)

    there = torch.tensor([0, 2, 3])  # item 1 is absent
    small = dist(s[there])
    for order in itertools.permutations(range(3)):
        y = torch.tensor([*there[list(order)].tolist(), -3])
        expected = small.log_prob(torch.tensor(order))
        torch.testing.assert_close(dist(s).log_prob(y), expected)
        # the first of the three, and then a partial ranking
        partial = torch.tensor([y[0], -1, -1, -3])
        torch.testing.assert_close(
            dist(s).log_prob(partial), small.log_prob(torch.tensor([order[0], -1, -1]))
        )


def test_rows_with_sets_of_their_own_have_gradients_of_their_own():
    s = scores().repeat(3, 1).requires_grad_()
    y = torch.tensor([[3, 0, 1, 2], [2, 0, -3, -5], [1, -1, -1, -2]])
    value = PlackettLuce(s).log_prob(y)
    (gradient,) = torch.autograd.grad(value.sum(), s)
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(3, dtype=torch.float64))
    assert (gradient == 0).tolist() == [
        [False] * 4,
        [False, True, False, True],
        [True, False, False, False],
    ]
    assert torch.autograd.gradcheck(lambda s: PlackettLuce(s).log_prob(y), s)
    torch.testing.assert_close(PlackettLuce(s.float()).log_prob(y), value.float())


def test_what_is_no_ranking_with_absent_items():
    dist = PlackettLuce(scores())
    wrong = torch.tensor([[2, 0, -2, -1], [2, 0, -4, -1], [2, -3, 0, -1], [2, 0, -6, -1]])
    # absent and ranked, absent and ranked, a gap, no such item
    assert dist.log_prob(wrong).isneginf().tolist() == [True, True, True, True]
    family = dh.get_family("plackett_luce", event_shape=(4,))
    family.check_target(torch.tensor([[2, 0, -3, -5]]))
    with pytest.raises(ValueError, match="support of plackett_luce"):
        family.check_target(wrong)


def test_the_fit_of_pairs_is_that_of_the_bradley_terry_model():
    """Each row compares two of three items, the third is absent."""
    pairs = torch.tensor([[0, 1, -4]] * 7 + [[1, 0, -4]] * 3 + [[1, 2, -2]] * 6 + [[2, 1, -2]] * 4)
    head = dh.DistributionHead("plackett_luce", 1, event_shape=(3,), shared="all").double()
    head.initialize(pairs)
    dist = head(torch.zeros(1, 1, dtype=torch.float64)).map(torch.detach)
    # a chain of comparisons: each difference is the logarithm of its own odds
    expected = torch.tensor([7 / 3, 6 / 4], dtype=torch.float64).log()
    torch.testing.assert_close(dist.logits[0, :2] - dist.logits[0, 1:], expected, rtol=0, atol=1e-5)


def test_the_family_row_still_holds():
    dist = RANKINGS[0].dist()
    pairs = [(i, j, -2 - k, -2 - m) for i, j, k, m in itertools.permutations(range(4))]
    probs = dist.log_prob(torch.tensor(pairs)).exp()
    first, second = torch.tensor(pairs)[:, 0], torch.tensor(pairs)[:, 1]
    torch.testing.assert_close(probs, dist.pairwise[first, second])
