"""Fast steps of training: losses stay on the device, and Lightning is called once for several."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch.callbacks import (
    Callback,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    ProgressBar,
)  # fmt: skip
from lightning.pytorch.plugins import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy, Strategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from disthead.errors import NonFiniteLoss
from disthead.training.data import TabularDataModule
from disthead.training.saved import OBJECTIVE

__all__ = [
    "BareSteps",
    "RowMeans",
    "StepLosses",
    "count_rows",
    "count_steps",
    "model_weights",
    "takes_several_steps",
]

_HOOKS_OF_ALL = (_global_optimizer_pre_hooks, _global_optimizer_post_hooks)
# hooks that Lightning calls in every step
_STEP_HOOKS = (
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_train_batch_end",
)  # fmt: skip
_TRANSFER_HOOKS = (
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
_MODULE_STEP_HOOKS = (
    *_STEP_HOOKS, *_TRANSFER_HOOKS,
    "training_step", "backward", "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step",
)  # fmt: skip


class RowMeans:
    """Weighted means over the rows of all processes, by name; their sums stay on the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, name: str, values: Tensor, weight: Tensor | None = None) -> None:
        """Add rows.

        Args:
            name: of the mean.
            values: (N, ...).
            weight: (N,) or (N, ...), zero or more; values of weight 0 may be NaN or infinite.
        """
        values = (
            values.detach().double() if values.device.type != "mps" else values.detach().float()
        )
        if weight is None:
            sums = torch.stack([values.sum(), values.new_full((), values.numel())])
        else:
            weight = (
                weight.to(values)
                .reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
                .expand_as(values)
            )
            sums = torch.stack(
                [(torch.where(weight > 0, values, 0.0) * weight).sum(), weight.sum()]
            )
        self.sums[name] = sums + self.sums[name].to(sums) if name in self.sums else sums

    def take(self, trainer: lightning.Trainer) -> dict[str, Tensor]:
        """The means over all processes; the sums begin anew.

        Raises:
            ValueError: where the weight of all rows is zero, except in Lightning's sanity check.
        """
        sums, self.sums = self.sums, {}
        if trainer.world_size > 1:
            sums = {
                name: trainer.strategy.reduce(pair, reduce_op="sum") for name, pair in sums.items()
            }
        if sums and not float(torch.stack([pair[1] for pair in sums.values()]).amax()):
            if trainer.sanity_checking:
                return {}
            raise ValueError(
                "weights must be above zero in some row, got zero in all rows of epoch "
                f"{trainer.current_epoch}: none is there to learn from or to measure."
            )
        return {name: (total / weight).float() for name, (total, weight) in sums.items()}


class StepLosses:
    """The losses of training steps, which are read several at a time.

    Reading a loss makes the host wait for the device.

    Args:
        means: to which they are added.
        name: of the mean, "nll" or another objective.
        patience: number of steps after which `is_due`.
    """

    def __init__(self, means: RowMeans, name: str = "nll", patience: int = 64):
        self.means, self.name, self.patience = means, name, patience
        self.steps: list[tuple[slice, Tensor | None, Tensor | None]] = []
        self.values = torch.empty(0)

    def add(self, values: Tensor, weight: Tensor | None = None, rows: Tensor | None = None) -> None:
        """Add the losses of a step.

        They are copied: small tensors that stay in memory hinder its reuse between large ones.

        Args:
            values: the losses of the rows.
            weight: of the rows; losses of weight 0 may be NaN or infinite.
            rows: the numbers of the rows, for messages.
        """
        start = self.steps[-1][0].stop if self.steps else 0
        place = slice(start, start + values.numel())
        if place.stop > self.values.numel():
            room = values.new_empty(max(values.numel(), self.values.numel()))
            self.values = torch.cat([self.values[:start].to(room), room])
        self.values[place].copy_(values.detach().reshape(-1))
        self.steps.append((place, None if weight is None else weight.reshape(-1), rows))

    @property
    def is_due(self) -> bool:
        """Whether `look` should be called."""
        return len(self.steps) >= self.patience

    def look(self, module: lightning.LightningModule) -> None:
        """Add the losses so far to the means.

        Args:
            module: in training, for messages.

        Raises:
            NonFiniteLoss: where one of them is NaN or infinite; they stay, so that each later call
                raises it, too.
        """
        if not self.steps:
            return
        values, weight = self.values[: self.steps[-1][0].stop], self._weights()
        if weight is not None:
            values = torch.where(weight > 0, values, 0.0)
        if not bool(values.isfinite().all()):
            place, _, rows = next(
                step for step in self.steps if not bool(values[step[0]].isfinite().all())
            )
            raise _non_finite(module, values[place], rows)
        self.means.add(self.name, values, weight)
        self.steps.clear()

    def _weights(self) -> Tensor | None:
        if all(weight is None for _, weight, _ in self.steps):
            return None
        return torch.cat(
            [
                self.values.new_ones(place.stop - place.start) if weight is None else weight
                for place, weight, _ in self.steps
            ]
        )


