"""Which rows a metric counts, over all families: weight 0 is absence, arrays are tensors, wrong
targets and weights are refused.
"""

import functools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import disthead as dh
from disthead import metrics as m
from disthead.distributions.circular import wrapped
from disthead.errors import TargetError
from disthead.families.ensembles import RankingEnsemble
from disthead.families.plackett_luce import PlackettLuce
from disthead.families.von_mises import VonMises
from tests.brute_force import turned
from tests.cases import BEYOND_THE_SAMPLE, EVERYTHING, NAMED, Case, rows
from tests.metrics.tester import answers, flat

ROWS = 7
WEIGHT = torch.tensor([1.0, 2.0, 0.0, 0.5, 3.0, 0.0, 1.0], dtype=torch.float64)
KEPT = WEIGHT > 0
GROUPS = ["a", "b", "a", "a", "b", "b", "a"]


METRICS = {
    "nll": m.NegativeLogLikelihood,
    "crps": m.CRPS,
    "energy": lambda: m.EnergyScore(32),
    "brier": m.BrierScore,
    "ranked probability": m.RankedProbabilityScore,
    "pinball": lambda: m.PinballLoss([0.05, 0.6]),
    "interval": m.IntervalScore,
    "sharpness": m.Sharpness,
    "mae": m.MeanAbsoluteError,
    "mae of the mode": lambda: m.MeanAbsoluteError("mode"),
    "rmse": m.RootMeanSquaredError,
    "accuracy": m.Accuracy,
    "hits": lambda: m.TopKHitRate(2),
    "tau": m.KendallTau,
    "pit": m.PITHistogram,
    "randomised pit": lambda: m.PITHistogram(randomised=True),
    "joint pit": lambda: m.PITHistogram(joint=True, samples=16),
    "coverage": m.Coverage,
    "calibration error": lambda: m.CalibrationError(adaptive=True, norm=2, debiased=True),
    "classwise": lambda: m.CalibrationError("classwise", num_classes=3),
    "spread-skill": m.SpreadSkill,
    "groups": lambda: m.Grouped(m.NegativeLogLikelihood(), groups=["a", "b"]),
    "groups of pit": lambda: m.Grouped(m.PITHistogram(), groups=["a", "b"]),
}
# The quantiles of these take a search.
SLOW = ("negative_binomial", "mixture of poissons", "independent poissons", "affine poisson")
every_case = pytest.mark.parametrize("case", rows(EVERYTHING, (*SLOW, *BEYOND_THE_SAMPLE)))


