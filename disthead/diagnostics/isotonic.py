"""Isotonic regression, the best non-decreasing fit, for means and for quantiles."""

import torch
from torch import Tensor

__all__ = ["isotonic_mean", "isotonic_quantile"]

_MOST_PASSES = 64


def isotonic_mean(y: Tensor, weight: Tensor | None = None) -> Tensor:
    """The non-decreasing values with the least weighted squared distance to `y`.

    Neighbours that decrease have the same value in the solution, so that all decreasing runs are
    pooled at once, in repeated passes. Source: pooling of adjacent violators, Ayer et al. 1955.

    Args:
        y: values in the order of the fit, shape (..., N); leading dimensions are separate problems.
        weight: positive, shape (..., N), by default 1.

    Returns:
        The fit, with the shape and the dtype of y.

    >>> isotonic_mean(torch.tensor([1.0, 3.0, 2.0, 4.0]))
    tensor([1.0000, 2.5000, 2.5000, 4.0000])
    """
    y = torch.as_tensor(y)
    weight = torch.ones_like(y) if weight is None else weight
    if y.numel() == 0:
        return y.clone()
    problem = torch.arange(y[..., 0].numel(), device=y.device).repeat_interleave(y.shape[-1])
    return (
        _pool(y.reshape(-1), weight.expand(y.shape).reshape(-1), problem)
        .reshape(y.shape)
        .to(y.dtype)
    )


def isotonic_quantile(y: Tensor, level: float, weight: Tensor | None = None) -> Tensor:
    """The non-decreasing values with the least pinball loss at `level` to `y`.

    Among solutions with equal loss it is the lowest. Whether the solution exceeds a threshold is an
    isotonic regression of 0 and 1; bisection of the threshold splits the rows into those below and
    those above, which are separate problems. Source: Jordan, Mühlemann and Ziegel 2022.

    Args:
        y: values in the order of the fit, shape (..., N); leading dimensions are separate problems.
        level: of the quantile, between 0 and 1.
        weight: positive, shape (..., N), by default 1.

    Returns:
        The fit, with the shape and the dtype of y.

    Raises:
        ValueError: unless 0 < level < 1.

    >>> isotonic_quantile(torch.tensor([1.0, 5.0, 2.0, 3.0, 9.0]), 0.5)
    tensor([1., 2., 2., 3., 9.])
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.9, got {level}.")
    y = torch.as_tensor(y)
    if y.numel() == 0:
        return y.clone()
    values, order = y.sort(dim=-1, stable=True)
    rank = order.argsort(dim=-1).reshape(-1)
    problem = torch.arange(y[..., 0].numel(), device=y.device).repeat_interleave(y.shape[-1])
    first, last = torch.zeros_like(rank), torch.full_like(rank, y.shape[-1] - 1)
    w = (
        torch.ones_like(rank, dtype=torch.float64)
        if weight is None
        else weight.double().expand(y.shape).reshape(-1)
    )
    while bool((first < last).any()):
        middle = (first + last) // 2
        # the rows of a problem share `first` and `last`, so that these identify the problem
        above = (rank > middle).double()
        beyond = _pool(above, w, _runs(problem, first)) > 1 - level + 1e-12
        first, last = (
            torch.where(beyond, torch.minimum(middle + 1, last), first),
            torch.where(beyond, last, middle),
        )
    return values.gather(-1, first.reshape(y.shape))


def _runs(*labels: Tensor) -> Tensor:
    """A number for each run of equal labels."""
    change = torch.stack([label[1:] != label[:-1] for label in labels]).any(0)
    return torch.cat([change.new_zeros(1), change]).cumsum(0)


def _pool(y: Tensor, weight: Tensor, problem: Tensor) -> Tensor:
    """Isotonic means within each problem, whose label is constant along runs of rows."""
    weight = weight.double()
    total = y.double() * weight
    block = torch.arange(len(y), device=y.device)  # the block of each row
    for _ in range(_MOST_PASSES):
        mean = total / weight
        falls = (mean[1:] <= mean[:-1]) & (problem[1:] == problem[:-1])
        if not bool(falls.any()):
            return mean[block]
        start = torch.cat([~falls.new_zeros(1), ~falls])
        target = start.cumsum(0) - 1
        total, weight = _sum_runs(total, start), _sum_runs(weight, start)
        block, problem = target[block], problem[start]
    return _pool_one_by_one(total.tolist(), weight.tolist(), problem.tolist(), y.device)[block]


def _sum_runs(values: Tensor, start: Tensor) -> Tensor:
    index = start.cumsum(0) - 1
    return values.new_zeros(int(index[-1]) + 1).index_add(0, index, values)


def _pool_one_by_one(
    total: list[float], weight: list[float], problem: list[int], device: torch.device
) -> Tensor:
    """The remaining work where each pass pools few blocks, in linear time."""
    blocks: list[list] = []  # sum, weight, problem, number of former blocks
    for new in zip(total, weight, problem, strict=True):
        block = [*new, 1]
        while (
            blocks
            and blocks[-1][2] == block[2]
            and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]
        ):
            last = blocks.pop()
            block = [last[0] + block[0], last[1] + block[1], block[2], last[3] + block[3]]
        blocks.append(block)
    means = torch.tensor(
        [block[0] / block[1] for block in blocks], dtype=torch.float64, device=device
    )
    return means.repeat_interleave(torch.tensor([block[3] for block in blocks], device=device))
