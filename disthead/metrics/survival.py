"""Metrics of censored targets: the Brier score at a time, the CRPS up to one, and concordance.

Censoring hides who has an event later. Brier score and CRPS undo that by weights, one over the
probability not to be censored (`KaplanMeier.of_censoring`). So they need right-censored targets
whose censoring does not depend on the features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor

from disthead.arrays import as_tensor
from disthead.distributions.base import Distribution
from disthead.distributions.censored import Ends, as_pairs, is_pair
from disthead.errors import locate
from disthead.metrics.checks import Rows, chunks
from disthead.metrics.mean import Score
from disthead.metrics.state import OfRows, keep_apart
from disthead.special import gauss_legendre
from disthead.weights import as_weight

__all__ = ["CensoredBrierScore", "CensoredCRPS", "Concordance", "KaplanMeier"]

_NODES = 128  # of a quadrature on each side of a lifetime
_COMPARED = 1 << 22  # pairs of rows at a time


@dataclass(frozen=True)
class KaplanMeier:
    """The Kaplan-Meier estimate of the distribution of a right-censored time.

    Attributes:
        times: at which the estimate falls, increasing, shape (K,).
        survival: the probability of a later time, from each of these on, shape (K,).

    Source: Kaplan and Meier 1958, Nonparametric estimation from incomplete observations.

    >>> y = torch.tensor([[1.0, 1.0], [2.0, torch.inf], [3.0, 3.0]])
    >>> KaplanMeier.of(y).at(torch.tensor([0.5, 1.0, 2.5, 3.0]))
    tensor([1.0000, 0.6667, 0.6667, 0.0000], dtype=torch.float64)
    """

    times: Tensor
    survival: Tensor

    @classmethod
    def of(cls, y: Any, weight: Any = None) -> Self:
        """The distribution of the time itself.

        Args:
            y: right-censored pairs (N, 2), or observed times (N,).
            weight: (N,), zero or more; rows of weight 0 are left out.

        Raises:
            ValueError: for left- and interval-censored targets, and other shapes.
        """
        return cls._estimate(y, weight, of_censoring=False)

    @classmethod
    def of_censoring(cls, y: Any, weight: Any = None) -> Self:
        """The distribution of the time of censoring, which an event hides.

        Where both happen at one time, the event comes first. Arguments are those of `of`.
        """
        return cls._estimate(y, weight, of_censoring=True)

    @classmethod
    def _estimate(cls, y: Any, weight: Any, of_censoring: bool) -> Self:
        pairs = as_pairs(as_tensor(y)).detach().double()
        weight = as_weight(weight, pairs.shape[:1], device=pairs.device)
        w = torch.ones_like(pairs[:, 0]) if weight is None else weight.double()
        pairs, w = pairs[w > 0], w[w > 0]
        time, is_event = _times(pairs, "KaplanMeier")
        times, place = time.unique(return_inverse=True)
        events, censored = (
            torch.zeros_like(times).index_add_(0, place, w * which.double())
            for which in (is_event, ~is_event)
        )
        at_risk = (events + censored).flip(0).cumsum(0).flip(0)
        if of_censoring:
            left, at_risk = censored, at_risk - events
        else:
            left = events
        stays = torch.where(at_risk > 0, 1 - left / at_risk.clamp(min=1e-300), 1.0).clamp(min=0)
        return cls(times[left > 0], stays.cumprod(0)[left > 0])

    def at(self, time: Tensor) -> Tensor:
        """P(T > time), in double precision."""
        return self._value(time, right=True)

    def before(self, time: Tensor) -> Tensor:
        """P(T >= time), in double precision."""
        return self._value(time, right=False)

    def _value(self, time: Tensor, right: bool) -> Tensor:
        time = time.double()
        place = torch.searchsorted(self.times.to(time.device), time.contiguous(), right=right)
        return torch.cat([self.survival.new_ones(1), self.survival]).to(time.device)[place]


class _Weighted(Score):
    """A score of lifetimes, weighted by the inverse probability of not being censored."""

    takes_censored = True

    def __init__(self, censoring: KaplanMeier, last: float, **options: Any):
        super().__init__(**options)
        self.censoring = censoring
        if not float(censoring.at(torch.tensor(last, dtype=torch.float64))) > 0:
            raise ValueError(
                f"{type(self).__name__} needs times that somebody reaches uncensored, got "
                f"{last:g}, where all are censored. Take an earlier one."
            )

    def _shares(self, time: Tensor, is_event: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The weights of an event up to t, and of a life that is longer than t."""
        by_event = self.censoring.before(torch.minimum(time, t))
        happened = is_event & (time <= t)
        past = torch.where(happened, 1 / by_event.clamp(min=1e-300), 0.0)
        return past, torch.where(time > t, 1 / self.censoring.at(t).clamp(min=1e-300), 0.0)


