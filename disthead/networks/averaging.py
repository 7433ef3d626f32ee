"""`WeightAverage`: the exponential moving average of a model's weights, which predicts better than where training stands."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Exponential moving average of weights: average <- d average + (1 - d) weights after each step (Polyak and Juditsky 1992).

    d grows to `decay` as (1 + t) / (10 + t) with the step t, so that the first steps, far from any
    good weights, are soon forgotten (a warm start). The average is of the trained parameters;
    buffers stay those of the model.

    Args:
        parameters: what is trained.
        decay: d after many steps; 0.99 averages about the last hundred.

    >>> weight = nn.Parameter(torch.zeros(1))
    >>> average = WeightAverage([weight])
    >>> with torch.no_grad():
    ...     _ = weight.fill_(1.0)
    >>> average.update()
    >>> with average.applied():
    ...     print(round(weight.item(), 2))  # 1 - 2 / 11
    0.82
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float = 0.99):
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}.")
        self.parameters, self.decay, self.steps = list(parameters), decay, 0
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        get_ema_multi_avg_fn(decay)(self.values, self.parameters, self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The average in the place of the weights, for as long as the block lasts."""
        weights = [parameter.detach().clone() for parameter in self.parameters]
        self._put(self.values)
        try:
            yield
        finally:
            self._put(weights)

    @torch.no_grad()
    def _put(self, values: list[torch.Tensor]) -> None:
        torch._foreach_copy_(self.parameters, values)
