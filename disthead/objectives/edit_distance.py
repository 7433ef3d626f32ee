"""The expected edit distance of label sequences."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_integer, as_tensor
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import each_output
from disthead.errors import TargetError, locate
from disthead.special.eager import are_concrete

__all__ = ["edit_distance_risk"]


@dataclass(frozen=True)
class edit_distance_risk:
    """The expected edit distance E[d(Y, y)] of a sampled label sequence Y from y, for each row.

    d counts the labels that are inserted, deleted or replaced (Levenshtein 1966), as word errors
    do. The value is the mean of d over the samples. Its gradient is the score function's,

        sum_i (d_i - mean of the other d) grad log p(Y_i) / samples,

    which has the gradient of the expectation as its own; the other samples are the baseline, which
    takes most of the noise. The value is random, and it moves the probability among sequences that
    are sampled already: start from a model that was trained by the likelihood. Source: Prabhavalkar
    and others 2018, with sampled sequences.

    Args:
        samples: the number of sequences that are drawn for each row, at least 2. They come from
            torch's global generator.

    Raises:
        ValueError: for fewer samples.

    >>> import torch, disthead as dh
    >>> probs = torch.eye(4)[torch.tensor([[0, 1, 2]])]  # 0, 1, 2 with probability 1
    >>> dist = dh.get_family("categorical", num_classes=4).distribution(probs=probs).to_event(1)
    >>> edit_distance_risk()(dist, torch.tensor([[1, 2, 3]]))
    tensor([2.])
    """

    samples: int = 8

    def __post_init__(self) -> None:
        as_integer(self.samples, "samples", least=2)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The risk of each row, shape (...,).

        Args:
            dist: a distribution of label sequences, of batch_shape (...,) and event_shape (T,),
                such as independent classes.
            y: label sequences, (..., S), padded with -1 at their ends; S may differ from T.

        Raises:
            NotImplementedError: for distributions of anything else.
            TargetError: for labels after a padding, and for numbers that are no labels.
            ValueError: for another shape.
        """
        kind: str = each_output(dist).kind
        if len(dist.event_shape) != 1 or kind not in (*CLASSES, "sequence"):
            raise NotImplementedError(
                f"{type(dist).__name__} has no edit_distance_risk: it compares sequences of labels "
                "with each other; classes with event_shape=(T,) are such sequences."
            )
        y = _checked(dist, y)
        drawn = dist.sample(torch.Size((self.samples,)))
        distance = edit_distance(drawn, y.expand(*drawn.shape[:-1], -1)).to(dist.dtype)
        mean = distance.mean(0)
        # (d_i - mean of the others) / samples
        advantage = (distance - mean) / (self.samples - 1)
        score = (advantage * dist.log_prob(drawn)).sum(0)
        return mean + (score - score.detach())


def edit_distance(first: Tensor, second: Tensor) -> Tensor:
    """The least number of labels to insert, delete or replace that makes one sequence the other.

    Args:
        first: label sequences, (..., T), padded with -1 at their ends.
        second: label sequences, (..., S), padded likewise.

    Returns:
        whole numbers, (...,).

    >>> edit_distance(torch.tensor([1, 2, 3]), torch.tensor([2, 3, 4, -1]))
    tensor(2)
    """
    first, second = first.long(), second.long()
    steps = torch.arange(second.shape[-1] + 1, device=second.device)
    # to make the first i labels of one the first j labels of the other, for all j
    costs = steps.expand(*second.shape[:-1], -1)
    for label in first.unbind(-1):
        label = label.unsqueeze(-1)
        replaced = costs[..., :-1] + (label != second)
        best = torch.cat([costs[..., :1] + 1, torch.minimum(replaced, costs[..., 1:] + 1)], -1)
        # inserting labels costs 1 each: the least over k <= j of best[k] + j - k
        best = (best - steps).cummin(-1).values + steps
        costs = torch.where(label >= 0, best, costs)
    return costs.gather(-1, (second >= 0).sum(-1, keepdim=True)).squeeze(-1)


def _checked(dist: Distribution, y: Any) -> Tensor:
    y = as_tensor(y, device=dist.device)
    if y.shape[:-1] != dist.batch_shape or not y.ndim:
        raise ValueError(
            f"y must have a label sequence for each row, shape {(*dist.batch_shape, 'S')}, got "
            f"{tuple(y.shape)}."
        )
    if are_concrete(y):
        is_label = (y >= 0) & (y == y.floor())
        wrong = ~is_label & (y != -1)
        wrong[..., 1:] |= is_label[..., 1:] & ~is_label[..., :-1]
        if bool(wrong.any()):
            raise TargetError(
                "y must be labels 0, 1, ..., padded with -1 at the end of a sequence, got "
                f"{locate(wrong, y)}."
            )
    return y
