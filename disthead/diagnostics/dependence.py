"""Correlations of the errors of several outputs: observed ones and predicted ones."""

import torch
from torch import Tensor

from disthead.diagnostics.directions import circular_pit
from disthead.distributions.base import Distribution
from disthead.distributions.independent import Independent
from disthead.distributions.scores import draw
from disthead.families.gaussian import Gaussian

__all__ = ["error_correlation", "normal_residuals", "predicted_correlation"]

_DRAWN_NUMBERS = 2**21  # where no exact correlation is known


@torch.no_grad()
def error_correlation(
    dist: Distribution, y: Tensor, generator: torch.Generator, weight: Tensor | None = None
) -> Tensor:
    """The observed correlations of the outputs' normal residuals, shape (D, D) in float64.

    The residuals Phi^-1(pit(y)) of a calibrated forecast have the standard deviation 1 in every
    row. Source of the residuals: Dunn and Smyth 1996.

    Args:
        dist: distributions of vectors, batch_shape (N,).
        y: targets, shape (N, *event_shape).
        generator: for the randomised PIT of counts.
        weight: of each row, shape (N,), by default 1.

    Raises:
        NotImplementedError: for outputs without a PIT, such as unordered classes.
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
    """The predicted correlations of the outputs' normal residuals, shape (D, D) in float64.

    They are those of all rows together. They are exact for independent outputs, and for jointly
    normal ones, whose residuals have the correlations of the outputs; else they are those of about
    two million drawn numbers.

    Args:
        dist: distributions of vectors, batch_shape (N,).
        generator: for the drawn numbers.
        weight: of each row, shape (N,), by default 1.

    Raises:
        NotImplementedError: for outputs without a PIT, such as unordered classes.

    >>> from disthead import get_family
    >>> family = get_family("multivariate_normal", event_shape=(2,))
    >>> scale_tril = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> dist = family.distribution(loc=torch.zeros(3, 2), scale_tril=scale_tril)
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
        std = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        correlation = covariance / (std.unsqueeze(-1) * std.unsqueeze(-2))
        return (w[:, None, None] * correlation).sum(0) / w.sum()
    rows = dist.batch_shape.numel()
    total = torch.zeros(size + 1, size + 1, dtype=torch.float64, device=dist.device)
    for sample in draw(dist, max(2, _DRAWN_NUMBERS // max(1, rows * size)), generator):
        total += _products(normal_residuals(dist, sample, generator), w)
    return _from_products(total)


def normal_residuals(dist: Distribution, y: Tensor, generator: torch.Generator) -> Tensor:
    """The normal residuals Phi^-1(pit(y)) of each output, shape (N, D) in float64.

    The arguments are those of `error_correlation`, and so is the NotImplementedError.
    """
    marginals = dist.marginals
    u = (
        circular_pit(marginals, y)
        if marginals.kind == "direction"
        else marginals.pit(y, generator=generator).double()
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
    std = second.diagonal().sqrt()
    return second / std.outer(std)
