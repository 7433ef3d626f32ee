"""Censored targets: the likelihood against its formula, maxima against SciPy's, and bad input."""

import math
import pickle

import mpmath as mp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats as st
import torch

import disthead as dh
from disthead.distributions.censored import Censored
from disthead.errors import TargetError
from disthead.families.ensembles import ensemble
from disthead.optimise import minimise

INF = math.inf


def latent(base: str, **parameters: float) -> Censored:
    family = dh.get_family("censored", base=base)
    return family.distribution(
        **{name: torch.tensor(value, dtype=torch.float64) for name, value in parameters.items()}
    )


WEIBULL = st.weibull_min(1.3, scale=2.0)
BASES = {
    "weibull": ({"scale": 2.0, "concentration": 1.3}, WEIBULL),
    "normal": ({"loc": 0.5, "scale": 2.0}, st.norm(0.5, 2.0)),
    "log_normal": ({"loc": 0.3, "scale": 0.8}, st.lognorm(0.8, scale=math.exp(0.3))),
    "gamma": ({"concentration": 2.5, "rate": 0.7}, st.gamma(2.5, scale=1 / 0.7)),
}


@pytest.mark.parametrize("base", BASES)
def test_the_likelihood_is_a_density_or_a_probability(base):
    parameters, scipy_dist = BASES[base]
    y = torch.tensor([[1.5, 1.5], [1.5, INF], [-INF, 1.5], [1.0, 2.5]], dtype=torch.float64)
    expected = [
        scipy_dist.logpdf(1.5),
        scipy_dist.logsf(1.5),
        scipy_dist.logcdf(1.5),
        math.log(scipy_dist.cdf(2.5) - scipy_dist.cdf(1.0)),
    ]
    dist = latent(base, **parameters)
    np.testing.assert_allclose(dist.log_prob(y), expected, rtol=1e-12)
    each = torch.stack([dist.log_prob(pair) for pair in y])
    np.testing.assert_allclose(each, expected, rtol=1e-12)
    np.testing.assert_allclose(dist.expand((4,)).log_prob(y[:, 0]), scipy_dist.logpdf(y[:, 0]))


def test_intervals_of_counts_are_open_below_and_closed_above():
    counted, mass = latent("poisson", rate=3.0), st.poisson(3.0)
    y = torch.tensor([[2.0, 2.0], [2.0, INF], [-INF, 2.0], [1.0, 4.0], [3.0, 4.0]]).double()
    expected = np.log(
        [
            mass.pmf(2),
            mass.pmf(np.arange(3, 60)).sum(),
            mass.pmf([0, 1, 2]).sum(),
            mass.pmf([2, 3, 4]).sum(),
            mass.pmf(4),
        ]
    )
    np.testing.assert_allclose(counted.log_prob(y), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "lower, upper",
    [
        (-40.0, -39.0),
        (39.0, 40.0),
        (-1.0, 1.0),
        (-50.0, 50.0),
        (2.0, 2.0 + 1e-9),
        (30.0, 30 + 1e-7),
    ],
)
def test_probabilities_of_intervals_keep_their_digits(lower, upper):
    with mp.workdps(600):
        expected = float(mp.log(mp.ncdf(mp.mpf(upper)) - mp.ncdf(mp.mpf(lower))))
    dist = latent("normal", loc=0.0, scale=1.0)
    value = dist.log_prob(torch.tensor([lower, upper], dtype=torch.float64))
    assert value.item() == pytest.approx(expected, rel=1e-8)


ANY_TARGET = torch.tensor(
    [[1.5, 1.5], [1.5, INF], [-INF, 1.5], [1.0, 2.5], [2.0, 2.0 + 1e-9], [0.0, 2.0], [0.0, INF]],
    dtype=torch.float64,
)


