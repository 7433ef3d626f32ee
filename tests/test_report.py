"""The report: figures against direct formulas, verdicts on models whose faults are known, files
that stand alone.
"""

import json
import re

import numpy as np
import pytest
import scipy.stats
import torch

import disthead as dh
from disthead.errors import TargetError
from disthead.report import Batch, evaluate, verdicts
from disthead.report.pictures import PICTURES

ROWS = 2000


def family(name, **options):
    return dh.get_family(name, **options).distribution


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X = torch.rand(ROWS, generator=generator(), dtype=torch.float64)
SCALE = 0.5 + X
Y = 3 * X + SCALE * torch.randn(ROWS, generator=generator(1), dtype=torch.float64)
TRUE = family("normal")(loc=3 * X, scale=SCALE)


def status(result, aspect: str) -> str:
    return next(verdict.status for verdict in result.verdicts if verdict.aspect == aspect)


@pytest.fixture(scope="module")
def true():
    return evaluate(TRUE, Y, features={"x": X})


def test_scores_are_means_with_their_standard_errors(true):
    for name, values in {
        "Negative log-likelihood": -TRUE.log_prob(Y),
        "CRPS": TRUE.crps(Y),
        "Mean absolute error of the median": (TRUE.median - Y).abs(),
    }.items():
        score = true.scores[""][name]
        assert score.value == pytest.approx(float(values.mean()), rel=1e-6)
        assert score.standard_error == pytest.approx(
            scipy.stats.sem(values.numpy(), ddof=1), rel=1e-6
        )
    root = true.scores[""]["Root mean squared error of the mean"]
    draws = np.random.default_rng(0).integers(ROWS, size=(500, ROWS))
    square = (TRUE.mean - Y).square().numpy()
    assert root.value == pytest.approx(square.mean() ** 0.5, rel=1e-6)
    assert root.standard_error == pytest.approx((square[draws].mean(1) ** 0.5).std(), rel=0.15)


def test_pit_and_coverage_are_those_of_the_rows(true):
    u = TRUE.cdf(Y).numpy()
    frequency = np.histogram(u, 20, (0, 1))[0] / ROWS
    np.testing.assert_allclose(true.numbers[""]["pit"].frequency, frequency, atol=1e-6)
    curve = true.numbers[""]["coverage"]
    held = [(np.abs(2 * u - 1) <= level).mean() for level in curve.level.numpy()]
    np.testing.assert_allclose(curve.coverage, held, atol=1e-6)
    uniformity = true.numbers[""]["uniformity"]
    exact = scipy.stats.kstest(u, "uniform")
    assert uniformity.ks_statistic == pytest.approx(exact.statistic, abs=1 / 2000)
    assert uniformity.ks_p_value == pytest.approx(exact.pvalue, abs=0.05)
    assert uniformity.dispersion == pytest.approx(12 * u.var(), abs=1e-3)


def test_the_truth_has_no_fault(true):
    assert {verdict.status for verdict in true.verdicts} <= {"good", "note", "not examined"}
    assert true.summary.startswith("No fault was found.")


@pytest.mark.parametrize(
    "dist, aspect, words",
    [
        (family("normal")(loc=3 * X, scale=0.5 * SCALE), "90 % intervals", "far too narrow"),
        (family("normal")(loc=3 * X, scale=2.0 * SCALE), "90 % intervals", "far too wide"),
        (family("normal")(loc=3 * X + 0.4, scale=SCALE), "bias", "clearly too high"),
        (family("normal")(loc=3 * X - 0.4, scale=SCALE), "bias", "clearly too low"),
        (
            family("normal")(loc=3 * X, scale=torch.full_like(X, 1.04)),
            "calibration by feature",
            "too narrow there",
        ),
        (family("normal")(loc=2 * X + 0.5, scale=SCALE), "bias by feature", "there, by about"),
        (
            family("normal")(loc=3 * X, scale=2.0 - X),
            "error against spread",
            "off from what was predicted",
        ),
        (
            family("normal")(loc=3 * X, scale=2.0 - X),
            "does the spread inform?",
            "least sure where it is most right",
        ),
    ],
)
def test_known_faults_are_named(dist, aspect, words):
    result = evaluate(dist, Y, features={"x": X})
    assert status(result, aspect) == "poor"
    assert any(words in verdict.sentence for verdict in result.verdicts if verdict.aspect == aspect)


def test_verdicts_of_a_true_model_are_seldom_wrong():
    wrong = 0
    for seed in range(60):
        y = torch.randn(500, generator=generator(seed), dtype=torch.float64)
        u = scipy.stats.norm.cdf(y.numpy())
        held = float((np.abs(2 * u - 1) <= 0.9).mean())
        wrong += verdicts.coverage(0.9, held, 500).status in ("fair", "poor")
        wrong += verdicts.bias(float((u > 0.5).mean()), 500).status in ("fair", "poor")
    assert wrong <= 5


