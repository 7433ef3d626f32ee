"""Divergences that are infinite: of supports that differ, and of tails that are too heavy."""

import math

import pytest
import scipy.special as sc
import scipy.stats as st
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.distributions.truncated import truncated
from tests.cases import CASES, rows


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def make(name: str, **parameters: float):
    return dh.get_family(name).distribution(**{k: tensor(v) for k, v in parameters.items()})


def kl(p, q) -> float:
    return kl_divergence(p, q).item()


LINE = [case for case in CASES if case.kind == "continuous" and not case.outputs]
WITH_AN_END = [case for case in LINE if any(end.isfinite() for end in case.dist().support_limits())]


@pytest.mark.parametrize("case", rows(WITH_AN_END))
def test_a_shifted_support_leaves_some_out(case):
    dist = case.dist()
    lower, upper = dist.support_limits()
    above, below = (dist.affine(tensor(shift)[0], tensor(1.0)[0]) for shift in (0.125, -0.125))
    if lower.isfinite():
        assert kl(dist, above) == math.inf
        assert kl(below, dist) == math.inf
    if upper.isfinite():
        assert kl(dist, below) == math.inf
        assert kl(above, dist) == math.inf


@pytest.mark.parametrize(
    "name, parameters, own",
    [
        ("generalized_pareto", {"scale": 1.0}, (-0.4, -0.5)),
        ("generalized_extreme_value", {"loc": 0.0, "scale": 1.0}, (-0.4, -0.5)),
    ],
)
def test_the_longer_support_covers_the_shorter_one(name, parameters, own):
    long, short = (make(name, **parameters, concentration=c) for c in own)
    assert kl(long, short) == math.inf
    assert 0 < kl(short, long) < 1
    tracked = dh.get_family(name).distribution(
        **{k: tensor(v) for k, v in parameters.items()},
        concentration=tensor(own[1]).requires_grad_(),
    )
    assert kl(long, tracked) == math.inf


def test_of_paretos_and_of_truncated_numbers():
    p, q = make("pareto", scale=1.0, alpha=2.0), make("pareto", scale=2.0, alpha=3.0)
    assert kl(p, q) == math.inf
    # E_q log(y / 2) is 1 / 3
    expected = math.log(3 * 2**3 / 2) - math.log(2) - (1 / 3)
    assert kl(q, p) == pytest.approx(expected, rel=1e-9)
    normal = make("normal", loc=0.0, scale=1.0)
    wide, narrow = truncated(normal, 0.0, 2.0), truncated(normal, 0.0, 1.0)
    assert kl(wide, narrow) == math.inf
    share = (normal.cdf(tensor(1.0)) - 0.5) / (normal.cdf(tensor(2.0)) - 0.5)
    assert kl(narrow, wide) == pytest.approx(-share.log().item(), rel=1e-9)
    assert kl(wide, wide) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("df", [0.3, 1.0, 2.0, 2.05, 3.0, 30.0])
def test_a_heavy_tail_under_a_normal(df):
    p, q = make("student_t", df=df, loc=0.0, scale=1.0), make("normal", loc=0.0, scale=1.0)
    square = df / (df - 2) if df > 2 else math.inf
    expected = 0.5 * math.log(2 * math.pi) + 0.5 * square - st.t(df).entropy()
    assert kl(p, q) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("concentration", [0.7, 1.0, 1.02, 1.5, 3.0])
def test_a_density_that_vanishes_too_fast_at_zero(concentration):
    p = make("gamma", concentration=concentration, rate=1.5)
    q = make("inverse_gamma", concentration=2.0, rate=0.7)
    mean_log = sc.digamma(concentration) - math.log(1.5)
    inverse = 1.5 / (concentration - 1) if concentration > 1 else math.inf
    expected = -(2 * math.log(0.7) - 3 * mean_log - 0.7 * inverse)
    expected -= st.gamma(concentration, scale=1 / 1.5).entropy()
    assert kl(p, q) == pytest.approx(expected, rel=1e-9)


def test_hurdles_without_numbers_above_zero():
    family = dh.get_family("hurdle", base="pareto")
    gates = [tensor(1.0), tensor(0.5)]
    p, q = (
        family.distribution(scale=tensor(scale), alpha=tensor(2.0), gate=gate)
        for scale, gate in zip((1.0, 2.0), gates, strict=True)
    )
    assert kl(p, q) == pytest.approx(math.log(2))
    assert kl(q, p) == math.inf
