"""A table gives the same features whoever reads it: an estimator, a data module in memory, and a
stream of Parquet files.
"""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from disthead import DistributionClassifier, DistributionRegressor
from disthead.data.columns import Columns
from disthead.data.row_groups import find_files, find_row_groups, read_rows
from disthead.estimators.encoder import Table, TableEncoder
from disthead.training import DataError, TabularDataModule

ROWS = 60
NUMBERS = np.random.default_rng(0).normal(size=ROWS).round(3)
WHOLE = np.random.default_rng(1).integers(0, 4, ROWS)
DAYS = pd.Timestamp("2020-03-01") + pd.to_timedelta(
    np.random.default_rng(2).integers(0, 1000, ROWS), "D"
)
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
        holes(Decimal(f"{value:.3f}") for value in NUMBERS),
        dtype=pd.ArrowDtype(arrow.decimal128(9, 3)),
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
        arrow.array(holes(CITIES)).dictionary_encode(),
        dtype=pd.ArrowDtype(arrow.dictionary(arrow.int32(), arrow.string())),
    ),
    "codes": [f"{code:03d}" for code in WHOLE],
    "digits": WHOLE.astype(str),
    "numbers as texts": NUMBERS.astype(str),
    "dates as texts": holes(DAYS.strftime("%Y-%m-%d")),
    "moments as texts": holes((DAYS + pd.Timedelta("3h")).strftime("%Y-%m-%dT%H:%M:%SZ")),
    "durations as texts": holes(DURATIONS.astype(str)),
    "times as texts": [f"{hour:02d}:30" for hour in WHOLE],
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
    return [
        rows
        for group in find_row_groups(find_files(folder))
        for _, rows in read_rows(group, None, 7)
    ]


def of_estimator(frame, new) -> pd.DataFrame:
    X, new = frame.drop(columns="y"), new.drop(columns="y")
    encoder = TableEncoder.fit(Table.read(X))
    table = encoder.align(Table.read(new[list(X.columns)]), "a model")
    return pd.DataFrame(encoder.encode(table), columns=encoder.feature_names)


def of_module(data, new) -> pd.DataFrame:
    columns = Columns.from_state(data.find_columns().state)
    return pd.DataFrame(
        columns.encode_exactly(new, needs_target=False).features.numpy(),
        columns=columns.feature_names,
    )


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


@pytest.mark.filterwarnings(
    "ignore:.*(values are missing|tells nothing|written as texts|has not seen):UserWarning"
)
@pytest.mark.parametrize("name", COLUMNS)
def test_the_same_features(name, tmp_path):
    frame = frame_of(name)
    first, *others = read_all(frame, frame, tmp_path)
    assert np.isfinite(first.to_numpy()).all()
    for other in others:
        pd.testing.assert_frame_equal(other[list(first.columns)], first, rtol=1e-12, atol=1e-9)
        assert set(other.columns) == set(first.columns)


@pytest.mark.filterwarnings(
    "ignore:.*(values are missing|tells nothing|written as texts|has not seen):UserWarning"
)
@pytest.mark.parametrize("name", COLUMNS)
def test_a_single_row_has_the_features_that_it_has_among_others(name, tmp_path):
    frame = frame_of(name)
    whole = of_estimator(frame, frame)
    for row in (0, 17):
        (tmp_path / f"{row}").mkdir()
        for k, own in enumerate(read_all(frame, frame_of(name, [row]), tmp_path / f"{row}")):
            (
                pd.testing.assert_frame_equal(
                    own[list(whole.columns)], whole.iloc[[row]].reset_index(drop=True), atol=1e-9
                ),
                k,
            )


# What training has not seen, and what is wrong, said alike by all three.

OPTIONS = {"target": "y", "val_size": 0, "test_size": 0}
WAYS = ["estimator", "memory", "stream"]


