"""Losses: the mean of an objective over rows, the negative log-likelihood, the cross-entropy."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from disthead.arrays import as_tensor, check_kind
from disthead.distributions.base import Distribution, check_distribution
from disthead.errors import TargetError, locate
from disthead.families.categorical import Categorical
from disthead.likelihood import LinkedParameters
from disthead.special.eager import are_concrete, is_tracing
from disthead.targets import check_target, check_target_shape, observed_numbers
from disthead.weights import as_weight

__all__ = [
    "as_labels",
    "as_numbers",
    "as_targets",
    "check_raw_outputs",
    "cross_entropy",
    "loss",
    "nll",
    "reduce",
]

_FEW_ROWS = 8

Reduction = Literal["mean", "sum", "none"]
Objective = Callable[[Any, Tensor], Tensor]  # (dist, y) -> one number per row


def loss(
    objective: Objective,
    dist: Distribution,
    y: Any,
    *,
    weight: Any = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The mean of an objective over rows, with weights.

    `loss(disthead.objectives.nll, dist, y)` is `nll(dist, y)`.

    Args:
        objective: a function of (dist, y) that returns one number per row, such as
            `disthead.objectives.crps`.
        dist: a distribution with batch_shape (...,) and event_shape, such as a head returns.
        y: targets of shape batch_shape + event_shape: a tensor, an array, a column of a table or a
            list.
        weight: one weight per row, shape (...,), zero or more, as for `nll`.
        reduction: "mean" over rows, "sum", or "none" for shape (...,), each row times its weight.

    Raises:
        NotImplementedError: where the distribution has no such score, with the reason.
        TargetError, ValueError: as `nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> loss(dh.objectives.crps, dist, torch.tensor([0.0, torch.nan]), weight=[1.0, 0.0])
    tensor(0.2337)
    """
    if weight is None:
        return reduce(objective(dist, as_targets(dist, y)), None, reduction)
    weight = _row_weights(dist, weight, reduction)
    values = _values_of_present_rows(objective, dist, as_targets(dist, y, weight), weight)
    return reduce(values, weight, reduction)


def nll(dist: Distribution, y: Any, *, weight: Any = None, reduction: Reduction = "mean") -> Tensor:
    """Negative log-likelihood -dist.log_prob(y), in nats per row.

    Args:
        dist: a distribution with batch_shape (...,) and event_shape, such as a head returns.
        y: targets of shape batch_shape + event_shape: a tensor, an array, a column of a table or a
            list. Those of a censored distribution may be pairs, batch_shape + event_shape + (2,).
        weight: one weight per row, shape (...,), zero or more. The mean is then sum(weight * nll) /
            sum(weight). A row with the weight 0 is not there: its loss and its gradient are 0
            whatever its target is, NaN too.
        reduction: "mean" over rows, "sum", or "none" for shape (...,), each row times its weight.

    Raises:
        TargetError: for complex targets, and truth values that stand for no outcome.
        ValueError: for a mean over no rows; when the shape of `y` or `weight` does not fit, since
            nothing is broadcast silently: (N, 1) targets against N distributions would score N x N
            pairs; for weights that are negative, NaN, infinite or so large that they overflow, with
            their rows; and for a mean over rows that all have the weight 0 (looked for on the CPU
            only).

    >>> import torch, disthead as dh
    >>> dh.nll(dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0), torch.zeros(2))
    tensor(0.9189)
    """
    if weight is None:
        y = as_targets(dist, y)
        if reduction == "mean" and isinstance(dist, Distribution) and dist.batch_shape.numel():
            return dist._mean_nll(y)
        return reduce(-dist.log_prob(y), None, reduction)
    return loss(_nll_of_rows, dist, y, weight=weight, reduction=reduction)


