"""`plan`: how long and how fast the default recipe trains; `WarmupConstantDecay`: a learning rate that rises, stays, and falls to zero."""

import math
from typing import Any, NamedTuple

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["PATIENCE", "Plan", "WarmupConstantDecay", "plan", "steps_of", "steps_per_epoch"]

PATIENCE = 800  # steps, at least, that may bring nothing better


class Plan(NamedTuple):
    """Numbers of the default recipe for a table: rows of a batch, steps of the training, learning rate."""

    batch_size: int
    steps: int
    learning_rate: float


def plan(
    rows: int,
    batch_size: int | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
) -> Plan:
    """What the default recipe does with so many training rows; what is given stays.

    Args:
        rows: of training.
        batch_size: a 64th of the rows, but at least 32 and at most 256, unless given; never more
            than there are.
        steps: 2,400, or 60 epochs where those are more, unless given.
        learning_rate: 0.005 for batches of 32 rows, and in proportion to the square root of their
            size (Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient
            Algorithms") up to 256, unless given.

    >>> plan(8192)
    Plan(batch_size=128, steps=3840, learning_rate=0.01)
    """
    batch_size = min(batch_size or min(max(rows // 64, 32), 256), rows)
    steps = steps or max(2400, 60 * rows // batch_size)
    return Plan(batch_size, steps, learning_rate or 5e-3 * math.sqrt(min(batch_size, 256) / 32))


def steps_of(trainer: Any, rows: int, batch_size: int) -> int:
    """How many steps a trainer will make at most: the default recipe's where it has no end of its own.

    Args:
        trainer: Lightning's, or what has its `max_epochs`, `max_steps`, `limit_train_batches` and
            `accumulate_grad_batches`.
        rows: of training.
        batch_size: rows for one step.
    """
    steps = plan(rows, batch_size).steps if trainer.max_steps == -1 else trainer.max_steps
    if trainer.max_epochs in (None, -1):
        return steps
    epochs = trainer.max_epochs * steps_per_epoch(trainer, rows, batch_size)
    return max(1, epochs if trainer.max_steps == -1 else min(steps, epochs))


def steps_per_epoch(trainer: Any, rows: int, batch_size: int) -> int:
    batches, limit = math.ceil(rows / batch_size), trainer.limit_train_batches
    if limit is not None:  # a number, or a share
        is_number = limit > 1 or isinstance(limit, int)
        batches = max(1, min(batches, int(limit)) if is_number else int(batches * limit))
    return math.ceil(batches / trainer.accumulate_grad_batches)


class WarmupConstantDecay(LambdaLR):
    """The learning rate rises over the first steps, is constant, and falls in a straight line to zero over the last ones.

    It is stepped after each step of the optimizer (in Lightning `interval="step"`), and stays at
    zero beyond `steps`.

    Args:
        optimizer: whose learning rates are the constant ones.
        steps: of the whole training.
        warmup: steps until the constant rate is reached; None is a fifth of them all.
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

    def __init__(
        self, optimizer: Optimizer, steps: int, warmup: int | None = 50, decay: float = 0.4
    ):
        warmup = steps // 5 if warmup is None else warmup
        if steps < 1 or warmup < 0 or not 0 <= decay <= 1:
            raise ValueError(
                "steps must be at least 1, warmup zero or more and decay a share between 0 and "
                f"1, got steps={steps}, "
                f"warmup={warmup}, decay={decay}."
            )
        self.steps, self.warmup, self.decay = steps, warmup, decay
        super().__init__(optimizer, self._factor)

    def _factor(self, step: int) -> float:
        rise = (step + 1) / self.warmup if self.warmup else 1.0
        fall = (
            (self.steps - step) / (self.decay * self.steps)
            if self.decay
            else float(step < self.steps)
        )
        return max(min(1.0, rise, fall), 0.0)
