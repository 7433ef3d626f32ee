"""`import disthead` stays light, and imports run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import disthead

PACKAGE = Path(disthead.__file__).parent
LAYERS = [
    ("errors", "arrays"),
    ("links", "special", "data", "arguments", "configurations", "usage"),
    ("families",),
    ("weights", "targets", "groups"),
    ("marginal", "standardisation"),
    ("head",),
    ("losses", "parallel"),
    ("decision", "explanation", "metrics", "calibration", "diagnostics", "surface"),
    ("plots",),
    ("report",),
    ("prediction",),
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
    code = f"import disthead, sys; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_imports_run_one_way():
    """No file imports, when it is loaded, from a layer above its own."""
    for path in PACKAGE.rglob("*.py"):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.parse(path.read_text()).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                package, _, rest = name.partition(".")
                if package == "disthead" and rest:
                    assert LEVEL[rest.split(".")[0]] <= LEVEL[layer], f"{path} imports {name}"


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
