"""Integrals over a recalibrated distribution, panel by panel between quantiles of its base."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.calibration.mapped import MappedContinuous
from disthead.calibration.monotone_maps import KNOTS, probit_of_tail
from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.special import gauss_legendre
from disthead.special.eager import is_tracing
from disthead.special.plain import ndtr

__all__ = ["Panels", "cuts_with_tails", "entropy", "expectation", "mean_and_variance", "scores"]

_NODES = 6  # of the rule on each panel
_CHUNK_ROWS = 512
_OUTERMOST_PROBIT = 8.5  # next to no probability is beyond
_TAIL_SHARES = (0.25, 0.6, 1.0)  # of the way from the outermost knot to the outermost probit
_HEAVY_TAIL_PROBITS = (13.0, 20.0, 37.0)  # where the tails of heavy distributions still count
_HEAVY_RATIO = 8.0  # of the last two distances from the middle; light tails have 2
_TINY = 1e-300


@dataclass(frozen=True)
class Panels:
    """Panels of quadrature between quantiles, in which a recalibrated distribution is smooth.

    A Gauss-Legendre rule goes over each panel. Its variable is the logarithm of the distance to the
    end of the support, since the density may be a power of that distance. It is the log-odds where
    the support has two ends, and the logarithm of the distance to the middle where it has none.

    Attributes:
        points: ends of the panels, increasing, shape (panels + 1, ...), in the units of y.
        middle: the index of the point in the middle of the distribution.
        lower: the lower end of the support, shape (...).
        upper: the upper end of the support, shape (...).
    """

    points: Tensor
    middle: int
    lower: Tensor
    upper: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, dist: MappedContinuous) -> "Panels":
        """The panels of a distribution, which reach further out where its tails are heavy."""
        x = _cuts(dist)
        points, middle = dist._quantile_of_probit(x), len(x) // 2
        if is_tracing() or _are_heavy(points, middle):
            far = _far_tails(x)
            low, high = dist._quantile_of_probit(far).tensor_split(2)
            points, middle = torch.cat([low, points, high]), middle + len(low)
        # Rounding, and tails that begin beyond the far ones, must not turn a panel around.
        points = torch.cat(
            [
                points[: middle + 1].flip(0).cummin(0).values.flip(0),
                points[middle:].cummax(0).values[1:],
            ]
        )
        return cls(points.clamp(-1 / _TINY, 1 / _TINY), middle, *dist.support_limits())

    def rule(self) -> tuple[Tensor, Tensor]:
        """Nodes and weights of all panels, each of shape (nodes, panels, ...)."""
        start, end = self.points[:-1], self.points[1:]
        return self.within(start, end, start, end)

    def within(
        self, start: Tensor, end: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Nodes and weights of the interval from `left` to `right`, each of shape (nodes, ...).

        The interval lies in the panel from `start` to `end`.
        """
        lower, upper = self.lower, self.upper
        bounded = lower.isfinite() & upper.isfinite()
        anchor = torch.where(
            lower.isfinite(), lower, torch.where(upper.isfinite(), upper, self.points[self.middle])
        )
        ends = (
            [(side - anchor).abs() for side in (left, right)],
            [torch.where(bounded, upper - side, 1.0) for side in (left, right)],
        )
        logs = [[distance.clamp(min=_TINY).log() for distance in pair] for pair in ends]
        first, last = (near - far for near, far in zip(*logs, strict=True))
        t, weights = (
            part.reshape((-1,) + (1,) * left.ndim) for part in gauss_legendre(_NODES, left)
        )
        position = first + t * (last - first)
        share, width = position.sigmoid(), torch.where(bounded, upper - lower, 1.0)
        distance = torch.where(bounded, width * share, position.exp())
        slope = torch.where(bounded, distance * (-position).sigmoid(), distance)
        logarithmic = (start != anchor) & (end != anchor) & (end != upper)
        side = torch.where(start >= anchor, 1.0, -1.0).to(left.dtype)
        y = torch.where(logarithmic, anchor + side * distance, left + t * (right - left))
        return y, weights * torch.where(logarithmic, slope * (last - first).abs(), right - left)


