"""InfoNCE: the cross-entropy of the matrix of similarities, in one process and in two."""

import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead.objectives import check_objective, get_objective, specification

SCRIPT = """
import sys, torch
import torch.distributed as distributed
from disthead.objectives import info_nce

torch.set_num_threads(1)
rank, path = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method="file://" + path, rank=rank, world_size=2)
torch.manual_seed(0)
x, z = torch.randn(2, 8, 5, dtype=torch.float64)
ids = torch.tensor([0, 1, 2, 3, 1, 5, 6, 3])
towers = [torch.nn.Linear(5, 3, dtype=torch.float64) for _ in range(2)]
weights = [tower.weight for tower in towers]
own = slice(4 * rank, 4 * rank + 4)

for symmetric in (True, False):
    for items in (None, ids):
        objective = info_nce(symmetric=symmetric)
        own_items = None if items is None else items[own]
        shares = objective(towers[0](x[own]), towers[1](z[own]), own_items)
        gradients = torch.autograd.grad(shares.mean(), weights)
        for gradient in gradients:
            distributed.all_reduce(gradient)
        alone = info_nce(symmetric=symmetric, gather=False)
        whole = alone(towers[0](x), towers[1](z), items)
        torch.testing.assert_close(shares, whole[own])
        expected = torch.autograd.grad(whole.mean(), weights)
        torch.testing.assert_close([gradient / 2 for gradient in gradients], list(expected))
try:
    info_nce()(x[:3 + rank], z[:3 + rank])
except ValueError as error:
    assert "[3, 3], [4, 4]. Set drop_last=True" in str(error), error
else:
    raise AssertionError
distributed.destroy_process_group()
"""


def embeddings(queries=6, keys=6):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(rows, 4, generator=generator, dtype=torch.float64).requires_grad_()
        for rows in (queries, keys)
    ]


def similarities(queries, keys):
    return functional.normalize(queries) @ functional.normalize(keys).T


def test_it_is_the_cross_entropy_of_the_similarities_in_both_directions():
    queries, keys = embeddings()
    logits, right = similarities(queries, keys) / 0.07, torch.arange(6)
    forth = functional.cross_entropy(logits, right, reduction="none")
    back = functional.cross_entropy(logits.T, right, reduction="none")
    torch.testing.assert_close(dh.objectives.info_nce()(queries, keys), (forth + back) / 2)
    one_way = dh.objectives.info_nce(symmetric=False)(queries, keys)
    torch.testing.assert_close(one_way, forth)
    assert torch.autograd.gradcheck(dh.objectives.info_nce(0.5), (queries, keys))


def test_it_is_the_likelihood_of_a_categorical_distribution():
    queries, keys = embeddings()
    dist = dh.get_family("categorical", num_classes=6).from_raw(similarities(queries, keys) / 0.07)
    expected = dh.objectives.nll(dist, torch.arange(6))
    ours = dh.objectives.info_nce(symmetric=False)(queries, keys)
    torch.testing.assert_close(ours, expected)


def test_further_keys_are_negatives():
    queries, keys = embeddings(queries=4)
    ours = dh.objectives.info_nce(symmetric=False)(queries, keys)
    logits = similarities(queries, keys) / 0.07
    theirs = functional.cross_entropy(logits, torch.arange(4), reduction="none")
    torch.testing.assert_close(ours, theirs)


def test_items_that_come_twice_share_the_target():
    queries, keys = embeddings()
    ids = torch.tensor([7, 3, 7, 1, 2, 7])
    log_p = (similarities(queries, keys) / 0.07).log_softmax(-1)
    expected = torch.stack([-log_p[i, ids == ids[i]].mean() for i in range(6)])
    ours = dh.objectives.info_nce(symmetric=False)(queries, keys, ids)
    torch.testing.assert_close(ours, expected)
    different = dh.objectives.info_nce()(queries, keys, torch.arange(6))
    torch.testing.assert_close(different, dh.objectives.info_nce()(queries, keys))


def test_the_temperature_may_be_learned():
    queries, keys = embeddings()
    log_temperature = torch.tensor(0.07, dtype=torch.float64).log().requires_grad_()
    ours = dh.objectives.info_nce()(queries, keys, temperature=log_temperature.exp())
    torch.testing.assert_close(ours, dh.objectives.info_nce(temperature=0.07)(queries, keys))
    assert torch.autograd.grad(ours.sum(), log_temperature)[0] != 0


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_only_directions_count(scale):
    queries, keys = (part.detach().float() for part in embeddings())
    expected = dh.objectives.info_nce(0.01)(queries, keys)
    ours = dh.objectives.info_nce(0.01)(scale * queries, keys)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_two_processes_have_the_loss_and_the_gradient_of_one(tmp_path):
    command = [sys.executable, "-c", SCRIPT]
    processes = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")]) for rank in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]


def test_options_are_plain_data():
    objective = get_objective("info_nce", temperature=0.1)
    assert specification(objective) == {
        "name": "info_nce",
        "temperature": 0.1,
        "symmetric": True,
        "gather": True,
    }


def test_wrong_input_says_what_to_do():
    objective, (queries, keys) = dh.objectives.info_nce(), embeddings()
    with pytest.raises(ValueError, match=r"keys must be as many as queries.*got 4 for 6.*symmet"):
        objective(queries, keys[:4])
    with pytest.raises(ValueError, match=r"of one length, got \(6, 4\) and \(6, 3\)"):
        objective(queries, keys[:, :3])
    with pytest.raises(ValueError, match="needs at least one pair, got an empty batch"):
        objective(queries[:0], keys[:0])
    with pytest.raises(ValueError, match=r"queries must be floating embeddings .*got \(6,\)"):
        objective(queries[:, 0], keys)
    with pytest.raises(ValueError, match=r"keys must be floating embeddings .*got list"):
        objective(queries, keys.tolist())
    with pytest.raises(ValueError, match=r"ids must be a tensor .*shape \(6,\), got \(3,\)"):
        objective(queries, keys, torch.arange(3))
    with pytest.raises(ValueError, match=r"temperature must be a number above 0, got 0"):
        dh.objectives.info_nce(temperature=0)
    with pytest.raises(
        ValueError, match=r"'info_nce' cannot train a family: it takes \(queries, keys\)"
    ):
        check_objective(objective, dh.get_family("normal"))
    for wrong in (torch.full((6,), 0.1), torch.full((6, 1), 0.1)):
        with pytest.raises(ValueError, match=r"temperature must be a tensor of one number, got"):
            objective(queries, keys, temperature=wrong)
    for value in (torch.tensor(-1.0), torch.tensor(math.nan), 0.0, -1):
        with pytest.raises(ValueError, match=r"temperature must be a number above 0.*exp\(\), got"):
            objective(queries, keys, temperature=value)
    with pytest.raises(ValueError, match=r"one dtype, got .*keys\.to\(queries\.dtype"):
        objective(queries, keys.half())


def test_a_temperature_of_the_call_takes_the_place_of_the_option():
    queries, keys = embeddings()
    expected = dh.objectives.info_nce(temperature=0.5)(queries, keys)
    for temperature in (0.5, torch.tensor(0.5), torch.tensor([0.5], dtype=torch.float64)):
        value = dh.objectives.info_nce()(queries, keys, temperature=temperature)
        torch.testing.assert_close(value, expected)
