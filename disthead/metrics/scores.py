"""Proper scores and errors, as means over rows.

Each `score` returns the score of each row, shape (N,), or (N, *event_shape) where outputs have one
each; `Score` has what they share.
"""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import each_output
from disthead.distributions.outputs import Point, error_of, interval_width, marginals_of
from disthead.distributions.univariate import check_level
from disthead.metrics.checks import chunks
from disthead.metrics.mean import Score
from disthead.metrics.state import over_processes
from disthead.objectives.quantiles import interval_scores, pinball_losses
from disthead.objectives.scores import energy_score

__all__ = [
    "CRPS",
    "Accuracy",
    "BrierScore",
    "EnergyScore",
    "IntervalScore",
    "KendallTau",
    "MeanAbsoluteError",
    "NegativeLogLikelihood",
    "PinballLoss",
    "RankedProbabilityScore",
    "RootMeanSquaredError",
    "Sharpness",
    "TopKHitRate",
]


class NegativeLogLikelihood(Score):
    """The mean of -log p(y), in nats; of several outputs, that of their joint density.

    With `num_outputs` it is that of each output, by its marginal distribution. Source: Good 1952.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    >>> NegativeLogLikelihood()(dist, torch.zeros(3))
    tensor(0.9189)
    """

    takes_soft_labels = True
    takes_censored = True

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        own = dist.marginals if self.num_outputs is not None and dist.event_shape else dist
        return -own.log_prob(y)


class CRPS(Score):
    """The mean continuous ranked probability score, the integral of (F(x) - 1{y <= x})^2.

    It is in the units of y, and the mean absolute error where forecasts are points. Source:
    Gneiting and Raftery 2007.

    >>> from disthead import get_family
    >>> dist = get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    >>> CRPS()(dist, torch.zeros(3))
    tensor(0.2337)
    """

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        return marginals_of(dist).crps(y)


class EnergyScore(Score):
    """The mean energy score E|Y - y| - E|Y - Y'| / 2 of whole vectors, in the units of y.

    Of single numbers it is the CRPS.

    Args:
        samples: the number of samples by which it is estimated; see
            `disthead.distributions.vector.energy_score`.
        seed: of the samples. Equal targets have equal samples, so that the difference of two
            forecasts is less random.

    Source: Gneiting and Raftery 2007.
    """

    def __init__(self, samples: int = 512, seed: int = 0, **options: Any):
        super().__init__(None, **options)
        self.samples, self.seed = samples, seed

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        scores = [
            energy_score(part, target, self.samples, self.seed)
            for part, target in chunks(dist, y, self.samples)
        ]
        return torch.cat(scores) if len(scores) > 1 else scores[0]


class BrierScore(Score):
    """The mean squared error of probabilities.

    It is (y - p)^2 for binary targets, and sum_k (p_k - 1{y = k})^2 for classes. Source: Brier
    1950.
    """

    takes_soft_labels = True

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        return dist.brier(y)


class RankedProbabilityScore(Score):
    """The mean of sum_k (P(Y <= k) - 1{y <= k})^2 over ordered classes, or over counts.

    Of counts it is the CRPS. Source: Epstein 1969, in the form without a division by the number of
    classes.

    >>> from disthead import get_family
    >>> family = get_family("categorical", num_classes=3)
    >>> dist = family.distribution(probs=torch.tensor([[0.2, 0.5, 0.3]]))
    >>> RankedProbabilityScore()(dist, torch.tensor([0]))
    tensor(0.7300)
    """

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        if each_output(dist).kind != "classes":
            return marginals_of(dist).crps(y)
        reached = dist.probs.cumsum(-1)[..., :-1]
        happened = y.unsqueeze(-1) <= torch.arange(reached.shape[-1], device=y.device)
        return (reached - happened.to(reached.dtype)).square().sum(-1)


class PinballLoss(Score):
    """The mean pinball loss of quantiles, in the units of y.

    It is max(q (y - x), (q - 1) (y - x)) for the quantile x of level q. Of directions, y and x are
    angles from the median, in (-pi, pi].

    Args:
        levels: one level gives a number, several give one number each.

    Source: Koenker and Bassett 1978.
    """

    def __init__(
        self,
        levels: "float | Sequence[float]" = 0.5,
        num_outputs: int | None = None,
        **options: Any,
    ):
        several = (levels,) if isinstance(levels, (int, float)) else tuple(levels)
        super().__init__(
            num_outputs, each=() if isinstance(levels, (int, float)) else (len(several),), **options
        )
        for level in several:
            check_level(level)
        self.levels = several

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        losses = pinball_losses(dist, y, self.levels)
        return losses if self.each else losses[..., 0]


class IntervalScore(Score):
    """The mean interval (Winkler) score of the central interval, in the units of y.

    It is the width of the interval plus 2 / (1 - level) times the distance of y from it. Of
    directions, the width is the length of the arc. Source: Winkler 1972.

    Args:
        level: probability of the interval.
    """

    def __init__(self, level: float = 0.9, num_outputs: int | None = None, **options: Any):
        super().__init__(num_outputs, **options)
        check_level(level)
        self.level = level

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        return interval_scores(dist, y, self.level)


