"""Tables: what goes in comes out as tensors, and what is wrong with a table is said."""

import numpy as np
import pandas as pd
import pytest
import torch

from disthead.data.batches import Batches
from disthead.data.columns import Encoded
from disthead.errors import TargetError
from disthead.training import DataError, DistributionModule, TabularDataModule
from disthead.training.predictor import Predictor


def test_every_source_gives_the_same_tensors(frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    sources = [
        frame,
        dict(frame),
        *(tmp_path / name for name in ("t.csv", "t.tsv", "t.csv.gz", "t.parquet")),
    ]
    parts = [TabularDataModule(source, target="y").part("train") for source in sources]
    for part in parts[1:]:
        torch.testing.assert_close(part.features, parts[0].features)
        torch.testing.assert_close(part.y, parts[0].y)


def test_arrays_and_several_targets():
    x, y = (
        np.random.default_rng(0).normal(size=(50, 3)),
        np.random.default_rng(1).normal(size=(50, 2)),
    )
    data = TabularDataModule.from_arrays(x, y, val_size=0, test_size=10)
    part = data.part("train")
    assert part.features.shape == (40, 3)
    torch.testing.assert_close(part.y, torch.from_numpy(y).float()[part.rows])


def test_categories_become_indicators(frame):
    data = TabularDataModule(frame, target="y")
    columns = data.find_columns()
    assert columns.feature_names == ["x", "z", "colour=blue", "colour=green", "colour=red"]
    part = data.part("predict")
    names = np.array(["blue", "green", "red"])[part.features[:, 2:].argmax(-1)]
    assert names.tolist() == frame["colour"].tolist()


def test_splits_are_disjoint_complete_and_seeded(frame):
    rows = {
        name: set(TabularDataModule(frame, target="y").part(name).rows.tolist())
        for name in ("train", "val", "test")
    }
    assert set().union(*rows.values()) == set(range(200))
    assert [len(rows[name]) for name in ("train", "val", "test")] == [120, 40, 40]
    assert rows["test"] == set(TabularDataModule(frame, target="y").part("test").rows.tolist())
    assert rows["test"] != set(
        TabularDataModule(frame, target="y", split_seed=1).part("test").rows.tolist()
    )


def test_split_column_and_separate_tables(frame):
    part_of_row = np.resize(["train", "train", "val", "test"], 200)
    data = TabularDataModule(
        frame.assign(part=part_of_row), target="y", split_column="part", predict_path=frame[:7]
    )
    assert data.part("val").rows.tolist() == np.flatnonzero(part_of_row == "val").tolist()
    assert "part" not in data.find_columns().features
    assert len(data.part("predict").features) == 7


def test_a_numeric_column_may_be_categorical(frame):
    data = TabularDataModule(
        frame.assign(grade=np.arange(200) % 3), target="y", categorical=["grade"]
    )
    assert data.find_columns().feature_names[-3:] == ["grade=0", "grade=1", "grade=2"]


def test_batches_cover_the_rows_once_and_ranks_share_them():
    table = Encoded(torch.arange(23.0).unsqueeze(-1), torch.arange(23.0), torch.rand(23), {})
    whole = list(Batches(table, torch.arange(23), 5, seed=3))
    assert sorted(torch.cat([batch["rows"] for batch in whole]).tolist()) == list(range(23))
    assert {len(batch["rows"]) for batch in whole} == {4, 5}
    shards = [
        list(Batches(table, torch.arange(23), 5, seed=3, rank=rank, world_size=6))
        for rank in range(6)
    ]
    for position, batch in enumerate(whole):
        rows = torch.cat([shard[position]["rows"] for shard in shards])
        assert sorted(rows.tolist()) == sorted(batch["rows"].tolist())
        assert all(shard[position]["total"] == batch["total"] for shard in shards)


def test_each_epoch_has_its_own_order_that_depends_on_nothing_else():
    table = Encoded(torch.zeros(20, 1), None, None, {})
    epoch = 0
    batches = Batches(table, torch.arange(20), 20, seed=0, epoch=lambda: epoch)
    first = next(iter(batches))["rows"]
    torch.rand(3)
    assert next(iter(batches))["rows"].equal(first)
    epoch = 1
    assert not next(iter(batches))["rows"].equal(first)


def spoil(column: str, row: int, value) -> object:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return change


BAD_TABLES = {
    "infinite feature": (spoil("x", 3, np.inf), {}, r"column 'x' has 1 .*infinite .* row 3"),
    "missing target": (spoil("y", 5, np.nan), {}, r"column 'y' .* row 5"),
    "missing class": (
        spoil("colour", 8, None),
        {"target": "colour"},
        r"column 'colour' has 1 missing .* row 8",
    ),
    "text in numbers": (
        spoil("x", 9, "n/a"),
        {},
        r"column 'x' must hold numbers, got text in 1 of 200 rows: 'n/a' at row 9",
    ),
    "empty": (lambda f: f.assign(c=np.nan), {}, r"column 'c' is empty"),
    "constant target": (lambda f: f.assign(y=2.0), {}, r"column 'y' is constant"),
    "identifier": (
        lambda f: f.assign(name=[f"row {k}" for k in range(200)]),
        {},
        r"'name' has .* name the rows",
    ),
    "too few rows": (lambda f: f[:2], {}, r"2 rows are too few"),
    "no validation rows": (
        lambda f: f[:3],
        {"val_size": 0.1, "test_size": 1},
        r"3 rows are too few",
    ),
    "unknown target": (lambda f: f, {"target": "yy"}, r"unknown column 'yy'; did you mean 'y'"),
    "unknown feature": (
        lambda f: f,
        {"features": ["x", "color"]},
        r"unknown column 'color'; did you mean 'colour'",
    ),
    "target as feature": (lambda f: f, {"features": ["x", "y"]}, r"'y' cannot be both"),
    "target of dates": (
        lambda f: f.assign(y=pd.date_range("2020", periods=200)),
        {},
        r"column 'y' holds dates",
    ),
    "negative weight": (
        lambda f: f.assign(w=-1.0 + f.index),
        {"weight": "w"},
        r"weights must be .* 'w' has -1 at row 0",
    ),
    "split words": (lambda f: f.assign(s="learn"), {"split_column": "s"}, r"got 'learn' at row 0"),
    "single precision": (
        lambda f: f.assign(y=1e12 + f["x"]),
        {},
        r"column 'y' varies by .* single precision",
    ),
    "size": (lambda f: f, {"val_size": -1}, r"val_size must be"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_explained(frame, name):
    change, options, message = BAD_TABLES[name]
    data = TabularDataModule(change(frame), **{"target": "y"} | options)
    with pytest.raises(ValueError, match=message):
        data.part("train")


BAD_FILES = {
    "missing.csv": (None, "no such file"),
    "empty.csv": (b"", "is empty"),
    "header.csv": (b"x,y\n", "no rows"),
    "ragged.csv": (b"x,y\n1,2\n3,4,5\n", "not a readable CSV"),
    "twice.csv": (b"x,x,y\n1,2,3\n", "several columns named 'x'"),
    "longer.csv": (b"x,y\n1,2,3\n4,5,6\n", "not a readable CSV"),
    "binary.csv": (bytes(range(128, 256)) * 4, "not a readable CSV"),
    "corrupt.parquet": (b"PAR1 and no more", "corrupt.parquet is not a readable Parquet"),
    "table.xls": (b"x", "must end in"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named(tmp_path, name):
    content, message = BAD_FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        TabularDataModule(tmp_path / name, target="y").part("train")
    assert name in str(caught.value) or "table" in str(caught.value)


def test_an_unknown_category_is_named_and_sets_no_indicator(frame):
    data = TabularDataModule(frame, target="y", predict_path=spoil("colour", 4, "mauve")(frame))
    data.find_columns()
    with pytest.warns(
        UserWarning, match="not seen column 'colour': 1 rows with 'mauve', which set no indicator"
    ):
        part = data.part("predict")
    assert part.features[4, 2:].tolist() == [0, 0, 0]


def test_unknown_data_sets_have_neighbours():
    with pytest.raises(ValueError, match="did you mean 'diabetes'"):
        TabularDataModule(dataset="sklearn.diabets").part("train")
    with pytest.raises(ValueError, match="did you mean 'engel'"):
        TabularDataModule(dataset="statsmodels.engle").part("train")


BAD_TARGETS = {
    "support": (
        lambda f: f,
        "beta",
        {},
        TargetError,
        r"column 'y' must be in the support of beta .* at row 0",
    ),
    "class index": (
        lambda f: f.assign(y=np.arange(200) % 4),
        "categorical",
        {"num_classes": 3},
        TargetError,
        r"3 at row 3",
    ),
    "classes for numbers": (
        lambda f: f,
        "normal",
        {},
        DataError,
        r"'colour' holds classes .*normal takes numbers",
    ),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_targets_outside_the_support_name_the_row_of_the_table(frame, trainer, name):
    change, family, options, kind, message = BAD_TARGETS[name]
    data = TabularDataModule(change(frame), target="colour" if "numbers" in name else "y")
    with pytest.raises(kind, match=message):
        trainer().fit(DistributionModule(family, family_options=options), data)


@pytest.mark.parametrize("length", [0.0, -1.0])
def test_exposures_that_are_not_positive_name_the_column_and_the_row(
    frame, trainer, tmp_path, length
):
    table = frame.assign(y=np.arange(200) % 4, months=1.0 + np.arange(200) % 3)
    module, known = DistributionModule("poisson"), {"exposure": "months"}
    message = (
        r"exposure \(column 'months'\) of poisson must be positive, got 1 of 200 values: "
        rf"{length:.0f} at row 7"
    )
    wrong = spoil("months", 7, length)(table)
    with pytest.raises(ValueError, match=message):
        trainer().fit(
            DistributionModule("poisson"), TabularDataModule(wrong, target="y", known=known)
        )
    fitting = trainer()
    fitting.fit(module, TabularDataModule(table, target="y", known=known))
    fitting.save_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=message):
        trainer().predict(
            module, TabularDataModule(table, target="y", known=known, predict_path=wrong)
        )
    with pytest.raises(ValueError, match=message):
        Predictor(tmp_path / "model.ckpt")(wrong)


@pytest.mark.parametrize("is_file", [False, True])
def test_the_user_says_that_texts_that_hardly_recur_are_categories(frame, tmp_path, is_file):
    """And classes of a target are no names of rows."""

    def columns(frame, **options):
        if is_file:  # a folder is read row group by row group
            (tmp_path / "rows").mkdir(exist_ok=True)
            frame.to_parquet(tmp_path / "rows" / "0.parquet", row_group_size=50)
        data = TabularDataModule(
            tmp_path / "rows" if is_file else frame, val_size=0, test_size=0, **options
        )
        data.find_columns()
        return data.columns

    frame = frame.assign(name=[f"name {k % 150:03d}" for k in range(len(frame))])
    names = [f"name {k:03d}" for k in range(150)]
    assert columns(frame, target="y", categorical=["name"]).features["name"].categories == names
    assert (
        columns(frame.astype({"name": "category"}), target="y").features["name"].categories == names
    )
    assert columns(frame, target="name").classes["name"] == names
    with pytest.raises(ValueError, match=r"'name' has 150 .* name the rows, .*`categorical`"):
        columns(frame, target="y")


def test_a_data_module_is_printed_by_its_options():
    table = pd.DataFrame({"x": np.arange(9.0), "y": np.arange(9.0)})
    data = TabularDataModule(table, target="y", val_size=3, known={"exposure": "x"})
    assert str(data) == repr(data)
    assert repr(data) == (
        "TabularDataModule(path=<DataFrame>, target='y', known={'exposure': 'x'}, val_size=3)"
    )
    assert str(TabularDataModule("missing.csv")) == "TabularDataModule(path='missing.csv')"
