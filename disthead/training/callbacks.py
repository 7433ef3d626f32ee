"""Callbacks of Lightning: `AverageWeights`, `EarlyStopping` and `BestAndLastCheckpoint`."""

import math
import os
import shutil
import time
import warnings
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from disthead.errors import NonFiniteLoss, unknown_name
from disthead.files import DiskFull, writing
from disthead.networks.schedule import PATIENCE
from disthead.training.saved import comparable, read_checkpoint
from disthead.training.saving import local

__all__ = ["AverageWeights", "BestAndLastCheckpoint", "EarlyStopping"]

_INTERVAL = 5  # least number of seconds from one writing of last.ckpt to the next
_OBJECTIVE = "val/objective"


class AverageWeights(WeightAveraging):
    """Validates, saves and returns an exponential moving average of the weights.

    After each step

        average <- d average + (1 - d) weights,

    where d grows to `decay` as (1 + t) / (10 + t) with the step t, so that the first steps are soon
    forgotten (Polyak and Juditsky 1992). It is Lightning's own weight averaging, which needs all
    weights before training is set up; this one waits until a `DistributionModule` has seen the
    table. Checkpoints also hold the weights that are not averaged, so that training can go on.

    Args:
        decay: d after many steps; 0.99 averages about the last hundred.

    Raises:
        ValueError: for a decay below 0, or of 1 or more.

    >>> callbacks = [AverageWeights(0.99)]
    >>> trainer = lightning.Trainer(callbacks=callbacks, logger=False, accelerator="cpu")
    """

    def __init__(self, decay: float = 0.99):
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}.")
        super().__init__(use_buffers=False)
        self.decay, self.count = decay, 0

    def setup(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Do nothing, since the weights may not exist yet."""

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Make the average, unless it was read from a checkpoint."""
        if self._average_model is None:
            super().setup(trainer, pl_module, "fit")

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """List the tensors that are averaged and those that are copied."""
        assert self._average_model is not None
        average = self._average_model.to(pl_module.device).module
        self.count = int(self._average_model.n_averaged)  # read once: it makes the host wait
        self._parameters = list(average.parameters()), list(pl_module.parameters())
        self._buffers = list(average.buffers()), list(pl_module.buffers())

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the weights into the average."""
        self.after_step(trainer, pl_module)

    @torch.no_grad()
    def after_step(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the weights into the average after a step.

        A `DistributionModule` that makes several steps in one batch of Lightning calls it after
        each of them.
        """
        step = trainer.global_step
        if step <= self._latest_update_step or not self.should_update(step_idx=step - 1):
            return
        assert self._average_model is not None
        self.count += 1
        decay = 0.0 if self.count == 1 else min(self.decay, (1 + self.count) / (10 + self.count))
        get_ema_multi_avg_fn(decay)(*self._parameters, self.count)
        if self._buffers[0]:  # buffers are copied, not averaged
            torch._foreach_copy_(*self._buffers)
        self._average_model.n_averaged += 1
        self._latest_update_step = step

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Read the average of a training that goes on."""
        if trainer.state.fn == "fit":
            super().setup(trainer, pl_module, "fit")
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def teardown(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Forget the average, which belongs to one training."""
        self._average_model, self._latest_update_step = None, 0


class EarlyStopping(LightningEarlyStopping):
    """Lightning's early stopping, by default with the patience of the default recipe.

    Without a `patience` training ends once as many steps as the best validation took, and at least
    800, have brought no improvement.

    Args:
        monitor: the metric; "val/objective" is that of the objective of training, `val/nll` or such
            as `val/crps`.
        patience: number of validations without improvement after which training ends; None counts
            steps as above.
        options: as for Lightning's own.

    >>> EarlyStopping().monitor
    'val/objective'
    """

    def __init__(self, monitor: str = _OBJECTIVE, patience: int | None = None, **options: Any):
        super().__init__(monitor, patience=0 if patience is None else patience, **options)
        self.counts_steps, self.best_step = patience is None, 0

    def setup(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Look up the name of the objective that is monitored."""
        self.monitor = _watched(self.monitor, pl_module) or self.monitor
        super().setup(trainer, pl_module, stage)

    def _run_early_stopping_check(self, trainer: lightning.Trainer) -> None:
        if (
            self.monitor not in trainer.callback_metrics
            and self.strict
            and not trainer.fast_dev_run
        ):
            known = sorted(trainer.callback_metrics)
            if self.monitor.startswith("val/") and not any(
                name.startswith("val/") for name in known
            ):
                if trainer.enable_validation and any(trainer.num_val_batches):
                    raise ValueError(
                        f"early stopping monitors {self.monitor}, and training ended after "
                        f"{trainer.global_step} steps, before the first validation: give a larger "
                        "max_steps (--trainer.max_steps), or a smaller val_check_interval "
                        "(--trainer.val_check_interval, in batches), or monitor one of "
                        f"{', '.join(known)}."
                    )
                raise ValueError(
                    f"early stopping monitors {self.monitor}, and no rows are validated: hold rows "
                    f"out by val_size, give val_path, or monitor one of {', '.join(known)}."
                )
            raise unknown_name("metric to monitor", self.monitor, known)
        if self.counts_steps:  # whether this validation is the last without improvement
            is_over = trainer.global_step >= self.best_step + max(PATIENCE, self.best_step)
            self.patience = self.wait_count + (1 if is_over else 2)
        super()._run_early_stopping_check(trainer)
        if self.wait_count == 0:
            self.best_step = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """The state of Lightning's own, and the step of the best validation."""
        return super().state_dict() | {"best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; the patience is that of this training."""
        super().load_state_dict(state_dict | {"patience": self.patience})
        self.best_step = state_dict.get("best_step", 0)


class BestAndLastCheckpoint(ModelCheckpoint):
    """Lightning's callback for checkpoints, which keeps the best and the last state of a training.

    The last state is in last.ckpt, a file of its own from which training can go on. It is written
    at the end of an epoch, at most every five seconds, and at the end of training; in one process
    also where an error or a signal ends it.

    A training that goes on keeps the best checkpoint so far, and copies it if its folder is another
    one. The score of the best checkpoint is read from its own file, which may be later than the one
    that the training goes on from.

    Args:
        dirpath: the folder; `checkpoints` in the log folder of the training unless given.
        filename: as for Lightning's own.
        monitor: as for Lightning's own; "val/objective" is the metric of the objective of training,
            `val/nll` or such as `val/crps`.
        save_last: whether there is a last.ckpt.
        save_on_exception: whether last.ckpt is also written after an error in one of several
            processes, which then waits for the others.
        enable_version_counter: whether an existing file of that name is kept, and the checkpoint
            gets another name.
        options: as for Lightning's own.

    >>> BestAndLastCheckpoint("runs").monitor
    'val/objective'
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = "best",
        monitor: str | None = _OBJECTIVE,
        save_last: bool | Literal["link"] | None = True,
        save_on_exception: bool = False,
        enable_version_counter: bool = True,
        **options: Any,
    ):
        # Lightning's own save_last writes only together with the best checkpoint, and replaces it
        # after an error
        options |= {"save_last": False, "enable_version_counter": enable_version_counter}
        super().__init__(dirpath, filename, monitor, **options)
        self.keeps_last, self.counts_versions = bool(save_last), enable_version_counter
        self.waits_for_all = save_on_exception
        self.resumed_step: int | None = None
        self._last_step: int | None = None
        self._last_time = -math.inf

    def setup(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Look up the name of the objective that is monitored."""
        self.monitor = _watched(self.monitor, pl_module)
        super().setup(trainer, pl_module, stage)

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Copy the best checkpoints so far into the folder, where a training goes on."""
        super().on_train_start(trainer, pl_module)
        self._last_step, self._last_time = trainer.global_step, -math.inf  # nothing is new yet
        self._take_over(trainer)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Save the best state, and the last one where it is due."""
        if not self.last_model_path:  # first, so that best.ckpt is never there without last.ckpt
            self._save_last(trainer)
            # to be written again, once the best one is saved
            self._last_step, self._last_time = -1, -math.inf
        super().on_train_epoch_end(trainer, pl_module)
        if _is_over(trainer) or self._is_due(trainer):
            self._save_last(trainer)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Save the best state, and within an epoch the last one where it is due."""
        super().on_validation_end(trainer, pl_module)
        is_within = not trainer.is_last_batch  # of an epoch, which may take hours
        if (
            trainer.state.fn == "fit"
            and not trainer.sanity_checking
            and is_within
            and self._is_due(trainer)
        ):
            self._save_last(trainer)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Save the last state."""
        super().on_train_end(trainer, pl_module)
        self._save_last(trainer)

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        """Save the last state after an error or a signal; in several processes on request only."""
        waits = trainer.world_size > 1 and not self.waits_for_all
        # in validation the weights may be those of an average; weights that are not finite are not
        # saved
        if waits or not trainer.training or isinstance(exception, (DiskFull, NonFiniteLoss)):
            return
        try:
            self._save_last(trainer)
        except Exception as error:
            warnings.warn(f"last.ckpt was not written, and stays as it was: {error}", stacklevel=2)

    def _is_due(self, trainer: lightning.Trainer) -> bool:
        """Whether the last writing is long enough ago; the same in all processes."""
        is_due = time.monotonic() - self._last_time >= _INTERVAL
        return trainer.strategy.broadcast(is_due) if trainer.world_size > 1 else is_due

    def _save_last(self, trainer: lightning.Trainer) -> None:
        if (
            not self.keeps_last
            or trainer.fast_dev_run
            or self._last_step in (None, trainer.global_step)
        ):
            return
        self.last_model_path = self._free_path(
            self.CHECKPOINT_NAME_LAST, trainer, self.last_model_path
        )
        trainer.save_checkpoint(self.last_model_path, self.save_weights_only)
        self._last_step, self._last_time = trainer.global_step, time.monotonic()

    def _free_path(self, name: str, trainer: lightning.Trainer, current: str = "") -> str:
        """The path of a checkpoint of this name, with a number where another training has one."""
        path, version = self.format_checkpoint_name({}, name), self.STARTING_VERSION
        while self.counts_versions and path != current and self.file_exists(path, trainer):
            path, version = self.format_checkpoint_name({}, name, version), version + 1
        return path

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; with a monitor `on_load_checkpoint` does so."""
        if self.monitor is None:
            super().load_state_dict(state_dict)

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Restore the paths and scores of the best checkpoints of a training that goes on."""
        self.resumed_step = checkpoint["global_step"]
        state = self._state_in(checkpoint)
        if state is None or self.monitor is None:
            return
        models = self._best_of_before(trainer, checkpoint, state) if trainer.is_global_zero else {}
        self._set_best(trainer.strategy.broadcast(models))
        if trainer.is_global_zero and state["best_model_path"] and not models:
            warnings.warn(
                f"{state['best_model_path']}, the best checkpoint of the earlier training, is "
                "missing or cannot be read: the best one is chosen from now on.",
                stacklevel=2,
            )
        resumed, folder = local(trainer.ckpt_path), local(self.dirpath)
        if (
            resumed is not None
            and folder is not None
            and resumed.parent.resolve() == folder.resolve()
        ):
            name = (
                resumed.name
                if resumed.stem.startswith(self.CHECKPOINT_NAME_LAST)
                else state["last_model_path"]
            )
            self.last_model_path = os.path.join(folder, Path(name).name) if name else ""

    def _state_in(self, checkpoint: dict[str, Any]) -> dict[str, Any] | None:
        states = checkpoint.get("callbacks", {})
        original = self.state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)
        return states.get(self.state_key, states.get(original))  # version 0.1 used Lightning's own

    def _best_of_before(
        self, trainer: lightning.Trainer, checkpoint: dict[str, Any], state: dict[str, Any]
    ) -> dict[str, Tensor]:
        """The present paths and the scores of the best checkpoints of a training that goes on."""
        beside, models = Path(trainer.ckpt_path or "").parent, {}
        for path, score in state["best_k_models"].items():
            # the folder may have been moved, and another training may have taken its place
            for place in (beside / Path(path).name, Path(path)):
                present_score = self._score_in(place, checkpoint, score)
                if present_score is not None:
                    models[str(place)] = present_score
                    break
        # a better one has taken the place of one of them
        if len(models) < len(state["best_k_models"]):
            scores = {
                str(path): self._score_in(path, checkpoint)
                for path in sorted(beside.glob("*.ckpt"))
            }
            models |= {path: score for path, score in scores.items() if score is not None}
        return models

    def _score_in(
        self, path: Path, resumed: dict[str, Any], score: Tensor | None = None
    ) -> Tensor | None:
        """The score of the checkpoint in a file, or None.

        It must be the checkpoint with this score, or a later one of the same training.
        """
        try:
            checkpoint = read_checkpoint(path)
        except ValueError:
            return None
        state = self._state_in(checkpoint) or {}
        own_score = {
            Path(name).name: value for name, value in state.get("best_k_models", {}).items()
        }.get(path.name)
        is_same = comparable(checkpoint["hyper_parameters"]) == comparable(
            resumed["hyper_parameters"]
        )
        is_later = is_same and checkpoint["global_step"] > resumed["global_step"]
        has_score = own_score is not None and score is not None and float(own_score) == float(score)
        return own_score if is_later or has_score else None

    def _set_best(self, models: dict[str, Tensor]) -> None:
        """Set the best checkpoints, from paths and scores."""
        order = sorted(models, key=lambda path: float(models[path]), reverse=self.mode == "max")
        order = order[: self.save_top_k] if self.save_top_k >= 0 else order
        self.best_k_models = {path: models[path] for path in order}
        if order:
            self.best_model_path, self.best_model_score = order[0], models[order[0]]
            self.kth_best_model_path, self.kth_value = order[-1], models[order[-1]]

    def _take_over(self, trainer: lightning.Trainer) -> None:
        """Copy the best checkpoints so far into the folder of this training, if it is new."""
        folder = local(self.dirpath)
        if folder is None or self.monitor is None:
            return
        models = {}
        for path, score in self.best_k_models.items():
            name = Path(path).stem
            copy = os.path.join(folder, Path(path).name)
            if Path(path).parent.resolve() != folder.resolve():
                copy = self._free_path(name, trainer)
                if trainer.is_global_zero:
                    folder.mkdir(parents=True, exist_ok=True)
                    with writing(copy) as unfinished:
                        shutil.copyfile(path, unfinished)
                trainer.strategy.barrier()
            models[copy] = score
        self._set_best(models)


def _watched(monitor: str | None, module: lightning.LightningModule) -> str | None:
    """The metric that is monitored, with the name of the model's objective for "objective"."""
    return f"val/{getattr(module, 'validated_by', 'nll')}" if monitor == _OBJECTIVE else monitor


def _is_over(trainer: lightning.Trainer) -> bool:
    """Whether training ends with this epoch."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    is_last = epochs is not None and epochs != -1 and trainer.current_epoch + 1 >= epochs
    return trainer.should_stop or is_last or (steps != -1 and trainer.global_step >= steps)
