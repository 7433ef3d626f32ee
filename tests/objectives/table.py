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

from disthead.distributions.independent import each_output
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


LIKELIHOOD = [
    Row("nll", lambda dist, y: -dist.log_prob(y)),
]

SCORES = [
    Row(
        "crps",
        lambda dist, y: dist.crps(y),
        refuses=tuple(case.name for case in EVERYTHING if "crps" not in case.claims),
    ),
]

_NOT_TWO = ("normal", "poisson", "categorical", "ordinal", "plackett_luce")
_NOT_CLASSES = ("normal", "poisson", "bernoulli", "ordinal", "plackett_luce")


def _multi_margin(dist: Any, y: Tensor, **options: Any) -> Tensor:
    logits = each_output(dist).logits
    values = [
        functional.multi_margin_loss(one, label, reduction="none", **options)
        for one, label in zip(logits.reshape(-1, logits.shape[-1]), y.long().flatten(), strict=True)
    ]
    return torch.stack(values).reshape(len(y), -1).mean(1)


# Rows without cases are not called with (dist, y): tests of their own have the references.
OTHERS = [
    Row(
        "hinge",
        lambda dist, y: torch.where(y == 1, 1 - dist.logits, 1 + dist.logits).clamp(min=0),
        cases=("bernoulli",),
        refuses=_NOT_TWO,
    ),
    Row(
        "multiclass_hinge",
        _multi_margin,
        cases=("categorical", "bradley_terry", "independent classes"),
        refuses=_NOT_CLASSES,
    ),
    Row(
        "multiclass_hinge",
        lambda dist, y: _multi_margin(dist, y, margin=0.5, p=2),
        cases=("categorical", "independent classes"),
        refuses=_NOT_CLASSES,
        options={"margin": 0.5, "power": 2},
    ),
    Row(
        "edit_distance_risk",
        lambda dist, y: y,  # random: test_edit_distance.py compares expectations
        cases=(),
        refuses=("normal", "categorical", "independent normals"),
    ),
    *(
        Row(name, lambda dist, y: y, cases=())
        for name in (
            "contrastive",
            "triplet",
            "cosine_embedding",
            "circle",
            "minimax",
            "non_saturating",
            "hinge_gan",
            "wasserstein_gan",
            "sum_of",
        )
    ),
]

OBJECTIVES = [*LIKELIHOOD, *SCORES, *OTHERS]
