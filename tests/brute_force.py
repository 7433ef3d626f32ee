"""The answers of a distribution once more, by brute force: sums and integrals over a fine division
of its support.

They rest on `log_prob` and `cdf` alone; quantiles only say where to look, and a wrong one would
move no probability.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from disthead import Distribution
from disthead.distributions.circular import wrapped
from disthead.distributions.independent import Independent
from disthead.families.circular_mixture import CircularMixture
from disthead.families.projected_normal import ProjectedNormal
from tests.cases import Case

ANGLES = 4096


def quantile_grid(dist: Distribution, panel_count: int) -> Tensor:
    """Quantiles from the probability 1e-13 to 1 - 1e-13, crowded towards both ends; of each
    component, too, which may be narrow.
    """
    tails = torch.logspace(-13, -1, panel_count // 2, dtype=torch.float64)
    # the median among them: a peak may be sharp
    body = torch.linspace(0.1, 0.9, panel_count + 1, dtype=torch.float64)
    levels = torch.cat([tails, body, 1 - tails.flip(0)])
    quantiles = [dist.icdf(levels)]
    if dist.support_limits()[0] == -math.inf:  # the density may have a kink or a cusp at its mode
        steps = dist.icdf(body[[0, -1]]).diff() * torch.logspace(-12, -1, 12, dtype=torch.float64)
        quantiles.append(dist.mode.double() + torch.cat([-steps, steps.new_zeros(1), steps]))
    if hasattr(dist, "components"):
        quantiles.append(dist.components.icdf(levels.unsqueeze(-1)).flatten())
    if hasattr(dist, "breakpoints"):
        # and places within the bins, where a density may rise steeply from a knot
        ends, shares = dist.breakpoints, torch.linspace(-14, 14, 29, dtype=torch.float64).sigmoid()
        within = ends[:-1, None] + shares * ends.diff(dim=0)[:, None]
        quantiles += [ends.flatten(), within.flatten()]
    return torch.cat(quantiles).detach().unique()


def panels(cuts: Tensor, order: int = 20) -> tuple[Tensor, Tensor]:
    """Points and weights of Gauss-Legendre rules between neighbouring cuts."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(order))
    half, middle = (cuts[1:] - cuts[:-1]) / 2, (cuts[1:] + cuts[:-1]) / 2
    return (middle[:, None] + half[:, None] * nodes).flatten(), (half[:, None] * weights).flatten()


def lattice(case: Case) -> Tensor:
    """The counts that a row can give, in its units."""
    support = case.make_family().support
    bounded = support is constraints.boolean or hasattr(support, "lower_bound")
    first = 0 if bounded else -200
    last = {"binary": 2, "count": first + 2000}[case.kind]
    counts = torch.arange(first, last, dtype=torch.float64)
    loc, scale = case.units or (0.0, 1.0)
    return loc + scale * counts


def angles() -> tuple[Tensor, Tensor]:
    """Points around the circle and their weights: for smooth periodic functions equal weights are
    exact.
    """
    y = (torch.arange(ANGLES, dtype=torch.float64) + 0.5) * (2 * math.pi / ANGLES) - math.pi
    return y, torch.full_like(y, 2 * math.pi / ANGLES)


def on_the_line(
    dist: Distribution, panel_count: int, beside: Distribution | None = None
) -> tuple[Tensor, Tensor]:
    """Points and weights; where the support starts at 0, in log(y), since the density may be a
    power of y there. The panels end where those of the distribution `beside` do, too.
    """
    cuts = quantile_grid(dist, panel_count)
    if beside is not None:
        others = quantile_grid(beside, panel_count)
        within = (others > cuts[0]) & (others < cuts[-1])
        cuts = torch.cat([cuts, others[within]]).unique()
    if dist.support_limits()[0] != 0:
        return panels(cuts)
    logs, weights = panels(cuts[cuts > 0].log())
    return logs.exp(), weights * logs.exp()