class CensoredBrierScore(_Weighted):
    """The mean squared error of P(Y > t) at a time t, from right-censored targets.

    A row with an event at y <= t has the score P(Y > t)^2 / G(y-), one that lives longer than t has
    P(Y <= t)^2 / G(t), and one that is censored before has 0. G is the probability not to be
    censored by then, G(y-) that just before y. Source: Graf, Schmoor, Sauerbrei and Schumacher
    1999, Assessment and comparison of prognostic classification schemes for survival data.

    Args:
        times: one time gives a number, several give one number each.
        censoring: of `KaplanMeier.of_censoring(y)`, of the training rows or of those evaluated.
        **options: as for `Score`.

    Raises:
        ValueError: for times at which all are censored.
        NotImplementedError: by `update`, for left- and interval-censored targets.

    >>> from disthead import get_family
    >>> y = torch.tensor([[1.0, 1.0], [2.0, torch.inf], [3.0, 3.0]])
    >>> dist = get_family("censored", base="exponential").distribution(rate=torch.ones(3))
    >>> CensoredBrierScore(1.5, KaplanMeier.of_censoring(y))(dist, y)
    tensor(0.4189)
    """

    def __init__(self, times: "float | Sequence[float]", censoring: KaplanMeier, **options: Any):
        several = [times] if isinstance(times, (int, float)) else [float(time) for time in times]
        each = () if isinstance(times, (int, float)) else (len(several),)
        super().__init__(censoring, max(several), each=each, **options)
        self.times = several

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        outputs, (time, is_event) = _lifetimes(dist, y, type(self).__name__)
        scores = []
        for t in self.times:
            point = torch.full_like(time, t)
            past, longer = self._shares(time, is_event, point)
            below, above = _tails(outputs, point)
            scores.append(past * above.square() + longer * below.square())
        return torch.stack(scores, -1) if self.each else scores[0]


class CensoredCRPS(_Weighted):
    """The mean of the integral of the Brier score from `start` to `horizon`, in the units of y.

    Without censoring before the horizon it is the CRPS of min(Y, horizon). Divided by
    horizon - start it is the integrated Brier score of Graf et al. (1999). The integral is by
    Gauss-Legendre quadrature on both sides of each time.

    Args:
        horizon: the last time that counts.
        censoring: as for `CensoredBrierScore`.
        start: the first time.
        **options: as for `Score`.

    Raises:
        ValueError: for a horizon at which all are censored, or before the start.
        NotImplementedError: by `update`, for left- and interval-censored targets.
    """

    def __init__(self, horizon: float, censoring: KaplanMeier, start: float = 0.0, **options: Any):
        super().__init__(censoring, horizon, **options)
        if not start < horizon:
            raise ValueError(f"horizon must be later than the start {start:g}, got {horizon:g}.")
        self.horizon, self.start = horizon, start

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        return torch.cat([self._integral(*part) for part in chunks(dist, y, _NODES)])

    def _integral(self, dist: Distribution, y: Tensor) -> Tensor:
        outputs, (time, is_event) = _lifetimes(dist, y, type(self).__name__)
        middle = time.clamp(self.start, self.horizon)
        nodes, weights = (
            part.reshape(-1, *(1,) * time.ndim) for part in gauss_legendre(_NODES, time)
        )
        value = torch.zeros_like(time)
        for first, last in ((self.start, middle), (middle, self.horizon)):
            width = last - first
            t = first + width * nodes
            past, longer = self._shares(time, is_event, t)
            below, above = _tails(outputs, t)
            score = past * above.square() + longer * below.square()
            value = value + width * (weights * score).sum(0)
        return value


