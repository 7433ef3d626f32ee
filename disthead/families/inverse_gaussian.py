"""The inverse Gaussian distribution: the time a random walk with drift takes to a barrier."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import HALF_LOG_TWO_PI, stored, with_fused_loss
from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double
from disthead.errors import unknown_name
from disthead.families.family import Family
from disthead.families.gamma import GammaFamily
from disthead.links import LINKS
from disthead.special.fast import Positive
from disthead.special.inverse_gaussian import (
    exp1_scaled,
    inverse_gaussian_log_tails,
    inverse_gaussian_quantile,
)

__all__ = ["InverseGaussian", "InverseGaussianFamily", "MeanInverseGaussian"]


class InverseGaussian(Continuous):
    """Inverse Gaussian (Wald) distribution for y > 0.

    Its density is sqrt(c / (2 pi y^3)) exp(-c (y - loc)^2 / (2 loc^2 y)) for c = concentration; the
    variance is loc^3 / c. Source: Johnson, Kotz and Balakrishnan 1994, Continuous Univariate
    Distributions, volume 1, chapter 15.

    Args:
        loc: the mean, shape (...,), positive, in the units of y, named as in TensorFlow
            Probability; `MeanInverseGaussian` calls it mean.
        concentration: c, shape (...,), positive, in the units of y; its inverse is the dispersion
            of a generalised linear model.
        log_loc: log(loc); loc, its logarithm or both are given.
        log_concentration: log(c); c, its logarithm or both are given.

    >>> InverseGaussian(2.0, 4.0).variance
    tensor(2.)
    >>> InverseGaussian(1.0, 1.0).cdf(torch.tensor(1.0))
    tensor(0.6681)
    """

    arg_constraints = {"loc": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, loc=None, concentration=None, *, log_loc=None, log_concentration=None):
        self._set_parameters(
            loc=loc,
            concentration=concentration,
            log_loc=log_loc,
            log_concentration=log_concentration,
        )

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Positive, concentration: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by log(loc) and log(concentration).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        relative = (y - loc.value) / loc.value
        slope = concentration.value * relative / loc.value
        deviance = slope * (y - loc.value) / y
        value = 0.5 * (concentration.log - deviance) - HALF_LOG_TWO_PI - 1.5 * torch.log(y)
        return value, slope, 0.5 - 0.5 * deviance

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y > 0) & (y < torch.inf)
        y = torch.where(inside, y, 1.0)
        a, _ = self._standardised(y)
        value = 0.5 * (self.log_concentration - a.square()) - HALF_LOG_TWO_PI - 1.5 * y.log()
        return torch.where(inside, value, -torch.inf)

    def _standardised(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The signed root a of the deviance, and sqrt(concentration / y)."""
        root, share = (self.concentration / y).sqrt(), y / self.loc
        # share - 1 to its own digits, with the gradient of the share, in which nothing cancels
        excess = share + ((y - self.loc) / self.loc - share).detach()
        return root * excess, root

    def _log_tails(self, y: Tensor) -> tuple[Tensor, Tensor]:
        empty = y <= 0
        full = y == torch.inf
        a, root = self._standardised(torch.where(empty | full, self.loc, y))
        log_cdf, log_survival = inverse_gaussian_log_tails(a, root)
        return (
            torch.where(empty, -torch.inf, torch.where(full, 0.0, log_cdf)),
            torch.where(full, -torch.inf, torch.where(empty, 0.0, log_survival)),
        )

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return self._log_tails(y)[0]

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return self._log_tails(y)[1]

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        below, above, _ = torch.broadcast_tensors(below, above, self._constant(0.0))
        u = inverse_gaussian_quantile(
            (self.concentration / self.loc).detach(), below.detach(), above.detach()
        )
        return self._with_gradient(self.loc.detach() * u.exp(), below.log(), above.log())

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.loc

    @property
    @in_double
    def mode(self) -> Tensor:
        half = 1.5 * self.loc / self.concentration
        return self.loc / (half + torch.sqrt(1 + half.square()))

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.stddev.square()

    @property
    @in_double
    def stddev(self) -> Tensor:
        return self.loc * (self.loc / self.concentration).sqrt()

    @in_double
    def entropy(self) -> Tensor:
        """The entropy (1 + log(2 pi loc^3 / c) - 3 exp(2 k) E1(2 k)) / 2, k = c / loc, in nats."""
        log_loc = self.loc.log()
        return (
            HALF_LOG_TWO_PI
            + 0.5
            + 1.5 * (log_loc - exp1_scaled(2 * self.concentration / self.loc))
            - 0.5 * self.concentration.log()
        )

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples by Michael, Schucany and Haas 1976, with implicit gradients."""
        exact = self._in_double()
        shape = self._extended_shape(sample_shape)
        like: dict[str, Any] = {"dtype": exact.dtype, "device": self.device, "generator": generator}
        with torch.no_grad():
            square = torch.randn(shape, **like).square()
            half = 0.5 * square * (exact.loc / exact.concentration)
            small = 1 / (1 + half + torch.sqrt(half * (half + 2)))
            is_small = torch.rand(shape, **like) * (1 + small) <= 1
            y = exact.loc * torch.where(is_small, small, 1 / small)
            y = y.to(self.dtype).clamp(min=torch.finfo(self.dtype).tiny).to(exact.dtype)
        return exact._with_gradient(y).to(self.dtype)


class MeanInverseGaussian(InverseGaussian):
    """Inverse Gaussian distribution whose first parameter is called mean, for y > 0.

    The density is that of `InverseGaussian` with loc = mean.

    Args:
        mean: shape (...,), positive, in the units of y.
        concentration: shape (...,), positive, in the units of y.
        log_mean: log(mean); the mean, its logarithm or both are given.
        log_concentration: log(concentration); the concentration, its logarithm or both are given.

    >>> MeanInverseGaussian(2.0, 4.0).variance
    tensor(2.)
    """

    arg_constraints = {"mean": constraints.positive, "concentration": constraints.positive}
    mean = stored()

    def __init__(self, mean=None, concentration=None, *, log_mean=None, log_concentration=None):
        self._set_parameters(
            mean=mean,
            concentration=concentration,
            log_mean=log_mean,
            log_concentration=log_concentration,
        )

    @property
    def loc(self) -> Tensor:
        """The mean."""
        return self.mean


class InverseGaussianFamily(Family):
    """The inverse Gaussian family, y > 0, with the mean loc and the variance loc^3 / c.

    p(y) = sqrt(c / (2 pi y^3)) exp(-c (y - loc)^2 / (2 loc^2 y)) for c = concentration. All
    parameters have shape (...,).

    Args:
        parametrization: "loc" for the parameters loc and concentration, "mean" for mean and
            concentration, which are the same numbers.

    Raises:
        ValueError: for another parametrization.
    """

    name = "inverse_gaussian"
    support = constraints.positive
    fast_range = {"loc": (0.1, 1e6), "mean": (0.1, 1e6)}
    least_log_std = 2e-3
    data_type = "univariate, continuous, bounded below"
    domain = "y > 0"
    use = "durations and magnitudes"
    loss = "(y - mean)^2 / (mean^2 y)"
    noise = (
        "The time until a quantity that drifts and fluctuates first reaches a barrier, such as a "
        "reaction time; also right-skewed magnitudes whose variance grows as the cube of the mean."
    )
    density = "p(y) = sqrt(c / (2 pi y^3)) exp(-c (y - loc)^2 / (2 loc^2 y)), c = concentration"
    breaks = (
        "Values near 0 are nearly impossible, and zeros are. Where the variance grows more slowly "
        "than the cube of the mean, large means get intervals that are too wide."
    )
    remedy = (
        "gamma where the standard deviation is proportional to the mean, log_normal for a similar "
        "shape with a spread in per cent."
    )
    edge_remedy = GammaFamily.edge_remedy

    def __init__(self, parametrization: str = "loc"):
        if parametrization not in ("loc", "mean"):
            raise unknown_name("parametrization", parametrization, ["loc", "mean"])
        self.parametrization = parametrization
        self.distribution_class = (
            MeanInverseGaussian if parametrization == "mean" else InverseGaussian
        )
        self.parameters = dict.fromkeys((parametrization, "concentration"), LINKS["softplus"])

    def make(self, **parameters: Tensor) -> InverseGaussian:
        if self.parametrization == "mean":
            return MeanInverseGaussian(**parameters)
        return InverseGaussian(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # the maximum likelihood fit; constant targets get a relative standard deviation of 1 %
        mean = y.mean(0)
        dispersion = (1 / y - 1 / mean).mean(0)
        dispersion = torch.where(
            y.amin(0) < y.amax(0), dispersion.clamp(min=1e-12 / mean), 1e-4 / mean
        )
        return {self.parametrization: mean, "concentration": 1 / dispersion}
