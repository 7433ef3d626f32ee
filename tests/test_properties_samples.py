"""Samples come from the distribution that is asked, and their gradients are those of the
expectations.
"""

import itertools
import math

import numpy as np
import pytest
import scipy.stats as st
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.calibration import QuantileRecalibration
from disthead.families import ensemble
from disthead.families.multivariate_normal import MultivariateNormal
from tests.brute_force import angles, mean_of, panels, quantile_grid
from tests.cases import (
    ALL_COUNTS,
    CIRCULAR,
    CIRCULAR_MIXTURES,
    CLASSES,
    EVERYTHING,
    INDEPENDENT,
    NAMED,
    ON_A_LINE,
    ORDERED,
    ORDINAL,
    RANKINGS,
    VECTORS,
    rows,
)

each = pytest.mark.parametrize
INDEPENDENT_CLASSES = [case for case in INDEPENDENT if case.kind == "classes"]
INDEPENDENT_NUMBERS = [case for case in INDEPENDENT if case.kind != "classes"]
RARE = 1e-3  # how improbable a sample may be


def close_to_its_mean(terms, expected, errors: float = 4.0) -> None:
    """The mean of the terms over the first dimension is `expected`, but for the chance of drawing
    them.
    """
    error = terms.std(0) / math.sqrt(len(terms))
    assert ((terms.mean(0) - expected).abs() <= errors * error + 1e-9).all(), (
        terms.mean(0),
        expected,
        error,
    )


