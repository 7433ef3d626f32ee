"""Counts: what is found by looking at numbers is what the definitions say, and takes few
evaluations.
"""

import math

import pytest
import scipy.stats as st
import torch

import disthead as dh
from disthead.distributions.discrete import Discrete
from disthead.families import ensemble
from disthead.families.bernoulli import Bernoulli
from disthead.families.negative_binomial import NegativeBinomial
from disthead.families.poisson import Poisson

each = pytest.mark.parametrize
ROWS = 400


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def log_uniform(least, most, seed, rows=ROWS):
    """Numbers of all magnitudes between these powers of ten."""
    return 10 ** (
        least + (most - least) * torch.rand(rows, generator=random(seed), dtype=torch.float64)
    )


def poissons(least=-8, most=12):
    return dh.get_family("poisson").distribution(rate=log_uniform(least, most, 1))


def negative_binomials(least=-3, most=8):
    family = dh.get_family("negative_binomial", parametrization="mean")
    return family.distribution(mean=log_uniform(least, most, 1), total_count=log_uniform(-4, 6, 2))


def mixtures(least=-1, most=5):
    means, logits = (
        log_uniform(least, most, 3, 3 * ROWS).reshape(ROWS, 3),
        torch.randn(ROWS, 3, generator=random()),
    )
    return dh.get_family("mixture", component="poisson", num_components=3).distribution(
        logits=logits, rate=means
    )


def mixtures_near():
    return mixtures(0, 1)


def ensembles():
    family = dh.get_family("negative_binomial")
    shape = (4, ROWS)
    return ensemble(
        family.distribution(
            total_count=log_uniform(-1, 1, 4, 4 * ROWS).reshape(shape),
            logits=torch.zeros(shape).double(),
        )
    )


KINDS = [poissons, negative_binomials, mixtures, mixtures_near, ensembles]
LEVELS = {
    "middle": torch.rand(ROWS, generator=random(5), dtype=torch.float64),
    "low": log_uniform(-13, -1, 6),
    "high": 1 - log_uniform(-9, -1, 7),
}


class Count:
    """How many numbers the functions of a class were asked for."""

    def __init__(self, monkeypatch, *functions):
        self.numbers = 0
        for owner, name in functions:
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, function):
        def counted(dist, k):
            result = function(dist, k)
            self.numbers += result.numel()
            return result

        return counted

    def of(self, question):
        before = self.numbers
        question()
        return self.numbers - before


def by_halving(question, monkeypatch):
    """The answer of the fixed number of steps."""
    with monkeypatch.context() as patch:
        patch.setattr(Discrete, "_is_plain", lambda self, *values: False)
        return question()


@pytest.mark.parametrize("question", ["cdf", "log_cdf", "log_survival"])
@pytest.mark.parametrize("shape", [(5, 1), (5, 3), (0, 3)])
def test_answers_of_two_outcomes_broadcast(question, shape):
    dist = Bernoulli(logits=torch.tensor([0.0, 1.0, 2.0]))
    answer = getattr(dist, question)(torch.zeros(shape))
    assert answer.shape == (shape[0], 3)
    torch.testing.assert_close(answer, getattr(dist, question)(torch.zeros(3)).expand(shape[0], 3))


@each("levels", LEVELS)
@each("make", KINDS)
def test_the_quantile_is_the_least_count_that_reaches_the_level(make, levels):
    dist, q = make(), LEVELS[levels]
    k = dist.icdf(q)
    rounding = torch.where(q <= 0.5, 2e-15 * q, 6e-17 + 1e-15 * (1 - q))
    assert (dist.cdf(k) >= q - 2 * rounding).all()
    assert ((dist.cdf(k - 1) < q) | (k == 0)).all()


