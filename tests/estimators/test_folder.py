"""save and load: safetensors and plain JSON, nothing to unpickle; repositories of a hub by a
stand-in for it.
"""

import contextlib
import json
import os
import pickle
import shutil
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from disthead import DistributionClassifier, DistributionRegressor
from disthead.networks.model_folder import read_folder, write_folder
from disthead.networks.tabular import TabularBackbone
from disthead.training import DistributionModule
from tests.reliability.mutations import mutate_entries

OLD = Path(__file__).parents[1] / "data"

SMALL = {"hidden_sizes": (16,), "max_steps": 50, "random_state": 0}


def frame(rows=60):
    generator = np.random.default_rng(0)
    data = pd.DataFrame(
        {"size": generator.normal(size=rows), "city": generator.choice(["Århus", "Rome"], rows)}
    )
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


@pytest.mark.parametrize(
    "labels", [[0, 1], ["no", "yes"], [True, False], np.array(["a", "b"], dtype=object)]
)
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
        with pytest.raises(
            ValueError, match=r"holds a DistributionRegressor: use DistributionRegressor\.load"
        ):
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


def changed(folder, entry, value):
    """Change an entry of config.json, such as `table.columns.0.fill`."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    *path, last = entry.split(".")
    holder = config
    for name in path:
        holder = holder[int(name)] if isinstance(holder, list) else holder[name]
    holder[last] = value
    (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False), "utf-8")


def named_if_refused(load, folder) -> bool:
    """Whether a folder is read, or refused with its name."""
    try:
        load(folder)
    except ValueError as error:
        return str(folder) in str(error)
    return True


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path):
        X, y = frame()
        return DistributionRegressor(**SMALL).fit(X, y).save(tmp_path / "model")

    @pytest.fixture
    def old(self, tmp_path):
        """A folder without digests."""
        return Path(shutil.copytree(OLD / "regressor_of_version_0_1", tmp_path / "old"))

    @pytest.mark.parametrize(
        "name", ["backbone.layers.0.weight", "feature_loc", "recalibration.scale"]
    )
    def test_a_changed_tensor_is_named(self, folder, name):
        contents = bytearray((folder / "model.safetensors").read_bytes())
        start = int.from_bytes(contents[:8], "little")
        header = json.loads(contents[8 : 8 + start])
        contents[8 + start + header[name]["data_offsets"][1] - 1] ^= 1
        (folder / "model.safetensors").write_bytes(contents)
        with pytest.raises(
            ValueError,
            match=rf"model\.safetensors is damaged: the tensor '{name}' is not what was written",
        ):
            DistributionRegressor.load(folder)

    @pytest.mark.parametrize(
        "entry, value",
        [
            ("model.columns.features.0.fill", 0.25),
            ("model.columns.features.1.categories", ["Århus", "Rome"]),
            ("parameters.family", "laplace"),
            ("parameters.device", "cuda"),
            ("report", []),
            ("model.ensemble", 2),
            ("weights_sha256", "0"),
            ("sha256", "0"),
            ("further", None),
        ],
    )
    def test_a_changed_entry_is_named(self, folder, entry, value):
        changed(folder, entry, value)
        shown = entry.replace(".0.", "[0].").replace(".1.", "[1].")
        with pytest.raises(
            ValueError, match=r"config\.json is damaged, or was changed: entry"
        ) as caught:
            DistributionRegressor.load(folder)
        assert shown in str(caught.value)

    @pytest.mark.parametrize(
        "text, message",
        [
            ("", "Expecting value"),
            ("{", "line 1"),
            ("[1]", "a mapping is needed"),
            ('{"a": 1, "a": 2}', "entry a comes twice"),
        ],
    )
    def test_what_is_no_configuration_is_refused(self, folder, text, message):
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match=rf"config\.json is damaged: .*{message}"):
            DistributionRegressor.load(folder)
        (folder / "config.json").write_bytes(b"{\xff}")
        with pytest.raises(ValueError, match=r"config\.json is damaged: 'utf-8'"):
            DistributionRegressor.load(folder)

    def test_another_layout_of_the_same_entries_is_no_damage(self, folder):
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps(config, sort_keys=True), newline="\r\n")
        assert DistributionRegressor.load(folder).report_ == config["report"]

    def test_weights_without_their_metadata_are_refused(self, folder):
        from safetensors.torch import load_file, save_file

        save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
        with pytest.raises(
            ValueError, match=r"model\.safetensors is not what was written beside config\.json"
        ):
            DistributionRegressor.load(folder)

    @pytest.mark.parametrize(
        "entry, value, message",
        [
            (
                "parameters.hidden_sizes",
                [10**9],
                r"backbone\.layers\.0\.weight' has the shape",
            ),
            ("parameters.hidden_sizes", [4, 10**12], "layers"),
            ("parameters.hidden_sizes", [10**30], r"entry parameters\.hidden_sizes"),
            (
                "parameters.hidden_sizes",
                ["4"],
                r"entry parameters\.hidden_sizes must be a list, each entry a whole number",
            ),
            ("parameters.hidden_sizes", None, r"entry parameters\.hidden_sizes"),
            ("parameters.family", "norml", "did you mean 'normal'"),
            ("parameters.family", 3, r"entry parameters\.family must be a text, got 3"),
            ("parameters.family_options", {"rank": 3}, "rank"),
            ("parameters.device", "cup", r"entry parameters\.device"),
            ("parameters.ensemble", True, r"entry parameters\.ensemble"),
            ("parameters.further", 1, r"entry parameters\.further is unknown"),
            ("members", 10**9, "has the shape"),
            ("target.shape", [10**9], "shape|target"),
            ("target.count", 2, r"entry target\.count"),
            ("table", [], "entry table must be a mapping"),
            ("table.columns", {}, r"entry table\.columns must be a list"),
            (
                "table.columns.0.fill",
                float("nan"),
                r"entry table\.columns\[0\]\.fill must be a finite number or null, got nan",
            ),
            ("table.columns.0.name", "city", "two columns of one name"),
            ("table.columns.1.categories", [1], r"entry table\.columns\[1\]\.categories"),
            ("table.named", "yes", r"entry table\.named must be true or false"),
            ("recalibration.name", "Scale", "unknown recalibration 'Scale'"),
            (
                "recalibration.arguments",
                {"x": 1},
                r"entry recalibration\.arguments of ScaleCalibration",
            ),
            ("recalibration.fitted_on", None, r"entry recalibration\.fitted_on"),
            (
                "recalibration.fitted_on",
                {"family": "Gamma"},
                r"entry recalibration\.fitted_on\.event_shape is missing",
            ),
            (
                "recalibration.fitted_on",
                {"family": "Gamma", "event_shape": []},
                "was fitted on Gamma, got Normal",
            ),
            ("classes", {"values": [1], "dtype": "x"}, "classes"),
            ("report", "none", "entry report must be a list"),
            ("estimator", None, "entry estimator must be a text"),
        ],
    )
    def test_wrong_entries_of_a_folder_without_digests_are_named_before_anything_is_allocated(
        self, old, entry, value, message
    ):
        changed(old, entry, value)
        with pytest.raises(ValueError, match=rf"(config\.json|old).*({message})"):
            DistributionRegressor.load(old)

    @pytest.mark.parametrize("k", range(60))
    @pytest.mark.parametrize("kind", [DistributionRegressor, DistributionClassifier])
    def test_any_entry_of_a_folder_without_digests_is_read_or_refused_with_the_file(
        self, tmp_path, kind, k
    ):
        name = kind.__name__.removeprefix("Distribution").lower()
        folder = Path(shutil.copytree(OLD / f"{name}_of_version_0_1", tmp_path / "old"))
        config = json.loads((folder / "config.json").read_text("utf-8"))
        generator = np.random.default_rng(k)
        (folder / "config.json").write_text(json.dumps(mutate_entries(config, generator)), "utf-8")
        assert named_if_refused(kind.load, folder)


class Killed(BaseException):
    """The process ends at a system call."""


class TestSavingOverAnotherModel:
    """A save that ends at any system call leaves the old model or the new one."""

    @pytest.fixture
    def models(self):
        X, y = numbers()
        return [
            DistributionRegressor(**SMALL | {"random_state": seed}).fit(X, y) for seed in (0, 1)
        ]

    @pytest.mark.parametrize("is_old", [False, True])
    def test_killed_at_any_replacement(self, tmp_path, monkeypatch, models, is_old):
        X, _ = numbers()
        first, second = models
        if is_old:  # of a version without digests, whose weights do not hold their configuration
            table = pd.read_csv(OLD / "table_with_missing_values.csv")
            X = table.drop(columns="y")
            shutil.copytree(OLD / "regressor_of_version_0_1", tmp_path / "first")
            (tmp_path / "first" / "expected.json").unlink()
            first = DistributionRegressor.load(tmp_path / "first")
            second = DistributionRegressor(**SMALL).fit(X, table["y"])
        else:
            first.save(tmp_path / "first")
        before, after = first.predict(X), second.predict(X)
        is_new = []
        for count in range(4):
            folder = Path(shutil.copytree(tmp_path / "first", tmp_path / f"{count}"))
            with monkeypatch.context() as patch, contextlib.suppress(Killed):
                kill_at(patch, count)
                second.save(folder)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                predicted = DistributionRegressor.load(folder).predict(X)
            is_new.append(np.array_equal(predicted, after))
            assert is_new[-1] or np.array_equal(predicted, before)
            assert [str(warning.message) for warning in caught] == [] or "interrupted" in str(
                caught[0].message
            )
        assert is_new == sorted(is_new)
        assert is_new[0] is False
        assert is_new[-1] is True

    def test_over_a_model_of_another_kind(self, tmp_path, monkeypatch, models):
        X, y = numbers()
        folder = DistributionClassifier(**SMALL).fit(X, y > 0).save(tmp_path / "model")
        with monkeypatch.context() as patch:
            kill_at(patch, 1)
            with pytest.raises(Killed):
                models[0].save(folder)
        with pytest.warns(UserWarning, match="a save that was interrupted leaves"):
            again = DistributionRegressor.load(folder)
        assert np.array_equal(again.predict(X), models[0].predict(X))
        with pytest.raises(
            ValueError, match=r"does not fit config\.json: it holds a DistributionRegressor"
        ):
            DistributionClassifier.load(folder)

    def test_saving_again_mends_it(self, tmp_path, models, recwarn):
        X, _ = numbers()
        for model in models:
            model.save(tmp_path)
        assert np.array_equal(DistributionRegressor.load(tmp_path).predict(X), models[1].predict(X))
        assert not recwarn.list
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "config.json",
            "model.safetensors",
        ]


def kill_at(patch, count):
    """Make only so many replacements of files, and then end the process."""
    replace, left = os.replace, [count]

    def dies(*arguments):
        if not left[0]:
            raise Killed
        left[0] -= 1
        replace(*arguments)

    patch.setattr(os, "replace", dies)


class TestHub:
    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        """A stand-in for huggingface_hub, in which repositories are folders."""
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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["head.linear.bias", "head.target_loc"])
def test_weights_that_are_no_numbers_are_refused_though_their_digest_fits(tmp_path, value, name):
    X, y = numbers()
    model = DistributionRegressor(**SMALL).fit(X, y)
    with torch.no_grad():
        model.model_.state_dict()[name].view(-1)[0] = value
    with pytest.raises(
        ValueError,
        match=f"1 of the .* of the weights '{name}' are NaN or infinite.* It is not saved",
    ):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with mock.patch("disthead.estimators.folder.check_weights"):  # as another program writes it
        folder = model.save(tmp_path / "model")
    with pytest.raises(
        ValueError, match=f"1 of the .* of the weights '{name}' are NaN or infinite"
    ):
        DistributionRegressor.load(folder)


@pytest.mark.parametrize(
    "place, value, message",
    [
        (("classes",), {"values": ["x", "y"], "dtype": "<U1"}, "entry classes has x, y for one"),
        (("classes",), {"values": ["y", "x", "z"], "dtype": "<U1"}, "entry classes has y, x, z"),
        (("classes",), None, "entry classes is null"),
        (("model", "columns", "classes"), {"t": ["z", "y", "x"]}, "for the targets t"),
        (("model", "columns", "classes"), {"u": ["x", "y", "z"]}, "for the targets t"),
        (("model", "family_options"), {"num_classes": 4}, "3 classes, and the model 4"),
        (("model", "min_scale"), -5, "min_scale must be a number, 0 or more and below 1"),
        (("model", "min_scale"), 1e9, "min_scale must be a number, 0 or more and below 1"),
        (("model", "min_scale"), float("nan"), "min_scale must be a number"),
        (("parameters", "objective"), "crsp", "unknown objective 'crsp'; did you mean 'crps'"),
    ],
)
def test_both_readers_refuse_entries_that_contradict_each_other(tmp_path, place, value, message):
    X, y = numbers()
    y = pd.Series(np.array(["x", "y", "z"])[np.digitize(y, [-0.5, 0.5])], name="t")
    folder = DistributionClassifier(**SMALL).fit(X, y).save(tmp_path / "model")
    config, tensors, _ = read_folder(folder)
    config = {name: entry for name, entry in config.items() if not name.endswith("sha256")}
    entries = config
    for name in place[:-1]:
        entries = entries[name]
    entries[place[-1]] = value
    write_folder(tmp_path / "other", config, tensors)
    for load in (DistributionClassifier.load, DistributionModule.load_from_checkpoint):
        with pytest.raises(ValueError, match=message):
            load(tmp_path / "other")


def test_both_files_have_the_permissions_of_other_files(tmp_path):
    X, y = numbers()
    folder = DistributionRegressor(**SMALL).fit(X, y).save(tmp_path / "model")
    (tmp_path / "other").touch()
    for path in folder.iterdir():
        assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


class TestWrongPaths:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        return DistributionRegressor(**SMALL).fit(*numbers()).save(tmp_path / "model")

    @pytest.mark.parametrize(
        "path, message",
        [
            ("nothere.ckpt", "no such (file or folder|checkpoint): nothere.ckpt"),
            ("model/config.json", "give their folder, model"),
            ("model/model.safetensors", "give their folder, model"),
            ("run", r"give a checkpoint in it, such as run/checkpoints/best\.ckpt"),
            ("half", r"half must hold .*; model\.safetensors is missing"),
            ("table.csv", "table.csv is a table, not a checkpoint"),
        ],
    )
    def test_the_error_says_which_path_to_give(self, folder, path, message):
        Path("run/checkpoints").mkdir(parents=True)
        Path("run/checkpoints/best.ckpt").touch()
        Path("half").mkdir()
        shutil.copy("model/config.json", "half")
        Path("table.csv").write_text("a,b\n1,2\n")
        for load in (DistributionRegressor.load, DistributionModule.load_from_checkpoint):
            with pytest.raises(ValueError, match=message):
                load(path)

    def test_a_local_folder_takes_no_options_of_a_repository(self, folder):
        DistributionRegressor.from_pretrained("model", trust="my_package")
        with pytest.raises(TypeError, match="got revision: leave them out"):
            DistributionRegressor.from_pretrained("model", revision="main")


def test_trust_of_a_local_folder_is_not_ignored(tmp_path):
    folder = DistributionRegressor(**SMALL).fit(*numbers()).save(tmp_path / "model")
    config, tensors, _ = read_folder(folder)
    config["model"]["backbone"]["class_path"] = f"{__name__}.Backbone"
    config = {name: entry for name, entry in config.items() if not name.endswith("sha256")}
    write_folder(tmp_path / "own", config, tensors)
    with pytest.raises(ValueError, match="trust"):
        DistributionRegressor.from_pretrained(tmp_path / "own")
    model = DistributionRegressor.from_pretrained(tmp_path / "own", trust=__name__)
    assert isinstance(model.model_.backbone, Backbone)


class Backbone(TabularBackbone):
    """A class outside the package."""
