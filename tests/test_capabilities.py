"""Every distribution supports the methods that it claims, and says why it lacks the others.

SciPy agrees where it has the family.
"""

import numpy as np
import pytest
import torch

import disthead as dh
from disthead.capabilities import METHODS
from disthead.distributions.independent import class_count
from tests.cases import (
    AFFINE,
    ALL_COUNTS,
    CIRCULAR,
    CONTINUOUS,
    EVERYTHING,
    VECTORS,
    rows,
)

LEVELS = torch.tensor([1e-9, 0.003, 0.1, 0.35, 0.5, 0.8, 0.97, 0.9995], dtype=torch.float64)
BATCH = (2,)
each = pytest.mark.parametrize


# What is answered for each number of an event, not once for the event.
OF_NUMBERS = {
    *(
        "mean",
        "median",
        "mode",
        "variance",
        "stddev",
        "sample",
        "rsample",
        "interval",
        "highest_density",
        "marginals",
    ),
}
OF_OUTPUTS = {
    *(
        "cdf",
        "log_cdf",
        "log_survival",
        "cdf_limits",
        "icdf",
        "pit",
        "crps",
        "brier",
        "expected_cost",
    )
}


def answer_shape(case, method: str) -> tuple[int, ...]:
    """The shape of an answer beyond the batch."""
    event = case.event_shape
    if method in ("covariance", "pairwise"):
        return (*event, *event)
    if method == "top1":
        return event
    if method == "expected_cost":  # one for each decision
        return (*event, class_count(case.dist()))
    return event if method in OF_NUMBERS or (case.outputs and method in OF_OUTPUTS) else ()


def is_infinite_by_nature(case, method: str) -> bool:
    """Such as the logarithm of the probability of nothing at the end of the support."""
    return method in ("log_survival", "log_cdf", *case.infinite)


@each("case", rows(EVERYTHING))
def test_answers_what_it_claims_and_says_why_not(case):
    torch.manual_seed(3)
    dist = case.dist(batch=BATCH)
    y, claims = dist.sample(), case.claims
    for method, call in METHODS.items():
        if method not in claims:
            with pytest.raises(NotImplementedError) as refusal:
                call(dist, y)
            assert len(str(refusal.value).partition(": ")[2]) > 10, (method, str(refusal.value))
            continue
        answer = call(dist, y)
        for value in answer if isinstance(answer, tuple) else (answer,):
            assert value.shape == BATCH + answer_shape(case, method), method
            assert not value.isnan().any(), method
            assert is_infinite_by_nature(case, method) or value.isfinite().all(), method


SCIPY = [case for case in CONTINUOUS + AFFINE + ALL_COUNTS if case.scipy]


@each("case", rows(SCIPY))
def test_scipy_agrees(case):
    dist, truth, y = case.dist(), case.frozen(), case.dist().icdf(LEVELS)
    close = np.testing.assert_allclose
    close(dist.icdf(LEVELS), truth.ppf(LEVELS.numpy()), rtol=1e-8)
    close(dist.cdf(y), truth.cdf(y.numpy()), rtol=1e-8, atol=1e-12)
    close(dist.log_cdf(y), truth.logcdf(y.numpy()), rtol=1e-7, atol=1e-12)
    close(dist.log_survival(y), truth.logsf(y.numpy()), rtol=1e-7, atol=1e-12)
    for method, name in {"mean": "mean", "variance": "var", "stddev": "std"}.items():
        if method in case.claims:
            close(getattr(dist, method), getattr(truth, name)(), rtol=1e-8)
    close(dist.median, truth.median(), rtol=1e-8)
    close(dist.interval(0.8), truth.interval(0.8), rtol=1e-8)


@each("case", rows(SCIPY, slow=["negative_binomial"]))  # scipy adds up its entropy for seconds
def test_scipy_agrees_on_the_entropy(case):
    np.testing.assert_allclose(case.dist().entropy(), case.frozen().entropy(), rtol=1e-6)


@each("case", rows([case for case in CIRCULAR if case.scipy]))
def test_scipy_agrees_on_the_circle(case):
    """Where scipy means the same: its cdf starts opposite the mean direction too, and runs on
    beyond pi.
    """
    dist, truth = case.dist(), case.frozen()
    np.testing.assert_allclose(dist.entropy(), truth.entropy(), rtol=1e-10)
    y = dist.loc + torch.linspace(-3, 3, 13, dtype=torch.float64)
    np.testing.assert_allclose(dist.cdf(y), truth.cdf(y.numpy()), rtol=1e-7, atol=1e-9)


@each("case", rows([case for case in VECTORS if case.scipy]))
def test_scipy_agrees_on_vectors(case):
    dist, truth = case.dist(), case.frozen()
    np.testing.assert_allclose(dist.entropy(), truth.entropy(), rtol=1e-10)
    np.testing.assert_allclose(dist.mean, truth.mean)
    np.testing.assert_allclose(dist.covariance, truth.cov, rtol=1e-12)


@pytest.mark.slow
def test_the_command_line_prints_the_table(capsys):
    from disthead.cli import main

    assert main(["families", "--capabilities"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*dh.families(), *METHODS))
