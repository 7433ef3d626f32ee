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
from disthead.distributions import CTC
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
        shape: of the raw outputs of a row, where `distribution` takes more than the family's width.
        distribution: what makes the distribution of raw outputs, in place of the family.
    """

    name: str
    family: str
    counterpart: Callable[[Tensor, Tensor], Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    family_options: dict[str, Any] = field(default_factory=dict)
    targets: Callable[[int, torch.Generator], Tensor] = lambda rows, generator: torch.randn(
        rows, generator=generator
    )
    shape: tuple[int, ...] = ()
    distribution: Callable[[Tensor], Any] | None = None


def _classes(
    count: int, shape: tuple[int, ...] = (), first: int = 0
) -> Callable[[int, torch.Generator], Tensor]:
    return lambda rows, generator: torch.randint(first, count, (rows, *shape), generator=generator)


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


def _outcomes(rows: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (rows,), generator=generator).float()


def _sigmoid_focal_loss(raw: Tensor, y: Tensor) -> Tensor:
    """As torchvision.ops.sigmoid_focal_loss has it."""
    logits = raw[:, 0]
    p = logits.sigmoid()
    value = functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
    p_t = p * y + (1 - p) * (1 - y)
    return ((0.25 * y + 0.75 * (1 - y)) * value * (1 - p_t) ** 2).mean()


def _focal_loss(raw: Tensor, y: Tensor) -> Tensor:
    value = functional.cross_entropy(raw, y, reduction="none")
    return ((1 - (-value).exp()) ** 2 * value).mean()


def _asymmetric_loss(raw: Tensor, y: Tensor) -> Tensor:
    p = raw[:, 0].sigmoid()
    rest = (1 - p + 0.05).clamp(max=1)
    value = y * p.clamp(min=1e-8).log() + (1 - y) * rest.clamp(min=1e-8).log()
    return -((1 - p * y - rest * (1 - y)) ** (4 * (1 - y)) * value).mean()


_WEIGHTS = tuple(1.0 + k for k in range(10))
_PRIOR = tuple(weight / sum(_WEIGHTS) for weight in _WEIGHTS)
_OF_TEN: dict[str, Any] = {"family_options": {"num_classes": 10}, "targets": _classes(10)}


def _confused(raw: Tensor, y: Tensor) -> Tensor:
    transition = torch.full((10, 10), 0.01) + 0.9 * torch.eye(10)
    return functional.nll_loss((raw.softmax(-1) @ transition).log(), y)


def _symmetric_cross_entropy(raw: Tensor, y: Tensor) -> Tensor:
    p = raw.softmax(-1).clamp(min=1e-7)
    label = functional.one_hot(y, 10).clamp(min=1e-4)
    return 0.1 * functional.cross_entropy(raw, y) - (p * label.log()).sum(-1).mean()


CLASSES = [
    Row("focal", "bernoulli", _sigmoid_focal_loss, options={"alpha": 0.25}, targets=_outcomes),
    Row("focal", "categorical", _focal_loss, **_OF_TEN),
    Row("asymmetric", "bernoulli", _asymmetric_loss, targets=_outcomes),
    Row(
        "weighted",
        "bernoulli",
        lambda raw, y: functional.binary_cross_entropy_with_logits(
            raw[:, 0], y, pos_weight=torch.tensor(3.0)
        ),
        options={"class_weight": (1.0, 3.0)},
        targets=_outcomes,
    ),
    Row(
        "weighted",
        "categorical",
        lambda raw, y: functional.cross_entropy(raw, y, weight=torch.tensor(_WEIGHTS)),
        options={"class_weight": _WEIGHTS},
        **_OF_TEN,
    ),
    Row(
        "logit_adjusted",
        "categorical",
        lambda raw, y: functional.cross_entropy(raw + torch.tensor(_PRIOR).log(), y),
        options={"prior": _PRIOR},
        **_OF_TEN,
    ),
    Row(
        "label_smoothing",
        "bernoulli",
        lambda raw, y: functional.binary_cross_entropy_with_logits(raw[:, 0], 0.9 * y + 0.05),
        targets=_outcomes,
    ),
    Row(
        "label_smoothing",
        "categorical",
        lambda raw, y: functional.cross_entropy(raw, y, label_smoothing=0.1),
        **_OF_TEN,
    ),
    Row(
        "generalized_cross_entropy",
        "categorical",
        lambda raw, y: ((1 - raw.softmax(-1).gather(-1, y[:, None]) ** 0.7) / 0.7).mean(),
        **_OF_TEN,
    ),
    Row("symmetric_cross_entropy", "categorical", _symmetric_cross_entropy, **_OF_TEN),
    Row("forward_corrected", "categorical", _confused, options={"transition": 0.1}, **_OF_TEN),
    Row("learned_transition", "categorical", _confused, options={"num_classes": 10}, **_OF_TEN),
]


def _normal(raw: Tensor, y: Tensor, mean: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The rows' negative log-likelihoods of normal distributions, and their variances."""
    variance = functional.softplus(raw[:, 1]).square()
    loc = raw[:, 0] if mean is None else mean
    return functional.gaussian_nll_loss(loc, y, variance, full=True, reduction="none"), variance


