"""`AverageWeights`: the moving average of the weights, in training by Lightning."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

__all__ = ["AverageWeights"]


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

        def averaged(average: Tensor, weights: Tensor, steps: Any) -> Tensor:
            return average.lerp(weights, 1 - min(decay, (2 + float(steps)) / (11 + float(steps))))

        super().__init__(use_buffers=False, avg_fn=averaged)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        pass  # the weights do not exist yet

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._average_model is None:
            super().setup(trainer, pl_module, "fit")

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit":
            super().setup(trainer, pl_module, "fit")
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._average_model, self._latest_update_step = None, 0  # of this training only
