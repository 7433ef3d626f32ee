"""The projected normal distribution: claims that outsiders check."""

import math

import numpy as np
import pyro.distributions as pyro
import torch

import disthead as dh
from disthead.families.projected_normal import ProjectedNormal


def test_pyro_agrees():
    """Pyro's density is that of unit vectors."""
    generator = torch.Generator().manual_seed(0)
    concentration = 2 * torch.randn(7, 2, generator=generator, dtype=torch.float64)
    y = torch.linspace(-3, 3, 7, dtype=torch.float64)
    vectors = torch.stack([y.cos(), y.sin()], -1)
    torch.testing.assert_close(
        ProjectedNormal(concentration).log_prob(y),
        pyro.ProjectedNormal(concentration).log_prob(vectors),
    )


def test_samples_are_directions_of_normal_vectors():
    dist = ProjectedNormal(torch.tensor([0.6, -0.8], dtype=torch.float64))
    vectors = np.random.default_rng(0).normal([0.6, -0.8], 1, (20_000, 2))
    angles = torch.as_tensor(np.arctan2(vectors[:, 1], vectors[:, 0]))
    pit = dist.cdf(angles)
    assert abs(pit.mean() - 0.5) < 8e-3
    assert abs(pit.var() - 1 / 12) < 3e-3
    length = math.hypot(angles.cos().mean(), angles.sin().mean())
    assert abs(1 - float(dist.variance) - length) < 0.015


def test_at_length_zero_all_directions_are_alike_and_gradients_are_finite():
    concentration = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    dist = ProjectedNormal(concentration)
    y = torch.tensor([-3.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(dist.cdf(y), (y + math.pi) / (2 * math.pi))
    torch.testing.assert_close(dist.crps(y), torch.full_like(y, math.pi / 4))
    assert abs(float(dist.variance.detach()) - 1) < 1e-15
    answers = dist.log_prob(y).sum() + dist.cdf(y).sum() + dist.crps(y).sum() + dist.variance
    (gradient,) = torch.autograd.grad(answers, concentration)
    assert gradient.isfinite().all()


def test_narrow_directions_are_normal():
    dist = ProjectedNormal(torch.tensor([1e4, 0.0], dtype=torch.float64))
    normal = dh.get_family("normal").distribution(loc=torch.tensor(0.0).double(), scale=1e-4)
    y = torch.tensor([-3e-4, 0.0, 2e-4], dtype=torch.float64)
    near = {"rtol": 1e-6, "atol": 1e-6}
    for name in ("log_prob", "cdf", "log_survival"):
        torch.testing.assert_close(getattr(dist, name)(y), getattr(normal, name)(y), **near)
    torch.testing.assert_close(dist.crps(y), normal.crps(y), rtol=1e-6, atol=0)
    torch.testing.assert_close(dist.stddev, normal.stddev, **near)


def test_a_linear_head_finds_the_direction_of_a_line():
    """Coordinates that are linear in the features, as of wind, are found again."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    weights, bias = torch.tensor([[2.0, -1.0]]).double(), torch.tensor([1.0, 0.5]).double()
    y = ProjectedNormal(x @ weights + bias).sample(generator=generator)
    head = dh.DistributionHead("projected_normal", 1).double()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = dh.nll(head(x), y)
        value.backward()
        return value

    optimizer.step(loss)
    torch.testing.assert_close(head(x).concentration, x @ weights + bias, atol=0.4, rtol=0.1)


def test_a_missing_concentration_makes_no_answer():
    dist = ProjectedNormal(torch.tensor([[math.nan, 0.0], [0.0, 0.0]]))
    for answer in (dist.variance, dist.stddev, dist.sample(), dist.crps(torch.zeros(2))):
        assert answer.isnan().tolist() == [True, False]
