"""Second derivatives are right, or they are refused: never a number that is wrong in silence."""

import pytest
import torch

from tests.cases import CASES, rows

LEVELS = (0.2, 0.7)
ANSWERS = {
    "icdf by the level": (lambda case, x: case.dist().icdf(x), LEVELS),
    "icdf by a raw output": (
        lambda case, x: case.from_raw(_shifted(case, x)).icdf(x.new_tensor(0.3)),
        (0.0, 0.1),
    ),
    "median by a raw output": (lambda case, x: case.from_raw(_shifted(case, x)).median, (0.1,)),
    "cdf by the target": (lambda case, x: case.dist().cdf(x), None),
    "log_cdf by the target": (lambda case, x: case.dist().log_cdf(x), None),
    "log_prob by the target": (lambda case, x: case.dist().log_prob(x), None),
    **{
        f"{method} by a raw output": (
            lambda case, x, method=method: getattr(case.from_raw(_shifted(case, x)), method)(
                case.dist().icdf(x.new_tensor(0.7)).detach()
            ),
            (0.0, 0.1),
        )
        for method in ("cdf", "log_survival", "log_prob", "crps")
    },
    **{
        f"{moment} by a raw output": (
            lambda case, x, moment=moment: getattr(case.from_raw(_shifted(case, x)), moment),
            (0.1,),
        )
        for moment in ("mean", "variance")
    },
    "entropy by a raw output": (
        lambda case, x: case.from_raw(_shifted(case, x)).entropy(),
        (0.1,),
    ),
}


def _shifted(case, x):
    raw = torch.tensor(case.raw, dtype=torch.float64)
    return torch.cat([raw[:-1], (raw[-1] + x).reshape(1)])


def _second(function, x):
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    if not first.requires_grad:
        return torch.zeros_like(x)
    (second,) = torch.autograd.grad(first, x, allow_unused=True)
    return torch.zeros_like(x) if second is None else second


def _first(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(
    "case",
    rows([case for case in CASES if case.kind in ("continuous", "direction") and not case.outputs]),
)
def test_second_derivatives_are_right_or_refused(case, answer):
    if not {answer.split()[0], "icdf"} <= case.claims:
        return
    function, points = ANSWERS[answer]
    if points is None:
        points = case.dist().icdf(torch.tensor(LEVELS, dtype=torch.float64)).tolist()
    for point in points:
        x = torch.tensor(point, dtype=torch.float64)
        try:
            second = _second(lambda x: function(case, x), x)
        except (RuntimeError, NotImplementedError) as error:
            if "second derivatives" not in str(error) and "not implemented" not in str(error):
                raise
            continue
        step = 1e-4 * max(1.0, abs(point))
        rise = _first(lambda x: function(case, x), x + step)
        fall = _first(lambda x: function(case, x), x - step)
        expected = (rise - fall) / (2 * step)
        scale = max(1e-3, float(_first(lambda x: function(case, x), x).abs()))
        torch.testing.assert_close(second, expected, rtol=1e-4, atol=1e-4 * scale)
