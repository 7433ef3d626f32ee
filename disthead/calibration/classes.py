"""`TemperatureScaling` and `VectorScaling`: how sure a classifier is, by maximum likelihood."""

import torch
from torch import Tensor

from disthead.calibration.recalibration import Recalibration, minimise
from disthead.families.bernoulli import Bernoulli
from disthead.families.categorical import Categorical
from disthead.families.distribution import Distribution
from disthead.families.plackett_luce import PlackettLuce

__all__ = ["TemperatureScaling", "VectorScaling"]


class TemperatureScaling(Recalibration):
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
        _check_logits(self, dist, Bernoulli, Categorical, PlackettLuce)

    def _learn(self, dist: Distribution, y: Tensor) -> None:
        logits = dist.logits.double()
        outputs = dist.batch_shape[1:]

        def loss(log_temperature: Tensor) -> Tensor:
            return -_divided(dist, logits, log_temperature.exp()).log_prob(y).mean(0).sum()

        (found,) = minimise(loss, torch.zeros(outputs, dtype=torch.float64, device=logits.device))
        self.temperature = found.exp()

    def _recalibrate(self, dist: Distribution) -> Distribution:
        return _divided(dist, dist.logits, self.temperature.to(dist.logits.dtype))


def _divided(dist: Distribution, logits: Tensor, temperature: Tensor) -> Distribution:
    own = logits.ndim - len(dist.batch_shape)
    return _with_logits(dist, logits / temperature.reshape(temperature.shape + (1,) * own))


def _with_logits(dist: Distribution, logits: Tensor) -> Distribution:
    return type(dist)(logits=logits)  # type: ignore[call-arg]


class VectorScaling(Recalibration):
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
        _check_logits(self, dist, Bernoulli, Categorical)

    def _learn(self, dist: Distribution, y: Tensor) -> None:
        logits = dist.logits.double()
        hard = y.shape == dist.batch_shape
        count = getattr(dist, "num_classes", 2)
        seen = torch.stack([(y == k).sum(0) for k in range(count)], -1) if hard else (y > 0).sum(0)
        if (seen == 0).any():
            empty = sorted({int(index[-1]) for index in (seen == 0).nonzero()})
            raise ValueError(
                f"VectorScaling needs rows of every class, none has class {', '.join(map(str, empty))}. "
                "Try TemperatureScaling."
            )

        def loss(factor: Tensor, shift: Tensor) -> Tensor:
            return -_with_logits(dist, logits * factor + shift).log_prob(y).mean(0).sum()

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


def _check_logits(recalibration: Recalibration, dist: Distribution, *kinds: type[Distribution]) -> None:
    if not isinstance(dist, kinds):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"{type(recalibration).__name__} is for {names}, got {dist!r}. Try ScaleCalibration for numbers."
        )
    if not dist.logits.isfinite().all():
        raise ValueError(
            f"{type(recalibration).__name__} needs finite logits: a certain class cannot be made less sure."
        )
