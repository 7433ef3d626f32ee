"""A weight says what a row counts; a row of weight 0 is not there, whatever its target is."""

import math

import numpy as np
import pytest
import torch

import disthead as dh
from disthead.losses import cross_entropy
from disthead.weights import as_weight, present
from tests.cases import CASES, EVERYTHING, NAMED, rows

IMPOSSIBLE = [math.nan, math.inf, -3.5e30]


def some_rows(case, generator, dtype=torch.float32):
    """Raw outputs of six rows, and targets of which the second and the fifth are impossible."""
    raw = torch.tensor(case.raw, dtype=dtype) + 0.1 * torch.randn(
        6, len(case.raw), generator=generator, dtype=dtype
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = case.from_raw(raw).sample()
    return raw, y


def spoiled(y, value):
    """The targets with the value in the rows that are not there; an impossible index where they are
    integers.
    """
    y = y.clone()
    y[[1, 4]] = value if y.is_floating_point() else -7
    return y


WEIGHT = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 1.0])
THERE = WEIGHT > 0


@pytest.mark.parametrize("case", rows(EVERYTHING))
def test_an_absent_row_changes_neither_the_loss_nor_its_gradient(case, generator):
    raw, y = some_rows(case, generator)
    raw.requires_grad_()
    kept = raw.detach()[THERE].requires_grad_()
    for value in IMPOSSIBLE:
        for reduction in ("mean", "sum"):
            loss = dh.nll(case.from_raw(raw), spoiled(y, value), weight=WEIGHT, reduction=reduction)
            alone = dh.nll(case.from_raw(kept), y[THERE], weight=WEIGHT[THERE], reduction=reduction)
            torch.testing.assert_close(loss, alone, rtol=1e-6, atol=1e-6)
            (by_raw,), (by_kept,) = torch.autograd.grad(loss, raw), torch.autograd.grad(alone, kept)
            torch.testing.assert_close(by_raw[THERE], by_kept, rtol=1e-5, atol=1e-6)
            assert (by_raw[~THERE] == 0).all()
    each = dh.nll(case.from_raw(raw), spoiled(y, math.nan), weight=WEIGHT, reduction="none")
    assert (each[~THERE] == 0).all()
    assert each[THERE].isfinite().all()


@pytest.mark.parametrize("case", rows(CASES))
def test_a_row_of_weight_two_counts_as_two_rows(case, generator):
    raw, y = some_rows(case, generator)
    twice = torch.tensor([0, 1, 2, 2, 3, 4, 4, 5])
    weight = torch.tensor([1.0, 1, 2, 1, 2, 1])
    torch.testing.assert_close(
        dh.nll(case.from_raw(raw), y, weight=weight),
        dh.nll(case.from_raw(raw[twice]), y[twice]),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "name", ["normal", "gamma", "poisson", "multivariate_normal", "categorical"]
)
def test_an_absent_row_is_absent_where_nothing_may_look_at_numbers(name, generator):
    case = NAMED[name]
    raw, y = some_rows(case, generator)
    wrong = spoiled(y, math.nan)

    def loss(raw, y, weight):
        return dh.nll(case.from_raw(raw), y, weight=weight)

    expected = dh.nll(case.from_raw(raw[THERE]), y[THERE], weight=WEIGHT[THERE])
    by_raw, value = torch.func.grad_and_value(loss)(raw, wrong, WEIGHT)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert (by_raw[~THERE] == 0).all()
    assert by_raw.isfinite().all()


def test_masks_of_sequences_are_weights(generator):
    y = torch.randn(4, 7, generator=generator)
    mask = torch.arange(7) < torch.tensor([[7], [3], [0], [5]])
    dist = dh.get_family("normal").distribution(loc=torch.zeros(4, 7), scale=1.0)
    padded = torch.where(mask, y, math.nan)
    loss = dh.nll(dist, padded, weight=mask)
    torch.testing.assert_close(loss, dh.nll(dist[mask], y[mask]))