def _beta_nll(raw: Tensor, y: Tensor) -> Tensor:
    values, variance = _normal(raw, y)
    return (variance.detach() ** 0.5 * values).mean()


def _faithful(raw: Tensor, y: Tensor) -> Tensor:
    values, _ = _normal(raw, y, raw[:, 0].detach())
    return 0.5 * functional.mse_loss(raw[:, 0], y) + values.mean()


VARIANCE = [
    Row("beta_nll", "normal", _beta_nll),
    Row("faithful", "normal", _faithful),
    Row("tempered", "normal", lambda raw, y: 0.5 * _normal(raw, y)[0].mean(), {"power": 0.5}),
]


# Ten positions: eight outcomes and three labels each, or ten classes.
SEQUENCES = [
    Row(
        "ctc",
        "CTC",
        lambda raw, y: functional.ctc_loss(
            raw.log_softmax(-1).transpose(0, 1),
            y,
            torch.full((len(y),), 10),
            torch.full((len(y),), 3),
            reduction="none",
        ).mean(),
        targets=_classes(8, (3,), first=1),
        shape=(10, 8),
        distribution=CTC,
    ),
    Row(
        "sequence_cross_entropy",
        "categorical",
        lambda raw, y: 10 * functional.cross_entropy(raw.flatten(0, 1), y.flatten()),
        targets=_classes(10, (10,)),
        shape=(10, 10),
        distribution=lambda raw: (
            dh.get_family("categorical", num_classes=10).from_raw(raw).to_event(1)
        ),
    ),
]


OTHERS = [
    Row(
        "hinge",
        "bernoulli",
        lambda raw, y: functional.relu(1 - (2 * y - 1) * raw[:, 0]).mean(),
        targets=_classes(2),
    ),
    Row(
        "multiclass_hinge",
        "categorical",
        functional.multi_margin_loss,
        family_options={"num_classes": 10},
        targets=_classes(10),
    ),
]


ROWS = [*LIKELIHOODS, *SCORES, *CLASSES, *VARIANCE, *SEQUENCES, *OTHERS]


def ratio(row: Row, rows: int, seconds: float) -> tuple[float, float]:
    """The objective's time over its counterpart's, and the counterpart's in milliseconds."""
    generator = torch.Generator().manual_seed(0)
    distribution, shape = row.distribution, row.shape
    if distribution is None:
        family = dh.get_family(row.family, **row.family_options)
        distribution, shape = family.from_raw, (family.width(),)
    raw = torch.randn(rows, *shape, generator=generator).requires_grad_()
    y = row.targets(rows, generator)
    objective = dh.objectives.get_objective(row.name, **row.options)
    calls = [
        lambda: loss(objective, distribution(raw), y),
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
