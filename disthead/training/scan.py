"""What is found by reading Parquet files once, before training: columns, categories, moments, a sample; and bad rows."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from disthead.training.columns import Columns, Encoded, check_spread, distinct
from disthead.training.row_groups import PIECE, RowGroup, located, read_rows
from disthead.training.summary import Moments, Part, Summary
from disthead.training.table import DataError, check_names

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["check_varies", "scan_columns", "summarise"]

_SAMPLE = 100_000  # rows for the marginal fit
_TEXTS = 100_000  # different texts of a column: more would not fit into one indicator each


def scan_columns(groups: Sequence[RowGroup], train: Sequence[RowGroup], **roles: Any) -> Columns:
    """As `Columns.find`: what holds text is judged by the first rows, then the columns of text alone are read.

    Args:
        groups: all row groups, where classes are looked for.
        train: those of training, where categories are looked for.
        roles: of `Columns.roles`.
    """
    columns = Columns.roles(_head(groups[0]), **roles)
    texts = [name for name, categories in columns.features.items() if categories is not None]
    found: dict[str, set] = {name: set() for name in [*texts, *columns.classes]}
    training = set(train)
    for group in groups:
        wanted = [*(texts if group in training else ()), *columns.classes]
        for start, frame in read_rows(group, wanted, PIECE) if wanted else ():
            with located(group, start):
                for name in wanted:
                    found[name].update(distinct(frame[name]))
                    _check_number(name, found[name])
    for name, values in found.items():
        if len(values) == 1:
            raise DataError(f"column {name!r} is constant, {values.pop()!r} in all training rows: leave it out.")
    return columns.with_categories(found, sum(group.rows for group in train))


def _head(group: RowGroup) -> "DataFrame":
    """The first rows, without columns that pandas wrote as an index."""
    import pyarrow.parquet as parquet

    names = [str(name) for name in parquet.read_schema(group.path).empty_table().to_pandas().columns]
    check_names(names, str(group.path))
    return next(read_rows(group, names, PIECE))[1]


def _check_number(name: str, values: set) -> None:
    if len(values) > _TEXTS:
        raise DataError(f"column {name!r} has more than {_TEXTS:,} different texts: leave it out of the features.")


def summarise(
    groups: Sequence[RowGroup], columns: Columns, check: Callable[[Encoded], None] | None = None, seed: int = 0
) -> Summary:
    """One pass over all rows: their moments, and 100,000 of them drawn at random, or all where there are fewer.

    Args:
        groups: the row groups.
        columns: what their columns are.
        check: refuses targets, and quantities known per row.
        seed: of the draw.

    Raises:
        DataError: for rows that cannot be used, with file and row group.
        ValueError: from `check`, with file and row group.
    """
    rows = sum(group.rows for group in groups)
    drawn = np.sort(np.random.default_rng(seed).choice(rows, min(rows, _SAMPLE), replace=False, shuffle=False))
    features, y, samples, position = Moments(), Moments(), [], 0
    for group in groups:
        for start, frame in read_rows(group, columns.used(), PIECE):
            with located(group, start):
                exact = columns.encode_exactly(frame)
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
    sample = Encoded.joined(samples)
    return Summary(features, y, Part(sample, torch.arange(len(sample.features))))


def check_varies(summary: Summary, columns: Columns) -> None:
    """Refuse numbers that are constant, or vary by less than single precision can tell."""
    assert summary.features is not None
    kinds = [(summary.features, columns.feature_names), (summary.y, [] if columns.classes else columns.target)]
    for moments, names in kinds:
        spread, level = moments.spread.reshape(-1), moments.level.reshape(-1)
        check_spread(spread, level, names)
        for name, own, mean in zip(names, spread, moments.mean.reshape(-1), strict=False):
            if own == 0:
                raise DataError(f"column {name!r} is constant, {mean:g} in all training rows: leave it out.")