def raws(case: Case, count: int = ROWS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    raw = torch.tensor(case.raw, dtype=torch.float64)
    return raw + 0.3 * torch.randn(count, len(raw), generator=generator, dtype=torch.float64)


def drawn(case: Case, count: int = ROWS):
    """Distributions that differ from row to row, and targets that they could have produced."""
    dist = case.from_raw(raws(case, count))
    torch.manual_seed(0)
    return dist, dist.sample().double()


def updated(name: str, dist, y, weight=None, groups=None):
    metric = METRICS[name]()
    if isinstance(metric, m.Grouped):
        metric.update(dist, y, GROUPS if groups is None else groups, weight)
    else:
        metric.update(dist, y, weight)
    return metric


def offered(case: Case) -> list[str]:
    """The metrics that score distributions of the case; the others say why not."""
    return _offered(case.name)


@functools.cache
def _offered(name_of_case: str) -> list[str]:
    case = NAMED[name_of_case]
    names, refusals = [], {}
    for name in METRICS:
        try:
            updated(name, *drawn(case))
        except (NotImplementedError, ValueError) as error:
            refusals[name] = error
        else:
            names.append(name)
    for name, error in refusals.items():
        assert len(str(error).split()) > 4, name
        assert isinstance(error, NotImplementedError) or (
            name == "classwise" and "num_classes" in str(error)
        ), error
    assert "nll" in names
    return names


def scored_by(name: str) -> Case:
    """A case that the metric scores."""
    of = {
        "brier": "categorical",
        "classwise": "categorical",
        "calibration error": "categorical",
        "tau": "plackett_luce",
    }
    of |= {"hits": "categorical", "accuracy": "poisson"}
    return NAMED[of.get(name, "normal")]


@functools.cache
def _without_rows_of_weight_zero(name_of_case: str) -> dict[str, torch.Tensor]:
    """What each metric says of the rows that are there, alone."""
    case, kept = NAMED[name_of_case], KEPT.nonzero().squeeze(-1)
    (dist, y), groups = drawn(case), [GROUPS[row] for row in kept.tolist()]
    return {
        name: answers(updated(name, dist[kept], y[kept], WEIGHT[kept], groups)).nan_to_num(-7.0)
        for name in offered(case)
    }


@every_case
def test_a_row_of_weight_zero_is_not_there(case):
    """Its target is missing or outside the support, its group unknown, and its parameters are not a
    number.
    """
    (_, y), (raw, kept) = drawn(case), (raws(case), KEPT)
    raw[2] = math.nan
    y[2], y[5] = math.nan, -100.0
    groups = [
        group if there else "nobody" for group, there in zip(GROUPS, kept.tolist(), strict=True)
    ]
    for name, expected in _without_rows_of_weight_zero(case.name).items():
        result = answers(updated(name, case.from_raw(raw), y, WEIGHT, groups))
        assert torch.equal(result.nan_to_num(-7.0), expected), name


@every_case
def test_arrays_columns_and_lists_are_tensors(case):
    dist, y = drawn(case)
    takers = [
        torch.Tensor.numpy,
        torch.Tensor.tolist,
        lambda values: pd.Series(values.numpy(), index=range(ROWS, 0, -1)),
    ]
    for place, (name, expected) in enumerate(_without_rows_of_weight_zero(case.name).items()):
        take = takers[place % (3 if y.ndim == 1 else 2)]
        result = answers(updated(name, dist, take(y), take(WEIGHT), np.array(GROUPS)))
        assert torch.equal(result.nan_to_num(-7.0), expected), name


@every_case
def test_targets_that_a_distribution_cannot_have_produced_are_refused_with_their_rows(case):
    dist, y = drawn(case)
    for value in (math.nan, math.inf, -100.0):
        wrong = y.clone()
        wrong[3] = value
        if value == -100.0 and bool(torch.as_tensor(dist.support.check(wrong)).all()):
            continue  # the whole line
        for name in offered(case):
            with pytest.raises(TargetError, match="row 3"):
                updated(name, dist, wrong)


@every_case
def test_weights_that_are_none_are_refused_with_their_rows(case):
    dist, y = drawn(case)
    for value in (-1.0, math.nan, math.inf):
        weight = torch.ones(ROWS)
        weight[4] = value
        for name in offered(case):
            with pytest.raises(
                ValueError, match=r"weight must be finite and zero or more, got .* at row 4"
            ):
                updated(name, dist, y, weight)
            with pytest.raises(ValueError, match=r"one value per row, shape \(7,\), got \(3,\)"):
                updated(name, dist, y, weight[:3])


@pytest.mark.parametrize("name", METRICS)
def test_a_batch_of_weight_zero_is_a_batch_without_rows(name):
    dist, y = drawn(scored_by(name))
    metric = METRICS[name]()
    arguments = (GROUPS,) if isinstance(metric, m.Grouped) else ()
    metric.update(dist, torch.full_like(y, math.nan), *arguments, weight=[0] * ROWS)
    metric.update(dist, y, *arguments)
    torch.testing.assert_close(
        answers(metric), answers(updated(name, dist, y)), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize(
    "name", ["nll", "crps", "pinball", "rmse", "pit", "coverage", "spread-skill"]
)
def test_a_mask_of_sequences_counts_the_steps_that_are_there(name):
    loc, y = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]])
    dist = dh.get_family("normal").distribution(loc=loc, scale=0.7)
    expected = answers(updated(name, dist[mask > 0], y[mask > 0]))
    y[mask == 0] = math.nan
    for weight in (mask, mask.bool(), mask.numpy().astype(np.uint8), mask.tolist()):
        torch.testing.assert_close(
            answers(updated(name, dist, y, weight)), expected, equal_nan=True
        )