def test_a_large_sample_does_not_make_a_hair_a_fault():
    assert verdicts.coverage(0.9, 0.898, 1e7).status == "good"
    assert "does not matter" in verdicts.coverage(0.9, 0.898, 1e7).sentence
    assert verdicts.shape(0.01, 0.0, 1.0, 1e7).status == "good"
    assert verdicts.bias(0.505, 1e7).status == "good"


def test_a_small_sample_is_not_called_good():
    assert verdicts.coverage(0.9, 0.9, 30).status == "unclear"
    assert verdicts.bias(0.5, 30).status == "unclear"
    assert verdicts.shape(0.05, 0.9, 1.0, 30).status == "unclear"


def test_the_sentence_of_the_issue():
    sentence = verdicts.coverage(0.9, 0.882, 2500).sentence
    assert sentence.startswith(
        "The 90 % intervals held 88.2 % of the outcomes (standard error 0.6 %): slightly too "
        "narrow."
    )


def test_batches_give_the_figures_of_the_whole():
    def batches():
        for rows in torch.arange(ROWS).split(300):
            yield Batch(
                TRUE[rows],
                Y[rows],
                features={"x": X[rows]},
                group=["even" if k % 2 else "odd" for k in rows],
            )

    parts = evaluate(batches())
    whole = evaluate(
        TRUE, Y, features={"x": X}, group=["even" if k % 2 else "odd" for k in range(ROWS)]
    )
    assert parts.rows == ROWS
    for name, score in whole.scores[""].items():
        assert parts.scores[""][name].value == pytest.approx(score.value, rel=1e-6)
        assert parts.scores[""][name].standard_error == pytest.approx(
            score.standard_error, rel=1e-6
        )
    assert [v.sentence for v in parts.verdicts] == [v.sentence for v in whole.verdicts]


def test_results_repeat_and_leave_the_random_state_alone(true):
    before = torch.random.get_rng_state()
    again = evaluate(TRUE, Y, features={"x": X})
    assert torch.random.get_rng_state().equal(before)
    assert again.to_dict() == true.to_dict()


def test_comparison_with_a_baseline():
    marginal = family("normal")(loc=Y.mean(), scale=Y.std())
    result = evaluate(TRUE, Y, baseline=marginal, baseline_name="the marginal fit")
    difference = result.scores[""]["CRPS minus that of the marginal fit"]
    pairs = (TRUE.crps(Y) - marginal.expand((ROWS,)).crps(Y)).numpy()
    assert difference.value == pytest.approx(pairs.mean(), rel=1e-6)
    assert difference.standard_error == pytest.approx(scipy.stats.sem(pairs, ddof=1), rel=1e-6)
    assert status(result, "against the marginal fit by CRPS") == "good"
    reverse = evaluate(marginal.expand((ROWS,)), Y, baseline=TRUE, baseline_name="the truth")
    assert status(reverse, "against the truth by CRPS") == "poor"


def sampled(dist):
    dist = dist[:600]
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return dist, dist.sample()