def fitted_by(way, frame, tmp_path):
    """A function from new rows to features, of one of the readers after training on a table."""
    if way == "estimator":
        encoder = TableEncoder.fit(Table.read(frame.drop(columns="y")))

        def encode(new) -> pd.DataFrame:
            table = encoder.align(Table.read(new), "training")
            return pd.DataFrame(encoder.encode(table), columns=encoder.feature_names)

        return encode
    source = frame if way == "memory" else write(frame, tmp_path / "rows")
    columns = TabularDataModule(source, **OPTIONS).find_columns()

    def encode_rows(new) -> pd.DataFrame:
        data = TabularDataModule(
            new if way == "memory" else write(new, tmp_path / "new"), **OPTIONS
        )
        data.columns = columns
        batches = list(data.predict_dataloader())
        features = np.concatenate([batch["features"].numpy() for batch in batches])
        return pd.DataFrame(features, columns=columns.feature_names)

    return encode_rows


def plain(rows=ROWS) -> pd.DataFrame:
    return pd.DataFrame({"x": NUMBERS, "city": CITIES, "day": DAYS, "y": NUMBERS**2})[:rows]


@pytest.mark.parametrize("way", WAYS)
class TestNewRows:
    def test_a_category_that_training_has_not_seen_sets_no_indicator_and_is_said_once(
        self, way, tmp_path
    ):
        encode = fitted_by(way, plain(), tmp_path)
        new = plain().drop(columns="y").assign(city="Paris")
        with pytest.warns(
            UserWarning, match="'city': 60 rows with 'Paris', which set no indicator"
        ) as said:
            features = encode(new)
        assert len(said) == 1
        assert not features.filter(like="city=").to_numpy().any()
        assert len(features.filter(like="city=").columns) == 3

    def test_missing_values_where_none_were_missing_are_said_once(self, way, tmp_path):
        frame = plain()
        encode = fitted_by(way, frame, tmp_path)
        new = frame.drop(columns="y").assign(
            x=holes(NUMBERS, np.nan), day=pd.Series(holes(DAYS, pd.NaT)), city=holes(CITIES)
        )
        with pytest.warns(UserWarning, match="'x': 6 missing numbers, read as the median") as said:
            features = encode(new)
        assert len(said) == 1
        for part in (
            "'city': 6 rows with missing",
            "'day': 6 missing numbers, read as the median 20",
        ):
            assert part in str(said[0].message)
        assert features["x"][7] == pytest.approx(np.median(NUMBERS))
        assert features["day"][7] == pytest.approx(
            np.median((DAYS - DAYS.min()) / pd.Timedelta("1D"))
        )
        assert not features.filter(like="city=").loc[7].any()

    def test_one_row_and_rows_that_are_nearly_equal_are_no_fault(self, way, tmp_path):
        """Neither varies; what varies too little was looked for in training."""
        frame = plain().assign(x=1e12 + NUMBERS)
        encode = fitted_by(way, frame, tmp_path)
        new = frame.drop(columns="y")[:2].assign(x=[1e12 + 0.25, 1e12 + 0.75])
        features = encode(new)
        assert features["x"][1] - features["x"][0] == pytest.approx(0.5, abs=1e-3)

    def test_values_of_another_kind_are_refused_with_column_row_and_value(self, way, tmp_path):
        encode = fitted_by(way, plain(), tmp_path)
        new = plain().drop(columns="y")
        with pytest.raises(
            ValueError, match=r"column 'x' held numbers at fit, got texts \(.*'old' at row 0"
        ):
            encode(new.assign(x=["old"] * ROWS))
        (tmp_path / "again").mkdir()
        encode = fitted_by(way, plain(), tmp_path / "again")
        with pytest.raises(
            ValueError, match=r"column 'city' held texts at fit, got numbers, such as 3 at row 0"
        ):
            encode(new.assign(city=3.0))

    def test_one_value_of_another_kind_is_named_and_no_value_that_is_right(self, way, tmp_path):
        encode = fitted_by(way, plain(), tmp_path)
        new = plain().drop(columns="y")
        mistyped = new["x"].astype(str)
        mistyped[3] = "12o.5"
        with pytest.raises(
            ValueError, match=r"got texts \(.* 1 of \d+ rows: '12o.5' at row 3"
        ) as refused:
            encode(new.assign(x=mistyped))
        assert "at row 0" not in str(refused.value)  # which is right

    def test_dates_as_texts_and_numbers_as_texts_are_read_as_at_fit(self, way, tmp_path):
        encode = fitted_by(way, plain(), tmp_path)
        new = plain().drop(columns="y")
        texts = new.assign(x=new["x"].astype(str), day=new["day"].dt.strftime("%Y-%m-%d"))
        again = tmp_path / "again"
        again.mkdir()
        expected = fitted_by("estimator", plain(), again)(new)
        np.testing.assert_allclose(encode(texts), expected, rtol=1e-6)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "columns, message",
    [
        ({"gone": [np.nan] * ROWS, "lost": [None] * ROWS}, "'gone', 'lost'"),
        ({"x": [np.inf, *NUMBERS[1:]]}, r"column 'x' has 1 infinite .*, the first at row 0: inf"),
        ({"a": [*(str(v) for v in NUMBERS[:-1]), "?"]},
         r"column 'a' must hold numbers, got text in 1 of 60 rows: '\?' at "),
        ({"a": [*DAYS.strftime("%Y-%m-%d")[:-1], "never"]},
         "column 'a' must hold dates, got text in 1 of 60 rows: 'never'"),
        ({"a": [f"{1e5 * abs(v):,.2f}" for v in NUMBERS]},
         r"column 'a' holds numbers with commas, .* at .*row 0.*thousands="),
        ({"a": [f"{v:.3f}".replace(".", ",") for v in NUMBERS]},
         r"column 'a' holds numbers with commas, .*decimal=','"),
        ({"a": [f"{v:.3f}%" for v in NUMBERS]},
         r"column 'a' holds numbers with .*signs, such as .*%' at .*row 0"),
        ({"a": [f"row {k}" for k in range(ROWS)]},
         "column 'a' has 60 different texts in 60 rows: it seems to name the rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_column_is_said_with_column_row_and_value(
    way, columns, message, tmp_path
):
    with pytest.raises(ValueError, match=message):
        fitted_by(way, plain().assign(**columns), tmp_path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "index",
    [
        pytest.param(
            {"Unnamed: 0": np.random.default_rng(0).permutation(ROWS)},
            id="written by to_csv, rows mixed",
        ),
        pytest.param({"Unnamed: 0": [f"car {k}" for k in range(ROWS)]}, id="names written by R"),
        pytest.param({"id": np.arange(1, ROWS + 1)}, id="rows counted from one"),
    ],
)
def test_an_index_is_named_and_not_learned(way, index, tmp_path):
    [name] = index
    with pytest.warns(
        UserWarning, match=f"column '{name}' is left out, since it numbers or names the rows"
    ):
        encode = fitted_by(way, pd.DataFrame(index).join(plain()), tmp_path)
    features = encode(pd.DataFrame(index).join(plain()).drop(columns="y")[5:7])
    assert not [feature for feature in features if feature.startswith(name)]
    assert len(features) == 2


@pytest.mark.parametrize("way", WAYS)
def test_whole_numbers_with_gaps_numbers_with_a_point_and_a_lonely_column_are_no_index(
    way, tmp_path
):
    frame = plain().assign(year=2 * np.arange(ROWS), time=np.arange(ROWS) * 1.0)
    features = fitted_by(way, frame, tmp_path)(frame.drop(columns="y"))
    assert {"year", "time"} <= set(features)
    (tmp_path / "again").mkdir()
    lonely = pd.DataFrame({"t": np.arange(ROWS), "y": NUMBERS})
    assert list(fitted_by(way, lonely, tmp_path / "again")(lonely[["t"]])) == ["t"]


@pytest.mark.parametrize("way", ["memory", "stream"])
def test_columns_may_come_in_another_order_and_others_may_come_with_them(way, tmp_path):
    encode = fitted_by(way, plain(), tmp_path)
    new = plain().drop(columns="y")
    (tmp_path / "again").mkdir()
    expected = fitted_by("memory", plain(), tmp_path / "again")(new)
    pd.testing.assert_frame_equal(
        encode(new.assign(extra="?")[["extra", "day", "city", "x"]]), expected
    )


def test_numbered_columns_of_a_frame_in_another_order_are_refused_by_an_estimator():
    """Scikit-learn looks at names that are texts alone, and would take one column for the other in
    silence.
    """
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)))
    encoder = TableEncoder.fit(Table.read(X))
    assert encoder.feature_names == ["0", "1"]
    encoder.align(Table.read(X.to_numpy()), "a model")
    with pytest.raises(ValueError, match="must be in the same order"):
        encoder.align(Table.read(X[[1, 0]]), "a model")


