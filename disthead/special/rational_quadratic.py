"""Monotone splines of rational quadratics, and their inverses, with gradients in all arguments.

A spline through K + 1 knots (x_k, y_k) with slopes d_k there goes on as a straight line beyond the
first and the last knot. Within a bin of width w and height h, with s = h / w and the place xi =
(x - x_k) / w, it is y_k + h (s xi^2 + d_k xi (1 - xi)) / (s + (d_k + d_{k + 1} - 2 s) xi (1 - xi)).
Sources: Gregory and Delbourgo 1982; Durkan, Bekasov, Murray and Papamakarios 2019.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Bins", "RationalQuadratic", "knots"]


def knots(logits: Tensor, bound: float, least: float) -> Tensor:
    """Rising numbers (..., K + 1) from -bound to bound.

    Their distances are (1 - K least) softmax(logits) + least, times 2 bound.

    Args:
        logits: shape (..., K).
        bound: the last number.
        least: the smallest share of a distance, below 1 / K.

    >>> knots(torch.zeros(2), 3.0, 0.0)
    tensor([-3.,  0.,  3.])
    """
    shares = (1 - least * logits.shape[-1]) * logits.softmax(-1) + least
    between = bound * (2 * shares.cumsum(-1)[..., :-1] - 1)
    end = torch.full_like(logits[..., :1], bound)
    return torch.cat([-end, between, end], -1)


class Bins(NamedTuple):
    """Bins of a spline: where they start, their sizes, and the slopes at both ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    next_slope: Tensor

    def value(self, place: Tensor) -> Tensor:
        """The spline at a place in (0, 1) of each bin."""
        steep, both = self.height / self.width, place * (1 - place)
        top = self.height * (steep * place.square() + self.slope * both)
        return self.y + top / self._denominator(both)

    def log_derivative(self, place: Tensor) -> Tensor:
        """The logarithm of the spline's derivative at a place in (0, 1) of each bin."""
        steep, both, rest = self.height / self.width, place * (1 - place), 1 - place
        slopes = self.next_slope * place.square() + self.slope * rest.square() + 2 * steep * both
        return 2 * (steep.log() - self._denominator(both).log()) + slopes.log()

    def _denominator(self, both: Tensor) -> Tensor:
        steep = self.height / self.width
        return steep * (1 - 2 * both) + (self.slope + self.next_slope) * both

    def place(self, y: Tensor) -> Tensor:
        """The place in (0, 1) of each bin at which the spline is y, a root of a quadratic."""
        steep, rise = self.height / self.width, y - self.y
        bend = self.slope + self.next_slope - 2 * steep
        a = self.height * (steep - self.slope) + rise * bend
        b = self.height * self.slope - rise * bend
        # each of the two forms of the root is used where it does not cancel
        root = (b.square() + 4 * a * steep * rise).clamp(min=torch.finfo(y.dtype).tiny).sqrt()
        is_early = b >= 0
        early = 2 * steep * rise / torch.where(is_early, b + root, 1.0)
        late = (root - b) / torch.where(is_early, 1.0, 2 * a)
        return torch.where(is_early, early, late)


class RationalQuadratic(NamedTuple):
    """A monotone spline: knots x and y and the slopes there, each of shape (..., K + 1)."""

    x: Tensor
    y: Tensor
    slope: Tensor

    @property
    def bins(self) -> Bins:
        """All bins, numbers of shape (..., K)."""
        return Bins(
            self.x[..., :-1],
            self.y[..., :-1],
            self.x.diff(),
            self.y.diff(),
            self.slope[..., :-1],
            self.slope[..., 1:],
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The spline at x and the logarithm of its derivative, of the shape of x and batch."""
        bins, (first, last) = self._bins_of(x, self.x), _ends(self.x)
        place = (torch.minimum(torch.maximum(x, first), last) - bins.x) / bins.width
        return self._with_lines(
            x, self.x, self.y, self.slope, bins.value(place), bins.log_derivative(place)
        )

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The x at which the spline is y, and the logarithm of the spline's derivative there."""
        bins, (first, last) = self._bins_of(y, self.y), _ends(self.y)
        place = bins.place(torch.minimum(torch.maximum(y, first), last))
        x, log_derivative = self._with_lines(
            y,
            self.y,
            self.x,
            1 / self.slope,
            bins.x + place * bins.width,
            -bins.log_derivative(place),
        )
        return x, -log_derivative

    def _bins_of(self, values: Tensor, ends: Tensor) -> Bins:
        """The bin that each value lies in, or the first or last one."""
        index = (values.unsqueeze(-1) > ends[..., 1:-1]).sum(-1, keepdim=True)
        return Bins(*(_gather(part, index) for part in self.bins))

    @staticmethod
    def _with_lines(
        x: Tensor, knots: Tensor, values: Tensor, slopes: Tensor, inside: Tensor, log_slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A spline and the logarithm of its derivative, with straight lines beyond the knots."""
        for end, is_beyond in ((0, x < knots[..., 0]), (-1, x > knots[..., -1])):
            line = values[..., end] + slopes[..., end] * (x - knots[..., end])
            inside = torch.where(is_beyond, line, inside)
            log_slope = torch.where(is_beyond, slopes[..., end].log(), log_slope)
        return inside, log_slope


def _ends(knots: Tensor) -> tuple[Tensor, Tensor]:
    return knots[..., 0], knots[..., -1]


def _gather(values: Tensor, index: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(values.shape[:-1], index.shape[:-1])
    values, index = values.expand(*shape, values.shape[-1]), index.expand(*shape, 1)
    return values.gather(-1, index).squeeze(-1)
