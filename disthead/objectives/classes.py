"""Likelihoods of classes that are changed to look at hard rows, or at one outcome, more closely."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.independent import class_count
from disthead.objectives.class_loss import (
    ClassLoss,
    check_number,
    class_weights,
    complement,
    one_per_class,
    power,
)

__all__ = ["asymmetric", "focal"]

_ZERO_OR_MORE = "a number, zero or more", lambda number: 0 <= number < torch.inf


@dataclass(frozen=True)
class focal(ClassLoss):
    """The focal loss -alpha_y (1 - p_y)^gamma log p_y, for classes and two outcomes.

    Rows that the model has right count less, so that many easy rows of one class do not outweigh
    few hard ones. With gamma = 0 and without alpha it is `nll` of one output. The loss is not
    proper: for gamma > 0 predictions are less sure than the truth, and surer where all of many
    classes are improbable (below 0.1 for gamma = 2). Without alpha they are in the right order.
    `class_posterior` corrects them. Sources: Lin, Goyal, Girshick, He and Dollar 2017;
    Charoenphakdee, Vongkulbhisal, Chairatanakul and Sugiyama 2021.

    Args:
        gamma: zero or more.
        alpha: one weight per class; for two outcomes also one number from 0 to 1, the weight of the
            outcome 1, where 0 has the weight 1 - alpha. None weighs all alike.

    Calling it with `(dist, y)` returns one number per row, shape (...,), the mean over outputs. A
    soft label counts as the expectation over labels drawn from it.

    Raises:
        NotImplementedError: for a distribution that is not of classes.
        ValueError: for options that are not valid, and an alpha that does not fit the number of
            classes.
        TargetError: as `disthead.nll`.

    >>> import disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([0.6, 0.1]))
    >>> focal(gamma=2)(dist, torch.tensor([1, 1]))
    tensor([0.0817, 1.8651])
    """

    gamma: float = 2.0
    alpha: float | Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_number(self, "gamma", *_ZERO_OR_MORE)
        alpha: Any = self.alpha
        if alpha is None:
            return
        expected = (
            "one number from 0 to 1 for two outcomes, or one weight per class, such as (1, 3)"
        )
        if isinstance(alpha, Real):
            check_number(self, "alpha", expected, lambda alpha: 0 <= alpha <= 1)
        else:
            object.__setattr__(self, "alpha", class_weights(alpha, "alpha of focal", expected))

    def _of(self, log_prob: Tensor, y: Tensor) -> Tensor:
        if self.gamma == 0:
            return -log_prob
        return -power(complement(log_prob), self.gamma) * log_prob

    def _weights(self, output: Distribution) -> Tensor | None:
        alpha = self.alpha
        if alpha is None:
            return None
        if isinstance(alpha, float):
            if class_count(output) > 2:
                raise ValueError(
                    f"alpha of focal must have one weight per class, {class_count(output)}, got "
                    f"the number {alpha}, which is for two outcomes. Try alpha="
                    f"{(1,) * class_count(output)}."
                )
            alpha = (1 - alpha, alpha)
        return one_per_class(alpha, output, "alpha of focal")


@dataclass(frozen=True)
class asymmetric(ClassLoss):
    """The asymmetric loss of labels that are mostly absent, for one or many yes-or-no labels.

    With p the probability of 1 and p_m = max(p - margin, 0), the loss is

        -(1 - p)^gamma_positive log p       where y = 1,
        -p_m^gamma_negative log(1 - p_m)    where y = 0.

    A sure and right "no" costs nothing, so that the few labels that are there rule the gradient.
    The loss is not proper: predictions are too high for rare labels. `class_posterior` corrects
    them. With both gammas and the margin at 0 it is the binary cross-entropy. Source: Ridnik,
    Ben-Baruch, Zamir, Noy, Friedman, Protter and Zelnik-Manor 2021, who add up over labels.

    Args:
        gamma_negative: zero or more; usually greater than gamma_positive.
        gamma_positive: zero or more.
        margin: from 0 to below 1: probabilities up to it cost nothing where the label is absent.

    Calling it with `(dist, y)` returns one number per row, shape (...,), the mean over labels. A
    soft label counts as the expectation over labels drawn from it.

    Raises:
        NotImplementedError: for a distribution that is not of two outcomes or two classes.
        ValueError: for options that are not valid.
        TargetError: as `disthead.nll`.

    >>> import disthead as dh
    >>> labels = dh.get_family("bernoulli").distribution(probs=torch.tensor([[0.9, 0.04]]))
    >>> asymmetric()(labels.to_event(1), torch.tensor([[1, 0]]))  # the mean of -log 0.9 and 0
    tensor([0.0527])
    """

    gamma_negative: float = 4.0
    gamma_positive: float = 0.0
    margin: float = 0.05

    def __post_init__(self) -> None:
        check_number(self, "gamma_negative", *_ZERO_OR_MORE)
        check_number(self, "gamma_positive", *_ZERO_OR_MORE)
        expected = "a probability from 0 to below 1, such as 0.05"
        check_number(self, "margin", expected, lambda margin: 0 <= margin < 1)

    def _output(self, dist: Distribution) -> Distribution:
        output = super()._output(dist)
        if class_count(output) != 2:
            raise NotImplementedError(
                f"{type(output).__name__} of {class_count(output)} classes has no asymmetric: it "
                "is for two outcomes, such as each label of several; use focal or nll."
            )
        return output

    def _of(self, log_prob: Tensor, y: Tensor) -> Tensor:
        other = complement(log_prob)  # the probability of the other outcome
        present = -power(other, self.gamma_positive) * log_prob
        # 1 - p_m; without a margin the logarithm is exact also where it is far below zero
        log_rest = (log_prob.exp() + self.margin).clamp(max=1).log() if self.margin else log_prob
        absent = -power((other - self.margin).clamp(min=0), self.gamma_negative) * log_rest
        return torch.where(y == 1, present, absent)
