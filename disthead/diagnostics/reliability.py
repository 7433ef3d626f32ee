"""CORP: reliability diagrams by isotonic regression, and the decomposition of a score."""

from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.diagnostics.isotonic import isotonic_mean, isotonic_quantile
from disthead.distributions.base import Distribution
from disthead.distributions.scores import draw
from disthead.errors import locate

__all__ = ["Reliability", "exceedance_reliability", "quantile_reliability", "reliability"]


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram, with score = miscalibration - discrimination + uncertainty.

    Attributes:
        forecast: the distinct forecasts, rising, shape (K,).
        count: the number of rows with each forecast, shape (K,).
        recalibrated: the isotonic fit at each forecast, the frequency or the quantile of the
            outcomes, shape (K,). It equals the forecast if that is calibrated.
        lower: the lower end of the band that holds each fit by itself with the probability
            `confidence` if the forecast is calibrated, shape (K,).
        upper: the upper end of the band, shape (K,).
        score: the mean Brier score (y - p)^2 of probabilities, or mean pinball loss of quantiles.
        miscalibration: the score minus that of the recalibrated forecast; 0 is best.
        discrimination: the score of the best constant forecast minus that of the recalibrated one;
            large is good.
        uncertainty: the score of the best constant forecast, which depends on the data alone.
        p_value: of the hypothesis that the forecast is calibrated, by simulation of its
            miscalibration; nan without simulations.
        level: of a quantile; None for probabilities.
        confidence: the probability of the band.
        chance: the miscalibration that a calibrated forecast exceeds by chance in 1 % of the
            simulations; nan without simulations.
    """

    forecast: Tensor
    count: Tensor
    recalibrated: Tensor
    lower: Tensor
    upper: Tensor
    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    p_value: float
    level: float | None
    confidence: float
    chance: float = torch.nan


@torch.no_grad()
def reliability(
    forecast: Tensor,
    outcome: Tensor,
    *,
    level: float | None = None,
    resamples: int = 200,
    confidence: float = 0.9,
    generator: torch.Generator | None = None,
    simulated: Tensor | None = None,
    weight: Tensor | None = None,
    design_effect: float = 1.0,
) -> Reliability:
    """The CORP reliability diagram of probabilities, or of quantiles at `level`.

    The recalibrated forecast is the isotonic regression of the outcomes on the forecasts, so that
    there are no bins to choose and the parts of the score add up exactly. The band holds the fits
    of simulated outcomes under a calibrated forecast. Sources: Dimitriadis, Gneiting and Jordan
    2021; for quantiles Gneiting and Resin 2023.

    Args:
        forecast: probabilities of the event, or quantiles, shape (N,).
        outcome: 0 or 1, or numbers in the units of the quantiles, shape (N,).
        level: of the quantile, between 0 and 1; None for probabilities.
        resamples: the number of simulations for the band and the p-value; 0 for none.
        confidence: the probability of the band, at each forecast by itself.
        generator: for the simulations, by default one with seed 0.
        simulated: outcomes drawn from the forecast distributions, shape (resamples, N). By default,
            events are drawn with their probability, and numbers as the quantile plus a residual of
            a random row, shifted so that the quantile is right.
        weight: of each row, positive, shape (N,), by default 1.
        design_effect: the factor by which clusters of rows enlarge the variance of means. The
            simulated rows are independent, and what they yield is enlarged by this factor.

    Raises:
        ValueError: for shapes that do not fit, no rows, numbers that are not finite, a level
            outside (0, 1), probabilities outside [0, 1] or events other than 0 and 1.

    >>> result = reliability(torch.tensor([0.2, 0.2, 0.8, 0.8]), torch.tensor([0, 1, 1, 1]))
    >>> result.recalibrated
    tensor([0.5000, 1.0000], dtype=torch.float64)
    >>> round(result.miscalibration - result.discrimination + result.uncertainty - result.score, 12)
    0.0
    """
    forecast, outcome = _checked(forecast, outcome, level)
    order = forecast.argsort(stable=True)
    forecast, outcome = forecast[order], outcome[order]
    w = torch.ones_like(forecast) if weight is None else weight.to(forecast)[order]
    values, place, count = forecast.unique_consecutive(return_inverse=True, return_counts=True)
    generator = torch.Generator(forecast.device).manual_seed(0) if generator is None else generator

    def fit(y: Tensor) -> Tensor:
        return isotonic_fit(y, place, count, w, level)

    def score(at: Tensor, y: Tensor) -> Tensor:
        return mean_score(at, y, w, level)

    recalibrated = fit(outcome)
    own, best = score(forecast, outcome), score(recalibrated[place], outcome)
    uncertainty = score(_constant(outcome, w, level), outcome)
    if simulated is not None:
        draws = simulated.to(forecast.dtype)[:, order]
    elif resamples:
        draws = _simulate(forecast, outcome, w, level, resamples, generator)
    else:
        draws = forecast.new_empty(0, len(forecast))
    lower = upper = torch.full_like(values, torch.nan)
    p_value = limit = torch.nan
    if len(draws):
        fits = fit(draws)
        tail = (1 - confidence) / 2
        lower, upper = fits.quantile(
            torch.tensor([tail, 1 - tail], dtype=fits.dtype, device=fits.device), dim=0
        )
        if design_effect != 1:
            lower, upper = (values + design_effect**0.5 * (end - values) for end in (lower, upper))
            if level is None:
                lower, upper = lower.clamp(0, 1), upper.clamp(0, 1)
        chance = design_effect * (score(forecast, draws) - score(fits[:, place], draws))
        p_value = (int((chance >= own - best).sum()) + 1) / (len(draws) + 1)
        limit = float(chance.quantile(0.99))
    return Reliability(
        values,
        count,
        recalibrated,
        lower,
        upper,
        float(own),
        float(own - best),
        float(uncertainty - best),
        float(uncertainty),
        p_value,
        level,
        confidence,
        limit,
    )


@torch.no_grad()
def exceedance_reliability(
    dist: Distribution,
    y: Tensor,
    threshold: float,
    generator: torch.Generator | None = None,
    **options,
) -> Reliability:
    """The reliability of the probabilities P(Y > threshold), for distributions of numbers.

    Args:
        dist: distributions of one ordered number, batch_shape (N,).
        y: targets, shape (N,).
        threshold: in the units of y.
        generator: for the simulations, by default one with seed 0.
        options: further arguments of `reliability`.

    Raises:
        ValueError: as `reliability`.
        NotImplementedError: for distributions without a cdf.

    >>> from disthead import get_family
    >>> dist = get_family("poisson").distribution(rate=torch.tensor([1.0, 9.0]))
    >>> exceedance_reliability(dist, torch.tensor([0.0, 8.0]), threshold=4).recalibrated
    tensor([0., 1.], dtype=torch.float64)
    """
    at = torch.full(dist.batch_shape, threshold, dtype=torch.float64, device=dist.device)
    return reliability(
        dist.log_survival(at).exp(), (y > threshold).double(), generator=generator, **options
    )


@torch.no_grad()
def quantile_reliability(
    dist: Distribution,
    y: Tensor,
    level: float,
    resamples: int = 200,
    generator: torch.Generator | None = None,
    **options,
) -> Reliability:
    """The reliability of the predicted quantiles at `level`.

    The simulated outcomes of the band are drawn from `dist`.

    Args:
        dist: distributions of one ordered number, batch_shape (N,).
        y: targets, shape (N,).
        level: of the quantiles, between 0 and 1.
        resamples: the number of simulations; 0 for none.
        generator: for the simulations, by default one with seed 0.
        options: further arguments of `reliability`.

    Raises:
        ValueError: as `reliability`.
        NotImplementedError: for distributions without quantiles.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.tensor([1.0, 9.0]), scale=1.0)
    >>> quantile_reliability(dist, torch.tensor([2.0, 8.0]), level=0.5).forecast
    tensor([1., 9.], dtype=torch.float64)
    """
    generator = torch.Generator(dist.device).manual_seed(0) if generator is None else generator
    simulated = draw(dist, resamples, generator) if resamples else None
    quantile = dist.icdf(
        torch.full(dist.batch_shape, level, dtype=torch.float64, device=dist.device)
    )
    return reliability(
        quantile, y, level=level, simulated=simulated, resamples=resamples, **options
    )


def _checked(forecast: Tensor, outcome: Tensor, level: float | None) -> tuple[Tensor, Tensor]:
    if forecast.ndim != 1 or forecast.shape != outcome.shape or not len(forecast):
        raise ValueError(
            "forecast and outcome must be of one shape (N,) with N > 0, got "
            f"{tuple(forecast.shape)} and {tuple(outcome.shape)}. Flatten them, or drop a last "
            "dimension of one by squeeze(-1)."
        )
    if level is not None and not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.9, got {level}.")
    forecast, outcome = forecast.double(), outcome.double()
    for name, values in (("forecast", forecast), ("outcome", outcome)):
        if not values.isfinite().all():
            raise ValueError(f"{name} must be finite, got {locate(~values.isfinite(), values)}.")
    if level is None:
        outside = (forecast < 0) | (forecast > 1)
        if outside.any():
            raise ValueError(
                f"forecast must hold probabilities, got {locate(outside, forecast)}. "
                "Give `level` for quantiles."
            )
        other = (outcome != 0) & (outcome != 1)
        if other.any():
            raise ValueError(
                f"outcome must be 0 or 1 for probabilities, got {locate(other, outcome)}. "
                "Give `level` for quantiles."
            )
    return forecast, outcome


def isotonic_fit(
    y: Tensor, place: Tensor, count: Tensor, weight: Tensor, level: float | None
) -> Tensor:
    """The isotonic fit at each distinct forecast, shape (..., K).

    Args:
        y: outcomes in the order of the forecasts, shape (..., N).
        place: the index of each row's forecast among the distinct ones, shape (N,).
        count: the number of rows with each distinct forecast, shape (K,).
        weight: of each row, shape (N,).
        level: of a quantile; None for means.
    """
    if level is None:
        total = weight.new_zeros(len(count)).index_add(0, place, weight)
        sums = y.new_zeros(*y.shape[:-1], len(count)).index_add(-1, place, weight * y)
        return isotonic_mean(sums / total, total)
    if len(count) == len(place):
        return isotonic_quantile(y, level, weight)
    # rows with equal forecasts must have equal values, which the fit of rows in falling order has
    falling = y.argsort(dim=-1, descending=True, stable=True)
    within = falling.gather(
        -1, place.expand(y.shape).gather(-1, falling).argsort(dim=-1, stable=True)
    )
    first = count.cumsum(0) - count
    return isotonic_quantile(
        y.gather(-1, within), level, weight.expand(y.shape).gather(-1, within)
    )[..., first]


def _constant(outcome: Tensor, weight: Tensor, level: float | None) -> Tensor:
    if level is None:
        return (weight * outcome).sum() / weight.sum()
    values, order = outcome.sort()
    reached = weight[order].cumsum(0) / weight.sum()
    return values[
        torch.searchsorted(reached, reached.new_tensor(level - 1e-9)).clamp(max=len(values) - 1)
    ]


def mean_score(forecast: Tensor, outcome: Tensor, weight: Tensor, level: float | None) -> Tensor:
    """The weighted mean Brier score of probabilities, or pinball loss of quantiles, shape (...).

    `forecast` and `outcome` broadcast to shape (..., N), and `weight` has shape (N,); `level` is
    that of the quantiles, or None for probabilities.
    """
    error = outcome - forecast
    score = error.square() if level is None else torch.maximum(level * error, (level - 1) * error)
    return (weight * score).sum(-1) / weight.sum()


def _simulate(
    forecast: Tensor,
    outcome: Tensor,
    weight: Tensor,
    level: float | None,
    resamples: int,
    generator: torch.Generator,
) -> Tensor:
    shape = (resamples, len(forecast))
    if level is None:
        return torch.bernoulli(forecast.expand(shape), generator=generator)
    residual = outcome - forecast
    residual = residual - _constant(residual, weight, level)
    picked = torch.randint(len(forecast), shape, generator=generator, device=forecast.device)
    return forecast + residual[picked]