def in_row_chunks(answer: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function of a distribution and targets, computed in chunks of rows.

    The nodes of a chunk stay in the processor's cache.
    """

    @functools.wraps(answer)
    def answered(dist: MappedContinuous, *targets: Tensor) -> Tensor:
        shape = dist.batch_shape
        if (
            len(shape) != 1
            or shape[0] <= _CHUNK_ROWS
            or is_tracing()
            or any(y.shape != shape for y in targets)
        ):
            return answer(dist, *targets)
        chunks = [slice(start, start + _CHUNK_ROWS) for start in range(0, shape[0], _CHUNK_ROWS)]
        return torch.cat(
            [answer(dist[chunk], *(y[chunk] for y in targets)) for chunk in chunks], -1
        )

    return answered


def expectation(dist: MappedContinuous, function: Callable[[Tensor], Tensor]) -> Tensor:
    """E[function(Y)], of shape batch_shape, by quadrature on the probit scale.

    `function` takes values of shape (nodes, *batch_shape).
    """
    x = _cuts(dist)
    start, width = x[:-1], x.diff(dim=0)
    t, weights = (part.reshape((-1,) + (1,) * x.ndim) for part in gauss_legendre(_NODES, x))
    nodes = (start + t * width).flatten(0, 1)
    weights = (weights * width).flatten(0, 1) * torch.exp(-0.5 * nodes.square() - HALF_LOG_TWO_PI)
    return (weights * function(dist._inside(dist._quantile_of_probit(nodes)))).sum(0)


@in_row_chunks
def entropy(dist: MappedContinuous) -> Tensor:
    """The differential entropy E[-log p(Y)] in nats, of shape batch_shape."""
    return expectation(dist, lambda y: -dist.log_prob(y))


@in_row_chunks
def mean_and_variance(dist: MappedContinuous) -> Tensor:
    """The mean and the variance, of shape (2, *batch_shape).

    Both come from integrals of the tail probabilities: the mean from the tails themselves, the
    variance from the tails times the distance to the middle.
    """
    panels = Panels.of(dist)
    y, weights = panels.rule()
    middle = panels.points[panels.middle]
    below, above = _probabilities(dist, y, panels.middle)
    beyond = torch.cat([below[:, : panels.middle], above[:, panels.middle :]], 1) * weights
    excess = beyond[:, panels.middle :].sum((0, 1)) - beyond[:, : panels.middle].sum((0, 1))
    square = 2 * (beyond * (y - middle).abs()).sum((0, 1))
    return torch.stack([middle + excess, (square - excess.square()).clamp(min=0)])


@in_row_chunks
def scores(dist: MappedContinuous, y: Tensor) -> Tensor:
    """The continuous ranked probability score: the integral of (cdf(t) - 1{t >= y})^2 dt.

    In the units of y, of the shape to which y and batch_shape broadcast. It is the sum over whole
    panels on either side of y and over both parts of the panel around y.
    """
    panels = Panels.of(dist)
    nodes, weights = panels.rule()
    below, above = _probabilities(dist, nodes, panels.middle)
    none = torch.zeros_like(panels.points[:1])
    left = torch.cat([none, (weights * below.square()).sum(0).cumsum(0)])
    right = torch.cat([(weights * above.square()).sum(0).flip(0).cumsum(0).flip(0), none])

    shape = torch.broadcast_shapes(y.shape, panels.points.shape[1:])
    y, extra = y.expand(shape), len(shape) - (panels.points.ndim - 1)
    points, left, right = (
        part.reshape(-1, *(1,) * extra, *part.shape[1:]) for part in (panels.points, left, right)
    )
    place = (points[1:-1] <= y).sum(0, keepdim=True)

    def at(values: Tensor, index: Tensor) -> Tensor:
        return values.expand(-1, *shape).gather(0, index).squeeze(0)

    within = torch.minimum(torch.maximum(y, points[0]), points[-1])
    start, end = at(points, place), at(points, place + 1)
    nodes, weights = panels.within(
        start, end, torch.stack([start, within]), torch.stack([within, end])
    )
    is_left = place.squeeze(0) < panels.middle
    log_tail = torch.where(is_left, dist.base.log_cdf(nodes), dist.base.log_survival(nodes))
    z = probit_of_tail(log_tail)
    x = dist._apply_maps(torch.where(is_left, z, -z))
    before, after = (weights * torch.stack([ndtr(x[:, 0]), ndtr(-x[:, 1])], 1).square()).sum(0)
    return at(left, place) + before + after + at(right, place + 1) + (y - within).abs()


def _probabilities(dist: MappedContinuous, y: Tensor, middle: int) -> tuple[Tensor, Tensor]:
    """P(Y <= y) and P(Y > y) at nodes (nodes, panels, ...), by the smaller one of the base's."""
    z = torch.cat(
        [
            probit_of_tail(dist.base.log_cdf(y[:, :middle])),
            -probit_of_tail(dist.base.log_survival(y[:, middle:])),
        ],
        1,
    )
    x = dist._apply_maps(z)
    return ndtr(x), ndtr(-x)


@torch.no_grad()
def _cuts(dist: MappedContinuous) -> Tensor:
    """The probits of `dist` at which its map is not smooth, and points in the tails.

    Of shape (points, ...), an odd number of points.
    """
    number = dist._constant(0.0)
    column = (-1,) + (1,) * number.ndim
    x = torch.tensor(KNOTS, dtype=number.dtype, device=number.device).reshape(column)
    for place, h in enumerate(dist._compact):
        own = h.knots()
        if own is not None:
            x = own.reshape(column)
            for later in dist._compact[place:]:
                x = later(x)
    below: list[Tensor] = []
    above: list[Tensor] = []
    for share in _TAIL_SHARES:
        below.insert(0, x[:1] + share * (torch.clamp(x[:1] - 1, max=-_OUTERMOST_PROBIT) - x[:1]))
        above.append(x[-1:] + share * (torch.clamp(x[-1:] + 1, min=_OUTERMOST_PROBIT) - x[-1:]))
    return torch.cat([*below, x, *above])


@torch.no_grad()
def cuts_with_tails(dist: MappedContinuous) -> Tensor:
    """The probits at which panels end, (points, ...), with the far tails of heavy distributions."""
    x = _cuts(dist)
    if not _are_heavy(dist._quantile_of_probit(x), len(x) // 2):
        return x
    low, high = _far_tails(x).expand(-1, *x.shape[1:]).tensor_split(2)
    return torch.cat([low, x, high])


def _far_tails(x: Tensor) -> Tensor:
    far = torch.tensor(_HEAVY_TAIL_PROBITS, dtype=x.dtype, device=x.device).reshape(
        (-1,) + (1,) * (x.ndim - 1)
    )
    return torch.cat([-far.flip(0), far])


def _are_heavy(points: Tensor, middle: int) -> bool:
    """Whether the last panel is so much longer than the others that what lies beyond counts."""
    ratios = [
        (points[end] - points[middle]) / (points[before] - points[middle])
        for end, before in ((0, 1), (-1, -2))
    ]
    return bool((torch.stack(ratios) > _HEAVY_RATIO).any())
