"""The Pareto distribution: values above a known minimum whose tail is a power."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.arrays import as_number
from disthead.distributions.base import with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.tails import Indices
from disthead.distributions.univariate import in_double
from disthead.families.exponential import minus_log
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special.fast import Positive
from disthead.special.generalized_pareto import from_pareto_hazard
from disthead.special.incomplete_gamma import log1mexp

__all__ = ["Pareto", "ParetoFamily"]


class Pareto(Continuous):
    """Pareto distribution with density alpha scale^alpha / y^(alpha + 1) for y >= scale.

    The survival function is (scale / y)^alpha. Source: Johnson, Kotz and Balakrishnan 1994,
    Continuous Univariate Distributions, volume 1, chapter 20.

    Args:
        scale: the minimum, shape (...,), positive, in the units of y.
        alpha: shape (...,), positive, named as in torch.distributions; the mean is infinite up to
            1, the variance up to 2.
        log_scale: log(scale); the scale, its logarithm or both are given.
        log_alpha: log(alpha); alpha, its logarithm or both are given.

    >>> Pareto(2.0, 3.0).cdf(torch.tensor(4.0))  # 1 - 2^-3
    tensor(0.8750)
    """

    arg_constraints = {"scale": constraints.positive, "alpha": constraints.positive}

    def __init__(self, scale=None, alpha=None, *, log_scale=None, log_alpha=None):
        self._set_parameters(scale=scale, alpha=alpha, log_scale=log_scale, log_alpha=log_alpha)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.greater_than_eq(self.scale)

    def support_limits(self) -> tuple[Tensor, Tensor]:
        infinity = self._constant(torch.inf)
        return self.scale.to(infinity.dtype), infinity

    def _tail_indices(self) -> Indices:
        return math.inf, self.alpha

    def _log_ratio(self, y: Tensor) -> Tensor:
        """The value of log(y / scale), and 0 below the scale."""
        y = torch.maximum(y, self.scale)
        near = y < 2 * self.scale
        close = torch.log1p((torch.where(near, y, self.scale) - self.scale) / self.scale)
        return torch.where(near, close, y.log() - self.log_scale)

    @staticmethod
    def log_prob_and_grad(y: Tensor, scale: Positive, alpha: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(scale) and log(alpha).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        log_y = torch.log(y)
        hazard = alpha.value * torch.log(y / scale.value)
        return alpha.log - hazard - log_y, alpha.value + 0 * log_y, 1 - hazard

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = y >= self.scale
        y = torch.where(inside, y, self.scale)
        value = self.log_alpha - self.alpha * self._log_ratio(y) - y.log()
        return torch.where(inside, value, -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return -torch.expm1(-self.alpha * self._log_ratio(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        hazard = self.alpha * self._log_ratio(y)
        inside = ~(hazard <= 0)
        return torch.where(inside, log1mexp(-torch.where(inside, hazard, 1.0)), -torch.inf)

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return -self.alpha * self._log_ratio(y)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self.scale * torch.exp(minus_log(below, above) / self.alpha)

    @property
    @in_double
    def mean(self) -> Tensor:
        """Scale alpha / (alpha - 1), infinite for alpha <= 1."""
        finite = self.alpha > 1
        alpha = torch.where(finite, self.alpha, 2.0)
        return torch.where(finite, self.scale * (alpha / (alpha - 1)), torch.inf)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        """Scale sqrt(alpha / (alpha - 2)) / (alpha - 1), infinite for alpha <= 2."""
        finite = self.alpha > 2
        alpha = torch.where(finite, self.alpha, 3.0)
        relative = (alpha / (alpha - 2)).sqrt() / (alpha - 1)
        return torch.where(finite, self.scale * relative, torch.inf)

    @property
    def mode(self) -> Tensor:
        return self.scale

    @torch.no_grad()
    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        """The interval that starts at the minimum, where the density is highest."""
        outside = self._constant(1 - level)
        return self.scale, self._inverse(1 - outside, outside)

    @in_double
    def entropy(self) -> Tensor:
        return self.log_scale - self.log_alpha + 1 / self.alpha + 1

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y; infinite for alpha <= 1/2.

        That of the generalised Pareto distribution of y - scale, with scale / alpha and 1 / alpha
        (Friederichs and Thorarinsdottir 2012).
        """
        finite = self.alpha > 0.5
        c = 1 / torch.where(finite, self.alpha, 1.0)
        taken = from_pareto_hazard((self.alpha * self._log_ratio(y)).clamp(max=1e300), c - 1)
        score = (y - self.scale).abs() + self.scale * c * (1 / (2 - c) - 2 * taken)
        return torch.where(finite, score, torch.inf)


class ParetoFamily(Family):
    """The Pareto family: p(y) = alpha scale^alpha / y^(alpha + 1) for y >= scale.

    The minimum `scale` is known and no raw output predicts it: the likelihood would only rise with
    it, up to the smallest target. The parameter that is learned is `alpha`, shape (...,).

    Args:
        scale: the known minimum of all targets, positive, in their units.

    Raises:
        ValueError: for a minimum that is not a positive number.
    """

    name = "pareto"
    distribution_class = Pareto
    least_log_std = 2e-3
    data_type = "univariate, continuous, bounded below"
    use = "sizes above a known minimum"
    loss = "log(y / scale)"
    noise = (
        "Sizes above a known minimum, such as large claims, incomes or cities: each doubling of "
        "the size makes the rest of the tail smaller by the same factor."
    )
    density = "p(y) = alpha scale^alpha / y^(alpha + 1), y >= scale"
    breaks = (
        "Real sizes follow a power only far out in their tail, so that the minimum has to be high "
        "enough. Up to alpha = 1 the mean is infinite, up to 2 the variance."
    )
    remedy = (
        "generalized_pareto for exceedances of a threshold, whose tail may be lighter; log_normal "
        "or log_logistic for all sizes. Predict the median where the mean is infinite."
    )

    def __init__(self, scale: float = 1.0):
        expected = "a positive number, the known minimum of the targets"
        self.scale = as_number(scale, "scale of pareto", expected, lambda x: 0 < x < torch.inf)
        self.parameters = {
            "scale": LINKS["softplus"].constant(self.scale),
            "alpha": LINKS["softplus"],
        }
        self.support = constraints.greater_than_eq(self.scale)
        self.fast_range = {"y": (self.scale, 1e6 * self.scale), "scale": (1e-6, 1e6)}

    @property
    def domain(self) -> str:
        """The support in words."""
        return f"y >= {self.scale:g}"

    def make(self, **parameters: Tensor) -> Pareto:
        return Pareto(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # the maximum likelihood fit, for targets at the minimum with a mean logarithm of 1e-3
        mean = (y.log() - torch.tensor(self.scale, dtype=torch.float64).log()).mean(0)
        alpha = 1 / mean.to(y.dtype).clamp(min=1e-3)
        return {"scale": torch.full_like(alpha, self.scale), "alpha": alpha}
