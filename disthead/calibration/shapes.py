"""Moments and scores of many recalibrated distributions that differ in one shape parameter.

They are computed at few shapes, and interpolated to all rows.

The maps are shared by all rows, and Y = loc + scale Z, the distribution of Z depending on one
shape. So the moments of Z are smooth functions of that shape, and its score is one of the shape and
of the place of the target on the probit scale, between knots. Polynomials go through their values
at nodes of Gauss and Legendre, which all come from the quantiles there at levels of a fixed
quadrature. Where a polynomial has not converged, rows are answered one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from disthead.calibration.integrals import cuts_with_tails
from disthead.calibration.mapped import MappedContinuous
from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.special import gauss_legendre
from disthead.special.numeric import in_chunks, mend
from disthead.special.plain import ndtr
from disthead.special.quadrature import gauss_legendre_antiderivative

__all__ = ["Shapes"]

_SPAN = 1.0  # width of the logarithm of the shape that one polynomial serves
_NODES = 12  # of a polynomial, in either direction
_LEAST_ROWS = 2 * _NODES  # that are worth the nodes of a polynomial
_RELATIVE_ERROR = 1e-6  # of a polynomial, and about that of the rule for single rows
_TINY = 1e-300


@dataclass(frozen=True)
class Shapes:
    """Moments and scores at the nodes, as coefficients of polynomials.

    Attributes:
        dist: the distributions of all rows.
        is_alone: whether no polynomial serves the row, shape (rows,).
        index: the span to which each row belongs, shape (rows,); any, where it `is_alone`.
        place: the position in the span, between -1 and 1, shape (rows,).
        loc: the location of each row, in the units of y, shape (rows,).
        scale: the scale of each row, in the units of y, shape (rows,).
        cuts: the probits between which the score is smooth, increasing, shape (pieces + 1,).
        moments: mean, variance and half the mean difference of Z, shape (3, spans, nodes).
        score: the score of Z, shape (spans, pieces, nodes of the shape, nodes of the piece). It and
            the moments are NaN where they have not converged.
    """

    dist: MappedContinuous
    is_alone: Tensor
    index: Tensor
    place: Tensor
    loc: Tensor
    scale: Tensor
    cuts: Tensor
    moments: Tensor
    score: Tensor

    @classmethod
    def of(cls, dist: MappedContinuous) -> "Shapes | None":
        """For plain numbers of one dimension; None for few rows, or rows that differ in more."""
        if len(dist.batch_shape) != 1 or dist.batch_shape[0] < _LEAST_ROWS or not dist._is_plain():
            return None
        standard = dist.base._standard()
        if standard is None:
            return None
        position = standard.log_shape / _SPAN
        usable = (standard.scale > 0) & (
            standard.scale + standard.loc.abs() + position.abs() < torch.inf
        )
        span, index, rows = position[usable].floor().unique(return_inverse=True, return_counts=True)
        enough = rows >= _LEAST_ROWS
        if not enough.any():
            return None
        t, _ = gauss_legendre(_NODES, span)
        nodes = dist._of_base(standard.make((_SPAN * (span[enough, None] + t)).flatten()))
        if nodes is None:
            return None
        cuts = cuts_with_tails(nodes)
        # maps that differ from shape to shape in where they have knots
        if cuts.numel() != len(cuts):
            return None
        number, is_alone = torch.zeros_like(position, dtype=torch.long), ~usable
        number[usable], is_alone[usable] = (
            (enough.cumsum(0) - 1).clamp(min=0)[index],
            ~enough[index],
        )
        moments, score = _at_nodes(nodes, cuts.flatten())
        place = 2 * (position - position.floor()) - 1
        return cls(
            dist,
            is_alone,
            number,
            place,
            standard.loc,
            standard.scale,
            cuts.flatten(),
            moments,
            score,
        )

    def mean_and_variance(self, direct: Callable[..., Tensor]) -> Tensor:
        """Mean and variance, (2, rows); `direct(dist)` gives those of rows without a polynomial."""
        mean, variance, _ = self._moments(self.index, self.place)
        return self._mended(
            torch.stack([self.loc + self.scale * mean, self.scale.square() * variance]), direct
        )

    def scores(self, direct: Callable[..., Tensor], y: Tensor) -> Tensor:
        """The continuous ranked probability score of y, in the units of y, shape (rows,).

        `direct(dist, y)` gives those of rows without a polynomial.
        """
        x, pieces = self.dist._apply_maps(self.dist._z(y)), len(self.cuts) - 1
        piece = torch.bucketize(x, self.cuts) - 1
        is_far = (piece < 0) | (piece >= pieces)
        piece = piece.clamp(0, pieces - 1)
        middle, half = (
            (self.cuts[1:] + side * self.cuts[:-1]).div(2).index_select(0, piece)
            for side in (1, -1)
        )
        blocks = self.score.flatten(0, 1)

        def score(block: Tensor, place: Tensor, place_of_target: Tensor) -> tuple[Tensor]:
            along = torch.bmm(blocks.index_select(0, block), _powers(place_of_target).unsqueeze(2))
            return ((_powers(place) * along.squeeze(2)).sum(1),)

        place_of_target = ((x - middle) / half).masked_fill_(is_far, 0.0)
        (values,) = in_chunks(
            score, _NODES**2, self.index * pieces + piece, self.place, place_of_target
        )
        values = mend(
            self.scale * values, is_far, self._far, self.index, self.place, self.loc, self.scale, y
        )
        return self._mended(values, direct, y)

    def _far(self, index: Tensor, place: Tensor, loc: Tensor, scale: Tensor, y: Tensor) -> Tensor:
        """The scores of targets beyond all cuts."""
        mean, _, half_difference = self._moments(index, place)
        return (y - loc - scale * mean).abs() - scale * half_difference

    def _moments(self, index: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        def moments(index: Tensor, place: Tensor) -> tuple[Tensor, ...]:
            return (self.moments.index_select(1, index) * _powers(place)).sum(-1).unbind()

        return in_chunks(moments, 3 * _NODES, index, place)

    def _mended(self, values: Tensor, direct: Callable[..., Tensor], *targets: Tensor) -> Tensor:
        """The values, with `direct` ones where there is no polynomial or it has not converged."""
        rows = (
            (self.is_alone | values.isnan().reshape(-1, len(self.index)).any(0))
            .nonzero()
            .squeeze(-1)
        )
        if len(rows):
            values[..., rows] = direct(self.dist[rows], *(y[rows] for y in targets))
        return values


def _at_nodes(nodes: MappedContinuous, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """The `moments` and the `score` of `Shapes`."""
    t, weight = gauss_legendre(_NODES, cuts)
    width = cuts.diff()[:, None]
    x = cuts[:-1, None] + width * t  # (pieces, nodes)
    quantile = nodes._quantile_of_probit(x[..., None])  # (pieces, nodes, shapes)
    centre = quantile[len(cuts) // 2, 0]
    y = quantile - centre  # so that nothing cancels
    density = (width * torch.exp(-0.5 * x.square() - HALF_LOG_TWO_PI))[..., None]
    mass, balance = density * weight[:, None], (ndtr(x) - ndtr(-x))[..., None]  # of 2 P(Y <= y) - 1
    mean = (mass * y).sum((0, 1))
    variance = (mass * y.square()).sum((0, 1)) - mean.square()
    half_difference = (mass * balance * y).sum((0, 1))
    of_pieces = (mass * y).sum(1, keepdim=True)
    partial = (
        of_pieces.cumsum(0)
        - of_pieces
        + gauss_legendre_antiderivative(_NODES, cuts) @ (density * y)
    )
    score = y * balance + mean - 2 * partial - half_difference

    moments = torch.stack([centre + mean, variance, half_difference]).unflatten(1, (-1, _NODES))
    # (spans, pieces, nodes, nodes)
    score = score.permute(2, 0, 1).unflatten(0, (-1, _NODES)).transpose(1, 2)
    size = torch.stack([moments[0].abs() + moments[1].sqrt(), moments[1], moments[2]]).amin(-1)
    to_powers = _powers(2 * t - 1).inverse()
    moments = torch.where(
        _has_converged(moments, size, -1)[..., None], moments @ to_powers.T, torch.nan
    )
    size = score.amin((-2, -1))
    converged = _has_converged(score, size, -2, -1) & _has_converged(score, size, -1, -2)
    return moments, torch.where(
        converged[..., None, None], to_powers @ score @ to_powers.T, torch.nan
    )


def _has_converged(values: Tensor, size: Tensor, dim: int, other: int | None = None) -> Tensor:
    """Whether the error of the polynomial through the values, along `dim`, is small beside `size`.

    Its error is estimated from how fast the coefficients of Legendre's polynomials fall at the end.
    """
    nodes = 2 * gauss_legendre(_NODES, values)[0] - 1
    to_coefficients = torch.from_numpy(
        np.polynomial.legendre.legvander(nodes.numpy(), _NODES - 1)
    ).inverse()
    # the last coefficients, in the last dimension
    coefficients = torch.tensordot(values, to_coefficients[-4:], ([dim], [1])).abs()
    before, last = coefficients.unflatten(-1, (2, 2)).sum(-1).unbind(-1)
    error = last * (last / before.clamp(min=_TINY)).clamp(max=1)
    return (error if other is None else error.amax(-1)) <= _RELATIVE_ERROR * size


def _powers(x: Tensor) -> Tensor:
    """The powers 1, x, x^2, ... of x (rows,), shape (rows, nodes)."""
    return torch.cat([torch.ones_like(x)[:, None], x[:, None].expand(-1, _NODES - 1)], 1).cumprod_(
        1
    )
