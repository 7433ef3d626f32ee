"""`ConformalPredictive`: probabilities that hold for any model, by the ranks of held-out rows."""

import math

import torch
from torch import Tensor

from disthead.calibration.conformal import FAR, check_ordered
from disthead.calibration.recalibrated import Recalibrated, RecalibratedContinuous, RecalibratedDiscrete
from disthead.calibration.recalibration import Recalibration
from disthead.calibration.warp import Steps, probit
from disthead.families.affine import Affine
from disthead.families.discrete import Discrete
from disthead.families.distribution import Distribution
from disthead.families.univariate import check_level

__all__ = ["ConformalPredictive"]


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
        check_ordered(self, dist)

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
        self.ranks = probit(below, above).clamp(-FAR, FAR).sort(0).values.movedim(0, -1)  # (*outputs, n)

    def _recalibrate(self, dist: Distribution) -> Distribution:
        if isinstance(dist, Affine):
            return Affine(self._recalibrate(dist.base), dist.loc, dist.scale)
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
        n = self.warps[0].x.shape[-1]  # type: ignore[attr-defined]
        gaps = math.ceil((n + 1) * level - 1e-9)
        outside = (n + 1 - gaps) // 2
        if outside < 1:
            need = math.ceil(2 / (1 - level) - 1e-9) - 1
            raise ValueError(f"an interval of level {level:g} needs at least {need} rows at fit, there were {n}.")
        first, last = outside / (n + 1), (n + 1 - outside - gaps) / (n + 1)
        return self._at(first, 1 - first), self._at(1 - last, last)

    def _at(self, below: float, above: float) -> Tensor:
        raise NotImplementedError


class _ConformalContinuous(_Ranked, RecalibratedContinuous):  # type: ignore[override]
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
