"""Several processes: the same numbers as one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys, lightning, torch
from disthead.training import DistributionModule, TabularDataModule
torch.set_num_threads(1)
path, devices, objective = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])

class Learned(torch.nn.Module):  # exp(s) * nll - s, with a learned s
    def __init__(self):
        super().__init__()
        self.s = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, dist, y):
        return self.s.exp() * -dist.log_prob(y) - self.s

torch.manual_seed(0)
data = TabularDataModule(dataset="sklearn.diabetes", batch_size=33, test_size=45)
optimizer = {"class_path": "SGD", "init_args": {"lr": 0.1}}
objective = Learned() if objective == "learned" else objective
module = DistributionModule(
    "student_t", hidden_sizes=[8], optimizer=optimizer, objective=objective
)
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto",
    enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    log_every_n_steps=1, logger=False,
)
trainer.fit(module, data)
numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
tested = trainer.test(module, data, verbose=False)[0]
numbers |= {name: float(value) for name, value in tested.items()}
squares = [parameter.double().square().sum() for parameter in module.parameters()]
numbers["weights"] = float(sum(squares))
if trainer.is_global_zero:
    open(path, "w").write(json.dumps(numbers))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective", ["nll", {"name": "map", "scale": 0.1}, {"name": "warm_up", "steps": 10}, "learned"]
)
def test_two_processes_give_the_numbers_of_one(tmp_path, objective):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    numbers = []
    for devices in (1, 2):
        path = tmp_path / f"{devices}.json"
        command = [sys.executable, str(script), str(path), str(devices), json.dumps(objective)]
        subprocess.run(
            command, check=True, cwd=tmp_path, env=environment, capture_output=True, timeout=200
        )
        numbers.append(json.loads(path.read_text()))
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-5)
    assert {"val/nll", "test/nll", "test/nll_marginal", "test/coverage_90"} <= set(numbers[0])
    name = objective if isinstance(objective, str) else objective["name"]
    assert "train/Learned" in numbers[0] if name == "learned" else f"train/{name}" in numbers[0]
