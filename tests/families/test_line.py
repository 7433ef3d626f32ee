"""Losses, limits and relations for which families on the line and in (0, 1) are known."""

import math

import numpy as np
import pytest
import scipy.optimize as so
import scipy.stats as st
import torch

import disthead as dh

Y = torch.linspace(-3, 4, 29, dtype=torch.float64)


def made(name: str, options: dict | None = None, **parameters: float) -> dh.Distribution:
    values = {key: torch.tensor(value, dtype=torch.float64) for key, value in parameters.items()}
    return dh.get_family(name, **(options or {})).distribution(**values)


def loss_of(name: str, loc: float = 0.3, options: dict | None = None, **fixed: float):
    """The loss of targets at scale 1, from its value at loc."""
    dist = made(name, options, loc=loc, scale=1.0, **fixed)
    return dist.log_prob(torch.tensor(loc, dtype=torch.float64)) - dist.log_prob(Y)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_the_loss_of_asymmetric_laplace_is_the_quantile_loss(level):
    error = Y - 0.3
    pinball = torch.maximum(level * error, (level - 1) * error)
    torch.testing.assert_close(loss_of("asymmetric_laplace", asymmetry=level), pinball)
    dist = made("asymmetric_laplace", loc=0.3, scale=0.7, asymmetry=level)
    torch.testing.assert_close(dist.cdf(dist.loc), torch.tensor(level).double())


