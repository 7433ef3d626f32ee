"""Ordered classes of tables: their order is named, and kept in models and predictions."""

import numpy as np
import pandas as pd
import pytest

import disthead as dh
from disthead.cli import main
from disthead.training import DataError, TabularDataModule

ORDER = ["low", "middle", "high"]


@pytest.fixture
def grades() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    grade = np.digitize(x + 0.3 * rng.normal(size=200), [-0.5, 0.5])
    return pd.DataFrame({"x": x, "grade": np.array(ORDER)[grade]})


def test_the_classes_have_the_named_order(grades):
    data = TabularDataModule(grades, target="grade", order=ORDER)
    columns = data.find_columns()
    assert columns.classes == {"grade": ORDER}
    part = data.part("train")
    named = np.array(ORDER)[part.y.numpy()]
    np.testing.assert_array_equal(named, grades.grade.to_numpy()[part.rows.numpy()])


def test_numbers_may_have_another_order_than_their_own(grades):
    codes = grades.grade.map({"low": 3, "middle": 1, "high": 2})
    data = TabularDataModule(grades.assign(grade=codes), target="grade", order=[3, 1, 2])
    assert data.find_columns().classes == {"grade": ["3", "1", "2"]}


@pytest.mark.parametrize(
    "order, change, words",
    [
        (
            ["low", "high"],
            "low",
            r"classes of order, 'low', 'high', got others in .*'middle' at row",
        ),
        (ORDER, "hgih", r"got others in 1 of 200 rows: 'hgih' at row 7; did you mean 'high'\?"),
        ([*ORDER, "highest"], "low", "got none of 'highest': nothing says how probable"),
    ],
)
def test_other_classes_are_refused_with_their_rows(grades, order, change, words):
    grades.loc[7, "grade"] = change
    with pytest.raises(DataError, match=words):
        TabularDataModule(grades, target="grade", order=order).find_columns()


def test_wrong_orders_are_refused_at_once(grades):
    with pytest.raises(ValueError, match="order must name each class once, got 'low' twice"):
        TabularDataModule(grades, target="grade", order=["low", "low"])
    with pytest.raises(ValueError, match="order must be a list"):
        TabularDataModule(grades, target="grade", order="low")
    with pytest.raises(DataError, match="order names the classes of one target"):
        TabularDataModule(grades, target=["x", "grade"], order=ORDER).find_columns()


def test_streams_have_the_same_order(grades, tmp_path):
    for k in range(2):
        grades.iloc[100 * k : 100 * (k + 1)].to_parquet(tmp_path / f"{k}.parquet", index=False)
    data = TabularDataModule(tmp_path, target="grade", order=ORDER, val_size=0, test_size=0)
    assert data.find_columns().classes == {"grade": ORDER}
    grades.loc[150, "grade"] = "hgih"
    grades.iloc[100:].to_parquet(tmp_path / "1.parquet", index=False)
    data = TabularDataModule(tmp_path, target="grade", order=ORDER, val_size=0, test_size=0)
    with pytest.raises(DataError, match=r"'hgih' at .*row 50.*did you mean 'high'"):
        data.find_columns()


def test_the_command_line_predicts_in_that_order(grades, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    grades.to_csv("patients.csv", index=False)
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    fit = ["fit", "--data.path=patients.csv", "--data.target=grade", "--model.family=ordinal"]
    assert main([*fit, *quiet]) == 2
    assert "--data.order '[low, high]'" in capsys.readouterr().err
    order = "--data.order=[low, middle, high]"
    assert main([*fit, order, "--trainer.max_epochs=5", *quiet]) == 0, capsys.readouterr().err
    (best,) = tmp_path.glob("**/best*.ckpt")
    predict = ["predict", "--ckpt", str(best), "--data.path=patients.csv", "--out=p.csv", *quiet]
    assert main(predict) == 0, capsys.readouterr().err
    predicted = pd.read_csv("p.csv")
    columns = [name for name in predicted if any(level in name for level in ORDER)]
    assert [next(level for level in ORDER if level in name) for name in columns] == ORDER
    model = dh.DistributionClassifier.load(best)
    assert list(model.classes_) == ORDER
    probabilities = model.predict_proba(grades[["x"]])
    assert np.corrcoef(probabilities[:, 2], grades.x)[0, 1] > 0.5
    assert np.corrcoef(probabilities[:, 0], grades.x)[0, 1] < -0.5
