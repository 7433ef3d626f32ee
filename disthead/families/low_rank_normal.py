"""The low-rank multivariate normal distribution: correlations by a few common factors."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import positive, tensors, to_double, with_fused_loss
from disthead.families.gaussian import Gaussian

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Gaussian):
    """Normal distribution of vectors with covariance C = W W^T + diag(d), a factor model.

    The density is exp(-m^2 / 2) / sqrt((2 pi)^D det C), m^2 = (y - loc)^T C^-1 (y - loc), for y in
    R^D. It costs O(D R^2) instead of O(D^3), by the matrix determinant lemma and Woodbury's
    identity.

    Args:
        loc: mean, shape (..., D).
        cov_factor: W, the loadings of R common factors, shape (..., D, R), in the units of y.
        cov_diag: d, the variance of the noise of each coordinate, shape (..., D), positive.
        log_cov_diag: log(d); d, log(d) or both are given.

    >>> LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2)).covariance
    tensor([[2., 1.],
            [1., 2.]])
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    parameter_dims = {"loc": 1, "cov_factor": 2, "cov_diag": 1, "log_cov_diag": 1}

    def __init__(self, loc, cov_factor, cov_diag=None, *, log_cov_diag=None):
        loc, cov_factor, cov_diag, log_cov_diag = tensors(loc, cov_factor, cov_diag, log_cov_diag)
        cov_diag, log_cov_diag = positive(cov_diag, log_cov_diag)
        size = (cov_factor.shape[-2],)
        loc, cov_diag, log_cov_diag = (
            p.expand(torch.broadcast_shapes(p.shape, size)) for p in (loc, cov_diag, log_cov_diag)
        )
        self._store(
            size, loc=loc, cov_factor=cov_factor, cov_diag=cov_diag, log_cov_diag=log_cov_diag
        )

    @with_fused_loss
    def log_prob(self, y: Tensor) -> Tensor:
        return super().log_prob(y)

    def _regression(self) -> tuple[Tensor, Tensor]:
        """The QR decomposition of [A; I], where A = diag(d)^(-1/2) W; R^T R = I + A^T A."""
        noise = (-0.5 * to_double(self.log_cov_diag)).exp().unsqueeze(-1)
        effects = noise * to_double(self.cov_factor)
        rank = effects.shape[-1]
        ridge = torch.eye(rank, dtype=effects.dtype, device=effects.device).expand(
            *effects.shape[:-2], rank, rank
        )
        return torch.linalg.qr(torch.cat([effects, ridge], -2))

    def _half_log_det(self, triangle: Tensor | None = None) -> Tensor:
        """Half the log-determinant of C, by the matrix determinant lemma."""
        triangle = self._regression()[1] if triangle is None else triangle
        return triangle.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1) + 0.5 * to_double(
            self.log_cov_diag
        ).sum(-1)

    def _whiten(self, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Woodbury's identity as the least squares problem min over v of |e - A v|^2 + |v|^2.

        Its sum of squares cannot cancel.
        """
        orthogonal, triangle = self._regression()
        own = deviation * (-0.5 * to_double(self.log_cov_diag)).exp()
        padded = torch.cat(
            [own, own.new_zeros((*own.shape[:-1], triangle.shape[-1]))], -1
        ).unsqueeze(-1)
        explained = orthogonal @ (orthogonal.mT @ padded)
        return (padded - explained).square().sum((-2, -1)), self._half_log_det(triangle)

    def _factor(self) -> Tensor:
        roots = torch.cat(
            [
                to_double(self.cov_factor).mT,
                (0.5 * to_double(self.log_cov_diag)).exp().diag_embed(),
            ],
            -2,
        )
        return torch.linalg.qr(roots).R.mT

    @property
    def covariance(self) -> Tensor:
        """The covariance W W^T + diag(d), shape (..., D, D)."""
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @property
    def variance(self) -> Tensor:
        return self.cov_factor.square().sum(-1) + self.cov_diag

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        shape = self._extended_shape(sample_shape)
        own = (
            torch.randn(shape, generator=generator, dtype=self.dtype, device=self.device)
            * (0.5 * self.log_cov_diag).exp()
        )
        common = torch.randn(
            (*shape[:-1], self.cov_factor.shape[-1]),
            generator=generator,
            dtype=self.dtype,
            device=self.device,
        )
        return self.loc + (self.cov_factor @ common.unsqueeze(-1)).squeeze(-1) + own

    def affine(self, loc: Tensor, scale: Tensor) -> "LowRankMultivariateNormal":
        return LowRankMultivariateNormal(
            loc + scale * self.loc,
            scale.unsqueeze(-1) * self.cov_factor,
            scale.square() * self.cov_diag,
            log_cov_diag=2 * scale.log() + self.log_cov_diag,
        )
