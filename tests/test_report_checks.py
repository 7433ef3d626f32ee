"""The checks of a report: each says whether it was made, a true forecast is seldom blamed, planted
faults are found.
"""

import re

import pytest
import torch

import disthead as dh
from disthead.distributions.scores import draw
from disthead.families import Normal
from disthead.report import Verdict, evaluate
from disthead.report.verdict import not_examined, summary
from tests.cases import BEYOND_THE_SAMPLE, CLASSES, EVERYTHING, NAMED, Case, rows

FAULTS = ("fair", "poor")
# Their closed forms take seconds for a few hundred rows on a busy core.
SLOW = [
    *(
        "mixture of normals",
        "mixture of von_mises",
        "mixture of poissons",
        "negative_binomial",
        "student_t",
        "affine weibull",
    ),
    *(
        "independent von_mises",
        "independent poissons",
        "independent gammas",
        "independent mixtures",
    ),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def family(name, **options):
    return dh.get_family(name, **options).distribution


def predictions(case: Case, count: int, seed: int = 0):
    g = generator(seed)
    dist = case.from_raw(
        torch.tensor(case.raw) + 0.3 * torch.randn(count, len(case.raw), generator=g)
    )
    return dist, draw(dist, 1, g)[0]


def verdict(result, aspect: str, output: str = "") -> Verdict:
    return next(v for v in result.verdicts if v.aspect.startswith(aspect) and v.output == output)


@pytest.mark.parametrize("case", rows(EVERYTHING, slow=(*SLOW, *BEYOND_THE_SAMPLE)))
def test_what_was_switched_off_reads_not_examined(case):
    dist, y = predictions(case, 80)
    off = evaluate(dist, y)
    on = evaluate(
        dist,
        y,
        group=["a", "b"] * 40,
        features={"x": torch.randn(80, generator=generator())},
        baseline=dist,
    )
    optional = [
        v
        for v in off.verdicts
        if "by group" in v.aspect or "by feature" in v.aspect or "against a b" in v.aspect
    ]
    assert {v.output for v in optional} == set(off.outputs)
    assert all(v.status == "not examined" and v.remedy for v in optional)
    for reason in ("no group was given", "no features were given", "no baseline was given"):
        assert reason in off.summary
        assert reason not in on.summary
    for name in on.outputs:
        assert verdict(on, "calibration by group", name).status != "not examined"
        assert verdict(on, "calibration by feature", name).status != "not examined"
        assert not any(v.aspect == "against a baseline" for v in on.verdicts)


@pytest.mark.parametrize(
    "question", ["cdf_limits", "log_survival", "icdf", "interval", "variance", "pit", "crps"]
)
def test_what_could_not_run_reads_not_examined_with_the_reason(question, monkeypatch):
    dist = family("normal")(loc=torch.zeros(200), scale=torch.linspace(0.5, 2.0, 200))
    y = dist.scale * torch.randn(200, generator=generator())
    options = {"group": ["a", "b"] * 100, "features": {"x": torch.arange(200.0)}, "baseline": dist}
    before = evaluate(dist, y, **options)

    def refuse(self, *arguments, **options):
        raise NotImplementedError(f"this one has no {question}")

    monkeypatch.setattr(Normal, question, property(refuse) if question == "variance" else refuse)
    after = evaluate(dist, y, **options)
    missing = [v for v in after.verdicts if v.status == "not examined"]
    assert missing
    assert all(f"this one has no {question}" in v.sentence for v in missing)
    assert f"this one has no {question}" in after.summary
    assert len(after.verdicts) >= len(before.verdicts)  # none has gone silent


def test_the_summary_counts_all_checks():
    verdicts = [
        Verdict("bias", "good", "..."),
        Verdict("shape", "unclear", "..."),
        Verdict("sharpness", "note", "..."),
        not_examined("calibration by group", "no group was given"),
        not_examined("bias by group", "no group was given"),
    ]
    assert summary(verdicts) == (
        "No fault was found. 4 checks: 1 found nothing, 1 could not tell, 2 were not examined (no "
        "group was given)."
    )
    poor = Verdict("spread", "poor", "...", output="wind")
    assert summary([*verdicts, poor]).startswith("A clear fault: spread (wind). 5 checks: ")
    # no check could find a fault
    assert not summary(verdicts[1:]).startswith("No fault")


def false_alarms(cases, count: int, repeats: int) -> tuple[int, int]:
    """How many verdicts on true forecasts name a fault, and how many could have."""
    wrong = made = 0
    for case in cases:
        for seed in range(repeats):
            dist, y = predictions(case, count, 1000 + seed)
            x, group = torch.randn(count, 2, generator=generator(seed)), torch.arange(count) % 3
            for v in evaluate(dist, y, features=x, group=group, seed=seed).verdicts:
                made += v.status not in ("note", "not examined")
                wrong += v.status in FAULTS
    return wrong, made


def test_a_true_forecast_is_seldom_blamed():
    names = (
        "normal",
        "exponential",
        "weibull",
        "poisson",
        "bernoulli",
        "categorical",
        "plackett_luce",
        "von_mises",
    )
    wrong, made = false_alarms([case for case in EVERYTHING if case.name in names], 200, 2)
    assert wrong <= 0.01 * made + 3 * (0.01 * made) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 400])
