"""The check of targets, shared by all functions of a distribution and observed values."""

import math
import operator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.arrays import check_kind
from disthead.distributions.affine import Affine
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.censored import Ends, check_pairs, is_pair
from disthead.distributions.independent import class_count, each_output
from disthead.errors import TargetError, locate
from disthead.families.family import describe
from disthead.special.eager import is_tracing

__all__ = ["check_target", "check_target_shape", "observed_numbers"]


_TAKE_CENSORED = (
    "NegativeLogLikelihood, PITHistogram, Coverage, CensoredBrierScore, CensoredCRPS and "
    "Concordance of disthead.metrics take censored ones."
)


def check_target(
    dist: Distribution,
    y: Any,
    *,
    weight: Tensor | None = None,
    soft_labels: bool = False,
    ignore_index: int | None = None,
    name: str = "y",
) -> Tensor:
    """The targets as a tensor, after a check that the distribution can have produced them.

    Truth values and bytes become int64, other targets keep their dtype. Inside a compiled or traced
    function only the shape is checked.

    Args:
        dist: a distribution with batch_shape (...,) and any event_shape.
        y: targets of shape batch_shape + event_shape: a tensor, an array, a column of a table, a
            list or a number. Rankings may be shorter than the number of items. Those of a censored
            distribution may be pairs (lower, upper) in one more dimension.
        weight: of shape batch_shape, as `disthead.weights.as_weight` returns it. The targets of
            rows of weight 0 are not checked.
        soft_labels: whether class probabilities of shape (..., K), or numbers from 0 to 1 for two
            outcomes, are accepted too.
        ignore_index: a class index that stands for no class, such as -100; such targets are not
            checked.
        name: what the targets are called in errors.

    Raises:
        ValueError: for another shape.
        TargetError: for targets that are missing, infinite or outside the support, with their rows,
            values and what to try.

    >>> from disthead import get_family
    >>> dist = get_family("bernoulli").distribution(probs=torch.tensor([0.2, 0.7]))
    >>> check_target(dist, [True, False])
    tensor([1, 0])
    >>> check_target(dist, [1, -1])
    Traceback (most recent call last):
    disthead.errors.TargetError: y must be 0 or 1, got 1 of 2 values: -1 at row 1. Try (y + 1) / 2.
    """
    y = dist.as_values(y, name, weight=weight, ignore_index=ignore_index)
    check_kind(y, dist.support, name)
    if y.dtype in (torch.bool, torch.uint8):
        y = y.long()
    is_probabilities = check_target_shape(dist, y, soft_labels=soft_labels, name=name)
    if ignore_index is not None:
        ignore_index = _check_ignore_index(dist, ignore_index, is_probabilities)
    if is_tracing() or y.numel() == 0:
        return y
    if y.shape != dist.batch_shape + dist.event_shape and dist.is_censored:
        _check_pairs(dist, y, weight, name)
        return y
    values = y.detach()
    # one pass over the values; both are NaN where one of them is
    least, most = (end.item() for end in values.aminmax())
    all_finite = math.isfinite(least) and math.isfinite(most)
    if not all_finite:
        finite = values.isfinite()
        missing = ~finite & _counted(values, finite, weight, ignore_index)
        if bool(missing.any()):
            raise TargetError(
                f"{name} must be finite, got NaN or infinity in {locate(missing, values)}. Drop "
                "such rows or give them the weight 0."
            )
    if is_probabilities:
        _check_probabilities(values, weight, name)
        return y
    output = each_output(dist)
    takes_shares = soft_labels and output.kind == "binary"
    support: Any = constraints.unit_interval if takes_shares else output.support
    if all_finite and _holds_between(support, least, most):
        return y
    inside = support.check(values)
    if not bool(inside.all()):
        counted = _counted(values, inside, weight, ignore_index)
        bad = ~inside & counted
        if bool(bad.any()):
            domain = _domain(output) + (
                ", or a probability of 1 between them" if takes_shares else ""
            )
            raise TargetError(
                f"{name} must be {domain}, got {locate(bad, values)}. "
                f"{_advice(output, values[bad], values[counted], name)}"
            )
    return y


