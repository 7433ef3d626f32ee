"""Answers against mpmath at 50 digits, over the grid of reachable extremes of `tests/truth.py`.

A fixed sample of the grid runs by default, more of it under the mark `slow`. Two things are not
asked: numbers that the precision cannot hold, and icdf(cdf(y)) = y where rounding the cdf already
moves y (in single precision: most of the upper half, where the cdf is near 1). In double precision
three families hold a parameter, or a transformed target, as one number whose rounding a sharp peak
magnifies: the angle of von_mises, the scale of weibull, log y of log_normal (`Truth.rounded`). They
are allowed, beside the bound, what two units in the last place of that number change. In single
precision nobody is: links and densities of these families are computed in double precision.
"""

import functools
import math

import pytest
import torch

from benchmarks.accuracy import (
    BOUNDS,
    cdf_errors,
    log_prob_errors,
    numbers,
    relative_error,
    representable,
    round_trip_errors,
    round_trips,
    tensors_of,
)
from tests.cases import TRUTHS
from tests.truth import Truth

every_size = pytest.mark.parametrize(
    "size", [40, pytest.param(400, marks=pytest.mark.slow)], ids=["sample", "grid"]
)
every_dtype = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64], ids=["float32", "float64"]
)
every_truth = pytest.mark.parametrize("case", TRUTHS, ids=str)
with_cdf = pytest.mark.parametrize("case", [case for case in TRUTHS if case.cdf], ids=str)


@functools.cache
def truths(case: Truth, question: str, size: int, unit: float = 0.0) -> torch.Tensor:
    rows = case.grid(size)
    if question == "gradient":
        return torch.stack([numbers(case.gradient(*row, unit=unit)) for row in rows])
    return numbers(case.ask(question, *row, unit=unit) for row in rows)


def allowance(case: Truth, question: str, size: int, dtype: torch.dtype) -> torch.Tensor:
    """The change by two units in the last place of the rounded parameter, 0 for most families."""
    truth = truths(case, question, size)
    if case.rounded is None or dtype == torch.float32:
        return torch.zeros_like(truth)
    change = (truths(case, question, size, 2 * torch.finfo(dtype).eps) - truth).abs()
    change = torch.where(change.isnan(), 0.0, change)
    return change if question == "cdf" else change / truth.abs().clamp(min=1)


def assert_within(errors: torch.Tensor, bounds: torch.Tensor, case: Truth, size: int) -> None:
    wrong = (errors > bounds).reshape(len(errors), -1).any(-1).nonzero().flatten().tolist()
    rows = case.grid(size)
    assert not wrong, [(rows[k], errors[k].tolist()) for k in wrong[:5]]


@every_truth
@every_dtype
@every_size
def test_log_prob_and_gradient(case, dtype, size):
    value, slope = truths(case, "log_prob", size), truths(case, "gradient", size)
    assert value.isfinite().any()
    errors, slope_errors = log_prob_errors(case.made.from_raw, value, slope, case.grid(size), dtype)
    assert_within(
        errors, BOUNDS["log_prob"][dtype] + allowance(case, "log_prob", size, dtype), case, size
    )
    assert_within(
        slope_errors,
        BOUNDS["gradient"][dtype] + allowance(case, "gradient", size, dtype),
        case,
        size,
    )


@every_truth
@every_dtype
@every_size
def test_finite_wherever_the_truth_is_representable(case, dtype, size):
    raw, y = tensors_of(case.grid(size), dtype)
    value = case.made.from_raw(raw).log_prob(y)
    assert value[representable(truths(case, "log_prob", size), dtype)].isfinite().all()
    assert not value.isnan().any()


@with_cdf
@every_dtype
@every_size
def test_cdf(case, dtype, size):
    errors = cdf_errors(
        case.made.from_raw, truths(case, "cdf", size), case.grid(size), dtype, case.circular
    )
    assert_within(errors, BOUNDS["cdf"][dtype] + allowance(case, "cdf", size, dtype), case, size)


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in TRUTHS
        if case.made.distribution_class and case.cdf and not case.made.event_dim
    ],
    ids=str,
)
@every_size
def test_without_gradients_the_quicker_way_is_as_exact(case, size):
    """In single precision, where nobody asks for gradients."""
    rows = case.grid(size)
    raw, y = tensors_of(rows, torch.float32)
    with torch.no_grad():
        errors = cdf_errors(case.made.from_raw, truths(case, "cdf", size), rows, torch.float32)
        assert_within(errors, torch.full_like(errors, BOUNDS["cdf"][torch.float32]), case, size)
        errors = relative_error(case.made.from_raw(raw).log_prob(y), truths(case, "log_prob", size))
        assert_within(
            errors, torch.full_like(errors, BOUNDS["log_prob"][torch.float32]), case, size
        )
        quick = case.made.from_raw(raw).crps(y)
    exact = case.made.from_raw(raw).crps(y).detach().double()
    # at a concentration of 1e-22 the exact way loses its digits, too
    errors = torch.where(raw.amin(-1) > -20, relative_error(quick, exact), 0.0)
    assert_within(errors, torch.full_like(errors, BOUNDS["crps"][torch.float32]), case, size)


@with_cdf
@every_dtype
@every_size
def test_round_trip(case, dtype, size):
    rows = case.grid(size)
    possible = round_trips(
        case, truths(case, "cdf", size), truths(case, "log_prob", size), rows, dtype
    )
    assert possible.any()
    errors = round_trip_errors(case.made.from_raw, possible, rows, dtype, case.circular)
    assert_within(errors, torch.full_like(errors, BOUNDS["icdf"][dtype]), case, size)


@pytest.mark.parametrize("case", [case for case in TRUTHS if case.entropy], ids=str)
@every_dtype
def test_entropy(case, dtype):
    rows = case.grid(12)
    truth = numbers(case.ask("entropy", raw) for raw, _ in rows)
    raw, _ = tensors_of(rows, dtype)
    errors = relative_error(case.made.from_raw(raw).entropy(), truth)[truth.isfinite()]
    assert (errors <= BOUNDS["entropy"][dtype]).all(), [
        (rows[k][0], float(e)) for k, e in enumerate(errors)
    ]


@pytest.mark.parametrize("case", [case for case in TRUTHS if case.crps], ids=str)
@every_dtype
def test_crps(case, dtype):
    rows = case.grid(12)
    raw, y = tensors_of(rows, dtype)
    truth = numbers(case.ask("crps", *row) for row in rows)
    assert truth.isfinite().any()
    errors = relative_error(case.made.from_raw(raw).crps(y), truth)
    assert_within(errors, torch.full_like(errors, BOUNDS["crps"][dtype]), case, 12)


def test_truths_are_independent_of_their_own_algorithms():
    """The continued fractions of the truths agree with mpmath's functions where those converge."""
    import mpmath as mp

    from tests.truth import beta_cdf, gamma_cdf

    for a, b, x in [(0.3, 4, 0.02), (30, 2.5, 0.97), (7, 7, 0.5)]:
        a, b, x = mp.mpf(a), mp.mpf(b), mp.mpf(x)
        assert abs(beta_cdf(a, b, x) - mp.betainc(a, b, 0, x, regularized=True)) < 1e-25
    for a, x in [(0.3, 2), (50, 40), (50, 70)]:
        a, x = mp.mpf(a), mp.mpf(x)
        assert abs(gamma_cdf(a, x) - mp.gammainc(a, 0, x, regularized=True)) < 1e-25
    assert math.isclose(TRUTHS[0].ask("cdf", (0.0, 0.5), 0.0), 0.5)