def test_a_true_forecast_of_any_kind_is_seldom_blamed(count):
    wrong, made = false_alarms(EVERYTHING, count, 3)
    assert wrong <= 0.01 * made + 3 * (0.01 * made) ** 0.5


ROWS = 2000
X = torch.rand(ROWS, generator=generator(), dtype=torch.float64)
NOISE = torch.randn(ROWS, generator=generator(1), dtype=torch.float64)
LATE = torch.arange(ROWS) % 2 == 1
LOGITS = torch.randn(ROWS, 3, generator=generator(2), dtype=torch.float64)
ANGLE = 6 * X - 3


def drawn(dist, seed: int = 3):
    return draw(dist, 1, generator(seed))[0]


def turned(y, angle: float):
    return torch.atan2((y + angle).sin(), (y + angle).cos())


NORMAL, CLASS = family("normal"), family("categorical", num_classes=3)
POISSON, VON_MISES, COIN = family("poisson"), family("von_mises"), family("bernoulli")
RANKING = family("plackett_luce", event_shape=(3,))
TWO_WAYS = dh.get_family("mixture", component="von_mises", num_components=2).from_raw(
    torch.tensor([0.4, 0, 0.8, 0.5, -0.9, -0.1, 2, 1]).expand(800, 8)
)
OVERDISPERSED = family("negative_binomial")(
    total_count=torch.full((ROWS,), 3.0), logits=torch.zeros(ROWS)
)
SWAPPED = LOGITS[:, [1, 0, 2]]
PAIR = torch.randn(ROWS, 1, generator=generator(4)) + torch.randn(ROWS, 2, generator=generator(5))
PLANTED = {
    "bias of numbers": (NORMAL(loc=X + 0.3, scale=1.0), X + NOISE, "bias"),
    "spread of numbers": (NORMAL(loc=X, scale=0.7), X + NOISE, "90 % intervals"),
    "spread of the errors": (NORMAL(loc=X, scale=0.7), X + NOISE, "error against spread"),
    "skewness": (
        NORMAL(loc=torch.ones(ROWS), scale=1.0),
        drawn(family("exponential")(rate=torch.ones(ROWS))),
        "shape",
    ),
    "event of numbers": (
        NORMAL(loc=2 * X - 0.5, scale=1.0),
        X + NOISE,
        "reliability of the probability to exceed",
    ),
    "quantile of numbers": (
        NORMAL(loc=X, scale=0.5 + X),
        X + NOISE,
        "reliability of the 95 % quantile",
    ),
    "group of numbers": (
        NORMAL(loc=X, scale=1.0),
        X + NOISE * (0.6 + 0.8 * LATE),
        "calibration by group",
    ),
    "bias in a group": (NORMAL(loc=X, scale=1.0), X + NOISE + 0.5 * LATE - 0.25, "bias by group"),
    "feature of numbers": (
        NORMAL(loc=X, scale=1.0),
        X + NOISE * (0.5 + X),
        "calibration by feature",
    ),
    "bias along a feature": (
        NORMAL(loc=0.5 + 0 * X, scale=1.0),
        X * 1.5 - 0.25 + NOISE,
        "bias by feature",
    ),
    "spread of counts": (
        POISSON(rate=torch.full((ROWS,), 3.0)),
        drawn(OVERDISPERSED),
        "90 % intervals",
    ),
    "errors of counts": (
        POISSON(rate=torch.full((ROWS,), 3.0)),
        drawn(OVERDISPERSED),
        "error against spread",
    ),
    "group of counts": (
        POISSON(rate=4 + 0 * X),
        drawn(POISSON(rate=3 + 2.0 * LATE)),
        "bias by group",
    ),
    "bias of directions": (
        VON_MISES(loc=ANGLE, concentration=3.0),
        turned(drawn(VON_MISES(loc=ANGLE, concentration=3.0)), 0.3),
        "bias",
    ),
    "spread of directions": (
        VON_MISES(loc=ANGLE, concentration=6.0),
        drawn(VON_MISES(loc=ANGLE, concentration=2.0)),
        "90 % intervals",
    ),
    "group of directions": (
        VON_MISES(loc=ANGLE, concentration=3.0),
        drawn(VON_MISES(loc=ANGLE, concentration=2.0 + 4.0 * LATE)),
        "calibration by group",
    ),
    "bias of two ways": (TWO_WAYS, turned(drawn(TWO_WAYS), 0.7), "bias"),
    "too sure of an event": (
        COIN(logits=3 * LOGITS[:, 0]),
        drawn(COIN(logits=LOGITS[:, 0])),
        "reliability",
    ),
    "event in a group": (
        COIN(logits=0 * X),
        drawn(COIN(logits=1.0 * LATE - 0.5)),
        "calibration by group",
    ),
    "event along a feature": (
        COIN(logits=0 * X),
        drawn(COIN(logits=4 * X - 2)),
        "calibration by feature",
    ),
    "too sure of classes": (CLASS(logits=2 * LOGITS), drawn(CLASS(logits=LOGITS)), "confidence"),
    "two classes confused": (
        CLASS(logits=LOGITS),
        drawn(CLASS(logits=SWAPPED)),
        "reliability of each class",
    ),
    "worse than the majority": (
        CLASS(logits=LOGITS),
        drawn(CLASS(logits=-LOGITS + torch.tensor([0.0, 0, 3]))),
        "against the majority",
    ),
    "class in a group": (
        CLASS(logits=0 * LOGITS),
        drawn(CLASS(logits=LATE.unsqueeze(-1) * torch.tensor([0.0, 0, 1]))),
        "calibration by group",
    ),
    "too sure of rankings": (RANKING(logits=2 * LOGITS), drawn(RANKING(logits=LOGITS)), "surprise"),
    "first place in a group": (
        RANKING(logits=0 * LOGITS),
        drawn(RANKING(logits=LATE.unsqueeze(-1) * torch.tensor([1.0, 0, 0]))),
        "calibration by group",
    ),
    "dependence": (NORMAL(loc=torch.zeros(ROWS, 2), scale=2**0.5).to_event(1), PAIR, "dependence"),
    "joint density": (
        NORMAL(loc=torch.zeros(ROWS, 2), scale=1.0).to_event(1),
        PAIR,
        "all outputs together",
    ),
    "group of vectors": (
        NORMAL(loc=torch.zeros(ROWS, 2), scale=1.0).to_event(1),
        PAIR * (0.4 + 0.6 * LATE.unsqueeze(-1)),
        "calibration by group",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_where_it_is_and_ends_in_the_next_step(fault):
    dist, y, aspect = PLANTED[fault]
    count = len(y)
    result = evaluate(dist, y, features={"x": X[:count]}, group=LATE[:count].tolist())
    actual = verdict(result, aspect)
    assert actual.status in FAULTS, str(result)
    assert actual.remedy
    assert result.summary.startswith(
        ("A clear fault", "Clear faults", "No clear fault; slight ones")
    )


def test_half_is_no_honest_forecast_of_groups_that_differ():
    """The example of the issue."""
    late = torch.arange(1000) % 2
    y = torch.bernoulli(0.1 + 0.8 * late, generator=generator())
    coin = COIN(probs=torch.full((1000,), 0.5))
    result = evaluate(coin, y, group=late, features={"late": late})
    assert verdict(result, "calibration by group").status == "poor"
    assert verdict(result, "calibration by feature").status == "poor"
    assert "happened in" in verdict(result, "calibration by group").sentence
    assert "not examined" in evaluate(coin, y).summary
    assert result.scores[""]["AUC"].value == 0.5
    assert any("always naming" in name for name in result.scores[""])


def test_one_outlier_is_named_and_gets_no_tick():
    """The example of the issue: 60 standard deviations among 200 rows."""
    y = torch.randn(200, generator=generator())
    y[17] = 60.0
    result = evaluate(NORMAL(loc=torch.zeros(200), scale=1.0), y)
    spread, outliers = verdict(result, "error against spread"), verdict(result, "outliers")
    assert (spread.status, outliers.status) == ("poor", "poor")
    assert "row 17" in outliers.sentence.lower()
    assert "row 17" in spread.sentence.lower()
    assert "as large as predicted" not in spread.sentence
    clean = evaluate(NORMAL(loc=torch.zeros(199), scale=1.0), torch.cat([y[:17], y[18:]]))
    assert verdict(clean, "outliers").status == "good"
    assert verdict(clean, "error against spread").status == "good"


@pytest.mark.parametrize("kind", ["poisson", "von_mises", "bernoulli", "categorical", "gamma"])
def test_outliers_of_every_kind_are_named_with_their_rows(kind):
    case = NAMED[kind]
    dist, y = predictions(case, 200)
    if kind == "von_mises":
        dist = VON_MISES(loc=dist.loc, concentration=400.0)
        y = turned(dist.loc, 0.0)
        y[31] = turned(dist.loc[31:32], 2.0)[0]
    elif kind in ("bernoulli", "categorical"):
        sure = torch.zeros(200, 3 if kind == "categorical" else 1)
        sure[..., 0] = 20.0
        dist = CLASS(logits=sure) if kind == "categorical" else COIN(logits=sure[:, 0])
        y = dist.mode.clone()
        y[31] = 2 if kind == "categorical" else 0
    else:
        y[31] = 300.0
    outliers = verdict(evaluate(dist, y), "outliers")
    assert outliers.status == "poor"
    assert outliers.sentence.startswith("Row 31 (")


@pytest.mark.parametrize("same", [0.0, 1.0])
def test_outcomes_that_are_all_the_same_do_not_hide_a_miscalibration(same):
    result = evaluate(COIN(probs=torch.full((90,), 0.4)), torch.full((90,), same))
    assert verdict(result, "reliability").status == "poor"
    assert verdict(result, "confidence").status == "poor"


def test_moments_that_do_not_exist_are_not_compared():
    cauchy = family("student_t", min_df=0.5)(
        df=torch.full((100,), 0.9), loc=torch.zeros(100), scale=1.0
    )
    result = evaluate(cauchy, drawn(cauchy))
    assert verdict(result, "error against spread").status == "not examined"
    assert "do not exist in 100 rows" in verdict(result, "does the spread inform?").sentence


def test_infinite_variances_are_not_compared():
    heavy = family("student_t")(df=torch.full((400,), 1.5), loc=torch.zeros(400), scale=1.0)
    result = evaluate(heavy, drawn(heavy))
    spread = verdict(result, "error against spread")
    assert spread.status == "not examined"
    assert "infinite" in spread.sentence
    assert not [v for v in result.verdicts if v.status in FAULTS]
    df = torch.where(torch.arange(400) < 100, 1.5, 10.0)
    some = family("student_t")(df=df, loc=torch.zeros(400), scale=1.0)
    assert (
        "100 rows of infinite predicted variance are left out"
        in verdict(evaluate(some, drawn(some)), "error").sentence
    )


@pytest.mark.parametrize("zeros", [0.1, 0.5, 0.8])
def test_a_threshold_is_no_value_that_occurs(zeros):
    y = torch.where(
        torch.rand(500, generator=generator()) < zeros,
        0.0,
        1 + torch.rand(500, generator=generator(1)),
    )
    result = evaluate(NORMAL(loc=torch.full((500,), float(y.mean())), scale=float(y.std())), y)
    assert result.numbers[""]["threshold"] not in y
    counts = POISSON(rate=torch.full((500,), 0.2))
    assert evaluate(counts, drawn(counts)).numbers[""]["threshold"] == 0.5
    equal = evaluate(NORMAL(loc=torch.zeros(50), scale=1.0), torch.zeros(50))
    assert verdict(equal, "reliability of a probability").status == "not examined"


def test_groups_left_out_are_counted():
    y = torch.randn(300, generator=generator())
    group = ["many"] * 200 + ["some"] * 60 + ["few"] * 20 + ["one"] * 20
    result = evaluate(NORMAL(loc=torch.zeros(300), scale=1.0), y, group=group)
    actual = verdict(result, "calibration by group")
    assert "2 others had too few rows to be looked at." in actual.sentence
    assert actual.looks == 2
    small = evaluate(NORMAL(loc=torch.zeros(300), scale=1.0), y, group=torch.arange(300) // 10)
    assert verdict(small, "calibration by group").status == "unclear"
    assert "None of 30 groups has 30 rows" in verdict(small, "calibration by group").sentence


def test_pictures_have_the_limits_of_the_sentences():
    """A group beyond its bar in the picture is one that the verdict calls more than chance, and the
    other way round.
    """
    from matplotlib.figure import Figure

    from disthead.plots import coverage_by_group
    from disthead.report import verdicts

    outcomes = []
    for held in torch.linspace(0.80, 0.96, 33).tolist():
        rates = {"a": (held, 400.0), "b": (0.9, 400.0), "c": (0.9, 400.0)}
        ax = coverage_by_group(Figure().add_subplot(), rates, 0.9, confidence=0.99, looks=3)
        outside = len(ax.collections) > 1  # points beyond their bars are drawn apart
        assert outside == (verdicts.by_group(rates, 0.9, "group").status in FAULTS)
        assert "all 3 groups (99 %)" in ax.get_xlabel()
        outcomes.append(outside)
    assert any(outcomes)
    assert not all(outcomes)


def test_few_rows_leave_every_verdict_open():
    """Of ten rows nothing can be said but that they are few."""
    for name in (
        "normal",
        "poisson",
        "von_mises",
        "bernoulli",
        "plackett_luce",
        "multivariate_normal",
    ):
        case = NAMED[name]
        result = evaluate(*predictions(case, 10))
        good = {v.aspect: v.status for v in result.verdicts if v.status == "good"}
        assert not good, (name, good)
    result = evaluate(*predictions(CLASSES[0], 10))
    assert all(v.status != "good" for v in result.verdicts)


@pytest.mark.parametrize("count, status", [(80, "unclear"), (140, "unclear"), (400, "good")])
def test_errors_as_large_as_predicted_are_no_tick_where_the_rows_could_not_show_more(count, status):
    """Of normal errors a ratio strays by 1 / sqrt(2 N), of which 2.58 are more than 15 % up to 147
    rows.
    """
    y = torch.randn(count, generator=generator(3), dtype=torch.float64)
    result = verdict(
        evaluate(NORMAL(loc=torch.zeros(count), scale=float(y.square().mean().sqrt())), y),
        "error against",
    )
    assert result.status == status
    assert ("hide differences below" in result.sentence) == (status == "unclear")


def test_a_predicted_spread_that_is_the_same_in_every_row_sorts_nothing():
    y = torch.randn(80, generator=generator())
    result = verdict(evaluate(NORMAL(loc=torch.zeros(80), scale=1.5), y), "does the spread inform?")
    assert result.status == "not examined"
    assert result.sentence == (
        "Not examined: the predicted spread is 1.5 in every row, so that there is nothing to sort "
        "by."
    )
    few = verdict(
        evaluate(NORMAL(loc=torch.zeros(8), scale=1 + X[:8]), y[:8]), "does the spread inform?"
    )
    assert (few.status, few.sentence) == (
        "unclear",
        "8 rows, too few to sort by their predicted spread.",
    )


@pytest.mark.parametrize(
    "name", ["normal", "poisson", "von_mises", "bernoulli", "categorical", "multivariate_normal"]
)
def test_percentages_are_written_in_one_way(name):
    case = NAMED[name]
    for count in (60, 400):
        dist, y = predictions(case, count)
        marginal = dist[torch.randperm(count, generator=generator(1))]
        group, x = torch.arange(count) % 2, torch.randn(count, generator=generator())
        result = evaluate(dist, y, group=group, features={"x": x}, baseline=marginal)
        text = f"{result} {' '.join(v.remedy + v.sentence + v.aspect for v in result.verdicts)}"
        assert " %" in text
        assert not re.search(r"\S%", text)
        assert "brier" not in text


def test_names_of_people_keep_their_capitals():
    dist = COIN(logits=LOGITS[:, 0])
    result = evaluate(dist, drawn(dist), baseline=COIN(logits=torch.zeros(ROWS)))
    assert verdict(result, "against the baseline by Brier score").sentence.startswith(
        "By Brier score the model is better"
    )


def test_no_remedy_is_the_family_in_use():
    g = generator(7)
    for name, parameters in {
        "student_t": {"df": torch.full((400,), 4.0), "loc": torch.zeros(400), "scale": 0.4},
        "normal": {"loc": torch.zeros(400), "scale": 0.4},
    }.items():
        y = torch.randn(400, generator=g)
        y[3] = 1e5
        result = evaluate(family(name)(**parameters), y)
        steps = [verdict(result, aspect).remedy for aspect in ("outliers", "shape")]
        assert all(("`student_t`" in step) == (name == "normal") for step in steps), steps
        assert all("`mixture`" in step for step in steps)
    counts = evaluate(OVERDISPERSED[:400], 12 * (torch.arange(400) % 2))
    assert "negative_binomial" not in verdict(counts, "shape").remedy
    two_ways = evaluate(TWO_WAYS, turned(drawn(TWO_WAYS), 0.7))
    assert "another family" not in verdict(two_ways, "shape").remedy


def test_heavier_tails_are_no_remedy_for_a_spread_that_is_too_large():
    y = 0.4 * torch.randn(400, generator=generator())
    y[3] = 60.0
    result = evaluate(NORMAL(loc=torch.zeros(400), scale=1.0), y)
    assert "the spread is too large" in verdict(result, "shape").sentence
    for aspect in ("shape", "outliers"):
        assert verdict(result, aspect).status in FAULTS
        assert not re.search("heav|student_t|mixture", verdict(result, aspect).remedy)
    counts = evaluate(POISSON(rate=torch.full((400,), 9.0)), 9 + torch.arange(400) % 2)
    assert "negative_binomial" not in verdict(counts, "shape").remedy


def test_commands_are_code_and_name_the_checkpoint():
    dist = NORMAL(loc=X, scale=0.5)
    for about, name in (
        ({}, "FILE"),
        ({"checkpoint": "runs/a b/best.ckpt"}, "'runs/a b/best.ckpt'"),
    ):
        result = evaluate(dist, X + NOISE, about=about)
        command = f"`disthead recalibrate --ckpt {name} --method ScaleCalibration`"
        assert command in verdict(result, "90 % intervals").remedy
        assert command in str(result)
        assert not any("<" in v.remedy for v in result.verdicts)
    assert {v.remedy for v in evaluate(dist[:20], X[:20]).verdicts if v.status == "unclear"} == {
        "Evaluate on more rows."
    }


def test_one_group_or_one_range_is_no_comparison():
    y = torch.randn(100, generator=generator())
    dist = NORMAL(loc=torch.zeros(100), scale=1.0)
    for forecast, targets in ((dist, y), (COIN(logits=torch.zeros(100)), (y > 0).long())):
        result = evaluate(forecast, targets, group=["all"] * 100, features={"w": torch.zeros(100)})
        assert "there is only one group" in verdict(result, "calibration by group").sentence
        assert "the same value" in verdict(result, "calibration by feature").sentence
        assert verdict(result, "calibration by feature").status == "not examined"
        few = evaluate(forecast, targets, group=["many"] * 95 + ["few"] * 5)
        assert verdict(few, "calibration by group").sentence.startswith(
            "Only many has rows enough to be looked at: "
        )
    both = evaluate(
        dist, y, features={"w": torch.zeros(100), "x": (torch.arange(100) % 2).double()}
    )
    assert both.numbers[""]["feature"][0] == "x"
    assert verdict(both, "calibration by feature").looks == 2


def test_what_is_as_probable_as_anything_is_no_outlier():
    y = torch.arange(400) % 2
    for dist, targets in (
        (COIN(probs=torch.full((400,), 0.5)), y),
        (CLASS(logits=torch.zeros(400, 3)), y),
        (RANKING(logits=torch.zeros(400, 3)), torch.tensor([[0, 1, 2]]).repeat(400, 1)),
    ):
        assert verdict(evaluate(dist, targets), "outliers").status == "not examined"
    rare = COIN(probs=torch.full((400,), 1e-6))
    assert verdict(evaluate(rare, 0 * y), "outliers").status == "good"
    assert verdict(evaluate(rare, (torch.arange(400) == 3).long()), "outliers").status in FAULTS


def test_the_tail_probability_of_the_furthest_outcome_is_told():
    y = torch.zeros(80)
    y[7] = 1.96
    sentence = verdict(evaluate(NORMAL(loc=torch.zeros(80), scale=1.0), y), "outliers").sentence
    assert sentence.startswith(
        "The outcome furthest out of 80 rows has the tail probability 0.05: "
    )
