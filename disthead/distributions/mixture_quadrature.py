"""Integrals over mixtures of concrete numbers, by Gauss-Legendre rules on few panels.

The line is cut into panels where the components need it.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution
from disthead.distributions.component_curves import component_curves
from disthead.distributions.components import Components, rows_of
from disthead.distributions.mixture_quantiles import flat
from disthead.special import gauss_legendre, gauss_legendre_antiderivative
from disthead.special.eager import are_plain_numbers
from disthead.special.probabilities import log_sum_exp

__all__ = ["TAIL", "disagreement", "expectation"]

_CHUNK_ELEMENTS = 1 << 16  # values of all components at the nodes of one chunk of rows
_ROWS = 2048  # of one chunk that is cut into panels
# the probability of each component that may lie before the first panel, and after the last
TAIL = 1e-13
_MOST_HALVINGS = 40
# A component may have singularities in the complex plane at this distance from the line, in units
# of half its interquartile range.
_REACH = 1.9
_BESIDE = 1e-15  # relative distance to an end of the support of quantiles that may be rounded to it
_MISSED = 1e-9  # the part of a component's probability that the integral of its density may miss
# The number of nodes of a panel; and the least way from one end of a panel over a singularity to
# the other end, in lengths of the panel. The error is about 1e-10.
_PLAIN, _FINE, _FINEST = (12, 1.75), (24, 1.2), (24, 1.41)
Integrand = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class _Line:
    """The variable of integration t, where u = m + S sinh(t), and the ends of its panels.

    u is the target itself or, where the support has ends, the logarithm of the distance to them.
    Power laws in the tails are as smooth in t as the densities are around their middles.
    """

    def __init__(
        self, components: Distribution, lower: Tensor, upper: Tensor, way: float, has_kinks: bool
    ):
        self.lower, self.upper = lower, upper
        self.has_lower, self.has_upper = (bool(end.isfinite().all()) for end in (lower, upper))
        levels = torch.tensor([TAIL, 0.25, 0.75, 1 - TAIL], dtype=torch.float64).reshape(-1, 1, 1)
        above = torch.tensor([1 - TAIL, 0.75, 0.25, TAIL], dtype=torch.float64).reshape(-1, 1, 1)
        quantiles = components._quantile(levels, above).movedim(-1, 1)
        # Next to an end other than 0, numbers can be too coarse for the logarithm of the distance.
        beside = ((quantiles[0] - lower) < _BESIDE * lower.abs()) | (
            (upper - quantiles[-1]) < _BESIDE * upper.abs()
        )
        self.is_coarse = beside.any(0)
        first, low, high, last = self._coordinate(quantiles).movedim(1, -1)
        place, reach = 0.5 * (low + high), 0.5 * _REACH * (high - low)
        self.middle, self.scale = place.median(-1).values, reach.median(-1).values
        self.scale = self.scale.clamp(min=1e-12 * (1 + self.middle.abs()))
        middle, scale = self.middle.unsqueeze(-1), self.scale.unsqueeze(-1)
        ends = torch.stack([first.amin(-1), last.amax(-1)], -1)
        cuts = torch.cat([ends, place], -1).sort(-1).values if has_kinks else ends
        singularities = torch.complex(
            (place - middle) / scale, (reach / scale).clamp(min=1e-12)
        ).asinh()
        self.cuts = _cut(((cuts - middle) / scale).asinh(), singularities, way)

    def _coordinate(self, y: Tensor) -> Tensor:
        from_lower, to_upper = (
            part.clamp(min=torch.finfo(y.dtype).tiny) for part in (y - self.lower, self.upper - y)
        )
        if self.has_lower:
            return from_lower.log() - to_upper.log() if self.has_upper else from_lower.log()
        return -to_upper.log() if self.has_upper else y

    def at(self, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The target y and its derivative by t, at t (..., rows)."""
        u, slope = self.middle[rows] + self.scale[rows] * t.sinh(), self.scale[rows] * t.cosh()
        lower, upper = self.lower[rows], self.upper[rows]
        if self.has_lower and self.has_upper:
            width, share = upper - lower, u.sigmoid()
            return lower + width * share, slope * width * share * (-u).sigmoid()
        if self.has_lower:
            return lower + u.exp(), slope * u.exp()
        return (upper - (-u).exp(), slope * (-u).exp()) if self.has_upper else (u, slope)


