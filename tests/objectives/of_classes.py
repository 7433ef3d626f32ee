"""What the tests of objectives of classes share: distributions, minimisers of expected losses."""

from collections.abc import Callable

import torch
from torch import Tensor

import disthead as dh
from disthead.families.bernoulli import Bernoulli
from disthead.families.categorical import Categorical
from disthead.families.ordered_categorical import OrderedCategorical

get_objective = dh.objectives.get_objective

# One of each, for three classes, and those of two outcomes.
OF_THREE = {
    "focal": {"gamma": 2.0},
    "focal of weights": {"gamma": 0.5, "alpha": (0.5, 1.0, 2.0)},
    "weighted": {"class_weight": (0.5, 1.0, 2.0)},
    "logit_adjusted": {"prior": (0.7, 0.2, 0.1), "strength": 0.5},
    "label_smoothing": {"smoothing": 0.2},
    "generalized_cross_entropy": {"power": 0.6},
    "symmetric_cross_entropy": {},
    "forward_corrected": {"transition": ((0.8, 0.2, 0.0), (0.1, 0.6, 0.3), (0.0, 0.0, 1.0))},
    "learned_transition": {"num_classes": 3, "start": 0.8},
}
OF_TWO = {
    "focal": {"gamma": 2.0},
    "focal of a number": {"gamma": 0.5, "alpha": 0.25},
    "asymmetric": {},
    "asymmetric without margin": {"gamma_negative": 0.5, "gamma_positive": 1.5, "margin": 0.0},
    "weighted": {"class_weight": (1.0, 4.0)},
    "logit_adjusted": {"prior": (0.9, 0.1)},
    "label_smoothing": {"smoothing": 0.2},
    "generalized_cross_entropy": {"power": 0.6},
    "symmetric_cross_entropy": {"alpha": 1.0, "beta": 0.5, "log_zero": -3.0},
    "forward_corrected": {"transition": ((0.9, 0.1), (0.0, 1.0))},
    "learned_transition": {"num_classes": 2},
}


def make(name: str, options: dict) -> Callable:
    return get_objective(name.split(" ")[0], **options)


EACH_OF_THREE = [(name, make(name, options)) for name, options in OF_THREE.items()]
EACH_OF_TWO = [(name, make(name, options)) for name, options in OF_TWO.items()]
EACH = [("two: " + name, each, 2) for name, each in EACH_OF_TWO]
EACH += [("three: " + name, each, 3) for name, each in EACH_OF_THREE]


def of_logits(logits: Tensor, kind: str = "classes") -> dh.Distribution:
    """Classes with logits (..., K); of two, the outcomes of a bernoulli distribution."""
    if logits.shape[-1] == 2:
        return Bernoulli(logits=logits[..., 1] - logits[..., 0])
    return (OrderedCategorical if kind == "ordinal" else Categorical)(logits=logits)


def probs_of(dist: dh.Distribution) -> Tensor:
    """Probabilities (..., K)."""
    return torch.stack([1 - dist.probs, dist.probs], -1) if dist.kind == "binary" else dist.probs


def of_labels(objective: Callable, logits: Tensor) -> Tensor:
    """The loss of each label at logits (K,), shape (K,)."""
    classes = len(logits)
    return objective(of_logits(logits.expand(classes, classes)), torch.arange(classes))


def minimiser(objective: Callable, truth: Tensor) -> dh.Distribution:
    """The distribution with the least expected loss where labels have the probabilities `truth`."""
    logits = torch.zeros_like(truth).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits],
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = truth @ of_labels(objective, logits)
        value.backward()
        return value

    optimizer.step(loss)
    return of_logits(logits.detach())
