"""Every family answers what it claims to, says why where it does not, and its answers agree with each other."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats as st
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch.distributions import kl_divergence

import disthead as dh
from disthead.surface import QUESTIONS, surface
from tests.cases import CASES, CIRCULAR, CLASSES, CONTINUOUS, COUNTS, ORDERED, RANKINGS, VECTORS

UNIVARIATE = {
    *("log_prob", "cdf", "log_cdf", "log_survival", "cdf_limits", "icdf", "mean", "median", "mode", "variance"),
    *("stddev", "entropy", "sample", "interval", "highest_density", "pit", "crps", "kl_divergence"),
}
CLAIMS = {
    "continuous": UNIVARIATE | {"rsample"},
    "count": UNIVARIATE,
    "bernoulli": UNIVARIATE | {"brier", "expected_cost"},
    "classes": {"log_prob", "mode", "entropy", "sample", "brier", "expected_cost", "kl_divergence"},
    "vector": {
        *("log_prob", "mean", "median", "mode", "variance", "stddev", "covariance", "marginals", "entropy"),
        *("sample", "rsample", "interval", "highest_density", "energy_score", "kl_divergence"),
    },
    "ranking": {"log_prob", "mode", "entropy", "sample", "top1", "pairwise", "kl_divergence"},
}
REAL_LINE = [case for case in CONTINUOUS if case not in CIRCULAR]
LEVELS = torch.tensor([0.003, 0.1, 0.35, 0.5, 0.8, 0.97, 0.9995], dtype=torch.float64)
each = pytest.mark.parametrize


def kind(case) -> str:
    if case.name == "bernoulli":
        return "bernoulli"
    groups = {"continuous": CONTINUOUS + CIRCULAR, "count": COUNTS, "classes": CLASSES}
    groups |= {"vector": VECTORS, "ranking": RANKINGS}
    return next(name for name, rows in groups.items() if case in rows)


def points(case) -> torch.Tensor:
    """Targets from one tail to the other."""
    return case.dist().icdf(LEVELS).detach()


def shapes(case) -> dict[str, tuple[int, ...]]:
    """The shape of one answer, where it is neither that of a target nor of the batch."""
    size = len(case.raw)
    matrix = (3, 3) if case in VECTORS else (size, size)
    return {"covariance": matrix, "pairwise": matrix, "top1": (size,), "marginals": (3,)}


@each("case", CASES, ids=str)
def test_answers_what_it_claims_and_says_why_not(case):
    torch.manual_seed(3)
    dist = case.dist(batch=(2,))
    answers = surface(dist, dist.sample())
    assert {question for question, answer in answers.items() if answer == "yes"} == CLAIMS[kind(case)]
    assert all(len(answer.partition(": ")[2]) > 10 for answer in answers.values() if answer != "yes")


@each("case", CASES, ids=str)
def test_answers_are_finite_and_of_the_shape_of_the_batch(case):
    torch.manual_seed(3)
    dist = case.dist(batch=(2,))
    y = dist.sample()
    of_events = {"mean", "median", "mode", "variance", "stddev", "sample", "rsample", "interval", "highest_density"}
    for question in CLAIMS[kind(case)]:
        answer = QUESTIONS[question](dist, y)
        event = tuple(dist.event_shape) if question in of_events else shapes(case).get(question, ())
        if question == "expected_cost":
            event = answer.shape[1:]  # one for each decision
        for value in answer if isinstance(answer, tuple) else (answer,):
            assert value.shape == (2, *event), question
            if question == "log_survival":
                value = value[dist.cdf(y) < 1]  # -inf at the end of the support
            if not (question == "variance" or question == "stddev") or case.name != "student_t heavy":
                assert value.isfinite().all(), question


@each("case", REAL_LINE + CIRCULAR, ids=str)
def test_derivative_of_cdf_is_density(case):
    y = points(case).requires_grad_()
    (slope,) = torch.autograd.grad(case.dist().cdf(y).sum(), y)
    torch.testing.assert_close(slope, case.dist().log_prob(y).exp().detach(), rtol=1e-6, atol=1e-9)


@each("case", REAL_LINE + CIRCULAR, ids=str)
def test_icdf_inverts_cdf_both_ways(case):
    dist, y = case.dist(), points(case)
    torch.testing.assert_close(dist.cdf(y), LEVELS, rtol=0, atol=1e-10)
    torch.testing.assert_close(dist.icdf(dist.cdf(y)), y, rtol=1e-8, atol=1e-8)


@each("case", COUNTS, ids=str)
def test_icdf_is_the_smallest_count_that_reaches_the_level(case):
    dist, y = case.dist(), points(case)
    assert (dist.cdf(y) >= LEVELS).all()
    assert (dist.cdf(y - 1) < LEVELS).all()


@each("case", ORDERED, ids=str)
def test_log_cdf_and_log_survival_agree_with_cdf(case):
    dist, y = case.dist(), points(case)
    torch.testing.assert_close(dist.log_cdf(y).exp(), dist.cdf(y), rtol=0, atol=1e-12)
    torch.testing.assert_close(dist.log_survival(y).exp(), 1 - dist.cdf(y), rtol=0, atol=1e-12)


def quadrature(dist, function, pieces: int = 400):
    """E f(Y), on Gauss-Legendre nodes between quantiles of a continuous distribution, by the sum of a count."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(20))
    tails = torch.logspace(-13, -1, pieces // 2, dtype=torch.float64)
    # Far quantiles from both ends; the upper ones lose digits as cuts, which moves no probability.
    cuts = dist.icdf(torch.cat([tails, torch.linspace(0.1, 0.9, pieces, dtype=torch.float64), 1 - tails.flip(0)]))
    cuts = cuts.detach().unique()
    half, middle = (cuts[1:] - cuts[:-1]) / 2, (cuts[1:] + cuts[:-1]) / 2
    y = (middle[:, None] + half[:, None] * nodes).flatten()
    return ((half[:, None] * weights).flatten() * dist.log_prob(y).exp() * function(y)).sum()


def mean_of(case, function):
    if case in COUNTS:
        y = torch.arange(0, 2 if case.name == "bernoulli" else 1000, dtype=torch.float64)
        return (case.dist().log_prob(y).exp() * function(y)).sum()
    return quadrature(case.dist(), function)


@each("case", REAL_LINE + COUNTS, ids=str)
def test_entropy_is_the_mean_surprise(case):
    dist = case.dist()
    torch.testing.assert_close(mean_of(case, lambda y: -dist.log_prob(y)), dist.entropy(), rtol=1e-6, atol=1e-6)


@each("case", REAL_LINE + COUNTS, ids=str)
def test_kl_is_zero_to_itself_and_equals_the_quadrature(case):
    p = case.dist()
    assert abs(float(kl_divergence(p, p))) < 1e-9
    raw = torch.tensor(case.raw, dtype=torch.float64)
    q = case.make_family().from_raw(raw + 0.2)
    expected = mean_of(case, lambda y: p.log_prob(y) - q.log_prob(y))
    torch.testing.assert_close(kl_divergence(p, q), expected, rtol=1e-6, atol=1e-6)


def distance(case, x, y):
    """Along the line, or along the circle."""
    return (x - y).abs() if case not in CIRCULAR else torch.pi - (torch.pi - (x - y).abs()).abs()


@each("case", ORDERED, ids=str)
def test_crps_agrees_with_a_large_sample(case):
    torch.manual_seed(11)
    dist = case.dist()
    x, other, y = dist.sample((400_000,)), dist.sample((400_000,)), points(case)[3]
    terms = distance(case, x, y) - 0.5 * distance(case, x, other)
    assert abs(terms.mean() - dist.crps(y)) < 4 * terms.std() / math.sqrt(len(terms)) + 1e-9


@each("case", ORDERED, ids=str)
def test_pit_of_a_sample_is_uniform_and_reproducible(case):
    torch.manual_seed(5)
    dist = case.dist()
    y = dist.sample((20_000,))
    first, again = (dist.pit(y, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    below, through = dist.cdf_limits(y)
    assert ((below <= first) & (first <= through)).all()
    assert st.kstest(first.numpy(), "uniform").pvalue > 1e-3


@each("case", ORDERED, ids=str)
def test_intervals_hold_their_level(case):
    dist = case.dist()
    lower, upper = dist.interval(0.8)
    shortest = dist.highest_density(0.8)
    if case in REAL_LINE:
        for a, b in ((lower, upper), shortest):
            assert float(dist.cdf(b) - dist.cdf(a)) == pytest.approx(0.8, abs=1e-7)
    elif case in COUNTS:
        for a, b in ((lower, upper), shortest):
            assert float(dist.cdf(b) - dist.cdf(a - 1)) >= 0.8
    assert float(shortest[1] - shortest[0]) <= float(upper - lower) + 1e-7


@each("case", [case for case in REAL_LINE if "student" not in case.name], ids=str)
def test_gradient_of_samples_is_that_of_the_mean(case):
    torch.manual_seed(9)
    raw = torch.tensor(case.raw, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(case.make_family().from_raw(raw).mean, raw)
    copies = raw.detach().expand(40_000, -1).clone().requires_grad_()
    (single,) = torch.autograd.grad(case.make_family().from_raw(copies).rsample().sum(), copies)
    error = single.std(0) / math.sqrt(len(single))
    assert ((single.mean(0) - exact).abs() <= 4 * error + 1e-9).all()


@each("case", [case for case in REAL_LINE + COUNTS if case.scipy], ids=str)
def test_scipy_agrees(case):
    dist, truth, y = case.dist(), case.frozen(), points(case)
    np.testing.assert_allclose(dist.cdf(y), truth.cdf(y.numpy()), atol=1e-10)
    np.testing.assert_allclose(dist.log_survival(y).exp(), truth.sf(y.numpy()), atol=1e-10)
    np.testing.assert_allclose(dist.icdf(LEVELS), truth.ppf(LEVELS.numpy()), rtol=1e-8)
    for question in ("mean", "median"):
        np.testing.assert_allclose(getattr(dist, question), getattr(truth, question)(), rtol=1e-8)
    np.testing.assert_allclose(dist.variance, truth.var(), rtol=1e-8)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(data=some.data())
@each("case", [case for case in REAL_LINE if "mixture" not in case.name], ids=str)
def test_quantiles_of_any_parameters(case, data):
    size = len(case.raw)
    raw = torch.tensor(data.draw(some.lists(some.floats(-2, 4), min_size=size, max_size=size)), dtype=torch.float64)
    level = torch.tensor(data.draw(some.floats(0.05, 0.95)), dtype=torch.float64)
    dist = case.make_family().from_raw(raw)
    y = dist.icdf(level)
    torch.testing.assert_close(dist.cdf(y), level, rtol=0, atol=1e-9)
    assert dist.log_prob(y).isfinite()


def test_ranking_equals_enumeration():
    dist = RANKINGS[0].dist()
    orders = torch.tensor(list(itertools.permutations(range(4))))
    p = dist.log_prob(orders).exp()
    torch.testing.assert_close(p.sum(), torch.ones((), dtype=p.dtype))
    torch.testing.assert_close(dist.entropy(), -(p * p.log()).sum())
    torch.testing.assert_close(dist.top1, torch.stack([p[orders[:, 0] == k].sum() for k in range(4)]))
    place = orders.argsort(-1)
    for i, j in itertools.permutations(range(4), 2):
        torch.testing.assert_close(dist.pairwise[i, j], p[place[:, i] < place[:, j]].sum())
    torch.manual_seed(2)
    code = dist.sample((20_000,)) @ torch.tensor([64, 16, 4, 1])
    counts = [(code == c).sum().item() for c in orders @ torch.tensor([64, 16, 4, 1])]
    assert st.chisquare(counts, 20_000 * p.numpy() / p.sum().item()).pvalue > 1e-3


@each("case", VECTORS, ids=str)
def test_marginals_and_energy_score_of_vectors(case):
    dist = case.dist()
    torch.testing.assert_close(dist.marginals.variance, dist.covariance.diagonal())
    one, two = (dist.energy_score(dist.mean, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one, two)


def test_wrappers_keep_the_surface():
    gamma = dh.get_family("gamma").from_raw(torch.tensor([1.5, 0.2], dtype=torch.float64))
    dist = gamma.affine(torch.tensor(-1.0).double(), torch.tensor(3.0).double())
    y = dist.icdf(LEVELS)
    torch.testing.assert_close(dist.cdf(y), LEVELS, rtol=0, atol=1e-10)
    torch.testing.assert_close(dist.crps(y), 3 * gamma.crps((y + 1) / 3))
    torch.testing.assert_close(quadrature(dist, lambda y: -dist.log_prob(y)), dist.entropy(), rtol=1e-6, atol=1e-6)
    joint = gamma.expand((2, 3)).to_event(1)
    torch.testing.assert_close(joint.entropy(), 3 * gamma.entropy().expand(2))
    assert joint.log_prob(joint.sample()).shape == (2,)
    assert joint.covariance.shape == (2, 3, 3)


@pytest.mark.slow
def test_the_command_line_prints_the_matrix(capsys):
    from disthead.cli import main

    assert main(["families", "--surface"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*dh.families(), *QUESTIONS))
