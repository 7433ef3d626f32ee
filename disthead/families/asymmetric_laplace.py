"""The asymmetric Laplace distribution, whose loss is that of quantile regression."""

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl
from torch.nn.functional import logsigmoid

from disthead.arrays import as_number
from disthead.distributions.base import logits_of, positive, tensors
from disthead.distributions.location_scale import LocationScale
from disthead.distributions.univariate import (
    in_double,
    ratio,
    with_grad_through_log,
    with_min_scale,
)
from disthead.families.exponential import minus_log
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import expm1mx
from disthead.special.fast import Positive, sigmoids

__all__ = ["AsymmetricLaplace", "AsymmetricLaplaceFamily"]


class AsymmetricLaplace(LocationScale):
    """Asymmetric Laplace distribution with density p (1 - p) exp(-rho(z)) / scale for real y.

    Here z = (y - loc) / scale, p = asymmetry, and rho(z) = z (p - 1{z < 0}) is the quantile loss of
    level p: loc is the quantile of level p. At scale 1, -log_prob(y) is the quantile loss of
    y - loc plus the constant -log(p (1 - p)). Source: Yu and Zhang 2005, A three-parameter
    asymmetric Laplace distribution. Pyro's distribution of that name has other parameters: its
    asymmetry is sqrt(p / (1 - p)), and its scale is scale / sqrt(p (1 - p)).

    Args:
        loc: mode and quantile of level p, shape (...,).
        scale: shape (...,), positive, in the units of y: the mean quantile loss.
        asymmetry: p, the probability of targets below loc, shape (...,), between 0 and 1; at 1/2
            the distribution is Laplace's with twice the scale.
        log_scale: log(scale); the scale, its logarithm or both are given.
        logits_asymmetry: log(p / (1 - p)); p, its logits or both are given.

    >>> AsymmetricLaplace(0.0, 1.0, 0.9).cdf(torch.tensor(0.0))
    tensor(0.9000)
    >>> AsymmetricLaplace(0.0, 1.0, 0.5).log_prob(torch.tensor(2.0))
    tensor(-2.3863)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "asymmetry": constraints.unit_interval,
    }

    def __init__(self, loc, scale=None, asymmetry=None, *, log_scale=None, logits_asymmetry=None):
        loc, scale, asymmetry, log_scale, logits = tensors(
            loc, scale, asymmetry, log_scale, logits_asymmetry
        )
        scale, log_scale = positive(scale, log_scale)
        logits = logits_of(asymmetry, logits)
        self._store(loc=loc, scale=scale, logits_asymmetry=logits, log_scale=log_scale)

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"loc": self.loc, "scale": self.scale, "asymmetry": self.asymmetry}

    @property
    def asymmetry(self) -> Tensor:
        """The probability of targets below loc."""
        return self.logits_asymmetry.sigmoid().to(self.dtype)

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, loc: Tensor, scale: Positive, logits_asymmetry: Tensor
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc, log(scale) and the logits of the asymmetry.

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = (y - loc) / scale.value
        below, above = sigmoids(logits_asymmetry)
        slope = _slope(z, below, above)
        loss, size = z * slope, abs(logits_asymmetry)
        value = -loss - scale.log - size - 2 * torch.log1p(torch.exp(-size))
        return value, slope / scale.value, loss - 1, above - below - z * below * above

    def _shares(self) -> tuple[Tensor, Tensor]:
        """The probabilities below and above loc."""
        logits = self.logits_asymmetry
        # the gradient of sigmoid, p (1 - p), has lost the digits of 1 - p where p is close to 1
        below, above = (
            with_grad_through_log(one.sigmoid(), logsigmoid(one)) for one in (logits, -logits)
        )
        return below, above

    def _log_width(self) -> Tensor:
        """Minus the log-density at loc."""
        size = logsigmoid(self.logits_asymmetry) + logsigmoid(-self.logits_asymmetry)
        return self.log_scale - size

    def _log_density(self, z: Tensor) -> Tensor:
        below, above = self._shares()
        return self.log_scale - self._log_width() - z * _slope(z, below, above)

    def _probability(self, z: Tensor) -> Tensor:
        below, above = self._shares()
        left = z < 0
        lower, upper = torch.where(left, z, 0.0), torch.where(left, 0.0, z)
        return torch.where(
            left, below * torch.exp(above * lower), below - above * torch.expm1(-below * upper)
        )

    def _log_lower(self, z: Tensor) -> Tensor:
        return _log_lower(z, *self._shares(), self.logits_asymmetry)

    def _log_upper(self, z: Tensor) -> Tensor:
        return _log_lower(-z, *self._shares()[::-1], -self.logits_asymmetry)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        share_below, share_above = self._shares()
        lower = (minus_log(above, below) + logsigmoid(self.logits_asymmetry)) / share_above
        upper = (minus_log(below, above) + logsigmoid(-self.logits_asymmetry)) / share_below
        return self.loc + self.scale * torch.where(below < share_below, -lower, upper)

    @property
    @in_double
    def mean(self) -> Tensor:
        below, above = self._shares()
        return self.loc + self.scale * (1 / below - 1 / above)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        below, above = self._shares()
        return self.scale * torch.hypot(1 / below, 1 / above)

    @in_double
    def entropy(self) -> Tensor:
        return 1 + self._log_width()

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y.

        E|Z - z| is z - m + 2 (1 - p) exp(-p z) / p for z >= 0 with the mean m = 1 / p - 1 / (1 - p)
        of Z, and m - z + 2 p exp((1 - p) z) / (1 - p) for z < 0; E|Z - Z'| / 2 is
        (1 - p^2) / (2 p) + (1 - (1 - p)^2) / (2 (1 - p)). Source: Jordan, Krueger and Lerch
        2019 for two exponential halves.
        """
        z = self._standardised(y)
        below, above = self._shares()
        left, mean = z < 0, 1 / below - 1 / above
        tail = torch.where(left, below / above, above / below) * torch.exp(
            -z * torch.where(left, -above, below)
        )
        distance = torch.where(left, mean - z, z - mean) + 2 * tail
        half_mean_difference = below / above * (1 - 0.5 * below) + above / below * (1 - 0.5 * above)
        return self.scale * (distance - half_mean_difference)


