"""`ConformalQuantiles` and `ConformalPredictive`: coverage that holds for any model, by the ranks of held-out rows."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from disthead.calibration.recalibrated import Recalibrated, RecalibratedContinuous, RecalibratedDiscrete, recalibrated
from disthead.calibration.recalibration import Recalibration
from disthead.calibration.warp import Steps, probit
from disthead.families.affine import Affine
from disthead.families.continuous import Continuous
from disthead.families.discrete import Discrete
from disthead.families.distribution import Distribution
from disthead.families.univariate import check_level

__all__ = ["ConformalPredictive", "ConformalQuantiles"]

_FAR = 1e3  # on the probit scale: as good as the end of the support
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
        _check_ordered(self, dist)

    def fit(self, dist: Distribution, y: Tensor, group: Tensor | None = None) -> "ConformalQuantiles":
        return super().fit(dist, y, group=group)

    def forward(self, dist: Distribution, group: Tensor | None = None) -> Distribution:
        return super().forward(dist, group=group)

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

    def _apply(self, dist: Distribution, group: Tensor | None = None) -> Distribution:
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
        z = z.clamp(-_FAR, _FAR).cummax(-1).values + _GAP * torch.arange(z.shape[-1], dtype=z.dtype, device=z.device)
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


class ConformalPredictive(Recalibration):
    """A predictive distribution whose probabilities are ranks: right at every level, whatever the model.

    Between neighbours of the n sorted transforms F_i(y_i) of held-out rows lies the probability 1 / (n + 1), as it
    must for a new row that is exchangeable with them; `r(dist)` carries that through the model's quantiles. The
    interval of any level covers with a probability from `level` to level + 1 / (n + 1) (above for counts). Inside
    a gap the probability is spread evenly on the probit scale; there is no density, since the gaps' widths are chance.
    Transforms of counts are randomised, with `seed`.

    Source: Vovk, Shen, Manokhin and Xie 2017; Chernozhukov, Wuthrich and Zhu 2021.

    >>> from disthead.families import Normal
    >>> y = torch.randn(999, generator=torch.Generator().manual_seed(0))
    >>> too_narrow = Normal(torch.zeros(999), 0.5)
    >>> lower, upper = ConformalPredictive().fit(too_narrow, y)(too_narrow).interval(0.8)
    >>> ((lower <= y) & (y <= upper)).float().mean()
    tensor(0.8018)
    """

    least_rows = 3
    ranks: Tensor

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed = seed
        self._learned("ranks")

    def _check_kind(self, dist: Distribution) -> None:
        _check_ordered(self, dist)

    @torch.no_grad()
    def _learn(self, dist: Distribution, y: Tensor) -> None:
        while isinstance(dist, Affine):
            dist, y = dist.base, dist._to_base(y)
        dist = dist._in_double()
        below, above = dist.log_cdf(y), dist.log_survival(y)
        if isinstance(dist, Discrete):
            v = torch.rand(y.shape, generator=torch.Generator().manual_seed(self.seed), dtype=y.dtype).to(y.device)
            below = torch.logaddexp(below + v.log(), dist.log_cdf(y - 1) + (1 - v).log())
            above = torch.logaddexp(above + v.log(), dist.log_survival(y - 1) + (1 - v).log())
        self.ranks = probit(below, above).clamp(-_FAR, _FAR).sort(0).values.movedim(0, -1)  # (*outputs, n)

    def _apply(self, dist: Distribution) -> Distribution:
        if isinstance(dist, Affine):
            return Affine(self._apply(dist.base), dist.loc, dist.scale)
        n = self.ranks.shape[-1]
        share = torch.arange(1, n + 1, dtype=torch.float64, device=self.ranks.device) / (n + 1)
        upper = torch.arange(n, 0, -1, dtype=torch.float64, device=self.ranks.device) / (n + 1)
        x = torch.where(share < 0.5, torch.special.ndtri(share), -torch.special.ndtri(upper))
        kind = _ConformalDiscrete if isinstance(dist, Discrete) else _ConformalContinuous
        return kind(dist, [Steps(self.ranks.double(), x)])


class _Ranked(Recalibrated):
    def interval(self, level: float) -> tuple[Tensor, Tensor]:
        """The interval between two of the ranks, ceil((n + 1) level) gaps apart.

        Raises:
            ValueError: for a level that takes more rows than there were at `fit`.
        """
        check_level(level)
        n = self.warps[0].x.shape[-1]
        gaps = math.ceil((n + 1) * level - 1e-9)
        outside = (n + 1 - gaps) // 2
        if outside < 1:
            need = math.ceil(2 / (1 - level) - 1e-9) - 1
            raise ValueError(f"an interval of level {level:g} needs at least {need} rows at fit, there were {n}.")
        first, last = outside / (n + 1), (n + 1 - outside - gaps) / (n + 1)
        return self._at(first, 1 - first), self._at(1 - last, last)

    def _at(self, below: float, above: float) -> Tensor:
        raise NotImplementedError


class _ConformalContinuous(_Ranked, RecalibratedContinuous):
    """A continuous distribution with the ranks of held-out rows for its probabilities; see `ConformalPredictive`."""

    def _at(self, below: float, above: float) -> Tensor:
        exact = self._in_double()
        return exact._quantile(exact._constant(below), exact._constant(above)).to(self.dtype)

    def log_prob(self, y: Tensor) -> Tensor:
        raise self._no_density("log_prob")

    def entropy(self) -> Tensor:
        raise self._no_density("entropy")

    @property
    def mode(self) -> Tensor:
        raise self._no_density("mode")

    def highest_density(self, level: float) -> tuple[Tensor, Tensor]:
        raise self._no_density("highest_density")

    def _no_density(self, question: str) -> NotImplementedError:
        return self._unanswered(
            question, "ranks give probabilities of intervals but no density. Try QuantileRecalibration, which has one."
        )


class _ConformalDiscrete(_Ranked, RecalibratedDiscrete):
    """Counts with the ranks of held-out rows for their probabilities; see `ConformalPredictive`."""

    def _at(self, below: float, above: float) -> Tensor:
        return self.icdf(self._constant(below))


def _check_ordered(recalibration: Recalibration, dist: Distribution) -> None:
    base = dist
    while isinstance(base, Affine):
        base = base.base
    circular = getattr(base.support, "is_circular", False)
    if not isinstance(base, (Continuous, Discrete)) or circular or hasattr(base, "expected_cost"):
        raise ValueError(f"{type(recalibration).__name__} is for ordered numbers, which have quantiles, got {dist!r}.")
