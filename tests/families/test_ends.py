"""Probabilities at the ends of supports, beyond them, and at infinity."""

import math

import numpy as np
import pytest
import torch

import disthead as dh
from tests.cases import CASES, rows

LINE = [case for case in CASES if case.kind in ("continuous", "count", "mixed")]


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def outside(case) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers at or below the least one of the support, and at or above the greatest one."""
    lower, upper = (float(end) for end in case.dist().support_limits())
    below, above = [-math.inf], [math.inf]
    if math.isfinite(lower):
        below += [lower - 1, lower - 1e-3] + [lower] * (case.kind == "continuous")
    if math.isfinite(upper):
        above += [upper, upper + 1e-3, upper + 1]
    return tensor(*below), tensor(*above)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", rows([case for case in LINE if not case.outputs]))
def test_nothing_lies_beyond_the_ends(case, dtype):
    dist, (below, above) = case.dist(dtype), outside(case)
    for y, (share, rest) in ((below, (0.0, 1.0)), (above, (1.0, 0.0))):
        expected = tensor(share).expand(len(y)), tensor(rest).expand(len(y))
        if dtype == torch.float32:  # ends that depend on parameters are rounded
            keep = y.isinf() if case.moving_support else y == y
            y, expected = y[keep], tuple(part[keep] for part in expected)
        for name, value in (
            ("cdf", expected[0]),
            ("log_cdf", expected[0].log()),
            ("log_survival", expected[1].log()),
        ):
            answer = getattr(dist, name)(y.to(dtype))
            torch.testing.assert_close(answer, value.to(dtype), atol=1e-12, rtol=0, msg=name)


@pytest.mark.parametrize("logits", [-30.0, -2.0, 0.0, 2.0, 30.0])
def test_wrappers_of_continuous_bernoulli_hold_its_whole_probability(logits):
    base = dh.get_family("continuous_bernoulli").distribution(logits=tensor(logits))
    truncated = dh.get_family("truncated", base="continuous_bernoulli", lower=-1.0, upper=0.7)
    cut = truncated.distribution(logits=tensor(logits))
    y = tensor(-0.5, 0.0, 0.3, 0.7, 0.9)
    share = base.cdf(y.clamp(max=0.7)) / base.cdf(tensor(0.7))
    torch.testing.assert_close(cut.cdf(y), share)
    torch.testing.assert_close(cut.log_survival(y).exp(), 1 - share)
    points, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(60))
    total = (0.35 * weights * cut.log_prob(0.35 * (points + 1)).exp()).sum()
    torch.testing.assert_close(total, torch.ones_like(total))

    pairs = tensor([0.5, 1.0], [0.5, math.inf], [-math.inf, 0.5], [0.0, 0.5])
    censored = dh.get_family("censored", base="continuous_bernoulli")
    log_prob = censored.distribution(logits=tensor(logits)).log_prob(pairs)
    upper, lower = base.log_survival(tensor(0.5)), base.log_cdf(tensor(0.5))
    torch.testing.assert_close(log_prob, torch.cat([upper, upper, lower, lower]))


@pytest.mark.parametrize("name, options", [("zero_one_inflated", {}), ("inflated", {"value": 0.5})])
def test_inflated_continuous_bernoulli_has_both_tails(name, options):
    family = dh.get_family(name, base="continuous_bernoulli", **options)
    dist = family.from_raw(torch.full((family.width(),), 0.7, dtype=torch.float64))
    y = tensor(-0.1, 0.0, 0.2, 0.5, 0.8, 1.0, 1.1)
    cdf = dist.log_cdf(y).exp()
    torch.testing.assert_close(cdf, dist.cdf(y))
    torch.testing.assert_close(cdf + dist.log_survival(y).exp(), torch.ones_like(y))
    assert cdf[0] == 0
    assert cdf[-1] == 1


@pytest.mark.parametrize("case", rows([case for case in LINE if not (case.outputs or case.units)]))
def test_infinity_has_no_density(case):
    # of the formula itself: targets beside raw outputs are checked where they come in
    dist = case.make_family().make(**case.dist().parameters)
    for y in (-math.inf, math.inf):
        assert dist.log_prob(tensor(y)).item() == -math.inf
