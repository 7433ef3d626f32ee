"""What a training leaves behind: its checkpoints and its numbers, each file whole or not there."""

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
    """The file on this machine that one of Lightning's paths stands for; None for the address of a remote file."""
    path = str(path).removeprefix("file://")
    return None if "://" in path else Path(path)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin that writes checkpoints, with local files that are whole or not there (`disthead.files.writing`).

    A `DistributionModule` puts it in the place of Lightning's default, which writes into the
    system's temporary folder and moves the file from there: onto another disk that is a copy, and
    an error halfway destroys the old checkpoint. Damaged checkpoints are refused when they are
    read. Remote files are left to Lightning.

    >>> import lightning
    >>> trainer = lightning.Trainer(plugins=[AtomicCheckpointIO()], logger=False, accelerator="cpu")
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        file = local(path)
        if file is None or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with writing(file) as unfinished, open(unfinished, "wb") as opened:
            torch.save(checkpoint, opened)

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Load a checkpoint as Lightning does, once the checksums of a local file have been compared."""
        file = local(path)
        if file is not None and file.is_file():
            check_checkpoint(file)
        return super().load_checkpoint(path, *arguments, **options)


class MetricsLogger(CSVLogger):
    """Lightning's log of a training: hparams.yaml is whole or not there, and so is each line of metrics.csv.

    >>> MetricsLogger("runs", name="first").log_dir
    'runs/first/version_0'
    """

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | argparse.Namespace | None = None) -> None:
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
        # a second error would hide why training has failed
        with suppress(*([OSError] if status == "failed" else [])):
            super().finalize(status)