@each("make", [poissons, negative_binomials])
def test_quantiles_are_those_of_scipy(make):
    dist, q = make(-2, 3), LEVELS["middle"]
    if make is poissons:
        peer = st.poisson(dist.mean.numpy())
    else:
        peer = st.nbinom(
            dist.total_count.numpy(), (dist.total_count / (dist.total_count + dist.mean)).numpy()
        )
    assert dist.icdf(q).tolist() == peer.ppf(q.numpy()).tolist()


@each("mean", [1e-9, 0.3, 50.0, 1e6, 1e12])
@each("total_count", [1e-6, 0.1, 1.0, 30.0, 1e9, math.inf])
@each("q", [1e-12, 0.5, 1 - 1e-12])
def test_the_quantile_of_a_cdf_is_its_count(mean, total_count, q):
    if total_count == math.inf:
        dist = dh.get_family("poisson").distribution(rate=torch.tensor(mean, dtype=torch.float64))
    else:
        family = dh.get_family("negative_binomial", parametrization="mean")
        dist = family.distribution(
            mean=torch.tensor(mean, dtype=torch.float64), total_count=total_count
        )
    k = dist.icdf(q)
    assert dist.cdf(k) >= q - 1e-15
    assert k == 0 or dist.cdf(k - 1) < q


def test_a_flat_stretch_gives_its_least_count():
    family = dh.get_family("mixture", component="poisson", num_components=2)
    dist = family.distribution(
        logits=torch.zeros(2).double(), rate=torch.tensor([2.0, 1e7], dtype=torch.float64)
    )
    least = dist.icdf(0.5)
    assert least < 40
    assert dist.cdf(least) == pytest.approx(0.5, abs=1e-15)
    assert dist.cdf(least + 1000) - dist.cdf(least) < 1e-15
    assert dist.icdf(0.5 + 1e-9) > 9e6
    assert torch.equal(
        dist.icdf(torch.tensor([0.5, 0.1, 0.2, 0.3, 0.4, 0.5]).double())[[0, -1]], least.expand(2)
    )


@each("make", KINDS)
def test_levels_together_are_levels_one_by_one(make):
    dist = make()
    q = torch.arange(1, 20, dtype=torch.float64).reshape(19, 1, 1) / 20
    together = dist.icdf(q)
    assert together.shape == (19, 1, ROWS)
    for level, quantiles in zip(q.flatten()[::6], together[::6], strict=True):
        assert torch.equal(dist.icdf(level), quantiles[0])


@each("make", [lambda: poissons(-2, 8), lambda: negative_binomials(-2, 5)])
def test_a_quantile_takes_few_evaluations(make, monkeypatch):
    dist, count = make(), Count(monkeypatch, (Poisson, "_cdf"), (NegativeBinomial, "_cdf"))
    assert count.of(lambda: dist.icdf(LEVELS["middle"])) <= 3.5 * ROWS
    assert count.of(lambda: dist.icdf(LEVELS["low"])) <= 3.5 * ROWS


def test_quantiles_of_mixtures_take_few_evaluations(monkeypatch):
    dist = mixtures_near()
    count = Count(monkeypatch, (Poisson, "_cdf"), (Poisson, "_log_mass"))
    one = count.of(lambda: dist.icdf(LEVELS["middle"]))
    assert one <= 8 * 3 * ROWS
    assert count.of(lambda: dist.icdf(torch.arange(1, 20).double().unsqueeze(-1) / 20)) <= 2 * one
    assert count.of(dist.entropy) <= 2 * 3 * ROWS
    assert count.of(lambda: dist.crps(dist.mean)) <= 2 * 3 * ROWS
    assert count.of(lambda: dist.mode) <= 2 * 3 * ROWS
    assert count.of(lambda: dist.highest_density(0.9)) <= 6 * 3 * ROWS


@each("make", [lambda: poissons(-2, 8), lambda: negative_binomials(-2, 5)])
def test_highest_density_takes_few_evaluations(make, monkeypatch):
    dist, count = (
        make(),
        Count(
            monkeypatch,
            *(
                (kind, name)
                for kind in (Poisson, NegativeBinomial)
                for name in ("_cdf", "_log_mass")
            ),
        ),
    )
    assert count.of(lambda: dist.highest_density(0.9)) <= 90 * ROWS


