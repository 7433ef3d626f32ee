"""Pyro sums our finite distributions out, in parallel over all outcomes."""

import math

import pyro
import pyro.distributions as pd
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate, infer_discrete
from pyro.optim import Adam
from torch.distributions import kl_divergence

import disthead as dh
from disthead.families import ensemble
from tests.cases import CASES, EVERYTHING, rows

OBSERVED = torch.tensor([0.3, 2.1, -0.7])


def log_evidence(model) -> torch.Tensor:
    pyro.clear_param_store()
    return torch.tensor(
        -TraceEnum_ELBO(max_plate_nesting=1).loss(config_enumerate(model), lambda: None)
    )


def normal_log_prob(y: torch.Tensor, loc: torch.Tensor) -> torch.Tensor:
    return torch.distributions.Normal(loc, 0.5).log_prob(y)


def exact(outcomes: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """log of the sum over outcomes (count,) with log-probabilities (count, rows) of what was
    observed.
    """
    return (
        (log_probs + normal_log_prob(OBSERVED, outcomes.unsqueeze(-1).float())).logsumexp(0).sum()
    )


CLASSES = dh.get_family("categorical", num_classes=3)


@pytest.mark.parametrize(
    "dist",
    [
        dh.get_family("bernoulli").distribution(probs=[0.1, 0.5, 0.9]),
        dh.get_family("bernoulli").from_raw(torch.tensor([[-1.0], [0.3], [2.0]])),
        CLASSES.distribution(probs=[[0.2, 0.3, 0.5], [0, 0.5, 0.5], [1, 0, 0]]),
        CLASSES.from_raw(torch.tensor([[0.1, 0.2, -1.0]])).expand((3,)),
        dh.get_family("mixture", component="bernoulli").distribution(
            probs=[0.2, 0.8], component_probs=torch.tensor([[0.1, 0.9], [0.4, 0.5], [0.0, 1.0]])
        ),
        ensemble(dh.get_family("bernoulli").distribution(probs=[[0.1, 0.5, 0.9], [0.3, 0.1, 0.8]])),
        ensemble(
            CLASSES.from_raw(torch.tensor([[[0.1, 0.2, -1.0]], [[0, 0, 1]]]))
        ).expand((3,)),
    ],
    ids=[
        "bernoulli", "bernoulli of a head", "categorical", "expanded", "mixture", "ensemble",
        "ensemble of classes",
    ],
)  # fmt: skip
def test_an_enumerated_site_is_summed_out_exactly(dist):
    def model():
        with pyro.plate("rows", 3):
            z = pyro.sample("z", dist)
            pyro.sample("y", pd.Normal(z.float(), 0.5), obs=OBSERVED)

    outcomes = dist.enumerate_support(expand=False)
    assert outcomes.shape[1:] == (1,)
    expected = exact(outcomes.squeeze(-1), dist.log_prob(outcomes))
    torch.testing.assert_close(log_evidence(model), expected)


def test_other_units_are_enumerated_row_by_row():
    dist = (
        dh.get_family("bernoulli")
        .distribution(probs=[0.1, 0.5, 0.9])
        .affine(torch.tensor([0.0, 1.0, 2.0]), torch.tensor(3.0))
    )

    def model():
        with pyro.plate("rows", 3):
            z = pyro.sample("z", dist)
            pyro.sample("y", pd.Normal(z, 0.5), obs=OBSERVED)

    probs = torch.tensor([[0.9, 0.5, 0.1], [0.1, 0.5, 0.9]])
    values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    torch.testing.assert_close(
        log_evidence(model), (probs.log() + normal_log_prob(OBSERVED, values)).logsumexp(0).sum()
    )


def test_a_masked_site_counts_only_where_the_mask_says():
    dist = dh.get_family("bernoulli").distribution(probs=[0.1, 0.5, 0.9])
    mask = torch.tensor([True, False, True])

    def model():
        with pyro.plate("rows", 3):
            z = pyro.sample("z", dist.mask(mask))
            pyro.sample("y", pd.Normal(z, 0.5).mask(mask), obs=OBSERVED)

    likelihood = (
        dist.log_prob(torch.tensor([[0.0], [1.0]]))
        + normal_log_prob(OBSERVED, torch.tensor([[0.0], [1.0]]))
    ).logsumexp(0)
    torch.testing.assert_close(
        log_evidence(model), likelihood[mask].sum() + math.log(2)
    )  # two outcomes of the other row


def test_several_outputs_are_enumerated_as_all_their_combinations():
    dist = (
        dh.get_family("categorical", num_classes=3)
        .from_raw(torch.tensor([[0.1, 0.2, -1.0], [1.0, 0.0, 0.5]]))
        .to_event(1)
    )
    outcomes = dist.enumerate_support()
    assert outcomes.shape == (9, 2)
    assert len(outcomes.unique(dim=0)) == 9
    torch.testing.assert_close(dist.log_prob(outcomes).exp().sum(), torch.tensor(1.0))

    def model():
        z = pyro.sample("z", dist)
        pyro.sample("y", pd.Normal(z.sum(-1).float(), 0.5), obs=OBSERVED[1])

    expected = (
        dist.log_prob(outcomes) + normal_log_prob(OBSERVED[1], outcomes.sum(-1).float())
    ).logsumexp(0)
    torch.testing.assert_close(log_evidence(model), expected)


def test_the_posterior_of_an_enumerated_site_is_that_of_bayes():
    dist = dh.get_family("bernoulli").distribution(probs=0.2)

    @infer_discrete(first_available_dim=-2)
    @config_enumerate
    def posterior():
        with pyro.plate("rows", 4000):
            z = pyro.sample("z", dist)
            pyro.sample("y", pd.Normal(z, 0.5), obs=torch.tensor(0.6).expand(4000))
        return z

    pyro.set_rng_seed(0)
    likelihood = normal_log_prob(torch.tensor(0.6), torch.tensor([0.0, 1.0])).exp() * torch.tensor(
        [0.8, 0.2]
    )
    expected = float(likelihood[1] / likelihood.sum())
    assert abs(float(posterior().mean()) - expected) < 4 * math.sqrt(
        expected * (1 - expected) / 4000
    )


def test_weights_are_learned_through_an_enumerated_site():
    """The gradient of the evidence by a probability, in one step, is that of the sum."""

    def model():
        probs = pyro.param("probs", torch.tensor(0.3))
        with pyro.plate("rows", 3):
            z = pyro.sample("z", dh.get_family("bernoulli").distribution(probs=probs))
            pyro.sample("y", pd.Normal(z, 0.5), obs=OBSERVED)

    pyro.clear_param_store()
    loss = SVI(
        config_enumerate(model),
        lambda: None,
        Adam({"lr": 0.0}),
        TraceEnum_ELBO(max_plate_nesting=1),
    ).step()
    probs = torch.tensor(0.3)
    expected = exact(torch.tensor([0.0, 1.0]), torch.stack([1 - probs, probs]).log().unsqueeze(-1))
    assert loss == pytest.approx(-float(expected), rel=1e-5)


FINITE = [
    case
    for case in EVERYTHING
    if case.kind in ("binary", "classes", "ordinal", "ranking")
    or (case.kind == "count" and hasattr(case.make_family().support, "upper_bound"))
]


@pytest.mark.parametrize("case", rows([case for case in EVERYTHING if case not in FINITE]))
def test_families_without_end_say_that_they_cannot_enumerate(case):
    dist = case.dist(batch=(2,))
    assert not dist.has_enumerate_support
    with pytest.raises(NotImplementedError, match="more than 65536 outcomes"):
        dist.enumerate_support()


@pytest.mark.parametrize("case", rows(FINITE))
def test_finite_families_enumerate(case):
    dist = case.dist(batch=(2,))
    assert dist.has_enumerate_support
    outcomes = dist.enumerate_support()
    assert outcomes.dtype == dist.sample().dtype
    assert outcomes.shape[1:] == dist.sample().shape
    torch.testing.assert_close(
        dist.log_prob(outcomes).exp().sum(0), torch.ones(2, dtype=torch.float64)
    )
    assert torch.equal(dist.enumerate_support(expand=False).expand(outcomes.shape), outcomes)


def test_too_many_outcomes_are_not_enumerated():
    assert (
        not dh.get_family("plackett_luce", event_shape=(9,))
        .from_raw(torch.zeros(9))
        .has_enumerate_support
    )
    many = dh.get_family("bernoulli").distribution(probs=torch.full((17,), 0.5))
    assert many.has_enumerate_support
    assert not many.to_event(1).has_enumerate_support


# Divergences from and to distributions of torch and Pyro.

TORCH = {
    "normal": lambda d, p: d.Normal(p["loc"], p["scale"]),
    "laplace": lambda d, p: d.Laplace(p["loc"], p["scale"]),
    "student_t": lambda d, p: d.StudentT(p["df"], p["loc"], p["scale"]),
    "exponential": lambda d, p: d.Exponential(p["rate"]),
    "gamma": lambda d, p: d.Gamma(p["concentration"], p["rate"]),
    "beta": lambda d, p: d.Beta(p["concentration1"], p["concentration0"]),
    "log_normal": lambda d, p: d.LogNormal(p["loc"], p["scale"]),
    "weibull": lambda d, p: d.Weibull(p["scale"], p["concentration"]),
    "von_mises": lambda d, p: d.VonMises(p["loc"], p["concentration"]),
    "bernoulli": lambda d, p: d.Bernoulli(logits=p["logits"]),
    "categorical": lambda d, p: d.Categorical(logits=p["logits"]),
    "poisson": lambda d, p: d.Poisson(p["rate"]),
    "negative_binomial": lambda d, p: d.NegativeBinomial(p["total_count"], logits=p["logits"]),
    "multivariate_normal": lambda d, p: d.MultivariateNormal(p["loc"], scale_tril=p["scale_tril"]),
    "multivariate_normal low rank": lambda d, p: d.LowRankMultivariateNormal(
        p["loc"], p["cov_factor"], p["cov_diag"]
    ),
    "mixture of normals": lambda d, p: d.MixtureSameFamily(
        d.Categorical(logits=p["logits"]), d.Normal(p["loc"], p["scale"])
    ),
    "mixture of poissons": lambda d, p: d.MixtureSameFamily(
        d.Categorical(logits=p["logits"]), d.Poisson(p["rate"])
    ),
    "independent normals": lambda d, p: d.Independent(d.Normal(p["loc"], p["scale"]), 1),
}


@pytest.mark.parametrize("library", [torch.distributions, pd], ids=["torch", "pyro"])
@pytest.mark.parametrize("case", rows([case for case in CASES if case.name in TORCH]))
def test_divergences_between_ours_and_theirs_are_those_between_ours(case, library):
    ours, other = case.dist(), case.dist(shift=0.2)
    theirs = TORCH[case.name](library, other.parameters)
    torch.testing.assert_close(kl_divergence(ours, theirs), kl_divergence(ours, other))
    torch.testing.assert_close(kl_divergence(theirs, ours), kl_divergence(other, ours))
    torch.testing.assert_close(
        kl_divergence(case.dist(torch.float32), theirs),
        kl_divergence(ours, other),
        check_dtype=False,
        rtol=1e-5,
        atol=1e-5,
    )


def test_divergences_agree_with_torch_where_it_knows_them():
    p, q = torch.distributions.Normal(0.3, 1.2), torch.distributions.Normal(-0.5, 0.7)
    ours = dh.get_family("normal").distribution(loc=0.3, scale=1.2)
    torch.testing.assert_close(kl_divergence(ours, q), kl_divergence(p, q))
    assert float(kl_divergence(ours, p)) == pytest.approx(0, abs=1e-6)
    classes = dh.get_family("categorical", num_classes=3).distribution(probs=[0.0, 0.5, 0.5])
    theirs = torch.distributions.Categorical(probs=torch.tensor([0.2, 0.3, 0.5]))
    torch.testing.assert_close(kl_divergence(classes, theirs), 0.5 * torch.tensor(5 / 3).log())
    assert kl_divergence(theirs, classes) == math.inf


def test_what_has_no_counterpart_says_so():
    ours = dh.get_family("normal").distribution(loc=0.0, scale=1.0)
    with pytest.raises(NotImplementedError):
        kl_divergence(ours, torch.distributions.HalfNormal(1.0))
    vectors = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2)),
        torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2, 3), 1.0), 1),
    )
    with pytest.raises(NotImplementedError, match="vectors"):
        kl_divergence(ours, vectors)
