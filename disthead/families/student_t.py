"""Student's t distribution: additive noise with outliers, whose influence is bounded."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import (
    HALF_LOG_TWO_PI,
    closed_under_affine,
    with_fused_loss,
)
from disthead.distributions.component_curves import StudentTCurves
from disthead.distributions.continuous import Continuous
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.standard import Standard
from disthead.distributions.tails import Indices
from disthead.distributions.univariate import in_double, ratio, with_min_scale
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import (
    log_beta,
    student_t_cdf,
    student_t_icdf,
    student_t_log_cdf,
    student_t_log_density,
)
from disthead.special.digamma import digamma_error
from disthead.special.eager import are_concrete
from disthead.special.fast import Positive, gamma_half_step

__all__ = ["StudentT", "StudentTFamily"]


class StudentT(Continuous):
    """Student's t distribution with density (1 + z^2 / df)^(-(df + 1) / 2) / N for real y.

    Here z = (y - loc) / scale and N = scale sqrt(df) B(df / 2, 1/2). The mean is loc for df > 1,
    and nan otherwise. The variance is scale^2 df / (df - 2) for df > 2, inf for 1 < df <= 2, and
    nan below. Source: Johnson, Kotz and Balakrishnan 1995, Continuous Univariate Distributions,
    volume 2, chapter 28.

    Args:
        df: degrees of freedom, shape (...,), positive: 1 is the Cauchy distribution, above 30 it is
            nearly normal.
        loc: median and mode, shape (...,).
        scale: half-width of the peak, shape (...,), positive, in the units of y.
        log_df: log(df); df, log(df) or both are given.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> StudentT(1.0, 0.0, 1.0).log_prob(torch.tensor(2e19))
    tensor(-90.0293)
    """

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    curves = StudentTCurves

    def __init__(self, df, loc, scale=None, *, log_df=None, log_scale=None):
        self._set_parameters(df=df, loc=loc, scale=scale, log_df=log_df, log_scale=log_scale)

    def _tail_indices(self) -> Indices:
        return self.df, self.df

    def _standardised(self, y: Tensor) -> Tensor:
        return ratio(y - self.loc, self.scale, self.log_scale)

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, df: Positive, loc: Tensor, scale: Positive
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(df), loc and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z, x = (y - loc) / scale.value, 0.5 * df.value
        square = z * z / df.value
        growth, below = torch.log1p(square), 1 + square
        share, factor = square / below, df.value + 1
        step, slope = gamma_half_step(x)
        value = -0.5 * (torch.log(step / x) + factor * growth) - scale.log - HALF_LOG_TWO_PI
        by_df = 0.5 + x * (share - growth - 0.5 * slope / step) + 0.5 * share
        return value, by_df, factor * z / (below * df.value * scale.value), factor * share - 1

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        z = self._standardised(y)
        beyond = z.isinf()
        density = student_t_log_density(self.df, torch.where(beyond, 0.0, z))
        return torch.where(beyond, -torch.inf, density) - self.log_scale

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return student_t_cdf(self.df, self._standardised(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return student_t_log_cdf(self.df, self._standardised(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return student_t_log_cdf(self.df, -self._standardised(y))

    def _standard(self) -> Standard:
        return Standard(
            self.log_df,
            self.loc,
            self.scale,
            lambda log_df: StudentT(log_df.exp(), 0.0, 1.0, log_df=log_df),
        )

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        left = below <= above
        z = student_t_icdf(self.df, torch.where(left, below, above))
        return self.loc + self.scale * torch.where(left, z, -z)

    @property
    def median(self) -> Tensor:
        return self.loc

    mode = median

    @property
    def mean(self) -> Tensor:
        return torch.where(self.df > 1, self.loc, math.nan)

    @property
    @in_double
    def variance(self) -> Tensor:
        finite = self.df > 2
        above = torch.where(finite, self.df, 4.0)
        variance = self.scale.square() * (above / (above - 2))
        return torch.where(finite, variance, torch.where(self.df > 1, math.inf, math.nan))

    def highest_density(self, level: float) -> Interval | Arc:
        return self.interval(level)  # symmetric about its peak

    @in_double
    def entropy(self) -> Tensor:
        """The entropy in nats.

        (df + 1) / 2 (psi((df + 1) / 2) - psi(df / 2)) + log(sqrt(df) B(df / 2, 1/2)) + log(scale).
        """
        half = 0.5 * self.df
        # psi(x) = log(x) - digamma_error(x): the difference is exact for large df
        digammas = torch.log1p(0.5 / half) - digamma_error(half + 0.5) + digamma_error(half)
        return (
            (half + 0.5) * digammas
            + 0.5 * self.df.log()
            + log_beta(half, torch.full_like(half, 0.5))
            + self.log_scale
        )

    @torch.no_grad()
    def _standard_sample(self, shape: Size, generator: torch.Generator | None) -> Tensor:
        half = (0.5 * self.df).expand(shape)
        chi = torch._standard_gamma(half, generator).clamp(min=torch.finfo(half.dtype).tiny) / half
        return (
            torch.randn(shape, generator=generator, dtype=half.dtype, device=half.device)
            * chi.rsqrt()
        )

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients, by implicit reparametrisation for df (Figurnov et al. 2018)."""
        exact = self._in_double()
        standard = StudentT(exact.df, torch.zeros_like(exact.df), torch.ones_like(exact.df))
        z = standard._with_gradient(
            exact._standard_sample(self._extended_shape(sample_shape), generator)
        )
        return (exact.loc + exact.scale * z).to(self.dtype)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y; inf for df <= 1/2.

        The closed form of Jordan, Krueger and Lerch 2019, which also holds for 1/2 < df <= 1.
        """
        z = self._standardised(y).abs()
        defined = self.df > 0.5
        df = torch.where(defined, self.df, 2.0)
        # The formula is 0 / 0 at df = 1, where the value is interpolated.
        beside = (df - 1).abs() < 1e-4
        if are_concrete(beside) and not beside.any():
            return torch.where(defined, self.scale * _standard_crps(df, z), math.inf)
        low, high = torch.where(beside, 1 - 1e-4, df), torch.where(beside, 1 + 1e-4, df)
        share = torch.where(beside, (df - low) / 2e-4, 0.0)
        score = (1 - share) * _standard_crps(low, z) + share * _standard_crps(high, z)
        return torch.where(defined, self.scale * score, math.inf)

    @closed_under_affine
    def affine(self, loc: Tensor, scale: Tensor) -> "StudentT":
        log_scale = scale.log() + self.log_scale
        return StudentT(
            self.df,
            loc + scale * self.loc,
            scale * self.scale,
            log_df=self.log_df,
            log_scale=log_scale,
        )


def _standard_crps(df: Tensor, z: Tensor) -> Tensor:
    """The score z (2 F(z) - 1) + 2 (p(z) (df + z^2) - c) / (df - 1) at scale 1, for z >= 0.

    Here c = sqrt(df) B(1/2, df - 1/2) / B(1/2, df / 2)^2, and p(z) (df + z^2) is computed as
    sqrt(df) (1 + z^2 / df)^((1 - df) / 2) / B(1/2, df / 2), where z^2 may overflow.
    """
    half, root = torch.full_like(df, 0.5), df.sqrt()
    inner = z < root
    growth = torch.where(
        inner,
        torch.log1p((torch.where(inner, z, 0.0) / root).square()),
        torch.log1p((root / torch.where(inner, root, z)).square())
        + 2 * torch.log(torch.where(inner, root, z) / root),
    )
    norm = log_beta(half, 0.5 * df)
    here, mean_difference = -norm - 0.5 * (df - 1) * growth, log_beta(half, df - 0.5) - 2 * norm
    return z * (1 - 2 * student_t_cdf(df, -z)) + 2 * root * (here.exp() - mean_difference.exp()) / (
        df - 1
    )


class StudentTFamily(Family):
    """The family of Student's t: p(y) = (1 + z^2 / df)^(-(df + 1) / 2) / N for real y.

    Here z = (y - loc) / scale and N = scale sqrt(df) B(df / 2, 1/2). The parameters are `df`, `loc`
    and `scale`, shape (...,).

    Args:
        min_df: the lower bound of df: 2 keeps the variance finite, 0 allows every tail.

    Raises:
        ValueError: for a negative min_df.
    """

    name = "student_t"
    figure_row = 2
    support = constraints.real
    fast_range = {"df": (1e-6, 1e3), "scale": (1e-6, 1e6)}
    distribution_class = StudentT
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "robust regression"
    loss = "heavy-tailed: log(1 + z^2 / df)"
    noise = (
        "Symmetric, additive noise with outliers; df says how many: few degrees of freedom, heavy "
        "tails."
    )
    density = (
        "p(y) = (1 + z^2 / df)^(-(df + 1) / 2) / (scale sqrt(df) B(df / 2, 1/2)), z = (y - loc) / "
        "scale"
    )
    breaks = (
        "Little data cannot tell df from scale. The likelihood may have several peaks in loc. "
        "Skewed noise biases it."
    )
    remedy = (
        "fixed={'df': 4} or shared=('df',) on little data, mixture for several peaks, log_normal "
        "for skewed positive targets."
    )

    def __init__(self, min_df: float = 2.0):
        if min_df < 0:
            raise ValueError(f"min_df must be zero or more, got {min_df}.")
        df = LINKS["softplus"].shifted(min_df) if min_df else LINKS["softplus"]
        self.min_df = min_df
        self.parameters = {"df": df, "loc": LINKS["identity"], "scale": LINKS["softplus"]}

    def make(self, **parameters: Tensor) -> StudentT:
        return StudentT(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        loc = y.median(0).values
        quartile_range = torch.quantile(y, 0.75, 0) - torch.quantile(y, 0.25, 0)
        # Where half of the targets have one value, the scale comes from all of them.
        scale = torch.where(quartile_range > 0, quartile_range / 1.5, (y - loc).abs().mean(0))
        return {
            "df": torch.full_like(loc, self.min_df + 4),
            "loc": loc,
            "scale": with_min_scale(scale, y),
        }