def _non_finite(
    module: lightning.LightningModule, values: Tensor, rows: Tensor | None
) -> NonFiniteLoss:
    bad = ~values.isfinite()
    rows = torch.arange(len(values)) if rows is None else rows
    offending = rows.to(bad.device)[bad.reshape(len(values), -1).any(-1)].tolist()
    shown = ", ".join(map(str, offending[:10])) + (" ..." if len(offending) > 10 else "")
    best = [
        getattr(callback, "best_model_path", "") for callback in module.trainer.checkpoint_callbacks
    ]
    kept = next(filter(None, best), "")
    is_all = len(offending) == len(values)
    extreme = (
        module.most_extreme(None if is_all else offending)
        if hasattr(module, "most_extreme")
        else ""
    )
    cause = (
        "These are all rows of the batch, so the weights of the network have become too large. "
        f"{extreme or 'Look for extreme values.'} If the data are right, lower the learning rate, "
        "or set trainer.gradient_clip_val."
        if is_all
        else f"{extreme or 'Look at these rows for extreme values.'} If the data are wrong, "
        "correct them; if they are right, try a family with heavier tails, or lower the learning "
        "rate."
    )
    return NonFiniteLoss(
        f"the loss became NaN or infinite in epoch {module.current_epoch}, at rows {shown} "
        f"({len(offending)} of {len(values)} in the batch). {cause}"
        + (f" The last good checkpoint is {kept}." if kept else "")
    )


def takes_several_steps(
    trainer: lightning.Trainer, module: lightning.LightningModule, own: type
) -> bool:
    """Whether several steps in one batch of Lightning have the same effect as one in each.

    That is so on one device in full precision, where no option of the trainer counts batches, no
    callback has hooks of steps, and the module overrides none of those of the class `own`.

    Args:
        trainer: the trainer.
        module: the module.
        own: the class of this library from which the module is derived.
    """
    counts_batches = (
        trainer.max_steps != -1
        or trainer.min_steps is not None
        or trainer.limit_train_batches != 1.0
        or trainer.overfit_batches != 0
        or trainer.val_check_interval != 1.0
        or trainer.check_val_every_n_epoch is None
        or trainer.accumulate_grad_batches != 1
    )
    every_step = any(
        config.interval == "step" and (config.frequency != 1 or config.reduce_on_plateau)
        for config in trainer.lr_scheduler_configs
    )
    return (
        isinstance(trainer.strategy, SingleDeviceStrategy)
        and type(trainer.precision_plugin) is Precision
        and not counts_batches
        and not every_step
        and not any(map(_sees_steps, trainer.callbacks))
        and not any(is_overridden(name, module, own) for name in _MODULE_STEP_HOOKS)
        and not any(is_overridden(name, trainer.datamodule) for name in _TRANSFER_HOOKS)
    )


