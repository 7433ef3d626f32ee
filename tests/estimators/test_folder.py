"""save and load: safetensors and plain JSON, nothing to unpickle; repositories of a hub by a stand-in for it."""

import json
import pickle
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from disthead import DistributionClassifier, DistributionRegressor

SMALL = {"hidden_sizes": (16,), "max_steps": 50, "random_state": 0}


def frame(rows=60):
    generator = np.random.default_rng(0)
    data = pd.DataFrame({"size": generator.normal(size=rows), "city": generator.choice(["Århus", "Rome"], rows)})
    data.loc[1, "size"] = np.nan
    return data, generator.normal(size=rows) + (data["city"] == "Rome")


def numbers(rows=60):
    generator = np.random.default_rng(0)
    return generator.normal(size=(rows, 2)), generator.normal(size=rows)


@pytest.mark.parametrize(
    "family, options, ensemble, target",
    [
        ("student_t", None, 1, lambda y: y),
        ("normal", None, 3, lambda y: y),
        ("normal_mixture", {"num_components": 2}, 1, lambda y: y),
        ("gamma", None, 1, np.exp),
        ("gamma", {"parametrization": "mean"}, 2, np.exp),
        ("poisson", None, 1, lambda y: np.floor(np.exp(y))),
        ("von_mises", None, 1, lambda y: y),
        ("multivariate_normal", None, 1, lambda y: np.stack([y, y * y], 1)),
        ("laplace", None, 1, lambda y: np.stack([y, y * y], 1)),
    ],
)
def test_what_is_loaded_predicts_the_same(tmp_path, family, options, ensemble, target):
    X, y = frame()
    y = target(y.to_numpy())
    model = DistributionRegressor(family, options, ensemble, **SMALL).fit(X, y)
    again = DistributionRegressor.load(model.save(tmp_path / "model"))
    assert again.get_params() == model.get_params()
    assert np.array_equal(again.predict(X), model.predict(X))
    assert again.score(X, y) == model.score(X, y)
    assert again.report_ == model.report_
    assert again.feature_names_in_.tolist() == ["size", "city"]
    with pytest.raises(ValueError, match="seen at fit time, yet now missing:\n- city"):
        again.predict(X[["size"]])


@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"], [True, False], np.array(["a", "b"], dtype=object)])
def test_classes_are_kept_with_their_type(tmp_path, labels):
    X, y = numbers()
    y = np.asarray(labels)[(y > 0).astype(int)]
    model = DistributionClassifier(**SMALL).fit(X, y)
    again = DistributionClassifier.load(model.save(tmp_path))
    assert again.classes_.dtype == model.classes_.dtype
    assert again.predict(X).tolist() == model.predict(X).tolist()
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.score(X, y) == model.score(X, y)


def test_the_files_are_plain(tmp_path, monkeypatch):
    X, y = numbers()
    model = DistributionRegressor(**SMALL).fit(X, y)
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert config["estimator"] == "DistributionRegressor"
    assert config["parameters"]["hidden_sizes"] == [16]
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        for name, value in model.model_.state_dict().items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(file.get_tensor(name), value)

    def refuse(*arguments, **options):
        raise AssertionError("nothing may be unpickled")

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    DistributionRegressor.load(tmp_path)


def test_a_generator_as_random_state_is_not_kept(tmp_path):
    X, y = numbers()
    model = DistributionRegressor(**SMALL | {"random_state": np.random.RandomState(0)}).fit(X, y)
    again = DistributionRegressor.load(model.save(tmp_path))
    assert again.random_state is None
    assert np.array_equal(again.predict(X), model.predict(X))


class TestBadFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        X, y = numbers()
        return DistributionRegressor(**SMALL).fit(X, y).save(tmp_path)

    def test_before_fit(self, tmp_path):
        with pytest.raises(ValueError, match="not fitted yet"):
            DistributionRegressor().save(tmp_path)

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_missing_files(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(ValueError, match=f"{name} is missing"):
            DistributionRegressor.load(folder)

    def test_the_other_estimator(self, folder):
        with pytest.raises(ValueError, match=r"holds a DistributionRegressor: use DistributionRegressor\.load"):
            DistributionClassifier.load(folder)

    def test_of_another_library(self, folder):
        (folder / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(ValueError, match="is not of an estimator of disthead"):
            DistributionRegressor.load(folder)

    def test_weights_of_another_model(self, folder, tmp_path):
        X, y = numbers()
        DistributionClassifier(**SMALL).fit(X, y > 0).save(tmp_path / "other")
        shutil.copy(tmp_path / "other" / "model.safetensors", folder)
        with pytest.raises(ValueError, match="does not fit"):
            DistributionRegressor.load(folder)

    def test_without_safetensors(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "safetensors", None)
        monkeypatch.setitem(sys.modules, "safetensors.torch", None)
        with pytest.raises(ImportError, match="pip install safetensors"):
            DistributionRegressor.load(folder)

    def test_cut_off_weights(self, folder):
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match="is not a file of safetensors"):
            DistributionRegressor.load(folder)


class TestHub:
    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        """Repositories as folders, with the three functions of huggingface_hub that are used."""
        root = tmp_path / "hub"

        def create_repo(repo_id, *, exist_ok, private=False, token=None):
            (root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
            return f"https://hub/{repo_id}"

        def upload_folder(*, repo_id, folder_path, token=None):
            shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)

        def snapshot_download(repo_id, *, allow_patterns, revision=None):
            assert set(allow_patterns) == {path.name for path in (root / repo_id).iterdir()}
            return str(root / repo_id)

        functions = (create_repo, upload_folder, snapshot_download)
        stand_in = SimpleNamespace(**{function.__name__: function for function in functions})
        monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)

    def test_there_and_back(self, hub):
        X, y = numbers()
        model = DistributionRegressor(**SMALL).fit(X, y)
        assert model.push_to_hub("someone/noise", private=True) == "https://hub/someone/noise"
        again = DistributionRegressor.from_pretrained("someone/noise", revision="main")
        assert np.array_equal(again.predict(X), model.predict(X))

    def test_a_local_folder_needs_no_hub(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        X, y = numbers()
        model = DistributionRegressor(**SMALL).fit(X, y)
        again = DistributionRegressor.from_pretrained(model.save(tmp_path / "model"))
        assert np.array_equal(again.predict(X), model.predict(X))
        for ask in (model.push_to_hub, DistributionRegressor.from_pretrained):
            with pytest.raises(ImportError, match="pip install huggingface_hub"):
                ask("someone/noise")


def test_saving_makes_the_folders_above(tmp_path):
    X, y = numbers()
    folder = DistributionRegressor(**SMALL).fit(X, y).save(str(tmp_path / "a" / "b"))
    assert folder == Path(tmp_path / "a" / "b")
    assert folder.is_dir()
