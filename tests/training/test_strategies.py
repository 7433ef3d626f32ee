"""Two processes on this machine, by ddp and by sharding (FSDP2): the loss, gradients and weights of
one process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import disthead as dh
from disthead.training import DistributionModule

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
FIT = [
    "--data.dataset",
    "sklearn.diabetes",
    "--data.batch_size",
    "100",
    "--trainer.accelerator",
    "cpu",
]
FIT += ["--model.optimizer", '{"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05}}']
FIT += ["--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false"]


def run(*command: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not check or done.returncode == 0, done.stderr[-2000:]
    return done


# A model by hand, without Lightning: gradients of the sharded model, put together again, are those
# of the whole one.


class Loss(nn.Module):
    """The outermost module returns the loss, a tensor: FSDP2 does not look into distributions."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, features: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return dh.nll(self.model(features), y)


def losses() -> dict[str, Loss]:
    torch.manual_seed(0)
    return {
        "deep": Loss(nn.Linear(3, 8), nn.SiLU(), dh.DistributionHead("gamma", 8)),
        "classes": Loss(
            nn.Linear(3, 8), nn.SiLU(), dh.DistributionHead("categorical", 8, num_classes=5)
        ),
        "linear": Loss(dh.DistributionHead("normal", 3)),
    }


def rows(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    features, y = torch.randn(40, 3, generator=generator), torch.rand(40, generator=generator) + 0.1
    return features, (4 * y).long() if name == "classes" else y


def gradients(loss: Loss, features: torch.Tensor, y: torch.Tensor) -> dict[str, list]:
    value = loss(features, y)
    value.backward()
    whole = {"loss": value.detach()} | {
        name: parameter.grad for name, parameter in loss.named_parameters()
    }
    return {
        name: (v.full_tensor() if hasattr(v, "full_tensor") else v).tolist()
        for name, v in whole.items()
    }


def one_of_two(rank: int, folder: str) -> None:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mesh, found = init_device_mesh("cpu", (2,)), {}
    for name, loss in losses().items():
        for layer in loss.model[:-1]:
            fully_shard(layer, mesh=mesh)
        fully_shard(loss, mesh=mesh)
        assert all(value.placements[0].is_shard() for value in loss.parameters())
        features, y = rows(name)
        found[name] = gradients(loss, features[rank::2], y[rank::2])
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def test_a_sharded_head_has_the_loss_and_gradients_of_one_process(tmp_path):
    code = (
        "import sys; from tests.training.test_strategies import one_of_two; "
        "one_of_two(int(sys.argv[1]), sys.argv[2])"
    )
    command = [sys.executable, "-c", code]
    processes = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], env=ENVIRONMENT) for rank in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    for name, loss in losses().items():
        whole = gradients(loss, *rows(name))
        shares = [process[name].pop("loss") for process in found]
        assert sum(shares) / 2 == pytest.approx(whole.pop("loss"), rel=1e-6)
        for parameter, value in whole.items():
            for process in found:
                torch.testing.assert_close(process[name][parameter], value, rtol=1e-5, atol=1e-6)


# Through Lightning.

SHARDED = """
import sys, lightning, torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard
from disthead.training import DistributionModule, TabularDataModule
torch.set_num_threads(1)

class Sharded(DistributionModule):
    def configure_model(self):
        for part in (self.backbone, self.head):
            fully_shard(part, mesh=self.device_mesh["data_parallel"])

path, devices = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
data = TabularDataModule(dataset="sklearn.diabetes", batch_size=33, test_size=45)
options = {"hidden_sizes": [8], "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.1}}}
module, strategy = DistributionModule("student_t", **options), "auto"
if devices > 1:
    torch.manual_seed(0)
    module = Sharded("student_t", **options)
    strategy = ModelParallelStrategy(devices, 1, save_distributed_checkpoint=False)
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", devices=devices, strategy=strategy, logger=False,
    enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
)
trainer.fit(module, data)
trainer.save_checkpoint(path)
"""


def same_model(one: DistributionModule, other: DistributionModule) -> None:
    for (name, value), found in zip(
        one.state_dict().items(), other.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(
            found, value, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.slow
def test_lightning_shards_and_saves_a_checkpoint_that_loads_anywhere(tmp_path):
    """ModelParallelStrategy, which is FSDP2: the one that runs on CPU."""
    (tmp_path / "train.py").write_text(SHARDED)
    for devices in ("1", "2"):
        run("train.py", f"{devices}.ckpt", devices, folder=tmp_path)
    one, two = (
        DistributionModule.load_from_checkpoint(tmp_path / f"{devices}.ckpt") for devices in "12"
    )
    same_model(one, two)


@pytest.mark.slow
def test_the_command_fits_with_ddp_what_it_fits_alone(tmp_path):
    for devices, strategy in (("1", "auto"), ("2", "ddp")):
        options = [
            "--trainer.devices",
            devices,
            "--trainer.strategy",
            strategy,
            "--checkpoint.dirpath",
            devices,
        ]
        done = run("-m", "disthead", "fit", *FIT, *options, folder=tmp_path)
        assert done.stdout.count("best val/nll") == 1, "the process of rank 0 alone speaks"
    one, two = (
        DistributionModule.load_from_checkpoint(tmp_path / devices / "last.ckpt")
        for devices in "12"
    )
    same_model(one, two)


@pytest.mark.slow
def test_fsdp_without_a_gpu_is_refused_by_name(tmp_path):
    options = ["--trainer.devices", "2", "--trainer.strategy", "fsdp"]
    done = run("-m", "disthead", "fit", *FIT, *options, folder=tmp_path, check=False)
    assert done.returncode != 0
    assert "`fsdp` requires a GPU" in done.stderr
