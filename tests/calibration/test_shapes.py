"""Moments and CRPS of many recalibrated distributions by polynomials in their shape, beside the
answers row by row.
"""

import pytest
import torch
from torch import Tensor

from disthead.calibration.integrals import mean_and_variance, scores
from disthead.calibration.monotone_maps import (
    AffineMap,
    AffineMapAboutMean,
    LogSlopeSpline,
    PiecewiseLinearMap,
    place_of_mean,
)
from disthead.calibration.recalibrated import RecalibratedContinuous, recalibrated
from disthead.calibration.shapes import Shapes
from disthead.families import (
    Beta,
    Exponential,
    Gamma,
    Laplace,
    LogNormal,
    Normal,
    StudentT,
    Weibull,
)
from tests.calibration.test_integrals import by_brute_force

ROWS = 120


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


SPLINE = LogSlopeSpline(double(0.3)[0], double(0.4, 0.1, -0.3, 0.2, 0.5, -0.2, 0.3))
NEAR = torch.linspace(-0.5, 2.5, ROWS, dtype=torch.float64)
PLACE, UNIT = (
    torch.linspace(-3, 5, ROWS, dtype=torch.float64),
    torch.linspace(0.01, 40, ROWS, dtype=torch.float64),
)
BASES = {
    "gamma": Gamma(NEAR.exp(), UNIT),
    "gamma of all sizes": Gamma(torch.logspace(-1.5, 8, 8 * ROWS, dtype=torch.float64), 2.0),
    "student_t": StudentT(2.5 + NEAR.exp(), PLACE, UNIT),
    "student_t of all tails": StudentT(
        torch.linspace(1.02, 9, 4 * ROWS, dtype=torch.float64), 0.0, 2.0
    ),
    "weibull": Weibull(UNIT, NEAR.exp()),
    "log_normal": LogNormal(PLACE, (NEAR - 2).exp()),
    "normal": Normal(PLACE, UNIT),
    "laplace": Laplace(PLACE, UNIT),
    "exponential": Exponential(UNIT),
}


def about_mean(base) -> tuple:
    share = torch.ones((), dtype=torch.float64)
    return AffineMapAboutMean(1.3 * share, place_of_mean(base), share), SPLINE


def dist_of(name: str, maps: str = "bend") -> RecalibratedContinuous:
    base = BASES[name]
    return recalibrated(base, *({"bend": (SPLINE,), "about mean": about_mean(base)}[maps]))


def targets(dist: RecalibratedContinuous) -> Tensor:
    """From one tail to the other, some far outside."""
    level = torch.linspace(0, 1, dist.batch_shape[0], dtype=torch.float64)[
        torch.randperm(dist.batch_shape[0], generator=torch.Generator().manual_seed(0))
    ]
    y = dist.icdf(level.clamp(1e-9, 1 - 1e-9))
    y[:3] = double(-torch.inf, torch.inf, torch.nan)
    y[3:5] = double(-1e3, 1e6)
    return y


@pytest.mark.parametrize("maps", ["bend", "about mean"])
@pytest.mark.parametrize("name", BASES)
def test_many_rows_have_the_answers_of_each(name, maps):
    if maps == "about mean" and "student_t of" in name:
        return  # a few have no mean
    dist = dist_of(name, maps)
    assert Shapes.of(dist) is not None
    mean, variance = mean_and_variance(dist)
    close = {"rtol": 5e-6, "atol": 0.0, "equal_nan": True}
    spread = scores(dist, dist.median)
    assert ((dist.mean - mean).abs() <= 5e-6 * (spread + mean.abs())).all()
    has_variance = dist.variance.isfinite()  # the maps make some tails too heavy
    assert has_variance.any()
    torch.testing.assert_close(dist.variance[has_variance], variance[has_variance], **close)
    y = targets(dist)
    torch.testing.assert_close(dist.crps(y), scores(dist, y), **close)


def test_small_shapes_keep_their_moments():
    """Where nearly all of the probability lies next to 0, and rules between quantiles are off by
    1e-4.
    """
    dist = recalibrated(Gamma(torch.logspace(-3, -1, 200, dtype=torch.float64), 2.0), SPLINE)
    y, mass = by_brute_force(dist)
    mean = (mass * y).sum(0)
    torch.testing.assert_close(dist.mean, mean, rtol=1e-8, atol=0)
    torch.testing.assert_close(
        dist.variance, (mass * (y - mean).square()).sum(0), rtol=1e-8, atol=0
    )


def test_rows_without_the_units_of_others_are_answered_by_themselves():
    base = Gamma(NEAR.exp(), UNIT.clone())
    base.rate[5], base.concentration[6], base.log_concentration[6] = torch.nan, torch.nan, torch.nan
    # far from all others
    base.concentration[7], base.log_concentration[7] = 1e5, double(1e5).log()[0]
    dist = recalibrated(base, SPLINE)
    torch.testing.assert_close(
        dist.crps(UNIT), scores(dist, UNIT), rtol=5e-6, atol=0.0, equal_nan=True
    )
    assert dist.mean.isnan().nonzero().flatten().tolist() == [5, 6]
    assert dist.mean[7].item() == pytest.approx(mean_and_variance(dist)[0, 7].item(), rel=1e-12)


@pytest.mark.parametrize(
    "dist",
    [
        recalibrated(Beta(UNIT, 2.0), SPLINE),
        recalibrated(Gamma(UNIT, 2.0), AffineMap(double(1.1)[0], PLACE)),
        recalibrated(Gamma(UNIT, 2.0), PiecewiseLinearMap(double(-1.0, 1.0), double(-1.5, 0.5))),
        recalibrated(Gamma(UNIT[:5], 2.0), SPLINE),
        recalibrated(Gamma(UNIT.clone().requires_grad_(), 2.0), SPLINE),
    ],
    ids=["two shapes", "maps of their own", "steps", "few rows", "gradients"],
)
def test_rows_that_differ_in_more_than_a_shape_are_answered_one_by_one(dist):
    assert Shapes.of(dist) is None
    torch.testing.assert_close(dist.mean, mean_and_variance(dist)[0], rtol=0, atol=0)


def test_many_rows_take_the_quantiles_of_few(monkeypatch):
    """Twelve shapes for each factor of e that the shapes span, at twelve levels of each of 14
    pieces.
    """
    rows, numbers = 5000, {"quantiles": 0, "tails": 0}

    def counted(name, method):
        def answer(self, *arguments):
            result = method(self, *arguments)
            numbers[name] += result.numel()
            return result

        return answer

    for method, name in (
        ("_inverse", "quantiles"),
        ("log_cdf", "tails"),
        ("log_survival", "tails"),
    ):
        monkeypatch.setattr(Gamma, method, counted(name, getattr(Gamma, method)))
    dist = recalibrated(Gamma(torch.linspace(0.5, 9, rows, dtype=torch.float64), 1.0), SPLINE)
    for question in (
        lambda: dist.mean,
        lambda: dist.variance,
        lambda: dist.crps(torch.ones(rows, dtype=torch.float64)),
    ):
        numbers["quantiles"] = numbers["tails"] = 0
        question()
        spans = 4  # log(0.5) = -0.7 to log(9) = 2.2
        assert 0 < numbers["quantiles"] <= spans * 12 * (14 * 12 + 15)
        assert numbers["tails"] <= 2 * rows
