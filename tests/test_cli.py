"""The command line: what it prints, what can be overridden, and how errors look."""

import re
import subprocess
import sys
from pathlib import Path

import lightning  # noqa: F401  its log handler keeps the stderr that it meets first, which must not be a captured one
import numpy as np
import pandas as pd
import pytest

from disthead import families
from disthead.cli import main

ROOT = Path(__file__).parents[1]
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
COUNTS = str(ROOT / "configs" / "counts.yaml")


@pytest.fixture
def visits(tmp_path, monkeypatch) -> pd.DataFrame:
    """my.csv: counts that depend on a number and a text."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    age, town = random.normal(50, 10, 150), random.choice(["north", "south"], 150)
    frame = pd.DataFrame(
        {"age": age, "town": town, "visits": random.poisson(np.exp((age - 50) / 20 + (town == "north")))}
    )
    frame.to_csv("my.csv", index=False)
    return frame


FIT = ["fit", "--config", COUNTS, "--data.path=my.csv", "--data.target=visits"]


def fit(*options: str) -> str:
    """Train for a moment; the path of the best checkpoint."""
    assert main([*FIT, "--trainer.max_epochs=2", *QUIET, *options]) == 0
    return str(sorted(Path.cwd().rglob("best.ckpt"))[-1])


def test_families_prints_the_table(capsys):
    assert main(["families"]) == 0
    printed = capsys.readouterr().out
    for name in families():
        assert re.search(rf"^{name}\s", printed, re.MULTILINE)


@pytest.mark.parametrize("name", families())
def test_explain_is_for_people(name, capsys):
    assert main(["explain", name]) == 0
    printed = capsys.readouterr().out
    for label in ("noise", "density", "parameters", "loss", "breaks", "then try"):
        assert re.search(rf"^  {label}\s+\S", printed, re.MULTILINE), label


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["explain", "studnt"], "did you mean 'student_t'"),
        (["explain"], "name of one family"),
        (["familes"], "did you mean 'families'"),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["fit", "--config", COUNTS, "--model.familly=normal"], "did you mean '--model.family'"),
        (["fit", "--config", COUNTS, "--model.family=poison"], "did you mean 'poisson'"),
        (["fit", "--config", COUNTS, "--trainer.max_epochs=many"], "max_epochs"),
        ([*FIT[:-1], "--data.target=visit"], "did you mean 'visits'"),
        ([*FIT, "--data.path=your.csv"], "no such file: your.csv"),
        ([*FIT, "--model.family=beta"], "column 'visits' must be in the support of beta"),
        (["test"], "needs --ckpt_path"),
        (["test", "--ckpt_path=my.csv"], "my.csv is not a checkpoint"),
        (["predict", "--ckpt_path=gone.ckpt"], "no such checkpoint: gone.ckpt"),
    ],
)
def test_errors_are_one_message(visits, capsys, arguments, message):
    quiet = QUIET if arguments[0] == "fit" else []
    assert main([*arguments, *quiet]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert printed.count("disthead: error:") == 1


def test_everything_can_be_overridden_and_a_new_file_is_enough_afterwards(visits, capsys):
    best = fit("--model.family=negative_binomial", "--model.optimizer.init_args.lr=0.02", "--model.hidden_sizes=[4]")
    visits.drop(columns="visits")[:30].to_csv("new.csv", index=False)
    assert main(["predict", "--ckpt_path", best, "--data.path=new.csv", "--out=p.csv", *QUIET]) == 0
    frame = pd.read_csv("p.csv")
    assert len(frame) == 30
    assert {"total_count", "mean", "quantile_0.9"} <= set(frame.columns)
    assert not visits.equals(frame)


def score(best: str, capsys, *options: str) -> float:
    capsys.readouterr()
    assert main(["test", "--ckpt_path", best, *QUIET, *options]) == 0
    found = re.search(r"test/nll\D+([\d.]+)", capsys.readouterr().out)
    assert found
    return float(found[1])


def test_the_order_of_columns_does_not_matter(visits, capsys):
    best = fit()
    visits.to_csv("same.csv", index=False)
    visits[["visits", "town", "age"]].to_csv("turned.csv", index=False)
    assert score(best, capsys, "--data.path=same.csv") == score(best, capsys, "--data.path=turned.csv")


def test_the_table_of_the_training_is_tested_on_its_test_rows(visits, capsys):
    best = fit()
    visits.to_csv("all.csv", index=False)
    assert score(best, capsys) == score(best, capsys, "--data.path=my.csv")
    assert score(best, capsys) != score(best, capsys, "--data.path=all.csv")


def test_training_resumes(visits):
    fit()
    last = str(next(Path.cwd().rglob("last.ckpt")))
    assert main([*FIT, "--trainer.max_epochs=3", *QUIET, "--ckpt_path", last]) == 0


def test_looking_things_up_does_not_load_lightning():
    code = "import sys; from disthead.cli import main; main(['families']); main(['explain', 'normal'])"
    code += "; print([m for m in ('lightning', 'pandas', 'matplotlib', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip().endswith("[]")


def test_it_is_a_module_too():
    done = subprocess.run(
        [sys.executable, "-m", "disthead", "explain", "nrmal"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr.startswith("disthead: error: unknown family 'nrmal'; did you mean 'normal'")
