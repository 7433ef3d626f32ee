"""Likelihoods of classes that are changed so that wrong labels pull less: smoothed, or bounded."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.outputs import mean_over_outputs
from disthead.losses import cross_entropy
from disthead.objectives.class_loss import ClassLoss, check_number
from disthead.objectives.class_targets import as_class_targets, class_output

__all__ = ["generalized_cross_entropy", "label_smoothing", "symmetric_cross_entropy"]


@dataclass(frozen=True)
class label_smoothing:
    """The cross-entropy with labels that are mixed with all classes: (1 - e) q + e / K.

    Written out it is (1 - e) (-log p_y) + e / K sum_k (-log p_k), PyTorch's `label_smoothing`: the
    expected negative log-likelihood of a label that a draw from all classes has replaced with the
    probability e. Predictions then tend to (1 - e) p + e / K, where p is the truth: the
    distribution of such labels. The likelihood of a label that may have been replaced, of which the
    model predicts the one before, is the logarithm of the mixture, -log((1 - e) p_y + e / K):
    that is `forward_corrected(transition=e)`. Source: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna
    2016.

    Args:
        smoothing: e, from 0 to below 1; 0 is the mean of `nll` over outputs.

    Calling it with `(dist, y)` returns one number per row, shape (...,), in nats, the mean over
    outputs. Labels may be soft.

    Raises:
        NotImplementedError: for a distribution that is not of classes.
        ValueError: for another smoothing.
        TargetError: as `disthead.nll`, and for an index that is not a class.

    >>> import disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([0.95, 0.999]))
    >>> label_smoothing(0.1)(dist, torch.tensor([1, 1]))  # 0.95 is best
    tensor([0.1985, 0.3463])
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        expected = "a probability from 0 to below 1, such as 0.1"
        check_number(self, "smoothing", expected, lambda smoothing: 0 <= smoothing < 1)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        y = as_class_targets(dist, y)
        output = class_output(dist, "label_smoothing")
        if output.kind == "binary":
            y = y.to(torch.promote_types(y.dtype, output.dtype))  # half precision rounds e
            mixed = (1 - self.smoothing) * y + self.smoothing / 2
            values = -output.log_prob(torch.where((y >= 0) & (y <= 1), mixed, torch.nan))
        else:
            values = cross_entropy(output, y, label_smoothing=self.smoothing, reduction="none")
        return mean_over_outputs(dist, values)


@dataclass(frozen=True)
class generalized_cross_entropy(ClassLoss):
    """The generalised cross-entropy (1 - p_y^power) / power, for classes and two outcomes.

    It lies between the likelihood (power to 0) and the probability of an error (power = 1). No
    wrong label costs more than 1 / power. The loss is not proper: predictions are surer than the
    truth, proportional to p_k^(1 / (1 - power)). `class_posterior` corrects them. Source: Zhang
    and Sabuncu 2018.

    Args:
        power: above 0, at most 1.

    Calling it with `(dist, y)` returns one number per row, shape (...,), from 0 to 1 / power, the
    mean over outputs. A soft label counts as the expectation over labels drawn from it.

    Raises:
        NotImplementedError: for a distribution that is not of classes.
        ValueError: for another power.
        TargetError: as `disthead.nll`.

    >>> import disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(logits=torch.tensor([0.0, -1000.0]))
    >>> generalized_cross_entropy(power=0.5)(dist, torch.tensor([1, 1]))
    tensor([0.5858, 2.0000])
    """

    power: float = 0.7

    def __post_init__(self) -> None:
        expected = "a number above 0 and at most 1, such as 0.7 (nll is the limit at 0)"
        check_number(self, "power", expected, lambda power: 0 < power <= 1)

    def _of(self, log_prob: Tensor, y: Tensor) -> Tensor:
        return -torch.expm1(self.power * log_prob) / self.power

    def class_posterior(self, dist: Distribution) -> Distribution:
        """The distribution of the label for which `dist` has the least expected loss.

        Its probabilities are proportional to those of `dist` to the power of 1 - power.

        Raises:
            NotImplementedError: for a distribution that is not of classes.
            ValueError: where power is 1: all predictions tend to certainty, whatever the truth.
        """
        if self.power == 1:
            raise ValueError(
                "class_posterior of generalized_cross_entropy needs a power below 1, got 1: all "
                "predictions tend to certainty, and the truth cannot be told from them."
            )
        return super().class_posterior(dist)


@dataclass(frozen=True)
class symmetric_cross_entropy(ClassLoss):
    """The symmetric cross-entropy alpha (-log p_y) + beta (-log_zero) (1 - p_y), for classes.

    The first term is the cross-entropy of the label and p, the second the reverse one, of p and the
    label, where `log_zero` stands for the logarithm of 0. The second is bounded and pulls less at
    wrong labels. The loss is not proper: predictions are surer than the truth. `class_posterior`
    corrects them. Source: Wang, Ma, Chen, Luo, Yi and Bailey 2019.

    Args:
        alpha: the weight of the cross-entropy, above zero.
        beta: the weight of the reverse cross-entropy, zero or more.
        log_zero: below zero.

    Calling it with `(dist, y)` returns one number per row, shape (...,), the mean over outputs. A
    soft label counts as the expectation over labels drawn from it.

    Raises:
        NotImplementedError: for a distribution that is not of classes.
        ValueError: for options that are not valid.
        TargetError: as `disthead.nll`.

    >>> import disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([0.5]))
    >>> symmetric_cross_entropy(alpha=0.1, beta=1, log_zero=-4)(dist, torch.tensor([1]))
    tensor([2.0693])
    """

    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = -4.0

    def __post_init__(self) -> None:
        check_number(self, "alpha", "a number above zero", lambda alpha: 0 < alpha < torch.inf)
        check_number(self, "beta", "a number, zero or more", lambda beta: 0 <= beta < torch.inf)
        check_number(self, "log_zero", "a number below zero", lambda log: -torch.inf < log < 0)

    def _of(self, log_prob: Tensor, y: Tensor) -> Tensor:
        reverse = self.log_zero * torch.expm1(log_prob)
        return -self.alpha * log_prob + self.beta * reverse
