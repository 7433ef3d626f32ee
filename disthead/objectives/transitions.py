"""Likelihoods of labels that are confused: the true class is seen through a transition matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from disthead.arrays import as_integer, as_tensor
from disthead.distributions.base import Distribution
from disthead.distributions.independent import class_count
from disthead.distributions.outputs import mean_over_outputs
from disthead.errors import locate
from disthead.objectives.class_loss import check_number
from disthead.objectives.class_targets import (
    as_class_targets,
    as_index,
    class_log_probs,
    class_output,
    expected_over_labels,
    infinite_without_label,
)
from disthead.special.probabilities import log_probability, log_sum_exp

__all__ = ["forward_corrected", "learned_transition"]


@dataclass(frozen=True)
class forward_corrected:
    """The negative log-likelihood of labels that are confused at known rates, -log sum_j p_j T_jy.

    T_jk is the probability that the label k is seen where the class is j. The model predicts the
    true class: its predictions tend to p(class | x), not to p(label | x). Known as the forward
    correction. Source: Patrini, Rozza, Menon, Nock and Qu 2017.

    Args:
        transition: the matrix T, (K, K), whose rows sum to 1; or one number e, for labels which a
            draw from all classes has replaced with the probability e: T = (1 - e) I + e / K.

    Calling it with `(dist, y)` returns one number per row, shape (...,), in nats, the mean over
    outputs. A soft label counts as the expectation over labels drawn from it, and takes K times the
    memory of a class index.

    Raises:
        NotImplementedError: for a distribution that is not of classes.
        ValueError: for a matrix whose rows do not sum to 1, with the rows, or that does not fit the
            number of classes.
        TargetError: as `disthead.nll`.

    >>> import disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([0.5, 1.0]))
    >>> forward_corrected(transition=[[1.0, 0.0], [0.3, 0.7]])(dist, torch.tensor([1, 0]))
    tensor([1.0498, 1.2040])
    """

    transition: float | Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        name = "transition of forward_corrected"
        value: Any = self.transition
        expected = (
            "a matrix (K, K) whose rows sum to 1, row j with the probabilities of the labels where "
            "the class is j, or one number from 0 to below 1"
        )
        if isinstance(value, Real):
            check_number(self, "transition", expected, lambda e: 0 <= e < 1)
            return
        if value is None or isinstance(value, str):
            raise ValueError(f"{name} must be {expected}, got {value!r}.")
        matrix = as_tensor(value, name, dtype=torch.float64).double()
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
            raise ValueError(f"{name} must be {expected}, got shape {tuple(matrix.shape)}.")
        total = matrix.sum(-1)
        # single precision rounds the sum of many classes
        wrong = ~((total - 1).abs() < 1e-4) | ~(matrix >= 0).all(-1)
        if bool(wrong.any()):
            columns = (matrix.sum(0) - 1).abs() < 1e-4
            hint = "Divide each row by its sum"
            hint += ", or transpose it: its columns sum to 1." if bool(columns.all()) else "."
            raise ValueError(
                f"{name} must be {expected}, zero or more, got the sums {locate(wrong, total)}. "
                f"{hint}"
            )
        object.__setattr__(self, "transition", tuple(tuple(row) for row in matrix.tolist()))

    @cached_property
    def _matrix(self) -> Tensor:
        return torch.tensor(self.transition, dtype=torch.float64)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        output = class_output(dist, "forward_corrected")
        count, value = class_count(output), self.transition
        if isinstance(value, float):
            matrix = torch.full((count, count), value / count, dtype=torch.float64)
            matrix.diagonal().add_(1 - value)
        else:
            matrix = self._matrix
            _check_count(len(matrix), output, "transition of forward_corrected")
        return _of_seen_label(
            dist, output, y, log_probability(matrix.to(output.device, output.dtype))
        )


@dataclass(eq=False)
class learned_transition(nn.Module):
    """The negative log-likelihood of labels that are confused at rates which are learned, too.

    It is `forward_corrected` with the matrix T = softmax of `logits` over its rows, a parameter
    that the optimiser has to be given: `[*model.parameters(), *objective.parameters()]`. Without
    weight decay on `logits`, or an early stop, a model that can learn any labels by heart leaves T
    undetermined. Source: Sukhbaatar, Bruna, Paluri, Bourdev and Fergus 2015.

    Args:
        num_classes: K, at least 2.
        start: the probability of a right label at the start, above 1 / K and below 1.

    Attributes:
        logits: (K, K), of which T is the softmax over rows.

    Calling it with `(dist, y)` returns one number per row, shape (...,), in nats, the mean over
    outputs. Labels may be soft, as for `forward_corrected`.

    Raises:
        NotImplementedError: for a distribution that is not of classes.
        ValueError: for options that are not valid, and another number of classes.
        TargetError: as `disthead.nll`.

    >>> import disthead as dh
    >>> objective = learned_transition(num_classes=2, start=0.8)
    >>> objective.transition
    tensor([[0.8000, 0.2000],
            [0.2000, 0.8000]])
    >>> dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([1.0]))
    >>> objective(dist, torch.tensor([0])).exp()  # 1 / 0.2
    tensor([5.], grad_fn=<ExpBackward0>)
    """

    num_classes: int | None = None
    start: float = 0.9

    def __post_init__(self) -> None:
        super().__init__()
        count = as_integer(self.num_classes, "num_classes of learned_transition", 2)
        expected = f"a probability above 1 / num_classes = {1 / count:.3g} and below 1"
        check_number(self, "start", expected, lambda start: 1 / count < start < 1)
        matrix = torch.full((count, count), (1 - self.start) / (count - 1))
        self.logits = nn.Parameter(matrix.fill_diagonal_(self.start).log())

    @property
    def transition(self) -> Tensor:
        """The matrix T of the probabilities of labels, (K, K), a row for each class."""
        return self.logits.detach().softmax(-1)

    def forward(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        output = class_output(dist, "learned_transition")
        _check_count(len(self.logits), output, "num_classes of learned_transition")
        return _of_seen_label(dist, output, y, self.logits.log_softmax(-1).to(output.dtype))


def _check_count(count: int, output: Distribution, name: str) -> None:
    if count != class_count(output):
        raise ValueError(
            f"{name} must be for {class_count(output)} classes of {type(output).__name__}, got "
            f"{count}."
        )


def _of_seen_label(dist: Distribution, output: Distribution, y: Any, log_rates: Tensor) -> Tensor:
    """-log sum_j p_j T_jy from log T, (K, K), in logarithms, which keep the smallest p_j."""
    y = as_class_targets(dist, y)
    log_probs = class_log_probs(output)
    of_label = log_rates.mT
    if y.shape == output.batch_shape and output.kind != "binary":
        values = -log_sum_exp(log_probs + of_label[as_index(y, len(of_label))])
        values = infinite_without_label(values, y, len(of_label))
    else:
        losses = -log_sum_exp(log_probs.unsqueeze(-2) + of_label)
        values = expected_over_labels(output, y, losses)
    return mean_over_outputs(dist, values)
