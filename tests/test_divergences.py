"""Divergences against closed forms, numerical integrals, and each other."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats as st
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.divergences import NAMES
from tests.cases import EVERYTHING, Case, rows


def make(name, **parameters):
    parameters = {key: torch.tensor(value).double() for key, value in parameters.items()}
    return dh.get_family(name).distribution(**parameters)


P, Q = make("normal", loc=0.3, scale=0.5), make("normal", loc=-0.4, scale=1.7)
PAIRS = {
    "normals": (P, Q, st.norm(0.3, 0.5), st.norm(-0.4, 1.7)),
    "gamma and log_normal": (
        make("gamma", concentration=2.0, rate=1.5),
        make("log_normal", loc=0.2, scale=0.6),
        st.gamma(2.0, scale=1 / 1.5),
        st.lognorm(0.6, scale=math.exp(0.2)),
    ),
    "normal and student_t": (
        P,
        make("student_t", df=5.0, loc=0.0, scale=1.0),
        st.norm(0.3, 0.5),
        st.t(5.0),
    ),
}
every_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))


def integral(function, *frozen):
    cuts = np.unique(np.concatenate([f.ppf(np.linspace(1e-12, 1 - 1e-12, 60)) for f in frozen]))
    return sum(
        scipy.integrate.quad(function, *ends, epsabs=1e-13)[0] for ends in itertools.pairwise(cuts)
    )


@every_pair
def test_jensen_shannon_and_hellinger_are_their_integrals(pair):
    p, q, a, b = pair

    def middle(x):
        return np.logaddexp(a.logpdf(x), b.logpdf(x)) - math.log(2)

    shannon = integral(
        lambda x: (
            0.5 * a.pdf(x) * (a.logpdf(x) - middle(x)) + 0.5 * b.pdf(x) * (b.logpdf(x) - middle(x))
        ),
        a,
        b,
    )
    squared = integral(
        lambda x: 0.5 * (math.exp(a.logpdf(x) / 2) - math.exp(b.logpdf(x) / 2)) ** 2, a, b
    )
    assert dh.divergence("jensen_shannon", p, q).item() == pytest.approx(shannon, rel=1e-6)
    assert dh.divergence("hellinger", p, q).item() == pytest.approx(math.sqrt(squared), rel=1e-6)


@every_pair
def test_wasserstein_is_the_distance_of_quantiles(pair):
    p, q, a, b = pair
    square, _ = scipy.integrate.quad(
        lambda t: (a.ppf(t) - b.ppf(t)) ** 2, 0, 1, limit=500, epsrel=1e-9
    )
    assert dh.divergence("wasserstein", p, q).item() == pytest.approx(math.sqrt(square), rel=1e-5)


@every_pair
def test_kl_is_cross_entropy_less_entropy(pair):
    p, q, a, b = pair
    cross_entropy = integral(lambda x: -a.pdf(x) * b.logpdf(x), a)
    expected = cross_entropy - p.entropy().item()
    assert dh.divergence("kl", p, q).item() == pytest.approx(expected, rel=1e-6)
    assert dh.divergence("reverse_kl", q, p).item() == pytest.approx(expected, rel=1e-6)


def test_counts_and_classes_are_sums():
    a, b = st.poisson(3.0), st.poisson(4.5)
    k = np.arange(200)
    expected = math.sqrt(0.5 * ((np.sqrt(a.pmf(k)) - np.sqrt(b.pmf(k))) ** 2).sum())
    p, q = make("poisson", rate=3.0), make("poisson", rate=4.5)
    assert dh.divergence("hellinger", p, q).item() == pytest.approx(expected, rel=1e-9)
    p, q = (
        dh.get_family("categorical", num_classes=3).distribution(probs=probs)
        for probs in ([0.2, 0.8, 0.0], [0.5, 0.25, 0.25])
    )
    first, second = np.array([0.2, 0.8, 0.0]), np.array([0.5, 0.25, 0.25])
    middle = (first + second) / 2
    shannon = 0.5 * sum(
        (part[part > 0] * np.log(part[part > 0] / middle[part > 0])).sum()
        for part in (first, second)
    )
    assert dh.divergence("jensen_shannon", p, q).item() == pytest.approx(shannon, rel=1e-6)


def gaussian(seed):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(3, 3, generator=generator, dtype=torch.float64).tril()
    factor = factor.tril(-1) + factor.diagonal().abs().add(0.5).diag()
    loc = torch.randn(3, generator=generator, dtype=torch.float64)
    return dh.get_family("multivariate_normal", event_shape=(3,)).distribution(
        loc=loc, scale_tril=factor
    )


def test_vectors():
    p, q = gaussian(0), gaussian(1)
    # the optimal map from p to q is linear: its cost by samples
    a, b = p.covariance, q.covariance
    root = torch.linalg.cholesky(a)
    inner = root.mT @ b @ root
    values, vectors = torch.linalg.eigh(inner)
    of_inner = vectors @ values.sqrt().diag() @ vectors.mT
    inverse = torch.linalg.inv(root)
    transport = inverse.mT @ of_inner @ inverse
    torch.testing.assert_close(transport @ a @ transport, b)  # it maps p to q
    cost = (p.loc - q.loc).square().sum() + torch.trace(
        (torch.eye(3).double() - transport) @ a @ (torch.eye(3).double() - transport).mT
    )
    torch.testing.assert_close(dh.divergence("wasserstein", p, q), cost.sqrt())
    ratios = torch.exp(0.5 * (q.log_prob(p.mean) - p.log_prob(p.mean)))
    assert ratios.isfinite()
    y = p.sample((200_000,), torch.Generator().manual_seed(2))
    overlap = torch.exp(0.5 * (q.log_prob(y) - p.log_prob(y))).mean().item()
    hellinger = dh.divergence("hellinger", p, q).item()
    assert hellinger == pytest.approx(math.sqrt(1 - overlap), rel=0.01)


def test_independent_outputs_add_up():
    p, q = (d.expand((2, 3)).to_event(1) for d in (P, Q))
    one = {name: dh.divergence(name, P, Q) for name in NAMES}
    torch.testing.assert_close(dh.divergence("kl", p, q), (3 * one["kl"]).expand(2))
    torch.testing.assert_close(
        dh.divergence("wasserstein", p, q), (math.sqrt(3) * one["wasserstein"]).expand(2)
    )
    overlap = (1 - one["hellinger"].square()) ** 3
    torch.testing.assert_close(dh.divergence("hellinger", p, q), (1 - overlap).sqrt().expand(2))


@pytest.mark.parametrize("name", NAMES)
def test_zero_for_equal_ones_and_a_gradient_towards_the_other(name):
    loc = torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)
    student = dh.get_family("normal").distribution(loc=loc, scale=0.5)
    values = dh.divergence(name, P, student)
    assert values.shape == (2,)
    assert values[0].item() == pytest.approx(0, abs=1e-7)
    assert values[1] > 0
    (gradient,) = torch.autograd.grad(values.sum(), loc)
    assert gradient.isfinite().all()
    assert gradient[1] > 0


def test_the_middle_is_nearer_than_log_2_and_hellinger_than_1():
    far = make("normal", loc=1e3, scale=0.1)
    assert dh.divergence("jensen_shannon", P, far).item() == pytest.approx(math.log(2), rel=1e-9)
    assert dh.divergence("hellinger", P, far).item() == pytest.approx(1, rel=1e-9)


def test_distilling_a_mixture_into_a_normal_covers_it_or_keeps_to_one_peak():
    teacher = dh.get_family("normal_mixture", num_components=2).distribution(
        probs=[0.7, 0.3], loc=[-2.0, 3.0], scale=[0.5, 0.5]
    )
    found = {}
    for name in ("kl", "reverse_kl"):
        loc = torch.tensor(-1.0, requires_grad=True)
        log_scale = torch.tensor(0.0, requires_grad=True)
        optimizer = torch.optim.Adam([loc, log_scale], lr=0.05)
        for _ in range(300):
            optimizer.zero_grad()
            student = dh.get_family("normal").distribution(loc=loc, scale=log_scale.exp())
            dh.divergence(name, teacher, student).backward()
            optimizer.step()
        found[name] = loc.item(), log_scale.exp().item()
    mean, std = teacher.mean.item(), teacher.stddev.item()
    assert found["kl"] == pytest.approx((mean, std), rel=0.02)  # moments are matched
    assert found["reverse_kl"] == pytest.approx((-2.0, 0.5), rel=0.05)


# Those whose entropy and divergence come from the definition, against a sum or an integral of ours.
SUMMED = [
    case
    for case in EVERYTHING
    if not case.event_shape
    and case.kind in ("continuous", "count", "binary", "classes", "ordinal")
    and {"entropy", "kl_divergence"} <= case.claims
    and not (case.has_pole or case.moving_support or case.heavy_tailed or case.has_steps)
    and (case.units is None or case.kind != "count")  # whose values are no whole numbers
    and case.family != "discretised"
]


def expectation(p, function):
    """E_p[function(Y)] by enumeration, or by Gauss and Legendre's rule over quantiles."""
    if p.kind in ("binary", "classes", "ordinal"):
        y = p.enumerate_support()
        return (p.log_prob(y).exp() * function(y)).sum(0)
    if p.kind == "count":
        most = p.icdf(torch.tensor(1 - 1e-12, dtype=torch.float64)).item()
        assert most < 1e5
        y = torch.arange(most + 1, dtype=torch.float64)
        weight = p.log_prob(y).exp()
        return torch.where(weight > 0, weight * function(y), 0.0).sum(0)
    nodes, weights = (torch.tensor(part) for part in np.polynomial.legendre.leggauss(400))
    return (function(p.icdf((nodes + 1) / 2)) * weights / 2).sum(0)


