"""Losses of embeddings, vectors whose distances or angles say what belongs together."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from disthead.arrays import as_number, as_tensor, check_type
from disthead.distributions.base import root
from disthead.errors import TargetError, locate
from disthead.special.eager import are_concrete

__all__ = ["circle", "contrastive", "cosine_embedding", "triplet"]


@dataclass(frozen=True)
class contrastive:
    """The contrastive loss of pairs of embeddings, for each pair.

    With the Euclidean distance d of the two it is d^2 / 2 for pairs that belong together (y = 1),
    and max(0, margin - d)^2 / 2 for others (y = -1). Where d is 0 the gradient is 0. Source:
    Hadsell, Chopra and LeCun 2006.

    Args:
        margin: above zero, the distance beyond which pairs that do not belong together are left
            alone.

    Raises:
        ValueError: for another margin.

    >>> import torch
    >>> first, second = torch.zeros(2, 2), torch.tensor([[0.6, 0.8], [0.3, 0.4]])
    >>> contrastive()(first, second, torch.tensor([1, -1]))
    tensor([0.5000, 0.1250])
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        _check_positive(self.margin, "margin")

    def __call__(self, first: Tensor, second: Tensor, y: Any) -> Tensor:
        """The loss of each pair, shape (...,).

        Args:
            first: embeddings, (..., D).
            second: embeddings of the same shape.
            y: 1 for pairs that belong together, -1 for others, (...,).

        Raises:
            TargetError: for other labels, with their rows.
            ValueError: for embeddings of different shapes, and for an empty batch.
        """
        _check_embeddings(first=first, second=second)
        y = _checked_labels(y, first)
        square = (first - second).square().sum(-1)
        apart = (self.margin - root(square)).clamp(min=0).square()
        return 0.5 * torch.where(y == 1, square, apart)


