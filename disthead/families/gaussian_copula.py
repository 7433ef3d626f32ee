"""The Gaussian copula: correlated outputs, each with a distribution of any family on the line."""

import math
from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl
from torch.linalg import solve_triangular

from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double
from disthead.distributions.vector import Vector, dimension
from disthead.families.family import Family, get_family
from disthead.families.multivariate_normal import cholesky_factor
from disthead.links import LINKS
from disthead.special import ndtri_exp
from disthead.special.eager import are_plain_numbers
from disthead.special.normal import log_ndtr, mills
from disthead.special.sphere import normalised

__all__ = ["GaussianCopula", "GaussianCopulaFamily"]


class GaussianCopula(Vector):
    """Distribution of D numbers that are joined by a Gaussian copula, for y in R^D.

    The density is prod_i f_i(y_i) times exp(-(|L^-1 z|^2 - |z|^2) / 2) / det L, where
    z_i = Phi^-1(F_i(y_i)), and f_i and F_i are the density and the cdf of coordinate i. So z is
    normal with the correlation matrix L L^T. Source: Song 2000, Multivariate dispersion models
    generated from Gaussian copula.

    Args:
        marginals: a continuous distribution of one number with batch_shape (..., D).
        correlation_tril: L, the Cholesky factor of a correlation matrix, shape (..., D, D).

    >>> from disthead.families.normal import Normal
    >>> GaussianCopula(Normal(torch.zeros(2), 1.0), torch.eye(2)).log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints = {"correlation_tril": constraints.corr_cholesky}
    parameter_dims = {"correlation_tril": 2}
    has_rsample = True

    def __init__(self, marginals: Continuous, correlation_tril: Tensor):
        size = correlation_tril.shape[-1]
        shape = torch.broadcast_shapes(marginals.batch_shape, (*correlation_tril.shape[:-2], size))
        self._coordinates = marginals.expand(shape)
        self._store((size,), correlation_tril=correlation_tril.expand(*shape, size))

    @property
    def marginals(self) -> Continuous:
        return self._coordinates

    @property
    def support(self) -> constraints.Constraint:
        return support_of(self.marginals.support)

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.marginals.parameters | {"correlation_tril": self.correlation_tril}

    def map(self, function: Callable[[Tensor], Tensor]) -> "GaussianCopula":
        new = GaussianCopula(self.marginals.map(function), function(self.correlation_tril))
        return new._linked_to(self._linked and self._linked.map(function))

    def _in_double(self) -> "GaussianCopula":
        if self.dtype == torch.float64 or self.device.type == "mps":
            return self
        if self._linked is not None:
            return self._linked.in_double()
        return GaussianCopula(self.marginals._in_double(), self.correlation_tril.double())

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = self.marginals.support.check(y).all(-1)
        y = torch.where(inside.unsqueeze(-1), y, self.marginals.median.detach())
        z = normal_scores(self.marginals, y)
        x = solve_triangular(self.correlation_tril, z.unsqueeze(-1), upper=False).squeeze(-1)
        dependence = 0.5 * (z.square().sum(-1) - x.square().sum(-1)) - self._half_log_det()
        value = self.marginals.log_prob(y).sum(-1) + dependence
        return torch.where(inside, value, -torch.inf)

    def _half_log_det(self) -> Tensor:
        return self.correlation_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    @property
    def correlation(self) -> Tensor:
        """The correlation matrix L L^T of the normal scores z, shape (..., D, D)."""
        return self.correlation_tril @ self.correlation_tril.mT

    @property
    def mean(self) -> Tensor:
        return self.marginals.mean

    @property
    def median(self) -> Tensor:
        """The median of each coordinate."""
        return self.marginals.median

    @property
    def variance(self) -> Tensor:
        return self.marginals.variance

    @in_double
    def entropy(self) -> Tensor:
        """The entropy in nats: that of the coordinates, and log(det L), which is not positive."""
        return self.marginals.entropy().sum(-1) + self._half_log_det()

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Quantiles of the coordinates at normal scores L e, e standard normal."""
        exact = self._in_double()
        e = torch.randn(
            self._extended_shape(sample_shape),
            generator=generator,
            dtype=exact.dtype,
            device=self.device,
        )
        z = (exact.correlation_tril @ e.unsqueeze(-1)).squeeze(-1)
        below, above = log_ndtr(z).exp(), log_ndtr(-z).exp()
        return exact.marginals._quantile(below, above).to(self.dtype)

    def affine(self, loc: Tensor, scale: Tensor) -> "GaussianCopula":
        moved = self.marginals.affine(loc, scale)
        return GaussianCopula(moved, self.correlation_tril)

    @property
    def mode(self) -> Tensor:
        raise self._unanswered(
            "mode", "the highest point of the joint density has no formula; see marginals.mode."
        )

    @property
    def covariance(self) -> Tensor:
        raise self._unanswered(
            "covariance",
            "it has no formula for any marginals; `correlation` is that of the normal scores, and "
            "samples have that of y.",
        )


