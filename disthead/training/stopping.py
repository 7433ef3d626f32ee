"""`StopBetweenSteps` ends a training after a step at SIGTERM; `signal_of` names the signal."""

import signal
import threading
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException

from disthead.stopping import Stopped, is_ours, signal_behind

__all__ = ["StopBetweenSteps", "signal_of"]


def signal_of(error: BaseException) -> int | None:
    """The signal behind an error that Lightning has raised; None for other errors."""
    if isinstance(error, SIGTERMException):
        return signal.SIGTERM
    if isinstance(error, BrokenPipeError):
        return getattr(signal, "SIGPIPE", None)
    return signal_behind(error)


class StopBetweenSteps(Callback):
    """Ends a training after a step at SIGTERM, in a state to go on from.

    Validation, tests and predictions end at once. Lightning's own handler does so where training is
    in one process, and where SLURM puts a job into its queue again. Several processes end at once,
    since they might wait for one that has ended already.
    """

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Leave SIGTERM to Lightning's handler where it ends a training after a step."""
        if is_ours(signal.SIGTERM) and (trainer.world_size == 1 or SLURMEnvironment.detect()):
            # Lightning sets its own handler only where there is none
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _end_at_once(self, trainer: lightning.Trainer) -> None:
        """Replace Lightning's handler where several processes would wait for each other."""
        if trainer.world_size == 1 or SLURMEnvironment.detect():
            return

        def stop(number: int, frame: Any) -> None:
            launcher: Any = trainer.strategy.launcher
            if hasattr(launcher, "kill"):  # of strategies that start processes
                launcher.kill(number)
            raise Stopped(number)

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)

    def on_sanity_check_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Set the handler of signals for this stage."""
        self._end_at_once(trainer)

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Set the handler of signals for this stage."""
        self._end_at_once(trainer)

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Set the handler of signals for this stage."""
        self._end_at_once(trainer)

    def on_test_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Set the handler of signals for this stage."""
        self._end_at_once(trainer)

    def on_predict_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Set the handler of signals for this stage."""
        self._end_at_once(trainer)
