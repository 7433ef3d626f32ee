"""The Tweedie family: its series, its tails, and the claims of a generalised linear model."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.families.ensembles import ensemble
from disthead.families.tweedie import Tweedie
from tests import test_accuracy as accuracy
from tests.cases import TWEEDIE

CASE = TWEEDIE[0]
TRUTH = replace(CASE.truth, name=CASE.name, family=CASE.family)
each = pytest.mark.parametrize


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@each("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_series_is_exact(dtype):
    accuracy.test_log_prob_and_gradient(TRUTH, dtype, 12)
    accuracy.test_finite_wherever_the_truth_is_representable(TRUTH, dtype, 12)


@each("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_cdf_is_exact(dtype):
    accuracy.test_cdf(TRUTH, dtype, 12)


def some() -> Tweedie:
    """Often zero, never zero, and powers near both ends."""
    return Tweedie(
        double(2.0, 0.1, 50.0, 1.0, 4.0),
        double(1.0, 1.0, 0.3, 5.0, 0.4),
        double(1.5, 1.5, 1.2, 1.9, 1.1),
    )


def test_the_score_of_the_mean_is_that_of_an_exponential_dispersion_model():
    """(y - mean) / (dispersion mean^power), at zeros, too."""
    mean = double(0.3, 2.0, 40.0).requires_grad_()
    for y in (0.0, 0.7, 90.0):
        for power in (1.1, 1.5, 1.9):
            log_prob = Tweedie(mean, 0.6, power).log_prob(double(y))
            (slope,) = torch.autograd.grad(log_prob.sum(), mean)
            torch.testing.assert_close(slope, ((y - mean) / (0.6 * mean**power)).detach())


def test_quantiles_invert_the_cdf_and_are_0_up_to_its_probability():
    dist, q = some(), double(1e-9, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9).unsqueeze(-1)
    y = dist.icdf(q)
    zero = q <= dist.cdf(double(0.0))
    assert torch.equal(y == 0, zero.expand(y.shape))
    torch.testing.assert_close(torch.where(zero, q, dist.cdf(y)), q.expand(y.shape))
    torch.testing.assert_close(dist.log_survival(y).exp(), 1 - dist.cdf(y), rtol=0, atol=1e-12)
    assert dist.icdf(double(0.0, 1.0).unsqueeze(-1))[1].isinf().all()
    below, through = dist.cdf_limits(double(0.0))
    assert (below == 0).all()
    torch.testing.assert_close(through, dist.log_prob(double(0.0)).exp())
    lower, upper = dist.interval(0.8)
    assert (lower <= dist.median).all()
    assert (dist.median <= upper).all()


def test_density_is_the_slope_of_the_cdf():
    y = double(0.01, 0.5, 3.0, 60.0).unsqueeze(-1).requires_grad_()
    (slope,) = torch.autograd.grad(some().cdf(y).sum(), y)
    density = some().log_prob(y.detach().expand(4, 5)).exp().sum(-1, keepdim=True)
    torch.testing.assert_close(slope, density, rtol=1e-8, atol=1e-12)


def integral(dist: Tweedie, function) -> torch.Tensor:
    """E[function(Y)] by a fine grid of log(y) and the probability of 0."""
    v = torch.linspace(-40, 6, 1201, dtype=torch.float64).unsqueeze(-1)
    y = v.exp()
    step = float(v[1] - v[0])
    zero = double(0.0)
    density = dist.log_prob(y).exp()
    return (step * y * density * function(y)).sum(0) + dist.log_prob(zero).exp() * function(zero)


def test_moments_and_entropy_are_expectations():
    dist = some()[:3]
    torch.testing.assert_close(integral(dist, torch.ones_like), torch.ones(3).double())
    torch.testing.assert_close(integral(dist, lambda y: y), dist.mean)
    torch.testing.assert_close(
        integral(dist, lambda y: (y - dist.mean).square()), dist.variance, rtol=1e-8, atol=0
    )
    torch.testing.assert_close(
        integral(dist, lambda y: -dist.log_prob(y)), dist.entropy(), rtol=1e-8, atol=1e-9
    )
    other = Tweedie(2.0, double(0.7), 1.4)
    difference = integral(dist, lambda y: dist.log_prob(y) - other.log_prob(y))
    torch.testing.assert_close(kl_divergence(dist, other), difference, rtol=1e-7, atol=1e-9)


@each("y", [-0.5, 0.0, 0.3, 7.0])
def test_crps_is_the_integral_over_the_cdf(y):
    dist = some()[:2]
    t = (torch.arange(1500, dtype=torch.float64).unsqueeze(-1) + 0.5) * 0.02
    expected = ((dist.cdf(t) - (t >= y).double()).square() * 0.02).sum(0) + max(-y, 0.0)
    torch.testing.assert_close(dist.crps(double(y)), expected, rtol=1e-4, atol=1e-4)


def test_samples_have_its_distribution():
    dist = some()
    y = dist.sample((10_000,), generator=torch.Generator().manual_seed(0))
    close = 5 * (dist.variance / len(y)).sqrt()
    assert ((y.mean(0) - dist.mean).abs() < close).all()
    share = dist.cdf(double(0.0))
    assert (((y == 0).double().mean(0) - share).abs() < 5 * (share / len(y)).sqrt() + 1e-9).all()
    pit = dist.pit(y[:500], generator=torch.Generator().manual_seed(1)).sort(0).values
    uniform = torch.linspace(0, 1, 500, dtype=torch.float64).unsqueeze(-1)
    assert ((pit - uniform).abs().amax(0) < 2 / 500**0.5).all()


def test_highest_density_holds_its_level_and_is_no_longer_than_the_central_interval():
    dist = some()[:1]
    lower, upper = dist.highest_density(0.5)
    below = torch.where(lower == 0, 0.0, dist.cdf(lower))
    torch.testing.assert_close(dist.cdf(upper) - below, torch.full_like(below, 0.5))
    central = dist.interval(0.5)
    assert (upper - lower <= central.upper - central.lower).all()


@each("options", [{}, {"power": None}], ids=["power known", "power learned"])
def test_a_linear_head_reaches_the_maximum_likelihood(options):
    """The equations of the generalised linear model hold, and so do those of the other
    parameters.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 1, generator=generator, dtype=torch.float64)
    y = Tweedie((0.3 + 0.5 * x[:, 0]).exp(), double(0.8), 1.4).sample(generator=generator)
    shared = ("dispersion", "power") if options else ("dispersion",)
    head = dh.DistributionHead("tweedie", 1, links={"mean": "exp"}, shared=shared, **options)
    head = head.double()
    head.initialize(y)
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=200,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
    )

    def closure():
        optimizer.zero_grad()
        loss = dh.nll(head(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    closure()
    assert all(parameter.grad.abs().max() < 1e-5 for parameter in head.parameters())
    values = head.params(x)
    residual = ((y - values["mean"]) / values["mean"] ** (values["power"] - 1)).detach()
    assert abs(residual.mean()) < 1e-5
    assert abs((residual * x[:, 0]).mean()) < 1e-5


def test_a_power_outside_of_1_and_2_is_refused():
    for power in (1.0, 2.0, 0.0, 3.0):
        with pytest.raises(ValueError, match="between 1 and 2"):
            dh.get_family("tweedie", power=power)


def test_answers_that_it_has_not_say_why():
    with pytest.raises(NotImplementedError, match="score-function"):
        some().rsample()


def test_mixtures_of_tweedie_are_sums_of_their_components():
    family = dh.get_family("mixture", component="tweedie")
    parts = {
        "mean": torch.tensor([1.0, 4.0], dtype=torch.float64),
        "dispersion": torch.tensor([1.0, 0.6], dtype=torch.float64),
        "power": torch.tensor([1.5, 1.5], dtype=torch.float64),
    }
    weights = torch.tensor([0.6, 0.4], dtype=torch.float64)
    dist = family.distribution(probs=weights, **parts)
    components = dh.get_family("tweedie").distribution(**parts)
    y = torch.tensor([-1.0, 0.0, 0.3, 2.0, 9.0, torch.inf], dtype=torch.float64)
    each = components.cdf(y.unsqueeze(-1))
    torch.testing.assert_close(dist.cdf(y), (weights * each).sum(-1))
    for question in ("log_prob", "log_cdf", "log_survival"):
        each = getattr(components, question)(y.unsqueeze(-1)).exp()
        expected = (weights * each).sum(-1).log()
        torch.testing.assert_close(getattr(dist, question)(y), expected)
    torch.testing.assert_close(dist.mean, (weights * components.mean).sum(-1))
    levels = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(dist.cdf(dist.icdf(levels)), levels)
    assert dist.icdf(torch.tensor(0.05, dtype=torch.float64)) == 0

    # of an ensemble whose members agree, every answer is theirs
    twins = dh.get_family("tweedie").distribution(**{n: p[:1].repeat(2) for n, p in parts.items()})
    both = ensemble(twins)
    torch.testing.assert_close(both.log_prob(y), twins[0].log_prob(y))
    torch.testing.assert_close(both.variance, twins[0].variance)
    torch.testing.assert_close(both.entropy(), twins[0].entropy())
    torch.testing.assert_close(both.crps(y[1:3]), twins[0].crps(y[1:3]))