def cross_entropy(
    dist: Distribution,
    y: Any,
    *,
    class_weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    weight: Any = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of a categorical distribution, in nats per row.

    It is `torch.nn.functional.cross_entropy` with weights of rows. The loss of a row is

        sum_k w_k q_k (-log p_k),

    where q is the target, one-hot or soft, smoothed to (1 - e) q + e / K (Szegedy and others 2016).
    Without options it is `nll`. Many classes cost no more memory than with `nll`.

    Args:
        dist: a categorical distribution with batch_shape (...,) and K classes.
        y: class indices of shape (...,), or floating class probabilities of shape (..., K).
        class_weight: the weights w of the classes, shape (K,). The mean over rows with class
            indices is weighted with them: sum_n w[y_n] loss_n / sum_n w[y_n].
        ignore_index: a class index whose rows have the loss 0 and do not count in the mean, such as
            -100.
        label_smoothing: e, from 0 to 1.
        weight: one weight per row, shape (...,), zero or more; a row with the weight 0 is not
            there.
        reduction: "mean" over rows, "sum", or "none" for shape (...,).

    Raises:
        TargetError: for an index that is not a class, with its row, its value and the number of
            classes. Only targets on the CPU are checked, since reading those of a GPU makes the
            host wait; the loss there is infinite, as with `nll`.
        ValueError: for a distribution that is not categorical, for shapes and options that do not
            fit, and for raw outputs on the CPU that are probabilities already.

    >>> import disthead as dh
    >>> dist = dh.get_family("categorical", num_classes=4).from_raw(torch.zeros(2, 4))
    >>> cross_entropy(dist, torch.tensor([3, -100]), ignore_index=-100, label_smoothing=0.1)
    tensor(1.3863)
    """
    check_distribution(dist)
    if not isinstance(dist, Categorical):
        raise ValueError(
            f"cross_entropy needs a categorical distribution, got {dist!r}. Try nll(dist, y)."
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be from 0 to 1, got {label_smoothing}.")
    check_raw_outputs(dist)
    weight = _row_weights(dist, weight, reduction)
    y = dist.as_values(y, weight=weight, ignore_index=ignore_index)
    classes = dist.num_classes
    if class_weight is not None:
        class_weight = as_tensor(class_weight, "class_weight")
        if class_weight.shape != (classes,):
            raise ValueError(
                f"class_weight must have one value per class, shape ({classes},), got "
                f"{tuple(class_weight.shape)}."
            )
        class_weight = class_weight.to(device=dist.device, dtype=dist.dtype)
    if y.shape != dist.batch_shape and check_target_shape(dist, y, soft_labels=True):
        if ignore_index is not None:
            raise ValueError(
                "ignore_index needs class indices, got class probabilities. Give such rows the "
                "weight 0."
            )
        smoothed = (1 - label_smoothing) * y + label_smoothing / classes
        return nll(
            dist,
            smoothed if class_weight is None else smoothed * class_weight,
            weight=weight,
            reduction=reduction,
        )

    counted = torch.ones_like(y, dtype=torch.bool) if ignore_index is None else y != ignore_index
    if weight is not None and weight.shape == y.shape:
        counted = counted & (weight > 0)
    _check_classes(y, counted, classes)
    index = torch.where(counted, y, 0)
    if label_smoothing:
        everywhere = (
            torch.ones(classes, dtype=dist.dtype, device=dist.device)
            if class_weight is None
            else class_weight
        )
        log_prob, log_prob_sum = dist.log_prob_and_sum(index, everywhere)
    else:
        log_prob, log_prob_sum = dist.log_prob(index), None
    share = counted.to(log_prob.dtype)
    if class_weight is not None:
        share = share * class_weight[torch.where((index >= 0) & (index < classes), index, 0).long()]
    values = torch.where(counted, -share * log_prob, 0.0)
    if log_prob_sum is not None:
        uniform = torch.where(counted, -log_prob_sum, 0.0)
        values = (1 - label_smoothing) * values + label_smoothing / classes * uniform
    if reduction != "mean":
        return reduce(values, weight, reduction)
    return reduce(values, weight, "sum") / reduce(share, weight, "sum")


def as_targets(dist: Distribution, y: Any, weight: Tensor | None = None) -> Tensor:
    """Targets as a tensor of the distribution's shape; their values are not checked.

    Args:
        dist: a distribution with batch_shape and event_shape.
        y: targets of shape batch_shape + event_shape, or class probabilities of shape
            batch_shape + (K,).
        weight: of shape batch_shape; the labels of rows of weight 0 may be missing.

    Raises:
        TargetError: for complex targets, and for truth values that the support does not admit.
        TypeError: for what is no distribution, such as raw outputs.
        ValueError: for another shape.
    """
    check_distribution(dist)
    if not isinstance(y, Tensor):
        y = dist.as_values(y, weight=weight)
    if y.dtype == torch.bool or y.is_complex():
        check_kind(y, dist.support)
    if y.shape != dist.batch_shape + dist.event_shape:
        check_target_shape(dist, y, soft_labels=True)
    return y


def as_labels(dist: Distribution, y: Any) -> Tensor:
    """Labels or probabilities of classes as a tensor of the distribution's shape.

    Their values are checked on the CPU only, since reading those of a GPU makes the host wait.

    Args:
        dist: a distribution of classes, or of several independent outputs of these.
        y: targets of shape batch_shape + event_shape, or class probabilities.

    Raises:
        TargetError: for values that are no label and no probability.
        ValueError: for another shape.
    """
    y = as_targets(dist, y)
    return check_target(dist, y, soft_labels=True) if y.is_cpu and not is_tracing() else y


def as_numbers(dist: Distribution, y: Any, objective: str) -> Tensor:
    """Targets as a tensor of the distribution's shape, for an objective that needs observed ones.

    Args:
        dist: a distribution with batch_shape and event_shape.
        y: targets of shape batch_shape + event_shape, or observed pairs of a censored distribution.
        objective: its name, for the message.

    Raises:
        NotImplementedError: where a pair is censored.
        TargetError, ValueError: as `as_targets`.
    """
    y = as_targets(dist, y)
    return observed_numbers(dist, y, f"the objective {objective!r}", "Train by 'nll'.")


def _nll_of_rows(dist: Distribution, y: Tensor) -> Tensor:
    return -dist.log_prob(y)


def check_raw_outputs(dist: Distribution) -> None:
    """Refuse logits of a batch that are probabilities, to which softmax would be applied again."""
    if not isinstance(dist, Categorical):
        return
    linked: object = dist._linked
    if isinstance(linked, LinkedParameters):
        logits = linked.raw
    elif linked is not None or dist.given_probs is not None or type(dist) is not Categorical:
        return
    else:
        logits = dist.logits
    if not logits.is_cpu or is_tracing() or logits.ndim < 2 or logits.shape[-1] != dist.num_classes:
        return
    logits = logits.detach().reshape(-1, dist.num_classes)
    if len(logits) < _FEW_ROWS or not _are_probabilities(logits[:_FEW_ROWS]):
        return  # a few rows tell nearly always, so that the others are seldom read
    if _are_probabilities(logits):
        raise ValueError(
            f"the raw outputs of all {len(logits)} rows are zero or more and sum to one: a softmax "
            "was applied, and the distribution applies one to its logits again. Leave it out, or "
            "say that they are probabilities: distribution(probs=...) of the family."
        )


def _are_probabilities(values: Tensor) -> bool:
    """Whether all rows (N, K) are zero or more and sum to one."""
    return bool(((values.sum(-1) - 1).abs() <= 1e-5).all() & (values >= 0).all())


def _check_classes(y: Tensor, counted: Tensor, classes: int) -> None:
    if not y.is_cpu or is_tracing():
        return
    wrong = counted & ~((y >= 0) & (y < classes) & (y == y.floor()))
    if wrong.any():
        remedy = (
            "Number the classes from 0, or say which index stands for no class: ignore_index=-100."
            if bool((y[wrong] == y[wrong].floor()).all())
            else f"Class probabilities need one for each class, shape {(*y.shape, classes)}."
        )
        raise TargetError(
            f"y must be a class index 0, ..., {classes - 1} ({classes} classes), got "
            f"{locate(wrong, y)}. {remedy}"
        )


def reduce(values: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    """The weighted mean or sum of values per row, or the values times their weights.

    Args:
        values: shape (...,).
        weight: of the same shape; None weighs all rows alike.
        reduction: "mean", sum(weight * values) / sum(weight); "sum"; or "none" for shape (...,).

    Raises:
        ValueError: for another reduction, and for the mean of an empty batch.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")
    if reduction == "mean" and not values.numel():
        raise ValueError(
            "a mean needs at least one row, got an empty batch: leave it out, or take "
            "reduction='sum'."
        )
    if weight is not None:
        values = values * weight
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    return values.mean() if weight is None else values.sum() / weight.sum()


def _row_weights(dist: Distribution, weight: Any, reduction: Reduction) -> Tensor | None:
    check_distribution(dist)
    return as_weight(weight, dist.batch_shape, device=dist.device, may_be_empty=reduction != "mean")


def _values_of_present_rows(
    objective: Objective, dist: Distribution, y: Tensor, weight: Tensor
) -> Tensor:
    """The objective of the rows with a weight above zero; 0 for the others, with gradient 0."""
    is_there = weight > 0
    if are_concrete(weight):
        if bool(is_there.all()):
            return objective(dist, y)
        values = objective(dist[is_there], y[is_there])
        return values.new_zeros(weight.shape).masked_scatter(is_there, values)
    # Numbers cannot be read here: absent rows get the target of a row that is present.
    rows = y.reshape(weight.numel(), *y.shape[weight.ndim :])
    some_target = rows.index_select(0, is_there.reshape(-1).to(torch.int8).argmax().reshape(1))[0]
    chosen = is_there.reshape(is_there.shape + (1,) * (y.ndim - weight.ndim))
    return torch.where(is_there, objective(dist, torch.where(chosen, y, some_target)), 0.0)