def test_groups_of_sequences_are_those_of_steps_or_of_whole_sequences():
    loc, y = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0))
    dist = dh.get_family("normal").distribution(loc=loc, scale=0.7)
    weight = torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
    crps = dist.crps(y)
    for groups in (
        ["a", "b", "a"],
        [["a", "a"], ["b", "b"], ["a", "a"]],
        np.array([["a"] * 2, ["b"] * 2, ["a"] * 2]),
    ):
        by_group = m.Grouped(m.CRPS(), groups=np.array(["a", "b"]))
        by_group.update(dist, y, groups, weight)
        result = by_group.compute()
        torch.testing.assert_close(result["a"], (crps[[0, 2]] * weight[[0, 2]]).sum() / 6)
        torch.testing.assert_close(result["b"], crps[1, 1])
    with pytest.raises(ValueError, match=r"rows of shape \(3, 2\), got 2 rows"):
        by_group.update(dist, y, ["a", "b"])


def test_two_forecasts_are_compared_on_the_rows_that_are_there():
    normal = dh.get_family("normal").distribution
    y = torch.tensor([0.3, math.nan, -1.0, 2.0])
    weight = [1, 0, 2, 1]
    first, second = normal(loc=torch.zeros(4), scale=1.0), normal(loc=torch.ones(4), scale=0.5)
    rows_left = torch.tensor([0, 2, 3])
    for make in (lambda: m.PairedDifference(m.CRPS()), lambda: m.Skill(m.CRPS())):
        result, expected = make(), make()
        for metric, kept, counts in (
            (result, slice(None), weight),
            (expected, rows_left, [1, 2, 1]),
        ):
            if isinstance(metric, m.Skill):
                metric.update(first[kept], y[kept].numpy(), counts, reference=second[kept])
            else:
                metric.update(first[kept], second[kept], y[kept].tolist(), np.array(counts))
        torch.testing.assert_close(answers(result), answers(expected), rtol=0, atol=0)
    with pytest.raises(TargetError, match="nan at row 1"):
        m.Skill(m.CRPS()).update(first, y, reference=second)
    with pytest.raises(TargetError, match="nan at row 1"):
        m.PairedDifference(m.CRPS()).update(first, second, y)


def test_the_second_forecast_must_be_able_to_produce_the_targets_too():
    normal, gamma = (dh.get_family(name).distribution for name in ("normal", "gamma"))
    first, second = (
        normal(loc=torch.zeros(2), scale=1.0),
        gamma(concentration=torch.ones(2), rate=1.0),
    )
    with pytest.raises(TargetError, match="-1 at row 1"):
        m.PairedDifference(m.CRPS()).update(first, second, [1.0, -1.0])


# What rows with weights count


REPEATED = [name for name in METRICS if name not in ("energy", "randomised pit", "joint pit")]


@pytest.mark.parametrize("name", REPEATED)
def test_whole_weights_count_rows_as_often(name):
    dist, y = drawn(scored_by(name))
    weight = torch.tensor([1, 2, 0, 3, 1, 1, 2])
    often = torch.repeat_interleave(torch.arange(ROWS), weight)
    if name == "calibration error":  # how much chance adds depends on how many rows there are
        return _debiased_by_effective_rows()
    result = updated(name, dist, y, weight).compute()
    expected = updated(
        name, dist[often], y[often], None, [GROUPS[row] for row in often.tolist()]
    ).compute()
    if name == "spread-skill":
        result, expected = ([one["spread"], one["error"]] for one in (result, expected))
    torch.testing.assert_close(flat(result), flat(expected))


