"""The schedule of the default recipe: `plan` for batches and steps, and `WarmupConstantDecay`."""

import math
import sys
from typing import Any, NamedTuple

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from disthead.errors import warn

__all__ = [
    "PATIENCE",
    "Plan",
    "WarmupConstantDecay",
    "plan",
    "steps_of",
    "steps_per_epoch",
    "warn_of_unfinished",
]

PATIENCE = 800  # the smallest number of steps without improvement after which training ends


class Plan(NamedTuple):
    """The schedule of the default recipe for a table.

    Attributes:
        batch_size: rows in a step.
        steps: the largest number of steps of the training.
        learning_rate: the peak of the learning rate.
    """

    batch_size: int
    steps: int
    learning_rate: float


def plan(
    rows: int,
    batch_size: int | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
) -> Plan:
    """The schedule of the default recipe for a number of training rows.

    Args:
        rows: the number of training rows.
        batch_size: a 64th of the rows, but at least 32 and at most 256, unless given; never more
            than there are rows.
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
    """The largest number of steps of a trainer.

    It is that of the default recipe where neither `max_epochs` nor `max_steps` limits it.

    Args:
        trainer: Lightning's, or an object with its `max_epochs`, `max_steps`,
            `limit_train_batches` and `accumulate_grad_batches`.
        rows: the number of training rows.
        batch_size: rows in a batch.
    """
    steps = plan(rows, batch_size).steps if trainer.max_steps == -1 else trainer.max_steps
    if trainer.max_epochs in (None, -1):
        return steps
    epochs = trainer.max_epochs * steps_per_epoch(trainer, rows, batch_size)
    return max(1, epochs if trainer.max_steps == -1 else min(steps, epochs))


def steps_per_epoch(trainer: Any, rows: int, batch_size: int) -> int:
    """The number of steps in an epoch; arguments are those of `steps_of`."""
    batches, limit = math.ceil(rows / batch_size), trainer.limit_train_batches
    if limit is not None:  # a number, or a share
        is_number = limit > 1 or isinstance(limit, int)
        batches = max(1, min(batches, int(limit)) if is_number else int(batches * limit))
    return math.ceil(batches / trainer.accumulate_grad_batches)


class WarmupConstantDecay(LambdaLR):
    """A learning rate that rises linearly, is constant, and falls linearly to zero.

    At step t, counted from 0, the rates of the optimizer are multiplied by
    min(1, (t + 1) / warmup, (steps - t) / (decay steps)), and by 0 beyond `steps`. The schedule is
    stepped after each step of the optimizer (in Lightning `interval="step"`).

    Args:
        optimizer: its learning rates are the constant ones.
        steps: of the whole training.
        warmup: steps until the constant rate is reached; None for a fifth of all steps.
        decay: the share of the steps, at the end, over which the rate falls.

    Raises:
        ValueError: for less than one step, a negative warmup, and a decay outside of [0, 1].

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
                f"1, got steps={steps}, warmup={warmup}, decay={decay}."
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


def warn_of_unfinished(objective: Any, name: str, steps: int) -> None:
    """Warn of a training that ended before an objective that changes with the steps was the last.

    Args:
        objective: of the training; where it has no method `at_step`, it is the same in all steps.
        name: of the objective.
        steps: the number of steps that were made.
    """
    at_step = getattr(objective, "at_step", None)
    if at_step is not None and steps and at_step(steps - 1) is not at_step(sys.maxsize):
        warn(
            f"training ended after {steps} steps, before the objective {name} came to its last "
            "part, so that what this would have taught was not learned. Give it fewer steps, or "
            "train longer."
        )