def _cut(cuts: Tensor, singularities: Tensor, way: float) -> Tensor:
    """The ends of panels, (panels + 1, n), in order.

    The intervals between `cuts` (n, m) are halved until they are short compared with their distance
    to all singularities (n, K).
    """
    last, starts = cuts[:, -1], []
    row = torch.arange(len(cuts)).unsqueeze(-1).expand(-1, cuts.shape[-1] - 1).flatten()
    start, end = cuts[:, :-1].flatten(), cuts[:, 1:].flatten()
    for halving in range(_MOST_HALVINGS):
        of_row = singularities[row]
        over = (of_row - start.unsqueeze(-1)).abs() + (of_row - end.unsqueeze(-1)).abs()
        short = (over >= way * (end - start).unsqueeze(-1)).all(-1) | (
            halving == _MOST_HALVINGS - 1
        )
        starts.append((row[short], start[short]))
        row, start, end = (part[~short] for part in (row, start, end))
        if not row.numel():
            break
        half = 0.5 * (start + end)
        row, start, end = row.repeat(2), torch.cat([start, half]), torch.cat([half, end])
    row, start = (torch.cat(part) for part in zip(*starts, strict=True))
    count = row.bincount(minlength=len(last))
    row, order = row.sort()
    place = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
    cuts = last.repeat(int(count.max()) + 1, 1)  # rows with fewer panels end in empty ones
    cuts[place, row] = start[order]
    return cuts.sort(0).values


