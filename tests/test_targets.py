"""`check_target`: what a target may be, refused with its row, its value and what to try."""

import numpy as np
import pytest
import torch

from disthead import get_family
from disthead.errors import TargetError
from disthead.families import Bernoulli, Categorical, Gamma, Normal, PlackettLuce, Poisson, VonMises
from disthead.targets import check_target
from tests.cases import EVERYTHING, Case


def sample(case: Case, rows: int):
    dist = case.dist(batch=(rows,))
    torch.manual_seed(0)
    return dist, dist.sample()


@pytest.mark.parametrize("case", EVERYTHING, ids=str)
def test_what_a_distribution_draws_is_a_target_of_it(case):
    dist, y = sample(case, 4)
    assert check_target(dist, y) is y
    torch.testing.assert_close(check_target(dist, y.numpy()), y)
    torch.testing.assert_close(check_target(dist, y.tolist()), y)


@pytest.mark.parametrize("case", EVERYTHING, ids=str)
def test_missing_and_infinite_targets_are_named_unless_their_row_is_not_there(case):
    dist, y = sample(case, 4)
    for wrong in (torch.nan, torch.inf):
        holed = y.double().clone()
        holed[2] = wrong
        with pytest.raises(TargetError, match="row 2"):
            check_target(dist, holed)
        check_target(dist, holed, weight=torch.tensor([1.0, 2.0, 0.0, 1.0]))
        with pytest.raises(TargetError, match="row 2"):
            check_target(dist, holed, weight=torch.tensor([0.0, 0.0, 0.5, 1.0]))


@pytest.mark.parametrize("case", EVERYTHING, ids=str)
def test_other_shapes_are_refused_with_what_to_try(case):
    dist, y = sample(case, 4)
    with pytest.raises(ValueError, match=r"squeeze\(-1\)"):
        check_target(dist, y.unsqueeze(-1))
    with pytest.raises(ValueError, match="must have the shape"):
        check_target(dist, y[:3])


@pytest.mark.parametrize(
    "dist, y, message",
    [
        (
            Bernoulli(logits=torch.zeros(3)),
            [-1, 1, 1],
            r"0 or 1, got 1 of 3 values: -1 at row 0\. Try \(y \+ 1\) / 2",
        ),
        (
            Bernoulli(logits=torch.zeros(3)),
            [1, 2, 1],
            r"2 at row 1\. Number the classes from 0: try y - 1",
        ),
        (Bernoulli(logits=torch.zeros(3)), [0, 1, 0.5], r"0\.5 at row 2"),
        (Bernoulli(logits=torch.zeros(3)), [0, 1, -100], r"-100 at row 2.*the weight 0"),
        (
            Categorical(logits=torch.zeros(3, 3)),
            [1, 2, 3],
            r"\(3 classes\), got .* 3 at row 2.* from 0: try y - 1",
        ),
        (
            Categorical(logits=torch.zeros(3, 3)),
            [0, 2, 3],
            r"3 at row 2\. Number the classes from 0 to 2\.",
        ),
        (Categorical(logits=torch.zeros(3, 3)), [0, -100, 1], r"-100 at row 1\..*the weight 0"),
        (Categorical(logits=torch.zeros(3, 3)), [0, 1.5, 1], r"1\.5 at row 1"),
        (
            Poisson(torch.ones(3)),
            [0, 1.5, 1],
            r"whole number, zero or more, got .*1\.5 at row 1.*continuous",
        ),
        (Poisson(torch.ones(3)), [0, -1, 1], r"-1 at row 1"),
        (
            Gamma(torch.ones(3), 1.0),
            [1.0, 0.0, -2.0],
            r"positive, got 2 of 3 values: 0 at row 1, -2 at row 2",
        ),
        (
            VonMises(torch.zeros(3), 1.0),
            [0.0, 90.0, 180.0],
            r"90 at row 1, 180 at row 2.*torch\.deg2rad",
        ),
        (
            PlackettLuce(torch.zeros(1, 3)),
            [[1, 2, 3]],
            r"at row 0\. Number the items from 0: try y - 1",
        ),
        (PlackettLuce(torch.zeros(1, 3)), [[0, 0, 1]], r"each once"),
        (
            get_family("beta").distribution(concentration1=torch.ones(2), concentration0=1.0),
            [50, 20.0],
            "by 100",
        ),
        (
            Bernoulli(logits=torch.zeros(2, 2)).to_event(1),
            [[0, 1], [1, -1]],
            "-1 at row 1, column 1",
        ),
        (
            Poisson(torch.ones(2)).affine(torch.tensor(0.0), torch.tensor(0.5)),
            [0.5, 0.25],
            "0.25 at row 1",
        ),
    ],
)
def test_targets_outside_the_support_are_refused_with_row_value_and_advice(dist, y, message):
    with pytest.raises(TargetError, match=message):
        check_target(dist, y)


