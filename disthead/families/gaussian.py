"""`Gaussian`: the base of normal distributions of vectors, for any form of the covariance."""

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl
from torch.linalg import solve_triangular

from disthead.distributions.base import HALF_LOG_TWO_PI, to_double
from disthead.distributions.vector import Vector
from disthead.families.normal import Normal

__all__ = ["Gaussian"]


class Gaussian(Vector):
    """A normal distribution of vectors, with event_shape (D,); subclasses whiten deviations.

    The density is exp(-m^2 / 2) / sqrt((2 pi)^D det C), where C is the covariance and m^2 =
    (y - loc)^T C^-1 (y - loc). It is computed in double precision, because a solve with a nearly
    singular covariance amplifies rounding.
    """

    support = constraints.real_vector
    has_rsample = True

    def _whiten(self, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """The squared Mahalanobis length of the deviation, and log(det C) / 2, both (...)."""
        raise NotImplementedError

    def _half_log_det(self) -> Tensor:
        """The second result of `_whiten`, log(det C) / 2."""
        raise NotImplementedError

    def _factor(self) -> Tensor:
        """A triangular factor L of the covariance L L^T, in double precision."""
        raise NotImplementedError

    def log_prob(self, y: Tensor) -> Tensor:
        squared, half_log_det = self._whiten(to_double(y) - to_double(self.loc))
        return (-0.5 * squared - half_log_det - self.loc.shape[-1] * HALF_LOG_TWO_PI).to(
            torch.promote_types(y.dtype, self.dtype)
        )

    def mahalanobis(self, y: Tensor) -> Tensor:
        """The Mahalanobis distance of y from loc, shape (...).

        Its square is chi-square distributed with D degrees of freedom if y has this distribution.
        """
        return self._whiten(to_double(y) - to_double(self.loc))[0].sqrt().to(self.dtype)

    def entropy(self) -> Tensor:
        size = self.loc.shape[-1]
        return (self._half_log_det() + size * (0.5 + HALF_LOG_TWO_PI)).to(self.dtype)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = median = mean

    @property
    def variance(self) -> Tensor:
        return self.covariance.diagonal(dim1=-2, dim2=-1)

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance, under its name in torch."""
        return self.covariance

    @property
    def marginals(self) -> Normal:
        return Normal(self.loc, self.stddev)


@register_kl(Gaussian, Gaussian)
def _kl_gaussian_gaussian(p: Gaussian, q: Gaussian) -> Tensor:
    """(|L_q^-1 L_p|^2 + |L_q^-1 (loc_q - loc_p)|^2 - D) / 2 + log(det L_q) - log(det L_p)."""
    dtype = torch.promote_types(p.dtype, q.dtype)
    deviation = (to_double(q.loc) - to_double(p.loc)).unsqueeze(-1)
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    columns = torch.cat(
        [part.expand(*shape, *part.shape[-2:]) for part in (p._factor(), deviation)], -1
    )
    whitened = solve_triangular(q._factor().expand(*shape, -1, -1), columns, upper=False)
    excess = whitened.square().sum((-2, -1)) - p.event_shape[0]
    return (0.5 * excess + q._half_log_det() - p._half_log_det()).to(dtype)
