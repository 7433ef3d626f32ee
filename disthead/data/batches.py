"""`Batches`: rows of a table in batches, sliced from tensors; `Steps`: several batches at once."""

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
_ROWS_AT_ONCE = 1 << 12  # of several batches: the copy of their rows stays in a core's cache


class Batch(NamedTuple):
    """What one step sees. `total` is the weight of the whole batch over all processes; None where these rows are all of it.

    `positions` are the places of the rows in the batch as it was given, where some of it were left
    out; `is_cut` says that no weight of 0 is left.
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
    def of(cls, given: Any) -> "Batch":
        """From a batch of `Batches`, or of a loader of one's own: features alone, (features, y), (features, y, weight) or a mapping.

        Raises:
            ValueError: for tuples of another length, and mappings with other keys, or without
                features.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, Mapping):
            for name in given:
                pick("entry of a batch", name, dict.fromkeys(cls._fields[:-2]))
            if "features" not in given:
                raise ValueError(
                    f"a batch must have features, got a mapping of {', '.join(given)}."
                )
            return cls(**{"y": None, **given})._as_tensors()
        parts = given if isinstance(given, (tuple, list)) else (given,)
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
        """With arrays and lists of targets, weights and known quantities as tensors."""
        given = {"y": self.y, "weight": self.weight} | self.known
        if all(values is None or isinstance(values, Tensor) for values in given.values()):
            return self
        tensors: list[Any] = [
            None if values is None else as_tensor(values, name) for name, values in given.items()
        ]
        y, weight, *known = tensors
        return self._replace(y=y, weight=weight, known=dict(zip(self.known, known, strict=True)))

    def present(self) -> "Batch":
        """The batch without the rows whose weight is 0: nothing is computed of them.

        Features are cut where all of them are tensors with one entry for each row. Of weights (N,
        T), such as the mask of sequences, no row is cut; `weigh` leaves out their entries.

        Raises:
            ValueError: for weights that are negative, NaN or infinite, with their rows.
        """
        if self.weight is None or self.total is not None:  # a table has no others
            return self
        checked = as_weight(self.weight.detach().cpu(), self.weight.shape, may_be_empty=True)
        assert checked is not None
        batch, is_there = self._replace(weight=checked.to(self.weight.device)), checked > 0
        if bool(is_there.all()):
            return batch._replace(is_cut=True)
        if is_there.ndim > 1:
            return batch._with_known_of_others(is_there)
        count, kept = len(is_there), is_there.nonzero().squeeze(-1).to(self.weight.device)
        leaves = tree_leaves((self.features, self.y, self.known, self.rows))
        if not all(
            leaf is None or (isinstance(leaf, Tensor) and leaf.shape[:1] == (count,))
            for leaf in leaves
        ):
            return batch._with_known_of_others(is_there)
        features, y, weight, known, rows = tree_map(
            lambda values: (
                values if values is None else values.index_select(0, kept.to(values.device))
            ),
            tuple(batch[:5]),
        )
        return Batch(features, y, weight, known, rows, positions=kept, is_cut=True)

    @property
    def is_absent(self) -> bool:
        """Whether all its rows have the weight 0."""
        if self.weight is None or self.total is not None:
            return False
        return not len(self.weight) if self.is_cut else not bool((self.weight > 0).any())

    def _with_known_of_others(self, is_there: Tensor) -> "Batch":
        """In the place of known quantities of entries that are not there those of one that is."""
        known = {}
        for name, values in self.known.items():
            mask = is_there.to(values.device)
            usable = values.shape == mask.shape and bool(mask.any())
            known[name] = torch.where(mask, values, values[mask][0]) if usable else values
        return self._replace(known=known)

    def weigh(self, dist: Any, *others: Any) -> tuple:
        """Weights, distribution, targets and other parts with one entry for each row, of the rows that are there."""
        if self.weight is None or self.total is not None:
            return (self.weight, dist, self.y, *others)
        if self.is_cut and self.weight.shape == dist.batch_shape:
            return (self.weight, dist, self.y, *others)
        return present(expanded_weight(self.weight, dist.batch_shape), dist, self.y, *others)


def expanded_weight(weight: Tensor, shape: Size) -> Tensor:
    """Weights of rows (N,) for entries (N, T), the same for all of a row; others as they are.

    Raises:
        ValueError: for weights of another shape.
    """
    if weight.ndim and weight.ndim < len(shape) and weight.shape == shape[: weight.ndim]:
        weight = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim)).expand(shape)
    checked = as_weight(weight, shape, may_be_empty=True)
    assert checked is not None
    return checked


class Steps:
    """Several batches, of which only a few are in memory at once, while they are asked for.

    Args:
        count: how many.
        pieces: the rows of some batches, one after the other, and the number of rows of each.
    """

    def __init__(self, count: int, pieces: Iterable[tuple[dict[str, Any], Sequence[int]]]):
        self.count, self.pieces = count, pieces

    @classmethod
    def of(cls, batch: Batch) -> "Steps":
        """A batch by itself."""
        rows = {
            name: value
            for name, value in batch._asdict().items()
            if name in _OF_ROWS and value is not None
        }
        return cls(1, [(rows, [len(batch.y)])])

    def batches(self, device: torch.device | None = None) -> Iterator[Batch]:
        """The batches, as views, on a device."""
        for rows, sizes in self.pieces:
            parts = {
                name: _split(values, sizes, device)
                for name, values in rows.items()
                if name != "known"
            }
            known = {name: _split(values, sizes, device) for name, values in rows["known"].items()}
            for k in range(len(sizes)):
                own: dict[str, Any] = {name: values[k] for name, values in parts.items()}
                own["known"] = {name: values[k] for name, values in known.items()}
                if "weight" in own:
                    own["total"] = weight_of(own["weight"])
                yield Batch(**own)


class Batches:
    """Batches of the rows `index` of a table, as dictionaries of tensors; no workers and no collation, so it is cheap.

    A batch has `features`, `y`, `weight`, `known`, `rows` (row numbers of the table) and `total`,
    the weight of the whole batch over all processes. Several processes share each batch: every row
    comes once, and the sizes are those of one process, so that training and measuring give the same
    numbers. A process may get a batch without rows.

    Args:
        table: the tensors.
        index: the rows, in their order.
        batch_size: the largest number of rows for one step, over all processes. Rows are spread
            evenly, without a small last batch.
        seed: seed of the shuffle, None for none. Each epoch has an order of its own, which depends
            on nothing else.
        rank, world_size: the process and their number.
        epoch: gives the current epoch.
        steps: how many batches come at once, as `Steps`; 1 gives the batches themselves.
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
        self.steps = steps
        self._position = self._start = 0

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
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
        """Where the epoch stands, for training that is resumed in the middle of it."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
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
        together = max(1, _ROWS_AT_ONCE // self.batch_size)
        pieces = [sizes[k : k + together] for k in range(0, len(sizes), together)]
        rows = order.split([sum(piece) for piece in pieces])
        return Steps(
            len(sizes), ((self._rows(own), piece) for own, piece in zip(rows, pieces, strict=True))
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
