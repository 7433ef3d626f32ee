"""What commands say of a model whose objective changes the probabilities."""

from pathlib import Path

import pytest
import torch

from disthead import objectives
from disthead.objectives import caveat
from tests.objectives.table import OBJECTIVES
from tests.training.test_objective import FIT, run, table


@pytest.fixture
def labels(tmp_path, monkeypatch):
    """A table of two classes, in the working directory."""
    monkeypatch.chdir(tmp_path)
    frame = table("normal")
    frame["y"] = frame["y"].gt(550).map({True: "yes", False: "no"})
    frame.to_csv("table.csv", index=False)


FIT_CLASSES = f"{FIT} --seed_everything 1".replace("family normal", "family categorical")
CHECKPOINT = "lightning_logs/version_0/checkpoints/best.ckpt"


def test_a_changed_likelihood_is_not_compared_with_the_fit_without_features(labels, capsys):
    assert run(f"{FIT_CLASSES} --model.objective focal") == 0
    printed = capsys.readouterr().out
    assert "best val/focal" in printed
    assert "without features" not in printed
    assert caveat(objectives.focal()) in printed
    assert run(f"{FIT_CLASSES} --model.objective brier") == 0
    printed = capsys.readouterr().out
    assert "without features" in printed
    assert "not those of the data" not in printed


def test_evaluate_and_recalibrate_name_the_objective(labels, capsys):
    objective = "--model.objective.name logit_adjusted --model.objective.prior [0.2,0.8]"
    assert run(f"{FIT_CLASSES} {objective}") == 0
    sentence = "The model was trained by 'logit_adjusted', whose probabilities are not those"
    capsys.readouterr()
    assert run(f"recalibrate --ckpt {CHECKPOINT} --method TemperatureScaling") == 0
    assert sentence in capsys.readouterr().out
    assert run("evaluate --ckpt recalibrated.ckpt") == 0
    assert sentence in capsys.readouterr().out
    assert "trained by &#x27;logit_adjusted&#x27;" in Path("report/report.html").read_text()


def test_there_is_a_caveat_where_the_objective_changes_what_is_estimated():
    of_one_head = [row for row in OBJECTIVES if row.name != "sum_of"]
    with_caveat = {row.name for row in of_one_head if caveat(row.make())}
    assert {"focal", "weighted", "logit_adjusted", "label_smoothing", "hinge"} <= with_caveat
    honest = {"nll", "mse", "crps", "brier", "beta_nll", "faithful", "map", "tempered", "warm_up"}
    assert not with_caveat & honest
    assert caveat(None) == caveat(torch.nn.functional.mse_loss) == ""