LOGITS = torch.randn(ROWS, 4, generator=generator(3))
ANGLE = torch.linspace(-3.1, 3.1, ROWS)
FREQUENCIES = {"group_frequencies", "feature_frequencies"}
KINDS = {
    "count": (
        lambda: sampled(family("poisson")(rate=3 + 5 * X.float())),
        {"rootogram", "rows", "exceedance", "pit", "groups", "feature", "worms"},
    ),
    "direction": (
        lambda: sampled(family("von_mises")(loc=ANGLE, concentration=3.0)),
        {"rose", "pit", "sharpness", "groups", "feature", "worms"},
    ),
    "binary": (
        lambda: sampled(family("bernoulli")(logits=LOGITS[:, 0])),
        {"reliability", "confusion"} | FREQUENCIES,
    ),
    "classes": (
        lambda: sampled(family("categorical", num_classes=4)(logits=LOGITS)),
        {"reliability", "classes", "confusion"} | FREQUENCIES,
    ),
    "ranking": (
        lambda: sampled(family("plackett_luce", event_shape=(4,))(logits=LOGITS)),
        {"reliability"} | FREQUENCIES,
    ),
    "vector": (
        lambda: sampled(
            family("normal")(loc=LOGITS[:, :2], scale=torch.tensor([1.0, 2.0])).to_event(1)
        ),
        {"joint", "output_0_pit", "output_1_worm", "groups", "feature"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_target_has_its_report(kind, tmp_path):
    make, names = KINDS[kind]
    dist, y = make()
    features, group = (
        {"x": torch.rand(600, generator=generator(9))},
        ["odd" if k % 2 else "even" for k in range(600)],
    )
    result = evaluate(
        dist, y, features=features, group=group, out=tmp_path, title="Trees & <leaves>"
    )
    assert {verdict.status for verdict in result.verdicts} <= {
        "good",
        "unclear",
        "note",
        "not examined",
    }, str(result)
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    assert names <= pictures
    shown = {
        "_".join(filter(None, [v.output.replace(" ", "_"), v.picture]))
        for v in result.verdicts
        if v.picture
    }
    assert shown <= pictures  # every verdict's picture is there
    of_kind = {picture.key for picture in PICTURES if kind in picture.kinds}
    drawn = {name for name in pictures if not name.startswith("output_")}
    # which needs spreads that differ
    assert drawn | {"sparsification"} == of_kind | {"sparsification"}
    html = (tmp_path / "report.html").read_text("utf-8")
    assert html.count("data:image/png;base64,") == len(pictures)
    assert "Trees &amp; &lt;leaves&gt;" in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)  # nothing outside the file
    for verdict in result.verdicts:
        assert verdict.sentence.split(" (")[0].replace("'", "&#x27;") in html
    saved = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert saved["rows"] == 600
    assert saved["outputs"].keys() == set(result.outputs)
    for output in saved["outputs"].values():
        assert output["scores"]
        assert all(score["value"] is not None for score in output["scores"].values())


def test_outputs_that_go_together_are_noticed():
    both = torch.randn(ROWS, 1, generator=generator()) + 0.7 * torch.randn(
        ROWS, 2, generator=generator(1)
    )
    dist = family("normal")(loc=torch.zeros(ROWS, 2), scale=both.std()).to_event(1)
    result = evaluate(dist, both, outputs=["wind", "waves"])
    assert status(result, "dependence between outputs") == "poor"
    covariance = torch.tensor([[1.49, 1.0], [1.0, 1.49]])
    joint = family("multivariate_normal", event_shape=(2,))(
        loc=torch.zeros(ROWS, 2), scale_tril=torch.linalg.cholesky(covariance)
    )
    assert status(evaluate(joint, both), "dependence between outputs") == "good"


def test_kendall_is_that_of_scipy():
    dist, y = KINDS["ranking"][0]()
    result = evaluate(dist[:50], y[:50])
    expected = [
        scipy.stats.kendalltau(a.argsort(), b.argsort()).statistic
        for a, b in zip(dist.mode[:50], y[:50], strict=True)
    ]
    assert result.scores[""]["Kendall's tau"].value == pytest.approx(np.mean(expected))


def test_images_of_distributions_are_rows():
    y = torch.randn(4, 5, 6, generator=generator())
    result = evaluate(family("normal")(loc=torch.zeros(4, 5, 6), scale=1.0), y)
    assert result.rows == 120


def test_errors_say_what_is_wrong():
    dist = family("normal")(loc=torch.zeros(3), scale=1.0)
    with pytest.raises(
        ValueError, match=r"shape \(3,\) of the distribution, got \(3, 1\). Try y.squeeze"
    ):
        evaluate(dist, torch.zeros(3, 1))
    with pytest.raises(TargetError, match="nan at row 1"):
        evaluate(dist, torch.tensor([0.0, float("nan"), 1.0]))
    with pytest.raises(ValueError, match="y, the targets, must be given"):
        evaluate(dist)
    with pytest.raises(ValueError, match="at least one row"):
        evaluate([])
    with pytest.raises(ValueError, match="belong into the batches"):
        evaluate([(dist, torch.zeros(3))], torch.zeros(3))
    with pytest.raises(ValueError, match="one label per row, 3, got 2"):
        evaluate(dist, torch.zeros(3), group=["a", "b"])
    with pytest.raises(ValueError, match="one value per row, 3, got 2"):
        evaluate(dist, torch.zeros(3), features={"x": torch.zeros(2)})


def test_log_scores_of_grades_carry_a_warning(true):
    grades = Y.round().clamp(-2, 5)
    result = evaluate(TRUE, grades)
    [sentence] = [
        verdict.sentence for verdict in result.verdicts if verdict.aspect == "repeated values"
    ]
    assert "only 8 different values" in sentence
    assert "categorical" in sentence
    assert not any(verdict.aspect == "repeated values" for verdict in true.verdicts)
    counts = evaluate(family("poisson")(rate=torch.full((200,), 3.0)), torch.arange(200) % 7)
    assert not any(verdict.aspect == "repeated values" for verdict in counts.verdicts)


def test_impossible_outcomes_are_a_clear_fault():
    dist = family("categorical", num_classes=3)(
        probs=torch.tensor([[0.5, 0.5, 0.0]]).repeat(100, 1)
    )
    y = torch.arange(100) % 2
    y[3] = 2
    result = evaluate(dist, y)
    assert status(result, "impossible outcomes") == "poor"
    assert "Row 3 (y = 2" in next(v.sentence for v in result.verdicts if v.aspect == "outliers")
    with pytest.raises(TargetError, match="-1 at row 3"):
        evaluate(family("exponential")(rate=torch.ones(4)), torch.tensor([1.0, 1.0, 1.0, -1.0]))