def _check_pairs(dist: Distribution, y: Tensor, weight: Tensor | None, name: str) -> None:
    """Check pairs (lower, upper), and those of them that are observed as numbers."""
    pairs = y.detach() if y.is_floating_point() else y.double()
    ends = Ends.of(pairs)
    counted = _counted(ends.lower, ends.is_observed, weight, None)
    check_pairs(pairs, each_output(dist).support, name, counted)
    is_observed = ends.is_observed & counted
    if bool(is_observed.any()):
        # others get a value that is observed, so that errors count all rows
        value = torch.where(is_observed, ends.lower, ends.lower[is_observed][0])
        check_target(dist, value, weight=weight, name=name)


def observed_numbers(dist: Distribution, y: Tensor, what: str, remedy: str = "") -> Tensor:
    """The targets as numbers, where all pairs of a censored distribution are observed.

    Args:
        dist: the distribution.
        y: targets of shape batch_shape + event_shape, or pairs in one more dimension, checked.
        what: needs numbers, for the message.
        remedy: what to try, for the message.

    Raises:
        NotImplementedError: where a pair is censored.
    """
    if not dist.is_censored or not is_pair(y.shape, dist.batch_shape + dist.event_shape):
        return y
    ends = Ends.of(y)
    censored = int((~ends.is_observed).sum())
    if censored:
        raise NotImplementedError(
            f"{what} needs observed targets, got {censored} censored ones of "
            f"{ends.lower.numel()}. {remedy or _TAKE_CENSORED}"
        )
    return ends.lower


def _holds_between(support: Any, least: float, most: float) -> bool:
    """Whether the support is one interval for all rows that holds both numbers."""
    constraint = getattr(support, "base_constraint", support)
    if constraint is constraints.real:
        return True
    if (
        constraint.event_dim
        or constraint.is_discrete
        or not all(isinstance(bound, (int, float)) for bound in vars(constraint).values())
    ):
        return False
    return bool(constraint.check(torch.tensor([least, most], dtype=torch.float64)).all())


def check_target_shape(
    dist: Distribution, y: Tensor, *, soft_labels: bool = False, name: str = "y"
) -> bool:
    """Whether targets are class probabilities, after a check of their shape.

    Nothing is broadcast silently.

    Args:
        dist: a distribution with batch_shape (...,) and any event_shape.
        y: shape batch_shape + event_shape; rankings may be shorter than the number of items,
            sequences of labels than that of positions.
        soft_labels: whether class probabilities are taken too, shape batch_shape + event_shape +
            (K,).
        name: what the targets are called in errors.

    Raises:
        ValueError: for another shape, with what to try. Targets (N, 1) against N distributions
            would score N x N pairs.

    >>> from disthead import get_family
    >>> check_target_shape(get_family("poisson").distribution(rate=torch.ones(3)), torch.ones(3, 1))
    Traceback (most recent call last):
    ValueError: y must have the shape (3,) of the distribution, got (3, 1). Try y.squeeze(-1).
    """
    expected, shape = (*dist.batch_shape, *dist.event_shape), tuple(y.shape)
    if shape == expected:
        return False
    if dist.is_censored and shape == (*expected, 2) and is_pair(shape, expected):
        return False
    output = each_output(dist)
    classes = class_count(output)
    if (
        soft_labels
        and y.is_floating_point()
        and output.kind in ("classes", "ordinal")
        and shape == (*expected, classes)
    ):
        return True
    may_be_shorter = output.kind in ("ranking", "sequence") and len(shape) == len(expected)
    # a partial ranking, or sequences without columns of padding
    if may_be_shorter and shape[:-1] == expected[:-1] and 1 <= shape[-1] < expected[-1]:
        return False
    hint = ""
    if classes and shape == (*expected, classes):
        hint = f" Try {name}.argmax(-1)."
    elif output.kind == "sequence" and len(shape) == len(expected) and shape[:-1] == expected[:-1]:
        hint = f" An input has at most one label per position: try {name}[..., :{expected[-1]}]."
    elif shape == (*expected, 1):
        hint = f" Try {name}.squeeze(-1)."
    elif (*shape, 1) == expected:
        hint = f" Try {name}.unsqueeze(-1)."
    elif output.kind == "binary" and shape == expected[:-1]:  # a class where labels are meant
        hint = (
            f" Class indices need the family categorical, or one label for each class: "
            f"torch.nn.functional.one_hot({name}, {expected[-1]})."
        )
    pairs = f", or {(*expected, 2)} as pairs (lower, upper)" * dist.is_censored
    raise ValueError(
        f"{name} must have the shape {expected} of the distribution{pairs}, got {shape}.{hint}"
    )