class Sharpness(Score):
    """The mean width of the central interval, in the units of y.

    A small width is good if the coverage is right. Of directions it is the length of the arc. The
    value does not depend on targets, which are checked only.

    Args:
        level: probability of the interval.
        relative_to: a distribution for all rows, with batch_shape (), such as the unconditional
            model (no features); widths are then divided by the width of its interval.

    Source: Gneiting, Balabdaoui and Raftery 2007.
    """

    takes_censored = True

    def __init__(
        self,
        level: float = 0.9,
        relative_to: Distribution | None = None,
        num_outputs: int | None = None,
        **options: Any,
    ):
        super().__init__(num_outputs, **options)
        check_level(level)
        if relative_to is not None and relative_to.batch_shape.numel() != 1:
            raise ValueError(
                f"relative_to must be one distribution for all rows, got {relative_to!r}."
            )
        self.level, self.relative_to = level, relative_to

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        width = interval_width(marginals_of(dist), self.level)
        if self.relative_to is None:
            return width
        return width / interval_width(marginals_of(self.relative_to), self.level).to(width.device)


class MeanAbsoluteError(Score):
    """The mean of |y - point|, in the units of y; of directions, the angle between them.

    Of ordered classes it is the number of classes that the point is away.

    Args:
        point: "median", for which the error is proper, "mean" or "mode".
    """

    def __init__(self, point: Point = "median", num_outputs: int | None = None, **options: Any):
        super().__init__(num_outputs, **options)
        self.point = _checked(point)

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        return error_of(dist, y, self.point).abs()


class RootMeanSquaredError(Score):
    """The root of the mean of (y - point)^2, in the units of y; of directions, of squared angles.

    Its standard error is that of the mean square divided by twice the root.

    Args:
        point: "mean", for which the error is proper, "median" or "mode".
    """

    def __init__(self, point: Point = "mean", num_outputs: int | None = None, **options: Any):
        super().__init__(num_outputs, **options)
        self.point = _checked(point)

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        return error_of(dist, y, self.point).square()

    def compute(self) -> Tensor:
        """The root of the mean square, of the metric's shape."""
        return self._mean().sqrt().float()

    @over_processes
    def standard_error(self) -> Tensor:
        """The standard error of the root, by the delta method; NaN for fewer than two rows."""
        return (self._standard_error() / (2 * self._mean().sqrt())).float()


class Accuracy(Score):
    """The share of rows whose most probable value is the target, for classes and counts.

    Of rankings, it is the share of rows whose most probable ranking agrees with the target in all
    ranks of the target.

    Raises:
        NotImplementedError: by `update`, for continuous distributions.
    """

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        kind = each_output(dist).kind
        if kind == "ranking":
            return ((dist.mode[..., : y.shape[-1]] == y) | (y < 0)).all(-1).float()
        if kind not in ("count", *CLASSES):
            raise NotImplementedError(
                f"{type(dist).__name__} is continuous: no single value has a probability. Coverage "
                "counts targets inside intervals, MeanAbsoluteError measures how far off a point "
                "is."
            )
        return (dist.mode == y).float()


class TopKHitRate(Score):
    """The share of rows whose class, or best item of a ranking, is among the k most probable.

    Args:
        k: the number of classes or items.

    Raises:
        ValueError: for k below 1.
        NotImplementedError: by `update`, for distributions other than of classes and rankings.
    """

    def __init__(self, k: int = 5, **options: Any):
        super().__init__(None, **options)
        if k < 1:
            raise ValueError(f"k must be 1 or more, got {k}.")
        self.k = k

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        kind = each_output(dist).kind
        if kind not in ("classes", "ordinal", "ranking"):
            raise NotImplementedError(f"{type(dist).__name__} has no items or classes to rank.")
        likely, target = (_first_places(dist), y[..., 0]) if kind == "ranking" else (dist.logits, y)
        predicted = likely.topk(min(self.k, likely.shape[-1]), -1).indices
        return (predicted == target.long().unsqueeze(-1)).any(-1).float()


class KendallTau(Score):
    """The mean of Kendall's tau between the predicted and the true ranking, from -1 to 1.

    It is over the pairs of items that the true ranking decides. Of two items, the one that is more
    probably better is predicted first. Items after the end (-1) of a partial ranking are below the
    others and tied with each other. Source: Kendall 1938.

    Raises:
        NotImplementedError: by `update`, for distributions other than of rankings.
    """

    def __init__(self, **options: Any):
        super().__init__(None, **options)

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row; see `Score.score`."""
        if each_output(dist).kind != "ranking":
            raise NotImplementedError(
                f"{type(dist).__name__} is no distribution of rankings, which Kendall's tau "
                "compares."
            )
        size = dist.num_items
        places = torch.arange(y.shape[-1], device=y.device).expand(y.shape)
        # one more column, for the padding
        rank = torch.full((*y.shape[:-1], size + 1), size, device=y.device)
        rank = rank.scatter(-1, torch.where(y < 0, size, y).long(), places)[..., :size]
        before = torch.sign(rank.unsqueeze(-1) - rank.unsqueeze(-2))
        guess = -torch.sign(dist.pairwise - 0.5)
        return (before * guess).sum((-2, -1)).float() / before.abs().sum((-2, -1))


def _first_places(dist: Distribution) -> Tensor:
    """The probability of each item to be the best, on some increasing scale."""
    try:
        return dist.logits
    except NotImplementedError:  # several models, whose scores cannot be averaged
        return dist.top1


def _checked(point: Point) -> Point:
    if point not in get_args(Point):
        raise ValueError(f"point must be 'mean', 'median' or 'mode', got {point!r}.")
    return point
