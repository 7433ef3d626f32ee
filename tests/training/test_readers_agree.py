"""A table gives the same features whoever reads it: an estimator, a data module in memory, and a stream of Parquet files."""

import datetime
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from disthead.estimators.encoder import Table, TableEncoder
from disthead.training import DataError, TabularDataModule
from disthead.training.columns import Columns
from disthead.training.row_groups import find_files, find_row_groups, read_rows

ROWS = 60
NUMBERS = np.random.default_rng(0).normal(size=ROWS).round(3)
WHOLE = np.random.default_rng(1).integers(0, 4, ROWS)
DAYS = pd.Timestamp("2020-03-01") + pd.to_timedelta(np.random.default_rng(2).integers(0, 1000, ROWS), "D")
CITIES = np.random.default_rng(3).choice(["Oslo", "Rome", "Lima"], ROWS)


def holes(values, missing=None) -> list:
    """The values without those of the rows 7, 17 ..."""
    return [missing if row % 10 == 7 else value for row, value in enumerate(list(values))]


DURATIONS = pd.to_timedelta(np.abs(NUMBERS), "h")
COLUMNS = {
    "double": NUMBERS,
    "single": NUMBERS.astype(np.float32),
    "half": NUMBERS.astype(np.float16),
    "small integers": WHOLE.astype(np.uint8),
    "integers": WHOLE,
    "numbers with NaN": holes(NUMBERS, np.nan),
    "integers with None": pd.Series(holes(WHOLE.tolist()), dtype=object),
    "nullable integers": pd.array(holes(WHOLE.tolist(), pd.NA), dtype="Int64"),
    "nullable numbers": pd.array(holes(NUMBERS, pd.NA), dtype="Float64"),
    "Arrow integers": pd.array(holes(WHOLE.tolist()), dtype="int32[pyarrow]"),
    "Arrow numbers": pd.array(holes(NUMBERS.tolist()), dtype="double[pyarrow]"),
    "truth": NUMBERS > 0,
    "truth with None": pd.Series(holes((NUMBERS > 0).tolist()), dtype=object),
    "nullable truth": pd.array(holes(NUMBERS > 0, pd.NA), dtype="boolean"),
    "Arrow truth": pd.array(holes((NUMBERS > 0).tolist()), dtype="bool[pyarrow]"),
    "decimals": [Decimal(str(value)) for value in NUMBERS],
    "decimals with None": holes(Decimal(str(value)) for value in NUMBERS),
    "Arrow decimals": pd.Series(
        holes(Decimal(f"{value:.3f}") for value in NUMBERS), dtype=pd.ArrowDtype(arrow.decimal128(9, 3))
    ),
    "texts": CITIES,
    "texts with None": holes(CITIES),
    "texts of objects": pd.Series(holes(CITIES), dtype=object),
    "nullable texts": pd.array(holes(CITIES, pd.NA), dtype="string"),
    "Arrow texts": pd.array(holes(CITIES), dtype="string[pyarrow]"),
    "categories": pd.Categorical(holes(CITIES)),
    "categories of integers": pd.Categorical(holes(WHOLE.tolist())),
    "categories without rows": pd.Categorical(CITIES, categories=["Lima", "Oslo", "Rome", "Paris"]),
    "dictionary": pd.Series(
        arrow.array(holes(CITIES)).dictionary_encode(), dtype=pd.ArrowDtype(arrow.dictionary(arrow.int32(), arrow.string()))
    ),
    "codes": [f"{code:03d}" for code in WHOLE],
    "digits": WHOLE.astype(str),
    "numbers as texts": NUMBERS.astype(str),
    "dates as texts": holes(DAYS.strftime("%Y-%m-%d")),
    "moments as texts": holes((DAYS + pd.Timedelta("3h")).strftime("%Y-%m-%dT%H:%M:%SZ")),
    "dates in ns": DAYS.as_unit("ns"),
    "dates in s": DAYS.as_unit("s"),
    "dates with NaT": pd.Series(holes(DAYS, pd.NaT)),
    "dates with a zone": DAYS.tz_localize("Asia/Tokyo"),
    "dates with a zone and NaT": pd.Series(holes(DAYS.tz_localize("Europe/Oslo"), pd.NaT)),
    "Python dates": pd.Series([day.date() for day in DAYS], dtype=object),
    "Python dates with None": pd.Series(holes(day.date() for day in DAYS), dtype=object),
    "date32": pd.Series([day.date() for day in DAYS], dtype="date32[pyarrow]"),
    "Arrow moments": pd.Series(holes(DAYS, pd.NaT), dtype="timestamp[ms][pyarrow]"),
    "durations": DURATIONS,
    "durations with NaT": pd.Series(holes(DURATIONS, pd.NaT)),
    "Arrow durations": pd.Series(holes(DURATIONS, pd.NaT), dtype="duration[us][pyarrow]"),
    "times of day": pd.Series([datetime.time(hour, 30) for hour in WHOLE], dtype=object),
    "numbers far from zero": 1e12 + NUMBERS,
    "one number": np.full(ROWS, 3.5),
    "one text": ["same"] * ROWS,
}  # fmt: skip


