"""Tables as they come: data frames, texts, missing values, other columns than at fit."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from disthead import DistributionRegressor
from disthead.estimators.encoder import Table, TableEncoder

SMALL = {"family": "normal", "hidden_sizes": (16,), "max_steps": 50, "random_state": 0}


def frame(rows=60):
    generator = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "age": generator.normal(40, 10, rows),
            "city": generator.choice(["Oslo", "Rome", "Lima"], rows),
            "kind": pd.Categorical(generator.choice(["a", "b"], rows)),
            "member": generator.random(rows) > 0.5,
            "children": pd.array(generator.integers(0, 5, rows), dtype="Int64"),
        }
    )
    data.loc[3, "age"] = np.nan
    data.loc[4, "city"] = None
    data.loc[5, "children"] = pd.NA
    return data


@pytest.fixture(scope="module")
def fitted():
    data = frame()
    return data, DistributionRegressor(**SMALL).fit(data, np.arange(60.0))


class TestEncoding:
    def test_features_and_their_values(self):
        data = frame()
        encoder = TableEncoder.fit(Table.read(data))
        features = pd.DataFrame(encoder.encode(Table.read(data)), columns=encoder.feature_names)
        assert list(features.columns) == [
            *("age", "age is missing", "city=Lima", "city=Oslo", "city=Rome", "city is missing"),
            *("kind=a", "kind=b", "member", "children", "children is missing"),
        ]
        median = data["age"].median()
        assert np.allclose(features["age"], data["age"].fillna(median))
        assert features["age is missing"].tolist() == data["age"].isna().tolist()
        for city in ("Lima", "Oslo", "Rome"):
            assert features[f"city={city}"].tolist() == (data["city"] == city).tolist()
        assert features["city is missing"].tolist() == data["city"].isna().tolist()
        assert features["member"].tolist() == data["member"].tolist()
        assert features.loc[5, "children"] == data["children"].median()

    def test_numbers_alone_are_encoded_bin_by_bin(self):
        encoder = TableEncoder.fit(Table.read(frame()))
        assert [encoder.feature_names[position] for position in encoder.numeric] == [
            "age",
            "member",
            "children",
        ]

    def test_the_same_table_in_other_clothes(self):
        """A list, an array, a tensor and a frame of the same numbers are the same table."""
        values = [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]
        tables = [
            values,
            np.array(values, dtype=np.float32),
            np.array(values, dtype=object),
            torch.tensor(values),
        ]
        tables += [pd.DataFrame(values), pd.DataFrame(values, columns=["a", "b"], dtype="Int64")]
        expected = np.array(values)
        for table in map(Table.read, tables):
            assert np.array_equal(TableEncoder.fit(table).encode(table), expected)

    def test_an_array_of_objects_is_a_table_of_numbers_and_texts(self):
        encoder = TableEncoder.fit(
            Table.read(np.array([[1, "x"], [2, None], [None, "y"]], dtype=object))
        )
        assert encoder.feature_names == ["x0", "x0 is missing", "x1=x", "x1=y", "x1 is missing"]

    def test_report_says_what_was_done(self, fitted):
        _, model = fitted
        report = "\n".join(model.report_)
        assert "age: missing numbers are read as the median" in report
        assert (
            "city: text, 4 indicators, one of them for missing ('Lima', 'Oslo', 'Rome')" in report
        )
        assert "member" not in report

    def test_a_frame_is_its_numbers(self):
        """A model of a frame predicts as one of its values does."""
        data = frame()[["age", "member"]].fillna(0).astype(float)
        y = np.arange(60.0)
        of_frame = DistributionRegressor(**SMALL).fit(data, y)
        of_array = DistributionRegressor(**SMALL).fit(data.to_numpy(), y)
        assert np.array_equal(of_frame.predict(data), of_array.predict(data.to_numpy()))
        assert of_frame.feature_names_in_.tolist() == ["age", "member"]
        assert not hasattr(of_array, "feature_names_in_")

    def test_constant_columns_are_harmless(self):
        X = np.random.default_rng(0).normal(size=(60, 1))
        model = DistributionRegressor(**SMALL).fit(np.hstack([X, np.full((60, 1), 1e6)]), X[:, 0])
        same, other = (
            model.predict(np.hstack([X, np.full((60, 1), value)])) for value in (1e6, -3.0)
        )
        assert np.isfinite(same).all()
        assert np.array_equal(same, other)

    def test_categories_tell(self):
        """A target that is told by a text alone."""
        city = np.random.default_rng(0).choice(["Oslo", "Rome"], 200)
        y = np.where(city == "Rome", 10.0, 0.0) + np.random.default_rng(1).normal(size=200)
        model = DistributionRegressor(**SMALL | {"max_steps": 150}).fit(
            pd.DataFrame({"city": city}), y
        )
        rome, oslo = model.predict(pd.DataFrame({"city": ["Rome", "Oslo"]}))
        assert rome == pytest.approx(10, abs=1)
        assert oslo == pytest.approx(0, abs=1)


class TestNewRows:
    def test_unknown_texts_are_said_and_set_no_indicator(self, fitted):
        data, model = fitted
        new = data[10:15].assign(city="Paris")
        with pytest.warns(UserWarning, match="'city': 5 rows with 'Paris', which set no indicator"):
            model.predict(new)
        features = model.encoder_.encode(Table.read(new))
        cities = [
            k for k, name in enumerate(model.encoder_.feature_names) if name.startswith("city")
        ]
        assert not features[:, cities].any()

    def test_missing_numbers_where_none_were_missing(self, fitted):
        data, model = fitted
        new = data[10:15].assign(member=[np.nan, True, False, True, False])
        with pytest.warns(UserWarning, match="'member': 1 missing numbers, read as the median"):
            model.predict(new)

    def test_what_was_missing_at_fit_may_be_missing(self, fitted):
        data, model = fitted
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isfinite(model.predict(data[3:6].assign(city=np.nan))).all()

    def test_missing_and_new_columns_are_named_with_their_likes(self, fitted):
        data, model = fitted
        with pytest.raises(
            ValueError,
            match=r"(?s)unseen at fit time:\n- Age.*is like the missing 'age'.*missing:\n- age",
        ):
            model.predict(data.rename(columns={"age": "Age"}))
        with pytest.raises(ValueError, match="same order as they were in fit"):
            model.predict(data[data.columns[::-1]])
        with (
            pytest.raises(
                ValueError, match="X has 4 features, but DistributionRegressor is expecting 5"
            ),
            pytest.warns(),
        ):
            model.predict(data.iloc[:, :4].to_numpy())

    @pytest.mark.parametrize(
        "column, value, was", [("age", "old", "numbers"), ("city", 3.0, "texts")]
    )
    def test_a_column_of_another_kind(self, fitted, column, value, was):
        data, model = fitted
        with pytest.raises(ValueError, match=f"column '{column}' held {was} at fit"):
            model.predict(data.assign(**{column: value}))


def with_column(**columns):
    return frame().assign(**columns)


class TestBadTables:
    @pytest.mark.parametrize(
        "X, message",
        [
            (
                lambda: with_column(empty=np.nan, gone=None),
                "all values are missing in 'empty', 'gone': leave them out",
            ),
            (
                lambda: with_column(name=[f"row {k}" for k in range(60)]),
                "'name' has 60 different texts in 60 rows",
            ),
            (
                lambda: with_column(mix=[1.0] * 59 + ["?"]),
                r"'mix' must hold numbers, got text in 1 of 60 rows: '\?' at row 59",
            ),
            (
                lambda: with_column(age=[np.inf] + [1.0] * 59),
                "column 'age' has 1 infinite values in 60 rows, the first at row 0",
            ),
            (lambda: pd.DataFrame([[1.0, 2.0]] * 60, columns=["a", "a"]), "'a' occurs twice"),
            (lambda: np.zeros(60), "Reshape your data"),
            (lambda: np.zeros((60, 2, 2)), "Expected 2D array"),
            (lambda: np.zeros((0, 2)), "minimum of 1 is required"),
            (lambda: np.zeros((60, 0)), "minimum of 1 is required"),
            (lambda: np.zeros((60, 1)) * 1j, "Complex data not supported"),
        ],
    )
    def test_are_refused(self, X, message):
        with pytest.raises(ValueError, match=message):
            DistributionRegressor().fit(X(), np.arange(60.0))

    @pytest.mark.parametrize(
        "X, message",
        [
            (lambda: sparse.csr_array(np.eye(60)), "sparse"),
            (
                lambda: np.array([[{}]] * 60, dtype=object),
                "string or a number, got dict in column 'x0' at row 0",
            ),
            (lambda: pd.DataFrame([[1.0, 2.0]] * 60, columns=["a", 1]), "all texts or all numbers"),
        ],
    )
    def test_of_another_type(self, X, message):
        with pytest.raises(TypeError, match=message):
            DistributionRegressor().fit(X(), np.arange(60.0))


class Polars:
    """What of a polars frame is asked for: names, columns, length. (polars itself is not among the
    test's packages.)
    """

    def __init__(self, columns):
        self.data, self.columns = columns, list(columns)

    def __getitem__(self, name):
        return self.data[name]

    def __len__(self):
        return len(next(iter(self.data.values())))


def test_any_frame_that_gives_columns_by_name_is_read():
    data = Polars(
        {"a": np.array([1.0, np.nan, 3.0]), "b": np.array(["x", None, "y"], dtype=object)}
    )
    encoder = TableEncoder.fit(Table.read(data))
    assert encoder.feature_names == ["a", "a is missing", "b=x", "b=y", "b is missing"]