def _check_ignore_index(dist: Distribution, ignore_index: Any, is_probabilities: bool) -> int:
    if each_output(dist).kind not in CLASSES:
        raise ValueError(
            f"ignore_index needs classes, got {dist!r}. Give rows that do not count the weight 0."
        )
    if is_probabilities:
        raise ValueError(
            "ignore_index needs class indices, got class probabilities. Give such rows the weight "
            "0."
        )
    try:
        return operator.index(ignore_index)
    except TypeError:
        raise ValueError(
            f"ignore_index must be an integer such as -100, got {ignore_index!r}."
        ) from None


def _counted(y: Tensor, entries: Tensor, weight: Tensor | None, ignore_index: int | None) -> Tensor:
    """Which entries count, in the shape of `entries`, which may lack the last dimensions of `y`."""
    counted = torch.ones_like(entries)
    if weight is not None:
        counted = counted & (weight > 0).reshape(weight.shape + (1,) * (entries.ndim - weight.ndim))
    return counted if ignore_index is None else counted & (y != ignore_index)


def _check_probabilities(y: Tensor, weight: Tensor | None, name: str) -> None:
    total = y.double().sum(-1)
    # Rounding moves each probability by its share of half an eps, and so their sum by no more.
    wrong = (y < 0).any(-1) | ((total - 1).abs() > max(1e-4, torch.finfo(y.dtype).eps))
    wrong = wrong & _counted(y, wrong, weight, None)
    if bool(wrong.any()):
        raise TargetError(
            f"{name} must be class probabilities, zero or more, that sum to 1 over the last "
            f"dimension, got the sums {locate(wrong, total)}. Class indices have one dimension "
            "less."
        )


def _domain(dist: Distribution) -> str:
    """The values that a target may have, as it is said after "must be"."""
    support: Any = dist.support
    if isinstance(dist, Affine):
        return f"loc + scale * x, where x is {_domain(dist.base)}"
    if dist.kind in ("classes", "ordinal"):
        return f"a class index 0, ..., {dist.num_classes - 1} ({dist.num_classes} classes)"
    if dist.kind == "direction":
        return "a direction in radians, from -pi to pi"
    if support is constraints.boolean:
        return "0 or 1"
    if support is constraints.nonnegative_integer:
        return "a whole number, zero or more"
    return describe(support)


def _advice(dist: Distribution, bad: Tensor, counted: Tensor, name: str) -> str:
    """What to try: by all targets that count, and those of them that are outside the support."""
    support: Any = dist.support
    least, most = counted.min().item(), counted.max().item()
    are_whole = bool((counted == counted.floor()).all())
    classes = class_count(dist)
    if dist.kind == "ranking":
        if least >= 1 and most <= dist.num_items:
            return f"Number the items from 0: try {name} - 1."
        return (
            f"Number the items from 0 to {dist.num_items - 1}, each once, and pad a partial "
            "ranking with -1."
        )
    if classes > 0:
        if classes == 2 and bool((counted.abs() == 1).all()):
            return f"Try ({name} + 1) / 2."
        if classes == 2 and not are_whole:
            return "Numbers other than probabilities need a continuous family, such as normal."
        if are_whole and least >= 1 and most <= classes:
            return f"Number the classes from 0: try {name} - 1."
        if bool((bad < 0).any()):
            return (
                f"Number the classes from 0 to {classes - 1}, and give rows without a class "
                "the weight 0."
            )
        return f"Number the classes from 0 to {classes - 1}."
    if dist.kind == "direction":
        return (
            f"Turn degrees into radians with torch.deg2rad({name}), and wrap with "
            "torch.atan2(y.sin(), y.cos())."
        )
    if support is constraints.unit_interval and least >= 0 and most <= 100:
        return "Divide percentages by 100."
    if support.is_discrete and not are_whole:
        return "Counts are whole numbers: numbers that are not need a continuous family."
    return "Drop such rows, give them the weight 0, or take a family whose support holds them."
