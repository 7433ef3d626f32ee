"""`AverageWeights` and `EarlyStopping`: the moving average of the weights, and the end of training, as Lightning's callbacks."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from lightning.pytorch.callbacks import WeightAveraging

from disthead.errors import unknown_name
from disthead.training.schedule import PATIENCE

__all__ = ["AverageWeights", "EarlyStopping"]


class AverageWeights(WeightAveraging):
    """The exponential moving average of the weights is what validation sees, checkpoints hold and training leaves behind.

    average <- d average + (1 - d) weights after each step, where d grows to `decay` as (1 + t) / (10 + t) with the step t, so that
    the first steps are soon forgotten (Polyak and Juditsky 1992). It is Lightning's own weight averaging, which wants all
    weights before training is set up; this one waits until a `DistributionModule` has seen the table. Checkpoints hold the
    weights where training stands, too, so that it can go on from there.

    Args:
        decay: d after many steps; 0.99 averages about the last hundred.

    Raises:
        ValueError: for a decay that is none.

    >>> trainer = lightning.Trainer(callbacks=[AverageWeights(0.99)], logger=False, accelerator="cpu")
    """

    def __init__(self, decay: float = 0.99):
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}.")
        super().__init__(use_buffers=False)
        self.decay, self.count = decay, 0

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        pass  # the weights do not exist yet

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._average_model is None:
            super().setup(trainer, pl_module, "fit")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert self._average_model is not None
        average = self._average_model.to(pl_module.device).module
        self.count = int(self._average_model.n_averaged)  # once, so that no step has to wait for it
        self._parameters = list(average.parameters()), list(pl_module.parameters())
        self._buffers = list(average.buffers()), list(pl_module.buffers())

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.after_step(trainer, pl_module)

    @torch.no_grad()
    def after_step(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take in the weights after a step; a `DistributionModule` that makes several at once calls it after each of them."""
        step = trainer.global_step
        if step <= self._latest_update_step or not self.should_update(step_idx=step - 1):
            return
        assert self._average_model is not None
        self.count += 1
        decay = 0.0 if self.count == 1 else min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(*self._parameters, 1 - decay)
        if self._buffers[0]:  # what is not averaged is that of the model
            torch._foreach_copy_(*self._buffers)
        self._average_model.n_averaged += 1
        self._latest_update_step = step

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit":
            super().setup(trainer, pl_module, "fit")
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._average_model, self._latest_update_step = None, 0  # of this training only


class EarlyStopping(LightningEarlyStopping):
    """Lightning's early stopping, which without a `patience` waits as long as the default recipe does.

    Training then ends once as many steps as the best validation took, and at least 800, have brought nothing better.

    Args:
        monitor: what is validated.
        patience: validations without anything better after which training ends; None counts steps as above.
        options: as for Lightning's own.

    >>> EarlyStopping().monitor
    'val/nll'
    """

    def __init__(self, monitor: str = "val/nll", patience: int | None = None, **options: Any):
        super().__init__(monitor, patience=0 if patience is None else patience, **options)
        self.counts_steps, self.best_step = patience is None, 0

    def _run_early_stopping_check(self, trainer: lightning.Trainer) -> None:
        if self.monitor not in trainer.callback_metrics and self.strict and not trainer.fast_dev_run:
            raise unknown_name("metric to monitor", self.monitor, sorted(trainer.callback_metrics))
        if self.counts_steps:  # whether this validation is the last that may bring nothing better
            is_over = trainer.global_step >= self.best_step + max(PATIENCE, self.best_step)
            self.patience = self.wait_count + (1 if is_over else 2)
        super()._run_early_stopping_check(trainer)
        if self.wait_count == 0:
            self.best_step = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"patience": self.patience})  # what is given now counts
        self.best_step = state_dict.get("best_step", 0)
