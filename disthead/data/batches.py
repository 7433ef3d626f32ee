"""`Batches`: rows of a table in batches, sliced from tensors; `Steps`: several batches together."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Size, Tensor
from torch.utils._pytree import tree_leaves, tree_map

from disthead.arrays import as_tensor
from disthead.data.columns import Encoded
from disthead.errors import pick
from disthead.weights import as_weight, present

__all__ = ["Batch", "Batches", "Steps", "expanded_weight", "shuffle", "weight_of"]

_OF_ROWS = ("features", "y", "weight", "known", "rows")
_CHUNK_ROWS = 1 << 12  # of several batches: the copy of their rows stays in a core's cache


class Batch(NamedTuple):
    """The rows of one step, (N, ...).

    Attributes:
        features: a tensor (N, P), or whatever the network takes.
        y: targets, (N, ...).
        weight: of the rows, (N,) or (N, T); None weighs all alike.
        known: quantities per row by name, such as exposure, each (N,).
        rows: the numbers of the rows in their table, (N,).
        total: the weight of the whole batch over all processes; None where these rows are all of
            it.
        positions: the places of the rows in the original batch, where some of its rows were left
            out.
        is_cut: whether no weight of 0 is left.
    """

    features: Any
    y: Tensor
    weight: Tensor | None = None
    known: dict[str, Tensor] = {}
    rows: Tensor | None = None
    total: Tensor | float | None = None
    positions: Tensor | None = None
    is_cut: bool = False

    @classmethod
    def of(cls, batch: Any) -> "Batch":
        """A batch from what a loader yields.

        Args:
            batch: features alone, (features, y), (features, y, weight), a mapping of the fields of
                `Batch`, or a `Batch`.

        Raises:
            ValueError: for tuples of another length, and for mappings with other keys, or without
                features.
        """
        if isinstance(batch, cls):
            return batch
        if isinstance(batch, Mapping):
            for name in batch:
                pick("entry of a batch", name, dict.fromkeys(cls._fields[:-2]))
            if "features" not in batch:
                raise ValueError(
                    f"a batch must have features, got a mapping of {', '.join(batch)}."
                )
            return cls(**{"y": None, **batch})._as_tensors()
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(
                f"a batch must be (features, y) or (features, y, weight), got {len(parts)} parts. "
                "Nest several features, "
                '((first, second), y), or give a mapping, {"features": ..., "y": ..., "known": '
                '{"exposure": ...}}.'
            )
        features, y, weight = (*parts, None, None)[:3]
        return cls(features, y, weight)._as_tensors()

    def _as_tensors(self) -> "Batch":
        """The batch with arrays and lists of targets, weights and known quantities as tensors."""
        entries = {"y": self.y, "weight": self.weight} | self.known
        if all(values is None or isinstance(values, Tensor) for values in entries.values()):
            return self
        tensors: list[Any] = [
            None if values is None else as_tensor(values, name) for name, values in entries.items()
        ]
        y, weight, *known = tensors
        return self._replace(y=y, weight=weight, known=dict(zip(self.known, known, strict=True)))

    def present(self) -> "Batch":
        """The batch without the rows of weight 0.

        Rows are cut where features, targets and known quantities are tensors with one entry for
        each row. With weights (N, T), such as the mask of sequences, no row is cut; `weigh` leaves
        out the entries of weight 0.

        Raises:
            ValueError: for weights that are negative, NaN or infinite, with their rows.
        """
        if self.weight is None or self.total is not None:  # rows of a table have weights above zero
            return self
        checked = as_weight(self.weight.detach().cpu(), self.weight.shape, may_be_empty=True)
        assert checked is not None
        batch, is_there = self._replace(weight=checked.to(self.weight.device)), checked > 0
        if bool(is_there.all()):
            return batch._replace(is_cut=True)
        if is_there.ndim > 1:
            return batch._with_filled_known(is_there)
        count, positions = len(is_there), is_there.nonzero().squeeze(-1).to(self.weight.device)
        leaves = tree_leaves((self.features, self.y, self.known, self.rows))
        if not all(
            leaf is None or (isinstance(leaf, Tensor) and leaf.shape[:1] == (count,))
            for leaf in leaves
        ):
            return batch._with_filled_known(is_there)
        features, y, weight, known, rows = tree_map(
            lambda values: (
                values if values is None else values.index_select(0, positions.to(values.device))
            ),
            tuple(batch[:5]),
        )
        return Batch(features, y, weight, known, rows, positions=positions, is_cut=True)

    @property
    def is_absent(self) -> bool:
        """Whether all rows of the batch have the weight 0."""
        if self.weight is None or self.total is not None:
            return False
        return not len(self.weight) if self.is_cut else not bool((self.weight > 0).any())

    def _with_filled_known(self, is_there: Tensor) -> "Batch":
        """The batch in which absent rows get the known quantities of a row that is present."""
        known = {}
        for name, values in self.known.items():
            mask = is_there.to(values.device)
            usable = values.shape == mask.shape and bool(mask.any())
            known[name] = torch.where(mask, values, values[mask][0]) if usable else values
        return self._replace(known=known)

    def weigh(self, dist: Any, *others: Any) -> tuple:
        """Weights, distribution, targets and `others` at the rows with a weight above zero.

        Args:
            dist: the distribution of the rows of the batch.
            others: further distributions and tensors with one entry for each row.
        """
        if self.weight is None or self.total is not None:
            return (self.weight, dist, self.y, *others)
        if self.is_cut and self.weight.shape == dist.batch_shape:
            return (self.weight, dist, self.y, *others)
        return present(expanded_weight(self.weight, dist.batch_shape), dist, self.y, *others)


def expanded_weight(weight: Tensor, shape: Size) -> Tensor:
    """Weights of rows, (N,), expanded to entries, (N, T); weights of that shape stay as they are.

    Args:
        weight: of shape (N,), or of `shape`.
        shape: of the entries.

    Raises:
        ValueError: for weights of another shape.
    """
    if weight.ndim and weight.ndim < len(shape) and weight.shape == shape[: weight.ndim]:
        weight = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim)).expand(shape)
    checked = as_weight(weight, shape, may_be_empty=True)
    assert checked is not None
    return checked


class Steps:
    """Several batches, of which only a few are in memory at a time.

    Args:
        count: the number of batches.
        chunks: the rows of some batches, one after the other, and the number of rows of each batch.
    """

    def __init__(self, count: int, chunks: Iterable[tuple[dict[str, Any], Sequence[int]]]):
        self.count, self.chunks = count, chunks

    @classmethod
    def of(cls, batch: Batch) -> "Steps":
        """The steps of a single batch."""
        rows = {
            name: value
            for name, value in batch._asdict().items()
            if name in _OF_ROWS and value is not None
        }
        return cls(1, [(rows, [len(batch.y)])])

    def batches(self, device: torch.device | None = None) -> Iterator[Batch]:
        """The batches, as views of their chunk, on a device."""
        for rows, sizes in self.chunks:
            parts = {
                name: _split(values, sizes, device)
                for name, values in rows.items()
                if name != "known"
            }
            known = {name: _split(values, sizes, device) for name, values in rows["known"].items()}
            for k in range(len(sizes)):
                fields: dict[str, Any] = {name: values[k] for name, values in parts.items()}
                fields["known"] = {name: values[k] for name, values in known.items()}
                if "weight" in fields:
                    fields["total"] = weight_of(fields["weight"])
                yield Batch(**fields)


class Batches:
    """Batches of rows of a table, as dictionaries of tensors, without workers and collation.

    A batch has `features`, `y`, `weight`, `known`, `rows` (row numbers of the table) and `total`,
    the weight of the whole batch over all processes. Several processes share each batch: every row
    comes once, and batches are as large as with one process, so that training and validation give
    the same numbers. A process may get a batch without rows.

    Args:
        table: the tensors.
        index: the rows, in their order.
        batch_size: the largest number of rows for one step, over all processes. Rows are spread
            evenly, without a small last batch.
        seed: seed of the shuffle, None for none. Each epoch has an order of its own, which depends
            on nothing else.
        rank, world_size: the process and their number.
        epoch: gives the current epoch.
        steps: the number of batches that come together, as `Steps`; 1 gives the batches themselves.
        device: a GPU to which the table is moved, if a quarter of its free memory holds it.
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
        self.steps = steps
        self._position = self._start = 0

    @property
    def batches(self) -> int:
        """The number of batches of an epoch."""
        return -(-len(self.index) // self.batch_size)

    def __len__(self) -> int:
        return -(-self.batches // self.steps)

    def __iter__(self) -> Iterator[Any]:
        start, self._start = self._start, 0
        order, (even, longer) = self._order(), divmod(len(self.index), max(self.batches, 1))
        sizes = [even + (k < longer) for k in range(self.batches)]
        first = sum(sizes[:start])
        for position in range(start, self.batches, self.steps):
            chosen = sizes[position : position + self.steps]
            rows = order[first : first + sum(chosen)]
            first += len(rows)
            self._position = position + len(chosen)
            yield self._batch(rows) if self.steps == 1 else self._several(rows, chosen)

    def state_dict(self) -> dict[str, int]:
        """The position in the epoch, for training that is resumed in the middle of it."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next epoch at a saved position."""
        self._start = state["position"] % max(self.batches, 1)

    def _order(self) -> Tensor:
        order, generator = self.index, shuffle(self.seed, self.epoch())
        if generator is not None:
            order = order.index_select(0, torch.randperm(len(order), generator=generator))
        return order.to(self.table.features.device)

    def _batch(self, whole: Tensor) -> dict[str, Any]:
        batch = self._rows(whole[self.rank :: self.world_size] if self.world_size > 1 else whole)
        weight = self.table.weight
        batch["total"] = float(len(whole)) if weight is None else weight_of(weight[whole])
        return batch

    def _several(self, order: Tensor, sizes: Sequence[int]) -> Steps:
        """Batches of these sizes from rows in their order."""
        count = max(1, _CHUNK_ROWS // self.batch_size)
        chunks = [sizes[k : k + count] for k in range(0, len(sizes), count)]
        rows = order.split([sum(chunk) for chunk in chunks])
        return Steps(
            len(sizes),
            ((self._rows(index), chunk) for index, chunk in zip(rows, chunks, strict=True)),
        )

    def _rows(self, rows: Tensor) -> dict[str, Any]:
        table = self.table
        known = {name: values.index_select(0, rows) for name, values in table.known.items()}
        batch: dict[str, Any] = {
            "features": table.features.index_select(0, rows),
            "rows": rows,
            "known": known,
        }
        for name in ("y", "weight"):
            values = getattr(table, name)
            if values is not None:
                batch[name] = values.index_select(0, rows)  # several times as fast as values[rows]
        return batch


def _split(values: Tensor, sizes: Sequence[int], device: torch.device | None) -> tuple[Tensor, ...]:
    return values.to(device or values.device, non_blocking=True).split(list(sizes))


def shuffle(seed: int | None, epoch: int) -> torch.Generator | None:
    """The generator of the order of an epoch, from seed and epoch alone; None without a seed."""
    return None if seed is None else torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def weight_of(weights: Tensor) -> Tensor:
    """The sum of weights, above zero so that it can be a divisor."""
    return weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def _moved(table: Encoded, device: torch.device | None) -> Encoded:
    if device is None or device.type != "cuda":
        return table
    tensors = [table.features, table.y, table.weight, *table.known.values()]
    size = sum(values.nbytes for values in tensors if values is not None)
    if size > torch.cuda.mem_get_info(device)[0] / 4:
        return table
    return table.map(lambda values: values.to(device))