@pytest.mark.parametrize("base", ["weibull", "gamma", "log_normal", "exponential"])
def test_both_ways_agree_with_gradients(base):
    """Rows one by one, and by a mask where no row can be chosen, as under vmap."""
    family = dh.get_family("censored", base=base)
    raw = torch.tensor([0.3, -0.2], dtype=torch.float64)[: family.width()].expand(7, -1)

    def of_row(raw, y):
        return family.from_raw(raw).log_prob(y)

    by_choice = torch.autograd.functional.jacobian(
        lambda raw: family.from_raw(raw).log_prob(ANY_TARGET).sum(), raw.contiguous()
    )
    by_mask = torch.func.vmap(torch.func.grad(of_row))(raw, ANY_TARGET)
    torch.testing.assert_close(by_mask, by_choice, rtol=1e-7, atol=1e-9)
    values = torch.func.vmap(of_row)(raw, ANY_TARGET)
    torch.testing.assert_close(values, family.from_raw(raw).log_prob(ANY_TARGET))


@pytest.mark.parametrize(
    "base",
    [
        "weibull",
        "normal",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("log_normal", "gamma", "poisson", "negative_binomial")
        ),
    ],
)
def test_gradients_are_finite_far_from_the_data(base):
    family = dh.get_family("censored", base=base)
    y = torch.tensor([[3.0, 3.0], [3.0, INF], [-INF, 3.0], [2.0, 4.0], [2.0, INF]])
    for extreme in (-30.0, -3.0, 3.0, 30.0):
        raw = torch.full((5, family.width()), extreme, requires_grad=True)
        value = family.from_raw(raw).log_prob(y)
        assert not value.isnan().any()
        value.clamp(min=-1e30).sum().backward()
        assert raw.grad.isfinite().all(), (extreme, raw.grad)

        def bounded(raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return family.from_raw(raw).log_prob(y).clamp(min=-1e30)

        by_mask = torch.func.vmap(torch.func.grad(bounded))(raw.detach(), y)
        assert by_mask.isfinite().all(), (extreme, by_mask)


def test_no_score_but_the_likelihood_trains_on_censored_targets():
    dist = latent("normal", loc=[0.0, 1.0], scale=1.0)
    y = torch.tensor([[1.0, 1.0], [2.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(dh.objectives.crps(dist, y), dist.crps(y[:, 0]))
    y[1, 1] = INF
    assert dh.objectives.nll(dist, y).isfinite().all()
    with pytest.raises(NotImplementedError, match=r"got 1 censored ones of 2\. Train by 'nll'"):
        dh.objectives.crps(dist, y)


def fitted(head: dh.DistributionHead, X: torch.Tensor, y: torch.Tensor) -> float:
    """The total log-likelihood after L-BFGS."""
    names = [name for name, _ in head.named_parameters()]

    def loss(*values: torch.Tensor) -> torch.Tensor:
        dist = torch.func.functional_call(head, dict(zip(names, values, strict=True)), (X,))
        return dh.nll(dist, y, reduction="sum")

    return -float(loss(*minimise(loss, *head.parameters())))


@pytest.fixture
def table() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(200, generator=generator, dtype=torch.float64)
    return X, 0.4 + X @ torch.tensor([1.0, -0.5], dtype=torch.float64) + 0.8 * noise


def right_censored(y: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    return torch.stack([y.minimum(limit), torch.where(y <= limit, y, INF)], -1)


def of_scipy(log_likelihood, start) -> float:
    search = scipy.optimize.minimize(lambda theta: -log_likelihood(theta), start, tol=1e-12)
    return -search.fun


def test_tobit_reaches_the_maximum(table):
    """Tobin 1958: a normal of which nothing below 0 is recorded."""
    X, latent_y = table
    y = latent_y.clamp(min=0.0)
    is_censored = (y == 0).numpy()
    pairs = torch.stack([torch.where(y > 0, y, -INF), y], -1)

    def log_likelihood(theta):
        mean, scale = theta[0] + X.numpy() @ theta[1:3], np.exp(theta[3])
        z = (y.numpy() - mean) / scale
        return np.where(is_censored, st.norm.logcdf(z), st.norm.logpdf(z) - theta[3]).sum()

    head = dh.DistributionHead("censored", 2, base="normal", shared=("scale",)).double()
    value = fitted(head.initialize(pairs), X, pairs)
    assert value == pytest.approx(of_scipy(log_likelihood, np.zeros(4)), abs=1e-5)
    standardised = dh.DistributionHead("censored", 2, base="normal", shared=("scale",)).double()
    standardised.initialize(pairs, standardise=True)
    torch.testing.assert_close(standardised.target_loc, y[y > 0].mean())
    assert fitted(standardised, X, pairs) == pytest.approx(value, abs=1e-5)


def test_log_normal_lifetimes_reach_the_maximum(table):
    X, logs = table
    pairs = right_censored(logs.exp(), torch.full_like(logs, 2.0))
    is_event = (pairs[:, 0] == pairs[:, 1]).numpy()

    def log_likelihood(theta):
        logs, mean = pairs[:, 0].log().numpy(), theta[0] + X.numpy() @ theta[1:3]
        z = (logs - mean) / np.exp(theta[3])
        return np.where(is_event, st.norm.logpdf(z) - theta[3] - logs, st.norm.logsf(z)).sum()

    head = dh.DistributionHead("censored", 2, base="log_normal", shared=("scale",)).double()
    value = fitted(head.initialize(pairs), X, pairs)
    assert value == pytest.approx(of_scipy(log_likelihood, np.zeros(4)), abs=1e-5)


def test_the_rate_of_censored_exponentials_is_events_per_time(table):
    pairs = right_censored(table[1].exp(), torch.full((200,), 1.5, dtype=torch.float64))
    events = (pairs[:, 0] == pairs[:, 1]).sum()
    rate = dh.marginal("censored", pairs, base="exponential").rate
    torch.testing.assert_close(rate.double(), events / pairs[:, 0].sum(), rtol=1e-6, atol=0)


def test_weights_count_rows(table):
    pairs = right_censored(table[1].exp(), torch.full((200,), 1.5, dtype=torch.float64))
    twice = torch.cat([pairs, pairs[:50]])
    weight = torch.ones(200, dtype=torch.float64)
    weight[:50], weight[199] = 2.0, 0.0
    pairs[199] = torch.nan
    by_weight = dh.marginal("censored", pairs, base="exponential", weight=weight)
    by_rows = dh.marginal("censored", torch.cat([twice[:199], twice[200:]]), base="exponential")
    torch.testing.assert_close(by_weight.rate, by_rows.rate)
    dist = by_weight.expand((200,))
    assert dh.nll(dist, pairs, weight=weight).isfinite()


def test_all_other_answers_are_those_of_the_latent_number():
    base = dh.get_family("weibull").distribution(scale=torch.tensor([1.0, 2.0]), concentration=1.5)
    dist = Censored(base)
    assert (dist.batch_shape, dist.kind, dist.is_censored) == ((2,), "continuous", True)
    for name in ("mean", "median", "mode", "variance", "stddev", "scale", "concentration"):
        torch.testing.assert_close(getattr(dist, name), getattr(base, name))
    y = torch.tensor([0.5, 3.0])
    for name in ("cdf", "log_survival", "crps", "pit", "log_prob"):
        torch.testing.assert_close(getattr(dist, name)(y), getattr(base, name)(y))
    torch.testing.assert_close(dist.interval(0.9).upper, base.interval(0.9).upper)
    torch.testing.assert_close(dist.icdf(torch.tensor(0.3)), base.icdf(torch.tensor(0.3)))
    assert dist.sample((3,)).shape == (3, 2)
    assert set(dist.parameters) == {"scale", "concentration"}
    torch.testing.assert_close(ensemble(dist).mean, ensemble(base).mean)
    assert ensemble(dist).log_prob(torch.tensor([1.0, INF])) == ensemble(base).log_survival(
        torch.tensor(1.0)
    )


def test_parts_units_outputs_and_pickles():
    base = dh.get_family("normal").distribution(loc=torch.zeros(3, 2), scale=1.0)
    dist = Censored(base)
    pairs = torch.tensor([[0.5, INF], [-INF, 1.0]]).expand(3, 2, 2)
    value = dist.log_prob(pairs)
    torch.testing.assert_close(dist[1:].log_prob(pairs[1:]), value[1:])
    torch.testing.assert_close(pickle.loads(pickle.dumps(dist)).log_prob(pairs), value)
    several = dist.to_event(1)
    assert several.is_censored
    torch.testing.assert_close(several.log_prob(pairs), value.sum(-1))
    torch.testing.assert_close(dh.nll(several, pairs, reduction="none"), -value.sum(-1))
    moved = dist.affine(torch.tensor(10.0), torch.tensor(2.0))
    torch.testing.assert_close(moved.log_prob(10 + 2 * pairs), value)


def test_heads_of_several_outputs():
    head = dh.DistributionHead("censored", 3, event_shape=(2,), base="normal")
    y = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0])
    pairs = torch.stack([y, torch.where(y < 1, y, INF)], -1)
    head.initialize(pairs, standardise=True)
    dist = head(torch.zeros(20, 3))
    assert dist.event_shape == (2,)
    assert dh.nll(dist, pairs).isfinite()
    apart = [dh.marginal("censored", pairs[:, k], base="normal").loc for k in range(2)]
    together = dh.marginal("censored", pairs, base="normal", event_shape=(2,)).loc
    torch.testing.assert_close(together, torch.stack(apart), rtol=1e-4, atol=1e-4)
    assert head.initialize(y) is head  # all observed


def test_a_head_keeps_the_quick_loss_of_observed_rows():
    head = dh.DistributionHead("censored", 2, base="normal")
    dist = head(torch.randn(6, 2))
    assert dist.base._is_lazy
    y = torch.tensor([[1.0, 1.0], [2.0, 2.0], [1.0, INF], [-INF, 0.0], [0.0, 1.0], [3.0, 3.0]])
    value = dist.log_prob(y)
    value.sum().backward()
    assert dist.base._is_lazy or value.isfinite().all()
    params = head.params(torch.zeros(1, 2))
    assert set(params) == {"loc", "scale"}
    expected = dh.get_family("normal").distribution(
        **{name: part.double() for name, part in head.params(torch.zeros(1, 2)).items()}
    )
    torch.testing.assert_close(
        head(torch.zeros(1, 2)).log_prob(torch.tensor([[1.0, INF]])).double(),
        expected.log_survival(torch.tensor([1.0]).double()),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "pairs, words",
    [
        ([[1.0, 2.0], [3.0, 2.0]], "lower end .*at row 1"),
        ([[1.0, 1.0], [math.nan, 2.0]], "NaN in 1 of 2 values: .*row 1"),
        ([[-INF, INF], [2.0, 2.0]], "tell nothing .*row 0"),
        ([[1.0, 1.0], [-INF, 0.0]], "numbers from 0 to inf, .*row 1"),
        ([[1.0, 1.0], [-2.0, -2.0]], "support of weibull .*row 1"),
    ],
)
def test_pairs_that_cannot_be_are_refused_with_their_rows(pairs, words):
    family = dh.get_family("censored")
    with pytest.raises(TargetError, match=words):
        family.check_target(torch.tensor(pairs))
    dist = family.distribution(scale=torch.ones(2), concentration=1.0)
    with pytest.raises(TargetError, match=r"row [01]"):
        dh.targets.check_target(dist, torch.tensor(pairs))
    absent = torch.tensor([1.0, 0.0] if "row 1" in words else [0.0, 1.0])
    dh.targets.check_target(dist, torch.tensor(pairs), weight=absent)


def test_limits_that_no_family_can_place_are_refused():
    with pytest.raises(TargetError, match="all 3 targets are right-censored"):
        dh.DistributionHead("censored", 1).initialize(torch.tensor([[1.0, INF]] * 3))
    with pytest.raises(TargetError, match="all 3 targets are left-censored"):
        dh.DistributionHead("censored", 1).initialize(torch.tensor([[-INF, 1.0]] * 3))
    with pytest.raises(ValueError, match="base of censored must be"):
        dh.get_family("censored", base="von_mises")
    with pytest.raises(ValueError, match="which is censored already"):
        dh.get_family("censored", base=dh.get_family("censored"))
    with pytest.raises(ValueError, match=r"shape \(2,\) of the distribution, or \(2, 2\) as pairs"):
        dh.nll(latent("exponential", rate=1.0).expand((2,)), torch.zeros(2, 3))


LIMITS = [(0.5, 3.0), (-INF, 1.0), (1.0, INF), (-INF, INF), (5.0, 6.0)]


@pytest.mark.parametrize("lower, upper", LIMITS)
@pytest.mark.parametrize("base", ["weibull", "normal"])
def test_recorded_numbers_have_the_distribution_of_clamped_samples(base, lower, upper):
    parameters, of_scipy = BASES[base]
    recorded = latent(base, **parameters).observed(lower, upper)
    assert recorded.kind == "mixed"

    def integral(function, start=lower, end=upper):
        low, high = max(start, of_scipy.ppf(1e-15)), min(end, of_scipy.ppf(1 - 1e-15))
        return scipy.integrate.quad(function, low, high, limit=200)[0] if high > low else 0.0

    def mean(power):
        value = integral(lambda x: x**power * of_scipy.pdf(x))
        value += of_scipy.cdf(lower) * lower**power if lower > -INF else 0.0
        return value + (of_scipy.sf(upper) * upper**power if upper < INF else 0.0)

    assert recorded.mean.item() == pytest.approx(mean(1), rel=1e-6)
    assert recorded.variance.item() == pytest.approx(mean(2) - mean(1) ** 2, rel=1e-5)
    for y in {min(max(point, lower), upper) for point in (0.5, 1.0, 2.0, 5.5)}:
        target = torch.tensor(y, dtype=torch.float64)
        crps = integral(lambda x: of_scipy.cdf(x) ** 2, end=y)
        crps += integral(lambda x: of_scipy.sf(x) ** 2, start=y)
        assert recorded.crps(target).item() == pytest.approx(crps, rel=1e-5, abs=1e-9)
        expected = of_scipy.logpdf(y)
        expected = of_scipy.logcdf(y) if y == lower else expected
        expected = of_scipy.logsf(y) if y == upper else expected
        assert recorded.log_prob(target).item() == pytest.approx(expected, rel=1e-10)
        below, value = recorded.cdf_limits(target)
        assert below == (0 if y == lower else pytest.approx(of_scipy.cdf(y)))
        assert value == (1 if y == upper else pytest.approx(of_scipy.cdf(y)))
        assert below <= recorded.pit(target) <= value
    assert recorded.icdf(torch.tensor(1e-9)) >= lower
    assert lower <= recorded.sample((100,)).min() <= recorded.sample((100,)).max() <= upper
    for name in ("mode", "entropy"):
        with pytest.raises(NotImplementedError, match="probability at"):
            _ = recorded.mode if name == "mode" else recorded.entropy()


def test_recorded_numbers_of_a_batch():
    dist = latent("normal", loc=[0.0, 1.0, 2.0], scale=1.0)
    recorded = dist.observed(lower=torch.zeros(3, dtype=torch.float64))
    y = torch.tensor([0.0, 0.5, -1.0], dtype=torch.float64)
    assert recorded[:2].log_prob(y[:2]).isfinite().all()
    assert recorded.log_prob(y)[2] == -INF
    assert recorded.support.check(y).tolist() == [True, True, False]
    assert recorded.expand((2, 3)).crps(y.clamp(min=0)).shape == (2, 3)