def test_indicators_of_classes_are_told_from_indices():
    for dist, width in (
        (Categorical(logits=torch.zeros(4, 3)), 3),
        (Bernoulli(logits=torch.zeros(4)), 2),
    ):
        with pytest.raises(ValueError, match=r"argmax\(-1\)"):
            check_target(dist, torch.eye(width)[torch.tensor([0, 1, 1, 0])])


def test_soft_labels_are_taken_where_they_are_asked_for():
    probs = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    dist = Categorical(logits=torch.zeros(2, 3))
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        assert check_target(dist, probs.to(dtype), soft_labels=True).dtype == dtype
    with pytest.raises(TargetError, match=r"sums 1 of 2 values: 2 at row 1"):
        check_target(dist, torch.stack([probs[0], 2 * probs[1]]), soft_labels=True)
    check_target(
        dist,
        torch.stack([probs[0], 2 * probs[1]]),
        soft_labels=True,
        weight=torch.tensor([1.0, 0.0]),
    )
    two = Bernoulli(logits=torch.zeros(3))
    check_target(two, [0.0, 0.3, 1.0], soft_labels=True)
    with pytest.raises(TargetError, match=r"1\.1 at row 1"):
        check_target(two, [0.0, 1.1, 1.0], soft_labels=True)


def test_an_ignored_index_is_not_looked_at():
    dist = Categorical(logits=torch.zeros(3, 3))
    check_target(dist, [0, -100, 2], ignore_index=np.int64(-100))
    with pytest.raises(TargetError, match="-1 at row 2"):
        check_target(dist, [0, -100, -1], ignore_index=-100)
    with pytest.raises(ValueError, match="needs classes"):
        check_target(Normal(torch.zeros(2), 1.0), [0.0, 1.0], ignore_index=-100)
    with pytest.raises(ValueError, match="needs class indices"):
        check_target(dist, torch.full((3, 3), 1 / 3), ignore_index=-100, soft_labels=True)
    with pytest.raises(ValueError, match="must be an integer"):
        check_target(dist, [0, 1, 2], ignore_index=0.5)


def test_rankings_may_be_shorter_and_padded():
    dist = PlackettLuce(torch.zeros(2, 4))
    for y in (
        [[0, 1, 2, 3], [3, 2, 1, 0]],
        [[0, 1, -1, -1], [2, -1, -1, -1]],
        [[0, 1], [3, -1]],
        [[2], [1]],
    ):
        check_target(dist, y)
    for y in ([[-1, -1], [0, 1]], [[0, -1, 2], [0, 1, 2]], torch.zeros(2, 0)):
        with pytest.raises(ValueError, match=r"rankings|shape"):
            check_target(dist, y)


def test_truth_values_and_bytes_become_indices():
    dist = Bernoulli(logits=torch.zeros(2))
    for y in (
        np.array([True, False]),
        np.array([1, 0], dtype=np.uint8),
        torch.tensor([True, False]),
    ):
        assert check_target(dist, y).dtype == torch.int64


def test_labels_of_rows_that_are_not_there_may_be_missing():
    dist = Categorical(logits=torch.zeros(3, 2)).with_class_labels(["cat", "dog"])
    assert check_target(dist, ["dog", None, "cat"], weight=torch.tensor([1.0, 0.0, 1.0]))[
        [0, 2]
    ].tolist() == [1, 0]
    with pytest.raises(TargetError, match="None at row 1"):
        check_target(dist, ["dog", None, "cat"], weight=torch.ones(3))
