"""`StreamedBatches`: rows of Parquet files larger than memory, in batches."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disthead.data.batches import Steps, shuffle, weight_of
from disthead.data.columns import Columns, Encoded
from disthead.data.encoder import Unseen
from disthead.data.row_groups import CHUNK_ROWS, RowGroup, located, read_rows
from disthead.data.table import DataError

__all__ = ["StreamedBatches"]

_COPIED_ROWS = 1 << 14  # of several batches, copied together


class _Span(NamedTuple):
    """The rows from `first` up to `end` of a row group."""

    group: RowGroup
    first: int
    end: int


class StreamedBatches:
    """Batches as those of `Batches`, of rows that are never in memory all at once.

    An epoch is a sequence of row groups, in an order of its own. Each process takes a span of its
    rows, so that a row comes once, and a row group is read by one process, or by two where their
    spans meet in it. Spans are as long as the shares of the batches that `Batches` would give to
    these processes: all take the same number of steps, without repeated or omitted rows. Within a
    span, row groups are read until `buffer_size` rows are in memory; these are shuffled and cut
    into batches.

    Args:
        groups: the row groups.
        columns: the encoding of their columns.
        batch_size, seed, rank, world_size, epoch, steps: as for `Batches`.
        device: a GPU to which rows are moved after they are read.
        needs_target: whether the rows have targets.
        buffer_size: the least number of rows that are shuffled together and held in memory; it is
            rounded up to whole row groups.
        add_up: the sum of a tensor over all processes, which only weighted rows need.
        check: a function of encoded rows that raises an error for rows that cannot be used.
    """

    def __init__(
        self,
        groups: Sequence[RowGroup],
        columns: Columns,
        batch_size: int,
        *,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        epoch: Callable[[], int] = lambda: 0,
        steps: int = 1,
        device: torch.device | None = None,
        needs_target: bool = True,
        buffer_size: int = 262_144,
        add_up: Callable[[Tensor], Tensor] = lambda values: values,
        check: Callable[[Encoded], None] | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        self.groups, self.columns, self.batch_size, self.needs_target = (
            groups,
            columns,
            batch_size,
            needs_target,
        )
        self.seed, self.rank, self.world_size, self.epoch = seed, rank, world_size, epoch
        self.steps = max(1, min(steps, _COPIED_ROWS // batch_size))
        self.device = device if device is not None and device.type == "cuda" else None
        self.buffer_size, self.add_up, self.check = buffer_size, add_up, check
        self.dtype = dtype
        self.rows = sum(group.rows for group in groups)
        self._position = self._start = 0
        self._unseen = None if needs_target else Unseen()  # rows with targets were all read before

    @property
    def batches(self) -> int:
        """The number of batches of an epoch, the same in all processes."""
        return -(-self.rows // self.batch_size)

    def __len__(self) -> int:
        return -(-self.batches // self.steps)

    def __iter__(self) -> Iterator[Any]:
        start, self._start = self._start, 0
        shares = (
            tuple(
                self._share(self._size(k), self.rank)
                for k in range(first, min(first + self.steps, self.batches))
            )
            for first in range(start, self.batches, self.steps)
        )
        for position, (sizes, rows) in enumerate(
            self._dealt(shares, self._rows_before(start, self.rank))
        ):
            self._position = min(start + (position + 1) * self.steps, self.batches)
            if self.steps > 1:
                yield Steps(len(sizes), [(rows, sizes)])
            else:
                yield rows | {"total": self._total(self._position - 1, rows)}
        if self._unseen is not None and self._unseen:
            warnings.warn(self._unseen.message(), UserWarning, stacklevel=2)
            self._unseen = Unseen()

    def state_dict(self) -> dict[str, int]:
        """The position in the epoch, for training that is resumed in the middle of it.

        It needs the same rows and the same number of processes.
        """
        return {"position": self._position, "rows": self.rows, "world_size": self.world_size}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Begin the next epoch at a saved position.

        Raises:
            DataError: in the middle of an epoch of other rows or another number of processes.
        """
        self._start = state["position"] % max(self.batches, 1)
        now = self.state_dict()
        for name in ("rows", "world_size"):
            if self._start and state.get(name) != now[name]:
                raise DataError(
                    f"training stopped in the middle of an epoch with {name}={state.get(name)}, "
                    f"and goes on with {now[name]}: "
                    "rows would come twice. Take the same, or a checkpoint from the end of an "
                    "epoch."
                )

    def _size(self, number: int) -> int:
        """The rows of a batch over all processes: of even size, without a small last batch."""
        even, longer = divmod(self.rows, self.batches)
        return even + (number < longer)

    def _share(self, size: int, rank: int) -> int:
        """The number of rows that a process takes of `size` rows."""
        return len(range(rank, size, self.world_size))

    def _rows_before(self, number: int, rank: int) -> int:
        """The number of rows of a process in the batches before this one."""
        even, longer = divmod(self.rows, self.batches)
        return min(number, longer) * self._share(even + 1, rank) + max(
            0, number - longer
        ) * self._share(even, rank)

    def _total(self, number: int, rows: Mapping[str, Any]) -> Tensor | float:
        return (
            weight_of(self.add_up(rows["weight"].sum()))
            if "weight" in rows
            else float(self._size(number))
        )

    def _dealt(
        self, shares: Iterator[tuple[int, ...]], skipped: int
    ) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
        """The shares with their rows, cut from one buffer after the other."""
        buffers = self._buffers(skipped)
        (table, numbers), order = next(buffers)
        for sizes in shares:
            missing = sum(sizes)
            parts: list[tuple[Encoded, Tensor]] = []
            while missing or not parts:
                if missing and not len(order):
                    del table, numbers  # frees their memory before the next ones are read
                    (table, numbers), order = next(buffers)
                chosen, order = order[:missing], order[missing:]
                parts.append((table.at(chosen), numbers[chosen]))
                missing -= len(chosen)
            tables, rows = zip(*parts, strict=True)
            yield sizes, _as_batch(Encoded.joined(tables), torch.cat(rows))

    def _buffers(self, skipped: int) -> Iterator[tuple[tuple[Encoded, Tensor], Tensor]]:
        """The tables of the rows that are shuffled together, and their order.

        The first `skipped` rows are left out.
        """
        generator = shuffle(self.seed, self.epoch())
        plan = list(self._plan(generator))
        for spans in plan:
            rows = sum(span.end - span.first for span in spans)
            order = (
                torch.arange(rows)
                if generator is None
                else torch.randperm(rows, generator=generator)
            )
            if rows > skipped or spans is plan[-1]:
                yield self._read(spans), order[skipped:].to(self.device or "cpu")
            skipped = max(0, skipped - rows)

    def _plan(self, generator: torch.Generator | None) -> Iterator[list[_Span]]:
        """The spans of row groups that this process reads, for one buffer after the other."""
        count = len(self.groups)
        order = (
            torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        )
        lengths = [self._rows_before(self.batches, rank) for rank in range(self.rank + 1)]
        first, end = sum(lengths[:-1]), sum(lengths)
        spans: list[_Span] = []
        start, rows = 0, 0
        for group in (self.groups[k] for k in order.tolist()):
            span = _Span(group, max(first - start, 0), min(end - start, group.rows))
            start += group.rows
            if span.first < span.end:
                spans.append(span)
                rows += span.end - span.first
            if rows >= self.buffer_size:
                yield spans
                spans, rows = [], 0
        if spans or first == end:
            yield spans or [_Span(self.groups[0], 0, 0)]  # no rows, but their columns

    def _read(self, spans: list[_Span]) -> tuple[Encoded, Tensor]:
        tables, numbers = [], []
        for group, first, end in spans:
            for start, frame in read_rows(group, self.columns.used(self.needs_target), CHUNK_ROWS):
                chosen = slice(max(first - start, 0), max(end - start, 0))
                with located(group, start):
                    table = self.columns.encode(frame, self.needs_target, self._unseen, self.dtype)
                    if self.check is not None:
                        self.check(table)
                tables.append(table.at(chosen))
                number = group.start + start
                numbers.append(torch.arange(number, number + len(frame))[chosen])
                if start + len(frame) >= end:
                    break
        table, rows = Encoded.joined(tables), torch.cat(numbers)
        if self.device is not None:
            table, rows = table.map(lambda values: values.to(self.device)), rows.to(self.device)
        return table, rows


def _as_batch(table: Encoded, rows: Tensor) -> dict[str, Any]:
    batch = {"features": table.features, "rows": rows, "known": table.known}
    return batch | {
        name: values for name in ("y", "weight") if (values := getattr(table, name)) is not None
    }
