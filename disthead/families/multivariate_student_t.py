"""The multivariate Student's t distribution: correlated outputs with outliers."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import positive, tensors
from disthead.distributions.univariate import in_double, with_min_scale
from disthead.distributions.vector import Vector, dimension
from disthead.families.family import Family
from disthead.families.gamma import Gamma
from disthead.families.multivariate_normal import (
    MultivariateNormal,
    cholesky_factor,
    with_log_diagonal,
)
from disthead.families.student_t import StudentT
from disthead.links import LINKS
from disthead.special import log1pmx, stirling_error
from disthead.special.digamma import digamma_error

__all__ = ["MultivariateStudentT", "MultivariateStudentTFamily"]


class MultivariateStudentT(Vector):
    """Multivariate t distribution, with density (1 + |z|^2 / df)^(-(df + D) / 2) / N, y in R^D.

    Here L z = y - loc and N = (df pi)^(D/2) det(L) Gamma(df / 2) / Gamma((df + D) / 2). One factor
    scales all coordinates, so that they have outliers together; each alone has Student's t
    distribution. The covariance is L L^T df / (df - 2). Source: Kotz and Nadarajah 2004,
    Multivariate t Distributions and Their Applications, chapter 1.

    Args:
        df: degrees of freedom, shape (...,), positive.
        loc: median and mode, and the mean where df > 1, shape (..., D).
        scale_tril: L, lower triangular with a positive diagonal, shape (..., D, D), in the units of
            y.
        log_df: log(df); df, log(df) or both are given.
        log_diagonal: the logarithm of the diagonal of L, shape (..., D), if known more exactly.

    >>> dist = MultivariateStudentT(4.0, torch.zeros(2), torch.eye(2))
    >>> dist.log_prob(torch.zeros(2)), dist.variance
    (tensor(-1.8379), tensor([2., 2.]))
    """

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real_vector,
        "scale_tril": constraints.lower_cholesky,
    }
    parameter_dims = {"loc": 1, "scale_tril": 2, "log_diagonal": 1}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, df, loc, scale_tril, *, log_df=None, log_diagonal=None):
        df, loc, scale_tril, log_df, log_diagonal = tensors(
            df, loc, scale_tril, log_df, log_diagonal
        )
        df, log_df = positive(df, log_df)
        if log_diagonal is None:
            log_diagonal = scale_tril.diagonal(dim1=-2, dim2=-1).log()
        size = scale_tril.shape[-1]
        loc = loc.expand(torch.broadcast_shapes(loc.shape, (size,)))
        self._store(
            (size,),
            df=df,
            loc=loc,
            scale_tril=scale_tril,
            log_df=log_df,
            log_diagonal=log_diagonal,
        )

    def _normal(self) -> MultivariateNormal:
        """The normal distribution with this location and L."""
        return MultivariateNormal(self.loc, self.scale_tril, log_diagonal=self.log_diagonal)

    def _log_peak(self) -> Tensor:
        """The log-density at loc, without log(det L): gamma functions by their Stirling errors."""
        a, s = 0.5 * self.df, 0.5 * self.loc.shape[-1]
        ratio = a * log1pmx(s / a) + (s - 0.5) * torch.log1p(s / a)
        return ratio + stirling_error(a + s) - stirling_error(a) - s * math.log(2 * math.pi)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        squared, half_log_det = self._normal()._whiten(y - self.loc)
        power = 0.5 * (self.df + self.loc.shape[-1])
        return self._log_peak() - half_log_det - power * torch.log1p(squared / self.df)

    @in_double
    def mahalanobis(self, y: Tensor) -> Tensor:
        """The length |z| of y from loc, shape (...).

        |z|^2 / D has an F distribution with D and df degrees of freedom if y has this distribution.
        """
        return self._normal()._whiten(y - self.loc)[0].sqrt()

    @property
    def median(self) -> Tensor:
        return self.loc

    mode = median

    @property
    def mean(self) -> Tensor:
        return torch.where(self.df.unsqueeze(-1) > 1, self.loc, math.nan)

    def _inflation(self) -> Tensor:
        """The factor df / (df - 2) of the covariance, infinite where df <= 2 and nan below 1."""
        finite = self.df > 2
        ratio = self.df / torch.where(finite, self.df - 2, 1.0)
        return torch.where(finite, ratio, torch.where(self.df > 1, math.inf, math.nan))

    @property
    @in_double
    def variance(self) -> Tensor:
        return self._inflation().unsqueeze(-1) * self._normal().variance

    @property
    @in_double
    def covariance(self) -> Tensor:
        """The covariance L L^T df / (df - 2), shape (..., D, D); infinite or nan for df <= 2."""
        return self._inflation()[..., None, None] * self._normal().covariance

    @property
    def marginals(self) -> StudentT:
        df, log_df = self.df.unsqueeze(-1), self.log_df.unsqueeze(-1)
        return StudentT(df, self.loc, self._normal().stddev, log_df=log_df)

    @in_double
    def entropy(self) -> Tensor:
        """The entropy log N + (df + D) / 2 (psi((df + D) / 2) - psi(df / 2)), in nats."""
        a, s = 0.5 * self.df, 0.5 * self.loc.shape[-1]
        digammas = torch.log1p(s / a) - digamma_error(a + s) + digamma_error(a)
        return (a + s) * digammas - self._log_peak() + self._normal()._half_log_det()

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Normal vectors, each divided by the root of a gamma variable with the mean one."""
        deviation = self._normal().rsample(sample_shape, generator) - self.loc
        half = 0.5 * self.df
        weight = Gamma(half, half).rsample(sample_shape, generator)
        return self.loc + deviation / weight.sqrt().unsqueeze(-1)

    def affine(self, loc: Tensor, scale: Tensor) -> "MultivariateStudentT":
        normal = self._normal().affine(loc, scale)
        return MultivariateStudentT(
            self.df,
            normal.loc,
            normal.scale_tril,
            log_df=self.log_df,
            log_diagonal=normal.log_diagonal,
        )


