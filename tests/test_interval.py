"""`Interval` and `Arc`: pairs of ends that say which targets lie between them."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from disthead.calibration import (
    ConformalPredictive,
    ConformalQuantiles,
    QuantileRecalibration,
    ScaleCalibration,
)
from disthead.families import Arc, Independent, Interval, Normal, VonMises, ensemble
from tests.brute_force import turned
from tests.cases import AFFINE, ALL_COUNTS, CIRCULAR, CONTINUOUS, MIXTURES, VECTORS, rows


@pytest.mark.parametrize("case", rows(CONTINUOUS + MIXTURES + AFFINE))
def test_the_central_interval_contains_the_quantiles_between_its_levels(case):
    dist = case.dist(batch=(3,))
    for method in (dist.interval, dist.highest_density):
        interval = method(0.8)
        assert isinstance(interval, Interval)
        lower, upper = interval
        assert interval.contains(lower).all()
        assert interval.contains(upper).all()
        assert not interval.contains(lower - 1e-6 * (upper - lower)).any()
        assert not interval.contains(upper + 1e-6 * (upper - lower)).any()
    levels = (
        torch.tensor([0.05, 0.15, 0.5, 0.85, 0.95], dtype=torch.float64).unsqueeze(-1).expand(5, 3)
    )
    expected = torch.tensor([False, True, True, True, False]).unsqueeze(-1).expand(5, 3)
    assert torch.equal(dist.interval(0.8).contains(dist.icdf(levels)), expected)


@pytest.mark.parametrize("case", rows(ALL_COUNTS))
def test_intervals_of_counts_contain_their_ends(case):
    dist = case.dist(batch=(3,))
    for interval in (dist.interval(0.8), dist.highest_density(0.8)):
        assert isinstance(interval, Interval)
        assert interval.contains(interval.lower).all()
        assert interval.contains(interval.upper).all()
        assert not interval.contains(interval.upper + 0.5).any()


@pytest.mark.parametrize("case", CIRCULAR, ids=str)
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.999])
def test_an_arc_contains_the_directions_that_its_level_says_also_across_the_seam(case, level):
    for shift in (0.0, 1.0, 2.0, 3.0):
        dist = turned(case.dist(), shift)
        angle = torch.linspace(-math.pi, math.pi, 2001, dtype=torch.float64)[1:]
        for arc in (dist.interval(level), dist.highest_density(level)):
            assert isinstance(arc, Arc)
            inside = arc.contains(angle)
            weight = dist.log_prob(angle).exp() * 2 * math.pi / 2000
            assert weight[inside].sum().item() == pytest.approx(level, abs=2e-3)
            for turn in (-2, 2):
                assert torch.equal(arc.contains(angle + turn * math.pi), inside)
            nearest = torch.cos(angle - dist.loc)
            assert nearest[inside].min() >= nearest[~inside].max() - 1e-9


def test_the_ends_of_an_arc_belong_to_it_in_every_precision():
    for dtype in (torch.float32, torch.float64):
        loc = torch.linspace(-3.1, 3.1, 101, dtype=dtype)
        arc = VonMises(loc, 3.0).interval(0.9)
        assert (arc.lower > arc.upper).any()
        for end in arc:
            assert arc.contains(end).all()
            assert arc.contains(end.double()).all()
    seam = Arc(torch.tensor(2.0), torch.tensor(math.pi))
    assert seam.contains(-math.pi)
    assert seam.contains(torch.tensor(-math.pi, dtype=torch.float64))
    assert not seam.contains(-3.0)


def test_arcs_in_degrees_have_a_turn_of_360():
    arc = Arc(torch.tensor([350.0, 80.0]), torch.tensor([10.0, 100.0]))
    assert arc.contains([355.0, 90.0], period=360).tolist() == [True, True]
    assert arc.contains([-5.0, 450.0], period=360).tolist() == [True, True]
    assert arc.contains([180.0, 270.0], period=360).tolist() == [False, False]


def test_wrappers_and_recalibrations_keep_the_kind_of_interval(generator):
    line, circle = Normal(torch.zeros(40), 1.0), VonMises(torch.full((40,), 3.0), 2.0)
    y, direction = line.sample(generator=generator), circle.sample(generator=generator)
    for r in (
        ScaleCalibration(),
        QuantileRecalibration(),
        ConformalQuantiles(0.8),
        ConformalPredictive(),
    ):
        interval = r.fit(line, y)(line).interval(0.8)
        assert isinstance(interval, Interval)
        lower, upper = interval
        assert torch.equal(interval.contains(y), (lower <= y) & (y <= upper))
        assert interval.contains(y).float().mean() > 0.6
    arc = ScaleCalibration().fit(circle, direction)(circle).interval(0.8)
    assert arc.contains(direction).float().mean() > 0.6
    assert isinstance(Independent(VonMises(torch.zeros(4, 2), 1.0), 1).interval(0.8), Arc)
    assert isinstance(ensemble(Normal(torch.zeros(3, 4), 1.0)).interval(0.8), Interval)
    for case in VECTORS:
        assert case.dist(batch=(5,)).interval(0.8).contains(case.dist(batch=(5,)).mean).all()


def test_ends_that_are_arrays_give_arrays():
    y = np.array([-5.0, 0.0, 1.5])
    for kind, expected in ((Interval, [False, True, False]), (Arc, [False, True, False])):
        inside = kind(
            np.array([-1.0, -1.0, -1.0]), np.array([1.0, 1.0, 1.0], dtype=np.float32)
        ).contains(y)
        assert isinstance(inside, np.ndarray)
        assert inside.tolist() == expected
    across = Arc(np.array([3.0]), np.array([-3.0]))
    assert across.contains([3.1]).tolist() == across.contains(np.array([-3.1])).tolist() == [True]


def test_targets_are_taken_from_arrays_and_their_shape_is_checked():
    interval = Normal(torch.zeros(3), 1.0).interval(0.9)
    y = torch.tensor([-5.0, 0.0, 1.0])
    for values in (y, y.numpy(), y.tolist(), pd.Series(y.numpy()), np.float64(0.0), 0.0):
        assert torch.equal(interval.contains(values), interval.contains(torch.as_tensor(values)))
    assert interval.contains(y.expand(7, 3)).shape == (7, 3)
    with pytest.raises(ValueError, match=r"shape \(3,\).*got \(3, 1\)\. Try y\.squeeze\(-1\)"):
        interval.contains(y.unsqueeze(-1))
    with pytest.raises(ValueError, match="shape"):
        interval.contains(y[:2])