def _debiased_by_effective_rows():
    """Weights that are all the same say nothing; rows beside which another counts little are worth
    little.
    """
    dist = dh.get_family("bernoulli").distribution(probs=torch.full((40,), 0.6))
    y = (torch.arange(40) % 4 > 0).double()
    error = functools.partial(m.CalibrationError, norm=2, debiased=True)
    torch.testing.assert_close(error()(dist, y, torch.full((40,), 3.0)), error()(dist, y))
    weight = torch.where(torch.arange(40) < 20, 1.0, 1e-9)
    torch.testing.assert_close(
        error()(dist, y, weight), error()(dist[:20], y[:20]), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("name", ["crps", "rmse", "coverage", "spread-skill"])
def test_standard_errors_are_those_of_the_rows_that_the_weights_are_worth(name):
    """Equal weights say nothing, and rows of hardly any weight count for none: their number must
    not make a mean look sure.
    """
    dist, y = drawn(NAMED["normal"], 400)

    def error(rows_left, weight=None):
        metric = m.SpreadSkill(1) if name == "spread-skill" else METRICS[name]()
        metric.update(dist[rows_left], y[rows_left], weight)
        return (
            metric.compute()["standard_error"]
            if name == "spread-skill"
            else metric.standard_error()
        )

    everything = slice(None)
    torch.testing.assert_close(error(everything, torch.full((400,), 0.2)), error(everything))
    half = torch.where(torch.arange(400) < 200, 1.0, 1e-9)
    tolerance = {"rtol": 5e-3, "atol": 1e-6}
    torch.testing.assert_close(error(everything, half), error(slice(200)), **tolerance)


def test_uniformity_of_weighted_rows_is_that_of_as_many_as_they_are_worth():
    dist, y = drawn(NAMED["normal"], 400)
    weight = torch.where(torch.arange(400) < 100, 1.0, 1e-12)
    pit, expected = updated("pit", dist, y, weight), updated("pit", dist[:100], y[:100])
    assert pit.count() == 400
    assert pit.effective_count() == pytest.approx(100)
    torch.testing.assert_close(
        flat(pit.uniformity()), flat(expected.uniformity()), rtol=1e-6, atol=1e-6
    )


# Classes


CLASS_METRICS = {
    "accuracy": m.Accuracy,
    "brier": m.BrierScore,
    "nll": m.NegativeLogLikelihood,
    "calibration error": m.CalibrationError,
    "classwise": functools.partial(m.CalibrationError, "classwise", num_classes=4),
    "hits": functools.partial(m.TopKHitRate, 2),
    "ranked probability": m.RankedProbabilityScore,
}


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_an_ignored_index_leaves_out_its_rows(name):
    dist = dh.get_family("categorical", num_classes=4).from_raw(torch.randn(6, 4))
    y, kept = torch.tensor([0, -100, 3, 1, -100, 2]), torch.tensor([0, 2, 3, 5])
    ignoring, plain = CLASS_METRICS[name](ignore_index=-100), CLASS_METRICS[name]()
    ignoring.update(dist, y.numpy())
    plain.update(dist[kept], y[kept])
    torch.testing.assert_close(answers(ignoring), answers(plain), equal_nan=True)
    weight = torch.tensor([1.0, 5.0, 0.0, 2.0, 1.0, 3.0])
    for metric, rows_left in ((ignoring, slice(None)), (plain, kept)):
        metric.reset()
        metric.update(dist[rows_left], y[rows_left], weight[rows_left])
    torch.testing.assert_close(answers(ignoring), answers(plain), equal_nan=True)
    with pytest.raises(TargetError, match=r"-100 at row 1.*from 0 to 3"):
        plain.update(dist, y)
    with pytest.raises(TargetError, match="4 at row 0"):
        ignoring.update(dist, [4, -100, 3, 1, 0, 2])


def test_an_ignored_index_in_groups_and_comparisons():
    dist = dh.get_family("categorical", num_classes=3).from_raw(torch.randn(4, 3))
    other, y, kept = dist[[1, 2, 3, 0]], torch.tensor([0, -1, 2, 1]), torch.tensor([0, 2, 3])
    score = m.NegativeLogLikelihood(ignore_index=-1)
    difference = m.PairedDifference(score)
    difference.update(dist, other, y)
    torch.testing.assert_close(
        difference.compute(), (other.log_prob(y) - dist.log_prob(y))[kept].mean()
    )
    by_group = m.Grouped(score, groups=["a", "b"])
    by_group.update(dist, y, ["a", "b", "a", "a"])
    assert list(by_group.compute()) == ["a"]  # the row of the other one is not there


def test_an_ignored_index_is_of_classes_one_for_each_row():
    with pytest.raises(ValueError, match="needs classes"):
        m.NegativeLogLikelihood(ignore_index=-100).update(*drawn(EVERYTHING[0]))
    several = dh.get_family("categorical", num_classes=3).from_raw(torch.randn(4, 2, 3)).to_event(1)
    y = torch.tensor([[0, 1], [-100, 2], [1, 1], [0, -100]])
    accuracy = m.Accuracy(ignore_index=-100)
    with pytest.raises(ValueError, match=r"Try update\(dist\.marginals, y\)"):
        accuracy.update(several, y)
    accuracy.update(several.marginals, y)
    torch.testing.assert_close(accuracy.compute(), (several.mode == y)[y >= 0].float().mean())


@pytest.mark.parametrize(
    "dist, y, message",
    [
        (
            dh.get_family("bernoulli").distribution(probs=torch.full((3,), 0.5)),
            [-1, 1, 1],
            r"-1 at row 0\. Try \(y \+ 1\) / 2",
        ),
        (
            dh.get_family("categorical", num_classes=3).from_raw(torch.zeros(3, 3)),
            [1, 2, 3],
            r"3 at row 2.*try y - 1",
        ),
        (dh.get_family("poisson").distribution(rate=torch.ones(3)), [0, 1.5, 1], r"1\.5 at row 1"),
        (dh.get_family("poisson").distribution(rate=torch.ones(3)), [0, -2, 1], r"-2 at row 1"),
        (
            dh.get_family("plackett_luce", event_shape=(3,)).from_raw(torch.zeros(2, 3)),
            [[0, 1, 2], [2, 1, 2]],
            "row 1",
        ),
        (
            dh.get_family("von_mises").distribution(loc=torch.zeros(3), concentration=1.0),
            [0.0, 90.0, 1.0],
            "90 at row 1.*deg2rad",
        ),
    ],
)
def test_labels_counts_orders_and_degrees_are_named(dist, y, message):
    for metric in (m.NegativeLogLikelihood(), m.Skill(m.NegativeLogLikelihood(), dist[0])):
        with pytest.raises(TargetError, match=message):
            metric.update(dist, y)


def test_soft_labels_of_classes_count_as_so_much_of_a_hit():
    probs = torch.tensor([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]])
    dist = dh.get_family("categorical", num_classes=3).distribution(probs=probs)
    for metric in (
        m.CalibrationError(),
        m.CalibrationError("classwise", num_classes=3),
        m.BrierScore(),
    ):
        assert float(metric(dist, probs)) == pytest.approx(0, abs=1e-6)


