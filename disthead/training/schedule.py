"""`WarmupConstantDecay`: a learning rate that rises, stays, and falls to zero."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["WarmupConstantDecay"]


class WarmupConstantDecay(LambdaLR):
    """The learning rate rises over the first steps, is constant, and falls in a straight line to zero over the last ones.

    It is stepped after each step of the optimizer (in Lightning `interval="step"`), and stays at zero beyond `steps`.

    Args:
        optimizer: whose learning rates are the constant ones.
        steps: of the whole training.
        warmup: steps until the constant rate is reached.
        decay: the share of the steps, at the end, over which it falls.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> schedule = WarmupConstantDecay(optimizer, steps=10, warmup=2, decay=0.4)
    >>> rates = []
    >>> for _ in range(10):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, steps: int, warmup: int = 50, decay: float = 0.4):
        if steps < 1 or warmup < 0 or not 0 <= decay <= 1:
            raise ValueError(
                f"steps must be at least 1, warmup zero or more and decay a share between 0 and 1, got steps={steps}, "
                f"warmup={warmup}, decay={decay}."
            )
        self.steps, self.warmup, self.decay = steps, warmup, decay
        super().__init__(optimizer, self._factor)

    def _factor(self, step: int) -> float:
        rise = (step + 1) / self.warmup if self.warmup else 1.0
        fall = (self.steps - step) / (self.decay * self.steps) if self.decay else float(step < self.steps)
        return max(min(1.0, rise, fall), 0.0)
