"""What do objectives cost? The time of each over that of PyTorch's own, forward and backward.

    python -m benchmarks.objectives [--rows 65536] [--seconds 1] [--names focal mse]

Both start from the same raw outputs and targets, and run one after the other in each round, on one
thread. A ratio is the median over rounds: 2.0 means twice PyTorch's time. Times are the process's
own. Prints Markdown.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import disthead as dh
from disthead.losses import loss


@dataclass(frozen=True)
class Row:
    """An objective beside its counterpart, on raw outputs of a family.

    Args:
        name: of the objective.
        family: with `options`, what raw outputs are parameters of.
        counterpart: the mean loss from (raw, y) by PyTorch's own functions, as people write it.
        options: of the objective.
        family_options: of `get_family`.
        targets: what makes targets of `(rows, generator)`.
    """

    name: str
    family: str
    counterpart: Callable[[Tensor, Tensor], Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    family_options: dict[str, Any] = field(default_factory=dict)
    targets: Callable[[int, torch.Generator], Tensor] = lambda rows, generator: torch.randn(
        rows, generator=generator
    )


def _classes(count: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda rows, generator: torch.randint(count, (rows,), generator=generator)


LIKELIHOODS = [
    Row(
        "nll",
        "normal",
        lambda raw, y: functional.gaussian_nll_loss(
            raw[:, 0], y, functional.softplus(raw[:, 1]).square(), full=True
        ),
    ),
    Row(
        "nll",
        "categorical",
        functional.cross_entropy,
        family_options={"num_classes": 10},
        targets=_classes(10),
    ),
    Row("mse", "normal", lambda raw, y: functional.mse_loss(raw[:, 0], y)),
    Row("mae", "laplace", lambda raw, y: functional.l1_loss(raw[:, 0], y)),
    Row("huber", "normal", lambda raw, y: functional.huber_loss(raw[:, 0], y)),
    Row(
        "poisson_deviance",
        "poisson",
        lambda raw, y: functional.poisson_nll_loss(functional.softplus(raw[:, 0]), y, False, True),
        targets=lambda rows, generator: torch.randint(5, (rows,), generator=generator).float(),
    ),
    Row(
        "bce",
        "bernoulli",
        lambda raw, y: functional.binary_cross_entropy_with_logits(raw[:, 0], y),
        targets=lambda rows, generator: torch.randint(2, (rows,), generator=generator).float(),
    ),
    Row(
        "cross_entropy",
        "categorical",
        functional.cross_entropy,
        family_options={"num_classes": 10},
        targets=_classes(10),
    ),
    Row(
        "cross_entropy",
        "categorical",
        lambda raw, y: functional.cross_entropy(raw, y, label_smoothing=0.1),
        options={"label_smoothing": 0.1},
        family_options={"num_classes": 10},
        targets=_classes(10),
    ),
]

SCORES = [
    Row(
        "brier",
        "bernoulli",
        lambda raw, y: functional.mse_loss(raw[:, 0].sigmoid(), y),
        targets=lambda rows, generator: torch.randint(2, (rows,), generator=generator).float(),
    ),
    Row(
        "brier",
        "categorical",
        lambda raw, y: (
            10 * functional.mse_loss(raw.softmax(-1), functional.one_hot(y, 10).to(raw.dtype))
        ),
        family_options={"num_classes": 10},
        targets=_classes(10),
    ),
]

ROWS = [*LIKELIHOODS, *SCORES]


def ratio(row: Row, rows: int, seconds: float) -> tuple[float, float]:
    """The objective's time over its counterpart's, and the counterpart's in milliseconds."""
    generator = torch.Generator().manual_seed(0)
    family = dh.get_family(row.family, **row.family_options)
    raw = torch.randn(rows, family.width(), generator=generator).requires_grad_()
    y = row.targets(rows, generator)
    objective = dh.objectives.get_objective(row.name, **row.options)
    calls = [
        lambda: loss(objective, family.from_raw(raw), y),
        lambda: row.counterpart(raw, y),
    ]
    times: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 7:
        for call, kept in zip(calls, times, strict=True):
            start = time.process_time()
            call().backward()
            kept.append(time.process_time() - start)
            raw.grad = None
    ours, theirs = (kept[2:] for kept in times)  # the first two warm up
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), 1e3 * statistics.median(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=65536)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--names", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| objective | family | ratio to PyTorch | PyTorch, ms |\n|---|---|---|---|")
    for row in ROWS:
        if arguments.names and row.name not in arguments.names:
            continue
        times, theirs = ratio(row, arguments.rows, arguments.seconds)
        options = ", ".join(f"{name}={value}" for name, value in row.options.items())
        print(f"| {row.name} {options} | {row.family} | {times:.2f} | {theirs:.2f} |", flush=True)


if __name__ == "__main__":
    main()
