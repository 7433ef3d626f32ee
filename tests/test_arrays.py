"""Arrays, columns of tables, lists and numbers are taken wherever a tensor is."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

import disthead as dh
from disthead.arrays import as_tensor
from disthead.data.values import read_values
from disthead.errors import TargetError
from disthead.metrics import Accuracy
from tests.cases import EVERYTHING, ORDERED, rows


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.array([1.5, 2.5]), torch.tensor([1.5, 2.5], dtype=torch.float64)),
        (np.array([1.5, 2.5], dtype=">f8"), torch.tensor([1.5, 2.5], dtype=torch.float64)),
        (np.array([1.5, 2.5], dtype=np.float16), torch.tensor([1.5, 2.5], dtype=torch.float16)),
        (np.array([1, 2], dtype=np.uint32), torch.tensor([1, 2])),
        (np.arange(4.0)[::-2], torch.tensor([3.0, 1.0], dtype=torch.float64)),
        (np.float64(0.1), torch.tensor(0.1, dtype=torch.float64)),
        (np.int64(3), torch.tensor(3)),
        (0.25, torch.tensor(0.25)),
        (7, torch.tensor(7)),
        ([1.5, 2], torch.tensor([1.5, 2.0])),
        ([[1, 2], [3, 4]], torch.tensor([[1, 2], [3, 4]])),
        ([torch.tensor(1.0), torch.tensor(2.0)], torch.tensor([1.0, 2.0])),
        ([Decimal("1.5"), Decimal("2.5")], torch.tensor([1.5, 2.5], dtype=torch.float64)),
        (pd.Series([1.5, 2.5], index=[7, 3]), torch.tensor([1.5, 2.5], dtype=torch.float64)),
        (pd.Series([1, 2], dtype="Int64"), torch.tensor([1, 2])),
        (pd.Series([1.5, 2.5], dtype="Float32"), torch.tensor([1.5, 2.5], dtype=torch.float32)),
        (pd.Series([1, 2], dtype="int64[pyarrow]"), torch.tensor([1, 2])),
        (pd.Series([1, 2]).astype("category"), torch.tensor([1, 2])),
    ],
    ids=repr,
)
def test_values_of_any_kind_become_a_tensor_of_the_same_numbers(values, expected):
    made = as_tensor(values)
    assert made.dtype == expected.dtype
    torch.testing.assert_close(made, expected, rtol=0, atol=0)


def test_a_tensor_is_taken_as_it_is_and_an_array_is_copied():
    tensor, array = torch.zeros(2), np.zeros(2)
    assert as_tensor(tensor) is tensor
    made = as_tensor(array)
    array[0] = 7
    assert made[0] == 0


@pytest.mark.parametrize(
    "values", [[1, None], pd.Series([1, None], dtype="Int64"), pd.Series([1, pd.NA], dtype=object)]
)
def test_what_is_missing_is_nan(values):
    made = as_tensor(values)
    assert made[0] == 1
    assert made[1].isnan()


@pytest.mark.parametrize(
    "values, error, message",
    [
        (
            ["cat", "dog"],
            TypeError,
            r"y must hold numbers, got \['cat', 'dog'\]. Number the classes",
        ),
        ([1.0, None, "two"], TypeError, r"must hold numbers, got 'two' at row 2"),
        ([1.0, "two"], TypeError, r"must hold numbers"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), TypeError, r"Turn dates into numbers"),
        ([[1.0, 2.0], [3.0]], ValueError, r"rows of equal length"),
        (object(), TypeError, r"must hold numbers"),
    ],
)
def test_what_holds_no_numbers_is_refused(values, error, message):
    with pytest.raises(error, match=message):
        as_tensor(values)


@pytest.mark.parametrize("case", rows(EVERYTHING))
def test_log_prob_of_an_array_is_that_of_the_tensor(case):
    dist = case.dist(batch=(4,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = dist.sample()
    for values in (y.numpy(), y.tolist()):
        torch.testing.assert_close(dist.log_prob(values), dist.log_prob(y), rtol=0, atol=0)
        torch.testing.assert_close(dh.nll(dist, values), dh.nll(dist, y), rtol=0, atol=0)


@pytest.mark.parametrize("case", rows(ORDERED))
def test_numbers_and_arrays_ask_for_probabilities_and_quantiles(case):
    dist = case.dist()
    y = float(dist.median)
    for question in ("cdf", "log_cdf", "log_survival", "crps"):
        ask = getattr(dist, question)
        torch.testing.assert_close(
            ask(y), ask(torch.tensor(y, dtype=torch.float64)), rtol=0, atol=0
        )
        torch.testing.assert_close(
            ask(np.array([y, y]))[1], ask(torch.tensor(y, dtype=torch.float64))
        )
    torch.testing.assert_close(
        dist.icdf(0.3), dist.icdf(torch.tensor(0.3, dtype=torch.float64)), rtol=0, atol=0
    )


def test_a_number_of_python_takes_the_precision_of_the_distribution():
    single = dh.get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    double = dh.get_family("normal").distribution(
        loc=torch.zeros(3, dtype=torch.float64), scale=1.0
    )
    assert single.cdf(0.1).dtype == torch.float32
    assert single.cdf(np.array([0.1] * 3)).dtype == torch.float64
    assert double.cdf([0.1] * 3).dtype == torch.float64


def test_parameters_and_checked_targets_are_taken_from_arrays():
    normal = dh.get_family("normal")
    loc = np.array([0.1, 0.2])
    dist = normal.distribution(loc=loc, scale=1)
    assert dist.loc.dtype == torch.float64
    assert dist.loc.tolist() == loc.tolist()
    assert normal.distribution(loc=[0.1, 0.2], scale=np.float64(1)).log_prob(loc).shape == (2,)
    normal.check_target(pd.Series(loc))
    with pytest.raises(TargetError, match="row 1"):
        dh.get_family("gamma").check_target([1.0, -1.0])


@pytest.mark.parametrize("labels", [["cat", "dog", "ape"], [3, 1, 2], (False, True)], ids=str)
def test_classes_go_by_their_labels_where_the_distribution_knows_them(labels):
    family = dh.get_family("categorical", num_classes=len(labels))
    dist = family.from_raw(torch.randn(4, len(labels), generator=torch.Generator().manual_seed(0)))
    index = torch.tensor([0, 1, 1, 0])
    known = dist.with_class_labels(labels)
    given = [labels[k] for k in index]
    for values in (given, np.array(given), pd.Series(given), index):
        torch.testing.assert_close(known.log_prob(values), dist.log_prob(index))
        torch.testing.assert_close(known[1:].log_prob(values[1:]), dist[1:].log_prob(index[1:]))
        torch.testing.assert_close(dh.nll(known, values), dh.nll(dist, index))
    with pytest.raises(TargetError, match="'cow' at row 1"):
        known.log_prob([labels[0], "cow"])
    assert dist.class_labels is None


def test_labels_of_a_binary_target_are_its_two_values():
    dist = (
        dh.get_family("bernoulli")
        .distribution(probs=torch.tensor([0.25, 0.5]))
        .with_class_labels(["no", "yes"])
    )
    torch.testing.assert_close(dist.log_prob(["yes", "no"]).exp(), torch.tensor([0.25, 0.5]))


def test_labels_of_absent_rows_and_the_ignored_index_are_no_labels():
    dist = dh.get_family("categorical", num_classes=2).distribution(
        probs=torch.tensor([[0.25, 0.75]] * 3)
    )
    want = -math.log(0.75)
    for labels in (["cat", "dog"], [1, 2]):
        named = dist.with_class_labels(labels)
        assert dh.nll(
            named, [labels[1], None, labels[1]], weight=[1, 0, 2]
        ).item() == pytest.approx(want)
        y = np.array([labels[1], -100, labels[1]], dtype=object)
        assert dh.losses.cross_entropy(named, y, ignore_index=-100).item() == pytest.approx(want)
        accuracy = Accuracy(ignore_index=-100)
        accuracy.update(named, y)
        assert accuracy.compute() == 1
        assert (
            dh.evaluate(dist, [labels[1], None, labels[1]], weight=[1, 0, 2], classes=labels).rows
            == 2
        )
    assert dh.nll(
        dist.with_class_labels(["cat", "dog"]), np.array([1, 1, 1])
    ).item() == pytest.approx(want)


def test_what_a_masked_array_hides_is_missing():
    hidden = np.ma.array([1.0, -999.0, 2.0], mask=[0, 1, 0])
    dist = dh.get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    assert (
        as_tensor(hidden).isnan().tolist()
        == as_tensor(hidden.astype(int)).isnan().tolist()
        == [False, True, False]
    )
    assert as_tensor(np.ma.array([1, 2])).dtype == torch.int64
    assert dh.nll(dist, hidden, weight=[1, 0, 1]).item() == pytest.approx(
        dh.nll(dist[[0, 2]], [1.0, 2.0]).item()
    )
    with pytest.raises(TargetError, match="nan at row 1"):
        dh.evaluate(dist, hidden)
    x = np.linspace(0, 1, 30)
    for kind in (float, int, "datetime64[D]", str):
        column = np.ma.array(np.arange(30).astype(kind), mask=np.arange(30) == 4)
        assert read_values(column, "x").missing.nonzero()[0].tolist() == [4]
    table = np.ma.array(np.stack([x, x**2], 1), mask=np.arange(60).reshape(30, 2) == 7)
    assert any(
        "missing" in line
        for line in dh.DistributionRegressor(max_steps=1, random_state=0).fit(table, x).report_
    )
    for estimator, y in (
        (dh.DistributionRegressor(), x),
        (dh.DistributionClassifier(), np.arange(30) % 2),
    ):
        with pytest.raises(TargetError, match="row 4"):
            estimator.fit(table, np.ma.array(y, mask=np.arange(30) == 4))


def test_an_error_of_weights_does_not_advise_on_classes():
    with pytest.raises(TypeError, match=r"weight must hold numbers, got 'x'\.$"):
        as_tensor("x", "weight")