def pit_of_a_sample(case) -> tuple[torch.Tensor, torch.Tensor]:
    """The pit is uniform between the limits of the cdf at a sample, and the same each time."""
    torch.manual_seed(5)
    dist = case.dist()
    y = dist.sample((10_000,))
    first, again = (dist.pit(y, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    below, through = dist.cdf_limits(y)
    assert ((below <= first) & (first <= through)).all()
    assert st.kstest(first.numpy(), "uniform").pvalue > RARE
    return below, through


@each("case", rows(ON_A_LINE + CIRCULAR))
def test_pit_of_a_sample_is_uniform_and_reproducible(case):
    assert torch.equal(*pit_of_a_sample(case))


@each("case", rows(ALL_COUNTS + ORDINAL))
def test_pit_of_sampled_counts_is_uniform_and_reproducible(case):
    below, through = pit_of_a_sample(case)
    assert (below < through).all()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@each("case", rows(EVERYTHING))
@each("members", [1, 2], ids=["one", "ensemble"])
def test_a_generator_gives_the_same_samples_again_and_leaves_the_global_one_alone(case, members):
    dist = case.dist(batch=(members, 20))
    dist = ensemble(dist) if members > 1 else dist[0]
    before = torch.random.get_rng_state()
    draws = [dist.sample, dist.rsample] if dist.has_rsample else [dist.sample]
    for draw in draws:
        first, again, other = (draw((2,), generator=seeded(seed)) for seed in (1, 1, 2))
        assert first.shape == (2, 20, *dist.event_shape)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_recalibrated_distribution_samples_with_a_generator_too():
    dist = NAMED["gamma"].dist(batch=(200,))
    recalibrated = QuantileRecalibration().fit(dist, dist.sample(generator=seeded(0)))(dist)
    before = torch.random.get_rng_state()
    first, again = (recalibrated.sample((3,), generator=seeded(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)


@each("case", rows(ORDERED))
def test_samples_in_single_precision_lie_in_the_support(case):
    torch.manual_seed(5)
    dist = case.dist(torch.float32, batch=(3,))
    y = dist.sample((1000,))
    assert y.dtype == torch.float32
    assert dist.support.check(y).all()
    assert dist.log_prob(y).isfinite().all()


@each("case", rows(CIRCULAR_MIXTURES))
def test_sampled_directions_have_the_density(case):
    torch.manual_seed(5)
    y = case.dist().sample((20_000,))
    points, weights = angles()
    probability = (case.dist().log_prob(points).exp() * weights).reshape(32, -1).sum(-1)
    counts = torch.histc(y, 32, -math.pi, math.pi)
    assert (
        st.chisquare(counts.numpy(), 20_000 * probability.numpy() / probability.sum().item()).pvalue
        > RARE
    )


@each("case", rows(CLASSES + ORDINAL))
def test_sampled_classes_have_their_probabilities(case):
    torch.manual_seed(5)
    classes = case.dist().probs.shape[-1]
    counts = torch.bincount(case.dist().sample((20_000,)), minlength=classes)
    assert st.chisquare(counts.numpy(), 20_000 * case.dist().probs.numpy()).pvalue > RARE


@each("case", rows(INDEPENDENT_CLASSES))
def test_outputs_of_classes_are_sampled_each_from_its_marginal(case):
    torch.manual_seed(5)
    dist = case.dist()
    y = dist.sample((10_000,))
    for k in range(2):
        counts = torch.bincount(y[:, k], minlength=3).numpy()
        assert st.chisquare(counts, 10_000 * dist.marginals.probs[k].numpy()).pvalue > RARE


@each("case", rows(INDEPENDENT_NUMBERS))
def test_outputs_are_sampled_independently_each_from_its_marginal(case):
    torch.manual_seed(5)
    dist = case.dist()
    y = dist.sample((10_000,))
    pit = dist.pit(y, generator=torch.Generator().manual_seed(1)).flatten(1).numpy()
    for k in range(pit.shape[1]):
        assert st.kstest(pit[:, k], "uniform").pvalue > RARE
    for j, k in itertools.combinations(range(pit.shape[1]), 2):
        assert st.spearmanr(pit[:, j], pit[:, k]).pvalue > RARE


@each("case", rows(VECTORS))
@each("draw", ["sample", "rsample"])
def test_sampled_vectors_have_the_mean_and_the_covariance(case, draw):
    torch.manual_seed(5)
    dist = case.dist()
    deviation = getattr(dist, draw)((40_000,)) - dist.mean
    close_to_its_mean(deviation, torch.zeros(3))
    close_to_its_mean(deviation.unsqueeze(-1) * deviation.unsqueeze(-2), dist.covariance)
    squared = (deviation @ torch.linalg.inv(dist.covariance) * deviation).sum(-1)
    assert st.kstest(squared.numpy(), st.chi2(3).cdf).pvalue > RARE
    torch.testing.assert_close(dist.mahalanobis(deviation + dist.mean).square(), squared)
    for k in range(3):
        assert (
            st.kstest(dist.marginals.cdf(deviation + dist.mean)[:, k].numpy(), "uniform").pvalue
            > RARE
        )


# gradients of samples


def gradient_is_that_of_the_expectation(case, function, y, weights) -> None:
    """d E function(Y) / d raw: the density is differentiated under the integral over points y with
    these weights.
    """
    torch.manual_seed(9)
    copies = torch.tensor(case.raw, dtype=torch.float64).repeat(8_000, 1).requires_grad_()
    (single,) = torch.autograd.grad(function(case.from_raw(copies).rsample()).sum(), copies)
    raw = torch.tensor(case.raw, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(
        (weights * case.from_raw(raw).log_prob(y).exp() * function(y)).sum(), raw
    )
    assert exact.abs().max() > 1e-3
    close_to_its_mean(single, exact)


@each("case", rows(ON_A_LINE))
def test_gradient_of_samples_is_that_of_the_expectation(case):
    dist = case.dist()
    middle, width = dist.median, (dist.interval(0.5)[1] - dist.interval(0.5)[0]).abs()

    def function(y):
        return torch.tanh((y - middle - 0.2 * width) / width)

    gradient_is_that_of_the_expectation(case, function, *panels(quantile_grid(dist, 100)))


@each("case", rows(CIRCULAR))
def test_gradient_of_sampled_directions_is_that_of_the_expectation(case):
    gradient_is_that_of_the_expectation(case, lambda y: torch.sin(y - 0.3), *angles())


@each("case", rows(VECTORS))
def test_gradient_of_sampled_vectors_is_that_of_the_moments(case):
    torch.manual_seed(9)
    raw = torch.tensor(case.raw, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor(
        [[0.3, -1.0, 0.2], [0.5, 1.0, 2.0], [-0.4, 0.1, 1.0]], dtype=torch.float64
    )
    dist = case.from_raw(raw)
    exact_value = dist.mean @ weights @ dist.mean + (weights * dist.covariance).sum()
    (exact,) = torch.autograd.grad(exact_value, raw)
    copies = raw.detach().repeat(20_000, 1).requires_grad_()
    y = case.from_raw(copies).rsample()
    (single,) = torch.autograd.grad((y @ weights * y).sum(), copies)
    close_to_its_mean(single, exact)


# vectors and rankings


@each("case", rows(VECTORS))
def test_kl_of_vectors_is_the_mean_log_ratio(case):
    torch.manual_seed(9)
    p, q = case.dist(), case.dist(shift=0.3)
    y = p.sample((100_000,))
    close_to_its_mean(p.log_prob(y) - q.log_prob(y), kl_divergence(p, q))
    close_to_its_mean(-p.log_prob(y), p.entropy())


def test_kl_between_both_kinds_of_normal_vectors():
    full, low_rank = (case.dist() for case in VECTORS)
    dense = MultivariateNormal(low_rank.loc, torch.linalg.cholesky(low_rank.covariance))
    for p, q in [(low_rank, full), (full, low_rank)]:
        densely = [dense if dist is low_rank else dist for dist in (p, q)]
        torch.testing.assert_close(kl_divergence(p, q), kl_divergence(*densely))
    torch.testing.assert_close(
        kl_divergence(low_rank, dense), torch.zeros(()).double(), rtol=0, atol=1e-12
    )


@each("case", rows([*VECTORS, *INDEPENDENT[:2]]))
def test_energy_score_agrees_with_a_large_sample(case):
    torch.manual_seed(9)
    dist = case.dist()
    y = dist.mean + 0.7
    x, other = dist.sample((200_000,)), dist.sample((200_000,))
    terms = (x - y).norm(dim=-1) - 0.5 * (x - other).norm(dim=-1)
    scores = torch.stack(
        [dist.energy_score(y, 512, torch.Generator().manual_seed(seed)) for seed in range(20)]
    )  # without bias, and with the error that its docstring admits
    error = math.hypot(float(scores.std()) / math.sqrt(20), float(terms.std()) / math.sqrt(200_000))
    assert abs(float(scores.mean() - terms.mean())) < 4 * error
    again = dist.energy_score(y, 512, torch.Generator().manual_seed(0))
    assert torch.equal(again, scores[0])


def test_energy_score_of_one_output_is_its_crps():
    dist = (
        dh.get_family("gamma").from_raw(torch.tensor([[1.5, 0.2]], dtype=torch.float64)).to_event(1)
    )
    y = torch.tensor([2.0], dtype=torch.float64)
    torch.testing.assert_close(dist.energy_score(y), dist.marginals.crps(y).sum())


def test_ranking_equals_enumeration():
    dist = RANKINGS[0].dist()
    rankings = torch.tensor(list(itertools.permutations(range(4))))
    p = dist.log_prob(rankings).exp()
    torch.testing.assert_close(p.sum(), torch.ones((), dtype=p.dtype))
    torch.testing.assert_close(dist.entropy(), -(p * p.log()).sum())
    torch.testing.assert_close(
        dist.top1, torch.stack([p[rankings[:, 0] == k].sum() for k in range(4)])
    )
    assert torch.equal(dist.mode, rankings[p.argmax()])
    place = rankings.argsort(-1)
    torch.testing.assert_close(dist.expected_rank, (p.unsqueeze(-1) * place).sum(0))
    for i, j in itertools.permutations(range(4), 2):
        torch.testing.assert_close(dist.pairwise[i, j], p[place[:, i] < place[:, j]].sum())
    other = RANKINGS[0].from_raw(torch.tensor([1.0, 0.5, -0.2, 0.0], dtype=torch.float64))
    expected = (p * (p.log() - other.log_prob(rankings))).sum()
    torch.testing.assert_close(kl_divergence(dist, other), expected)
    torch.manual_seed(2)
    code = dist.sample((20_000,)) @ torch.tensor([64, 16, 4, 1])
    counts = [(code == c).sum().item() for c in rankings @ torch.tensor([64, 16, 4, 1])]
    assert st.chisquare(counts, 20_000 * p.numpy() / p.sum().item()).pvalue > RARE


def test_entropy_of_long_rankings_is_estimated_without_bias():
    """Beyond ten items it is a sample mean: of equal items it is log K!, exactly, and of others
    that of the large sample.
    """
    equal = dh.get_family("plackett_luce", event_shape=(12,)).from_raw(
        torch.zeros(12, dtype=torch.float64)
    )
    torch.testing.assert_close(equal.entropy(), torch.tensor(math.lgamma(13)).double())
    torch.manual_seed(2)
    dist = equal.map(lambda logits: logits + torch.linspace(-2, 2, 12, dtype=torch.float64))
    estimates = torch.stack([dist.entropy() for _ in range(30)])
    terms = -dist.log_prob(dist.sample((50_000,)))
    error = math.hypot(
        float(estimates.std()) / math.sqrt(30), float(terms.std()) / math.sqrt(50_000)
    )
    assert abs(float(estimates.mean() - terms.mean())) < 4 * error


# several outputs


@each("case", rows(INDEPENDENT))
def test_several_outputs_answer_for_each_and_add_up(case):
    dist, other = case.dist(), case.from_raw(torch.tensor(case.raw, dtype=torch.float64) * 0.7)
    torch.manual_seed(9)
    y, over = dist.sample((5,)), tuple(range(-len(case.event_shape), 0))
    each_one = dist.marginals
    assert each_one.batch_shape == case.event_shape
    torch.testing.assert_close(dist.log_prob(y), each_one.log_prob(y).sum(over))
    torch.testing.assert_close(dist.entropy(), each_one.entropy().sum(over))
    torch.testing.assert_close(
        kl_divergence(dist, other), kl_divergence(each_one, other.marginals).sum(over)
    )
    assert torch.equal(dist.mode, each_one.mode)


@each("case", rows(INDEPENDENT_CLASSES))
def test_several_outputs_of_classes_are_scored_one_by_one(case):
    torch.manual_seed(9)
    dist = case.dist()
    y = dist.sample((5,))
    torch.testing.assert_close(dist.brier(y), dist.marginals.brier(y))


@each("case", rows(INDEPENDENT_NUMBERS))
def test_several_outputs_of_numbers_answer_one_by_one(case):
    torch.manual_seed(9)
    dist = case.dist()
    y, each_one = dist.sample((5,)), dist.marginals
    for question in ("mean", "median", "mode", "variance", "stddev"):
        assert torch.equal(getattr(dist, question), getattr(each_one, question))
    for question in ("cdf", "log_cdf", "log_survival", "crps"):
        torch.testing.assert_close(getattr(dist, question)(y), getattr(each_one, question)(y))
    level = torch.tensor(0.3, dtype=torch.float64)
    torch.testing.assert_close(dist.icdf(level), each_one.icdf(level))
    for question in ("interval", "highest_density"):
        torch.testing.assert_close(getattr(dist, question)(0.8), getattr(each_one, question)(0.8))


@each("case", rows([case for case in INDEPENDENT if "covariance" in case.claims]))
def test_several_outputs_do_not_vary_together(case):
    dist = case.dist()
    assert np.array_equal(dist.covariance, dist.marginals.variance.diag())


def test_directions_have_no_straight_distance():
    dist = NAMED["independent von_mises"].dist()
    for ask in (lambda: dist.covariance, lambda: dist.energy_score(dist.mean)):
        with pytest.raises(NotImplementedError, match="straight"):
            ask()


def test_affine_counts_are_the_same_counts():
    """Units that no binary fraction is: every count comes back as itself."""
    counts = dh.get_family("poisson").from_raw(torch.tensor([2.1], dtype=torch.float64))
    k = torch.arange(0, 60, dtype=torch.float64)
    for loc, scale in ((-1.0, 0.3), (0.1, 0.7), (1e3, 1e-3)):
        loc, scale = torch.tensor(loc).double(), torch.tensor(scale).double()
        dist = counts.affine(loc, scale)
        y = loc + scale * k
        torch.testing.assert_close(dist.log_prob(y), counts.log_prob(k))
        torch.testing.assert_close(dist.cdf(y), counts.cdf(k))
        torch.testing.assert_close(dist.crps(y), scale * counts.crps(k), rtol=1e-6, atol=1e-9)
        assert dist.log_prob(y + 0.4 * scale).isinf().all()
        torch.testing.assert_close(kl_divergence(dist, dist), torch.zeros(()).double())
        with pytest.raises(NotImplementedError, match="different units"):
            kl_divergence(dist, counts.affine(loc, 2 * scale))


def test_mean_of_needs_no_quantile():
    """The oracle itself: a probability of one, found without the quantiles being right."""
    case = ON_A_LINE[0]
    assert float(mean_of(case, torch.ones_like, case.dist(shift=0.1))) == pytest.approx(
        1, abs=1e-10
    )
