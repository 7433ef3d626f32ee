"""Wrappers and mixtures over bases whose mean, variance or score is infinite, or does not exist."""

import numpy as np
import pytest
import scipy.stats as st
import torch

import disthead as dh


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def wrapped(name: str, alpha: float, **options):
    family = dh.get_family(name, base="pareto", **options)
    own = {"gate": tensor(0.3)} if name in ("hurdle", "inflated") else {}
    return family.distribution(scale=tensor(1.0), alpha=tensor(alpha), **own)


def mixed(*alpha: float):
    family = dh.get_family("mixture", component="pareto")
    logits, scale = torch.zeros(2, dtype=torch.float64), tensor(1.0, 1.0)
    return family.distribution(logits=logits, scale=scale, alpha=tensor(*alpha))


@pytest.mark.parametrize("alpha", [0.4, 0.8, 1.5])
@pytest.mark.parametrize("name", ["hurdle", "inflated", "discretised", "mixture"])
def test_infinite_moments_stay_infinite(name, alpha):
    dist = mixed(alpha, 3.0) if name == "mixture" else wrapped(name, alpha)
    y = tensor(3.0)
    assert dist.mean.isinf().all() == (alpha <= 1)
    assert dist.variance.isposinf().all()
    assert dist.stddev.isposinf().all()
    assert dist.crps(y).isposinf().all() == (alpha <= 0.5)
    assert not dist.crps(y).isnan().any()


def test_parts_of_an_infinite_variance():
    dist = mixed(0.5, 0.7)
    assert dist.aleatoric.isposinf()
    assert dist.epistemic.isposinf()


def test_a_base_of_no_weight_has_no_part_in_the_moments():
    family = dh.get_family("inflated", base="pareto", value=2.0)
    dist = family.distribution(scale=tensor(1.0), alpha=tensor(0.5), gate=tensor(1.0))
    assert dist.mean.item() == 2
    assert dist.variance.item() == 0
    family = dh.get_family("mixture", component="pareto")
    dist = family.distribution(
        probs=tensor(0.0, 1.0), scale=tensor(1.0, 1.0), alpha=tensor(0.5, 3.0)
    )
    torch.testing.assert_close(dist.mean, torch.tensor(1.5, dtype=torch.float64))
    torch.testing.assert_close(dist.variance, torch.tensor(0.75, dtype=torch.float64))


def test_rounded_numbers_have_no_mean_where_the_numbers_have_none():
    dist = dh.get_family("discretised", base="cauchy").distribution(loc=0.0, scale=1.0)
    for question in ("mean", "variance", "stddev"):
        with pytest.raises(NotImplementedError, match="diverges"):
            getattr(dist, question)


@pytest.mark.parametrize("y", [-50.0, 0.0, 4.25])
def test_scores_of_rounded_heavy_tails(y):
    family = dh.get_family("discretised", base="student_t")
    dist = family.distribution(loc=tensor(0.3), scale=tensor(2.0), df=tensor(1.5))
    k = np.arange(-1e6, 1e6)
    cdf, survival = (tail((k + 0.2) / 2, 1.5) for tail in (st.t.cdf, st.t.sf))
    passed = np.clip(y - k, 0, 1)
    expected = np.sum(passed * cdf**2 + (1 - passed) * survival**2)
    assert dist.crps(tensor(y)).item() == pytest.approx(expected, rel=1e-7)