@register_kl(MultivariateStudentT, MultivariateStudentT)
def _kl_multivariate_student_t(p: MultivariateStudentT, q: MultivariateStudentT) -> Tensor:
    raise p._unanswered(
        "kl_divergence",
        "it has no closed form; average p.log_prob(y) - q.log_prob(y) over samples.",
    )


class MultivariateStudentTFamily(Family):
    """The multivariate t family: p(y) = (1 + |z|^2 / df)^(-(df + D) / 2) / N, y in R^D.

    Here L z = y - loc. The parameters are `df` (...,), `loc` (..., D) and `scale_tril` L
    (..., D, D).

    Args:
        event_shape: (D,).
        min_df: the lower bound of df: 2 keeps the covariance finite, 0 allows every tail.

    Raises:
        ValueError: for an event_shape of other than one dimension, or a negative min_df.
    """

    name = "multivariate_student_t"
    kind = MultivariateStudentT.kind
    support = constraints.real_vector
    data_type = "multivariate, continuous, unbounded"
    domain = "y in R^D"
    use = "robust multivariate regression"
    loss = "heavy-tailed: log(1 + |z|^2 / df) + log determinant"
    noise = (
        "Several outputs with symmetric, additive noise that is correlated between them, and "
        "outliers that all outputs have together."
    )
    density = (
        "p(y) = Gamma((df + D) / 2) (1 + |z|^2 / df)^(-(df + D) / 2) / (Gamma(df / 2) "
        "(df pi)^(D/2) det L), L z = y - loc, L = scale_tril"
    )
    breaks = (
        "All outputs have one df, and are never independent. L has D (D + 1) / 2 parameters: too "
        "many for few rows or large D."
    )
    remedy = (
        "student_t with event_shape for outputs whose outliers come alone, multivariate_normal "
        "where there are none, shared=('df', 'scale_tril') on little data."
    )

    def __init__(self, event_shape: tuple[int, ...] = (), min_df: float = 2.0):
        size = dimension(event_shape, self.name, "(D,), the number of outputs, such as (3,)")
        if min_df < 0:
            raise ValueError(f"min_df must be zero or more, got {min_df}.")
        df = LINKS["softplus"].shifted(min_df) if min_df else LINKS["softplus"]
        self.min_df, self.event_shape = min_df, (size,)
        self.parameters = {
            "df": df,
            "loc": LINKS["identity"],
            "scale_tril": LINKS["scale_tril"],
        }
        self.shapes = {"loc": (size,), "scale_tril": (size, size)}

    def make(self, **parameters: Tensor) -> MultivariateStudentT:
        return MultivariateStudentT(**parameters)

    def constrain(self, raw, links):
        return with_log_diagonal(super().constrain(raw, links), raw, links)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc = y.median(0).values
        scale = with_min_scale(1.5 * (y - loc).abs().median(0).values, y)
        z = ((y - loc) / scale).clamp(-3, 3)  # outliers count little
        factor = cholesky_factor(z.mT @ z / len(y))
        return {
            "df": torch.full_like(loc[0], self.min_df + 4),
            "loc": loc,
            "scale_tril": scale.unsqueeze(-1) * factor,
        }
