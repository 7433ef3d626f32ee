"""A checkpoint may use classes of torch.nn, torch.optim and disthead, and those of packages that
the caller trusts.
"""

import inspect
import pickle
import sys
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from disthead.cli import main
from disthead.training import DistributionModule, TabularDataModule
from disthead.training.checkpoints import evaluate_checkpoint, recalibrate_checkpoint
from disthead.training.predictor import Predictor
from disthead.training.trust import check_callbacks, check_classes, check_sources, trusted_names
from disthead.training.writing import predict_files

CODE = """
import os
from torch import nn
from torch.nn import Linear

class Net(nn.Module):
    def __init__(self, in_features, out_features=3, activation=None):
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)

    def forward(self, x):
        return self.layer(x)

class Plain:
    pass

def make(in_features):
    return Net(in_features)
"""
QUIET = [
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--trainer.logger=false",
]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the user's, which nothing has imported yet."""
    folder = tmp_path / "modules" / "own_package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from own_package.nets import Net\n")
    (folder / "nets.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.chdir(tmp_path)
    yield "own_package"
    for name in [name for name in sys.modules if name.startswith("own_package")]:
        del sys.modules[name]


@pytest.fixture
def checkpoint(package, trainer, tmp_path):
    """Of a model whose backbone is the user's own, and whose process has ended."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] + x[:, 1]}).to_parquet(
        tmp_path / "table.parquet"
    )
    module = DistributionModule("normal", backbone=f"{package}.nets.Net")
    own = trainer(epochs=1)
    own.fit(module, datamodule=TabularDataModule(str(tmp_path / "table.parquet"), target="y"))
    own.save_checkpoint(tmp_path / "own.ckpt")
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]
    return tmp_path / "own.ckpt"


def refuses(package):
    return pytest.raises(
        ValueError,
        match=rf"own\.ckpt names the class '{package}\.nets\.Net'.*trust=.*--trust {package}",
    )


def test_a_class_of_ones_own_needs_trust_in_every_way_to_open_a_checkpoint(
    checkpoint, package, tmp_path
):
    table, out = str(tmp_path / "table.parquet"), tmp_path / "out"
    ways = {
        "module": lambda **trust: DistributionModule.load_from_checkpoint(checkpoint, **trust),
        "predictor": lambda **trust: Predictor(checkpoint, **trust).module,
        "files": lambda **trust: predict_files(checkpoint, table, out, **trust),
        "evaluate": lambda **trust: evaluate_checkpoint(str(checkpoint), **trust),
        "recalibrate": lambda **trust: recalibrate_checkpoint(
            str(checkpoint), str(tmp_path / "new.ckpt"), **trust
        ),
    }
    for way in ways.values():
        with refuses(package):
            way()
    assert package not in sys.modules
    for way in ways.values():
        way(trust=package)
    for trust in (["own_package.nets"], ("other", "own_package.nets.Net"), "own_package, other"):
        assert type(ways["module"](trust=trust).backbone).__name__ == "Net"


@pytest.mark.parametrize(
    "trust",
    ["own_packag", "own_package.net", "own_package.nets.Ne", "nets", "own_package.nets.Other"],
)
def test_trust_in_something_else_is_none(checkpoint, package, trust):
    with refuses(package):
        DistributionModule.load_from_checkpoint(checkpoint, trust=trust)
    assert package not in sys.modules


def test_a_pickled_predictor_keeps_its_trust(checkpoint, package, tmp_path):
    predict = pickle.loads(pickle.dumps(Predictor(checkpoint, trust=[package])))
    assert len(predict(pd.read_parquet(tmp_path / "table.parquet"))["mean"]) == 60


def test_commands_take_trust(checkpoint, package, capsys):
    for command in ("test", "predict", "evaluate", "recalibrate"):
        quiet = QUIET if command in ("test", "predict") else []
        assert main([command, "--ckpt", str(checkpoint), *quiet]) == 2
        assert f"--trust {package}.nets.Net" in capsys.readouterr().err
        assert package not in sys.modules
    for command in ("test", "predict", "recalibrate"):
        quiet = QUIET if command in ("test", "predict") else []
        assert main([command, "--ckpt", str(checkpoint), "--trust", package, *quiet]) == 0


def test_training_goes_on_with_a_class_of_the_configuration(checkpoint, package, capsys, tmp_path):
    """It is the caller's; only what the caller has not named needs trust."""
    fit = [
        "fit",
        "--data.path=table.parquet",
        "--data.target=y",
        "--trainer.max_epochs=2",
        *QUIET,
        "--ckpt=own.ckpt",
    ]
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump({"model": {"backbone": {"class_path": f"{package}.nets.Net"}}})
    )
    assert main([*fit, "--config=own.yaml", "--trainer.enable_model_summary=false"]) == 0, (
        capsys.readouterr().err
    )
    assert main(fit) == 2
    assert f"names the class '{package}.nets.Net'" in capsys.readouterr().err


