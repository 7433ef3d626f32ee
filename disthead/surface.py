"""Which family answers which question: found out by asking, not by reading a list."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from disthead import explanation
from disthead.distributions.base import Distribution
from disthead.distributions.independent import class_count
from disthead.families import families

__all__ = ["QUESTIONS", "matrix", "surface"]

_LEVEL = 0.8

QUESTIONS: dict[str, Callable[[Distribution, Tensor], Any]] = {
    "log_prob": lambda dist, y: dist.log_prob(y),
    "cdf": lambda dist, y: dist.cdf(y),
    "log_cdf": lambda dist, y: dist.log_cdf(y),
    "log_survival": lambda dist, y: dist.log_survival(y),
    "cdf_limits": lambda dist, y: dist.cdf_limits(y),
    "icdf": lambda dist, y: dist.icdf(torch.tensor(_LEVEL, dtype=dist.dtype, device=dist.device)),
    "mean": lambda dist, y: dist.mean,
    "median": lambda dist, y: dist.median,
    "mode": lambda dist, y: dist.mode,
    "variance": lambda dist, y: dist.variance,
    "stddev": lambda dist, y: dist.stddev,
    "covariance": lambda dist, y: dist.covariance,
    "marginals": lambda dist, y: dist.marginals.mean,
    "entropy": lambda dist, y: dist.entropy(),
    "sample": lambda dist, y: dist.sample(),
    "rsample": lambda dist, y: dist.rsample(),
    "interval": lambda dist, y: dist.interval(_LEVEL),
    "highest_density": lambda dist, y: dist.highest_density(_LEVEL),
    "pit": lambda dist, y: dist.pit(y, generator=torch.Generator(dist.device).manual_seed(0)),
    "crps": lambda dist, y: dist.crps(y),
    "energy_score": lambda dist, y: dist.energy_score(y),
    "brier": lambda dist, y: dist.brier(y),
    "expected_cost": lambda dist, y: dist.expected_cost(
        1 - torch.eye(class_count(dist), dtype=dist.dtype)
    ),
    "top1": lambda dist, y: dist.top1,
    "pairwise": lambda dist, y: dist.pairwise,
    "kl_divergence": lambda dist, y: kl_divergence(dist, dist),
}


def surface(dist: Distribution, y: Tensor) -> dict[str, str]:
    """For each question "yes", or the reason why the distribution has no answer to it."""
    answers = {}
    for question, ask in QUESTIONS.items():
        try:
            ask(dist, y)
            answers[question] = "yes"
        except NotImplementedError as error:
            answers[question] = str(error) or "no reason given"
    return answers


def matrix() -> str:
    """The table question x family, asked now of a small example of each, and the reasons below it."""
    names = list(families())
    columns = []
    for name in names:
        family = explanation.example(name)
        raw = torch.linspace(-0.5, 0.7, family.width(), dtype=torch.float64).expand(2, -1)
        dist = family.from_raw(raw)
        columns.append(surface(dist, dist.sample(generator=torch.Generator().manual_seed(0))))
    notes: dict[str, int] = {}
    width = max(map(len, QUESTIONS))
    rows = []
    for name, answers in zip(names, columns, strict=True):
        cells = []
        for question, answer in answers.items():
            if answer != "yes":
                reason = answer.partition(": ")[2] or answer
                # The same reason for other questions is one note, though it may name the question
                # it was asked for.
                answer = f"[{notes.setdefault(reason.replace(question, '...'), len(notes) + 1)}]"
            cells.append(answer)
        rows.append((name, cells))
    sizes = [max(len(name), 4) for name, _ in rows]
    head = (
        " " * width
        + "  "
        + "  ".join(name.ljust(size) for (name, _), size in zip(rows, sizes, strict=True))
    )
    lines = [head.rstrip()]
    for index, question in enumerate(QUESTIONS):
        line = "  ".join(
            cells[index].ljust(size) for (_, cells), size in zip(rows, sizes, strict=True)
        )
        lines.append(f"{question.ljust(width)}  {line}".rstrip())
    return "\n".join([*lines, "", *(f"[{number}] {reason}" for reason, number in notes.items())])