def _slope(z: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """The derivative of the quantile loss; at 0 the mean of those on both sides."""
    return torch.where(z < 0, -above, torch.where(z > 0, below, 0.5 * (below - above)))


def _log_lower(z: Tensor, below: Tensor, above: Tensor, logits: Tensor) -> Tensor:
    """Log P(Z <= z), from the probabilities below and above 0 and the logits of the former."""
    left = z < 0
    lower, upper = torch.where(left, z, 0.0), torch.where(left, 0.0, z)
    tail = above * torch.exp(-below * upper)
    near = tail > 0.5
    close = torch.log(below - above * torch.expm1(-below * torch.where(near, upper, 0.0)))
    far = torch.log1p(-torch.where(near, 0.5, tail))
    return torch.where(left, logsigmoid(logits) + above * lower, torch.where(near, close, far))


@register_kl(AsymmetricLaplace, AsymmetricLaplace)
@in_double
def _kl_asymmetric_laplace(p: AsymmetricLaplace, q: AsymmetricLaplace) -> Tensor:
    """E_p[rho_q((Y - q.loc) / q.scale)] - 1, and the log-ratio of the heights.

    E[(Z - z)+] and E[(z - Z)+] are written so that nothing cancels at z = 0, where they are
    above / below and below / above.
    """
    below, above = p._shares()
    z = ratio(q.loc - p.loc, p.scale, p.log_scale)
    left = z < 0
    lower, upper = torch.where(left, z, 0.0), torch.where(left, 0.0, -z)
    far_below, far_above = above * lower, below * upper
    shortfall = torch.where(
        left,
        below / above * far_below.exp(),
        expm1mx(far_above) / below + below / above - torch.expm1(far_above),
    )
    excess = torch.where(
        left,
        expm1mx(far_below) / above + above / below - torch.expm1(far_below),
        above / below * far_above.exp(),
    )
    q_below, q_above = q._shares()
    loss = (q_below * excess + q_above * shortfall) * ratio(p.scale, q.scale, q.log_scale)
    return loss - 1 + q._log_width() - p._log_width()


class AsymmetricLaplaceFamily(Family):
    """The asymmetric Laplace family: p(y) = p (1 - p) exp(-rho(z)) / scale for real y.

    Here z = (y - loc) / scale, p = asymmetry and rho(z) = z (p - 1{z < 0}), the quantile loss. The
    parameters are `loc`, `scale` and `asymmetry`, shape (...,).

    Args:
        quantile: the level p, which makes loc the quantile of that level and leaves `loc` and
            `scale` to be learned; None learns the asymmetry, too.

    Raises:
        ValueError: unless 0 < quantile < 1.
    """

    name = "asymmetric_laplace"
    support = constraints.real
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = AsymmetricLaplace
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "quantile regression"
    loss = "quantile (pinball) loss: z (p - 1{z < 0})"
    noise = (
        "Additive noise with exponential tails of two rates and a sharp peak at loc, below which "
        "lies the probability asymmetry."
    )
    density = (
        "p(y) = p (1 - p) exp(-z (p - 1{z < 0})) / scale, z = (y - loc) / scale, p = asymmetry"
    )
    breaks = (
        "With a fixed quantile loc is that quantile for any noise, but the other quantiles and the "
        "intervals are those of this density, and hold only if the noise has it."
    )
    remedy = (
        "laplace where both tails are alike; mixture, or one model for each level, for quantiles "
        "of any noise; log_normal or gamma for skewed positive targets."
    )

    def __init__(self, quantile: float | None = None):
        if quantile is not None:
            expected = "a level between 0 and 1, such as 0.9, or None to learn the asymmetry"
            quantile = as_number(
                quantile, "quantile of asymmetric_laplace", expected, lambda x: 0 < x < 1
            )
        self.quantile = quantile
        level = LINKS["sigmoid"] if quantile is None else LINKS["sigmoid"].constant(quantile)
        self.parameters = {
            "loc": LINKS["identity"],
            "scale": LINKS["softplus"],
            "asymmetry": level,
        }

    def make(self, **parameters: Tensor) -> AsymmetricLaplace:
        return AsymmetricLaplace(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # The mean distances below and above each order statistic, as a possible loc.
        values = y.sort(0).values
        count = torch.arange(1, len(y) + 1, dtype=y.dtype, device=y.device)
        count = count.reshape(-1, *(1,) * (y.ndim - 1))
        mean, total = y.mean(0), values.cumsum(0)
        left = ((count * values - total) / len(y)).clamp(min=0)
        right = (left + mean - values).clamp(min=0)
        if self.quantile is None:
            # For a given loc the likelihood is greatest at p = sqrt(left) / (sqrt(left) +
            # sqrt(right)), where it is a function of sqrt(left) + sqrt(right).
            best = (left.sqrt() + right.sqrt()).argmin(0, keepdim=True)
            root, other = left.gather(0, best)[0].sqrt(), right.gather(0, best)[0].sqrt()
            total = root + other
            level = torch.where(total > 0, root, 1.0) / torch.where(total > 0, total, 2.0)
            level = level.clamp(0.01, 0.99)
        else:
            level = torch.full_like(mean, self.quantile)
            best = ((1 - level) * left + level * right).argmin(0, keepdim=True)
        below, above = (part.gather(0, best)[0] for part in (left, right))
        scale = with_min_scale((1 - level) * below + level * above, y)
        return {"loc": values.gather(0, best)[0], "scale": scale, "asymmetry": level}
