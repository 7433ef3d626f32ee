"""`ConformalPredictive`: probabilities that hold for any model, by the ranks of held-out rows."""

import math
import operator
from typing import Any, Self

import torch
from torch import Tensor

from disthead.calibration.conformal import CLOSE, FAR, check_ordered, masses
from disthead.calibration.recalibrated import (
    Recalibrated,
    RecalibratedContinuous,
    RecalibratedDiscrete,
)
from disthead.calibration.recalibration import Recalibration
from disthead.calibration.warp import Ranks, at_index, count_at_most, probit
from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution
from disthead.distributions.discrete import Discrete
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.univariate import check_level
from disthead.groups import as_groups
from disthead.special.plain import ndtr, ndtri

__all__ = ["ConformalPredictive"]


class ConformalPredictive(Recalibration):
    """A predictive distribution whose probabilities are ranks: right at every level, whatever the model.

    Between neighbours of the n sorted transforms F_i(y_i) of held-out rows lies the probability 1 /
    (n + 1), as it must for a new row that is exchangeable with them; `r(dist)` carries that through
    the model's quantiles. The interval of any level covers with a probability from `level` to level
    + 1 / (n + 1) (above for counts). Inside a gap the probability is spread evenly on the probit
    scale; there is no density, since the gaps' widths are chance. Transforms of counts are
    randomised, with `seed`.

    `fit` takes weights, and `groups`, a label for each row: rows of one panel, person or site,
    which are not independent. What held-out rows and a new one weigh is as for
    `ConformalQuantiles`: with weights C_k up to the k-th rank and v of a new row, out of T = C_n +
    v, at least C_k / T lies up to it and at most (C_(k-1) + v) / T below. Intervals keep to these
    bounds; the cdf lies in their middle, which for equal weights is both.

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
        """As `Recalibration.fit`, with `groups` of rows that belong together, a label for each row."""
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
        ranks, order = probit(below, above).clamp(-FAR, FAR).sort(0)
        mass, new = masses(weight, groups, len(y))
        each = torch.cat([mass[order], new.expand(1, *order.shape[1:])])  # the new row's is last
        # (*outputs, n) and (*outputs, n + 1)
        self.ranks, self.masses = ranks.movedim(0, -1), each.movedim(0, -1)

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
            dist, [Ranks(ranks, x, (through - mass + new) / total, through / total, new / total)]
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
        """The shortest interval between ranks that is sure to hold `level`, with no more than half of the rest below it.

        Raises:
            ValueError: for a level that takes more rows than there were at `fit`.
        """
        check_level(level)
        ranks: Ranks = self.warps[0]  # type: ignore[assignment]
        new = ranks.new.squeeze(-1)
        close = CLOSE * new
        first = count_at_most(ranks.below, (1 - level) / 2 + close) - 1
        if (first < 0).any():
            need, count = math.ceil(2 / (1 - level) - 1e-9) - 1, (1 / new - 1).min().item()
            raise ValueError(
                f"an interval of level {level:g} needs at least {need} rows at fit, there were "
                f"{count:.4g}."
            )
        last = count_at_most(ranks.through, at_index(ranks.below, first) + level - close)
        return Interval(self._at(at_index(ranks.x, first)), self._at(at_index(ranks.x, last)))

    def _at(self, x: Tensor) -> Tensor:
        """Where the probability is Phi(x)."""
        raise NotImplementedError


class _ConformalContinuous(_Ranked, RecalibratedContinuous):  # type: ignore[override]
    """A continuous distribution with the ranks of held-out rows for its probabilities; see `ConformalPredictive`."""

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
    """Counts with the ranks of held-out rows for their probabilities; see `ConformalPredictive`."""

    def _at(self, x: Tensor) -> Tensor:
        return self.icdf(ndtr(x))