def test_a_head_with_a_fixed_quantile_learns_that_quantile():
    features = torch.zeros(999, 1, dtype=torch.float64)
    y = torch.randn(999, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()
    head = dh.DistributionHead("asymmetric_laplace", 1, quantile=0.9).double()
    head.initialize(y)
    assert list(head.params(features)) == ["loc", "scale", "asymmetry"]
    dist = head(features)
    assert (y <= dist.loc).double().mean() == pytest.approx(0.9, abs=2e-3)
    loss = torch.maximum(0.9 * (y - dist.loc), -0.1 * (y - dist.loc)) / dist.scale
    torch.testing.assert_close(-dist.log_prob(y), loss + dist.scale.log() - math.log(0.09))


def test_asymmetric_laplace_is_pyros_with_other_parameters():
    from pyro.distributions import AsymmetricLaplace

    p, scale = 0.8, 0.7
    both = math.sqrt(p * (1 - p))
    other = AsymmetricLaplace(0.3, torch.tensor(scale / both).double(), p / both)
    dist = made("asymmetric_laplace", loc=0.3, scale=scale, asymmetry=p)
    torch.testing.assert_close(dist.log_prob(Y), other.log_prob(Y))
    torch.testing.assert_close(dist.mean, other.mean)


def test_a_wrong_quantile_or_threshold_is_refused():
    for wrong in (0, 1.0, -0.5, 90):
        with pytest.raises(
            ValueError, match=r"quantile of asymmetric_laplace must be a level .* got"
        ):
            dh.get_family("asymmetric_laplace", quantile=wrong)
        if wrong <= 0:
            with pytest.raises(ValueError, match=r"delta of huber must be a positive number.* got"):
                dh.get_family("huber", delta=wrong)
    with pytest.raises(ValueError, match=r"min_df of skew_t must be zero or more, got -1"):
        dh.get_family("skew_t", min_df=-1)


@pytest.mark.parametrize("delta", [0.2, 1.0, 1.345])
def test_the_loss_of_huber_is_torchs(delta):
    torch_loss = torch.nn.functional.huber_loss(
        Y, torch.full_like(Y, 0.3), delta=delta, reduction="none"
    )
    torch.testing.assert_close(loss_of("huber", delta=delta), torch_loss)


def test_huber_lies_between_normal_and_laplace():
    wide, narrow = (made("huber", loc=0.3, scale=0.7, delta=delta) for delta in (30.0, 1e-5))
    for question in ("log_prob", "cdf", "crps"):
        normal = made("normal", loc=0.3, scale=0.7)
        torch.testing.assert_close(getattr(wide, question)(Y), getattr(normal, question)(Y))
        far = 7e4 * Y
        laplace = made("laplace", loc=0.3, scale=0.7e5)
        torch.testing.assert_close(
            getattr(narrow, question)(far), getattr(laplace, question)(far), rtol=1e-6, atol=1e-6
        )


def test_the_threshold_of_huber_is_fixed_or_learned():
    assert dh.get_family("huber").width() == 2
    assert dh.get_family("huber", delta=None).width() == 3
    dist = dh.get_family("huber", delta=2.0).from_raw(torch.zeros(1, 2))
    torch.testing.assert_close(dist.delta, torch.tensor([2.0]))


def test_the_loss_of_hyperbolic_secant_is_log_cosh():
    torch.testing.assert_close(loss_of("hyperbolic_secant"), torch.cosh(Y - 0.3).log())


def test_cauchy_is_student_t_with_one_degree_of_freedom():
    cauchy = made("cauchy", loc=0.3, scale=0.7)
    student = made("student_t", {"min_df": 0}, df=1.0, loc=0.3, scale=0.7)
    for question in ("log_prob", "cdf", "log_survival"):
        torch.testing.assert_close(getattr(cauchy, question)(Y), getattr(student, question)(Y))
    torch.testing.assert_close(cauchy.crps(Y), student.crps(Y), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("question", ["mean", "variance", "stddev"])
def test_cauchy_says_that_it_has_no_moments(question):
    with pytest.raises(NotImplementedError, match="diverges"):
        getattr(made("cauchy", loc=0.3, scale=0.7), question)


@pytest.mark.parametrize("power, other", [(1.0, "laplace"), (2.0, "normal")])
def test_generalized_normal_holds_laplace_and_normal(power, other):
    dist = made("generalized_normal", loc=0.3, scale=0.7, power=power)
    known = made(other, loc=0.3, scale=0.7 / math.sqrt(power))
    for question in ("log_prob", "cdf", "crps"):
        torch.testing.assert_close(getattr(dist, question)(Y), getattr(known, question)(Y))
    torch.testing.assert_close(dist.entropy(), known.entropy())


def test_without_skewness_the_skewed_families_are_the_symmetric_ones():
    normal = made("normal", loc=0.3, scale=0.7)
    student = made("student_t", df=3.0, loc=0.3, scale=0.7)
    pairs = [
        (made("skew_normal", loc=0.3, scale=0.7, slant=0.0), normal),
        (made("skew_t", loc=0.3, scale=0.7, slant=0.0, df=3.0), student),
        (made("sinh_arcsinh", loc=0.3, scale=0.7, skewness=0.0, tailweight=1.0), normal),
        (made("johnson_su", loc=0.3, scale=7e4, skewness=0.0, tailweight=1e5), normal),
    ]
    for dist, known in pairs:
        for question in ("log_prob", "cdf", "crps"):
            torch.testing.assert_close(
                getattr(dist, question)(Y), getattr(known, question)(Y), rtol=1e-6, atol=1e-6
            )
        torch.testing.assert_close(dist.entropy(), known.entropy(), rtol=1e-6, atol=1e-6)


def test_skew_t_of_many_degrees_of_freedom_is_skew_normal():
    dist = made("skew_t", loc=0.3, scale=0.7, slant=-2.0, df=1e8)
    known = made("skew_normal", loc=0.3, scale=0.7, slant=-2.0)
    for question in ("log_prob", "log_cdf", "log_survival", "crps"):
        torch.testing.assert_close(
            getattr(dist, question)(Y), getattr(known, question)(Y), rtol=1e-5, atol=1e-6
        )


def test_the_score_of_skew_t_is_the_quadrature():
    from disthead.distributions.continuous import Continuous

    dist, y = made("skew_t", loc=0.3, scale=0.7, slant=2.0, df=3.0), Y[[2, 12, 25]]
    torch.testing.assert_close(dist.crps(y), Continuous.crps(dist, y), rtol=1e-6, atol=1e-6)


def test_sinh_arcsinh_has_the_definition_of_tensorflow_probability():
    """Y = loc + 2 scale sinh((asinh(X) + skewness) tailweight) / sinh(asinh(2) tailweight)."""
    dist = made("sinh_arcsinh", loc=0.3, scale=0.7, skewness=-0.4, tailweight=1.6)
    x = np.linspace(-3, 3, 13)
    y = 0.3 + 1.4 * np.sinh((np.arcsinh(x) - 0.4) * 1.6) / np.sinh(np.arcsinh(2) * 1.6)
    np.testing.assert_allclose(dist.cdf(torch.from_numpy(y)), st.norm.cdf(x), rtol=1e-12)


@pytest.mark.parametrize("name", ["kumaraswamy", "continuous_bernoulli"])
def test_moments_and_densities_are_torchs(name):
    y = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    if name == "kumaraswamy":
        parameters, kind = {"concentration1": 2.0, "concentration0": 3.0}, "Kumaraswamy"
    else:
        parameters, kind = {"logits": 1.3}, "ContinuousBernoulli"
    dist = made(name, **parameters)
    tensors = {key: torch.tensor(value).double() for key, value in parameters.items()}
    known = getattr(torch.distributions, kind)(**tensors, validate_args=False)
    torch.testing.assert_close(dist.log_prob(y), known.log_prob(y), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(dist.mean, known.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(dist.variance, known.variance, rtol=1e-5, atol=1e-6)


def test_continuous_bernoulli_takes_probabilities_and_exact_ends():
    by_probs = made("continuous_bernoulli", probs=0.8)
    by_logits = made("continuous_bernoulli", logits=math.log(4))
    ends = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    torch.testing.assert_close(by_probs.log_prob(ends), by_logits.log_prob(ends))
    difference = by_probs.log_prob(ends[2]) - by_probs.log_prob(ends[0])
    torch.testing.assert_close(difference, torch.tensor(math.log(4)).double())


def test_logit_normal_is_normal_on_the_scale_of_log_odds():
    dist, normal = (made(name, loc=0.3, scale=0.7) for name in ("logit_normal", "normal"))
    y = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    torch.testing.assert_close(dist.cdf(y), normal.cdf(y.logit()))
    volume = y.log() + torch.log1p(-y)
    torch.testing.assert_close(dist.log_prob(y) + volume, normal.log_prob(y.logit()))


def linear_likelihood(name: str, y: torch.Tensor, x: torch.Tensor, **options) -> float:
    """The greatest log-likelihood that a head on a linear feature finds by L-BFGS."""
    torch.manual_seed(0)
    head = dh.DistributionHead(name, 1, **options).double()
    head.initialize(y)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )

    def closure():
        optimizer.zero_grad()
        loss = dh.nll(head(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return -float(closure().detach()) * len(y)


ORACLES = {
    "gumbel": lambda loc, scale: st.gumbel_r(loc, scale),
    "cauchy": lambda loc, scale: st.cauchy(loc, scale),
    "hyperbolic_secant": lambda loc, scale: st.hypsecant(loc, scale),
}


@pytest.mark.parametrize("name", list(ORACLES))
def test_a_linear_head_finds_the_maximum_likelihood_of_scipy(name):
    generator = np.random.default_rng(0)
    x = generator.normal(size=300)
    y = 1 + 2 * x + np.exp(-0.3 + 0.4 * x) * generator.gumbel(size=300)

    def loss(theta):
        scale = np.logaddexp(0, theta[2] + theta[3] * x)
        return -ORACLES[name](theta[0] + theta[1] * x, scale).logpdf(y).sum()

    best = so.minimize(loss, [1.0, 2.0, 0.0, 0.0], method="BFGS")
    best = so.minimize(loss, best.x, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9})
    found = linear_likelihood(name, torch.from_numpy(y), torch.from_numpy(x)[:, None])
    assert found == pytest.approx(-best.fun, abs=1e-3)


@pytest.mark.parametrize(
    "name, dist",
    [
        ("gumbel", st.gumbel_r),
        ("asymmetric_laplace", st.laplace_asymmetric),
        ("skew_normal", st.skewnorm),
        ("johnson_su", st.johnsonsu),
        ("generalized_normal", st.gennorm),
    ],
)
def test_the_fit_without_features_is_as_good_as_scipys(name, dist):
    y = np.random.default_rng(1).gamma(9.0, size=500) - 9
    scipys = dist(*dist.fit(y)).logpdf(y).sum()
    ours = float(dh.marginal(name, torch.from_numpy(y)).log_prob(torch.from_numpy(y)).sum())
    assert ours > scipys - 1e-3