@each("level", [0.05, 0.5, 0.9, 0.999])
@each(
    "make",
    [
        lambda: poissons(-2, 2),
        lambda: negative_binomials(-2, 1),
        lambda: mixtures(-1, 1.7),
        ensembles,
    ],
)
def test_highest_density_is_the_shortest_run_of_all(make, level):
    dist = make()[:30]
    run = dist.highest_density(level)
    assert (dist.cdf(run.upper) - dist.cdf(run.lower - 1) >= level - 1e-15).all()
    shorter = run.upper - run.lower - 1
    first = torch.arange(300, dtype=torch.float64).unsqueeze(-1)
    held = dist.cdf(first + shorter) - dist.cdf(first - 1)
    assert ((held < level).all(0) | (shorter < 0)).all()
    # and the most probable of its length
    same = dist.cdf(first + shorter + 1) - dist.cdf(first - 1)
    assert (dist.cdf(run.upper) - dist.cdf(run.lower - 1) >= same.amax(0) - 1e-12).all()


@each("make", [lambda: poissons(-2, 9), lambda: negative_binomials(-2, 4)])
def test_highest_density_is_that_of_the_fixed_number_of_steps(make, monkeypatch):
    dist = make()[:50]
    run, other = (
        dist.highest_density(0.8),
        by_halving(lambda: dist.highest_density(0.8), monkeypatch),
    )
    assert torch.equal(run.upper - run.lower, other.upper - other.lower)


def test_the_entropy_of_rare_and_of_many_events_is_right():
    mean = log_uniform(-9, 13, 1)
    entropy = dh.get_family("poisson").distribution(rate=mean).entropy()
    rare, many = mean < 1e-5, mean > 3e3
    by_series = mean - mean * mean.log() + mean**2 * (math.log(2) / 2)
    torch.testing.assert_close(entropy[rare], by_series[rare], rtol=1e-9, atol=0)
    m = mean[many]
    series = (
        0.5 * (2 * math.pi * math.e * m).log() - 1 / (12 * m) - 1 / (24 * m**2) - 19 / (360 * m**3)
    )
    torch.testing.assert_close(entropy[many], series, rtol=0, atol=2e-11)


def test_the_entropy_of_geometric_counts_is_the_closed_form():
    mean = log_uniform(-6, 12, 1)
    dist = dh.get_family("negative_binomial", parametrization="mean").distribution(
        mean=mean, total_count=1.0
    )
    closed = torch.log1p(mean) + mean * torch.log1p(1 / mean)
    torch.testing.assert_close(dist.entropy(), closed, rtol=1e-11, atol=1e-15)


@each(
    "make", [lambda: poissons(-4, 2), lambda: negative_binomials(-3, 2), mixtures_near, ensembles]
)
def test_entropy_and_crps_are_sums_over_all_counts(make):
    dist = make()[:16]
    k = torch.arange(5_000, dtype=torch.float64).unsqueeze(-1)
    covered = dist.cdf(k[-1]) > 1 - 1e-15
    mass, cdf = dist.log_prob(k), dist.cdf(k)
    entropy = -(mass.exp() * mass.clamp(min=-700)).sum(0)
    torch.testing.assert_close(dist.entropy()[covered], entropy[covered], rtol=1e-11, atol=1e-13)
    for y in (0.0, 3.0, 50.0):
        expected = (cdf - (k >= y).double()).square().sum(0)
        torch.testing.assert_close(
            dist.crps(torch.tensor(y))[covered], expected[covered], rtol=1e-9, atol=1e-11
        )


