"""`WeightAverage`: the exponential moving average of a model's weights over the training."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["WeightAverage"]


class WeightAverage:
    """The exponential moving average of weights, which usually predicts better than the weights.

    After each step average <- d average + (1 - d) weights, a form of the averaging of Polyak and
    Juditsky (1992). d is min(decay, (1 + t) / (10 + t)) at step t, so that the first steps, far
    from good weights, are soon forgotten. The average is of the trained parameters; buffers stay
    those of the model.

    Args:
        parameters: the trained parameters.
        decay: d after many steps, from 0 to below 1; 0.99 averages about the last hundred steps.

    Raises:
        ValueError: for a decay outside this range.

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
        """Update the average by the present weights; to be called after each step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        get_ema_multi_avg_fn(decay)(self.values, self.parameters, self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A context in which the weights are the average."""
        weights = [parameter.detach().clone() for parameter in self.parameters]
        self._copy(self.values)
        try:
            yield
        finally:
            self._copy(weights)

    @torch.no_grad()
    def _copy(self, values: list[torch.Tensor]) -> None:
        torch._foreach_copy_(self.parameters, values)
