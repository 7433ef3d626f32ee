"""A bounded random sample of the rows of a stream, for diagnostics that need single rows."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution

__all__ = ["Reservoir", "concatenate", "flatten"]


def flatten(dist: Distribution) -> Distribution:
    """The same distributions with all batch dimensions flattened into one, in their order."""
    dims = len(dist.batch_shape)
    if dims == 1:
        return dist
    return dist.map(lambda parameter: parameter.reshape(-1, *parameter.shape[dims:]))


def concatenate(parts: list[Distribution]) -> Distribution:
    """The rows of distributions of one family, each with batch_shape (N_k,), as one distribution.

    >>> from disthead import get_family
    >>> rate = get_family("exponential").distribution
    >>> concatenate([rate(rate=torch.ones(2)), rate(rate=torch.ones(3))]).batch_shape
    torch.Size([5])
    """
    if len(parts) == 1:
        return parts[0]
    columns: list[list[Tensor]] = [[] for _ in parts]
    for part, column in zip(parts, columns, strict=True):

        def keep(parameter: Tensor, column: list[Tensor] = column) -> Tensor:
            column.append(parameter)
            return parameter

        part.map(keep)
    joined = iter([torch.cat(column) for column in zip(*columns, strict=True)])
    return parts[0].map(lambda _: next(joined))


class Reservoir:
    """A random sample of at most `size` rows of a stream, all rows with the same probability.

    Each row draws a random number, and the rows with the smallest numbers are kept, in the order of
    the stream.

    >>> reservoir = Reservoir(size=3)
    >>> for k in range(5):
    ...     reservoir.add(None, y=torch.full((2,), float(k)))
    >>> len(reservoir.column("y")), reservoir.seen
    (3, 10)
    """

    def __init__(self, size: int, seed: int = 0):
        self.size, self.seen = size, 0
        self._generator = torch.Generator().manual_seed(seed)
        self._key = torch.empty(0, dtype=torch.float64)
        self._parts: list[tuple[tuple, dict[str, Tensor], Tensor]] = []

    def add(self, *dists: Distribution | None, **columns: Tensor) -> None:
        """Add the rows of a batch: distributions with batch_shape (N,) and tensors (N, ...)."""
        rows = len(next(iter(columns.values())))
        self.seen += rows
        key = torch.rand(rows, generator=self._generator, dtype=torch.float64)
        if len(self._key) == self.size:  # only rows that displace others are copied
            chosen = (key < self._key.max()).nonzero().squeeze(-1)
        else:
            chosen = torch.arange(rows)
        if len(chosen):
            self._parts.append(self._take(dists, columns, key, chosen))
            self._key = torch.cat([self._key, key[chosen]])
        if len(self._key) > self.size:
            limit = self._key.kthvalue(self.size).values
            kept = []
            for dists_kept, columns_kept, keys in self._parts:
                stay = (keys <= limit).nonzero().squeeze(-1)
                if len(stay) == len(keys):
                    kept.append((dists_kept, columns_kept, keys))
                elif len(stay):
                    kept.append(self._take(dists_kept, columns_kept, keys, stay))
            self._parts = kept
            self._key = torch.cat([keys for _, _, keys in kept])

    @staticmethod
    def _take(dists: Any, columns: Mapping[str, Tensor], key: Tensor, rows: Tensor) -> Any:
        def take(values: Tensor) -> Tensor:
            return values.detach()[rows.to(values.device)].cpu()

        return (
            tuple(dist if dist is None else dist.map(take) for dist in dists),
            {name: take(values) for name, values in columns.items()},
            key[rows],
        )

    def column(self, name: str) -> Tensor:
        """The values of the kept rows in a column, shape (kept, ...)."""
        return torch.cat([columns[name] for _, columns, _ in self._parts])

    def dist(self, index: int = 0) -> Distribution:
        """The distributions of the kept rows, of the model with this index, batch_shape (kept,)."""
        return concatenate([dists[index] for dists, _, _ in self._parts])
