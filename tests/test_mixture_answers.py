"""Quantiles, modes and integrals of mixtures of numbers, where these may be looked at: exact in
hard cases, by few evaluations.
"""

import math

import mpmath as mp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch

import disthead as dh
from disthead.distributions.component_curves import ABOVE, ComponentCurves, component_curves
from disthead.families.beta import Beta
from disthead.families.circular_mixture import CircularMixture
from disthead.families.ensembles import ensemble
from disthead.families.gamma import Gamma
from disthead.families.mixture import Mixture
from disthead.families.normal import Normal
from disthead.families.student_t import StudentT
from disthead.families.von_mises import VonMises
from disthead.special import tanh_sinh
from disthead.special.search import highest, highest_of_each, interpolated_roots

F64 = torch.float64
LEVELS = torch.tensor([1e-300, 1e-100, 1e-12, 1e-3, 0.05, 0.3, 0.5, 0.7, 0.95, 0.999], dtype=F64)
FAMILIES = ["normal", "student_t", "laplace", "gamma", "beta", "log_normal", "weibull"]


def tensor(*values):
    return torch.tensor(values, dtype=F64)


def members_of(family, generator, rows=20, members=6, std=1.0):
    raw = std * torch.randn(
        members, rows, dh.get_family(family).width(), generator=generator, dtype=F64
    )
    return dh.get_family(family).from_raw(raw)


def assert_is_quantile(dist, y, below, above, error=1e-12):
    """Of the smaller tail, to rounding; or y is next to where the cdf jumps over the level."""
    left = below <= above
    tail = torch.where(left, dist.log_cdf(y), dist.log_survival(y))
    log_level = torch.where(left, below, above).log()
    close = (tail - log_level).abs() <= error * (1 + log_level.abs() / 30)
    before = y - 1e-14 * y.abs() - 1e-300
    jumps = (dist.cdf(before) <= below) & (dist.cdf(y + 1e-14 * y.abs()) >= below * (1 - 1e-12))
    assert (close | jumps).all(), (y[~(close | jumps)], (tail - log_level)[~(close | jumps)])


@pytest.mark.parametrize("family", FAMILIES)
def test_quantiles_have_their_level_in_the_smaller_tail(family, generator):
    dist = ensemble(members_of(family, generator))
    below = torch.cat([LEVELS[2:], 1 - LEVELS[2:]]).unsqueeze(-1).expand(-1, 20)
    assert_is_quantile(dist, dist.icdf(below), below, 1 - below)
    far = LEVELS[:3].unsqueeze(-1).expand(-1, 20)
    assert_is_quantile(dist, dist._quantile(far, 1 - far), far, 1 - far)
    upper = dist._quantile(1 - far, far)
    if family != "beta":  # whose quantiles there round to 1
        assert_is_quantile(dist, upper, 1 - far, far)


