"""The reliability of each class's probability, and a test of all of them."""

import torch
from torch import Tensor

from disthead.diagnostics.reliability import Reliability, isotonic_fit, mean_score, reliability

__all__ = ["class_reliability"]


@torch.no_grad()
def class_reliability(
    probs: Tensor,
    y: Tensor,
    *,
    resamples: int = 199,
    generator: torch.Generator | None = None,
    weight: Tensor | None = None,
    design_effect: float = 1.0,
    confidence: float = 0.9,
) -> tuple[list[Reliability], float]:
    """The reliability of each class's probability, and a p-value for all classes together.

    Outcomes of all classes are simulated. Each class's miscalibration is standardised by mean and
    standard deviation of its simulations, and the largest of these numbers is compared with the
    largest one of each simulation, so that the p-value allows for several classes.

    Args:
        probs: class probabilities, shape (N, K).
        y: class indices, shape (N,).
        resamples: the number of simulations.
        generator: for the simulations, by default one with seed 0.
        weight: of each row, positive, shape (N,), by default 1.
        design_effect: as for `reliability`.
        confidence: the probability of the bands, at each forecast by itself.

    Returns:
        The K reliabilities and the p-value.

    Raises:
        ValueError: for shapes that do not fit, or without rows.

    >>> probs = torch.tensor([[0.7, 0.2, 0.1]]).repeat(200, 1)
    >>> parts, p_value = class_reliability(probs, torch.arange(200) % 3)  # all equally often
    >>> round(float(parts[0].recalibrated), 2), p_value
    (0.34, 0.005)
    """
    generator = torch.Generator(probs.device).manual_seed(0) if generator is None else generator
    drawn = torch.multinomial(probs.double(), resamples, replacement=True, generator=generator).T
    parts, own, chance = [], [], []
    for k in range(probs.shape[-1]):
        outcome, forecast, simulated = (
            (y == k).double(),
            probs[:, k].double(),
            (drawn == k).double(),
        )
        parts.append(
            reliability(
                forecast.clamp(0, 1),
                outcome,
                simulated=simulated,
                weight=weight,
                design_effect=design_effect,
                confidence=confidence,
            )
        )
        miscalibration = design_effect * _miscalibration(forecast, simulated, weight)
        std = miscalibration.std().clamp(min=1e-300)
        own.append((parts[-1].miscalibration - miscalibration.mean()) / std)
        chance.append((miscalibration - miscalibration.mean()) / std)
    largest, of_chance = torch.stack(own).max(), torch.stack(chance).amax(0)
    return parts, (int((of_chance >= largest).sum()) + 1) / (resamples + 1)


def _miscalibration(forecast: Tensor, outcome: Tensor, weight: Tensor | None) -> Tensor:
    """The Brier score minus that of the isotonic fit, for each of several outcomes (S, N)."""
    order = forecast.argsort(stable=True)
    forecast, outcome = forecast[order], outcome[:, order]
    w = torch.ones_like(forecast) if weight is None else weight.to(forecast)[order]
    _, place, count = forecast.unique_consecutive(return_inverse=True, return_counts=True)
    fits = isotonic_fit(outcome, place, count, w, None)
    return mean_score(forecast, outcome, w, None) - mean_score(fits[:, place], outcome, w, None)
