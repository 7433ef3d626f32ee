"""Families made from a base family: what each claims, against R's maxima, SciPy and its formula."""

import pickle

import numpy as np
import pytest
import scipy.special as sp
import scipy.stats as st
import torch
from scipy.optimize import minimize

import disthead as dh
from disthead.diagnostics import rootogram
from disthead.distributions.between import log_between
from disthead.errors import NonFiniteLoss, TargetError
from disthead.families.ensembles import ensemble
from disthead.families.mixture_family import mixture
from disthead.recipe import _NonFiniteRows

F64 = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=F64)


def fitted(family, X, y, **options) -> float:
    """The greatest log-likelihood that a linear head reaches."""
    head = dh.DistributionHead(family, X.shape[1], **options).double()
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    head.initialize(y)
    for _ in range(4):
        optimizer = torch.optim.LBFGS(
            head.parameters(),
            max_iter=200,
            tolerance_grad=1e-10,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def closure(optimizer=optimizer):
            optimizer.zero_grad()
            loss = dh.nll(head(X), y, reduction="sum")
            loss.backward()
            return loss

        optimizer.step(closure)
    with torch.no_grad():
        return -float(dh.nll(head(X), y, reduction="sum"))


def counts(rows=300):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 2))
    rate = rng.gamma(3, np.exp(0.6 + 0.4 * X[:, 0]) / 3)
    y = rng.poisson(rate) * (rng.random(rows) > sp.expit(X[:, 1] - 1))
    return X, y.astype(float)


def greatest(kind: str, base: str, X, y) -> float:
    """The same by SciPy, of a log-likelihood written out."""
    A = np.column_stack([np.ones(len(y)), X])
    size = A.shape[1]

    def minus_log_likelihood(t):
        mean, gate = np.exp(A @ t[:size]), A @ t[size : 2 * size]

        def log_mass(k):
            if base == "poisson":
                return k * np.log(mean) - mean - sp.gammaln(k + 1)
            r = np.exp(t[2 * size])
            choices = sp.gammaln(k + r) - sp.gammaln(r) - sp.gammaln(k + 1)
            return choices - r * np.log1p(mean / r) + k * np.log(mean / (r + mean))

        of_none, log_gate, log_rest = log_mass(0 * y), sp.log_expit(gate), sp.log_expit(-gate)
        if kind == "zero_inflated":
            zero = np.logaddexp(log_gate, log_rest + of_none)
            return -np.where(y == 0, zero, log_rest + log_mass(y)).sum()
        above = log_rest + log_mass(y) - np.log(-np.expm1(of_none))
        return -np.where(y == 0, log_gate, above).sum()

    start = np.zeros(2 * size + (base != "poisson"))
    return -minimize(minus_log_likelihood, start, method="BFGS", options={"gtol": 1e-7}).fun


@pytest.mark.parametrize("kind", ["zero_inflated", "hurdle"])
@pytest.mark.parametrize(
    "base", ["poisson", pytest.param("negative_binomial", marks=pytest.mark.slow)]
)
def test_a_linear_head_reaches_the_maximum_likelihood(kind, base):
    X, y = counts()
    options = {"links": {"rate": "exp"}}
    if base == "negative_binomial":
        options = {
            "links": {"mean": "exp", "total_count": "exp"},
            "shared": ("total_count",),
            "parametrization": "mean",
        }
    expected = greatest(kind, base, X, y)
    assert fitted(kind, X, y, base=base, **options) == pytest.approx(expected, abs=1e-4)


def test_a_gate_that_vanishes_without_features_still_learns():
    """Zeros that a negative binomial explains without features, and not with them."""
    _, y = counts()
    head = dh.DistributionHead("zero_inflated", 2, base="negative_binomial").initialize(y)
    with torch.no_grad():
        head.linear.weight.zero_()
        assert float(head.params(torch.zeros(1, 2))["gate"]) > 0.009


