"""Every distribution answers what it claims to, says why where it does not, and scipy agrees where it has the family."""

import numpy as np
import pytest
import torch

import disthead as dh
from disthead.surface import QUESTIONS
from tests.cases import (
    AFFINE,
    ALL_COUNTS,
    CIRCULAR,
    CIRCULAR_MIXTURES,
    CLASSES,
    CONTINUOUS,
    EVERYTHING,
    INDEPENDENT,
    ON_A_LINE,
    RANKINGS,
    VECTORS,
    rows,
)

ONE_NUMBER = {
    *("log_prob", "cdf", "log_cdf", "log_survival", "cdf_limits", "icdf", "mean", "median", "mode", "variance"),
    *("stddev", "entropy", "sample", "interval", "highest_density", "pit", "crps", "kl_divergence"),
}
CLASS = {"log_prob", "mode", "entropy", "sample", "brier", "expected_cost", "kl_divergence"}
VECTOR = {"covariance", "marginals", "energy_score"}
CLAIMS = {
    "continuous": ONE_NUMBER | {"rsample"},
    "count": ONE_NUMBER,
    "bernoulli": ONE_NUMBER | {"brier", "expected_cost"},
    "circular mixture": {"log_prob", "mean", "mode", "variance", "stddev", "entropy", "sample", "kl_divergence"},
    "classes": CLASS,
    "vector": {
        *("log_prob", "mean", "median", "mode", "variance", "stddev", "entropy", "sample", "rsample", "interval"),
        *("highest_density", "kl_divergence"),
    }
    | VECTOR,
    "ranking": {"log_prob", "mode", "entropy", "sample", "top1", "pairwise", "kl_divergence"},
    # Several outputs answer for each of them, and for all together what vectors answer.
    "independent": ONE_NUMBER | {"rsample"} | VECTOR,
    "independent counts": ONE_NUMBER | VECTOR,
    "independent classes": CLASS,
    "independent von_mises": ONE_NUMBER | {"rsample", "marginals"},
    "independent, shaped": ONE_NUMBER | {"rsample"} | VECTOR - {"covariance"},
}
LEVELS = torch.tensor([1e-9, 0.003, 0.1, 0.35, 0.5, 0.8, 0.97, 0.9995], dtype=torch.float64)
BATCH = (2,)
each = pytest.mark.parametrize


def kind(case) -> str:
    if case in INDEPENDENT:
        special = {"independent poissons": "independent counts", "independent student_t": "independent, shaped"}
        return special.get(case.name, case.name if case.name in CLAIMS else "independent")
    groups = {"continuous": ON_A_LINE + CIRCULAR, "circular mixture": CIRCULAR_MIXTURES, "classes": CLASSES}
    groups |= {"vector": VECTORS, "ranking": RANKINGS, "count": ALL_COUNTS}
    return "bernoulli" if case.name == "bernoulli" else next(name for name, rows in groups.items() if case in rows)


# What is answered for each number of an event, not once for the event.
OF_NUMBERS = {
    *("mean", "median", "mode", "variance", "stddev", "sample", "rsample", "interval", "highest_density", "marginals"),
}
OF_OUTPUTS = {*("cdf", "log_cdf", "log_survival", "cdf_limits", "icdf", "pit", "crps", "brier", "expected_cost")}


def answer_shape(case, question: str) -> tuple[int, ...]:
    """The shape of an answer beyond the batch."""
    event, size = case.event_shape, len(case.raw)
    if question in ("covariance", "pairwise"):
        return (*event, *event)
    if question == "top1":
        return (size,)
    if question == "expected_cost":  # one for each decision
        return (*event, case.options.get("num_classes", 2))
    return event if question in OF_NUMBERS or (case in INDEPENDENT and question in OF_OUTPUTS) else ()


def is_infinite_by_nature(case, question: str) -> bool:
    """The variance of Student's t below two degrees of freedom; probabilities of nothing at the end of the support."""
    return question in ("log_survival", "log_cdf") or (
        case.name == "student_t heavy" and question in ("variance", "stddev")
    )


@each("case", rows(EVERYTHING))
def test_answers_what_it_claims_and_says_why_not(case):
    torch.manual_seed(3)
    dist = case.dist(batch=BATCH)
    y, claims = dist.sample(), CLAIMS[kind(case)]
    for question, ask in QUESTIONS.items():
        if question not in claims:
            with pytest.raises(NotImplementedError) as refusal:
                ask(dist, y)
            assert len(str(refusal.value).partition(": ")[2]) > 10, (question, str(refusal.value))
            continue
        answer = ask(dist, y)
        for value in answer if isinstance(answer, tuple) else (answer,):
            assert value.shape == BATCH + answer_shape(case, question), question
            assert not value.isnan().any(), question
            assert is_infinite_by_nature(case, question) or value.isfinite().all(), question


SCIPY = [case for case in CONTINUOUS + AFFINE + ALL_COUNTS if case.scipy]


@each("case", rows(SCIPY))
def test_scipy_agrees(case):
    dist, truth, y = case.dist(), case.frozen(), case.dist().icdf(LEVELS)
    close = np.testing.assert_allclose
    close(dist.icdf(LEVELS), truth.ppf(LEVELS.numpy()), rtol=1e-8)
    close(dist.cdf(y), truth.cdf(y.numpy()), rtol=1e-8, atol=1e-12)
    close(dist.log_cdf(y), truth.logcdf(y.numpy()), rtol=1e-7, atol=1e-12)
    close(dist.log_survival(y), truth.logsf(y.numpy()), rtol=1e-7, atol=1e-12)
    for question in ("mean", "median"):
        close(getattr(dist, question), getattr(truth, question)(), rtol=1e-8)
    close(dist.variance, truth.var(), rtol=1e-8)
    close(dist.stddev, truth.std(), rtol=1e-8)
    close(dist.interval(0.8), truth.interval(0.8), rtol=1e-8)


@each("case", rows(SCIPY, slow=["negative_binomial"]))  # scipy adds up its entropy for seconds
def test_scipy_agrees_on_the_entropy(case):
    np.testing.assert_allclose(case.dist().entropy(), case.frozen().entropy(), rtol=1e-6)


@each("case", rows(CIRCULAR))
def test_scipy_agrees_on_the_circle(case):
    """Where scipy means the same: its cdf starts opposite the mean direction too, and runs on beyond pi."""
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
def test_the_command_line_prints_the_matrix(capsys):
    from disthead.cli import main

    assert main(["families", "--surface"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*dh.families(), *QUESTIONS))