@pytest.mark.parametrize("case", rows(SUMMED))
def test_kl_is_cross_entropy_less_entropy_for_every_family(case: Case):
    raw = torch.tensor(case.raw, dtype=torch.float64)
    p = case.from_raw(raw)
    q = case.from_raw(raw + 0.05 * torch.arange(1, 1 + len(raw)))
    cross_entropy = expectation(p, lambda y: -q.log_prob(y))
    divergence = dh.divergence("kl", p, q)
    torch.testing.assert_close(divergence, cross_entropy - p.entropy(), rtol=1e-2, atol=1e-4)
    assert divergence > 0


@pytest.mark.parametrize("name", NAMES)
def test_distributions_of_torch_are_taken(name):
    p, q = torch.distributions.Normal(0.3, 0.5), torch.distributions.Normal(-0.4, 1.7)
    expected = dh.divergence(name, P, Q)
    torch.testing.assert_close(dh.divergence(name, p, q).double(), expected)
    torch.testing.assert_close(dh.divergence(name, P, q), expected, check_dtype=False)


def test_what_is_no_distribution_of_a_family_is_refused():
    with pytest.raises(
        NotImplementedError,
        match=r"q: HalfCauchy has no counterpart .*get_family\(\.\.\.\)\.distribution\(\.\.\.\)",
    ):
        dh.divergence("kl", P, torch.distributions.HalfCauchy(1.0))
    with pytest.raises(TypeError, match=r"p must be a distribution, .*got Tensor"):
        dh.divergence("kl", torch.ones(3), Q)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_rows_that_do_not_fit_are_refused(name):
    for p, q in [((3,), (2,)), ((3,), (3, 1)), ((3,), (1,))]:
        with pytest.raises(ValueError, match=r"p and q must have the same rows, got .*of p and"):
            dh.divergence(name, P.expand(p), Q.expand(q))
    members = dh.divergence(name, P.expand((5, 3)), Q.expand((3,)))
    torch.testing.assert_close(members, dh.divergence(name, P, Q).expand(5, 3))