TRUNCATED = [
    ("normal", {"loc": 0.3, "scale": 2.0}, st.norm(0.3, 2.0), -1.0, 4.0),
    ("normal", {"loc": -30.0, "scale": 1.0}, st.norm(-30.0, 1.0), 0.0, 1.0),
    ("gamma", {"concentration": 0.5, "rate": 2.0}, st.gamma(0.5, scale=0.5), 0.1, 3.0),
    ("beta", {"concentration1": 2.0, "concentration0": 3.0}, st.beta(2, 3), 0.25, 0.75),
]


@pytest.mark.parametrize("base, parameters, scipy, lower, upper", TRUNCATED)
def test_truncated_is_the_base_given_its_bounds(base, parameters, scipy, lower, upper):
    family = dh.get_family("truncated", base=base, lower=lower, upper=upper)
    dist = family.distribution(**{name: tensor(value)[0] for name, value in parameters.items()})
    y = torch.linspace(lower, upper, 9, dtype=F64)
    tail = scipy.sf if scipy.cdf(lower) > 0.5 else lambda y: -scipy.cdf(y)
    total = tail(lower) - tail(upper)
    np.testing.assert_allclose(
        dist.log_prob(y), scipy.logpdf(y) - np.log(total), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(dist.cdf(y), (tail(lower) - tail(y.numpy())) / total, rtol=1e-9)
    inside = y[(y > lower) & (dist.cdf(y) < 0.99)]
    torch.testing.assert_close(dist.icdf(dist.cdf(inside)), inside, rtol=1e-9, atol=1e-12)
    assert dist.log_prob(tensor(lower - 0.01, upper + 0.01)).tolist() == [-np.inf, -np.inf]
    assert lower <= float(dist.mean) <= upper


def test_bounds_of_each_row():
    lower = torch.tensor([0.0, 1.0, -torch.inf])
    head = dh.DistributionHead("truncated", 2, base="normal")
    dist = head(torch.zeros(3, 2), lower=lower[:2].repeat(2)[:3])
    assert dist.icdf(torch.tensor(1e-9)).ge(lower[:2].repeat(2)[:3]).all()
    several = dh.DistributionHead("truncated", 2, base="normal", event_shape=(2,))
    assert several(torch.zeros(3, 2), lower=torch.zeros(3)).event_shape == (2,)
    with pytest.raises(TargetError, match=r"at least lower in each row, got 1 of 2 values: 1 at"):
        head.initialize([1.0, 3.0], lower=[2.0, 2.0])
    with pytest.raises(ValueError, match=r"must be below upper in each row, got .* 2 at row 0"):
        head.initialize([2.0, 3.0], lower=[2.0, 2.0], upper=[1.0, 9.0])


def test_a_narrow_interval_loses_no_digits():
    normal = dh.get_family("normal").distribution(loc=tensor(0.0), scale=tensor(1.0))
    lower = tensor(0.0, 3.0, -8.0, 20.0)
    upper = lower + 1e-9
    expected = normal.log_prob((lower + upper) / 2) + (upper - lower).log()
    torch.testing.assert_close(log_between(normal, lower, upper), expected, rtol=1e-12, atol=0)


def test_zero_inflated_is_a_mixture_and_a_hurdle_a_truncation():
    rate, gate, y = tensor(2.0), tensor(0.3), torch.arange(12.0, dtype=F64)
    poisson = st.poisson(2.0).pmf(y)
    inflated = dh.get_family("zero_inflated").distribution(rate=rate, gate=gate)
    np.testing.assert_allclose(inflated.log_prob(y).exp(), 0.7 * poisson + 0.3 * (y == 0).numpy())
    hurdle = dh.get_family("hurdle").distribution(rate=rate, gate=gate)
    above = 0.7 * poisson / (1 - poisson[0])
    np.testing.assert_allclose(hurdle.log_prob(y).exp(), np.where(y == 0, 0.3, above), rtol=1e-12)
    assert float(hurdle.mean) == pytest.approx(0.7 * 2 / (1 - np.exp(-2)), rel=1e-12)


def mixed(**own):
    """Rain: nothing with probability 0.4, else gamma."""
    family = dh.get_family("hurdle", base="gamma")
    values = {"concentration": tensor(2.0)[0], "rate": tensor(0.5)[0], "gate": tensor(0.4)[0]}
    return family.distribution(**values | own)


def test_a_mixed_distribution_jumps_at_its_value():
    dist, gamma = mixed(), st.gamma(2, scale=2)
    assert dist.kind == "mixed"
    assert dist.log_prob(tensor(0.0)).exp() == pytest.approx(0.4)
    assert [float(limit) for limit in dist.cdf_limits(tensor(0.0))] == pytest.approx([0.0, 0.4])
    assert dist.icdf(tensor(0.0, 0.2, 0.4)).tolist() == [0, 0, 0]
    np.testing.assert_allclose(dist.icdf(tensor(0.7, 0.95)), gamma.ppf([0.5, 0.55 / 0.6]))
    pit = dist.pit(torch.zeros(10_000, dtype=F64), torch.Generator().manual_seed(0))
    assert st.kstest(pit.numpy() / 0.4, "uniform").pvalue > 1e-3
    y = tensor(0.0, 1.0, 9.0)
    t = torch.linspace(0, 90, 1_000_001, dtype=F64)[:, None]
    squares = (dist.cdf(t) - (t >= y).double()).square()
    torch.testing.assert_close(dist.crps(y), torch.trapezoid(squares, t, dim=0), rtol=1e-5, atol=0)
    lower, upper = dist.highest_density(0.8)
    assert float(lower) == 0
    assert float(dist.cdf(upper)) == pytest.approx(0.8)
    assert dist.highest_density(0.3) == (0, 0)


@pytest.mark.parametrize("level", [0.3, 0.6, 0.9])
def test_the_shortest_interval_may_hold_the_value_or_not(level):
    dist = dh.get_family("inflated", value=1.5).distribution(
        loc=tensor(0.0), scale=tensor(1.0), gate=tensor(0.1)
    )
    lower, upper = dist.highest_density(level)
    below, through = dist.cdf_limits(lower)[0], dist.cdf(upper)
    assert float(through - below) >= level - 1e-9
    grid = torch.linspace(-4, 4, 4001, dtype=F64)
    grid = torch.cat([grid, tensor(1.5)]).sort().values
    ends = dist.icdf((dist.cdf_limits(grid)[0] + level).clamp(max=1))
    assert float(upper - lower) <= float((ends - grid).min()) + 1e-3


def test_an_ensemble_of_mixed_distributions_is_their_average():
    members = mixed(gate=tensor(0.2, 0.6), rate=tensor(0.5, 2.0))
    both = ensemble(members)
    y = tensor(0.0, 0.5, 3.0)
    each = members.log_prob(y[:, None]).exp()
    torch.testing.assert_close(both.log_prob(y).exp(), each.mean(1))
    torch.testing.assert_close(both.cdf(y), members.cdf(y[:, None]).mean(1))
    torch.testing.assert_close(both.cdf(both.icdf(tensor(0.5, 0.9))), tensor(0.5, 0.9))
    torch.testing.assert_close(both.variance, both.aleatoric + both.epistemic)


def test_discretised_probabilities_are_those_of_their_steps():
    family = dh.get_family("discretised", base="gamma", step=0.5, rounding="floor")
    dist = family.distribution(concentration=tensor(2.0)[0], rate=tensor(1.0)[0])
    y = torch.arange(8, dtype=F64) / 2
    expected = np.diff(st.gamma(2).cdf(np.append(y, 4.0)))
    np.testing.assert_allclose(dist.log_prob(y).exp(), expected, rtol=1e-12)
    assert dist.log_prob(tensor(0.3)) == -np.inf
    assert float(dist.mean) == pytest.approx(_mean_of_steps(), rel=1e-9)


def _mean_of_steps() -> float:
    y = np.arange(200) / 2
    return float((y * np.diff(st.gamma(2).cdf(np.append(y, 100.0)))).sum())


def test_an_offset_is_the_logarithm_of_the_exposure():
    exposure = tensor(0.5, 2.0, 10.0)
    bases = [("poisson", {}), ("negative_binomial", {}), ("exponential", {})]
    bases += [("negative_binomial", {"parametrization": "mean"})]
    bases += [("hurdle", {"base": "poisson"}), ("mixture", {"component": "negative_binomial"})]
    for family, options in bases:
        head = dh.DistributionHead(family, 2, **options).double()
        X = torch.zeros(3, 2, dtype=F64)
        by_exposure, by_offset = head(X, exposure=exposure), head(X, offset=exposure.log())
        torch.testing.assert_close(by_exposure.mean, by_offset.mean)
        plain = head(X).mean
        if family != "hurdle":
            power = -1 if family == "exponential" else 1
            torch.testing.assert_close(by_exposure.mean, plain * exposure**power)
    with pytest.raises(ValueError, match="it takes exposure and offset"):
        dh.DistributionHead("poisson", 2)(torch.zeros(3, 2), time=exposure)


WRAPPERS = {
    "truncated": {"lower": 0.0},
    "zero_inflated": {},
    "hurdle": {"base": "log_normal"},
    "inflated": {"base": "poisson", "value": 3},
    "zero_one_inflated": {},
    "shifted": {"loc": 1.0},
    "discretised": {"step": 0.1},
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_copies_and_parts_are_the_same(name):
    head = dh.DistributionHead(name, 2, event_shape=(2,), **WRAPPERS[name])
    copy = pickle.loads(pickle.dumps(head))
    X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    dist = head(X)
    y = dist.sample(generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(copy(X).log_prob(y), dist.log_prob(y))
    torch.testing.assert_close(dist[1].log_prob(y[1]), dist.log_prob(y)[1])
    torch.testing.assert_close(dist.expand((3, 4)).log_prob(y), dist.log_prob(y).expand(3, 4))
    assert list(head.params(X)) == list(head.family.parameters)


def test_parameters_of_the_base_keep_their_names():
    head = dh.DistributionHead(
        "hurdle",
        2,
        base="gamma",
        links={"rate": "exp"},
        shared=("concentration",),
        fixed={"gate": 0.25},
    )
    dist = head(torch.zeros(3, 2))
    assert list(head.family.parameters) == ["concentration", "rate", "gate"]
    torch.testing.assert_close(dist.cdf(torch.zeros(3)), torch.full((3,), 0.25))


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("truncated", {"base": "multivariate_normal"}, "which has vectors for targets"),
        ("hurdle", {"base": "von_mises"}, "whose targets are of kind 'direction'"),
        ("zero_inflated", {"base": "gamma"}, "for amounts that are often 0 take hurdle"),
        ("zero_one_inflated", {"base": "normal"}, "which is not bounded"),
        ("discretised", {"base": "poisson"}, "of kind 'count'"),
        ("truncated", {"lower": 2.0, "upper": 1.0}, "lower of truncated must be below upper"),
        ("truncated", {"base": "gamma", "upper": -1.0}, "has no values between"),
        ("truncated", {"lowr": 1.0}, "did you mean 'lower'"),
        ("inflated", {"base": "poisson", "value": 0.5}, "must be a whole number"),
        ("discretised", {"step": 0.0}, "step of discretised must be a positive number"),
        ("zero_inflated", {"base": dh.get_family("zero_inflated")}, "has 'gate', too"),
    ],
)
def test_what_cannot_be_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        dh.get_family(name, **options)


def test_targets_that_leave_nothing_to_learn():
    with pytest.warns(UserWarning, match=r"no target is 0.*Take poisson alone"):
        dh.DistributionHead("zero_inflated", 1).initialize([1.0, 2.0, 4.0])
    with pytest.warns(UserWarning, match="all 3 targets are 0"):
        dh.DistributionHead("hurdle", 1).initialize([0.0, 0.0, 0.0])
    with pytest.raises(TargetError, match="-1 at row 1"):
        dh.DistributionHead("truncated", 1, lower=0.0).initialize([1.0, -1.0])


def test_wrappers_nest():
    few = dh.get_family("truncated", base="poisson", upper=4)
    family = dh.get_family("zero_inflated", base=few)
    dist = family.distribution(rate=tensor(3.0), gate=tensor(0.2))
    mass = st.poisson(3.0).pmf(np.arange(5))
    expected = 0.8 * mass / mass.sum() + 0.2 * (np.arange(5) == 0)
    np.testing.assert_allclose(dist.log_prob(torch.arange(5.0, dtype=F64)).exp(), expected)
    assert float(dist.cdf(tensor(4.0))) == 1


@pytest.mark.parametrize("name", ["inflated", "hurdle"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_gate_of_zero_or_one_is_possible(name, value):
    dist = dh.get_family(name, base="gamma").distribution(
        concentration=tensor(2.0), rate=tensor(1.0), gate=tensor(value)
    )
    assert float(dist.cdf(tensor(0.0))) == value
    assert float(dist.mean) == pytest.approx(2 * (1 - value))
    assert dist.entropy().isfinite()


@pytest.mark.parametrize("base", ["binomial", "beta_binomial"])
@pytest.mark.parametrize(
    "name, options",
    [
        ("zero_inflated", {}),
        ("hurdle", {}),
        ("inflated", {"value": 2.0}),
        ("truncated", {"lower": 1.0}),
        ("truncated", {"upper": 3.0}),
    ],
)
def test_rows_of_a_base_have_their_own_trials(name, options, base):
    family = dh.get_family(name, base=base, **options)
    head = dh.DistributionHead(family, 1, shared="all").double()
    trials = tensor(3.0, 10.0)
    dist = head(torch.zeros(2, 1), total_count=trials)
    k = torch.arange(12.0, dtype=F64)[:, None]
    mass = dist.log_prob(k).exp()
    torch.testing.assert_close(mass.sum(0), torch.ones(2, dtype=F64))
    torch.testing.assert_close((k * mass).sum(0), dist.mean)
    torch.testing.assert_close(mass.cumsum(0), dist.cdf(k))
    least, most = options.get("lower", 0.0), options.get("upper", 10.0)
    expected = (k >= least) & (k <= torch.clamp(trials, max=most))
    assert torch.equal(dist.support.check(k), expected)
    assert torch.equal(dist.support.upper_bound, torch.clamp(trials, max=most))
    assert (dist.crps(dist.icdf(tensor(0.5, 0.5))) >= 0).all()


@pytest.mark.parametrize(
    "name, options, least",
    [
        ("discretised", {}, [1.0, 3.0]),
        ("inflated", {}, [0.0, 0.0]),
        ("truncated", {"lower": 2.0}, [2.0, 3.0]),
        ("truncated", {"upper": 9.0}, [1.0, 3.0]),
    ],
)
def test_rows_of_a_base_have_their_own_least_value(name, options, least):
    family = dh.get_family(name, base="pareto", **options)
    own = {"gate": 0.25} if name == "inflated" else {}
    dist = family.distribution(scale=tensor(1.0, 3.0), alpha=2.0, **own)
    assert dist.support.lower_bound.tolist() == least
    assert dist.support.check(torch.tensor(2.0)).tolist() == [True, False]
    assert dist.icdf(torch.tensor(0.0)).tolist() == least
    assert dist.log_prob(dist.icdf(torch.tensor(0.6))).isfinite().all()


@pytest.mark.parametrize("name", ["zero_inflated", "inflated", "hurdle", "truncated", "censored"])
def test_the_trials_of_rows_reach_the_base(name):
    generator = torch.Generator().manual_seed(0)
    trials = torch.randint(4, 12, (400,), generator=generator).double()
    y = torch.binomial(trials, torch.full_like(trials, 0.6), generator=generator)
    y[::4] = 0.0 if name in ("zero_inflated", "inflated", "hurdle") else y[::4]
    head = dh.DistributionHead(name, 2, base="binomial", shared="all").double()
    head.initialize(y, total_count=trials)
    assert head.shared["logits"].sigmoid().item() == pytest.approx(0.6, abs=0.03)
    if "gate" in head.shared:
        assert head.shared["gate"].sigmoid().item() == pytest.approx(0.25, abs=0.03)


def test_impossible_quantities_of_rows_are_refused():
    X, one = torch.zeros(3, 2), torch.ones(3)
    cut = dh.DistributionHead("truncated", 2, lower=0.0)
    with pytest.raises(ValueError, match=r"below upper in each row.*1 of 3 values: 2 at row 1"):
        cut(X, lower=tensor(0, 2, 0), upper=tensor(1, 1, 1))
    with pytest.raises(ValueError, match=r"below upper in each row.*0 at row 2"):
        cut(X, upper=tensor(1, 1, -1))
    assert cut(X, lower=one * -torch.inf, upper=one).log_prob(one).isfinite().all()
    with pytest.raises(ValueError, match=r"lower of truncated must be below.*1 at row 0"):
        cut.family.distribution(loc=0.0, scale=1.0, lower=one, upper=tensor(0, 2, 2))
    trials = dh.DistributionHead("zero_inflated", 2, base="binomial")
    with pytest.raises(ValueError, match=r"whole number, zero or more.*-1 at row 1"):
        trials(X, total_count=tensor(1, -1, 1))
    with pytest.raises(ValueError, match=r"for each row, the shape \(3,\), got \(2,\)"):
        trials(X, total_count=one[:2])
    events = dh.DistributionHead("poisson", 2)
    with pytest.raises(ValueError, match=r"exposure of poisson must be positive.*-1 at row 0"):
        events(X, exposure=-one)
    with pytest.raises(ValueError, match=r"got \(3, 1\)\. Try squeeze"):
        events(X, exposure=one[:, None])


@pytest.mark.parametrize(
    "name, options, step",
    [("discretised", {"step": 0.5}, 0.5), ("shifted", {"base": "poisson", "loc": 3}, 1.0)],
)
def test_mixtures_of_counts_in_other_units(name, options, step):
    """All answers of a mixture agree with its masses on the grid of its components."""
    family = dh.get_family(name, **options)
    raw = torch.randn(3, 4, family.width(), generator=torch.Generator().manual_seed(0)).double()
    dist = ensemble(family.from_raw(raw))
    k = step * torch.arange(-80.0, 81.0, dtype=F64)[:, None]
    mass = dist.log_prob(k).exp()
    members = family.from_raw(raw).log_prob(k[:, None]).exp().mean(1)
    torch.testing.assert_close(mass, members)
    mean = (k * mass).sum(0)
    torch.testing.assert_close(dist.mean, mean)
    torch.testing.assert_close(dist.variance, ((k - mean).square() * mass).sum(0))
    torch.testing.assert_close(dist.aleatoric + dist.epistemic, dist.variance)
    torch.testing.assert_close(dist.entropy(), -torch.xlogy(mass, mass).sum(0))
    torch.testing.assert_close(dist.expected_entropy + dist.mutual_information, dist.entropy())
    torch.testing.assert_close(dist.mode, k[mass.argmax(0), 0])
    levels = tensor(0.1, 0.3, 0.5, 0.7, 0.8, 0.9)[:, None]
    quantile = dist.icdf(levels)
    assert ((dist.cdf(quantile) >= levels) & (dist.cdf(quantile - step) < levels)).all()
    cdf, y = mass.cumsum(0), dist.icdf(tensor(0.2))
    torch.testing.assert_close(dist.crps(y), step * (cdf - (k >= y).double()).square().sum(0))
    assert dist.support.check(quantile).all()


def test_a_mixture_of_counts_on_different_grids_is_refused():
    counts = dh.get_family("poisson").distribution(rate=torch.ones(2))
    with pytest.raises(ValueError, match="must have the same loc and scale"):
        mixture(torch.zeros(2), counts.affine(torch.zeros(2), tensor(1.0, 2.0)))


@pytest.mark.parametrize(
    "name, options, alike",
    [
        ("beta_binomial", {"total_count": 9}, False),
        ("pareto", {}, False),
        ("shifted", {"base": "gamma", "loc": 0.5}, False),
        ("discretised", {"step": 0.5}, True),
        ("discretised", {"base": "pareto"}, True),
    ],
)
def test_ensembles_are_evaluated_where_each_row_has_its_own_support(name, options, alike):
    family = dh.get_family(name, **options)
    generator = torch.Generator().manual_seed(0)
    raw = 1 + 0.3 * torch.randn(2, 60, family.width(), generator=generator)
    dist = ensemble(family.from_raw(raw))
    y = dist.sample(generator=generator)
    assert dist.support.check(y).all()
    assert not dist.support.check(y - 100.25).any()
    if alike:  # a table of the observed and expected numbers of each record
        table = rootogram(dist, y)
        assert float(table.observed.sum()) == 60
    assert "60 rows" in str(dh.evaluate(dist, y))


def test_counts_in_steps_have_bars_of_the_step():
    dist = dh.get_family("discretised", step=0.1).distribution(
        loc=torch.full((200,), 0.35), scale=0.2
    )
    table = rootogram(dist, dist.sample(generator=torch.Generator().manual_seed(0)))
    step = torch.diff(table.first)
    torch.testing.assert_close(step, torch.full_like(step, 0.1), atol=1e-6, rtol=0)
    assert float(table.observed.sum()) == 200
    middle = float(table.expected[(table.first - 0.3).abs().argmin()])
    assert middle == pytest.approx(200 * (st.norm.cdf(0) - st.norm.cdf(-0.5)), rel=1e-4)


@pytest.mark.parametrize("name", ["zero_inflated", "inflated", "hurdle", "truncated"])
@pytest.mark.parametrize("base, options", [("discretised", {"step": 0.5}), ("shifted", {"loc": 3})])
def test_counts_in_other_units_are_refused_as_a_base(name, base, options):
    options = options if base == "discretised" else options | {"base": "poisson"}
    with pytest.raises(ValueError, match=rf"base of {name}.*got {base}.*as the base of shifted"):
        dh.get_family(name, base=dh.get_family(base, **options))
    inside = dh.get_family("shifted", base=dh.get_family(name, base="poisson"), loc=3)
    assert inside.from_raw(torch.zeros(inside.width())).sample() >= 3


def test_observed_pairs_of_trials_are_evaluated():
    family = dh.get_family("censored", base="binomial", total_count=9)
    generator = torch.Generator().manual_seed(0)
    dist = family.from_raw(0.3 * torch.randn(60, family.width(), generator=generator))
    y = dist.sample(generator=generator)
    assert "60 rows" in str(dh.evaluate(dist, torch.stack([y, y], -1)))
    beyond = torch.stack([y + 10, torch.full_like(y, torch.inf)], -1)
    with pytest.raises(TargetError, match="numbers from 0 to 9, got in 60 of 60"):
        dh.evaluate(dist, beyond)


def test_a_loss_that_no_row_explains_has_a_message():
    error = _NonFiniteRows(torch.zeros(2, 3), torch.arange(3), step=5)
    with pytest.raises(NonFiniteLoss, match=r"at step 5\. The loss of each single row is finite"):
        raise error.of_targets(torch.zeros(9), torch.arange(3))
