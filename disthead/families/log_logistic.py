"""The log-logistic distribution: lifetimes whose odds of having ended grow as a power of age."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from disthead.distributions.base import with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.tails import Indices
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.families.gamma import GammaFamily
from disthead.links import LINKS
from disthead.special import betainc
from disthead.special.eager import are_concrete
from disthead.special.fast import Positive

__all__ = ["LogLogistic", "LogLogisticFamily"]


class LogLogistic(Continuous):
    """Log-logistic (Fisk) distribution with the cdf 1 / (1 + (y / scale)^-k) for y > 0.

    Here k = concentration; log(y) has a logistic distribution with mean log(scale) and scale 1 / k,
    and the density is (k / y) F (1 - F) for the cdf F. Source: Johnson, Kotz and Balakrishnan 1995,
    Continuous Univariate Distributions, volume 2, chapter 23.

    Args:
        scale: the median, shape (...,), positive, in the units of y.
        concentration: k, shape (...,), positive: the tail falls off as y^-k, so that the mean is
            infinite up to 1 and the variance up to 2.
        log_scale: log(scale); the scale, its logarithm or both are given.
        log_concentration: log(k); k, log(k) or both are given.

    >>> LogLogistic(2.0, 3.0).cdf(torch.tensor(4.0))  # 8 / 9
    tensor(0.8889)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale=None, concentration=None, *, log_scale=None, log_concentration=None):
        self._set_parameters(
            scale=scale,
            concentration=concentration,
            log_scale=log_scale,
            log_concentration=log_concentration,
        )

    def _tail_indices(self) -> Indices:
        return math.inf, self.concentration

    def _log_odds(self, y: Tensor) -> Tensor:
        """The logarithm of F / (1 - F), k log(y / scale); -inf for y <= 0."""
        inside = ~(y <= 0)
        y = torch.where(inside, y, self.scale)
        near = (y - self.scale).abs() < 0.5 * self.scale
        close = torch.log1p((torch.where(near, y, self.scale) - self.scale) / self.scale)
        log_ratio = torch.where(near, close, y.log() - self.log_scale)
        return torch.where(inside, self.concentration * log_ratio, -torch.inf)

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, scale: Positive, concentration: Positive
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(scale) and log(concentration).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        log_odds = concentration.value * torch.log(y / scale.value)
        distance = abs(log_odds)
        rest = torch.exp(-distance)
        slope = torch.sign(log_odds) * (1 - rest) / (1 + rest)  # 2 F - 1
        value = concentration.log - torch.log(y) - distance - 2 * torch.log1p(rest)
        return value, concentration.value * slope, 1 - log_odds * slope

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = y > 0
        log_odds = self._log_odds(torch.where(inside, y, self.scale))
        value = logsigmoid(log_odds) + logsigmoid(-log_odds) + self.log_concentration
        return torch.where(inside, value - torch.where(inside, y, 1.0).log(), -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return torch.sigmoid(self._log_odds(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return logsigmoid(self._log_odds(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return logsigmoid(-self._log_odds(y))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self.scale * torch.exp((below.log() - above.log()) / self.concentration)

    @property
    @in_double
    def mean(self) -> Tensor:
        """Scale (pi / k) / sin(pi / k), infinite for k <= 1."""
        finite = self.concentration > 1
        angle = math.pi / torch.where(finite, self.concentration, 2.0)
        return torch.where(finite, self.scale * angle / torch.sin(angle), torch.inf)

    @property
    @in_double
    def median(self) -> Tensor:
        return self.scale

    @property
    @in_double
    def mode(self) -> Tensor:
        """Scale ((k - 1) / (k + 1))^(1 / k), and 0 for k <= 1."""
        peaked = self.concentration > 1
        k = torch.where(peaked, self.concentration, 2.0)
        return torch.where(peaked, self.scale * torch.exp(torch.log1p(-2 / (k + 1)) / k), 0.0)

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        """Scale sqrt(b (tan(b) - b)) / sin(b), b = pi / k, infinite for k <= 2."""
        finite = self.concentration > 2
        b = math.pi / torch.where(finite, self.concentration, 4.0)
        small = b < 0.02
        far = torch.where(small, 1.0, b)
        excess = torch.where(  # tan(b) - b
            small, b**3 * (1 / 3 + b**2 * (2 / 15 + b**2 * 17 / 315)), torch.tan(far) - far
        )
        return torch.where(finite, self.scale * (b * excess).sqrt() / torch.sin(b), torch.inf)

    @in_double
    def entropy(self) -> Tensor:
        return self.log_scale - self.log_concentration + 2

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        y (2 F - 1) + mean (1 - 1 / k - 2 I(F; 1 + 1 / k, 1 - 1 / k)) for k > 1, with the
        regularised incomplete beta function I, after Jordan, Krueger and Lerch 2019; by quadrature
        up to k = 1, where the mean is infinite; infinite up to k = 1/2.
        """
        finite = self.concentration > 1.05  # closer to 1 terms cancel
        if are_concrete(finite) and bool(finite.all()):
            return self._crps_of_finite_mean(y)
        safe = LogLogistic(self.scale, torch.where(finite, self.concentration, 2.0))
        score = torch.where(finite, safe._crps_of_finite_mean(y), super().crps(y))
        return torch.where(self.concentration > 0.5, score, torch.inf)

    def _crps_of_finite_mean(self, y: Tensor) -> Tensor:
        power = 1 / self.concentration
        log_odds = self._log_odds(y)
        share, rest = torch.sigmoid(log_odds), torch.sigmoid(-log_odds)
        taken = 2 * betainc(1 + power, 1 - power, share, rest)
        return y * (2 * share - 1) + self.mean * (1 - power - taken)


class LogLogisticFamily(Family):
    """The log-logistic family: P(Y <= y) = 1 / (1 + (y / scale)^-k) for y > 0, k = concentration.

    Its parameters are `scale` and `concentration`, shape (...,).
    """

    name = "log_logistic"
    parameters = {"scale": LINKS["softplus"], "concentration": LINKS["softplus"]}
    support = constraints.positive
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = LogLogistic
    least_log_std = 2e-3
    data_type = "univariate, continuous, bounded below"
    domain = "y > 0"
    use = "lifetimes and magnitudes"
    loss = "log-cosh error of log y"
    noise = (
        "Lifetimes whose hazard rises first and falls later, or magnitudes such as incomes with "
        "errors in per cent and some far larger ones: the odds of a smaller value are a power of y."
    )
    density = "p(y) = (k / y) F (1 - F), F = 1 / (1 + (y / scale)^-k), k = concentration"
    breaks = (
        "The tail is heavy: up to a concentration of 1 the mean is infinite, up to 2 the variance. "
        "Zeros are impossible."
    )
    remedy = (
        "log_normal or weibull for lighter tails, gamma for sums of waiting times. Predict the "
        "median where the mean is infinite."
    )
    edge_remedy = GammaFamily.edge_remedy

    def make(self, **parameters: Tensor) -> LogLogistic:
        return LogLogistic(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # log y has the standard deviation pi / (sqrt(3) k); constant targets start with 0.1
        logs = y.log()
        std = logs.std(0, correction=0)
        std = torch.where(y.amin(0) < y.amax(0), std.clamp(min=1e-6), 0.1)
        return {"scale": y.median(0).values, "concentration": math.pi / math.sqrt(3) / std}
