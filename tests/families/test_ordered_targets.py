"""Classes with an order as targets of estimators and of the command line."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import disthead as dh
from disthead import DistributionClassifier
from disthead.cli import main
from disthead.data.search import find_columns
from disthead.data.values import DataError
from disthead.errors import TargetError
from disthead.prediction import predictions

SMALL = {"hidden_sizes": (16,), "max_steps": 60, "random_state": 0}
ORDER = ["low", "middle", "high"]


def table(rows: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Features, and grades 0, 1, 2 that rise with the first."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(rows, 2))
    return X, np.digitize(X[:, 0] + 0.3 * generator.normal(size=rows), [-0.5, 0.5])


def in_words(grades: np.ndarray) -> pd.Series:
    return pd.Series(pd.Categorical.from_codes(grades, ORDER, ordered=True))


def test_an_ordered_categorical_says_the_order(tmp_path):
    X, grades = table()
    y = in_words(grades)
    model = DistributionClassifier("ordinal", **SMALL).fit(X, y)
    assert model.classes_.tolist() == ORDER
    dist = model.predict_dist(X)
    assert dist.kind == "ordinal"
    torch.testing.assert_close(dist.log_prob(y), dist.log_prob(torch.from_numpy(grades)))
    assert (model.predict(X) == y.to_numpy()).mean() > 0.7
    pytest.importorskip("safetensors")
    loaded = DistributionClassifier.load(model.save(tmp_path / "model"))
    assert loaded.classes_.tolist() == ORDER
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_numbers_are_classes_in_their_order():
    X, grades = table()
    y = np.array([10, 9, 100])[grades]
    model = DistributionClassifier("ordinal", ensemble=2, **SMALL).fit(X, y)
    assert model.classes_.tolist() == [9, 10, 100]
    assert model.predict_dist(X).kind == "ordinal"
    assert set(model.predict(X)) <= {9, 10, 100}
    assert model.score(X, y) > np.log(1 / 3)


def test_the_order_is_that_of_the_target_unless_told_otherwise():
    X, grades = table()
    y = in_words(grades)
    for model, target, kind in (
        (DistributionClassifier(**SMALL), y, "ordinal"),
        (DistributionClassifier(**SMALL), y.astype(str), "classes"),
        (DistributionClassifier(**SMALL, ordered=True), grades, "ordinal"),
        (DistributionClassifier(**SMALL, ordered=False), y, "classes"),
    ):
        assert model.fit(X, target).predict_dist(X[:3]).kind == kind
    with pytest.raises(ValueError, match=r"pandas.Categorical\(.*ordered=True"):
        DistributionClassifier(**SMALL, ordered=True).fit(X, np.array(ORDER)[grades])
    with pytest.raises(ValueError, match="got ordered=False"):
        DistributionClassifier("ordinal", **SMALL, ordered=False).fit(X, y)


def test_texts_without_an_order_are_refused_with_the_way_to_give_one():
    X, grades = table()
    for y in (np.array(ORDER)[grades], pd.Series(np.array(ORDER)[grades], dtype="category")):
        with pytest.raises(ValueError, match=r"pandas.Categorical\(.*ordered=True"):
            DistributionClassifier("ordinal", **SMALL).fit(X, y)


def test_a_class_of_the_order_without_rows_is_refused():
    X, grades = table()
    y = in_words(grades).cat.add_categories(["perfect"])
    with pytest.raises(TargetError, match=r"'perfect'.*remove_unused_categories"):
        DistributionClassifier("ordinal", **SMALL).fit(X, y)
    y = y.cat.remove_unused_categories()
    assert DistributionClassifier("ordinal", **SMALL).fit(X, y).classes_.tolist() == ORDER


def frame() -> pd.DataFrame:
    X, grades = table()
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "grade": grades + 3})


def test_a_target_that_is_declared_categorical_has_its_numbers_as_classes():
    rows = np.arange(150)
    columns = find_columns(frame(), rows, target=["grade"], categorical=["grade"])
    assert columns.classes == {"grade": ["3", "4", "5"]}
    assert columns.encode(frame()).y.tolist() == (frame()["grade"] - 3).tolist()
    with pytest.raises(DataError, match="whole numbers"):
        find_columns(frame().assign(grade=0.5), rows, target=["grade"], categorical=["grade"])


@pytest.mark.slow
def test_ordinal_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame().to_csv("grades.csv", index=False)
    fit = ["fit", "--data.path=grades.csv", "--data.target=grade", "--model.family=ordinal"]
    fit += ["--trainer.max_epochs=3", "--trainer.enable_progress_bar=false"]
    assert main([*fit, "--trainer.accelerator=cpu", "--model.shared=[cutpoints]"]) == 0
    (checkpoint,) = tmp_path.rglob("best.ckpt")
    assert main(["evaluate", "--ckpt", str(checkpoint), "--out", "report"]) == 0
    assert "ordinal model of grade" in capsys.readouterr().out
    scores = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert "Ranked probability score" in str(scores)
    predict = ["predict", "--ckpt", str(checkpoint), "--data.predict_path=grades.csv"]
    assert main([*predict, "--out=p.csv", "--quantiles=0.9"]) == 0
    written = pd.read_csv("p.csv")
    assert {"probability_3", "mode", "median", "quantile_0.9"} <= set(written)
    assert set(written["median"]) <= {3, 4, 5}


def test_texts_without_an_order_are_refused_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = frame().replace({"grade": dict(zip((3, 4, 5), ORDER, strict=True))})
    words.to_csv("grades.csv", index=False)
    fit = ["fit", "--data.path=grades.csv", "--data.target=grade", "--model.family=ordinal"]
    assert main([*fit, "--trainer.accelerator=cpu"]) == 2
    assert "order" in capsys.readouterr().err


def test_predictions_of_ordered_classes_are_labels():
    family = dh.get_family("ordinal", num_classes=3)
    dist = family.distribution(loc=torch.tensor([-9.0, 0.0, 9.0]), cutpoints=[-1.0, 1.0])
    columns = predictions(dist, ["size"], classes={"size": ORDER}, level=0.9, samples=1)
    assert columns["median"].tolist() == columns["mode"].tolist() == ORDER
    assert columns["lower_90"].tolist() == ["low", "low", "high"]
    assert "sample_0" in columns


def test_intervals_are_pairs_of_classes(tmp_path):
    generator = np.random.default_rng(3)
    X = generator.normal(size=(150, 1))
    grade = np.digitize(X[:, 0] + 0.5 * generator.normal(size=150), [-1.0, 0.0, 1.0])
    names = np.array(["d", "c", "b", "a"])  # the order is not that of the texts
    y = pd.Series(pd.Categorical.from_codes(grade, names, ordered=True))
    model = dh.DistributionClassifier(max_steps=60, random_state=0, hidden_sizes=(8,)).fit(X, y)
    for level in (0.3, 0.9):
        lower, upper = model.predict_interval(X, level)
        place = {name: k for k, name in enumerate(names)}
        low, high = (np.array([place[name] for name in end]) for end in (lower, upper))
        cumulative = model.predict_proba(X).cumsum(1)
        rows, tail = np.arange(150), (1 - level) / 2
        below = np.where(low > 0, cumulative[rows, low - 1], 0.0)
        assert (below <= tail + 1e-9).all()
        assert (cumulative[rows, low] >= tail - 1e-9).all()
        assert (1 - cumulative[rows, high] <= tail + 1e-9).all()
    model.save(tmp_path / "model")
    loaded = dh.DistributionClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_interval(X)[0], lower)
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        model.predict_interval(X, 90)
    plain = dh.DistributionClassifier(max_steps=10, random_state=0, ordered=False).fit(X, y)
    with pytest.raises(ValueError, match=r"no order .* predict_proba; or fit with ordered=True"):
        plain.predict_interval(X)
