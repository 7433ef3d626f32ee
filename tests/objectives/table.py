"""The table of objectives: one row each. The shared tests run over all rows.

A row says of which cases of `tests/cases.py` an objective is tried, and what it is of one number,
by a formula or by PyTorch's own function. The lists stand in the order of the files of
`disthead/objectives/`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

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

# Those without cases are not called with (dist, y), and have their references in files of their own.
OTHERS = [
    Row("sum_of", lambda dist, y: y, cases=()),
]

OBJECTIVES = [*LIKELIHOOD, *SCORES, *OTHERS]
