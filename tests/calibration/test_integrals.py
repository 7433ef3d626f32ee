"""Moments, entropy and CRPS of recalibrated distributions beside sums over very many points, and
with how much work.
"""

import math

import pytest
import torch

from disthead.calibration.monotone_maps import AffineMap, LogSlopeSpline
from disthead.calibration.recalibrated import recalibrated
from disthead.families import Beta, Gamma, LogNormal, Normal, Poisson, StudentT


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


SPLINE = LogSlopeSpline(
    torch.tensor(0.3, dtype=torch.float64), double(0.4, 0.1, -0.3, 0.2, 0.5, -0.2, 0.3)
)
AFFINE = AffineMap(*double(1.3, 0.2))
BASES = {
    "gamma": Gamma(double(0.4, 3.0, 40.0), 2.0),
    "beta": Beta(double(0.6, 3.0, 2.0), double(0.7, 2.0, 0.5)),
    "normal": Normal(double(0.0, 100.0, -3.0), 2.0),
    "log_normal": LogNormal(double(0.0), double(0.1, 0.5, 0.9)),
}


def by_brute_force(dist):
    """Equal steps on the probit scale: points, and the probability of each."""
    x = torch.linspace(-8.5, 8.5, 8001, dtype=torch.float64).unsqueeze(-1)
    return dist._quantile_of_probit(x), torch.exp(-0.5 * x.square()) * (
        17 / 8000 / math.sqrt(2 * math.pi)
    )


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize(
    "maps", [(SPLINE,), (AFFINE, SPLINE), (AFFINE,)], ids=["bend", "both", "stretch"]
)
def test_moments_entropy_and_crps_are_those_of_many_points(name, maps):
    dist = recalibrated(BASES[name], *maps)
    y, mass = by_brute_force(dist)
    mean = (mass * y).sum(0)
    torch.testing.assert_close(dist.mean, mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        dist.variance, (mass * (y - mean).square()).sum(0), rtol=1e-5, atol=0
    )
    entropy = -(mass * dist.log_prob(dist._inside(y))).sum(0)
    torch.testing.assert_close(dist.entropy(), entropy, rtol=1e-5, atol=1e-5)
    share = (mass.cumsum(0) - 0.5 * mass) * y
    half_difference = (2 * mass * share).sum(0) - mean  # E|Y - Y'| / 2 = E[Y (2 F(Y) - 1)]
    targets = torch.stack(
        [
            dist.median,
            dist.icdf(double(0.99)),
            dist.icdf(double(1e-3)),
            dist.icdf(double(1 - 1e-12)) + 1,
        ]
    )
    for target in targets:
        expected = (mass * (y - target).abs()).sum(0) - half_difference
        torch.testing.assert_close(dist.crps(target), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        dist.crps(targets), torch.stack([dist.crps(target) for target in targets])
    )


def test_a_moment_that_the_base_does_not_have_is_none_of_the_recalibrated_one_either():
    dist = recalibrated(StudentT(double(0.9, 1.5, 3.0), 0.0, 1.0), SPLINE)
    assert dist.mean.isnan().tolist() == [True, False, False]
    assert dist.variance.isfinite().tolist() == [False, False, True]


def test_heavy_tails_keep_their_moments():
    """Without a bend the recalibrated distribution is the base."""
    straight = LogSlopeSpline(torch.tensor(0.0).double(), torch.zeros(7, dtype=torch.float64))
    for base in (StudentT(double(3.0, 5.0), 1.0, 2.0), LogNormal(double(0.0), double(1.5, 2.0))):
        dist = recalibrated(base, straight)
        torch.testing.assert_close(dist.mean, base.mean, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(dist.variance, base.variance, rtol=1e-3, atol=0)
        torch.testing.assert_close(
            dist.crps(double(3.0, -2.0)), base.crps(double(3.0, -2.0)), rtol=1e-6, atol=0
        )


class Counted(Gamma):
    quantiles = tails = 0

    def _standard(self):
        return None  # so that each row is answered by itself

    def _inverse(self, below, above):
        Counted.quantiles += torch.broadcast_shapes(below.shape, self.batch_shape).numel()
        return super()._inverse(below, above)

    def log_cdf(self, y):
        Counted.tails += y.numel()
        return super().log_cdf(y)

    def log_survival(self, y):
        Counted.tails += y.numel()
        return super().log_survival(y)


@pytest.mark.parametrize("question", ["mean", "variance", "crps"])
def test_an_integral_takes_few_quantiles_of_the_base(question):
    rows = 700
    dist = recalibrated(
        Counted(torch.linspace(0.5, 9, rows, dtype=torch.float64), 1.0), AFFINE, SPLINE
    )
    Counted.quantiles = Counted.tails = 0
    _ = (
        dist.crps(torch.ones(rows, dtype=torch.float64))
        if question == "crps"
        else getattr(dist, question)
    )
    assert Counted.quantiles == 15 * rows
    assert Counted.tails <= 120 * rows


def test_gradients_of_moments_and_crps_are_those_of_differences():
    def answers(concentration):
        dist = recalibrated(Gamma(concentration, 2.0), AFFINE, SPLINE)
        return torch.stack(
            [dist.mean, dist.variance, dist.crps(torch.ones_like(concentration)), dist.entropy()]
        )

    at, step = double(3.0)[0], 1e-4
    slope = torch.autograd.functional.jacobian(answers, at)
    torch.testing.assert_close(
        slope, (answers(at + step) - answers(at - step)) / (2 * step), rtol=1e-5, atol=1e-7
    )


def test_counts_of_no_rows_have_no_answers():
    dist = recalibrated(Poisson(torch.zeros(0, dtype=torch.float64)), SPLINE)
    for answer in (
        dist.mean,
        dist.mode,
        dist.crps(torch.zeros(0)),
        dist.icdf(torch.zeros(0)),
        Poisson(torch.zeros(0)).median,
    ):
        assert answer.shape == (0,)
