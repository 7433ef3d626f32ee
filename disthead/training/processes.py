"""Which of several processes this one is, where torchrun or SLURM started them."""

import os

from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

__all__ = ["process"]


def process() -> tuple[int, int]:
    """The rank of this process and their number; (0, 1) where it is alone.

    >>> process()
    (0, 1)
    """
    if TorchElasticEnvironment.detect():
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect():
        return int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
    return 0, 1
