"""The same relations at parameters that nobody chose: raw outputs drawn across the domain, and at
its extremes.
"""

import itertools

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as some
from torch.distributions import kl_divergence

from tests.brute_force import mean_of
from tests.cases import AFFINE_COUNTS, BEYOND_THE_SAMPLE, EVERYTHING, ORDERED, Case, rows

LEVELS = torch.tensor([1e-6, 0.2, 0.5, 0.9, 1 - 1e-6], dtype=torch.float64)
EXTREMES = (-60.0, -30.0, -12.0, -6.0, 0.0, 6.0, 12.0, 30.0, 60.0)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # to shrink a failure would take minutes
each = pytest.mark.parametrize


def drawn(data, case: Case, low: float = -4, high: float = 4) -> torch.Tensor:
    numbers = some.floats(low, high, allow_subnormal=False)
    return torch.tensor(
        data.draw(some.lists(numbers, min_size=len(case.raw), max_size=len(case.raw)))
    ).double()


def check_counts(case, dist, y) -> None:
    """Levels lie between the cdf just before and at the quantiles, and steps of the cdf are the
    mass.
    """
    assert (dist.cdf(y) >= LEVELS - 1e-12).all()
    assert (dist.cdf(y - case.step) < LEVELS).all()
    assert dist.log_prob(y)[1:-1].isfinite().all()
    below, through = dist.cdf_limits(y)
    torch.testing.assert_close(through - below, dist.log_prob(y).exp(), rtol=1e-8, atol=1e-12)
    lower, upper = dist.interval(0.8)
    assert lower <= dist.median <= upper


def check_directions(case, dist, y) -> None:
    torch.testing.assert_close(dist.cdf(y), LEVELS, rtol=1e-9, atol=1e-9)
    assert dist.log_prob(y)[1:-1].isfinite().all()
    check_slope(dist, y)


def check_numbers(case, dist, y) -> None:
    lower, upper = dist.support_limits()
    nudge = 1e-13 * (y.abs() + dist.median.abs()) + 1e-300
    before, behind = torch.maximum(y - nudge, lower), torch.minimum(y + nudge, upper)
    assert (dist.cdf(before) <= LEVELS + 1e-10).all(), (y, dist.cdf(before))
    assert (dist.cdf(behind) >= LEVELS - 1e-10).all(), (y, dist.cdf(behind))
    lower, upper = dist.interval(0.8)
    assert lower <= dist.median <= upper
    check_slope(dist, y)


def check_mixed(case, dist, y) -> None:
    """The quantile is the least number whose cdf reaches the level, also where the cdf jumps."""
    nudge = 1e-12 * (y.abs() + dist.median.abs()) + 1e-300
    assert (dist.cdf(y - nudge) <= LEVELS + 1e-10).all(), (y, dist.cdf(y - nudge))
    assert (dist.cdf(y + nudge) >= LEVELS - 1e-10).all(), (y, dist.cdf(y + nudge))
    check_slope(dist, y[~torch.isin(y, torch.tensor(dist.values, dtype=torch.float64))])


def check_slope(dist, y) -> None:
    """The density is the slope of the cdf; not compared where a quantile rounds to an end of the
    support.
    """
    at = y[dist.log_prob(y).isfinite()].requires_grad_()
    (slope,) = torch.autograd.grad(dist.cdf(at).sum(), at)
    torch.testing.assert_close(slope, dist.log_prob(at).exp().detach(), rtol=1e-6, atol=1e-12)


CHECKS = {
    "continuous": check_numbers,
    "direction": check_directions,
    "count": check_counts,
    "mixed": check_mixed,
    "binary": check_counts,
}


