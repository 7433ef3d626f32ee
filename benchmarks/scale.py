"""Do heads with very many outputs train, and what do they take? Beside what people write by hand,
in time and memory.

    python -m benchmarks.scale [--parts classes rankings mixtures normals low_rank] [--rows 512]
    [--rounds 5]

Each part trains a head of the size in the table for a few steps of Adam, and the same linear layer
with the loss of its peer, in turns in one process: `time` is the median over rounds of the ratio of
their processor times, ours by theirs. Memory is measured in a process of its own for each: the
high-water mark of the resident set (VmHWM, which Linux alone has) during two steps, over what the
process held with model, data and the loaded libraries. It counts the gradients of weights, which
both need. One thread. `--rows` replaces the batch size of every part. Prints Markdown; the peer of
`classes` takes some 6 GB for its logits.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributions as td
from torch.nn.functional import cross_entropy, softplus

import disthead as dh
from benchmarks.speed import _mixture, _multivariate_normal

Loss = Callable[[Tensor, Tensor], Tensor]
LOW_RANK = (10_000, 5)


@dataclass(frozen=True)
class Part:
    """A head of `family`, its batch size, and the negative log-likelihood that a peer makes of raw
    outputs and targets.
    """

    title: str
    family: str
    options: dict
    rows: int
    peer: str
    peer_loss: Loss
    targets: Callable[[int], Tensor]
    features: int = 64


def _of(distribution: Callable[[Tensor], td.Distribution]) -> Loss:
    return lambda raw, y: -distribution(raw).log_prob(y).mean()


def _list_mle(raw: Tensor, y: Tensor) -> Tensor:
    chosen = raw.gather(-1, y)
    return (chosen.flip(-1).logcumsumexp(-1).flip(-1) - chosen).sum(-1).mean()


def _low_rank(raw: Tensor) -> td.Distribution:
    size, rank = LOW_RANK
    loc, factor, diagonal = raw.split([size, size * rank, size], -1)
    return td.LowRankMultivariateNormal(loc, factor.unflatten(-1, (size, rank)), softplus(diagonal))


PARTS = {
    "classes": Part(
        "categorical of 128,000 classes", "categorical", {"num_classes": 128_000}, 4096,
        "F.cross_entropy", cross_entropy, lambda rows: torch.randint(128_000, (rows,)),
    ),
    "rankings": Part(
        "Plackett-Luce over 1,000 items", "plackett_luce", {"event_shape": (1000,)}, 4096,
        "gather, logcumsumexp", _list_mle, lambda rows: torch.rand(rows, 1000).argsort(-1),
    ),
    "mixtures": Part(
        "mixture of 32 normals", "normal_mixture", {"num_components": 32}, 65_536,
        "torch.distributions", _of(lambda raw: _mixture(td, raw)), torch.randn,
    ),
    "normals": Part(
        "multivariate normal of dimension 64", "multivariate_normal", {"event_shape": (64,)}, 1024,
        "torch.distributions", _of(lambda raw: _multivariate_normal(td, raw)),
        lambda rows: torch.randn(rows, 64),
    ),
    "low_rank": Part(
        "normal of dimension 10,000 and rank 5", "multivariate_normal",
        {"event_shape": LOW_RANK[:1], "rank": LOW_RANK[1]}, 128,
        "torch.distributions", _of(_low_rank), lambda rows: torch.randn(rows, LOW_RANK[0]),
    ),
}  # fmt: skip


def trainer(part: Part, ours: bool, rows: int) -> Callable[[], float]:
    """A function that takes one step and gives its loss."""
    torch.manual_seed(0)
    head = dh.DistributionHead(part.family, part.features, **part.options)
    with torch.no_grad():
        head.linear.weight.mul_(0.1)  # a start from which the densities are ordinary numbers
    layer: nn.Module = head if ours else head.linear
    features, y = torch.randn(rows, part.features), part.targets(rows)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)

    def step() -> float:
        loss = dh.nll(head(features), y) if ours else part.peer_loss(layer(features), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(part: Part, rows: int, rounds: int) -> dict[str, float]:
    """Seconds a step, the ratio to the peer, and the loss of the first and the last step."""
    own, peer = trainer(part, True, rows), trainer(part, False, rows)
    losses, times, ratios = [], [], []
    for _ in range(rounds + 1):
        start = time.process_time()
        losses.append(own())
        middle = time.process_time()
        peer()
        times.append(middle - start)
        ratios.append((middle - start) / (time.process_time() - middle))
    return {
        "first": losses[0], "last": losses[-1],
        "seconds": statistics.median(times[1:]), "ratio": statistics.median(ratios[1:]),
    }  # fmt: skip


def memory(part: Part, ours: bool, rows: int) -> float:
    """MiB at the high-water mark of two steps, over what was there before; for a process that has
    done nothing else.
    """
    trainer(part, ours, 2)()  # what is loaded by the first step
    step = trainer(part, ours, rows)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    step()
    step()
    return _resident("VmHWM") - before


def _resident(line: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) for text in lines if text.startswith(line)) / 1024


def _memory_of_process(name: str, side: str, rows: int) -> float:
    command = [
        sys.executable,
        "-m",
        "benchmarks.scale",
        "--parts",
        name,
        "--rows",
        str(rows),
        "--memory",
        side,
    ]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--rows", type=int, help="batch size of every part")
    parser.add_argument(
        "--rounds", type=int, default=5, help="steps of each side, after a first one"
    )
    parser.add_argument(
        "--memory", choices=["ours", "peer"], help=argparse.SUPPRESS
    )  # what the processes are called with
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        print(memory(PARTS[arguments.parts[0]], arguments.memory == "ours", arguments.rows))
        return
    print(
        "| head on 64 features | rows | seconds a step | loss, first to last | peer | time | "
        "MiB | peer's | memory |"
    )
    print("|---" * 9 + "|")
    for name in arguments.parts:
        part = PARTS[name]
        rows = arguments.rows or part.rows
        own, peer = (_memory_of_process(name, side, rows) for side in ("ours", "peer"))
        found = measure(part, rows, arguments.rounds)
        print(
            f"| {part.title} | {rows} | {found['seconds']:.3g} | {found['first']:.5g} to "
            f"{found['last']:.5g} "
            f"| {part.peer} | {found['ratio']:.2f} | {own:.0f} | {peer:.0f} | {own / peer:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
