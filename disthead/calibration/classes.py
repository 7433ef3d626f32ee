"""`TemperatureScaling` and `VectorScaling`: how sure a classifier is, by maximum likelihood."""

from typing import Any, Self

import torch
from torch import Tensor

from disthead.calibration.recalibration import Recalibration, mean_over_rows, minimise
from disthead.families.bernoulli import Bernoulli
from disthead.families.categorical import Categorical
from disthead.families.distribution import Distribution
from disthead.families.plackett_luce import PlackettLuce

__all__ = ["ClassRecalibration", "TemperatureScaling", "VectorScaling"]


class ClassRecalibration(Recalibration):
    """A recalibration of logits. Targets may be soft labels, class probabilities in place of a class."""

    _takes_soft_labels = True

    def fit(self, dist: Distribution, y: Any, weight: Any = None, ignore_index: int | None = None) -> Self:
        """As `Recalibration.fit`, for class indices, soft labels or rankings.

        Args:
            dist, y, weight: as there.
            ignore_index: a class index that stands for no class, such as -100; such targets are not there.
        """
        return self._fit(dist, y, weight, ignore_index=ignore_index)


class TemperatureScaling(ClassRecalibration):
    """Logits divided by one number, the temperature, by maximum likelihood: for classes, two outcomes and rankings.

    The most probable class stays. `temperature` has shape (), or event_shape for several outputs; above 1 the model was
    too sure. Source: Guo, Pleiss, Sun and Weinberger 2017.

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
        _check_kind(self, dist, Bernoulli, Categorical, PlackettLuce)

    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        logits = _finite_logits(self, dist)
        outputs = dist.batch_shape[1:]

        def loss(log_temperature: Tensor) -> Tensor:
            return -mean_over_rows(_divided(dist, logits, log_temperature.exp()).log_prob(y), weight).sum()

        (found,) = minimise(loss, torch.zeros(outputs, dtype=torch.float64, device=logits.device))
        self.temperature = found.exp()

    def _recalibrate(self, dist: Distribution) -> Distribution:
        return _divided(dist, dist.logits, self.temperature.to(dist.logits.dtype))


def _divided(dist: Distribution, logits: Tensor, temperature: Tensor) -> Distribution:
    own = logits.ndim - len(dist.batch_shape)
    return _with_logits(dist, logits / temperature.reshape(temperature.shape + (1,) * own))


def _with_logits(dist: Distribution, logits: Tensor) -> Distribution:
    return type(dist)(logits=logits)  # type: ignore[call-arg]


class VectorScaling(ClassRecalibration):
    """A factor and a shift for the logit of each class, by maximum likelihood: 2 K numbers, for many held-out rows.

    Source: Guo, Pleiss, Sun and Weinberger 2017.

    Raises:
        ValueError: by `fit`, for a class without rows, whose shift would run away.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self):
        super().__init__()
        self._learned("factor", "shift")

    def _check_kind(self, dist: Distribution) -> None:
        _check_kind(self, dist, Bernoulli, Categorical)

    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        logits = _finite_logits(self, dist)
        if isinstance(dist, Bernoulli):
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
                f"VectorScaling needs rows of every class, none has class {', '.join(map(str, empty))}. "
                "Try TemperatureScaling."
            )

        def loss(factor: Tensor, shift: Tensor) -> Tensor:
            return -mean_over_rows(_with_logits(dist, logits * factor + shift).log_prob(y), weight).sum()

        one = torch.ones(logits.shape[1:], dtype=torch.float64, device=logits.device)
        factor, shift = minimise(loss, one, torch.zeros_like(one))
        # Only differences of logits matter.
        self.factor, self.shift = (
            factor,
            shift - shift.mean(-1, keepdim=True) if hasattr(dist, "num_classes") else shift,
        )

    def _recalibrate(self, dist: Distribution) -> Distribution:
        dtype = dist.logits.dtype
        return _with_logits(dist, dist.logits * self.factor.to(dtype) + self.shift.to(dtype))


def _check_kind(recalibration: Recalibration, dist: Distribution, *kinds: type[Distribution]) -> None:
    if not isinstance(dist, kinds):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"{type(recalibration).__name__} is for {names}, got {dist!r}. Try ScaleCalibration for numbers."
        )


def _finite_logits(recalibration: Recalibration, dist: Distribution) -> Tensor:
    """The logits in double precision."""
    if not dist.logits.isfinite().all():
        raise ValueError(
            f"{type(recalibration).__name__} needs finite logits: a certain class cannot be made less sure."
        )
    return dist.logits.double()
