"""A recalibrated distribution answers every question as its own density does, integrated by brute
force.
"""

import pytest
import scipy.stats as st
import torch

from disthead.calibration import QuantileRecalibration, ScaleCalibration
from disthead.families import Beta, Exponential, Gamma, NegativeBinomial, Normal, Poisson, StudentT

CASES = {
    "gamma": lambda: Gamma(torch.tensor([3.0, 0.7]).double(), 2.0),
    "beta": lambda: Beta(torch.tensor([3.0, 2.0]).double(), 2.0),
    "normal": lambda: Normal(torch.tensor([0.0, 5.0]).double(), 2.0),
    "student_t": lambda: StudentT(5.0, torch.tensor([0.0, 5.0]).double(), 2.0),
}


@pytest.fixture(scope="module", params=CASES)
def dist(request):
    """Two outputs, recalibrated on targets that the model has wrong in some way."""
    torch.manual_seed(0)
    base = CASES[request.param]()
    many = base.expand((400, 2)).to_event(1)
    y = many.sample()
    y = y.square() if request.param == "beta" else 1.3 * y
    return QuantileRecalibration().fit(many, y)(base.to_event(1)).base


class TestContinuousSurface:
    """Each answer against the density, integrated by brute force."""

    def grid(self, dist):
        """Points from tail to tail, at equal steps on the probit scale."""
        z = torch.linspace(-7.5, 7.5, 1501, dtype=torch.float64).unsqueeze(-1)
        return dist._quantile(
            torch.special.ndtr(z).expand(-1, 2), torch.special.ndtr(-z).expand(-1, 2)
        )

    def test_density_is_the_slope_of_the_cdf(self, dist):
        y = (
            dist.icdf(torch.tensor([[0.01], [0.2], [0.5], [0.9], [0.999]]).double())
            .detach()
            .requires_grad_()
        )
        (slope,) = torch.autograd.grad(dist.cdf(y).sum(), y)
        torch.testing.assert_close(slope, dist.log_prob(y).exp().detach(), rtol=1e-7, atol=0)

    def test_density_integrates_to_the_cdf_and_to_the_moments(self, dist):
        y = self.grid(dist)
        density = dist.log_prob(y).exp()
        torch.testing.assert_close(
            torch.trapezoid(density, y, dim=0), torch.ones(2).double(), rtol=0, atol=1e-4
        )
        mean = torch.trapezoid(density * y, y, dim=0)
        torch.testing.assert_close(dist.mean, mean, rtol=1e-4, atol=1e-4)
        variance = torch.trapezoid(density * (y - mean).square(), y, dim=0)
        torch.testing.assert_close(dist.variance, variance, rtol=5e-3, atol=0)
        torch.testing.assert_close(dist.stddev, dist.variance.sqrt())
        entropy = -torch.trapezoid(density * dist.log_prob(y), y, dim=0)
        torch.testing.assert_close(dist.entropy(), entropy, rtol=0, atol=1e-3)

    def test_crps_is_the_integral_of_the_squared_distance_of_cdfs(self, dist):
        y = dist.icdf(torch.tensor([0.3, 0.9]).double())
        t = torch.cat([self.grid(dist), y.unsqueeze(0)]).sort(0).values
        below, above = dist.cdf(t).square(), dist.log_survival(t).exp().square()
        piece = torch.where(t[1:] <= y, below[1:] + below[:-1], above[1:] + above[:-1])
        torch.testing.assert_close(
            dist.crps(y), (0.5 * piece * t.diff(dim=0)).sum(0), rtol=1e-4, atol=1e-6
        )

    def test_quantiles_invert_the_cdf_in_both_tails(self, dist):
        q = torch.tensor([[1e-12], [1e-3], [0.3], [0.5], [0.999]]).double().expand(5, 2)
        torch.testing.assert_close(dist.cdf(dist.icdf(q)), q, rtol=1e-8, atol=0)
        torch.testing.assert_close(dist.median, dist.icdf(torch.full((2,), 0.5).double()))
        y = dist.icdf(q)
        total = dist.log_cdf(y).exp() + dist.log_survival(y).exp()
        torch.testing.assert_close(total, torch.ones_like(total))
        lower, upper = dist.interval(0.8)
        torch.testing.assert_close(
            dist.cdf(upper) - dist.cdf(lower), torch.full((2,), 0.8).double()
        )
        short = dist.highest_density(0.8)
        torch.testing.assert_close(
            dist.cdf(short[1]) - dist.cdf(short[0]), torch.full((2,), 0.8).double()
        )
        assert (short[1] - short[0] <= upper - lower + 1e-9).all()

    def test_mode_is_the_highest_point(self, dist):
        y = self.grid(dist)
        height, at = dist.log_prob(y).max(0)
        reached = dist.log_prob(dist.mode) >= height - 1e-6
        assert reached.all(), (dist.mode, y.gather(0, at.unsqueeze(0)))

    def test_samples_follow_the_cdf_and_carry_gradients(self, dist):
        torch.manual_seed(0)
        u = dist.cdf(dist.sample((400,)))
        for output in range(2):
            assert st.kstest(u[:, output].numpy(), "uniform").pvalue > 1e-3
        name = next(
            name for name in ("concentration", "concentration1", "loc") if hasattr(dist.base, name)
        )
        learned = getattr(dist.base, name).detach().clone().requires_grad_()
        moved = dist.map(lambda part: learned if part is getattr(dist.base, name) else part)
        (gradient,) = torch.autograd.grad(moved.rsample().sum(), learned)
        assert gradient.isfinite().all()
        assert (gradient != 0).all()

    def test_batches_are_taken_apart(self, dist):
        y = dist.median
        torch.testing.assert_close(dist[1:].log_prob(y[1:]), dist.log_prob(y)[1:])
        torch.testing.assert_close(dist.expand((3, 2)).log_prob(y), dist.log_prob(y).expand(3, 2))