@each("make", [lambda: negative_binomials(-3, 6), mixtures_near, ensembles])
def test_the_crps_goes_on_straight_outside_of_the_counts(make):
    dist = make()
    below = dist.crps(torch.tensor([[-2.5], [-1.0], [0.0]]).double())
    torch.testing.assert_close(
        below[0] - below[1], torch.full((ROWS,), 1.5).double(), rtol=1e-9, atol=1e-6
    )
    torch.testing.assert_close(dist.crps(1e15), (1e15 - dist.mean).double(), rtol=1e-9, atol=0)
    assert dist.crps(math.nan).isnan().all()
    # From one count to the next it is straight.
    first, between, second = dist.crps(torch.tensor([[1.0], [1.25], [2.0 - 1e-9]]).double())
    torch.testing.assert_close(between, 0.75 * first + 0.25 * second, rtol=1e-6, atol=1e-8)


@each("make", KINDS)
def test_answers_with_gradients_are_those_without(make):
    dist = make()[:25]
    followed = dist.map(lambda part: part.clone().requires_grad_())
    y = dist.mean.round().clamp(max=1e4)
    for question in ("entropy", "crps"):
        arguments = (y,) if question == "crps" else ()
        with torch.no_grad():
            plain = getattr(dist, question)(*arguments)
        value = getattr(followed, question)(*arguments)
        assert value.requires_grad
        near = (
            (dist.mean < 100)
            if isinstance(dist, (Poisson, NegativeBinomial)) or dist.mean.max() < 100
            else dist.mean < 0
        )
        torch.testing.assert_close(plain[near], value.detach()[near], rtol=1e-8, atol=1e-10)


@each("make", [lambda: mixtures(-1, 2.5), ensembles])
def test_the_mode_is_the_most_probable_count(make):
    dist = make()
    mass = dist.log_prob(torch.arange(600, dtype=torch.float64).unsqueeze(-1))
    torch.testing.assert_close(dist.log_prob(dist.mode), mass.amax(0), rtol=0, atol=1e-12)


@each("rate", [0.0, math.inf, math.nan, 1e-320])
def test_rates_that_are_no_ordinary_numbers_give_what_they_gave(rate, monkeypatch):
    dist = Poisson(torch.tensor([rate, 3.0], dtype=torch.float64))
    for q in (0.0, 1e-12, 0.5, 1 - 1e-12, 1.0, math.nan):
        by_search, fixed = dist.icdf(q), by_halving(lambda q=q: dist.icdf(q), monkeypatch)
        torch.testing.assert_close(by_search, fixed, rtol=1e-9, atol=0, equal_nan=True)


@each("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_every_shape_is_answered(dtype):
    rate = torch.tensor([[0.5], [7.0]], dtype=dtype)
    for dist, shape in (
        (Poisson(rate).expand((2, 3)), (2, 3)),
        (Poisson(rate)[0, 0], ()),
        (Poisson(rate)[:0], (0, 1)),
    ):
        assert dist.icdf(torch.tensor(0.5)).shape == shape
        assert dist.entropy().shape == shape
        assert dist.crps(torch.tensor(1.0)).shape == shape
        assert dist.highest_density(0.5).lower.shape == shape
        assert dist.highest_density(0.5).lower.dtype == dist.dtype
        assert dist.icdf(torch.rand(5, *shape, generator=random())).shape == (5, *shape)
    mixture = dh.get_family("mixture", component="poisson", num_components=2).distribution(
        logits=torch.zeros(2, dtype=dtype),
        rate=torch.tensor([[1.0, 2.0]], dtype=dtype).expand(3, 2),
    )
    for dist, shape in ((mixture, (3,)), (mixture[0], ()), (mixture[:0], (0,))):
        assert dist.icdf(torch.full((7,) + (1,) * len(shape), 0.5)).shape == (7, *shape)
        assert dist.crps(torch.zeros((4,) + (1,) * len(shape))).shape == (4, *shape)
        assert (
            dist.entropy().shape
            == dist.mode.shape
            == dist.highest_density(0.5).upper.shape
            == shape
        )
