"""Worm plots, which show where and for which rows the shape of a distribution is wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.diagnostics.directions import circular_pit
from disthead.distributions.base import Distribution

__all__ = ["Worm", "feature_bins", "worm", "worms"]


@dataclass(frozen=True)
class Worm:
    """A detrended normal quantile plot of residuals, in standard deviations.

    Attributes:
        normal: expected normal quantiles, rising, shape (N,).
        deviation: quantiles of the residuals minus the expected ones, shape (N,). They are above 0
            if outcomes were predicted too low, and rise if the predicted scale is too small; a
            bend shows skewness, an S tails.
        half_width: of the band around 0, for each point by itself, shape (N,).
        label: the name of the rows.
        confidence: the probability of the band.
    """

    normal: Tensor
    deviation: Tensor
    half_width: Tensor
    label: str
    confidence: float = 0.95

    @property
    def outside(self) -> float:
        """The share of the points outside the band, by chance about 1 - `confidence`."""
        return float((self.deviation.abs() > self.half_width).double().mean())


@torch.no_grad()
def worm(
    dist: Distribution,
    y: Tensor,
    generator: torch.Generator | None = None,
    label: str = "all rows",
    weight: Tensor | None = None,
    confidence: float = 0.95,
) -> Worm:
    """The worm of the normal residuals Phi^-1(pit(y)).

    The residuals are standard normal if the forecast is true. The band is z standard errors of an
    order statistic to each side, sqrt(p (1 - p) / N) / phi(z_p). Sources: van Buuren and Fredriks
    2001; of the residuals Dunn and Smyth 1996.

    Args:
        dist: distributions of one ordered number or direction, batch_shape (N,). The PIT of counts
            is randomised, that of directions the circular one.
        y: targets, shape (N,).
        generator: for the randomised PIT of counts, by default one with seed 0.
        label: the name of the rows.
        weight: of each row, shape (N,), by default 1.
        confidence: the probability of the band, at each point by itself.

    Raises:
        NotImplementedError: for distributions without a PIT, such as unordered classes.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    >>> worm(dist, torch.tensor([1.0, 0.0, 2.0])).deviation
    tensor([0.8694, 1.0000, 1.1306], dtype=torch.float64)
    """
    generator = torch.Generator(dist.device).manual_seed(0) if generator is None else generator
    residual, order = _normal_residual(dist, y, generator).sort()
    w = torch.ones_like(residual) if weight is None else weight.to(residual)[order]
    rows = float(w.sum().square() / w.square().sum())  # as many of equal weight
    w = w / w.sum() * rows
    # Blom's plotting positions, close to the expected order statistics of a normal sample
    p = (w.cumsum(0) - 0.375 * w) / (rows + 0.25)
    normal = torch.special.ndtri(p)
    density = torch.exp(-0.5 * normal.square()) / (2 * torch.pi) ** 0.5
    z = float(torch.special.ndtri(p.new_tensor(0.5 + confidence / 2)))
    return Worm(
        normal, residual - normal, z * (p * (1 - p) / rows).sqrt() / density, label, confidence
    )


@torch.no_grad()
def worms(
    dist: Distribution,
    y: Tensor,
    feature: Tensor,
    bins: int = 4,
    name: str = "feature",
    seed: int = 0,
) -> list[Worm]:
    """A worm for each of `bins` ranges of a feature.

    Args:
        dist: as for `worm`, batch_shape (N,).
        y: targets, shape (N,).
        feature: the feature of each row, shape (N,).
        bins: the greatest number of ranges, with equally many rows as far as ties allow.
        name: the name of the feature, for the labels.
        seed: of the randomised PIT of counts.

    Raises:
        NotImplementedError: for distributions without a PIT, such as unordered classes.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(8), scale=1.0)
    >>> [part.label for part in worms(dist, torch.zeros(8), torch.arange(8.0), bins=2, name="age")]
    ['age 0 to 3', 'age 4 to 7']
    """
    generator = torch.Generator(dist.device).manual_seed(seed)
    return [
        worm(dist[rows], y[rows], generator, label)
        for label, rows in feature_bins(feature, bins, name)
    ]


def feature_bins(
    feature: Tensor, bins: int, name: str, show: Callable[[float], str] | None = None
) -> list[tuple[str, Tensor]]:
    """The rows of each range of a feature, as pairs of a label with its ends and row indices.

    Ranges without rows are omitted. Rows where the feature is missing (nan) or infinite have their
    own range.

    Args:
        feature: shape (N,).
        bins: the greatest number of ranges, with equally many rows as far as ties allow.
        name: the name of the feature, for the labels.
        show: writes a value; by default integers in full and others with three digits.
    """
    feature = feature.double().contiguous()
    known = feature.isfinite().nonzero().squeeze(-1)
    parts = []
    if len(known):
        values = feature[known]
        edges = values.quantile(
            torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=feature.device)[1:-1]
        )
        index = torch.bucketize(values, edges.unique())
        for k in index.unique().tolist():
            rows = known[index == k]
            low, high = float(feature[rows].min()), float(feature[rows].max())
            ends = [(show or _show)(end) for end in (low, high)]
            parts.append(
                (
                    f"{name} {ends[0]}" if ends[0] == ends[1] else f"{name} {ends[0]} to {ends[1]}",
                    rows,
                )
            )
    if len(known) < len(feature):
        parts.append((f"{name} missing", (~feature.isfinite()).nonzero().squeeze(-1)))
    return parts


def _show(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e7 else f"{value:.3g}"


def _normal_residual(dist: Distribution, y: Tensor, generator: torch.Generator) -> Tensor:
    u = (
        circular_pit(dist, y)
        if dist.kind == "direction"
        else dist.pit(y, generator=generator).double()
    )
    # a PIT that is rounded to 0 or 1 becomes a large finite residual
    eps = torch.finfo(dist.dtype).eps
    return torch.special.ndtri(u.clamp(0.5 * eps * eps, 1 - torch.finfo(torch.float64).eps))
