"""`Predictor`: a trained model as a picklable function from rows to predictions."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from disthead.data.columns import Columns, Encoded
from disthead.data.encoder import Unseen
from disthead.data.table import read_table
from disthead.prediction import predictions, seed_of
from disthead.training.module import DistributionModule, read_checkpoint
from disthead.training.trust import check_classes, trusted_names

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Predictor"]


class Predictor:
    """A trained model as a function of a batch of rows, for engines that run it on a cluster.

    Pickles hold the path of the checkpoint and the options: each worker loads the model once, at
    its first batch. All workers must see the checkpoint under that path. A pickle is code: open
    none from a stranger.

    Args:
        checkpoint: of a `DistributionModule` that was trained on a table.
        device: where the model runs.
        trust: names of your own packages, modules or classes that the checkpoint may use
            (SECURITY.md).
        options: of `disthead.prediction.predictions`, such as `quantiles`, `level`, `samples`,
            `seed` and `top_k`.

    Raises:
        ValueError: for a missing or corrupt checkpoint, or one without the columns of a table.
        DataError: by a call, for rows that the model cannot use.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        device: str | torch.device = "cpu",
        trust: str | Iterable[str] = (),
        **options: Any,
    ):
        self.trust = trusted_names(trust)
        check_classes(read_checkpoint(checkpoint)["hyper_parameters"], checkpoint, self.trust)
        self.checkpoint, self.device, self.options = (
            str(Path(checkpoint).resolve()),
            torch.device(device),
            options,
        )
        self._module: DistributionModule | None = None
        self._columns: Columns | None = None
        self._unseen = Unseen()  # of all batches, so that each value is warned of once

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_module": None, "_columns": None}

    @property
    def module(self) -> DistributionModule:
        """The model, loaded when it is first needed."""
        if self._module is None:
            module = DistributionModule.load_from_checkpoint(
                self.checkpoint, trust=self.trust
            ).eval()
            if module.columns is None:
                raise ValueError(
                    f"{self.checkpoint} does not know the columns of its table: "
                    "train it on a table."
                )
            self._module = module.to(self.device)
        return self._module

    @property
    def columns(self) -> Columns:
        """The columns that the model was trained on."""
        if self._columns is None:
            self._columns = Columns.from_state(self.module.columns)
        return self._columns

    @property
    def rows_at_once(self) -> int:
        """The number of rows that are computed at once.

        By it the memory depends neither on the number of classes nor on that of samples.
        """
        return self.module.predicted_at_once(self.options.get("samples", 0))

    @torch.no_grad()
    def __call__(
        self, batch: "Mapping[str, np.ndarray] | DataFrame", place: object = None
    ) -> dict[str, np.ndarray]:
        """Predictions for the rows of a table, as arrays by name.

        Args:
            batch: a data frame, or a mapping of columns.
            place: the position of the rows in their table, on which samples depend beside `seed`;
                without it they depend on the features of the batch.

        Raises:
            DataError: for rows that the model cannot use.
        """
        columns, count = self.columns, len(self._unseen)
        rows = columns.encode(read_table(batch), False, self._unseen, self.module.dtype)
        if len(self._unseen) > count:
            warnings.warn(self._unseen.message(), UserWarning, stacklevel=2)
        self.module.head.family.check_row_constants(rows.known, columns.known)
        if place is None:
            place = rows.features.numpy().tobytes() if self.options.get("samples") else b""
        size = self.rows_at_once
        starts = range(0, max(1, len(rows.features)), size)
        chunks = [
            self._predict(rows.at(slice(k, k + size)), (place, k) if k else place, k)
            for k in starts
        ]
        if len(chunks) == 1:
            return chunks[0]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def _predict(self, rows: Encoded, place: object, start: int) -> dict[str, np.ndarray]:
        row_constants = {name: values.to(self.device) for name, values in rows.known.items()}
        dist = self.module.predictive(rows.features.to(self.device), **row_constants)
        options = {
            "unit": self.columns.unit,
            "rows": range(start, start + len(rows.features)),
        } | self.options
        if options.get("samples"):
            options["seed"] = seed_of(options.get("seed", 0), place)
        return predictions(dist, self.columns.outputs, self.columns.classes, **options)
