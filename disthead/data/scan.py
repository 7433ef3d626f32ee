"""Passes over Parquet files before training: columns, moments, a sample of rows, and bad rows."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from disthead.data.columns import (
    Columns,
    Encoded,
    check_spread,
    exact_numbers,
    others_filled,
    values_of,
)
from disthead.data.encoder import Unseen
from disthead.data.row_groups import CHUNK_ROWS, RowGroup, located, read_rows
from disthead.data.search import Roles, Search
from disthead.data.summary import Moments, Part, Summary
from disthead.data.table import DataError, check_names

__all__ = ["check_varies", "scan_columns", "summarise"]

_SAMPLE_ROWS = 100_000  # rows for the unconditional fit
_MOST_TEXTS = 100_000  # different texts of a column, each of which becomes an indicator


def scan_columns(
    groups: Sequence[RowGroup], train: Sequence[RowGroup], seed: int = 0, **roles: Any
) -> Columns:
    """The columns of Parquet files, as `find_columns` learns them from a table in memory.

    One pass reads the features of the training rows, and the targets of all rows where they are
    classes. Medians are those of 100,000 rows drawn at random, or of all where there are fewer.

    Args:
        groups: all row groups.
        train: the row groups of training.
        seed: of the draw.
        roles: as for `Roles.of`.

    Raises:
        DataError: for columns that cannot be used.
    """
    search = Search(Roles.of(_names(groups[0]), **roles))
    weight, targets, training = search.roles.weight, search.roles.target, set(train)
    weights = [] if weight is None else [weight]
    count, position, rows = sum(group.rows for group in train), 0, 0
    drawn = _drawn(count, seed)
    for group in groups:
        named = targets if group is groups[0] else search.named_targets
        features = list(search.finders) if group in training else []
        names = list(dict.fromkeys([*features, *named, *(weights if features or named else [])]))
        for start, frame in read_rows(group, names, CHUNK_ROWS) if names else ():
            with located(group, start):
                present = (
                    np.ones(len(frame), dtype=bool)
                    if weight is None
                    else exact_numbers(frame, weight) > 0
                )
                where = f"{group}, "
                for name in named:
                    values = others_filled(values_of(frame, name), present)
                    search.add_target(name, values, where)
                    _check_number(name, search.named_levels(name))
                if not features:
                    continue
                first, last = np.searchsorted(drawn, [position, position + len(frame)])
                sample = np.zeros(len(frame), dtype=bool)
                sample[drawn[first:last] - position] = True
                for name in features:
                    values = values_of(frame, name)
                    search.add_places(name, values, group.start + start)
                    search.add_feature(name, values[present], sample[present], where)
                    _check_number(name, len(search.finders[name].levels.counts))
                position += len(frame)
                rows += int(present.sum())
    return search.columns(rows)


def _drawn(rows: int, seed: int) -> np.ndarray:
    """The numbers of a random sample of rows, in order."""
    generator, count = np.random.default_rng(seed), min(rows, _SAMPLE_ROWS)
    return np.sort(generator.choice(rows, count, replace=False, shuffle=False))


def _names(group: RowGroup) -> list[str]:
    """The columns, without those that pandas wrote as an index."""
    import pyarrow.parquet as parquet

    names = [
        str(name) for name in parquet.read_schema(group.path).empty_table().to_pandas().columns
    ]
    check_names(names, str(group.path))
    return names


def _check_number(name: str, count: int) -> None:
    if count > _MOST_TEXTS:
        raise DataError(
            f"column {name!r} has more than {_MOST_TEXTS:,} different texts: leave it out of the "
            "features."
        )


def summarise(
    groups: Sequence[RowGroup],
    columns: Columns,
    check: Callable[[Encoded], None] | None = None,
    seed: int = 0,
) -> Summary:
    """The moments of all rows, and a sample of 100,000 rows, or of all where there are fewer.

    Args:
        groups: the row groups.
        columns: the encoding of their columns.
        check: a function that raises a ValueError for targets and quantities per row that the
            family cannot have.
        seed: of the sample.

    Raises:
        DataError: for rows that cannot be used, with file and row group.
        ValueError: from `check`, with file and row group.
    """
    rows = sum(group.rows for group in groups)
    drawn = _drawn(rows, seed)
    features, y, samples, position, unseen = Moments(), Moments(), [], 0, Unseen()
    for group in groups:
        for start, frame in read_rows(group, columns.used(), CHUNK_ROWS):
            with located(group, start):
                exact = columns.encode_exactly(frame, unseen=unseen)
                single = exact.single()
                assert exact.y is not None
                assert single.y is not None
                if check is not None:
                    check(single)
            features.add(exact.features, exact.weight)
            y.add(exact.y, exact.weight)
            first, last = np.searchsorted(drawn, [position, position + len(frame)])
            samples.append(single.at(torch.from_numpy(drawn[first:last] - position)))
            position += len(frame)
    if unseen:
        warnings.warn(unseen.message(), UserWarning, stacklevel=2)
    if not y.rows:
        raise DataError(
            f"weights must be above zero in some row, column {columns.weight!r} has zero in all "
            f"{rows} rows, from {groups[0]} on: "
            "no row is there."
        )
    sample = Encoded.joined(samples)
    return Summary(features, y, Part(sample, torch.arange(len(sample.features))))


def check_varies(summary: Summary, columns: Columns) -> None:
    """Refuse targets that are constant, or vary by less than single precision resolves.

    Args:
        summary: of the training rows.
        columns: the encoding of their columns.

    Raises:
        DataError: with the column.
    """
    if columns.classes or columns.has_pairs:
        return
    stds, level = summary.y.spread.reshape(-1), summary.y.level.reshape(-1)
    check_spread(stds, level, columns.target)
    for name, std, mean in zip(columns.target, stds, summary.y.mean.reshape(-1), strict=True):
        if std == 0:
            raise DataError(
                f"column {name!r} is constant, {mean:g} in all training rows: there is nothing to "
                "learn."
            )
