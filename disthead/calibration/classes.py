"""`TemperatureScaling` and `VectorScaling`, recalibrations of the logits of a classifier."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import softplus

from disthead.calibration.recalibration import (
    NothingLearned,
    Recalibration,
    effective_rows,
    mean_over_rows,
)
from disthead.distributions.base import Distribution, Kind
from disthead.families.bernoulli import Bernoulli
from disthead.families.categorical import Categorical
from disthead.families.ordered_categorical import OrderedCategorical
from disthead.families.plackett_luce import PlackettLuce
from disthead.families.plackett_luce_ties import PlackettLuceTies
from disthead.optimise import minimise

__all__ = ["ClassRecalibration", "TemperatureScaling", "VectorScaling"]


class ClassRecalibration(Recalibration):
    """A recalibration of logits, the base class of those for classes and rankings.

    Targets may be soft labels, which are class probabilities in place of a class.
    """

    _takes_soft_labels = True

    def fit(
        self, dist: Distribution, y: Any, weight: Any = None, ignore_index: int | None = None
    ) -> Self:
        """Learns from class indices, soft labels or rankings, as `Recalibration.fit` does.

        Args:
            dist: predicted distributions of the rows, of any batch_shape.
            y: observed class indices of shape batch_shape + event_shape, soft labels of shape
                batch_shape + (K,), or rankings.
            weight: as for `Recalibration.fit`.
            ignore_index: a class index that stands for no class, such as -100. Such targets are
                left out.

        Raises:
            TargetError: as `Recalibration.fit`, and where a logit is infinite.
            ValueError: as `Recalibration.fit`.
        """
        return self._fit(dist, y, weight, ignore_index=ignore_index)

    def _most_probable(
        self,
        dist: Distribution,
        y: Tensor,
        weight: Tensor | None,
        logits: Callable[..., Tensor],
        *starts: Tensor,
    ) -> list[Tensor]:
        """The arguments of `logits` with the highest likelihood, near `starts`.

        Where every row is predicted right, the likelihood has no maximum: it rises as the logits
        grow. There one more row counts, in which all classes have equal probabilities (in a
        ranking, all items are equally probable as the first).
        """

        def losses(of_logits: Tensor) -> Tensor:
            return -mean_over_rows(_with_logits(dist, of_logits).log_prob(y), weight)

        result = minimise(lambda *arguments: losses(logits(*arguments)).sum(), *starts)
        with torch.no_grad():
            runs_away = losses(10 * logits(*result)) <= losses(logits(*result))
        if not runs_away.any():
            return result
        share = torch.where(runs_away, 1 / effective_rows(weight, len(y)), 0.0)

        def loss(*arguments: Tensor) -> Tensor:
            candidate = logits(*arguments)
            return (
                losses(candidate)
                + share * mean_over_rows(_loss_of_uniform_labels(dist, candidate), weight)
            ).sum()

        return minimise(loss, *starts)


# The recalibrated distribution of each kind of target that has logits.
_RECALIBRATED: dict[Kind, Any] = {
    "binary": Bernoulli,
    "classes": Categorical,
    "ordinal": OrderedCategorical,
    "ranking": PlackettLuce,
}


def _loss_of_uniform_labels(dist: Distribution, logits: Tensor) -> Tensor:
    """The cross-entropy of targets with equal probabilities."""
    if dist.kind == "binary":
        return softplus(logits) - 0.5 * logits
    return logits.logsumexp(-1) - logits.mean(-1)


class TemperatureScaling(ClassRecalibration):
    """Logits divided by one number, the temperature, which is learned by maximum likelihood.

    For classes, binary targets and rankings. The most probable class stays. A temperature above 1
    says that the model was overconfident. The logits of ordered classes are their
    log-probabilities; the result has any probabilities of ordered classes, `OrderedCategorical`.

    After `fit`, `temperature` has shape (), or event_shape for several outputs.

    Source: Guo, Pleiss, Sun and Weinberger 2017.

    Raises:
        ValueError: by `fit`, for a distribution without logits; see also `Recalibration.fit`.

    >>> import torch
    >>> y = (torch.arange(100) % 5 > 0).float()  # four of five
    >>> too_sure = Bernoulli(logits=torch.full((100,), 4.0))
    >>> TemperatureScaling().fit(too_sure, y)(too_sure).probs[0]
    tensor(0.8000)
    """

    temperature: Tensor

    def __init__(self):
        super().__init__()
        self._learned("temperature")

    def _check_kind(self, dist: Distribution) -> None:
        _check_kind(self, dist, *_RECALIBRATED)

    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        logits = _finite_logits(dist)
        outputs = dist.batch_shape[1:]

        def divided(log_temperature: Tensor) -> Tensor:
            return _divided(dist, logits, log_temperature.exp())

        start = torch.zeros(outputs, dtype=torch.float64, device=logits.device)
        (log_temperature,) = self._most_probable(dist, y, weight, divided, start)
        self.temperature = log_temperature.exp()

    def _recalibrate(self, dist: Distribution) -> Distribution:
        return _with_logits(
            dist, _divided(dist, dist.logits, self.temperature.to(dist.logits.dtype))
        )


def _divided(dist: Distribution, logits: Tensor, temperature: Tensor) -> Tensor:
    own = logits.ndim - len(dist.batch_shape)
    return logits / temperature.reshape(temperature.shape + (1,) * own)


def _with_logits(dist: Distribution, logits: Tensor) -> Distribution:
    if isinstance(dist, PlackettLuceTies):
        return PlackettLuceTies(logits, log_ties=dist.log_ties.to(logits.dtype))
    return _RECALIBRATED[dist.kind](logits=logits)


class VectorScaling(ClassRecalibration):
    """A factor and a shift for the logit of each class, learned by maximum likelihood.

    The K classes have 2 K numbers, which need many held-out rows. After `fit`, `factor` and `shift`
    have shape event_shape + (K,), or event_shape for binary targets.

    Source: Guo, Pleiss, Sun and Weinberger 2017.

    Raises:
        ValueError: by `fit`, for a class without rows, whose shift has no finite maximum; see also
            `Recalibration.fit`.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self):
        super().__init__()
        self._learned("factor", "shift")

    def _check_kind(self, dist: Distribution) -> None:
        _check_kind(self, dist, "binary", "classes", "ordinal")

    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        logits = _finite_logits(dist)
        if dist.kind == "binary":
            shares = [y < 1, y > 0]
        elif y.shape == dist.batch_shape:
            shares = [y == k for k in range(dist.num_classes)]
        else:
            shares = list((y > 0).unbind(-1))
        counted = torch.ones_like(shares[0]) if weight is None else weight > 0
        seen = torch.stack([(share & counted).any(0) for share in shares], -1)
        if not seen.all():
            empty = sorted({int(index[-1]) for index in (~seen).nonzero()})
            raise ValueError(
                "VectorScaling needs rows of every class, none has class "
                f"{', '.join(map(str, empty))}. Try TemperatureScaling."
            )

        def mapped(factor: Tensor, shift: Tensor) -> Tensor:
            return logits * factor + shift

        one = torch.ones(logits.shape[1:], dtype=torch.float64, device=logits.device)
        factor, shift = self._most_probable(dist, y, weight, mapped, one, torch.zeros_like(one))
        # Only differences of logits matter.
        self.factor, self.shift = (
            factor,
            shift if dist.kind == "binary" else shift - shift.mean(-1, keepdim=True),
        )

    def _recalibrate(self, dist: Distribution) -> Distribution:
        dtype = dist.logits.dtype
        return _with_logits(dist, dist.logits * self.factor.to(dtype) + self.shift.to(dtype))


def _check_kind(recalibration: Recalibration, dist: Distribution, *kinds: Kind) -> None:
    if dist.kind not in kinds:
        names = ", ".join(_RECALIBRATED[kind].__name__ for kind in kinds)
        raise ValueError(
            f"{type(recalibration).__name__} is for {names}, got {dist!r}. Try ScaleCalibration "
            "for numbers."
        )


def _finite_logits(dist: Distribution) -> Tensor:
    """The logits in double precision."""
    bad = ~dist.logits.isfinite()
    if bad.any():
        bad = bad.any(-1) if bad.ndim > len(dist.batch_shape) else bad
        reason = (
            "needs finite logits, since a certain class cannot be made less sure; got "
            "infinite ones for y in"
        )
        raise NothingLearned(reason, bad, "Give such rows the weight 0.")
    return dist.logits.double()