def test_counts_have_masses_that_sum_to_their_cdf():
    torch.manual_seed(0)
    rate = torch.tensor([0.3, 4.0, 60.0], dtype=torch.float64)
    truth, model = (
        NegativeBinomial(rate.expand(500, 3), torch.zeros(1).double()),
        Poisson(rate.expand(500, 3)),
    )
    r = QuantileRecalibration().fit(model.to_event(1), truth.sample())
    dist = r(Poisson(rate).to_event(1)).base
    k = torch.arange(2000, dtype=torch.float64).unsqueeze(-1).expand(-1, 3)
    mass = dist.log_prob(k).exp()
    torch.testing.assert_close(mass.cumsum(0)[:200], dist.cdf(k)[:200], rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(mass.sum(0), torch.ones(3).double())
    mean = (mass * k).sum(0)
    torch.testing.assert_close(dist.mean, mean, rtol=1e-8, atol=0)
    torch.testing.assert_close(
        dist.variance, (mass * (k - mean).square()).sum(0), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(dist.mode, mass.argmax(0).double())
    torch.testing.assert_close(dist.entropy(), -torch.xlogy(mass, mass).sum(0), rtol=1e-6, atol=0)
    y = torch.tensor([1.0, 3.0, 70.0]).double()
    expected = (dist.cdf(k) - (k >= y).double()).square().sum(0)
    torch.testing.assert_close(dist.crps(y), expected, rtol=1e-6, atol=0)
    for q in (0.05, 0.5, 0.99):
        result = dist.icdf(torch.full((3,), q).double())
        torch.testing.assert_close(result, (dist.cdf(k) < q).sum(0).double())
    sample = dist.sample((4000,))
    torch.testing.assert_close(sample.mean(0), mean, rtol=0.1, atol=0)


def test_the_far_tail_of_a_model_that_is_much_too_narrow():
    """Quantiles whose probability under the model underflows, against those of the wide normal that
    results.
    """
    torch.manual_seed(0)
    gamma = Gamma(400.0, torch.ones(300).double())
    y = Gamma(4.0, 0.01 * torch.ones(300).double()).sample()
    wide = ScaleCalibration().fit(gamma, y)(gamma)
    q = torch.full((300,), 1e-9).double()
    assert wide.icdf(q).isfinite().all()
    torch.testing.assert_close(wide.log_cdf(wide.icdf(q)), q.log(), rtol=1e-9, atol=0)
    assert wide.log_prob(torch.full((300,), 1e4).double()).isfinite().all()


def test_values_on_the_edge_of_the_support_and_beyond():
    torch.manual_seed(0)
    model = Exponential(torch.ones(500).double())
    y = Gamma(3.0, torch.full((500,), 3.0).double()).sample()
    recalibrated_dist = QuantileRecalibration().fit(model, y)(model)
    assert (recalibrated_dist.log_prob(torch.full((500,), -1.0).double()) == -torch.inf).all()
    assert (
        recalibrated_dist.log_prob(torch.zeros(500).double()) < -100
    ).all()  # narrower: no density at zero
    assert (recalibrated_dist.cdf(torch.zeros(500).double()) == 0).all()
