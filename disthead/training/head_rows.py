"""`HeadRows`: a batch of rows with the targets of several heads."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from disthead.arrays import as_tensor
from disthead.data.batches import Batch, weight_of
from disthead.errors import pick
from disthead.objectives.composite import check_names, targets_and_weight

__all__ = ["HeadRows"]

_KEYS = dict.fromkeys(("features", "y", "weight"))


class HeadRows(NamedTuple):
    """The rows of a batch with the targets of several heads.

    Attributes:
        features: a tensor (N, P), or whatever the backbone takes.
        targets: of each head by name, (N, *event_shape).
        weight: of the rows for each head by name, (N,); 0 where the target is missing.
    """

    features: Any
    targets: dict[str, Tensor]
    weight: dict[str, Tensor]

    @classmethod
    def of(cls, batch: Any, names: Sequence[str]) -> Self:
        """The rows of a batch, as a loader yields it.

        Args:
            batch: (features, targets), (features, targets, weight), or a mapping with the keys
                "features", "y" and "weight". Targets are a mapping from the names of the heads; the
                weight is (N,), or a mapping of such weights for single heads.
            names: of the heads.

        Raises:
            ValueError: for other forms and names, for heads with different numbers of rows, for a
                batch without rows, and for weights that are negative, NaN or infinite.
        """
        features, y, weight = cls.parts(batch)
        if features is None:
            raise ValueError("a batch must have features, got none: (features, targets).")
        check_names(names, y, "targets")
        if not isinstance(weight, Mapping):
            weight = dict.fromkeys(names, weight)
        for name in weight:
            pick("head of a weight", name, dict.fromkeys(names))
        targets, weights = {}, {}
        for name in names:
            values = as_tensor(y[name], f"target {name!r}")
            rows = values.shape[:1]
            targets[name], row_weight = targets_and_weight(values, weight.get(name), rows, name)
            weights[name] = (
                torch.ones(rows, device=values.device) if row_weight is None else row_weight
            )
        counts = {name: len(values) for name, values in targets.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"all heads must have targets for the same rows, got {counts} rows.")
        if not counts[names[0]]:
            raise ValueError("a batch needs at least one row, got an empty batch: leave it out.")
        features = features if isinstance(features, (Mapping, tuple)) else as_tensor(features)
        return cls(features, targets, weights)

    @staticmethod
    def parts(batch: Any) -> tuple[Any, Any, Any]:
        """Features, targets and weight of a batch; None for those that it does not have."""
        if isinstance(batch, Mapping):
            for key in batch:
                pick("entry of a batch", key, _KEYS)
            return batch.get("features"), batch.get("y"), batch.get("weight")
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(
                "a batch must be (features, targets) or (features, targets, weight), got "
                f"{len(parts)} parts."
            )
        return (*parts, None, None)[:3]

    @property
    def y(self) -> Tensor:
        """The targets of the first head."""
        return next(iter(self.targets.values()))

    @property
    def total_weight(self) -> Tensor:
        """The weight of each row, the largest of those of the heads, (N,)."""
        return torch.stack(list(self.weight.values())).amax(0)

    def of_head(self, name: str) -> Batch:
        """The targets of one head, without features."""
        return Batch(torch.empty(len(self.y), 0), self.targets[name], self.weight[name])

    def mean(self, values: Tensor) -> Tensor:
        """The mean over rows of sums that are weighted already, (N,)."""
        return values.sum() / weight_of(self.total_weight)

    def unweighted(self, values: Tensor) -> Tensor:
        """Sums that are weighted already, (N,), divided by the weight of their row."""
        weight = self.total_weight
        return torch.where(weight > 0, values / torch.where(weight > 0, weight, 1.0), 0.0)
