"""Atomic writing of the checkpoints and the metrics of a training."""

import argparse
import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from disthead.files import appending, writing
from disthead.training.saved import check_checkpoint

__all__ = ["AtomicCheckpointIO", "MetricsLogger", "local"]


def local(path: Any) -> Path | None:
    """One of Lightning's paths as a path on this machine; None for the address of a remote file."""
    path = str(path).removeprefix("file://")
    return None if "://" in path else Path(path)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin that writes checkpoints, with atomic writing of local files.

    A `DistributionModule` uses it in place of Lightning's default, which writes into the system's
    temporary folder and moves the file from there: onto another disk that is a copy, and an error
    halfway destroys the old checkpoint. Here `disthead.files.writing` does so. Damaged checkpoints
    are refused when they are read. Remote files are left to Lightning.

    >>> import lightning
    >>> trainer = lightning.Trainer(plugins=[AtomicCheckpointIO()], logger=False, accelerator="cpu")
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, which has its name only once it is complete."""
        file = local(path)
        if file is None or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with writing(file) as unfinished, open(unfinished, "wb") as opened:
            torch.save(checkpoint, opened)

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Load a checkpoint as Lightning does, after a check of the checksums of a local file."""
        file = local(path)
        if file is not None and file.is_file():
            check_checkpoint(file)
        return super().load_checkpoint(path, *arguments, **options)


class MetricsLogger(CSVLogger):
    """Lightning's log of a training, with atomic writing of hparams.yaml and metrics.csv.

    >>> MetricsLogger("runs", name="first").log_dir
    'runs/first/version_0'
    """

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | argparse.Namespace | None = None) -> None:
        """Write hyperparameters into hparams.yaml."""
        if local(self.log_dir) is None:
            super().log_hyperparams(params)
            return
        writer = self.experiment
        writer.hparams.update(
            vars(params) if isinstance(params, argparse.Namespace) else params or {}
        )
        with writing(Path(writer.log_dir, writer.NAME_HPARAMS_FILE)) as unfinished:
            save_hparams_to_yaml(unfinished, writer.hparams)

    @rank_zero_only
    def save(self) -> None:
        """Append the metrics since the last call to metrics.csv, or rewrite it for new columns."""
        if local(self.log_dir) is None:
            super().save()
            return
        writer = self.experiment
        path, names = (
            Path(writer.metrics_file_path),
            sorted({*writer.metrics_keys}.union(*writer.metrics)),
        )
        if not writer.metrics:
            return
        if names == writer.metrics_keys and path.is_file():
            with appending(path), open(path, "a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, names).writerows(writer.metrics)
        else:
            before = []
            if path.is_file():
                with open(path, encoding="utf-8", newline="") as file:
                    before = list(csv.DictReader(file))
            with (
                writing(path) as unfinished,
                open(unfinished, "w", encoding="utf-8", newline="") as file,
            ):
                rows = csv.DictWriter(file, names)
                rows.writeheader()
                rows.writerows([*before, *writer.metrics])
            writer.metrics_keys = names
        writer.metrics = []

    def finalize(self, status: str) -> None:
        """Write the metrics that are left."""
        # a second error would hide why training has failed
        with suppress(*([OSError] if status == "failed" else [])):
            super().finalize(status)
