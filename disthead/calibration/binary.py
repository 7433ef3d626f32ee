"""`IsotonicCalibration` and `BetaCalibration`, recalibrations of the probability of an event."""

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
    """Beta calibration of the probability p of an event, by maximum likelihood.

    The log odds become a log(p) - b log(1 - p) + c with a, b >= 0. The map corrects probabilities
    that are too close to 0 or 1 or too far from them, also on one side alone. It leaves calibrated
    ones alone (a = b = 1, c = 0).

    After `fit`, `coefficients` holds a, b and c, shape event_shape + (3,).

    Source: Kull, Silva Filho and Flach 2017.

    Raises:
        ValueError: by `fit`, where all targets are of one outcome, and for a distribution other
            than `Bernoulli`; see also `Recalibration.fit`.

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

        # A slope whose best value is negative is set to zero, and the other one is fitted again.
        used = torch.ones_like(start)
        coefficients = fit(used)
        for _ in range(2):
            negative = coefficients < 0
            negative[..., 2] = False
            if not negative.any():
                break
            worst = negative & (coefficients == coefficients[..., :2].amin(-1, keepdim=True))
            used = torch.where(worst, 0.0, used)
            coefficients = fit(used)
        self.coefficients = coefficients

    def _recalibrate(self, dist: Distribution) -> Distribution:
        return Bernoulli(logits=_beta_odds(dist.logits, self.coefficients.to(dist.logits.dtype)))


def _beta_odds(logits: Tensor, coefficients: Tensor) -> Tensor:
    a, b, c = coefficients.unbind(-1)
    return a * logsigmoid(logits) - b * logsigmoid(-logits) + c


class IsotonicCalibration(ClassRecalibration):
    """Isotonic regression of binary targets on the predicted probability.

    The frequency of 1 is a non-decreasing function of the predicted probability, found by pooling
    adjacent violators. It is linear between the rows that it was fitted to, and constant beyond
    them. It may give exactly 0 or 1, where the other outcome has infinite loss; `BetaCalibration`
    never does.

    After `fit`, `predicted` and `observed` hold the corners of the function, shape event_shape +
    (N,) for N rows.

    Source: Zadrozny and Elkan 2002.

    Raises:
        ValueError: by `fit`, for a distribution other than `Bernoulli`; see also
            `Recalibration.fit`.
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
        # An output of weight 0 takes the probability of any one that counts.
        some = p.gather(0, weight.argmax(0, keepdim=True))
        predicted, order = torch.where(weight > 0, p, some).movedim(0, -1).sort(-1)
        hits, weight = (part.movedim(0, -1).gather(-1, order) for part in (y, weight))
        # Rows with equal predictions become copies of their mean, which keep the shape.
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
