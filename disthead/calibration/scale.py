"""`ScaleCalibration` and `QuantileRecalibration`, recalibrations of distributions of numbers."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.calibration.monotone_maps import (
    KNOTS,
    AffineMap,
    AffineMapAboutMean,
    LogSlopeSpline,
    place_of_mean,
    probit,
)
from disthead.calibration.recalibrated import recalibrated
from disthead.calibration.recalibration import (
    NothingLearned,
    Recalibration,
    effective_rows,
    mean_over_rows,
)
from disthead.distributions.affine import Affine
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.circular import Circular
from disthead.distributions.continuous import Continuous
from disthead.distributions.discrete import Discrete
from disthead.distributions.vector import Vector
from disthead.families.circular_mixture import CircularMixture
from disthead.optimise import minimise
from disthead.special import log_ndtr_difference

__all__ = ["QuantileRecalibration", "ScaleCalibration"]


class ScaleCalibration(Recalibration):
    """Distributions widened or narrowed by one number, which is learned by maximum likelihood.

    The standard deviation becomes `scale` times what it was, or nearly so:

    - On the whole line (normal, student_t, laplace, mixtures of these, multivariate_normal), Y
      becomes median + scale (Y - median), of the same family. Each coordinate of a vector has a
      scale of its own.
    - On part of the line and for counts, where that would leave the support, the map acts on the
      probit scale: the cdf F becomes Phi((Phi^-1(F) - c) / scale + scale c). It agrees with the
      above for a normal distribution and keeps the support. It keeps the median with c = 0 and,
      nearly, the mean with c = Phi^-1(F(mean)), whichever of the two the rows find more probable.
      Where the mean is infinite, the median is kept.
    - For directions, each component gets another concentration: that of von_mises is divided by
      scale^2, that of wrapped_cauchy is raised to the power of scale.

    After `fit`, `scale` and `keeps_mean` have shape (), or event_shape for several outputs. For
    counts with a mean below about 20 whose variance is twice the predicted one or more, one number
    is not enough: the negative_binomial family and `QuantileRecalibration` also correct the skew.

    Source: Laves, Ihler, Fast, Kahrs and Ortmaier 2020, for normal distributions.

    Raises:
        TargetError: by `fit`, where the likelihood has no maximum, as where all predictions are
            exact; see also `Recalibration.fit`.
        ValueError: by `fit`, for classes, rankings and vectors that are not all of R^D.

    >>> from disthead.families import Normal
    >>> y = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    >>> too_narrow = Normal(torch.zeros(1000), 0.5)
    >>> round(ScaleCalibration().fit(too_narrow, y)(too_narrow).stddev[0].item(), 1)
    1.0
    """

    scale: Tensor
    keeps_mean: Tensor

    def __init__(self):
        super().__init__()
        self._learned("scale", "keeps_mean")

    def _check_kind(self, dist: Distribution) -> None:
        _refuse_classes(self, dist)
        if dist.kind == "vector" and not _on_whole_line(dist):
            raise ValueError(
                "ScaleCalibration stretches vectors of any real numbers, which would leave the "
                f"support here: got {dist!r}. Try recalibrating its marginals."
            )

    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        while isinstance(dist, Affine):
            dist, y = dist.base, dist._to_base(y)
        if isinstance(dist, (Continuous, Discrete)):
            dist = dist._in_double()
        centre = _centre(dist).detach()
        start = self._start(dist, y, weight)

        def log_prob(scale: Tensor, keeps_mean: Tensor | float) -> Tensor:
            return _scaled(dist, scale, centre, keeps_mean).log_prob(y)

        def fit(keeps_mean: float) -> tuple[Tensor, Tensor]:
            def losses(log_scale: Tensor) -> Tensor:
                return -mean_over_rows(log_prob(log_scale.exp(), keeps_mean), weight)

            (log_scale,) = minimise(lambda log_scale: losses(log_scale).sum(), start)
            unchanged = torch.zeros_like(log_scale)
            found, before = losses(log_scale).detach(), losses(unchanged).detach()
            # a density with jumps has local maxima of the likelihood
            better = ~(found > before)
            return torch.where(better, log_scale, 0.0).exp(), torch.where(better, found, before)

        self.scale, loss = fit(1.0)
        self.keeps_mean = torch.ones_like(self.scale)
        if isinstance(dist, (Continuous, Discrete)) and not _on_whole_line(dist):
            other_scale, other_loss = fit(0.0)
            self.keeps_mean = (loss <= other_loss).to(self.scale.dtype)
            self.scale = torch.where(loss <= other_loss, self.scale, other_scale)
        _check_maximum(lambda scale: log_prob(scale, self.keeps_mean), self.scale, weight)

    @staticmethod
    def _start(dist: Distribution, y: Tensor, weight: Tensor | None) -> Tensor:
        """The logarithm of the root mean square of Phi^-1(F(y)).

        That is the maximum for a normal distribution and on the probit scale.
        """
        if isinstance(dist, (Vector, Discrete, CircularMixture)):
            return torch.zeros(y.shape[1:], dtype=torch.float64, device=y.device)
        z = probit(dist.log_cdf(y), dist.log_survival(y)).clamp(-1e3, 1e3)
        return 0.5 * mean_over_rows(z.square(), weight).clamp(min=1e-12).log()

    def _recalibrate(self, dist: Distribution) -> Distribution:
        return _scaled(dist, self.scale, keeps_mean=self.keeps_mean)


@torch.no_grad()
def _check_maximum(
    log_prob: Callable[[Tensor], Tensor], scale: Tensor, weight: Tensor | None
) -> None:
    """Raises where the likelihood has no maximum, so that the scale goes to 0 or to infinity."""
    for factor, suspicious in ((0.1, ~(scale > 0.1)), (10.0, scale > 10)):
        for place in suspicious.nonzero().tolist():
            further = scale.clone()
            further[tuple(place)] *= factor
            rise = (log_prob(further) - log_prob(scale)).nan_to_num(0.0)
            if mean_over_rows(rise, weight).sum() < -1e-6:
                continue
            rows = rise >= 0
            if rows.ndim > 1:  # of that output alone
                this = torch.zeros_like(scale, dtype=torch.bool)
                this[tuple(place)] = True
                rows = rows & this
            where = (
                "as it falls to 0, as where targets are exactly what is predicted"
                if factor < 1
                else "as it grows"
            )
            raise NothingLearned(
                f"finds no scale: the likelihood does not fall {where}, in",
                rows,
                "Try more rows, and rows that the model was not trained on.",
            )


def _on_whole_line(dist: Distribution) -> bool:
    return dist.support is constraints.real or dist.support is constraints.real_vector


def _centre(dist: Distribution) -> Tensor:
    """The point that stays: the median on the whole line, elsewhere the probit of the mean."""
    if _on_whole_line(dist):
        return dist.median
    exact = dist._in_double() if isinstance(dist, (Continuous, Discrete)) else dist
    if isinstance(exact, Discrete):
        # Half an integer to the left, as everywhere where a smooth curve runs through a cdf of
        # integers; fading out below a mean of one, where the mean lies in the upper tail.
        mean, exists = exact.mean, exact.mean.isfinite()
        least = torch.maximum(mean - 0.5, exact.support_limits()[0])
        least = torch.where(exists, least, exact.median)
        place = probit(exact._log_cdf(least), exact._log_survival(least)) * mean.abs().clamp(max=1)
        return torch.where(exists, place, 0.0)
    if isinstance(exact, Continuous) and exact.kind != "direction":
        return place_of_mean(exact)
    return torch.zeros(dist.batch_shape, dtype=torch.float64, device=dist.device)


def _scaled(
    dist: Distribution,
    scale: Tensor,
    centre: Tensor | None = None,
    keeps_mean: Tensor | float = 1.0,
) -> Distribution:
    if isinstance(dist, Affine):
        return Affine(_scaled(dist.base, scale, centre, keeps_mean), dist.loc, dist.scale)
    if isinstance(dist, Circular):
        return dist.widened(scale)
    if isinstance(dist, CircularMixture):
        return CircularMixture(dist.logits, _scaled(dist.components, scale.unsqueeze(-1)))
    centre = _centre(dist) if centre is None else centre
    if _on_whole_line(dist):
        scale = scale.to(dist.dtype)
        return dist.affine(centre.to(dist.dtype) * (1 - scale), scale)
    scale, centre = scale.double(), centre * keeps_mean
    if not isinstance(dist, Continuous):
        return recalibrated(dist, AffineMap(scale, centre))
    share = torch.as_tensor(keeps_mean, dtype=scale.dtype, device=scale.device)
    return recalibrated(dist, AffineMapAboutMean(scale, centre, share))


class QuantileRecalibration(Recalibration):
    """The cdf of a distribution mapped by a smooth increasing function, with a density.

    `ScaleCalibration` comes first. Then the cdf F becomes Phi(h(Phi^-1(F))), where h has a shift
    and a slope whose logarithm is linear between nine knots and zero outside them. These are nine
    numbers for each output, learned by maximum likelihood with a weak prior for a constant slope:
    the log-slopes of neighbouring knots differ by a normal number with standard deviation 1/2. The
    map corrects the location, the skew, and light and heavy tails; the tails beyond three standard
    deviations keep the model's shape.

    After `fit`, `offset` has shape () and `log_slopes` shape (7,), after event_shape if there are
    several outputs, and `spread` is the fitted `ScaleCalibration`.

    Source: Kuleshov, Fenner and Ermon 2018, whose map is isotonic and therefore has no density.

    Raises:
        TargetError: by `fit`, for targets at the end of the support or all at one quantile of
            `dist`; see also `Recalibration.fit`.
        ValueError: by `fit`, for classes, rankings, directions and vectors.

    >>> from disthead.families import Normal
    >>> y = 1 + torch.randn(1000, generator=torch.Generator().manual_seed(0))
    >>> shifted = Normal(torch.zeros(1000), 1.0)
    >>> round(QuantileRecalibration().fit(shifted, y)(shifted).median[0].item(), 1)
    1.0
    """

    least_rows = 10
    offset: Tensor
    log_slopes: Tensor
    _roughness = 0.5  # standard deviation of the prior between neighbouring knots

    def __init__(self):
        super().__init__()
        self.spread = ScaleCalibration()
        self._learned("offset", "log_slopes")

    def _check_kind(self, dist: Distribution) -> None:
        _refuse_classes(self, dist)
        if dist.kind in ("vector", "direction"):
            raise ValueError(
                "QuantileRecalibration is for ordered numbers, one cdf for each output, got "
                f"{dist!r}. Try ScaleCalibration."
            )

    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        while isinstance(dist, Affine):
            dist, y = dist.base, dist._to_base(y)
        self.spread._learn(dist, y, weight)
        scaled = self.spread._recalibrate(dist._in_double())
        if isinstance(scaled, Discrete):
            below, through = scaled._z(y - 1), scaled._z(y)
        else:
            z = probit(scaled.log_cdf(y), scaled.log_survival(y))
            if (at_an_end := z.isinf()).any():
                raise NothingLearned(
                    "finds no shape where targets lie at the end of the support, with no "
                    "probability on one side:",
                    at_an_end,
                    "Give such rows the weight 0, try ScaleCalibration, or a family with an atom "
                    "there.",
                )
            if (constant := (z - z[:1]).abs().amax(0) < 1e-6).any():
                raise NothingLearned(
                    "finds no shape where all targets lie at one quantile of dist:",
                    constant.expand(z.shape),
                    "Try ScaleCalibration, or more rows.",
                )

        def loss(offset: Tensor, log_slopes: Tensor) -> Tensor:
            spline = LogSlopeSpline(offset, log_slopes)
            if isinstance(scaled, Discrete):
                log_density = log_ndtr_difference(spline(below), spline(through))
            else:
                log_density = spline.log_slope(z) - 0.5 * spline(z).square()
            steps = torch.diff(torch.nn.functional.pad(log_slopes, (1, 1)))
            prior = (
                0.5 * (steps / self._roughness).square().sum(-1) / effective_rows(weight, len(y))
            )
            return (prior - mean_over_rows(log_density, weight)).sum()

        start = torch.zeros(y.shape[1:], dtype=torch.float64, device=y.device)
        self.offset, self.log_slopes = minimise(
            loss, start, start.unsqueeze(-1).expand(*start.shape, len(KNOTS) - 2)
        )

    def _recalibrate(self, dist: Distribution) -> Distribution:
        return recalibrated(
            self.spread._recalibrate(dist),
            LogSlopeSpline(self.offset.double(), self.log_slopes.double()),
        )


def _refuse_classes(recalibration: Recalibration, dist: Distribution) -> None:
    if dist.kind in (*CLASSES, "ranking"):
        raise ValueError(
            f"{type(recalibration).__name__} is for numbers, whose spread can be wrong, got "
            f"{dist!r}. Try TemperatureScaling for classes and rankings."
        )
    if dist.kind == "mixed":
        raise ValueError(
            f"{type(recalibration).__name__} moves all numbers, and {dist!r} has a probability at "
            "single ones, which would move, too. Take another base, or more rows."
        )