def frame_of(name, rows=slice(None)) -> pd.DataFrame:
    """A column beside a number and a target, in the rows asked for."""
    return pd.DataFrame({"beside": NUMBERS[::-1], name: COLUMNS[name], "y": NUMBERS**2}).iloc[rows]


def write(frame: pd.DataFrame, folder) -> object:
    """Two files of row groups of 20 rows."""
    folder.mkdir()
    for k, rows in enumerate((slice(0, 30), slice(30, None))):
        table = arrow.Table.from_pandas(frame.iloc[rows], preserve_index=False)
        if "dictionary" in frame:  # whose name pandas writes into the file, and cannot read
            table = table.replace_schema_metadata(None)
        parquet.write_table(table, folder / f"{k}.parquet", row_group_size=20)
    return folder


def as_frames(folder) -> list[pd.DataFrame]:
    """What a stream reads of a folder."""
    return [rows for group in find_row_groups(find_files(folder)) for _, rows in read_rows(group, None, 7)]


def of_estimator(frame, new) -> pd.DataFrame:
    X, new = frame.drop(columns="y"), new.drop(columns="y")
    encoder = TableEncoder.fit(Table.read(X))
    table = encoder.align(Table.read(new[list(X.columns)]), "a model")
    return pd.DataFrame(encoder.encode(table), columns=encoder.feature_names)


def of_module(data, new) -> pd.DataFrame:
    columns = Columns.from_state(data.find_columns().state)
    return pd.DataFrame(columns.encode_exactly(new, needs_target=False).features.numpy(), columns=columns.feature_names)


def read_all(frame, new, tmp_path) -> list[pd.DataFrame]:
    """The features of the rows `new`, once the rows `frame` were those of training."""
    options = {"target": "y", "val_size": 0, "test_size": 0}
    streamed = TabularDataModule(write(frame, tmp_path / "rows"), **options)
    files = pd.concat(as_frames(write(new, tmp_path / "new")))
    return [
        of_estimator(frame, new),
        of_module(TabularDataModule(frame, **options), new),
        of_module(streamed, files),
    ]


@pytest.mark.filterwarnings("ignore:.*(values are missing|tells nothing|written as texts|has not seen):UserWarning")
@pytest.mark.parametrize("name", COLUMNS)
def test_the_same_features(name, tmp_path):
    frame = frame_of(name)
    first, *others = read_all(frame, frame, tmp_path)
    assert np.isfinite(first.to_numpy()).all()
    for other in others:
        pd.testing.assert_frame_equal(other[list(first.columns)], first, rtol=1e-12, atol=1e-9)
        assert set(other.columns) == set(first.columns)


@pytest.mark.filterwarnings("ignore:.*(values are missing|tells nothing|written as texts|has not seen):UserWarning")
@pytest.mark.parametrize("name", COLUMNS)
def test_a_single_row_has_the_features_that_it_has_among_others(name, tmp_path):
    frame = frame_of(name)
    whole = of_estimator(frame, frame)
    for row in (0, 17):
        (tmp_path / f"{row}").mkdir()
        for k, own in enumerate(read_all(frame, frame_of(name, [row]), tmp_path / f"{row}")):
            pd.testing.assert_frame_equal(own[list(whole.columns)], whole.iloc[[row]].reset_index(drop=True), atol=1e-9), k
