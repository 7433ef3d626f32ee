"""The loss does not grow slower or hungrier unnoticed: operations and bytes stay below
`benchmarks/cost.json`.

A change that is meant to cost more renews the table: `make tables`.
"""

import pytest
import torch

import disthead as dh
from benchmarks.cost import Counter, bounds, count
from tests.cases import CASES, NAMED

ALLOWED = bounds()


@pytest.fixture(scope="module")
def counted() -> dict[str, dict[str, int]]:
    return {case.name: count(case) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_loss_costs_no_more_than_it_did(case, counted):
    for what, number in counted[case.name].items():
        assert number <= ALLOWED[case.name][what], (
            f"{case.name}: {number} {what}, at most {ALLOWED[case.name][what]}. If the growth is "
            "meant, and worth it, "
            "renew the table: make tables"
        )


def test_the_table_is_tight_and_has_every_case(counted):
    """A loss that got much cheaper gets a new table too, so that the gain is not lost again
    unnoticed.
    """
    assert set(ALLOWED) == set(counted)
    loose = {
        name: what
        for name, numbers in counted.items()
        for what, number in numbers.items()
        if number < 0.6 * ALLOWED[name][what]
    }
    assert not loose, "much cheaper than the table allows; renew it: make tables"


def test_the_counter_counts():
    x = torch.ones(100)
    with Counter() as counter:
        y = x[:50] + 1  # a view, and fifty floats
        y.mul_(2)  # in place
    assert (counter.operations, counter.bytes) == (3, 200)


def test_the_counter_counts_kernels():
    family, raw = dh.get_family("exponential"), torch.zeros(100, 1)
    with Counter() as counter:
        family.from_raw(raw).log_prob(torch.ones(100))
    assert 0 < counter.operations < 10


def test_counts_repeat(counted):
    case = NAMED["gamma"]
    assert count(case) == counted["gamma"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_never_waits_for_a_device(case):
    """Tensors on the meta device have no numbers: whoever looked at one, as `item` and `bool` do,
    would fail.
    """
    y = case.dist(torch.float32, (4,)).sample().to("meta")
    raw = torch.empty(4, len(case.raw), device="meta", requires_grad=True)
    dh.nll(case.from_raw(raw), y).backward()
    assert raw.grad.shape == raw.shape


def test_looking_at_a_number_without_a_device_fails():
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(torch.empty(1, device="meta") > 0)
