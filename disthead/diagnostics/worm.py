"""Worm plots: where, and for which rows, the shape of a distribution is wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.diagnostics.directions import circular_pit
from disthead.distributions.base import Distribution

__all__ = ["Worm", "feature_bins", "worm", "worms"]


@dataclass(frozen=True)
class Worm:
    """A detrended normal quantile plot of the residuals.

    Attributes:
        normal: expected normal quantiles, rising, shape (N,).
        deviation: the residual's quantile minus the expected one, shape (N,). A worm above 0 has
            outcomes that were predicted too low, a rising one a spread predicted too small, a bent
            one a skewness, an S the tails.
        half_width: of the band around 0, for each point by itself, shape (N,).
        label: which rows these are.
        confidence: of the band.
    """

    normal: Tensor
    deviation: Tensor
    half_width: Tensor
    label: str
    confidence: float = 0.95

    @property
    def outside(self) -> float:
        """The share of the points that are outside the band; near 1 - `confidence` is what chance does."""
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
    """The worm of the normal residuals Phi^-1(pit(y)), which are standard normal where the distribution is true.

    The band is z standard errors of an order statistic to each side, sqrt(p (1 - p) / N) /
    phi(z_p). The PIT of counts is randomised with the generator (seed 0); that of directions goes
    around the circle from opposite the mean. Source: van Buuren and Fredriks 2001; residuals: Dunn
    and Smyth 1996.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    >>> worm(dist, torch.tensor([1.0, 0.0, 2.0])).deviation
    tensor([0.8694, 1.0000, 1.1306], dtype=torch.float64)
    """
    generator = torch.Generator(dist.device).manual_seed(0) if generator is None else generator
    residual, order = _normal_residual(dist, y, generator).sort()
    w = torch.ones_like(residual) if weight is None else weight.to(residual)[order]
    rows = float(w.sum().square() / w.square().sum())  # of equal weight
    w = w / w.sum() * rows
    # Blom's plotting positions, next to the expected order statistics of a normal sample.
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
    """A worm for each of `bins` ranges of a feature (N,), with as many rows each as its ties allow.

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
    """The rows of each range of a feature, under a label with its ends; ranges that ties leave empty are left out.

    `show` writes a value; whole numbers are written out and others with three digits unless given.

    Rows where the feature is missing (NaN) or infinite have a range of their own.
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
    # a PIT that rounds to 0 or 1 is a residual far out, and a finite one
    eps = torch.finfo(dist.dtype).eps
    return torch.special.ndtri(u.clamp(0.5 * eps * eps, 1 - torch.finfo(torch.float64).eps))
