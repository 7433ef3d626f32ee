"""The rank of a process under torchrun and SLURM, and log folders that no two trainings share."""

import os
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from disthead.training.saving import MetricsLogger, local

__all__ = ["claim_log_dir", "process"]


def process() -> tuple[int, int]:
    """The rank of this process and the number of processes; (0, 1) for a single one.

    >>> process()
    (0, 1)
    """
    if TorchElasticEnvironment.detect():
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect():
        return int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
    return 0, 1


def claim_log_dir(trainer: Trainer) -> list[Path]:
    """Make the log folder `version_N` of a training, which no other training then takes.

    Where another training that starts at the same time has made it, the trainer gets a logger with
    the next folder.

    Returns:
        The folders that did not exist before this call, the innermost first.
    """
    while True:
        logger, folder = trainer.logger, local(trainer.log_dir or ".")
        if folder is None:
            return []
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        if not (
            isinstance(logger, MetricsLogger)
            and isinstance(logger.version, int)
            and trainer.is_global_zero
        ):
            return missing
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:  # another training has just taken it
            trainer.logger = MetricsLogger(logger.save_dir, name=logger.name)
        else:
            return missing
