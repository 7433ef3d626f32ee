"""Correlations of several outputs' errors: those that occurred, and those that a joint distribution predicts."""

import torch
from torch import Tensor

from disthead.diagnostics.directions import circular_pit
from disthead.distributions.base import Distribution
from disthead.distributions.independent import Independent
from disthead.distributions.scores import draw
from disthead.families.gaussian import Gaussian

__all__ = ["error_correlation", "normal_residuals", "predicted_correlation"]

_NUMBERS = 2**21  # drawn, where nothing exact is known


@torch.no_grad()
def error_correlation(
    dist: Distribution, y: Tensor, generator: torch.Generator, weight: Tensor | None = None
) -> Tensor:
    """Correlations (D, D) of the outputs' normal residuals Phi^-1(pit(y)), which have one spread whatever the row.

    Args:
        dist: of vectors, batch_shape (N,).
        y: targets, shape (N, *event_shape).
        generator: of the randomised PIT of counts.
        weight: of each row, shape (N,), 1 unless given.
    """
    w = (
        torch.ones(len(y), dtype=torch.float64, device=y.device)
        if weight is None
        else weight.double()
    )
    return _from_products(_products(normal_residuals(dist, y, generator), w))


@torch.no_grad()
def predicted_correlation(
    dist: Distribution, generator: torch.Generator, weight: Tensor | None = None
) -> Tensor:
    """The correlations (D, D) of normal residuals that the forecasts of all rows together predict.

    Exact where outputs are independent and where they are jointly normal, whose residuals have the
    correlations of the outputs; else of about two million drawn numbers.

    >>> from disthead import get_family
    >>> family = get_family("multivariate_normal", event_shape=(2,))
    >>> dist = family.distribution(loc=torch.zeros(3, 2), scale_tril=torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    >>> predicted_correlation(dist, torch.Generator())[0, 1]
    tensor(0.6000, dtype=torch.float64)
    """
    size = dist.event_shape.numel()
    if type(dist) is Independent:
        return torch.eye(size, dtype=torch.float64, device=dist.device)
    w = (
        torch.ones(dist.batch_shape, dtype=torch.float64, device=dist.device)
        if weight is None
        else weight.double()
    )
    covariance = _normal_covariance(dist)
    if covariance is not None:
        spread = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        correlation = covariance / (spread.unsqueeze(-1) * spread.unsqueeze(-2))
        return (w[:, None, None] * correlation).sum(0) / w.sum()
    rows, total = (
        dist.batch_shape.numel(),
        torch.zeros(size + 1, size + 1, dtype=torch.float64, device=dist.device),
    )
    for one in draw(dist, max(2, _NUMBERS // max(1, rows * size)), generator):
        total += _products(normal_residuals(dist, one, generator), w)
    return _from_products(total)


def normal_residuals(dist: Distribution, y: Tensor, generator: torch.Generator) -> Tensor:
    """Phi^-1(pit(y)) of each output, shape (N, D)."""
    each = dist.marginals
    u = (
        circular_pit(each, y)
        if each.kind == "direction"
        else each.pit(y, generator=generator).double()
    ).flatten(1)
    return torch.special.ndtri(u.clamp(1e-15, 1 - 1e-15))


def _normal_covariance(dist: Distribution) -> Tensor | None:
    """The covariance matrices of outputs that are jointly normal; None for others."""
    is_normal = isinstance(dist, Gaussian)
    return dist.covariance.double() if is_normal else None


def _products(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of products of the columns, and of a column of ones."""
    columns = torch.cat([values, torch.ones_like(values[:, :1])], 1)
    return (weight.unsqueeze(-1) * columns).mT @ columns


def _from_products(total: Tensor) -> Tensor:
    mean = total[-1, :-1] / total[-1, -1]
    second = total[:-1, :-1] / total[-1, -1] - mean.outer(mean)
    spread = second.diagonal().sqrt()
    return second / spread.outer(spread)
