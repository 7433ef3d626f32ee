"""What each family supports: every method is called, and none is looked up in a list."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from disthead import explanation
from disthead.distributions.base import Distribution
from disthead.distributions.independent import class_count
from disthead.families import families

__all__ = ["METHODS", "capabilities", "capabilities_table"]

_LEVEL = 0.8

METHODS: dict[str, Callable[[Distribution, Tensor], Any]] = {
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


def capabilities(dist: Distribution, y: Tensor) -> dict[str, str]:
    """For each method of `METHODS` "yes", or the reason why the distribution does not support it.

    Args:
        dist: any distribution.
        y: targets that it can have produced, of shape batch_shape + event_shape.

    >>> from disthead import get_family
    >>> normal = get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> capabilities(normal, torch.zeros(2))["crps"]
    'yes'
    """
    supported = {}
    for method, call in METHODS.items():
        try:
            call(dist, y)
            supported[method] = "yes"
        except NotImplementedError as error:
            supported[method] = str(error) or "no reason given"
    return supported


def capabilities_table() -> str:
    """The table method x family of an example of each family, with the reasons below it.

    A cell is "yes", or the number of the reason why the family does not support the method.
    """
    names = list(families())
    columns = []
    for name in names:
        family = explanation.example(name)
        raw = torch.linspace(-0.5, 0.7, family.width(), dtype=torch.float64).expand(2, -1)
        dist = family.from_raw(raw)
        columns.append(capabilities(dist, dist.sample(generator=torch.Generator().manual_seed(0))))
    notes: dict[str, int] = {}
    width = max(map(len, METHODS))
    rows = []
    for name, supported in zip(names, columns, strict=True):
        cells = []
        for method, cell in supported.items():
            if cell != "yes":
                # Several methods share one note where their reasons differ by the method alone.
                reason = (cell.partition(": ")[2] or cell).replace(method, "...")
                cell = f"[{notes.setdefault(reason, len(notes) + 1)}]"
            cells.append(cell)
        rows.append((name, cells))
    sizes = [max(len(name), 4) for name, _ in rows]
    head = (
        " " * width
        + "  "
        + "  ".join(name.ljust(size) for (name, _), size in zip(rows, sizes, strict=True))
    )
    lines = [head.rstrip()]
    for index, method in enumerate(METHODS):
        line = "  ".join(
            cells[index].ljust(size) for (_, cells), size in zip(rows, sizes, strict=True)
        )
        lines.append(f"{method.ljust(width)}  {line}".rstrip())
    return "\n".join([*lines, "", *(f"[{number}] {reason}" for reason, number in notes.items())])
