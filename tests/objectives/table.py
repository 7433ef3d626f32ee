"""The table of objectives: one row each. The shared tests run over all rows.

A row says of which cases of `tests/cases.py` an objective is tried, and what it is of one number,
by a formula or by PyTorch's own function. The lists stand in the order of the files of
`disthead/objectives/`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from disthead.objectives import get_objective
from tests.cases import EVERYTHING, Case


@dataclass(frozen=True)
class Row:
    """An objective, the cases that it is tried with, and what it is of each of their rows.

    Args:
        name: of the objective.
        reference: the same from (dist, y) by a formula or by another library; for cases of one
            number, or of one vector where it takes vectors.
        cases: the names of the cases of `tests/cases.py` that it scores; None for all but
            `refuses`.
        refuses: the names of cases that it refuses with a reason.
        options: of the objective.
        targets: what makes targets of samples, where they are not of the distribution's own form.
    """

    name: str
    reference: Callable[[Any, Tensor], Tensor]
    cases: Sequence[str] | None = None
    refuses: Sequence[str] = ()
    options: dict[str, Any] = field(default_factory=dict)
    targets: Callable[[Tensor], Tensor] | None = None

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name}({options})" if options else self.name

    def make(self) -> Callable:
        return get_objective(self.name, **self.options)

    def scored(self) -> list[Case]:
        names = self.cases
        return [
            case
            for case in EVERYTHING
            if case.name not in self.refuses and (names is None or case.name in names)
        ]

    def refused(self) -> list[Case]:
        return [case for case in EVERYTHING if case.name in self.refuses]


def _log_cosh(dist: Any, y: Tensor) -> Tensor:
    return torch.cosh(y - dist.mean).log()


def _pinball(dist: Any, y: Tensor, level: float) -> Tensor:
    miss = y - dist.icdf(torch.full_like(dist.mean, level))
    return torch.where(miss > 0, level * miss, (level - 1) * miss)


def _interval(dist: Any, y: Tensor, level: float) -> Tensor:
    """The quantile losses of both ends, as Gneiting and Raftery 2007 have it."""
    tail = (1 - level) / 2
    return (_pinball(dist, y, tail) + _pinball(dist, y, 1 - tail)) * 2 / (1 - level)


def _smoothed(dist: Any, y: Tensor) -> Tensor:
    weight = torch.tensor([1.0, 0.5, 2.0], dtype=dist.dtype)
    return functional.cross_entropy(
        dist.logits, y.long(), weight, reduction="none", label_smoothing=0.1
    )


_UNORDERED = ("categorical", "plackett_luce")

LIKELIHOOD = [
    Row("nll", lambda dist, y: -dist.log_prob(y)),
    Row(
        "mse",
        lambda dist, y: functional.mse_loss(dist.mean, y, reduction="none"),
        ("normal", "student_t", "gamma", "poisson", "bernoulli", "normal_mixture"),
        (*_UNORDERED, "ordinal", "cauchy"),
    ),
    Row(
        "mae",
        lambda dist, y: functional.l1_loss(dist.median, y, reduction="none"),
        ("normal", "cauchy", "gamma", "laplace"),
        (*_UNORDERED, "ordinal", "poisson", "multinomial"),
    ),
    Row(
        "huber",
        lambda dist, y: functional.huber_loss(dist.mean, y, reduction="none", delta=0.5),
        ("normal", "student_t", "gamma", "poisson"),
        (*_UNORDERED, "cauchy"),
        options={"delta": 0.5},
    ),
    Row("log_cosh", _log_cosh, ("normal", "student_t", "gamma"), (*_UNORDERED, "cauchy")),
    Row(
        "quantile",
        lambda dist, y: _pinball(dist, y, 0.8),
        ("normal", "student_t", "gamma", "skew_normal", "truncated"),
        (*_UNORDERED, "ordinal", "poisson", "multivariate_normal", "mixture of von_mises"),
        options={"level": 0.8},
    ),
    Row(
        "poisson_deviance",
        lambda dist, y: 2 * (torch.xlogy(y, y / dist.mean) - y + dist.mean),
        ("poisson", "negative_binomial", "gamma", "zero_inflated", "hurdle gamma"),
        (*_UNORDERED, "normal", "bernoulli", "von_mises", "multinomial"),
    ),
    Row(
        "gamma_deviance",
        lambda dist, y: 2 * (y / dist.mean - 1 - torch.log(y / dist.mean)),
        ("gamma", "gamma by mean", "log_normal"),
        (*_UNORDERED, "normal"),
    ),
    Row(
        "tweedie_deviance",
        lambda dist, y: 4 * (y.sqrt() - dist.mean.sqrt()).square() / dist.mean.sqrt(),
        ("gamma", "tweedie", "poisson", "hurdle gamma"),
        (*_UNORDERED, "normal"),
    ),
    Row(
        "bce",
        lambda dist, y: functional.binary_cross_entropy_with_logits(
            dist.logits, y, reduction="none"
        ),
        ("bernoulli",),
        ("categorical", "normal", "independent classes"),
    ),
    Row(
        "cross_entropy",
        lambda dist, y: functional.cross_entropy(dist.logits, y.long(), reduction="none"),
        ("categorical", "bradley_terry", "ordinal"),
        ("bernoulli", "normal", "poisson", "plackett_luce"),
    ),
    Row(
        "cross_entropy",
        _smoothed,
        ("categorical",),
        options={"class_weight": (1.0, 0.5, 2.0), "label_smoothing": 0.1},
    ),
    Row("multilabel_bce", lambda dist, y: y, (), ("bernoulli", "categorical", "normal")),
    Row(
        "ordinal",
        lambda dist, y: -dist.probs.gather(-1, y.long().unsqueeze(-1)).squeeze(-1).log(),
        ("ordinal", "ordinal probit"),
        ("categorical", "normal", "poisson"),
    ),
    Row(
        "list_mle",
        lambda dist, y: sum(
            dist.logits.gather(-1, y[..., rank:]).logsumexp(-1)
            - dist.logits.gather(-1, y[..., rank : rank + 1]).squeeze(-1)
            for rank in range(y.shape[-1])
        ),
        ("plackett_luce",),
        ("categorical", "normal", "ordinal"),
    ),
]

SCORES = [
    Row(
        "crps",
        lambda dist, y: dist.crps(y),
        refuses=tuple(case.name for case in EVERYTHING if "crps" not in case.claims),
    ),
    Row(
        "energy",
        lambda dist, y: dist.crps(y),
        ("normal", "poisson", "von_mises", "hurdle gamma"),
        (*_UNORDERED, "bernoulli", "ordinal", "multinomial", "independent von_mises"),
    ),
    Row(
        "brier",
        lambda dist, y: (
            (dist.probs - functional.one_hot(y.long(), dist.probs.shape[-1])).square().sum(-1)
        ),
        ("categorical", "ordinal", "bradley_terry"),
        ("normal", "poisson", "plackett_luce", "multivariate_normal"),
    ),
    Row("brier", lambda dist, y: (y - dist.probs).square(), ("bernoulli",)),
    Row(
        "rps",
        lambda dist, y: (
            (dist.probs.cumsum(-1) - (y.unsqueeze(-1) <= torch.arange(dist.probs.shape[-1])) * 1.0)
            .square()
            .sum(-1)
        ),
        ("ordinal", "ordinal probit"),
        (*_UNORDERED, "normal", "multivariate_normal", "independent classes"),
    ),
    Row(
        "pinball",
        lambda dist, y: sum(_pinball(dist, y, level) for level in (0.1, 0.5, 0.9)) / 3,
        ("normal", "student_t", "gamma", "hurdle gamma"),
        (*_UNORDERED, "poisson", "ordinal", "multivariate_normal"),
    ),
    Row(
        "interval",
        lambda dist, y: _interval(dist, y, 0.2),
        ("normal", "student_t", "gamma", "skew_normal"),
        (*_UNORDERED, "poisson", "multivariate_normal"),
        options={"level": 0.2},
    ),
    Row(
        "variogram",
        lambda dist, y: y,
        (),
        (*_UNORDERED, "normal", "multinomial", "independent von_mises", "independent poissons"),
    ),
]

OBJECTIVES = [*LIKELIHOOD, *SCORES]
