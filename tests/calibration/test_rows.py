"""What a row counts in every recalibration, and what is taken and refused: over all recalibrations
times what they are for.
"""

import math

import pandas as pd
import pytest
import torch

from disthead.calibration import (
    BetaCalibration,
    ConformalPredictive,
    ConformalQuantiles,
    IsotonicCalibration,
    QuantileRecalibration,
    ScaleCalibration,
    TemperatureScaling,
    VectorScaling,
)
from disthead.errors import TargetError
from disthead.families import (
    Bernoulli,
    Categorical,
    Normal,
    PlackettLuce,
    Poisson,
    StudentT,
    VonMises,
)
from disthead.families.circular_mixture import CircularMixture
from tests.cases import EVERYTHING, NAMED, REPEATS, Case

ROWS = 40
RECALIBRATIONS = {
    "scale": ScaleCalibration,
    "quantile": QuantileRecalibration,
    "conformal": lambda: ConformalQuantiles([0.5, 0.8]),
    "normalised": lambda: ConformalQuantiles(0.8, normalised=True),
    "predictive": ConformalPredictive,
    "temperature": TemperatureScaling,
    "vector": VectorScaling,
    "beta": BetaCalibration,
    "isotonic": IsotonicCalibration,
}
QUICK = (
    "normal",
    "gamma",
    "poisson",
    "independent normals",
    "von_mises",
    "affine gamma",
    "multivariate_normal",
)
QUICK_CLASSES = ("bernoulli", "categorical", "plackett_luce", "independent classes")


def takes(name: str, case: Case) -> bool:
    try:
        dist = case.dist()
        RECALIBRATIONS[name]()._check_kind(dist.base if case.outputs else dist)
    except ValueError:
        return False
    return name != "normalised" or ("stddev" in case.claims and bool(dist.stddev.isfinite().all()))


def pairs(*names: str, only: tuple[str, ...] | None = None) -> list:
    result = []
    for name in names or RECALIBRATIONS:
        for case in EVERYTHING:
            if (
                takes(name, case)
                and not case.moving_support
                and (only is None or case.name in only)
            ):
                slow = case.name in REPEATS or (
                    name == "quantile" and case.name not in ("normal", "poisson")
                )
                marks = pytest.mark.slow if slow else ()
                result.append(pytest.param(name, case, marks=marks, id=f"{name}-{case.name}"))
    return result


def example(case: Case, rows: int = ROWS):
    """Distributions that differ from row to row, and targets of wider ones."""
    raw = torch.tensor(case.raw, dtype=torch.float64)
    generator = torch.Generator().manual_seed(len(case.name))
    noise = torch.randn(2, rows, len(raw), generator=generator, dtype=torch.float64)
    y = case.from_raw(raw + 0.8 * noise[0]).sample(generator=generator)
    return case.from_raw(raw + 0.3 * noise[1]), y


