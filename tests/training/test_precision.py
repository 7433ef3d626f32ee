"""bf16-mixed trains to the likelihood of single precision: the backbone rounds, head and loss do
not.
"""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import disthead as dh
from disthead.training import DistributionModule
from tests.cases import CIRCULAR, CIRCULAR_MIXTURES, CLASSES, CONTINUOUS, COUNTS, MIXTURES, Case

SCALAR = CONTINUOUS + MIXTURES + CIRCULAR + CIRCULAR_MIXTURES + COUNTS + CLASSES
SAMPLE = ("normal", "gamma", "poisson", "categorical")
# of a few hundred rows, the fit of a mixture depends on the last bits of its start
ROWS, STEPS, RATE = 4096, 100, 0.02


def table(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows whose raw parameters are linear in their features."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(ROWS, 2, generator=generator)
    weight = torch.nn.functional.normalize(
        torch.randn(2, len(case.raw), generator=generator), dim=0
    )
    torch.manual_seed(0)
    return features, case.from_raw(torch.tensor(case.raw) + 0.6 * features @ weight).sample()


def trained(net: nn.Module, features: torch.Tensor, y: torch.Tensor, bf16: bool) -> float:
    """The nll after the fit, in the precision in which the model was trained."""
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    # to zero, so that both fits end at the optimum and not somewhere around it
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            assert net[0](features).dtype == (torch.bfloat16 if bf16 else torch.float32)
            loss = dh.nll(net(features), y)
        assert loss.dtype == torch.float32
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return float(dh.nll(net(features), y))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=() if case.name in SAMPLE else pytest.mark.slow)
        for case in SCALAR
    ],
)
def test_bf16_trains_to_the_likelihood_of_single_precision(case):
    """Up to a hundredth of what the features are worth, the gap to the marginal fit, or 0.0005
    nats.
    """
    features, y = table(case)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), case.head(8))
    net[-1].initialize(y)
    marginal = float(-dh.marginal(case.family, y, **case.options).log_prob(y).mean())
    single, half = (trained(copy.deepcopy(net), features, y, bf16) for bf16 in (False, True))
    gap = marginal - single
    assert gap > 0.002, "the fit learns something"
    assert abs(half - single) <= max(0.01 * gap, 0.0005), (
        f"{single} nats in float32, {half} in bf16, gap {gap}"
    )


def test_lightning_trains_in_bf16_mixed(trainer):
    """The same through `trainer.precision`."""
    features, y = table(CONTINUOUS[0])
    found, seen = {}, set()
    for precision in ("32-true", "bf16-mixed"):
        torch.manual_seed(0)
        optimizer = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}}
        module = DistributionModule("normal", in_features=2, hidden_sizes=[8], optimizer=optimizer)
        module.backbone.register_forward_hook(lambda module, given, output: seen.add(output.dtype))
        loader = DataLoader(TensorDataset(features, y), batch_size=64)
        trainer(epochs=8, precision=precision).fit(module, loader, loader)
        found[precision] = float(dh.nll(module(features), y).detach())
    assert seen == {torch.float32, torch.bfloat16}
    assert found["bf16-mixed"] == pytest.approx(found["32-true"], abs=0.01)
