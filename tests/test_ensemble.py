"""The mixture of the distributions of several models: exact, with all methods, its
uncertainty split.
"""

import math

import pytest
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.capabilities import capabilities
from disthead.distributions.rankings import ranks
from disthead.families.ensembles import ensemble
from tests.cases import (
    AFFINE_COUNTS,
    BEYOND_THE_SAMPLE,
    CASES,
    CIRCULAR,
    CLASSES,
    EVERYTHING,
    INDEPENDENT,
    ON_A_LINE,
    RANKINGS,
    SEVERAL_PEAKS,
    VECTORS,
    rows,
)

MEMBERS, ROWS = 3, 4
# counts in other units are no counts
ONE_UNIT = [case for case in EVERYTHING if case not in AFFINE_COUNTS]
SLOW_CAPABILITIES = [
    *BEYOND_THE_SAMPLE,
    *(
        case.name
        for case in ONE_UNIT
        if case.family in ("mixture", "negative_binomial", "beta", "gamma")
    ),
]


def members_of(case, generator):
    """The distributions of some models for some rows, which disagree."""
    raw = torch.tensor(case.raw, dtype=torch.float64)
    return case.from_raw(
        raw + 0.7 * torch.randn(MEMBERS, ROWS, len(raw), dtype=torch.float64, generator=generator)
    )


def some_targets(members):
    torch.manual_seed(1)
    return members.sample()[torch.arange(ROWS) % MEMBERS, torch.arange(ROWS)]


@pytest.mark.parametrize("case", rows(ONE_UNIT))
def test_the_density_is_the_mean_of_the_members(case, generator):
    members = members_of(case, generator)
    dist, y = ensemble(members), some_targets(members)
    assert dist.batch_shape == (ROWS,)
    assert dist.event_shape == members.event_shape
    expected = members.log_prob(y).exp().mean(0).log()
    torch.testing.assert_close(dist.log_prob(y), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dist[1:].log_prob(y[1:]), expected[1:], rtol=1e-9, atol=1e-9)
    shared = dist.expand((2, ROWS)).log_prob(y.expand(2, *y.shape))
    torch.testing.assert_close(shared, expected.expand(2, ROWS), rtol=1e-9, atol=1e-9)


SLOW_ENTROPY = ["mixture of von_mises", "mixture of poissons"]
# members whose support moves have infinite means, too
WITH_VARIANCE = [case for case in ONE_UNIT if "variance" in case.claims and not case.moving_support]


def entropy_is_split(case, generator, close: float = 1e-6) -> None:
    members = members_of(case, generator)
    dist = ensemble(members)
    entropies = members.entropy().mean(0)
    torch.testing.assert_close(dist.expected_entropy, entropies, rtol=1e-7, atol=1e-7)
    assert (dist.mutual_information >= -1e-12).all()
    assert (dist.mutual_information <= math.log(MEMBERS) + 1e-12).all()
    torch.testing.assert_close(
        dist.expected_entropy + dist.mutual_information, dist.entropy(), rtol=close, atol=close
    )


ROUGH = [
    case
    for case in ONE_UNIT
    if case.has_pole or case.has_breakpoints or case.family == "asymmetric_laplace"
]


@pytest.mark.parametrize(
    "case", rows([case for case in ONE_UNIT if case not in ROUGH], slow=SLOW_ENTROPY)
)
def test_entropy_is_split(case, generator):
    entropy_is_split(case, generator)


@pytest.mark.parametrize("case", rows([case for case in ROUGH if not case.has_breakpoints]))
def test_entropy_of_a_density_with_a_pole_or_a_kink_is_split(case, generator):
    """A pole at 1 may hold mass that numbers cannot resolve: of y**-0.7 before 1, 2e-5 lie above
    the last number. Kinks of the members lie at no quantile that the quadrature knows.
    """
    entropy_is_split(case, generator, close=5e-4)


@pytest.mark.parametrize("case", rows([case for case in ONE_UNIT if case.has_breakpoints]))
def test_entropy_of_a_density_with_jumps_or_kinks_is_split(case, generator):
    """The panels of a mixture's quadrature do not end at the jumps."""
    entropy_is_split(case, generator, close=2e-3)


@pytest.mark.parametrize("case", rows(WITH_VARIANCE, slow=SLOW_ENTROPY))
def test_variance_is_split(case, generator):
    members = members_of(case, generator)
    dist = ensemble(members)
    torch.testing.assert_close(dist.aleatoric, members.variance.mean(0))
    torch.testing.assert_close(dist.aleatoric + dist.epistemic, dist.variance)