HARD = {
    "far apart": ([0.3, 0.7], [-1e8, 1e8], [1.0, 1e-3]),
    "far apart, alike in weight": ([0.5, 0.5], [-50.0, 50.0], [1.0, 1.0]),
    "a weight of 1e-12": ([1e-12, 1 - 1e-12], [-40.0, 0.0], [1.0, 1.0]),
    "a narrow one in a wide one": ([0.5, 0.5], [0.1, 0.0], [1e-13, 1e6]),
    "at 0": ([0.2, 0.8], [0.0, 0.0], [1e-200, 1e200]),
    "alike": ([0.25, 0.75], [3.0, 3.0], [2.0, 2.0]),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("kind", ["normal", "student_t"])
def test_quantiles_of_components_that_differ_in_everything(case, kind):
    weights, loc, scale = (torch.tensor(part, dtype=F64) for part in HARD[case])
    components = Normal(loc, scale) if kind == "normal" else StudentT(tensor(2.5, 1.1), loc, scale)
    dist = Mixture(None, components, probs=weights)
    levels = torch.cat(
        [LEVELS[2:], 1 - LEVELS[2:], tensor(2e-12, 5e-13, 0.2, 0.3, 0.30000000001, 0.1, 0.6)]
    )
    assert_is_quantile(dist, dist.icdf(levels), levels, 1 - levels)


@pytest.mark.parametrize("case", ["far apart", "a weight of 1e-12", "a narrow one in a wide one"])
def test_quantiles_against_mpmath(case):
    weights, loc, scale = HARD[case]
    dist = Mixture(
        None,
        Normal(torch.tensor(loc, dtype=F64), torch.tensor(scale, dtype=F64)),
        probs=tensor(*weights),
    )
    with mp.workdps(60):

        def tail(y, sign):
            parts = zip(weights, loc, scale, strict=True)
            return mp.fsum(w * mp.ncdf(sign * (mp.mpf(y) - m) / s) for w, m, s in parts)

        for level in (1e-12, 2e-13, 0.01, 0.45, 0.55, 0.99):
            below = torch.tensor(level, dtype=F64)
            for y, sign in (
                (dist._quantile(below, 1 - below), 1),
                (dist._quantile(1 - below, below), -1),
            ):
                y = y.item()
                # the probability between two neighbouring numbers belongs to neither
                apart = abs(y) * 1e-15
                assert (
                    tail(y - sign * apart, sign) * (1 - 1e-11)
                    <= level
                    <= tail(y + sign * apart, sign) * (1 + 1e-11)
                )


@pytest.mark.parametrize("kind", ["normal", "student_t", "gamma"])
def test_a_row_without_numbers_leaves_the_others_alone(kind, generator):
    raw = torch.randn(2, 30, dh.get_family(kind).width(), generator=generator, dtype=F64)
    broken = raw.clone()
    broken[1, 7] = math.nan
    whole, part = (ensemble(dh.get_family(kind).from_raw(some)) for some in (raw, broken))
    others = torch.arange(30) != 7
    for levels in (tensor(0.3), tensor(0.01, 0.3, 0.5, 0.99).unsqueeze(-1)):
        quantiles = part.icdf(levels)
        assert quantiles[..., 7].isnan().all()
        torch.testing.assert_close(
            quantiles[..., others], whole.icdf(levels)[..., others], rtol=1e-10, atol=1e-10
        )


def test_where_the_cdf_is_flat_it_is_the_least_quantile():
    beta = dh.get_family("beta").distribution(
        concentration1=tensor(2.0, 2.0, 2.0), concentration0=tensor(1.0, 2.0, 3.0)
    )
    for probs, level in (
        (tensor(0.25, 0.25, 0.5), 0.5),
        (tensor(1.0, 1.0, 1.0) / 3, 2 / 3),
        (tensor(0.1, 0.2, 0.7), 0.3),
    ):
        dist = Mixture(
            None, beta.affine(tensor(0.0, 2.0, 4.0), torch.ones(3, dtype=F64)), probs=probs
        )
        level = torch.tensor(level, dtype=F64)
        # the density falls to 0 there
        assert dist.icdf(level).item() == pytest.approx(3.0, abs=1e-6)
        assert dist.icdf(probs[0]).item() == pytest.approx(1.0, abs=1e-12)  # here it does not
        several = dist.icdf(torch.stack([probs[0], level, torch.tensor(0.9, dtype=F64)]))
        torch.testing.assert_close(
            several[:2], torch.stack([dist.icdf(probs[0]), dist.icdf(level)]), rtol=1e-6, atol=1e-6
        )


def test_quantiles_do_not_depend_on_the_levels_beside_them(generator):
    dist = ensemble(members_of("student_t", generator))
    q = torch.rand(7, 20, generator=generator, dtype=F64)
    q[3] = q[5]
    together = dist.icdf(q)
    torch.testing.assert_close(
        together, torch.stack([dist.icdf(level) for level in q]), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(dist.icdf(q.flip(0)), together.flip(0), rtol=1e-10, atol=1e-10)
    shaped = Mixture(
        dist.logits.reshape(4, 5, -1), dist.components.map(lambda p: p.reshape(4, 5, -1))
    )
    torch.testing.assert_close(
        shaped.icdf(q.reshape(7, 4, 5)), together.reshape(7, 4, 5), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(
        shaped.icdf(q[0, 0]), dist.icdf(q[0, 0]).reshape(4, 5), rtol=1e-10, atol=1e-10
    )
    assert dist[:0].icdf(torch.tensor(0.5)).shape == (0,)
    assert dist.icdf(torch.zeros(0, 20)).shape == (0, 20)
    ends = dist.icdf(tensor(0.0, 1.0).unsqueeze(-1).expand(2, 20))
    assert (ends[0] == -torch.inf).all()
    assert (ends[1] == torch.inf).all()


def test_quantiles_of_heavy_tails_without_a_mean():
    dist = Mixture(torch.zeros(2), StudentT(tensor(0.05, 0.3), tensor(0.0, 1e3), tensor(1.0, 1e-3)))
    levels = torch.cat([LEVELS[3:], 1 - LEVELS[3:]])
    assert_is_quantile(dist, dist.icdf(levels), levels, 1 - levels)


def test_a_nested_mixture_has_the_quantiles_of_the_flat_one(generator):
    loc, logits = (
        9 * torch.randn(5, 3, 2, generator=generator, dtype=F64),
        torch.randn(5, 3, 2, generator=generator),
    )
    inner = Mixture(logits.double(), Normal(loc, 0.01))
    nested = Mixture(torch.zeros(5, 3), inner)
    flat = Mixture(inner.log_weights.flatten(1), Normal(loc.flatten(1), 0.01))
    levels = LEVELS[2:].unsqueeze(-1).expand(-1, 5)
    torch.testing.assert_close(nested.icdf(levels), flat.icdf(levels), rtol=1e-10, atol=1e-10)
    y = loc[:, 0, 0]
    for ask in (
        lambda d: d.crps(y),
        lambda d: d.entropy(),
        lambda d: d.mode,
        lambda d: d.highest_density(0.5).lower,
    ):
        torch.testing.assert_close(ask(nested), ask(flat), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ["normal", "student_t", "gamma"])
def test_answers_by_a_fixed_number_of_steps_agree(family, generator):
    """Those of graphs and other devices."""
    dist = ensemble(members_of(family, generator, rows=6, members=4))
    q = torch.rand(3, 6, generator=generator, dtype=F64)
    torch.testing.assert_close(dist.icdf(q), dist._search(q, 1 - q), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        torch.stack([*dist.highest_density(0.7)]),
        torch.stack(dist._shortest(0.7)),
        rtol=2e-3,
        atol=2e-3,
    )
    lower, upper = dist.highest_density(0.7)
    least, most = dist._shortest(0.7)
    assert (upper - lower <= (most - least) * (1 + 1e-9)).all()
    torch.testing.assert_close(
        dist.entropy(), dist._expectation(lambda y: -dist.log_prob(y)), rtol=1e-7, atol=1e-7
    )
    torch.testing.assert_close(
        dist.mutual_information, dist._mutual_information(), rtol=1e-7, atol=1e-7
    )
    torch.testing.assert_close(
        dist._disagreement(), dist._integrated_disagreement(), rtol=1e-7, atol=1e-8
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_no_point_of_a_fine_grid_is_higher_than_the_mode(family, generator):
    dist = ensemble(members_of(family, generator))
    lower, upper = dist.icdf(tensor(0.001).expand(20)), dist.icdf(tensor(0.999).expand(20))
    grid = lower + (upper - lower) * torch.linspace(0, 1, 2001, dtype=F64).unsqueeze(-1)
    at_an_end = torch.stack([dist.mode == end for end in dist.support_limits()]).any(0)
    assert (at_an_end | (dist.log_prob(grid).amax(0) <= dist.log_prob(dist.mode) + 1e-10)).all()


def test_the_mode_of_directions_may_lie_beside_the_seam(generator):
    loc = 2 * math.pi * (torch.rand(200, 5, generator=generator, dtype=F64) - 0.5)
    raw = torch.randn(200, 5, generator=generator, dtype=F64)
    dist = CircularMixture(torch.zeros(200, 5, dtype=F64), VonMises(loc, (2 * raw).exp()))
    grid = torch.linspace(-math.pi, math.pi, 4001, dtype=F64).unsqueeze(-1)
    assert (dist.log_prob(grid).amax(0) <= dist.log_prob(dist.mode) + 1e-9).all()


class Counted:
    """How many numbers the components' densities and tails are asked for, in multiples of one for
    each row and component.
    """

    def __init__(self, monkeypatch, kind):
        self.numbers = 0
        for name in ("cdf", "log_cdf", "log_survival", "log_prob"):
            self.count(monkeypatch, kind, name, lambda dist: dist.batch_shape)
        for name in ("densities", "tails_and_densities"):
            for curves in ComponentCurves.__subclasses__():
                self.count(monkeypatch, curves, name, lambda curves: curves.weights.shape)

    def count(self, monkeypatch, kind, name, shape_of):
        function = getattr(kind, name)

        def counted(owner, y, *others):
            before = self.numbers
            answer = function(owner, y, *others)  # which may call others in turn
            points = y.shape if isinstance(y, torch.Tensor) else (*y.shape[:-1], 1, y.shape[-1])
            self.numbers = before + torch.broadcast_shapes(shape_of(owner), points).numel()
            return answer

        monkeypatch.setattr(kind, name, counted)

    def of(self, dist, ask):
        self.numbers = 0
        with torch.no_grad():
            ask(dist)
        return self.numbers / dist.logits.numel()


CURVES = {
    "normal": lambda: Normal(torch.randn(4, 3, dtype=F64), torch.rand(4, 3, dtype=F64) + 0.1),
    "student_t": lambda: StudentT(
        torch.tensor([0.5, 1.0, 30.0], dtype=F64).expand(4, 3),
        torch.randn(4, 3, dtype=F64),
        tensor(0.1),
    ),
    # by its own methods, and its log_prob_and_grad
    "gamma": lambda: Gamma(torch.rand(4, 3, dtype=F64) + 0.5, tensor(2.0)),
    "a scale that underflowed": lambda: Normal(
        torch.zeros(4, 3, dtype=F64), tensor(1e-320, 1.0, 2.0).expand(4, 3)
    ),
}


@pytest.mark.parametrize("kind", CURVES)
def test_curves_are_the_densities_and_the_tails_of_the_components(kind):
    torch.manual_seed(0)
    components = CURVES[kind]()
    log_weights = torch.randn(4, 3, dtype=F64).log_softmax(-1)
    dist = Mixture(log_weights, components)
    curves = component_curves(log_weights, dist.components)
    y = torch.tensor([[0.3], [0.9], [5.0]], dtype=F64).expand(3, 4)
    for side, log_tail in ((None, dist.log_cdf(y)), (ABOVE, dist.log_survival(y))):
        sides = None if side is None else np.full((3, 4), side)
        tail, density = curves.tail_and_density(y.numpy(), sides)
        np.testing.assert_allclose(tail, log_tail.exp(), rtol=1e-12)
        np.testing.assert_allclose(density, dist.log_prob(y).exp(), rtol=1e-10)
        some, rows = y[1, [2, 0]].contiguous(), np.array([2, 0])
        one, _ = curves.take(rows).tail_and_density(
            some.numpy(), None if sides is None else sides[1, rows]
        )
        np.testing.assert_allclose(one, tail[1, rows], rtol=1e-14)
    np.testing.assert_allclose(
        curves.log_density(y.numpy()), dist.log_prob(y), rtol=1e-9, atol=1e-9
    )


def test_curves_of_gammas_take_the_densities_of_their_loss(monkeypatch):
    """`log_prob_and_grad` costs less than `log_prob`."""
    components = CURVES["gamma"]()
    y = torch.tensor([0.3, 0.9, 5.0, 1.0], dtype=F64)
    expected = components.log_prob(y.unsqueeze(-1)).exp().mT
    curves = component_curves(torch.zeros(4, 3, dtype=F64), components)
    monkeypatch.delattr(Gamma, "log_prob")
    np.testing.assert_allclose(curves.densities(y.numpy()), expected, rtol=1e-10)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.6])
def test_the_shortest_interval_of_components_far_apart_is_in_the_greater_one(level):
    """It is the central interval of that component, at the level over its weight."""
    weight = 2 / 3
    dist = Mixture(tensor(0.0, math.log(2)), Normal(tensor(-1e3, 1e3), tensor(1.0, 1.0)))
    half = torch.special.ndtri(tensor(0.5 + 0.5 * level / weight))
    ends = torch.stack([*dist.highest_density(level)])
    torch.testing.assert_close(ends, 1e3 + torch.cat([-half, half]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("std", [0.3, 1.0], ids=["members that agree", "members that do not"])
def test_answers_take_few_evaluations(std, monkeypatch, generator):
    generator.manual_seed(0)
    middle = torch.randn(1, 300, 3, generator=generator, dtype=F64)
    raw = middle + std * torch.randn(8, 300, 3, generator=generator, dtype=F64)
    dist = ensemble(dh.get_family("student_t").from_raw(raw))
    counted = Counted(monkeypatch, StudentT)
    levels = torch.arange(1, 20, dtype=F64).unsqueeze(-1) / 20
    y = torch.zeros(300, dtype=F64)
    most = {
        "median": (lambda d: d.median, 5),
        "quantile": (lambda d: d.icdf(tensor(0.05)), 6),
        "far quantile": (lambda d: d.icdf(tensor(1e-9)), 6),
        "interval": (lambda d: d.interval(0.9), 10),
        "19 quantiles": (lambda d: d.icdf(levels), 50),
        "mode": (lambda d: d.mode, 80),
        "crps": (lambda d: d.crps(y), 250),
        "entropy": (lambda d: d.entropy(), 330),
        "highest_density": (lambda d: d.highest_density(0.9), 110),
    }
    taken = {name: counted.of(dist, ask) for name, (ask, _) in most.items()}
    assert not {name: number for name, number in taken.items() if number > most[name][1]}
    assert all(taken[name] > 0 for name in most)


def test_gradients_of_quantiles_are_those_of_differences(generator):
    raw = torch.randn(4, 5, 3, generator=generator, dtype=F64)

    def quantiles(raw):
        return ensemble(dh.get_family("student_t").from_raw(raw)).icdf(
            tensor(0.02, 0.5, 0.97).unsqueeze(-1).expand(3, 5)
        )

    raw.requires_grad_()
    (slope,) = torch.autograd.grad(quantiles(raw).sum(), raw)
    for index in ((0, 0, 0), (1, 2, 1), (3, 4, 2)):
        step = torch.zeros_like(raw)
        step[index] = 1e-6
        with torch.no_grad():
            change = (quantiles(raw + step) - quantiles(raw - step)).sum() / 2e-6
        torch.testing.assert_close(slope[index], change, rtol=1e-6, atol=1e-6)


def test_roots_are_found_at_jumps_and_where_a_function_is_infinite():
    def jump(y):
        return np.where(y < 1 / 3, -1.0, 1.0), np.full_like(y, np.inf)

    def infinite(y):
        return np.where(y < 2.0, -np.inf, np.where(y > 2.5, np.inf, y - 2.25)), np.where(
            abs(y - 2.25) <= 0.25, 1.0, np.nan
        )

    def cube(y):
        with np.errstate(divide="ignore"):
            return (y - 1) ** 3, (y - 1) ** -2.0 / 3

    def function(y, element):
        parts = [kind(y) for kind in (jump, infinite, cube)]
        return tuple(np.choose(element, answers) for answers in zip(*parts, strict=True))

    low, high = (
        function(np.full(3, -5.0), np.arange(3))[0],
        function(np.full(3, 7.0), np.arange(3))[0],
    )
    known = np.stack([*np.full((9, 3), np.nan), np.full(3, -5.0), low, np.full(3, 7.0), high])
    root = interpolated_roots(function, known, np.full(3, 1e-30))
    np.testing.assert_allclose(root, [1 / 3, 2.25, 1.0], rtol=1e-9, atol=1e-9)
    assert root[0] >= 1 / 3


@pytest.mark.parametrize("has_rates", [True, False])
def test_roots_of_smooth_functions_take_few_evaluations(has_rates):
    power = np.linspace(1.0, 5.0, 200)
    evaluations = 0

    def function(y, element):
        nonlocal evaluations
        evaluations += len(y)
        e = power[element]
        rate = np.exp(-e * y) / e if has_rates else np.full_like(y, np.nan)
        return np.exp(e * y) - 2.0, rate

    ends = [np.full(200, end) for end in (-1.0, 1.5)]
    values = [np.exp(power * end) - 2 for end in ends]
    known = np.stack([*np.full((9, 200), np.nan), ends[0], values[0], ends[1], values[1]])
    root = interpolated_roots(function, known, np.full(200, 1e-15), reach=np.full(200, 0.1))
    np.testing.assert_allclose(root, np.log(2) / power, rtol=1e-12)
    assert evaluations < 200 * (8 if has_rates else 14)


def test_peaks_are_found_by_both_ways():
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]], dtype=F64)
    peak = tensor(1.5, math.pi)

    def function(y, element):
        return -((y - peak[element]).abs() ** 1.5)

    heights = torch.stack([function(part, torch.arange(2)) for part in points])
    expected = highest(lambda y: function(y, torch.arange(2)), points, heights)
    torch.testing.assert_close(expected, peak, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        highest_of_each(function, points, heights, torch.arange(2)), peak, rtol=1e-5, atol=1e-5
    )
    by_group = highest_of_each(
        function, points, heights - tensor(0.0, 100.0), torch.zeros(2, dtype=torch.int64)
    )
    assert by_group[1] == 1.0  # no hope: it is far below the other of its group


def test_crps_of_mixtures_of_betas_with_poles_at_both_ends_is_the_integral_of_the_squared_cdf():
    first, second = torch.tensor([0.05, 0.5]).double(), torch.tensor([0.5, 0.05]).double()
    dist = Mixture(torch.zeros(2).double(), Beta(first, second))

    def tails(t: float) -> tuple[float, float]:
        lower = scipy.special.betainc(first.numpy(), second.numpy(), t).mean()
        return lower, scipy.special.betainc(second.numpy(), first.numpy(), 1 - t).mean()

    below = scipy.integrate.quad(lambda t: tails(t)[0] ** 2, 0, 0.5, epsabs=1e-11, limit=200)[0]
    above = scipy.integrate.quad(lambda t: tails(t)[1] ** 2, 0.5, 1, epsabs=1e-11, limit=200)[0]
    assert math.isclose(dist.crps(torch.tensor(0.5).double()), below + above, abs_tol=1e-9)


def test_levels_next_to_each_other_beside_one_beyond_the_components_quantiles():
    """Skew-normal quantiles in far tails are not exact, so that the mixture's lie beyond them."""
    family = dh.get_family("mixture", component="skew_normal", num_components=2)
    generator = torch.Generator().manual_seed(4)
    raw = torch.randn(6, family.width(), generator=generator, dtype=torch.float64)
    t, complement, _ = tanh_sinh(81, torch.zeros((), dtype=torch.float64))
    near, far = 0.5 * t, 0.5 * (1 + complement)
    dist = family.from_raw(raw)[4]
    y = dist._quantile(far, near)
    torch.testing.assert_close(dist.log_survival(y).exp(), near, rtol=1e-9, atol=0)