def support_of(marginals: constraints.Constraint) -> constraints.Constraint:
    """The vectors whose coordinates lie in the support of the marginals."""
    if marginals is constraints.real:
        return constraints.real_vector
    return constraints.independent(marginals, 1)


def normal_scores(marginals: Continuous, y: Tensor) -> Tensor:
    """The standard normal quantiles at the cdf of y, exact in both tails.

    Args:
        marginals: a continuous distribution of one number.
        y: targets, of the shape of its batch.
    """
    below, above = marginals.log_cdf(y), marginals.log_survival(y)
    left = below <= above
    tail = torch.where(left, below, above)
    z = ndtri_exp(tail.detach())
    if not are_plain_numbers(tail):
        is_finite = z.isfinite()
        step, level = torch.where(is_finite, z, 0.0), torch.where(is_finite, tail, -math.log(2))
        for _ in range(2):  # Newton's steps from the root carry its first two derivatives
            step = step - (log_ndtr(step) - level) / mills(step)
        z = torch.where(is_finite, step, z)
    return torch.where(left, z, -z)


@register_kl(GaussianCopula, GaussianCopula)
def _kl_gaussian_copula(p: GaussianCopula, q: GaussianCopula) -> Tensor:
    raise p._unanswered(
        "kl_divergence",
        "it has no closed form; average p.log_prob(y) - q.log_prob(y) over samples y of p.",
    )


class GaussianCopulaFamily(Family):
    """The Gaussian copula family: correlated numbers, each with a distribution of one family.

    p(y) = prod_i f_i(y_i) exp(-(|L^-1 z|^2 - |z|^2) / 2) / det L with z_i = Phi^-1(F_i(y_i)). The
    parameters are those of the marginal family, (..., D) each, and `correlation_tril` L
    (..., D, D), the Cholesky factor of a correlation matrix.

    Args:
        event_shape: (D,).
        marginal: the name of a continuous family of one number, or such a `Family`.

    Raises:
        ValueError: for an event_shape of other than one dimension, or a marginal family of other
            targets than numbers on a line.
    """

    name = "gaussian_copula"
    kind = GaussianCopula.kind
    data_type = "multivariate, continuous"
    domain = "y in R^D, or the part of it on which the marginals live"
    use = "correlated outputs of any shape"
    loss = "losses of the marginals + Mahalanobis distance of normal scores"
    noise = (
        "Several outputs, each with noise of the marginal family, that are correlated as normal "
        "numbers are once each is mapped to its normal score."
    )
    density = (
        "p(y) = prod_i f_i(y_i) exp(-(|L^-1 z|^2 - |z|^2) / 2) / det L, z_i = Phi^-1(F_i(y_i)), "
        "f_i and F_i density and distribution function of a marginal, L = correlation_tril"
    )
    breaks = (
        "Extremes of different outputs are nearly independent, however strong the correlation. A "
        "marginal of the wrong shape bends the correlation too."
    )
    remedy = (
        "multivariate_student_t for outliers that all outputs have together; the marginal family "
        "with event_shape alone if nothing is correlated."
    )

    def __init__(self, event_shape: tuple[int, ...] = (), marginal: "str | Family" = "normal"):
        size = dimension(event_shape, self.name, "(D,), the number of outputs, such as (3,)")
        self.marginal = get_family(marginal)
        if self.marginal.kind != "continuous" or self.marginal.event_shape:
            raise ValueError(
                f"marginal of {self.name} must be a family of one number on the line, such as "
                f"'gamma', got {self.marginal.name!r}."
            )
        self.event_shape = (size,)
        self.support = support_of(self.marginal.support)
        self.parameters = {
            **self.marginal.parameters,
            "correlation_tril": LINKS["correlation_tril"],
        }
        of_marginal = self.marginal.shapes
        self.shapes = {
            name: (size, *of_marginal.get(name, ())) for name in self.marginal.parameters
        }
        self.shapes |= {"correlation_tril": (size, size)}

    def make(self, correlation_tril: Tensor, **parameters: Tensor) -> GaussianCopula:
        marginals: Continuous = self.marginal.make(**parameters)
        return GaussianCopula(marginals, correlation_tril)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        parameters = self.marginal.initial_estimate(y)
        marginals: Continuous = self.marginal.make(**parameters)
        z = normal_scores(marginals, y).clamp(-3, 3)
        deviation = z - z.mean(0)
        factor = cholesky_factor(deviation.mT @ deviation / len(y))
        return {**parameters, "correlation_tril": normalised(factor)}
