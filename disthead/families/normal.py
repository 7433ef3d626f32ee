"""The normal distribution: additive noise of many small causes."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import (
    HALF_LOG_TWO_PI,
    closed_under_affine,
    with_fused_loss,
)
from disthead.distributions.closed_forms import closed_form, quantile
from disthead.distributions.component_curves import NormalCurves
from disthead.distributions.continuous import Continuous
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.standard import Standard
from disthead.distributions.univariate import in_double, in_double_for_gradients, ratio, sample_std
from disthead.errors import unknown_name
from disthead.families.family import Family
from disthead.links import LINKS, Link
from disthead.special import expm1mx, log_ndtr
from disthead.special.fast import Positive
from disthead.special.normal import ndtri_of_tails
from disthead.special.plain import erf, ndtr

__all__ = ["Normal", "NormalFamily"]


class Normal(Continuous):
    """Normal distribution with density exp(-z^2 / 2) / (scale sqrt(2 pi)) for real y.

    Here z = (y - loc) / scale. Source: Johnson, Kotz and Balakrishnan 1994, Continuous Univariate
    Distributions, volume 1, chapter 13.

    Args:
        loc: mean, median and mode, shape (...,).
        scale: standard deviation, shape (...,), positive, in the units of y.
        log_scale: log(scale); the scale, its logarithm or both are given.

    >>> Normal(0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-0.9189)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    curves = NormalCurves

    def __init__(self, loc, scale=None, *, log_scale=None):
        self._set_parameters(loc=loc, scale=scale, log_scale=log_scale)

    def _standardised(self, y: Tensor) -> Tensor:
        return ratio(y - self.loc, self.scale, self.log_scale)

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Tensor, scale: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and log(scale).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        z = (y - loc) / scale.value
        square = z * z
        return -HALF_LOG_TWO_PI - scale.log - 0.5 * square, z / scale.value, square - 1

    @with_fused_loss
    def log_prob(self, y: Tensor) -> Tensor:
        return -0.5 * self._standardised(y).square() - self.log_scale - HALF_LOG_TWO_PI

    @closed_form("normal_cdf", "loc", "scale")
    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return ndtr(self._standardised(y))

    @closed_form("normal_log_cdf", "loc", "scale")
    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return log_ndtr(self._standardised(y))

    @closed_form("normal_log_survival", "loc", "scale")
    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return log_ndtr(-self._standardised(y))

    @quantile("normal_icdf", "loc", "scale")
    def icdf(self, q: Tensor) -> Tensor:
        return super().icdf(q)

    def _standard(self) -> Standard:
        return Standard(
            torch.zeros_like(self.loc),
            self.loc,
            self.scale,
            lambda shape: Normal(torch.zeros_like(shape), 1.0),
        )

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        return self.loc + self.scale * ndtri_of_tails(below, above)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = median = mean

    @property
    def variance(self) -> Tensor:
        return self.scale.square()

    @property
    def stddev(self) -> Tensor:
        return self.scale

    def highest_density(self, level: float) -> Interval | Arc:
        return self.interval(level)  # symmetric about its peak

    def entropy(self) -> Tensor:
        return 0.5 + HALF_LOG_TWO_PI + self.log_scale

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.loc + self.scale * torch.randn(
            shape, generator=generator, dtype=self.dtype, device=self.device
        )

    @in_double_for_gradients
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y.

        scale (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), Gneiting, Raftery, Westveld and Goldman
        2005.
        """
        z = self._standardised(y)
        density = torch.exp(-0.5 * z.square() - HALF_LOG_TWO_PI)
        # scale * z is y - loc, also where z is beyond all numbers of single precision
        return (y - self.loc) * erf(z / 2**0.5) + self.scale * (2 * density - torch.pi**-0.5)

    @closed_under_affine
    def affine(self, loc: Tensor, scale: Tensor) -> "Normal":
        return Normal(
            loc + scale * self.loc, scale * self.scale, log_scale=scale.log() + self.log_scale
        )


@register_kl(Normal, Normal)
@in_double
def kl_normal(p: Normal, q: Normal) -> Tensor:
    """The divergence of two normal distributions in nats, shape (...).

    log(q.scale / p.scale) + (p.scale^2 + (p.loc - q.loc)^2) / (2 q.scale^2) - 1/2.
    """
    log_ratio = 2 * (p.log_scale - q.log_scale)
    return 0.5 * (expm1mx(log_ratio) + ratio(p.loc - q.loc, q.scale, q.log_scale).square())


# of the raw output loc / scale^2, which a family turns into loc; it has no map of its own
_NATURAL = replace(LINKS["identity"], name="natural", formula="x scale^2", value_and_slope=None)


class NormalFamily(Family):
    """The normal family: p(y) = exp(-(y - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi)), y real.

    Its parameters are `loc` and `scale`, shape (...,).

    Args:
        parametrization: what the raw output of `loc` is: "loc", or "natural" for loc / scale^2, the
            first natural parameter of the exponential family (Immer and others 2023). Its gradient
            is loc - y then, whatever the scale, so that noisy rows teach the mean as others do. The
            second one, -1 / (2 scale^2), follows from the scale by its link, softplus; with
            links={"scale": "exp"} its logarithm is linear in the raw output, as in the paper.

    Raises:
        ValueError: for another parametrization.
    """

    name = "normal"
    figure_row = 1
    parameters = {"loc": LINKS["identity"], "scale": LINKS["softplus"]}
    support = constraints.real
    fast_range = {"scale": (1e-6, 1e6)}
    distribution_class = Normal
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "regression"
    loss = "mean squared error"
    noise = (
        "Symmetric, additive noise of many small independent causes; its scale may change with the "
        "features."
    )
    density = "p(y) = exp(-(y - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi))"
    breaks = (
        "Outliers pull the mean, since a distance of ten standard deviations costs fifty nats. "
        "Skewed or bounded targets get mass where none can be."
    )
    remedy = (
        "student_t or laplace for outliers, log_normal or gamma for positive targets, mixture for "
        "several peaks."
    )

    def __init__(self, parametrization: str = "loc"):
        if parametrization not in ("loc", "natural"):
            raise unknown_name("parametrization", parametrization, ["loc", "natural"])
        self.parametrization = parametrization
        if parametrization == "natural":
            self.parameters = {"loc": _NATURAL, "scale": LINKS["softplus"]}
            self.distribution_class = None  # type: ignore[assignment]  # its formula takes each parameter by itself

    def constrain(self, raw: Mapping[str, Tensor], links: Mapping[str, Link]) -> dict[str, Tensor]:
        values = super().constrain(raw, links)
        if "loc" in raw and links["loc"].name == _NATURAL.name:
            values["loc"] = values["loc"] * self._scale_of(values).square()
        return values

    def unconstrain(
        self, values: Mapping[str, Tensor], links: Mapping[str, Link]
    ) -> dict[str, Tensor]:
        raw = super().unconstrain(values, links)
        if "loc" in values and links["loc"].name == _NATURAL.name:
            scale = links["scale"].inside(self._scale_of(values))
            raw["loc"] = raw["loc"] / scale.square()
        return raw

    @staticmethod
    def _scale_of(values: Mapping[str, Tensor]) -> Tensor:
        if "scale" not in values:
            raise ValueError(
                "the natural parametrization of normal needs a scale that is learned. Take "
                'parametrization="loc" where the scale is fixed.'
            )
        return values["scale"]

    def make(self, **parameters: Tensor) -> Normal:
        return Normal(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return {"loc": y.mean(0), "scale": sample_std(y)}
