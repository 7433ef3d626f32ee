"""Likelihoods of ordered classes and of rankings under their classical names."""

from typing import Any

from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.independent import each_output
from disthead.losses import as_targets

__all__ = ["list_mle", "ordinal"]


def ordinal(dist: Distribution, y: Any) -> Tensor:
    """The negative log-likelihood of ordered classes, of each row, in nats.

    Of several outputs it is the sum, that of the joint probability. Source: McCullagh 1980.

    Args:
        dist: a distribution of ordered classes, such as the family ordinal makes.
        y: class indices, batch_shape + event_shape.

    Raises:
        NotImplementedError: for other distributions.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> grade = dh.get_family("ordinal", num_classes=3)
    >>> dist = grade.distribution(loc=torch.zeros(2), cutpoints=torch.tensor([-1.0, 1.0]))
    >>> ordinal(dist, torch.tensor([0, 1]))
    tensor([1.3133, 0.7719])
    """
    output = each_output(dist)
    if output.kind != "ordinal":
        reason = "it is for ordered classes, which the family ordinal predicts; nll scores others."
        raise output._unanswered("ordinal", reason)
    return -dist.log_prob(as_targets(dist, y))


def list_mle(dist: Distribution, y: Any) -> Tensor:
    """The negative log-likelihood of a ranking, of each row, in nats.

    It is the sum over ranks of the cross-entropy of the item of that rank among the items that are
    left. Source: Xia and others 2008, Listwise approach to learning to rank.

    Args:
        dist: a distribution of rankings, such as the family plackett_luce makes.
        y: item indices, best first, (..., items); partial rankings as for plackett_luce.

    Raises:
        NotImplementedError: for other distributions.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("plackett_luce", event_shape=(3,)).distribution(logits=torch.zeros(3))
    >>> list_mle(dist, torch.tensor([2, 0, 1])).exp()
    tensor(6.)
    """
    output = each_output(dist)
    if output.kind != "ranking":
        reason = "it is for rankings, which the family plackett_luce predicts; nll scores others."
        raise output._unanswered("list_mle", reason)
    return -dist.log_prob(as_targets(dist, y))
