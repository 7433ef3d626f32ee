"""Likelihoods of classes that are changed where some classes are rare: weights, and the prior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_integer, as_tensor
from disthead.distributions.base import Distribution
from disthead.distributions.independent import each_output
from disthead.distributions.outputs import mean_over_outputs
from disthead.errors import TargetError, locate
from disthead.objectives.class_loss import (
    ClassLoss,
    check_number,
    class_weights,
    numbers_of_classes,
    one_per_class,
)
from disthead.objectives.class_targets import (
    as_class_targets,
    class_log_probs,
    class_output,
    with_logits,
)

__all__ = ["logit_adjusted", "weighted"]


@dataclass(frozen=True)
class weighted(ClassLoss):
    """The negative log-likelihood times the weight of the label's class, -w_y log p_y.

    It is the likelihood of rows in which each class occurs w times as often. Predictions are then
    proportional to w_k p_k, where p is the truth; `class_posterior` divides by the weights. For
    categorical it is `disthead.losses.cross_entropy` with a class_weight, before the mean. Source:
    King and Zeng 2001.

    Args:
        class_weight: one weight per class, finite and zero or more. `balanced` computes them.

    Calling it with `(dist, y)` returns one number per row, shape (...,), in nats times the weight,
    the mean over outputs. A soft label counts as the expectation over labels drawn from it.

    Raises:
        NotImplementedError: for a distribution that is not of classes.
        ValueError: for weights that are not valid or do not fit the number of classes.
        TargetError: as `disthead.nll`.

    >>> import disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([0.2, 0.2]))
    >>> weighted(class_weight=(1, 4))(dist, torch.tensor([0, 1]))
    tensor([0.2231, 6.4378])
    """

    class_weight: Sequence[float] | None = None

    def __post_init__(self) -> None:
        expected = "one weight per class, such as (1, 4); weighted.balanced computes them"
        name = "class_weight of weighted"
        weights = class_weights(self.class_weight, name, expected)  # type: ignore[arg-type]
        object.__setattr__(self, "class_weight", weights)

    @classmethod
    def balanced(cls, y: Any, num_classes: int) -> "weighted":
        """Weights by which all classes weigh alike: rows / (num_classes * rows of the class).

        Source: King and Zeng 2001; scikit-learn calls them "balanced".

        Args:
            y: the class index of each row of the training data.
            num_classes: K.

        Raises:
            TargetError: for labels that are no class, and where a class has no rows.

        >>> weighted.balanced([0, 0, 0, 1], num_classes=2).class_weight
        (0.6666666666666666, 2.0)
        """
        return cls(tuple(1 / (num_classes * share) for share in _shares(y, num_classes)))

    def _of(self, log_prob: Tensor, y: Tensor) -> Tensor:
        return -log_prob

    def _weights(self, output: Distribution) -> Tensor:
        return one_per_class(self.class_weight or (), output, "class_weight of weighted")


@dataclass(frozen=True)
class logit_adjusted:
    """The negative log-likelihood of logits plus strength * log(prior): a prior in the likelihood.

    The classes of the training data have the shares `prior`. With strength = 1 the logits
    themselves are then those of classes that are equally frequent: the most probable class has the
    least balanced error. `at_prior` gives the distribution at any other prior, the one of the
    training data too. Source: Menon, Jayasumana, Rawat, Jain, Veit and Kumar 2021.

    Args:
        prior: the share of each class in the training data, above zero, with the sum 1.
            `from_labels` computes it.
        strength: zero or more; 0 is the mean of `nll` over outputs.

    Calling it with `(dist, y)` returns one number per row, shape (...,), in nats, the mean over
    outputs. Labels may be soft.

    Raises:
        NotImplementedError: for a distribution that is not of classes.
        ValueError: for options that are not valid or do not fit the number of classes.
        TargetError: as `disthead.nll`.

    >>> import disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(logits=torch.zeros(2))
    >>> objective = logit_adjusted(prior=(0.9, 0.1))
    >>> objective(dist, torch.tensor([0, 1])), objective.at_prior(dist, (0.5, 0.5)).probs
    (tensor([0.1054, 2.3026]), tensor([0.5000, 0.5000]))
    """

    prior: Sequence[float] | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "prior", _prior(self.prior, "prior of logit_adjusted"))
        expected = "a number, zero or more"
        check_number(self, "strength", expected, lambda strength: 0 <= strength < torch.inf)

    @classmethod
    def from_labels(cls, y: Any, num_classes: int, strength: float = 1.0) -> "logit_adjusted":
        """The objective with the shares of the classes in the training data as the prior.

        Args:
            y: the class index of each row.
            num_classes: K.
            strength: as of the class.

        Raises:
            TargetError: for labels that are no class, and where a class has no rows.

        >>> logit_adjusted.from_labels([0, 0, 0, 1], num_classes=2).prior
        (0.75, 0.25)
        """
        return cls(_shares(y, num_classes), strength)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        y = as_class_targets(dist, y)
        adjusted = self._shifted(dist, _logs(self.prior or (), self.strength))
        return mean_over_outputs(dist, -each_output(adjusted).log_prob(y))

    def at_prior(self, dist: Distribution, prior: Sequence[float]) -> Distribution:
        """The distribution where classes have other shares, such as those of the test data.

        The model's logits are those of p(k | x) / prior_k^strength of the training data.

        Args:
            dist: a prediction of a model that was trained by this objective.
            prior: the share of each class there; that of the training data gives the distribution
                of labels like those of the training data.

        Raises:
            NotImplementedError: for a distribution that is not of classes.
            ValueError: for a prior that is not valid or does not fit the number of classes.
        """
        there = _logs(_prior(prior, "prior of at_prior"), 1.0)
        here = _logs(self.prior or (), self.strength - 1)
        if len(there) != len(here):
            raise ValueError(
                f"prior of at_prior must have one share per class, {len(here)}, got {len(there)}."
            )
        return self._shifted(dist, [a + b for a, b in zip(there, here, strict=True)])

    def _shifted(self, dist: Distribution, shifts: Sequence[float]) -> Distribution:
        output: Any = class_output(dist, "logit_adjusted")
        shift = one_per_class(shifts, output, "prior of logit_adjusted")
        logits = class_log_probs(output) if output.kind == "binary" else output.logits
        # with the maximum at 0 the sum keeps its digits
        return with_logits(dist, logits - logits.amax(-1, keepdim=True).detach() + shift)


def _logs(prior: Sequence[float], strength: float) -> list[float]:
    return [strength * math.log(share) for share in prior]


def _prior(values: Any, name: str) -> tuple[float, ...]:
    expected = "one share per class, above zero, with the sum 1, such as (0.9, 0.1)"
    prior = numbers_of_classes(values, name, expected)
    if not all(0 < share < 1 for share in prior) or abs(sum(prior) - 1) > 1e-4:
        raise ValueError(
            f"{name} must be {expected}, got {prior} with the sum {sum(prior):.6g}. Divide counts "
            "by their sum, or take logit_adjusted.from_labels(y, num_classes)."
        )
    return prior


def _shares(y: Any, num_classes: int) -> tuple[float, ...]:
    """The share of the rows of each class, where all classes have rows."""
    num_classes = as_integer(num_classes, "num_classes", 2)
    labels = as_tensor(y).reshape(-1)
    wrong = ~((labels >= 0) & (labels < num_classes) & (labels == labels.floor()))
    if bool(wrong.any()):
        raise TargetError(
            f"y must be a class index 0, ..., {num_classes - 1} ({num_classes} classes), got "
            f"{locate(wrong, labels)}. Leave out rows without a class."
        )
    counts = torch.bincount(labels.long(), minlength=num_classes)
    absent = (counts == 0).nonzero().flatten().tolist()
    if absent:
        raise TargetError(
            f"y must have rows of all {num_classes} classes, got none of {absent} in {len(labels)} "
            "rows. Leave these classes out, or give shares or weights of your own."
        )
    return tuple((counts.double() / len(labels)).tolist())