def test_a_list_of_mixed_rows_is_a_table_of_numbers_and_texts():
    rows = [
        [1.5, "red", True, datetime.date(2020, 1, 1)],
        [2.5, "blue", False, datetime.date(2020, 1, 3)],
    ] * 2
    encoder = TableEncoder.fit(Table.read(rows))
    assert encoder.feature_names == ["x0", "x1=blue", "x1=red", "x2", "x3"]
    assert encoder.encode(Table.read(rows[:2])).tolist() == [[1.5, 0, 1, 1, 0], [2.5, 1, 0, 0, 2]]
    data = TabularDataModule.from_arrays(rows * 3, np.arange(12.0), val_size=0, test_size=0)
    np.testing.assert_array_equal(
        data.part("train").features[:2], encoder.encode(Table.read(rows[:2]))
    )
    assert data.columns.feature_names == encoder.feature_names
    with pytest.raises(ValueError, match="as many values as the first one, 2, got 1 at row 1"):
        Table.read([[1, "a"], [2]])


@pytest.mark.parametrize("way", ["memory", "stream"])
def test_missing_values_are_said_once_for_all_columns(way, tmp_path):
    frame = plain().assign(
        x=holes(NUMBERS, np.nan), city=holes(CITIES), day=pd.Series(holes(DAYS, pd.NaT))
    )
    with pytest.warns(
        UserWarning, match="values are missing in 'x', 'city', 'day': .* median"
    ) as said:
        fitted_by(way, frame, tmp_path)
    assert len(said) == 1


