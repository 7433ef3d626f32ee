"""The answers of every row of the table agree with each other, and with brute force."""

import math

import pytest
import torch
from torch.distributions import kl_divergence

import disthead as dh
from tests.brute_force import (
    crps_of_counts,
    crps_of_directions,
    crps_on_the_line,
    lattice,
    mean_of,
    panels,
    quantile_grid,
)
from tests.cases import (
    ALL_COUNTS,
    CIRCULAR,
    CIRCULAR_MIXTURES,
    COUNTS,
    EVERYTHING,
    ON_A_LINE,
    ORDERED,
    rows,
)

LEVELS = torch.tensor([1e-9, 0.003, 0.1, 0.35, 0.5, 0.8, 0.97, 0.9995], dtype=torch.float64)
LEVELS_OF_INTERVALS = [
    0.9,
    *(pytest.param(level, marks=pytest.mark.slow) for level in (0.05, 0.5, 0.999)),
]
each = pytest.mark.parametrize


def points(case) -> torch.Tensor:
    """Targets from one tail to the other."""
    return case.dist().icdf(LEVELS).detach()


def raw_of(case) -> torch.Tensor:
    return torch.tensor(case.raw, dtype=torch.float64, requires_grad=True)


# cdf and quantiles


@each("case", rows(ON_A_LINE + CIRCULAR))
def test_derivative_of_cdf_is_density(case):
    y = points(case).requires_grad_()
    dist = case.dist()
    for tail, sign in ((dist.log_cdf, 1), (dist.log_survival, -1)):
        (slope,) = torch.autograd.grad(tail(y).sum(), y)
        expected = sign * torch.exp(dist.log_prob(y) - tail(y)).detach()
        torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-12)
    (slope,) = torch.autograd.grad(dist.cdf(y).sum(), y)
    torch.testing.assert_close(slope, dist.log_prob(y).exp().detach(), rtol=1e-6, atol=1e-12)


@each("case", rows(ON_A_LINE + CIRCULAR))
def test_gradients_of_cdf_and_quantile_in_the_parameters(case):
    y, q = points(case)[[2, 5, 6]], LEVELS[[2, 5, 6]].clone().requires_grad_()
    raw = raw_of(case)
    assert torch.autograd.gradcheck(lambda raw: case.from_raw(raw).cdf(y), raw, fast_mode=True)
    # A quantile that is searched for is found to some 1e-12: differences of them to 1e-6.
    near = {"atol": 1e-4, "rtol": 1e-4, "fast_mode": True}
    assert torch.autograd.gradcheck(lambda raw, q: case.from_raw(raw).icdf(q), (raw, q), **near)