def _sees_steps(callback: Callback) -> bool:
    if isinstance(callback, ModelCheckpoint):
        return bool(callback._every_n_train_steps or callback._train_time_interval)
    if isinstance(callback, ProgressBar):
        return False
    # a class with `after_step` has all that it does after each step there
    known = next((kind for kind in type(callback).__mro__ if "after_step" in vars(kind)), Callback)
    return isinstance(callback, GradientAccumulationScheduler) or any(
        is_overridden(name, callback, known) for name in _STEP_HOOKS
    )


class BareSteps(Precision):
    """Lightning's plugin of full precision, whose steps are calls of the optimizer alone.

    Lightning's optimizers make their steps by a plugin for precision, which calls the hooks of all
    callbacks. Steps of torch's own optimizers are also made without hooks and records for a
    profiler, where none are used: those take longer than the step of a small model.

    Args:
        optimizer: torch's, not Lightning's wrapper of it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.step, self.zero_grad = _bare_calls(optimizer)
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        self.needs_closure = closure is not None and closure.default is closure.empty

    def optimizer_step(
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **options: Any
    ) -> Any:
        """Make a step of the optimizer; the closure is called only where its class needs one."""
        return self.step(closure) if self.needs_closure else self.step()

    @contextlib.contextmanager
    def used_by(self, strategy: Strategy) -> Iterator[None]:
        """A block in which the strategy makes its steps with this plugin."""
        former, strategy.precision_plugin = strategy.precision_plugin, self
        try:
            yield
        finally:
            strategy.precision_plugin = former


def _bare_calls(optimizer: torch.optim.Optimizer) -> tuple[Callable[..., Any], Callable[[], None]]:
    """`step` and `zero_grad` of an optimizer, without hooks and records where none are used."""
    kind, step = type(optimizer), optimizer.step
    used = (
        any(
            (
                optimizer._optimizer_step_pre_hooks,
                optimizer._optimizer_step_post_hooks,
                *_HOOKS_OF_ALL,
            )
        )
        or optimizer.defaults.get("differentiable")
        or torch.autograd._profiler_enabled()
    )
    # a scheduler wraps the step, and has to see one before it warns of a wrong order of calls
    has_seen = getattr(step, "__wrapped__", None) is kind.step and getattr(
        optimizer, "_opt_called", False
    )
    is_torchs = kind.__module__.startswith("torch.optim.") and (
        "step" not in vars(optimizer) or has_seen
    )
    if used or not is_torchs:
        return step, optimizer.zero_grad
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def zero_grad() -> None:
        for parameter in parameters:
            parameter.grad = None

    return torch.no_grad()(functools.partial(inspect.unwrap(kind.step), optimizer)), zero_grad


def count_steps(loop: dict[str, Any], made: int) -> None:
    """Set the number of steps in the saved state of Lightning's loop.

    Both counters get it: that of automatic and that of manual optimization.

    Args:
        loop: the state of the loop of training, which is changed in place.
        made: the number of steps.
    """
    counters = (
        loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"],
        loop["epoch_loop.manual_optimization.optim_step_progress"],
    )
    for counter in counters:
        counter["total"] |= {"ready": made, "completed": made}


def model_weights(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The names and values of all that is trained in a model, but for what its objective learns."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and not name.startswith(OBJECTIVE):
            yield name, parameter


def count_rows(trainer: lightning.Trainer, objective: str) -> int:
    """The number of rows of training.

    Args:
        trainer: in training.
        objective: the name of the one that asks for it, for the message.

    Raises:
        ValueError: where the loader of training has no dataset of a known length.
    """
    data = getattr(trainer, "datamodule", None)
    if isinstance(data, TabularDataModule):
        return data.count("train")
    count = sized_len(getattr(trainer.train_dataloader, "dataset", None))
    if count is None:
        raise ValueError(
            f"the objective {objective} needs the number of training rows, and the training "
            "loader has no dataset of a known length: give its dataset a `__len__`, or the loader "
            "an attribute `dataset` that has one."
        )
    return count