@pytest.mark.parametrize("way", ["memory", "stream"])
def test_numbers_that_are_declared_categories_are_categories(way, tmp_path):
    """By `categorical`, or by the type of a data frame's column: the same indicators."""
    frame = plain().assign(grade=holes(WHOLE.tolist(), np.nan))
    source = frame if way == "memory" else write(frame, tmp_path / "rows")
    with pytest.warns(UserWarning, match="values are missing in 'grade'"):
        columns = TabularDataModule(source, **OPTIONS, categorical=["grade"]).find_columns()
    declared = frame.assign(grade=frame["grade"].astype("category"))
    encoder = TableEncoder.fit(Table.read(declared.drop(columns="y")))
    assert columns.feature_names == encoder.feature_names
    assert columns.feature_names[-5:] == [
        "grade=0",
        "grade=1",
        "grade=2",
        "grade=3",
        "grade is missing",
    ]
    np.testing.assert_array_equal(
        columns.encode_exactly(frame, needs_target=False).features,
        encoder.encode(Table.read(frame.drop(columns="y"))),
    )


def test_the_median_and_the_first_date_are_those_of_the_training_rows():
    frame = pd.DataFrame(
        {
            "x": [1.0, 2.0, np.nan, 2.5],
            "day": pd.date_range("2020-01-05", periods=4)[::-1],
            "y": range(4),
        }
    )
    frame["part"] = ["train", "train", "train", "val"]
    with pytest.warns(UserWarning, match="values are missing in 'x'"):
        part = TabularDataModule(frame, target="y", split_column="part").part("val")
    assert part.table.features.tolist() == [[1, 0, 2], [2, 0, 1], [1.5, 1, 0], [2.5, 0, -1]]


# Targets.