class Concordance(OfRows):
    """The share of pairs of rows that the forecasts put into the order of their events.

    A pair counts where one row has an event, and the other is later or still runs then. It is
    concordant where the row with the earlier event has the smaller prediction; equal predictions
    count one half. 1/2 is chance, and 1 is the right order of all pairs. This is Harrell's C; with
    `censoring`, each pair is weighted by 1 / G(y-)^2, with y the earlier time, which is Uno's C and
    does not depend on the censoring.

    All times and predictions are kept until `compute`, four numbers a row, which takes a time that
    grows with the square of the rows.

    Args:
        point: the prediction: "median" or "mean".
        censoring: of `KaplanMeier.of_censoring(y)`, for Uno's C.
        horizon: pairs whose earlier event is later do not count.

    Source: Harrell, Califf, Pryor, Lee and Rosati 1982; Uno, Cai, Pencina, D'Agostino and Wei 2011.

    >>> from disthead import get_family
    >>> y = torch.tensor([[1.0, 1.0], [2.0, torch.inf], [3.0, 3.0]])
    >>> rate = torch.tensor([2.0, 0.4, 0.5])
    >>> dist = get_family("censored", base="exponential").distribution(rate=rate)
    >>> Concordance()(dist, y)
    tensor(1.)
    """

    takes_censored = True
    full_state_update = False
    lives: list[Tensor]

    def __init__(
        self,
        point: Literal["median", "mean"] = "median",
        censoring: KaplanMeier | None = None,
        horizon: float = float("inf"),
        **options: Any,
    ):
        super().__init__(**options)
        if point not in ("median", "mean"):
            raise ValueError(f"point must be 'median' or 'mean', got {point!r}.")
        self.point, self.censoring, self.horizon = point, censoring, horizon
        # time, whether it is an event, prediction and weight of one row after the other
        self.add_state("lives", default=[], dist_reduce_fx="cat")
        keep_apart(self)

    def _add_rows(self, rows: Rows) -> None:
        if rows.dist.event_shape:
            raise NotImplementedError(
                "Concordance orders the rows of one output, the distribution has the event_shape "
                f"{tuple(rows.dist.event_shape)}. Take one for each output of dist.marginals."
            )
        _, (time, is_event) = _lifetimes(rows.dist, rows.y, "Concordance")
        predicted = getattr(rows.dist, self.point).detach().to(time)
        rows.refuse_nan(predicted, f"the {self.point}")
        parts = [time, is_event.to(time), predicted, rows.weights_like(time).to(time)]
        self.lives.append(torch.stack([part.reshape(-1) for part in parts], -1).reshape(-1))

    def sync(self, *arguments: Any, **options: Any) -> None:
        """Gather the rows of all processes, some of which may have none."""
        if not self.lives:  # in the precision of the others
            self.lives = [torch.zeros(0, dtype=torch.float64, device=self.device)]
        super().sync(*arguments, **options)

    def compute(self) -> Tensor:
        """The share of concordant pairs, a number; NaN where no pair counts."""
        parts = self.lives if isinstance(self.lives, list) else [self.lives]
        lives = torch.cat([*parts, torch.zeros(0, dtype=torch.float64, device=self.device)])
        time, is_event, predicted, weight = lives.reshape(-1, 4).unbind(-1)
        of_event = weight * is_event * (time <= self.horizon)
        if self.censoring is not None:
            chance = self.censoring.before(time)
            lost = (of_event > 0) & (chance <= 0)
            if bool(lost.any()):
                raise ValueError(
                    f"Concordance needs events at times that somebody reaches uncensored, got "
                    f"{locate(lost, time)}. Give an earlier horizon."
                )
            of_event = of_event / torch.where(lost | (chance <= 0), 1.0, chance).square()
        right, total = time.new_zeros(()), time.new_zeros(())
        events = (of_event > 0).nonzero().flatten()
        for some in events.split(max(1, _COMPARED // max(len(time), 1))):
            earlier, own = time[some].unsqueeze(-1), predicted[some].unsqueeze(-1)
            is_later = (time > earlier) | ((time == earlier) & (is_event == 0))
            pair = of_event[some].unsqueeze(-1) * weight * is_later
            agrees = (predicted > own).double() + 0.5 * (predicted == own).double()
            right, total = right + (pair * agrees).sum(), total + pair.sum()
        return (right / total).float()


def _lifetimes(
    dist: Distribution, y: Tensor, what: str
) -> tuple[Distribution, tuple[Tensor, Tensor]]:
    """The distribution of each number, and its times with whether they are events."""
    outputs = dist.marginals if dist.event_shape else dist
    shape = dist.batch_shape + dist.event_shape
    if not is_pair(y.shape, shape) or y.shape == shape:
        return outputs, (y.detach().double(), torch.ones_like(y, dtype=torch.bool))
    return outputs, _times(y.detach().double(), what)


def _times(pairs: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """The times of right-censored pairs, and whether they are events.

    Raises:
        NotImplementedError: for left- and interval-censored pairs, with their rows.
    """
    ends = Ends.of(pairs)
    bad = ~(ends.is_observed | ends.is_right)
    if bool(bad.any()):
        raise NotImplementedError(
            f"{what} needs observed and right-censored targets, got {locate(bad, pairs)}. "
            "NegativeLogLikelihood, PITHistogram and Coverage take other intervals."
        )
    return ends.lower, ends.is_observed


def _tails(outputs: Distribution, t: Tensor) -> tuple[Tensor, Tensor]:
    """P(Y <= t) and P(Y > t), in double precision."""
    t = t.to(outputs.dtype)
    return outputs.cdf(t).detach().double(), outputs.log_survival(t).detach().double().exp()
