"""Every example runs, and shows what it says."""

import json

import pandas as pd
import torch

from examples import demo, distillation, ensemble, image_head, own_backbone, pyro_model


def test_own_backbone_learns_the_spread(capsys):
    loss = own_backbone.main()
    assert loss < 0.5
    assert "spread near 0 and near 2" in capsys.readouterr().out


def test_image_head_gives_a_distribution_per_pixel():
    assert image_head.main() == (8, 16, 16)


def test_pyro_model_scores_what_it_sampled():
    assert bool(pyro_model.main().isfinite().all())


def test_a_student_of_the_teacher_is_better_than_one_of_the_labels(capsys):
    teacher, student, alone = distillation.main().values()
    assert teacher < alone
    assert student < alone
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_members_disagree_where_there_are_no_data(tmp_path, capsys):
    dist = ensemble.main(["--out", str(tmp_path / "ensemble.png"), "--max-steps", "600"])
    place = torch.linspace(-1, 10, 221)
    among = ((place > 0.5) & (place < 1.5)) | ((place > 5.5) & (place < 7.5))
    for nowhere in ((place > 3) & (place < 4), place > 9.5):
        assert dist.epistemic[nowhere].min() > 4 * dist.epistemic[among].mean()
    assert "in the gap" in capsys.readouterr().out
    assert (tmp_path / "ensemble.png").stat().st_size > 20_000


def test_demo_leaves_metrics_predictions_and_a_picture(tmp_path, capsys):
    demo.main(["--out", str(tmp_path)])
    printed = capsys.readouterr().out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    follows, constant, marginal = (
        metrics[name]
        for name in ("spread follows income", "constant spread", "no features (marginal)")
    )
    assert follows["nll"] < constant["nll"] < marginal["nll"]
    # The constant spread is far too wide for the poor and too narrow for the rich.
    assert constant["coverage_90_low_income"] == 1
    assert constant["coverage_90_high_income"] < follows["coverage_90_high_income"]
    assert "CRPS (francs)" in printed
    table = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(table) == len(pd.read_csv(tmp_path / "predictions.csv")) == 235
    assert {"income", "foodexp", "loc", "scale", "mean", "median", "lower_90", "upper_90"} <= set(
        table.columns
    )
    assert (tmp_path / "engel.png").stat().st_size > 20_000

    again = tmp_path / "again"
    demo.main(["--out", str(again)])
    assert json.loads((again / "metrics.json").read_text()) == metrics
    assert torch.is_grad_enabled()