def with_values(dist: Distribution, panel_count: int) -> tuple[Tensor, Tensor]:
    """Points and weights of the line, and each value that has a probability, with the weight 1."""
    values = torch.tensor(dist.values, dtype=torch.float64)
    cuts = quantile_grid(dist.base, panel_count)
    cuts = torch.cat([cuts, values[(values > cuts[0]) & (values < cuts[-1])]]).unique()
    y, weights = panels(cuts)
    return torch.cat([y, values]), torch.cat([weights, torch.ones_like(values)])


def division(
    case: Case, dist: Distribution, panel_count: int, beside: Distribution | None = None
) -> tuple[Tensor, Tensor]:
    """Points of the support and their weights in sums and integrals over it."""
    divisions = {
        "direction": angles,
        "continuous": lambda: on_the_line(dist, panel_count, beside),
        "mixed": lambda: with_values(dist, panel_count),
    }
    y, weights = (
        divisions[case.kind]() if case.kind in divisions else (lattice(case), torch.ones(()))
    )
    return y, weights.expand(y.shape)


def mean_of(
    case: Case,
    function: Callable[[Tensor], Tensor],
    dist: Distribution | None = None,
    panel_count=80,
    beside: Distribution | None = None,
) -> Tensor:
    """E function(Y) of the row's distribution, or of `dist` of the same kind.

    Where the function has kinks, they are those of the density of `beside`.
    """
    dist = case.dist() if dist is None else dist
    y, weights = division(case, dist, panel_count, beside)
    density = dist.log_prob(y).exp()
    # A node that rounded onto the end of the support, where the density may be infinite, carries
    # next to nothing.
    inside = (density > 0) & density.isfinite()
    return torch.where(
        inside, weights * density * function(torch.where(inside, y, y[len(y) // 2])), 0.0
    ).sum()


def crps_of_directions(case: Case, y: Tensor) -> Tensor:
    """E d(Y, y) - E d(Y, Y') / 2 by the angular distance d."""
    points, weights = angles()
    mass = case.dist().log_prob(points).exp() * weights
    turn = torch.remainder(points - y.unsqueeze(-1), 2 * math.pi)
    to_target = (mass * torch.minimum(turn, 2 * math.pi - turn)).sum(-1)
    # How probable each difference of two angles is: a circular autocorrelation.
    differences = torch.fft.irfft(torch.fft.rfft(mass).abs().square(), ANGLES)
    steps = torch.arange(ANGLES, dtype=torch.float64) * (2 * math.pi / ANGLES)
    return to_target - 0.5 * (differences * torch.minimum(steps, 2 * math.pi - steps)).sum()


def crps_of_counts(case: Case, y: Tensor) -> Tensor:
    """The integral of a step function: its value at the left end of each piece, once below all
    counts.
    """
    cuts = torch.cat([lattice(case), y, lattice(case)[:1].minimum(y.min()) - 1]).unique()
    return _squared_distance(case.dist(), y, cuts[:-1], cuts[1:] - cuts[:-1])


def crps_on_the_line(case: Case, y: Tensor, panel_count: int = 80) -> Tensor:
    """The integral of (cdf(t) - 1{t >= y})^2 dt."""
    return _squared_distance(
        case.dist(), y, *panels(torch.cat([quantile_grid(case.dist(), panel_count), y]).unique())
    )


def _squared_distance(dist: Distribution, y: Tensor, t: Tensor, weights: Tensor) -> Tensor:
    return (weights * (dist.cdf(t) - (t >= y.unsqueeze(-1)).double()).square()).sum(-1)


def turned(dist: Distribution, angle: float) -> Distribution:
    """A distribution of directions turned by an angle."""
    if isinstance(dist, Independent):
        return turned(dist.base, angle).to_event(dist.count)
    if isinstance(dist, CircularMixture):
        return CircularMixture(dist.logits, turned(dist.components, angle))
    if isinstance(dist, ProjectedNormal):
        x, y = dist.concentration.unbind(-1)
        cosine, sine = math.cos(angle), math.sin(angle)
        return ProjectedNormal(torch.stack([x * cosine - y * sine, x * sine + y * cosine], -1))
    return type(dist)(wrapped(dist.loc + angle), dist.concentration)