def test_the_example_of_a_gamma_that_cannot_have_made_the_absent_row():
    gamma = dh.get_family("gamma").distribution(concentration=torch.ones(2), rate=1)
    torch.testing.assert_close(dh.nll(gamma, [1, 0], weight=[1, 0]), torch.tensor(1.0))


@pytest.mark.parametrize(
    "weight, message",
    [
        ([1.0, -1.0], r"zero or more, got 1 of 2 values: -1 at row 1"),
        ([math.nan, 1.0], r"finite and zero or more, got 1 of 2 values: nan at row 0"),
        ([1.0, math.inf], r"inf at row 1"),
        ([0.0, 0.0], r"zero in all 2 rows"),
        ([1.0], r"one value per row, shape \(2,\), got \(1,\)"),
        ([[1.0], [1.0]], r"Try weight.squeeze\(-1\)"),
    ],
)
def test_weights_that_cannot_be_are_refused_with_their_rows(weight, message):
    dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    classes = dh.get_family("categorical", num_classes=2).distribution(logits=torch.zeros(2, 2))
    with pytest.raises(ValueError, match=message):
        dh.nll(dist, [0.0, 1.0], weight=weight)
    with pytest.raises(ValueError, match=message):
        cross_entropy(classes, [0, 1], weight=weight)
    with pytest.raises(ValueError, match=message):
        dh.DistributionHead("normal", 1).initialize([0.0, 1.0], weight=weight)


def test_a_sum_over_no_rows_is_zero():
    dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    assert dh.nll(dist, [math.nan, math.nan], weight=[0, 0], reduction="sum") == 0


@pytest.mark.parametrize("y", [[3.0, 1.0, math.nan], [3, 1, -100]])
def test_an_absent_row_has_no_class(y):
    dist = dh.get_family("categorical", num_classes=4).from_raw(torch.arange(12.0).reshape(3, 4))
    options = {"label_smoothing": 0.1, "class_weight": [1.0, 2.0, 3.0, 4.0]}
    loss = cross_entropy(dist, y, weight=[1, 2, 0], **options)
    torch.testing.assert_close(loss, cross_entropy(dist[:2], y[:2], weight=[1, 2], **options))


@pytest.mark.parametrize("case", rows(CASES))
def test_a_head_starts_as_if_absent_rows_were_not_there(case, generator):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = case.dist(batch=(40,)).sample()
    weight = torch.ones(40).index_fill(0, torch.tensor([3, 17]), 0.0)
    wrong = y.clone()
    wrong[[3, 17]] = math.nan if y.is_floating_point() else -7
    head, alone = case.head(), case.head()
    head.initialize(wrong, weight=weight)
    alone.initialize(y[weight > 0])
    torch.testing.assert_close(head.linear.bias, alone.linear.bias)


@pytest.mark.parametrize(
    "name", ["normal", "laplace", "gamma", "poisson", "bernoulli", "von_mises"]
)
def test_a_head_starts_at_the_weighted_fit(name):
    case = NAMED[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = case.dist(batch=(30,)).sample()
    weight = torch.arange(30) % 3 + 1
    head, repeated = case.head(), case.head()
    head.initialize(y.numpy(), weight=weight.numpy())
    repeated.initialize(y.repeat_interleave(weight))
    torch.testing.assert_close(head.linear.bias, repeated.linear.bias, rtol=1e-3, atol=1e-3)


def test_weights_and_rows_come_from_arrays_columns_and_lists():
    for given in (
        [1, 0, 2],
        (1.0, 0.0, 2.0),
        np.array([1.0, 0.0, 2.0]),
        np.array([1, 0, 2], dtype=np.uint16),
    ):
        torch.testing.assert_close(as_weight(given, (3,)).float(), torch.tensor([1.0, 0, 2]))
    weight, y, nothing = present(
        as_weight([True, False, True], (3,)), torch.tensor([1.0, math.nan, 3.0]), None
    )
    assert weight.tolist() == [1.0, 1.0]
    assert y.tolist() == [1.0, 3.0]
    assert nothing is None