@pytest.mark.parametrize(
    "case", rows([case for case in WITH_VARIANCE if case.kind != "direction"], slow=SLOW_ENTROPY)
)
def test_what_members_disagree_about_is_the_variance_of_their_means(case, generator):
    members = members_of(case, generator)
    torch.testing.assert_close(ensemble(members).epistemic, members.mean.var(0, correction=0))


@pytest.mark.parametrize(
    "case", rows([case for case in ONE_UNIT if case.kind in ("classes", "ordinal", "ranking")])
)
def test_uncertainty_of_classes_and_rankings_is_that_of_the_entropy(case, generator):
    dist = ensemble(members_of(case, generator))
    each = getattr(dist, "base", dist)
    torch.testing.assert_close(each.aleatoric, each.expected_entropy)
    torch.testing.assert_close(each.epistemic, each.mutual_information)


@pytest.mark.parametrize("case", rows(CIRCULAR))
def test_directions_disagree_as_far_as_their_mean_vector_is_short(case, generator):
    members = members_of(case, generator)
    vectors = (1 - members.variance) * torch.exp(1j * members.mean)
    expected = vectors.abs().mean(0) - vectors.mean(0).abs()
    torch.testing.assert_close(ensemble(members).epistemic, expected)


# what an ensemble does not answer, though its members do
LOST = {"vector": {"mode"}, "direction": SEVERAL_PEAKS}


@pytest.mark.parametrize("case", rows(ONE_UNIT, slow=SLOW_CAPABILITIES))
def test_it_answers_what_its_members_answer(case, generator):
    members = members_of(case, generator)[:, :2]
    dist, y = ensemble(members), some_targets(members_of(case, generator))[:2]
    without = {"kl_divergence", *LOST.get(case.kind, ())}
    of_member = capabilities(members[0], y)
    for method, answer in capabilities(dist, y).items():
        if of_member[method] == "yes" and method not in without:
            assert answer == "yes", method
        elif answer != "yes":
            assert len(answer) > 20, method


def test_all_members_alike_are_one_of_them(generator):
    for case in CASES:
        one = case.dist(batch=(ROWS,))
        dist = ensemble(one.expand((MEMBERS, ROWS)))
        y = some_targets(one.expand((MEMBERS, ROWS)))
        torch.testing.assert_close(dist.log_prob(y), one.log_prob(y), rtol=1e-9, atol=1e-9)
        if "variance" in case.claims or case.kind in ("classes", "ordinal", "ranking"):
            assert (dist.epistemic.abs() < 1e-12).all()


@pytest.mark.parametrize("case", rows(ON_A_LINE))
def test_quantiles_are_those_of_the_mean_cdf(case, generator):
    members = members_of(case, generator)
    dist = ensemble(members)
    for q in (0.01, 0.5, 0.9):
        y = dist.icdf(torch.tensor(q, dtype=torch.float64))
        torch.testing.assert_close(
            members.cdf(y).mean(0), torch.full((ROWS,), q, dtype=torch.float64)
        )


def test_a_mixture_of_mixtures_is_the_flat_one(generator):
    """Members with several peaks, far apart and narrow: the same as one mixture of all their
    components.
    """
    for family, scale in (("normal", -6.0), ("poisson", None)):
        loc = torch.randint(1, 400, (MEMBERS, ROWS, 2), generator=generator).double()
        logits = torch.randn(MEMBERS, ROWS, 2, generator=generator, dtype=torch.float64)
        values = (
            {"loc": loc, "scale": torch.full_like(loc, math.exp(scale))} if scale else {"rate": loc}
        )
        members = dh.get_family("mixture", component=family).distribution(logits=logits, **values)
        dist = ensemble(members)

        def flatten(value):
            return value.movedim(0, 1).flatten(1)

        flat = dh.get_family("mixture", component=family, num_components=2 * MEMBERS).distribution(
            logits=flatten(logits.log_softmax(-1)),
            **{name: flatten(value) for name, value in values.items()},
        )
        y = loc[0, :, 0]
        for ask in (
            lambda d, y: d.log_prob(y),
            lambda d, y: d.cdf(y),
            lambda d, y: d.mean,
            lambda d, y: d.variance,
            lambda d, y: d.crps(y),
            lambda d, y: d.entropy(),
            lambda d, y: d.median,
        ):
            torch.testing.assert_close(ask(dist, y), ask(flat, y), rtol=1e-6, atol=1e-6)