@dataclass(frozen=True)
class triplet:
    """The triplet loss of embeddings, max(0, d(a, p) - d(a, n) + margin), for each triplet.

    The anchor a shall be closer to the positive p, of its own class, than to the negative n, of
    another one, by the margin. It is `torch.nn.functional.triplet_margin_loss`, with Euclidean
    distances d. Source: Schroff, Kalenichenko and Philbin 2015, with squared distances there;
    Balntas and others 2016.

    Args:
        margin: above zero.
        swap: whether the distance of the negative is that from the anchor or the positive,
            whichever is less (Balntas and others 2016).

    Raises:
        ValueError: for other options.

    >>> import torch
    >>> anchor, positive = torch.zeros(1, 2), torch.tensor([[0.3, 0.4]])
    >>> triplet()(anchor, positive, torch.tensor([[0.6, 0.8]]))
    tensor([0.5000])
    """

    margin: float = 1.0
    swap: bool = False

    def __post_init__(self) -> None:
        _check_positive(self.margin, "margin")
        check_type(self.swap, "swap", bool, "True or False")

    def __call__(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of each triplet, shape (...,).

        Args:
            anchor: embeddings, (..., D).
            positive: embeddings of the same shape, each of the class of its anchor.
            negative: embeddings of the same shape, each of another class.

        Raises:
            ValueError: for embeddings of different shapes, and for an empty batch.
        """
        _check_embeddings(anchor=anchor, positive=positive, negative=negative)
        return functional.triplet_margin_loss(
            anchor, positive, negative, margin=self.margin, swap=self.swap, reduction="none"
        )


@dataclass(frozen=True)
class cosine_embedding:
    """The cosine loss of pairs of embeddings, for each pair.

    With the cosine c of the angle between the two it is 1 - c for pairs that belong together
    (y = 1), and max(0, c - margin) for others (y = -1). It is
    `torch.nn.functional.cosine_embedding_loss`.

    Args:
        margin: from -1 to 1, the cosine below which pairs that do not belong together are left
            alone.

    Raises:
        ValueError: for another margin.

    >>> import torch
    >>> first, second = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.6, 0.8]] * 2)
    >>> cosine_embedding()(first, second, torch.tensor([1, -1]))
    tensor([0.4000, 0.6000])
    """

    margin: float = 0.0

    def __post_init__(self) -> None:
        as_number(self.margin, "margin", "a cosine from -1 to 1", lambda m: -1 <= m <= 1)

    def __call__(self, first: Tensor, second: Tensor, y: Any) -> Tensor:
        """The loss of each pair, shape (...,); arguments and errors as for `contrastive`."""
        _check_embeddings(first=first, second=second)
        y, width = _checked_labels(y, first), first.shape[-1]
        values = functional.cosine_embedding_loss(
            first.reshape(-1, width),
            second.reshape(-1, width),
            y.reshape(-1),
            margin=self.margin,
            reduction="none",
        )
        return values.reshape(y.shape)


@dataclass(frozen=True)
class circle:
    """The circle loss of the embeddings of a batch, with each row as an anchor.

    With the cosines s_p to the rows of the anchor's class and s_n to all others it is

        log(1 + sum_n exp(gamma a_n (s_n - m)) sum_p exp(-gamma a_p (s_p - 1 + m))),

    where the weights a_n = max(0, s_n + m) and a_p = max(0, 1 + m - s_p), which count as constants
    in the gradient as in the paper, pull most at the pairs that are farthest from their best. An
    anchor without another row of its class, or without a row of another one, has the loss 0.
    Source: Sun and others 2020.

    Args:
        margin: m, from 0 to below 1: cosines shall be above 1 - m within a class, and below m
            between classes.
        gamma: above zero; larger ones give the worst pairs more weight.

    Raises:
        ValueError: for other options.

    >>> import torch
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> circle(gamma=1.0)(embeddings, torch.tensor([0, 0, 1])).shape
    torch.Size([3])
    """

    margin: float = 0.25
    gamma: float = 256.0

    def __post_init__(self) -> None:
        as_number(self.margin, "margin", "0 or more and below 1", lambda m: 0 <= m < 1)
        _check_positive(self.gamma, "gamma")

    def __call__(self, embeddings: Tensor, labels: Any) -> Tensor:
        """The loss of each row, shape (N,).

        Args:
            embeddings: (N, D), of any length; the loss takes their directions alone.
            labels: the class of each row, (N,).

        Raises:
            ValueError: for other shapes, and for batches in which no row has both another row of
                its class and one of another class.
        """
        _check_embeddings(embeddings=embeddings)
        labels = as_tensor(labels, "labels").to(embeddings.device)
        if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
            raise ValueError(
                "circle takes embeddings (N, D) and one label per row, (N,), got "
                f"{tuple(embeddings.shape)} and {tuple(labels.shape)}."
            )
        directions = functional.normalize(embeddings, dim=-1)
        cosine = directions @ directions.mT
        together = labels.unsqueeze(0) == labels.unsqueeze(1)
        other, diagonal = ~together, torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        together = together & ~diagonal
        has_both = together.any(1) & other.any(1)
        if are_concrete(labels) and not bool(has_both.any()):
            raise ValueError(
                "circle needs at least two rows of one class and one of another in a batch, got "
                f"the labels {labels.unique().tolist()} in {len(labels)} rows. Draw batches with "
                "several rows of each class."
            )
        fixed, m = cosine.detach(), self.margin
        apart = self.gamma * (fixed + m).clamp(min=0) * (cosine - m)
        near = -self.gamma * (1 + m - fixed).clamp(min=0) * (cosine - 1 + m)
        return torch.where(
            has_both, functional.softplus(_log_sum(apart, other) + _log_sum(near, together)), 0.0
        )


def _log_sum(values: Tensor, chosen: Tensor) -> Tensor:
    """Log-sum-exp over the chosen values of each row; any finite number for rows without one."""
    is_empty = ~chosen.any(-1, keepdim=True)
    return torch.where(chosen | is_empty, values, -torch.inf).logsumexp(-1)


def _check_positive(value: float, name: str) -> None:
    as_number(value, name, "a finite number above zero", lambda number: 0 < number < math.inf)


def _check_embeddings(**embeddings: Any) -> None:
    shapes = {}
    for name, values in embeddings.items():
        check_type(values, name, Tensor, "a tensor of embeddings, (..., D)")
        if not values.is_floating_point() or not values.ndim:
            raise ValueError(
                f"{name} must be embeddings, floating-point numbers (..., D), got {values.dtype} "
                f"of shape {tuple(values.shape)}."
            )
        shapes[name] = tuple(values.shape)
    if len(set(shapes.values())) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"embeddings must have the same shape, since they are paired, got {got}.")
    if not next(iter(embeddings.values())).numel():
        raise ValueError("a loss of embeddings needs at least one row, got an empty batch.")


def _checked_labels(y: Any, first: Tensor) -> Tensor:
    """Labels 1 and -1 of pairs, in the dtype of the embeddings."""
    y = as_tensor(y).to(first.device)
    if y.shape != first.shape[:-1]:
        hint = " Try y.squeeze(-1)." if y.shape == (*first.shape[:-1], 1) else ""
        raise ValueError(
            f"y must have one label per pair, shape {tuple(first.shape[:-1])}, got "
            f"{tuple(y.shape)}.{hint}"
        )
    if are_concrete(y):
        wrong = (y != 1) & (y != -1)
        if bool(wrong.any()):
            zeros_and_ones = bool(((y == 0) | (y == 1)).all())
            raise TargetError(
                "y must be 1 for pairs that belong together and -1 for others, got "
                f"{locate(wrong, y)}." + " Try 2 * y - 1." * zeros_and_ones
            )
    return y.to(first.dtype)