@pytest.mark.parametrize(
    "target, message",
    [
        (holes(NUMBERS, np.nan), r"6 .*(at row 7|row 7)"),
        (pd.array(holes(WHOLE.tolist(), pd.NA), dtype="Int64"), r"6 .*row 7"),
        (pd.Series(holes([Decimal(str(v)) for v in NUMBERS]), dtype=object), r"6 .*row 7"),
        (DAYS, r"holds dates, such as 20.* at row 0; .* number"),
        (
            pd.Series(holes(DAYS, pd.NaT)),
            r"holds dates, .*6 missing values \(NaT\), the first at row 7",
        ),
        (
            pd.Series(holes([day.date() for day in DAYS]), dtype=object),
            r"holds dates, .*6 missing .* row 7",
        ),
        (DURATIONS, r"holds durations, such as .* at row 0"),
        ([*NUMBERS[:-1], np.inf], r"row 59"),
    ],
)
def test_targets_that_are_missing_or_no_numbers_are_refused_with_rows(target, message, tmp_path):
    frame = pd.DataFrame({"x": NUMBERS, "y": target})
    with pytest.raises(ValueError, match=message):
        DistributionRegressor().fit(frame[["x"]], frame["y"])
    with pytest.raises(DataError, match=message):
        TabularDataModule(frame, **OPTIONS).part("train")
    with pytest.raises(DataError, match=r"\.parquet, row group \d, "):
        TabularDataModule(write(frame, tmp_path / "rows"), **OPTIONS).summary("train")


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_classes_are_refused_with_rows(missing, tmp_path):
    frame = pd.DataFrame({"x": NUMBERS, "y": pd.Series(holes(CITIES, missing), dtype=object)})
    with pytest.raises(ValueError, match="6 of 60, row 7"):
        DistributionClassifier().fit(frame[["x"]], frame["y"])
    with pytest.raises(DataError, match=r"column 'y' has 6 missing .* row 7"):
        TabularDataModule(frame, **OPTIONS).part("train")
    with pytest.raises(
        DataError, match=r"0\.parquet, row group 0, .*column 'y' has .* missing .* row 7"
    ):
        TabularDataModule(write(frame, tmp_path / "rows"), **OPTIONS).summary("train")


@pytest.mark.parametrize(
    "target",
    [
        [Decimal(str(value)) for value in NUMBERS],
        pd.array(WHOLE, dtype="Int64"),
        pd.array(NUMBERS, dtype="double[pyarrow]"),
        NUMBERS.astype(str),
        NUMBERS.astype(np.float32),
    ],
)
def test_targets_of_any_type_of_numbers_are_the_numbers(target, tmp_path):
    frame = pd.DataFrame({"x": NUMBERS, "y": target})
    expected = np.array([float(value) for value in target])
    np.testing.assert_allclose(DistributionRegressor()._targets(frame["y"], is_fit=True), expected)
    np.testing.assert_allclose(
        TabularDataModule(frame, **OPTIONS).part("train").y, expected, rtol=1e-6
    )
    streamed = TabularDataModule(write(frame, tmp_path / "rows"), **OPTIONS).summary("train").sample
    np.testing.assert_allclose(streamed.y, expected, rtol=1e-6)


@pytest.mark.parametrize("way", ["memory", "stream"])
def test_a_row_of_weight_0_is_not_there(way, tmp_path):
    """Its target may be missing, and its values are neither categories nor medians of the training
    rows.
    """
    frame = plain().assign(w=1.0)
    frame.loc[[7, 33], "w"] = 0.0
    frame.loc[7, ["y", "city"]] = [np.nan, "Atlantis"]
    frame.loc[33, "x"] = 1e9
    source = frame if way == "memory" else write(frame, tmp_path / "rows")
    data = TabularDataModule(source, **OPTIONS, weight="w")
    with pytest.warns(UserWarning, match="not seen column 'city': 1 rows with 'Atlantis'"):
        summary = data.summary("train")
    kept = frame[frame["w"] > 0]
    np.testing.assert_allclose(summary.features.mean[0], kept["x"].mean())
    np.testing.assert_allclose(summary.y.mean, kept["y"].mean())
    assert "city=Atlantis" not in data.columns.feature_names
    assert data.columns.features["x"].fill == pytest.approx(np.median(kept["x"]))
