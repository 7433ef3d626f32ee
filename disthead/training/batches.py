"""`Batches`: rows of a table in batches, sliced from tensors; `Steps`: several batches at once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disthead.training.columns import Encoded

__all__ = ["Batch", "Batches", "Steps", "shuffle", "steps_at_once", "weight_of"]

_ROWS_AT_ONCE = 1 << 14  # of several batches at once: the copy of their rows stays in a core's cache


class Batch(NamedTuple):
    """What one step sees. `total` is the weight of the whole batch over all processes; None where these rows are all of it."""

    features: Tensor
    y: Tensor
    weight: Tensor | None = None
    known: dict[str, Tensor] = {}
    rows: Tensor | None = None
    total: Tensor | float | None = None

    @classmethod
    def of(cls, given: Any) -> "Batch":
        """From a batch of `Batches`, or of a loader of one's own: (features, y) or (features, y, weight)."""
        if isinstance(given, Mapping):
            return cls(**{"y": None} | {name: given[name] for name in cls._fields if name in given})
        features, y, *weight = given if isinstance(given, (tuple, list)) else (given, None)
        return cls(features, y, weight[0] if weight else None)


class Steps(NamedTuple):
    """The rows of several batches, one after the other, and the number of rows of each."""

    rows: dict[str, Any]
    sizes: tuple[int, ...]

    def batches(self) -> Iterator[Batch]:
        """The batches, as views."""
        rows, sizes = dict(self.rows), list(self.sizes)
        known = {name: values.split(sizes) for name, values in rows.pop("known").items()}
        parts = {name: values.split(sizes) for name, values in rows.items()}
        for k in range(len(sizes)):
            own = {name: values[k] for name, values in parts.items()}
            own["known"] = {name: values[k] for name, values in known.items()}
            if "weight" in own:
                own["total"] = weight_of(own["weight"])
            yield Batch(**own)


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
        steps: how many batches come at once, as `Steps`; fewer where they have many rows. 1 gives the batches themselves.
        device: where the table is kept, if a quarter of its memory holds it.
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
        steps: int = 1,
        device: torch.device | None = None,
    ):
        self.table, self.index, self.batch_size = _moved(table, device), index, batch_size
        self.seed, self.rank, self.world_size, self.epoch = seed, rank, world_size, epoch
        self.steps = steps_at_once(steps, batch_size)
        self._position = self._start = 0

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.index) // self.batch_size)

    def __len__(self) -> int:
        return -(-self.batches // self.steps)

    def __iter__(self) -> Iterator[Any]:
        start, self._start = self._start, 0
        batches = self._order().tensor_split(self.batches)
        for position in range(start, len(batches), self.steps):
            chosen = batches[position : position + self.steps]
            self._position = position + len(chosen)
            yield self._batch(chosen[0]) if self.steps == 1 else self._several(chosen)

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands, for training that is resumed in the middle of it."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._start = state["position"] % max(self.batches, 1)

    def _order(self) -> Tensor:
        order, generator = self.index, shuffle(self.seed, self.epoch())
        if generator is not None:
            order = order[torch.randperm(len(order), generator=generator)]
        return order.to(self.table.features.device)

    def _batch(self, whole: Tensor) -> dict[str, Any]:
        batch = self._rows(whole[self.rank :: self.world_size] if self.world_size > 1 else whole)
        weight = self.table.weight
        batch["total"] = float(len(whole)) if weight is None else weight_of(weight[whole])
        return batch

    def _several(self, chosen: tuple[Tensor, ...]) -> Steps:
        return Steps(self._rows(torch.cat(chosen)), tuple(map(len, chosen)))

    def _rows(self, rows: Tensor) -> dict[str, Any]:
        table = self.table
        known = {name: values.index_select(0, rows) for name, values in table.known.items()}
        batch: dict[str, Any] = {"features": table.features.index_select(0, rows), "rows": rows, "known": known}
        for name in ("y", "weight"):
            values = getattr(table, name)
            if values is not None:
                batch[name] = values.index_select(0, rows)  # several times as fast as values[rows]
        return batch


def steps_at_once(steps: int, batch_size: int) -> int:
    """So many steps, or fewer where their batches have many rows."""
    return steps if steps == 1 else max(1, min(steps, _ROWS_AT_ONCE // batch_size))


def shuffle(seed: int | None, epoch: int) -> torch.Generator | None:
    """What an epoch's order is drawn from, which depends on nothing else; None for no shuffle."""
    return None if seed is None else torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def weight_of(weights: Tensor) -> Tensor:
    """Their sum, in a form that can be divided by."""
    return weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def _moved(table: Encoded, device: torch.device | None) -> Encoded:
    if device is None or device.type != "cuda":
        return table
    tensors = [table.features, table.y, table.weight, *table.known.values()]
    size = sum(values.nbytes for values in tensors if values is not None)
    if size > torch.cuda.mem_get_info(device)[0] / 4:
        return table
    return table.map(lambda values: values.to(device))
