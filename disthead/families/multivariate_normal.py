"""The multivariate normal distribution: outputs with correlated errors."""

from collections.abc import Mapping

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.linalg import solve_triangular

from disthead.arrays import as_integer
from disthead.distributions.base import (
    HALF_LOG_TWO_PI,
    Distribution,
    tensors,
    to_double,
    with_fused_loss,
)
from disthead.distributions.vector import dimension
from disthead.families.family import Family
from disthead.families.gaussian import Gaussian
from disthead.families.low_rank_normal import LowRankMultivariateNormal
from disthead.likelihood import LowRankParameters
from disthead.links import LINKS, Link
from disthead.special.fast import softplus

__all__ = ["LowRankMultivariateNormal", "MultivariateNormal", "MultivariateNormalFamily"]


class MultivariateNormal(Gaussian):
    """Normal distribution of vectors y in R^D with density exp(-|z|^2 / 2) / ((2 pi)^(D/2) det L).

    Here L z = y - loc; the covariance is L L^T.

    Args:
        loc: mean, shape (..., D).
        scale_tril: L, lower triangular with a positive diagonal, shape (..., D, D), in the units of
            y.
        log_diagonal: the logarithm of the diagonal of L, shape (..., D), if known more exactly.

    >>> MultivariateNormal(torch.zeros(2), torch.eye(2)).log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints = {"loc": constraints.real_vector, "scale_tril": constraints.lower_cholesky}
    parameter_dims = {"loc": 1, "scale_tril": 2, "log_diagonal": 1}

    def __init__(self, loc, scale_tril, *, log_diagonal=None):
        loc, scale_tril, log_diagonal = tensors(loc, scale_tril, log_diagonal)
        if log_diagonal is None:
            log_diagonal = scale_tril.diagonal(dim1=-2, dim2=-1).log()
        size = scale_tril.shape[-1]
        loc = loc.expand(torch.broadcast_shapes(loc.shape, (size,)))
        self._store((size,), loc=loc, scale_tril=scale_tril, log_diagonal=log_diagonal)

    @with_fused_loss
    def log_prob(self, y: Tensor) -> Tensor:
        return super().log_prob(y)

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, loc: Tensor, triangle: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log_prob and its derivatives by loc and the raw triangle, by substitution.

        The last dimension is the row: y and loc have shape (D, rows), log_prob has (rows,), and the
        triangle, which holds the matrix row by row, has (D (D + 1) / 2, rows).
        """
        size = len(loc)
        ends = [row * (row + 3) // 2 for row in range(size)]  # where the diagonal is
        diagonal = softplus(triangle[ends])
        z = y - loc
        for row, end in enumerate(ends):
            z[row] -= (triangle[end - row : end] * z[:row]).sum(0)
            z[row] /= diagonal.value[row]
        value = -0.5 * z.square().sum(0) - diagonal.log.sum(0) - size * HALF_LOG_TWO_PI
        by_loc, by_triangle = 1 * z, torch.empty_like(triangle)
        for row, end in reversed(list(enumerate(ends))):
            by_loc[row] /= diagonal.value[row]
            by_loc[:row] -= triangle[end - row : end] * by_loc[row]
            by_triangle[end - row : end] = z[:row] * by_loc[row]
        by_triangle[ends] = (by_loc * z * diagonal.value - 1) * diagonal.slope
        return value, by_loc, by_triangle

    def _factor(self) -> Tensor:
        """The matrix L in double precision, with a diagonal that has not underflowed."""
        lower = to_double(self.scale_tril)
        diagonal = to_double(self.scale_tril.diagonal(dim1=-2, dim2=-1), self.log_diagonal)
        return torch.where(
            torch.eye(lower.shape[-1], dtype=torch.bool, device=lower.device),
            diagonal.unsqueeze(-1),
            lower,
        )

    def _half_log_det(self) -> Tensor:
        return to_double(self.log_diagonal).sum(-1)

    def _whiten(self, deviation: Tensor) -> tuple[Tensor, Tensor]:
        z = solve_triangular(self._factor(), deviation.unsqueeze(-1), upper=False).squeeze(-1)
        return z.square().sum(-1), self._half_log_det()

    @property
    def covariance(self) -> Tensor:
        """The covariance L L^T, shape (..., D, D)."""
        return self.scale_tril @ self.scale_tril.mT

    @property
    def variance(self) -> Tensor:
        return self.scale_tril.square().sum(-1)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        z = torch.randn(
            self._extended_shape(sample_shape),
            generator=generator,
            dtype=self.dtype,
            device=self.device,
        )
        return self.loc + (self.scale_tril @ z.unsqueeze(-1)).squeeze(-1)

    def affine(self, loc: Tensor, scale: Tensor) -> "MultivariateNormal":
        loc, scale = (
            torch.as_tensor(part, dtype=self.dtype, device=self.device).expand(self.event_shape)
            if part.ndim == 0
            else part
            for part in (loc, scale)
        )
        return MultivariateNormal(
            loc + scale * self.loc,
            scale.unsqueeze(-1) * self.scale_tril,
            log_diagonal=scale.log() + self.log_diagonal,
        )


class MultivariateNormalFamily(Family):
    """The multivariate normal family: p(y) = exp(-|z|^2 / 2) / ((2 pi)^(D/2) det L), y in R^D.

    Here L z = y - loc. The parameters are `loc` (..., D) and `scale_tril` L (..., D, D); or, with a
    rank R, `loc`, `cov_factor` (..., D, R) and `cov_diag` (..., D).

    Args:
        event_shape: (D,).
        rank: R, the number of common factors of a low-rank covariance, for large D; None gives the
            full covariance.

    Raises:
        ValueError: for an event_shape of other than one dimension, or a rank above D.
    """

    name = "multivariate_normal"
    figure_row = 6
    support = constraints.real_vector
    data_type = "multivariate, continuous, unbounded"
    domain = "y in R^K"
    use = "multivariate regression"
    loss = "Mahalanobis distance + log determinant"
    noise = "Several outputs with symmetric, additive noise that is correlated between them."
    density = "p(y) = exp(-|z|^2 / 2) / ((2 pi)^(D/2) det L), L z = y - loc, L = scale_tril"
    breaks = (
        "Outliers pull the mean and the covariance. A full covariance has D (D + 1) / 2 "
        "parameters: too many for few rows or large D."
    )
    remedy = (
        "rank=R for large D, shared=('scale_tril',), independent outputs (normal with event_shape) "
        "if nothing is correlated."
    )

    def __init__(self, event_shape: tuple[int, ...] = (), rank: int | None = None):
        size = dimension(
            event_shape, "multivariate_normal", "(D,), the number of outputs, such as (3,)"
        )
        rank = None if rank is None else as_integer(rank, "rank")
        if rank is not None and rank > size:
            raise ValueError(f"rank must be from 1 to {size}, the number of outputs, got {rank}.")
        self.rank, self.event_shape = rank, (size,)
        self.parameters = {"loc": LINKS["identity"]}
        self.shapes = {"loc": (size,)}
        if rank is None:
            self.distribution_class = MultivariateNormal
            self.parameters |= {"scale_tril": LINKS["scale_tril"]}
            self.shapes |= {"scale_tril": (size, size)}
        else:
            self.distribution_class = LowRankMultivariateNormal
            self.linked_class = LowRankParameters
            self.parameters |= {"cov_factor": LINKS["identity"], "cov_diag": LINKS["softplus"]}
            self.shapes |= {"cov_factor": (size, rank), "cov_diag": (size,)}

    def make(self, **parameters: Tensor) -> Distribution:
        return (
            MultivariateNormal(**parameters)
            if self.rank is None
            else LowRankMultivariateNormal(**parameters)
        )

    def constrain(self, raw, links):
        return with_log_diagonal(super().constrain(raw, links), raw, links)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc = y.mean(0)
        deviation = y - loc
        covariance = deviation.mT @ deviation / len(y)
        variance = covariance.diagonal()
        if self.rank is None:
            return {"loc": loc, "scale_tril": cholesky_factor(covariance)}
        # The leading principal components are the common factors; the remaining variance is noise.
        values, vectors = torch.linalg.eigh(covariance)
        factor = (vectors[:, -self.rank :] * values[-self.rank :].clamp(min=0).sqrt()).contiguous()
        own = variance - factor.square().sum(-1)
        min_variance = torch.where(variance > 0, 1e-2 * variance, 1e-6 * loc.square()).clamp(
            min=1e-12
        )
        return {"loc": loc, "cov_factor": factor, "cov_diag": torch.maximum(own, min_variance)}


def with_log_diagonal(
    values: dict[str, Tensor], raw: Mapping[str, Tensor], links: Mapping[str, Link]
) -> dict[str, Tensor]:
    """The values of `Family.constrain`, with the exact logarithm of the diagonal of `scale_tril`.

    Args:
        values: the arguments of `make`.
        raw: parameter name -> raw outputs.
        links: the link of each parameter.
    """
    if "scale_tril" in raw and links["scale_tril"] is LINKS["scale_tril"]:
        triangle = raw["scale_tril"]
        row = torch.arange(values["scale_tril"].shape[-1], device=triangle.device)
        values["log_diagonal"] = LINKS["softplus"].log(triangle[..., row * (row + 3) // 2])
    return values


def cholesky_factor(covariance: Tensor) -> Tensor:
    """The Cholesky factor; that of a slightly larger covariance where it is singular.

    It is singular for fewer rows than outputs, or for a constant output.
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    variance = covariance.diagonal()
    if not failed and bool((factor.diagonal().square() > 1e-10 * variance).all()):
        return factor
    largest = torch.where(variance.max() > 0, variance.max(), 1.0)
    return torch.linalg.cholesky(
        covariance + torch.maximum(1e-6 * variance, 1e-9 * largest).diag_embed()
    )
