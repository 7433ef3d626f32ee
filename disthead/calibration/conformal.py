"""`ConformalQuantiles`: intervals whose coverage holds for any model, by conformal prediction."""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Size, Tensor

from disthead.arrays import as_tensor
from disthead.calibration.monotone_maps import PiecewiseLinearMap, probit
from disthead.calibration.recalibrated import recalibrated
from disthead.calibration.recalibration import Recalibration
from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution
from disthead.distributions.discrete import Discrete
from disthead.distributions.univariate import check_level
from disthead.errors import locate
from disthead.groups import as_groups
from disthead.special.plain import ndtri

__all__ = ["MASS_TOLERANCE", "SUPPORT_END_PROBIT", "ConformalQuantiles", "check_ordered", "masses"]

SUPPORT_END_PROBIT = 1e3  # stands for an infinite one
MASS_TOLERANCE = 1e-9  # in rows; covers the rounding of a level times the rows
_SMALLEST_GAP = 1e-9  # between points that would coincide


class ConformalQuantiles(Recalibration):
    """Conformalised quantile regression: central intervals corrected by errors of held-out rows.

    With E_i = max(lower_i - y_i, y_i - upper_i) over n held-out rows, the interval is
    [lower - Q, upper + Q], Q the ceil((n + 1) level)-th smallest E_i. On exchangeable rows it
    covers with a probability from `level` to level + 1 / (n + 1), whatever the model (above for
    counts, whose intervals end at integers).

    `r(dist)` is a distribution whose `interval(level)` is that interval; between the levels its cdf
    is the model's, mapped on the probit scale so that it passes through their ends. Intervals stay
    inside the support and inside those of higher levels.

    Args:
        level: the probability that the interval covers the target, between 0 and 1, or several.
        normalised: whether E is in units of the predicted standard deviation, so that the
            correction grows with it (locally weighted); else E is in the units of y.

    After `fit`, `offsets` holds Q, shape (groups, levels) + event_shape.

    `fit` takes, besides weights, two arguments that mean different things:

    - `group=g`, integers from 0 for each row: a Q for each of these few groups, which `r(dist,
      group=g)` takes too; coverage then holds in every group (Mondrian).
    - `groups=g`, a label for each row: rows of one panel, person or site, which are not independent
      of each other. Each group then counts once, shared by its rows, and coverage holds for a row
      of a new group.

    With weights w, Q is the smallest E_i up to which there is `level` of the probability when the
    held-out rows have the masses w_i and a new row, with an infinite E, has the mass sum w^2 / sum
    w, the average of a row drawn by these weights (Tibshirani et al. 2019 with that weight). The
    number of rows becomes the effective number (sum w)^2 / sum w^2.

    Source: Romano, Patterson and Candes 2019; Lei et al. 2018 for the normalised ones; Tibshirani,
    Barber, Candes and Ramdas 2019 for weights; Lee, Barber and Willett 2023 for groups
    (hierarchical conformal prediction), after Dunn, Wasserman and Ramdas 2022.

    Raises:
        ValueError: by `fit`, for fewer than ceil(1 / (1 - level)) - 1 rows or groups (in each
            `group`), and where `normalised` meets a standard deviation that is infinite or zero.

    >>> from disthead.families import Normal
    >>> y = torch.randn(999, generator=torch.Generator().manual_seed(0))
    >>> too_narrow = Normal(torch.zeros(999), 0.5)
    >>> lower, upper = ConformalQuantiles(0.8).fit(too_narrow, y)(too_narrow).interval(0.8)
    >>> ((lower <= y) & (y <= upper)).float().mean()
    tensor(0.8008)
    """

    _maximises_likelihood = False
    offsets: Tensor

    def __init__(self, level: "float | Sequence[float] | Any" = 0.9, normalised: bool = False):
        super().__init__()
        levels = as_tensor(level, "level", dtype=torch.float64)
        # plain data, whatever numbers came in
        self.level, self.normalised = levels.tolist(), bool(normalised)
        self._levels = sorted(levels.reshape(-1).tolist())
        for one in self._levels:
            check_level(one)
        self._learned("offsets")

    def _check_kind(self, dist: Distribution) -> None:
        check_ordered(self, dist)

    def fit(
        self, dist: Distribution, y: Any, weight: Any = None, group: Any = None, groups: Any = None
    ) -> Self:
        """Learns from held-out rows, as `Recalibration.fit` does, with groups of rows.

        Args:
            dist: predicted distributions of the rows, of any batch_shape.
            y: observed targets, of shape batch_shape + event_shape.
            weight: as for `Recalibration.fit`.
            group: an integer from 0 for each row, of shape batch_shape; coverage holds in each.
            groups: a label for each row, of shape batch_shape; rows of one label are not
                independent of each other.

        Raises:
            TargetError: as `Recalibration.fit`.
            ValueError: as `Recalibration.fit`, and for too few rows or groups.
        """
        weight = self._weight(dist, weight)
        group = None if group is None else _as_group(group, dist.batch_shape, weight)
        return self._fit(
            dist, y, weight, group=group, groups=as_groups(groups, dist.batch_shape, weight=weight)
        )

    def forward(self, dist: Distribution, group: Any = None) -> Distribution:
        """The recalibrated distribution, of the same batch_shape and event_shape.

        Args:
            dist: the predicted distribution, of any batch_shape.
            group: the group of each row, of shape batch_shape, if `fit` had several.

        Raises:
            ValueError: before `fit`, for another family or event_shape than at `fit`, and for a
                `group` that is missing or unknown.
        """
        return self._forward(dist, group=group)

    @torch.no_grad()
    def _learn(
        self,
        dist: Distribution,
        y: Tensor,
        weight: Tensor | None,
        group: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        dist = dist._in_double()
        std = _finite_stddev(dist) if self.normalised else 1.0
        excess = []
        for level in self._levels:
            lower, upper = dist.interval(level)
            excess.append(torch.maximum(lower - y, y - upper) / std)
        group = torch.zeros(len(y), dtype=torch.long, device=y.device) if group is None else group
        offsets = []
        for label in range(int(group.max()) + 1):
            rows = group == label
            row_weights, row_groups = (
                None if part is None else part[rows] for part in (weight, groups)
            )
            mass, new = masses(row_weights, row_groups, int(rows.sum()))
            where = f" in group {label}" if group.any() else ""
            unit_name = "rows" if groups is None else "groups"
            for level, values in zip(self._levels, excess, strict=True):
                _check_enough(level, mass, new, unit_name, where)
                offsets.append(
                    _quantile(values[rows], mass, level * (mass.sum() + new) - MASS_TOLERANCE * new)
                )
        # (groups, levels, *outputs)
        self.offsets = torch.stack(offsets).unflatten(0, (-1, len(self._levels)))

    @property
    def num_groups(self) -> int:
        """The number of groups at `fit`; 1 without `group`."""
        return len(self.offsets)

    def _recalibrate(self, dist: Distribution, group: Any = None) -> Distribution:
        exact, offsets = dist._in_double(), self._of_group(dist, group)
        std = _finite_stddev(exact) if self.normalised else 1.0
        lower_ends: list[Tensor] = []
        upper_ends: list[Tensor] = []
        for level, offset in zip(self._levels, offsets, strict=True):
            lower, upper = exact.interval(level)
            lower, upper = lower - offset * std, upper + offset * std
            middle = 0.5 * (lower + upper)
            # where Q < 0 left nothing
            lower, upper = torch.minimum(lower, middle), torch.maximum(upper, middle)
            if lower_ends:
                lower, upper = (
                    torch.minimum(lower, lower_ends[-1]),
                    torch.maximum(upper, upper_ends[-1]),
                )
            lower_ends.append(lower)
            upper_ends.append(upper)
        lower, upper = torch.stack(lower_ends[::-1], -1), torch.stack(upper_ends, -1)
        z = torch.cat([_probit_of_ends(dist, lower, False), _probit_of_ends(dist, upper, True)], -1)
        z = z.clamp(-SUPPORT_END_PROBIT, SUPPORT_END_PROBIT).cummax(
            -1
        ).values + _SMALLEST_GAP * torch.arange(z.shape[-1], dtype=z.dtype, device=z.device)
        tails = torch.tensor(
            [(1 - level) / 2 for level in self._levels], dtype=z.dtype, device=z.device
        )
        x = ndtri(tails)
        return recalibrated(dist, PiecewiseLinearMap(z, torch.cat([x.flip(0), -x])))

    def _of_group(self, dist: Distribution, group: Any) -> Tensor:
        """The offset of each row for each level, (levels, ...)."""
        offsets = self.offsets.double()
        if group is None:
            if self.num_groups > 1:
                raise ValueError(
                    f"fitted on {self.num_groups} groups: call r(dist, group=...) with each row's."
                )
            return offsets[0]
        outputs = self.offsets.ndim - 2
        batch = dist.batch_shape[: len(dist.batch_shape) - outputs]
        group = _as_group(group, batch)
        if (group >= self.num_groups).any():
            unknown = locate(group >= self.num_groups, group)
            raise ValueError(
                f"group must be below {self.num_groups}, the groups at fit, got {unknown}."
            )
        return offsets[group.to(offsets.device)].movedim(len(batch), 0)


def _as_group(group: Any, shape: Size, weight: Tensor | None = None) -> Tensor:
    group = as_tensor(group, "group")
    if group.shape != shape:
        raise ValueError(
            f"group must have one value per row, shape {tuple(shape)}, got {tuple(group.shape)}."
        )
    if group.is_floating_point() or group.is_complex():
        raise ValueError(f"group must be integers from 0, one for each row, got {group.dtype}.")
    wrong = group < 0 if weight is None else (group < 0) & (weight.to(group.device) > 0)
    if wrong.any():
        raise ValueError(
            f"group must be integers from 0, one for each row, got {locate(wrong, group)}."
        )
    return group.long()


def masses(weight: Tensor | None, groups: Tensor | None, rows: int) -> tuple[Tensor, Tensor]:
    """The mass of each held-out row, shape (rows,), and of a new row, shape ().

    A new row has the average mass of one drawn by the weights, sum w^2 / sum w. A group has mass 1,
    shared by its rows.

    Args:
        weight: (rows, *outputs), equal in all outputs.
        groups: (rows,), integers from 0, each of one row or more.
        rows: the number of held-out rows.
    """
    device = next((part.device for part in (weight, groups) if part is not None), None)
    mass = (
        torch.ones(rows, dtype=torch.float64, device=device)
        if weight is None
        else weight.reshape(rows, -1)[:, 0]
    )
    if groups is not None:
        total = mass.new_zeros(int(groups.max()) + 1 if rows else 0).index_add(0, groups, mass)
        return mass / total[groups], mass.new_ones(())
    return mass, mass.square().sum() / mass.sum() if rows else mass.new_ones(())


def _check_enough(level: float, mass: Tensor, new: Tensor, unit: str, where: str) -> None:
    least, count = math.ceil(1 / (1 - level) - 1e-9) - 1, (mass.sum() / new).item()
    if count * (1 - level) < level - MASS_TOLERANCE:
        by_weight = (
            ""
            if unit == "groups" or bool((mass == new).all())
            else " by weights, (sum w)^2 / sum w^2,"
        )
        raise ValueError(
            f"level {level:g} needs at least {least} {unit} to fit, got "
            f"{count:.4g}{by_weight}{where}."
        )


def _quantile(values: Tensor, mass: Tensor, threshold: Tensor) -> Tensor:
    """The smallest of the values (rows, *outputs) up to which the mass (rows,) adds up to that."""
    values, order = values.sort(0)
    reached = mass[order].cumsum(0) >= threshold
    return values.gather(0, reached.to(torch.uint8).argmax(0, keepdim=True)).squeeze(0)


def _finite_stddev(dist: Distribution) -> Tensor:
    stddev = dist.stddev
    wrong = ~(stddev.isfinite() & (stddev > 0))
    if wrong.any():
        raise ValueError(
            "normalised=True needs a standard deviation that is finite and above zero, got "
            f"{locate(wrong, stddev)}. Try normalised=False, or a family with a variance."
        )
    return stddev


def _probit_of_ends(dist: Distribution, ends: Tensor, is_upper: bool) -> Tensor:
    """The probits of interval ends, of shape (..., levels), of a distribution of shape (...)."""
    while isinstance(dist, Affine):
        ends = (ends - dist.loc.double().unsqueeze(-1)) / dist.scale.double().unsqueeze(-1)
        dist = dist.base
    dist, ends = dist._in_double(), ends.movedim(-1, 0)
    if isinstance(dist, Discrete):
        # Between the integers inside and outside the interval, so that rounding decides nothing.
        k = (ends + 1e-9).floor() if is_upper else (ends - 1e-9).ceil()
        half = math.log(0.5)
        below = torch.logaddexp(dist.log_cdf(k - 1), dist.log_cdf(k)) + half
        above = torch.logaddexp(dist.log_survival(k - 1), dist.log_survival(k)) + half
        return probit(below, above).movedim(0, -1)
    return probit(dist.log_cdf(ends), dist.log_survival(ends)).movedim(0, -1)


def check_ordered(recalibration: Recalibration, dist: Distribution) -> None:
    """Checks that the targets of `dist` are ordered numbers, which have quantiles.

    Raises:
        ValueError: for classes, rankings, directions and vectors.
    """
    base = dist
    while isinstance(base, Affine):
        base = base.base
    if base.kind not in ("continuous", "count"):
        raise ValueError(
            f"{type(recalibration).__name__} is for ordered numbers, which have "
            f"quantiles, got {dist!r}."
        )