def of_classes(count):
    return dh.get_family("categorical", num_classes=count).from_raw(torch.zeros(2, count))


@pytest.mark.parametrize("name", NAMES)
def test_targets_that_differ_are_refused(name):
    pair = P.expand((2,)), Q.expand((2,)).to_event(1)
    with pytest.raises((ValueError, NotImplementedError), match=r"event_shape|kinds, continuous"):
        dh.divergence(name, *pair)
    with pytest.raises(ValueError, match=r"got the event_shape \(2,\) of .* and \(3,\)"):
        dh.divergence(name, P.expand((2,)).to_event(1), Q.expand((3,)).to_event(1))
    with pytest.raises(ValueError, match="got 3 classes of p and 4 of q"):
        dh.divergence(name, of_classes(3), of_classes(4))
    direction = dh.get_family("von_mises").distribution(loc=0.0, concentration=1.0)
    two = dh.get_family("bernoulli").distribution(logits=torch.zeros(2))
    for p, q in [(P, direction), (two, of_classes(2))]:
        kinds = rf"have no {name}: their targets are of two kinds, {p.kind} and {q.kind}"
        with pytest.raises(NotImplementedError, match=kinds):
            dh.divergence(name, p, q)
        with pytest.raises(NotImplementedError, match=kinds):
            dh.divergence(name, p.expand((2,)).to_event(1), q.expand((2,)).to_event(1))


def student_of_vectors():
    family = dh.get_family("multivariate_student_t", event_shape=(3,))
    return family.from_raw(torch.zeros(family.width(), dtype=torch.float64))


def test_what_has_no_divergence_says_so():
    with pytest.raises(ValueError, match="unknown divergence 'helinger'; did you mean 'hellinger'"):
        dh.divergence("helinger", P, Q)
    for name, ours in (("kl_div", "kl"), ("js", "jensen_shannon")):
        with pytest.raises(ValueError, match=f"divergence '{name}'; it is called '{ours}' here"):
            dh.divergence(name, P, Q)
    with pytest.raises(ValueError, match="unknown divergence 'mse'"):
        dh.divergence("mse", P, Q)
    with pytest.raises(NotImplementedError, match="numbers with a density"):
        dh.divergence("wasserstein", make("poisson", rate=1.0), make("poisson", rate=2.0))
    with pytest.raises(NotImplementedError, match="numbers, classes and rankings"):
        dh.divergence("hellinger", gaussian(0), student_of_vectors())
    with pytest.raises(NotImplementedError, match=r"have no kl: .*over samples y of p"):
        dh.divergence("reverse_kl", gaussian(0), student_of_vectors())
    assert kl_divergence(P, Q) == dh.divergence("kl", P, Q)
