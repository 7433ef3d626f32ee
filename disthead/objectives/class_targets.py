"""Classes as targets of objectives: outputs, labels and soft labels, and logits of outputs."""

from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import Independent, each_output
from disthead.families.bernoulli import Bernoulli
from disthead.families.categorical import Categorical
from disthead.families.ordered_categorical import OrderedCategorical
from disthead.losses import as_labels, as_targets, check_raw_outputs
from disthead.special.eager import are_concrete
from disthead.special.probabilities import expected

__all__: list[str] = []  # no objective


def as_class_targets(dist: Distribution, y: Any) -> Tensor:
    """Labels or soft labels as a tensor of the distribution's shape.

    A number that is no label has an infinite loss. Rows of soft labels that are no probabilities,
    such as logits, would have a finite one, so they are looked at, on the CPU only.

    Raises:
        TargetError: for soft labels that are negative, not finite, or do not sum to 1.
        ValueError: for another shape.
    """
    y = as_targets(dist, y)
    return y if y.shape == dist.batch_shape + dist.event_shape else as_labels(dist, y)


def class_output(dist: Distribution, name: str) -> Distribution:
    """The distribution of each output, where it is one of classes or of two outcomes.

    Args:
        dist: any distribution.
        name: of the objective that asks.

    Raises:
        NotImplementedError: for another kind of distribution.
        ValueError: for raw outputs that are probabilities, to which softmax is applied again.
    """
    output = each_output(dist)
    check_raw_outputs(output)
    if output.kind not in CLASSES:
        raise NotImplementedError(
            f"{type(output).__name__} has no {name}: it is for classes and two outcomes "
            "(categorical, ordinal, bernoulli); use nll."
        )
    return output


def class_log_probs(output: Any) -> Tensor:
    """The log-probability of each class, shape (..., K)."""
    if output.kind == "binary":
        zero = torch.zeros(output.batch_shape, dtype=output.dtype, device=output.device)
        return torch.stack([output.log_prob(zero), output.log_prob(zero + 1)], -1)
    log_probs: Tensor = output.logits.log_softmax(-1)
    return log_probs


def are_labels(output: Distribution, y: Tensor) -> bool:
    """Whether targets are labels, not probabilities of them.

    Floating targets of two outcomes are labels where their numbers can be read and are 0 or 1.
    """
    if y.shape != output.batch_shape:
        return False
    if output.kind != "binary" or not y.is_floating_point():
        return True
    return are_concrete(y) and not bool((y * (1 - y)).any())


def at_label(values: Tensor, y: Tensor, output: Distribution) -> Tensor:
    """The value of the label, from one for each class, shape (K,)."""
    if output.kind == "binary":  # quicker than by an index
        first, second = values.unbind()
        return first + (second - first) * y
    return values[as_index(y, len(values))]


def expected_over_labels(output: Distribution, y: Tensor, losses: Tensor) -> Tensor:
    """The expectation of losses (..., K) over soft labels, or their value at labels, (...,).

    It is infinite for numbers that are no label, as the negative log-likelihood is.
    """
    if y.shape != output.batch_shape:
        return expected(y, losses)
    if output.kind == "binary":
        y = y if y.is_floating_point() else y.to(losses.dtype)
        value = expected(torch.stack([1 - y, y], -1), losses)
        return torch.where((y >= 0) & (y <= 1), value, torch.inf)
    count = losses.shape[-1]
    value = losses.gather(-1, as_index(y, count).unsqueeze(-1)).squeeze(-1)
    return infinite_without_label(value, y, count)


def infinite_without_label(values: Tensor, y: Tensor, count: int) -> Tensor:
    """The values, infinite where a number is no label, as the negative log-likelihood is."""
    if y.dtype == torch.bool:  # which has no floor, and is a label always
        return values
    return torch.where((y >= 0) & (y < count) & (y == y.floor()), values, torch.inf)


def as_index(y: Tensor, count: int) -> Tensor:
    """Class indices; 0 for numbers that are none, whose loss is infinite whatever is chosen."""
    return torch.where((y >= 0) & (y < count), y, 0).long()


def with_logits(dist: Distribution, logits: Tensor) -> Distribution:
    """The distribution of the same kind and outputs with other logits of its classes, (..., K)."""
    output = each_output(dist)
    new: Distribution
    if output.kind == "binary":
        new = Bernoulli(logits=logits[..., 1] - logits[..., 0])
    elif output.kind == "ordinal":
        new = OrderedCategorical(logits=logits)
    else:
        new = Categorical(logits=logits)
    new.class_labels = output.class_labels
    return new.to_event(dist.count) if isinstance(dist, Independent) else new
