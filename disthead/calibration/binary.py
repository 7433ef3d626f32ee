"""`IsotonicCalibration` and `BetaCalibration`: the probability of one of two outcomes."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from disthead.calibration.classes import ClassRecalibration, _check_kind, _finite_logits
from disthead.calibration.recalibration import Recalibration
from disthead.diagnostics.isotonic import isotonic_mean
from disthead.distributions.base import Distribution
from disthead.families.bernoulli import Bernoulli

__all__ = ["BetaCalibration", "IsotonicCalibration"]


class BetaCalibration(ClassRecalibration):
    """Log odds a log(p) - b log(1 - p) + c with a, b >= 0, by maximum likelihood: three numbers, for two outcomes.

    It mends probabilities that are too sure or too unsure, also on one side alone, and leaves right
    ones alone (a = b = 1, c = 0). `coefficients` has shape outputs + (3,). Source: Kull, Silva
    Filho and Flach 2017.

    >>> import torch
    >>> y = (torch.arange(100) % 5 > 0).float()
    >>> too_sure = Bernoulli(logits=torch.linspace(3, 5, 100))
    >>> round(BetaCalibration().fit(too_sure, y)(too_sure).probs.mean().item(), 2)
    0.8
    """

    coefficients: Tensor

    def __init__(self):
        super().__init__()
        self._learned("coefficients")

    def _check_kind(self, dist: Distribution) -> None:
        _check_kind(self, dist, "binary")

    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        logits = _finite_logits(dist)
        _check_both(self, y, weight)
        outputs = logits.shape[1:]
        start = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64, device=logits.device).expand(
            *outputs, 3
        )

        def fit(used: Tensor) -> Tensor:
            (coefficients,) = self._most_probable(
                dist, y, weight, lambda free: _beta_odds(logits, free * used), start
            )
            return coefficients * used

        # Where a slope wants to be negative it is zero, and the other is fitted again.
        used = torch.ones_like(start)
        found = fit(used)
        for _ in range(2):
            negative = found < 0
            negative[..., 2] = False
            if not negative.any():
                break
            worst = negative & (found == found[..., :2].amin(-1, keepdim=True))
            used = torch.where(worst, 0.0, used)
            found = fit(used)
        self.coefficients = found

    def _recalibrate(self, dist: Distribution) -> Distribution:
        return Bernoulli(logits=_beta_odds(dist.logits, self.coefficients.to(dist.logits.dtype)))


def _beta_odds(logits: Tensor, coefficients: Tensor) -> Tensor:
    a, b, c = coefficients.unbind(-1)
    return a * logsigmoid(logits) - b * logsigmoid(-logits) + c


class IsotonicCalibration(ClassRecalibration):
    """The frequency of 1 as a function of the predicted probability that never falls, by pooling adjacent violators.

    Straight between the rows that it was fitted to, constant beyond. It may answer exactly 0 or 1,
    where a surprise has infinite loss; `BetaCalibration` never does. Source: Zadrozny and Elkan
    2002.

    After `fit`, `predicted` and `observed` hold the corners of the function, shape outputs + (N,).
    """

    predicted: Tensor
    observed: Tensor

    def __init__(self):
        super().__init__()
        self._learned("predicted", "observed")

    def _check_kind(self, dist: Distribution) -> None:
        _check_kind(self, dist, "binary")

    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        p = _finite_logits(dist).sigmoid()
        weight = torch.ones_like(p) if weight is None else weight
        # An output that does not count in its row takes the place of one that does, whatever that
        # is.
        some = p.gather(0, weight.argmax(0, keepdim=True))
        predicted, order = torch.where(weight > 0, p, some).movedim(0, -1).sort(-1)
        hits, weight = (part.movedim(0, -1).gather(-1, order) for part in (y, weight))
        # Rows with one prediction are one row with their mean; its copies keep the shape
        # rectangular.
        group = (torch.diff(predicted, prepend=predicted[..., :1]) > 0).cumsum(-1)

        def of_group(values: Tensor) -> Tensor:
            return torch.zeros_like(hits).scatter_add(-1, group, values).gather(-1, group)

        total = of_group(weight)
        share = total / of_group(torch.ones_like(hits))
        self.predicted, self.observed = (
            predicted,
            isotonic_mean(of_group(weight * hits) / total, share),
        )

    def _recalibrate(self, dist: Distribution) -> Distribution:
        p = dist.logits.double().sigmoid()
        count = self.predicted.shape[-1]
        knots = (
            self.predicted.double().expand(*p.shape, count)
            if self.predicted.ndim > 1
            else self.predicted.double()
        )
        values = self.observed.double().expand(*p.shape, count)
        right = torch.searchsorted(
            knots.contiguous(), p.unsqueeze(-1).contiguous() if knots.ndim > 1 else p.contiguous()
        )
        right = right.squeeze(-1) if knots.ndim > 1 else right
        knots = knots.expand(*p.shape, count)

        def at(table: Tensor, index: Tensor) -> Tensor:
            return table.gather(-1, index.clamp(0, count - 1).unsqueeze(-1)).squeeze(-1)

        low, high = at(knots, right - 1), at(knots, right)
        share = torch.where(
            high > low, (p - low) / torch.where(high > low, high - low, 1.0), 1.0
        ).clamp(0, 1)
        probs = at(values, right - 1) + share * (at(values, right) - at(values, right - 1))
        return Bernoulli(probs=probs.to(dist.dtype))


def _check_both(recalibration: Recalibration, y: Tensor, weight: Tensor | None) -> None:
    counted = torch.ones_like(y, dtype=torch.bool) if weight is None else weight > 0
    if not (((y > 0) & counted).any(0) & ((y < 1) & counted).any(0)).all():
        raise ValueError(
            f"{type(recalibration).__name__} needs rows of both outcomes, got one of them only."
        )