def test_training_in_python_goes_on_without_trust(checkpoint, package, trainer, tmp_path):
    module = DistributionModule("normal", backbone=f"{package}.nets.Net")
    data = TabularDataModule(str(tmp_path / "table.parquet"), target="y")
    trainer(epochs=2).fit(module, datamodule=data, ckpt_path=str(checkpoint))


def test_an_argument_of_the_callers_own_needs_no_trust(checkpoint, package):
    loaded = DistributionModule.load_from_checkpoint(checkpoint, backbone=f"{package}.nets.Net")
    assert type(loaded.backbone).__name__ == "Net"
    assert (
        DistributionModule("normal", backbone=f"{package}.nets.make", in_features=2).head
        is not None
    )


PATHS = {
    "own_package.nets.make": "is not a subclass of Module",
    "own_package.nets.Plain": "is not a subclass of Module",
    "own_package.nets.os": "is not a subclass of Module",
    "own_package.nets.os.system": "cannot be imported",
    "own_package.nets.Missing": "unknown backbone 'Missing'",
    "own_package.nets.__loader__": "is not the path of a class",
    "own_package.nets.": "is not the path of a class",
    "own_package..nets.Net": "is not the path of a class",
}


@pytest.mark.parametrize("path", PATHS)
def test_trust_covers_classes_of_the_wanted_kind_alone(package, path):
    with pytest.raises(ValueError, match=PATHS[path]) as error:
        check_classes({"backbone": {"class_path": path, "init_args": {}}}, "own.ckpt", package)
    assert "own.ckpt" in str(error.value)


def test_a_class_is_where_it_is_defined_not_where_it_is_imported(package):
    trust = "own_package.nets"
    check_classes({"backbone": "own_package.nets.Linear"}, "own.ckpt", trust)  # torch.nn's own
    with pytest.raises(ValueError, match=r"names the class 'own_package\.Net'"):
        check_classes({"backbone": "own_package.Net"}, "own.ckpt", trust)
    with pytest.raises(
        ValueError, match=r"'disthead\.metrics\.mean\.Metric'.*which is 'torchmetrics"
    ):
        check_classes({"backbone": "disthead.metrics.mean.Metric"}, "own.ckpt")


def test_classes_of_torch_and_disthead_need_no_trust():
    options = {
        "backbone": {
            "class_path": "torch.nn.Sequential",
            "init_args": {"a": {"class_path": "torch.nn.modules.linear.Linear"}},
        },
        "activation": "SiLU",
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1}},
        "scheduler": {
            "class_path": "disthead.networks.schedule.WarmupConstantDecay",
            "init_args": {"steps": 3},
        },
    }
    check_classes(options, "a.ckpt")
    for path in (
        "torch.nn.TransformerEncoderLayer",
        "disthead.networks.tabular.TabularBackbone",
        "torch.nn.Flatten",
    ):
        check_classes(
            {"backbone": {"class_path": path, "init_args": {"activation": "relu"}}}, "a.ckpt"
        )
    for path in (
        "ReduceLROnPlateau",
        "torch.optim.lr_scheduler.OneCycleLR",
        "torch.optim.swa_utils.SWALR",
    ):
        check_classes({"scheduler": path}, "a.ckpt")


def test_names_of_columns_are_no_classes():
    check_classes(
        {
            "columns": {
                "classes": {"class_path": ["os.system", "b"]},
                "features": [{"name": "class_path"}],
            }
        },
        "a.ckpt",
    )
    check_classes(
        {"family": "normal", "columns": {"target": ["os.system"], "weight": "os.system"}}, "a.ckpt"
    )


@pytest.mark.parametrize("name", ["", "my package", "*", "a..b", "os.", 3, None, "__main__"])
def test_trust_is_names(name):
    with pytest.raises(ValueError, match="trust must be names"):
        trusted_names([name])


