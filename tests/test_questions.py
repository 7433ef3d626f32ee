"""How much is asked of a distribution by what stands on it: numbers that have to be computed, not
seconds.
"""

import io
import re
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
import torch

import disthead as dh
from disthead import progress
from disthead.estimators import base
from disthead.families import get_family
from disthead.families.gamma import Gamma
from disthead.metrics import IntervalScore, PinballLoss
from disthead.prediction import predictions
from disthead.progress import Progress
from disthead.report import evaluate
from disthead.report.rows import PICTURED, Rows

LEVELS = [k / 20 for k in range(1, 20)]
COUNTED = (
    "log_prob",
    "cdf",
    "log_cdf",
    "log_survival",
    "icdf",
    "interval",
    "crps",
    "entropy",
    "highest_density",
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many numbers each question to a gamma distribution had for an answer, question -> one
    entry for each call.
    """
    numbers: dict[str, list[int]] = defaultdict(list)
    depth = 0

    def counted(name: str, method: Callable) -> Callable:
        def answer(self, *arguments, **options):
            nonlocal depth
            depth += 1
            try:
                result = method(self, *arguments, **options)
            finally:
                depth -= 1
            if not depth:  # not what one question asks for another
                numbers[name].append(
                    sum(map(torch.numel, result)) if isinstance(result, tuple) else result.numel()
                )
            return result

        return answer

    for name in COUNTED:
        monkeypatch.setattr(Gamma, name, counted(name, getattr(Gamma, name)))
    return numbers


def gamma(rows: int) -> tuple[dh.Distribution, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    dist = get_family("gamma").from_raw(
        torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    )
    return dist, dist.sample(generator=generator)


@pytest.fixture(scope="module")
def regressor() -> dh.DistributionRegressor:
    X = np.linspace(0, 1, 60)[:, None]
    return dh.DistributionRegressor("gamma", max_steps=2, random_state=0).fit(X, 1 + X[:, 0])


def test_an_interval_is_two_quantiles_a_row_and_all_levels_are_one_question(regressor, asked):
    X = np.linspace(0, 1, 50)[:, None]
    regressor.predict_interval(X)
    assert dict(asked) == {"interval": [2 * 50]}
    asked.clear()
    regressor.predict_quantiles(X, LEVELS)
    assert dict(asked) == {"icdf": [19 * 50]}


def test_many_levels_are_asked_of_fewer_rows_at_a_time(regressor, asked, monkeypatch):
    X = np.linspace(0, 1, 50)[:, None]
    whole = regressor.predict_quantiles(X, LEVELS)
    asked.clear()
    monkeypatch.setattr(base, "_BATCH_VALUES", 19 * 20)
    np.testing.assert_array_equal(regressor.predict_quantiles(X, LEVELS), whole)
    assert asked["icdf"] == [19 * 20, 19 * 20, 19 * 10]


def test_a_table_of_predictions_asks_for_its_quantiles_once(asked):
    dist, _ = gamma(30)
    columns = predictions(dist)
    assert [len(columns[name]) for name in ("quantile_0.1", "lower_90", "upper_90")] == [30, 30, 30]
    assert dict(asked) == {"icdf": [30, 6 * 30]}  # the median is by itself


def test_scores_ask_for_their_quantiles_once(asked):
    dist, y = gamma(30)
    PinballLoss(LEVELS)(dist, y)
    assert dict(asked) == {"icdf": [19 * 30]}
    asked.clear()
    IntervalScore(0.9)(dist, y)
    assert dict(asked) == {"interval": [2 * 30]}


def test_an_evaluation_asks_for_few_numbers_a_row(asked):
    """The scores, the PIT twice, and the median of every row; what is for pictures alone, of few
    rows.
    """
    rows = 3 * PICTURED
    features = {"a": torch.arange(rows) % 7}
    evaluate(*gamma(rows), features=features)
    total = {name: sum(numbers) for name, numbers in asked.items()}
    of_pictures, resampled = 2 * PICTURED, 4 * 2000
    assert total["log_prob"] <= rows + 1000
    assert total["crps"] == rows
    assert total["cdf"] <= 2 * rows + of_pictures
    assert total["icdf"] <= rows + resampled
    assert total["interval"] <= of_pictures
    assert total.get("log_survival", 0) <= resampled
    assert not {"entropy", "highest_density"} & set(total)


def test_beside_a_baseline_every_score_is_asked_for_once(asked):
    (dist, y), (baseline, _) = gamma(100), gamma(100)
    evaluation = evaluate(dist, y, baseline=baseline.expand((100,)))
    assert asked["crps"] == [100, 100]
    crps = evaluation.scores[""]["CRPS"].value
    assert evaluation.scores[""]["CRPS minus that of the baseline"].value == 0
    assert crps == pytest.approx(float(dist.crps(y).mean()), rel=1e-6)


def test_pictures_say_of_how_many_rows_they_are(tmp_path):
    rows = PICTURED + 1000
    evaluate(*gamma(rows), out=tmp_path / "many")
    page = (tmp_path / "many" / "report.html").read_text("utf-8")
    shown = set(
        re.findall(r"Of ([\d,]+) of the ([\d,]+) rows, drawn at random\.</figcaption>", page)
    )
    assert shown == {(f"{count:,}", f"{rows:,}") for count in (60, 2000, PICTURED)}
    evaluate(*gamma(50), out=tmp_path / "few")
    assert "drawn at random" not in (tmp_path / "few" / "report.html").read_text("utf-8")


def test_the_rows_of_pictures_move_nothing_else(monkeypatch):
    def verdicts() -> list:
        evaluation = evaluate(*gamma(500), features={"a": torch.arange(500) % 7})
        return [verdict for verdict in evaluation.verdicts if verdict.aspect != "sharpness"]

    whole = verdicts()
    monkeypatch.setattr(Rows.pictured, "__defaults__", (None, 40))
    assert verdicts() == whole


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_in_a_terminal_that_is_gone_at_the_end(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", -1.0)
    monkeypatch.setattr(progress, "_PAUSE", -1.0)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    def interrupted() -> None:
        with Progress("evaluating", 3000) as line:
            line.advance(1500)
            assert "\revaluating: 1,500 of 3,000 rows, " in terminal.getvalue()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert terminal.getvalue().endswith(
        "\r" + " " * len("evaluating: 1,500 of 3,000 rows, 1 s left") + "\r"
    )


def test_progress_is_not_shown_where_nobody_looks_or_waits(monkeypatch, capsys):
    evaluate(*gamma(50))
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("evaluating") as line:
        line.advance(10)
    assert terminal.getvalue() == ""


def test_an_evaluation_tells_the_terminal_how_far_it_is(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", -1.0)
    monkeypatch.setattr(progress, "_PAUSE", -1.0)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    evaluate(*gamma(5000))
    assert "4,096 of 5,000 rows" in terminal.getvalue()


def test_predictions_tell_the_terminal_how_far_they_are(regressor, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", -1.0)
    monkeypatch.setattr(progress, "_PAUSE", -1.0)
    monkeypatch.setattr(base, "_BATCH_ROWS", 20)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    regressor.predict(np.linspace(0, 1, 50)[:, None])
    assert re.findall(r"predicting: (\d+) of 50 rows", terminal.getvalue()) == ["20", "40", "50"]
