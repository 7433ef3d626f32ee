"""`ConformalQuantiles`: intervals whose coverage holds for any model, by the errors of held-out rows."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from disthead.calibration.recalibrated import recalibrated
from disthead.calibration.recalibration import Recalibration
from disthead.calibration.warp import Steps, probit
from disthead.families.affine import Affine
from disthead.families.continuous import Continuous
from disthead.families.discrete import Discrete
from disthead.families.distribution import Distribution
from disthead.families.univariate import check_level

__all__ = ["FAR", "ConformalQuantiles", "check_ordered"]

FAR = 1e3  # on the probit scale: as good as the end of the support
_GAP = 1e-9  # between points that would coincide


class ConformalQuantiles(Recalibration):
    """Central intervals widened, or narrowed, by what held-out rows ask for: conformalised quantile regression.

    With E_i = max(lower_i - y_i, y_i - upper_i) over n held-out rows, the interval is
    [lower - Q, upper + Q], Q the ceil((n + 1) level)-th smallest E_i. On exchangeable rows it covers with a probability from
    `level` to level + 1 / (n + 1), whatever the model (above for counts, whose intervals end at integers).

    `r(dist)` is a distribution whose `interval(level)` is that interval; between the levels its cdf is the model's, bent
    to pass through their ends on the probit scale. Intervals stay inside the support and inside those of higher levels.

    Args:
        level: the probability that the interval holds, or several.
        normalised: E in units of the predicted standard deviation, so that the correction grows with it (locally weighted).

    `fit(dist, y, group=g)` and `r(dist, group=g)`, with integers g from 0 for each row, keep a Q for each group: coverage
    then holds in every group (Mondrian). Source: Romano, Patterson and Candes 2019; Lei et al. 2018 for weights.

    Raises:
        ValueError: by `fit`, for fewer than ceil(1 / (1 - level)) - 1 rows (in a group).

    >>> from disthead.families import Normal
    >>> y = torch.randn(999, generator=torch.Generator().manual_seed(0))
    >>> too_narrow = Normal(torch.zeros(999), 0.5)
    >>> lower, upper = ConformalQuantiles(0.8).fit(too_narrow, y)(too_narrow).interval(0.8)
    >>> ((lower <= y) & (y <= upper)).float().mean()
    tensor(0.8008)
    """

    offsets: Tensor

    def __init__(self, level: float | Sequence[float] = 0.9, normalised: bool = False):
        super().__init__()
        self.level, self.normalised = level, normalised
        self._levels = sorted([level] if isinstance(level, (int, float)) else level)
        for one in self._levels:
            check_level(one)
        self._learned("offsets")

    def _check_kind(self, dist: Distribution) -> None:
        check_ordered(self, dist)

    def fit(self, dist: Distribution, y: Tensor, group: Tensor | None = None) -> Self:
        return self._fit(dist, y, group=group)

    def forward(self, dist: Distribution, group: Tensor | None = None) -> Distribution:
        return self._forward(dist, group=group)

    @torch.no_grad()
    def _learn(self, dist: Distribution, y: Tensor, group: Tensor | None = None) -> None:
        dist = dist._in_double()
        unit = dist.stddev if self.normalised else 1.0
        group = torch.zeros(len(y), dtype=torch.long, device=y.device) if group is None else _indices(group, y)
        offsets = []
        for label in range(int(group.max()) + 1):
            of_group = group == label
            n, where = int(of_group.sum()), "" if not group.any() else f" in group {label}"
            for level in self._levels:
                rank = math.ceil((n + 1) * level - 1e-9)
                if rank > n:
                    need = math.ceil(1 / (1 - level) - 1e-9) - 1
                    raise ValueError(f"level {level:g} needs at least {need} rows to fit, got {n}{where}.")
                lower, upper = dist.interval(level)
                excess = torch.maximum(lower - y, y - upper) / unit
                offsets.append(excess[of_group].sort(0).values[rank - 1])
        self.offsets = torch.stack(offsets).unflatten(0, (-1, len(self._levels)))  # (groups, levels, *outputs)

    @property
    def num_groups(self) -> int:
        return len(self.offsets)

    def _recalibrate(self, dist: Distribution, group: Tensor | None = None) -> Distribution:
        wide, offsets = dist._in_double(), self._of_group(dist, group)
        lower_ends: list[Tensor] = []
        upper_ends: list[Tensor] = []
        for level, offset in zip(self._levels, offsets, strict=True):
            correction = offset * wide.stddev if self.normalised else offset
            lower, upper = wide.interval(level)
            lower, upper = lower - correction, upper + correction
            middle = 0.5 * (lower + upper)
            lower, upper = torch.minimum(lower, middle), torch.maximum(upper, middle)  # where Q < 0 left nothing
            if lower_ends:
                lower, upper = torch.minimum(lower, lower_ends[-1]), torch.maximum(upper, upper_ends[-1])
            lower_ends.append(lower)
            upper_ends.append(upper)
        lower, upper = torch.stack(lower_ends[::-1], -1), torch.stack(upper_ends, -1)
        z = torch.cat([_probit_of_ends(dist, lower, False), _probit_of_ends(dist, upper, True)], -1)
        z = z.clamp(-FAR, FAR).cummax(-1).values + _GAP * torch.arange(z.shape[-1], dtype=z.dtype, device=z.device)
        tails = torch.tensor([(1 - level) / 2 for level in self._levels], dtype=z.dtype, device=z.device)
        x = torch.special.ndtri(tails)
        return recalibrated(dist, Steps(z, torch.cat([x.flip(0), -x])))

    def _of_group(self, dist: Distribution, group: Tensor | None) -> Tensor:
        """The offset of each row for each level, (levels, ...)."""
        offsets = self.offsets.double()
        if group is None:
            if self.num_groups > 1:
                raise ValueError(f"fitted on {self.num_groups} groups: call r(dist, group=...) with each row's.")
            return offsets[0]
        group = _indices(group, group)
        outputs = self.offsets.ndim - 2
        batch = dist.batch_shape[: len(dist.batch_shape) - outputs]
        if group.shape != batch:
            raise ValueError(f"group must have one value per row, shape {tuple(batch)}, got {tuple(group.shape)}.")
        if (group >= self.num_groups).any():
            raise ValueError(f"group must be below {self.num_groups}, the groups at fit, got {int(group.max())}.")
        return offsets[group].movedim(len(batch), 0)


def _indices(group: Tensor, y: Tensor) -> Tensor:
    if group.shape[:1] != y.shape[:1] or (y is not group and group.ndim != 1):
        raise ValueError(f"group must have one value per row, shape {tuple(y.shape[:1])}, got {tuple(group.shape)}.")
    if group.is_floating_point() or (group < 0).any():
        raise ValueError("group must be integers from 0, one for each row.")
    return group.long()


def _probit_of_ends(dist: Distribution, ends: Tensor, is_upper: bool) -> Tensor:
    """Where interval ends, of shape (..., levels), lie on the probit scale of a distribution of shape (...)."""
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
    base = dist
    while isinstance(base, Affine):
        base = base.base
    circular = getattr(base.support, "is_circular", False)
    if not isinstance(base, (Continuous, Discrete)) or circular or hasattr(base, "expected_cost"):
        raise ValueError(f"{type(recalibration).__name__} is for ordered numbers, which have quantiles, got {dist!r}.")
