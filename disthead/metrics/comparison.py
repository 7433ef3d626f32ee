"""`PairedDifference` and `Skill`, which compare two forecasts of the same rows."""

from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.metrics.mean import RowMean, Score
from disthead.metrics.state import over_processes

__all__ = ["PairedDifference", "Skill"]


class PairedDifference(RowMean):
    """The mean difference of a score between two forecasts of the same rows.

    The difference is negative where the first forecast has the lower score. What is difficult about
    a row cancels, so that the standard error is far below those of the two means. One forecast is
    better than the other if the difference is several standard errors from zero.

    `compute()` gives a tensor of the metric's shape, in the units of its score. Source: Diebold and
    Mariano 1995.

    Args:
        metric: a `Score`, such as `CRPS()`.

    >>> from disthead import get_family
    >>> from disthead.metrics import CRPS
    >>> normal = get_family("normal").distribution
    >>> better = PairedDifference(CRPS())
    >>> first = normal(loc=torch.zeros(3), scale=1.0)
    >>> second = normal(loc=torch.ones(3), scale=1.0)
    >>> better.update(first, second, torch.zeros(3))
    >>> bool(better.compute() < 0)
    True
    """

    def __init__(self, metric: Score, **options: Any):
        super().__init__(metric.shape, **options)
        self.metric = metric

    def update(  # type: ignore[override]
        self, first: Distribution, second: Distribution, y: Any, weight: Any = None
    ) -> None:
        """Adds rows of two forecasts and their targets.

        Args:
            first: a distribution of batch_shape (N,).
            second: the other one, of batch_shape (N,).
            y: targets, of shape (N, *event_shape).
            weight: of shape (N,); rows of weight 0 are left out.

        Raises:
            TargetError: for targets that a distribution cannot have produced.
            ValueError: for other shapes, and weights that are negative, NaN or infinite.
        """
        rows = self.metric.rows_that_count(first, y, weight, [second])
        one, other = (self.metric.scores(dist, rows.y) for dist in (rows.dist, *rows.others))
        self._add(one - other, rows.weight)


class Skill(RowMean):
    """The skill score of a forecast against a reference, 1 - score / score of the reference.

    1 is perfect, 0 is no better than the reference. A usual reference is the unconditional model
    (no features). Of log scores it is the difference, in nats. `compute()` gives a tensor of the
    metric's shape.

    Args:
        metric: a `Score`, such as `CRPS()`.
        reference: the forecast to beat, with batch_shape () for all rows; or pass it to `update`.
        relative: whether the score is divided by the reference's. Scores that may be negative, as
            log scores, are compared by their difference, reference - score.

    The standard error is by the delta method, from the rows' pairs of scores.
    """

    product: Tensor

    def __init__(
        self,
        metric: Score,
        reference: Distribution | None = None,
        relative: bool | None = None,
        **options: Any,
    ):
        super().__init__((2, *metric.shape), **options)
        from disthead.metrics.scores import NegativeLogLikelihood

        self.metric, self.reference = metric, reference
        self.relative = (
            not isinstance(metric, NegativeLogLikelihood) if relative is None else relative
        )
        self.add_state(
            "product", torch.zeros(metric.shape, dtype=torch.float64), dist_reduce_fx="sum"
        )

    def update(  # type: ignore[override]
        self,
        dist: Distribution,
        y: Any,
        weight: Any = None,
        *,
        reference: Distribution | None = None,
    ) -> None:
        """Adds rows of a forecast and its targets.

        Args:
            dist: a distribution of batch_shape (N,).
            y: targets, of shape (N, *event_shape).
            weight: of shape (N,); rows of weight 0 are left out.
            reference: the forecast to beat, of batch_shape (N,) or (), if it was not an argument of
                the metric.

        Raises:
            TargetError: for targets that a distribution cannot have produced.
            ValueError: without a reference, for other shapes, and for weights that are negative,
                NaN or infinite.
        """
        other = self.reference if reference is None else reference
        if other is None:
            raise ValueError(
                "Skill needs a reference: Skill(metric, reference=...), or "
                "update(..., reference=...)."
            )
        other = other if other.batch_shape == dist.batch_shape else other.expand(dist.batch_shape)
        if other.device != dist.device:
            other = other.map(lambda parameter: parameter.to(dist.device))
        rows = self.metric.rows_that_count(dist, y, weight, [other])
        scores = [self.metric.scores(forecast, rows.y) for forecast in (rows.dist, *rows.others)]
        both = torch.stack([part.detach().to(self.sums.dtype) for part in scores], 1)
        self._add(both, rows.weight)
        product = both[:, 0] * both[:, 1]
        if rows.weight is not None:
            product = (
                product
                * rows.weight.detach().to(both).reshape(-1, *(1,) * (both.ndim - 2)).square()
            )
        self.product = self.product + product.sum(0)

    def compute(self) -> Tensor:
        """The skill, of the metric's shape."""
        score, reference = self._mean()
        return (1 - score / reference if self.relative else reference - score).float()

    @over_processes
    def standard_error(self) -> Tensor:
        """The standard error of the skill, by the delta method; NaN for fewer than two rows."""
        (rows, total, _, w2, w2v, w2v2), (score, reference) = self.sums, self._mean()
        slope_score, slope_reference = (
            (-1 / reference, score / reference.square())
            if self.relative
            else (-torch.ones_like(score), torch.ones_like(score))
        )
        means = torch.stack([score, reference])
        own = (w2v2 - 2 * means * w2v + means.square() * w2).clamp(min=0)
        shared = self.product - score * w2v[1] - reference * w2v[0] + score * reference * w2[0]
        variance = (
            slope_score**2 * own[0]
            + slope_reference**2 * own[1]
            + 2 * slope_score * slope_reference * shared
        )
        return ((variance.clamp(min=0) * rows[0] / (rows[0] - 1)).sqrt() / total[0]).float()
