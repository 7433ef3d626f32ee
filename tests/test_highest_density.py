"""The shortest interval, beside a search by SciPy, at the edges of the parameters, in every shape,
and with how much work.
"""

import math

import pytest
import scipy.optimize
import scipy.stats as st
import torch

from disthead.families import Beta, Exponential, Gamma, LogNormal, Normal, StudentT, Weibull

LEVELS = (0.01, 0.5, 0.9, 0.999999)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


BESIDE_SCIPY = {
    "gamma": (
        Gamma(double(1.2, 3.0, 300.0), 2.0),
        lambda i: st.gamma((1.2, 3.0, 300.0)[i], scale=0.5),
    ),
    "beta": (
        Beta(double(1.5, 4.0, 90.0), double(3.0, 4.0, 2.0)),
        lambda i: st.beta((1.5, 4, 90)[i], (3, 4, 2)[i]),
    ),
    "weibull": (
        Weibull(2.0, double(1.1, 2.0, 20.0)),
        lambda i: st.weibull_min((1.1, 2, 20)[i], scale=2.0),
    ),
    "log_normal": (
        LogNormal(0.5, double(0.05, 0.5, 2.0)),
        lambda i: st.lognorm((0.05, 0.5, 2)[i], scale=math.e**0.5),
    ),
}


@pytest.mark.parametrize("name", BESIDE_SCIPY)
@pytest.mark.parametrize("level", LEVELS)
def test_no_interval_that_scipy_finds_is_shorter(name, level):
    dist, scipy_of = BESIDE_SCIPY[name]
    lower, upper = dist.highest_density(level)
    for i in range(3):
        frozen = scipy_of(i)

        def length(below, frozen=frozen):
            return frozen.isf(1 - level - below) - frozen.ppf(below)

        best = scipy.optimize.minimize_scalar(
            length, bounds=(0, 1 - level), method="bounded", options={"xatol": 1e-12}
        )
        assert upper[i] - lower[i] <= best.fun * (1 + 1e-9)
        outside = frozen.cdf(lower[i].item()) + frozen.sf(upper[i].item())
        assert outside == pytest.approx(1 - level, rel=1e-9)


def lengths_of_all(dist, level):
    """Of intervals that hold the level, from the lowest to the highest, with many next to the ends
    of the support.
    """
    share = torch.cat(
        [torch.linspace(0, 1, 101), torch.logspace(-16, -3, 27), 1 - torch.logspace(-16, -3, 27)]
    ).double()
    below = (1 - level) * share.reshape((-1,) + (1,) * len(dist.batch_shape)).expand(
        -1, *dist.batch_shape
    )
    above = (1 - level - below).clamp(min=0)
    return dist._quantile(1 - above, above) - dist._quantile(below, 1 - below)