def relations_hold(data, case: Case) -> None:
    raw, other_raw = drawn(data, case), drawn(data, case)
    dist, other = case.from_raw(raw), case.from_raw(other_raw)
    y = dist.icdf(LEVELS).detach()
    no_mean = "mean" not in case.claims or bool(dist.mean.isinf())
    if case.kind == "continuous" and no_mean and y.isinf().any():
        return  # quantiles beyond all numbers
    assert y.isfinite().all()
    CHECKS[case.kind](case, dist, y)
    inside = dist.log_prob(y).isfinite()
    # tails
    torch.testing.assert_close(dist.log_cdf(y).exp(), dist.cdf(y), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(dist.log_survival(y).exp(), 1 - dist.cdf(y), rtol=0, atol=1e-12)
    below, through = dist.cdf_limits(y)
    pit = dist.pit(y, generator=torch.Generator().manual_seed(0))
    assert ((below <= pit) & (pit <= through)).all()
    # summaries
    assert "variance" not in case.claims or dist.variance >= 0
    # where the density may be infinite
    at_an_end = any(dist.mode == end for end in dist.support_limits()) or case.kind == "mixed"
    assert at_an_end or (dist.log_prob(y)[inside] <= dist.log_prob(dist.mode) + 1e-9).all()
    # A density with a pole at an end has mass where numbers are too coarse, or too large, for a sum
    # over y.
    resolved = abs(float(mean_of(case, torch.ones_like, dist, panel_count=60)) - 1) < 1e-8
    too_wide = "variance" in case.claims and not dist.variance < 1e30 * (y[-2] - y[1]).square()
    assert resolved or at_an_end or too_wide or no_mean
    if resolved:
        torch.testing.assert_close(
            mean_of(case, lambda y: -dist.log_prob(y), dist, panel_count=60),
            dist.entropy(),
            rtol=1e-6,
            atol=1e-6,
        )
    # scores and divergence
    crps = dist.crps(y)
    assert ((crps.isfinite() | no_mean) & (crps >= -1e-12)).all()
    assert kl_divergence(dist, other) >= -1e-9


@settings(max_examples=4, phases=PHASES)
@given(data=some.data())
@each("case", rows(ORDERED, slow=BEYOND_THE_SAMPLE))
def test_relations_hold_at_any_parameters(case, data):
    relations_hold(data, case)


@pytest.mark.slow
@settings(max_examples=60, phases=PHASES)
@given(data=some.data())
@each("case", ORDERED, ids=str)
def test_relations_hold_at_many_parameters(case, data):
    relations_hold(data, case)


def extreme_rows(case: Case, sizes) -> torch.Tensor:
    """All combinations of extreme raw outputs of one number; of mixtures each output goes there
    alone.
    """
    if len(case.raw) <= 2:
        return torch.tensor(
            list(itertools.product(sizes, repeat=len(case.raw))), dtype=torch.float64
        )
    raw = torch.tensor(case.raw, dtype=torch.float64).repeat(len(case.raw), len(sizes), 1)
    index = range(len(case.raw))
    raw[index, :, index] = torch.tensor(sizes, dtype=torch.float64)
    return raw.flatten(0, 1)


def ask_all(case: Case, dist) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    y = dist.median
    answers = {
        question: getattr(dist, question)
        for question in ("mean", "median", "mode", "variance", "stddev")
        if question in case.claims
    }
    answers |= {question: getattr(dist, question)() for question in ("entropy", "sample")}
    answers |= {
        question: getattr(dist, question)(y)
        for question in ("cdf", "log_cdf", "log_survival", "crps")
    }
    answers |= dict(zip(("lower", "upper"), dist.interval(0.9), strict=True))
    return answers | {"log_prob": dist.log_prob(y), "divergence": kl_divergence(dist, dist)}


def answers_are_numbers(case: Case, raw: torch.Tensor) -> None:
    """Nothing is nan, and what is infinite is beyond all numbers: quantiles of such tails, and
    means that they pull along.
    """
    dist = case.from_raw(raw)
    answers = ask_all(case, dist)
    mean = answers.get("mean", answers["median"])
    has_mean = mean.isfinite()
    # where all quantiles are beyond all numbers, there is nothing to add up
    answers["divergence"] = torch.where(answers["median"].isinf(), 0.0, answers["divergence"])
    for question, answer in answers.items():
        unknown = answer.isnan() & (has_mean | torch.tensor(question not in ("variance", "stddev")))
        assert not unknown.any(), (question, raw[unknown].tolist())
    assert ((answers["cdf"] >= 0) & (answers["cdf"] <= 1)).all()
    assert "variance" not in answers or (answers["variance"][has_mean] >= 0).all()
    size = answers["median"].abs() + mean.abs() + 1
    assert (answers["crps"] >= -1e-12 * size).all()
    assert answers["divergence"].abs().max() < 1e-6
    reachable = dist.cdf(torch.tensor(1e300, dtype=torch.float64)) > 0.95
    representable = dict.fromkeys(("lower", "median", "upper"), reachable)
    representable |= {
        "crps": has_mean,
        "entropy": torch.ones_like(reachable),
        "cdf": torch.ones_like(reachable),
    }
    for question, where in representable.items():
        infinite = where & ~answers[question].isfinite()
        assert not infinite.any(), (question, raw[infinite].tolist())
    turns = case.kind == "direction"  # where the lower end may be the greater number
    assert (turns | (answers["lower"] <= answers["median"])).all()
    assert (turns | (answers["median"] <= answers["upper"])).all()
    # Targets next to the median would not be the same in single precision: questions without a
    # target.
    single = ask_all(case, case.from_raw(raw.float()))
    for question in answers.keys() & {"mean", "lower", "median", "upper", "entropy"}:
        infinite = ~single[question].isfinite() & (answers[question].abs() < 1e38)
        assert not infinite.any(), ("in single precision", question, raw[infinite].tolist())


@each("case", rows(ORDERED, slow=["truncated"]))
def test_answers_at_extreme_parameters_are_numbers(case):
    answers_are_numbers(case, extreme_rows(case, (-30.0, 0.0, 30.0)))


@pytest.mark.slow
@each("case", ORDERED, ids=str)
def test_answers_at_more_extreme_parameters_are_numbers(case):
    answers_are_numbers(case, extreme_rows(case, EXTREMES))


def written(case) -> torch.Tensor:
    torch.manual_seed(1)
    return case.dist().sample((4,))


# float32 in and out, double inside: rounding of the raw outputs is all that may differ.


def densities_agree(case, y, rounded) -> None:
    exact, dist = case.dist(), case.dist(torch.float32)
    torch.testing.assert_close(
        dist.log_prob(y).double(), exact.log_prob(rounded), rtol=2e-6, atol=2e-6
    )


def probabilities_agree(case, y, rounded) -> None:
    exact, dist = case.dist(), case.dist(torch.float32)
    for question in ("cdf", "crps"):
        answer = getattr(dist, question)(y)
        assert answer.dtype == torch.float32
        torch.testing.assert_close(
            answer.double(), getattr(exact, question)(rounded), rtol=2e-6, atol=2e-6
        )
    torch.testing.assert_close(
        dist.icdf(LEVELS.float()).double(),
        exact.icdf(LEVELS.float().double()),
        rtol=1e-5,
        atol=1e-6,
    )


@each("case", rows([case for case in EVERYTHING if case not in AFFINE_COUNTS]))
def test_single_precision_densities_agree_with_double(case):
    y = written(case).float()
    densities_agree(case, y, y.double())


@each("case", rows([case for case in ORDERED if case not in AFFINE_COUNTS]))
def test_single_precision_answers_agree_with_double(case):
    y = written(case).float()
    probabilities_agree(case, y, y.double())


@each("case", rows(AFFINE_COUNTS))
def test_a_rounded_count_in_other_units_is_still_that_count(case):
    """To a distribution of the same precision."""
    y = written(case)
    densities_agree(case, y.float(), y)
    probabilities_agree(case, y.float(), y)
