"""The logit-normal distribution: proportions whose log-odds are normal."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, kl_divergence, register_kl

from disthead.distributions.base import HALF_LOG_TWO_PI, with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double
from disthead.families.beta import BetaFamily
from disthead.families.family import Family
from disthead.families.normal import Normal
from disthead.links import LINKS
from disthead.special import bracketed_newton, implicit, log_ndtr
from disthead.special.fast import Positive
from disthead.special.normal import ndtri_of_tails
from disthead.special.plain import ndtr

__all__ = ["LogitNormal", "LogitNormalFamily"]


class LogitNormal(Continuous):
    """Logit-normal distribution: log(y / (1 - y)) is normal with mean loc, for 0 < y < 1.

    The density is exp(-z^2 / 2) / (sqrt(2 pi) scale y (1 - y)) with
    z = (log(y / (1 - y)) - loc) / scale. Source: Aitchison and Shen 1980, Logistic-normal
    distributions. torch.distributions has its vector form by the name LogisticNormal.

    Args:
        loc: mean of the log-odds, shape (...,); the median of y is its sigmoid.
        scale: standard deviation of the log-odds, shape (...,), positive; above about 1.4 the
            density may have two peaks.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> LogitNormal(0.0, 1.0).log_prob(torch.tensor(0.5))
    tensor(0.4674)
    >>> LogitNormal(0.0, 1.0).cdf(torch.tensor(0.731058578))
    tensor(0.8413)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.unit_interval

    def __init__(self, loc, scale=None, *, log_scale=None):
        self._set_parameters(loc=loc, scale=scale, log_scale=log_scale)

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Tensor, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        wide = y.double()  # a small scale would magnify the rounding of logarithms
        log_y, log_rest = torch.log(wide), torch.log1p(-wide)
        z = (log_y - log_rest - loc).to(loc.dtype) / scale.value
        square = z * z
        value = -HALF_LOG_TWO_PI - (log_y + log_rest).to(loc.dtype) - scale.log - 0.5 * square
        return value, z / scale.value, square - 1

    def _standardised(self, y: Tensor) -> Tensor:
        """The standardised log-odds; infinite where y is not between 0 and 1."""
        inside = ~((y <= 0) | (y >= 1))
        odds = torch.where(inside, y, 0.5)
        z = (odds.log() - torch.log1p(-odds) - self.loc) / self.scale
        return torch.where(inside, z, torch.where(y > 0, torch.inf, -torch.inf))

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y > 0) & (y < 1)
        y = torch.where(inside, y, 0.5)
        volume = y.log() + torch.log1p(-y) + self.log_scale
        value = -0.5 * self._standardised(y).square() - volume - HALF_LOG_TWO_PI
        return torch.where(inside, value, -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return ndtr(self._standardised(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return log_ndtr(self._standardised(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return log_ndtr(-self._standardised(y))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return torch.sigmoid(self.loc + self.scale * ndtri_of_tails(below, above))

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients, strictly between 0 and 1 where they round to an end."""
        limits = torch.finfo(self.dtype)
        y = super().rsample(sample_shape, generator)
        return y.clamp(limits.tiny, 1 - 0.5 * limits.eps)

    @property
    @in_double
    def median(self) -> Tensor:
        return torch.sigmoid(self.loc)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The highest peak, at log-odds u with u = loc + scale^2 tanh(u / 2).

        Of two peaks the higher one lies on the side of loc; of two equal ones it is the upper one.
        """
        side = torch.where(self.loc < 0, -1.0, 1.0).to(self.loc.dtype)
        loc, variance = side * self.loc, self.scale.square()

        def slope_of(u: Tensor) -> tuple[Tensor, Tensor]:
            tanh = torch.tanh(0.5 * u)
            return (u - loc) / variance - tanh, 1 / variance - 0.5 * (1 - tanh.square())

        with torch.no_grad():
            # not the valley between two equal peaks, at 0
            root = bracketed_newton(slope_of, loc + 1e-6 * variance, loc + variance, steps=64)
        return torch.sigmoid(side * implicit(root, *slope_of(root)))


@register_kl(LogitNormal, LogitNormal)
@in_double
def _kl_logit_normal(p: LogitNormal, q: LogitNormal) -> Tensor:
    """The divergence of the normal distributions of the log-odds."""
    return kl_divergence(*(Normal(one.loc, one.scale, log_scale=one.log_scale) for one in (p, q)))


class LogitNormalFamily(Family):
    """The logit-normal family: log(y / (1 - y)) is normal with mean loc, for 0 < y < 1.

    Its parameters are `loc` and `scale`, the standard deviation of the log-odds, shape (...,).
    """

    name = "logit_normal"
    parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"]}
    support = BetaFamily.support
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = LogitNormal
    data_type = "univariate, continuous, bounded"
    domain = "0 < y < 1"
    use = "proportions"
    loss = "mean squared error of the log-odds"
    noise = (
        "Proportions strictly between 0 and 1 whose log-odds have additive noise of many small "
        "causes."
    )
    density = (
        "p(y) = exp(-z^2 / 2) / (sqrt(2 pi) scale y (1 - y)), z = (log(y / (1 - y)) - loc) / scale"
    )
    breaks = (
        "Exact zeros and ones are impossible, and values very near an end are outliers on the "
        "scale of log-odds. Mean and variance have no closed form."
    )
    remedy = (
        "beta or kumaraswamy when values near the ends are common; zero_one_inflated for exact "
        "ends: see at the edge."
    )
    edge_remedy = BetaFamily.edge_remedy

    def make(self, **parameters: Tensor) -> LogitNormal:
        return LogitNormal(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        odds = torch.logit(y)
        # Constant targets start with a scale of one per cent: log-odds have no unit to compare
        # with.
        std = odds.std(0, correction=0)
        return {
            "loc": odds.mean(0),
            "scale": torch.where(y.amin(0) < y.amax(0), std.clamp(min=1e-6), 0.01),
        }
