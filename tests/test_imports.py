"""`import disthead` stays light, and imports run one way."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import disthead

PACKAGE = Path(disthead.__file__).parent
LAYERS = [
    ("errors", "arrays", "files", "progress", "texts", "stopping"),
    ("links", "special", "arguments", "configurations", "usage"),
    ("distributions",),
    ("likelihood",),
    ("families",),
    ("data", "weights", "targets", "groups"),
    ("optimise", "standardisation"),
    ("head",),
    ("losses", "parallel"),
    ("atlas",),
    ("objectives", "testing"),
    (
        "decision",
        "divergences",
        "explanation",
        "calibration",
        "diagnostics",
        "capabilities",
        "surface",
    ),
    ("plots",),
    ("metrics",),
    ("report",),
    ("prediction",),
    ("networks",),
    ("recipe",),
    ("training",),
    ("estimators",),
    ("cli", "export", "__main__", "__init__"),
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def test_import_loads_no_heavy_module():
    heavy = [
        "lightning",
        "torchmetrics",
        "pandas",
        "pyarrow",
        "matplotlib",
        "scipy",
        "sklearn",
        "statsmodels",
        "jsonargparse",
    ]
    for names in (
        "import disthead",
        "from disthead import DistributionClassifier, DistributionHead, DistributionRegressor",
    ):
        code = f"{names}; import sys; print([name for name in {heavy} if name in sys.modules])"
        printed = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        assert printed.strip() == "[]", names


def test_import_takes_little_longer_than_that_of_torch():
    """The aim is 1.3 times as long; a shared machine gets some slack. Times are of processes."""
    code = (
        "import time; import torch; first = time.process_time(); import disthead; "
        "disthead.DistributionRegressor; "
    )
    code += "print(time.process_time() / first)"
    ratios = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(ratios) < 1.6


def test_the_first_estimator_is_one_of_scikit_learn():
    code = (
        "import disthead, sys; assert 'sklearn' not in sys.modules; model = "
        "disthead.DistributionRegressor(max_steps=3);"
        "from sklearn.base import BaseEstimator, clone, is_regressor;"
        "print(isinstance(model, BaseEstimator), is_regressor(model), clone(model), "
        "model.set_fit_request(sample_weight=True))"
    )
    # requests for metadata are there, though scikit-learn has to be told that they are wanted
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "enable_metadata_routing" in run.stderr or run.stdout.startswith(
        "True True DistributionRegressor(max_steps=3)"
    )


def test_what_needs_lightning_is_where_it_was():
    from disthead.training import DataError, DistributionModule, NonFiniteLoss, TabularDataModule

    assert DistributionModule.__module__ == "disthead.training.module"
    assert TabularDataModule.__module__ == "disthead.training.data"
    assert issubclass(NonFiniteLoss, Exception)
    assert issubclass(DataError, ValueError)
    with pytest.raises(AttributeError, match="no attribute 'TabularModule'"):
        _ = disthead.training.TabularModule


def _imported(path: Path) -> set[str]:
    """The modules of disthead that a file imports anywhere: at its top, in a function, or for the
    types alone.
    """
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith("disthead.")}


def test_imports_run_one_way():
    """No file imports from a layer above its own; `disthead` itself loads what is on top of it
    late.
    """
    for path in PACKAGE.rglob("*.py"):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in _imported(path):
            part = name.split(".")[1]
            assert LEVEL.get(part, -1) <= LEVEL[layer], f"{path} imports {name}"


def test_no_file_imports_itself_by_way_of_others():
    """Whether an import is at the top, in a function, or for the types alone."""
    files = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }
    graph = {name: (_imported(path) & set(files)) - {name} for name, path in files.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, with the files


def test_nothing_outside_of_the_likelihood_imports_one_of_its_files():
    """Its `__init__.py` is the door. Tests of the inside and the maintainer's commands in
    benchmarks are no part of the package.
    """
    room = PACKAGE / "likelihood"
    files = {f"disthead.likelihood.{path.stem}" for path in room.glob("*.py")}
    for path in PACKAGE.rglob("*.py"):
        if path.parent == room:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [
                    node.module or "",
                    *(f"{node.module}.{alias.name}" for alias in node.names),
                ]
            assert not files.intersection(names), f"{path} imports {files.intersection(names)}"


def test_a_training_step_passes_few_files():
    """A reader who follows a step of a plain head, loss and gradient, opens seven files at most."""
    head = disthead.DistributionHead("normal", 4)
    features, y = torch.randn(50, 4), torch.randn(50)
    files: set[str] = set()

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            files.add(str(path.relative_to(PACKAGE)))

    disthead.nll(head(features), y).backward()  # compiles its programs
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        disthead.nll(head(features), y).backward()
    finally:
        sys.setprofile(before)
    assert {"head.py", "losses.py"} < files
    assert len(files) <= 7, sorted(files)


def test_only_training_and_the_command_line_import_lightning():
    for path in PACKAGE.rglob("*.py"):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if "lightning" in path.read_text() and layer not in ("training", "cli", "__main__"):
            imported = [
                line
                for line in path.read_text().splitlines()
                if line.strip().startswith(("import lightning", "from lightning"))
            ]
            assert not imported, path
