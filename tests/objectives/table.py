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
        is_differentiated: whether its gradient is that of its value; False where a part of it is a
            constant for gradients, whose own tests say what they are.
    """

    name: str
    reference: Callable[[Any, Tensor], Tensor]
    cases: Sequence[str] | None = None
    refuses: Sequence[str] = ()
    options: dict[str, Any] = field(default_factory=dict)
    targets: Callable[[Tensor], Tensor] | None = None
    is_differentiated: bool = True

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


def _beta_nll(dist: Any, y: Tensor) -> Tensor:
    if dist.event_shape:
        return _beta_nll(dist.base, y).flatten(1).sum(1)
    of_scale = type(dist).__name__ in ("Normal", "Laplace", "StudentT", "Cauchy", "LogNormal")
    variance = dist.scale.square() if of_scale else dist.variance
    return variance**0.25 * -dist.log_prob(y)


def _faithful(dist: Any, y: Tensor) -> Tensor:
    if dist.event_shape:
        return _faithful(dist.base, y).flatten(1).sum(1)
    mean = dist.mean if "mean" in dist.parameters else dist.loc
    return 0.5 * (y - mean) ** 2 - dist.log_prob(y)


FEW = ("normal", "poisson", "censored", "independent normals")
VARIANCE = [
    Row(
        "beta_nll",
        _beta_nll,
        cases=(
            *("normal", "laplace", "student_t", "student_t heavy", "cauchy", "log_normal", "gamma"),
            *("mixture of normals", "truncated", "hurdle gamma", "censored", "von_mises"),
            *("bernoulli", "poisson", "negative_binomial", "zero_inflated", "pareto"),
            *("independent normals", "independent gammas", "affine normal", "affine gamma"),
        ),
        refuses=(
            *("categorical", "ordinal", "plackett_luce", "independent classes"),
            *("multivariate_normal", "dirichlet", "von_mises_fisher"),
        ),
        options={"beta": 0.25},
        is_differentiated=False,
    ),
    Row(
        "faithful",
        _faithful,
        cases=(
            *("normal", "laplace", "student_t", "student_t heavy", "logistic", "huber"),
            *("hyperbolic_secant", "generalized_normal", "inverse_gaussian", "gamma by mean"),
            *("beta by mean", "log_normal by mean", "inverse_gaussian by mean"),
            *("negative_binomial by mean", "generalized_poisson", "conway_maxwell_poisson by mean"),
            *("independent normals", "independent student_t", "affine normal", "affine student_t"),
        ),
        refuses=(
            *("gamma", "poisson", "log_normal", "cauchy", "gumbel", "skew_normal", "weibull"),
            *("mixture of normals", "von_mises", "bernoulli", "categorical", "multivariate_normal"),
            *("plackett_luce", "censored", "truncated", "independent gammas", "affine gamma"),
        ),
        is_differentiated=False,
    ),
    Row("warm_up", lambda dist, y: -dist.log_prob(y), cases=FEW, options={"steps": 10}),
    Row("tempered", lambda dist, y: -2.5 * dist.log_prob(y), cases=FEW, options={"power": 2.5}),
    Row("map", lambda dist, y: -dist.log_prob(y), cases=FEW, options={"prior": "laplace"}),
]

OBJECTIVES = [*LIKELIHOOD, *SCORES, *VARIANCE]
