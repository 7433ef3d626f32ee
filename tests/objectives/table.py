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

# The objectives of classes: cases by their number of classes, and one refused case of each kind.
BINARY = tuple(case.name for case in EVERYTHING if case.kind == "binary")
THREE_CLASSES = (
    "categorical",
    "bradley_terry",
    "ordinal",
    "ordinal of adjacent classes",
    "ordinal of continuation ratios",
    "independent classes",
)
ALL_CLASSES = tuple(case.name for case in EVERYTHING if case.kind in ("classes", "ordinal"))
NO_CLASSES = ("normal", "poisson", "von_mises", "plackett_luce", "dirichlet", "independent gammas")


def class_probs(dist: Any) -> Tensor:
    """The probabilities (..., K) of classes, or of two outcomes."""
    return torch.stack([1 - dist.probs, dist.probs], -1) if dist.kind == "binary" else dist.probs


def of_label(dist: Any, y: Tensor, losses: Tensor) -> Tensor:
    """The loss at the label, from one for each class; the mean over outputs."""
    values = losses.gather(-1, y.long().unsqueeze(-1)).squeeze(-1)
    return values.flatten(len(dist.batch_shape)).mean(-1) if dist.event_shape else values


def of_probability(loss: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """An objective that is a formula of the label's probability."""
    return lambda dist, y: of_label(dist, y, loss(class_probs(dist)))


def sigmoid_focal_loss(dist: Any, y: Tensor) -> Tensor:
    """The formula of torchvision.ops.sigmoid_focal_loss, with its defaults."""
    p = dist.logits.sigmoid()
    cross_entropy = functional.binary_cross_entropy_with_logits(dist.logits, y, reduction="none")
    p_t = p * y + (1 - p) * (1 - y)
    return (0.25 * y + (1 - 0.25) * (1 - y)) * cross_entropy * (1 - p_t) ** 2


def adjusted_cross_entropy(prior: Sequence[float], strength: float = 1.0) -> Callable:
    def reference(dist: Any, y: Tensor) -> Tensor:
        logits = class_probs(dist).log() + strength * torch.tensor(prior, dtype=dist.dtype).log()
        return of_label(dist, y, -logits.log_softmax(-1))

    return reference


def smoothed_cross_entropy(dist: Any, y: Tensor) -> Tensor:
    log_probs = class_probs(dist).log()
    values = functional.cross_entropy(
        log_probs.flatten(0, -2), y.long().flatten(), label_smoothing=0.1, reduction="none"
    )
    return values.reshape(len(y), -1).mean(-1)


def through(transition: Any) -> Callable[[Any, Tensor], Tensor]:
    """-log of T^T p at the label."""
    return lambda dist, y: of_label(
        dist, y, -(class_probs(dist) @ torch.as_tensor(transition, dtype=dist.dtype)).log()
    )


PRIOR, WEIGHTS = (0.7, 0.2, 0.1), (0.5, 1.0, 3.0)
CONFUSED = [[0.8, 0.2, 0.0], [0.1, 0.6, 0.3], [0.0, 0.0, 1.0]]
FOR_CLASSES = {"cases": BINARY + ALL_CLASSES, "refuses": NO_CLASSES}
CLASSES = [
    Row("focal", of_probability(lambda p: -((1 - p) ** 2) * p.log()), **FOR_CLASSES),
    Row(
        "focal",
        of_probability(lambda p: -((1 - p) ** 0.5) * p.log() * torch.tensor(WEIGHTS)),
        THREE_CLASSES,
        options={"gamma": 0.5, "alpha": WEIGHTS},
    ),
    Row("focal", sigmoid_focal_loss, BINARY, options={"alpha": 0.25}),
    Row(
        "asymmetric",
        lambda dist, y: (
            -torch.where(
                y == 1,
                dist.probs.log(),
                (dist.probs - 0.05).clamp(min=0) ** 4
                * (1 - (dist.probs - 0.05).clamp(min=0)).log(),
            )
        ),
        BINARY,
        refuses=("normal", "poisson", "categorical"),
    ),
    Row(
        "weighted",
        lambda dist, y: functional.cross_entropy(
            class_probs(dist).log(),
            y.long(),
            weight=torch.tensor((1.0, 3.0), dtype=dist.dtype),
            reduction="none",
        ),
        BINARY,
        refuses=("normal",),
        options={"class_weight": (1.0, 3.0)},
    ),
    Row(
        "weighted",
        of_probability(lambda p: -p.log() * torch.tensor(WEIGHTS)),
        THREE_CLASSES,
        options={"class_weight": WEIGHTS},
    ),
    Row(
        "logit_adjusted",
        adjusted_cross_entropy((0.9, 0.1)),
        BINARY,
        refuses=("normal",),
        options={"prior": (0.9, 0.1)},
    ),
    Row(
        "logit_adjusted",
        adjusted_cross_entropy(PRIOR, 0.5),
        THREE_CLASSES,
        options={"prior": PRIOR, "strength": 0.5},
    ),
]

NOISY_LABELS = [
    Row("label_smoothing", smoothed_cross_entropy, **FOR_CLASSES),
    Row("generalized_cross_entropy", of_probability(lambda p: (1 - p**0.7) / 0.7), **FOR_CLASSES),
    Row(
        "symmetric_cross_entropy",
        of_probability(lambda p: -0.1 * p.log() + 4 * (1 - p)),
        **FOR_CLASSES,
    ),
    Row(
        "forward_corrected",
        of_probability(lambda p: -(0.8 * p + 0.2 / p.shape[-1]).log()),
        **FOR_CLASSES,
        options={"transition": 0.2},
    ),
    Row("forward_corrected", through(CONFUSED), THREE_CLASSES, options={"transition": CONFUSED}),
    Row(
        "learned_transition",
        through([[0.9, 0.1], [0.1, 0.9]]),
        BINARY,
        refuses=("normal",),
        options={"num_classes": 2},
    ),
    Row(
        "learned_transition",
        through([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]),
        THREE_CLASSES,
        options={"num_classes": 3, "start": 0.8},
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


SEQUENCES = [
    # over distributions that are no family: see test_ctc.py and test_linear_chain.py
    Row("ctc", lambda dist, y: -dist.log_prob(y), cases=(), refuses=("normal", "categorical")),
    Row("crf", lambda dist, y: -dist.log_prob(y), cases=(), refuses=("normal", "categorical")),
    Row(
        "sequence_cross_entropy",
        lambda dist, y: functional.cross_entropy(
            dist.base.logits.movedim(-1, 1), y.long(), reduction="none"
        ).sum(-1),
        cases=("independent classes",),
        refuses=("normal", "categorical"),
    ),
    # which take more than (dist, y), or something else: see test_info_nce.py and test_elbo.py
    Row("info_nce", lambda dist, y: y, cases=()),
    Row("elbo", lambda dist, y: y, cases=(), refuses=("normal", "categorical")),
    Row("iwae", lambda dist, y: y, cases=(), refuses=("normal", "categorical")),
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

OBJECTIVES = [*LIKELIHOOD, *SCORES, *CLASSES, *NOISY_LABELS, *VARIANCE, *SEQUENCES, *OTHERS]