def test_groups_are_texts_numbers_and_columns():
    dist, y = drawn(EVERYTHING[0], 4)
    expected = dist.crps(y)
    for labels, groups in (
        (["x", "y"], pd.Series(["x", "y", "x", "x"], index=[9, 8, 7, 6])),
        (pd.Series(["x", "y"]), pd.Series(["x", "y", "x", "x"]).astype("category")),
        (["x", "y"], pd.Series(["x", "y", "x", "x"], dtype="string")),
        (np.array([3, 5]), np.array([3, 5, 3, 3], dtype=np.int32)),
        (torch.tensor([3, 5]), torch.tensor([3, 5, 3, 3])),
        ([3, 5], [np.int64(3), 5, 3.0, np.int8(3)]),
        ([False, True], np.array([False, True, False, False])),
        ([("f", 1), ("m", 2)], [("f", 1), ("m", 2), ("f", 1), ("f", 1)]),
    ):
        by_group = m.Grouped(m.CRPS(), groups=labels)
        by_group.update(dist, y, groups)
        first, second = by_group.compute().values()
        torch.testing.assert_close(first.double(), expected[[0, 2, 3]].mean(), rtol=1e-6, atol=0)
        torch.testing.assert_close(second.double(), expected[1], rtol=1e-6, atol=0)
    by_age = m.Grouped(m.CRPS(), bins=pd.Series([18, 65]))
    by_age.update(dist, y, pd.Series([17, 30, 64, 70]))
    torch.testing.assert_close(
        by_age.compute()["18 to 65"].double(), expected[[1, 2]].mean(), rtol=1e-6, atol=0
    )
    with pytest.raises(ValueError, match="nan at row 2"):
        by_age.update(dist, y, [17, 30, math.nan, 70])
    with pytest.raises(TargetError, match="nan at row 3"):  # of all rows, not of its group
        by_age.update(dist, [0.0, 1.0, 1.0, math.nan], [17, 30, 17, 70])


