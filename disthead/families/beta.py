"""The beta distribution: proportions strictly between 0 and 1."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl
from torch.nn.functional import logsigmoid

from disthead.distributions.base import (
    HALF_LOG_TWO_PI,
    logits_of,
    positive,
    tensors,
    with_fused_loss,
)
from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double, with_grad_through_log
from disthead.errors import unknown_name
from disthead.families.family import Family
from disthead.families.gamma import concentration_divergence, log_standard_gamma
from disthead.links import LINKS
from disthead.special import (
    beta_log_kernel,
    betainc,
    betaincc,
    betaincinv,
    deviance,
    log_beta,
    log_betainc,
    log_betaincc,
    stirling_error,
)
from disthead.special.digamma import digamma_error
from disthead.special.fast import Positive, digamma_remainder, gamma_remainder, sigmoids

__all__ = ["Beta", "BetaFamily", "MeanBeta"]


class _InsideUnitInterval(constraints.interval):
    """Numbers strictly between 0 and 1."""

    def __init__(self):
        super().__init__(0.0, 1.0)

    def check(self, value: Tensor) -> Tensor:
        return (value > 0) & (value < 1)


class Beta(Continuous):
    """Beta distribution with density y^(a - 1) (1 - y)^(b - 1) / B(a, b) for 0 < y < 1.

    Source: Johnson, Kotz and Balakrishnan 1995, Continuous Univariate Distributions, volume 2,
    chapter 25.

    Args:
        concentration1: a, shape (...,), positive; below 1 the density has a pole at 0.
        concentration0: b, shape (...,), positive; below 1 the density has a pole at 1.
        log_concentration1: log(a); a, log(a) or both are given.
        log_concentration0: log(b); b, log(b) or both are given.

    >>> Beta(1e6, 1e6).log_prob(torch.tensor(0.5))
    tensor(7.0285)
    """

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval

    def __init__(
        self,
        concentration1=None,
        concentration0=None,
        *,
        log_concentration1=None,
        log_concentration0=None,
    ):
        self._set_parameters(
            concentration1=concentration1,
            concentration0=concentration0,
            log_concentration1=log_concentration1,
            log_concentration0=log_concentration0,
        )

    @property
    def _total(self) -> Tensor:
        return self.concentration1 + self.concentration0

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, concentration1: Positive, concentration0: Positive
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(concentration1) and log(concentration0).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        a, b, rest = concentration1.value, concentration0.value, 1 - y
        both = a + b
        u, v, w = a + 0.5, b + 0.5, both + 0.5
        log_y, log_rest = torch.log(w * y / u), torch.log(w * rest / v)
        value = a * log_y + b * log_rest + (u + v - w) - HALF_LOG_TWO_PI
        value += (
            0.5 * torch.log(w / (u * v))
            - torch.log(both * y * rest)
            + concentration1.log
            + concentration0.log
        )
        value += gamma_remainder(both) - gamma_remainder(a) - gamma_remainder(b)
        slope = digamma_remainder(both) - 1 / both
        by_a, by_b = log_y - digamma_remainder(a), log_rest - digamma_remainder(b)
        return value, a * (by_a + slope) + 1, b * (by_b + slope) + 1

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y > 0) & (y < 1)
        y = torch.where(inside, y, 0.5)
        kernel = beta_log_kernel(self.concentration1, self.concentration0, y, 1 - y)
        return torch.where(inside, kernel - y.log() - torch.log1p(-y), -torch.inf)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return betainc(self.concentration1, self.concentration0, y.clamp(0, 1))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return log_betainc(self.concentration1, self.concentration0, y.clamp(0, 1))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return log_betaincc(self.concentration1, self.concentration0, y.clamp(0, 1))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return betaincinv(self.concentration1, self.concentration0, below, above)

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.concentration1 / self._total

    @property
    @in_double
    def mode(self) -> Tensor:
        """The peak (a - 1) / (a + b - 2) for a, b > 1, else the end with the higher density.

        It is 1/2 for the uniform distribution.
        """
        a, b = self.concentration1, self.concentration0
        peaked = (a > 1) & (b > 1)
        peak = (a - 1) / torch.where(peaked, a - 1 + (b - 1), 1.0)
        edge = torch.where(a < b, 0.0, torch.where(a > b, 1.0, torch.where(a == 1, 0.5, 0.0)))
        return torch.where(peaked, peak, edge)

    @property
    @in_double
    def variance(self) -> Tensor:
        share1, share0 = self.concentration1 / self._total, self.concentration0 / self._total
        return share1 * share0 / (self._total + 1)

    @in_double
    def entropy(self) -> Tensor:
        """The entropy log B(a, b) - (a - 1) psi(a) - (b - 1) psi(b) + (a + b - 2) psi(a + b)."""
        a, b, total = self.concentration1, self.concentration0, self._total
        leading = 0.5 * (self.log_concentration1 + self.log_concentration0 - 3 * total.log())
        return HALF_LOG_TWO_PI + leading + _lacking(a, 1) + _lacking(b, 1) - _lacking(total, 2)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients by implicit reparametrisation (Figurnov et al. 2018)."""
        exact = self._in_double()
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            # the share of the first of two gamma variables
            first, second = (
                log_standard_gamma(a, generator)
                for a in (exact.concentration1.expand(shape), exact.concentration0.expand(shape))
            )
            limits = torch.finfo(self.dtype)
            y = (
                torch.sigmoid(first - second)
                .to(self.dtype)
                .clamp(limits.tiny, 1 - 0.5 * limits.eps)
            )
        return exact._with_gradient(y.to(exact.dtype)).to(self.dtype)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        (y - mean) (2 F(y) - 1) + 2 (y (1 - y) p(y) - B(2 a, 2 b) / B(a, b)^2) / (a + b). After
        Jordan, Krueger and Lerch 2019, rearranged so that nothing cancels at large concentrations.
        """
        a, b = self.concentration1, self.concentration0
        inside = (y > 0) & (y < 1)
        inner = torch.where(inside, y, 0.5)
        balance = torch.where(inside, 1 - 2 * betaincc(a, b, inner), torch.where(y > 0, 1.0, -1.0))
        kernel = torch.where(inside, beta_log_kernel(a, b, inner, 1 - inner).exp(), 0.0)
        mean_difference = torch.exp(log_beta(2 * a, 2 * b) - 2 * log_beta(a, b))
        return (y - a / self._total) * balance + 2 * (kernel - mean_difference) / self._total


def _lacking(concentration: Tensor, by: int) -> Tensor:
    return stirling_error(concentration) + (concentration - by) * digamma_error(concentration)


class MeanBeta(Beta):
    """Beta distribution by its mean and precision, for 0 < y < 1.

    The density is that of `Beta` with a = mean * precision and b = (1 - mean) * precision.
    Source: Ferrari and Cribari-Neto 2004.

    Args:
        mean: shape (...,), between 0 and 1.
        precision: shape (...,), positive; the variance is mean (1 - mean) / (1 + precision).
        logits_mean: log(mean / (1 - mean)), which is exact where the mean rounds to 0 or 1; the
            mean, its logits or both are given.
        log_precision: log(precision); the precision, its logarithm or both are given.

    >>> MeanBeta(0.25, 4.0).concentration1
    tensor(1.)
    """

    arg_constraints = {"mean": constraints.unit_interval, "precision": constraints.positive}

    def __init__(self, mean=None, precision=None, *, logits_mean=None, log_precision=None):
        mean, precision, logits_mean, log_precision = tensors(
            mean, precision, logits_mean, log_precision
        )
        precision, log_precision = positive(precision, log_precision)
        logits_mean = logits_of(mean, logits_mean)
        self._store(precision=precision, logits_mean=logits_mean, log_precision=log_precision)

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, logits_mean: Tensor, precision: Positive
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by the logits of the mean and log(precision).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        mean, rest = sigmoids(logits_mean)
        value, by_upper, by_lower = Beta.log_prob_and_grad(
            y, precision.times(mean), precision.times(rest)
        )
        return value, by_upper * rest - by_lower * mean, by_upper + by_lower

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "precision": self.precision}

    @property
    def mean(self) -> Tensor:
        return self.logits_mean.sigmoid().to(self.dtype)

    @property
    def log_concentration1(self) -> Tensor:
        """The logarithm of concentration1."""
        return logsigmoid(self.logits_mean).to(self.dtype) + self.log_precision

    @property
    def log_concentration0(self) -> Tensor:
        """The logarithm of concentration0."""
        return logsigmoid(-self.logits_mean).to(self.dtype) + self.log_precision

    @property
    def concentration1(self) -> Tensor:
        """The product mean * precision."""
        return self.precision * self._share(self.logits_mean)

    @property
    def concentration0(self) -> Tensor:
        """The product (1 - mean) * precision."""
        return self.precision * self._share(-self.logits_mean)

    def _share(self, logits: Tensor) -> Tensor:
        # the gradient of sigmoid, p (1 - p), has lost the digits of 1 - p where p is close to 1
        return with_grad_through_log(logits.sigmoid(), logsigmoid(logits)).to(self.dtype)

    @property
    def _total(self) -> Tensor:
        return self.precision


@register_kl(Beta, Beta)
@in_double
def _kl_beta(p: Beta, q: Beta) -> Tensor:
    """A binomial deviance of q's concentrations from p's mean, plus Stirling remainders."""
    pairs = ((p.concentration1, q.concentration1), (p.concentration0, q.concentration0))
    leading = sum(deviance(b, q._total * (a / p._total)) for a, b in pairs)
    remainder = sum(concentration_divergence(a, b) for a, b in pairs)
    return leading + remainder - concentration_divergence(p._total, q._total)


class BetaFamily(Family):
    """The beta family: p(y) = y^(a - 1) (1 - y)^(b - 1) / B(a, b) for 0 < y < 1.

    All parameters have shape (...,).

    Args:
        parametrization: "concentration" for the parameters concentration1 = a and
            concentration0 = b, "mean" for mean = a / (a + b) and precision = a + b.

    Raises:
        ValueError: for another parametrization.
    """

    name = "beta"
    figure_row = 5
    support = _InsideUnitInterval()
    data_type = "univariate, continuous, bounded"
    domain = "0 < y < 1"
    use = "proportions"
    loss = "-(a - 1) log y - (b - 1) log(1 - y) + log B(a, b)"
    noise = (
        "Proportions and rates strictly between 0 and 1, whose variance shrinks towards both ends."
    )
    density = (
        "p(y) = y^(a - 1) (1 - y)^(b - 1) / B(a, b), a = concentration1 = mean * precision, b = "
        "concentration0"
    )
    breaks = (
        "Exact zeros and ones are impossible. A value very near an end costs many nats or, below "
        "concentration 1, gains them."
    )
    remedy = (
        "zero_one_inflated for exact ends: see at the edge; bernoulli with soft labels, weighted "
        "by the number of trials, for counted shares."
    )
    edge_remedy = (
        "A target of exactly 0 or 1 has the density zero or infinity. Where the ends are outcomes "
        "of their own, take zero_one_inflated with this base. Where they come from rounding or a "
        "limit of measurement, squeeze by a stated amount, (y (n - 1) + 1/2) / n for n rows "
        "(Smithson and Verkuilen 2006)."
    )

    def __init__(self, parametrization: str = "concentration"):
        if parametrization not in ("concentration", "mean"):
            raise unknown_name("parametrization", parametrization, ["concentration", "mean"])
        self.parametrization = parametrization
        self.distribution_class = MeanBeta if parametrization == "mean" else Beta
        softplus = LINKS["softplus"]
        self.parameters = (
            {"mean": LINKS["sigmoid"], "precision": softplus}
            if parametrization == "mean"
            else {"concentration1": softplus, "concentration0": softplus}
        )

    def make(self, **parameters: Tensor) -> Beta:
        return MeanBeta(**parameters) if self.parametrization == "mean" else Beta(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        mean = y.mean(0)
        room = mean * (1 - mean)
        precision = (room / y.var(0, correction=0).clamp(min=1e-8 * room) - 1).clamp(min=0.1)
        if self.parametrization == "mean":
            return {"mean": mean, "precision": precision}
        return {"concentration1": mean * precision, "concentration0": (1 - mean) * precision}