def test_probabilities_are_averaged(generator):
    logits = 3 * torch.randn(MEMBERS, ROWS, 4, generator=generator, dtype=torch.float64)
    dist = ensemble(dh.get_family("categorical", num_classes=4).distribution(logits=logits))
    torch.testing.assert_close(dist.probs, logits.softmax(-1).mean(0))
    binary = ensemble(dh.get_family("bernoulli").distribution(logits=logits[..., 0]))
    torch.testing.assert_close(binary.probs, logits[..., 0].sigmoid().mean(0))
    soft = torch.rand(ROWS, generator=generator, dtype=torch.float64)
    expected = soft * binary.probs.log() + (1 - soft) * (1 - binary.probs).log()
    torch.testing.assert_close(binary.log_prob(soft), expected)
    cost = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(dist.expected_cost(cost), dist.probs @ cost.mT)
    entropies = torch.stack(
        [member.entropy() for member in (dist.components[:, k] for k in range(MEMBERS))]
    )
    torch.testing.assert_close(dist.mutual_information, dist.entropy() - entropies.mean(0))


def test_certain_members_that_disagree_keep_finite_numbers():
    dist = ensemble(
        dh.get_family("bernoulli").distribution(logits=torch.tensor([[-200.0], [200.0]]))
    )
    torch.testing.assert_close(dist.probs, torch.tensor([0.5]))
    torch.testing.assert_close(dist.mutual_information, torch.tensor([math.log(2)]))
    torch.testing.assert_close(dist.epistemic, torch.tensor([0.25]))


@pytest.mark.parametrize("case", rows([*VECTORS, INDEPENDENT[0], INDEPENDENT[5]]))
def test_vectors_have_the_moments_of_their_samples(case, generator):
    dist = ensemble(members_of(case, generator))
    torch.manual_seed(0)
    y = dist.sample((40_000,)).double()
    standard_error = 6 * (dist.variance / len(y)).sqrt()
    assert ((y.mean(0) - dist.mean).abs() < standard_error).all()
    deviation = y - y.mean(0)
    covariance = (deviation.unsqueeze(-1) * deviation.unsqueeze(-2)).mean(0)
    scale = dist.stddev.unsqueeze(-1) * dist.stddev.unsqueeze(-2)
    assert ((covariance - dist.covariance).abs() < 0.06 * scale).all()
    assert dist.covariance.diagonal(dim1=-2, dim2=-1).allclose(dist.variance)


def test_outputs_of_an_ensemble_depend_on_each_other(generator):
    members = members_of(INDEPENDENT[0], generator)
    dist, y = ensemble(members), some_targets(members)
    by_output = ensemble(members.marginals)
    torch.testing.assert_close(dist.marginals.log_prob(y), by_output.log_prob(y))
    assert not dist.log_prob(y).allclose(by_output.log_prob(y).sum(-1))
    torch.testing.assert_close(dist.cdf(y), by_output.cdf(y))


def test_entropy_of_vectors_against_brute_force(generator):
    """In two dimensions by a fine grid."""
    case = INDEPENDENT[0]
    dist = ensemble(members_of(case, generator))[:1]
    axis = torch.linspace(-15, 15, 1501, dtype=torch.float64)
    y = torch.cartesian_prod(axis, axis).unsqueeze(1)
    log_density = dist.log_prob(y)
    exact = -(log_density.exp() * log_density).sum(0) * (axis[1] - axis[0]).square()
    assert (dist.entropy() - exact).abs() < 0.03  # 384 samples
    assert torch.equal(dist.entropy(), dist.entropy())


@pytest.mark.parametrize("case", rows(RANKINGS))
def test_rankings_against_all_orders(case, generator):
    members = members_of(case, generator)
    dist = ensemble(members)
    rankings = members.enumerate_support(expand=False).reshape(-1, 4)
    log_probs = torch.stack([dist.log_prob(ranking.expand(ROWS, 4)) for ranking in rankings])
    torch.testing.assert_close(log_probs.exp().sum(0), torch.ones(ROWS, dtype=torch.float64))
    assert torch.equal(dist.mode, rankings[log_probs.argmax(0)])
    places = ranks(rankings, 4).double()
    first = (places == 0).double()
    share = first / first.sum(-1, keepdim=True)
    torch.testing.assert_close(dist.top1, log_probs.exp().mT @ share)
    before = (places.unsqueeze(-1) > places.unsqueeze(-2)).double().sum(-1)
    ties = (places.unsqueeze(-1) == places.unsqueeze(-2)).double().sum(-1) - 1
    torch.testing.assert_close(dist.expected_rank, log_probs.exp().mT @ (before + 0.5 * ties))
    exact = -(log_probs.exp() * log_probs).sum(0)
    assert ((dist.entropy() - exact).abs() < 0.05).all()


