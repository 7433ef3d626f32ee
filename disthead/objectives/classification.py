"""Cross-entropies of classes, two outcomes and several labels as objectives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_number, as_tensor
from disthead.distributions.base import Distribution, check_distribution
from disthead.distributions.independent import Independent, class_count, each_output
from disthead.distributions.outputs import mean_over_outputs
from disthead.families.bernoulli import Bernoulli
from disthead.losses import as_labels
from disthead.losses import cross_entropy as cross_entropy_of

__all__ = ["bce", "cross_entropy", "multilabel_bce"]


def bce(dist: Distribution, y: Any) -> Tensor:
    """The binary cross-entropy -y log p - (1 - y) log(1 - p) of each row, in nats.

    Here p is the probability of 1. It is the negative log-likelihood of the family bernoulli, and
    the cross-entropy of two classes. Source: Cox 1958.

    Args:
        dist: a distribution of two outcomes or two classes, of batch_shape (...,).
        y: labels 0 or 1, or probabilities of 1 between them, batch_shape.

    Raises:
        NotImplementedError: for other distributions; of several labels, `multilabel_bce` is the
            mean.
        TargetError: for other labels on the CPU.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(logits=torch.zeros(3))
    >>> bce(dist, torch.tensor([0.0, 1.0, 0.3]))
    tensor([0.6931, 0.6931, 0.6931])
    """
    check_distribution(dist)
    if dist.kind == "classes" and class_count(dist) == 2:
        dist = Bernoulli(logits=dist.logits[..., 1] - dist.logits[..., 0])
    if dist.kind != "binary":
        several = each_output(dist).kind == "binary"
        raise dist._unanswered(
            "bce",
            "it has several outcomes; multilabel_bce is the mean over them."
            if several
            else "it is for two outcomes; cross_entropy scores classes, and nll everything.",
        )
    return -dist.log_prob(as_labels(dist, y))


@dataclass(frozen=True)
class multilabel_bce:
    """The mean over several labels of their binary cross-entropy, for each row, in nats.

    With the probabilities p of 1 it is the mean of -w y log p - (1 - y) log(1 - p). Without a
    weight it is the negative log-likelihood of independent outcomes, divided by their number.

    Args:
        positive_weight: w, a weight for the outcome 1, positive: one number, or one for each label.
            None weighs both outcomes alike. Other than 1 it shifts the predicted log-odds by log w.

    Raises:
        NotImplementedError: when it is called, for anything but several independent outcomes.
        TargetError: for labels on the CPU that are not from 0 to 1.
        ValueError: as `disthead.nll`; for weights that are not positive, and for a number of
            weights that is not that of the labels.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(logits=torch.zeros(1, 2)).to_event(1)
    >>> multilabel_bce()(dist, torch.tensor([[0, 1]]))
    tensor([0.6931])
    >>> multilabel_bce(positive_weight=3.0)(dist, torch.tensor([[0, 1]]))
    tensor([1.3863])
    """

    positive_weight: float | Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.positive_weight is None:
            return
        weight = as_tensor(self.positive_weight, "positive_weight of multilabel_bce").double()
        if weight.ndim > 1 or not bool(((weight > 0) & weight.isfinite()).all()):
            raise ValueError(
                "positive_weight of multilabel_bce must be a positive number, or one for each "
                f"label, such as the number of rows with 0 over those with 1, got "
                f"{self.positive_weight!r}."
            )
        object.__setattr__(  # plain data
            self, "positive_weight", weight.item() if weight.ndim == 0 else tuple(weight.tolist())
        )

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The loss of each row, shape (...,); `y` has the shape batch_shape + event_shape."""
        check_distribution(dist)
        if not (isinstance(dist, Independent) and dist.base.kind == "binary"):
            raise dist._unanswered(
                "multilabel_bce",
                "it is for several independent outcomes; bce scores one."
                if dist.kind == "binary"
                else "it is for several independent outcomes of 0 and 1; nll scores everything.",
            )
        y = as_labels(dist, y)
        if self.positive_weight is None:
            return mean_over_outputs(dist, -dist.base.log_prob(y))
        weight = torch.as_tensor(self.positive_weight, dtype=dist.dtype, device=dist.device)
        if weight.ndim and weight.shape != dist.event_shape:
            raise ValueError(
                "positive_weight of multilabel_bce must be one number, or one for each of the "
                f"{tuple(dist.event_shape)} labels, got {tuple(weight.shape)}."
            )
        failure, success = (dist.base.log_prob(torch.full_like(y, end)) for end in (0, 1))
        positive = torch.where(y == 0, 0.0, weight * y * success)  # 0 times infinity
        return mean_over_outputs(dist, -positive - torch.where(y == 1, 0.0, (1 - y) * failure))


@dataclass(frozen=True)
class cross_entropy:
    """The cross-entropy of each row, the sum over classes k of w_k q_k (-log p_k), in nats.

    Here q is the target, one-hot for a class index or soft, smoothed to (1 - e) q + e / K. Without
    options it is the negative log-likelihood of the family categorical, and of several outputs the
    mean over them. The mean over rows that training takes is not divided by the weights of classes,
    and counts rows with `ignore_index` as 0; `disthead.losses.cross_entropy` gives the mean of
    PyTorch.

    Args:
        class_weight: the weights w, one for each class, zero or more; None weighs all alike.
        label_smoothing: e, from 0 to 1. Source: Szegedy and others 2016.
        ignore_index: a class index whose rows have the loss 0, such as -100.

    Raises:
        NotImplementedError: when it is called, for distributions of anything but classes.
        TargetError: for an index on the CPU that is not a class.
        ValueError: as `disthead.losses.cross_entropy`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("categorical", num_classes=2).distribution(logits=torch.zeros(2, 2))
    >>> cross_entropy()(dist, torch.tensor([0, 1]))
    tensor([0.6931, 0.6931])
    >>> cross_entropy(class_weight=(1.0, 3.0))(dist, torch.tensor([0, 1]))
    tensor([0.6931, 2.0794])
    """

    class_weight: Sequence[float] | None = None
    label_smoothing: float = 0.0
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        as_number(
            self.label_smoothing,
            "label_smoothing of cross_entropy",
            "a number from 0 to 1, such as 0.1",
            lambda share: 0 <= share <= 1,
        )
        if self.class_weight is None:
            return
        weight = as_tensor(self.class_weight, "class_weight of cross_entropy").double()
        if weight.ndim != 1 or not bool(((weight >= 0) & weight.isfinite()).all() & weight.any()):
            raise ValueError(
                "class_weight of cross_entropy must be numbers, one for each class, zero or more "
                f"and not all 0, got {self.class_weight!r}."
            )
        object.__setattr__(self, "class_weight", tuple(weight.tolist()))  # plain data

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The loss of each row, shape (...,); `y` holds class indices or probabilities."""
        output = each_output(dist)
        if output.kind not in ("classes", "ordinal"):
            instead = "bce" if output.kind == "binary" else "nll"
            reason = f"it is for classes with a probability each; {instead} scores others."
            raise output._unanswered("cross_entropy", reason)
        values = cross_entropy_of(
            output,
            y,
            class_weight=self.class_weight,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
            reduction="none",
        )
        return mean_over_outputs(dist, values)