@each("case", rows(ON_A_LINE + CIRCULAR))
def test_icdf_inverts_cdf_both_ways(case):
    dist, y = case.dist(), points(case)
    torch.testing.assert_close(dist.cdf(y), LEVELS, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(dist.icdf(dist.cdf(y)), y, rtol=1e-9, atol=1e-9)


@each("case", rows(COUNTS))
def test_icdf_is_the_smallest_count_that_reaches_the_level(case):
    dist, y = case.dist(), points(case)
    assert (dist.cdf(y) >= LEVELS).all()
    assert (dist.cdf(y - 1) < LEVELS).all()
    k = lattice(case)[:2]
    torch.testing.assert_close(dist.icdf(dist.cdf(k).clamp(max=1)), k)


@each("case", rows(ALL_COUNTS))
def test_cdf_of_counts_is_the_sum_of_their_mass(case):
    dist, y = case.dist(), lattice(case)[:200]
    torch.testing.assert_close(
        dist.cdf(y), dist.log_prob(y).exp().cumsum(0), rtol=1e-11, atol=1e-13
    )
    below, through = dist.cdf_limits(y)
    torch.testing.assert_close(through - below, dist.log_prob(y).exp(), rtol=1e-9, atol=1e-12)


@each("case", rows(ORDERED))
def test_log_cdf_and_log_survival_agree_with_cdf(case):
    dist, y = case.dist(), points(case)
    torch.testing.assert_close(dist.log_cdf(y).exp(), dist.cdf(y), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(dist.log_survival(y).exp(), 1 - dist.cdf(y), rtol=0, atol=1e-12)


# moments, mode, entropy


WITH_MOMENTS = [
    case
    for case in ON_A_LINE + ALL_COUNTS
    if "variance" in case.claims and not (case.heavy_tailed or case.infinite)
]


@each("case", rows(WITH_MOMENTS))
def test_moments_are_expectations(case):
    dist = case.dist()
    torch.testing.assert_close(dist.stddev.square(), dist.variance)
    torch.testing.assert_close(mean_of(case, lambda y: y), dist.mean, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(
        mean_of(case, lambda y: (y - dist.mean).square()), dist.variance, rtol=1e-7, atol=1e-9
    )


@each("case", rows([case for case in ON_A_LINE if case.heavy_tailed]))
def test_the_mean_of_heavy_tails_is_an_expectation(case):
    dist = case.dist()
    torch.testing.assert_close(dist.stddev.square(), dist.variance)
    torch.testing.assert_close(
        mean_of(case, lambda y: y - dist.median), dist.mean - dist.median, atol=1e-6, rtol=0
    )


@each("case", rows([case for case in ON_A_LINE if "variance" in case.infinite]))
def test_tails_without_a_variance_have_an_infinite_one(case):
    dist = case.dist()
    torch.testing.assert_close(dist.stddev.square(), dist.variance)
    assert dist.variance == torch.inf


@each("case", rows(CIRCULAR + CIRCULAR_MIXTURES))
def test_circular_moments_are_those_of_the_mean_unit_vector(case):
    dist = case.dist()
    cosine, sine = mean_of(case, torch.cos), mean_of(case, torch.sin)
    length = torch.hypot(cosine, sine)
    torch.testing.assert_close(dist.mean, torch.atan2(sine, cosine), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dist.variance, 1 - length, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(dist.stddev, (-2 * length.log()).sqrt(), rtol=1e-9, atol=1e-12)


def grid_on_the_line(dist) -> torch.Tensor:
    """Quantiles, and points next to the mode."""
    grid = dist.icdf(torch.linspace(1e-4, 1 - 1e-4, 801, dtype=torch.float64))
    reach = dist.interval(0.5)[1] - dist.interval(0.5)[0]
    steps = reach * torch.tensor([1e-6, 1e-4, 1e-2, 0.1], dtype=torch.float64)
    grid = torch.cat([grid, dist.mode + steps, dist.mode - steps])
    return grid[dist.support.check(grid)]


def mode_is_the_highest(dist, grid: torch.Tensor) -> None:
    height = dist.log_prob(dist.mode)
    start, end = dist.support_limits()
    if dist.mode == start or dist.mode == end:  # where the density may rise without bound
        step = 1e-12 * (1.0 if dist.mode == start else -1.0)
        height = torch.maximum(height, dist.log_prob(dist.mode + step))
    else:
        assert dist.support.check(dist.mode)
    assert (dist.log_prob(grid) <= height + 1e-12).all()


@each("case", rows(ON_A_LINE))
def test_mode_is_the_highest_of_all_peaks(case):
    mode_is_the_highest(case.dist(), grid_on_the_line(case.dist()))


@each("case", rows(ALL_COUNTS))
def test_mode_of_counts_is_the_most_probable(case):
    mode_is_the_highest(case.dist(), lattice(case))


@each("case", rows(CIRCULAR + CIRCULAR_MIXTURES))
def test_mode_of_directions_is_the_highest_of_all_peaks(case):
    mode_is_the_highest(case.dist(), torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64))


@each("case", rows(ORDERED + CIRCULAR_MIXTURES))
def test_entropy_is_the_mean_surprise(case):
    dist = case.dist()
    torch.testing.assert_close(
        mean_of(case, lambda y: -dist.log_prob(y)), dist.entropy(), rtol=1e-7, atol=1e-8
    )


@each("case", rows([case for case in ORDERED + CIRCULAR_MIXTURES if not case.moving_support]))
@each("shift", [0.2, pytest.param(-0.7, marks=pytest.mark.slow)])
def test_kl_equals_the_quadrature(case, shift):
    p, q = case.dist(), case.dist(shift=shift)
    panel_count = 2000 if hasattr(p, "breakpoints") else 80  # the density of q has kinks elsewhere
    expected = mean_of(
        case, lambda y: p.log_prob(y) - q.log_prob(y), panel_count=panel_count, beside=q
    )
    assert expected >= 0
    torch.testing.assert_close(kl_divergence(p, q), expected, rtol=1e-6, atol=1e-8)


@each("case", rows([case for case in EVERYTHING if "kl_divergence" in case.claims]))
def test_kl_is_zero_to_itself_and_positive_to_others(case):
    # equal ones change no probabilities of classes
    shifts = torch.linspace(-1, 1, len(case.raw), dtype=torch.float64)
    p, q = case.dist(), case.from_raw(raw_of(case).detach() + shifts)
    assert abs(float(kl_divergence(p, case.dist()))) < 1e-9
    assert kl_divergence(p, q) > 1e-6


# scores


def targets_of_scores(dist) -> torch.Tensor:
    lower, upper = dist.interval(0.98)
    return torch.stack([lower, dist.median, upper, dist.median + 0.3, upper + 2.5])


@each("case", rows(ON_A_LINE))
def test_crps_is_the_integral_over_the_cdf(case):
    y = targets_of_scores(case.dist())
    torch.testing.assert_close(case.dist().crps(y), crps_on_the_line(case, y), rtol=1e-6, atol=1e-7)


@each("case", rows(ALL_COUNTS))
def test_crps_of_counts_is_the_integral_over_the_cdf(case):
    y = targets_of_scores(case.dist())
    torch.testing.assert_close(case.dist().crps(y), crps_of_counts(case, y), rtol=1e-6, atol=1e-7)


@each("case", rows(CIRCULAR))
def test_crps_of_directions_is_the_integral_over_the_circle(case):
    dist = case.dist()
    y = torch.stack([dist.mean, dist.mean + 0.4, *torch.tensor([3.0, -2.0, math.pi]).double()])
    torch.testing.assert_close(dist.crps(y), crps_of_directions(case, y), rtol=1e-6, atol=1e-7)


@each("df", [0.8, 1.0, 1.2])
def test_crps_of_tails_without_a_mean(df):
    """E|Y - y| is infinite, the integral is not: Cauchy's distribution and its neighbours."""
    dist = dh.get_family("student_t", min_df=0).distribution(
        df=torch.tensor(df).double(), loc=0.3, scale=0.7
    )
    for y in (0.3, -2.0, 50.0):
        t, weights = panels(
            torch.cat([quantile_grid(dist, 200), torch.tensor([y]).double()]).unique()
        )
        expected = (weights * (dist.cdf(t) - (t >= y).double()).square()).sum()
        torch.testing.assert_close(
            dist.crps(torch.tensor(y).double()), expected, rtol=1e-6, atol=1e-6
        )


# intervals


def mass_of_counts(dist, lower, upper) -> float:
    """P(lower <= Y <= upper) by the cdf."""
    below, _ = dist.cdf_limits(lower)
    return float(dist.cdf(upper) - below)


def mass_of_directions(dist, lower, upper) -> float:
    """That anticlockwise from the first to the second, by the density."""
    turn = 2 * math.pi if upper < lower else 0.0
    y, weights = panels(
        torch.linspace(0, 1, 65, dtype=torch.float64) * (upper + turn - lower) + lower
    )
    return float((weights * dist.log_prob(y).exp()).sum())


@each("case", rows(ON_A_LINE))
@each("level", LEVELS_OF_INTERVALS)
def test_central_interval_holds_its_level_and_half_of_the_rest_on_each_side(case, level):
    dist = case.dist()
    lower, upper = dist.interval(level)
    assert float(dist.cdf(upper) - dist.cdf(lower)) == pytest.approx(level, abs=1e-9)
    assert float(dist.cdf(lower)) == pytest.approx((1 - level) / 2, abs=1e-9)


@each("case", rows(CIRCULAR))
@each("level", LEVELS_OF_INTERVALS)
def test_central_interval_of_directions_holds_its_level(case, level):
    dist = case.dist()
    lower, upper = dist.interval(level)
    assert mass_of_directions(dist, lower, upper) == pytest.approx(level, abs=1e-9)
    assert float(dist.cdf(lower)) == pytest.approx((1 - level) / 2, abs=1e-9)


@each("case", rows(ALL_COUNTS))
@each("level", LEVELS_OF_INTERVALS)
def test_central_interval_of_counts_is_the_smallest_that_holds_its_level(case, level):
    dist = case.dist()
    lower, upper = dist.interval(level)
    assert mass_of_counts(dist, lower, upper) >= level - 1e-12
    below, _ = dist.cdf_limits(lower)
    assert below <= (1 - level) / 2 + 1e-12
    below, _ = dist.cdf_limits(upper)
    assert below <= (1 + level) / 2 + 1e-12


@each("case", rows(ON_A_LINE))
@each("level", LEVELS_OF_INTERVALS)
def test_highest_density_interval_is_the_shortest_that_holds_its_level(case, level):
    dist = case.dist()
    lower, upper = dist.highest_density(level)
    assert float(dist.cdf(upper) - dist.cdf(lower)) == pytest.approx(level, abs=1e-8)
    below = (1 - level) * torch.linspace(0, 1, 201, dtype=torch.float64)
    others = dist.icdf((below + level).clamp(max=1)) - dist.icdf(below)
    assert (upper - lower <= others * (1 + 1e-9)).all()
    start, end = dist.support_limits()
    if lower > start and upper < end and not case.has_steps:
        torch.testing.assert_close(dist.log_prob(lower), dist.log_prob(upper), rtol=0, atol=1e-4)


@each("case", rows(CIRCULAR))
@each("level", LEVELS_OF_INTERVALS)
def test_highest_density_arc_ends_where_the_density_is_the_same(case, level):
    dist = case.dist()
    lower, upper = dist.highest_density(level)
    assert mass_of_directions(dist, lower, upper) == pytest.approx(level, abs=1e-9)
    torch.testing.assert_close(dist.log_prob(lower), dist.log_prob(upper))
    assert dist.log_prob(lower) < dist.log_prob(dist.mean)


@each("case", rows(ALL_COUNTS))
@each("level", LEVELS_OF_INTERVALS)
def test_highest_density_counts_are_the_fewest_that_hold_their_level(case, level):
    dist = case.dist()
    lower, upper = dist.highest_density(level)
    assert mass_of_counts(dist, lower, upper) >= level - 1e-12
    y = lattice(case)[:400]
    starts = [dist.cdf_limits(y)[0], dist.cdf(y)]
    shortest = min(
        int((starts[1] >= before + level - 1e-12).long().argmax()) - i
        for i, before in enumerate(starts[0])
        if float(before) + level <= 1 - 1e-12
    )
    assert float(upper - lower) == pytest.approx(case.step * shortest)
