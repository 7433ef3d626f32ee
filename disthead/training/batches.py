"""`Batches`: rows of a table in batches, sliced from tensors."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from disthead.training.columns import Encoded

__all__ = ["Batches"]


class Batches:
    """Batches of the rows `index` of a table, as dictionaries of tensors; no workers and no collation, so it is cheap.

    A batch has `features`, `y`, `weight`, `known`, `rows` (row numbers of the table) and `total`, the weight of the whole
    batch over all processes. Several processes share each batch: every row comes once, and the sizes are those of
    one process, so that training and measuring give the same numbers. A process may get a batch without rows.

    Args:
        table: the tensors.
        index: the rows, in their order.
        batch_size: the largest number of rows for one step, over all processes. Rows are spread evenly, without
            a small last batch.
        seed: seed of the shuffle, None for none. Each epoch has an order of its own, which depends on nothing else.
        rank, world_size: the process and their number.
        epoch: gives the current epoch.
    """

    def __init__(
        self,
        table: Encoded,
        index: Tensor,
        batch_size: int,
        *,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        epoch: Callable[[], int] = lambda: 0,
    ):
        self.table, self.index, self.batch_size = table, index, batch_size
        self.seed, self.rank, self.world_size, self.epoch = seed, rank, world_size, epoch
        self._position = self._start = 0

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    def __iter__(self) -> Iterator[dict]:
        start, self._start = self._start, 0
        batches = self._order().tensor_split(len(self))
        for position in range(start, len(batches)):
            self._position = position + 1
            yield self._batch(batches[position])

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands, for training that is resumed in the middle of it."""
        return {"position": self._position % max(len(self), 1)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._start = state["position"]

    def _order(self) -> Tensor:
        if self.seed is None:
            return self.index
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
        return self.index[torch.randperm(len(self.index), generator=generator)]

    def _batch(self, whole: Tensor) -> dict:
        rows = whole[self.rank :: self.world_size]
        table = self.table
        batch = {"features": table.features[rows], "rows": rows, "known": {k: v[rows] for k, v in table.known.items()}}
        total = torch.tensor(float(len(whole)))
        if table.y is not None:
            batch["y"] = table.y[rows]
        if table.weight is not None:
            batch["weight"] = table.weight[rows]
            total = table.weight[whole].sum().clamp(min=torch.finfo(torch.float32).tiny)
        batch["total"] = total
        return batch
