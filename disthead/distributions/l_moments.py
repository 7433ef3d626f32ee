"""Sample L-moments: summaries of location, spread and skewness that outliers hardly move."""

import torch
from torch import Tensor

__all__ = ["l_moments"]


def l_moments(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first three sample L-moments of each column, by probability-weighted moments.

    The first is the mean, the second half the mean absolute difference of two values; the ratio of
    the third to the second is a skewness between -1 and 1. One row has the second and third 0, two
    rows have the third 0.

    Args:
        y: values, shape (N, ...).

    Source: Hosking 1990, L-moments: analysis and estimation of distributions using linear
    combinations of order statistics.

    >>> l_moments(torch.tensor([1.0, 2.0, 6.0]))
    (tensor(3.), tensor(1.6667), tensor(1.))
    """
    ordered, count = y.sort(0).values, len(y)
    rank = torch.arange(count, dtype=y.dtype, device=y.device).reshape(-1, *(1,) * (y.ndim - 1))
    first = ordered.mean(0)
    second = (rank / max(count - 1, 1) * ordered).mean(0)
    third = (rank * (rank - 1) / max((count - 1) * (count - 2), 1) * ordered).mean(0)
    spread = 2 * second - first if count > 1 else torch.zeros_like(first)
    skewness = 6 * third - 6 * second + first if count > 2 else torch.zeros_like(first)
    return first, spread, skewness