def _integral(
    mixture: Components, integrand: Integrand, rule: tuple[int, float], has_kinks: bool
) -> tuple[Tensor, Tensor]:
    """The integral over each row, and whether it found the probability of all components.

    Args:
        mixture: a mixture in double precision.
        integrand: a function of y and weights (nodes, panels, n), and of the indices of n rows of
            `flat(mixture)`. It returns the integral (n,) and the probability of each component
            that the rule has found (n, K).
        rule: the number of nodes and the relative distance of singularities.
        has_kinks: whether a component's density may have a kink in its middle.
    """
    nodes, way = rule
    log_weights, components = flat(mixture)
    lower, upper = (
        limit.expand(mixture.batch_shape).reshape(-1) for limit in mixture.support_limits()
    )
    t, weight = (part.reshape(-1, 1, 1) for part in gauss_legendre(nodes, log_weights))
    values, masses = [log_weights.new_zeros(0)], [log_weights.new_zeros(0, log_weights.shape[-1])]
    coarse = [log_weights.new_zeros(0, dtype=torch.bool)]
    for first in range(0, len(log_weights), _ROWS):
        block = slice(first, first + _ROWS)
        chosen = rows_of(components, block)
        with torch.no_grad():
            line = _Line(chosen, lower[block], upper[block], way, has_kinks)
            coarse.append(line.is_coarse)
            panels = (line.cuts < line.cuts[-1]).sum(0)
            order = panels.argsort()
        parts, start = [], 0
        while start < len(order):
            count = int(panels[order[start]]) + 1
            rows = order[
                start : start + max(1, _CHUNK_ELEMENTS // (nodes * count * log_weights.shape[-1]))
            ]
            start += len(rows)
            with torch.no_grad():
                cuts = line.cuts[: int(panels[rows[-1]]) + 1, rows]
                size = cuts[1:] - cuts[:-1]
                y, slope = line.at(cuts[:-1] + t * size, rows)
            parts.append(integrand(y, weight * size * slope, first + rows))
        back = order.argsort()
        for total, part in zip((values, masses), zip(*parts, strict=True), strict=True):
            total.append(torch.cat(part)[back])
    own = components.support_limits()
    # the end of a component's support within the line would be a kink
    alike = (own[0] == own[0][:, :1]) & (own[1] == own[1][:, :1])
    whole = (alike & ((torch.cat(masses) - 1).abs() <= _MISSED)).all(-1)
    return torch.cat(values), whole & ~torch.cat(coarse)


def disagreement(mixture: Components, has_kinks: bool) -> tuple[Tensor, Tensor]:
    """The integral of the variance of the components' cdfs about that of the mixture.

    On an unbounded line the cdfs are integrals of the densities, which cost less: of the
    polynomials through the densities at the nodes of a panel. In the logarithm of a distance,
    panels can be so long that rounding would count.

    Args:
        mixture: a mixture in double precision.
        has_kinks: whether a component's density may have a kink in its middle.

    Returns:
        the integral, shape (rows,), and the rows in which it is reliable.
    """
    has_ends = mixture.components.support is not constraints.real
    rule = _FINEST if has_kinks else _FINE if has_ends else _PLAIN

    all_log_weights, all_components = flat(mixture)
    densities = _densities(all_log_weights, all_components)
    share = gauss_legendre(rule[0], all_log_weights)[1].reshape(-1, 1, 1, 1)
    antiderivative = gauss_legendre_antiderivative(rule[0], all_log_weights)

    def integrand(y: Tensor, weights: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        probs = all_log_weights[rows].exp().t()
        if has_ends:
            cdf = rows_of(all_components, rows).cdf(y.unsqueeze(-1)).movedim(-1, -2)
            whole = torch.ones_like(probs)
        else:
            mass = densities(y, rows) * weights.unsqueeze(-2)
            held = mass.sum(0)
            reached = held.cumsum(0)
            whole = reached[-1].detach()
            cdf = torch.tensordot(antiderivative, mass / share, 1) + (reached - held)
        variance = (probs * (cdf - (probs * cdf).sum(-2, keepdim=True)).square()).sum(-2)
        return (weights * variance).sum((0, 1)), whole.t()

    return _integral(mixture, integrand, rule, has_kinks)


def _densities(log_weights: Tensor, components: Distribution) -> Callable[[Tensor, Tensor], Tensor]:
    """The components' densities (..., K, n), as a function of points (..., n) and n row indices."""
    has_curves = (
        getattr(components, "curves", None) is not None and not components._is_differentiated()
    )
    if has_curves and are_plain_numbers(log_weights):
        curves = component_curves(log_weights, components)
        if curves.reach is not None:
            return lambda y, rows: torch.from_numpy(curves.take(rows.numpy()).densities(y.numpy()))
    return lambda y, rows: rows_of(components, rows).log_prob(y.unsqueeze(-1)).exp().movedim(-1, -2)


def expectation(
    mixture: Components, function: Callable[[Tensor, Tensor, Tensor], Tensor], has_kinks: bool
) -> tuple[Tensor, Tensor]:
    """The expectation of a function of the log-densities at y.

    Args:
        mixture: a mixture in double precision.
        function: takes the log-density of the mixture (...), log(weight_k p_k(y)) (..., K), and
            log-weights (..., K).
        has_kinks: whether a component's density may have a kink in its middle.

    Returns:
        the expectation, shape (rows,), and the rows in which it is reliable.
    """
    all_log_weights, components = flat(mixture)

    def integrand(y: Tensor, weights: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        log_weights = all_log_weights[rows]
        log_densities = rows_of(components, rows).log_prob(y.unsqueeze(-1))
        joint = log_weights + log_densities
        total = log_sum_exp(joint)
        density = weights * total.exp()
        value = density * torch.where(density > 0, function(total, joint, log_weights), 0.0)
        return value.sum((0, 1)), (weights.unsqueeze(-1) * log_densities.detach().exp()).sum((0, 1))

    return _integral(mixture, integrand, _FINEST if has_kinks else _FINE, has_kinks)
