"""The von Mises-Fisher distribution: claims that outsiders check."""

import math

import mpmath as mp
import numpy as np
import pytest
import scipy.stats as st
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.errors import TargetError
from disthead.families.von_mises import VonMises
from disthead.families.von_mises_fisher import VonMisesFisher
from disthead.special.sphere import normalised
from disthead.special.von_mises_fisher import (
    vmf_log_normalizer,
    vmf_mean_length,
    vmf_mean_length_complement,
)
from tests.truth import log_sphere_integral


def unit_vectors(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return normalised(torch.randn(count, size, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("size", [2, 3, 5, 64, 1000])
def test_normaliser_and_mean_length_at_fifty_digits(size):
    k = torch.tensor([1e-8, 0.3, 10, 29.9, 30.1, 1e3, 1e6], dtype=torch.float64)
    k.requires_grad_()
    value = vmf_log_normalizer(k, size)
    (slope,) = torch.autograd.grad(value.sum(), k)
    order = mp.mpf(size) / 2 - 1
    for row, number in enumerate(k.tolist()):
        number = mp.mpf(number)
        length = mp.besseli(order + 1, number) / mp.besseli(order, number)
        truth = log_sphere_integral(number, size) - number
        assert abs(value[row].item() - truth) < 1e-14 * max(1, abs(truth))
        for ours, exact in (
            (vmf_mean_length(k, size), length),
            (vmf_mean_length_complement(k, size), 1 - length),
            (-slope, 1 - length),
        ):
            assert abs(ours[row].item() / exact - 1) < 1e-13


def test_in_the_plane_it_is_von_mises():
    loc, k = torch.tensor(0.7, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)
    y = torch.tensor([-3.0, 0.5, 1.0], dtype=torch.float64)

    def vector(angle):
        return torch.stack([angle.cos(), angle.sin()], -1)

    dist, angles = VonMisesFisher(vector(loc), k), VonMises(loc, k)
    torch.testing.assert_close(dist.log_prob(vector(y)), angles.log_prob(y))
    torch.testing.assert_close(dist.entropy(), angles.entropy())
    torch.testing.assert_close(1 - dist.mean_resultant_length, angles.variance)


def test_in_space_it_is_in_closed_form():
    y = unit_vectors(4, 3)
    for k in (1e-3, 2.0, 40.0, 1e4):
        dist = VonMisesFisher(y[0], torch.tensor(k, dtype=torch.float64))
        constant = math.log(k / (2 * math.pi * -math.expm1(-2 * k)))
        expected = constant + k * (y @ y[0] - 1)
        torch.testing.assert_close(dist.log_prob(y), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [2, 3, 10])
def test_scipy_agrees(size):
    y = unit_vectors(5, size)
    dist = VonMisesFisher(y[0], torch.tensor(2.5, dtype=torch.float64))
    truth = st.vonmises_fisher(y[0].numpy(), 2.5)
    np.testing.assert_allclose(dist.log_prob(y), truth.logpdf(y.numpy()), rtol=1e-11)
    np.testing.assert_allclose(dist.entropy(), truth.entropy(), rtol=1e-11)


@pytest.mark.parametrize("size, k", [(2, 0.5), (3, 4.0), (5, 300.0), (8, 1e-6)])
def test_samples_have_the_moments_of_the_formulas(size, k):
    torch.manual_seed(2)
    p = VonMisesFisher(unit_vectors(1, size)[0], torch.tensor(k, dtype=torch.float64))
    q = VonMisesFisher(unit_vectors(2, size)[1], torch.tensor(2.0, dtype=torch.float64))
    y = p.sample((20_000,))
    torch.testing.assert_close(y.norm(dim=-1), torch.ones(len(y), dtype=torch.float64))
    deviation = y - p.mean
    products = deviation.unsqueeze(-1) * deviation.unsqueeze(-2)
    for terms, exact in (
        (deviation, torch.zeros(size, dtype=torch.float64)),
        (products, p.covariance),
        (-p.log_prob(y), p.entropy()),
        (p.log_prob(y) - q.log_prob(y), kl_divergence(p, q)),
    ):
        error = (terms.mean(0) - exact).abs()
        assert (error < 4.5 * terms.std(0) / math.sqrt(len(y)) + 1e-9).all()
    torch.testing.assert_close(p.covariance.diagonal(), p.variance)


def test_vectors_of_another_length_are_refused_with_what_to_do():
    family = dh.get_family("von_mises_fisher", event_shape=(3,))
    with pytest.raises(TargetError, match="Divide each by its length"):
        family.check_target(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    with pytest.raises(ValueError, match="take bernoulli"):
        dh.get_family("von_mises_fisher", event_shape=(1,))
