"""`ConformalPredictive`: probabilities that hold for any model, by the ranks of held-out rows."""

import math
import operator
from typing import Any, Self

import torch
from torch import Tensor

from disthead.calibration.conformal import MASS_TOLERANCE, SUPPORT_END_PROBIT, check_ordered, masses
from disthead.calibration.monotone_maps import RankMap, at_index, count_at_most, probit
from disthead.calibration.recalibrated import (
    Recalibrated,
    RecalibratedContinuous,
    RecalibratedDiscrete,
)
from disthead.calibration.recalibration import Recalibration
from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution
from disthead.distributions.discrete import Discrete
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.univariate import check_level
from disthead.groups import as_groups
from disthead.special.plain import ndtr, ndtri

__all__ = ["ConformalPredictive"]


class ConformalPredictive(Recalibration):
    """A conformal predictive distribution, whose intervals cover at every level for any model.

    Between neighbours of the n sorted transforms F_i(y_i) of held-out rows lies the probability 1 /
    (n + 1), as it does for a new row that is exchangeable with them; `r(dist)` carries that through
    the model's quantiles. The interval of any level covers with a probability from `level` to level
    + 1 / (n + 1) (above for counts). Inside a gap the probability is uniform on the probit scale.
    There is no density, since the widths of the gaps are random. Transforms of counts are
    randomised.

    Args:
        seed: of the random numbers for counts.

    After `fit`, `ranks` has shape event_shape + (n,), in probits, and `masses` has shape
    event_shape + (n + 1,), the last one being that of a new row.

    `fit` takes weights, and `groups`, a label for each row: rows of one panel, person or site,
    which are not independent. The masses of held-out rows and of a new one are those of
    `ConformalQuantiles`: with weights C_k up to the k-th rank and v of a new row, out of T = C_n +
    v, at least C_k / T lies up to it and at most (C_(k-1) + v) / T below. Intervals keep to these
    bounds; the cdf lies in their middle, which for equal weights is both.

    Raises:
        ValueError: by `fit`, for classes, rankings, directions and vectors, and see
            `Recalibration.fit`; by `interval`, for a level that takes more rows than there were.
        NotImplementedError: by `log_prob`, `entropy`, `mode` and `highest_density` of continuous
            distributions, which need a density.

    Source: Vovk, Shen, Manokhin and Xie 2017; Chernozhukov, Wuthrich and Zhu 2021; Tibshirani,
    Barber, Candes and Ramdas 2019 for weights; Lee, Barber and Willett 2023 for groups.

    >>> from disthead.families import Normal
    >>> y = torch.randn(999, generator=torch.Generator().manual_seed(0))
    >>> too_narrow = Normal(torch.zeros(999), 0.5)
    >>> lower, upper = ConformalPredictive().fit(too_narrow, y)(too_narrow).interval(0.8)
    >>> ((lower <= y) & (y <= upper)).float().mean()
    tensor(0.8018)
    """

    least_rows = 3
    _maximises_likelihood = False
    ranks: Tensor
    masses: Tensor

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed = operator.index(seed)
        self._learned("ranks", "masses")

    def _check_kind(self, dist: Distribution) -> None:
        check_ordered(self, dist)

    def fit(self, dist: Distribution, y: Any, weight: Any = None, groups: Any = None) -> Self:
        """Learns from held-out rows, as `Recalibration.fit` does, with groups of rows.

        Args:
            dist: predicted distributions of the rows, of any batch_shape.
            y: observed targets, of shape batch_shape + event_shape.
            weight: as for `Recalibration.fit`.
            groups: a label for each row, of shape batch_shape; rows of one label are not
                independent of each other.

        Raises:
            TargetError: as `Recalibration.fit`.
            ValueError: as `Recalibration.fit`.
        """
        weight = self._weight(dist, weight)
        return self._fit(dist, y, weight, groups=as_groups(groups, dist.batch_shape, weight=weight))

    @torch.no_grad()
    def _learn(
        self, dist: Distribution, y: Tensor, weight: Tensor | None, groups: Tensor | None = None
    ) -> None:
        while isinstance(dist, Affine):
            dist, y = dist.base, dist._to_base(y)
        dist = dist._in_double()
        below, above = dist.log_cdf(y), dist.log_survival(y)
        if isinstance(dist, Discrete):
            v = torch.rand(
                y.shape, generator=torch.Generator().manual_seed(self.seed), dtype=y.dtype
            ).to(y.device)
            below = torch.logaddexp(below + v.log(), dist.log_cdf(y - 1) + (1 - v).log())
            above = torch.logaddexp(above + v.log(), dist.log_survival(y - 1) + (1 - v).log())
        ranks, order = probit(below, above).clamp(-SUPPORT_END_PROBIT, SUPPORT_END_PROBIT).sort(0)
        mass, new = masses(weight, groups, len(y))
        all_masses = torch.cat(
            [mass[order], new.expand(1, *order.shape[1:])]
        )  # the new row's is last
        # (*outputs, n) and (*outputs, n + 1)
        self.ranks, self.masses = ranks.movedim(0, -1), all_masses.movedim(0, -1)

    def _recalibrate(self, dist: Distribution) -> Distribution:
        if isinstance(dist, Affine):
            return Affine(self._recalibrate(dist.base), dist.loc, dist.scale)
        ranks, mass = self.ranks.double(), self.masses.double()
        mass, new = mass[..., :-1], mass[..., -1:]
        total = mass.sum(-1, keepdim=True) + new
        through, beyond = mass.cumsum(-1), mass.flip(-1).cumsum(-1).flip(-1)
        share, upper = ((part - 0.5 * (mass - new)) / total for part in (through, beyond))
        x = torch.where(share < 0.5, ndtri(share), -ndtri(upper))
        kind = _ConformalDiscrete if isinstance(dist, Discrete) else _ConformalContinuous
        return kind(
            dist, [RankMap(ranks, x, (through - mass + new) / total, through / total, new / total)]
        )

    def _load_from_state_dict(self, state_dict, prefix, *arguments) -> None:
        ranks = state_dict.get(prefix + "ranks")
        if ranks is not None:  # written before rows had weights
            state_dict.setdefault(
                prefix + "masses", ranks.new_ones(*ranks.shape[:-1], ranks.shape[-1] + 1)
            )
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class _Ranked(Recalibrated):
    def interval(self, level: float) -> Interval | Arc:
        """The shortest interval between ranks that surely covers with probability `level`.

        At most half of the remaining probability is below it.

        Raises:
            ValueError: for a level that takes more rows than there were at `fit`.
        """
        check_level(level)
        ranks: RankMap = self.maps[0]  # type: ignore[assignment]
        new = ranks.new.squeeze(-1)
        tolerance = MASS_TOLERANCE * new
        first = count_at_most(ranks.below, (1 - level) / 2 + tolerance) - 1
        if (first < 0).any():
            need, count = math.ceil(2 / (1 - level) - 1e-9) - 1, (1 / new - 1).min().item()
            raise ValueError(
                f"an interval of level {level:g} needs at least {need} rows at fit, there were "
                f"{count:.4g}."
            )
        last = count_at_most(ranks.through, at_index(ranks.below, first) + level - tolerance)
        return Interval(self._at(at_index(ranks.x, first)), self._at(at_index(ranks.x, last)))

    def _at(self, x: Tensor) -> Tensor:
        """The value whose cdf is Phi(x)."""
        raise NotImplementedError


class _ConformalContinuous(_Ranked, RecalibratedContinuous):  # type: ignore[override]
    """A continuous distribution whose probabilities are ranks; see `ConformalPredictive`."""

    def _at(self, x: Tensor) -> Tensor:
        return self._in_double()._quantile(ndtr(x), ndtr(-x)).to(self.dtype)

    def log_prob(self, y: Tensor) -> Tensor:
        raise self._no_density("log_prob")

    def entropy(self) -> Tensor:
        raise self._no_density("entropy")

    @property
    def mode(self) -> Tensor:
        raise self._no_density("mode")

    def highest_density(self, level: float) -> Interval | Arc:
        raise self._no_density("highest_density")

    def _no_density(self, question: str) -> NotImplementedError:
        return self._unanswered(
            question,
            "ranks give probabilities of intervals but no density. Try "
            "QuantileRecalibration, which has one.",
        )


class _ConformalDiscrete(_Ranked, RecalibratedDiscrete):
    """A distribution of counts whose probabilities are ranks; see `ConformalPredictive`."""

    def _at(self, x: Tensor) -> Tensor:
        return self.icdf(ndtr(x))