def test_missing_parameters_are_named_by_their_row_among_all_rows():
    dist = dh.get_family("normal").distribution(loc=torch.zeros(5), scale=1.0)
    dist.loc[3] = math.nan
    y, weight = torch.tensor([math.nan, 1.0, 2.0, 3.0, 4.0]), [0, 1, 1, 1, 1]
    for metric in (m.PITHistogram(), m.SpreadSkill(), m.PITHistogram(joint=True)):
        with pytest.raises(TargetError, match="3 at row 3"):
            metric.update(dist, y, weight)
    with pytest.raises(TargetError, match="3 at row 3"):
        m.Grouped(m.PITHistogram(), groups=["a", "b"]).update(
            dist, y, ["a", "a", "b", "b", "b"], weight
        )


# Directions


DIRECTIONS = [case for case in EVERYTHING if case.kind == "direction"]


WRITTEN = {
    "(-pi, pi]": lambda y: y,
    "[0, 2 pi)": lambda y: y % (2 * math.pi),
    "a turn more": lambda y: y + 2 * math.pi,
    "a turn less": lambda y: y - 2 * math.pi,
}


@pytest.mark.parametrize("case", DIRECTIONS, ids=str)
def test_metrics_of_directions_do_not_change_where_everything_turns(case):
    dist, y = drawn(case)
    expected = {name: answers(updated(name, dist, y)) for name in offered(case)}

    @settings(max_examples=4)
    @given(angle=st.floats(-2 * math.pi, 2 * math.pi), written=st.sampled_from(list(WRITTEN)))
    def holds(angle, written):
        rotated, target = turned(dist, angle), WRITTEN[written](wrapped(y + angle))
        for name in expected:
            result = answers(updated(name, rotated, target))
            torch.testing.assert_close(
                result, expected[name], rtol=1e-6, atol=1e-6, equal_nan=True, msg=f"{name}, {angle}"
            )

    holds()


def test_every_way_to_write_a_direction_counts_the_same_in_single_precision():
    dist, y = drawn(DIRECTIONS[1], 200)
    single = VonMises(dist.loc.float(), dist.concentration.float())
    for name in offered(DIRECTIONS[1]):
        groups = ["a", "b"] * 100
        expected = answers(updated(name, single, y.float(), None, groups))
        result = answers(updated(name, single, (y % (2 * math.pi)).float(), None, groups))
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4, equal_nan=True, msg=name)


@pytest.mark.parametrize("loc", [0.0, 3.1, math.pi, -math.pi])
def test_a_sharp_direction_is_narrow_wherever_it_points(loc):
    """Widths that are rounded below zero must not become a whole turn."""
    dist = VonMises(torch.full((3,), loc), 1e13)
    y = wrapped(torch.full((3,), loc, dtype=torch.float64)).float()
    for metric in (
        m.Sharpness(),
        m.IntervalScore(),
        m.PinballLoss([0.05, 0.95]),
        m.MeanAbsoluteError(),
    ):
        assert (metric(dist, y).abs() < 1e-5).all(), metric


def test_pinball_losses_of_directions_add_up_to_the_crps_of_the_angle_from_the_median():
    """Twice the mean over all levels is the CRPS of numbers on the opened circle."""
    concentration, angle = 3.0, 1.2
    dist, y = (
        VonMises(torch.tensor([2.5]), concentration),
        torch.tensor([2.5 + angle - 2 * math.pi]),
    )
    levels = (torch.arange(50) + 0.5) / 50
    mean = 2 * m.PinballLoss(levels.tolist())(dist, y).double().mean()
    x = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)
    cdf = torch.from_numpy(scipy.stats.vonmises(concentration).cdf(x.numpy()))
    expected = torch.trapezoid((cdf - (x >= angle).double()).square(), x)
    assert float(mean) == pytest.approx(float(expected), rel=3e-3)


