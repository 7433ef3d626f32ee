"""Classes spread over two processes: loss and gradients of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import disthead as dh
from disthead.parallel import parallelize

SCRIPT = """
import sys, torch
import torch.distributed as distributed
from torch.distributed.device_mesh import init_device_mesh
import disthead as dh
from disthead.losses import cross_entropy
from disthead.parallel import parallelize

torch.set_num_threads(1)
rank, path = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method="file://" + path, rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))
torch.manual_seed(0)
one = dh.DistributionHead("categorical", 5, num_classes=301).double()
many = dh.DistributionHead("categorical", 5, num_classes=301).double()
many.load_state_dict(one.state_dict())
parallelize(many, mesh)
x = torch.randn(40, 5, dtype=torch.float64, requires_grad=True)
y = torch.randint(301, (40,))
class_weight = torch.rand(301, dtype=torch.float64)

def check(loss):
    results = []
    for head in (one, many):
        head.zero_grad()
        x.grad = None
        value = loss(head(x))
        value.backward()
        grads = [p.grad for p in head.parameters()]
        grads = [g.full_tensor() if hasattr(g, "full_tensor") else g for g in grads]
        results.append([value, x.grad, *grads])
    torch.testing.assert_close(results[0], results[1])

assert many.linear.weight.to_local().shape[0] == (151 if rank == 0 else 150)
check(lambda dist: dh.nll(dist, y))
check(lambda dist: cross_entropy(dist, y, class_weight=class_weight, label_smoothing=0.1))
check(lambda dist: dist.entropy().sum())
assert torch.equal(one(x).mode, many(x).mode)
for head in (one, many):
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        dh.nll(head(x), y).backward()
        optimizer.step()
torch.testing.assert_close(one(x).probs, many(x).probs)
distributed.destroy_process_group()
"""


def test_two_processes_match_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    commands = [
        [sys.executable, str(script), str(rank), str(tmp_path / "store")] for rank in range(2)
    ]
    logs = [tmp_path / f"{rank}.log" for rank in range(2)]
    processes = []
    try:
        for command, log in zip(commands, logs, strict=True):
            with log.open("w") as stream:
                processes.append(subprocess.Popen(command, env=environment, stderr=stream))
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0, 0], "\n".join(log.read_text() for log in logs)


def test_other_heads_are_refused():
    with pytest.raises(ValueError, match="one categorical output"):
        parallelize(dh.DistributionHead("normal", 3), mesh=None)
