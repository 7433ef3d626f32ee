"""Margin losses, which separate classes and predict no probabilities."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from disthead.arrays import as_number
from disthead.distributions.base import Distribution
from disthead.distributions.independent import each_output
from disthead.distributions.outputs import mean_over_outputs
from disthead.families.bernoulli import Bernoulli
from disthead.families.categorical import Categorical
from disthead.losses import as_targets
from disthead.special.eager import are_concrete
from disthead.targets import check_target

__all__ = ["hinge", "multiclass_hinge"]


def hinge(dist: Distribution, y: Any) -> Tensor:
    """The hinge loss of two outcomes, max(0, 1 - s z), for each row.

    z is the logit, and s = 2 y - 1 is the sign of the outcome. The best z is 1 where y = 1 is the
    more probable outcome and -1 where it is not, so that the sign of the logit is learned, and
    `probs` are no probabilities afterwards. `disthead.calibration.VectorScaling`, fitted to
    held-out rows, makes probabilities of them (Platt 1999). Of several outcomes it is the mean over
    them. Source: Cortes and Vapnik 1995.

    Args:
        dist: a bernoulli distribution of batch_shape (...,), or several independent ones.
        y: 0 or 1, batch_shape + event_shape.

    Raises:
        NotImplementedError: for distributions of anything but two outcomes.
        TargetError: for targets that are neither 0 nor 1, with their rows.
        ValueError: for another shape.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(logits=torch.tensor([3.0, 3.0]))
    >>> hinge(dist, torch.tensor([1, 0]))
    tensor([0., 4.])
    """
    output = each_output(dist)
    if not isinstance(output, Bernoulli):
        raise NotImplementedError(
            f"{type(output).__name__} has no hinge: it is the loss of one logit for two outcomes; "
            "the family bernoulli has one, and classes have multiclass_hinge."
        )
    y = _checked(dist, y)
    sign = 2 * y.to(output.dtype) - 1
    return mean_over_outputs(dist, (1 - sign * output.logits).relu())


@dataclass(frozen=True)
class multiclass_hinge:
    """The hinge loss of several classes, sum over k != y of max(0, margin - z_y + z_k)^power / K.

    z are the K logits. The logit of the right class shall exceed every other one by the margin, and
    nothing is gained by more. `probs` are no probabilities afterwards;
    `disthead.calibration.VectorScaling`, fitted to held-out rows, makes some of them. Of several
    outputs it is the mean over them. It is `torch.nn.functional.multi_margin_loss`. Source: Weston
    and Watkins 1999.

    Args:
        margin: above zero.
        power: 1, or 2 for squares.

    Raises:
        ValueError: for other options.

    >>> import torch, disthead as dh
    >>> logits = torch.tensor([[2.0, 0.0, 1.5], [2.0, 0.0, 1.5]])
    >>> dist = dh.get_family("categorical", num_classes=3).distribution(logits=logits)
    >>> multiclass_hinge()(dist, torch.tensor([0, 1]))
    tensor([0.1667, 1.8333])
    """

    margin: float = 1.0
    power: int = 1

    def __post_init__(self) -> None:
        as_number(self.margin, "margin", "a number above zero", lambda m: 0 < m < math.inf)
        if self.power not in (1, 2):
            raise ValueError(f"power must be 1 or 2, got {self.power!r}.")

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The loss of each row.

        Args:
            dist: a categorical distribution of batch_shape (...,), or several independent ones.
            y: class indices, batch_shape + event_shape.

        Raises:
            NotImplementedError: for other distributions.
            TargetError: for targets that are no class indices, with their rows.
            ValueError: for another shape.
        """
        output = each_output(dist)
        if not isinstance(output, Categorical) or output.kind != "classes":
            remedy = "hinge" if isinstance(output, Bernoulli) else "the family categorical"
            raise NotImplementedError(
                f"{type(output).__name__} has no multiclass_hinge: it compares the logits of "
                f"unordered classes; try {remedy}."
            )
        y, logits = _checked(dist, y), output.logits
        values = functional.multi_margin_loss(
            logits.reshape(-1, logits.shape[-1]),
            y.reshape(-1).long(),
            p=self.power,
            margin=self.margin,
            reduction="none",
        )
        return mean_over_outputs(dist, values.reshape(y.shape))


def _checked(dist: Distribution, y: Any) -> Tensor:
    """Targets that are outcomes; class probabilities have the wrong shape here."""
    y = as_targets(dist, y)
    if are_concrete(y) or y.shape != dist.batch_shape + dist.event_shape:
        return check_target(dist, y)
    return y