def test_options_of_lightnings_loading_that_would_run_code_are_refused(
    checkpoint, package, tmp_path
):
    load = DistributionModule.load_from_checkpoint
    with pytest.raises(ValueError, match="weights_only=False would run code"):
        load(checkpoint, weights_only=False, trust=package)
    (tmp_path / "hparams.yaml").write_text("!!python/object/apply:os.system ['touch PWNED']\n")
    with pytest.raises(ValueError, match=r"hparams_file .* is not read"):
        load(checkpoint, hparams_file="hparams.yaml", trust=package)
    assert not (tmp_path / "PWNED").exists()
    assert main(["test", "--ckpt", str(checkpoint), "--weights_only=false"]) == 2


def test_a_configuration_in_yaml_makes_no_objects_of_python(package, tmp_path, capsys):
    (tmp_path / "evil.yaml").write_text("model: !!python/object/apply:os.system ['touch PWNED']\n")
    assert main(["fit", "--config=evil.yaml", "--data.path=x.csv"]) == 2
    assert "is not a configuration in YAML" in capsys.readouterr().err
    assert not (tmp_path / "PWNED").exists()


def test_weights_may_be_missing_or_left_over_if_the_caller_says_so(checkpoint, package):
    contents = torch.load(checkpoint, weights_only=True)
    contents["state_dict"]["more"] = contents["state_dict"].pop("backbone.layer.bias")
    torch.save(contents, "less.ckpt")
    with pytest.raises(ValueError, match=r"less\.ckpt.*backbone\.layer\.bias"):
        DistributionModule.load_from_checkpoint("less.ckpt", trust=package)
    with pytest.warns(
        UserWarning, match=r"missing \['backbone.layer.bias'\], unexpected \['more'\]"
    ):
        DistributionModule.load_from_checkpoint("less.ckpt", trust=package, strict=False)


def test_options_of_a_subclass_are_left_out(checkpoint, package):
    class Own(DistributionModule):
        def __init__(self, own: int = 0, **options):
            super().__init__(**options)
            self.hparams["own"] = own

    contents = torch.load(checkpoint, weights_only=True)
    contents["hyper_parameters"] |= {"own": 5, "_instantiator": "os.system"}
    torch.save(contents, "own.ckpt")
    assert Own.load_from_checkpoint("own.ckpt", trust=package).hparams["own"] == 5
    assert "own" not in DistributionModule.load_from_checkpoint("own.ckpt", trust=package).hparams


def test_tables_of_a_checkpoint_are_files_of_this_machine(tmp_path):
    for table in ("gone.csv", str(tmp_path), "rows/*.parquet", None):
        check_sources({"path": table}, "a.ckpt")
    for table in (
        "http://a.b/c.csv",
        "s3://bucket/c.parquet",
        "//server/share/c.csv",
        "\\\\server\\c.csv",
        "/dev/zero",
        {},
    ):
        with pytest.raises(
            ValueError, match=r"a\.ckpt names the table .* not a file or folder of this machine"
        ):
            check_sources({"val_path": table}, "a.ckpt")


def test_the_data_of_a_training_are_those_of_its_checkpoint(checkpoint, tmp_path):
    data = TabularDataModule.load_from_checkpoint(checkpoint, test_path="other.csv")
    assert data.hparams.path == str(tmp_path / "table.parquet")
    assert data.hparams.test_path == "other.csv"


def test_checkpoints_of_before_are_in_their_folder():
    for paths in ({"/a/b/best.ckpt": 1.0}, {"s3://bucket/runs/best.ckpt": 1.0}, {}):
        check_callbacks(
            {
                "ModelCheckpoint": {
                    "dirpath": "s3://bucket/runs",
                    "best_k_models": paths,
                    "last_model_path": "",
                }
            }
        )
    for state in (
        {"best_k_models": {"/a/b/../c": 1.0}},
        {"kth_best_model_path": "../c"},
        {"last_model_path": "s3://a"},
    ):
        with pytest.raises(ValueError, match="may be removed"):
            check_callbacks({"ModelCheckpoint": state})


def test_every_way_to_open_a_checkpoint_has_trust():
    for function in (
        DistributionModule.load_from_checkpoint,
        Predictor,
        predict_files,
        evaluate_checkpoint,
        recalibrate_checkpoint,
    ):
        assert inspect.signature(function).parameters["trust"].default == ()


def test_plain_data_cannot_be_called():
    with pytest.raises(ValueError, match=r"a\.ckpt: links\.loc must be plain data"):
        check_classes({"links": {"loc": OrderedDict}}, "a.ckpt")
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="64 levels"):
        check_classes({"links": endless}, "a.ckpt")