@pytest.mark.parametrize("concentration", [0.2, 1.0, 30.0])
def test_the_spread_of_honest_directions_agrees_with_their_error(concentration):
    dist = VonMises(torch.full((40_000,), 3.0), concentration)
    torch.manual_seed(0)
    result = m.SpreadSkill(1)(dist, dist.sample())
    assert abs(float(result["error"] - result["spread"])) < 4 * float(result["standard_error"])
    assert float(result["spread"]) <= 2  # no chord of the circle is longer


def test_an_energy_score_of_directions_is_refused_since_no_straight_line_joins_them():
    dist, y = drawn(NAMED["independent von_mises"])
    with pytest.raises(NotImplementedError, match="no straight distance"):
        m.EnergyScore().update(dist, y)


# Rankings, and what a metric cannot score


def test_rankings_of_an_ensemble_are_scored_by_what_its_members_say_together():
    logits = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 3.0, -1.0]], [[1.0, 0.0, 2.0], [1.0, 0.0, 2.0]]])
    dist = RankingEnsemble(PlackettLuce(logits))
    y = torch.tensor([[1, 0, 2], [2, 0, 1]])
    assert float(m.TopKHitRate(1)(dist, y)) == float(
        (dist.top1.argmax(-1) == y[:, 0]).float().mean()
    )
    right = (dist.pairwise > 0.5)[
        torch.arange(2)[:, None], y[:, [0, 0, 1]], y[:, [1, 2, 2]]
    ].double()
    assert float(m.KendallTau()(dist, y)) == pytest.approx(float((2 * right - 1).mean()))


def test_accuracy_of_a_partial_ranking_looks_at_the_places_that_it_names():
    dist = dh.get_family("plackett_luce", event_shape=(3,)).from_raw(
        torch.tensor([[3.0, 2.0, 1.0]]).expand(2, 3)
    )
    assert float(m.Accuracy()(dist, torch.tensor([[0, -1, -1], [1, 0, -1]]))) == 0.5
    assert float(m.Accuracy()(dist, torch.tensor([[0, 1], [1, -1]]))) == 0.5


@pytest.mark.parametrize(
    "metric, case, reason",
    [
        (m.Accuracy(), "normal", "Coverage"),
        (m.Accuracy(), "von_mises", "continuous"),
        (m.MeanAbsoluteError("mode"), "categorical", "no distance"),
        (m.RootMeanSquaredError("mode"), "plackett_luce", "no distance"),
        (m.SpreadSkill(), "categorical", "no distance"),
        (m.SpreadSkill(), "independent classes", "no distance"),
        (m.BrierScore(), "normal", "class probabilities"),
        (m.CRPS(), "plackett_luce", "coordinates"),
        (m.EnergyScore(), "independent classes", "class"),
        (m.CRPS(), "mixture of von_mises", "several peaks"),
    ],
)
def test_what_a_metric_cannot_score_is_refused_with_what_does(metric, case, reason):
    with pytest.raises(NotImplementedError, match=reason):
        metric.update(*drawn(next(one for one in EVERYTHING if one.name == case)))


def test_a_reference_of_widths_is_one_distribution():
    with pytest.raises(ValueError, match="one distribution for all rows"):
        m.Sharpness(relative_to=dh.get_family("normal").distribution(loc=torch.zeros(3), scale=1.0))


def test_targets_simulated_with_the_seed_of_a_metric_are_not_among_its_samples():
    dist = dh.get_family("normal").distribution(loc=torch.zeros(4000), scale=1.0)
    torch.manual_seed(0)
    y = dist.sample()
    pit = m.PITHistogram(joint=True, samples=4, seed=0)
    pit.update(dist, y)
    assert pit.uniformity().ks_p_value > 1e-3
