"""Distribution functions of every family of one number: by plain numbers, gradients, vmap, and in
both modes of differentiation.
"""

import pytest
import torch
from torch.func import hessian, jacrev, vmap

from tests.cases import CIRCULAR, CONTINUOUS, COUNTS, Case

QUESTIONS = ("cdf", "log_cdf", "log_survival")
FAR = (0.0, 1e-300, 1e8, 1e300)


def answer_of(case: Case, question: str, y: torch.Tensor):
    return lambda raw: getattr(case.from_raw(raw), question)(y)


def raw_of(case: Case) -> torch.Tensor:
    return torch.tensor(case.raw, dtype=torch.float64)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("case", CONTINUOUS + COUNTS, ids=str)
def test_gradients_and_vmap_see_the_numbers_of_all_targets(case, question):
    y = torch.tensor([*FAR, *(-far for far in FAR)], dtype=torch.float64)
    if "beta" in case.name or case.name in ("bernoulli", "binomial"):
        y = y.clamp(-1, 1)
    dist = case.dist()
    plain = getattr(dist, question)(y)
    assert not plain.isnan().any()
    raw = raw_of(case).requires_grad_()
    recorded = answer_of(case, question, y)(raw)
    batched = vmap(lambda y: answer_of(case, question, y)(raw_of(case)))(y)
    for other in (recorded.detach(), batched):
        torch.testing.assert_close(other, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("question", ["log_prob", *QUESTIONS])
@pytest.mark.parametrize("case", CONTINUOUS + COUNTS + CIRCULAR, ids=str)
def test_a_hessian_is_the_gradient_of_the_gradient(case, question):
    dist = case.dist()
    y = dist.median if case in COUNTS else dist.icdf(torch.tensor(0.3, dtype=torch.float64))
    answer, raw = answer_of(case, question, y.detach()), raw_of(case)
    found = hessian(answer)(raw)
    torch.testing.assert_close(found, jacrev(jacrev(answer))(raw), rtol=1e-8, atol=1e-11)
    torch.testing.assert_close(found, found.mT, rtol=1e-8, atol=1e-11)
