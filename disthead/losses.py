"""The loss: the negative log-likelihood, and nothing else."""

from typing import Literal

from torch import Tensor

from disthead.families.distribution import Distribution

__all__ = ["nll", "reduce"]

Reduction = Literal["mean", "sum", "none"]


def nll(dist: Distribution, y: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    """Negative log-likelihood -dist.log_prob(y), in nats per row.

    Args:
        dist: what a head returned, with batch_shape (...,) and event_shape.
        y: targets of shape batch_shape + event_shape.
        weight: one weight per row, shape (...,), zero or more. The mean is then sum(weight * nll) / sum(weight).
        reduction: "mean" over rows, "sum", or "none" for shape (...,).

    Raises:
        ValueError: when the shape of `y` or `weight` does not fit; nothing is broadcast silently, since (N, 1) targets
            against N distributions would score N x N pairs.

    >>> import torch, disthead as dh
    >>> dh.nll(dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0), torch.zeros(2))
    tensor(0.9189)
    """
    expected = dist.batch_shape + dist.event_shape
    if y.shape != expected and not _is_class_probabilities(dist, y):
        hint = " Try y.squeeze(-1)." if y.shape == (*expected, 1) else ""
        raise ValueError(f"y must have the shape {tuple(expected)} of the distribution, got {tuple(y.shape)}.{hint}")
    return reduce(-dist.log_prob(y), weight, reduction)


def reduce(values: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    """Per-row values to one number: the weighted "mean", the "sum", or "none" to leave them."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")
    if weight is not None:
        if weight.shape != values.shape:
            raise ValueError(
                f"weight must have one value per row, shape {tuple(values.shape)}, got {tuple(weight.shape)}."
            )
        values = values * weight
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    return values.mean() if weight is None else values.sum() / weight.sum()


def _is_class_probabilities(dist: Distribution, y: Tensor) -> bool:
    """Soft labels: one probability per class in place of the class index."""
    return (
        y.is_floating_point()
        and getattr(dist, "num_classes", None) is not None
        and y.shape == (*dist.batch_shape, dist.num_classes)
    )