HARD = {
    "gamma with a pole, at and next to one, tiny and huge": Gamma(
        double(0.02, 0.5, 1 - 1e-9, 1.0, 1 + 1e-12, 1 + 1e-3, 1.05, 1e6), double(3.0)
    ),
    "beta with a pole on either side": Beta(
        double(0.5, 0.5, 0.3, 0.999), double(0.5, 0.4, 0.9, 0.999)
    ),
    "beta at one": Beta(
        double(1.0, 1.0, 1.0, 2.0, 0.5, 1 + 1e-9), double(1.0, 2.0, 0.5, 1.0, 1.0, 1 - 1e-9)
    ),
    "beta that rises, or has a sharp peak": Beta(
        double(3.0, 1e4, 1e6, 1.001), double(0.7, 2.0, 1e6, 1e4)
    ),
    "weibull": Weibull(double(1.0), double(0.1, 0.999, 1.0, 1.001, 50.0, 1e3)),
    "log_normal": LogNormal(double(0.0), double(1e-6, 0.1, 3.0, 9.0)),
    "exponential": Exponential(double(1e-6, 1.0, 1e6)),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("level", LEVELS)
def test_intervals_at_the_edges_of_the_parameters_are_the_shortest(name, level):
    dist = HARD[name]
    lower, upper = dist.highest_density(level)
    best = lengths_of_all(dist, level).amin(0)
    assert (upper - lower <= best * (1 + 1e-9) + 1e-300).all(), (upper - lower) / best - 1
    outside = dist.log_cdf(lower).exp() + dist.log_survival(upper).exp()
    torch.testing.assert_close(outside, torch.full_like(outside, 1 - level), rtol=1e-8, atol=1e-10)


def test_a_density_that_falls_begins_with_its_support_and_one_that_rises_ends_there():
    assert Exponential(double(2.0)).highest_density(0.9).lower.item() == 0
    assert Gamma(double(1.0), double(2.0)).highest_density(0.9).lower.item() == 0
    assert Beta(double(2.0), double(0.5)).highest_density(0.9).upper.item() == 1
    flat = Beta(double(1.0), double(1.0)).highest_density(0.9)
    assert (flat.upper - flat.lower).item() == pytest.approx(0.9, abs=1e-15)


@pytest.mark.parametrize(
    "dist",
    [
        Gamma(double(0.5, 1.0, 3.0), 2.0),
        Beta(double(0.5, 1.5, 9.0), 0.7),
        Weibull(1.0, double(2.0)),
    ],
)
def test_the_fixed_steps_of_graphs_and_transforms_find_the_same(dist):
    values = [getattr(dist, name) for name in dist._names]
    kind = type(dist)

    def ends(*parameters):
        new = kind.__new__(kind)
        new._store(**dict(zip(dist._names, parameters, strict=True)))
        return tuple(new.highest_density(0.9))

    for end, expected in zip(
        torch.func.vmap(ends)(*values), dist.highest_density(0.9), strict=True
    ):
        torch.testing.assert_close(end, expected, rtol=1e-9, atol=1e-15)


def test_every_shape_and_precision_gets_the_answer_of_its_rows():
    concentration = torch.linspace(0.4, 8, 6, dtype=torch.float64).reshape(2, 3)
    expected = torch.stack(tuple(Gamma(concentration, 1.5).highest_density(0.8)))
    for i in range(2):
        for j in range(3):
            one = Gamma(concentration[i, j], 1.5).highest_density(0.8)
            assert one.lower.shape == ()
            assert torch.equal(torch.stack(tuple(one)), expected[:, i, j])
    turned = Gamma(concentration.T, 1.5).highest_density(0.8)
    assert torch.equal(torch.stack(tuple(turned)), expected.mT)
    repeated = Gamma(concentration, 1.5).expand((4, 2, 3)).highest_density(0.8)
    assert torch.equal(torch.stack(tuple(repeated)), expected.unsqueeze(1).expand(2, 4, 2, 3))
    assert Gamma(torch.zeros(0, 3), 1.0).highest_density(0.8).upper.shape == (0, 3)
    single = Gamma(concentration.float(), 1.5).highest_density(0.8)
    assert single.lower.dtype == torch.float32
    torch.testing.assert_close(torch.stack(tuple(single)).double(), expected, rtol=1e-6, atol=1e-7)


def test_a_row_without_numbers_leaves_the_others_alone():
    lower, upper = Gamma(double(3.0, math.nan, 4.0), 1.0).highest_density(0.9)
    assert lower.isnan().tolist() == upper.isnan().tolist() == [False, True, False]
    assert torch.equal(lower[::2], Gamma(double(3.0, 4.0), 1.0).highest_density(0.9).lower)


def test_intervals_do_not_depend_on_the_rows_beside_them_nor_on_how_many_there_are():
    # more than are taken at once
    concentration = 1 + torch.linspace(0.1, 30, 5000, dtype=torch.float64)
    many = Gamma(concentration, 1.0).highest_density(0.9)
    few = Gamma(concentration[4090:4100], 1.0).highest_density(0.9)
    assert torch.equal(many.lower[4090:4100], few.lower)
    assert torch.equal(many.upper[4090:4100], few.upper)


class Counted:
    """Counts the quantiles and log-densities that are computed."""

    quantiles = densities = 0

    def _inverse(self, below, above):
        type(self).quantiles += torch.broadcast_shapes(below.shape, self.batch_shape).numel()
        return super()._inverse(below, above)

    def log_prob(self, y):
        type(self).densities += y.numel()
        return super().log_prob(y)


@pytest.mark.parametrize(
    "kind, first, second, quantiles",
    [
        (Gamma, (1.5, 30.0), (0.5, 2.0), 12),
        (Beta, (1.5, 30.0), (1.5, 9.0), 12),
        (Weibull, (0.5, 2.0), (1.2, 9.0), 12),
        (LogNormal, (-1.0, 1.0), (0.1, 0.9), 12),
        # it falls: the pair in the middle, and the ends of the two at the ends
        (Gamma, (0.2, 1.0), (0.5, 2.0), 4),
    ],
)
@pytest.mark.parametrize("level", [0.01, 0.5, 0.9, 0.999])
def test_how_many_quantiles_an_interval_takes(kind, first, second, quantiles, level, generator):
    counted = type("Counted" + kind.__name__, (Counted, kind), {})
    parameters = [
        torch.empty(500, dtype=torch.float64).uniform_(*ends, generator=generator)
        for ends in (first, second)
    ]
    counted(*parameters).highest_density(level)
    assert counted.quantiles <= quantiles * 500
    assert counted.densities <= (quantiles + 4) * 500


def test_symmetric_densities_take_the_two_quantiles_of_the_central_interval():
    for dist in (Normal(double(1.0), 2.0), StudentT(double(3.0), 1.0, 2.0)):
        assert torch.equal(dist.highest_density(0.9).lower, dist.interval(0.9).lower)