def weights(rows: int = ROWS) -> torch.Tensor:
    """0, 1 and 2, in an order of their own."""
    return torch.tensor([1, 2, 0, 1, 1, 2, 2, 0, 1, 2] * (rows // 10), dtype=torch.float64)


def same(r, other, dist, y, **close):
    """Whether two recalibrations say the same."""
    if isinstance(r, (ConformalQuantiles, ConformalPredictive)):
        torch.testing.assert_close(
            tuple(r(dist).interval(0.8)), tuple(other(dist).interval(0.8)), **close
        )
    else:
        torch.testing.assert_close(r(dist).log_prob(y), other(dist).log_prob(y), **close)


@pytest.mark.parametrize("name, case", pairs())
def test_a_row_of_weight_0_is_not_there_whatever_its_target_is(name, case):
    dist, y = example(case)
    weight, there = weights(), weights() > 0
    alone = RECALIBRATIONS[name]().fit(dist[there], y[there], weight[there])
    for nothing in (torch.nan, -100.0, torch.inf):
        holed = y.double().clone()
        holed[~there] = nothing
        r = RECALIBRATIONS[name]().fit(dist, holed, weight)
        for key, value in alone.state_dict().items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(r.state_dict()[key], value, rtol=0, atol=0)
        if name in ("scale", "quantile"):  # once is enough of the slow ones
            break


@pytest.mark.parametrize(
    "name, case",
    pairs("scale", only=QUICK)
    + pairs("temperature", "vector", "beta", "isotonic", only=QUICK_CLASSES),
)
def test_weight_2_is_the_row_twice(name, case):
    dist, y = example(case)
    weight = weights()
    twice = torch.arange(ROWS).repeat_interleave(weight.long())
    r = RECALIBRATIONS[name]().fit(dist, y, weight)
    same(r, RECALIBRATIONS[name]().fit(dist[twice], y[twice]), dist, y, rtol=1e-5, atol=1e-6)
    unweighted = RECALIBRATIONS[name]().fit(dist, y)
    with pytest.raises(AssertionError):
        same(r, unweighted, dist, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case", [case for case in EVERYTHING if case.name in ("normal", "poisson")], ids=str
)
def test_weight_2_is_the_row_twice_but_for_the_prior_of_quantile_recalibration(case, monkeypatch):
    monkeypatch.setattr(QuantileRecalibration, "_roughness", 1e3)
    dist, y = example(case)
    twice = torch.arange(ROWS).repeat_interleave(weights().long())
    r = QuantileRecalibration().fit(dist, y, weights())
    same(r, QuantileRecalibration().fit(dist[twice], y[twice]), dist, y, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "name, case", pairs(only=("normal", "poisson", "bernoulli", "categorical"))
)
def test_only_the_ratios_of_weights_matter(name, case):
    dist, y = example(case)
    for factor in (1e-3, 7.0):
        r = RECALIBRATIONS[name]().fit(dist, y, factor * weights())
        same(r, RECALIBRATIONS[name]().fit(dist, y, weights()), dist, y, rtol=1e-5, atol=1e-6)
    equal = RECALIBRATIONS[name]().fit(dist, y, torch.full((ROWS,), 3.0))
    same(equal, RECALIBRATIONS[name]().fit(dist, y), dist, y, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name, case", pairs(only=("normal", "bernoulli", "categorical", "plackett_luce"))
)
def test_arrays_columns_and_lists_are_taken_where_a_tensor_is(name, case):
    dist, y = example(case)
    r = RECALIBRATIONS[name]().fit(dist, y, weights())
    columns = [
        (y.numpy(), weights().numpy()),
        (y.tolist(), weights().tolist()),
        (y, weights().long()),
    ]
    if y.ndim == 1:
        columns.append(
            (pd.Series(y.numpy(), index=range(5, 5 + ROWS)), pd.Series(weights().numpy()))
        )
    for values, weight in columns:
        other = RECALIBRATIONS[name]().fit(dist, values, weight)
        # lists come in the precision of the distribution
        tolerance = 0 if not isinstance(values, list) else 1e-5
        same(r, other, dist, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "name, case", pairs(only=("normal", "gamma", "poisson", "bernoulli", "categorical"))
)
def test_weights_that_cannot_be_are_refused_with_their_rows(name, case):
    dist, y = example(case)
    for wrong in (-1.0, math.nan, math.inf):
        weight = weights()
        weight[3] = wrong
        with pytest.raises(
            ValueError, match=r"weight must be finite and zero or more, got .* at row 3"
        ):
            RECALIBRATIONS[name]().fit(dist, y, weight)
    with pytest.raises(ValueError, match="zero in all 40 rows"):
        RECALIBRATIONS[name]().fit(dist, y, torch.zeros(ROWS))
    with pytest.raises(ValueError, match=r"weight must have one value per row, shape \(40,\)"):
        RECALIBRATIONS[name]().fit(dist, y, torch.ones(ROWS - 1))


@pytest.mark.parametrize("name, case", pairs())
def test_targets_that_cannot_be_are_refused_with_their_rows_before_anything_is_computed(name, case):
    dist, y = example(case)
    for wrong in (torch.nan, torch.inf):
        holed = y.double().clone()
        holed[7] = wrong
        with pytest.raises(TargetError, match="row 7"):
            RECALIBRATIONS[name]().fit(dist, holed)
    with pytest.raises(ValueError, match="must have the shape"):
        RECALIBRATIONS[name]().fit(dist, y[1:])


@pytest.mark.parametrize(
    "recalibration, dist, y, message",
    [
        (
            TemperatureScaling,
            Bernoulli(logits=torch.zeros(3)),
            [-1, 1, 1],
            r"-1 at row 0\. Try \(y \+ 1\) / 2",
        ),
        (BetaCalibration, Bernoulli(logits=torch.zeros(3)), [1, 2, 1], "2 at row 1.*try y - 1"),
        (VectorScaling, Categorical(logits=torch.zeros(3, 3)), [1, 2, 3], "3 at row 2.*try y - 1"),
        (
            TemperatureScaling,
            Categorical(logits=torch.zeros(3, 3)),
            [0, -100, 1],
            "-100 at row 1.*weight 0",
        ),
        (ScaleCalibration, Poisson(torch.ones(3)), [0.0, 1.5, 2.0], "1.5 at row 1"),
    ],
)
def test_labels_that_are_no_classes_say_what_to_try(recalibration, dist, y, message):
    with pytest.raises(TargetError, match=message):
        recalibration().fit(dist, y)


@pytest.mark.parametrize("name", ["temperature", "vector", "beta", "isotonic"])
def test_an_ignored_index_is_no_target(name):
    case = NAMED["categorical" if name == "vector" else "bernoulli"]
    dist, y = example(case)
    ignored = weights() == 0
    r = RECALIBRATIONS[name]().fit(dist, torch.where(ignored, -100, y), ignore_index=-100)
    same(r, RECALIBRATIONS[name]().fit(dist[~ignored], y[~ignored]), dist, y, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["temperature", "vector", "isotonic", "beta"])
def test_an_ignored_index_of_one_output_leaves_the_others(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, 2, generator=generator, dtype=torch.float64)
    y = torch.bernoulli((0.5 * logits).sigmoid(), generator=generator)
    ignored = torch.stack([weights() == 0, weights() == 2], 1)
    r = RECALIBRATIONS[name]().fit(
        Bernoulli(logits=logits).to_event(1), torch.where(ignored, -1, y), ignore_index=-1
    )
    for output in range(2):
        there = ~ignored[:, output]
        alone = RECALIBRATIONS[name]().fit(
            Bernoulli(logits=logits[there, output]), y[there, output]
        )
        joint = r(Bernoulli(logits=logits).to_event(1)).base.logits[:, output]
        torch.testing.assert_close(
            joint, alone(Bernoulli(logits=logits[:, output])).logits, rtol=1e-4, atol=1e-4
        )


def test_rows_are_named_as_they_came():
    """Also where rows before them have the weight 0, and in a batch of two dimensions."""
    dist = Normal(torch.tensor([0.0, 0.0, 0.0, torch.nan]), 1.0)
    with pytest.raises(ValueError, match="NaN in 1 of 4 values: nan at row 3"):
        ScaleCalibration().fit(dist, [torch.nan, 1.0, 2.0, 3.0], [0, 1, 1, 1])
    with pytest.raises(ValueError, match="nan at row 1, column 1"):
        ScaleCalibration().fit(
            Normal(torch.tensor([[0.0, 0.0], [0.0, torch.nan]]), 1.0),
            [[torch.nan, 1.0], [2.0, 3.0]],
            [[0, 1], [1, 1]],
        )


def test_labels_of_classes_stay_with_what_is_recalibrated():
    generator = torch.Generator().manual_seed(0)
    dist = Categorical(logits=torch.randn(ROWS, 2, generator=generator)).with_class_labels(
        ["cat", "dog"]
    )
    y = dist.sample(generator=generator)
    r = TemperatureScaling().fit(dist, [["cat", "dog"][k] for k in y])
    torch.testing.assert_close(
        r(dist).log_prob([["cat", "dog"][k] for k in y]), r(dist).log_prob(y)
    )


def test_a_fit_that_failed_leaves_nothing_learned():
    model = Normal(torch.zeros(4), 1.0)
    r = ScaleCalibration().fit(model, torch.arange(4.0))
    with pytest.raises(TargetError, match="finds no scale"):
        r.fit(model, torch.zeros(4))
    assert not r.is_fitted


class TestTargetsThatTeachNothing:
    @pytest.mark.parametrize(
        "dist, y",
        [
            (Normal(torch.arange(4.0), 1.0), torch.arange(4.0)),
            (StudentT(1.0, torch.arange(4.0), 1.0), torch.tensor([0.0, 1.0, 2.0, 5.0])),
            (Poisson(torch.full((4,), 3.5)), torch.full((4,), 3.0)),
            (
                Normal(torch.zeros(4, 3), 1.0).to_event(1),
                torch.tensor([[0.0, 1.0, 1.0]]).expand(4, 3),
            ),
        ],
    )
    def test_a_scale_that_would_fall_to_0_is_refused_with_the_rows(self, dist, y):
        with pytest.raises(TargetError, match=r"finds no scale.* at row 0.*more rows"):
            ScaleCalibration().fit(dist, y)

    def test_all_targets_at_one_quantile_have_no_shape(self):
        with pytest.raises(TargetError, match=r"at one quantile.*ScaleCalibration"):
            QuantileRecalibration().fit(Normal(torch.zeros(20), 1.0), torch.full((20,), 0.7))

    def test_half_of_the_rows_at_one_value_teach_a_finite_map(self):
        generator = torch.Generator().manual_seed(0)
        y = torch.where(torch.arange(100) % 2 == 0, 0.0, torch.randn(100, generator=generator))
        model = Normal(torch.zeros(100), 0.3)
        for recalibration in (ScaleCalibration(), QuantileRecalibration()):
            assert recalibration.fit(model, y)(model).log_prob(y).isfinite().all()

    @pytest.mark.parametrize("recalibration", [TemperatureScaling, VectorScaling, BetaCalibration])
    def test_classes_that_are_all_told_right_get_finite_probabilities(self, recalibration):
        """An error or a few in n + 1 rows are left possible, in place of none."""
        logits = torch.linspace(-3, 3, 50, dtype=torch.float64)
        y = (logits > 0).double()
        dist = recalibration().fit(Bernoulli(logits=logits), y)(Bernoulli(logits=logits))
        error = torch.where(y == 1, 1 - dist.probs, dist.probs)
        assert 1 / 51 < error.mean() < 4 / 51
        assert dist.log_prob(1 - y).min() > -50

    def test_a_ranking_that_is_always_right_gets_a_finite_temperature(self):
        model = PlackettLuce(torch.randn(30, 4, generator=torch.Generator().manual_seed(0)))
        r = TemperatureScaling().fit(model, model.mode)
        assert 0.01 < r.temperature.item() < 1

    def test_infinite_logits_and_deviations_are_named_with_their_rows(self):
        certain = Bernoulli(probs=torch.tensor([0.5, 1.0, 0.5]))
        with pytest.raises(TargetError, match=r"finite logits.*1 at row 1"):
            TemperatureScaling().fit(certain, [0, 1, 1])
        TemperatureScaling().fit(certain, [0, 1, 1], weight=[1, 0, 1])
        with pytest.raises(ValueError, match=r"standard deviation that is finite.*inf at row 0"):
            ConformalQuantiles(0.5, normalised=True).fit(
                StudentT(1.5, torch.zeros(9), 1.0), torch.arange(9.0)
            )


def test_mixtures_of_directions_get_other_concentrations(generator):
    logits, loc = torch.zeros(4000, 2).double(), torch.tensor([0.0, 2.0]).double()
    y = CircularMixture(logits, VonMises(loc, 4.0)).sample(generator=generator)
    too_sure = CircularMixture(logits, VonMises(loc, 16.0))
    r = ScaleCalibration().fit(too_sure, y)
    assert r.scale.item() == pytest.approx(2, rel=0.05)
    torch.testing.assert_close(
        r(too_sure).components.concentration,
        torch.full((4000, 2), 16 / r.scale.item() ** 2).double(),
    )
