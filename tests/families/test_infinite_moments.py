"""Wrappers and mixtures over bases whose mean, variance or score is infinite, or does not exist."""

import math

import mpmath as mp
import numpy as np
import pytest
import scipy.special as sc
import scipy.stats as st
import torch

import disthead as dh
from disthead.distributions.censored import Censored
from disthead.distributions.truncated import truncated
from tests.cases import CASES, rows


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


# families whose upper tail falls as y^-index, at a chosen index; skew_t has that of student_t
HEAVY = {
    "pareto": lambda index: {"scale": tensor(1.0), "alpha": tensor(index)},
    "log_logistic": lambda index: {"scale": tensor(1.5), "concentration": tensor(index)},
    "inverse_gamma": lambda index: {"concentration": tensor(index), "rate": tensor(1.5)},
    "generalized_pareto": lambda index: {"scale": tensor(1.5), "concentration": tensor(1 / index)},
    "generalized_extreme_value": lambda index: {
        "loc": tensor(0.5),
        "scale": tensor(1.5),
        "concentration": tensor(1 / index),
    },
    "student_t": lambda index: {"df": tensor(index), "loc": tensor(0.5), "scale": tensor(1.5)},
    "cauchy": lambda _: {"loc": tensor(0.5), "scale": tensor(1.5)},
}


def heavy(name: str, index: float):
    return dh.get_family(name).distribution(**HEAVY[name](index))


def slopes(dist, is_upper: bool) -> np.ndarray:
    """How fast a tail falls against the logarithm of its quantile, farther and farther out."""
    tails = torch.tensor([1e-100, 1e-150, 1e-200, 1e-250], dtype=torch.float64)
    y = dist._quantile(*((1 - tails, tails) if is_upper else (tails, 1 - tails)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.diff(tails.log().numpy()) / np.diff(y.abs().log().numpy())


LINE = [case for case in CASES if case.kind == "continuous" and not case.outputs]


@pytest.mark.parametrize("case", rows(LINE))
def test_every_family_knows_how_its_tails_fall(case):
    dist = case.dist()
    for is_upper in (False, True):
        slope = slopes(dist, is_upper)
        index = float(torch.as_tensor(dist._tail_indices()[is_upper]))
        is_power = np.isfinite(slope).all() and slope[0] > 0 and abs(slope[2] / slope[0] - 1) < 1e-6
        assert is_power == math.isfinite(index)
        assert not is_power or slope[2] == pytest.approx(index, rel=1e-9)


@pytest.mark.parametrize("index", [0.5, 1.0, 1.2, 2.0, 2.2])
@pytest.mark.parametrize("name", HEAVY)
def test_moments_of_an_open_side_are_infinite_where_the_tail_says_so(name, index):
    index = 1.0 if name == "cauchy" else index
    base, y = heavy(name, index), tensor(3.0)
    has_lower_tail = name in ("student_t", "cauchy")
    whole = [
        truncated(base, lower=1.25),
        Censored(base).observed(lower=1.25),
        dh.get_family("hurdle", base=name).distribution(**HEAVY[name](index), gate=tensor(0.3)),
    ]
    whole.append(truncated(base.affine(tensor(1.0), tensor(2.0)), lower=1.25))
    for dist in whole:
        assert dist.mean.isposinf().all() == (index <= 1)
        assert dist.variance.isposinf().all() == (index <= 2)
        assert dist.crps(y).isposinf().all() == (index <= 0.5)
        assert not dist.mean.isnan().any()
        assert not dist.variance.isnan().any()
        assert not dist.crps(y).isnan().any()
    for dist in (truncated(base, upper=3.5), Censored(base).observed(upper=3.5)):
        below = index if has_lower_tail else math.inf
        assert dist.mean.isneginf().all() == (below <= 1)
        assert dist.variance.isposinf().all() == (below <= 2)
        assert dist.crps(y).isposinf().all() == (below <= 0.5)
    closed = truncated(base, 1.25, 3.5)
    assert torch.cat([closed.mean, closed.variance, closed.crps(y)]).isfinite().all()


@pytest.mark.parametrize("df", [0.8, 1.0, 1.5])
def test_two_heavy_tails_leave_no_mean(df):
    dist = Censored(heavy("student_t", df)).observed()
    assert dist.mean.isnan().all() == (df <= 1)
    assert (dist.variance.isnan() if df <= 1 else dist.variance.isposinf()).all()


@pytest.mark.parametrize("alpha", [0.51, 0.7, 1.01, 1.3, 2.02, 3.0])
def test_a_truncated_pareto_is_a_pareto(alpha):
    family = dh.get_family("pareto")
    cut = truncated(family.distribution(scale=tensor(1.0), alpha=tensor(alpha)), lower=2.0)
    same, y = family.distribution(scale=tensor(2.0), alpha=tensor(alpha)), tensor(1.0, 2.5, 40.0)
    for question in ("mean", "variance", "stddev"):
        torch.testing.assert_close(
            getattr(cut, question), getattr(same, question), rtol=1e-11, atol=0
        )
    torch.testing.assert_close(cut.crps(y), same.crps(y), rtol=1e-11, atol=0)


@pytest.mark.parametrize("df", [1.02, 1.5, 2.05, 4.0])
def test_moments_of_half_a_student_t(df):
    half = truncated(dh.get_family("student_t").distribution(df=tensor(df), loc=0.0, scale=1.0), 0)
    mean = 2 * math.sqrt(df / math.pi) * sc.poch(df / 2, 0.5) / (df - 1)
    assert half.mean.item() == pytest.approx(mean, rel=1e-11)
    if df > 2:
        assert half.variance.item() == pytest.approx(df / (df - 2) - mean**2, rel=1e-11)


@pytest.mark.parametrize("alpha", [1.02, 1.5, 2.05])
def test_moments_of_a_limit_and_of_whole_numbers(alpha):
    base = heavy("pareto", alpha)
    recorded = Censored(base).observed(lower=2.0)
    assert recorded.mean.item() == pytest.approx(2 + 2 * 2**-alpha / (alpha - 1), rel=1e-11)
    whole = dh.get_family("discretised", base="pareto", rounding="floor")
    counts = whole.distribution(scale=tensor(1.0), alpha=tensor(alpha))
    assert counts.mean.item() == pytest.approx(float(mp.zeta(alpha)), rel=1e-9)
    above = truncated(counts, lower=3)
    mean = 2 + 3**alpha * float(mp.zeta(alpha, 3))
    assert above.mean.item() == pytest.approx(mean, rel=1e-9)
    assert above.variance.isposinf().all() == (alpha <= 2)
    if alpha > 2:
        square = float(2 * mp.zeta(alpha - 1) - mp.zeta(alpha))
        assert counts.variance.item() == pytest.approx(
            square - float(mp.zeta(alpha)) ** 2, rel=1e-7
        )


@pytest.mark.parametrize("alpha", [0.505, 0.52, 0.7])
def test_score_of_a_mixture_of_nearly_infinite_ones(alpha):
    dist, y = mixed(alpha, alpha + 0.3), 7.0
    tails = (alpha, alpha + 0.3)
    # the integrals of products of both tails, which are powers, and of the squared cdf below y
    above = sum(0.25 * y ** (1 - a - b) / (a + b - 1) for a in tails for b in tails)
    below = mp.quad(lambda t: (1 - sum(t**-a for a in tails) / 2) ** 2, [1, 2, y])
    assert dist.crps(tensor(y)).item() == pytest.approx(float(below) + above, rel=1e-5)