def test_units_change_the_ensemble_as_they_change_its_members(generator):
    loc, scale = torch.tensor(3.0, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64)
    for case in [ON_A_LINE[0], ON_A_LINE[5], INDEPENDENT[0], *VECTORS]:
        members = members_of(case, generator)
        y = 3 + 0.2 * some_targets(members)
        expected = ensemble(members.affine(loc, scale)).log_prob(y)
        torch.testing.assert_close(ensemble(members).affine(loc, scale).log_prob(y), expected)
        torch.testing.assert_close(
            ensemble(members).affine(loc, scale).epistemic, 0.04 * ensemble(members).epistemic
        )


def test_single_precision_goes_back_to_the_raw_outputs(generator):
    """A scale so small that single precision cannot tell where the peak is."""
    raw = torch.randn(MEMBERS, ROWS, 2, generator=generator)
    members = dh.get_family("normal").from_raw(raw)
    exact = ensemble(dh.get_family("normal").from_raw(raw.double()))
    y = torch.randn(ROWS, generator=generator)
    torch.testing.assert_close(ensemble(members).log_prob(y), exact.log_prob(y.double()).float())
    assert ensemble(members).mean.dtype == torch.float32


def test_gradients_reach_every_member(generator):
    for case in (ON_A_LINE[0], CLASSES[0], VECTORS[0], RANKINGS[0], INDEPENDENT[0]):
        raw = torch.tensor(case.raw, dtype=torch.float64)
        raw = raw + torch.randn(MEMBERS, ROWS, len(raw), dtype=torch.float64, generator=generator)
        raw.requires_grad_()
        members = case.from_raw(raw)
        ensemble(members).log_prob(some_targets(members)).sum().backward()
        assert raw.grad.isfinite().all()
        assert (raw.grad.flatten(1).abs().sum(1) > 0).all()


def test_one_model_has_no_split():
    with pytest.raises(NotImplementedError, match="ensemble"):
        _ = dh.get_family("normal").distribution(loc=0.0, scale=1.0).epistemic
    with pytest.raises(ValueError, match="batch_shape"):
        ensemble(dh.get_family("normal").distribution(loc=0.0, scale=1.0))


def test_the_divergence_between_ensembles_of_classes(generator):
    members = members_of(CLASSES[0], generator)
    p, q = ensemble(members), ensemble(members[:2])
    expected = (p.probs * (p.probs.log() - q.probs.log())).sum(-1)
    torch.testing.assert_close(kl_divergence(p, q), expected)


def test_rows_are_answered_a_few_at_a_time(generator):
    loc, log_scale = torch.randn(2, 8, 100, generator=generator, dtype=torch.float64)
    dist = ensemble(dh.get_family("student_t").distribution(df=4.0, loc=loc, scale=log_scale.exp()))
    y = torch.randn(100, generator=generator, dtype=torch.float64)
    last = dist[95:]
    torch.testing.assert_close(dist.crps(y)[95:], last.crps(y[95:]), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dist.entropy()[95:], last.entropy(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        dist.mutual_information[95:], last.mutual_information, rtol=1e-12, atol=1e-12
    )


def test_crps_of_a_component_too_narrow_for_the_numbers_around_it():
    """Its density cannot be seen between two numbers; its cdf is a step, as that of a component
    that can is nearly.
    """
    family = dh.get_family("mixture", component="student_t", num_components=2)
    y = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)

    def crps(scale):
        scales = torch.tensor([scale, 1.0], dtype=torch.float64)
        loc, df = torch.tensor([-2.0, 1.5]), torch.tensor([3.0, 4.0])
        return family.distribution(
            logits=torch.tensor([0.4, 0.0]), df=df, loc=loc, scale=scales
        ).crps(y)

    torch.testing.assert_close(crps(1e-27), crps(1e-9), rtol=0, atol=1e-8)


def test_crps_from_densities_is_that_from_cdfs(generator):
    """Heavy tails, members far apart and of very different widths."""
    loc, log_scale = 5 * torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    dist = ensemble(
        dh.get_family("student_t").distribution(df=1.6, loc=loc, scale=(log_scale / 3).exp())
    )
    y = torch.zeros(3, dtype=torch.float64)
    nodes, weights = dist._nodes()
    members = dist.probs.unsqueeze(-2) * dist.probs.unsqueeze(-1)
    cdfs = dist.components.cdf(nodes.unsqueeze(-1))
    between = (cdfs.unsqueeze(-1) - cdfs.unsqueeze(-2)).square()
    disagreement = 0.5 * (weights.unsqueeze(-1).unsqueeze(-1) * members * between).sum((0, -2, -1))
    own = (dist.probs * dist.components.crps(y.unsqueeze(-1))).sum(-1)
    torch.testing.assert_close(dist.crps(y), own - disagreement, rtol=1e-10, atol=1e-10)
