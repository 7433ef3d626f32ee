"""The report on censored targets: its scores are those of the metrics, and faults are found."""

import math

import pytest
import torch
from scipy import stats

import disthead as dh
from disthead import metrics as m
from disthead.cli import main
from disthead.report import verdicts

N = 1500


@pytest.fixture(scope="module")
def lives() -> tuple[torch.Tensor, torch.Tensor]:
    """The rates of exponential lives, and pairs of which a third are right-censored."""
    generator = torch.Generator().manual_seed(0)
    rate = torch.exp(0.8 * torch.randn(N, generator=generator, dtype=torch.float64))
    time, limit = (torch.rand(2, N, generator=generator, dtype=torch.float64)).log().neg()
    time, limit = time / rate, 2 * limit
    return rate, torch.stack([time.minimum(limit), torch.where(time <= limit, time, torch.inf)], -1)


def forecast(rate: torch.Tensor) -> dh.families.Distribution:
    return dh.get_family("censored", base="exponential").distribution(rate=rate)


def test_scores_are_those_of_the_metrics(lives):
    rate, y = lives
    dist = forecast(rate)
    result = dh.evaluate(dist, y, unit="years", rows=N)
    scores = result.scores[""]
    assert scores["Negative log-likelihood"].value == pytest.approx(float(-dist.log_prob(y).mean()))
    concordance = scores["Concordance (Harrell's C)"]
    assert concordance.value == pytest.approx(float(m.Concordance()(dist, y)), abs=1e-6)
    censoring = m.KaplanMeier.of_censoring(y)
    brier = {name: score for name, score in scores.items() if name.startswith("Brier score at ")}
    assert len(brier) == 3
    events = y[y[:, 0] == y[:, 1], 0]
    for share, (name, score) in zip((0.25, 0.5, 0.75), brier.items(), strict=True):
        t = float(name.removeprefix("Brier score at "))
        assert float((events <= t).double().mean()) == pytest.approx(share, abs=0.05)
        assert score.value == pytest.approx(
            float(m.CensoredBrierScore(t, censoring)(dist, y)), rel=1e-2
        )
    (name,) = [name for name in scores if name.startswith("CRPS up to ")]
    horizon = float(name.removeprefix("CRPS up to "))
    assert float(censoring.at(torch.tensor(horizon))) > 0.05
    assert scores[name].value == pytest.approx(
        float(m.CensoredCRPS(horizon, censoring)(dist, y)), rel=1e-2
    )
    assert scores[name].unit == "years"
    statuses = {verdict.aspect: verdict.status for verdict in result.verdicts}
    assert statuses["D-calibration"] == statuses["bias"] == statuses["shape"] == "good"


def test_a_wrong_forecast_is_found_and_recalibration_is_no_advice(lives):
    rate, y = lives
    result = dh.evaluate(forecast(3 * rate), y)
    by_aspect = {verdict.aspect: verdict for verdict in result.verdicts}
    assert by_aspect["D-calibration"].status == "poor"
    assert by_aspect["bias"].status == "poor"
    for verdict in result.verdicts:
        assert "disthead recalibrate" not in verdict.remedy
    assert "another base" in by_aspect["D-calibration"].remedy


def test_batches_weights_and_files(lives, tmp_path):
    rate, y = lives
    weight = (torch.arange(N) % 3 > 0).double()
    kept = weight > 0
    batches = [(forecast(rate[k::2]), y[k::2], None, None, None, weight[k::2]) for k in (0, 1)]
    streamed = dh.evaluate(batches, out=tmp_path / "report")
    whole = dh.evaluate(forecast(rate[kept]), y[kept])
    assert streamed.rows == whole.rows == int(kept.sum())
    assert streamed.scores[""].keys() == whole.scores[""].keys()
    for name, score in whole.scores[""].items():
        assert streamed.scores[""][name].value == pytest.approx(score.value, rel=1e-4), name
    assert (tmp_path / "report" / "pit.png").exists()


def test_intervals_are_scored_as_far_as_they_can_be(lives):
    rate, y = lives
    y = y.clone()
    y[0] = torch.tensor([-math.inf, 1.0])
    result = dh.evaluate(forecast(rate), y)
    by_aspect = {verdict.aspect: verdict for verdict in result.verdicts}
    assert by_aspect["order of events"].status == "not examined"
    assert "right-censored targets" in by_aspect["probabilities over time"].sentence
    assert by_aspect["D-calibration"].status == "good"
    head = dh.DistributionHead("censored", 1, event_shape=(2,), base="normal")
    dist = head(torch.zeros(3, 1))
    with pytest.raises(NotImplementedError, match="Evaluate each censored output by itself"):
        dh.evaluate(dist, torch.tensor([[[0.0, math.inf], [1.0, 1.0]]]).expand(3, 2, 2))


def test_d_calibration_is_the_test_of_pearson():
    counts = torch.tensor([12.0, 8.0, 15.0, 5.0, 10.0, 9.0, 11.0, 20.0, 4.0, 6.0])
    verdict = verdicts.d_calibration((counts / 100).double(), 100.0)
    assert f"p = {stats.chisquare(counts).pvalue:.2g}" in verdict.sentence


def test_the_command_line_gives_them(lives, tmp_path, monkeypatch, capsys):
    rate, y = lives
    monkeypatch.chdir(tmp_path)
    observed = (y[:, 0] == y[:, 1]).int()
    rows = zip(rate.log().tolist(), y[:, 0].tolist(), observed.tolist(), strict=True)
    table = "x,time,died\n" + "\n".join(f"{x},{time},{died}" for x, time, died in rows)
    (tmp_path / "lives.csv").write_text(table)
    fit = ["fit", "--data.path=lives.csv", "--data.target=time", "--data.event=died"]
    family = ["--model.family=censored", "--model.family_options={base: exponential}"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    assert main([*fit, *family, "--trainer.max_epochs=2", *quiet]) == 0, capsys.readouterr().err
    (best,) = tmp_path.glob("**/best*.ckpt")
    assert main(["evaluate", "--ckpt", str(best)]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "Harrell's C" in printed
    assert "D-calibration" in printed
    text = (tmp_path / "report" / "metrics.json").read_text()
    assert '"Concordance (Harrell\'s C)"' in text
    assert "Brier score at" in text
